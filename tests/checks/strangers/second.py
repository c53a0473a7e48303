"""A second list of planted mistakes and of right but unusual things, put to ``ml.verify`` from outside.

Everything here was made from the public face alone (the README, docstrings, the sources of layers and methods), before
any of it was run. Each entry is a function that returns what is verified, or (thing, arguments of verify). A mistake
also has words: regular expressions of which a fitting reason would hold at least one.

    python tests/checks/strangers/second.py [NAME] [--seeds K]

prints a line for each entry whose name holds NAME, and totals. A second column says whether the words were found in a
failure's reason ("named"), only in the claim that failed ("by claim"), or nowhere.
"""

from __future__ import annotations

import argparse
import copy
import re
import time
import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.signal
import scipy.special

import minilift as ml
from minilift.methods.lifted.descend import Lifted
from minilift.methods.lifted.matching import MatchingEnergy
from minilift.methods.lifted.three_split import ThreeSplit
from minilift.methods.lifted.two_split import TwoSplit


class Entry(NamedTuple):
    """One thing to verify: whether it is wrong, and what a fitting reason would say."""

    name: str
    kind: str
    wrong: bool
    make: Any
    words: tuple
    about: str


ENTRIES: list[Entry] = []


def mistake(kind, *words):
    """Register a planted mistake, with the words of a fitting reason."""
    def register(make):
        ENTRIES.append(Entry(make.__name__, kind, True, make, words, make.__doc__.splitlines()[0]))
        return make
    return register


def right(kind):
    """Register a right thing."""
    def register(make):
        ENTRIES.append(Entry(make.__name__, kind, False, make, (), make.__doc__.splitlines()[0]))
        return make
    return register


# ---- transfers


def own(name, forward, derivative, **more):
    """Return an activation made of functions of z."""
    body = {"forward": lambda self, z: forward(z), "derivative": lambda self, z: derivative(z)}
    body |= {key: (lambda self, x, f=value: f(x)) if callable(value) else value for key, value in more.items()}
    return type(name, (ml.Activation,), body)()


def gate(condition, z):
    """Return a condition as numbers of z's dtype."""
    return condition.astype(z.dtype)


def expit(z):
    """Return the sigmoid."""
    return scipy.special.expit(z)


@mistake("transfer", r"2\.5", r"beyond", r"kink", r"where \|?z", r"for z (in|between|>|<)")
def band_of_another_hard_sigmoid():
    """The line of one library's hard sigmoid, the band of another's."""
    return own("HardSigmoid", lambda z: np.clip(z / 6 + 0.5, 0, 1), lambda z: gate(abs(z) < 2.5, z) / 6)


@mistake("transfer", r"product rule", r"term", r"missing", r"z σ'|sigmoid")
def swish_without_the_product_rule():
    """The derivative of z s(z) as s(z) alone."""
    return own("Swish", lambda z: z * expit(z), expit)


@mistake("transfer", r"approximat", r"other function", r"near(ly)?", r"close", r"not the derivative")
def gelu_of_two_kinds():
    """The tanh form of GELU with the derivative of the exact one: they differ by a thousandth."""
    c = float(np.sqrt(2 / np.pi))
    return own("Gelu", lambda z: z * (1 + np.tanh(c * (z + 0.044715 * z**3))) / 2,
               lambda z: (1 + scipy.special.erf(z / 2**0.5)) / 2 + z * np.exp(-z * z / 2) * (c / 2))


@mistake("transfer", r"for z < 0|negative|left", r"below 0", r"z <", r"factor")
def elu_for_alpha_one():
    """ELU with α = 1.5, whose derivative on the left is taken as σ + 1 instead of σ + α."""
    return own("Elu", lambda z: np.where(z > 0, z, 1.5 * np.expm1(np.minimum(z, 0))),
               lambda z: np.where(z > 0, 1, 1.5 * np.expm1(np.minimum(z, 0)) + 1).astype(z.dtype))


@mistake("transfer", r"for z > 0|positive|right", r"factor", r"scale", r"1\.05")
def selu_slope_of_one():
    """SELU whose scale λ is forgotten in the derivative on the right."""
    s, t = 1.0507009873554805, 1.6732632423543772
    return own("Selu", lambda z: s * np.where(z > 0, z, t * np.expm1(np.minimum(z, 0))),
               lambda z: np.where(z > 0, 1, s * t * np.exp(np.minimum(z, 0))).astype(z.dtype))


@mistake("transfer", r"negative|z < 0|left", r"sign", r"\|z\|", r"even|odd")
def softsign_integral_without_a_size():
    """F = z − log(1 + z), right for z > 0 only."""
    return own("Softsign", lambda z: z / (1 + abs(z)), lambda z: (1 + abs(z)) ** -2.0, range=(-1.0, 1.0),
               integral=lambda z: z - np.log1p(np.maximum(z, -0.999)))


@mistake("transfer", r"overflow", r"large", r"inf")
def log_cosh_written_out():
    """F = log cosh z as it stands, which overflows."""
    return own("Tangent", np.tanh, lambda z: 1 - np.tanh(z) ** 2, range=(-1.0, 1.0),
               integral=lambda z: np.log(np.cosh(z)))


@mistake("transfer", r"overflow", r"large", r"nan|NaN")
def logistic_slope_written_out():
    """The slope e^−z/(1 + e^−z)², not a number far to the left."""
    return own("Logistic", expit, lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2, range=(0.0, 1.0))


@mistake("transfer", r"\b6\b", r"beyond|above|over", r"kink", r"saturat|flat", r"where z", r"for z >")
def relu6_without_its_lid():
    """The derivative of min(max(z, 0), 6) as that of a ReLU."""
    return own("Relu6", lambda z: np.clip(z, 0, 6), lambda z: gate(z > 0, z))


@mistake("transfer", r"\b20\b", r"beyond|above|over", r"large", r"saturat|flat", r"for z >")
def lid_at_twenty():
    """A ReLU with a lid at 20, of which the derivative does not know."""
    return own("Lidded", lambda z: np.clip(z, 0, 20), lambda z: gate(z > 0, z))


@mistake("transfer", r"beyond|above|large|over", r"\b10\b", r"jump|discontinu")
def softplus_with_a_low_threshold():
    """Softplus that becomes z beyond 10, where it is still 5e-5 away, with a slope that does not change."""
    return own("Ramp", lambda z: np.where(z > 10, z, np.log1p(np.exp(np.minimum(z, 10)))), expit)


@mistake("transfer", r"range", r"1\.7")
def le_cun_tanh_in_a_small_range():
    """1.7159 tanh(2z/3) with the range of tanh."""
    return own("LeCun", lambda z: 1.7159 * np.tanh(2 / 3 * z), lambda z: 1.7159 * 2 / 3 / np.cosh(2 / 3 * np.clip(
        z, -300, 300)) ** 2, range=(-1.0, 1.0))


@mistake("transfer", r"range", r"wide")
def sigmoid_in_the_range_of_tanh():
    """A sigmoid that says (−1, 1)."""
    return own("Logistic", expit, lambda z: expit(z) * expit(-z), range=(-1.0, 1.0),
               integral=lambda z: np.logaddexp(z, z.dtype.type(0)))


@mistake("transfer", r"conjugate|F\*", r"half|factor|½|2")
def conjugate_without_its_half():
    """F* of a ReLU as a²."""
    return own("Rectifier", lambda z: np.maximum(z, 0), lambda z: gate(z > 0, z), range=(0.0, np.inf), closed=True,
               integral=lambda z: np.maximum(z, 0) ** 2 / 2, conjugate=lambda a: a * a, inverse=lambda a: a)


@mistake("transfer", r"inverse")
def softsign_that_inverts_itself():
    """The inverse a/(1 + |a|) of z/(1 + |z|)."""
    return own("Softsign", lambda z: z / (1 + abs(z)), lambda z: (1 + abs(z)) ** -2.0, range=(-1.0, 1.0),
               integral=lambda z: abs(z) - np.log1p(abs(z)), conjugate=lambda a: -abs(a) - np.log1p(-abs(a)),
               inverse=lambda a: a / (1 + abs(a)))


@mistake("transfer", r"inverse", r"clip", r"ends?|near", r"\b0\b.*\b1\b")
def logit_of_clipped_values():
    """The inverse of a sigmoid with its argument cut to [0.01, 0.99], as programs do."""
    def logit(a):
        a = np.clip(a, 0.01, 0.99)
        return np.log(a) - np.log1p(-a)
    return own("Logistic", expit, lambda z: expit(z) * expit(-z), range=(0.0, 1.0),
               integral=lambda z: np.logaddexp(z, z.dtype.type(0)), inverse=logit,
               conjugate=lambda a: scipy.special.xlogy(a, a) + scipy.special.xlogy(1 - a, 1 - a))


@mistake("transfer", r"in place|overwrit|writes|changes? (its|the) (argument|input)|modif")
def relu_in_place():
    """A ReLU that saves memory by writing into z."""
    return own("Rectifier", lambda z: np.maximum(z, 0, out=z), lambda z: gate(z > 0, z))


class TangentThatWrites(ml.Tanh):
    """Tanh whose adjoint multiplies into the signal."""

    def adjoint(self, z, a, aux, g):
        g *= 1 - a * a
        return g


@mistake("transfer", r"in place|overwrit|writes|changes? (its|the) (argument|input|signal)|modif")
def adjoint_in_place():
    """An adjoint that multiplies into the signal it was given."""
    return TangentThatWrites()


class Remembering(ml.Activation):
    """An activation that keeps its last output."""

    def forward(self, z):
        self.last = np.tanh(z)
        return self.last

    def derivative(self, z):
        return 1 - self.last**2


@mistake("transfer", r"remember|keeps?|cache|stale|last (call|forward|input)|state|function of its arguments")
def slope_of_the_last_forward():
    """The derivative at the last output, whatever z is asked for."""
    return Remembering()


class Dropping(ml.Transfer):
    """Dropout with a kept share of 0.8."""

    keep, rescale = 0.8, 1.0

    def apply(self, z, training=False, rng=None):
        if not training:
            return z, None
        mask = gate(rng.random(z.shape) < self.keep, z) * z.dtype.type(self.rescale)
        return z * mask, mask

    def adjoint(self, z, a, aux, g):
        return g if aux is None else g * aux


@mistake("transfer", r"average|mean|expect", r"rescal|scale|1/\(1|keep|factor")
def dropout_not_rescaled():
    """Dropout that does not make up for what it drops."""
    return Dropping()


class DroppingByMemory(Dropping):
    """Dropout that keeps its mask on itself."""

    rescale, mask = 1.25, 1.0

    def apply(self, z, training=False, rng=None):
        a, mask = super().apply(z, training, rng)
        self.mask = 1.0 if mask is None else mask
        return a, None

    def adjoint(self, z, a, aux, g):
        return g * self.mask


@mistake("transfer", r"remember|keeps?|cache|stale|last|state|aux|function of its arguments")
def dropout_mask_on_the_layer():
    """Dropout whose adjoint takes the mask of whatever pass was the last."""
    return DroppingByMemory()


class SoftmaxLayer(ml.Transfer):
    """A softmax as a hidden layer."""

    axis = -1

    def apply(self, z, training=False, rng=None):
        e = np.exp(z - z.max(axis=self.axis, keepdims=True))
        return e / e.sum(axis=self.axis, keepdims=True), None

    def adjoint(self, z, a, aux, g):
        return a * (g - (a * g).sum(axis=self.axis, keepdims=True))


class SoftmaxByItsDiagonal(SoftmaxLayer):
    """A softmax with a diagonal derivative."""

    def adjoint(self, z, a, aux, g):
        return g * a * (1 - a)


@mistake("transfer", r"diagonal|couples?|other (units|entries)|off.diagonal|adjoint|elementwise|term")
def softmax_by_its_diagonal():
    """The derivative p(1 − p) of a softmax, its couplings forgotten."""
    return SoftmaxByItsDiagonal()


class SoftmaxOverSamples(SoftmaxLayer):
    """A softmax over axis 0."""

    axis = 0


@mistake("transfer", r"other samples|batch|axis|sample")
def softmax_over_the_samples():
    """A softmax along the batch, with the adjoint that belongs to it."""
    return SoftmaxOverSamples()


class LayerNorm(ml.Transfer):
    """Normalisation over the units of a sample."""

    def apply(self, z, training=False, rng=None):
        centred = z - z.mean(axis=-1, keepdims=True)
        inverse = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + z.dtype.type(1e-5))
        return centred * inverse, inverse

    def adjoint(self, z, a, aux, g):
        return aux * (g - g.mean(axis=-1, keepdims=True) - a * (g * a).mean(axis=-1, keepdims=True))


class LayerNormOfFixedScale(LayerNorm):
    """The same with a scale that is taken as constant."""

    def adjoint(self, z, a, aux, g):
        return aux * (g - g.mean(axis=-1, keepdims=True))


@mistake("transfer", r"varian|deviation|scale|term|adjoint|missing|constant")
def layer_norm_with_a_constant_deviation():
    """Layer norm whose adjoint takes the deviation as a constant."""
    return LayerNormOfFixedScale()


class BatchCentred(ml.Transfer):
    """Centres each unit over the batch, in evaluation too."""

    def apply(self, z, training=False, rng=None):
        return z - z.mean(axis=0), None

    def adjoint(self, z, a, aux, g):
        return g - g.mean(axis=0)


@mistake("transfer", r"other samples|batch|evaluation|running")
def centred_over_the_batch_in_evaluation():
    """Units centred over the batch in evaluation as well, so that a sample's value depends on the others."""
    return BatchCentred()


class RowMaximum(ml.Transfer):
    """The largest unit of each sample stays, the others become 0; ties all stay."""

    def apply(self, z, training=False, rng=None):
        return z.max(axis=-1, keepdims=True), None

    def output_shape(self, input_shape):
        return (*input_shape[:-1], 1)

    def adjoint(self, z, a, aux, g):
        return g * (z == a)


@mistake("transfer", r"tie|equal|several|twice|each of")
def all_winners_take_all():
    """A maximum whose signal goes in full to each of several equal entries."""
    return RowMaximum()


@mistake("transfer", r"float64|dtype|promot|float32")
def constants_in_float64():
    """An array of constants in float64 that makes all values float64."""
    return own("Scaled", lambda z: np.tanh(z * np.full(z.shape[-1], 0.5)),
               lambda z: (0.5 * (1 - np.tanh(z / 2) ** 2)).astype(z.dtype))


@mistake("transfer", r"nan|NaN|not a number|0/0|at 0|kink")
def slope_of_a_size_at_zero():
    """|z| with the slope z/|z|, not a number at 0."""
    return own("Size", abs, lambda z: z / abs(z))


class Glu(ml.Transfer):
    """Gated linear units: the first half times the sigmoid of the second."""

    def output_shape(self, input_shape):
        if input_shape[-1] % 2:
            raise ValueError(f"Glu: an even number of units is needed, got {input_shape}")
        return (*input_shape[:-1], input_shape[-1] // 2)

    def apply(self, z, training=False, rng=None):
        u, v = np.split(z, 2, axis=-1)
        return u * expit(v), None

    def adjoint(self, z, a, aux, g):
        u, v = np.split(z, 2, axis=-1)
        s = expit(v)
        return np.concatenate([g * s, g * u * s * (1 - s)], axis=-1)


class GluOfSwappedHalves(Glu):
    """The same with an adjoint in the wrong order."""

    def adjoint(self, z, a, aux, g):
        first, second = np.split(super().adjoint(z, a, aux, g), 2, axis=-1)
        return np.concatenate([second, first], axis=-1)


@mistake("transfer", r"order|swap|halves|permut|place|adjoint")
def glu_with_swapped_signals():
    """Gated linear units whose two signals come back in the wrong order."""
    return GluOfSwappedHalves()


class GluWithoutShape(Glu):
    """The same without an output shape."""

    def output_shape(self, input_shape):
        return tuple(input_shape)


@mistake("transfer", r"shape")
def glu_that_hides_its_shape():
    """Gated linear units that say they have as many outputs as inputs."""
    return GluWithoutShape()


@mistake("transfer", r"monoton|increas|convex")
def integral_of_a_gelu():
    """GELU offered with an integral, though it is not monotone and its matching loss not convex."""
    def integral(z):
        phi, density = scipy.special.ndtr(z), np.exp(-z * z / 2) / (2 * np.pi) ** 0.5
        return ((z * z - 1) * phi + z * density) / 2
    return own("Gelu", lambda z: z * scipy.special.ndtr(z),
               lambda z: scipy.special.ndtr(z) + z * np.exp(-z * z / 2) / (2 * np.pi) ** 0.5, integral=integral)


class TangentOfWrongNewton(ml.Tanh):
    """Tanh with a Newton step of its own."""

    def solve_shifted(self, z, c, r):
        return r / (1 + self.derivative(z)) / c


@mistake("transfer", r"solve_shifted|Newton|c σ|\bc\b")
def newton_step_divided_by_c():
    """A solve_shifted that divides by c(1 + σ') instead of 1 + cσ'."""
    return TangentOfWrongNewton()


@mistake("transfer", r"piece|offset")
def pieces_with_an_offset_of_the_wrong_sign():
    """Two linear pieces of max(2z + 1, 0), the second with offset −1."""
    return own("Shifted", lambda z: np.maximum(2 * z + 1, 0), lambda z: 2 * gate(z > -0.5, z), range=(0.0, np.inf),
               closed=True, pieces=((-np.inf, -0.5, 0.0, 0.0), (-0.5, np.inf, 2.0, -1.0)))


@mistake("transfer", r"product rule", r"term", r"between|inside", r"factor")
def hard_swish_as_a_line():
    """The slope of z · relu6(z + 3)/6 as relu6(z + 3)/6 and 1, without the product rule."""
    return own("HardSwish", lambda z: z * np.clip(z + 3, 0, 6) / 6, lambda z: np.clip(z + 3, 0, 6) / 6)


@mistake("transfer", r"factor|30|scale|chain rule")
def sine_without_its_frequency():
    """sin(30 z) with the slope cos(30 z)."""
    return own("Siren", lambda z: np.sin(30 * z), lambda z: np.cos(30 * z))


@mistake("transfer", r"flat|zero|step|piecewise constant|straight|derivative.*0|jump")
def straight_through():
    """Rounding to whole numbers with the slope of the identity, a straight-through estimator."""
    return own("Rounded", np.round, np.ones_like)


class Maxout(ml.Transfer):
    """The larger of each two neighbouring units."""

    def output_shape(self, input_shape):
        if input_shape[-1] % 2:
            raise ValueError(f"Maxout: an even number of units is needed, got {input_shape}")
        return (*input_shape[:-1], input_shape[-1] // 2)

    def apply(self, z, training=False, rng=None):
        pairs = z.reshape(*z.shape[:-1], -1, 2)
        return pairs.max(axis=-1), pairs.argmax(axis=-1)

    def adjoint(self, z, a, aux, g):
        return np.stack([g * (aux == 0), g * (aux == 1)], axis=-1).reshape(z.shape)


class MaxoutOfHalves(Maxout):
    """The same with an adjoint for pairs that are half the width apart."""

    def adjoint(self, z, a, aux, g):
        return np.concatenate([g * (aux == 0), g * (aux == 1)], axis=-1)


@mistake("transfer", r"order|place|permut|pair|adjoint|wrong entr")
def maxout_in_two_layouts():
    """Maxout of neighbours, whose adjoint takes pairs to be half the width apart."""
    return MaxoutOfHalves()


class Slopes(ml.Transfer):
    """A ReLU with a learned slope on the left for each unit."""

    def __init__(self, units=4):
        self.units = units
        self.slopes = np.full(units, 0.25)

    @property
    def parameters(self):
        return [self.slopes]

    def on_backend(self, xp, dtype):
        new = copy.copy(self)
        new.slopes = xp.array(self.slopes, dtype=dtype)
        return new

    def output_shape(self, input_shape):
        if input_shape[-1] != self.units:
            raise ValueError(f"Slopes: expected {self.units} units, got {input_shape}")
        return tuple(input_shape)

    def apply(self, z, training=False, rng=None):
        return np.where(z > 0, z, self.slopes * z), (z, self.slopes.copy())

    def adjoint(self, z, a, aux, g):
        return np.where(z > 0, g, aux[1] * g)

    def gradients(self, aux, g):
        z = aux[0]
        return [np.where(z > 0, 0, z * g).reshape(-1, self.units).sum(axis=0).astype(g.dtype)]


class SlopesOfAMean(Slopes):
    """The same with a mean over samples."""

    def gradients(self, aux, g):
        return [gradient / len(g) for gradient in super().gradients(aux, g)]


@mistake("transfer", r"mean|sum|factor|1/N|batch|samples")
def slope_gradient_as_a_mean():
    """Learned slopes whose gradient is divided by the number of samples once more."""
    return SlopesOfAMean()


class GlobalAverage(ml.Transfer):
    """The mean of each channel over all pixels."""

    def output_shape(self, input_shape):
        if len(input_shape) != 3:
            raise ValueError(f"GlobalAverage: images of shape (H, W, C) are needed, got {input_shape}")
        return (input_shape[2],)

    def apply(self, z, training=False, rng=None):
        return z.mean(axis=(1, 2)), None

    def adjoint(self, z, a, aux, g):
        pixels = z.shape[1] * z.shape[2]
        return np.broadcast_to(g[:, None, None, :] / pixels, z.shape).copy()


class GlobalAverageOfASum(GlobalAverage):
    """The same with the adjoint of a sum."""

    def adjoint(self, z, a, aux, g):
        return np.broadcast_to(g[:, None, None, :], z.shape).copy()


@mistake("transfer", r"factor|pixels|mean|sum|divid|times too (large|long)|too large")
def global_average_with_the_adjoint_of_a_sum():
    """Global average pooling of images whose signal is not divided by the number of pixels."""
    return GlobalAverageOfASum()


class ChannelsFirst(ml.Transfer):
    """Flattens images with channels first."""

    def output_shape(self, input_shape):
        if len(input_shape) != 3:
            raise ValueError(f"ChannelsFirst: images of shape (H, W, C) are needed, got {input_shape}")
        return (int(np.prod(input_shape)),)

    def apply(self, z, training=False, rng=None):
        return z.transpose(0, 3, 1, 2).reshape(len(z), -1), None

    def adjoint(self, z, a, aux, g):
        return g.reshape(z.shape)


@mistake("transfer", r"order|permut|transpos|layout|adjoint")
def flattened_channels_first():
    """Images flattened with channels first, the signal put back with channels last."""
    return ChannelsFirst()


@right("transfer")
def hard_sigmoid():
    """A hard sigmoid with its pieces and its integral."""
    def integral(z):
        inside = np.clip(z, -3, 3)
        return (inside + 3) ** 2 / 12 + np.maximum(z - 3, 0)
    return own("HardSigmoid", lambda z: np.clip(z / 6 + 0.5, 0, 1), lambda z: gate(abs(z) < 3, z) / 6,
               range=(0.0, 1.0), closed=True, integral=integral,
               pieces=((-np.inf, -3.0, 0.0, 0.0), (-3.0, 3.0, 1 / 6, 0.5), (3.0, np.inf, 0.0, 1.0)))


@right("transfer")
def gelu_of_the_normal_distribution():
    """GELU by SciPy's normal distribution, not monotone and without an integral."""
    return own("Gelu", lambda z: z * scipy.special.ndtr(z),
               lambda z: scipy.special.ndtr(z) + z * np.exp(-z * z / 2) / (2 * np.pi) ** 0.5)


@right("transfer")
def softsign_complete():
    """Softsign with integral, conjugate and inverse."""
    return own("Softsign", lambda z: z / (1 + abs(z)), lambda z: (1 + abs(z)) ** -2.0, range=(-1.0, 1.0),
               integral=lambda z: abs(z) - np.log1p(abs(z)), conjugate=lambda a: -abs(a) - np.log1p(-abs(a)),
               inverse=lambda a: a / (1 - abs(a)))


@right("transfer")
def periodic():
    """A sine of high frequency."""
    return own("Siren", lambda z: np.sin(30 * z), lambda z: 30 * np.cos(30 * z))


@right("transfer")
def soft_shrinkage():
    """The soft threshold as an activation, flat around 0."""
    return own("Shrink", lambda z: np.sign(z) * np.maximum(abs(z) - 0.5, 0), lambda z: gate(abs(z) > 0.5, z),
               integral=lambda z: np.maximum(abs(z) - 0.5, 0) ** 2 / 2,
               pieces=((-np.inf, -0.5, 1.0, 0.5), (-0.5, 0.5, 0.0, 0.0), (0.5, np.inf, 1.0, -0.5)))


@right("transfer")
def size_by_its_sign():
    """|z| with the slope 0 at 0."""
    return own("Size", abs, np.sign)


@right("transfer")
def square_of_half_width():
    """z² for z > 0, 0 elsewhere, with its integral."""
    return own("SquaredRelu", lambda z: np.maximum(z, 0) ** 2, lambda z: 2 * np.maximum(z, 0), range=(0.0, np.inf),
               closed=True, integral=lambda z: np.maximum(z, 0) ** 3 / 3)


@right("transfer")
def spline_of_straight_pieces():
    """A function by interpolation in a table."""
    knots, heights = np.array([-2.0, -0.5, 0.3, 1.7]), np.array([-0.4, 0.1, 0.2, 1.9])
    slopes = np.r_[0, np.diff(heights) / np.diff(knots), 0]
    return own("Table", lambda z: np.interp(z, knots, heights).astype(z.dtype),
               lambda z: slopes[np.searchsorted(knots, z)].astype(z.dtype))


@right("transfer")
def maxout():
    """Maxout of neighbouring units."""
    return Maxout()


@right("transfer")
def gated_units():
    """Gated linear units."""
    return Glu()


@right("transfer")
def layer_norm():
    """Layer norm without parameters."""
    return LayerNorm()


@right("transfer")
def softmax_in_the_middle():
    """A softmax as a hidden layer."""
    return SoftmaxLayer()


@right("transfer")
def learned_slopes():
    """A ReLU with a learned slope for each unit."""
    return Slopes()


@right("transfer")
def global_average():
    """Global average pooling of images."""
    return GlobalAverage()


class Noisy(ml.Transfer):
    """Multiplies by 1 + noise in training."""

    def apply(self, z, training=False, rng=None):
        if not training or rng is None:
            return np.tanh(z), np.ones_like(z)
        factor = (1 + 0.3 * rng.standard_normal(z.shape)).astype(z.dtype)
        return np.tanh(z) * factor, factor

    def adjoint(self, z, a, aux, g):
        return g * aux * (1 - np.tanh(z) ** 2)


@right("transfer")
def gaussian_dropout():
    """Tanh times 1 + noise in training."""
    return Noisy()


class Sorted(ml.Transfer):
    """Sorts the units of each sample."""

    def apply(self, z, training=False, rng=None):
        order = z.argsort(axis=-1, kind="stable")
        return np.take_along_axis(z, order, axis=-1), order

    def adjoint(self, z, a, aux, g):
        back = np.empty_like(g)
        np.put_along_axis(back, aux, g, axis=-1)
        return back


@right("transfer")
def full_sort():
    """The units of a sample in rising order."""
    return Sorted()


class BothSigns(ml.Transfer):
    """[max(z, 0), max(−z, 0)], twice as many units."""

    def output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * input_shape[-1])

    def apply(self, z, training=False, rng=None):
        return np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], axis=-1), None

    def adjoint(self, z, a, aux, g):
        above, below = np.split(g, 2, axis=-1)
        return above * (z > 0) - below * (z < 0)


