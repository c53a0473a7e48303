r"""Checks of notebook 12: distances in ulps, an error bound for products, honest timing, and steps lost in float32."""

from __future__ import annotations

import functools

import numpy as np

from minilift.course.teach import Claim, check, claim, close_to_answers, same, slips


def library_ulps(x, y):
    """Return max|x − y| in units of the spacing of y's dtype at max|y|."""
    x, y = np.asarray(x), np.asarray(y)
    spacing = float(np.spacing(abs(y).max()))
    return float(abs(x.astype(np.float64) - y.astype(np.float64)).max()) / spacing


def ulps_with(size=lambda change: abs(change).max(), unit=lambda y: np.spacing(abs(y).max()), power=-1.0, final=float):
    """Return a distance with a slip in it: what is taken of the differences, and in which unit."""
    return lambda x, y: final(size(x.astype(np.float64) - y.astype(np.float64)) * float(unit(y)) ** power)


def in_fractions(distance):
    """Return a distance times 2⁴⁰, so that tiny ones can be told apart with the tolerance of `same`."""
    return lambda x, y: distance(x, y) * 2.0**40


WRONG_ULPS = {
    "this is the difference itself; divide by the spacing of floats": ulps_with(power=0.0),
    "float64's spacing: these arrays are float32, whose floats lie 2²⁹ times farther apart":
        ulps_with(unit=lambda y: np.spacing(float(abs(y).max()))),
    "the unit is the spacing at the largest entry of y, not at the largest difference": lambda x, y:
        float(abs(x.astype(np.float64) - y).max() / max(np.spacing(abs(x - y).max()), 1e-300)),
    "the unit is the spacing at the largest entry of y, not at the largest difference, nor float64's": lambda x, y:
        float(abs(x.astype(np.float64) - y).max() / np.spacing(max(abs(x.astype(np.float64) - y).max(), 1e-300))),
    "the unit is the spacing at y's largest entry, whether x's is larger or not": lambda x, y:
        float(abs(x.astype(np.float64) - y).max() / np.spacing(max(abs(x).max(), abs(y).max()))),
    "the spacing at the largest entry is the unit, not at the length of y as a vector":
        ulps_with(unit=lambda y: np.spacing(np.linalg.norm(y))),
    "log2 of a float32 just below a power of two is rounded up to that power: take np.spacing, or frexp":
        ulps_with(unit=lambda y: np.finfo(y.dtype).eps * 2.0 ** np.floor(np.log2(abs(y).max()))),
    "the spacing at the power of two above the largest entry; the power below it sets its spacing":
        ulps_with(unit=lambda y: np.finfo(y.dtype).eps * 2.0 ** np.ceil(np.log2(abs(y).max()))),
    "the spacing at the power of two nearest to the largest entry; the power below it sets its spacing":
        ulps_with(unit=lambda y: np.finfo(y.dtype).eps * 2.0 ** np.round(np.log2(abs(y).max()))),
    "the unit is the spacing at the largest entry of y, not at the one that moved most": lambda x, y: float(
        abs(x.astype(np.float64) - y).max() / np.spacing(abs(y.flat[abs(x - y).argmax()]))),
    "this is the relative error; divide by the spacing of floats at the largest entry": lambda x, y:
        float(abs(x.astype(np.float64) - y).max() / abs(y).max()),
    "a median, or one entry: the largest difference is asked for": lambda x, y:
        float(np.median(abs(x.astype(np.float64) - y)) / np.spacing(abs(y).max())),
    "rounded up: a distance in ulps may be a fraction": lambda x, y:
        float(round(library_ulps(x, y) + 0.5)),
    "float64's spacing at 1": ulps_with(unit=lambda y: np.finfo(np.float64).eps),
    "the spacing at 1: floats near the largest entry lie farther apart":
        ulps_with(unit=lambda y: np.finfo(y.dtype).eps),
    "the spacing at the largest entry is the unit, not at the smallest":
        ulps_with(unit=lambda y: np.spacing(abs(y).min())),
    "the spacing at the largest entry is the unit, not at the mean":
        ulps_with(unit=lambda y: np.spacing(abs(y).mean())),
    "the sign: a distance has none": ulps_with(final=lambda found: -float(found)),
    "the difference must be taken by its size, abs": ulps_with(np.max),
    "the mean difference; the largest is asked for": ulps_with(lambda change: abs(change).mean()),
    "the sum of the differences; the largest is asked for": ulps_with(lambda change: abs(change).sum()),
    "the length of the differences as a vector; the largest is asked for": ulps_with(np.linalg.norm),
    "the largest entry may be negative: abs comes before max": ulps_with(unit=lambda y: np.spacing(y.max())),
    "the unit is the spacing at y's largest entry; here it is at x's":
        lambda x, y: ulps_with()(x, y) * float(np.spacing(abs(y).max())) / float(np.spacing(abs(x).max())),
    "each difference is measured in its own entry's spacing; the unit is one for all, that of the largest":
        lambda x, y: float((abs(x.astype(np.float64) - y) / np.spacing(abs(y)).astype(np.float64)).max()),
    "ε/2 times max|y| lies between a quarter of the spacing there and a half: take np.spacing":
        ulps_with(unit=lambda y: np.finfo(y.dtype).eps / 2 * abs(y).max()),
    "the spacing at the largest entry is the unit, not the entries' mean spacing":
        ulps_with(unit=lambda y: np.spacing(abs(y)).mean()),
    "the spacing at the largest entry is the unit, not at the median":
        ulps_with(unit=lambda y: np.spacing(np.median(abs(y)))),
    "each column is measured in a unit of its own; the unit is one for all, that of the largest entry": lambda x, y:
        float((abs(x.astype(np.float64) - y).max(axis=0) / np.spacing(abs(y).max(axis=0)).astype(np.float64)).max()),
    "each row is measured in a unit of its own; the unit is one for all, that of the largest entry": lambda x, y:
        float((abs(x.astype(np.float64) - y).max(axis=-1) / np.spacing(abs(y).max(axis=-1)).astype(np.float64)).max()),
    "the spacing at the largest entry of all, not of the first row": ulps_with(
        unit=lambda y: np.spacing(abs(y.reshape(-1, y.shape[-1])[0]).max())),
    "float16's spacing: the unit is that of y's own dtype":
        ulps_with(unit=lambda y: np.spacing(np.float16(abs(y).max()))),
    "a matrix's largest singular value; the largest difference is asked for":
        ulps_with(lambda change: np.linalg.norm(np.atleast_2d(change), 2)),
    "rounded to a digit; a distance in ulps may be any fraction": ulps_with(final=lambda found: round(float(found), 1)),
    "ε max|y| is up to twice the spacing there: take np.spacing":
        ulps_with(unit=lambda y: np.finfo(y.dtype).eps * abs(y).max()),
    "this is the distance to the next smaller float, which is half a spacing at a power of two":
        ulps_with(unit=lambda y: abs(y).max() - np.nextafter(abs(y).max(), y.dtype.type(0))),
    "float32's spacing, whatever the arrays are": ulps_with(unit=lambda y: np.spacing(np.float32(abs(y).max()))),
    "cut to a whole number; a distance in ulps may be a fraction": ulps_with(final=lambda found: float(int(found))),
    "the fraction is upside down": ulps_with(final=lambda found: 1 / found),
    "the spacing divides": ulps_with(power=1.0),
    "half a spacing is the rounding error; the distance of two floats is a whole one": ulps_with(final=lambda u: 2 * u),
    "lengths of vectors, over ε; the largest difference, over the spacing at the largest entry, is asked for":
        lambda x, y: float(np.linalg.norm(x.astype(np.float64) - y) / np.linalg.norm(y.astype(np.float64))
                           / np.finfo(y.dtype).eps),
    "a ½ too many": ulps_with(final=lambda found: found / 2),
    "a number of floats is asked for, not of bits": ulps_with(final=lambda found: np.log2(1 + found)),
    "whether they differ is not by how much": ulps_with(final=lambda found: int(found > 0)),
    "the spacing is that of the entries, not of the difference": ulps_with(
        lambda change: 1 / max(float(np.spacing(np.float32(abs(change).max()))), 1e-300), power=0.0),
    "rounded up to a whole number; a distance in ulps may be a fraction": ulps_with(
        final=lambda found: float(np.ceil(found))),
    "the spacing at the largest entry is the unit, not at the sum of all": ulps_with(
        unit=lambda y: np.spacing(abs(y).sum())),
    "float32's spacing at 1, whatever the arrays are": ulps_with(unit=lambda y: np.spacing(np.float32(1))),
    "this is the least float above 0; the spacing at the largest entry is the unit":
        ulps_with(unit=lambda y: np.finfo(np.float32).tiny),
    "the root of the mean square; the largest difference is asked for":
        ulps_with(lambda change: np.sqrt(np.mean(change**2))),
    "the difference of the two largest entries; the largest difference is asked for": lambda x, y:
        abs(float(abs(x).max()) - float(abs(y).max())) / float(np.spacing(abs(y).max())),
    "x and y are added; their difference is asked for": lambda x, y: ulps_with()(-x, y),
    "a mean of ulps, each in its own entry's spacing; the largest difference in one unit is asked for": lambda x, y:
        float((abs(x.astype(np.float64) - y) / np.spacing(abs(y)).astype(np.float64)).mean()),
    "a logarithm; the number of spacings itself is asked for": lambda x, y: np.log2(library_ulps(x, y) + 1e-300),
    "this is the spacing of the difference; the difference over the spacing is asked for": ulps_with(
        lambda change: np.spacing(np.float32(abs(change).max())), power=0.0),
}


