"""What somebody who has not read the checks hands to `minilift.verify`: derivations with one mistake, and right ones.

Each entry of `TABLE` builds an object and makes the call that its author would make. A mistake should be refused, and a
reason should name it: one of its words should stand in one of the report's reasons. A right thing should pass, for any
seed.

    python tests/checks/strangers/first.py              # all mistakes once, all right things with five seeds
    python tests/checks/strangers/first.py --seeds 50
    python tests/checks/strangers/first.py huber relu   # those whose names hold one of these words
"""

from __future__ import annotations

import argparse
import math
import re
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import minilift as ml
from minilift.layers.activations import Softmax, Transfer
from minilift.layers.losses import OfLabels


class Entry(NamedTuple):
    """One derivation; `words`, of which one should be in a fitting reason, are empty for a right one."""

    kind: str
    name: str
    what: str
    check: Callable[[int], Any]
    words: tuple[str, ...]


TABLE: list[Entry] = []


def wrong(kind, what, *words):
    """Register a function of the seed that verifies a derivation with one mistake, and words that would name it."""
    def register(check):
        TABLE.append(Entry(kind, check.__name__, what, check, words))
        return check
    return register


def right(kind, what):
    """Register a function of the seed that verifies a derivation without a mistake."""
    def register(check):
        TABLE.append(Entry(kind, check.__name__, what, check, ()))
        return check
    return register


def wrong_transfer(what, *words):
    """Register a transfer class with a mistake."""
    def register(cls):
        TABLE.append(Entry("transfer", cls.__name__, what, lambda seed: ml.verify(cls(), seed=seed), words))
        return cls
    return register


def right_transfer(what):
    """Register a right transfer class."""
    return wrong_transfer(what)


# ---------------------------------------------------------------------------------------------- transfers, elementwise


def logistic(z):
    return 0.5 * (1 + np.tanh(z / 2))


@wrong_transfer("the derivative of the negative side is the value exp(z) - 1, not exp(z)",
                "value", "negative", "left", "a in", "+ 1", "constant", "where z <", "z < 0")
class ELUValueForSlope(ml.Activation):
    range = (-1.0, math.inf)

    def forward(self, z):
        return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))

    def derivative(self, z):
        return np.where(z > 0, 1, np.expm1(np.minimum(z, 0))).astype(z.dtype)


@wrong_transfer("the product rule's second term is missing", "product", "term", "s(1", "missing", "lacks")
class SiLUWithoutProductRule(ml.Activation):
    range = (-0.2785, math.inf)

    def forward(self, z):
        return z * logistic(z)

    def derivative(self, z):
        return logistic(z)


@wrong_transfer("a power 3 for 2 in the derivative", "power", "square", "exponent")
class SoftsignCubed(ml.Activation):
    range = (-1.0, 1.0)

    def forward(self, z):
        return z / (1 + abs(z))

    def derivative(self, z):
        return 1 / (1 + abs(z)) ** 3

    def integral(self, z):
        return abs(z) - np.log1p(abs(z))


@wrong_transfer("1 - tanh z in the place of 1 - tanh² z", "square", "power", "1 − a²", "1 − σ(z)")
class TanhNotSquared(ml.Activation):
    range = (-1.0, 1.0)

    def forward(self, z):
        return np.tanh(z)

    def derivative(self, z):
        return 1 - np.tanh(z)


@wrong_transfer("the derivative expects a and is given z: z (1 - z)", "a and z", "z for a", "of a", "σ(z) for z",
                "takes z", "z in the place of a", "z where a", "in a, not", "of the value")
class SigmoidOfTheWrongVariable(ml.Activation):
    range = (0.0, 1.0)

    def forward(self, z):
        return logistic(z)

    def derivative(self, z):
        return z * (1 - z)


@wrong_transfer("the adjoint is given the value a and applies σ to it again: σ'(a)", "σ'(a)", "at a", "twice", "of a")
class SigmoidTwice(ml.Activation):
    range = (0.0, 1.0)

    def forward(self, z):
        return logistic(z)

    def derivative(self, z):
        return logistic(z) * (1 - logistic(z))

    def adjoint(self, z, a, aux, g):
        return g * self.derivative(a)


@wrong_transfer("the adjoint divides by the derivative (inverse function in mind)", "divide", "inverse", "1/σ'",
                "1 / σ'", "reciprocal")
class TanhDivided(ml.Activation):
    range = (-1.0, 1.0)

    def forward(self, z):
        return np.tanh(z)

    def derivative(self, z):
        return 1 - np.tanh(z) ** 2

    def adjoint(self, z, a, aux, g):
        return g / self.derivative(z)


@wrong_transfer("the slope is 0.2 in forward and 0.1 in the derivative", "slope", "factor", "½", "0.1", "negative",
                "z < 0")
class LeakyTwoSlopes(ml.Activation):
    def forward(self, z):
        return np.where(z > 0, z, z.dtype.type(0.2) * z)

    def derivative(self, z):
        return np.where(z > 0, 1, 0.1).astype(z.dtype)


@wrong_transfer("the derivative forgets that the function is flat beyond 6", "6", "beyond", "flat", "satur", "large",
                "clip", "cut", "z = 20")
class ReLU6WithoutTop(ml.Activation):
    range = (0.0, 6.0)
    closed = True

    def forward(self, z):
        return np.clip(z, 0, 6)

    def derivative(self, z):
        return (z > 0).astype(z.dtype)


@wrong_transfer("the slope of another library's hard sigmoid, 0.2 for 1/6", "factor", "slope", "1.2", "0.2")
class HardSigmoidOtherSlope(ml.Activation):
    range = (0.0, 1.0)
    closed = True

    def forward(self, z):
        return np.clip(z / 6 + 0.5, 0, 1)

    def derivative(self, z):
        return (abs(z) < 3) * z.dtype.type(0.2)


@wrong_transfer("a sharpness of 4 is chain-ruled though the function was divided by it", "factor", "4", "chain")
class SharpSoftplus(ml.Activation):
    range = (0.0, math.inf)

    def forward(self, z):
        return np.logaddexp(4 * z, z.dtype.type(0)) / 4

    def derivative(self, z):
        return 4 * logistic(4 * z)


@wrong_transfer("the inner derivative is missing: tanh(2z) has slope 2 (1 - a²)", "factor", "inner", "chain", "2")
class TanhInnerDerivative(ml.Activation):
    range = (-1.0, 1.0)

    def forward(self, z):
        return np.tanh(2 * z)

    def derivative(self, z):
        return 1 - np.tanh(2 * z) ** 2


@wrong_transfer("log(1 + exp z) overflows for large z", "overflow", "large", "finite", "inf")
class NaiveSoftplus(ml.Activation):
    range = (0.0, math.inf)

    def forward(self, z):
        return np.log(1 + np.exp(z))

    def derivative(self, z):
        return logistic(z)


@wrong_transfer("exp z/(1 + exp z) is NaN for large z", "overflow", "large", "finite", "nan")
class NaiveSigmoid(ml.Activation):
    range = (0.0, 1.0)

    def forward(self, z):
        return np.exp(z) / (1 + np.exp(z))

    def derivative(self, z):
        a = self.forward(z)
        return a * (1 - a)


@wrong_transfer("a float64 constant makes float32 values float64", "float64", "float32", "dtype", "promot")
class SnakeInDouble(ml.Activation):
    alpha = np.full(1, 0.5)

    def forward(self, z):
        return z + np.sin(self.alpha * z) ** 2 / self.alpha

    def derivative(self, z):
        return 1 + np.sin(2 * self.alpha * z)


@wrong_transfer("the derivative of a float32 array is float64 (np.where of Python numbers)", "float64", "dtype",
                "float32")
class ReLUWhere(ml.Activation):
    range = (0.0, math.inf)
    closed = True

    def forward(self, z):
        return np.maximum(z, 0)

    def derivative(self, z):
        return np.where(z > 0, 1.0, 0.0)


@wrong_transfer("the derivative is an array of truth values", "bool", "dtype", "truth")
class ReLUBoolean(ml.Activation):
    range = (0.0, math.inf)
    closed = True

    def forward(self, z):
        return np.maximum(z, 0)

    def derivative(self, z):
        return z > 0


@wrong_transfer("forward writes into its argument", "overwrit", "in place", "argument", "writes into")
class ReLUInPlace(ml.Activation):
    range = (0.0, math.inf)
    closed = True

    def forward(self, z):
        return np.maximum(z, 0, out=z)

    def derivative(self, z):
        return (z > 0).astype(z.dtype)


@wrong_transfer("the adjoint writes into the signal that it is given", "overwrit", "in place", "argument",
                "writes into")
class AdjointInPlace(ml.Activation):
    range = (0.0, math.inf)
    closed = True

    def forward(self, z):
        return np.maximum(z, 0)

    def derivative(self, z):
        return (z > 0).astype(z.dtype)

    def adjoint(self, z, a, aux, g):
        g[z <= 0] = 0
        return g


@wrong_transfer("the derivative at 0 is NaN, (z/|z| + 1)/2", "nan", "finite", "kink", "at 0")
class ReLUNaNAtKink(ml.Activation):
    range = (0.0, math.inf)
    closed = True

    def forward(self, z):
        return np.maximum(z, 0)

    def derivative(self, z):
        with np.errstate(all="ignore"):
            return (z / abs(z) + 1) / 2


@wrong_transfer("at the kink itself the derivative is 2 (two masks overlap)", "kink", "at 0", "z = 0", "both",
                "one-sided")
class LeakyTwiceAtKink(ml.Activation):
    def forward(self, z):
        return np.where(z >= 0, z, z / 2)

    def derivative(self, z):
        return ((z >= 0) + (z <= 0) * 0.5).astype(z.dtype)


@wrong_transfer("the derivative is 1 inside the dead zone, 0 outside", "complement", "inside", "swapped", "1 −",
                "inverted", "where it is", "other way")
class SoftThresholdInverted(ml.Activation):
    def forward(self, z):
        return np.sign(z) * np.maximum(abs(z) - 0.5, 0)

    def derivative(self, z):
        return (abs(z) <= 0.5).astype(z.dtype)


@wrong_transfer("the kinks are at ±1, the derivative has them at ±½", "kink", "threshold", "place", "where", "shift")
class SoftThresholdOtherKink(ml.Activation):
    def forward(self, z):
        return np.sign(z) * np.maximum(abs(z) - 1, 0)

    def derivative(self, z):
        return (abs(z) > 0.5).astype(z.dtype)


@wrong_transfer("the integral has no factor ½", "½", "factor", "half", "2")
class ReLUIntegralWithoutHalf(ml.ReLU):
    def integral(self, z):
        return self.forward(z) ** 2


@wrong_transfer("log cosh z overflows", "overflow", "large", "finite", "inf")
class LogCosh(ml.Tanh):
    def integral(self, z):
        return np.log(np.cosh(z))


@wrong_transfer("the conjugate is the entropy with the wrong sign", "sign", "negative", "−")
class SigmoidConjugateSign(ml.Sigmoid):
    def conjugate(self, a):
        return -super().conjugate(a)


@wrong_transfer("the conjugate is that of another scale: a² for a²/2", "factor", "½", "2", "half")
class ReLUConjugate(ml.ReLU):
    def conjugate(self, a):
        return a * a


@wrong_transfer("the inverse multiplies by the slope", "inverse", "slope", "divide", "1/")
class LeakyInverse(ml.LeakyReLU):
    def inverse(self, a):
        return np.maximum(a, a * self.slope)


@wrong_transfer("the range is not stated, and so all numbers", "range")
class TanhNoRange(ml.Activation):
    def forward(self, z):
        return np.tanh(z)

    def derivative(self, z):
        return 1 - np.tanh(z) ** 2

    def integral(self, z):
        return ml.Tanh().integral(z)


@wrong_transfer("the range of a ReLU is stated for an ELU, whose values are down to -1", "range")
class ELURange(ml.Activation):
    range = (0.0, math.inf)

    def forward(self, z):
        return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))

    def derivative(self, z):
        return np.where(z > 0, 1, np.exp(np.minimum(z, 0))).astype(z.dtype)


@wrong_transfer("the linear pieces have the offsets of the two ends swapped", "piece", "offset")
class HardTanhPieces(ml.HardTanh):
    pieces = ((-math.inf, -1.0, 0.0, 1.0), (-1.0, 1.0, 1.0, 0.0), (1.0, math.inf, 0.0, -1.0))


@wrong_transfer("another function is subclassed and its pieces inherited", "piece")
class ReLUHalved(ml.ReLU):
    def forward(self, z):
        return np.maximum(z, 0) / 2

    def derivative(self, z):
        return (z > 0).astype(z.dtype) / 2

    def adjoint(self, z, a, aux, g):
        return g * self.derivative(z)

    def integral(self, z):
        return np.maximum(z, 0) ** 2 / 4

    def conjugate(self, a):
        return a * a

    def inverse(self, a):
        return 2 * a


@wrong_transfer("forward is the erf form, the derivative that of the tanh approximation", "approxim", "close", "small",
                "nearly")
class GELUTwoForms(ml.Activation):
    range = (-0.17, math.inf)

    def forward(self, z):
        from scipy.special import erf
        return z * (1 + erf(z / math.sqrt(2))) / 2

    def derivative(self, z):
        c = math.sqrt(2 / math.pi)
        t = np.tanh(c * (z + 0.044715 * z**3))
        return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * c * (1 + 3 * 0.044715 * z**2)


@wrong_transfer("solve_shifted divides by 1 - c σ'", "sign", "1 −", "minus", "1 + c")
class ShiftedSign(ml.Tanh):
    def solve_shifted(self, z, c, r):
        return r / (1 - c * self.derivative(z))


@wrong_transfer("solve_shifted forgets the derivative", "σ'", "derivative", "1 + c")
class ShiftedWithoutDerivative(ml.Tanh):
    def solve_shifted(self, z, c, r):
        return r / (1 + c)


@wrong_transfer("solve_shifted multiplies by I + c σ' instead of solving", "inverse", "multipl", "solv", "applies")
class ShiftedApplied(ml.Tanh):
    def solve_shifted(self, z, c, r):
        return r * (1 + c * self.derivative(z))


@wrong_transfer("the adjoint clips its signal at 1, as a remedy against explosion", "clip", "linear in", "not linear",
                "cut")
class ClippedSignal(ml.Tanh):
    def adjoint(self, z, a, aux, g):
        return np.clip(g * (1 - a * a), -1, 1)


@wrong_transfer("the adjoint masks by the sign of g, not of z (guided backpropagation)", "sign of g", "linear in",
                "not linear", "g > 0")
class MaskedBySignal(ml.ReLU):
    def adjoint(self, z, a, aux, g):
        return g * (z > 0) * (g > 0)


@wrong_transfer("the mask of the last forward pass is remembered and used by the adjoint", "remember", "last", "state",
                "earlier")
class RemembersMask(ml.ReLU):
    def forward(self, z):
        self.mask = z > 0
        return np.where(self.mask, z, z.dtype.type(0))

    def adjoint(self, z, a, aux, g):
        return g * self.mask if self.mask.shape == g.shape else g * (z > 0)


@wrong_transfer("values are returned in a buffer that the next call reuses", "buffer", "reuse", "same array",
                "overwrit", "next call")
class ReusesBuffer(ml.Tanh):
    buffers: dict = {}

    def forward(self, z):
        out = self.buffers.setdefault((z.shape, z.dtype), np.empty_like(z))
        return np.tanh(z, out=out)


@wrong_transfer("a cache is kept under the shape alone", "cache", "remember", "first", "earlier", "last")
class CachesByShape(ml.Activation):
    range = (-1.0, 1.0)

    def __init__(self):
        self.cache = {}

    def forward(self, z):
        return np.tanh(z)

    def derivative(self, z):
        key = (z.shape, z.dtype)
        if key not in self.cache:
            self.cache[key] = 1 - np.tanh(z) ** 2
        return self.cache[key]


@wrong_transfer("a running scale is updated in every call: the function changes", "remember", "state", "earlier",
                "every call", "first")
class RunningScale(ml.Activation):
    scale = 1.0

    def forward(self, z):
        self.scale = 0.9 * self.scale + 0.1 * float(abs(z).max())
        return np.tanh(z / self.scale)

    def derivative(self, z):
        return (1 - np.tanh(z / self.scale) ** 2) / self.scale


@wrong_transfer("noise is drawn in evaluation too", "random", "rng", "noise", "draw", "two calls")
class NoisyReLU(ml.Activation):
    range = (0.0, math.inf)
    noise = np.random.default_rng(0)

    def forward(self, z):
        return np.maximum(z + (1e-2 * self.noise.normal(size=z.shape)).astype(z.dtype), 0)

    def derivative(self, z):
        return (z > 0).astype(z.dtype)


# --------------------------------------------------------------------------------- transfers that couple their entries


@wrong_transfer("only the diagonal of the softmax's Jacobian", "diagonal", "off", "a aᵀ", "coupl", "row")
class SoftmaxDiagonal(Softmax):
    def adjoint(self, z, a, aux, g):
        return g * a * (1 - a)


@wrong_transfer("the softmax is taken over the samples", "sample", "axis", "batch", "row")
class SoftmaxAxis(Softmax):
    def forward(self, z):
        e = np.exp(z - z.max(axis=0))
        return e / e.sum(axis=0)


@wrong_transfer("mean and deviation are held constant in the adjoint", "constant", "mean", "deviation", "variance",
                "statistic", "held")
class LayerNormHeld(Transfer):
    def apply(self, z, training=False, rng=None):
        m, s = z.mean(axis=-1, keepdims=True), np.sqrt(z.var(axis=-1, keepdims=True) + z.dtype.type(1e-3))
        return (z - m) / s, s

    def adjoint(self, z, a, aux, g):
        return g / aux


@wrong_transfer("the part of the adjoint along the output is not taken away", "projection", "along", "norm", "held",
                "constant", "term")
class RMSNormHeld(Transfer):
    def apply(self, z, training=False, rng=None):
        s = np.sqrt((z * z).mean(axis=-1, keepdims=True) + z.dtype.type(1e-3))
        return z / s, s

    def adjoint(self, z, a, aux, g):
        return g / aux


@wrong_transfer("channels are normalised by one sample's pixels in forward, over the batch in the adjoint", "mean",
                "sample", "batch", "statistic", "coupl")
class LayerNormBatchMean(Transfer):
    def apply(self, z, training=False, rng=None):
        m, s = z.mean(axis=-1, keepdims=True), np.sqrt(z.var(axis=-1, keepdims=True) + z.dtype.type(1e-3))
        return (z - m) / s, s

    def adjoint(self, z, a, aux, g):
        return (g - g.mean(axis=0) - a * (g * a).mean(axis=0)) / aux


@wrong("transfer", "batch norm's adjoint forgets the derivative through the mean", "mean", "statistic", "term")
def batchnorm_mean(seed):
    class Norm(ml.BatchNorm):
        def adjoint(self, z, a, aux, g):
            g = g * aux.scale
            if aux.batch is not None:
                g = g - aux.normal * self.mean(g * aux.normal)
            return g * aux.inverse_deviation
    return ml.verify(Norm(3), seed=seed)


@wrong("transfer", "batch norm's gradients in scale and shift are swapped", "swap", "scale", "shift", "order")
def batchnorm_swapped(seed):
    class Norm(ml.BatchNorm):
        def gradients(self, aux, g):
            return [super().gradients(aux, g)[0][::-1].copy()]
    return ml.verify(Norm(3), seed=seed)


