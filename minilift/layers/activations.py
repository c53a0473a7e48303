r"""Transfer functions :math:`a = \sigma(z)`: forward, derivative, adjoint, and the convex integral F, F' = σ.

From the integral comes the matching loss of LocoProp-M,
:math:`D_F(z, f^{-1}(y)) = F(z) - \langle y, z\rangle + \text{const}`, which is convex in z. It is bounded below only if
the target y lies in the closure of the range of σ, which each transfer states (`range`).

A transfer is stateless. What its adjoint needs beyond z and a (nothing, for the elementwise ones), `apply` returns as
`aux`, which lives in the network's `State`.
"""

from __future__ import annotations

import math

import numpy as np

from minilift.layers.base import Layer
from minilift.support.arguments import positive_number
from minilift.support.backend import array_module, spence


class Transfer(Layer):
    """Base class of everything that may stand between two maps; a subclass defines `apply` and `adjoint`.

    Attributes
    ----------
    elementwise : bool
        Whether each entry of a depends on a single entry of z.

    Examples
    --------
    >>> pool = ml.MaxPool2d(2)
    >>> pool.kind, pool.elementwise
    ('transfer', False)
    >>> pool.forward(np.arange(4.0).reshape(1, 2, 2, 1)).tolist()
    [[[[3.0]]]]
    """

    kind, elementwise = "transfer", False
    running = np.zeros((2, 0))  # what a training pass leaves for evaluation: nothing

    @property
    def first(self):
        """The transfer that directly follows the map, this one or the first of several."""
        return self

    def forward(self, z: np.ndarray) -> np.ndarray:
        r"""Return :math:`\sigma(z)`, in evaluation."""
        return self.apply(z)[0]  # type: ignore[attr-defined]

    def gradients(self, aux, g):
        """Return the gradients in `parameters`, from the signal g at the output."""
        return []

    def commit(self, aux):
        """Update what evaluation uses with what a training pass measured."""

    def signals(self, z, a, aux, g):
        r"""Return ∂J/∂f(z) and ∂J/∂z, and the gradients in `parameters`, from the signal g = ∂J/∂a at a = σ(z).

        f is the elementwise activation that directly follows the map. Where there is none, f is the identity and the
        two signals are the same.
        """
        g_z = self.adjoint(z, a, aux, g)  # ProxProp (9), BackProp signal
        return (g if self.elementwise else g_z), g_z, self.gradients(aux, g)


class Activation(Transfer):
    r"""An elementwise transfer function; base class of the package's own and of the user's.

    A subclass defines `forward` and `derivative`; if it is increasing, it can with `integral` and `range` also serve
    exact LocoProp-M (whose finitely many steps need neither), and with `conjugate` and `inverse` matching energies too.
    For float32 arrays, the default of networks, they return float32.
    One that jumps on purpose sets ``continuous = False``, or else `verify` reports the jump.

    Examples
    --------
    >>> class Cubic(ml.Activation):
    ...     def forward(self, z):
    ...         return z**3
    ...     def derivative(self, z):
    ...         return 3 * z**2
    >>> Cubic().adjoint(np.array([[2.0]]), None, None, np.array([[1.0]])).tolist()
    [[12.0]]
    >>> ml.verify(Cubic()).passed
    True
    """

    elementwise = True
    range = (-math.inf, math.inf)  # the interval whose closure holds the values of σ
    closed = False  # whether the interval's ends are values of σ too
    pieces: tuple | None = None  # (low, high, slope, offset) of each linear piece, from left to right; None if smooth

    def forward(self, z: np.ndarray) -> np.ndarray:
        r"""Return :math:`\sigma(z)`, the shape of z."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(z)")

    def derivative(self, z: np.ndarray) -> np.ndarray:
        r"""Return :math:`\sigma'(z)`, the shape of z."""
        raise NotImplementedError(f"{type(self).__name__} must define derivative(z)")

    def integral(self, z: np.ndarray) -> np.ndarray:
        r"""Return :math:`F(z)` with :math:`F' = \sigma`, elementwise, the shape of z."""
        raise NotImplementedError(f"{type(self).__name__} has no integral(z), which exact LocoProp-M needs")

    def conjugate(self, a):
        r"""Return :math:`F^*(a) = \sup_z az - F(z)`, elementwise, for a in the range of σ."""
        raise NotImplementedError(f"{type(self).__name__} has no conjugate(a), which matching energies need")

    def inverse(self, a):
        r"""Return :math:`(F^*)'(a)`, a z with σ(z) = a; at an end of a closed range, the one nearest to 0."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse(a), which matching energies need")

    def apply(self, z, training=False, rng=None):
        """Return (σ(z), aux), where aux is what `adjoint` needs beyond z and a."""
        return self.forward(z), None

    def adjoint(self, z, a, aux, g):
        r"""Return :math:`\sigma'(z) \odot g`: the derivative of σ at z, transposed, applied to g.

        The derivative is diagonal, hence its own transpose: this is the forward derivative along g as well.
        """
        return g * self.derivative(z)

    def solve_shifted(self, z, c, r):
        r"""Return s with :math:`(I + c\,\sigma'(z))\,s = r`, the Newton step for a prox."""
        return r / (1 + c * self.derivative(z))

    def in_range(self, y, tolerance=0.0):
        """Whether all targets y lie in the closure of the range of σ."""
        low, high = self.range
        return bool((y >= low - tolerance).all() and (y <= high + tolerance).all())


