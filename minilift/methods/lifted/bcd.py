r"""Block coordinate descent (Zeng, Lau, Lin, Yao, ICML 2019): all blocks, solved directly, backwards, with prox terms.

On the three-split energy, from the output to the input,

.. math:: a_D,\; z_D, \quad\text{then for } l = D \dots 1: \quad \theta_l,\; a_{l-1},\; z_{l-1},

each the argmin of E plus α/2 of the squared distance from its old value (except z_D and the hidden a_l). E plus these
terms never rises. A sweep computes φ_l once, for both z_l and θ_l. Between hidden layers this takes four and a half
products of the size of those in a forward pass, where the authors' program takes six.
"""

from __future__ import annotations

from functools import partial

from minilift.methods.lifted.descend import Variables
from minilift.methods.lifted.three_split import ThreeSplit, ThreeSplitMethod
from minilift.support.arguments import known_name, positive_number


class BCD(ThreeSplitMethod):
    r"""Block coordinate descent, each block solved directly; `direction` returns θ − θ_new.

    Parameters
    ----------
    gamma, rho : float, default 1.0
        Weights of the penalties on a and on z.
    alpha : float, default 5.0
        Weight α of the prox terms in θ_l, a_D and the hidden z_l. The authors take 5 for three hidden maps, 1 for ten.
    bias : {"joint", "jacobi"}, default "joint"
        "joint": θ_l = [W; b] is one block. "jacobi": as in the authors' program, W with the old b and then b with
        the old W. That is not a block step, yet it does not raise E plus the prox terms: for two blocks of a convex
        quadratic, the simultaneous step is at most twice as long as the best one in its direction.
    variables : {"kept", "forward"}, default "kept"
        "kept": the lifted values of each sample are kept from call to call, and the batch is always the whole training
        set, ``fit(…, batch_size=None)``. "forward": they start from the forward pass each time, for mini-batches.
        Stored as `memory`; the attribute `variables` is the lifted state. From a forward
        pass, one sweep moves every block, and α anchors θ to the network's.
    sweeps : int, default 1
        Number of passes through all blocks in a call.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: if the network is not a chain of Linear maps with elementwise transfers,
        all increasing or with `pieces`, if its loss has no prox, or if the batch has changed while variables are kept.
    ArithmeticError
        On a batch: if the outputs of a sweep are not finite, or Newton's method does not find the prox of the loss.

    Examples
    --------
    >>> net, data = ml.mlp([2, 8, 2], dtype=np.float64), ml.datasets.moons(100)
    >>> method = ml.BCD(alpha=0.1)
    >>> history = ml.fit(net, data, method, ml.SGD(lr=1.0), epochs=10, batch_size=None, progress=False)
    >>> [round(loss, 2) for loss in history["train_loss"][::5]]
    [0.78, 0.35, 0.23]
    """

    shown_always = ("gamma", "rho", "alpha")

    def __init__(self, gamma: float = 1.0, rho: float = 1.0, alpha: float = 5.0, bias: str = "joint",
                 variables: str = "kept", sweeps: int = 1) -> None:
        super().__init__(variables, sweeps)
        self.gamma, self.rho = positive_number("BCD: gamma", gamma), positive_number("BCD: rho", rho)
        self.alpha = positive_number("BCD: alpha", alpha)
        self.bias = known_name("BCD: bias", bias, ("joint", "jacobi"))

    def energy(self, net, X, y):
        """Return the three-split energy with a split output."""
        return ThreeSplit(net, y, self.gamma, self.rho)

    def start(self, net, state):
        """Return the values of the forward pass, and a_D = z_D."""
        return Variables(list(state.theta), list(state.z), [*state.a, state.z[net.depth]])

    def schedule(self, energy):
        """Return the blocks of one sweep, starting at the output."""
        D, alpha = energy.net.depth, self.alpha
        theta = partial(energy.best_theta, alpha=alpha) if self.bias == "joint" else partial(self.jacobi, energy)
        yield "a", D, partial(energy.best_a, alpha=alpha)
        yield "z", D, energy.best_z
        for l in range(D, 0, -1):
            yield "theta", l, theta
            if l > 1:
                yield "a", l - 1, energy.best_a
                yield "z", l - 1, partial(energy.best_z, alpha=alpha)

    def jacobi(self, energy, l, variables):
        """Return θ_l with the best W for the old b and the best b for the old W."""
        new = energy.best_theta(l, variables, alpha=self.alpha, bias=False)
        new[-1] = energy.best_bias(l, variables, alpha=self.alpha)[-1]  # BCD jacobi
        return new
