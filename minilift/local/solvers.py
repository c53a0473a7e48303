r"""Solvers for the local problems, each with its objective and its optimality residual.

The damped least-squares step of ProxProp (11), written for the difference d, is

.. math:: d = \arg\min_d \tfrac12\|\tilde A d - g\|^2 + \tfrac{\beta}{2}\|d\|^2
            = (\tilde A^T\tilde A + \beta I)^{-1}\tilde A^T g = \tilde A^T(\tilde A\tilde A^T + \beta I)^{-1} g,

with β = 1/τ_θ. Solving for the new parameters and subtracting the old ones would lose d in float32. The `Gram` operator
chooses which of the two sides is solved; the solvers are written once for both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from minilift.layers.gram import Gram, PrincipalAxes
from minilift.local.minimisers import has_minimiser, softened
from minilift.local.problems import LocalProblem, MatchingLoss, Step
from minilift.support.arguments import boolean, instance_of, number_between, sequence, shown, whole_number, wrong_class
from minilift.support.backend import all_finite, array_module, in_cache, spd_inverse, to_numpy

PROBED = 16  # output units, at most, from which the rounding error of a direct solve is estimated
TRUSTED = {"float32": 8e-5, "float64": 1e-9}  # relative error up to which the quick direct solve is accepted
CERTAIN = {"float32": 3e-5, "float64": 1e-9}  # estimate up to which that error is not measured
DOUBTED = {"float32": 8e-4, "float64": 1e-9}  # estimate above which it is not measured either; never in float64
EVEN = 4  # unevenness of samples that counts as usual
ARMIJO = 1e-4  # share of the decrease predicted by the slope that a step length must achieve
HALVINGS = 50  # of a step length before a unit is left where it is
LONGER = 1.5  # factor on a step length, tried where the problem is not convex
NEWTON_STEPS = 200  # far above what convex problems take; reaching it is an error, not a result
PATIENCE = 10  # Newton steps without progress after which a decrease below rounding ends the search
SOFTER = 4.0  # ratio of the scales of two successive softened problems
FLAT = 1e-13  # curvature along a direction, as a share of that of f(z) = z, below which it is only rounding of f


class NoMinimiserError(ArithmeticError):
    """A local problem without a regulariser has no minimiser."""


@dataclass(frozen=True)
class Solution:
    """What a solver returns.

    Attributes
    ----------
    value : array
        The minimiser, or the last iterate.
    steps : int
        Iterations done; 0 for a direct solve.
    measure : callable
        Without arguments, computes `residual`.
    residual : array
        Relative optimality residual, one number per output unit, or one for all where a local problem's gradient
        is measured in one norm (computed on first use, since it costs products).
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


def exact(problem, tolerance=1e-10):
    """Return the `Solution` of a convex local problem: in closed form if the gap is quadratic, else by `newton`.

    Parameters
    ----------
    problem : LocalProblem
        One whose gap is quadratic or a `MatchingLoss`.
    tolerance : float, default 1e-10
        As for `newton`.

    Examples
    --------
    >>> a, z, g = np.array([[1.0], [2.0]]), np.zeros((2, 1)), np.array([[0.1], [0.3]])
    >>> problem = ml.problems.LocalProblem(ml.Linear(1, 1).gram(a), z, ml.problems.MatchingLoss(ml.Tanh(), z, g), 0.0)
    >>> d = ml.solvers.exact(problem).value
    >>> np.tanh(z - a @ d[:-1] - d[-1]).round(4).tolist()  # the targets tanh z − g are met
    [[-0.1], [-0.3]]
    """
    if not isinstance(problem, LocalProblem):
        raise wrong_class("exact: problem", problem, LocalProblem)
    gap, z = problem.gap, problem.z
    if gap.quadratic:
        signal = gap.signal if z is gap.z else z - gap.z + gap.signal
        return direct_solution(problem.gram, signal, problem.damping / gap.quadratic)
    return newton(problem, tolerance)


