r"""Claims about the parts of a network, maps, transfers and losses, and random problems for each."""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from minilift.checks.numeric import (
    SINGLE,
    Tangents,
    compare,
    dense,
    directional,
    fits,
    fitted_factor,
    gradient,
    seen_last,
    tried,
)
from minilift.checks.report import Finding, Guess, NotClaimed, claim, nothing_of, only_if, worst_of
from minilift.layers.convolution import Conv2d
from minilift.layers.losses import Loss
from minilift.layers.normalization import BatchNorm
from minilift.local.solvers import damped_solve
from minilift.support.backend import to_numpy

FIRST_IS_LAST = "f(x), f(x'), f(x): the first is the last"
NOT_ELEMENTWISE = "not elementwise: its adjoint is checked instead"
ROUNDING = "rounding of float64 only"
NOT_AFFINE = "the map is not affine in a, so that it has no adjoint"
OTHER_ORDER = "columns(z) are in another order than rows(a)"
NOT_LINEAR = "it is not linear in g: clipped, or masked by the sign of g"
AFFINE = "it is not linear in g, but affine: it is not 0 for g = 0, a term lacks its g, or a sum of g"
OF_A_LINE = "over 1e-10 of a line"
CACHED = "σ(z) is that of an earlier z of this shape: forward is cached, or remembers"
COUPLED = "it is not elementwise: an entry depends on others; a Transfer, with apply and adjoint, may be so"
RESTLESS = "of one signal it is not the same twice: it draws random numbers, or remembers"
DAMPINGS = (0.3, 1.0, 20.0)
IN_SINGLE = 2e-4  # what is computed in float32 is this near, relative to the largest entry
FAR = 4.0  # outputs so many times those drawn are still ones that training meets
CUT = 4e-9  # of a slope: log(1 + eᶻ) that goes on as z from 20 on, as is usual, leaves out e⁻²⁰ = 2e-9
JUMPS = (-63.7, -7.03, 7.04, 63.7)  # the line is searched for jumps between these
HUGE = 1e60  # a loss of outputs of some hundreds that is larger grows exponentially
MANY, LARGE = 44, 7  # rows of a larger batch, and how often they stand in a large one
KRYLOV = 3  # steps of an iteration that has not converged


@dataclass(frozen=True)
class Case:
    """One random problem: what to say of it, and the array library on which the thing is run."""

    label: str
    xp: object

    def met(self, thing):
        """Return a thing as it is in this problem."""
        return thing

    def call(self, function, *arrays):
        """Return function(*arrays) as a NumPy array; it is run on the backend, with read-only arrays on NumPy.

        It is a copy: a buffer that is used again is told by one claim, and spoils no other.
        """
        return copied(function(*(self.lend(array) for array in arrays)))

    def lend(self, array):
        """Return a copy of an array on the backend; on NumPy it is read-only, and one that is so is not copied."""
        if self.xp is np and isinstance(array, np.ndarray) and not array.flags.writeable:
            return array
        array = self.xp.asarray(np.array(array))
        if self.xp is np:
            array.flags.writeable = False
        return array

    def lend_all(self, arrays):
        """Return a list of arrays as `lend` returns each; None stays."""
        return [None if array is None else self.lend(array) for array in arrays]

    def apply(self, sigma, z, training=False):
        """Return σ(z) as a NumPy array, and what the adjoint needs; the same random numbers each time."""
        a, aux = sigma.apply(self.lend(z), training=training, rng=np.random.default_rng(0))
        return copied(a), aux

    def adjoint(self, sigma, z, a, aux, g):
        """Return σ's adjoint of a signal g as a NumPy array, with a and aux of `apply`."""
        return copied(sigma.adjoint(self.lend(z), self.lend(a), aux, self.lend(g)))

    def derivative(self, function, z):
        """Return the `Reference` of the derivative of an elementwise function at z."""
        return directional(lambda x: self.call(function, x), z, np.ones(z.shape)).loosened(CUT)

    def loss_value(self, loss, z, y):
        """Return the loss of outputs z; complex where z is, if the loss can."""
        if np.iscomplexobj(z) and hasattr(loss, "value_per_sample"):
            return self.call(loss.value_per_sample, z, y).sum() * loss.weight(len(z))
        return self.call(loss.value, z, y)


def to_host(value):
    """Return an array on the host; numbers pass."""
    return value if isinstance(value, (int, float, complex, np.number)) else to_numpy(value)


def copied(value):
    """Return an array of its own on the host; numbers pass."""
    value = to_host(value)
    return value.copy() if isinstance(value, np.ndarray) else value


def interleaved(calls):
    """Return the finding of functions by name, ``call(k)`` of the k-th of two inputs.

    All are called at 0, and each again at 0 after all at 1: what remembers another's call is found too.
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
        for call in calls.values() if k else ():  # before the first they have been
            call(1)
        if not np.array_equal(to_host(calls[name](0)), kept[name], equal_nan=True):
            reasons.append(f"{name} depends on calls before: something is remembered, cached or random")
    return nothing_of(reasons, "bit for bit")


def in_float32(case, calls, values=True):
    """Return the finding of functions by name, called with what turns arrays into float32 ones, which must stay so.

    Their `values` must be those for float64, too.
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
    """Return the finding that a function of a batch makes of its first sample what it makes of that alone."""
    together, alone = function(batch), function(batch[:1])
    finding = compare(together[:1], dense(alone))
    return finding if SINGLE in finding.reasons else finding.because(
        "samples are coupled: a mean, or an axis, goes over the batch")


def by_rows_and_layout(calls, arrays, forms=None):
    """Return the finding that functions of arrays, of which each row is by itself, are of many rows what of few.

    Neither a memory layout may matter, nor other `forms` of the arrays, functions by what to say of them.
    """
    many = [np.resize(array, (MANY, *array.shape[1:])) for array in arrays]
    many[0] = many[0] * np.linspace(0.5, 1.5, MANY).reshape(-1, *(1,) * (many[0].ndim - 1))  # no two rows are the same
    reasons = []
    for name, call in calls.items():
        pieces = [call(*(array[k : k + 4] for array in many)) for k in range(0, MANY, 4)]
        alone = tried(call, *(array[:1] for array in many))
        if alone is None or not fits_or_equal(np.ravel(pieces[0][:1]), np.ravel(alone)):
            continue  # it couples the samples, or has another weight, which others say
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
    """Whether two arrays are equal up to rounding, NaN where the other is."""
    return got.shape == right.shape and np.allclose(got, right, rtol=1e-8, atol=1e-10, equal_nan=True)


def wrong_shape(layer, shape, result):
    """Return the finding of a layer's output_shape for samples of a shape, of which a batch became the result."""
    stated = tuple(layer.output_shape(shape))
    reason = f"output_shape says {stated}, forward returns samples of shape {result.shape[1:]}"
    return nothing_of([reason] * (stated != result.shape[1:]), "shapes are whole numbers")


# ---- joins


@dataclass(frozen=True)
class JoinCase(Case):
    """Two lists of values that a join reads, and the tangents along which its adjoint is probed."""

    values: list
    others: list
    rng: np.random.Generator


def join_cases(join, rng, xp):
    """Return a join and random problems for it, of vectors and of longer samples where it takes them."""
    count, cases = join.reads_current + len(join.sources), []
    for shape in ((5,), (4, 3), (3, 4, 2)):
        if not fits_shapes(join, [shape] * count):
            continue
        values, others = rng.standard_normal((2, count, 3, *shape))
        cases.append(JoinCase(f"N = 3, {count} values of shape {shape}", xp, list(values), list(others), rng))
    only_if(cases, "it takes no values of the shapes tried; check it inside a network instead")
    return join, cases


def fits_shapes(layer, shapes):
    """Whether a layer takes samples of these shapes."""
    try:
        layer.output_shape(*shapes)
    except Exception:  # a layer refuses a shape as it likes, by an assertion too
        return False
    return True


@claim("join", "the join is linear in its values", "J(2u − 3v) = 2 J(u) − 3 J(v)", "the layer graph")
def join_is_linear(join, case):
    mixed = [2 * u - 3 * v for u, v in zip(case.values, case.others)]
    forward = [case.call(lambda *v: join.forward(None, *v), *values) for values in (mixed, case.values, case.others)]
    why = "it is not linear in its values: a product, a maximum, or a constant"
    return compare(forward[0], dense(2 * forward[1] - 3 * forward[2])).retold(lambda known: (*known, why))


@claim("join", "the output of a sample does not depend on the other samples", "J(v)_i = J(v_i)", "convention")
def join_is_of_each_sample(join, case):
    values = np.stack(case.values, axis=1)  # a sample is its values
    return of_each_sample(lambda batch: case.call(
        lambda *v: join.forward(None, *v), *(batch[:, k] for k in range(batch.shape[1]))), values)


@claim("join", "adjoint in each value", "⟨J(v_1, …, v_k), g⟩ = Σ ⟨v_i, Jᵢᵀg⟩", "the layer graph")
def join_adjoint(join, case):
    c = case.call(lambda *v: join.forward(None, *v), *case.values)
    g = case.rng.standard_normal(c.shape)
    parts = [to_host(part) for part in join.adjoint_inputs(None, case.lend(g), case.lend_all(case.values))]
    tangents = [Tangents(value.shape, case.rng, count=6) for value in case.values]

    def sent_to(k):  # with the other values as they are, so that a product, too, is judged
        moved = [[v + tangent if j == k else v for j, v in enumerate(case.values)] for tangent in tangents[k]]
        return tangents[k].assemble([np.vdot(case.call(lambda *v: join.forward(None, *v), *values) - c, g)
                                     for values in moved])

    expected, got = [sent_to(k) for k in range(len(parts))], [t.project(part) for t, part in zip(tangents, parts)]
    findings = [compare(got[k], dense(right), {
        f"it is that of value {j}{': they are swapped' * fits(got[j], right)}": other
        for j, other in enumerate(expected) if j != k}) for k, right in enumerate(expected)]
    return worst_of(findings).retold(lambda _: [
        f"the signal to value {k}: {reason}" for k, finding in enumerate(findings) if not finding.holds
        for reason in finding.mistakes()])


# ---- maps


@dataclass(frozen=True)
class MapCase(Case):
    """θ, a batch a, a cotangent g of z, the design matrix [a 1] by probing with unit parameters, and the map."""

    theta: np.ndarray
    a: np.ndarray
    g: np.ndarray
    design: np.ndarray
    rng: np.random.Generator
    phi: object

    def met(self, thing):
        """Return the map as it is for samples of this size."""
        return self.phi

    @property
    def factors(self):
        """Return the sizes by which a result may be off."""
        return {"N, the batch size": len(self.g), "the number of rows of the design matrix": len(self.design)}


def map_cases(phi, rng, xp, shape=None):
    """Return a map and random problems for it: a batch of one, wide and tall ones, a dead input, small and large.

    A map by itself takes samples of another size, too: images of odd and even numbers of rows.
    """
    alone, given = shape is None, phi
    shape = sample_shape(phi, map_shapes(phi)) if alone else shape
    phi = for_samples(given, shape)
    case, cases = Case("", xp), []
    plan = [(n, size, shape) for n, size in ((1, 1), (2, 1 / 20), (5, 1), (16, 20), (17, 1))]
    plan += [(261, 1, shape)] * (len(shape) == 1)  # more than a block of rows, in which a product may be made
    plan += [(3, 1, other) for other in other_sizes(shape) if alone and takes_samples(given, case, other)]
    for n, size, one in plan:
        theta, a = rng.standard_normal(phi.theta_shape), size * rng.standard_normal((n, *one))
        a[..., 0] *= n % 2  # a dead input
        here = phi if one == shape else for_samples(given, one)
        g, design = rng.standard_normal(case.call(here.forward, theta, a).shape), design_matrix(case, here, a)
        of = "samples of shape" if one == shape else "samples of another size,"
        cases.append(MapCase(f"N = {n}, {of} {one}", xp, theta, a, g, design, rng, here))
    return phi, cases


