r"""Checks of notebook 08: local steps, their filters, the Bregman divergence, unbounded targets."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import DIFFERENCES, Claim, check, claim, close_to_answers, same, slips
from minilift.layers.activations import Identity, ReLU, Sigmoid, Tanh
from minilift.layers.gram import Gram
from minilift.local.problems import LocalProblem, MatchingLoss
from minilift.local.solvers import gradient_steps
from minilift.support.backend import array_module


def library_steps(a_tilde, theta, target, rate, steps):
    """Return θ after T plain steps of the library on LocoProp-S without regulariser."""
    z = a_tilde @ theta
    problem = LocalProblem(Gram(a_tilde, bias=False), z, MatchingLoss(Identity(), z, z - target), 0.0)
    return theta - gradient_steps(problem, [rate] * steps).value


def steps_with(slope=lambda a, theta, start, target: a.T @ (a @ theta - target), weight=lambda a: 1.0, more=0, sign=-1):
    """Return T local steps with a slip in them: the slope, its weight, the number of steps, the sign."""
    def walk(a_tilde, theta, target, rate, steps):
        start = theta
        for _ in range(steps + more):
            theta = theta + sign * rate * weight(a_tilde) * slope(a_tilde, theta, start, target)
        return theta
    return walk


WRONG_LOCAL_STEPS = {
    "the residual is that of the start in every step: T times one BackProp step":
        steps_with(lambda a, theta, start, target: a.T @ (a @ start - target)),
    "the local loss is a sum over the samples, not a mean": steps_with(weight=lambda a: 1 / len(a)),
    "the sign: these steps climb the local loss": steps_with(sign=1),
    "a factor 2: the local loss has a ½": steps_with(weight=lambda a: 2.0),
    "a factor ½: the slope of ½‖·‖² has none": steps_with(weight=lambda a: 0.5),
    "one step too many": steps_with(more=1),
    "one step too few": steps_with(more=-1),
    "the target is missing in the residual": steps_with(lambda a, theta, start, target: a.T @ (a @ theta)),
    "the target is added; the residual is ãθ − target":
        steps_with(lambda a, theta, start, target: a.T @ (a @ theta + target)),
    "this is the change of theta; the new theta is wanted":
        lambda a, theta, target, rate, steps: steps_with()(a, theta, target, rate, steps) - theta,
    "the loop ends after its first step: the return stands inside it":
        lambda a, theta, target, rate, steps: steps_with()(a, theta, target, rate, 1),
    "this is one step of T times the length; the slope changes on the way":
        lambda a, theta, target, rate, steps: theta - steps * rate * a.T @ (a @ theta - target),
    "this is the least-squares solution, not T steps towards it":
        lambda a, theta, target, rate, steps: np.linalg.lstsq(a, target, rcond=None)[0],
    "every step starts from theta again: the new theta must be kept":
        lambda a, theta, target, rate, steps: steps_with()(a, theta, target, rate, 1),
    "the rate is missing": lambda a, theta, target, rate, steps: steps_with()(a, theta, target, 1.0, steps),
}


def local_steps(answer, seed):
    """Exercise 8.1: T gradient steps on ½‖ãθ − target‖²."""
    rng = np.random.default_rng(seed)
    a, theta, target = rng.normal(size=(7, 4)), rng.normal(size=(4, 3)), rng.normal(size=(7, 3))
    rate = 0.5 / np.linalg.norm(a, 2) ** 2

    def claims(steps):
        before = theta
        for T in (1, 2, 5):
            if T > 1:
                before = steps(a, theta, target, rate, T - 1)
            moved = (before - steps(a, theta, target, rate, T)) / rate
            slope = a.T @ (a @ before - target)
            yield claim(f"step {T} goes down the local slope where it starts", moved, slope, 1e-9,
                        look="look at the residual ãθ − target and at ãᵀ" if T == 1 else
                        "the first step is right: does the second start from the new theta, with a new residual?")

    def mistakes(steps):
        yield from slips(steps, [(a, theta, target, rate, T) for T in (2, 3)], WRONG_LOCAL_STEPS)

    return check("8.1", answer, claims, mistakes, fallback=library_steps)


def filter_with(share=lambda left: 1 - left, inner=1.0, divide=True, more=0, rate_in=1.0, outer=1.0):
    """Return h_T(s) with a slip in it."""
    def h(s, rate, steps, damping):
        shifted = s + outer * damping
        left = (1 - rate_in * rate * (s + inner * damping)) ** (steps + more)
        safe = np.where(shifted == 0, 1, shifted)
        return np.where(shifted == 0, rate * steps, share(left) / (safe if divide else 1))
    return h


WRONG_FILTERS = {
    "this is the share of the residual that is left, not the step that was made":
        lambda s, rate, T, damping: (1 - rate * (s + damping)) ** T,
    "this is the share of the residual that is gone; divide it by s + 1/η":
        lambda s, rate, T, damping: 1 - (1 - rate * (s + damping)) ** T,
    "the regulariser pulls in each of the T steps as well": filter_with(inner=0.0),
    "the regulariser is in the denominator, too: s + 1/η": filter_with(outer=0.0),
    "this is the last of the T steps; add them up":
        lambda s, rate, T, damping: rate * (1 - rate * (s + damping)) ** (T - 1),
    "the power is T, not T + 1": filter_with(more=1),
    "the power is T, not T − 1": filter_with(more=-1),
    "the sign: 1 minus what is left": filter_with(lambda left: left - 1),
    "the sum of the first T powers starts at the power 0": lambda s, rate, T, damping:
        rate * sum((1 - rate * (s + damping)) ** t for t in range(1, T + 1)),
    "this is the limit T → ∞, the prox":
        lambda s, rate, T, damping: 1 / np.where(s + damping == 0, 1e-300, s + damping),
    "α is missing in the power": filter_with(rate_in=1 / 0.4),
    "T steps of length α make α T only where s is 0": lambda s, rate, T, damping: rate * T + 0 * s,
    "the rate is counted twice: the sum has it already":
        lambda s, rate, T, damping: rate * filter_with()(s, rate, T, damping),
}


def local_filter(answer, seed):
    """Exercise 8.2: what T local steps make of an eigenvalue, h_T(s)."""
    s = np.append(0.0, np.random.default_rng(seed).uniform(0.1, 2, 6))
    rate = 0.4

    def claims(h):
        yield claim("one step: α for every s", h(s, rate, 1, 0.0), np.full(7, rate),
                    look="put T = 1 into your formula: 1 − (1 − αs) over s is α")
        for damping in (0.0, 0.3):
            for T in (1, 4):
                kept = h(s, rate, T, damping)
                text = f"one step more adds α (1 − (s + 1/η) h), T = {T}, 1/η = {damping:g}"
                yield claim(text, h(s, rate, T + 1, damping) - kept, rate * (1 - (s + damping) * kept))
        yield claim("T = 2000 solves (s + 1/η) h = 1", (s + 0.3) * h(s, rate, 2000, 0.3), np.ones(7), 1e-9)

    def mistakes(h):
        yield from slips(h, [(s[1:], rate, T, damping) for T in (3, 4) for damping in (0.3, 0.1)], WRONG_FILTERS)
        yield same(h(s[1:], rate, 3, 0.0), (1 - (1 - rate * s[1:]) ** 3) / s[1:]) and h(s, rate, 3, 0.0)[0] == 0, \
            "at s + 1/η = 0 the limit is αT, not 0"
        yield not np.isfinite(h(s, rate, 3, 0.0)[0]), "0/0 where s + 1/η = 0: what is the limit there?"

    def library(s, rate, steps, damping):
        return spectral_filter(s, [rate] * steps, damping)

    return check("8.2", answer, claims, mistakes, fallback=library)


def bregman_with(tangent=lambda f, z, w: f.integral(w) + f.forward(w) * (z - w), sign=-1.0):
    """Return F(z) minus a tangent with a slip in it."""
    return lambda f, z, w: f.integral(z) + sign * tangent(f, z, w)


WRONG_DIVERGENCES = {
    "D_F(w, z): the tangent is laid at the wrong point (the divergence is not symmetric)":
        lambda f, z, w: bregman_with()(f, w, z),
    "a squared error of outputs; its slope has a factor f'(z), and it is not convex":
        lambda f, z, w: (f.forward(z) - f.forward(w)) ** 2 / 2,
    "the tangent is to be subtracted": bregman_with(lambda f, z, w: -f.integral(w) + f.forward(w) * (z - w), 1.0),
    "all of the tangent is to be subtracted": bregman_with(sign=1.0),
    "the slope's term is to be subtracted, too: F(z) − F(w) − f(w)(z − w)":
        bregman_with(lambda f, z, w: f.integral(w) - f.forward(w) * (z - w)),
    "the matching loss itself; subtract its value at z = w": bregman_with(lambda f, z, w: f.forward(w) * z),
    "the slope of the tangent is f(w), at w": bregman_with(lambda f, z, w: f.integral(w) + f.forward(z) * (z - w)),
    "the slope of the tangent is f(w); w itself stands here": bregman_with(lambda f, z, w: f.integral(w) + w * (z - w)),
    "the slope of F is f; here it is f', its derivative":
        bregman_with(lambda f, z, w: f.integral(w) + f.derivative(w) * (z - w)),
    "the value of the tangent at w is F(w): it is missing": bregman_with(lambda f, z, w: f.forward(w) * (z - w)),
    "the slope's term is missing: F(z) − F(w) is no divergence": bregman_with(lambda f, z, w: f.integral(w)),
    "z − w is the other way round": bregman_with(lambda f, z, w: f.integral(w) + f.forward(w) * (w - z)),
    "f stands where F belongs": lambda f, z, w: f.forward(z) - f.forward(w) - f.forward(w) * (z - w),
    "half the square: right for the identity only": lambda f, z, w: (z - w) ** 2 / 2,
    "this is the slope of the divergence": lambda f, z, w: f.forward(z) - f.forward(w),
}


def bregman(answer, seed):
    """Exercise 8.3: D_F(z, w), entry by entry, for a transfer with integral F and F' = f."""
    rng = np.random.default_rng(seed)
    z, w = rng.normal(size=(2, 40)) * 1.5
    z = np.where(abs(z) < 0.01, 0.5, z)  # off the kink of ReLU, for the differences

    def claims(D):
        h = 1e-5
        for f in (Tanh(), Sigmoid(), ReLU()):
            yield claim(f"{f!r}: zero at z = w", D(f, w, w), 0 * w, look="put z = w: F(w) − F(w) − f(w) · 0")
            slope, expected = (D(f, z + h, w) - D(f, z - h, w)) / (2 * h), f.forward(z) - f.forward(w)
            yield claim(f"{f!r}: its slope in z is f(z) − f(w)", slope, expected, DIFFERENCES,
                        look="zero where it should be: look at the slope of the tangent, f(w)")
        yield claim("identity: half the square", D(Identity(), z, w), (z - w) ** 2 / 2)

    def mistakes(D):
        yield np.shape(D(Tanh(), z, w)) == (), "a sum; one number for each entry is asked for"
        yield from slips(D, [(f, z, w) for f in (Tanh(), Sigmoid())], WRONG_DIVERGENCES)

    def library(f, z, w):
        data = MatchingLoss(f, w.reshape(1, -1), np.zeros((1, w.size)))
        return (data.value(z.reshape(1, -1)) - data.value(w.reshape(1, -1))).reshape(z.shape)

    return check("8.3", answer, claims, mistakes, fallback=library)


