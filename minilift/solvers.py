r"""Solvers of the local problems, each with its objective and its optimality residual.

The damped least-squares step of ProxProp (11), written for the difference d, is

.. math:: d = \arg\min_d \tfrac12\|\tilde A d - g\|^2 + \tfrac{\beta}{2}\|d\|^2
            = (\tilde A^T\tilde A + \beta I)^{-1}\tilde A^T g = \tilde A^T(\tilde A\tilde A^T + \beta I)^{-1} g,

with β = 1/τ_θ: solving for new parameters and subtracting the old ones would lose it in float32. Which of the two
sides is solved is the `Gram` operator's choice; the solvers are written once for both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from minilift.backend import array_module, spd_inverse


@dataclass(frozen=True)
class Solution:
    """What a solver returns.

    Attributes
    ----------
    value : array
        The minimiser, or the last iterate.
    steps : int
        Iterations done; 0 for a direct solve.
    residual : array
        Relative optimality residual, one number an output unit (computed when asked for: it costs products).
    """

    value: object
    steps: int
    measure: Callable

    @cached_property
    def residual(self):
        """Relative optimality residual of each output unit."""
        return self.measure()


def damped_solve(gram, g, damping):
    r"""Solve :math:`(\tilde A^T\tilde A + \beta I)\, d = \tilde A^T g` directly, on the cheaper side.

    Parameters
    ----------
    gram : Gram
        Of the map's input, with (rows, n_in) activations.
    g : array (rows, n_out)
    damping : float
        β > 0, that is 1/τ_θ.

    Returns
    -------
    Solution
        With value d of shape (n_in + 1, n_out). The small matrix is inverted in float64 and applied in g's dtype.

    Raises
    ------
    ArithmeticError
        If the damped matrix is not positive definite to working precision.
    """
    xp = array_module(g)
    inverse = spd_inverse(gram.matrix + damping * xp.eye(len(gram.matrix)))
    d = gram.lift(inverse.astype(g.dtype) @ gram.lower(g))  # ProxProp (13)
    return Solution(d, 0, partial(damped_residual, gram, g, damping, d))


def conjugate_gradients(gram, g, damping, steps, joint=False):
    r"""Take `steps` of textbook conjugate gradients on :math:`(\tilde A^T\tilde A + \beta I)\, d = \tilde A^T g`, from d = 0.

    On the sample side the unknowns are coefficients U of :math:`d = \tilde A^T U` and inner products are those of
    θ: with :math:`H = \tilde A\tilde A^T`, :math:`\langle\tilde A^TP, M\tilde A^TP\rangle = \langle HP, HP + \beta P\rangle`
    and :math:`\|\tilde A^TR\|^2 = \langle R, HR\rangle`. HR and HP are kept by recurrence, so that an iteration costs
    one product with H on either side.

    Parameters
    ----------
    gram, g, damping
        As in `damped_solve`.
    steps : int
        Number of iterations K; any number gives a descent direction (ProxProp Prop. 5).
    joint : bool, default False
        Whether all output units share one step length (the whole tensor as one unknown, as ProxProp's authors do
        for convolutions). By default each unit, a problem of its own, has its own.

    Returns
    -------
    Solution
    """
    matrix = gram.matrix.astype(g.dtype)
    total = _sum_of_all if joint else _sum_of_columns
    r = gram.lower(g).copy()
    gram_r = matrix @ r
    p, gram_p = r.copy(), gram_r.copy()
    u = array_module(g).zeros_like(r)
    rho = total(r, gram.weigh(r, gram_r))  # ‖R‖² in θ
    for step in range(steps):
        m_p = gram_p + damping * p
        alpha = _ratio(rho, total(gram.weigh(p, gram_p), m_p))  # exact line search along P
        u += alpha * p
        if step == steps - 1:
            break
        m_p *= alpha
        r -= m_p
        gram_r = matrix @ r
        rho_old, rho = rho, total(r, gram.weigh(r, gram_r))
        beta = _ratio(rho, rho_old)
        p *= beta
        p += r
        gram_p *= beta
        gram_p += gram_r
    d = gram.lift(u)  # ProxProp (14)
    return Solution(d, steps, partial(damped_residual, gram, g, damping, d))


def damped_objective(a, g, damping, d):
    r"""Return :math:`\tfrac12\|\tilde A d - g\|^2 + \tfrac{\beta}{2}\|d\|^2`, what the two solvers above minimise."""
    misfit = a @ d[:-1] + d[-1] - g
    return float((misfit**2).sum() / 2 + damping * (d**2).sum() / 2)


def damped_residual(gram, g, damping, d):
    r"""Return :math:`\|M d - \tilde A^T g\| / \|\tilde A^T g\|` of each column, 0 where both vanish."""
    b = gram.adjoint(g)
    residual = gram.adjoint(gram.apply(d)) + damping * d - b
    return _ratio(_norms(residual), _norms(b))


def _norms(x):
    return array_module(x).sqrt((x * x).sum(axis=0))


def _ratio(numerator, denominator):
    """Return numerator/denominator, 0 where the denominator is 0: a unit without signal takes no step."""
    xp = array_module(denominator)
    safe = xp.where(denominator == 0, 1, denominator).astype(denominator.dtype)
    return xp.where(denominator == 0, 0, numerator / safe).astype(denominator.dtype)


def _sum_of_columns(x, y):
    """Return the inner product of each pair of columns, shape (n_out,)."""
    return array_module(x, y).einsum("ij,ij->j", x, y)


def _sum_of_all(x, y):
    """Return the one inner product of x and y."""
    return array_module(x, y).einsum("ij,ij->", x, y).reshape(1)
