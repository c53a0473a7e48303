r"""Checks of notebook 11: reading results off a table of runs, and verdicts that noise cannot buy."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import ROUNDING, Claim, beyond, check, claim, close_to_answers, gap, same, slips


def epochs_with(first=np.argmax, over=np.median, missing=np.inf, later=0, strict=False, levels=np.asarray, begin=0):
    """Return an answer to 11.1 with a slip in it: which epoch, over the seeds, where there is none, the levels, from
    which column.
    """
    def epochs(curves, wanted):
        found = []
        for curve, level in zip(curves, np.broadcast_to(levels(wanted), len(curves))):
            low = curve < level if strict else curve <= level
            low[:begin] = False
            found.append(first(low) + later if low.any() else missing)
        return over(np.array(found, dtype=float))
    return epochs


def library_epochs_to(curves, levels):
    """Return the median over the seeds of the first epoch at or below the level, ∞ for one that never is."""
    return epochs_with()(np.asarray(curves), levels)


def last_true(low):
    """Return the index of the last True."""
    return len(low) - 1 - low[::-1].argmax()


def stays(low):
    """Return the first index from which all are True."""
    return len(low) - low[::-1].argmin() if not low.all() else 0


def between(curve, level):
    """Return where the line between two epochs first meets the level, ∞ if it never does."""
    low = np.flatnonzero(curve <= level)
    if len(low) == 0 or low[0] == 0:
        return np.inf if len(low) == 0 else 0.0
    before, after = curve[low[0] - 1:low[0] + 1]
    return low[0] - (level - after) / (before - after)


def own_epochs(curves, levels):
    """Return each seed's first epoch at or below its level."""
    return np.array([library_epochs_to(curve[None], [level]) for curve, level in zip(curves, levels)])


def middle(rank):
    """Return a rule that takes one of the seeds in the middle, also where their number is even."""
    return lambda firsts: np.sort(firsts)[rank(len(firsts))]


def first_of_many(needed):
    """Return an answer to 11.1 that counts at each epoch how many seeds are low."""
    def epochs(curves, levels):
        together = np.sum(np.asarray(curves) <= np.reshape(levels, (-1, 1)), axis=0)
        return np.mean([first if together[first] >= many else np.inf for many in needed(len(curves))
                        for first in [np.argmax(together >= many)]])
    return epochs