@wrong("transfer", "batch norm's gradient in the scale is a mean over the batch", "1/n", "mean", "factor", "scale")
def batchnorm_mean_gradient(seed):
    class Norm(ml.BatchNorm):
        def gradients(self, aux, g):
            return [super().gradients(aux, g)[0] / g[..., 0].size]
    return ml.verify(Norm(3), seed=seed)


@wrong("transfer", "the scale's gradient is taken with the unnormalised z", "normal", "scale")
def batchnorm_unnormalised(seed):
    class Norm(ml.BatchNorm):
        def apply(self, z, training=False, rng=None):
            a, aux = super().apply(z, training, rng)
            return a, aux._replace(normal=(z - z.mean(axis=tuple(range(z.ndim - 1)))))
    return ml.verify(Norm(3), seed=seed)


@wrong("transfer", "dropout's adjoint has no factor 1/(1 - p)", "factor", "1 −", "scale", "mask", "half", "2", "½")
def dropout_factor(seed):
    class Drop(ml.Dropout):
        def adjoint(self, z, a, aux, g):
            return g if aux is None else g * (aux > 0)
    return ml.verify(Drop(0.5), seed=seed)


@wrong("transfer", "dropout draws a new mask in the adjoint", "mask", "random", "draw", "rng")
def dropout_new_mask(seed):
    class Drop(ml.Dropout):
        def apply(self, z, training=False, rng=None):
            a, aux = super().apply(z, training, rng)
            self.rng = rng
            return a, aux

        def adjoint(self, z, a, aux, g):
            return g if aux is None else super().adjoint(z, a, self.apply(g, True, self.rng)[1], g)
    return ml.verify(Drop(0.5), seed=seed)


@wrong("transfer", "dropout draws from NumPy's global generator", "random", "rng", "generator", "global")
def dropout_global(seed):
    class Drop(ml.Dropout):
        def apply(self, z, training=False, rng=None):
            return super().apply(z, training, np.random.default_rng())
    return ml.verify(Drop(0.5), seed=seed)


@wrong("transfer", "dropout is active in evaluation too", "evaluation", "training")
def dropout_evaluation(seed):
    class Drop(ml.Dropout):
        def apply(self, z, training=False, rng=None):
            return super().apply(z, True, np.random.default_rng(0) if rng is None else rng)
    return ml.verify(Drop(0.5), seed=seed)


@wrong("transfer", "dropout multiplies by 1 - p in training", "factor", "scale", "expect", "mean", "1 −")
def dropout_inverted_scale(seed):
    class Drop(ml.Dropout):
        def apply(self, z, training=False, rng=None):
            if not training:
                return z, None
            mask = (rng.random(z.shape) >= self.rate) * z.dtype.type(1 - self.rate)
            return z * mask, mask
    return ml.verify(Drop(0.5), seed=seed)


@wrong("transfer", "where several entries are the largest, each gets the whole signal", "tie", "several", "equal",
       "twice", "first")
def maxpool_ties(seed):
    class Pool(ml.MaxPool2d):
        def adjoint(self, z, a, aux, g):
            result = np.zeros_like(z)
            for view, values in zip(self.views(result), self.views(z)):
                view += g * (values == a)
            return result
    return ml.verify(Pool(2), seed=seed)


@wrong("transfer", "average pooling's adjoint does not divide by the window", "factor", "4", "size", "window", "divid")
def avgpool_factor(seed):
    class Pool(ml.AvgPool2d):
        def adjoint(self, z, a, aux, g):
            return super().adjoint(z, a, aux, g) * self.size**2
    return ml.verify(Pool(2), seed=seed)


@wrong("transfer", "overlapping windows overwrite each other in the adjoint", "overlap", "overwrit", "add", "sum")
def avgpool_overlap(seed):
    class Pool(ml.AvgPool2d):
        def adjoint(self, z, a, aux, g):
            result = np.zeros_like(z)
            for view in self.views(result):
                view[...] = g / self.size**2
            return result
    return ml.verify(Pool(3, stride=2), seed=seed)


@wrong("transfer", "flattening puts channels first, its adjoint last", "order", "transpos", "permut", "channel")
def flatten_order(seed):
    class Flat(ml.Flatten):
        def apply(self, z, training=False, rng=None):
            return np.moveaxis(z, -1, 1).reshape(len(z), -1), None
    return ml.verify(Flat(), seed=seed)


@wrong_transfer("the adjoint's halves are swapped (value and gate)", "swap", "halves", "order", "permut")
class GatedSwapped(Transfer):
    def output_shape(self, input_shape):
        if input_shape[-1] % 2:
            raise ValueError("GatedSwapped: expects an even number of channels")
        return (*input_shape[:-1], input_shape[-1] // 2)

    def apply(self, z, training=False, rng=None):
        v, s = np.split(z, 2, axis=-1)
        return v * logistic(s), None

    def adjoint(self, z, a, aux, g):
        v, s = np.split(z, 2, axis=-1)
        p = logistic(s)
        return np.concatenate([g * v * p * (1 - p), g * p], axis=-1)


@wrong_transfer("the second half's sign is lost in the adjoint", "sign", "half")
class ConcatenatedReLU(Transfer):
    def output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * input_shape[-1])

    def apply(self, z, training=False, rng=None):
        return np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], axis=-1), None

    def adjoint(self, z, a, aux, g):
        up, down = np.split(g, 2, axis=-1)
        return up * (z > 0) + down * (z < 0)


@wrong_transfer("output_shape still says the number of inputs", "output_shape", "shape")
class ConcatenatedShape(Transfer):
    def apply(self, z, training=False, rng=None):
        return np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], axis=-1), None

    def adjoint(self, z, a, aux, g):
        up, down = np.split(g, 2, axis=-1)
        return up * (z > 0) - down * (z < 0)


@wrong_transfer("the sign function with a straight-through adjoint, stated as a derivative", "straight", "derivative",
                "jump", "discontin", "step")
class Binarised(ml.Activation):
    range = (-1.0, 1.0)
    closed = True

    def forward(self, z):
        return np.where(z >= 0, 1, -1).astype(z.dtype)

    def derivative(self, z):
        return (abs(z) <= 1).astype(z.dtype)


# --------------------------------------------------------------------------------------------------------------- right


@right_transfer("the example of the recipes")
class Softsign(ml.Activation):
    range = (-1.0, 1.0)

    def forward(self, z):
        return z / (1 + abs(z))

    def derivative(self, z):
        return 1 / (1 + abs(z)) ** 2

    def integral(self, z):
        return abs(z) - np.log1p(abs(z))


@right_transfer("not monotone, and with no integral")
class SiLU(ml.Activation):
    range = (-0.2784645427610738, math.inf)

    def forward(self, z):
        return z * logistic(z)

    def derivative(self, z):
        s = logistic(z)
        return s + z * s * (1 - s)


@right_transfer("not monotone, range not stated")
class Sine(ml.Activation):
    range = (-1.0, 1.0)
    closed = True

    def forward(self, z):
        return np.sin(z)

    def derivative(self, z):
        return np.cos(z)


@right_transfer("erf form")
class GELU(ml.Activation):
    range = (-0.16997, math.inf)

    def forward(self, z):
        from scipy.special import ndtr
        return z * ndtr(z)

    def derivative(self, z):
        from scipy.special import ndtr
        return (ndtr(z) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)).astype(z.dtype)


@right_transfer("two kinks, a dead zone, all of the dual")
class SoftThreshold(ml.Activation):
    def forward(self, z):
        return np.sign(z) * np.maximum(abs(z) - 1, 0)

    def derivative(self, z):
        return (abs(z) > 1).astype(z.dtype)

    def integral(self, z):
        return np.maximum(abs(z) - 1, 0) ** 2 / 2

    def conjugate(self, a):
        return abs(a) + a * a / 2

    def inverse(self, a):
        return a + np.sign(a)


@right_transfer("smooth at 0 only once")
class ELU(ml.Activation):
    range = (-1.0, math.inf)

    def forward(self, z):
        return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))

    def derivative(self, z):
        return np.where(z > 0, 1, np.exp(np.minimum(z, 0))).astype(z.dtype)

    def integral(self, z):
        return np.where(z > 0, z * z / 2, np.expm1(np.minimum(z, 0)) - np.minimum(z, 0))


@right_transfer("a kink of which 0.5 is taken")
class ReLUHalfAtKink(ml.Activation):
    range = (0.0, math.inf)
    closed = True

    def forward(self, z):
        return np.maximum(z, 0)

    def derivative(self, z):
        return np.heaviside(z, z.dtype.type(0.5))


@right_transfer("decreasing: minus a ReLU, with no integral")
class MinusReLU(ml.Activation):
    range = (-math.inf, 0.0)
    closed = True

    def forward(self, z):
        return -np.maximum(z, 0)

    def derivative(self, z):
        return -(z > 0).astype(z.dtype)


@right_transfer("arctangent")
class Arctan(ml.Activation):
    range = (-math.pi / 2, math.pi / 2)

    def forward(self, z):
        return np.arctan(z)

    def derivative(self, z):
        return 1 / (1 + z * z)

    def integral(self, z):
        return z * np.arctan(z) - np.log1p(z * z) / 2


@right_transfer("grows without a bound on its slope")
class Cubic(ml.Activation):
    def forward(self, z):
        return z + z**3

    def derivative(self, z):
        return 1 + 3 * z * z

    def integral(self, z):
        return z * z / 2 + z**4 / 4


@right_transfer("normalises each sample by groups of channels")
class GroupNorm(Transfer):
    groups = 2

    def output_shape(self, input_shape):
        if input_shape[-1] % self.groups:
            raise ValueError("GroupNorm: expects a number of channels that is divisible by 2")
        return tuple(input_shape)

    def grouped(self, x):
        return np.moveaxis(x.reshape(*x.shape[:-1], self.groups, -1), -2, 1).reshape(len(x), self.groups, -1)

    def whole(self, x, shape):
        moved = np.moveaxis(np.empty((*shape[:-1], self.groups, shape[-1] // self.groups), x.dtype), -2, 1)
        return np.moveaxis(x.reshape(moved.shape), 1, -2).reshape(shape)

    def apply(self, z, training=False, rng=None):
        x = self.grouped(z)
        s = np.sqrt(x.var(axis=-1, keepdims=True) + z.dtype.type(1e-3))
        n = (x - x.mean(axis=-1, keepdims=True)) / s
        return self.whole(n, z.shape), (n, s)

    def adjoint(self, z, a, aux, g):
        n, s = aux
        g = self.grouped(g)
        g = (g - g.mean(axis=-1, keepdims=True) - n * (g * n).mean(axis=-1, keepdims=True)) / s
        return self.whole(g, z.shape)


@right_transfer("layer norm")
class LayerNorm(Transfer):
    def apply(self, z, training=False, rng=None):
        m, s = z.mean(axis=-1, keepdims=True), np.sqrt(z.var(axis=-1, keepdims=True) + z.dtype.type(1e-3))
        return (z - m) / s, s

    def adjoint(self, z, a, aux, g):
        return (g - g.mean(axis=-1, keepdims=True) - a * (g * a).mean(axis=-1, keepdims=True)) / aux


@right_transfer("half as many channels as come in")
class Gated(Transfer):
    def output_shape(self, input_shape):
        if input_shape[-1] % 2:
            raise ValueError("Gated: expects an even number of channels")
        return (*input_shape[:-1], input_shape[-1] // 2)

    def apply(self, z, training=False, rng=None):
        v, s = np.split(z, 2, axis=-1)
        return v * logistic(s), None

    def adjoint(self, z, a, aux, g):
        v, s = np.split(z, 2, axis=-1)
        p = logistic(s)
        return np.concatenate([g * p, g * v * p * (1 - p)], axis=-1)


@right_transfer("twice as many channels as come in")
class CReLU(Transfer):
    def output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * input_shape[-1])

    def apply(self, z, training=False, rng=None):
        return np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], axis=-1), None

    def adjoint(self, z, a, aux, g):
        up, down = np.split(g, 2, axis=-1)
        return up * (z > 0) - down * (z < 0)


# ----------------------------------------------------------------------------------------------------------------- maps


class Dense(ml.Map):
    """A fully connected map, written by its user."""

    n_in, n_out = 4, 3

    @property
    def theta_shape(self):
        return (self.n_in + 1, self.n_out)

    def initial_theta(self, rng):
        return rng.normal(0, 0.3, self.theta_shape)

    def output_shape(self, input_shape):
        if tuple(input_shape) != (self.n_in,):
            raise ValueError(f"Dense: expects ({self.n_in},), got {input_shape}")
        return (self.n_out,)

    def forward(self, theta, a):
        return a @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T

    def adjoint_theta(self, a, g):
        return np.vstack([a.T @ g, g.sum(axis=0)[None]])

    def rows(self, a):
        return a


def wrong_map(what, *words):
    """Register a class of maps with a mistake."""
    def register(cls):
        TABLE.append(Entry("map", cls.__name__, what, lambda seed: ml.verify(cls(), seed=seed), words))
        return cls
    return register


@wrong_map("no transpose; with as many outputs as inputs nothing complains", "transpos", "wᵀ", "w for")
class NoTranspose(Dense):
    n_out = 4

    def adjoint_input(self, theta, g):
        return g @ theta[:-1]


@wrong_map("the bias gets no gradient", "bias", "last row")
class BiasForgotten(Dense):
    def adjoint_theta(self, a, g):
        return np.vstack([a.T @ g, np.zeros((1, self.n_out), g.dtype)])


@wrong_map("the bias' gradient is a mean over the samples", "bias", "1/n", "mean")
class BiasMean(Dense):
    def adjoint_theta(self, a, g):
        return np.vstack([a.T @ g, g.mean(axis=0)[None]])


@wrong_map("the gradient in θ is divided by the number of samples", "1/n", "mean", "samples", "batch")
class ThetaMean(Dense):
    def adjoint_theta(self, a, g):
        return super().adjoint_theta(a, g) / len(a)


@wrong_map("forward forgets the bias, the adjoint does not", "bias")
class ForwardWithoutBias(Dense):
    def forward(self, theta, a):
        return a @ theta[:-1]


@wrong_map("rows come with the column of ones", "ones", "bias", "column", "n_in", "shape")
class RowsWithOnes(Dense):
    def rows(self, a):
        return np.hstack([a, np.ones((len(a), 1), a.dtype)])


@wrong_map("rows are scaled by 1/√N, a covariance in mind", "factor", "scale", "1/n", "√n", "rows", "sqrt")
class RowsScaled(Dense):
    def rows(self, a):
        return a / a.dtype.type(len(a) ** 0.5)


@wrong_map("the bias is the first row in forward and adjoints, the package has it last", "bias", "first", "last", "row",
           "order")
class BiasFirst(Dense):
    def forward(self, theta, a):
        return a @ theta[1:] + theta[0]

    def adjoint_input(self, theta, g):
        return g @ theta[1:].T

    def adjoint_theta(self, a, g):
        return np.vstack([g.sum(axis=0)[None], a.T @ g])


class Masked(Dense):
    """Sparse weights: a fixed mask."""

    mask = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 1]], dtype=np.float32)

    def forward(self, theta, a):
        return a @ (theta[:-1] * self.mask) + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ (theta[:-1] * self.mask).T

    def adjoint_theta(self, a, g):
        return np.vstack([self.mask * (a.T @ g), g.sum(axis=0)[None]])


@wrong_map("sparse weights, but the adjoint in a takes all", "mask", "entries", "some of", "sparse")
class MaskNotInInput(Masked):
    n_in = 4

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T


@wrong_map("sparse weights, but the gradient is that of all", "mask", "entries", "some of", "sparse", "rows")
class MaskNotInTheta(Masked):
    def adjoint_theta(self, a, g):
        return np.vstack([a.T @ g, g.sum(axis=0)[None]])


@wrong_map("sparse weights, but the rows are those of all units: the proximal step is another's", "rows", "each unit",
           "column", "unit")
class MaskNotInRows(Masked):
    pass


@wrong_map("a mask in float64", "float64", "dtype", "float32")
class MaskInDouble(Dense):
    mask = np.ones((4, 3))

    def forward(self, theta, a):
        return a @ (theta[:-1] * self.mask) + theta[-1]


@wrong_map("weights are normalised: no linear map", "linear")
class WeightNorm(Dense):
    def forward(self, theta, a):
        return a @ (theta[:-1] / np.linalg.norm(theta[:-1], axis=0)) + theta[-1]


@wrong_map("a residual connection inside: z = a + a W + b is not linear in θ", "linear", "θ = 0", "identity",
           "constant", "does not depend", "offset")
class ResidualInside(Dense):
    n_out = 4

    def forward(self, theta, a):
        return a + super().forward(theta, a)

    def adjoint_input(self, theta, g):
        return g + super().adjoint_input(theta, g)


@wrong_map("forward subtracts the batch's mean from a: samples are coupled, the adjoint does not know", "mean",
           "coupl", "centre", "sample", "center")
class CentresInput(Dense):
    def forward(self, theta, a):
        return super().forward(theta, a - a.mean(axis=0))


@wrong_map("the spectrum is not normalised in forward, and is in the adjoint", "factor", "scale", "norm")
class SpectrumNorm(Dense):
    def matrix(self, a, norm):
        from scipy.fft import dct
        return dct(np.eye(self.n_in), norm=norm, axis=0).astype(a.dtype)

    def forward(self, theta, a):
        return self.rows(a) @ theta[:-1] + theta[-1]

    def rows(self, a):
        return a @ self.matrix(a, "backward")

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ g, g.sum(axis=0)[None]])

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T @ self.matrix(g, "ortho").T


@wrong_map("a fixed feature transform is inverted instead of transposed in the adjoint", "inverse", "transpos")
class InverseForTranspose(Dense):
    fixed = np.array([[2.0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 3, 1], [1, 0, 0, 1]])

    def rows(self, a):
        return a @ self.fixed.astype(a.dtype)

    def forward(self, theta, a):
        return self.rows(a) @ theta[:-1] + theta[-1]

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ g, g.sum(axis=0)[None]])

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T @ np.linalg.inv(self.fixed).astype(g.dtype)


@wrong_map("inputs are dropped at random in forward", "random", "rng", "calls before", "draw", "remember")
class DropConnect(Dense):
    rng = np.random.default_rng(0)

    def forward(self, theta, a):
        return a @ (theta[:-1] * (self.rng.random(theta[:-1].shape) > 0.1)) + theta[-1]


@wrong_map("θ is drawn from NumPy's global generator", "rng", "random", "generator", "global", "draw")
class GlobalDraw(Dense):
    def initial_theta(self, rng):
        return np.random.normal(0, 0.3, self.theta_shape)


@wrong_map("θ is drawn without the row of the bias", "shape", "bias", "row")
class DrawWithoutBias(Dense):
    def initial_theta(self, rng):
        return rng.normal(0, 0.3, (self.n_in, self.n_out))


@wrong_map("forward standardises its input in place", "in place", "overwrit", "writes into", "argument")
class ScalesInput(Dense):
    def forward(self, theta, a):
        a *= 1.5
        return super().forward(theta, a)

    def rows(self, a):
        return a * a.dtype.type(1.5)


@wrong_map("forward sets pruned weights to zero in θ itself", "in place", "overwrit", "writes into", "argument")
class PrunesTheta(Dense):
    def forward(self, theta, a):
        theta[:-1][abs(theta[:-1]) < 1e-1] = 0
        return super().forward(theta, a)


