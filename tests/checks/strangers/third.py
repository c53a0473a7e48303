r"""A stranger's list: mistakes of an own choice against `verify`, and right things that look unusual.

    python tests/checks/strangers/third.py            # the whole table
    python tests/checks/strangers/third.py --truth    # only whether the list is true: a number for each

The list was written from the public documentation alone, before anything was run. Each mistake has a number that says
how wrong it is, measured without `verify`, and each right thing one that says how right.
"""

from __future__ import annotations

import argparse
import math
import resource
import warnings
from typing import Any, NamedTuple

import numpy as np

import minilift as ml
from minilift.layers.gram import Gram
from minilift.methods.lifted.matching import MatchingEnergy
from minilift.methods.lifted.three_split import ThreeSplit
from minilift.methods.lifted.two_split import TwoSplit

SEEDS = range(5)


class Item(NamedTuple):
    """One thing that is given to `verify`: `call(seed)` is the call, `gap()` how far it is from what it claims."""

    group: str
    name: str
    what: str
    right: bool
    call: Any
    gap: Any


ITEMS: list[Item] = []


def add(group, name, what, call, gap, right=False):
    """Put an item on the list."""
    ITEMS.append(Item(group, name, what, right, call, gap))


def rel(x, y):
    """Return the largest difference, relative to the largest entry of y; inf for NaN or another shape."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape:
        return math.inf
    if not x.size:
        return 0.0
    worst = float(abs(x - y).max()) / max(1e-30, float(abs(y).max()))
    return math.inf if math.isnan(worst) else worst


# ---- how wrong a layer or a loss is


def transfer_gap(make, shape=(4,), scales=(1.0, 4.0)):
    """Return the largest relative error of a transfer's derivatives, and of F, F* and the inverse where it has them."""
    rng, worst, h = np.random.default_rng(7), 0.0, 1e-6
    for n, scale in ((5, scales[0]), (5, scales[-1]), (1, scales[0])):
        sigma, z = make(), scale * rng.normal(size=(n, *shape))
        kept = z.copy()
        a, aux = sigma.apply(z)
        worst = max(worst, rel(z, kept))
        if a.shape[0] != n:
            return math.inf
        g, v = rng.normal(size=a.shape), rng.normal(size=z.shape)
        slope = ((sigma.apply(kept + h * v)[0] - sigma.apply(kept - h * v)[0]) * g).sum() / (2 * h)
        d = sigma.adjoint(kept.copy(), a, aux, g)
        worst = max(worst, abs((d * v).sum() - slope) / (abs(d * v).sum() + abs(slope) + 1e-30))
        if sigma.elementwise:
            worst = max(worst, activation_gap(sigma, kept, h))
    return worst


def activation_gap(sigma, z, h):
    """Return the largest error of derivative, F, F*, inverse, pieces and the Newton step of an activation."""
    f = sigma.forward
    worst = rel(sigma.derivative(z.copy()), (f(z + h) - f(z - h)) / (2 * h))
    worst = max(worst, rel(sigma.solve_shifted(z, 0.7, np.ones_like(z)), 1 / (1 + 0.7 * sigma.derivative(z))))
    a, cls = f(z.copy()), type(sigma)
    if cls.integral is not ml.Activation.integral:
        worst = max(worst, rel((sigma.integral(z + h) - sigma.integral(z - h)) / (2 * h), a))
        if cls.conjugate is not ml.Activation.conjugate:
            worst = max(worst, rel(sigma.integral(z) + sigma.conjugate(a), a * z))
    if cls.inverse is not ml.Activation.inverse:
        worst = max(worst, rel(f(sigma.inverse(a)), a))
    for low, high, slope, offset in sigma.pieces or ():
        u = np.linspace(max(low, -9), min(high, 9), 5)
        worst = max(worst, rel(slope * u + offset, f(u)))
    low, high = sigma.range
    worst = max(worst, float(max(0, low - a.min(), a.max() - high)))
    narrow = z.astype(np.float32)
    same = f(narrow).dtype == sigma.derivative(narrow).dtype == np.float32
    return worst if same else 1.0


def map_gap(make, shape=(3,), sizes=(5, 1, 5)):
    """Return the largest relative error of a map's adjoints, rows and Gram matrix, over batches one after another."""
    rng, worst, phi, seen = np.random.default_rng(7), 0.0, make().for_images(shape), []
    theta = phi.initial_theta(np.random.default_rng(3))
    worst = max(worst, 0.0 if rel(theta, phi.initial_theta(np.random.default_rng(4))) > 0 else 1.0)
    theta = rng.normal(size=theta.shape)
    zeros = np.zeros((1, *shape))
    for n in sizes:
        a = rng.normal(size=(n, *shape))
        kept = a.copy()
        z = phi.forward(theta, a)
        seen.append((z, z.copy()))
        worst = max([worst, rel(a, kept), *[rel(first, copy) for first, copy in seen]])
        g, a = rng.normal(size=z.shape), kept
        back = phi.adjoint_input(theta, g)
        from_a = phi.forward(theta, a.copy()) - phi.forward(theta, zeros)
        worst = max(worst, rel((back * a).sum(), (from_a * g).sum()))
        direction = phi.adjoint_theta(a, g)
        change = rng.normal(size=theta.shape)
        worst = max(worst, rel((direction * change).sum(), (phi.forward(change, a.copy()) * g).sum()))
        full = np.hstack([phi.rows(a), np.ones((len(phi.rows(a)), 1))])
        worst = max(worst, rel(full @ theta, phi.columns(phi.forward(theta, a.copy()))))
        worst = max(worst, rel(phi.gram(a, side="parameter").matrix, full.T @ full))
        other = phi.adjoint_input(theta, 2 * g)
        worst = max(worst, rel(2 * back, other))
        theta *= 0.5  # in place, as an optimizer does
        worst = max(worst, rel(phi.adjoint_input(theta, g), 0.25 * other))
    return worst


def loss_gap(make, labels=False, rows=5):
    """Return the largest relative error of a loss's gradient, prox, sums and dtypes, over two batches."""
    rng, worst, h = np.random.default_rng(7), 0.0, 1e-6
    for reduction in ("mean", "sum"):
        loss = make(reduction)
        for n in (rows, 3):
            z = rng.normal(size=(n, 3))
            y = rng.integers(0, 3, n) if labels else rng.random((n, 3))
            kept, v = z.copy(), rng.normal(size=z.shape)
            g = loss.gradient(z, y)
            worst, z = max(worst, rel(z, kept)), kept
            slope = (loss.value(z + h * v, y) - loss.value(z - h * v, y)) / (2 * h)
            worst = max(worst, rel((g * v).sum(), slope))
            tau = 0.7
            u = loss.prox(z.copy(), y, tau)
            worst = max(worst, rel(loss.gradient(u.copy(), y) + u / tau, z / tau))
            weight = 1 / n if reduction == "mean" else 1.0
            worst = max(worst, rel(loss.value(z, y), weight * loss.value_per_sample(z, y).sum()))
            if loss.gradient(z.astype(np.float32), y if labels else y.astype(np.float32)).dtype != np.float32:
                worst = 1.0
    return worst


# ---- transfers


def transfer(name, what, make, right=False, gap=None):
    """Put a transfer on the list."""
    add("transfer", name, what, lambda seed: ml.verify(make(), seed=seed), gap or (lambda: transfer_gap(make)), right)


def logistic(z):
    return 1 / (1 + np.exp(-z))


class SwishHalf(ml.Activation):
    def forward(self, z):
        return z * logistic(z)

    def derivative(self, z):
        return logistic(z)


transfer("swish-half", "the derivative of z s(z) is s(z), the term z s' is missing", SwishHalf)


class EluNoAlpha(ml.Activation):
    range = (-1.5, math.inf)

    def forward(self, z):
        return np.where(z > 0, z, 1.5 * np.expm1(np.minimum(z, 0)))

    def derivative(self, z):
        return np.where(z > 0, np.ones_like(z), np.exp(np.minimum(z, 0)))


transfer("elu-alpha", "ELU with alpha = 1.5, whose derivative on the left has no alpha", EluNoAlpha)


class SoftsignSquare(ml.Activation):
    range = (-1.0, 1.0)

    def forward(self, z):
        return z / (1 + abs(z))

    def derivative(self, z):
        return 1 / (1 + z * z)


transfer("softsign", "softsign with 1/(1 + z²), arctan's derivative", SoftsignSquare)


class GeluMixed(ml.Activation):
    def forward(self, z):
        return z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    def derivative(self, z):
        erf = np.vectorize(math.erf, otypes=[z.dtype])
        density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return (1 + erf(z / math.sqrt(2))) / 2 + z * density


transfer("gelu-mixed", "forward by the tanh formula, derivative by the exact one", GeluMixed)


class HardSigmoidMixed(ml.Activation):
    range = (0.0, 1.0)

    def forward(self, z):
        return np.clip(z / 6 + 0.5, 0, 1)

    def derivative(self, z):
        return ((abs(z) < 2.5) / 6).astype(z.dtype)


transfer("hard-sigmoid", "cut at ±3, its derivative at ±2.5 (another library's limits)", HardSigmoidMixed)


class Arctan(ml.Activation):
    range = (-math.pi / 2, math.pi / 2)

    def forward(self, z):
        return np.arctan(z)

    def derivative(self, z):
        return 1 / (1 + z * z)

    def integral(self, z):
        return z * np.arctan(z) - np.log1p(z * z)


transfer("arctan-integral", "F has log(1 + z²) without its factor ½", Arctan)


class SoftplusBeta(ml.Activation):
    range = (0.0, math.inf)

    def forward(self, z):
        return np.logaddexp(2 * z, z.dtype.type(0)) / 2

    def derivative(self, z):
        return logistic(z)


transfer("softplus-beta", "softplus of sharpness 2, the derivative of sharpness 1", SoftplusBeta)


class TanhOfZ(ml.Tanh):
    def adjoint(self, z, a, aux, g):
        return g * (1 - z * z)


transfer("tanh-adjoint-z", "the adjoint takes 1 − z² where it means 1 − a²", TanhOfZ)


class LeakyWrongInverse(ml.LeakyReLU):
    def inverse(self, a):
        return np.where(a > 0, a, a * self.slope)


transfer("leaky-inverse", "the inverse multiplies by the slope on the left", lambda: LeakyWrongInverse(0.2))


class LeakyWrongConjugate(ml.LeakyReLU):
    def conjugate(self, a):
        return a * a / 2


transfer("leaky-conjugate", "F* is a²/2 on the left too, without 1/slope", lambda: LeakyWrongConjugate(0.2))


class SigmoidHalfEntropy(ml.Sigmoid):
    def conjugate(self, a):
        return a * np.log(np.maximum(a, 1e-300))


transfer("sigmoid-conjugate", "F* has a log a only, (1 − a) log(1 − a) is missing", SigmoidHalfEntropy)


class TanhRange(ml.Tanh):
    range = (0.0, 1.0)


transfer("tanh-range", "the range is the sigmoid's, (0, 1)", TanhRange)


class Relu6(ml.Activation):
    range = (0.0, 6.0)
    closed = True
    pieces = ((-math.inf, 0.0, 0.0, 0.0), (0.0, 6.0, 1.0, 0.0), (6.0, math.inf, 0.0, 6.0))

    def forward(self, z):
        return np.clip(z, 0, 6)

    def derivative(self, z):
        return ((z > 0) & (z < 6)).astype(z.dtype)

    def integral(self, z):
        inside = self.forward(z)
        return inside * (z - inside / 2)


class Relu6Piece(Relu6):
    pieces = ((-math.inf, 0.0, 0.0, 0.0), (0.0, 6.0, 1.0, 0.0), (6.0, math.inf, 0.0, 0.0))


class Relu6Integral(Relu6):
    def integral(self, z):
        return np.maximum(z, 0) ** 2 / 2


transfer("relu6-piece", "the last piece has offset 0 instead of 6", Relu6Piece)
transfer("relu6-integral", "F stays z²/2 beyond 6", Relu6Integral,
         gap=lambda: transfer_gap(Relu6Integral, scales=(1, 9)))


class NaiveSoftplus(ml.Softplus):
    def forward(self, z):
        return np.log(1 + np.exp(z))


transfer("softplus-overflow", "log(1 + exp z) as it stands: inf from z = 710 on", NaiveSoftplus,
         gap=lambda: rel(NaiveSoftplus().forward(np.array([[800.0]])), np.array([[800.0]])))


class SoftmaxWrongSum(ml.Transfer):
    def apply(self, z, training=False, rng=None):
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True), None

    def adjoint(self, z, a, aux, g):
        return a * (g - g.mean(axis=-1, keepdims=True))


transfer("softmax-mean", "the adjoint subtracts the plain mean of g, not its mean under a", SoftmaxWrongSum)


class StepInDouble(ml.ReLU):
    def derivative(self, z):
        return np.where(z > 0, 1.0, 0.0)


transfer("derivative-float64", "the derivative of float32 values is float64", StepInDouble)


class InPlaceRelu(ml.ReLU):
    def forward(self, z):
        z[z < 0] = 0
        return z


transfer("relu-in-place", "forward overwrites z", InPlaceRelu)


class Remembering(ml.Activation):
    def forward(self, z):
        self.mask = z > 0
        return np.where(self.mask, z, z.dtype.type(0.3) * z)

    def derivative(self, z):
        return np.where(z > 0, 1, 0.3).astype(z.dtype)

    def adjoint(self, z, a, aux, g):
        return g * np.where(self.mask, 1, 0.3)


transfer("mask-remembered", "the adjoint uses the mask of the last forward call, whichever batch that was", Remembering,
         gap=lambda: remembered_gap())


def remembered_gap():
    """Return the error of an adjoint after another batch has passed."""
    sigma, z = Remembering(), np.array([[1.0, -1.0]])
    a = sigma.forward(z)
    sigma.forward(-z)
    return rel(sigma.adjoint(z, a, None, np.ones((1, 2))), [[1, 0.3]])


class RowNorm(ml.Transfer):
    """Each row minus its mean, over its deviation."""

    def apply(self, z, training=False, rng=None):
        root = np.sqrt(z.var(axis=-1, keepdims=True) + 1e-3)
        normal = (z - z.mean(axis=-1, keepdims=True)) / root
        return normal, (normal, root)

    def adjoint(self, z, a, aux, g):
        normal, root = aux
        g = g - g.mean(axis=-1, keepdims=True) - normal * (g * normal).mean(axis=-1, keepdims=True)
        return g / root


class RowNormNoVariance(RowNorm):
    def adjoint(self, z, a, aux, g):
        return (g - g.mean(axis=-1, keepdims=True)) / aux[1]


transfer("row-norm", "layer normalisation whose adjoint holds the variance fixed", RowNormNoVariance)


class UnitRows(ml.Transfer):
    def apply(self, z, training=False, rng=None):
        norm = np.sqrt((z * z).sum(axis=-1, keepdims=True) + 1e-6)
        return z / norm, norm

    def adjoint(self, z, a, aux, g):
        return (g - a * (a * g).sum(axis=-1, keepdims=True)) / aux


class UnitRowsNoProjection(UnitRows):
    def adjoint(self, z, a, aux, g):
        return g / aux


transfer("unit-rows", "rows of norm 1, whose adjoint forgets to project", UnitRowsNoProjection)


class PoolNoShare(ml.AvgPool2d):
    def adjoint(self, z, a, aux, g):
        return super().adjoint(z, a, aux, g) * self.size


transfer("pool-share", "average pooling, whose adjoint divides by the side of the window and not by its area",
         lambda: PoolNoShare(2), gap=lambda: transfer_gap(lambda: PoolNoShare(2), (4, 4, 2)))


class PoolTies(ml.MaxPool2d):
    def apply(self, z, training=False, rng=None):
        return super().apply(z)[0], None

    def adjoint(self, z, a, aux, g):
        return self.gather(z, (g * (view == a) for view in self.views(z)))


transfer("pool-ties", "max pooling: of equal maxima each takes the whole signal", lambda: PoolTies(2),
         gap=lambda: rel(PoolTies(2).adjoint(np.zeros((1, 2, 2, 1)), np.zeros((1, 1, 1, 1)), None,
                                             np.ones((1, 1, 1, 1))).sum(), 1.0))


class NormFixed(ml.BatchNorm):
    def adjoint(self, z, a, aux, g):
        return g * aux.scale * aux.inverse_deviation