def for_samples(phi, shape):
    """Return a map as it is for samples of a shape."""
    return phi.for_images(shape) if hasattr(phi, "for_images") else phi


def other_sizes(shape):
    """Return other sizes of images, or of sequences: where rows are even they are odd."""
    if len(shape) == 3:
        rows, columns, channels = shape
        return [(columns, rows, channels) if rows != columns else (rows + 1, columns, channels)]
    return [(shape[0] + 1, shape[1])] if len(shape) == 2 else []


def takes_samples(phi, case, shape):
    """Whether a map says that it takes samples of a shape, and does: θ of one may be for one size alone."""
    if not fits_shapes(phi, [shape]):
        return False
    theta, a = np.zeros(phi.theta_shape), np.zeros((2, *shape))
    return tried(lambda: case.call(for_samples(phi, shape).forward, theta, a)) is not None


def map_shapes(phi):
    """Return shapes of samples that a map may take: vectors, or small images."""
    n_in = getattr(phi, "n_in", None)
    channels, kernel = getattr(phi, "c_in", n_in), getattr(phi, "kernel", 1)
    height = max(kernel) if isinstance(kernel, tuple) else kernel
    return [(n_in,), (height + 1, height + 2, channels), (height, height, channels), (height + 3, channels),
            *((n,) for n in range(1, 65)), *itertools.product(range(2, 13), range(1, 9)),
            *itertools.product(range(2, 9), range(2, 9), range(1, 5))]


def sample_shape(layer, shapes):
    """Return the first of several shapes that a layer takes."""
    for shape in shapes:
        if fits_shapes(layer, [shape]):
            return shape
    shown = ", ".join(map(str, shapes[:5]))
    raise NotClaimed(f"it takes no sample of the shapes {shown}, …; check it inside a network instead")


def design_matrix(case, phi, a, unit=0):
    """Return Ã: its column k is one unit of the map's output for parameters that are e_k in that unit."""
    rows, n_out = phi.theta_shape
    thetas = (np.outer(row, np.eye(n_out)[unit]) for row in np.eye(rows))
    return np.stack([case.call(phi.forward, theta, a).reshape(-1, n_out)[:, unit] for theta in thetas], axis=1)


@claim("map", "it is a function of its arguments", FIRST_IS_LAST, "convention")
def map_remembers_nothing(phi, case):
    inputs = [(case.lend(s * case.theta), case.lend(s * case.a), case.lend(s * case.g)) for s in (1.0, -0.5)]
    calls = {"forward": lambda k: phi.forward(*inputs[k][:2]),
             "adjoint_theta": lambda k: phi.adjoint_theta(*inputs[k][1:]),
             "adjoint_input": lambda k: phi.adjoint_input(inputs[k][0], inputs[k][2])}
    if hasattr(phi, "rows") and tried(phi.rows, inputs[0][1]) is not None:
        calls["rows"] = lambda k: phi.rows(inputs[k][1])
    if tried(lambda: phi.gram(inputs[0][1], side="parameter").matrix) is not None:
        calls["gram"] = lambda k: phi.gram(inputs[k][1], side="parameter").matrix
    return interleaved(calls)


@claim("map", "the output of a sample does not depend on the other samples", "φ(θ, a)_i = φ(θ, a_i)", "convention")
def map_is_of_each_sample(phi, case):
    only_if(len(case.a) > 1, "a batch of one")
    return of_each_sample(lambda a: case.call(phi.forward, case.theta, a), case.a)


@claim("map", "it is the same in any memory layout", "of arrays that are not C-contiguous", "convention")
def map_in_any_layout(phi, case):
    calls = {"forward": (phi.forward, case.theta, case.a), "adjoint_theta": (phi.adjoint_theta, case.a, case.g),
             "adjoint_input": (phi.adjoint_input, case.theta, case.g)}
    wrong = [name for name, (call, *arrays) in calls.items() if not fits_or_equal(
        case.call(call, *map(np.asfortranarray, arrays)), case.call(call, *arrays))]
    return nothing_of([f"{name}: of arrays that are not C-contiguous it is another" for name in wrong],
                      "entries are those of the indices")


@claim("map", "float32 stays float32", "dtype of z, ãᵀg, g Wᵀ", "convention")
def map_keeps_float32(phi, case):
    theta, a, g = case.theta, case.a, case.g
    return in_float32(case, {"forward": lambda single: phi.forward(single(theta), single(a)),
                             "adjoint_theta": lambda single: phi.adjoint_theta(single(a), single(g)),
                             "adjoint_input": lambda single: phi.adjoint_input(single(theta), single(g))})


@claim("map", "output_shape and initial_theta are those of the map", "shapes; θ of the generator alone", "convention")
def map_states_its_shapes(phi, case):
    finding = wrong_shape(phi, case.a.shape[1:], case.call(phi.forward, case.theta, case.a))
    if not finding.holds:
        return finding
    only_if(hasattr(phi, "initial_theta"), "it has no initial_theta")
    drawn, again, other = (phi.initial_theta(np.random.default_rng(seed)) for seed in (3, 3, 4))
    reasons = [f"initial_theta is of shape {drawn.shape}, not theta_shape"] * (drawn.shape != tuple(phi.theta_shape))
    if not np.array_equal(drawn, again):
        reasons.append("initial_theta draws from another generator than the one given")
    elif looks_drawn(drawn) and np.array_equal(drawn, other):
        reasons.append("initial_theta is the same for every generator: it draws from one of its own, of a fixed seed")
    return nothing_of(reasons, finding.why)


def looks_drawn(theta):
    """Whether a map's weights look like random numbers: no two of several are equal, in size."""
    weights = abs(np.ravel(to_numpy(theta)[:-1]))
    return weights.size > 3 and len(np.unique(weights)) == weights.size


@claim("map", "the map is linear in θ", "φ(2θ − 3η, a) = 2 φ(θ, a) − 3 φ(η, a)", "ProxProp, φ")
def linear_in_theta(phi, case):
    eta = case.rng.standard_normal(case.theta.shape)
    expected = 2 * case.call(phi.forward, case.theta, case.a) - 3 * case.call(phi.forward, eta, case.a)
    got = case.call(phi.forward, 2 * case.theta - 3 * eta, case.a)
    constant = case.call(phi.forward, 0 * eta, case.a)
    finding = compare(got, dense(expected), terms={"it has a part that does not depend on θ": constant})
    longer = np.concatenate([2 * case.theta[:-1], case.theta[-1:]])
    if fits(case.call(phi.forward, longer, case.a), case.call(phi.forward, case.theta, case.a)):
        return finding.because("the size of the weights does not matter: they are normalised")
    return finding


@claim("map", "each unit of z is [a 1] times its column of θ", "φ(θ, a) = ã θ", "ProxProp, φ")
def forward_is_design(phi, case):
    rows = case.call(phi.rows, case.a) if hasattr(phi, "rows") else case.a.reshape(len(case.a), -1)
    n_out = case.theta.shape[1]

    def forward(a):
        z = case.call(phi.forward, case.theta, a)
        return case.call(phi.columns, z) if hasattr(phi, "columns") else z.reshape(-1, n_out)

    only_if(rows.shape[1] + 1 == len(case.theta), "the map has no rows(a), and θ is not of shape (n_in + 1, n_out)")
    product = rows @ case.theta[:-1]
    variants = {"the bias is missing": product, "the bias is added twice": product + 2 * case.theta[-1],
                "the bias is subtracted": product - case.theta[-1],
                "the bias is taken from the first row of θ": rows @ case.theta[1:] + case.theta[0]}
    if rows.shape[1] == n_out:
        variants["the weights are transposed"] = rows @ case.theta[:-1].T + case.theta[-1]
    finding = compare(forward(case.a), dense(product + case.theta[-1]), variants)
    if finding.holds:
        other = case.call(phi.rows, -case.a / 2) if hasattr(phi, "rows") else -rows / 2
        return compare(forward(-case.a / 2), dense(other @ case.theta[:-1] + case.theta[-1])).because(
            "rows(a) are those of an earlier a: they are cached, or remembered")

    def with_rows(known):
        of_rows = rows_reasons(phi, case, rows, product)
        return [*known, *of_rows] if OTHER_ORDER in of_rows else [*of_rows, *known]

    return finding.retold(with_rows)


def rows_reasons(phi, case, rows, product):
    """Return what may be wrong with the rows that a map says it multiplies W by."""
    n_out = case.theta.shape[1]
    if not linear_in_theta(phi, case).holds:
        return ["it is not linear in θ"]
    if not affine_in_a(phi, case).holds:
        return [NOT_AFFINE]
    if not np.allclose(design_matrix(case, phi, case.a, n_out - 1), case.design):
        return ["its units do not read the same entries of a (weights that are masked, sparse): no rows(a) serve all"]
    reasons, seen = [], case.design[:, :-1]
    if np.allclose(seen @ case.theta[:-1], product):  # and not the bias, which may differ from pixel to pixel
        z = case.call(phi.forward, case.theta, case.a)
        return [OTHER_ORDER] * fits(np.sort(z, axis=None), np.sort(product + case.theta[-1], axis=None))
    if not fits(seen, rows) and fits(seen, fitted_factor(seen, rows) * rows):
        reasons.append("rows(a) are off by a constant factor")
    if seen.shape == rows.shape and fits(np.sort(seen, axis=1), np.sort(rows, axis=1)):
        reasons.append("rows(a) hold the right entries in another order than θ")
    if not reasons and adjoint_in_theta(phi, case).holds:
        reasons.append("rows(a) is not what W is multiplied by: forward and adjoint_theta agree on other rows")
    return reasons


@claim("map", "a convolution is the cross-correlation of the padded images", "z = a ⋆ W + b", "definition")
def convolution_is_correlation(phi, case):
    only_if(isinstance(phi, Conv2d), "it is no Conv2d")
    only_if(type(phi).rows is Conv2d.rows, "it states patches of its own, rows(a), to which forward is held")
    k, p, s = phi.kernel, phi.pad, phi.stride
    W = case.theta[:-1].reshape(k, k, phi.c_in, phi.c_out)
    padded = np.pad(case.a, ((0, 0), (p, p), (p, p), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))[:, ::s, ::s]

    def correlated(W):
        return np.einsum("nhwcij,ijco->nhwo", windows, W) + case.theta[-1]

    got = case.call(phi.forward, case.theta, case.a)
    return compare(got, dense(correlated(W)),
                   lambda: {"the kernel is flipped: it convolves": correlated(W[::-1, ::-1]),
                            "rows and columns are exchanged": correlated(W.swapaxes(0, 1))})


@claim("map", "the map is affine in a", "φ(θ, 2a − b) = 2 φ(θ, a) − φ(θ, b)", "ProxProp, φ")
def affine_in_a(phi, case):
    b = case.rng.standard_normal(case.a.shape)
    expected = 2 * case.call(phi.forward, case.theta, case.a) - case.call(phi.forward, case.theta, b)
    got = case.call(phi.forward, case.theta, 2 * case.a - b)
    return compare(got, dense(expected)).retold(lambda known: (*known, NOT_AFFINE))


