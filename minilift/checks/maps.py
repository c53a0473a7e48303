r"""Claims about joins and maps: linear in θ, affine in a, adjoints, Gram matrices, proximal steps (ProxProp (13))."""

from __future__ import annotations

import inspect
import itertools
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from minilift.checks.cases import (
    FIRST_IS_LAST,
    Case,
    fits_or_equal,
    fits_shapes,
    in_float32,
    interleaved,
    of_each_sample,
    sample_shape,
    to_host,
    wrong_shape,
)
from minilift.checks.numeric import Tangents, compare, dense, fits, fitted_factor, tried
from minilift.checks.report import claim, nothing_of, only_if, worst_of
from minilift.layers.convolution import Conv2d
from minilift.local.solvers import damped_solve
from minilift.support.backend import to_numpy

NOT_AFFINE = "the map is not affine in a, so that it has no adjoint"
OTHER_ORDER = "columns(z) are in another order than rows(a)"
DAMPINGS = (0.3, 1.0, 20.0)
ROWS = 3000  # of a design matrix, at most, whose samples' Gram matrix is formed: large images have many


# ---- joins


@dataclass(frozen=True)
class JoinCase(Case):
    """The values that a join reads, a second list of them, and the tangents along which its adjoint is probed."""

    values: list
    others: list
    rng: np.random.Generator


def join_cases(join, rng, xp, shape=None):
    """Return a join and random problems for it, of vectors and, where it accepts them, of larger samples.

    All values have the same number of channels first, and then, where the join accepts that, one of them has fewer. If
    `shape` gives the shapes that the join reads in a network, one for each value, only these are used.
    """
    count, cases = join.reads_current + len(join.sources), []
    alike = [[one] * count for one in ((5,), (4, 3), (3, 4, 2))]
    # two channels at least, since a single one would be broadcast; three fewer leave two where there were five
    uneven = [[(*one[:-1], one[-1] - less * (k == fewer)) for k in range(count)]
              for one in ((5,), (4, 5), (3, 4, 5)) for fewer, less in ((0, 1), (count - 1, 1), (count - 1, 3))
              if count > 1]
    for n, shapes in zip(itertools.cycle((3, 4)), [*alike, *uneven] if shape is None else [shape]):
        if shape is None and not fits_shapes(join, shapes):
            continue
        values, others = ([rng.standard_normal((n, *one)) for one in shapes] for _ in range(2))
        label = f"N = {n}, {count} values of shape {', '.join(map(str, dict.fromkeys(shapes)))}"
        cases.append(JoinCase(label, xp, values, others, rng))
    only_if(cases, "it takes no values of the shapes tried; check it inside a network instead")
    taken = [case for case in cases if tried(case.call, partial(join.forward, None), *case.values) is not None]
    return join, taken or cases  # a join that raises for every shape is wrong


@claim("join", "the join is linear in its values", "J(2u − 3v) = 2 J(u) − 3 J(v)", "the layer graph")
def join_is_linear(join, case):
    mixed = [2 * u - 3 * v for u, v in zip(case.values, case.others)]
    forward = [case.call(lambda *v: join.forward(None, *v), *values) for values in (mixed, case.values, case.others)]
    why = "it is not linear in its values: a product, a maximum, or a constant"
    return compare(forward[0], dense(2 * forward[1] - 3 * forward[2])).retold(lambda known: (*known, why))


@claim("join", "the output of a sample does not depend on the other samples", "J(v)_i = J(v_i)", "convention")
def join_is_of_each_sample(join, case):
    return of_each_sample(lambda rows: case.call(
        lambda *v: join.forward(None, *v), *(value[rows] for value in case.values)), np.arange(len(case.values[0])))


@claim("join", "adjoint in each value", "⟨J(v_1, …, v_k), g⟩ = Σ ⟨v_i, Jᵢᵀg⟩", "the layer graph")
def join_adjoint(join, case):
    c = case.call(lambda *v: join.forward(None, *v), *case.values)
    g = case.rng.standard_normal(c.shape)
    parts = [to_host(part) for part in join.adjoint_inputs(None, case.lend(g), case.lend_all(case.values))]
    if len(parts) != len(case.values):
        return nothing_of([f"adjoint_inputs returns {len(parts)} signals; the join reads {len(case.values)} values"],
                          "one signal for each value")
    tangents = [Tangents(value.shape, case.rng, count=6) for value in case.values]

    def sent_to(k):  # with the other values as they are, so that a product can be judged too
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