def norm_gap(make):
    """Return the error of a batch norm's adjoint in training, by differences, and of its own gradients."""
    rng, norm, h = np.random.default_rng(7), make(), 1e-6
    norm.scale_shift = rng.normal(size=norm.scale_shift.shape)
    z, g, v = rng.normal(size=(3, 6, norm.channels))
    a, aux = norm.apply(z, training=True)
    slope = ((norm.apply(z + h * v, training=True)[0] - norm.apply(z - h * v, training=True)[0]) * g).sum() / (2 * h)
    worst = rel((norm.adjoint(z, a, aux, g) * v).sum(), slope)
    [own] = norm.gradients(aux, g)
    normal = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + norm.eps)
    worst = max(worst, rel(own, np.stack([(g * normal).sum(axis=0), g.sum(axis=0)])))
    before = norm.running
    norm.commit(aux)
    measured = np.stack([z.mean(axis=0), z.var(axis=0, ddof=1)])
    return max(worst, rel(norm.running, 0.9 * before + 0.1 * measured))


transfer("norm-fixed", "batch norm whose adjoint in training takes mean and variance as constants",
         lambda: NormFixed(3), gap=lambda: norm_gap(lambda: NormFixed(3)))


class NormBiased(ml.BatchNorm):
    def commit(self, aux):
        if aux.batch is not None:
            self.running = (1 - self.momentum) * aux.batch + self.momentum * self.running


transfer("norm-momentum", "the running average gives the batch the weight of the past", lambda: NormBiased(3),
         gap=lambda: norm_gap(lambda: NormBiased(3)))


class NormOwnMean(ml.BatchNorm):
    def gradients(self, aux, g):
        axes = tuple(range(g.ndim - 1))
        return [np.stack([(g * aux.normal).mean(axis=axes), g.mean(axis=axes)])]


transfer("norm-own-mean", "gradients of scale and shift are means over the batch, not sums", lambda: NormOwnMean(3),
         gap=lambda: norm_gap(lambda: NormOwnMean(3)))


class DropoutUnscaled(ml.Dropout):
    def apply(self, z, training=False, rng=None):
        if not training:
            return z, None
        mask = (rng.random(z.shape) >= self.rate).astype(z.dtype)
        return z * mask, mask


transfer("dropout-scale", "dropout without 1/(1 − rate) in training, nor 1 − rate in evaluation",
         lambda: DropoutUnscaled(0.5),
         gap=lambda: rel(DropoutUnscaled(0.5).apply(np.ones((1, 9999)), True, np.random.default_rng(0))[0].mean(), 1.0))


class DropoutNewMask(ml.Dropout):
    def adjoint(self, z, a, aux, g):
        return g if aux is None else g * (a != 0)


transfer("dropout-adjoint", "the adjoint masks but does not scale", lambda: DropoutNewMask(0.5),
         gap=lambda: rel(DropoutNewMask(0.5).adjoint(None, np.ones(3), 2 * np.ones(3), np.ones(3)), 2 * np.ones(3)))


class Squeezed(ml.Tanh):
    def forward(self, z):
        return np.squeeze(np.tanh(z))


transfer("squeeze", "forward squeezes, so that a batch of one sample loses an axis", Squeezed)


class NewtonNoSlope(ml.Tanh):
    def solve_shifted(self, z, c, r):
        return r / (1 + c)


transfer("newton-step", "the Newton step of a prox takes σ′ = 1", NewtonNoSlope)


class SoftmaxShift(ml.Transfer):
    """Softmax with a temperature of 2."""

    def apply(self, z, training=False, rng=None):
        e = np.exp((z - z.max(axis=-1, keepdims=True)) / 2)
        return e / e.sum(axis=-1, keepdims=True), None

    def adjoint(self, z, a, aux, g):
        return a * (g - (a * g).sum(axis=-1, keepdims=True))


transfer("softmax-temperature", "softmax of z/2, whose adjoint has no ½", SoftmaxShift)


# right transfers


class Swish(ml.Activation):
    def forward(self, z):
        return z * logistic(z)

    def derivative(self, z):
        s = logistic(z)
        return s + z * s * (1 - s)


class TanhBySigmoid(ml.Activation):
    range = (-1.0, 1.0)

    def forward(self, z):
        return 2 / (1 + np.exp(-2 * z)) - 1

    def derivative(self, z):
        return 1 / np.cosh(np.minimum(abs(z), 300)) ** 2

    def integral(self, z):
        return np.logaddexp(z, -z) - math.log(2)


class SigmoidByTanh(ml.Sigmoid):
    def forward(self, z):
        return (1 + np.tanh(z / 2)) / 2


class ArctanRight(Arctan):
    def integral(self, z):
        return z * np.arctan(z) - np.log1p(z * z) / 2


class LeakyByAbs(ml.LeakyReLU):
    def forward(self, z):
        return (1 + self.slope) / 2 * z + (1 - self.slope) / 2 * abs(z)


class SoftmaxByJacobian(ml.Transfer):
    def apply(self, z, training=False, rng=None):
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True), None

    def adjoint(self, z, a, aux, g):
        jacobian = a[..., None] * np.eye(a.shape[-1], dtype=a.dtype) - a[..., :, None] * a[..., None, :]
        return np.einsum("...ij,...i->...j", jacobian, g)


class FortranTanh(ml.Tanh):
    def forward(self, z):
        return np.asfortranarray(np.tanh(z))


class SquareRoot(ml.Activation):
    """σ(z) = z + √(1 + z²), squareplus times two; convex, increasing."""

    range = (0.0, math.inf)

    def forward(self, z):
        root = np.sqrt(1 + z * z)
        return np.where(z > 0, z + root, 1 / (root + abs(z)))

    def derivative(self, z):
        return self.forward(z) / np.sqrt(1 + z * z)

    def integral(self, z):
        return (z * z + z * np.sqrt(1 + z * z) + np.arcsinh(z)) / 2

    def inverse(self, a):
        return (a - 1 / a) / 2


class Sine(ml.Activation):
    range = (-1.0, 1.0)

    def forward(self, z):
        return np.sin(z)

    def derivative(self, z):
        return np.cos(z)


class PoolByReshape(ml.AvgPool2d):
    def apply(self, z, training=False, rng=None):
        n, h, w, c = z.shape
        s = self.size
        blocks = z[:, :h // s * s, :w // s * s].reshape(n, h // s, s, w // s, s, c)
        return blocks.mean(axis=(2, 4)), None


transfer("right-swish", "the product rule in full; not monotone", Swish, True)
transfer("right-tanh", "tanh by the sigmoid, its derivative by cosh, F by logaddexp", TanhBySigmoid, True)
transfer("right-sigmoid", "the sigmoid by tanh of half", SigmoidByTanh, True)
transfer("right-arctan", "arctan with its F", ArctanRight, True)
transfer("right-leaky", "a leaky ReLU by |z|", lambda: LeakyByAbs(0.2), True)
transfer("right-relu6", "ReLU6 with pieces and F", Relu6, True, gap=lambda: transfer_gap(Relu6, scales=(1, 9)))
transfer("right-softmax", "softmax, whose adjoint forms each Jacobian", SoftmaxByJacobian, True)
transfer("right-fortran", "tanh that returns columns first", FortranTanh, True)
transfer("right-squareplus", "squareplus with F and inverse", SquareRoot, True, gap=lambda: transfer_gap(SquareRoot))
transfer("right-sine", "sine, neither monotone nor convex in F", Sine, True)
transfer("right-pool", "average pooling by reshape", lambda: PoolByReshape(2), True,
         gap=lambda: transfer_gap(lambda: PoolByReshape(2), (4, 4, 2)))
transfer("right-row-norm", "layer normalisation without parameters", RowNorm, True)
transfer("right-unit-rows", "rows of norm 1, projected", UnitRows, True)


# ---- maps


def linear(name, what, make, right=False, gap=None, shape=(3,)):
    """Put a map on the list."""
    add("map", name, what, lambda seed: ml.verify(make(), seed=seed), gap or (lambda: map_gap(make, shape)), right)


class Scaled(ml.Linear):
    """A map with W/√n_in, as in the neural tangent parametrisation."""

    @property
    def s(self):
        return 1 / math.sqrt(self.n_in)

    def forward(self, theta, a):
        return self.s * (a @ theta[:-1]) + theta[-1]

    def adjoint_input(self, theta, g):
        return self.s * (g @ theta[:-1].T)

    def adjoint_theta(self, a, g):
        return np.vstack([self.s * (a.T @ g), g.sum(axis=0)])

    def rows(self, a):
        return a.dtype.type(self.s) * a

    def gram(self, a, side=None, bias=True):
        return Gram(self.rows(a), side, bias)


class ScaledNoInput(Scaled):
    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T


class ScaledNoTheta(Scaled):
    def adjoint_theta(self, a, g):
        return np.vstack([a.T @ g, g.sum(axis=0)])


class ScaledNoGram(Scaled):
    def gram(self, a, side=None, bias=True):
        return Gram(a, side, bias)


linear("scaled-input", "W/√n: the adjoint in a has no 1/√n", lambda: ScaledNoInput(3, 2))
linear("scaled-theta", "W/√n: the adjoint in θ has no 1/√n", lambda: ScaledNoTheta(3, 2))
linear("scaled-gram", "W/√n: the Gram operator is of the unscaled activations", lambda: ScaledNoGram(3, 2))


class Masked(ml.Linear):
    """A sparse layer: some connections are off. Its Gram operator would differ from unit to unit."""

    @property
    def mask(self):
        return (np.add.outer(np.arange(self.n_in), np.arange(self.n_out)) % 3 > 0).astype(float)

    def forward(self, theta, a):
        return a @ (theta[:-1] * self.mask).astype(a.dtype) + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ (theta[:-1] * self.mask).astype(g.dtype).T

    def adjoint_theta(self, a, g):
        return np.vstack([(a.T @ g) * self.mask.astype(g.dtype), g.sum(axis=0)])


class MaskedGradient(Masked):
    def adjoint_theta(self, a, g):
        return np.vstack([a.T @ g, g.sum(axis=0)])


linear("mask-gradient", "a sparse layer, whose adjoint in θ is dense", lambda: MaskedGradient(3, 2))
linear("mask-gram", "a sparse layer with the Gram operator of the dense one, inherited", lambda: Masked(3, 2))


class BiasMean(ml.Linear):
    def adjoint_theta(self, a, g):
        return np.vstack([a.T @ g, g.mean(axis=0)])


class MeanTheta(ml.Linear):
    def adjoint_theta(self, a, g):
        return np.vstack([a.T @ g, g.sum(axis=0)]) / len(a)


class OffByOne(ml.Linear):
    def adjoint_input(self, theta, g):
        return g @ theta[1:].T


class BiasFirst(ml.Linear):
    def forward(self, theta, a):
        return a @ theta[1:] + theta[0]

    def adjoint_input(self, theta, g):
        return g @ theta[1:].T


linear("bias-mean", "the bias's row of the adjoint in θ is a mean over samples", lambda: BiasMean(3, 2))
linear("theta-mean", "the adjoint in θ is divided by N", lambda: MeanTheta(3, 2))
linear("off-by-one", "the adjoint in a leaves out the first row of θ instead of the last", lambda: OffByOne(3, 2))
linear("bias-first", "forward has the bias in the first row, the adjoint in θ in the last", lambda: BiasFirst(3, 2))


class Buffered(ml.Linear):
    def forward(self, theta, a):
        if getattr(self, "out", None) is None or self.out.shape[0] != len(a) or self.out.dtype != a.dtype:
            self.out = np.empty((len(a), self.n_out), a.dtype)
        np.matmul(a, theta[:-1], out=self.out)
        self.out += theta[-1]
        return self.out


class BufferedBack(ml.Linear):
    def adjoint_input(self, theta, g):
        if getattr(self, "back", None) is None or self.back.shape[0] != len(g) or self.back.dtype != g.dtype:
            self.back = np.empty((len(g), self.n_in), g.dtype)
        return np.matmul(g, theta[:-1].T, out=self.back)


class StaleTranspose(ml.Linear):
    def adjoint_input(self, theta, g):
        if getattr(self, "transposed", None) is None:
            self.transposed = theta[:-1].T.copy()
        return g @ self.transposed


class StaleGram(ml.Linear):
    def gram(self, a, side=None, bias=True):
        self.cache = getattr(self, "cache", {})
        key = (a.shape, side, bias, a.dtype)
        if key not in self.cache:
            self.cache[key] = Gram(a, side, bias)
        return self.cache[key]


class Rounded(ml.Linear):
    def forward(self, theta, a):
        return (a.astype(np.float32) @ theta[:-1].astype(np.float32) + theta[-1].astype(np.float32)).astype(a.dtype)


class Centring(ml.Linear):
    def forward(self, theta, a):
        a *= 0.5
        return 2 * (a @ theta[:-1]) + theta[-1]


class GramNoCross(ml.Linear):
    def gram(self, a, side=None, bias=True):
        gram = super().gram(a, side, bias)
        if gram.side == "parameter" and bias:
            gram.matrix[-1, :-1] = gram.matrix[:-1, -1] = 0
        return gram


class OwnSeed(ml.Linear):
    def initial_theta(self, rng):
        return super().initial_theta(np.random.default_rng(0))


linear("buffer-forward", "forward writes into an array of its own and returns it each time", lambda: Buffered(3, 2))
linear("buffer-adjoint", "the adjoint in a returns the same array each time", lambda: BufferedBack(3, 2))
linear("stale-transpose", "the adjoint in a keeps the Wᵀ of its first call", lambda: StaleTranspose(3, 2))
linear("stale-gram", "the Gram operator is kept by the shape of the batch", lambda: StaleGram(3, 2))
linear("float32-inside", "forward multiplies in float32", lambda: Rounded(3, 2))
linear("input-scaled", "forward halves its input in place", lambda: Centring(3, 2))
linear("gram-no-cross", "the Gram matrix without the products of activations and bias", lambda: GramNoCross(3, 2))
linear("own-seed", "every drawing of θ is that of seed 0", lambda: OwnSeed(3, 2))


class Circular(ml.Map):
    """A linear map of inputs that are rolled by one place."""

    def __init__(self, n_in, n_out):
        self.n_in, self.n_out = n_in, n_out

    @property
    def theta_shape(self):
        return (self.n_in + 1, self.n_out)

    def initial_theta(self, rng):
        return rng.normal(size=self.theta_shape)

    def output_shape(self, input_shape):
        return (self.n_out,)

    def rows(self, a):
        return np.roll(a, 1, axis=1)

    def forward(self, theta, a):
        return self.rows(a) @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return np.roll(g @ theta[:-1].T, -1, axis=1)

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ g, g.sum(axis=0)])


class CircularWrongWay(Circular):
    def adjoint_input(self, theta, g):
        return np.roll(g @ theta[:-1].T, 1, axis=1)


class CircularUnrolled(Circular):
    def adjoint_theta(self, a, g):
        return np.vstack([a.T @ g, g.sum(axis=0)])


linear("roll-way", "a map of rolled inputs, whose adjoint rolls the same way", lambda: CircularWrongWay(3, 2))
linear("roll-theta", "a map of rolled inputs, whose adjoint in θ does not roll", lambda: CircularUnrolled(3, 2))


class ConvUnturned(ml.Conv2d):
    def adjoint_input(self, theta, g):
        k = self.kernel
        turned = theta[:-1].reshape(k, k, -1)[::-1, ::-1].reshape(theta[:-1].shape)
        return super().adjoint_input(np.vstack([turned, theta[-1:]]), g)


class ConvRowOrder(ml.Conv2d):
    def rows(self, a):
        rows, k = super().rows(a), self.kernel
        return rows.reshape(-1, k, k, self.c_in).transpose(0, 3, 1, 2).reshape(len(rows), -1)


class ConvBiasMean(ml.Conv2d):
    def adjoint_theta(self, a, g):
        d = super().adjoint_theta(a, g)
        d[-1] = g.sum(axis=0).mean(axis=(0, 1))
        return d


class ConvEdge(ml.Conv2d):
    def adjoint_theta(self, a, g):
        d = super().adjoint_theta(a, g)
        g = g.copy()
        g[:, -1] = 0
        return np.vstack([super().adjoint_theta(a, g)[:-1], d[-1:]])


class ConvPixels(ml.Conv2d):
    def gram(self, a, side=None, bias=True):
        rows = self.rows(a)
        return Gram(rows[::2] * 2**0.5, side, bias)


IMAGES = (4, 4, 2)
linear("conv-unturned", "the adjoint in a does not turn the kernel", lambda: ConvUnturned(2, 3, 3), shape=IMAGES)
linear("conv-rows", "patches as (channel, row, column) where θ has (row, column, channel)",
       lambda: ConvRowOrder(2, 3, 3), shape=IMAGES)
linear("conv-bias", "the bias's gradient is a mean over pixels", lambda: ConvBiasMean(2, 3, 3), shape=IMAGES)
linear("conv-last-row", "the adjoint in θ leaves out the last row of pixels", lambda: ConvEdge(2, 3, 3), shape=IMAGES)
linear("conv-subsampled", "the Gram operator is made of every other patch, times two", lambda: ConvPixels(2, 3, 3),
       shape=IMAGES)