@wrong_map("adjoint_theta takes the input that forward saw last", "remember", "last", "before", "earlier")
class RemembersInput(Dense):
    def forward(self, theta, a):
        self.a = a
        return super().forward(theta, a)

    def adjoint_theta(self, a, g):
        a = self.a if len(self.a) == len(g) else a
        return super().adjoint_theta(a, g)


@wrong_map("adjoint_input takes the θ that forward saw last (a target network)", "remember", "last", "before",
           "earlier")
class RemembersTheta(Dense):
    theta = None

    def forward(self, theta, a):
        self.theta = theta if self.theta is None else self.theta
        return super().forward(theta, a)

    def adjoint_input(self, theta, g):
        return super().adjoint_input(theta if self.theta is None else self.theta, g)


@wrong_map("forward returns one buffer in every call", "buffer", "overwrit", "reuse", "next call")
class OutputBuffer(Dense):
    buffers: dict = {}

    def forward(self, theta, a):
        out = self.buffers.setdefault((len(a), a.dtype), np.empty((len(a), self.n_out), a.dtype))
        np.matmul(a, theta[:-1], out=out)
        out += theta[-1]
        return out


@wrong_map("rows are cached by the number of samples", "cache", "remember", "before", "earlier", "first")
class CachedRows(Dense):
    def __init__(self):
        self.cache = {}

    def rows(self, a):
        return self.cache.setdefault((len(a), a.dtype), a)


@wrong_map("the Gram operator ignores that the bias may be left out", "bias", "ones")
class GramIgnoresBias(Dense):
    def gram(self, a, side=None, bias=True):
        return super().gram(a, side, True)


@wrong_map("output_shape says the number of inputs", "output_shape", "shape")
class OutputShape(Dense):
    def output_shape(self, input_shape):
        return (self.n_in,)


@wrong_map("adjoint_input includes the row of the bias, and drops the first weight", "bias", "row", "shift", "order")
class BiasRowInInput(Dense):
    def adjoint_input(self, theta, g):
        return g @ theta[1:].T


@wrong_map("adjoint_theta is transposed: gᵀa reshaped", "transpos", "order", "permut")
class ThetaReshaped(Dense):
    def adjoint_theta(self, a, g):
        return np.vstack([(g.T @ a).reshape(self.n_in, self.n_out), g.sum(axis=0)[None]])


@wrong_map("feedback alignment: a fixed random matrix for Wᵀ, stated as a map", "fixed", "does not depend", "random",
           "another matrix")
class FeedbackAlignment(Dense):
    feedback = np.random.default_rng(7).normal(size=(3, 4))

    def adjoint_input(self, theta, g):
        return g @ self.feedback.astype(g.dtype)


@wrong_map("the last sample is left out of the gradient in θ", "sample", "last")
class LastSampleLost(Dense):
    def adjoint_theta(self, a, g):
        return super().adjoint_theta(a[:-1], g[:-1])


@wrong_map("the sign of the gradient in θ", "sign", "negative", "−1", "-1")
class ThetaSign(Dense):
    def adjoint_theta(self, a, g):
        return -super().adjoint_theta(a, g)


# ---- convolutions, as subclasses of the package's


def wrong_conv(what, *words, **arguments):
    """Register a class of convolutions with a mistake, made with 2 and 3 channels and kernel 3."""
    def register(cls):
        TABLE.append(Entry("map", cls.__name__, what, lambda seed: ml.verify(cls(2, 3, 3, **arguments), seed=seed),
                           words))
        return cls
    return register


def flipped(phi, theta):
    k = phi.kernel
    return np.vstack([theta[:-1].reshape(k, k, phi.c_in, -1)[::-1, ::-1].reshape(phi.n_in, -1), theta[-1:]])


@wrong_conv("forward flips its kernel (a convolution, not a correlation)", "flip", "180", "turned", "correlation",
            "convolution")
class ConvFlipsForward(ml.Conv2d):
    def forward(self, theta, a):
        return super().forward(flipped(self, theta), a)


@wrong_conv("the adjoint in a does not flip the kernel", "flip", "180", "turned", "correlation")
class ConvAdjointNotFlipped(ml.Conv2d):
    def adjoint_input(self, theta, g):
        return super().adjoint_input(flipped(self, theta), g)


@wrong_conv("the adjoint in a is shifted by one pixel (the padding forgotten)", "padding", "shift", "pixel", "pad")
class ConvAdjointShifted(ml.Conv2d):
    def adjoint_input(self, theta, g):
        return np.roll(super().adjoint_input(theta, g), 1, axis=(1, 2))


@wrong_conv("the padding is forgotten in the adjoint: border pixels get nothing", "border", "edge", "padding", "pad")
class ConvAdjointBorder(ml.Conv2d):
    def adjoint_input(self, theta, g):
        d = super().adjoint_input(theta, g)
        d[:, 0], d[:, -1], d[:, :, 0], d[:, :, -1] = 0, 0, 0, 0
        return d


@wrong_conv("the stride is forgotten in the gradient of the kernel", "stride", stride=2)
class ConvThetaStride(ml.Conv2d):
    def adjoint_theta(self, a, g):
        dense = ml.Conv2d(self.c_in, self.c_out, self.kernel, 1, self.padding)
        spread = np.zeros((len(a), *dense.output_shape(a.shape[1:])), g.dtype)
        spread[:, :g.shape[1], :g.shape[2]] = g
        return dense.adjoint_theta(a, spread)


@wrong_conv("the adjoint spreads the signal over neighbouring pixels and not the stride's", "stride", stride=2)
class ConvInputStride(ml.Conv2d):
    def adjoint_input(self, theta, g):
        full = super().adjoint_input(theta, g)
        dense = ml.Conv2d(self.c_in, self.c_out, self.kernel, 1, self.padding).adjoint_input(theta, g)
        out = np.zeros_like(full)
        out[:, :dense.shape[1], :dense.shape[2]] = dense[:, :full.shape[1], :full.shape[2]]
        return out


@wrong_conv("output_shape is one too small", "output_shape", "shape")
class ConvShape(ml.Conv2d):
    def output_shape(self, input_shape):
        h, w, c = super().output_shape(input_shape)
        return (max(h - 1, 1), max(w - 1, 1), c)


@wrong_conv("the rows of patches are in the order (channel, row, column)", "order", "channel", "permut", "rows")
class ConvRowsOrder(ml.Conv2d):
    def rows(self, a):
        p = super().rows(a)
        k = self.kernel
        return p.reshape(-1, k * k, self.c_in).transpose(0, 2, 1).reshape(len(p), -1)


@wrong_conv("the bias' gradient is a mean over the pixels", "bias", "mean", "pixel")
class ConvBiasMean(ml.Conv2d):
    def adjoint_theta(self, a, g):
        d = super().adjoint_theta(a, g)
        d[-1] /= g.shape[1] * g.shape[2]
        return d


@wrong_conv("the kernel's gradient has rows and columns exchanged", "transpos", "rows and columns", "order", "exchang",
            "permut", "swap")
class ConvKernelTransposed(ml.Conv2d):
    def adjoint_theta(self, a, g):
        d = super().adjoint_theta(a, g)
        k = self.kernel
        d[:-1] = d[:-1].reshape(k, k, self.c_in, -1).swapaxes(0, 1).reshape(self.n_in, -1)
        return d


@wrong_conv("forward wraps around the border (circular padding), the rest pads with zeros", "pad", "border", "circular",
            "wrap", "edge")
class ConvCircular(ml.Conv2d):
    def forward(self, theta, a):
        p = self.pad
        padded = np.pad(a, ((0, 0), (p, p), (p, p), (0, 0)), mode="wrap")
        return ml.Conv2d(self.c_in, self.c_out, self.kernel, self.stride, "valid").forward(theta, padded)


@wrong_conv("the Gram matrix of patches is divided by the number of pixels", "factor", "pixel", "1/n", "mean", "gram",
            "divid")
class ConvGramMean(ml.Conv2d):
    def rows(self, a):
        h, w, _ = self.output_shape(a.shape[1:])
        return super().rows(a) / (h * w) ** 0.5


@wrong_conv("input and output channels are exchanged in the adjoint; equal numbers hide it", "channel", "transpos",
            "swap", "exchang")
class ConvChannels(ml.Conv2d):
    def __init__(self, c_in=3, c_out=3, kernel=3):
        super().__init__(3, 3, kernel)

    def adjoint_input(self, theta, g):
        k = self.kernel
        w = theta[:-1].reshape(k, k, 3, 3).swapaxes(2, 3).reshape(self.n_in, 3)
        return super().adjoint_input(np.vstack([w, theta[-1:]]), g)


# ---- joins, in a network


def joined(join, seed):
    """Verify a network with a join of two branches."""
    net = ml.Network([ml.Linear(4, 5), ml.ReLU(), ml.Named("x"), ml.Linear(5, 5), ml.Tanh(), join, ml.Linear(5, 3)],
                     loss=ml.SquaredError(), seed=seed)
    return ml.verify(net, seed=seed)


class Mean(ml.Add):
    """The mean of two values."""

    def forward(self, theta, *values):
        return (values[0] + values[1]) / 2

    def adjoint_inputs(self, theta, g, values):
        return [g / 2, g / 2]


@wrong("map", "a join of means passes the whole signal to both", "factor", "½", "factor 2")
def join_mean_factor(seed):
    class Join(Mean):
        def adjoint_inputs(self, theta, g, values):
            return [g, g]
    return joined(Join("x"), seed)


@wrong("map", "a difference passes the same sign to both", "sign")
def join_difference_sign(seed):
    class Join(ml.Add):
        def forward(self, theta, *values):
            return values[0] - values[1]

        def adjoint_inputs(self, theta, g, values):
            return [g, g]
    return joined(Join("x"), seed)


@wrong("map", "a weighted sum's signals are exchanged", "swap", "exchang", "order", "other")
def join_weights_exchanged(seed):
    class Join(ml.Add):
        def forward(self, theta, *values):
            return 0.3 * values[0] + 0.7 * values[1]

        def adjoint_inputs(self, theta, g, values):
            return [0.7 * g, 0.3 * g]
    return joined(Join("x"), seed)


@wrong("map", "the skip connection gets no signal", "zero", "no signal", "second", "input 2", "missing")
def join_skip_detached(seed):
    class Join(ml.Add):
        def adjoint_inputs(self, theta, g, values):
            return [g, np.zeros_like(g)]
    return joined(Join("x"), seed)


@wrong("map", "a join multiplies its values: not linear in them together", "linear", "product")
def join_product(seed):
    class Join(ml.Add):
        def forward(self, theta, *values):
            return values[0] * values[1]

        def adjoint_inputs(self, theta, g, values):
            return [g * values[1], g * values[0]]
    return joined(Join("x"), seed)


# ---- right ones


def right_map(what, *arguments, **settings):
    """Register a right class of maps."""
    def register(cls):
        TABLE.append(Entry("map", cls.__name__, what, lambda seed: ml.verify(cls(*arguments, **settings), seed=seed),
                           ()))
        return cls
    return register


right_map("a fully connected map by hand")(Dense)


@right_map("fixed features before the weights")
class CosineFeatures(Dense):
    def matrix(self, a):
        from scipy.fft import dct
        return dct(np.eye(self.n_in), norm="ortho", axis=0).astype(a.dtype)

    def rows(self, a):
        return a @ self.matrix(a)

    def forward(self, theta, a):
        return self.rows(a) @ theta[:-1] + theta[-1]

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ g, g.sum(axis=0)[None]])

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T @ self.matrix(g).T


@right_map("one input of which a constant multiple is taken")
class ScaledInput(Dense):
    def rows(self, a):
        return a * a.dtype.type(0.5)

    def forward(self, theta, a):
        return self.rows(a) @ theta[:-1] + theta[-1]

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ g, g.sum(axis=0)[None]])

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T / 2


class FirstHalf(Dense):
    n_in, read = 2, 4

    def output_shape(self, input_shape):
        if tuple(input_shape) != (self.read,):
            raise ValueError(f"FirstHalf: expects ({self.read},), got {input_shape}")
        return (self.n_out,)

    def rows(self, a):
        return a[:, :2]

    def forward(self, theta, a):
        return self.rows(a) @ theta[:-1] + theta[-1]

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ g, g.sum(axis=0)[None]])

    def adjoint_input(self, theta, g):
        return np.hstack([g @ theta[:-1].T, np.zeros((len(g), 2), g.dtype)])


@right("map", "reads half of its inputs, in a network")
def first_half(seed):
    net = ml.Network([ml.Linear(5, 4), ml.ReLU(), FirstHalf(), ml.Tanh(), ml.Linear(3, 2)], loss=ml.SquaredError(),
                     seed=seed)
    return ml.verify(net, seed=seed)


@right_map("one input, one output")
class Tiny(Dense):
    n_in, n_out = 1, 1


class PatchesByHand(ml.Conv2d):
    """A convolution through its matrix of patches."""

    def forward(self, theta, a):
        z = self.rows(a) @ theta[:-1] + theta[-1]
        return z.reshape(len(a), *self.output_shape(a.shape[1:]))

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ self.columns(g), self.columns(g).sum(axis=0)[None]])


right_map("a convolution through its patches", 2, 3, 3)(PatchesByHand)
right_map("the same with a stride and a kernel of 2, no padding", 2, 3, 2, stride=2, padding="valid")(PatchesByHand)
right_map("a pointwise convolution", 3, 2, 1)(ml.Conv2d)
right_map("padding wider than the kernel", 1, 2, 3, padding=3)(ml.Conv2d)
right_map("stride 3 of kernel 2: pixels between are not read", 1, 2, 2, stride=3, padding="valid")(ml.Conv2d)


@right("map", "the mean of a value and its branch")
def join_mean(seed):
    return joined(Mean("x"), seed)


@right("map", "a weighted difference as a join")
def join_difference(seed):
    class Join(ml.Add):
        def forward(self, theta, *values):
            return values[0] - 0.5 * values[1]

        def adjoint_inputs(self, theta, g, values):
            return [g, -0.5 * g]
    return joined(Join("x"), seed)


# --------------------------------------------------------------------------------------------------------------- losses


def wrong_loss(what, *words):
    """Register a class of losses with a mistake."""
    def register(cls):
        TABLE.append(Entry("loss", cls.__name__, what, lambda seed: ml.verify(cls(), seed=seed), words))
        return cls
    return register


@wrong_loss("the value has no ½ and the gradient is z - y", "½", "factor", "factor 2", "half")
class ValueWithoutHalf(ml.SquaredError):
    def value_per_sample(self, z, y):
        return ((z - y) ** 2).sum(axis=-1)


@wrong_loss("the gradient is 2 (z - y) under a value with ½", "factor 2", "factor", "½")
class GradientTwice(ml.SquaredError):
    def gradient(self, z, y):
        return 2 * (z - y) * self.weight(len(z))


@wrong_loss("the gradient is a mean over the outputs too", "outputs", "mean", "1/n", "factor", "size")
class MeanOverOutputs(ml.SquaredError):
    def gradient(self, z, y):
        return (z - y) / z.size


@wrong_loss("the gradient is of the sum, the value of the mean", "1/n", "mean", "sum", "weight", "factor n")
class GradientOfSum(ml.SquaredError):
    def gradient(self, z, y):
        return z - y


@wrong_loss("the value is summed whatever the reduction", "1/n", "mean", "sum", "weight", "reduc")
class ValueOfSum(ml.SquaredError):
    def value(self, z, y):
        return float(self.value_per_sample(z, y).sum())


@wrong_loss("the mean is over N - 1 samples", "n − 1", "n - 1", "mean", "reduc", "batch twice", "weight")
class OneLess(ml.SquaredError):
    def weight(self, samples):
        return 1 / max(samples - 1, 1) if self.reduction == "mean" else 1.0


@wrong_loss("the prox forgets the weight 1/N of a sample", "1/n", "weight", "n times", "samples")
class ProxWithoutWeight(ml.SquaredError):
    def prox(self, v, y, tau):
        return (v + tau * y) / (1 + tau)


@wrong_loss("the prox has 1/τ for τ", "1/τ", "inverse", "inverted", "1/tau", "reciprocal")
class ProxInverted(ml.SquaredError):
    def shifted_inverse(self, v, y, c):
        return (v + y / c) / (1 + 1 / c)


@wrong_loss("the prox steps away from the target", "sign")
class ProxSign(ml.SquaredError):
    def shifted_inverse(self, v, y, c):
        return (v - c * y) / (1 - c)


@wrong_loss("the prox is one gradient step", "gradient step", "explicit", "one step", "not implicit")
class ProxExplicit(ml.SquaredError):
    def shifted_inverse(self, v, y, c):
        return v - c * (v - y)


@wrong_loss("the prox of twice the loss (no ½ in mind)", "factor", "factor 2", "½")
class ProxTwice(ml.SquaredError):
    def shifted_inverse(self, v, y, c):
        return (v + 2 * c * y) / (1 + 2 * c)


@wrong_loss("the prox takes one Newton step only", "converge", "newton", "step", "not solved", "accura", "iterat")
class ProxOneNewton(ml.SoftmaxCrossEntropy):
    def shifted_inverse(self, v, y, c):
        f = self.transfer
        return v - f.solve_shifted(v, c, c * (f.forward(v) - y))


@wrong_loss("the prox writes into v", "in place", "overwrit", "writes into", "argument")
class ProxInPlace(ml.SquaredError):
    def shifted_inverse(self, v, y, c):
        v += c * y
        v /= 1 + c
        return v


@wrong_loss("the gradient writes into z", "in place", "overwrit", "writes into", "argument")
class GradientInPlace(ml.SquaredError):
    def gradient(self, z, y):
        z -= y
        z *= self.weight(len(z))
        return z


@wrong_loss("the gradient comes in a buffer that the next call reuses", "buffer", "reuse", "overwrit", "next call")
class GradientBuffer(ml.SquaredError):
    buffers: dict = {}

    def gradient(self, z, y):
        out = self.buffers.setdefault((z.shape, z.dtype), np.empty_like(z))
        np.subtract(z, y, out=out)
        out *= self.weight(len(z))
        return out


@wrong_loss("one-hot targets of the first batch are kept", "remember", "cache", "calls before", "earlier", "first")
class CachedTargets(ml.SoftmaxCrossEntropy):
    def targets(self, z, y):
        if getattr(self, "kept", np.empty(0)).shape != z.shape:
            self.kept = super().targets(z, y)
        return self.kept

    def gradient(self, z, y):
        return (self.transfer.forward(z) - self.targets(z, y)) * self.weight(len(z))


@wrong_loss("log Σ exp z overflows", "overflow", "large", "finite", "inf")
class NaiveLogSumExp(ml.SoftmaxCrossEntropy):
    def value_per_sample(self, z, y):
        return np.log(np.exp(z).sum(axis=-1)) - z[np.arange(len(z)), y]


@wrong_loss("-log sigmoid z underflows to infinity", "overflow", "large", "finite", "inf", "underflow")
class NaiveSigmoidCE(ml.SigmoidCrossEntropy):
    def value_per_sample(self, z, y):
        with np.errstate(all="ignore"):
            p = logistic(z)
            return -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=-1)


@wrong_loss("softmax over the samples in the gradient", "sample", "axis", "batch", "row")
class SoftmaxOverSamples(ml.SoftmaxCrossEntropy):
    def gradient(self, z, y):
        e = np.exp(z - z.max(axis=0))
        return (e / e.sum(axis=0) - self.targets(z, y)) * self.weight(len(z))


