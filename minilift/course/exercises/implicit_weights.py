r"""Checks of notebook 05: the implicit step in the weights of one layer,

.. math:: \arg\min_\theta \tfrac12\|\tilde a\theta - z^{½}\|^2 + \tfrac{1}{2\tau_\theta}\|\theta - \theta_k\|^2.
"""

from __future__ import annotations

import numpy as np

from minilift.course.teach import Claim, check, claim, close_to_answers, same
from minilift.layers.gram import Gram
from minilift.local.solvers import damped_solve


def tilde(a):
    """Return [a 1]."""
    return np.hstack([a, np.ones((len(a), 1))])


def damped(a, tau_theta):
    """Return M = ãᵀã + I/τ_θ, formed plainly."""
    return tilde(a).T @ tilde(a) + np.eye(a.shape[1] + 1) / tau_theta


def library_implicit_weights(a, theta_k, z_half, tau_theta):
    """Return the new θ by the library's damped least squares for the difference."""
    gram = Gram(a)
    return theta_k - damped_solve(gram, gram.apply(theta_k) - z_half, 1 / tau_theta).value


def implicit_weights(answer, seed):
    """Exercise 5.1: the gradient of (11) vanishes at the answer."""
    rng = np.random.default_rng(seed)
    shapes = ((7, 4), (4, 7))
    problems = [(rng.normal(size=(N, n)), rng.normal(size=(n + 1, 3)), rng.normal(size=(N, 3))) for N, n in shapes]

    def claims(found):
        for a, theta_k, z_half in problems:
            for tau_theta in (0.2, 50.0):
                new = found(a, theta_k, z_half, tau_theta)
                residual = tilde(a).T @ (tilde(a) @ new - z_half) + (new - theta_k) / tau_theta
                yield claim(f"N = {len(a)}, n = {a.shape[1]}, τ_θ = {tau_theta:g}: gradient of (11) vanishes",
                            residual, np.zeros_like(theta_k), 1e-10)

    def mistakes(found):
        (a, theta_k, z_half), tau_theta = problems[0], 0.2
        new = found(a, theta_k, z_half, tau_theta)
        loose = np.diag([1.0] * a.shape[1] + [0.0]) / tau_theta
        free_bias = np.linalg.solve(tilde(a).T @ tilde(a) + loose, tilde(a).T @ z_half + loose @ theta_k)
        yield same(new, library_implicit_weights(a, theta_k, z_half, 1 / tau_theta)), \
            "τ_θ divides: the damping is 1/τ_θ, so that a large step size damps little"
        yield same(new, library_implicit_weights(a, 0 * theta_k, z_half, tau_theta)), \
            "θ is pulled towards 0 (weight decay); it must be pulled towards θ_k"
        yield same(new, library_implicit_weights(a, theta_k, z_half, tau_theta / len(a))), \
            "the fit in (11) is not averaged over the batch"
        yield same(new, free_bias), "the bias is damped as well: it is part of θ"
        yield same(new, theta_k - library_implicit_weights(a, theta_k, z_half, tau_theta)), \
            "this is the change of θ; the new θ is wanted"

    return check("5.1", answer, claims, mistakes, fallback=library_implicit_weights)


def library_coefficients(a, g, tau_theta):
    """Return U with the library's Gram matrix of the samples."""
    return np.linalg.solve(Gram(a, side="sample").matrix + np.eye(len(a)) / tau_theta, g)


def coefficients(answer, seed):
    """Exercise 5.2: d = ãᵀU satisfies M d = ãᵀg."""
    rng = np.random.default_rng(seed)
    problems = [(rng.normal(size=(N, n)), rng.normal(size=(N, 2))) for N, n in ((5, 12), (12, 5))]

    def claims(found):
        for a, g in problems:
            for tau_theta in (0.2, 50.0):
                U = np.asarray(found(a, g, tau_theta), dtype=float)
                if U.shape != g.shape:
                    raise ValueError(f"U has shape {U.shape} where {g.shape} is expected, one row a sample")
                case = f"N = {len(a)}, n = {a.shape[1]}, τ_θ = {tau_theta:g}"
                yield claim(f"{case}: M ãᵀU = ãᵀg", damped(a, tau_theta) @ tilde(a).T @ U, tilde(a).T @ g, 1e-10)

    def mistakes(found):
        (a, g), tau_theta = problems[0], 0.2
        U, identity = found(a, g, tau_theta), np.eye(len(a))
        yield same(U, np.linalg.solve(a @ a.T + identity / tau_theta, g)), \
            "the column of ones is missing: ããᵀ = aaᵀ + 11ᵀ"
        yield same(U, np.linalg.solve(tilde(a) @ tilde(a).T + identity * tau_theta, g)), "τ_θ divides: β = 1/τ_θ"
        yield same(U, np.linalg.solve(tilde(a) @ tilde(a).T, g)), "the damping β is missing"
        yield same(U, tau_theta * g), "the solve is missing: this gives the gradient, times τ_θ"

    return check("5.2", answer, claims, mistakes, fallback=library_coefficients)


