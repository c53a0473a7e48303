r"""Measure claims of a gradient (∂E/∂u, by differences) and of an equality (f(x) = r(x)), and find their mistakes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from minilift.checks.claims import form_reason, leaves, result_of, shape_of, stem, vector
from minilift.checks.mistakes import altered_reasons, depends_reasons, seen_in, term_seen
from minilift.checks.numeric import (
    FITS,
    OFF,
    PLAIN,
    Tangents,
    central_differences,
    compare,
    dense,
    directional,
    fits,
    gradient,
    is_soon_off,
    tried,
)
from minilift.checks.report import Finding, Guess, claim, nothing_of, only_if

# ---- gradient


@claim("gradient", "the claimed gradient, by differences", "∂E/∂u", "definition", main=True)
def gradient_is_derivative(thing, case):
    x, got = case.block(), result_of(case)
    if wrong := form_reason(case, got):
        return Finding(math.inf, thing.tolerance, "it is of the block's form", (wrong,))
    only_if(math.isfinite(case.at(x)), f"the drawn point is outside the domain{case.raised(case.values)}")
    if is_soon_off(case.at, x, case.block(got)):
        return OFF
    tangents = Tangents(x.shape, np.random.default_rng(1))
    reference = gradient(case.at, x, tangents)
    only_if(np.all(np.isfinite(reference.value)), "the drawn point is too near the end of the domain")
    size = max(abs(energy) for energy in map(case.energy, case.all) if math.isfinite(energy))
    reference = reference.loosened(thing.tolerance)._replace(floor=min(reference.floor, 1e-3 * size))
    single = leaves(got)[0].shape if len(leaves(got)) == 1 and tangents.full else None

    def shaped(values):  # as one array, if the block is one, so that rows and transposes can be recognised
        return values if single is None else values.reshape(single)

    mine, along = tangents.project(case.block(got)), case.rng.standard_normal(x.shape)
    finding = compare(shaped(mine), reference._replace(candidates=list(map(shaped, reference.candidates))),
                      factors=case.sizes(), theta=stem(thing.blocks[0]) == "theta")
    if finding.holds:
        return finding

    def judged(one):
        claimed = one.block(result_of(one))

        def is_right(other):
            first = central_differences(other.at, other.block(), along)[0]  # a quick test
            if not abs(first - claimed @ along) <= 1e-4 * abs(first):
                return False
            right = gradient(other.at, other.block(), tangents).loosened(thing.tolerance)
            return compare(tangents.project(claimed), right._replace(floor=reference.floor)).holds

        return is_right

    def defect(other):
        return other.block(result_of(other)) - gradient(other.at, other.block(), Tangents(x.shape)).value

    def reasons():
        plain = [reason for reason in finding.reasons if reason in PLAIN]
        found = [*plain, *altered_reasons(case, judged), *finding.reasons]
        if tangents.full:
            off = mine - reference.value
            wrong = abs(off) > 1e-5 * np.max(abs(reference.value))
            found += [*block_reasons(case, mine, reference.value), *seen_in(case, x, wrong),
                      *missing_terms(case, x, off, wrong, defect)]
            found = found or [*no_gradient_reasons(case, x), *depends_reasons(case, defect)]
        return list(dict.fromkeys(found))

    return finding._replace(reasons=reasons)


def block_reasons(case, got, right):
    """Return in which of several blocks a gradient is wrong, and how, provided it is right in others."""
    names = case.thing.blocks
    ends = np.cumsum([len(vector(case.values[name])) for name in names])[:-1]
    parts = dict(zip(names, zip(np.split(got, ends), np.split(right, ends))))
    wrong = [name for name, (mine, ours) in parts.items() if np.max(abs(mine - ours)) > 1e-5 * np.max(abs(right))]
    if len(wrong) == len(names):
        return []
    found = []
    for name in wrong:
        mine, ours = (part.reshape(shape_of(case.values[name])) if isinstance(case.values[name], np.ndarray) else part
                      for part in parts[name])
        said = compare(mine, dense(ours), factors=case.sizes()).mistakes()
        found += [f"it is wrong in {name} alone: {reason}" for reason in said]
    return found or [f"it is wrong in {' and '.join(wrong)} alone"]


def no_gradient_reasons(case, x):
    """Return whether a claimed gradient is not the gradient of any function: its derivative is then not symmetric."""
    v, w = np.random.default_rng(6).standard_normal((2, len(x)))

    def claimed(x):
        return case.block(result_of(case, case.with_block(x)))

    one, other = (tried(directional, claimed, x, way) for way in (v, w))
    if len(x) < 2 or one is None or other is None:
        return []
    sides = w @ one.value, v @ other.value
    size = np.linalg.norm(one.value) * np.linalg.norm(w) + np.linalg.norm(other.value) * np.linalg.norm(v)
    return ["it is the gradient of no function: its derivative is not symmetric"] * bool(
        abs(sides[0] - sides[1]) > 1e-3 * size)


def missing_terms(case, x, off, wrong, defect):
    """Return the terms by a multiple of which a gradient is off, at x and nearby: at x alone two terms may coincide."""
    step = 0.1 * np.max(abs(x)) * case.rng.uniform(0.5, 1, x.shape)
    values, name = case.with_block(x + step), case.thing.blocks[0]
    if len(case.thing.blocks) == 1 and np.ndim(values[name]) == 2 and np.array_equal(case.values[name].T,
                                                                                     case.values[name]):
        values[name] = (values[name] + values[name].T) / 2
    other = replace(case, values=values)
    there, y = tried(defect, other), other.block()
    if there is None or not np.all(np.isfinite(there)):
        return []
    elsewhere = term_seen(other, y, there, abs(there) > 1e-5 * np.max(abs(there)))
    return [term for term in term_seen(case, x, off, wrong) if term in elsewhere]


# ---- equal


@claim("equal", "the formula is the reference", "f(x) = r(x)", "definition", main=True)
def formula_is_reference(thing, case):
    got, expected = result_of(case), case.run("reference")
    if [x.shape for x in leaves(got)] != [x.shape for x in leaves(expected)] and len(leaves(expected)) > 1:
        return Finding(math.inf, thing.tolerance, "they are of one form", ("the results are not of one form",))

    def plain(result):
        return leaves(result)[0] + 0 if len(leaves(result)) == 1 else vector(result)  # truth values become numbers

    if not np.size(plain(expected)):
        return Finding(math.inf, thing.tolerance, "an empty result says nothing", ("the reference returns nothing",))
    if not np.all(np.isfinite(vector(expected))):
        what = "NaN" if np.any(np.isnan(vector(expected))) else "inf"
        return Finding(math.inf, thing.tolerance, "a reference is of numbers", (
            f"the reference returns {what}: it is to blame, or what is drawn is outside of its domain",))
    floor = max(1e-12, rounding_of(case) / thing.tolerance if thing.tolerance else 0.0)
    right = dense(plain(expected), thing.tolerance, "the claim's tolerance")._replace(floor=floor)
    finding = compare(plain(got), right, factors=case.sizes(), terms={
        "all entries are off by one number: that of a column of ones, say": np.ones(np.shape(plain(expected)))}
        if np.size(plain(expected)) > 1 else {})
    if finding.holds:
        return finding

    def judged(one):
        claimed, right = plain(result_of(one)), plain(one.run("reference"))
        return lambda other: fits(claimed, plain(other.run("reference")), right)

    def defect(other):
        return vector(result_of(other)) - vector(other.run("reference"))

    def reasons():
        found = [*cut_to_whole_reasons(case, lambda other: plain(result_of(other)), plain(expected)),
                 *finding.reasons, *altered_reasons(case, judged),
                 *sign_reasons(case, plain(got), plain(expected))]
        return found or [*results_reasons(leaves(got), leaves(expected)),
                         *(order_reasons(case) or depends_reasons(case, defect))]

    return finding._replace(reasons=reasons)


def results_reasons(got, expected):
    """Return which of several results of a formula are wrong, if others are right."""
    wrong = [k for k, pair in enumerate(zip(got, expected)) if not fits(*map(np.asarray, pair))]
    only_one = len(wrong) == 1 < len(got)
    return [f"of its {len(got)} results only number {wrong[0]}, counted from 0, is wrong"] * only_one


def cut_to_whole_reasons(case, result, expected):
    """Return whether a result would be right if arrays of whole numbers were given as floats."""
    whole = [name for name, value in case.values.items() if isinstance(value, np.ndarray) and value.dtype.kind in "iu"]
    for name in whole:
        other = tried(result, replace(case, values={**case.values, name: case.values[name] * 1.0}))
        if other is not None and fits(other, expected):
            return [f"{name} holds whole numbers, and so does what is made like it: results written there are cut"]
    return []


def rounding_of(case):
    """Return the residue that rounding of the drawn values may leave where the right result is 0: v − τ (v/τ), say."""
    sizes = [np.max(abs(leaf), initial=0.0) for value in case.values.values() for leaf in leaves(value)
             if leaf.dtype.kind == "f" and np.all(np.isfinite(leaf))]
    return 8 * np.finfo(np.float64).eps * max(sizes, default=0.0)


def sign_reasons(case, got, expected):
    """Return whether a formula is wrong only where an array of its shape has one particular sign."""
    if got.shape != expected.shape:
        return []
    wrong = abs(got - expected) > FITS * np.max(abs(expected), initial=0.0)
    return [Guess(f"it is wrong only where {name} is {what}: another branch, or where it begins")
            for name, value in case.values.items() if shape_of(value) == got.shape and got.ndim
            for what, where in (("negative", value < 0), ("positive", value > 0))
            if np.any(wrong) and np.all(where[wrong]) and not np.all(where) and 2 * wrong.sum() >= max(where.sum(), 3)]


def order_reasons(case):
    """Return whether a formula depends on the order of rows while its reference does not."""
    def gap(function, values):
        here, there = (vector(function(case, x)) for x in (case.values, values))
        return np.max(abs(here - there)) / (np.max(abs(here)) + 1e-300) if here.shape == there.shape else 0.0

    rows = {name: len(value) for name, value in case.values.items() if isinstance(value, np.ndarray) and value.ndim}
    found = []
    for n in sorted({n for n in rows.values() if n > 2}):
        names = [name for name in rows if rows[name] == n]
        turned = {**case.values, **{name: case.values[name][::-1] for name in names}}
        if gap(lambda case, values: case.run("reference", values), turned) <= 1e-9 and gap(result_of, turned) > 1e-6:
            found.append(f"it depends on the order of the rows of {' and '.join(names)}, the reference does not: what "
                         "goes on from row to row is wrong, or how often or where it is brought up to date")
    return found


@claim("equal", "the reference depends on what is drawn", "r(x) ≠ r(x') for some x, x'", "definition", once=True)
def reference_varies(thing, case):
    same = thing.formula is thing.reference
    results = [vector(case.run("reference", values)) for values in case.all]
    drawn = [vector(list(values.values())) for values in case.all]
    constant = all(np.array_equal(result, results[0]) for result in results)
    nothing = not any(np.any(values) for values in drawn if values.size)
    constant &= not all(np.array_equal(values, drawn[0]) for values in drawn)
    reasons = ["formula and reference are one function: they say nothing of each other"] * same
    reasons += ["the reference is the same for all that is drawn"] * constant + ["all that is drawn is 0"] * nothing
    return nothing_of(reasons, "an equality of constants says nothing")