@wrong_loss("label smoothing in the value, not in the gradient", "smooth", "target", "label")
class SmoothingForgotten(ml.SoftmaxCrossEntropy):
    def value_per_sample(self, z, y):
        t = 0.9 * self.targets(z, y) + 0.1 / z.shape[1]
        return self.transfer.integral(z) - (t * z).sum(axis=-1)


@wrong_loss("softmax twice: the value is of probabilities, the gradient of logits", "twice", "softmax", "prob")
class SoftmaxTwice(ml.SoftmaxCrossEntropy):
    def value_per_sample(self, z, y):
        return super().value_per_sample(self.transfer.forward(z), y)


@wrong_loss("a temperature of 2 whose inner derivative is missing", "factor", "factor 2", "½", "temperature")
class Temperature(ml.SoftmaxCrossEntropy):
    def value_per_sample(self, z, y):
        return super().value_per_sample(z / 2, y)

    def gradient(self, z, y):
        return super().gradient(z / 2, y)


@wrong_loss("classes are weighted in the value, not in the gradient", "class", "weight", "label", "sample")
class ClassWeights(ml.SoftmaxCrossEntropy):
    def value_per_sample(self, z, y):
        return (1 + (y == 0)) * super().value_per_sample(z, y)


@wrong_loss("weights in float64", "float64", "dtype", "float32")
class WeightsInDouble(ml.SquaredError):
    def gradient(self, z, y):
        return super().gradient(z, y) * np.ones(z.shape[1])


@wrong_loss("targets are subtracted the wrong way round", "sign")
class GradientSign(ml.SquaredError):
    def gradient(self, z, y):
        return (y - z) * self.weight(len(z))


@wrong_loss("predict says the least likely class", "predict", "least", "argm", "smallest", "largest")
class PredictsLeast(ml.SoftmaxCrossEntropy):
    def predict(self, z):
        return z.argmin(axis=-1)


@wrong_loss("a Huber loss whose gradient is not cut", "large", "cut", "clip", "beyond", "transfer", "far")
class HuberNotCut(ml.Loss):
    transfer = ml.Identity()

    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r < 1, r * r / 2, r - 0.5).sum(axis=-1)


@wrong_loss("a Huber loss with threshold 2 whose gradient outside is ±1", "factor", "factor 2", "½", "large",
            "beyond", "cut")
class HuberThreshold(ml.Loss):
    transfer = ml.Identity()

    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r < 2, r * r / 2, 2 * r - 2).sum(axis=-1)

    def gradient(self, z, y):
        r = z - y
        return np.where(abs(r) < 2, r, np.sign(r)) * z.dtype.type(self.weight(len(z)))


@wrong_loss("the matching loss of tanh whose gradient is masked by its derivative", "derivative", "σ'", "f'", "mask",
            "factor", "convex", "squared")
class MaskedMatching(ml.Loss):
    transfer = ml.Tanh()

    def value_per_sample(self, z, y):
        return (self.transfer.integral(z) - y * z).sum(axis=-1)

    def gradient(self, z, y):
        a = np.tanh(z)
        return (a - y) * (1 - a * a) * z.dtype.type(self.weight(len(z)))


@wrong_loss("the matching loss has + for - before ⟨y, z⟩", "sign")
class MatchingSign(ml.Loss):
    transfer = ml.Tanh()

    def value_per_sample(self, z, y):
        return (self.transfer.integral(z) + y * z).sum(axis=-1)


@wrong_loss("Poisson deviance, but the gradient is of squared error on exp z", "factor", "exp", "f'", "derivative",
            "σ'")
class PoissonSquared(ml.Loss):
    class Exp(ml.Activation):
        range = (0.0, math.inf)

        def forward(self, z):
            return np.exp(np.minimum(z, 50))

        derivative = integral = forward

    transfer = Exp()

    def value_per_sample(self, z, y):
        return (np.exp(np.minimum(z, 50)) - y * z).sum(axis=-1)

    def gradient(self, z, y):
        f = self.transfer.forward(z)
        return (f - y) * f * self.weight(len(z))


@wrong_loss("a focal loss whose modulating factor is held in the gradient", "factor", "held", "constant", "term",
            "product")
class FocalHeld(ml.SoftmaxCrossEntropy):
    convex = False

    def value_per_sample(self, z, y):
        p = self.transfer.forward(z)[np.arange(len(z)), y]
        return (1 - p) ** 2 * super().value_per_sample(z, y)

    def gradient(self, z, y):
        p = self.transfer.forward(z)[np.arange(len(z)), y]
        return (1 - p)[:, None] ** 2 * super().gradient(z, y)


@wrong_loss("a focal loss, right itself, inherits prox and transfer of cross-entropy", "transfer", "prox", "inherit",
            "matching")
class FocalInherits(ml.SoftmaxCrossEntropy):
    convex = False

    def value_per_sample(self, z, y):
        p = self.transfer.forward(z)[np.arange(len(z)), y]
        return (1 - p) ** 2 * super().value_per_sample(z, y)

    def gradient(self, z, y):
        every = self.transfer.forward(z)
        p = every[np.arange(len(z)), y][:, None]
        ce = super().value_per_sample(z, y)[:, None]
        g = (every - self.targets(z, y)) * ((1 - p) ** 2 + 2 * (1 - p) * p * ce)
        return g * z.dtype.type(self.weight(len(z)))


@wrong_loss("a hinge loss for labels 0 and 1 in which ±1 is expected", "label", "sign", "target")
class HingeLabels(ml.Loss):
    def value_per_sample(self, z, y):
        return np.maximum(1 - y * z, 0).sum(axis=-1)

    def gradient(self, z, y):
        t = np.where(y > 0, 1, -1).astype(z.dtype)
        return -t * (1 - t * z > 0) * z.dtype.type(self.weight(len(z)))


# ---- right ones


class OwnLoss(ml.Loss):
    """A loss with its own gradient."""

    def gradient(self, z, y):
        return self.slope(z, y) * z.dtype.type(self.weight(len(z)))


def right_loss(what):
    """Register a right class of losses."""
    return wrong_loss(what)


@right_loss("Huber, its gradient and prox by hand")
class Huber(OwnLoss):
    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r < 1, r * r / 2, r - 0.5).sum(axis=-1)

    def slope(self, z, y):
        return np.clip(z - y, -1, 1)

    def prox(self, v, y, tau):
        c = tau * self.weight(len(v))
        r = v - y
        return y + np.where(abs(r) <= 1 + c, r / (1 + c), r - c * np.sign(r))


@right_loss("absolute error: nonsmooth")
class AbsoluteError(OwnLoss):
    def value_per_sample(self, z, y):
        return abs(z - y).sum(axis=-1)

    def slope(self, z, y):
        return np.sign(z - y)

    def prox(self, v, y, tau):
        c = tau * self.weight(len(v))
        return y + np.sign(v - y) * np.maximum(abs(v - y) - c, 0)


@right_loss("log cosh of the error: the matching loss of no fixed transfer")
class LogCoshError(OwnLoss):
    def value_per_sample(self, z, y):
        return ml.Tanh().integral(z - y).sum(axis=-1)

    def slope(self, z, y):
        return np.tanh(z - y)


@right_loss("a robust loss that is not convex, and says so")
class GemanMcClure(OwnLoss):
    convex = False

    def value_per_sample(self, z, y):
        r = (z - y) ** 2
        return (r / (1 + r)).sum(axis=-1) / 2

    def slope(self, z, y):
        r = z - y
        return r / (1 + r * r) ** 2


@right_loss("the matching loss of tanh")
class TanhMatching(ml.Loss):
    transfer = ml.Tanh()

    def value_per_sample(self, z, y):
        return (self.transfer.integral(z) - y * z).sum(axis=-1)


@right_loss("label smoothing in targets, value and gradient")
class Smoothed(ml.SoftmaxCrossEntropy):
    def targets(self, z, y):
        return 0.9 * super().targets(z, y) + z.dtype.type(0.1 / z.shape[1])

    def value_per_sample(self, z, y):
        return self.transfer.integral(z) - (self.targets(z, y) * z).sum(axis=-1)

    def gradient(self, z, y):
        return (self.transfer.forward(z) - self.targets(z, y)) * z.dtype.type(self.weight(len(z)))


@right_loss("outputs weighted")
class WeightedOutputs(OwnLoss):
    def scales(self, z):
        return np.arange(1, z.shape[1] + 1).astype(z.dtype)

    def value_per_sample(self, z, y):
        return (self.scales(z) * (z - y) ** 2).sum(axis=-1) / 2

    def slope(self, z, y):
        return self.scales(z) * (z - y)


@right_loss("the quantile of 0.9: nonsmooth and asymmetric")
class Pinball(OwnLoss):
    def value_per_sample(self, z, y):
        r = y - z
        return np.maximum(0.9 * r, -0.1 * r).sum(axis=-1)

    def slope(self, z, y):
        return np.where(y > z, -0.9, 0.1)

    def gradient(self, z, y):
        return (self.slope(z, y) * self.weight(len(z))).astype(z.dtype)


@right_loss("a barrier: infinite unless z > -1 (a restricted domain)")
class Barrier(OwnLoss):
    def value_per_sample(self, z, y):
        with np.errstate(all="ignore"):
            return np.where(z > -1, (z - y) ** 2 / 2 - np.log1p(z), np.inf).sum(axis=-1)

    def slope(self, z, y):
        return z - y - 1 / (1 + z)


@right_loss("Poisson deviance with logarithmic link")
class Poisson(ml.Loss):
    class Exp(ml.Activation):
        range = (0.0, math.inf)

        def forward(self, z):
            return np.exp(np.minimum(z, 80))

        derivative = integral = forward

    transfer = Exp()

    def value_per_sample(self, z, y):
        return (self.transfer.forward(z) - y * z).sum(axis=-1)


@right_loss("hinge with targets as signs")
class Hinge(OwnLoss):
    def value_per_sample(self, z, y):
        return np.maximum(1 - np.sign(y) * z, 0).sum(axis=-1)

    def slope(self, z, y):
        t = np.sign(y)
        return -t * (1 - t * z > 0)


right_loss("squared error of labels")(ml.OneHotSquaredError)


@right("loss", "softmax cross-entropy, summed")
def cross_entropy_sum(seed):
    return ml.verify(ml.SoftmaxCrossEntropy("sum"), seed=seed)


@right("loss", "a focal loss that is not convex, and says so")
def focal(seed):
    class Focal(OfLabels):
        convex = False

        def value_per_sample(self, z, y):
            p = Softmax().forward(z)[np.arange(len(z)), y]
            return -(1 - p) ** 2 * np.log(np.maximum(p, 1e-300 if z.dtype == np.float64 else 1e-37))

        def gradient(self, z, y):
            every = Softmax().forward(z)
            p = every[np.arange(len(z)), y][:, None]
            ce = -np.log(np.maximum(p, 1e-300 if z.dtype == np.float64 else 1e-37))
            # d/dz of (1 - p)² CE, with dp/dz = p (e_y - softmax) and dCE/dz = softmax - e_y
            g = (every - self.targets(z, y)) * ((1 - p) ** 2 + 2 * (1 - p) * p * ce)
            return g * z.dtype.type(self.weight(len(z)))
    return ml.verify(Focal(), seed=seed)


# -------------------------------------------------------------------------------------------------------------- methods


def ones(a):
    return np.hstack([a, np.ones((len(a), 1), a.dtype)])


def flat(block):
    """Return rows of a map with the column of ones, and signal and output as columns."""
    return ones(block.phi.rows(block.a)), block.phi.columns(block.g), block.phi.columns(block.z)


def ridge(A, g, damping):
    """Return (AᵀA + damping I)⁻¹Aᵀg."""
    return np.linalg.solve(A.T @ A + damping * np.eye(A.shape[1], dtype=A.dtype), A.T @ g)


def backward_step(block, theta, tau=0.5):
    """The objective of an implicit step."""
    A, g, z = flat(block)
    return ((A @ theta - z + g) ** 2).sum() / 2 + ((theta - block.theta) ** 2).sum() / (2 * tau)


def by_objective(objective, what, *words):
    """Register a function of a block which should minimise an objective."""
    def register(propose):
        TABLE.append(Entry("method", propose.__name__, what,
                           lambda seed: ml.verify(propose, objective=objective, seed=seed), words))
        return propose
    return register


def by_like(like, what, *words):
    """Register a method, or a function of a block, that should equal another one."""
    def register(thing):
        TABLE.append(Entry("method", thing.__name__, what, lambda seed: ml.verify(
            thing() if isinstance(thing, type) else thing, like=like() if isinstance(like, type) else like, seed=seed),
            words))
        return thing
    return register


def by_class(what, *words, **arguments):
    """Register a subclass of one of the package's methods, which says itself what applies."""
    def register(cls):
        TABLE.append(Entry("method", cls.__name__, what, lambda seed: ml.verify(cls(**arguments), seed=seed), words))
        return cls
    return register


@by_objective(backward_step, "τ for 1/τ in the normal equations", "1/τ", "inverted", "inverse", "damping", "reciprocal",
              "step size")
def implicit_tau_inverted(block):
    A, g, _ = flat(block)
    return ridge(A, g, 0.5)


@by_objective(backward_step, "the damping has a factor 2 (no ½ before the proximal term in mind)", "factor 2", "factor",
              "damping")
def implicit_damping_twice(block):
    A, g, _ = flat(block)
    return ridge(A, g, 4.0)


@by_objective(backward_step, "the damping is multiplied by the number of samples", "damping", "samples")
def implicit_damping_n(block):
    A, g, _ = flat(block)
    return ridge(A, g, 2.0 * len(A))


@by_objective(backward_step, "the normal equations have no column of ones: the bias takes a gradient step", "bias",
              "ones", "last row")
def implicit_bias_explicit(block):
    A, g, _ = flat(block)
    return np.vstack([ridge(A[:, :-1], g, 2.0), 0.5 * g.sum(axis=0)[None]])


@by_objective(backward_step, "weights and bias are solved apart, each with the other's old value", "bias", "jacobi",
              "apart", "coupl", "jointly", "block")
def implicit_bias_apart(block):
    A, g, _ = flat(block)
    return np.vstack([ridge(A[:, :-1], g, 2.0), ridge(A[:, -1:], g, 2.0)])


@by_objective(backward_step, "new minus old", "sign", "old minus new", "new minus old", "minus")
def implicit_new_minus_old(block):
    A, g, _ = flat(block)
    return -ridge(A, g, 2.0)


@by_objective(backward_step, "the new parameters are returned, not the step", "new parameters", "not the step",
              "θ_new", "itself")
def implicit_returns_theta(block):
    A, g, _ = flat(block)
    return block.theta - ridge(A, g, 2.0)


@by_objective(backward_step, "the signal is that after the transfer: σ' is not applied", "σ'", "derivative", "g_a",
              "transfer", "mask")
def implicit_unmasked_signal(block):
    A, g, _ = flat(block)
    return ridge(A, g if block.g_a is None else block.phi.columns(block.g_a), 2.0)


@by_objective(backward_step, "the explicit step: the gradient is taken at the old value", "explicit", "gradient step",
              "implicit", "old")
def implicit_is_explicit(block):
    A, g, _ = flat(block)
    return 0.5 * A.T @ g


@by_objective(backward_step, "the Gram matrix is averaged over the samples", "samples", "gram", "averag", "mean")
def implicit_gram_mean(block):
    A, g, _ = flat(block)
    return np.linalg.solve(A.T @ A / len(A) + 2.0 * np.eye(A.shape[1], dtype=A.dtype), A.T @ g)


@by_objective(backward_step, "only the diagonal of the Gram matrix", "diagonal")
def implicit_diagonal(block):
    A, g, _ = flat(block)
    return (A.T @ g) / ((A * A).sum(axis=0) + 2.0)[:, None]


@by_objective(backward_step, "the pseudo-inverse without damping", "damping", "no prox", "without", "anchor",
              "proximal")
def implicit_undamped(block):
    A, g, _ = flat(block)
    return np.linalg.pinv(A) @ g


@by_objective(backward_step, "the square root of the Gram matrix is inverted (Shampoo in mind)", "root", "power")
def implicit_root(block):
    A, g, _ = flat(block)
    w, v = np.linalg.eigh(A.T @ A + 2.0 * np.eye(A.shape[1], dtype=A.dtype))
    return v @ ((v.T @ (A.T @ g)) / np.sqrt(w)[:, None])


@by_objective(backward_step, "three steps of gradient descent for the argmin", "not converge", "not yet", "iterat",
              "part of the way", "steps", "short")
def implicit_few_steps(block):
    A, g, _ = flat(block)
    rate, d = 1 / (np.linalg.norm(A, 2) ** 2 + 2.0), np.zeros_like(block.theta)
    for _ in range(3):
        d = d - rate * (A.T @ (A @ d - g) + 2.0 * d)
    return d


def decayed(block, theta, lam=0.3, tau=0.5):
    """The same with weight decay of W."""
    return backward_step(block, theta, tau) + lam / 2 * (theta[:-1] ** 2).sum()


@by_objective(decayed, "weight decay in the matrix, not in the right-hand side", "decay", "right-hand", "λθ", "missing")
def decay_matrix_only(block):
    A, g, _ = flat(block)
    D = np.eye(A.shape[1], dtype=A.dtype)
    D[-1, -1] = 0
    return np.linalg.solve(A.T @ A + 2.0 * np.eye(A.shape[1], dtype=A.dtype) + 0.3 * D, A.T @ g)


@by_objective(decayed, "the bias is decayed too", "bias", "last row")
def decay_of_bias(block):
    A, g, _ = flat(block)
    return np.linalg.solve(A.T @ A + 2.3 * np.eye(A.shape[1], dtype=A.dtype), A.T @ g + 0.3 * block.theta)


@by_objective(decayed, "weight decay has λ, the objective λ/2: 2λ is taken", "factor 2", "factor", "decay", "½")
def decay_twice(block):
    A, g, _ = flat(block)
    D = np.eye(A.shape[1], dtype=A.dtype)
    D[-1, -1] = 0
    return np.linalg.solve(A.T @ A + 2.0 * np.eye(A.shape[1], dtype=A.dtype) + 0.6 * D, A.T @ g + 0.6 * D @ block.theta)


def sparse(block, theta, lam=0.05, tau=0.5):
    """A linearised step with ‖W‖₁."""
    g = block.phi.adjoint_theta(block.a, block.g)
    d = theta - block.theta
    return (g * d).sum() + (d * d).sum() / (2 * tau) + lam * abs(theta[:-1]).sum()


def soft(x, t):
    return np.sign(x) * np.maximum(abs(x) - t, 0)


@by_objective(sparse, "the threshold is λ, not τλ", "threshold", "τ", "step size", "factor")
def sparse_threshold(block):
    new = block.theta - 0.5 * block.phi.adjoint_theta(block.a, block.g)
    new[:-1] = soft(new[:-1], 0.05)
    return block.theta - new


@by_objective(sparse, "the bias is thresholded too", "bias", "last row", "threshold")
def sparse_bias(block):
    new = soft(block.theta - 0.5 * block.phi.adjoint_theta(block.a, block.g), 0.025)
    return block.theta - new


@by_objective(sparse, "hard for soft threshold", "threshold", "hard", "soft")
def sparse_hard(block):
    new = block.theta - 0.5 * block.phi.adjoint_theta(block.a, block.g)
    new[:-1] *= abs(new[:-1]) > 0.025
    return block.theta - new