def library_cosine_bound(a, tau_theta):
    """Return the bound from the condition number of the library's damped matrix."""
    kappa = np.linalg.cond(Gram(a, side="parameter").matrix + np.eye(a.shape[1] + 1) / tau_theta)
    return 2 * np.sqrt(kappa) / (1 + kappa)


def cosine_bound(answer, seed):
    """Exercise 5.3: no gradient violates the bound, and one reaches it."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(12, 4)) * [3.0, 1.0, 0.5, 0.2]
    gradients = rng.normal(size=(500, 5))

    def cosines(gradients, tau_theta):
        d = np.linalg.solve(damped(a, tau_theta), gradients.T).T
        return np.sum(gradients * d, axis=1) / (np.linalg.norm(gradients, axis=1) * np.linalg.norm(d, axis=1))

    def worst(tau_theta):
        """Return the gradient that d leaves farthest: parts in the two extreme eigenvectors, as their roots."""
        values, vectors = np.linalg.eigh(damped(a, tau_theta))
        return np.sqrt(values[0]) * vectors[:, 0] + np.sqrt(values[-1]) * vectors[:, -1]

    def claims(bound):
        for tau_theta in (0.01, 1.0, 100.0):
            value = float(bound(a, tau_theta))
            yield Claim(f"τ_θ = {tau_theta:g}: 500 gradients do not fall below it (shortfall)",
                        max(0.0, value - cosines(gradients, tau_theta).min()), 1e-12)
            yield claim("  and one gradient reaches it", cosines(worst(tau_theta)[None], tau_theta)[0], value, 1e-9)

    def mistakes(bound):
        value, values = float(bound(a, 1.0)), np.linalg.eigvalsh(damped(a, 1.0))
        kappa = values[-1] / values[0]
        s = np.linalg.svd(tilde(a), compute_uv=False) + 1
        yield same(value, library_cosine_bound(a, 1e300)), "this is for the undamped matrix; M has I/τ_θ added"
        yield same(value, 1 / kappa) or same(value, 1 / np.sqrt(kappa)), \
            "true, but no gradient comes near it: use both parts of (5.7)"
        yield same(value, 2 * np.sqrt(s[0] * s[-1]) / (s[0] + s[-1])), \
            "these are singular values of ã; the eigenvalues of ãᵀã are their squares"
        yield same(value, 2 * kappa / (1 + kappa)), "the square root of κ is missing"
        plain = np.linalg.cond(a.T @ a + np.eye(4))
        yield same(value, 2 * np.sqrt(plain) / (1 + plain)), "the column of ones is missing"

    return check("5.3", answer, claims, mistakes, fallback=library_cosine_bound)


def lost_digits(answer, seed):
    """Exercise 5.4: shapes and τ_θ for which the sample side loses half its digits, the parameter side does not."""
    def sizes(found):
        return int(found[0]), int(found[1]), float(found[2])

    def errors(found):
        """Return the relative errors of the sample-space and of the parameter form."""
        samples, inputs, tau_theta = sizes(found)
        rng = np.random.default_rng(seed)
        a, g = rng.normal(size=(samples, inputs)), rng.normal(size=(samples, 3))
        Q, s, Vt = np.linalg.svd(tilde(a), full_matrices=False)
        exact = Vt.T @ ((s / (s**2 + 1 / tau_theta))[:, None] * (Q.T @ g))
        sample = tilde(a).T @ np.linalg.solve(tilde(a) @ tilde(a).T + np.eye(samples) / tau_theta, g)
        parameter = np.linalg.solve(damped(a, tau_theta), tilde(a).T @ g)
        return [float(abs(d - exact).max() / abs(exact).max()) for d in (sample, parameter)]

    def claims(found):
        samples, inputs, tau_theta = sizes(found)
        excess = max(0, 1 - samples, 1 - inputs, samples - 100, inputs - 100)
        yield Claim("N and n lie between 1 and 100 (excess)", excess, 0)
        yield Claim("τ_θ is positive (shortfall)", max(0.0, 1e-12 - tau_theta), 0.0)
        if 1 <= samples <= 100 and 1 <= inputs <= 100 and tau_theta > 0:
            sample, parameter = errors(found)
            yield Claim("sample space: error above 1e-8 (shortfall, relative)", max(0.0, 1 - sample / 1e-8), 1e-9)
            yield Claim("M⁻¹∇J: error", parameter, 1e-10)

    def mistakes(found):
        samples, inputs, tau_theta = sizes(found)
        yield max(samples, inputs) > 100 or min(samples, inputs) < 1, "N and n may be at most 100, and at least 1"
        yield tau_theta <= 0, "a step size is positive"
        yield samples <= inputs + 1, "with N ≤ n + 1 the matrix ããᵀ is invertible: the sample side is the safe one here"
        yield tau_theta < 1e7, "the damping 1/τ_θ is still large compared with rounding"

    return check("5.4", answer, claims, mistakes)


close_to_answers(globals())
