"""A fourth stranger's list: mistakes of an own choice against `verify`, and right things written in unusual ways.

    python tests/checks/strangers/fourth.py [--seeds 50] [NAME …]

The list was written from the public documentation alone, before the checks were read.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
import warnings
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.optimize import nnls
from scipy.special import erf, expit

import minilift as ml
from minilift.layers.gram import Gram

Transfer, Map = ml.Transfer, ml.Map


class Item(NamedTuple):
    """One thing that is given to `verify`: `make()` returns it, `options` are further arguments of the call."""

    group: str
    name: str
    what: str
    right: bool
    make: Any
    options: dict


ITEMS: list[Item] = []


def bad(group, name, what, make, **options):
    """Put a mistake on the list."""
    ITEMS.append(Item(group, name, what, False, make, options))


def good(group, name, make, **options):
    """Put a right thing on the list."""
    ITEMS.append(Item(group, name, "", True, make, options))


def act(name, f, df, F=None, lo=-math.inf, hi=math.inf, base=ml.Activation, **over):
    """A class of an activation from functions."""
    body = dict(forward=lambda self, z: f(z), derivative=lambda self, z: df(z), range=(lo, hi))
    if F is not None:
        body["integral"] = lambda self, z: F(z)
    for k, v in over.items():
        body[k] = (lambda v: lambda self, *a: v(*a))(v) if callable(v) else v  # noqa: B023
    return type(name, (base,), body)


sig = expit

# ------------------------------------------------------------------ transfers
bad("transfer", "swish-term", "σ(z)+zσ' lacks the second term", act("Swish", lambda z: z * sig(z), lambda z: sig(z)))
bad(
    "transfer",
    "elu-alpha",
    "negative branch of derivative lacks alpha=0.5",
    act(
        "ELU",
        lambda z: np.where(z > 0, z, 0.5 * np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0))).astype(z.dtype),
    ),
)
G = math.sqrt(2 / math.pi)
bad(
    "transfer",
    "gelu-mixed",
    "forward by the tanh approximation, derivative of the exact one",
    act(
        "GELU",
        lambda z: z / 2 * (1 + np.tanh(G * (z + 0.044715 * z**3))),
        lambda z: ((1 + erf(z / 2**0.5)) / 2 + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)).astype(z.dtype),
    ),
)
bad(
    "transfer",
    "softsign-square",
    "derivative lacks the square",
    act("Softsign", lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z))),
)
bad("transfer", "tanh-of-z", "derivative 1−z² instead of 1−a²", act("MyTanh", np.tanh, lambda z: 1 - z * z))
bad(
    "transfer",
    "leaky-swapped",
    "slopes swapped in the derivative",
    act(
        "Leaky", lambda z: np.where(z > 0, z, z * z.dtype.type(0.2)), lambda z: np.where(z > 0, 0.2, 1).astype(z.dtype)
    ),
)
bad(
    "transfer",
    "relu-integral-2",
    "integral lacks ½",
    act("R1", lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype), lambda z: np.maximum(z, 0) ** 2, lo=0.0),
)
bad(
    "transfer",
    "relu-integral-both",
    "integral z²/2 on the negative side too",
    act("R2", lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype), lambda z: z**2 / 2, lo=0.0),
)
bad(
    "transfer",
    "softplus-overflow",
    "log(1+exp z) overflows",
    act("Softplus1", lambda z: np.log(1 + np.exp(20 * z)) / 20, lambda z: sig(20 * z), lo=0.0),
)
bad(
    "transfer",
    "hardswish-edge",
    "derivative wrong beyond 3",
    act(
        "HardSwish",
        lambda z: z * np.clip(z + 3, 0, 6) / 6,
        lambda z: np.where(z < -3, 0, (2 * z + 3) / 6).astype(z.dtype),
    ),
)
bad(
    "transfer",
    "relu6-top",
    "derivative 1 above 6",
    act("ReLU6", lambda z: np.clip(z, 0, 6), lambda z: (z > 0).astype(z.dtype), lo=0.0, hi=6.0),
)
bad(
    "transfer", "range-tanh", "range (0,1) of a tanh", act("RT", np.tanh, lambda z: 1 - np.tanh(z) ** 2, lo=0.0, hi=1.0)
)
bad(
    "transfer",
    "conjugate-relu",
    "conjugate a² instead of a²/2",
    act(
        "CR",
        lambda z: np.maximum(z, 0),
        lambda z: (z > 0).astype(z.dtype),
        lambda z: np.maximum(z, 0) ** 2 / 2,
        lo=0.0,
        closed=True,
        conjugate=lambda a: a * a,
        inverse=lambda a: a,
    ),
)
bad(
    "transfer",
    "inverse-sigmoid",
    "sign of the logit",
    act(
        "IS",
        lambda z: sig(z),
        lambda z: sig(z) * sig(-z),
        lambda z: np.logaddexp(0, z),
        lo=0.0,
        hi=1.0,
        inverse=lambda a: np.log((1 - a) / a),
    ),
)


class InPlace(ml.Activation):
    range = (0.0, math.inf)

    def forward(self, z):
        z[z < 0] = 0
        return z

    def derivative(self, z):
        return (z > 0).astype(z.dtype)


bad("transfer", "in-place-z", "forward overwrites z", InPlace)


class InPlaceG(ml.Tanh):
    def adjoint(self, z, a, aux, g):
        g *= 1 - a * a
        return g


bad("transfer", "in-place-g", "adjoint overwrites g", InPlaceG)


class SoftmaxT(Transfer):
    t = 1.0
    diagonal = False

    def apply(self, z, training=False, rng=None):
        e = np.exp((z - z.max(-1, keepdims=True)) / self.t)
        return e / e.sum(-1, keepdims=True), None

    def adjoint(self, z, a, aux, g):
        if self.diagonal:
            return g * a * (1 - a)
        return a * (g - (g * a).sum(-1, keepdims=True)) / self.t


good("transfer", "softmax-transfer", SoftmaxT)
good("transfer", "softmax-temperature", type("SoftmaxTemp", (SoftmaxT,), dict(t=0.5)))
bad(
    "transfer",
    "softmax-diagonal",
    "only the diagonal of the Jacobian",
    type("SoftmaxDiag", (SoftmaxT,), dict(diagonal=True)),
)


class TempForgotten(SoftmaxT):
    t = 0.5

    def adjoint(self, z, a, aux, g):
        return a * (g - (g * a).sum(-1, keepdims=True))


bad("transfer", "softmax-temperature-forgotten", "factor 1/T missing in the adjoint", TempForgotten)


class LayerNorm(Transfer):
    eps = 1e-5
    mode = ""

    def apply(self, z, training=False, rng=None):
        m, v = z.mean(-1, keepdims=True), z.var(-1, keepdims=True)
        s = 1 / np.sqrt(v + z.dtype.type(self.eps))
        x = (z - m) * s
        return x, (x, s)

    def adjoint(self, z, a, aux, g):
        x, s = aux
        h = g
        if self.mode != "mean":
            h = h - g.mean(-1, keepdims=True)
        if self.mode != "var":
            h = h - x * (g * x).mean(-1, keepdims=True)
        return h * s


good("transfer", "layernorm", LayerNorm)
bad("transfer", "layernorm-mean", "adjoint lacks the mean's term", type("LN1", (LayerNorm,), dict(mode="mean")))
bad("transfer", "layernorm-var", "adjoint lacks the variance's term", type("LN2", (LayerNorm,), dict(mode="var")))


class RMSNorm(Transfer):
    def apply(self, z, training=False, rng=None):
        s = 1 / np.sqrt((z * z).mean(-1, keepdims=True) + z.dtype.type(1e-5))
        return z * s, s

    def adjoint(self, z, a, aux, g):
        return aux * g - aux**3 * z * (z * g).mean(-1, keepdims=True)


good("transfer", "rmsnorm", RMSNorm)


class RMS1(RMSNorm):
    def adjoint(self, z, a, aux, g):
        return aux * g - aux**3 * z * (z * g).sum(-1, keepdims=True)


bad("transfer", "rmsnorm-sum", "sum instead of mean in the adjoint", RMS1)


class Maxout(Transfer):
    """Largest of each pair of neighbours."""

    both = False
    wrong_shape = False

    def output_shape(self, s):
        return tuple(s) if self.wrong_shape else (*s[:-1], s[-1] // 2)

    def apply(self, z, training=False, rng=None):
        p = z.reshape(*z.shape[:-1], -1, 2)
        return p.max(-1), p.argmax(-1)

    def adjoint(self, z, a, aux, g):
        out = np.zeros((*g.shape, 2), g.dtype)
        if self.both:
            out[...] = g[..., None]
        else:
            np.put_along_axis(out, aux[..., None], g[..., None], -1)
        return out.reshape(z.shape)


good("transfer", "maxout-pairs", Maxout)
bad("transfer", "maxout-both", "the signal goes to both of a pair", type("MaxoutBoth", (Maxout,), dict(both=True)))
bad(
    "transfer",
    "maxout-shape",
    "output_shape says n instead of n/2",
    type("MaxoutShape", (Maxout,), dict(wrong_shape=True)),
)


class GLU(Transfer):
    """v · sigmoid(w), halves of the last axis."""

    mode = ""

    def output_shape(self, s):
        return (*s[:-1], s[-1] // 2)

    def apply(self, z, training=False, rng=None):
        v, w = np.split(z, 2, axis=-1)
        return v * sig(w), None

    def adjoint(self, z, a, aux, g):
        v, w = np.split(z, 2, axis=-1)
        s = sig(w)
        gw = g * v * s * (1 - s) if self.mode != "gate" else g * v * s
        gv = g * s
        return np.concatenate([gw, gv] if self.mode == "order" else [gv, gw], axis=-1)


good("transfer", "glu", GLU)
bad("transfer", "glu-gate", "derivative of the gate lacks 1−σ", type("GLU1", (GLU,), dict(mode="gate")))
bad("transfer", "glu-order", "halves of the signal swapped", type("GLU2", (GLU,), dict(mode="order")))


class StrictGLU(GLU):
    def output_shape(self, s):
        if s[-1] % 2:
            raise ValueError(f"StrictGLU: needs an even number of channels, got {s}")
        return super().output_shape(s)


good("transfer", "glu-strict", StrictGLU)


class Pairwise4(Transfer):
    """Sum of each four neighbours."""

    def output_shape(self, s):
        assert s[-1] % 4 == 0, "width must be a multiple of 4"
        return (*s[:-1], s[-1] // 4)

    def apply(self, z, training=False, rng=None):
        return z.reshape(*z.shape[:-1], -1, 4).sum(-1), None

    def adjoint(self, z, a, aux, g):
        return np.repeat(g, 4, axis=-1)


good("transfer", "sum-of-four", Pairwise4)


class CReLU(Transfer):
    def output_shape(self, s):
        return (*s[:-1], 2 * s[-1])

    def apply(self, z, training=False, rng=None):
        return np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], -1), None

    def adjoint(self, z, a, aux, g):
        p, q = np.split(g, 2, axis=-1)
        return p * (z > 0) - q * (z < 0)


good("transfer", "crelu", CReLU)


class CReLU1(CReLU):
    def adjoint(self, z, a, aux, g):
        p, q = np.split(g, 2, axis=-1)
        return p * (z > 0) + q * (z < 0)


bad("transfer", "crelu-sign", "sign of the negative half", CReLU1)


class FakeElementwise(ml.Activation):
    def forward(self, z):
        e = np.exp(z - z.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def derivative(self, z):
        a = self.forward(z)
        return a * (1 - a)


bad("transfer", "softmax-as-activation", "not elementwise", FakeElementwise)


class MyDropout(Transfer):
    mode = ""

    def apply(self, z, training=False, rng=None):
        if not training:
            return z, None
        keep = (rng.random(z.shape) >= 0.4).astype(z.dtype)
        mask = keep if self.mode == "noscale" else keep / z.dtype.type(0.6)
        return z * mask, (mask, rng)

    def adjoint(self, z, a, aux, g):
        if aux is None:
            return g
        mask, rng = aux
        if self.mode == "again":
            return g * (rng.random(z.shape) >= 0.4) / z.dtype.type(0.6)
        if self.mode == "none":
            return g
        return g * mask


good("transfer", "dropout-generator", MyDropout)
bad("transfer", "dropout-again", "adjoint draws another mask", type("Drop1", (MyDropout,), dict(mode="again")))
bad("transfer", "dropout-none", "adjoint has no mask", type("Drop2", (MyDropout,), dict(mode="none")))
bad(
    "transfer",
    "dropout-noscale",
    "training's mean is not evaluation's: no 1/(1−p)",
    type("Drop3", (MyDropout,), dict(mode="noscale")),
)


class GlobalDropout(Transfer):
    def apply(self, z, training=False, rng=None):
        if not training:
            return z, None
        mask = (np.random.random(z.shape) >= 0.4) / z.dtype.type(0.6)
        return z * mask, mask

    def adjoint(self, z, a, aux, g):
        return g if aux is None else g * aux


bad("transfer", "dropout-global", "random numbers not from rng", GlobalDropout)


class OwnGenerator(Transfer):
    def __init__(self):
        self.rng = np.random.default_rng(3)

    def apply(self, z, training=False, rng=None):
        if not training:
            return z, None
        mask = (self.rng.random(z.shape) >= 0.4) / z.dtype.type(0.6)
        return z * mask, mask

    def adjoint(self, z, a, aux, g):
        return g if aux is None else g * aux


bad("transfer", "dropout-own-generator", "random numbers of its own, not from rng", OwnGenerator)


class FixedMask(Transfer):
    """Dropout that always drops the same: first call's mask, kept."""

    mask = None

    def apply(self, z, training=False, rng=None):
        if not training:
            return z, None
        if self.mask is None or self.mask.shape != z.shape:
            self.mask = ((rng.random(z.shape) >= 0.4) / z.dtype.type(0.6)).astype(z.dtype)
        return z * self.mask, self.mask

    def adjoint(self, z, a, aux, g):
        return g if aux is None else g * aux


