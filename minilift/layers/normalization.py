r"""Transfers that distinguish training from evaluation: batch normalisation and dropout.

What a training pass draws or measures (a mask, the batch's mean and variance) is returned as `aux`. The running
statistics change only when `Network.commit` takes those of a state; `fit` calls it after each training pass.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np

from minilift.layers.activations import Transfer
from minilift.support.arguments import fits_in_memory, positive_number, whole_number
from minilift.support.backend import array_module


class BatchStatistics(NamedTuple):
    """The aux of `BatchNorm`: normalised input, 1/σ of each channel, the scale used, and the batch's own statistics.

    `batch` is (2, channels), mean and unbiased variance, or None in evaluation.
    """

    normal: object
    inverse_deviation: object
    scale: object
    batch: object


class BatchNorm(Transfer):
    r"""Batch normalisation :math:`a = s \odot (z - m)/\sqrt{v + \varepsilon} + t` of each channel, the last axis.

    In training, m and v are the mean and (biased) variance over the batch and, for images, over pixels; in evaluation,
    running averages of the mean and the unbiased variance, v ← (1 − momentum) v + momentum · v_batch. Scale s and
    shift t are parameters. No method treats them implicitly: LocoProp and SIBP take the explicit step that their
    small steps in θ tend to; the others use the gradient.

    Parameters
    ----------
    channels : int
    momentum : float, default 0.1
        Weight of a batch in the running averages.
    eps : float, default 1e-5
        ε.

    Attributes
    ----------
    scale_shift : array (2, channels)
        s and t. A network has its own copy, on its backend, listed in `Network.parameters`.
    running : array (2, channels)
        Running mean and variance.

    Examples
    --------
    >>> norm, z = ml.BatchNorm(1), np.array([[1.0], [3.0]])
    >>> norm.apply(z, training=True)[0].round(3).tolist(), norm.apply(z)[0].round(3).tolist()
    ([[-1.0], [1.0]], [[1.0], [3.0]])
    """

    shown_bare = ("channels",)

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        self.channels = whole_number("BatchNorm: channels", channels)
        fits_in_memory("BatchNorm: channels", 32 * self.channels)
        self.momentum = positive_number("BatchNorm: momentum", momentum)
        if self.momentum > 1:
            raise ValueError(f"BatchNorm: momentum must be at most 1, got {momentum}")
        self.eps = positive_number("BatchNorm: eps", eps)
        self.scale_shift = np.stack([np.ones(self.channels), np.zeros(self.channels)])
        self.running = np.stack([np.zeros(self.channels), np.ones(self.channels)])

    @property
    def parameters(self):
        """Scale and shift, one array."""
        return [self.scale_shift]

    def on_backend(self, xp, dtype):
        """Return a copy with its own arrays, on a backend and in a dtype."""
        owned = copy.copy(self)
        owned.scale_shift = xp.array(self.scale_shift, dtype=dtype)
        owned.running = xp.array(self.running, dtype=dtype)
        return owned

    def output_shape(self, input_shape):
        """Shape of one output sample for one input sample."""
        if tuple(input_shape)[-1] != self.channels:
            raise ValueError(f"{self!r} expects samples of shape (…, {self.channels}), got {tuple(input_shape)}")
        return tuple(input_shape)

    def apply(self, z, training=False, rng=None):
        """Return the normalised values and `BatchStatistics`.

        Raises
        ------
        ValueError
            In training, if the batch has only one value in each channel: its variance is meaningless.
        """
        xp = array_module(z)
        mean, variance, batch = self.running[0], self.running[1], None
        if training:
            mean, variance, values = self.statistics(z)
            if values < 2:
                raise ValueError(f"{self!r}: training needs more than one value in each channel, "
                                 f"got z of shape {z.shape}")
            batch = xp.stack([mean, variance * (values / (values - 1))])
        inverse_deviation = 1 / xp.sqrt(variance + z.dtype.type(self.eps))
        normal = (z - mean) * inverse_deviation
        scale, shift = self.scale_shift
        return scale * normal + shift, BatchStatistics(normal, inverse_deviation, scale.copy(), batch)

    def statistics(self, z):
        """Return mean and biased variance of each channel, over batch and pixels, and the number of values in each."""
        mean = self.mean(z)
        return mean, self.mean((z - mean) ** 2), z.size // self.channels

    def mean(self, x):
        """Return the mean of each channel over batch and pixels; a long sum in float32 would err in one direction."""
        return x.mean(axis=tuple(range(x.ndim - 1)), dtype=np.float64).astype(x.dtype, copy=False)

    def adjoint(self, z, a, aux, g):
        """Return the derivative at z, transposed, applied to g; in training, mean and variance depend on z too."""
        g = g * aux.scale
        if aux.batch is not None:
            g = g - self.mean(g) - aux.normal * self.mean(g * aux.normal)
        return g * aux.inverse_deviation

    def gradients(self, aux, g):
        """Return the gradient in `scale_shift`, from the signal g at the output."""
        axes = tuple(range(g.ndim - 1))
        return [array_module(g).stack([(g * aux.normal).sum(axis=axes), g.sum(axis=axes)])]

    def commit(self, aux):
        """Update the running statistics with those of a training pass, in a new array."""
        if aux.batch is not None:
            self.running = self.running + self.momentum * (aux.batch - self.running)


class Dropout(Transfer):
    r"""In training, each entry is set to 0 with probability `rate`, else divided by 1 − rate; in evaluation, unchanged.

    Parameters
    ----------
    rate : float, default 0.5
        Between 0 and 1 (excluded).

    Examples
    --------
    >>> dropout, z = ml.Dropout(0.5), np.ones((1, 1000))
    >>> kept = dropout.apply(z, training=True, rng=np.random.default_rng(0))[0]
    >>> np.unique(kept).tolist(), int((kept > 0).sum()), dropout.forward(z).sum().item()
    ([0.0, 2.0], 537, 1000.0)
    """

    shown_bare = shown_always = ("rate",)

    def __init__(self, rate: float = 0.5) -> None:
        self.rate = positive_number("Dropout: rate", rate)
        if self.rate >= 1:
            raise ValueError(f"Dropout: rate must be below 1, got {rate}")

    def apply(self, z, training=False, rng=None):
        """Return the values and the mask with its factor, None in evaluation.

        Raises
        ------
        ValueError
            In training without a random generator.
        """
        if not training:
            return z, None
        if rng is None:
            raise ValueError(f"{self!r}: forward(training=True) needs rng, a NumPy random generator")
        kept = rng.random(z.shape, dtype=np.float32) >= self.rate
        mask = array_module(z).asarray(kept, dtype=z.dtype) / z.dtype.type(1 - self.rate)
        return z * mask, mask

    def adjoint(self, z, a, aux, g):
        """Return g times the mask."""
        return g if aux is None else g * aux
