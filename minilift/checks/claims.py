r"""The four claims that a researcher makes: a minimiser, a gradient, an equality, a descent.

Each is a claim about *functions of drawn instances*: the functions take named arrays and numbers, and ``draw(rng)``
returns a dict of them, of other sizes and step sizes each time. A function is given what its arguments name.

>>> import numpy as np, minilift as ml
>>> def energy(z, v, lam):
...     return lam * abs(z).sum() + ((z - v) ** 2).sum() / 2
>>> def update(v, lam):
...     return np.sign(v) * np.maximum(abs(v) - lam, 0)
>>> ml.verify(ml.Argmin(energy, update, block="z")).passed
True

Nothing is asked of the energy but its value: it may have kinks, and be inf or NaN, or raise an ArithmeticError or a
ValueError, outside its domain. Where no `draw` is given, arguments with usual names are drawn in their usual shapes:
see `usual_draw`.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minilift.checks.layers import FIRST_IS_LAST, Case, has_prox, interleaved, to_host
from minilift.checks.numeric import (
    COORDINATES,
    FITS,
    PLAIN,
    SHARE,
    Probed,
    Tangents,
    central_differences,
    compare,
    dense,
    directional,
    fits,
    fitted_factor,
    gradient,
    probes,
    tried,
)
from minilift.checks.report import Finding, Guess, NotClaimed, claim, measured, nothing_of, only_if
from minilift.support.arguments import boolean, function, positive_number, shown, text, unknown_name

DRAWS = 12
SWEEPS = 400  # after which a sweep that has not come to rest is left
FOLLOWED = 40  # of them in which the energy must not rise
REPEATS = 100  # of an update that may be one step of an iteration
ENTRIES = 60  # of a block at most, in which something is looked for one by one
# N, n_in, n_out, each drawn twice: a cache of the first result is then found
SIZES = ((5, 3, 2), (1, 4, 1), (3, 1, 5), (16, 3, 2), (2, 4, 4), (17, 2, 1))
SCALES = {9: 10.0, 11: 0.1}  # of some draws, in which branches for large or small entries are met
MANY_ROWS = 16  # times as many, in the last draw of an equality: what is cut in chunks is met
TIED, ZERO_ROW = 6, 8  # the draws in which, for a minimiser, entries are whole numbers, or a sample is zero
SHAPES = {  # of what is drawn by its name, a suffix as in theta_k left out
    "a": ("N", "n_in"), "x": ("N", "n_in"), "X": ("N", "n_in"), "A": ("N", "n_in"),
    "z": ("N", "n_out"), "u": ("N", "n_out"), "v": ("N", "n_out"), "g": ("N", "n_out"), "y": ("N", "n_out"),
    "p": ("N", "n_out"), "target": ("N", "n_out"), "W": ("n_in", "n_out"), "theta": ("n_in + 1", "n_out"),
    "b": ("n_out",)}
NUMBERS = ("tau", "tau_theta", "rho", "gamma", "beta", "lam", "eta", "mu", "alpha", "damping")
WRITES = "read-only"  # in what NumPy says of one that writes into what it was lent
OUTSIDE = (ArithmeticError, ValueError)  # LinAlgError is a ValueError
SAYS_NOTHING = ("nearly all probes are outside the domain: give project, for a set without interior",
                "the energy is constant around u⁺: anything would hold")


# ---- what is drawn


def log_uniform(rng, low=1e-3, high=1e3):
    """Return a number between `low` and `high`, of any size in between equally often: a step size that is never 1."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def usual_draw(names, k, rng, rows=1):
    """Return a dict of usual arrays and numbers for some names of arguments, in the k-th sizes of `SIZES`.

    With N samples, n_in inputs and n_out outputs: a, x, X and A are of shape (N, n_in); z, u, v, g, y, p and target of
    shape (N, n_out); W is (n_in, n_out), theta (n_in + 1, n_out) with the bias last, b (n_out,). All may have a suffix,
    as in theta_k or z_old. tau, tau_theta, rho, gamma, beta, lam, eta, mu, alpha and damping are positive numbers over
    six decades. In one draw all arrays are ten times as large, in another a tenth. N may be `rows` times as large.
    """
    sizes = dict(zip(("N", "n_in", "n_out"), SIZES[k % len(SIZES)]))
    sizes["N"] *= rows
    sizes["n_in + 1"] = sizes["n_in"] + 1

    def draw(name):
        if name in NUMBERS:
            return log_uniform(rng)
        return SCALES.get(k, 1.0) * rng.standard_normal([sizes[size] for size in SHAPES[stem(name)]])

    return {name: draw(name) for name in names}


def degenerate(values, k):
    """Return usual values with exact ties, or with a last sample that is zero, in the draws for it."""
    def changed(name, value):
        if k == TIED and np.ndim(value):
            return np.round(value)
        if k == ZERO_ROW and np.ndim(value) and SHAPES[stem(name)][0] == "N":
            value[-1] = 0
        return value

    return {name: changed(name, value) for name, value in values.items()}


def stem(name):
    """Return the name without a suffix, if that is the name of a usual array."""
    return name if name in SHAPES else re.sub(r"(_\w+|\d+)$", "", name)


def arguments_of(what, given):
    """Return the names of a function's arguments, those that it needs and those that it may be given."""
    try:
        parameters = inspect.signature(given).parameters.values()
    except (TypeError, ValueError):  # of a function in C
        parameters = None
    if parameters is None or any(p.kind == p.POSITIONAL_ONLY for p in parameters):
        raise TypeError(f"{what} must be a function whose arguments have names, got {shown(given)}")
    wanted = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [p.name for p in parameters if p.name in wanted and p.default is p.empty]
    return needed, wanted, any(p.kind == p.VAR_KEYWORD for p in parameters)


def leaves(value):
    """Return the arrays of a value: an array, a number, or a list of these, in which None holds a place."""
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return [np.asarray(to_host(value))]


def shape_of(value):
    """Return the shape of an array; a number and a list of arrays have none."""
    return () if isinstance(value, (list, tuple)) else np.shape(value)


def vector(value):
    """Return all entries of a value in one vector."""
    return np.concatenate([np.zeros(0), *[leaf.ravel() for leaf in leaves(value)]])


def filled(template, entries):
    """Return a value of the form of a template with the first entries of a vector, and the entries that are left."""
    if template is None:
        return None, entries
    if isinstance(template, (list, tuple)):
        items = []
        for item in template:
            value, entries = filled(item, entries)
            items.append(value)
        return items, entries
    shape = np.shape(template)
    size = math.prod(shape)
    return entries[:size].reshape(shape)[()], entries[size:]


def mapped(change, value):
    """Return a value with each of its arrays changed; numbers stay."""
    if isinstance(value, (list, tuple)):
        return [mapped(change, item) for item in value]
    return change(value) if isinstance(value, np.ndarray) else value


# ---- the four claims


class DrawnClaim:
    """What the four claims share: the functions and the draw are checked when the claim is made."""

    roles: tuple = ()

    def __post_init__(self):
        what, names = type(self).__name__, []
        if hasattr(self, "block"):
            check_block(what, self.block)
        for role in self.roles:
            function(f"{what}: {role}", getattr(self, role), "named arrays", count=None)
            names += arguments_of(f"{what}: {role}", getattr(self, role))[0]
        text(f"{what}: name", self.name)
        positive_number(f"{what}: tolerance", self.tolerance)
        names = dict.fromkeys([*names, *self.blocks])
        if self.draw is not None:
            function(f"{what}: draw", self.draw, "a random generator")
        elif unknown := [name for name in names if name not in NUMBERS and stem(name) not in SHAPES]:
            raise ValueError(f"{what}: draw is needed, a function from a random generator to a dict of arrays: "
                             f"no usual array is called {unknown[0]!r} (known: {', '.join([*SHAPES, *NUMBERS])})")
        drawn = self.drawn(0, 0)
        if missing := [name for name in names if name not in drawn]:
            raise ValueError(f"{what}: draw must return a value for {missing[0]!r}, got {list(drawn)}")

    @property
    def blocks(self):
        """The names of the blocks of variables."""
        block = getattr(self, "block", ())
        return (block,) if isinstance(block, str) else tuple(block)

    def drawn(self, seed, k):
        """Return the k-th drawn values."""
        rng = np.random.default_rng([seed, k])
        if self.draw is not None:
            values = self.draw(rng)
            if not isinstance(values, dict):
                raise TypeError(f"{type(self).__name__}: draw must return a dict of arrays and numbers, "
                                f"got {shown(values)}")
            return values
        names = [name for role in self.roles for name in arguments_of(role, getattr(self, role))[1]]
        known = [name for name in names if name in NUMBERS or stem(name) in SHAPES]  # others keep their default
        rows = MANY_ROWS if isinstance(self, Equal) and k == DRAWS - 1 else 1
        values = usual_draw(dict.fromkeys([*known, *self.blocks]), k, rng, rows)
        return degenerate(values, k) if isinstance(self, Argmin) else values

    def __repr__(self):
        named = [self.name] if self.name else [getattr(getattr(self, role), "__name__", role) for role in self.roles]
        block = f", block={self.block!r}" if self.blocks else ""
        return f"{type(self).__name__}({', '.join(named)}{block})"


