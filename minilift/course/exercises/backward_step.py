r"""Checks of notebook 01: explicit and implicit Euler steps on :math:`J(x) = \tfrac12\|Bx\|^2`, A = BᵀB."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import Claim, beyond, check, claim, close_to_answers, same, slips, times
from minilift.layers.gram import Gram
from minilift.local.solvers import damped_solve


def library_implicit_step(B, x, tau):
    """Return the implicit step by the library's damped least squares (which solves for the change of x)."""
    change = damped_solve(Gram(B, bias=False), (B @ x)[:, None], 1 / tau).value
    return x - change[:, 0]


def draw(seed):
    """Return B (5, 3) and x (3,), drawn."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(5, 3)), rng.normal(size=3)


def plain_step(B, x, tau):
    """Return the explicit step."""
    return x - tau * B.T @ (B @ x)


def is_for_two_alone(step, B, x, tau):
    """Return whether a step can deal with the notebook's two components only."""
    def deals_with(n):
        try:
            return np.shape(step(B[:, :n], x[:n], tau)) == (n,)
        except ValueError:
            return False
    return deals_with(2) and not deals_with(3)


def with_square(step, wrong, B, x, tau):
    """Return whether a step is a wrong one for a square B, as only this one allows."""
    try:
        return same(step(B[:len(x)], x, tau), wrong(B[:len(x)], x, tau))
    except (ValueError, np.linalg.LinAlgError):
        return False


NO_A = "A is missing: its eigenvalues make the components differ"
B_FOR_A = "B stands where A = BᵀB belongs"
OTHERS_MATRIX = "the notebook's own A (or a 2) stands in it: A = BᵀB must be made of the B that is handed in"


def in_turn(B, x, tau):
    """Return the step of a loop that overwrites the components, one after the other."""
    A, moved = B.T @ B, x.copy()
    for i in range(len(x)):
        moved[i] = moved[i] - tau * A[i] @ moved
    return moved


