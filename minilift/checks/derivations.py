r"""Claims about a problem derived by hand: an objective with a claimed gradient or a claimed argmin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilift.checks.layers import Case, to_host
from minilift.checks.numeric import Tangents, compare, dense, gradient, is_analytic
from minilift.checks.report import Finding, claim, only_if
from minilift.support.arguments import function, real_number, text
from minilift.support.backend import array_module, check_arrays

NEWTON_SIZE = 200  # largest number of unknowns for which a dense Hessian is formed


@dataclass(frozen=True)
class Derivation:
    r"""An objective, and what was derived from it.

    Parameters
    ----------
    objective : callable
        From θ, an array, to a number. It is the definition: all else is held against it.
    gradient : callable, optional
        From θ to the claimed gradient, an array of θ's shape.
    argmin : array or callable, optional
        The claimed minimiser θ*, or a function of `theta0` that returns it.
    theta0 : array
        Where the step starts, such as the old parameters θ_k; random points are drawn around it.
    name : str, optional
        For the report.

    Examples
    --------
    >>> import numpy as np, minilift as ml
    >>> A, z = np.random.default_rng(0).normal(size=(4, 3)), np.ones((4, 1))
    >>> theta_k, tau_theta = np.ones((3, 1)), 0.5
    >>> M = A.T @ A + np.eye(3) / tau_theta
    >>> problem = ml.Derivation(
    ...     objective=lambda th: ((A @ th - z)**2).sum() / 2 + ((th - theta_k)**2).sum() / (2 * tau_theta),
    ...     argmin=theta_k - np.linalg.solve(M, A.T @ (A @ theta_k - z)), theta0=theta_k)
    >>> ml.verify(problem).passed
    True
    """

    objective: Callable
    gradient: Callable | None = None
    argmin: object = None
    theta0: object = None
    name: str = "problem"

    def __post_init__(self):
        function("Derivation: objective", self.objective, "theta")
        if self.theta0 is None:
            raise ValueError("Derivation: theta0 is needed, an array of theta's shape such as the old parameters")
        check_point("theta0", self.theta0)
        if self.gradient is not None:
            function("Derivation: gradient", self.gradient, "theta")
        if callable(self.argmin):
            function("Derivation: argmin", self.argmin, "theta0")
        elif self.argmin is not None:
            check_point("argmin", self.argmin)
            if np.shape(self.argmin) != np.shape(self.theta0):
                raise ValueError(f"Derivation: argmin must be of the shape of theta0, {np.shape(self.theta0)}, "
                                 f"got {np.shape(self.argmin)}")
        text("Derivation: name", self.name)
        if self.gradient is None and self.argmin is None:
            raise ValueError("Derivation: nothing is claimed; give gradient, argmin or both")

    def __repr__(self):
        return self.name


def check_point(name, point):
    """Raise an error unless a point is an array of finite numbers, or one number."""
    if np.isscalar(point):
        point = np.array(real_number(f"Derivation: {name}", point, "an array"))
    check_arrays("Derivation", "any", **{name: point})
    if not point.size or not bool(array_module(point).isfinite(point).all()):
        raise ValueError(f"Derivation: {name} must hold finite numbers, got {point}")


@dataclass(frozen=True)
class PointCase(Case):
    """A point θ near theta0, and the old parameters themselves."""

    theta: np.ndarray
    theta0: np.ndarray
    rng: np.random.Generator

    def value(self, problem, theta):
        """Return the objective as a float, or as a complex number of complex θ."""
        value = np.asarray(self.call(problem.objective, theta.reshape(self.theta0.shape)))
        if value.size != 1:
            raise ValueError(f"the objective must be one number, got an array of shape {value.shape}")
        value = value.reshape(())
        return complex(value) if np.iscomplexobj(value) else float(value)

    def slope(self, problem, theta):
        """Return the reference of the objective's gradient."""
        return gradient(lambda x: self.value(problem, x), theta, Tangents(theta.shape, np.random.default_rng(1)))


def derivation_cases(problem, rng, xp):
    """Return a derivation and points at which to check it: theta0 and random ones around it."""
    theta0 = np.array(to_host(problem.theta0), dtype=np.float64)
    points = [("theta0", theta0), *((f"a random point {k}", theta0 + s * rng.standard_normal(theta0.shape))
                                    for k, s in ((1, 0.5), (2, 2.0)))]
    return problem, [PointCase(label, xp, theta, theta0, rng) for label, theta in points]


