r"""Descent on a lifted energy, block by block, as a training method.

A method of this family is an energy E(θ, z, a, u) and a schedule, the order of the blocks. `descend` visits
the blocks; a block's update is a function of all variables that returns the block's new value, mostly the argmin of E,

.. math:: v_k \leftarrow \arg\min_{v_k} E(v_1, \dots, v_k, \dots, v_n).

If the variables of each sample are kept from one call to the next, the batch is the whole training set, always the
same: ``fit(…, batch_size=None)``. If they start from a forward pass each time, any batch will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from minilift.layers.maps import Linear
from minilift.methods.backward.sweep import Method
from minilift.network import Network
from minilift.support.arguments import instance_of, known_name, whole_number
from minilift.support.files import checksum


class Variables(NamedTuple):
    r"""The blocks of a lifted energy, as one value; slot 0 of each list is used as in `State`.

    Attributes
    ----------
    theta : list
        [None, θ_1, …, θ_D].
    z : list
        [None, z_1, …, z_D], or None in an energy without them.
    a : list
        [X, a_1, …, a_{D−1}], and a_D if the energy splits the output from the loss; or None.
    multiplier : array, list or None
        Lagrange multipliers, in an energy that has them.
    """

    theta: list
    z: list | None = None
    a: list | None = None
    multiplier: object = None

    def replaced(self, block, l, value):
        """Return the variables with one block replaced; the lists of `self` stay as they are."""
        if block == "multiplier":
            return self._replace(multiplier=value)
        values = list(getattr(self, block))
        values[l] = value
        return self._replace(**{block: values})


def descend(variables, schedule):
    """Return the variables after all blocks of a schedule have been visited.

    Parameters
    ----------
    variables : Variables
    schedule : iterable of (str, int, callable)
        The block's name ("theta", "z", "a" or "multiplier"), its index l, and ``update(l, variables)``, which returns
        the new value in a new array.
    """
    for block, l, update in schedule:
        variables = variables.replaced(block, l, update(l, variables))
    return variables


def activations_then_parameters(net, activations, parameters):
    """Yield the blocks a_{D−1}, …, a_1 with one update, then θ_1, …, θ_D with another."""
    for l in range(net.depth - 1, 0, -1):
        yield "a", l, activations
    for l in range(1, net.depth + 1):
        yield "theta", l, parameters


class LiftedEnergy:
    """Base class of executable energies: terms by name, their sum, and partial gradients.

    A subclass defines `terms` and `gradient`, and stores the network as `net` and the targets as `y`. The loss of the
    network counts as a *sum* over the samples, as in the papers, whatever the network's reduction.

    Attributes
    ----------
    known : list
        During a sweep, the maps' values that need no product, as [θ_l, a_{l−1}, φ_l]: those of the forward pass, and
        the last one computed. Outside a sweep it is empty, since arrays may then change in place.
    """

    net: Network
    y: object
    known: tuple | list = ()

    def terms(self, variables):
        """Return the terms by name, floats."""
        raise NotImplementedError(f"{type(self).__name__} must define terms(variables)")

    def gradient(self, block, l, variables):
        """Return ∂E in one block, an array of its shape."""
        raise NotImplementedError(f"{type(self).__name__} must define gradient(block, l, variables)")

    def value(self, variables):
        """Return E, a float."""
        return sum(self.terms(variables).values())

    def loss(self, output):
        """Return the loss summed over the samples."""
        return self.net.loss_function.value(output, self.y) / self.net.loss_function.weight(len(output))

    def loss_gradient(self, output):
        """Return the gradient of the summed loss."""
        return self.net.loss_function.gradient(output, self.y) / self.net.loss_function.weight(len(output))


class EnergyMethod(Method):
    """Base class of the methods with an executable energy; a subclass defines ``energy(net, X, y)``.

    Attributes
    ----------
    variables : Variables or None
        The lifted state after the last call.
    """

    columns = ("energy",)
    descends_on_loss = False  # it descends on its energy
    variables: Variables | None = None
    last_energy: LiftedEnergy | None = None

    def energy(self, net, X, y):
        """Return the executable energy of one batch, a `LiftedEnergy`."""
        raise NotImplementedError(f"{type(self).__name__} must define energy(net, X, y)")

    def start(self, net, state):
        """Return the `Variables` of a forward pass."""
        return Variables(list(state.theta), list(state.z), list(state.a))

    def measure(self):
        """Return the energy after the last call, NaN before the first."""
        if self.variables is None or self.last_energy is None:
            return {"energy": float("nan")}
        return {"energy": self.last_energy.value(self.variables)}

    def reset(self):
        """Forget the last call."""
        self.variables, self.last_energy = None, None

    def state_dict(self):
        """Return nothing: the next call does not depend on the last one."""
        return {}


class Lifted(EnergyMethod):
    r"""Base class of the methods that descend on a lifted energy; `direction` returns θ − θ_new.

    ``SGD(lr=1.0)`` then takes exactly their step. A subclass defines ``energy(net, X, y)``, ``schedule(energy)`` and
    ``start(net, state)``.

    Parameters
    ----------
    variables : {"kept", "forward"}, default "kept"
        "kept": the lifted values of each sample are kept from call to call, and the batch is always the same.
        "forward": they start from the forward pass each time, for mini-batches.
    sweeps : int, default 1
        Number of passes through the schedule in a call.

    Attributes
    ----------
    variables : Variables or None
        The lifted state after the last call. If it is kept, it may be assigned before `direction`, to start
        elsewhere than at a forward pass; `fit` begins with `reset`, which forgets it. The constructor's argument of
        this name is stored as `memory`.
    """

    def __init__(self, variables="kept", sweeps=1):
        self.memory = known_name(f"{type(self).__name__}: variables", variables, ("kept", "forward"))
        self.sweeps = whole_number(f"{type(self).__name__}: sweeps", sweeps)
        self.reset()

    @property
    def whole_batch(self):
        """Whether the variables of each sample are kept."""
        return self.memory == "kept"

    def settings(self):
        """Return the constructor's arguments; `variables` is where they start, not their present values."""
        settings = super().settings()
        return {**settings, "variables": self.memory} if "variables" in settings else settings

    def schedule(self, energy):
        """Return the blocks in the order in which one sweep visits them, as `descend` takes them."""
        raise NotImplementedError(f"{type(self).__name__} must define schedule(energy)")

    def sweeps_on(self, net):
        """Return how many sweeps a call takes."""
        return self.sweeps

    def check_network(self, net):
        """Raise an error unless the blocks of this network have the form that the method needs."""
        refuse_all_but_chains(self, net)

    def directions(self, net, state, y):
        """Return θ − θ_new for a completed forward pass, aligned with `net.parameters`."""
        self.check_network(net)
        X, seen = state.a[0], None if self.memory == "forward" else fingerprint(state.a[0], y)
        new = self.beginning(net, state, y, seen)
        energy = self.energy(net, X, y)
        energy.known = [*zip(state.theta[1:], state.a, state.z[1:]), (None, None, None)]
        for _ in range(self.sweeps_on(net)):
            new = descend(new, self.schedule(energy))
        energy.known = ()
        self.variables, self.last_energy, self.data = new, energy, seen
        return [net.theta[l] - new.theta[l] for l in net.maps]

    def beginning(self, net, state, y, seen):
        """Return the variables before the first block, with the network's θ: the kept ones, or the forward pass's.

        `seen` is the `fingerprint` of the batch, if variables are kept.
        """
        if self.memory == "forward" or self.variables is None:
            return self.start(net, state)
        if self.data is not None and seen != self.data:
            raise ValueError(f"{type(self).__name__}: the batch has changed, but lifted values are kept for each "
                             "sample: give the whole training set each time, fit(…, batch_size=None); or call "
                             "reset() to begin anew, or make the method with variables='forward'")
        self.check_rows(len(state.a[0]))
        z, a, multiplier = (on_backend(net.xp, values) for values in self.variables[1:])
        return Variables(list(state.theta), z, a and [state.a[0], *a[1:]], multiplier)

    def check_rows(self, samples):
        """Raise an error unless the lifted values, which may have been assigned, are those of `samples` samples."""
        for name, rows in named(self.variables, len).items():
            if rows != samples:
                raise ValueError(f"{type(self).__name__}: {name} must have {samples} rows, one for each sample, "
                                 f"got {rows}")

    def reset(self):
        """Forget the lifted values: the next call starts from a forward pass."""
        super().reset()
        self.data = None

    def state_dict(self):
        """Return the lifted values by name, and the fingerprint of the data to which they belong."""
        if self.memory == "forward" or self.variables is None:
            return {}
        return {**named(self.variables), "data": np.array(self.data or "")}

    def load_state_dict(self, values):
        """Take back what `state_dict` returned."""
        what = type(self).__name__
        instance_of(f"{what}: values", values, Mapping)
        if not values:
            return self.reset()
        if self.memory == "forward" or "data" not in values:
            raise ValueError(f"{what}: expected {'nothing' if self.memory == 'forward' else 'a state with data'}, "
                             f"got a state with the keys {sorted(values)}")
        lists: dict[str, list] = {"z": [None], "a": [None]}
        rest = {name: values[name] for name in values if name not in ("data", "multiplier")}
        for name, block in lists.items():
            while f"{name}/{len(block)}" in rest:
                block.append(rest.pop(f"{name}/{len(block)}"))
        if rest:
            raise ValueError(f"{what}: expected a state with the keys z/1, …, a/1, …, multiplier and data, "
                             f"got {sorted(rest)}")
        # a_0 is X and is not stored: a network of one map has that a alone
        self.variables = Variables([], lists["z"] if len(lists["z"]) > 1 else None, lists["a"],
                                   values.get("multiplier"))
        self.data, self.last_energy = str(values["data"]) or None, None
        return None

    def check_state(self, net):
        """Raise an error if the kept lifted values belong to another network or to another method."""
        if self.memory == "forward" or self.variables is None:
            return
        sample = net.propagate(net.xp.zeros((1, *net.shapes[0]), net.dtype))
        wanted, kept = (named(variables, form) for variables in (self.start(net, sample), self.variables))
        for name in {**wanted, **kept}:
            if wanted.get(name) != kept.get(name):
                raise ValueError(f"{type(self).__name__}: {name} must be {wanted.get(name, 'absent')} here, "
                                 f"got {kept.get(name, 'nothing')}; reset() forgets what is kept")


