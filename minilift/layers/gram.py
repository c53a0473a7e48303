r"""The Gram operator of a map's input, :math:`\tilde A^T\tilde A` or :math:`\tilde A\tilde A^T`.

Every local problem of the papers depends on θ only through :math:`\tilde A\theta`, with
:math:`\tilde A = [A\;1]`. It can therefore be solved in sample space or in parameter space, whichever is smaller
(the representer argument). The column of ones is never formed.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from minilift.support.arguments import boolean, is_floating, known_name, shown
from minilift.support.backend import array_module

CENTRED = 4096  # rows of activations centred at a time: a copy of all of them would be as large as the array
HIDDEN = 0.01  # rounding of a Gram matrix's norm, as a share of its other eigenvalues, up to which it is cast


class Gram:
    r"""The least-squares operator of one map, :math:`\tilde A^T\tilde A` or :math:`\tilde A\tilde A^T`, by size.

    The solution of a local problem, and each iterate on the way, is θ plus :math:`\tilde A^T U` with U of shape
    (rows, n_out). On the *sample* side the unknown is U and the operator is :math:`K = \tilde A\tilde A^T`; on the
    *parameter* side the unknown is the step in θ and the operator is :math:`C = \tilde A^T\tilde A`.
    Solvers are written once, for both: `lower` and `lift` map to and from coordinates, `inner` is the product in θ.

    Parameters
    ----------
    a : array (rows, n_in)
        Input activations (or patches).
    side : {"sample", "parameter"}, optional
        By default the smaller of the two matrices.
    bias : bool, default True
        Whether :math:`\tilde A` has the column of ones (it has none in the W block of SIBP).

    Attributes
    ----------
    matrix : float64 array (rows, rows) or (n_in + bias, n_in + bias)
        Formed from centred activations, since large column means would cost a float32 product its last digits,
        and assembled in float64.
    """

    def __init__(self, a, side=None, bias=True):
        if not is_floating(a):
            raise ValueError(f"Gram: a must be a floating-point array of shape (rows, n_in), got {shown(a)}")
        self.a, self.bias = a, bias if type(bias) is bool else boolean("Gram: bias", bias)
        self.xp = np if type(a) is np.ndarray else array_module(a)  # runs in every step: no call for NumPy
        self.height, n_in = a.shape  # the height of ã
        smaller = "sample" if self.height <= n_in + bias else "parameter"
        self.side = smaller if side is None else known_name("Gram: side", side, ("sample", "parameter"))

    @cached_property
    def matrix(self):
        """K or C, formed on first use."""
        return (sample_gram if self.side == "sample" else parameter_gram)(self.a, self.bias)

    @cached_property
    def operator(self):
        """`matrix` for products: in the dtype of the activations, unless rounding would hide most of it.

        Activations far from 0 make one eigenvalue as large as all entries together. The others are those of the
        centred activations, and a cast keeps only what exceeds the rounding of the largest.
        """
        largest = float(self.xp.linalg.norm(self.matrix))
        others = (float(self.matrix.trace()) - largest) / len(self.matrix)
        seen = np.finfo(self.a.dtype).eps * largest <= HIDDEN * others
        return self.matrix.astype(self.a.dtype) if seen else self.matrix

    @cached_property
    def rounding(self):
        """About what rounding of K and u adds to ⟨u, Ku⟩ for u of norm 1, from the largest absolute row sum."""
        eps = max(np.finfo(self.operator.dtype).eps, np.finfo(self.a.dtype).eps ** 2)
        return 4 * eps * abs(self.operator).sum(axis=0).max()

    @property
    def coordinates(self):
        """Number of coordinates per output unit: rows, or parameters."""
        return self.a.shape[0] if self.side == "sample" else self.a.shape[1] + self.bias

    @property
    def whole_height(self):
        """Number of rows of ã, including those that other ranks hold."""
        return self.height

    def whole(self, g):
        """Return g for all rows of ã, given g for the rows held here (other ranks may hold the others)."""
        return g

    @property
    def mine(self):
        """The slice that the rows held here occupy among those of all ranks."""
        return slice(None)

    def total(self, number):
        """Return a number that sums over rows, for all rows of ã, given the one for the rows held here."""
        return number

    def in_double(self):
        """Return the same operator for the activations in float64."""
        return Gram(self.a.astype(np.float64), self.side, self.bias)

    def singular(self):
        r"""Return singular values (r,) and right vectors V (n_in + 1, r) of :math:`\tilde A`, and :math:`\tilde AV`."""
        full = self.xp.concatenate([self.a, self.xp.ones((len(self.a), int(self.bias)), self.a.dtype)], axis=1)
        left, values, right = self.xp.linalg.svd(full, full_matrices=False)
        return values, right.T, left * values

    def lower(self, g):
        r"""Return the coordinates of :math:`\tilde A^T g`: g itself on the sample side."""
        return g if self.side == "sample" else self.adjoint(g)

    def lift(self, u):
        r"""Return the step in θ with coordinates u: :math:`\tilde A^T u` on the sample side."""
        return self.adjoint(u) if self.side == "sample" else u  # Representer

    def solve(self, inverse, q):
        r"""Return the step with coordinates ``inverse @ q``, the cheaper product first."""
        if self.side == "parameter" or self.a.shape[1] >= q.shape[1]:
            return self.lift(inverse @ q)
        solved = inverse @ self.a
        return stacked_product(solved, q, ones=inverse.sum(axis=0)) if self.bias else (q.T @ solved).T

    def inner(self, u, gram_u, v):
        r"""Return the inner product in θ of the steps with coordinates u and v, per output unit, shape (n_out,).

        On the sample side it is :math:`\langle\tilde A^Tu, \tilde A^Tv\rangle = \langle Ku, v\rangle`, where the
        caller knows Ku (`gram_u`).
        """
        return self.xp.einsum("ij,ij->j", gram_u if self.side == "sample" else u, v)

    def squared_norm(self, u, gram_u):
        r"""Return the squared norm in θ of the step with coordinates u, per output unit, shape (n_out,).

        On the sample side it is ⟨u, Ku⟩. For u near the null space of K this is nothing but rounding: then 0 is
        returned, so that no solver divides noise by noise.
        """
        if self.side == "parameter":
            return self.xp.einsum("ij,ij->j", u, u)
        square, noise = self.xp.einsum("ij,ij->j", gram_u, u), self.rounding * self.xp.einsum("ij,ij->j", u, u)
        return self.xp.where(square > noise, square, 0).astype(u.dtype)

    def rounding_of_lower(self, g):
        r"""Return roughly what rounding adds to :math:`\|\tilde A^Tg\|^2`, per output unit, shape (n_out,).

        It is 0 on the sample side, where the coordinates are g itself.
        """
        if self.side == "sample":
            return self.xp.zeros(g.shape[1], g.dtype)
        square = self.total(self.xp.einsum("ij,ij->j", g, g))
        return (np.finfo(g.dtype).eps ** 2 * float(self.matrix.trace()) * square).astype(g.dtype)

    def product(self, u, rows=slice(None)):
        """Return Ku or Cu, or some of its rows, in the dtype of u."""
        return (self.operator[rows] @ u).astype(u.dtype, copy=False)

    def output_change(self, u):
        r"""Return the change of z along the step with coordinates u: Ku on the sample side, Ãu on the other."""
        return self.product(u) if self.side == "sample" else self.apply(u)

    def apply(self, d):
        r"""Return :math:`\tilde A d`, the change of z along the step d in θ."""
        if not self.bias:
            return self.a @ d
        if not self.a.shape[1]:
            return self.xp.broadcast_to(d, (len(self.a), d.shape[1]))  # Ã is only the column of ones
        change = self.a @ d[:-1]
        change += d[-1]
        return change

    def adjoint(self, g):
        r"""Return :math:`\tilde A^T g`."""
        return stacked_product(self.a, g) if self.bias else self.a.T @ g


class PrincipalAxes(Gram):
    r"""A Gram operator in float64, in coordinates v along the principal axes of the data.

    With the orthonormal eigenvectors V of :math:`\tilde A^T\tilde A` and their eigenvalues s > 0, a step is D = Vv.
    Its norm is that of v, and the operator is diag s. A step that fits data has no part outside these axes.

    Parameters
    ----------
    gram : Gram
        The operator of activations in any dtype.
    damping : float
        β, which the caller adds to s. Where rounding of the squares in `matrix` is visible next to s + β, V and s
        come from the singular values of :math:`\tilde A` itself, at several times the cost. Without damping, axes along
        which the data do not exceed their own rounding are left out, as in a pseudo-inverse.
    accuracy : float, default 1e-4
        The share of s + β from which rounding counts as visible.

    Attributes
    ----------
    values : array (r, 1)
        Eigenvalues s. If the damping is far above rounding, axes that are only rounding are kept: they do no harm.
    axes : array (n_in + 1, r)
        V.

    Raises
    ------
    ArithmeticError
        If the activations are not finite, or too large to be squared.
    """

    side = "parameter"

    def __init__(self, gram, damping, accuracy=1e-4):
        self.gram = gram.in_double()
        self.a, self.xp, self.height, self.bias = self.gram.a, gram.xp, gram.height, gram.bias
        if not bool(self.xp.isfinite(self.gram.matrix).all()):
            raise ArithmeticError("the activations that enter a map are not finite, or too large to be squared")
        values, vectors = self.xp.linalg.eigh(self.gram.matrix)
        noise = 10 * len(values) * np.finfo(np.float64).eps * float(abs(values).max())
        if noise > accuracy * (max(float(values[0]), 0) + damping):
            singular, self.axes, self.outputs = self.gram.singular()
            share = 10 * min(self.a.shape[0], len(self.axes)) * np.finfo((self if damping else gram).a.dtype).eps
            kept = singular > share * singular.max()
            self.values, self.axes = singular[kept, None] ** 2, self.axes[:, kept]
            self.outputs = None if self.outputs is None else self.outputs[:, kept]
            return
        self.values = self.xp.maximum(values, max(noise / 10, np.finfo(np.float64).tiny))[:, None]
        root = self.xp.sqrt(self.values)[:, 0]
        sample = gram.side == "sample"
        self.axes = self.gram.adjoint(vectors / root) if sample else vectors
        self.outputs = vectors * root if sample else None

    @property
    def matrix(self):
        """The operator diag s."""
        return self.xp.diag(self.values[:, 0])

    def in_double(self):
        """Return itself."""
        return self

    @property
    def coordinates(self):
        """Number r of axes."""
        return len(self.values)

    def lower(self, g):
        r"""Return :math:`V^T\tilde A^Tg`."""
        return self.axes.T @ self.gram.adjoint(g) if self.outputs is None else self.outputs.T @ g

    def lift(self, u):
        """Return the step Vu in θ."""
        return self.axes @ u

    def output_change(self, u):
        r"""Return :math:`\tilde AVu`, the change of z along the step with coordinates u."""
        return self.gram.apply(self.axes @ u) if self.outputs is None else self.outputs @ u

    def apply(self, d):
        r"""Return :math:`\tilde A d`, the change of z along the step d in θ."""
        return self.gram.apply(d)

    def adjoint(self, g):
        r"""Return :math:`\tilde A^T g`."""
        return self.gram.adjoint(g)


def stacked_product(a: np.ndarray, g: np.ndarray, ones: np.ndarray | None = None) -> np.ndarray:
    r"""Return :math:`\tilde a^T g`, shape (n_in + 1, n_out), with :math:`\tilde a = [a\;1]`, which is never formed.

    It is the adjoint in θ of :math:`\tilde a\,\theta`. Another column, `ones`, may take the place of 1.
    """
    xp = np if type(a) is type(g) is np.ndarray else array_module(a, g)  # runs at every product: no call for NumPy
    result = xp.empty((a.shape[1] + 1, g.shape[1]), dtype=g.dtype)
    xp.matmul(a.T, g, out=result[:-1])
    xp.matmul(xp.ones(len(a), g.dtype) if ones is None else ones, g, out=result[-1])
    return result


def sample_gram(a, bias=True, square=None):
    r"""Return :math:`K = AA^T + 11^T` (without :math:`11^T` if not `bias`) in float64, shape (rows, rows).

    Ranks that share the product pass their own `square`, which returns :math:`A_cA_c^T` for :math:`A_c`.
    With column means m and :math:`c = A_c m`: :math:`K = A_cA_c^T + c1^T + 1c^T + (\|m\|^2 + 1)\,11^T`.
    """
    mean = a.mean(axis=0)
    a_c = a - mean  # the part of a Gram matrix that float32 can hold
    gram = (a_c @ a_c.T if square is None else square(a_c)).astype(np.float64)
    c, mean = (a_c @ mean).astype(np.float64), mean.astype(np.float64)
    gram += c[:, None] + (c + (mean @ mean + bias))[None, :]
    return gram


def parameter_gram(a, bias=True):
    r"""Return :math:`C = \tilde A^T\tilde A` in float64, shape (n_in + 1, n_in + 1), or :math:`A^TA` if not `bias`.

    With column means m: :math:`A^TA = A_c^TA_c + N m m^T`, :math:`A^T1 = N m`, :math:`1^T1 = N`.
    """
    rows, n_in = a.shape
    xp, mean = np if type(a) is np.ndarray else array_module(a), a.mean(axis=0)
    products = rest = 0
    for start in range(0, rows, CENTRED):
        a_c = a[start:start + CENTRED] - mean
        products = products + a_c.T @ a_c
        # The subtracted means are rounded, so the centred columns do not sum exactly to zero: those sums belong
        # to the cross terms.
        rest = rest + a_c.sum(axis=0, dtype=np.float64)
    mean = mean.astype(np.float64)
    gram = xp.empty((n_in + bias, n_in + bias), dtype=np.float64)
    half = rest + rows / 2 * mean  # rest mᵀ + m restᵀ + N m mᵀ = half mᵀ + m halfᵀ: one product, few temporaries
    gram[:n_in, :n_in] = products + xp.stack([half, mean], axis=1) @ xp.stack([mean, half])
    if bias:
        gram[n_in, :n_in] = gram[:n_in, n_in] = rest + rows * mean
        gram[n_in, n_in] = rows
    return gram