WRONG_EXPLICIT_STEPS = {
    "the sign: the flow goes downhill, against the gradient": lambda B, x, tau: x + tau * B.T @ (B @ x),
    "this is the change of x; the new x is wanted": lambda B, x, tau: -tau * B.T @ (B @ x),
    "this is the gradient; the new x is wanted": lambda B, x, tau: B.T @ (B @ x),
    "a factor 2: J carries a ½, so its gradient is A x": lambda B, x, tau: x - 2 * tau * B.T @ (B @ x),
    "a factor ½: J carries one, and the slope of a square has a 2": lambda B, x, tau: x - tau / 2 * B.T @ (B @ x),
    "τ is missing": lambda B, x, tau: x - B.T @ (B @ x),
    "τ multiplies the slope; it does not divide it": lambda B, x, tau: x - B.T @ (B @ x) / tau,
    "x is subtracted from the step: the sign of all of it": lambda B, x, tau: tau * B.T @ (B @ x) - x,
    "τ multiplies the slope, not x": lambda B, x, tau: B.T @ (B @ x) - tau * x,
    "x itself is missing": lambda B, x, tau: (1 - tau) * B.T @ (B @ x),
    "the slope is A x, a product with a matrix; here x multiplies it once more":
        lambda B, x, tau: x - tau * B.T @ (B @ x) * x,
    "the slope is a vector; this is the number J": lambda B, x, tau: x - tau * 0.5 * np.sum((B @ x) ** 2),
    "the slope is a vector; this is its length": lambda B, x, tau: x - tau * np.linalg.norm(B.T @ (B @ x)),
    "x is not turned: Qᵀx has the components along the eigenvectors, Q leads back": lambda B, x, tau:
        np.linalg.eigh(B.T @ B)[1] @ ((1 - tau * np.linalg.eigvalsh(B.T @ B)) * x),
    "the eigenvectors are the columns of Q: x_new = Q(…)Qᵀx; here Q and Qᵀ are exchanged":
        lambda B, x, tau: in_eigenvectors(B, x, lambda values: 1 - tau * values, turned=True),
    NO_A: lambda B, x, tau: x - tau * x,
    "these are the amplification factors, one for each eigenvalue; the new x is wanted": lambda B, x, tau:
        1 - tau * np.linalg.eigvalsh(B.T @ B),
    "τ is squared": lambda B, x, tau: x - tau**2 * B.T @ (B @ x),
    "J has no mean in it: no division by the number of rows of B": lambda B, x, tau: x - tau * B.T @ (B @ x) / len(B),
    "only the diagonal of A is used": lambda B, x, tau: x - tau * np.diag(B.T @ B) * x,
    "this is the flow's factor of each component, e^{−τA_ii}; a step is linear in τ, and has all of A":
        lambda B, x, tau: x * np.exp(-tau * np.diag(B.T @ B)),
    "A is missing: its eigenvalues make the components differ; and a step is linear in τ, the flow's e^{−τ} is not":
        lambda B, x, tau: np.exp(-tau) * x,
    "the slope is A x; this is the length of B x, times x": lambda B, x, tau: x - tau * np.linalg.norm(B @ x) * x,
    "τ multiplies the slope A x, not x": lambda B, x, tau: (1 - tau) * x - B.T @ (B @ x),
    "τ multiplies the slope alone: x comes in once": lambda B, x, tau: x + tau * (x - B.T @ (B @ x)),
    "the slope has a sign, and each component moves against it: no absolute value":
        lambda B, x, tau: x - tau * abs(B.T @ (B @ x)),
    "each component sees the ones that have moved before it; the slope is taken at the old x, all of it": in_turn,
    "τ multiplies all: only the slope has it": lambda B, x, tau: tau * (x - B.T @ (B @ x)),
    "this is the implicit step: its slope is taken at x_new":
        lambda B, x, tau: np.linalg.solve(np.eye(len(x)) + tau * B.T @ B, x),
    "these are two steps of τ/2; one of τ is wanted": lambda B, x, tau:
        plain_step(B, plain_step(B, x, tau / 2), tau / 2),
    "this is the flow, e^{−τA}x; a step goes straight, along the slope at x": lambda B, x, tau:
        in_eigenvectors(B, x, lambda values: np.exp(-tau * values)),
    "these are two steps; one is wanted": lambda B, x, tau: plain_step(B, plain_step(B, x, tau), tau),
    "this is Heun's step, the mean of the slopes at x and at the end of a step; one slope is taken, at x":
        lambda B, x, tau: (x + plain_step(B, plain_step(B, x, tau), tau)) / 2,
    "A comes in twice: ∇J(x) = A x": lambda B, x, tau: x - tau * B.T @ B @ (B.T @ (B @ x)),
    "nothing is to be solved: the slope is taken at x, which is known":
        lambda B, x, tau: np.linalg.solve(np.eye(len(x)) - tau * B.T @ B, x),
    "negative components are cut off; x may have any sign": lambda B, x, tau: np.maximum(plain_step(B, x, tau), 0),
    "x_new may have any sign: no absolute value": lambda B, x, tau: abs(plain_step(B, x, tau)),
    "eigenvalues stretch the eigenvectors, not the components of x: the slope is a product with A":
        lambda B, x, tau: x - tau * np.linalg.eigvalsh(B.T @ B) * x,
    "the largest eigenvalue stands for all of A; it stretches one eigenvector only":
        lambda B, x, tau: x - tau * np.linalg.norm(B, 2) ** 2 * x,
    "the residual Bx has a sign, too: no absolute value": lambda B, x, tau: x - tau * B.T @ abs(B @ x),
    "the slope keeps its length: here only its signs are left": lambda B, x, tau: x - tau * np.sign(B.T @ (B @ x)),
    "the slope is taken where a step has led; it belongs at x": lambda B, x, tau:
        x - tau * B.T @ (B @ plain_step(B, x, tau)),
    "the slope has length 1 here; its length is what makes steps shrink":
        lambda B, x, tau: x - tau * B.T @ (B @ x) / np.linalg.norm(B.T @ (B @ x)),
}