@by_objective(sparse, "the threshold is applied to the step and not to θ", "threshold")
def sparse_step(block):
    d = 0.5 * block.phi.adjoint_theta(block.a, block.g)
    d[:-1] = soft(d[:-1], 0.025)
    return d


@by_like(ml.BackProp(), "the gradient is divided by the batch once more", "1/n", "batch")
def backprop_mean_again(block):
    return block.phi.adjoint_theta(block.a, block.g) / len(block.a)


@by_like(ml.BackProp(), "the signal is not masked by σ'", "σ'", "input", "output", "a_")
def backprop_transfer_missing(block):
    return block.phi.adjoint_theta(block.a, block.g if block.last else block.g_a)


@by_like(ml.BackProp(), "the gradient of the summed loss", "factor n", "weight", "sum")
def backprop_sum(block):
    return block.phi.adjoint_theta(block.a, block.g) / block.weight


@by_like(ml.BackProp(), "the signal is clipped by its norm", "clip", "factor", "scale", "direction")
def backprop_clipped(block):
    d = block.phi.adjoint_theta(block.a, block.g)
    return d * min(1, 0.05 / (np.linalg.norm(d) + 1e-12))


@by_like(ml.BackProp(), "biases do not learn", "bias")
def backprop_frozen_bias(block):
    d = block.phi.adjoint_theta(block.a, block.g)
    d[-1] = 0
    return d


@by_like(ml.BackProp(), "the signal is zeroed where it is small, in place: later maps see it", "in place", "overwrit",
         "writes into", "argument", "given")
def backprop_in_place(block):
    block.g[abs(block.g) < 1e-2] = 0
    return block.phi.adjoint_theta(block.a, block.g)


@by_like(ml.BackProp(), "θ is updated in place besides", "in place", "left alone", "writes into", "overwrit")
def backprop_updates(block):
    d = block.phi.adjoint_theta(block.a, block.g)
    block.theta[...] -= 0.1 * d
    return d


VELOCITY: dict = {}


@by_like(ml.BackProp(), "a velocity is kept from call to call", "remember", "kept", "calls", "two runs", "state",
         "velocity", "earlier")
def backprop_momentum(block):
    key = (block.k, block.theta.shape)
    VELOCITY[key] = 0.9 * VELOCITY.get(key, 0) + block.phi.adjoint_theta(block.a, block.g)
    return VELOCITY[key].astype(block.theta.dtype)


FIRST: dict = {}


@by_like(ml.ProxProp(tau_theta=0.5, last="implicit"), "a factorisation of the first batch is kept for all later ones",
         "remember", "kept", "cache", "calls", "two runs", "state", "earlier", "first")
def proxprop_stale_factor(block):
    A, g, _ = flat(block)
    key = (block.k, A.shape, A.dtype)
    if key not in FIRST:
        FIRST[key] = np.linalg.inv(A.T @ A + 2.0 * np.eye(A.shape[1], dtype=A.dtype))
    return FIRST[key] @ (A.T @ g)


@by_like(ml.ProxProp(tau_theta=0.5), "the last map is implicit too", "last map", "last", "explicit")
def proxprop_last_implicit(block):
    A, g, _ = flat(block)
    return ridge(A, g, 2.0)


@by_like(ml.ProxProp(tau_theta=0.5, last="implicit"), "τ for 1/τ", "1/τ", "inverted", "inverse", "damping", "τ_θ",
         "tau")
def proxprop_tau(block):
    A, g, _ = flat(block)
    return ridge(A, g, 0.5)


@by_like(ml.ProxProp(tau_theta=0.5, last="implicit"), "the step is multiplied by τ once more", "factor", "τ", "½",
         "scale")
def proxprop_tau_again(block):
    A, g, _ = flat(block)
    return 0.5 * ridge(A, g, 2.0)


@by_like(ml.ProxProp(tau_theta=0.5, last="implicit"), "float64 steps on a float32 network", "float64", "dtype",
         "float32")
def proxprop_double(block):
    A, g, _ = flat(block)
    return np.linalg.solve(A.T @ A + 2.0 * np.eye(A.shape[1], dtype=A.dtype), A.T @ g)


@by_like(ml.ProxProp(tau_theta=0.5, last="implicit"), "the map is taken to be fully connected: it fails on images",
         "convolution", "shape", "images", "raises", "conv")
def proxprop_dense_only(block):
    A = ones(block.a)
    return ridge(A, block.g, 2.0)


@by_like(ml.ProxProp(tau_theta=0.5, last="implicit"), "the Gram matrix of samples is taken without the ones", "bias",
         "ones")
def proxprop_kernel_without_ones(block):
    A, g, _ = flat(block)
    K = A[:, :-1] @ A[:, :-1].T
    return A.T @ np.linalg.solve(K + 2.0 * np.eye(len(K), dtype=A.dtype), g)


@by_like(ml.ProxProp(tau_theta=0.5, solver="cg3", last="implicit"), "conjugate gradients without conjugation: steepest"
         " descent", "conjug", "steepest", "krylov", "gradient descent", "β")
def proxprop_steepest(block):
    A, g, _ = flat(block)
    b, d = A.T @ g, np.zeros_like(block.theta)
    for _ in range(3):
        r = b - A.T @ (A @ d) - 2.0 * d
        q = A @ r
        d = d + r * ((r * r).sum(axis=0) / ((q * q).sum(axis=0) + 2.0 * (r * r).sum(axis=0) + 1e-30))
    return d


@by_like(ml.ProxProp(tau_theta=0.5, solver="cg3", last="implicit"), "two steps for three", "too few", "steps", "fewer",
         "krylov")
def proxprop_two_steps(block):
    return ml.ProxProp(tau_theta=0.5, solver="cg2", last="implicit").propose(block)


@by_like(ml.LocoProp("S", gamma=3.0, steps="exact", eta=0.5), "γ is forgotten in the targets", "γ", "gamma", "factor")
def locoprop_gamma(block):
    A, g, _ = flat(block)
    return ridge(A, g, 2.0)


@by_like(ml.LocoProp("S", gamma=3.0, steps="exact", eta=0.5), "targets are in f(z), not in z: σ' is missing", "σ'",
         "derivative", "target", "transfer", "g_a")
def locoprop_target(block):
    A, g, _ = flat(block)
    return ridge(A, 3.0 * (g if block.g_a is None else block.phi.columns(block.g_a)), 2.0)


@by_like(ml.LocoProp("M", gamma=3.0, steps=1, local_lr=1e-2, local_optimizer="sgd", decay=False),
         "the step is averaged over the samples", "1/n", "samples", "batch", "factor")
def locoprop_mean(block):
    return 3e-2 * block.phi.adjoint_theta(block.a, block.g) / len(block.a)


@by_like(ml.FOOF(damping=0.1), "the covariance is a sum, the damping that of the mean", "mean", "sum", "damping",
         "samples")
def foof_sum(block):
    A, g, _ = flat(block)
    return np.linalg.solve(A.T @ A + 0.1 * np.eye(A.shape[1], dtype=A.dtype), A.T @ g)


@by_like(ml.SemiImplicit(eta=0.1, lam=1.0, solver="exact"), "b takes the old W", "bias", "old", "order", "jacobi")
def semi_implicit_old_weights(block):
    if not block.last:
        return ml.SemiImplicit(eta=0.1, lam=1.0, solver="exact").propose(block)
    A, g, _ = flat(block)
    signal = 0.1 * g / block.weight
    return np.vstack([ridge(A[:, :-1], signal, 1.0), ridge(A[:, -1:], signal, 1.0)])


@by_class("signals pass through the new weights, which is not the paper's order", "new weights", "old weights",
          "through", "order", "sweep")
class NewWeights(ml.ProxProp):
    new_weights = True


@by_class("signals pass through the old weights, where Semi-Implicit has the new", "new weights", "old weights",
          "through", "order", "sweep")
class OldWeights(ml.SemiImplicit):
    new_weights = False


@by_class("the damping is τ", "1/τ", "inverted", "inverse", "damping", "τ_θ", "tau")
class DampedByTau(ml.ProxProp):
    def step_size(self, block):
        return 1 / super().step_size(block)

    def __init__(self, tau_theta=0.2, solver="exact", last="explicit", joint=False):
        super().__init__(tau_theta, solver, last, joint)


@by_class("τ_θ of the next map is taken", "τ_θ", "tau", "order")
class NextTau(ml.ProxProp):
    def step_size(self, block):
        return super().step_size(block) * (1 + block.l)


@by_class("the gradient of the batch norm's scale is left out", "batch norm", "scale", "explicit")
class NoScale(ml.BackProp):
    def explicit_step(self, block):
        return 0 * block.gradient


@by_class("the loss that comes with the direction is summed", "factor n", "sum")
class SummedLoss(ml.BackProp):
    def direction(self, net, X, y, rng=None):
        loss, directions = super().direction(net, X, y, rng)
        return loss * len(X), directions


@by_class("directions are in the reverse order", "order", "shape")
class Reversed(ml.BackProp):
    def directions(self, net, state, y):
        return super().directions(net, state, y)[::-1]


@by_class("the multiplier descends", "sign", "multiplier", "dual", "ascen")
class DualSign(ml.ADMM):
    def ascend(self, energy, l, variables):
        gap = energy.map_gap(l, variables.theta, variables.a, variables.z)
        return variables.multiplier + self.beta * gap


@by_class("the dual step is left out", "multiplier", "dual", "ascen")
class NoDual(ml.ADMM):
    def ascend(self, energy, l, variables):
        return variables.multiplier


@by_class("the dual step takes the gap of the first map", "multiplier", "dual", "gap", "shape")
class DualTwice(ml.ADMM):
    def ascend(self, energy, l, variables):
        gap = energy.map_gap(l, variables.theta, variables.a, variables.z)
        return variables.multiplier - 2 * self.beta * gap


@by_class("z is updated before a's old value is used: all updates read the variables from before the sweep", "order",
          "old", "jacobi", "sweep", "naive", "new")
class JacobiSweep(ml.BCD):
    def schedule(self, energy):
        held: list = []
        for block, l, update in super().schedule(energy):
            def naive(l, variables, update=update):
                held.append(variables)
                return update(l, held[0])
            yield block, l, naive


@by_class("a block's weight α is doubled", "α", "weight", "anchor", "prox", "factor 2", "factor")
class DoubleAnchor(ml.BCD):
    def schedule(self, energy):
        from functools import partial
        for block, l, update in super().schedule(energy):
            yield block, l, (partial(energy.best_theta, alpha=2 * self.alpha) if block == "theta" else update)


@by_class("the hidden z are never updated", "left out", "not updated", "missing")
class NoZ(ml.BCD):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            if block != "z" or l == energy.net.depth:
                yield block, l, update


@by_class("each value relaxes with those just moved, not all at once", "at once", "order", "sequential", "old",
          "simultan", "gauss-seidel")
class SequentialCoding(ml.PredictiveCoding):
    def relaxed(self, energy, variables):
        for l in range(energy.net.depth - 1, 0, -1):
            gradient = energy.latent_gradients(variables)[l]
            variables = variables.replaced(energy.block, l, getattr(variables, energy.block)[l] - self.rate * gradient)
        return variables


@by_class("values climb", "sign", "ascen", "climb", "rise")
class ClimbingCoding(ml.PredictiveCoding):
    def relaxed(self, energy, variables):
        gradients = energy.latent_gradients(variables)
        for l in range(1, energy.net.depth):
            value = getattr(variables, energy.block)[l] + self.rate * gradients[l]
            variables = variables.replaced(energy.block, l, value)
        return variables


@by_class("the direction is that of the sum, the loss a mean", "weight", "sum", "mean", "factor")
class SummedCoding(ml.PredictiveCoding):
    def directions(self, net, state, y):
        return [d * len(state.a[0]) for d in super().directions(net, state, y)]


@by_class("the proximal step's damping of LPOM is τ for 1/τ", "1/τ", "τ", "inverted", "anchor", "inverse")
class LPOMTau(ml.LPOM):
    def schedule(self, energy):
        from functools import partial
        for block, l, update in super().schedule(energy):
            yield block, l, (partial(energy.best_theta, alpha=self.tau) if block == "theta" else update)


@by_class("MAC's last map is left out", "last", "left out", "not updated")
class MACWithoutLast(ml.MAC):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            if not (block == "theta" and l == energy.net.depth):
                yield block, l, update


@by_class("the anchor is around the value just reached in every alternation", "anchor", "around", "old", "before")
class DriftingAnchor(ml.FenchelLifted):
    def __init__(self, lam=1.0, anchor=10.0, weight_decay=0.0, alternations=3):
        super().__init__(lam, anchor, weight_decay, alternations)

    def schedule(self, energy):
        from functools import partial
        for block, l, update in super().schedule(energy):
            if block == "theta":
                update = partial(energy.best_theta, alpha=2 * self.anchor)
            yield block, l, update


def dense_reference(block):
    """What a step should be, by singular values."""
    A, g, _ = flat(block)
    u, s, vt = np.linalg.svd(A, full_matrices=False)
    return vt.T @ ((s / (s * s + 2.0))[:, None] * (u.T @ g))


@by_like(dense_reference, "the singular values are inverted without their damping", "damping", "factor")
def reference_undamped(block):
    A, g, _ = flat(block)
    u, s, vt = np.linalg.svd(A, full_matrices=False)
    return vt.T @ ((s / (s * s))[:, None] * (u.T @ g))


@by_like(dense_reference, "the damping is added to the singular values: s/(s + β)²", "damping", "singular")
def reference_damped_values(block):
    A, g, _ = flat(block)
    u, s, vt = np.linalg.svd(A, full_matrices=False)
    return vt.T @ ((s / (s + 2.0) ** 2)[:, None] * (u.T @ g))


@by_like(dense_reference, "the sign", "sign")
def reference_sign(block):
    return -dense_reference(block)


@by_like(ml.BackProp(), "the signal's mean over the samples is taken away", "mean",
         "finite")
def backprop_normalised(block):
    d = block.phi.adjoint_theta(block.a, block.g - block.g.mean(axis=0))
    return d


@by_like(ml.BackProp(), "half of the batch is drawn at random", "random", "two runs", "draw")
def backprop_half_batch(block):
    keep = (np.random.default_rng().random(len(block.a)) > 0.5).astype(block.g.dtype)
    return block.phi.adjoint_theta(block.a, block.g * keep.reshape(-1, *[1] * (block.g.ndim - 1)))


# ---- right ones


@by_objective(backward_step, "the implicit step")
def implicit_right(block):
    A, g, _ = flat(block)
    return ridge(A, g, 2.0)


@by_objective(decayed, "with weight decay of W alone")
def decay_right(block):
    A, g, _ = flat(block)
    D = np.eye(A.shape[1], dtype=A.dtype)
    D[-1, -1] = 0
    return np.linalg.solve(A.T @ A + 2 * np.eye(A.shape[1], dtype=A.dtype) + A.dtype.type(0.3) * D,
                           A.T @ g + A.dtype.type(0.3) * D @ block.theta)


@by_objective(sparse, "proximal gradient with a soft threshold: nonsmooth")
def sparse_right(block):
    new = block.theta - 0.5 * block.phi.adjoint_theta(block.a, block.g)
    new[:-1] = soft(new[:-1], 0.025)
    return block.theta - new


@by_like(ml.ProxProp(tau_theta=0.5, last="implicit"), "by singular values")
def proxprop_by_svd(block):
    return dense_reference(block)


@by_like(dense_reference, "against a dense reference, in the space of samples")
def reference_right(block):
    A, g, _ = flat(block)
    return A.T @ np.linalg.solve(A @ A.T + 2 * np.eye(len(A), dtype=A.dtype), g)


@by_like(ml.BackProp(), "the gradient, by einsum")
def backprop_einsum(block):
    A, g, _ = flat(block)
    return np.einsum("ni,nj->ij", A, g)


@by_like(ml.ProxProp(1e12, solver="cg1", last="implicit"), "the README's own method")
def line_search(block):
    d = block.phi.adjoint_theta(block.a, block.g)
    change = block.phi.forward(d, block.a)
    return d * ((d * d).sum(axis=0) / ((change * change).sum(axis=0) + 1e-12))


def foof_of(block, samples):
    """Return FOOF's step for so many samples."""
    A, g, _ = flat(block)
    kind = A.dtype.type
    G = A.T @ A / kind(samples)
    return np.linalg.solve(G + kind(0.1) * np.eye(len(G), dtype=A.dtype), A.T @ g * kind(1 / (samples * block.weight)))


@by_like(ml.FOOF(damping=0.1), "rows are taken for samples: a shared map has more", "damping", "shared", "samples")
def foof_rows(block):
    return foof_of(block, len(block.a))


@right("method", "FOOF by hand, on a chain")
def foof_right(seed):
    net = ml.mlp([4, 5, 3], activation="tanh", seed=seed)
    return ml.verify(lambda block: foof_of(block, len(block.a)), net, like=ml.FOOF(damping=0.1), seed=seed)


def signed(block, theta):
    """The linearised step in the maximum norm, ‖d‖∞ ≤ 0.1."""
    d = theta - block.theta
    g = block.phi.adjoint_theta(block.a, block.g)
    return (g * d).sum() if abs(d).max() <= 0.1 * (1 + 1e-9) else np.inf


@by_objective(signed, "sign descent: the minimiser over a box, whose objective is infinite outside")
def sign_descent(block):
    return 0.1 * np.sign(block.phi.adjoint_theta(block.a, block.g))


@right("method", "direct feedback alignment, which does not claim to descend on the loss, against a dense formula")
def feedback_alignment(seed):
    def feedback(block):
        return np.random.default_rng(block.l).normal(size=(3, block.theta.shape[1])).astype(block.theta.dtype)

    class Aligned(ml.Method):
        descends_on_loss = False

        def directions(self, net, state, y):
            self.error = net.loss_function.gradient(state.z[net.depth], y)
            return super().directions(net, state, y)

        def propose(self, block):
            if block.last:
                return block.phi.adjoint_theta(block.a, block.g)
            return block.phi.adjoint_theta(block.a, (self.error @ feedback(block)) * block.f.derivative(block.z))

    class Dense(Aligned):
        def propose(self, block):
            g = block.g if block.last else np.einsum("no,oh,nh->nh", self.error, feedback(block),
                                                     block.f.derivative(block.z))
            return np.einsum("ni,nj->ij", ones(block.a), g)
    net = ml.mlp([4, 6, 5, 3], activation="tanh", seed=seed)
    return ml.verify(Aligned(), net, like=Dense(), seed=seed)


@right("method", "feedback alignment of which nothing is said but what it does not claim")
def feedback_alone(seed):
    class Signs(ml.Method):
        descends_on_loss = False

        def propose(self, block):
            return np.sign(block.phi.adjoint_theta(block.a, block.g))

    def reference(block):
        d = block.phi.adjoint_theta(block.a, block.g)
        return d / np.where(d == 0, 1, abs(d))
    return ml.verify(Signs(), like=reference, seed=seed)


for _name, _method in {
        "package_admm": lambda: ml.ADMM(), "package_bcd_jacobi": lambda: ml.BCD(bias="jacobi"),
        "package_lpom": lambda: ml.LPOM(), "package_coding": lambda: ml.PredictiveCoding(latent="pre"),
        "package_locoprop": lambda: ml.LocoProp("M", gamma=0.5, steps="exact", eta=1.0),
        "package_kfac": lambda: ml.KFAC(0.1)}.items():
    TABLE.append(Entry("method", _name, "the package's own", lambda seed, m=_method: ml.verify(m(), seed=seed), ()))


