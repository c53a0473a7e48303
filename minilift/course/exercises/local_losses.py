r"""Checks of notebook 08: local steps, their filters, the Bregman divergence, unbounded targets."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import DIFFERENCES, check, claim, close_to_answers, same, slips, times
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


def steps_with(slope=lambda a, theta, start, target: a.T @ (a @ theta - target), weight=lambda a: 1.0, more=0, sign=-1,
               since="last", first=1.0, bias=1.0):
    """Return T local steps with a slip in them: the slope, its weight, the number of steps, the sign."""
    def walk(a_tilde, theta, target, rate, steps):
        start, theta = theta, first * theta
        moves = np.append(np.ones(len(theta) - 1), bias)[:, None]
        for _ in range(steps + more):
            move = sign * rate * weight(a_tilde) * moves * slope(a_tilde, theta, start, target)
            theta = (theta if since == "last" else start) + move
        return theta
    return walk


WRONG_LOCAL_STEPS = {
    "the residual is that of the start in every step: T times one BackProp step":
        steps_with(lambda a, theta, start, target: a.T @ (a @ start - target)),
    "the residual keeps its sign; these are absolute values":
        steps_with(lambda a, theta, start, target: a.T @ abs(a @ theta - target)),
    "the slope itself is stepped along; this is its sign":
        steps_with(lambda a, theta, start, target: np.sign(a.T @ (a @ theta - target))),
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
    "only one step is made: does each go on from the new theta, and does the return stand behind the loop?":
        lambda a, theta, target, rate, steps: steps_with()(a, theta, target, rate, 1),
    "this is the least-squares solution, not T steps towards it":
        lambda a, theta, target, rate, steps: np.linalg.lstsq(a, target, rcond=None)[0],
    "the rate is that of each step; here it is divided by T":
        lambda a, theta, target, rate, steps: steps_with()(a, theta, target, rate / steps, steps),
    "the rate is missing": lambda a, theta, target, rate, steps: steps_with()(a, theta, target, 1.0, steps),
    "each step sets out from the old theta; it must go on from the new one": steps_with(since="start"),
    "this is how far theta came, with the sign turned; the new theta is wanted":
        lambda a, theta, target, rate, steps: theta - steps_with()(a, theta, target, rate, steps),
    "theta comes back as it was: is the new one kept and returned?": lambda a, theta, target, rate, steps: theta,
    "no transfer function: the target is one for ãθ": steps_with(
        lambda a, theta, start, target: a.T @ (np.tanh(a @ theta) - target)),
    "the regulariser is in; without it is asked for": lambda a, theta, target, rate, steps: steps_with(
        lambda a, new, start, target: a.T @ (a @ new - target) + (new - start))(a, theta, target, rate, steps),
    "the regulariser is in; without it is asked for (here with the rate for 1/η)":
        lambda a, theta, target, rate, steps: steps_with(
            lambda a, new, start, target: a.T @ (a @ new - target) + rate * (new - start))(
                a, theta, target, rate, steps),
    "weight decay is in: no step pulls theta towards 0":
        steps_with(lambda a, theta, start, target: a.T @ (a @ theta - target) + theta),
    "weight decay is in, by the rate: no step pulls theta towards 0": lambda a, theta, target, rate, steps: steps_with(
        lambda a, new, start, target: a.T @ (a @ new - target) + rate * new)(a, theta, target, rate, steps),
    "these are implicit steps, (I + αãᵀã)⁻¹; an explicit one takes the slope where it starts": lambda a, theta, *rest:
        implicit_steps(a, theta, *rest),
    "each step is divided by the norm of its residual; the slope is multiplied by the rate alone": steps_with(
        lambda a, theta, start, target: a.T @ unit(a @ theta - target)),
    "each step is divided by the norm of its slope; its length is the rate times that norm": steps_with(
        lambda a, theta, start, target: unit(a.T @ (a @ theta - target))),
    "the output ãθ is missing in the residual": steps_with(lambda a, theta, start, target: a.T @ -target),
    "the output ãθ is missing in the residual, and its sign": steps_with(lambda a, theta, start, target: a.T @ target),
    "the steps start at 0; they start at theta": steps_with(first=0.0),
    "the bias row takes its steps too": steps_with(bias=0.0),
    "the samples take their steps one after the other; one step sees them all": lambda a, theta, target, rate, steps:
        one_by_one(a, theta, target, rate, steps),
    "the rate divides; it multiplies the slope": lambda a, theta, target, rate, steps:
        steps_with()(a, theta, target, 1 / rate, steps),
    "the residual itself is the slope's; here its square is taken": steps_with(
        lambda a, theta, start, target: a.T @ (a @ theta - target) ** 2),
    "of the residual only its sign is taken": steps_with(
        lambda a, theta, start, target: a.T @ np.sign(a @ theta - target)),
}


def unit(slope):
    """Return a slope divided by its norm."""
    return slope / np.linalg.norm(slope)


def implicit_steps(a, theta, target, rate, steps):
    """Return θ after T implicit steps."""
    for _ in range(steps):
        theta = np.linalg.solve(np.eye(len(theta)) + rate * a.T @ a, theta + rate * a.T @ target)
    return theta


def one_by_one(a, theta, target, rate, steps):
    """Return θ after T rounds in which each sample takes a step of its own."""
    for _ in range(steps):
        for row, wanted in zip(a, target):
            theta = theta - rate * np.outer(row, row @ theta - wanted)
    return theta


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
        yield claim("theta and target a million times smaller: so is the result",
                    1e6 * steps(a, 1e-6 * theta, 1e-6 * target, rate, 5), steps(a, theta, target, rate, 5), 1e-9)

    def mistakes(steps):
        yield np.ndim(steps(a, theta, target, rate, 2)) == 3, "all thetas on the way come back; the last is asked for"
        yield from slips(steps, [(a, theta, target, rate, T) for T in (2, 3)], WRONG_LOCAL_STEPS)
        yield all(same(*(walk(a, theta, target, rate, T) for walk in (steps, steps_with()))) for T in (1, 2, 5)), \
            "right, but not for a small theta and target: does the loop end where the slope is small? It takes T steps"
        first, second = steps(a, theta, target, rate, 1), steps(a, theta, target, rate, 2)
        slope = a.T @ (a @ first - target)
        part = times(slope - (first - second) / rate, a.T @ (a @ theta - target))
        yield (same(first, steps_with()(a, theta, target, rate, 1)) and part == part and part < 0,
               "the first step is right, the second carries part of the first along: neither momentum nor a "
               "target that moves is asked for")
        share = times((first - second) / rate, slope)
        yield (same(second, steps_with()(a, theta, target, rate, 2)),
               "right for T = 2, not for every T: does the loop run T times?")
        yield (same(first, steps_with()(a, theta, target, rate, 1)) and share == share,
               f"the first step is right, the second has {share:.3g} times its length: the rate stays the same, "
               "and nothing of an earlier step is carried along")
        yield (not same(first, theta) and same(steps(a, theta, target, rate / 2, 1), first),
               "with another rate comes the same: how long a step is, the rate says")
        there = np.linalg.lstsq(a, target, rcond=None)[0]
        yield not same(steps(a, there, a @ there, rate, 1), there), \
            "where ãθ meets the target no step is to be taken; yours moves"
        yield same(first, theta), "the first step does not move: is the rate multiplied by a counter from 0?"

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
    "1/η is missing: the regulariser pulls too": filter_with(inner=0.0, outer=0.0),
    "α is missing before 1/η: a step multiplies by 1 − α(s + 1/η)": lambda s, rate, T, damping:
        rate * sum((1 - rate * s - damping) ** t for t in range(T)),
    "α is missing before 1/η in the power: a step multiplies by 1 − α(s + 1/η)": lambda s, rate, T, damping:
        (1 - (1 - rate * s - damping) ** T) / np.where(s + damping == 0, 1, s + damping),
    "this is the prox with 1/(αT) added to s; T steps are only near it": lambda s, rate, T, damping:
        1 / (s + damping + 1 / (rate * T)),
    "this is the prox with η = αT; T steps are only near it": lambda s, rate, T, damping: 1 / (s + 1 / (rate * T)),
    "the sign of 1/η: the regulariser adds to s": filter_with(inner=-1.0, outer=-1.0),
    "damping is 1/η already; here it is inverted once more": lambda s, rate, T, damping:
        filter_with()(s, rate, T, 1 / damping if damping else 0.0),
    "1 minus what is left: the 1 is missing": filter_with(lambda left: left),
    "what is left after a step is 1 − α(s + 1/η): the sign": filter_with(rate_in=-1.0),
    "the sum of powers is not multiplied by α, or one α too many stands in the denominator":
        lambda s, rate, T, damping: filter_with()(s, rate, T, damping) / rate,
    "T steps multiply what is left: a power of T, not T times": lambda s, rate, T, damping:
        (1 - (1 - rate * (s + damping)) * T) / np.where(s + damping == 0, 1, s + damping),
    "this is T → ∞ of small steps (an exponential); T steps leave a power": lambda s, rate, T, damping:
        (1 - np.exp(-rate * T * (s + damping))) / np.where(s + damping == 0, 1, s + damping),
    "α for every T: that is one step": lambda s, rate, T, damping: rate + 0 * s,
    "α is inverted in the power: what is left after a step is 1 − α(s + 1/η)": filter_with(rate_in=1 / 0.16),
    "the power belongs to 1 − α(s + 1/η), not to s + 1/η alone": lambda s, rate, T, damping:
        rate * (s + damping) ** T / np.where(s + damping == 0, 1, s + damping),
    "it is divided by s + 1/η, not multiplied": lambda s, rate, T, damping:
        (s + damping) ** 2 * filter_with()(s, rate, T, damping),
    "s is an eigenvalue already: no root of it": lambda s, rate, T, damping:
        filter_with()(np.sqrt(s), rate, T, damping),
    "s is an eigenvalue of ãᵀã already: no square of it": lambda s, rate, T, damping:
        filter_with()(s**2, rate, T, damping),
    "the regulariser adds 1/η to s; it does not multiply": lambda s, rate, T, damping:
        filter_with()(s * (1 + damping), rate, T, 0.0),
    "1/η is added outside the filter; it belongs to s": lambda s, rate, T, damping:
        filter_with()(s, rate, T, 0.0) + damping,
    "the rate is counted twice: the sum has it already":
        lambda s, rate, T, damping: rate * filter_with()(s, rate, T, damping),
    "a factor s too many, as in a filter of the residual": lambda s, rate, T, damping:
        s * filter_with()(s, rate, T, damping),
    "what is left after a step may be negative: no absolute value": lambda s, rate, T, damping:
        (1 - abs(1 - rate * (s + damping)) ** T) / np.where(s + damping == 0, 1, s + damping),
}


def local_filter(answer, seed):
    """Exercise 8.2: what T local steps make of an eigenvalue, h_T(s)."""
    draws = np.random.default_rng(seed)  # near 0, and on both sides of αs = 1
    s = np.concatenate([[0.0, 1e-3], draws.uniform(0.1, 2, 4), draws.uniform(2.6, 4, 2)])
    rate = 0.4

    def claims(h):
        yield claim("one step: α for every s", h(s, rate, 1, 0.0), np.full(8, rate),
                    look="put T = 1 into your formula: what does (8.3) make of c = 0 in one step?")
        for damping in (0.0, 0.3):
            for T in (1, 4):
                kept = h(s, rate, T, damping)
                text = f"one step more adds α (1 − (s + 1/η) h), T = {T}, 1/η = {damping:g}"
                yield claim(text, h(s, rate, T + 1, damping) - kept, rate * (1 - (s + damping) * kept))
        small = np.array([1e-5, 3e-4])
        yield claim("1000 steps on small eigenvalues", h(small, rate, 1000, 0.0),
                    -np.expm1(1000 * np.log1p(-rate * small)) / small, 1e-8,
                    look="s + 1/η = 0 is treated apart, and nothing else")
        yield claim("T = 2000 solves (s + 1/η) h = 1", (s + 0.3) * h(s, rate, 2000, 0.3), np.ones(8), 1e-9)

    def mistakes(h):
        late = []
        yield from slips(h, [(s[1:], rate, T, damping) for T in (3, 4) for damping in (0.3, 0.1)], WRONG_FILTERS)
        right, found = filter_with()(s[1:], rate, 3, 0.0), np.asarray(h(s[1:], rate, 3, 0.0))
        if found.shape == right.shape:
            yield (np.isnan(found[-2:]).all() and np.isfinite(found[:-2]).all(),
                   "NaN where αs > 1: what is left after a step is negative there, and has no logarithm")
            yield (same(found[1:], right[1:]) and same(found[0], 3 * rate),
                   "at s = 0.001 stands the value for s + 1/η = 0: where is the border between them drawn?")
            yield (same(found[0], right[0], 1e-2) and not same(found[0], right[0], 1e-8) and same(found, right, 1e-2),
                   "nearly right: is a small number added to s + 1/η? Treat s + 1/η = 0 apart instead")
        one = h(s[1:], rate, 1, 0.3)
        added = (h(s[1:], rate, 3, 0.3) - h(s[1:], rate, 2, 0.3)) / (h(s[1:], rate, 2, 0.3) - one)
        wrong_ratio = np.shape(added) == np.shape(one) and not same(added, 1 - rate * (s[1:] + 0.3))
        late.append((np.shape(one) == (7,) and not same(one, np.full(7, rate)),
                     f"for T = 1 it is α for every s; yours is {np.min(one):.3g} to {np.max(one):.3g} at α = {rate:g}"))
        late.append((wrong_ratio, "T = 1 is right; what each further step adds must shrink by 1 − α(s + 1/η)"))
        yield (np.shape(h(s, rate, 3, 0.0)) == () and np.size(h(s, rate, 3, 0.3)) == 1,
               "one number comes back; one for each eigenvalue is asked for")
        yield (same(h(s[1:], rate, 3, 0.0), right, 0.05) and not same(h(s[1:], rate, 3, 0.0), right),
               "nearly right: is a small number added to s + 1/η? Treat s + 1/η = 0 apart instead")
        for message, value in {"at s + 1/η = 0 it is α for one step; how many equal terms has the sum?": rate,
                               "at s + 1/η = 0 there are T equal terms, but they are not 1 each": 3.0}.items():
            yield same(h(s, rate, 3, 0.0)[0], value), message
        yield (same(h(s, rate, 3, 0.3), np.append(3 * rate, filter_with()(s[1:], rate, 3, 0.3))),
               "the special case is s + 1/η = 0, not s = 0")
        yield same(h(s[1:], rate, 3, 0.0), (1 - (1 - rate * s[1:]) ** 3) / s[1:]) and h(s, rate, 3, 0.0)[0] == 0, \
            "0 where s + 1/η = 0, but T steps do move such a component: what does (8.3) make of it?"
        yield not np.isfinite(h(s, rate, 3, 0.0)[0]), "0/0 where s + 1/η = 0: what is the limit there?"
        yield (same(h(s, rate, 3, 0.3), filter_with()(s, rate, 3, 0.3))
               and same(h(s, rate, 3, 0.0), np.full(8, 3 * rate)),
               "without a regulariser s may still be above 0: only where s + 1/η = 0 are all terms equal")
        yield (same(h(s[1:], rate, 3, 0.0), right, 1e-8) and 0.8 < h(s, rate, 3, 0.0)[0] / (3 * rate) < 1.2,
               "right but where s + 1/η = 0, and nearly so there: is a small number added, or put in its place? Treat "
               "it apart: what does (8.3) make of such a component?")
        yield (same(h(s[1:], rate, 3, 0.0), right) and not same(h(s, rate, 3, 0.0)[0], 3 * rate),
               f"right but where s + 1/η = 0: {h(s, rate, 3, 0.0)[0]:.3g} there for α = {rate:g}, T = 3; what does "
               "(8.3) make of such a component?")
        yield from late

    def library(s, rate, steps, damping):
        return spectral_filter(s, [rate] * steps, damping)

    return check("8.2", answer, claims, mistakes, fallback=library)


def takes_entries(answer, *question):
    """Return whether an answer hands single entries to a transfer, which takes arrays."""
    try:
        answer(*question)
    except TypeError as error:
        return "expected an array" in str(error)
    return False


ENTRIES = "a transfer takes arrays, not one entry: f.forward(z), of all of z; entries are taken of what comes back"


def bregman_with(tangent=lambda f, z, w: f.integral(w) + f.forward(w) * (z - w), sign=-1.0):
    """Return F(z) minus a tangent with a slip in it."""
    return lambda f, z, w: f.integral(z) + sign * tangent(f, z, w)


WRONG_DIVERGENCES = {
    "D_F(w, z): the tangent is laid at the wrong point (the divergence is not symmetric)":
        lambda f, z, w: bregman_with()(f, w, z),
    "a squared error of outputs; its slope has a factor f'(z), and it is not convex":
        lambda f, z, w: (f.forward(z) - f.forward(w)) ** 2 / 2,
    "the slope's term has the wrong sign: − f(w)(z − w), and z − w in this order":
        bregman_with(lambda f, z, w: f.integral(w) - f.forward(w) * (z - w)),
    "all of the tangent is to be subtracted": bregman_with(sign=1.0),
    "the matching loss itself; subtract its value at z = w": bregman_with(lambda f, z, w: f.forward(w) * z),
    "the slope of the tangent is f(w), at w": bregman_with(lambda f, z, w: f.integral(w) + f.forward(z) * (z - w)),
    "the slope of the tangent is f(w); w itself stands here": bregman_with(lambda f, z, w: f.integral(w) + w * (z - w)),
    "the slope of F is f; here it is f', its derivative":
        bregman_with(lambda f, z, w: f.integral(w) + f.derivative(w) * (z - w)),
    "the value of the tangent at w is F(w): it is missing": bregman_with(lambda f, z, w: f.forward(w) * (z - w)),
    "the slope's term is missing: F(z) − F(w) is no divergence": bregman_with(lambda f, z, w: f.integral(w)),
    "f stands where F belongs, and its derivative where f does: F is f.integral": lambda f, z, w:
        f.forward(z) - f.forward(w) - f.derivative(w) * (z - w),
    "f stands where F belongs": lambda f, z, w: f.forward(z) - f.forward(w) - f.forward(w) * (z - w),
    "half the square: right for the identity only": lambda f, z, w: (z - w) ** 2 / 2,
    "the sign of F(w): it is subtracted": lambda f, z, w: f.integral(z) + f.integral(w) - f.forward(w) * (z - w),
    "F(z) − F(w), not the other way round": lambda f, z, w: f.integral(w) - f.integral(z) - f.forward(w) * (z - w),
    "the tangent's term is f(w)(z − w): w is missing in it": lambda f, z, w:
        f.integral(z) - f.integral(w) - f.forward(w) * z,
    "f(z) stands where F(z) belongs": lambda f, z, w: f.forward(z) - f.integral(w) - f.forward(w) * (z - w),
    "f(w) stands where F(w) belongs": lambda f, z, w: f.integral(z) - f.forward(w) - f.forward(w) * (z - w),
    "this is the tangent; F(z) minus it is wanted": lambda f, z, w: f.integral(w) + f.forward(w) * (z - w),
    "this is minus the divergence": lambda f, z, w: f.integral(w) + f.forward(w) * (z - w) - f.integral(z),
    "F of the difference is no difference of F": lambda f, z, w: f.integral(z - w),
    "this is D_F(z, w) + D_F(w, z)": lambda f, z, w: (f.forward(z) - f.forward(w)) * (z - w),
    "the slope of the tangent is f(w), at w, not at a point between": bregman_with(
        lambda f, z, w: f.integral(w) + f.forward((z + w) / 2) * (z - w)),
    "the tangent's term is summed over the entries; each entry has its own": bregman_with(
        lambda f, z, w: f.integral(w) + np.sum(f.forward(w) * (z - w))),
    "parentheses: f(w) times all of z − w": lambda f, z, w: f.integral(z) - f.integral(w) - f.forward(w) * z - w,
    "parentheses: only the slope f(w) is multiplied by z − w": bregman_with(
        lambda f, z, w: (f.integral(w) + f.forward(w)) * (z - w)),
    "half the curvature times a square: right for z near w only": lambda f, z, w: f.derivative(w) * (z - w) ** 2 / 2,
    "the tangent is a line, f(w)(z − w); a curvature stands here": bregman_with(
        lambda f, z, w: f.integral(w) + f.derivative(w) * (z - w) ** 2 / 2),
    "the tangent is laid at w, not at f(w)": bregman_with(
        lambda f, z, w: f.integral(f.forward(w)) + f.forward(w) * (z - f.forward(w))),
    "large values are cut off: D_F has no upper bound": lambda f, z, w: np.minimum(bregman_with()(f, z, w), 1.0),
    "half of it: D_F has no ½": lambda f, z, w: bregman_with()(f, z, w) / 2,
    "this is half of D_F(z, w) + D_F(w, z)": lambda f, z, w: (f.forward(z) - f.forward(w)) * (z - w) / 2,
    "F and f are exchanged": lambda f, z, w: f.forward(z) - f.forward(w) - f.integral(w) * (z - w),
    "F of the difference is no difference of F, in the first two terms":
        lambda f, z, w: f.integral(z - w) - f.forward(w) * (z - w),
    "the tangent's term is f(w)(z − w): z − w is missing": bregman_with(lambda f, z, w: f.integral(w) + f.forward(w)),
    "the tangent is laid at w, not at f(w); all of it is": lambda f, z, w: bregman_with()(f, z, f.forward(w)),
    "the distance of F(z) from F(w) knows no tangent: F's height over it is wanted": lambda f, z, w:
        abs(f.integral(z) - f.integral(w)),
    "the slope of the tangent is f(w), at w, not a mean of f(w) and f(z)": bregman_with(
        lambda f, z, w: f.integral(w) + (f.forward(w) + f.forward(z)) / 2 * (z - w)),
    "this is the slope of the divergence": lambda f, z, w: f.forward(z) - f.forward(w),
}
WRONG_SLOPES = {
    "this is the slope of F itself; the tangent has one, too": lambda f, z, w: f.forward(z),
    "the sign: the slope of F comes first": lambda f, z, w: f.forward(w) - f.forward(z),
    "this is the slope in w": lambda f, z, w: -f.derivative(w) * (z - w),
    "this is the curvature; the slope is asked for": lambda f, z, w: f.derivative(z),
    "derivatives stand where f belongs: F' is f": lambda f, z, w: f.derivative(z) - f.derivative(w),
    "the slope of f(w)(z − w) in z is f(w): w stands still": lambda f, z, w:
        f.forward(z) - f.forward(w) - f.derivative(w) * (z - w),
    "F stands where its slope, f, belongs": lambda f, z, w: f.integral(z) - f.integral(w),
    "this is the slope of the tangent alone": lambda f, z, w: f.forward(w),
    "the slope in z of the tangent's term is f(w), not f(w)(z − w)": lambda f, z, w:
        f.forward(z) - f.forward(w) * (z - w),
    "the divergence comes twice: its slope is asked for, too": lambda f, z, w: bregman_with()(f, z, w),
    "where z lies left of w the slope is negative: no absolute value": lambda f, z, w: abs(f.forward(z) - f.forward(w)),
    "a factor f'(z) too many: ½(f(z) − f(w))² has it, and D does not need it": lambda f, z, w:
        f.derivative(z) * (f.forward(z) - f.forward(w)),
    "a factor f'(w) too many: the tangent's slope is f(w) itself": lambda f, z, w:
        f.forward(z) - f.derivative(w) * f.forward(w),
    "the slope of the tangent is f(w); its height stands here": lambda f, z, w:
        f.forward(z) - f.integral(w) - f.forward(w) * (z - w),
    "f of the difference is no difference of f": lambda f, z, w: f.forward(z - w),
    "where z lies left of w the slope is negative, not 0": lambda f, z, w: np.maximum(f.forward(z) - f.forward(w), 0),
}


def bregman(answer, seed):
    """Exercise 8.3: D_F(z, w) and its slope in z, entry by entry, for a transfer with integral F and F' = f."""
    rng = np.random.default_rng(seed)
    z, w = rng.normal(size=(2, 10, 4)) * 1.5
    z = np.where(abs(z) < 0.01, 0.5, z)  # off the kink of ReLU, for the differences

    def claims(both):
        h = 1e-5
        for f in (Tanh(), Sigmoid(), ReLU()):
            yield claim(f"{f!r}: zero at z = w", both(f, w, w)[0], 0 * w, look="at z = w the tangent meets F")
            slope = (both(f, z + h, w)[0] - both(f, z - h, w)[0]) / (2 * h)
            yield claim(f"{f!r}: by differences it grows by f(z) − f(w)", slope, f.forward(z) - f.forward(w),
                        DIFFERENCES, look="zero where it should be: look at the slope of the tangent, f(w)")
            yield claim(f"{f!r}: the slope that is returned", both(f, z, w)[1], f.forward(z) - f.forward(w))
        yield claim("identity: half the square, and z − w", np.array(both(Identity(), z, w)),
                    np.array([(z - w) ** 2 / 2, z - w]))

    def mistakes(both):
        yield takes_entries(both, Tanh(), z, w), ENTRIES
        found = both(Tanh(), z, w)
        yield len(found) != 2, "two arrays are asked for, the divergence and its slope"
        yield np.shape(found[0]) == (), "one number comes back (a sum, a mean?); one for each entry is asked for"
        yield (np.shape(found[0]) != z.shape, f"the divergence has shape {np.shape(found[0])} where that of z and w, "
               f"{z.shape}, is expected: nothing is summed, each entry has its own")

        def D(f, z, w):
            return both(f, z, w)[0]

        for f in (Tanh(), Sigmoid()):
            yield (all(same(D(g, z, w), bregman_with()(f, z, w), 1e-8) for g in (Tanh(), Sigmoid())),
                   f"always that of {f!r}: f.forward and f.integral are those of the f that is given")
        yield (same(list(found[::-1]), [bregman_with()(Tanh(), z, w), np.tanh(z) - np.tanh(w)]),
               "the divergence comes first, then its slope")
        yield from slips(D, [(f, z, w) for f in (Tanh(), Sigmoid())], WRONG_DIVERGENCES)
        if all(same(D(f, z, w), bregman_with()(f, z, w), 1e-8) for f in (Tanh(), Sigmoid())):
            yield (np.shape(found[1]) != z.shape, f"the divergence is right; its slope has shape {np.shape(found[1])} "
                   f"where {z.shape} is expected: each entry has its own")
            yield (not same(D(ReLU(), z, w), bregman_with()(ReLU(), z, w), 1e-8),
                   "right where f is smooth, not for ReLU with its kink: is f integrated by a rule? F is f.integral")
            yield from ((known, f"the divergence is right; its slope is not: {message}") for known, message in slips(
                lambda *question: both(*question)[1], [(f, z, w) for f in (Tanh(), Sigmoid())], WRONG_SLOPES))
            yield True, "the divergence is right; its slope is not: what changes with z, in F and in the tangent?"
        f, step = Tanh(), np.eye(1, 40).reshape(10, 4)
        yield (not same(np.ravel(D(f, z + step, w))[1:], np.ravel(D(f, z, w))[1:]),
               "an entry of z changes others: each stands alone")
        yield not same(D(f, w, w), 0 * w), "at z = w the tangent meets F, and D must be 0; yours is not"
        lines = [f.integral(at) - D(f, at, w) for at in (z - 1, z, z + 1)]
        yield (not same(lines[0] + lines[2], 2 * lines[1], 1e-6), "F(z) − D is to be a straight line in z, the "
               "tangent; yours bends")
        yield (not same(lines[2] - lines[1], f.forward(w), 1e-6), "F(z) − D is a straight line in z, but its "
               "slope is not f(w)")

    def library(f, z, w):
        data = MatchingLoss(f, w.reshape(1, -1), np.zeros((1, w.size)))
        return ((data.value(z.reshape(1, -1)) - data.value(w.reshape(1, -1))).reshape(z.shape),
                data.gradient(z.reshape(1, -1)).reshape(z.shape))

    return check("8.3", answer, claims, mistakes, fallback=library)


