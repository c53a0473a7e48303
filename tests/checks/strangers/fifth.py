"""A fifth stranger's list: mistakes of an own choice against `verify`, and right things written in unusual ways.

    python tests/checks/strangers/fifth.py [--seeds 50] [NAME …]

The list was written from the public documentation alone, before the checks were read.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

import minilift as ml


class Item(NamedTuple):
    """One thing that is given to `verify`: `call(seed)` returns the report; `words` may stand in a fitting reason.

    A mistake is subtle if most of its numbers are right, or nearly.
    """

    group: str
    name: str
    what: str
    right: bool
    call: Any
    words: str = ""
    subtle: bool = False


ITEMS: list[Item] = []


def mistake(name, group, what, words="", subtle=False):
    """Put a mistake on the list."""

    def add(call):
        ITEMS.append(Item(group, name, what, False, call, words, subtle))
        return call

    return add


def right(name, group, what=""):
    """Put a right thing on the list."""

    def add(call):
        ITEMS.append(Item(group, name, what, True, call))
        return call

    return add


V = ml.verify


def relu(z):
    return np.maximum(z, 0)


def sig(z):
    return 1 / (1 + np.exp(-z))


def soft(v, t):
    return np.sign(v) * np.maximum(abs(v) - t, 0)


def sq(x):
    return float((x**2).sum())


def tilde(a):
    return np.hstack([a, np.ones_like(a[:, :1])])


def act(forward, derivative, **more):
    """An activation from functions of (self, z)."""
    return type("Mine", (ml.Activation,), {"forward": forward, "derivative": derivative, **more})()


# ------------------------------------------------------------------------------------------------ A. activations
def sigm(z):
    e = np.exp(-abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e)).astype(z.dtype)


@mistake(
    "swish-product-rule", "activation", "Swish's derivative forgets the factor z in z σ'", "factor z|product|chain"
)
def _(seed=0):
    return V(act(lambda s, z: z * sigm(z), lambda s, z: sigm(z) + sigm(z) * (1 - sigm(z))), seed=seed)


@mistake(
    "gelu-mixed",
    "activation",
    "tanh approximation forward, exact erf derivative",
    "approx|other function|derivative of",
    True,
)
def _(seed=0):
    c = math.sqrt(2 / math.pi)
    erf = np.vectorize(math.erf, otypes=[float])
    return V(
        act(
            lambda s, z: (0.5 * z * (1 + np.tanh(c * (z + 0.044715 * z**3)))).astype(z.dtype),
            lambda s, z: (0.5 * (1 + erf(z / math.sqrt(2))) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)).astype(
                z.dtype
            ),
        ),
        seed=seed,
    )


@mistake(
    "elu-alpha",
    "activation",
    "ELU with α = 1.5: derivative on the left is f + 1 where it should be f + α",
    "z < 0|negative|left",
    True,
)
def _(seed=0):
    def f(s, z):
        return np.where(z > 0, z, 1.5 * np.expm1(np.minimum(z, 0))).astype(z.dtype)

    return V(act(f, lambda s, z: np.where(z > 0, 1, f(s, z) + 1).astype(z.dtype)), seed=seed)


@mistake(
    "selu-scale-one-branch",
    "activation",
    "SELU: scale λ forgotten in the negative branch of the derivative",
    "z < 0|negative|left",
    True,
)
def _(seed=0):
    l, al = 1.0507, 1.67326
    return V(
        act(
            lambda s, z: (l * np.where(z > 0, z, al * np.expm1(np.minimum(z, 0)))).astype(z.dtype),
            lambda s, z: np.where(z > 0, l, al * np.exp(np.minimum(z, 0))).astype(z.dtype),
        ),
        seed=seed,
    )


@mistake("leaky-zero-slope", "activation", "LeakyReLU's derivative is 0 on the left", "z < 0|negative|left|slope")
def _(seed=0):
    return V(
        act(lambda s, z: np.where(z > 0, z, z * z.dtype.type(0.1)), lambda s, z: (z > 0).astype(z.dtype)), seed=seed
    )


@mistake(
    "leaky-integral-slope-squared",
    "activation",
    "F of LeakyReLU is (slope z)²/2 on the left instead of slope z²/2",
    "z < 0|negative|left|slope",
    True,
)
def _(seed=0):
    def f(s, z):
        return np.where(z > 0, z, z * z.dtype.type(0.1))

    return V(
        act(f, lambda s, z: np.where(z > 0, 1, 0.1).astype(z.dtype), integral=lambda s, z: f(s, z) ** 2 / 2), seed=seed
    )


@mistake("softsign-integral-sign", "activation", "F of softsign with + log1p", "F|integral|sign")
def _(seed=0):
    return V(
        act(
            lambda s, z: z / (1 + abs(z)),
            lambda s, z: 1 / (1 + abs(z)) ** 2,
            range=(-1.0, 1.0),
            integral=lambda s, z: abs(z) + np.log1p(abs(z)),
        ),
        seed=seed,
    )


@mistake(
    "tanh-derivative-of-z",
    "activation",
    "tanh's derivative 1 − z², for the formula 1 − a² given z",
    r"z instead of|in the place|1 − a|value|of a",
)
def _(seed=0):
    return V(act(lambda s, z: np.tanh(z), lambda s, z: 1 - z**2), seed=seed)


@mistake(
    "hard-sigmoid-two-definitions",
    "activation",
    "clip(z/6 + ½) with the kinks of the other definition (±2.5)",
    "kink|between|2.5|3",
    True,
)
def _(seed=0):
    return V(
        act(
            lambda s, z: np.clip(z / 6 + 0.5, 0, 1).astype(z.dtype), lambda s, z: ((abs(z) < 2.5) / 6.0).astype(z.dtype)
        ),
        seed=seed,
    )


@mistake("softplus-beta", "activation", "softplus with β: derivative has β once too often", r"factor")
def _(seed=0):
    b = 3.0
    return V(
        act(lambda s, z: (np.logaddexp(0, b * z) / b).astype(z.dtype), lambda s, z: (b * sigm(b * z)).astype(z.dtype)),
        seed=seed,
    )


@mistake("softplus-overflow", "activation", "log(1 + exp z) overflows for large z", "overflow|finite|inf|large")
def _(seed=0):
    return V(act(lambda s, z: np.log(1 + np.exp(z)), lambda s, z: sigm(z)), seed=seed)


@mistake("relu-in-place", "activation", "forward overwrites z", "overwrit|in place|changes its|writes")
def _(seed=0):
    def f(s, z):
        z[z < 0] = 0
        return z

    return V(act(f, lambda s, z: (z > 0).astype(z.dtype)), seed=seed)


@mistake(
    "adjoint-in-place",
    "activation",
    "adjoint multiplies the signal in place",
    "overwrit|in place|changes its|writes",
    True,
)
def _(seed=0):
    def adj(s, z, a, aux, g):
        g *= 1 - a * a
        return g

    return V(act(lambda s, z: np.tanh(z), lambda s, z: 1 - np.tanh(z) ** 2, adjoint=adj), seed=seed)


@mistake(
    "derivative-from-last-forward",
    "activation",
    "derivative answers for the z of the last forward, not for its argument",
    "remember|keeps|last|earlier|previous|state",
    True,
)
def _(seed=0):
    def f(s, z):
        s.a = np.tanh(z)
        return s.a.copy()

    def d(s, z):
        if getattr(s, "a", None) is None or s.a.shape != z.shape:
            s.a = np.tanh(z)
        return 1 - s.a**2

    return V(act(f, d), seed=seed)


@mistake(
    "float64-from-zeros",
    "activation",
    "forward takes maximum with float64 zeros: float32 becomes float64",
    "float32|dtype|float64",
    True,
)
def _(seed=0):
    return V(act(lambda s, z: np.maximum(z, np.zeros(z.shape)), lambda s, z: (z > 0).astype(z.dtype)), seed=seed)


@mistake("relu6-upper-kink", "activation", "ReLU6: derivative 1 also above 6", "above|beyond|6|kink|large|> ", True)
def _(seed=0):
    return V(act(lambda s, z: np.clip(z, 0, 6), lambda s, z: (z > 0).astype(z.dtype)), seed=seed)


@mistake("softshrink-one-side", "activation", "softshrink: derivative 0 for z < −½", "z < |negative|left", True)
def _(seed=0):
    return V(act(lambda s, z: soft(z, z.dtype.type(0.5)), lambda s, z: (z > 0.5).astype(z.dtype)), seed=seed)


@mistake(
    "mish-missing-z", "activation", "Mish: derivative without the factor z in the second term", "factor z|product|chain"
)
def _(seed=0):
    def t(z):
        return np.tanh(np.logaddexp(0, z)).astype(z.dtype)

    return V(act(lambda s, z: z * t(z), lambda s, z: t(z) + sigm(z) * (1 - t(z) ** 2)), seed=seed)


@mistake("conjugate-sign", "activation", "F* of the sigmoid with the sign of the entropy", "sign|F\\*|conjugate|−")
def _(seed=0):
    class C(ml.Sigmoid):
        def conjugate(self, a):
            return -super().conjugate(a)

    return V(C(), seed=seed)


@mistake(
    "leaky-inverse",
    "activation",
    "inverse of LeakyReLU multiplies by the slope on the left",
    "slope|inverse|σ instead|left|negative",
)
def _(seed=0):
    class C(ml.LeakyReLU):
        def inverse(self, a):
            return np.minimum(a, a * self.slope)

    return V(C(0.1), seed=seed)


@mistake("arctan-range", "activation", "arctan says its range is (−1, 1), it is ±π/2", "range|wider|values", True)
def _(seed=0):
    return V(
        act(
            lambda s, z: np.arctan(z),
            lambda s, z: 1 / (1 + z * z),
            range=(-1.0, 1.0),
            integral=lambda s, z: z * np.arctan(z) - np.log1p(z * z) / 2,
        ),
        seed=seed,
    )


@mistake("sigmoid-range-too-wide", "activation", "the sigmoid says its range is (−1, 1)", "range|wider", True)
def _(seed=0):
    class C(ml.Sigmoid):
        range = (-1.0, 1.0)

    return V(C(), seed=seed)


@mistake(
    "relu-squared-unmasked", "activation", "max(z,0)²: derivative 2z on the left too", "z < 0|negative|left|mask", True
)
def _(seed=0):
    return V(act(lambda s, z: np.maximum(z, 0) ** 2, lambda s, z: 2 * z), seed=seed)


@mistake(
    "centred-activation",
    "activation",
    "tanh of z minus the batch mean, sold as elementwise",
    "elementwise|other|sample|depend|batch",
    True,
)
def _(seed=0):
    return V(
        act(lambda s, z: np.tanh(z - z.mean(axis=0)), lambda s, z: 1 - np.tanh(z - z.mean(axis=0)) ** 2), seed=seed
    )


@mistake("solve-shifted-sign", "activation", "solve_shifted with 1 − c σ'", "sign|1 −|minus", True)
def _(seed=0):
    class C(ml.Tanh):
        def solve_shifted(self, z, c, r):
            return r / (1 - c * self.derivative(z))

    return V(C(), seed=seed)


@mistake("straight-through", "activation", "round(z) with derivative 1 (straight-through)", "straight|constant|step|0 ")
def _(seed=0):
    return V(act(lambda s, z: np.round(z), lambda s, z: np.ones_like(z)), seed=seed)


@mistake("nan-at-zero", "activation", "derivative as forward(z)/z: NaN at 0", "NaN|nan|z = 0|at 0|kink", True)
def _(seed=0):
    def d(s, z):
        with np.errstate(all="ignore"):
            return np.maximum(z, 0) / z

    return V(act(lambda s, z: np.maximum(z, 0), d), seed=seed)


@mistake(
    "images-refused",
    "activation",
    "adjoint through einsum('ij,ij->ij'): images (N,H,W,C) raise",
    "shape|4|image|einsum|raise",
    True,
)
def _(seed=0):
    return V(
        act(
            lambda s, z: np.tanh(z),
            lambda s, z: 1 - np.tanh(z) ** 2,
            adjoint=lambda s, z, a, aux, g: np.einsum("ij,ij->ij", g, 1 - a * a),
        ),
        seed=seed,
    )


@mistake(
    "smooth-relu-middle-branch",
    "activation",
    "Huberised ReLU: derivative z/(2δ) in the middle branch",
    "factor 2|half|between",
    True,
)
def _(seed=0):
    d = 0.3
    return V(
        act(
            lambda s, z: np.where(z < 0, 0, np.where(z < d, z * z / (2 * d), z - d / 2)).astype(z.dtype),
            lambda s, z: np.where(z < 0, 0, np.where(z < d, z / (2 * d), 1)).astype(z.dtype),
        ),
        seed=seed,
    )


@mistake("pieces-offset", "activation", "HardTanh-like: third piece has offset −1", "piece", True)
def _(seed=0):
    class C(ml.HardTanh):
        pieces = ((-math.inf, -1.0, 0.0, -1.0), (-1.0, 1.0, 1.0, 0.0), (1.0, math.inf, 0.0, -1.0))

    return V(C(), seed=seed)


@mistake("pieces-gap", "activation", "HardTanh-like: pieces leave out the interval (½, 1)", "piece", True)
def _(seed=0):
    class C(ml.HardTanh):
        pieces = ((-math.inf, -1.0, 0.0, -1.0), (-1.0, 0.5, 1.0, 0.0), (1.0, math.inf, 0.0, 1.0))

    return V(C(), seed=seed)


@mistake(
    "tanh-saturates-early", "activation", "derivative cut to 0 beyond |z| > 4 'to be quick'", "beyond|large|> ", True
)
def _(seed=0):
    return V(
        act(lambda s, z: np.tanh(z), lambda s, z: np.where(abs(z) < 4, 1 - np.tanh(z) ** 2, 0).astype(z.dtype)),
        seed=seed,
    )


@mistake(
    "first-column-slope",
    "activation",
    "per-channel slopes applied to the first axis when N equals the number of channels",
    "sample|batch|order|shape|elementwise",
    True,
)
def _(seed=0):
    # slope of the channel, but written with the batch axis: slope[i] for sample i
    def slopes(z):
        return (0.1 + 0.05 * np.arange(z.shape[0])).reshape((-1,) + (1,) * (z.ndim - 1)).astype(z.dtype)

    return V(
        act(lambda s, z: np.where(z > 0, z, slopes(z) * z), lambda s, z: np.where(z > 0, np.ones_like(z), slopes(z))),
        seed=seed,
    )


@mistake(
    "derivative-broadcast-row",
    "activation",
    "derivative of a linear transfer comes as one row, not in z's shape",
    "shape",
    True,
)
def _(seed=0):
    return V(act(lambda s, z: 2 * z, lambda s, z: np.full(z.shape[1:], 2, z.dtype)), seed=seed)


@mistake(
    "apply-forward-disagree",
    "activation",
    "apply scales in training by temperature, forward does not; eval apply scales too",
    "apply|forward|agree|training",
    True,
)
def _(seed=0):
    return V(
        act(
            lambda s, z: np.tanh(z),
            lambda s, z: 1 - np.tanh(z) ** 2,
            apply=lambda s, z, training=False, rng=None: (np.tanh(z) * (0.5 if not training else 1), None),
        ),
        seed=seed,
    )


# ------------------------------------------------------------------------------------------- B. other transfers
class LayerNorm(ml.Transfer):
    eps = 1e-3

    def apply(self, z, training=False, rng=None):
        r = 1 / np.sqrt(z.var(axis=-1, keepdims=True) + z.dtype.type(self.eps))
        n = (z - z.mean(axis=-1, keepdims=True)) * r
        return n, (n, r)

    def adjoint(self, z, a, aux, g):
        n, r = aux
        return r * (g - g.mean(axis=-1, keepdims=True) - n * (g * n).mean(axis=-1, keepdims=True))

    def output_shape(self, s):
        return tuple(s)


@mistake(
    "layernorm-variance-constant",
    "transfer",
    "LayerNorm's adjoint treats the deviation as constant",
    "variance|deviation|constant",
)
def _(seed=0):
    class C(LayerNorm):
        def adjoint(self, z, a, aux, g):
            return aux[1] * (g - g.mean(axis=-1, keepdims=True))

    return V(C(), seed=seed)


@mistake("layernorm-ddof", "transfer", "LayerNorm forward with ddof=1, adjoint for ddof=0", "n − 1|ddof|unbiased", True)
def _(seed=0):
    class C(LayerNorm):
        def apply(self, z, training=False, rng=None):
            n = max(z.shape[-1] - 1, 1)
            m = z - z.mean(axis=-1, keepdims=True)
            r = 1 / np.sqrt((m * m).sum(axis=-1, keepdims=True) / n + z.dtype.type(self.eps))
            return m * r, (m * r, r)

    return V(C(), seed=seed)


class SoftmaxT(ml.Transfer):
    def apply(self, z, training=False, rng=None):
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True), None

    def adjoint(self, z, a, aux, g):
        return a * (g - (a * g).sum(axis=-1, keepdims=True))

    def output_shape(self, s):
        return tuple(s)


@mistake(
    "softmax-diagonal",
    "transfer",
    "softmax's adjoint takes only the diagonal a(1 − a)",
    "diagonal|off-diag|elementwise",
)
def _(seed=0):
    class C(SoftmaxT):
        def adjoint(self, z, a, aux, g):
            return a * (1 - a) * g

    return V(C(), seed=seed)


@mistake("softmax-whole-batch", "transfer", "softmax normalised over the batch axis", "sample|batch|axis", True)
def _(seed=0):
    class C(SoftmaxT):
        def apply(self, z, training=False, rng=None):
            e = np.exp(z - z.max(axis=0, keepdims=True))
            return e / e.sum(axis=0, keepdims=True), None

        def adjoint(self, z, a, aux, g):
            return a * (g - (a * g).sum(axis=0, keepdims=True))

    return V(C(), seed=seed)


class Max2(ml.Transfer):
    """Maxout over pairs of channels."""

    def output_shape(self, s):
        return (*s[:-1], s[-1] // 2)

    def apply(self, z, training=False, rng=None):
        m = z.shape[-1] // 2
        return np.maximum(z[..., :m], z[..., m : 2 * m]), None

    def adjoint(self, z, a, aux, g):
        m = z.shape[-1] // 2
        out = np.zeros_like(z)
        first = z[..., :m] >= z[..., m : 2 * m]
        out[..., :m] = g * first
        out[..., m : 2 * m] = g * ~first
        return out


@mistake(
    "maxout-ties-both", "transfer", "maxout: at ties both halves get the whole signal", "tie|equal|both|twice", True
)
def _(seed=0):
    class C(Max2):
        def adjoint(self, z, a, aux, g):
            m = z.shape[-1] // 2
            out = np.zeros_like(z)
            out[..., :m] = g * (z[..., :m] == a)
            out[..., m : 2 * m] = g * (z[..., m : 2 * m] == a)
            return out

    return V(C(), seed=seed)


@mistake(
    "maxout-ties-none",
    "transfer",
    "maxout: at ties nobody gets the signal (strict > both ways)",
    "tie|equal|none|nothing|lost",
    True,
)
def _(seed=0):
    class C(Max2):
        def adjoint(self, z, a, aux, g):
            m = z.shape[-1] // 2
            out = np.zeros_like(z)
            out[..., :m] = g * (z[..., :m] > z[..., m : 2 * m])
            out[..., m : 2 * m] = g * (z[..., m : 2 * m] > z[..., :m])
            return out

    return V(C(), seed=seed)


@mistake(
    "dropout-no-rescale",
    "transfer",
    "dropout without division by the keep probability",
    "average|mean|rescal|1 − rate|divid|scale",
)
def _(seed=0):
    class C(ml.Transfer):
        def apply(self, z, training=False, rng=None):
            if not training:
                return z, None
            m = (rng.random(z.shape) > 0.3).astype(z.dtype)
            return z * m, m

        def adjoint(self, z, a, aux, g):
            return g if aux is None else g * aux

        def output_shape(self, s):
            return tuple(s)

    return V(C(), seed=seed)


@mistake(
    "dropout-adjoint-unscaled",
    "transfer",
    "dropout's adjoint multiplies by the 0/1 mask, not by mask/(1 − rate)",
    "factor|scale",
    True,
)
def _(seed=0):
    class C(ml.Dropout):
        def adjoint(self, z, a, aux, g):
            return g if aux is None else g * (aux > 0)

    return V(C(0.3), seed=seed)


@mistake(
    "dropout-global-random",
    "transfer",
    "dropout draws from np.random, not from the generator given",
    "generator|rng|np.random|random",
    True,
)
def _(seed=0):
    class C(ml.Dropout):
        def apply(self, z, training=False, rng=None):
            if not training:
                return z, None
            m = ((np.random.random(z.shape) > self.rate) / (1 - self.rate)).astype(z.dtype)
            return z * m, m

    return V(C(0.3), seed=seed)


@mistake(
    "dropout-mask-kept",
    "transfer",
    "dropout draws its mask once for each shape and keeps it",
    "anew|same|each call|kept|keeps|once|remember",
    True,
)
def _(seed=0):
    class C(ml.Dropout):
        def apply(self, z, training=False, rng=None):
            if not training:
                return z, None
            masks = self.__dict__.setdefault("masks", {})
            if z.shape not in masks:
                masks[z.shape] = (rng.random(z.shape) > self.rate) / (1 - self.rate)
            m = masks[z.shape].astype(z.dtype)
            return z * m, m

    return V(C(0.3), seed=seed)


@mistake("avgpool-factor", "transfer", "AvgPool's adjoint divides by size, not size²", "factor")
def _(seed=0):
    class C(ml.AvgPool2d):
        def adjoint(self, z, a, aux, g):
            return super().adjoint(z, a, aux, g) * g.dtype.type(self.size)

    return V(C(2), seed=seed)


@mistake(
    "avgpool-overlap",
    "transfer",
    "overlapping AvgPool: adjoint assigns where windows overlap instead of adding",
    "overlap|add|window",
    True,
)
def _(seed=0):
    class C(ml.AvgPool2d):
        def adjoint(self, z, a, aux, g):
            out = np.zeros_like(z)
            for v in self.views(out):
                v[...] = g / self.size**2
            return out

    return V(C(3, stride=2), seed=seed)


class RMSNorm(LayerNorm):
    def apply(self, z, training=False, rng=None):
        r = 1 / np.sqrt((z * z).mean(axis=-1, keepdims=True) + z.dtype.type(1e-3))
        return z * r, r

    def adjoint(self, z, a, aux, g):
        return aux * g - a * aux * (a * g).mean(axis=-1, keepdims=True)


@mistake(
    "rmsnorm-sum-for-mean", "transfer", "RMSNorm: adjoint sums where it should average", "mean|sum|n times|factor", True
)
def _(seed=0):
    class C(RMSNorm):
        def adjoint(self, z, a, aux, g):
            return aux * g - a * aux * (a * g).sum(axis=-1, keepdims=True)

    return V(C(), seed=seed)


@mistake(
    "batchnorm-biased-running",
    "transfer",
    "running variance takes the biased batch variance",
    "unbiased|biased|n − 1|variance",
    True,
)
def _(seed=0):
    class C(ml.BatchNorm):
        def commit(self, aux):
            if aux.batch is not None:
                batch = aux.batch.copy()
                batch[1] = 1 / aux.inverse_deviation**2 - self.eps
                self.running = self.running + self.momentum * (batch - self.running)

    return V(C(3), seed=seed)


@mistake(
    "batchnorm-momentum-swapped",
    "transfer",
    "running ← momentum·running + (1 − momentum)·batch",
    "momentum|swap|1 −",
    True,
)
def _(seed=0):
    class C(ml.BatchNorm):
        def commit(self, aux):
            if aux.batch is not None:
                self.running = self.momentum * self.running + (1 - self.momentum) * aux.batch

    return V(C(3), seed=seed)


@mistake(
    "batchnorm-gradient-mean",
    "transfer",
    "gradient of scale and shift averaged over the batch",
    "mean|divid|sum|N",
    True,
)
def _(seed=0):
    class C(ml.BatchNorm):
        def gradients(self, aux, g):
            return [super().gradients(aux, g)[0] / len(g)]

    return V(C(3), seed=seed)


@mistake(
    "batchnorm-swapped-gradients",
    "transfer",
    "gradients of scale and shift in the wrong order",
    "order|swap|shift",
    True,
)
def _(seed=0):
    class C(ml.BatchNorm):
        def gradients(self, aux, g):
            return [super().gradients(aux, g)[0][::-1].copy()]

    return V(C(3), seed=seed)


@mistake(
    "batchnorm-adjoint-constant-mean",
    "transfer",
    "adjoint of batch norm with mean and variance as constants",
    "constant|mean|variance",
)
def _(seed=0):
    class C(ml.BatchNorm):
        def adjoint(self, z, a, aux, g):
            return g * aux.scale * aux.inverse_deviation

    return V(C(3), seed=seed)


@mistake("flatten-order", "transfer", "Flatten's adjoint reshapes in Fortran order", "order|reshape|place", True)
def _(seed=0):
    class C(ml.Flatten):
        def adjoint(self, z, a, aux, g):
            return g.reshape(z.shape, order="F")

    return V(C(), seed=seed)


class GLU(ml.Transfer):
    def output_shape(self, s):
        return (*s[:-1], s[-1] // 2)

    def apply(self, z, training=False, rng=None):
        m = z.shape[-1] // 2
        s = sigm(z[..., m : 2 * m])
        return z[..., :m] * s, s

    def adjoint(self, z, a, aux, g):
        m = z.shape[-1] // 2
        out = np.zeros_like(z)
        out[..., :m] = g * aux
        out[..., m : 2 * m] = g * z[..., :m] * aux * (1 - aux)
        return out


@mistake(
    "glu-halves-swapped",
    "transfer",
    "GLU: the signals of the halves are exchanged",
    "swap|exchang|order|halves|wrong place",
)
def _(seed=0):
    class C(GLU):
        def adjoint(self, z, a, aux, g):
            m = z.shape[-1] // 2
            out = super().adjoint(z, a, aux, g)
            return np.concatenate([out[..., m : 2 * m], out[..., :m], out[..., 2 * m :]], axis=-1)

    return V(C(), seed=seed)


@mistake("glu-output-shape", "transfer", "GLU: output_shape is that of the input", "output_shape|shape", True)
def _(seed=0):
    class C(GLU):
        def output_shape(self, s):
            return tuple(s)

    return V(C(), seed=seed)


@mistake(
    "maxpool-last-tie-argmax-flipped",
    "transfer",
    "MaxPool: adjoint sends to the minimum where all four are negative (compares |z|)",
    "maxim|largest|abs|place",
    True,
)
def _(seed=0):
    class C(ml.MaxPool2d):
        def adjoint(self, z, a, aux, g):
            views = self.views(z)
            place = np.argmax(np.stack([abs(v) for v in views]), axis=0)
            return self.gather(z, (g * (place == k) for k in range(self.size**2)))

    return V(C(2), seed=seed)


# ---------------------------------------------------------------------------------------------------- C. maps
@mistake("bias-mean", "map", "adjoint_theta averages the bias row", "bias", True)
def _(seed=0):
    class C(ml.Linear):
        def adjoint_theta(self, a, g):
            return np.vstack([a.T @ g, g.mean(axis=0, keepdims=True)])

    return V(C(3, 2), seed=seed)


@mistake("adjoint-over-N", "map", "adjoint_theta divides by N", "N|sample|divid")
def _(seed=0):
    class C(ml.Linear):
        def adjoint_theta(self, a, g):
            return super().adjoint_theta(a, g) / len(a)

    return V(C(3, 2), seed=seed)


@mistake("rows-with-ones", "map", "rows returns the activations with a column of ones", "ones|column|bias|shape", True)
def _(seed=0):
    class C(ml.Linear):
        def rows(self, a):
            return tilde(a)

    return V(C(3, 2), seed=seed)


@mistake("bias-zero-gradient", "map", "adjoint_theta leaves the bias row 0", "bias")
def _(seed=0):
    class C(ml.Linear):
        def adjoint_theta(self, a, g):
            d = super().adjoint_theta(a, g)
            d[-1] = 0
            return d

    return V(C(3, 2), seed=seed)


@mistake("map-with-relu", "map", "the map applies ReLU to its output", "linear|nonlin|activation")
def _(seed=0):
    class C(ml.Linear):
        def forward(self, theta, a):
            return np.maximum(super().forward(theta, a), 0)

    return V(C(3, 2), seed=seed)


@mistake("bias-twice", "map", "forward adds the bias twice", "bias|twice")
def _(seed=0):
    class C(ml.Linear):
        def forward(self, theta, a):
            return super().forward(theta, a) + theta[-1]

    return V(C(3, 2), seed=seed)


@mistake(
    "ntk-adjoint-input",
    "map",
    "NTK scaling 1/√n in forward, adjoint_theta and rows; forgotten in adjoint_input",
    "factor|scale",
    True,
)
def _(seed=0):
    class C(NTK):
        def adjoint_input(self, theta, g):
            return g @ theta[:-1].T

    return V(C(5, 3), seed=seed)


class NTK(ml.Linear):
    def s(self, a):
        return a.dtype.type(1 / math.sqrt(self.n_in))

    def forward(self, theta, a):
        return (a * self.s(a)) @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T * self.s(g)

    def adjoint_theta(self, a, g):
        return np.vstack([(a * self.s(a)).T @ g, g.sum(axis=0, keepdims=True)])

    def rows(self, a):
        return a * self.s(a)


@mistake(
    "ntk-rows-unscaled",
    "map",
    "NTK scaling right in forward and adjoints, rows unscaled (so the Gram matrix is wrong)",
    "rows|gram|scale|factor",
    True,
)
def _(seed=0):
    class C(NTK):
        def rows(self, a):
            return a

    return V(C(5, 3), seed=seed)


@mistake(
    "adjoint-input-buffer",
    "map",
    "adjoint_input returns one buffer again and again",
    "buffer|new array|overwrit|same array|again",
    True,
)
def _(seed=0):
    class C(ml.Linear):
        def adjoint_input(self, theta, g):
            r = super().adjoint_input(theta, g)
            b = self.__dict__.setdefault("buffers", {}).setdefault((r.shape, r.dtype), np.empty_like(r))
            b[...] = r
            return b

    return V(C(3, 2), seed=seed)


@mistake(
    "adjoint-input-writes-g",
    "map",
    "adjoint_theta centres g in place while summing (signal is changed for the layers below)",
    "overwrit|in place|changes|writes",
    True,
)
def _(seed=0):
    class C(ml.Linear):
        def adjoint_theta(self, a, g):
            d = super().adjoint_theta(a, g)
            g *= 0.5
            return d

    return V(C(3, 2), seed=seed)


@mistake(
    "init-global-random",
    "map",
    "initial_theta draws from np.random, not from the generator",
    "generator|rng|np.random|seed",
    True,
)
def _(seed=0):
    class C(ml.Linear):
        def initial_theta(self, rng):
            return np.random.uniform(-0.5, 0.5, self.theta_shape)

    return V(C(3, 2), seed=seed)


@mistake("theta-transposed-shape", "map", "initial_theta is (n_out, n_in + 1)", "shape|transpos")
def _(seed=0):
    class C(ml.Linear):
        def initial_theta(self, rng):
            return super().initial_theta(rng).T

    return V(C(3, 2), seed=seed)


@mistake("map-output-shape", "map", "output_shape returns (n_in,)", "output_shape|shape", True)
def _(seed=0):
    class C(ml.Linear):
        def output_shape(self, s):
            return (self.n_in,)

    return V(C(3, 2), seed=seed)


@mistake("map-centres-batch", "map", "forward subtracts the batch mean of a", "sample|batch|depend", True)
def _(seed=0):
    class C(ml.Linear):
        def forward(self, theta, a):
            return super().forward(theta, a - a.mean(axis=0))

    return V(C(3, 2), seed=seed)


@mistake(
    "map-float64", "map", "adjoint_theta appends float64 ones: float32 becomes float64", "float32|dtype|float64", True
)
def _(seed=0):
    class C(ml.Linear):
        def adjoint_theta(self, a, g):
            return np.hstack([a, np.ones((len(a), 1))]).T @ g

    return V(C(3, 2), seed=seed)


@mistake(
    "rows-cached-by-shape",
    "map",
    "the transposed weights are cached by shape: a new θ gets the old ones",
    "remember|keeps|cache|earlier|last|previous|stale|function of its arguments",
    True,
)
def _(seed=0):
    class C(ml.Linear):
        def adjoint_input(self, theta, g):
            c = self.__dict__.setdefault("wt", {})
            key = (theta.shape, theta.dtype)
            if key not in c:
                c[key] = theta[:-1].T.copy()
            return g @ c[key]

    return V(C(3, 2), seed=seed)


@mistake("gram-bias-ignored", "map", "gram ignores bias=False", "bias", True)
def _(seed=0):
    class C(ml.Linear):
        def gram(self, a, side=None, bias=True):
            return super().gram(a, side)

    return V(C(3, 2), seed=seed)


@mistake("conv-adjoint-not-flipped", "map", "convolution: adjoint_input does not flip the kernel", "flip", True)
def _(seed=0):
    class C(ml.Conv2d):
        def adjoint_input(self, theta, g):
            k, ci, co = 3, self.c_in, self.c_out
            W = theta[:-1].reshape(k, k, ci, co)[::-1, ::-1].reshape(-1, co)
            return super().adjoint_input(np.vstack([W, theta[-1:]]), g)

    return V(C(2, 3, 3), seed=seed)


@mistake("conv-bias-border", "map", "convolution: bias gradient left out in the last row of pixels", "bias", True)
def _(seed=0):
    class C(ml.Conv2d):
        def adjoint_theta(self, a, g):
            d = super().adjoint_theta(a, g)
            d[-1] = g[:, :-1].sum(axis=(0, 1, 2))
            return d

    return V(C(2, 3, 3), seed=seed)


@mistake(
    "masked-adjoint",
    "map",
    "sparse map: forward with masked weights, adjoint_theta not masked",
    "mask|sparse|adjoint in θ|zero",
    True,
)
def _(seed=0):
    class C(ml.Linear):
        def m(self, t):
            M = np.ones(self.theta_shape, t.dtype)
            M[0, 0] = 0
            return M

        def forward(self, theta, a):
            return super().forward(theta * self.m(theta), a)

        def adjoint_input(self, theta, g):
            return super().adjoint_input(theta * self.m(theta), g)

    return V(C(3, 2), seed=seed)


@mistake(
    "forward-one-sample",
    "map",
    "forward squeezes: a batch of one sample comes back as a vector",
    "one sample|N = 1|shape|single|batch",
    True,
)
def _(seed=0):
    class C(ml.Linear):
        def forward(self, theta, a):
            z = super().forward(theta, a)
            return z[0] if len(z) == 1 else z

    return V(C(3, 2), seed=seed)


# --------------------------------------------------------------------------------------------------- D. losses
class Free(ml.Loss):
    """A loss without a transfer, of real targets of z's shape."""

    def targets(self, z, y):
        return y

    def gradient(self, z, y):
        return self.slope(z, y) * z.dtype.type(self.weight(len(z)))