def samples_left_out(each, got):
    """Return what comes out where samples are left out, by what to say of it, given what each of them contributes."""
    total = np.cumsum(each, axis=0)
    if len(each) < 2 or got.shape != total[-1].shape:
        return {}
    kept = 1 + int(np.argmin(abs(total[:-1] - got).reshape(len(each) - 1, -1).max(axis=1)))
    last = "the last sample is left out" if kept == len(each) - 1 else "the last samples are left out"
    return {last: total[kept - 1], "the first sample is left out": total[-1] - total[0]}


@claim("map", "adjoint in θ", "⟨φ(η, a), g⟩ = ⟨η, ãᵀg⟩ for all η", "BackProp")
def adjoint_in_theta(phi, case):
    tangents = Tangents(case.theta.shape, case.rng)
    values = [np.vdot(case.call(phi.forward, v, case.a), case.g) for v in tangents]
    got = tangents.project(case.call(phi.adjoint_theta, case.a, case.g))

    def left_out():
        products = [case.call(phi.forward, v, case.a) * case.g for v in tangents]
        each = np.stack([product.reshape(len(case.g), -1).sum(axis=1) for product in products], axis=1)
        return samples_left_out(np.stack([tangents.assemble(values) for values in each]), got)

    return compare(got, dense(tangents.assemble(values)), left_out, case.factors, theta=True)


@claim("map", "adjoint in a", "⟨φ(θ, b) − φ(θ, 0), g⟩ = ⟨b, g Wᵀ⟩ for all b", "ProxProp (10)")
def adjoint_in_a(phi, case):
    tangents = Tangents(case.a.shape, case.rng)
    offset = case.call(phi.forward, case.theta, 0 * case.a)
    values = [np.vdot(case.call(phi.forward, case.theta, v) - offset, case.g) for v in tangents]
    got = tangents.project(case.call(phi.adjoint_input, case.theta, case.g))
    finding = compare(got, dense(tangents.assemble(values)), lambda: input_adjoint_mistakes(phi, case, tangents, got),
                      case.factors)
    return finding.retold(lambda known: known if affine_in_a(phi, case).holds else (NOT_AFFINE,))


def input_adjoint_mistakes(phi, case, tangents, got):
    """Return what usual mistakes in g Wᵀ give."""
    theta, g = case.theta, case.g
    other = tangents.project(case.call(phi.adjoint_input, theta / 2, g))
    if np.array_equal(other, got):
        return {"it does not depend on θ: a fixed matrix, or one that is remembered": got}
    if isinstance(phi, Conv2d):
        return {name: tangents.assemble([np.vdot(case.call(phi.forward, kernel, v) - kernel[-1], g) for v in tangents])
                for name, kernel in other_kernels(phi, theta).items()}
    if g.ndim != 2 or case.a.ndim != 2 or theta.shape != (case.a.shape[1] + 1, g.shape[1]):
        return {}
    mistakes = {"the bias row is used as a row of weights": g @ theta[1:].T,
                "the bias is added to it": g @ theta[:-1].T + theta[-1].sum(),
                **before_weights(phi, case, g @ theta[:-1].T)}
    if theta.shape[0] - 1 == theta.shape[1]:
        mistakes["the weights are not transposed"] = g @ theta[:-1]
    return mistakes


def before_weights(phi, case, signal):
    """Return what comes out of mistakes in the adjoint of what a map does to a before W, a matrix by rows(a)."""
    unit = np.eye(case.a.shape[1])
    if not hasattr(phi, "rows") or (matrix := case.call(phi.rows, unit) - case.call(phi.rows, 0 * unit)).shape != (
            unit.shape) or np.allclose(matrix, unit):
        return {}
    mistakes = {"what is done to a before W is left out: it is g Wᵀ": signal,
                "what is done to a before W should be transposed": signal @ matrix}
    if np.linalg.cond(matrix) < 1e6:
        inverse = np.linalg.inv(matrix)
        mistakes["the inverse of what is done to a before W stands where its transpose should"] = signal @ inverse
    return mistakes


def other_kernels(phi, theta):
    """Return θ with its kernel flipped, or with two of its axes exchanged."""
    W = theta[:-1].reshape(phi.kernel, phi.kernel, phi.c_in, phi.c_out)
    kernels = {"the kernel is turned by 180°, or should be: it is flipped": W[::-1, ::-1],
               "rows and columns of the kernel are exchanged": W.swapaxes(0, 1)}
    if phi.c_in == phi.c_out > 1:
        kernels["input and output channels are exchanged"] = W.swapaxes(2, 3)
    return {name: np.vstack([W.reshape(len(theta) - 1, -1), theta[-1:]]) for name, W in kernels.items()}


def gram_of(phi, case, side, **options):
    """Return a map's Gram operator at the case's input."""
    only_if(hasattr(phi, "gram"), "the map has no gram(a)")
    return phi.gram(case.lend(case.a), side=side, **options)


@claim("map", "Gram matrix without the bias", "gram(a, bias=False): AᵀA, without the ones", "SIBP W")
def gram_without_bias(phi, case):
    only_if(hasattr(phi, "gram") and "bias" in inspect.signature(phi.gram).parameters, "its gram(a) takes no bias")
    A = case.design[:, :-1]
    matrix = to_numpy(gram_of(phi, case, "parameter", bias=False).matrix)
    finding, whole = compare(matrix, dense(A.T @ A)), case.design.T @ case.design
    if matrix.shape == whole.shape and np.allclose(matrix, whole):
        return finding.because("gram(a, bias=False) has the column of ones, the bias, all the same")
    return finding


def gram_finding(phi, case, side, product):
    """Return the finding of a Gram matrix, which is product(Ã): ÃÃᵀ or ÃᵀÃ."""
    got, design, bare = to_numpy(gram_of(phi, case, side).matrix), case.design, case.design.copy()
    bare[:, -1] = 0
    mistakes = {"the column of ones is missing": product(bare),
                "the means are subtracted and not put back": product(design - design.mean(axis=0)),
                "it is divided by the number of rows": product(design) / len(design)}
    finding = compare(got, dense(product(design)), mistakes)
    if not finding.holds:
        return finding
    other = replace(case, a=-case.a / 2)
    again = to_numpy(gram_of(phi, other, side).matrix)
    return compare(again, dense(product(design_matrix(case, phi, other.a)))).because(
        "it is that of an earlier a of this shape: it is cached, or remembered")


@claim("map", "Gram matrix of samples", "K = ÃÃᵀ = AAᵀ + 11ᵀ", "ProxProp (13), sample space")
def sample_gram_matrix(phi, case):
    return gram_finding(phi, case, "sample", lambda A: A @ A.T)


@claim("map", "Gram matrix of parameters", "C = ÃᵀÃ", "ProxProp (13)")
def parameter_gram_matrix(phi, case):
    return gram_finding(phi, case, "parameter", lambda A: A.T @ A)


@claim("map", "the proximal step solves its normal equations, on either side",
       "d = (ÃᵀÃ + βI)⁻¹Ãᵀg = Ãᵀ(ÃÃᵀ + βI)⁻¹g", "ProxProp (13)")
def prox_forms(phi, case):
    g = case.rng.standard_normal((len(case.design), case.theta.shape[1]))
    C, b = case.design.T @ case.design, case.design.T @ g

    def finding(damping, side):
        expected = dense(np.linalg.solve(C + damping * np.eye(len(C)), b))
        got = to_numpy(damped_solve(gram_of(phi, case, side), case.lend(g), damping).value)
        return compare(got, expected, lambda: damping_mistakes(C, b, damping, len(g), got), theta=True)

    return worst_of(finding(damping, side) for damping in DAMPINGS for side in ("sample", "parameter"))


def damping_mistakes(C, b, damping, rows, got):
    """Return what usual mistakes in (C + βI)⁻¹b give; of those with a number, what comes nearest to `got`."""
    if not np.all(np.isfinite(C)) or not np.all(np.isfinite(b)):
        return {}
    one, bare = np.eye(len(C)), C.copy()
    bare[-1], bare[:, -1] = 0, 0
    mistakes = {"the damping is doubled": (C, 2 * damping), "the damping is halved": (C, damping / 2),
                "the damping is τ_θ where it should be 1/τ_θ": (C, 1 / damping),
                "the Gram matrix is divided by N": (C / rows, damping),
                "the damping is multiplied by N": (C, damping * rows),
                "the damping is divided by N": (C, damping / rows),
                "the Gram matrix is doubled": (2 * C, damping),
                "the Gram matrix has no bias row and column": (bare, damping)}
    solved = {name: np.linalg.solve(matrix + beta * one, b) for name, (matrix, beta) in mistakes.items()}
    apart = C + damping * one
    apart[-1, :-1], apart[:-1, -1] = 0, 0
    undamped_bias = C + np.diag([damping] * (len(C) - 1) + [0.0])
    values, vectors = np.linalg.eigh(C)
    values = np.maximum(values, 0)

    def of_eigenvalues(f):
        return (vectors * f(values)) @ vectors.T @ b

    solved |= {
        "the damping is added to the singular values, not to their squares":
            of_eigenvalues(lambda w: 1 / (np.sqrt(w) + damping) ** 2),
        "the singular values of the input stand where their squares should":
            of_eigenvalues(lambda w: 1 / (np.sqrt(w) + damping)),
        "the root of the damped Gram matrix is inverted, not the matrix":
            of_eigenvalues(lambda w: (w + damping) ** -0.5)}
    right = np.linalg.solve(C + damping * one, b)
    if got.shape == b.shape and np.any(got) and not fits(got, fitted_factor(got, right) * right):
        other = float(np.vdot(got, b - C @ got) / np.vdot(got, got))
        if abs(other - damping) > 5e-3 * damping and other > 0:
            solved[f"the damping is {other / damping:.3g} times what it should be"] = of_eigenvalues(
                lambda w: 1 / (w + other))
    if C[-1, -1] > 0:
        centred = C - np.outer(C[-1], C[-1]) / C[-1, -1]
        centred[-1, -1] = C[-1, -1]
        solved["the input is centred: its covariance stands where its second moments should"] = np.linalg.solve(
            centred + damping * one, b)
    solved |= {
        "weights and bias are solved apart, each with the other's old value (Jacobi)": np.linalg.solve(apart, b),
        "it has the diagonal of the Gram matrix alone": b / (np.diag(C)[:, None] + damping),
        "there is no damping: it is the pseudo-inverse": np.linalg.lstsq(C, b, rcond=None)[0],
        "the bias is not damped": np.linalg.lstsq(undamped_bias, b, rcond=None)[0],
        "it is the gradient: the step is explicit, not implicit": b,
        "it is the gradient divided by the damping: the step is explicit, not implicit": b / damping}
    if got.shape == b.shape and got.size > 2 and not fits(got, fitted_factor(got, right) * right):
        system = np.stack([(C @ got).ravel(), got.ravel()], axis=1)
        (share, other), _, rank, _ = np.linalg.lstsq(system, b.ravel(), rcond=1e-6)
        other /= damping
        if rank == 2 and min(share, other) > 1e-3 and min(abs(share - 1), abs(share - other)) > 5e-3:
            solved[f"in its matrix ãᵀã is multiplied by {share:.3g}, the damping by {other:.3g}"] = (
                of_eigenvalues(lambda w: 1 / (share * w + other * damping)))
    if got.shape == b.shape and (values > 1e-9 * values[-1]).sum() > KRYLOV:
        powers = np.stack([of_eigenvalues(lambda w, k=k: (w / values[-1]) ** k).ravel() for k in range(KRYLOV)], axis=1)
        solved[Guess("it is a few steps of an iteration that has not converged")] = (
            powers @ np.linalg.lstsq(powers, got.ravel(), rcond=None)[0]).reshape(b.shape)
    return solved


