r"""The claim of a minimiser, that no probe around u⁺ is lower, and what may be wrong if one is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from minilift.checks.cases import Case
from minilift.checks.claims import (
    Argmin,
    DrawnCase,
    form_reason,
    projected,
    result_of,
    shape_of,
    shared_defaults,
    stem,
    vector,
)
from minilift.checks.mistakes import altered, altered_reasons, depends_reasons, entry_steps, seen_in, term_seen
from minilift.checks.numeric import SHARE, Asked, Probed, Tangents, gradient, tried
from minilift.checks.report import EXPLICIT, Finding, Guess, claim, measured, only_if

REPEATS = 100  # times an update is repeated that may be one step of an iteration
SAYS_NOTHING = ("nearly all probes are outside the domain: give project, for a set without interior",
                "the energy is constant around u⁺: anything would hold")


@claim("argmin", "no probe is lower: along coordinates, random directions, and from the old value",
       "E(u⁺ + t v; rest) ≥ E(u⁺; rest)", "definition", main=True)
def argmin_is_lowest(thing, case):
    result = tried(result_of, case) if case.is_degenerate else result_of(case)
    only_if(result is not None, "it raises of values that have ties, or a sample of zeros")
    wrong = form_reason(case, result)
    u = case.block(result)
    if wrong and case.is_degenerate and np.any(np.isnan(u)):
        return nan_finding(case, np.nan_to_num(u))
    if wrong:
        return Finding(math.inf, thing.tolerance, "u⁺ is of the block's form", (wrong,))
    if not Asked.measured and is_soon_lower(case, u, case.at(u), 1e-9):
        return Finding(math.inf, thing.tolerance, "a probe is lower")
    probed = probed_around(case, u, each=case.each)
    if case.each > 1 and (probed.excess > thing.tolerance or unusable(case, u, probed)):
        probed = probed_around(case, u)
    if wrong := unusable(case, u, probed):
        return Finding(math.inf, thing.tolerance, "the energy must be able to refuse", (wrong,), wrong in SAYS_NOTHING)
    number, why = probed.excess, "relative to the decrease from the old value, beyond rounding"
    return Finding(number, thing.tolerance, why, lambda: argmin_reasons(case, u, probed))


def nan_finding(case, u):
    """Return the finding on an update that is NaN where a sample is zero: a mistake if 0 is the minimiser there."""
    only_if(in_set(case, u) and is_lowest(case, u, case.thing.tolerance), "it is NaN where a sample is zero")
    return Finding(math.inf, case.thing.tolerance, "the minimiser is 0 there", (
        "it is NaN where a row is zero, and should be 0: it divides by the norm",))


def minimum_case(energy, block, update, old, xp=np, each=1, /, **given):
    """Return the problem of the claim that an array, or the result of an update, minimises an energy in one block.

    Only one in `each` probes is made, for an update of many blocks, say; all of them if one is lower.
    """
    values = {block: old, **given}
    values = {name: Case("", np).lend(value) if np.ndim(value) else value for name, value in values.items()}
    thing = Argmin(energy, update if callable(update) else lambda: update, block, lambda rng: values)
    return DrawnCase("", xp, thing, values, [values], 0, each)


def minimum_finding(*given, **others):
    """Return the finding on the claim of a `minimum_case`, whose arguments it takes."""
    case = minimum_case(*given, **others)
    return measured(argmin_is_lowest, case.thing, case)


def as_low_as_probes(cases):
    """Return a function that says whether another update comes as low in a case as the probes around this one's result.

    It costs one evaluation of the energy, while probing costs hundreds: a result that is higher is not a minimiser.
    """
    lowest = {}

    def is_as_low(claim, _, case):
        if claim.measure is not argmin_is_lowest:
            return True
        if case.k not in lowest:
            lowest[case.k] = tried(lowest_around_result, cases[case.k])
        return reaches(case, lowest[case.k])

    return is_as_low


def lowest_around_result(case):
    """Return the least energy of probes around the result of an update; inf if they say nothing."""
    u = case.block(result_of(case))
    probed = probed_around(case, u)
    return math.inf if unusable(case, u, probed) else probed.lowest


def reaches(case, lowest):
    """Whether the result of an update is as low as something found before, if anything was."""
    return lowest is None or not case.at(case.block(result_of(case))) > lowest + 1e-9 * abs(lowest)


def probed_around(case, u, local=False, each=1):
    """Return what `Probed` finds around a point of a case, with one in `each` probes."""
    local = local or case.thing.local
    return Probed.around(case.at, u, case.block(), case.rng, local, lambda x: projected(case, x), each)


def unusable(case, u, probed):
    """Return why probes around u are not conclusive, or None."""
    if not math.isfinite(probed.value):
        return f"u⁺ is outside the domain: E(u⁺) is not finite{case.raised(case.with_block(u))}"
    if not in_set(case, u):
        return "u⁺ is not in the set on which project projects"
    if probed.inside < 0.05:
        return SAYS_NOTHING[0]
    if probed.lowest == probed.highest:
        return SAYS_NOTHING[1]
    return None


def in_set(case, x):
    """Whether a vector is in the set onto which `project` projects."""
    gap = np.max(abs(projected(case, x) - x), initial=0.0)
    return bool(gap <= 1e-7 * (1 + np.max(abs(x), initial=0.0)))


def is_lowest(case, u, enough, lower=None):
    """Whether no probe around a vector is lower by more than `enough`; False if the energy is flat.

    A wrong vector mostly fails at the first few probes, or at a point `lower` that was found earlier.
    """
    value = case.at(u)
    if (not math.isfinite(value) or (lower is not None and case.at(lower) < value - 1e-12 * abs(value))
            or is_soon_lower(case, u, value, 1e-12)):
        return False
    with Asked.only():  # a few probes are enough if one of them is much lower
        probed = probed_around(case, u)
    return probed.excess <= enough and probed.highest > probed.value + probed.noise


def is_soon_lower(case, u, value, share):
    """Whether one of a few probes around a vector is lower than the value there by more than a share of it."""
    size = max(np.max(abs(u), initial=0.0), 1e-3)
    lengths = (1e-3, -1e-3) if case.thing.local else (1e-3, -1e-3, 0.1, -0.1)
    return any(case.at(projected(case, u + t * v)) < value - share * abs(value)
               for v in np.random.default_rng(2).uniform(-size, size, (3, len(u))) for t in lengths)


def argmin_reasons(case, u, probed):
    """Return the mistakes that, once undone, let a claimed minimiser pass all probes."""
    enough = min(case.thing.tolerance, SHARE**2 * probed.excess)  # energies go with the square of an error

    def passes(x):
        # first a quick test: whether it is as low as the lowest point found so far
        return case.at(x) <= probed.lowest + probed.noise and in_set(case, x) and is_lowest(case, x, enough)

    def judged(one):
        v = one.block(result_of(one))
        return lambda other: np.any(v) and is_lowest(other, v, enough, probed.where if one is case else None)

    lower = lower_entries(case, u, probed)
    found = [*maximum_reasons(case, u, probed), *(what for what, x in minimiser_guesses(case, u) if passes(x))]
    fixed = case.wanted["update"] == []  # the update is a given array, whatever is drawn
    found += filter(lambda what: fixed or not disproved(case, what), altered_reasons(case, judged))
    found += [what for what, x in unshrunk_guesses(case, u) if passes(x)]  # a wrong number, found above, comes first
    found += [*explicit_reasons(case, u, case.block()), *apart_reasons(case, u, enough)]
    found += [what for what, x in moved_guesses(case) if passes(x)]
    if stem(case.thing.blocks[0]) == "theta":  # an observation, reported whatever else may explain the failure
        found += [what for what in seen_in(case, u, lower) if what.startswith("only the last row")]
    if not found and repeated_comes_nearer(case, u, probed):
        return ["it is one step, or a few, of an iteration that has not converged: repeated, it comes to the minimiser"]
    near = None if found else probed_around(case, u, local=True)
    if found or case.thing.project is not None:
        return found or ["among the points of the set nearby it is no worse, to first order: it is another stationary "
                         "point, as of another singular vector or sign"] * bool(near.bent or not near.excess)
    if near.bent:
        return [f"it is {near.bent}, no minimum: only the slope vanishes there"]
    if not near.excess and not falls_towards(case, u, probed.where):
        return ["it is a local minimiser, not the global one"]
    steps = (case.wanted["update"] is None or set(case.thing.blocks) & set(case.wanted["update"]))
    places = seen_in(case, u, lower)
    seen = [] if places else [*side_reasons(u, lower), *end_reasons(case, lower)]
    if not seen:
        seen = [*(() if steps else cut_reasons(case, u, lower)), *places,
                *(() if at_bound(case, u) else left_terms(case, u, lower))]
    seen = seen or [what for what, x in last_guesses(case, u) if passes(x) and is_always_last(case, enough)]
    if not seen and not np.any(u):
        return [Guess("it is zero, which is the minimiser in other problems")]
    return seen or depends_reasons(case, lambda other: slope_at(other, other.block(result_of(other))))


def falls_towards(case, u, lower):
    """Whether an energy falls at once on the way to a lower point, which short probes miss in a narrow cone."""
    return lower is not None and case.at(u + 1e-4 * (lower - u)) < case.at(u)


def cut_reasons(case, x, wrong):
    """Return whether a claimed minimiser is wrong where it is exactly 0, or only elsewhere."""
    if np.any(x[wrong]) and not np.all(x[wrong]):
        return ["some entries that are exactly 0 are wrong, as where they are cut, or put to a wrong threshold"]
    if np.all(x[wrong]) and not np.all(x) and np.any(wrong):
        return ["it is wrong only where it is not 0: what is left beyond a threshold; or it is solved without the "
                "bound, or as if its entries were not coupled, and then cut; or an iteration has not converged"]
    return []


def end_reasons(case, wrong):
    """Return whether the energy falls along the first or the last entry alone, or along such a row."""
    block, *others = case.thing.blocks
    shape = shape_of(case.values[block])
    if others or not shape or shape[0] < 4:
        return []
    rows, what = wrong.reshape(shape[0], -1).any(axis=1), "row" if len(shape) > 1 else "entry"
    ends = [name for name, k in (("first", 0), ("last", -1)) if rows[k]]
    return [Guess(f"E falls along the {' and the '.join(ends)} {what} of {block} alone: the equation of that end is "
                  "wrong")] * int(0 < len(ends) == np.count_nonzero(rows))


def side_reasons(x, wrong):
    """Return whether a claimed minimiser is wrong on one side of 0 alone, and right in some entries on the other."""
    for side, other, name in ((x >= 0, x < 0, "0 or more"), (x <= 0, x > 0, "0 or less")):
        if np.any(wrong) and np.all(side[wrong]) and np.count_nonzero(other) > 1:
            return [Guess(f"it is wrong only where it is {name}: what is computed on that side of 0, or when that side "
                          "is chosen")]
    return []


def maximum_reasons(case, u, probed):
    """Return whether a claimed minimiser is a maximum or a saddle, in all draws or only in some."""
    if probed.highest > probed.value and not probed.bent:
        return []
    others = [replace(case, values=values) for values in case.all]
    if any(measured(argmin_is_lowest, case.thing, other).holds for other in others):
        return [f"it is {probed.bent or 'a maximum'} in some problems, in others the minimum: only the slope vanishes "
                "in all"] * (not at_bound(case, u))
    if probed.bent:
        return [f"it is {probed.bent}, no minimum: only the slope vanishes there, or the energy's sign is wrong"]
    return ["it is a maximum: the sign of the energy is wrong"]


def disproved(case, what):
    """Whether a mistake that would explain a wrong update fails to explain it when all arrays are a fifth as large.

    Or when the default numbers that both functions share are changed, lest one of them explain it by coincidence.
    """
    both = {name: 0.8 * value for name, value in shared_defaults(case.thing).items()
            if name in (case.wanted["update"] or ())}
    smaller = {name: value / 5 for name, value in case.values.items()
               if isinstance(value, np.ndarray) and value.dtype.kind == "f"}
    return any(disproved_at(case, what, values) for values in (smaller, both) if values)


def disproved_at(case, what, others):
    """Whether a mistake no longer explains a wrong update when some values are replaced."""
    other = replace(case, values={**case.values, **others})
    made = [one for text, one in altered(other) if text == what]  # several, if arrays differ in N
    result = tried(result_of, other)
    if not made or result is None or form_reason(other, result) or not np.any(u := other.block(result)):
        return False
    wrong = math.isfinite(other.at(u)) and not is_lowest(other, u, case.thing.tolerance)
    return wrong and not any(is_lowest(one, u, case.thing.tolerance) for one in made)


def at_bound(case, u):
    """Whether u is at the boundary of the energy's domain, where slopes do not show which term is missing."""
    size, units = entry_steps(case, u)
    return not all(math.isfinite(case.at(u + sign * 1e-3 * size * unit)) for unit in units for sign in (1, -1))


