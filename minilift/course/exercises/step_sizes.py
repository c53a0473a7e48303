r"""Checks of notebook 07: effective steps, windows of usable step sizes, and how a comparison is rigged."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import Claim, NoResultError, beyond, check, claim, close_to_answers, same, slips


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
    "this is the projection on d; the whole length of d is wanted":
        lambda tau, d, g: tau * stacked(d) @ stacked(g) / length(d) / length(g),
    "the lengths of d are missing: τ alone is no distance": lambda tau, d, g: tau,
    "τ² where τ belongs": lambda tau, d, g: tau**2 * length(d) / length(g),
    "the first layer of d only": lambda tau, d, g: tau * length(d[:1]) / length(g),
    "the last layer is left out": lambda tau, d, g: tau * length(d[:-1]) / length(g[:-1]),
    "the first layer is left out": lambda tau, d, g: tau * length(d[1:]) / length(g[1:]),
    "a geometric mean of the layers' ratios; one length over all parameters together is wanted":
        lambda tau, d, g: tau * np.exp(np.log(ratios(d, g)).mean()),
    "the root of summed lengths: sum their squares, then take the root":
        lambda tau, d, g: tau * np.sqrt(sum(map(np.linalg.norm, d)) / sum(map(np.linalg.norm, g))),
    "entries are summed with their signs: sum their squares, then take the root":
        lambda tau, d, g: tau * abs(stacked(d).sum() / stacked(g).sum()),
    "the last layer of d is left out": lambda tau, d, g: tau * length(d[:-1]) / length(g),
    "lengths of d's layers do not add: sum their squares, then take the root":
        lambda tau, d, g: tau * sum(map(np.linalg.norm, d)) / length(g),
    "the root of the sum of squares is missing for d": lambda tau, d, g: tau * length(d) ** 2 / length(g),
    "the root of the sum of squares is missing for g": lambda tau, d, g: tau * length(d) / length(g) ** 2,
    "lengths, not root mean squares: d is divided by its number of entries": lambda tau, d, g:
        tau * length(d) / np.sqrt(sum(np.size(part) for part in d)) / length(g),
    "squares of d's layers are summed, not averaged": lambda tau, d, g:
        tau * np.sqrt(sum((part**2).mean() for part in d)) / length(g),
    "squares are summed, not averaged layer by layer": lambda tau, d, g: tau * np.sqrt(
        sum((part**2).mean() for part in d) / sum((part**2).mean() for part in g)),
    "the length of the ratios of the layers; one length over all parameters together is wanted":
        lambda tau, d, g: tau * np.linalg.norm(ratios(d, g)),
    "np.linalg.norm(·, 2) of a matrix is its largest singular value, not its length": lambda tau, d, g:
        tau * sum(np.linalg.norm(part, 2) for part in d) / sum(np.linalg.norm(part, 2) for part in g),
    "np.linalg.norm(·, 2) of a matrix is its largest singular value, not its length (the squares are rightly summed)":
        lambda tau, d, g: tau * np.sqrt(sum(np.linalg.norm(part, 2) ** 2 for part in d)
                                        / sum(np.linalg.norm(part, 2) ** 2 for part in g)),
    "the product of the layers' lengths, or ratios; one length over all parameters together is wanted":
        lambda tau, d, g: tau * ratios(d, g).prod(),
    "this is the length of d − ∇J's squares; divide the lengths": lambda tau, d, g:
        tau * np.sqrt(abs(length(d) ** 2 - length(g) ** 2)),
    "this is the projection on the gradient; the whole length of d is wanted":
        lambda tau, d, g: tau * stacked(d) @ stacked(g) / length(g) ** 2,
    "τ stands outside the root": lambda tau, d, g: np.sqrt(tau) * length(d) / length(g),
    "this is the length of d − ∇J; that of d is asked for": lambda tau, d, g:
        tau * length([stacked(d) - stacked(g)]) / length(g),
    "the last row of each array, the biases, is left out": lambda tau, d, g:
        tau * length([part[:-1] for part in d]) / length([part[:-1] for part in g]),
    "d over all parameters, but ∇J of the last layer only": lambda tau, d, g: tau * length(d) / length(g[-1:]),
    "d over all parameters, but ∇J of the first layer only": lambda tau, d, g: tau * length(d) / length(g[:1]),
    "‖∇J‖² divides, and nothing is added to it: no 1 below": lambda tau, d, g: tau * length(d) / (1 + length(g) ** 2),
    "nothing is added below: ‖∇J‖ alone divides": lambda tau, d, g: tau * length(d) / (1 + length(g)),
    "np.linalg.norm(·, 'nuc') is a sum of singular values, not a length": lambda tau, d, g:
        tau * sum(np.linalg.norm(part, "nuc") for part in d) / sum(np.linalg.norm(part, "nuc") for part in g),
    "the smallest of the layers' ratios; one length over all parameters is wanted":
        lambda tau, d, g: tau * ratios(d, g).min(),
}


def effective_step(answer, seed):
    """Exercise 7.1: the length of a step in units of the gradient's, over all parameters at once."""
    rng = np.random.default_rng(seed)
    g, d = ([rng.normal(size=(3, 4)), 5 * rng.normal(size=(5, 2)), 2 * rng.normal(size=(3, 3))] for _ in range(2))
    tau, cut = 0.3, [[row[None] for part in parts for row in part] for parts in (d, g)]

    def claims(step):
        yield claim("for d = ∇J it is τ itself", step(tau, g, g), tau, look="is τ in it, and the ratio 1?")
        eightfold = [8 * part for part in d]
        yield claim("(τ/8, 8 d) is the same step as (τ, d)", step(tau / 8, eightfold, g), step(tau, d, g))
        yield claim("s ‖∇J‖ is the distance that is walked", step(tau, d, g) * np.linalg.norm(stacked(g)),
                    np.linalg.norm(tau * stacked(d)))
        yield claim("cut into more arrays it is the same step", step(tau, *cut), step(tau, d, g))

    def mistakes(step):
        largest = [9 * d[0], *d[1:]]  # elsewhere than in g
        yield from slips(step, [(tau, d, g), (tau, d[::-1], g[::-1]), (tau, largest, g)], WRONG_EFFECTIVE_STEPS)
        s = step(tau, d, g)
        yield np.ndim(s) > 0, "one number for all parameters is asked for, not one for each layer"
        yield not same(step(2 * tau, d, g), 2 * s), "a doubled τ must double s: how does τ come in?"
        yield not same(step(tau, [-part for part in d], g), s), "−d is as long as d, yet s differs: are squares summed?"
        yield not same(step(tau, *cut), s), \
            "cut into more arrays, the same numbers give another s: treat the list as one long vector"
        yield not same(step(tau, [part[::-1] for part in d], g), s), \
            "d with its rows in another order is as long, yet s differs: d and ∇J meet as lengths alone"
        yield not same(step(tau, [3 * part for part in d], g), 3 * s), "a d three times as long must give 3 s: a root?"

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
    """Return step sizes (15,) and losses (3, 15) of which 4 … 9 are usable, as are 1 and 13, alone.

    Two seeds of three are low at 2 and 3, one at 0 and 12; one diverged at 10, another at 11, where the others are
    low. So the best, the first, the median seed, the mean and those that leave NaN out find other runs, each its own.
    """
    rng = np.random.default_rng(seed)
    losses = rng.uniform(1.5, 2.3, size=(3, 15))
    losses[:, 4:10] = rng.uniform(0.1, 0.9, size=(3, 6))
    losses[:, [1, 2, 3, 10, 11, 13]] = 0.05  # lower than all of the longest run
    losses[0, 2] = losses[2, 3] = 1.2  # the mean, and one standard deviation above it, are below 1
    losses[1, 10] = losses[0, 11] = np.nan
    losses[1, 0] = losses[2, 12] = 0.5
    losses[:, 14] = np.inf
    return np.logspace(-3, 1, 15) * rng.uniform(0.5, 2) * rng.uniform(0.85, 1.15, size=15), losses  # not even