def largest_gamma(answer, seed):
    """Exercise 8.4: the largest γ with all targets f(z) − γ g inside the range of f."""
    rng = np.random.default_rng(seed)
    z, signal = rng.normal(size=(30, 4)), rng.normal(size=(30, 4))
    layers = [(f, z, signal * f.derivative(z)) for f in (Tanh(), Sigmoid(), ReLU())]

    def outside(f, z, g, gamma):
        """Return by how much targets leave the range."""
        target, (low, high) = f.forward(z) - gamma * g, f.range
        return float(max((target - high).max(), (low - target).max()))

    def claims(largest):
        for f, z, g in layers:
            gamma = float(largest(f, z, g))
            excess = max(0.0, outside(f, z, g, 0.999 * gamma))
            yield Claim(f"{f!r}: at 0.999 γ no target is out of range", excess, 0.0)
            yield Claim(f"{f!r}: at 1.001 γ one is", float(outside(f, z, g, 1.001 * gamma) <= 0), 0.0)

    def mistakes(largest):
        f, z, g = layers[0]
        a = f.forward(z)
        room = np.where(g < 0, 1 - a, a + 1) / abs(g)
        yield np.shape(largest(f, z, g)) != (), "one number is asked for: the least over all entries"
        found, down = float(largest(f, z, g)), np.where(g > 0, 1 - a, a + 1) / abs(g)
        yield same(found, down.min(), 1e-6), "the sign: f(z) − γ g goes up where g is negative"
        yield same(found, down.max(), 1e-6), "the sign, and the entry with the most room"
        yield same(found, (np.where(g < 0, 1 - a, a + 1) * abs(g)).min(), 1e-6), \
            "|g| divides: a large signal leaves first"
        yield same(found, np.where(g < 0, 1 - a, a + 1).min(), 1e-6), "this is the room; how many γ g fit in it?"
        yield same(found, (2 / abs(g)).min(), 1e-6), "the room is counted from f(z), not from the other border"
        yield same(found, room.mean(), 1e-6), "a mean over the entries; the first to leave decides"
        yield same(found, room[g > 0].min(), 1e-6) and room.min() < room[g > 0].min(), \
            "only the lower border is looked at; a negative g pushes a target up"
        yield same(found, room[g < 0].min(), 1e-6) and room.min() < room[g < 0].min(), \
            "only the upper border is looked at; a positive g pushes a target down"
        yield same(found, room.max(), 1e-6), "the entry with the most room; the first to leave decides"
        yield same(found, ((1 - abs(a)) / abs(g)).min(), 1e-6), \
            "distance to the nearer border; the target may be moving towards the other one"
        yield same(found, (np.where(g < 0, 1 - z, z + 1) / abs(g)).min(), 1e-6), \
            "the room is counted from z; the target starts from f(z)"
        yield same(found, np.min([part.min() for part in (room[g < 0], down[g > 0])]), 1e-6), \
            "where g is positive the target goes down, to the lower border"
        yield found < 0, "negative: divide by |g|, the room is a length"

    return check("8.4", answer, claims, mistakes, fallback=library_largest_gamma)


