r"""Checks of notebook 07: effective steps, windows of usable step sizes, and how a comparison is rigged."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import Claim, check, claim, close_to_answers, same, slips


def stacked(arrays):
    """Return arrays as one vector."""
    return np.concatenate([np.ravel(array) for array in arrays])


def library_effective_step(tau, d, g):
    """Return τ‖d‖/‖g‖ over all parameters."""
    return float(tau * np.linalg.norm(stacked(d)) / np.linalg.norm(stacked(g)))


def length(parts):
    """Return the length of all parts as one vector."""
    return float(np.linalg.norm(stacked(parts)))


def ratios(d, g):
    """Return the ratio of the lengths, layer by layer."""
    return np.array([np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(d, g)])


WRONG_EFFECTIVE_STEPS = {
    "τ is missing: the ratio of the lengths says how far one goes for τ = 1": lambda tau, d, g: length(d) / length(g),
    "squared lengths: take the root of the sum of squares": lambda tau, d, g: tau * (length(d) / length(g)) ** 2,
    "upside down: the gradient is the unit, so its length divides": lambda tau, d, g: tau * length(g) / length(d),
    "a mean over the layers' ratios; one length over all parameters together is wanted":
        lambda tau, d, g: tau * ratios(d, g).mean(),
    "a sum over the layers' ratios; one length over all parameters together is wanted":
        lambda tau, d, g: tau * ratios(d, g).sum(),
    "lengths of layers do not add: sum their squares, then take the root":
        lambda tau, d, g: tau * sum(map(np.linalg.norm, d)) / sum(map(np.linalg.norm, g)),
    "the first layer only": lambda tau, d, g: tau * ratios(d, g)[0],
    "the last layer only": lambda tau, d, g: tau * ratios(d, g)[-1],
    "the largest of the layers' ratios; one length over all parameters is wanted":
        lambda tau, d, g: tau * ratios(d, g).max(),
    "this is the length of the step; divide by that of the gradient": lambda tau, d, g: tau * length(d),
    "τ divides: it multiplies the direction": lambda tau, d, g: length(d) / length(g) / tau,
    "these are sums of absolute values, not lengths":
        lambda tau, d, g: tau * abs(stacked(d)).sum() / abs(stacked(g)).sum(),
    "these are largest entries, not lengths": lambda tau, d, g: tau * abs(stacked(d)).max() / abs(stacked(g)).max(),
    "this is the projection on the gradient; the whole length of d is wanted":
        lambda tau, d, g: tau * stacked(d) @ stacked(g) / length(g) ** 2,
}


def effective_step(answer, seed):
    """Exercise 7.1: the length of a step in units of the gradient's, over all parameters at once."""
    rng = np.random.default_rng(seed)
    g, d = ([rng.normal(size=(3, 4)), 5 * rng.normal(size=(5, 2))] for _ in range(2))
    tau = 0.3

    def claims(step):
        yield claim("for d = ∇J it is τ itself", step(tau, g, g), tau, look="is τ in it, and the ratio 1?")
        eightfold = [8 * part for part in d]
        yield claim("(τ/8, 8 d) is the same step as (τ, d)", step(tau / 8, eightfold, g), step(tau, d, g))
        yield claim("s ‖∇J‖ is the distance that is walked", step(tau, d, g) * np.linalg.norm(stacked(g)),
                    np.linalg.norm(tau * stacked(d)))

    def mistakes(step):
        yield from slips(step, [(tau, d, g)], WRONG_EFFECTIVE_STEPS)

    return check("7.1", answer, claims, mistakes, fallback=library_effective_step)


def library_window(taus, losses, level):
    """Return (low, high, decades) of the longest run of step sizes at which every seed reaches the level."""
    good = (np.asarray(losses) <= level).all(axis=0)  # NaN and inf are not
    best, start = (0, -1), None
    for k, usable in enumerate([*good, False]):
        if usable and start is None:
            start = k
        if not usable and start is not None:
            best, start = max(best, (start, k - 1), key=lambda run: run[1] - run[0]), None
    if best[1] < best[0]:
        return np.nan, np.nan, 0.0
    low, high = float(taus[best[0]]), float(taus[best[1]])
    return low, high, float(np.log10(high / low))


