r"""Checks of notebook 15: the gradient in a value, steps of all values at once, the limit of the rate, targets."""

from __future__ import annotations

import contextlib
import functools
import itertools

import numpy as np

from minilift.course.teach import DIFFERENCES, Claim, beyond, check, claim, close_to_answers, same, slips, times
from minilift.layers.activations import Tanh


def gradient_with(own=1.0, pull=-1.0, error=lambda e: e, slope=lambda slope: slope, back=np.transpose, factor=1.0):
    """Return an answer to 15.1 with a slip in it: the signs, the error above, its slope, the way back, a factor."""
    return lambda e, e_above, slope_above, W_above: factor * (
        own * e + pull * (error(e_above) * slope(slope_above)) @ back(W_above))


WRONG_GRADIENTS = {
    "the sign: the layer above pulls against the error, −(…)Wᵀ": gradient_with(pull=1.0),
    "the sign: this is minus the gradient": gradient_with(factor=-1.0),
    "both terms stand with a minus here; e has a plus": gradient_with(own=-1.0),
    "σ' is missing on the way down": gradient_with(slope=np.ones_like),
    "σ' is given: it is slope_above itself, not 1 − slope_above²": gradient_with(slope=lambda slope: 1 - slope**2),
    "σ' is given: it is slope_above itself, not 1 − slope_above": gradient_with(slope=lambda slope: 1 - slope),
    "σ' stands once on the way down, not squared": gradient_with(slope=np.square),
    "σ' multiplies the error above; here it divides": gradient_with(slope=np.reciprocal),
    "the error above is missing: its slope alone comes down": gradient_with(error=np.ones_like),
    "the layer's own error e is missing": gradient_with(own=0.0),
    "the layer's own error e is missing, and the sign of the other": gradient_with(own=0.0, pull=1.0),
    "the layer's own error e is missing, and σ' on the way down": gradient_with(own=0.0, slope=np.ones_like),
    "σ' is missing on the way down, and the minus": gradient_with(pull=1.0, slope=np.ones_like),
    "the pull of the layer above is missing": gradient_with(pull=0.0),
    "a factor 2: the squares of (15.1) have a ½": gradient_with(factor=2.0),
    "a factor ½: the slope of ½‖e‖² is e": gradient_with(factor=0.5),
    "a factor 2 in the own error: the square has a ½": gradient_with(own=2.0),
    "a factor 2 in the pull from above: the square has a ½": gradient_with(pull=-2.0),
    "W keeps its signs on the way down": gradient_with(back=lambda W: abs(W).T),
    "the way down is the transpose of W, not its inverse": gradient_with(back=np.linalg.pinv),
    "F is a sum over the samples, not a mean": lambda e, *above: gradient_with()(e, *above) / len(e),
    "F is a sum over the samples: the pull from above is not divided by N": lambda e, *above:
        gradient_with(pull=-1 / len(e))(e, *above),
    "each entry has its own slope; this is their mean":
        gradient_with(slope=lambda slope: np.full_like(slope, slope.mean())),
    "each sample has its own slopes; these are the means over the samples": gradient_with(
        slope=lambda slope: np.broadcast_to(slope.mean(axis=0), slope.shape)),
    "each sample has its own slopes; these are the first one's": gradient_with(
        slope=lambda slope: np.broadcast_to(slope[0], slope.shape)),
    "the error above comes in once, not squared": gradient_with(error=np.square),
    "the error above keeps its sign: no absolute value": gradient_with(error=np.abs),
    "each sample has its own error above; this is the first one's": gradient_with(
        error=lambda e: np.broadcast_to(e[0], e.shape)),
    "each sample has its own error and slope above; these are the first one's": gradient_with(
        error=lambda e: np.broadcast_to(e[0], e.shape), slope=lambda slope: np.broadcast_to(slope[0], slope.shape)),
    "each sample has its own error above; this is their mean": gradient_with(
        error=lambda e: np.broadcast_to(e.mean(axis=0), e.shape)),
    "the error above has passed no σ": gradient_with(error=np.tanh),
    "error and slope are multiplied, entry by entry, not added":
        lambda e, e_above, slope, W: e - (e_above + slope) @ W.T,
    "the gradient of ½‖e‖² is e": lambda e, *above: e**2 / 2 + gradient_with(own=0.0)(e, *above),
    "the pull from above does not meet e": lambda e, *above: e * (1 + gradient_with(own=0.0)(e, *above)),
    "σ' is given; here it is made of the error above": lambda e, e_above, slope, W:
        e - (e_above * (1 - e_above**2)) @ W.T,
    "σ' is given: it is slope_above itself, not 1 − tanh²(slope_above)":
        gradient_with(slope=lambda slope: 1 - np.tanh(slope) ** 2),
    "σ' stands as it is, without a root": gradient_with(slope=np.sqrt),
    "the two terms are added, not multiplied": lambda e, *above: e * gradient_with(own=0.0, pull=1.0)(e, *above),
}