def library_largest_gamma(f, z, g):
    """Return the largest γ by bisection on what the library says about the targets' range."""
    low, high = 0.0, 1.0
    while f.in_range(MatchingLoss(f, z, high * g).target):
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if f.in_range(MatchingLoss(f, z, middle * g).target) else (low, middle)
    return low


def spectral_filter(s, rates, damping=0.0):
    r"""Return what T plain steps of LocoProp-S make of an eigenvalue s of :math:`C = \tilde a^T\tilde a`.

    The step is :math:`-\gamma\,Q\,\mathrm{diag}(h(s))\,Q^T\tilde a^Tg` with
    :math:`h(s) = (1 - \prod_t(1 - \alpha_t(s + \beta)))/(s + \beta)`: T = 1 is BackProp, T → ∞ the pseudo-inverse
    1/s, and with the regulariser the prox 1/(s + β).

    Parameters
    ----------
    s : array (k,)
        Eigenvalues.
    rates : sequence of float
        α_t.
    damping : float, default 0
        β = 1/η.

    Returns
    -------
    array (k,)
        h(s), at s + β = 0 its limit Σα_t.
    """
    xp = array_module(s)
    shifted = s + damping
    product = xp.ones_like(shifted)
    for rate in rates:
        product = product * (1 - rate * shifted)
    tiny = abs(shifted) <= np.finfo(shifted.dtype).tiny
    return xp.where(tiny, sum(rates), (1 - product) / xp.where(tiny, 1, shifted))


close_to_answers(globals())