bad("transfer", "dropout-fixed", "keeps the first call's mask", FixedMask)


class Noise(Transfer):
    def apply(self, z, training=False, rng=None):
        return (z + rng.standard_normal(z.shape).astype(z.dtype) / 10, None) if training else (z, None)

    def adjoint(self, z, a, aux, g):
        return g


good("transfer", "noise-generator", Noise)


class CacheZ(ml.Activation):
    def forward(self, z):
        self.z = z
        return np.tanh(z)

    def derivative(self, z):
        return 1 - np.tanh(self.z) ** 2


bad("sequence", "transfer-remembers", "derivative at the remembered last input", CacheZ)


class Buffer(ml.Activation):
    buf = None

    def forward(self, z):
        if self.buf is None or self.buf.shape != z.shape or self.buf.dtype != z.dtype:
            self.buf = np.empty_like(z)
        return np.tanh(z, out=self.buf)

    def derivative(self, z):
        return 1 - np.tanh(z) ** 2


bad("sequence", "transfer-buffer", "forward returns one buffer each time", Buffer)


class Upcast(ml.Activation):
    def forward(self, z):
        return np.maximum(z, 0) + np.float64(0.5) * np.minimum(z, 0).astype(np.float64)

    def derivative(self, z):
        return np.where(z > 0, 1, 0.5).astype(z.dtype)


bad("sequence", "transfer-upcast", "float32 becomes float64", Upcast)
bad(
    "transfer",
    "solve-shifted",
    "solve_shifted multiplies instead of dividing",
    act(
        "SS", np.tanh, lambda z: 1 - np.tanh(z) ** 2, solve_shifted=lambda z, c, r: r * (1 + c * (1 - np.tanh(z) ** 2))
    ),
)


class ApplyDiffers(ml.Activation):
    def forward(self, z):
        return np.tanh(z)

    def derivative(self, z):
        return 1 - np.tanh(z) ** 2

    def apply(self, z, training=False, rng=None):
        return np.tanh(z) * z.dtype.type(1.1), None


bad("transfer", "apply-differs", "apply is not forward", ApplyDiffers)


class WrongPieces(ml.LeakyReLU):
    def __init__(self, slope=0.3):
        super().__init__(slope)

    @property
    def pieces(self):
        return ((-math.inf, 0.0, 1 / self.slope, 0.0), (0.0, math.inf, 1.0, 0.0))


bad("transfer", "pieces", "slope of the negative piece is 1/slope", WrongPieces)


class AvgPair(Transfer):
    factor = 0.5

    def output_shape(self, s):
        return (*s[:-1], s[-1] // 2)

    def apply(self, z, training=False, rng=None):
        return z.reshape(*z.shape[:-1], -1, 2).mean(-1), None

    def adjoint(self, z, a, aux, g):
        return np.repeat(g, 2, axis=-1) * g.dtype.type(self.factor)


good("transfer", "average-of-pairs", AvgPair)
bad("transfer", "average-factor", "adjoint lacks ½", type("Avg1", (AvgPair,), dict(factor=1)))


class BN(ml.BatchNorm):
    mode = ""

    def __init__(self, channels=3):
        super().__init__(channels)

    def adjoint(self, z, a, aux, g):
        g = g * aux.scale
        if (aux.batch is not None and self.mode != "constant") or self.mode == "eval":
            g = g - self.mean(g) - (0 if self.mode == "var" else aux.normal * self.mean(g * aux.normal))
        return g * aux.inverse_deviation

    def gradients(self, aux, g):
        d = super().gradients(aux, g)[0]
        if self.mode == "swapped":
            d = d[::-1]
        if self.mode == "meangrad":
            d = d / len(g)
        return [d]

    def commit(self, aux):
        if self.mode == "commit" or aux.batch is None:
            return
        if self.mode == "inplace":
            self.running += self.momentum * (aux.batch - self.running)
            return
        super().commit(aux)

    def apply(self, z, training=False, rng=None):
        out = super().apply(z, training or self.mode == "always", rng)
        if training and self.mode == "early":
            self.commit(out[1])
        return out


good("transfer", "batchnorm-own", BN)
for mode, cause in [
    ("constant", "adjoint takes statistics for constants"),
    ("eval", "training's adjoint in evaluation too"),
    ("var", "adjoint lacks the variance's term"),
    ("swapped", "gradients of scale and shift swapped"),
    ("meangrad", "gradients over N"),
    ("commit", "running statistics never move"),
    ("always", "evaluation uses the batch's statistics"),
    ("early", "apply moves the running statistics"),
]:
    bad("transfer", "bn-" + mode, cause, type("BN_" + mode, (BN,), dict(mode=mode)))


class PReLU(Transfer):
    mode = ""

    def __init__(self):
        self.slope = np.full(1, 0.25)

    @property
    def parameters(self):
        return [self.slope]

    def on_backend(self, xp, dtype):
        o = copy.copy(self)
        o.slope = xp.array(self.slope, dtype=dtype)
        return o

    def apply(self, z, training=False, rng=None):
        return np.where(z > 0, z, self.slope[0] * z), (z, self.slope.copy())

    def adjoint(self, z, a, aux, g):
        return g * np.where(z > 0, 1, aux[1][0]).astype(g.dtype)

    def gradients(self, aux, g):
        z = aux[0]
        if self.mode == "all":
            return [(g * z).sum(keepdims=True).reshape(1)]
        return [np.array([(g * np.minimum(z, 0)).sum()], g.dtype) / (len(g) if self.mode == "mean" else 1)]

    def commit(self, aux):
        pass


good("transfer", "prelu-parameter", PReLU)
bad("transfer", "prelu-all", "gradient in the slope counts z>0 too", type("PReLU1", (PReLU,), dict(mode="all")))
bad("transfer", "prelu-mean", "gradient in the slope over N", type("PReLU2", (PReLU,), dict(mode="mean")))

# right activations
good("transfer", "swish", act("Swish", lambda z: z * sig(z), lambda z: sig(z) * (1 + z * sig(-z))))
good(
    "transfer",
    "gelu-erf",
    act(
        "GELU",
        lambda z: (z * (1 + erf(z / 2**0.5)) / 2).astype(z.dtype),
        lambda z: ((1 + erf(z / 2**0.5)) / 2 + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)).astype(z.dtype),
    ),
)
good(
    "transfer",
    "softsign",
    act(
        "Softsign",
        lambda z: z / (1 + abs(z)),
        lambda z: 1 / (1 + abs(z)) ** 2,
        lambda z: abs(z) - np.log1p(abs(z)),
        lo=-1.0,
        hi=1.0,
        conjugate=lambda a: -abs(a) - np.log1p(-abs(a)),
        inverse=lambda a: a / (1 - abs(a)),
    ),
)
good(
    "transfer",
    "selu",
    act(
        "SELU",
        lambda z: 1.0507 * np.where(z > 0, z, 1.6733 * np.expm1(np.minimum(z, 0))),
        lambda z: (1.0507 * np.where(z > 0, 1, 1.6733 * np.exp(np.minimum(z, 0)))).astype(z.dtype),
        lo=-1.0507 * 1.6733,
    ),
)
good("transfer", "sine", act("Sine", lambda z: np.sin(3 * z), lambda z: 3 * np.cos(3 * z), lo=-1.0, hi=1.0))
good(
    "transfer",
    "relu6",
    act(
        "ReLU6",
        lambda z: np.clip(z, 0, 6),
        lambda z: ((z > 0) & (z < 6)).astype(z.dtype),
        lambda z: np.where(z > 6, 6 * z - 18, np.maximum(z, 0) ** 2 / 2),
        lo=0.0,
        hi=6.0,
        closed=True,
    ),
)
good(
    "transfer",
    "hardswish",
    act(
        "HardSwish",
        lambda z: z * np.clip(z + 3, 0, 6) / 6,
        lambda z: np.where(z <= -3, 0, np.where(z >= 3, 1, (2 * z + 3) / 6)).astype(z.dtype),
    ),
)
good(
    "transfer",
    "soft-threshold",
    act(
        "Shrink",
        lambda z: np.sign(z) * np.maximum(abs(z) - 0.5, 0),
        lambda z: (abs(z) > 0.5).astype(z.dtype),
        lambda z: np.maximum(abs(z) - 0.5, 0) ** 2 / 2,
    ),
)
good("transfer", "abs", act("Abs", abs, np.sign, lo=0.0))
good(
    "transfer",
    "relu-derivative-1-at-0",
    act(
        "ReLUat0",
        lambda z: np.maximum(z, 0),
        lambda z: (z >= 0).astype(z.dtype),
        lambda z: np.maximum(z, 0) ** 2 / 2,
        lo=0.0,
    ),
)
good(
    "transfer",
    "arctan",
    act(
        "Arctan",
        np.arctan,
        lambda z: 1 / (1 + z * z),
        lambda z: z * np.arctan(z) - np.log1p(z * z) / 2,
        lo=-math.pi / 2,
        hi=math.pi / 2,
    ),
)
good("transfer", "maxpool", lambda: ml.MaxPool2d(2))

# ------------------------------------------------------------------ maps


class Lin(ml.Linear):
    mode = ""

    def __init__(self, n_in=4, n_out=3):
        super().__init__(n_in, n_out)

    def forward(self, theta, a):
        if self.mode == "inplace":
            a -= a.mean()
        if self.mode == "changes-theta":
            theta[-1] *= 2
        if self.mode == "remembers":
            self.last = a
        if self.mode == "upcast":
            return a.astype(np.float64) @ theta[:-1] + theta[-1]
        if self.mode == "bias-twice":
            return a @ theta[:-1] + 2 * theta[-1]
        if self.mode == "tanh":
            return np.tanh(a) @ theta[:-1] + theta[-1]
        if self.mode == "square":
            return a @ theta[:-1] ** 2 + theta[-1]
        return a @ theta[:-1] + theta[-1]

    def adjoint_theta(self, a, g):
        if self.mode == "remembers":
            a = self.last
        d = np.concatenate([a.T @ g, g.sum(0, keepdims=True)])
        if self.mode == "no-bias":
            d[-1] = 0
        if self.mode == "over-N":
            d /= len(a)
        if self.mode == "bias-mean":
            d[-1] /= len(a)
        if self.mode == "buffer":
            if getattr(self, "buf", d).shape == d.shape and getattr(self, "buf", d).dtype == d.dtype:
                self.buf = getattr(self, "buf", d)
                self.buf[...] = d
                return self.buf
            self.buf = d
        return d

    def adjoint_input(self, theta, g):
        if self.mode == "input-W":
            return g @ theta[:-1]
        if self.mode == "input-bias":
            return g @ theta[:-1].T + (g @ theta[-1])[:, None]
        if self.mode == "input-first":
            return g @ theta[1:].T
        if self.mode == "input-buffer":
            out = g @ theta[:-1].T
            if getattr(self, "ibuf", out).shape == out.shape:
                self.ibuf = getattr(self, "ibuf", out)
                self.ibuf[...] = out
                return self.ibuf
            self.ibuf = out
            return out
        return g @ theta[:-1].T

    def rows(self, a):
        return a * a.dtype.type(2) if self.mode == "rows" else a

    def initial_theta(self, rng):
        if self.mode == "global-rng":
            return np.random.standard_normal(self.theta_shape)
        if self.mode == "init-shape":
            return rng.standard_normal(self.theta_shape[::-1])
        return super().initial_theta(rng)

    def output_shape(self, s):
        return (self.n_in,) if self.mode == "output-shape" else super().output_shape(s)

    def gram(self, a, side=None, bias=True):
        return super().gram(a, side, False if self.mode == "gram-bias" else bias)


for mode, cause in [
    ("inplace", "forward changes a"),
    ("changes-theta", "forward changes θ"),
    ("bias-twice", "bias twice in forward"),
    ("tanh", "forward not linear in a"),
    ("square", "forward not linear in θ"),
    ("no-bias", "bias gradient is 0"),
    ("over-N", "adjoint_theta over N"),
    ("bias-mean", "bias gradient a mean"),
    ("input-bias", "adjoint_input holds the bias row"),
    ("input-first", "adjoint_input takes the bias for the first row"),
    ("rows", "rows is twice what multiplies W"),
    ("global-rng", "initial_theta not from rng"),
    ("init-shape", "initial_theta transposed"),
    ("output-shape", "output_shape says n_in"),
    ("gram-bias", "Gram lacks the column of ones"),
]:
    bad("map", "linear-" + mode, cause, type("Lin_" + mode.replace("-", "_"), (Lin,), dict(mode=mode)))
bad(
    "map",
    "linear-input-W",
    "adjoint_input by W instead of Wᵀ, square map",
    (lambda c: lambda: c(3, 3))(type("Lin_W", (Lin,), dict(mode="input-W"))),
)
for mode, cause in [
    ("remembers", "adjoint_theta at the remembered last input"),
    ("buffer", "adjoint_theta returns one buffer"),
    ("input-buffer", "adjoint_input returns one buffer"),
    ("upcast", "float32 becomes float64"),
]:
    bad("sequence", "linear-" + mode, cause, type("Lin_" + mode.replace("-", "_"), (Lin,), dict(mode=mode)))
good("map", "linear-own", Lin)


class Scaled(ml.Linear):
    """aW/√n + b."""

    mode = ""

    def __init__(self, n_in=5, n_out=3):
        super().__init__(n_in, n_out)
        self.c = 1 / math.sqrt(n_in)

    def forward(self, theta, a):
        return self.rows2(a) @ theta[:-1] + theta[-1]

    def rows2(self, a):
        return a * a.dtype.type(self.c)

    def rows(self, a):
        return a if self.mode == "rows" else self.rows2(a)

    def adjoint_theta(self, a, g):
        x = a if self.mode == "theta" else self.rows2(a)
        return np.concatenate([x.T @ g, g.sum(0, keepdims=True)])

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T * (1 if self.mode == "input" else g.dtype.type(self.c))

    def gram(self, a, side=None, bias=True):
        return Gram(self.rows(a), side, bias)


