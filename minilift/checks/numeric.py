r"""References that are independent of the code under test, and the diagnosis of results that differ from them.

Derivatives come from central differences with two step lengths, and from the complex step where the function is
analytic. Whether it is, is found by trying: the complex step's result counts only if central differences agree with it.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minilift.checks.report import SINGLE, Finding, Guess

COMPLEX_STEP = 1e-30
STEPS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.04, 0.13, 0.4, 0.7, 1.0, 2.0, 4.0, 10.0)  # lengths of probes
LOCAL = 2  # the first so many of them are used around a local minimiser
FLAT = 1e-6  # if short probes find less than this decrease, the point is flat to first order
BENDS = (1e-4, 1e-3, 1e-2)  # steps at which a function's curvature is visible above rounding
COORDINATES, RANDOM = 24, 16  # coordinates and random directions, at most, along which probes are made
INWARD = 16  # directions to points around the old one, for each of three distances, where most others lead outside
TIES = 8  # groups of equal entries, at most, that are moved together
SOME, FAR = 16, 0.01  # every 16th probe comes first; if one is lower by this share, the others make no difference
KINK = 1e-4  # one-sided slopes that differ by a larger share indicate a kink: curvature makes less of 1e-5
FITS = 1e-5  # a mistake is named if making it on purpose leaves no more than this relative difference
DIFFERENCES = "central differences leave truncation and rounding below 1e-6"
SHARE = 1e-3  # and no more than this share of the error itself
NEAR = 3e-6  # probes nearer than this share of the farthest are within a set's slack for rounding
PLAIN = ("the sign is wrong", "it is off by a factor 2", "it is off by a factor ½")  # the plainest mistakes
EXACT = "the complex step leaves rounding only"
DENSE = "dense algebra in float64 leaves rounding only"


class Reference(NamedTuple):
    """Right values: an array, or several approximations of it, any of which may match each entry.

    Attributes
    ----------
    candidates : list of arrays
        Only one if the value is exact. Otherwise central differences with two steps: near a kink of the function one
        of them is off, and a wrong derivative is far from both.
    tolerance : float
        Relative to the largest entry plus `floor`.
    why : str
    floor : float
        The size below which differences are rounding.
    """

    candidates: list
    tolerance: float
    why: str
    floor: float

    @property
    def value(self):
        """The first candidate, except where the others, with shorter steps, contradict it: it has met a kink there."""
        first, last = self.candidates[0], self.candidates[-1]
        return np.where(abs(first - last) > 1e-9 + 1e-6 * np.max(abs(last), initial=0.0), last, first)

    def nearest(self, claimed):
        """Return, entry by entry, the candidate nearest to what is claimed."""
        best = self.candidates[0]
        for candidate in self.candidates[1:]:
            best = np.where(abs(candidate - claimed) < abs(best - claimed), candidate, best)
        return best

    def loosened(self, tolerance):
        """Return the reference with at least this tolerance."""
        return self._replace(tolerance=max(self.tolerance, tolerance))


def dense(value, tolerance=1e-9, why=DENSE):
    """Return the reference of a value known up to rounding."""
    return Reference([np.asarray(value)], tolerance, why, 1e-6)


# ---- derivatives


def directional(f, x, v):
    """Return the `Reference` of the derivative of f at x along v; f maps an array to an array or a number."""
    candidates = central_differences(f, x, v)
    exact = complex_step(f, x, v)
    if exact is not None and agree(exact, candidates):
        return Reference([exact], 1e-9, EXACT, 1e-3)
    return Reference(candidates, 1e-6, DIFFERENCES, 1e-2)


def central_differences(f, x, v):
    """Return the derivative of f at x along v, by a five-point formula and by a short central difference.

    Where the two differ, the short one is a five-point formula too: with two samples, say, a batch norm may turn within
    3e-3, and a plain difference of 1e-5 is then off by 2e-6. Between the two come the one-sided slopes. Where these
    differ, at a kink or beside it, one of them is the derivative or a subgradient; elsewhere both are set to the short
    difference. Where the long step leaves the domain of f, all are the formula of `inside_slope`.
    """
    h, short = 1e-3, 1e-5

    def slope(h):
        return np.asarray((f(x + h * v) - f(x - h * v)) / (2 * h))

    here, ends = f(x), [f(x + t * v) for t in (short, -short)]
    five, near = (4 * slope(h) - slope(2 * h)) / 3, np.asarray((ends[0] - ends[1]) / (2 * short))
    if np.all(np.isfinite(here)) and not np.any(np.isfinite(five)):
        return [inside_slope(slope, h)] * 4
    sides = [near, near]
    bend = abs(ends[0] + ends[1] - 2 * here) / short
    kinks = bend > KINK * (1e-2 + abs(near)) + 1e-9 * abs(here)  # and rounding
    if np.any(kinks):
        sides = [np.where(kinks, (4 * end - f(x + 2 * t * v) - 3 * here) / (2 * t), near)
                 for t, end in zip((short, -short), ends)]
    if not np.all(abs(five - near) <= 1e-9 + 1e-7 * np.max(abs(five), initial=0.0)):
        near = (4 * near - slope(2 * short)) / 3
    return [np.asarray(five), *map(np.asarray, sides), np.asarray(near)]


def inside_slope(slope, h):
    """Return a five-point formula for a point near the end of a domain, given central slopes as a function of the step.

    Its step is a hundredth of the longest that stays inside, over which a function singular at the end is still smooth.
    """
    for inside in h * 0.1 ** np.arange(1, 8):
        if np.all(np.isfinite(slope(2 * inside))):
            return (4 * slope(inside / 100) - slope(inside / 50)) / 3
    return slope(h)


def complex_step(f, x, v):
    """Return Im f(x + i h v)/h, or None if f does not accept complex numbers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a discarded imaginary part causes only a warning
            value = np.asarray(f(x + 1j * COMPLEX_STEP * v))
    except Exception:  # whatever f raises on complex numbers, it is not analytic, and differences are used
        return None
    return value.imag / COMPLEX_STEP if np.iscomplexobj(value) else None


