r"""The layer graph: which map and transfer stand where, the shapes of all values, and the iterates of a pass.

.. math:: a_0 = X, \qquad z_l = \varphi_l(\theta_l, a_{l-1}), \qquad a_l = \sigma_l(z_l), \qquad l = 1 \dots D.

Slot 0 of each list is taken, so that indices in the code are those of the papers.
"""

from __future__ import annotations

import inspect
import math
from typing import NamedTuple

from minilift.layers.activations import Composition, Identity
from minilift.layers.base import Layer
from minilift.support.arguments import sequence, shown, whole_number


class State(NamedTuple):
    r"""The iterates of one forward pass, as a value.

    Attributes
    ----------
    theta : list
        [None, θ_1, …, θ_D]: the network's own arrays, which an optimizer may change later (see `copy`).
    z : list
        [None, z_1, …, z_D], pre-activations; z_D is what the loss takes.
    a : list
        [X, a_1, …, a_{D−1}], activations.
    aux : list
        [None, aux_1, …, aux_{D−1}]: what a transfer's adjoint needs beyond z and a.
    """

    theta: list
    z: list
    a: list
    aux: list

    def copy(self):
        """Return a state that keeps this moment: θ, z and a are copied."""
        def copies(arrays):
            return [None if array is None else array.copy() for array in arrays]
        return State(copies(self.theta), copies(self.z), copies(self.a), list(self.aux))


def group_layers(layers):
    """Return [None, φ_1, …, φ_D] and [None, σ_1, …, σ_{D−1}]: transfers between two maps are composed."""
    if not layers:
        raise ValueError("Network: layers must hold at least one map, such as Linear(64, 10)")
    for position, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"Network: layers[{position}] must be a map or a transfer, got {shown(layer)}")
    for position in (0, -1):
        if layers[position].kind != "map":
            raise ValueError(f"Network: the {'first' if position == 0 else 'last'} layer must be a map, got "
                             f"{layers[position]!r}; a loss takes the last map's output and holds its own transfer")
    phi, groups = [None], []
    for layer in layers:
        if layer.kind == "map":
            phi.append(layer)
            groups.append([])
        else:
            groups[-1].append(layer)
    return phi, [None] + [as_transfer(parts) for parts in groups[:-1]]


def instance(what, thing):
    """Return `thing` if it is no class: ReLU where ReLU() is meant."""
    if inspect.isclass(thing):
        raise TypeError(f"{what} is the class {thing.__name__}; an instance is needed, {thing.__name__}(…)")
    return thing


def checked_network(what, net):
    """Return `net` if it is a network; its class stands above those who ask."""
    if not hasattr(net, "checked_batch"):
        raise TypeError(f"{what}: net must be a Network, got {shown(net)}")
    return net


def as_transfer(parts):
    """Return several transfers in a row as one."""
    if not parts:
        return Identity()
    return parts[0] if len(parts) == 1 else Composition(parts)


def check_shapes(phi, sigma, input_shape=None):
    """Return the sample shapes [a_0, z_1, a_1, …, z_D], or raise an error that names the layer that does not fit."""
    if input_shape is None:
        if phi[1].takes_images:
            raise ValueError(f"Network: input_shape=(H, W, C) is needed, the size of the images that {phi[1]!r} takes")
        input_shape = (phi[1].n_in,)
    shapes = [tuple(whole_number("Network: input_shape", n)
                    for n in sequence("Network: input_shape", input_shape, "whole numbers"))]
    for l in range(1, len(phi)):
        try:
            shapes.append(phi[l].output_shape(shapes[-1]))
            if l < len(phi) - 1:
                shapes.append(sigma[l].output_shape(shapes[-1]))
        except ValueError as error:
            before = "the input_shape" if l == 1 else "what comes before it"
            raise ValueError(f"Network: map {l} does not fit {before}: {error}") from None
    if len(shapes[-1]) != 1:
        raise ValueError(f"Network: the last map must give vectors, (N, n), but {phi[-1]!r} gives "
                         f"{shape_text(shapes[-1])}; "
                         "end with Flatten() and a Linear map")
    return shapes


def in_layout(shape, layout):
    """Return the shape in which a sample of `shape`, channels last, comes to the network."""
    if layout == "channels_first":
        return (shape[2], *shape[:2])
    return (math.prod(shape),) if layout == "flat" else shape


def shape_text(shape):
    """Return a sample shape with the batch in front, as '(N, 64)'."""
    return f"(N, {', '.join(map(str, shape))})"
