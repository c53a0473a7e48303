r"""Checks of notebook 12: distances in ulps, an error bound for products, honest timing, and steps lost in float32."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import Claim, check, claim, close_to_answers, same


def library_ulps(x, y):
    """Return max|x − y| in units of the spacing of y's dtype at max|y|."""
    x, y = np.asarray(x), np.asarray(y)
    spacing = float(np.spacing(abs(y).max()))
    return float(abs(x.astype(np.float64) - y.astype(np.float64)).max()) / spacing


def ulps(answer, seed):
    """Exercise 12.1: the largest difference in units in the last place of the largest entry."""
    rng = np.random.default_rng(seed)
    y = rng.uniform(1, 100, size=(4, 5)).astype(np.float32)
    x = y.copy()
    k = np.unravel_index(y.argmax(), y.shape)
    for _ in range(3):
        x[k] = np.nextafter(x[k], np.float32(0))

    def claims(distance):
        yield claim("an array to itself", distance(y, y), 0)
        yield claim("the largest entry moved by three floats", distance(x, y), 3)
        wide, off = y.astype(np.float64), y.astype(np.float64)
        off[k] -= 3 * np.spacing(off[k])
        yield claim("the same in float64, with its own spacing", distance(off, wide), 3)
        yield claim("a power of two times both changes nothing", distance(8 * x, 8 * y), distance(x, y))

    def mistakes(distance):
        gap = float(abs(x - y).max())
        found = distance(x, y)
        yield same(found, gap), "this is the difference itself; divide by the spacing of floats"
        yield same(found, gap / np.finfo(np.float64).eps) or same(found, gap / np.spacing(float(y.max()))), \
            "float64's spacing: these arrays are float32, whose floats lie 2²⁹ times farther apart"
        yield same(found, gap / float(np.finfo(np.float32).eps)), \
            "the spacing at 1: floats near the largest entry lie farther apart"

    return check("12.1", answer, claims, mistakes, fallback=library_ulps)


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
            errors = abs((A @ B).astype(np.float64) - wide @ wide_b)
            yield Claim(f"n = {A.shape[1]}: the largest error over its bound", float((errors / limit).max()), 1.0)
            scale = A.shape[1] * 2.0**-24 * (abs(wide) @ abs(wide_b))
            yield Claim(f"n = {A.shape[1]}: the bound over n u |A||B|", float((limit / scale).max()), 1.01)
            yield Claim(f"n = {A.shape[1]}: n u |A||B| over the bound", float((scale / limit).max()), 1.01)

    def mistakes(bound):
        A, B = pairs[1]
        wide, wide_b, u = A.astype(np.float64), B.astype(np.float64), 2.0**-24
        found = np.asarray(bound(A, B), dtype=np.float64)
        yield same(found / u, 50 * abs(wide @ wide_b), 1e-3), \
            "|AB| instead of |A||B|: where terms cancel the result is small and the error is not"
        yield same(found / u, abs(wide) @ abs(wide_b), 1e-3), "n is missing: every one of the n terms brings a rounding"
        yield same(found / u, 50 * 2.0**-29 * (abs(wide) @ abs(wide_b)), 1e-3), \
            "the unit roundoff of float64; float32's is 2⁻²⁴"

    def fallback(A, B):
        return A.shape[1] * 2.0**-24 * (abs(A.astype(np.float64)) @ abs(B.astype(np.float64)))

    return check("12.2", answer, claims, mistakes, fallback=fallback)


class FakeDevice:
    """A device with a queue and a clock of its own: launching takes 1, the work 100, the first time 5000 more."""

    def __init__(self, backlog):
        self.now, self.free_at, self.launches = 0.0, float(backlog), 0

    def work(self):
        """Queue a piece of work and return at once."""
        self.now += 1
        cost = 100 if self.launches else 5100
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


def timed(answer, seed):
    """Exercise 12.3: the time of asynchronous work, on a device that is simulated."""
    backlog = int(np.random.default_rng(seed).integers(300, 900))

    def measured(measure):
        device = FakeDevice(backlog)
        return measure(device.work, device.wait, device.clock)

    def claims(measure):
        yield claim("work of 1 (launch) + 100 on a busy, cold device", measured(measure), 101)

    def mistakes(measure):
        found = measured(measure)
        yield found <= 3, "the clock is read when the work is queued, not when it is done: wait before the end"
        yield same(found, backlog + 5100) or found > 5000, \
            "the first call pays for compiling and allocating: run once before the clock starts"
        yield found > 101, "what was queued earlier is counted in: wait before the clock starts, too"

    return check("12.3", answer, claims, mistakes, fallback=library_timed)


def standing_still(answer, theta, d, seed):
    """Exercise 12.4: a step size at which float32 parameters do not move, and float64 ones do."""
    def moved(tau, dtype):
        """Return the share of entries that a step changes."""
        old = np.asarray(theta, dtype=dtype)
        return float((old - np.asarray(tau, dtype=dtype) * np.asarray(d, dtype=dtype) != old).mean())

    def claims(tau):
        tau = float(tau)
        yield Claim("τ is positive", max(0.0, 1e-30 - tau), 0)
        yield Claim("share of entries that move in float32", moved(tau, np.float32), 0)
        yield Claim("share that stand still in float64", 1 - moved(tau, np.float64), 0)

    def mistakes(tau):
        tau = float(tau)
        yield tau <= 0, "τ must be positive"
        yield moved(tau, np.float64) < 1, "so small that entries stand still in float64 too"
        yield moved(tau, np.float32) > 0.5, "far too large: most entries still move in float32"
        yield moved(tau, np.float32) > 0, \
            "a few entries still move; the most mobile one decides: the minimum, not the mean"

    smallest = float((abs(np.asarray(theta)) / abs(np.asarray(d))).min())
    return check("12.4", answer, claims, mistakes, fallback=smallest * 2.0**-26)


close_to_answers(globals())