WRONG_FACTORS = {
    "the slope belongs to the error above, e_{l+1}, not to e_l: both have the units of layer l + 1":
        lambda e, e_above, slope, W: e * slope - e_above @ W.T,
    "the slope is that of layer l + 1: it multiplies the error above before Wᵀ, not what arrives below":
        lambda e, e_above, slope, W: e - (e_above @ W.T) * slope,
    "W comes down as it is, or reshaped, which keeps the order of its entries; it must be transposed":
        lambda e, e_above, slope, W: e - (e_above * slope) @ W,
}


def value_gradient(answer, seed):
    """Exercise 15.1: the gradient of ½‖a − f‖² + ½‖a_above − tanh(aW + b)‖² in a."""
    rng = np.random.default_rng(seed)
    a, f, tangent = rng.normal(size=(3, 6, 4))
    W, b, above = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(6, 3))
    h = 1e-6

    def energy(a):
        return np.sum((a - f) ** 2) / 2 + np.sum((above - np.tanh(a @ W + b)) ** 2) / 2

    u = a @ W + b
    e, e_above, slope = a - f, above - np.tanh(u), 1 - np.tanh(u) ** 2

    def claims(gradient):
        found = gradient(e, e_above, slope, W)
        difference = (energy(a + h * tangent) - energy(a - h * tangent)) / (2 * h)
        yield claim("the slope along a random tangent", np.sum(found * tangent), difference, DIFFERENCES,
                    "look at (15.2): one product entry by entry, one with Wᵀ")
        yield claim("without an error above: e", gradient(e, 0 * e_above, slope, W), e, look="what is left then?")

    def mistakes(gradient):
        square = tuple(rng.normal(size=(5, 5)) for _ in range(4))  # where slips with a wrong shape do not raise
        yield from slips(gradient, [square], WRONG_FACTORS)
        yield from slips(gradient, [(e, e_above, slope, W)], WRONG_GRADIENTS)
        found, zero = gradient(e, e_above, slope, W), 0 * e_above
        yield np.shape(found) != e.shape, f"one array of the shape of a_l, {e.shape}, is asked for"
        own, pull = times(gradient(e, zero, slope, W), e), gradient(0 * e, e_above, slope, W)
        yield not same(own, 1.0), (f"without an error above, e counts {own:.3g} times; it counts once"
                                   if own == own else "without an error above e must be left; it is not")
        much = times(pull, -(e_above * slope) @ W.T)
        yield much == much and not same(much, 1.0), f"the pull from above is {much:.3g} times what it should be"
        for name, above in (("error above", (2 * e_above, slope, W)), ("slope", (e_above, 2 * slope, W)),
                            ("matrix W", (e_above, slope, 2 * W))):
            yield not same(gradient(0 * e, *above), 2 * pull), f"a doubled {name} must double the pull from above"
        yield (not same(gradient(0 * e[:1], e_above[:1], slope[:1], W), pull[:1]),
               "the first sample's gradient changes with the others: F is a sum over them")

    def library(e, e_above, slope_above, W_above):
        return e - (e_above * slope_above) @ W_above.T

    return check("15.1", answer, claims, mistakes, fallback=library)


def right_at_one_depth(answer, questions, library):
    """Return (whether an answer is right at one depth alone, what is said then), for questions of several depths."""
    def right(question):
        try:
            return same(answer(list(question[0]), *question[1:])[1:], library(*question)[1:])
        except (IndexError, KeyError, TypeError, ValueError):
            return False

    lengths = [len(question[0]) for question in questions if right(question)]
    return len(lengths) == 1, (f"right for a list of {lengths[0]} alone: the depth is that of the list, len(…) − 1, "
                               "no number, and not the notebook's D") if lengths else ""


