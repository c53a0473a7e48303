r"""MAC, the method of auxiliary coordinates (Carreira-Perpiñán, Wang, AISTATS 2014), as a quadratic penalty.

On the two-split energy with σ outside the map,

.. math:: L_y(\varphi(\theta_D, a_{D-1})) + \sum_{l<D} \tfrac{\mu}{2}\|a_l - \sigma(\varphi(\theta_l, a_{l-1}))\|^2,

the values separate into samples and the parameters into units. A sweep visits a_{D−1}, …, a_1, by Gauss–Newton
steps for each sample, then θ_1, …, θ_D: for a hidden map, SIBP's local problem for each unit, with the target a_l
instead of a step along the signal; for the last map, the convex problem of the loss. No block raises the energy. From
call to call μ rises: as μ → ∞ the values tend to those of the forward pass, and the energy to the loss.

The authors solve for all values of a sample at once; here one layer is solved at a time, which keeps systems small.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from minilift.methods.lifted.descend import Lifted, activations_then_parameters
from minilift.methods.lifted.two_split import TwoSplit
from minilift.support.arguments import instance_of, number_between, positive_number, whole_number


class MAC(Lifted):
    r"""The method of auxiliary coordinates; `direction` returns θ − θ_new.

    Parameters
    ----------
    mu : float, default 1.0
        Weight μ of the penalties in the first call, or in the next one after it is assigned. The loss counts as a sum
        over the samples.
    growth : float, optional
        Factor of μ from call to call, at least 1. By default 1.05 if variables are kept; 1 if they start from a
        forward pass, since 1/μ is then a step size, and nothing has to converge from call to call.
    mu_max : float, default 1000.0
        The value at which μ stops rising.
    alpha : float, default 1.0
        Weight α > 0 of a prox term α/2 ‖θ − θ_old‖², without which the last map's problem may have no minimiser.
    theta_steps : int, default 5
        Number of Fletcher–Reeves steps in each hidden θ_l.
    a_steps : int, default 1
        Number of Gauss–Newton steps in each a_l.
    variables : {"kept", "forward"}, default "kept"
        "kept": the lifted values of each sample are kept from call to call, and the batch is always the whole training
        set, ``fit(…, batch_size=None)``. "forward": they start from the forward pass each time, for mini-batches.
        Stored as `memory`; the attribute `variables` is the lifted state.
    sweeps : int, default 1
        Number of passes through all blocks in a call.

    Attributes
    ----------
    weight : float
        μ of the next call.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: if the network is not a chain of Linear maps with elementwise transfers,
        if its loss names no transfer, or if the batch has changed while variables are kept.
    ArithmeticError
        On a batch: if Newton's method does not reach its tolerance in the last map, where a larger α helps.

    Examples
    --------
    >>> net, data = ml.mlp([2, 8, 2], dtype=np.float64), ml.datasets.moons(100)
    >>> method = ml.MAC()
    >>> history = ml.fit(net, data, method, ml.SGD(lr=1.0), epochs=10, batch_size=None, progress=False)
    >>> [round(loss, 2) for loss in history["train_loss"][::5]]
    [0.78, 0.19, 0.17]
    """

    shown_always = ("mu", "alpha")

    def __init__(self, mu: float = 1.0, growth: float | None = None, mu_max: float = 1000.0, alpha: float = 1.0,
                 theta_steps: int = 5, a_steps: int = 1, variables: str = "kept", sweeps: int = 1) -> None:
        self.mu = mu
        self.growth = growth if growth is None else number_between("MAC: growth", growth, 1)
        self.mu_max = positive_number("MAC: mu_max", mu_max)
        self.alpha = positive_number("MAC: alpha", alpha)
        self.theta_steps = whole_number("MAC: theta_steps", theta_steps)
        self.a_steps = whole_number("MAC: a_steps", a_steps)
        super().__init__(variables, sweeps)

    def __setattr__(self, name, value):
        """Use a newly assigned μ in the next call."""
        if name == "mu":
            self.weight = positive_number("MAC: mu", value)
        super().__setattr__(name, value)

    def energy(self, net, X, y):
        """Return the two-split energy with the μ of the next call."""
        return TwoSplit(net, y, self.weight)

    def start(self, net, state):
        """Return the values of the forward pass."""
        return TwoSplit(net, None).start(state)

    def schedule(self, energy):
        """Return the blocks of one sweep: the values backwards, then the parameters, which are independent."""
        return activations_then_parameters(
            energy.net, partial(energy.lowered_a, steps=self.a_steps),
            partial(energy.lowered_theta, alpha=self.alpha, steps=self.theta_steps))

    def check_network(self, net):
        """Raise an error unless the network is a chain of Linear maps, and its loss names a transfer."""
        super().check_network(net)
        net.loss_function.transfer_for("MAC: the last map")

    def directions(self, net, state, y):
        """Return θ − θ_new for a completed forward pass; then raise μ."""
        directions = super().directions(net, state, y)
        growth = self.growth or (1.05 if self.memory == "kept" else 1.0)
        self.weight = max(self.weight, min(growth * self.weight, self.mu_max))
        return directions

    def reset(self):
        """Forget the lifted values, and go back to the first μ."""
        super().reset()
        self.weight = self.mu

    def state_dict(self):
        """Return what `Lifted` keeps, and μ of the next call."""
        return {**super().state_dict(), "mu": self.weight}

    def load_state_dict(self, values):
        """Take back what `state_dict` returned: all of it or, if something is wrong with it, nothing."""
        instance_of("MAC: values", values, Mapping)
        rest = {name: value for name, value in values.items() if name != "mu"}
        if "mu" not in values:
            raise ValueError(f"MAC: expected a state with the key mu, got {sorted(values)}")
        weight = positive_number("MAC: mu", float(values["mu"]))
        super().load_state_dict(rest)
        self.weight = weight