def agree(exact, candidates):
    """Whether a central difference confirms each entry of the complex step's result: at a kink none does."""
    nearest = Reference([candidates[0], candidates[-1]], 0, "", 0).nearest(exact)
    return bool(np.all(abs(exact - nearest) <= 1e-9 + 1e-6 * np.max(abs(exact), initial=0.0)))


def gradient(f, x, tangents=None):
    """Return the `Reference` of the gradient of a scalar f at x, or of its inner products with tangents."""
    tangents = Tangents(x.shape, limit=math.inf) if tangents is None else tangents
    probe = np.random.default_rng(7).standard_normal(x.shape) / math.sqrt(max(x.size, 1))
    if directional(f, x, probe).why == EXACT:  # f is analytic
        exact = [complex_step(f, x, v) for v in tangents]
        return Reference([tangents.assemble(exact)], 1e-9, EXACT, 1e-3)
    parts = [central_differences(f, x, v) for v in tangents]
    return Reference([tangents.assemble(values) for values in zip(*parts)], 1e-6, DIFFERENCES, 1e-2)


OFF = Finding(math.inf, 0.0, "it is far off along a random direction")


def is_soon_off(f, x, claimed):
    """Whether a claimed gradient of a scalar f is far off along a random direction, if only that is asked."""
    if Asked.measured or claimed.shape != x.shape:
        return False
    v, h = np.random.default_rng(8).standard_normal(x.shape), 1e-5
    ends = f(x + h * v), f(x - h * v)
    slope, mine = (ends[0] - ends[1]) / (2 * h), float((claimed * v).sum())
    rounding = 1e-8 * abs(ends[0]) + 1e-9 * (1 + np.max(abs(x), initial=0.0))  # also of terms that cancel
    return bool(abs(mine - slope) > 0.01 * max(abs(mine), abs(slope)) + rounding)


class Tangents:
    """The directions along which an array is probed: its coordinates if they are few, else random ones.

    Parameters
    ----------
    shape : tuple
    rng : numpy.random.Generator, optional
        Needed for a shape of more than `limit` entries.
    limit, count : int
    """

    def __init__(self, shape, rng=None, limit=400, count=12):
        self.shape, size = tuple(shape), math.prod(shape)
        self.full = size <= limit
        vectors = np.eye(size) if self.full else rng.standard_normal((count, size)) / math.sqrt(size)
        if not self.full:  # the last row of θ is the bias, which contributes little to a random direction
            vectors[1::3].reshape(-1, *self.shape)[:, :-1] = 0
        self.vectors = vectors.reshape(-1, *self.shape)

    def __iter__(self):
        return iter(self.vectors)

    def assemble(self, values):
        """Return numbers, one for each tangent, as an array: of the probed shape, if the tangents are coordinates."""
        values = np.asarray(values)
        return values.reshape(self.shape) if self.full else values

    def project(self, array):
        """Return the inner products of an array of the probed shape with the tangents, as `assemble` arranges them."""
        array = np.asarray(array)
        if self.full or array.shape != self.shape:
            return array
        return (self.vectors * array).reshape(len(self.vectors), -1).sum(axis=1)