class OverTime(ml.Map):
    """One linear map for each time step of a sample (T, n_in)."""

    def __init__(self, n_in, n_out):
        self.n_in, self.n_out = n_in, n_out

    @property
    def theta_shape(self):
        return (self.n_in + 1, self.n_out)

    def initial_theta(self, rng):
        return rng.normal(size=self.theta_shape)

    def output_shape(self, input_shape):
        return (input_shape[0], self.n_out)

    def forward(self, theta, a):
        return a @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T

    def adjoint_theta(self, a, g):
        return np.vstack([np.einsum("nti,ntj->ij", a, g), g.sum(axis=(0, 1))[None]])

    def rows(self, a):
        return a.reshape(-1, self.n_in)

    def columns(self, z):
        return z.reshape(-1, self.n_out)

    def gram(self, a, side=None, bias=True):
        return Gram(self.rows(a), side, bias)


class OverTimeOrder(OverTime):
    def columns(self, z):
        return z.swapaxes(0, 1).reshape(-1, self.n_out)


class OverTimeLast(OverTime):
    def adjoint_theta(self, a, g):
        return np.vstack([a[:, -1].T @ g[:, -1], g.sum(axis=(0, 1))[None]])


def over_time(make):
    """Return the report on a map over time steps, in a network that knows the shape of a sample."""
    def call(seed):
        layers = [make(), ml.Tanh(), ml.Flatten(), ml.Linear(8, 3)]
        net = ml.Network(layers, ml.SquaredError(), dtype=np.float64, input_shape=(4, 3))
        return ml.verify(net, seed=seed)
    return call


for name, what, cls in (("time-order", "columns of z by time, rows of a by sample", OverTimeOrder),
                        ("time-last", "the adjoint in θ sees the last time step alone", OverTimeLast)):
    add("map", name, what, over_time(lambda cls=cls: cls(3, 2)),
        lambda cls=cls: map_gap(lambda: cls(3, 2), (4, 3)))
add("map", "right-over-time", "a map of its own for each time step, by einsum", over_time(lambda: OverTime(3, 2)),
    lambda: map_gap(lambda: OverTime(3, 2), (4, 3)), True)


class ByEinsum(ml.Linear):
    def forward(self, theta, a):
        return np.einsum("ni,ij->nj", a, theta[:-1]) + theta[-1]

    def adjoint_input(self, theta, g):
        return np.einsum("nj,ij->ni", g, theta[:-1])

    def adjoint_theta(self, a, g):
        return np.einsum("ni,nj->ij", np.c_[a, np.ones(len(a), a.dtype)], g)


class Strided(ml.Linear):
    def forward(self, theta, a):
        return (theta[:-1].T @ a.T + theta[-1][:, None]).T

    def adjoint_input(self, theta, g):
        return (theta[:-1] @ g.T).T


class ConvByPatches(ml.Conv2d):
    def forward(self, theta, a):
        height, width, _ = self.output_shape(a.shape[1:])
        return (self.rows(a) @ theta[:-1] + theta[-1]).reshape(len(a), height, width, -1)

    def adjoint_theta(self, a, g):
        g = g.reshape(-1, self.c_out)
        return np.vstack([self.rows(a).T @ g, g.sum(axis=0)])


class CachedByContent(ml.Linear):
    def gram(self, a, side=None, bias=True):
        key = (a.tobytes(), a.shape, side, bias)
        if getattr(self, "key", None) != key:
            self.key, self.kept = key, Gram(a.copy(), side, bias)
        return self.kept


class DoubleInside(ml.Linear):
    def forward(self, theta, a):
        return (a.astype(float) @ theta[:-1].astype(float) + theta[-1]).astype(a.dtype)


linear("right-scaled", "W/√n throughout", lambda: Scaled(3, 2), True)
linear("right-einsum", "a linear map by einsum", lambda: ByEinsum(3, 2), True)
linear("right-columns-first", "a linear map that returns transposed views", lambda: Strided(3, 2), True)
linear("right-roll", "a map of rolled inputs", lambda: Circular(3, 2), True)
linear("right-patches", "a convolution by its patch matrix", lambda: ConvByPatches(2, 3, 3), True, shape=IMAGES)
linear("right-cached", "a Gram operator kept by the content of the batch", lambda: CachedByContent(3, 2), True)
linear("right-double", "forward sums in float64 and rounds back", lambda: DoubleInside(3, 2), True)
linear("right-conv-stride", "a strided convolution without padding, even kernel",
       lambda: ml.Conv2d(2, 3, 2, stride=2, padding="valid"), True, shape=IMAGES)


# ---- losses


def loss(name, what, make, right=False, gap=None, labels=False, reduction="mean"):
    """Put a loss on the list."""
    add("loss", name, what, lambda seed: ml.verify(make(reduction), seed=seed), gap or (lambda: loss_gap(make, labels)),
        right)


class NoHalf(ml.SquaredError):
    def value_per_sample(self, z, y):
        return ((z - y) ** 2).sum(axis=-1)


CLASS_WEIGHTS = np.array([1.0, 2.0, 0.5, 1.5, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])


class WeightedValue(ml.SoftmaxCrossEntropy):
    def value_per_sample(self, z, y):
        return CLASS_WEIGHTS[y] * super().value_per_sample(z, y)


class SmoothTargets(ml.SoftmaxCrossEntropy):
    def gradient(self, z, y):
        one_hot = 0.9 * self.targets(z, y) + 0.1 / z.shape[1]
        return ((self.transfer.forward(z) - one_hot) * self.weight(len(z))).astype(z.dtype)


class PerEntry(ml.SquaredError):
    def value(self, z, y):
        return float(((z - y) ** 2).mean()) / 2 if self.reduction == "mean" else super().value(z, y)


class ProxNoWeight(ml.SquaredError):
    def prox(self, v, y, tau):
        return (v + tau * y) / (1 + tau)


class OneNewton(ml.SigmoidCrossEntropy):
    def shifted_inverse(self, v, y, c):
        f = self.transfer
        return v - f.solve_shifted(v, c, c * (f.forward(v) - y))


class ClippedLog(ml.SigmoidCrossEntropy):
    def value_per_sample(self, z, y):
        p = np.clip(logistic(z), 1e-3, 1 - 1e-3)
        return -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=-1)


class NaiveLogSum(ml.SoftmaxCrossEntropy):
    def value_per_sample(self, z, y):
        return np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), y]


class PredictRows(ml.SoftmaxCrossEntropy):
    def predict(self, z):
        return z.argmax(axis=0)


class ProbaLogits(ml.SoftmaxCrossEntropy):
    def proba(self, z):
        return z


class DoubleTargets(ml.SoftmaxCrossEntropy):
    def gradient(self, z, y):
        return (self.transfer.forward(z) - np.eye(z.shape[1])[y]) * self.weight(len(z))


class GradientInPlace(ml.SquaredError):
    def gradient(self, z, y):
        z -= y
        z *= self.weight(len(z))
        return z


class FirstBatch(ml.SquaredError):
    def weight(self, samples):
        self.count = getattr(self, "count", samples)
        return 1 / self.count if self.reduction == "mean" else 1.0


class FromOne(ml.OneHotSquaredError):
    def targets(self, z, y):
        return super().targets(z, y - 1)

    def value_per_sample(self, z, y):
        one_hot = np.zeros_like(z)
        one_hot[np.arange(len(z)), y] = 1
        return ((z - one_hot) ** 2).sum(axis=-1) / 2


class MeanOverOutputs(ml.SigmoidCrossEntropy):
    def gradient(self, z, y):
        return super().gradient(z, y) / z.shape[1]


class ProxSign(ml.SquaredError):
    def shifted_inverse(self, v, y, c):
        return (v - c * y) / (1 + c)


class PoissonWrong(ml.Loss):
    """exp(z) − y z, whose gradient forgets the exponential's argument."""

    transfer = ml.Softplus()

    def value_per_sample(self, z, y):
        return (np.exp(z) - y * z).sum(axis=-1)


class SumReduction(ml.SquaredError):
    def weight(self, samples):
        return 1 / samples


loss("class-weights", "weights of classes in the value, not in the gradient", WeightedValue, labels=True)
loss("smooth-labels", "smoothed labels in the gradient, hard ones in the value", SmoothTargets, labels=True)
loss("mean-of-entries", "the value is the mean over all entries, the gradient over samples", PerEntry)
loss("prox-weight", "the prox forgets that L is a mean: tau in the place of tau/N", ProxNoWeight)
loss("prox-one-newton", "the prox is one Newton step", OneNewton)
loss("clipped-log", "probabilities clipped to [0.001, 0.999] before the logarithm", ClippedLog,
     gap=lambda: rel(ClippedLog("sum").value(np.full((1, 1), 9.0), np.zeros((1, 1))), np.logaddexp(0, 9)))
loss("log-sum-overflow", "log Σ exp z as it stands: inf for logits of 1000", NaiveLogSum, labels=True,
     gap=lambda: rel(NaiveLogSum("sum").value(np.array([[1000.0, 0]]), np.array([1])), 1000.0))
loss("predict-axis", "the label is the largest entry of each column", PredictRows, labels=True,
     gap=lambda: rel(PredictRows("sum").predict(np.eye(3)[[0, 2]]), np.array([0, 2])))
loss("proba-logits", "proba returns logits", ProbaLogits, labels=True,
     gap=lambda: rel(ProbaLogits("sum").proba(np.zeros((1, 2))), np.full((1, 2), 0.5)))
loss("gradient-float64", "the gradient of float32 outputs is float64 (np.eye)", DoubleTargets, labels=True)
loss("gradient-in-place", "the gradient overwrites z", GradientInPlace)
loss("first-batch", "the mean divides by the size of the first batch that was seen", FirstBatch)
loss("labels-from-one", "one-hot rows for labels from 1, the value for labels from 0", FromOne, labels=True)
loss("mean-over-outputs", "the gradient is divided by the number of outputs", MeanOverOutputs)
loss("prox-sign", "the prox has −c y", ProxSign)
loss("poisson-transfer", "Poisson's loss exp z − y z with softplus for its transfer", PoissonWrong)
loss("sum-is-mean", "reduction 'sum' divides by N too", SumReduction, reduction="sum",
     gap=lambda: rel(SumReduction("sum").value(np.ones((4, 1)), np.zeros((4, 1))), 2.0))


class Exponential(ml.Activation):
    range = (0.0, math.inf)

    def forward(self, z):
        return np.exp(z)

    def derivative(self, z):
        return np.exp(z)

    def integral(self, z):
        return np.exp(z)


class Poisson(ml.Loss):
    transfer = Exponential()

    def value_per_sample(self, z, y):
        return (np.exp(z) - y * z).sum(axis=-1)


class SquaredByProducts(ml.SquaredError):
    def value_per_sample(self, z, y):
        r = z - y
        return np.einsum("ij,ij->i", r, r) / 2

    def gradient(self, z, y):
        return np.multiply(np.subtract(z, y), z.dtype.type(self.weight(len(z))))


class SmoothEverywhere(ml.SoftmaxCrossEntropy):
    def targets(self, z, y):
        return z.dtype.type(0.9) * super().targets(z, y) + z.dtype.type(0.1 / z.shape[1])

    def value_per_sample(self, z, y):
        return self.transfer.integral(z) - (self.targets(z, y) * z).sum(axis=-1)

    def gradient(self, z, y):
        return ml.Loss.gradient(self, z, y)


class LogSoftmax(ml.SoftmaxCrossEntropy):
    def value_per_sample(self, z, y):
        shifted = z - z.max(axis=1, keepdims=True)
        return (np.log(np.exp(shifted).sum(axis=1)) - np.take_along_axis(shifted, y[:, None], axis=1)[:, 0])


class ProxBisected(ml.SigmoidCrossEntropy):
    def shifted_inverse(self, v, y, c):
        low, high = v - c, v + c
        for _ in range(80):
            u = (low + high) / 2
            below = u + c * (self.transfer.forward(u) - y) < v
            low, high = np.where(below, u, low), np.where(below, high, u)
        return ((low + high) / 2).astype(v.dtype)


loss("right-poisson", "Poisson's loss, matching the exponential", Poisson, True)
loss("right-squared", "squared error by einsum", SquaredByProducts, True)
loss("right-smooth", "smoothed labels in targets, value and gradient", SmoothEverywhere, True, labels=True)
loss("right-log-softmax", "cross-entropy by a shifted log-softmax", LogSoftmax, True, labels=True)
loss("right-bisection", "a prox by bisection", ProxBisected, True)


# ---- methods of the backward sweep


def small_net(seed, sizes=(3, 5, 4, 2), activation="tanh", reduction="mean"):
    """Return a network of small random weights in float64, and two batches for it."""
    rng = np.random.default_rng(seed)
    net = ml.mlp(list(sizes), activation=activation, loss=ml.SquaredError(reduction), dtype=np.float64, seed=seed)
    batches = [(rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[-1]))) for n in (7, 7, 6, 5)]
    return net, batches


def runs(method, seed, whole=False, **net):
    """Return the directions of four calls, between which steps are taken, the last after a reset."""
    net, batches = small_net(seed, **net)
    found = []
    if callable(method) and not isinstance(method, ml.Method):
        method = ml.methods.as_method(method)
    for k, (X, y) in enumerate(batches[:1] * 4 if whole else batches):
        if k == 3:
            method.reset()
        _, d = method.direction(net, X, y)
        found.append(np.concatenate([x.ravel() for x in d]))
        ml.SGD(lr=0.5).step(net.parameters, d)
    return found


def method_gap(make, like, whole=False, **net):
    """Return the largest relative difference of two methods' directions, each on its own path."""
    worst = 0.0
    for seed in (1, 2):
        for mine, theirs in zip(runs(make(), seed, whole, **net), runs(like(), seed, whole, **net)):
            worst = max(worst, rel(mine, theirs))
    return worst


def method(name, what, make, like, right=False, gap=None, **net):
    """Put a method on the list, with a reference that it should equal."""
    add("method", name, what, lambda seed: ml.verify(make(), like=like(), seed=seed),
        gap or (lambda: method_gap(make, like, **net)), right)


def as_made(function):
    """Return a maker of a function."""
    return lambda: function


def tilde(block):
    """Return ã."""
    return np.c_[block.a, np.ones(len(block.a), block.a.dtype)]


def damped(C, beta):
    return C + beta * np.eye(len(C), dtype=C.dtype)


def explicit(block):
    return block.phi.adjoint_theta(block.a, block.g)


def prox(tau=0.3, **more):
    return lambda: ml.ProxProp(tau_theta=tau, **more)


def averaged_gram(block):
    A = tilde(block)
    return explicit(block) if block.last else np.linalg.solve(damped(A.T @ A / len(A), 1 / 0.3), explicit(block))


def bias_outside(block):
    if block.last:
        return explicit(block)
    W = np.linalg.solve(damped(block.a.T @ block.a, 1 / 0.3), block.a.T @ block.g)
    return np.vstack([W, block.g.sum(axis=0)[None]])


def last_too(block):
    A = tilde(block)
    return np.linalg.solve(damped(A.T @ A, 1 / 0.3), explicit(block))


def woodbury_no_tau(block):
    A = tilde(block)
    return explicit(block) if block.last else A.T @ np.linalg.solve(damped(0.3 * A @ A.T, 1.0), block.g)


def woodbury_no_ones(block):
    A = tilde(block)
    return explicit(block) if block.last else A.T @ np.linalg.solve(damped(block.a @ block.a.T, 1 / 0.3), block.g)


def diagonal_only(block):
    A = tilde(block)
    return explicit(block) if block.last else explicit(block) / ((A * A).sum(axis=0) + 1 / 0.3)[:, None]


def ratio(x, y):
    """Return x/y, and x where y is 0: a unit whose gradient is 0 is solved."""
    return x / np.where(y == 0, 1, y).astype(y.dtype)


def cg(block, steps, wrong=""):
    """Conjugate gradients on each column of (ãᵀã + I/τ) d = ∇."""
    if block.last:
        return explicit(block)
    A, b = tilde(block), explicit(block)
    x, r = np.zeros_like(b), b.copy()
    p, rho = r.copy(), (r * r).sum(axis=0)
    axis = None if wrong == "joint" else 0
    for _ in range(steps):
        q = A.T @ (A @ p) + p / 0.3
        if wrong == "undamped":
            q = A.T @ (A @ p)
        alpha = ratio((r * r).sum(axis=axis), (p * q).sum(axis=axis))
        x, r = x + alpha * p, r - alpha * q
        new = (r * r).sum(axis=0)
        p, rho = r + (ratio(rho, new) if wrong == "ratio" else ratio(new, rho)) * p, new
        if wrong == "steepest":
            p = r
    return x


method("prox-mean-gram", "the Gram matrix is a mean, the gradient already one: damping N times too large",
       as_made(averaged_gram), prox())
method("prox-bias-apart", "the implicit step in W alone, the bias takes its gradient", as_made(bias_outside), prox())
method("prox-last-implicit", "the last map takes the implicit step too, the reference is explicit there",
       as_made(last_too), prox())
