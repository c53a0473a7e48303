r"""Claims about the parts of a network, maps, transfers and losses, and random problems for each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minilift.checks.numeric import Probed, Tangents, compare, dense, directional, fits, gradient, tried
from minilift.checks.report import Finding, NotClaimed, claim, only_if
from minilift.layers.convolution import Conv2d
from minilift.layers.losses import Loss
from minilift.local.solvers import damped_solve
from minilift.support.backend import to_numpy

NOT_ELEMENTWISE = "not elementwise: its adjoint is checked instead"
ROUNDING = "rounding of float64 only"
DAMPINGS = (0.3, 1.0, 20.0)


@dataclass(frozen=True)
class Case:
    """One random problem: what to say of it, and the array library on which the thing is run."""

    label: str
    xp: object

    def call(self, function, *arrays):
        """Return function(*arrays) as a NumPy array; it is run on the backend, with read-only arrays on NumPy."""
        return to_host(function(*(self.lend(array) for array in arrays)))

    def lend(self, array):
        """Return a copy of an array on the backend; on NumPy it is read-only."""
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
        return to_host(a), aux

    def derivative(self, function, z):
        """Return the `Reference` of the derivative of an elementwise function at z."""
        return directional(lambda x: self.call(function, x), z, np.ones(z.shape))

    def loss_value(self, loss, z, y):
        """Return the loss of outputs z; complex where z is, if the loss can."""
        if np.iscomplexobj(z) and hasattr(loss, "value_per_sample"):
            return self.call(loss.value_per_sample, z, y).sum() * loss.weight(len(z))
        return self.call(loss.value, z, y)


def to_host(value):
    """Return an array on the host; numbers pass."""
    return value if isinstance(value, (int, float, complex)) else to_numpy(value)


def interleaved(calls):
    """Return the finding of functions by name, ``call(k)`` of the k-th of two inputs, called in turn: 0, 1, 0."""
    reasons = []
    for name, call in calls.items():
        first = call(0)
        kept = np.array(to_host(first))
        call(1)
        if not np.array_equal(to_host(first), kept, equal_nan=True):
            reasons.append(f"{name}: its result is overwritten by the next call: a buffer is reused")
        elif not np.array_equal(to_host(call(0)), kept, equal_nan=True):
            reasons.append(f"{name} depends on calls before: something is remembered, cached or random")
    return Finding(float(len(reasons)), 0.0, "bit for bit", tuple(reasons))


def in_float32(case, calls):
    """Return the finding of functions by name, called with what turns arrays into float32 ones, which must stay so."""
    def single(array):
        array = np.asarray(array)
        return case.lend(array.astype(np.float32) if array.dtype.kind == "f" else array)

    found = {name: getattr(call(single), "dtype", None) for name, call in calls.items()}
    reasons = tuple(f"{name} is {dtype} for float32 arrays" for name, dtype in found.items() if dtype != np.float32)
    return Finding(float(len(reasons)), 0.0, "a network is float32 by default, and takes no other arrays", reasons)


def wrong_shape(layer, shape, result):
    """Return the finding of a layer's output_shape for samples of a shape, of which a batch became the result."""
    stated = tuple(layer.output_shape(shape))
    reason = f"output_shape says {stated}, forward returns samples of shape {result.shape[1:]}"
    return Finding(float(stated != result.shape[1:]), 0.0, "shapes are whole numbers", (reason,))


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
    except ValueError:
        return False
    return True


@claim("join", "the join is linear in its values", "J(2u − 3v) = 2 J(u) − 3 J(v)", "the layer graph")
def join_is_linear(join, case):
    mixed = [2 * u - 3 * v for u, v in zip(case.values, case.others)]
    forward = [case.call(lambda *v: join.forward(None, *v), *values) for values in (mixed, case.values, case.others)]
    return compare(forward[0], dense(2 * forward[1] - 3 * forward[2]))


@claim("join", "adjoint in each value", "⟨J(v_1, …, v_k), g⟩ = Σ ⟨v_i, Jᵢᵀg⟩", "the layer graph")
def join_adjoint(join, case):
    c = case.call(lambda *v: join.forward(None, *v), *case.values)
    g = case.rng.standard_normal(c.shape)
    parts = [to_host(part) for part in join.adjoint_inputs(None, case.lend(g), case.lend_all(case.values))]
    expected, got = [], []
    for k, value in enumerate(case.values):
        for tangent in Tangents(value.shape, case.rng, count=6):
            alone = [tangent if j == k else 0 * v for j, v in enumerate(case.values)]
            expected.append(np.vdot(case.call(lambda *v: join.forward(None, *v), *alone), g))
            got.append(np.vdot(parts[k], tangent))
    return compare(np.array(got), dense(np.array(expected)), {"the sign is wrong": -np.array(expected)})