@claim("join", "output_shape is that of the join", "shapes", "convention")
def join_states_its_shape(join, case):
    got = case.call(lambda *v: join.forward(None, *v), *case.values).shape[1:]
    stated = tuple(join.output_shape(*(value.shape[1:] for value in case.values)))
    return nothing_of(["output_shape says another shape than forward returns"] * (stated != got),
                      "shapes are whole numbers")


@claim("join", "float32 stays float32", "dtype of J(v), Jᵢᵀg", "convention")
def join_keeps_float32(join, case):
    c = case.call(lambda *v: join.forward(None, *v), *case.values)

    def signal(single):
        return join.adjoint_inputs(None, single(np.ones(c.shape)), [single(value) for value in case.values])[0]

    return in_float32(case, {"forward": lambda single: join.forward(None, *map(single, case.values)),
                             "the first signal": signal})


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
        """Return the map adapted to samples of this size."""
        return self.phi

    @property
    def factors(self):
        """Return the sizes that a result may be off by as factors."""
        return {"N, the batch size": len(self.g), "the number of rows of the design matrix": len(self.design)}


def map_cases(phi, rng, xp, shape=None):
    """Return a map and random problems for it: a batch of one, wide and tall ones, a dead input, small and large.

    A map that is not in a network is also given samples of another size, if it can take them: longer vectors, or images
    with odd and even numbers of rows.
    """
    alone, given = shape is None, phi
    shape = sample_shape(phi, map_shapes(phi)) if alone else shape
    phi = for_samples(given, shape)
    case, cases = Case("", xp), []
    plan = [(n, size, shape) for n, size in ((1, 1), (2, 1 / 20), (5, 1), (16, 20), (17, 1))]
    plan += [(261, 1, shape)] * (len(shape) == 1)  # more rows than the blocks in which a product may be computed
    others = [other for other in other_sizes(shape) if alone and takes_samples(given, case, other)]
    wider = [other for other in others if min(given.output_shape(other)[:-1], default=2) > 1]  # several patches, say
    plan += [(3, 1, other) for other in (wider or others)[:1]]
    for n, size, one in plan:
        theta, a = rng.standard_normal(phi.theta_shape), size * rng.standard_normal((n, *one))
        a[..., 0] *= n % 2  # a dead input
        here = phi if one == shape else for_samples(given, one)
        g, design = rng.standard_normal(case.call(here.forward, theta, a).shape), design_matrix(case, here, a)
        of = "samples of shape" if one == shape else "samples of another size,"
        cases.append(MapCase(f"N = {n}, {of} {one}", xp, theta, a, g, design, rng, here))
    return phi, cases


def for_samples(phi, shape):
    """Return a map adapted to samples of a shape."""
    return phi.for_images(shape) if hasattr(phi, "for_images") else phi


def other_sizes(shape):
    """Return other sizes of images or sequences: odd where the number of rows is even, or multiples, as for patches."""
    if len(shape) == 3:
        rows, columns, channels = shape
        return [(columns, rows, channels) if rows != columns else (rows + 1, columns, channels),
                (2 * rows, 3 * columns, channels)]
    return [(shape[0] + 1, shape[1]), (2 * shape[0], shape[1])] if len(shape) == 2 else [(shape[0] + 3,)]


def takes_samples(phi, case, shape):
    """Whether a map says that it takes samples of a shape, and does: its θ may be made for one size only."""
    if not fits_shapes(phi, [shape]):
        return False
    if len(shape) == 1 and phi.output_shape(shape) == phi.output_shape((shape[0] - 3,)):
        return False  # if longer vectors give the same output shape, not all of their entries are read
    theta, a = np.zeros(phi.theta_shape), np.zeros((2, *shape))
    return tried(lambda: case.call(for_samples(phi, shape).forward, theta, a)) is not None


def map_shapes(phi):
    """Return shapes of samples that a map might take: vectors, or small images."""
    n_in = getattr(phi, "n_in", None)
    channels, kernel = getattr(phi, "c_in", n_in), getattr(phi, "kernel", 1)
    if not isinstance(kernel, (int, tuple)):  # a user's class uses this name for something else
        kernel = 1
    height = max(kernel) if isinstance(kernel, tuple) else kernel
    return [(n_in,), (height + 1, height + 2, channels), (height, height, channels), (height + 3, channels),
            *((n,) for n in range(1, 65)), *itertools.product(range(2, 13), range(1, 9)),
            *itertools.product(range(2, 9), range(2, 9), range(1, 5))]


