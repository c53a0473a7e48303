r"""Checks of notebook 02: the prox, :math:`\arg\min_u f(u) + \tfrac{1}{2\tau}(u - v)^2`, entry by entry."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import Claim, check, claim, close_to_answers, same
from minilift.layers.losses import SigmoidCrossEntropy


def grid_prox(f, v, tau, grid):
    """Return for each v the point of the grid with the least f(u) + (u − v)²/(2τ)."""
    return grid[np.argmin(f(grid) + (grid - v[:, None]) ** 2 / (2 * tau), axis=1)]


def brute_prox(answer, seed):
    """Exercise 2.1: the prox by trying every point of a grid."""
    rng = np.random.default_rng(seed)
    v, tau, grid = rng.uniform(-2, 2, 20), 0.4, np.linspace(-3, 3, 601)

    def bump(u):
        return np.cos(3 * u) + 0.3 * u**2

    def excess(u, f):
        """Return by how much the objective at u lies above its least value on the grid, at worst."""
        every = f(grid) + (grid - v[:, None]) ** 2 / (2 * tau)
        return float((f(u) + (u - v) ** 2 / (2 * tau) - every.min(axis=1)).max())

    def claims(prox):
        for name, f in (("|u|", np.abs), ("a function with many minima", bump)):
            u = np.asarray(prox(f, v, tau, grid), dtype=float)
            off_grid = abs(u[:, None] - grid).min(axis=1)
            yield claim(f"{name}: one grid point for each v", off_grid, np.zeros(20))
            yield Claim(f"{name}: no grid point is lower", excess(u, f), 1e-12)

    def mistakes(prox):
        u = prox(bump, v, tau, grid)
        yield same(u, np.full(20, grid[np.argmin(bump(grid))])), \
            "this minimises f alone: the distance to v must count too"
        yield same(u, grid_prox(bump, v, tau / 2, grid)), "a factor 2: distance has weight 1/(2τ), not 1/τ"
        yield same(u, grid_prox(bump, v, 1 / tau, grid)), "τ divides: a large τ makes distance cheap"

    return check("2.1", answer, claims, mistakes, fallback=grid_prox)


def soft_threshold(answer, seed):
    """Exercise 2.2: the prox of the absolute value."""
    v = np.concatenate([np.random.default_rng(seed).normal(size=40) * 2, [0.0]])

    def misfit(u, tau):
        """Return how far (v − u)/τ is from the slopes of |·| at u, at worst."""
        slope = (v - u) / tau
        return float(np.where(u != 0, abs(slope - np.sign(u)), np.maximum(abs(slope) - 1, 0)).max())

    def claims(prox):
        for tau in (0.3, 1.7):
            u = np.asarray(prox(v, tau), dtype=float)
            yield claim(f"τ = {tau}: one u for each v", np.array(u.shape), np.array(v.shape))
            yield Claim(f"τ = {tau}: (v − u)/τ is a slope of |·| at u", misfit(u, tau), 1e-12)

    def mistakes(prox):
        u, tau = prox(v, 0.3), 0.3
        yield same(u, np.sign(v) * (abs(v) - tau)), "points with |v| < τ change sign here; they stop at 0"
        yield same(u, np.where(abs(v) > tau, v, 0)), "points outside [−τ, τ] must move by τ as well"
        yield same(u, np.maximum(v - tau, 0)), "negative v are lost: the absolute value is symmetric"
        yield same(u, v - tau * np.sign(v)), "this is the explicit step: it hops over the kink"

    return check("2.2", answer, claims, mistakes, fallback=lambda v, tau: v - np.clip(v, -tau, tau))


def logistic_prox(answer, seed):
    """Exercise 2.3: the prox of the logistic loss log(1 + exp u) − y u."""
    rng = np.random.default_rng(seed)
    v, y = rng.normal(size=30) * 4, rng.integers(0, 2, 30).astype(float)

    def sigmoid(u):
        return 0.5 + 0.5 * np.tanh(u / 2)

    def residual(u, tau):
        return u + tau * (sigmoid(u) - y)

    def claims(prox):
        for tau in (0.5, 50.0):
            yield claim(f"u + τ (sigmoid(u) − y) = v, τ = {tau}", residual(prox(v, y, tau), tau), v, 1e-8)

    def mistakes(prox):
        small, large = prox(v, y, 0.5), prox(v, y, 50.0)
        yield same(small, v - 0.5 * (sigmoid(v) - y)), "the explicit step: its slope is taken at v, not at u"
        yield same(small, prox_of(v, 1 - y, 0.5)), "the label's sign: the slope of the loss is sigmoid(u) − y"
        yield same(residual(small, 0.5), v, 1e-8) and not same(residual(large, 50.0), v, 1e-8), \
            "right for a small τ only: Newton's steps can jump between the two flat sides; bisect instead"
        yield same(small, large), "the result does not depend on τ"

    return check("2.3", answer, claims, mistakes, fallback=prox_of)


def prox_of(v, y, tau):
    """Return the library's prox of the logistic loss, for 1-dimensional v and y."""
    return SigmoidCrossEntropy("sum").prox(v[:, None], y[:, None], tau)[:, 0]


def jump(answer, seed):
    """Exercise 2.4: two near points that the prox of the double well sends far apart."""
    grid = np.linspace(-3, 3, 6001)

    def double_well(u):
        return (u**2 - 1) ** 2 / 4

    def sent(found):
        v, w, tau = (float(part) for part in found)
        return grid_prox(double_well, np.array([v, w]), tau, grid)

    def claims(found):
        v, w, tau = (float(part) for part in found)
        yield Claim("τ > 0", max(0.0, 1e-6 - tau), 1e-9)
        yield Claim("|v − w| ≤ 0.01 (excess)", max(0.0, abs(v - w) - 0.01), 1e-12)
        yield Claim("their proxes lie at least 1 apart (shortfall)", max(0.0, 1 - np.ptp(sent(found))), 2e-3)

    def mistakes(found):
        v, w, tau = (float(part) for part in found)
        yield abs(v - w) > 0.01, "the two points must be near each other"
        yield tau <= 1, "for τ ≤ 1 the parabola outweighs the bend between the wells: one minimum, no jump"
        yield v * w > 0, "both points lie on the same side of 0, and go to the same well"
        yield tau < 4 / 3, "there is a jump, but a small one: the proxes of 0⁻ and 0⁺ are ∓√(1 − 1/τ)"

    return check("2.4", answer, claims, mistakes)


close_to_answers(globals())