# ---- maps


@dataclass(frozen=True)
class MapCase(Case):
    """θ, a batch a, a cotangent g of z, and the design matrix [a 1] by probing with unit parameters."""

    theta: np.ndarray
    a: np.ndarray
    g: np.ndarray
    design: np.ndarray
    rng: np.random.Generator

    @property
    def factors(self):
        """Return the sizes by which a result may be off."""
        return {"N, the batch size": len(self.g), "the number of rows of the design matrix": len(self.design)}


def map_cases(phi, rng, xp, shape=None):
    """Return a map and random problems for it: a batch of one, wide and tall ones, a dead input, small and large."""
    shape = sample_shape(phi, map_shapes(phi)) if shape is None else shape
    phi = phi.for_images(shape) if hasattr(phi, "for_images") else phi
    case, cases = Case("", xp), []
    for n, size in ((1, 1), (2, 1 / 20), (5, 1), (16, 20), (17, 1)):
        theta, a = rng.standard_normal(phi.theta_shape), size * rng.standard_normal((n, *shape))
        a[..., 0] *= n % 2  # a dead input
        g, design = rng.standard_normal(case.call(phi.forward, theta, a).shape), design_matrix(case, phi, a)
        cases.append(MapCase(f"N = {n}, samples of shape {shape}", xp, theta, a, g, design, rng))
    return phi, cases


def map_shapes(phi):
    """Return shapes of samples that a map may take: vectors, or small images."""
    n_in = getattr(phi, "n_in", None)
    channels, kernel = getattr(phi, "c_in", n_in), getattr(phi, "kernel", 1)
    height = max(kernel) if isinstance(kernel, tuple) else kernel
    return [(n_in,), (height + 1, height + 2, channels), (height, height, channels)]


def sample_shape(layer, shapes):
    """Return the first of several shapes that a layer takes."""
    for shape in shapes:
        try:
            layer.output_shape(shape)
        except (ValueError, TypeError, IndexError):
            continue
        return shape
    tried = ", ".join(map(str, shapes))
    raise NotClaimed(f"it takes no sample of the shapes {tried}; check it inside a network instead")


def design_matrix(case, phi, a):
    """Return Ã: its column k is the first unit of the map's output for parameters that are the unit e_k."""
    rows, n_out = phi.theta_shape
    units = (np.outer(row, np.eye(1, n_out)) for row in np.eye(rows))
    return np.stack([case.call(phi.forward, unit, a).reshape(-1, n_out)[:, 0] for unit in units], axis=1)


@claim("map", "it is a function of its arguments", "f(x), f(x'), f(x): the first is the last", "convention")
def map_remembers_nothing(phi, case):
    inputs = [(case.lend(s * case.theta), case.lend(s * case.a), case.lend(s * case.g)) for s in (1.0, 0.5)]
    return interleaved({"forward": lambda k: phi.forward(*inputs[k][:2]),
                        "adjoint_theta": lambda k: phi.adjoint_theta(*inputs[k][1:]),
                        "adjoint_input": lambda k: phi.adjoint_input(inputs[k][0], inputs[k][2]) + 0})


@claim("map", "float32 stays float32", "dtype of z, ãᵀg, g Wᵀ", "convention")
def map_keeps_float32(phi, case):
    theta, a, g = case.theta, case.a, case.g
    return in_float32(case, {"forward": lambda single: phi.forward(single(theta), single(a)),
                             "adjoint_theta": lambda single: phi.adjoint_theta(single(a), single(g)),
                             "adjoint_input": lambda single: phi.adjoint_input(single(theta), single(g))})


@claim("map", "output_shape and initial_theta are those of the map", "shapes; θ of the generator alone", "convention")
def map_states_its_shapes(phi, case):
    finding = wrong_shape(phi, case.a.shape[1:], case.call(phi.forward, case.theta, case.a))
    only_if(hasattr(phi, "initial_theta") or not finding.holds, "it has no initial_theta")
    drawn = [phi.initial_theta(np.random.default_rng(3)) for _ in range(2)] if finding.holds else []
    if drawn and drawn[0].shape != tuple(phi.theta_shape):
        return finding._replace(number=1.0, reasons=(f"initial_theta is of shape {drawn[0].shape}, not theta_shape",))
    if drawn and not np.array_equal(*drawn):
        return finding._replace(number=1.0, reasons=("initial_theta draws from another generator than its own",))
    return finding