method("woodbury-tau", "the push-through identity without its factor τ", as_made(woodbury_no_tau), prox())
method("woodbury-ones", "the sample Gram matrix without the column of ones", as_made(woodbury_no_ones), prox())
method("prox-diagonal", "only the diagonal of the Gram matrix", as_made(diagonal_only), prox())
method("cg-short", "range(1, 3): two steps of conjugate gradients, not three", as_made(lambda block: cg(block, 2)),
       prox(solver="cg3"))
method("cg-ratio", "the ratio of residuals upside down", as_made(lambda block: cg(block, 3, "ratio")),
       prox(solver="cg3"))
method("cg-joint", "one step length for all units, where the reference has one for each",
       as_made(lambda block: cg(block, 3, "joint")), prox(solver="cg3"))
method("cg-undamped", "conjugate gradients without I/τ", as_made(lambda block: cg(block, 3, "undamped")),
       prox(solver="cg3"))
method("cg-steepest", "directions are residuals: steepest descent", as_made(lambda block: cg(block, 3, "steepest")),
       prox(solver="cg3"))


class NewSignals(ml.ProxProp):
    new_weights = True


class Backwards(ml.ProxProp):
    def step_size(self, block):
        return self.tau_theta[block.thetas - block.k]


class OneInverse(ml.Method):
    """Keeps the factorised Gram matrix of each map from its first batch."""

    def __init__(self):
        self.kept = {}

    def propose(self, block):
        if block.last:
            return explicit(block)
        key = (block.l, block.theta.shape)
        if key not in self.kept:
            A = tilde(block)
            self.kept[key] = np.linalg.inv(damped(A.T @ A, 1 / 0.3))
        return (self.kept[key] @ explicit(block)).astype(block.theta.dtype)


class SignalInPlace(ml.Method):
    def propose(self, block):
        g = block.g
        g *= 0.5
        return 2 * block.phi.adjoint_theta(block.a, g)


class OneBuffer(ml.Method):
    """Writes its step into one array for each shape."""

    def __init__(self):
        self.buffers = {}

    def propose(self, block):
        key = (block.theta.shape, block.theta.dtype)
        out = self.buffers.setdefault(key, np.empty_like(block.theta))
        out[...] = explicit(block)
        return out


class KeepsMomentum(ml.Method):
    """Adds nine tenths of its last step, which nobody told it."""

    def __init__(self):
        self.last = {}

    def propose(self, block):
        step = explicit(block)
        if self.last.get(block.k) is not None and self.last[block.k].shape == step.shape:
            step = step + 0.9 * self.last[block.k]
        self.last[block.k] = step
        return step


def in_float32(block):
    A = tilde(block).astype(np.float32)
    if block.last:
        return explicit(block)
    return np.linalg.solve(damped(A.T @ A, np.float32(1 / 0.3)), A.T @ block.g.astype(np.float32)).astype(block.a.dtype)


def clipped(block):
    d = explicit(block)
    return d / max(1, np.linalg.norm(d) / 0.5)


def masked_signal(block):
    return block.phi.adjoint_theta(block.a, block.g if block.g_a is None else block.g_a)


def l2_inside(block):
    return explicit(block) + 0.01 * block.theta


method("signals-new-weights", "signals pass through the new weights, as in SIBP", lambda: NewSignals(0.3), prox())
method("tau-backwards", "one τ for each map, counted from the last",
       lambda: Backwards([0.1, 0.4, 2.0], last="implicit"), lambda: ml.ProxProp([0.1, 0.4, 2.0], last="implicit"),
       gap=lambda: method_gap(lambda: Backwards([0.1, 0.4, 2.0], last="implicit"),
                              lambda: ml.ProxProp([0.1, 0.4, 2.0], last="implicit")))
method("first-inverse", "the inverse of the first batch's Gram matrix is kept for all others", OneInverse, prox())
method("signal-in-place", "the step halves the signal in place, before it passes on", SignalInPlace, ml.BackProp)
method("one-buffer", "steps of maps of one shape are one array", OneBuffer, ml.BackProp, sizes=(4, 4, 4, 2))
method("hidden-momentum", "nine tenths of the last step are added", KeepsMomentum, ml.BackProp)
method("prox-float32", "the normal equations in float32 for a float64 network", as_made(in_float32), prox())
method("clip-left-on", "the gradient clipped to norm ½", as_made(clipped), ml.BackProp)
method("mask-forgotten", "the unmasked signal g_a in the place of g", as_made(masked_signal), ml.BackProp)
method("decay-left-in", "0.01 θ added to the gradient", as_made(l2_inside), ml.BackProp)


def loco(**more):
    return lambda: ml.LocoProp("S", gamma=2.0, steps="exact", eta=0.3, **more)


def loco_no_gamma(block):
    A = tilde(block)
    return np.linalg.solve(damped(A.T @ A, 1 / 0.3), explicit(block))


def loco_eta(block):
    A = tilde(block)
    return np.linalg.solve(damped(A.T @ A, 0.3), 2 * explicit(block))


class SquaredInside(ml.LocoProp):
    """Descends on ½‖f(ãθ) − target‖², with f′, in the place of the matching loss."""

    def propose(self, block):
        target = block.f.forward(block.z) - self.gamma * block.g
        theta = block.theta.copy()
        for rate in self.rates():
            z = block.phi.forward(theta, block.a)
            a = block.f.forward(z)
            theta -= rate * block.phi.adjoint_theta(block.a, block.f.adjoint(z, a, None, a - target))
        return block.theta - theta


class OldOutput(ml.LocoProp):
    def propose(self, block):
        theta = block.theta.copy()
        for rate in self.rates():
            theta -= rate * block.phi.adjoint_theta(block.a, self.gamma * block.g)
        return block.theta - theta


class LateDecay(ml.LocoProp):
    def rates(self):
        T = self.steps
        return [self.local_lr * max(1 - (t + 1) / T, 0.25) for t in range(T)]


class NoAnchor(ml.LocoProp):
    @property
    def damping(self):
        return 0.0


class UnmaskedTarget(ml.LocoProp):
    def gap(self, block, form=lambda values: values):
        return super().gap(block if block.last else block._replace(g=block.g_a), form)


def loco_m(cls=ml.LocoProp, **more):
    return lambda: cls("M", gamma=1.0, steps=4, local_lr=0.1, local_optimizer="sgd", **more)


method("loco-gamma", "the target takes a step of 1 where γ = 2", as_made(loco_no_gamma), loco())
method("loco-eta", "the damping is η, not 1/η", as_made(loco_eta), loco())
method("loco-m-squared", "the squared loss of f(z), with f′, in the place of the matching loss",
       loco_m(SquaredInside), loco_m())
method("loco-old-output", "all local steps take the gradient at the old θ", loco_m(OldOutput), loco_m())
method("loco-late-decay", "the decay of the local rate counts from 1", loco_m(LateDecay), loco_m())
method("loco-no-anchor", "no regulariser where η = 0.5", loco_m(NoAnchor, eta=0.5), loco_m(eta=0.5))
method("loco-unmasked", "targets from the unmasked signal", loco_m(UnmaskedTarget), loco_m())


class HalfLambda(ml.SemiImplicit):
    def solve(self, problem):
        problem.damping = problem.damping / 2
        return super().solve(problem)


class OldSignals(ml.SemiImplicit):
    new_weights = False


class MeanEta(ml.SemiImplicit):
    def gap(self, block):
        return super().gap(block._replace(weight=1.0))


class MaskedSignal(ml.SemiImplicit):
    def gap(self, block):
        return super().gap(block if block.last else block._replace(g_a=block.g))


class OldWForB(ml.SemiImplicit):
    """b from the old W: both blocks start at the same output."""

    def propose(self, block):
        weights = super().propose(block)[:-1]
        alone = super().propose(block._replace(a=np.zeros_like(block.a)))[-1:]
        return np.vstack([weights, alone])


def sibp(cls=ml.SemiImplicit, **more):
    return lambda: cls(eta=0.4, lam=1.5, **more)


method("sibp-lambda", "the damping is λ, where λ‖·‖² has no ½", sibp(HalfLambda), sibp(),
       gap=lambda: method_gap(sibp(HalfLambda), sibp()))
method("sibp-old-signals", "signals pass through the old weights", sibp(OldSignals), sibp())
method("sibp-mean-eta", "η is not rescaled to the summed loss", sibp(MeanEta), sibp())
method("sibp-masked", "targets a − η g with the masked signal", sibp(MaskedSignal), sibp())
method("sibp-old-w", "b is fitted with the old W", sibp(OldWForB), sibp())


class FoofSum(ml.FOOF):
    def solve(self, gram, g, damping):
        return super().solve(gram, g, damping / self.samples)


class FoofFlipped(ml.FOOF):
    def average(self, name, factor):
        rate = min(1 - 1 / self.steps, self.decay)
        if name in self.factors:
            factor *= rate
            factor += (1 - rate) * self.factors[name]
        self.factors[name] = factor
        return factor


class FoofColdStart(ml.FOOF):
    def average(self, name, factor):
        factor *= 1 - self.decay
        if name in self.factors:
            factor += self.decay * self.factors[name]
        self.factors[name] = factor
        return factor


class FoofNoReset(ml.FOOF):
    def reset(self):
        if not hasattr(self, "factors") or not self.decay:
            super().reset()


class FoofForgetsSteps(ml.FOOF):
    def state_dict(self):
        return {**super().state_dict(), "steps": 1} if self.decay and self.steps else super().state_dict()


def resumed_gap(make, like):
    """Return how far a method that is resumed from its state after two calls is from one that went on."""
    net, batches = small_net(1)
    one, other = make(), like()
    for X, y in batches[:2]:
        one.direction(net, X, y), other.direction(net, X, y)
    again = make()
    again.load_state_dict(one.state_dict())
    X, y = batches[2]
    return max(rel(a, b) for a, b in zip(again.direction(net, X, y)[1], other.direction(net, X, y)[1]))


def foof(cls=ml.FOOF, decay=0.0):
    return lambda: cls(0.2, decay=decay)


method("foof-sum", "λ added to the sum over samples, not to the mean", foof(FoofSum), foof())
method("foof-flipped", "the running average weighs old and new the wrong way round", foof(FoofFlipped, 0.8),
       foof(decay=0.8))
method("foof-cold", "the running average starts at 0", foof(FoofColdStart, 0.8), foof(decay=0.8))
method("foof-no-reset", "reset keeps the running factors", foof(FoofNoReset, 0.8), foof(decay=0.8))
add("method", "foof-steps-lost", "the state forgets how many steps there were",
    lambda seed: ml.verify(FoofForgetsSteps(0.2, decay=0.8), seed=seed),
    lambda: resumed_gap(foof(FoofForgetsSteps, 0.8), foof(decay=0.8)))


class KfacPi(ml.KFAC):
    def dampings(self, mean_a, mean_s):
        return super().dampings(mean_a, mean_s)[::-1]


class KfacMean(ml.KFAC):
    def signal_factor(self, block, g, side):
        S, side = super().signal_factor(block, g, side)
        return S / self.samples**2, side


class KfacWrongSide(ml.KFAC):
    def solve(self, gram, g, damping):
        return super().solve(gram, g, 0.0 + damping) / self.samples


def kfac(cls=ml.KFAC, **more):
    return lambda: cls(0.2, **more)


method("kfac-empirical", "S of the samples' own gradients, where type 2 is claimed", kfac(fisher="empirical"), kfac())
method("kfac-pi", "π upside down", kfac(KfacPi, split="heuristic"), kfac(split="heuristic"))
method("kfac-mean-signals", "S from signals of the mean loss, N² too small", kfac(KfacMean), kfac())
method("kfac-twice-mean", "the gradient is divided by N once more", kfac(KfacWrongSide), kfac())


class BlockGaussNewton(ml.Method):
    """Gauss–Newton of each map by itself: the blocks off the diagonal are left out."""

    def directions(self, net, state, y):
        steps, own = [], ml.BackProp().directions(net, state, y)
        N = len(state.a[0])
        gradient = [d / (net.loss_function.weight(N) * N) for d in own]
        f, z = net.loss_function.transfer, state.z[net.depth]
        for k, d in enumerate(gradient):
            G = np.zeros((d.size, d.size))
            for i in range(d.size):
                t = [np.zeros_like(x) for x in gradient]
                t[k].flat[i] = 1
                moved = ml.methods.backward.gauss_newton.network_jvp(net, state, t)
                bent = f.adjoint(z, f.forward(z), None, moved) / N
                G[:, i] = ml.methods.backward.gauss_newton.pulled_back(net, state, bent)[
                    sum(x.size for x in gradient[:k]):][:d.size]
            steps.append(np.linalg.solve(damped(G, 0.3), d.ravel()).reshape(d.shape).astype(d.dtype))
        return steps


def gauss_newton(cls=ml.GaussNewton, **more):
    return lambda: cls(0.3, **{"tolerance": 1e-9, **more})


class NotRescaled(ml.GaussNewton):
    def directions(self, net, state, y):
        return [1.5 * d for d in super().directions(net, state, y)]


method("gn-blocks", "only the diagonal blocks of G", BlockGaussNewton, gauss_newton())
method("gn-loose", "conjugate gradients to a tolerance of 0.1, the reference to 1e-9", gauss_newton(tolerance=0.1),
       gauss_newton())
method("gn-scale", "a step 1.5 times too long", gauss_newton(NotRescaled), gauss_newton())


def search_wrong_axis(block):
    d = block.phi.adjoint_theta(block.a, block.g)
    change = block.phi.forward(d, block.a)
    return d * (d * d).sum() / ((change * change).sum() + 1e-12)


method("search-one-length", "the README's line search with one length for all units", as_made(search_wrong_axis),
       lambda: ml.ProxProp(tau_theta=1e12, solver="cg1", last="implicit"))


# methods with an objective


def ridge_objective(block, theta):
    z = block.phi.forward(theta, block.a)
    return 0.5 * ((z - block.z + block.g) ** 2).sum() + 0.5 / 0.3 * ((theta - block.theta) ** 2).sum() \
        + 0.1 * (theta[:-1] ** 2).sum()


def ridge_step(block, on_bias=False, factor=0.2):
    A = tilde(block)
    decay = np.full((len(block.theta), 1), factor)
    decay[-1] = factor if on_bias else 0
    decay = decay.astype(block.theta.dtype)
    C = damped(A.T @ A, 1 / 0.3) + np.diag(decay[:, 0])
    return np.linalg.solve(C, explicit(block) + decay * block.theta)


def no_ridge_right(block):
    A = tilde(block)
    return np.linalg.solve(damped(A.T @ A, 1 / 0.3), explicit(block) + 0.2 * np.vstack([block.theta[:-1],
                                                                                      0 * block.theta[-1:]]))


def objective_gap(step, objective):
    """Return by how much a step misses the minimum of an objective, by its gradient in differences."""
    net, [(X, y), *_] = small_net(3)
    worst = 0.0

    def probe(block):
        nonlocal worst
        d = step(block)
        new, h = block.theta - d, 1e-5
        for i in range(new.size):
            e = np.zeros_like(new)
            e.flat[i] = h
            slope = (objective(block, new + e) - objective(block, new - e)) / (2 * h)
            old = (objective(block, block.theta + e) - objective(block, block.theta - e)) / (2 * h)
            worst = max(worst, abs(slope) / (abs(old) + 0.1))
        return d

    ml.methods.as_method(probe).direction(net, X, y)
    return worst


def objective(name, what, step, energy, right=False):
    """Put a method with an objective on the list."""
    add("method", name, what, lambda seed: ml.verify(step, objective=energy, seed=seed),
        lambda: objective_gap(step, energy), right)


objective("decay-on-bias", "weight decay pulls the bias too, the objective's does not",
          lambda block: ridge_step(block, on_bias=True), ridge_objective)
objective("decay-half", "decay 0.1 ‖W‖² as 0.1 in the normal equations, not 0.2",
          lambda block: ridge_step(block, factor=0.1), ridge_objective)
objective("decay-not-in-matrix", "decay on the right-hand side only", no_ridge_right, ridge_objective)


def lasso_objective(block, theta):
    z = block.phi.forward(theta, block.a)
    L = 1.01 * np.linalg.norm(tilde(block), 2) ** 2
    linear_part = (explicit(block) * (theta - block.theta)).sum()
    return linear_part + L / 2 * ((theta - block.theta) ** 2).sum() + 0.05 * abs(theta).sum() + 0 * z.sum()


def lasso_step(block, scaled=True):
    L = 1.01 * np.linalg.norm(tilde(block), 2) ** 2
    v = block.theta - explicit(block) / L
    cut = block.theta.dtype.type(0.05 / L if scaled else 0.05)
    return block.theta - np.sign(v) * np.maximum(abs(v) - cut, 0)