@dataclass(frozen=True, repr=False)
class Argmin(DrawnClaim):
    r"""The claim that an update is the minimiser of an energy in one block: u⁺ = argmin over u of E(u; rest).

    No derivatives are needed. u⁺ is held against probes along coordinates, random directions and the line to the old
    value, of one-sided steps from 1e-6 to 10 times its size; against random points; and none may be lower.

    Parameters
    ----------
    energy : callable
        Of named arrays, to a number; inf or NaN outside its domain.
    update : callable
        Of named arrays, to u⁺; where the block's old value is among its arguments, it starts there.
    block : str or tuple of str
        The name of the block that is updated, or of several, of which the update returns a tuple.
    draw : callable, optional
        ``draw(rng)`` returns a dict with a value for each name: an array, a number or a list of arrays. By default
        usual names are drawn in usual shapes (`usual_draw`).
    project : callable, optional
        For a set without interior (a sphere, a simplex): from u, or the tuple, to the nearest point of the set.
    local : bool, default False
        Whether the claim is of a local minimiser only: probes are then short.
    tolerance : float, default 1e-7
        By how much a probe may be lower, relative to the decrease from the old value. An energy is flat around its
        minimiser, so that 1e-7 of it allows u⁺ to be off by about 3e-4 of the step from the old value, the root; where
        that is too much, `Equal` holds u⁺ against a dense formula, `Gradient` its optimality condition.
    name : str, optional
        For the report.

    Examples
    --------
    >>> def energy(z, v):
    ...     return abs(z).sum() + ((z - v) ** 2).sum() / 2
    >>> def soft(v):
    ...     return np.sign(v) * np.maximum(abs(v) - 1, 0)
    >>> ml.verify(ml.Argmin(energy, soft, block="z")).passed
    True
    """

    energy: Callable
    update: Callable
    block: object
    draw: Callable | None = None
    project: Callable | None = None
    local: bool = False
    tolerance: float = 1e-7
    name: str = ""

    kind = "argmin"
    roles = ("energy", "update")

    def __post_init__(self):
        if self.project is not None:
            function("Argmin: project", self.project, "the block")
        boolean("Argmin: local", self.local)
        super().__post_init__()


@dataclass(frozen=True, repr=False)
class Gradient(DrawnClaim):
    r"""The claim that a function is the gradient of an energy in one block, ∂E/∂u, by finite differences.

    Parameters
    ----------
    energy, block, draw, name
        As for `Argmin`.
    gradient : callable
        Of named arrays, to an array of the block's shape.
    tolerance : float, default 1e-6
        Relative to the largest entry of the gradient.

    Examples
    --------
    >>> def energy(z):
    ...     return (z**3).sum()
    >>> [ml.verify(ml.Gradient(energy, lambda z: k * z**2, block="z")).passed for k in (3, 2)]
    [True, False]
    """

    energy: Callable
    gradient: Callable
    block: object
    draw: Callable | None = None
    tolerance: float = 1e-6
    name: str = ""

    kind = "gradient"
    roles = ("energy", "gradient")


@dataclass(frozen=True, repr=False)
class Equal(DrawnClaim):
    r"""The claim that two functions of the same arrays are one: a quick formula and a dense one.

    Parameters
    ----------
    formula, reference : callable
        Of named arrays, to a number, an array or a list of arrays.
    draw, name
        As for `Argmin`.
    tolerance : float, default 1e-8
        Relative to the largest entry of the reference.

    Examples
    --------
    >>> def gram(a):
    ...     return a @ a.T
    >>> def by_sums(a):
    ...     return (a[:, None] * a[None, :]).sum(axis=2)
    >>> ml.verify(ml.Equal(gram, by_sums)).passed
    True
    """

    formula: Callable
    reference: Callable
    draw: Callable | None = None
    tolerance: float = 1e-8
    name: str = ""

    kind = "equal"
    roles = ("formula", "reference")


@dataclass(frozen=True, repr=False)
class Decreases(DrawnClaim):
    r"""The claim that a sweep does not increase an energy, and that it rests only where the energy is stationary.

    Parameters
    ----------
    energy : callable
        Of named arrays, to a number.
    sweep : callable
        Of named arrays, to a dict of the new values of those that it changes.
    draw, name
        As for `Argmin`.
    descends : bool, default True
        Whether it is claimed that each sweep decreases the energy; with multipliers (ADMM) it does not, and the claim
        is of the points of rest alone.
    tolerance : float, default 1e-9
        By how much a sweep may increase the energy, relative to its size.

    Examples
    --------
    >>> def energy(z):
    ...     return (z**2).sum()
    >>> def shrink(z):
    ...     return {"z": 0.5 * z}
    >>> ml.verify(ml.Decreases(energy, shrink)).passed
    True
    """

    energy: Callable
    sweep: Callable
    draw: Callable | None = None
    descends: bool = True
    tolerance: float = 1e-9
    name: str = ""

    kind = "decreases"
    roles = ("energy", "sweep")

    def __post_init__(self):
        boolean("Decreases: descends", self.descends)
        super().__post_init__()


def check_block(what, block):
    """Raise an error unless a block is a name or a tuple of names."""
    names = (block,) if isinstance(block, str) else block
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{what}: block must be the name of an argument, or a tuple of names, got {shown(block)}")


@dataclass(frozen=True)
class DrawnCase(Case):
    """Drawn values, the claim that they are for, and the values of all draws."""

    thing: DrawnClaim
    values: dict
    all: list
    k: int

    @property
    def rng(self):
        """A generator for probes, the same each time."""
        return np.random.default_rng([11, self.k])

    @cached_property
    def wanted(self):
        """Return, by role, the names that its function takes; None for all."""
        takes = {role: arguments_of(role, getattr(self.thing, role)) for role in self.thing.roles}
        return {role: None if everything else names for role, (_, names, everything) in takes.items()}

    def run(self, role, values=None):
        """Return what the function in a role makes of the values that it takes by name, into which it cannot write."""
        values, wanted = self.values if values is None else values, self.wanted[role]
        lent = {name: self.lend(value) if isinstance(value, np.ndarray) else mapped(self.lend, value)
                for name, value in values.items() if wanted is None or name in wanted}
        result = getattr(self.thing, role)(**lent)
        return result if isinstance(result, np.number) else mapped(to_host, result)

    def block(self, value=None):
        """Return a value of the block, by default the drawn one, as a vector."""
        return vector([self.values[name] for name in self.thing.blocks] if value is None else value)

    def with_block(self, x):
        """Return the values with the block made of a vector."""
        return {**self.values, **dict(zip(self.thing.blocks, filled(self.template, x)[0]))}

    @property
    def form(self):
        """The shapes of all that is drawn."""
        return tuple(leaf.shape for leaf in leaves(list(self.values.values())))

    @property
    def largest(self):
        """The largest entry of the drawn arrays, in size."""
        return max((np.max(abs(leaf), initial=0.0) for leaf in leaves(list(self.values.values())) if leaf.ndim),
                   default=0.0)

    def scaled(self, factor):
        """Return the case with arrays of another size."""
        def resized(array):
            return self.lend(factor * array) if array.dtype.kind == "f" else array
        return replace(self, values={name: mapped(resized, value) for name, value in self.values.items()})

    @property
    def is_degenerate(self):
        """Whether the usual values have ties, or a sample of zeros."""
        return isinstance(self.thing, Argmin) and self.thing.draw is None and self.k in (TIED, ZERO_ROW)

    @cached_property
    def template(self):
        """The drawn values of the block."""
        return [self.values[name] for name in self.thing.blocks]

    def energy(self, values):
        """Return the energy as a number, real or complex; inf outside its domain."""
        try:
            value = np.asarray(self.run("energy", values))
        except OUTSIDE as error:
            if WRITES in str(error):
                raise
            return math.inf
        if value.size != 1:
            raise TypeError(f"the energy must be one number, got an array of shape {value.shape}")
        value = value.reshape(())[()]
        return math.inf if math.isnan(value.real) else value

    def at(self, x):
        """Return the energy with the block at a vector x."""
        return self.energy(self.with_block(x))

    def sizes(self):
        """Return the sizes of the drawn arrays by name, for factors of which a result may be off."""
        arrays = {name: value for name, value in self.values.items() if isinstance(value, np.ndarray)}
        rows = {name: len(value) for name, value in arrays.items() if value.ndim == 2}
        return {f"the number of rows of {name}": n for name, n in rows.items()} | {
            f"N/(N − 1), N the number of rows of {name}": n / (n - 1) for name, n in rows.items() if n > 1}