@claim("map", "the map is linear in θ", "φ(2θ − 3η, a) = 2 φ(θ, a) − 3 φ(η, a)", "ProxProp, φ")
def linear_in_theta(phi, case):
    eta = case.rng.standard_normal(case.theta.shape)
    expected = 2 * case.call(phi.forward, case.theta, case.a) - 3 * case.call(phi.forward, eta, case.a)
    got = case.call(phi.forward, 2 * case.theta - 3 * eta, case.a)
    constant = case.call(phi.forward, 0 * eta, case.a)
    return compare(got, dense(expected), terms={"it has a part that does not depend on θ": constant})


@claim("map", "each unit of z is [a 1] times its column of θ", "φ(θ, a) = ã θ", "ProxProp, φ")
def forward_is_design(phi, case):
    rows = case.call(phi.rows, case.a) if hasattr(phi, "rows") else case.a.reshape(len(case.a), -1)
    z = case.call(phi.forward, case.theta, case.a)
    n_out = case.theta.shape[1]
    only_if(rows.shape[1] + 1 == len(case.theta), "the map has no rows(a), and θ is not of shape (n_in + 1, n_out)")
    product = rows @ case.theta[:-1]
    variants = {"the bias is missing": product, "the bias is added twice": product + 2 * case.theta[-1],
                "the bias is subtracted": product - case.theta[-1],
                "the bias is taken from the first row of θ": rows @ case.theta[1:] + case.theta[0]}
    if rows.shape[1] == n_out:
        variants["the weights are transposed"] = rows @ case.theta[:-1].T + case.theta[-1]
    return compare(z.reshape(-1, n_out), dense(product + case.theta[-1]), variants)


@claim("map", "a convolution is the cross-correlation of the padded images", "z = a ⋆ W + b", "definition")
def convolution_is_correlation(phi, case):
    only_if(isinstance(phi, Conv2d), "it is no Conv2d")
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
    return compare(case.call(phi.forward, case.theta, 2 * case.a - b), dense(expected))


@claim("map", "adjoint in θ", "⟨φ(η, a), g⟩ = ⟨η, ãᵀg⟩ for all η", "BackProp")
def adjoint_in_theta(phi, case):
    tangents = Tangents(case.theta.shape, case.rng)
    values = [np.vdot(case.call(phi.forward, v, case.a), case.g) for v in tangents]
    got = tangents.project(case.call(phi.adjoint_theta, case.a, case.g))
    return compare(got, dense(tangents.assemble(values)), factors=case.factors)


@claim("map", "adjoint in a", "⟨φ(θ, b) − φ(θ, 0), g⟩ = ⟨b, g Wᵀ⟩ for all b", "ProxProp (10)")
def adjoint_in_a(phi, case):
    tangents = Tangents(case.a.shape, case.rng)
    offset = case.call(phi.forward, case.theta, 0 * case.a)
    values = [np.vdot(case.call(phi.forward, case.theta, v) - offset, case.g) for v in tangents]
    got = tangents.project(case.call(phi.adjoint_input, case.theta, case.g))
    return compare(got, dense(tangents.assemble(values)), lambda: input_adjoint_mistakes(case), case.factors)


def input_adjoint_mistakes(case):
    """Return what usual mistakes in g Wᵀ give, for maps of vectors."""
    theta, g = case.theta, case.g
    if g.ndim != 2 or case.a.ndim != 2 or theta.shape != (case.a.shape[1] + 1, g.shape[1]):
        return {}
    mistakes = {"the bias row is used as a row of weights": g @ theta[1:].T,
                "the bias is added to it": g @ theta[:-1].T + theta[-1].sum()}
    if theta.shape[0] - 1 == theta.shape[1]:
        mistakes["the weights are not transposed"] = g @ theta[:-1]
    return mistakes


def gram_of(phi, case, side):
    """Return a map's Gram operator at the case's input."""
    only_if(hasattr(phi, "gram"), "the map has no gram(a)")
    return phi.gram(case.lend(case.a), side=side)


def gram_finding(phi, case, side, product):
    """Return the finding of a Gram matrix, which is product(Ã): ÃÃᵀ or ÃᵀÃ."""
    got, design, bare = to_numpy(gram_of(phi, case, side).matrix), case.design, case.design.copy()
    bare[:, -1] = 0
    mistakes = {"the column of ones is missing": product(bare),
                "the means are subtracted and not put back": product(design - design.mean(axis=0)),
                "it is divided by the number of rows": product(design) / len(design)}
    return compare(got, dense(product(design)), mistakes)


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
        return compare(got, expected, lambda: damping_mistakes(C, b, damping, len(g)))

    return max((finding(damping, side) for damping in DAMPINGS for side in ("sample", "parameter")),
               key=lambda finding: finding.number)