MATRIX = ": this is a matrix; it meets x by @, not *, and no / solves with it"


def is_no_step(step, B, x, tau):
    """Yield (whether a step of either kind lacks a property that both have, which)."""
    shape = np.shape(step(B, x, tau))
    yield shape != x.shape, (f"the new x has the shape {x.shape} of x, yours has {shape}"
                             f"{MATRIX * (shape == 2 * x.shape)}")
    yield not same(step(B, 0 * x, tau), 0 * x), "at x = 0 the slope is 0, and x must stay there; yours moves"
    yield not same(step(B, 2 * x, tau), 2 * step(B, x, tau)), "a doubled x must double x_new: all of it is linear in x"
    yield not same(step(B, x, 1e-9), x, 1e-2), "for τ → 0 x must stay where it is; yours moves: what has no τ?"


def explicit_step(answer, seed):
    """Exercise 1.1: x − τ ∇J(x)."""
    B, x = draw(seed)
    A, tau = B.T @ B, 0.3

    def claims(step):
        eigenvalues, Q = np.linalg.eigh(A)
        yield claim("starts from x and moves along −∇J(x)", (x - step(B, x, tau)) / tau, A @ x,
                    look="is x itself in it, and ∇J(x) = BᵀBx?")
        yield claim("the same for τ = 0.05", (x - step(B, x, 0.05)) / 0.05, A @ x)
        yield claim("stretches each eigenvector by the number that (1.5) has for it",
                    np.array([step(B, q, tau) for q in Q.T]), (1 - tau * eigenvalues)[:, None] * Q.T)

    def mistakes(step):
        yield is_for_two_alone(step, B, x, tau), OTHERS_MATRIX
        yield with_square(step, lambda B, x, tau: x - tau * B @ x, B, x, tau), B_FOR_A
        other = -x  # one x alone may have slopes of one sign
        yield from slips(step, [(B, x, tau), (B, other + np.roll(x, 1), tau)], WRONG_EXPLICIT_STEPS)
        yield (same(step(B, x, tau), plain_step(B, x, tau)) and not same(step(B, x, 0.05), plain_step(B, x, 0.05)),
               "right for τ = 0.3 alone, a τ of this check: is a number written for τ?")
        yield same(step(B, x, tau), plain_step(B, x, tau), 1e-3), "right to three digits: is the result rounded?"
        yield from is_no_step(step, B, x, tau)
        yield not same(step(B, x, 2 * tau) - x, 2 * (step(B, x, tau) - x)), "a doubled τ must double the move of x"
        acting = np.stack([(e - step(B, e, tau)) / tau for e in np.eye(3)], axis=1)
        factor = times(acting, A)
        yield factor == factor, f"your slope is {factor:.3g} times A x (a ½, a mean, a step size?)"
        yield same(acting, acting[0, 0] * np.eye(3)), f"your slope is {acting[0, 0]:.3g} times x. {NO_A}"
        i, j = np.unravel_index(abs(acting - A).argmax(), A.shape)
        yield True, (f"your slope multiplies x with a matrix that has {acting[i, j]:.3g} in row {i}, column {j}; "
                     f"BᵀB has {A[i, j]:.3g} there, for the B of this check")

    return check("1.1", answer, claims, mistakes,
                 fallback=lambda B, x, tau: x - tau * Gram(B, bias=False).adjoint((B @ x)[:, None])[:, 0], array=True)


def implicit_with(diagonal=lambda tau: 1.0, weight=lambda tau: tau, right=lambda B, x, tau: x, product=False):
    """Return an implicit step whose system has a slip in it."""
    def step(B, x, tau):
        matrix = diagonal(tau) * np.eye(len(x)) + weight(tau) * B.T @ B
        return matrix @ x if product else np.linalg.solve(matrix, right(B, x, tau))
    return step


