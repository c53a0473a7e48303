"""Transfers, and a loss, that several tests share and the package does not have."""

import copy

import numpy as np

import minilift as ml


class Swish(ml.Activation):
    """z sigmoid(z), which falls as far as z = −1.28."""

    def forward(self, z):
        return z / (1 + np.exp(-z))

    def derivative(self, z):
        s = 1 / (1 + np.exp(-z))
        return s + z * s * (1 - s)


class PReLU(ml.Activation):
    """A leaky ReLU whose slope is trained."""

    def __init__(self):
        self.scale_shift = np.full((1, 1), 0.1)

    @property
    def parameters(self):
        return [self.scale_shift]

    def on_backend(self, xp, dtype):
        own = copy.copy(self)
        own.scale_shift = xp.array(self.scale_shift, dtype=dtype)
        return own

    def forward(self, z):
        return np.where(z > 0, z, self.scale_shift[0, 0] * z)

    def derivative(self, z):
        return np.where(z > 0, 1, self.scale_shift[0, 0]).astype(z.dtype)

    def apply(self, z, training=False, rng=None):
        return self.forward(z), z

    def gradients(self, aux, g):
        return [np.array([[(g * np.minimum(aux, 0)).sum()]], g.dtype)]


class ScaleShift(ml.Transfer):
    """A trained scale and shift, and nothing that evaluation would keep of training."""

    def __init__(self, channels):
        self.channels = channels
        self.scale_shift = np.stack([np.ones(channels), np.zeros(channels)])

    @property
    def parameters(self):
        return [self.scale_shift]

    def on_backend(self, xp, dtype):
        owned = type(self)(self.channels)
        owned.scale_shift = xp.array(self.scale_shift, dtype=dtype)
        return owned

    def apply(self, z, training=False, rng=None):
        scale, shift = self.scale_shift
        return scale * z + shift, (z, scale.copy())

    def adjoint(self, z, a, aux, g):
        return g * aux[1]

    def gradients(self, aux, g):
        return [np.stack([(g * aux[0]).sum(axis=0), g.sum(axis=0)])]


class Huber(ml.Loss):
    """|r| − ½ where |r| > 1, r²/2 elsewhere, for r = z − y: its gradient is no f(z) − y."""

    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r < 1, r * r / 2, r - 0.5).sum(axis=-1)

    def gradient(self, z, y):
        return np.clip(z - y, -1, 1) * self.weight(len(z))
