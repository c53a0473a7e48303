r"""Checks of notebook 06: conjugate gradients on

.. math:: (\tilde a^T\tilde a + \beta I)\,d = \tilde a^T g, \qquad \beta = 1/\tau_\theta.
"""

from __future__ import annotations

import numpy as np

from minilift.course.teach import Claim, check, close_to_answers, same
from minilift.layers.gram import Gram
from minilift.local import solvers


def tilde(a):
    """Return [a 1]."""
    return np.hstack([a, np.ones((len(a), 1))])


def dots(u, v):
    """Return the inner product of each pair of columns."""
    return np.sum(u * v, axis=0)


def shaped(name, value, expected):
    """Return `value` as an array if it has the shape of `expected`."""
    value = np.asarray(value, dtype=float)
    if value.shape != expected.shape:
        raise ValueError(f"{name} has shape {value.shape} where {expected.shape} is expected")
    return value


def krylov_misfit(M, b, d, steps):
    """Return how far d is from the minimiser over span(b, …, M^{steps−1} b), the worst of its columns.

    Two parts: what of d lies outside the space, relative to d, and what of the residual lies in it, relative to b.
    """
    outside, inside = 0.0, 0.0
    for j in range(b.shape[1]):
        basis = np.zeros((len(b), 0))
        for k in range(steps):
            new = b[:, j] if k == 0 else M @ basis[:, -1]
            for _ in range(2):  # once more, for what rounding left
                new = new - basis @ (basis.T @ new)
            basis = np.hstack([basis, (new / np.linalg.norm(new))[:, None]])
        rest = d[:, j] - basis @ (basis.T @ d[:, j])
        outside = max(outside, np.linalg.norm(rest) / max(np.linalg.norm(d[:, j]), 1e-300))
        inside = max(inside, np.linalg.norm(basis.T @ (b[:, j] - M @ d[:, j])) / np.linalg.norm(b[:, j]))
    return outside, inside


def library_first_step(M, b):
    """Return one step of the library's CG on L Lᵀ d = b, where L Lᵀ = M: its a is Lᵀ, its g is L⁻¹b, β = 0."""
    root = np.linalg.cholesky(M).T
    gram = Gram(root, side="parameter", bias=False)
    return solvers.conjugate_gradients(gram, np.linalg.solve(root.T, b), 0.0, 1).value


def first_step(answer, seed):
    """Exercise 6.1: the exact line search along b, in each unit."""
    rng = np.random.default_rng(seed)
    root, b = rng.normal(size=(8, 5)), rng.normal(size=(5, 3))
    M = root.T @ root + 0.5 * np.eye(5)

    def claims(step):
        outside, inside = krylov_misfit(M, b, shaped("d_1", step(M, b), b), 1)
        yield Claim("each column is a multiple of its b", outside, 1e-12)
        yield Claim("no slope along b is left, in any unit", inside, 1e-12)

    def mistakes(step):
        d, along = step(M, b), dots(b, M @ b)
        yield same(d, np.sum(b * b) / np.sum(along) * b), \
            "all units share one step length here; each has its own problem"
        yield same(d, along / dots(b, b) * b), "the fraction is upside down"
        yield same(d, b / np.linalg.norm(M, 2)), "1/λ_max is stable, but not the best step"
        yield same(d, np.sqrt(dots(b, b)) / along * b), "the norm must be squared"
        yield same(d, np.linalg.solve(M, b)), "this is the exact solution; one step along b is asked for"

    return check("6.1", answer, claims, mistakes, fallback=library_first_step)


def library_cg(a, g, tau_theta, steps):
    """Return the library's CG iterate."""
    return solvers.conjugate_gradients(Gram(a, side="parameter"), g, 1 / tau_theta, steps).value


def wrong_cg(a, g, tau_theta, steps, gamma=None, alias=False):
    """Return what known mistakes give: γ fixed (0: steepest descent), or r and p one array in the first step."""
    M = tilde(a).T @ tilde(a) + np.eye(a.shape[1] + 1) / tau_theta
    r = tilde(a).T @ g
    d, p = np.zeros_like(r), r.copy()
    for k in range(steps):
        rho, alpha = dots(r, r), dots(r, r) / dots(p, M @ p)
        d = d + alpha * p
        r = r - alpha * (M @ p)
        if alias and k == 0:
            p = r
        p = r + (dots(r, r) / rho if gamma is None else gamma) * p
    return d