@right("transfer")
def concatenated_relu():
    """Both signs as units of their own."""
    return BothSigns()


class Sparsemax(ml.Transfer):
    """The projection of each sample onto the simplex."""

    def apply(self, z, training=False, rng=None):
        return simplex_rows(z), None

    def adjoint(self, z, a, aux, g):
        support = a > 0
        mean = (g * support).sum(axis=-1, keepdims=True) / support.sum(axis=-1, keepdims=True)
        return (support * (g - mean)).astype(g.dtype)


def simplex_rows(z):
    """Return the projection of each row onto the simplex."""
    u = -np.sort(-z, axis=-1)
    excess = (np.cumsum(u, axis=-1) - 1) / np.arange(1, z.shape[-1] + 1)
    count = (u > excess).sum(axis=-1, keepdims=True)
    return np.maximum(z - np.take_along_axis(excess, count - 1, axis=-1), 0).astype(z.dtype)


@right("transfer")
def sparsemax():
    """The projection onto the simplex as a hidden layer."""
    return Sparsemax()


@right("transfer")
def leaky_in_numpy_scalars():
    """A leaky ReLU whose slope is a NumPy number of float32."""
    slope = np.float32(0.125)
    return own("Leaky", lambda z: np.where(z > 0, z, slope * z).astype(z.dtype, copy=False),
               lambda z: np.where(z > 0, np.float32(1), slope).astype(z.dtype))


# ---- maps and joins


class Plain(ml.Map):
    """A fully connected map written by hand, with θ = [W; b]."""

    def __init__(self, n_in=3, n_out=2):
        self.n_in, self.n_out = n_in, n_out

    @property
    def theta_shape(self):
        return (self.n_in + 1, self.n_out)

    def initial_theta(self, rng):
        return rng.normal(0, self.n_in**-0.5, self.theta_shape)

    def output_shape(self, input_shape):
        if tuple(input_shape) != (self.n_in,):
            raise ValueError(f"{self!r} expects samples of shape ({self.n_in},), got {tuple(input_shape)}")
        return (self.n_out,)

    def forward(self, theta, a):
        return a @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T

    def adjoint_theta(self, a, g):
        return np.concatenate([a.T @ g, g.sum(axis=0, keepdims=True)])

    def rows(self, a):
        return a


def altered(name, base=Plain, *arguments, **methods):
    """Return a map of a class with some methods replaced."""
    return type(name, (base,), methods)(*arguments)


@mistake("map", r"bias")
def bias_taken_from_the_first_row():
    """A forward pass with the bias in the first row of θ, its adjoint with it in the last."""
    return altered("BiasFirst", forward=lambda self, theta, a: a @ theta[1:] + theta[0])


@mistake("map", r"bias", r"ones")
def bias_forgotten_forwards():
    """A forward pass without a bias, though θ has its row."""
    return altered("NoBias", forward=lambda self, theta, a: a @ theta[:-1])


@mistake("map", r"mean|1/N|batch|samples|factor")
def gradient_as_a_mean():
    """An adjoint in θ that averages over the batch."""
    return altered("Averaging", adjoint_theta=lambda self, a, g: Plain.adjoint_theta(self, a, g) / len(a))


@mistake("map", r"bias.*(mean|1/N|batch|rows|sum)|(mean|1/N).*bias", r"bias")
def bias_gradient_as_a_mean():
    """An adjoint in θ whose bias row is a mean over the batch."""
    return altered("BiasMean", adjoint_theta=lambda self, a, g: np.concatenate(
        [a.T @ g, g.mean(axis=0, keepdims=True)]))


@mistake("map", r"transpos|W\b.*instead|g W")
def weights_not_transposed():
    """A square map whose adjoint in a is g W instead of g Wᵀ."""
    return altered("Square", Plain, 3, 3, adjoint_input=lambda self, theta, g: g @ theta[:-1])


class Masked(Plain):
    """A map of which some weights are held at zero."""

    mask = np.array([[1, 0], [0, 1], [1, 1]])

    def forward(self, theta, a):
        return a @ (theta[:-1] * self.mask.astype(theta.dtype)) + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ (theta[:-1] * self.mask.astype(theta.dtype)).T


@mistake("map", r"mask|θ|adjoint|Gram|column|rows|weights|entr")
def masked_weights_with_a_full_gradient():
    """A sparse map whose gradient does not know of the mask."""
    return Masked()


class Scaled(Plain):
    """A map with W/√n_in, the neural tangent parametrisation."""

    def forward(self, theta, a):
        return a @ theta[:-1] / a.dtype.type(self.n_in**0.5) + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T / g.dtype.type(self.n_in**0.5)

    def adjoint_theta(self, a, g):
        return super().adjoint_theta(a / a.dtype.type(self.n_in**0.5), g)

    def rows(self, a):
        return a / a.dtype.type(self.n_in**0.5)


@mistake("map", r"rows|Gram|scale|factor")
def scaled_map_with_plain_rows():
    """A map with W/√n whose rows are not scaled."""
    return altered("ScaledByHalf", Scaled, rows=lambda self, a: a)


@mistake("map", r"linear|norm|scale")
def normalised_weights():
    """Weight normalisation: not linear in θ, so no map at all."""
    def forward(self, theta, a):
        return a @ (theta[:-1] / np.linalg.norm(theta[:-1], axis=0)) + theta[-1]
    return altered("Normalised", forward=forward)


@mistake("map", r"affine|linear in a|nonlinear|not linear|activation")
def activation_inside_the_map():
    """A map that takes max(a, 0) first, with rows that do so too."""
    def adjoint_theta(self, a, g):
        return Plain.adjoint_theta(self, np.maximum(a, 0), g)
    return altered("Rectified", forward=lambda self, theta, a: Plain.forward(self, theta, np.maximum(a, 0)),
                   adjoint_theta=adjoint_theta, rows=lambda self, a: np.maximum(a, 0))


@mistake("map", r"other samples|batch|samples")
def map_of_centred_inputs():
    """A map that subtracts the batch's mean from its input, with the adjoints that belong to it."""
    def centred(a):
        return a - a.mean(axis=0)
    return altered("Centred", forward=lambda self, theta, a: Plain.forward(self, theta, centred(a)),
                   adjoint_input=lambda self, theta, g: centred(Plain.adjoint_input(self, theta, g)),
                   adjoint_theta=lambda self, a, g: Plain.adjoint_theta(self, centred(a), g),
                   rows=lambda self, a: centred(a))


@mistake("map", r"float64|dtype|promot|float32")
def map_in_double():
    """A map that multiplies in float64 whatever it is given."""
    return altered("Double", forward=lambda self, theta, a: a.astype(np.float64) @ theta[:-1] + theta[-1])


@mistake("map", r"float32|single|precision|round")
def map_in_single():
    """A map that multiplies in float32 for speed and returns what it was given."""
    def forward(self, theta, a):
        return (a.astype(np.float32) @ theta[:-1].astype(np.float32)).astype(a.dtype) + theta[-1]
    return altered("Single", forward=forward)


@mistake("map", r"\b1 sample|one sample|N = 1|single sample|squeez|shape")
def one_sample_squeezed():
    """An adjoint in a that squeezes its result, so that one sample loses its axis."""
    return altered("Squeezed", adjoint_input=lambda self, theta, g: np.squeeze(g @ theta[:-1].T))


@mistake("map", r"\b1 sample|one sample|N = 1|single sample")
def one_sample_taken_for_a_vector():
    """An adjoint in θ that takes a mean over units for the bias, but only where there is one sample."""
    def adjoint_theta(self, a, g):
        d = Plain.adjoint_theta(self, a, g)
        if len(a) == 1:
            d[-1] = g[0].mean()
        return d
    return altered("OneSample", adjoint_theta=adjoint_theta)


@mistake("map", r"\b64\b|beyond|large batch|many samples|block|remainder|last rows|size")
def remainder_of_blocks_forgotten():
    """A product in blocks of 64 rows, of which an incomplete block is dropped, but for the first."""
    def adjoint_theta(self, a, g):
        whole = max(len(a) // 64, 1) * 64
        return sum(Plain.adjoint_theta(self, a[s:s + 64], g[s:s + 64]) for s in range(0, whole, 64))
    return altered("Blocked", adjoint_theta=adjoint_theta)


class Buffered(Plain):
    """A map that writes signals into one buffer."""

    buffer = None

    def adjoint_input(self, theta, g):
        if self.buffer is None or self.buffer.shape != (len(g), self.n_in) or self.buffer.dtype != g.dtype:
            self.buffer = np.empty((len(g), self.n_in), g.dtype)
        return np.matmul(g, theta[:-1].T, out=self.buffer)


@mistake("map", r"buffer|new array|overwrit|same array|shares? memory|reus|function of its arguments")
def signals_in_one_buffer():
    """An adjoint that returns the same buffer each time, overwritten by the next call."""
    return Buffered()


class CachedRows(Plain):
    """A map that keeps its rows by the shape of the input."""

    kept: dict = {}

    def rows(self, a):
        return self.kept.setdefault((a.shape, a.dtype), a)


@mistake("map", r"cache|stale|kept|keeps|remember|another input|earlier|first|function of its arguments|Gram")
def rows_kept_by_shape():
    """Rows that are kept by shape, so that a second batch gets the first one's Gram matrix."""
    return CachedRows()


@mistake("map", r"generator|rng|random|seed")
def parameters_of_the_global_generator():
    """Initial parameters from NumPy's global generator instead of the one given."""
    return altered("Global", initial_theta=lambda self, rng: np.random.standard_normal(self.theta_shape))


@mistake("map", r"bias")
def gram_with_the_ones_always():
    """A Gram operator that has the column of ones though it was asked without."""
    def gram(self, a, side=None, bias=True):
        return ml.Map.gram(self, a, side, True)
    return altered("AlwaysOnes", gram=gram)


class Temporal(ml.Map):
    """A convolution over time, without padding: samples (T, c_in) to (T − k + 1, c_out)."""

    c_in, c_out, kernel, dilation = 2, 3, 3, 1

    @property
    def n_in(self):
        return self.kernel * self.c_in

    @property
    def theta_shape(self):
        return (self.n_in + 1, self.c_out)

    @property
    def reach(self):
        return (self.kernel - 1) * self.dilation

    def initial_theta(self, rng):
        return rng.normal(0, 0.3, self.theta_shape)

    def output_shape(self, input_shape):
        if len(input_shape) != 2 or input_shape[1] != self.c_in or input_shape[0] <= self.reach:
            raise ValueError(f"{self!r} expects samples of shape (T, {self.c_in}), T > {self.reach}, got {input_shape}")
        return (input_shape[0] - self.reach, self.c_out)

    def windows(self, a):
        steps = a.shape[1] - self.reach
        return np.concatenate([a[:, i * self.dilation:i * self.dilation + steps] for i in range(self.kernel)], axis=2)

    def rows(self, a):
        return self.windows(a).reshape(-1, self.n_in)

    def columns(self, z):
        return z.reshape(-1, self.c_out)

    def forward(self, theta, a):
        return self.windows(a) @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        signal = np.zeros((len(g), g.shape[1] + self.reach, self.c_in), g.dtype)
        for i in range(self.kernel):
            W = theta[i * self.c_in:(i + 1) * self.c_in]
            signal[:, i * self.dilation:i * self.dilation + g.shape[1]] += g @ W.T
        return signal

    def adjoint_theta(self, a, g):
        g = self.columns(g)
        return np.concatenate([self.rows(a).T @ g, g.sum(axis=0, keepdims=True)])


class TemporalAssigned(Temporal):
    """The same with an adjoint that assigns where windows overlap."""

    def adjoint_input(self, theta, g):
        signal = np.zeros((len(g), g.shape[1] + self.reach, self.c_in), g.dtype)
        for i in range(self.kernel):
            signal[:, i:i + g.shape[1]] = g @ theta[i * self.c_in:(i + 1) * self.c_in].T
        return signal


@mistake("map", r"overlap|add|sum|adjoint in a|windows")
def overlapping_windows_assigned():
    """A convolution over time whose adjoint overwrites where windows overlap."""
    return TemporalAssigned()


class TemporalFlipped(Temporal):
    """The same with an adjoint that runs through the filter backwards."""

    def adjoint_input(self, theta, g):
        turned = theta[:-1].reshape(self.kernel, self.c_in, -1)[::-1].reshape(self.n_in, -1)
        return super().adjoint_input(np.concatenate([turned, theta[-1:]]), g)


@mistake("map", r"flip|turn|order|revers|mirror|adjoint in a")
def filter_backwards_in_time():
    """A convolution over time whose adjoint has the filter reversed."""
    return TemporalFlipped()


class TemporalOfScrambledColumns(Temporal):
    """The same with columns that are read in the wrong order."""

    def columns(self, z):
        return z.transpose(1, 0, 2).reshape(-1, self.c_out)

    def adjoint_theta(self, a, g):
        g = g.reshape(-1, self.c_out)
        return np.concatenate([self.rows(a).T @ g, g.sum(axis=0, keepdims=True)])


@mistake("map", r"columns|order|rows")
def columns_time_first():
    """A convolution over time whose columns go through time first, its rows through samples first."""
    return TemporalOfScrambledColumns()


class Flipping(ml.Conv2d):
    """A convolution with turned filters, in the forward pass only."""

    def forward(self, theta, a):
        k = self.kernel
        turned = theta[:-1].reshape(k, k, self.c_in, -1)[::-1, ::-1].reshape(self.n_in, -1)
        return super().forward(np.concatenate([turned, theta[-1:]]), a)


@mistake("map", r"flip|turn|180|correlation|mirror|revers")
def true_convolution_forwards():
    """A convolution in the sense of mathematics forwards, a cross-correlation backwards."""
    return Flipping(2, 3, kernel=3)


class NotFlipping(ml.Conv2d):
    """An adjoint in a without turning the filters."""

    def adjoint_input(self, theta, g):
        k = self.kernel
        turned = theta[:-1].reshape(k, k, self.c_in, -1)[::-1, ::-1].reshape(self.n_in, -1)
        return super().adjoint_input(np.concatenate([turned, theta[-1:]]), g)


@mistake("map", r"flip|turn|180|mirror|revers|adjoint in a")
def transposed_convolution_with_unturned_filters():
    """A convolution whose adjoint in a has the filters unturned."""
    return NotFlipping(2, 3, kernel=3)


class EdgePadded(ml.Conv2d):
    """A convolution that repeats the edge instead of zeros."""

    def forward(self, theta, a):
        p = self.pad
        wide = ml.Conv2d(self.c_in, self.c_out, self.kernel, padding="valid")
        return wide.forward(theta, np.pad(a, ((0, 0), (p, p), (p, p), (0, 0)), mode="edge"))


@mistake("map", r"pad|edge|border|margin")
def edges_repeated_forwards():
    """A forward pass with repeated edges, adjoints for zeros."""
    return EdgePadded(1, 2, kernel=3)


class ChannelsBeforePlaces(ml.Conv2d):
    """Rows in the order (channel, row, column) beside a θ in the order (row, column, channel)."""

    def rows(self, a):
        return super().rows(a).reshape(-1, self.kernel**2, self.c_in).transpose(0, 2, 1).reshape(-1, self.n_in)

    def gram(self, a, side=None, bias=True):
        return ml.Map.gram(self, a, side, bias)


@mistake("map", r"order|rows|permut|channel|Gram")
def patches_channel_first():
    """Patches with the channel first, beside filters with the channel last."""
    return ChannelsBeforePlaces(2, 3, kernel=3)


class StridedToTheSmallest(ml.Conv2d):
    """A strided convolution whose adjoint leaves out the pixels that no window reaches."""

    def adjoint_input(self, theta, g):
        bare = ml.Conv2d(self.c_in, self.c_out, self.kernel, self.stride, self.padding)
        return bare.adjoint_input(theta, g)


@mistake("map", r"size|shape|pixels|left over|leftover|reach|stride|image")
def leftover_pixels_lost():
    """A strided convolution, for images whose last row and column no window reaches, with a smaller adjoint."""
    return StridedToTheSmallest(1, 2, kernel=3, stride=2, padding="valid", image_size=(6, 8))


class JoinOf(ml.Join):
    """A join of the value before it and of the one named x, of one shape."""

    sources = ("x",)

    def output_shape(self, *input_shapes):
        if len(set(input_shapes)) > 1:
            raise ValueError(f"{self!r} expects samples of one shape, got {input_shapes}")
        return input_shapes[0]


def join(name, forward, adjoints, **more):
    """Return a join made of functions."""
    body = {"forward": lambda self, theta, *values: forward(*values),
            "adjoint_inputs": lambda self, theta, g, values: adjoints(g, *values)}
    return type(name, (JoinOf,), body | more)()


@mistake("join", r"factor|half|mean|½|2")
def mean_with_the_adjoint_of_a_sum():
    """The mean of two values, whose adjoint is g for each."""
    return join("Mean", lambda u, v: (u + v) / 2, lambda g, u, v: [g, g])


@mistake("join", r"sign")
def difference_with_the_adjoint_of_a_sum():
    """A difference, whose adjoint is g for each."""
    return join("Difference", lambda u, v: u - v, lambda g, u, v: [g, g])


@mistake("join", r"linear|product|bilinear")
def product_of_values():
    """A product, a gate: linear in each value, not in both."""
    return join("Product", lambda u, v: u * v, lambda g, u, v: [g * v, g * u])


@mistake("join", r"linear")
def larger_of_values():
    """The larger of two values."""
    return join("Larger", np.maximum, lambda g, u, v: [g * (u >= v), g * (u < v)])


@mistake("join", r"constant|linear|affine|zero")
def sum_with_a_constant():
    """A sum of values and 1: affine, not linear."""
    return join("Plus", lambda u, v: u + v + 1, lambda g, u, v: [g, g])


@mistake("join", r"in place|overwrit|writes|changes? (its|the) (argument|input|value)|modif")
def sum_in_place():
    """A sum that is added into its first value."""
    return join("InPlace", lambda u, v: np.add(u, v, out=u), lambda g, u, v: [g, g])


@mistake("join", r"order|swap|other|which|place|inputs")
def weights_swapped():
    """u/4 + 3v/4, with its two signals swapped."""
    return join("Blend", lambda u, v: u / 4 + 3 * v / 4, lambda g, u, v: [3 * g / 4, g / 4])


@mistake("join", r"order|revers|place|time|position|adjoint")
def reversed_in_one_direction():
    """A sum with the named value's units in reverse order, whose signal is not put back."""
    return join("Reversed", lambda u, v: u + v[..., ::-1], lambda g, u, v: [g, g])


@mistake("join", r"other samples|batch|sample|roll|shift|earlier")
def neighbour_sample_added():
    """A sum with the next sample's value, a roll along the wrong axis, with its adjoint."""
    return join("Rolled", lambda u, v: u + np.roll(v, 1, axis=0), lambda g, u, v: [g, np.roll(g, -1, axis=0)])


@right("map")
def plain_map():
    """A fully connected map written by hand."""
    return Plain()


@right("map")
def scaled_map():
    """A map with W/√n_in throughout."""
    return Scaled()


@right("map")
def map_by_einsum():
    """A fully connected map by einsum, with one input unit and one output unit."""
    return altered("Einsum", Plain, 1, 1,
                   forward=lambda self, theta, a: np.einsum("ni,io->no", a, theta[:-1]) + theta[-1],
                   adjoint_input=lambda self, theta, g: np.einsum("no,io->ni", g, theta[:-1]))


class Projected(Plain):
    """A map of five fixed combinations of three inputs."""

    mixing = np.random.default_rng(5).normal(size=(3, 5))

    def __init__(self):
        super().__init__(5, 2)

    def output_shape(self, input_shape):
        if tuple(input_shape) != (3,):
            raise ValueError(f"{self!r} expects samples of shape (3,), got {tuple(input_shape)}")
        return (2,)

    def rows(self, a):
        return a @ self.mixing.astype(a.dtype)

    def forward(self, theta, a):
        return super().forward(theta, self.rows(a))

    def adjoint_input(self, theta, g):
        return super().adjoint_input(theta, g) @ self.mixing.T.astype(g.dtype)

    def adjoint_theta(self, a, g):
        return super().adjoint_theta(self.rows(a), g)


@right("map")
def fixed_projection_first():
    """A map whose rows are fixed combinations of its inputs, more than there are inputs."""
    return Projected()


@right("map")
def convolution_over_time():
    """A convolution over time."""
    return Temporal()


@right("map")
def dilated_convolution_over_time():
    """A dilated convolution over time."""
    return type("Dilated", (Temporal,), {"dilation": 2})()


class ByScipy(ml.Conv2d):
    """A convolution of which SciPy makes the forward pass."""

    def forward(self, theta, a):
        k = self.kernel
        W = theta[:-1].reshape(k, k, self.c_in, self.c_out)
        z = np.stack([sum(scipy.signal.correlate(a[..., c], W[None, :, :, c, o], mode="same", method="direct")
                          for c in range(self.c_in)) for o in range(self.c_out)], axis=-1)
        return (z + theta[-1]).astype(a.dtype)


@right("map")
def convolution_by_scipy():
    """A convolution by SciPy's correlate."""
    return ByScipy(2, 2, kernel=3)


class Circular(ml.Map):
    """A convolution of images with circular padding."""

    takes_images, c_in, c_out = True, 1, 2
    n_in, theta_shape = 9, (10, 2)
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]

    def initial_theta(self, rng):
        return rng.normal(0, 0.3, self.theta_shape)

    def output_shape(self, input_shape):
        if len(input_shape) != 3 or input_shape[2] != 1:
            raise ValueError(f"{self!r} expects images of shape (H, W, 1), got {tuple(input_shape)}")
        return (*input_shape[:2], 2)

    def rows(self, a):
        return np.stack([np.roll(a[..., 0], s, axis=(1, 2)) for s in self.shifts], axis=-1).reshape(-1, 9)

    def columns(self, z):
        return z.reshape(-1, 2)

    def forward(self, theta, a):
        return (self.rows(a) @ theta[:-1] + theta[-1]).reshape(*a.shape[:3], 2)

    def adjoint_input(self, theta, g):
        back = g @ theta[:-1].T
        return sum(np.roll(back[..., k], (-i, -j), axis=(1, 2)) for k, (i, j) in enumerate(self.shifts))[..., None]

    def adjoint_theta(self, a, g):
        g = self.columns(g)
        return np.concatenate([self.rows(a).T @ g, g.sum(axis=0, keepdims=True)])