@right("method", "a subclass of BCD with one more visit of each θ: no block raises the energy")
def bcd_twice(seed):
    class Twice(ml.BCD):
        def schedule(self, energy):
            yield from super().schedule(energy)
            yield from super().schedule(energy)
    return ml.verify(Twice(), seed=seed)


@right("method", "weight decay added to ProxProp's objective, on a network with float32 parameters")
def float32_network(seed):
    net = ml.mlp([5, 7, 3], activation="softplus", seed=seed, dtype="float32")
    return ml.verify(implicit_right, net, objective=backward_step, seed=seed)


@right("method", "an own loss and an own activation in a network of its own")
def own_network(seed):
    net = ml.Network([ml.Linear(4, 6), Softsign(), ml.Linear(6, 5), SoftThreshold(), ml.Linear(5, 2)],
        loss=TanhMatching(),
                     seed=seed)
    return ml.verify(net, seed=seed)


@right("method", "ProxProp on a network with group norm")
def group_norm_network(seed):
    net = ml.Network([ml.Linear(4, 6), GroupNorm(), ml.ReLU(), ml.Linear(6, 3)], seed=seed)
    return ml.verify(ml.ProxProp(0.5), net, seed=seed)


# ------------------------------------------------------------------------------------------------- blocks of an energy


def claim(kind, make, what, *words):
    """Register a claim, made by a function without arguments; its name is that of the function."""
    TABLE.append(Entry(kind, make.__name__, what, lambda seed: ml.verify(make(), seed=seed), words))
    return make


def two_layers(rng):
    """Values of a network of two maps, weights, targets, multipliers and penalties."""
    n = rng.normal
    return {"X": n(size=(6, 4)), "W1": n(size=(4, 3)), "b1": n(size=3), "z1": n(size=(6, 3)), "a1": n(size=(6, 3)),
            "W2": n(size=(3, 2)), "b2": n(size=2), "Y": n(size=(6, 2)), "u": n(size=(6, 3)),
            "rho": rng.uniform(0.5, 3), "gamma": rng.uniform(0.5, 3), "lam": rng.uniform(0.5, 3)}


def relu(z):
    return np.maximum(z, 0)


def square(x):
    return (x * x).sum()


def split(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma):
    """The three-split energy of two maps."""
    return square(a1 @ W2 + b2 - Y) / 2 + gamma / 2 * square(a1 - relu(z1)) + rho / 2 * square(z1 - X @ W1 - b1)


def lagrangian(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, u):
    """The same with multipliers of the map's gap."""
    return split(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma) + (u * (z1 - X @ W1 - b1)).sum()


def decayed_split(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam):
    """The same with weight decay."""
    return split(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma) + lam / 2 * (square(W1) + square(W2))


def lstsq(A, B):
    return np.linalg.lstsq(A, B, rcond=None)[0]


def a_right(a1, W2, b2, Y, z1, gamma):
    return np.linalg.solve(W2 @ W2.T + gamma * np.eye(3), W2 @ (Y - b2).T + gamma * relu(z1).T).T


def z_right(z1, X, W1, b1, a1, rho, gamma):
    t = X @ W1 + b1
    up, down = relu((gamma * a1 + rho * t) / (gamma + rho)), np.minimum(t, 0)

    def value(z):
        return gamma * (a1 - relu(z)) ** 2 + rho * (z - t) ** 2
    return np.where(value(up) < value(down), up, down)


def block(kind, energy, name, what, *words, draw=two_layers, **settings):
    """Register an update of one block of an energy."""
    def register(update):
        TABLE.append(Entry("block", update.__name__, what, lambda seed: ml.verify(
            ml.Argmin(energy, update, name, draw=draw, **settings), seed=seed), words if kind else ()))
        return update
    return register


WRONG, RIGHT = True, False


@block(RIGHT, split, "a1", "activations in closed form")
def a_block(a1, W2, b2, Y, z1, gamma):
    return a_right(a1, W2, b2, Y, z1, gamma)


@block(WRONG, split, "a1", "the weights are not transposed", "transpos")
def a_not_transposed(a1, W2, b2, Y, z1, gamma):
    M = W2.T @ W2 + gamma * np.eye(2)
    s = np.linalg.solve(M, (Y - b2).T).T @ W2.T
    return s + relu(z1)


@block(WRONG, split, "a1", "z for σ(z)", "σ", "relu", "transfer", "z1")
def a_without_transfer(a1, W2, b2, Y, z1, gamma):
    return np.linalg.solve(W2 @ W2.T + gamma * np.eye(3), W2 @ (Y - b2).T + gamma * z1.T).T


@block(WRONG, split, "a1", "the bias of the next map is forgotten", "bias", "b2")
def a_without_bias(a1, W2, b2, Y, z1, gamma):
    return np.linalg.solve(W2 @ W2.T + gamma * np.eye(3), W2 @ Y.T + gamma * relu(z1).T).T


@block(WRONG, split, "a1", "γ in the matrix, not in the right-hand side", "gamma", "γ", "right-hand", "weight")
def a_gamma_once(a1, W2, b2, Y, z1, gamma):
    return np.linalg.solve(W2 @ W2.T + gamma * np.eye(3), W2 @ (Y - b2).T + relu(z1).T).T


@block(WRONG, split, "a1", "2γ, the ½ forgotten on one side", "gamma", "γ", "factor 2", "factor", "½", "doubled")
def a_gamma_twice(a1, W2, b2, Y, z1, gamma):
    return a_right(a1, W2, b2, Y, z1, 2 * gamma)


@block(WRONG, split, "a1", "ρ for γ", "rho", "ρ", "gamma", "γ", "weight")
def a_wrong_weight(a1, W2, b2, Y, z1, rho):
    return a_right(a1, W2, b2, Y, z1, rho)


@block(WRONG, split, "a1", "the result is cut at 0, the energy is not", "cut", "clip", "negative", "constrain",
       "projec", "non-negative", "nonnegative", "≥ 0")
def a_clipped(a1, W2, b2, Y, z1, gamma):
    return relu(a_right(a1, W2, b2, Y, z1, gamma))


@block(WRONG, split, "a1", "one gradient step of rate 0.1", "gradient step", "part of the way", "short",
       "along", "explicit")
def a_gradient_step(a1, W2, b2, Y, z1, gamma):
    return a1 - 0.1 * ((a1 @ W2 + b2 - Y) @ W2.T + gamma * (a1 - relu(z1)))


@block(WRONG, split, "a1", "the penalty is ignored: least squares alone", "gamma", "γ", "term", "penalty", "ignor",
       "depend")
def a_without_penalty(a1, W2, b2, Y):
    return lstsq(W2.T, (Y - b2).T).T


@block(WRONG, split, "a1", "the value is left as it is", "old value", "no step", "unchanged", "not updated")
def a_unchanged(a1):
    return a1.copy()


@block(WRONG, split, "a1", "over-relaxed by 1.5 as in ADMM programs", "relax", "1.5", "too far", "too long", "factor",
       "along")
def a_relaxed(a1, W2, b2, Y, z1, gamma):
    return a1 + 1.5 * (a_right(a1, W2, b2, Y, z1, gamma) - a1)


@block(WRONG, split, "a1", "the last sample is left out", "sample", "of a1")
def a_last_sample(a1, W2, b2, Y, z1, gamma):
    new = a_right(a1, W2, b2, Y, z1, gamma)
    new[-1] = a1[-1]
    return new


@block(WRONG, split, "a1", "the first sample's solution is broadcast to all", "sample", "row", "broadcast", "same")
def a_broadcast(a1, W2, b2, Y, z1, gamma):
    return np.repeat(a_right(a1, W2, b2, Y, z1, gamma)[:1], len(a1), axis=0)


@block(WRONG, split, "a1", "the targets are overwritten", "writes into", "overwrit", "in place", "argument")
def a_overwrites(a1, W2, b2, Y, z1, gamma):
    Y -= b2
    return a_right(a1, W2, 0 * b2, Y, z1, gamma)


INVERSES: dict = {}


@block(WRONG, split, "a1", "the first inverse is kept for all later weights", "remember", "cache", "kept", "earlier",
       "before", "first")
def a_stale_inverse(a1, W2, b2, Y, z1, gamma):
    M = INVERSES.setdefault("M", np.linalg.inv(W2 @ W2.T + gamma * np.eye(3)))
    return ((Y - b2) @ W2.T + gamma * relu(z1)) @ M


@block(RIGHT, split, "z1", "pre-activations by both branches: not convex")
def z_block(z1, X, W1, b1, a1, rho, gamma):
    return z_right(z1, X, W1, b1, a1, rho, gamma)


@block(WRONG, split, "z1", "the branch is chosen by the sign of the map's value, not by the energy", "branch", "sign",
       "other side", "compare", "local", "kink", "other piece", "piece")
def z_branch_by_sign(z1, X, W1, b1, a1, rho, gamma):
    t = X @ W1 + b1
    return np.where(t > 0, relu((gamma * a1 + rho * t) / (gamma + rho)), np.minimum(t, 0))


@block(WRONG, split, "z1", "the positive branch is not cut at 0", "cut", "branch", "kink", "piece", "domain")
def z_not_cut(z1, X, W1, b1, a1, rho, gamma):
    t = X @ W1 + b1
    up, down = (gamma * a1 + rho * t) / (gamma + rho), np.minimum(t, 0)
    return np.where(gamma * (a1 - up) ** 2 + rho * (up - t) ** 2 < gamma * a1**2 + rho * (down - t) ** 2, up, down)


@block(WRONG, split, "z1", "as if σ were the identity", "σ", "relu", "transfer", "identity", "branch", "negative",
       "kink", "linear")
def z_identity(z1, X, W1, b1, a1, rho, gamma):
    return (gamma * a1 + rho * (X @ W1 + b1)) / (gamma + rho)


@block(WRONG, split, "z1", "weights γ and ρ exchanged", "exchang", "swap", "rho", "ρ", "gamma", "γ")
def z_weights_exchanged(z1, X, W1, b1, a1, rho, gamma):
    return z_right(z1, X, W1, b1, a1, gamma, rho)


@block(WRONG, split, "z1", "values are compared with γ = ρ = 1", "branch", "compare", "gamma", "γ", "rho", "ρ",
       "weight", "piece")
def z_compared_unweighted(z1, X, W1, b1, a1, rho, gamma):
    t = X @ W1 + b1
    up, down = relu((gamma * a1 + rho * t) / (gamma + rho)), np.minimum(t, 0)
    return np.where((a1 - up) ** 2 + (up - t) ** 2 < a1**2 + (down - t) ** 2, up, down)


@block(WRONG, split, "z1", "the forward pass: z is what the map says", "gamma", "γ", "term", "penalty", "ignor",
       "depend", "a1")
def z_forward(z1, X, W1, b1):
    return X @ W1 + b1


@block(RIGHT, lagrangian, "z1", "with a multiplier, by completing the square")
def z_multiplier(z1, X, W1, b1, a1, rho, gamma, u):
    return z_right(z1, X, W1, b1 - u / rho, a1, rho, gamma)


@block(WRONG, lagrangian, "z1", "the multiplier's sign", "sign", "multiplier")
def z_multiplier_sign(z1, X, W1, b1, a1, rho, gamma, u):
    return z_right(z1, X, W1, b1 + u / rho, a1, rho, gamma)


@block(WRONG, lagrangian, "z1", "the multiplier is not divided by ρ (the scaled form in mind)", "rho", "ρ", "scale",
       "multiplier", "factor")
def z_multiplier_scaled(z1, X, W1, b1, a1, rho, gamma, u):
    return z_right(z1, X, W1, b1 - u, a1, rho, gamma)


@block(WRONG, lagrangian, "z1", "the multiplier is forgotten", "depends on u", "multiplier", "does not depend", "ignor")
def z_multiplier_forgotten(z1, X, W1, b1, a1, rho, gamma):
    return z_right(z1, X, W1, b1, a1, rho, gamma)


@block(RIGHT, split, ("W1", "b1"), "weights and bias together")
def wb_block(X, z1):
    theta = lstsq(ones(X), z1)
    return theta[:-1], theta[-1]


@block(WRONG, split, ("W1", "b1"), "each with the other's old value", "jacobi", "old", "together", "apart", "jointly",
       "each")
def wb_jacobi(X, z1, W1, b1):
    return lstsq(X, z1 - b1), (z1 - X @ W1).mean(axis=0)


@block(WRONG, split, ("W1", "b1"), "one after the other is no joint minimiser", "jointly", "together", "one after",
       "apart", "each", "sequen", "along")
def wb_one_after_other(X, z1, b1):
    W = lstsq(X, z1 - b1)
    return W, (z1 - X @ W).mean(axis=0)


@block(WRONG, split, ("W1", "b1"), "they come in the other order", "order", "shape", "swap", "exchang")
def wb_order(X, z1):
    theta = lstsq(ones(X), z1)
    return theta[-1], theta[:-1]


@block(WRONG, split, "W2", "targets are σ(z), not Y", "target", "depend")
def w_wrong_target(a1, z1, b2, W2):
    return lstsq(a1, relu(z1)[:, :2] - b2)


@block(WRONG, split, "W2", "the features are σ(z) and not a: an elimination that does not hold yet", "a1", "input",
       "depend", "σ(z", "z1")
def w_wrong_input(z1, Y, b2):
    return lstsq(relu(z1), Y - b2)


@block(WRONG, split, "b2", "a sum for a mean", "sum", "mean", "factor")
def b_sum(a1, W2, Y):
    return (Y - a1 @ W2).sum(axis=0)


@block(WRONG, split, "b2", "the mean of the targets, the features not subtracted", "depend", "a1", "w2", "term")
def b_mean_of_targets(Y):
    return Y.mean(axis=0)


@block(WRONG, split, "b2", "the mean over the wrong axis (as many samples as units hide it)", "axis", "sample", "shape",
       "transpos")
def b_axis(a1, W2, Y):
    return (Y - a1 @ W2)[:2].mean(axis=1)


@block(RIGHT, decayed_split, "W1", "ridge regression")
def w_ridge(X, z1, b1, rho, lam):
    return np.linalg.solve(rho * X.T @ X + lam * np.eye(4), rho * X.T @ (z1 - b1))


@block(WRONG, decayed_split, "W1", "λ is not divided by ρ", "rho", "ρ", "lam", "λ", "weight", "factor")
def w_ridge_without_rho(X, z1, b1, lam):
    return np.linalg.solve(X.T @ X + lam * np.eye(4), X.T @ (z1 - b1))


@block(WRONG, decayed_split, "W1", "2λ", "factor 2", "factor", "lam", "λ", "½", "doubled", "rho/2")
def w_ridge_twice(X, z1, b1, rho, lam):
    return np.linalg.solve(rho * X.T @ X + 2 * lam * np.eye(4), rho * X.T @ (z1 - b1))


@block(WRONG, decayed_split, "W1", "λ times the number of samples", "rho/n", "factor", "lam", "λ", "samples")
def w_ridge_n(X, z1, b1, rho, lam):
    return np.linalg.solve(rho * X.T @ X + lam * len(X) * np.eye(4), rho * X.T @ (z1 - b1))


@block(WRONG, decayed_split, "W1", "shrinks by 1 - λ afterwards (decoupled decay)", "factor", "shrink", "lam", "λ",
       "decoupl", "scale", "decay")
def w_ridge_decoupled(X, z1, b1, rho, lam):
    return lstsq(X, z1 - b1) * (1 - 0.1 * lam)


# ---- the same with the default draw


@block(RIGHT, lambda W, b, x, y: square(x @ W + b - y), "W", "usual names, nothing drawn by hand", draw=None)
def usual_names(b, x, y):
    return lstsq(x, y - b)


@block(WRONG, lambda W, b, x, y: square(x @ W + b - y), "W", "the bias is forgotten", "depend", draw=None)
def usual_names_without_bias(x, y):
    return lstsq(x, y)


@block(WRONG, lambda W, x, z, lam: square(x @ W - z) / 2 + lam * square(W), "W", "λ for 2λ", "½", "factor", "lam", "λ",
       "halved", draw=None)
def usual_names_half(x, z, lam):
    return np.linalg.solve(x.T @ x + lam * np.eye(x.shape[1]), x.T @ z)


# ---- proxes, projections, matrices


def one_vector(rng):
    return {"v": 2 * rng.normal(size=7), "x": rng.normal(size=7), "t": rng.uniform(0.3, 2), "s": rng.uniform(0.3, 2)}


def lasso(x, v, t):
    return square(x - v) / 2 + t * abs(x).sum()


def elastic(x, v, t, s):
    return square(x - v) / 2 + t * abs(x).sum() + s / 2 * square(x)


def ball(x, v, t):
    return square(x - v) if np.linalg.norm(x) <= t * (1 + 1e-12) else np.inf


def group(x, v, t):
    return square(x - v) / 2 + t * np.linalg.norm(x)


def nonnegative(x, v, t):
    return square(x - v) / 2 + t * x.sum() if (x >= 0).all() else np.inf


def l0(x, v, t):
    return square(x - v) / 2 + t * (x != 0).sum()


def total_variation(x, v, t):
    return square(x - v) / 2 + t * abs(np.diff(x)).sum()


@block(RIGHT, lasso, "x", "soft threshold", draw=one_vector)
def prox_l1(v, t):
    return soft(v, t)


@block(WRONG, lasso, "x", "hard for soft threshold", "hard", "threshold", "shrink", draw=one_vector)
def prox_l1_hard(v, t):
    return v * (abs(v) > t)


@block(WRONG, lasso, "x", "half the threshold", "t/2", "½", "factor", "threshold", "half", draw=one_vector)
def prox_l1_half(v, t):
    return soft(v, t / 2)


@block(WRONG, lasso, "x", "the threshold is applied to the positive side only", "sign", "negative", "abs", "|", "side",
       draw=one_vector)
def prox_l1_one_sided(v, t):
    return np.maximum(v - t, 0)


@block(WRONG, lasso, "x", "the threshold of the old value x, not of v", "v and x", "old", "start", draw=one_vector)
def prox_l1_old(x, t):
    return soft(x, t)


@block(RIGHT, elastic, "x", "elastic net", draw=one_vector)
def prox_elastic(v, t, s):
    return soft(v, t) / (1 + s)


@block(WRONG, elastic, "x", "shrunk before the threshold", "order", "threshold", "shrink", "factor", draw=one_vector)
def prox_elastic_order(v, t, s):
    return soft(v / (1 + s), t)


@block(RIGHT, ball, "x", "projection on a ball: infinite outside", draw=one_vector)
def project_ball(v, t):
    return v * min(1, t / np.linalg.norm(v))


@block(WRONG, ball, "x", "always scaled to the sphere, also from inside", "inside", "sphere", "boundary", "scale",
       "factor", "norm", draw=lambda rng: one_vector(rng) | {"v": 0.1 * rng.normal(size=7)})
def project_ball_from_inside(v, t):
    return v * t / np.linalg.norm(v)


@block(WRONG, ball, "x", "each entry is cut to [-t, t]", "entry", "domain", "infinite", "outside", "inf",
       "constraint", "feasib", draw=one_vector)
def project_ball_by_entries(v, t):
    return np.clip(v, -t, t)


