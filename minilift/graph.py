r"""The layer graph: which map reads which values, which maps share a θ, the values' shapes, the iterates of a pass.

.. math:: a_0 = X, \qquad z_l = \varphi_l(\theta_l, a_{\mathrm{in}(l)}), \qquad a_l = \sigma_l(z_l), \qquad
            l = 1 \dots D.

On a chain in(l) is l − 1. A join is a map without θ that reads several values, and a map that stands in several places
has one θ. Slot 0 of each list is reserved, so that indices in the code are those of the papers.
"""

from __future__ import annotations

import inspect
import math
from typing import NamedTuple

from minilift.layers.activations import Composition, Identity
from minilift.layers.base import Layer
from minilift.layers.joins import Join, Select
from minilift.support.arguments import sequence, shown, whole_number


class State(NamedTuple):
    r"""The iterates of one forward pass, as one value.

    Attributes
    ----------
    theta : list
        [None, θ_1, …, θ_D]: the network's own arrays, which an optimizer may change later (see `copy`). An entry is
        None for a join; maps that share a θ have the same array.
    z : list
        [None, z_1, …, z_D], pre-activations; z_D is the input of the loss.
    a : list
        [X, a_1, …, a_{D−1}], activations.
    aux : list
        [None, aux_1, …, aux_{D−1}]: what a transfer's adjoint needs beyond z and a.

    Examples
    --------
    >>> state = ml.mlp([2, 3, 1], loss=ml.SquaredError()).forward(np.ones((5, 2)))
    >>> [z.shape for z in state.z[1:]], [a.shape for a in state.a]
    ([(5, 3), (5, 1)], [(5, 2), (5, 3)])
    >>> bool((state.a[1] == np.maximum(state.z[1], 0)).all())
    True
    """

    theta: list
    z: list
    a: list
    aux: list

    def copy(self) -> State:
        """Return a snapshot of this state: θ, z and a are copied."""
        def copies(arrays):
            return [None if array is None else array.copy() for array in arrays]
        return State(copies(self.theta), copies(self.z), copies(self.a), list(self.aux))


class Wiring(NamedTuple):
    """The layers of a network as a graph: value 0 is X; value l is a_l, the output of map or join l and σ_l.

    Attributes
    ----------
    phi : list
        [None, φ_1, …, φ_D], maps and joins, each after those that it reads.
    sigma : list
        [None, σ_1, …, σ_{D−1}]; transfers in a row are composed.
    inputs : list
        For each l, the values that φ_l reads; (l − 1,) on a chain.
    owner : list
        For each l, the first map that is the same object, whose θ it shares: mostly l itself.
    names : dict
        The number of each named value.
    """

    phi: list
    sigma: list
    inputs: list
    owner: list
    names: dict


def wire(layers):
    """Return the `Wiring` of a list of layers, or raise an error that says which of them does not fit."""
    check_layers(layers)
    phi, groups, inputs, names = [None], [[]], [()], {}
    for position, layer in enumerate(layers):
        what, current = f"Network: layers[{position}]", len(phi) - 1
        if layer.kind == "name":
            if layer.name in names:
                raise ValueError(f"{what}: the name {layer.name!r} is given twice")
            names[layer.name] = current
        elif layer.kind == "transfer" and current not in names.values():
            groups[-1].append(layer)
        else:  # a transfer after a named value is its own node
            node, group = (layer, []) if layer.kind != "transfer" else (Select(), [layer])
            inputs.append(values_read(what, node, current, names, layers))
            phi.append(node)
            groups.append(group)
    check_readers(phi, inputs, names)
    first = first_places(phi)
    owner = [l if isinstance(node, Join) else first[id(node)] for l, node in enumerate(phi)]
    return Wiring(phi, [None] + [as_transfer(parts) for parts in groups[1:-1]], inputs, owner, names)


def check_layers(layers):
    """Raise an error unless all are layers and the first and last may stand at the ends."""
    if not layers:
        raise ValueError("Network: layers must hold at least one map, such as Linear(64, 10)")
    for position, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"Network: layers[{position}] must be a map, a join or a transfer, got {shown(layer)}")
    if layers[0].kind == "transfer":
        raise ValueError(f"Network: the first layer must be a map or a join, got {layers[0]!r}; if it is to act on the "
                         "samples, put Select() before it, and give input_shape")
    if layers[-1].kind not in ("map", "join"):
        raise ValueError(f"Network: the last layer must be a map, got {layers[-1]!r}; a loss takes the last map's "
                         "output and holds its own transfer")
    check_own_parameters(layers)
    if not any(layer.kind == "map" for layer in layers):
        raise ValueError("Network: layers must hold at least one map, such as Linear(64, 10): joins learn nothing")


def check_own_parameters(layers):
    """Raise an error unless layers with their own parameters keep them in `scale_shift` and stand in one place each."""
    first = first_places(layers)
    for position, layer in [(position, layer) for position, layer in enumerate(layers) if len(layer.parameters)]:
        if layer.kind != "transfer" or not hasattr(layer, "scale_shift"):
            raise TypeError(f"Network: layers[{position}]: {layer!r} has parameters beside the θ of maps; they must be "
                            "one array of a transfer, its attribute scale_shift, as those of BatchNorm are")
        if first[id(layer)] != position:
            raise ValueError(f"Network: layers[{position}]: {layer!r} stands in layers[{first[id(layer)]}] already: a "
                             "layer with parameters of its own has one place; only maps are shared")