def drawn_cases(thing, seed, xp):
    """Return the drawn cases of a claim."""
    lend = Case("", np).lend  # read-only, so that they can be lent again and again
    drawn = [shared_defaults(thing) | {name: mapped(lend, value) for name, value in thing.drawn(seed, k).items()}
             for k in range(DRAWS)]
    return [DrawnCase(f"draw {k}: {sizes_text(values)}", xp, thing, values, drawn, k)
            for k, values in enumerate(drawn)]


def shared_defaults(thing):
    """Return the numbers that the first function of an `Argmin` has by default, and the second too or not at all.

    They are numbers of the problem like those that are drawn: one of them may be inverted, or forgotten.
    """
    if not isinstance(thing, Argmin):
        return {}
    numbers = [defaults_of(getattr(thing, role)) for role in thing.roles]
    taken = arguments_of("update", thing.update)[1]
    return {name: value for name, value in numbers[0].items()
            if name not in thing.blocks and (name not in taken or numbers[1].get(name) == value)}


def defaults_of(given):
    """Return the numbers that a function takes where it is not given others: its step sizes and penalties."""
    parameters = inspect.signature(given).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, float)}


def sizes_text(values):
    """Return what to say of drawn values: numbers, and shapes of arrays."""
    def said(value):
        if isinstance(value, (list, tuple)):
            return f"[{len(value)} arrays]"
        return f"{value:.3g}" if np.ndim(value) == 0 and isinstance(value, (int, float)) else str(np.shape(value))
    return ", ".join(f"{name} {said(value)}" for name, value in values.items())


# ---- what all have to be: functions of their arguments, of something


def result_of(case, values=None):
    """Return what the claimed function makes of a case: the second of its roles, of `Equal` the first."""
    return case.run("formula" if isinstance(case.thing, Equal) else case.thing.roles[1], values)


@claim("argmin gradient equal decreases", "it is a function of its arguments", FIRST_IS_LAST, "definition")
def remembers_nothing(thing, case):
    only_if(case.k % 2 == 0, "it is asked with the draw before")

    def entries(k):
        result = result_of(case, case.all[(case.k + k) % len(case.all)])
        return result if isinstance(result, np.ndarray) else vector(
            list(result.values()) if isinstance(result, dict) else result)

    return interleaved({"it": entries})


@claim("argmin", "the energy depends on all of the block", "E(u + t eᵢ) ≠ E(u) for some t", "definition", once=True)
@claim("gradient", "the energy depends on the block", "E(u + t eᵢ) ≠ E(u) for some t", "definition", once=True)
def energy_depends_on_block(thing, case):
    block = " and ".join(thing.blocks)
    unmoved = [unmoved_entries(case, values) for values in case.all]
    if not all(size for _, size in unmoved):
        return nothing_of([f"{block} is empty in a draw"], "an empty block says nothing")
    nothing = all(count == size for count, size in unmoved)
    if not all(count for count, _ in unmoved) or (isinstance(thing, Gradient) and not nothing):
        return nothing_of([], "in some draw each entry moves the energy; of others the gradient is 0")
    return nothing_of([f"the energy does not depend on {'' if nothing else 'some entries of '}{block}"],
                      "any minimiser, any gradient would hold of what does not appear")


def unmoved_entries(case, values):
    """Return how many entries of the block leave the energy as it is wherever they move, and how many there are."""
    case = replace(case, values=values)
    x = case.block()
    if isinstance(case.thing, Argmin) and not math.isfinite(case.at(x)):
        result = result_of(case)  # the drawn value is outside of the domain, where nothing moves
        x = x if form_reason(case, result) else case.block(result)
        if not math.isfinite(case.at(x)):
            return 0, len(x)  # another claim says so
    size, value, count = 1 + np.max(abs(x), initial=0.0), case.at(x), 0
    for unit in np.eye(len(x))[case.rng.permutation(len(x))[:COORDINATES]]:
        count += all(case.at(x + sign * t * size * unit) == value for t in (0.1, 1.0, 30.0) for sign in (1, -1))
    return count, min(len(x), COORDINATES)


# ---- mistakes, made on purpose in the energy or in the reference


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
        yield f"{name}/2 stands where {name} should", value / 2
        yield f"2 {name} stands where {name} should", 2 * value
        if name in numbers:
            yield f"{name}/4 stands where {name} should", value / 4
            yield f"4 {name} stands where {name} should", 4 * value
            if 0 < value < 1:
                yield f"1 − {name} stands where {name} should", 1 - value
        if np.ndim(value) == 2 and len(value) == len(value.T) > 1:
            yield f"{name} is transposed", value.T
        if np.all(value > 0):
            yield f"{name} is squared", value**2
            yield f"the root of {name} stands where {name} should", value**0.5
        for other in set(numbers) - {name}:
            yield f"{name} is multiplied by {other}, or should not be", value * numbers[other]
            yield f"{name} is divided by {other}, or should not be", value / numbers[other]

    for name, value in values.items():
        if isinstance(value, (float, np.ndarray)):
            yield from ((what, {**values, name: other}) for what, other in made(name, value))
    for name, n in itertools.product(numbers, rows):
        yield f"{name}/N stands where {name} should, N rows", {**values, name: values[name] / n}
        yield f"{name}·N stands where {name} should, N rows", {**values, name: values[name] * n}
    for one, other in itertools.combinations(values, 2):
        if shape_of(values[one]) == shape_of(values[other]) and not {type(values[one]), type(values[other])} & {
                list, tuple}:
            yield f"{one} and {other} are exchanged", {**values, one: values[other], other: values[one]}
    if len(numbers) > 1:
        inverses = {name: 1 / value for name, value in numbers.items()}
        yield f"{' and '.join(numbers)} are inverted, all at once: 1/{next(iter(numbers))} for it", values | inverses


def altered_reasons(case, is_right_of, is_right):
    """Return the mistakes which, made in energy or reference, make a claimed result right; and what has no place in it.

    `is_right_of` is asked of a case with other values, `is_right` of another result.
    """
    found = [Guess(what) for what, values in alterations(case.values)
             if tried(is_right_of, replace(case, values=values))]
    cut = [{name: value[:k] if np.ndim(value) and len(value) == n else value for name, value in case.values.items()}
           for n in {len(value) for value in case.values.values() if len(shape_of(value)) == 2}
           for k in range(n - 1, max(n - 17, 0), -1) if (n,) not in [shape_of(x)[:1] for x in case.template]]
    found += [Guess("the last rows have no part in it")] * any(tried(is_right_of, replace(case, values=x)) for x in cut)
    for name, value in case.values.items():
        result = tried(result_of, case, {**case.values, name: 0 * value}) if isinstance(value, np.ndarray) else None
        # a zero is often right for other reasons
        if result is not None and np.any(vector(result)) and is_right(result):
            found.append(f"it depends on the old {name}, where it starts, and should not: a minimiser near it perhaps"
                         if name in case.thing.blocks else f"{name} should not appear")
    return found


def is_coupled(case, u):
    """Whether the energy, near u, is no sum over the entries of the block."""
    step = 0.1 * case.rng.uniform(0.5, 1, len(u)) * entry_steps(case, u)[0]

    def coupled(some):
        here, both, one, other = (case.at(u + step * share) for share in (0, 1, some, ~some))
        return not abs(one + other - here - both) <= 1e-9 * (abs(one) + abs(other) + abs(here) + abs(both))

    k = np.arange(len(u))
    return coupled(k % 2 == 0) or coupled(k < len(u) / 2)  # its columns, or its rows, may be apart