class Projection(Activation):
    """Base class of the transfers that project z onto their range: F*(a) = a²/2 there."""

    def conjugate(self, a):
        return a * a / 2

    def inverse(self, a):
        return a


class Identity(Projection):
    r"""σ(z) = z, F(z) = z²/2; with it LocoProp-M is LocoProp-S.

    Examples
    --------
    >>> sigma, z = ml.Identity(), np.array([-2.0, 1.0])
    >>> sigma.forward(z).tolist(), sigma.integral(z).tolist()
    ([-2.0, 1.0], [2.0, 0.5])
    """

    pieces = ((-math.inf, math.inf, 1.0, 0.0),)

    def forward(self, z: np.ndarray) -> np.ndarray:
        return z

    def derivative(self, z: np.ndarray) -> np.ndarray:
        return array_module(z).ones_like(z)

    def integral(self, z: np.ndarray) -> np.ndarray:
        return z * z / 2

    def adjoint(self, z, a, aux, g):
        return g


class ReLU(Projection):
    r"""σ(z) = max(z, 0), σ'(0) = 0, F(z) = max(z, 0)²/2, range [0, ∞).

    Examples
    --------
    >>> sigma, z = ml.ReLU(), np.array([-1.0, 0.0, 3.0])
    >>> sigma.forward(z).tolist(), sigma.derivative(z).tolist(), sigma.integral(z).tolist()
    ([0.0, 0.0, 3.0], [0.0, 0.0, 1.0], [0.0, 0.0, 4.5])
    """

    range = (0.0, math.inf)
    closed = True
    pieces = ((-math.inf, 0.0, 0.0, 0.0), (0.0, math.inf, 1.0, 0.0))

    def forward(self, z: np.ndarray) -> np.ndarray:
        xp = np if type(z) is np.ndarray else array_module(z)
        return xp.maximum(z, xp.zeros(z.shape[1:], z.dtype))  # NumPy's maximum with a number takes twice as long

    def derivative(self, z: np.ndarray) -> np.ndarray:
        return (z > 0).astype(z.dtype)

    def integral(self, z: np.ndarray) -> np.ndarray:
        return self.forward(z) ** 2 / 2

    def adjoint(self, z, a, aux, g):
        return g * (z > 0)


class LeakyReLU(Activation):
    r"""σ(z) = z for z > 0, else slope · z; F(z) = z σ(z)/2.

    Parameters
    ----------
    slope : float, default 0.01
        Slope on the negative side, between 0 and 1 (excluded), so that σ is increasing.

    Examples
    --------
    >>> sigma, z = ml.LeakyReLU(0.1), np.array([-2.0, 3.0])
    >>> sigma.forward(z).tolist(), sigma.derivative(z).tolist()
    ([-0.2, 3.0], [0.1, 1.0])
    """

    shown_bare = shown_always = ("slope",)

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = positive_number("LeakyReLU: slope", slope)
        if self.slope >= 1:
            raise ValueError(f"LeakyReLU: slope must be below 1, got {slope}")

    @property
    def pieces(self):
        """Both linear pieces."""
        return ((-math.inf, 0.0, self.slope, 0.0), (0.0, math.inf, 1.0, 0.0))

    def forward(self, z: np.ndarray) -> np.ndarray:
        return array_module(z).maximum(z, self.slope * z)

    def derivative(self, z: np.ndarray) -> np.ndarray:
        return array_module(z).maximum((z > 0).astype(z.dtype), self.slope)

    def integral(self, z: np.ndarray) -> np.ndarray:
        return z * self.forward(z) / 2

    def conjugate(self, a):
        return a * self.inverse(a) / 2

    def inverse(self, a):
        return array_module(a).minimum(a, a / self.slope)