def first_places(things):
    """Return the first place of each thing, by its id."""
    return {id(thing): place for place, thing in reversed(list(enumerate(things)))}


def values_read(what, node, current, names, layers):
    """Return the values that a map or join reads, or raise an error about a name that no earlier layer gives."""
    if node.kind == "map":
        return (current,)
    for source in node.sources:
        if source not in names:
            later = any(layer.kind == "name" and layer.name == source for layer in layers)
            raise ValueError(f"{what}: {node!r} reads {source!r}, "
                             + ("which is named only after it: a graph has no cycles" if later else
                                f"which no layer names (named so far: {', '.join(map(repr, names)) or 'none'})"))
    return (*((current,) if node.reads_current else ()), *(names[source] for source in node.sources))


def check_readers(phi, inputs, names):
    """Raise an error if nobody uses a value or a name."""
    used = {j for values in inputs for j in values}
    sources = {source for node in phi[1:] if isinstance(node, Join) for source in node.sources}
    for name in names:
        if name not in sources:
            raise ValueError(f"Network: nobody reads the value named {name!r}: use the name in a join, or leave it out")
    for l in range(1, len(phi) - 1):
        if l not in used:
            raise ValueError(f"Network: nobody uses the value that {phi[l]!r} begins, number {l}: "
                             "the layer after it reads another one")


def instance(what, thing):
    """Return `thing`, or raise an error if it is a class, such as ReLU where ReLU() is meant."""
    if inspect.isclass(thing):
        raise TypeError(f"{what} is the class {thing.__name__}; an instance is needed, {thing.__name__}(…)")
    return thing


def checked_network(what, net):
    """Return `net` if it is a network; the class itself cannot be imported here."""
    if not hasattr(net, "checked_batch") or isinstance(net, type):
        raise TypeError(f"{what}: net must be a Network, got {shown(net)}")
    return net


def as_transfer(parts):
    """Return several transfers in a row as one."""
    if not parts:
        return Identity()
    return parts[0] if len(parts) == 1 else Composition(parts)


def check_shapes(wiring, input_shape=None):
    """Return the sample shapes [a_0, z_1, a_1, …, z_D], or raise an error that names the layer that does not fit."""
    phi = wiring.phi
    if input_shape is None:
        if phi[1].kind == "join":
            raise ValueError("Network: input_shape is needed, such as (T, n): the shape of a sample that "
                             f"{phi[1]!r} reads")
        if phi[1].takes_images:
            raise ValueError(f"Network: input_shape=(H, W, C) is needed, the size of the images that {phi[1]!r} takes")
        input_shape = (phi[1].n_in,)
    shapes = [tuple(whole_number("Network: input_shape", n)
                    for n in sequence("Network: input_shape", input_shape, "whole numbers"))]
    for l in range(1, len(phi)):
        try:
            shapes.append(phi[l].output_shape(*[shapes[2 * j] for j in wiring.inputs[l]]))
            if l < len(phi) - 1:
                shapes.append(wiring.sigma[l].output_shape(shapes[-1]))
        except ValueError as error:
            before = "the input_shape" if l == 1 else "what comes before it"
            raise ValueError(f"Network: map {l} does not fit {before}: {error}") from None
        first, (j, *_) = wiring.owner[l], wiring.inputs[l]
        if first != l and shapes[2 * j] != shapes[2 * wiring.inputs[first][0]]:
            raise ValueError(f"Network: {phi[l]!r} is used by maps {first} and {l} on samples of two shapes, "
                             f"{shapes[2 * wiring.inputs[first][0]]} and {shapes[2 * j]}; a shared map takes one")
    if len(shapes[-1]) != 1:
        raise ValueError(f"Network: the last map must give vectors, (N, n), but {phi[-1]!r} gives "
                         f"{shape_text(shapes[-1])}; end with Flatten() and a Linear map")
    return shapes


def common_transfers(wiring, transfers):
    """Return [None, f_1, …, f_D], with None for a map that is used before transfers of several kinds."""
    f = [None, *transfers]
    mixed = {k for k, other in zip(wiring.owner[1:], transfers) if f[k] is not other and f[k] != other}
    return [None] + [None if k in mixed else other for k, other in zip(wiring.owner[1:], transfers)]


def learning(wiring):
    """Return, for each value, whether it depends on parameters, so that a signal is needed there."""
    found = [False]
    for l in range(1, len(wiring.phi)):
        own = not isinstance(wiring.phi[l], Join) or (l < len(wiring.sigma) and len(wiring.sigma[l].parameters) > 0)
        found.append(own or any(found[j] for j in wiring.inputs[l]))
    return found


def in_layout(shape, layout):
    """Return the shape in which the network receives a sample of `shape`, channels last."""
    if layout == "channels_first":
        return (shape[2], *shape[:2])
    return (math.prod(shape),) if layout == "flat" else shape


def shape_text(shape):
    """Return a sample shape with the batch in front, as '(N, 64)'."""
    return f"(N, {', '.join(map(str, shape))})"