def in_eigenvectors(B, x, factor, turned=False):
    """Return x with its components along the eigenvectors of A multiplied; or along the rows of Q, by mistake."""
    values, Q = np.linalg.eigh(B.T @ B)
    Q = Q.T if turned else Q
    return Q @ (factor(values) * (Q.T @ x))


def along_the_flow(B, x, tau):
    """Return where the gradient flow leads from x in a time τ."""
    return in_eigenvectors(B, x, lambda values: np.exp(-tau * values))


WRONG_IMPLICIT_STEPS = {
    "this is the explicit step: the slope is taken at x, not at x_new": lambda B, x, tau: x - tau * B.T @ (B @ x),
    "τ belongs to A: the system is for x_new + τ A x_new, not for A x_new + τ x_new":
        implicit_with(lambda tau: tau, lambda tau: 1.0),
    "the sign: bring −τ A x_new to the other side of the equation": implicit_with(weight=lambda tau: -tau),
    "multiplied by the matrix instead of solving with it": implicit_with(product=True),
    "τ is missing: it stands before the slope in (1.6)": implicit_with(weight=lambda tau: 1.0),
    "the identity is missing: x_new itself stands on the left, too": implicit_with(lambda tau: 0.0),
    "τ multiplies A; here it divides": implicit_with(weight=lambda tau: 1 / tau),
    "a factor 2: J carries a ½, so its gradient is A x": implicit_with(weight=lambda tau: 2 * tau),
    "a factor ½: the gradient of ½‖Bx‖² is A x, that of ‖x − x_k‖²/(2τ) is (x − x_k)/τ":
        implicit_with(weight=lambda tau: tau / 2),
    "the right side is x; the slope is on the left already":
        implicit_with(right=lambda B, x, tau: x - tau * B.T @ (B @ x)),
    "this is the change of x; the new x is wanted": lambda B, x, tau: implicit_with()(B, x, tau) - x,
    "this solves for a zero slope, A x_new = Bᵀ…: the step has no target but x":
        implicit_with(right=lambda B, x, tau: B.T @ (B @ x)),
    "this is the change of x, with the sign turned; the new x is wanted":
        lambda B, x, tau: x - implicit_with()(B, x, tau),
    "these are the amplification factors, one for each eigenvalue; the new x is wanted": lambda B, x, tau:
        1 / (1 + tau * np.linalg.eigvalsh(B.T @ B)),
    "x_k − x_{k+1} is the whole change; it is not multiplied by τ once more": lambda B, x, tau:
        x - tau * (x - implicit_with()(B, x, tau)),
    "τ times the solution is no change of x": lambda B, x, tau: x - tau * implicit_with()(B, x, tau),
    "a matrix of ones stands where the identity belongs: np.eye, not np.ones":
        lambda B, x, tau: np.linalg.solve(1 + tau * B.T @ B, x),
    "the identity has ones on its diagonal": implicit_with(lambda tau: 3.0),
    "only the diagonal of A is used": lambda B, x, tau: x / (1 + tau * np.diag(B.T @ B)),
    "all of it is τ times too small: where (1.6) is divided by τ, its x is, too":
        implicit_with(right=lambda B, x, tau: tau * x),
    "all of it is divided by τ; and the τ before A is missing":
        lambda B, x, tau: implicit_with(weight=lambda tau: 1.0)(B, x, tau) / tau,
    "x is added once more: the solution is x_new itself": lambda B, x, tau: implicit_with()(B, x, tau) + x,
    "τ is squared": implicit_with(weight=lambda tau: tau**2),
    "the slope has a factor ½: ∇J(x_new) is A x_new":
        lambda B, x, tau: x - tau / 2 * B.T @ (B @ implicit_with()(B, x, tau)),
    "this is the flow, e^{−τA}x: exact, and no step; (1.6) has another factor": along_the_flow,
    "e^{−τ} is no step: A is missing, and (1.6) is linear in x_new": lambda B, x, tau: np.exp(-tau) * x,
    "the eigenvectors are the columns of Q: x_new = Q(…)Qᵀx; here Q and Qᵀ are exchanged":
        lambda B, x, tau: in_eigenvectors(B, x, lambda values: 1 / (1 + tau * values), turned=True),
    "these are two implicit steps of τ/2; one of τ is wanted": lambda B, x, tau:
        implicit_with()(B, implicit_with()(B, x, tau / 2), tau / 2),
    "all of it is divided by τ: the right side is x itself": implicit_with(right=lambda B, x, tau: x / tau),
    "these are two implicit steps": lambda B, x, tau: implicit_with()(B, implicit_with()(B, x, tau), tau),
    "A is missing: τ shrinks each component with its own eigenvalue": lambda B, x, tau: x / (1 + tau),
    "the slope is taken half at x, half at x_new (the trapezoidal rule); all of it belongs at x_new": lambda B, x, tau:
        implicit_with(weight=lambda tau: tau / 2)(B, plain_step(B, x, tau / 2), tau),
    "eigenvalues shrink the eigenvectors, not the components of x: solve with the matrix, or turn x into them first":
        lambda B, x, tau: x / (1 + tau * np.linalg.eigvalsh(B.T @ B)),
    "the largest eigenvalue stands for all of A; it shrinks one eigenvector only":
        lambda B, x, tau: x / (1 + tau * np.linalg.norm(B, 2) ** 2),
    "x is not turned: Qᵀx has the components along the eigenvectors, Q leads back": lambda B, x, tau:
        np.linalg.eigh(B.T @ B)[1] @ (x / (1 + tau * np.linalg.eigvalsh(B.T @ B))),
    "Q leads back from the components along the eigenvectors to x: it is missing": lambda B, x, tau:
        np.linalg.eigh(B.T @ B)[1].T @ x / (1 + tau * np.linalg.eigvalsh(B.T @ B)),
    "the components come back in reverse order": lambda B, x, tau: implicit_with()(B, x, tau)[::-1],
    "the right side is x itself, not what is left of it after its mean": lambda B, x, tau:
        implicit_with()(B, x - x.mean(), tau),
    "the sign of x on the right": lambda B, x, tau: -implicit_with()(B, x, tau),
    "A and its inverse cancel here, and (1 − τ) x is left: no inverse of A is needed": lambda B, x, tau: (1 - tau) * x,
    "τ stands as its root": implicit_with(weight=np.sqrt),
    "d is x_k − x_{k+1}, to be subtracted; here it is added":
        lambda B, x, tau: 2 * x - implicit_with()(B, x, tau),
    "a matrix is not inverted entry by entry, and / divides by entries: np.linalg.solve": lambda B, x, tau:
        (1 / (np.eye(len(x)) + tau * B.T @ B)) @ x,
    "one iteration towards x_new is not x_new: solve the system":
        lambda B, x, tau: x - tau * B.T @ (B @ (x - tau * B.T @ (B @ x))),
}