def damping_mistakes(C, b, damping, rows):
    """Return what usual mistakes in (C + βI)⁻¹b give."""
    one, bare = np.eye(len(C)), C.copy()
    bare[-1], bare[:, -1] = 0, 0
    mistakes = {"the damping is doubled": (C, 2 * damping), "the damping is halved": (C, damping / 2),
                "the damping is τ_θ where it should be 1/τ_θ": (C, 1 / damping),
                "the Gram matrix is divided by N": (C / rows, damping),
                "the Gram matrix is doubled": (2 * C, damping),
                "the Gram matrix has no bias row and column": (bare, damping)}
    solved = {name: np.linalg.solve(matrix + beta * one, b) for name, (matrix, beta) in mistakes.items()}
    undamped_bias = C + np.diag([damping] * (len(C) - 1) + [0.0])
    return solved | {
        "the bias is not damped": np.linalg.lstsq(undamped_bias, b, rcond=None)[0],
        "it is the gradient: the step is explicit, not implicit": b,
        "it is the gradient divided by the damping: the step is explicit, not implicit": b / damping}


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
    elementwise, case, cases = getattr(sigma, "elementwise", False), Case("", xp), []
    shapes = [(3,), (1,), (4,)] if elementwise else 3 * [shape or sample_shape(
        sigma, [(5,), (getattr(sigma, "channels", 4),), (4, 5, 2), (7, 6, 3), (9, 8, 1)])]
    batches = (2, 7, 3) if hasattr(sigma, "commit") else (1, 7, 2)
    for n, shape, scale in zip(batches, shapes, (1.0, 1.0, 4.0)):
        z = smooth_point(case, sigma, np.zeros((n, *shape)), scale, rng)
        for training in (True,) if elementwise else (False, True):
            label = f"N = {n}, samples of shape {shape}" + ("" if elementwise else f", training = {training}")
            g = rng.standard_normal(case.apply(sigma, z, training)[0].shape)
            cases.append(TransferCase(label, xp, z, rng.standard_normal(z.shape), g, training, elementwise))
    return sigma, cases


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

    with np.errstate(all="ignore"):
        middle = 2 * value(z)
        return all(np.max(abs(value(z + h * signs) - middle + value(z - h * signs)), initial=0) < 0.05 * h
                   for h in (2.1e-3, 5e-4))


@claim("transfer", "it is a function of its arguments", "f(x), f(x'), f(x): the first is the last", "convention")
def transfer_remembers_nothing(sigma, case):
    z = [case.lend(case.z), case.lend(case.z / 2)]
    runs = [sigma.apply(x, training=case.training, rng=np.random.default_rng(0)) for x in z]

    def adjoint(k):
        return sigma.adjoint(z[k], *runs[k], case.lend(case.g)) + 0

    finding = interleaved({"forward": lambda k: case.xp.asarray(sigma.apply(
        z[k], training=case.training, rng=np.random.default_rng(0))[0]), "the adjoint": adjoint})
    a, aux = sigma.apply(z[0], training=case.training, rng=np.random.default_rng(0))
    fresh = to_host(sigma.adjoint(z[0], a, aux, case.lend(case.g)))
    if finding.holds and not np.array_equal(to_host(adjoint(0)), fresh):
        return finding._replace(number=1.0, reasons=())
    sigma.apply(z[1], training=case.training, rng=np.random.default_rng(0))
    if finding.holds and not np.array_equal(to_host(sigma.adjoint(z[0], a, aux, case.lend(case.g))), fresh):
        reason = "the adjoint uses what the last call left behind: an activation is remembered, or a buffer reused"
        return finding._replace(number=1.0, reasons=(reason,))
    return finding


@claim("transfer", "float32 stays float32", "dtype of σ(z), σ'(z), σ.adjoint(g)", "convention")
def transfer_keeps_float32(sigma, case):
    sigma = sigma.on_backend(case.xp, np.dtype(np.float32)) if hasattr(sigma, "on_backend") else sigma

    def apply(single):
        return sigma.apply(single(case.z), training=case.training, rng=np.random.default_rng(0))

    calls = {"forward": lambda single: apply(single)[0],
             "the adjoint": lambda single: sigma.adjoint(single(case.z), *apply(single), single(case.g))}
    if case.elementwise:
        calls |= {"derivative": lambda single: sigma.derivative(single(case.z))}
    return in_float32(case, calls)