def relax_with(order=0, sign=-1, moving=lambda D: range(1, D), more=0, follow=True, keep=1.0, rated=True,
               factor=lambda rate: rate, of=lambda l: l, passed=np.asarray, size=lambda slope: 1.0):
    """Return an answer to 15.2 with a slip in it.

    `order` is 1 or −1 for steps of one value after the other, up or down; `moving` says which values move, `follow`
    whether later gradients are taken where the values have come, `keep` what is left of the old value.
    """
    def relax(a, gradient, rate, steps):
        values = list(a)
        for _ in range(steps + more):
            old = values if order else list(values) if follow else a
            for l in list(moving(len(a)))[::order or 1]:
                slope = gradient(of(l), old)
                values[l] = passed(keep * values[l] + sign * (factor(rate) if rated else 1.0) / size(slope) * slope)
        return values
    return relax


WRONG_RELAXATIONS = {
    "a_2 sees the new a_1: all must start from the old values": relax_with(order=1),
    "a_2 sees the new a_3: then an error rushes down in one step": relax_with(order=-1),
    "the sign: this climbs": relax_with(sign=1),
    "the rate is missing": relax_with(rated=False),
    "the input moves; a_0 = X is given": relax_with(moving=range),
    "the first hidden value does not move": relax_with(moving=lambda D: range(2, D)),
    "the last hidden value does not move: a range excludes its end": relax_with(moving=lambda D: range(1, D - 1)),
    "one step too few": relax_with(more=-1),
    "one step too many": relax_with(more=1),
    "every gradient is that of the start: it must be taken where the values have come": relax_with(follow=False),
    "these are the steps; the values after them are wanted": relax_with(keep=0.0),
    "one step is taken, however many are asked for: is there a loop, does a return stand inside it, or does each step "
    "start from the list that was given?":
        lambda a, gradient, rate, steps: relax_with()(a, gradient, rate, 1),
    "the rate is divided by the number of steps": lambda a, gradient, rate, steps:
        relax_with()(a, gradient, rate / steps, steps),
    "a factor ½: the step is the rate times the gradient": relax_with(factor=lambda rate: rate / 2),
    "a factor 2: the step is the rate times the gradient": relax_with(factor=lambda rate: 2 * rate),
    "the rate is squared": relax_with(factor=lambda rate: rate**2),
    "each sample's values move by their own gradient, not by the samples' mean": lambda a, gradient, rate, steps:
        relax_with()(a, lambda l, values: np.asarray(gradient(l, values)).mean(axis=0), rate, steps),
    "each sample's gradient is its own: no division by their number": lambda a, gradient, rate, steps:
        relax_with()(a, gradient, rate / len(a[0]), steps),
    "the gradient has length 1 here; its length is part of the step": relax_with(size=np.linalg.norm),
    "each value moves by its own gradient, not by that of the value below": relax_with(of=lambda l: max(l - 1, 1)),
    "the old value counts whole; here it decays": relax_with(keep=0.9),
    "values are free: no σ on them": relax_with(passed=np.tanh),
    "gradient(l, a) has the wrong l: enumerate(a[1:]) counts from 0": relax_with(of=lambda l: l - 1),
    "every value moves by the gradient in a_1": relax_with(of=lambda l: 1),
    "the list is upside down: [a_0, a_1, …] is asked for": lambda a, *rest: [
        a[0], *relax_with()(a, *rest)[:0:-1]],
    "the rate falls from step to step; (15.3) has one rate": lambda a, gradient, rate, steps: functools.reduce(
        lambda values, k: relax_with()(values, gradient, rate / (k + 1), 1), range(steps), a),
    "each step starts from the first list again; it must start where the last one ended":
        lambda a, gradient, rate, steps: functools.reduce(
            lambda values, _: [a[0], *(a[l] - rate * gradient(l, values) for l in range(1, len(a)))], range(steps), a),
    "a_0 is missing in the list": lambda *question: relax_with()(*question)[1:],
    "one value alone has moved, and once: is the new list begun again inside the inner loop?": lambda a, gradient, rate,
        steps: [*a[:-1], a[-1] - rate * gradient(len(a) - 1, a)],
    "nothing has moved: the new values are not kept": lambda a, gradient, rate, steps: list(a),
    "a_0 stands at the end of the new list; it comes first": lambda a, gradient, rate, steps: functools.reduce(
        lambda values, _: [*relax_with()(values, gradient, rate, 1)[1:], values[0]], range(steps), a),
}