def room_ahead(a, g, low, high):
    """Return how far each target may go the way on which it goes."""
    return np.where(g < 0, high - a, a - low)


def gamma_with(room=room_ahead, over=np.min, times=lambda room, g: room / abs(g), start="f(z)", borders=None,
               only=lambda g: g != 0, rows=slice(None)):
    """Return the largest γ with a slip in it: the room of each entry, what it is divided by, which entry counts."""
    def largest(f, z, g):
        (low, high), a = f.range if borders is None else borders, f.forward(z) if start == "f(z)" else z
        a, g = a[rows], g[rows]
        kept = only(g)
        return float(over(times(room(a, g, low, high)[kept], g[kept]))) if kept.any() else np.inf
    return largest


WRONG_GAMMAS = {
    "the sign: f(z) − γ g goes up where g is negative":
        gamma_with(lambda a, g, low, high: np.where(g > 0, high - a, a - low)),
    "the sign, and the entry with the most room": gamma_with(
        lambda a, g, low, high: np.where(g > 0, high - a, a - low), np.max),
    "|g| divides: of two with the same room the larger signal leaves first":
        gamma_with(times=lambda room, g: room * abs(g)),
    "this is the room; how many γ g fit in it?": gamma_with(times=lambda room, g: room),
    "this is the room, of entries too that do not move; how many γ g fit in it?":
        gamma_with(times=lambda room, g: room, only=lambda g: g == g),
    "the room is counted from f(z), not from the other border": gamma_with(lambda a, g, low, high: high - low + 0 * a),
    "a mean over the entries; the first to leave decides": gamma_with(over=np.mean),
    "only the lower border counts here; a negative g pushes a target up, at most by high − f(z)":
        gamma_with(only=lambda g: g > 0),
    "only the upper border is looked at; a positive g pushes a target down": gamma_with(only=lambda g: g < 0),
    "the room up is counted from f(z), not from 0": gamma_with(lambda a, g, low, high: np.where(g < 0, high, a - low)),
    "the entry with the most room; the first to leave decides": gamma_with(over=np.max),
    "distance to the nearer border; the target may be moving towards the other one":
        gamma_with(lambda a, g, low, high: np.minimum(high - a, a - low)),
    "the least room over the largest |g|: they may belong to two entries": gamma_with(
        over=lambda pairs: pairs[:, 0].min() / pairs[:, 1].max(),
        times=lambda room, g: np.stack([room, abs(g)], axis=1)),
    "the nearest border over the largest |g|: they may belong to two entries": gamma_with(
        lambda a, g, low, high: np.minimum(high - a, a - low), lambda pairs: pairs[:, 0].min() / pairs[:, 1].max(),
        lambda room, g: np.stack([room, abs(g)], axis=1)),
    "the least room over the least |g|: they may belong to two entries": gamma_with(
        over=lambda pairs: pairs[:, 0].min() / pairs[:, 1].min(),
        times=lambda room, g: np.stack([room, abs(g)], axis=1)),
    "the sign of g says towards which border a target moves; here that of z does": lambda f, z, g: float(
        (np.where(z < 0, f.range[1] - f.forward(z), f.forward(z) - f.range[0]) / abs(g))[g != 0].min()),
    "the least room over the mean |g|: room and |g| are those of one entry": gamma_with(
        over=lambda pairs: pairs[:, 0].min() / pairs[:, 1].mean(),
        times=lambda room, g: np.stack([room, abs(g)], axis=1)),
    "one is subtracted from it: γ is the least quotient itself": lambda f, z, g: gamma_with()(f, z, g) - 1,
    "it is rounded down: γ is any number": lambda f, z, g: float(np.floor(gamma_with()(f, z, g))),
    "upside down: room over |g|": lambda f, z, g: 1 / gamma_with()(f, z, g),
    "the room is divided by |g|, not by its square": gamma_with(times=lambda room, g: room / g**2),
    "a sum over the entries; the first to leave decides": gamma_with(over=np.sum),
    "the room is counted from z; the target starts from f(z)": gamma_with(start="z"),
    "where g is positive the target goes down, to the lower border": gamma_with(lambda a, g, low, high: high - a),
    "where g is negative the target goes up, to the upper border": gamma_with(lambda a, g, low, high: a - low),
    "[-1, 1] is the range of tanh; f.range has that of each f": gamma_with(borders=(-1, 1)),
    "always that of tanh: f.forward and f.range are those of the f that is given": lambda f, z, g:
        gamma_with()(Tanh(), z, g),
    "[0, 1] is the range of the sigmoid; f.range has that of each f": gamma_with(borders=(0, 1)),
    "the larger of two, the first to meet the upper border and the first to meet the lower; the smaller decides":
        lambda f, z, g: larger_of_two(f, z, g),
    "a mean over the entries that have a border ahead; the first to leave decides":
        gamma_with(over=lambda times: times[np.isfinite(times)].mean()),
    "only the first sample is looked at": gamma_with(rows=slice(0, 1)),
    "only the last sample is looked at": gamma_with(rows=slice(-1, None)),
    "the first entry alone is looked at: a return inside the loop?": gamma_with(over=lambda times: times[0]),
    "half of it: the first target may go all the way to its border":
        gamma_with(times=lambda room, g: room / abs(g) / 2),
    "distance to the farther border; the target may be moving towards the other one":
        gamma_with(lambda a, g, low, high: np.maximum(high - a, a - low)),
    "the sign: γ is positive": lambda f, z, g: -gamma_with()(f, z, g),
    "g is ∂J/∂z already: no 1 − f(z)² with it, either": lambda f, z, g: float(
        (room_ahead(f.forward(z), g, *f.range) / abs(g) / (1 - f.forward(z)**2))[g != 0].min()),
    "always 0: the least is looked for from ∞ down, not from 0": lambda f, z, g: 0.0,
    "1 for each f, z and g that is asked for here (a search that starts at 1 and cannot go down?)": lambda f, z, g: 1.0,
    "the entry of the largest |g| need not be the first to leave": lambda f, z, g: float(
        (room_ahead(f.forward(z), g, *f.range) / abs(g)).flat[abs(g).argmax()]),
    "the entry with the least room need not be the first to leave: how fast does it go?": lambda f, z, g: float(
        (room_ahead(f.forward(z), g, *f.range) / abs(g)).flat[np.where(g == 0, np.inf, room_ahead(
            f.forward(z), g, *f.range)).argmin()]),
    "each entry's own |g| divides, not the norm of all": gamma_with(
        times=lambda room, g: room / np.linalg.norm(g)),
    "the room up is high − f(z): the sign of f(z)": gamma_with(
        lambda a, g, low, high: np.where(g < 0, high + a, a - low)),
    "the room down is f(z) − low: the sign of low": gamma_with(
        lambda a, g, low, high: np.where(g < 0, high - a, a + low)),
    "the median of the entries; the first to leave decides": gamma_with(over=np.median),
    "high − |f(z)| is room for a range from −high only, and not always on the side to which the target moves":
        gamma_with(lambda a, g, low, high: high - abs(a)),
    "right for a range that is symmetric; the lower border is low = f.range[0], not −high":
        gamma_with(lambda a, g, low, high: np.where(g < 0, high - a, high + a)),
    "the way of f(z) to 0; the way to the border of the range is wanted": gamma_with(lambda a, g, low, high: abs(a)),
    "the way of f(z) to 0, with its sign; the way to the border of the range is wanted":
        gamma_with(lambda a, g, low, high: a, times=lambda room, g: room / g),
    "f(z) is forgotten: the room is counted from 0": gamma_with(lambda a, g, low, high: np.where(g < 0, high, -low)),
    "g is ∂J/∂z already: no f'(z) with it": lambda f, z, g: gamma_with()(f, z, g * f.derivative(z)),
    "this is N times what it should be: no mean is taken here": lambda f, z, g: len(z) * gamma_with()(f, z, g),
}


