r"""The one backward sweep that all methods share.

From the last map to the first, a method proposes a step in θ_l; then the signal passes on,

.. math:: \partial J/\partial a_{l-1} = g_l W_l^T, \qquad g_{l-1} = \sigma'(z_{l-1}) \odot \partial J/\partial a_{l-1},

through the old weights, or through the new ones (SIBP). This is (b) of ProxProp's Algorithms 1 and 2 in differences,
:math:`a_l - a_l^{½} = \tau\,\partial J/\partial a_l` and :math:`z_l - z_l^{½} = \tau g_l`: forming the half steps and
subtracting them again would lose the signal in float32.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilift.graph import checked_network
from minilift.layers.activations import Composition
from minilift.support.arguments import instance_of, shown, whole_number


class Block(NamedTuple):
    r"""What a method may know of one block of variables, θ_l, when it proposes a step.

    Attributes
    ----------
    l, depth : int
        Index of the map, and of the last one.
    phi : map
        φ_l.
    f : transfer
        The elementwise activation that directly follows the map (identity where something else does); on the last
        map the transfer inside the loss, softmax say.
    theta : array
        θ_l before the step.
    a : array
        a_{l−1}, the map's input in the forward pass.
    z : array
        z_l = φ_l(θ_l, a_{l−1}).
    g_a : array or None
        ∂J/∂f(z_l), not masked by f': where f is all of σ_l this is ∂J/∂a_l. None on the last map.
    g : array
        g_l = ∂J/∂z_l.
    weight : float
        Factor of one sample's loss in J: 1/N for the mean, 1 for the sum.
    """

    l: int
    depth: int
    phi: object
    f: object
    theta: object
    a: object
    z: object
    g_a: object
    g: object
    weight: float

    @property
    def last(self):
        """Whether this is the last map."""
        return self.l == self.depth


def sweep(net, state, y, propose, new_weights=False, gradients=None):
    r"""Yield (l, step) for l = D, …, 1, where step is θ_l − θ_l^new as `propose` gives it.

    Parameters
    ----------
    net : Network
    state : State
        Of the forward pass.
    y : targets, on the network's backend
    propose : callable
        From a `Block` to a step of θ_l's shape.
    new_weights : bool, default False
        Whether the signal passes through the updated weights (SIBP) instead of the old ones.
    gradients : list, optional
        Is given the gradients in the transfers' own parameters (batch norm), in the order of the layers.
    """
    theta, z, a, aux = state
    weight = net.loss_function.weight(len(z[net.depth]))
    g_a, g = None, net.loss_function.gradient(z[net.depth], y)  # g_D = ∂J/∂z_D
    for l in range(net.depth, 0, -1):
        phi = net.phi[l]
        step = propose(Block(l, net.depth, phi, net.local_transfer(l), theta[l], a[l - 1], z[l], g_a, g, weight))
        yield l, step
        if l > 1:
            g_a = phi.adjoint_input(theta[l] - step if new_weights else theta[l], g)  # ProxProp (8), (10), SIBP signal
            g_a, g, own = through_transfer(net.sigma[l - 1], z[l - 1], a[l - 1], aux[l - 1], g_a)
            if gradients is not None:
                gradients[:0] = own


def through_transfer(sigma, z, a, aux, g_a):
    r"""Return the signals at the output of f and at z, from the signal at a = σ(z), and gradients in σ's parameters.

    f is the elementwise activation that directly follows the map (see `Network.local_transfer`). Where σ is a
    composition that begins with it, the signal comes through the rest by its adjoint. Parameters of σ itself, of
    which a batch norm has some, take explicit steps with every method.
    """
    parts, inputs, signals = [sigma], [(z, a, aux)], [g_a]
    if isinstance(sigma, Composition):
        parts, inputs, signals = sigma.parts, aux, sigma.signals(aux, g_a)
    own = [part.gradient(part_aux, signal) for part, (_, _, part_aux), signal in zip(parts, inputs, signals)
           if hasattr(part, "scale_shift")]
    g = parts[0].adjoint(*inputs[0], signals[0])  # ProxProp (9)
    return (signals[0] if parts[0].elementwise else g), g, own


class Method:
    """Base class: a method is a function that proposes a step for one `Block`; the rest is the sweep.

    Attributes
    ----------
    new_weights : bool
        Whether the sweep passes signals through updated weights.
    """

    new_weights = False

    def propose(self, block):
        """Return θ_l − θ_l^new, an array of θ_l's shape."""
        raise NotImplementedError(f"{type(self).__name__} must define propose(block)")

    def direction(self, net, X, y, rng=None):
        """Return the loss and the directions of one batch.

        Parameters
        ----------
        net : Network
        X : array (N, …)
        y : targets, as the network's loss takes them
        rng : numpy.random.Generator, optional
            Randomness of layers that draw some in training (dropout).

        Returns
        -------
        loss : float
        directions : list of arrays
            Aligned with `net.parameters`; an optimizer subtracts them.
        """
        X, y = checked_network("direction", net).checked_batch(X, y)
        if rng is not None:
            instance_of("direction: rng", rng, np.random.Generator)
        state = net.propagate(X, training=True, rng=rng)
        return net.loss_function.value(state.z[net.depth], y), self.directions(net, state, y)

    def directions(self, net, state, y):
        """Return the directions for a forward pass that has been done, aligned with `net.parameters`."""
        steps, gradients = [None] * net.depth, []
        for l, step in sweep(net, state, y, self.propose, self.new_weights, gradients):
            steps[l - 1] = checked_step(self, l, step, net.theta[l])
        weight = net.loss_function.weight(len(state.z[net.depth]))
        return steps + [self.explicit_step(index, gradient, weight)
                        for index, gradient in enumerate(gradients, net.depth + 1)]

    def explicit_step(self, index, gradient, weight):
        """Return the step in parameters of a transfer (a batch norm's scale and shift) from the gradient in them.

        There is no local problem for these: they take the step that the method's steps in θ turn into when they are
        small. Their `index` goes on from the maps', D + 1, …; `weight` is that of a `Block`.
        """
        return gradient

    def start_epoch(self, epoch):
        """Be told that epoch 0, 1, … begins; for methods with schedules."""
        whole_number(f"{type(self).__name__}: epoch", epoch, least=0)

    def reset(self):
        """Forget what was kept between batches."""

    def state_dict(self):
        """Return what is kept between batches: arrays and numbers by name."""
        return {}

    def load_state_dict(self, values):
        """Take back what `state_dict` returned."""
        if values:
            raise ValueError(f"{self!r} keeps nothing between batches, but was given {sorted(values)}")


