r"""Common mistakes, made on purpose in an energy or a reference, and what wrong entries reveal of them."""

from __future__ import annotations

import itertools
import types
from dataclasses import replace

import numpy as np

from minilift.checks.claims import Equal, Gradient, mapped, shape_of, stem, vector
from minilift.checks.mends import SMALLER, Own
from minilift.checks.numeric import SHARE, fits, fitted_factor, tried
from minilift.checks.report import Guess
from minilift.support.settings import codes_in, contents

ENTRIES = 60  # entries of a block, at most, that are examined one by one


def alterations(values):
    """Yield (what is wrong, values with that mistake made)."""
    numbers = {name: value for name, value in values.items() if isinstance(value, float) and value}
    rows = {len(value) for value in values.values() if len(shape_of(value)) == 2 and len(value) > 1}

    def made(name, value):
        yield f"what depends on {name} is left out", 0 * value
        if name in numbers:
            yield f"{name} is left out, as if it were 1", 1.0
            yield f"{name} and 1/{name} are exchanged", 1 / value
        yield f"the sign of {name} is wrong", -value
        for k in (2, 4) if name in numbers else (2,):
            yield f"{name}/{k} stands where {name} should", value / k
            yield f"{k} {name} stands where {name} should", k * value
        if name in numbers:
            yield f"{name}²/2 stands where {name}² should", value / 2**0.5
            yield f"2 {name}² stands where {name}² should", value * 2**0.5
        if name in numbers and 0 < value < 1:
            yield f"1 − {name} stands where {name} should", 1 - value
        if np.ndim(value) == 2 and len(value) == len(value.T) > 1:
            yield f"{name} is transposed", value.T
        if np.all(value > 0):
            yield f"{name} is squared", value**2
            yield f"as if {name} were its root: {name} stands where {name}² should, say", value**0.5
        for other in (one for one in numbers if one != name):
            factor = f"a factor {other} is missing, or too many"
            yield f"as if {name} were {name}·{other}: {factor}", value * numbers[other]
            yield f"as if {name} were {name}/{other}: {factor}", value / numbers[other]

    for name, value in values.items():
        if isinstance(value, float) or getattr(value, "dtype", np.dtype(object)).kind in "iuf":
            yield from ((what, {**values, name: other}) for what, other in made(name, value))
        for k, part in enumerate(value if isinstance(value, (list, tuple)) else ()):
            if np.ndim(part) == 2 and len(part) == len(part.T) > 1:
                turned = [*value[:k], part.T, *value[k + 1:]]
                yield f"{name}[{k}] is transposed", {**values, name: type(value)(turned)}
    for name, n in itertools.product(numbers, rows):
        yield f"{name}/N stands where {name} should, N rows", {**values, name: values[name] / n}
        yield f"{name}·N stands where {name} should, N rows", {**values, name: values[name] * n}
    for one, other in itertools.combinations(values, 2):
        if shape_of(values[one]) == shape_of(values[other]) and not {type(values[one]), type(values[other])} & {
                list, tuple}:
            yield f"{one} and {other} are exchanged", {**values, one: values[other], other: values[one]}


def altered(case):
    """Yield (what is wrong, the case with that mistake made in its values)."""
    for what, values in alterations(case.values):
        yield what, replace(case, values=values)


def altered_in_file(case):
    """Yield (what is wrong, the case with that mistake made in a number that its function reads from its file).

    The function is the energy or the reference.
    """
    role = "reference" if isinstance(case.thing, Equal) else "energy"
    function = getattr(case.thing, role)
    constants = constants_of(function)
    for what, values in alterations({**case.values, **constants}) if constants else ():
        changed = {name: values[name] for name in constants if values[name] != constants[name]}
        if changed and all(values[name] is case.values[name] for name in case.values if name not in constants):
            yield what, replace(case, thing=replace(case.thing, **{role: with_constants(function, changed)}))


def altered_reasons(case, judged):
    """Return the mistakes that, made in the energy or the reference, make a claimed result right.

    `judged` computes the result in a case, and returns a function that says of an altered case whether it is right.
    A mistake in a number of the file must explain it for other numbers there, too, since they are not drawn.
    """
    is_right = judged(case)
    found = [what for what, other in altered(case) if tried(is_right, other)]
    of_file = [what for what, other in altered_in_file(case) if tried(is_right, other)]
    if of_file and (other := tried(with_other_constants, case)) and (is_right := tried(judged, other)):
        elsewhere = {what for what, one in altered_in_file(other) if tried(is_right, one)}
        found += [what for what in of_file if what in elsewhere]
    return list(map(Guess, found))


def with_other_constants(case):
    """Return a case in which all functions read other numbers from their file, each by a factor of its own."""
    return replace(case, thing=Own(case.thing).copied({}, SMALLER))


def constants_of(function):
    """Return {name: value} of the floats that a user's function reads from its file, or from a function around it."""
    if not isinstance(function, types.FunctionType):
        return {}
    known = function.__globals__ | contents(function)
    names = {name for code in codes_in(function.__code__) for name in (*code.co_names, *code.co_freevars)}
    return {name: known[name] for name in sorted(names) if type(known.get(name)) is float and known[name]}


