r"""Arrays: which library owns them, and the few things that must be done differently for each.

This is the only file that imports CuPy. There is no global backend: a function infers the library from the arrays
that it is given (`array_module`), and mixtures of host and device arrays are refused with an error. Random numbers are
always drawn by NumPy and then moved, so that a seed gives the same network on either backend.
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
SQUARED_ABOVE = 256  # size above which the product of two is computed by halves
PROBED = 16  # columns, at most, for which a product with an inverse is repeated in float64
APPLIED = 1e-5  # relative error of each such column up to which the product in another dtype is accepted
CACHED = 2**15  # entries of arrays of which a few fit into a processor's cache
# parameters of glibc's mallopt and their values: the size up to which an array comes from the heap (the largest that
# glibc accepts), and how much free memory the heap keeps at its end
MMAP_THRESHOLD, TRIM_THRESHOLD = (-3, 2**25), (-1, 2**30)


def get_module(backend):
    """Return the array library for a backend's name, after making sure that it can compute.

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
    try:  # a successful import of cupy does not imply a GPU: let it do an addition
        answer = float(cupy.ones(2).sum())
    except Exception as error:
        raise RuntimeError(f"backend='cupy': CuPy is installed but no GPU answers ({error})") from error
    if answer != 2.0:
        raise RuntimeError(f"backend='cupy': the GPU computed 1 + 1 = {answer}")
    return cupy