def free(value, slope, **more):
    return type(
        "MyLoss",
        (Free,),
        {"value_per_sample": lambda s, z, y: value(z - y).sum(axis=1), "slope": lambda s, z, y: slope(z - y), **more},
    )


def huber_v(r, d=0.5):
    return np.where(abs(r) <= d, r * r / 2, d * (abs(r) - d / 2)).astype(r.dtype)


@mistake(
    "huber-slope",
    "loss",
    "Huber with δ = ½: slope sign(r) beyond δ, not δ sign(r)",
    "beyond|factor|large|one sid",
    True,
)
def _(seed=0):
    return V(free(huber_v, lambda r: np.where(abs(r) <= 0.5, r, np.sign(r)))(), seed=seed)


@mistake("huber-no-weight", "loss", "gradient lacks the 1/N of the mean", "1/N|weight|mean|N")
def _(seed=0):
    return V(
        free(huber_v, lambda r: np.clip(r, -0.5, 0.5), gradient=lambda s, z, y: np.clip(z - y, -0.5, 0.5))(), seed=seed
    )


@mistake("squared-without-half", "loss", "value without ½, gradient z − y", "factor 2|½|half")
def _(seed=0):
    class C(ml.SquaredError):
        def value_per_sample(self, z, y):
            return ((z - y) ** 2).sum(axis=1)

    return V(C(), seed=seed)


@mistake("logcosh-no-target", "loss", "log cosh: gradient tanh(z), without y", "y|target")
def _(seed=0):
    C = free(lambda r: abs(r) + np.log1p(np.exp(-2 * abs(r))) - math.log(2), np.tanh)
    C.slope = lambda s, z, y: np.tanh(z)
    return V(C(), seed=seed)


@mistake("softmax-ce-overflow", "loss", "log Σ exp z without subtracting the maximum", "overflow|finite|inf|large")
def _(seed=0):
    class C(ml.SoftmaxCrossEntropy):
        def value_per_sample(self, z, y):
            return np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), y]

    return V(C(), seed=seed)


@mistake("label-smoothing-value-only", "loss", "label smoothing in the value, not in the gradient", "smooth|target")
def _(seed=0):
    class C(ml.SoftmaxCrossEntropy):
        def value_per_sample(self, z, y):
            return 0.9 * super().value_per_sample(z, y) + 0.1 * (
                np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True)) + z.max(1, keepdims=True) - z
            ).mean(axis=1)

    return V(C(), seed=seed)


@mistake("prox-no-weight", "loss", "prox of the mean squared error forgets the 1/N", "1/N|weight|τ/N|mean", True)
def _(seed=0):
    class C(ml.SquaredError):
        def prox(self, v, y, tau):
            return (v + tau * y) / (1 + tau)

    return V(C(), seed=seed)


@mistake("l1-prox-shift", "loss", "prox of ‖z − y‖₁ thresholds v, not v − y", "y|target|shift", True)
def _(seed=0):
    return V(free(abs, np.sign, prox=lambda s, v, y, tau: soft(v, tau * s.weight(len(v))))(), seed=seed)


@mistake("l1-prox-half", "loss", "prox of ‖z − y‖₁ with threshold τ/2", "factor|half|2", True)
def _(seed=0):
    return V(free(abs, np.sign, prox=lambda s, v, y, tau: y + soft(v - y, tau * s.weight(len(v)) / 2))(), seed=seed)


@mistake(
    "focal-gradient",
    "loss",
    "focal loss (γ = 2): gradient lacks the derivative of (1 − p)²",
    "product|term|factor",
    True,
)
def _(seed=0):
    class C(Labels):
        convex = False

        def lp(self, z):
            return z - z.max(1, keepdims=True) - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True))

        def value_per_sample(self, z, y):
            l = self.lp(z)[np.arange(len(z)), y]
            return -((1 - np.exp(l)) ** 2) * l

        def gradient(self, z, y):
            P = np.exp(self.lp(z))
            i = np.arange(len(z))
            w = (1 - P[i, y]) ** 2
            P[i, y] -= 1
            return P * w[:, None] * z.dtype.type(self.weight(len(z)))

        def proba(self, z):
            return np.exp(self.lp(z))

    return V(C(), seed=seed)


class Labels(ml.Loss):
    """A classification loss without a transfer."""

    classification = True

    def targets(self, z, y):
        return np.eye(z.shape[1], dtype=z.dtype)[y]

    def predict(self, z):
        return z.argmax(axis=1)


class WW(Labels):
    """Weston and Watkins's hinge."""

    def m(self, z, y):
        i = np.arange(len(z))
        m = 1 + z - z[i, y][:, None]
        m[i, y] = 0
        return m

    def value_per_sample(self, z, y):
        return np.maximum(self.m(z, y), 0).sum(axis=1)

    def gradient(self, z, y):
        G = (self.m(z, y) > 0).astype(z.dtype)
        G[np.arange(len(z)), y] = -G.sum(axis=1)
        return G * z.dtype.type(self.weight(len(z)))

    def proba(self, z):
        raise NotImplementedError("a hinge has no probabilities")


@mistake(
    "hinge-count",
    "loss",
    "multiclass hinge: −1 at the label instead of minus the number of violations",
    "label|count|number|column|class",
    True,
)
def _(seed=0):
    class C(WW):
        def gradient(self, z, y):
            G = (self.m(z, y) > 0).astype(z.dtype)
            G[np.arange(len(z)), y] = -1.0 * (G.sum(axis=1) > 0)
            return G * z.dtype.type(self.weight(len(z)))

    return V(C(), seed=seed)


@mistake(
    "poisson-gradient", "loss", "Poisson log-likelihood e^z − y z with gradient z − y", "exp|transfer|f\\(z\\)|identity"
)
def _(seed=0):
    return V(
        type(
            "P",
            (Free,),
            {"value_per_sample": lambda s, z, y: (np.exp(z) - y * z).sum(axis=1), "slope": lambda s, z, y: z - y},
        )(),
        seed=seed,
    )


@mistake(
    "pinball-sign",
    "loss",
    "pinball loss: slope (1 − q) for r < 0 without its minus",
    "sign|r < 0|negative|one side",
    True,
)
def _(seed=0):
    q = 0.8
    return V(
        free(lambda r: np.maximum(q * r, (q - 1) * r), lambda r: np.where(r > 0, q, 1 - q).astype(r.dtype))(), seed=seed
    )


@mistake("reduction-ignored", "loss", "value sums over samples under reduction 'mean'", "mean|sum|reduc", True)
def _(seed=0):
    class C(ml.SquaredError):
        def value(self, z, y):
            return float(((z - y) ** 2).sum() / 2)

        def gradient(self, z, y):
            return z - y

    return V(C(), seed=seed)


@mistake(
    "class-weights-value-only", "loss", "class weights in the value, not in the gradient", "weight|class|sample", True
)
def _(seed=0):
    class C(ml.SoftmaxCrossEntropy):
        def value_per_sample(self, z, y):
            return super().value_per_sample(z, y) * (1 + (y == 0))

    return V(C(), seed=seed)


@mistake(
    "bce-log-of-sigmoid",
    "loss",
    "−y log σ − (1 − y) log(1 − σ): infinite or NaN for large z",
    "overflow|finite|inf|NaN|large",
)
def _(seed=0):
    class C(ml.SigmoidCrossEntropy):
        def value_per_sample(self, z, y):
            s = sigm(z)
            return -(y * np.log(s) + (1 - y) * np.log(1 - s)).sum(axis=1)

    return V(C(), seed=seed)


@mistake("predict-argmin", "loss", "predict takes the least output", "predict|least|label|argm", True)
def _(seed=0):
    class C(ml.SoftmaxCrossEntropy):
        def predict(self, z):
            return z.argmin(axis=1)

    return V(C(), seed=seed)


@mistake(
    "loss-gradient-in-place", "loss", "gradient subtracts y from z in place", "overwrit|in place|changes|writes", True
)
def _(seed=0):
    class C(ml.SquaredError):
        def gradient(self, z, y):
            z -= y
            z *= z.dtype.type(self.weight(len(z)))
            return z

    return V(C(), seed=seed)


@mistake("loss-float64", "loss", "gradient in float64 for float32 outputs", "float32|dtype|float64", True)
def _(seed=0):
    class C(ml.SquaredError):
        def gradient(self, z, y):
            return (z.astype(np.float64) - y) * self.weight(len(z))

    return V(C(), seed=seed)


@mistake(
    "temperature",
    "loss",
    "distillation softmax at T = 2: value of z/T, gradient without the 1/T",
    "factor 2|factor",
    True,
)
def _(seed=0):
    class C(ml.SoftmaxCrossEntropy):
        def value_per_sample(self, z, y):
            return super().value_per_sample(z / 2, y)

        def gradient(self, z, y):
            return super().gradient(z / 2, y)

        def proba(self, z):
            return super().proba(z / 2)

    return V(C(), seed=seed)


@mistake(
    "running-baseline",
    "loss",
    "value subtracts a running mean of earlier losses",
    "remember|keeps|state|earlier|function of its arguments|call",
    True,
)
def _(seed=0):
    class C(ml.SquaredError):
        def value_per_sample(self, z, y):
            v = super().value_per_sample(z, y)
            m = self.__dict__.get("mean", 0.0)
            self.__dict__["mean"] = 0.9 * m + 0.1 * float(v.mean())
            return v - m

    return V(C(), seed=seed)


@mistake(
    "loss-sum-gradient-mean",
    "loss",
    "gradient divides by N whatever the reduction (checked with 'sum')",
    "reduc|sum|1/N|mean|N",
    True,
)
def _(seed=0):
    class C(ml.SquaredError):
        def gradient(self, z, y):
            return (z - y) / len(z)

    return V(C("sum"), seed=seed)


# ------------------------------------------------------------------------------------------------- E. methods
def grad(b):
    return b.phi.adjoint_theta(b.a, b.g)


def gm(b):
    """The gradient of the mean loss, whatever the reduction."""
    return grad(b) / b.a.dtype.type(b.weight * len(b.a))


def gram(b):
    A = tilde(b.phi.rows(b.a))
    return A.T @ A


def eye(b, s=1.0):
    return np.eye(len(b.theta), dtype=b.a.dtype) * b.a.dtype.type(s)


@mistake("no-bias-step", "method", "the bias row of the gradient is 0", "bias")
def _(seed=0):
    def m(b):
        d = grad(b)
        d[-1] = 0
        return d

    return V(m, like=ml.BackProp(), seed=seed)


@mistake("gradient-over-N", "method", "divides by N though g holds the 1/N", "N|1/N|sample")
def _(seed=0):
    return V(lambda b: grad(b) / len(b.g), like=ml.BackProp(), seed=seed)


@mistake("gradient-sign", "method", "returns minus the gradient", "sign|minus|uphill|added")
def _(seed=0):
    return V(lambda b: -grad(b), like=ml.BackProp(), seed=seed)


@mistake(
    "double-mask",
    "method",
    "masks g by f'(z) again (g is masked already); right for ReLU, wrong for tanh",
    "mask|f'|σ'|twice|derivative",
    True,
)
def _(seed=0):
    def m(b):
        g = b.g if b.last else b.g * b.f.derivative(b.z)
        return b.phi.adjoint_theta(b.a, g)

    return V(m, like=ml.BackProp(), seed=seed)


@mistake(
    "unmasked-signal",
    "method",
    "uses g_a, the signal before the activation, for hidden maps",
    "mask|f'|σ'|g_a|activation|derivative",
)
def _(seed=0):
    return V(lambda b: b.phi.adjoint_theta(b.a, b.g if b.last else b.g_a), like=ml.BackProp(), seed=seed)


@mistake("drop-odd-sample", "method", "an odd last sample is dropped (pairs)", "sample|last|row|odd", True)
def _(seed=0):
    def m(b):
        n = len(b.a) // 2 * 2 or len(b.a)
        return b.phi.adjoint_theta(b.a[:n], b.g[:n])

    return V(m, like=ml.BackProp(), seed=seed)


@mistake(
    "clipped-gradient",
    "method",
    "gradient clipped to norm 1, claimed to be the gradient",
    "clip|norm|large|cut|factor",
    True,
)
def _(seed=0):
    def m(b):
        d = grad(b)
        n = np.linalg.norm(d)
        return d / n if n > 1 else d

    return V(m, like=ml.BackProp(), seed=seed)


@mistake(
    "weight-decay-inside",
    "method",
    "adds 1e-3 θ to the gradient, claimed to be the gradient",
    "decay|θ|regular|weights",
)
def _(seed=0):
    return V(lambda b: grad(b) + b.theta.dtype.type(1e-3) * b.theta, like=ml.BackProp(), seed=seed)


@mistake("writes-g", "method", "rescales block.g in place", "overwrit|in place|changes|writes|g", True)
def _(seed=0):
    def m(b):
        d = grad(b)
        b.g[...] *= 2
        return d

    return V(m, like=ml.BackProp(), seed=seed)


@mistake("writes-theta", "method", "steps block.theta itself", "θ|theta|in place|overwrit|alone", True)
def _(seed=0):
    def m(b):
        d = grad(b)
        b.theta[...] -= b.theta.dtype.type(0.1) * d
        return d

    return V(m, like=ml.BackProp(), seed=seed)


def prox(tau, damping=None, rows=tilde, num=grad, scale=1.0, last="explicit"):
    def m(b):
        if b.last and last == "explicit":
            return grad(b)
        A = rows(b.phi.rows(b.a))
        D = eye(b, 1 / tau) if damping is None else damping(b, tau)
        return np.linalg.solve(A.T @ A + D, num(b)) * b.a.dtype.type(scale)

    return m


PP = ml.ProxProp


@mistake("damping-N", "method", "ProxProp's damping N/τ", "N|damping")
def _(seed=0):
    return V(prox(0.2, lambda b, t: eye(b, len(b.a) / t)), like=PP(0.2), seed=seed)


@mistake("bias-undamped", "method", "ProxProp: the bias is not damped", "bias", True)
def _(seed=0):
    def D(b, t):
        d = eye(b, 1 / t)
        d[-1, -1] = 0
        return d

    return V(prox(0.2, D), like=PP(0.2), seed=seed)


@mistake("new-theta", "method", "ProxProp: returns the new θ, not θ minus it", "θ|new|step|minus")
def _(seed=0):
    def m(b):
        return b.theta - prox(0.2)(b)

    return V(m, like=PP(0.2), seed=seed)


@mistake(
    "last-implicit", "method", "last map implicit where the reference has it explicit", "last|implicit|explicit", True
)
def _(seed=0):
    return V(prox(0.2, last="implicit"), like=PP(0.2), seed=seed)


@mistake("times-tau", "method", "ProxProp: step multiplied by τ", "factor|τ")
def _(seed=0):
    return V(prox(0.2, scale=0.2), like=PP(0.2), seed=seed)


@mistake("sample-space-no-ones", "method", "sample-space solve with K = AAᵀ, the ones forgotten", "bias|ones|11ᵀ", True)
def _(seed=0):
    def m(b):
        if b.last:
            return grad(b)
        A = b.phi.rows(b.a)
        g = b.phi.columns(b.g)
        u = np.linalg.solve(A @ A.T + np.eye(len(A), dtype=A.dtype) * A.dtype.type(5), g)
        return tilde(A).T @ u

    return V(m, like=PP(0.2), seed=seed)


@mistake(
    "sample-branch-damping",
    "method",
    "right in parameter space; where N < n_in + 1 the sample space is taken, with τ for 1/τ",
    "damping|τ|wide|N <|sample",
    True,
)
def _(seed=0):
    def m(b):
        if b.last:
            return grad(b)
        A = tilde(b.phi.rows(b.a))
        if len(A) < A.shape[1]:
            return A.T @ np.linalg.solve(
                A @ A.T + np.eye(len(A), dtype=A.dtype) * A.dtype.type(0.2), b.phi.columns(b.g)
            )
        return prox(0.2)(b)

    return V(m, like=PP(0.2), seed=seed)


@mistake(
    "pinv-branch",
    "method",
    "where there is one output unit, drops the damping (least squares)",
    "damping|one output|unit",
    True,
)
def _(seed=0):
    def m(b):
        if b.last:
            return grad(b)
        if b.theta.shape[1] == 1:
            return np.linalg.pinv(gram(b)).astype(b.a.dtype) @ grad(b)
        return prox(0.2)(b)

    return V(m, like=PP(0.2), seed=seed)


def cg(M, r, k, beta=None):
    d = np.zeros_like(r)
    q = r.copy()
    rr = (r * r).sum(0)
    for _ in range(k):
        Mq = M @ q
        den = (q * Mq).sum(0)
        al = np.where(den > 0, rr / np.where(den > 0, den, 1), 0)
        d = d + al * q
        r = r - al * Mq
        new = (r * r).sum(0)
        be = np.where(rr > 0, new / np.where(rr > 0, rr, 1), 0) if beta is None else beta(new, rr)
        q = r + be * q
        rr = new
    return d


@mistake("cg-two-steps", "method", "claims three CG steps, takes two", "step|2|iteration|fewer|K", True)
def _(seed=0):
    return V(
        lambda b: grad(b) if b.last else cg(gram(b) + eye(b, 5), grad(b), 2).astype(b.a.dtype),
        like=PP(0.2, solver="cg3"),
        seed=seed,
    )


@mistake("cg-beta-inverted", "method", "CG with β = old/new", "conjugate|β|direction", True)
def _(seed=0):
    def be(new, old):
        return np.where(new > 0, old / np.where(new > 0, new, 1), 0)

    return V(
        lambda b: grad(b) if b.last else cg(gram(b) + eye(b, 5), grad(b), 3, be).astype(b.a.dtype),
        like=PP(0.2, solver="cg3"),
        seed=seed,
    )


@mistake(
    "cg-steepest",
    "method",
    "CG without conjugation: three steepest descent steps",
    "steepest|conjug|gradient step",
    True,
)
def _(seed=0):
    return V(
        lambda b: grad(b) if b.last else cg(gram(b) + eye(b, 5), grad(b), 3, lambda n, o: 0 * n).astype(b.a.dtype),
        like=PP(0.2, solver="cg3"),
        seed=seed,
    )


@mistake("cg-undamped", "method", "CG on ãᵀã without the damping", "damping|1/τ", True)
def _(seed=0):
    return V(
        lambda b: grad(b) if b.last else cg(gram(b), grad(b), 3).astype(b.a.dtype),
        like=PP(0.2, solver="cg3"),
        seed=seed,
    )


@mistake(
    "cg-joint-step",
    "method",
    "one CG step length for all units where the claim has one for each",
    "joint|unit|step length|column",
    True,
)
def _(seed=0):
    def joint(M, r, k):
        d, q, rr = np.zeros_like(r), r.copy(), (r * r).sum()
        for _ in range(k):
            if rr == 0:
                break
            Mq = M @ q
            al = rr / (q * Mq).sum()
            d, r = d + al * q, r - al * Mq
            new = (r * r).sum()
            q, rr = r + new / rr * q, new
        return d

    return V(
        lambda b: grad(b) if b.last else joint(gram(b) + eye(b, 5), grad(b), 3).astype(b.a.dtype),
        like=PP(0.2, solver="cg3"),
        seed=seed,
    )


@mistake(
    "cg-warm-start",
    "method",
    "CG started from the step of the last batch, not from 0",
    "remember|keeps|earlier|batch|reset|state",
    True,
)
def _(seed=0):
    class M(ml.Method):
        def propose(self, b):
            if b.last:
                return grad(b)
            old = self.__dict__.setdefault("old", {}).get(b.l)
            Mx = gram(b) + eye(b, 5)
            x = np.zeros_like(b.theta) if old is None or old.shape != b.theta.shape else old
            d = x + cg(Mx, grad(b) - Mx @ x, 3).astype(b.a.dtype)
            self.__dict__["old"][b.l] = d
            return d

    return V(M(), like=PP(0.2, solver="cg3"), seed=seed)


@mistake("gram-over-N", "method", "ãᵀã/N with damping 1/τ", "N|mean", False)
def _(seed=0):
    def m(b):
        return grad(b) if b.last else np.linalg.solve(gram(b) / len(b.phi.rows(b.a)) + eye(b, 5), grad(b))

    return V(m, like=PP(0.2), seed=seed)


@mistake(
    "gram-of-output",
    "method",
    "Gram matrix of the output a_l instead of the input where the shapes agree",
    "input|output|a_l|layer",
    True,
)
def _(seed=0):
    def m(b):
        if b.last:
            return grad(b)
        out = b.f.forward(b.z)
        A = tilde(out if out.shape == b.a.shape else b.a)
        return np.linalg.solve(A.T @ A + eye(b, 5), grad(b))

    return V(m, like=PP(0.2), seed=seed)


