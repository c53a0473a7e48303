r"""Semi-Implicit Back Propagation (Liu, Zhang, 2020): proximal fits with σ inside, signals through new weights.

From the last map to the first, with J the loss *summed* over the batch and the unmasked signal δ_l = ∂J/∂a_l,

.. math:: W_l \leftarrow \arg\min_W \|f(a_{l-1}W + 1b_l^T) - (a_l - \eta\delta_l)\|^2 + \lambda\|W - W_l\|^2, \qquad
            b_l \leftarrow \arg\min_b \|f(a_{l-1}W_l^{new} + 1b^T) - (a_l - \eta\delta_l)\|^2 + \lambda\|b - b_l\|^2,

then :math:`\delta_{l-1} = (\delta_l \odot f')\,(W_l^{new})^T`; on the last map f is the identity. The problems of
the hidden maps are not convex, unless f is the identity there too; the authors take five Fletcher–Reeves steps. A map
that is used several times passes the signal through its old weights: the new ones are known only when all its uses
have their signals.
"""

from __future__ import annotations

from typing import Any

from minilift.energy import Block, local
from minilift.layers.gram import Gram
from minilift.local.problems import LocalProblem, SquaredFit
from minilift.local.solvers import exact, fletcher_reeves
from minilift.methods.backward.sweep import Method, one_transfer
from minilift.support.arguments import boolean, known_name, positive_number, whole_number


class SemiImplicit(Method):
    r"""Semi-implicit steps; `direction` returns θ − θ_new, so that ``SGD(lr=1.0)`` takes exactly the method's step.

    Parameters
    ----------
    eta : float, default 0.1
        Step size η of the targets. It refers to the summed loss, to which signals are rescaled, whatever the network's
        reduction.
    lam : float, default 1.0
        Weight λ of both regularisers (the objectives have no factor ½).
    steps : int, default 5
        Fletcher–Reeves steps on each block.
    solver : {"fr", "exact"}, default "fr"
        "exact" solves linear problems in closed form: those of the last map, and of hidden maps that no activation
        directly follows, such as one before a join or a batch norm. The others still use "fr".
    joint : bool, default False
        Whether W and b form one block; by default W comes first, then b with the new W, as in the authors' program.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: if a map's uses are followed by different f, where that of the last map
        is the identity.

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10]), ml.datasets.digits()
    >>> loss, directions = ml.SemiImplicit(eta=1.0, lam=1.0).direction(net, data.X_train[:100], data.y_train[:100])
    >>> ml.SGD(lr=1.0).step(net.parameters, directions)
    >>> round(loss, 1), round(net.loss(data.X_train[:100], data.y_train[:100]), 1)
    (2.4, 1.6)
    """

    new_weights = True
    shown_always = ("eta", "lam", "steps", "solver")

    def __init__(self, eta: float = 0.1, lam: float = 1.0, steps: int = 5, solver: str = "fr",
                 joint: bool = False) -> None:
        self.eta = positive_number("SemiImplicit: eta", eta)
        self.lam = positive_number("SemiImplicit: lam", lam)
        self.steps = whole_number("SemiImplicit: steps", steps)
        self.solver = known_name("SemiImplicit: solver", solver, ("fr", "exact"))
        self.joint = boolean("SemiImplicit: joint", joint)

    def propose(self, block: Block) -> Any:
        """Return θ_l − θ_l^new from the W block, then the b block; their λ has no factor ½."""
        gap = self.gap(block)
        damping = 2 * self.lam  # SIBP W, SIBP b
        if self.joint:
            return self.solve(local(block, gap, damping)).value
        of_weights = local(block, gap, damping, bias=False)
        weights = self.solve(of_weights)
        change = of_weights.gram.apply(weights.value) if weights.change is None else weights.change
        ones = Gram(of_weights.xp.empty((len(gap.z), 0), gap.z.dtype))  # the input of b is just the column of ones
        bias = self.solve(LocalProblem(ones, gap.z - change, gap, damping))
        return of_weights.xp.concatenate([weights.value, bias.value])

    def gap(self, block):
        """Return the gap ‖f(z) − (f(z_l) − ηδ_l)‖², with δ of the summed loss."""
        columns, signal = block.phi.columns, block.g if block.g_a is None else block.g_a
        f = one_transfer("SemiImplicit", block, block.f_inside)
        signal = self.eta / block.weight * columns(signal)  # SIBP W, SIBP b
        return SquaredFit(f, columns(block.z), signal)

    def explicit_step(self, block):
        """Return η/λ times the gradient of the summed loss, to which the other steps tend for large λ."""
        return self.eta / (self.lam * block.weight) * block.gradient

    def solve(self, problem):
        """Return the `Solution` of one block, W or b or both, starting from the map's present output z."""
        if self.solver == "exact" and problem.gap.convex:
            return exact(problem)  # SIBP W, SIBP b
        return fletcher_reeves(problem, self.steps)