# ---- transfers


@dataclass(frozen=True)
class TransferCase(Case):
    """A batch z, a tangent of z, a cotangent g of a = σ(z), whether layers that care are in training."""

    z: np.ndarray
    tangent: np.ndarray
    g: np.ndarray
    training: bool
    elementwise: bool


def transfer_cases(sigma, rng, xp, shape=None):
    """Return a transfer and random problems for it: a batch of one, one unit, saturated and dead units."""
    sigma = sigma.on_backend(xp, np.dtype(np.float64)) if hasattr(sigma, "on_backend") else sigma
    # one that draws, or keeps something for its adjoint, may be elementwise and have no derivative
    elementwise = getattr(sigma, "elementwise", False) and hasattr(sigma, "derivative")
    case, cases, shapes = Case("", xp), [], [(3,), (1,), (4,)]
    # one with a slope for each channel takes its network's samples alone
    elementwise &= shape is None or all(tried(case.call, sigma.forward, np.zeros((2, *n))) is not None for n in shapes)
    shapes = shapes if elementwise else [shape] * 3 if shape else transfer_shapes(sigma)
    batches = (2, 7, 3) if hasattr(sigma, "commit") else (1, 7, 2)
    for n, shape, scale in zip(batches, shapes, (1.0, 1.0, 4.0)):
        z = smooth_point(case, sigma, np.zeros((n, *shape)), scale, rng)
        for training in (True,) if elementwise else (False, True):
            label = f"N = {n}, samples of shape {shape}" + ("" if elementwise else f", training = {training}")
            g = rng.standard_normal(case.apply(sigma, z, training)[0].shape)
            cases.append(TransferCase(label, xp, z, rng.standard_normal(z.shape), g, training, elementwise))
    return sigma, cases


def transfer_shapes(sigma):
    """Return three shapes of samples that a transfer takes: vectors if it can, and an image if it can."""
    channels = getattr(sigma, "channels", 4)
    vectors, images = [(5,), (channels,), (4,), (6,), (12,)], [(4, 5, 2), (4, 5, channels), (7, 6, 3), (9, 8, 1)]
    stated = [shape for shape in vectors + images if fits_shapes(sigma, [shape])]
    # one that pairs units may say that it takes an odd number, and raise
    values = {shape: np.linspace(-3, 3, 2 * math.prod(shape)).reshape(2, *shape) for shape in stated}
    runs = {shape: tried(sigma.apply, z) for shape, z in values.items()}
    taken = [shape for shape in stated if runs[shape] is not None] or stated
    # one that is made for vectors may take an image in apply, and raise in its adjoint
    taken = [shape for shape in taken if runs[shape] is not None and tried(
        lambda z, run: sigma.adjoint(z, *run, run[0]), values[shape], runs[shape]) is not None] or taken
    first = sample_shape(sigma, [*taken, *vectors])
    return [first, first, next((shape for shape in images if shape in taken), first)]


def smooth_point(case, sigma, centre, scale, rng):
    """Draw z around a centre until σ has, to a second difference, no kink there: at a kink it has no derivative."""
    for _ in range(100):
        z = centre + scale * rng.standard_normal(centre.shape)
        if smooth_at(case, sigma, z, rng):
            break
    return z


def smooth_at(case, sigma, z, rng):
    """Whether σ has no kink within 2e-3 of z, along a random direction of signs and against it."""
    signs = rng.choice([-1.0, 1.0], z.shape)

    def value(x):
        return case.apply(sigma, x)[0]

    middle = 2 * value(z)
    return all(np.max(abs(value(z + h * signs) - middle + value(z - h * signs)), initial=0) < 0.05 * h
               for h in (2.1e-3, 5e-4))


@claim("transfer", "it is a function of its arguments", FIRST_IS_LAST, "convention")
def transfer_remembers_nothing(sigma, case):
    z = [case.lend(case.z), case.lend(-case.z / 2)]

    def run(k):
        return sigma.apply(z[k], training=case.training, rng=np.random.default_rng(k))

    runs = [run(0), run(1)]
    calls = {"forward": lambda k: case.xp.asarray(run(k)[0]),
             "the adjoint": lambda k: sigma.adjoint(z[k], *runs[k], case.lend(case.g)) + 0}
    if case.elementwise:
        calls["the derivative"] = lambda k: sigma.derivative(z[k])
    else:
        calls["evaluation"] = lambda k: sigma.apply(z[k], training=False, rng=np.random.default_rng(k))[0]
    return interleaved(calls)


@claim("transfer", "its random numbers are those of the generator that it is given", "σ(z; rng), anew in each call",
       "convention", once=True)
def transfer_draws_from_rng(sigma, case):
    only_if(not case.elementwise, "an elementwise transfer draws none")
    n = len(case.z)  # the two batches are of shapes that nothing is kept of
    z, alike = (case.lend(np.resize(case.z[:k], (n + more, *case.z.shape[1:]))) for k, more in ((n, 11), (1, 12)))

    def draw(one, seed, z=z):
        return copied(one.apply(z, training=True, rng=np.random.default_rng(seed))[0])

    one, other = (tried(copy.deepcopy, sigma) or sigma for _ in range(2))
    first, second, again = draw(one, 0), draw(other, 1), [draw(one, 1) for _ in range(2)]
    own = not np.array_equal(*again, equal_nan=True)
    kept = np.array_equal(first, again[0], equal_nan=True) and not np.array_equal(first, second, equal_nan=True)
    reasons = ["it draws random numbers that are not those of rng, the generator that apply is given"] * own
    reasons += ["the random numbers of its first call are kept: each call should draw anew from rng"] * kept
    if np.array_equal(first, second) and np.any(np.ptp(draw(one, 0, alike), axis=0)):  # equal samples are made unequal
        reasons.append("its random numbers are the same for every generator: of a seed, or a mask, of its own")
    return nothing_of(reasons, "bit for bit")


@claim("transfer", "float32 stays float32", "dtype of σ(z), σ'(z), σ.adjoint(g)", "convention")
def transfer_keeps_float32(sigma, case):
    sigma = sigma.on_backend(case.xp, np.dtype(np.float32)) if hasattr(sigma, "on_backend") else sigma
    z, g = case.z, case.g
    if case.elementwise:  # where all is saturated, a steep slope is the rounding of 1 − σ(z)²: beside what is not
        z, g = np.concatenate([z, z / 100]), np.concatenate([g, g])

    def apply(single):
        return sigma.apply(single(z), training=case.training, rng=np.random.default_rng(0))

    calls = {"forward": lambda single: apply(single)[0],
             "the adjoint": lambda single: sigma.adjoint(single(z), *apply(single), single(g))}
    if case.elementwise:
        calls |= {"derivative": lambda single: sigma.derivative(single(z))}
    return in_float32(case, calls, values=case.elementwise)


@claim("transfer", "forward, apply and output_shape agree", "σ(z) in evaluation, and its shape", "convention")
def transfer_is_one(sigma, case):
    shape = wrong_shape(sigma, case.z.shape[1:], case.apply(sigma, case.z)[0])
    if not shape.holds:
        return shape
    finding = compare(case.call(sigma.forward, case.z), dense(case.apply(sigma, case.z)[0]))
    if not finding.holds:
        return finding.because("forward(z) is not what apply(z) returns")
    one = case.apply(sigma, case.z[..., :1])[0] if case.elementwise else None
    if one is not None and one.shape != case.z[..., :1].shape:
        return nothing_of([f"of an array of shape {case.z[..., :1].shape} it returns one of shape {one.shape}: an axis "
                           "of length 1 is lost (squeeze)"], finding.why)
    among = of_each_sample(lambda z: case.apply(sigma, z)[0], np.concatenate([case.z, -case.z / 2]))
    if one is not None and not among.holds and SINGLE not in among.reasons:
        return among.because("it is not elementwise: samples are coupled, a mean, or an axis, goes over the batch")
    if one is not None and not np.allclose(one, case.apply(sigma, case.z)[0][..., :1], equal_nan=True):
        return nothing_of([COUPLED], finding.why)
    other = to_host(sigma.apply(case.lend(case.z), training=False, rng=np.random.default_rng(1))[0])
    if not np.array_equal(other, case.apply(sigma, case.z)[0], equal_nan=True):
        return nothing_of(["it draws random numbers in evaluation too"], "bit for bit")
    return of_each_sample(lambda z: case.apply(sigma, z)[0], case.z)


@claim("transfer", "it is the same in a large batch, and in any shape and memory layout", "σ(z)_i = σ(z_i)",
       "convention", once=True)
def transfer_in_any_layout(sigma, case):
    def adjoint(z, g):
        return case.adjoint(sigma, z, *case.apply(sigma, z), g)

    of_z, forms = {"forward": lambda z: case.apply(sigma, z)[0]}, {}
    if case.elementwise:
        of_z["the derivative"] = lambda z: case.call(sigma.derivative, z)
        forms["of images it is another"] = lambda array: array.reshape(-1, 2, 2, array.shape[1])
    found = by_rows_and_layout(of_z, [case.z], forms)
    z, g = (np.repeat(array, MANY, axis=0) for array in (case.z[:1], case.g[:1]))
    of_adjoint = by_rows_and_layout({"the adjoint": adjoint}, [z, g], forms)
    return nothing_of(found.reasons + of_adjoint.reasons, found.why)


@claim("transfer", "on average over its random numbers, training is evaluation", "E σ(z) = σ(z)", "convention")
def transfer_keeps_the_mean(sigma, case):
    only_if(case.training and not case.elementwise, "it is the same in training")

    def draw(seed):
        return to_host(sigma.apply(case.lend(case.z), training=True, rng=np.random.default_rng([5, seed]))[0])

    only_if(not np.array_equal(draw(0), draw(1), equal_nan=True), "it draws no random numbers")
    draws, expected = np.stack([draw(seed) for seed in range(400)]), case.apply(sigma, case.z)[0]
    gaps = abs(draws.mean(axis=0) - expected) / (draws.std(axis=0) / 20 + 1e-9)
    factor = fitted_factor(draws.mean(axis=0), expected)
    return Finding(float(np.max(gaps)), 8.0, "standard deviations of a mean of 400 draws", (
        f"its mean in training is {factor:.1f} times its value in evaluation: the scale of what is kept is wrong",))


@claim("transfer", "where entries of z are equal, the adjoint lies between the one-sided derivatives",
       "d/dt σ(z + t1)⁻ ≤ ⟨σ.adjoint(1), 1⟩ ≤ d/dt σ(z + t1)⁺", "convention")
def transfer_at_ties(sigma, case):
    only_if(not case.elementwise, "elementwise transfers have no ties")
    z, h = np.full_like(case.z, 0.7), 1e-6
    a, aux = case.apply(sigma, z, case.training)
    sides = [((case.apply(sigma, z + s * h, case.training)[0] - a) / (s * h)) for s in (-1, 1)]
    low, high = np.minimum(*sides).sum(), np.maximum(*sides).sum()
    got = float(case.adjoint(sigma, z, a, aux, np.ones_like(a)).sum())
    excess = max(low - got, got - high) / (1 + abs(low) + abs(high))

    def reasons():
        if not transfer_adjoint(sigma, case).holds:
            return ()  # it is no matter of ties
        return ("where several entries are equal (ties) the signal goes to several, or to none: it should be shared",)

    return Finding(float(excess), 1e-4, "one-sided differences of step 1e-6", reasons)