def conjugate_gradients(answer, seed):
    """Exercise 6.2: d_k minimises over the Krylov space of dimension k, in each unit."""
    rng = np.random.default_rng(seed)
    a, g, tau_theta = rng.normal(size=(12, 6)), rng.normal(size=(12, 3)), 0.4
    M, b = tilde(a).T @ tilde(a) + np.eye(7) / tau_theta, tilde(a).T @ g

    def claims(cg):
        for steps in (1, 2, 4):
            d = shaped("d", cg(a, g, tau_theta, steps), b)
            outside, inside = krylov_misfit(M, b, d, steps)
            yield Claim(f"k = {steps}: d lies in the Krylov space", outside, 1e-10)
            yield Claim("       and the residual is orthogonal to it", inside, 1e-10)

    def mistakes(cg):
        two = cg(a, g, tau_theta, 2)
        joint = solvers.conjugate_gradients(Gram(a), g, 1 / tau_theta, 2, joint=True).value
        yield same(two, wrong_cg(a, g, tau_theta, 2, gamma=0)), \
            "γ is missing: repeated exact line searches are steepest descent"
        yield same(two, wrong_cg(a, g, tau_theta, 2, alias=True)), \
            "after p = r both names stand for one and the same array, which r −= α Mp changes"
        yield same(two, joint), "one step length for all units; each has its own problem (sum over axis 0 only)"
        yield same(two, library_cg(a, g, 1 / tau_theta, 2)), "τ_θ divides: the damping is 1/τ_θ"
        yield same(two, library_cg(a, g, tau_theta, 1)) or same(two, library_cg(a, g, tau_theta, 3)), \
            "the number of steps is off by one"

    return check("6.2", answer, claims, mistakes, fallback=library_cg)


def rows_of(K):
    """Return ã with ããᵀ = K, from K's eigenvectors."""
    values, vectors = np.linalg.eigh(K)
    return vectors * np.sqrt(values.clip(0))


def library_sample_space_cg(K, g, beta, steps):
    """Return U by the library's CG on the sample side, for any K = ããᵀ."""
    class Coordinates(Gram):
        """The sample side with K given, which keeps its coordinates."""

        def lift(self, u):
            return u
    gram = Coordinates(rows_of(K), side="sample", bias=False)
    return solvers.conjugate_gradients(gram, g, beta, steps).value


def coefficient_cg(K, g, beta, steps):
    """Return CG on (K + βI) U = g with plain inner products: a known mistake."""
    matrix = K + beta * np.eye(len(K))
    U, R, P = np.zeros_like(g), g, g
    for _ in range(steps):
        alpha = dots(R, R) / dots(P, matrix @ P)
        U, new = U + alpha * P, R - alpha * (matrix @ P)
        P, R = new + dots(new, new) / dots(R, R) * P, new
    return U


def sample_space_cg(answer, seed):
    """Exercise 6.3: ãᵀU is the CG iterate in θ."""
    rng = np.random.default_rng(seed)
    problems = [(rng.normal(size=(N, n)), rng.normal(size=(N, 2))) for N, n in ((6, 9), (9, 5))]
    beta = 2.0

    def claims(cg):
        for a, g in problems:
            M, b = tilde(a).T @ tilde(a) + beta * np.eye(a.shape[1] + 1), tilde(a).T @ g
            for steps in (1, 3):
                U = shaped("U", cg(tilde(a) @ tilde(a).T, g, beta, steps), g)
                outside, inside = krylov_misfit(M, b, tilde(a).T @ U, steps)
                yield Claim(f"N = {len(a)}, k = {steps}: ãᵀU lies in the Krylov space", outside, 1e-9)
                yield Claim("              and its residual is orthogonal to it", inside, 1e-9)

    def mistakes(cg):
        a, g = problems[0]
        K = tilde(a) @ tilde(a).T
        U = cg(K, g, beta, 3)
        yield same(U, coefficient_cg(K, g, beta, 3)), \
            "these are inner products of the coefficients; those of θ are ⟨U, KV⟩"
        yield same(U, library_sample_space_cg(K, g, 0.0, 3)), "the damping β is missing"
        yield same(U, np.linalg.solve(K + beta * np.eye(len(K)), g)), "this is the exact solution, not three steps"

    return check("6.3", answer, claims, mistakes, fallback=library_sample_space_cg)