# ---- what is asked for


class Asked:
    """What is to be found out about claims: how far they fail and by which mistakes, or only whether they hold."""

    explained = measured = True

    @classmethod
    @contextlib.contextmanager
    def only(cls, measured=False):
        """Do not ask which mistakes explain a failure, nor, unless `measured`, exactly how large a large failure is."""
        kept = cls.explained, cls.measured
        cls.explained, cls.measured = False, measured
        try:
            yield
        finally:
            cls.explained, cls.measured = kept


# ---- minimisers, by probes alone


@dataclass(frozen=True)
class Probed:
    """What probes of a function, which need not have derivatives, found around a point.

    Attributes
    ----------
    value, lowest, highest : float
        The function at the point, and its extremes over all probes.
    excess : float
        How much lower the lowest is than the value, beyond rounding, relative to the decrease from the old point.
    noise : float
        Rounding error of the function.
    inside : float
        The share of the probes, without those that are very near, that are inside its domain, where it is finite; 1
        if the way to the old point is inside.
    where : array
        The probe that is lowest.
    bent : str
        For a point that should be a local minimiser: "a maximum" or "a saddle", if its curvature shows it to be one.
    """

    value: float
    lowest: float
    highest: float
    excess: float
    noise: float = 0.0
    inside: float = 0.0
    where: np.ndarray | None = None
    bent: str = ""

    @classmethod
    def around(cls, f, u, old, rng, local=False, project=lambda x: x, each=1):
        """Return what probes find around a vector u, the new value of `old`; for a local minimiser they are short.

        With `each` = 2, say, only every second probe is made, beginning with one that the value at u determines.
        """
        value, start = f(u), f(old)
        if not math.isfinite(value):
            return cls(value, value, value, math.inf)
        points = list(probes(u, old, rng, local))
        points = points[int(1e6 * min(abs(value), 1e9)) % each :: each]
        if not local and math.isfinite(start) and not np.isfinite([f(project(x)) for x in points[::SOME]]).mean() > 0.5:
            points += inward(u, old, rng)
        shaken = [f(u * (1 + 4e-16 * rng.choice([-1, 1], len(u)))) for _ in range(4)]
        noise = 20 * max((abs(x - value) for x in shaken if math.isfinite(x)), default=0.0) + 1e-14 * abs(value)
        least = max(abs(start - value) if math.isfinite(start) else 0.0, noise, 1e-300)
        for some in (points[::SOME], points) if not Asked.measured else (points,):
            found = np.array([f(project(x)) for x in some])
            finite = found[np.isfinite(found)]
            spread = max(least, 1e-3 * float(np.median(abs(finite - value))) if len(finite) else 0.0)
            lowest = float(finite.min(initial=value))
            excess = max(0.0, value - lowest - noise) / spread
            if excess > FAR:
                break
        where = project(some[np.argmin(np.where(np.isfinite(found), found, np.inf))])
        gaps = np.array([np.max(abs(x - u), initial=0.0) for x in some])
        inside = np.isfinite(found[gaps >= NEAR * gaps.max()]).mean()
        is_moved = np.max(abs(u - old), initial=0.0) > 1e-9 * np.max(abs(u), initial=0.0)
        if is_moved and all(math.isfinite(f(project(u + t * (old - u)))) for t in (1e-3, 0.1)):
            inside = 1.0  # at a corner or an edge most directions lead outside, but not the one to the old point
        bent = bent_down(lambda x: f(project(x)), u, old, rng, noise) if local and excess <= FLAT else ""
        return cls(value, lowest, float(finite.max(initial=value)), math.inf if bent else excess, noise,
                   float(inside), where, bent)