@block(RIGHT, group, "x", "a group's threshold", draw=one_vector)
def prox_group(v, t):
    return v * max(0, 1 - t / np.linalg.norm(v))


@block(WRONG, group, "x", "not cut at 0: the group changes sign", "sign", "cut", "negative",
       draw=lambda rng: one_vector(rng) | {
    "v": 0.1 * rng.normal(size=7)})
def prox_group_not_cut(v, t):
    return v * (1 - t / np.linalg.norm(v))


@block(RIGHT, nonnegative, "x", "a one-sided threshold", draw=one_vector)
def prox_nonnegative(v, t):
    return np.maximum(v - t, 0)


@block(WRONG, nonnegative, "x", "the absolute value for the cut", "sign", "negative", "abs", "cut", draw=one_vector)
def prox_nonnegative_abs(v, t):
    return abs(soft(v, t))


@block(RIGHT, l0, "x", "hard threshold at √(2t): not convex, not continuous", draw=one_vector)
def prox_l0(v, t):
    return v * (v * v > 2 * t)


@block(WRONG, l0, "x", "hard threshold at t", "threshold", "zero", "jump", "√", draw=lambda rng: one_vector(rng) | {
    "t": 0.2})
def prox_l0_threshold(v, t):
    return v * (abs(v) > t)


@block(RIGHT, total_variation, "x", "taut string by its dual: a nonsmooth energy that couples entries", draw=one_vector)
def prox_tv(v, t):
    from scipy.optimize import lsq_linear
    D = np.diff(np.eye(len(v)), axis=0)
    p = lsq_linear(D.T, v, bounds=(-t, t), tol=1e-14, method="bvls").x
    return v - D.T @ p


@block(WRONG, total_variation, "x", "one soft threshold of the differences", "couple", "differences", "accumul",
       "threshold", draw=one_vector)
def prox_tv_differences(v, t):
    return np.concatenate([v[:1], v[0] + np.cumsum(soft(np.diff(v), t))])


def regression(rng):
    A = rng.normal(size=(8, 4))
    return {"A": A, "y": rng.normal(size=8), "x": rng.normal(size=4), "t": rng.uniform(0.5, 2)}


def nnls_energy(x, A, y):
    return square(A @ x - y) / 2 if (x >= 0).all() else np.inf


def lasso_regression(x, A, y, t):
    return square(A @ x - y) / 2 + t * abs(x).sum()


@block(RIGHT, nnls_energy, "x", "least squares without negative values", draw=regression)
def nnls(A, y):
    from scipy.optimize import nnls as solve
    return solve(A, y)[0]


@block(WRONG, nnls_energy, "x", "the unconstrained solution, cut at 0", "cut", "clip", "constrain", "projec", "bound",
       draw=regression)
def nnls_cut(A, y):
    return relu(lstsq(A, y))


@block(WRONG, lasso_regression, "x", "least squares, then a soft threshold", "threshold", "couple", "orthogonal",
       draw=regression)
def lasso_cut(A, y, t):
    return soft(lstsq(A, y), t)


@block(WRONG, lasso_regression, "x", "one step of ISTA", "converg", "iterat", "part of the way", "short",
       draw=regression)
def ista_once(x, A, y, t):
    L = np.linalg.norm(A, 2) ** 2
    return soft(x - A.T @ (A @ x - y) / L, t / L)


@block(WRONG, lasso_regression, "x", "ISTA whose threshold is t, not t/L", "threshold", "factor", draw=regression)
def ista_threshold(x, A, y, t):
    L = np.linalg.norm(A, 2) ** 2
    for _ in range(3000):
        x = soft(x - A.T @ (A @ x - y) / L, t)
    return x


@block(RIGHT, lasso_regression, "x", "ISTA until it rests", draw=regression)
def ista(x, A, y, t):
    L = np.linalg.norm(A, 2) ** 2
    for _ in range(3000):
        x = soft(x - A.T @ (A @ x - y) / L, t / L)
    return x


def covariance(rng):
    B = rng.normal(size=(9, 4))
    return {"S": B.T @ B / 9, "P": np.eye(4), "t": rng.uniform(0.3, 2), "M": rng.normal(size=(4, 4)) + 4 * np.eye(4)}


def log_det(P):
    P = (P + P.T) / 2
    w = np.linalg.eigvalsh(P)
    return np.log(w).sum() if w[0] > 0 else -np.inf


def likelihood(P, S):
    return -log_det(P) + (S * P).sum()


def damped_likelihood(P, S, t):
    return -log_det(P) + (S * P).sum() + t / 2 * square(P)


@block(RIGHT, likelihood, "P", "a precision matrix: log det, infinite off the cone", draw=covariance)
def precision(S):
    return np.linalg.inv(S)


@block(WRONG, likelihood, "P", "the covariance for the precision", "invers", draw=covariance)
def precision_not_inverted(S):
    return S.copy()


@block(WRONG, likelihood, "P", "the unbiased covariance: N - 1 for N", "factor", "scale", "constant", draw=covariance)
def precision_unbiased(S):
    return np.linalg.inv(S * 9 / 8)


@block(RIGHT, damped_likelihood, "P", "by eigenvalues", draw=covariance)
def damped_precision(S, t):
    w, v = np.linalg.eigh(S)
    return (v * ((-w + np.sqrt(w * w + 4 * t)) / (2 * t))) @ v.T


@block(WRONG, damped_likelihood, "P", "the other root of the quadratic", "root", "sign", "domain", "infinite", "inf",
       "definite", "not finite", draw=covariance)
def damped_precision_root(S, t):
    w, v = np.linalg.eigh(S)
    return (v * ((-w - np.sqrt(w * w + 4 * t)) / (2 * t))) @ v.T


@block(WRONG, damped_likelihood, "P", "4t under the root has lost its 4", "factor", draw=covariance)
def damped_precision_factor(S, t):
    w, v = np.linalg.eigh(S)
    return (v * ((-w + np.sqrt(w * w + t)) / (2 * t))) @ v.T


@block(WRONG, damped_likelihood, "P", "the damping is added to the covariance instead", "damping", "added",
       draw=covariance)
def damped_precision_ridge(S, t):
    return np.linalg.inv(S + t * np.eye(4))


def nuclear(L, M, t):
    return square(L - M) / 2 + t * np.linalg.svd(L, compute_uv=False).sum()


def matrices(rng):
    return {"L": rng.normal(size=(4, 3)), "M": 2 * rng.normal(size=(4, 3)), "t": rng.uniform(0.3, 1)}


@block(RIGHT, nuclear, "L", "threshold of singular values", draw=matrices)
def nuclear_prox(M, t):
    u, s, v = np.linalg.svd(M, full_matrices=False)
    return (u * np.maximum(s - t, 0)) @ v


@block(WRONG, nuclear, "L", "entries are thresholded", "entr", "singular", draw=matrices)
def nuclear_entries(M, t):
    return soft(M, t)


@block(WRONG, nuclear, "L", "V for its transpose, where it is square", "transpos", draw=lambda rng: {
    "L": rng.normal(size=(3, 3)), "M": 2 * rng.normal(size=(3, 3)), "t": 0.5})
def nuclear_transpose(M, t):
    u, s, v = np.linalg.svd(M)
    return (u * np.maximum(s - t, 0)) @ v.T


def procrustes(Q, A, B):
    return square(A @ Q - B)


def nearest_orthogonal(Q):
    u, _, v = np.linalg.svd(Q)
    return u @ v


def pair(rng):
    return {"A": rng.normal(size=(6, 3)), "B": rng.normal(size=(6, 3)), "Q": nearest_orthogonal(rng.normal(size=(3,
        3)))}


@block(RIGHT, procrustes, "Q", "the best rotation", draw=pair, project=nearest_orthogonal)
def rotation(A, B):
    return nearest_orthogonal(A.T @ B)


@block(WRONG, procrustes, "Q", "the other way round: BᵀA", "transpos", draw=pair, project=nearest_orthogonal)
def rotation_transposed(A, B):
    return nearest_orthogonal(B.T @ A)


@block(WRONG, procrustes, "Q", "least squares and no rotation: it leaves the set", "set", "project", "constraint",
       "feasib", draw=pair, project=nearest_orthogonal)
def rotation_unprojected(A, B):
    return lstsq(A, B)


@block(WRONG, procrustes, "Q", "least squares, then projected", "project", "least squares", "unconstrained",
       draw=pair, project=nearest_orthogonal)
def rotation_of_lstsq(A, B):
    return nearest_orthogonal(lstsq(A, B))


def on_simplex(x):
    s = np.sort(x)[::-1]
    c = (np.cumsum(s) - 1) / np.arange(1, len(x) + 1)
    return np.maximum(x - c[(s > c).nonzero()[0][-1]], 0)


def simplex_energy(x, v):
    return square(x - v) if (x >= -1e-12).all() and abs(x.sum() - 1) < 1e-9 else np.inf


def simplex_draw(rng):
    return {"v": rng.normal(size=5), "x": np.full(5, 0.2)}


@block(RIGHT, simplex_energy, "x", "projection on the simplex", draw=simplex_draw, project=on_simplex)
def simplex(v):
    return on_simplex(v)


@block(WRONG, simplex_energy, "x", "cut at 0 and divided by the sum", "scale", "normal", "divid", "shift",
       draw=simplex_draw, project=on_simplex)
def simplex_by_division(v):
    return relu(v) / relu(v).sum()


@block(WRONG, simplex_energy, "x", "the softmax", "softmax", "exp", "entropy", draw=simplex_draw, project=on_simplex)
def simplex_softmax(v):
    e = np.exp(v - v.max())
    return e / e.sum()


def entropic(x, v, t):
    return (v * x).sum() + t * (x * np.log(x)).sum() if (x > 0).all() and abs(x.sum() - 1) < 1e-9 else np.inf


@block(RIGHT, entropic, "x", "mirror descent: softmax of -v/t, on the open simplex",
       draw=lambda rng: simplex_draw(rng) | {"t": rng.uniform(0.5, 2)},
       project=lambda x: np.maximum(on_simplex(x), 1e-12) / np.maximum(on_simplex(x), 1e-12).sum())
def mirror(v, t):
    e = np.exp(-(v - v.min()) / t)
    return e / e.sum()


@block(WRONG, entropic, "x", "the sign: mass goes where v is largest", "sign",
       draw=lambda rng: simplex_draw(rng) | {"t": rng.uniform(0.5, 2)},
       project=lambda x: np.maximum(on_simplex(x), 1e-12) / np.maximum(on_simplex(x), 1e-12).sum())
def mirror_sign(v, t):
    e = np.exp(v / t)
    return e / e.sum()


# ---- local minimisers, Newton steps, matching energies


def matching(a1, X, W1, b1, W2, b2, Y):
    """LPOM with ReLU."""
    u = X @ W1 + b1
    return np.inf if (a1 < -1e-12).any() else (
        square(relu(u)) / 2 + square(a1) / 2 - (a1 * u).sum() + square(a1 @ W2 + b2 - Y) / 2)


def positive_layers(rng):
    drawn = two_layers(rng)
    return drawn | {"a1": abs(drawn["a1"]), "W2": 0.4 * drawn["W2"]}


@block(RIGHT, matching, "a1", "LPOM's fixed point, until it rests", draw=positive_layers)
def lpom_fixed_point(a1, X, W1, b1, W2, b2, Y):
    H = W2 @ W2.T + np.eye(3)
    L = np.linalg.norm(H, 2)
    for _ in range(3000):
        a1 = relu(a1 - (a1 @ H - (Y - b2) @ W2.T - X @ W1 - b1) / L)
    return a1


@block(WRONG, matching, "a1", "five steps of the fixed point", "converg", "iterat", "part of the way", "rest",
       "short", draw=lambda rng: positive_layers(rng) | {"W2": 0.5 * rng.normal(size=(3, 2))})
def lpom_five_steps(a1, X, W1, b1, W2, b2, Y):
    for _ in range(5):
        a1 = relu(X @ W1 + b1 - (a1 @ W2 + b2 - Y) @ W2.T)
    return a1


@block(WRONG, matching, "a1", "the sign of the feedback", "sign", draw=positive_layers)
def lpom_sign(a1, X, W1, b1, W2, b2, Y):
    for _ in range(300):
        a1 = relu(X @ W1 + b1 + 0.5 * (a1 @ W2 + b2 - Y) @ W2.T)
        a1 = np.minimum(a1, 1e3)
    return a1


@block(WRONG, matching, "a1", "solved without the constraint, then cut", "cut", "clip", "constrain", "bound",
       draw=lambda rng: positive_layers(rng) | {"W2": rng.normal(size=(3, 2))})
def lpom_cut(X, W1, b1, W2, b2, Y):
    return relu(np.linalg.solve(W2 @ W2.T + np.eye(3), ((Y - b2) @ W2.T + X @ W1 + b1).T).T)


def mac_energy(a1, X, W1, b1, W2, b2, Y, rho):
    return square(np.tanh(a1 @ W2 + b2) - Y) / 2 + rho / 2 * square(a1 - np.tanh(X @ W1 + b1))


@block(RIGHT, mac_energy, "a1", "Gauss–Newton until it rests: a local minimiser", local=True,
       draw=lambda rng: two_layers(rng) | {"rho": 4.0})
def mac_newton(a1, X, W1, b1, W2, b2, Y, rho):
    from scipy.optimize import minimize
    p = np.tanh(X @ W1 + b1)

    def both(x):
        a = x.reshape(p.shape)
        t = np.tanh(a @ W2 + b2)
        return (square(t - Y) / 2 + rho / 2 * square(a - p),
                (((t - Y) * (1 - t * t)) @ W2.T + rho * (a - p)).ravel())
    return minimize(both, p.ravel(), jac=True, method="BFGS", options={"gtol": 1e-10}).x.reshape(p.shape)


@block(WRONG, mac_energy, "a1", "one Gauss–Newton step", "converg", "iterat", "newton", local=True)
def mac_once(a1, X, W1, b1, W2, b2, Y, rho):
    t = np.tanh(a1 @ W2 + b2)
    new = a1.copy()
    for i in range(len(a1)):
        J = W2 * (1 - t[i] ** 2)
        g = J @ (t[i] - Y[i]) + rho * (a1[i] - np.tanh(X[i] @ W1 + b1))
        new[i] -= np.linalg.solve(J @ J.T + rho * np.eye(3), g)
    return new


@block(WRONG, mac_energy, "a1", "the derivative of tanh is taken at its value: the fixed point of a wrong gradient",
       "derivative", "σ'", "gradient", local=True, draw=lambda rng: two_layers(rng) | {"rho": 4.0})
def mac_wrong_derivative(a1, X, W1, b1, W2, b2, Y, rho):
    p = np.tanh(X @ W1 + b1)
    a = p.copy()
    for _ in range(500):
        t = np.tanh(a @ W2 + b2)
        a = a - 0.05 * (((t - Y) * (1 - np.tanh(t) ** 2)) @ W2.T + rho * (a - p))
    return a


# ---- gradients and formulas


def gradient_claim(right_or_wrong, energy, name, what, *words, draw=two_layers):
    """Register a gradient."""
    def register(function):
        TABLE.append(Entry("gradient", function.__name__, what, lambda seed: ml.verify(
            ml.Gradient(energy, function, name, draw=draw), seed=seed), words if right_or_wrong else ()))
        return function
    return register


@gradient_claim(RIGHT, split, "z1", "the gradient in the pre-activations")
def gradient_z(X, W1, b1, z1, a1, rho, gamma):
    return -gamma * (a1 - relu(z1)) * (z1 > 0) + rho * (z1 - X @ W1 - b1)


@gradient_claim(WRONG, split, "z1", "σ' is missing", "σ'", "derivative", "mask", "z1")
def gradient_z_unmasked(X, W1, b1, z1, a1, rho, gamma):
    return -gamma * (a1 - relu(z1)) + rho * (z1 - X @ W1 - b1)


@gradient_claim(WRONG, split, "z1", "the first term's sign", "sign", "gamma", "γ")
def gradient_z_sign(X, W1, b1, z1, a1, rho, gamma):
    return gamma * (a1 - relu(z1)) * (z1 > 0) + rho * (z1 - X @ W1 - b1)


@gradient_claim(WRONG, split, "a1", "no transpose, broadcast by a product with the sum", "transpos", "shape", "w2")
def gradient_a_sum(a1, W2, b2, Y, z1, gamma):
    return (a1 @ W2 + b2 - Y) @ W2[:2, :] @ np.ones((2, 3)) / 3 + gamma * (a1 - relu(z1))


@gradient_claim(WRONG, split, "b1", "the sum over samples is a mean", "1/n", "/n", "mean", "factor")
def gradient_b_mean(X, W1, b1, z1, rho):
    return -rho * (z1 - X @ W1 - b1).mean(axis=0)


@gradient_claim(WRONG, split, "W1", "ρ is forgotten", "rho", "ρ", "factor", "depend")
def gradient_w_rho(X, W1, b1, z1):
    return -X.T @ (z1 - X @ W1 - b1)


@gradient_claim(WRONG, damped_likelihood, "P", "∂ log det P is P⁻ᵀ; for P without a minus", "sign", "invers",
                draw=covariance)
def gradient_log_det(P, S, t):
    return np.linalg.inv(P) + S + t * P


@gradient_claim(RIGHT, lambda M: -np.log(abs(np.linalg.det(M))), "M", "log |det| of a matrix that is not symmetric",
                draw=covariance)
def gradient_det(M):
    return -np.linalg.inv(M).T


@gradient_claim(WRONG, lambda M: -np.log(abs(np.linalg.det(M))), "M", "the inverse is not transposed", "transpos",
                draw=covariance)
def gradient_det_transpose(M):
    return -np.linalg.inv(M)


def depthwise(x, K):
    """A depthwise correlation, valid."""
    k = K.shape[0]
    h, w = x.shape[1] - k + 1, x.shape[2] - k + 1
    return sum(x[:, i:i + h, j:j + w] * K[i, j] for i in range(k) for j in range(k))


def images(rng):
    return {"x": rng.normal(size=(2, 5, 4, 3)), "K": rng.normal(size=(3, 3, 3)), "y": rng.normal(size=(2, 3, 2, 3))}


@gradient_claim(RIGHT, lambda x, K, y: square(depthwise(x, K) - y) / 2, "K", "of a depthwise convolution", draw=images)
def gradient_depthwise(x, K, y):
    r = depthwise(x, K) - y
    return np.array([[(r * x[:, i:i + 3, j:j + 2]).sum(axis=(0, 1, 2)) for j in range(3)] for i in range(3)])


@gradient_claim(WRONG, lambda x, K, y: square(depthwise(x, K) - y) / 2, "K", "the kernel is flipped", "flip", "turned",
                "order", "revers", draw=images)
def gradient_depthwise_flipped(x, K, y):
    return gradient_depthwise(x, K, y)[::-1, ::-1].copy()


@gradient_claim(WRONG, lambda x, K, y: square(depthwise(x, K) - y) / 2, "K", "channels are summed: a kernel for all",
                "channel", "sum", "axis", draw=images)
def gradient_depthwise_summed(x, K, y):
    g = gradient_depthwise(x, K, y)
    return np.repeat(g.sum(axis=-1, keepdims=True), 3, axis=-1)


def attention(rng):
    return {"Q": rng.normal(size=(4, 3)), "K": rng.normal(size=(5, 3)), "V": rng.normal(size=(5, 2)),
            "Y": rng.normal(size=(4, 2))}