def dense_cg(M, b, steps):
    """Return the iterates d_1, …, d_steps of textbook CG on M d = b, for figures about rounding."""
    d, r, p, iterates = np.zeros_like(b), b, b, []
    for _ in range(steps):
        Mp, rho = M @ p, dots(r, r)
        alpha = rho / np.maximum(dots(p, Mp), 1e-300)
        d, r = d + alpha * p, r - alpha * Mp
        p = r + dots(r, r) / np.maximum(rho, 1e-300) * p
        iterates.append(d)
    return iterates


def unfinished(answer, seed):
    """Exercise 6.4: 16 eigenvalues, κ ≤ 1e4, for which CG is not done after 16 steps."""
    rng = np.random.default_rng(seed)
    Q, b = np.linalg.qr(rng.normal(size=(16, 16)))[0], rng.normal(size=(16, 5))

    def remaining(values):
        """Return the least relative error in the norm of M over five right sides."""
        M, exact = Q * values @ Q.T, Q / values @ Q.T @ b
        rest = exact - dense_cg(M, b, 16)[-1]
        return float(np.sqrt(dots(rest, M @ rest) / dots(exact, M @ exact)).min())

    def claims(spectrum):
        values = np.asarray(spectrum, dtype=float)
        if values.shape != (16,):
            raise ValueError(f"shape {values.shape} where 16 eigenvalues are expected")
        yield Claim("all are positive (shortfall)", max(0.0, 1e-12 - values.min()), 0.0)
        yield Claim("κ is at most 1e4 (excess, relative)", max(0.0, np.ptp(values) / values.min() / 1e4 - 1), 1e-9)
        yield Claim("error after 16 steps above 1 % (shortfall)", max(0.0, 0.01 - remaining(values)), 1e-9)

    def mistakes(spectrum):
        values = np.sort(np.asarray(spectrum, dtype=float))
        kappa = values[-1] / values[0]
        yield values[0] <= 0, "M is positive definite: its eigenvalues are positive"
        yield kappa > 1.0001e4, "κ may be at most 10⁴; beyond, even 30 steps would hardly begin"
        yield np.sum(np.diff(values) > 1e-9 * values[1:]) < 12, \
            "too few distinct eigenvalues: a polynomial of low degree vanishes on all of them, and CG ends early"
        yield kappa < 2000, "so well conditioned that CG converges before rounding matters"

    return check("6.4", answer, claims, mistakes)


class Counting(np.ndarray):
    """An array that counts multiplications and additions of the matrix products it takes part in."""

    operations = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [x.view(np.ndarray) if isinstance(x, Counting) else x for x in inputs]
        if out is not None:
            options["out"] = tuple(x.view(np.ndarray) if isinstance(x, Counting) else x for x in out)
        if ufunc is np.matmul:
            Counting.operations += 2 * plain[0].size * (plain[1].shape[1] if plain[1].ndim > 1 else 1)
        result = getattr(ufunc, method)(*plain, **options)
        return result.view(Counting) if isinstance(result, np.ndarray) else result


def count_products(side, N, n, m, steps):
    """Return the operations in matrix products of `steps` CG steps: the library's on one side, or matrix-free."""
    rng = np.random.default_rng(0)
    a, g = rng.normal(size=(N, n)).view(Counting), rng.normal(size=(N, m)).view(Counting)
    Counting.operations = 0
    if side == "matrix-free":
        a_tilde, d = tilde(a).view(Counting), (tilde(a).T @ g).view(Counting)
        for _ in range(steps):
            d = a_tilde.T @ (a_tilde @ d)
    else:
        gram = Gram(a, side=side)
        gram.matrix = gram.matrix.view(Counting)
        solvers.conjugate_gradients(gram, g, 1.0, steps)
    return Counting.operations


close_to_answers(globals())
