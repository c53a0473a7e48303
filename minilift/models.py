r"""Ready-made networks, and networks read back from the files that `Network.save` writes."""

from __future__ import annotations

import inspect
import itertools
import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from minilift.graph import instance, wire
from minilift.layers import activations, convolution, joins, losses, maps, normalization, pooling
from minilift.layers.activations import ACTIVATIONS
from minilift.layers.base import Layer
from minilift.layers.convolution import Conv2d
from minilift.layers.joins import Add, Concat, Named, Select, Zeros
from minilift.layers.losses import Loss
from minilift.layers.maps import Linear
from minilift.layers.normalization import BatchNorm
from minilift.layers.pooling import AvgPool2d, Flatten, MaxPool2d
from minilift.network import Network
from minilift.support.arguments import (
    boolean,
    checked_path,
    fits_in_memory,
    known_name,
    sequence,
    shown,
    whole_number,
)
from minilift.support.backend import get_module
from minilift.support.files import read_npz
from minilift.support.settings import is_thing
from minilift.support.spellings import spelled


@spelled
def mlp(widths: Sequence[int], activation: Any = "relu", loss: Loss | None = None, seed: int = 0,
        dtype: Any = np.float32, backend: str = "numpy", init: str | float = "uniform") -> Network:
    """Return a multilayer perceptron.

    Parameters
    ----------
    widths : sequence of int
        (n_0, n_1, …, n_D): number of inputs, then number of units of each map.
    activation : str, Activation, or a sequence of one for each of the D − 1 hidden layers; default "relu"
        By name: "relu", "leaky_relu", "hard_tanh", "tanh", "sigmoid", "softplus", "identity".
    loss, seed, dtype, backend
        As for `Network`.
    init : str or float, default "uniform"
        As for `Linear`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as expected, or the parameters cannot fit in memory.

    Examples
    --------
    >>> net = ml.mlp([64, 128, 10], activation="tanh")
    >>> [theta.shape for theta in net.parameters]
    [(65, 128), (129, 10)]
    """
    widths = sequence("mlp: widths", widths, "widths")
    if len(widths) < 2:
        raise ValueError(f"mlp: widths must hold at least an input and an output width, got {widths}")
    widths = [whole_number(f"mlp: widths[{l}]", width) for l, width in enumerate(widths)]
    fits_in_memory("mlp: widths", sum(8 * (n_in + 1) * n_out for n_in, n_out in itertools.pairwise(widths)))
    hidden = len(widths) - 2
    instance("mlp: activation", activation)
    several = isinstance(activation, (list, tuple))
    each = (sequence("mlp: activation", activation, "activations of hidden layers", hidden) if several
            else [named_activation("mlp: activation", activation)] * hidden)
    layers = [Linear(widths[0], widths[1], init=init)]
    for l, transfer in enumerate(each, start=1):
        layers += [named_activation("mlp: activation", transfer), Linear(widths[l], widths[l + 1], init=init)]
    return Network(layers, loss=loss, seed=seed, dtype=dtype, backend=backend)