def window_with(usable=lambda losses, level: (losses <= level).all(axis=0), run="longest", edges=(0, 0), swapped=False,
                decades=lambda low, high, count: np.log10(high / low), index=False):
    """Return a window with a slip in it: what counts as usable, which run, its edges, the decades."""
    def find(taus, losses, level):
        good = np.flatnonzero(usable(np.asarray(losses), level))
        if not len(good):
            return np.nan, np.nan, 0.0
        runs = [good] if run == "all" else np.split(good, np.flatnonzero(np.diff(good) > 1) + 1)
        chosen = {"first": runs[0], "last": runs[-1]}.get(run, max(runs, key=len))
        ends = chosen[0] + edges[0], min(chosen[-1] + edges[1], len(taus) - 1)
        low, high = (taus[k] for k in ends)
        width = decades(low, high, len(chosen))
        return (*((ends if index else (low, high))[::-1 if swapped else 1]), width)
    return find


def reduced_over_step_sizes(taus, losses, level):
    """Return the longest run by the model answer, but for its axis."""
    good = (np.asarray(losses) <= level).all(axis=1)
    runs = [(i, j) for i in range(len(taus)) for j in range(i, len(taus)) if good[i:j + 1].all()]
    i, j = max(runs, key=lambda run: run[1] - run[0])
    return taus[i], taus[j], np.log10(taus[j] / taus[i])