@mistake("tau-list-reversed", "method", "τ of each layer taken from the wrong end", "order|revers|layer|τ", True)
def _(seed=0):
    class M(ml.Method):
        def propose(self, b):
            taus = np.geomspace(0.1, 1.0, b.thetas)[::-1]
            return prox(taus[b.k - 1])(b)

    def ref(b):
        taus = np.geomspace(0.1, 1.0, b.thetas)
        return prox(taus[b.k - 1])(b)

    return V(M(), like=ref, seed=seed)


@mistake(
    "subclass-half-tau", "method", "subclass of ProxProp solves with τ/2 while it says τ", "τ|damping|factor", True
)
def _(seed=0):
    class Mine(ml.ProxProp):
        def propose(self, b):
            return prox(self.tau_theta / 2)(b)

    return V(Mine(0.2), seed=seed)


@mistake("float32-inside", "method", "solves in float32 inside a float64 network", "float32|precision|rounding", True)
def _(seed=0):
    def m(b):
        if b.last:
            return grad(b)
        return np.linalg.solve((gram(b) + eye(b, 5)).astype(np.float32), grad(b).astype(np.float32)).astype(b.a.dtype)

    return V(m, like=PP(0.2), seed=seed)


@mistake("returns-float64", "method", "returns float64 steps for float32 networks", "float32|float64|dtype", True)
def _(seed=0):
    def m(b):
        return (
            grad(b)
            if b.last
            else np.linalg.solve(gram(b).astype(float) + 5 * np.eye(len(b.theta)), grad(b).astype(float))
        )

    return V(m, like=PP(0.2), seed=seed)


@mistake("foof-sum", "method", "FOOF's λ with the summed Gram matrix instead of the mean", "N|sum|mean|damping")
def _(seed=0):
    return V(lambda b: np.linalg.solve(gram(b) + eye(b, 0.1), gm(b)), like=ml.FOOF(damping=0.1), seed=seed)


@mistake("foof-no-bias", "method", "FOOF: bias not preconditioned", "bias", True)
def _(seed=0):
    def m(b):
        A = b.phi.rows(b.a)
        d = gm(b)
        out = d.copy()
        out[:-1] = np.linalg.solve(A.T @ A / len(A) + 0.1 * np.eye(A.shape[1], dtype=A.dtype), d[:-1])
        return out.astype(b.a.dtype)

    return V(m, like=ml.FOOF(damping=0.1), seed=seed)


@mistake(
    "kfac-signal-scale",
    "method",
    "K-FAC (empirical): S of the 1/N-weighted signals, summed, without the N",
    "N|scale|signal|S",
    True,
)
def _(seed=0):
    def m(b):
        A = tilde(b.phi.rows(b.a))
        g = b.phi.columns(b.g) / b.a.dtype.type(b.weight * len(b.a))
        S = g.T @ g
        left = np.linalg.solve(A.T @ A / len(A) + eye(b, 0.1), gm(b))
        return np.linalg.solve(S + np.eye(len(S), dtype=S.dtype) * S.dtype.type(0.1), left.T).T

    return V(m, like=ml.KFAC(damping=0.1, fisher="empirical"), seed=seed)


@mistake("locoprop-gamma", "method", "exact LocoProp-S: γ forgotten in the target", "γ|factor|gamma")
def _(seed=0):
    return V(prox(0.1, last="implicit"), like=ml.LocoProp("S", gamma=2.0, steps="exact", eta=0.1), seed=seed)


@mistake("locoprop-no-decay", "method", "LocoProp-S with plain steps: local rate without its decay", "decay|rate", True)
def _(seed=0):
    def m(b):
        A = tilde(b.phi.rows(b.a))
        t = b.theta.copy()
        target = A @ t - b.phi.columns(b.g)
        for _ in range(5):
            t = t - b.a.dtype.type(0.01) * (A.T @ (A @ t - target))
        return b.theta - t

    return V(m, like=ml.LocoProp("S", gamma=1.0, steps=5, local_lr=0.01, local_optimizer="sgd", decay=True), seed=seed)


@mistake("locoprop-one-step-short", "method", "LocoProp-S with plain steps: T − 1 steps", "step|T", True)
def _(seed=0):
    def m(b):
        A = tilde(b.phi.rows(b.a))
        t = b.theta.copy()
        target = A @ t - b.phi.columns(b.g)
        for _ in range(4):
            t = t - b.a.dtype.type(0.01) * (A.T @ (A @ t - target))
        return b.theta - t

    return V(m, like=ml.LocoProp("S", gamma=1.0, steps=5, local_lr=0.01, local_optimizer="sgd", decay=False), seed=seed)


def ridge_objective(tau):
    def objective(block, theta):
        r = block.phi.forward(theta, block.a) - block.z + block.g
        return sq(r) / 2 + sq(theta - block.theta) / (2 * tau)

    return objective


@mistake(
    "objective-target-z",
    "method",
    "claimed minimiser of ½‖φ(θ) − z + g‖² + ‖θ − θ_l‖²/2τ, but damping τ",
    "minimis|damping",
)
def _(seed=0):
    return V(prox(0.2, lambda b, t: eye(b, t), last="implicit"), objective=ridge_objective(0.2), seed=seed)


@mistake("objective-last-explicit", "method", "as claimed but for the last map, which takes the gradient", "last", True)
def _(seed=0):
    return V(prox(0.2), objective=ridge_objective(0.2), seed=seed)


@mistake(
    "objective-centre-zero",
    "method",
    "regulariser ‖θ‖² in the objective, ‖θ − θ_l‖² in the method",
    "θ|centre|zero|minimis",
    True,
)
def _(seed=0):
    def objective(block, theta):
        return sq(block.phi.forward(theta, block.a) - block.z + block.g) / 2 + sq(theta) / 0.4

    return V(prox(0.2, last="implicit"), objective=objective, seed=seed)


class Momentum(ml.Method):
    def __init__(self, beta=0.9):
        self.beta = beta
        self.v = {}

    def propose(self, b):
        key = str(b.k)
        v = self.v.get(key)
        d = grad(b)
        v = d if v is None else b.theta.dtype.type(self.beta) * v + d
        self.v[key] = v
        return v.copy()

    def reset(self):
        self.v = {}

    def state_dict(self):
        return {k: v.copy() for k, v in self.v.items()}

    def load_state_dict(self, values):
        self.v = {k: np.array(v) for k, v in values.items()}


@mistake("momentum-no-reset", "method", "momentum that reset() does not forget", "reset", True)
def _(seed=0):
    class M(Momentum):
        def reset(self):
            pass

    return V(M(), like=Momentum(), seed=seed)


@mistake("momentum-no-state", "method", "momentum that state_dict() does not hold", "state_dict|state|resum", True)
def _(seed=0):
    class M(Momentum):
        def state_dict(self):
            return {}

        def load_state_dict(self, values):
            pass

    return V(M(), like=Momentum(), seed=seed)


@mistake(
    "momentum-shared-by-shape",
    "method",
    "momentum kept by the shape of θ: two maps of one shape share it",
    "shape|share|map|layer|same",
    True,
)
def _(seed=0):
    class M(Momentum):
        def propose(self, b):
            key = str(b.theta.shape)
            d = grad(b)
            v = self.v.get(key)
            v = d if v is None else b.theta.dtype.type(self.beta) * v + d
            self.v[key] = v
            return v.copy()

    return V(M(), like=Momentum(), seed=seed)


@mistake(
    "momentum-state-alias",
    "method",
    "state_dict() hands out the live buffers, which the next step overwrites",
    "copy|alias|state_dict|state|resum",
    True,
)
def _(seed=0):
    class M(Momentum):
        def propose(self, b):
            key = str(b.k)
            if key not in self.v:
                self.v[key] = np.zeros_like(b.theta)
            self.v[key] *= b.theta.dtype.type(self.beta)
            self.v[key] += grad(b)
            return self.v[key].copy()

        def state_dict(self):
            return dict(self.v)

    return V(M(), like=Momentum(), seed=seed)


@mistake(
    "momentum-resume-scaled",
    "method",
    "load_state_dict forgets one of the buffers (the last map's)",
    "resum|state|load",
    True,
)
def _(seed=0):
    class M(Momentum):
        def load_state_dict(self, values):
            super().load_state_dict(values)
            if self.v:
                self.v.pop(sorted(self.v)[-1])

    return V(M(), like=Momentum(), seed=seed)


@mistake(
    "returns-live-buffer",
    "method",
    "returns its velocity buffer itself; the next batch changes the directions returned before",
    "overwrit|buffer|copy|same array|earlier",
    True,
)
def _(seed=0):
    class M(Momentum):
        def propose(self, b):
            key = str(b.k)
            if key not in self.v:
                self.v[key] = np.zeros_like(b.theta)
            self.v[key] *= b.theta.dtype.type(self.beta)
            self.v[key] += grad(b)
            return self.v[key]

    return V(M(), like=Momentum(), seed=seed)


@mistake(
    "normalised-nan",
    "method",
    "normalised gradient without ε: NaN where ∇J = 0",
    "NaN|finite|0/0|stationary|zero",
    True,
)
def _(seed=0):
    def m(b):
        d = grad(b)
        with np.errstate(all="ignore"):
            return d / np.sqrt((d * d).sum())

    def ref(b):
        d = grad(b)
        return d / max(np.sqrt((d * d).sum()), 1e-30)

    return V(m, like=ref, seed=seed)


@mistake("wrong-loss", "method", "direction returns the loss summed, not J", "loss|J", True)
def _(seed=0):
    class M(ml.BackProp):
        def direction(self, net, X, y, rng=None):
            J, d = super().direction(net, X, y, rng)
            return J * len(X), d

    return V(M(), seed=seed)


@mistake("first-layer-special", "method", "the first map takes twice its step", "first|factor|layer|map 1|l = 1", True)
def _(seed=0):
    return V(lambda b: grad(b) * (2 if b.l == 1 else 1), like=ml.BackProp(), seed=seed)


@mistake(
    "deep-only",
    "method",
    "maps below the second last are skipped (step 0) in deep networks",
    "zero|0|map|layer|deep",
    True,
)
def _(seed=0):
    return V(lambda b: grad(b) * (1 if b.l >= b.depth - 1 else 0), like=ml.BackProp(), seed=seed)


@mistake(
    "a-not-rows",
    "method",
    "dense rows of block.a, which is wrong for convolutions (raises)",
    "conv|image|shape|rows|raise",
    True,
)
def _(seed=0):
    def m(b):
        A = tilde(b.a)
        return A.T @ b.g

    net = (
        ml.convnet([4, 3], image_size=(6, 6, 1))
        if False
        else ml.Network(
            [ml.Conv2d(1, 2, 3), ml.Tanh(), ml.Flatten(), ml.Linear(72, 3)],
            ml.SquaredError(),
            input_shape=(6, 6, 1),
            dtype=np.float64,
        )
    )
    return V(m, net, like=ml.BackProp(), seed=seed)


@mistake(
    "conv-N-pixels",
    "method",
    "on a convolution divides the Gram matrix by N·pixels (FOOF's docstring: N, as in ProxProp's τ = 1/λN)",
    "N|rows|pixel|patch|mean",
    True,
)
def _(seed=0):
    def m(b):
        return np.linalg.solve(gram(b) / len(b.phi.rows(b.a)) + eye(b, 0.1), grad(b))

    net = ml.Network(
        [ml.Conv2d(1, 2, 3), ml.Tanh(), ml.Flatten(), ml.Linear(32, 3)],
        ml.SquaredError(),
        input_shape=(4, 4, 1),
        dtype=np.float64,
    )
    return V(m, net, like=ml.FOOF(damping=0.1), seed=seed)


@mistake(
    "sum-weight",
    "method",
    "multiplies by block.weight (1/N under the mean, so only 'sum' networks are right)",
    "weight|1/N|N",
    True,
)
def _(seed=0):
    return V(lambda b: grad(b) * b.a.dtype.type(b.weight), like=ml.BackProp(), seed=seed)