@spelled
def convnet(input_shape: tuple[int, int, int] = (32, 32, 3), channels: Sequence[int] = (16, 20, 20), classes: int = 10,
            kernel: int = 5, activation: Any = "relu", batch_norm: bool = False, loss: Loss | None = None,
            seed: int = 0, dtype: Any = np.float32, backend: str = "numpy", input_layout: str = "channels_last",
            init: str | float = "uniform") -> Network:
    """Return a convolutional network, by default that of ProxProp's authors' program for CIFAR-10.

    It has convolutions with zero padding ("same"), each followed by the activation and all but the last by 2×2
    max-pooling, then one fully connected map. The paper's: conv 16, ReLU, pool, conv 20, ReLU, pool, conv 20, ReLU,
    flatten, 1280 → 10.

    Parameters
    ----------
    input_shape : (int, int, int), default (32, 32, 3)
        H, W, C of the images; ``(8, 8, 1)`` with ``input_layout="flat"`` takes the embedded digits.
    channels : sequence of int, default (16, 20, 20)
        Output channels of each convolution.
    classes : int, default 10
        Number of outputs.
    kernel : int, default 5
        Rows and columns of the filters, odd.
    activation : str or Activation, default "relu"
        As for `mlp`.
    batch_norm : bool, default False
        Whether a `BatchNorm` stands between each convolution and its activation.
    loss, seed, dtype, backend, input_layout
        As for `Network`.
    init : str or float, default "uniform"
        As for `Linear`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as expected: images too small for the pooling, an even kernel.

    Examples
    --------
    >>> net = ml.convnet()
    >>> [theta.shape for theta in net.parameters], net.predict(np.zeros((2, 32, 32, 3))).shape
    ([(76, 16), (401, 20), (501, 20), (1281, 10)], (2,))
    """
    shape = tuple(whole_number(f"convnet: input_shape[{axis}]", size)
                  for axis, size in enumerate(sequence("convnet: input_shape", input_shape, "sizes (H, W, C)", 3)))
    layers: list[Any] = []
    channels = sequence("convnet: channels", channels, "numbers of channels")
    channels = [whole_number(f"convnet: channels[{l}]", c_out) for l, c_out in enumerate(channels)]
    kernel, classes = whole_number("convnet: kernel", kernel), whole_number("convnet: classes", classes)
    boolean("convnet: batch_norm", batch_norm)
    if kernel % 2 == 0:
        raise ValueError(f"convnet: kernel must be odd, got {kernel}: its padding keeps the size of the images")
    if not channels:
        raise ValueError("convnet: channels must hold a number for each convolution, got none")
    for l, c_out in enumerate(channels, start=1):
        layers.append(Conv2d(shape[-1], c_out, kernel, init=init))
        layers += [BatchNorm(c_out)] if batch_norm else []
        layers.append(named_activation("convnet: activation", activation))
        layers += [MaxPool2d(2)] if l < len(channels) else []
        shape = (*shape[:2], c_out) if l == len(channels) else (shape[0] // 2, shape[1] // 2, c_out)
    if 0 in shape:
        least = 2 ** (len(channels) - 1)
        raise ValueError(f"convnet: input_shape={input_shape} is too small for {len(channels)} channels: with 2×2 "
                         f"pooling after all convolutions but the last, {least} pixels each way are needed")
    fits_in_memory("convnet: the parameters of `classes` outputs", 8 * math.prod(shape) * classes)
    layers += [Flatten(), Linear(math.prod(shape), classes, init=init)]
    return Network(layers, loss=loss, seed=seed, dtype=dtype, backend=backend, input_shape=input_shape,
                   input_layout=input_layout)


@spelled
def resnet(widths: Sequence[int], activation: Any = "relu", batch_norm: bool = False, loss: Loss | None = None,
           seed: int = 0, dtype: Any = np.float32, backend: str = "numpy", init: str | float = "uniform",
           input_shape: tuple[int, int, int] | None = None, input_layout: str = "channels_last") -> Network:
    r"""Return a residual network: a map, blocks of two maps bridged by an `Add`, and a last map.

    With maps φ and transfers σ a block is :math:`\sigma(x + \varphi_2(\sigma(\varphi_1(x))))`. If the width of x is
    not that of the sum, a further map without transfer brings x to it.

    Parameters
    ----------
    widths : sequence of int
        (n_0, n_1, …, n_D), as for `mlp`, with an even number D of maps: maps 2 and 3, 4 and 5, … form the blocks. With
        `input_shape` all but the last are numbers of channels.
    activation : str or Activation, default "relu"
        As for `mlp`.
    batch_norm : bool, default False
        Whether a `BatchNorm` follows the first map and each map of the blocks.
    loss, seed, dtype, backend, input_layout
        As for `Network`.
    init : str or float, default "uniform"
        As for `Linear`.
    input_shape : (int, int, int), optional
        H, W, C of images, C = n_0. Then all maps but the last are 3×3 convolutions with zero padding (1×1 for one that
        bridges a block), 2×2 max-pooling follows the first, and averages go to the last map: over all pixels of square
        images, else over squares side by side, as wide as the shorter side, that leave out the pixels at the end.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as expected: an odd number of maps, or an `input_shape` whose C is not n_0.

    Examples
    --------
    >>> net = ml.resnet([64, 32, 32, 32, 10])
    >>> net.depth, net.names, net.inputs[4]  # map 4 adds z_3 and the named a_1
    (5, {'x1': 1}, (3, 1))
    """
    widths = sequence("resnet: widths", widths, "widths")
    if len(widths) < 3 or len(widths) % 2 == 0:
        raise ValueError(f"resnet: widths must hold an input width and those of an even number of maps, got {widths}")
    widths = [whole_number(f"resnet: widths[{l}]", width) for l, width in enumerate(widths)]
    boolean("resnet: batch_norm", batch_norm)
    patch = 1 if input_shape is None else 9  # pixels of a filter
    fits_in_memory("resnet: widths", sum(8 * (patch * n_in + 1) * n_out for n_in, n_out in itertools.pairwise(widths)))
    shape = None if input_shape is None else tuple(
        whole_number(f"resnet: input_shape[{axis}]", size)
        for axis, size in enumerate(sequence("resnet: input_shape", input_shape, "sizes (H, W, C)", 3)))
    if shape is not None and (shape[2] != widths[0] or min(shape[:2]) < 2):
        raise ValueError(f"resnet: input_shape must be (H, W, {widths[0]}), two pixels or more each way, got {shape}")

    def phi(n_in, n_out, kernel=3):
        return Linear(n_in, n_out, init=init) if shape is None else Conv2d(n_in, n_out, kernel, init=init)

    def norm(n):
        return [BatchNorm(n)] if batch_norm else []

    def sigma():
        return named_activation("resnet: activation", activation)

    layers = [phi(widths[0], widths[1]), *norm(widths[1]), sigma(), *([] if shape is None else [MaxPool2d(2)])]
    for l in range(2, len(widths) - 1, 2):
        n_in, n_mid, n_out = widths[l - 1:l + 2]
        layers += [Named(f"x{l // 2}"), phi(n_in, n_mid), *norm(n_mid), sigma(), phi(n_mid, n_out), *norm(n_out)]
        if n_in == n_out:
            layers += [Add(f"x{l // 2}"), sigma()]
        else:
            layers += [Named(f"y{l // 2}"), Select(f"x{l // 2}"), phi(n_in, n_out, 1), Add(f"y{l // 2}"), sigma()]
    layers += [] if shape is None else [AvgPool2d(min(shape[:2]) // 2), Flatten()]
    pixels = 1 if shape is None else math.prod(size // 2 // (min(shape[:2]) // 2) for size in shape[:2])
    layers.append(Linear(pixels * widths[-2], widths[-1], init=init))
    return Network(layers, loss=loss, seed=seed, dtype=dtype, backend=backend, input_shape=input_shape,
                   input_layout=input_layout)


@spelled
def rnn(n_in: int, n_hidden: int, n_out: int, steps: int, outputs: str = "last", activation: Any = "tanh",
        loss: Loss | None = None, seed: int = 0, dtype: Any = np.float32, backend: str = "numpy",
        init: str | float = "uniform") -> Network:
    r"""Return a recurrent network, unrolled over time, for samples (steps, n_in).

    .. math:: h_t = \sigma([x_t\; h_{t-1}\; 1]\,\theta), \qquad h_0 = 0, \qquad y_t = [h_t\; 1]\,\theta'

    θ is one `Linear` map that stands in the graph `steps` times.

    Parameters
    ----------
    n_in, n_hidden, n_out : int
        Numbers of inputs and of hidden units at each time, and of outputs.
    steps : int
        Number T of time steps.
    outputs : {"last", "every"}, default "last"
        Whether the output is y_T or [y_1 … y_T], which has T · n_out numbers.
    activation : str or Activation, default "tanh"
        As for `mlp`.
    loss, seed, dtype, backend
        As for `Network`. "every" needs a loss that takes each output separately: `SquaredError`, `SigmoidCrossEntropy`.
    init : str or float, default "uniform"
        As for `Linear`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as expected, such as a classification loss with "every" time step's output.

    Examples
    --------
    >>> net = ml.rnn(n_in=8, n_hidden=16, n_out=10, steps=8)
    >>> [theta.shape for theta in net.parameters], net.predict_proba(np.zeros((2, 8, 8))).shape
    ([(25, 16), (17, 10)], (2, 10))
    """
    n_in, n_hidden = whole_number("rnn: n_in", n_in), whole_number("rnn: n_hidden", n_hidden)
    steps = whole_number("rnn: steps", steps)
    every = known_name("rnn: outputs", outputs, ("last", "every")) == "every"
    n_out, sigma = whole_number("rnn: n_out", n_out), named_activation("rnn: activation", activation)
    if every and steps > 1 and (loss is None or getattr(loss, "classification", False)):
        raise ValueError("rnn: loss: with outputs='every' it must take each output by itself, as SquaredError() and "
                         f"SigmoidCrossEntropy() do, got {'SoftmaxCrossEntropy()' if loss is None else loss}"
                         + ", the default" * (loss is None))
    fits_in_memory("rnn: steps", 1000 * steps)  # about what the objects of one step take
    cell, output = Linear(n_in + n_hidden, n_hidden, init=init), Linear(n_hidden, n_out, init=init)
    layers = [Named("x"), Zeros(n_hidden), Named("h0")]
    for t in range(1, steps + 1):
        layers += [Select("x", t - 1), Concat(f"h{t - 1}"), cell, sigma]
        layers += [Named(f"h{t}")] if t < steps else []
        layers += [output] if every or t == steps else []
        layers += [Named(f"y{t}")] if every and steps > 1 else []
    if every and steps > 1:
        layers += [Select("y1"), Concat([f"y{t}" for t in range(2, steps + 1)])]
    return Network(layers, loss=loss, seed=seed, dtype=dtype, backend=backend, input_shape=(steps, n_in))


def named_activation(what, activation):
    """Return an activation that is given by name or as an object."""
    if isinstance(activation, str):
        return ACTIVATIONS[known_name(what, activation, tuple(ACTIVATIONS))]()
    if getattr(instance(what, activation), "kind", None) != "transfer":
        raise TypeError(f"{what} must be a name or a transfer such as Tanh(), got {shown(activation)}")
    return activation


def load(path: str | os.PathLike[str], backend: str = "numpy", layers: Sequence[type] = ()) -> Network:
    """Read a network that `Network.save` wrote.

    Parameters
    ----------
    path : str or Path
    backend : {"numpy", "cupy"}, default "numpy"
    layers : sequence of classes, optional
        Your own layer or loss classes that the network uses.

    Raises
    ------
    ValueError
        If the file is not a saved network, is damaged, or needs a class that is not known.
    FileNotFoundError
        If there is no file.

    Examples
    --------
    >>> import os, tempfile
    >>> net = ml.mlp([2, 3, 2], seed=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(os.path.join(folder, "net.npz"))
    ...     again = ml.load(os.path.join(folder, "net.npz"))
    >>> again == net
    True
    """
    layers = sequence("load: layers", layers, "classes")
    if not all(map(inspect.isclass, layers)):
        raise TypeError(f"load: layers must be a list of classes, got {shown(layers)}")
    arrays = read_npz(checked_path("load: path", path))
    if "graph" not in arrays:
        hint = "a checkpoint, which fit(…, resume=…) continues" if "seal" in arrays else f"it holds {sorted(arrays)}"
        raise ValueError(f"{path}: not a network saved by minilift ({hint})")
    get_module(backend)  # an unknown backend is no fault of the file
    known = {cls.__name__: cls for cls in layers}
    for module in (maps, joins, convolution, activations, pooling, normalization, losses):
        known = {**{name: cls for name, cls in vars(module).items() if is_part(cls)}, **known}
    try:
        graph = json.loads(str(arrays.pop("graph")))
        parts: list = []
        for item in graph["layers"]:  # a number is the position of an earlier layer that stands here again
            parts.append(parts[item] if isinstance(item, int) else build(item, known))
        check_sizes(parts, arrays, graph["dtype"])
        net = Network(parts, loss=build(graph["loss"], known), dtype=graph["dtype"], backend=backend,
                      input_shape=graph["input_shape"], input_layout=graph["input_layout"])
        net.load_state_dict(arrays)
    except Exception as error:  # a class may raise anything for arguments that make no sense
        raise ValueError(f"{path}: cannot be made into a network, damaged or of classes that are not known "
                         f"({type(error).__name__}: {error}); classes of your own go into layers=[…]") from error
    return net


def check_sizes(layers, arrays, dtype):
    """Raise an error if the arrays of a file are not those of its maps, before memory is allocated for these."""
    wiring = wire(layers)
    for l, phi in enumerate(wiring.phi[1:], start=1):
        array = arrays.get(f"theta_{l}")
        if array is not None and array.shape != phi.theta_shape:
            raise ValueError(f"theta_{l}: {phi!r} expects shape {phi.theta_shape}, got {array.shape}")
    other = [f"{name} has {array.dtype}" for name, array in arrays.items() if array.dtype.name != dtype]
    if other:
        raise ValueError(f"the network's dtype is {dtype}, but {', '.join(other)}")


def is_part(thing):
    """Whether `thing` is the class of a layer or a loss."""
    return inspect.isclass(thing) and issubclass(thing, (Layer, losses.Loss))


def build(description, known):
    """Return the layer of a description [class name, arguments]."""
    name, arguments = description
    cls = known[known_name("load: layer", name, tuple(known))]
    return cls(**{argument: built(value, known) for argument, value in arguments.items()})


def built(value, known):
    """Return an argument, which may contain layers too."""
    if is_thing(value):
        return build(value, known)
    return [built(item, known) for item in value] if isinstance(value, list) else value
