r"""Checks of notebook 15: the gradient in a value, steps of all values at once, a rate too large, targets."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import DIFFERENCES, Claim, check, claim, close_to_answers, same
from minilift.layers.activations import Tanh


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
        yield claim("the slope along a random tangent", np.sum(found * tangent), difference, DIFFERENCES)
        yield claim("without an error above: e", gradient(e, 0 * e_above, slope, W), e)

    def mistakes(gradient):
        found = gradient(e, e_above, slope, W)
        down = (e_above * slope) @ W.T
        yield same(found, e + down), "the sign: the layer above pulls against the error, −(…)Wᵀ"
        yield same(found, e - e_above @ W.T), "σ' is missing on the way down"
        yield same(found, -down), "the layer's own error e is missing"

    def library(e, e_above, slope_above, W_above):
        return e - (e_above * slope_above) @ W_above.T

    return check("15.1", answer, claims, mistakes, fallback=library)


def relax(answer, seed):
    """Exercise 15.2: gradient steps in all hidden values at once."""
    rng = np.random.default_rng(seed)
    a, M = [rng.normal(size=(5, 3)) for _ in range(4)], rng.normal(size=(3, 3)) / 2

    def gradient(l, a):
        below = a[l] - a[l - 1] @ M
        return below if l == len(a) - 1 else below - (a[l + 1] - a[l] @ M) @ M.T

    def moved(order, rate, steps, sign=1):
        """Return the values after steps whose updates see those before them in `order`; None for all at once."""
        values = list(a)
        for _ in range(steps):
            old = values if order else list(values)
            for l in order or (1, 2, 3):
                values[l] = values[l] - sign * rate * gradient(l, old)
        return values

    def claims(relax):
        once, often = relax(list(a), gradient, 0.1, 1), relax(list(a), gradient, 0.1, 7)
        yield claim("the input stays", often[0], a[0])
        for l in (1, 2, 3):
            yield claim(f"a_{l} after one step", once[l], moved(None, 0.1, 1)[l])
        yield claim("a_2 after seven", often[2], moved(None, 0.1, 7)[2])
        yield claim("no step, no change", relax(list(a), gradient, 0.1, 0)[3], a[3])

    def mistakes(relax):
        found = relax(list(a), gradient, 0.1, 1)
        yield same(found[2], moved((1, 2, 3), 0.1, 1)[2]), "a_2 sees the new a_1: all must start from the old values"
        yield same(found[2], moved((3, 2, 1), 0.1, 1)[2]), "a_2 sees the new a_3: then an error rushes down in one step"
        yield same(found[1], moved(None, 0.1, 1, sign=-1)[1]), "the sign: this climbs"
        yield same(found[1], a[1]), "the first hidden value does not move"

    def library(a, gradient, rate, steps):
        for _ in range(steps):
            a = [a[0], *(a[l] - rate * gradient(l, a) for l in range(1, len(a)))]
        return a

    return check("15.2", answer, claims, mistakes, fallback=library)


def rate_too_large(answer, energies, seed):
    """Exercise 15.3: a rate of at most 1 with which inference raises the energy."""
    def claims(rate):
        rate = float(rate)
        after = energies(rate, 60)
        yield Claim("the rate is positive", max(0.0, 1e-6 - rate), 0)
        yield Claim("and at most 1", max(0.0, rate - 1), 0)
        short = 0.0 if not np.isfinite(after[-1]) else max(0.0, 10 * after[0] - after[-1])
        yield Claim("after 60 steps F is ten times what it was (shortfall)", short, 0)

    def mistakes(rate):
        rate = float(rate)
        yield rate > 1, "the rate is above 1: it must grow at a rate that looks harmless"
        after = energies(rate, 60)
        yield after[-1] <= after[0], "F has fallen: this rate is small enough"
        yield after[-1] < 10 * after[0], "F does not settle, but it has not grown tenfold either"

    return check("15.3", answer, claims, mistakes, fallback=1.0)


def targets(answer, seed):
    """Exercise 15.4: difference targets by inverse maps."""
    rng = np.random.default_rng(seed)
    h = [rng.normal(size=(5, n)) for n in (4, 3, 3, 2)]
    psi = {l: (rng.normal(size=(h[l].shape[1], h[l - 1].shape[1])), rng.normal(size=h[l - 1].shape[1]))
           for l in (2, 3)}
    inverses = {l: (lambda x, l=l: Tanh().forward(x @ psi[l][0] + psi[l][1])) for l in psi}
    last = h[3] + 0.5 * rng.normal(size=h[3].shape)

    def library(h, last, inverses):
        t = [None] * (len(h) - 1) + [last]
        for l in range(len(h) - 1, 1, -1):
            t[l - 1] = h[l - 1] + inverses[l](t[l]) - inverses[l](h[l])
        return t

    def claims(targets):
        found, expected = targets(list(h), last, inverses), library(h, last, inverses)
        yield claim("t_3 is the last target", found[3], last)
        yield claim("t_2", found[2], expected[2])
        yield claim("t_1", found[1], expected[1])
        yield claim("no wish above, none below", targets(list(h), h[3], inverses)[1], h[1])

    def mistakes(targets):
        found = targets(list(h), last, inverses)
        plain = inverses[3](last)
        difference = plain - inverses[3](h[3])
        yield same(found[2], plain), "the difference is missing: what g_l is wrong by at h_l becomes a target"
        yield same(found[2], h[2] - difference), "the sign: t_{l−1} moves with g_l(t_l)"
        yield same(found[1], h[1] + inverses[2](h[2]) - inverses[2](h[2])), "t_1 must come from t_2, not from h_2"

    return check("15.4", answer, claims, mistakes, fallback=library)


close_to_answers(globals())