def lasso_gap(step):
    """Return how far a step is from soft thresholding at 0.05/L."""
    net, [(X, y), *_] = small_net(3)
    found = [rel(a, b) for a, b in zip(ml.methods.as_method(step).direction(net, X, y)[1],
                                       ml.methods.as_method(lasso_step).direction(net, X, y)[1])]
    return max(found)


add("method", "lasso-threshold", "soft thresholding at λ, not at λ/L",
    lambda seed: ml.verify(lambda block: lasso_step(block, False), objective=lasso_objective, seed=seed),
    lambda: lasso_gap(lambda block: lasso_step(block, False)))
add("method", "right-lasso", "a proximal gradient step with soft thresholding, by its objective",
    lambda seed: ml.verify(lasso_step, objective=lasso_objective, seed=seed), lambda: lasso_gap(lasso_step), True)
objective("right-decay", "weight decay on W only, in objective and step", ridge_step, ridge_objective, True)


# right methods


def by_samples(block):
    A = tilde(block)
    return explicit(block) if block.last else A.T @ np.linalg.solve(damped(A @ A.T, 1 / 0.3), block.g)


def by_svd(block):
    if block.last:
        return explicit(block)
    _, s, V = np.linalg.svd(tilde(block), full_matrices=False)
    b = explicit(block)
    return V.T @ ((V @ b) / (s**2 + 1 / 0.3)[:, None]) + 0.3 * (b - V.T @ (V @ b))


def by_lstsq(block):
    if block.last:
        return explicit(block)
    A, n = tilde(block), len(block.theta)
    full = np.vstack([A, np.eye(n, dtype=A.dtype) * (1 / 0.3) ** 0.5])
    return np.linalg.lstsq(full, np.vstack([block.g, np.zeros((n, block.g.shape[1]), A.dtype)]), rcond=None)[0]


def fixed_blocks(block):
    """The gradient by blocks of two samples, the last one shorter."""
    total = np.zeros_like(block.theta)
    for i in range(0, len(block.a), 2):
        total += block.phi.adjoint_theta(block.a[i:i + 2], block.g[i:i + 2])
    return total


def by_columns(block):
    A = tilde(block)
    if block.last:
        return np.stack([A.T @ g for g in block.g.T], axis=1)
    L = np.linalg.cholesky(damped(A.T @ A, 1 / 0.3))
    return np.stack([np.linalg.solve(L.T, np.linalg.solve(L, A.T @ g)) for g in block.g.T], axis=1)


class LocoByProx(ml.Method):
    def propose(self, block):
        A = tilde(block)
        return 2 * np.linalg.solve(damped(A.T @ A, 1 / 0.3), A.T @ block.g)


class FoofByProx(ml.Method):
    def directions(self, net, state, y):
        self.samples = len(state.a[0])
        return super().directions(net, state, y)

    def propose(self, block):
        A, N = tilde(block), self.samples
        return np.linalg.solve(damped(A.T @ A / N, 0.2), A.T @ (block.g / (N * block.weight)))


class MyProx(ml.ProxProp):
    """A subclass with another way to the same solution."""

    def propose(self, block):
        return super().propose(block) if block.last else by_samples(block)


class LogsItself(ml.ProxProp):
    columns = ("calls",)

    def __init__(self, tau_theta=0.3):
        super().__init__(tau_theta)
        self.calls = 0

    def propose(self, block):
        self.calls += 1
        return super().propose(block)

    def measure(self):
        return {"calls": float(self.calls)}


class BufferByMap(ml.Method):
    """One buffer for each map, copied out."""

    def __init__(self):
        self.buffers = {}

    def propose(self, block):
        key = (block.k, block.theta.shape, block.theta.dtype)
        out = self.buffers.setdefault(key, np.empty_like(block.theta))
        out[...] = explicit(block)
        return out.copy()


class DenseGaussNewton(ml.Method):
    def directions(self, net, state, y):
        tools = ml.methods.backward.gauss_newton
        N = len(state.a[0])
        f, z = net.loss_function.transfer, state.z[net.depth]
        gradient = tools.pulled_back(net, state, net.loss_function.gradient(z, y) / (net.loss_function.weight(N) * N))
        G = np.zeros((gradient.size, gradient.size), gradient.dtype)
        for i, e in enumerate(np.eye(gradient.size, dtype=gradient.dtype)):
            moved = tools.network_jvp(net, state, tools.split(e, net.parameters))
            G[:, i] = tools.pulled_back(net, state, f.adjoint(z, f.forward(z), None, moved) / N)
        return tools.split(np.linalg.solve(damped(G, 0.3), gradient), net.parameters)


method("right-samples", "ProxProp on the side of samples", as_made(by_samples), prox(), True)
method("right-svd", "ProxProp by a singular value decomposition and the rest of the gradient", as_made(by_svd), prox(),
       True)
method("right-lstsq", "ProxProp as stacked least squares", as_made(by_lstsq), prox(), True)
method("right-cholesky", "ProxProp by Cholesky, unit by unit", as_made(by_columns), prox(), True)
method("right-cg3", "three steps of conjugate gradients written out", as_made(lambda block: cg(block, 3)),
       prox(solver="cg3"), True)
method("right-blocks", "the gradient summed over blocks of two samples", as_made(fixed_blocks), ml.BackProp, True)
method("right-loco-s", "LocoProp-S by ProxProp's normal equations", LocoByProx, loco(), True)
method("right-foof", "FOOF with a mean Gram matrix", FoofByProx, foof(), True)
method("right-subclass", "a subclass of ProxProp that solves on the other side", lambda: MyProx(0.3), prox(), True)
method("right-logging", "a subclass of ProxProp that counts its calls", LogsItself, prox(), True)
method("right-buffers", "a buffer for each map, of which a copy is returned", BufferByMap, ml.BackProp, True)
method("right-dense-gn", "Gauss–Newton by its dense matrix", DenseGaussNewton, gauss_newton(), True)


# ---- lifted methods, as subclasses: their own class and attributes say which equations apply


def lifted(name, what, make, like, right=False, gap=None, **net):
    """Put a lifted method on the list, alone: its class says what it should be."""
    add("lifted", name, what, lambda seed: ml.verify(make(), seed=seed),
        gap or (lambda: method_gap(make, like, whole=True, **net)), right)


def admm(cls=ml.ADMM, **more):
    return lambda: cls(**{"beta": 0.7, "gamma": 2.0, "sweeps": 3, "alpha": 0.1, **more})


class AdmmDouble(ml.ADMM):
    def ascend(self, energy, l, variables):
        return variables.multiplier - 2 * self.beta * energy.map_gap(l, variables.theta, variables.a, variables.z)


class AdmmSign(ml.ADMM):
    def ascend(self, energy, l, variables):
        return variables.multiplier + self.beta * energy.map_gap(l, variables.theta, variables.a, variables.z)


class AdmmOrder(ml.ADMM):
    def schedule(self, energy):
        blocks = list(super().schedule(energy))
        for i in range(1, len(blocks) - 3, 3):
            blocks[i], blocks[i + 1] = blocks[i + 1], blocks[i]
        return blocks


class AdmmOutputFirst(ml.ADMM):
    def schedule(self, energy):
        blocks = list(super().schedule(energy))
        return blocks[-3:-1] + blocks[:-3] + blocks[-1:]


class AdmmHalves(ml.ADMM):
    def energy(self, net, X, y):
        return ThreeSplit(net, y, self.gamma, self.beta, split_output=False, multiplier="output")


lifted("admm-dual-double", "the dual step is 2β, the method's is β", admm(AdmmDouble), admm())
lifted("admm-dual-sign", "the multiplier descends", admm(AdmmSign), admm())
lifted("admm-order", "z before a in each hidden layer", admm(AdmmOrder), admm())
lifted("admm-output-first", "the output's blocks before the hidden ones", admm(AdmmOutputFirst), admm())
lifted("admm-halves", "penalties with a factor ½", admm(AdmmHalves), admm())


def bcd(cls=ml.BCD, **more):
    return lambda: cls(**{"gamma": 1.5, "rho": 0.8, "alpha": 0.5, "sweeps": 2, **more})


class BcdAnchoredA(ml.BCD):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            yield block, l, self.anchored(energy) if block == "a" and l < energy.net.depth else update

    def anchored(self, energy):
        def update(l, variables):
            best = energy.best_a(l, variables)
            return best + self.alpha / (self.alpha + self.gamma) * (variables.a[l] - best)
        return update


class BcdForward(ml.BCD):
    def schedule(self, energy):
        blocks = list(super().schedule(energy))
        return blocks[:2] + blocks[2:][::-1]


class BcdSwapped(ml.BCD):
    def energy(self, net, X, y):
        return ThreeSplit(net, y, self.rho, self.gamma)


class BcdGaussSeidel(ml.BCD):
    def jacobi(self, energy, l, variables):
        new = energy.best_theta(l, variables, alpha=self.alpha, bias=False)
        return energy.best_bias(l, variables.replaced("theta", l, new), alpha=self.alpha)


class BcdZNoAnchor(ml.BCD):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            yield block, l, energy.best_z if block == "z" else update


class BcdAnchorSquare(ml.BCD):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            if block == "theta":
                yield block, l, lambda l, variables: energy.best_theta(l, variables, alpha=2 * self.alpha)
            else:
                yield block, l, update


lifted("bcd-anchor-a", "the hidden a_l are drawn to their old values too", bcd(BcdAnchoredA), bcd())
lifted("bcd-forward", "the hidden blocks in the other order", bcd(BcdForward), bcd())
lifted("bcd-swapped", "γ and ρ change places in the energy", bcd(BcdSwapped), bcd())
lifted("bcd-jacobi", "bias 'jacobi', but b is fitted to the new W", bcd(BcdGaussSeidel, bias="jacobi"),
       bcd(bias="jacobi"))
lifted("bcd-z-free", "z_l without its prox term", bcd(BcdZNoAnchor), bcd())
lifted("bcd-theta-alpha", "α ‖·‖² without ½ in θ_l", bcd(BcdAnchorSquare), bcd())


def dladmm(cls=ml.DLADMM, **more):
    return lambda: cls(**{"rho": 0.6, "schedule": False, "sweeps": 2, **more})


class DlOnlyForward(ml.DLADMM):
    def schedule(self, energy):
        blocks, D = list(super().schedule(energy)), energy.net.depth
        return blocks[4 * D - 1:]


class DlNoGamma(ml.DLADMM):
    def step_a(self, energy, l, variables):
        g = energy.rho * (energy.map_gap(l + 1, variables.theta, variables.a, variables.z)
                          @ variables.theta[l + 1][:-1].T)
        through = g @ variables.theta[l + 1][:-1]
        return variables.a[l] - g / self.alpha(g, energy.rho * (through**2).sum() + energy.gamma * (g**2).sum())


class DlFixedStep(ml.DLADMM):
    def alpha(self, g, curvature):
        return self.curvature_now


class DlBiasAlong(ml.DLADMM):
    def step_w(self, energy, l, variables):
        g = energy.gradient("theta", l, variables)
        return variables.theta[l] - g / self.alpha(g, energy.rho * ((variables.a[l - 1] @ g[:-1]) ** 2).sum())


class DlDualSign(ml.DLADMM):
    def ascend(self, energy, l, variables):
        return 2 * variables.multiplier - super().ascend(energy, l, variables)


lifted("dladmm-dual-sign", "the multiplier descends", dladmm(DlDualSign), dladmm())
lifted("dladmm-forward-only", "only the forward half of a sweep", dladmm(DlOnlyForward), dladmm())
lifted("dladmm-a-gradient", "the step in a without the pull of σ(z)", dladmm(DlNoGamma), dladmm())
lifted("dladmm-no-search", "the step length is 1/κ whatever the curvature", dladmm(DlFixedStep, curvature=0.5),
       dladmm(curvature=0.5), gap=lambda: method_gap(dladmm(DlFixedStep, rho=0.2, curvature=0.5, sweeps=1),
                                                     dladmm(rho=0.2, curvature=0.5, sweeps=1), True, sizes=(3, 2, 2)))
lifted("dladmm-bias-along", "the step in W moves b along", dladmm(DlBiasAlong), dladmm())


def fenchel(cls=ml.FenchelLifted, **more):
    return lambda: cls(**{"lam": 0.7, "anchor": 2.0, "alternations": 2, "weight_decay": 0.05, **more})


class FenchelHalf(ml.FenchelLifted):
    def energy(self, net, X, y):
        return MatchingEnergy(net, y, self.lam, self.weight_decay)


class FenchelAnchor(ml.FenchelLifted):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            if block == "theta":
                def update(l, variables):
                    return energy.best_theta(l, variables, alpha=self.anchor, around=energy.net.theta)
            yield block, l, update


class FenchelMoving(ml.FenchelLifted):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            if block == "theta":
                def update(l, variables):
                    return energy.best_theta(l, variables, alpha=2 * self.anchor)
            yield block, l, update


class FenchelNoDecay(ml.FenchelLifted):
    def energy(self, net, X, y):
        return MatchingEnergy(net, y, 2 * self.lam)


RELU = {"activation": "relu"}
lifted("fenchel-half", "μ = λ, where B has no ½", fenchel(FenchelHalf), fenchel(), **RELU)
lifted("fenchel-anchor", "the anchor r‖·‖² as r/2", fenchel(FenchelAnchor), fenchel(), **RELU)
lifted("fenchel-moving", "the anchor moves with each alternation", fenchel(FenchelMoving), fenchel(), **RELU)
lifted("fenchel-decay", "weight decay is given and not used", fenchel(FenchelNoDecay), fenchel(), **RELU)


def lpom(cls=ml.LPOM, **more):
    return lambda: cls(**{"mu": 0.6, "tau": 0.2, "sweeps": 2, **more})


class LpomTau(ml.LPOM):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            if block == "theta":
                def update(l, variables):
                    return energy.best_theta(l, variables, alpha=self.tau)
            yield block, l, update


class LpomOnce(ml.LPOM):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            if block == "a":
                def update(l, variables):
                    return energy.fixed_point(l, variables, 1)
            yield block, l, update


class LpomSign(ml.LPOM):
    def schedule(self, energy):
        def plus(l, variables):
            f, target = energy.goal(l + 1, variables)
            above = f.forward(energy.phi(l + 1, variables)) - target
            ratio = energy.mu[l + 1] / energy.mu[l]
            return energy.net.sigma[l].forward(energy.phi(l, variables)
                                               + ratio * above @ variables.theta[l + 1][:-1].T)

        for block, l, update in super().schedule(energy):
            yield block, l, plus if block == "a" else update


class LpomForwardA(ml.LPOM):
    def schedule(self, energy):
        blocks = list(super().schedule(energy))
        D = energy.net.depth
        return blocks[:D - 1][::-1] + blocks[D - 1:]


lifted("lpom-tau", "the anchor's weight is τ, not 1/τ", lpom(LpomTau), lpom(), **RELU)
lifted("lpom-one-step", "one fixed point iteration where steps=5", lpom(LpomOnce), lpom(), **RELU)
lifted("lpom-sign", "the fixed point iteration with a plus", lpom(LpomSign), lpom(), **RELU)
lifted("lpom-forward", "activations from the first to the last", lpom(LpomForwardA), lpom(), **RELU)


def bregman(cls=ml.LiftedBregman, **more):
    return lambda: cls(**{"mu": 0.6, "tau": 0.2, "sweeps": 2, **more})


class BregmanMoving(ml.LiftedBregman):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            if block == "theta":
                def update(l, variables):
                    return energy.best_theta(l, variables, alpha=1 / self.tau)
            yield block, l, update


class BregmanMore(ml.LiftedBregman):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            if block == "a":
                def update(l, variables):
                    return energy.proximal_gradient(l, variables, self.steps + 1)
            yield block, l, update


class BregmanThetaFirst(ml.LiftedBregman):
    def schedule(self, energy):
        blocks, D = list(super().schedule(energy)), energy.net.depth
        return blocks[D - 1:] + blocks[:D - 1]


lifted("bregman-moving", "the anchor moves within a call", bregman(BregmanMoving), bregman(), **RELU)
lifted("bregman-steps", "one proximal step too many", bregman(BregmanMore), bregman(), **RELU)
lifted("bregman-theta-first", "parameters before activations", bregman(BregmanThetaFirst), bregman(), **RELU)


def mac(cls=ml.MAC, **more):
    return lambda: cls(**{"mu": 0.8, "alpha": 0.3, **more})


class MacEarly(ml.MAC):
    def directions(self, net, state, y):
        self.weight = min(1.05 * self.weight, self.mu_max)
        found = super(ml.MAC, self).directions(net, state, y)
        return found


class MacNever(ml.MAC):
    def directions(self, net, state, y):
        return super(ml.MAC, self).directions(net, state, y)


class MacThetaFirst(ml.MAC):
    def schedule(self, energy):
        blocks, D = list(super().schedule(energy)), energy.net.depth
        return blocks[D - 1:] + blocks[:D - 1]