def relax(answer, seed):
    """Exercise 15.2: gradient steps in all hidden values at once."""
    rng = np.random.default_rng(seed)
    a, M = [rng.normal(size=(5, 3)) for _ in range(4)], rng.normal(size=(3, 3)) / 2
    longer, wider = [*a, rng.normal(size=(5, 3))], [rng.normal(size=(5, 4)), *a[1:]]

    def gradient(l, a):
        if isinstance(l, (list, tuple)):
            raise ValueError("gradient(l, a): the number of the layer is expected first, then the list")
        if isinstance(a, np.ndarray) and a.ndim == 2:
            raise ValueError("gradient(l, a): the whole list is expected, [a_0, a_1, …], got one array of it")
        if isinstance(a, (list, tuple)) and np.shape(a[0]) not in ((5, 3), (5, 4)):
            raise ValueError(f"gradient(l, a): a_0 of the list that was given is expected in slot 0, (5, 3), got the "
                             f"shape {np.shape(a[0])}: is it the notebook's X?")
        below = a[l] - a[l - 1][:, :3] @ M
        return below if l == len(a) - 1 else below - (a[l + 1] - a[l] @ M) @ M.T

    def after(steps, rate=0.1):
        values = list(a)
        for _ in range(steps):
            slopes = [gradient(l, values) for l in (1, 2, 3)]
            values = [a[0]] + [value - rate * slope for value, slope in zip(values[1:], slopes)]
        return values

    def right_for(relax, values):
        """Whether two steps from a list come out right."""
        try:
            return all(map(same, relax(list(values), gradient, 0.1, 2), library(values, gradient, 0.1, 2)))
        except (IndexError, TypeError, ValueError):
            return False

    def claims(relax):
        once, often = relax(list(a), gradient, 0.1, 1), relax(list(a), gradient, 0.15, 7)
        if len(once) != 4:
            raise ValueError(f"a list of 4 arrays is expected, a_0 among them, got {len(once)}")
        yield claim("the input stays", often[0], a[0], look="a_0 belongs to the list and does not move")
        for l in (1, 2, 3):
            yield claim(f"a_{l} after one step", once[l], after(1)[l], look="look at the list the gradient is taken of")
        seven = after(7, 0.15)[2]
        yield claim("a_2 after seven", often[2], seven, look="one step is right: does the next start from it?")
        if same(often[2], seven):  # a return inside the loop shows before
            yield claim("no step, no change", relax(list(a), gradient, 0.1, 0)[3], a[3])
            yield claim("a_1 after three small steps", relax(list(a), gradient, 1e-9, 3)[1],
                        library(a, gradient, 1e-9, 3)[1], look="each step is taken, small as it is")
            yield claim("a_4 of a longer list", relax(list(longer), gradient, 0.1, 2)[-1],
                        library(longer, gradient, 0.1, 2)[4])
            yield claim("a_1 where a_0 is wider", relax(list(wider), gradient, 0.1, 2)[1],
                        library(wider, gradient, 0.1, 2)[1], look="the values of two layers differ in shape")

    def mistakes(relax):
        yield right_for(relax, a) and not right_for(relax, wider), \
            "right where all layers have one width; the notebook's do not: their values cannot be stacked in one array"
        yield right_at_one_depth(relax, [(values, gradient, 0.1, 2) for values in (a, longer)], library)
        once = relax(list(a), gradient, 0.1, 1)
        yield len(once) == 3 and same(once[0], a[0]), "the last hidden value is lost: a range excludes its end"
        yield from slips(relax, [(list(a), gradient, 0.1, steps) for steps in (2, 3)], WRONG_RELAXATIONS)
        two, half, five = (relax(list(a), gradient, rate, steps) for rate, steps in ((0.1, 2), (0.05, 2), (0.1, 5)))
        yield same(half, two), "half the rate makes the same steps: is the argument `rate` used?"
        yield same(five, two), "two steps and five end at the same values: is the loop over range(steps)?"
        yield len(once) != 4, f"a list of 4 arrays, [a_0, …, a_3], is asked for; yours has {len(once)} parts"
        yield not same(once[0], a[0]), "a_0 has moved: it is the input, and given"
        seen, given = set(), set()

        def watched(l, values):
            given.add(isinstance(values, (list, tuple)))
            if not isinstance(values, (list, tuple)):
                return gradient(l, a)
            seen.update(k for k in range(4) if not same(values[k], a[k]))
            return gradient(l, values)

        relax(list(a), watched, 0.1, 1)
        yield False in given, "gradient(l, a) wants the whole list, not the array a[l] alone"
        yield len(seen) > 0, (f"in step one a gradient is taken where a_{min(seen, default=0)} has moved already: "
                              "all are to be taken at the old list")
        steps_of = {l: (once[l] - a[l], after(1)[l] - a[l]) for l in (1, 2, 3)}
        yield same(once[1], after(1)[3]), "a_3 stands where a_1 belongs: the list is in another order"
        for l, (mine, right) in steps_of.items():
            factor = times(mine, right)
            yield (factor == factor and not same(factor, 1.0),
                   f"in one step a_{l} moves {factor:.3g} times as far as it should")
        for l, (mine, right) in steps_of.items():
            yield (not same(mine, right),
                   f"in one step a_{l} does not move along its own gradient: which one does it take?")
        yield (not same(relax(list(a), gradient, 0.1, 2), after(2)),
               "one step is right, two are not: where does the second start?")

    def library(a, gradient, rate, steps):
        for _ in range(steps):
            a = [a[0], *(a[l] - rate * gradient(l, a) for l in range(1, len(a)))]
        return a

    return check("15.2", answer, claims, mistakes, fallback=library)