WRONG_WINDOWS = {
    "the step sizes are columns: reduce over the seeds (axis=0), one truth value for each step size":
        reduced_over_step_sizes,
    "these are indices; the step sizes are wanted": window_with(index=True),
    "these are indices, and the decades theirs; the step sizes are wanted":
        lambda taus, losses, level: window_with()(np.arange(len(taus)) + 0.0, losses, level),
    "low comes first": window_with(swapped=True),
    "the upper edge is one too low: the last usable one belongs to it": window_with(edges=(0, -1)),
    "the upper edge is one too high: some seed fails there": window_with(edges=(0, 1)),
    "the upper edge is one too high, the decades are not: some seed fails there": lambda taus, losses, level: (
        window_with()(taus, losses, level)[0], *window_with(edges=(0, 1))(taus, losses, level)[1:2],
        window_with()(taus, losses, level)[2]),
    "the lower edge is one too low: some seed fails there": window_with(edges=(-1, 0)),
    "the lower edge is one too high": window_with(edges=(1, 0)),
    "the first run, or that of the lowest loss; the longest is wanted": window_with(run="first"),
    "the last run, or that of the lowest loss; the longest is wanted": window_with(run="last"),
    "from the first to the last success, across step sizes that fail in between": window_with(run="all"),
    "one lucky seed is enough here: all seeds must reach the level":
        window_with(lambda losses, level: (losses <= level).any(axis=0)),
    "the best seed is looked at: all seeds must reach the level":
        window_with(lambda losses, level: np.min(losses, axis=0) <= level),
    "the mean or the median over the seeds hides the one that failed":
        window_with(lambda losses, level: np.mean(losses, axis=0) <= level),
    "the median seed, or the mean, of those that are left: it hides the one that diverged":
        window_with(lambda losses, level: np.nanmedian(losses, axis=0) <= level),
    "this is the run of the first seed alone; every seed must reach the level at each of its step sizes":
        window_with(lambda losses, level: losses[0] <= level),
    "this is the run of the last seed alone; every seed must reach the level at each of its step sizes":
        window_with(lambda losses, level: losses[-1] <= level),
    "NaN was left out of the maximum; a run that diverged did not reach the level":
        window_with(lambda losses, level: np.nanmax(losses, axis=0) <= level),
    "upside down: usable is what ends at or below the level":
        window_with(lambda losses, level: (losses >= level).all(axis=0)),
    "decades are the logarithm of the quotient, not of the difference":
        window_with(decades=lambda low, high, count: np.log10(high - low)),
    "the quotient is upside down: high over low": window_with(decades=lambda low, high, count: np.log10(low / high)),
    "this is the quotient; decades are its logarithm": window_with(decades=lambda low, high, count: high / low),
    "this is the difference; decades are the logarithm of the quotient":
        window_with(decades=lambda low, high, count: high - low),
    "the natural logarithm: decades are powers of ten":
        window_with(decades=lambda low, high, count: np.log(high / low)),
    "logarithms are subtracted, not divided": window_with(
        decades=lambda low, high, count: np.log10(high) / np.log10(low)),
    "a number of step sizes: it depends on how fine the grid is": window_with(decades=lambda low, high, count: count),
    "the logarithm of a number of step sizes; decades are that of high / low":
        window_with(decades=lambda low, high, count: np.log10(count)),
    "a number of step sizes less one: it depends on how fine the grid is":
        window_with(decades=lambda low, high, count: count - 1),
    "a third of a decade a step is this notebook's grid; take the logarithm of the quotient":
        window_with(decades=lambda low, high, count: (count - 1) / 3),
}