@right("map")
def circular_convolution():
    """A convolution of images with circular padding."""
    return Circular()


@right("join")
def mean_of_values():
    """The mean of two values."""
    return join("Mean", lambda u, v: (u + v) / 2, lambda g, u, v: [g / 2, g / 2])


@right("join")
def difference_of_values():
    """A difference of values."""
    return join("Difference", lambda u, v: u - v, lambda g, u, v: [g, -g])


@right("join")
def reversed_and_added():
    """A sum with the named value's units in reverse order."""
    return join("Reversed", lambda u, v: u + v[..., ::-1], lambda g, u, v: [g, g[..., ::-1]])


class Interleaved(ml.Join):
    """The units of two values in turn."""

    sources = ("x",)

    def output_shape(self, *input_shapes):
        if len(set(input_shapes)) > 1:
            raise ValueError(f"{self!r} expects samples of one shape, got {input_shapes}")
        return (*input_shapes[0][:-1], 2 * input_shapes[0][-1])

    def forward(self, theta, *values):
        return np.stack(values, axis=-1).reshape(*values[0].shape[:-1], -1)

    def adjoint_inputs(self, theta, g, values):
        return [g[..., k::2] for k in range(2)]


@right("join")
def interleaved_values():
    """The units of two values in turn."""
    return Interleaved()


# ---- losses


class Matching(ml.Loss):
    """The matching loss of a transfer, F(z) − yz summed over outputs, and a constant."""

    def value_per_sample(self, z, y):
        return (self.transfer.integral(z) - y * z).sum(axis=-1)


def loss(name, base=ml.SquaredError, *arguments, **methods):
    """Return a loss of a class with some methods replaced."""
    return type(name, (base,), methods)(*arguments)


@mistake("loss", r"half|factor|½|2")
def squares_without_a_half():
    """‖z − y‖² with the gradient z − y."""
    return loss("Squares", value_per_sample=lambda self, z, y: ((z - y) ** 2).sum(axis=-1))


@mistake("loss", r"outputs|mean|factor|units|1/n|n\b")
def mean_over_outputs():
    """A mean over outputs in the value, a sum in the gradient."""
    return loss("MeanSquares", value_per_sample=lambda self, z, y: ((z - y) ** 2).mean(axis=-1) / 2)


@mistake("loss", r"N\b|batch|samples|weight|mean|reduc")
def gradient_of_the_sum():
    """The gradient of the summed loss under a mean."""
    return loss("SumGradient", gradient=lambda self, z, y: z - y)


@mistake("loss", r"N\b|batch|samples|weight|mean|twice|reduc|factor")
def divided_by_the_batch_twice():
    """A gradient that is divided by N twice."""
    return loss("TwiceMean", gradient=lambda self, z, y: (z - y) / len(z) ** 2)


@mistake("loss", r"reduc|sum|mean|batch")
def deaf_to_its_reduction():
    """A loss with reduction "sum" that is a mean all the same."""
    return loss("Deaf", ml.SquaredError, "sum", weight=lambda self, samples: 1 / samples)


@mistake("loss", r"weight|N\b|batch|1/N|mean|tau|τ")
def prox_without_the_weight():
    """A prox that takes τ for a sample's step, though the loss is a mean."""
    return loss("ProxOfSum", prox=lambda self, v, y, tau: (v + tau * y) / (1 + tau))


@mistake("loss", r"sign|prox")
def prox_away_from_the_target():
    """A prox with the target's sign turned."""
    return loss("Repelled", shifted_inverse=lambda self, v, y, c: (v - c * y) / (1 + c))


@mistake("loss", r"prox", r"tau|τ|1 \+|denominator")
def prox_by_an_explicit_step():
    """A gradient step v − c(v − y) in the place of the prox."""
    return loss("Explicit", shifted_inverse=lambda self, v, y, c: v - c * (v - y))


@mistake("loss", r"in place|overwrit|writes|changes? (its|the) (argument|input)|modif")
def outputs_overwritten():
    """A gradient that subtracts the targets from z itself."""
    def gradient(self, z, y):
        z -= y
        return z * self.weight(len(z))
    return loss("Overwriting", gradient=gradient)


@mistake("loss", r"predict|argmin|smallest|label")
def least_likely_label():
    """A prediction by argmin."""
    return loss("Least", ml.SoftmaxCrossEntropy, predict=lambda self, z: z.argmin(axis=-1))


@mistake("loss", r"smooth|target|gradient|0\.1|factor")
def smoothed_value_hard_gradient():
    """Label smoothing in the value alone."""
    def value_per_sample(self, z, y):
        t = 0.9 * self.targets(z, y) + 0.1 / z.shape[1]
        return self.transfer.integral(z) - (t * z).sum(axis=-1)
    return loss("Smoothed", ml.SoftmaxCrossEntropy, value_per_sample=value_per_sample)


@mistake("loss", r"overflow|large|inf|nan")
def softmax_written_out():
    """The value log Σ exp z without subtracting the largest."""
    def value_per_sample(self, z, y):
        return np.log(np.exp(z).sum(axis=-1)) - z[np.arange(len(z)), y]
    return loss("Overflowing", ml.SoftmaxCrossEntropy, value_per_sample=value_per_sample)


@mistake("loss", r"large|eps|1e-0?3|saturat|clip|bounded|small prob|constant")
def probabilities_kept_from_zero():
    """−log(p + 1e−3), with the gradient of −log p."""
    def value_per_sample(self, z, y):
        return -np.log(self.transfer.forward(z)[np.arange(len(z)), y] + 1e-3)
    return loss("Cautious", ml.SoftmaxCrossEntropy, value_per_sample=value_per_sample)


@mistake("loss", r"factor|derivative|term|product|gradient|convex")
def focal_with_a_constant_factor():
    """A focal loss (1 − p)² · CE whose gradient takes the factor as a constant."""
    def factor(self, z, y):
        return (1 - self.transfer.forward(z)[np.arange(len(z)), y]) ** 2

    def value_per_sample(self, z, y):
        return self.factor(z, y) * ml.SoftmaxCrossEntropy.value_per_sample(self, z, y)

    def gradient(self, z, y):
        return self.factor(z, y)[:, None] * ml.SoftmaxCrossEntropy.gradient(self, z, y)
    return loss("Focal", ml.SoftmaxCrossEntropy, factor=factor, value_per_sample=value_per_sample, gradient=gradient)


@mistake("loss", r"class|weight|label|factor")
def class_weights_in_the_value_alone():
    """Weights of classes in the value, not in the gradient."""
    def value_per_sample(self, z, y):
        return (1.0 + y % 2) * ml.SoftmaxCrossEntropy.value_per_sample(self, z, y)
    return loss("Weighted", ml.SoftmaxCrossEntropy, value_per_sample=value_per_sample)


@mistake("loss", r"float64|dtype|promot|float32")
def gradient_in_double():
    """A gradient in float64 for outputs in float32."""
    def gradient(self, z, y):
        return ml.SquaredError.gradient(self, z, y).astype(np.float64)
    return loss("Double", gradient=gradient)


@mistake("loss", r"labels?|target|in place|overwrit|changes?|writes|modif")
def labels_shifted_in_place():
    """A loss that makes one-hot rows and rounds its targets in place."""
    def value_per_sample(self, z, y):
        y *= 0.5
        return ((z - 2 * y) ** 2).sum(axis=-1) / 2
    return loss("Shifting", value_per_sample=value_per_sample)


@mistake("loss", r"matching|transfer|tanh|range|gradient")
def squares_with_a_tanh_inside():
    """½‖tanh z − y‖² called the matching loss of tanh: its gradient lacks 1 − tanh²."""
    def value_per_sample(self, z, y):
        return ((np.tanh(z) - y) ** 2).sum(axis=-1) / 2
    return loss("Inside", Matching, transfer=ml.Tanh(), value_per_sample=value_per_sample)


class Huber(ml.Loss):
    """Huber's loss with δ = 0.5."""

    delta = 0.5

    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r <= self.delta, r * r / 2, self.delta * (r - self.delta / 2)).sum(axis=-1)

    def gradient(self, z, y):
        return np.clip(z - y, -self.delta, self.delta) * z.dtype.type(self.weight(len(z)))

    def prox(self, v, y, tau):
        c = tau * self.weight(len(v))
        r = v - y
        return y + np.where(abs(r) <= self.delta * (1 + c), r / (1 + c), r - c * self.delta * np.sign(r))

    def proba(self, z):
        return z

    def predict(self, z):
        return z


@mistake("loss", r"prox", r"threshold|1 \+|kink")
def huber_prox_with_its_own_threshold():
    """Huber's prox that changes over at δ instead of δ(1 + c)."""
    def prox(self, v, y, tau):
        c = tau * self.weight(len(v))
        r = v - y
        return y + np.where(abs(r) <= self.delta, r / (1 + c), r - c * self.delta * np.sign(r))
    return loss("HuberNear", Huber, prox=prox)


@mistake("loss", r"large|beyond|δ|clip|constant|where|gradient")
def huber_without_its_corner():
    """Huber's value with the slope 1 beyond δ."""
    def gradient(self, z, y):
        r = z - y
        return np.where(abs(r) <= 0.5, r, np.sign(r)) * z.dtype.type(self.weight(len(z)))
    return loss("HuberSign", Huber, gradient=gradient)


class Pinball(ml.Loss):
    """The loss of the 0.8 quantile."""

    def value_per_sample(self, z, y):
        r = y - z
        return np.maximum(0.8 * r, -0.2 * r).sum(axis=-1)

    def gradient(self, z, y):
        return np.where(z < y, -0.8, 0.2).astype(z.dtype) * z.dtype.type(self.weight(len(z)))

    def prox(self, v, y, tau):
        c = tau * self.weight(len(v))
        return np.where(v < y - 0.8 * c, v + 0.8 * c, np.where(v > y + 0.2 * c, v - 0.2 * c, y))

    def proba(self, z):
        return z

    def predict(self, z):
        return z


@mistake("loss", r"swap|side|sign|factor|quantile|gradient")
def quantile_of_the_other_side():
    """The pinball loss of 0.8 with the slopes of 0.2."""
    def gradient(self, z, y):
        return np.where(z < y, -0.2, 0.8).astype(z.dtype) * z.dtype.type(self.weight(len(z)))
    return loss("Pinball02", Pinball, gradient=gradient)


@right("loss")
def huber():
    """Huber's loss, with its prox, and no transfer."""
    return Huber()


@right("loss")
def pinball():
    """The loss of a quantile, not smooth, with its prox, and no transfer."""
    return Pinball()


@right("loss")
def matching_loss_of_softplus():
    """The matching loss of softplus."""
    return loss("SoftplusLoss", Matching, transfer=ml.Softplus())


@right("loss")
def matching_loss_of_a_leaky_relu():
    """The matching loss of a leaky ReLU, summed."""
    return loss("LeakyLoss", Matching, "sum", transfer=ml.LeakyReLU(0.2))


@right("loss")
def smoothed_labels():
    """Label smoothing in value and gradient."""
    def targets(self, z, y):
        return 0.9 * ml.SoftmaxCrossEntropy.targets(self, z, y) + z.dtype.type(0.1 / z.shape[1])

    def value_per_sample(self, z, y):
        return self.transfer.integral(z) - (self.targets(z, y) * z).sum(axis=-1)

    def gradient(self, z, y):
        return (self.transfer.forward(z) - self.targets(z, y)) * z.dtype.type(self.weight(len(z)))
    return loss("Smoothed", ml.SoftmaxCrossEntropy, targets=targets, value_per_sample=value_per_sample,
                gradient=gradient)


@right("loss")
def cross_entropy_in_bits_of_a_view():
    """Squared error through einsum, a gradient in Fortran order."""
    def gradient(self, z, y):
        return np.asfortranarray(ml.SquaredError.gradient(self, z, y))
    return loss("Fortran", gradient=gradient,
                value_per_sample=lambda self, z, y: np.einsum("ij,ij->i", z - y, z - y) / 2)


# ---- methods: functions of a block against `like`


def tilde(block):
    """Return ã of a block, a matrix."""
    rows = block.phi.rows(block.a)
    return np.concatenate([rows, np.ones((len(rows), 1), rows.dtype)], axis=1)


def signals(block):
    """Return g of a block as a matrix."""
    return block.phi.columns(block.g)


def gradient(block):
    """Return ãᵀg."""
    return block.phi.adjoint_theta(block.a, block.g)


def ridge(block, damping, A=None, g=None, scale=1.0):
    """Return (scale ÃᵀÃ + βI)⁻¹ Ãᵀg."""
    A, g = tilde(block) if A is None else A, signals(block) if g is None else g
    M = scale * (A.T @ A) + damping * np.eye(A.shape[1])
    return np.linalg.solve(M, A.T @ g).astype(block.theta.dtype)


IMPLICIT = ml.ProxProp(tau_theta=0.5, last="implicit")


@mistake("method", r"\b1/N\b|mean|batch|N\b|samples|average")
def proxprop_of_a_mean_gram():
    """ProxProp with ÃᵀÃ/N."""
    return (lambda block: ridge(block, 2.0, scale=1 / len(block.a))), {"like": IMPLICIT}


@mistake("method", r"τ|tau|damping|1/τ|revers|invers")
def proxprop_damped_by_tau():
    """ProxProp with τ for its damping instead of 1/τ."""
    return (lambda block: ridge(block, 0.5)), {"like": IMPLICIT}


@mistake("method", r"bias")
def proxprop_with_a_free_bias():
    """ProxProp that does not damp the bias, as in ridge regression."""
    def propose(block):
        A = tilde(block)
        damping = np.diag(np.r_[np.full(A.shape[1] - 1, 2.0), 1e-12])
        return np.linalg.solve(A.T @ A + damping, A.T @ signals(block)).astype(block.theta.dtype)
    return propose, {"like": IMPLICIT}


@mistake("method", r"bias")
def proxprop_with_an_explicit_bias():
    """ProxProp in W alone, and the gradient in b."""
    def propose(block):
        A = tilde(block)[:, :-1]
        W = np.linalg.solve(A.T @ A + 2 * np.eye(A.shape[1]), A.T @ signals(block))
        return np.concatenate([W, signals(block).sum(axis=0, keepdims=True)]).astype(block.theta.dtype)
    return propose, {"like": IMPLICIT}


@mistake("method", r"mask|σ'|g_a|derivative|∂J/∂a|unmasked|signal")
def proxprop_of_the_unmasked_signal():
    """ProxProp with ∂J/∂a_l in the place of ∂J/∂z_l on hidden maps."""
    def propose(block):
        g = signals(block) if block.g_a is None else block.phi.columns(block.g_a)
        return ridge(block, 2.0, g=g)
    return propose, {"like": IMPLICIT}


@mistake("method", r"bias|ones|11ᵀ|constant")
def proxprop_of_samples_without_ones():
    """ProxProp in sample space with K = AAᵀ, without 11ᵀ."""
    def propose(block):
        A, g = tilde(block), signals(block)
        K = A[:, :-1] @ A[:, :-1].T
        return (A.T @ np.linalg.solve(K + 2 * np.eye(len(K)), g)).astype(block.theta.dtype)
    return propose, {"like": IMPLICIT}


@mistake("method", r"side|sample|rows|smaller|N (<|≤|>)|fewer|where|wide|some problems|only")
def proxprop_wrong_on_the_sample_side():
    """ProxProp that is damped by τ where there are fewer samples than parameters, rightly elsewhere."""
    def propose(block):
        A, g = tilde(block), signals(block)
        if len(A) >= A.shape[1]:
            return ridge(block, 2.0)
        return (A.T @ np.linalg.solve(A @ A.T + 0.5 * np.eye(len(A)), g)).astype(block.theta.dtype)
    return propose, {"like": IMPLICIT}


@mistake("method", r"last")
def proxprop_implicit_everywhere():
    """ProxProp with an implicit last map, where the reference takes the gradient there."""
    return (lambda block: ridge(block, 2.0)), {"like": ml.ProxProp(tau_theta=0.5)}


@mistake("method", r"sum|weight|N\b|mean|batch|factor")
def proxprop_of_the_summed_loss():
    """ProxProp for the summed loss, under a mean."""
    return (lambda block: ridge(block, 2.0) / block.weight), {"like": IMPLICIT}


@mistake("method", r"in place|overwrit|writes|changes?|block\.g|modif")
def signal_scaled_in_place():
    """ProxProp that scales the signal in place and back only in its result."""
    def propose(block):
        g = block.g
        g /= block.weight
        return ridge(block, 2.0) * block.weight
    return propose, {"like": IMPLICIT}


@mistake("method", r"θ|theta|in place|left alone|changes?|parameters|overwrit")
def parameters_stepped_in_place():
    """BackProp that takes a small step itself."""
    def propose(block):
        d = gradient(block)
        block.theta[...] -= 1e-3 * d
        return d
    return propose, {"like": ml.BackProp()}


class Factorised(ml.Method):
    """ProxProp that keeps the factorisation of each map's normal equations."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.kept = {}

    def propose(self, block):
        A = tilde(block)
        if (block.k, A.shape) not in self.kept:
            self.kept[block.k, A.shape] = scipy.linalg.cho_factor(A.T @ A + 2 * np.eye(A.shape[1]))
        return scipy.linalg.cho_solve(self.kept[block.k, A.shape], gradient(block)).astype(block.theta.dtype)


@mistake("method", r"kept|keeps|cache|stale|remember|batch before|earlier|first batch|second|memory|reset")
def factorisation_kept_between_batches():
    """ProxProp whose factorisation of the first batch serves all later ones of the shape."""
    return Factorised(), {"like": IMPLICIT}


class Forgetful(Factorised):
    """The same, not even forgotten by reset."""

    def __init__(self):
        self.kept = {}

    def reset(self):
        pass


@mistake("method", r"reset|kept|keeps|cache|stale|remember|earlier|memory")
def factorisation_that_survives_reset():
    """ProxProp with factors that reset() does not forget."""
    return Forgetful(), {"like": IMPLICIT}


@mistake("method", r"steps?|K\b|Krylov|CG|conjugate")
def one_step_of_cg_too_few():
    """Two steps of CG in the place of three."""
    return ml.ProxProp(tau_theta=0.5, solver="cg2", last="implicit").propose, {
        "like": ml.ProxProp(tau_theta=0.5, solver="cg3", last="implicit")}


@mistake("method", r"joint|each (output )?unit|step length|one length")
def one_step_length_for_all_units():
    """CG with one step length for all units of a map."""
    return ml.ProxProp(tau_theta=0.5, solver="cg3", last="implicit", joint=True).propose, {
        "like": ml.ProxProp(tau_theta=0.5, solver="cg3", last="implicit")}


def descent(block, steps, conjugate):
    """Return some steps of CG, or of steepest descent, on ProxProp's normal equations with damping 2."""
    A = tilde(block)
    M, b = A.T @ A + 2 * np.eye(A.shape[1]), gradient(block)
    d, r = np.zeros_like(b), b.copy()
    q = r.copy()
    for _ in range(steps):
        rr, Mq = (r * r).sum(axis=0), M @ q
        alpha = rr / np.maximum((q * Mq).sum(axis=0), 1e-300)
        d, r = d + alpha * q, r - alpha * Mq
        q = r + conjugate * (r * r).sum(axis=0) / np.maximum(rr, 1e-300) * q
    return d.astype(block.theta.dtype)


@mistake("method", r"Krylov|conjugate|steepest|CG|β|minimi")
def steepest_descent_for_cg():
    """Three steps of steepest descent in the place of CG."""
    return partial(descent, steps=3, conjugate=0.0), {
        "like": ml.ProxProp(tau_theta=0.5, solver="cg3", last="implicit")}


def local_steps(block, variant, gamma=1.0, steps=3, rate=0.1, decay=None, eta=None, masked=True, around=None):
    """Return T plain steps of LocoProp."""
    A, z, g = tilde(block), block.phi.columns(block.z), signals(block)
    if not masked and block.g_a is not None:
        g = block.phi.columns(block.g_a)
    f = block.f.forward if variant == "M" else (lambda z: z)
    y = f(z) - gamma * g
    theta = block.theta.copy()
    for t in range(steps):
        d = A.T @ (f(A @ theta) - y)
        if eta is not None:
            d = d + (theta - (block.theta if around is None else around * theta)) / eta
        scale = max(1 - t / steps, 0.25) if decay is None else decay(t, steps)
        theta = theta - theta.dtype.type(rate * scale) * d
    return (block.theta - theta).astype(block.theta.dtype)


def loco(variant, **more):
    """Return the reference of `local_steps`."""
    arguments = {"gamma": 1.0, "steps": 3, "local_lr": 0.1, "local_optimizer": "sgd"} | more
    return ml.LocoProp(variant, **arguments)


@mistake("method", r"decay|rate|max\(1|t/T|schedule")
def locoprop_rate_one_step_ahead():
    """LocoProp whose rates are those of the next step, 1 − (t + 1)/T."""
    return partial(local_steps, variant="S", decay=lambda t, T: max(1 - (t + 1) / T, 0.25)), {"like": loco("S")}


@mistake("method", r"decay|¼|quarter|floor|rate")
def locoprop_rate_without_a_floor():
    """LocoProp whose rate decays to 1/T, without the floor of a quarter."""
    return partial(local_steps, variant="S", steps=8, decay=lambda t, T: 1 - t / T), {"like": loco("S", steps=8)}


