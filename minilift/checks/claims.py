r"""The four claims that a researcher makes: a minimiser, a gradient, an equality, a descent.

Each is a claim about *functions of drawn instances*: the functions take named arrays and numbers, and ``draw(rng)``
returns a dict of them, with different sizes and step sizes each time. A function receives those its arguments name.

>>> import numpy as np, minilift as ml
>>> def energy(z, v, lam):
...     return lam * abs(z).sum() + ((z - v) ** 2).sum() / 2
>>> def update(v, lam):
...     return np.sign(v) * np.maximum(abs(v) - lam, 0)
>>> ml.verify(ml.Argmin(energy, update, block="z")).passed
True

Nothing but values of the energy is used: it may have kinks, and outside its domain it may be inf or NaN, or raise an
ArithmeticError or a ValueError. If no `draw` is given, arguments with standard names are drawn in their standard
shapes: see `usual_draw`.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minilift.checks.cases import FIRST_IS_LAST, Case, interleaved, to_host
from minilift.checks.numeric import COORDINATES
from minilift.checks.report import claim, error_text, nothing_of, only_if
from minilift.support.arguments import boolean, function, positive_number, shown, text

DRAWS = 12
# N, n_in, n_out, each drawn twice, so that a cached first result is found
SIZES = ((5, 3, 2), (1, 4, 1), (3, 1, 5), (16, 3, 2), (2, 4, 4), (17, 2, 1))
SCALES = {9: 10.0, 11: 0.1}  # of some draws, so that branches for large or small entries are reached
MANY_ROWS = 16  # times as many rows in the last draw of an equality, so that code working in chunks is reached
TIED, ZERO_ROW = 6, 8  # for a minimiser: the draws in which entries are whole numbers, or a sample is zero
SHAPES = {  # of arrays drawn by name; a suffix, as in theta_k, is ignored
    "a": ("N", "n_in"), "x": ("N", "n_in"), "X": ("N", "n_in"), "A": ("N", "n_in"),
    "z": ("N", "n_out"), "u": ("N", "n_out"), "v": ("N", "n_out"), "g": ("N", "n_out"), "y": ("N", "n_out"),
    "p": ("N", "n_out"), "target": ("N", "n_out"), "W": ("n_in", "n_out"), "theta": ("n_in + 1", "n_out"),
    "b": ("n_out",)}
NUMBERS = ("tau", "tau_theta", "rho", "gamma", "beta", "lam", "eta", "mu", "alpha", "damping")
WRITES = "read-only"  # appears in NumPy's error when a function writes into an array it was lent
OUTSIDE = (ArithmeticError, ValueError)  # LinAlgError is a ValueError


# ---- what is drawn


def log_uniform(rng, low=1e-3, high=1e3):
    """Return a number between `low` and `high`, log-uniformly distributed: a step size that is never exactly 1."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def usual_draw(names, k, rng, rows=1):
    """Return a dict of standard arrays and numbers for some names of arguments, with the k-th sizes of `SIZES`.

    With N samples, n_in inputs and n_out outputs: a, x, X and A have shape (N, n_in); z, u, v, g, y, p and target have
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
    """Return standard values, in two of the draws with exact ties or with a last sample that is zero."""
    def changed(name, value):
        if k == TIED and np.ndim(value):
            return np.round(value)
        if k == ZERO_ROW and np.ndim(value) and SHAPES[stem(name)][0] == "N":
            value[-1] = 0
        return value

    return {name: changed(name, value) for name, value in values.items()}


def stem(name):
    """Return the name without a suffix, if it is not itself the name of a standard array."""
    return name if name in SHAPES else re.sub(r"(_\w+|\d+)$", "", name)


def arguments_of(what, given):
    """Return the names of a function's required arguments, those of all, and whether it takes any others."""
    try:  # np.vectorize keeps the function itself
        parameters = inspect.signature(getattr(given, "pyfunc", given)).parameters.values()
    except (TypeError, ValueError):  # of a function in C
        parameters = None
    if parameters is None or any(p.kind == p.POSITIONAL_ONLY for p in parameters):
        raise TypeError(f"{what} must be a function whose arguments have names, got {shown(given)}")
    wanted = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [p.name for p in parameters if p.name in wanted and p.default is p.empty]
    return needed, wanted, any(p.kind == p.VAR_KEYWORD for p in parameters)


def leaves(value):
    """Return the arrays in a value: an array, a number, or a list of these, in which None may hold a place."""
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
    """Return a value shaped like a template, filled from the start of a vector, and the entries that are left."""
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