def damped_solve(gram, g, damping):
    r"""Solve :math:`(\tilde A^T\tilde A + \beta I)\, d = \tilde A^T g` directly, on the cheaper side.

    The smaller matrix is inverted in float64 and applied in g's dtype, or in float64 if there are many rows. If the
    estimated rounding error exceeds `CERTAIN`, a few output units are solved again in float64. If these
    differ by more than `TRUSTED`, or the estimate exceeds `DOUBTED`, everything is done in float64 along the principal
    axes of the data, at two or three times the cost: for inputs of size 255, say, for very large τ_θ, for repeated
    samples, or if one is a hundred times the others. On patches this is done as soon as the estimate exceeds `TRUSTED`.

    Parameters
    ----------
    gram : Gram
        The operator of the map's input, with (rows, n_in) activations.
    g : array (rows, n_out)
    damping : float
        β ≥ 0, that is 1/τ_θ. For β = 0, d is the minimiser of least norm.

    Returns
    -------
    Solution
        With value d of shape (n_in + 1, n_out), in float32 to about 1e-4 of its norm. Sums over very many rows cost
        more: 2e-4 for a million rows, if neither activations nor signals change sign.

    Raises
    ------
    TypeError
        If the dtype of g is neither float32 nor float64.
    ArithmeticError
        If β is 0 or very small, and the activations are not finite, or too large to be squared. With a larger β the
        step is NaN where they or g are not finite: reporting divergence is left to the caller.

    Examples
    --------
    >>> a, g = np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]])
    >>> A = np.c_[a, np.ones(2)]
    >>> d = ml.solvers.damped_solve(ml.Linear(1, 1).gram(a), g, damping=0.5).value
    >>> np.allclose((A.T @ A + 0.5 * np.eye(2)) @ d, A.T @ g)
    True
    """
    check("damped_solve", gram, g, damping)
    return direct_solution(gram, g, damping)


def direct_solution(gram, g, damping):
    """Return the `Solution` of `damped_solve`, by the quick solve if rounding allows it."""
    if g.dtype.itemsize not in (4, 8):  # runs in every step, and a dtype's name is slow to get
        raise TypeError(f"damped_solve: g must be of dtype {' or '.join(TRUSTED)}, got {g.dtype}")
    d = quick_solve(gram, g, damping) if damping else None
    d = careful_solve(gram, g, damping) if d is None else d
    return Solution(d, 0, partial(damped_residual, gram, g, damping, d))


def check(what, gram, g, damping):
    """Raise an error that names a solver's invalid argument."""
    instance_of(f"{what}: gram", gram, Gram)
    if type(g) is not type(gram.a) or g.dtype != gram.a.dtype or g.shape[:1] != (gram.height,) or g.ndim != 2:
        raise ValueError(f"{what}: g must be an array of shape ({gram.height}, n_out) and dtype {gram.a.dtype}, "
                         f"got {shown(g)}")
    if not gram.whole_height * g.shape[1]:  # a rank may have no rows, but not all of them
        raise ValueError(f"{what}: g must hold a row and a column at least, got one of shape {g.shape}")
    number_between(f"{what}: damping", damping, 0)