@mistake("method", r"mask|σ'|g_a|∂J/∂a|unmasked|signal")
def locoprop_m_of_the_unmasked_signal():
    """LocoProp-M with targets f(z) − γ ∂J/∂a."""
    return partial(local_steps, variant="M", masked=False), {"like": loco("M")}


@mistake("method", r"squared|matching|variant|S\b")
def locoprop_s_for_m():
    """The squared variant in the place of the matching one."""
    return partial(local_steps, variant="S"), {"like": loco("M")}


@mistake("method", r"regularis|η|eta|anchor|θ_k|weight decay|old|origin|around")
def locoprop_regularised_around_zero():
    """LocoProp-S that is pulled to 0 instead of to the old θ."""
    return partial(local_steps, variant="S", eta=0.5, around=0.0), {"like": loco("S", eta=0.5)}


@mistake("method", r"η|eta|regularis|1/η|damping")
def locoprop_exact_with_eta_for_its_damping():
    """LocoProp-S, exact, damped by η instead of 1/η."""
    return (lambda block: 2.0 * ridge(block, 0.25)), {"like": ml.LocoProp("S", gamma=2.0, steps="exact", eta=0.25)}


@mistake("method", r"γ|gamma|factor|2")
def locoprop_exact_without_gamma():
    """LocoProp-S, exact, without γ."""
    return (lambda block: ridge(block, 4.0)), {"like": ml.LocoProp("S", gamma=2.0, steps="exact", eta=0.25)}


@mistake("method", r"N\b|λ|lambda|damping|mean|batch")
def foof_with_lambda_of_the_sum():
    """FOOF whose λ is not multiplied by N."""
    return (lambda block: ridge(block, 0.1, g=signals(block) / block.weight)), {"like": ml.FOOF(0.1)}