@claim("transfer", "the gradients in its own parameters, by differences", "∂⟨σ(z), g⟩/∂(its parameters)", "BackProp")
def transfer_own_parameters(sigma, case):
    only_if(getattr(sigma, "parameters", None) and hasattr(sigma, "gradients"), "it has no parameters of its own")
    _, aux = case.apply(sigma, case.z, case.training)
    got = [to_host(gradient) for gradient in sigma.gradients(aux, case.lend(case.g))]

    def finding(one, own):
        reference = gradient(lambda x: own_value(sigma, case, own, x), to_host(own))
        found = compare(one, reference, factors={"N": case.z[..., 0].size})
        swapped = one.shape == reference.value.shape and fits(one[::-1], reference.value)
        return found.because("its rows are swapped: scale and shift, say") if swapped else found

    return worst_of(finding(*pair) for pair in zip(got, sigma.parameters, strict=True))


def own_value(sigma, case, own, values):
    """Return ⟨σ(z), g⟩ with other values in one of the transfer's own arrays."""
    kept = own.copy()
    try:
        own[...] = case.xp.asarray(values.real)
        return (case.apply(sigma, case.z, case.training)[0] * case.g).sum()
    finally:
        own[...] = kept


@claim("transfer", "commit takes a batch into the running averages with weight momentum",
       "v ← (1 − momentum) v + momentum · v_batch", "BatchNorm")
def norm_commits(sigma, case):
    only_if(isinstance(sigma, BatchNorm), "it is no BatchNorm")
    only_if(case.training, "in evaluation it measures nothing")
    norm, rate = copy.copy(sigma), sigma.momentum
    old = 1 + np.random.default_rng(4).random((2, norm.channels))
    norm.running = case.xp.asarray(old.copy())
    norm.commit(case.apply(norm, case.z, training=True)[1])
    values = case.z.reshape(-1, norm.channels)
    batch, biased = (np.stack([values.mean(axis=0), values.var(axis=0, ddof=ddof)]) for ddof in (1, 0))
    return compare(to_host(norm.running), dense((1 - rate) * old + rate * batch), {
        "commit has the weights the wrong way round: momentum is that of the batch, not of the past":
            rate * old + (1 - rate) * batch,
        "the running variance is that of biased ones: commit takes N, not N − 1": (1 - rate) * old + rate * biased,
        "commit takes the batch twice: apply has already moved the running averages":
            (1 - rate) ** 2 * old + (1 - (1 - rate) ** 2) * batch,
        "commit forgets the past: there is no average": batch, "commit does nothing": old,
        "the past is not weighed down: batches are added": old + rate * batch})


@claim("transfer", "at and beside kinks the derivative lies between the one-sided ones", "σ'(z−) ≤ σ'(z) ≤ σ'(z+)",
       "convention", once=True)
def transfer_at_kinks(sigma, case):
    only_if(case.elementwise, NOT_ELEMENTWISE)
    usual = [sign * x for x in (0.0, 1e-3, 0.05, 0.3, 0.5, 1.0, 2.0, 3.0, 6.0, 20.0) for sign in (1, -1)]
    z = np.concatenate([usual, np.arange(-7, 7, 7e-4)])[None]
    h = 1e-6 * (1 + abs(z))
    value = case.call(sigma.forward, z)
    sides = [(case.call(sigma.forward, z + s * h) - value) / (s * h) for s in (-1, 1)]
    got, low, high = case.call(sigma.derivative, z), np.minimum(*sides), np.maximum(*sides)
    excess = np.maximum(low - got, got - high) / (1 + abs(low) + abs(high))
    wrong = z[~(excess <= 1e-4)]  # where there are many, no kink is to blame
    reasons = [f"the derivative at z = {wrong[0]:g} is outside of the one-sided ones"] if 0 < wrong.size < 4 else (
        [f"the derivative is wrong from z = {wrong.min():.4g} to {wrong.max():.4g}: where a piece begins"]
        if wrong.size and np.ptp(wrong) < 0.5 else ())
    if not np.all(np.isfinite(got)):
        reasons = [f"the derivative at z = {z[~np.isfinite(got)][0]:g} is not finite (NaN or inf)"]
    return Finding(float(np.max(excess)), 1e-4, "one-sided differences of step 1e-6", tuple(reasons))


@claim("transfer", "solve_shifted solves the Newton step of a prox", "(I + c σ'(z)) s = r", "convention")
def transfer_solves_shifted(sigma, case):
    only_if(hasattr(sigma, "solve_shifted"), "it has no solve_shifted, which only a loss's prox needs")
    only_if(case.elementwise or case.z.shape[1:] == case.g.shape[1:], "its values have another shape than z")
    a, aux = case.apply(sigma, case.z)
    slope = case.derivative(sigma.forward, case.z).value if case.elementwise else None
    r = case.tangent

    def through(s):
        return slope * s if case.elementwise else case.adjoint(sigma, case.z, a, aux, s)

    own = case.call(sigma.derivative, case.z) if case.elementwise else slope

    def finding(c):
        s = case.call(lambda z, r: sigma.solve_shifted(z, c, r), case.z, r)
        if case.elementwise and s.shape == r.shape == own.shape and fits(s + c * own * s, r, r + c * (own - slope) * s):
            return compare(s + c * slope * s, dense(r, 1e-5, "differences of σ")).because(
                "it is that of the derivative, which is wrong")
        made = {"solve_shifted leaves out c": r + (c - 1) * through(s),
                "solve_shifted leaves out σ': it divides by 1 + c": (r + c * through(r)) / (1 + c),
                "solve_shifted multiplies by 1 + c σ', it should divide": r + c * through(2 * r + c * through(r)),
                "solve_shifted has 1 − c σ', the sign is wrong; it should be 1 + c σ'": r + 2 * c * through(s)}
        return compare(s + c * through(s), dense(r, 1e-5, "differences of σ"), made)

    return worst_of(finding(c) for c in (0.3, 2.0, 50.0))


@claim("transfer", "the derivative", "σ'(z) = dσ/dz", "ProxProp (9)")
def transfer_derivative(sigma, case):
    only_if(case.elementwise, NOT_ELEMENTWISE)
    reference, got = case.derivative(sigma.forward, case.z), case.call(sigma.derivative, case.z)
    finding = compare(got, reference, lambda: derivative_mistakes(sigma, case, reference.value, got))
    if finding.holds:
        again = case.call(sigma.derivative, -case.z / 2)
        second = compare(again, case.derivative(sigma.forward, -case.z / 2))
        if not second.holds:
            same = np.array_equal(again, got)
            return second.because("it is that of an earlier z of this shape: it is cached, or remembered"
                                  ) if same else second
        far = np.outer((1.0, -1.0), np.geomspace(0.0103, 61.7, 60))  # no kink is among them
        finding = compare(case.call(sigma.derivative, far), case.derivative(sigma.forward, far))
        if not finding.holds:
            return finding.retold(lambda _: slope_reasons(sigma, case, reference.value, got))
        jump = jump_on_line(case, sigma.forward, sigma.derivative) if getattr(sigma, "continuous", True) else 0.0
        return finding if not jump > 1e-6 else Finding(jump, 1e-6, OF_A_LINE, (
            "σ jumps: its pieces do not join, though each has its slope; one that jumps on purpose says continuous = "
            "False",))
    if got.shape != reference.value.shape:
        return finding
    return finding.retold(lambda known: seen_last(known, slope_reasons(sigma, case, reference.value, got)))


def slope_reasons(sigma, case, slope, got):
    """Return what may be wrong with a derivative that is none of the usual wrong ones."""
    where, off, right = where_differs(case, sigma.forward, sigma.derivative)
    if not np.all(np.isfinite(off)):
        return ["it is not finite (NaN or inf)"]
    if not np.any(slope) and not np.any(right):
        return [CACHED if is_cached(sigma, case) else "σ is flat, its derivative is 0: what is given is a stand-in "
                "(straight-through)"]
    if where:
        return [f"it is right elsewhere, and wrong where {where}"]
    a = case.call(sigma.forward, case.z)
    if np.array_equal(a, np.float32(a)) and np.any(1024 * a != np.round(1024 * a)):
        return ["σ is computed in single precision: its values are float32 numbers"]
    if np.max(off) <= 0.02 * np.max(abs(right)):
        return ["it is nearly right: an approximation, or constants of few digits"]
    power = exponent_of(slope, got)
    return [] if power is None else [f"it is σ'(z) to the power {power:.3g}: an exponent is wrong"]


def exponent_of(slope, got):
    """Return the exponent, not 1, with which slopes become what is claimed; None if there is none."""
    with np.errstate(all="ignore"):
        power = np.log(abs(got)) / np.log(abs(slope))
    plain = np.size(power) > 1 and np.all(np.isfinite(power)) and np.ptp(power) <= 1e-4
    return power.flat[0] if plain and abs(power.flat[0] - 1) > 1e-3 else None


def is_cached(sigma, case):
    """Whether an elementwise transfer gives one result for two arrays of a shape, which are no constants."""
    a, other = (case.apply(sigma, z)[0] for z in (case.z, -case.z / 2))
    return bool(case.elementwise and np.ptp(a) and np.array_equal(a, other))


def where_differs(case, function, slope):
    """Return where an elementwise slope is not that of a function, how much it is off there, and the right slopes."""
    near, beyond = np.linspace(-7.03, 7.04, 201), np.linspace(7.3, 63.7, 60)  # no kink is among them
    for z in (near[None], np.concatenate([-beyond, near, beyond])[None]):
        right = case.derivative(function, z).value
        off = abs(case.call(slope, z) - right)
        wrong = off > 2e-8 * (1 + abs(right))
        if np.any(wrong):
            break
    ends = np.flatnonzero(np.diff(wrong[0]))
    fades = any(off[0, end : end + 2].max() < 1e-5 * off.max() for end in ends)  # as where σ saturates: no place begins
    return None if fades else where_wrong(z[0], wrong[0]), off, right


def where_wrong(z, wrong):
    """Return where on the line something is wrong, in words; None if that is everywhere or in several places."""
    for name, x in (("z", z), ("|z|", abs(z))):
        order = np.argsort(x)
        x, bad = x[order], wrong[order]
        ends = np.flatnonzero(np.diff(np.concatenate([[0], bad, [0]])))  # where wrong begins and ends
        if len(ends) == 2 and not bad.all():
            low, high = (f"{x[min(end, len(x) - 1)]:.1f}".replace("-0.0", "0").replace("0.0", "0") for end in ends)
            return (f"{name} < {high}" if ends[0] == 0 else f"{name} > {low}" if ends[1] == len(x)
                    else f"{low} < {name} < {high}")
    return None