def implicit_step(answer, seed):
    """Exercise 1.2: the solution of x_new = x − τ ∇J(x_new)."""
    B, x = draw(seed)
    A = B.T @ B

    def claims(step):
        for tau in (0.3, 1e3):
            new = step(B, x, tau)
            yield claim(f"x_new + τ ∇J(x_new) = x, τ = {tau:g}", new + tau * A @ new, x, 1e-9,
                        look="put your x_new into (1.6): which side is off?")

    def mistakes(step):
        yield is_for_two_alone(step, B, x, 0.3), OTHERS_MATRIX
        yield with_square(step, lambda B, x, tau: np.linalg.solve(np.eye(len(x)) + tau * B, x), B, x, 0.3), B_FOR_A
        yield from slips(step, [(B, x, tau) for tau in (0.3, 2.0)], WRONG_IMPLICIT_STEPS)
        slow, fast = 0.01 / np.linalg.norm(A, 2), 10 / np.linalg.norm(A, 2)
        settled = same(step(B, x, slow), library_implicit_step(B, x, slow), 1e-6)
        yield settled and not same(step(B, x, fast), library_implicit_step(B, x, fast), 1e-6), \
            "right for a small τ only: repeating x − τ A x_new finds x_new for τL < 1, and runs away beyond; solve"
        yield not np.any(abs(step(B, x, 0.3)) > 1e-9), "this is the minimum, where Newton's step leads: where is τ?"
        first = step(B, x, 1e-9)
        yield np.shape(first) == x.shape and not abs(first).max() < 1e3 * abs(x).max(), \
            "for a tiny τ x_new runs away: is this an iteration, whose steps are too long there? Solve the system"
        new, exact, curve = (f(B, x, 0.3) for f in (step, library_implicit_step, along_the_flow))
        yield (same(new, exact, 1e-2) and np.array_equal(new, np.round(new, 6)),
               "the result is rounded: all its digits are wanted")
        yield (same(new, curve, 1e-2) and not same(new, exact, 1e-2),
               "near the flow, e^{−τA}x, to which many short steps lead; (1.6) is one step, and its factor 1/(1 + τλ)")
        yield from is_no_step(step, B, x, 0.3)
        undone = np.linalg.inv(np.stack([step(B, e, 0.3) for e in np.eye(3)], axis=1))  # what leads back to x
        slope = (undone - np.eye(3)) / 0.3
        factor = times(slope, A)
        yield same(slope, slope[0, 0] * np.eye(3)), f"your A is {slope[0, 0]:.3g} I. {NO_A}"
        yield (same(slope, A, 1e-2), "right for a small τ only: does an iteration stop before a large τ has had its "
                                     "steps? Solve the system")
        yield factor == factor, f"your x_new solves (1.6) with {factor:.3g} τ in the place of τ, for τ = 0.3"
        i, j = np.unravel_index(abs(slope - A).argmax(), A.shape)
        yield True, (f"your x_new solves (1.6) for a matrix that has {slope[i, j]:.3g} in row {i}, column {j}, where A "
                     f"has {A[i, j]:.3g}, for τ = 0.3")

    return check("1.2", answer, claims, mistakes, fallback=library_implicit_step, array=True)