def near_misses():
    """Return step sizes (9,), spread unevenly, and losses (3, 9): for a level of 1, 2 … 4 are the longest run.

    At 1 a seed is at 1.000001; 6 and 7 are usable, farther apart than the run is long, and 5 between fails.
    """
    losses = np.full((3, 9), 2.0)
    losses[:, [0, 1, 2, 3, 4, 6, 7]] = 0.5
    losses[2, 1] = 1.000001
    return np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 1.0, 100.0, 200.0]), losses


WRONG_RUNS = {
    "a loss of 1.000001 is above a level of 1: usable is at or below it, without a tolerance": [0.01, 0.05],
    "the longest run has the most step sizes; yours spans the most of the axis": [1.0, 100.0],
    "one step size that fails ends a run; here such a gap is bridged": [0.03, 100.0],
    "one step size that fails ends a run; here such gaps are bridged": [0.01, 100.0],
}


def window(answer, seed):
    """Exercise 7.2: the longest run of consecutive step sizes at which every seed ends at or below the level."""
    taus, losses = drawn_losses(seed)

    edge_losses = losses[:, 4:10]  # all of them usable: the run touches both ends of the grid
    apart_losses = np.full((3, 8), 2.0)  # the longest run of one is 0 … 2, of the others 4 … 7; 5 and 6 are common
    apart_losses[0, [0, 1, 2, 5, 6]] = apart_losses[1:, 4:] = 0.5
    four_seeds = np.vstack([edge_losses, np.where(np.arange(6) == 2, 2.0, 0.5)])

    def claims(find):
        low, high, decades = find(taus, losses, 1.0)
        first, last = (int(abs(np.log(taus / edge)).argmin()) for edge in (low, high))
        yield claim("its edges are step sizes of the grid", np.array([low, high]), taus[[first, last]])
        fails = ~(losses <= 1.0).all(axis=0)
        yield Claim("step sizes inside at which some seed fails", float(fails[first:last + 1].sum()), 0,
                    "all seeds, at every step size of the run; NaN fails")
        longer = [(i, j) for i in range(15) for j in range(i + last - first + 1, 15) if not fails[i:j + 1].any()]
        yield Claim("longer runs without a failure", float(len(longer)), 0)
        yield claim("decades = log10(high / low)", decades, np.log10(high / low))
        yield claim("a run may reach both ends of the grid", find(taus[:6], edge_losses, 1.0)[:2], taus[[0, 5]])
        yield claim("a loss at the level itself is usable", find(taus[:6], edge_losses, edge_losses.max())[:2],
                    taus[[0, 5]])
        alone = find(taus[:3], losses[:, :3], 1.0)
        yield claim("one usable step size is a run: (τ, τ, 0)", [float(part) for part in alone],
                    [taus[1], taus[1], 0.0], look="does a run of length 1 count?")
        alone = find(taus[1:3], losses[:, 1:3], 1.0)
        yield claim("also if it is the first of the grid", [float(part) for part in alone], [taus[1], taus[1], 0.0],
                    look="is its index, 0, taken for none?")
        apart = find(taus[:8], apart_losses, 1.0)
        yield claim("seeds whose own longest runs lie apart", [float(part) for part in apart],
                    [taus[5], taus[6], np.log10(taus[6] / taus[5])])
        yield claim("four seeds, of which the last alone fails, at one step size", find(taus[:6], four_seeds, 1.0)[:2],
                    taus[[3, 5]], look="does every row count?")
        uneven, missed = near_misses()
        yield claim("the run of most step sizes, none above the level", find(uneven, missed, 1.0)[:2], [0.03, 0.05])
        try:
            low, high, decades = find(taus, losses, 0.0)
            empty = np.isnan(low) and np.isnan(high) and decades == 0
        except NoResultError:  # the mistakes say where
            empty = False
        yield Claim("no usable step size: (nan, nan, 0)", float(not empty), 0, "what does your answer return then?")

    def nothing(find):
        """Return what an answer gives where no step size is usable, or what it raises."""
        try:
            found = tuple(find(taus, losses, 0.0))
            return str(found if None in found else tuple(map(float, found)))
        except NoResultError:
            return "None"
        except Exception as error:  # whatever a student's code raises
            return f"the error {type(error).__name__}"

    def mistakes(find):
        yield from slips(find, [(taus, losses, 0.06), (taus, losses, 1.0)], {
            "the level is not looked at: a run that ends finite is not usable yet":
                window_with(lambda losses, level: np.isfinite(losses).all(axis=0))})
        yield from slips(find, [(taus, losses, 1.0)], WRONG_WINDOWS)
        low, high, decades = find(taus, losses, 1.0)
        first, last = (float(abs(np.log(taus / edge)).min()) for edge in (low, high))
        yield (first > 1e-9 or last > 1e-9,
               "your edges are no step sizes of the grid: the first and the last usable one are asked for")
        uneven, missed = near_misses()
        run = list(find(uneven, missed, 1.0)[:2])
        yield from ((same(run, ends), message) for message, ends in WRONG_RUNS.items())
        yield same(list(find(taus[:6], four_seeds, 1.0)[:2]), taus[[0, 5]]), \
            "the last of four seeds is not looked at: losses may have any number of rows"
        fails = ~(losses <= 1.0).all(axis=0)
        inside = np.flatnonzero(fails & (taus >= low) & (taus <= high))
        if len(inside):
            seen = losses[:, inside[0]]
            yield True, (f"in your run, step size number {inside[0]} of 0 … 14 has the losses "
                         f"{seen.round(2).tolist()} for a level of 1: is a count not reset, or a seed not looked at?")
        yield bool(np.isnan(low) or same(low, taus[0]) or high < taus[4]), \
            "the step sizes are columns: reduce over the seeds (axis=0), one truth value for each step size"
        left_out = [k for k in range(4, 10) if not low <= taus[k] <= high]
        if left_out:
            yield True, (f"step size number {left_out[0]} of 0 … 14 has the losses "
                         f"{losses[:, left_out[0]].round(2).tolist()} for a level of 1, and is not in your run: is "
                         "each seed's loss compared by itself?")
        yield (not same(decades, np.log10(high / low)),
               f"from {low:.3g} to {high:.3g} are {np.log10(high / low):.6g} decades; yours are {decades:.6g}")
        missing = nothing(find)
        yield missing != "(nan, nan, 0.0)", f"no usable step size: (nan, nan, 0) is asked for, yours gives {missing}"
        at_level = find(taus[:6], edge_losses, edge_losses.max())[:2]
        yield not same(list(find(taus[:6], edge_losses, 1.0)[:2]), taus[[0, 5]]), \
            "a run that reaches the end of the grid is lost: is it closed by a failure alone?"
        yield not same(list(at_level), taus[[0, 5]]), "usable is at *or* below the level: <=, not <"
        alone = find(taus[:3], losses[:, :3], 1.0)
        yield not same(list(alone), [taus[1], taus[1], 0.0]), \
            "one usable step size between two that fail is a run of length 1: (τ, τ, 0)"
        first = find(taus[1:3], losses[:, 1:3], 1.0)
        yield not same(list(first), [taus[1], taus[1], 0.0]), \
            "one usable step size, the first of the grid, is a run, too: is its index, 0, taken for none?"
        yield not same([float(part) for part in find(taus[:8], apart_losses, 1.0)[:2]], taus[[5, 6]]), \
            "the longest run of each seed by itself? First find where all are usable, then the longest run"

    return check("7.2", answer, claims, mistakes, fallback=library_window)