def derivative_mistakes(sigma, case, slope, got):
    """Return what usual mistakes in σ' give."""
    a = case.call(sigma.forward, case.z)
    mistakes = {"it returns σ(z), not σ'(z)": a, "σ' is forgotten: it returns 1": np.ones_like(a),
                "it is the derivative at a = σ(z), not at z": case.derivative(sigma.forward, a).value,
                "it is 1 − σ(z), a factor of σ' is missing": 1 - a, "it returns σ'(z) squared": slope**2,
                "it is the derivative of −z: σ'(−z)": case.derivative(sigma.forward, -case.z).value,
                "it is 1 + σ(z)², the sign of the square is wrong": 1 + a * a,
                "it is 1 − σ'(z): its two sides are exchanged": 1 - slope,
                "it is σ(z)/z: a term of the product rule is missing": a / case.z,
                "a term σ(z)/z of the product rule is missing": slope - a / case.z}
    curved = len(np.unique(np.round(slope, 6))) > 2  # of steps other kinks are as likely
    for c in (0.5, 2.0, 0.25, 4.0, 1 / 3, 3.0, 0.2, 5.0, 0.1, 10.0) if curved else ():
        mistakes[f"it is the derivative at {c:.3g} z: a factor inside it is missing, or too many"] = case.derivative(
            sigma.forward, c * case.z).value
    if exponent_of(slope, got) is not None:
        mistakes = {"it returns σ'(z) squared": slope**2}  # of z/(1 + |z|) the root is σ(z)/z too
    # σ' is often written in terms of a = σ(z); given z instead, it is right at σ(z)
    if fits(case.call(sigma.derivative, a), slope):
        mistakes["it is written in terms of a = σ(z), but is given z"] = got
    return mistakes


@claim("transfer", "the adjoint: a random tangent against a random cotangent",
       "⟨Dσ(z) v, g⟩ = ⟨v, σ.adjoint(g)⟩", "ProxProp (9)")
def transfer_adjoint(sigma, case):
    def value(z):
        return case.apply(sigma, z, case.training)[0]

    a, aux = case.apply(sigma, case.z, case.training)
    got = case.adjoint(sigma, case.z, a, aux, case.g)
    if case.elementwise:
        slope = directional(value, case.z, np.ones_like(case.z)).loosened(CUT)
        reference = slope._replace(candidates=[s * case.g for s in slope.candidates])
    else:
        tangents = Tangents(case.z.shape, np.random.default_rng(1), limit=100)
        reference = gradient(lambda z: (value(z) * case.g).sum(), case.z, tangents)
        got = tangents.project(got)

    finding = compare(got, reference, lambda: adjoint_mistakes(sigma, case, a, reference.value, got))
    return finding.retold(lambda known: seen_last(
        known, structure_reasons(sigma, case, a, aux, got, reference.value)))


def structure_reasons(sigma, case, a, aux, got, right):
    """Return properties of an adjoint that a right one cannot have."""
    adjoint = functools.partial(case.adjoint, sigma, case.z, a, aux)
    whole, one = adjoint(case.g), np.zeros_like(case.g)
    if not np.array_equal(adjoint(case.g), whole, equal_nan=True):
        return [RESTLESS]
    if is_cached(sigma, case):
        return [CACHED]
    if not np.allclose(adjoint(-3 * case.g), -3 * whole, rtol=1e-9, atol=1e-12):
        return [AFFINE if np.any(adjoint(0 * case.g)) else NOT_LINEAR]
    one[:1] = case.g[:1]
    coupled = len(one) > 1 and np.any(adjoint(one)[1:])
    first = tried(lambda: case.apply(sigma, case.z[:1], case.training)[0])
    if coupled and first is not None and np.allclose(first, a[:1], rtol=1e-9, atol=1e-12):
        return ["the adjoint couples the samples, which forward does not: a mean or a sum over the batch"]
    if whole.shape != case.g.shape or case.elementwise or right.shape != case.g.shape:
        return []
    reasons = []
    if constant_along(np.where(case.g, whole / case.g, np.nan), range(1, whole.ndim)):
        reasons.append("it is g times a number for each sample: a mean, norm or deviation is held constant")
    elif constant_along(np.where(case.g, whole / case.g, np.nan), range(whole.ndim - 1)):
        reasons.append("it is g times a number for each channel: mean and deviation are held constant")
    if constant_along(np.where(a, (whole - right) / np.where(a, a, 1), np.nan), range(1, whole.ndim)):
        reasons.append("a term is missing, σ(z) times a number for each sample: that of the deviation, or the norm, "
                       "which depends on z too")
    for axes, what in ((range(whole.ndim - 1), "the batch"), (range(1, whole.ndim), "a sample")):
        if constant_along(whole - right, axes):
            reasons.append(f"a term is missing that is the same throughout: that of the mean over {what}")
    gap = whole - right
    rows = [row[on] for row, on in zip(gap, a != 0)] if a.shape == gap.shape else []
    if not reasons and np.any(gap) and not np.any(gap[a == 0]) and any(1 < len(row) < gap[0].size for row in rows) and (
            all(np.ptp(row) <= 1e-5 * np.max(abs(gap)) for row in rows if len(row))):
        reasons.append("what is wrong is the same in all entries of a sample where σ(z) is not 0: the mean over these")
    units = np.eye(case.z.size).reshape(-1, *case.z.shape) if case.z.size <= 60 else ()
    diagonal = [directional(lambda z: case.apply(sigma, z, case.training)[0], case.z, unit).value.ravel()[k]
                for k, unit in enumerate(units)]
    if len(diagonal) and fits(whole, np.reshape(diagonal, whole.shape) * case.g, right):
        reasons.append("it is the diagonal of the Jacobian alone: entries of a sample are coupled")
    return reasons


def constant_along(values, axes):
    """Whether values that are not all equal do not vary along some axes."""
    spread, size = np.ptp(values, axis=tuple(axes)), np.max(abs(values))
    return bool(values.size > 1 and np.all(spread <= 1e-5 * size) and size > 0 and values[:, ...].size > spread.size)


@claim("transfer", "the adjoint is linear in its signal", "σ.adjoint(−1000 g) = −1000 σ.adjoint(g)", "ProxProp (9)")
def adjoint_is_linear(sigma, case):
    adjoint = functools.partial(case.adjoint, sigma, case.z, *case.apply(sigma, case.z, case.training))
    once = adjoint(case.g)
    same = np.array_equal(adjoint(case.g), once, equal_nan=True)
    return compare(adjoint(-1000 * case.g), dense(-1000 * once)).because(
        RESTLESS if not same else AFFINE if np.any(adjoint(0 * case.g)) else NOT_LINEAR)


def adjoint_mistakes(sigma, case, a, right, got):
    """Return what usual mistakes in σ'(z) ⊙ g give."""
    g = case.g
    if g.shape != right.shape:
        return {}
    slope = right / np.where(g == 0, 1, g)
    of_softmax = a.ndim == 2 and np.allclose(a.sum(axis=-1), 1)
    by_a = "the term −a aᵀg of softmax is missing" if of_softmax else "it multiplies by σ(z), not σ'(z)"
    swapped = tried(case.adjoint, sigma, a, case.z, *case.apply(sigma, case.z, case.training)[1:], g)
    mistakes = {by_a: a * g, "σ' is forgotten: it returns g": g, "it returns σ'(z), without g": slope,
                "it multiplies by σ'(z) twice": slope * right,
                "it is masked by the sign of g, not of z": g * (g > 0), "it multiplies by z": case.z * g,
                "it divides by σ'(z)": g / np.where(slope == 0, 1, slope)}
    if case.elementwise and np.allclose(a, case.call(sigma.forward, case.z)):  # its slopes are not drawn
        mistakes["it multiplies by 1 − σ(z), a factor of σ' is missing"] = (1 - a) * g
        mistakes["σ' is taken at a = σ(z), not at z: σ'(a)"] = case.derivative(sigma.forward, a).value * g
        if swapped is not None and fits(swapped, right):
            mistakes["z and a = σ(z) are exchanged in it"] = got
    return mistakes


@claim("transfer", "σ is the derivative of its integral F", "F'(z) = σ(z)", "LocoProp-M")
def integral_of_transfer(sigma, case):
    integral_only(sigma, case)
    if case.elementwise:
        reference = case.derivative(sigma.integral, case.z)
    else:
        reference = gradient(lambda z: case.call(sigma.integral, z).sum(), case.z)
    got = case.call(sigma.forward, case.z)
    if case.elementwise and case.call(sigma.integral, case.z).shape != case.z.shape:
        return Finding(math.inf, 0.0, "F of an elementwise σ is elementwise", ("F has not the shape of z",))
    # what is claimed here is F: the comparison is of F' with σ, in this order
    finding = compare(reference.nearest(got), reference._replace(candidates=[got]),
                      lambda: integral_mistakes(sigma, case))
    if finding.holds and case.elementwise:
        jump = jump_on_line(case, sigma.integral, sigma.forward)
        return finding if not jump > 1e-6 else Finding(jump, 1e-6, OF_A_LINE, ("F jumps: its pieces do not join",))
    where = case.elementwise and not finding.holds and where_differs(case, sigma.integral, sigma.forward)[0]
    return finding.retold(lambda known: [*known, f"F is wrong where {where}"]) if where else finding


def integral_mistakes(sigma, case):
    """Return what F' is with usual mistakes in F."""
    if not case.elementwise:
        return {}
    product_rule = directional(lambda z: z * case.call(sigma.forward, z), case.z, np.ones_like(case.z))
    return {"F is σ itself": case.derivative(sigma.forward, case.z).value,
            "F is the integral of z, not of σ": case.z,
            "F is that of −z: a sign inside it is wrong": -case.call(sigma.forward, -case.z),
            "F is z σ(z), without the integral of z σ'(z)": product_rule.value}


def offers(sigma, case, name, at):
    """Whether a transfer has an optional function, integral, conjugate or inverse, tried at an array."""
    try:
        return np.size(case.call(getattr(sigma, name), at)) > 0
    except (AttributeError, NotImplementedError):
        return False


def has_integral(sigma, case):
    """Whether the transfer has an integral."""
    return offers(sigma, case, "integral", case.z)


def integral_only(sigma, case):
    """Skip transfers without an integral."""
    only_if(has_integral(sigma, case), "it has no integral F, which only LocoProp-M needs")


@claim("transfer", "F* is the conjugate of F", "F(z) + F*(σ(z)) = z σ(z)", "Matching energy")
def conjugate_of_integral(sigma, case):
    a = case.call(sigma.forward, case.z)
    only_if(case.elementwise and has_integral(sigma, case) and offers(sigma, case, "conjugate", a),
            "it has no conjugate F*, which only matching energies need")
    expected = case.z * a - case.call(sigma.integral, case.z)
    return compare(case.call(sigma.conjugate, a), dense(expected, 1e-7, "F* near the ends of the range"))


@claim("transfer", "inverse(a) is a point with that value", "σ(inverse(a)) = a", "Matching gradient")
def inverse_of_transfer(sigma, case):
    a = case.call(sigma.forward, case.z)
    only_if(case.elementwise and offers(sigma, case, "inverse", a), "it has no inverse, which matching energies need")
    z = case.call(sigma.inverse, a)
    if np.array_equal(case.z, z) or z.shape != a.shape:
        return compare(z, dense(case.z))
    got = case.call(sigma.forward, z)
    some = ", in some entries alone: near an end of the range, or on one side" * bool(np.any(abs(got - a) <= 1e-9))
    off = abs(got - a) > 1e-9
    inverted = ": the slope is inverted" * bool(np.any(off) and np.allclose((z * case.z)[off], (a * a)[off]))
    return compare(got, dense(a, 1e-7, "the inverse near the ends of the range")).because(
        f"inverse(a) is no z with σ(z) = a{inverted or some}")