@claim("derivation", "the claimed gradient", "∇f(θ)", "definition")
def claimed_gradient(problem, case):
    only_if(problem.gradient is not None, "no gradient is claimed")
    theta, theta0 = case.theta, case.theta0
    tangents = Tangents(theta.shape, np.random.default_rng(1))
    got, at_start = tangents.project(case.call(problem.gradient, theta)), case.slope(problem, theta0).value
    return compare(
        got, case.slope(problem, theta),
        lambda: {"the gradient is taken at the wrong iterate: at theta0, not at θ": at_start,
                 "the gradient is taken at the wrong iterate: at 2 theta0 − θ":
                     case.slope(problem, 2 * theta0 - theta).value},
        {f"{size}, a dimension of θ": size for size in theta.shape if size > 2},
        {"the term in θ − theta0, the regulariser's, is missing or of the wrong strength":
            tangents.project(theta - theta0),
         "a term in θ is missing or of the wrong strength": tangents.project(theta),
         "a constant term, along the gradient at theta0, is wrong": at_start})


def claimed_argmin(problem, case):
    """Return the claimed minimiser; skip the random points, as checking it once is enough."""
    only_if(case.label == "theta0", "once is enough")
    only_if(problem.argmin is not None, "no argmin is claimed")
    if callable(problem.argmin):
        return np.asarray(case.call(problem.argmin, case.theta0))
    return np.asarray(to_host(problem.argmin), dtype=np.float64)


def shaped_argmin(problem, case):
    """Return the claimed minimiser, if it has the shape of theta0."""
    theta = claimed_argmin(problem, case)
    only_if(theta.shape == case.theta0.shape, "the argmin has the wrong shape")
    return theta


@claim("derivation", "the claimed argmin is stationary", "∇f(θ*) = 0", "definition")
def argmin_is_stationary(problem, case):
    theta = claimed_argmin(problem, case)
    if theta.shape != case.theta0.shape:
        return compare(theta, dense(case.theta0))
    at_start, at_claim = case.slope(problem, case.theta0), case.slope(problem, theta)
    scale = np.max(abs(at_start.value), initial=0.0) + at_start.floor
    number = float(np.max(abs(at_claim.nearest(0.0)), initial=0.0) / scale)
    tolerance = max(at_claim.tolerance, 1e-7)
    reasons = () if number <= tolerance else tuple(argmin_reasons(problem, case, theta))
    return Finding(number, tolerance, f"relative to the gradient at theta0; {at_claim.why}", reasons)


def argmin_reasons(problem, case, theta):
    """Return the usual mistakes that explain a wrong minimiser, given the right one by SciPy."""
    right, start = reference_minimiser(problem, case), case.theta0
    if right is None:
        return []
    step, kept = right - start, right.copy()
    if right.ndim:
        kept[-1] = start[-1]
    variants = {"it is the step, not the new parameters": step,
                "it is minus the step, not the new parameters": -step,
                "the last row, the bias, is not updated": kept, "it is theta0: there is no step": start,
                "the minimiser is around 0: theta0 is not added": step}
    if start.ndim == 2 and start.shape[0] == start.shape[1]:
        variants["it is transposed"] = right.T
    slope = dense(case.slope(problem, start).value)
    along = compare(theta - start, slope).reasons if np.any(theta != start) else ()
    explicit = (["the step is along the gradient at theta0: it is explicit, not implicit"]
                if any("sign" in reason or "factor" in reason for reason in along) else [])
    named = compare(theta, dense(right, 1e-6), variants).reasons
    scaled = [f"the step from theta0: {reason}" for reason in compare(theta - start, dense(step, 1e-6)).reasons
              if "zero" not in reason]
    return [*(r for r in named if "factor" not in r), *explicit, *scaled, *(r for r in named if "factor" in r)]


def reference_minimiser(problem, case):
    """Return SciPy's minimiser, polished by two steps of Newton's method with one dense Hessian; None for large θ."""
    if case.theta0.size > NEWTON_SIZE:
        return None
    from scipy.optimize import minimize

    def f(x):
        return case.value(problem, x)

    def slope(x, analytic=None):
        return gradient(f, x, analytic=analytic).value

    x = minimize(f, case.theta0.ravel(), jac=slope, method="BFGS", options={"gtol": 1e-6, "maxiter": 500}).x
    analytic, h, start = is_analytic(f, x), 1e-4, slope(x)
    hessian = np.stack([(slope(x + h * e, analytic) - start) / h for e in np.eye(x.size)])
    for _ in range(2):  # x is so near that a Hessian good to h serves both
        polished = x - np.linalg.lstsq((hessian + hessian.T) / 2, slope(x), rcond=1e-10)[0]
        if not f(polished) <= f(x) + 1e-12 * (1 + abs(f(x))):
            break
        x = polished
    return x.reshape(case.theta0.shape)