def errors_by_values(W):
    """Return the matrix from the values (a_1, …, a_{D−1}) of a sample to its errors (e_1, …, e_D)."""
    ends = np.cumsum([0] + [weights.shape[1] for weights in W[1:]])
    M = np.eye(ends[-2], ends[-1])
    for l in range(1, len(W) - 1):
        M[ends[l - 1]:ends[l], ends[l]:ends[l + 1]] = -W[l + 1]
    return M


def library_limit(W):
    """Return 2 over the largest curvature of the energy of linear maps."""
    return 2 / float(np.linalg.norm(errors_by_values(W), 2)) ** 2


def limit_with(of=lambda M, W: np.linalg.norm(M, 2) ** 2, keep=lambda M, W: M, top=2.0):
    """Return an answer to 15.3 with a slip in it: what is taken of the matrix, of which part of it, what is over it."""
    return lambda W: top / of(keep(errors_by_values(W), W), W)


WRONG_RATES = {
    "the limit is 2/λ_max, not 1/λ_max": limit_with(top=1.0),
    "this is λ_max; the limit is 2/λ_max": lambda W: 2 / library_limit(W),
    "λ_max is the square of M's largest singular value": limit_with(lambda M, W: np.linalg.norm(M, 2)),
    "the limit belongs to the largest curvature, not to the smallest": limit_with(
        lambda M, W: np.linalg.norm(M, -2) ** 2),
    "the limit belongs to the largest curvature, not to the mean": limit_with(lambda M, W: np.sum(M**2) / len(M)),
    "the sum of all curvatures is more than the largest of them": limit_with(lambda M, W: np.sum(M**2)),
    "the blocks −W beside the diagonal are missing: without them the layers do not meet": limit_with(
        lambda M, W: 1 + max(np.linalg.norm(weights, 2) for weights in W[2:]) ** 2),
    "the identity is missing: a value's own error is a part of F": limit_with(
        keep=lambda M, W: M - np.eye(*M.shape)),
    "the output's error is missing: it is one of those of a_{D−1}": limit_with(keep=lambda M, W: M[:, :len(M)]),
    "W_1 has no part in it: the input does not move": lambda W: library_limit([None, np.eye(len(W[1])), *W[1:]]),
    "right for two and three maps alone: a_l meets a_{l+1} in every layer": lambda W: library_limit(W[:4]),
}