def named(variables, of=lambda value: value):
    """Return {name: of(value)} for all lifted values: z/1, …, a/1, … and multiplier."""
    values = {f"{name}/{l}": of(value) for name in ("z", "a") for l, value in enumerate(getattr(variables, name) or ())
              if l and value is not None}
    return values if variables.multiplier is None else {**values, "multiplier": of(variables.multiplier)}


def form(value):
    """Return, in words, what a lifted value has in common with that of any other batch."""
    if not hasattr(value, "shape"):
        return f"a {type(value).__name__}"
    return f"rows of shape {value.shape[1:]} and dtype {value.dtype}"


def on_backend(xp, values):
    """Return the arrays of a checkpoint as those of a network's backend; others stay as they are."""
    if isinstance(values, list):
        return [None if value is None else xp.asarray(value) for value in values]
    return None if values is None else xp.asarray(values)


def fingerprint(X, y):
    """Return a string that tells one batch from another: a shape and a checksum."""
    return f"{X.shape} {checksum(X, y):08x}"


def refuse_all_but_chains(method, net):
    """Raise an error unless a network is a chain of `Linear` maps with elementwise transfers."""
    for l in range(1, net.depth + 1):
        phi, sigma = net.phi[l], net.sigma[l] if l < net.depth else None
        if not isinstance(phi, Linear) or net.owner[l] != l or net.inputs[l] != (l - 1,):
            raise ValueError(f"{type(method).__name__}: expects a chain of Linear maps, each with its own θ; "
                             f"map {l} is {phi!r}, with inputs {net.inputs[l]} and θ of map {net.owner[l]}")
        if sigma is not None and not sigma.elementwise:
            raise ValueError(f"{type(method).__name__}: expects elementwise transfers; after map {l} stands "
                             f"{sigma!r}")
        if sigma is not None and len(sigma.parameters):
            raise ValueError(f"{type(method).__name__}: expects transfers without parameters of their own, for which "
                             f"it has no direction; after map {l} stands {sigma!r}")
