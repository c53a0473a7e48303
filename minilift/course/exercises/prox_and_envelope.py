r"""Checks of notebook 02: the prox, :math:`\arg\min_u f(u) + \tfrac{1}{2\tau}(u - v)^2`, entry by entry."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from minilift.course.teach import Claim, beyond, check, claim, close_to_answers, same, slips
from minilift.layers.losses import SigmoidCrossEntropy


def grid_prox(f, v, tau, grid):
    """Return for each v the point of the grid with the least f(u) + (u − v)²/(2τ)."""
    return grid[np.argmin(f(grid) + (grid - v[:, None]) ** 2 / (2 * tau), axis=1)]


def prox_with(weight=lambda tau: 1 / (2 * tau), size=np.square, value=1.0, best=np.argmin):
    """Return a brute-force prox with a slip in it: the weight and the size of the distance, f, what is best."""
    def prox(f, v, tau, grid):
        return grid[best(value * f(grid) + weight(tau) * size(grid - v[:, None]), axis=1)]
    return prox


WRONG_PROXES = {
    "this minimises f alone: the distance to v must count too": prox_with(weight=lambda tau: 0.0),
    "a factor 2: distance has weight 1/(2τ), not 1/τ": prox_with(lambda tau: 1 / tau),
    "τ divides: a large τ makes distance cheap": prox_with(lambda tau: tau / 2),
    "τ divides, and the ½ is missing": prox_with(lambda tau: tau),
    "τ is missing: distance has weight 1/(2τ)": prox_with(lambda tau: 0.5),
    "τ is missing, or f is divided by 2τ as well: the distance alone has weight 1/(2τ)": prox_with(lambda tau: 1.0),
    "the distance is squared; this is its absolute value": prox_with(size=np.abs),
    "this maximises: the least value is wanted": prox_with(best=np.argmax),
    "the sign: distance is added, not subtracted": prox_with(lambda tau: -1 / (2 * tau)),
    "1/(2τ) weighs the distance, not 2τ": prox_with(lambda tau: 2 * tau),
    "1/(2τ), not 1/(2τ²): or does τ multiply f as well?": prox_with(lambda tau: 1 / (2 * tau**2)),
    "1/(2τ), not 1/τ²": prox_with(lambda tau: 1 / tau**2),
    "the distance is squared; this is its absolute value, over τ": prox_with(lambda tau: 1 / tau, np.abs),
    "the distance is squared; here it has kept its sign": prox_with(size=np.asarray),
    "the sign of f: it is minimised, and here −f is": prox_with(value=-1.0),
    "this is the prox of the last, or first, v for all: the least entry of each row is wanted, not of the whole table":
        lambda f, v, tau, grid: np.full(len(v), grid[np.argmin(
            f(grid) + (grid - v[:, None]) ** 2 / (2 * tau)) % len(grid)]),
    "the distance is u − v, not u + v": lambda f, v, tau, grid: prox_with()(f, -v, tau, grid),
    "this is f at the prox; the point is wanted": lambda f, v, tau, grid: f(prox_with()(f, v, tau, grid)),
    "this is the move v − u; u itself is wanted": lambda f, v, tau, grid: v - prox_with()(f, v, tau, grid),
    "this is the move u − v; u itself is wanted": lambda f, v, tau, grid: prox_with()(f, v, tau, grid) - v,
    "the points of the grid are u − v here; they are u": lambda f, v, tau, grid:
        grid[np.argmin(f(v[:, None] + grid) + grid**2 / (2 * tau), axis=1)],
    "f and the distance are added, not multiplied": lambda f, v, tau, grid: grid[np.argmin(
        f(grid) * (grid - v[:, None]) ** 2 / (2 * tau), axis=1)],
    "the last point of the grid, for each v: is the best value kept with its point?":
        lambda f, v, tau, grid: np.full(len(v), grid[-1]),
    "the first point of the grid, for each v: is the best value kept with its point?":
        lambda f, v, tau, grid: np.full(len(v), grid[0]),
    "the index is off by one": lambda f, v, tau, grid: grid[(np.argmin(
        f(grid) + (grid - v[:, None]) ** 2 / (2 * tau), axis=1) + 1) % len(grid)],
    "1/(2τ), a product, not 1/(2 + τ)": prox_with(lambda tau: 1 / (2 + tau)),
    "1/(2τ), not 1/√(2τ)": prox_with(lambda tau: 1 / np.sqrt(2 * tau)),
    "1/(2τ), not 1/(2τ)²": prox_with(lambda tau: 1 / (2 * tau) ** 2),
    "f is taken at u − v; it belongs at the points of the grid": lambda f, v, tau, grid: grid[np.argmin(
        f(grid - v[:, None]) + (grid - v[:, None]) ** 2 / (2 * tau), axis=1)],
    "f is taken at u + v; it belongs at the points of the grid": lambda f, v, tau, grid: grid[np.argmin(
        f(grid + v[:, None]) + (grid - v[:, None]) ** 2 / (2 * tau), axis=1)],
    "f is missing, or taken at v instead of at the grid: this is the grid point nearest to v":
        prox_with(value=0.0),
    "this is the least value (the envelope); the point is wanted":
        lambda f, v, tau, grid: (f(grid) + (grid - v[:, None]) ** 2 / (2 * tau)).min(axis=1),
    "this is an index; the point of the grid is wanted":
        lambda f, v, tau, grid: np.argmin(f(grid) + (grid - v[:, None]) ** 2 / (2 * tau), axis=1),
}


def brute_prox(answer, seed):
    """Exercise 2.1: the prox by trying every point of a grid."""
    rng = np.random.default_rng(seed)
    v, tau, grid = rng.uniform(-2.8, 2.8, 20), 0.4, np.linspace(-3, 3, 601)
    v[:3] = 2.15, -2.15, 2.2  # from here the nearest minimum of the objective is not the lowest

    def bump(u):
        return np.cos(3 * u) + 0.3 * u**2

    def excess(u, f, tau):
        """Return by how much the objective at u lies above its least value on the grid, at worst."""
        every = f(grid) + (grid - v[:, None]) ** 2 / (2 * tau)
        return float((f(u) + (u - v) ** 2 / (2 * tau) - every.min(axis=1)).max())

    def calls_of_f(prox):
        """Return how often an answer calls f."""
        calls = []
        prox(lambda u: calls.append(u) or bump(u), v, tau, grid)
        return len(calls)

    def claims(prox):
        for name, f, tau in (("|u|", np.abs, 0.4), ("a function with many minima", bump, 0.4),
                             ("the same, τ = 2", bump, 2.0)):
            u = np.asarray(prox(f, v, tau, grid), dtype=float)
            off_grid = abs(u[:, None] - grid).min(axis=1)
            yield claim(f"{name}: one grid point for each v", off_grid, np.zeros(20))
            yield Claim(f"{name}: no grid point is lower", excess(u, f, tau), 1e-12,
                        "look at f, at the distance, at its weight 1/(2τ) and at the axis of the minimum")
        yield Claim("calls of f beyond two for each point of the grid", max(0, calls_of_f(prox) - 2 * len(grid)), 0)

    def mistakes(prox):
        cases = (bump, tau), (np.abs, tau), (bump, 2.0)
        yield all(same(prox(f, v, t, grid), grid_prox(f, v, t, grid)) for f, t in cases), \
            f"right, but too slow for the cells below: f is called {calls_of_f(prox)} times, for each v and each " \
            "point; hand it the whole grid at once"
        yield from slips(prox, [(bump, v, tau, grid), (np.abs, v, tau, grid), (bump, v, 50.0, grid)], WRONG_PROXES)
        yield (same(prox(bump, v, tau, grid), grid_prox(bump, v, tau, grid))
               and not same(prox(bump, v, 2.0, grid), grid_prox(bump, v, 2.0, grid)),
               "right for τ = 0.4 alone, the τ of this check: is a number written for τ?")
        u = np.asarray(prox(bump, v, tau, grid), dtype=float)
        yield (u.shape == grid.shape, "one point for each point of the grid comes back; the least is wanted for each "
               "v, over the grid: axis=1 where a row belongs to a v")
        yield u.shape != v.shape, f"one point for each of the {len(v)} v is asked for; yours has the shape {u.shape}"
        yield same(u, v), "v itself comes back; the point of the grid is wanted where f and the distance are least"
        yield (same(prox(bump, v, tau, grid), prox(np.abs, v, tau, grid)),
               "the same for every f: is f used, the one that is handed in, and no function of the notebook?")
        yield (u.shape == v.shape and not np.isin(u.round(9), grid.round(9)).all(),
               "these are no points of the grid: choose among them, and take no steps from v")
        right = grid_prox(bump, v, tau, grid)
        for step in (2, 5, 10, 100):
            yield same(u, grid_prox(bump, v, tau, grid[::step])), f"only every {step}th point of the grid is tried"
        yield (u.shape == v.shape and same(u[0], right[0]) and not u[1:].any(),
               "only the first v has its prox: does the return stand inside the loop?")
        yield np.max(abs(u - right)) < 0.03, "near the best point, not at it: is every point of the grid tried?"

        def value(u):
            return bump(u) + (u - v) ** 2 / (2 * tau)

        valley = (value(u) <= value(u - 0.01)) & (value(u) <= value(u + 0.01))
        few = np.mean(abs(u - right) < 0.011) > 0.5 and valley.all()
        yield few, "right for most v: is the nearest minimum taken, where another of the function's is lower?"
        least = (bump(grid) + (grid - v[:, None]) ** 2 / (2 * tau)).min(axis=1)
        height = value(u)
        k = np.argmax(height - least)
        yield height[k] > least[k] + 1e-12, (
            f"for v = {v[k]:.2f} your u = {u[k]:.2f} has the value {height[k]:.3f} in (2.1), and the grid has a point "
            f"with {least[k]:.3f}: look at f, at the distance to v, at its weight 1/(2τ), and at the axis")

    return check("2.1", answer, claims, mistakes, fallback=grid_prox, array=True)


WRONG_THRESHOLDS = {
    "points with |v| < τ change sign here, as in the explicit step, which hops over the kink; they stop at 0":
        lambda v, tau: np.sign(v) * (abs(v) - tau),
    "points outside [−τ, τ] must move by τ as well": lambda v, tau: np.where(abs(v) > tau, v, 0),
    "negative v are lost: the absolute value is symmetric": lambda v, tau: np.maximum(v - tau, 0),
    "the sign of v is missing: this is the length |u|": lambda v, tau: np.maximum(abs(v) - tau, 0),
    "points move away from 0; the prox makes |u| smaller": lambda v, tau: np.sign(v) * (abs(v) + tau),
    "this is the move v − u; u itself is wanted": lambda v, tau: np.clip(v, -tau, tau),
    "the threshold is 1 here; it is τ": lambda v, tau: np.sign(v) * np.maximum(abs(v) - 1, 0),
    "points beyond τ move by τ, not by 1": lambda v, tau: np.where(abs(v) > tau, v - np.sign(v), 0),
    "points move by up to τ; here by up to 1": lambda v, tau: v - np.clip(v / tau, -1, 1),
    "the threshold is τ, not τ²": lambda v, tau: np.sign(v) * np.maximum(abs(v) - tau**2, 0),
    "each entry has its own length |v|; here the length of the whole array is taken": lambda v, tau:
        v * max(0.0, 1 - tau / np.linalg.norm(v)),
    "a factor 2 in the threshold: the distance has a ½, |u| has none":
        lambda v, tau: np.sign(v) * np.maximum(abs(v) - 2 * tau, 0),
    "a factor ½ in the threshold": lambda v, tau: np.sign(v) * np.maximum(abs(v) - tau / 2, 0),
    "this is the prox of a square: |u| has a slope of ±1, whatever u is": lambda v, tau: v / (1 + tau),
    "the length falls by τ; it is not multiplied": lambda v, tau: np.sign(v) * np.maximum(abs(v) - tau, 0) * tau,
    "|v| − τ, not |v| τ": lambda v, tau: np.sign(v) * np.maximum(abs(v) * tau, 0),
    "the larger of |v| − τ and 0, not the smaller": lambda v, tau: np.sign(v) * np.minimum(abs(v) - tau, 0),
    "the threshold is τ, not 1/τ": lambda v, tau: np.sign(v) * np.maximum(abs(v) - 1 / tau, 0),
    "minus the prox: it keeps the sign of v": lambda v, tau: -np.sign(v) * np.maximum(abs(v) - tau, 0),
    "below −τ the point moves up: v + τ": lambda v, tau: np.where(abs(v) > tau, v - tau, 0),
    "all points go to 0 here; those beyond τ only move by τ": lambda v, tau: 0 * v,
    "the length stops at 0, not at τ": lambda v, tau: np.sign(v) * np.maximum(abs(v) - tau, tau),
    "v itself moves by τ in one direction only": lambda v, tau: v - tau,
    "between −τ and τ there is a third case, u = 0": lambda v, tau: np.where(v > tau, v - tau, v + tau),
    "points with |v| ≤ τ go to 0; here they stay": lambda v, tau:
        np.where(abs(v) <= tau, v, np.sign(v) * (abs(v) - tau)),
    "a τ is added to all points at the end": lambda v, tau: np.sign(v) * np.maximum(abs(v) - tau, 0) + tau,
    "the length |v| − τ is not squared": lambda v, tau: np.sign(v) * np.maximum(abs(v) - tau, 0) ** 2,
    "the length is |v| − τ, not |v − τ|: both sides move towards 0": lambda v, tau: np.sign(v) * abs(v - tau),
    "v has a length of its own: each u is |v| times too long": lambda v, tau: v * np.maximum(abs(v) - tau, 0),
    "positive v are lost: the absolute value is symmetric": lambda v, tau: np.minimum(v + tau, 0),
    "the threshold is |v| > τ, not v² > τ":
        lambda v, tau: np.where(v**2 > tau, v - tau * np.sign(v), 0),
    "the border is |v| = τ; here it is 1": lambda v, tau: np.where(abs(v) <= 1, 0, v - tau * np.sign(v)),
    "this is the least value (the envelope); the point is wanted": lambda v, tau:
        np.where(abs(v) > tau, abs(v) - tau / 2, v**2 / (2 * tau)),
    "this is a projection on [−1, 1]; the prox moves points by τ": lambda v, tau: np.clip(v, -1, 1),
    "beyond τ points move by τ; here they are multiplied by it": lambda v, tau: np.where(abs(v) < tau, 0, v * tau),
    "beyond τ points move by τ; here they are divided by it": lambda v, tau: np.where(abs(v) < tau, 0, v / tau),
    "|u| is |v|/(1 + τ/|v|) here: put it into (2.3); is (v − u)/τ a slope of |u| at u?":
        lambda v, tau: v * abs(v) / np.maximum(abs(v) + tau, 1e-300),
    "the two sides overlap: v > τ, v < −τ, and 0 between":
        lambda v, tau: (v - tau) * (v > tau) + (v + tau) * (v > -tau),
    "two cases, v > 0 and v < 0; there is a third, |v| ≤ τ, where u = 0":
        lambda v, tau: np.where(v > 0, v - tau, v + tau),
    "upside down: points beyond τ stay beyond 0, and those within go to 0":
        lambda v, tau: np.sign(v) * np.maximum(tau - abs(v), 0),
    "points beyond τ move towards 0, not away from it": lambda v, tau:
        np.where(abs(v) > tau, v + tau * np.sign(v), 0),
    "beyond τ points move towards 0, by τ and from either side; here all move down": lambda v, tau:
        np.where(abs(v) > tau, v, 0) - tau,
    "all points shrink by a factor here; |u| takes τ off each length": lambda v, tau: v * np.maximum(1 - tau / 2, 0),
}


def soft_threshold(answer, seed):
    """Exercise 2.2: the prox of the absolute value."""
    v = np.concatenate([[0.0], np.random.default_rng(seed).normal(size=40) * 2])  # 0 first: np.vectorize takes its type

    def misfit(u, tau):
        """Return how far (v − u)/τ is from the slopes of |·| at u, at worst."""
        slope = (v - u) / tau
        return float(np.where(abs(u) > 1e-12, abs(slope - np.sign(u)), np.maximum(abs(slope) - 1, 0)).max())

    def claims(prox):
        for tau in (0.3, 1.7):
            u = np.asarray(prox(v, tau), dtype=float)
            yield claim(f"τ = {tau}: one u for each v", np.array(u.shape), np.array(v.shape))
            yield Claim(f"τ = {tau}: (v − u)/τ is a slope of |·| at u", misfit(u, tau), 1e-12,
                        "look at v above τ, below −τ and between, one after the other")

    def mistakes(prox):
        shape = np.shape(prox(v, 0.3))
        yield shape != v.shape, f"{len(v)} entries come in, and the shape {shape} comes back: each v has its u"
        yield from slips(prox, [(v, tau) for tau in (0.3, 1.7)], WRONG_THRESHOLDS)
        kinds = [np.asarray(prox(v, tau)).dtype.kind for tau in (0.3, 1.7)]
        yield ("i" in kinds, "whole numbers come back: np.zeros(n, dtype=int) cuts off what is assigned to it, and "
               "np.vectorize takes the type of its first result: 0.0, not 0")
        yield same(prox(v, 0.3), prox(v, 1.7)), "the same for every τ: is a number written for τ?"
        yield (same(prox(v, 0.3), v - np.clip(v, -0.3, 0.3), 1e-2),
               "near u, not at it: are these points of a grid? Solve (2.3) for u")
        for where, points, moved in (("v > τ", [3.0], [2.5]), ("v < −τ", [-3.0], [-2.5]), ("|v| < τ", [0.2], [0.0]),
                                     ("v = 0", [0.0], [0.0]), ("v > τ", [0.6], [0.1]), ("|v| < τ", [0.4], [0.0])):
            u = prox(np.array(points), 0.5)  # a τ that is neither its square nor its inverse
            yield not same(u, moved), f"wrong for {where}: v = {points[0]:g} with τ = 0.5 goes to {float(u[0]):.6g}"

    return check("2.2", answer, claims, mistakes, fallback=lambda v, tau: v - np.clip(v, -tau, tau), array=True)


def logistic(u):
    """Return 1/(1 + exp(−u))."""
    return 0.5 + 0.5 * np.tanh(u / 2)


def right_slope(u, y, tau):
    """Return τ (sigmoid(u) − y)."""
    return tau * (logistic(u) - y)


def bisection_with(slope=right_slope, flipped=False, ends=lambda v, tau: (v - tau, v + tau), goal=lambda v: v):
    """Return bisection between v − τ and v + τ with a slip: another slope, or the other half kept, other ends."""
    def prox(v, y, tau):
        low, high = ends(v, tau)
        for _ in range(60):
            middle = (low + high) / 2
            over = (middle + slope(middle, y, tau) > goal(v)) != flipped
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        return middle
    return prox


WRONG_LOGISTIC_PROXES = {
    "the explicit step: its slope is taken at v, not at u": lambda v, y, tau: v - tau * (logistic(v) - y),
    "this is the slope at u, which is (v − u)/τ; u itself is wanted":
        lambda v, y, tau: logistic(prox_of(v, y, tau)) - y,
    "the label's sign: the slope of the loss is sigmoid(u) − y": lambda v, y, tau: prox_of(v, 1 - y, tau),
    "the sign of the slope: u + τ (sigmoid(u) − y) = v": lambda v, y, tau: v + tau * (logistic(v) - y),
    "τ divides: it multiplies the slope": lambda v, y, tau: prox_of(v, y, 1 / tau),
    "the label is missing": lambda v, y, tau: prox_of(v, 0 * y, tau),
    "τ is missing": lambda v, y, tau: prox_of(v, y, 1.0),
    "a factor 2 in τ": lambda v, y, tau: prox_of(v, y, 2 * tau),
    "a factor ½ in τ": lambda v, y, tau: prox_of(v, y, tau / 2),
    "τ itself multiplies the slope, not τ²": bisection_with(lambda u, y, tau: tau**2 * (logistic(u) - y)),
    "τ itself multiplies the slope, not its root": lambda v, y, tau: prox_of(v, y, np.sqrt(tau)),
    "the loss's slope is sigmoid(u) − y; here the sigmoid's own slope stands in it":
        bisection_with(lambda u, y, tau: tau * (logistic(u) * (1 - logistic(u)) - y)),
    "u may be farther from v than τ/2: its distance is up to τ":
        bisection_with(ends=lambda v, tau: (v - tau / 2, v + tau / 2)),
    "the label has the wrong sign in bisection": bisection_with(lambda u, y, tau: tau * (logistic(u) + y)),
    "the sign of the slope in bisection": bisection_with(lambda u, y, tau: -tau * (logistic(u) - y)),
    "τ is missing in bisection": bisection_with(lambda u, y, tau: logistic(u) - y),
    "parentheses: τ multiplies the label too, τ (sigmoid(u) − y)":
        bisection_with(lambda u, y, tau: tau * logistic(u) - y),
    "the slope is taken at v, not at u, and parentheses are missing, τ (sigmoid(u) − y)":
        lambda v, y, tau: v - tau * logistic(v) + y,
    "a factor 2 in bisection": bisection_with(lambda u, y, tau: 2 * tau * (logistic(u) - y)),
    "the sigmoid is upside down in bisection: 1/(1 + exp(−u))":
        bisection_with(lambda u, y, tau: tau * (logistic(-u) - y)),
    "bisection keeps the wrong half: where the left side is above v the upper end comes down":
        bisection_with(lambda u, y, tau: tau * (logistic(u) - y), flipped=True),
    "this is the middle of the first interval: does the return stand inside the loop, does the middle stay, or do "
    "both ends move to it?": lambda v, y, tau: v,
    "u may lie on either side of v: bisect between v − τ and v + τ (or are the labels taken for −1 and 1?)":
        bisection_with(ends=lambda v, tau: (v, v + tau)),
    "u may lie on either side of v; the upper end is v + τ": bisection_with(ends=lambda v, tau: (v - tau, v)),
    "u lies between v − τ and v + τ, which may be beyond these ends":
        bisection_with(ends=lambda v, tau: (-1 + 0 * v, 1 + 0 * v)),
    "u lies between v − τ and v + τ, on either side of v; here the search is between 0 and v":
        bisection_with(ends=lambda v, tau: (0 * v, v)),
    "a sign in bisection: τ (sigmoid(u) − y); here y is added": bisection_with(
        lambda u, y, tau: tau * (logistic(u) + y), ends=lambda v, tau: (v - 3 * tau, v + tau)),
    "u may be farther from v than 1: its distance is up to τ":
        bisection_with(ends=lambda v, tau: (v - 1, v + 1)),
    "u itself is missing on the left side of (2.7)": bisection_with(lambda u, y, tau: tau * (logistic(u) - y) - u),
    "τ divides in bisection: it multiplies the slope": bisection_with(lambda u, y, tau: (logistic(u) - y) / tau),
    "the slope of the loss belongs there, sigmoid(u) − y, not the loss itself":
        bisection_with(lambda u, y, tau: tau * (np.logaddexp(0, u) - y * u)),
    "tanh is no sigmoid: sigmoid(u) = (1 + tanh(u/2))/2": bisection_with(lambda u, y, tau: tau * (np.tanh(u) - y)),
    "tanh stands where the sigmoid belongs; sigmoid(u) = (1 + tanh(u/2))/2": bisection_with(
        lambda u, y, tau: tau * (np.tanh(u) - y), ends=lambda v, tau: (v - 2 * tau, v + 2 * tau)),
    "the labels are 0 and 1; here they are −1 and 1": bisection_with(
        lambda u, y, tau: tau * (logistic(u) - (2 * y - 1)), ends=lambda v, tau: (v - 2 * tau, v + 2 * tau)),
    "the left side is to be v, not 0": bisection_with(goal=lambda v: 0 * v),
    "the step is τ: no mean is taken": lambda v, y, tau: prox_of(v, y, tau / len(v)),
    "this is the move u − v; u itself is wanted": lambda v, y, tau: prox_of(v, y, tau) - v,
    "this is the prox of |u|; the logistic loss has no kink":
        lambda v, y, tau: np.sign(v) * np.maximum(abs(v) - tau, 0),
    "this is one of Newton's steps, from v; u is where they would end": lambda v, y, tau:
        v - right_slope(v, y, tau) / (1 + tau * logistic(v) * (1 - logistic(v))),
    "a label is sent to its own side by all of τ; the slope is less than 1": lambda v, y, tau:
        v + tau * (2 * y - 1),
    "this is the sigmoid; u itself is wanted": lambda v, y, tau: logistic(prox_of(v, y, tau)),
    "this is the move v − u; u itself is wanted": lambda v, y, tau: v - prox_of(v, y, tau),
}


def logistic_prox(answer, seed):
    """Exercise 2.3: the prox of the logistic loss log(1 + exp u) − y u."""
    rng = np.random.default_rng(seed)
    v, y = rng.normal(size=30) * 4, rng.integers(0, 2, 30).astype(float)
    v[1:3] = -25, 25  # farther out than many fixed ends of a search
    far, labels = np.array([-300.0, -300.0, 300.0, 300.0]), np.array([0.0, 1.0, 0.0, 1.0])

    def sigmoid(u):
        return 0.5 + 0.5 * np.tanh(u / 2)

    def residual(u, tau, y=y):
        return u + tau * (sigmoid(u) - y)

    def claims(prox):
        for tau in (0.01, 0.5, 50.0):
            yield claim(f"u + τ (sigmoid(u) − y) = v, τ = {tau}", residual(prox(v, y, tau), tau), v, 1e-8,
                        look="put your u into the equation: is it u, is the sign of y right, has the iteration ended?")
        yield claim("the same far out, v = ±300, τ = 0.5", residual(prox(far, labels, 0.5), 0.5, labels), far, 1e-8)

    def mistakes(prox):
        small, large = prox(v, y, 0.5), prox(v, y, 50.0)
        yield from slips(prox, [(v, y, 0.5), (v, y, 2.0)], WRONG_LOGISTIC_PROXES)
        yield (same(residual(small, 0.5), v, 1e-8) and not same(residual(prox(v, y, 0.01), 0.01), v, 1e-8),
               "right for τ = 0.5, wrong for 0.01: does an iteration take steps that are too long there? Bisect")
        yield (same(residual(small, 0.5), v, 1e-8) and same(residual(large, 50.0), v, 1e-8),
               "right for |v| up to 25, wrong at 300: u lies between v − τ and v + τ; does your search begin at fixed "
               "ends?")
        yield same(residual(small, 0.5), v, 1e-8) and not same(residual(large, 50.0), v, 1e-8), \
            "right for a small τ only: Newton's steps, and u ← v − τ (sigmoid(u) − y), can jump between the two flat " \
            "sides; bisect instead, for long enough"
        yield same(small, large), "the result does not depend on τ"
        off, size = ~(abs(residual(small, 0.5) - v) <= 1e-6), abs(prox_of(v, y, 0.5))
        yield (off.any() and not off.all() and size[off].min() > size[~off].max(),
               f"right for |v| up to {abs(v[~off]).max(initial=0):.2g}, wrong beyond: u lies between v − τ and v + τ; "
               "does your search begin at fixed ends?")
        hit = y == 1
        yield (not off[hit].any() or not off[~hit].any(),
               f"right for the label {int(not off[hit].any())} alone: are the labels taken for 0 and 1, not −1 and 1, "
               "and is y subtracted?")
        alone = np.ravel([prox(v[k:k + 1], y[k:k + 1], 0.5) for k in range(len(v))])
        yield (same(residual(alone, 0.5), v, 1e-6),
               "right for one entry alone, wrong for several: each has its own interval; np.where, not if or np.all; "
               "and in a loop over the entries no return")
        yield same(residual(small, 0.5), v, 1e-3), "nearly right for a small τ: too few steps, or float32?"
        yield (same(residual(small, 0.5), v, 0.2),
               "roughly right for a small τ: too few steps, an end that never moves, or another slope than "
               "τ (sigmoid(u) − y)?")
        farther = bool((abs(small - v) > 0.5).any())
        yield farther, "u is farther from v than τ, which the slope of the loss, between −1 and 1, does not allow"
        yield True, (f"for v = {v[0]:.2f}, y = {y[0]:g}, τ = 0.5 your u = {small[0]:.2f} gives "
                     f"{residual(small, 0.5)[0]:.2f} on the left side of (2.7)")

    return check("2.3", answer, claims, mistakes, fallback=prox_of, array=True)


def prox_of(v, y, tau):
    """Return the library's prox of the logistic loss, for 1-dimensional v and y."""
    return SigmoidCrossEntropy("sum").prox(v[:, None], y[:, None], tau)[:, 0]