def ulps(answer, seed):
    """Exercise 12.1: the largest difference in units in the last place of the largest entry."""
    rng = np.random.default_rng(seed)
    y = rng.uniform(1, 60, size=(8, 10)).astype(np.float32)
    y[2, 3] = 70  # the one entry whose spacing is the unit
    x = y.copy()
    k = np.unravel_index(y.argmax(), y.shape)
    for _ in range(3):
        x[k] = np.nextafter(x[k], np.float32(0))
    other = np.unravel_index(y.argmin(), y.shape)
    x[other] += np.spacing(y.max())  # a smaller difference elsewhere, of the other sign
    wide, off = y.astype(np.float64), y.astype(np.float64)
    off[k] -= 3 * np.spacing(off[k])
    off[other] += np.spacing(off[k])
    below = np.array([np.nextafter(np.float32(-64), np.float32(0)), 5.5, 30])  # where the spacing halves
    below = below.astype(np.float32)
    above = np.array([-64, below[1] + 2.625 * np.spacing(-below[0]), 30], np.float32)
    under = np.array([below[0], below[1] + 2.625 * np.spacing(-below[0]), 30], np.float32)
    power = np.array([-64, 5.5, 30], np.float32)
    near = np.array([-64, power[1] + 2.625 * np.spacing(-power[0]), 30], np.float32)
    fifty = tuple(array * np.float32(50 / 70) for array in (x, y))  # far from powers of two, and above the middle
    tiny, turned = (np.array([-64, share * np.spacing(-power[0]), 30], np.float32) for share in (1.5, -1))
    above, below, under = (array[None] for array in (above, below, under))  # a unit for each column is another one here
    near, power = near[:, None], power[:, None]  # and a unit for each row here

    def claims(distance):
        yield claim("an array to itself", distance(y, y), 0)
        yield claim("the largest entry moved by three floats", distance(x, y), 3,
                    look="look at the unit: np.spacing of the largest entry, in y's own dtype")
        yield claim("the same in float64, with its own spacing", distance(off, wide), 3)
        yield claim("a power of two times both changes nothing", distance(8 * x, 8 * y), distance(x, y))
        yield claim("largest entry just above −64, a smaller one moved by 2.625 of its spacings",
                    distance(above, below), 2.625,
                    look="look at abs, at whose spacing the unit is, and at whether the result is cut")
        yield claim("largest entry −64 itself, a smaller one moved by 2.625 of its spacings",
                    distance(near, power), 2.625,
                    look="at a power of two the floats above lie twice as far apart as those below: np.spacing")
        yield claim("largest entry −64, a tiny one moved through 0 by 2.5 of its spacings", distance(turned, tiny), 2.5,
                    look="an entry that changes its sign moves: the difference first, then its size")

    def mistakes(distance):
        yield np.shape(distance(x, y)) != (), "one number is asked for: the largest difference"
        scaled = {text: in_fractions(wrong) for text, wrong in WRONG_ULPS.items()}
        yield from slips(in_fractions(distance), [(x, y), (y, x), (above, below), (below, above), (off, wide),
                                                     (near, power), (under, below), fifty], scaled)
        asked = [(x, y), (above, below), (off, wide), (near, power), (under, below), fifty]
        found = [float(distance(*pair)) for pair in asked]
        for message, wrong in WRONG_ULPS.items():  # in float32, whose sums and means are rounded
            yield np.allclose(found, [float(wrong(*pair)) for pair in asked], rtol=1e-6, atol=0), message
        yield same(distance(turned, tiny), 0.5), "abs of the difference: what changes its sign has moved, too"
        yield not same(distance(y, y), 0.0), f"an array is {float(distance(y, y)):.3g} from itself; it must be 0"
        pairs = ((x, y), (above, below), (off, wide), (near, power))
        ratios = [float(distance(*pair)) / library_ulps(*pair) for pair in pairs]
        yield same(ratios, [ratios[0]] * 4, 1e-6), f"it is {ratios[0]:.3g} times what it should be, for all arrays"
        yield (not same(distance(8 * x, 8 * y), distance(x, y)),
               "eight times both must change nothing: the unit must grow with the largest entry")
        more, far = y.copy(), y.copy()
        more[k] += 4 * np.spacing(y.max())
        far[k] += 8 * np.spacing(y.max())
        yield (not same(distance(far, y), 2 * np.float64(distance(more, y))),
               "twice the difference must be twice the distance; yours is not")

    return check("12.1", answer, claims, mistakes, fallback=library_ulps)