good("map", "scaled-mup", Scaled)
for mode, cause in [
    ("theta", "adjoint_theta lacks 1/√n"),
    ("input", "adjoint_input lacks 1/√n"),
    ("rows", "rows (and Gram) lack 1/√n"),
]:
    bad("map", "scaled-" + mode, cause, type("Scaled_" + mode, (Scaled,), dict(mode=mode)))


class Features(ml.Linear):
    """(aR)W + b with a frozen sparse R."""

    mode = ""

    def __init__(self):
        super().__init__(6, 2)
        self.n_in = 6
        self.R = sp.random(4, 6, 0.6, random_state=np.random.RandomState(1), format="csr")

    def output_shape(self, s):
        if tuple(s) != (4,):
            raise ValueError(f"expects (4,), got {s}")
        return (2,)

    def rows(self, a):
        return (a @ self.R).astype(a.dtype)

    def forward(self, theta, a):
        return self.rows(a) @ theta[:-1] + theta[-1]

    def adjoint_theta(self, a, g):
        return np.concatenate([self.rows(a).T @ g, g.sum(0, keepdims=True)])

    def adjoint_input(self, theta, g):
        return ((g @ theta[:-1].T) @ self.R.T).astype(g.dtype)

    def gram(self, a, side=None, bias=True):
        return Gram(self.rows(a), side, bias)


class Conv1d(Map):
    """Valid correlation of (N, T, c) with k taps; samples flat (T*c,) reshaped inside."""

    mode = ""

    def __init__(self, T=6, c=2, k=3, out=2):
        self.T, self.c, self.k, self.out = T, c, k, out
        self.n_in = k * c

    @property
    def theta_shape(self):
        return (self.k * self.c + 1, self.out)

    def initial_theta(self, rng):
        return rng.uniform(-0.5, 0.5, self.theta_shape)

    def output_shape(self, s):
        if tuple(s) != (self.T, self.c):
            raise ValueError(f"Conv1d expects {(self.T, self.c)}, got {tuple(s)}")
        return (self.T - self.k + 1, self.out)

    def patches(self, a):
        return np.concatenate([a[:, i : i + self.T - self.k + 1] for i in range(self.k)], axis=2)

    def rows(self, a):
        p = self.patches(a)
        if self.mode == "rows-order":
            p = p[:, :, ::-1]
        return np.ascontiguousarray(p).reshape(-1, self.n_in)

    def columns(self, z):
        return z.reshape(-1, self.out)

    def height(self, z):
        return z.shape[0] * z.shape[1]

    def forward(self, theta, a):
        return self.patches(a) @ theta[:-1] + theta[-1]

    def adjoint_theta(self, a, g):
        gg = g.reshape(-1, self.out)
        p = self.patches(a).reshape(-1, self.n_in)
        b = gg.sum(0, keepdims=True)
        if self.mode == "bias":
            b = b / g.shape[1]
        return np.concatenate([p.T @ gg, b])

    def adjoint_input(self, theta, g):
        d = g @ theta[:-1].T
        out = np.zeros((len(g), self.T, self.c), g.dtype)
        for i in range(self.k):
            j = self.k - 1 - i if self.mode == "flip" else i
            out[:, i : i + g.shape[1]] += d[..., j * self.c : (j + 1) * self.c]
        if self.mode == "assign":
            for i in range(self.k):
                out[:, i : i + g.shape[1]] = d[..., i * self.c : (i + 1) * self.c]
        return out


good("map", "conv1d", Conv1d)
for mode, cause in [
    ("flip", "adjoint_input with flipped taps"),
    ("bias", "bias gradient is a mean over positions"),
    ("assign", "overlaps are assigned, not added"),
    ("rows-order", "rows in reverse order"),
]:
    bad("map", "conv1d-" + mode, cause, type("Conv1d_" + mode.replace("-", "_"), (Conv1d,), dict(mode=mode)))


class ConvSub(ml.Conv2d):
    mode = ""

    def __init__(self):
        super().__init__(2, 3, 3, stride=2 if self.mode == "stride" else 1, padding=1, image_size=(5, 6))

    def forward(self, theta, a):
        z = super().forward(theta, a)
        return z[:, ::-1] if self.mode == "flipped-rows" else z

    def adjoint_input(self, theta, g):
        if self.mode == "transposed-kernel":
            w = theta[:-1].reshape(3, 3, 2, 3).swapaxes(0, 1).reshape(18, 3)
            theta = np.concatenate([w, theta[-1:]])
        out = super().adjoint_input(theta, g)
        if self.mode == "pad":
            out = np.roll(out, 1, axis=1)
        return out

    def adjoint_theta(self, a, g):
        d = super().adjoint_theta(a, g)
        if self.mode == "pixels":
            d = d / (g.shape[1] * g.shape[2])
        if self.mode == "first":
            d = super().adjoint_theta(a[:1], g[:1]) if len(a) > 1 else d
        return d

    def gram(self, a, side=None, bias=True):
        gram = super().gram(a, side, bias)
        if self.mode == "gram" and gram.side == "parameter":
            gram.matrix = gram.matrix / len(a)
        return gram


good("map", "conv-own", ConvSub)
for mode, cause in [
    ("flipped-rows", "forward flips rows, adjoints do not"),
    ("transposed-kernel", "adjoint_input with the kernel's rows and columns swapped"),
    ("pad", "adjoint_input shifted by a row"),
    ("pixels", "adjoint_theta over pixels"),
    ("first", "adjoint_theta of the first sample only"),
    ("gram", "Gram over N on the parameter side"),
]:
    bad("map", "conv-" + mode, cause, type("Conv_" + mode.replace("-", "_"), (ConvSub,), dict(mode=mode)))


class Sub(ml.Join):
    """current − named."""

    sign = -1

    def __init__(self, source="x"):
        self.source = source
        self.sources = (source,)

    def output_shape(self, *s):
        return s[0]

    def forward(self, theta, v, w):
        return v - w

    def adjoint_inputs(self, theta, g, values):
        return [g, self.sign * g]


def with_join(join):
    return lambda: ml.Network(
        [ml.Linear(4, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 4), join("x"), ml.Tanh(), ml.Linear(4, 2)],
        ml.SquaredError(),
        dtype=np.float64,
    )


good("map", "join-subtract", with_join(Sub))
bad("map", "join-subtract-sign", "sign of the second input's signal", with_join(type("Sub1", (Sub,), dict(sign=1))))


class Prod(Sub):
    mode = ""

    def forward(self, theta, v, w):
        return (v + w) / 2

    def adjoint_inputs(self, theta, g, values):
        return [g, g] if self.mode == "half" else [g / 2, g / 2]


good("map", "join-mean", with_join(Prod))
bad("map", "join-mean-half", "signals lack ½", with_join(type("Mean1", (Prod,), dict(mode="half"))))


def shared(cls):
    def net():
        cell = cls(3, 3)
        return ml.Network(
            [cell, ml.Tanh(), cell, ml.Tanh(), cell, ml.Tanh(), ml.Linear(3, 2)], ml.SquaredError(), dtype=np.float64
        )

    return net


good("map", "shared-thrice", shared(Lin))
bad(
    "map",
    "shared-remembers",
    "adjoint_theta at the remembered last input, shared",
    shared(type("Lin_r", (Lin,), dict(mode="remembers"))),
)
bad("map", "shared-over-N", "adjoint_theta over N, shared", shared(type("Lin_n", (Lin,), {"mode": "over-N"})))
bad(
    "map",
    "net-maxout-both",
    "maxout's signal to both, in a network",
    lambda: ml.Network(
        [ml.Linear(4, 6), type("MB", (Maxout,), dict(both=True))(), ml.Linear(3, 2)],
        ml.SquaredError(),
        dtype=np.float64,
    ),
)
good(
    "map",
    "net-maxout",
    lambda: ml.Network([ml.Linear(4, 6), Maxout(), ml.Linear(3, 2)], ml.SquaredError(), dtype=np.float64),
)
good("map", "net-glu-float32", lambda: ml.Network([ml.Linear(4, 6), GLU(), ml.Linear(3, 3)], ml.SoftmaxCrossEntropy()))
good(
    "map",
    "net-dropout-own",
    lambda: ml.Network([ml.Linear(4, 6), MyDropout(), ml.Linear(6, 3)], ml.SoftmaxCrossEntropy()),
)
good(
    "map",
    "net-conv",
    lambda: ml.Network(
        [ml.Conv2d(1, 3, 3), ml.ReLU(), ml.MaxPool2d(2), ml.Flatten(), ml.Linear(48, 3)], input_shape=(8, 8, 1)
    ),
)
bad(
    "map",
    "net-bn-constant",
    "batch norm's statistics for constants, in a network",
    lambda: ml.Network(
        [ml.Linear(4, 5), type("BNc", (BN,), dict(mode="constant"))(5), ml.Tanh(), ml.Linear(5, 2)],
        ml.SquaredError(),
        dtype=np.float64,
    ),
)
good(
    "map",
    "net-bn",
    lambda: ml.Network([ml.Linear(4, 5), BN(5), ml.Tanh(), ml.Linear(5, 2)], ml.SquaredError(), dtype=np.float64),
)

# ------------------------------------------------------------------ losses


def loss(name, value, grad, transfer=None, base=ml.Loss, prox=None, **over):
    body = dict(value_per_sample=lambda self, z, y: value(z, y))
    if transfer or grad is None:
        body["transfer"] = transfer() if transfer else ml.Identity()
    if grad is not None:
        body["gradient"] = lambda self, z, y: grad(z, y) * z.dtype.type(self.weight(len(z)))
    if prox is not None:
        body["prox"] = lambda self, v, y, tau: prox(v, y, tau * self.weight(len(v)))
    body.update(over)
    return type(name, (base,), body)


class NoWeight(ml.SquaredError):
    def gradient(self, z, y):
        return z - y


bad("loss", "no-weight", "gradient lacks 1/N", NoWeight)
bad(
    "loss",
    "factor-2",
    "gradient is 2(z−y) for ½‖·‖²",
    loss("L2", lambda z, y: ((z - y) ** 2).sum(-1) / 2, lambda z, y: 2 * (z - y)),
)
bad("loss", "value-no-half", "value lacks ½", loss("L3", lambda z, y: ((z - y) ** 2).sum(-1), None))
hub = lambda z, y: np.where(abs(z - y) < 0.7, (z - y) ** 2 / 2, 0.7 * (abs(z - y) - 0.35)).sum(-1)  # noqa: E731
bad("loss", "huber-unclipped", "gradient is not clipped", loss("Huber1", hub, lambda z, y: z - y))
bad(
    "loss",
    "huber-offset",
    "value jumps at δ: δ|r| without −δ²/2",
    loss(
        "Huber2",
        lambda z, y: np.where(abs(z - y) < 0.7, (z - y) ** 2 / 2, 0.7 * abs(z - y)).sum(-1),
        lambda z, y: np.clip(z - y, -0.7, 0.7),
    ),
)


bad(
    "loss",
    "logcosh-sign",
    "gradient tanh(y−z)",
    loss("LogCosh1", lambda z, y: (np.logaddexp(z - y, y - z) - math.log(2)).sum(-1), lambda z, y: np.tanh(y - z)),
)
bad(
    "loss",
    "poisson",
    "gradient exp(z)−1",
    loss("Poisson1", lambda z, y: (np.exp(z) - y * z).sum(-1), lambda z, y: np.exp(z) - 1),
)
bad(
    "loss",
    "prox-2c",
    "prox (v+cy)/(1+2c)",
    loss(
        "Prox1",
        lambda z, y: ((z - y) ** 2).sum(-1) / 2,
        lambda z, y: z - y,
        prox=lambda v, y, c: (v + c * y) / (1 + 2 * c),
    ),
)
bad(
    "loss",
    "prox-1/c",
    "prox with 1/c for c",
    loss(
        "Prox2",
        lambda z, y: ((z - y) ** 2).sum(-1) / 2,
        lambda z, y: z - y,
        prox=lambda v, y, c: (v + y / c) / (1 + 1 / c),
    ),
)


class ProxNoWeight(ml.SquaredError):
    def prox(self, v, y, tau):
        return (v + tau * y) / (1 + tau)


bad("loss", "prox-weight", "prox forgets 1/N", ProxNoWeight)
w3 = np.array([1.0, 2.0, 0.5])
bad(
    "loss",
    "weights-forgotten",
    "gradient lacks the weights of outputs",
    loss("W1", lambda z, y: (((z - y) ** 2) * (1 + np.arange(z.shape[1]))).sum(-1) / 2, lambda z, y: z - y),
)
bad(
    "loss",
    "mean-over-outputs",
    "value is a mean over outputs, gradient a sum",
    loss("M1", lambda z, y: ((z - y) ** 2).mean(-1) / 2, lambda z, y: z - y),
)
bad(
    "loss",
    "pinball",
    "gradient with τ and 1−τ swapped",
    loss(
        "Pin1",
        lambda z, y: np.where(y > z, 0.3 * (y - z), 0.7 * (z - y)).sum(-1),
        lambda z, y: np.where(y > z, -0.7, 0.3).astype(z.dtype),
    ),
)
bad(
    "loss",
    "over-N-twice",
    "value_per_sample divides by N",
    loss("N2", lambda z, y: ((z - y) ** 2).sum(-1) / 2 / len(z), lambda z, y: z - y),
)
bad(
    "loss",
    "cauchy",
    "gradient r/(1+r) instead of r/(1+r²)",
    loss("Cauchy1", lambda z, y: (np.log1p((z - y) ** 2) / 2).sum(-1), lambda z, y: (z - y) / (1 + abs(z - y))),
)