def cut_reasons(case, x, wrong):
    """Return whether a claimed minimiser is wrong where it is exactly 0, or elsewhere alone."""
    alike = {name: vector(value) for name, value in case.values.items()
             if name not in case.thing.blocks and len(vector(value)) == len(x)}
    for name, value in alike.items():
        for what, where in (("positive", value > 0), ("negative", value < 0)):
            if not np.any(x[where]) and np.any(x[~where]) and 2 * wrong[where].sum() > max(where.sum(), 3):
                return [f"it is 0 wherever {name} is {what}, and should not be: a condition is turned round, or a "
                        "branch is missing"]
    if np.any(x[wrong]) and not np.all(x[wrong]):
        return ["some entries that are exactly 0 are wrong: cut, clipped, or put to a wrong threshold"]
    if np.all(x[wrong]) and not np.all(x) and np.any(wrong) and not is_coupled(case, x):
        return ["it is wrong only where it is not 0: what is left of an entry beyond its threshold, or its sign"]
    if np.all(x[wrong]) and not np.all(x) and np.any(wrong):
        return ["it is wrong only where it is not 0: solved as if its entries were not coupled, or without the bound, "
                "and then cut or put to a threshold; or an iteration that has not converged"]
    return []


def seen_in(case, x, wrong):
    """Return in which entries of the block, which is at x, something is wrong, if that says why."""
    block, old = case.thing.blocks[0], case.block()
    shape, right = shape_of(case.values[block]), ~wrong
    if isinstance(case.thing, Argmin) and len(case.thing.blocks) == 1 and len(shape) == 2 and shape[0] > 1:
        last = np.arange(len(x)) >= len(x) - shape[1]
        for name, value in case.values.items():  # after others have moved, all may be wrong
            same = x == vector(value) if name != block and shape_of(value) == shape else ~last
            if np.array_equal(same, last):
                return [f"its last row is that of {name}: it is not updated"]
    if not np.any(wrong) or np.all(wrong):
        return []
    kept = bool(np.array_equal(x[wrong], old[wrong]) and np.any(x[right] != old[right]))
    found = []
    if len(case.thing.blocks) == 1 and len(shape) == 2 and shape[0] > 1 and np.all(right[: -shape[1]]):
        found.append(f"only the last row of {block} is wrong" + ", the bias" * (stem(block) == "theta")
                     + ": it keeps its old value, it is not updated" * kept)
    elif kept:
        found.append("it is wrong only where it keeps the old value: these entries are not updated")
    alike = {name: vector(value) for name, value in case.values.items() if len(vector(value)) == len(x)}
    own = block if isinstance(case.thing, Gradient) else f"the new {block}"
    for name, value in {own: x, **alike}.items():
        if not np.any(value < 0) or not np.any(value > 0):
            continue  # then its sign says nothing
        for what, where in (("0", value == 0), ("negative", value < 0), ("positive", value > 0)):
            if np.all(where[wrong]) and 2 * wrong.sum() >= max(where.sum(), 3) and not np.all(where):
                found.append(Guess(f"it is wrong only where {name} is {what}: another branch, or where it begins"))
    return found


def terms_in(case, x):
    """Return terms of which a multiple may be missing in a gradient: the block, and its distance to others."""
    name, missing = " and ".join(case.thing.blocks), "is missing or of the wrong strength"
    constant = "a constant, or " * bool(np.all(x > 0) or np.all(x < 0))  # of one sign |x| is x
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
    """Return the terms, at x, of which an array is a multiple: where it is wrong, and where it is right too.

    But not at a kink, where a slope says nothing, and not in a last row that is right as a whole, as of a bias.
    """
    shape, where, right = shape_of(case.values[case.thing.blocks[0]]), where & (x != 0), ~where & (x != 0)
    right[ENTRIES:] = False  # there nothing was looked for
    if len(shape) == 2 and shape[0] > 1 and not np.any(where[-shape[1]:]):
        right[-shape[1]:] = False

    def is_seen(term):
        guess = fitted_factor(got[where], term[where]) * term
        return np.any(guess) and fits(got[where], guess[where]) and np.all(
            abs(got - guess)[right] <= SHARE * np.max(abs(guess[where])))

    return [Guess(name) for name, term in terms_in(case, x).items() if where.sum() > 1 and is_seen(term)]


def moving(case, function, own=False):
    """Return the names of the values with which a vector moves that a function makes: the block's own, or the others.

    None if the function raises of them.
    """
    rng = np.random.default_rng(3)

    def other(value):  # not all entries by one factor, of which much is independent
        return 0.7 * value if isinstance(value, float) else mapped(lambda x: x * rng.uniform(0.5, 0.9, x.shape), value)

    names = [name for name, value in case.values.items()
             if isinstance(value, (float, np.ndarray, list, tuple)) and own == (name in case.thing.blocks)]
    there = [tried(function, replace(case, values={**case.values, name: other(case.values[name])})) for name in names]
    here = tried(function, case)
    if here is None or any(value is None or value.shape != here.shape for value in there):
        return None
    return [name for name, value in zip(names, there) if not np.max(abs(value - here)) <= 1e-6 * np.max(abs(here))]


def strange_reasons(case, u):
    """Return on what an update depends of which the energy of its block is independent."""
    used = moving(case, lambda other: other.block(result_of(other)))
    if not used:
        return []
    points = [u, *probes(u, case.block(), case.rng, True), *(u * (1 - unit) for unit in np.eye(len(u))[:ENTRIES]),
              *np.random.default_rng(4).standard_normal((12, len(u)))]
    held = moving(case, lambda other: np.array([other.at(x) - other.at(u) for x in points]))
    strange = [name for name in used if name not in (held or used)]
    absent = [name for name in held or () if name not in used and isinstance(case.values[name], np.ndarray)]
    return [f"it depends on {' and '.join(strange)}, of which the energy of the block is independent"
            + f", and not on {' and '.join(absent)}" * bool(absent)] * bool(strange)


def depends_reasons(case, defect):
    """Return on which of the values alone it depends how wrong a result is; `defect` of a case is a vector."""
    taken = set(case.values).intersection(*([] if None in case.wanted.values() else [itertools.chain(
        *case.wanted.values())]))
    found, others = moving(case, defect), taken - set(case.thing.blocks)
    if found is None or len(found) > 2 or len(found) == len(others) or len(case.values) < 3 or len(case.all) == 1:
        return []
    own = moving(case, defect, own=True)
    if own is None or not (found or own):
        return ["what is wrong is a constant"] * (own is not None)
    besides = f", besides the block {' and '.join(own)}," * bool(found and own)
    return [f"what is wrong depends on {' and '.join(found or own)}{besides} alone"]


# ---- argmin


def form_reason(case, result):
    """Return why a result has not the form of the block, or None."""
    blocks = case.thing.blocks
    result = [result] if len(blocks) == 1 else result
    if not isinstance(result, (list, tuple)) or len(result) != len(blocks):
        return f"the result is no tuple of {', '.join(blocks)}"
    shapes = [[leaf.shape for leaf in leaves(value)] for value in (list(result), [case.values[b] for b in blocks])]
    if shapes[0] != shapes[1]:
        transposed = ": it is transposed" if [shape[::-1] for shape in shapes[0]] == shapes[1] else ""
        return f"the result has not the shape of {' and '.join(blocks)}{transposed}"
    return None if np.all(np.isfinite(vector(list(result)))) else "it is not finite (NaN or inf)"


@claim("argmin", "no probe is lower: along coordinates, random directions, and from the old value",
       "E(u⁺ + t v; rest) ≥ E(u⁺; rest)", "definition")
def argmin_is_lowest(thing, case):
    result = tried(result_of, case) if case.is_degenerate else result_of(case)
    only_if(result is not None, "it raises of values that have ties, or a sample of zeros")
    wrong = form_reason(case, result)
    u = case.block(result)
    if wrong and case.is_degenerate and np.any(np.isnan(u)):
        return nan_finding(case, np.nan_to_num(u))
    if wrong:
        return Finding(math.inf, thing.tolerance, "u⁺ is of the block's form", (wrong,))
    probed = probed_around(case, u)
    if wrong := unusable(case, u, probed):
        return Finding(math.inf, thing.tolerance, "the energy must be able to refuse", (wrong,), wrong in SAYS_NOTHING)
    number, why = probed.excess, "relative to the decrease from the old value, beyond rounding"
    return Finding(number, thing.tolerance, why, lambda: argmin_reasons(case, u, probed))


