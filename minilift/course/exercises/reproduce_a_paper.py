r"""Checks of notebook 11: reading results off a table of runs, and verdicts that noise cannot buy."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import Claim, check, claim, close_to_answers, same


def library_first_reach(curve, level):
    """Return the first epoch at which a curve is at or below a level, inf if it never is."""
    reached = np.flatnonzero(np.asarray(curve) <= level)
    return float(reached[0]) if len(reached) else np.inf


def first_reach(answer, seed):
    """Exercise 11.1: the first epoch at or below a level, inf if there is none."""
    rng = np.random.default_rng(seed)
    curve = np.array([2.3, 1.5, 0.9, 0.4, 0.7, 0.3, 0.2, 0.6, 0.25, 0.5]) * rng.uniform(0.9, 1.1)
    level = float(curve[3:5].mean())

    def claims(find):
        k = int(find(curve, level))
        yield Claim("the loss there is above the level by", max(0.0, float(curve[k] - level)), 0)
        yield Claim("earlier epochs at or below the level", float((curve[:k] <= level).sum()), 0)
        yield claim("the last epoch counts too", find(curve, curve.min()), curve.argmin())
        yield Claim("a level never reached gives inf (0: yes)", float(find(curve, -1.0) != np.inf), 0)

    def mistakes(find):
        k = find(curve, level)
        yield same(k, 4), "off by one: row 0 of a history is the network before training, so the index is the epoch"
        yield same(k, curve.argmin()), "the epoch of the lowest loss; the first below the level is asked for"
        yield same(k, 8), "the last epoch at or below the level: the curve had been there before"
        yield same(find(curve, -1.0), 0), \
            "a run that never gets there looks as if it had started there (argmax of all False)"

    return check("11.1", answer, claims, mistakes, fallback=library_first_reach)


def library_choose(table):
    """Return the step size of lowest median validation loss among those at which no seed diverged."""
    losses = np.median(table["val_loss"], axis=0)
    safe = np.isfinite(table["val_loss"]).all(axis=0)
    return float(table["tau"][np.where(safe, losses, np.inf).argmin()])


def drawn_table(seed):
    """Return a table of 3 seeds and 8 step sizes with traps: NaN, a training minimum and a test minimum elsewhere."""
    rng = np.random.default_rng(seed)
    val, train, test = (rng.uniform(0.5, 0.9, size=(3, 8)) for _ in range(3))
    val[:, 2], train[:, 4], test[:, 1] = 0.3, 0.01, 0.1
    val[:, 6], val[1, 6] = 0.05, np.nan
    val[:, 3] = 0.45, 0.05, 0.45
    return {"tau": np.logspace(-2, 1, 8), "train_loss": train, "val_loss": val, "test_loss": test}


def choose(answer, seed):
    """Exercise 11.2: the step size by the median validation loss, diverged ones left out, the test set unread."""
    table = drawn_table(seed)

    def claims(pick):
        k = int(np.flatnonzero(table["tau"] == pick(table))[0])
        val = table["val_loss"]
        yield Claim("seeds that diverged at the chosen step size", float((~np.isfinite(val[:, k])).sum()), 0)
        medians = np.median(val[:, np.isfinite(val).all(axis=0)], axis=0)
        yield claim("its median validation loss is the least of the safe ones", np.median(val[:, k]), medians.min())
        shuffled = table | {"test_loss": table["test_loss"][:, ::-1], "train_loss": table["train_loss"][:, ::-1]}
        yield claim("another test set would not have changed the choice", pick(shuffled), pick(table))

    def mistakes(pick):
        tau, found = table["tau"], pick(table)
        yield found == tau[1], "by the test set: then its number is no longer a test of anything"
        yield found == tau[4], "by the training loss: it rewards fitting the training set"
        yield found == tau[6], "one seed diverged there: a NaN was skipped, or compared as if it were small"
        yield found == tau[3], "by the luckiest seed: take the median over the seeds"

    return check("11.2", answer, claims, mistakes, fallback=library_choose)


STUDENT_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # two-sided 95 %, by the number of seeds


def library_interval(differences):
    """Return mean ∓ t s/√n of paired differences."""
    d = np.asarray(differences, dtype=float)
    half = STUDENT_95[len(d)] * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


def interval(answer, seed):
    """Exercise 11.3: Student's 95 % interval of a mean difference, by how often it holds the truth."""
    rng = np.random.default_rng(seed)
    truth = 0.7
    draws = {n: truth + 2 * rng.standard_normal((4000, n)) for n in (3, 5)}

    def coverage(find, n):
        """Return how often the interval contains the truth."""
        edges = np.array([find(row) for row in draws[n]], dtype=float)
        return float(((edges[:, 0] <= truth) & (truth <= edges[:, 1])).mean())

    def claims(find):
        for n in (3, 5):
            yield claim(f"{n} seeds: of 4000 intervals, the share that holds the truth", coverage(find, n), 0.95, 0.015)
        row = draws[3][0]
        low, high = find(row)
        yield claim("the mean is in the middle", (low + high) / 2, row.mean())
        tenfold = np.array(find(10 * row))
        yield claim("ten times the differences, ten times the interval", tenfold, [10 * low, 10 * high])

    def mistakes(find):
        row = draws[3][0]
        half, s = (find(row)[1] - find(row)[0]) / 2, row.std(ddof=1)
        yield same(half, 4.303 * s), "√n is missing: s is the spread of one run, s/√n that of the mean"
        yield same(half, 1.96 * s / np.sqrt(3)), "1.96 is for many seeds; with three, Student's factor is 4.303"
        yield same(half, 4.303 * row.std() / np.sqrt(3)), "std divides by n here; with ddof=1 it divides by n − 1"

    return check("11.3", answer, claims, mistakes, fallback=library_interval)


def tries(answer, seed):
    """Exercise 11.4: the least number of claims about nothing of which one holds, more likely than not."""
    rng = np.random.default_rng(seed)

    def chance(n):
        return 1 - (1 - 0.025) ** n

    def claims(found):
        n = int(found)
        yield Claim("n is a whole number", abs(float(found) - n), 0)
        yield Claim("with n claims the chance falls short of ½ by", max(0.0, 0.5 - chance(n)), 0)
        yield Claim("with n − 1 it exceeds ½ by", max(0.0, chance(n - 1) - 0.5), 0)
        noise = rng.standard_normal((20000, n, 3))
        t = noise.mean(axis=2) / (noise.std(axis=2, ddof=1) / np.sqrt(3))
        yield claim("simulated: share of papers with a finding", (t > 4.303).any(axis=1).mean(), chance(n), 0.015)

    def mistakes(found):
        yield int(found) == 20, "chances do not add: 20 × 0.025 counts papers with two findings twice"
        yield int(found) == 14, "5 % is for both sides; the claim holds only on one, 2.5 %"
        yield int(found) == 1, "one claim about nothing holds with chance 0.025 only"

    return check("11.4", answer, claims, mistakes, fallback=28)


close_to_answers(globals())
