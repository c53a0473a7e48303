r"""LocoProp (Amid, Anil, Warmuth, AISTATS 2022): each map fits a local target by a local loss.

With γ the activation learning rate, f the transfer after the map, F' = f, and the same old parameters for all
maps, the local problems of map l are

.. math:: \text{S:}\quad \min_\theta \tfrac12\|\tilde a\theta - (z_l - \gamma g_l)\|^2
            + \tfrac{1}{2\eta}\|\theta - \theta_l\|^2

.. math:: \text{M:}\quad \min_\theta \sum F(\tilde a\theta) - \langle f(z_l) - \gamma g_l,\, \tilde a\theta\rangle
            + \tfrac{1}{2\eta}\|\theta - \theta_l\|^2

The authors' program takes T local steps without the regulariser (``eta=None``), which their stated objective has. The
first local step of either is a BackProp step of rate local_lr · γ. The exact minimiser of S is ProxProp's step with
τ = γ and τ_θ = η, on every map.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minilift.energy import Block, local
from minilift.local.problems import MatchingLoss, SquaredGap
from minilift.local.solvers import NoMinimiserError, exact, gradient_steps
from minilift.methods.backward.sweep import Method, one_transfer
from minilift.optim import Adam, HeavyBall, Nesterov, Optimizer, RMSProp, as_number
from minilift.support.arguments import (
    boolean,
    function,
    instance_of,
    known_name,
    number_between,
    positive_number,
    whole_number,
)
from minilift.support.settings import arguments_of

# momentum and the constants of "rmsprop" are those of the authors' notebook; the rate is passed with each step
LOCAL_OPTIMIZERS = {
    "momentum": HeavyBall(lr=1.0, momentum=0.9),
    "nesterov": Nesterov(lr=1.0, momentum=0.9),
    "adam": Adam(lr=1.0),
    "rmsprop": RMSProp(lr=1.0, rho=0.9, eps=1e-5, momentum=0.999, form="tf1"),
}


class LocoProp(Method):
    r"""Local losses; `direction` returns θ − θ_new, so that ``SGD(lr=1.0)`` takes exactly the method's step.

    Parameters
    ----------
    variant : {"M", "S"}, default "M"
        Matching loss or squared loss. On the last map M uses the matching loss of the transfer inside the network's
        loss (softmax, sigmoid). A map before a join that ends the network, such as the output map of
        ``rnn(…, outputs="every")``, counts as a hidden one, with the identity for f.
    gamma : float, default 10.0
        Activation learning rate γ of the targets; the default is the authors' value.
    steps : int or "exact", default 10
        T local steps, or the minimiser: S in closed form, M, where f must be increasing, by Newton's method in float64
        until the gradient has fallen to 1e-10 of its start, or to its rounding. Without eta, the step of least norm
        among several minimisers.
    local_lr : float or schedule, default 1e-5
        Rate of the local steps (the authors' for "rmsprop"); a schedule is a function of the epoch.
    local_optimizer : {"rmsprop", "sgd", "momentum", "nesterov", "adam"} or Optimizer, default "rmsprop"
        "sgd" takes plain steps, in sample space where that is cheaper. The others rescale entries of θ or carry a
        velocity from batch to batch, so they work on θ itself; each map keeps its own state, which is forgotten
        when another optimizer is assigned. "rmsprop" is TF1's with the notebook's constants. An optimizer given as an
        object is copied for each map, without its state; its own lr, or its schedule, multiplies `local_lr`.
    decay : bool, default True
        Whether the local rate is multiplied by max(1 − t/T, ¼) in step t = 0, …, T − 1.
    eta : float, optional
        η of the regulariser ‖θ − θ_l‖²/(2η); None for no regulariser, as in the authors' program. The exact S needs it.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: if an unregularised exact M has no lower bound, because a target lies
        outside the closure of the range of f and the others do not hold it back; if unregularised exact steps meet a
        batch norm; if M meets a map whose uses are followed by several f, or a loss that names none.
    NotImplementedError
        On a batch: if an exact M meets a transfer without `integral`.
    ArithmeticError
        On a batch: if Newton's method does not reach its tolerance or meets values that are not finite, or an
        unregularised exact M is bounded below, but has no minimiser: if a target is an end of the range that f does
        not reach, such as a one-hot label of softmax.

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10], dtype=np.float64), ml.datasets.digits()
    >>> locoprop = ml.LocoProp("S", gamma=1.0, steps="exact", eta=0.1)
    >>> proxprop = ml.ProxProp(tau_theta=0.1, last="implicit")
    >>> d, e = (method.direction(net, data.X_train, data.y_train)[1] for method in (locoprop, proxprop))
    >>> np.allclose(d[0], e[0])  # its squared variant, solved exactly, is ProxProp
    True
    """

    shown_bare, shown_always = ("variant",), ("variant", "gamma", "steps", "eta")

    def __init__(self, variant: str = "M", gamma: float = 10.0, steps: int | str = 10,
                 local_lr: float | Callable[[int], float] = 1e-5, local_optimizer: str | Optimizer = "rmsprop",
                 decay: bool = True, eta: float | None = None) -> None:
        self.variant = known_name("LocoProp: variant", variant, ("S", "M"))
        self.gamma = positive_number("LocoProp: gamma", gamma)
        self.steps = steps if isinstance(steps, str) and steps == "exact" else whole_number("LocoProp: steps", steps)
        self.local_lr = (function("LocoProp: local_lr", local_lr, "the epoch") if callable(local_lr)
                         else positive_number("LocoProp: local_lr", local_lr))
        self.local_optimizer = local_optimizer
        self.decay = boolean("LocoProp: decay", decay)
        self.eta = None if eta is None else positive_number("LocoProp: eta", eta)
        if self.steps == "exact" and self.variant == "S" and eta is None:
            raise ValueError("LocoProp: variant='S' with steps='exact' needs eta: without a regulariser the minimiser "
                             "is not unique")
        self.reset()

    def __setattr__(self, name, value):
        """Forget the local optimizers' states when another one is assigned, or exact steps, which use none."""
        if name == "local_optimizer" and not isinstance(value, Optimizer):
            known_name("LocoProp: local_optimizer", value, ("sgd", *LOCAL_OPTIMIZERS))
        if name == "local_optimizer" or (name, value) == ("steps", "exact"):
            self.optimizers: dict[int, Optimizer] = {}
        super().__setattr__(name, value)

    @property
    def by_rows(self):
        """Whether ranks may keep their own rows; not for the exact M, where Newton's method needs those of all."""
        return self.variant == "S" or self.steps != "exact"

    @property
    def damping(self):
        """1/η, or 0 without a regulariser."""
        return 0.0 if self.eta is None else 1 / self.eta

    def direction(self, net, X, y, rng=None, commit=False):
        """Return the loss and the directions of one batch; if this fails, the local optimizers are as before."""
        before = copy.deepcopy(self.optimizers)
        try:
            return super().direction(net, X, y, rng, commit)
        except BaseException:
            self.optimizers = before
            raise

    def propose(self, block: Block) -> Any:
        """Return θ_l − θ_l^new of one local problem."""
        if self.steps != "exact" and self.local_optimizer != "sgd":
            return self.optimizer_steps(block)
        if self.steps != "exact":
            side = cheap_side(block) if self.variant == "M" else None
            return gradient_steps(self.problem(block, side), self.rates()).value
        problem = self.problem(block)
        try:
            return exact(problem).value
        except NoMinimiserError as error:
            self.refuse_unbounded(problem.gap, block)
            raise NoMinimiserError(f"LocoProp: map {block.l}: {error}; give eta, or use a smaller gamma") from error
        except ArithmeticError as error:
            more = f"a smaller eta (now {self.eta:g})" if self.eta else "eta"
            raise ArithmeticError(f"LocoProp: map {block.l}: {error}; give {more}, or a smaller gamma") from error

    def problem(self, block, side=None):
        """Return the `LocalProblem` of one block, by whose objective a solution can be judged."""
        return local(block, self.gap(block, block.phi.columns), self.damping, side)

    def gap(self, block, form=lambda values: values):
        """Return the gap with target z − γg (S) or f(z) − γg (M), for z and g in a form such as `Map.columns`."""
        z = form(block.z)
        signal = self.gamma * form(block.g)  # LocoProp-S, LocoProp-M
        if self.variant == "S":
            return SquaredGap(z, signal)  # LocoProp-S
        return MatchingLoss(one_transfer("LocoProp", block, block.f), z, signal)  # LocoProp-M

    def rates(self):
        """Return the local rate of each of the T steps in this epoch."""
        rate = self.local_lr(self.epoch) if callable(self.local_lr) else self.local_lr
        rate = number_between(f"LocoProp: local_lr({self.epoch})", rate, 0)
        return [rate * scale for scale in decay_scales(self.steps, self.decay)]

    def optimizer_steps(self, block):
        """Return θ_l − θ_l^new after T steps of the local optimizer on θ itself."""
        optimizer, damping = self.optimizer_of(block.k), self.damping
        gap = self.gap(block)
        theta, of_z = block.theta.copy(), gap.signal  # ∇h at z_l
        for t, rate in enumerate(self.rates()):
            gradient = block.phi.adjoint_theta(block.a, of_z)
            if damping and t > 0:
                gradient += damping * (theta - block.theta)
            optimizer.step([theta], [gradient], scale=rate)
            if t < self.steps - 1:
                of_z = gap.gradient(block.phi.forward(theta, block.a))
        return block.theta - theta

    def explicit_step(self, block):
        """Return T local steps along γ times the gradient, held fixed; for exact steps, γη times the gradient."""
        if self.steps == "exact" and self.eta is None:
            raise ValueError("LocoProp: exact steps without a regulariser give no rate for the scale and shift of a "
                             "batch norm; give eta")
        if self.steps == "exact":
            return (self.gamma * self.eta) * block.gradient
        if self.local_optimizer == "sgd":
            return (self.gamma * sum(self.rates())) * block.gradient
        theta, optimizer = block.theta.copy(), self.optimizer_of(block.k)
        for rate in self.rates():
            optimizer.step([theta], [self.gamma * block.gradient], scale=rate)
        return block.theta - theta

    def optimizer_of(self, k):
        """Return the local optimizer for number k of `Network.parameters`, made on first use.

        It follows the settings of the given optimizer, which may be reassigned.
        """
        if k not in self.optimizers:
            self.optimizers[k] = self.new_optimizer()
        given, optimizer = self.given_optimizer(), self.optimizers[k]
        vars(optimizer).update({name: vars(given)[name] for name in arguments_of(type(given)) if name in vars(given)})
        return optimizer

    def given_optimizer(self):
        """Return the given optimizer, whether given as an object or by name."""
        return LOCAL_OPTIMIZERS.get(self.local_optimizer, self.local_optimizer)

    def new_optimizer(self):
        """Return a local optimizer that has taken no step."""
        optimizer = copy.deepcopy(self.given_optimizer())
        optimizer.reset()  # one that was given may have been at work elsewhere
        optimizer.start_epoch(self.epoch)
        return optimizer

    def refuse_unbounded(self, gap, block):
        """Raise an error if a target is outside the range of f beyond rounding: the loss then has no lower bound."""
        if not gap.f.in_range(gap.target, 8 * np.finfo(gap.target.dtype).eps * max(1.0, float(abs(gap.signal).max()))):
            raise ValueError(f"LocoProp: a target of map {block.l} lies outside the closure of the range of "
                             f"{gap.f!r}, where the unregularised matching loss has no lower bound; give eta, use a "
                             f"smaller gamma (now {self.gamma:g}), or take finitely many steps")

    def start_epoch(self, epoch: int) -> None:
        """Note the epoch, for a schedule of the local rate."""
        self.epoch = whole_number("LocoProp: epoch", epoch, least=0)
        for optimizer in self.optimizers.values():
            optimizer.start_epoch(epoch)

    def reset(self) -> None:
        """Forget the local optimizers' states and the epoch."""
        self.optimizers, self.epoch = {}, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, and the local optimizers' states by map."""
        return {"epoch": self.epoch, **{f"{l}/{name}": value for l, optimizer in self.optimizers.items()
                                        for name, value in optimizer.state_dict().items()}}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned: all of it or, if something is wrong with it, nothing."""
        instance_of("LocoProp: values", values, Mapping)
        states: dict[Any, dict[str, Any]] = {}
        by_map = self.steps != "exact" and self.local_optimizer != "sgd"
        for name in values:
            l, _, rest = str(name).partition("/")
            if by_map and l.isdecimal() and l == str(int(l)):
                states.setdefault(int(l), {})[rest] = values[name]
            elif name != "epoch":
                raise ValueError(f"LocoProp: expected a state with the keys epoch{', 1/…, 2/…' * by_map}, got {name!r}")
        if "epoch" not in values:
            raise ValueError(f"LocoProp: expected a state with the key epoch, got {list(values)}")
        epoch = whole_number("LocoProp: epoch", as_number(values["epoch"]), least=0)
        optimizers = {l: self.new_optimizer() for l in states}
        for l, optimizer in optimizers.items():
            try:
                optimizer.load_state_dict(states[l])
                optimizer.start_epoch(epoch)
            except (ValueError, TypeError) as error:
                raise type(error)(f"LocoProp: local optimizer {l}: {error}") from error
        self.optimizers, self.epoch = optimizers, epoch

    def check_state(self, net):
        """Raise a `ValueError` if the local optimizers have been at work on another network."""
        if self.optimizers and set(self.optimizers) != set(range(1, len(net.parameters) + 1)):
            raise ValueError(f"LocoProp: expected local optimizers of {len(net.parameters)} parameters, "
                             f"got those of {sorted(self.optimizers)}; call reset() to start anew")
        for l, optimizer in self.optimizers.items():
            optimizer.check_fits(net.parameters[l - 1:l])


def cheap_side(block):
    """Return the side on which plain local steps of M cost less: 2 N² or 4 N n_in products per unit and step."""
    rows, n_in = block.phi.height(block.z), len(block.theta) - 1
    return "sample" if rows <= 2 * n_in else "parameter"


def decay_scales(steps, decay):
    """Return max(1 − t/T, ¼) for t = 0, …, T − 1, or ones."""
    return [max(1 - t / steps, 0.25) if decay else 1.0 for t in range(steps)]