def in_roundoffs(bound):
    """Return the bound over the unit roundoff, so that bounds can be compared with the tolerance of `same`."""
    return lambda A, B: np.asarray(bound(A, B), dtype=np.float64) * 2.0**24


def in_float32(numbers):
    """Return whether all numbers are float32's, whatever their dtype."""
    return np.allclose(numbers, numbers.astype(np.float32), rtol=1e-13, atol=0)


def bound_with(count=lambda A, B: A.shape[1], u=2.0**-24, size=lambda A, B: abs(A) @ abs(B)):
    """Return a bound with a slip in it: how many roundings, the unit roundoff, the size of the terms."""
    return lambda A, B: count(A, B) * u * size(A.astype(np.float64), B.astype(np.float64))


WRONG_PRODUCT_BOUNDS = {
    "B has lost its absolute values: both factors need them": bound_with(size=lambda A, B: abs(A) @ B),
    "A has lost its absolute values: both factors need them": bound_with(size=lambda A, B: A @ abs(B)),
    "B has lost its absolute values, and those of the product come too late": bound_with(
        size=lambda A, B: abs(abs(A) @ B)),
    "A has lost its absolute values, and those of the product come too late": bound_with(
        size=lambda A, B: abs(A @ abs(B))),
    "6e-8 is about the unit roundoff; it is 2⁻²⁴": bound_with(u=6e-8),
    "row maxima, column sums: (|A||B|) sums the products of the entries that meet": bound_with(
        size=lambda A, B: abs(A).max(axis=1, keepdims=True) * abs(B).sum(axis=0)),
    "the largest |A| times sums of |B|: (|A||B|) sums the products of the entries that meet": bound_with(
        size=lambda A, B: abs(A).max() * abs(B).sum(axis=0) * np.ones((len(A), 1))),
    "n spacings of |A||B|; n u |A||B| is the bound, with u = 2⁻²⁴": lambda A, B: A.shape[1] * np.spacing(
        (abs(A.astype(np.float64)) @ abs(B.astype(np.float64))).astype(np.float32)).astype(np.float64),
    "n half spacings of |A||B|; n u |A||B| is the bound, with u = 2⁻²⁴": lambda A, B: A.shape[1] / 2 * np.spacing(
        (abs(A.astype(np.float64)) @ abs(B.astype(np.float64))).astype(np.float32)).astype(np.float64),
    "|AB| instead of |A||B|: where terms cancel the result is small, the error need not be":
        bound_with(size=lambda A, B: abs(A @ B)),
    "AB instead of |A||B|: a bound is positive": bound_with(size=lambda A, B: A @ B),
    "u = 2⁻²⁴ is small; this is 2²⁴": bound_with(lambda A, B: A.shape[1] * 2.0**48),
    "u = 2⁻²⁴ is half a spacing already; this is half of it": bound_with(lambda A, B: A.shape[1] / 2),
    "n is missing: every one of the n terms brings a rounding": bound_with(lambda A, B: 1),
    "n is the inner size, the length of the sums; this is the number of rows": bound_with(lambda A, B: A.shape[0]),
    "n is the inner size, the length of the sums; this is the number of columns": bound_with(lambda A, B: B.shape[1]),
    "the unit roundoff of float64; float32's is 2⁻²⁴": bound_with(u=2.0**-53),
    "twice too large: u is 2⁻²⁴, half the spacing 2⁻²³, and a term meets at most n roundings, not 2n":
        bound_with(u=2.0**-23),
    "float64's spacing; the unit roundoff of float32 is 2⁻²⁴": bound_with(u=2.0**-52),
    "the unit roundoff is missing": bound_with(u=1.0),
    "√n is what one meets on average; a bound must hold always, with n": bound_with(lambda A, B: np.sqrt(A.shape[1])),
    "n² is more than needed: n roundings in each sum": bound_with(lambda A, B: A.shape[1] ** 2),
    "n² times the largest entries is one bound for all; entry by entry is asked for": bound_with(
        lambda A, B: A.shape[1] ** 2, size=lambda A, B: abs(A).max() * abs(B).max() * np.ones((len(A), B.shape[1]))),
    "lengths of rows times lengths of columns exceed |A||B|, in which the products themselves are added": bound_with(
        size=lambda A, B: np.outer(np.linalg.norm(A, axis=1), np.linalg.norm(B, axis=0))),
    "2e-24 is 2 · 10⁻²⁴; the unit roundoff is a power of two": bound_with(u=2e-24),
    "n products and n − 1 additions are 2n − 1 roundings, but no term meets more than n of them": bound_with(
        lambda A, B: 2 * A.shape[1] - 1),
    "norms give one bound for all; entry by entry is asked for":
        lambda A, B: A.shape[1] * 2.0**-24 * np.linalg.norm(A) * np.linalg.norm(B) * np.ones((len(A), B.shape[1])),
    "a product of norms is one bound for all; entry by entry is asked for": bound_with(
        size=lambda A, B: np.linalg.norm(A) * np.linalg.norm(B) * np.ones((len(A), B.shape[1]))),
    "n is the length of the sums, not the number of entries of A": bound_with(lambda A, B: A.size),
    "n roundings in a sum of n products, not n − 1": bound_with(lambda A, B: A.shape[1] - 1),
    "n roundings in a sum of n products, not n + 1": bound_with(lambda A, B: A.shape[1] + 1),
    "the largest entry bounds all, but entry by entry is asked for": bound_with(
        size=lambda A, B: np.max(abs(A) @ abs(B)) * np.ones((len(A), B.shape[1]))),
    "the largest entries bound all, but entry by entry is asked for": bound_with(
        size=lambda A, B: abs(A).max() * abs(B).max() * np.ones((len(A), B.shape[1]))),
    "|A||B| stands there once, not squared": bound_with(size=lambda A, B: (abs(A) @ abs(B)) ** 2),
    "the sum of absolute products, not the root of the squares": bound_with(size=lambda A, B: np.sqrt(A**2 @ B**2)),
    "1e-7 is about the spacing; the unit roundoff is 2⁻²⁴": bound_with(u=1e-7),
    "n u multiplies |A||B|, it is not added": lambda A, B:
        A.shape[1] + 2.0**-24 * (abs(A.astype(np.float64)) @ abs(B.astype(np.float64))),
    "there is no root around |A||B|": bound_with(size=lambda A, B: np.sqrt(abs(A) @ abs(B))),
    "|A||B| is missing: the sizes of the terms count": bound_with(size=lambda A, B: np.ones((len(A), B.shape[1]))),
    "a power: 2⁻²⁴ is 2.0 ** -24": bound_with(u=-48.0),
    "this is the error itself; a bound is known before": lambda A, B: abs((A @ B) - A.astype(float) @ B.astype(float)),
}


