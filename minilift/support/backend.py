r"""Arrays: which library owns them, and the little that must be done differently for each.

This is the only file that imports CuPy. There is no global backend: a function asks the arrays that it was
given (`array_module`), and mixtures of host and device arrays are refused by name. Random numbers are always
drawn by NumPy and then moved, so that one seed gives one network on either backend.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

import numpy as np

from minilift.support.arguments import known_name
from minilift.support.terminal import how_to_install

BACKENDS = ("numpy", "cupy")
KINDS = {"real": ("f", "floating-point numbers"), "whole": ("iu", "whole numbers"), "any": ("biuf", "numbers")}
HALVED_ABOVE = 34  # size above which a triangular matrix is inverted, or solved with, by halves
SQUARED_ABOVE = 256  # size above which a product of two is made by halves
PROBED = 16  # columns, at most, of which a product with an inverse is repeated in float64
APPLIED = 1e-5  # relative error, of each of them, up to which the product in another dtype is taken
CACHED = 2**15  # entries of an array of which a few fit into a processor's cache
# numbers of glibc's mallopt, with what is asked of them: the size up to which an array comes from the heap (the largest
# that glibc takes), and how much free memory the heap keeps at its end
MMAP_THRESHOLD, TRIM_THRESHOLD = (-3, 2**25), (-1, 2**30)


def get_module(backend):
    """Return the array library of a backend's name, after making sure that it can compute.

    Parameters
    ----------
    backend : {"numpy", "cupy"}

    Raises
    ------
    ValueError
        If the name is unknown.
    RuntimeError
        If CuPy is not installed, or is installed but no GPU answers a small computation.
    """
    if known_name("backend", backend, BACKENDS) == "numpy":
        keep_freed_memory()
        return np
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError("backend='cupy': CuPy is not installed; install the CuPy wheel that matches your CUDA "
                           f"version, or that for CUDA 12 with: {how_to_install('cupy')}") from error
    try:  # that cupy imports says nothing about a GPU: ask one to add
        answer = float(cupy.ones(2).sum())
    except Exception as error:
        raise RuntimeError(f"backend='cupy': CuPy is installed but no GPU answers ({error})") from error
    if answer != 2.0:
        raise RuntimeError(f"backend='cupy': the GPU computed 1 + 1 = {answer}")
    return cupy


@cache
def keep_freed_memory():
    """Have glibc keep the memory of arrays that are freed, for those of the next training step.

    By default it gives large pieces back to the system, and each page of a new array is then cleared when it is first
    written: for arrays of some 100 kB that takes longer than to compute them. Where a user has settings of his own in
    the environment (MALLOC_…, GLIBC_TUNABLES), and on other C libraries, nothing is done.
    """
    own = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if own or not (sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")):
        return
    for option, value in (MMAP_THRESHOLD, TRIM_THRESHOLD):
        ctypes.CDLL(None).mallopt(option, value)


def module_of(backend):
    """Return the array library of a backend that `get_module` found in order; at once, since every batch asks."""
    return np if backend == "numpy" else sys.modules["cupy"]


def array_module(*arrays):
    """Return the library, NumPy or CuPy, that owns all of `arrays`.

    Raises
    ------
    TypeError
        If something is not an array, or if host and device arrays are mixed.
    """
    if set(map(type, arrays)) == {np.ndarray}:  # the common case, at once: this is asked at every operation
        return np
    cupy = sys.modules.get("cupy")
    owners = set()
    for array in arrays:
        if cupy is not None and isinstance(array, cupy.ndarray):
            owners.add("cupy")
        elif isinstance(array, np.ma.MaskedArray):
            raise TypeError("expected an array of NumPy or CuPy, got a masked array; fill or drop what is masked")
        elif isinstance(array, np.ndarray):
            owners.add("numpy")
        else:
            raise TypeError(f"expected an array of NumPy or CuPy, got {type(array).__name__}")
    if len(owners) > 1:
        raise TypeError("arrays of NumPy and CuPy are mixed; move them to one backend first")
    return cupy if owners == {"cupy"} else np


def as_array(what, array, xp=np):
    """Return what the user gave as `what` as an array of NumPy or `xp`, of whatever dtype.

    Raises
    ------
    ValueError, TypeError
        If its rows differ in length, if it is masked, or if whose it is does not give it away (a tensor of PyTorch
        that requires gradients).
    """
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{what}: must not be a masked array, whose mask would be lost; fill or drop what is masked")
    if isinstance(array, (np.ndarray, xp.ndarray)):
        return array
    try:
        return np.asarray(array)
    except Exception as error:  # other libraries raise what they like
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{what}: cannot be made into an array ({error})") from None


def check_arrays(what, kind="real", **arrays):
    """Raise an error that names the first of `arrays` that is none of NumPy or CuPy, or holds other numbers.

    They must be of `kind` "real" (floating-point), "whole" or "any".
    """
    kinds, numbers = KINDS[kind]
    for name, array in arrays.items():
        try:
            if type(array) is not np.ndarray:  # the common case, at once
                array_module(array)
        except TypeError as error:
            raise TypeError(f"{what}: {name}: {error}") from None
        if array.dtype.kind not in kinds:
            raise TypeError(f"{what}: {name} must be an array of {numbers}, got dtype {array.dtype}")


def real_array(what, array, dtype, xp):
    """Return what the user gave as `what` as an array of `xp` in `dtype`; itself, if it is that already.

    Raises
    ------
    TypeError
        If it holds no real numbers.
    ValueError
        If its rows differ in length.
    """
    sparse, array = hasattr(array, "toarray"), as_array(what, array, xp)
    if array.dtype.kind not in "biuf":
        real = "real " if array.dtype.kind == "c" else ""
        hint = f"; {what.split()[-1]}.astype(float) has them, if all are numbers" * (array.dtype.kind == "O")
        raise TypeError(f"{what}: expected {real}numbers, got "
                        + (f"a sparse matrix; {what}.toarray() has them" if sparse else f"dtype {array.dtype}{hint}"))
    with np.errstate(over="ignore"):  # what is too large for dtype becomes inf, which the caller refuses
        return xp.asarray(array, dtype=dtype)


def to_numpy(array):
    """Return a host copy of a device array; a NumPy array is returned as it is."""
    return array.get() if array_module(array) is not np else array


def all_finite(array):
    """Whether all numbers of an array are finite. One sum is cheaper than a mask; if that overflows, a second look."""
    xp = array_module(array)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(xp.isfinite(array.sum())) or bool(xp.isfinite(array).all())


def first_not_finite(name, array):
    """Return the first number of an array that is not finite, as in 'X[3, 0] = nan'."""
    place = tuple(map(int, np.argwhere(~np.isfinite(to_numpy(array)))[0]))
    return f"{name}{list(place)} = {array[place]}"


def finite(what, arrays):
    """Return arrays, by name, of which all numbers are finite, or raise an error."""
    for name, array in arrays.items():
        if not all_finite(array):
            raise ValueError(f"{what}: {name} holds NaN or inf")
    return arrays


def synchronize(xp):
    """Wait until the device has done all that was asked of it (nothing to wait for on NumPy)."""
    if xp is not np:
        xp.cuda.get_current_stream().synchronize()


def in_cache(array):
    """Return slices of rows: on the host few at a time, so that what is computed of them stays in cache; else all."""
    row = max(1, array[:1].size)
    rows = max(1, CACHED // row) if array_module(array) is np else max(1, len(array))
    return [slice(start, start + rows) for start in range(0, len(array), rows)]


def spd_inverse(matrix):
    """Return the inverse of a small symmetric positive definite matrix, in float64.

    NumPy has no triangular solve and SciPy's brings a second thread pool that fights with NumPy's, so that one
    inverse in float64, applied in the network's dtype, is the fast way and no less accurate.

    Parameters and errors are those of `spd_factor`.
    """
    return squared(triangular_inverse(spd_factor(matrix)))


def spd_solve(matrix, b):
    """Return the inverse of a symmetric positive definite matrix times b (n, columns), in b's dtype.

    All is done in float64: in float32 an error of the size of the largest eigenvalue would be divided by the smallest.
    Of more than n columns the product alone, with the inverse, is in b's dtype, if some of them show that it may be.
    Errors are those of `spd_factor`.
    """
    factor, columns = spd_factor(matrix), b.shape[1]
    if columns > len(factor):
        inverse, some = squared(triangular_inverse(factor)), slice(None, None, -(-columns // PROBED))
        x, right = inverse.astype(b.dtype, copy=False) @ b, inverse @ b[:, some]
        if (abs(x[:, some] - right).max(axis=0) <= APPLIED * abs(right).max(axis=0)).all():
            return x
    x = triangular_solve(factor, b.astype(np.float64, copy=False))
    return triangular_solve(factor, x, transposed=True).astype(b.dtype, copy=False)


def spd_factor(matrix):
    r"""Return the lower triangular L with :math:`LL^T = M`, for a symmetric positive definite M, in float64.

    Parameters
    ----------
    matrix : array (n, n)
        For a matrix with NaN or inf it is all NaN: divergence is for the caller to report.

    Raises
    ------
    ArithmeticError
        If the matrix is not positive definite to working precision.
    """
    xp = array_module(matrix)
    matrix = matrix.astype(np.float64, copy=False)
    if not bool(xp.isfinite(matrix.sum())):
        return xp.full(matrix.shape, np.nan)
    try:
        factor = xp.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        factor = xp.full(matrix.shape, np.nan)
    positive = factor.diagonal() > 0  # NaN compares false
    if xp is not np:  # CuPy does not raise on a failed factorisation: let the factor show that it is one
        probe = xp.cos(xp.arange(len(matrix), dtype=np.float64))  # a vector without pattern
        product = matrix @ probe
        positive &= abs(factor @ (factor.T @ probe) - product) < 1e-4 * abs(product).max()
    if not bool(positive.all()):
        raise ArithmeticError(f"a {matrix.shape[0]}×{matrix.shape[0]} matrix that should be positive definite is "
                              "not, to working precision: the damping (or 1/tau_theta, 1/eta) is too small for these "
                              "data")
    return factor


def triangular_solve(factor, b, transposed=False):
    """Return L⁻¹b, or L⁻ᵀb, for a lower triangular L, by halves: one half of the unknowns, and then the other."""
    xp, n = array_module(factor, b), len(factor)
    if n <= HALVED_ABOVE:
        inverse = xp.linalg.inv(factor)
        return (inverse.T if transposed else inverse) @ b
    upper, lower = slice(n // 2), slice(n // 2, n)
    first, second = (lower, upper) if transposed else (upper, lower)
    between = factor[lower, upper].T if transposed else factor[lower, upper]
    x = xp.empty(b.shape, b.dtype)
    x[first] = triangular_solve(factor[first, first], b[first], transposed)
    x[second] = triangular_solve(factor[second, second], b[second] - between @ x[first], transposed)
    return x


def triangular_inverse(factor, out=None):
    r"""Return the inverse of a lower triangular matrix, by halves: of [A 0; B C] it is [A⁻¹ 0; −C⁻¹BA⁻¹ C⁻¹].

    NumPy's own `inv` knows neither that half of the matrix is zero nor that the product of the halves is symmetric.
    `out` is an array of zeros where it goes, by default a new one.
    """
    xp, n = array_module(factor), len(factor)
    out = xp.zeros_like(factor) if out is None else out
    if n <= HALVED_ABOVE:
        out[:] = xp.linalg.inv(factor)
        return out
    upper, lower = slice(n // 2), slice(n // 2, n)
    first = triangular_inverse(factor[upper, upper], out[upper, upper])
    second = triangular_inverse(factor[lower, lower], out[lower, lower])
    xp.matmul(-second, factor[lower, upper] @ first, out=out[lower, upper])
    return out


def squared(factor):
    r"""Return RᵀR for a lower triangular R, by halves: of [A 0; B C] it is [AᵀA + BᵀB, BᵀC; CᵀB, CᵀC]."""
    xp, n = array_module(factor), len(factor)
    if n <= SQUARED_ABOVE:
        return factor.T @ factor
    upper, lower = slice(n // 2), slice(n // 2, n)
    corner, square = factor[lower, upper], xp.empty_like(factor)
    square[upper, upper] = squared(factor[upper, upper]) + corner.T @ corner
    square[lower, lower] = squared(factor[lower, lower])
    square[lower, upper] = factor[lower, lower].T @ corner
    square[upper, lower] = square[lower, upper].T
    return square


def spence(x):
    """Return Spence's function, elementwise, by SciPy; CuPy has none, so that device arrays go by way of the host."""
    import scipy.special
    return array_module(x).asarray(scipy.special.spence(to_numpy(x)))