WRONG_LIMITS = {
    "twice too large: 1 − τλ leaves at −1, where τλ = 2": lambda values: values[-1] / 4,
    "the trace of A is no eigenvalue: the limit is larger": lambda values: values.sum() / 2,
    "a component in the middle; the fastest leaves first": lambda values: np.median(values) / 2,
    "a component in the middle, a mean; the fastest leaves first": lambda values: values.mean() / 2,
    "squared twice: eigenvalues of A = BᵀB are squares already": lambda values: values[-1] ** 2 / 2,
    "upside down: a large eigenvalue makes the limit small": lambda values: 1 / (2 * values[-1]),
    "upside down: the larger an eigenvalue, the smaller the limit": lambda values: 2 / values[-1],
    "upside down: an eigenvalue, of which a large one makes the limit small": lambda values: 1 / values[-1],
    "the root of a singular value of B: the steps see its square": lambda values: values[-1] ** 0.25 / 2,
    "here the fastest component vanishes in one step; beyond, it changes sign, but still shrinks":
        lambda values: values[-1],
    "the limit of the slowest component; another leaves first": lambda values: values[0] / 2,
    "a singular value of B: the steps see its square": lambda values: np.sqrt(values[-1]) / 2,
    "2/(L + μ) is the step that shrinks fastest; steps shrink beyond it, up to the limit":
        lambda values: (values[-1] + values[0]) / 2,
}  # from the eigenvalues of A, in rising order, to 1/τ
WRONG_SIZES = {
    "a Frobenius norm: the limit is larger": lambda B: np.linalg.norm(B.T @ B),
    "the largest entry of A is no eigenvalue": lambda B: abs(B.T @ B).max(),
    "a norm of B that is not its largest singular value: np.linalg.norm(B, 2)": lambda B: np.linalg.norm(B, 1) ** 2,
    "the largest row sum of A bounds its eigenvalues; the limit is larger": lambda B: np.linalg.norm(B.T @ B, 1),
    "the largest row sum of BBᵀ bounds the eigenvalues; the limit is larger": lambda B: np.linalg.norm(B @ B.T, 1),
}  # from B to what stands for the largest eigenvalue of A