def drawn_losses(seed):
    """Return step sizes (12,) and losses (3, 12): usable at 4 … 9, one lucky point at 1, one seed NaN at 10."""
    rng = np.random.default_rng(seed)
    losses = rng.uniform(1.5, 2.3, size=(3, 12))
    losses[:, 4:10] = rng.uniform(0.1, 0.9, size=(3, 6))
    losses[:, 1] = 0.5
    losses[:2, 10], losses[2, 10] = 0.5, np.nan
    losses[:2, 3], losses[2, 3] = 0.5, 2.0
    losses[:, 11] = np.inf
    return np.logspace(-3, 1, 12) * rng.uniform(0.5, 2), losses


def window(answer, seed):
    """Exercise 7.2: the longest run of consecutive step sizes at which every seed ends at or below the level."""
    taus, losses = drawn_losses(seed)

    def claims(find):
        low, high, decades = find(taus, losses, 1.0)
        first, last = (int(abs(np.log(taus / edge)).argmin()) for edge in (low, high))
        yield claim("its edges are step sizes of the grid", np.array([low, high]), taus[[first, last]])
        fails = ~(losses <= 1.0).all(axis=0)
        yield Claim("step sizes inside at which some seed fails", float(fails[first:last + 1].sum()), 0,
                    "all seeds, at every step size of the run; NaN fails")
        longer = [(i, j) for i in range(12) for j in range(i + last - first + 1, 12) if not fails[i:j + 1].any()]
        yield Claim("longer runs without a failure", float(len(longer)), 0)
        yield claim("decades = log10(high / low)", decades, np.log10(high / low))

    def mistakes(find):
        low, high, decades = find(taus, losses, 1.0)
        yield same([low, high], [4, 9]), "these are indices; the step sizes are wanted"
        yield same([low, high], taus[[9, 4]]), "low comes first"
        yield same([low, high], taus[[4, 8]]), "the upper edge is one too low: the last usable one belongs to it"
        yield same([low, high], taus[[3, 9]]), "the lower edge is one too low: some seed fails there"
        yield same([low, high], taus[[5, 9]]), "the lower edge is one too high"
        yield same([low, high], taus[[1, 1]]), "the first run; the longest is wanted"
        yield same([low, high], taus[[1, 10]]), "one lucky seed is enough here: all seeds must reach the level"
        yield same(decades, np.log10(taus[9] - taus[4])), \
            "decades are the logarithm of the quotient, not of the difference"
        yield same(decades, -np.log10(taus[9] / taus[4])), "the quotient is upside down: high over low"
        yield same(decades, taus[9] / taus[4]), "this is the quotient; decades are its logarithm"
        yield same(decades, taus[9] - taus[4]), "this is the difference; decades are the logarithm of the quotient"
        yield same([low, high], taus[[1, 9]]), \
            "from the first to the last success, across step sizes that fail in between"
        yield same([low, high], taus[[3, 10]]), "the median seed: it hides the seed that failed at the edges"
        yield same([low, high], taus[[4, 10]]), \
            "NaN was left out of the maximum; a run that diverged did not reach the level"
        yield same(decades, np.log(taus[9] / taus[4])), "the natural logarithm: decades are powers of ten"
        yield same(decades, 5) or same(decades, 6), "a number of step sizes: it depends on how fine the grid is"

    return check("7.2", answer, claims, mistakes, fallback=library_window)


def quadratic_with(root=lambda eps, K: eps ** (1 / K), low=lambda r, mu, L: (1 - r) / mu,
                   high=lambda r, mu, L: (1 + r) / L):
    """Return the two edges with a slip in one of them, or in the root."""
    def edges(mu, L, K, eps):
        r = root(eps, K)
        return low(r, mu, L), high(r, mu, L)
    return edges