@claim("transfer", "its pieces are those of σ", "σ(z) = slope · z + offset on each", "Lifted z", once=True)
def pieces_of_transfer(sigma, case):
    only_if(case.elementwise and getattr(sigma, "pieces", None) is not None, "it states no linear pieces")
    z = np.linspace(-7.03, 7.04, 41)
    stated = np.full_like(z, np.nan)
    for low, high, slope, offset in sigma.pieces:
        inside = (z >= low) & (z <= high)
        stated[inside] = slope * z[inside] + offset
    return compare(stated, dense(case.call(sigma.forward, z))).because(
        "the pieces are not those of σ: slopes or offsets are another function's")


@claim("transfer", "σ is monotone, F convex", "⟨σ(z) − σ(w), z − w⟩ ≥ 0", "LocoProp-M")
def transfer_is_monotone(sigma, case):
    integral_only(sigma, case)
    w = case.z + 3 * case.tangent
    rise = (case.call(sigma.forward, case.z) - case.call(sigma.forward, w)) * (case.z - w)
    rise = rise if case.elementwise else rise.sum(axis=-1)
    reason = "σ is decreasing: its sign is wrong" if np.all(rise <= 0) else "σ both rises and falls"
    return Finding(float(np.max(-rise)), 1e-12, ROUNDING, (reason,) if case.elementwise else ())


@claim("transfer", "its values lie in the range it states, and the range is no wider",
       "closure of σ(ℝ) = [low, high]", "LocoProp-M, targets")
def target_range(sigma, case):
    stated = getattr(sigma, "range", (-math.inf, math.inf)) != (-math.inf, math.inf)
    only_if(stated or has_integral(sigma, case), "it states no range, and has no integral F")
    if not case.elementwise:
        integral_only(sigma, case)
        inside = sigma.in_range(case.lend(case.call(sigma.forward, case.z)))
        return nothing_of(["its values are no targets: in_range refuses them"] * (not inside),
                          "its own values are targets")
    far = np.array([[-1e8, -1e4, -300.0, -5.0, 0.3, 5.0, 300.0, 1e4, 1e8]])
    values = case.call(sigma.forward, far)[0]
    values = values[np.isfinite(values)]
    (low, high), least, most = sigma.range, values.min(), values.max()
    if hasattr(sigma, "in_range") and not sigma.in_range(case.lend(values), 1e-9) and low <= least and most <= high:
        return nothing_of(["in_range refuses its own values"], "its own values are targets")
    outside = max(low - least, most - high, 0.0)
    if outside > 1e-9:
        return Finding(outside, 1e-9, ROUNDING,
                       (f"the range is stated too narrow: values reach from {least:.4g} to {most:.4g}",))
    if not has_integral(sigma, case):
        return Finding(max(outside, 0.0), 1e-9, ROUNDING)
    slack = max(unreached(low, least, values), unreached(high, most, values))
    reason = "the range is stated too wide: for targets that σ never reaches the matching loss has no lower bound"
    return Finding(slack, 1e-2, "σ is probed up to |z| = 1e8", (reason,))


def unreached(bound, extreme, values):
    """Return how far values stay from a stated bound; from an infinite one, 1 if they stop growing."""
    if math.isfinite(bound):
        return abs(bound - extreme) / (1 + abs(bound))
    grows = abs(extreme) > 1.5 * np.median(abs(values)) and abs(extreme) > 3
    return 0.0 if grows else 1.0


@claim("transfer", "finite for large arguments", "|σ(±1000)|, |F(±1000)|, |σ'(±1000)| < ∞, and of ±100",
       "float64, float32", once=True)
def transfer_is_safe(sigma, case):
    only_if(case.elementwise, NOT_ELEMENTWISE)
    far, functions = np.array([[-1000.0, -100.0, 100.0, 1000.0]]), {"σ": sigma.forward, "σ'": sigma.derivative}
    if has_integral(sigma, case):
        functions["F"] = sigma.integral
    for dtype in (np.float64, np.float32):
        bad = [name for name, function in functions.items()
               if not np.all(np.isfinite(case.call(function, far.astype(dtype))))]
        if bad:
            break
    where = " in float32" * (dtype == np.float32)
    return nothing_of([f"{', '.join(bad)} overflows{where}: exp of a large number"] * bool(bad),
                      "no value may be NaN or inf")


# ---- losses


@dataclass(frozen=True)
class LossCase(Case):
    """Outputs z, targets y, other outputs w, of which the prox is taken, and its τ for each sample."""

    z: np.ndarray
    y: np.ndarray
    w: np.ndarray
    tau: float
    everywhere: bool = True  # whether the loss is finite for all outputs tried

    def value(self, loss, z):
        """Return the loss; of complex outputs, if it can."""
        return self.loss_value(loss, z, self.y)

    def alike(self):
        """Return one more problem of this kind, of fewer samples where there are several."""
        n = (len(self.z) + 1) // 2
        shares = np.random.default_rng(10).uniform(0.6, 1, self.z[:n].shape)
        return replace(self, z=shares * self.z[:n], y=self.y[:n], w=shares * self.w[:n], tau=shares.flat[0] * self.tau)


def loss_cases(loss, rng, xp):
    """Return a loss and random problems for it: one sample, one output, wide and tall."""
    sizes = ((1, 3, 0.7), (5, 1, 300.0), (3, 4, 0.4), (6, 2, 50.0), (17, 5, 3.0))
    return loss, [loss_case(loss, rng, xp, *size) for size in sizes]


def loss_case(loss, rng, xp, n, n_out, tau):
    """Return one problem for a loss; where it is infinite outside of its domain, with outputs inside."""
    y = draw_targets(loss, rng, n, n_out)
    far = 1.5 * (FAR if tau > 100 else 1.0)  # of which a long step of a prox begins
    case = LossCase(f"N = {n}, {n_out} outputs", xp, z=1.5 * rng.standard_normal((n, n_out)), y=y,
                    w=far * rng.standard_normal((n, n_out)), tau=tau)
    if finite_around(loss, case, case.z) and finite_around(loss, case, case.w):
        return case
    for inside in (abs, lambda z: -abs(z), lambda z: z / 10, lambda z: 0.1 + abs(z) % 0.8):
        z, w = inside(case.z), inside(case.w)
        if finite_around(loss, case, z) and finite_around(loss, case, w):
            return replace(case, z=z, w=w, everywhere=False)
    return case


def finite_around(loss, case, z):
    """Whether a loss is finite at outputs and beside them, or raises, which the claims will say."""
    try:
        return all(np.isfinite(case.value(loss, z + h)) for h in (-2e-3, 0.0, 2e-3))
    except Exception:  # whatever is raised here, the claims raise and report it
        return True


def draw_targets(loss, rng, n, n_out):
    """Draw targets that a loss takes: labels, or numbers if it takes them, or numbers in [0, 1]."""
    if getattr(loss, "classification", False):
        return rng.integers(0, n_out, n)
    y = rng.standard_normal((n, n_out))
    try:
        loss.check_targets(y, n, n_out, np.float64)
    except (ValueError, AttributeError):
        return rng.uniform(0.05, 0.95, (n, n_out))
    return y


@claim("loss", "the gradient", "∇L_y(z), G_D = ∂J/∂z_D", "ProxProp (8), (12)")
def loss_gradient(loss, case):
    reference, got = gradient(lambda z: case.value(loss, z), case.z), case.call(loss.gradient, case.z, case.y)
    finding = compare(got, reference, lambda: loss_mistakes(loss, case),
                      {"N, the batch size": len(case.z), "the number of outputs": case.z.shape[1]})
    if finding.holds and case.everywhere:
        far = FAR * case.z
        finding = compare(case.call(loss.gradient, far, case.y), gradient(lambda z: case.value(loss, z), far))
        if finding.holds:
            line = case.w - case.z
            jump = jump_of(lambda t: np.array([case.value(loss, case.z + share * line) for share in t]), lambda t: [
                np.vdot(case.call(loss.gradient, case.z + share * line, case.y), line) for share in t])
            return Finding(jump, 1e-6, OF_A_LINE, ("the value jumps: its pieces do not join",))
        return finding.because(
            "value and gradient agree for small outputs and not for larger ones: one is clipped, or flat there")
    if got.shape != case.z.shape:
        return finding
    return finding.retold(lambda known: seen_last(known, slope_of_loss_reasons(loss, case, got, reference)))


def slope_of_loss_reasons(loss, case, got, reference):
    """Return properties of a wrong gradient that say where the mistake is."""
    alone = case.call(loss.gradient, case.z[:1], case.y[:1]) * loss.weight(len(case.z)) / loss.weight(1)
    if not np.allclose(got[:1], alone, rtol=1e-9, atol=1e-12):
        return ["the gradient of a sample depends on the others: a softmax or mean over the wrong axis"]
    difference = got - reference.value
    others = (case.y + 1) % case.z.shape[1] if case.y.ndim == 1 == len(case.y) else np.roll(case.y, 1)
    other, rolled = (case.call(loss.gradient, case.w, y) - gradient(
        lambda z, y=y: case.loss_value(loss, z, y), case.w).value for y in (case.y, others))
    if fits(other, difference) and np.any(difference) and not fits(rolled, difference):
        return ["what is wrong depends on the targets y alone: value and gradient take them differently, or the sign"]
    if case.y.ndim == 1 and case.z.shape[1] > 1 and (weights := tried(weight_reasons, loss, case)):
        return weights
    if case.y.ndim == 1 and case.z.shape[1] > 2:
        wrong = abs(difference) > 1e-5 * np.max(abs(reference.value))
        true = np.arange(case.z.shape[1]) == case.y[:, None]
        if np.any(wrong) and not np.any(wrong & ~true):
            return [Guess("it is wrong in the entry of the label alone")]
    if case.y.shape == case.z.shape:
        gap, wrong = abs(case.z - case.y).ravel(), abs(difference.ravel()) > 1e-5 * np.max(abs(reference.value))
        if where_wrong(gap, wrong) and 1 < wrong.sum() < len(gap) - 1:
            return ["it is right near the target and wrong beyond some |z − y|: where it is cut off, or the slope there"
                    if gap[wrong].min() > gap[~wrong].max() else "it is right for some |z − y| alone"]
    if named_transfer(loss) is not None and type(loss).gradient is Loss.gradient:
        return ["value and transfer do not go together: the gradient, f(z) − y of its transfer f, is not that of the "
                "value"]
    return []


def weight_reasons(loss, case):
    """Return whether a gradient is off by a factor for each sample, looked for with enough outputs to tell."""
    wide = loss_case(loss, np.random.default_rng(9), case.xp, 6, 4, 1.0)
    factors = []
    for z in (wide.z, wide.w):
        right, got = gradient(lambda z: wide.value(loss, z), z).value, wide.call(loss.gradient, z, wide.y)
        factors.append((got * right).sum(axis=1) / ((right**2).sum(axis=1) + 1e-300))
        if np.ptp(factors[-1]) < 1e-3 or not fits(got, factors[-1][:, None] * right):
            return []
    if np.allclose(*factors, rtol=1e-4):
        return ["each sample is off by a factor of its own: a weight of its class, or sample, is missing"]
    return ["each sample is off by a factor that depends on its outputs: a weight that does so is held constant, its "
            "derivative is missing"]


def named_transfer(loss):
    """Return f of a loss with gradient f(z) − y, or None if it names none."""
    return getattr(loss, "transfer", None)