def nan_finding(case, u):
    """Return the finding of an update that is NaN where a sample is zero: a mistake if 0 is the minimiser there."""
    only_if(in_set(case, u) and is_lowest(case, u, case.thing.tolerance), "it is NaN where a sample is zero")
    return Finding(math.inf, case.thing.tolerance, "the minimiser is 0 there", (
        "it is NaN where a row is zero, and should be 0: it divides by the norm",))


def minimum_finding(energy, block, update, old, xp=np, **given):
    """Return the finding of the claim that an array, or an update, minimises an energy in one block."""
    values = {block: old, **given}
    values = {name: Case("", np).lend(value) if np.ndim(value) else value for name, value in values.items()}
    thing = Argmin(energy, update if callable(update) else lambda: update, block, lambda rng: values)
    return measured(argmin_is_lowest, thing, DrawnCase("", xp, thing, values, [values], 0))


@claim("loss", "the prox minimises its objective: no probe is lower", "prox_τL(v) = argmin_u L(u) + ‖u − v‖²/2τ",
       "ProxProp §4.2.1")
def loss_prox(loss, case):
    has_prox(loss)
    only_if(case.z.size <= 12, "larger problems would take long")
    weight = loss.weight(len(case.w))

    def objective(u, v, tau, weight_of_a_sample, y=case.y):
        return case.loss_value(loss, u, y) * (weight_of_a_sample / weight) + ((u - v) ** 2).sum() / (2 * tau)

    def prox(v, tau, y=case.y):
        return case.call(lambda v, y: loss.prox(v, y, tau), v, y)

    tau = case.tau * len(case.w)
    try:
        prox(case.w, tau)
    except NotImplementedError as why:
        raise NotClaimed(f"its prox is not defined: {why}") from None
    # value and prox are given arrays of the backend by the case of the loss; labels are no numbers to be altered
    given = {} if case.y.dtype.kind in "iu" else {"y": case.y}
    return minimum_finding(objective, "u", prox, case.w, v=case.w, tau=tau, weight_of_a_sample=weight, **given)


def probed_around(case, u, local=False):
    """Return what `Probed` finds around a point of a case."""
    local = local or case.thing.local
    return Probed.around(case.at, u, case.block(), case.rng, local, lambda x: projected(case, x))


def unusable(case, u, probed):
    """Return why probes around u can say nothing, or None."""
    if not math.isfinite(probed.value):
        return "u⁺ is outside the domain: E(u⁺) is not finite"
    if not in_set(case, u):
        return "u⁺ is not in the set on which project projects"
    if probed.inside < 0.05:
        return SAYS_NOTHING[0]
    if probed.lowest == probed.highest:
        return SAYS_NOTHING[1]
    return None


def projected(case, x):
    """Return a vector's nearest point of the set, if there is one."""
    if case.thing.project is None:
        return x
    values = case.with_block(x)
    blocks = [values[name] for name in case.thing.blocks]
    return vector(case.thing.project(blocks[0] if len(blocks) == 1 else tuple(blocks)))


def in_set(case, x):
    """Whether a vector is in the set on which project projects."""
    gap = np.max(abs(projected(case, x) - x), initial=0.0)
    return bool(gap <= 1e-7 * (1 + np.max(abs(x), initial=0.0)))


def is_lowest(case, u, enough, lower=None):
    """Whether no probe around a vector is lower by more than enough; around nothing, if the energy is flat.

    A wrong one mostly fails at the first few, or at a point that was lower elsewhere.
    """
    value, size = case.at(u), max(np.max(abs(u), initial=0.0), 1e-3)
    if not math.isfinite(value) or (lower is not None and case.at(lower) < value - 1e-12 * abs(value)):
        return False
    for v in np.random.default_rng(2).uniform(-size, size, (3, len(u))):
        for t in (1e-3, -1e-3) if case.thing.local else (1e-3, -1e-3, 0.1, -0.1):
            if case.at(projected(case, u + t * v)) < value - 1e-12 * abs(value):
                return False
    probed = probed_around(case, u)
    return probed.excess <= enough and probed.highest > probed.value + probed.noise


def argmin_reasons(case, u, probed):
    """Return the mistakes without which a claimed minimiser passes all probes."""
    enough = min(case.thing.tolerance, SHARE**2 * probed.excess)  # of energies, which go with the square of an error

    def passes(x):
        # as low as what has been found already: that is quickly asked
        return case.at(x) <= probed.lowest + probed.noise and in_set(case, x) and is_lowest(case, x, enough)

    def passes_of(other):
        return np.any(u) and is_lowest(other, u, enough, probed.where)

    lower = lower_entries(case, u, probed)
    stuck = bool(len(u) > 1 and probed.inside > 0.9 and not probed.bent and case.thing.project is None
                 and not np.any(lower) and case.at(u + 1e-3 * (probed.where - u)) < probed.value - probed.noise)
    found = [*["there is no step: it is the old value"] * (not np.any(u != case.block())),
             *["no entry by itself lowers the energy, several together do: it is stuck, as coordinate descent at a "
               "kink"] * stuck,
             *maximum_reasons(case, u, probed),
             *["all its rows are the same: one is taken for all"] * has_equal_rows(case, u, lower),
             *(what for what, x in minimiser_guesses(case, u) if passes(x))]
    own, shared = ({name: value for name, value in defaults_of(getattr(case.thing, role)).items()
                    if name not in case.all[0]} for role in ("update", "energy"))
    found += [f"its {name} is {own[name]:g} by default, that of the energy {shared[name]:g}"
              for name in own if name in shared and own[name] != shared[name]]
    fixed = case.wanted["update"] == []  # an array that is given, whatever is drawn
    found += filter(lambda what: fixed or not disproved(case, what), altered_reasons(
        case, passes_of, lambda result: not form_reason(case, result) and passes(case.block(result))))
    found += [what for what, x in unshrunk_guesses(case, u) if passes(x)]  # after a number that is another
    found += [*explicit_reasons(case, u, case.block()), *apart_reasons(case, u, enough)]
    found += [what for what, x in moved_guesses(case) if passes(x)]
    if stem(case.thing.blocks[0]) == "theta":  # a fact, whatever else may explain it
        found += [what for what in seen_in(case, u, lower) if what.startswith("only the last row")]
    if not found and repeated_comes_nearer(case, u, probed):
        return ["it is one step, or a few, of an iteration that has not converged: repeated, it comes to the minimiser"]
    found = found or unread_reasons(case)
    near = None if found else probed_around(case, u, local=True)
    if found or case.thing.project is not None:
        return found or ["among the points of the set nearby it is no worse, to first order: it is another stationary "
                         "point, as of another singular vector or sign"] * bool(near.bent or not near.excess)
    if near.bent:
        return [f"it is {near.bent}, no minimum: only the slope vanishes there"]
    if not near.excess:
        return ["it is a local minimiser, not the global one"]
    steps = (case.wanted["update"] is None or set(case.thing.blocks) & set(case.wanted["update"]))
    seen = [*strange_reasons(case, u), *(() if steps else cut_reasons(case, u, lower)), *seen_in(case, u, lower),
            *(() if at_bound(case, u) else left_terms(case, u, lower))]
    seen = seen or [what for what, x in last_guesses(case, u) if passes(x) and is_always_last(case, enough)]
    seen = seen or between_reasons(case, u)
    return seen or depends_reasons(case, lambda other: slope_at(other, other.block(result_of(other))))


def unread_reasons(case):
    """Return of which square arrays an update reads one triangle alone, where the energy depends on both."""
    here, found = result_of(case), []
    for name, value in case.values.items():
        if not isinstance(value, np.ndarray) or value.ndim != 2 or len(value) != len(value.T) or len(value) < 2 or (
                name in case.thing.blocks or np.allclose(value, value.T)):
            continue
        shaken = np.random.default_rng(5).uniform(0.5, 0.9, value.shape)
        reads, matters = [], []
        for part in (np.triu, np.tril):
            other = {**case.values, name: value + part(value * (shaken - 1), 1 if part is np.triu else -1)}
            result = tried(result_of, case, other)
            reads.append(result is None or not np.array_equal(vector(result), vector(here)))
            matters.append(case.energy(other) != case.energy(case.values))
        if all(matters) and reads[0] != reads[1]:
            found.append(f"it reads {name} {'above' if reads[0] else 'below'} its diagonal alone, as if it were "
                         "symmetric")
    return found