@claim("transfer", "forward, apply and output_shape agree", "σ(z) in evaluation, and its shape", "convention")
def transfer_is_one(sigma, case):
    shape = wrong_shape(sigma, case.z.shape[1:], case.apply(sigma, case.z)[0])
    if not shape.holds:
        return shape
    finding = compare(case.call(sigma.forward, case.z), dense(case.apply(sigma, case.z)[0]))
    return finding._replace(reasons=("forward(z) is not what apply(z) returns",))


@claim("transfer", "at and beside kinks the derivative lies between the one-sided ones", "σ'(z−) ≤ σ'(z) ≤ σ'(z+)",
       "convention")
def transfer_at_kinks(sigma, case):
    only_if(case.elementwise, NOT_ELEMENTWISE)
    z = np.array([[sign * x for x in (0.0, 1e-3, 0.05, 0.3, 0.5, 1.0, 2.0, 3.0, 6.0, 20.0) for sign in (1, -1)]])
    h = 1e-6 * (1 + abs(z))
    value = case.call(sigma.forward, z)
    sides = [(case.call(sigma.forward, z + s * h) - value) / (s * h) for s in (-1, 1)]
    got, low, high = case.call(sigma.derivative, z), np.minimum(*sides), np.maximum(*sides)
    excess = np.maximum(low - got, got - high) / (1 + abs(low) + abs(high))
    wrong = z[excess > 1e-4]  # where there are many, no kink is to blame
    reasons = [f"the derivative at z = {wrong[0]:g} is outside of the one-sided ones"] if 0 < wrong.size < 4 else ()
    return Finding(float(np.max(excess)), 1e-4, "one-sided differences of step 1e-6", tuple(reasons))


@claim("transfer", "solve_shifted solves the Newton step of a prox", "(I + c σ'(z)) s = r", "convention")
def transfer_solves_shifted(sigma, case):
    only_if(hasattr(sigma, "solve_shifted"), "it has no solve_shifted, which only a loss's prox needs")
    only_if(case.elementwise or case.z.shape[1:] == case.g.shape[1:], "its values have another shape than z")
    a, aux = case.apply(sigma, case.z)

    slope = case.derivative(sigma.forward, case.z).value if case.elementwise else None

    def finding(c):
        s = case.call(lambda z, r: sigma.solve_shifted(z, c, r), case.z, case.tangent)
        change = slope * s if case.elementwise else to_host(sigma.adjoint(case.lend(case.z), a, aux, case.lend(s)))
        missing = {"solve_shifted leaves out c": case.tangent + (c - 1) * change}
        return compare(s + c * change, dense(case.tangent, 1e-5, "differences of σ"), missing)

    return max((finding(c) for c in (0.3, 2.0, 50.0)), key=lambda found: found.number)


@claim("transfer", "the derivative", "σ'(z) = dσ/dz", "ProxProp (9)")
def transfer_derivative(sigma, case):
    only_if(case.elementwise, NOT_ELEMENTWISE)
    reference, got = case.derivative(sigma.forward, case.z), case.call(sigma.derivative, case.z)
    return compare(got, reference, lambda: derivative_mistakes(sigma, case, reference.value, got))


def derivative_mistakes(sigma, case, slope, got):
    """Return what usual mistakes in σ' give."""
    a = case.call(sigma.forward, case.z)
    mistakes = {"it returns σ(z), not σ'(z)": a, "σ' is forgotten: it returns 1": np.ones_like(a),
                "it is the derivative at a = σ(z), not at z": case.derivative(sigma.forward, a).value,
                "it is 1 − σ(z), a factor of σ' is missing": 1 - a, "it returns σ'(z) squared": slope**2,
                "it is the derivative of −z: σ'(−z)": case.derivative(sigma.forward, -case.z).value,
                "it is 1 + σ(z)², the sign of the square is wrong": 1 + a * a}
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
    got = to_host(sigma.adjoint(case.lend(case.z), case.lend(a), aux, case.lend(case.g)))
    if case.elementwise:
        slope = directional(value, case.z, np.ones_like(case.z))
        reference = slope._replace(candidates=[s * case.g for s in slope.candidates])
    else:
        tangents = Tangents(case.z.shape, np.random.default_rng(1), limit=100)
        reference = gradient(lambda z: (value(z) * case.g).sum(), case.z, tangents)
        got = tangents.project(got)
    return compare(got, reference, lambda: adjoint_mistakes(case, a, reference.value))


