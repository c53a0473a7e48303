r"""ADMM without gradients (Taylor, Burmeister, Xu, Singh, Patel, Goldstein, ICML 2016).

On the three-split energy without a_D, with a multiplier u on the output,

.. math:: L_y(z_D) + \langle z_D, u\rangle + \beta\|z_D - \varphi_D\|^2
            + \sum_{l<D} \gamma\|a_l - \sigma(z_l)\|^2 + \beta\|z_l - \varphi_l\|^2,

the blocks are minimised from input to output: for l < D in turn θ_l, a_l, z_l, then θ_D and z_D. Then the multiplier
ascends, :math:`u \leftarrow u + \beta(z_D - \varphi_D)`. The penalties have no factor ½ here, so that a full dual step
would be 2β; the paper takes β. The term ⟨z_D, u⟩ is the paper's. With it any forward pass with u = −∇L_y(z_D) is a
fixed point, whether the network is trained or not: u may hold z_D in place instead of pushing it towards the targets.
"""

from __future__ import annotations

from functools import partial

from minilift.methods.lifted.three_split import ThreeSplit, ThreeSplitMethod
from minilift.support.arguments import known_name, number_between, positive_number, whole_number


class ADMM(ThreeSplitMethod):
    r"""Training without gradients; `direction` returns θ − θ_new.

    Parameters
    ----------
    beta : float, default 1.0
        Weight β of the penalties on the maps, and the dual step.
    gamma : float, default 10.0
        Weight γ of the penalties on the activations.
    alpha : float, optional
        Weight of a prox term α/2 ‖θ − θ_old‖². By default 0 if variables are kept, as in the paper, and 1 if they
        start from a forward pass: a few samples would otherwise determine θ on their own.
    bias : {"joint", "fixed"}, default "joint"
        Whether the bias belongs to the block θ_l or stays as it is (the paper has no bias).
    variables : {"kept", "forward"}, default "kept"
        "kept": the lifted values of each sample are kept from call to call, and the batch is always the whole training
        set, ``fit(…, batch_size=None)``. "forward": they start from the forward pass each time, for mini-batches.
        Stored as `memory`; the attribute `variables` is the lifted state.
    sweeps : int, optional
        By default 1 if variables are kept; D + 1 from a forward pass, where the first sweep moves only the output
        and each further one reaches one more map.

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
    >>> method = ml.ADMM(beta=0.1)
    >>> history = ml.fit(net, data, method, ml.SGD(lr=1.0), epochs=10, batch_size=None, progress=False)
    >>> [round(loss, 2) for loss in history["train_loss"][::5]]
    [0.78, 0.2, 0.2]
    """

    shown_always = ("beta", "gamma")

    def __init__(self, beta: float = 1.0, gamma: float = 10.0, alpha: float | None = None, bias: str = "joint",
                 variables: str = "kept", sweeps: int | None = None) -> None:
        super().__init__(variables)
        self.beta, self.gamma = positive_number("ADMM: beta", beta), positive_number("ADMM: gamma", gamma)
        self.alpha = alpha if alpha is None else number_between("ADMM: alpha", alpha, 0)
        self.bias = known_name("ADMM: bias", bias, ("joint", "fixed"))
        self.sweeps = sweeps if sweeps is None else whole_number("ADMM: sweeps", sweeps)

    def energy(self, net, X, y):
        """Return the three-split energy without a_D, with a multiplier on the output."""
        return ThreeSplit(net, y, 2 * self.gamma, 2 * self.beta, split_output=False, multiplier="output")

    def schedule(self, energy):
        """Return the blocks of one sweep, starting at the input, and the dual step."""
        D, damping = energy.net.depth, self.anchor
        theta = partial(energy.best_theta, alpha=damping, bias=self.bias == "joint")
        for l in range(1, D):
            yield "theta", l, theta
            yield "a", l, energy.best_a
            yield "z", l, energy.best_z
        yield "theta", D, theta
        yield "z", D, energy.best_z
        yield "multiplier", D, partial(self.ascend, energy)

    def sweeps_on(self, net):
        """Return how many sweeps a call takes."""
        return self.sweeps or (1 if self.memory == "kept" else net.depth + 1)

    @property
    def anchor(self):
        """α, or its default."""
        return self.alpha if self.alpha is not None else float(self.memory == "forward")

    def ascend(self, energy, l, variables):
        """Return u + β(z_D − φ_D)."""
        gap = energy.map_gap(l, variables.theta, variables.a, variables.z)
        return variables.multiplier - self.beta * gap  # ADMM u