def product_bound(answer, seed):
    """Exercise 12.2: a bound for the error of A @ B in float32, entry by entry."""
    rng = np.random.default_rng(seed)
    pairs = []
    for n in (3, 50, 800):
        pairs.append((rng.normal(size=(6, n)).astype(np.float32), rng.normal(size=(n, 7)).astype(np.float32)))
    half = rng.uniform(1, 2, size=(6, 50))
    pairs.append((np.hstack([half, -half]).astype(np.float32), np.ones((100, 7), np.float32)))  # cancels

    def claims(bound):
        for A, B in pairs:
            wide, wide_b = A.astype(np.float64), B.astype(np.float64)
            limit = np.asarray(bound(A, B), dtype=np.float64)
            if limit.shape != (6, 7):
                raise ValueError(f"one bound an entry, shape (6, 7), is expected, got {limit.shape}")
            kind = np.asarray(bound(A, B)).dtype
            if np.promote_types(kind, np.float64) != kind:
                raise ValueError(f"a bound in float64 is expected, and this one has been rounded to {kind} itself")
            if np.ptp(limit) > 0 and any(in_float32(part) for part in (limit, limit / A.shape[1])):
                raise ValueError("a bound in float64 is expected, and the product of this one is computed in float32: "
                                 "astype before the product, not after it")
            yield Claim(f"n = {A.shape[1]}: entries of the bound that are not positive", float((limit <= 0).sum()), 0)
            errors = abs((A @ B).astype(np.float64) - wide @ wide_b)
            yield Claim(f"n = {A.shape[1]}: the largest error over its bound", float((errors / limit).max()), 1.0)
            scale = A.shape[1] * 2.0**-24 * (abs(wide) @ abs(wide_b))
            yield Claim(f"n = {A.shape[1]}: the bound over n u |A||B|", float((limit / scale).max()), 1.001)
            yield Claim(f"n = {A.shape[1]}: n u |A||B| over the bound", float((scale / limit).max()), 1.001)

    def mistakes(bound):
        try:
            sizes = [np.shape(bound(*pair)) for pair in pairs]
        except ValueError as error:
            sizes = []
            yield "broadcast" in str(error), "the star multiplies entry by entry; |A| |B| is a product of matrices"
        scaled = in_roundoffs(bound)
        first, second = (np.asarray(bound(*pair)) for pair in pairs[:2])
        yield (np.ptp(first) == np.ptp(second) == 0 and first.flat[0] == second.flat[0],
               "one number, whatever A and B are: the bound has |A||B| in it")
        yield set(sizes) == {()}, "one number for all entries; a bound for each of them is asked for"
        yield from slips(scaled, pairs[:3], {text: in_roundoffs(wrong) for text, wrong in WRONG_PRODUCT_BOUNDS.items()})
        share = [scaled(A, B) / (abs(A.astype(np.float64)) @ abs(B.astype(np.float64))) for A, B in pairs[:2]]
        if all(np.allclose(part, A.shape[1], 1e-5) for part, (A, _) in zip(share, pairs)):
            return  # right, but rounded itself
        yield (all(np.ptp(part) <= 1e-6 * abs(part).max() for part in share),
               f"it is |A||B| times {share[0].flat[0]:.3g} u for n = 3 and {share[1].flat[0]:.3g} u for n = 50; "
               "n u is wanted, with u = 2⁻²⁴")
        A, B = pairs[0]
        yield (not same(scaled(2 * A, B), 2 * scaled(A, B)),
               "a doubled A must double the bound, which is n u |A||B|; yours does not")
        yield (not same(scaled(-A, B), scaled(A, B)),
               "the bound must not change where A changes its sign: |A| and |B| stand in it")
        yield True, "it grows with A and B as it should, and is not n u times the matrix product of |A| and |B|"

    def fallback(A, B):
        return A.shape[1] * 2.0**-24 * (abs(A.astype(np.float64)) @ abs(B.astype(np.float64)))

    return check("12.2", answer, claims, mistakes, fallback=fallback)