def between_reasons(case, u):
    """Return whether what is wrong lies between two sizes of another array: the threshold of a branch.

    The entries of all draws are taken together, if they have the same numbers.
    """
    numbers = [{name: value for name, value in values.items() if np.ndim(value) == 0} for values in case.all]
    if len(case.thing.blocks) > 1 or any(other != numbers[0] for other in numbers) or is_coupled(case, u):
        return []
    parts = []
    for values in case.all:
        other = replace(case, values=values)
        result = tried(result_of, other)
        if result is None or form_reason(other, result):
            return []
        parts.append((other, x := other.block(result), lower_entries(other, x, probed_around(other, x))))
    found = []
    for name in case.values:
        sizes = [vector(other.values[name]) for other, *_ in parts]
        if name in case.thing.blocks or any(len(size) != len(x) for size, (_, x, _) in zip(sizes, parts)):
            continue
        size, wrong = abs(np.concatenate(sizes)), np.concatenate([lower for *_, lower in parts])
        if wrong.sum() < 3 or wrong.all():
            continue
        low, high = size[wrong].min(), size[wrong].max()
        below, above = size[~wrong] < low, size[~wrong] > high
        if np.all(below | above) and below.sum() > 1:
            where = f"between about {low:.2g} and {high:.2g}" if above.sum() > 1 else f"more than about {low:.2g}"
            found.append(f"it is wrong only where |{name}| is {where}: there a branch begins, or ends")
    return found


def maximum_reasons(case, u, probed):
    """Return whether a claimed minimiser is a maximum or a saddle, in all that is drawn or in some alone."""
    if probed.highest > probed.value and not probed.bent:
        return []
    others = [replace(case, values=values) for values in case.all]
    if any(measured(argmin_is_lowest, case.thing, other).holds for other in others):
        what = f"it is {probed.bent or 'a maximum'} in some problems, in others the minimum: the curvature changes"
        return [f"{what} its sign with a number (a step size beyond which the energy is concave)"
                ] * (not at_bound(case, u))
    if probed.bent:
        return [f"it is {probed.bent}, no minimum: only the slope vanishes there, or the energy's sign is wrong"]
    return ["it is a maximum: the sign of the energy is wrong"]


def disproved(case, what):
    """Whether a mistake that would explain a wrong update does not explain it where all arrays are a fifth as large.

    Or where numbers that both functions have by default are others: with ε = ½ a factor ε is a root.
    """
    both = {name: 0.8 * value for name, value in shared_defaults(case.thing).items()
            if name in (case.wanted["update"] or ())}
    return any(disproved_at(case, what, values) for values in (
        {name: value / 5 for name, value in case.values.items() if isinstance(value, np.ndarray)}, both) if values)


def disproved_at(case, what, others):
    """Whether a mistake explains a wrong update no more where some values are others."""
    other = replace(case, values={**case.values, **others})
    made = [values for text, values in alterations(other.values) if text == what]  # of N rows, several
    result = tried(result_of, other)
    if not made or result is None or form_reason(other, result) or not np.any(u := other.block(result)):
        return False
    wrong = math.isfinite(other.at(u)) and not is_lowest(other, u, case.thing.tolerance)
    return wrong and not any(is_lowest(replace(other, values=values), u, case.thing.tolerance) for values in made)


def at_bound(case, u):
    """Whether u is at the end of the energy's domain, where no slope says which term is missing."""
    size, units = entry_steps(case, u)
    return not all(math.isfinite(case.at(u + sign * 1e-3 * size * unit)) for unit in units for sign in (1, -1))


def left_terms(case, u, lower):
    """Return the terms of which the slope at u is a multiple, if it is none at a point nearby: then it is all of E."""
    near = u + 0.1 * lower * case.rng.uniform(0.5, 1, len(u)) * entry_steps(case, u)[0]
    here, there = (term_seen(case, x, slope_at(case, x), lower) for x in (u, near))
    return [term for term in here if term not in there]


def has_equal_rows(case, u, lower):
    """Whether some block has several rows, all of them the same and one of them right, or not of one number."""
    new, wrong = ([case.with_block(x)[name] for name in case.thing.blocks] for x in (u, lower))
    return any(len(shape_of(x)) == 2 and len(x) > 1 and np.any(x) and not np.any(np.ptp(x, axis=0))
               and (np.ptp(x) or not np.all(np.any(bad, axis=1))) for x, bad in zip(new, wrong))


def minimiser_guesses(case, u):
    """Yield (what is wrong, u⁺ with that undone)."""
    alike = {name: vector(value) for name, value in case.values.items() if len(vector(value)) == len(u)}
    for name, old in {" and ".join(case.thing.blocks): case.block(), **alike}.items():
        if np.any(u):  # 0 is no step, it may be what something shrinks towards
            yield f"it is the step from {name}, not the new value", old + u
            yield f"it is minus the step from {name}, not the new value", old - u
        yield from lengths(case, old, u - old, f"the sign of the step from {name} is wrong", {
            0.5: f"it takes half of the step from {name}", 2.0: f"it takes twice the step from {name}"},
            "it takes {:.3g} times " + f"the step from {name}")
        if name in alike and name not in case.thing.blocks:
            yield f"it should be {name} as it is, which it moves", old
    sizes = {value: f"it is off by a factor {name}" for name, value in reversed(case.sizes().items())}
    plain = {0.5: "it is off by a factor ½", 2.0: "it is off by a factor 2"}
    yield from lengths(case, 0 * u, u, "its sign is wrong", plain | sizes, "it is off by the constant factor {:.6g}")
    if np.any(u):
        yield "it should be 0: what is below a threshold is not cut there", 0 * u
    shape = shape_of(case.values[case.thing.blocks[0]])
    if len(shape) == 2 and shape[0] == shape[1] and shape[0] ** 2 == len(u):
        yield "it is transposed", u.reshape(shape).T.ravel()
        if np.linalg.cond(u.reshape(shape)) < 1e6:
            yield "it is the inverse of what it should be", np.linalg.inv(u.reshape(shape)).ravel()


def unshrunk_guesses(case, u):
    """Yield (what is wrong, u⁺ with that undone): a hard threshold, of entries or norms, where a soft one should be."""
    shape, ways = shape_of(case.values[case.thing.blocks[0]]), {"each entry": np.sign(u)}
    if len(case.thing.blocks) == 1 and len(shape) == 2 and min(shape) > 1 and np.any(u):
        left, sizes, right = np.linalg.svd(u.reshape(shape), full_matrices=False)
        ways["each singular value"] = ((left * (sizes > 1e-9 * sizes[0])) @ right).ravel()
        for axis, what in ((1, "the norm of each row"), (0, "the norm of each column")):
            norm = np.linalg.norm(u.reshape(shape), axis=axis, keepdims=True)
            ways[what] = (u.reshape(shape) / np.where(norm > 0, norm, 1)).ravel()
    for what, way in ways.items():
        t = best_length(case, u, way) if np.any(way) else math.nan
        if math.isfinite(t) and abs(t) > 1e-6 and len(u) > 1 and np.ptp(abs(u)) > 0:
            size = "large: it is cut (a hard threshold), not shrunk" if t < 0 else "small: it is shrunk too far"
            yield f"{what} that is not 0 is too {size}, all by one number", u + t * way


def last_guesses(case, u):
    """Yield (what is wrong, u⁺ with that undone): the last row alone, or the last entry of a vector, is moved."""
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
    """Whether in each draw the update is right once its last row or entry is."""
    for values in case.all:
        other = replace(case, values=values)
        result = tried(result_of, other)
        if result is None or form_reason(other, result) or not any(
                is_lowest(other, x, enough) for _, x in last_guesses(other, other.block(result))):
            return False
    return True


def moved_guesses(case):
    """Yield (what is wrong, u⁺ with that undone): another array should be where 0 is, to which all are moved for u⁺."""
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
    """Yield what to say of a step of the wrong length or sign, and where on its line the energy is least."""
    t = best_length(case, base, step) if np.any(step) else math.nan
    if not math.isfinite(t) or abs(t - 1) < 1e-6 or t == 0:
        return
    known = [text for factor, text in {-1.0: negative, **named}.items() if abs(factor * t - 1) < 1e-5]
    if known or len(step) > 1:  # one number is any other times a factor
        yield (known or [other.format(1 / t)])[0], base + t * step


def best_length(case, base, step):
    """Return the t at which the energy is least along base + t step, by Newton's method with differences; or NaN."""
    t, h = 1.0, 1e-4
    for _ in range(8):
        low, here, high = (case.at(base + (t + s) * step) for s in (-h, 0.0, h))
        curve = low - 2 * here + high
        if not 0 < curve < math.inf:
            return math.nan
        t -= h * (high - low) / (2 * curve)
    return t


