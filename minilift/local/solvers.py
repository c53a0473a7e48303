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

from minilift.layers.gram import Gram
from minilift.local.problems import LocalProblem
from minilift.support.arguments import boolean, instance_of, number_between, positive_number, sequence, whole_number
from minilift.support.backend import array_module, spd_inverse

ARMIJO = 1e-4  # share of the decrease predicted by the slope that a step length must bring
HALVINGS = 30  # of a step length before a unit is left where it is
LONGER = (1.5, 2.5, 5.0)  # multiples of a step length that are tried where the problem is not convex
NEWTON_STEPS = 100  # far above what convex problems take; reaching it is an error, not a result


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
        Relative optimality residual, one number an output unit, or one for all where a local problem's gradient
        is taken in one norm (computed when asked for: it costs products).
    change : array or None
        The change of z along `value`, where the solver knows it.
    """

    value: object
    steps: int
    measure: Callable
    change: object = None

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
    instance_of("damped_solve: gram", gram, Gram).check("damped_solve", g)
    positive_number("damped_solve: damping", damping)
    xp = array_module(g)
    inverse = spd_inverse(gram.matrix + damping * xp.eye(len(gram.matrix)))
    d = gram.solve(inverse.astype(g.dtype), g)  # ProxProp (13)
    return Solution(d, 0, partial(damped_residual, gram, g, damping, d))


def conjugate_gradients(gram, g, damping, steps, joint=False):
    r"""Take `steps` of textbook conjugate gradients on the equations of `damped_solve`, from d = 0.

    On the sample side the unknowns are coefficients U of :math:`d = \tilde A^T U` and inner products are those of
    θ: with :math:`H = \tilde A\tilde A^T` and :math:`M = \tilde A^T\tilde A + \beta I`,
    :math:`\langle\tilde A^TP, M\tilde A^TP\rangle = \langle HP, HP + \beta P\rangle` and
    :math:`\|\tilde A^TR\|^2 = \langle R, HR\rangle`. HR and HP are kept by recurrence, so that an iteration costs
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
    instance_of("conjugate_gradients: gram", gram, Gram).check("conjugate_gradients", g)
    number_between("conjugate_gradients: damping", damping, 0)
    steps = whole_number("conjugate_gradients: steps", steps)
    matrix = gram.operator
    total = _sum_of_all if boolean("conjugate_gradients: joint", joint) else _sum_of_columns
    r = gram.lower(g).copy()
    gram_r = matrix @ r
    p, gram_p = r.copy(), gram_r.copy()
    u = array_module(g).zeros_like(r)
    rho = gram.squared_norm(r, gram_r, total)  # ‖R‖² in θ
    for step in range(steps):
        m_p = gram_p + damping * p
        alpha = _ratio(rho, total(gram.weigh(p, gram_p), m_p))  # exact line search along P
        u += alpha * p
        if step == steps - 1:
            break
        m_p *= alpha
        r -= m_p
        gram_r = matrix @ r
        rho_old, rho = rho, gram.squared_norm(r, gram_r, total)
        beta = _ratio(rho, rho_old)
        p *= beta
        p += r
        gram_p *= beta
        gram_p += gram_r
    d = gram.lift(u)  # ProxProp (14)
    return Solution(d, steps, partial(damped_residual, gram, g, damping, d))


def gradient_steps(problem, rates):
    r"""Take plain gradient steps :math:`D \leftarrow D + \alpha_t(\tilde a^T\nabla h - \beta D)` on a local problem.

    Parameters
    ----------
    problem : LocalProblem
    rates : sequence of float
        α_t of each step.

    Returns
    -------
    Solution
        With value D, to be subtracted from θ.
    """
    instance_of("gradient_steps: problem", problem, LocalProblem)
    rates = sequence("gradient_steps: rates", rates, "rates")
    rates = [number_between(f"gradient_steps: rates[{t}]", rate, 0) for t, rate in enumerate(rates)]
    if not rates:
        raise ValueError("gradient_steps: rates must hold at least one rate")
    u, z = problem.start(), problem.z
    for t, rate in enumerate(rates):
        u = u + rate * problem.descent(z, u)
        if t < len(rates) - 1:
            z = problem.z - problem.gram.output_change(u)
    return local_solution(problem, u, len(rates))


def fletcher_reeves(problem, steps):
    r"""Take `steps` of nonlinear conjugate gradients, after Fletcher and Reeves, on a local problem.

    Each output unit is a problem of its own with its own step length: the first trial minimises the Gauss–Newton
    model along the direction, then halving until Armijo's condition holds, then the best of a few longer ones. A
    direction that does not descend is replaced by the steepest one. On the sample side a line search costs no
    product, a step one.

    Parameters
    ----------
    problem : LocalProblem
    steps : int

    Returns
    -------
    Solution
        With value D. The objective of no unit is above where it was, up to rounding; a unit for which no step
        length is found stays.
    """
    gram = instance_of("fletcher_reeves: problem", problem, LocalProblem).gram
    steps = whole_number("fletcher_reeves: steps", steps)
    u, change_u = problem.start(), array_module(problem.z).zeros_like(problem.z)
    z, q = problem.z, problem.descent(problem.z, u)
    change_q = gram.output_change(q)
    p, change_p = q, change_q
    slope = norm_q = gram.squared_norm(q, change_q, problem.total)
    for step in range(steps):
        length = line_search(problem, z, u, change_u, p, change_p, slope)
        u, change_u = u + length * p, change_u + length * change_p
        if step == steps - 1:
            break
        z = problem.z - change_u
        q = problem.descent(z, u)
        change_q = gram.output_change(q)
        norm_old, norm_q = norm_q, gram.squared_norm(q, change_q, problem.total)
        ratio = _ratio(norm_q, norm_old)
        p, change_p = q + ratio * p, change_q + ratio * change_p
        slope = problem.total(q, gram.weigh(p, change_p))
        uphill = ~(slope > 0)
        p, change_p = _where(uphill, q, p), _where(uphill, change_q, change_p)
        slope = _where(uphill, norm_q, slope)
    return local_solution(problem, u, steps, change_u)


