r"""Proximal Backpropagation (Frerix, Möllenhoff, Moeller, Cremers, ICLR 2018): implicit steps in the weights.

Algorithm 2 replaces the explicit step in θ_l of block-wise descent by

.. math:: \theta_l^{k+1} = \arg\min_\theta \tfrac12\|\varphi(\theta, a_{l-1}) - z_l^{½}\|^2
            + \tfrac{1}{2\tau_\theta}\|\theta - \theta_l^k\|^2, \qquad z_l^{½} = z_l - \tau g_l \quad (11)

on the hidden maps, which by Proposition 2 is :math:`\theta_l^k - \tau d_l` with
:math:`d_l = (\tilde a^T\tilde a + I/\tau_\theta)^{-1}\nabla_{\theta_l}J` (13). So the method supplies directions d,
independent of the step size τ, to any first-order optimizer. The loss is averaged over the batch; ãᵀã is a sum.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from minilift.energy import Block, local
from minilift.local.problems import SquaredGap
from minilift.local.solvers import conjugate_gradients, exact
from minilift.methods.backward.sweep import Method, sweep, training_pass
from minilift.network import Network
from minilift.support.arguments import boolean, known_name, positive_number, sequence, unknown_name, whole_number


class ProxProp(Method):
    r"""Implicit steps in the weights; `direction` returns :math:`M_l^{-1}\nabla_{\theta_l}J`.

    Parameters
    ----------
    tau_theta : float or sequence of floats, default 1.0
        Step size τ_θ of the proximal step, for the network or for each θ in the order of `Network.parameters` (D of
        them on a chain, the last of which an explicit step does not use); the damping of its normal equations is 1/τ_θ.
        As τ_θ → 0 the direction tends to τ_θ ∇J; the paper uses 1 and 0.05.
    solver : str, default "exact"
        "exact" factorises the normal equations; "cgK" (such as "cg3") takes K steps of conjugate gradients; any
        number of them gives a descent direction (Prop. 5).
    last : {"explicit", "implicit"}, default "explicit"
        The last map takes the gradient step (12), as in the paper, or the same implicit step as the others (with
        squared error on one linear map: Levenberg–Marquardt). A map always takes the implicit step if it stands before
        a join that ends the network, as the output map of ``rnn(…, outputs="every")`` does, or if it shares its θ.
    joint : bool, default False
        For "cgK": one step length for all output units of a map instead of one for each.

    Raises
    ------
    ValueError, TypeError
        If τ_θ is not positive, a name is unknown or K is not a whole number of at least 1. On a batch: if there are
        several τ_θ, but not one for each θ.

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10], dtype=np.float64), ml.datasets.digits()
    >>> _, gradient = ml.BackProp().direction(net, data.X_train, data.y_train)
    >>> _, d = ml.ProxProp(tau_theta=0.1).direction(net, data.X_train, data.y_train)
    >>> A = np.c_[data.X_train, np.ones(1437)].astype(np.float64)
    >>> M = A.T @ A + np.eye(65) / 0.1
    >>> np.allclose(M @ d[0], gradient[0]), np.array_equal(d[1], gradient[1])  # implicit, and explicit on the last map
    (True, True)
    """

    shown_always = ("tau_theta", "solver")
    by_rows = True

    def __init__(self, tau_theta: float | Sequence[float] = 1.0, solver: str = "exact", last: str = "explicit",
                 joint: bool = False) -> None:
        several = isinstance(tau_theta, (list, tuple, np.ndarray))
        values = sequence("ProxProp: tau_theta", tau_theta, "numbers") if several else [tau_theta]
        if not values:
            raise ValueError("ProxProp: tau_theta must be a positive number or one for each map, got none")
        values = [positive_number(f"ProxProp: tau_theta[{l}]" if several else "ProxProp: tau_theta", value)
                  for l, value in enumerate(values, start=1)]
        self.tau_theta = values if several else values[0]
        cg_steps(solver)  # raises if invalid
        self.solver = solver
        self.last = known_name("ProxProp: last", last, ("explicit", "implicit"))
        self.joint = boolean("ProxProp: joint", joint)

    def propose(self, block: Block) -> Any:
        r"""Return the explicit step on the last map, :math:`M^{-1}\nabla J` on the others."""
        if block.last and self.last == "explicit":
            return block.phi.adjoint_theta(block.a, block.g)  # ProxProp (12)
        return self.solve(block).value

    def solve(self, block):
        r"""Return the `Solution` of the proximal step (11) of one block, divided by τ."""
        gap = SquaredGap(block.phi.columns(block.z), block.phi.columns(block.g))
        damping = 1 / self.step_size(block)  # ProxProp (11)
        problem = local(block, gap, damping)
        if self.solver == "exact":
            return exact(problem)  # ProxProp (13), Prop. 2, Prop. 3, Prop. 4
        return conjugate_gradients(  # ProxProp (14), Prop. 5
            problem.gram, gap.signal, damping, cg_steps(self.solver), self.joint)

    def step_size(self, block):
        """Return τ_θ of one map."""
        if not isinstance(self.tau_theta, (list, tuple, np.ndarray)):
            return self.tau_theta
        if len(self.tau_theta) != block.thetas:
            raise ValueError(f"ProxProp: tau_theta: expected one value or one for each of the {block.thetas} maps, "
                             f"got {len(self.tau_theta)}")
        return self.tau_theta[block.k - 1]

    def residuals(self, net: Network, X: Any, y: Any, rng: np.random.Generator | None = None) -> list[Any]:
        r"""Return [None, r_1, …, r_D]: the relative residual of (13) for each output unit of each implicit map.

        An entry is None where the step is explicit. It is what remains after K steps of conjugate gradients, for
        plotting. Arguments are those of `direction`.
        """
        y, state = training_pass("residuals", net, X, y, rng)
        residuals = [None] * (net.depth + 1)

        def record(block):
            if not (block.last and self.last == "explicit"):
                residuals[block.l] = self.solve(block).residual

        list(sweep(net, state, y, record))
        return residuals


def cg_steps(solver):
    """Return K of "cgK", or None for "exact"."""
    match = re.fullmatch(r"exact|cg([0-9]{1,9})", solver) if isinstance(solver, str) else None
    if match is None:
        raise unknown_name("ProxProp: solver", solver, ("exact", "cg1", "cg3", "cg5", "cg10"))
    return None if match[1] is None else whole_number("ProxProp: the K of solver='cgK'", int(match[1]))