def design_matrix(case, phi, a, unit=0):
    """Return Ã: its column k is one unit of the map's output when that unit's parameters are e_k."""
    rows, n_out = phi.theta_shape
    thetas = (np.outer(row, np.eye(n_out)[unit]) for row in np.eye(rows))
    return np.stack([case.call(phi.forward, theta, a).reshape(-1, n_out)[:, unit] for theta in thetas], axis=1)


@claim("map", "it is a function of its arguments", FIRST_IS_LAST, "convention")
def map_remembers_nothing(phi, case):
    inputs = [(case.lend(s * case.theta), case.lend(s * case.a), case.lend(s * case.g)) for s in (1.0, -0.5)]
    rows = tried(lambda: [np.array(to_host(phi.rows(a))) for _, a, _ in inputs])  # None if it has none
    if rows is not None and len(case.a) > 1 and np.any(case.a) and np.array_equal(*rows):  # one less its mean is 0
        return nothing_of(["rows(a) are the same for another a: they are cached, or remembered"], "bit for bit")
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
    elif (weights := abs(np.ravel(to_numpy(drawn)[:-1]))).size > 3 and np.array_equal(drawn, other) and (
            len(np.unique(weights)) == weights.size):  # they look drawn: no two have the same magnitude
        reasons.append("initial_theta is the same for every generator: it draws from one of its own, of a fixed seed")
    return nothing_of(reasons, finding.why)


@claim("map", "the map is linear in θ", "φ(2θ − 3η, a) = 2 φ(θ, a) − 3 φ(η, a)", "ProxProp, φ")
def linear_in_theta(phi, case):
    eta = case.rng.standard_normal(case.theta.shape)
    expected = 2 * case.call(phi.forward, case.theta, case.a) - 3 * case.call(phi.forward, eta, case.a)
    got = case.call(phi.forward, 2 * case.theta - 3 * eta, case.a)
    finding = compare(got, dense(expected))
    longer = np.concatenate([2 * case.theta[:-1], case.theta[-1:]])
    if fits(case.call(phi.forward, longer, case.a), case.call(phi.forward, case.theta, case.a)):
        return finding.because("the size of the weights does not matter: they are normalised")
    return finding


@claim("map", "each unit of z is [a 1] times its column of θ", "φ(θ, a) = ã θ", "ProxProp, φ")
def forward_is_design(phi, case):
    rows = case.call(phi.rows, case.a) if hasattr(phi, "rows") else case.a.reshape(len(case.a), -1)
    n_out = case.theta.shape[1]

    def forward(a, theta=case.theta):
        z = case.call(phi.forward, theta, a)
        return case.call(phi.columns, z) if hasattr(phi, "columns") else z.reshape(-1, n_out)

    if hasattr(phi, "rows") and rows.shape[1] + 1 != len(case.theta):
        return nothing_of([f"rows(a) have {rows.shape[1]} columns, W has {len(case.theta) - 1} rows"],
                          "they are multiplied")
    only_if(rows.shape[1] + 1 == len(case.theta), "the map has no rows(a), and θ is not of shape (n_in + 1, n_out)")
    product = rows @ case.theta[:-1]
    variants = {"the bias is missing": product, "the bias is added twice": product + 2 * case.theta[-1],
                "the bias is taken from the first row of θ": rows @ case.theta[1:] + case.theta[0],
                "what is done to a is done to the bias too, or something else: it is to be added as it is":
                    product + forward(case.a, np.concatenate([0 * case.theta[:-1], case.theta[-1:]]))}
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
    """Return what may be wrong with the rows that a map claims to multiply by W."""
    n_out = case.theta.shape[1]
    if not linear_in_theta(phi, case).holds:
        return ["it is not linear in θ"]
    if not affine_in_a(phi, case).holds:
        return [NOT_AFFINE]
    weights = design_matrix(case, phi, case.a, n_out - 1)[:, :-1]
    if not np.allclose(weights, case.design[:, :-1]):
        return ["its units do not read the same entries of a (weights that are masked, sparse): no rows(a) serve all"]
    reasons, seen = [], case.design[:, :-1]
    if np.allclose(seen @ case.theta[:-1], product):  # without the bias, which may differ from pixel to pixel
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

    expected = np.einsum("nhwcij,ijco->nhwo", windows, W) + case.theta[-1]
    return compare(case.call(phi.forward, case.theta, case.a), dense(expected))