def chain():
    """Return a small chain whose layers differ in size."""
    return ml.mlp([4, 5, 3, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64, seed=3, init="normal")


def kronecker(block, damping=0.1, weighted=True, square=False, damp_signal=True):
    """Return K-FAC's direction with the empirical Fisher matrix, on a chain."""
    A, g = tilde(block), signals(block) / (block.weight if weighted else 1)
    N = len(A)
    left, S = A.T @ A / N + damping * np.eye(A.shape[1]), g.T @ g / N
    right_factor = S + damping * damp_signal * np.eye(len(S)) + 1e-12 * np.eye(len(S))
    if square:
        right_factor = scipy.linalg.sqrtm(right_factor).real
    mean = A.T @ signals(block) / (N * block.weight)
    return np.linalg.solve(right_factor, np.linalg.solve(left, mean).T).T.astype(block.theta.dtype)


EMPIRICAL = {"like": ml.KFAC(0.1, fisher="empirical")}


@mistake("method", r"weight|N\b|mean|batch|signal|S\b|squared")
def kfac_of_weighted_signals():
    """K-FAC whose S is made of signals of the mean loss, too small by N²."""
    return partial(kronecker, weighted=False), {"net": chain(), **EMPIRICAL}


@mistake("method", r"damp|λ|S\b|signal")
def kfac_damped_on_one_side():
    """K-FAC whose signal factor is not damped."""
    return partial(kronecker, damp_signal=False), {"net": chain(), **EMPIRICAL}


@mistake("method", r"root|power|S\b|signal|exponent|Shampoo")
def kfac_with_a_root():
    """K-FAC with the square root of its signal factor."""
    return partial(kronecker, square=True), {"net": chain(), **EMPIRICAL}


# ---- methods: subclasses of the package's


@mistake("method", r"weight decay|θ|decay|constant|regularis|multiple of")
def backprop_with_weight_decay():
    """BackProp with weight decay inside, called BackProp."""
    class Decayed(ml.BackProp):
        def propose(self, block):
            return super().propose(block) + block.theta.dtype.type(1e-3) * block.theta
    return Decayed()


@mistake("method", r"clip|norm|length|scaled|shorter|multiple|factor")
def backprop_clipped():
    """BackProp whose long gradients are cut to a norm of 0.1, called BackProp."""
    class Clipped(ml.BackProp):
        def propose(self, block):
            d = super().propose(block)
            return d * d.dtype.type(min(1, 0.1 / np.linalg.norm(d)))
    return Clipped()


@mistake("method", r"moment|remember|keeps|state|reset|velocity|same steps|memory")
def backprop_with_a_velocity():
    """BackProp with a velocity that reset() does not forget."""
    class Heavy(ml.BackProp):
        velocity: dict = {}

        def propose(self, block):
            key = block.k, block.theta.shape, block.theta.dtype
            self.velocity[key] = 0.9 * self.velocity.get(key, 0) + super().propose(block)
            return self.velocity[key].astype(block.theta.dtype)
    return Heavy()


@mistake("method", r"centr|mean|bias|project|column|gradient")
def backprop_of_centred_gradients():
    """BackProp whose gradients are centred over the inputs, as gradient centralisation does."""
    class Centralised(ml.BackProp):
        def propose(self, block):
            d = super().propose(block)
            return d - d.mean(axis=0)
    return Centralised()


@mistake("method", r"damp|τ|tau|l\b|map")
def proxprop_damped_by_depth():
    """ProxProp whose step size is divided by the number of the map."""
    class ByDepth(ml.ProxProp):
        def step_size(self, block):
            return super().step_size(block) / block.l
    return ByDepth(0.5)


@mistake("method", r"damp|τ|tau|grow|call|state|batch|same steps|reset|function")
def proxprop_whose_tau_shrinks():
    """ProxProp whose τ shrinks from call to call."""
    class Shrinking(ml.ProxProp):
        calls = 0

        def step_size(self, block):
            self.calls += 1
            return super().step_size(block) / self.calls
    return Shrinking(0.5, last="implicit")


@mistake("method", r"order of the samples|sample|order|first|rows|half|batch")
def proxprop_of_the_first_half():
    """ProxProp with the Gram matrix of the batch's first half, to save time."""
    class Half(ml.ProxProp):
        def propose(self, block):
            A = tilde(block)
            half = A[:max(len(A) // 2, 1)]
            M = 2 * half.T @ half + np.eye(A.shape[1]) / self.tau_theta
            return np.linalg.solve(M, gradient(block)).astype(block.theta.dtype)
    return Half(0.5, last="implicit")


@mistake("method", r"target|f\(z|γ|gamma|z_l|inside|signal")
def locoprop_m_with_targets_in_z():
    """LocoProp-M whose target is f(z − γg) instead of f(z) − γg."""
    class InZ(ml.LocoProp):
        def gap(self, block, form=lambda values: values):
            z, f = form(block.z), block.f
            return ml.problems.MatchingLoss(f, z, f.forward(z) - f.forward(z - self.gamma * form(block.g)))
    return InZ("M", gamma=1.0, steps=3, local_lr=0.1, local_optimizer="sgd")


@mistake("method", r"last")
def locoprop_m_squared_on_the_last_map():
    """LocoProp-M that takes the squared loss on the last map."""
    class SquaredLast(ml.LocoProp):
        def gap(self, block, form=lambda values: values):
            if block.last:
                return ml.problems.SquaredGap(form(block.z), self.gamma * form(block.g))
            return super().gap(block, form)
    return SquaredLast("M", gamma=1.0, steps=3, local_lr=0.1, local_optimizer="sgd")


@mistake("method", r"new weights|old weights|new W|signal")
def semi_implicit_through_old_weights():
    """SIBP whose signals pass through the old weights."""
    class Old(ml.SemiImplicit):
        new_weights = False
    return Old(eta=0.5, lam=1.0)


@mistake("method", r"½|half|2|λ|lam|factor|damping")
def semi_implicit_with_half_a_regulariser():
    """SIBP whose λ gets the factor ½ that the paper does not have."""
    class Halved(ml.SemiImplicit):
        def propose(self, block):
            return ml.SemiImplicit(self.eta, self.lam / 2, self.steps, self.solver, self.joint).propose(block)
    return Halved(eta=0.5, lam=1.0)


@mistake("method", r"sum|mean|N\b|weight|η|eta|batch")
def semi_implicit_of_the_mean_loss():
    """SIBP whose η refers to the mean loss."""
    class OfMean(ml.SemiImplicit):
        def gap(self, block):
            return super().gap(block._replace(weight=1.0))
    return OfMean(eta=0.5, lam=1.0)


@mistake("method", r"mask|unmasked|g_a|signal|derivative|∂J/∂a|σ'|f'")
def semi_implicit_of_masked_signals():
    """SIBP with ∂J/∂z in the place of ∂J/∂a on hidden maps."""
    class OfMasked(ml.SemiImplicit):
        def gap(self, block):
            return super().gap(block if block.last else block._replace(g_a=block.g))
    return OfMasked(eta=0.5, lam=1.0)


@mistake("method", r"order|first|b\b|bias|new W")
def semi_implicit_bias_with_the_old_weights():
    """SIBP whose b is fitted with the old W: both from the same point."""
    class Together(ml.SemiImplicit):
        def propose(self, block):
            joint = super().propose(block)
            only_b = block._replace(a=np.zeros_like(block.a))
            b = super().propose(only_b)[-1:]
            return np.concatenate([joint[:-1], b])
    return Together(eta=0.5, lam=1.0)


@mistake("method", r"N\b|weight|factor|mean|batch|times")
def foof_without_its_rescaled_signal():
    """FOOF whose direction is divided by N once more."""
    class Small(ml.FOOF):
        def propose(self, block):
            return super().propose(block) * block.theta.dtype.type(block.weight)
    return Small(0.1)


@mistake("method", r"sign|u\b|multiplier|dual")
def admm_with_a_descending_multiplier():
    """ADMM whose dual step has the wrong sign."""
    class Down(ml.ADMM):
        def ascend(self, energy, l, variables):
            gap = energy.map_gap(l, variables.theta, variables.a, variables.z)
            return variables.multiplier + self.beta * gap
    return Down(beta=0.5, gamma=2.0)


@mistake("method", r"β|beta|factor|2|half|step|dual")
def admm_with_a_dual_step_of_rho():
    """ADMM whose dual step is that of the energy's ρ = 2β, not β."""
    class Long(ml.ADMM):
        def ascend(self, energy, l, variables):
            gap = energy.map_gap(l, variables.theta, variables.a, variables.z)
            return variables.multiplier - energy.rho * gap
    return Long(beta=0.5, gamma=2.0)


@mistake("method", r"multiplier|dual|visits?|u\b|missing")
def admm_without_its_dual_step():
    """ADMM that never moves its multiplier."""
    class Still(ml.ADMM):
        def schedule(self, energy):
            return [visit for visit in super().schedule(energy) if visit[0] != "multiplier"]
    return Still(beta=0.5, gamma=2.0)


@mistake("method", r"visit|block|missing|z_?\w*|leaves? out|sweep")
def bcd_that_forgets_z1():
    """BCD that does not visit z_1."""
    class Short(ml.BCD):
        def schedule(self, energy):
            return [visit for visit in super().schedule(energy) if visit[:2] != ("z", 1)]
    return Short(alpha=0.5)


@mistake("method", r"α|alpha|prox|anchor|argmin|θ")
def bcd_without_anchors():
    """BCD whose θ has no prox term."""
    class Free(ml.BCD):
        def schedule(self, energy):
            for block, l, update in super().schedule(energy):
                yield block, l, (energy.best_theta if block == "theta" else update)
    return Free(alpha=0.5)


@mistake("method", r"stale|old|argmin|order|earlier|a_\w|a\b")
def bcd_of_old_values():
    """BCD whose blocks all see the variables from before the sweep, a Jacobi sweep."""
    class Jacobi(ml.BCD):
        def schedule(self, energy):
            before = []

            def frozen(l, variables, update):
                before.append(variables)
                return update(l, before[0])
            for block, l, update in super().schedule(energy):
                yield block, l, partial(frozen, update=update)
    return Jacobi(alpha=0.5)


@mistake("method", r"argmin|z\b|piece|minim|local|branch|global")
def bcd_with_the_nearer_branch():
    """BCD whose z takes the best of one piece only, that of the old z."""
    class OneBranch(ml.BCD):
        def one_piece(self, energy, l, variables):
            phi, z, a = energy.phi(l, variables.theta, variables.a), variables.z[l], variables.a[l]
            s = energy.net.sigma[l].derivative(z)
            offset = energy.net.sigma[l].forward(z) - s * z
            weight = energy.rho + self.alpha
            centre = (energy.rho * phi + self.alpha * z) / weight
            return (energy.gamma * s * (a - offset) + weight * centre) / (energy.gamma * s * s + weight)

        def schedule(self, energy):
            for block, l, update in super().schedule(energy):
                hidden = block == "z" and l < energy.net.depth
                yield block, l, (partial(self.one_piece, energy) if hidden else update)
    return OneBranch(alpha=0.5)


@mistake("method", r"raise|rises|increas|too long|step|curvature|backtrack")
def dladmm_with_long_steps():
    """A dlADMM whose linearised steps have the length 1/κ always."""
    class Long(ml.DLADMM):
        def alpha(self, g, curvature):
            return 0.05
    return Long(rho=1.0, schedule=False)


@mistake("method", r"dual|multiplier|u\b|factor|ρ|step")
def dladmm_with_a_relaxed_dual_step():
    """A dlADMM whose dual step is 1.618 times as long."""
    class Relaxed(ml.DLADMM):
        def ascend(self, energy, l, variables):
            gap = energy.map_gap(l, variables.theta, variables.a, variables.z)
            return variables.multiplier - 1.618 * energy.rho * gap
    return Relaxed(rho=1.0, schedule=False)


@mistake("method", r"θ|last|visit|output|block")
def mac_without_its_last_map():
    """MAC that does not visit the last map's θ."""
    class Headless(ml.MAC):
        def schedule(self, energy):
            return [visit for visit in super().schedule(energy) if visit[:2] != ("theta", energy.net.depth)]
    return Headless()


@mistake("method", r"raise|rises|increas|a_\w|a\b|step")
def mac_with_explicit_values():
    """MAC whose values take gradient steps of length 3, which are too long."""
    class Explicit(ml.MAC):
        def schedule(self, energy):
            for block, l, update in super().schedule(energy):
                def explicit(l, variables):
                    return variables.a[l] - 3 * energy.gradient("a", l, variables)
                yield block, l, (explicit if block == "a" else update)
    return Explicit()


@mistake("method", r"α|anchor|factor|2|argmin|half|r\b")
def fenchel_with_half_an_anchor():
    """Fenchel lifted networks whose anchor r is taken for α/2 · 2 once too few."""
    class Half(ml.FenchelLifted):
        def schedule(self, energy):
            net = energy.net
            for l in range(net.depth - 1, 0, -1):
                yield "a", l, energy.best_a
            for l in range(1, net.depth + 1):
                yield "theta", l, partial(energy.best_theta, alpha=self.anchor, around=net.theta)
    return Half(anchor=4.0)


@mistake("method", r"weight|μ|mu|λ|factor|2|energy")
def fenchel_with_half_its_weight():
    """Fenchel lifted networks on the energy with μ = λ."""
    class Light(ml.FenchelLifted):
        def energy(self, net, X, y):
            return MatchingEnergy(net, y, self.lam, self.weight_decay)
    return Light(lam=1.0, anchor=4.0)


@mistake("method", r"τ|tau|anchor|argmin|α|1/τ")
def lpom_anchored_by_tau():
    """LPOM whose anchor has the weight τ instead of 1/τ."""
    class ByTau(ml.LPOM):
        def schedule(self, energy):
            for block, l, update in super().schedule(energy):
                yield block, l, (partial(energy.best_theta, alpha=self.tau) if block == "theta" else update)
    return ByTau(tau=0.2)


@mistake("method", r"visit|a_|a\b|order|hidden|missing|block")
def lpom_that_skips_a_value():
    """LPOM that leaves a_1 as it is."""
    class Skipping(ml.LPOM):
        def schedule(self, energy):
            return [visit for visit in super().schedule(energy) if visit[:2] != ("a", 1)]
    return Skipping(tau=0.2)


@mistake("method", r"once|simultan|order|old|all values|Gauss|sequen|one after")
def predictive_coding_one_after_the_other():
    """Predictive coding whose values step one after the other, each from the new ones."""
    class OneByOne(ml.PredictiveCoding):
        def relaxed(self, energy, variables):
            for l in range(1, energy.net.depth):
                value = getattr(variables, energy.block)[l] - self.rate * energy.gradient(energy.block, l, variables)
                variables = variables.replaced(energy.block, l, value)
            return variables
    return OneByOne(rate=0.1, steps=4)


@mistake("method", r"weight|N\b|mean|1/N|batch|factor")
def predictive_coding_of_the_sum():
    """Predictive coding whose direction is not multiplied by a sample's weight."""
    class Summed(ml.PredictiveCoding):
        def directions(self, net, state, y):
            weight = net.loss_function.weight(len(state.a[0]))
            return [d / weight for d in super().directions(net, state, y)]
    return Summed(rate=0.1, steps=4)


@mistake("method", r"start|forward|old|values|step|before|reached|∂F")
def predictive_coding_one_step_behind():
    """Predictive coding whose θ takes the gradient before the last relaxation."""
    class Behind(ml.PredictiveCoding):
        def directions(self, net, state, y):
            self.check_network(net)
            energy, variables = self.energy_around(net, state, y), self.start(net, state)
            for _ in range(self.steps):
                before, variables = variables, self.relaxed(energy, variables)
            self.variables, self.last_energy = variables, energy
            weight = net.loss_function.weight(len(state.a[0]))
            return [weight * energy.gradient("theta", l, before) for l in net.maps]
    return Behind(rate=0.1, steps=4)


@mistake("method", r"differ|correct|g_l\(h|target|inverse|h −")
def target_propagation_without_the_difference():
    """Target propagation with the plain targets g(t)."""
    class Vanilla(ml.TargetPropagation):
        def differences(self, net, state, y):
            loss, z, a, D = net.loss_function, state.z, state.a, net.depth
            off = [None] * D + [self.beta / loss.weight(len(z[D])) * loss.gradient(z[D], y)]
            h = [*a[:D], z[D]]
            for l in range(D, 1, -1):
                off[l - 1] = h[l - 1] - self.inverse(net, l, h[l] - off[l])
            return off
    return Vanilla(beta=0.1)


@mistake("method", r"β|beta|factor|size|divid")
def target_propagation_not_divided():
    """Target propagation whose directions are not divided by β."""
    class Undivided(ml.TargetPropagation):
        def directions(self, net, state, y):
            return [self.beta * d for d in super().directions(net, state, y)]
    return Undivided(beta=0.1)


# ---- methods: against an objective


def proximal(block, theta, tau=0.5):
    """Return ½‖ãθ − (z − g)‖² + ‖θ − θ_l‖²/2τ, ProxProp's problem with the step 1."""
    residual = tilde(block) @ (theta - block.theta) + signals(block)
    return (residual**2).sum() / 2 + ((theta - block.theta) ** 2).sum() / (2 * tau)


@mistake("objective", r"factor|long|short|scale|τ|damp|multiple|line|step")
def half_of_a_prox_step():
    """Half of the minimiser of ProxProp's problem."""
    return (lambda block: ridge(block, 2.0) / 2), {"objective": proximal}


@mistake("objective", r"sign|away|opposite|uphill|−")
def prox_step_uphill():
    """The minimiser's step in the wrong direction, θ_new − θ."""
    return (lambda block: -ridge(block, 2.0)), {"objective": proximal}


@mistake("objective", r"old − new|new|step|parameters instead|θ itself|returns")
def parameters_for_a_step():
    """A method that returns the new parameters, not old minus new."""
    return (lambda block: block.theta - ridge(block, 2.0)), {"objective": proximal}


def sparse(block, theta, tau=0.1, lam=0.05):
    """Return the linear model of J, ‖θ − θ_l‖²/2τ and λ‖θ‖₁ without the bias: one step of ISTA."""
    d = theta - block.theta
    return (gradient(block) * d).sum() + (d * d).sum() / (2 * tau) + lam * abs(theta[:-1]).sum()


def shrunk(v, threshold):
    """Return the soft threshold."""
    return np.sign(v) * np.maximum(abs(v) - threshold, 0)


@mistake("objective", r"τ|tau|threshold|λ|factor|step|shr(ink|unk)")
def ista_with_a_threshold_of_lambda():
    """A step of ISTA that shrinks by λ, not by τλ."""
    def propose(block):
        new = block.theta - 0.1 * gradient(block)
        new[:-1] = shrunk(new[:-1], 0.05)
        return block.theta - new
    return propose, {"objective": sparse}


@mistake("objective", r"bias|last row")
def ista_that_shrinks_the_bias():
    """A step of ISTA that shrinks the bias too."""
    return (lambda block: block.theta - shrunk(block.theta - 0.1 * gradient(block), 0.005)), {"objective": sparse}


def nonnegative(block, theta):
    """Return ProxProp's problem for weights that are not negative."""
    return np.inf if (theta < -1e-9).any() else proximal(block, theta)


def strictly_nonnegative(block, theta):
    """Return the same without any slack."""
    return np.inf if (theta < 0).any() else proximal(block, theta)


@mistake("objective", r"clip|constrain|project|bound|several|free|jointly|entries|lower")
def nonnegative_by_clipping():
    """The unconstrained minimiser, its negative entries set to 0."""
    return (lambda block: block.theta - np.maximum(block.theta - ridge(block, 2.0), 0)), {"objective": nonnegative}


def ball(block, theta, radius=0.1):
    """Return the linear model of J in a ball around θ."""
    d = theta - block.theta
    return np.inf if np.linalg.norm(d) > radius * (1 + 1e-9) else float((gradient(block) * d).sum())


@mistake("objective", r"column|units?|ball|length|norm|row|lower|longer|shorter")
def ball_of_each_unit():
    """A normalised gradient for each unit by itself, inside the ball of the whole θ."""
    def propose(block):
        d = gradient(block)
        n = d.shape[1]
        return (0.1 / n**0.5 * d / np.maximum(np.linalg.norm(d, axis=0), 1e-300)).astype(d.dtype)
    return propose, {"objective": ball}


@right("objective")
def proximal_step_by_least_squares():
    """ProxProp's step by the least squares of a longer system."""
    def propose(block):
        A, g = tilde(block), signals(block)
        n = A.shape[1]
        long, right_side = np.vstack([A, 2**0.5 * np.eye(n)]), np.vstack([g, np.zeros((n, g.shape[1]))])
        return np.linalg.lstsq(long, right_side, rcond=None)[0].astype(block.theta.dtype)
    return propose, {"objective": proximal}


@right("objective")
def one_step_of_ista():
    """A step of ISTA, not smooth."""
    def propose(block):
        new = block.theta - 0.1 * gradient(block)
        new[:-1] = shrunk(new[:-1], 0.005)
        return (block.theta - new).astype(block.theta.dtype)
    return propose, {"objective": sparse}


def nonnegative_step(block):
    """Return the step to the least of `nonnegative`, by SciPy, column by column."""
    A, g, theta = tilde(block), signals(block), block.theta.astype(np.float64)
    long = np.vstack([A, 2**0.5 * np.eye(A.shape[1])])
    target = np.vstack([A @ theta - g, 2**0.5 * theta])
    new = np.stack([scipy.optimize.nnls(long, target[:, o])[0] for o in range(g.shape[1])], axis=1)
    return (theta - new).astype(block.theta.dtype)


@right("objective")
def nonnegative_least_squares():
    """Weights that are not negative, by SciPy, in a domain with a little slack."""
    return nonnegative_step, {"objective": nonnegative}


@right("objective")
def nonnegative_least_squares_without_slack():
    """The same in a domain without slack, beyond which rounding of θ − (θ − θ_new) may reach."""
    return nonnegative_step, {"objective": strictly_nonnegative}


def box(block, theta):
    """Return the linear model of J in a cube around θ."""
    d = theta - block.theta
    return np.inf if abs(d).max() > 0.01 * (1 + 1e-9) else (gradient(block) * d).sum()


@right("objective")
def sign_descent():
    """The sign of the gradient, which minimises the linear model in a cube."""
    return (lambda block: (0.01 * np.sign(gradient(block))).astype(block.theta.dtype)), {"objective": box}


@right("objective")
def normalised_gradient():
    """The gradient with norm 0.1, which minimises the linear model in a ball."""
    def propose(block):
        d = gradient(block)
        return (0.1 * d / max(np.linalg.norm(d), 1e-300)).astype(d.dtype)
    return propose, {"objective": ball}


def spectral(block, theta):
    """Return the linear model of J in the ball of the spectral norm."""
    d = theta - block.theta
    return np.inf if np.linalg.norm(d, 2) > 0.1 * (1 + 1e-9) else float((gradient(block) * d).sum())


@right("objective")
def muon_by_svd():
    """The polar factor of the gradient, which minimises the linear model in the ball of the spectral norm.

    Singular values that are rounding are left out: their vectors are not determined.
    """
    def propose(block):
        u, s, vt = np.linalg.svd(gradient(block), full_matrices=False)
        return (0.1 * u * (s > 1e-6 * s[0]) @ vt).astype(block.theta.dtype)
    return propose, {"objective": spectral}


@right("method")
def proxprop_by_the_sample_side():
    """ProxProp in sample space always."""
    def propose(block):
        A, g = tilde(block), signals(block)
        return (A.T @ np.linalg.solve(A @ A.T + 2 * np.eye(len(A)), g)).astype(block.theta.dtype)
    return propose, {"like": IMPLICIT}


@right("method")
def proxprop_by_singular_values():
    """ProxProp by the singular values of Ã."""
    def propose(block):
        u, s, vt = np.linalg.svd(tilde(block), full_matrices=False)
        return (vt.T @ ((s / (s * s + 2))[:, None] * (u.T @ signals(block)))).astype(block.theta.dtype)
    return propose, {"like": IMPLICIT}


@right("method")
def three_steps_of_cg():
    """CG by hand."""
    return partial(descent, steps=3, conjugate=1.0), {
        "like": ml.ProxProp(tau_theta=0.5, solver="cg3", last="implicit")}


@right("method")
def locoprop_by_hand():
    """LocoProp-M's plain steps by hand, with a regulariser."""
    return partial(local_steps, variant="M", eta=0.5), {"like": loco("M", eta=0.5)}


@right("method")
def foof_by_hand():
    """FOOF's step on a chain by hand."""
    def propose(block):
        N = len(block.a)
        return ridge(block, 0.1 * N, g=signals(block) / block.weight)
    return propose, {"net": chain(), "like": ml.FOOF(0.1)}


@right("method")
def kfac_by_hand():
    """K-FAC with the empirical Fisher matrix by hand."""
    return kronecker, {"net": chain(), **EMPIRICAL}


@right("method")
def two_formulas_of_one_step():
    """A function beside another function: the step by differences of the solution, and by a formula."""
    def reference(block):
        A = tilde(block)
        return (np.linalg.pinv(A.T @ A + 2 * np.eye(A.shape[1])) @ gradient(block)).astype(block.theta.dtype)
    return (lambda block: ridge(block, 2.0)), {"like": reference}


@right("method")
def backprop_renamed():
    """A subclass of BackProp that makes the gradient by columns."""
    class ByColumns(ml.BackProp):
        def propose(self, block):
            return (tilde(block).T @ signals(block)).astype(block.theta.dtype)
    return ByColumns()


@right("method")
def proxprop_with_a_running_count():
    """A subclass of ProxProp that counts its calls and forgets them on reset, with nothing else changed."""
    class Counting(ml.ProxProp):
        calls = 0

        def propose(self, block):
            self.calls += 1
            return super().propose(block)

        def reset(self):
            self.calls = 0
    return Counting(0.5, solver="cg3")


@right("method")
def bcd_visited_forwards():
    """BCD from the input to the output: other order, still argmins."""
    class Forwards(ml.BCD):
        def schedule(self, energy):
            return list(super().schedule(energy))[::-1]
    return Forwards(alpha=0.5)


@right("method")
def bcd_with_two_visits():
    """BCD that visits z_1 twice."""
    class Twice(ml.BCD):
        def schedule(self, energy):
            for visit in super().schedule(energy):
                yield visit
                if visit[:2] == ("z", 1):
                    yield visit
    return Twice(alpha=0.5)


@right("method")
def lifted_method_of_ones_own():
    """A lifted method of one's own: θ and a by closed forms on the three-split energy, from a forward pass."""
    class Own(Lifted):
        def __init__(self):
            super().__init__("forward")

        def settings(self):
            return {}

        def energy(self, net, X, y):
            return ThreeSplit(net, y, 1.0, 2.0)

        def start(self, net, state):
            variables = super().start(net, state)
            return variables._replace(a=[*variables.a, variables.z[net.depth]])

        def schedule(self, energy):
            for l in range(energy.net.depth, 0, -1):
                yield "a", l, energy.best_a
                yield "z", l, energy.best_z
                yield "theta", l, partial(energy.best_theta, alpha=1.0)
    return Own(), {"like": Own()}


@right("method")
def mac_with_more_steps():
    """MAC with more steps in each block."""
    class Patient(ml.MAC):
        def schedule(self, energy):
            for block, l, update in super().schedule(energy):
                yield block, l, (partial(energy.lowered_a, steps=3) if block == "a" else update)
    return Patient(alpha=0.5)


@right("method")
def predictive_coding_on_its_energy():
    """Predictive coding whose energy is made by hand."""
    class Same(ml.PredictiveCoding):
        def energy_around(self, net, state, y):
            return TwoSplit(net, y, 1.0, self.latent)
    return Same(rate=0.1, steps=4, latent="pre")


# ---- blocks: argmins


def drawn(**shapes):
    """Return a draw of normal arrays of given shapes, and of positive numbers where the shape is None."""
    def draw(rng):
        return {name: float(np.exp(rng.uniform(-1, 1))) if shape is None else rng.normal(size=shape)
                for name, shape in shapes.items()}
    return draw


def lasso_prox(z, v, tau):
    """Return ‖z‖₁ + ‖z − v‖²/2τ."""
    return abs(z).sum() + ((z - v) ** 2).sum() / (2 * tau)


@mistake("argmin", r"threshold|τ|tau|shr|factor|scale")
def soft_threshold_of_one_over_tau():
    """Soft thresholding by 1/τ."""
    return ml.Argmin(lasso_prox, lambda v, tau: shrunk(v, 1 / tau), "z", drawn(z=(3, 4), v=(3, 4), tau=None))


@mistake("argmin", r"threshold|shr|bias|hard|soft|zero|too (far|large)")
def hard_for_soft():
    """Hard thresholding in the place of soft."""
    return ml.Argmin(lasso_prox, lambda v, tau: v * (abs(v) > tau), "z", drawn(z=(3, 4), v=(3, 4), tau=None))


@mistake("argmin", r"threshold|root|√|2τ|hard")
def hard_threshold_at_tau():
    """The prox of τ‖·‖₀ with its threshold at τ instead of √(2τ)."""
    def energy(z, v, tau):
        return (z != 0).sum() + ((z - v) ** 2).sum() / (2 * tau)
    return ml.Argmin(energy, lambda v, tau: v * (abs(v) > tau), "z", drawn(z=(3, 4), v=(3, 4), tau=None))


def elastic(z, v, tau, lam):
    """Return λ‖z‖²/2 + ‖z‖₁ + ‖z − v‖²/2τ."""
    return lam * (z * z).sum() / 2 + lasso_prox(z, v, tau)


@mistake("argmin", r"order|threshold|shr|scale|factor|λ|lam")
def elastic_net_in_the_wrong_order():
    """The elastic net's prox, scaled first and shrunk by τ then."""
    return ml.Argmin(elastic, lambda v, tau, lam: shrunk(v / (1 + tau * lam), tau), "z",
                     drawn(z=(2, 3), v=(2, 3), tau=None, lam=None))


def group(z, v, tau):
    """Return the sum of the rows' norms and ‖z − v‖²/2τ."""
    return np.linalg.norm(z, axis=1).sum() + ((z - v) ** 2).sum() / (2 * tau)


@mistake("argmin", r"axis|row|column|group|norm")
def group_lasso_along_the_wrong_axis():
    """The prox of row norms with norms of columns."""
    def update(v, tau):
        return v * np.maximum(1 - tau / np.linalg.norm(v, axis=0), 0)
    return ml.Argmin(group, update, "z", drawn(z=(3, 4), v=(3, 4), tau=None))


@mistake("argmin", r"singular|threshold|τ|tau|root|square|shr")
def nuclear_prox_of_squares():
    """The prox of the nuclear norm that shrinks squared singular values."""
    def energy(z, v, tau):
        return np.linalg.svd(z, compute_uv=False).sum() + ((z - v) ** 2).sum() / (2 * tau)

    def update(v, tau):
        u, s, vt = np.linalg.svd(v, full_matrices=False)
        return u @ (np.sqrt(np.maximum(s * s - tau, 0))[:, None] * vt)
    return ml.Argmin(energy, update, "z", drawn(z=(3, 4), v=(3, 4), tau=None))


def on_simplex(x, v):
    """Return ½‖x − v‖² on the simplex, inf beyond."""
    return ((x - v) ** 2).sum() / 2 if (x >= -1e-12).all() and abs(x.sum() - 1) < 1e-9 else np.inf


def simplex(v):
    """Return the projection of a vector onto the simplex."""
    return simplex_rows(v[None])[0]


@mistake("argmin", r"simplex|normalis|scale|shift|project|sum|constrain")
def simplex_by_division():
    """The projection onto the simplex as max(v, 0) over its sum."""
    def update(v):
        positive = np.maximum(v, 0) + 1e-12
        return positive / positive.sum()
    return ml.Argmin(on_simplex, update, "x", drawn(x=(5,), v=(5,)), project=simplex)


@mistake("argmin", r"simplex|shift|count|support|negative|project|constrain")
def simplex_by_one_shift():
    """The projection onto the plane of sum 1, then cut at 0 and divided."""
    def update(v):
        x = np.maximum(v - (v.sum() - 1) / len(v), 0)
        return x / x.sum()
    return ml.Argmin(on_simplex, update, "x", drawn(x=(5,), v=(5,)), project=simplex)


def l1_ball(v):
    """Return the projection onto the l1 ball."""
    return v if abs(v).sum() <= 1 else np.sign(v) * simplex(abs(v))


@mistake("argmin", r"sign")
def l1_ball_without_signs():
    """The projection onto the l1 ball that loses signs."""
    def energy(x, v):
        return ((x - v) ** 2).sum() if abs(x).sum() <= 1 + 1e-9 else np.inf
    return ml.Argmin(energy, lambda v: abs(l1_ball(v)), "x", drawn(x=(5,), v=(5,)), project=l1_ball)


@mistake("argmin", r"dual|Moreau|radius|τ|tau|project|scale|factor")
def prox_of_the_maximum_without_tau():
    """The prox of the largest size as v minus the projection onto the l1 ball of radius 1 instead of τ."""
    def energy(x, v, tau):
        return abs(x).max() + ((x - v) ** 2).sum() / (2 * tau)
    return ml.Argmin(energy, lambda v, tau: v - l1_ball(v), "x", drawn(x=(5,), v=(5,), tau=None))


def sym(x):
    """Return the symmetric part."""
    return (x + x.T) / 2


def psd(v):
    """Return the nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(sym(v))
    return vectors * np.maximum(values, 0) @ vectors.T


@mistake("argmin", r"eigenvalue|negative|cone|project|flip|size|abs|constrain")
def cone_by_sizes_of_eigenvalues():
    """The projection onto the semidefinite cone with |λ| for max(λ, 0)."""
    def energy(x, v):
        inside = np.linalg.eigvalsh(sym(x)).min() > -1e-9 and abs(x - x.T).max() < 1e-9
        return ((x - v) ** 2).sum() if inside else np.inf

    def update(v):
        values, vectors = np.linalg.eigh(sym(v))
        return vectors * abs(values) @ vectors.T
    return ml.Argmin(energy, update, "x", drawn(x=(3, 3), v=(3, 3)), project=psd)


@mistake("argmin", r"root|sign|branch|other solution|negative|domain|lower")
def barrier_with_the_other_root():
    """The prox of −τ log x with the negative root."""
    def energy(x, v, tau):
        return ((x - v) ** 2).sum() / 2 - tau * np.log(x).sum() if (x > 0).all() else np.inf

    def draw(rng):
        return {"x": rng.uniform(0.5, 2, 4), "v": rng.normal(size=4), "tau": 0.7}
    return ml.Argmin(energy, lambda v, tau: (v - np.sqrt(v * v + 4 * tau)) / 2, "x", draw)


@mistake("argmin", r"4|factor|τ|tau|root")
def barrier_without_its_four():
    """The prox of −τ log x with v² + τ under the root."""
    def energy(x, v, tau):
        return ((x - v) ** 2).sum() / 2 - tau * np.log(x).sum() if (x > 0).all() else np.inf

    def draw(rng):
        return {"x": rng.uniform(0.5, 2, 4), "v": rng.normal(size=4), "tau": 0.7}
    return ml.Argmin(energy, lambda v, tau: (v + np.sqrt(v * v + tau)) / 2, "x", draw)


def ridge_energy(W, a, y, lam):
    """Return ½‖aW − y‖² + λ/2 ‖W‖²."""
    return ((a @ W - y) ** 2).sum() / 2 + lam * (W * W).sum() / 2


RIDGE = drawn(W=(3, 2), a=(6, 3), y=(6, 2), lam=None)


@mistake("argmin", r"factor|λ|lam|2|damping")
def ridge_with_twice_its_lambda():
    """Ridge regression with 2λ, as if the first term had no ½."""
    return ml.Argmin(ridge_energy, lambda a, y, lam: np.linalg.solve(a.T @ a + 2 * lam * np.eye(3), a.T @ y), "W",
                     RIDGE)


@mistake("argmin", r"N\b|mean|batch|samples|λ|lam|factor|damping")
def ridge_of_a_mean():
    """Ridge regression with Nλ."""
    return ml.Argmin(ridge_energy, lambda a, y, lam: np.linalg.solve(a.T @ a + len(a) * lam * np.eye(3), a.T @ y),
                     "W", RIDGE)


@mistake("argmin", r"bias|intercept|mean|cent")
def ridge_that_centres_inputs_alone():
    """Ridge regression with an intercept, of which only W is damped, with b the mean of y − aW of raw inputs."""
    def energy(W, b, a, y, lam):
        return ((a @ W + b - y) ** 2).sum() / 2 + lam * (W * W).sum() / 2

    def update(a, y, lam):
        centred = a - a.mean(axis=0)
        W = np.linalg.solve(centred.T @ centred + lam * np.eye(a.shape[1]), centred.T @ y)
        return W, y.mean(axis=0)
    return ml.Argmin(energy, update, ("W", "b"), drawn(W=(3, 2), b=(2,), a=(6, 3), y=(6, 2), lam=None))


@mistake("argmin", r"transpos|shape|order|side")
def als_with_a_transposed_factor():
    """A step of alternating least squares on square factors, one of them transposed."""
    def energy(u, v, x):
        return ((u @ v.T - x) ** 2).sum() + 0.1 * (u * u).sum()

    def update(v, x):
        return x.T @ v @ np.linalg.inv(v.T @ v + 0.1 * np.eye(v.shape[1]))
    return ml.Argmin(energy, update, "u", drawn(u=(4, 2), v=(4, 2), x=(4, 4)))


@mistake("argmin", r"transpos|order|rotation|VU|UV|lower")
def procrustes_transposed():
    """The best rotation as V Uᵀ instead of U Vᵀ."""
    def polar(m):
        u, _, vt = np.linalg.svd(m)
        return u @ vt
    return ml.Argmin(lambda Q, A, B: ((A @ Q - B) ** 2).sum(), lambda A, B: polar(A.T @ B).T, "Q",
                     drawn(Q=(3, 3), A=(5, 3), B=(5, 3)), project=polar)


@mistake("argmin", r"converg|more (steps|sweeps)|not (yet )?(the|a) minim|iteration|close|on the way|short|stationary")
def lasso_by_two_sweeps():
    """The lasso by two sweeps of coordinate descent, not yet there."""
    def energy(x, A, y):
        return ((A @ x - y) ** 2).sum() / 2 + 0.3 * abs(x).sum()

    def update(x, A, y):
        x = x.copy()
        for _ in range(2):
            for j in range(len(x)):
                r = y - A @ x + A[:, j] * x[j]
                x[j] = shrunk(A[:, j] @ r, 0.3) / (A[:, j] @ A[:, j])
        return x
    return ml.Argmin(energy, update, "x", drawn(x=(4,), A=(6, 4), y=(6,)))


@mistake("argmin", r"residual|stale|old|order|coordinate|lower|x_?j")
def lasso_with_a_stale_residual():
    """The lasso by many sweeps whose residual is not renewed inside of a sweep, damped so that it settles."""
    def energy(x, A, y):
        return ((A @ x - y) ** 2).sum() / 2 + 0.3 * abs(x).sum()

    def update(A, y):
        x = np.zeros(A.shape[1])
        norms = (A * A).sum(axis=0)
        for _ in range(500):
            r = y - A @ x
            x = 0.8 * x + 0.2 * shrunk(A.T @ r, 0.3) / norms
        return x
    return ml.Argmin(energy, update, "x", drawn(x=(3,), A=(8, 3), y=(8,)))


@mistake("argmin", r"one step|converg|Newton|quadratic|iteration|on the (line|way)|short|close|long|factor")
def logistic_regression_by_one_newton_step():
    """Damped logistic regression by one step of Newton's method."""
    def energy(w, A, t):
        return np.logaddexp(0, -(2 * (t > 0) - 1) * (A @ w)).sum() + (w * w).sum() / 2

    def update(w, A, t):
        p, y = expit(A @ w), (t > 0).astype(float)
        H = A.T @ (A * (p * (1 - p))[:, None]) + np.eye(len(w))
        return w - np.linalg.solve(H, A.T @ (p - y) + w)
    return ml.Argmin(energy, update, "w", drawn(w=(3,), A=(8, 3), t=(8,)))


def admm_output(z, q, u, a, rho):
    """Return the augmented Lagrangian ½‖z − a‖² + ⟨u, z − q⟩ + ρ/2 ‖z − q‖²."""
    return ((z - a) ** 2).sum() / 2 + (u * (z - q)).sum() + rho * ((z - q) ** 2).sum() / 2


ADMM = drawn(z=(3, 2), q=(3, 2), u=(3, 2), a=(3, 2), rho=None)


@mistake("argmin", r"scaled|multiplier|\bu\b|ρ|rho|factor|dual|depend")
def admm_of_a_scaled_multiplier():
    """ADMM's block with the multiplier in its scaled form, ρ(q − u), in an energy that has the other."""
    return ml.Argmin(admm_output, lambda q, u, a, rho: (a + rho * (q - u)) / (1 + rho), "z", ADMM)


@mistake("argmin", r"sign|\bu\b|multiplier")
def admm_with_the_sign_of_its_multiplier():
    """ADMM's block with + u."""
    return ml.Argmin(admm_output, lambda q, u, a, rho: (a + rho * q + u) / (1 + rho), "z", ADMM)


def lifted_z(z, a, q, gamma, rho):
    """Return γ/2 ‖max(z, 0) − a‖² + ρ/2 ‖z − q‖²."""
    return gamma * ((np.maximum(z, 0) - a) ** 2).sum() / 2 + rho * ((z - q) ** 2).sum() / 2


LIFTED = drawn(z=(4, 3), a=(4, 3), q=(4, 3), gamma=None, rho=None)


@mistake("argmin", r"branch|piece|global|local|negative|candidate|compare|lower")
def relu_block_by_the_sign_of_q():
    """BCD's z: the branch is chosen by the sign of q, not by comparing both."""
    def update(a, q, gamma, rho):
        return np.where(q > 0, np.maximum((gamma * a + rho * q) / (gamma + rho), 0), np.minimum(q, 0))
    return ml.Argmin(lifted_z, update, "z", LIFTED)


@mistake("argmin", r"γ|gamma|ρ|rho|swap|exchang|weights")
def relu_block_with_swapped_weights():
    """BCD's z with γ and ρ exchanged in its positive branch."""
    return ml.Argmin(lifted_z, exchanged, "z", LIFTED)


def exchanged(a, q, gamma, rho):
    """Return BCD's z with the weights γ and ρ exchanged in its positive branch."""
    up = np.maximum((rho * a + gamma * q) / (gamma + rho), 0)
    low = np.minimum(q, 0)
    better = lifted_cost(up, a, q, gamma, rho) <= lifted_cost(low, a, q, gamma, rho)
    return np.where(better, up, low)


def lifted_cost(z, a, q, gamma, rho):
    """Return the summands of `lifted_z`."""
    return gamma * (np.maximum(z, 0) - a) ** 2 / 2 + rho * (z - q) ** 2 / 2


def lifted_a(a, s, h, W, b, gamma, rho):
    """Return ρ/2 ‖aW + b − s‖² + γ/2 ‖a − h‖²."""
    return rho * ((a @ W + b - s) ** 2).sum() / 2 + gamma * ((a - h) ** 2).sum() / 2


VALUES = drawn(a=(4, 3), s=(4, 2), h=(4, 3), W=(3, 2), b=(2,), gamma=None, rho=None)


@mistake("argmin", r"bias|\bb\b|depend")
def values_without_the_bias():
    """BCD's a, whose right-hand side forgets b."""
    def update(s, h, W, b, gamma, rho):
        return np.linalg.solve(rho * W @ W.T + gamma * np.eye(3), (rho * s @ W.T + gamma * h).T).T
    return ml.Argmin(lifted_a, update, "a", VALUES)


@mistake("argmin", r"γ|gamma|ρ|rho|swap|exchang|weights")
def values_with_swapped_weights():
    """BCD's a with γ and ρ exchanged."""
    def update(s, h, W, b, gamma, rho):
        return np.linalg.solve(gamma * W @ W.T + rho * np.eye(3), (gamma * (s - b) @ W.T + rho * h).T).T
    return ml.Argmin(lifted_a, update, "a", VALUES)


@mistake("argmin", r"in place|overwrit|writes|changes?|modif")
def values_written_into_h():
    """BCD's a, right, but written into h."""
    def update(s, h, W, b, gamma, rho):
        h[...] = np.linalg.solve(rho * W @ W.T + gamma * np.eye(3), (rho * (s - b) @ W.T + gamma * h).T).T
        return h
    return ml.Argmin(lifted_a, update, "a", VALUES)


@mistake("argmin", r"clip|dual|bound|box|constrain|C\b|\[0|coordinate|lower")
def svm_dual_cut_at_the_wrong_side():
    """A coordinate of the SVM's dual, cut to [0, ∞) instead of [0, C]."""
    def energy(alpha, q, p):
        return q * alpha * alpha / 2 - p * alpha if -1e-12 <= alpha <= 1 + 1e-12 else np.inf
    return ml.Argmin(energy, lambda q, p: float(np.maximum(p / q, 0)), "alpha",
                     lambda rng: {"alpha": 0.5, "q": float(rng.uniform(0.5, 2)), "p": float(rng.normal(1, 1))})


@mistake("argmin", r"mean|median|size|outlier|abs|between|lower")
def mean_for_a_median():
    """The mean in the place of the median for Σ|x − v|."""
    return ml.Argmin(lambda x, v: abs(v - x).sum(), lambda v: v.mean(), "x",
                     lambda rng: {"x": 0.0, "v": rng.normal(size=7)})


@mistake("argmin", r"weight|normalis|sum|factor|mean")
def weighted_mean_over_the_count():
    """A weighted mean divided by the count instead of by the sum of weights."""
    def draw(rng):
        return {"x": 0.0, "v": rng.normal(size=7), "w": rng.uniform(0.2, 3, 7)}
    return ml.Argmin(lambda x, v, w: (w * (v - x) ** 2).sum(), lambda v, w: (w * v).sum() / len(v), "x", draw)


@mistake("argmin", r"sign|ascen|uphill|exp")
def mirror_step_uphill():
    """Exponentiated gradient with the sign of ascent."""
    def energy(x, p, g):
        if (x <= 0).any() or abs(x.sum() - 1) > 1e-9:
            return np.inf
        return 0.5 * (g * x).sum() + (x * np.log(x / p)).sum()

    def draw(rng):
        p, x = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4))
        return {"x": x, "p": p, "g": rng.normal(size=4)}

    def update(p, g):
        x = p * np.exp(0.5 * g)
        return x / x.sum()
    return ml.Argmin(energy, update, "x", draw, project=lambda x: np.maximum(x, 1e-9) / np.maximum(x, 1e-9).sum())


@mistake("argmin", r"large|overflow|nan|NaN|inf|size")
def softplus_prox_that_overflows():
    """The minimiser of log Σ exp on a line by Newton's method, with exp written out, at large inputs."""
    def energy(t, c):
        return np.logaddexp.reduce(np.r_[c + t, -c - t])

    def update(c):
        shift = np.exp(c)
        return float(np.log((1 / shift).sum() / shift.sum()) / 2)
    return ml.Argmin(energy, update, "t", lambda rng: {"t": 0.0, "c": 400 * rng.normal(size=3)})


@mistake("argmin", r"centroid|mean|weight|factor|cluster|lower")
def centroids_over_all_samples():
    """K-means' centroids divided by all samples instead of those of the cluster."""
    def energy(c, x, s):
        return ((x - c[(s > 0).astype(int)]) ** 2).sum()

    def update(x, s):
        label = (s > 0).astype(int)
        return np.stack([x[label == k].sum(axis=0) / len(x) for k in range(2)])
    return ml.Argmin(energy, update, "c", drawn(c=(2, 3), x=(9, 3), s=(9,)))


@right("argmin")
def hard_threshold():
    """The prox of the number of entries, not convex and not continuous."""
    def energy(z, v, tau):
        return (z != 0).sum() + ((z - v) ** 2).sum() / (2 * tau)
    return ml.Argmin(energy, lambda v, tau: v * (v * v > 2 * tau), "z", drawn(z=(3, 4), v=(3, 4), tau=None))


@right("argmin")
def elastic_net():
    """The elastic net's prox."""
    return ml.Argmin(elastic, lambda v, tau, lam: shrunk(v, tau) / (1 + tau * lam), "z",
                     drawn(z=(2, 3), v=(2, 3), tau=None, lam=None))


@right("argmin")
def group_lasso():
    """The prox of row norms."""
    def update(v, tau):
        return v * np.maximum(1 - tau / np.linalg.norm(v, axis=1, keepdims=True), 0)
    return ml.Argmin(group, update, "z", drawn(z=(3, 4), v=(3, 4), tau=None))


@right("argmin")
def singular_values_shrunk():
    """The prox of the nuclear norm."""
    def energy(z, v, tau):
        return np.linalg.norm(z, "nuc") + ((z - v) ** 2).sum() / (2 * tau)

    def update(v, tau):
        u, s, vt = scipy.linalg.svd(v, full_matrices=False)
        return u * np.maximum(s - tau, 0) @ vt
    return ml.Argmin(energy, update, "z", drawn(z=(3, 4), v=(3, 4), tau=None))


@right("argmin")
def simplex_projection():
    """The projection onto the simplex."""
    return ml.Argmin(on_simplex, simplex, "x", drawn(x=(5,), v=(5,)), project=simplex)


@right("argmin")
def cone_projection():
    """The projection onto the semidefinite cone."""
    def energy(x, v):
        inside = np.linalg.eigvalsh(sym(x)).min() > -1e-9 and abs(x - x.T).max() < 1e-9
        return ((x - v) ** 2).sum() if inside else np.inf
    return ml.Argmin(energy, psd, "x", drawn(x=(3, 3), v=(3, 3)), project=psd)


@right("argmin")
def rising_sequence():
    """The nearest rising sequence, by pooling neighbours."""
    def pooled(v):
        blocks = []
        for value in v:
            blocks.append([value, 1])
            while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
                mean, n = blocks.pop()
                blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * n) / (blocks[-1][1] + n), blocks[-1][1] + n]
        return np.concatenate([np.full(n, mean) for mean, n in blocks])

    def energy(x, v):
        return ((x - v) ** 2).sum() if (np.diff(x) >= -1e-9).all() else np.inf
    return ml.Argmin(energy, pooled, "x", drawn(x=(6,), v=(6,)), project=pooled)