class HardTanh(Projection):
    r"""σ(z) = z clipped to [−1, 1], σ'(±1) = 0, F(z) = z²/2 inside and :math:`|z| - \tfrac12` beyond, range [−1, 1].

    Examples
    --------
    >>> sigma, z = ml.HardTanh(), np.array([-3.0, 0.5, 3.0])
    >>> sigma.forward(z).tolist(), sigma.integral(z).tolist()
    ([-1.0, 0.5, 1.0], [2.5, 0.125, 2.5])
    """

    range = (-1.0, 1.0)
    closed = True
    pieces = ((-math.inf, -1.0, 0.0, -1.0), (-1.0, 1.0, 1.0, 0.0), (1.0, math.inf, 0.0, 1.0))

    def forward(self, z: np.ndarray) -> np.ndarray:
        return array_module(z).clip(z, -1, 1)

    def derivative(self, z: np.ndarray) -> np.ndarray:
        return (abs(z) < 1).astype(z.dtype)

    def integral(self, z: np.ndarray) -> np.ndarray:
        inside = self.forward(z)
        return inside * (z - inside / 2)


class Tanh(Activation):
    r"""σ(z) = tanh z, F(z) = log cosh z, range [−1, 1].

    Examples
    --------
    >>> sigma, z = ml.Tanh(), np.array([0.0, 1.0])
    >>> sigma.forward(z).round(4).tolist(), sigma.derivative(z).round(4).tolist()
    ([0.0, 0.7616], [1.0, 0.42])
    """

    range = (-1.0, 1.0)

    def forward(self, z: np.ndarray) -> np.ndarray:
        return array_module(z).tanh(z)

    def derivative(self, z: np.ndarray) -> np.ndarray:
        return 1 - self.forward(z) ** 2

    def integral(self, z: np.ndarray) -> np.ndarray:
        xp = array_module(z)
        size = abs(z)  # log cosh z = |z| + log(1 + exp(−2|z|)) − log 2 does not overflow
        return size + xp.log1p(xp.exp(-2 * size)) - math.log(2)

    def conjugate(self, a):
        return (entropy(1 + a) + entropy(1 - a)) / 2

    def inverse(self, a):
        return array_module(a).arctanh(a)

    def adjoint(self, z, a, aux, g):
        return g * (1 - a * a)


class Sigmoid(Activation):
    r"""σ(z) = 1/(1 + exp(−z)), F(z) = log(1 + exp z), range [0, 1].

    Examples
    --------
    >>> sigma, z = ml.Sigmoid(), np.array([0.0, 2.0])
    >>> sigma.forward(z).round(4).tolist(), sigma.derivative(z).round(4).tolist()
    ([0.5, 0.8808], [0.25, 0.105])
    """

    range = (0.0, 1.0)

    def forward(self, z: np.ndarray) -> np.ndarray:
        xp = array_module(z)
        # neither overflows nor loses the small values of the left tail
        return xp.exp(xp.minimum(z, 0)) / (1 + xp.exp(-abs(z)))

    def derivative(self, z: np.ndarray) -> np.ndarray:
        a = self.forward(z)
        return a * (1 - a)

    def integral(self, z: np.ndarray) -> np.ndarray:
        return softplus(z)

    def conjugate(self, a):
        return entropy(a) + entropy(1 - a)

    def inverse(self, a):
        xp = array_module(a)
        return xp.log(a) - xp.log1p(-a)

    def adjoint(self, z, a, aux, g):
        return g * (a * (1 - a))


class Softplus(Activation):
    r"""σ(z) = log(1 + exp z), F(z) = −Li₂(−exp z) (the dilogarithm), range [0, ∞).

    Examples
    --------
    >>> sigma, z = ml.Softplus(), np.array([0.0, 2.0])
    >>> sigma.forward(z).round(4).tolist(), sigma.derivative(z).round(4).tolist()
    ([0.6931, 2.1269], [0.5, 0.8808])
    """

    range = (0.0, math.inf)

    def forward(self, z: np.ndarray) -> np.ndarray:
        return softplus(z)

    def derivative(self, z: np.ndarray) -> np.ndarray:
        return Sigmoid().forward(z)

    def integral(self, z: np.ndarray) -> np.ndarray:
        xp = array_module(z)
        x = xp.exp(-abs(z))
        # SciPy's spence(1 + x) is Li₂(−x); for small x, where 1 + x rounds x away, the series Σ (−x)ⁿ/n²
        series = sum((-x) ** n / n**2 for n in range(1, 11))
        tail = xp.where(x < 0.02, series, spence(xp.asarray(1 + x)))
        # for z > 0 the inversion formula −Li₂(−exp z) = z²/2 + π²/6 + Li₂(−exp(−z)) keeps exp from overflowing
        return xp.where(z > 0, z * z / 2 + math.pi**2 / 6 + tail, -tail).astype(x.dtype, copy=False)