def limit_of(answer, seed):
    """Exercise 15.3: the rate below which the energy of linear maps falls, and above which it grows."""
    rng = np.random.default_rng(seed)
    nets = {f"{len(widths) - 1} maps": [None, *(0.3 * l * rng.normal(size=pair) for l, pair in enumerate(
        itertools.pairwise(widths), start=1))] for widths in ((4, 6, 5, 3), (5, 4, 3), (3, 4, 5, 6, 4, 2))}

    def growth(W, rate):
        """Return F after 200 steps over F before; the errors are values @ M + fixed."""
        M, draws = errors_by_values(W), np.random.default_rng(seed)
        values, fixed = draws.normal(size=(8, len(M))), draws.normal(size=(8, len(M.T)))
        before = np.sum((values @ M + fixed) ** 2)
        for _ in range(200):
            values = values - rate * (values @ M + fixed) @ M.T
        return np.sum((values @ M + fixed) ** 2) / before

    def claims(limit):
        for name, W in nets.items():
            rate = limit(W)
            if np.ndim(rate):
                raise ValueError(f"one number is expected, and the shape {np.shape(rate)} comes")
            yield Claim(f"{name}: the rate is positive", float(not rate > 0), 0)
            yield Claim(f"{name}: at 0.95 of it F falls (rise)", beyond(growth(W, 0.95 * rate) - 1), 0)
            grown = growth(W, 1.05 * rate)
            yield Claim(f"{name}: at 1.05 of it F is ten times what it was (shortfall)",
                        beyond(10 - grown) if np.isfinite(grown) else 0.0, 0)

    def mistakes(limit):
        def right(W):
            with contextlib.suppress(LookupError, TypeError, ValueError):
                return same(limit(W) / library_limit(W), 1.0, 0.04)
            return False
        yield [*map(right, nets.values())] == [True, False, False], "right for three maps alone; D is len(W) − 1"
        yield from slips(limit, [(W,) for W in nets.values()], WRONG_RATES)
        for name, W in nets.items():
            share = float(limit(W)) / library_limit(W)
            yield not share > 0, "a rate is positive"
            yield share < 0.95, f"{name}: F falls, but at 1.05 of your rate, too: it is {share:.3g} times the limit"
            yield share > 1.05, f"{name}: F grows at 0.95 of your rate, too: it is {share:.3g} times the limit"

    return check("15.3", answer, claims, mistakes, fallback=library_limit)


def targets_with(base=1.0, up=1.0, down=-1.0, at=lambda h, t, l: t[l], below=lambda h, t, l: h[l], lowest=2,
                 start=lambda h, last: last):
    """Return an answer to 15.4 with a slip in it: the weights of the three terms, where f̂_l is taken, the ends."""
    def targets(h, last, inverses):
        t = [None] * (len(h) - 1) + [start(h, last)]
        for l in range(len(h) - 1, lowest - 1, -1):
            t[l - 1] = base * h[l - 1] + up * inverses[l](at(h, t, l)) + down * inverses[l](below(h, t, l))
        return t
    return targets


def without_difference(h, last, inverses):
    """Return t_{l−1} = f̂_l(t_l)."""
    return targets_with(base=0.0, down=0.0)(h, last, inverses)


def with_indices(base=-1, g=0, value=0, way=lambda difference: difference):
    """Return an answer to 15.4 in which h_{l−1}, f̂_l and h_l have another index: l plus the given ones."""
    def targets(h, last, inverses):
        t = [None] * (len(h) - 1) + [last]
        for l in range(len(h) - 1, 1, -1):
            t[l - 1] = h[l + base] + way(inverses[l + g](t[l]) - inverses[l + g](h[l + value]))
        return t
    return targets