@right("argmin")
def median():
    """A median of an even number of values: a whole interval of minimisers."""
    return ml.Argmin(lambda x, v: abs(v - x).sum(), lambda v: float(np.median(v)), "x",
                     lambda rng: {"x": 0.0, "v": rng.normal(size=6)})


@right("argmin")
def lower_median():
    """The lower one of two medians: at an end of the interval of minimisers."""
    return ml.Argmin(lambda x, v: abs(v - x).sum(), lambda v: np.sort(v)[2], "x",
                     lambda rng: {"x": 0.0, "v": rng.normal(size=6)})


@right("argmin")
def barrier():
    """The prox of −τ log x, on an open domain."""
    def energy(x, v, tau):
        return ((x - v) ** 2).sum() / 2 - tau * np.log(x).sum() if (x > 0).all() else np.inf
    return ml.Argmin(energy, lambda v, tau: (v + np.sqrt(v * v + 4 * tau)) / 2, "x",
                     lambda rng: {"x": rng.uniform(0.5, 2, 4), "v": rng.normal(size=4), "tau": np.float64(0.7)})


@right("argmin")
def barrier_with_nan_outside():
    """The same with NaN outside of the domain, and warnings from the logarithm."""
    def energy(x, v, tau):
        return ((x - v) ** 2).sum() / 2 - tau * np.log(x).sum()
    return ml.Argmin(energy, lambda v, tau: (v + np.sqrt(v * v + 4 * tau)) / 2, "x",
                     lambda rng: {"x": rng.uniform(0.5, 2, 4), "v": rng.normal(size=4), "tau": 0.7})


@right("argmin")
def entropy_prox_by_lambert():
    """The prox of x log x by Lambert's function of SciPy."""
    def energy(x, v):
        return scipy.special.xlogy(x, x).sum() + ((x - v) ** 2).sum() / 2 if (x >= 0).all() else np.inf
    return ml.Argmin(energy, lambda v: scipy.special.lambertw(np.exp(v - 1)).real, "x",
                     lambda rng: {"x": rng.uniform(0.1, 1, 4), "v": rng.normal(size=4)})


@right("argmin")
def rotation_of_procrustes():
    """The best rotation, without reflections, by the singular values."""
    def nearest(m):
        u, _, vt = np.linalg.svd(m)
        return u * np.r_[1, 1, np.linalg.det(u @ vt)] @ vt
    return ml.Argmin(lambda Q, A, B: ((A @ Q - B) ** 2).sum(), lambda A, B: nearest(A.T @ B), "Q",
                     drawn(Q=(3, 3), A=(5, 3), B=(5, 3)), project=nearest)


@right("argmin")
def rank_one():
    """The nearest matrix of rank one, a set that is not convex."""
    def cut(m):
        u, s, vt = np.linalg.svd(m, full_matrices=False)
        return s[0] * np.outer(u[:, 0], vt[0])
    return ml.Argmin(lambda x, v: ((x - v) ** 2).sum(), lambda v: cut(v), "x", drawn(x=(3, 4), v=(3, 4)), project=cut)


@right("argmin")
def lasso_by_scipy():
    """The lasso by its dual, a box-constrained least squares of SciPy: |Aᵀ(y − Ax)| ≤ 0.3."""
    def energy(x, A, y):
        return ((A @ x - y) ** 2).sum() / 2 + 0.3 * abs(x).sum()

    def update(A, y):
        inverse = np.linalg.inv(A.T @ A)
        root = np.linalg.cholesky(inverse).T
        w = scipy.optimize.lsq_linear(root, root @ (A.T @ y), (-0.3, 0.3), method="bvls").x
        return inverse @ (A.T @ y - w)
    return ml.Argmin(energy, update, "x", drawn(x=(3,), A=(8, 3), y=(8,)))


@right("argmin")
def total_variation_of_three():
    """The prox of total variation by its dual, a box-constrained least squares of SciPy."""
    D = np.diff(np.eye(4), axis=0)

    def energy(x, v):
        return 0.4 * abs(D @ x).sum() + ((x - v) ** 2).sum() / 2
    return ml.Argmin(energy, lambda v: v - D.T @ scipy.optimize.lsq_linear(D.T, v, (-0.4, 0.4), method="bvls").x, "x",
                     drawn(x=(4,), v=(4,)))


@right("argmin")
def relu_block():
    """BCD's z of a ReLU: not convex, the better of two branches."""
    def update(a, q, gamma, rho):
        up, low = np.maximum((gamma * a + rho * q) / (gamma + rho), 0), np.minimum(q, 0)
        better = lifted_cost(up, a, q, gamma, rho) <= lifted_cost(low, a, q, gamma, rho)
        return np.where(better, up, low)
    return ml.Argmin(lifted_z, update, "z", LIFTED)


@right("argmin")
def least_norm_solution():
    """Least squares with more unknowns than equations: one of many minimisers."""
    return ml.Argmin(lambda x, A, y: ((A @ x - y) ** 2).sum(), lambda A, y: np.linalg.pinv(A) @ y, "x",
                     drawn(x=(6,), A=(3, 6), y=(3,)))


@right("argmin")
def on_a_plane():
    """The projection onto a plane, an affine set."""
    def plane(v, n):
        return v - n * ((n @ v - 1) / (n @ n))
    n = np.array([1.0, 2.0, -1.0])
    return ml.Argmin(lambda x, v: ((x - v) ** 2).sum(), lambda v: plane(v, n), "x", drawn(x=(3,), v=(3,)),
                     project=lambda x: plane(x, n))


@right("argmin")
def local_minimiser_of_a_double_well():
    """Newton's method into the nearer of two wells, claimed to be local."""
    def update(x):
        x = x.copy()
        for _ in range(60):
            x = x - (x**3 - x) / np.maximum(3 * x * x - 1, 0.5)
        return x
    return ml.Argmin(lambda x: ((x * x - 1) ** 2).sum(), update, "x",
                     lambda rng: {"x": np.sign(rng.normal(size=3)) * rng.uniform(0.7, 1.5, 3)}, local=True)


@right("argmin")
def in_single_precision():
    """Ridge regression in float32, with a tolerance that says so."""
    def draw(rng):
        return {name: value.astype(np.float32) if isinstance(value, np.ndarray) else np.float32(value)
                for name, value in RIDGE(rng).items()}
    return ml.Argmin(ridge_energy, lambda a, y, lam: np.linalg.solve(a.T @ a + lam * np.eye(3, dtype=np.float32),
                                                                     a.T @ y), "W", draw, tolerance=1e-4)


# ---- gradients


def spd(rng, n=3):
    """Return a positive definite matrix."""
    root = rng.normal(size=(n, n + 2))
    return root @ root.T


@mistake("gradient", r"transpos|symmetr")
def log_determinant_not_transposed():
    """The gradient of log det A as A⁻¹ instead of A⁻ᵀ."""
    return ml.Gradient(lambda A: np.linalg.slogdet(A)[1], lambda A: np.linalg.inv(A), "A",
                       lambda rng: {"A": rng.normal(size=(3, 3)) + 3 * np.eye(3)})


@mistake("gradient", r"symmetr|transpos|2A|A \+ A")
def quadratic_form_as_if_symmetric():
    """The gradient of xᵀAx as 2Ax for A that is not symmetric."""
    return ml.Gradient(lambda x, A: x @ A @ x, lambda x, A: 2 * A @ x, "x", drawn(x=(4,), A=(4, 4)))


@mistake("gradient", r"transpos|order")
def trace_transposed():
    """The gradient of tr(AXB) in X as BA instead of its transpose."""
    return ml.Gradient(lambda X, A, B: np.trace(A @ X @ B), lambda A, B: B @ A, "X",
                       drawn(X=(3, 3), A=(3, 3), B=(3, 3)))


@mistake("gradient", r"square|norm|scale|length|factor|multiple|unit")
def norm_taken_for_its_square():
    """The gradient of ‖x‖ as x."""
    return ml.Gradient(lambda x: np.linalg.norm(x), lambda x: 1.0 * x, "x", drawn(x=(5,)))


@mistake("gradient", r"N\b|mean|batch|samples|factor|times")
def mean_loss_with_a_summed_gradient():
    """Softmax regression of a mean, with the gradient of the sum."""
    def energy(W, a, t):
        z = a @ W
        return (scipy.special.logsumexp(z, axis=1) - (t * z).sum(axis=1)).mean()
    return ml.Gradient(energy, lambda W, a, t: a.T @ (scipy.special.softmax(a @ W, axis=1) - t), "W",
                       lambda rng: {"W": rng.normal(size=(3, 4)), "a": rng.normal(size=(6, 3)),
                                    "t": np.eye(4)[rng.integers(0, 4, 6)]})


@mistake("gradient", r"factor|2|half|twice|pair")
def distances_counted_once():
    """The gradient of the sum of all squared distances, of which each pair counts twice."""
    def energy(x):
        return ((x[:, None] - x[None]) ** 2).sum()
    return ml.Gradient(energy, lambda x: 2 * (x[:, None] - x[None]).sum(axis=1), "x", drawn(x=(4, 2)))


@mistake("gradient", r"time|step|truncat|later|recurr|through|missing|term")
def recurrence_truncated():
    """A recurrent net's gradient in W that stops at the last step's input."""
    def run(W, x):
        h = [np.zeros(len(W))]
        for row in x:
            h.append(np.tanh(W @ h[-1] + row))
        return h

    def truncated(W, x):
        h = run(W, x)
        return np.outer((1 - h[-1] ** 2) * h[-1], h[-2])
    return ml.Gradient(lambda W, x: (run(W, x)[-1] ** 2).sum() / 2, truncated, "W", drawn(W=(3, 3), x=(4, 3)))


@mistake("gradient", r"varian|deviation|constant|term|mean|missing|batch")
def batch_norm_with_constant_statistics():
    """The gradient through a batch norm whose mean and deviation are taken as constants."""
    def energy(z, c):
        return (c * (z - z.mean(axis=0)) / z.std(axis=0)).sum()
    return ml.Gradient(energy, lambda z, c: c / z.std(axis=0), "z", drawn(z=(6, 3), c=(6, 3)))


@mistake("gradient", r"½|half|factor|2|times")
def gaussian_likelihood_without_a_half():
    """The gradient of ½ log det K + ½ yᵀK⁻¹y whose first term lost its ½."""
    def energy(K, y):
        return np.linalg.slogdet(K)[1] / 2 + y @ np.linalg.solve(K, y) / 2

    def gradient_in_k(K, y):
        inverse = np.linalg.inv(K).T
        v, w = np.linalg.solve(K, y), np.linalg.solve(K.T, y)
        return inverse - np.outer(w, v) / 2
    return ml.Gradient(energy, gradient_in_k, "K", lambda rng: {"K": spd(rng) + rng.normal(size=(3, 3)) / 5,
                                                                "y": rng.normal(size=3)})


@mistake("gradient", r"mask|wrong|where|sign|negative|piece|entries|zero")
def penalty_of_the_wrong_mask():
    """The gradient of ½‖max(z, 0) − a‖² whose mask is that of a."""
    return ml.Gradient(lambda z, a: ((np.maximum(z, 0) - a) ** 2).sum() / 2,
                       lambda z, a: (a > 0) * (np.maximum(z, 0) - a), "z", drawn(z=(4, 3), a=(4, 3)))


@mistake("gradient", r"term|second|missing|chain|below|above|layer")
def value_gradient_of_one_error():
    """Predictive coding's ∂F/∂v_l with its own error alone, without the error above."""
    def energy(v, u, W, x):
        return ((v - np.tanh(u)) ** 2).sum() / 2 + ((x - v @ W) ** 2).sum() / 2
    return ml.Gradient(energy, lambda v, u, W, x: v - np.tanh(u), "v", drawn(v=(3, 4), u=(3, 4), W=(4, 2), x=(3, 2)))


@mistake("gradient", r"sign")
def kl_gradient_of_the_wrong_sign():
    """The gradient of KL(p ‖ softmax z) in z as p − softmax z."""
    def energy(z, p):
        return scipy.special.logsumexp(z) - (p * z).sum() - scipy.special.entr(p).sum()
    return ml.Gradient(energy, lambda z, p: p - scipy.special.softmax(z), "z",
                       lambda rng: {"z": rng.normal(size=5), "p": rng.dirichlet(np.ones(5))})


@mistake("gradient", r"large|overflow|nan|NaN|inf|size")
def logistic_gradient_that_overflows():
    """The gradient eᶻ/(1 + eᶻ) as it stands, at large inputs."""
    return ml.Gradient(lambda z: np.logaddexp(0, z).sum(), lambda z: np.exp(z) / (1 + np.exp(z)), "z",
                       lambda rng: {"z": 900 * rng.normal(size=6)})


@mistake("gradient", r"in place|overwrit|writes|changes?|modif")
def gradient_that_centres_its_argument():
    """A gradient of the variance that centres x in place."""
    def gradient_of_variance(x):
        x -= x.mean(axis=0)
        return 2 * x
    return ml.Gradient(lambda x: ((x - x.mean(axis=0)) ** 2).sum(), gradient_of_variance, "x", drawn(x=(5, 2)))


@mistake("gradient", r"diagonal|symmetr|factor|2|half|off")
def gradient_over_a_triangle():
    """The gradient of ‖L‖² for L from the lower triangle of x, filled in the upper one as well."""
    return ml.Gradient(lambda x: (np.tril(x) ** 2).sum(), lambda x: np.tril(x) + np.tril(x).T, "x", drawn(x=(3, 3)))


@mistake("gradient", r"multipl|\bu\b|ρ|rho|term|factor|missing")
def augmented_lagrangian_without_rho():
    """The gradient of an augmented Lagrangian whose quadratic term lost its ρ."""
    return ml.Gradient(admm_output, lambda z, q, u, a, rho: z - a + u + (z - q), "z", ADMM)


@right("gradient")
def log_determinant():
    """The gradient of log det A, transposed."""
    return ml.Gradient(lambda A: np.linalg.slogdet(A)[1], lambda A: np.linalg.inv(A).T, "A",
                       lambda rng: {"A": rng.normal(size=(3, 3)) + 3 * np.eye(3)})


@right("gradient")
def size_with_signs():
    """The gradient of Σ|x|, not smooth at 0."""
    return ml.Gradient(lambda x: abs(x).sum(), lambda x: np.sign(x), "x", drawn(x=(5,)))


@right("gradient")
def largest_eigenvalue():
    """The gradient of the largest eigenvalue of a symmetric part."""
    def gradient_of_eigenvalue(A):
        v = np.linalg.eigh(sym(A))[1][:, -1]
        return np.outer(v, v)
    return ml.Gradient(lambda A: np.linalg.eigvalsh(sym(A))[-1], gradient_of_eigenvalue, "A", drawn(A=(4, 4)))


@right("gradient")
def in_a_number():
    """The gradient in a number, of a NumPy scalar's type."""
    return ml.Gradient(lambda s, x: np.float64((np.exp(-s * x * x)).sum()),
                       lambda s, x: (-x * x * np.exp(-s * x * x)).sum(), "s", drawn(s=None, x=(5,)))


@right("gradient")
def likelihood_on_a_domain():
    """The gradient of a Gamma likelihood, defined for positive numbers only."""
    def energy(k, x):
        return (scipy.special.gammaln(k) - (k - 1) * np.log(x)).sum() if (k > 0).all() else np.inf
    return ml.Gradient(energy, lambda k, x: scipy.special.digamma(k) - np.log(x), "k",
                       lambda rng: {"k": rng.uniform(0.2, 3, 5), "x": rng.uniform(0.2, 3, 5)})


@right("gradient")
def distance_to_a_set():
    """The gradient of half the squared distance to the simplex, x minus the projection."""
    return ml.Gradient(lambda x: ((x - simplex(x)) ** 2).sum() / 2, lambda x: x - simplex(x), "x", drawn(x=(5,)))


@right("gradient")
def of_very_small_size():
    """A gradient of size 1e−9 beside an energy of size 1."""
    return ml.Gradient(lambda x: 1e-9 * (x**3).sum(), lambda x: 3e-9 * x * x, "x", drawn(x=(4,)))


# ---- formulas


WOODBURY = drawn(U=(5, 2), V=(2, 5), g=(5, 3), damping=None)


def dense_woodbury(U, V, g, damping):
    """Return (βI + UV)⁻¹g."""
    return np.linalg.solve(damping * np.eye(len(U)) + U @ V, g)


@mistake("equal", r"sign")
def woodbury_with_a_plus():
    """Woodbury's identity with + between its terms."""
    def quick(U, V, g, damping):
        small = damping * np.eye(len(V)) + V @ U
        return (g + U @ np.linalg.solve(small, V @ g)) / damping
    return ml.Equal(quick, dense_woodbury, WOODBURY)


@mistake("equal", r"damping|β|factor|scale")
def woodbury_damped_by_one():
    """Woodbury's identity whose small matrix is I + VU, right for β = 1 alone."""
    def quick(U, V, g, damping):
        return (g - U @ np.linalg.solve(np.eye(len(V)) + V @ U, V @ g)) / damping
    return ml.Equal(quick, dense_woodbury, WOODBURY)


@mistake("equal", r"1 \+|denominator|factor|scale|multiple")
def sherman_morrison_without_its_one():
    """Sherman and Morrison's formula with vᵀA⁻¹u for 1 + vᵀA⁻¹u."""
    def quick(A, u, v):
        inverse = np.linalg.inv(A)
        return inverse - np.outer(inverse @ u, v @ inverse) / (v @ inverse @ u)
    return ml.Equal(quick, lambda A, u, v: np.linalg.inv(A + np.outer(u, v)), drawn(A=(3, 3), u=(3,), v=(3,)))


@mistake("equal", r"order|swap|transpos|exchang|A and S|sides")
def kronecker_solve_with_swapped_factors():
    """K-FAC's (S ⊗ A)⁻¹ vec G as S⁻¹ G A⁻¹ for square G."""
    def draw(rng):
        return {"A": spd(rng), "S": spd(rng), "G": rng.normal(size=(3, 3))}
    return ml.Equal(lambda A, S, G: np.linalg.solve(S, G) @ np.linalg.inv(A),
                    lambda A, S, G: np.linalg.solve(np.kron(S, A), G.ravel("F")).reshape(3, 3, order="F"), draw)


@mistake("equal", r"damp|approximat|λ|lam|factored|exact|cross|term")
def kronecker_damped_by_factors():
    """K-FAC with the damping (A + √λ I)(S + √λ I), held against A ⊗ S + λI."""
    def draw(rng):
        return {"A": spd(rng), "S": spd(rng, 2), "G": rng.normal(size=(3, 2)), "lam": 0.3}

    def quick(A, S, G, lam):
        return np.linalg.solve(A + lam**0.5 * np.eye(3), G) @ np.linalg.inv(S + lam**0.5 * np.eye(2))

    def dense(A, S, G, lam):
        return np.linalg.solve(np.kron(A, S) + lam * np.eye(6), G.ravel()).reshape(3, 2)
    return ml.Equal(quick, dense, draw)


