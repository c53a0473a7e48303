r"""The claim of a descent: what successive sweeps do to an energy, and where they come to rest."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np

from minilift.checks.claims import Gradient, filled, leaves, mapped, unmoved_entries, vector
from minilift.checks.mistakes import ENTRIES, altered_reasons
from minilift.checks.numeric import COORDINATES, Asked, tried
from minilift.checks.report import Finding, claim, nothing_of, only_if
from minilift.support.arguments import shown, unknown_name

SWEEPS = 400  # sweeps after which the search for a point of rest is given up
EVERY = 5  # sweeps, after which it is looked how far one moves
FOLLOWED = 40  # sweeps over which the energy must not rise
ROUNDS, FEW, FLATTER = 3, 15, 0.9  # rounds of sweeps, each of which leaves less of a slope that comes to vanish
FLAT = 1e-4  # share of a slope that counts as nothing
LED = 5  # problems, at most, in which it is looked where sweeps lead that do not come to rest
FLATTENED = 0.1  # share of a slope that many sweeps leave at most, if they lead to where the energy is stationary


def swept(case, values):
    """Return the values after one sweep, and the names of those that the sweep returned."""
    new = case.run("sweep", values)
    if not isinstance(new, dict) or not new:
        raise TypeError(f"sweep must return a dict of new values, for some of {', '.join(values)}; got {shown(new)}")
    if unknown := set(new) - set(values):
        raise unknown_name("sweep returns", min(unknown), list(values))
    for name, value in new.items():
        if [x.shape for x in leaves(value)] != [x.shape for x in leaves(values[name])]:
            raise ValueError(f"sweep returns {name} in another shape than it was given")
    return {**values, **{name: mapped(np.array, value) for name, value in new.items()}}, tuple(new)


def does(case):
    """Return whether a sweep moves anything, and whether its result depends on where it begins."""
    new, names = swept(case, case.values)
    start = {name: mapped(lambda x: np.roll(x, 1) if whole(x) else 1.1 * x + 0.1, case.values[name]) for name in names}
    other = tried(swept, case, {**case.values, **start})  # None if it cannot begin there
    depends = other is not None and any(not same_values({name: new[name]}, {name: other[0][name]}) for name in names)
    return not same_values(case.values, new), depends


def whole(value):
    """Whether a value consists of whole numbers, such as labels, for which there are no slopes."""
    return all(leaf.dtype.kind in "biu" for leaf in leaves(value))


def with_slopes(case, names):
    """Return those names whose values are not whole numbers."""
    return tuple(name for name in names if not whole(case.values[name]))


@claim("decreases", "one sweep after another does not increase the energy", "E(x⁺) ≤ E(x)", "definition", main=True)
def sweep_decreases(thing, case):
    only_if(thing.descends, "it is not claimed")
    path, energies = [case.values], [float(case.energy(case.values))]
    for _ in range(FOLLOWED):
        path.append(swept(case, path[-1])[0])
        energies.append(float(case.energy(path[-1])))
        rises = energies[-1] > energies[-2] + thing.tolerance * max(map(abs, energies))
        if not math.isfinite(energies[-1]) or same_values(*path[-2:]) or (rises and not Asked.measured):
            break
    only_if(math.isfinite(energies[0]), f"the drawn point is outside the domain{case.raised(case.values)}")
    finite = [abs(energy) for energy in energies if math.isfinite(energy)]
    number = float(np.max(np.diff(energies)) / (max(finite) + 1e-300))
    reason = ("a sweep leaves the domain of the energy, or the energy overflows" if len(finite) < len(energies)
              else "a sweep increases the energy" if np.min(np.diff(energies)) <= 0
              else "each sweep increases the energy: the sign is wrong, or the step too long")
    before = path[int(np.argmax(np.nan_to_num(np.diff(energies))))]  # the sweep that raises it most

    def reasons():
        if len(finite) < len(energies):
            rises = np.any(np.diff(energies[: np.argmin(np.isfinite(energies))]) > 0)
            return ["the energy rises from sweep to sweep until it overflows" if rises else reason]
        if moved := set(multipliers(case)) & set(swept(case, before)[1]):
            return [f"the energy is linear in {min(moved)}, a multiplier: a sweep that moves it does not descend, and "
                    "is claimed with descends=False"]
        if not with_slopes(case, swept(case, before)[1]):
            return [reason]
        return [*(one_by_one_reasons(case, before) or too_long_reasons(case, before)), reason]

    return Finding(max(number, 0.0), thing.tolerance, "relative to the energy", reasons)


def same_values(some, others):
    """Whether two dicts of values are the same, bit for bit: a sweep has come to rest."""
    return all(np.array_equal(vector(some[name]), vector(others[name])) for name in some)


def too_long_reasons(case, values):
    """Return whether a tenth of each sweep's step would lower the energy, all the way, or whether no part of it would.

    The whole way is followed because towards a wrong point, too, the energy may fall at first.
    """
    def after(values, t):
        new, names = swept(case, values)
        parts = {}
        for name in names:
            x = vector(values[name])
            parts[name] = filled([values[name]], x + t * (vector(new[name]) - x))[0][0]
        return {**values, **parts}

    begin = float(case.energy(values))
    rises = [float(case.energy(after(values, t))) - begin for t in (1e-4, 1e-3, 1e-2)]
    if min(rises) > 0 and all(5 < longer / shorter < 20 for shorter, longer in itertools.pairwise(rises)):
        return ["a sweep increases the energy, however short its step: its direction is wrong, not its length: a sign, "
                "a weight, a factor or a term in it"]
    for t in (0.1, 0.01) if begin > float(case.energy(after(values, 0.1))) else ():
        here, energies = values, [begin]
        for _ in range(SWEEPS):
            here = after(here, t)
            energies.append(float(case.energy(here)))
            if not energies[-1] <= energies[-2] + case.thing.tolerance * abs(energies[-2]):
                break
        else:
            return ["the step is too long: a tenth of it lowers the energy; or it is made for other values of the rest "
                    "than it is taken at (old ones for new)"]
    return []


def one_by_one_reasons(case, values):
    """Return whether a sweep would descend if each block, or each entry of one, used those already moved before it."""
    new, names = swept(case, values)
    single = len(names) == 1
    parts, falls = np.eye(len(vector(new[names[0]])))[:ENTRIES] if single else names, 0
    for part in parts:
        after, before = swept(case, values)[0], float(case.energy(values))
        if single:
            old = vector(values[names[0]])
            step, template = part * (vector(after[names[0]]) - old), [values[names[0]]]
            values = {**values, names[0]: filled(template, old + step)[0][0]}
            here, shorter, longer = (case.energy({**values, names[0]: filled(template, old + t * step)[0][0]})
                                     for t in (1.0, 0.9, 1.1))
            if not here <= min(shorter, longer):
                return []  # the entry is not moved to its minimum: the length of the step is to blame
        else:
            values = {**values, part: after[part]}
        fall = before - float(case.energy(values))
        if not fall >= -case.thing.tolerance * abs(before):
            return []
        falls += fall > 0
    return [f"each {'entry' if single else 'block'} by itself lowers the energy, all at once raise it: they are made "
            "of the old values of the others (Jacobi), and should be of the new ones, in order"] * bool(falls > 1)


@claim("decreases", "the energy depends on what the sweep returns", "E(x⁺) ≠ E(x) for some x⁺", "definition", once=True)
def energy_depends_on_sweep(thing, case):
    names = swept(case, case.values)[1]
    held = ", ".join(name for name in case.values if name not in names) or "nothing"
    if some := with_slopes(case, names):
        counts = [unmoved_entries(replace(case, thing=Gradient(thing.energy, thing.sweep, some, thing.draw)), values)
                  for values in case.all]
        moves_nothing = all(len(entries) == size for entries, size in counts)
    else:  # judged not by steps, but by where sweeps lead
        moves_nothing = all(case.energy(values) == case.energy(swept(case, values)[0]) for values in case.all)
    said = f"the energy does not depend on any of what the sweep returns{case.raised(case.values)}"
    return nothing_of([said] * moves_nothing,
                      f"held constant, not in the sweep: {held}")


@claim("decreases", "it rests only where the energy is stationary in each block", "x⁺ = x ⇒ E(x + t v) ≥ E(x) − o(t)",
       "definition", main=True)
def rests_are_stationary(thing, case):
    values, names = rest_of(case)
    names = with_slopes(case, names)
    only_if(names, "whole numbers have no slopes")
    linear = [] if thing.descends else multipliers(case)
    if restraints := [name for name in linear if not set(linear) & set(names) and restrains(case, name, names)]:
        return nothing_of([f"the energy is linear in {restraints[0]}, a multiplier, which the sweep never changes: no "
                           "dual step"], "the energy is stationary in a multiplier too")
    if values is None:
        reason = "it comes to rest nowhere, it diverges: the sign of a step is wrong, or the step too long"
        return Finding(math.inf, 1e-4, "nothing else is claimed of a sweep that does not descend", (reason,))
    worst, where = steepest_block(case, values, names)
    def judged(one):
        there = values if one is case else rest_of(one)[0]
        along = [(there, name, kept_sums(one, name)) for name in (where, *names)]  # first the steepest
        steep = steepest(one, *along[0])

        def is_right(other):
            if not math.isfinite(other.energy(there)) or any(
                    steepest(other, *each, few=True) > 1e-2 * steep for each in along):  # a quick test
                return False
            return steepest_block(other, there, names)[0] <= 1e-4 and steepest_block(other, one.values, names)[0] > 0

        return is_right

    def reasons():
        return [*altered_reasons(case, judged), f"it rests where the energy is not stationary in {where}"]

    return Finding(worst, 1e-4, "one-sided differences of step 1e-5, relative to the slope where it began", (
        "it moves nothing, and the energy is not stationary",) if values is case.values else reasons)


def steepest_block(case, values, names):
    """Return the largest slope of the energy in any of some blocks, relative to that at the start, and in which."""
    worst, where, rounding = 0.0, "", 1e-6 * abs(float(case.energy(values))) + 1e-12  # of differences of the energy
    for name in names:
        slope, first = (steepest(case, there, name, kept_sums(case, name)) for there in (values, case.values))
        slope *= max(1.0, size_of(values[name]) / size_of(case.values[name]))  # all is flat for what has grown enough
        slope /= first + rounding
        if not slope <= worst:
            worst, where = slope, name
    return worst, where


def moved_by(case, values):
    """Return the new values after a sweep, in a vector."""
    new, names = swept(case, values)
    return np.concatenate([vector(new[name]) for name in names])


def moved_one_by_one(case):
    """Return the values after a sweep that would descend if its parts used those moved before them; else None."""
    return moved_by(case, case.values) if one_by_one_reasons(case, case.values) else None


def leads_to_flatter(cases):
    """Return a function that says whether another sweep leads from where this one rests to where the energy is flatter.

    That takes a few sweeps, while a point of rest takes hundreds. Where a sweep only uses old values for new ones, what
    it moves first is right, and must stay as it is: shorter steps would descend, too.
    """
    steep, firsts = {}, {}

    def steepest_at_rest(case):
        values, names = rest_of(case)
        _, where = steepest_block(case, values, with_slopes(case, names))
        along = where, kept_sums(case, where)
        return values, along, steepest(case, values, *along)

    def is_led(claim, _, case):
        if claim.measure is sweep_decreases:
            if case.k not in firsts:
                firsts[case.k] = tried(moved_one_by_one, cases[case.k])
            moved = firsts[case.k]
            return moved is None or bool(np.any(abs(moved - moved_by(case, case.values)) <= 1e-12 * abs(moved)))
        if claim.measure is not rests_are_stationary:
            return True
        if case.k not in steep:
            steep[case.k] = tried(steepest_at_rest, cases[case.k])  # None if it comes to rest nowhere
        if steep[case.k] is None:
            return True
        values, along, begin = steep[case.k]
        slope = begin
        for _ in range(ROUNDS):
            for _ in range(FEW):
                values = swept(case, values)[0]
            before, slope = slope, steepest(case, values, *along)
            if slope > max(FLATTER * before, FLAT * begin):
                return False
        return True

    return is_led


def flatten(cases):
    """Whether in half of some problems the energy is flatter after many sweeps, whether or not they come to rest."""
    slopes = []
    for case in cases[:LED]:
        values = case.values
        for _ in range(SWEEPS):
            values, names = swept(case, values)
        slopes.append(steepest_block(case, values, with_slopes(case, names))[0])
    return np.median(slopes) <= FLATTENED


def rest_of(case):
    """Return the values at which the sweeps come to rest, and the names of those that they change.

    They also rest if it is said to descend and the energy has not changed for many sweeps. The values are None if they
    grow without bound and the sweep is not said to descend: then nothing else is claimed.
    """
    values, moved = case.values, math.inf
    for k in range(SWEEPS):
        new, names = swept(case, values)
        if k == SWEEPS // 2:
            halfway = values
        if k % EVERY and k < SWEEPS - 1:
            values = new
            continue
        sizes = {name: np.max(abs(vector(values[name])), initial=0.0) for name in names}
        least = 1e-12 + 1e-8 * max(sizes.values())  # below it there is only rounding, as of a momentum at rest
        moved = max(np.max(abs(vector(new[name]) - vector(values[name])), initial=0.0) / max(least, sizes[name])
                    for name in names)
        if not np.isfinite(moved):
            break
        if moved <= 1e-10:
            return (values if k == 0 else new), names
        values = new
    rests = np.isfinite(moved) and (moved <= 1e-7 or (case.thing.descends and is_level(case, halfway, values)))
    grows = not np.isfinite(moved) or any(
        np.max(abs(vector(values[name]))) > 1e6 * (1 + np.max(abs(vector(case.values[name])))) for name in names)
    only_if(rests or (grows and not case.thing.descends), f"{SWEEPS} sweeps do not come to rest")
    return values if rests else None, names


def is_level(case, before, after):
    """Whether the energy is the same at two points, to rounding."""
    one, other = float(case.energy(before)), float(case.energy(after))
    return math.isfinite(one) and abs(one - other) <= 1e-13 * abs(one)


def multipliers(case):
    """Return the names of the arrays in which the energy is linear; data of that kind are bound in the functions."""
    def is_linear(name):
        value = case.values[name]
        step = case.rng.standard_normal(np.shape(value))
        low, here, high = (float(case.energy({**case.values, name: value + t * step})) for t in (-30.0, 0.0, 30.0))
        bend, rise = abs(low - 2 * here + high), abs(high - low)
        return math.isfinite(bend) and bend <= 1e-9 * (abs(low) + abs(high)) < 1e-3 * rise

    return [name for name, value in case.values.items() if np.ndim(value) and isinstance(value, np.ndarray)
            and not whole(value) and is_linear(name)]


def restrains(case, name, moved):
    """Whether what an array multiplies in the energy, in which it is linear, is a constraint on what a sweep moves.

    That is affine in the moved arrays, as x − z is, and not one of them itself: such an array is data, b in ⟨b, x⟩ say.
    """
    def held(values):
        x, template = vector(values[name]), [values[name]]
        here = case.energy(values)
        return np.array([case.energy({**values, name: filled(template, x + unit)[0][0]}) - here
                         for unit in np.eye(len(x))])

    new = swept(case, case.values)[0]
    after = {**case.values, **{other: new[other] for other in moved}}
    halfway = {other: filled([case.values[other]], (vector(case.values[other]) + vector(after[other])) / 2)[0][0]
               for other in moved}
    begin, end, between = held(case.values), held(after), held({**case.values, **halfway})
    if not np.allclose(begin + end, 2 * between, 1e-6, 1e-6):
        return False
    return not any(len(vector(after[other])) == len(end) and np.linalg.matrix_rank(
        np.stack([vector(after[other]), end]), tol=1e-6 * np.max(abs(end), initial=1e-9)) < 2 for other in moved)


def kept_sums(case, name):
    """Return the axis along which a sweep keeps the sums of an array of positive entries, a simplex; None if none.

    Nothing is claimed about the energy off the simplex, to which the first sweep may lead.
    """
    old, after = case.values[name], swept(case, case.values)[0]
    if not isinstance(old, np.ndarray) or not old.ndim or np.array_equal(old, after[name]):
        return None
    pairs = (old, after[name]), (after[name], tried(lambda: swept(case, after)[0][name]))
    pairs = [(one, other) for one, other in pairs if other is not None and not np.array_equal(one, other)
             and min(one.min(), other.min()) >= 0]  # what does not move keeps everything
    return next((axis for axis in (-1, 0) for one, other in pairs
                 if np.allclose(one.sum(axis=axis), other.sum(axis=axis), rtol=1e-9)), None)


def size_of(value):
    """Return the size of an array's entries, by which steps from it are measured."""
    return max(np.max(abs(vector(value)), initial=0.0), 1e-3)