class Softmax(Activation):
    r"""σ(z) = exp z / Σ exp z row by row, F(z) = log Σ exp z, one number per row; range: the simplex.

    Not for hidden layers: it is the transfer inside `SoftmaxCrossEntropy`, and LocoProp-M uses its matching loss on
    the last map. Its derivative is not diagonal, so it has `adjoint` but no `derivative`.
    """

    elementwise = False
    range = (0.0, 1.0)

    def forward(self, z: np.ndarray) -> np.ndarray:
        xp = np if type(z) is np.ndarray else array_module(z)  # runs in every step: no call for NumPy
        e = xp.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def integral(self, z: np.ndarray) -> np.ndarray:
        """Return log Σ exp z of each row, shape (N,)."""
        xp = np if type(z) is np.ndarray else array_module(z)
        top = z.max(axis=-1, keepdims=True)
        return top[..., 0] + xp.log(xp.exp(z - top).sum(axis=-1))

    def adjoint(self, z, a, aux, g):
        r"""Return :math:`(\operatorname{diag} a - a a^T)\, g`, row by row."""
        return a * (g - (a * g).sum(axis=-1, keepdims=True))

    def solve_shifted(self, z, c, r):
        r"""Solve :math:`(I + c\,(\operatorname{diag} p - p p^T))\,s = r` row by row (Sherman–Morrison)."""
        p = self.forward(z)
        diagonal = 1 + c * p
        s, q = r / diagonal, p / diagonal
        # 1 − c Σ p q without its cancellation, since Σ p = 1 and 1 − c q = 1/(1 + c p)
        ratio = c * (p * s).sum(axis=-1, keepdims=True) / q.sum(axis=-1, keepdims=True)
        return s + ratio * q

    def in_range(self, y, tolerance=0.0):
        """Whether each row of y lies in the simplex."""
        slack = tolerance + 4 * y.shape[-1] * np.finfo(y.dtype).eps
        return bool((y >= -tolerance).all() and (abs(y.sum(axis=-1) - 1) <= slack).all())


class Composition(Transfer):
    r"""Several transfers in a row taken as one, :math:`\sigma = \sigma_k \circ \dots \circ \sigma_1`.

    Its aux is the list of (input, output, aux) of its parts.
    """

    def __init__(self, parts):
        self.parts = list(parts)

    def __repr__(self):
        return " → ".join(map(repr, self.parts))

    def output_shape(self, input_shape):
        """Shape of one output sample for one input sample."""
        for part in self.parts:
            input_shape = part.output_shape(input_shape)
        return input_shape

    def apply(self, z, training=False, rng=None):
        """Return (σ(z), aux)."""
        aux = []
        for part in self.parts:
            a, part_aux = part.apply(z, training=training, rng=rng)
            aux.append((z, a, part_aux))
            z = a
        return z, aux

    @property
    def first(self):
        """The transfer that directly follows the map."""
        return self.parts[0]

    @property
    def parameters(self):
        """What is trained in the parts."""
        return [parameter for part in self.parts for parameter in part.parameters]

    def adjoint(self, z, a, aux, g):
        """Return the derivative at z, transposed, applied to g: the parts' adjoints, last part first."""
        return self.parts[0].adjoint(*aux[0], self.at_outputs(aux, g)[0])

    def at_outputs(self, aux, g):
        """Return the signal at the output of each part; g is the last of them."""
        signals = [g]
        for part, inputs in zip(reversed(self.parts[1:]), reversed(aux[1:])):
            signals.append(part.adjoint(*inputs, signals[-1]))
        return signals[::-1]

    def commit(self, aux):
        """Let each part take what a training pass measured."""
        for part, (_, _, part_aux) in zip(self.parts, aux):
            part.commit(part_aux)

    def signals(self, z, a, aux, g):
        """Return ∂J/∂f(z), ∂J/∂z and the gradients in `parameters`; the signal reaches f through the other parts."""
        at, first = self.at_outputs(aux, g), self.parts[0]
        own = [gradient for part, (_, _, part_aux), signal in zip(self.parts, aux, at)
               for gradient in part.gradients(part_aux, signal)]
        g_z = first.adjoint(*aux[0], at[0])  # ProxProp (9), BackProp signal
        return (at[0] if first.elementwise else g_z), g_z, own


def softplus(z):
    """Return log(1 + exp z) without overflow."""
    return array_module(z).logaddexp(z, z.dtype.type(0))


def entropy(x):
    """Return x log x, which is 0 for x = 0."""
    return x * array_module(x).log(x + (x == 0))


ACTIVATIONS = {"relu": ReLU, "leaky_relu": LeakyReLU, "hard_tanh": HardTanh, "tanh": Tanh, "sigmoid": Sigmoid,
               "softplus": Softplus, "identity": Identity}