@mistake("equal", r"order|row|column|Fortran|vec|transpos|permut|layout")
def vec_by_rows():
    """The vec identity (Bᵀ ⊗ A) vec X with vec by rows."""
    return ml.Equal(lambda A, X, B: np.kron(B.T, A) @ X.ravel(), lambda A, X, B: (A @ X @ B).ravel(),
                    drawn(A=(3, 3), X=(3, 3), B=(3, 3)))


@mistake("equal", r"factor|2|half|twice|diagonal")
def log_determinant_of_half():
    """The log determinant as the sum of log diagonals of Cholesky's factor, not doubled."""
    return ml.Equal(lambda K: np.log(np.diag(np.linalg.cholesky(K))).sum(), lambda K: np.linalg.slogdet(K)[1],
                    lambda rng: {"K": spd(rng)})


@mistake("equal", r"transpos|triang|upper|lower")
def cholesky_solve_without_a_transpose():
    """L⁻¹L⁻¹b in the place of L⁻ᵀL⁻¹b."""
    def quick(K, b):
        L = np.linalg.cholesky(K)
        return scipy.linalg.solve_triangular(L, scipy.linalg.solve_triangular(L, b, lower=True), lower=True)
    return ml.Equal(quick, lambda K, b: np.linalg.solve(K, b), lambda rng: {"K": spd(rng), "b": rng.normal(size=3)})


@mistake("equal", r"sign")
def schur_complement_with_a_plus():
    """The upper left block of an inverse by the Schur complement A + B D⁻¹ C."""
    def dense(A, B, C, D):
        return np.linalg.inv(np.block([[A, B], [C, D]]))[:2, :2]
    return ml.Equal(lambda A, B, C, D: np.linalg.inv(A + B @ np.linalg.solve(D, C)), dense,
                    drawn(A=(2, 2), B=(2, 3), C=(3, 2), D=(3, 3)))


@mistake("equal", r"circular|wrap|pad|edge|border|end|first|entries|boundar")
def convolution_by_a_short_transform():
    """A linear convolution by Fourier transforms that are not padded."""
    def quick(x, w):
        n = len(x)
        return np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(w, n), n)
    return ml.Equal(quick, lambda x, w: np.convolve(x, w)[:len(x)], drawn(x=(8,), w=(3,)))


@mistake("equal", r"ddof|N − 1|N - 1|unbiased|factor|n/\(n|scale|multiple|times")
def variance_of_the_other_kind():
    """A variance over N − 1 against one over N."""
    return ml.Equal(lambda x: x.var(axis=0, ddof=1), lambda x: ((x - x.mean(axis=0)) ** 2).mean(axis=0),
                    drawn(x=(6, 3)))


@mistake("equal", r"large|overflow|inf|nan|NaN|size")
def log_sum_exp_written_out():
    """The log of a sum of exponentials as it stands, at large inputs."""
    return ml.Equal(lambda z: np.log(np.exp(z).sum()), lambda z: scipy.special.logsumexp(z),
                    lambda rng: {"z": 500 * rng.normal(size=6)})


@mistake("equal", r"cancel|precision|round|digits|large|size")
def variance_by_moments():
    """A variance as the mean square less the squared mean, of numbers near a million."""
    return ml.Equal(lambda x: (x * x).mean() - x.mean() ** 2, lambda x: np.var(x),
                    lambda rng: {"x": 1e6 + rng.normal(size=20)})


@mistake("equal", r"leverage|1 −|1 - h|factor|diagonal|hat|denominator|each|scale")
def left_out_residuals_without_leverage():
    """Leave-one-out residuals as the plain ones."""
    def dense(A, y):
        keep = ~np.eye(len(A), dtype=bool)
        return np.array([y[i] - A[i] @ np.linalg.lstsq(A[k], y[k], rcond=None)[0] for i, k in enumerate(keep)])
    return ml.Equal(lambda A, y: y - A @ np.linalg.lstsq(A, y, rcond=None)[0], dense, drawn(A=(7, 2), y=(7,)))


@mistake("equal", r"approximat|converg|terms?|truncat|series|close|more")
def neumann_series_cut():
    """An inverse by six terms of Neumann's series."""
    return ml.Equal(lambda A: sum(np.linalg.matrix_power(A / 10, k) for k in range(6)),
                    lambda A: np.linalg.inv(np.eye(3) - A / 10), drawn(A=(3, 3)))


@mistake("equal", r"converg|iterations?|approximat|close|lower|below|precision")
def spectral_norm_by_five_steps():
    """A spectral norm by five steps of the power method."""
    def power(A):
        v = np.ones(A.shape[1])
        for _ in range(5):
            v = A.T @ (A @ v)
            v /= np.linalg.norm(v)
        return np.linalg.norm(A @ v)
    return ml.Equal(power, lambda A: np.linalg.norm(A, 2), drawn(A=(4, 3)))


@mistake("equal", r"random|stochastic|noise|function of its arguments|same arguments|state|twice|differ")
def trace_by_random_signs():
    """A trace by Hutchinson's estimator with five random vectors."""
    rng = np.random.default_rng(0)

    def estimate(A):
        s = np.sign(rng.normal(size=(5, len(A))))
        return np.einsum("ki,ij,kj->", s, A, s) / 5
    return ml.Equal(estimate, lambda A: np.trace(A), drawn(A=(4, 4)))


@mistake("equal", r"bias|ones|cent|mean")
def gram_of_samples_without_ones():
    """The matrix ÃÃᵀ without 11ᵀ, with the usual names and draws."""
    return ml.Equal(lambda a: a @ a.T, lambda a: np.c_[a, np.ones(len(a))] @ np.c_[a, np.ones(len(a))].T)


@mistake("equal", r"\b(1|one) (sample|row)|single|N = 1|rows|nan|NaN")
def standardised_by_n_minus_one():
    """Rows standardised by a deviation over N − 1, which is not a number for one row, otherwise rescaled rightly."""
    def quick(x):
        n = len(x)
        return (x - x.mean(axis=0)) / (x.std(axis=0, ddof=1) * np.sqrt((n - 1) / n) + 1)
    return ml.Equal(quick, lambda x: (x - x.mean(axis=0)) / (x.std(axis=0) + 1),
                    lambda rng: {"x": rng.normal(size=(int(rng.integers(1, 4)), 2))})


@mistake("equal", r"dual|samples|push|transpos|order|side")
def push_through_on_the_wrong_side():
    """The identity (AᵀA + I)⁻¹Aᵀ = Aᵀ(AAᵀ + I)⁻¹ with AᵀA on both sides, for a square A."""
    return ml.Equal(lambda A: A.T @ np.linalg.inv(A.T @ A + np.eye(3)),
                    lambda A: np.linalg.solve(A.T @ A + np.eye(3), A.T), drawn(A=(3, 3)))


@mistake("equal", r"weight|1 −|decay|rate|old|new|swap|exchang")
def running_mean_with_swapped_weights():
    """A running average with the weights of old and new exchanged."""
    return ml.Equal(lambda old, new: 0.9 * new + 0.1 * old, lambda old, new: 0.9 * old + 0.1 * new,
                    drawn(old=(3,), new=(3,)))


@right("equal")
def woodbury():
    """Woodbury's identity."""
    def quick(U, V, g, damping):
        return (g - U @ np.linalg.solve(damping * np.eye(len(V)) + V @ U, V @ g)) / damping
    return ml.Equal(quick, dense_woodbury, WOODBURY)


@right("equal")
def kronecker_solve():
    """K-FAC's solve by eigenvectors, with exact damping."""
    def quick(A, S, G, lam):
        (a, left), (s, right_) = np.linalg.eigh(A), np.linalg.eigh(S)
        return left @ ((left.T @ G @ right_) / (np.outer(a, s) + lam)) @ right_.T

    def dense(A, S, G, lam):
        return np.linalg.solve(np.kron(A, S) + lam * np.eye(6), G.ravel()).reshape(3, 2)
    return ml.Equal(quick, dense, lambda rng: {"A": spd(rng), "S": spd(rng, 2), "G": rng.normal(size=(3, 2)),
                                               "lam": 0.3})


@right("equal")
def lists_of_factors():
    """A list of arrays of several shapes: the factors of a QR decomposition, by two routes."""
    def by_cholesky(A):
        R = np.linalg.cholesky(A.T @ A).T
        return [A @ np.linalg.inv(R), R]

    def by_reflections(A):
        Q, R = np.linalg.qr(A)
        signs = np.sign(np.diag(R))
        return [Q * signs, signs[:, None] * R]
    return ml.Equal(by_cholesky, by_reflections, drawn(A=(5, 3)))


@right("equal")
def left_out_residuals():
    """Leave-one-out residuals by leverages."""
    def quick(A, y):
        hat = A @ np.linalg.pinv(A)
        return (y - hat @ y) / (1 - np.diag(hat))

    def dense(A, y):
        keep = ~np.eye(len(A), dtype=bool)
        return np.array([y[i] - A[i] @ np.linalg.lstsq(A[k], y[k], rcond=None)[0] for i, k in enumerate(keep)])
    return ml.Equal(quick, dense, drawn(A=(7, 2), y=(7,)))