class MacKeepsMu(ml.MAC):
    def reset(self):
        weight = getattr(self, "weight", self.mu)
        super().reset()
        self.weight = weight


class MacAlpha(ml.MAC):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            if block == "theta":
                def update(l, variables):
                    return energy.lowered_theta(l, variables, self.alpha / 2, self.theta_steps)
            yield block, l, update


lifted("mac-early", "μ grows before the first call", mac(MacEarly), mac())
lifted("mac-never", "μ never grows", mac(MacNever), mac())
lifted("mac-theta-first", "parameters before values", mac(MacThetaFirst), mac())
lifted("mac-reset", "reset keeps the grown μ", mac(MacKeepsMu), mac())
lifted("mac-alpha", "the prox term has α/4, not α/2", mac(MacAlpha), mac())


def coding(cls=ml.PredictiveCoding, **more):
    return lambda: cls(**{"rate": 0.2, "steps": 4, **more})


class CodingInTurn(ml.PredictiveCoding):
    def relaxed(self, energy, variables):
        for l in range(1, energy.net.depth):
            value = getattr(variables, energy.block)[l]
            variables = variables.replaced(energy.block, l,
                                           value - self.rate * energy.gradient(energy.block, l, variables))
        return variables


class CodingSum(ml.PredictiveCoding):
    def directions(self, net, state, y):
        weight = net.loss_function.weight(len(state.a[0]))
        return [d / weight for d in super().directions(net, state, y)]


class CodingSign(ml.PredictiveCoding):
    def relaxed(self, energy, variables):
        gradients = energy.latent_gradients(variables)
        for l in range(1, energy.net.depth):
            value = getattr(variables, energy.block)[l] + self.rate * gradients[l]
            variables = variables.replaced(energy.block, l, value)
        return variables


class CodingMean(ml.PredictiveCoding):
    """Feels the loss as a mean, so that η is a rate of the batch."""

    def energy_around(self, net, state, y):
        energy = super().energy_around(net, state, y)
        weight = net.loss_function.weight(len(state.a[0]))
        energy.loss_gradient = lambda output: net.loss_function.gradient(output, y) / weight**0.5
        return energy


class CodingHalfFixed(ml.PredictiveCoding):
    def energy_around(self, net, state, y):
        return TwoSplit(net, y, latent=self.latent)


lifted("coding-in-turn", "values relax one after the other, not at once", coding(CodingInTurn), coding())
lifted("coding-sum", "the direction of the summed loss for a mean", coding(CodingSum), coding())
lifted("coding-sign", "values climb the energy", coding(CodingSign), coding())
lifted("coding-root", "the loss with the root of its weight", coding(CodingMean), coding())
lifted("coding-not-fixed", "prediction 'fixed', but all is taken at the present values",
       coding(CodingHalfFixed, prediction="fixed"), coding(prediction="fixed"))


def targets(cls=ml.TargetPropagation, **more):
    return lambda: cls(**{"beta": 0.2, "rate": 0.05, **more})


class TargetsPlain(ml.TargetPropagation):
    def differences(self, net, state, y):
        off = super().differences(net, state, y)
        h = [*state.a[:net.depth], state.z[net.depth]]
        for l in range(net.depth, 1, -1):
            off[l - 1] = h[l - 1] - self.inverse(net, l, h[l] - off[l])
        return off


class TargetsNotDivided(ml.TargetPropagation):
    def directions(self, net, state, y):
        return [self.beta * d for d in super().directions(net, state, y)]


class TargetsLearnFirst(ml.TargetPropagation):
    def directions(self, net, state, y):
        self.prepare(net)
        learn, self.learn_inverses = self.learn_inverses, lambda *args: None
        learn(net, state)
        try:
            return super().directions(net, state, y)
        finally:
            del self.learn_inverses


class TargetsCleanGoal(ml.TargetPropagation):
    def learn_inverses(self, net, state):
        sigma, self.sigma = self.sigma, 0.0
        super().learn_inverses(net, state)
        self.sigma = sigma


class TargetsNoSlope(ml.TargetPropagation):
    def local_gradient(self, net, state, l, off):
        return net.phi[l].adjoint_theta(state.a[l - 1], off)


class TargetsLoseNoise(ml.TargetPropagation):
    def state_dict(self):
        kept = super().state_dict()
        if kept:
            fresh = type(self)(beta=self.beta, rate=self.rate)
            kept["rng"] = np.array(__import__("json").dumps(fresh.rng.bit_generator.state))
        return kept


lifted("targets-plain", "targets g(t) without the difference correction", targets(TargetsPlain), targets())
lifted("targets-beta", "local gradients are not divided by β", targets(TargetsNotDivided), targets())
lifted("targets-learn-first", "inverses learn before they make targets", targets(TargetsLearnFirst), targets())
lifted("targets-no-noise", "inverses learn without noise where sigma = 0.1", targets(TargetsCleanGoal), targets())
lifted("targets-no-slope", "the local gradient has no σ′", targets(TargetsNoSlope), targets())
lifted("targets-noise-again", "the state has the noise's generator as it was at the start", targets(TargetsLoseNoise),
       targets(), gap=lambda: noise_gap())


def noise_gap():
    """Return how far the inverses of a resumed run are from those of one that went on."""
    net, batches = small_net(1)
    X, y = batches[0]
    one, again = targets(TargetsLoseNoise)(), targets(TargetsLoseNoise)()
    one.direction(net, X, y)
    again.load_state_dict(one.state_dict())
    again.psi = dict(one.psi)
    for run in (one, again):
        run.direction(net, X, y)
    return rel(again.psi[2], one.psi[2])


# right lifted methods


class LpomAnyOrder(ml.LPOM):
    def schedule(self, energy):
        blocks, D = list(super().schedule(energy)), energy.net.depth
        return blocks[:D - 1] + blocks[D - 1:][::-1]


class AdmmWritten(ml.ADMM):
    def ascend(self, energy, l, variables):
        phi = variables.a[l - 1] @ variables.theta[l][:-1] + variables.theta[l][-1]
        return variables.multiplier + self.beta * (variables.z[l] - phi)


class BcdDense(ml.BCD):
    def schedule(self, energy):
        def dense(l, variables):
            A = np.c_[variables.a[l - 1], np.ones(len(variables.a[0]))]
            C = energy.rho * A.T @ A + self.alpha * np.eye(A.shape[1])
            right = energy.rho * A.T @ variables.z[l] + self.alpha * variables.theta[l]
            return np.linalg.solve(C, right).astype(variables.theta[l].dtype)

        for block, l, update in super().schedule(energy):
            yield block, l, dense if block == "theta" else update


class CodingWritten(ml.PredictiveCoding):
    def relaxed(self, energy, variables):
        blocks = [getattr(variables, energy.block)[l] - self.rate * energy.gradient(energy.block, l, variables)
                  for l in range(1, energy.net.depth)]
        for l, value in enumerate(blocks, start=1):
            variables = variables.replaced(energy.block, l, value)
        return variables


class MacCounting(ml.MAC):
    columns = ("energy", "mu")

    def measure(self):
        return {**super().measure(), "mu": self.weight}


class TargetsWritten(ml.TargetPropagation):
    def local_gradient(self, net, state, l, off):
        if l < net.depth:
            off = off * net.sigma[l].derivative(state.z[l])
        return np.vstack([state.a[l - 1].T @ off, off.sum(axis=0)])


class DlAlphaByLog(ml.DLADMM):
    def alpha(self, g, curvature):
        square = float((g * g).sum())
        need = curvature / (self.curvature_now * square) if square else 0.0
        doublings = max(0, math.ceil(math.log2(need) - 1e-12)) if need > 0 else 0
        return self.curvature_now * 2.0**doublings


lifted("right-lpom", "LPOM, θ_D first: with all a_l fixed the θ_l do not feel each other", lpom(LpomAnyOrder), lpom(),
       True, **RELU)
lifted("right-admm", "ADMM's dual step written out", admm(AdmmWritten), admm(), True)
lifted("right-bcd", "BCD with dense normal equations", bcd(BcdDense), bcd(), True)
lifted("right-coding", "predictive coding, values kept aside and replaced at the end", coding(CodingWritten), coding(),
       True)
lifted("right-mac", "MAC that says its μ", mac(MacCounting), mac(), True)
lifted("right-targets", "target propagation with σ′ and ãᵀ written out", targets(TargetsWritten), targets(), True)
lifted("right-dladmm", "dlADMM with the step length by a logarithm", dladmm(DlAlphaByLog), dladmm(), True)
lifted("right-fenchel", "Fenchel lifted networks as they are, other weights", fenchel(), fenchel(), True, **RELU)
lifted("right-bregman", "lifted Bregman, kept variables", bregman(variables="kept"), bregman(variables="kept"), True,
       **RELU)


# ---- claims