WRONG_INDICES = {
    "the target t_{l−1} is made from t_l; here every target is made from the last one":
        lambda h, last, inverses: targets_with(at=lambda h, t, l: last)(h, last, inverses),
    "the target t_{l−1} starts from h_{l−1}; here it starts from h_l": with_indices(base=0),
    "the inverse that leads from l to l − 1 is f̂_l; here f̂_{l−1} is taken": with_indices(g=-1),
    "the inverse that leads from l to l − 1 is f̂_l; here f̂_{l+1} is taken": with_indices(g=1),
    "the inverse f̂_l is taken at t_l and at h_l; here the second is at h_{l−1}": with_indices(value=-1),
    "the inverse f̂_l is taken at t_l and at h_l; here the second is at the last target": lambda h, last, inverses:
        targets_with(below=lambda h, t, l: last)(h, last, inverses),
    "each sample has its own difference; this is their mean": with_indices(way=lambda d: d.mean(axis=0)),
    "no inverse is passed: f̂_l(t_l) − f̂_l(h_l) is missing its f̂_l": lambda h, last, inverses: functools.reduce(
        lambda t, l: [None] * (l - 1) + [h[l - 1] + t[l] - h[l], *t[l:]], range(len(h) - 1, 1, -1),
        [None] * (len(h) - 1) + [last]),
    "the last target goes down as it is; the difference of (15.9) is wanted": lambda h, last, inverses: [
        None] + [last] * (len(h) - 1),
    "the inverse that leads from l to l − 1 is f̂_l; here f̂_{l−1} is taken, and f̂_2 again at the end":
        lambda h, last, inverses: with_indices()(h, last, {l: inverses[max(2, l - 1)] for l in range(2, len(h))}),
}


WRONG_TARGETS = {
    "the difference is missing: what f̂_l is wrong by at h_l becomes a target": without_difference,
    "f̂_l(h_l) is missing: without a wish above there is one below": targets_with(down=0.0),
    "f̂_l(t_l) is missing: no wish comes down": targets_with(up=0.0),
    "h_{l−1} is missing: this is the change of the target alone": targets_with(base=0.0),
    "the sign: t_{l−1} moves with f̂_l(t_l)": targets_with(up=-1.0, down=1.0),
    "the two inverses are subtracted, not added": targets_with(down=1.0),
    "f̂_l is not linear: f̂_l(t_l) − f̂_l(h_l) is not f̂_l(t_l − h_l)":
        targets_with(at=lambda h, t, l: t[l] - h[l], down=0.0),
    "t_1 must come from t_2, not from h_2; or has h_2 been written over with t_2?": targets_with(
        at=lambda h, t, l: t[l] if l == len(h) - 1 else h[l]),
    "the last target is given; this adds it to h_D": targets_with(start=lambda h, last: h[-1] + last),
    "the last target is given; this starts from h_D": targets_with(start=lambda h, last: h[-1]),
    "this starts from −t_D": targets_with(start=lambda h, last: -last),
    "this starts from the change of the last value; its target is given": targets_with(
        start=lambda h, last: last - h[-1]),
    "t_1 is missing: the loop must come down to l = 2": targets_with(lowest=3),
    "this is a tenth of the difference; it counts whole": targets_with(up=0.1, down=-0.1),
    "this is a mean; the three terms of (15.9) count whole": targets_with(base=0.5, up=0.5, down=0.0),
    "this is half of the difference; it counts whole": targets_with(up=0.5, down=-0.5),
    "slot 0 holds None: [None, t_1, …, t_D] is asked for": lambda *question: targets_with()(*question)[1:],
    "the sign of h_{l−1}, and of what f̂_l makes of h_l: t = h + f̂(t) − f̂(h)": targets_with(base=-1.0, down=1.0),
    "what f̂_l is wrong by is f̂_l(h_l) − h_{l−1}; here it is taken at t_l": targets_with(base=-1.0, up=2.0, down=0.0),
    "slot 0 holds None, and then t_1: the list is in the order in which it was made": lambda *question: [
        None, *targets_with()(*question)[:0:-1]],
    "the list is upside down: t_D comes last": lambda *question: targets_with()(*question)[::-1],
    "inverses[l] is all of f̂_l, its tanh too: none is wanted on it": lambda h, last, inverses: targets_with()(
        h, last, {l: lambda x, g=inverses[l]: np.tanh(g(x)) for l in range(2, len(h))}),
    "these are the changes; the targets are wanted": lambda h, last, inverses: [
        None, *(t - value for t, value in zip(targets_with()(h, last, inverses)[1:], h[1:]))],
}