class FakeDevice:
    """A device with a queue and a clock of its own: launching takes 1, the first work 5000 more than each other."""

    def __init__(self, backlog, cost=100):
        self.now = 70_000.0  # on for a while
        self.free_at, self.launches, self.cost = self.now + backlog, 0, cost

    def work(self):
        """Queue a piece of work and return at once."""
        self.now += 1
        cost = self.cost if self.launches else 5000 + self.cost
        self.launches += 1
        self.free_at = max(self.free_at, self.now) + cost

    def wait(self):
        """Come back when the queue is empty."""
        self.now = max(self.now, self.free_at)

    def clock(self):
        """Return the time."""
        return self.now


def library_timed(work, wait, clock):
    """Return the time of one piece of work: warmed up, waited for, and waited for before the start."""
    work()
    wait()
    start = clock()
    work()
    wait()
    return clock() - start


def clock_with(before="work wait", between="work wait", final=lambda start, end: end - start):
    """Return an answer to 12.3 with a slip in it: what is called before the clock starts, and until it stops."""
    def measure(work, wait, clock):
        calls = {"work": work, "wait": wait}
        for name in before.split():
            calls[name]()
        start = clock()
        for name in between.split():
            calls[name]()
        return final(start, clock())
    return measure


def pieces(n):
    """Return an answer that times n pieces one by one, the first one among them, and takes their mean."""
    def measure(work, wait, clock):
        times = []
        for _ in range(n):
            wait()
            start = clock()
            work()
            wait()
            times.append(clock() - start)
        return sum(times) / n
    return measure