@claim("map", "the map is affine in a", "φ(θ, 2a − b) = 2 φ(θ, a) − φ(θ, b)", "ProxProp, φ")
def affine_in_a(phi, case):
    b = case.rng.standard_normal(case.a.shape)
    expected = 2 * case.call(phi.forward, case.theta, case.a) - case.call(phi.forward, case.theta, b)
    got = case.call(phi.forward, case.theta, 2 * case.a - b)
    return compare(got, dense(expected)).retold(lambda known: (*known, NOT_AFFINE))


def samples_left_out(each, got):
    """Return the results of leaving samples out, by description, given the contribution of each sample."""
    total = np.cumsum(each, axis=0)
    if len(each) < 2 or got.shape != total[-1].shape:
        return {}
    kept = 1 + int(np.argmin(abs(total[:-1] - got).reshape(len(each) - 1, -1).max(axis=1)))
    last = "the last sample is left out" if kept == len(each) - 1 else "the last samples are left out"
    return {last: total[kept - 1]}


def misread(case):
    """Yield what is wrong with g if its samples, of several rows of units, are laid out in the other order."""
    n, units = len(case.g), case.theta.shape[1]
    rows = case.g[0].size // units
    for shape, order in (((rows, units), "after"), ((units, rows), "before")) if min(rows, units) > 1 else ():
        yield (f"g is read in another order than z is laid out in, with units {order} rows",
               case.g.reshape(n, *shape).swapaxes(1, 2).reshape(case.g.shape))


@claim("map", "adjoint in θ", "⟨φ(η, a), g⟩ = ⟨η, ãᵀg⟩ for all η", "BackProp")
def adjoint_in_theta(phi, case):
    tangents = Tangents(case.theta.shape, case.rng)
    values = [np.vdot(case.call(phi.forward, v, case.a), case.g) for v in tangents]
    got = tangents.project(case.call(phi.adjoint_theta, case.a, case.g))

    def left_out():
        products = [case.call(phi.forward, v, case.a) * case.g for v in tangents]
        each = np.stack([product.reshape(len(case.g), -1).sum(axis=1) for product in products], axis=1)
        return samples_left_out(np.stack([tangents.assemble(values) for values in each]), got) | {
            text: tangents.assemble([np.vdot(case.call(phi.forward, v, case.a), g) for v in tangents])
            for text, g in misread(case)}

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
    """Return what common mistakes in g Wᵀ would give."""
    theta, g = case.theta, case.g
    other = tangents.project(case.call(phi.adjoint_input, theta / 2, g))
    if np.array_equal(other, got):
        return {"it does not depend on θ: a fixed matrix, or one that is remembered": got}
    if isinstance(phi, Conv2d):
        W = theta[:-1].reshape(phi.kernel, phi.kernel, -1)[::-1, ::-1]
        kernel = np.vstack([W.reshape(len(theta) - 1, -1), theta[-1:]])
        return {"the kernel is turned by 180°, or should be: it is flipped": tangents.assemble([
            np.vdot(case.call(phi.forward, kernel, v) - kernel[-1], g) for v in tangents])}
    if g.ndim != 2 or case.a.ndim != 2 or theta.shape != (case.a.shape[1] + 1, g.shape[1]):
        offset = case.call(phi.forward, theta, 0 * case.a)
        return {text: tangents.assemble([np.vdot(case.call(phi.forward, theta, v) - offset, wrong) for v in tangents])
                for text, wrong in misread(case)}
    mistakes = {"the bias row is used as a row of weights": g @ theta[1:].T,
                **before_weights(phi, case, g @ theta[:-1].T)}
    if theta.shape[0] - 1 == theta.shape[1]:
        mistakes["the weights are not transposed"] = g @ theta[:-1]
    return mistakes