def targets(answer, seed):
    """Exercise 15.4: difference targets by inverse maps."""
    rng = np.random.default_rng(seed)
    h = [rng.normal(size=(5, n)) for n in (4, 3, 3, 2)]
    psi = {l: (rng.normal(size=(h[l].shape[1], h[l - 1].shape[1])), rng.normal(size=h[l - 1].shape[1]))
           for l in (2, 3)}

    def inverse(l):
        def g(x):
            if x is None:
                raise ValueError(f"inverses[{l}]: an array is expected, got None: make the targets from the top down, "
                                 "t_l in slot l")
            if np.shape(x)[1:] != psi[l][0].shape[:1]:
                raise ValueError(f"inverses[{l}]: a value of layer {l} is expected, {len(psi[l][0])} columns, got the "
                                 f"shape {np.shape(x)}: is it one of another layer?")
            return Tanh().forward(x @ psi[l][0] + psi[l][1])
        return g

    inverses = {l: inverse(l) for l in psi}
    last = h[3] + 0.5 * rng.normal(size=h[3].shape)
    square = [rng.normal(size=(5, 3)) for _ in range(6)]  # where slips of an index do not raise
    maps = {l: functools.partial(lambda M, x: np.tanh(x @ M), rng.normal(size=(3, 3))) for l in range(1, 7)}

    class Beyond(dict):  # its keys are 2 … D, as in the notebook; where an index slips there is a map, too
        def __missing__(self, l):
            return maps[l]

    shorter, longer = ((square[:D + 1], square[D] + 1, Beyond({l: maps[l] for l in range(2, D + 1)})) for D in (3, 5))

    def library(h, last, inverses):
        t = [None] * (len(h) - 1) + [last]
        for l in range(len(h) - 1, 1, -1):
            t[l - 1] = h[l - 1] + inverses[l](t[l]) - inverses[l](h[l])
        return t

    def claims(targets):
        found, expected = targets(list(h), last, inverses), library(h, last, inverses)
        if len(found) != 4:
            raise ValueError(f"a list of 4 is expected, None in slot 0, got {len(found)}")
        yield claim("t_3 is the last target", found[3], last)
        yield claim("t_2", found[2], expected[2], look="look at (15.9) with l = 3")
        yield claim("t_1", found[1], expected[1], look="t_2 is right: is t_1 made of it?")
        yield claim("no wish above, none below", targets(list(h), h[3], inverses)[1], h[1])
        yield claim("t_1 of five maps", targets(list(square), *longer[1:])[1], library(*longer)[1])

    def mistakes(targets):
        yield right_at_one_depth(targets, [shorter, longer], library)
        yield from slips(targets, [(list(shorter[0]), *shorter[1:])], WRONG_INDICES)
        yield from slips(targets, [(list(h), last, inverses)], WRONG_TARGETS)
        found, expected = targets(list(h), last, inverses), library(h, last, inverses)
        yield len(found) != 4, f"a list of 4 is asked for, [None, t_1, t_2, t_3]; yours has {len(found)} parts"
        yield not same(found[3], last), "t_D is the last target as it is given; yours is not"
        yield found[2] is None, "t_{D−1} is missing: the loop must begin at l = D"
        yield (same(found[1:3], h[1:3]),
               "no wish comes down: the targets below are the values themselves (is the list h written over?)")
        for l, name in ((2, "t_2"), (1, "t_1")):
            factor = times(found[l] - h[l], expected[l] - h[l])
            yield (factor == factor and not same(factor, 1.0),
                   f"{name} lies {factor:.3g} times as far from h_{l} as it should")
        yield (not same(targets(list(h), h[3], inverses)[2], h[2]),
               "where the last target is h_D, t_{D−1} must be h_{D−1}; yours is not: do f̂_l(t_l) and f̂_l(h_l) cancel?")
        below = targets([h[0], h[1], h[2] + 1.0, h[3]], last, inverses)[2]
        yield (not same(below, found[2] + 1.0),
               "h_2 moved by 1 must move t_2 by 1: how often does h_{l−1} stand in it?")

    return check("15.4", answer, claims, mistakes, fallback=library)


close_to_answers(globals())