def adjoint_mistakes(case, a, right):
    """Return what usual mistakes in σ'(z) ⊙ g give."""
    g = case.g
    if g.shape != right.shape:
        return {}
    slope = right / np.where(g == 0, 1, g)
    mistakes = {}
    if a.ndim == 2 and np.allclose(a.sum(axis=-1), 1):
        mistakes["the term −a aᵀg of softmax is missing"] = a * g
    return mistakes | {"σ' is forgotten: it returns g": g, "it returns σ'(z), without g": slope,
                       "it multiplies by σ(z), not σ'(z)": a * g,
                       "it multiplies by σ'(z) twice": slope * right,
                       "it is masked by the sign of g, not of z": g * (g > 0),
                       "it multiplies by z": case.z * g,
                       "it divides by σ'(z)": g / np.where(slope == 0, 1, slope)}


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
    return compare(reference.nearest(got), reference._replace(candidates=[got]), lambda: integral_mistakes(sigma, case))


def integral_mistakes(sigma, case):
    """Return what F' is with usual mistakes in F."""
    if not case.elementwise:
        return {}
    product_rule = directional(lambda z: z * case.call(sigma.forward, z), case.z, np.ones_like(case.z))
    return {"F is σ itself": case.derivative(sigma.forward, case.z).value,
            "F is the integral of z, not of σ": case.z,
            "F is z σ(z), without the integral of z σ'(z)": product_rule.value}


def has_integral(sigma, case):
    """Whether the transfer has an integral."""
    if not hasattr(sigma, "integral"):
        return False
    try:
        case.call(sigma.integral, case.z)
    except NotImplementedError:
        return False
    return True


def integral_only(sigma, case):
    """Skip transfers without an integral."""
    only_if(has_integral(sigma, case), "it has no integral F, which only LocoProp-M needs")


@claim("transfer", "F is convex", "F((z + w)/2) ≤ (F(z) + F(w))/2", "LocoProp-M")
def integral_is_convex(sigma, case):
    integral_only(sigma, case)
    w = case.z + 3 * case.tangent
    F = [np.asarray(case.call(sigma.integral, x)).sum(axis=-1) for x in (case.z, w, (case.z + w) / 2)]
    excess = float(np.max((F[2] - (F[0] + F[1]) / 2) / (1 + abs(F[0]) + abs(F[1]))))
    concave = np.all(F[2] >= (F[0] + F[1]) / 2)
    return Finding(excess, 1e-12, ROUNDING, ("F is concave: the sign of F, or of σ, is wrong" if concave
                                             else "σ is not increasing, so F is not convex",))


@claim("transfer", "σ is monotone", "⟨σ(z) − σ(w), z − w⟩ ≥ 0", "LocoProp-M")
def transfer_is_monotone(sigma, case):
    integral_only(sigma, case)
    w = case.z + 3 * case.tangent
    rise = (case.call(sigma.forward, case.z) - case.call(sigma.forward, w)) * (case.z - w)
    rise = rise if case.elementwise else rise.sum(axis=-1)
    reason = "σ is decreasing: its sign is wrong" if np.all(rise <= 0) else "σ both rises and falls"
    return Finding(float(np.max(-rise)), 1e-12, ROUNDING, (reason,))


@claim("transfer", "its values lie in the range it states, and the range is no wider",
       "closure of σ(ℝ) = [low, high]", "LocoProp-M, targets")
def target_range(sigma, case):
    integral_only(sigma, case)
    if not case.elementwise:
        inside = sigma.in_range(case.lend(case.call(sigma.forward, case.z)))
        return Finding(float(not inside), 0.0, "its own values are targets", ("its values are no targets",))
    far = np.array([[-1e8, -1e4, -300.0, -5.0, 0.3, 5.0, 300.0, 1e4, 1e8]])
    values = case.call(sigma.forward, far)[0]
    values = values[np.isfinite(values)]
    (low, high), least, most = sigma.range, values.min(), values.max()
    if hasattr(sigma, "in_range") and not sigma.in_range(case.lend(values), 1e-9) and low <= least and most <= high:
        return Finding(1.0, 0.0, "its own values are targets", ("in_range refuses its own values",))
    outside = max(low - least, most - high, 0.0)
    if outside > 1e-9:
        return Finding(outside, 1e-9, ROUNDING,
                       (f"the range is stated too narrow: values reach from {least:.4g} to {most:.4g}",))
    slack = max(unreached(low, least, values), unreached(high, most, values))
    reason = "the range is stated too wide: for targets that σ never reaches the matching loss has no lower bound"
    return Finding(slack, 1e-2, "σ is probed up to |z| = 1e8", (reason,))