def turned(B):
    """Return B turned so that its steepest direction has a cosine of 0.1 with (1, …, 1), which few steps do not see."""
    steepest, ones = np.linalg.svd(B)[2][0], np.ones(B.shape[1]) / np.sqrt(B.shape[1])
    across = steepest - (ones @ steepest) * ones
    mirror = steepest - 0.1 * ones - np.sqrt(0.99) * across / np.linalg.norm(across)
    return B - 2 * np.outer(B @ mirror, mirror) / (mirror @ mirror)


def largest_stable_step(answer, B, seed):
    """Exercise 1.3: the step size where explicit steps stop shrinking x, found by experiment."""
    spread, wide = (turned(np.random.default_rng(seed + more).normal(size=(6, 4))) for more in (0, 1))

    def growth(problem, tau):
        """Return by how much the last of 2000 normalised explicit steps changes the length of x."""
        A, x, size = problem.T @ problem, np.ones(problem.shape[1]), 1.0
        for _ in range(2000):
            x = x - tau * A @ x
            size = float(np.linalg.norm(x))
            x = x / size
        return size

    def claims(limit):
        for name, problem in (("the notebook's B", B), ("another B", spread), ("a small B", spread / 10),
                              ("a large B", 10 * spread)):
            found = limit(problem)
            if np.ndim(found):
                raise ValueError("one number is asked for, and an array or a list comes")
            tau = float(found)
            if not np.isfinite(tau):
                raise ValueError(f"{tau} comes back where a finite number is expected")
            below, above = growth(problem, 0.985 * tau), growth(problem, 1.015 * tau)
            yield Claim(f"{name}: τ is positive", beyond(-tau) or float(tau == 0), 0.0)
            yield Claim(f"{name}: at 0.985 τ steps shrink x", beyond(below - 1), 1e-3)
            yield Claim(f"{name}: at 1.015 τ steps grow x (shortfall)", beyond(1.001 - above), 0.0)

    def fails(limit, problem):
        """Return whether an answer cannot deal with a B."""
        try:
            limit(problem)
        except ValueError:
            return True
        return False

    def mistakes(limit):
        yield (fails(limit, spread) and not fails(limit, B),
               "the notebook's x0 stands in it: x has as many components as the B that is handed in has columns")
        found = limit(spread)
        yield np.shape(found) != (), "one number is asked for: the τ at which the first component leaves"
        yield not np.isfinite(found), f"{found} comes back where a finite number is expected; x may have overflowed"
        yield found < 0, "a step size is positive"
        yield 0 in (found, limit(wide)), \
            "0 comes back, the lower end of a search that never moved it: it moves where x shrank; and is the first " \
            "upper end so high that the halvings do not suffice?"
        again = limit(2 * spread)
        yield (found * np.linalg.norm(spread, 2) ** 2 > 40 and same(found, again),
               "far beyond the limit nothing grows in your test: once x has overflowed to nan, a comparison with it is "
               "False; or are these implicit steps, which shrink x for every τ?")
        yield (same(found, again) or same(found, limit(wide), 1e-3),
               "the same τ for two B: it must be measured for each; if you bisect, which end moves where x shrank, and "
               "which where x has overflowed to nan, and is the limit between your first two?")
        small, right = float(limit(spread / 10)), 2 / np.linalg.norm(spread, 2) ** 2
        yield (same(found / right, 1, 0.01) and small < 90 * right,
               f"where the limit is {100 * right:.3g}, {small:.3g} comes back: no search goes beyond its upper end; "
               "double that until x grows")
        large = float(limit(10 * spread))
        yield (same(found / right, 1, 0.01) and not same(100 * large / right, 1, 0.01),
               f"where the limit is {right / 100:.2g}, {large:.2g} comes back: do steps of a fixed size lead to it, or "
               "does the search begin above it? Bisect, from 0")
        ends = [(float(limit(problem)), np.linalg.eigvalsh(problem.T @ problem)) for problem in (spread, wide)]
        for message, wrong in WRONG_LIMITS.items():
            yield all(same(tau * wrong(values), 1, 0.01) for tau, values in ends), message
        for message, size in WRONG_SIZES.items():
            yield all(same(float(limit(each)) * size(each) / 2, 1, 0.01) for each in (spread, wide)), message
        shares = [float(limit(each)) * np.linalg.norm(each, 2) ** 2 / 2 for each in (B, spread, wide)]
        yield same(shares[0], shares[1], 0.01) and same(shares[1], shares[2], 0.01), \
            f"your τ is {shares[1]:.3g} times the largest stable one, for every B; the last τ that shrank x is wanted"
        yield min(shares) > 0.5 and max(shares) <= 2, \
            "within a factor 2 of the limit: too coarse a search, or ‖x‖ is looked at after a few steps of one x only"
        yield True, "your τ is {:.3g} times the largest stable one for the notebook's B, {:.3g} and {:.3g} times " \
                    "for two others: too few steps from one x, or not the fastest component decides".format(*shares)

    return check("1.3", answer, claims, mistakes,
                 fallback=lambda problem: 2 / np.linalg.norm(Gram(problem, bias=False).matrix, 2))