def ways(u, old, rng):
    """Return the size of steps around u, and directions: coordinates, random ones, and the one to the old point.

    Equal nonzero entries also move together as one direction: if a constraint ties them, none can move alone.
    """
    size = max(np.max(abs(u), initial=0.0), np.max(abs(u - old), initial=0.0), 1e-3)
    values, several = np.unique(u, return_counts=True)
    ties = [(u == value) * 1.0 for value in values[(several > 1) & (values != 0)][:TIES]]
    units = np.array([*np.eye(len(u))[rng.permutation(len(u))[:COORDINATES]], *ties]).reshape(-1, len(u))
    random = rng.standard_normal((min(RANDOM, 2 * len(u)), len(u)))  # in few dimensions a few suffice
    random /= np.max(abs(random), axis=1, keepdims=True, initial=1e-300)
    return size, units, random, (old - u) / size


def bent_down(f, u, old, rng, noise):
    """Return whether a point is "a maximum" or "a saddle" of f, or neither: "".

    If f bends down along a direction, the mean of both sides is lower than f(u) at two successive lengths, and falls as
    their square; beyond a nearby kink it falls too, but not as the square.
    """
    size, units, random, to_old = ways(u, old, rng)

    def bends(v):
        falls = [(t**2, f(u) - (f(u + t * size * v) + f(u - t * size * v)) / 2) for t in BENDS]
        return any(min(fall, other) > noise and 0.5 < fall / other * square / one < 2
                   for (one, fall), (square, other) in itertools.pairwise(falls))

    down = [bends(v) for v in (*units, *random, to_old) if np.any(v)]
    return "" if not any(down) else "a maximum" if all(down) else "a saddle"


def probes(u, old, rng, local):
    """Yield the points that must not be lower than u."""
    size, units, random, to_old = ways(u, old, rng)
    steps = STEPS[:LOCAL] if local else STEPS
    # random directions take every second step, in alternation
    for v, taken in itertools.chain(((v, steps) for v in (*units, to_old)),
                                    ((v, steps[k % 2 :: 2]) for k, v in enumerate(random))):
        for t in taken:
            yield u + t * size * v
            yield u - t * size * v
    yield from () if local else (u * (1 - unit) for unit in units)  # a function may jump where an entry is 0
    for scale in () if local else (0.3, 1.0, 3.0):
        for v in rng.standard_normal((8, len(u))):
            yield u + 0.1 * scale * (old + 0.03 * size * v - u)
            yield scale * size * v
            yield old + scale * size * v


def inward(u, old, rng):
    """Return points on the lines from u to points around the old one, which lie in a convex set if their ends do.

    At a corner of such a set hardly any other direction leads inside.
    """
    size = ways(u, old, rng)[0]
    ends = [old + scale * size * v for scale in (0.1, 0.3, 1.0) for v in rng.standard_normal((INWARD, len(u)))]
    return [u + t * (end - u) for end in ends for t in (1e-3, 0.1)]


# ---- comparison and diagnosis


def compare(got, reference, variants=None, factors=None, terms=None, theta=False):
    """Return the `Finding` of an array that should equal a reference, with the mistakes that explain a failure.

    Parameters
    ----------
    got : array
    reference : Reference
    variants : dict or callable, optional
        What a certain mistake would give, by the mistake's name; a function that returns this is called only if the
        comparison fails.
    factors : dict, optional
        Sizes of the problem by name, which a result may be off by: ``{"N, the batch size": 5}``. A size of 1 is left
        out.
    terms : dict or callable, optional
        Arrays that the difference may be a multiple of, by description: a part that is left out, or of the wrong
        strength.
    theta : bool, default False
        Whether the array is laid out like θ, with the bias in the last row.
    """
    got = np.asarray(got)
    if got.shape != reference.value.shape:
        return Finding(math.inf, reference.tolerance, reference.why, tuple(shape_reasons(got, reference.value, theta)))
    expected = reference.nearest(got)
    scale = np.max(abs(expected), initial=0.0) + reference.floor
    number = float(np.max(abs(got - expected), initial=0.0) / scale)
    if number <= reference.tolerance or not Asked.explained:
        return Finding(number, reference.tolerance, reference.why)
    if np.all(abs(got - expected) <= 1e-5 * abs(expected) + 1e-7 * scale):
        return Finding(number, reference.tolerance, reference.why, (SINGLE,))
    # a guess that cannot be made explains nothing: neither its error nor its NotClaimed says anything of the thing
    variants, terms = ((tried(given) if callable(given) else given) or {} for given in (variants, terms))
    found = list(usual_reasons(got, expected, variants, usual_factors(factors or {}), terms, theta))
    reasons = found or seen_reasons(got, expected)  # if no mistake fits, what can be observed
    return Finding(number, reference.tolerance, reference.why, tuple(dict.fromkeys(reasons)))