@mistake(
    "random-rows",
    "method",
    "estimates the Gram matrix from a random half of the rows, anew in each call",
    "random|same|reset|function|differ",
    True,
)
def _(seed=0):
    r = np.random.default_rng(5)

    def m(b):
        if b.last:
            return grad(b)
        A = tilde(b.phi.rows(b.a))
        i = r.permutation(len(A))[: max(1, len(A) // 2)]
        return np.linalg.solve(A[i].T @ A[i] * A.dtype.type(len(A) / len(i)) + eye(b, 5), grad(b))

    return V(m, like=PP(0.2), seed=seed)


@mistake(
    "semi-implicit-old-signals",
    "method",
    "SemiImplicit whose signals pass the old weights",
    "old|new|weights|signal",
    True,
)
def _(seed=0):
    class Mine(ml.SemiImplicit):
        new_weights = False

    return V(Mine(eta=0.1, lam=1.0), like=ml.SemiImplicit(eta=0.1, lam=1.0), seed=seed)


@mistake(
    "semi-implicit-lam",
    "method",
    "SemiImplicit claimed at λ = 1, run at λ = ½ (the factor ½ of the usual ridge)",
    "λ|lam|½|factor",
    True,
)
def _(seed=0):
    return V(
        ml.SemiImplicit(eta=0.1, lam=0.5, solver="exact", steps=3),
        like=ml.SemiImplicit(eta=0.1, lam=1.0, solver="exact", steps=3),
        seed=seed,
    )


@mistake("levenberg-diag", "method", "damping by diag(ãᵀã)/τ (Marquardt) instead of I/τ", "diag|damping|I", True)
def _(seed=0):
    return V(
        prox(0.2, lambda b, t: np.diag(np.maximum(np.diag(gram(b)), 1e-3)) / b.a.dtype.type(t)), like=PP(0.2), seed=seed
    )


# ------------------------------------------------------------------------------------------------ F. networks
class Average(ml.Join):
    def __init__(self, sources):
        self.sources = (sources,) if isinstance(sources, str) else tuple(sources)

    def forward(self, theta, *values):
        return sum(values) / len(values)

    def adjoint_inputs(self, theta, g, values):
        return [g / len(values) for _ in values]

    def output_shape(self, *shapes):
        return tuple(shapes[0])


class Bad(Average):
    def adjoint_inputs(self, theta, g, values):
        return [g for _ in values]


@mistake("join-average", "network", "join that averages; its adjoint hands on all of g", "factor|join|value")
def _(seed=0):
    return V(
        ml.Network(
            [ml.Linear(3, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 4), Bad("x"), ml.Tanh(), ml.Linear(4, 2)],
            ml.SquaredError(),
            dtype=np.float64,
        ),
        seed=seed,
    )


@mistake(
    "join-swapped", "network", "join w − x with adjoints (g, −g) in the wrong order", "sign|order|swap|value", True
)
def _(seed=0):
    class Minus(Average):
        def forward(self, theta, *v):
            return v[0] - v[1]

        def adjoint_inputs(self, theta, g, values):
            return [-g, g]

    return V(
        ml.Network(
            [ml.Linear(3, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 4), Minus("x"), ml.Tanh(), ml.Linear(4, 2)],
            ml.SquaredError(),
            dtype=np.float64,
        ),
        seed=seed,
    )


@mistake("join-product", "network", "gate: the join multiplies its inputs (joins are linear)", "linear|product")
def _(seed=0):
    class Times(Average):
        def forward(self, theta, *v):
            return v[0] * v[1]

        def adjoint_inputs(self, theta, g, v):
            return [g * v[1], g * v[0]]

    return V(
        ml.Network(
            [ml.Linear(3, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 4), Times("x"), ml.Tanh(), ml.Linear(4, 2)],
            ml.SquaredError(),
            dtype=np.float64,
        ),
        seed=seed,
    )


@mistake(
    "network-activation",
    "network",
    "a network whose own activation has a wrong derivative (tanh, 1 − z²)",
    "derivative|σ'",
    False,
)
def _(seed=0):
    f = act(lambda s, z: np.tanh(z), lambda s, z: 1 - z**2)
    return V(ml.Network([ml.Linear(3, 4), f, ml.Linear(4, 2)], ml.SquaredError(), dtype=np.float64), seed=seed)


@mistake("network-loss", "network", "a network whose own loss has a gradient off by 2", "factor 2|gradient|loss", False)
def _(seed=0):
    class L(ml.SquaredError):
        def value_per_sample(self, z, y):
            return ((z - y) ** 2).sum(axis=1)

    return V(ml.Network([ml.Linear(3, 4), ml.ReLU(), ml.Linear(4, 2)], L(), dtype=np.float64), seed=seed)


@mistake(
    "join-writes-input",
    "network",
    "join adds into its first input in place",
    "overwrit|in place|changes|new array|writes",
    True,
)
def _(seed=0):
    class Sum(Average):
        def forward(self, theta, *v):
            v[0][...] += v[1]
            return v[0]

        def adjoint_inputs(self, theta, g, values):
            return [g, g.copy()]

    return V(
        ml.Network(
            [ml.Linear(3, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 4), Sum("x"), ml.Tanh(), ml.Linear(4, 2)],
            ml.SquaredError(),
            dtype=np.float64,
        ),
        seed=seed,
    )


@mistake(
    "join-output-shape",
    "network",
    "concatenating join whose adjoint cuts at half, though the parts are not equal",
    "order|cut|split|shape|width",
    True,
)
def _(seed=0):
    class Cat(Average):
        def forward(self, theta, *v):
            return np.concatenate(v, axis=-1)

        def adjoint_inputs(self, theta, g, values):
            k = values[0].shape[-1]
            # the parts in the reverse order
            return [g[..., -k:], g[..., :-k]]

        def output_shape(self, *s):
            return (*s[0][:-1], sum(t[-1] for t in s))

    return V(
        ml.Network(
            [ml.Linear(3, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 2), Cat("x"), ml.Tanh(), ml.Linear(6, 2)],
            ml.SquaredError(),
            dtype=np.float64,
        ),
        seed=seed,
    )


# ------------------------------------------------------------------------------------------------- G. Argmin
def AM(*a, seed=0, **k):
    return V(ml.Argmin(*a, **k), seed=seed)


def l1(z, v, lam):
    return lam * abs(z).sum() + sq(z - v) / 2


@mistake("soft-half", "argmin", "soft threshold λ/2", "threshold|factor|λ|lam")
def _(seed=0):
    return AM(l1, lambda v, lam: soft(v, lam / 2), "z", seed=seed)


@mistake("a-update-bias", "argmin", "a-update forgets to subtract the bias from z", "bias|\\bb\\b")
def _(seed=0):
    def E(a, z, W, b, x, rho):
        return rho / 2 * sq(z - a @ W - b) + sq(a - x) / 2

    def up(z, W, b, x, rho):
        return np.linalg.solve(rho * W @ W.T + np.eye(len(W)), (rho * z @ W.T + x).T).T

    return AM(E, up, "a", seed=seed)


@mistake("W-ridge-rho", "argmin", "ridge in W: ρ forgotten in the normal matrix", "rho|ρ|factor")
def _(seed=0):
    def E(W, a, z, b, rho, lam):
        return rho / 2 * sq(z - a @ W - b) + lam / 2 * sq(W)

    def up(a, z, b, rho, lam):
        return np.linalg.solve(a.T @ a + lam * np.eye(a.shape[1]), rho * a.T @ (z - b))

    return AM(E, up, "W", seed=seed)


def relu_E(z, u, v, rho):
    return sq(relu(z) - u) / 2 + rho / 2 * sq(z - v)


@mistake(
    "z-relu-one-branch",
    "argmin",
    "z-update through ReLU takes the positive branch always",
    "branch|negative|piece|σ|relu|other side|z < 0",
)
def _(seed=0):
    return AM(relu_E, lambda u, v, rho: (u + rho * v) / (1 + rho), "z", seed=seed)


@mistake(
    "z-relu-by-sign",
    "argmin",
    "z-update through ReLU picks the branch by the sign of v, not by the energy",
    "branch|piece|local|other side|sign|elsewhere|global|jump",
    True,
)
def _(seed=0):
    def up(u, v, rho):
        return np.where(v > 0, np.maximum((u + rho * v) / (1 + rho), 0), v)

    return AM(relu_E, up, "z", seed=seed)


@mistake(
    "z-relu-by-candidate",
    "argmin",
    "z-update through ReLU takes the positive candidate whenever it is positive",
    "branch|piece|local|other side|sign|elsewhere|global|jump",
    True,
)
def _(seed=0):
    def up(u, v, rho):
        c = (u + rho * v) / (1 + rho)
        return np.where(c > 0, c, np.minimum(v, 0))

    return AM(relu_E, up, "z", seed=seed)


@mistake(
    "nnls-clipped",
    "argmin",
    "nonnegative least squares by clipping the free solution",
    "clip|constraint|cut|bound|project",
)
def _(seed=0):
    def E(W, a, z, lam):
        return sq(a @ W - z) / 2 + lam / 2 * sq(W) if (W >= 0).all() else np.inf

    def up(a, z, lam):
        return np.maximum(np.linalg.solve(a.T @ a + lam * np.eye(a.shape[1]), a.T @ z), 0)

    return AM(E, up, "W", seed=seed)


def simplex(v):
    s = -np.sort(-v, axis=1)
    k = np.arange(1, v.shape[1] + 1)
    t = (np.cumsum(s, axis=1) - 1) / k
    n = (s > t).sum(axis=1) - 1
    return np.maximum(v - t[np.arange(len(v)), n][:, None], 0)


@mistake("simplex-normalise", "argmin", "projection on the simplex by cutting and dividing by the sum", "", False)
def _(seed=0):
    def E(z, v):
        return sq(z - v) if (z >= -1e-9).all() and np.allclose(z.sum(1), 1, atol=1e-9) else np.inf

    def up(v):
        p = np.maximum(v, 1e-12)
        return p / p.sum(axis=1, keepdims=True)

    return AM(E, up, "z", project=simplex, seed=seed)


@mistake("group-axis", "argmin", "group lasso of rows, shrunk by columns", "axis|row|column|transpos", True)
def _(seed=0):
    def E(z, v, lam):
        return lam * np.sqrt((z**2).sum(1)).sum() + sq(z - v) / 2

    def up(v, lam):
        n = np.sqrt((v**2).sum(0, keepdims=True))
        return v * np.maximum(1 - lam / np.maximum(n, 1e-300), 0)

    return AM(E, up, "z", seed=seed)


@mistake("nuclear-squared", "argmin", "singular values shrunk by λ², not λ", "λ|factor|threshold|lam", True)
def _(seed=0):
    def E(z, v, lam):
        return lam * np.linalg.svd(z, compute_uv=False).sum() + sq(z - v) / 2

    def up(v, lam):
        U, s, Vt = np.linalg.svd(v, full_matrices=False)
        return U * np.maximum(s - lam**2, 0) @ Vt

    return AM(E, up, "z", seed=seed)


@mistake("hard-threshold", "argmin", "ℓ0: keeps where v² > λ, it is v² > 2λ", "threshold|factor|2", True)
def _(seed=0):
    def E(z, v, lam):
        return lam * (z != 0).sum() + sq(z - v) / 2

    return AM(E, lambda v, lam: np.where(v**2 > lam, v, 0), "z", seed=seed)


@mistake(
    "elastic-net-order",
    "argmin",
    "elastic net: divides by 1 + μ before the threshold λ",
    "order|threshold|factor|mu|μ",
    True,
)
def _(seed=0):
    def E(z, v, lam, mu):
        return lam * abs(z).sum() + mu / 2 * sq(z) + sq(z - v) / 2

    return AM(E, lambda v, lam, mu: soft(v / (1 + mu), lam), "z", seed=seed)


@mistake(
    "multiplier-sign", "argmin", "augmented Lagrangian: multiplier enters with the wrong sign", "sign|multiplier|u"
)
def _(seed=0):
    def E(z, y, v, u, rho):
        return sq(z - y) / 2 + (u * (z - v)).sum() + rho / 2 * sq(z - v)

    return AM(E, lambda y, v, u, rho: (y + rho * v + u) / (1 + rho), "z", seed=seed)


@mistake(
    "multiplier-scaled",
    "argmin",
    "unscaled multiplier treated as the scaled one (v − u for v − u/ρ)",
    "scale|rho|ρ|multiplier|u",
    True,
)
def _(seed=0):
    def E(z, y, v, u, rho):
        return sq(z - y) / 2 + (u * (z - v)).sum() + rho / 2 * sq(z - v)

    return AM(E, lambda y, v, u, rho: (y + rho * (v - u)) / (1 + rho), "z", seed=seed)


@mistake(
    "joint-pair-one-round",
    "argmin",
    "(W, b) claimed jointly minimal after W with the old b, then b",
    "joint|one after|in turn|round|block|other",
    True,
)
def _(seed=0):
    def E(W, b, a, z, lam):
        return sq(z - a @ W - b) / 2 + lam / 2 * (sq(W) + sq(b))

    def up(W, b, a, z, lam):
        W = np.linalg.solve(a.T @ a + lam * np.eye(a.shape[1]), a.T @ (z - b))
        return W, (z - a @ W).sum(0) / (len(a) + lam)

    return AM(E, up, ("W", "b"), seed=seed)


@mistake("b-mean", "argmin", "b is the mean residual, its damping forgotten", "lam|λ|damp|regular")
def _(seed=0):
    def E(b, W, a, z, lam):
        return sq(z - a @ W - b) / 2 + lam / 2 * sq(b)

    return AM(E, lambda W, a, z, lam: (z - a @ W).mean(0), "b", seed=seed)


@mistake(
    "logistic-one-newton", "argmin", "prox of the logistic loss by one Newton step", "newton|iterat|step|one", True
)
def _(seed=0):
    def E(z, v, y, tau):
        return (np.logaddexp(0, z) - sig(y) * z).sum() + sq(z - v) / (2 * tau)

    def up(v, y, tau):
        s = sig(v)
        return v - (s - sig(y)) / (s * (1 - s) + 1 / tau)

    return AM(E, up, "z", seed=seed)


def weights(rng):
    N, n, m = rng.integers(3, 9), rng.integers(1, 5), rng.integers(1, 4)
    return dict(
        W=rng.normal(size=(n, m)),
        a=rng.normal(size=(N, n)),
        z=rng.normal(size=(N, m)),
        w=rng.uniform(0.2, 3, N),
        lam=float(np.exp(rng.normal())),
    )


@mistake("weighted-twice", "argmin", "weighted ridge with w² in place of w", "weight|w|factor|power", True)
def _(seed=0):
    def E(W, a, z, w, lam):
        return (w[:, None] * (a @ W - z) ** 2).sum() / 2 + lam / 2 * sq(W)

    def up(a, z, w, lam):
        return np.linalg.solve(a.T * w**2 @ a + lam * np.eye(a.shape[1]), a.T * w**2 @ z)

    return AM(E, up, "W", draw=weights, seed=seed)


def polar(M):
    U, _s, Vt = np.linalg.svd(M, full_matrices=False)
    return U @ Vt


def square(rng):
    n = rng.integers(2, 5)
    return dict(W=polar(rng.normal(size=(n, n))), a=rng.normal(size=(7, n)), z=rng.normal(size=(7, n)))


@mistake("procrustes-transposed", "argmin", "orthogonal Procrustes: the transposed polar factor", "transpos", True)
def _(seed=0):
    def E(W, a, z):
        return sq(a @ W - z)

    return AM(E, lambda a, z: polar(a.T @ z).T, "W", draw=square, project=polar, seed=seed)


@mistake(
    "rows-on-sphere",
    "argmin",
    "each row has norm 1; the whole matrix is normalised to norm √N",
    "row|each|norm|project|set",
    True,
)
def _(seed=0):
    def E(z, v):
        return sq(z - v)

    def nrm(z):
        return z / np.sqrt((z**2).sum(1, keepdims=True))

    return AM(E, lambda v: v * math.sqrt(len(v)) / np.sqrt(sq(v)), "z", project=nrm, seed=seed)


@mistake("prox-term-dropped", "argmin", "the proximal term at the old value is left out", "old|prox|alpha|α|term", True)
def _(seed=0):
    def E(z, z_old, y, v, alpha):
        return sq(z - y) / 2 + sq(z - v) / 2 + alpha / 2 * sq(z - z_old)

    return AM(E, lambda y, v: (y + v) / 2, "z", seed=seed)


@mistake(
    "concave-regime",
    "argmin",
    "½‖z − v‖² − λ/4‖z‖² on a box: stationary point also where λ > 2 (concave)",
    "maxim|concave|stationary|saddle|λ|bound|corner|negative curv",
    True,
)
def _(seed=0):
    def E(z, v, lam):
        return sq(z - v) / 2 - lam / 4 * sq(z) if (abs(z) <= 5 + 1e-12).all() else np.inf

    def up(v, lam):
        return np.clip(v / (1 - lam / 2), -5, 5) if abs(1 - lam / 2) > 1e-9 else 5 * np.sign(v)

    return AM(E, up, "z", seed=seed)


@mistake("linf-radius", "argmin", "prox of λ‖·‖∞ by Moreau with an ℓ1 ball of radius 1", "radius|λ|lam|factor", True)
def _(seed=0):
    def ball(v, r):
        return np.sign(v) * (simplex(abs(v) / r) * r) if abs(v).sum() > r else v

    def E(z, v, lam):
        return lam * abs(z).max(1).sum() + sq(z - v) / 2

    return AM(E, lambda v, lam: v - np.vstack([ball(r[None], 1.0) for r in v]), "z", seed=seed)


@mistake(
    "barrier-wrong-root",
    "argmin",
    "log barrier: (v − √(v² + 4λ))/2 is outside the domain",
    "domain|root|sign|outside|inf",
)
def _(seed=0):
    def E(z, v, lam):
        return -lam * np.log(z).sum() + sq(z - v) / 2 if (z > 0).all() else np.inf

    return AM(E, lambda v, lam: (v - np.sqrt(v**2 + 4 * lam)) / 2, "z", seed=seed)


@mistake(
    "update-writes-old", "argmin", "the update overwrites z_old", "overwrit|in place|changes|argument|writes", True
)
def _(seed=0):
    def E(z, z_old, v, alpha):
        return sq(z - v) / 2 + alpha / 2 * sq(z - z_old)

    def up(z_old, v, alpha):
        z_old *= alpha
        z_old += v
        z_old /= 1 + alpha
        return z_old

    return AM(E, up, "z", seed=seed)


@mistake(
    "cached-factor",
    "argmin",
    "the inverse of aᵀa + λI is kept by the shape of a",
    "remember|keeps|cache|earlier|call|state|again",
    True,
)
def _(seed=0):
    kept = {}

    def E(W, a, z, lam):
        return sq(a @ W - z) / 2 + lam / 2 * sq(W)

    def up(a, z, lam):
        if a.shape not in kept:
            kept[a.shape] = np.linalg.inv(a.T @ a + lam * np.eye(a.shape[1]))
        return kept[a.shape] @ a.T @ z

    return AM(E, up, "W", seed=seed)


@mistake(
    "wide-branch",
    "argmin",
    "ridge through the N×N side where N < n_in, with 1/λ for λ there",
    "lam|λ|N <|wide|branch|shape",
    True,
)
def _(seed=0):
    def E(W, a, z, lam):
        return sq(a @ W - z) / 2 + lam / 2 * sq(W)

    def up(a, z, lam):
        N, n = a.shape
        if n > N:
            return a.T @ np.linalg.solve(a @ a.T + np.eye(N) / lam, z)
        return np.linalg.solve(a.T @ a + lam * np.eye(n), a.T @ z)

    return AM(E, up, "W", seed=seed)


@mistake(
    "sylvester-uniform",
    "argmin",
    "weights of samples in one term only; solved as if each row had the mean weight",
    "weight|mean|row|sample",
    True,
)
def _(seed=0):
    def draw(rng):
        n, m, N = 3, 2, 6
        return dict(
            a=rng.normal(size=(N, n)),
            z=rng.normal(size=(N, m)),
            W=rng.normal(size=(n, m)),
            w=rng.uniform(0.1, 3, N),
            x=rng.normal(size=(N, n)),
        )

    def E(a, z, W, w, x):
        return (w[:, None] * (z - a @ W) ** 2).sum() / 2 + sq(a - x) / 2

    def up(z, W, w, x):
        s = w.mean()
        return np.linalg.solve(s * W @ W.T + np.eye(len(W)), (s * z @ W.T + x).T).T

    return AM(E, up, "a", draw=draw, seed=seed)


@mistake("bias-row-damped", "argmin", "the update damps the bias row, the energy does not", "bias|last row", True)
def _(seed=0):
    def E(theta, a, z, lam):
        return sq(a @ theta[:-1] + theta[-1] - z) / 2 + lam / 2 * sq(theta[:-1])

    def up(a, z, lam):
        A = tilde(a)
        return np.linalg.solve(A.T @ A + lam * np.eye(A.shape[1]), A.T @ z)

    return AM(E, up, "theta", seed=seed)


@mistake(
    "huber-prox-threshold",
    "argmin",
    "prox of τ·Huber switches at |v| = 1, not 1 + τ",
    "threshold|branch|switch|kink|factor",
    True,
)
def _(seed=0):
    def E(z, v, tau):
        return tau * np.where(abs(z) <= 1, z * z / 2, abs(z) - 0.5).sum() + sq(z - v) / 2

    return AM(E, lambda v, tau: np.where(abs(v) <= 1, v / (1 + tau), v - tau * np.sign(v)), "z", seed=seed)


@mistake(
    "ball-inside-forgotten",
    "argmin",
    "projection on the unit ball scales points inside to the sphere too",
    "inside|norm|bound|ball|interior",
    True,
)
def _(seed=0):
    def E(z, v):
        return sq(z - v) if ((z**2).sum(1) <= 1 + 1e-12).all() else np.inf

    return AM(E, lambda v: v / np.sqrt((v**2).sum(1, keepdims=True)), "z", seed=seed)


@mistake("l1-fit-mean", "argmin", "minimiser of Σ|z − b| taken as the mean, not the median", "median|mean")
def _(seed=0):
    return AM(lambda b, z: abs(z - b).sum(), lambda z: z.mean(0), "b", seed=seed)


@mistake("median-even", "argmin", "Σ|z − b| + ε‖b‖² with the plain median (the tie's middle) for even N", "", True)
def _(seed=0):
    return AM(lambda b, z, lam: abs(z - b).sum() + lam / 2 * sq(b), lambda z: np.median(z, axis=0), "b", seed=seed)


@mistake("argmax", "argmin", "dual step is the maximiser: sign of the whole energy", "maxim|sign")
def _(seed=0):
    return AM(
        lambda z, v, u: -(sq(z) / 2 - (u * z).sum()) + (0 if (abs(z) < 50).all() else np.inf),
        lambda u: u,
        "z",
        seed=seed,
    )


@mistake(
    "tv-ends",
    "argmin",
    "smoothing along samples: difference matrix with periodic ends",
    "period|end|bound|first|last",
    True,
)
def _(seed=0):
    def E(z, v, lam):
        return sq(z - v) / 2 + lam / 2 * sq(np.diff(z, axis=0))

    def up(v, lam):
        N = len(v)
        L = 2 * np.eye(N) - np.roll(np.eye(N), 1, 0) - np.roll(np.eye(N), -1, 0)
        return np.linalg.solve(np.eye(N) + lam * L, v)

    return AM(E, up, "z", seed=seed)


@mistake(
    "leaky-z-update",
    "argmin",
    "z-update through leaky ReLU: on the left slope s used once, s² forgotten",
    "slope|left|negative|branch|piece",
    True,
)
def _(seed=0):
    s = 0.3

    def f(z):
        return np.where(z > 0, z, s * z)

    def E(z, u, v, rho):
        return sq(f(z) - u) / 2 + rho / 2 * sq(z - v)

    def up(u, v, rho):
        r = np.maximum((u + rho * v) / (1 + rho), 0)
        l = np.minimum((s * u + rho * v) / (s + rho), 0)

        def e(z):
            return (f(z) - u) ** 2 / 2 + rho / 2 * (z - v) ** 2

        return np.where(e(r) < e(l), r, l)

    return AM(E, up, "z", seed=seed)


@mistake(
    "hardtanh-z-update",
    "argmin",
    "z-update through hard tanh leaves out the piece above 1",
    "piece|above|branch|flat|satur",
    True,
)
def _(seed=0):
    def f(z):
        return np.clip(z, -1, 1)

    def E(z, u, v, rho):
        return sq(f(z) - u) / 2 + rho / 2 * sq(z - v)

    def up(u, v, rho):
        def e(z):
            return (f(z) - u) ** 2 / 2 + rho / 2 * (z - v) ** 2

        c = [np.minimum(v, -1), np.clip((u + rho * v) / (1 + rho), -1, 1)]
        return np.where(e(c[0]) < e(c[1]), c[0], c[1])

    return AM(E, up, "z", seed=seed)


@mistake(
    "softmax-prox-fixed-point",
    "argmin",
    "prox of cross-entropy by one fixed-point step p(v)",
    "iterat|one step|explicit|gradient|fixed",
    True,
)
def _(seed=0):
    def E(z, v, y, tau):
        t = np.exp(y) / np.exp(y).sum(1, keepdims=True)
        return (np.log(np.exp(z).sum(1)) - (t * z).sum(1)).sum() + sq(z - v) / (2 * tau)

    def up(v, y, tau):
        t = np.exp(y) / np.exp(y).sum(1, keepdims=True)
        p = np.exp(v - v.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        return v - tau * (p - t)

    return AM(E, up, "z", seed=seed)


@mistake("variance-mle", "argmin", "MLE of a variance per column divides by N − 1", "N − 1|N|factor|unbiased", True)
def _(seed=0):
    def draw(rng):
        N, m = int(rng.integers(4, 9)), int(rng.integers(1, 4))
        return dict(s=rng.uniform(0.5, 2, m), z=rng.normal(size=(N, m)))

    def E(s, z):
        return len(z) / 2 * np.log(s).sum() + (z**2 / s).sum() / 2 if (s > 0).all() else np.inf

    return AM(E, lambda z: (z**2).sum(0) / (len(z) - 1), "s", draw=draw, seed=seed)


@mistake(
    "a-two-readers",
    "argmin",
    "a is read by two maps (skip); the update knows one",
    "term|W_k|second|reader|left out|forg|missing",
    True,
)
def _(seed=0):
    def E(a, z, W, u, W_k, x):
        return sq(z - a @ W) / 2 + sq(u - a @ W_k) / 2 + sq(a - x) / 2

    return AM(E, lambda z, W, x: np.linalg.solve(W @ W.T + np.eye(len(W)), (z @ W.T + x).T).T, "a", seed=seed)


@mistake(
    "one-sample-ok",
    "argmin",
    "sums over samples where it should be per sample: right for N = 1 and equal rows only",
    "mean|sample|row|broadcast",
    True,
)
def _(seed=0):
    return AM(
        lambda z, v, y, lam: sq(z - v) / 2 + lam / 2 * sq(z - y),
        lambda v, y, lam: (v + lam * y.mean(0)) / (1 + lam),
        "z",
        seed=seed,
    )


@mistake(
    "alternating-not-converged", "argmin", "NNLS by 5 sweeps of coordinate descent", "iterat|converg|sweep|more", True
)
def _(seed=0):
    def draw(rng):
        n = 4
        c = rng.normal(size=(9, 1))
        return dict(
            W=rng.uniform(0, 1, (n, 2)), a=rng.normal(size=(9, n)) * 0.5 + c, z=rng.normal(size=(9, 2)), lam=0.01
        )

    def E(W, a, z, lam):
        return sq(a @ W - z) / 2 + lam / 2 * sq(W) if (W >= 0).all() else np.inf

    def up(a, z, lam):
        G, R = a.T @ a + lam * np.eye(a.shape[1]), a.T @ z
        W = np.zeros_like(R)
        for _ in range(5):
            for i in range(len(W)):
                W[i] = np.maximum(0, (R[i] - G[i] @ W + G[i, i] * W[i]) / G[i, i])
        return W

    return AM(E, up, "W", draw=draw, seed=seed)


@mistake("local-saddle", "argmin", "local minimiser of (z² − v²)²: z = 0 is a maximum", "maxim|saddle|stationary", True)
def _(seed=0):
    return AM(lambda z, v: sq(z**2 - v**2), lambda v: np.zeros_like(v), "z", local=True, seed=seed)


@mistake(
    "dead-zone-tiny",
    "argmin",
    "elastic threshold right, but entries below 1e-3 set to 0 'to save memory'",
    "small|zero|entries|threshold",
    True,
)
def _(seed=0):
    def up(v, lam):
        z = v / (1 + lam)
        return np.where(abs(z) < 1e-2, 0, z)

    return AM(lambda z, v, lam: sq(z - v) / 2 + lam / 2 * sq(z), up, "z", seed=seed)


@mistake(
    "lists-old-a",
    "argmin",
    "two weights of a list: the second fitted with the first's old value, claimed jointly",
    "joint|block|other|in turn|old",
    True,
)
def _(seed=0):
    def draw(rng):
        return dict(
            Ws=[rng.normal(size=(3, 2)), rng.normal(size=(2, 2))],
            a=rng.normal(size=(6, 3)),
            x=rng.normal(size=(6, 2)),
            z=rng.normal(size=(6, 2)),
        )

    def E(Ws, a, x, z):
        return sq(a @ Ws[0] + x @ Ws[1] - z) / 2 + 0.1 * (sq(Ws[0]) + sq(Ws[1]))

    def up(Ws, a, x, z):
        def fit(A, t):
            return np.linalg.solve(A.T @ A + 0.2 * np.eye(A.shape[1]), A.T @ t)

        return [fit(a, z - x @ Ws[1]), fit(x, z - a @ Ws[0])]

    return AM(E, up, "Ws", draw=draw, seed=seed)


# ------------------------------------------------------------------------------------------------ H. Gradient
def GR(*a, seed=0, **k):
    return V(ml.Gradient(*a, **k), seed=seed)


def fit(theta, a, z):
    return sq(a @ theta[:-1] + theta[-1] - z) / 2


@mistake("grad-bias-mean", "gradient", "bias row averaged over samples", "bias|last row")
def _(seed=0):
    def G(theta, a, z):
        r = a @ theta[:-1] + theta[-1] - z
        return np.vstack([a.T @ r, r.mean(0, keepdims=True)])

    return GR(fit, G, "theta", seed=seed)


@mistake("grad-factor2", "gradient", "‖r‖² without ½, gradient aᵀr", "factor 2|factor")
def _(seed=0):
    return GR(lambda W, a, z: sq(a @ W - z), lambda W, a, z: a.T @ (a @ W - z), "W", seed=seed)


@mistake("grad-tanh-z", "gradient", "through tanh with 1 − z²", "derivative|1 −|tanh|σ'")
def _(seed=0):
    return GR(lambda z, y: sq(np.tanh(z) - y) / 2, lambda z, y: (np.tanh(z) - y) * (1 - z**2), "z", seed=seed)


@mistake("grad-softmax-diag", "gradient", "through softmax with its diagonal only", "diag", False)
def _(seed=0):
    def sm(z):
        return np.exp(z) / np.exp(z).sum(1, keepdims=True)

    return GR(lambda z, y: sq(sm(z) - y) / 2, lambda z, y: (sm(z) - y) * sm(z) * (1 - sm(z)), "z", seed=seed)


@mistake(
    "grad-batchnorm-constant", "gradient", "through a batch's mean as if it were constant", "mean|constant|sample", True
)
def _(seed=0):
    return GR(
        lambda z, y: sq((z - z.mean(0)) ** 2 - y) / 2,
        lambda z, y: 2 * ((z - z.mean(0)) ** 2 - y) * (z - z.mean(0)),
        "z",
        seed=seed,
    )


@mistake(
    "grad-tied-one-use",
    "gradient",
    "tied autoencoder: only the decoder's use of W differentiated",
    "use|term|tied|missing|other",
    True,
)
def _(seed=0):
    def E(W, a):
        return sq(np.tanh(a @ W) @ W.T - a) / 2

    def G(W, a):
        h = np.tanh(a @ W)
        r = h @ W.T - a
        return r.T @ h

    return GR(E, G, "W", seed=seed)


@mistake(
    "grad-truncated-bptt",
    "gradient",
    "recurrence of three steps: gradient through the last step only",
    "step|time|term|use",
    True,
)
def _(seed=0):
    def draw(rng):
        n = int(rng.integers(2, 4))
        return dict(W=rng.normal(size=(n, n)) / 2, x=rng.normal(size=(5, n)), y=rng.normal(size=(5, n)))

    def E(W, x, y):
        h = x
        for _ in range(3):
            h = np.tanh(h @ W)
        return sq(h - y) / 2

    def G(W, x, y):
        hs = [x]
        for _ in range(3):
            hs.append(np.tanh(hs[-1] @ W))
        return hs[2].T @ ((hs[3] - y) * (1 - hs[3] ** 2))

    return GR(E, G, "W", draw=draw, seed=seed)


@mistake("grad-regulariser-half", "gradient", "regulariser λ‖W‖² with gradient λW", "factor|λ|lam|2|regular", True)
def _(seed=0):
    return GR(
        lambda W, a, z, lam: sq(a @ W - z) / 2 + lam * sq(W),
        lambda W, a, z, lam: a.T @ (a @ W - z) + lam * W,
        "W",
        seed=seed,
    )


@mistake("grad-bias-regularised", "gradient", "regularises the bias row, the energy does not", "bias|last row", True)
def _(seed=0):
    def G(theta, a, z, lam):
        A = tilde(a)
        return A.T @ (A @ theta - z) + lam * theta

    return GR(lambda theta, a, z, lam: fit(theta, a, z) + lam / 2 * sq(theta[:-1]), G, "theta", seed=seed)


@mistake("grad-mean-sum", "gradient", "mean over samples in the energy, sum in the gradient", "N|mean|sample|sum")
def _(seed=0):
    return GR(lambda z, y: sq(z - y) / 2 / len(z), lambda z, y: z - y, "z", seed=seed)


@mistake(
    "grad-mean-all-entries",
    "gradient",
    "energy's mean over all entries (np.mean), gradient divides by N only",
    "n_out|column|entries|units|factor|size",
    True,
)
def _(seed=0):
    return GR(lambda z, y: ((z - y) ** 2).mean() / 2, lambda z, y: (z - y) / len(z), "z", seed=seed)


@mistake("grad-norm", "gradient", "gradient of ‖z‖ (not squared) taken as z", "norm|divid|factor|length")
def _(seed=0):
    return GR(lambda z: np.sqrt(sq(z)), lambda z: z, "z", seed=seed)


def spd(rng):
    n = int(rng.integers(2, 5))
    return dict(W=rng.normal(size=(n, n)) + 3 * np.eye(n), M=rng.normal(size=(n, n)), x=rng.normal(size=(5, n)))


@mistake("grad-logdet-transpose", "gradient", "∂ log|det W| = W⁻¹ instead of W⁻ᵀ", "transpos", True)
def _(seed=0):
    return GR(lambda W: np.linalg.slogdet(W)[1], lambda W: np.linalg.inv(W), "W", draw=spd, seed=seed)


@mistake(
    "grad-quadratic-symmetric", "gradient", "xᵀMx with gradient 2Mx though M is not symmetric", "symmetr|transpos", True
)
def _(seed=0):
    return GR(lambda x, M: np.einsum("ni,ij,nj->", x, M, x), lambda x, M: 2 * x @ M.T, "x", draw=spd, seed=seed)


@mistake(
    "grad-attention-scale", "gradient", "attention: 1/√d forgotten in the gradient of the query", "factor|scale|√", True
)
def _(seed=0):
    def draw(rng):
        d = int(rng.integers(2, 5))
        return dict(
            q=rng.normal(size=(3, d)), k=rng.normal(size=(4, d)), v=rng.normal(size=(4, d)), y=rng.normal(size=(3, d))
        )

    def P(q, k):
        s = q @ k.T / math.sqrt(q.shape[1])
        e = np.exp(s - s.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def G(q, k, v, y):
        p = P(q, k)
        gp = (p @ v - y) @ v.T
        return (p * (gp - (p * gp).sum(1, keepdims=True))) @ k

    return GR(lambda q, k, v, y: sq(P(q, k) @ v - y) / 2, G, "q", draw=draw, seed=seed)


@mistake(
    "grad-huber-tail",
    "gradient",
    "Huber (δ = 1): beyond δ the gradient keeps growing",
    "beyond|large|clip|cut|some entries|branch",
    True,
)
def _(seed=0):
    return GR(
        lambda z, v: np.where(abs(z - v) <= 1, (z - v) ** 2 / 2, abs(z - v) - 0.5).sum(),
        lambda z, v: z - v,
        "z",
        seed=seed,
    )


@mistake(
    "grad-multiplier", "gradient", "augmented Lagrangian: multiplier term not differentiated", "multiplier|term|u", True
)
def _(seed=0):
    return GR(
        lambda z, v, u, rho: (u * (z - v)).sum() + rho / 2 * sq(z - v), lambda z, v, rho: rho * (z - v), "z", seed=seed
    )


@mistake(
    "grad-skip",
    "gradient",
    "residual a + tanh(aW): gradient in a without the identity path",
    "identity|skip|term|missing|path",
    True,
)
def _(seed=0):
    def draw(rng):
        n = int(rng.integers(2, 4))
        return dict(a=rng.normal(size=(4, n)), W=rng.normal(size=(n, n)), y=rng.normal(size=(4, n)))

    def G(a, W, y):
        t = np.tanh(a @ W)
        return ((a + t - y) * (1 - t * t)) @ W.T

    return GR(lambda a, W, y: sq(a + np.tanh(a @ W) - y) / 2, G, "a", draw=draw, seed=seed)


@mistake(
    "grad-weight-norm", "gradient", "weight normalisation: the projection term is missing", "norm|projection|term", True
)
def _(seed=0):
    def E(W, a, z):
        return sq(a @ (W / np.sqrt((W**2).sum(0))) - z) / 2

    def G(W, a, z):
        n = np.sqrt((W**2).sum(0))
        return a.T @ (a @ (W / n) - z) / n

    return GR(E, G, "W", seed=seed)


@mistake("grad-vae-logvar", "gradient", "KL of a Gaussian in log σ²: factor ½ missing", "factor")
def _(seed=0):
    return GR(lambda z, v: 0.5 * (np.exp(z) + v**2 - 1 - z).sum(), lambda z, v: np.exp(z) - 1, "z", seed=seed)


@mistake(
    "grad-momentum",
    "gradient",
    "returns a running average of gradients",
    "remember|keeps|state|earlier|call|function of its arguments",
    True,
)
def _(seed=0):
    kept = {}

    def G(z, y):
        kept[z.shape] = 0.5 * kept.get(z.shape, 0) + 0.5 * (z - y)
        return kept[z.shape].copy()

    return GR(lambda z, y: sq(z - y) / 2, G, "z", seed=seed)


@mistake(
    "grad-coarse-difference",
    "gradient",
    "gradient by one-sided differences with h = 1e-2",
    "differences|approx|h|one-sided|inexact",
    True,
)
def _(seed=0):
    def E(z):
        return (z**4).sum()

    def G(z):
        return ((z + 1e-2) ** 4 - z**4) / 1e-2

    return GR(E, G, "z", seed=seed)


@mistake(
    "grad-conv-4d",
    "gradient",
    "images: depthwise shift z[:, 1:] − z[:, :-1], gradient without its last-row part",
    "last|bound|edge|row|end",
    True,
)
def _(seed=0):
    def draw(rng):
        return dict(z=rng.normal(size=(2, 4, 5, 3)))

    def G(z):
        d = z[:, 1:] - z[:, :-1]
        g = np.zeros_like(z)
        g[:, :-1] -= d
        g[:, 1:-1] += d[:, :-1]
        return g

    return GR(lambda z: sq(z[:, 1:] - z[:, :-1]) / 2, G, "z", draw=draw, seed=seed)


@mistake(
    "grad-first-sample",
    "gradient",
    "loop returns inside: only the first sample's gradient",
    "sample|row|first|zero",
    True,
)
def _(seed=0):
    def G(z, y):
        g = np.zeros_like(z)
        for i in range(len(z)):
            g[i] = z[i] - y[i]
            return g

    return GR(lambda z, y: sq(z - y) / 2, G, "z", seed=seed)


@mistake(
    "grad-nonlinear-in-place",
    "gradient",
    "the gradient function centres its argument in place",
    "overwrit|in place|changes|argument|writes",
    True,
)
def _(seed=0):
    def G(z, y):
        z -= y
        return z.copy()

    return GR(lambda z, y: sq(z - y) / 2, G, "z", seed=seed)


@mistake("grad-pair-order", "gradient", "gradient in (W, V) returns the two in the wrong order", "order|swap", True)
def _(seed=0):
    def draw(rng):
        n = int(rng.integers(2, 5))
        return dict(W=rng.normal(size=(n, n)), V=rng.normal(size=(n, n)), x=rng.normal(size=(5, n)))

    def G(W, V, x):
        r = x @ W @ V
        return x.T.dot(r) @ np.eye(len(V)) * 0 + (x @ W).T @ r, x.T @ r @ V.T

    return GR(lambda W, V, x: sq(x @ W @ V) / 2, G, ("W", "V"), draw=draw, seed=seed)


@mistake(
    "grad-sample-weight-lam1", "gradient", "λ enters the gradient squared (right for λ = 1)", "λ|lam|power|squar", True
)
def _(seed=0):
    return GR(lambda z, v, lam: lam * sq(z - v) / 2, lambda z, v, lam: lam**2 * (z - v), "z", seed=seed)


@mistake("grad-tikhonov-old", "gradient", "proximal term at z_old with the sign reversed", "sign|old", True)
def _(seed=0):
    return GR(
        lambda z, z_old, v, alpha: sq(z - v) / 2 + alpha / 2 * sq(z - z_old),
        lambda z, z_old, v, alpha: z - v + alpha * (z_old - z),
        "z",
        seed=seed,
    )


# --------------------------------------------------------------------------------------------------- I. Equal
def EQ(*a, seed=0, **k):
    return V(ml.Equal(*a, **k), seed=seed)


@mistake("woodbury-sign", "equal", "Woodbury with + for −", "sign")
def _(seed=0):
    def quick(a, lam):
        N, n = a.shape
        return np.eye(n) / lam + a.T @ np.linalg.solve(lam * np.eye(N) + a @ a.T, a) / lam

    return EQ(quick, lambda a, lam: np.linalg.inv(a.T @ a + lam * np.eye(a.shape[1])), seed=seed)


@mistake(
    "sherman-denominator",
    "equal",
    "Sherman–Morrison without the 1 + in the denominator",
    "denominator|term|factor",
    True,
)
def _(seed=0):
    def draw(rng):
        n = int(rng.integers(2, 5))
        return dict(d=rng.uniform(1, 2, n), s=rng.normal(size=n), r=rng.normal(size=n))

    def quick(d, s, r):
        return r / d - (s / d) * ((s / d) @ r) / ((s / d) @ s)

    return EQ(quick, lambda d, s, r: np.linalg.solve(np.diag(d) + np.outer(s, s), r), draw=draw, seed=seed)


def grads(rng):
    T, n = int(rng.integers(2, 7)), int(rng.integers(1, 5))
    return dict(w=rng.normal(size=n), gs=rng.normal(size=(T, n)), lr=float(rng.uniform(0.02, 0.07)))


def adam_ref(w, gs, lr):
    m = v = 0 * w
    w = w.copy()
    for t, g in enumerate(gs, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


@mistake("adam-off-by-one", "equal", "Adam: bias correction with t from 2", "t|step|bias correction|off by one", True)
def _(seed=0):
    def f(w, gs, lr):
        m = v = 0 * w
        for t, g in enumerate(gs, 2):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return w

    return EQ(f, adam_ref, draw=grads, seed=seed)


@mistake(
    "adam-eps-inside", "equal", "Adam: ε inside the root (by the package's Adam as reference)", "eps|ε|root|small", True
)
def _(seed=0):
    def f(w, gs, lr):
        m = v = 0 * w
        for t, g in enumerate(gs, 1):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            w = w - lr * (m / (1 - 0.9**t)) / np.sqrt(v / (1 - 0.999**t) + 1e-8)
        return w

    def ref(w, gs, lr):
        w, o = w.copy(), ml.Adam(lr=lr)
        for g in gs:
            o.step([w], [g])
        return w

    return EQ(f, ref, draw=grads, seed=seed)


@mistake("adamw-coupled", "equal", "AdamW: decay added to the gradient", "decay|decoupl", True)
def _(seed=0):
    def f(w, gs, lr):
        m = v = 0 * w
        for t, g in enumerate(gs, 1):
            g = g + 0.1 * w
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return w

    def ref(w, gs, lr):
        w, o = w.copy(), ml.Adam(lr=lr, weight_decay=0.1, decoupled=True)
        for g in gs:
            o.step([w], [g])
        return w

    return EQ(f, ref, draw=grads, seed=seed)


@mistake("heavy-ball-dampened", "equal", "heavy ball v ← βv + g with (1 − β) g", "factor|1 − β", True)
def _(seed=0):
    def run(c):
        def f(w, gs, lr):
            v = 0 * w
            for g in gs:
                v = 0.9 * v + c * g
                w = w - lr * v
            return w

        return f

    return EQ(run(0.1), run(1.0), draw=grads, seed=seed)


@mistake("nesterov-plain", "equal", "Nesterov's step taken as heavy ball", "nesterov|momentum|last", True)
def _(seed=0):
    def f(w, gs, lr):
        v = 0 * w
        for g in gs:
            v = 0.9 * v + g
            w = w - lr * v
        return w

    def ref(w, gs, lr):
        w, v = w.copy(), 0 * w
        for g in gs:
            v = 0.9 * v + g
            w = w - lr * (g + 0.9 * v)
        return w

    return EQ(f, ref, draw=grads, seed=seed)


@mistake(
    "im2col-order",
    "equal",
    "patches in the order (channel, row, column), weights in (row, column, channel)",
    "order|transpos|permut",
    True,
)
def _(seed=0):
    def draw(rng):
        return dict(x=rng.normal(size=(2, 4, 4, 3)), W=rng.normal(size=(2, 2, 3, 2)))

    def f(x, W):
        out = np.empty((2, 3, 3, 2))
        for i in range(3):
            for j in range(3):
                p = x[:, i : i + 2, j : j + 2].transpose(0, 3, 1, 2).reshape(2, -1)
                out[:, i, j] = p @ W.reshape(-1, 2)
        return out

    def ref(x, W):
        out = np.zeros((2, 3, 3, 2))
        for i in range(2):
            for j in range(2):
                out += x[:, i : i + 3, j : j + 3] @ W[i, j]
        return out

    return EQ(f, ref, draw=draw, seed=seed)


@mistake("logsumexp-max", "equal", "log Σ exp(z − max) without adding max back", "max|add|term|shift")
def _(seed=0):
    return EQ(
        lambda z: np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)), lambda z: np.log(np.exp(z).sum(1)), seed=seed
    )


@mistake("variance-ddof", "equal", "E z² − (E z)² against the unbiased variance", "N − 1|ddof|factor|unbiased", True)
def _(seed=0):
    def draw(rng):
        return dict(z=rng.normal(size=(int(rng.integers(4, 9)), 3)))

    return EQ(lambda z: (z**2).mean(0) - z.mean(0) ** 2, lambda z: z.var(0, ddof=1), draw=draw, seed=seed)


@mistake("bn-folding-bias", "equal", "batch norm folded into a map: the old bias is not scaled", "bias|\\bb\\b", True)
def _(seed=0):
    def draw(rng):
        n, m = int(rng.integers(2, 5)), int(rng.integers(1, 4))
        return dict(
            a=rng.normal(size=(6, n)),
            W=rng.normal(size=(n, m)),
            b=rng.normal(size=m),
            mean=rng.normal(size=m),
            var=rng.uniform(0.2, 2, m),
            s=rng.normal(size=m),
            t=rng.normal(size=m),
        )

    def f(a, W, b, mean, var, s, t):
        k = s / np.sqrt(var)
        return a @ (W * k) + b + t - mean * k

    return EQ(f, lambda a, W, b, mean, var, s, t: s * (a @ W + b - mean) / np.sqrt(var) + t, draw=draw, seed=seed)


@mistake("fft-circular", "equal", "linear convolution by an FFT without padding", "circular|wrap|pad|end|bound", True)
def _(seed=0):
    def draw(rng):
        return dict(x=rng.normal(size=8), k=rng.normal(size=3))

    return EQ(
        lambda x, k: np.fft.ifft(np.fft.fft(x) * np.fft.fft(k, 8)).real,
        lambda x, k: np.convolve(x, k)[:8],
        draw=draw,
        seed=seed,
    )


@mistake(
    "kron-vec-order",
    "equal",
    "(A ⊗ B) vec X with row-major vec where column-major is meant",
    "order|transpos|row-major",
    True,
)
def _(seed=0):
    def draw(rng):
        n = int(rng.integers(2, 4))
        return dict(P=rng.normal(size=(n, n)), Q=rng.normal(size=(n, n)), M=rng.normal(size=(n, n)))

    return EQ(lambda P, Q, M: np.kron(P, Q) @ M.ravel(), lambda P, Q, M: (Q @ M @ P.T).ravel(), draw=draw, seed=seed)


@mistake("push-through-no-bias", "equal", "ridge on the sample side: K without the ones", "bias|ones", True)
def _(seed=0):
    def f(a, z, lam):
        return tilde(a).T @ np.linalg.solve(a @ a.T + lam * np.eye(len(a)), z)

    def ref(a, z, lam):
        A = tilde(a)
        return np.linalg.solve(A.T @ A + lam * np.eye(A.shape[1]), A.T @ z)

    return EQ(f, ref, seed=seed)


@mistake("welford-off", "equal", "running mean m ← m + (x − m)/(k + 1) counted from k = 1", "factor|count|k", True)
def _(seed=0):
    def f(z):
        m = np.zeros(z.shape[1])
        for k, r in enumerate(z, 1):
            m = m + (r - m) / (k + 1)
        return m

    return EQ(f, lambda z: z.mean(0), seed=seed)


@mistake("formula-float32", "equal", "formula computed in float32", "float32|rounding|precision", True)
def _(seed=0):
    return EQ(lambda a: a.astype(np.float32) @ a.astype(np.float32).T, lambda a: a @ a.T, seed=seed)


@mistake(
    "equal-one-row",
    "equal",
    "‖a_i − a_j‖ by the Gram matrix: diagonal taken from columns only (n = 1 agrees)",
    "",
    True,
)
def _(seed=0):
    def f(a):
        G = a @ a.T
        d = np.diag(G)
        return 2 * d[None, :] - 2 * G

    return EQ(f, lambda a: ((a[:, None] - a[None]) ** 2).sum(2), seed=seed)


@mistake(
    "pearlmutter-missing",
    "equal",
    "Hessian–vector product of ½‖tanh(aW) − y‖² as Gauss–Newton's",
    "gauss|second|term|curvature",
    True,
)
def _(seed=0):
    def draw(rng):
        n, m = 3, 2
        return dict(
            W=rng.normal(size=(n, m)), V=rng.normal(size=(n, m)), a=rng.normal(size=(5, n)), y=rng.normal(size=(5, m))
        )

    def G(W, a, y):
        t = np.tanh(a @ W)
        return a.T @ ((t - y) * (1 - t * t))

    def f(W, V, a, y):
        t = np.tanh(a @ W)
        return a.T @ ((a @ V) * (1 - t * t) ** 2)

    def ref(W, V, a, y):
        t = np.tanh(a @ W)
        s = 1 - t * t
        return a.T @ ((a @ V) * (s**2 - 2 * t * s * (t - y)))

    return EQ(f, ref, draw=draw, seed=seed)


# ----------------------------------------------------------------------------------------------- J. Decreases
def DE(*a, seed=0, **k):
    return V(ml.Decreases(*a, **k), seed=seed)


def lifted(z, a, W, y, gamma, rho):
    """½‖z − y‖² + γ/2‖a − tanh…‖ without σ: a bilinear lifted energy."""
    return sq(z - y) / 2 + rho / 2 * sq(z - a @ W)


@mistake(
    "step-too-long",
    "decreases",
    "gradient step 1/mean eigenvalue instead of 1/largest",
    "step|long|larg|increase|short",
)
def _(seed=0):
    def sweep(W, a, z):
        return {"W": W - a.T @ (a @ W - z) / np.linalg.eigvalsh(a.T @ a).mean()}

    return DE(lambda W, a, z: sq(a @ W - z) / 2, sweep, seed=seed)


def couple(z, u, v, y):
    return sq(z - v) / 2 + sq(u - y) / 2 + 2 * sq(z + u)


@mistake(
    "jacobi",
    "decreases",
    "two blocks minimised at once, each with the old other",
    "old|same time|simultan|jacobi|at once|order",
    True,
)
def _(seed=0):
    def sweep(z, u, v, y):
        return {"z": (v - 4 * u) / 5, "u": (y - 4 * z) / 5}

    # with three blocks, so that Jacobi truly rises
    def E(z, u, p, v, y):
        return sq(z - v) / 2 + sq(u - y) / 2 + sq(p) / 2 + 2 * sq(z + u + p)

    def sweep3(z, u, p, v, y):
        return {"z": (v - 4 * (u + p)) / 5, "u": (y - 4 * (z + p)) / 5, "p": -4 * (z + u) / 5}

    return DE(E, sweep3, seed=seed)


@mistake(
    "admm-claims-descent",
    "decreases",
    "ADMM with its multiplier, claimed to decrease the augmented Lagrangian at each sweep",
    "multiplier|dual|ADMM|ascent|u",
    True,
)
def _(seed=0):
    def E(z, v, u, y, rho, lam):
        return sq(z - y) / 2 + lam * abs(v).sum() + (u * (z - v)).sum() + rho / 2 * sq(z - v)

    def sweep(z, v, u, y, rho, lam):
        z = (y + rho * v - u) / (1 + rho)
        v = soft(z + u / rho, lam / rho)
        return {"z": z, "v": v, "u": u + rho * (z - v)}

    return DE(E, sweep, seed=seed)


@mistake("does-nothing", "decreases", "returns what it got (guard always true)", "nothing|moves|rest|stand")
def _(seed=0):
    return DE(lambda W, a, z: sq(a @ W - z), lambda W, a, z: {"W": W.copy()}, seed=seed)


@mistake("bias-never-moves", "decreases", "the sweep returns b unchanged", "\\bb\\b|rest|stand|moves", True)
def _(seed=0):
    def sweep(W, b, a, z):
        return {"W": np.linalg.lstsq(a, z - b, rcond=None)[0], "b": b.copy()}

    return DE(lambda W, b, a, z: sq(a @ W + b - z) / 2, sweep, seed=seed)


@mistake(
    "wrong-fixed-point",
    "decreases",
    "descends with a safeguard but on the energy without its regulariser",
    "rest|stationary|term|lam|λ|regular",
    True,
)
def _(seed=0):
    def E(W, a, z, lam):
        return sq(a @ W - z) / 2 + lam / 2 * sq(W)

    def sweep(W, a, z, lam):
        d = a.T @ (a @ W - z)
        for t in (1, 0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-5):
            if E(W - t * d, a, z, lam) < E(W, a, z, lam):
                return {"W": W - t * d}
        return {"W": W}

    return DE(E, sweep, seed=seed)


@mistake(
    "multiplier-wrong-sign-rest",
    "decreases",
    "ADMM, multiplier step with −ρ (descends=False)",
    "sign|multiplier|u|rest|feasib",
    True,
)
def _(seed=0):
    def E(z, v, u, y, rho, lam):
        return sq(z - y) / 2 + lam / 2 * sq(v) + (u * (z - v)).sum() + rho / 2 * sq(z - v)

    def sweep(z, v, u, y, rho, lam):
        z = (y + rho * v - u) / (1 + rho)
        v = (rho * z + u) / (lam + rho)
        return {"z": z, "v": v, "u": u - rho * (z - v)}

    return DE(E, sweep, descends=False, seed=seed)


@mistake("ista-threshold", "decreases", "ISTA thresholds by λ, not λ t", "threshold|lam|λ|step", True)
def _(seed=0):
    def sweep(W, a, z, lam):
        t = 1 / np.linalg.norm(a, 2) ** 2
        return {"W": soft(W - t * a.T @ (a @ W - z), lam)}

    return DE(lambda W, a, z, lam: sq(a @ W - z) / 2 + lam * abs(W).sum(), sweep, seed=seed)


@mistake("lipschitz-half", "decreases", "ISTA with step 2.5/L", "step|long|L", True)
def _(seed=0):
    def sweep(W, a, z, lam):
        t = 2.5 / np.linalg.norm(a, 2) ** 2
        return {"W": soft(W - t * a.T @ (a @ W - z), lam * t)}

    return DE(lambda W, a, z, lam: sq(a @ W - z) / 2 + lam * abs(W).sum(), sweep, seed=seed)


@mistake("overrelaxed", "decreases", "over-relaxation with ω = 2.2", "relax|long|step|factor", True)
def _(seed=0):
    def sweep(z, u, v, y):
        z = z + 2.2 * ((v - 4 * u) / 5 - z)
        u = u + 2.2 * ((y - 4 * z) / 5 - u)
        return {"z": z, "u": u}

    return DE(couple, sweep, seed=seed)


@mistake(
    "als-stale",
    "decreases",
    "alternating least squares: V fitted to the old W's product, W to the new V, but returns the V of before",
    "old|stale|order",
    True,
)
def _(seed=0):
    def draw(rng):
        return dict(P=rng.normal(size=(6, 2)), Q=rng.normal(size=(2, 4)), M=rng.normal(size=(6, 4)))

    def sweep(P, Q, M):
        Qn = np.linalg.lstsq(P, M, rcond=None)[0]
        Pn = np.linalg.lstsq(Qn.T, M.T, rcond=None)[0].T
        return {"P": Pn, "Q": Q}

    return DE(lambda P, Q, M: sq(P @ Q - M) / 2, sweep, draw=draw, seed=seed)


@mistake("irls-weights", "decreases", "IRLS for Σ|r| with weights |r| instead of 1/|r|", "weight|power|1/", True)
def _(seed=0):
    def draw(rng):
        return dict(W=rng.normal(size=(2, 1)), a=rng.normal(size=(9, 2)), z=rng.normal(size=(9, 1)))

    def sweep(W, a, z):
        w = np.maximum(abs(a @ W - z), 1e-6)
        return {"W": np.linalg.solve(a.T @ (w * a), a.T @ (w * z))}

    return DE(lambda W, a, z: np.sqrt((a @ W - z) ** 2 + 1e-12).sum(), sweep, draw=draw, seed=seed)


@mistake(
    "second-sweep",
    "decreases",
    "every second call goes the other way",
    "remember|keeps|state|call|second|function of its arguments",
    True,
)
def _(seed=0):
    n = [0]

    def sweep(z, v):
        n[0] += 1
        return {"z": z - (0.5 if n[0] % 2 else -0.1) * (z - v)}

    return DE(lambda z, v: sq(z - v) / 2, sweep, seed=seed)


@mistake(
    "sweep-in-place",
    "decreases",
    "the sweep changes its argument z in place",
    "overwrit|in place|changes|argument|writes",
    True,
)
def _(seed=0):
    def sweep(z, v):
        z -= 0.5 * (z - v)
        return {"z": z}

    return DE(lambda z, v: sq(z - v) / 2, sweep, seed=seed)


@mistake(
    "skips-last-row",
    "decreases",
    "off-by-one: the last sample is never updated",
    "row|last|entries|rest|some|stand",
    True,
)
def _(seed=0):
    def sweep(z, v):
        z = z.copy()
        z[:-1] = v[:-1]
        return {"z": z}

    return DE(lambda z, v: sq(z - v) / 2, sweep, seed=seed)


@mistake(
    "relu-signal-dead",
    "decreases",
    "gradient in W through ReLU with the mask of the wrong sign for negative targets: dead units stay dead",
    "rest|stationary",
    True,
)
def _(seed=0):
    def draw(rng):
        return dict(z=rng.normal(size=(4, 3)), y=rng.normal(size=(4, 3)))

    def sweep(z, y):
        # ½‖tanh z − y‖²/…: masks entries with z < 0
        g = (np.tanh(z) - y / 3) * (1 - np.tanh(z) ** 2)
        return {"z": z - 0.5 * g * (z > 0)}

    return DE(lambda z, y: sq(np.tanh(z) - y / 3) / 2, sweep, draw=draw, seed=seed)


@mistake(
    "momentum-monotone",
    "decreases",
    "heavy ball claimed monotone (velocity as a variable)",
    "velocity|momentum|increase|u",
    True,
)
def _(seed=0):
    def sweep(z, u, v):
        u = 0.9 * u - 0.5 * (z - v)
        return {"z": z + u, "u": u}

    return DE(lambda z, v: sq(z - v) / 2, sweep, seed=seed)


@mistake(
    "projected-late",
    "decreases",
    "gradient step on nonnegative W, projected only at the start: may leave the set",
    "domain|outside|negative|inf|set",
    True,
)
def _(seed=0):
    def draw(rng):
        return dict(W=rng.uniform(0, 1, (3, 2)), a=rng.normal(size=(7, 3)), z=rng.normal(size=(7, 2)))

    def sweep(W, a, z):
        W = np.maximum(W, 0)
        return {"W": W - a.T @ (a @ W - z) / np.linalg.norm(a, 2) ** 2}

    return DE(lambda W, a, z: sq(a @ W - z) if (W >= 0).all() else np.inf, sweep, draw=draw, seed=seed)


# ======================================================================================================= RIGHT
# ------------------------------------------------------------------------------------------------ activations
@right("swish", "activation")
def _(seed=0):
    return V(act(lambda s, z: z * sigm(z), lambda s, z: sigm(z) + z * sigm(z) * (1 - sigm(z))), seed=seed)


@right("softsign-loop", "activation", "element by element in a Python loop")
def _(seed=0):
    def each(f):
        def g(s, z):
            return np.array([f(float(x)) for x in z.ravel()], z.dtype).reshape(z.shape)

        return g

    return V(
        act(
            each(lambda x: x / (1 + abs(x))),
            each(lambda x: 1 / (1 + abs(x)) ** 2),
            range=(-1.0, 1.0),
            integral=each(lambda x: abs(x) - math.log1p(abs(x))),
        ),
        seed=seed,
    )


@right("naive-sigmoid", "activation", "1/(1 + exp(−z)): overflows inside, right outside")
def _(seed=0):
    def f(s, z):
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-z))

    return V(act(f, lambda s, z: f(s, z) * (1 - f(s, z)), range=(0.0, 1.0)), seed=seed)


@right("relu-derivative-one-at-0", "activation", "σ'(0) = 1")
def _(seed=0):
    return V(act(lambda s, z: np.maximum(z, 0), lambda s, z: (z >= 0).astype(z.dtype)), seed=seed)


@right("relu-derivative-half-at-0", "activation", "σ'(0) = ½")
def _(seed=0):
    return V(act(lambda s, z: np.maximum(z, 0), lambda s, z: np.heaviside(z, 0.5).astype(z.dtype)), seed=seed)


@right("sine", "activation", "not monotone, bounded")
def _(seed=0):
    return V(act(lambda s, z: np.sin(z), lambda s, z: np.cos(z)), seed=seed)


@right("arctan", "activation")
def _(seed=0):
    return V(
        act(
            lambda s, z: np.arctan(z),
            lambda s, z: 1 / (1 + z * z),
            range=(-math.pi / 2, math.pi / 2),
            integral=lambda s, z: (z * np.arctan(z) - np.log1p(z * z) / 2).astype(z.dtype),
        ),
        seed=seed,
    )


@right("hard-sigmoid-pieces", "activation", "with its pieces and a closed range")
def _(seed=0):
    def F(s, z):
        c = np.clip(z, -3, 3)
        return (c * c / 12 + c / 2 + np.maximum(z - 3, 0)).astype(z.dtype)

    return V(
        act(
            lambda s, z: np.clip(z / 6 + z.dtype.type(0.5), 0, 1),
            lambda s, z: ((abs(z) < 3) / 6).astype(z.dtype),
            range=(0.0, 1.0),
            closed=True,
            integral=F,
            pieces=((-math.inf, -3.0, 0.0, 0.0), (-3.0, 3.0, 1 / 6, 0.5), (3.0, math.inf, 0.0, 1.0)),
        ),
        seed=seed,
    )


@right("cache-by-content", "activation", "derivative from a cache that checks its argument's content")
def _(seed=0):
    def f(s, z):
        a = np.tanh(z)
        s.kept = (z.copy(), a.copy())
        return a

    def d(s, z):
        k = getattr(s, "kept", None)
        a = (
            k[1]
            if k is not None and k[0].shape == z.shape and k[0].dtype == z.dtype and np.array_equal(k[0], z)
            else np.tanh(z)
        )
        return 1 - a * a

    return V(act(f, d), seed=seed)


@right("celu", "activation", "with a parameter, integral and range")
def _(seed=0):
    class CELU(ml.Activation):
        def __init__(self, alpha=2.0):
            self.alpha = alpha

        @property
        def range(self):
            return (-self.alpha, math.inf)

        def forward(self, z):
            al = z.dtype.type(self.alpha)
            return np.where(z > 0, z, al * np.expm1(np.minimum(z, 0) / al))

        def derivative(self, z):
            return np.exp(np.minimum(z, 0) / z.dtype.type(self.alpha))

        def integral(self, z):
            al = z.dtype.type(self.alpha)
            n = np.minimum(z, 0)
            return np.where(z > 0, z * z / 2, al * (al * np.expm1(n / al) - n))

    return V(CELU(), seed=seed)


@right("gelu-exact", "activation", "by SciPy's ndtr")
def _(seed=0):
    from scipy.special import ndtr

    return V(
        act(
            lambda s, z: (z * ndtr(z)).astype(z.dtype),
            lambda s, z: (ndtr(z) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)).astype(z.dtype),
        ),
        seed=seed,
    )


