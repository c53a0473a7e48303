r"""Checks of notebook 01: explicit and implicit Euler steps on :math:`J(x) = \tfrac12\|Bx\|^2`, A = BᵀB."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import Claim, check, claim, close_to_answers, same
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


def explicit_step(answer, seed):
    """Exercise 1.1: x − τ ∇J(x)."""
    B, x = draw(seed)
    A, tau = B.T @ B, 0.3

    def claims(step):
        eigenvalues, Q = np.linalg.eigh(A)
        yield claim("starts from x and moves along −∇J(x)", (x - step(B, x, tau)) / tau, A @ x)
        yield claim("multiplies each eigenvector by 1 − τλ",
                    np.array([step(B, q, tau) for q in Q.T]), (1 - tau * eigenvalues)[:, None] * Q.T)

    def mistakes(step):
        found = step(B, x, tau)
        yield same(found, x + tau * A @ x), "the sign: the flow goes downhill, against the gradient"
        yield same(found, -tau * A @ x), "this is the change of x; the new x is wanted"
        yield same(found, x - tau * 2 * A @ x), "a factor 2: J carries a ½, so its gradient is A x"

    return check("1.1", answer, claims, mistakes,
                 fallback=lambda B, x, tau: x - tau * Gram(B, bias=False).adjoint((B @ x)[:, None])[:, 0])


def implicit_step(answer, seed):
    """Exercise 1.2: the solution of x_new = x − τ ∇J(x_new)."""
    B, x = draw(seed)
    A = B.T @ B

    def claims(step):
        for tau in (0.3, 1e3):
            new = step(B, x, tau)
            yield claim(f"x_new + τ ∇J(x_new) = x, τ = {tau:g}", new + tau * A @ new, x, 1e-9)

    def mistakes(step):
        tau = 0.3
        found, identity = step(B, x, tau), np.eye(3)
        yield same(found, x - tau * A @ x), "this is the explicit step: the slope is taken at x, not at x_new"
        yield same(found, np.linalg.solve(A + tau * identity, x)), \
            "τ belongs to A: the system is for x_new + τ A x_new, not for A x_new + τ x_new"
        yield same(found, np.linalg.solve(identity - tau * A, x)), \
            "the sign: bring −τ A x_new to the other side of the equation"
        yield same(found, (identity + tau * A) @ x), "multiplied by the matrix instead of solving with it"

    return check("1.2", answer, claims, mistakes, fallback=library_implicit_step)


def largest_stable_step(answer, B, seed):
    """Exercise 1.3: the step size where explicit steps stop shrinking x, found by experiment."""
    spread = np.random.default_rng(seed).normal(size=(6, 4))

    def growth(problem, tau):
        """Return by how much the last of 2000 normalised explicit steps changes the length of x."""
        A, x, size = problem.T @ problem, np.ones(problem.shape[1]), 1.0
        for _ in range(2000):
            x = x - tau * A @ x
            size = float(np.linalg.norm(x))
            x = x / size
        return size

    def claims(limit):
        for name, problem in (("the notebook's B", B), ("another B", spread)):
            tau = float(limit(problem))
            below, above = growth(problem, 0.99 * tau), growth(problem, 1.01 * tau)
            yield Claim(f"{name}: at 0.99 τ steps shrink x", max(0.0, below - 1), 1e-3)
            yield Claim(f"{name}: at 1.01 τ steps grow x", max(0.0, 1.001 - above), 1e-3)

    def mistakes(limit):
        tau, eigenvalues = float(limit(spread)), np.linalg.eigvalsh(spread.T @ spread)
        yield same(tau * eigenvalues[-1], 1, 0.01), \
            "here the fastest component vanishes in one step; beyond, it changes sign, but still shrinks"
        yield same(tau * eigenvalues[0], 2, 0.01), "the limit of the slowest component; another leaves first"
        yield same(tau * np.sqrt(eigenvalues[-1]), 2, 0.01), "a singular value of B: the steps see its square"

    return check("1.3", answer, claims, mistakes,
                 fallback=lambda problem: 2 / np.linalg.norm(Gram(problem, bias=False).matrix, 2))


def uphill(answer, seed):
    """Exercise 1.4: a symmetric matrix and τ for which every implicit step goes uphill from some x."""
    def claims(found):
        A, tau = np.asarray(found[0], dtype=float), float(found[1])
        if A.shape != (2, 2):
            raise ValueError(f"A has shape {A.shape} where (2, 2) is expected")
        yield claim("A is symmetric", A, A.T)
        yield Claim("τ is positive", max(0.0, 1e-9 - tau), 1e-9)
        yield Claim("some implicit step raises J (shortfall)", max(0.0, 1e-3 - rise(A, tau)), 1e-9)

    def mistakes(found):
        A, tau = np.asarray(found[0], dtype=float), float(found[1])
        low = np.linalg.eigvalsh(A)[0]
        yield low >= 0, "J is convex for this A, and on a convex J an implicit step never goes uphill"
        yield -tau * low < 1, "τ is so small that the proximal term still makes the subproblem convex"
        yield -tau * low < 2, "x_new lies beyond 0 but farther out than x, where J is lower: try a larger τ"

    def rise(A, tau):
        """Return the largest J(x_new) − J(x) over eigenvectors x of A."""
        eigenvalues = np.linalg.eigvalsh(A)
        return float(max(eigenvalues / 2 * (1 / (1 + tau * eigenvalues) ** 2 - 1)))

    return check("1.4", answer, claims, mistakes)


close_to_answers(globals())