@right("equal")
def counts_of_whole_numbers():
    """A formula of whole numbers: triangles of a graph by a trace."""
    def draw(rng):
        edges = np.triu(rng.integers(0, 2, (6, 6)), 1)
        return {"A": edges + edges.T}

    def counted(A):
        n = len(A)
        return sum(A[i, j] * A[j, k] * A[i, k] for i in range(n) for j in range(i) for k in range(j))
    return ml.Equal(lambda A: np.trace(A @ A @ A) // 6, counted, draw)


@right("equal")
def infinite_values():
    """A formula whose values may be infinite: the log of a sum with −inf among its terms."""
    def draw(rng):
        z = rng.normal(size=5)
        z[rng.integers(0, 5)] = -np.inf
        return {"z": z}
    return ml.Equal(lambda z: np.logaddexp.reduce(z), lambda z: scipy.special.logsumexp(z), draw)


@right("equal")
def complex_by_real():
    """A circular convolution by complex transforms against sums."""
    def sums(x, w):
        n = len(x)
        return np.array([sum(x[j] * w[(i - j) % n] for j in range(n)) for i in range(n)])
    return ml.Equal(lambda x, w: np.fft.ifft(np.fft.fft(x) * np.fft.fft(w)).real, sums, drawn(x=(6,), w=(6,)))


@right("equal")
def in_single_with_its_tolerance():
    """A product in float32, with a tolerance that says so."""
    return ml.Equal(lambda a, W: (a.astype(np.float32) @ W.astype(np.float32)).astype(float), lambda a, W: a @ W,
                    drawn(a=(4, 3), W=(3, 2)), tolerance=1e-5)


# ---- sequences


QUADRATIC = drawn(x=(3,), A=(6, 3), y=(6,))


def least_squares(x, A, y):
    """Return ½‖Ax − y‖²."""
    return ((A @ x - y) ** 2).sum() / 2


@mistake("decreases", r"too long|step|raise|rises|increas|2/L|Lipschitz|E\(x⁺\)")
def gradient_steps_that_are_too_long():
    """Gradient steps of 2.5/L."""
    def sweep(x, A, y):
        return {"x": x - 2.5 / np.linalg.norm(A, 2) ** 2 * A.T @ (A @ x - y)}
    return ml.Decreases(least_squares, sweep, QUADRATIC)


@mistake("decreases", r"sign|uphill|raise|rises|increas")
def gradient_steps_uphill():
    """Short gradient steps of the wrong sign."""
    return ml.Decreases(least_squares, lambda x, A, y: {"x": x + 0.01 * A.T @ (A @ x - y)}, QUADRATIC)


@mistake("decreases", r"rest|stationary|moves? nothing|does nothing|unchanged|idle")
def sweep_that_rests_at_once():
    """A sweep that leaves everything as it is."""
    return ml.Decreases(least_squares, lambda x: {"x": x.copy()}, QUADRATIC)


def factors(u, v, x):
    """Return ½‖uvᵀ − x‖² + ½‖u‖² /10 + ½‖v‖²/10."""
    return ((u @ v.T - x) ** 2).sum() / 2 + ((u * u).sum() + (v * v).sum()) / 20


FACTORS = drawn(u=(4, 2), v=(3, 2), x=(4, 3))


def best_factor(v, x):
    """Return the best u for v."""
    return np.linalg.solve(v.T @ v + np.eye(2) / 10, v.T @ x.T).T


@mistake("decreases", r"rest|stationary|block|\bv\b|never|moves?")
def alternation_that_forgets_v():
    """Alternating least squares that never visits v."""
    return ml.Decreases(factors, lambda u, v, x: {"u": best_factor(v, x)}, FACTORS)


@mistake("decreases", r"old|stale|Jacobi|simultan|order|raise|rises|increas|new")
def alternation_with_old_values():
    """Alternating least squares whose v sees the old u."""
    return ml.Decreases(factors, lambda u, v, x: {"u": best_factor(v, x), "v": best_factor(u, x.T)}, FACTORS)


@mistake("decreases", r"rest|stationary|regularis|decay|λ|pull|raise|rises|increas")
def alternation_without_its_ridge():
    """Alternating least squares without the ridge that its energy has."""
    def sweep(u, v, x):
        u = x @ np.linalg.pinv(v).T
        return {"u": u, "v": x.T @ np.linalg.pinv(u).T}
    return ml.Decreases(factors, sweep, FACTORS)


@mistake("decreases", r"in place|overwrit|writes|changes?|modif")
def sweep_in_place():
    """A gradient step that is written into x."""
    def sweep(x, A, y):
        x -= 0.5 / np.linalg.norm(A, 2) ** 2 * A.T @ (A @ x - y)
        return {"x": x}
    return ml.Decreases(least_squares, sweep, QUADRATIC)


def consensus(x, z, u, A, y):
    """Return ADMM's Lagrangian of ½‖Ax − y‖² + 0.3‖z‖₁ with x = z, with ρ = 1."""
    return least_squares(x, A, y) + 0.3 * abs(z).sum() + (u * (x - z)).sum() + ((x - z) ** 2).sum() / 2


LASSO = drawn(x=(3,), z=(3,), u=(3,), A=(6, 3), y=(6,))


def admm_sweep(x, z, u, A, y, rho=1.0, dual=1.0, seen=None):
    """Return the lasso's ADMM after one sweep."""
    x_new = np.linalg.solve(A.T @ A + rho * np.eye(3), A.T @ y + rho * z - u)
    z_new = shrunk((x if seen == "old" else x_new) + u / rho, 0.3 / rho)
    return {"x": x_new, "z": z_new, "u": u + dual * (x_new - z_new)}


@mistake("decreases", r"dual|multiplier|\bu\b|rest|stationary|constraint|x = z|missing")
def admm_for_the_lasso_without_a_dual_step():
    """ADMM for the lasso that never moves u, said not to descend."""
    return ml.Decreases(consensus, partial(admm_sweep, dual=0.0), LASSO, descends=False)


@mistake("decreases", r"dual|multiplier|\bu\b|sign|rest|stationary|diverg|constraint")
def admm_for_the_lasso_with_a_falling_multiplier():
    """ADMM for the lasso whose dual step has the wrong sign, said not to descend."""
    return ml.Decreases(consensus, partial(admm_sweep, dual=-0.5), LASSO, descends=False)


@mistake("decreases", r"threshold|λ|ρ|rho|rest|stationary|z\b|shr")
def admm_for_the_lasso_with_another_threshold():
    """ADMM for the lasso whose z is shrunk by 0.3 · ρ twice, to 0.6, said not to descend."""
    def sweep(x, z, u, A, y):
        new = admm_sweep(x, z, u, A, y)
        z_new = shrunk(new["x"] + u, 0.6)
        return {"x": new["x"], "z": z_new, "u": u + new["x"] - z_new}
    return ml.Decreases(consensus, sweep, LASSO, descends=False)


@mistake("decreases", r"rest|stationary|threshold|τ|tau|λ|step|raise|rises|increas|shr")
def ista_that_shrinks_by_lambda():
    """ISTA whose threshold is λ instead of τλ."""
    def energy(x, A, y):
        return least_squares(x, A, y) + 0.3 * abs(x).sum()

    def sweep(x, A, y):
        tau = 1 / np.linalg.norm(A, 2) ** 2
        return {"x": shrunk(x - tau * A.T @ (A @ x - y), 0.3)}
    return ml.Decreases(energy, sweep, QUADRATIC)


def nonnegative_factors(rng):
    """Return a draw for nonnegative factors."""
    return {"u": rng.uniform(0.1, 1, (4, 2)), "v": rng.uniform(0.1, 1, (3, 2)), "x": rng.uniform(0, 1, (4, 3))}


def reconstruction(u, v, x):
    """Return ‖uvᵀ − x‖² for factors that are not negative."""
    return ((u @ v.T - x) ** 2).sum() if (u >= 0).all() and (v >= 0).all() else np.inf


@mistake("decreases", r"raise|rises|increas|simultan|old|stale|revers|quotient|ratio|invers|exchang|upside")
def multiplicative_updates_upside_down():
    """Lee and Seung's updates with numerator and denominator exchanged."""
    return ml.Decreases(reconstruction, lambda u, v, x: {"u": u * (u @ v.T @ v) / (x @ v)}, nonnegative_factors)


def mixture(m, p, x):
    """Return the negative log likelihood of a mixture of two Gaussians of unit variance."""
    joint = np.log(np.r_[p, 1 - p])[:, None] - (x[None] - m[:, None]) ** 2 / 2
    return -np.logaddexp.reduce(joint, axis=0).sum()


def mixture_draw(rng):
    """Return a draw for a mixture."""
    return {"m": rng.normal(size=2), "p": float(rng.uniform(0.2, 0.8)), "x": rng.normal(size=12) + 3 * (
        rng.random(12) < 0.4)}


def responsibilities(m, p, x):
    """Return the share of the first Gaussian in each sample."""
    joint = np.log(np.r_[p, 1 - p])[:, None] - (x[None] - m[:, None]) ** 2 / 2
    return scipy.special.softmax(joint, axis=0)


@mistake("decreases", r"rest|stationary|raise|rises|increas|weight|divis|normalis|mean|\bm\b|count")
def em_divided_by_all_samples():
    """EM whose means are divided by N/2 instead of by the responsibilities' sum."""
    def sweep(m, p, x):
        r = responsibilities(m, p, x)
        return {"m": (r * x).sum(axis=1) / (len(x) / 2), "p": float(r[0].mean())}
    return ml.Decreases(mixture, sweep, mixture_draw)


@mistake("decreases", r"rest|stationary|\bp\b|never|visit|block|fixed")
def em_of_fixed_shares():
    """EM that leaves the shares as they are."""
    def sweep(m, p, x):
        r = responsibilities(m, p, x)
        return {"m": (r * x).sum(axis=1) / r.sum(axis=1)}
    return ml.Decreases(mixture, sweep, mixture_draw)


@mistake("decreases", r"too long|step|raise|rises|increas|line|overshoot|Newton")
def newton_without_a_line_search():
    """Newton's method on Σ√(1 + x²), which overshoots far from 0."""
    return ml.Decreases(lambda x: np.sqrt(1 + x * x).sum(), lambda x: {"x": -(x**3)}, drawn(x=(4,)))


@mistake("decreases", r"too long|step|raise|rises|increas|line|2/\(k")
def frank_wolfe_with_full_steps():
    """Frank and Wolfe's method on the simplex that jumps to the corner."""
    def sweep(x, v):
        corner = np.zeros_like(x)
        corner[np.argmin(x - v)] = 1
        return {"x": corner}
    return ml.Decreases(on_simplex, sweep, lambda rng: {"x": rng.dirichlet(np.ones(5)), "v": rng.normal(size=5)})


@mistake("decreases", r"random|function of its arguments|state|remember|momentum|keeps|hidden|same arguments")
def momentum_behind_the_scenes():
    """Gradient steps with a velocity that the sweep keeps to itself."""
    kept = {"velocity": 0.0}

    def sweep(x, A, y):
        kept["velocity"] = 0.5 * kept["velocity"] - 0.1 / np.linalg.norm(A, 2) ** 2 * A.T @ (A @ x - y)
        return {"x": x + kept["velocity"]}
    return ml.Decreases(least_squares, sweep, QUADRATIC)


@right("decreases")
def gradient_steps():
    """Gradient steps of 1/L."""
    return ml.Decreases(least_squares, lambda x, A, y: {
        "x": x - 1 / np.linalg.norm(A, 2) ** 2 * A.T @ (A @ x - y)}, QUADRATIC)


@right("decreases")
def gradient_steps_of_nearly_two():
    """Gradient steps of 1.9/L, which oscillate and descend."""
    return ml.Decreases(least_squares, lambda x, A, y: {
        "x": x - 1.9 / np.linalg.norm(A, 2) ** 2 * A.T @ (A @ x - y)}, QUADRATIC)


@right("decreases")
def alternating_least_squares():
    """Alternating least squares."""
    def sweep(u, v, x):
        u = best_factor(v, x)
        return {"u": u, "v": best_factor(u, x.T)}
    return ml.Decreases(factors, sweep, FACTORS)


@right("decreases")
def admm_for_the_lasso():
    """ADMM for the lasso, said not to descend."""
    return ml.Decreases(consensus, admm_sweep, LASSO, descends=False)


@right("decreases")
def accelerated_gradient():
    """Nesterov's method with its velocity as a variable, said not to descend."""
    def energy(x, w, A, y):
        return least_squares(x, A, y) + ((x - w) ** 2).sum()

    def sweep(x, w, A, y):
        v = x + 0.8 * (x - w)
        return {"x": v - 0.5 / np.linalg.norm(A, 2) ** 2 * A.T @ (A @ v - y), "w": x}
    return ml.Decreases(energy, sweep, drawn(x=(3,), w=(3,), A=(6, 3), y=(6,)), descends=False)


@right("decreases")
def multiplicative_updates():
    """Lee and Seung's updates of nonnegative factors."""
    def sweep(u, v, x):
        u = u * (x @ v) / (u @ v.T @ v)
        return {"u": u, "v": v * (x.T @ u) / (v @ u.T @ u)}
    return ml.Decreases(reconstruction, sweep, nonnegative_factors)


@right("decreases")
def expectation_maximisation():
    """EM for a mixture."""
    def sweep(m, p, x):
        r = responsibilities(m, p, x)
        return {"m": (r * x).sum(axis=1) / r.sum(axis=1), "p": float(r[0].mean())}
    return ml.Decreases(mixture, sweep, mixture_draw)


@right("decreases")
def k_means():
    """K-means with its centroids as the only variables, an energy with kinks; empty clusters stay."""
    def energy(c, x):
        return ((x[:, None] - c[None]) ** 2).sum(axis=2).min(axis=1).sum()

    def sweep(c, x):
        label = ((x[:, None] - c[None]) ** 2).sum(axis=2).argmin(axis=1)
        return {"c": np.stack([x[label == k].mean(axis=0) if (label == k).any() else c[k] for k in range(len(c))])}
    return ml.Decreases(energy, sweep, drawn(c=(2, 2), x=(9, 2)))


@right("decreases")
def weighted_least_squares_again_and_again():
    """Iteratively reweighted least squares for Σ√(r² + 0.1)."""
    def energy(x, A, y):
        return np.sqrt((A @ x - y) ** 2 + 0.1).sum()

    def sweep(x, A, y):
        w = 1 / np.sqrt((A @ x - y) ** 2 + 0.1)
        return {"x": np.linalg.solve(A.T @ (A * w[:, None]), A.T @ (w * y))}
    return ml.Decreases(energy, sweep, QUADRATIC)


@right("decreases")
def proximal_gradient():
    """ISTA, with an energy that is not smooth."""
    def energy(x, A, y):
        return least_squares(x, A, y) + 0.3 * abs(x).sum()

    def sweep(x, A, y):
        tau = 1 / np.linalg.norm(A, 2) ** 2
        return {"x": shrunk(x - tau * A.T @ (A @ x - y), 0.3 * tau)}
    return ml.Decreases(energy, sweep, QUADRATIC)


@right("decreases")
def projected_gradient():
    """Projected gradient steps on the simplex."""
    return ml.Decreases(on_simplex, lambda x, v: {"x": simplex(x - 0.5 * (x - v))},
                        lambda rng: {"x": rng.dirichlet(np.ones(5)), "v": rng.normal(size=5)})


@right("decreases")
def one_block_of_data():
    """A sweep that solves its only block at once and then rests."""
    return ml.Decreases(least_squares, lambda A, y: {"x": np.linalg.lstsq(A, y, rcond=None)[0]}, QUADRATIC)


@right("decreases")
def blocks_by_name_with_integers():
    """Coordinate descent through a list of arrays, two blocks of several sizes."""
    def energy(x, w, A, B, y):
        return ((A @ x + B @ w - y) ** 2).sum() / 2

    def sweep(x, w, A, B, y):
        x = np.linalg.lstsq(A, y - B @ w, rcond=None)[0]
        return {"x": x, "w": np.linalg.lstsq(B, y - A @ x, rcond=None)[0]}
    return ml.Decreases(energy, sweep, drawn(x=(2,), w=(3,), A=(8, 2), B=(8, 3), y=(8,)))


# ---- some more of each kind


@mistake("method", r"relu|ReLU|mask|σ'|derivative|transfer|slope|some (networks|problems)|tanh")
def proxprop_masked_as_for_a_relu():
    """ProxProp that masks ∂J/∂a by z > 0 on all hidden maps, right for ReLUs alone."""
    def propose(block):
        if block.last:
            return ridge(block, 2.0)
        return ridge(block, 2.0, g=block.phi.columns(block.g_a) * (block.phi.columns(block.z) > 0))
    return propose, {"like": IMPLICIT}


@mistake("method", r"sum|reduction|weight|mean")
def foof_that_takes_every_loss_for_a_mean():
    """FOOF that multiplies by N, whatever the loss's reduction, on a network whose loss is a sum."""
    def propose(block):
        N = len(block.a)
        return ridge(block, 0.1 * N, g=signals(block) * N)
    net = ml.mlp([4, 5, 2], activation="tanh", loss=ml.SquaredError("sum"), dtype=np.float64)
    return propose, {"net": net, "like": ml.FOOF(0.1)}


@mistake("method", r"batch norm|scale|shift")
def norm_left_alone():
    """ProxProp that takes no step in the scale and shift of a batch norm."""
    class Still(ml.ProxProp):
        def explicit_step(self, block):
            return 0 * block.gradient
    net = ml.Network([ml.Linear(4, 5), ml.BatchNorm(5), ml.ReLU(), ml.Linear(5, 3)], dtype=np.float64)
    return Still(0.5), {"net": net}


@mistake("method", r"wide|large|size|beyond|\b40\b|diagonal|width|Gram")
def proxprop_by_its_diagonal_where_wide():
    """ProxProp that takes the Gram matrix's diagonal for maps with more than 40 inputs."""
    def propose(block):
        A = tilde(block)
        if A.shape[1] <= 41:
            return ridge(block, 2.0)
        return (gradient(block) / ((A * A).sum(axis=0) + 2)[:, None]).astype(block.theta.dtype)
    return propose, {"like": IMPLICIT}


@mistake("method", r"samples|large|batch|size|beyond|\b32\b|rows")
def proxprop_of_at_most_32_samples():
    """ProxProp whose Gram matrix takes the first 32 samples, rescaled."""
    def propose(block):
        A = tilde(block)
        few = A[:32]
        M = len(A) / len(few) * few.T @ few + 2 * np.eye(A.shape[1])
        return np.linalg.solve(M, gradient(block)).astype(block.theta.dtype)
    return propose, {"like": IMPLICIT}


@mistake("method", r"random|stochastic|same steps|function of|twice|repeat|generator")
def proxprop_of_a_random_sketch():
    """ProxProp with a Gram matrix from random combinations of samples, anew each time."""
    rng = np.random.default_rng(0)

    def propose(block):
        A = tilde(block)
        S = rng.normal(size=(4 * len(A), len(A))) / (4 * len(A)) ** 0.5
        M = (S @ A).T @ (S @ A) + 2 * np.eye(A.shape[1])
        return np.linalg.solve(M, gradient(block)).astype(block.theta.dtype)
    return propose, {"like": IMPLICIT}


@mistake("method", r"in place|overwrit|writes|changes?|block\.a|modif|activation")
def inputs_centred_in_place():
    """BackProp that centres the map's input for itself and leaves it so, right on its own map."""
    def propose(block):
        d = gradient(block)
        a = block.a
        a -= a.mean(axis=0)
        return d
    return propose, {"like": ml.BackProp()}


@mistake("method", r"float32|single|precision|round")
def proxprop_solved_in_single():
    """ProxProp that solves in float32 on a network in float64."""
    def propose(block):
        A = tilde(block).astype(np.float32)
        M = A.T @ A + 2 * np.eye(A.shape[1], dtype=np.float32)
        return np.linalg.solve(M, gradient(block).astype(np.float32)).astype(block.theta.dtype)
    return propose, {"like": IMPLICIT}


@mistake("method", r"average|decay|warm|first|1 − 1/k|1 - 1/k|steps?|batch")
def foof_average_without_its_warm_start():
    """FOOF's running average with the full decay from the second batch on, instead of min(1 − 1/k, decay)."""
    class Cold(ml.FOOF):
        def average(self, name, factor):
            if name in self.factors:
                factor = (1 - self.decay) * factor + self.decay * self.factors[name]
            self.factors[name] = factor
            return factor
    return Cold(0.1, decay=0.9)


@mistake("method", r"average|decay|old|swap|exchang|weight|past")
def kfac_average_with_swapped_weights():
    """K-FAC's running average with the weights of old and new exchanged."""
    class Swapped(ml.KFAC):
        def average(self, name, factor):
            rate = min(1 - 1 / self.steps, self.decay)
            if name in self.factors:
                factor = rate * factor + (1 - rate) * self.factors[name]
            self.factors[name] = factor
            return factor
    return Swapped(0.1, fisher="empirical", decay=0.9)


@mistake("method", r"damp|λ|N\b|factor|mean")
def gauss_newton_damped_by_n():
    """Gauss and Newton's step whose damping is multiplied by the number of samples."""
    class Heavy(ml.GaussNewton):
        def directions(self, net, state, y):
            return ml.GaussNewton(self.damping * net.samples(state)).directions(net, state, y)
    return Heavy(0.1)


@right("method")
def backprop_by_dense_jacobians():
    """The gradient of a chain by the Jacobian of the outputs, column by column, in a method of its own."""
    class ByJacobians(ml.Method):
        def directions(self, net, state, y):
            D, g, steps = net.depth, net.loss_function.gradient(state.z[net.depth], y), []
            for l in range(1, D + 1):
                step = np.zeros_like(state.theta[l])
                for index in np.ndindex(step.shape):
                    tangent = np.zeros_like(step)
                    tangent[index] = 1
                    moved = net.phi[l].forward(tangent, state.a[l - 1])
                    for k in range(l, D):
                        moved = net.sigma[k].derivative(state.z[k]) * moved
                        moved = moved @ state.theta[k + 1][:-1]
                    step[index] = (g * moved).sum()
                steps.append(step)
            return steps
    return ByJacobians(), {"net": chain(), "like": ml.BackProp()}


@mistake("transfer", r"float32|overflow|large|inf|single")
def softplus_that_overflows_in_single():
    """Softplus with exp cut at 700, enough for float64 but not for float32."""
    def forward(z):
        return np.where(z > 700, z, np.log1p(np.exp(np.minimum(z, 700)))).astype(z.dtype)
    return own("Ramp", forward, expit)


class LayerNormOfAxisOne(LayerNorm):
    """Layer norm whose adjoint takes means over axis 1: of images, the rows of pixels."""

    def adjoint(self, z, a, aux, g):
        return aux * (g - g.mean(axis=1, keepdims=True) - a * (g * a).mean(axis=1, keepdims=True))


@mistake("transfer", r"images?|axis|pixel|4|channel")
def layer_norm_wrong_on_images():
    """Layer norm that is right for (N, n) and whose adjoint takes the wrong axis of images."""
    return LayerNormOfAxisOne()


class AlwaysDropping(Dropping):
    """Dropout in evaluation too."""

    rescale = 1.25

    def apply(self, z, training=False, rng=None):
        return super().apply(z, True, np.random.default_rng() if rng is None else rng)


@mistake("transfer", r"evaluation|random|training|function of its arguments|forward")
def dropout_in_evaluation():
    """Dropout that drops in evaluation too."""
    return AlwaysDropping()


@right("transfer")
def relu_with_half_a_slope_at_zero():
    """A ReLU with the slope ½ at 0."""
    return own("Rectifier", lambda z: np.maximum(z, 0), lambda z: np.heaviside(z, z.dtype.type(0.5)),
               range=(0.0, np.inf), closed=True, integral=lambda z: np.maximum(z, 0) ** 2 / 2)


@mistake("loss", r"overflow|large|inf|nan|NaN")
def cross_entropy_of_probabilities():
    """−y log s − (1 − y) log(1 − s) as it stands, at large outputs."""
    def value_per_sample(self, z, y):
        s = expit(z)
        return -(y * np.log(s) + (1 - y) * np.log(1 - s)).sum(axis=-1)
    return loss("WrittenOut", ml.SigmoidCrossEntropy, value_per_sample=value_per_sample)


@mistake("loss", r"label|target|class|offset|one|gradient")
def labels_counted_from_one():
    """A cross-entropy whose value takes label y − 1."""
    def value_per_sample(self, z, y):
        return self.transfer.integral(z) - z[np.arange(len(z)), y - 1]
    return loss("FromOne", ml.SoftmaxCrossEntropy, value_per_sample=value_per_sample)


@mistake("loss", r"scale|σ|sigma|factor|matching|variance|transfer|2|gradient|prox")
def squares_over_a_variance():
    """‖z − y‖²/2σ² with σ² = 2 in value and gradient, its inherited prox for σ = 1."""
    def gradient(self, z, y):
        return (z - y) / 2 * self.weight(len(z))
    return loss("Scaled", value_per_sample=lambda self, z, y: ((z - y) ** 2).sum(axis=-1) / 4, gradient=gradient)


class CircularExchanged(Circular):
    """The same with rows and columns exchanged on the way back."""

    def adjoint_input(self, theta, g):
        back = g @ theta[:-1].T
        return sum(np.roll(back[..., k], (-j, -i), axis=(1, 2)) for k, (i, j) in enumerate(self.shifts))[..., None]


@mistake("map", r"rows and columns|exchang|transpos|swap|adjoint in a|shift|order")
def shifts_exchanged_on_the_way_back():
    """A circular convolution whose adjoint exchanges rows and columns."""
    return CircularExchanged()


class ForSquares(ml.Conv2d):
    """A convolution whose patches are laid out for square images."""

    def rows(self, a):
        patches = super().rows(a)
        height, width = self.output_shape(a.shape[1:])[:2]
        if height == width:
            return patches
        return patches.reshape(len(a), height, width, -1).transpose(0, 2, 1, 3).reshape(-1, self.n_in)

    def gram(self, a, side=None, bias=True):
        return ml.Map.gram(self, a, side, bias)


@mistake("map", r"square|height|width|order|rows|H|W")
def patches_for_square_images():
    """A convolution whose rows go through columns first where images are not square."""
    return ForSquares(1, 2, kernel=3)


@mistake("network", r"other samples|batch|sample|couple")
def network_that_couples_its_samples():
    """A network with a softmax over the samples in its middle."""
    return ml.Network([ml.Linear(3, 4), SoftmaxOverSamples(), ml.Linear(4, 2)], ml.SquaredError(), dtype=np.float64)


@mistake("network", r"mean|1/N|batch|factor|Averag|adjoint in θ|gradient")
def network_with_an_averaging_map():
    """A network with a map whose gradient is a mean."""
    averaging = altered("Averaging", Plain, 3, 4,
                        adjoint_theta=lambda self, a, g: Plain.adjoint_theta(self, a, g) / len(a))
    return ml.Network([averaging, ml.Tanh(), ml.Linear(4, 2)], ml.SquaredError(), dtype=np.float64)


@mistake("network", r"N\b|weight|loss|mean|sum|batch|reduc")
def network_with_a_loss_of_the_wrong_weight():
    """A network whose loss is a mean with the gradient of a sum."""
    summed = loss("SumGradient", gradient=lambda self, z, y: z - y)
    return ml.Network([ml.Linear(3, 4), ml.Tanh(), ml.Linear(4, 2)], summed, dtype=np.float64)


@right("network")
def network_of_own_layers():
    """A network of one's own map, transfer, join and loss, with a shared map."""
    shared = Plain(4, 4)
    blend = join("Blend", lambda u, v: u / 4 + 3 * v / 4, lambda g, u, v: [g / 4, 3 * g / 4])
    return ml.Network([ml.Linear(3, 4), ml.Named("x"), shared, LayerNorm(), shared, ml.Softplus(), blend, Maxout(),
                       ml.Linear(2, 2)], loss("SoftplusLoss", Matching, transfer=ml.Softplus()), dtype=np.float64)


@right("network")
def network_with_batch_norm_and_noise():
    """A network with batch norm, images and pooling."""
    return ml.Network([ml.Conv2d(1, 2, kernel=3), ml.BatchNorm(2), ml.ReLU(), GlobalAverage(), ml.Linear(2, 3)],
                      input_shape=(5, 4, 1))


def fused(x, v):
    """Return ½‖x − v‖² + 5 Σ|x_{i+1} − x_i|."""
    return ((x - v) ** 2).sum() / 2 + 5 * abs(np.diff(x)).sum()


def one_by_one(x, v, sweeps):
    """Return x after sweeps of exact coordinate steps on `fused`, which rest where neighbours are equal."""
    x = x.copy()
    for _ in range(sweeps):
        for i in range(len(x)):
            points = [x[j] for j in (i - 1, i + 1) if 0 <= j < len(x)]
            candidates = [*points, *(v[i] + s for s in (-10, -5, 0, 5, 10))]
            costs = [(c - v[i]) ** 2 / 2 + 5 * sum(abs(c - p) for p in points) for c in candidates]
            x[i] = candidates[int(np.argmin(costs))]
    return x


@mistake("argmin", r"stuck|rest|coordinate|together|diagonal|jointly|kink|common|shift|lower")
def fused_lasso_stuck_by_coordinates():
    """The fused lasso by coordinate descent, which rests where neighbours are equal, but far from the minimiser."""
    return ml.Argmin(fused, partial(one_by_one, sweeps=50), "x", drawn(x=(4,), v=(4,)))


@mistake("decreases", r"rest|stationary|stuck")
def fused_lasso_sweeps_that_get_stuck():
    """Sweeps of coordinate descent on the fused lasso, which rest away from the minimiser."""
    return ml.Decreases(fused, lambda x, v: {"x": one_by_one(x, v, 1)}, drawn(x=(4,), v=(4,)))


@mistake("argmin", r"other well|local|global|well|far|random|lower")
def the_higher_of_two_wells():
    """The higher of two wells of a quartic, claimed to be the minimiser."""
    def update(x):
        x = 1.0
        for _ in range(50):
            x -= (4 * x * (x * x - 1) + 0.3) / (12 * x * x - 4)
        return x
    return ml.Argmin(lambda x: (x * x - 1) ** 2 + 0.3 * x, update, "x", lambda rng: {"x": float(rng.normal())})


@mistake("argmin", r"singular|cut|rank|rcond|truncat|lower|direction|small")
def pseudo_inverse_that_cuts_too_much():
    """Least squares by a pseudo-inverse that leaves out singular values below a third of the largest."""
    return ml.Argmin(least_squares, lambda A, y: np.linalg.pinv(A, rcond=0.33) @ y, "x",
                     drawn(x=(4,), A=(6, 4), y=(6,)))


@mistake("argmin", r"depend|column|entries|energy|all of")
def energy_that_forgets_a_column():
    """An energy that leaves out the last column of z, where any z is as good."""
    def energy(z, v, tau):
        return lasso_prox(z[:, :-1], v[:, :-1], tau)
    return ml.Argmin(energy, lambda v, tau: shrunk(v, tau), "z", drawn(z=(3, 4), v=(3, 4), tau=None))


@mistake("argmin", r"old|centre|ignores?|depend|start|\bv\b")
def prox_around_the_old_value():
    """Soft thresholding of the old z instead of v."""
    return ml.Argmin(lasso_prox, lambda z, tau: shrunk(z, tau), "z", drawn(z=(3, 4), v=(3, 4), tau=None))


def two_matrices(w, v, lam):
    """Return Σ ½‖w_k − v_k‖² + λ‖w_k‖² over a list of matrices."""
    return sum(((p - q) ** 2).sum() / 2 + lam * (p * p).sum() for p, q in zip(w, v))


def matrices(rng):
    """Return a draw of lists of matrices."""
    return {name: [rng.normal(size=(2, 3)), rng.normal(size=(3, 1))] for name in ("w", "v")} | {"lam": 0.4}


@mistake("argmin", r"factor|2|λ|lam|second|w\[1\]|entry|shr|scale|which")
def list_whose_second_matrix_is_wrong():
    """A list of matrices of which the second is shrunk with λ for 2λ."""
    return ml.Argmin(two_matrices, lambda v, lam: [v[0] / (1 + 2 * lam), v[1] / (1 + lam)], "w", matrices)


@right("argmin")
def list_of_matrices():
    """A block that is a list of matrices of several shapes."""
    return ml.Argmin(two_matrices, lambda v, lam: [q / (1 + 2 * lam) for q in v], "w", matrices)


@right("decreases")
def lists_halved():
    """A sweep over a list of matrices."""
    return ml.Decreases(two_matrices, lambda w, v, lam: {"w": [p - 0.5 * (p - q + 2 * lam * p) for p, q in zip(w, v)]},
                        matrices)


@mistake("decreases", r"rest|stationary|dies|step|stops?|short")
def steps_that_die_out():
    """Gradient steps whose length is halved in each sweep, so that they come to rest on the way."""
    def sweep(x, t, A, y):
        return {"x": x - t / np.linalg.norm(A, 2) ** 2 * A.T @ (A @ x - y), "t": t / 2}
    return ml.Decreases(lambda x, t, A, y: least_squares(x, A, y) + 0 * t, sweep,
                        lambda rng: QUADRATIC(rng) | {"t": 1.0})


@mistake("decreases", r"name|key|argument|returns?|X\b|unknown")
def sweep_with_a_misspelt_name():
    """A sweep that returns X for x."""
    return ml.Decreases(least_squares, lambda x, A, y: {
        "X": x - 1 / np.linalg.norm(A, 2) ** 2 * A.T @ (A @ x - y)}, QUADRATIC)


@mistake("equal", r"shape|column|broadcast|axis")
def column_for_a_vector():
    """A formula that returns a column where the reference returns a vector."""
    return ml.Equal(lambda A, y: (A @ y)[:, None], lambda A, y: A @ y, drawn(A=(3, 4), y=(4,)))


@mistake("equal", r"depend|constant|zero|same|argument")
def reference_that_ignores_its_arguments():
    """A formula and a reference that are both zero, whatever is drawn."""
    return ml.Equal(lambda A, B: np.zeros(3), lambda A, B: np.zeros(3), drawn(A=(3, 3), B=(3, 3)))


@mistake("equal", r"overflow|integer|int8|large|wrap|dtype|256|beyond")
def counts_in_eight_bits():
    """Counts that are summed in int8."""
    return ml.Equal(lambda n: n.astype(np.int8).sum(dtype=np.int8), lambda n: n.sum(),
                    lambda rng: {"n": rng.integers(0, 30, 12)})


@mistake("gradient", r"subgradient|sort|order|tie|index|permut|place|entr")
def gradient_of_a_sorted_sum():
    """The gradient of Σ w_i x_(i), with weights not taken back to the places of x."""
    return ml.Gradient(lambda x, w: (w * np.sort(x)).sum(), lambda x, w: w[np.argsort(x)], "x",
                       drawn(x=(5,), w=(5,)))


@right("gradient")
def sorted_sum():
    """The gradient of Σ w_i x_(i), with weights at the ranks of x."""
    return ml.Gradient(lambda x, w: (w * np.sort(x)).sum(), lambda x, w: w[np.argsort(np.argsort(x))], "x",
                       drawn(x=(5,), w=(5,)))


# ---- running


class Result(NamedTuple):
    """What became of one entry."""

    entry: Entry
    passed: bool
    naming: str
    seconds: float
    failures: list
    error: str


def verified(entry, seed):
    """Return the `Result` of one entry; warnings of the thing itself are no result."""
    start = time.process_time()
    failures, error = [], ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = entry.make()
            thing, arguments = made if isinstance(made, tuple) else (made, {})
            report = ml.verify(thing, seed=seed, **arguments)
            passed, failures = report.passed, list(report.failures)
            error = "" if passed or failures else report.summary()
        except Exception as raised:
            passed, error = False, f"{type(raised).__name__}: {raised}"
    return Result(entry, passed, naming(entry, failures), time.process_time() - start, failures, error)


EMPTY = re.compile(r"none of the usual mistakes fits|the step of map \d+ is wrong")


def naming(entry, failures):
    """Return whether the words of a fitting reason were found; a reason that says nothing counts as none."""
    reasons = "\n".join(EMPTY.sub("", check.reason).replace("likely: ", "") for check in failures)
    claims = "\n".join(check.claim for check in failures)
    for where, text in (("named", reasons), ("by claim", claims)):
        if any(re.search(word, text) for word in entry.words):
            return where
    return "other reason" if reasons.strip() else "no reason"


def line(result):
    """Return the line of one result."""
    entry = result.entry
    if entry.wrong:
        outcome = "MISSED" if result.passed else "ERROR" if result.error and not result.failures else "caught"
        said = "" if outcome != "caught" else result.naming
    else:
        outcome, said = ("passed", "") if result.passed else ("REFUSED", "")
    return f"{outcome:8}{said:13}{result.seconds:6.2f}  {entry.kind:10}{entry.name}"


def details(result):
    """Return what the failures say, and an error."""
    rows = [f"      {check.claim} [{check.number:.2g} > {check.tolerance:.2g}; {check.worst}]: {check.reason}"
            for check in result.failures]
    return "\n".join(rows + ([f"      error: {result.error}"] if result.error else []))


def totals(results):
    """Return a table of totals by kind."""
    rows = ["", "kind        mistakes  caught  named  by claim  other  none  right  passed"]
    kinds = list(dict.fromkeys(result.entry.kind for result in results))
    for kind in [*kinds, "all"]:
        mine = [result for result in results if kind in ("all", result.entry.kind)]
        wrong = [result for result in mine if result.entry.wrong]
        caught = [result for result in wrong if not result.passed]
        good = [result for result in mine if not result.entry.wrong]
        said = [sum(result.naming == word for result in caught)
                for word in ("named", "by claim", "other reason", "no reason")]
        rows.append(f"{kind:12}{len(wrong):8}{len(caught):8}{said[0]:7}{said[1]:10}{said[2]:7}{said[3]:6}"
                    f"{len(good):7}{sum(result.passed for result in good):8}")
    return "\n".join(rows)


def main():
    """Verify the entries whose names hold a word, for some seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="", help="only entries whose name or kind holds this")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from 0")
    parser.add_argument("--details", action="store_true", help="print what the failures say")
    arguments = parser.parse_args()
    results = []
    for entry in ENTRIES:
        if arguments.name in entry.name or arguments.name == entry.kind:
            for seed in range(arguments.seeds):
                results.append(verified(entry, seed))
                print(line(results[-1]), flush=True)
                if arguments.details and (said := details(results[-1])):
                    print(said, flush=True)
    print(totals(results))


if __name__ == "__main__":
    main()