def unreached(bound, extreme, values):
    """Return how far values stay from a stated bound; from an infinite one, 1 if they stop growing."""
    if math.isfinite(bound):
        return abs(bound - extreme) / (1 + abs(bound))
    grows = abs(extreme) > 1.5 * np.median(abs(values)) and abs(extreme) > 3
    return 0.0 if grows else 1.0


@claim("transfer", "finite for large arguments", "|σ(±1000)|, |F(±1000)|, |σ'(±1000)| < ∞", "float64")
def transfer_is_safe(sigma, case):
    only_if(case.elementwise, NOT_ELEMENTWISE)
    far = 1000.0 * np.sign(case.z)
    functions = {"σ": sigma.forward, "σ'": sigma.derivative}
    if has_integral(sigma, case):
        functions["F"] = sigma.integral
    bad = [name for name, function in functions.items() if not np.all(np.isfinite(case.call(function, far)))]
    return Finding(float(len(bad)), 0.0, "no value may be NaN or inf",
                   (f"{', '.join(bad)} overflows: exp of a large number",))


# ---- losses


@dataclass(frozen=True)
class LossCase(Case):
    """Outputs z, targets y, other outputs w, of which the prox is taken, and its τ for each sample."""

    z: np.ndarray
    y: np.ndarray
    w: np.ndarray
    tau: float

    def value(self, loss, z):
        """Return the loss; of complex outputs, if it can."""
        return self.loss_value(loss, z, self.y)


def loss_cases(loss, rng, xp):
    """Return a loss and random problems for it: one sample, one output, wide and tall."""
    return loss, [LossCase(f"N = {n}, {n_out} outputs", xp, z=1.5 * rng.standard_normal((n, n_out)),
                           y=draw_targets(loss, rng, n, n_out), w=1.5 * rng.standard_normal((n, n_out)), tau=tau)
                  for n, n_out, tau in ((1, 3, 0.7), (5, 1, 30.0), (3, 4, 0.4), (7, 2, 0.02), (17, 5, 3.0))]


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
    reference = gradient(lambda z: case.value(loss, z), case.z)
    return compare(case.call(loss.gradient, case.z, case.y), reference, lambda: loss_mistakes(loss, case),
                   {"N, the batch size": len(case.z), "the number of outputs": case.z.shape[1]})


def loss_mistakes(loss, case):
    """Return what usual mistakes in the gradient of a matching loss, f(z) − y, give."""
    if not hasattr(loss, "transfer"):
        return {}
    weight, f = loss.weight(len(case.z)), case.call(loss.transfer.forward, case.z)
    y = np.eye(case.z.shape[1])[case.y] if case.y.ndim == 1 else case.y
    twice = to_host(loss.transfer.adjoint(case.lend(case.z), case.lend(f), None, case.lend(f - y)))
    return {"the transfer is forgotten: z − y for f(z) − y": weight * (case.z - y),
            "the target is missing": weight * f,
            "the transfer is applied to the target too": weight * (f - case.call(loss.transfer.forward, y)),
            "σ' is applied twice: the gradient is taken through the transfer again": weight * twice}


@claim("loss", "the batch is reduced as stated", "L(batch twice) = L(batch) for a mean, 2 L(batch) for a sum",
       "convention")
def loss_reduction(loss, case):
    only_if(hasattr(loss, "reduction"), "it states no reduction")
    twice = case.loss_value(loss, np.concatenate([case.z, case.z]), np.concatenate([case.y, case.y]))
    once = case.value(loss, case.z)
    mistakes = {"it sums over the batch, but says mean": 2 * once, "it averages over the batch, but says sum": once}
    return compare(twice, dense(once if loss.reduction == "mean" else 2 * once), mistakes)


@claim("loss", "it is convex in z", "L((z + w)/2) ≤ (L(z) + L(w))/2", "convention")
def loss_is_convex(loss, case):
    only_if(getattr(loss, "convex", True), "it says that it is not convex")
    ends = case.value(loss, case.z), case.value(loss, case.w)
    excess = (case.value(loss, (case.z + case.w) / 2) - sum(ends) / 2) / (1 + sum(map(abs, ends)))
    return Finding(excess, 1e-12, ROUNDING, ("its sign is wrong, or it is not convex: say so with convex = False",))


