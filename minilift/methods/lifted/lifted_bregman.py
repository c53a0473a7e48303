r"""Lifted Bregman training (Wang, Benning, 2022): no derivative of an activation in any gradient.

The matching loss is the Bregman loss :math:`B_\Psi` of an activation σ = prox_Ψ, with
:math:`F^* = \tfrac12\|\cdot\|^2 + \Psi`. Training is an implicit stochastic gradient method,

.. math:: \theta^{k+1} = \arg\min_\theta \min_a\; E(\theta, a) + \tfrac{1}{2\tau}\|\theta - \theta^k\|^2

on each batch: in alternation, a_{D−1}, …, a_1 take steps of proximal gradient descent, and θ_1, …, θ_D are set to the
argmins of LocoProp-M's problems with targets a_l, all with the anchor θ^k.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from minilift.methods.lifted.descend import activations_then_parameters
from minilift.methods.lifted.matching import MatchingMethod, checked_weights
from minilift.support.arguments import positive_number, whole_number


class LiftedBregman(MatchingMethod):
    r"""Lifted Bregman training; `direction` returns θ − θ_new.

    Parameters
    ----------
    tau : float, default 0.1
        Step size τ of the implicit gradient step. Since E is a sum over samples, a larger batch needs a smaller τ.
    mu : float or sequence of float, default 1.0
        Weights μ_l of the Bregman losses, one for all hidden maps or one for each.
    steps : int, default 5
        Number of proximal gradient steps in each a_l.
    variables : {"forward", "kept"}, default "forward"
        "kept": the lifted values of each sample are kept from call to call, and the batch is always the whole training
        set, ``fit(…, batch_size=None)``. "forward": they start from the forward pass each time, for mini-batches.
        Stored as `memory`; the attribute `variables` is the lifted state.
    sweeps : int, default 1
        Number of alternations between a and θ in a call.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: if the network is not a chain of Linear maps with elementwise transfers
        that have a `conjugate`, if its loss names no transfer, or if the batch has changed while variables are kept.
    ArithmeticError
        On a batch: if Newton's method does not converge in some θ_l.

    Examples
    --------
    >>> net, data = ml.mlp([2, 8, 2], dtype=np.float64), ml.datasets.moons(100)
    >>> method = ml.LiftedBregman()
    >>> history = ml.fit(net, data, method, ml.SGD(lr=1.0), epochs=10, batch_size=None, progress=False)
    >>> [round(loss, 2) for loss in history["train_loss"][::5]]
    [0.78, 0.24, 0.22]
    """

    shown_always = ("tau", "mu")

    def __init__(self, tau: float = 0.1, mu: float | Sequence[float] = 1.0, steps: int = 5,
                 variables: str = "forward", sweeps: int = 1) -> None:
        super().__init__(variables, sweeps)
        self.tau = positive_number("LiftedBregman: tau", tau)
        self.mu = checked_weights("LiftedBregman: mu", mu)
        self.steps = whole_number("LiftedBregman: steps", steps)

    def schedule(self, energy):
        """Return the blocks of one alternation."""
        net = energy.net
        return activations_then_parameters(net, partial(energy.proximal_gradient, steps=self.steps),
                                           partial(energy.best_theta, alpha=1 / self.tau, around=net.theta))