def on_host(value):
    """Return a result with all its arrays as NumPy's."""
    if isinstance(value, dict):
        return {name: on_host(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [on_host(item) for item in value]
    return to_host(value) if hasattr(value, "dtype") and not isinstance(value, np.number) else value


def mapped(change, value):
    """Return a value with each of its arrays changed; numbers stay."""
    if isinstance(value, (list, tuple)):
        return [mapped(change, item) for item in value]
    return change(value) if isinstance(value, np.ndarray) else value


# ---- the four claims


class DrawnClaim:
    """The base class of the four claims: it checks the functions and the draw when the claim is made."""

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

    No derivatives are needed. The energy at u⁺ is compared with that at random points and at probes, none of which may
    be lower: steps of 1e-6 to 10 times the size of u⁺, either way, along coordinates, random directions and the line to
    the old value, and with equal entries moved together.

    Parameters
    ----------
    energy : callable
        From named arrays to a number; inf or NaN outside its domain.
    update : callable
        From named arrays to u⁺; if the block's old value is among its arguments, the update starts there.
    block : str or tuple of str
        The name of the block that is updated, or the names of several, for which the update returns a tuple.
    draw : callable, optional
        ``draw(rng)`` returns a dict with a value for each name: an array, a number or a list of arrays. By default
        standard names are drawn in standard shapes: a, x, X, A (N, n_in); z, u, v, g, y, p, target (N, n_out); W
        (n_in, n_out); theta (n_in + 1, n_out); b (n_out,); tau, rho, gamma, beta, lam, eta, mu, alpha and damping are
        positive numbers. What follows an underscore, as in W_new, does not matter.
    project : callable, optional
        For a set without interior (a sphere, a simplex, matrices whose diagonal is 0): maps u, or the tuple, to the
        nearest point of the set.
    local : bool, default False
        Whether u⁺ is claimed to be a local minimiser only. Probes are then short, at most 1e-5 of the size of u⁺ or of
        its step, whichever is larger, and detect an error in u⁺ of about a hundredth of that, but none smaller.
    tolerance : float, default 1e-7
        By how much a probe may be lower, relative to the decrease from the old value. An energy is flat around its
        minimiser, so 1e-7 allows u⁺ to be off by 3e-4 (its square root) to 1e-3 of the step from the old value; if that
        is too much, check u⁺ against a dense formula with `Equal`, or its optimality condition with `Gradient`.
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
        From named arrays to an array of the block's shape.
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
    r"""The claim that two functions of the same arrays are equal: a fast formula and a dense one, say.

    Parameters
    ----------
    formula, reference : callable
        From named arrays to a number, an array or a list of arrays.
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
    r"""The claim that a sweep does not increase an energy, and comes to rest only where the energy is stationary.

    Parameters
    ----------
    energy : callable
        From named arrays to a number; inf or NaN outside its domain.
    sweep : callable
        From named arrays to a dict of the new values of those that it changes.
    draw, name
        As for `Argmin`.
    descends : bool, default True
        Whether it is claimed that each sweep decreases the energy; with multipliers (ADMM) it does not, and the claim
        is about the points of rest alone.
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
    """Drawn values, the claim that they are for, and the values of all draws; one in `each` probes is made."""

    thing: DrawnClaim
    values: dict
    all: list
    k: int
    each: int = 1

    @property
    def rng(self):
        """A generator for probes, the same each time."""
        return np.random.default_rng([11, self.k])

    @cached_property
    def wanted(self):
        """Return, by role, the names that the function takes; None for all."""
        takes = {role: arguments_of(role, getattr(self.thing, role)) for role in self.thing.roles}
        return {role: None if everything else names for role, (_, names, everything) in takes.items()}

    def run(self, role, values=None):
        """Return the result of the function in a role, called with the values that it names, all read-only."""
        values, wanted = self.values if values is None else values, self.wanted[role]
        lent = {name: self.lend(value) if isinstance(value, np.ndarray) else mapped(self.lend, value)
                for name, value in values.items() if wanted is None or name in wanted}
        result = getattr(self.thing, role)(**lent)
        if result is None:
            raise TypeError(f"{role} returns None: is a return missing?")
        return on_host(result)

    def block(self, value=None):
        """Return a value of the block, by default the drawn one, as a vector."""
        return vector([self.values[name] for name in self.thing.blocks] if value is None else value)

    def with_block(self, x):
        """Return the values with the block replaced by the entries of a vector."""
        return {**self.values, **dict(zip(self.thing.blocks, filled(self.template, x)[0]))}

    @property
    def is_degenerate(self):
        """Whether the standard values have ties, or a sample of zeros."""
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

    def raised(self, values):
        """Return ", " and the error that the energy raises for some values, as worded in the first draw; or ""."""
        def said(values):
            try:
                self.run("energy", values)
            except OUTSIDE as error:
                return f", {error_text(error)}"
            return ""

        return said(values) and next(filter(None, map(said, [*self.all, values])))

    def at(self, x):
        """Return the energy with the block equal to a vector x."""
        return self.energy(self.with_block(x))

    def sizes(self):
        """Return factors by which a result may be off, made of the sizes of the drawn arrays, by description."""
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
    """Return the default numbers of an `Argmin`'s energy that its update has too, with the same value, or lacks.

    They are numbers of the problem, like those that are drawn: one of them may be inverted, or forgotten.
    """
    if not isinstance(thing, Argmin):
        return {}
    numbers = [defaults_of(getattr(thing, role)) for role in thing.roles]
    taken = arguments_of("update", thing.update)[1]
    return {name: value for name, value in numbers[0].items()
            if name not in thing.blocks and (name not in taken or numbers[1].get(name) == value)}


def defaults_of(given):
    """Return the default values of a function's numeric arguments: its step sizes and penalties."""
    parameters = inspect.signature(getattr(given, "pyfunc", given)).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, float)}