def apart_reasons(case, u, enough):
    """Return whether each of several blocks is minimal with the others as they are or were, and not all together."""
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
    """Whether an update that starts at the old value comes to the minimiser when it is repeated."""
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


def entry_steps(case, u):
    """Return the size of steps at u, and the unit vectors of the first entries."""
    return max(np.max(abs(u), initial=0.0), 1e-3), np.eye(len(u))[:ENTRIES]


def lower_entries(case, u, probed):
    """Return of which entries a change lowers the energy by itself."""
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
    if not math.isfinite(case.at(old)) or not np.any(u != old) or case.thing.project is not None:
        return []
    slope = gradient(case.at, old, Tangents(old.shape, np.random.default_rng(1))).value
    if slope.shape != old.shape or not np.all(np.isfinite(slope)) or not np.any(slope):
        return []
    share = float(np.vdot(slope, old - u) / np.vdot(slope, slope))
    # the differences of a curved energy leave 1e-6
    along = np.max(abs(old - u - share * slope)) <= 1e-5 * np.max(abs(old - u))
    rate = any(isinstance(value, float) and abs(share - value) <= 1e-5 * value for value in case.values.values())
    length = best_length(case, old, u - old) if along and not rate else math.nan
    if math.isfinite(length) and is_lowest(case, old + length * (u - old), case.thing.tolerance):
        return []  # the gradient leads to the minimiser: it is a matter of the length
    return ["the step is along the gradient at the old value: it is explicit, not implicit"] * bool(
        along and len(u) > 1 and share > 0)


# ---- gradient


@claim("gradient", "the claimed gradient, by differences", "∂E/∂u", "definition")
def gradient_is_derivative(thing, case):
    x, got = case.block(), result_of(case)
    if wrong := form_reason(case, got):
        return Finding(math.inf, thing.tolerance, "it is of the block's form", (wrong,))
    only_if(math.isfinite(case.at(x)), "the drawn point is outside the domain")
    tangents = Tangents(x.shape, np.random.default_rng(1))
    reference = gradient(case.at, x, tangents)
    only_if(np.all(np.isfinite(reference.value)), "the drawn point is too near the end of the domain")
    size = max(abs(energy) for energy in map(case.energy, case.all) if math.isfinite(energy))
    reference = reference.loosened(thing.tolerance)._replace(floor=min(reference.floor, 1e-3 * size))
    single = leaves(got)[0].shape if len(leaves(got)) == 1 and tangents.full else None

    def shaped(values):  # as the one array that it is, for what is said of rows and transposes
        return values if single is None else values.reshape(single)

    mine, along = tangents.project(case.block(got)), case.rng.standard_normal(x.shape)
    finding = compare(shaped(mine), reference._replace(candidates=list(map(shaped, reference.candidates))),
                      factors=case.sizes(), theta=stem(thing.blocks[0]) == "theta")
    if finding.holds:
        return finding

    def is_right(result):
        return not form_reason(case, result) and compare(tangents.project(case.block(result)), reference).holds

    def is_right_of(other):
        first = central_differences(other.at, other.block(), along)[0]  # which is quickly asked
        if not abs(first - case.block(got) @ along) <= 1e-4 * abs(first):
            return False
        right = gradient(other.at, other.block(), tangents).loosened(thing.tolerance)
        return compare(mine, right._replace(floor=reference.floor)).holds

    def defect(other):
        return other.block(result_of(other)) - gradient(other.at, other.block(), Tangents(x.shape)).value

    def reasons():
        plain = [reason for reason in finding.reasons if reason in PLAIN]
        found = [*plain, *altered_reasons(case, is_right_of, is_right), *finding.reasons]
        if tangents.full:
            off = mine - reference.value
            wrong = abs(off) > 1e-5 * np.max(abs(reference.value))
            found += [*block_reasons(case, mine, reference.value), *seen_in(case, x, wrong),
                      *missing_terms(case, x, off, wrong, defect)]
            found = found or [*no_gradient_reasons(case, x), *depends_reasons(case, defect)]
        return list(dict.fromkeys(found))

    return finding._replace(reasons=reasons)


def block_reasons(case, got, right):
    """Return in which of several blocks a gradient is wrong, and how, if it is right in others."""
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
        moved = [moved_block(case, name, mine.ravel(), other, parts[other][0]) for other in names if other not in wrong]
        said = filter(None, [*compare(mine, dense(ours), factors=case.sizes()).mistakes(), *moved])
        found += [f"it is wrong in {name} alone: {reason}" for reason in said]
    return found or [f"it is wrong in {' and '.join(wrong)} alone"]


def moved_block(case, name, got, other, slope):
    """Return whether a gradient in one block is that after a step of another along its own gradient, or None."""
    one = replace(case, thing=replace(case.thing, block=name))

    def at(t):
        moved = filled([case.values[other]], vector(case.values[other]) - t * slope)[0][0]
        there = replace(one, values={**case.values, other: moved})
        return gradient(there.at, there.block(), Tangents(got.shape)).value

    t, here, h = 0.0, at(0.0), 1e-4
    for _ in range(8):
        along = (at(t + h) - here) / h
        t += float(np.vdot(along, got - here) / (np.vdot(along, along) + 1e-300))
        here = at(t)
        if not np.all(np.isfinite(here)):
            return None
    return (f"it is taken at the new {other}, after a step along its gradient, not at the one that is given"
            if abs(t) > 1e-6 and fits(got, here) else None)


def no_gradient_reasons(case, x):
    """Return whether a claimed gradient is none of any function: then its derivative is not symmetric."""
    v, w = np.random.default_rng(6).standard_normal((2, len(x)))

    def claimed(x):
        return case.block(result_of(case, case.with_block(x)))

    one, other = (tried(directional, claimed, x, way) for way in (v, w))
    if len(x) < 2 or one is None or other is None:
        return []
    sides = w @ one.value, v @ other.value
    size = np.linalg.norm(one.value) * np.linalg.norm(w) + np.linalg.norm(other.value) * np.linalg.norm(v)
    why = ("a matrix should be transposed, what depends on the block is held constant, or something is taken at "
           "another point or step")
    return [f"it is the gradient of no function, its derivative is not symmetric: {why}"] * bool(
        abs(sides[0] - sides[1]) > 1e-3 * size)


def missing_terms(case, x, off, wrong, defect):
    """Return the terms of which a gradient is off by a multiple, at x and nearby: two may be one at x, the identity."""
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


@claim("equal", "the formula is the reference", "f(x) = r(x)", "definition")
def formula_is_reference(thing, case):
    got, expected = result_of(case), case.run("reference")
    if [x.shape for x in leaves(got)] != [x.shape for x in leaves(expected)] and len(leaves(expected)) > 1:
        return Finding(math.inf, thing.tolerance, "they are of one form", ("the results are not of one form",))

    def plain(result):
        return leaves(result)[0] if len(leaves(result)) == 1 else vector(result)

    if not np.size(plain(expected)):
        return Finding(math.inf, thing.tolerance, "an empty result says nothing", ("the reference returns nothing",))
    if not np.all(np.isfinite(vector(expected))):
        what = "NaN" if np.any(np.isnan(vector(expected))) else "inf"
        return Finding(math.inf, thing.tolerance, "a reference is of numbers", (
            f"the reference returns {what}: it is to blame, or what is drawn is outside of its domain",))
    right = dense(plain(expected), thing.tolerance, "the claim's tolerance")._replace(floor=1e-12)
    finding = compare(plain(got), right, factors=case.sizes(), terms={
        "all entries are off by one number: that of a column of ones, say": np.ones(np.shape(plain(expected)))}
        if np.size(plain(expected)) > 1 else {})
    if finding.holds:
        return finding

    def is_right_of(other):
        return fits(plain(got), plain(other.run("reference")), plain(expected))

    def defect(other):
        return vector(result_of(other)) - vector(other.run("reference"))

    def reasons():
        others = [values for values in case.all[: case.k] if replace(case, values=values).form == case.form]
        if any(fits(plain(got), plain(case.run("reference", values)), plain(expected)) for values in others):
            return ["it is the result of an earlier draw of these shapes: it is cached, or remembered"]
        found = altered_reasons(case, is_right_of, lambda result: fits(plain(result), plain(expected)))
        return [*finding.reasons, *found, *sign_reasons(case, plain(got), plain(expected))] or [
            *ends_reasons(case, defect), *order_reasons(case)] or depends_reasons(case, defect)

    return finding._replace(reasons=reasons)