MANY = (2, 3, 4, 5, 8, 10, 20, 50, 100)
WRONG_CLOCKS = {
    "2 pieces of work are timed, or the waiting for one of them twice": clock_with(between="work work wait"),
    **{f"a mean of {n} pieces, the first of which has the compiling in it": pieces(n) for n in MANY},
    **{f"{n} pieces of work are timed; one is asked for": clock_with(between="work " * n + "wait") for n in MANY[1:]},
    **{f"{n} pieces of work one after the other are timed; one is asked for": clock_with(between="work wait " * n)
       for n in MANY},
    **{f"{n} pieces queued at once, over {n - 1}": clock_with(
        between="work " * n + "wait", final=lambda start, end, n=n: (end - start) / (n - 1)) for n in MANY[1:]},
    **{f"{n} pieces queued at once over {n}, and the first call's compiling and allocating is among them": clock_with(
        "wait", "work " * n + "wait", lambda start, end, n=n: (end - start) / n) for n in MANY},
    "work of before is still queued when the clock starts": clock_with("work wait work"),
    "the warm-up is still running when the clock starts, and is waited for after it": clock_with(
        "work", "wait work wait"),
    "the difference of the clock's readings is the wrong way round: end minus start": clock_with(
        final=lambda start, end: start - end),
    **{f"{n} pieces queued at once, over {n}: a launch hides behind other work, and is no part of the mean; wait after "
       "each": clock_with(between="work " * n + "wait", final=lambda start, end, n=n: (end - start) / n)
       for n in MANY},
    "the warm-up is still running when the clock starts": clock_with(before="work"),
    "nothing happens between the two readings: the work belongs between them": clock_with(between="wait"),
    "the launch is not in this time: it was over when the clock started, or hides behind other work":
        clock_with("work wait work", "wait"),
    "the clock is read when the work is queued, not when it is done": clock_with(between="work"),
    "the first call's compiling and allocating are in this time": clock_with("wait"),
    "the first call pays for compiling and allocating, and what was queued earlier is counted in": clock_with(""),
    "the first call is timed too, with its compiling": clock_with("", "work wait work wait"),
    "the first call is timed too, with its compiling, and halved": clock_with(
        "", "work wait work wait", lambda start, end: (end - start) / 2),
    "this is the time of day; subtract the reading at the start": clock_with(final=lambda start, end: end),
    "this is the reading at the start; subtract it from that at the end": clock_with(final=lambda start, end: start),
    "half of it: one piece of work is timed": clock_with(final=lambda start, end: (end - start) / 2),
}