def weights_of(Q, K):
    e = Q @ K.T / math.sqrt(Q.shape[1])
    e = np.exp(e - e.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def attention_energy(Q, K, V, Y):
    return square(weights_of(Q, K) @ V - Y) / 2


@gradient_claim(RIGHT, attention_energy, "Q", "of attention", draw=attention)
def gradient_attention(Q, K, V, Y):
    p = weights_of(Q, K)
    g = (p @ V - Y) @ V.T
    return (p * (g - (p * g).sum(axis=1, keepdims=True))) @ K / math.sqrt(3)


@gradient_claim(WRONG, attention_energy, "Q", "1/√d is forgotten", "factor", "√", "scale", draw=attention)
def gradient_attention_scale(Q, K, V, Y):
    return gradient_attention(Q, K, V, Y) * math.sqrt(3)


@gradient_claim(WRONG, attention_energy, "Q", "the softmax's diagonal only", "diagonal", "softmax", draw=attention)
def gradient_attention_diagonal(Q, K, V, Y):
    p = weights_of(Q, K)
    g = (p @ V - Y) @ V.T
    return (p * (1 - p) * g) @ K / math.sqrt(3)


def equal_claim(right_or_wrong, reference, what, *words, draw=None):
    """Register a quick formula beside a dense one."""
    def register(function):
        TABLE.append(Entry("equal", function.__name__, what, lambda seed: ml.verify(
            ml.Equal(function, reference, draw=draw), seed=seed), words if right_or_wrong else ()))
        return function
    return register


def lowrank(rng):
    return {"A": rng.normal(size=(6, 3)), "d": rng.uniform(1, 2, size=6), "b": rng.normal(size=6)}


@equal_claim(RIGHT, lambda A, d, b: np.linalg.solve(np.diag(d) + A @ A.T, b), "Woodbury", draw=lowrank)
def woodbury(A, d, b):
    s, q = b / d, A / d[:, None]
    return s - q @ np.linalg.solve(np.eye(3) + A.T @ q, A.T @ s)


@equal_claim(WRONG, lambda A, d, b: np.linalg.solve(np.diag(d) + A @ A.T, b), "Woodbury with + for -", "sign",
             draw=lowrank)
def woodbury_sign(A, d, b):
    s, q = b / d, A / d[:, None]
    return s + q @ np.linalg.solve(np.eye(3) + A.T @ q, A.T @ s)


@equal_claim(WRONG, lambda A, d, b: np.linalg.slogdet(np.diag(d) + A @ A.T)[1],
             "the determinant lemma without the diagonal's part", "constant", "offset", "depend", draw=lowrank)
def determinant_lemma(A, d, b):
    return np.linalg.slogdet(np.eye(3) + A.T @ (A / d[:, None]))[1]


@equal_claim(WRONG, lambda A, d, b: A.T @ np.diag(d) @ A, "the weights' root is taken twice", "square", "root", "power",
             "factor", draw=lowrank)
def weighted_gram(A, d, b):
    B = A * d[:, None]
    return B.T @ B


@equal_claim(WRONG, lambda Q, K: np.kron(Q, K) @ np.ones(15), "vec by columns and by rows are mixed", "transpos",
             "order", "permut", "shape", draw=lambda rng: {"Q": rng.normal(size=(3, 3)), "K": rng.normal(size=(3, 5))})
def kronecker_order(Q, K):
    return (K @ np.ones((5, 3)) @ Q.T).ravel()


# ----------------------------------------------------------------------------------------------------------- sequences


def sequence(right_or_wrong, energy, what, *words, draw=two_layers, **settings):
    """Register a sweep."""
    def register(function):
        TABLE.append(Entry("sequence", function.__name__, what, lambda seed: ml.verify(
            ml.Decreases(energy, function, draw=draw, **settings), seed=seed), words if right_or_wrong else ()))
        return function
    return register


def tidy(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam):
    """Three-split with decay, so that every block has one minimiser."""
    return decayed_split(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam) + (square(b1) + square(b2)) / 2


def theta_block(A, T, rho, lam):
    D = np.diag([lam] * A.shape[1] + [1.0])
    return np.linalg.solve(rho * ones(A).T @ ones(A) + D, rho * ones(A).T @ T)


def full_sweep(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam):
    t2 = theta_block(a1, Y, 1.0, lam)
    W2, b2 = t2[:-1], t2[-1]
    a1 = a_right(a1, W2, b2, Y, z1, gamma)
    z1 = z_right(z1, X, W1, b1, a1, rho, gamma)
    t1 = theta_block(X, z1, rho, lam)
    return {"W2": W2, "b2": b2, "a1": a1, "z1": z1, "W1": t1[:-1], "b1": t1[-1]}


@sequence(RIGHT, tidy, "all blocks in closed form, each with the new values")
def bcd_sweep(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam):
    return full_sweep(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam)


@sequence(WRONG, tidy, "all blocks from the old values (naive order)", "order", "old", "jacobi",
          "at once")
def bcd_naive(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam):
    t1, t2 = theta_block(X, z1, rho, lam), theta_block(a1, Y, 1.0, lam)
    return {"W2": t2[:-1], "b2": t2[-1], "a1": a_right(a1, W2, b2, Y, z1, gamma),
            "z1": z_right(z1, X, W1, b1, a1, rho, gamma), "W1": t1[:-1], "b1": t1[-1]}


@sequence(WRONG, tidy, "a1 is returned as it was: the sweep rests where the energy is not stationary", "a1", "rest",
          "stationary", "not updated", "never")
def bcd_keeps_a(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam):
    t2 = theta_block(a1, Y, 1.0, lam)
    z1 = z_right(z1, X, W1, b1, a1, rho, gamma)
    t1 = theta_block(X, z1, rho, lam)
    return {"W2": t2[:-1], "b2": t2[-1], "a1": a1.copy(), "z1": z1, "W1": t1[:-1], "b1": t1[-1]}


@sequence(WRONG, tidy, "a1 is no part of the sweep, and stays what it was for ever", "a1", "not updated", "never",
          "data")
def bcd_without_a(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam):
    new = bcd_keeps_a(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam)
    del new["a1"]
    return new


@sequence(WRONG, tidy, "decay is forgotten in W2's block", "w2", "lam", "λ")
def bcd_without_decay(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam):
    new = full_sweep(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam)
    t2 = theta_block(new["a1"], Y, 1.0, 0.0)
    return new | {"W2": t2[:-1], "b2": t2[-1]}


@sequence(WRONG, tidy, "W2 from the new a, a from the old W2, both at once", "order", "old", "w2",
          "a1")
def bcd_two_at_once(X, W1, b1, z1, a1, W2, b2, Y, rho, gamma, lam):
    t2 = theta_block(a1, Y, 1.0, lam)
    return {"W2": t2[:-1], "b2": t2[-1], "a1": a_right(a1, W2, b2, Y, z1, gamma)}


def least_squares(rng):
    A = rng.normal(size=(9, 4))
    return {"A": A, "y": rng.normal(size=9), "x": rng.normal(size=4), "v": np.zeros(4), "t": rng.uniform(0.2, 1)}


def fit(x, A, y):
    return square(A @ x - y) / 2


@sequence(RIGHT, fit, "gradient descent with a rate of 1/L", draw=least_squares)
def gradient_descent(x, A, y):
    return {"x": x - A.T @ (A @ x - y) / np.linalg.norm(A, 2) ** 2}


@sequence(WRONG, fit, "the rate is 1/L for L = ‖A‖ and not ‖A‖²: too long", "too long", "rise", "increase",
          "diverg", draw=lambda rng: least_squares(rng) | {"A": 3 * rng.normal(size=(9, 4))})
def gradient_too_long(x, A, y):
    return {"x": x - A.T @ (A @ x - y) / np.linalg.norm(A, 2)}


@sequence(WRONG, fit, "gradient ascent", "sign", "rise", "increase", "ascen", draw=least_squares)
def gradient_ascent(x, A, y):
    return {"x": x + 0.01 * A.T @ (A @ x - y)}


@sequence(WRONG, fit, "the gradient of only half of the samples: it rests elsewhere", "rest", "stationary", "fixed",
          draw=least_squares)
def gradient_half(x, A, y):
    return {"x": x - A[:4].T @ (A[:4] @ x - y[:4]) / np.linalg.norm(A, 2) ** 2}


@sequence(WRONG, fit, "heavy ball is claimed to be monotone", "rise", "increase", "momentum", "descends=False",
          "monoton", draw=least_squares)
def heavy_ball_monotone(x, v, A, y):
    v = 0.9 * v - A.T @ (A @ x - y) / np.linalg.norm(A, 2) ** 2
    return {"x": x + v, "v": v}


@sequence(RIGHT, fit, "heavy ball: claims of its points of rest alone", draw=least_squares, descends=False)
def heavy_ball(x, v, A, y):
    v = 0.5 * v - A.T @ (A @ x - y) / np.linalg.norm(A, 2) ** 2
    return {"x": x + v, "v": v}


@sequence(WRONG, fit, "the velocity gets the new gradient with its sign lost", "sign", "rest", "diverg", "stationary",
          draw=least_squares, descends=False)
def heavy_ball_sign(x, v, A, y):
    v = 0.5 * v + 0.05 * A.T @ (A @ x - y) / np.linalg.norm(A, 2) ** 2
    return {"x": x + v, "v": v}


@sequence(WRONG, fit, "weight decay besides: it rests elsewhere", "rest", "stationary", "fixed", draw=least_squares,
          descends=False)
def heavy_ball_decay(x, v, A, y):
    v = 0.5 * v - A.T @ (A @ x - y) / np.linalg.norm(A, 2) ** 2 - 0.05 * x
    return {"x": x + v, "v": v}


@sequence(WRONG, fit, "the step length is divided by a count that is kept: it rests too early", "remember", "state",
          "kept", "rest", "stationary", "before", "calls", draw=least_squares)
def decaying_rate(x, A, y):
    decaying_rate.count = getattr(decaying_rate, "count", 0) + 1
    return {"x": x - A.T @ (A @ x - y) / np.linalg.norm(A, 2) ** 2 / decaying_rate.count}


@sequence(WRONG, fit, "x is changed in place", "in place", "overwrit", "writes into", "argument", draw=least_squares)
def descent_in_place(x, A, y):
    x -= A.T @ (A @ x - y) / np.linalg.norm(A, 2) ** 2
    return {"x": x}


@sequence(WRONG, fit, "the stop rule is inside: no step if the gradient is below 1", "rest", "stationary", "stop",
          "early", draw=least_squares)
def stops_early(x, A, y):
    g = A.T @ (A @ x - y)
    return {"x": x - g / np.linalg.norm(A, 2) ** 2 if np.linalg.norm(g) > 1 else x.copy()}


def lasso_split(x, w, p, A, y, t):
    return square(A @ x - y) / 2 + t * abs(w).sum() + (p * (x - w)).sum() + square(x - w) / 2


def admm_draw(rng):
    return least_squares(rng) | {"w": rng.normal(size=4), "p": np.zeros(4)}


@sequence(RIGHT, lasso_split, "ADMM for the lasso: of points of rest alone", draw=admm_draw, descends=False)
def admm_lasso(x, w, p, A, y, t):
    x = np.linalg.solve(A.T @ A + np.eye(4), A.T @ y + w - p)
    w = soft(x + p, t)
    return {"x": x, "w": w, "p": p + x - w}


@sequence(WRONG, lasso_split, "the multiplier's sign in x's step", "sign", "rest", "stationary", "multiplier",
          draw=admm_draw, descends=False)
def admm_sign(x, w, p, A, y, t):
    x = np.linalg.solve(A.T @ A + np.eye(4), A.T @ y + w + p)
    w = soft(x + p, t)
    return {"x": x, "w": w, "p": p + x - w}


@sequence(WRONG, lasso_split, "the multiplier is never updated: the constraint is not met", "multiplier", "rest",
          "stationary", "constraint", "residual", "gap", draw=admm_draw, descends=False)
def admm_no_dual(x, w, p, A, y, t):
    x = np.linalg.solve(A.T @ A + np.eye(4), A.T @ y + w - p)
    return {"x": x, "w": soft(x + p, t)}


@sequence(WRONG, lasso_split, "the multiplier is returned as it was", "multiplier", " p", "rest", "stationary",
          draw=admm_draw, descends=False)
def admm_keeps_dual(x, w, p, A, y, t):
    return admm_no_dual(x, w, p, A, y, t) | {"p": p.copy()}


@sequence(WRONG, lasso_split, "the multiplier descends", "sign", "multiplier", "diverg", "rest",
          draw=admm_draw, descends=False)
def admm_dual_sign(x, w, p, A, y, t):
    x = np.linalg.solve(A.T @ A + np.eye(4), A.T @ y + w - p)
    w = soft(x + p, t)
    return {"x": x, "w": w, "p": p - 0.1 * (x - w)}


@sequence(WRONG, lasso_split, "the threshold is half: it rests at another lasso", "rest", "stationary",
          "threshold", draw=admm_draw, descends=False)
def admm_threshold(x, w, p, A, y, t):
    x = np.linalg.solve(A.T @ A + np.eye(4), A.T @ y + w - p)
    w = soft(x + p, t / 2)
    return {"x": x, "w": w, "p": p + x - w}


@sequence(RIGHT, lasso_regression, "ISTA: a nonsmooth energy", draw=least_squares)
def ista_sweep(x, A, y, t):
    L = np.linalg.norm(A, 2) ** 2
    return {"x": soft(x - A.T @ (A @ x - y) / L, t / L)}


@sequence(WRONG, lasso_regression, "the threshold comes before the gradient step: it rests elsewhere", "rest",
          "stationary", "order", draw=least_squares)
def ista_order(x, A, y, t):
    L = np.linalg.norm(A, 2) ** 2
    x = soft(x, t / L)
    return {"x": x - A.T @ (A @ x - y) / L}


@sequence(RIGHT, nnls_energy, "projected gradients: a constraint", draw=lambda rng: least_squares(rng) | {
    "x": abs(rng.normal(size=4))})
def projected_gradient(x, A, y):
    return {"x": relu(x - A.T @ (A @ x - y) / np.linalg.norm(A, 2) ** 2)}


@sequence(RIGHT, fit, "one coordinate after another", draw=least_squares)
def coordinate_descent(x, A, y):
    x = x.copy()
    for i in range(len(x)):
        x[i] -= A[:, i] @ (A @ x - y) / square(A[:, i])
    return {"x": x}


@sequence(WRONG, fit, "all coordinates with the old residual", "old", "jacobi", "at once", "order",
          draw=lambda rng: least_squares(rng) | {"A": rng.normal(size=(9, 4)) + 2})
def coordinate_jacobi(x, A, y):
    r = A @ x - y
    return {"x": x - (A.T @ r) / (A * A).sum(axis=0)}


def factorisation(U, V, M):
    return square(U @ V.T - M) / 2 + 0.05 * (square(U) + square(V))


def factors(rng):
    return {"U": rng.normal(size=(5, 2)), "V": rng.normal(size=(4, 2)), "M": rng.normal(size=(5, 4))}


def als(M, V):
    return np.linalg.solve(V.T @ V + 0.1 * np.eye(2), V.T @ M.T).T


@sequence(RIGHT, factorisation, "alternating least squares: not convex", draw=factors)
def alternating(U, V, M):
    U = als(M, V)
    return {"U": U, "V": als(M.T, U)}


@sequence(WRONG, factorisation, "both factors from the old ones", "old", "order", "at once",
          "jacobi", draw=factors)
def alternating_naive(U, V, M):
    return {"U": als(M, V), "V": als(M.T, U)}


@sequence(WRONG, factorisation, "U is normalised after each sweep for stability: the energy is another's", "rest",
          "stationary", draw=factors)
def alternating_normalised(U, V, M):
    U = als(M, V)
    U = U / np.linalg.norm(U, axis=0)
    return {"U": U, "V": als(M.T, U)}


# -------------------------------------------------------------------------------------------------------------- running


class Outcome(NamedTuple):
    """What became of one call."""

    verdict: str
    reasons: list
    claims: list
    seconds: float


def outcome(entry, seed=0):
    """Return the `Outcome` of one entry: "caught", "passed", "unverified" or "raised"."""
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = entry.check(seed)
    except Exception as error:  # verify should report what a thing does wrong, not raise it
        return Outcome("raised", [f"{type(error).__name__}: {error}"], [], time.process_time() - start)
    verdict = "caught" if report.failures else "passed" if report.passed else "unverified"
    return Outcome(verdict, [check.reason for check in report.failures], [check.claim for check in report.failures],
                   time.process_time() - start)


def told(reasons):
    """Return the reasons that say something."""
    return [reason for reason in reasons if reason and not reason.startswith("none of the usual mistakes")
            and not re.match(r"likely: the step of map \d+ is wrong", reason)]


def judged(entry, found):
    """Return "named" or "other reason" or "no reason" for a caught mistake."""
    said = [reason.replace(entry.name, "") for reason in told(found.reasons)]
    if any(word.lower() in reason.lower() for word in entry.words for reason in said):
        return "named"
    return "other reason" if said else "no reason"


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=5, help="of the right ones (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the mistakes, and the first of the right ones")
    parser.add_argument("--part", default="1/1", help="such as 2/3: every third entry, from the second")
    parser.add_argument("--only", choices=["right", "wrong"])
    parser.add_argument("--quiet", action="store_true", help="totals, and what is not as it should be")
    options = parser.parse_args()
    kinds = {e.kind for e in TABLE}
    chosen = [e for e in TABLE if not options.names or any(n == e.kind if n in kinds else n.lower() in e.name.lower()
                                                           for n in options.names)]
    chosen = [e for e in chosen if options.only is None or bool(e.words) == (options.only == "wrong")]
    first, parts = map(int, options.part.split("/"))
    chosen = chosen[first - 1::parts]
    totals: dict[str, int] = {}
    times, slowest = {"mistakes": 0.0, "right": 0.0}, ("", 0.0)
    for entry in chosen:
        seeds = [options.seed] if entry.words else range(options.seed, options.seed + options.seeds)
        for seed in seeds:
            found = outcome(entry, seed)
            times["mistakes" if entry.words else "right"] += found.seconds
            slowest = max(slowest, (entry.name, found.seconds), key=lambda pair: pair[1])
            if entry.words:
                verdict = judged(entry, found) if found.verdict == "caught" else f"MISSED ({found.verdict})"
                good = verdict == "named"
            else:
                good = found.verdict == "passed"
                verdict = "right: passed" if good else f"RIGHT, BUT {found.verdict.replace('caught', 'REFUSED')}"
            totals[verdict] = totals.get(verdict, 0) + 1
            if good and (options.quiet or not entry.words):
                continue
            print(f"{verdict:18} {entry.kind:9} {entry.name} [{found.seconds:.2f} s, seed {seed}]: {entry.what}",
                  flush=True)
            for claim, reason in zip(found.claims or [""], found.reasons):
                print(f"{'':20}{claim}: {reason}")
    mistakes, rights = sum(bool(e.words) for e in chosen), sum(not e.words for e in chosen)
    print(f"\n{mistakes} mistakes, {rights} right things with {options.seeds} seeds")
    for verdict in sorted(totals):
        print(f"  {verdict:28} {totals[verdict]}")
    print(f"  seconds of CPU: mistakes {times['mistakes']:.1f}, right ones {times['right']:.1f}; slowest {slowest[0]} "
          f"{slowest[1]:.2f}")


if __name__ == "__main__":
    main()