def steepest(case, values, name, simplex=None, few=False):
    """Return the steepest descent of the energy from some values when one array moves; on a simplex, along it.

    A few directions can refute that there is none.
    """
    x, template = vector(values[name]), [values[name]]
    size = size_of(values[name])

    def energy(x):
        outside = simplex is not None and x.min() < 0
        return math.inf if outside else case.energy({**values, name: filled(template, x)[0][0]})

    units = np.eye(len(x))[case.rng.permutation(len(x))[:COORDINATES]]
    directions = np.concatenate([units, case.rng.standard_normal((6, len(x)))])[-2 if few else 0 :]
    if simplex is not None:
        arrays = directions.reshape(-1, *template[0].shape)
        axis = simplex + (simplex >= 0)  # the same axis in a stack of arrays
        directions = (arrays - arrays.mean(axis=axis, keepdims=True)).reshape(directions.shape)
    value, fastest = energy(x), 0.0
    for v in directions:
        for sign in (1, -1):
            # extrapolated from two steps: a decrease that goes only as the square of the step is not a slope
            near, far = (energy(x + sign * t * size * v) - value for t in (1e-5, 2e-5))
            slope = max(2 * near - far / 2, near) / (1e-5 * size)  # between the two there may be a kink
            if np.isfinite(slope):
                fastest = max(fastest, -slope)
    return fastest