@right("relu-adjoint-only-copy", "activation", "adjoint works on a copy with a boolean index")
def _(seed=0):
    def adj(s, z, a, aux, g):
        g = g.copy()
        g[z <= 0] = 0
        return g

    return V(
        act(lambda s, z: np.where(z > 0, z, z.dtype.type(0)), lambda s, z: (z > 0).astype(z.dtype), adjoint=adj),
        seed=seed,
    )


@right("bent-identity", "activation", "(√(z² + 1) − 1)/2 + z")
def _(seed=0):
    return V(
        act(lambda s, z: (np.sqrt(z * z + 1) - 1) / 2 + z, lambda s, z: z / (2 * np.sqrt(z * z + 1)) + 1), seed=seed
    )


@right("decreasing", "activation", "−tanh(z), decreasing")
def _(seed=0):
    return V(act(lambda s, z: -np.tanh(z), lambda s, z: np.tanh(z) ** 2 - 1), seed=seed)


# -------------------------------------------------------------------------------------------------- transfers
@right("layernorm", "transfer")
def _(seed=0):
    return V(LayerNorm(), seed=seed)


@right("softmax", "transfer")
def _(seed=0):
    return V(SoftmaxT(), seed=seed)


@right("maxout-first-tie", "transfer")
def _(seed=0):
    return V(Max2(), seed=seed)


@right("maxout-half-tie", "transfer", "ties share the signal")
def _(seed=0):
    class C(Max2):
        def adjoint(self, z, a, aux, g):
            m = z.shape[-1] // 2
            out = np.zeros_like(z)
            w = np.heaviside(z[..., :m] - z[..., m : 2 * m], 0.5).astype(z.dtype)
            out[..., :m], out[..., m : 2 * m] = g * w, g * (1 - w)
            return out

    return V(C(), seed=seed)


@right("glu", "transfer")
def _(seed=0):
    return V(GLU(), seed=seed)


@right("rmsnorm", "transfer")
def _(seed=0):
    return V(RMSNorm(), seed=seed)


@right("gaussian-noise", "transfer", "adds noise in training; mean zero")
def _(seed=0):
    class C(ml.Transfer):
        def apply(self, z, training=False, rng=None):
            if not training:
                return z, None
            return z + z.dtype.type(0.1) * rng.standard_normal(z.shape).astype(z.dtype), None

        def adjoint(self, z, a, aux, g):
            return g

        def output_shape(self, s):
            return tuple(s)

    return V(C(), seed=seed)


@right("dropout-own", "transfer", "keeps where u < 1 − rate, boolean aux")
def _(seed=0):
    class C(ml.Transfer):
        def apply(self, z, training=False, rng=None):
            if not training:
                return z, None
            m = rng.random(z.shape) < 0.75
            return np.where(m, z / z.dtype.type(0.75), 0).astype(z.dtype), m

        def adjoint(self, z, a, aux, g):
            return g if aux is None else np.where(aux, g / g.dtype.type(0.75), 0).astype(g.dtype)

        def output_shape(self, s):
            return tuple(s)

    return V(C(), seed=seed)


@right("spatial-dropout", "transfer", "drops whole samples' channels (broadcast mask)")
def _(seed=0):
    class C(ml.Dropout):
        def apply(self, z, training=False, rng=None):
            if not training:
                return z, None
            shape = (len(z), *(1,) * (z.ndim - 2), z.shape[-1])
            m = (rng.random(shape) >= self.rate).astype(z.dtype) / z.dtype.type(1 - self.rate)
            m = np.broadcast_to(m, z.shape)
            return z * m, m

    return V(C(0.25), seed=seed)


@right("channel-flip", "transfer", "reverses channels")
def _(seed=0):
    class C(ml.Transfer):
        def apply(self, z, training=False, rng=None):
            return z[..., ::-1].copy(), None

        def adjoint(self, z, a, aux, g):
            return g[..., ::-1].copy()

        def output_shape(self, s):
            return tuple(s)

    return V(C(), seed=seed)


@right("row-normalise", "transfer", "z/√(‖z‖² + ε)")
def _(seed=0):
    class C(LayerNorm):
        def apply(self, z, training=False, rng=None):
            r = 1 / np.sqrt((z * z).sum(axis=-1, keepdims=True) + z.dtype.type(0.1))
            return z * r, r

        def adjoint(self, z, a, aux, g):
            return aux * (g - a * (a * g).sum(axis=-1, keepdims=True))

    return V(C(), seed=seed)


@right("batchnorm-subclass", "transfer", "commit written as a weighted sum")
def _(seed=0):
    class C(ml.BatchNorm):
        def commit(self, aux):
            if aux.batch is not None:
                self.running = (1 - self.momentum) * self.running + self.momentum * aux.batch

    return V(C(3, momentum=0.3), seed=seed)


@right("avgpool-overlapping", "transfer", "own loop over windows")
def _(seed=0):
    class C(ml.AvgPool2d):
        def adjoint(self, z, a, aux, g):
            out = np.zeros_like(z)
            for i in range(g.shape[1]):
                for j in range(g.shape[2]):
                    out[
                        :, i * self.stride : i * self.stride + self.size, j * self.stride : j * self.stride + self.size
                    ] += (g[:, i, j] / self.size**2)[:, None, None]
            return out

    return V(C(3, stride=2), seed=seed)


# ------------------------------------------------------------------------------------------------------- maps
@right("ntk", "map", "NTK parametrisation, scaled rows")
def _(seed=0):
    return V(NTK(5, 3), seed=seed)


@right("linear-loops", "map")
def _(seed=0):
    class C(ml.Linear):
        def forward(self, theta, a):
            z = np.empty((len(a), self.n_out), a.dtype)
            for i in range(len(a)):
                for j in range(self.n_out):
                    z[i, j] = sum(a[i, k] * theta[k, j] for k in range(self.n_in)) + theta[-1, j]
            return z

    return V(C(3, 2), seed=seed)