def quick_solve(gram, g, damping):
    """Return d by the inverse of the small matrix, or None where rounding would spoil it."""
    try:
        inverse = spd_inverse(shifted(gram.matrix, damping))
    except ArithmeticError:
        return None
    q, dtype = gram.lower(g), g.dtype.name
    applied = inverse if many_rows(gram, inverse) else inverse.astype(dtype)
    units = slice(None, None, -(-q.shape[1] // PROBED))
    estimate = rounding_error(gram, inverse, applied, damping, g, q, units)
    measurable = gram.a.ndim == 2  # a measurement on patches would cost as much as a careful solve
    if estimate > (DOUBTED if measurable else TRUSTED)[dtype]:
        return None
    d = gram.solve(applied, q).astype(dtype, copy=False)  # ProxProp (13), Representer
    doubtful = measurable and estimate > CERTAIN[dtype]
    return None if doubtful and measured_error(gram, inverse, damping, g, d, units) > TRUSTED[dtype] else d


def shifted(matrix, damping):
    """Return a square matrix with the damping added to its diagonal, in a new array."""
    result = matrix.copy()
    result.reshape(-1)[::len(result) + 1] += damping
    return result


def many_rows(gram, inverse):
    """Whether there are so many rows that applying the inverse in float64 too costs little compared with ãᵀg."""
    return gram.side == "parameter" and gram.whole_height >= 4 * len(inverse)


def careful_solve(gram, g, damping):
    """Return d in float64 along principal axes, where M is diagonal: v = (s + β)⁻¹ Vᵀãᵀg."""
    # rounding of the axes counts tenfold or more if the signal is almost orthogonal to the data, as after a good fit
    axes = PrincipalAxes(gram, damping, accuracy=TRUSTED[g.dtype.name] / 10)
    v = axes.lower(gram.whole(g).astype(np.float64)) / (axes.values + damping)  # ProxProp (13)
    return axes.lift(v).astype(g.dtype)


def rounding_error(gram, inverse, applied, damping, g, q, units):
    r"""Estimate the relative error of `quick_solve`, from a few output units and the small matrices.

    Three roundings of size ε count: that of the Gram matrix (of centred activations a_c), taken as random, that of the
    inverse, when it is cast to g's dtype, and those of the products. On the sample side the cast and its product are
    carried out: for repeated samples, roundings add up instead of cancelling. An error δU in the coefficients becomes
    one of size :math:`\|\tilde A^T\delta U\|`, or if random, of size :math:`\|\tilde A\|_F\|\delta U\|/\sqrt{N}`. On
    the parameter side all are taken as random; if the inverse is applied in float64 (see `many_rows`), the last product
    contributes only the rounding of q. The factors were fitted to digits, CIFAR-10 images and degenerate inputs, so
    that the estimate is seldom below a third of the error; on the parameter side it is often ten times too large.
    """
    xp, n, eps, few = gram.xp, len(inverse), np.finfo(g.dtype).eps, q[:, units].astype(np.float64)
    u, of_inverse, trace = inverse @ few, norm(inverse), float(gram.matrix.trace())
    if gram.side == "sample":
        of_d = abs(float(xp.vdot(u, gram.matrix @ u))) ** 0.5
        centred = trace - float(gram.matrix.sum()) / n  # ‖a_c‖²
        spread = max(float(inverse.trace()) - damping * of_inverse**2, 0) ** 0.5  # ‖Ãᵀ(K + βI)⁻¹‖
        lost = applied @ q[:, units] - u
        random = norm(u) + np.finfo(np.float64).eps / eps * of_inverse * norm(few) / n**0.5  # the inverse is in float64
        products = abs(float(xp.vdot(lost, gram.matrix @ lost))) ** 0.5 / eps + 4 * (trace / n) ** 0.5 * random
    else:
        rows, of_d = gram.whole_height, norm(u)
        unevenness, of_g = unevenness_and_norm(gram, g[:, units])
        averaging = min(1, 10 / rows**0.5)  # rounding of long sums cancels
        uneven = max(1.0, unevenness / EVEN)  # but not if one sample dominates the sum
        means = float((gram.matrix[-1, :-1] ** 2).sum()) / rows if gram.bias else 0.0
        centred, spread = trace - gram.bias * rows - means, uneven * averaging * of_inverse
        of_q = (1 if applied is inverse else 4) * norm(few)
        products = of_inverse * (of_q + averaging * trace**0.5 * of_g) / n**0.5
    if of_d > 0:
        return eps / of_d * (0.4 * spread * centred / n * norm(u) + products)
    return np.inf if trace > 0 and q.any() else 0.0  # units without a signal say nothing about the others


def unevenness_and_norm(gram, g):
    """Return N Σ s²/(Σ s)² of the squared norms s of N samples, and ‖g‖ estimated from some of its rows.

    The first is 1 if all samples have the same norm, and N if all but one are zero.
    """
    a = gram.a.reshape(len(gram.a), gram.a[:1].size)  # a rank may have no samples
    square, every = gram.xp.einsum("ij,ij->i", a, a).astype(np.float64), max(1, -(-len(g) // 4096))
    of_rank = [len(a), float(square.sum()), float(square @ square), every * norm(g[::every]) ** 2]
    count, total, of_squares, of_g = gram.total(np.array(of_rank))
    return float(count * of_squares / total**2) if total else 1.0, float(of_g) ** 0.5


def measured_error(gram, inverse, damping, g, d, units):
    """Return the relative error of a few output units of d, plus a fifth to allow for the others.

    Those units are solved again in float64 and refined once, since the inverse is that of a rounded Gram matrix.
    """
    double = gram.in_double()
    q = double.lower(gram.whole(g[:, units]).astype(np.float64))
    u = inverse @ q
    again = double.apply(double.lift(u)) if gram.side == "sample" else double.adjoint(double.apply(u))
    few = double.lift(u + inverse @ (q - again - damping * u))
    return 1.2 * norm(d[:, units] - few) / norm(few)


def conjugate_gradients(gram, g, damping, steps, joint=False):
    r"""Take `steps` steps of textbook conjugate gradients on the equations of `damped_solve`, from d = 0.

    On the sample side the unknowns are the coefficients U of :math:`d = \tilde A^T U` and inner products are those of
    θ: with :math:`H = \tilde A\tilde A^T` and :math:`M = \tilde A^T\tilde A + \beta I`,
    :math:`\langle\tilde A^TP, M\tilde A^TP\rangle = \langle HP, HP + \beta P\rangle` and
    :math:`\|\tilde A^TR\|^2 = \langle R, HR\rangle`. HP is updated by recurrence, so an iteration costs one product
    with the operator, HR, on either side. A unit whose residual does not exceed the rounding of
    :math:`\tilde A^Tg` has converged and stays: further steps would only magnify rounding. If activations far from 0
    keep the operator in float64, where it does not lose its smaller eigenvalues, all is done in float64.

    Parameters
    ----------
    gram, g, damping
        As in `damped_solve`.
    steps : int
        Number of iterations K; any number gives a descent direction (ProxProp Prop. 5).
    joint : bool, default False
        Whether all output units share one step length (the whole tensor is one unknown, as ProxProp's authors have it
        for convolutions). By default each unit is a separate problem with its own step length.

    Returns
    -------
    Solution

    Examples
    --------
    >>> a, g = np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]])
    >>> gram = ml.Linear(1, 1).gram(a)
    >>> [float(ml.solvers.conjugate_gradients(gram, g, 0.5, steps).residual.round(4)[0]) for steps in (1, 2)]
    [0.0314, 0.0]
    """
    check("conjugate_gradients", gram, g, damping)
    steps, joint = whole_number("conjugate_gradients: steps", steps), boolean("conjugate_gradients: joint", joint)

    def total(of_each):
        return lambda *vectors: of_each(*vectors).sum(keepdims=True)

    def product(p, gram_p):
        return gram_p + damping * p

    of_units = gram.inner, gram.squared_norm, gram.rounding_of_lower
    inner, square, rounding = map(total, of_units) if joint else of_units
    b = gram.lower(g).astype(gram.operator.dtype, copy=False)
    u = cg_solve(product, b, inner, steps, along=lambda r: (r, gram.product(r)), square=square, goal=rounding(g))
    d = gram.lift(u).astype(g.dtype, copy=False)  # ProxProp (14), Representer
    return Solution(d, steps, partial(damped_residual, gram, g, damping, d))


def cg_solve(product, b, inner, steps, along=None, square=None, goal=0.0, forcing=None, least=None):
    r"""Solve :math:`Mx = b` by conjugate gradients from x = 0, for positive definite M, separately for each unit.

    With the residual r and :math:`y = r`, or y = Pr for a preconditioner P, a step is

    .. math:: \alpha = \frac{\langle r, y\rangle}{\langle p, Mp\rangle}, \quad x \leftarrow x + \alpha p, \quad
                r \leftarrow r - \alpha Mp, \quad
                p \leftarrow y + \frac{\langle r, y\rangle}{\langle r, y\rangle_{\text{old}}}\, p.

    Parameters
    ----------
    product : callable
        From p to Mp, in a new array.
    b : array
    inner : callable
        ⟨p, q⟩ of each unit, in a shape that broadcasts over it; this defines a unit: a column, a row, or everything.
    steps : int
        The largest number of steps, each of one product.
    along : callable, optional
        From r to a tuple of y and arrays linear in y: p has the same parts, updated without a product.
        `product`, `inner` and `square` take all of them. By default (r,).
    square : callable, optional
        ⟨r, y⟩ from the tuple of `along` alone; by default computed by `inner`.
    goal : float or array, default 0
        A unit whose ⟨r, y⟩ is no larger than this stays from then on.
    forcing : float, optional
        If given, `goal` is instead forcing² times ⟨r, y⟩ at the start, and the iteration ends when all units stay.
        By default all steps are taken.
    least : callable, optional
        From p to the value up to which a curvature ⟨p, Mp⟩ is only rounding. A unit that meets such a direction stays
        from then on; if it is the very first, the step is p itself.
    """
    xp = np if type(b) is np.ndarray else array_module(b)
    x, r, p, rho = xp.zeros_like(b), b.copy(), [], 0.0
    for step in range(steps):
        y, rho_old = (r,) if along is None else along(r), rho
        rho = inner(*y, r) if square is None else square(*y)
        if step == 0:
            p = [part.copy() for part in y]
            goal = goal if forcing is None else forcing**2 * rho
        else:
            rho *= rho > goal
            if forcing is not None and not bool((rho > 0).any()):
                break
            beta = ratio(rho, rho_old)  # ProxProp (14)
            for part, new in zip(p, y):
                part *= beta
                part += new
        q = product(*p)
        curvature = inner(*p, q)
        alpha = ratio(rho, curvature)  # ProxProp (14)
        if least is not None:
            flat = ~(curvature > least(*p))
            alpha, goal = xp.where(flat, float(step == 0), alpha), xp.where(flat, np.inf, goal)
        x += alpha * p[0]
        if step < steps - 1:
            q *= alpha
            r -= q
    return x


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
        With value D, which is to be subtracted from θ.

    Examples
    --------
    >>> a, z, g = np.array([[1.0], [2.0]]), np.zeros((2, 1)), np.array([[1.0], [3.0]])
    >>> problem = ml.problems.LocalProblem(ml.Linear(1, 1).gram(a), z, ml.problems.SquaredGap(z, g), damping=0.0)
    >>> ml.solvers.gradient_steps(problem, rates=[0.1]).value.round(4).tolist()  # 0.1 ãᵀg
    [[0.7], [0.4]]
    """
    instance_of("gradient_steps: problem", problem, LocalProblem)
    rates = sequence("gradient_steps: rates", rates, "rates")
    if not rates:
        raise ValueError("gradient_steps: rates must hold at least one rate, got none")
    rates = [number_between(f"gradient_steps: rates[{t}]", rate, 0) for t, rate in enumerate(rates)]
    u, gram = problem.start().u, problem.gram
    q = problem.descent(problem.gap.gradient(problem.z), u)
    for t, rate in enumerate(rates):
        u = u + rate * q
        if t == len(rates) - 1:
            break
        if problem.gap.quadratic:  # ∇h is linear: its change is known without the rows
            q = q - rate * (problem.gap.quadratic * (gram.product(q)) + problem.damping * q)
        else:
            q = problem.descent(problem.gap.gradient(problem.z - gram.output_change(u)), u)
    return local_solution(problem, gram.lift(u), len(rates))


def fletcher_reeves(problem, steps):
    r"""Take `steps` steps of nonlinear conjugate gradients, after Fletcher and Reeves, on a local problem.

    Each output unit is a separate problem with its own step length: the first trial minimises the Gauss–Newton
    model along the direction; it is then halved until Armijo's condition holds; finally, if the gap is not convex, a
    longer one is taken if it is better. A direction that does not descend is replaced by steepest descent. On the
    sample side a line search costs no product, and a step costs one.

    Parameters
    ----------
    problem : LocalProblem
    steps : int

    Returns
    -------
    Solution
        With value D. No unit's objective is higher than at the start, up to rounding; a unit for which no step
        length is found stays.

    Examples
    --------
    >>> a, z, g = np.array([[1.0], [2.0]]), np.zeros((2, 1)), np.array([[1.0], [3.0]])
    >>> problem = ml.problems.LocalProblem(ml.Linear(1, 1).gram(a), z, ml.problems.SquaredFit(ml.Identity(), z, g), 0.0)
    >>> ml.solvers.fletcher_reeves(problem, steps=2).value.round(4).tolist()
    [[2.0], [-1.0]]
    """
    instance_of("fletcher_reeves: problem", problem, LocalProblem)
    steps = whole_number("fletcher_reeves: steps", steps)
    at = problem.start()
    model = problem.gap.model(problem.z)
    q = p = problem.step(problem.descent(model.gradient, at.u))
    slope = norm_q = problem.squared_norm(q)
    for step in range(steps):
        at = at.plus(line_search(problem, at, p, model, slope), p)
        if step == steps - 1:
            break
        model = problem.gap.model(problem.z - at.change)
        q = problem.step(problem.descent(model.gradient, at.u))
        norm_old, norm_q = norm_q, problem.squared_norm(q)
        p = q.plus(ratio(norm_q, norm_old), p)
        slope = problem.inner(p, q.u)
        uphill = ~(slope > 0)
        if uphill.any():
            p = Step(*(problem.xp.where(uphill, steepest, old) for steepest, old in zip(q, p)))
            slope = problem.xp.where(uphill, norm_q, slope)
    return local_solution(problem, problem.gram.lift(at.u), steps, at.change)


def newton(problem, tolerance):
    r"""Minimise a convex local problem by Newton's method, in float64 along the principal axes of the data.

    Each step comes from preconditioned conjugate gradients on the Hessian :math:`B^T\nabla^2h(z)B + \beta I`. The
    preconditioner is diag s + βI, which the Hessian would be for f(z) = z. Without a regulariser there may be several
    minimisers: all iterates lie in the span of the data, and if a choice remains because f is flat, as for ReLUs that
    do not fire, the step `of_least_norm` is taken.

    Parameters
    ----------
    problem : LocalProblem
        One whose gap is a `MatchingLoss`.
    tolerance : float
        On the norm of the gradient in θ over all units, relative to that at the start. No more is asked than
        rounding allows, not even with 0: a gradient as small as the rounding of z and f(z) is accepted, and so is the
        smallest one found when steps promise a decrease below the rounding of the objective and make no progress.

    Returns
    -------
    Solution
        With value D, in the dtype of the problem.

    Raises
    ------
    ArithmeticError
        `NoMinimiserError` if there is no regulariser and targets outside the range of f pull the minimiser to infinity.
        Also if values or signals are not finite, or if the gradient does not fall to the tolerance in `NEWTON_STEPS`,
        not even by way of softened problems.

    Examples
    --------
    >>> a, z, g = np.array([[1.0], [2.0]]), np.zeros((2, 1)), np.array([[0.1], [0.3]])
    >>> problem = ml.problems.LocalProblem(ml.Linear(1, 1).gram(a), z, ml.problems.MatchingLoss(ml.Tanh(), z, g), 0.1)
    >>> solution = ml.solvers.newton(problem, tolerance=1e-8)
    >>> solution.steps < 10, bool(np.all(solution.residual < 1e-8))
    (True, True)
    """
    instance_of("newton: problem", problem, LocalProblem)
    instance_of("newton: the gap of problem", problem.gap, MatchingLoss)
    number_between("newton: tolerance", tolerance, 0)
    careful = LocalProblem(PrincipalAxes(problem.gram, problem.damping, accuracy=1e-10),
                           problem.z.astype(np.float64), problem.gap.in_double(), problem.damping)
    first = norm(careful.descent(careful.gap.gradient(careful.z), 0))
    if not (all_finite(careful.z) and np.isfinite(first)):
        raise ArithmeticError("newton: values or signals of a map are not finite: its inputs or weights are too large")
    if not problem.damping and not has_minimiser(careful):
        raise NoMinimiserError("newton: a target is no value of f. It pulls the minimiser without a regulariser to "
                               "infinity")
    u, steps, least, found = newton_steps(problem, careful, careful.start().u, tolerance, first)
    if not found:
        u, steps, least, found = newton_steps(problem, careful, from_afar(problem, careful, u), tolerance, first)
    if not found:
        raise ArithmeticError(f"newton: the gradient fell to {least / first:.1e} of its start, not to {tolerance:.0e}; "
                              "where targets lie near the end of the range of f, or outside, they pull the minimiser "
                              "far away: a stronger regulariser holds it back, or targets nearer to f(z)")
    u = u if problem.damping else of_least_norm(careful, u)
    return local_solution(problem, careful.gram.lift(u).astype(problem.z.dtype), steps)


def newton_steps(problem, careful, u, tolerance, first=None):
    """Take Newton steps from u; return the best u, the number of steps, its gradient's norm, and whether it is enough.

    `careful` is the problem in float64 along principal axes, `problem` the given one. The tolerance is a share
    of `first`, by default the norm of the gradient at the start.
    """
    at, best, least, waited, stalled = careful.step(u), u, np.inf, 0, False
    for step in range(NEWTON_STEPS):
        z = careful.z - at.change
        model = careful.gap.model(z)
        q = careful.descent(model.gradient, at.u)
        size = norm(q)
        first = size if first is None else first
        waited = 0 if size < least / 2 else waited + 1
        best, least = (at.u, size) if size < least else (best, least)
        enough = max(tolerance * first, rounding_of_gradient(problem, careful, model, z, at.u))
        if size <= enough or stalled or not np.isfinite(size):
            return best, step, least, True
        p = newton_direction(careful, model, q, min(0.1, max(size / first, 1e-4)))
        slope = careful.inner(p, q)
        gain = careful.gap.rounding(model, float(abs(z).max()))
        stalled = waited > PATIENCE and bool((slope <= gain).all())
        at = at.plus(line_search(careful, at, p, model, slope, careful.xp.ones_like(model.value)), p)
    return best, NEWTON_STEPS, least, False


def from_afar(problem, careful, u):
    """Return coordinates near a minimiser far from the saturated z, through ever less softened problems.

    Where f is saturated the objective is nearly linear, with kinks, and a Newton step does not see the next kink. The
    first softened problem has none within reach of the steps that led to u.
    """
    scale = 1 + float(abs(careful.z - careful.step(u).change).max())
    while scale > 1:
        u, *_ = newton_steps(problem, softened(careful, scale), u, tolerance=1e-2)
        scale /= SOFTER
    return u


def of_least_norm(problem, u):
    r"""Return the shortest of all steps with the same f(z) as the step u, in coordinates of principal axes.

    The minimisers of a convex problem share its gradient, and so f(z). Where f increases strictly, this fixes z; on a
    flat piece it means only that z lies there, as :math:`z \le 0` for a ReLU. The step is a projection onto linear
    constraints, per unit, by Lawson and Hanson's least distance programming. Without flat pieces there is no choice.
    """
    flat = [(low, high) for low, high, slope, _ in problem.gap.f.pieces or () if slope == 0]
    if not flat:
        return u
    u, z_k = to_numpy(u).copy(), to_numpy(problem.z)
    rows = to_numpy(problem.gram.output_change(problem.xp.eye(len(u))))
    for j in range(u.shape[1]):
        z = z_k[:, j] - rows @ u[:, j]
        kink = 1e-7 * abs(z).max()  # Newton stops a little to one side of a kink
        on = [(z >= low - kink) & (z <= high + kink) for low, high in flat]
        ends = [(on_piece, sign, end) for on_piece, piece in zip(on, flat) for sign, end in zip((-1, 1), piece)
                if np.isfinite(end)]
        free = np.concatenate([sign * rows[on_piece] for on_piece, sign, _ in ends])
        least = np.concatenate([sign * (z_k[on_piece, j] - end) for on_piece, sign, end in ends])
        fixed = rows[~np.any(on, axis=0)]
        u[:, j] = nearest_to_zero(fixed, fixed @ u[:, j], free, least, u[:, j])
    return problem.xp.asarray(u)


def nearest_to_zero(fixed, values, free, least, fallback):
    """Return the shortest v with ``fixed @ v = values`` and ``free @ v >= least``, or else `fallback`."""
    from scipy.optimize import nnls
    left, singular, right = np.linalg.svd(fixed, full_matrices=len(fixed) < fixed.shape[1])  # `right` is square
    rank = int((singular > 1e-12 * singular.max(initial=0)).sum())
    v = right[:rank].T @ (left[:, :rank].T @ values / singular[:rank])
    null = right[rank:].T
    gap = least - free @ v
    if null.shape[1] == 0 or not (gap > 0).any():
        return v
    across, size = (free @ null).T, max(abs(free).max(), np.finfo(float).tiny)
    system, goal = np.vstack([across / size, gap / gap.max()]), np.append(np.zeros(len(across)), 1.0)
    residual = system @ nnls(system, goal)[0] - goal
    v = v - null @ residual[:-1] * (gap.max() / size / residual[-1]) if residual[-1] < 0 else fallback
    return v if (free @ v >= least - 1e-9 * abs(least).max()).all() else fallback


def newton_direction(problem, model, q, forcing):
    r"""Solve :math:`(B^T\nabla^2h(z)\,B + \beta I)\,p = q` by preconditioned conjugate gradients; return the `Step` p.

    Each unit stops when its residual is `forcing` times that at the start, or at a direction without curvature (a
    saturated tanh, a ReLU that does not fire). If the very first direction has none, it is the step: it minimises the
    bound on the objective that has the curvature of f(z) = z, and so never goes too far.
    """
    gram, damping, total = problem.gram, problem.damping, problem.total
    bound = gram.values + damping

    def hessian(v):
        return gram.lower(model.curvature(gram.output_change(v))) + damping * v

    unknowns = len(q) * (q.shape[1] if problem.coupled else 1)
    return problem.step(cg_solve(  # twice as many: finite termination fails in floating point
        hessian, q, total, 2 * unknowns + 10, along=lambda r: (r / bound,), forcing=forcing,
        least=lambda v: FLAT * total(v, bound * v)))


def rounding_of_gradient(problem, careful, model, z, u):
    """Return the size of a gradient in θ that is only rounding: of the given signal, of z, of f(z) and of sums.

    `careful` is the problem in float64 along principal axes, `problem` the given one.
    """
    gap, reach = careful.gap, float(careful.gram.values.max()) ** 0.5  # ‖Ã‖
    change = reach * careful.xp.sqrt((u * u).sum(axis=0))  # ãD is a sum of terms of this size
    of_z = abs(model.curvature(abs(careful.z) + abs(z) + change))
    terms = norm(abs(gap.f_k) + abs(gap.signal) + abs(model.gradient) + of_z)
    return reach * (4 * np.finfo(z.dtype).eps * terms + np.finfo(problem.z.dtype).eps * norm(gap.signal))


def line_search(problem, at, p, model, slope, length=None):
    r"""Return, for each unit, a step length along p that satisfies Armijo's condition, or 0 if none is found.

    The regulariser's part of the objective is known exactly along a line, from ⟨U, P⟩ and ‖P‖². The data term
    costs one evaluation per trial, a few rows at a time so that they stay in cache. A trial that gives NaN counts as
    too long. Where the data term is not convex, a `LONGER` step is tried as well as the length found: a better piece
    may begin beyond the minimiser of the model.

    Parameters
    ----------
    problem : LocalProblem
    at, p : Step
        The start of the search, and its direction.
    model : Model
        That of the gap at the z of `at`.
    slope : array (n_out,) or (1,)
        The rate at which the objective falls along p.
    length : array, optional
        The first trial, which is doubled as long as the objective falls, since the way is long where f is saturated. By
        default the minimiser of the model along p.
    """
    xp, gap, damping, z = problem.xp, problem.gap, problem.damping, model.z
    norm_p, u_p = problem.inner(p, p.u), problem.inner(p, at.u)
    parts = [(gap.of_rows(rows), z[rows], p.change[rows]) for rows in in_cache(z)]

    def objective(length):
        value = damping * (length * u_p + length**2 / 2 * norm_p)
        for some, z_some, change in parts:
            trial = length * change
            value = value + some.value(xp.subtract(z_some, trial, out=trial))
        return value

    double = length is not None
    if not double:
        length = ratio(slope, problem.total(p.change, model.curvature(p.change)) + damping * norm_p)
    slack = gap.rounding(model)
    for _ in range(HALVINGS):
        trial = objective(length)
        fails = ~(trial <= model.value - ARMIJO * length * slope + slack) & (length != 0)
        if not bool(fails.any()):
            break
        length = xp.where(fails, length / 2, length)
    length = best = xp.where(fails, 0, length).astype(z.dtype)
    while double:
        value = objective(2 * best)
        lower = value < trial - slack
        best, trial = xp.where(lower, 2 * best, best), xp.where(lower, value, trial)
        double = bool(lower.any())
    if not gap.convex:
        best = xp.where(objective(LONGER * length) < trial, LONGER * length, best)
    return best


def local_solution(problem, d, steps, change=None):
    """Return the `Solution` with step D, whose residual is the gradient's norm relative to that at the start."""
    def residual():
        return ratio(np.float64(problem.gradient_norm(d)), np.float64(problem.gradient_norm(0 * d)))
    return Solution(d, steps, residual, change)


def damped_residual(gram, g, damping, d):
    r"""Return :math:`\|M d - \tilde A^T g\| / \|\tilde A^T g\|` of each column, 0 where both vanish."""
    b = gram.adjoint(g)
    residual = gram.adjoint(gram.apply(d)) + damping * d - b
    return ratio((residual * residual).sum(axis=0) ** 0.5, (b * b).sum(axis=0) ** 0.5)


def norm(x):
    """Return the norm of an array, a float."""
    x = x.reshape(-1)
    return float(x @ x) ** 0.5


def ratio(numerator, denominator):
    """Return numerator/denominator, or 0 where the denominator is 0: a unit without signal takes no step."""
    zero = denominator == 0
    return (numerator / (denominator + zero) * ~zero).astype(denominator.dtype, copy=False)