class SCE(ml.SoftmaxCrossEntropy):
    mode = ""

    def gradient(self, z, y):
        p = np.exp(z - z.max(-1, keepdims=True))
        if self.mode != "unnormalised":
            p /= p.sum(-1, keepdims=True)
        if self.mode == "inplace":
            z -= z.max(-1, keepdims=True)
        t = np.eye(z.shape[1], dtype=z.dtype)[y]
        if self.mode == "smooth":
            t = 0.9 * t + 0.1 / z.shape[1]
        if self.mode == "plus":
            t = -t
        return (p - t) * z.dtype.type(self.weight(len(z)))

    def predict(self, z):
        return z.argmin(-1) if self.mode == "argmin" else super().predict(z)

    def weight(self, n):
        return 1 / n if self.mode == "sum" else super().weight(n)


good("loss", "softmax-own", SCE)
for mode, cause in [
    ("unnormalised", "softmax without its denominator"),
    ("inplace", "gradient changes z"),
    ("smooth", "gradient smooths labels, the value does not"),
    ("plus", "p + e_y"),
    ("argmin", "predict is argmin"),
    ("sum", "weight 1/N for the sum too"),
]:
    bad(
        "loss",
        "softmax-" + mode,
        cause,
        (lambda mode, c: (lambda: c("sum")) if mode == "sum" else c)(
            mode, type("SCE_" + mode, (SCE,), dict(mode=mode))
        ),
    )
good(
    "loss",
    "huber",
    loss(
        "Huber",
        hub,
        lambda z, y: np.clip(z - y, -0.7, 0.7),
        prox=lambda v, y, c: np.where(abs(v - y) < 0.7 * (1 + c), (v + c * y) / (1 + c), v - c * 0.7 * np.sign(v - y)),
    ),
)
good(
    "loss",
    "huber-no-prox",
    loss(
        "Huber0",
        hub,
        lambda z, y: np.clip(z - y, -0.7, 0.7),
        prox=lambda v, y, c: (_ for _ in ()).throw(NotImplementedError("no prox")),
    ),
)
good(
    "loss",
    "logcosh",
    loss(
        "LogCosh",
        lambda z, y: (np.logaddexp(z - y, y - z) - math.log(2)).sum(-1),
        lambda z, y: np.tanh(z - y),
        prox=(lambda v, y, c: (_ for _ in ()).throw(NotImplementedError("no prox"))),
    ),
)
good(
    "loss",
    "l1",
    loss(
        "L1",
        lambda z, y: abs(z - y).sum(-1),
        lambda z, y: np.sign(z - y),
        prox=lambda v, y, c: y + np.sign(v - y) * np.maximum(abs(v - y) - c, 0),
    ),
)
good(
    "loss",
    "pinball",
    loss(
        "Pin",
        lambda z, y: np.where(y > z, 0.3 * (y - z), 0.7 * (z - y)).sum(-1),
        lambda z, y: np.where(y > z, -0.3, 0.7).astype(z.dtype),
        prox=lambda v, y, c: np.where(v > y + 0.7 * c, v - 0.7 * c, np.where(v < y - 0.3 * c, v + 0.3 * c, y)),
    ),
)
Exp = act("Exp", np.exp, np.exp, np.exp, lo=0.0)
good("loss", "poisson-transfer", loss("Poisson", lambda z, y: (np.exp(z) - y * z).sum(-1), None, transfer=Exp))
good(
    "loss",
    "weighted",
    loss(
        "Wt",
        lambda z, y: (((z - y) ** 2) * (1 + np.arange(z.shape[1]))).sum(-1) / 2,
        lambda z, y: (z - y) * (1 + np.arange(z.shape[1])).astype(z.dtype),
        prox=lambda v, y, c: (v + c * (1 + np.arange(v.shape[1])) * y) / (1 + c * (1 + np.arange(v.shape[1]))),
    ),
)
good(
    "loss",
    "cauchy-nonconvex",
    loss(
        "Cauchy",
        lambda z, y: (np.log1p((z - y) ** 2) / 2).sum(-1),
        lambda z, y: (z - y) / (1 + (z - y) ** 2),
        prox=lambda v, y, c: (_ for _ in ()).throw(NotImplementedError("no prox")),
        convex=False,
    ),
)


class Smoothed(ml.SoftmaxCrossEntropy):
    def t(self, z, y):
        return (0.9 * np.eye(z.shape[1])[y] + 0.1 / z.shape[1]).astype(z.dtype)

    def value_per_sample(self, z, y):
        return self.transfer.integral(z) - (self.t(z, y) * z).sum(-1)

    def gradient(self, z, y):
        return (self.transfer.forward(z) - self.t(z, y)) * z.dtype.type(self.weight(len(z)))

    def targets(self, z, y):
        return self.t(z, y)


good("loss", "label-smoothing", Smoothed)

# ------------------------------------------------------------------ methods with like / objective


def rows_of(b):
    """ã, (rows, n_in+1), and the signal as a matrix."""
    a = b.phi.rows(b.a)
    return np.concatenate([a, np.ones((len(a), 1), a.dtype)], 1), b.phi.columns(b.g)


def grad(b):
    return b.phi.adjoint_theta(b.a, b.g)


BP = dict(like=ml.BackProp())
bad("method", "bp-sign", "minus the gradient", lambda: lambda b: -grad(b), **BP)
bad("method", "bp-N", "gradient times N", lambda: lambda b: grad(b) * len(b.a), **BP)


def bp_nobias(b):
    d = grad(b).copy()
    d[-1] = 0
    return d


bad("method", "bp-no-bias", "no step in the bias", lambda: bp_nobias, **BP)


def bp_ga(b):
    g = b.g if b.g_a is None else b.g_a
    return b.phi.adjoint_theta(b.a, g.reshape(b.g.shape) if g.shape == b.g.shape else b.g)


