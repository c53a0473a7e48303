r"""Semi-Implicit Back Propagation (Liu, Zhang, 2020): proximal fits with σ inside, signals through new weights.

From the last map to the first, with the loss *summed* over the batch and its unmasked signal δ_l = ∂J/∂a_l,

.. math:: W_l \leftarrow \arg\min_W \|f(a_{l-1}W + 1b_l^T) - (a_l - \eta\delta_l)\|^2 + \lambda\|W - W_l\|^2, \qquad
            b_l \leftarrow \arg\min_b \|f(a_{l-1}W_l^{new} + 1b^T) - (a_l - \eta\delta_l)\|^2 + \lambda\|b - b_l\|^2,

then :math:`\delta_{l-1} = (\delta_l \odot f')\,(W_l^{new})^T`; on the last map f is the identity. The problems of
the hidden maps are not convex; the authors take five Fletcher–Reeves steps.
"""

from __future__ import annotations

from minilift.layers.activations import Identity
from minilift.layers.gram import Gram
from minilift.local.problems import LocalProblem, SquaredFit
from minilift.local.solvers import damped_solve, fletcher_reeves
from minilift.methods.backward.sweep import Method
from minilift.support.arguments import boolean, known_name, positive_number, whole_number
from minilift.support.backend import array_module


class SemiImplicit(Method):
    r"""Semi-implicit steps; `direction` returns θ − θ_new, of which ``SGD(lr=1.0)`` takes exactly the step.

    Parameters
    ----------
    eta : float, default 0.1
        Step size η of the targets. It refers to the summed loss: signals are rescaled to it, whatever the network's
        reduction.
    lam : float, default 1.0
        Weight λ of both regularisers (the objectives have no factor ½).
    steps : int, default 5
        Fletcher–Reeves steps on each block.
    solver : {"fr", "exact"}, default "fr"
        "exact" solves the last map's problems, which are linear, in closed form; the hidden ones stay with "fr".
    joint : bool, default False
        Whether W and b are one block; by default W first, then b with the new W, as the authors have it.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range.
    """

    new_weights = True

    def __init__(self, eta=0.1, lam=1.0, steps=5, solver="fr", joint=False):
        self.eta = positive_number("SemiImplicit: eta", eta)
        self.lam = positive_number("SemiImplicit: lam", lam)
        self.steps = whole_number("SemiImplicit: steps", steps)
        self.solver = known_name("SemiImplicit: solver", solver, ("fr", "exact"))
        self.joint = boolean("SemiImplicit: joint", joint)

    def __repr__(self):
        return f"SemiImplicit(eta={self.eta:g}, lam={self.lam:g}, steps={self.steps}, solver={self.solver!r})"

    def propose(self, block):
        """Return θ_l − θ_l^new of the W block, then the b block."""
        phi, xp = block.phi, array_module(block.a)
        z, data = phi.columns(block.z), self.data(block)
        if self.joint:
            return self.solve(phi.gram(block.a), z, data, block.last).value
        gram = phi.gram(block.a, bias=False)
        weights = self.solve(gram, z, data, block.last)
        z = z - (gram.apply(weights.value) if weights.change is None else weights.change)
        ones = Gram(xp.empty((len(z), 0), z.dtype))  # the input of b is the column of ones alone
        bias = self.solve(ones, z, data, block.last)
        return xp.concatenate([weights.value, bias.value])

    def data(self, block):
        """Return the data term ‖f(z) − (f(z_l) − ηδ_l)‖²."""
        signal = block.g if block.last else block.g_a
        f = Identity() if block.last else block.f
        scaled = (self.eta / block.weight) * block.phi.columns(signal)  # η refers to the summed loss
        return SquaredFit(f, block.phi.columns(block.z), scaled)

    def explicit_step(self, index, gradient, weight):
        """Return η/λ times the gradient of the summed loss, what the other steps become where λ is large."""
        return self.eta / (self.lam * weight) * gradient

    def solve(self, gram, z, data, last):
        """Return the `Solution` of one block, W or b or both, from the map's present output z."""
        if last and self.solver == "exact":
            return damped_solve(gram, data.residual(z), self.lam)  # SIBP W, SIBP b
        return fletcher_reeves(LocalProblem(gram, z, data, 2 * self.lam), self.steps)
