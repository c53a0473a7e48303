r"""Fenchel lifted networks (Gu, Askari, El Ghaoui, AISTATS 2020): both kinds of blocks solved exactly.

The energy is the matching energy, in the authors' form :math:`L_y + \lambda\sum_l B(a_l, \varphi_l)` with
:math:`B(v, u) = v^2 - 2uv + \max(u, 0)^2`, v ≥ 0. It has no factor ½: B is twice the matching loss of a ReLU, so that
μ = 2λ. A call starts from the forward pass and visits, `alternations` times,

.. math:: a_{D-1}, \dots, a_1, \quad\text{then}\quad \theta_1, \dots, \theta_D,

taking the unique argmin each time, in θ_l with the anchor :math:`r\,\|\theta_l - \theta_l^0\|^2` and weight decay.
"""

from __future__ import annotations

from collections.abc import Sequence

from minilift.methods.lifted.descend import activations_then_parameters
from minilift.methods.lifted.matching import MatchingEnergy, MatchingMethod, checked_weights, one_for_each
from minilift.support.arguments import number_between, positive_number, whole_number


class FenchelLifted(MatchingMethod):
    r"""Fenchel lifted networks; `direction` returns θ − θ_new.

    The authors' program has further weights in its steps in a_l, so that these descend a different energy from those in
    θ_l; without the weights, as here, no block raises E plus the anchor. It uses L-BFGS-B for the blocks; here Newton's
    method is used.

    Parameters
    ----------
    lam : float, default 1.0
        Weight λ of all B.
    anchor : float or sequence of float, default 10.0
        Weight r of ‖θ_l − θ_l⁰‖², where θ⁰ is θ before the call: one for all maps, or one for each. Since E is a sum
        over samples, a larger batch needs a larger weight.
    weight_decay : float, default 0.0
        Weight of ‖W_l‖².
    alternations : int, default 1
        Number of passes through the blocks in a call.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: if the network is not a chain of Linear maps with elementwise transfers
        that have a `conjugate`, or if its loss names no transfer.
    ArithmeticError
        On a batch: if Newton's method does not converge.

    Examples
    --------
    >>> net, data = ml.mlp([2, 8, 2], dtype=np.float64), ml.datasets.moons(100)
    >>> method = ml.FenchelLifted()
    >>> history = ml.fit(net, data, method, ml.SGD(lr=1.0), epochs=10, batch_size=None, progress=False)
    >>> [round(loss, 2) for loss in history["train_loss"][::5]]
    [0.78, 0.26, 0.23]
    """

    shown_always = ("lam", "anchor")

    def __init__(self, lam: float = 1.0, anchor: float | Sequence[float] = 10.0, weight_decay: float = 0.0,
                 alternations: int = 1) -> None:
        super().__init__("forward")
        self.lam = positive_number("FenchelLifted: lam", lam)
        self.anchor = checked_weights("FenchelLifted: anchor", anchor)
        self.weight_decay = number_between("FenchelLifted: weight_decay", weight_decay, 0)
        self.alternations = whole_number("FenchelLifted: alternations", alternations)

    def energy(self, net, X, y):
        """Return the matching energy with μ = 2λ."""
        return MatchingEnergy(net, y, 2 * self.lam, self.weight_decay)

    def sweeps_on(self, net):
        """Return `alternations`."""
        return self.alternations

    def schedule(self, energy):
        """Return the blocks of one alternation."""
        net = energy.net
        anchors = one_for_each("FenchelLifted: anchor", self.anchor, net.depth)

        def theta(l, variables):
            return energy.best_theta(l, variables, 2 * anchors[l - 1], net.theta)

        return activations_then_parameters(net, energy.best_a, theta)