@right("linear-fortran", "map", "results in Fortran order")
def _(seed=0):
    class C(ml.Linear):
        def forward(self, theta, a):
            return np.asfortranarray(super().forward(theta, a))

        def adjoint_input(self, theta, g):
            return np.asfortranarray(g @ theta[:-1].T)

        def adjoint_theta(self, a, g):
            return np.asfortranarray(super().adjoint_theta(a, g))

    return V(C(4, 2), seed=seed)


@right("transposed-cache-checked", "map", "Wᵀ cached, with a check of its content")
def _(seed=0):
    class C(ml.Linear):
        def adjoint_input(self, theta, g):
            k = self.__dict__.get("kept")
            if k is None or k[0].dtype != theta.dtype or not np.array_equal(k[0], theta):
                k = self.__dict__["kept"] = (theta.copy(), theta[:-1].T.copy())
            return g @ k[1]

    return V(C(3, 2), seed=seed)


@right("permuted-input", "map", "reads its inputs in a fixed other order")
def _(seed=0):
    class C(ml.Linear):
        def forward(self, theta, a):
            return super().forward(theta, a[:, ::-1])

        def adjoint_input(self, theta, g):
            return super().adjoint_input(theta, g)[:, ::-1].copy()

        def adjoint_theta(self, a, g):
            return super().adjoint_theta(np.ascontiguousarray(a[:, ::-1]), g)

        def rows(self, a):
            return np.ascontiguousarray(a[:, ::-1])

    return V(C(4, 3), seed=seed)


@right("conv-subclass", "map", "forward by shifted sums")
def _(seed=0):
    class C(ml.Conv2d):
        def forward(self, theta, a):
            p = np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0)))
            W = theta[:-1].reshape(3, 3, self.c_in, self.c_out)
            H, Wd = a.shape[1:3]
            return sum(p[:, i : i + H, j : j + Wd] @ W[i, j] for i in range(3) for j in range(3)) + theta[-1]

    return V(C(2, 3, 3), seed=seed)


# ----------------------------------------------------------------------------------------------------- losses
@right("huber", "loss")
def _(seed=0):
    return V(free(huber_v, lambda r: np.clip(r, -0.5, 0.5))(), seed=seed)


@right("huber-prox", "loss", "with its prox")
def _(seed=0):
    def prox_(s, v, y, tau):
        t, r = tau * s.weight(len(v)), v - y
        return y + np.where(abs(r) <= 0.5 * (1 + t), r / (1 + t), r - 0.5 * t * np.sign(r))

    return V(free(huber_v, lambda r: np.clip(r, -0.5, 0.5), prox=prox_)(), seed=seed)


@right("l1-prox", "loss", "‖z − y‖₁ and its prox")
def _(seed=0):
    return V(free(abs, np.sign, prox=lambda s, v, y, tau: y + soft(v - y, tau * s.weight(len(v))))(), seed=seed)


@right("logcosh", "loss")
def _(seed=0):
    return V(free(lambda r: abs(r) + np.log1p(np.exp(-2 * abs(r))) - math.log(2), np.tanh)(), seed=seed)


@right("pinball", "loss")
def _(seed=0):
    q = 0.8
    return V(
        free(lambda r: np.maximum(q * r, (q - 1) * r), lambda r: np.where(r > 0, q, q - 1).astype(r.dtype))(), seed=seed
    )


@right("poisson", "loss", "e^z − y z, no transfer; overflows at z = 1000 as it must")
def _(seed=0):
    class P(Free):
        def value_per_sample(self, z, y):
            return (np.exp(z) - y * z).sum(axis=1)

        def slope(self, z, y):
            return np.exp(z) - y

    return V(P(), seed=seed)


@right("weston-watkins", "loss")
def _(seed=0):
    return V(WW(), seed=seed)


@right("label-smoothing", "loss", "smoothed targets of the softmax loss, value and gradient")
def _(seed=0):
    class C(ml.SoftmaxCrossEntropy):
        def targets(self, z, y):
            q = np.full_like(z, 0.1 / z.shape[1])
            q[np.arange(len(z)), y] += z.dtype.type(0.9)
            return q

        def value_per_sample(self, z, y):
            s = z - z.max(1, keepdims=True)
            return -(self.targets(z, y) * (s - np.log(np.exp(s).sum(1, keepdims=True)))).sum(1)

        def gradient(self, z, y):
            return (self.proba(z) - self.targets(z, y)) * z.dtype.type(self.weight(len(z)))

    return V(C(), seed=seed)


@right("huber-transfer-none", "loss", "Huber; 'names none' written as transfer = None")
def _(seed=0):
    return V(free(huber_v, lambda r: np.clip(r, -0.5, 0.5), transfer=None)(), seed=seed)


@right("cauchy-convex-false", "loss", "½ log(1 + r²), with convex = False as the report of the plain one says")
def _(seed=0):
    return V(free(lambda r: np.log1p(r * r) / 2, lambda r: r / (1 + r * r), convex=False)(), seed=seed)


@right("focal", "loss", "focal loss, γ = 2, convex = False")
def _(seed=0):
    class C(Labels):
        convex = False

        def lp(self, z):
            s = z - z.max(1, keepdims=True)
            return s - np.log(np.exp(s).sum(1, keepdims=True))

        def value_per_sample(self, z, y):
            l = self.lp(z)[np.arange(len(z)), y]
            return -((1 - np.exp(l)) ** 2) * l

        def gradient(self, z, y):
            P, i = np.exp(self.lp(z)), np.arange(len(z))
            l = self.lp(z)[i, y]
            p = np.exp(l)
            w = (1 - p) ** 2 - 2 * p * (1 - p) * l
            P[i, y] -= 1
            return P * w[:, None] * z.dtype.type(self.weight(len(z)))

        def proba(self, z):
            return np.exp(self.lp(z))

    return V(C(), seed=seed)


@right("squared-by-loop", "loss")
def _(seed=0):
    class C(ml.SquaredError):
        def value_per_sample(self, z, y):
            return np.array(
                [sum((p - q) ** 2 for p, q in zip(r, t, strict=False)) / 2 for r, t in zip(z, y, strict=False)]
            )

    return V(C("sum"), seed=seed)


# ---------------------------------------------------------------------------------------------------- methods
@right("prox-cholesky", "method")
def _(seed=0):
    def m(b):
        if b.last:
            return grad(b)
        L = np.linalg.cholesky(gram(b) + eye(b, 5))
        return np.linalg.solve(L.T, np.linalg.solve(L, grad(b)))

    return V(m, like=PP(0.2), seed=seed)


@right("prox-sample-side", "method")
def _(seed=0):
    def m(b):
        if b.last:
            return grad(b)
        A = tilde(b.phi.rows(b.a))
        return A.T @ np.linalg.solve(A @ A.T + np.eye(len(A), dtype=A.dtype) * A.dtype.type(5), b.phi.columns(b.g))

    return V(m, like=PP(0.2), seed=seed)


@right("prox-eigen", "method")
def _(seed=0):
    def m(b):
        if b.last:
            return grad(b)
        w, Q = np.linalg.eigh(gram(b))
        return Q @ ((Q.T @ grad(b)) / (w[:, None] + b.a.dtype.type(5)))

    return V(m, like=PP(0.2), seed=seed)


@right("prox-units-loop", "method", "lstsq of the stacked problem, unit by unit")
def _(seed=0):
    def m(b):
        if b.last:
            return grad(b)
        A, g = tilde(b.phi.rows(b.a)), b.phi.columns(b.g)
        S = np.vstack([A, eye(b, math.sqrt(5))])
        return np.stack(
            [
                np.linalg.lstsq(S, np.r_[g[:, j], np.zeros(A.shape[1], A.dtype)], rcond=None)[0]
                for j in range(g.shape[1])
            ],
            axis=1,
        )

    return V(m, like=PP(0.2), seed=seed)


@right("cg3", "method")
def _(seed=0):
    return V(
        lambda b: grad(b) if b.last else cg(gram(b) + eye(b, 5), grad(b), 3).astype(b.a.dtype),
        like=PP(0.2, solver="cg3"),
        seed=seed,
    )