def sizes_text(values):
    """Return a description of drawn values: the numbers, and the shapes of the arrays."""
    def said(value):
        if isinstance(value, (list, tuple)):
            return f"[{len(value)} arrays]"
        return f"{value:.3g}" if np.ndim(value) == 0 and isinstance(value, (int, float)) else str(np.shape(value))
    return ", ".join(f"{name} {said(value)}" for name, value in values.items())


# ---- what all must satisfy: to be functions of their arguments, and to depend on them


def result_of(case, values=None):
    """Return the result of the claimed function in a case: the second of the claim's roles, or the first of `Equal`."""
    return case.run("formula" if isinstance(case.thing, Equal) else case.thing.roles[1], values)


def form_reason(case, result):
    """Return why a result does not have the form of the block, or None."""
    blocks = case.thing.blocks
    result = [result] if len(blocks) == 1 else result
    if not isinstance(result, (list, tuple)) or len(result) != len(blocks):
        return f"the result is no tuple of {', '.join(blocks)}"
    shapes = [[leaf.shape for leaf in leaves(value)] for value in (list(result), [case.values[b] for b in blocks])]
    if shapes[0] != shapes[1]:
        transposed = ": it is transposed" if [shape[::-1] for shape in shapes[0]] == shapes[1] else ""
        return f"the result has not the shape of {' and '.join(blocks)}{transposed}"
    return None if np.all(np.isfinite(vector(list(result)))) else "it is not finite (NaN or inf)"


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
    nothing = all(len(entries) == size for entries, size in unmoved)
    if not all(entries for entries, _ in unmoved) or (isinstance(thing, Gradient) and not nothing):
        return nothing_of([], "in some draw each entry moves the energy; of others the gradient is 0")
    which = f"{'' if nothing else 'some entries of '}{block}{case.raised(case.values)}"
    advice = "" if nothing else "; if they are fixed, as a diagonal of zeros is, give a project that sets them"
    return nothing_of([f"the energy does not depend on {which}{advice}"],
                      "any minimiser, any gradient would hold of what does not appear")


def projected(case, x):
    """Return the point of the set nearest to a vector; the vector itself if there is no `project`."""
    if getattr(case.thing, "project", None) is None:
        return x
    values = case.with_block(x)
    blocks = [values[name] for name in case.thing.blocks]
    return vector(case.thing.project(blocks[0] if len(blocks) == 1 else tuple(blocks)))


def unmoved_entries(case, values):
    """Return which entries of the block never change the energy when moved, and how many were looked at."""
    case = replace(case, values=values)
    x = case.block()
    if isinstance(case.thing, Argmin) and not math.isfinite(case.at(x)):
        result = result_of(case)  # the drawn value is outside the domain, where the energy never changes
        x = x if form_reason(case, result) else case.block(result)
        if not math.isfinite(case.at(x)):
            return [], len(x)  # another claim reports this
    size, value, units = 1 + np.max(abs(x), initial=0.0), case.at(x), np.eye(len(x))
    looked_at = [k for k in case.rng.permutation(len(x))[:COORDINATES]
                 if not np.array_equal(projected(case, x + size * units[k]), projected(case, x))]  # it is fixed
    return [k for k in looked_at if all(case.at(x + sign * t * size * units[k]) == value
                                        for t in (0.1, 1.0, 30.0) for sign in (1, -1))], len(looked_at) or len(x)