def uphill(answer, seed):
    """Exercise 1.4: a symmetric matrix and τ for which every implicit step goes uphill from some x."""
    def claims(found):
        if np.size(found[1]) > 1:
            raise ValueError("an array stands where τ, one number, is expected: the matrix comes first, then τ")
        A, tau = np.asarray(found[0], dtype=float), float(found[1])
        if A.shape != (2, 2):
            raise ValueError(f"A has shape {A.shape} where (2, 2) is expected")
        yield claim("A is symmetric", A, A.T)
        yield Claim("τ is positive", beyond(1e-9 - tau), 1e-9)
        yield Claim("each x has a step: I + τA is regular (shortfall)", beyond(1e-9 - least(A, tau)), 0.0)
        yield Claim("some implicit step raises J (shortfall)", beyond(1e-12 - rise(A, tau)), 0.0)

    def mistakes(found):
        A, tau = np.asarray(found[0], dtype=float), float(found[1])
        yield A.shape != (2, 2), f"A has shape {A.shape} where (2, 2) is expected"
        low = np.linalg.eigvalsh((A + A.T) / 2)[0]
        yield not same(A, A.T), "A must be symmetric: it is the matrix of ½ xᵀAx"
        yield tau <= 0, "a step size is positive"
        yield least(A, tau) < 1e-9, "I + τA is singular for this τ: there is no step at all"
        yield low >= 0, "J is convex for this A, and on a convex J an implicit step never goes uphill"
        yield -tau * low < 1, "τ is so small that the proximal term still makes the subproblem convex"
        yield same(tau * low, -2), "here x_new = −x, where J is the same: try a larger τ"
        yield -tau * low <= 2, "x_new lies beyond 0 but farther out than x, where J is lower: try a larger τ"

    def least(A, tau):
        """Return the least size of an eigenvalue of I + τA."""
        return float(min(abs(1 + tau * np.linalg.eigvalsh(A))))

    def rise(A, tau):
        """Return the largest J(x_new) − J(x) over eigenvectors x of A."""
        eigenvalues = np.linalg.eigvalsh(A)
        return float(max(eigenvalues / 2 * (1 / (1 + tau * eigenvalues) ** 2 - 1)))

    return check("1.4", answer, claims, mistakes)


close_to_answers(globals())