def usual_factors(named):
    """Return the factors by which results are commonly off, by description."""
    factors = dict(zip(PLAIN, (-1.0, 2.0, 0.5)))
    for name, value in named.items():
        if value != 1:
            factors |= {f"it is off by a factor {name}": value, f"it is off by a factor 1/({name})": 1 / value}
    factors["it is off by a factor 4"], factors["it is off by a factor ¼"] = 4.0, 0.25
    return factors


def fits(got, guess, expected=None):
    """Whether `got` is what a guessed mistake gives (and the mistake makes a difference)."""
    guess = np.asarray(guess)
    if guess.shape != got.shape or not np.all(np.isfinite(guess)):
        return False
    scale = max(np.max(abs(guess), initial=0.0), 1e-12)
    error = np.inf if expected is None else np.max(abs(got - expected), initial=0.0)
    if expected is not None and np.max(abs(guess - expected), initial=0.0) <= 10 * FITS * scale:
        return False
    return bool(np.max(abs(got - guess), initial=0.0) <= min(FITS * scale, SHARE * error))


def tried(function, *arguments):
    """Return function(*arguments), or None if it raises: a guess that cannot be evaluated explains nothing."""
    try:
        return function(*arguments)
    except (Exception, SystemExit):  # a user's function may raise anything for values that it was not made for
        return None


def usual_reasons(got, expected, variants, factors, terms, theta):
    """Yield the common mistakes that turn `expected` into `got`, the likeliest first."""
    if not np.all(np.isfinite(got)):
        yield "it is not finite (NaN or inf)"
        return
    if not np.any(got):
        yield "it is zero"
    scaled = [(name, factor * expected) for name, factor in factors.items()]
    plain = len(PLAIN) if got.size > 1 else 0  # a single number is always a multiple of any other
    for name, guess in [*scaled[:plain], *variants.items(), *scaled[plain:]]:
        if fits(got, guess, expected):
            yield name
    yield from bias_row_reasons(got, expected, factors) if theta else ()
    yield from symmetry_reasons(got, expected, factors)
    for name, term in terms.items():  # a multiple of which the difference may be
        share = fitted_factor(got - expected, np.asarray(term))
        if abs(share) > 1e-9 and fits(got - expected, share * np.asarray(term)):
            yield name
    for name, variant in variants.items():
        for text, factor in factors.items():
            # minus a variant is seldom two mistakes, and more often another one
            if np.all(np.asarray(factor) > 0) and fits(got, factor * np.asarray(variant), expected):
                yield f"{name}; besides, {text}"
    factor = fitted_factor(got, expected)
    if got.size > 1 and abs(factor) > 1e-12 and fits(got, factor * expected, expected):
        yield f"it is off by the constant factor {factor:.6g}"
        yield Guess("it is off by a factor that is constant in each problem")


def seen_last(reasons, others):
    """Return reasons and others, with those of `seen_reasons` last."""
    seen = ("its entries are", "the sign of some", "some entries")
    return sorted([*reasons, *others], key=lambda reason: reason.startswith(seen))