def timed(answer, seed):
    """Exercise 12.3: the time of asynchronous work, on a device that is simulated."""
    backlog = int(np.random.default_rng(seed).integers(300, 900))

    def measured(measure, cost):
        device = FakeDevice(backlog, cost)
        return measure(device.work, device.wait, device.clock)

    def claims(measure):
        for cost in (100, 240, 0.25):
            yield claim(f"work of 1 (launch) + {cost} on a busy, cold device", measured(measure, cost), cost + 1)

    def mistakes(measure):
        yield same(measured(measure, 100), measured(measure, 240)) and measured(measure, 100) > 3, \
            "the same for work of any length: the work itself must be measured, and not drop out of a difference"
        yield same([measured(measure, cost) for cost in (100, 240)], [101, 241]), \
            "cut to a whole number; a time may be a fraction"
        yield same([1000 * measured(measure, cost) for cost in (100, 240)], [101, 241]), \
            "divided by 1000: the clock's unit is the one that is asked for"
        yield 0 < measured(measure, 100) < 0.5, "this device has its own time: read clock(), not the computer's"
        yield from slips(lambda cost: measured(measure, cost), [(100,), (240,)],
                         {text: functools.partial(measured, wrong) for text, wrong in WRONG_CLOCKS.items()})
        short, long = (float(measured(measure, cost)) for cost in (100, 240))
        yield short < 0, f"a time is positive; yours is {short:g}: which reading is taken from which?"
        yield same(short / 101, long / 241), f"it is {short / 101:.4g} times the time of one piece, launch included"
        yield short > 50_000, f"work of 100 takes {short:g} by your clock: a time of day, or part of one, is in it"
        yield short > 5000, f"work of 100 takes {short:g} by your clock: the first call's compiling must be in it"
        grows = (long - short) / 140
        yield same(grows, 1), f"the work itself is right, and {short - 101:+.4g} beside it: what else is in your time?"
        yield True, f"work that is longer by 1 takes {grows:.4g} longer by your clock"

    return check("12.3", answer, claims, mistakes, fallback=library_timed)