WRONG_EPOCHS = {
    "column 0 is left out: a seed that is at or below its level before training needs 0 epochs":
        epochs_with(begin=1),
    "column 0 is cut off, so that each count is one too low, and a seed that is there before training is not seen":
        epochs_with(begin=1, later=-1),
    "with an even number of seeds the median is halfway between the two in the middle; this is the later one":
        epochs_with(over=middle(lambda n: n // 2)),
    "with an even number of seeds the median is halfway between the two in the middle; this is the earlier one":
        epochs_with(over=middle(lambda n: (n - 1) // 2)),
    "a seed that never gets there looks as if it had started there (argmax of all False)": epochs_with(missing=0),
    "to leave out the seeds that never get there flatters the method: they count as infinity":
        epochs_with(missing=np.nan, over=np.nanmedian),
    "the mean over the seeds; the median is asked for": epochs_with(over=np.mean),
    "the worst seed; the median is asked for": epochs_with(over=np.max),
    "the best seed; the median is asked for": epochs_with(over=np.min),
    "off by one: column 0 is the loss before training, so the index is the epoch": epochs_with(later=1),
    "off by one: epochs are counted from column 0": epochs_with(later=-1),
    "at or below the level: equal is enough": epochs_with(strict=True),
    "the last epoch at or below the level: the curve had been there before": epochs_with(last_true),
    "the first epoch from which the curve stays below; the first below is asked for": epochs_with(stays),
    "each seed has its own level; here the first one's is used for all": epochs_with(levels=lambda levels: levels[0]),
    "each seed has its own level; here a mean over the seeds is used": epochs_with(levels=np.mean),
    "each seed has its own level; here a median over the seeds is used": epochs_with(levels=np.median),
    "the first epoch at which all seeds are low at once; each has its own, and the median is taken of these":
        first_of_many(lambda seeds: (seeds,)),
    "the first epoch at which most seeds are low at once; each has its own, and the median is taken of these":
        first_of_many(lambda seeds: (seeds // 2 + 1,)),
    "the first epoch at which half the seeds or more are low at once; each has its own, and these have a median":
        first_of_many(lambda seeds: ((seeds + 1) // 2, seeds // 2 + 1)),
    "at or below the level: this asks for a loss that is equal to it": lambda curves, levels: epochs_with()(
        np.where(np.isclose(curves, np.reshape(levels, (-1, 1))), -1.0, 0.0), np.full(len(levels), -1.0)),
    "the first epoch of the median curve; take the median of the epochs":
        lambda curves, levels: epochs_with()(np.median(curves, axis=0)[None], [np.median(levels)]),
    "the first epoch of the curve of medians, NaN left out; take the median of the seeds' own epochs":
        lambda curves, levels: epochs_with()(np.nanmedian(curves, axis=0)[None], [np.median(levels)]),
    "the first epoch of the curve of means, NaN left out; take the median of the seeds' own epochs":
        lambda curves, levels: epochs_with()(np.nanmean(curves, axis=0)[None], [np.mean(levels)]),
    "the epoch of the lowest loss; the first below the level is asked for":
        lambda curves, levels: np.median(np.nanargmin(curves, axis=1)),
    "a seed that never gets there counts as infinity, not as the last epoch":
        lambda curves, levels: epochs_with(missing=np.shape(curves)[1] - 1)(curves, levels),
    "a seed that never gets there counts as infinity, not as one more than the last epoch":
        lambda curves, levels: epochs_with(missing=np.shape(curves)[1])(curves, levels),
    "the median is the middle one of the seeds; this is a quarter of the way": epochs_with(
        over=lambda firsts: np.percentile(firsts, 25)),
    "the median is the middle one of the seeds; this is three quarters of the way": epochs_with(
        over=lambda firsts: np.percentile(firsts, 75)),
    "the first epoch of the mean curve; take the median of the epochs":
        lambda curves, levels: epochs_with()(np.mean(curves, axis=0)[None], [np.mean(levels)]),
    "the first epoch of the mean curve, and 0 where there is none; take the median of the epochs":
        lambda curves, levels: np.argmax(np.mean(curves, axis=0) <= np.mean(levels)),
    "the first epoch of the median curve, and 0 where there is none; take the median of the epochs":
        lambda curves, levels: np.argmax(np.median(curves, axis=0) <= np.median(levels)),
    "the first epoch of the median curve, NaN left out, and 0 where there is none; take the median of the epochs":
        lambda curves, levels: np.argmax(np.nanmedian(curves, axis=0) <= np.median(levels)),
    "the first epoch above the level; the first at or below it is asked for":
        lambda curves, levels: np.median([np.argmin(curve <= level) if (curve <= level).any() else np.inf
                                          for curve, level in zip(curves, levels)]),
    "how many epochs are not below the level; where a curve comes back up that is not the first one":
        epochs_with(lambda low: np.sum(~low)),
    "every epoch at or below its level comes into one median; of each seed the first alone counts: is a break missing?":
        lambda curves, levels: np.median([
            k for curve, level in zip(curves, levels) for k in np.flatnonzero(curve <= level)]),
    "every epoch comes into one median, those above the level as infinity; each seed has one number, its first epoch":
        lambda curves, levels: np.median([
            k if low else np.inf for row in np.asarray(curves) <= np.reshape(levels, (-1, 1))
            for k, low in enumerate(row)]),
    "a seed that gets there in the last epoch is there: the last column counts": lambda curves, levels:
        epochs_with()(np.asarray(curves)[:, :-1], levels),
    "infinity is taken for each seed, also for one that got there: is an else missing?": lambda curves, levels:
        np.median([*own_epochs(curves, levels), *len(curves) * [np.inf]]),
    "three seeds are looked at, however many there are": lambda curves, levels:
        np.median(own_epochs(curves, levels)[:3]),
    "the mean over the seeds that get there; the median over all of them is asked for": epochs_with(
        missing=np.nan, over=np.nanmean),
    "how many epochs are below the level; the first one is asked for": epochs_with(np.sum),
    "how many epochs are below the level; the first one is asked for, and infinity where there is none":
        epochs_with(np.sum, missing=0),
    "the comparison is upside down: at or below the level":
        lambda curves, levels: epochs_with()(-np.asarray(curves), -np.asarray(levels)),
    "infinite as soon as one seed never gets there: it counts as infinity, and the median may still be finite":
        lambda curves, levels: np.median(own) if np.isfinite(own := own_epochs(curves, levels)).all() else np.inf,
    "the seeds that diverge are left out; each counts, as infinity where it never got there": lambda curves, levels:
        np.median(own_epochs(curves, levels)[np.isfinite(curves).all(axis=1)]),
    "a seed that was at or below its level is there, even if it diverges later": lambda curves, levels:
        np.median(np.where(np.isfinite(curves).all(axis=1), own_epochs(curves, levels), np.inf)),
    "between two epochs nothing was measured: the first epoch at or below the level is a whole number":
        lambda curves, levels: np.median([between(curve, level) for curve, level in zip(curves, levels)]),
    "the level is a loss, not a share of the first loss": lambda curves, levels: np.median(
        own_epochs(curves, levels * curves[:, 0])),
    "any and argmax go through the seeds here: the epochs of one seed are a row, axis 1": lambda curves, levels:
        np.median(own_epochs(np.transpose(np.asarray(curves) <= np.reshape(levels, (-1, 1))) * -1.0,
                             np.full(np.shape(curves)[1], -1.0))),
    "epochs are whole numbers, not shares of them all": lambda curves, levels:
        np.median(own_epochs(curves, levels)) / np.shape(curves)[1],
    "epochs are whole numbers, not shares of the last": lambda curves, levels:
        np.median(own_epochs(curves, levels)) / (np.shape(curves)[1] - 1),
    "a seed that never gets there counts as infinity; NaN spoils the median": epochs_with(missing=np.nan),
    "NaN is no loss below the level: a comparison with NaN is False, and its negation True":
        lambda curves, levels: epochs_with()(np.nan_to_num(curves, nan=-1.0), levels),
    "a curve counts that was at or below the level once, wherever it ends": lambda curves, levels: np.median([
        np.inf if not curve[-1] <= level else np.argmax(curve <= level) for curve, level in zip(curves, levels)]),
    "the epoch of the lowest loss; the first at or below the level is asked for":
        lambda curves, levels: np.median(np.argmin(curves, axis=1)),
    "the epoch whose loss is nearest to the level; the first at or below it is asked for":
        lambda curves, levels: np.median([np.argmin(abs(curve - level)) for curve, level in zip(curves, levels)]),
    "the epoch whose loss is nearest to the level, NaN left out; the first at or below it is asked for":
        lambda curves, levels: np.median([np.nanargmin(abs(curve - level)) for curve, level in zip(curves, levels)]),
}


def drawn_curves(seed):
    """Return {name: (curves, levels)}: falling ones, such as come back up, one seed and two that never get there."""
    rng = np.random.default_rng(seed)
    falling = np.sort(rng.uniform(0.1, 2.3, size=(3, 9)), axis=1)[:, ::-1].copy()
    own = np.array([falling[0, 2], falling[1, 4], falling[2, 7]])  # reached after 2, 4 and 7 epochs, exactly
    bumpy = np.array([[2.3, 1.5, 0.6, 0.4, 0.9, 0.3, 0.7, 0.2, 0.5], [2.3, 2.0, 1.1, 0.6, 0.8, 0.4, 0.2, 0.9, 0.3],
                      [2.3, 1.9, 1.5, 1.2, 1.0, 0.7, 0.9, 0.4, 0.6]]) * rng.uniform(0.95, 1.05)
    one = bumpy.copy()
    one[0, 4:], one[0, :4] = np.nan, 2.0
    early = np.array([bumpy[0, 0], bumpy[1, 0] + 0.1, bumpy[2, 3]])  # two are there before training
    late = bumpy.copy()
    late[0, 6:], late[1, 5:] = np.nan, np.inf
    two = one.copy()
    two[2] = np.linspace(2.3, 1.9, 9)
    return {"three falling curves": (falling, own), "levels just below a loss": (falling, own - 1e-6),
            "curves that come back up": (bumpy, bumpy[:, 3] + 0.01),
            "curves that end above the level": (bumpy, bumpy[:, 7:].min(axis=1)),
            "two of three are there before training": (bumpy, early),
            "four seeds": (np.vstack([falling, bumpy[:1]]), np.append(own, 0.01)),
            "one of three diverged": (one, np.array([0.5, 0.7, 1.3])), "two of three never": (two, np.full(3, 0.7)),
            "two of three diverge later": (late, bumpy[:, 3] + 0.01),
            "seeds that are low at different times": (bumpy, bumpy[range(3), range(5, 8)] + 0.01),
            "at the level in the last epoch alone": (falling, falling[:, -1]),
            "five seeds, one diverged": (np.vstack([one[:1], 1.1 * bumpy[:1], bumpy]), np.full(5, 0.75))}


def epochs_to(answer, seed):
    """Exercise 11.1: the median over seeds of the first epoch at or below a level, ∞ for a seed that never is."""
    cases = drawn_curves(seed)
    looks = {"three falling curves": "look at which epoch is counted as the first, and at each seed's own level",
             "levels just below a loss": "a loss above its level, by however little, is not there: is one rounded?",
             "curves that come back up": "falling curves are right: the first time at or below counts, not the last",
             "curves that end above the level": "the first time at or below counts, wherever the curve ends",
             "two of three are there before training": "a curve that begins at or below its level is there at epoch 0",
             "four seeds": "three seeds are right: what is the median of an even number?",
             "one of three diverged": "complete curves are right: what counts for a seed that never gets there?",
             "two of three never": "where most seeds never get there the median is infinite",
             "two of three diverge later": "a seed that was there is there, whatever comes later",
             "seeds that are low at different times": "each seed has its own first epoch: take the median of these",
             "at the level in the last epoch alone": "the last epoch counts, like any other",
             "five seeds, one diverged": "three seeds are right: is 3 written somewhere?"}

    def as_defined(curves, levels):
        """Return the median of the definition, seed by seed."""
        return np.median([min([k for k, loss in enumerate(curve) if loss <= level], default=np.inf)
                          for curve, level in zip(curves, levels)])

    def claims(find):
        for name, (curves, levels) in cases.items():
            yield Claim(f"{name}: median epoch", gap(find(curves, levels), as_defined(curves, levels)), ROUNDING,
                        looks[name])

    def mistakes(find):
        try:
            for case in cases.values():
                find(*case)
        except (TypeError, ValueError) as error:
            yield ("NoneType" in str(error),
                   "a seed that never gets there counts as a number, infinity, and not as None")
            yield "broadcast" in str(error), "each row of the curves has a level of its own, and not each column"
        yield from slips(find, list(cases.values()), WRONG_EPOCHS)
        finite = [name for name, case in cases.items() if np.isfinite(as_defined(*case)) and len(case[0]) == 3]
        whole = [cases[name] for name in ("three falling curves", "curves that come back up",
                                          "seeds that are low at different times")]
        yield all(same(find(*case), own_epochs(*case)[0]) for case in whole), \
            "the first seed alone decides: does a return end the loop?"
        for rule, word in ((np.min, "lowest"), (np.max, "highest"), (np.mean, "mean")):
            yield (all(same(find(curves, levels), as_defined(curves, np.full(len(levels), rule(levels))))
                       for curves, levels in whole) and not all(same(find(*case), as_defined(*case)) for case in whole),
                   f"one level, the {word}, for all seeds; each has its own")
        yield (all(same(find(*cases[name]), as_defined(*cases[name])) for name in finite)
               and find(*cases["two of three never"]) < 0,
               "a seed that never gets there counts as a large number, ∞, not as a negative one")
        never = find(*cases["two of three never"])
        yield (all(same(find(*cases[name]), as_defined(*cases[name])) for name in finite)
               and np.shape(never) == () and np.isfinite(never),
               f"a seed that never gets there counts as infinity; where two of three never do, yours gives {never}")
        yield (same(find(*cases["three falling curves"]), as_defined(*cases["three falling curves"]))
               and not same(find(*cases["curves that come back up"]), as_defined(*cases["curves that come back up"])),
               "right for falling curves alone: where a curve comes back up the first time below still counts")
        yield np.shape(find(*cases["two of three never"])) == (3,), "one number is asked for: the median over the seeds"

    return check("11.1", answer, claims, mistakes, fallback=library_epochs_to)


def library_choose(table):
    """Return the step size of lowest median validation loss among those at which no seed diverged."""
    losses = np.median(table["val_loss"], axis=0)
    safe = np.isfinite(table["val_loss"]).all(axis=0)
    return float(table["tau"][np.where(safe, losses, np.inf).argmin()])


TRAPS = {  # validation losses of three seeds, and the wrong rule that takes this step size
    "median": (0.30, 0.40, 0.60), "mean": (0.30, 0.42, 0.43), "worst": (0.418, 0.42, 0.4205),
    "best": (0.05, 0.48, 0.9), "inf": (0.10, 0.11, np.inf), "NaN": (0.12, np.nan, 0.13),
    "NaN and inf": (0.01, np.nan, np.inf), "far": (0.8, 0.85, 0.9), "near": (0.6, 0.65, 0.7),
}


def drawn_tables(seed):
    """Return tables of three seeds: all safe, with infinities, NaN, both; train and test have their best elsewhere."""
    rng = np.random.default_rng(seed)
    kinds = {"no seed diverged": ("median", "mean", "worst", "best", "far", "near"),
             "infinite losses": ("median", "mean", "worst", "inf", "far", "near"),
             "NaN": ("median", "mean", "worst", "NaN", "far", "near"),
             "all of it": tuple(TRAPS)}
    tables = {}
    for kind, traps in kinds.items():
        order = rng.permutation(len(traps))
        val = np.array([rng.permutation(TRAPS[traps[k]]) for k in order]).T
        train, test = rng.uniform(0.5, 0.9, size=(2, *val.shape))
        far = int(np.flatnonzero(order == traps.index("far"))[0])
        near = int(np.flatnonzero(order == traps.index("near"))[0])
        train[:, far], test[:, near] = 0.01, 0.1
        tau = rng.permutation(np.logspace(-2, 1, len(traps)))
        tables[kind] = {"tau": tau, "train_loss": train, "val_loss": val, "test_loss": test}
    return tables


def choose_with(column="val_loss", over=np.median, safe=np.isfinite, every=np.all, least=np.argmin, skip=False,
                index=False):
    """Return an answer to 11.2 with a slip in it: the column, the rule over seeds, what counts as diverged."""
    def pick(table):
        losses = np.asarray(table[column])
        good = every(safe(np.asarray(table["val_loss"])), axis=0) if safe else np.ones(losses.shape[1], bool)
        rated = np.where(good, over(losses, axis=0), np.inf)
        k = least(rated[good]) if skip else least(rated)
        return k if index else table["tau"][k]
    return pick


def not_nan(losses):
    """Return where losses are numbers, infinities among them."""
    return ~np.isnan(losses)


WRONG_CHOICES = {
    "by the test set: then its number is no longer a test of anything": choose_with("test_loss"),
    "by the training loss: it rewards fitting the training set": choose_with("train_loss"),
    "the training loss is added; validation alone chooses": lambda table: choose_with()(
        table | {"val_loss": table["train_loss"] + table["val_loss"]}),
    "the mean over the seeds; the median is asked for": choose_with(over=np.mean),
    "a geometric mean over the seeds; the median is asked for": choose_with(
        over=lambda val, axis: np.exp(np.mean(np.log(val), axis=axis))),
    "by the best seed: luck; take the median over the seeds": choose_with(over=np.min),
    "by the worst seed; the median over the seeds is asked for": choose_with(over=np.max),
    "a step size got through at which a seed is infinite: refuse that as well as NaN, np.isfinite(…).all over seeds":
        choose_with(safe=not_nan),
    "a step size got through at which one seed is NaN or infinite: a median of three hides one; ask "
    "np.isfinite(…).all over the seeds": choose_with(over=np.nanmedian, safe=None),
    "a step size got through at which one seed is NaN or infinite: a median of three hides one; all must be finite":
        choose_with(over=np.nanmedian, every=np.any),
    "a step size at which some seed diverged is not eligible; here its other seeds are rated": lambda table:
        table["tau"][np.nanargmin(np.nanmedian(
            np.where(np.isfinite(table["val_loss"]), table["val_loss"], np.nan), axis=0))],
    "the step sizes are sorted here, and their columns are not: the table's own order counts": lambda table:
        np.sort(table["tau"])[list(table["tau"]).index(library_choose(table))],
    "a step size at which some seed diverged is not eligible; here its other seeds are rated, and where there is none "
    "argmin stops at its NaN": lambda table: table["tau"][np.argmin([
        np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else -np.inf
        for column in np.transpose(table["val_loss"])])],
    "a step size got through whose median is finite and one of whose seeds is not: all must be finite": lambda table:
        table["tau"][np.argmin(np.where(np.isfinite(table["val_loss"]).any(axis=0),
                                        np.median(table["val_loss"], axis=0), np.inf))],
    "argmin of a list with NaN returns the NaN: put what diverged out of reach first": choose_with(safe=None),
    "what diverged is NaN here, and argmin stops at NaN: infinity puts it out of reach": lambda table:
        table["tau"][np.argmin(np.where(np.isfinite(table["val_loss"]).all(axis=0),
                                        np.median(table["val_loss"], axis=0), np.nan))],
    "whole seeds are left out, all(axis=1); it is step sizes that are not eligible, all(axis=0)": lambda table:
        table["tau"][np.argmin(np.median(
            table["val_loss"][np.isfinite(table["val_loss"]).all(axis=1)], axis=0))],
    "argmin along the step sizes: the median runs over the seeds, axis 0": lambda table:
        table["tau"][np.argmin(np.median(table["val_loss"], axis=1))],
    "each seed has chosen a step size of its own, and these are averaged; the median is one of losses": lambda table:
        np.median([table["tau"][np.nanargmin(row)] for row in table["val_loss"]]),
    "the first step size at which no seed diverged; the one of lowest median is wanted": lambda table:
        table["tau"][np.isfinite(table["val_loss"]).all(axis=0)][0],
    "the smallest step size at which no seed diverged; the one of lowest median is wanted": lambda table:
        table["tau"][np.isfinite(table["val_loss"]).all(axis=0)].min(),
    "the smallest step size of the table, whatever its losses are": lambda table: table["tau"].min(),
    "this index counts the safe step sizes only; the table holds all": choose_with(skip=True),
    "this is the index; the step size is wanted": choose_with(index=True),
    "this is the largest median; the lowest is wanted": choose_with(least=lambda rated: int(
        np.where(np.isfinite(rated), rated, -1).argmax())),
    "the first seed alone decides; take the median over all": choose_with(over=lambda val, axis: val[0]),
    "the last seed alone decides; take the median over all": choose_with(over=lambda val, axis: val[-1]),
    "by the spread over the seeds; take their median": choose_with(over=np.std),
    "the spread is added to the median; the median alone decides": choose_with(
        over=lambda val, axis: np.median(val, axis=axis) + np.std(val, axis=axis)),
    "each seed has chosen a step size of its own, and the smallest is taken; the median is one of losses": lambda table:
        np.min([table["tau"][np.nanargmin(row)] for row in table["val_loss"]]),
    "the largest step size that no seed refuses; the one of lowest median is wanted": lambda table:
        table["tau"][np.isfinite(table["val_loss"]).all(axis=0)].max(),
    "the training loss must not decide, not even who diverged": lambda table:
        choose_with(safe=None)(
            table | {"val_loss": np.where(np.isfinite(table["train_loss"]), table["val_loss"], np.inf)}),
    "a loss that is not finite counts as 0, the best there is; put it out of reach": lambda table:
        table["tau"][np.argmin(np.median(np.nan_to_num(table["val_loss"], nan=0.0, posinf=0.0), axis=0))],
    "this is the loss; the step size is wanted": lambda table: np.nanmin(
        np.median(table["val_loss"][:, np.isfinite(table["val_loss"]).all(axis=0)], axis=0)),
}


def with_others(table, names):
    """Return a table with other losses of these names: turned round, and some far above the loss of guessing."""
    return table | {name: table[name][:, ::-1] * np.linspace(1, 20, table[name].shape[1]) for name in names}


def choose(answer, seed):
    """Exercise 11.2: the step size by the median validation loss, diverged ones left out, the test set unread."""
    tables = drawn_tables(seed)
    rng, columns = np.random.default_rng(seed), ("train_loss", "val_loss", "test_loss")
    plain = [{"tau": rng.permutation(np.logspace(-2, 1, 6)),
              **{name: rng.uniform(0.1, 0.9, size=(3, 6)) for name in columns}}
             for _ in range(12)]  # no divergence, and a different choice by every rule in one of them at least
    val = np.array([[0.8, np.nan, 0.9], [0.3, 0.4, 0.6], [0.1, np.nan, 0.2]]).T  # argmin stops at the first NaN
    lost = np.array([[np.nan] * 3, [0.3, 0.4, 0.6], [0.1, 0.2, np.inf]]).T  # one step size in all seeds
    rest = np.array([[0.1, np.nan, 0.9], [0.3, 0.4, 0.35], [0.8, 0.8, 0.85]]).T  # NaN as 0 is not NaN left out
    high = np.array([[0.3, 0.6, 0.4], [0.8, np.inf, 0.9], [0.1, 0.45, 0.5]]).T  # one whose median tempts nobody
    large = {"tau": np.logspace(-1, 1, 3), **dict.fromkeys(columns, np.array(  # 5.0 is far above guessing, and finite
        [[0.3, 0.4, 0.6], [0.1, 5.0, 0.2], [0.5, 0.5, 0.6]]).T)}
    five = {"tau": np.logspace(-1, 1, 2), **dict.fromkeys(columns, np.array(
        [[0.1, 0.2, 0.6, 0.6, 0.6], [0.5] * 5]).T)}
    holed = [{"tau": np.logspace(-1, 1, 3), **dict.fromkeys(columns, each)} for each in (val, lost, rest, high)]
    looks = {"no seed diverged": "nothing diverged here: look at the column, and at what is taken over the seeds",
             "infinite losses": "tables without divergence are right: is an infinite loss refused?",
             "NaN": "infinite losses are right: NaN fails every comparison, and argmin stops at it",
             "all of it": "what if one step size holds both a NaN and an infinite loss?"}

    def claims(pick):
        for kind, table in tables.items():
            if np.shape(pick(table)):
                raise ValueError(f"one number is expected, an entry of table['tau'], and an array comes: {pick(table)}")
            val, at = table["val_loss"], np.flatnonzero(table["tau"] == pick(table))
            if len(at) != 1:
                raise ValueError(f"an entry of table['tau'] is expected, got {pick(table)!r}")
            k, medians = at[0], np.median(val[:, np.isfinite(val).all(axis=0)], axis=0)
            yield Claim(f"{kind}: seeds that diverged at the chosen step size", (~np.isfinite(val[:, k])).sum(), 0,
                        looks[kind])
            yield claim(f"{kind}: its median validation loss is the least", np.median(val[:, k]), medians.min(),
                        look=looks[kind])
            shuffled = with_others(table, ("test_loss", "train_loss"))
            yield claim(f"{kind}: other test and training losses change nothing", pick(shuffled), pick(table))
        chosen = [np.median(table["val_loss"][:, table["tau"] == pick(table)]) for table in plain]
        yield claim("twelve tables without divergence: the median is the least", chosen,
                    [np.median(table["val_loss"], axis=0).min() for table in plain], look=looks["no seed diverged"])
        yield claim("a step size at which a seed diverged stands before the best one", pick(holed[0]),
                    holed[0]["tau"][1], look="does an index count all step sizes, or only those that are eligible?")
        yield claim("a large loss, which is finite, has not diverged", pick(large), 1.0)
        yield claim("five seeds", pick(five), five["tau"][1], look="three seeds are right: is 3 written somewhere?")

    def mistakes(pick):
        yield from slips(pick, [(table,) for table in (*tables.values(), *holed, *plain)], WRONG_CHOICES)
        right = [library_choose(table) for table in plain]
        chosen = [pick(table) for table in plain]
        for message, wrong in WRONG_CHOICES.items():  # with another slip in what diverged
            theirs = [wrong(table) for table in plain]
            yield chosen == theirs != right, message
        refusing = [table | {"train_loss": np.where(table["tau"] == tau, np.inf, table["train_loss"])}
                    for table, tau in zip(plain, right)]
        yield (chosen == right and any(pick(table) != tau for table, tau in zip(refusing, right)),
               "the training loss must not decide, not even who diverged")
        yield all(pick(table) == table["tau"][np.median(table["val_loss"], axis=0).argmax()] for table in plain), \
            "this is the largest median; the lowest is wanted"
        yield all(pick(table) == table["tau"][np.median(table["val_loss"], axis=0).argsort()[1]] for table in plain), \
            "this is the second lowest median; the lowest is wanted"
        yield chosen == right and pick(large) != 1.0, \
            "diverged means not finite: a step size with one large loss may still have the best median"
        for name, what in (("train_loss", "training"), ("test_loss", "test")):
            yield any(pick(table) != pick(with_others(table, (name,))) for table in plain), \
                f"your choice changes with the {what} losses; the validation losses alone may decide"

    return check("11.2", answer, claims, mistakes, fallback=library_choose)


STUDENT_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # two-sided 95 %, by the number of seeds


def library_interval(differences):
    """Return mean ∓ t s/√n of paired differences."""
    d = np.asarray(differences, dtype=float)
    half = STUDENT_95[len(d)] * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


def interval_with(factor=None, ddof=1, root=np.sqrt, middle=np.mean, half=1.0, spread=np.std):
    """Return the interval (11.1) with a slip in it: the factor, the divisor, √n, the middle."""
    def find(differences):
        d = np.asarray(differences, dtype=float)
        t = STUDENT_95[len(d)] if factor is None else factor
        reach = half * t * spread(d, ddof=ddof) / root(len(d))
        return middle(d) - reach, middle(d) + reach
    return find


def half_length(d):
    """Return t s/√n."""
    return library_interval(d)[1] - np.mean(d)


WRONG_INTERVALS = {
    "√n is missing: s is the spread of one run, s/√n that of the mean": interval_with(root=lambda n: 1),
    "the mean's spread is s/√n, not s/n": interval_with(root=lambda n: n),
    "1.96 is for many seeds; with three, Student's factor is 4.303": interval_with(1.96),
    "std divides by n here; with ddof=1 it divides by n − 1": interval_with(ddof=0),
    "1.96 is for many seeds, and std divides by n here, not by n − 1": interval_with(1.96, ddof=0),
    "the factor t is missing, and std divides by n here, not by n − 1": interval_with(1.0, ddof=0),
    "mean ∓ s says where single runs lie: t and √n are missing": interval_with(1.0, root=lambda n: 1),
    "mean ∓ s says where single runs lie: t and √n are missing, and std divides by n": interval_with(
        1.0, ddof=0, root=lambda n: 1),
    "mean ∓ 1.96 s says where many single runs lie: Student's t and √n are missing": interval_with(
        1.96, root=lambda n: 1),
    "√3 is for three seeds; with five it is √5": interval_with(root=lambda n: np.sqrt(3)),
    "n − 1 is missing in s: its squares are a mean over n − 1, not a sum": interval_with(
        spread=lambda d, ddof: np.sqrt(np.sum((d - np.mean(d)) ** 2))),
    "s is the standard deviation; this is the variance": interval_with(spread=np.var),
    "the factor t is missing": interval_with(1.0),
    "2 is a rule for many seeds; with three, Student's factor is 4.303": interval_with(2.0),
    "t_3 is used for five seeds too": interval_with(4.303),
    "t_5 is used for three seeds too": interval_with(2.776),
    "the interval is the mean ∓ all of t s/√n, not half of it": interval_with(half=0.5),
    "parentheses: √n divides t s alone, not the mean": lambda d: tuple(
        (np.mean(d) + side * STUDENT_95[len(d)] * np.std(d, ddof=1)) / np.sqrt(len(d)) for side in (-1, 1)),
    "these are the mean and s; the two ends are asked for": lambda d: (np.mean(d), np.std(d, ddof=1)),
    **{f"rounded, to {digits} digits behind the point; the ends themselves are wanted": lambda d, digits=digits:
       np.round(library_interval(d), digits) for digits in (1, 2, 3, 4)},
    "n − 1 stands below the root: s² is a mean over n − 1": interval_with(
        spread=lambda d, ddof: np.sqrt(np.sum((d - d.mean()) ** 2)) / (len(d) - ddof)),
    "the last deviation alone counts in s: is a sum overwritten?": interval_with(
        spread=lambda d, ddof: abs(d[-1] - d.mean()) / np.sqrt(len(d) - ddof)),
    "the middle is the mean, not the median": interval_with(middle=np.median),
    "the middle is the mean of the differences, not 0": interval_with(middle=lambda d: 0.0),
    "low comes first": interval_with(half=-1.0),
    "the middle is the mean, and s is around it; here both are taken with the median": interval_with(
        middle=np.median, spread=lambda d, ddof: np.sqrt(np.sum((d - np.median(d)) ** 2) / (len(d) - ddof))),
    "this factor leaves 5 % on each side; 95 % between the two ends leave 2.5 %": lambda d:
        interval_with({3: 2.920, 5: 2.132}[len(d)])(d),
    "s/√n is missing: the differences' spread counts": interval_with(root=lambda n: 1, spread=lambda d, ddof: 1.0),
    "t_3 and t_5 are exchanged": lambda d: interval_with(STUDENT_95[8 - len(d)])(d),
    "t is counted by the n differences here, not by degrees of freedom": lambda d:
        interval_with({3: 3.182, 5: 2.571}[len(d)])(d),
    "s is around the mean; these are squares around 0": interval_with(
        spread=lambda d, ddof: np.sqrt(np.sum(d**2) / (len(d) - ddof))),
    "s is around the mean, over n − 1; these are squares around 0, over n": interval_with(
        spread=lambda d, ddof: np.sqrt(np.mean(d**2))),
    "the deviations are squared in s; these are absolute values": interval_with(
        spread=lambda d, ddof: np.sqrt(np.sum(abs(d - d.mean())) / (len(d) - ddof))),
    "the differences keep their signs; these are absolute values": lambda d: interval_with()(np.abs(d)),
    "the interval begins below the mean: low is the mean minus t s/√n": lambda d: (np.mean(d), interval_with()(d)[1]),
    "n − 1 belongs into s; the mean's spread is s/√n": interval_with(root=lambda n: np.sqrt(n - 1)),
    "these are the mean and half the length; the two ends are asked for": lambda d:
        (np.mean(d), interval_with()(d)[1] - np.mean(d)),
    "percentiles of three or five runs say where runs lie; (11.1) says where their mean does": lambda d:
        tuple(np.percentile(d, [2.5, 97.5])),
    "√n divides s, it does not multiply it": interval_with(root=lambda n: 1 / np.sqrt(n)),
    "this is the range of the runs, not an interval of their mean": lambda d: (np.min(d), np.max(d)),
    "s is the standard deviation; this is the mean absolute deviation": interval_with(
        spread=lambda d, ddof: np.mean(abs(d - d.mean()))),
    "s is the standard deviation; this is half the range of the differences": interval_with(
        spread=lambda d, ddof: np.ptp(d) / 2),
    "s is the standard deviation itself, not its share of the mean": interval_with(
        spread=lambda d, ddof: np.std(d, ddof=ddof) / abs(np.mean(d))),
    "s is that of the differences, not of the steps from one to the next": interval_with(
        spread=lambda d, ddof: np.std(np.diff(d), ddof=ddof)),
    "the interval lies on both sides of the mean; here it begins there": lambda d: (
        np.mean(d), np.mean(d) + 2 * half_length(d)),
    "s is the standard deviation; this is the range of the differences": interval_with(
        spread=lambda d, ddof: np.ptp(d)),
    "the interval ends above the mean: high is the mean plus t s/√n": lambda d: (interval_with()(d)[0], np.mean(d)),
    "the interval lies around the mean; here it begins below the least run and ends above the largest": lambda d: (
        np.min(d) - half_length(d), np.max(d) + half_length(d)),
    "s is the standard deviation itself, without a further root": interval_with(
        spread=lambda d, ddof: np.sqrt(np.std(d, ddof=ddof))),
    "the interval begins below the mean, not at 0": lambda d: (0.0, interval_with()(d)[1]),
    "the mean keeps its sign; here its absolute value stands in the middle": interval_with(
        middle=lambda d: abs(np.mean(d))),
    "the middle is the mean of all; with five, three of them are not enough": interval_with(
        middle=lambda d: np.mean(d[:3])),
    "the sum is divided by n, not by 3": interval_with(middle=lambda d: np.sum(d) / 3),
    "low may lie below 0; here it is cut off there": lambda d: (max(0.0, interval_with()(d)[0]), interval_with()(d)[1]),
    "the middle is the mean, not the sum": interval_with(middle=np.sum),
    "t s/√n is added to the mean and taken off it; here it multiplies the mean": lambda d: (
        np.mean(d) * (1 - half_length(d)), np.mean(d) * (1 + half_length(d))),
    "t s/√n is added to the mean and taken off it; it is no share of the mean": lambda d: (
        np.mean(d) / (1 + half_length(d)), np.mean(d) * (1 + half_length(d))),
}


FACTORS = {  # half the length over s/√n, for three and for five seeds, in any number of digits
    (1.96, 1.96): "1.96 is for many seeds; with three, Student's factor is 4.303",
    (3.182, 2.571): "t is counted by the n differences here, not by degrees of freedom",
    (2.920, 2.132): "this factor leaves 5 % on each side; 95 % between the two ends leave 2.5 %",
    (9.925, 4.604): "this factor is for 99 %; 95 % are asked for",
    (4.303 * np.sqrt(2), 2.776 * np.sqrt(4 / 3)): "s² is a mean over n − 1, not over n − 2",
    (4.303 * np.sqrt(3), 2.776 * np.sqrt(5)): "√n is missing: s is the spread of one run, s/√n that of the mean",
    (4.303 * np.sqrt(2 / 3), 2.776 * np.sqrt(4 / 5)): "std divides by n here; with ddof=1 it divides by n − 1",
}


def chance_within(t, n):
    """Return the chance that |T| ≤ t for Student's T of 3 or 5 samples, in closed form."""
    if n == 3:
        return t / np.sqrt(2 + t * t)
    return 3 / 4 * t / np.sqrt(1 + t * t / 4) * (1 - t * t / (12 + 3 * t * t))


def interval(answer, seed):
    """Exercise 11.3: Student's 95 % interval of a mean difference, by the chance that it holds the truth."""
    rng = np.random.default_rng(seed)
    truth = 0.7
    draws = {n: truth + 2 * rng.standard_normal((20, n)) for n in (3, 5)}

    def lengths(find, n):
        """Return half the length of each interval over s/√n."""
        return np.array([float(np.diff(find(row))[0]) / 2 / (row.std(ddof=1) / np.sqrt(n)) for row in draws[n]])

    def claims(find):
        row, rows = draws[3][0], [*draws[3], *draws[5]]
        low, high = find(row)
        ends = np.array([find(each) for each in rows])
        yield claim("the mean is in the middle", ends.mean(axis=1), [each.mean() for each in rows],
                    look="look at the two ends' signs")
        yield Claim("low comes first (by how much it does not)", beyond(np.max(ends[:, 0] - ends[:, 1])), 0)
        for n in (3, 5):
            yield Claim(f"{n} seeds: the chance that the interval holds the truth",
                        gap(chance_within(lengths(find, n), n), np.full(20, 0.95)), 1e-4,
                        f"the middle is right: is it too long or too short? Look at t_{n}, s and √n")
        tenfold = np.array(find(10 * row))
        yield claim("ten times the differences, ten times the interval", tenfold, [10 * low, 10 * high])

    def mistakes(find):
        rows = [row for n in (3, 5) for row in draws[n]]
        yield isinstance(find(rows[0]), str), "the two ends are asked for, not the verdict"
        yield np.size(find(rows[0])) != 2, f"two numbers are asked for, low and high; {np.size(find(rows[0]))} came"
        yield (not np.isfinite([find(row) for row in rows]).all(),
               "an end of the interval is nan or infinite: look at what stands below the root, and at the parentheses")
        yield from slips(find, [(row,) for row in rows], WRONG_INTERVALS)
        ends = [find(row) for row in rows]
        three, five = (lengths(find, n) for n in (3, 5))
        steady = same(three, np.full(20, three[0])) and same(five, np.full(20, five[0]))
        yield (same(three, 0 * three) and same(five, 0 * five),
               "its length is 0: deviations add up to 0, so each is squared before the sum is taken")
        for factors, message in FACTORS.items():
            yield steady and np.allclose([three[0], five[0]], factors, rtol=5e-4), message
        yield same([np.mean(end) for end in ends], [0.0] * len(rows)), \
            "the middle is the mean of the differences, not 0"
        yield (not steady and all(row.min() - 1e-9 <= low <= high <= row.max() + 1e-9
                                  for row, (low, high) in zip(rows, ends)),
               "it never leaves the range of the runs: resampled or ranked, three or five runs say too little")
        yield (steady and same([np.mean(end) for end in ends], [row.mean() for row in rows]),
               f"the middle is right, and half the length is {three[0]:.4g} s/√n for three seeds, {five[0]:.4g} s/√n "
               "for five: look at t_3 and t_5, at s and at √n")

    return check("11.3", answer, claims, mistakes, fallback=library_interval)


def library_tries(alpha, p):
    """Return the least m with 1 − (1 − α)^m ≥ p."""
    return int(np.ceil(np.log1p(-p) / np.log1p(-alpha)))


def tries_with(above=lambda p: np.log(1 - p), below=lambda alpha: np.log(1 - alpha), final=lambda m: int(np.ceil(m))):
    """Return an answer to 11.4 with a slip in it: the two logarithms, or what is made of their quotient."""
    return lambda alpha, p: final(above(p) / below(alpha))


WRONG_NUMBERS = {
    "a quotient rounded down: with that many the chance is still below p": tries_with(final=int),
    "claims are whole, and a quotient is not: which of its two neighbours does (11.2) ask for": tries_with(final=float),
    "chances do not add: m α counts papers with two findings twice": tries_with(lambda p: p, lambda alpha: alpha),
    "log(1 − p) over −α is a rule for small α: take the logarithm of 1 − α": tries_with(below=lambda alpha: -alpha),
    "log(1 − α) stands below the line, not −log(1 + α)": tries_with(below=lambda alpha: -np.log(1 + alpha)),
    "the chance that none holds is 1 − p, not p": tries_with(np.log),
    "that one claim does not hold has the chance 1 − α, not α": tries_with(below=np.log),
    "one too many, or rounded up twice": tries_with(final=lambda m: int(np.ceil(m)) + 1),
    "α is the chance on one side already; it is not doubled": tries_with(below=lambda alpha: np.log(1 - 2 * alpha)),
    "α is the chance on one side already; it is not halved": tries_with(below=lambda alpha: np.log(1 - alpha / 2)),
    "1/α claims give one finding on average, whatever p is": tries_with(lambda p: 1.0, lambda alpha: alpha),
    "a logarithm of a number below 1 is negative: the quotient of two is not": tries_with(
        final=lambda m: -int(np.ceil(m))),
}


def tries(answer, seed):
    """Exercise 11.4: the least number of claims about nothing of which one holds with a given chance."""
    rng = np.random.default_rng(0)  # whatever the seed: 8000 papers err by 0.006, and now and then by more than 0.02
    cases = (0.025, 0.5), (0.05, 0.3), (0.025, 0.95), (0.3, 0.9), (0.002, 0.2)

    def chance(alpha, m):
        return 1 - (1 - alpha) ** m

    def claims(fewest):
        for alpha, p in cases:
            m, here = fewest(alpha, p), f"α = {alpha:g}, p = {p:g}"
            if isinstance(m, str) or np.ndim(m):
                raise ValueError(f"one number is expected, got {m!r}")
            yield Claim(f"{here}: m is a whole number", abs(float(m) - round(float(m))), 0)
            yield Claim(f"{here}: with m claims the chance falls short by", beyond(p - chance(alpha, m)), 0)
            yield Claim(f"{here}: with m − 1 it exceeds p by", beyond(chance(alpha, m - 1) - p), 0)
        m = int(fewest(0.025, 0.5))
        if not chance(0.025, m - 1) < 0.5 <= chance(0.025, m):
            return  # nothing to simulate
        noise = rng.standard_normal((8000, m, 3))
        t = noise.mean(axis=2) / (noise.std(axis=2, ddof=1) / np.sqrt(3))
        yield claim("simulated: share of papers with a finding", (t > 4.303).any(axis=1).mean(), chance(0.025, m), 0.02)

    def mistakes(fewest):
        found = [float(fewest(*case)) for case in cases]
        yield len({*found}) == 1, f"{found[0]:g} for every α and p; it must be made of them"
        yield from slips(fewest, cases, WRONG_NUMBERS)
        yield any(0 < m < 1 for m in found), "this is a chance; how many claims are wanted"
        yield any(m % 1 > 0 for m in found), "claims are whole: of the two neighbours the larger reaches p"
        for (alpha, p), m in zip(cases, found):
            reached = f"for α = {alpha:g} the chance of {m:g} claims is {chance(alpha, m):.3g}"
            yield chance(alpha, m) < p, f"too few: {reached}, below p = {p:g}"
            yield chance(alpha, m - 1) >= p, f"not the least: {reached}, and one fewer reaches p = {p:g}, too"

    return check("11.4", answer, claims, mistakes, fallback=library_tries)


close_to_answers(globals())