def with_constants(function, values):
    """Return a function in which numbers that it reads from its file, or from a function around it, are others."""
    code, held = function.__code__, contents(function) | values
    cells = tuple(types.CellType(held[name]) for name in code.co_freevars)
    new = types.FunctionType(code, function.__globals__ | values, function.__name__, function.__defaults__, cells)
    new.__kwdefaults__ = function.__kwdefaults__
    return new


def seen_in(case, x, wrong):
    """Return in which entries of the block, whose value is x, something is wrong, if that suggests why."""
    block = case.thing.blocks[0]
    shape, right = shape_of(case.values[block]), ~wrong
    if not np.any(wrong) or np.all(wrong):
        return []
    found = []
    if len(case.thing.blocks) == 1 and len(shape) == 2 and shape[0] > 1 and np.all(right[: -shape[1]]):
        found.append(f"only the last row of {block} is wrong" + ", the bias" * (stem(block) == "theta"))
    alike = {name: vector(value) for name, value in case.values.items() if len(vector(value)) == len(x)}
    own = block if isinstance(case.thing, Gradient) else f"the new {block}"
    for name, value in {own: x, **alike}.items():
        if not np.any(value < 0) or not np.any(value > 0):
            continue  # with one sign only, the sign tells nothing
        for what, where in (("0", value == 0), ("negative", value < 0), ("positive", value > 0)):
            if np.all(where[wrong]) and 2 * wrong.sum() >= max(where.sum(), 3) and not np.all(where):
                found.append(Guess(f"it is wrong only where {name} is {what}: another branch, or where it begins"))
    return found


def terms_in(case, x):
    """Return terms a multiple of which may be missing in a gradient: the block, and its distance to others."""
    name, missing = " and ".join(case.thing.blocks), "is missing or of the wrong strength"
    constant = "a constant, or " * bool(np.all(x > 0) or np.all(x < 0))  # then |x| is ±x
    terms = {f"a term in {name} {missing}": x, f"{constant}a term |{name}|, a threshold, {missing}": np.sign(x)}
    for other, value in case.values.items():
        if other not in case.thing.blocks and len(vector(value)) == len(x):
            terms[f"a term in {name} − {other} {missing}"] = x - vector(value)
            terms[f"a term in {other} {missing}"] = vector(value)
    shape = shape_of(case.values[case.thing.blocks[0]])
    if len(shape) == 2 and shape[0] ** 2 == len(x) and np.linalg.cond(x.reshape(shape)) < 1e6:
        terms[f"a term in the inverse of {name} {missing}"] = np.linalg.inv(x.reshape(shape)).T.ravel()
    return terms


def term_seen(case, x, got, where):
    """Return the terms, evaluated at x, that an array is a multiple of, where it is wrong and also where it is right.

    Kinks, where a slope tells nothing, are left out, and so is a last row that is right throughout, as that of a bias.
    """
    shape, where, right = shape_of(case.values[case.thing.blocks[0]]), where & (x != 0), ~where & (x != 0)
    right[ENTRIES:] = False  # these were not examined
    if len(shape) == 2 and shape[0] > 1 and not np.any(where[-shape[1]:]):
        right[-shape[1]:] = False

    def is_seen(term):
        guess = fitted_factor(got[where], term[where]) * term
        return np.any(guess) and fits(got[where], guess[where]) and np.all(
            abs(got - guess)[right] <= SHARE * np.max(abs(guess[where])))

    return [Guess(name) for name, term in terms_in(case, x).items() if where.sum() > 1 and is_seen(term)]


def moving(case, function, own=False):
    """Return the names of the values that a function's result, a vector, depends on: the block's, or the others.

    It is None if the function raises.
    """
    rng = np.random.default_rng(3)

    def moved(x):  # labels and masks are permuted; other entries get different factors, as one may have no effect
        some = x.dtype.kind != "f" or len(np.unique(x)) <= 2 < x.size
        return rng.permutation(x.ravel()).reshape(x.shape) if some else x * rng.uniform(0.5, 0.9, x.shape)

    def other(value):
        return 0.7 * value if isinstance(value, float) else mapped(moved, value)

    names = [name for name, value in case.values.items()
             if isinstance(value, (float, np.ndarray, list, tuple)) and own == (name in case.thing.blocks)]
    there = [tried(function, replace(case, values={**case.values, name: other(case.values[name])})) for name in names]
    here = tried(function, case)
    if here is None or any(value is None or value.shape != here.shape for value in there):
        return None
    return [name for name, value in zip(names, there) if not np.max(abs(value - here)) <= 1e-6 * np.max(abs(here))]


def depends_reasons(case, defect):
    """Return on which values alone the error of a result depends; `defect` maps a case to a vector."""
    taken = set(case.values).intersection(*([] if None in case.wanted.values() else [itertools.chain(
        *case.wanted.values())]))
    found, others = moving(case, defect), taken - set(case.thing.blocks)
    if found is None or len(found) > 2 or len(found) == len(others) or len(case.values) < 3 or len(case.all) == 1:
        return []
    own = moving(case, defect, own=True)
    if own is None or not (found or own):
        return []
    besides = f", besides the block {' and '.join(own)}," * bool(found and own)
    return [f"what is wrong depends on {' and '.join(found or own)}{besides} alone"]


def entry_steps(case, u):
    """Return the size of steps at u, and the unit vectors of the first entries."""
    return max(np.max(abs(u), initial=0.0), 1e-3), np.eye(len(u))[:ENTRIES]

