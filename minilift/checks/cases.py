r"""What the random problems of all claims share (`Case`), and tests for parts of any kind: dtype, layout, memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from minilift.checks.numeric import compare, dense, directional, tried
from minilift.checks.report import SINGLE, NotClaimed, nothing_of
from minilift.support.backend import to_numpy

FIRST_IS_LAST = "f(x), f(x'), f(x): the first is the last"
ROUNDING = "rounding of float64 only"
OF_A_LINE = "a continuous function changes by less over 1e-10 of a line"
IN_SINGLE = 2e-4  # how near float32 results must be, relative to the largest entry
CUT = 4e-9  # error allowed in a slope: log(1 + eᶻ), commonly replaced by z beyond z = 20, then loses e⁻²⁰ = 2e-9
JUMPS = (-63.7, -7.03, 7.04, 63.7)  # the line is searched for jumps between these
MANY, LARGE = 44, 7  # rows of a larger batch, and how often they are repeated in a large one


@dataclass(frozen=True)
class Case:
    """One random problem: its label, and the array library on which the thing is run."""

    label: str
    xp: object

    def met(self, thing):
        """Return the thing in the form that it has in this problem."""
        return thing

    def call(self, function, *arrays):
        """Return function(*arrays) as a NumPy array; it is run on the backend, with read-only arrays on NumPy.

        The result is a copy, so that a reused buffer is reported by one claim and does not spoil the others.
        """
        return copied(function(*(self.lend(array) for array in arrays)))

    def lend(self, array):
        """Return a copy of an array on the backend; on NumPy it is read-only, and a read-only array is not copied."""
        if self.xp is np and isinstance(array, np.ndarray) and not array.flags.writeable:
            return array
        array = self.xp.asarray(np.array(array))
        if self.xp is np:
            array.flags.writeable = False
        return array

    def lend_all(self, arrays):
        """Return a list of arrays, each passed through `lend`; None stays None."""
        return [None if array is None else self.lend(array) for array in arrays]

    def apply(self, sigma, z, training=False):
        """Return σ(z) as a NumPy array, and what the adjoint needs; the random numbers are the same each time."""
        a, aux = sigma.apply(self.lend(z), training=training, rng=np.random.default_rng(0))
        return copied(a), aux

    def adjoint(self, sigma, z, a, aux, g):
        """Return σ's adjoint applied to a signal g as a NumPy array, with a and aux from `apply`."""
        return copied(sigma.adjoint(self.lend(z), self.lend(a), aux, self.lend(g)))

    def derivative(self, function, z):
        """Return the `Reference` of the derivative of an elementwise function at z."""
        return directional(lambda x: self.call(function, x), z, np.ones(z.shape)).loosened(CUT)

    def loss_value(self, loss, z, y):
        """Return the loss of outputs z; complex where z is complex, if the loss supports it."""
        if np.iscomplexobj(z) and hasattr(loss, "value_per_sample"):
            return self.call(loss.value_per_sample, z, y).sum() * loss.weight(len(z))
        return self.call(loss.value, z, y)


def to_host(value):
    """Return an array on the host; numbers are returned as they are."""
    return value if isinstance(value, (int, float, complex, np.number)) else to_numpy(value)


def copied(value):
    """Return a copy of an array on the host; numbers are returned as they are."""
    value = to_host(value)
    return value.copy() if isinstance(value, np.ndarray) else value


def interleaved(calls):
    """Return the finding that functions, given by name, remember nothing; ``call(k)`` uses the k-th of two inputs.

    All are called at 0, then all at 1, then each at 0 again: a function that remembers another's call is found too.
    """
    first, kept, reasons = {}, {}, []
    for name, call in calls.items():
        first[name] = call(0)
        kept[name] = np.array(to_host(first[name]))
    for call in calls.values():
        call(1)
    for name in calls:
        if not np.array_equal(to_host(first[name]), kept[name], equal_nan=True):
            reasons.append(f"{name}: its result is overwritten by the next call: a buffer is reused")
    for k, name in enumerate(() if reasons else calls):
        for call in calls.values() if k else ():  # before the first, they have just been called
            call(1)
        if not np.array_equal(to_host(calls[name](0)), kept[name], equal_nan=True):
            reasons.append(f"{name} depends on calls before: something is remembered, cached or random")
    return nothing_of(reasons, "bit for bit")


def in_float32(case, calls, values=True):
    """Return the finding that functions, given by name, keep float32; each is called with a converter to float32.

    If `values` is true, their values must also agree with those in float64.
    """
    def single(array):
        array = np.asarray(array)
        return case.lend(array.astype(np.float32) if array.dtype.kind == "f" else array)

    def differ(got, right):
        gap, size = np.max(abs(got - right), initial=0.0), np.max(abs(right), initial=0.0)
        return np.all(np.isfinite(right)) and not gap <= IN_SINGLE * size + 1e-6

    reasons = []
    for name, call in calls.items():
        got = call(single)
        if (dtype := getattr(got, "dtype", None)) != np.float32:
            reasons.append(f"{name} is {dtype} for float32 arrays")
        elif values and differ(to_host(got), to_host(call(case.lend))):
            reasons.append(f"{name}: of float32 arrays it has other values than of float64 ones")
    return nothing_of(reasons, "a network is float32 by default, and takes no other arrays")