def sign_reasons(case, got, expected):
    """Return whether a formula is wrong only where an array of its shape has one sign."""
    if got.shape != expected.shape:
        return []
    wrong = abs(got - expected) > FITS * np.max(abs(expected), initial=0.0)
    return [Guess(f"it is wrong only where {name} is {what}: another branch, or where it begins")
            for name, value in case.values.items() if shape_of(value) == got.shape and got.ndim
            for what, where in (("negative", value < 0), ("positive", value > 0))
            if np.any(wrong) and np.all(where[wrong]) and not np.all(where) and 2 * wrong.sum() >= max(where.sum(), 3)]


def order_reasons(case):
    """Return whether a formula depends on the order of rows, and its reference does not."""
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


def ends_reasons(case, defect):
    """Return whether a defect depends on the first row of an array alone, where a recursion starts, or on the last."""
    here, found = tried(defect, case), []
    for name, value in case.values.items() if here is not None and np.all(np.isfinite(here)) else ():
        if not isinstance(value, np.ndarray) or len(shape_of(value)) == 0 or len(value) < 3:
            continue

        def moves(rows, name=name, value=value):
            changed = value.copy()
            changed[rows] *= np.random.default_rng(3).uniform(0.5, 0.9, changed[rows].shape)
            there = tried(defect, replace(case, values={**case.values, name: changed}))
            return there is None or there.shape != here.shape or not np.max(abs(there - here)) <= 1e-6 * np.max(
                abs(here))

        found += [f"what is wrong depends on the {which} row of {name} alone: on where it {does}"
                  for which, does, one, others in (("first", "starts", slice(1), slice(1, None)),
                                                   ("last", "ends", slice(-1, None), slice(-1)))
                  if not moves(others) and moves(one)]
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


# ---- decreases


def swept(case, values):
    """Return the values after one sweep, and the names of those that it changes."""
    new = case.run("sweep", values)
    if not isinstance(new, dict) or not new:
        raise TypeError(f"sweep must return a dict of new values, for some of {', '.join(values)}; got {shown(new)}")
    if unknown := set(new) - set(values):
        raise unknown_name("sweep returns", min(unknown), list(values))
    for name, value in new.items():
        if [x.shape for x in leaves(value)] != [x.shape for x in leaves(values[name])]:
            raise ValueError(f"sweep returns {name} in another shape than it was given")
    return {**values, **{name: mapped(np.array, value) for name, value in new.items()}}, tuple(new)


@claim("decreases", "one sweep after another does not increase the energy", "E(x⁺) ≤ E(x)", "definition")
def sweep_decreases(thing, case):
    only_if(thing.descends, "it is not claimed")
    path, energies = [case.values], [float(case.energy(case.values))]
    for _ in range(FOLLOWED):
        path.append(swept(case, path[-1])[0])
        energies.append(float(case.energy(path[-1])))
        if not math.isfinite(energies[-1]) or same_values(*path[-2:]):
            break
    only_if(math.isfinite(energies[0]), "the drawn point is outside the domain")
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
        return [*(one_by_one_reasons(case, before) or too_long_reasons(case, before)), reason]

    return Finding(max(number, 0.0), thing.tolerance, "relative to the energy", reasons)


def same_values(some, others):
    """Whether two dicts of values are the same, bit for bit: a sweep has come to rest."""
    return all(np.array_equal(vector(some[name]), vector(others[name])) for name in some)


def too_long_reasons(case, values):
    """Return whether a tenth of each sweep's step would lower the energy, to the end, or no part of it would.

    To the end: towards a wrong point the energy may fall at first.
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
        return ["a sweep increases the energy, however short its step: its direction is wrong, not its length, by a "
                "sign, a weight or a factor in it"]
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
    """Return whether a sweep would lower the energy if each block, or each entry of one, saw those moved before it."""
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
                return []  # it is no minimum of the entry: the step's length is to blame
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
    counts = [unmoved_entries(replace(case, thing=Gradient(thing.energy, thing.sweep, names, thing.draw)), values)
              for values in case.all]
    moves_nothing = all(count == size for count, size in counts)
    return nothing_of(["the energy does not depend on any of what the sweep returns"] * moves_nothing,
                      f"held constant, not in the sweep: {held}")


@claim("decreases", "it rests only where the energy is stationary in each block", "x⁺ = x ⇒ E(x + t v) ≥ E(x) − o(t)",
       "definition")
def rests_are_stationary(thing, case):
    values, names = rest_of(case)
    if not thing.descends and (forgotten := forgotten_multiplier(case, names)):
        return nothing_of([f"the energy is linear in {forgotten}, a multiplier, which the sweep never changes: no dual "
                           "step"], "the energy is stationary in a multiplier too")
    if values is None:
        reason = "it comes to rest nowhere, it diverges: the sign of a step is wrong, or the step too long"
        return Finding(math.inf, 1e-4, "nothing else is claimed of a sweep that does not descend", (reason,))
    worst, where = 0.0, ""
    for name in names:
        slope = steepest(case, values, name) / (steepest(case, case.values, name) + steepest_size(case, values))
        if not slope <= worst:
            worst, where = slope, name
    reason = f"it rests where the energy is not stationary in {where}"
    if values is case.values:
        reason = "it moves nothing, and the energy is not stationary"
    return Finding(worst, 1e-4, "one-sided differences of step 1e-5, relative to the slope where it began", (reason,))


def rest_of(case):
    """Return the values at which the sweeps come to rest, and the names of those that they change.

    The values are None where they grow without end, and a sweep is not said to descend: nothing else is claimed of it.
    """
    values, moved = case.values, math.inf
    for k in range(SWEEPS):
        new, names = swept(case, values)
        moved = max(np.max(abs(vector(new[name]) - vector(values[name])), initial=0.0)
                    / (1e-12 + np.max(abs(vector(values[name])), initial=0.0)) for name in names)
        if not np.isfinite(moved):
            break
        if moved <= 1e-10:
            return (values if k == 0 else new), names
        values = new
    rests = np.isfinite(moved) and moved <= 1e-7
    grows = not np.isfinite(moved) or any(
        np.max(abs(vector(values[name]))) > 1e6 * (1 + np.max(abs(vector(case.values[name])))) for name in names)
    only_if(rests or (grows and not case.thing.descends), f"{SWEEPS} sweeps do not come to rest")
    return values if rests else None, names


def multipliers(case):
    """Return the names of the arrays in which the energy is linear. Data of that kind are bound in the functions."""
    def is_linear(name):
        value = case.values[name]
        step = case.rng.standard_normal(np.shape(value))
        low, here, high = (float(case.energy({**case.values, name: value + t * step})) for t in (-30.0, 0.0, 30.0))
        bend, rise = abs(low - 2 * here + high), abs(high - low)
        return math.isfinite(bend) and bend <= 1e-9 * (abs(low) + abs(high)) < 1e-3 * rise

    return [name for name, value in case.values.items() if np.ndim(value) and isinstance(value, np.ndarray)
            and is_linear(name)]


def forgotten_multiplier(case, moved):
    """Return the first multiplier, if none is among what a sweep moves that is not said to descend: it has some."""
    linear = multipliers(case)
    return linear[0] if linear and not set(linear) & set(moved) else None


def steepest(case, values, name):
    """Return how fast the energy falls from some values, at most, when one of them moves."""
    x, template = vector(values[name]), [values[name]]
    size = max(np.max(abs(x), initial=0.0), 1e-3)

    def energy(x):
        return case.energy({**values, name: filled(template, x)[0][0]})

    units = np.eye(len(x))[case.rng.permutation(len(x))[:COORDINATES]]
    random = case.rng.standard_normal((6, len(x)))
    value, fastest = energy(x), 0.0
    for v in (*units, *random):
        for sign in (1, -1):
            # half the second step's slope taken away: what falls only with the square of the step is no slope
            near, far = (energy(x + sign * t * size * v) - value for t in (1e-5, 2e-5))
            slope = max(2 * near - far / 2, near) / (1e-5 * size)  # between the two a kink may lie, from which it rises
            if np.isfinite(slope):
                fastest = max(fastest, -slope)
    return fastest


def steepest_size(case, values):
    """Return the slope below which differences of the energy are rounding."""
    return 1e-6 * abs(float(case.energy(values))) + 1e-12