@claim("loss", "it is the matching loss of its transfer", "L(z) − L(w) = ∫ ⟨f − y, dz⟩ along a line", "LocoProp-M")
def matching_loss(loss, case):
    only_if(hasattr(loss, "transfer") and hasattr(loss, "targets"), "it names no transfer")
    nodes, weights = np.polynomial.legendre.leggauss(60)
    y = case.call(loss.targets, case.z, case.y)
    line = case.z - case.w
    total = sum(q / 2 * np.vdot(case.call(loss.transfer.forward, case.w + (t + 1) / 2 * line) - y, line)
                for t, q in zip(nodes, weights))
    got = case.value(loss, case.z) - case.value(loss, case.w)
    reference = dense(loss.weight(len(case.z)) * total, 1e-7, "Gauss quadrature of 60 nodes")
    return compare(got, reference, factors={"N, the batch size": len(case.z)})


def has_prox(loss):
    """Skip losses without a prox of their own, or with one that says that it is not defined."""
    own = type(loss).prox is not Loss.prox if isinstance(loss, Loss) else True
    only_if(hasattr(loss, "prox") and (own or hasattr(loss, "transfer")), "it has no prox")


@claim("loss", "the prox minimises its objective: no probe is lower", "prox_τL(v) = argmin_u L(u) + ‖u − v‖²/2τ",
       "ProxProp §4.2.1")
def loss_prox(loss, case):
    has_prox(loss)
    only_if(case.z.size <= 20, "larger problems would take long")
    v, n = case.w, len(case.w)
    tau = case.tau * n

    def prox(tau):
        return case.call(lambda v, y: loss.prox(v, y, tau), v, case.y)

    def probed(u):
        def objective(x):
            return case.value(loss, x.reshape(v.shape)) + ((x - v.ravel()) ** 2).sum() / (2 * tau)

        return Probed.around(objective, u.ravel(), v.ravel(), np.random.default_rng(4)).excess

    def passes(tau):
        return probed(prox(tau)) <= 1e-7

    def reasons():
        right = {"τ is off by a factor 2": tau / 2, "τ is off by a factor ½": 2 * tau, "τ is squared": tau**0.5,
                 "the regulariser has 1/τ and τ exchanged": 1 / tau}
        if n > 1:
            right |= {"the weight 1/N of a sample is forgotten": tau / n,
                      "the weight 1/N of a sample is counted twice": tau * n}
        named = [what for what, other in right.items() if tried(passes, other)]
        explicit = v - tau * gradient(lambda z: case.value(loss, z), v).value
        if fits(u, explicit):
            named.append("the gradient is taken at v, not at the prox: the step is explicit")
        return [*named, *["it returns v: there is no step"] * bool(np.all(u == v))]

    try:
        u = prox(tau)
    except NotImplementedError as why:
        raise NotClaimed(f"its prox is not defined: {why}") from None
    if u.shape != v.shape or not np.all(np.isfinite(u)):
        return compare(u, dense(v))
    return Finding(probed(u), 1e-7, "relative to the decrease from v, beyond rounding", reasons)


@claim("loss", "predict says what the loss is least of", "L(z, predict(z)) ≤ L(z, y) for all labels y", "convention")
def loss_predicts(loss, case):
    only_if(getattr(loss, "classification", False) and hasattr(loss, "predict"), "it does not classify")
    predicted, of_each = case.call(loss.predict, case.z), hasattr(loss, "value_per_sample")
    only_if(of_each, "it has no loss of each sample")
    losses = [case.call(loss.value_per_sample, case.z, np.full(len(case.z), label)) for label in range(case.z.shape[1])]
    excess = np.array([losses[label][i] for i, label in enumerate(predicted)]) - np.min(losses, axis=0)
    return Finding(float(np.max(excess)), 1e-9, ROUNDING, ("predict is not the label of the least loss",))


@claim("loss", "it is a function of its arguments", "f(x), f(x'), f(x): the first is the last", "convention")
def loss_remembers_nothing(loss, case):
    z = [case.lend(case.z), case.lend(case.w)]
    return interleaved({"the gradient": lambda k: loss.gradient(z[k], case.lend(case.y)),
                        "the value": lambda k: np.asarray(loss.value(z[k], case.lend(case.y)))})


@claim("loss", "float32 stays float32", "dtype of ∇L_y(z)", "convention")
def loss_keeps_float32(loss, case):
    return in_float32(case, {"the gradient": lambda single: loss.gradient(single(case.z), single(case.y))})


@claim("loss", "finite for large outputs", "|L(±1000)|, |∇L(±1000)| < ∞", "float64")
def loss_is_safe(loss, case):
    far = 1000.0 * np.sign(case.z)
    finite = math.isfinite(case.value(loss, far)) and np.isfinite(case.call(loss.gradient, far, case.y)).all()
    return Finding(float(not finite), 0.0, "no value may be NaN or inf",
                   ("it overflows: exp of a large number, or log of zero",))
