r"""Transfers on images: pooling over windows, and flattening to the vectors that a `Linear` map takes.

They are not elementwise, so no local problem contains them: LocoProp-M and SIBP use the activation that
directly follows the map, and the signals behind their targets pass through these layers by the adjoints.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from minilift.layers.activations import Transfer
from minilift.support.arguments import whole_number
from minilift.support.backend import array_module


class Pool2d(Transfer):
    """Base class of pooling: windows of size × size pixels, `stride` apart; pixels left over at the end are not used.

    Parameters
    ----------
    size : int
        Rows and columns of a window.
    stride : int, optional
        Pixels from one window to the next, down and across; by default `size`: windows side by side.
    """

    shown_bare = ("size",)

    def __init__(self, size: int, stride: int | None = None) -> None:
        name = type(self).__name__
        self.size = whole_number(f"{name}: size", size)
        self.stride = self.size if stride is None else whole_number(f"{name}: stride", stride)

    def settings(self):
        """Return the constructor's arguments by name; a stride that is the size is the default one."""
        return super().settings() | {"stride": None if self.stride == self.size else self.stride}

    def output_shape(self, input_shape):
        """Shape (H', W', C) of one output sample for one input image of shape (H, W, C)."""
        shape = tuple(input_shape)
        if len(shape) != 3 or min(shape[:2]) < self.size:
            raise ValueError(f"{self!r} expects images of shape (H, W, C) with at least {self.size}×{self.size} "
                             f"pixels, got {shape}")
        height, width = ((n - self.size) // self.stride + 1 for n in shape[:2])
        return (height, width, shape[2])

    def views(self, z):
        """Return, for each place in a window, row by row, the view of z that holds this place of all windows."""
        height, width, _ = self.output_shape(z.shape[1:])
        s = self.stride
        return [z[:, i:i + (height - 1) * s + 1:s, j:j + (width - 1) * s + 1:s]
                for i in range(self.size) for j in range(self.size)]

    def gather(self, z, shares):
        """Return an image like z: at each place of all windows, in turn, the next of `shares` is added."""
        result = array_module(z).zeros(z.shape, z.dtype)
        for view, share in zip(self.views(result), shares):
            if self.stride < self.size:
                view += share
            else:  # no pixel is in two windows
                view[...] = share
        return result


class MaxPool2d(Pool2d):
    """The largest entry of each window and channel; in a tie the first, row by row, takes the whole signal.

    Pixels left over at the end are not used.

    Parameters
    ----------
    size : int
        Rows and columns of a window.
    stride : int, optional
        Pixels from one window to the next, down and across; by default `size`: windows side by side.

    Examples
    --------
    >>> image = np.array([[1.0, 5.0], [3.0, 3.0]]).reshape(1, 2, 2, 1)
    >>> ml.MaxPool2d(2).forward(image).item()
    5.0
    """

    def apply(self, z, training=False, rng=None):
        """Return the maxima and, as aux, the place of each in its window."""
        first, *others = self.views(z)
        xp = array_module(z)
        a, place = first.copy(), xp.zeros(first.shape, np.min_scalar_type(self.size**2))
        for k, view in enumerate(others, start=1):
            view = view.copy()  # it is read twice
            xp.maximum(place, (view > a) * place.dtype.type(k), out=place)  # places are counted upwards
            xp.maximum(a, view, out=a)
        return a, place

    def adjoint(self, z, a, aux, g):
        """Return the signal g at the places of the maxima, zeros elsewhere."""
        return self.gather(z, (g * (aux == k) for k in range(self.size**2)))


class AvgPool2d(Pool2d):
    """The mean of each window and channel; pixels left over at the end are not used.

    Parameters
    ----------
    size : int
        Rows and columns of a window.
    stride : int, optional
        Pixels from one window to the next, down and across; by default `size`: windows side by side.

    Examples
    --------
    >>> image = np.array([[1.0, 5.0], [3.0, 3.0]]).reshape(1, 2, 2, 1)
    >>> ml.AvgPool2d(2).forward(image).item()
    3.0
    """

    def apply(self, z, training=False, rng=None):
        """Return the means; no aux."""
        return sum(self.views(z)) / self.size**2, None

    def adjoint(self, z, a, aux, g):
        """Return the signal g spread evenly over the windows."""
        return self.gather(z, itertools.repeat(g / self.size**2))


class Flatten(Transfer):
    """Images (N, H, W, C) as vectors (N, H·W·C), in the order (row, column, channel).

    Examples
    --------
    >>> ml.Flatten().forward(np.zeros((5, 8, 8, 3))).shape
    (5, 192)
    """

    def output_shape(self, input_shape):
        """Shape of one output sample for one input sample."""
        return (math.prod(input_shape),)

    def apply(self, z, training=False, rng=None):
        """Return the vectors; no aux."""
        return z.reshape(len(z), math.prod(z.shape[1:])), None

    def adjoint(self, z, a, aux, g):
        """Return g in the shape of z."""
        return g.reshape(z.shape)