def left_terms(case, u, lower):
    """Return the terms that the slope at u is a multiple of, but not the slope nearby: else the term is all of E."""
    near = u + 0.1 * lower * case.rng.uniform(0.5, 1, len(u)) * entry_steps(case, u)[0]
    here, there = (term_seen(case, x, slope_at(case, x), lower) for x in (u, near))
    return [term for term in here if term not in there]


def minimiser_guesses(case, u):
    """Yield (what is wrong, u⁺ with that undone)."""
    alike = {name: vector(value) for name, value in case.values.items() if len(vector(value)) == len(u)}
    for name, old in {" and ".join(case.thing.blocks): case.block(), **alike}.items():
        yield from lengths(case, old, u - old, f"the sign of the step from {name} is wrong", {
            0.5: f"it takes half of the step from {name}", 2.0: f"it takes twice the step from {name}"},
            "it takes {:.3g} times " + f"the step from {name}")
        if name in alike and name not in case.thing.blocks:
            yield f"it should be {name} as it is, which it moves", old
    sizes = {value: f"it is off by a factor {name}" for name, value in reversed(case.sizes().items())}
    plain = {0.5: "it is off by a factor ½", 2.0: "it is off by a factor 2"}
    yield from lengths(case, 0 * u, u, "its sign is wrong", plain | sizes, "it is off by the constant factor {:.6g}")
    shape = shape_of(case.values[case.thing.blocks[0]])
    if len(shape) == 2 and shape[0] == shape[1] and shape[0] ** 2 == len(u):
        yield "it is transposed", u.reshape(shape).T.ravel()