def jump(answer, seed):
    """Exercise 2.4: the τ at which the double well's prox jumps by 1, and two near points that it sends that far."""
    grid = np.linspace(-3, 3, 6001)

    def double_well(u):
        return (u**2 - 1) ** 2 / 4

    def sent(found):
        v, w, tau = (float(part) for part in found)
        # the side decides, which rounding hides near 0; at 0 either well is a prox: the one across from the other point
        v, w = (mine if abs(mine) > 1e-6 else 1e-6 * np.sign(mine or -other) for mine, other in ((v, w), (w, v)))
        return grid_prox(double_well, np.array([v, w]), tau, grid)

    def claims(found):
        v, w, tau = (float(part) for part in found)
        yield Claim("τ > 0", beyond(1e-6 - tau), 1e-9)
        yield Claim("|v − w| ≤ 0.01 (excess)", beyond(abs(v - w) - 0.01), 1e-12)
        yield Claim("their proxes lie 1 apart, to 2 % (excess)", beyond(abs(np.ptp(sent(found)) - 1) - 0.02), 2e-3)

    def mistakes(found):
        v, w, tau = (float(part) for part in found)
        for other in permutations((v, w, tau)):
            yield all(each.holds for each in claims(other)), "the order of the three: v_left, v_right, tau_jump"
        yield tau <= 0, "a step size is positive"
        yield max(abs(v), abs(w)) > 3, "such a point goes to the well on its own side: where is the border of the two?"
        yield abs(v - w) > 0.01 + 1e-12, "the two points must be near each other"
        yield v == w, "these are one point: it has one prox"
        yield tau <= 1, "for this τ there is one minimum: which curvature has the objective at 0?"
        yield v * w > 0, "both points lie on the same side of 0, and go to the same well"
        width = np.ptp(sent(found))
        wells = "at v = 0, how far apart are the objective's two minima?"
        yield width < 1, f"there is a jump, but a small one, of {width:.2f}: {wells}"
        yield width > 1, f"there is a jump, but a wide one, of {width:.2f}: {wells} (The two points add a little.)"

    return check("2.4", answer, claims, mistakes)


close_to_answers(globals())
