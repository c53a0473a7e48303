r"""The Gram operator of a map's input, :math:`\tilde A^T\tilde A` or :math:`\tilde A\tilde A^T`.

Every local problem of the papers depends on θ through :math:`\tilde A\theta` alone, with
:math:`\tilde A = [A\;1]`. So it can be solved in the space of samples or in that of parameters, whichever is smaller
(the representer argument). The column of ones is never formed.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from minilift.support.arguments import boolean, known_name
from minilift.support.backend import array_module, check_arrays


class Gram:
    r"""The least-squares operator of one map, :math:`\tilde A^T\tilde A` or :math:`\tilde A\tilde A^T`, by size.

    Every local problem of the three papers depends on θ through :math:`\tilde A\theta` alone, plus a Tikhonov
    term around the old θ. So its solution, and each iterate on the way, is θ plus :math:`\tilde A^T U` with U of
    shape (rows, n_out). On the *sample* side the unknown is that U and the operator
    :math:`K = \tilde A\tilde A^T`; on the *parameter* side it is the step in θ and :math:`C = \tilde A^T\tilde A`.
    Solvers are written once, for `matrix`, with `lower`, `lift` and `weigh` to pass between the two.

    Parameters
    ----------
    a : array (rows, n_in)
        Input activations (or patches).
    side : {"sample", "parameter"}, optional
        By default the smaller of the two matrices.
    bias : bool, default True
        Whether the column of ones belongs to :math:`\tilde A` (it does not in the W block of SIBP).

    Attributes
    ----------
    matrix : float64 array (rows, rows) or (n_in + bias, n_in + bias)
        Formed from centred activations, where large column means would cost a float32 product its last digits,
        and put together in float64.
    """

    def __init__(self, a, side=None, bias=True):
        check_arrays("Gram", a=a)
        if a.ndim != 2:
            raise ValueError(f"Gram: a must be of shape (rows, n_in), got {a.shape}")
        self.a, self.bias = a, boolean("Gram: bias", bias)
        rows, n_in = a.shape
        if side is None:
            side = "sample" if rows <= n_in + bias else "parameter"
        self.side = known_name("Gram: side", side, ("sample", "parameter"))

    @cached_property
    def matrix(self):
        """K or C, formed when first asked for."""
        return (sample_gram if self.side == "sample" else parameter_gram)(self.a, self.bias)

    @cached_property
    def operator(self):
        """`matrix` in the dtype of the activations, for products."""
        return self.matrix.astype(self.a.dtype)

    @cached_property
    def bound(self):
        """The largest absolute row sum of the operator, a bound of its norm."""
        return abs(self.operator).sum(axis=0).max()

    @property
    def height(self):
        r"""Number of rows of :math:`\tilde A`."""
        return len(self.a)

    @property
    def coordinates(self):
        """Number of coordinates of one output unit: rows, or parameters."""
        return self.a.shape[0] if self.side == "sample" else self.a.shape[1] + self.bias

    def check(self, what, g, name="g"):
        """Raise an error unless g is an array with as many rows as a."""
        check_arrays(what, **{name: g})
        if g.ndim != 2 or len(g) != self.height:
            raise ValueError(f"{what}: {name} must be of shape ({self.height}, n_out), got {g.shape}")

    def lower(self, g):
        r"""Return the coordinates of :math:`\tilde A^T g`: g itself on the sample side."""
        return g if self.side == "sample" else self.adjoint(g)

    def lift(self, u):
        r"""Return the step in θ with coordinates u: :math:`\tilde A^T u` on the sample side."""
        return self.adjoint(u) if self.side == "sample" else u

    def solve(self, inverse, g):
        r"""Return the step :math:`\tilde A^TK^{-1}g`, or :math:`C^{-1}\tilde A^Tg`, cheaper product first."""
        if self.side == "parameter" or self.a.shape[1] >= g.shape[1]:
            return self.lift(inverse @ self.lower(g))
        solved = inverse @ self.a
        return stacked_product(solved, g, ones=inverse.sum(axis=0)) if self.bias else solved.T @ g

    def weigh(self, u, gram_u):
        r"""Return w such that ⟨w, v⟩ is the inner product in θ of the steps with coordinates u and v.

        On the sample side :math:`\langle\tilde A^Tu, \tilde A^Tv\rangle = \langle Ku, v\rangle`, and Ku is known
        to those who ask (`gram_u`); on the parameter side it is u.
        """
        return gram_u if self.side == "sample" else u

    def squared_norm(self, u, gram_u, total):
        r"""Return the squared norm in θ of the step with coordinates u, summed by `total` (over columns, or all).

        On the sample side it is ⟨u, Ku⟩, which for u near the null space of K is made of rounding alone, of the size of
        ‖K‖‖u‖²: then 0 is returned, so that no solver divides noise by noise.
        """
        square = total(u, self.weigh(u, gram_u))
        if self.side == "parameter":
            return square
        rounding = 4 * np.finfo(u.dtype).eps * self.bound * total(u, u)
        return array_module(u).where(square > rounding, square, 0).astype(u.dtype)

    def output_change(self, u):
        r"""Return the change of z along the step with coordinates u: Ku on the sample side, Ãu on the other."""
        return self.operator @ u if self.side == "sample" else self.apply(u)

    def apply(self, d):
        r"""Return :math:`\tilde A d`, the change of z along the step d in θ."""
        return self.a @ d[:-1] + d[-1] if self.bias else self.a @ d

    def adjoint(self, g):
        r"""Return :math:`\tilde A^T g`."""
        return stacked_product(self.a, g) if self.bias else self.a.T @ g


def stacked_product(a, g, ones=None):
    r"""Return :math:`[a\;1]^T g`, or with another column `ones` in the place of 1, without forming [a 1]."""
    xp = array_module(a, g)
    result = xp.empty((a.shape[1] + 1, g.shape[1]), dtype=g.dtype)
    xp.matmul(a.T, g, out=result[:-1])
    xp.matmul(xp.ones(len(a), g.dtype) if ones is None else ones, g, out=result[-1])
    return result


def centred(a):
    """Return a minus its column means, and the means; the part of a Gram matrix that float32 can hold."""
    mean = a.mean(axis=0)
    return a - mean, mean.astype(np.float64)


def sample_gram(a, bias=True):
    r"""Return :math:`K = AA^T + 11^T` (without :math:`11^T` if not `bias`) in float64, shape (rows, rows).

    With column means m and :math:`c = A_c m`: :math:`K = A_cA_c^T + c1^T + 1c^T + (\|m\|^2 + 1)\,11^T`.
    """
    a_c, mean = centred(a)
    gram = (a_c @ a_c.T).astype(np.float64)
    c = (a_c @ mean.astype(a.dtype)).astype(np.float64)
    gram += c[:, None] + (c + (mean @ mean + bias))[None, :]
    return gram


def parameter_gram(a, bias=True):
    r"""Return :math:`C = \tilde A^T\tilde A` in float64, shape (n_in + 1, n_in + 1), or :math:`A^TA` if not `bias`.

    With column means m: :math:`A^TA = A_c^TA_c + N m m^T`, :math:`A^T1 = N m`, :math:`1^T1 = N`.
    """
    xp = array_module(a)
    rows, n_in = a.shape
    a_c, mean = centred(a)
    # The means that were subtracted are rounded, so that the centred columns sum to a little more than zero: those
    # sums belong to the cross terms.
    gram = xp.empty((n_in + bias, n_in + bias), dtype=np.float64)
    rest = a_c.sum(axis=0, dtype=np.float64)
    gram[:n_in, :n_in] = a_c.T @ a_c
    gram[:n_in, :n_in] += rest[:, None] * mean + mean[:, None] * rest + rows * mean[:, None] * mean
    if bias:
        gram[n_in, :n_in] = gram[:n_in, n_in] = rest + rows * mean
        gram[n_in, n_in] = rows
    return gram