def loss_mistakes(loss, case):
    """Return what usual mistakes in the gradient of a matching loss, f(z) − y, give."""
    if named_transfer(loss) is None:
        return {"the two sides of the target are exchanged: it takes y − z for z − y, or q for 1 − q": -gradient(
                    lambda z: case.value(loss, z), 2 * case.y - case.z).value,
                "it is z − y, as of the squared error: a weight, a clip or tanh, say, is missing":
                    loss.weight(len(case.z)) * (case.z - case.y)} if case.y.shape == case.z.shape else {}
    weight, f = loss.weight(len(case.z)), case.call(loss.transfer.forward, case.z)
    y = np.eye(case.z.shape[1])[case.y] if case.y.ndim == 1 else case.y
    twice = to_host(loss.transfer.adjoint(case.lend(case.z), case.lend(f), None, case.lend(f - y)))
    own = {"the transfer is forgotten: z − y for f(z) − y": weight * (case.z - y),
           "the transfer is applied to the target too": weight * (f - case.call(loss.transfer.forward, y)),
           "σ' is applied twice: the gradient is taken through the transfer again": weight * twice}
    return {"the target is missing": weight * f, **(own if np.any(f != case.z) else {})}


@claim("loss", "where outputs have ties, or lie at kinks, the gradient is a subgradient",
       "L(w) ≥ L(z) + ⟨∇L(z), w − z⟩", "convention")
def loss_at_ties(loss, case):
    only_if(getattr(loss, "convex", True) and case.everywhere and case.z.size < 20, "it is not convex, or has a domain")
    ways, h = np.eye(case.z.size).reshape(-1, *case.z.shape), 1e-3
    ways = [*ways, *np.random.default_rng(8).choice([-1.0, 1.0], (20, *case.z.shape))]

    def above(z):
        value, slope = case.value(loss, z), case.call(loss.gradient, z, case.y)
        size = h * (np.max(abs(slope)) + 1e-6 * (1 + abs(value)))
        return max(value + np.vdot(slope, s * h * v) - case.value(loss, z + s * h * v)
                   for v in ways for s in (1, -1)) / size

    at = case.y if case.y.shape == case.z.shape else 0
    points = [np.round(case.z) + at, np.round(case.z[:, :1]) + 0 * case.z]  # all outputs of a sample may be equal
    excess, slope = [above(z) for z in points], case.call(loss.gradient, points[0], case.y)
    finding = Finding(float(np.max(excess)), 1e-4, "relative to the gradient, over steps of 1e-3", (
        "it is right elsewhere, and wrong at ties or kinks: where entries, a margin or a threshold are met exactly",))
    if not np.all(np.isfinite(slope)):
        finding = Finding(math.inf, 1e-4, "a subgradient is a number", (
            "the gradient is not finite (NaN or inf) at ties, or where an output meets its target: 0/0 perhaps",))
    only_if(finding.holds or (loss_gradient(loss, case).holds and loss_is_convex(loss, case).holds),
            "it is wrong elsewhere")
    return finding


@claim("loss", "proba is its transfer", "proba(z) = f(z)", "convention")
def proba_is_transfer(loss, case):
    only_if(hasattr(loss, "proba") and named_transfer(loss) is not None, "it has no proba, or names no transfer")
    f = case.call(loss.transfer.forward, case.z)
    finding = compare(case.call(loss.proba, case.z), dense(f), {"proba returns the outputs z, not f(z)": case.z})
    return finding.retold(lambda known: [*known, "proba(z) is not f(z), the transfer's value"])


@claim("loss", "the batch is reduced as stated", "L(batch twice) = L(batch) for a mean, 2 L(batch) for a sum",
       "convention")
def loss_reduction(loss, case):
    only_if(hasattr(loss, "reduction"), "it states no reduction")
    twice = case.loss_value(loss, np.concatenate([case.z, case.z]), np.concatenate([case.y, case.y]))
    once = case.value(loss, case.z)
    n = len(case.z)
    if hasattr(loss, "value_per_sample") and (shape := case.call(loss.value_per_sample, case.z, case.y).shape) != (n,):
        return Finding(math.inf, 0.0, "one number for each", (f"value_per_sample returns shape {shape}, not (N,)",))
    mistakes = {"it sums over the batch, but says mean": 2 * once, "it averages over the batch, but says sum": once}
    if n > 1:
        mistakes["it is a mean over N − 1 samples"] = 2 * (n - 1) / (2 * n - 1) * once
    return compare(twice, dense(once if loss.reduction == "mean" else 2 * once), mistakes)


@claim("loss", "it is convex in z", "L(t z + (1 − t) w) ≤ t L(z) + (1 − t) L(w)", "convention")
def loss_is_convex(loss, case):
    only_if(getattr(loss, "convex", True), "it says that it is not convex")
    far = ((5 * case.z, case.z), (5 * case.w, case.w), (4 * case.z, -4 * case.w)) if case.everywhere else ()
    pairs, shares = ((case.z, case.w), *far), np.array([0.1, 0.3, 0.5, 0.7, 0.9])

    def above(z, w):
        ends = case.value(loss, z), case.value(loss, w)
        chord = shares * ends[0] + (1 - shares) * ends[1]
        return (np.array([case.value(loss, t * z + (1 - t) * w) for t in shares]) - chord) / (1 + sum(map(abs, ends)))

    excess = np.nan_to_num([above(*pair) for pair in pairs], posinf=0.0)  # where it overflows
    reason = ("it is concave: its sign is wrong" if np.all(excess >= 0)
              else "it is not convex; one that need not be says convex = False")
    return Finding(float(np.max(excess)), 1e-12, ROUNDING, (reason,))


def jump_of(value, slope, count=40):
    """Return by how much a function of t in [0, 1] jumps, relative to its size: where it differs most from its slope.

    Both are given several t at once; of few a jump smaller than their curvature's error is not seen.
    """
    ends = np.linspace(0, 1, count)
    size = 1e-6 + abs(value(ends)).max()  # not of its ends alone: of a bump both are 0
    for _ in range(16):
        values = value(ends)
        k = np.argmax(abs(np.diff(values) - np.diff(ends) * slope((ends[1:] + ends[:-1]) / 2)))
        jump, ends = abs(values[k + 1] - values[k]), np.linspace(ends[k], ends[k + 1], 5)
    return float(jump / size)


def jump_on_line(case, function, slope):
    """Return by how much an elementwise function jumps at most somewhere on the line, given its slope."""
    def jump(low, high):
        def at(t):
            return low + (high - low) * t[:, None]

        return jump_of(lambda t: case.call(function, at(t)).ravel(),
                       lambda t: (high - low) * case.call(slope, at(t)).ravel(), count=400)

    return max(jump(*ends) for ends in itertools.pairwise(JUMPS))


@claim("loss", "it is the matching loss of its transfer", "L(z) − L(w) = ∫ ⟨f − y, dz⟩ along a line", "LocoProp-M")
def matching_loss(loss, case):
    only_if(named_transfer(loss) is not None and hasattr(loss, "targets"), "it names no transfer")
    y, weight = case.call(loss.targets, case.z, case.y), loss.weight(len(case.z))
    line = case.z - case.w

    def along(count):
        nodes = zip(*np.polynomial.legendre.leggauss(count))
        return weight * sum(q / 2 * np.vdot(case.call(loss.transfer.forward, case.w + (t + 1) / 2 * line) - y, line)
                            for t, q in nodes)

    got, total = case.value(loss, case.z) - case.value(loss, case.w), along(60)
    kinked = 20 * abs(total - along(45)) / (abs(total) + 1e-6)
    reference = dense(total, 1e-7 + kinked, "Gauss quadrature of 60 nodes, and how far it is from 45")
    other = ("f(z) − y is not its gradient: its transfer is another loss's, inherited perhaps, with the prox made of "
             "it; a loss without a transfer names none")
    return compare(got, reference, factors={"N, the batch size": len(case.z)}).retold(
        lambda known: known or [other] * loss_gradient(loss, case).holds)


def has_prox(loss):
    """Skip losses without a prox of their own, or with one that says that it is not defined."""
    own = type(loss).prox is not Loss.prox if isinstance(loss, Loss) else True
    only_if(hasattr(loss, "prox") and (own or named_transfer(loss) is not None), "it has no prox")


@claim("loss", "predict says what the loss is least of", "L(z, predict(z)) ≤ L(z, y) for all labels y", "convention")
def loss_predicts(loss, case):
    only_if(getattr(loss, "classification", False) and hasattr(loss, "predict"), "it does not classify")
    predicted, of_each = case.call(loss.predict, case.z), hasattr(loss, "value_per_sample")
    only_if(of_each, "it has no loss of each sample")

    def of_labels(z):
        return np.stack([case.call(loss.value_per_sample, z, np.full(len(z), label)) for label in range(z.shape[1])])

    def excess(losses):
        return float(np.max(losses[predicted, np.arange(len(predicted))] - losses.min(axis=0)))

    losses, equal = of_labels(case.z), of_labels(0 * case.z)  # where no output says anything, a label's own weight
    weighted = [losses / equal, losses - equal] if np.ptp(equal) > 1e-9 and np.all(equal > 0) else []
    return Finding(min(map(excess, [losses, *weighted])), 1e-9, ROUNDING, (
        "predict is not the label of the least loss",))


@claim("loss", "it is a function of its arguments", FIRST_IS_LAST, "convention")
def loss_remembers_nothing(loss, case):
    z, y = [case.lend(case.z), case.lend(case.w)], [case.lend(case.y), case.lend(case.y[::-1])]
    finding = interleaved({"the gradient": lambda k: loss.gradient(z[k], y[k]),
                           "the value": lambda k: np.asarray(loss.value(z[k], y[k]))})
    if not finding.holds or len(case.z) == 1:
        return finding
    right, mixed, reversed_too = (case.call(loss.gradient, case.z[::k], case.y[::j])[::k]
                                  for k, j in ((1, 1), (-1, 1), (-1, -1)))
    return compare(reversed_too, dense(right)).because(
        "the gradient of a sample depends on its place in the batch" if np.any(mixed != reversed_too)
        else "the gradient for other targets is that for earlier ones: they are cached")


@claim("loss", "its gradient is the same in a large batch, and in any memory layout", "∇L(z)_i / weight = ∇ℓ(z_i)",
       "convention")
def loss_in_any_layout(loss, case):
    only_if(case.everywhere and hasattr(loss, "weight"), "it is infinite outside of its domain, or states no weight")

    def per_weight(z, y):
        return case.call(loss.gradient, z, y) / loss.weight(len(z))

    return by_rows_and_layout({"the gradient": per_weight}, [case.z, case.y])


@claim("loss", "float32 stays float32", "dtype of ∇L_y(z)", "convention")
def loss_keeps_float32(loss, case):
    return in_float32(case, {"the gradient": lambda single: loss.gradient(single(case.z), single(case.y))})


@claim("loss", "finite for large outputs", "|L(±1000)|, |∇L(±1000)| < ∞", "float64")
def loss_is_safe(loss, case):
    only_if(case.everywhere, "it is infinite outside of its domain")
    far = 1000.0 * np.sign(case.z)
    finite = math.isfinite(case.value(loss, far)) and np.isfinite(case.call(loss.gradient, far, case.y)).all()
    nearer = [case.value(loss, t * far) for t in (0.2, 0.4, 0.6)] if not finite else []
    only_if(not any(math.isfinite(value) and abs(value) > HUGE for value in nearer),
            "its true value exceeds the largest number there: it grows exponentially")
    return Finding(float(not finite), 0.0, "no value may be NaN or inf",
                   ("it overflows: exp of a large number, or log of zero",))