@cache
def keep_freed_memory():
    """Make glibc keep the memory of freed arrays for those of the next training step.

    By default it returns large pieces to the system, and each page of a new array is then cleared when it is first
    written: for arrays of about 100 kB that takes longer than computing them. If the user has set MALLOC_… or
    GLIBC_TUNABLES in the environment, and with other C libraries, nothing is done.
    """
    own = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if own or not (sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")):
        return
    for option, value in (MMAP_THRESHOLD, TRIM_THRESHOLD):
        ctypes.CDLL(None).mallopt(option, value)


def module_of(backend):
    """Return the array library of a backend that `get_module` has checked; cached, since every batch asks for it."""
    return np if backend == "numpy" else sys.modules["cupy"]


def array_module(*arrays):
    """Return the library, NumPy or CuPy, that owns all of `arrays`.

    Raises
    ------
    TypeError
        If something is not an array, or if host and device arrays are mixed.
    """
    if set(map(type, arrays)) == {np.ndarray}:  # shortcut for the common case: this is called in every operation
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
    """Return the user's argument `what` as an array of NumPy or `xp`, with any dtype.

    Raises
    ------
    ValueError, TypeError
        If its rows differ in length, if it is masked, or if its library refuses to convert it (a tensor of PyTorch
        that requires gradients).
    """
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{what}: must not be a masked array, whose mask would be lost; fill or drop what is masked")
    if isinstance(array, (np.ndarray, xp.ndarray)):
        return array
    try:
        return np.asarray(array)
    except Exception as error:  # other libraries may raise anything
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{what}: cannot be made into an array ({error})") from None


def check_arrays(what, kind="real", **arrays):
    """Raise an error naming the first of `arrays` that is not an array of NumPy or CuPy, or has the wrong numbers.

    The numbers must be of the `kind` "real" (floating-point), "whole" or "any".
    """
    kinds, numbers = KINDS[kind]
    for name, array in arrays.items():
        try:
            if type(array) is not np.ndarray:  # a shortcut for the common case
                array_module(array)
        except TypeError as error:
            raise TypeError(f"{what}: {name}: {error}") from None
        if array.dtype.kind not in kinds:
            raise TypeError(f"{what}: {name} must be an array of {numbers}, got dtype {array.dtype}")


def real_array(what, array, dtype, xp):
    """Return the user's argument `what` as an array of `xp` in `dtype`; the argument itself if it already is one.

    Raises
    ------
    TypeError
        If it does not hold real numbers.
    ValueError
        If its rows differ in length.
    """
    sparse, array = hasattr(array, "toarray"), as_array(what, array, xp)
    if array.dtype.kind not in "biuf":
        real = "real " if array.dtype.kind == "c" else ""
        hint = f"; {what.split()[-1]}.astype(float) has them, if all are numbers" * (array.dtype.kind == "O")
        raise TypeError(f"{what}: expected {real}numbers, got "
                        + (f"a sparse matrix; {what}.toarray() has them" if sparse else f"dtype {array.dtype}{hint}"))
    with np.errstate(over="ignore"):  # numbers too large for dtype become inf, which the caller refuses
        return xp.asarray(array, dtype=dtype)


def to_numpy(array):
    """Return a host copy of a device array; a NumPy array is returned as it is."""
    return array.get() if array_module(array) is not np else array


def all_finite(array):
    """Whether all numbers of an array are finite: a sum, cheaper than a mask, is tried first; it may overflow."""
    xp = array_module(array)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(xp.isfinite(array.sum())) or bool(xp.isfinite(array).all())


def first_not_finite(name, array):
    """Return a text with the first number of an array that is not finite, such as 'X[3, 0] = nan'."""
    place = tuple(map(int, np.argwhere(~np.isfinite(to_numpy(array)))[0]))
    return f"{name}{list(place)} = {array[place]}"


def finite(what, arrays):
    """Return arrays, given by name, if all their numbers are finite, or raise an error."""
    for name, array in arrays.items():
        if not all_finite(array):
            raise ValueError(f"{what}: {name} holds NaN or inf")
    return arrays


def synchronize(xp):
    """Wait until the device has finished all its work (with NumPy there is nothing to wait for)."""
    if xp is not np:
        xp.cuda.get_current_stream().synchronize()


def in_cache(array):
    """Return slices of rows: a few at a time on the host, to keep what is computed from them in cache; else all."""
    row = max(1, array[:1].size)
    rows = max(1, CACHED // row) if array_module(array) is np else max(1, len(array))
    return [slice(start, start + rows) for start in range(0, len(array), rows)]


def spd_inverse(matrix):
    """Return the inverse of a small symmetric positive definite matrix, in float64.

    NumPy has no triangular solve, and SciPy's brings a second thread pool that competes with NumPy's. Hence an
    inverse in float64, applied in the network's dtype, is faster and no less accurate.

    Parameters and errors are those of `spd_factor`.
    """
    return squared(triangular_inverse(spd_factor(matrix)))


def spd_solve(matrix, b):
    """Return the inverse of a symmetric positive definite matrix times b (n, columns), in b's dtype.

    Computation is in float64: in float32 an error of the size of the largest eigenvalue would be divided by the
    smallest. With more than n columns, only the product with the inverse is in b's dtype, if a few columns show that
    this is accurate enough. Errors are those of `spd_factor`.
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
        If it contains NaN or inf, the result is all NaN: divergence is for the caller to report.

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
    positive = factor.diagonal() > 0  # False for NaN
    if xp is not np:  # CuPy does not raise if a factorisation fails: test whether the factor is one
        probe = xp.cos(xp.arange(len(matrix), dtype=np.float64))  # a vector without a pattern
        product = matrix @ probe
        positive &= abs(factor @ (factor.T @ probe) - product) < 1e-4 * abs(product).max()
    if not bool(positive.all()):
        raise ArithmeticError(f"a {matrix.shape[0]}×{matrix.shape[0]} matrix that should be positive definite is "
                              "not, to working precision: the damping (or 1/tau_theta, 1/eta) is too small for these "
                              "data")
    return factor


def triangular_solve(factor, b, transposed=False):
    """Return L⁻¹b, or L⁻ᵀb, for a lower triangular L, solving for one half of the unknowns, and then for the other."""
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
    r"""Return the inverse of a lower triangular matrix, by halves: that of [A 0; B C] is [A⁻¹ 0; −C⁻¹BA⁻¹ C⁻¹].

    NumPy's own `inv` uses neither that half of the matrix is zero nor that the product of the halves is symmetric.
    The result is written into `out`, an array of zeros, by default a new one.
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
    r"""Return RᵀR for a lower triangular R, by halves: for [A 0; B C] it is [AᵀA + BᵀB, BᵀC; CᵀB, CᵀC]."""
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
    """Return Spence's function elementwise, from SciPy; CuPy lacks it, so device arrays pass through the host."""
    import scipy.special
    return array_module(x).asarray(scipy.special.spence(to_numpy(x)))
