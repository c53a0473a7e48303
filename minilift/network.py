r"""The explicit layer graph: maps :math:`\varphi_l` and transfers :math:`\sigma_l`, and the values between them.

.. math:: a_0 = X, \qquad z_l = \varphi_l(\theta_l, a_{\mathrm{in}(l)}), \qquad a_l = \sigma_l(z_l), \qquad
            l = 1 \dots D,

with in(l) = l − 1 unless values are read again by name, and the loss evaluated at z_D. The layers store nothing:
`Network.forward` returns all values as a `State`. Slot 0 of each list is reserved, so that indices in the code are
those of the papers.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minilift.graph import State, check_shapes, common_transfers, in_layout, instance, learning, shape_text, wire
from minilift.layers.activations import Identity
from minilift.layers.losses import Loss, SoftmaxCrossEntropy
from minilift.support.arguments import (
    boolean,
    checked_path,
    fits_in_memory,
    instance_of,
    known_name,
    sequence,
    shown,
    whole_number,
)
from minilift.support.backend import all_finite, finite, first_not_finite, get_module, module_of, real_array, to_numpy
from minilift.support.files import write_npz
from minilift.support.settings import Settings, describe, recipe
from minilift.support.spellings import FixedLength, NoMethod, Wired, guided
from minilift.support.tables import folded, html, padded

DTYPES = ("float32", "float64")
LAYOUTS = ("channels_last", "channels_first", "flat")
WIRED = ("layers", "loss_function", "dtype", "backend")  # what a network is made with, once and for all
EVALUATION_BATCH = 500  # samples in one batch of an evaluation: few enough for memory, enough to be fast


class Thetas(FixedLength):
    """[None, θ_1, …, θ_D] of a network; a value assigned to an entry is checked, cast, and made C-contiguous."""

    def __init__(self, theta, phi, owner, dtype, backend):
        self.phi, self.owner, self.dtype, self.backend = phi, owner, dtype, backend
        theta = sequence("theta", theta, f"entries [None, theta_1, …, theta_{len(phi) - 1}]", len(phi))
        super().__init__([None] * len(phi))
        for l in range(1, len(phi)):
            super().__setitem__(l, self.checked(l, theta[l]) if owner[l] == l else self.shared(l, theta[l]))

    def __setitem__(self, l, theta):
        l = range(len(self))[whole_number("theta: the index of a map", l, least=1 - len(self), most=len(self) - 1)]
        if l == 0:
            raise ValueError("theta[0] must stay None: maps count from 1")
        theta = self.checked(l, theta)
        for other in range(1, len(self)):
            if self.owner[other] == self.owner[l]:
                super().__setitem__(other, theta)

    def shared(self, l, theta):
        """Return the θ that map l shares with an earlier one, or raise an error if another is given."""
        first = self[self.owner[l]]
        if not (theta is None or theta is first or np.array_equal(to_numpy(self.checked(l, theta)), to_numpy(first))):
            raise ValueError(f"theta[{l}]: {self.phi[l]!r} shares the parameters of map {self.owner[l]}, "
                             "but others are given")
        return first

    def checked(self, l, theta):
        """Return θ_l in the network's form, or raise an error that says what is wrong with it."""
        xp, shape = module_of(self.backend), self.phi[l].theta_shape
        if shape is None and theta is None:
            return None
        if shape is None or getattr(theta, "shape", None) != shape:
            raise ValueError(f"theta[{l}]: {self.phi[l]!r} expects shape {shape}, got "
                             f"{getattr(theta, 'shape', shown(theta))}")
        theta = real_array(f"theta[{l}]", theta, self.dtype, xp)
        if not bool(xp.isfinite(theta).all()):
            raise ValueError(f"theta[{l}]: must be finite, but holds NaN or inf")
        return xp.array(theta, order="C")  # a copy: training writes into it