def quadratic_with(root=lambda eps, K: eps ** (1 / K), low=lambda r, mu, L: (1 - r) / mu,
                   high=lambda r, mu, L: (1 + r) / L):
    """Return the two edges with a slip in one of them, or in the root; without the width."""
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
    "the K-th root of ε, not ε/K": quadratic_with(lambda eps, K: eps / K),
    "the edges are swapped: the flat direction (μ) sets the lower one, the steep one (L) the upper":
        quadratic_with(low=lambda r, mu, L: (1 - r) / L, high=lambda r, mu, L: (1 + r) / mu),
    "L sets the upper edge; here μ sets both": quadratic_with(high=lambda r, mu, L: (1 + r) / mu),
    "μ sets the lower edge; here L sets both": quadratic_with(low=lambda r, mu, L: (1 - r) / L),
    "the signs: at the lower edge the factor is +r, at the upper −r":
        quadratic_with(low=lambda r, mu, L: (1 + r) / mu, high=lambda r, mu, L: (1 - r) / L),
    "at the upper edge the factor is −r, not r": quadratic_with(high=lambda r, mu, L: (1 - r) / L),
    "at the lower edge the factor is +r, not −r": quadratic_with(low=lambda r, mu, L: (1 + r) / mu),
    "these are logarithms of the edges": lambda *problem: tuple(np.log10(quadratic_with()(*problem))),
    "two lower edges, of L and of μ: beyond 1/L the factor 1 − τL is negative": quadratic_with(
        low=lambda r, mu, L: (1 - r) / L, high=lambda r, mu, L: (1 - r) / mu),
    "low comes first": lambda *problem: quadratic_with()(*problem)[::-1],
    "1/μ kills the flat component at once; it is ε already at a smaller step":
        quadratic_with(low=lambda r, mu, L: 1 / mu),
    "the lower edge is that of gradient flow, e^{−Kτμ} = ε; here a step multiplies by 1 − τμ": lambda mu, L, K, eps:
        (-np.log(eps) / (K * mu), quadratic_with()(mu, L, K, eps)[1]),
    "these are implicit steps, 1/(1 + τλ); an explicit one multiplies by 1 − τλ": lambda mu, L, K, eps:
        ((eps ** (-1 / K) - 1) / mu, np.inf),
    "a step of 0 shrinks nothing: the flat component sets a lower edge": quadratic_with(low=lambda r, mu, L: 0.0),
    "the K-th root of ε, not its logarithm over K": quadratic_with(lambda eps, K: np.log(eps) / K),
    "the root of ε, not of 1/ε: r is below 1": quadratic_with(lambda eps, K: eps ** (-1 / K)),
    "K steps are K factors, not K − 1": quadratic_with(lambda eps, K: eps ** (1 / (K - 1))),
    "K steps are K factors, not K + 1": quadratic_with(lambda eps, K: eps ** (1 / (K + 1))),
    "the component shrinks to ε, not its square": quadratic_with(lambda eps, K: eps ** (2 / K)),
    "the component shrinks to ε, not its root": quadratic_with(lambda eps, K: eps ** (1 / (2 * K))),
    "the curvatures divide: solve |1 − τλ| = r for τ":
        quadratic_with(low=lambda r, mu, L: (1 - r) * mu, high=lambda r, mu, L: (1 + r) * L),
    "parentheses: both terms are divided, not r alone":
        quadratic_with(low=lambda r, mu, L: 1 - r / mu, high=lambda r, mu, L: 1 + r / L),
    "2/(μ + L) is the best single step; the window goes on beyond it":
        quadratic_with(high=lambda r, mu, L: 2 / (mu + L)),
    "2/(μ + L) is the best single step; the window lies on both sides of it": quadratic_with(
        low=lambda r, mu, L: 2 / (mu + L), high=lambda r, mu, L: 2 / (mu + L)),
    "r itself is no lower edge: solve 1 − τμ = r for τ": quadratic_with(low=lambda r, mu, L: r / mu),
    "the sign: a step size is positive, and at the lower edge the factor is +r": quadratic_with(
        low=lambda r, mu, L: (r - 1) / mu),
    "r is the factor itself, ε^{1/K}; here 1 − r stands in its place":
        quadratic_with(lambda eps, K: 1 - eps ** (1 / K)),
    "1/μ and 1/L kill one component each, where r is 0; r is the K-th root of ε, not the K-th power":
        quadratic_with(lambda eps, K: 0.0),
    "r itself is no edge: solve |1 − τλ| = r for τ":
        quadratic_with(low=lambda r, mu, L: r / mu, high=lambda r, mu, L: r / L),
    "the lower edge is that of gradient flow, e^{−Kτμ} = ε; a step multiplies by 1 − τμ": lambda mu, L, K, eps:
        (-np.log(eps) / (K * mu), 2 / L),
    "the upper edge does not depend on μ: there the steep component alone decides": quadratic_with(
        high=lambda r, mu, L: 2 / L - (1 - r) / mu),
    "one curvature for both edges; the flattest sets the lower one, the steepest the upper": quadratic_with(
        low=lambda r, mu, L: 2 * (1 - r) / (mu + L), high=lambda r, mu, L: 2 * (1 + r) / (mu + L)),
    "the edges are upside down: solve |1 − τλ| = r for τ": quadratic_with(
        low=lambda r, mu, L: mu / (1 - r), high=lambda r, mu, L: L / (1 + r)),
    "these are edges of τμ, not of τ": quadratic_with(
        low=lambda r, mu, L: 1 - r, high=lambda r, mu, L: (1 + r) * mu / L),
    "a factor ½: a step is τλ, and the components stand for themselves": quadratic_with(
        low=lambda r, mu, L: (1 - r) / (2 * mu), high=lambda r, mu, L: (1 + r) / (2 * L)),
    "curvatures are not squared: a step multiplies by 1 − τλ": quadratic_with(
        low=lambda r, mu, L: (1 - r) / mu**2, high=lambda r, mu, L: (1 + r) / L**2),
}