bad("method", "bp-unmasked", "signal not masked by f′", lambda: bp_ga, **BP)
bad("method", "bp-last-twice", "last map's gradient twice", lambda: lambda b: grad(b) * (2 if b.last else 1), **BP)
bad("method", "bp-first-zero", "first map gets no step", lambda: lambda b: grad(b) * (0 if b.l == 1 else 1), **BP)
bad("method", "bp-sign-step", "sign of the gradient", lambda: lambda b: np.sign(grad(b)), **BP)
bad(
    "method",
    "bp-normalised",
    "gradient over its norm",
    lambda: lambda b: grad(b) / (np.linalg.norm(grad(b)) + 1e-12),
    **BP,
)
bad("method", "bp-decay", "adds weight decay 0.01 θ", lambda: lambda b: grad(b) + 0.01 * b.theta, **BP)
bad(
    "method",
    "bp-z-for-g",
    "uses z in place of g on hidden maps",
    lambda: lambda b: b.phi.adjoint_theta(b.a, b.z if not b.last else b.g),
    **BP,
)
bad("method", "bp-new-theta", "returns the new θ, not the step", lambda: lambda b: b.theta - grad(b), **BP)
bad(
    "method",
    "bp-half-batch",
    "only the first half of the batch",
    lambda: lambda b: b.phi.adjoint_theta(b.a[: (len(b.a) + 1) // 2], b.g[: (len(b.g) + 1) // 2]),
    **BP,
)
TAU = 0.3


def prox(
    b, tau=TAU, damp_bias=True, over_n=False, ones=True, last_implicit=False, twice=False, times=1.0, weight=False
):
    if b.last and not last_implicit:
        return grad(b)
    A, g = rows_of(b)
    C = A.T @ A
    if over_n:
        C = C / len(A)
    if not ones:
        C[-1, :-1] = C[:-1, -1] = 0
    D = np.eye(len(C)) / tau
    if twice:
        D *= 2
    if weight:
        D *= b.weight
    if not damp_bias:
        D[-1, -1] = 0
    return times * np.linalg.lstsq(C + D, A.T @ g, rcond=None)[0].astype(b.theta.dtype)


PP = dict(like=ml.ProxProp(tau_theta=TAU))
PPL = dict(like=ml.ProxProp(tau_theta=TAU, last="implicit"))
for name, cause, kw in [
    ("tau", "τ_θ for 1/τ_θ", dict(tau=1 / TAU)),
    ("bias-undamped", "bias not damped", dict(damp_bias=False)),
    ("gram-over-N", "Gram over N", dict(over_n=True)),
    ("bias-block", "bias not coupled in the Gram", dict(ones=False)),
    ("last", "last map implicit too", dict(last_implicit=True)),
    ("twice", "damping 2/τ_θ", dict(twice=True)),
    ("times-tau", "step times τ_θ", dict(times=TAU)),
    ("weight", "damping times 1/N", dict(weight=True)),
    ("sign", "minus the step", dict(times=-1.0)),
]:
    bad("method", "prox-" + name, cause, (lambda kw: lambda: lambda b: prox(b, **kw))(kw), **PP)  # noqa: B023
bad("method", "prox-last-explicit", "last map explicit where implicit is wanted", lambda: lambda b: prox(b), **PPL)


def half_step(b):
    """a^½-like: Gram of a scaled input."""
    if b.last:
        return grad(b)
    A, g = rows_of(b)
    A2 = A - 0.1 * A * (A > 0)
    return np.linalg.solve(A2.T @ A2 + np.eye(A.shape[1]) / TAU, A2.T @ g).astype(b.theta.dtype)


bad("method", "prox-moved-input", "uses a moved input, not the forward pass's", lambda: half_step, **PP)


def sample_side(b, ones=True):
    if b.last:
        return grad(b)
    A, g = rows_of(b)
    K = A @ A.T if ones else A[:, :-1] @ A[:, :-1].T
    return (A.T @ np.linalg.solve(K + np.eye(len(K)) / TAU, g)).astype(b.theta.dtype)


bad("method", "prox-K-no-ones", "K lacks 11ᵀ", lambda: lambda b: sample_side(b, False), **PP)
good("method", "prox-sample-side", lambda: sample_side, **PP)
good("method", "prox-parameter-side", lambda: prox, **PP)


def prox_svd(b):
    if b.last:
        return grad(b)
    A, g = rows_of(b)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    return (Vt.T @ ((s / (s * s + 1 / TAU))[:, None] * (U.T @ g))).astype(b.theta.dtype)


good("method", "prox-svd", lambda: prox_svd, **PP)


def prox_lstsq(b):
    if b.last:
        return grad(b)
    A, g = rows_of(b)
    M = np.concatenate([A, np.eye(A.shape[1]) / TAU**0.5])
    return np.linalg.lstsq(M, np.concatenate([g, np.zeros((A.shape[1], g.shape[1]))]), rcond=None)[0].astype(
        b.theta.dtype
    )


good("method", "prox-augmented-lstsq", lambda: prox_lstsq, **PP)


def prox_gram(b):
    """By the package's Gram operator."""
    if b.last:
        return grad(b)
    gram = b.phi.gram(b.a)
    q = gram.lower(b.phi.columns(b.g))
    return gram.lift(np.linalg.solve(gram.matrix + np.eye(len(gram.matrix)) / TAU, q)).astype(b.theta.dtype)


good("method", "prox-gram-operator", lambda: prox_gram, **PP)


def cg(b, k, joint=False, wrong_beta=False):
    if b.last:
        return grad(b)
    A, g = rows_of(b)
    r = A.T @ g
    d, p = np.zeros_like(r), r.copy()
    dot = (lambda x, y: (x * y).sum()) if joint else (lambda x, y: (x * y).sum(0))
    rr = dot(r, r)
    for _ in range(k):
        q = A.T @ (A @ p) + p / TAU
        pq = dot(p, q)
        alpha = rr / np.where(pq > 0, pq, 1)
        d = d + alpha * p
        r = r - alpha * q
        new = dot(r, r)
        beta = np.where(rr > 0, new / np.where(rr > 0, rr, 1), 0)
        p = r + (0 if wrong_beta else beta) * p
        rr = new
    return d.astype(b.theta.dtype)


CG3 = dict(like=ml.ProxProp(tau_theta=TAU, solver="cg3"))
good("method", "cg3-own", lambda: lambda b: cg(b, 3), **CG3)
bad("method", "cg2-for-3", "two steps of CG instead of three", lambda: lambda b: cg(b, 2), **CG3)
bad("method", "cg-joint", "one step length for all units", lambda: lambda b: cg(b, 3, True), **CG3)
bad("method", "cg-steepest", "steepest descent: no conjugation", lambda: lambda b: cg(b, 3, wrong_beta=True), **CG3)
good("method", "cg1-line-search", lambda: lambda b: cg(b, 1), like=ml.ProxProp(tau_theta=TAU, solver="cg1"))


def obj(b, theta):
    """Prox objective with target z − γ g, γ = 1."""
    r = b.phi.columns(b.phi.forward(theta, b.a)) - b.phi.columns(b.z - b.g)
    return (r * r).sum() / 2 + ((theta - b.theta) ** 2).sum() / (2 * TAU)


OB = dict(objective=obj)
I = dict(last_implicit=True)
good("method", "objective-prox", lambda: lambda b: prox(b, **I), **OB)
for name, cause, kw in [
    ("tau", "τ_θ for 1/τ_θ", dict(tau=1 / TAU)),
    ("bias", "bias not damped", dict(damp_bias=False)),
    ("gram-over-N", "Gram over N", dict(over_n=True)),
    ("twice", "damping 2/τ_θ", dict(twice=True)),
    ("sign", "minus the step", dict(times=-1.0)),
    ("0.9", "nine tenths of the step", dict(times=0.9)),
    ("bias-block", "bias not coupled in the Gram", dict(ones=False)),
]:
    bad("method", "objective-" + name, cause, (lambda kw: lambda: lambda b: prox(b, **I, **kw))(kw), **OB)  # noqa: B023
bad("method", "objective-gradient", "a gradient step, not the minimiser", lambda: grad, **OB)
bad("method", "objective-zero", "no step at all", lambda: lambda b: np.zeros_like(b.theta), **OB)


def obj_decay(b, theta):
    return obj(b, theta) + 0.05 * (theta[:-1] ** 2).sum()


def prox_decay(b, wrong=False):
    A, g = rows_of(b)
    E = np.eye(A.shape[1])
    E[-1, -1] = 0
    M = A.T @ A + np.eye(len(E)) / TAU + 0.1 * E
    return np.linalg.solve(M, A.T @ g + (0 if wrong else 0.1) * E @ b.theta).astype(b.theta.dtype)


class Decayed(ml.Method):
    descends_on_loss = False
    wrong = False

    def propose(self, block):
        return prox_decay(block, self.wrong)


good("method", "weight-decay-not-claimed", Decayed, objective=obj_decay)
bad(
    "method",
    "weight-decay-anchor",
    "weight decay towards θ_old: right-hand side lacks the decay",
    type("Decayed1", (Decayed,), dict(wrong=True)),
    objective=obj_decay,
)


def obj_l1(b, theta):
    return (
        (theta * (b.phi.adjoint_theta(b.a, b.g))).sum()
        + ((theta - b.theta) ** 2).sum() / (2 * TAU)
        + 0.01 * abs(theta).sum()
    )


class Lasso(ml.Method):
    descends_on_loss = False
    t = TAU * 0.01

    def propose(self, b):
        v = b.theta - TAU * grad(b)
        return b.theta - np.sign(v) * np.maximum(abs(v) - self.t, 0)


good("method", "l1-prox-gradient", Lasso, objective=obj_l1)
bad("method", "l1-threshold", "threshold λ instead of τλ", type("Lasso1", (Lasso,), dict(t=0.01)), objective=obj_l1)


class SignStep(ml.Method):
    descends_on_loss = True

    def propose(self, b):
        return np.sign(grad(b)) * 0.1


def sign_ref(b):
    return 0.1 * np.sign(grad(b))


good("method", "sign-step-by-reference", SignStep, like=sign_ref)


class DFA(ml.Method):
    """Direct feedback alignment-like: a fixed random signal; nothing of J is claimed."""

    descends_on_loss = False

    def propose(self, b):
        rng = np.random.default_rng(b.l)
        return b.phi.adjoint_theta(b.a, (b.z * rng.standard_normal(b.z.shape[1:])).astype(b.z.dtype))


def dfa_ref(b):
    A, _ = rows_of(b)
    R = np.random.default_rng(b.l).standard_normal(b.z.shape[1:])
    return A.T @ b.phi.columns(b.z * R)


good("method", "feedback-alignment", DFA, like=dfa_ref)


def loco_s(b, gamma=0.7, eta=0.2, old=False):
    A, g = rows_of(b)
    return gamma * np.linalg.solve(A.T @ A + np.eye(A.shape[1]) / eta, A.T @ g).astype(b.theta.dtype)


LS = dict(like=ml.LocoProp("S", gamma=0.7, steps="exact", eta=0.2))
good("method", "locoprop-S", lambda: loco_s, **LS)
bad("method", "locoprop-S-gamma", "γ forgotten", lambda: lambda b: loco_s(b, 1.0), **LS)
bad("method", "locoprop-S-eta", "η for 1/η", lambda: lambda b: loco_s(b, eta=5.0), **LS)


def loco_m(b, T=3, lr=0.05, gamma=0.7, decay=False, target="f"):
    th = b.theta.copy()
    f = b.f.forward
    y = (f(b.z) if target == "f" else b.z) - gamma * b.g
    for t in range(T):
        th = th - lr * (max(1 - t / T, 0.25) if decay else 1) * b.phi.adjoint_theta(b.a, f(b.phi.forward(th, b.a)) - y)
    return b.theta - th


LM = dict(like=ml.LocoProp("M", gamma=0.7, steps=3, local_lr=0.05, local_optimizer="sgd", decay=False))
good("method", "locoprop-M", lambda: loco_m, **LM)
bad("method", "locoprop-M-target", "target from z, not f(z)", lambda: lambda b: loco_m(b, target="z"), **LM)
bad("method", "locoprop-M-steps", "two local steps, not three", lambda: lambda b: loco_m(b, T=2), **LM)
bad("method", "locoprop-M-decay", "local rate decays", lambda: lambda b: loco_m(b, decay=True), **LM)
bad("method", "locoprop-M-one", "local gradient frozen at θ_old", lambda: lambda b: 3 * loco_m(b, T=1), **LM)


def foof(b, lam=0.2, form="right"):
    A, g = rows_of(b)
    n = round(1 / b.weight) if b.weight != 1 else len(b.a)
    damping = {"right": lam * n, "rows": lam * n, "inverse": n / lam, "no-N": lam}[form]
    return np.linalg.solve(A.T @ A + damping * np.eye(A.shape[1]), A.T @ (g / b.weight)).astype(b.theta.dtype)


FO = dict(like=ml.FOOF(damping=0.2))
good("method", "foof", lambda: foof, **FO)
bad("method", "foof-inverse", "1/λ for λ", lambda: lambda b: foof(b, form="inverse"), **FO)
bad("method", "foof-no-N", "damping λ beside the summed Gram", lambda: lambda b: foof(b, form="no-N"), **FO)


class RunningFOOF(ml.Method):
    """FOOF with running averages, own state."""

    mode = ""
    lam, decay = 0.2, 0.9

    def __init__(self):
        self.reset()

    def reset(self):
        if self.mode == "reset" and hasattr(self, "k"):
            return
        self.k, self.A = {}, {}

    def propose(self, b):
        A, g = rows_of(b)
        n = round(1 / b.weight) if b.weight != 1 else len(b.a)
        C = A.T @ A / n
        k = self.k[b.l] = self.k.get(b.l, 0) + 1
        rho = self.decay if self.mode == "no-warmup" else min(1 - 1 / k, self.decay)
        if self.mode == "swapped":
            rho = 1 - rho
        old = self.A.get(b.l, 0)
        if self.mode == "late":
            use = old if k > 1 else C
        self.A[b.l] = rho * old + (1 - rho) * C
        M = use if self.mode == "late" else self.A[b.l]
        return np.linalg.solve(M + self.lam * np.eye(len(C)), A.T @ (g / b.weight) / n).astype(b.theta.dtype)

    def state_dict(self):
        return {**{f"k/{l}": v for l, v in self.k.items()}, **{f"A/{l}": v.copy() for l, v in self.A.items()}}

    def load_state_dict(self, v):
        self.k = {int(n[2:]): int(x) for n, x in v.items() if n[0] == "k"}
        self.A = {int(n[2:]): np.array(x) for n, x in v.items() if n[0] == "A"}


FR = dict(like=ml.FOOF(damping=0.2, decay=0.9))
good("sequence", "running-foof", RunningFOOF, **FR)
for mode, cause in [
    ("no-warmup", "first averages lack min(1−1/k, ρ)"),
    ("swapped", "ρ and 1−ρ swapped"),
    ("late", "uses the average before this batch"),
    ("reset", "reset forgets nothing"),
]:
    bad(
        "sequence",
        "running-foof-" + mode,
        cause,
        type("RunningFOOF_" + mode.replace("-", "_"), (RunningFOOF,), dict(mode=mode)),
        **FR,
    )


class CachedFactor(ml.Method):
    """ProxProp that keeps the first factorisation of each map."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.M = {}

    def propose(self, b):
        if b.last:
            return grad(b)
        A, g = rows_of(b)
        key = (b.l, A.shape[1])
        if key not in self.M:
            self.M[key] = np.linalg.inv(A.T @ A + np.eye(A.shape[1]) / TAU)
        return (self.M[key] @ (A.T @ g)).astype(b.theta.dtype)


bad("sequence", "stale-factor", "keeps the first batch's factor", CachedFactor, **PP)


class CachedById(CachedFactor):
    def propose(self, b):
        if b.last:
            return grad(b)
        A, g = rows_of(b)
        key = (b.l, A.shape)
        if key not in self.M:
            self.M[key] = A
        A0 = self.M[key]
        return np.linalg.solve(A0.T @ A0 + np.eye(A.shape[1]) / TAU, A0.T @ g).astype(b.theta.dtype)


bad("sequence", "remembered-input", "keeps the first batch's input", CachedById, **PP)


class ChangesTheta(ml.Method):
    def propose(self, b):
        d = grad(b)
        b.theta[...] -= d
        return d


bad("sequence", "changes-theta", "changes θ in place", ChangesTheta, **BP)


class ChangesG(ml.Method):
    def propose(self, b):
        b.g[...] *= 2
        return grad(b) / 2


bad("sequence", "changes-g", "changes the signal in place", ChangesG, **BP)


class ChangesA(ml.Method):
    def propose(self, b):
        d = grad(b)
        b.a[...] += 1
        return d


bad("sequence", "changes-a", "changes the input in place", ChangesA, **BP)


class Upcasts(ml.Method):
    def propose(self, b):
        return grad(b).astype(np.float64)


bad("sequence", "method-upcast", "float32 becomes float64", Upcasts, **BP)


class Downcasts(ml.Method):
    def propose(self, b):
        return grad(b).astype(np.float32).astype(b.theta.dtype)


bad("sequence", "method-downcast", "computes in float32", Downcasts, **BP)


class Buffered(ml.Method):
    def __init__(self):
        self.buf = {}

    def propose(self, b):
        key = b.theta.shape
        if key not in self.buf:
            self.buf[key] = np.empty_like(b.theta)
        self.buf[key][...] = grad(b)
        return self.buf[key]


bad("sequence", "method-buffer", "returns one buffer for all maps of a shape", Buffered, **BP)


class Momentum(ml.Method):
    mode = ""

    def __init__(self):
        self.v = {}

    def reset(self):
        if self.mode != "reset":
            self.v = {}

    def propose(self, b):
        v = self.v.get(b.l)
        v = grad(b) + (0.9 * v if v is not None and v.shape == b.theta.shape else 0)
        self.v[b.l] = v
        return v.copy()


bad("sequence", "hidden-momentum", "keeps a momentum: not the gradient from the second call on", Momentum, **BP)


class Anneal(ml.Method):
    calls = 0

    def propose(self, b):
        self.calls += b.last
        return grad(b) * (1 if self.calls < 2 else 0.5)


bad("sequence", "halves-later", "half the gradient from the second call on", Anneal, **BP)


class NewWeights(ml.Method):
    new_weights = True

    def propose(self, b):
        return grad(b)


bad("sequence", "new-weights", "signals through new weights, where old are wanted", NewWeights, **BP)


class OldWeights(ml.SemiImplicit):
    new_weights = False


bad(
    "sequence",
    "semi-implicit-old-weights",
    "signals through old weights, where new are wanted",
    lambda: OldWeights(eta=0.3),
    like=ml.SemiImplicit(eta=0.3),
)
good(
    "sequence", "semi-implicit-sub", lambda: type("SI", (ml.SemiImplicit,), {})(eta=0.3), like=ml.SemiImplicit(eta=0.3)
)
bad(
    "sequence",
    "semi-implicit-joint",
    "W and b in one block",
    lambda: ml.SemiImplicit(eta=0.3, joint=True),
    like=ml.SemiImplicit(eta=0.3),
)
bad(
    "sequence",
    "semi-implicit-lam",
    "λ=2 for 1",
    lambda: ml.SemiImplicit(eta=0.3, lam=2.0),
    like=ml.SemiImplicit(eta=0.3, lam=1.0),
)


class Wrapper(ml.Method):
    """ProxProp by another object inside."""

    def __init__(self):
        self.inner = ml.ProxProp(tau_theta=TAU)

    def propose(self, b):
        return self.inner.propose(b)


good("method", "wrapped", Wrapper, **PP)


class Whole(ml.Method):
    """Overrides directions, not propose."""

    scale = 1.0

    def directions(self, net, state, y):
        return [self.scale * d for d in ml.BackProp().directions(net, state, y)]


good("method", "directions-override", Whole, **BP)
bad("method", "directions-0.99", "0.99 times the gradient", type("Whole1", (Whole,), dict(scale=0.99)), **BP)


class DirectionLies(ml.Method):
    """direction overridden, directions right."""

    def propose(self, b):
        return grad(b)

    def direction(self, net, X, y, rng=None):
        loss, d = super().direction(net, X, y, rng)
        return loss, [2 * x for x in d]


bad("method", "direction-disagrees", "direction is twice directions", DirectionLies, **BP)


class LossLies(ml.Method):
    def propose(self, b):
        return grad(b)

    def direction(self, net, X, y, rng=None):
        loss, d = super().direction(net, X, y, rng)
        return loss * len(X), d


bad("method", "loss-wrong", "returned loss is a sum", LossLies, **BP)
bad("method", "bare", "nothing said: cannot be judged", lambda: lambda b: grad(b))


class BCDOrder(ml.BCD):
    def schedule(self, energy):
        return iter(list(super().schedule(energy))[::-1])


bad("sequence", "bcd-forward", "blocks in the reverse order", BCDOrder, like=ml.BCD())


class BCDSkip(ml.BCD):
    def schedule(self, energy):
        return (s for s in super().schedule(energy) if s[0] != "z" or s[1] == energy.net.depth)


bad("sequence", "bcd-skips-z", "hidden z never moves", BCDSkip, like=ml.BCD())


class BCDHalf(ml.BCD):
    def schedule(self, energy):
        for kind, l, step in super().schedule(energy):
            if kind == "theta":
                yield kind, l, (lambda step: lambda l, v: (v.theta[l] + step(l, v)) / 2)(step)  # noqa: B023
            else:
                yield kind, l, step


bad("method", "bcd-half-theta", "half the step in θ", BCDHalf, like=ml.BCD())


class ADMMSign(ml.ADMM):
    def ascend(self, energy, l, variables):
        return (
            2 * variables.u - super().ascend(energy, l, variables)
            if hasattr(variables, "u")
            else -super().ascend(energy, l, variables)
        )


bad("method", "admm-dual-sign", "multiplier descends", ADMMSign, like=ml.ADMM())


class PCSeq(ml.PredictiveCoding):
    def relaxed(self, energy, variables):
        for l in range(1, energy.net.depth):
            g = energy.latent_gradients(variables)
            variables = variables.replaced(energy.block, l, getattr(variables, energy.block)[l] - self.rate * g[l])
        return variables


bad("sequence", "pc-sequential", "values step one after the other, from new ones", PCSeq, like=ml.PredictiveCoding())


class PCSign(ml.PredictiveCoding):
    def relaxed(self, energy, variables):
        g = energy.latent_gradients(variables)
        for l in range(1, energy.net.depth):
            variables = variables.replaced(energy.block, l, getattr(variables, energy.block)[l] + self.rate * g[l])
        return variables


bad("method", "pc-sign", "values ascend", PCSign, like=ml.PredictiveCoding())


class KFACSwap(ml.KFAC):
    def dampings(self, a, s):
        return super().dampings(a, s)[::-1]


bad(
    "method",
    "kfac-split-swapped",
    "λ_A and λ_S swapped",
    lambda: KFACSwap(0.1, split="heuristic"),
    like=ml.KFAC(0.1, split="heuristic"),
)


class GNNoHess(ml.GaussNewton):
    def directions(self, net, state, y):
        return [d * 0.5 for d in super().directions(net, state, y)]


bad("method", "gn-half", "half the Gauss–Newton step", lambda: GNNoHess(0.1), like=ml.GaussNewton(0.1))
good("method", "muon-like-reference", lambda: lambda b: ortho(grad(b)), like=lambda b: ortho_ref(grad(b)))


def ortho(m):
    U, s, Vt = np.linalg.svd(m, full_matrices=False)
    return (U * (s / (s + 0.1))) @ Vt


def ortho_ref(m):
    w, V = np.linalg.eigh(m.T @ m)
    return m @ (V / (np.sqrt(np.maximum(w, 0)) + 0.1)) @ V.T


# ------------------------------------------------------------------ blocks


def sizes(rng):
    N, n, m = rng.integers(1, 9), rng.integers(1, 6), rng.integers(1, 5)
    return int(N), int(n), int(m)


def steps(rng, *names):
    return {k: float(np.exp(rng.uniform(-3, 3))) for k in names}


def relu(z):
    return np.maximum(z, 0)


def claim(kind, *args, **kw):
    return lambda: kind(*args, **kw)


# z-step of the three-split energy with ReLU
def d_z(rng):
    N, n, _m = sizes(rng)
    return dict(
        z=rng.standard_normal((N, n)),
        a=rng.standard_normal((N, n)),
        v=rng.standard_normal((N, n)),
        **steps(rng, "gamma", "rho"),
    )


def e_z(z, a, v, gamma, rho):
    return gamma / 2 * ((relu(z) - a) ** 2).sum() + rho / 2 * ((z - v) ** 2).sum()


def u_z(a, v, gamma, rho, mode=""):
    if mode == "swap":
        gamma, rho = rho, gamma
    p = relu((gamma * a + rho * v) / (gamma + rho))
    if mode == "noclip":
        p = (gamma * a + rho * v) / (gamma + rho)
    n = np.minimum(v, 0)
    cost = lambda z: gamma / 2 * (relu(z) - a) ** 2 + rho / 2 * (z - v) ** 2  # noqa: E731
    if mode == "positive":
        return p
    if mode == "sign":
        return np.where(v > 0, p, n)
    if mode == "negative":
        n = np.minimum((gamma * a + rho * v) / (gamma + rho), 0)
    if mode == "cost":
        cost = lambda z: (relu(z) - a) ** 2 + (z - v) ** 2  # noqa: E731
    return np.where(cost(p) < cost(n), p, n)


good("block", "relu-z-step", claim(ml.Argmin, e_z, u_z, "z", d_z))
for mode, cause in [
    ("swap", "γ and ρ swapped"),
    ("positive", "positive branch only"),
    ("sign", "branch by the sign of v, not by cost"),
    ("negative", "negative branch averages"),
    ("cost", "costs compared without weights"),
]:
    bad(
        "block",
        "relu-z-" + mode,
        cause,
        claim(ml.Argmin, e_z, (lambda mode: lambda a, v, gamma, rho: u_z(a, v, gamma, rho, mode))(mode), "z", d_z),  # noqa: B023
    )
good(
    "block",
    "relu-z-not-clipped",
    claim(ml.Argmin, e_z, lambda a, v, gamma, rho: u_z(a, v, gamma, rho, "noclip"), "z", d_z),
)
bad(
    "block",
    "relu-z-gradient",
    "the derivative is that of |z|",
    claim(ml.Gradient, e_z, lambda z, a, v, gamma, rho: gamma * (relu(z) - a) * np.sign(z) + rho * (z - v), "z", d_z),
)
good(
    "block",
    "relu-z-gradient",
    claim(ml.Gradient, e_z, lambda z, a, v, gamma, rho: gamma * (relu(z) - a) * (z > 0) + rho * (z - v), "z", d_z),
)


# a-step
def d_a(rng):
    N, n, m = sizes(rng)
    return dict(
        a=rng.standard_normal((N, n)),
        z=rng.standard_normal((N, n)),
        W=rng.standard_normal((n, m)),
        b=rng.standard_normal(m),
        znext=rng.standard_normal((N, m)),
        **steps(rng, "gamma", "rho"),
    )


def e_a(a, z, W, b, znext, gamma, rho):
    return gamma / 2 * ((a - np.tanh(z)) ** 2).sum() + rho / 2 * ((a @ W + b - znext) ** 2).sum()


def u_a(z, W, b, znext, gamma, rho, mode=""):
    M = rho * W @ W.T + (0 if mode == "noI" else gamma) * np.eye(len(W))
    r = gamma * (z if mode == "z" else np.tanh(z)) + rho * (znext - (0 if mode == "nob" else b)) @ W.T
    return r @ np.linalg.pinv(M)


good("block", "a-step", claim(ml.Argmin, e_a, u_a, "a", d_a))
good("block", "a-step-local", claim(ml.Argmin, e_a, u_a, "a", d_a, local=True))
for mode, cause in [("noI", "γI missing"), ("z", "z in place of σ(z)"), ("nob", "bias missing in the residual")]:
    bad(
        "block",
        "a-" + mode,
        cause,
        claim(
            ml.Argmin,
            e_a,
            (lambda mode: lambda z, W, b, znext, gamma, rho: u_a(z, W, b, znext, gamma, rho, mode))(mode),  # noqa: B023
            "a",
            d_a,
        ),
    )


# ridge in W (and b)
def d_w(rng):
    N, n, m = sizes(rng)
    return dict(
        W=rng.standard_normal((n, m)),
        b=rng.standard_normal(m),
        a=rng.standard_normal((N, n)),
        z=rng.standard_normal((N, m)),
        W0=rng.standard_normal((n, m)),
        **steps(rng, "alpha"),
    )


def e_w(W, b, a, z, W0, alpha):
    return ((a @ W + b - z) ** 2).sum() / 2 + alpha / 2 * ((W - W0) ** 2).sum()


def u_w(b, a, z, W0, alpha, mode=""):
    al = {"inv": 1 / alpha, "one": 1.0}.get(mode, alpha)
    M = a.T @ a / (len(a) if mode == "N" else 1) + al * np.eye(a.shape[1])
    return np.linalg.solve(M, a.T @ (z - b) + (0 if mode == "anchor" else al * W0))


good("block", "ridge-W", claim(ml.Argmin, e_w, u_w, "W", d_w))
for mode, cause in [
    ("inv", "1/α for α"),
    ("one", "α ignored"),
    ("N", "Gram over N"),
    ("anchor", "α W0 missing on the right"),
]:
    bad(
        "block",
        "ridge-" + mode,
        cause,
        claim(ml.Argmin, e_w, (lambda mode: lambda b, a, z, W0, alpha: u_w(b, a, z, W0, alpha, mode))(mode), "W", d_w),  # noqa: B023
    )


def pinv_only(b, a, z):
    return np.linalg.solve(a.T @ a + 1e-3 * np.eye(a.shape[1]), a.T @ (z - b))


bad(
    "block",
    "lstsq-with-ridge",
    "a ridge of 1e-3 that the energy does not have",
    claim(
        ml.Argmin,
        lambda W, b, a, z: ((a @ W + b - z) ** 2).sum() / 2,
        pinv_only,
        "W",
        lambda rng: {k: v for k, v in d_w(rng).items() if k in "Wbaz"},
    ),
)
good(
    "block",
    "lstsq-pinv",
    claim(
        ml.Argmin,
        lambda W, b, a, z: ((a @ W + b - z) ** 2).sum() / 2,
        lambda b, a, z: np.linalg.pinv(a) @ (z - b),
        "W",
        lambda rng: {k: v for k, v in d_w(rng).items() if k in "Wbaz"},
    ),
)
e_wb = lambda W, b, a, z, W0, alpha: e_w(W, b, a, z, W0, alpha)  # noqa: E731


def u_wb(a, z, W0, alpha, joint=True):
    c, zc = a - a.mean(0), z - z.mean(0)
    if not joint:
        c = a
    W = np.linalg.solve(c.T @ c + alpha * np.eye(a.shape[1]), c.T @ zc + alpha * W0)
    return W, z.mean(0) - a.mean(0) @ W


good("block", "ridge-W-and-b", claim(ml.Argmin, e_wb, u_wb, ("W", "b"), d_w))
bad(
    "block",
    "ridge-W-and-b-uncentred",
    "a is not centred",
    claim(ml.Argmin, e_wb, lambda a, z, W0, alpha: u_wb(a, z, W0, alpha, False), ("W", "b"), d_w),
)
bad(
    "block",
    "bias-sum",
    "bias is a sum, not a mean",
    claim(ml.Argmin, e_w, lambda W, a, z: (z - a @ W).sum(0), "b", d_w),
)
good("block", "bias-mean", claim(ml.Argmin, e_w, lambda W, a, z: (z - a @ W).mean(0), "b", d_w))
bad(
    "block",
    "both-then-old",
    "b with the old W, called a joint argmin",
    claim(
        ml.Argmin, e_wb, lambda W, a, z, W0, alpha, b: (u_w(b, a, z, W0, alpha), (z - a @ W).mean(0)), ("W", "b"), d_w
    ),
)


# nonsmooth
def d_v(rng):
    n = int(rng.integers(1, 9))
    return dict(z=rng.standard_normal(n), v=2 * rng.standard_normal(n), **steps(rng, "lam"))


l1 = lambda z, v, lam: lam * abs(z).sum() + ((z - v) ** 2).sum() / 2  # noqa: E731
good("block", "soft", claim(ml.Argmin, l1, lambda v, lam: np.sign(v) * relu(abs(v) - lam), "z", d_v))
bad(
    "block",
    "soft-half",
    "threshold λ/2",
    claim(ml.Argmin, l1, lambda v, lam: np.sign(v) * relu(abs(v) - lam / 2), "z", d_v),
)
bad("block", "hard-for-soft", "hard threshold", claim(ml.Argmin, l1, lambda v, lam: v * (abs(v) > lam), "z", d_v))
bad(
    "block",
    "soft-positive",
    "negative values are cut to 0",
    claim(ml.Argmin, l1, lambda v, lam: relu(v - lam), "z", d_v),
)
good(
    "block",
    "hard",
    claim(
        ml.Argmin,
        lambda z, v, lam: lam * np.count_nonzero(z) + ((z - v) ** 2).sum() / 2,
        lambda v, lam: v * (v * v > 2 * lam),
        "z",
        d_v,
    ),
)
bad(
    "block",
    "hard-threshold",
    "threshold λ instead of √(2λ)",
    claim(
        ml.Argmin,
        lambda z, v, lam: lam * np.count_nonzero(z) + ((z - v) ** 2).sum() / 2,
        lambda v, lam: v * (abs(v) > lam),
        "z",
        d_v,
    ),
)
group = lambda z, v, lam: lam * np.linalg.norm(z) + ((z - v) ** 2).sum() / 2  # noqa: E731
good("block", "group", claim(ml.Argmin, group, lambda v, lam: v * max(0, 1 - lam / np.linalg.norm(v)), "z", d_v))
bad(
    "block",
    "group-coordinates",
    "each coordinate thresholded",
    claim(ml.Argmin, group, lambda v, lam: np.sign(v) * relu(abs(v) - lam), "z", d_v),
)
bad(
    "block",
    "group-negative",
    "factor not cut at 0",
    claim(ml.Argmin, group, lambda v, lam: v * (1 - lam / np.linalg.norm(v)), "z", d_v),
)
linf = lambda z, v, lam: (np.inf if abs(z).max() > 1 + 1e-12 else 0) + ((z - v) ** 2).sum() / 2  # noqa: E731
good("block", "box", claim(ml.Argmin, linf, lambda v: np.clip(v, -1, 1), "z", d_v))
bad(
    "block",
    "box-scaled",
    "scaled into the box, not projected",
    claim(ml.Argmin, linf, lambda v: v / max(1, abs(v).max()), "z", d_v),
)
ball = lambda z, v: (np.inf if np.linalg.norm(z) > 1 + 1e-12 else 0) + ((z - v) ** 2).sum() / 2  # noqa: E731
good(
    "block",
    "ball",
    claim(
        ml.Argmin,
        ball,
        lambda v: v / max(1, np.linalg.norm(v)),
        "z",
        lambda rng: {k: x for k, x in d_v(rng).items() if k != "lam"},
    ),
)
bad(
    "block",
    "ball-inside",
    "normalised inside the ball too",
    claim(
        ml.Argmin,
        ball,
        lambda v: v / np.linalg.norm(v),
        "z",
        lambda rng: {k: x / (1 if k == "z" else 3) for k, x in d_v(rng).items() if k != "lam"},
    ),
)
bad(
    "block",
    "ball-outside",
    "infeasible: radius 1.1",
    claim(
        ml.Argmin,
        ball,
        lambda v: 1.1 * v / max(1, np.linalg.norm(v)),
        "z",
        lambda rng: {k: x for k, x in d_v(rng).items() if k != "lam"},
    ),
)


def simplex(v):
    u = np.sort(v)[::-1]
    c = (np.cumsum(u) - 1) / np.arange(1, len(v) + 1)
    return relu(v - c[np.nonzero(u > c)[0][-1]])


d_s = lambda rng: (lambda n: dict(z=rng.dirichlet(np.ones(n)), v=rng.standard_normal(n)))(int(rng.integers(2, 8)))  # noqa: E731
e_s = lambda z, v: ((z - v) ** 2).sum() / 2  # noqa: E731
good("block", "simplex", claim(ml.Argmin, e_s, lambda v: simplex(v), "z", d_s, project=simplex))
bad(
    "block",
    "simplex-divide",
    "clipped and divided by the sum",
    claim(
        ml.Argmin,
        e_s,
        lambda v: relu(v) / relu(v).sum() if relu(v).sum() > 0 else np.ones(len(v)) / len(v),
        "z",
        d_s,
        project=simplex,
    ),
)
bad(
    "block",
    "simplex-softmax",
    "softmax",
    claim(ml.Argmin, e_s, lambda v: np.exp(v) / np.exp(v).sum(), "z", d_s, project=simplex),
)
sphere = lambda v: v / np.linalg.norm(v)  # noqa: E731
good(
    "block",
    "sphere",
    claim(
        ml.Argmin,
        e_s,
        lambda v: sphere(v),
        "z",
        lambda rng: dict(z=sphere(rng.standard_normal(4)), v=rng.standard_normal(4)),
        project=sphere,
    ),
)
bad(
    "block",
    "sphere-minus",
    "the opposite point",
    claim(
        ml.Argmin,
        e_s,
        lambda v: -sphere(v),
        "z",
        lambda rng: dict(z=sphere(rng.standard_normal(4)), v=rng.standard_normal(4)),
        project=sphere,
    ),
)


def polar(m):
    U, _, Vt = np.linalg.svd(m)
    return U @ Vt


d_p = lambda rng: (  # noqa: E731
    lambda n: dict(Q=polar(rng.standard_normal((n, n))), A=rng.standard_normal((7, n)), B=rng.standard_normal((7, n)))
)(int(rng.integers(2, 5)))
e_p = lambda Q, A, B: ((A @ Q - B) ** 2).sum()  # noqa: E731
good("block", "procrustes", claim(ml.Argmin, e_p, lambda A, B: polar(A.T @ B), "Q", d_p, project=polar))
bad(
    "block",
    "procrustes-transposed",
    "the transpose",
    claim(ml.Argmin, e_p, lambda A, B: polar(B.T @ A), "Q", d_p, project=polar),
)


# matrices
def spd(rng, n):
    m = rng.standard_normal((n, 2 * n))
    return m @ m.T / n


def e_ld(X, S):
    _s, ld = np.linalg.slogdet((X + X.T) / 2)
    w = np.linalg.eigvalsh((X + X.T) / 2)
    return np.inf if w[0] <= 0 else (S * X).sum() - ld


d_ld = lambda rng: (lambda n: dict(X=spd(rng, n), S=spd(rng, n)))(int(rng.integers(1, 4)))  # noqa: E731
good("block", "log-det", claim(ml.Argmin, e_ld, lambda S: np.linalg.inv(S), "X", d_ld))
bad("block", "log-det-S", "S, not its inverse", claim(ml.Argmin, e_ld, lambda S: S, "X", d_ld))
good("block", "log-det-gradient", claim(ml.Gradient, e_ld, lambda X, S: S - np.linalg.inv(X), "X", d_ld))
bad("block", "log-det-gradient-sign", "S + X⁻¹", claim(ml.Gradient, e_ld, lambda X, S: S + np.linalg.inv(X), "X", d_ld))
e_nuc = lambda Z, V, lam: lam * np.linalg.svd(Z, compute_uv=False).sum() + ((Z - V) ** 2).sum() / 2  # noqa: E731
d_nuc = lambda rng: dict(Z=rng.standard_normal((4, 3)), V=rng.standard_normal((4, 3)), **steps(rng, "lam"))  # noqa: E731


def svt(V, lam, square=False):
    U, s, Vt = np.linalg.svd(V, full_matrices=False)
    return U * (np.sqrt(relu(s * s - lam)) if square else relu(s - lam)) @ Vt


good("block", "nuclear", claim(ml.Argmin, e_nuc, svt, "Z", d_nuc))
bad(
    "block",
    "nuclear-squared",
    "thresholds the squared singular values",
    claim(ml.Argmin, e_nuc, lambda V, lam: svt(V, lam, True), "Z", d_nuc),
)

# logistic prox
e_lg = lambda z, y, v, tau: (np.logaddexp(0, z) - y * z).sum() + ((z - v) ** 2).sum() / (2 * tau)  # noqa: E731
d_lg = lambda rng: (  # noqa: E731
    lambda n: dict(
        z=rng.standard_normal(n),
        y=rng.integers(0, 2, n).astype(float),
        v=2 * rng.standard_normal(n),
        **steps(rng, "tau"),
    )
)(int(rng.integers(1, 7)))


def lg(y, v, tau, k=60):
    z = v.copy()
    lo, hi = v - tau, v + tau
    if k > 9:
        for _ in range(200):
            z = (lo + hi) / 2
            up = sig(z) - y + (z - v) / tau > 0
            lo, hi = np.where(up, lo, z), np.where(up, z, hi)
        return z
    for _ in range(k):
        g = sig(z) - y + (z - v) / tau
        z = z - g / (sig(z) * sig(-z) + 1 / tau)
        z = np.clip(z, lo, hi)
    return z


good("block", "logistic-prox", claim(ml.Argmin, e_lg, lambda y, v, tau: lg(y, v, tau, 300), "z", d_lg))
bad(
    "block",
    "logistic-one-newton",
    "one Newton step only",
    claim(ml.Argmin, e_lg, lambda y, v, tau: lg(y, v, tau, 1), "z", d_lg),
)
bad(
    "block",
    "logistic-explicit",
    "an explicit step",
    claim(ml.Argmin, e_lg, lambda y, v, tau: v - tau * (sig(v) - y), "z", d_lg),
)

# nonnegative least squares
e_nn = lambda x, A, y: (np.inf if x.min() < -1e-12 else 0) + ((A @ x - y) ** 2).sum() / 2  # noqa: E731
d_nn = lambda rng: dict(x=abs(rng.standard_normal(4)), A=rng.standard_normal((8, 4)) + 1, y=rng.standard_normal(8))  # noqa: E731

good("block", "nnls", claim(ml.Argmin, e_nn, lambda A, y: nnls(A, y)[0], "x", d_nn))
bad(
    "block",
    "nnls-clipped",
    "clipped least squares",
    claim(ml.Argmin, e_nn, lambda A, y: relu(np.linalg.lstsq(A, y, rcond=None)[0]), "x", d_nn),
)


# ADMM
def d_ad(rng):
    N, _n, m = sizes(rng)
    return dict(
        z=rng.standard_normal((N, m)),
        y=rng.standard_normal((N, m)),
        v=rng.standard_normal((N, m)),
        u=rng.standard_normal((N, m)),
        **steps(rng, "beta"),
    )


e_ad = lambda z, y, v, u, beta: ((z - y) ** 2).sum() / 2 + (u * (z - v)).sum() + beta / 2 * ((z - v) ** 2).sum()  # noqa: E731
good("block", "admm-output", claim(ml.Argmin, e_ad, lambda y, v, u, beta: (y - u + beta * v) / (1 + beta), "z", d_ad))
bad(
    "block",
    "admm-output-sign",
    "sign of the multiplier",
    claim(ml.Argmin, e_ad, lambda y, v, u, beta: (y + u + beta * v) / (1 + beta), "z", d_ad),
)
bad(
    "block",
    "admm-output-scaled",
    "scaled multiplier βu for u",
    claim(ml.Argmin, e_ad, lambda y, v, u, beta: (y - beta * u + beta * v) / (1 + beta), "z", d_ad),
)
bad(
    "block",
    "admm-dual",
    "u − β(z−v)",
    claim(ml.Equal, lambda z, v, u, beta: u - beta * (z - v), lambda z, v, u, beta: u + beta * (z - v), d_ad),
)
bad(
    "block",
    "admm-gradient-u",
    "multiplier missing in ∂E/∂z",
    claim(ml.Gradient, e_ad, lambda z, y, v, u, beta: z - y + beta * (z - v), "z", d_ad),
)


# predictive coding
def d_pc(rng):
    N, n, m = sizes(rng)
    return dict(
        x=rng.standard_normal((N, n)),
        W1=rng.standard_normal((n, 4)),
        a=rng.standard_normal((N, 4)),
        W2=rng.standard_normal((4, m)),
        y=rng.standard_normal((N, m)),
    )


e_pc = lambda x, W1, a, W2, y: ((a - np.tanh(x @ W1)) ** 2).sum() / 2 + ((y - np.tanh(a @ W2)) ** 2).sum() / 2  # noqa: E731


def g_pc(x, W1, a, W2, y, mode=""):
    o = np.tanh(a @ W2)
    e2 = (y - o) * (1 if mode == "f" else 1 - o * o)
    return (a - np.tanh(x @ W1)) + (1 if mode == "sign" else -1) * e2 @ W2.T


good("block", "pc-gradient", claim(ml.Gradient, e_pc, g_pc, "a", d_pc))
bad(
    "block",
    "pc-gradient-f",
    "f′ missing in the error from above",
    claim(ml.Gradient, e_pc, lambda **k: g_pc(mode="f", **k), "a", d_pc),
)
bad(
    "block",
    "pc-gradient-sign",
    "sign of the error from above",
    claim(ml.Gradient, e_pc, lambda x, W1, a, W2, y: g_pc(x, W1, a, W2, y, "sign"), "a", d_pc),
)
bad(
    "block",
    "pc-weights",
    "∂F/∂W2 lacks f′",
    claim(ml.Gradient, e_pc, lambda x, W1, a, W2, y: -a.T @ (y - np.tanh(a @ W2)), "W2", d_pc),
)
bad(
    "block",
    "pc-weights-1e-3",
    "∂F/∂W2 a thousandth too long",
    claim(
        ml.Gradient,
        e_pc,
        lambda x, W1, a, W2, y: -1.001 * a.T @ ((y - np.tanh(a @ W2)) * (1 - np.tanh(a @ W2) ** 2)),
        "W2",
        d_pc,
    ),
)


def mac_gn(x, W1, a, W2, y):
    o = np.tanh(a @ W2)
    out = np.empty_like(a)
    for i in range(len(a)):
        J = (1 - o[i] ** 2)[:, None] * W2.T
        out[i] = a[i] - np.linalg.solve(J.T @ J + np.eye(4), (a[i] - np.tanh(x[i] @ W1)) - J.T @ (y[i] - o[i]))
    return out


bad(
    "block",
    "mac-one-gauss-newton",
    "one Gauss–Newton step is no argmin",
    claim(ml.Argmin, e_pc, mac_gn, "a", d_pc, local=True),
)


# LPOM / matching
def d_lp(rng):
    N, n, m = sizes(rng)
    return dict(
        a=rng.uniform(0.1, 0.9, (N, n)),
        z=rng.standard_normal((N, n)),
        W=rng.standard_normal((n, m)),
        anext=rng.uniform(0.1, 0.9, (N, m)),
    )


def e_lp(a, z, W, anext):
    if (a <= 0).any() or (a >= 1).any():
        return np.inf
    ent = (a * np.log(a) + (1 - a) * np.log1p(-a)).sum()
    return ent - (a * z).sum() + np.logaddexp(0, a @ W).sum() - (anext * (a @ W)).sum()


good(
    "block",
    "lpom-gradient",
    claim(ml.Gradient, e_lp, lambda a, z, W, anext: np.log(a / (1 - a)) - z + (sig(a @ W) - anext) @ W.T, "a", d_lp),
)
bad(
    "block",
    "lpom-gradient-sigma",
    "f(z) in place of z",
    claim(
        ml.Gradient, e_lp, lambda a, z, W, anext: np.log(a / (1 - a)) - sig(z) + (sig(a @ W) - anext) @ W.T, "a", d_lp
    ),
)
bad(
    "block",
    "lpom-gradient-linear",
    "σ missing in the layer above",
    claim(ml.Gradient, e_lp, lambda a, z, W, anext: np.log(a / (1 - a)) - z + (a @ W - anext) @ W.T, "a", d_lp),
)
bad(
    "block",
    "lpom-one-step",
    "one fixed-point step is no argmin",
    claim(ml.Argmin, e_lp, lambda a, z, W, anext: sig(z - (sig(a @ W) - anext) @ W.T), "a", d_lp),
)
good(
    "block",
    "lpom-top",
    claim(
        ml.Argmin,
        lambda a, z: (
            np.inf
            if (a < 0).any() or (a > 1).any()
            else (
                np.where(a > 0, a * np.log(np.where(a > 0, a, 1)), 0)
                + np.where(a < 1, (1 - a) * np.log(np.where(a < 1, 1 - a, 1)), 0)
            ).sum()
            - (a * z).sum()
        ),
        lambda z: sig(z),
        "a",
        lambda rng: {k: v for k, v in d_lp(rng).items() if k in "az"},
    ),
)
fen = lambda a, z: (np.inf if (a < 0).any() else 0) + (a * a).sum() / 2 - (a * z).sum()  # noqa: E731
good(
    "block",
    "fenchel-top",
    claim(ml.Argmin, fen, lambda z: relu(z), "a", lambda rng: {k: v for k, v in d_lp(rng).items() if k in "az"}),
)
bad(
    "block",
    "fenchel-top-2",
    "2 relu(z)",
    claim(ml.Argmin, fen, lambda z: 2 * relu(z), "a", lambda rng: {k: v for k, v in d_lp(rng).items() if k in "az"}),
)


# Gauss–Newton and other formulas
def d_gn(rng):
    N, n, m = sizes(rng)
    return dict(
        a=rng.standard_normal((N, n)),
        W=rng.standard_normal((n, m + 1)),
        v=rng.standard_normal((n, m + 1)),
        lam=float(np.exp(rng.uniform(-3, 3))),
    )


def dense_gn(a, W, v, lam):
    out = lam * v.copy()
    for x in a:
        p = np.exp(x @ W)
        p /= p.sum()
        H = np.diag(p) - np.outer(p, p)
        out += np.outer(x, H @ (v.T @ x))
    return out


def gn(a, W, v, lam, mode=""):
    p = np.exp(a @ W)
    p /= p.sum(1, keepdims=True)
    r = a @ v
    h = {"": p * (r - (p * r).sum(1, keepdims=True)), "noH": r, "diag": p * r, "fisher": p * r * (1 - p)}[mode]
    return a.T @ h + (0 if mode == "nolam" else lam) * v


good("block", "gn-product", claim(ml.Equal, gn, dense_gn, d_gn))
for mode, cause in [
    ("noH", "Hessian of the loss missing"),
    ("diag", "H is diag p only"),
    ("fisher", "H is diag p(1−p) only"),
]:
    bad(
        "block",
        "gn-" + mode,
        cause,
        claim(ml.Equal, (lambda mode: lambda a, W, v, lam: gn(a, W, v, lam, mode))(mode), dense_gn, d_gn),  # noqa: B023
    )
bad(
    "block",
    "gn-damping",
    "damping over N",
    claim(ml.Equal, lambda a, W, v, lam: gn(a, W, v, lam / len(a)), dense_gn, d_gn),
)
bad(
    "block",
    "conv-flip",
    "convolution instead of correlation",
    claim(
        ml.Equal,
        lambda x, w: np.convolve(x, w, "valid"),
        lambda x, w: np.array([x[i : i + 3] @ w for i in range(len(x) - 2)]),
        lambda rng: dict(x=rng.standard_normal(7), w=rng.standard_normal(3)),
    ),
)
good(
    "block",
    "conv-fft",
    claim(
        ml.Equal,
        lambda x, w: np.fft.irfft(np.fft.rfft(x) * np.conj(np.fft.rfft(w, len(x))), len(x))[: len(x) - 2],
        lambda x, w: np.array([x[i : i + 3] @ w for i in range(len(x) - 2)]),
        lambda rng: dict(x=rng.standard_normal(int(rng.integers(4, 20))), w=rng.standard_normal(3)),
    ),
)
bad(
    "block",
    "attention-scale",
    "scores over d, not √d",
    claim(
        ml.Equal,
        lambda q, k: q @ k.T / q.shape[1],
        lambda q, k: q @ k.T / math.sqrt(q.shape[1]),
        lambda rng: dict(q=rng.standard_normal((3, 5)), k=rng.standard_normal((4, 5))),
    ),
)


def adam(g, m, v, t, corrected=True):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t) if corrected else v) + 1e-8)


bad(
    "block",
    "adam-correction",
    "second moment not corrected",
    claim(
        ml.Equal,
        lambda g, m, v, t: adam(g, m, v, t, False),
        lambda g, m, v, t: adam(g, m, v, t),
        lambda rng: dict(
            g=rng.standard_normal(4), m=rng.standard_normal(4), v=rng.random(4), t=int(rng.integers(1, 9))
        ),
    ),
)
good(
    "block",
    "sparse-gram",
    claim(
        ml.Equal,
        lambda a: (sp.csr_matrix(a).T @ sp.csr_matrix(a)).toarray(),
        lambda a: a.T @ a,
        lambda rng: dict(a=rng.standard_normal((5, 3)) * (rng.random((5, 3)) > 0.5)),
    ),
)
good(
    "block",
    "woodbury",
    claim(
        ml.Equal,
        lambda a, lam: a.T @ np.linalg.inv(a @ a.T + lam * np.eye(len(a))),
        lambda a, lam: np.linalg.solve(a.T @ a + lam * np.eye(a.shape[1]), a.T),
        lambda rng: dict(a=rng.standard_normal((int(rng.integers(1, 8)), 4)), **steps(rng, "lam")),
    ),
)
bad(
    "block",
    "woodbury-inverse",
    "λ⁻¹ in the sample space form",
    claim(
        ml.Equal,
        lambda a, lam: a.T @ np.linalg.inv(a @ a.T + np.eye(len(a)) / lam),
        lambda a, lam: np.linalg.solve(a.T @ a + lam * np.eye(a.shape[1]), a.T),
        lambda rng: dict(a=rng.standard_normal((int(rng.integers(1, 8)), 4)), **steps(rng, "lam")),
    ),
)
bad(
    "block",
    "softmax-jacobian",
    "off-diagonal sign",
    claim(
        ml.Gradient,
        lambda z, w: (w * np.exp(z)).sum() / np.exp(z).sum(),
        lambda z, w: (lambda p: p * (w + (p * w).sum()))(np.exp(z) / np.exp(z).sum()),
        "z",
        lambda rng: dict(z=rng.standard_normal(5), w=rng.standard_normal(5)),
    ),
)

# vacuous
bad(
    "block",
    "vacuous-energy",
    "energy ignores the block",
    claim(
        ml.Argmin,
        lambda z, v: (v**2).sum(),
        lambda v: v,
        "z",
        lambda rng: dict(z=rng.standard_normal(3), v=rng.standard_normal(3)),
    ),
)
bad(
    "block",
    "vacuous-constant-gradient",
    "energy ignores the block, gradient 0",
    claim(
        ml.Gradient,
        lambda z, v: (v**2).sum(),
        lambda z, v: 0 * z,
        "z",
        lambda rng: dict(z=rng.standard_normal(3), v=rng.standard_normal(3)),
    ),
)
bad(
    "block",
    "vacuous-equal",
    "both are empty",
    claim(ml.Equal, lambda z: z[:0], lambda z: z[:0], lambda rng: dict(z=rng.standard_normal(3))),
)
bad(
    "block",
    "vacuous-same",
    "a formula held against zeros of zero input",
    claim(ml.Equal, lambda z: 2 * z, lambda z: 3 * z, lambda rng: dict(z=np.zeros(3))),
)
bad(
    "block",
    "vacuous-sweep",
    "sweep moves nothing",
    claim(
        ml.Decreases,
        lambda z, v: ((z - v) ** 2).sum(),
        lambda z, v: {"z": z},
        lambda rng: dict(z=rng.standard_normal(3), v=rng.standard_normal(3)),
    ),
)
bad(
    "block",
    "broadcast",
    "update of shape (1, n) for (N, n)",
    claim(
        ml.Argmin,
        lambda z, v: ((z - v) ** 2).sum(),
        lambda v: v.mean(0, keepdims=True),
        "z",
        lambda rng: dict(z=rng.standard_normal((4, 3)), v=rng.standard_normal((4, 3))),
    ),
)
bad(
    "block",
    "in-place-argument",
    "update changes v in place",
    claim(ml.Argmin, l1, lambda v, lam: np.multiply(np.sign(v), relu(abs(v) - lam), out=v), "z", d_v),
)


class StatefulUpdate:
    old = None

    def __call__(self, v, lam):
        out = np.sign(v) * relu(abs(v) - (self.old or lam))
        self.old = lam
        return out


bad("sequence", "argmin-remembers-lam", "uses the last call's λ", lambda: ml.Argmin(l1, StatefulUpdate(), "z", d_v))


class MemoFormula:
    def __init__(self):
        self.memo = {}

    def __call__(self, a):
        return self.memo.setdefault(a.shape, a @ a.T)


bad(
    "sequence",
    "equal-memo",
    "cached by shape",
    lambda: ml.Equal(MemoFormula(), lambda a: a @ a.T, lambda rng: dict(a=rng.standard_normal((4, 3)))),
)

# sweeps
q = lambda z, v, H: (lambda r: r @ H @ r / 2)(z - v)  # noqa: E731
d_q = lambda rng: (lambda n: dict(z=rng.standard_normal(n), v=rng.standard_normal(n), H=spd(rng, n) + 0.1 * np.eye(n)))(  # noqa: E731
    int(rng.integers(2, 6))
)


def gd(z, v, H, c=1.0):
    return {"z": z - c / np.linalg.norm(H, 2) * H @ (z - v)}


good("sequence", "gradient-descent", claim(ml.Decreases, q, gd, d_q))
bad("sequence", "step-too-long", "step 2.5/L", claim(ml.Decreases, q, lambda z, v, H: gd(z, v, H, 2.5), d_q))
bad("sequence", "ascends", "ascends", claim(ml.Decreases, q, lambda z, v, H: gd(z, v, H, -0.1), d_q))


def gauss_seidel(z, v, H, jacobi=False, over=1.0):
    z = z.copy()
    old = z.copy()
    for i in range(len(z)):
        r = (old if jacobi else z) - v
        z[i] -= over * (H[i] @ r) / H[i, i]
    return {"z": z}


good("sequence", "gauss-seidel", claim(ml.Decreases, q, gauss_seidel, d_q))
good("sequence", "sor", claim(ml.Decreases, q, lambda z, v, H: gauss_seidel(z, v, H, over=1.7), d_q))
bad(
    "sequence",
    "jacobi",
    "all coordinates from old values",
    claim(
        ml.Decreases,
        q,
        lambda z, v, H: gauss_seidel(z, v, H, True),
        lambda rng: (lambda d: {**d, "H": d["H"] + 3 * np.ones_like(d["H"])})(d_q(rng)),
    ),
)
bad(
    "sequence",
    "rests-off",
    "rests where the energy is not stationary: last coordinate never moves",
    claim(ml.Decreases, q, lambda z, v, H: {"z": np.concatenate([gauss_seidel(z, v, H)["z"][:-1], z[-1:]])}, d_q),
)


def two(z, W, a, y, alpha, mode=""):
    """Alternating: W by ridge, then z."""
    W1 = np.linalg.solve(a.T @ a + alpha * np.eye(a.shape[1]), a.T @ z)
    z1 = (a @ (W if mode == "old" else W1) + y) / 2
    return {"W": W1, "z": z1} if mode != "forget" else {"z": z1}


d_two = lambda rng: (  # noqa: E731
    lambda N, n, m: dict(
        z=rng.standard_normal((N, m)),
        W=rng.standard_normal((n, m)),
        a=rng.standard_normal((N, n)),
        y=rng.standard_normal((N, m)),
        **steps(rng, "alpha"),
    )
)(*sizes(rng))
e_two = lambda z, W, a, y, alpha: ((a @ W - z) ** 2).sum() / 2 + ((z - y) ** 2).sum() / 2 + alpha / 2 * (W**2).sum()  # noqa: E731
good("sequence", "alternating", claim(ml.Decreases, e_two, two, d_two))
good(
    "sequence",
    "two-convex-blocks-at-once",
    claim(ml.Decreases, e_two, lambda z, W, a, y, alpha: two(z, W, a, y, alpha, "old"), d_two),
)
bad(
    "sequence",
    "alternating-forgets-W",
    "new W is not returned",
    claim(ml.Decreases, e_two, lambda z, W, a, y, alpha: two(z, W, a, y, alpha, "forget"), d_two),
)
good(
    "sequence",
    "admm-rest-only",
    claim(
        ml.Decreases,
        lambda z, v: ((z - v) ** 2).sum() / 2,
        lambda z, v: {"z": z + 1.9 * (v - z)},
        lambda rng: dict(z=rng.standard_normal(3), v=rng.standard_normal(3)),
        descends=False,
    ),
)
good(
    "sequence",
    "prox-gradient-lasso",
    claim(
        ml.Decreases,
        lambda x, A, y: ((A @ x - y) ** 2).sum() / 2 + 0.3 * abs(x).sum(),
        lambda x, A, y: (lambda t: (lambda v: {"x": np.sign(v) * relu(abs(v) - 0.3 * t)})(x - t * A.T @ (A @ x - y)))(
            1 / np.linalg.norm(A, 2) ** 2
        ),
        lambda rng: dict(x=rng.standard_normal(4), A=rng.standard_normal((6, 4)), y=rng.standard_normal(6)),
    ),
)
# default draws
good(
    "block",
    "default-draw-ridge",
    lambda: ml.Argmin(
        lambda W, a, z, tau: ((a @ W - z) ** 2).sum() / 2 + (W**2).sum() / (2 * tau),
        lambda a, z, tau: np.linalg.solve(a.T @ a + np.eye(a.shape[1]) / tau, a.T @ z),
        "W",
    ),
)
bad(
    "block",
    "default-draw-ridge-tau",
    "τ for 1/τ, default draw",
    lambda: ml.Argmin(
        lambda W, a, z, tau: ((a @ W - z) ** 2).sum() / 2 + (W**2).sum() / (2 * tau),
        lambda a, z, tau: np.linalg.solve(a.T @ a + np.eye(a.shape[1]) * tau, a.T @ z),
        "W",
    ),
)
bad(
    "block",
    "default-draw-theta-bias",
    "bias row damped although the energy does not",
    lambda: ml.Argmin(
        lambda W, b, a, z, tau: ((a @ W + b - z) ** 2).sum() / 2 + (W**2).sum() / (2 * tau),
        lambda a, z, tau: (
            lambda A: (lambda t: (t[:-1], t[-1]))(np.linalg.solve(A.T @ A + np.eye(A.shape[1]) / tau, A.T @ z))
        )(np.concatenate([a, np.ones((len(a), 1))], 1)),
        ("W", "b"),
    ),
)


def judged(item, seed):
    """Return whether an item passes, and the reasons of what fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = ml.verify(item.make(), seed=seed, **item.options)
    return report.passed, [check.reason for check in report.failures] + [report.unverified] * bool(report.unverified)


def main():
    """Print a line for each item and seed, and the counts of each group."""
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
        print(f"{group:9} {verdict:7} {count}")


if __name__ == "__main__":
    main()