@guided
class Network(Settings):
    r"""A graph of layers, grouped as the papers do: map φ_l, then transfer σ_l (one layer or several).

    A list of maps and transfers is a chain: each layer reads the output of the one before it. A value with a name,
    ``Named("x")``, can be read again by a join further down: ``Add("x")``, ``Concat("x")``, ``Select("x")``. A map
    object in several places has one θ. Joins count as maps, without parameters.

    ``copy.copy``, ``copy.deepcopy`` and ``pickle`` make a network with its own parameters and batch norms. Two
    networks are equal if their settings and all their arrays are equal.

    Parameters
    ----------
    layers : list
        Maps, joins, names and transfers in order; the first and the last must not be transfers (a loss takes the last
        map's output: the cross-entropies hold their own softmax or sigmoid).
    loss : Loss, default ``SoftmaxCrossEntropy()``
        Stored as `loss_function`.
    seed : int, default 0
        Seed of the initial parameters; the network is the same on either backend.
    dtype : {np.float32, np.float64}, default np.float32
        Type of the parameters and all values; inputs are cast once.
    backend : {"numpy", "cupy"}, default "numpy"
    input_shape : tuple, optional
        Shape of one sample as the first map takes it. Only a network that begins with a convolution or a join needs
        it: (H, W, C), the size of its images, or (T, n) for a sequence.
    input_layout : {"channels_last", "channels_first", "flat"}, default "channels_last"
        Layout of input images: (N, H, W, C), (N, C, H, W), or rows (N, H·W·C) in the order (row, column, channel). It
        is never guessed; internally, images have channels last.

    Attributes
    ----------
    layers : list
        The given layers, which cannot be exchanged, nor can loss, dtype and backend; in place of a layer with its own
        parameters (batch norm), a copy that belongs to the network.
    depth : int
        D, the number of maps and joins.
    phi, sigma : list
        [None, φ_1, …, φ_D] and [None, σ_1, …, σ_{D−1}].
    f : list
        [None, f_1, …, f_D], the transfer in map l's local problem: the elementwise activation that directly follows it,
        or the identity if something else follows; for the last map, the transfer inside the loss. None for a map whose
        uses are followed by transfers of several kinds.
    f_inside : list
        As f, but the identity for the last map.
    inputs : list
        For each l, the values that φ_l reads, as indices into a: (l − 1,) on a chain.
    owner : list
        For each l, the first map with the same θ, mostly l itself.
    maps : list of int
        The maps that own a θ: 1 … D on a chain.
    learns, passes_on, shared : list of bool
        For each l, whether value l depends on parameters, whether a value that φ_l reads does (so that the sweep passes
        its signal on), and whether θ_l stands in several places.
    names : dict
        The number of each named value.
    theta : list
        [None, θ_1, …, θ_D]; may be assigned, as a whole or entry by entry. Assigned arrays must be finite and have
        the map's shape. An entry is None for a join; maps that share a θ have the same array.
    parameters : list
        Every trainable array: θ_1, …, θ_D, each once, then scale and shift of each batch norm.

    Raises
    ------
    ValueError, TypeError
        If layers do not fit together, an argument is not as expected, or the parameters cannot fit in memory.

    Examples
    --------
    >>> net = ml.Network([ml.Linear(64, 32), ml.ReLU(), ml.Linear(32, 10)])
    >>> print(net)
    Network: input (N, 64), SoftmaxCrossEntropy(), float32 on numpy
    l  layer           output shape  parameters
    ───────────────────────────────────────────
    1  Linear(64, 32)  (N, 32)            2,080
       ReLU()          (N, 32)
    2  Linear(32, 10)  (N, 10)              330
    ───────────────────────────────────────────
    2,410 parameters
    >>> data = ml.datasets.digits()
    >>> round(net.loss(data.X_train, data.y_train), 1), net.predict(data.X_test).shape
    (2.3, (360,))
    """

    shown_bare, shown_always = ("layers",), ("loss", "dtype")

    def __init__(self, layers: Sequence[Any], loss: Loss | None = None, seed: int = 0, dtype: Any = np.float32,
                 backend: str = "numpy", input_shape: tuple[int, ...] | None = None,
                 input_layout: str = "channels_last") -> None:
        layers = [instance(f"Network: layers[{position}]", layer)
                  for position, layer in enumerate(sequence("Network: layers", layers, "layers"))]
        self.loss_function = instance("Network: loss", SoftmaxCrossEntropy() if loss is None else loss)
        if not isinstance(self.loss_function, Loss):
            raise TypeError("Network: loss must be a loss such as SoftmaxCrossEntropy(), SigmoidCrossEntropy() or "
                            f"SquaredError(), got {shown(loss)}")
        name = np.dtype(dtype).name if isinstance(dtype, (type, np.dtype)) else dtype
        self.dtype = np.dtype(known_name("Network: dtype", name, DTYPES))
        get_module(backend)
        self.backend = backend
        wire(layers)  # raises if something is not a layer
        self.layers = Wired([layer.on_backend(self.xp, self.dtype) for layer in layers])
        self.norms = [layer for layer in self.layers if layer.parameters]
        wiring = wire(self.layers)
        self.phi, self.sigma, self.inputs, self.owner, self.names = wiring
        self.depth, self.learns = len(self.phi) - 1, learning(wiring)
        self.passes_on = [any(self.learns[j] for j in inputs) for inputs in self.inputs]
        uses = Counter(self.owner)
        self.shared = [uses[k] > 1 for k in self.owner]
        self.maps = [l for l in range(1, self.depth + 1) if self.phi[l].kind == "map" and self.owner[l] == l]
        firsts = [sigma.first if sigma.first.elementwise else Identity() for sigma in self.sigma[1:]]
        self.f = common_transfers(wiring, [*firsts, self.loss_function.transfer])
        self.f_inside = common_transfers(wiring, [*firsts, Identity()])
        self.shapes = check_shapes(wiring, input_shape)
        self.phi = [None] + [phi.for_images(*[self.shapes[2 * j] for j in inputs])
                             for phi, inputs in zip(self.phi[1:], self.inputs[1:])]
        self.input_layout = known_name("Network: input_layout", input_layout, LAYOUTS)
        if input_layout != "channels_last" and len(self.shapes[0]) != 3:
            raise ValueError(f"Network: input_layout={input_layout!r} is for images, but {self.phi[1]!r} takes samples "
                             f"of shape {shape_text(self.shapes[0])}")
        fits_in_memory("Network: the parameters of all layers",
                       sum(8 * math.prod(self.phi[l].theta_shape) for l in self.maps))
        rng = np.random.default_rng(whole_number("Network: seed", seed, least=0))
        initial = {l: self.phi[l].initial_theta(rng) for l in self.maps}
        self.theta = [initial.get(l) for l in range(self.depth + 1)]

    def __setattr__(self, name, value):
        """Refuse to exchange what decides how the network is wired, which would have no effect on parts of it."""
        if name == "loss" or (name in WIRED and name in vars(self)):
            raise AttributeError(f"net.{name}: {Wired.hint}")
        super().__setattr__(name, value)

    @property
    def xp(self) -> Any:
        """The array library of the backend."""
        return np if self.backend == "numpy" else module_of(self.backend)

    # ---- parameters

    @property
    def theta(self):
        """[None, θ_1, …, θ_D]."""
        return self._theta

    @theta.setter
    def theta(self, theta):
        self._theta = Thetas(theta, self.phi, self.owner, self.dtype, self.backend)

    @property
    def parameters(self) -> list[Any]:
        """Flat list of every trainable array."""
        return NoMethod([self._theta[l] for l in self.maps] + [norm.scale_shift for norm in self.norms])

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters and running statistics by name, as NumPy arrays."""
        arrays = {f"theta_{l}": self._theta[l] for l in self.maps}
        for k, norm in enumerate(self.norms, start=1):
            arrays |= {f"scale_shift_{k}": norm.scale_shift, f"running_{k}": norm.running}
        return {name: np.array(to_numpy(array), self.dtype) for name, array in arrays.items()}

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Load parameters and running statistics by name, as `state_dict` returns them: all of them or none.

        Raises
        ------
        ValueError, TypeError
            If a name is missing or unknown, or an array has another shape, holds NaN or inf, or is not of real numbers.
            Nothing is changed then.
        """
        arrays = self.checked_state(instance_of("load_state_dict: arrays", arrays, Mapping))
        self.theta = [None] + [arrays.get(f"theta_{l}") for l in range(1, self.depth + 1)]
        for k, norm in enumerate(self.norms, start=1):
            norm.scale_shift, norm.running = arrays[f"scale_shift_{k}"], arrays[f"running_{k}"]

    def checked_state(self, arrays):
        """Return copies of a state's arrays on the backend and in the dtype, or raise an error; change nothing."""
        owners = {f"theta_{l}": self.phi[l] for l in self.maps}
        owners |= {f"{name}_{k}": norm for k, norm in enumerate(self.norms, 1) for name in ("scale_shift", "running")}
        if set(arrays) != set(owners):
            raise ValueError(f"load_state_dict: expected the arrays {list(owners)}, got {sorted(arrays, key=str)}")
        checked = {}
        for name, owner in owners.items():
            array = real_array(f"load_state_dict: {name}", arrays[name], self.dtype, self.xp)
            shape = owner.theta_shape if name.startswith("theta") else getattr(owner, name.rpartition("_")[0]).shape
            if array.shape != shape:
                raise ValueError(f"load_state_dict: {name}: {owner!r} expects shape {shape}, got {array.shape}")
            if not bool(self.xp.isfinite(array).all()):
                raise ValueError(f"load_state_dict: {name} of {owner!r} holds NaN or inf")
            if name.startswith("running") and bool((array[1] < 0).any()):
                raise ValueError(f"load_state_dict: {name}: the variances of {owner!r} must not be negative")
            checked[name] = self.xp.array(array, order="C")  # a copy
        return checked

    # ---- forward

    def forward(self, X: Any, training: bool = False, rng: np.random.Generator | None = None,
                theta: Sequence[Any] | None = None) -> State:
        r"""Run the graph.

        Parameters
        ----------
        X : array (N, …)
            Samples in rows. A NumPy array is moved to the network's backend and cast to its dtype.
        training : bool, default False
            Whether layers that distinguish training from evaluation (dropout, batch norm) run in training mode.
        rng : numpy.random.Generator, optional
            Source of randomness for such layers.
        theta : list, optional
            Parameters to use instead of the network's own.

        Returns
        -------
        State

        Raises
        ------
        ValueError
            If X is empty, does not have the shape that the first layer expects, or holds NaN or inf.
        """
        training = boolean("forward: training", training)
        if rng is not None:
            instance_of("forward: rng", rng, np.random.Generator)
        if theta is not None:
            theta = Thetas(theta, self.phi, self.owner, self.dtype, self.backend)
        return self.propagate(self.checked_input(X), training=training, rng=rng, theta=theta)

    def propagate(self, X, training=False, rng=None, theta=None):
        """Run the graph, as `forward` does, on an X already checked."""
        theta = self._theta if theta is None else theta
        z, a, aux = [None], [X], [None]
        for l in range(1, self.depth + 1):
            z.append(self.phi[l].forward(theta[l], *[a[j] for j in self.inputs[l]]))  # z_l = φ_l(θ_l, a_in(l))
            if l < self.depth:
                a_l, aux_l = self.sigma[l].apply(z[l], training=training, rng=rng)  # a_l = σ_l(z_l)
                a.append(a_l)
                aux.append(aux_l)
        return State(list(theta), z, a, aux)

    def outputs(self, X):
        """Return z_D of all samples of an X already checked."""
        return self.xp.concatenate([z for z, _ in self.in_batches(X)])

    def in_batches(self, X, batch_size=EVALUATION_BATCH):
        """Yield z_D of some samples, and their slice: all other values are held for one batch at a time."""
        for start in range(0, len(X), batch_size):
            part = slice(start, start + batch_size)
            yield self.propagate(X[part]).z[self.depth], part

    def samples(self, state):
        """Return the number of samples of a pass, including those that other ranks hold."""
        return len(state.z[self.depth])

    def total(self, array):
        """Return a quantity that sums over samples for the samples of all ranks; the array may be overwritten."""
        return array

    def commit(self, state):
        """Update the running statistics, which evaluation uses, with the batch statistics of a training pass."""
        for sigma, aux in zip(self.sigma[1:], state.aux[1:]):
            sigma.commit(aux)

    def loss(self, X: Any, y: Any) -> float:
        """Return the loss of samples X for targets y, a float."""
        X, y = self.checked_batch(X, y)
        return self.loss_function.value(self.outputs(X), y)

    def accuracy(self, X: Any, y: Any) -> float:
        """Return the fraction of the samples X whose predicted label is y; for classification losses."""
        if not self.loss_function.classification:
            raise ValueError(f"accuracy: {self.loss_function!r} has no labels; use loss(X, y)")
        X, y = self.checked_batch(X, y)
        return float((self.loss_function.predict(self.outputs(X)) == y).mean())

    def predict(self, X: Any) -> np.ndarray:
        """Return labels (N,) for a classification loss, else the transfer of the outputs (N, n), as a NumPy array."""
        return to_numpy(self.loss_function.predict(self.outputs(self.checked_input(X))))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities, or outputs for squared error, (N, n), as a NumPy array."""
        return to_numpy(self.loss_function.proba(self.outputs(self.checked_input(X))))

    # ---- checks of data

    def to_backend(self, array):
        """Return `array` on the network's backend, cast to its dtype (itself, if nothing has to change)."""
        return real_array("X", array, self.dtype, self.xp)

    def checked_input(self, X):
        """Return X on the network's backend and in its dtype, or raise an error that says what is wrong."""
        X = self.to_backend(X)
        expected = in_layout(self.shapes[0], self.input_layout)
        if X.shape[1:] != expected:
            layouts = [name for name in LAYOUTS
                       if len(self.shapes[0]) == 3 and in_layout(self.shapes[0], name) == X.shape[1:]]
            hint = f"; if these are images with input_layout={layouts[0]!r}, tell the network" if layouts else ""
            raise ValueError(f"X: {self.phi[1]!r} expects samples of shape {shape_text(expected)}, got {X.shape}{hint}")
        if len(X) == 0:
            raise ValueError("X: the batch is empty")
        if not all_finite(X):
            raise ValueError(f"X: the data hold NaN or inf in {self.dtype.name}, first {first_not_finite('X', X)}")
        if self.input_layout == "channels_first":
            X = X.transpose(0, 2, 3, 1)
        return self.xp.ascontiguousarray(X).reshape(len(X), *self.shapes[0])

    def checked_batch(self, X, y):
        """Return X and y on the network's backend, or raise an error that says what is wrong."""
        X = self.checked_input(X)
        n_out = self.shapes[-1][0]
        return X, self.loss_function.check_targets(y, len(X), n_out, self.dtype, self.xp)

    # ---- description, saving and loading

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, except the seed and the backend.

        The seed shows in the parameters, and the network is the same on either backend. `input_shape` is None if
        the first map's number of inputs determines it.
        """
        plain = self.shapes[0] == (getattr(self.phi[1], "n_in", None),)
        return {"layers": self.layers, "loss": self.loss_function, "dtype": self.dtype,
                "input_shape": None if plain else self.shapes[0], "input_layout": self.input_layout}

    def __eq__(self, other):
        same = super().__eq__(other)
        if same is not True:
            return same
        own, arrays = self.state_dict(), other.state_dict()
        return own.keys() == arrays.keys() and all(np.array_equal(own[name], arrays[name]) for name in own)

    __hash__ = Settings.__hash__

    def __str__(self):
        lines = padded(self.rows(), "><<>")
        rule = "─" * max(map(len, lines))
        head, *below = self.captions()
        return "\n".join([head, lines[0], rule, *lines[1:], rule, *below])

    def _repr_html_(self):
        head, *below = self.captions()
        return html(self.rows(), head, below, code=1)

    def rows(self):
        """Return the rows of the table shown by print and in a notebook, header first, repeated groups folded."""
        rows = [("l", "layer", "output shape", "parameters")] + self.rows_of_names(0)
        for l in range(1, self.depth + 1):
            rows.append((str(l), repr(self.phi[l]), shape_text(self.shapes[2 * l - 1]), self.parameters_text(l)))
            if l < self.depth and not (self.phi[l].kind == "join" and isinstance(self.sigma[l], Identity)):
                own = sum(parameter.size for parameter in self.sigma[l].parameters)
                rows.append(("", repr(self.sigma[l]), shape_text(self.shapes[2 * l]), f"{own:,}" if own else ""))
            rows += self.rows_of_names(l)
        return folded(rows)

    def captions(self):
        """Return the line above the table, then those below it."""
        own, total = ", ".join({type(norm).__name__: 0 for norm in self.norms}), sum(p.size for p in self.parameters)
        explicit = [f"{own}: every method takes explicit steps in parameters of transfers"] * bool(own)
        return [f"Network: input {shape_text(in_layout(self.shapes[0], self.input_layout))}, {self.loss_function!r}, "
                f"{self.dtype.name} on {self.backend}", f"{total:,} parameters", *explicit]

    def parameters_text(self, l):
        """Return the table's entry for the parameters of map l: their number, or the map that owns them."""
        if self.phi[l].kind == "join":
            return ""
        return f"{self._theta[l].size:,}" if self.owner[l] == l else f"those of {self.owner[l]}"

    def rows_of_names(self, l):
        """Return the rows of the table that name value l."""
        return [("", f"Named({name!r})", "", "") for name, value in self.names.items() if value == l]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the layers and parameters to an `.npz` file, atomically; `minilift.load` reads it back.

        Raises
        ------
        TypeError
            If a layer does not store a constructor argument, or stores one that a file cannot hold (a function).
        ValueError
            If an array holds NaN or inf, as after divergence, which `minilift.load` would refuse.
        OSError
            If the file cannot be written.
        """
        first = {id(layer): position for position, layer in reversed(list(enumerate(self.layers)))}
        layers = [recipe(layer) if first[id(layer)] == position or layer.kind != "map" else first[id(layer)]
                  for position, layer in enumerate(self.layers)]  # a map already listed, by its position
        graph = describe({**self.settings(), "layers": layers, "loss": recipe(self.loss_function)})
        arrays = {"graph": np.array(json.dumps(graph)), **finite("Network.save", self.state_dict())}
        write_npz(checked_path("Network.save: path", path), arrays)