def unshrunk_guesses(case, u):
    """Yield (what is wrong, u⁺ with that undone): a hard threshold instead of a soft one, or too large a threshold."""
    shape, ways = shape_of(case.values[case.thing.blocks[0]]), {"each entry": np.sign(u)}
    if len(case.thing.blocks) == 1 and len(shape) == 2 and min(shape) > 1 and np.any(u):
        left, sizes, right = np.linalg.svd(u.reshape(shape), full_matrices=False)
        ways["each singular value"] = ((left * (sizes > 1e-9 * sizes[0])) @ right).ravel()
    for what, way in ways.items():
        t = best_length(case, u, way) if np.any(way) else math.nan
        if math.isfinite(t) and abs(t) > 1e-6 and len(u) > 1 and np.ptp(abs(u)) > 0:
            size = "large, all by one number: shrunk too little, or not at all (a hard threshold)" if t < 0 else (
                "small, all by one number: it is shrunk too far")
            yield f"{what} that is not 0 is too {size}", u + t * way


def last_guesses(case, u):
    """Yield (what is wrong, u⁺ with that undone): only the last row, or the last entry of a vector, is wrong."""
    block, new = case.thing.blocks[0], u.copy()
    shape = shape_of(case.values[block])
    if len(case.thing.blocks) > 1 or not shape or shape[0] < 2:
        return
    for k in range(len(u) - math.prod(shape[1:]), len(u)):
        t = best_length(case, new, np.eye(len(u))[k])
        new[k] += t if math.isfinite(t) else 0.0
    what = f"only the last {'row' if len(shape) > 1 else 'entry'} of {block} is wrong"
    yield what + ", the bias" * (stem(block) == "theta"), new