def of_each_sample(function, batch):
    """Return the finding that a function treats the first and the last sample of a batch as it would each alone."""
    together, alone = function(batch), np.concatenate([function(batch[:1]), function(batch[-1:])])
    finding = compare(together[[0, -1]], dense(alone))
    return finding if SINGLE in finding.reasons else finding.because(
        "samples are coupled: a mean, or an axis, goes over the batch")


def by_rows_and_layout(calls, arrays, forms=None):
    """Return the finding that functions of arrays whose rows are independent give the same for many rows as for few.

    Neither the memory layout may matter nor other `forms` of the arrays: a dict from a description to a function.
    """
    many = [np.resize(array, (MANY, *array.shape[1:])) for array in arrays]
    many[0] = many[0] * np.linspace(0.5, 1.5, MANY).reshape(-1, *(1,) * (many[0].ndim - 1))  # no two rows are the same
    reasons = []
    for name, call in calls.items():
        pieces = [call(*(array[k : k + 4] for array in many)) for k in range(0, MANY, 4)]
        alone = tried(call, *(array[:1] for array in many))
        if alone is None or not fits_or_equal(np.ravel(pieces[0][:1]), np.ravel(alone)):
            continue  # it couples the samples, or has another weight, which other claims report
        right = np.concatenate(pieces)
        tried_as = {
            "of a batch of many rows it is another": [np.concatenate([array] * LARGE) for array in many],
            "of arrays that are not C-contiguous it is another": [np.asfortranarray(array) for array in many],
            **{what: [change(array) for array in many] for what, change in (forms or {}).items()}}
        for what, given in tried_as.items():
            got, expected = tried(call, *given), np.concatenate([right] * (LARGE if len(given[0]) > MANY else 1))
            if got is None or not fits_or_equal(np.ravel(got), np.ravel(expected)):
                reasons.append(f"{name}: {what}" + " (it raises)" * (got is None))
    return nothing_of(reasons, "rows by themselves, in the order of the indices")


def fits_or_equal(got, right):
    """Whether two arrays are equal up to rounding, with NaN in the same places."""
    return got.shape == right.shape and np.allclose(got, right, rtol=1e-8, atol=1e-10, equal_nan=True)


def wrong_shape(layer, shape, result):
    """Return the finding on a layer's output_shape for samples of a shape, given the result for a batch of them."""
    stated = tuple(layer.output_shape(shape))
    reason = f"output_shape says {stated}, forward returns samples of shape {result.shape[1:]}"
    return nothing_of([reason] * (stated != result.shape[1:]), "shapes are whole numbers")


def jump_of(value, slope, count=40):
    """Return by how much a function of t in [0, 1] jumps, relative to its size: where it departs most from its slope.

    Both are given several t at once; with few, a jump smaller than the error from curvature would not be seen.
    """
    ends = np.linspace(0, 1, count)
    size = 1e-6 + abs(value(ends)).max()  # not from its two ends alone: for a bump both are 0
    for _ in range(16):
        values = value(ends)
        k = np.argmax(abs(np.diff(values) - np.diff(ends) * slope((ends[1:] + ends[:-1]) / 2)))
        jump, ends = abs(values[k + 1] - values[k]), np.linspace(ends[k], ends[k + 1], 5)
    return float(jump / size)


def jump_on_line(case, function, slope):
    """Return the largest jump of an elementwise function anywhere on the line, given its slope."""
    def jump(low, high):
        def at(t):
            return low + (high - low) * t[:, None]

        return jump_of(lambda t: case.call(function, at(t)).ravel(),
                       lambda t: (high - low) * case.call(slope, at(t)).ravel(), count=400)

    return max(jump(*ends) for ends in itertools.pairwise(JUMPS))


def where_wrong(z, wrong):
    """Return in words where on the line something is wrong; None if it is everywhere or in several places."""
    for name, x in (("z", z), ("|z|", abs(z))):
        order = np.argsort(x)
        x, bad = x[order], wrong[order]
        ends = np.flatnonzero(np.diff(np.concatenate([[0], bad, [0]])))  # where wrong begins and ends
        if len(ends) == 2 and not bad.all():
            low, high = (f"{x[min(end, len(x) - 1)]:.1f}".replace("-0.0", "0").replace("0.0", "0") for end in ends)
            return (f"{name} < {high}" if ends[0] == 0 else f"{name} > {low}" if ends[1] == len(x)
                    else f"{low} < {name} < {high}")
    return None


def fits_shapes(layer, shapes):
    """Whether a layer accepts samples of these shapes."""
    return tried(lambda: [layer.output_shape(*shapes)]) is not None  # a layer may refuse a shape in any way


def sample_shape(layer, shapes):
    """Return the first of several shapes that a layer accepts."""
    for shape in shapes:
        if fits_shapes(layer, [shape]):
            return shape
    shown = ", ".join(map(str, shapes[:5]))
    raise NotClaimed(f"it takes no sample of the shapes {shown}, …; check it inside a network instead")
