r"""Lifted proximal operator machine (Li, Fang, Lin, AAAI 2019): activations by fixed point iterations.

On the matching energy, whose blocks are convex, a_{D−1}, …, a_1 each take steps of

.. math:: a_l \leftarrow \sigma(\varphi_l - \tfrac{\mu_{l+1}}{\mu_l}\,(\sigma(\varphi_{l+1}) - a_{l+1})\,W_{l+1}^T),

and then θ_1, …, θ_D are set to the argmins of LocoProp-M's problems with targets a_l. The iteration in a_l contracts,
and then does not raise E, if :math:`\rho = \tfrac{\mu_{l+1}}{\mu_l}\|W_{l+1}\|_2^2 < 1` and σ has Lipschitz constant
at most 1; if ρ is larger, the step is shortened.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from minilift.methods.lifted.descend import activations_then_parameters
from minilift.methods.lifted.matching import MatchingMethod, checked_weights
from minilift.support.arguments import positive_number, whole_number


class LPOM(MatchingMethod):
    r"""Lifted proximal operator machine; `direction` returns θ − θ_new.

    The paper has the output as one more variable, and no anchor. Here the loss takes the last map's value itself, and
    the anchor makes the argmin in θ_l unique, since a few samples do not determine it.

    Parameters
    ----------
    mu : float or sequence of float, default 1.0
        Weights μ_l of the matching losses, one for all hidden maps or one for each.
    tau : float, default 0.1
        Step size τ of the anchor 1/(2τ) ‖θ_l − θ_l^old‖². Since E is a sum over samples, a larger batch needs a smaller
        τ.
    steps : int, default 5
        Number of fixed point iterations in each a_l.
    variables : {"kept", "forward"}, default "kept"
        "kept": the lifted values of each sample are kept from call to call, and the batch is always the whole training
        set, ``fit(…, batch_size=None)``. "forward": they start from the forward pass each time, for mini-batches.
        Stored as `memory`; the attribute `variables` is the lifted state.
    sweeps : int, default 1
        Number of passes through all blocks in a call.

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
    >>> method = ml.LPOM()
    >>> history = ml.fit(net, data, method, ml.SGD(lr=1.0), epochs=10, batch_size=None, progress=False)
    >>> [round(loss, 2) for loss in history["train_loss"][::5]]
    [0.78, 0.24, 0.24]
    """

    shown_always = ("mu", "tau")

    def __init__(self, mu: float | Sequence[float] = 1.0, tau: float = 0.1, steps: int = 5, variables: str = "kept",
                 sweeps: int = 1) -> None:
        super().__init__(variables, sweeps)
        self.mu = checked_weights("LPOM: mu", mu)
        self.tau = positive_number("LPOM: tau", tau)
        self.steps = whole_number("LPOM: steps", steps)

    def schedule(self, energy):
        """Return the blocks of one sweep."""
        return activations_then_parameters(energy.net, partial(energy.fixed_point, steps=self.steps),
                                           partial(energy.best_theta, alpha=1 / self.tau))