WRONG_WIDTHS = {
    "the natural logarithm: decades are powers of ten": lambda low, high: np.log(high / low),
    "the quotient is upside down: high over low": lambda low, high: np.log10(low / high),
    "this is the quotient; the decades are its logarithm": lambda low, high: high / low,
    "this is the difference; the decades are the logarithm of the quotient": lambda low, high: high - low,
    "decades are the logarithm of the quotient, not of the difference": lambda low, high: np.log10(high - low),
    "logarithms are subtracted, not divided": lambda low, high: np.log10(high) / np.log10(low),
}


def quadratic_window(answer, seed):
    """Exercise 7.3: the step sizes at which K explicit steps shrink every component by ε, and how many decades."""
    rng = np.random.default_rng(seed)
    # κ = L/μ is at most 11: up to 11.6 there is a window. These are not Python's floats: a low of 0 may divide
    mu, L, eps = np.array([rng.uniform(0.5, 1), rng.uniform(3, 5.5), 1e-3])
    K = 40

    def left(tau, eigenvalue):
        return np.abs(1 - tau * eigenvalue) ** K

    def claims(find):
        low, high, decades = find(mu, L, K, eps)
        yield claim("at the lower edge what is left of the flat component, over ε", left(low, mu) / eps, 1, 1e-9,
                    look="solve (1 − τμ)^K = ε")
        yield claim("at the upper edge what is left of the steep one, over ε", left(high, L) / eps, 1, 1e-9,
                    look="the lower edge is right: beyond 1/L the factor 1 − τL is negative")
        inside = left(np.linspace(low, high, 50)[:, None], np.linspace(mu, L, 30))
        yield Claim("inside, what is left exceeds ε by, over ε", beyond(inside.max() / eps - 1), 1e-9)
        yield claim("decades = log10(high / low)", decades, np.log10(high / low))
        low, high, decades = find(mu, L, 4, eps)  # four steps are too few
        yield claim("in four steps, an empty window: its low lies above its high", [low * mu, high * L],
                    [1 - eps**0.25, 1 + eps**0.25], look="the same two edges, with K = 4")
        yield claim("and its width is below 0, log10(high / low) again", decades, np.log10(high / low))

    def mistakes(find):
        def two(*problem):
            low, high, _ = find(*problem)
            return low, high

        yield from slips(two, [(mu, L, K, eps)], WRONG_EDGES)
        low, high, decades = find(mu, L, K, eps)
        if same([low, high], list(quadratic_with()(mu, L, K, eps))):
            empty = find(mu, L, 4, eps)
            yield (not same(list(empty[:2]), list(quadratic_with()(mu, L, 4, eps))),
                   "right but for an empty window: its low lies above its high, which tells that it is empty")
            yield from ((same(decades, wrong(low, high)), f"the edges are right; {message}")
                        for message, wrong in WRONG_WIDTHS.items())
            yield (same(decades, np.log10(high / low)) and not same(empty[2], np.log10(empty[1] / empty[0])),
                   "right but for an empty window's width, log10(high / low): it is below 0")
            yield (not same(decades, np.log10(high / low)),
                   f"the edges are right; from {low:.3g} to {high:.3g} are {np.log10(high / low):.3g} decades, "
                   f"yours are {decades:.3g}")
            return
        r, lower, upper = eps ** (1 / K), 1 - low * mu, high * L - 1
        yield np.ndim(low) > 0 or np.ndim(high) > 0, "each edge is one number"
        yield (same([lower, upper], [r, r], 0.02),
               "both edges are nearly right: are they those of a grid, or is ε^{1/K} replaced by a few terms of a "
               "series? (1 − τμ)^K = ε and (τL − 1)^K = ε can be solved")
        yield (same(lower, upper), f"at both of your edges what a step multiplies by is {lower:.3g} in size; the K-th "
                                   f"root of ε is {r:.3g} here")
        yield (same(lower, r), f"the lower edge is right; at your upper one 1 − τL is {-upper:.3g}, and must be "
                               f"−r = {-r:.3g}")
        yield (same(upper, r), f"the upper edge is right; at your lower one 1 − τμ is {lower:.3g}, and must be "
                               f"r = {r:.3g}")
        yield True, (f"at your edges 1 − τμ is {lower:.3g} and 1 − τL is {-upper:.3g}; they must be r and −r, "
                     f"with r = {r:.3g} here")

    def fallback(mu, L, K, eps):
        r = eps ** (1 / K)
        low, high = (1 - r) / mu, (1 + r) / L
        return low, high, np.log10(high / low)

    return check("7.3", answer, claims, mistakes, fallback=fallback)