def larger_of_two(f, z, g):
    """Return the larger of the two γ at which a first target meets either border."""
    return max(gamma_with(only=lambda g: g < 0)(f, z, g), gamma_with(only=lambda g: g > 0)(f, z, g))


def gamma_layers(rng):
    """Return transfers, pre-activations and signals at which the likely wrong answers differ from the right one."""
    z, signal = rng.normal(size=(2, 30, 4))
    z[0, 0] = -abs(z[0, 0])  # of ReLU the first g is 0: a 0/0 there is not lost in Python's min
    layers = [(f, z, signal * f.derivative(z)) for f in (Tanh(), Sigmoid(), ReLU())]
    layers += [(f, -z, -g) for f, z, g in layers[:2]]  # where the other border is the first to be met
    up = np.where(np.arange(signal.size).reshape(signal.shape), -abs(signal), 1e-3)  # one hardly moves
    layers.append((Sigmoid(), 3 + z / 10, up))  # the others go up, from near the upper border
    return [*layers, (ReLU(), 50 + 10 * z, signal)]  # where the upper border would be near, were it finite


def told_apart(layers):
    """Whether the right answer to 8.4 and the likely wrong ones differ from one another at some of the layers."""
    likely = [gamma_with(), gamma_with(rows=slice(0, 1)), gamma_with(rows=slice(-1, None)), larger_of_two]
    likely += [gamma_with(only=only) for only in (lambda g: g < 0, lambda g: g > 0)]
    likely += [gamma_with(room) for room in (
        lambda a, g, low, high: room_ahead(a, -g, low, high), lambda a, g, low, high: np.minimum(high - a, a - low),
        lambda a, g, low, high: np.maximum(high - a, a - low), lambda a, g, low, high: high - a,
        lambda a, g, low, high: a - low)]
    found = [[largest(*layer) for layer in layers] for largest in likely]
    return not any(same(one, other) for k, one in enumerate(found) for other in found[:k])