def is_always_last(case, enough):
    """Whether the update is right in every draw once its last row or entry is corrected."""
    for values in case.all:
        other = replace(case, values=values)
        result = tried(result_of, other)
        if result is None or form_reason(other, result) or not any(
                is_lowest(other, x, enough) for _, x in last_guesses(other, other.block(result))):
            return False
    return True


def moved_guesses(case):
    """Yield (what is wrong, u⁺ with that undone): an array should take the place of 0, and u⁺ is computed shifted."""
    block, *others = case.thing.blocks
    alike = {name: value for name, value in case.values.items()
             if isinstance(value, np.ndarray) and value.shape == shape_of(case.values[block])}
    for name, centre in alike.items() if not others else ():
        moved = {**case.values, **{other: value - centre for other, value in alike.items()}}
        result = tried(result_of, case, moved) if name != block else None
        if result is not None and not form_reason(case, result):
            yield (f"it is right where {name} is 0 alone: it shrinks towards 0, not {name}, or {name} is not taken off "
                   "before, or not put back after"), centre.ravel() + case.block(result)


def lengths(case, base, step, negative, named, other):
    """Yield (what is wrong, the minimiser on the step's line) for a step of the wrong length or sign."""
    t = best_length(case, base, step) if np.any(step) else math.nan
    if not math.isfinite(t) or abs(t - 1) < 1e-6 or t == 0:
        return
    known = [text for factor, text in {-1.0: negative, **named}.items() if abs(factor * t - 1) < 1e-5]
    if known or len(step) > 1:  # a single number is always a multiple of any other
        yield (known or [other.format(1 / t)])[0], base + t * step