def before_weights(phi, case, signal):
    """Return the results of mistakes in the adjoint of what a map does to a before W, its matrix found from rows(a)."""
    unit = np.eye(case.a.shape[1])
    if not hasattr(phi, "rows") or (matrix := case.call(phi.rows, unit) - case.call(phi.rows, 0 * unit)).shape != (
            unit.shape) or np.allclose(matrix, unit):
        return {}
    mistakes = {"what is done to a before W is left out: it is g Wᵀ": signal}
    if not np.allclose(matrix, matrix.T):
        mistakes["what is done to a before W is done to g Wᵀ too, where its transpose should"] = signal @ matrix
        mistakes["minus what is done to a before W is done to g Wᵀ, where its transpose should"] = -signal @ matrix
    if np.linalg.cond(matrix) < 1e6:
        inverse = np.linalg.inv(matrix)
        mistakes["the inverse of what is done to a before W stands where its transpose should"] = signal @ inverse
    return mistakes


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
    """Return the finding on a Gram matrix, which should be product(Ã): ÃÃᵀ or ÃᵀÃ."""
    got, design = to_numpy(gram_of(phi, case, side).matrix), case.design

    def mistakes():
        bare = np.hstack([design[:, :-1], np.zeros((len(design), 1))])
        return {"the column of ones is missing": product(bare),
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
    only_if(len(case.design) <= ROWS, f"more than {ROWS} rows would take much memory")
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

    sides = ("sample", "parameter") if len(case.design) <= ROWS else ("parameter",)
    return worst_of(finding(damping, side) for damping in DAMPINGS for side in sides)


def damping_mistakes(C, b, damping, rows, got):
    """Return what common mistakes in (C + βI)⁻¹b would give; if one has a free number, with that nearest to `got`."""
    if not all(np.all(np.isfinite(array)) for array in (C, b, got)):
        return {}
    one = np.eye(len(C))
    mistakes = {"the damping is doubled": (C, 2 * damping), "the damping is halved": (C, damping / 2),
                "the damping is τ_θ where it should be 1/τ_θ": (C, 1 / damping),
                "the Gram matrix is divided by N": (C / rows, damping),
                "the damping is multiplied by N": (C, damping * rows),
                "the damping is divided by N": (C, damping / rows),
                "the Gram matrix is divided by N − 1 where N should stand": (C * rows / max(rows - 1, 1), damping)}
    solved = {name: np.linalg.solve(matrix + beta * one, b) for name, (matrix, beta) in mistakes.items()}
    apart = C + damping * one
    apart[-1, :-1], apart[:-1, -1] = 0, 0
    undamped_bias = C + np.diag([damping] * (len(C) - 1) + [0.0])
    values, vectors = np.linalg.eigh(C)
    values = np.maximum(values, 0)

    def of_eigenvalues(f):
        return (vectors * f(values)) @ vectors.T @ b

    solved["the singular values of the input stand where their squares should"] = of_eigenvalues(
        lambda w: 1 / (np.sqrt(w) + damping))
    right = np.linalg.solve(C + damping * one, b)
    if got.shape == b.shape and np.any(got) and not fits(got, fitted_factor(got, right) * right):
        other = float(np.vdot(got, b - C @ got) / np.vdot(got, got))
        if abs(other - damping) > 5e-3 * damping and other > 0:
            solved[f"the damping is {other / damping:.3g} times what it should be"] = of_eigenvalues(
                lambda w: 1 / (w + other))
    if C[-1, -1] > 0:
        centred, why = C - np.outer(C[-1], C[-1]) / C[-1, -1], "its covariance stands where its second moments should"
        solved[f"the input is centred, with its ones: {why}"] = np.linalg.solve(centred + damping * one, b)
        centred[-1, -1] = C[-1, -1]
        solved[f"the input is centred: {why}"] = np.linalg.solve(centred + damping * one, b)
    solved |= {
        "weights and bias are solved apart, each with the other's old value (Jacobi)": np.linalg.solve(apart, b),
        "it has the diagonal of the Gram matrix alone": b / (np.diag(C)[:, None] + damping),
        "the bias is not damped": np.linalg.lstsq(undamped_bias, b, rcond=None)[0],
        "it is the gradient: the step is explicit, not implicit": b}
    if got.shape == b.shape and got.size > 2 and not fits(got, fitted_factor(got, right) * right):
        system = np.stack([(C @ got).ravel(), got.ravel()], axis=1)
        (share, other), _, rank, _ = np.linalg.lstsq(system, b.ravel(), rcond=1e-6)
        other /= damping
        if rank == 2 and min(share, other) > 1e-3 and min(abs(share - 1), abs(share - other)) > 5e-3:
            solved[f"in its matrix ãᵀã is multiplied by {share:.3g}, the damping by {other:.3g}"] = (
                of_eigenvalues(lambda w: 1 / (share * w + other * damping)))
    return solved