def newton(problem, tolerance):
    r"""Minimise a convex local problem by Newton's method, each step by conjugate gradients on the Hessian.

    Parameters
    ----------
    problem : LocalProblem
    tolerance : float
        On the norm of the gradient in θ, relative to that at the start, over all units. A gradient that rounding of
        f(z) alone would make is small enough as well.

    Returns
    -------
    Solution
        With value D.

    Raises
    ------
    ArithmeticError
        If the tolerance is not reached in `NEWTON_STEPS`, or a line search fails. Where a target lies outside the range
        of f the minimiser is far away, without a regulariser at infinity.
    """
    gram = instance_of("newton: problem", problem, LocalProblem).gram
    tolerance = positive_number("newton: tolerance", tolerance)
    u, change_u, z = problem.start(), array_module(problem.z).zeros_like(problem.z), problem.z
    first, floor = problem.norm(problem.descent(z, u)), problem.rounding()
    for step in range(NEWTON_STEPS):
        q = problem.descent(z, u)
        norm = problem.norm(q)
        if norm <= max(tolerance * first, floor) or not np.isfinite(norm):
            return local_solution(problem, u, step, change_u)
        p, change_p = newton_direction(problem, z, q, min(0.5, (norm / first) ** 0.5))
        slope = problem.total(q, gram.weigh(p, change_p))
        length = line_search(problem, z, u, change_u, p, change_p, slope)
        if not bool((length > 0).any()):
            break
        u, change_u = u + length * p, change_u + length * change_p
        z = problem.z - change_u
    raise ArithmeticError(f"newton: the gradient fell to {norm / first:.1e} of its start, not to {tolerance:.0e}; "
                          "where targets lie outside the range of f they pull the minimiser far away, without a "
                          "regulariser to infinity: give eta, a smaller eta, or a smaller gamma")


def newton_direction(problem, z, q, forcing):
    r"""Solve :math:`(\tilde a^T\nabla^2h(z)\,\tilde a + \beta I)\,P = Q` by conjugate gradients.

    Returns the coordinates of P and its change of z, once the residual has fallen to `forcing` of its start.
    """
    gram, total = problem.gram, problem.total
    p = array_module(q).zeros_like(q)
    change_p = array_module(z).zeros_like(z)
    r, change_r = q, gram.output_change(q)
    v, change_v = r, change_r
    rho = start = gram.squared_norm(r, change_r, problem.total)
    for _ in range(2 * gram.coordinates + 10):  # twice the dimension: finite termination fails in floating point
        hessian_v = gram.lower(problem.data.curvature(z, change_v)) + problem.damping * v
        alpha = _ratio(rho, total(gram.weigh(v, change_v), hessian_v))
        p, change_p = p + alpha * v, change_p + alpha * change_v
        r = r - alpha * hessian_v
        change_r = gram.output_change(r)
        rho_old, rho = rho, gram.squared_norm(r, change_r, problem.total)
        if bool((rho <= forcing**2 * start).all()):
            break
        beta = _ratio(rho, rho_old)
        v, change_v = r + beta * v, change_r + beta * change_v
    return p, change_p


def line_search(problem, z, u, change_u, p, change_p, slope):
    r"""Return a step length along p for each unit that satisfies Armijo's condition, 0 where none is found.

    The regulariser's part of the objective is known exactly along a line, from ⟨U, P⟩ and ‖P‖²; the data term
    costs one evaluation a trial. A trial that gives NaN counts as too long. Where the data term is not
    convex, of the length found and a few `LONGER` ones the one of lowest objective is taken: a better piece may begin
    beyond the minimiser of the model.
    """
    xp, data, beta, weigh = array_module(z), problem.data, problem.damping, problem.gram.weigh
    norm_p = problem.total(p, weigh(p, change_p))
    u_p = problem.total(u, weigh(p, change_p))

    def objective(length):
        return data.value(z - length * change_p) + beta * (length * u_p + length**2 / 2 * norm_p)

    length = _ratio(slope, problem.total(change_p, data.curvature(z, change_p)) + beta * norm_p)
    value = data.value(z)
    slack = 8 * np.finfo(z.dtype).eps * (abs(value) + len(z))  # each of a unit's N terms is rounded at the size of 1
    for _ in range(HALVINGS):
        trial = objective(length)
        fails = ~(trial <= value - ARMIJO * length * slope + slack) & (length != 0)
        if not bool(fails.any()):
            break
        length = _where(fails, length / 2, length)
    length = xp.where(fails, 0, length).astype(z.dtype)
    best = length
    for multiple in () if data.convex else LONGER:
        longer = objective(multiple * length)
        lower = longer < trial
        best, trial = _where(lower, multiple * length, best), _where(lower, longer, trial)
    return best


def local_solution(problem, u, steps, change=None):
    """Return the `Solution` with step D = lift(u), whose residual is the gradient's norm relative to the start."""
    d = problem.gram.lift(u)

    def residual():
        return problem.gradient_norm(d) / problem.gradient_norm(0 * d)
    return Solution(d, steps, residual, change)


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
    return _sum_of_columns(x, y).sum(keepdims=True)


def _where(mask, x, y):
    """Return x where the mask holds, else y, columnwise."""
    return array_module(x, y).where(mask, x, y)