def normal(**shapes):
    """Return a draw of normal arrays of these shapes."""
    def draw(rng):
        return {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return draw


def called(function, values):
    """Return a function of named arrays for values that hold more than it asks for."""
    names = function.__code__.co_varnames[:function.__code__.co_argcount]
    return function(**{name: np.copy(values[name]) if name in values else None for name in names})


def argmin_gap(energy, update, best, block, draw):
    """Return by how much more energy an update has than the right one, relative to the old value's excess."""
    worst = 0.0
    for seed in range(12):
        values = draw(np.random.default_rng(100 + seed))
        low, old = called(energy, moved(values, block, called(best, values))), called(energy, values)
        found = called(energy, moved(values, block, called(update, values)))
        worst = max(worst, (found - low) / (abs(low) + 1e-6 + (abs(old - low) if math.isfinite(old) else 0)))
    return worst


def moved(values, block, u):
    """Return the values with a block, or a tuple of blocks, replaced."""
    return {**values, **(dict(zip(block, u)) if isinstance(block, tuple) else {block: u})}


def argmin(name, what, energy, update, draw, block="z", best=None, right=False, **more):
    """Put the claim of a minimiser on the list; `best` is the right update (of right things, a dense one)."""
    add("claim", name, what,
        lambda seed: ml.verify(ml.Argmin(energy, update, block=block, draw=draw, **more), seed=seed),
        lambda: abs(argmin_gap(energy, update, best, block, draw)), right)


def soft(v, t):
    return np.sign(v) * np.maximum(abs(v) - t, 0)


def split_w(W, a, z, u):
    """ρ/2 ‖z − aW + u‖² + λ/2 ‖W‖², with ρ = 2 and λ = 0.5 and a scaled multiplier."""
    return ((z - a @ W + u) ** 2).sum() + 0.25 * (W**2).sum()


def ridge(a, target, weight):
    return np.linalg.solve(a.T @ a + weight * np.eye(a.shape[1]), a.T @ target)


draw_w = normal(W=(3, 2), a=(6, 3), z=(6, 2), u=(6, 2))
best_w = lambda a, z, u: ridge(a, z + u, 0.25)  # noqa: E731
argmin("w-lambda", "λ where λ/ρ belongs", split_w, lambda a, z, u: ridge(a, z + u, 0.5), draw_w, "W", best_w)
argmin("w-dual-sign", "the target is z − u, the energy has z + u", split_w, lambda a, z, u: ridge(a, z - u, 0.25),
       draw_w, "W", best_w)
argmin("w-no-dual", "the multiplier is left out of the target", split_w, lambda a, z: ridge(a, z, 0.25), draw_w, "W",
       best_w)
argmin("right-w-samples", "the ridge step on the side of samples", split_w,
       lambda a, z, u: a.T @ np.linalg.solve(a @ a.T + 0.25 * np.eye(len(a)), z + u), draw_w, "W", best_w, True)


def split_a(a, z, W, y):
    """½ ‖a − max(z, 0)‖² + ¾ ‖y − aW‖²."""
    return ((a - np.maximum(z, 0)) ** 2).sum() / 2 + 0.75 * ((y - a @ W) ** 2).sum()


draw_a = normal(a=(5, 4), z=(5, 4), W=(4, 3), y=(5, 3))


def best_split_a(z, W, y):
    return np.linalg.solve(1.5 * W @ W.T + np.eye(4), (1.5 * y @ W.T + np.maximum(z, 0)).T).T


argmin("a-rhs", "the weight 3/2 is in the matrix, not on the right-hand side", split_a,
       lambda z, W, y: np.linalg.solve(1.5 * W @ W.T + np.eye(4), (y @ W.T + np.maximum(z, 0)).T).T, draw_a, "a",
       best_split_a)
argmin("a-no-sigma", "a is drawn to z, not to σ(z)", split_a,
       lambda z, W, y: np.linalg.solve(1.5 * W @ W.T + np.eye(4), (1.5 * y @ W.T + z).T).T, draw_a, "a", best_split_a)
argmin("a-one-step", "one gradient step of 1/L instead of the minimiser", split_a,
       lambda a, z, W, y: a - ((a - np.maximum(z, 0)) + 1.5 * (a @ W - y) @ W.T)
       / (1 + 1.5 * np.linalg.norm(W, 2) ** 2), draw_a, "a", best_split_a)
argmin("right-a-woodbury", "the a-update by Woodbury, with rows as samples", split_a,
       lambda z, W, y: (lambda b: b - 1.5 * (b @ W) @ np.linalg.solve(np.eye(3) + 1.5 * W.T @ W, W.T))
       (1.5 * y @ W.T + np.maximum(z, 0)), draw_a, "a", best_split_a, True)


def nonnegative(a, W, y):
    return ((y - a @ W) ** 2).sum() / 2 + 0.05 * (a**2).sum() if (a >= 0).all() else math.inf


def nnls(W, y):
    a, L = np.zeros((len(y), 3)), np.linalg.norm(W @ W.T, 2) + 0.1
    for _ in range(4000):
        a = np.maximum(a - ((a @ W - y) @ W.T + 0.1 * a) / L, 0)
    return a


def draw_nonnegative(rng):
    return {"a": abs(rng.normal(size=(2, 3))), "W": rng.normal(size=(3, 3)), "y": rng.normal(size=(2, 3))}


argmin("a-clipped", "a ≥ 0 by clipping the free minimiser", nonnegative,
       lambda W, y: np.maximum(np.linalg.solve(W @ W.T + 0.1 * np.eye(3), (y @ W.T).T).T, 0), draw_nonnegative, "a",
       nnls)
argmin("right-a-nonnegative", "a ≥ 0 by many projected steps", nonnegative, nnls, draw_nonnegative, "a", nnls, True)


def relu_z(z, a, q):
    return ((a - np.maximum(z, 0)) ** 2).sum() / 2 + 0.5 * ((z - q) ** 2).sum()


def best_relu_z(a, q):
    up, down = np.maximum((a + q) / 2, 0), np.minimum(q, 0)
    cost = lambda z: (a - np.maximum(z, 0)) ** 2 + (z - q) ** 2  # noqa: E731
    return np.where(cost(up) < cost(down), up, down)


draw_z = normal(z=(5, 4), a=(5, 4), q=(5, 4))
argmin("z-one-branch", "the positive branch wherever q > 0 or a > 0", relu_z,
       lambda a, q: np.where((q > 0) | (a > 0), np.maximum((a + q) / 2, 0), q), draw_z, best=best_relu_z)
argmin("z-by-sign", "the branch is chosen by the sign of q", relu_z,
       lambda a, q: np.where(q > 0, np.maximum((a + q) / 2, 0), q), draw_z, best=best_relu_z)
argmin("right-z-relu", "both branches, the cheaper one", relu_z, best_relu_z, draw_z, best=best_relu_z, right=True)


def elastic(z, v):
    return 0.4 * abs(z).sum() + 0.3 * (z**2).sum() + ((z - v) ** 2).sum()


draw_v = normal(z=(4, 3), v=(4, 3))
argmin("elastic-order", "shrunk first and thresholded afterwards", elastic,
       lambda v: soft(v / 1.3, 0.2), draw_v, best=lambda v: soft(v, 0.2) / 1.3)
argmin("elastic-half", "threshold 0.4, where the penalty has no ½", elastic,
       lambda v: soft(v, 0.4) / 1.3, draw_v, best=lambda v: soft(v, 0.2) / 1.3)
argmin("right-elastic", "soft thresholding by two maxima", elastic,
       lambda v: (np.maximum(v - 0.2, 0) - np.maximum(-v - 0.2, 0)) / 1.3, draw_v, best=lambda v: soft(v, 0.2) / 1.3,
       right=True)


def group(z, v):
    return 0.8 * np.sqrt((z**2).sum(axis=1)).sum() + ((z - v) ** 2).sum() / 2


def shrink_groups(v, axis):
    norm = np.sqrt((v**2).sum(axis=axis, keepdims=True))
    return v * np.maximum(1 - 0.8 / norm, 0)


argmin("group-axis", "groups are columns, the energy's are rows", group, lambda v: shrink_groups(v, 0), draw_v,
       best=lambda v: shrink_groups(v, 1))
argmin("right-group", "groups of rows", group, lambda v: shrink_groups(v, 1), draw_v,
       best=lambda v: shrink_groups(v, 1), right=True)


def nuclear(z, v):
    return 0.7 * np.linalg.svd(z, compute_uv=False).sum() + ((z - v) ** 2).sum() / 2


def cut_values(v, cut):
    U, s, V = np.linalg.svd(v, full_matrices=False)
    return U * cut(s) @ V


argmin("nuclear-hard", "singular values cut off, not shrunk", nuclear, lambda v: cut_values(v, lambda s: s * (s > 0.7)),
       draw_v, best=lambda v: cut_values(v, lambda s: np.maximum(s - 0.7, 0)))
argmin("right-nuclear", "singular values shrunk, by the eigenvectors of vᵀv", nuclear,
       lambda v: (lambda w, Q: v @ (Q * (np.maximum(np.sqrt(np.maximum(w, 1e-30)) - 0.7, 0)
                                         / np.sqrt(np.maximum(w, 1e-30)))) @ Q.T)(*np.linalg.eigh(v.T @ v)),
       draw_v, best=lambda v: cut_values(v, lambda s: np.maximum(s - 0.7, 0)), right=True)


def barrier(z, v):
    return (-0.5 * np.log(z)).sum() + ((z - v) ** 2).sum() / 2 if (z > 0).all() else math.inf


def draw_barrier(rng):
    return {"z": rng.uniform(0.5, 2, (4,)), "v": rng.normal(size=(4,))}


argmin("barrier-constant", "the root with 4·1 in the place of 4·½", barrier, lambda v: (v + np.sqrt(v * v + 4)) / 2,
       draw_barrier, best=lambda v: (v + np.sqrt(v * v + 2)) / 2)
argmin("right-barrier", "a prox by bisection", barrier, lambda v: bisected(v), draw_barrier,
       best=lambda v: (v + np.sqrt(v * v + 2)) / 2, right=True)


def bisected(v):
    low, high = np.full_like(v, 1e-12), abs(v) + 3
    for _ in range(70):
        u = (low + high) / 2
        rises = u - v - 0.5 / u > 0
        low, high = np.where(rises, low, u), np.where(rises, u, high)
    return (low + high) / 2


def to_simplex(v, offset=0):
    s = np.sort(v)[::-1]
    total = (np.cumsum(s) - 1) / np.arange(1, len(v) + 1)
    k = max(1, int((s > total).sum()) - offset)
    return np.maximum(v - total[k - 1], 0)


def on_simplex(z, v):
    inside = (z >= -1e-9).all() and abs(z.sum() - 1) < 1e-7
    return ((z - v) ** 2).sum() / 2 if inside else math.inf


def draw_simplex(rng):
    return {"z": rng.dirichlet(np.ones(5)), "v": rng.normal(size=5) / 2}


argmin("simplex-rho", "the projection on the simplex takes one entry too few into its mean", on_simplex,
       lambda v: (lambda x: x / x.sum())(to_simplex(v, 1)), draw_simplex, best=lambda v: to_simplex(v),
       project=to_simplex)
argmin("simplex-softmax", "softmax(v) in the place of the projection", on_simplex,
       lambda v: np.exp(v) / np.exp(v).sum(), draw_simplex, best=lambda v: to_simplex(v), project=to_simplex)
argmin("right-simplex", "the projection on the simplex", on_simplex, lambda v: to_simplex(v), draw_simplex,
       best=lambda v: to_simplex(v), project=to_simplex, right=True)


def in_ball(z, v):
    return ((z - v) ** 2).sum() / 2 if (z**2).sum() <= 1 + 1e-9 else math.inf


def to_ball(v):
    return v / max(1, np.linalg.norm(v))


def draw_ball(rng):
    return {"z": to_ball(rng.normal(size=3)), "v": rng.normal(size=3) * rng.uniform(0.1, 2)}


argmin("ball-always", "points inside the ball are drawn to its surface too", in_ball, lambda v: v / np.linalg.norm(v),
       draw_ball, best=to_ball)
argmin("right-ball", "the projection on a ball", in_ball, lambda v: to_ball(v), draw_ball, best=to_ball, right=True)


def logistic_prox(z, v, y):
    return (np.logaddexp(0, z) - y * z).sum() + 0.5 * ((z - v) ** 2).sum()


def newton(v, y, steps):
    u = v.copy()
    for _ in range(steps):
        p = logistic(u)
        u = u - (p - y + u - v) / (p * (1 - p) + 1)
    return u


def draw_logistic(rng):
    return {"z": rng.normal(size=(4, 2)), "v": 2 * rng.normal(size=(4, 2)),
            "y": rng.integers(0, 2, (4, 2)).astype(float)}


argmin("logistic-one-newton", "one Newton step", logistic_prox, lambda v, y: newton(v, y, 1), draw_logistic,
       best=lambda v, y: newton(v, y, 30))
argmin("right-logistic", "eight Newton steps", logistic_prox, lambda v, y: newton(v, y, 8), draw_logistic,
       best=lambda v, y: newton(v, y, 30), right=True)


def bias_energy(b, W, a, z):
    return 0.5 * ((a @ W + b - z) ** 2).sum() + 0.2 * (b**2).sum()


draw_b = normal(b=(2,), W=(3, 2), a=(5, 3), z=(5, 2))
argmin("bias-mean", "the bias is the plain mean, its decay left out", bias_energy,
       lambda W, a, z: (z - a @ W).mean(axis=0),
       draw_b, "b", lambda W, a, z: (z - a @ W).sum(axis=0) / 5.4)


def both_energy(W, b, a, z):
    return ((a @ W + b - z) ** 2).sum() + 0.1 * (W**2).sum()


def both_best(a, z):
    W = ridge(a - a.mean(axis=0), z - z.mean(axis=0), 0.1)
    return W, (z - a @ W).mean(axis=0)


def both_once(W, b, a, z):
    W = ridge(a, z - b, 0.1)
    return W, (z - a @ W).mean(axis=0)


draw_both = normal(W=(3, 2), b=(2,), a=(6, 3), z=(6, 2))
argmin("both-once", "W and b one after the other, called the joint minimiser", both_energy, both_once, draw_both,
       ("W", "b"), both_best)
argmin("right-both", "W and b jointly by centring", both_energy, both_best, draw_both, ("W", "b"),
       lambda a, z: both_best(a, z), True)


def chain(z, v):
    return ((z - v) ** 2).sum() / 2 + 1.5 * (np.diff(z) ** 2).sum()


def chain_best(v, wrong=False):
    n = len(v)
    D = np.diff(np.eye(n), axis=0)
    C = np.eye(n) + 3 * D.T @ D
    if wrong:
        C[0, 0] = C[-1, -1] = 7
    return np.linalg.solve(C, v)


argmin("chain-ends", "the ends of a chain are taken for inner points", chain, lambda v: chain_best(v, True),
       normal(z=(6,), v=(6,)), best=lambda v: chain_best(v))
argmin("right-chain", "a smoothed chain by its dense matrix", chain, lambda v: chain_best(v), normal(z=(6,), v=(6,)),
       best=lambda v: chain_best(v), right=True)


def weighted(W, a, z, s):
    return (s[:, None] * (a @ W - z) ** 2).sum() + 0.3 * (W**2).sum()


def draw_weighted(rng):
    return {"W": rng.normal(size=(2, 2)), "a": rng.normal(size=(6, 2)), "z": rng.normal(size=(6, 2)),
            "s": rng.uniform(0.2, 3, 6)}


def weighted_best(a, z, s, power=0.5):
    r = s[:, None] ** power
    return ridge(r * a, r * z, 0.3)


argmin("weights-twice", "rows are multiplied by the weights, not by their roots", weighted,
       lambda a, z, s: weighted_best(a, z, s, 1.0), draw_weighted, "W", lambda a, z, s: weighted_best(a, z, s))


def update_in_place(v, q):
    v -= 0.5 * q
    return v


argmin("input-changed", "the update overwrites v, which the energy has", lambda z, v, q: ((z - v + 0.5 * q) ** 2).sum(),
       update_in_place, normal(z=(3,), v=(3,), q=(3,)), best=lambda v, q: v - 0.5 * q)
ITEMS[-1] = ITEMS[-1]._replace(gap=lambda: changed_gap())


def changed_gap():
    """Return by how much the update changes what it was given."""
    v = np.ones(3)
    update_in_place(v, np.ones(3))
    return rel(v, np.ones(3))


def double_well(z, q):
    return ((z**2 - 1) ** 2).sum() + 0.3 * ((z - q) ** 2).sum()


def well(q, start):
    u = start(q)
    for _ in range(200):
        u = u - (4 * u * (u * u - 1) + 0.6 * (u - q)) / np.maximum(12 * u * u - 4 + 0.6, 1)
    return u


argmin("wrong-well", "always the right one of two wells", double_well, lambda q: well(q, lambda q: np.ones_like(q)),
       normal(z=(4,), q=(4,)), best=lambda q: well(q, lambda q: np.where(q > 0, 1.2, -1.2)))
argmin("right-well", "the deeper of two wells", double_well, lambda q: well(q, lambda q: np.where(q > 0, 1.2, -1.2)),
       normal(z=(4,), q=(4,)), best=lambda q: well(q, lambda q: np.where(q > 0, 1.2, -1.2)), right=True)


def gradient_gap(energy, claimed, block, draw):
    """Return the relative error of a claimed gradient along random directions, by central differences."""
    worst, h = 0.0, 1e-5
    for seed in range(4):
        values = draw(np.random.default_rng(100 + seed))
        v = np.random.default_rng(seed).normal(size=values[block].shape)
        slope = (called(energy, {**values, block: values[block] + h * v})
                 - called(energy, {**values, block: values[block] - h * v})) / (2 * h)
        g = called(claimed, values)
        worst = max(worst, abs((g * v).sum() - slope) / (abs(g * v).sum() + abs(slope)))
    return worst


def gradient(name, what, energy, claimed, draw, block="z", right=False):
    """Put the claim of a gradient on the list."""
    add("claim", name, what, lambda seed: ml.verify(ml.Gradient(energy, claimed, block=block, draw=draw), seed=seed),
        lambda: gradient_gap(energy, claimed, block, draw), right)


def lifted_energy(W, z, a, u):
    """½ ‖tanh z − a‖² + ‖z − aW‖²/2 + ⟨u, z − aW⟩."""
    return ((np.tanh(z) - a) ** 2).sum() / 2 + ((z - a @ W) ** 2).sum() / 2 + (u * (z - a @ W)).sum()


draw_all = normal(W=(3, 3), z=(4, 3), a=(4, 3), u=(4, 3))
gradient("grad-z-slope", "σ′ is forgotten in ∂E/∂z", lifted_energy,
         lambda W, z, a, u: np.tanh(z) - a + z - a @ W + u, draw_all)
gradient("grad-z-dual", "the multiplier has the wrong sign in ∂E/∂z", lifted_energy,
         lambda W, z, a, u: (1 - np.tanh(z) ** 2) * (np.tanh(z) - a) + z - a @ W - u, draw_all)
gradient("grad-a-through", "∂E/∂a has only the term of its own activation", lifted_energy,
         lambda W, z, a, u: a - np.tanh(z) - u @ W.T, draw_all, "a")
gradient("grad-w-transposed", "∂E/∂W is transposed", lifted_energy,
         lambda W, z, a, u: -(z - a @ W + u).T @ a, draw_all, "W")
gradient("right-grad-a", "∂E/∂a by einsum", lifted_energy,
         lambda W, z, a, u: a - np.tanh(z) - np.einsum("nj,ij->ni", z - a @ W + u, W), draw_all, "a", True)


def log_det(z):
    return -np.linalg.slogdet(z @ z.T + np.eye(len(z)))[1] + np.linalg.slogdet(z + 4 * np.eye(len(z)))[1]


gradient("grad-log-det", "the inverse in the place of the inverse transposed", log_det,
         lambda z: -2 * np.linalg.solve(z @ z.T + np.eye(3), z) + np.linalg.inv(z + 4 * np.eye(3)),
         normal(z=(3, 3)))
gradient("grad-quadratic", "2Az for a matrix that is not symmetric", lambda z, A: z @ A @ z, lambda z, A: 2 * A @ z,
         normal(z=(4,), A=(4, 4)))
gradient("right-grad-quadratic", "(A + Aᵀ) z", lambda z, A: z @ A @ z, lambda z, A: A @ z + A.T @ z,
         normal(z=(4,), A=(4, 4)), right=True)


def attention(Q, K, V):
    s = Q @ K.T / 3**0.5
    p = np.exp(s - s.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return ((p @ V) ** 2).sum() / 2


def attention_q(Q, K, V, scale=True, axis=1):
    s = Q @ K.T / 3**0.5
    p = np.exp(s - s.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    g = (p @ V) @ V.T
    g = p * (g - (p * g).sum(axis=axis, keepdims=True))
    return g @ K / (3**0.5 if scale else 1)


draw_q = normal(Q=(4, 3), K=(4, 3), V=(4, 2))
gradient("grad-attention-scale", "attention's gradient in Q without 1/√d", attention,
         lambda Q, K, V: attention_q(Q, K, V, scale=False), draw_q, "Q")
gradient("grad-attention-axis", "attention's softmax is differentiated along the other axis", attention,
         lambda Q, K, V: attention_q(Q, K, V, axis=0), draw_q, "Q")
gradient("right-grad-attention", "attention's gradient in Q", attention, lambda Q, K, V: attention_q(Q, K, V), draw_q,
         "Q", True)


def shared(W, a):
    return (np.tanh(np.tanh(a @ W) @ W) ** 2).sum() / 2


def shared_gradient(W, a, both=True):
    h = np.tanh(a @ W)
    o = np.tanh(h @ W)
    g = o * (1 - o * o)
    back = g @ W.T * (1 - h * h)
    return h.T @ g + (a.T @ back if both else 0)


gradient("grad-shared", "a matrix that is used twice, of which one use counts", shared,
         lambda W, a: shared_gradient(W, a, both=False), normal(W=(3, 3), a=(4, 3)), "W")
gradient("right-grad-shared", "a matrix that is used twice", shared, lambda W, a: shared_gradient(W, a),
         normal(W=(3, 3), a=(4, 3)), "W", True)


def equal(name, what, formula, reference, draw, right=False):
    """Put the claim of an equality on the list."""
    def gap():
        draws = [draw(np.random.default_rng(100 + seed)) for seed in range(12)]
        return max(rel(called(formula, values), called(reference, values)) for values in draws)

    add("claim", name, what, lambda seed: ml.verify(ml.Equal(formula, reference, draw=draw), seed=seed), gap, right)


equal("kron-order", "A ⊗ B with rows first, where it is B ⊗ A with columns first",
      lambda A, B, X: (np.kron(A, B) @ X.ravel()).reshape(3, 2), lambda A, B, X: B @ X @ A.T,
      normal(A=(2, 2), B=(3, 3), X=(3, 2)))
equal("fft-circular", "a linear convolution by FFT without zeros",
      lambda a, w: np.fft.irfft(np.fft.rfft(a) * np.fft.rfft(w, len(a)), len(a)), lambda a, w: np.convolve(a, w)[:8],
      normal(a=(8,), w=(3,)))
equal("blocks-rest", "blocks of four rows, the last shorter one is left out",
      lambda a: sum(a[i:i + 4].T @ a[i:i + 4] for i in range(0, len(a) // 4 * 4, 4)) + np.zeros((2, 2)),
      lambda a: a.T @ a, lambda rng: {"a": rng.normal(size=(int(rng.integers(4, 11)), 2))})
equal("variance-ddof", "the biased variance, the reference is unbiased",
      lambda a: (a**2).mean(axis=0) - a.mean(axis=0) ** 2,
      lambda a: a.var(axis=0, ddof=1), normal(a=(6, 3)))
equal("sherman-sign", "Sherman–Morrison with 1 − vᵀAu", lambda A, u, v: np.linalg.inv(A @ A.T + np.eye(3)) - (
      lambda B: np.outer(B @ u, v @ B) / (1 - v @ B @ u))(np.linalg.inv(A @ A.T + np.eye(3))),
      lambda A, u, v: np.linalg.inv(A @ A.T + np.eye(3) + np.outer(u, v)), normal(A=(3, 3), u=(3,), v=(3,)))
equal("running-mean", "a running mean that divides by k instead of k + 1",
      lambda a: running(a, 0), lambda a: a.mean(axis=0), normal(a=(5, 2)))
equal("right-running", "a running mean", lambda a: running(a, 1), lambda a: a.mean(axis=0), normal(a=(5, 2)), True)
equal("right-fft", "a linear convolution by FFT with zeros",
      lambda a, w: np.fft.irfft(np.fft.rfft(a, 16) * np.fft.rfft(w, 16), 16)[:8], lambda a, w: np.convolve(a, w)[:8],
      normal(a=(8,), w=(3,)), True)
equal("right-blocks-rest", "blocks of four rows and the rest",
      lambda a: sum(a[i:i + 4].T @ a[i:i + 4] for i in range(0, len(a), 4)), lambda a: a.T @ a,
      lambda rng: {"a": rng.normal(size=(int(rng.integers(4, 11)), 2))}, True)
equal("distances-sign", "‖x − y‖² with + 2⟨x, y⟩",
      lambda a, b: (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) + 2 * a @ b.T,
      lambda a, b: ((a[:, None] - b[None]) ** 2).sum(axis=2), normal(a=(4, 3), b=(5, 3)))


def running(a, first):
    mean = a[0].copy()
    for k in range(1, len(a)):
        mean += (a[k] - mean) / (k + first)
    return mean


# sweeps


def decreases(name, what, energy, sweep, draw, gap, right=False, **more):
    """Put the claim of a sweep on the list."""
    add("claim", name, what,
        lambda seed: ml.verify(ml.Decreases(energy, sweep, draw=draw, **more), seed=seed), gap, right)


def risen(energy, sweep, draw, times=3):
    """Return by how much an energy rises at most in a sweep, relative to its size."""
    worst = 0.0
    for seed in range(12):
        values = draw(np.random.default_rng(100 + seed))
        for _ in range(times):
            before = called(energy, values)
            values = {**values, **called(sweep, values)}
            worst = max(worst, (called(energy, values) - before) / (abs(before) + 1e-12))
    return worst


def at_rest(energy, sweep, draw, blocks, times=3000):
    """Return the slope of the energy at a sweep's point of rest, relative to that at the start."""
    worst, h = 0.0, 1e-5
    for seed in range(2):
        values = draw(np.random.default_rng(100 + seed))

        def slope(values):
            found = []
            for block in blocks:
                v = np.random.default_rng(1).normal(size=values[block].shape)
                found.append((called(energy, {**values, block: values[block] + h * v})
                              - called(energy, {**values, block: values[block] - h * v})) / (2 * h))
            return max(map(abs, found))

        start = slope(values)
        for _ in range(times):
            values = {**values, **called(sweep, values)}
        worst = max(worst, slope(values) / start)
    return worst


def factors(a, W, y):
    """½ ‖y − aW‖² + 0.1 ‖a‖² + 0.1 ‖W‖²."""
    return ((y - a @ W) ** 2).sum() / 2 + 0.1 * (a**2).sum() + 0.1 * (W**2).sum()


draw_factors = normal(a=(5, 2), W=(2, 4), y=(5, 4))


def factors_of(W, y):
    return np.linalg.solve(W @ W.T + 0.2 * np.eye(2), W @ y.T).T


def in_turn(W, y):
    a = factors_of(W, y)
    return {"a": a, "W": np.linalg.solve(a.T @ a + 0.2 * np.eye(2), a.T @ y)}


def at_once(a, W, y):
    return {"a": factors_of(W, y), "W": np.linalg.solve(a.T @ a + 0.2 * np.eye(2), a.T @ y)}


def unit_columns(W, y):
    found = in_turn(W, y)
    scale = np.linalg.norm(found["a"], axis=0)
    return {"a": found["a"] / scale, "W": found["W"]}


def only_w(a, y):
    return {"W": np.linalg.solve(a.T @ a + 0.2 * np.eye(2), a.T @ y)}


def without_decay(W, y):
    a = np.linalg.solve(W @ W.T, W @ y.T).T
    return {"a": a, "W": np.linalg.solve(a.T @ a, a.T @ y)}


def half_decay(W, y):
    a = np.linalg.solve(W @ W.T + 0.1 * np.eye(2), W @ y.T).T
    return {"a": a, "W": np.linalg.solve(a.T @ a + 0.1 * np.eye(2), a.T @ y)}


decreases("sweep-at-once", "both factors from the old values of each other", factors, at_once, draw_factors,
          lambda: risen(factors, at_once, draw_factors))
decreases("sweep-normalised", "columns are normalised at the end of a sweep", factors, unit_columns, draw_factors,
          lambda: risen(factors, unit_columns, draw_factors))
decreases("sweep-half-decay", "the decay 0.1 ‖·‖² as 0.1 in the normal equations", factors, half_decay, draw_factors,
          lambda: at_rest(factors, half_decay, draw_factors, ("a", "W"), 300))
decreases("right-sweep", "both factors in turn", factors, in_turn, draw_factors,
          lambda: max(risen(factors, in_turn, draw_factors), at_rest(factors, in_turn, draw_factors, ("a", "W"))), True)


def quadratic(z, A, y):
    return ((A @ z - y) ** 2).sum() / 2 + 0.1 * (z**2).sum()


draw_quadratic = normal(z=(3,), A=(4, 3), y=(4,))


def steep(z, A, y, norm=2):
    L = (np.linalg.norm(A, 2) ** 2 if norm == 2 else (A * A).sum(axis=0).max()) + 0.2
    return {"z": z - (A.T @ (A @ z - y) + 0.2 * z) / L * (1 if norm == 2 else 1.9)}


def no_decay_step(z, A, y):
    return {"z": z - A.T @ (A @ z - y) / (np.linalg.norm(A, 2) ** 2 + 0.2)}


def early_stop(z, A, y):
    new = steep(z, A, y)["z"]
    better = quadratic(new, A, y) < 0.98 * quadratic(z, A, y)
    return {"z": new if better else z}


def coordinates(z, A, y):
    z = z.copy()
    for i in range(len(z)):
        z[i] -= (A[:, i] @ (A @ z - y) + 0.2 * z[i]) / (A[:, i] @ A[:, i] + 0.2)
    return {"z": z}


def frozen_last(z, A, y):
    new = coordinates(z, A, y)["z"]
    new[-1] = z[-1]
    return {"z": new}


decreases("step-too-long", "1.9/L with the largest diagonal entry for L", quadratic,
          lambda z, A, y: steep(z, A, y, norm=1), draw_quadratic,
          lambda: risen(quadratic, lambda z, A, y: steep(z, A, y, norm=1), draw_quadratic, 30))
decreases("step-no-decay", "gradient steps that forget the decay", quadratic, no_decay_step, draw_quadratic,
          lambda: at_rest(quadratic, no_decay_step, draw_quadratic, ("z",)))
decreases("step-early", "rests as soon as a step gains less than two percent", quadratic, early_stop, draw_quadratic,
          lambda: at_rest(quadratic, early_stop, draw_quadratic, ("z",), 200))
decreases("coordinate-left-out", "coordinate descent by range(n − 1)", quadratic, frozen_last, draw_quadratic,
          lambda: at_rest(quadratic, frozen_last, draw_quadratic, ("z",), 200))
decreases("right-gradient-steps", "gradient steps of 1/L", quadratic, lambda z, A, y: steep(z, A, y), draw_quadratic,
          lambda: max(risen(quadratic, lambda z, A, y: steep(z, A, y), draw_quadratic),
                      at_rest(quadratic, lambda z, A, y: steep(z, A, y), draw_quadratic, ("z",))), True)
decreases("right-coordinates", "coordinate descent", quadratic, coordinates, draw_quadratic,
          lambda: max(risen(quadratic, coordinates, draw_quadratic),
                      at_rest(quadratic, coordinates, draw_quadratic, ("z",), 300)), True)


class Momentum:
    """A sweep with a velocity that it keeps for itself, from one problem to the next."""

    def __init__(self):
        self.velocity = 0

    def __call__(self, z, A, y):
        step = z - steep(z, A, y)["z"]
        self.velocity = 0.9 * self.velocity + step
        return {"z": z - self.velocity}


def momentum_gap():
    """Return by how much the energy rises under momentum."""
    sweep = Momentum()
    return risen(quadratic, lambda z, A, y: sweep(z, A, y), draw_quadratic, 30)


add("claim", "sweep-momentum", "a hidden velocity carries over from call to call",
    lambda seed: ml.verify(ml.Decreases(quadratic, Momentum(), draw=draw_quadratic), seed=seed), momentum_gap)


def lagrangian(x, z, u, v, A):
    """½ ‖Ax − v‖² + 0.3 Σ√(1 + z²) + ½ ‖x − z‖² + ⟨u, x − z⟩."""
    fit, smooth = ((A @ x - v) ** 2).sum() / 2, 0.3 * np.sqrt(1 + z * z).sum()
    return fit + smooth + ((x - z) ** 2).sum() / 2 + (u * (x - z)).sum()


def admm_sweep(x, z, u, v, A, dual=1.0, sign=1.0, order="xz"):
    old = z
    x = np.linalg.solve(A.T @ A + np.eye(3), A.T @ v + old - sign * u)
    source = x
    for _ in range(60):
        z = z - (0.3 * z / np.sqrt(1 + z * z) + z - source - u) / (1 + 0.3 * (1 + z * z) ** -1.5)
    return {"x": x, "z": z, "u": u + dual * (x - z)}


draw_admm = normal(x=(3,), z=(3,), u=(3,), v=(4,), A=(4, 3))


def sign_sweep(x, z, u, v, A):
    return admm_sweep(x, z, u, v, A, sign=-1.0)


def no_dual_sweep(x, z, u, v, A):
    return {**admm_sweep(x, z, u, v, A), "u": u}


def right_admm(x, z, u, v, A):
    return admm_sweep(x, z, u, v, A)


def short_dual(x, z, u, v, A):
    return admm_sweep(x, z, u, v, A, dual=0.5)


decreases("dual-sign-in-x", "the multiplier has the other sign in the block of x", lagrangian, sign_sweep, draw_admm,
          lambda: at_rest(lagrangian, sign_sweep, draw_admm, ("x", "z", "u"), 400), descends=False)
decreases("dual-left-out", "no dual step: rest where x ≠ z", lagrangian, no_dual_sweep, draw_admm,
          lambda: at_rest(lagrangian, no_dual_sweep, draw_admm, ("x", "z", "u"), 400), descends=False)
decreases("dual-descends", "claims that each sweep of ADMM, dual step included, lowers the Lagrangian", lagrangian,
          right_admm, draw_admm, lambda: risen(lagrangian, right_admm, draw_admm, 30))
decreases("right-dual", "ADMM with a multiplier, of whose points of rest is spoken", lagrangian, right_admm, draw_admm,
          lambda: at_rest(lagrangian, right_admm, draw_admm, ("x", "z", "u")), True, descends=False)
decreases("right-short-dual", "ADMM with half a dual step", lagrangian, short_dual, draw_admm,
          lambda: at_rest(lagrangian, short_dual, draw_admm, ("x", "z", "u")), True, descends=False)


# ---- networks with joins


class MeanJoin(ml.Add):
    def forward(self, theta, *values):
        return sum(values) / len(values)


class MeanJoinRight(MeanJoin):
    def adjoint_inputs(self, theta, g, values):
        return [g / len(values) for _ in values]


class Difference(ml.Add):
    def forward(self, theta, *values):
        return values[0] - values[1]


class DifferenceRight(Difference):
    def adjoint_inputs(self, theta, g, values):
        return [g, -g]


class ConcatTurned(ml.Concat):
    def adjoint_inputs(self, theta, g, values):
        return super().adjoint_inputs(theta, g, values)[::-1]


class GatedJoin(ml.Add):
    """A product of two values: not linear, though its adjoints are right where they were taken."""

    def forward(self, theta, *values):
        return values[0] * values[1]

    def adjoint_inputs(self, theta, g, values):
        return [g * values[1], g * values[1]]


class SelectAround(ml.Select):
    def adjoint_inputs(self, theta, g, values):
        signal = np.zeros(values[0].shape, g.dtype)
        signal[:, 0] = g
        return [signal]


class AddInPlace(ml.Add):
    def forward(self, theta, *values):
        total = values[0]
        total += values[1]
        return total


def joined(join, width=4):
    """Return a maker of a network with a join of the values before and after a layer."""
    def make():
        layers = [ml.Linear(3, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 4), ml.Tanh(), join("x"), ml.Linear(width, 2)]
        return ml.Network(layers, ml.SquaredError(), dtype=np.float64, seed=1)
    return make


def sequence_net(join):
    """Return a maker of a network that takes the second of three time steps."""
    def make():
        layers = [OverTime(3, 4), ml.Tanh(), ml.Named("h"), join("h", 1), ml.Linear(4, 4), ml.Tanh(), ml.Named("g"),
                  ml.Select("h", 2), ml.Linear(4, 4), ml.Add("g"), ml.Tanh(), ml.Linear(4, 2)]
        return ml.Network(layers, ml.SquaredError(), dtype=np.float64, seed=1, input_shape=(3, 3))
    return make


def network_gap(make, shape=(3,)):
    """Return the relative error of BackProp's gradient in a network, by differences, and of two equal passes."""
    rng, net, worst, h = np.random.default_rng(5), make(), 0.0, 1e-5
    X, y = rng.normal(size=(5, *shape)), rng.normal(size=(5, 2))
    _, d = ml.BackProp().direction(net, X, y)

    def training_loss():
        return net.loss_function.value(net.propagate(X, training=True).z[net.depth], y)

    for theta, g in zip(net.parameters, d):
        v, kept = rng.normal(size=theta.shape), theta.copy()
        theta[...] = kept + h * v
        up = training_loss()
        theta[...] = kept - h * v
        slope = (up - training_loss()) / (2 * h)
        theta[...] = kept
        worst = max(worst, abs((g * v).sum() - slope) / (abs(g * v).sum() + abs(slope) + 1e-30))
    return worst


def network(name, what, make, right=False, shape=(3,)):
    """Put a network on the list."""
    add("network", name, what, lambda seed: ml.verify(make(), seed=seed), lambda: network_gap(make, shape), right)


network("join-mean", "a join that takes the mean, with the adjoint of a sum", joined(MeanJoin))
network("join-difference", "a difference with the adjoint of a sum", joined(Difference))
network("join-concat", "side by side, the signals come back in the other order", joined(ConcatTurned, 8))
network("join-product", "a product, whose second adjoint has the wrong factor", joined(GatedJoin))
network("join-in-place", "a sum that is made in its first value", joined(AddInPlace))
network("select-first", "a time step, whose signal goes to step 0", sequence_net(SelectAround), shape=(3, 3))
network("right-join-mean", "a join that takes the mean", joined(MeanJoinRight), True)
network("right-join-difference", "a difference", joined(DifferenceRight), True)
network("right-sequence", "two of three time steps", sequence_net(ml.Select), True, (3, 3))
network("right-resnet", "a network with a normalised residual block", lambda: ml.Network(
    [ml.Linear(3, 4), ml.BatchNorm(4), ml.ReLU(), ml.Named("x"), ml.Linear(4, 4), ml.Tanh(), ml.Add("x"),
     ml.Linear(4, 2)], ml.SquaredError("sum"), dtype=np.float64, seed=2), True)


# ---- the table


def seconds():
    """Return the user CPU seconds of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def tried(item, seed):
    """Return whether `verify` passed, its reasons, and seconds."""
    start = seconds()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = item.call(seed)
    return report.passed, report, seconds() - start


def reason(report):
    """Return the reason that says most: the first that is no admission, or the first."""
    reasons = [failure.reason for failure in report.failures]
    return next((text for text in reasons if "none of the usual" not in text), reasons[0] if reasons else "")


def print_truth(items):
    """Print how wrong each mistake and each right thing is, without `verify`."""
    for item in items:
        gap = item.gap()
        fair = gap < 1e-6 if item.right else gap > 1e-9
        print(f"{item.group:9} {item.name:24} {'right' if item.right else 'wrong'} {gap:9.1e}{'' if fair else '  ?'}")


def print_table(items):
    """Print a line for each item, then the counts of each group."""
    counts: dict = {}
    for item in items:
        count = counts.setdefault(item.group, [0, 0, 0, 0])
        seeds = SEEDS if item.right else SEEDS[:1]
        results = [tried(item, seed) for seed in seeds]
        failed, longest = [r for r in results if not r[0]], max(r[2] for r in results)
        said = reason(failed[0][1]) if failed else ""
        verdict = ("ALARM" if failed else "right") if item.right else ("found" if failed else "MISSED")
        count[2 if item.right else 0] += 1
        count[3 if item.right else 1] += bool(failed)
        print(f"{item.group:9} {item.name:24} {verdict:7}{longest:6.2f} s  {item.what}")
        if failed:
            print(f"{'':49}{said}")
    print(f"\n{'':9} {'mistakes':>9} {'found':>7} {'right':>7} {'alarms':>7}")
    for group, count in counts.items():
        print(f"{group:9} {count[0]:9} {count[1]:7} {count[2]:7} {count[3]:7}")


def main():
    """Print the table, or the truth about the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="items or groups, by default all")
    parser.add_argument("--truth", action="store_true", help="how wrong each is, without verify")
    chosen = parser.parse_args()
    items = [item for item in ITEMS if not chosen.names or {item.name, item.group} & set(chosen.names)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (print_truth if chosen.truth else print_table)(items)


if __name__ == "__main__":
    main()
