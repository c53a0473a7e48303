r"""dlADMM (Wang, Yu, Chen, Zhao, KDD 2019): ADMM backward and then forward, with W and a linearised.

On the three-split energy without a_D, with one weight ρ for all penalties and a multiplier u for the gap z_D − φ_D, a
sweep visits

.. math:: z_l,\; b_l,\; W_l,\; a_{l-1} \text{ for } l = D \dots 1, \quad
            W_l,\; b_l,\; z_l,\; a_l \text{ for } l = 1 \dots D, \quad u \leftarrow u + \rho(z_D - \varphi_D).

z and b are argmins. W and a take a gradient step of length 1/α, with the least α = κ 2^m for which the quadratic model
of curvature α bounds E along the step. So no block but u raises E.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from minilift.energy import squared_norm
from minilift.methods.lifted.three_split import ThreeSplit, ThreeSplitMethod
from minilift.optim import as_number
from minilift.support.arguments import boolean, instance_of, positive_number, real_number, sequence

LARGEST_RHO = 0.1  # up to which the schedule lets ρ grow
WIDE = 100  # units of a hidden layer from which the schedule lets κ grow too
OWN = ("rho", "curvature", "losses")  # names of what the schedule keeps


class DLADMM(ThreeSplitMethod):
    r"""Deep learning ADMM; `direction` returns θ − θ_new.

    The authors' program solves the output's block by FISTA with too long a step, so that it can cycle; here Newton's
    method is used. They find m by comparing values of E, which rounding disturbs if ρ is small; since E is quadratic
    along the step, its curvature is compared with α here.

    Parameters
    ----------
    rho : float, default 1e-6
        Weight ρ of the penalties, and the dual step; with a schedule, its initial value.
    schedule : bool, default True
        The program's schedule: when the loss has risen in three calls in a row, ρ is multiplied by ten, up to 0.1, and
        so is κ, without a limit, if a hidden layer has 100 units or more. Stored as `scheduled`. Assigning `rho`,
        `curvature` or `scheduled` restarts it.
    curvature : float, default 1.0
        Least curvature κ, the program's τ and θ; with a schedule, its initial value.
    variables : {"kept", "forward"}, default "kept"
        "kept": the lifted values of each sample are kept from call to call, and the batch is always the whole training
        set, ``fit(…, batch_size=None)``. "forward": they start from the forward pass each time, for mini-batches.
        Stored as `memory`; the attribute `variables` is the lifted state. From a forward pass, u starts at 0.
    sweeps : int, default 1
        Number of passes through all blocks in a call.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: if the network is not a chain of Linear maps with elementwise transfers,
        all increasing or with `pieces`, if its loss has no prox, or if the batch has changed while variables are kept.
    ArithmeticError
        On a batch: if Newton's method does not find the output.

    Examples
    --------
    >>> net, data = ml.mlp([2, 8, 2], dtype=np.float64), ml.datasets.moons(100)
    >>> method = ml.DLADMM(rho=1.0, schedule=False)
    >>> history = ml.fit(net, data, method, ml.SGD(lr=1.0), epochs=10, batch_size=None, progress=False)
    >>> [round(loss, 2) for loss in history["train_loss"][::5]]
    [0.78, 0.3, 0.26]
    """

    shown_always = ("rho", "schedule")

    def __init__(self, rho: float = 1e-6, schedule: bool = True, curvature: float = 1.0, variables: str = "kept",
                 sweeps: int = 1) -> None:
        self.rho, self.curvature, self.scheduled = rho, curvature, boolean("DLADMM: schedule", schedule)
        super().__init__(variables, sweeps)

    def __setattr__(self, name, value):
        """Refuse to replace the method `schedule`; restart the schedule when one of its settings is assigned."""
        if name == "schedule":
            raise AttributeError("DLADMM: assign `scheduled`; `schedule` is a method")
        if name == "scheduled":
            boolean("DLADMM: scheduled", value)
        super().__setattr__(name, positive_number(f"DLADMM: {name}", value) if name in OWN[:2] else value)
        if name in (*OWN[:2], "scheduled") and hasattr(self, "scheduled"):
            self.begin_schedule()

    def settings(self):
        """Return the constructor's arguments; ρ and κ are the initial values, not the present ones."""
        return {"rho": self.rho, "schedule": self.scheduled, "curvature": self.curvature, "variables": self.memory,
                "sweeps": self.sweeps}

    def energy(self, net, X, y):
        """Return the three-split energy without a_D, with a multiplier on the output's gap and the present ρ."""
        return ThreeSplit(net, y, self.rho_now, self.rho_now, split_output=False, multiplier="gap")

    def beginning(self, net, state, y, seen):
        """Return the variables before the first block, after the schedule has seen the loss."""
        variables = super().beginning(net, state, y, seen)  # which refuses another batch, whose loss must not count
        if self.scheduled:
            width = max((phi.n_in for phi in net.phi[2:]), default=0)
            self.look_at(net.loss_function.value(state.z[net.depth], y), width)
        return variables

    def directions(self, net, state, y):
        """Return θ − θ_new for a completed forward pass; if it fails, the schedule is as before."""
        before = self.rho_now, self.curvature_now, self.losses
        try:
            return super().directions(net, state, y)
        except BaseException:
            self.rho_now, self.curvature_now, self.losses = before
            raise

    def look_at(self, loss, width):
        """Record the loss of θ after the previous call, and let ρ and κ grow if it has risen three times."""
        self.losses = [] if self.losses is None else [*self.losses[-3:], loss]  # before the first call there is none
        if len(self.losses) == 4 and self.losses == sorted(set(self.losses)):
            self.rho_now = max(self.rho_now, min(10 * self.rho_now, LARGEST_RHO))
            self.curvature_now *= 10 if width >= WIDE else 1

    def schedule(self, energy):
        """Return the blocks of one sweep, backward and forward, and the dual step."""
        D, weights, values = energy.net.depth, partial(self.step_w, energy), partial(self.step_a, energy)
        for l in range(D, 0, -1):
            yield "z", l, energy.best_z
            yield "theta", l, energy.best_bias
            yield "theta", l, weights
            if l > 1:
                yield "a", l - 1, values
        for l in range(1, D + 1):
            yield "theta", l, weights
            yield "theta", l, energy.best_bias
            yield "z", l, energy.best_z
            if l < D:
                yield "a", l, values
        yield "multiplier", D, partial(self.ascend, energy)

    def step_w(self, energy, l, variables):
        """Return θ_l after a gradient step in W."""
        g = energy.gradient("theta", l, variables)[:-1]
        theta = variables.theta[l].copy()
        theta[:-1] -= g / self.alpha(g, energy.rho * squared_norm(variables.a[l - 1] @ g))  # dlADMM W
        return theta

    def step_a(self, energy, l, variables):
        """Return a_l after a gradient step."""
        g = energy.gradient("a", l, variables)
        curvature = energy.rho * squared_norm(g @ variables.theta[l + 1][:-1]) + energy.gamma * squared_norm(g)
        return variables.a[l] - g / self.alpha(g, curvature)  # dlADMM a

    def alpha(self, g, curvature):
        r"""Return the least α = κ 2^m with α ‖g‖² ≥ ⟨g, ∇²E g⟩: then E falls by at least ‖g‖²/(2α)."""
        alpha, square = self.curvature_now, squared_norm(g)
        while alpha * square < curvature:
            alpha *= 2
        return alpha

    def ascend(self, energy, l, variables):
        """Return u + ρ(z_D − φ_D)."""
        gap = energy.map_gap(l, variables.theta, variables.a, variables.z)
        return variables.multiplier - energy.rho * gap  # dlADMM u

    def begin_schedule(self):
        """Reset ρ and κ to their initial values, and forget the losses."""
        self.rho_now, self.curvature_now, self.losses = self.rho, self.curvature, None

    def reset(self):
        """Forget the lifted values and what the schedule has done."""
        super().reset()
        self.begin_schedule()

    def state_dict(self):
        """Return the lifted values by name, and ρ, κ and the last losses of the schedule."""
        if self.losses is None:
            return super().state_dict()
        own = {"rho": self.rho_now, "curvature": self.curvature_now, "losses": np.array(self.losses, dtype=np.float64)}
        return {**super().state_dict(), **own}

    def load_state_dict(self, values):
        """Take back what `state_dict` returned."""
        instance_of("DLADMM: values", values, Mapping)
        own = {name: as_number(values[name]) for name in OWN if name in values}
        if own and not (self.scheduled and len(own) == len(OWN)):
            raise ValueError(f"DLADMM: expected a state {'with' if self.scheduled else 'without'} the keys "
                             f"{', '.join(OWN)}, got {sorted(values)}")
        rho, curvature = (positive_number(f"DLADMM: {name}", own.get(name, getattr(self, name))) for name in OWN[:2])
        losses = [real_number("DLADMM: losses", x) for x in sequence("DLADMM: losses", own.get("losses", []), "losses")]
        super().load_state_dict({name: values[name] for name in values if name not in own})
        self.rho_now, self.curvature_now, self.losses = rho, curvature, losses if own else None