def best_length(case, base, step):
    """Return the t that minimises the energy along base + t step, by Newton's method with differences, or NaN."""
    t, h = 1.0, 1e-4
    for _ in range(8):
        low, here, high = (case.at(base + (t + s) * step) for s in (-h, 0.0, h))
        curve = low - 2 * here + high
        if not 0 < curve < math.inf:
            return math.nan
        t -= h * (high - low) / (2 * curve)
    return t


def apart_reasons(case, u, enough):
    """Return whether each of several blocks is minimal with the others at their new or old values, but not jointly."""
    if len(case.thing.blocks) < 2 or case.thing.project is not None:
        return []
    new = case.with_block(u)

    def minimal(name):
        own = {name: new[name]}
        parts = [replace(case, thing=replace(case.thing, block=name), values={**values, **own})
                 for values in (new, case.values)]
        return any(is_lowest(part, part.block(), enough) for part in parts)

    return ["each block is minimal with the others as they are, or with their old values: they are solved apart, one "
            "after the other or at once, not jointly"] * all(minimal(name) for name in case.thing.blocks)


def repeated_comes_nearer(case, u, probed):
    """Whether an update that starts from the old value reaches the minimiser when it is repeated."""
    wanted = case.wanted["update"]
    if wanted is not None and not set(case.thing.blocks) & set(wanted):
        return False
    for _ in range(REPEATS):
        result = tried(result_of, case, case.with_block(u))
        if result is None or form_reason(case, result):
            return False
        old, u = u, case.block(result)
        if np.max(abs(u - old)) <= 1e-9 * np.max(abs(u)):
            break
    return probed_around(case, u).excess <= SHARE * probed.excess


def lower_entries(case, u, probed):
    """Return which entries lower the energy when they alone are changed."""
    size, units = entry_steps(case, u)
    lower, below = np.zeros(len(u), dtype=bool), probed.value - max(probed.noise, 1e-9 * (probed.value - probed.lowest))
    for k, unit in enumerate(units):
        lower[k] = any(case.at(u + sign * t * size * unit) < below for t in (1e-4, 1e-2, 0.3, 1.0) for sign in (1, -1)
                       ) or case.at(u * (1 - unit)) < below
    return lower


def slope_at(case, u):
    """Return the derivatives of the energy in the entries of u, by differences."""
    size, units = entry_steps(case, u)
    h = 1e-4 * size
    slope = np.zeros(len(u))
    slope[: len(units)] = [(case.at(u + h * unit) - case.at(u - h * unit)) / (2 * h) for unit in units]
    return slope


def explicit_reasons(case, u, old):
    """Return whether the step is along the gradient at the old value: explicit, not implicit."""
    if not np.any(old) or not math.isfinite(case.at(old)) or not np.any(u != old) or case.thing.project is not None:
        return []  # a step from 0 may be along the gradient for other reasons
    slope = gradient(case.at, old, Tangents(old.shape, np.random.default_rng(1))).value
    if slope.shape != old.shape or not np.all(np.isfinite(slope)) or not np.any(slope):
        return []
    share = float(np.vdot(slope, old - u) / np.vdot(slope, slope))
    # differences of a curved energy have an error of 1e-6
    along = np.max(abs(old - u - share * slope)) <= 1e-5 * np.max(abs(old - u))
    rate = any(isinstance(value, float) and abs(share - value) <= 1e-5 * value for value in case.values.values())
    if along and not math.isfinite(case.at(old + 10 * (u - old))):
        return []  # in a bounded domain a step may end at the boundary, along whatever
    length = best_length(case, old, u - old) if along and not rate else math.nan
    if math.isfinite(length) and is_lowest(case, old + length * (u - old), case.thing.tolerance):
        return []  # the minimiser lies along the gradient: only the length is wrong
    return [f"the step is along the gradient at the old value: {EXPLICIT}"] * bool(
        along and len(u) > 1 and share > 0)