@right("foof", "method", "of the mean loss, whatever the reduction")
def _(seed=0):
    def m(b):
        return np.linalg.solve(gram(b) / len(b.phi.rows(b.a)) + eye(b, 0.1), grad(b)) / b.a.dtype.type(
            b.weight * len(b.a)
        )

    return V(
        m,
        ml.mlp([3, 4, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64),
        like=ml.FOOF(damping=0.1),
        seed=seed,
    )


@right("foof-decay", "method", "running FOOF by hand against FOOF(decay=0.9)")
def _(seed=0):
    class M(Momentum):
        def propose(self, b):
            k = str(b.k)
            A = gram(b) / b.a.dtype.type(1 / b.weight)
            n = int(self.v.get("n" + k, 0)) + 1
            c = min(1 - 1 / n, 0.9)
            A = A if n == 1 else (c * self.v["A" + k] + (1 - c) * A).astype(b.a.dtype)
            self.v["A" + k], self.v["n" + k] = A, n
            return np.linalg.solve(A + eye(b, 0.1), grad(b))

        def state_dict(self):
            return {k: np.array(v) for k, v in self.v.items()}

    net = ml.mlp([3, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64)
    return V(M(), net, like=ml.FOOF(damping=0.1, decay=0.9), seed=seed)


@right("foof-conv", "method", "FOOF on a convolution, N samples")
def _(seed=0):
    net = ml.Network(
        [ml.Conv2d(1, 2, 3), ml.Tanh(), ml.Flatten(), ml.Linear(32, 3)],
        ml.SquaredError(),
        input_shape=(4, 4, 1),
        dtype=np.float64,
    )
    return V(
        lambda b: np.linalg.solve(gram(b) / len(b.a) + eye(b, 0.1), grad(b)), net, like=ml.FOOF(damping=0.1), seed=seed
    )


@right("kfac-empirical", "method")
def _(seed=0):
    def m(b):
        A, g = tilde(b.phi.rows(b.a)), b.phi.columns(b.g)
        g1 = g / g.dtype.type(b.weight)
        S = g1.T @ g1 / len(g)
        left = np.linalg.solve(A.T @ A / len(A) + eye(b, 0.1), A.T @ g1 / len(A))
        return np.linalg.solve(S + np.eye(len(S), dtype=S.dtype) * S.dtype.type(0.1), left.T).T

    net = ml.mlp([3, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64)
    return V(m, net, like=ml.KFAC(damping=0.1, fisher="empirical"), seed=seed)


@right("objective-ridge", "method")
def _(seed=0):
    return V(prox(0.2, last="implicit"), objective=ridge_objective(0.2), seed=seed)


@right("gradient-from-g_a", "method", "recomputes g from g_a and f'")
def _(seed=0):
    def m(b):
        g = b.g if b.last or b.g_a.shape != b.z.shape else b.g_a * b.f.derivative(b.z)
        return b.phi.adjoint_theta(b.a, g)

    return V(m, like=ml.BackProp(), seed=seed)


@right("momentum", "method", "with state_dict and reset")
def _(seed=0):
    return V(Momentum(), like=Momentum(), seed=seed)


@right("locoprop-sgd", "method", "plain local steps without decay")
def _(seed=0):
    def m(b):
        A = tilde(b.phi.rows(b.a))
        t = b.theta.copy()
        target = A @ t - b.phi.columns(b.g)
        for _ in range(5):
            t = t - b.a.dtype.type(0.01) * (A.T @ (A @ t - target))
        return b.theta - t

    return V(m, like=ml.LocoProp("S", gamma=1.0, steps=5, local_lr=0.01, local_optimizer="sgd", decay=False), seed=seed)


@right("readme-line-search", "method")
def _(seed=0):
    def line_search(block):
        d = block.phi.adjoint_theta(block.a, block.g)
        change = block.phi.forward(d, block.a)
        return d * ((d * d).sum(axis=0) / ((change * change).sum(axis=0) + 1e-12))

    return V(line_search, like=ml.ProxProp(tau_theta=1e12, solver="cg1", last="implicit"), seed=seed)


@right("layer-taus", "method", "τ by layer, a function as the reference")
def _(seed=0):
    def ref(b):
        return prox(0.1 * b.k)(b)

    class M(ml.Method):
        def __init__(self, base=0.1):
            self.base = base

        def propose(self, b):
            if b.last:
                return grad(b)
            return np.linalg.inv(gram(b) + eye(b, 1 / (self.base * b.k))) @ grad(b)

    return V(M(), like=ref, seed=seed)


# --------------------------------------------------------------------------------------------------- networks
@right("average-join", "network")
def _(seed=0):
    return V(
        ml.Network(
            [ml.Linear(3, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 4), Average("x"), ml.Tanh(), ml.Linear(4, 2)],
            ml.SquaredError(),
            dtype=np.float64,
        ),
        seed=seed,
    )


@right("recurrent-shared", "network", "one map three times")
def _(seed=0):
    c = ml.Linear(4, 4)
    return V(
        ml.Network(
            [ml.Linear(3, 4), ml.Tanh(), c, ml.Tanh(), c, ml.Tanh(), c, ml.Tanh(), ml.Linear(4, 2)],
            ml.SquaredError(),
            dtype=np.float64,
        ),
        seed=seed,
    )


@right("own-everything", "network", "own activation, loss and map in one network")
def _(seed=0):
    f = act(lambda s, z: z * sigm(z), lambda s, z: sigm(z) + z * sigm(z) * (1 - sigm(z)))
    return V(
        ml.Network([NTK(3, 4), f, NTK(4, 2)], free(huber_v, lambda r: np.clip(r, -0.5, 0.5))(), dtype=np.float64),
        seed=seed,
    )


@right("glu-net", "network", "with a transfer that halves the width")
def _(seed=0):
    return V(ml.Network([ml.Linear(3, 8), GLU(), ml.Linear(4, 2)], ml.SquaredError(), dtype=np.float64), seed=seed)


# ----------------------------------------------------------------------------------------------------- argmin
@right("soft", "argmin")
def _(seed=0):
    return AM(l1, lambda v, lam: soft(v, lam), "z", seed=seed)


@right("z-relu", "argmin", "both branches by energy")
def _(seed=0):
    def up(u, v, rho):
        p, n = np.maximum((u + rho * v) / (1 + rho), 0), np.minimum(v, 0)

        def e(z):
            return (relu(z) - u) ** 2 / 2 + rho / 2 * (z - v) ** 2

        return np.where(e(p) < e(n), p, n)

    return AM(relu_E, up, "z", seed=seed)


@right("z-relu-local", "argmin", "one branch, claimed local only")
def _(seed=0):
    def up(u, v, rho):
        p = (u + rho * v) / (1 + rho)
        return np.where(v < 0, v, np.where(p > 0, p, np.maximum(p, 0) * 0))

    return AM(lambda z, u, v, rho: sq(relu(z) - u) / 2 + rho / 2 * sq(z - v), up, "z", local=True, seed=seed)


@right("nuclear", "argmin")
def _(seed=0):
    def up(v, lam):
        U, s, Vt = np.linalg.svd(v, full_matrices=False)
        return U * np.maximum(s - lam, 0) @ Vt

    return AM(lambda z, v, lam: lam * np.linalg.svd(z, compute_uv=False).sum() + sq(z - v) / 2, up, "z", seed=seed)


@right("group", "argmin")
def _(seed=0):
    def up(v, lam):
        n = np.sqrt((v**2).sum(1, keepdims=True))
        return v * np.maximum(1 - lam / np.maximum(n, 1e-300), 0)

    return AM(lambda z, v, lam: lam * np.sqrt((z**2).sum(1)).sum() + sq(z - v) / 2, up, "z", seed=seed)


@right("l0", "argmin")
def _(seed=0):
    return AM(
        lambda z, v, lam: lam * (z != 0).sum() + sq(z - v) / 2,
        lambda v, lam: np.where(v**2 > 2 * lam, v, 0),
        "z",
        seed=seed,
    )


@right("simplex", "argmin", "with project")
def _(seed=0):
    def E(z, v):
        return sq(z - v) if (z >= -1e-9).all() and np.allclose(z.sum(1), 1, atol=1e-9) else np.inf

    return AM(E, simplex, "z", project=simplex, seed=seed)


@right("procrustes", "argmin", "with project")
def _(seed=0):
    return AM(lambda W, a, z: sq(a @ W - z), lambda a, z: polar(a.T @ z), "W", draw=square, project=polar, seed=seed)


@right("linf", "argmin")
def _(seed=0):
    def ball(v, r):
        return np.sign(v) * (simplex(abs(v) / r) * r) if abs(v).sum() > r else v

    return AM(
        lambda z, v, lam: lam * abs(z).max(1).sum() + sq(z - v) / 2,
        lambda v, lam: v - np.vstack([ball(r[None], lam) for r in v]),
        "z",
        seed=seed,
    )


@right("log-barrier", "argmin")
def _(seed=0):
    def E(z, v, lam):
        return -lam * np.log(z).sum() + sq(z - v) / 2 if (z > 0).all() else np.inf

    def up(v, lam):
        s = np.sqrt(v**2 + 4 * lam)
        return np.where(v > 0, (v + s) / 2, 2 * lam / (s - v))

    return AM(E, up, "z", seed=seed)


@right("logistic-newton-loop", "argmin", "Newton with bisection, to convergence")
def _(seed=0):
    def E(z, v, y, tau):
        return (np.logaddexp(0, z) - sig(y) * z).sum() + sq(z - v) / (2 * tau)

    def up(v, y, tau):
        lo, hi = v - tau - 1, v + tau + 1
        for _ in range(200):
            m = (lo + hi) / 2
            s = sig(m) - sig(y) + (m - v) / tau
            lo, hi = np.where(s < 0, m, lo), np.where(s < 0, hi, m)
        return (lo + hi) / 2

    return AM(E, up, "z", seed=seed)


@right("pair-joint", "argmin", "(W, b) jointly")
def _(seed=0):
    def E(W, b, a, z, lam):
        return sq(z - a @ W - b) / 2 + lam / 2 * (sq(W) + sq(b))

    def up(a, z, lam):
        A = tilde(a)
        t = np.linalg.solve(A.T @ A + lam * np.eye(A.shape[1]), A.T @ z)
        return t[:-1], t[-1]

    return AM(E, up, ("W", "b"), seed=seed)


@right("median", "argmin", "one of many minimisers for even N")
def _(seed=0):
    return AM(lambda b, z: abs(z - b).sum(), lambda z: np.median(z, axis=0), "b", seed=seed)


@right("lstsq-rank-deficient", "argmin", "least squares of least norm where a has more columns than rows")
def _(seed=0):
    return AM(lambda W, a, z: sq(a @ W - z), lambda a, z: np.linalg.pinv(a) @ z, "W", seed=seed)


@right("nnls-converged", "argmin", "scipy.optimize.nnls")
def _(seed=0):
    from scipy.optimize import nnls

    def E(W, a, z, lam):
        return sq(a @ W - z) / 2 + lam / 2 * sq(W) if (W >= 0).all() else np.inf

    def up(a, z, lam):
        n = a.shape[1]
        S = np.vstack([a, math.sqrt(lam) * np.eye(n)])
        return np.stack([nnls(S, np.r_[z[:, j], np.zeros(n)])[0] for j in range(z.shape[1])], axis=1)

    return AM(E, up, "W", seed=seed)


@right("sphere", "argmin", "with project")
def _(seed=0):
    def nrm(z):
        return z / np.sqrt((z**2).sum(1, keepdims=True))

    return AM(lambda z, v: sq(z - v), lambda v: nrm(v), "z", project=nrm, seed=seed)


@right("images-4d", "argmin", "4-D, with the old value")
def _(seed=0):
    def draw(rng):
        s = (2, 3, 4, 2)
        return dict(
            z=rng.normal(size=s), z_old=rng.normal(size=s), v=rng.normal(size=s), alpha=float(rng.uniform(0.1, 3))
        )

    return AM(
        lambda z, z_old, v, alpha: sq(z - v) / 2 + alpha / 2 * sq(z - z_old),
        lambda z_old, v, alpha: (v + alpha * z_old) / (1 + alpha),
        "z",
        draw=draw,
        seed=seed,
    )


@right("list-block", "argmin", "a list of two weights, jointly")
def _(seed=0):
    def draw(rng):
        return dict(
            Ws=[rng.normal(size=(3, 2)), rng.normal(size=(2, 2))],
            a=rng.normal(size=(6, 3)),
            x=rng.normal(size=(6, 2)),
            z=rng.normal(size=(6, 2)),
        )

    def up(a, x, z):
        A = np.hstack([a, x])
        t = np.linalg.solve(A.T @ A + 0.2 * np.eye(5), A.T @ z)
        return [t[:3], t[3:]]

    return AM(
        lambda Ws, a, x, z: sq(a @ Ws[0] + x @ Ws[1] - z) / 2 + 0.1 * (sq(Ws[0]) + sq(Ws[1])),
        up,
        "Ws",
        draw=draw,
        seed=seed,
    )


@right("box-concave", "argmin", "concave on a box: the right corner")
def _(seed=0):
    def E(z, v):
        return -sq(z) / 2 - (z * v).sum() if (abs(z) <= 1).all() else np.inf

    return AM(E, lambda v: np.where(v >= 0, 1.0, -1.0), "z", seed=seed)


@right("integer-round", "argmin", "energy finite on integers only")
def _(seed=0):
    def E(z, v):
        return sq(z - v) if (z == np.round(z)).all() else np.inf

    return AM(E, np.round.__call__ if False else (lambda v: np.round(v)), "z", project=lambda z: np.round(z), seed=seed)


@right("covariance-mle", "argmin", "precision matrix: logdet")
def _(seed=0):
    def draw(rng):
        n = int(rng.integers(2, 4))
        B, C = rng.normal(size=(8, n)), rng.normal(size=(8, n))
        return dict(P=B.T @ B, S=C.T @ C / 8)

    def E(P, S):
        P = (P + P.T) / 2
        if np.linalg.eigvalsh(P)[0] <= 0:
            return np.inf
        return -np.linalg.slogdet(P)[1] + (P * S).sum()

    return AM(E, lambda S: np.linalg.inv(S), "P", draw=draw, seed=seed)


# --------------------------------------------------------------------------------------------------- gradient
@right("grad-tied", "gradient")
def _(seed=0):
    def G(W, a):
        h = np.tanh(a @ W)
        r = h @ W.T - a
        return r.T @ h + a.T @ ((r @ W) * (1 - h * h))

    return GR(lambda W, a: sq(np.tanh(a @ W) @ W.T - a) / 2, G, "W", seed=seed)


@right("grad-complex-step", "gradient", "by complex steps, entry by entry")
def _(seed=0):
    def G(z, y):
        g = np.empty(z.shape)
        for i in np.ndindex(z.shape):
            c = z.astype(complex)
            c[i] += 1e-30j
            g[i] = ((np.tanh(c) - y) ** 2).sum().imag / 1e-30
        return g

    return GR(lambda z, y: ((np.tanh(z) - y) ** 2).sum(), G, "z", seed=seed)


@right("grad-logdet", "gradient")
def _(seed=0):
    return GR(lambda W: np.linalg.slogdet(W)[1], lambda W: np.linalg.inv(W).T, "W", draw=spd, seed=seed)


@right("grad-spectral", "gradient", "spectral norm, uvᵀ")
def _(seed=0):
    def G(W):
        U, _s, Vt = np.linalg.svd(W, full_matrices=False)
        return np.outer(U[:, 0], Vt[0])

    return GR(lambda W: np.linalg.norm(W, 2), G, "W", draw=spd, seed=seed)


@right("grad-relu-net", "gradient", "through ReLU, nonsmooth")
def _(seed=0):
    def draw(rng):
        return dict(
            W=rng.normal(size=(3, 5)), V=rng.normal(size=(5, 2)), x=rng.normal(size=(20, 3)), y=rng.normal(size=(20, 2))
        )

    def G(W, V, x, y):
        h = relu(x @ W)
        return x.T @ (((h @ V - y) @ V.T) * (h > 0))

    return GR(lambda W, V, x, y: sq(relu(x @ W) @ V - y) / 2, G, "W", draw=draw, seed=seed)


@right("grad-l1", "gradient", "λ‖W‖₁ by signs")
def _(seed=0):
    return GR(lambda W, lam: lam * abs(W).sum(), lambda W, lam: lam * np.sign(W), "W", seed=seed)


@right("grad-conv-4d", "gradient", "images, batch of NHWC")
def _(seed=0):
    def G(z):
        d = z[:, 1:] - z[:, :-1]
        g = np.zeros_like(z)
        g[:, :-1] -= d
        g[:, 1:] += d
        return np.asfortranarray(g)

    return GR(
        lambda z: sq(z[:, 1:] - z[:, :-1]) / 2,
        G,
        "z",
        draw=lambda rng: dict(z=rng.normal(size=(2, 4, 5, 3))),
        seed=seed,
    )


@right("grad-batchnorm", "gradient", "through batch mean and variance")
def _(seed=0):
    def draw(rng):
        return dict(z=rng.normal(size=(6, 3)), y=rng.normal(size=(6, 3)))

    def n(z):
        return (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-2)

    def G(z, y):
        x, s = n(z), np.sqrt(z.var(0) + 1e-2)
        g = x - y
        return (g - g.mean(0) - x * (g * x).mean(0)) / s

    return GR(lambda z, y: sq(n(z) - y) / 2, G, "z", draw=draw, seed=seed)


@right("grad-large-scale", "gradient", "energy of size 1e8 with a tiny part that matters not")
def _(seed=0):
    return GR(lambda z: 1e8 * sq(z) + z.sum(), lambda z: 2e8 * z + 1, "z", seed=seed)


@right("grad-bptt", "gradient", "recurrence, all steps")
def _(seed=0):
    def draw(rng):
        n = int(rng.integers(2, 4))
        return dict(W=rng.normal(size=(n, n)) / 2, x=rng.normal(size=(5, n)), y=rng.normal(size=(5, n)))

    def run_(W, x):
        hs = [x]
        for _ in range(3):
            hs.append(np.tanh(hs[-1] @ W))
        return hs

    def G(W, x, y):
        hs = run_(W, x)
        d, out = hs[3] - y, 0 * W
        for k in (3, 2, 1):
            d = d * (1 - hs[k] ** 2)
            out += hs[k - 1].T @ d
            d = d @ W.T
        return out

    return GR(lambda W, x, y: sq(run_(W, x)[3] - y) / 2, G, "W", draw=draw, seed=seed)


# ------------------------------------------------------------------------------------------------------ equal
@right("woodbury", "equal")
def _(seed=0):
    def quick(a, lam):
        N, n = a.shape
        return (np.eye(n) - a.T @ np.linalg.solve(lam * np.eye(N) + a @ a.T, a)) / lam

    return EQ(quick, lambda a, lam: np.linalg.inv(a.T @ a + lam * np.eye(a.shape[1])), seed=seed)


@right("adam", "equal", "own loop against ml.Adam")
def _(seed=0):
    def ref(w, gs, lr):
        w, o = w.copy(), ml.Adam(lr=lr)
        for g in gs:
            o.step([w], [g])
        return w

    return EQ(adam_ref, ref, draw=grads, seed=seed)


@right("welford", "equal")
def _(seed=0):
    def f(z):
        m, s = np.zeros(z.shape[1]), np.zeros(z.shape[1])
        for k, r in enumerate(z, 1):
            d = r - m
            m = m + d / k
            s = s + d * (r - m)
        return [m, s / len(z)]

    return EQ(f, lambda z: [z.mean(0), z.var(0)], seed=seed)


@right("distances", "equal", "‖a_i − a_j‖² by the Gram matrix")
def _(seed=0):
    def f(a):
        G = a @ a.T
        d = np.diag(G)
        return d[:, None] + d - 2 * G

    return EQ(f, lambda a: ((a[:, None] - a[None]) ** 2).sum(2), seed=seed)


@right("fft-padded", "equal")
def _(seed=0):
    return EQ(
        lambda x, k: np.fft.irfft(np.fft.rfft(x, 10) * np.fft.rfft(k, 10), 10),
        lambda x, k: np.convolve(x, k),
        draw=lambda rng: dict(x=rng.normal(size=8), k=rng.normal(size=3)),
        seed=seed,
    )


@right("equal-zero", "equal", "a commutator that vanishes: reference exactly 0")
def _(seed=0):
    return EQ(lambda a: (a @ a.T) - (a @ a.T).T, lambda a: np.zeros((len(a), len(a))), seed=seed)


# -------------------------------------------------------------------------------------------------- decreases
@right("gradient-1/L", "decreases")
def _(seed=0):
    return DE(
        lambda W, a, z: sq(a @ W - z) / 2,
        lambda W, a, z: {"W": W - a.T @ (a @ W - z) / np.linalg.norm(a, 2) ** 2},
        seed=seed,
    )


@right("gauss-seidel", "decreases", "new values at once")
def _(seed=0):
    def sweep(z, u, v, y):
        z = (v - 4 * u) / 5
        return {"z": z, "u": (y - 4 * z) / 5}

    return DE(couple, sweep, seed=seed)


@right("jacobi-two-halves", "decreases", "simultaneous steps of two convex blocks, halved")
def _(seed=0):
    return DE(
        couple,
        lambda z, u, v, y: {"z": z + 0.5 * ((v - 4 * u) / 5 - z), "u": u + 0.5 * ((y - 4 * z) / 5 - u)},
        seed=seed,
    )


@right("ista", "decreases")
def _(seed=0):
    def sweep(W, a, z, lam):
        t = 1 / np.linalg.norm(a, 2) ** 2
        return {"W": soft(W - t * a.T @ (a @ W - z), lam * t)}

    return DE(lambda W, a, z, lam: sq(a @ W - z) / 2 + lam * abs(W).sum(), sweep, seed=seed)


@right("admm-rests", "decreases", "ADMM, claim of rest only")
def _(seed=0):
    def E(z, v, u, y, rho, lam):
        return sq(z - y) / 2 + lam / 2 * sq(v) + (u * (z - v)).sum() + rho / 2 * sq(z - v)

    def sweep(z, v, u, y, rho, lam):
        z = (y + rho * v - u) / (1 + rho)
        v = (rho * z + u) / (lam + rho)
        return {"z": z, "v": v, "u": u + rho * (z - v)}

    return DE(E, sweep, descends=False, seed=seed)


@right("admm-lasso-rests", "decreases", "ADMM with soft threshold, claim of rest only")
def _(seed=0):
    def E(z, v, u, y, rho, lam):
        return sq(z - y) / 2 + lam * abs(v).sum() + (u * (z - v)).sum() + rho / 2 * sq(z - v)

    def sweep(z, v, u, y, rho, lam):
        z = (y + rho * v - u) / (1 + rho)
        v = soft(z + u / rho, lam / rho)
        return {"z": z, "v": v, "u": u + rho * (z - v)}

    return DE(E, sweep, descends=False, seed=seed)


@right("als", "decreases", "alternating least squares, factors not unique")
def _(seed=0):
    def sweep(P, Q, M):
        Q = np.linalg.lstsq(P, M, rcond=None)[0]
        return {"Q": Q, "P": np.linalg.lstsq(Q.T, M.T, rcond=None)[0].T}

    return DE(
        lambda P, Q, M: sq(P @ Q - M) / 2,
        sweep,
        draw=lambda rng: dict(P=rng.normal(size=(6, 2)), Q=rng.normal(size=(2, 4)), M=rng.normal(size=(6, 4))),
        seed=seed,
    )


@right("irls", "decreases", "smoothed IRLS, a majoriser")
def _(seed=0):
    def sweep(W, a, z):
        w = 1 / np.sqrt((a @ W - z) ** 2 + 0.01)
        return {"W": np.linalg.solve(a.T @ (w * a), a.T @ (w * z))}

    return DE(
        lambda W, a, z: np.sqrt((a @ W - z) ** 2 + 0.01).sum(),
        sweep,
        draw=lambda rng: dict(W=rng.normal(size=(2, 1)), a=rng.normal(size=(9, 2)), z=rng.normal(size=(9, 1))),
        seed=seed,
    )


@right("nmf", "decreases", "Lee and Seung's multiplicative updates on nonnegative factors")
def _(seed=0):
    def sweep(P, Q, M):
        Q = Q * (P.T @ M) / (P.T @ P @ Q)
        P = P * (M @ Q.T) / (P @ Q @ Q.T)
        return {"P": P, "Q": Q}

    return DE(
        lambda P, Q, M: sq(P @ Q - M) if (P >= 0).all() and (Q >= 0).all() else np.inf,
        sweep,
        draw=lambda rng: dict(
            P=rng.uniform(0.1, 1, (6, 2)), Q=rng.uniform(0.1, 1, (2, 4)), M=rng.uniform(0.1, 1, (6, 4))
        ),
        seed=seed,
    )


@right("projected-gradient", "decreases", "on the nonnegative orthant, inf outside")
def _(seed=0):
    return DE(
        lambda W, a, z: sq(a @ W - z) / 2 if (W >= 0).all() else np.inf,
        lambda W, a, z: {"W": np.maximum(W - a.T @ (a @ W - z) / np.linalg.norm(a, 2) ** 2, 0)},
        draw=lambda rng: dict(W=rng.uniform(0, 1, (3, 2)), a=rng.normal(size=(7, 3)), z=rng.normal(size=(7, 2))),
        seed=seed,
    )


@right("backtracking", "decreases", "Armijo on a nonconvex energy")
def _(seed=0):
    def E(W, a, y):
        return sq(np.tanh(a @ W) - y) / 2

    def sweep(W, a, y):
        t = np.tanh(a @ W)
        g, s = a.T @ ((t - y) * (1 - t * t)), 1.0
        while E(W - s * g, a, y) > E(W, a, y) - 0.3 * s * sq(g) and s > 1e-12:
            s /= 2
        return {"W": W - s * g}

    return DE(
        E,
        sweep,
        draw=lambda rng: dict(W=rng.normal(size=(3, 2)), a=rng.normal(size=(7, 3)), y=rng.normal(size=(7, 2)) / 2),
        seed=seed,
    )


@right("kmeans", "decreases", "Lloyd's algorithm, energy by nearest centre")
def _(seed=0):
    def sweep(c, x):
        k = ((x[:, None] - c) ** 2).sum(2).argmin(1)
        return {"c": np.stack([x[k == j].mean(0) if (k == j).any() else c[j] for j in range(len(c))])}

    return DE(
        lambda c, x: ((x[:, None] - c) ** 2).sum(2).min(1).sum(),
        sweep,
        draw=lambda rng: dict(c=rng.normal(size=(3, 2)), x=rng.normal(size=(15, 2))),
        seed=seed,
    )


# ------------------------------------------------------------------ second wave: layouts, chunks, caches, ties
@mistake(
    "layout-activation",
    "activation",
    "derivative by ravel(order='K'): wrong where z is not C-contiguous",
    "contig|layout|order|transpos|memory|stride",
    True,
)
def _(seed=0):
    return V(
        act(lambda s, z: np.tanh(z), lambda s, z: (1 - np.tanh(z.ravel(order="K")) ** 2).reshape(z.shape)), seed=seed
    )


@mistake(
    "layout-map",
    "map",
    "adjoint_theta reads a by ravel(order='K'): wrong for a transposed view",
    "contig|layout|order|memory|stride",
    True,
)
def _(seed=0):
    class C(ml.Linear):
        def adjoint_theta(self, a, g):
            return super().adjoint_theta(a.ravel(order="K").reshape(a.shape), g)

    return V(C(3, 2), seed=seed)


@mistake("layout-loss", "loss", "gradient by ravel(order='K') of z alone", "contig|layout|order|memory|stride", True)
def _(seed=0):
    class C(ml.SquaredError):
        def gradient(self, z, y):
            return (z.ravel(order="K").reshape(z.shape) - y) * z.dtype.type(self.weight(len(z)))

    return V(C(), seed=seed)


@mistake(
    "chunks-activation",
    "activation",
    "forward in chunks of 8 samples; the rest of a batch keeps σ = 0",
    "sample|chunk|batch|rest|row",
    True,
)
def _(seed=0):
    def f(s, z):
        out = np.zeros_like(z)
        step = 8 if len(z) >= 8 else len(z)
        for i in range(0, len(z) // step * step, step):
            out[i : i + step] = np.tanh(z[i : i + step])
        return out

    return V(act(f, lambda s, z: 1 - np.tanh(z) ** 2), seed=seed)


@mistake(
    "chunks-map",
    "map",
    "adjoint_theta in chunks of 4 samples: a last incomplete chunk is dropped where N > 4",
    "sample|chunk|batch|rest|row",
    True,
)
def _(seed=0):
    class C(ml.Linear):
        def adjoint_theta(self, a, g):
            n = len(a) // 4 * 4 if len(a) > 4 else len(a)
            return super().adjoint_theta(a[:n], g[:n])

    return V(C(3, 2), seed=seed)


@mistake(
    "chunks-loss",
    "loss",
    "gradient right for up to 32 samples; beyond that the rest is 0 (a buffer of 32 rows)",
    "sample|chunk|batch|rest|row|large",
    True,
)
def _(seed=0):
    class C(ml.SquaredError):
        def gradient(self, z, y):
            g = super().gradient(z, y)
            g[32:] = 0
            return g

    return V(C(), seed=seed)


@mistake(
    "one-sample-loss",
    "loss",
    "a batch of one sample: weight 1/(N − 1) guarded as 1/max(N − 1, 1), for 1/N",
    "N|factor",
    True,
)
def _(seed=0):
    class C(ml.SquaredError):
        def gradient(self, z, y):
            return (z - y) / z.dtype.type(max(len(z) - 1, 1))

    return V(C(), seed=seed)


@mistake(
    "one-sample-activation",
    "activation",
    "derivative is 0 for a batch of one sample (squeezed test)",
    "one sample|N = 1|batch of one",
    True,
)
def _(seed=0):
    def d(s, z):
        return (1 - np.tanh(z) ** 2) * (0 if len(z) == 1 else 1)

    return V(act(lambda s, z: np.tanh(z), d), seed=seed)


@mistake(
    "one-column-loss",
    "loss",
    "with one output z is squeezed: (N,) − (N, 1) is broadcast",
    "shape|one output|broadcast|squeez",
    True,
)
def _(seed=0):
    class C(ml.SquaredError):
        def value_per_sample(self, z, y):
            if z.shape[1] == 1:
                return ((z[:, 0] - y) ** 2).mean(axis=1) / 2
            return super().value_per_sample(z, y)

    return V(C(), seed=seed)


@mistake(
    "last-label",
    "loss",
    "labels off by one at the end: the last class is taken for the one before",
    "label|class",
    True,
)
def _(seed=0):
    class C(ml.SoftmaxCrossEntropy):
        def value_per_sample(self, z, y):
            return super().value_per_sample(z, np.minimum(y, max(z.shape[1] - 2, 0)))

    return V(C(), seed=seed)


@mistake(
    "hinge-tie",
    "loss",
    "hinge: at a margin of exactly 0 the gradient has the violation of one class only",
    "tie|kink|margin",
    True,
)
def _(seed=0):
    class C(WW):
        def gradient(self, z, y):
            m = self.m(z, y)
            G = (m > 0).astype(z.dtype)
            i = np.arange(len(z))
            G[i, y] = -(m >= 0).sum(axis=1) + 1.0  # counts ties and the label itself
            return G * z.dtype.type(self.weight(len(z)))

    return V(C(), seed=seed)


@mistake(
    "group-zero-row",
    "argmin",
    "group lasso divides by ‖v_i‖: NaN where a row is 0 (drawn with zero rows)",
    "NaN|finite|nan|domain",
    True,
)
def _(seed=0):
    def draw(rng):
        v = rng.normal(size=(4, 3))
        v[int(rng.integers(4))] = 0
        return dict(z=rng.normal(size=(4, 3)), v=v, lam=0.5)

    def up(v, lam):
        with np.errstate(all="ignore"):
            return v * (1 - lam / np.sqrt((v**2).sum(1, keepdims=True))) * ((v**2).sum(1, keepdims=True) > lam**2)

    return AM(lambda z, v, lam: lam * np.sqrt((z**2).sum(1)).sum() + sq(z - v) / 2, up, "z", draw=draw, seed=seed)


@mistake(
    "group-zero-row-usual", "argmin", "the same with the usual draw: a zero row is never drawn", "NaN|finite|nan", True
)
def _(seed=0):
    def up(v, lam):
        with np.errstate(all="ignore"):
            return v * (1 - lam / np.sqrt((v**2).sum(1, keepdims=True))) * ((v**2).sum(1, keepdims=True) > lam**2)

    return AM(lambda z, v, lam: lam * np.sqrt((z**2).sum(1)).sum() + sq(z - v) / 2, up, "z", seed=seed)


@mistake("argmin-one-row", "argmin", "update returns one row (its mean), broadcast against z", "shape|row|mean", True)
def _(seed=0):
    return AM(lambda z, v: sq(z - v), lambda v: v.mean(0, keepdims=True), "z", seed=seed)


@mistake("argmin-squeezed", "argmin", "where there is one output, the update returns (N,) for (N, 1)", "shape", True)
def _(seed=0):
    return AM(
        lambda z, v, lam: sq(z - v) / 2 + lam / 2 * sq(z),
        lambda v, lam: (v / (1 + lam))[:, 0] if v.shape[1] == 1 else v / (1 + lam),
        "z",
        seed=seed,
    )


@mistake("argmin-energy-in-place", "argmin", "the energy subtracts v from z in place", "overwrit|in place|writes", True)
def _(seed=0):
    def E(z, v):
        z -= v
        return sq(z)

    return AM(E, lambda v: v.copy(), "z", seed=seed)


@mistake(
    "argmin-random-restart",
    "argmin",
    "gradient descent from a random start, 60 steps: inexact and another result each time",
    "random|differ|calls|iterat|nearly",
    True,
)
def _(seed=0):
    r = np.random.default_rng(3)

    def up(a, z, lam):
        H = a.T @ a + lam * np.eye(a.shape[1])
        W = r.normal(size=(a.shape[1], z.shape[1]))
        for _ in range(60):
            W = W - (H @ W - a.T @ z) / np.linalg.norm(H, 2)
        return W

    return AM(lambda W, a, z, lam: sq(a @ W - z) / 2 + lam / 2 * sq(W), up, "W", seed=seed)


@mistake(
    "argmin-warm-start-only",
    "argmin",
    "one gradient step from the old value, right only if it starts at the solution",
    "step|explicit|old|gradient|iterat",
    True,
)
def _(seed=0):
    return AM(
        lambda W, a, z, lam: sq(a @ W - z) / 2 + lam / 2 * sq(W),
        lambda W, a, z, lam: W - (a.T @ (a @ W - z) + lam * W) / (np.linalg.norm(a, 2) ** 2 + lam),
        "W",
        seed=seed,
    )


@mistake(
    "grad-rare-branch",
    "gradient",
    "Huber with δ = 4: beyond δ (never drawn by normal numbers) the slope is δ² sign",
    "beyond|large|some|branch",
    True,
)
def _(seed=0):
    d = 4.0
    return GR(
        lambda z: np.where(abs(z) <= d, z * z / 2, d * (abs(z) - d / 2)).sum(),
        lambda z: np.where(abs(z) <= d, z, d * d * np.sign(z)),
        "z",
        seed=seed,
    )


@mistake(
    "argmin-rare-branch",
    "argmin",
    "prox of Huber with δ = 4 whose linear branch lacks δ",
    "beyond|large|branch|some",
    True,
)
def _(seed=0):
    d = 4.0
    return AM(
        lambda z, v: np.where(abs(z) <= d, z * z / 2, d * (abs(z) - d / 2)).sum() + sq(z - v) / 2,
        lambda v: np.where(abs(v) <= 2 * d, v / 2, v - np.sign(v)),
        "z",
        seed=seed,
    )


@mistake(
    "equal-rare-branch",
    "equal",
    "stable softplus: for z > 5 returns z instead of z + log1p(e^−z)",
    "beyond|large|branch|some|nearly",
    True,
)
def _(seed=0):
    return EQ(lambda z: np.where(z > 5, z, np.log1p(np.exp(np.minimum(z, 5)))), lambda z: np.logaddexp(0, z), seed=seed)


@mistake(
    "equal-positive-only", "equal", "arg of a root: √(z²) for z (right for positive numbers)", "sign|negative|abs", True
)
def _(seed=0):
    return EQ(lambda z, v: np.sqrt(z**2) * v, lambda z, v: z * v, seed=seed)


@mistake(
    "equal-square-only", "equal", "trace(AᵀB) by the trace of the product A B where both are square", "transpos", True
)
def _(seed=0):
    def f(W, W_k):
        return np.trace(W @ W_k) if W.shape[0] == W.shape[1] else (W * W_k).sum()

    return EQ(f, lambda W, W_k: np.trace(W.T @ W_k), seed=seed)


@mistake(
    "decreases-schedule",
    "decreases",
    "step grows with a hidden counter: too long from the 20th call on",
    "calls|remember|counter|step|long",
    True,
)
def _(seed=0):
    n = [0]

    def sweep(z, v):
        n[0] += 1
        return {"z": z - 0.12 * n[0] * (z - v)}

    return DE(lambda z, v: sq(z - v) / 2, sweep, seed=seed)


@mistake(
    "decreases-rare-lam",
    "decreases",
    "gradient step 1/(1 + λ/2) for curvature 1 + λ: too long for λ ≫ 1 only",
    "long|step",
    True,
)
def _(seed=0):
    return DE(
        lambda z, v, lam: sq(z - v) / 2 + lam / 2 * sq(z),
        lambda z, v, lam: {"z": z - (z - v + lam * z) / (1 + lam / 2.1)},
        seed=seed,
    )


@mistake(
    "decreases-saddle",
    "decreases",
    "rests at a saddle: (z² − 1)² from z = 0 moves not, elsewhere by descent; the start at 0 is the claim's own",
    "",
    True,
)
def _(seed=0):
    # rests wherever |grad| < 0.1 : a stopping rule much too loose
    def sweep(z, v):
        g = z - v
        return {"z": z - 0.5 * g if abs(g).max() > 0.1 else z.copy()}

    return DE(lambda z, v: sq(z - v) / 2, sweep, seed=seed)


@mistake(
    "sum-networks",
    "method",
    "multiplies by N·weight (1 under the mean): wrong for networks with a summed loss",
    "N|weight|sum",
    True,
)
def _(seed=0):
    net = ml.mlp([3, 4, 2], activation="tanh", loss=ml.SquaredError("sum"), dtype=np.float64)
    return V(lambda b: grad(b) * b.a.dtype.type(b.weight * len(b.a)), net, like=ml.BackProp(), seed=seed)


@mistake("sum-networks-usual", "method", "the same on verify's own networks", "N|weight|sum", True)
def _(seed=0):
    return V(lambda b: grad(b) * b.a.dtype.type(b.weight * len(b.a)), like=ml.BackProp(), seed=seed)


@mistake(
    "stale-gram",
    "method",
    "ProxProp that keeps the Gram matrix of the first batch of this shape, without reset",
    "batch|reset|state|keeps|remember|earlier",
    True,
)
def _(seed=0):
    kept = {}

    def m(b):
        if b.last:
            return grad(b)
        key = (b.k, b.a.shape, b.theta.shape, b.a.dtype)
        if key not in kept:
            kept[key] = gram(b) + eye(b, 5)
        return np.linalg.solve(kept[key], grad(b))

    return V(m, like=PP(0.2), seed=seed)


@mistake(
    "lazy-factor",
    "method",
    "FOOF whose factor is refreshed every second batch; reset() clears it, state_dict() holds it",
    "batch|average|stale|earlier|second|refresh|state",
    True,
)
def _(seed=0):
    class M(ml.Method):
        def __init__(self):
            self.n, self.kept = {}, {}

        def propose(self, b):
            k = str(b.k)
            n = self.n.get(k, 0)
            if n % 2 == 0 or k not in self.kept:
                self.kept[k] = gram(b) / len(b.a) + eye(b, 0.1)
            self.n[k] = n + 1
            return np.linalg.solve(self.kept[k], gm(b))

        def reset(self):
            self.n, self.kept = {}, {}

        def state_dict(self):
            return {"n" + k: v for k, v in self.n.items()} | {"K" + k: v.copy() for k, v in self.kept.items()}

        def load_state_dict(self, values):
            self.n = {k[1:]: int(v) for k, v in values.items() if k[0] == "n"}
            self.kept = {k[1:]: np.array(v) for k, v in values.items() if k[0] == "K"}

    return V(
        M(),
        ml.mlp([3, 4, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64),
        like=ml.FOOF(damping=0.1),
        seed=seed,
    )


class LazyProx(Momentum):
    """Refreshes its factor in every second batch."""

    def propose(self, b):
        if b.last:
            return grad(b)
        k = str(b.k)
        n = int(self.v.get("n" + k, 0))
        if n % 2 == 0 or self.v["K" + k].shape[0] != len(b.theta):
            self.v["K" + k] = gram(b) + eye(b, 5)
        self.v["n" + k] = n + 1
        return np.linalg.solve(self.v["K" + k], grad(b))

    def state_dict(self):
        return {k: np.array(v) for k, v in self.v.items()}


@mistake(
    "lazy-prox",
    "method",
    "ProxProp whose factor is refreshed every second batch only (state kept and reset as it should be)",
    "batch|stale|earlier|second|refresh|kept|remember",
    True,
)
def _(seed=0):
    return V(LazyProx(), like=PP(0.2), seed=seed)


@mistake(
    "lazy-prox-reference",
    "method",
    "the same against a function as the reference",
    "batch|stale|earlier|second|refresh|kept|remember",
    True,
)
def _(seed=0):
    return V(LazyProx(), like=prox(0.2), seed=seed)


@mistake(
    "cg-warm-start-kept",
    "method",
    "cg3 started from the last batch's step; kept in state_dict, forgotten by reset",
    "batch|start|earlier|kept|remember|zero",
    True,
)
def _(seed=0):
    class M(Momentum):
        def propose(self, b):
            if b.last:
                return grad(b)
            k = str(b.k)
            x = self.v.get(k, np.zeros_like(b.theta))
            M_ = gram(b) + eye(b, 5)
            d = x + cg(M_, grad(b) - M_ @ x, 3).astype(b.a.dtype)
            self.v[k] = d.copy()
            return d

    return V(M(), like=PP(0.2, solver="cg3"), seed=seed)


@mistake(
    "momentum-as-gradient",
    "method",
    "heavy-ball momentum, state and reset right, claimed to be BackProp",
    "batch|momentum|velocity|earlier|kept|remember",
    False,
)
def _(seed=0):
    return V(Momentum(), like=ml.BackProp(), seed=seed)


@mistake(
    "momentum-wrong-beta",
    "method",
    "heavy ball with β = 0.5 against a reference method with 0.9: the second step differs",
    "β|factor|batch|second|momentum|earlier",
    True,
)
def _(seed=0):
    return V(Momentum(0.5), like=Momentum(0.9), seed=seed)


@mistake(
    "foof-decay-wrong",
    "method",
    "running FOOF with decay 0.5 by hand against FOOF(decay=0.9)",
    "decay|average|past|batch",
    True,
)
def _(seed=0):
    class M(Momentum):
        def propose(self, b):
            k = str(b.k)
            A = gram(b) / b.a.dtype.type(1 / b.weight)
            n = int(self.v.get("n" + k, 0)) + 1
            c = min(1 - 1 / n, 0.5)
            A = A if n == 1 else (c * self.v["A" + k] + (1 - c) * A).astype(b.a.dtype)
            self.v["A" + k], self.v["n" + k] = A, n
            return np.linalg.solve(A + eye(b, 0.1), grad(b))

        def state_dict(self):
            return {k: np.array(v) for k, v in self.v.items()}

    net = ml.mlp([3, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64)
    return V(M(), net, like=ml.FOOF(damping=0.1, decay=0.9), seed=seed)


@mistake(
    "shared-map-once",
    "method",
    "where maps share θ, takes the rows of the first use only (half of the stacked rows)",
    "shared|use|stack|half|rows",
    True,
)
def _(seed=0):
    c = ml.Linear(4, 4)
    net = ml.Network(
        [ml.Linear(3, 4), ml.Tanh(), c, ml.Tanh(), c, ml.Tanh(), ml.Linear(4, 2)], ml.SquaredError(), dtype=np.float64
    )
    X = np.random.default_rng(1).normal(size=(6, 3))

    def m(b):
        return b.phi.adjoint_theta(b.a[:6], b.g[:6])

    return V(m, net, X, like=ml.BackProp(), seed=seed)


@mistake(
    "batchnorm-scale-step",
    "method",
    "own direction: the step in a batch norm's scale and shift is 0",
    "scale|shift|batch norm",
    True,
)
def _(seed=0):
    class M(ml.Method):
        def propose(self, b):
            return grad(b)

        def explicit_step(self, block):
            return 0 * super().explicit_step(block)

    return V(M(), like=ml.BackProp(), seed=seed)


# right things of the second wave
@right("layout-activation-right", "activation", "ravel in C order, then back")
def _(seed=0):
    return V(
        act(
            lambda s, z: np.tanh(z.ravel()).reshape(z.shape),
            lambda s, z: (1 - np.tanh(z.ravel()) ** 2).reshape(z.shape),
        ),
        seed=seed,
    )


@right("chunks-map-right", "map", "chunks of 4, the last one shorter")
def _(seed=0):
    class C(ml.Linear):
        def adjoint_theta(self, a, g):
            d = np.zeros(self.theta_shape, a.dtype)
            for i in range(0, len(a), 4):
                d += super().adjoint_theta(a[i : i + 4], g[i : i + 4])
            return d

    return V(C(3, 2), seed=seed)


@right("argmin-fortran", "argmin", "update returned as a Fortran-ordered view")
def _(seed=0):
    return AM(
        lambda z, v, lam: sq(z - v) / 2 + lam / 2 * sq(z),
        lambda v, lam: np.asfortranarray(v / (1 + lam)),
        "z",
        seed=seed,
    )


@right("argmin-cache-content", "argmin", "factor kept by the bytes of a and λ")
def _(seed=0):
    kept = {}

    def up(a, z, lam):
        k = (a.tobytes(), a.shape, lam)
        if k not in kept:
            kept[k] = np.linalg.inv(a.T @ a + lam * np.eye(a.shape[1]))
        return kept[k] @ (a.T @ z)

    return AM(lambda W, a, z, lam: sq(a @ W - z) / 2 + lam / 2 * sq(W), up, "W", seed=seed)


@right("argmin-gradient-to-convergence", "argmin", "4000 accelerated steps")
def _(seed=0):
    def up(W, a, z):
        H = a.T @ a + np.eye(a.shape[1])
        L = np.linalg.norm(H, 2)
        q = (math.sqrt(L) - 1) / (math.sqrt(L) + 1)
        V_ = W.copy()
        for _ in range(4000):
            N = V_ - (H @ V_ - a.T @ z) / L
            V_, W = N + q * (N - W), N
        return W

    return AM(lambda W, a, z: sq(a @ W - z) / 2 + sq(W) / 2, up, "W", seed=seed)


@right("argmin-local-doublewell", "argmin", "(z² − v²)²: z = |v|, local")
def _(seed=0):
    return AM(lambda z, v: sq(z**2 - v**2), lambda v: abs(v), "z", local=True, seed=seed)


@right("argmin-global-doublewell", "argmin", "the same, global: two minimisers")
def _(seed=0):
    return AM(lambda z, v: sq(z**2 - v**2), lambda v: -abs(v), "z", seed=seed)


@right("group-zero-rows", "argmin", "zero rows drawn, guarded")
def _(seed=0):
    def draw(rng):
        v = rng.normal(size=(4, 3))
        v[int(rng.integers(4))] = 0
        return dict(z=rng.normal(size=(4, 3)), v=v, lam=0.5)

    def up(v, lam):
        n = np.sqrt((v**2).sum(1, keepdims=True))
        return v * np.maximum(1 - lam / np.where(n > 0, n, 1), 0)

    return AM(lambda z, v, lam: lam * np.sqrt((z**2).sum(1)).sum() + sq(z - v) / 2, up, "z", draw=draw, seed=seed)


@right("grad-huber-delta4", "gradient", "Huber with δ = 4")
def _(seed=0):
    d = 4.0
    return GR(
        lambda z: np.where(abs(z) <= d, z * z / 2, d * (abs(z) - d / 2)).sum(),
        lambda z: np.clip(z, -d, d),
        "z",
        seed=seed,
    )


@right("gradient-scaled-vars", "gradient", "variables of sizes 1e-6 and 1e3")
def _(seed=0):
    s = np.array([1e-6, 1.0, 1e3])
    return GR(
        lambda z: ((z / s) ** 2).sum() / 2,
        lambda z: z / s**2,
        "z",
        draw=lambda rng: dict(z=rng.normal(size=(4, 3)) * s),
        seed=seed,
    )


@right("decreases-slow", "decreases", "a very slow but right gradient flow (step 1e-3/L)")
def _(seed=0):
    return DE(
        lambda W, a, z: sq(a @ W - z) / 2,
        lambda W, a, z: {"W": W - 1e-3 * a.T @ (a @ W - z) / np.linalg.norm(a, 2) ** 2},
        seed=seed,
    )


@right("decreases-sign-steps", "decreases", "MM for a quartic: majorised by a quadratic with curvature 3 max z²")
def _(seed=0):
    def sweep(z, v):
        g = z**3 - v
        L = 3 * np.maximum(abs(z), np.cbrt(abs(v)) + 0 * z) ** 2
        return {"z": z - g / np.maximum(L, 1e-12)}

    return DE(lambda z, v: (z**4 / 4 - v * z).sum(), sweep, seed=seed)


@right("method-fortran", "method", "step in Fortran order")
def _(seed=0):
    return V(lambda b: np.asfortranarray(grad(b)), like=ml.BackProp(), seed=seed)


@right("shared-rows-right", "method", "uses all stacked rows of a shared map")
def _(seed=0):
    c = ml.Linear(4, 4)
    net = ml.Network(
        [ml.Linear(3, 4), ml.Tanh(), c, ml.Tanh(), c, ml.Tanh(), ml.Linear(4, 2)], ml.SquaredError(), dtype=np.float64
    )
    return V(lambda b: tilde(b.a).T @ b.g, net, like=ml.BackProp(), seed=seed)


# ------------------------------------------------------------------------------------------------- third wave
@mistake(
    "local-max",
    "argmin",
    "stationary point of cos z at 0 claimed a local minimiser: a maximum",
    "maxim|saddle|stationary",
    False,
)
def _(seed=0):
    return AM(lambda z: np.cos(z).sum(), lambda z: np.zeros_like(z), "z", local=True, seed=seed)


@mistake(
    "local-true-saddle",
    "argmin",
    "‖aW − z‖² with W = P Q: P = Q = 0 is a saddle, claimed a local minimiser",
    "maxim|saddle|stationary",
    True,
)
def _(seed=0):
    def draw(rng):
        return dict(
            P=rng.normal(size=(3, 1)), Q=rng.normal(size=(1, 2)), a=rng.normal(size=(8, 3)), z=rng.normal(size=(8, 2))
        )

    return AM(
        lambda P, Q, a, z: sq(a @ P @ Q - z), lambda P, Q: (0 * P, 0 * Q), ("P", "Q"), local=True, draw=draw, seed=seed
    )


@mistake(
    "local-wrong-branch",
    "argmin",
    "z-update through ReLU, claimed local: z = v also for v > 0, where the slope is not 0",
    "",
    True,
)
def _(seed=0):
    return AM(relu_E, lambda v: v.copy(), "z", local=True, seed=seed)


@mistake("argmin-shrunk-2", "argmin", "the minimiser times 1.003", "nearly|approx|digits|constant|factor", True)
def _(seed=0):
    return AM(lambda z, v, lam: sq(z - v) / 2 + lam / 2 * sq(z), lambda v, lam: 1.003 * v / (1 + lam), "z", seed=seed)


def sym(rng):
    n = int(rng.integers(2, 5))
    M = rng.normal(size=(n, n))
    B = rng.normal(size=(n, n))
    return dict(P=B @ B.T, M=M + M.T)


def psd(P):
    w, Q = np.linalg.eigh((P + P.T) / 2)
    return (Q * np.maximum(w, 0)) @ Q.T


@mistake("psd-abs", "argmin", "projection on the PSD cone by |eigenvalues|", "eigen|project|abs|sign", True)
def _(seed=0):
    def up(M):
        w, Q = np.linalg.eigh(M)
        return (Q * abs(w)) @ Q.T

    return AM(lambda P, M: sq(P - M), up, "P", draw=sym, project=psd, seed=seed)


def affine(z):
    return z + (1 - z.sum(1, keepdims=True)) / z.shape[1]


@mistake(
    "affine-divided",
    "argmin",
    "rows must sum to 1: v divided by its row sum instead of shifted",
    "shift|project|divid",
    True,
)
def _(seed=0):
    return AM(
        lambda z, v: sq(z - v),
        lambda v: v / v.sum(1, keepdims=True),
        "z",
        project=affine,
        draw=lambda rng: dict(z=affine(rng.normal(size=(4, 3))), v=rng.uniform(0.1, 1, (4, 3))),
        seed=seed,
    )


@mistake(
    "scalar-step",
    "argmin",
    "exact line search along g of ½‖aW − z‖²: ‖g‖²/‖ag‖² with g of another scale (factor 2)",
    "factor",
    True,
)
def _(seed=0):
    def E(t, W, a, z):
        return sq(a @ (W - t * a.T @ (a @ W - z)) - z) / 2

    def up(W, a, z):
        g = a.T @ (a @ W - z)
        return sq(g) / sq(a @ g) / 2

    return AM(
        E,
        up,
        "t",
        draw=lambda rng: dict(
            t=float(rng.normal()), W=rng.normal(size=(3, 2)), a=rng.normal(size=(7, 3)), z=rng.normal(size=(7, 2))
        ),
        seed=seed,
    )


@mistake(
    "grad-list-one-missing",
    "gradient",
    "list of three weights: the middle one's gradient belongs to the layer above",
    "entries|order|layer|block",
    True,
)
def _(seed=0):
    def draw(rng):
        return dict(Ws=[rng.normal(size=(3, 3)) for _ in range(3)], x=rng.normal(size=(5, 3)))

    def E(Ws, x):
        for W in Ws:
            x = np.tanh(x @ W)
        return x.sum()

    def G(Ws, x):
        hs = [x]
        for W in Ws:
            hs.append(np.tanh(hs[-1] @ W))
        d, out = np.ones_like(hs[-1]), [None] * 3
        for k in (2, 1, 0):
            d = d * (1 - hs[k + 1] ** 2)
            out[k] = hs[k].T @ d
            d = d @ Ws[k].T
        out[1] = out[2].copy()
        return out

    return GR(E, G, "Ws", draw=draw, seed=seed)


@mistake(
    "decreases-list",
    "decreases",
    "sweep over a list of values: the last of the list is made of the second last's old value",
    "rest|stationary|old|increase",
    True,
)
def _(seed=0):
    def draw(rng):
        return dict(zs=[rng.normal(size=(4, 2)) for _ in range(3)], v=rng.normal(size=(4, 2)))

    def E(zs, v):
        return sq(zs[0] - v) / 2 + 3 * sq(zs[0] + zs[1] + zs[2]) / 2 + sq(zs[1]) / 2 + sq(zs[2]) / 2

    def sweep(zs, v):
        a, b, c = zs
        return {"zs": [(v - 3 * (b + c)) / 4, -3 * (a + c) / 4, -3 * (a + b) / 4]}

    return DE(E, sweep, draw=draw, seed=seed)


@right("mean-only-batchnorm", "transfer", "training subtracts the batch mean, evaluation a fixed one")
def _(seed=0):
    class C(ml.Transfer):
        def apply(self, z, training=False, rng=None):
            if not training:
                return z.copy(), None
            return z - z.mean(axis=0), True

        def adjoint(self, z, a, aux, g):
            return g if aux is None else g - g.mean(axis=0)

        def output_shape(self, s):
            return tuple(s)

    return V(C(), seed=seed)


@right("psd", "argmin")
def _(seed=0):
    return AM(lambda P, M: sq(P - M), lambda M: psd(M), "P", draw=sym, project=psd, seed=seed)


@right("affine", "argmin")
def _(seed=0):
    return AM(lambda z, v: sq(z - v), lambda v: affine(v), "z", project=affine, seed=seed)


@right("binary", "argmin", "nearest signs")
def _(seed=0):
    def s(z):
        return np.where(z >= 0, 1.0, -1.0)

    return AM(lambda z, v: sq(z - v), lambda v: s(v), "z", project=s, seed=seed)


@right("rank-one", "argmin", "truncated SVD")
def _(seed=0):
    def r1(M):
        U, s, Vt = np.linalg.svd(M, full_matrices=False)
        return s[0] * np.outer(U[:, 0], Vt[0])

    return AM(lambda z, v: sq(z - v), lambda v: r1(v), "z", project=r1, seed=seed)


@right("line-search-scalar", "argmin", "a number as the block")
def _(seed=0):
    def E(t, W, a, z):
        return sq(a @ (W - t * a.T @ (a @ W - z)) - z) / 2

    def up(W, a, z):
        g = a.T @ (a @ W - z)
        return sq(g) / sq(a @ g)

    return AM(
        E,
        up,
        "t",
        draw=lambda rng: dict(
            t=float(rng.normal()), W=rng.normal(size=(3, 2)), a=rng.normal(size=(7, 3)), z=rng.normal(size=(7, 2))
        ),
        seed=seed,
    )


@right("grad-list", "gradient", "list of weights of different shapes")
def _(seed=0):
    def draw(rng):
        return dict(Ws=[rng.normal(size=s) for s in ((3, 4), (4, 2), (2, 3))], x=rng.normal(size=(5, 3)))

    def E(Ws, x):
        for W in Ws:
            x = np.tanh(x @ W)
        return x.sum()

    def G(Ws, x):
        hs = [x]
        for W in Ws:
            hs.append(np.tanh(hs[-1] @ W))
        d, out = np.ones_like(hs[-1]), [None] * 3
        for k in (2, 1, 0):
            d = d * (1 - hs[k + 1] ** 2)
            out[k] = hs[k].T @ d
            d = d @ Ws[k].T
        return out

    return GR(E, G, "Ws", draw=draw, seed=seed)


@right("grad-pair", "gradient", "a tuple of blocks")
def _(seed=0):
    def G(W, b, a, z):
        r = a @ W + b - z
        return a.T @ r, r.sum(0)

    return GR(lambda W, b, a, z: sq(a @ W + b - z) / 2, G, ("W", "b"), seed=seed)


@right("decreases-list", "decreases", "Gauss–Seidel over a list")
def _(seed=0):
    def draw(rng):
        return dict(zs=[rng.normal(size=(4, 2)) for _ in range(3)], v=rng.normal(size=(4, 2)))

    def E(zs, v):
        return sq(zs[0] - v) / 2 + 3 * sq(zs[0] + zs[1] + zs[2]) / 2 + sq(zs[1]) / 2 + sq(zs[2]) / 2

    def sweep(zs, v):
        a, b, c = zs
        a = (v - 3 * (b + c)) / 4
        b = -3 * (a + c) / 4
        return {"zs": [a, b, -3 * (a + b) / 4]}

    return DE(E, sweep, draw=draw, seed=seed)


@right(
    "lifted-network-sweep",
    "decreases",
    "a whole sweep of a two-layer lifted network with tanh replaced by ReLU blocks solved by energy",
)
def _(seed=0):
    def draw(rng):
        return dict(
            x=rng.normal(size=(8, 3)),
            W=rng.normal(size=(3, 4)),
            z=rng.normal(size=(8, 4)),
            a=rng.uniform(0, 1, (8, 4)),
            V=rng.normal(size=(4, 2)),
            y=rng.normal(size=(8, 2)),
            rho=1.3,
            gamma=0.7,
        )

    def E(x, W, z, a, V, y, rho, gamma):
        return sq(a @ V - y) / 2 + gamma / 2 * sq(a - relu(z)) + rho / 2 * sq(z - x @ W) + 0.05 * (sq(W) + sq(V))

    def sweep(x, W, z, a, V, y, rho, gamma):
        V = np.linalg.solve(a.T @ a + 0.1 * np.eye(4), a.T @ y)
        a = np.linalg.solve(V @ V.T + gamma * np.eye(4), (y @ V.T + gamma * relu(z)).T).T
        q = x @ W
        p, n = np.maximum((gamma * a + rho * q) / (gamma + rho), 0), np.minimum(q, 0)

        def e(s):
            return gamma / 2 * (relu(s) - a) ** 2 + rho / 2 * (s - q) ** 2

        z = np.where(e(p) <= e(n), p, n)
        W = np.linalg.solve(rho * x.T @ x + 0.1 * np.eye(3), rho * x.T @ z)
        return {"V": V, "a": a, "z": z, "W": W}

    return DE(E, sweep, draw=draw, seed=seed)


# ------------------------------------------------------------------------------------------------ fourth wave
@mistake("integral-overflow", "activation", "F of tanh as log(cosh z)", "overflow|finite|large")
def _(seed=0):
    class C(ml.Tanh):
        def integral(self, z):
            with np.errstate(all="ignore"):
                return np.log(np.cosh(z))

    return V(C(), seed=seed)


@mistake(
    "float32-overflow", "activation", "softplus cut at 500: exp overflows in float32", "float32|overflow|finite", True
)
def _(seed=0):
    def f(s, z):
        with np.errstate(all="ignore"):
            return np.where(z > 500, z, np.log1p(np.exp(np.minimum(z, 500)))).astype(z.dtype)

    return V(act(f, lambda s, z: sigm(z)), seed=seed)


@mistake(
    "prox-newton-3",
    "loss",
    "prox of the sigmoid cross-entropy by three Newton steps",
    "newton|iterat|converg|nearly",
    True,
)
def _(seed=0):
    class C(ml.SigmoidCrossEntropy):
        def prox(self, v, y, tau):
            t, u = tau * self.weight(len(v)), v.copy()
            for _ in range(3):
                s = sigm(u)
                u = u - (u - v + t * (s - y)) / (1 + t * s * (1 - s))
            return u

    return V(C(), seed=seed)


@mistake(
    "dropout-eval-adjoint",
    "transfer",
    "dropout's adjoint in evaluation multiplies by 1 − rate",
    "factor|evaluation",
    True,
)
def _(seed=0):
    class C(ml.Dropout):
        def adjoint(self, z, a, aux, g):
            return g * g.dtype.type(1 - self.rate) if aux is None else g * aux

    return V(C(0.3), seed=seed)


@mistake(
    "batchnorm-accumulates",
    "transfer",
    "gradients of scale and shift add up over calls",
    "calls|remember|cache|accum|state",
    True,
)
def _(seed=0):
    class C(ml.BatchNorm):
        def gradients(self, aux, g):
            d = super().gradients(aux, g)[0]
            self.__dict__["sum"] = d + (self.__dict__.get("sum", 0))
            return [self.__dict__["sum"].astype(d.dtype)]

    return V(C(3), seed=seed)


@mistake(
    "batchnorm-running-in-apply",
    "transfer",
    "running statistics change in apply already (and again in commit)",
    "apply|running|commit|calls|state",
    True,
)
def _(seed=0):
    class C(ml.BatchNorm):
        def apply(self, z, training=False, rng=None):
            a, aux = super().apply(z, training, rng)
            if training:
                self.commit(aux)
            return a, aux

    return V(C(3), seed=seed)


@mistake(
    "batchnorm-eval-batch",
    "transfer",
    "evaluation normalises with the batch's own statistics",
    "evaluation|sample|coupled|running|batch",
    True,
)
def _(seed=0):
    class C(ml.BatchNorm):
        def apply(self, z, training=False, rng=None):
            return super().apply(z, True, rng)

    return V(C(3), seed=seed)


@mistake("gram-sample-no-ones", "map", "gram on the sample side without the 11ᵀ", "ones|bias|11", True)
def _(seed=0):
    class C(ml.Linear):
        def gram(self, a, side=None, bias=True):
            return super().gram(a, side, bias=bias and side != "sample")

    return V(C(3, 2), seed=seed)


@mistake(
    "conv-stride-border",
    "map",
    "convolution with stride 2: adjoint_input leaves out the last column of patches",
    "border|edge|zero|some entries",
    True,
)
def _(seed=0):
    class C(ml.Conv2d):
        def adjoint_input(self, theta, g):
            g = g.copy()
            g[:, :, -1] = 0
            return super().adjoint_input(theta, g)

    return V(C(2, 3, 3, stride=2, image_size=(6, 6)), seed=seed)


@mistake("map-writes-theta", "map", "forward zeroes small weights of θ in place", "overwrit|in place|writes", True)
def _(seed=0):
    class C(ml.Linear):
        def forward(self, theta, a):
            theta[abs(theta) < 0.05] = 0
            return super().forward(theta, a)

    return V(C(6, 5), seed=seed)


@mistake(
    "backprop-new-weights",
    "method",
    "BackProp whose sweep passes signals through new weights",
    "new weights|old|weights|signal",
    True,
)
def _(seed=0):
    class M(ml.BackProp):
        new_weights = True

    return V(M(), like=ml.BackProp(), seed=seed)


@mistake("locoprop-m-last-identity", "method", "LocoProp-S where M is claimed", "matching|squared|variant|loss", True)
def _(seed=0):
    return V(
        ml.LocoProp("S", gamma=1.0, steps=5, local_lr=0.01, local_optimizer="sgd"),
        like=ml.LocoProp("M", gamma=1.0, steps=5, local_lr=0.01, local_optimizer="sgd"),
        seed=seed,
    )


@mistake(
    "locoprop-m-own",
    "method",
    "LocoProp-M by hand, plain steps: the local residual multiplied by σ' as in the squared loss through σ",
    "σ'|derivative|mask|matching",
    True,
)
def _(seed=0):
    def m(b):
        A, t = tilde(b.phi.rows(b.a)), b.theta.copy()
        y = b.f.forward(b.z) - b.g
        for _ in range(3):
            z = A @ t
            r = b.f.forward(z) - y
            if not b.last:
                r = r * b.f.derivative(z)
            t = t - b.a.dtype.type(0.01) * (A.T @ r)
        return b.theta - t

    net = ml.mlp([3, 4, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64)
    return V(
        m, net, like=ml.LocoProp("M", gamma=1.0, steps=3, local_lr=0.01, local_optimizer="sgd", decay=False), seed=seed
    )


@mistake("decreases-misspelt", "decreases", "the sweep returns 'w' for 'W'", "w|name|unknown|argument")
def _(seed=0):
    return DE(lambda W, a, z: sq(a @ W - z) / 2, lambda W, a, z: {"w": np.linalg.lstsq(a, z, rcond=None)[0]}, seed=seed)


@mistake(
    "eigen-largest",
    "argmin",
    "max (zᵀMz)² on the sphere by the largest eigenvalue, not the largest in magnitude",
    "local|magnitude|lower|global|elsewhere",
    True,
)
def _(seed=0):
    def draw(rng):
        B = rng.normal(size=(3, 3))
        z = rng.normal(size=3)
        return dict(z=z / np.linalg.norm(z), M=B + B.T)

    return AM(
        lambda z, M: -((z @ M @ z) ** 2),
        lambda M: np.linalg.eigh(M)[1][:, -1],
        "z",
        draw=draw,
        project=lambda z: z / np.linalg.norm(z),
        seed=seed,
    )


@mistake(
    "l1-ball-inside",
    "argmin",
    "projection on the ℓ1 ball of radius λ: always to its surface",
    "inside|interior|bound|surface",
    True,
)
def _(seed=0):
    def E(z, v, lam):
        return sq(z - v) if (abs(z).sum(1) <= lam * (1 + 1e-9)).all() else np.inf

    return AM(E, lambda v, lam: np.sign(v) * simplex(abs(v) / lam) * lam, "z", seed=seed)


@mistake(
    "isotonic-running-max", "argmin", "isotonic regression by the running maximum", "pool|average|local|coupled", True
)
def _(seed=0):
    def E(z, v):
        return sq(z - v) if (np.diff(z, axis=0) >= -1e-12).all() else np.inf

    return AM(E, lambda v: np.maximum.accumulate(v, axis=0), "z", seed=seed)


@mistake("weighted-median", "argmin", "Σ w|z − b| by the plain median", "weight|w", True)
def _(seed=0):
    return AM(
        lambda b, z, w: (w[:, None] * abs(z - b)).sum(),
        lambda z: np.median(z, axis=0),
        "b",
        draw=lambda rng: dict(b=rng.normal(size=2), z=rng.normal(size=(7, 2)), w=rng.uniform(0.1, 3, 7)),
        seed=seed,
    )


@mistake(
    "order-a-before-W",
    "decreases",
    "lifted sweep: a is solved with the old W though W was updated before it",
    "old|order|increase",
    True,
)
def _(seed=0):
    def E(W, a, x, z, lam):
        return sq(z - a @ W) / 2 + sq(a - x) / 2 + lam / 2 * sq(W)

    def sweep(W, a, x, z, lam):
        Wn = np.linalg.solve(a.T @ a + lam * np.eye(len(W)), a.T @ z)
        an = np.linalg.solve(W @ W.T + np.eye(len(W)), (z @ W.T + x).T).T
        return {"W": Wn, "a": an}

    return DE(
        E,
        sweep,
        draw=lambda rng: dict(
            W=rng.normal(size=(3, 4)),
            a=rng.normal(size=(9, 3)),
            x=rng.normal(size=(9, 3)),
            z=rng.normal(size=(9, 4)),
            lam=0.1,
        ),
        seed=seed,
    )


@mistake(
    "multiplier-per-layer", "decreases", "ADMM (descends=False) on z = aW: the multiplier's step has a ½", "", True
)
def _(seed=0):
    # a halved dual step is a right variant of ADMM; wrong here: v is updated with the multiplier left out
    def E(z, v, u, y, rho, lam):
        return sq(z - y) / 2 + lam / 2 * sq(v) + (u * (z - v)).sum() + rho / 2 * sq(z - v)

    def sweep(z, v, u, y, rho, lam):
        z = (y + rho * v - u) / (1 + rho)
        v = rho * z / (lam + rho)
        return {"z": z, "v": v, "u": u + rho / 2 * (z - v)}

    return DE(E, sweep, descends=False, seed=seed)


@right("locoprop-m-own", "method", "LocoProp-M by hand, plain steps")
def _(seed=0):
    def m(b):
        A, t = tilde(b.phi.rows(b.a)), b.theta.copy()
        y = b.f.forward(b.z) - b.g
        for _ in range(3):
            t = t - b.a.dtype.type(0.01) * (A.T @ (b.f.forward(A @ t) - y))
        return b.theta - t

    net = ml.mlp([3, 4, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64)
    return V(
        m, net, like=ml.LocoProp("M", gamma=1.0, steps=3, local_lr=0.01, local_optimizer="sgd", decay=False), seed=seed
    )


@right("admm-dual-step-half", "decreases", "ADMM with half the dual step, claim of rest only")
def _(seed=0):
    def E(z, v, u, y, rho, lam):
        return sq(z - y) / 2 + lam / 2 * sq(v) + (u * (z - v)).sum() + rho / 2 * sq(z - v)

    def sweep(z, v, u, y, rho, lam):
        z = (y + rho * v - u) / (1 + rho)
        v = (rho * z + u) / (lam + rho)
        return {"z": z, "v": v, "u": u + rho / 2 * (z - v)}

    return DE(E, sweep, descends=False, seed=seed)


@right("isotonic-pav", "argmin", "pool adjacent violators")
def _(seed=0):
    def pav(v):
        s = []
        for x in v:
            s.append([x, 1])
            while len(s) > 1 and s[-2][0] > s[-1][0]:
                b, a = s.pop(), s.pop()
                s.append([(a[0] * a[1] + b[0] * b[1]) / (a[1] + b[1]), a[1] + b[1]])
        return np.concatenate([[m] * k for m, k in s])

    def E(z, v):
        return sq(z - v) if (np.diff(z, axis=0) >= -1e-12).all() else np.inf

    return AM(E, lambda v: np.stack([pav(c) for c in v.T], axis=1), "z", seed=seed)


@right("l1-ball", "argmin", "projection on the ℓ1 ball, inside left alone")
def _(seed=0):
    def E(z, v, lam):
        return sq(z - v) if (abs(z).sum(1) <= lam * (1 + 1e-9)).all() else np.inf

    def up(v, lam):
        p = np.sign(v) * simplex(abs(v) / lam) * lam
        return np.where(abs(v).sum(1, keepdims=True) <= lam, v, p)

    return AM(E, up, "z", seed=seed)


@right("isotonic-pav-project", "argmin", "the same with project")
def _(seed=0):
    def pav(v):
        s = []
        for x in v:
            s.append([x, 1])
            while len(s) > 1 and s[-2][0] > s[-1][0]:
                b, a = s.pop(), s.pop()
                s.append([(a[0] * a[1] + b[0] * b[1]) / (a[1] + b[1]), a[1] + b[1]])
        return np.concatenate([[m] * k for m, k in s])

    def P(v):
        return np.stack([pav(c) for c in v.T], axis=1)

    return AM(
        lambda z, v: sq(z - v) if (np.diff(z, axis=0) >= -1e-12).all() else np.inf,
        lambda v: P(v),
        "z",
        project=P,
        seed=seed,
    )


@right("l1-ball-project", "argmin", "ℓ1 ball of radius 1, with project")
def _(seed=0):
    def P(v):
        return np.where(abs(v).sum(1, keepdims=True) <= 1, v, np.sign(v) * simplex(abs(v)))

    return AM(
        lambda z, v: sq(z - v) if (abs(z).sum(1) <= 1 + 1e-9).all() else np.inf,
        lambda v: P(v),
        "z",
        project=P,
        seed=seed,
    )


@right("eigen-magnitude", "argmin")
def _(seed=0):
    def draw(rng):
        B = rng.normal(size=(3, 3))
        z = rng.normal(size=3)
        return dict(z=z / np.linalg.norm(z), M=B + B.T)

    def up(M):
        w, Q = np.linalg.eigh(M)
        return Q[:, np.argmax(abs(w))]

    return AM(lambda z, M: -((z @ M @ z) ** 2), up, "z", draw=draw, project=lambda z: z / np.linalg.norm(z), seed=seed)


@right("over-relaxed-1.5", "decreases", "Gauss–Seidel with ω = 1.5, which descends")
def _(seed=0):
    def sweep(z, u, v, y):
        z = z + 1.5 * ((v - 4 * u) / 5 - z)
        return {"z": z, "u": u + 1.5 * ((y - 4 * z) / 5 - u)}

    return DE(couple, sweep, seed=seed)


def judged(item, seed):
    """Return whether an item passes, and the reasons of what fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = item.call(seed=seed)
    return report.passed, [check.reason for check in report.failures] + [report.unverified] * bool(report.unverified)


def main():
    """Print a line for each item and seed that is not as it should be or is a mistake, and the counts of each group."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="names or groups, by default all")
    parser.add_argument("--seeds", type=int, default=1)
    chosen, counts = parser.parse_args(), Counter()
    for item in ITEMS:
        if chosen.names and not {item.name, item.group} & set(chosen.names):
            continue
        for seed in range(chosen.seeds):
            start = time.process_time()
            passed, reasons = judged(item, seed)
            verdict = ("right" if passed else "ALARM") if item.right else "MISSED" if passed else "found"
            counts[item.group, verdict] += 1
            if not item.right or not passed:
                print(f"{item.group}/{item.name} {seed}: {verdict}, {time.process_time() - start:.1f} s  {item.what}")
                print("\n".join(f"    {reason}" for reason in reasons))
    for (group, verdict), count in sorted(counts.items()):
        print(f"{group:10} {verdict:7} {count}")


if __name__ == "__main__":
    main()