def largest_gamma(answer, seed):
    """Exercise 8.4: the largest γ with all targets f(z) − γ g inside the range of f."""
    rng = np.random.default_rng(seed)
    layers = gamma_layers(rng)
    while not told_apart(layers):
        layers = gamma_layers(rng)
    f, z, g = layers[0]
    faint, upwards = (f, z, 1e-6 * g), (f, z, -abs(g))

    def outside(f, z, g, gamma):
        """Return by how much the moving targets leave the range; below 0: by how much all stay inside."""
        target, (low, high) = (f.forward(z) - gamma * g)[g != 0], f.range
        return float(max((target - high).max(), (low - target).max()))

    def claims(largest):
        for f, z, g in layers:
            excess = outside(f, z, g, float(largest(f, z, g)))
            yield claim(f"{f!r}: at γ one target is on its border, none is outside", excess, 0.0, 1e-9,
                        look="too large: is it the least over all entries, of the room over |g| of one and the same "
                        "entry?" if excess > 0 else
                        "too small: no target has reached its border yet; what divides the room, and of which entry?")
        for text, layer in (("a signal a million times smaller", faint), ("no g above 0", upwards)):
            yield claim(f"the same, {text}", outside(*layer, float(largest(*layer))), 0.0, 1e-9)

    def refuses(largest, layer):
        """Return whether an answer raises an error at a layer."""
        try:
            return bool(np.isnan(largest(*layer)))
        except ValueError:
            return True

    def mistakes(largest):
        yield takes_entries(largest, *layers[0]), ENTRIES
        yield any(np.shape(largest(*layer)) != () for layer in layers), \
            "one number is asked for: the least over all entries"
        right = all(same(float(largest(*layer)), library_largest_gamma(*layer), 1e-6) for layer in layers)
        yield right and refuses(largest, upwards), \
            "right but where no g is above 0: there no target goes down, and of none there is no least"
        yield right, \
            "right for signals of size 1, not for smaller ones, whose γ is larger: does a search end at a fixed γ?"
        moving = [(f, z, np.where(g == 0, -1e-3, g)) for f, z, g in layers]
        yield from slips(lambda *layer: float(largest(*layer)), layers, WRONG_GAMMAS)
        yield (all(same(float(largest(*layer)), library_largest_gamma(*layer), 1e-6) for layer in moving),
               "right but where g is 0: that target stays, and 0/0 comes out; leave such entries out, or give them ∞")
        yield from slips(lambda *layer: float(largest(*layer)), moving, WRONG_GAMMAS)
        found = [float(largest(*layer)) for layer in moving]
        yield (np.isnan(found).any() and np.isfinite(found[0]),
               "nan where a border is ∞: ∞ · 0 and ∞ − ∞ are nan; np.where picks a side without a product")
        yield len(set(found)) == 1, "the same number, whatever f, z and g are"
        yield np.isfinite(found).all() and same(found, np.round(found), 0), \
            "a whole number for every layer: is it an index, the place of the least and not its value, or " \
            "a search in whole steps?"
        tenths = 10 * np.array(found)
        yield np.isfinite(found).all() and same(tenths, np.round(tenths)), \
            "a multiple of 0.1 for every layer: is it searched for in steps? The room over |g| gives it exactly"
        exact = [library_largest_gamma(*layer) for layer in moving]
        yield (all(same(*pair, 1e-6) for pair in [*zip(found, exact)][:-1]) and not same(found[-1], exact[-1], 1e-6),
               "right but where ReLU's z is large: its upper border is ∞; is it cut off?")
        yield any(float(largest(*layer)) < 0 for layer in moving), "negative: the room and |g| are both lengths"
        short = [right - gamma for gamma, right in zip(found, exact)]
        yield (min(short) >= -1e-9 and 1e-12 < max(short) <= 0.02,
               "a little too small: is it searched for in steps that are too large, or is a small number subtracted?")
        yield (max(short) <= 1e-9 and -0.02 <= min(short) < -1e-12,
               "a little too large: is it searched for in steps, the last of which leaves the range?")
        for (f, z, g), gamma in zip(moving, found):
            alone = room_ahead(f.forward(z), g, *f.range) / abs(g)
            yield (np.isclose(alone, gamma, rtol=1e-9, atol=0).any() and not same(gamma, alone.min()),
                   "this is the γ of one entry; another leaves earlier. Is the least taken over all, rows and columns?")
            yield not same(2 * float(largest(f, z, 2 * g)), gamma, 1e-6), \
                "twice the signal must halve γ; yours does something else: what divides the room?"
        shares = [gamma / right for gamma, right in zip(found, exact)]
        yield (0.9 < min(shares) <= max(shares) <= 1,
               "nearly: is it searched for in steps? They end before the border")
        yield (np.ptp(shares) < 1e-6 * max(shares),
               f"{shares[0]:.4g} times what it should be, for every layer: what is multiplied or divided in excess?")

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