WRONG_EDGES = {
    "2/L is where steps stop growing; here they must also shrink the component to ε":
        quadratic_with(high=lambda r, mu, L: 2 / L),
    "1/L kills the steep component at once; the window goes on to where it is ε again":
        quadratic_with(high=lambda r, mu, L: 1 / L),
    "ε must be reached in K steps: take the K-th root": quadratic_with(lambda eps, K: eps),
    "the K-th root, not the K-th power": quadratic_with(lambda eps, K: eps**K),
    "the K-th root of ε, not ε/K": quadratic_with(lambda eps, K: eps / K),
    "the edges are swapped: the flat direction (μ) sets the lower one, the steep one (L) the upper":
        quadratic_with(low=lambda r, mu, L: (1 - r) / L, high=lambda r, mu, L: (1 + r) / mu),
    "L sets the upper edge; here μ sets both": quadratic_with(high=lambda r, mu, L: (1 + r) / mu),
    "μ sets the lower edge; here L sets both": quadratic_with(low=lambda r, mu, L: (1 - r) / L),
    "the signs: 1 − r belongs to the lower edge, 1 + r to the upper":
        quadratic_with(low=lambda r, mu, L: (1 + r) / mu, high=lambda r, mu, L: (1 - r) / L),
    "at the upper edge the factor is −r: (1 + r)/L": quadratic_with(high=lambda r, mu, L: (1 - r) / L),
    "at the lower edge the factor is +r: (1 − r)/μ": quadratic_with(low=lambda r, mu, L: (1 + r) / mu),
    "low comes first": lambda *problem: quadratic_with()(*problem)[::-1],
    "r itself is no edge: solve |1 − τλ| = r for τ":
        quadratic_with(low=lambda r, mu, L: r / mu, high=lambda r, mu, L: r / L),
}


def quadratic_window(answer, seed):
    """Exercise 7.3: the step sizes at which K explicit steps shrink every component by ε."""
    rng = np.random.default_rng(seed)
    mu, L, K, eps = rng.uniform(0.5, 1), rng.uniform(3, 6), 40, 1e-3

    def left(tau, eigenvalue):
        return np.abs(1 - tau * eigenvalue) ** K

    def claims(find):
        low, high = find(mu, L, K, eps)
        yield claim("at the lower edge the flat component has shrunk to ε", left(low, mu), eps, 1e-9,
                    look="solve (1 − τμ)^K = ε")
        yield claim("at the upper edge the steep one has shrunk to ε", left(high, L), eps, 1e-9,
                    look="the lower edge is right: beyond 1/L the factor 1 − τL is negative")
        inside = left(np.linspace(low, high, 50)[:, None], np.linspace(mu, L, 30))
        yield Claim("inside, what is left exceeds ε by", max(0.0, float(inside.max()) - eps), 1e-9)

    def mistakes(find):
        yield from slips(find, [(mu, L, K, eps)], WRONG_EDGES)

    def fallback(mu, L, K, eps):
        r = eps ** (1 / K)
        return (1 - r) / mu, (1 + r) / L

    return check("7.3", answer, claims, mistakes, fallback=fallback)


def rigged(answer, taus, runs, level):
    """Exercise 7.4: a factor c on the gradient that makes its window end beyond ProxProp's on the same grid."""
    high = {name: library_window(taus, runs[name], level)[1] for name in ("BackProp", "ProxProp exact")}

    def claims(c):
        c = float(c)
        yield Claim("c is positive", max(0.0, 1e-12 - c), 0)
        edge = high["BackProp"] / c
        yield Claim("ProxProp's upper edge over that of c ∇J", high["ProxProp exact"] / edge, 0.999)
        yield Claim("that edge over the largest step size of the grid", edge / taus[-1], 1.001)

    def mistakes(c):
        yield float(c) == 0, "c = 0 leaves no gradient at all"
        yield float(c) < 0, "a negative factor goes uphill"
        yield float(c) == 1, "c = 1 changes nothing"
        edge = high["BackProp"] / float(c)
        yield same(float(c), high["ProxProp exact"] / high["BackProp"]), \
            "upside down: a longer direction needs a smaller τ"
        yield same(float(c), high["BackProp"] / high["ProxProp exact"]), \
            "its window ends where ProxProp's does: go beyond it"
        yield float(c) > 1, "a longer direction needs a smaller τ: the window moves to the left"
        yield edge > taus[-1], "so small that the window leaves the grid: nobody would see it"
        yield edge <= high["ProxProp exact"], "the right way, but not far enough"

    return check("7.4", answer, claims, mistakes,
                 fallback=float(high["BackProp"] / np.sqrt(taus[-1] * high["ProxProp exact"])))


close_to_answers(globals())
