r"""Linear transfer functions :math:`z = \varphi(\theta, a) = \tilde a\,\theta` with :math:`\tilde a = [a\;1]`.

A map has four operations, all linear: forward, the adjoint in the activation a, the adjoint in the parameters θ,
and its Gram operator, which every proximal step in θ uses (spec: ProxProp (11), (13), (14)).
θ is one array of shape (n_in + 1, n_out) with the bias in its last row; the column of ones is never formed.
"""

from __future__ import annotations

import math

import numpy as np

from minilift.layers.base import Layer
from minilift.layers.gram import Gram
from minilift.support.arguments import fits_in_memory, known_name, positive_number, whole_number
from minilift.support.backend import array_module

INITIALIZATIONS = ("uniform", "glorot", "he", "normal")


class Map(Layer):
    r"""Base class of the maps, linear in the activation a and in θ, which act on each sample separately.

    A subclass defines `n_in`, `theta_shape` (the rows of W and one for the bias, n_out), ``initial_theta(rng)``,
    ``forward(theta, a)``, ``adjoint_input(theta, g)``, ``adjoint_theta(a, g)``, ``rows(a)``, and `output_shape` if one
    sample of the output is not of shape (n_out,), with `columns` if its last axis is not n_out. `adjoint_input` must
    return a new array, since the sweep adds other signals into it. For float32 arrays, the default of networks, all
    return float32.

    Attributes
    ----------
    takes_images : bool
        Whether the network must be told the size of its input images.
    takes_vectors : bool
        Whether it refuses samples of more than one axis.

    Examples
    --------
    >>> phi, a, g = ml.Linear(2, 1), np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0], [10.0]])
    >>> phi.adjoint_theta(a, g).tolist(), phi.gram(a, side="parameter").matrix.tolist()
    ([[31.0], [42.0], [11.0]], [[10.0, 14.0, 4.0], [14.0, 20.0, 6.0], [4.0, 6.0, 2.0]])
    """

    kind = "map"
    takes_images = takes_vectors = False

    def adjoint_inputs(self, theta, g, values):
        """Return the signals at the inputs; a map has one input, a join several."""
        return [self.adjoint_input(theta, g)]

    def output_shape(self, input_shape):
        """Shape of one output sample for one input sample, which must be of shape (n_in,) if it has one axis."""
        if (self.takes_vectors or len(input_shape) == 1) and tuple(input_shape) != (self.n_in,):
            raise ValueError(f"{self!r} expects samples of shape ({self.n_in},), got {tuple(input_shape)}")
        return (self.theta_shape[1],)

    def rows(self, a):
        """Return the matrix (rows, n_in) that multiplies W: activations, or patches of images."""
        raise NotImplementedError(f"{type(self).__name__} must define rows(a)")

    def columns(self, z):
        """Return z as a matrix (rows, n_out) whose columns are output units: those along its last axis."""
        return z if z.ndim == 2 else z.reshape(-1, z.shape[-1])

    def height(self, z):
        """Return the number of rows of the problem in θ, given z, including the rows that other ranks hold."""
        return len(self.columns(z))

    def gram(self, a, side=None, bias=True):
        """Return the `Gram` operator of this map at the input a."""
        return Gram(self.rows(a), side=side, bias=bias)

    def signal_gram(self, g, side=None):
        """Return the Gram operator of the signals g, a matrix (rows, n_out) such as `columns` returns."""
        return Gram(g, side=side, bias=False)


class Linear(Map):
    r"""Fully connected map :math:`\varphi(\theta, a) = a W + 1 b^T`, with :math:`\theta = [W; b^T]`.

    Parameters
    ----------
    n_in, n_out : int
        Number of input and output units.
    init : {"uniform", "glorot", "he", "normal"} or float, default "uniform"
        "uniform" draws W and b from U(±1/√n_in), as the papers do; "glorot" W from U(±√(6/(n_in + n_out))) and
        "he" W from N(0, 2/n_in), both with b = 0; a float s (or "normal", s = 0.05) draws W and b from N(0, s²).

    Examples
    --------
    >>> phi, theta = ml.Linear(2, 1), np.array([[1.0], [2.0], [0.5]])  # the bias is the last row
    >>> a, g = np.array([[3.0, 4.0]]), np.array([[10.0]])
    >>> phi.forward(theta, a).tolist(), phi.adjoint_input(theta, g).tolist(), phi.adjoint_theta(a, g).tolist()
    ([[11.5]], [[10.0, 20.0]], [[30.0], [40.0], [10.0]])
    """

    takes_vectors = True
    shown_bare = ("n_in", "n_out")

    def __init__(self, n_in: int, n_out: int, init: str | float = "uniform") -> None:
        self.n_in = whole_number("Linear: n_in", n_in)
        self.n_out = whole_number("Linear: n_out", n_out)
        self.init = checked_initialization("Linear: init", init)
        fits_in_memory("Linear: n_in × n_out parameters", 8 * math.prod(self.theta_shape))

    @property
    def theta_shape(self):
        """Shape of θ, (n_in + 1, n_out)."""
        return (self.n_in + 1, self.n_out)

    def initial_theta(self, rng):
        """Draw θ with NumPy's generator `rng`, as float64 of shape (n_in + 1, n_out)."""
        return draw_theta(rng, self.init, self.n_in, self.n_out, fan_in=self.n_in, fan_out=self.n_out)

    def forward(self, theta: np.ndarray, a: np.ndarray) -> np.ndarray:
        r"""Return :math:`z = \varphi(\theta, a)`, shape (N, n_out), for a of shape (N, n_in)."""
        z = a @ theta[:-1]
        z += theta[-1]
        return z

    def adjoint_input(self, theta: np.ndarray, g: np.ndarray) -> np.ndarray:
        r"""Return :math:`g W^T`, shape (N, n_in): the adjoint of forward in a."""
        return g @ theta[:-1].T

    def adjoint_theta(self, a: np.ndarray, g: np.ndarray) -> np.ndarray:
        r"""Return :math:`\tilde a^T g`, shape (n_in + 1, n_out): the adjoint of forward in θ."""
        xp = np if type(a) is type(g) is np.ndarray else array_module(a, g)  # runs in every step: no call for NumPy
        gradient = xp.empty((a.shape[1] + 1, g.shape[1]), g.dtype)
        xp.matmul(a.T, g, out=gradient[:-1])  # in W
        xp.matmul(xp.ones(len(g), g.dtype), g, out=gradient[-1])  # in b, whose input is 1
        return gradient

    def rows(self, a):
        """Return the matrix (rows, n_in) that multiplies W: for a fully connected map, the activations."""
        return a


def draw_theta(rng, init, rows, n_out, *, fan_in, fan_out):
    """Draw θ of shape (rows + 1, n_out), in float64, with an initialisation described in `Linear`."""
    if init == "uniform":
        bound = 1 / math.sqrt(fan_in)
        return rng.uniform(-bound, bound, (rows + 1, n_out))
    if init == "glorot":
        bound = math.sqrt(6 / (fan_in + fan_out))
        return np.vstack([rng.uniform(-bound, bound, (rows, n_out)), np.zeros((1, n_out))])
    if init == "he":
        return np.vstack([rng.normal(0, math.sqrt(2 / fan_in), (rows, n_out)), np.zeros((1, n_out))])
    return rng.normal(0, 0.05 if init == "normal" else init, (rows + 1, n_out))


def checked_initialization(where, init):
    """Return `init` if it names an initialisation or is a positive standard deviation."""
    if isinstance(init, str):
        return known_name(where, init, INITIALIZATIONS)
    return positive_number(where, init)