def rigged(answer, taus, runs, level):
    """Exercise 7.4: a factor c on the gradient that makes its window end beyond ProxProp's on the same grid."""
    low, edge = library_window(taus, runs["BackProp"], level)[:2]
    far = library_window(taus, runs["ProxProp exact"], level)[1]

    def largest(c):
        """Return the largest step size of the grid whose c τ lies in BackProp's window, or nan."""
        return max(taus[(c * taus >= 0.999 * low) & (c * taus <= 1.001 * edge)], default=np.nan)

    def claims(c):
        c = float(c)
        yield Claim("c is positive", beyond(1e-12 - c), 0)
        yield Claim("ProxProp's largest usable τ over that of c ∇J, on the grid", far / largest(c), 0.999)

    def mistakes(c):
        c = float(c)
        yield c == 0, "c = 0 leaves no gradient at all"
        yield c < 0, "a negative factor goes uphill"
        yield c == 1, "c = 1 changes nothing"
        yield same(c, far / edge), \
            "upside down: a longer direction needs a smaller τ"
        yield same(c, edge / far), \
            "its window ends where ProxProp's does: go beyond it"
        yield c > 1, "a longer direction needs a smaller τ: the window moves to the left"
        yield low / c > taus[-1], "so small that the window leaves the grid: nobody would see it"
        yield edge / c <= far, "the right way, but not far enough"
        known = largest(c)
        yield np.isnan(known), "no step size of the grid falls into the moved window"
        more = taus[taus > 1.001 * known]
        yield len(more) > 0, (f"its window ends between two step sizes of the grid: {known:.3g} is usable, as for "
                              f"ProxProp, {more.min():.3g} is ∇J with {c * more.min():.3g}")

    return check("7.4", answer, claims, mistakes)  # no stand-in: a number can be read


close_to_answers(globals())