def seen_reasons(got, expected):
    """Yield in which entries a wrong array is right, or what it has in common with the right one."""
    zero, wrong = expected == 0, abs(got - expected) > FITS * np.max(abs(expected), initial=0.0)
    if got.size > 2 and fits(np.sort(got, axis=None), np.sort(expected, axis=None)):
        yield "its entries are right, but in another order: something is permuted, swapped or transposed"
    if got.size > 1 and fits(abs(got), abs(expected)):
        yield "the sign of some entries is wrong"
    for axis, what in enumerate(("row", "column") if got.ndim == 2 else ()):
        along = 1 - axis  # arrays of low rank often look like this
        if (min(got.shape) > 1 and np.all(np.count_nonzero(expected, axis=along) > 1)
                and np.isfinite(expected).all() and np.linalg.matrix_rank(expected) == min(got.shape)):
            factors = (got * expected).sum(axis=along, keepdims=True) / (expected**2).sum(axis=along, keepdims=True)
            if fits(got, factors * expected) and np.all((abs(factors) > FITS) & (abs(factors - 1) > FITS)):
                yield f"each {what} is off by a factor of its own"
    if np.any(zero) and not np.any(wrong & ~zero):
        yield "some entries should be zero, as where a mask is missing, or a threshold is wrong"
    inside = wrong[:, 1:-1, 1:-1] if got.ndim == 4 else np.zeros(0)
    if inside.size and not np.any(inside) and (1 - inside.size / wrong.size) ** wrong.sum() < 1e-3:
        yield "it is wrong at the border of the images alone: their padding"
    if np.any(wrong) and not np.any(got[wrong]) and not wrong.all():
        yield "some entries are zero, the others right, as where a part is left out"
    yield from place_reasons(wrong)


def place_reasons(wrong):
    """Yield whether only the first or the last entry, row or column of an array is wrong, or right."""
    for axis, what in enumerate({1: ("entry",), 2: ("row", "column")}.get(wrong.ndim, ())):
        bad = wrong.any(axis=1 - axis) if wrong.ndim == 2 else wrong
        for one, state in ((bad, "wrong"), (~bad, "right")) if len(bad) > 1 else ():
            if one.sum() == 1 and (one[0] or one[-1]):
                yield Guess(f"only the {'first' if one[0] else 'last'} {what} is {state}")
            if one.sum() == 2 < len(one) - 1 and one[0] and one[-1]:
                yield Guess(f"only the first and the last {what} are {state}")


def fitted_factor(got, expected):
    """Return the number c for which c · expected is closest to `got`."""
    norm = float(np.vdot(expected, expected).real)
    return float(np.vdot(expected, got).real) / norm if norm > 0 else 0.0


def bias_row_reasons(got, expected, factors):
    """Yield what may be wrong with the last row (the bias) of an array laid out like θ, or with the other rows."""
    if got.ndim != 2 or len(got) < 2:
        return
    weights, bias, right, right_bias = got[:-1], got[-1], expected[:-1], expected[-1]
    error = np.max(abs(got - expected), initial=0.0)

    def explains(part, guess):
        return fits(part, guess) and np.max(abs(part - guess), initial=0.0) <= SHARE * error

    if explains(weights, right) and not np.any(bias):
        yield "the bias row is missing (zero)"
    if explains(np.roll(got, -1, axis=0), expected):
        yield "the bias stands in the first row; it belongs in the last"
    for name, factor in factors.items():
        if explains(weights, right) and explains(bias, factor * right_bias):
            yield f"the bias row alone is wrong: {name}"
        if explains(bias, right_bias) and explains(weights, factor * right):
            yield f"the bias row is right, all else is wrong: {name}"
    if explains(weights, right):
        yield "the bias row alone is wrong"


def symmetry_reasons(got, expected, factors):
    """Yield whether `got` is transposed or reversed."""
    for axis in range(got.ndim) if got.ndim > 1 and got.shape == expected.shape else ():
        if got.shape[axis] > 1 and fits(got, np.flip(expected, axis), expected):
            name = "columns" if axis == got.ndim - 1 else f"slices along axis {axis}" if axis else "rows"
            yield f"its {name} are in reverse order"
    if got.ndim == 2:
        yield from transposed_reasons(got, expected.T, factors, expected)


def transposed_reasons(got, turned, factors, expected=None):
    """Yield whether `got` is the transpose of what it should be, possibly times a factor."""
    for name, factor in {"": 1.0, **factors}.items():
        if fits(got, factor * turned, expected):
            yield f"it is transposed{'; besides, ' * bool(name)}{name}"


def shape_reasons(got, expected, theta):
    """Yield why an array, laid out like θ or not, may have the wrong shape."""
    if theta and expected.ndim == 2 and got.shape == (expected.shape[0] - 1, expected.shape[1]):
        yield "the bias row is missing" if fits(got, expected[:-1]) else "its shape has no bias row"
    if got.shape == expected.shape[::-1]:
        yield "it is transposed"
        yield from transposed_reasons(got, expected.T, usual_factors({}))
    yield f"its shape is {got.shape}, it should be {expected.shape}"
    yield "its shape is wrong"