class FunctionMethod(Method):
    """A method made of a user's function from a `Block` to a step."""

    def __init__(self, propose):
        self.function = propose

    def __repr__(self):
        return f"FunctionMethod({getattr(self.function, '__name__', self.function)!s})"

    def propose(self, block):
        """Return what the user's function proposes."""
        return self.function(block)


def as_method(thing):
    """Return `thing` if it is a method, or the method that a user's function ``propose(block)`` makes.

    Raises
    ------
    TypeError
        If it is neither; a class (instead of an instance of it) is named as such.
    """
    if isinstance(thing, Method):
        return thing
    if isinstance(thing, type):
        raise TypeError(f"method: got the class {thing.__name__}; an instance is needed, {thing.__name__}(…)")
    if callable(thing):
        return FunctionMethod(thing)
    raise TypeError(f"method: expected a Method such as BackProp(), or a function of a Block, got {shown(thing)}")


def checked_step(method, l, step, theta):
    """Return `step` if it has θ_l's shape and dtype."""
    if getattr(step, "shape", None) != theta.shape:
        raise ValueError(f"{method!r}: the step proposed for map {l} must have shape {theta.shape}, "
                         f"got {getattr(step, 'shape', type(step).__name__)}")
    if step.dtype != theta.dtype:
        raise TypeError(f"{method!r}: the step proposed for map {l} must have dtype {theta.dtype}, got {step.dtype}; "
                        "mixing Python floats in is fine, float64 arrays promote")
    return step


def per_map(what, value, depth, check):
    """Return [None, v_1, …, v_D] from one value for all maps or a sequence of one for each."""
    several = isinstance(value, (list, tuple, np.ndarray))
    values = list(value) if several else [value] * depth
    if len(values) != depth:
        raise ValueError(f"{what}: expected one value or one for each of the {depth} maps, got {len(values)}")
    return [None] + [check(f"{what}[{l}]" if several else what, v) for l, v in enumerate(values, start=1)]