@claim("derivation", "it is a minimum: no random direction leads down", "f(θ* + t v) ≥ f(θ*)", "definition")
def argmin_is_minimum(problem, case):
    theta = shaped_argmin(problem, case)
    value = case.value(problem, theta)
    changes = [case.value(problem, theta + t * v) - value for v in case.rng.standard_normal((20, *theta.shape))
               for t in (1e-4, 1e-2, 1.0)]
    lowest, highest = np.fmin.reduce(changes), np.fmax.reduce(changes)  # where the objective is NaN, it says nothing
    noise = 1e-13 * (1 + abs(value))
    reason = ("it is a maximum: the sign is wrong" if lowest < -noise and not highest > noise
              else "some direction leads down: it is no minimum")
    return Finding(max(0.0, -lowest / (1 + abs(value))), 1e-9, "rounding of the objective", (reason,))


@claim("derivation", "SciPy's minimiser finds nothing lower", "f(θ*) ≤ f(SciPy's)", "definition")
def argmin_against_scipy(problem, case):
    theta, right = shaped_argmin(problem, case), reference_minimiser(problem, case)
    only_if(right is not None, f"more than {NEWTON_SIZE} unknowns would take SciPy long")
    start, low = case.value(problem, case.theta0), case.value(problem, right)
    number = (case.value(problem, theta) - low) / (abs(start - low) + 1e-6)
    reasons = () if number <= 1e-7 else tuple(argmin_reasons(problem, case, theta)) or ("a lower value exists",)
    return Finding(number, 1e-7, "relative to the decrease from theta0; SciPy stops at a gradient of 1e-6", reasons)


@claim("derivation", "the claimed gradient vanishes at the claimed argmin", "∇f claimed (θ* claimed) = 0", "definition")
def gradient_at_argmin(problem, case):
    only_if(problem.gradient is not None, "no gradient is claimed")
    at_claim = np.asarray(case.call(problem.gradient, claimed_argmin(problem, case)))
    number = float(np.max(abs(at_claim)) / (np.max(abs(case.slope(problem, case.theta0).value)) + 1e-3))
    return Finding(number, 1e-7, "relative to the gradient at theta0",
                   ("gradient and argmin belong to two different objectives",))


@claim("derivation", "curvature at the claimed argmin", "⟨v, ∇²f(θ*) v⟩ ≥ 0", "definition")
def curvature_at_argmin(problem, case):
    theta = shaped_argmin(problem, case)
    value, h, worst = case.value(problem, theta), 1e-2, 0.0
    for v in case.rng.standard_normal((10, *theta.shape)):
        second = case.value(problem, theta + h * v) - 2 * value + case.value(problem, theta - h * v)
        worst = max(worst, -second / 1e-4 / (1 + abs(value)))
    return Finding(worst, 1e-6, "second differences of step 1e-2",
                   ("the curvature is negative: a saddle or a maximum",))


def closed_form_relu(seed=0):
    """Return the closed form of the prox of ½(relu(u) − a)², as a derivation that holds: a worked example."""
    rng = np.random.default_rng(seed)
    a, b, c = abs(rng.standard_normal()) + 0.5, rng.standard_normal(), 0.7

    def objective(u):
        u = float(u[0])
        return 0.5 * (max(u, 0.0) - a) ** 2 + c / 2 * (u - b) ** 2

    ends = [np.array([min(b, 0.0)]), np.array([max((a + c * b) / (1 + c), 0.0)])]
    return Derivation(objective, argmin=min(ends, key=objective), theta0=np.array([b]),
                      name="½(relu(u) − a)² + c/2 (u − b)²")


def local_problem(problem, argmin=None, name="local problem"):
    """Return a `minilift.local.problems.LocalProblem` as a derivation of its gradient and, if given, a minimiser D."""
    gram, data, z = problem.gram, problem.data, problem.z

    def slope(d):
        return problem.damping * d - gram.adjoint(data.gradient(z - gram.apply(d)))

    return Derivation(problem.objective, slope, argmin, np.zeros((gram.a.shape[1] + gram.bias, z.shape[1])), name)