def library_standstill(theta, d):
    """Return a quarter to a half of the smallest step that moves an entry in float32."""
    return float(np.min(abs(theta) / abs(d))) * 2.0**-26


def share_moved(theta, d, tau, dtype):
    """Return the share of entries that a step changes in a dtype."""
    old = theta.astype(dtype)
    return float((old - dtype(tau) * d.astype(dtype) != old).mean())


def one_number(tau):
    """Return what an answer returns, if it is one number."""
    if np.ndim(tau):
        raise ValueError(f"one number is expected, and an array of the shape {np.shape(tau)} comes")
    return tau


def standing_still(answer, theta, d, seed):
    """Exercise 12.4: the longest step, to a factor of ten, with which float32 parameters do not move."""
    rng = np.random.default_rng(seed)
    cases = {"the notebook's θ": (np.asarray(theta, dtype=float), np.asarray(d, dtype=float))}
    for name, scale in (("another θ", 1.0), ("d 1000 times as large", 1e-3)):
        drawn, ratio = rng.choice([-1, 1], size=(2, 50)) * 10.0 ** rng.uniform([[-2], [-1]], [[2], [1]], size=(2, 50))
        drawn = drawn.astype(np.float32).astype(float)  # where a step ends is asked of float32's own numbers
        cases[name] = drawn, drawn / (scale * ratio)

    def claims(still):
        for name, case in cases.items():
            tau = one_number(still(*case))
            yield Claim(f"{name}: τ is positive", float(not tau > 0), 0)
            yield Claim(f"{name}: share of entries that move in float32", share_moved(*case, tau, np.float32), 0)
            yield Claim(f"{name}: none moves at 10 τ, either", float(share_moved(*case, 10 * tau, np.float32) == 0), 0)
            yield Claim(f"{name}: share that stand still in float64", 1 - share_moved(*case, tau, np.float64), 0)

    def mistakes(still):
        taus = np.array([float(one_number(still(*case))) for case in cases.values()])  # some NumPys take [τ] for τ
        yield (taus == 0).any(), "nothing moves for τ = 0, in float64 neither: τ must be positive"
        yield (taus < 0).any(), "τ must be positive"
        yield np.ptp(np.log(taus)) < 1e-9, "the same τ for every θ and d: it must be made of them"
        ratios = [abs(theta / d) for theta, d in cases.values()]

        def is_made_of(units, powers):
            bits = np.log2(taus / units)
            return any(same(bits, np.full(3, float(power)), 1e-3) for power in powers)
        smallest = [ratio.min() for ratio in ratios]
        yield (is_made_of(smallest, (-24, -25)),
               "at the edge itself a step is rounded to a move, to even or up: stay a factor 2 or more below")
        yield is_made_of(smallest, (-52, -53, -54)), "float64's unit roundoff: in float64 nothing moves, either"
        for rule, word in ((np.mean, "mean"), (np.median, "median"), (np.max, "largest")):
            yield (is_made_of([rule(ratio) for ratio in ratios], range(-28, -22)),
                   f"made of the {word} |θ|/|d|; the most mobile entry decides, the smallest")
        yield (is_made_of([abs(theta).min() / abs(d).max() for theta, d in cases.values()], range(-28, -22)),
               "the smallest |θ| and the largest |d| need not belong to one entry: |θ|/|d| first, then its minimum")
        yield (is_made_of([(1 / ratio).min() for ratio in ratios], range(-28, -22)),
               "upside down: a large |θ| stays, a large |d| moves, so |θ|/|d| is what counts")
        moved = [share_moved(*case, tau, np.float32) for case, tau in zip(cases.values(), taus)]
        yield max(moved) > 0.5, "far too large: most entries still move in float32"
        yield max(moved) > 0, "a few entries still move; the most mobile one decides (the minimum, no mean)"
        yield (min(share_moved(*case, tau, np.float64) for case, tau in zip(cases.values(), taus)) < 1,
               "so small that entries stand still in float64 too")
        yield True, "no entry moves, but in one case none does at 10 τ either: τ may be larger"

    return check("12.4", answer, claims, mistakes, fallback=library_standstill)


close_to_answers(globals())
