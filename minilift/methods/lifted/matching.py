r"""The energy with a matching loss between each map and its activation, and the updates of its blocks.

.. math:: E(\theta, a) = L_y(\varphi_D) + \sum_{l<D} \mu_l\,[F(\varphi_l) + F^*(a_l) - \langle a_l, \varphi_l\rangle]
            + \delta\sum_l \|W_l\|^2, \qquad \varphi_l = \varphi(\theta_l, a_{l-1}),\; F' = \sigma,

with the loss summed over the samples. By Fenchel and Young each bracket is ≥ 0, and 0 exactly where a_l = σ(φ_l). If σ
has Lipschitz constant 1, it is ≥ ½‖a_l − σ(φ_l)‖². Since σ is outside the gap, E is convex in each block, and no
gradient needs σ′. The block θ_l is LocoProp-M's problem with target a_l; the block a_l is an `ActivationProblem`.
"""

from __future__ import annotations

import math

import numpy as np

from minilift.energy import checked_targets, squared_norm
from minilift.layers.activations import Activation
from minilift.layers.gram import Gram
from minilift.local.activation_problem import ActivationProblem
from minilift.local.problems import LocalProblem, MatchingLoss
from minilift.local.solvers import exact
from minilift.methods.lifted.descend import Lifted, LiftedEnergy, Variables
from minilift.support.arguments import known_name, number_between, positive_number, sequence
from minilift.support.backend import array_module


class MatchingEnergy(LiftedEnergy):
    r"""The matching energy of one batch.

    Parameters
    ----------
    net : Network
        A chain of `Linear` maps with elementwise transfers that have a `conjugate`.
    y : targets
    mu : float or sequence of float, default 1.0
        Weights μ_l, one for all hidden maps or one for each.
    decay : float, default 0.0
        Weight δ of ‖W‖².
    """

    def __init__(self, net, y, mu=1.0, decay=0.0):
        self.net, self.y = net, checked_targets("MatchingEnergy", net, y)
        self.target = net.loss_function.targets(net.xp.zeros((len(self.y), net.shapes[-1][0]), net.dtype), self.y)
        mu = checked_weights("MatchingEnergy: mu", mu)
        self.mu = [None, *one_for_each("MatchingEnergy: mu", mu, net.depth - 1), 1.0]
        self.decay = number_between("MatchingEnergy: decay", decay, 0)

    def phi(self, l, variables):
        """Return φ(θ_l, a_{l−1})."""
        return self.net.phi[l].forward(variables.theta[l], variables.a[l - 1])

    def terms(self, variables):
        """Return the loss, the matching losses, and the weight decay if there is any; inf for a outside σ's range."""
        D = self.net.depth
        terms = {"loss": self.loss(self.phi(D, variables)),
                 "matching": sum(self.mu[l] * self.matching(l, variables) for l in range(1, D))}
        if self.decay:
            terms["decay"] = self.decay * sum(squared_norm(theta[:-1]) for theta in variables.theta[1:])
        return terms

    def matching(self, l, variables):
        """Return the bracket of map l, a float."""
        f, a, phi = self.net.sigma[l], variables.a[l], self.phi(l, variables)
        if not f.in_range(a):
            return math.inf
        return float((f.integral(phi) + f.conjugate(a) - a * phi).sum(dtype=np.float64))  # Matching energy

    def gradient(self, block, l, variables):
        """Return ∂E in θ_l or a_l; at an end of the range of σ, the shortest subgradient."""
        known_name("MatchingEnergy: block", block, ("theta", "a"))
        if block == "theta":
            z, (f, target) = self.phi(l, variables), self.goal(l, variables)
            g = self.net.phi[l].adjoint_theta(variables.a[l - 1], self.mu[l] * (f.forward(z) - target))
            g[:-1] += 2 * self.decay * variables.theta[l][:-1]
            return g
        f, a, problem = self.net.sigma[l], variables.a[l], self.problem_a(l, variables)
        q = problem.wanted(a)
        return self.mu[l] * (problem.nearest(f.inverse(a), q) - q)  # Matching gradient

    def goal(self, l, variables):
        """Return the transfer in map l's matching loss, and its target: a_l or, on the last map, y."""
        if l == self.net.depth:
            return self.net.loss_function.transfer_for("MatchingEnergy: the last map"), self.target
        return self.net.sigma[l], variables.a[l]

    # ---- the blocks

    def best_theta(self, l, variables, alpha, around=None):
        r"""Return the argmin in θ_l of E plus α/2 ‖θ_l − θ⁰‖²: LocoProp-M's problem with target a_l.

        Weight decay acts on W only. It is absorbed into the anchor: W⁰ is shortened, and the column of ones stretched,
        so that one damping serves W and b.

        Parameters
        ----------
        l : int
        variables : Variables
        alpha : float
            α > 0.
        around : list, optional
            The θ⁰ of all maps, a list like ``variables.theta``, which is the default.
        """
        a, theta = variables.a[l - 1], (variables.theta if around is None else around)[l].copy()
        xp, damping = array_module(a), alpha + 2 * self.decay
        stretch = (damping / alpha) ** 0.5
        theta[:-1] *= alpha / damping
        z, (f, target) = self.net.phi[l].forward(theta, a), self.goal(l, variables)
        gram = Gram(xp.concatenate([a, xp.full((len(a), 1), stretch, a.dtype)], axis=1), bias=False)
        problem = LocalProblem(gram, z, MatchingLoss(f, z, f.forward(z) - target), damping / self.mu[l])  # Matching θ
        step = exact(problem, tolerance=max(1e-12, np.finfo(z.dtype).eps)).value
        step[-1] *= stretch
        theta -= step
        return theta

    def problem_a(self, l, variables):
        """Return the `ActivationProblem` of E/μ_l in a_l."""
        theta, kappa = variables.theta[l + 1], self.mu[l + 1] / self.mu[l]
        return ActivationProblem(self.net.sigma[l], self.phi(l, variables), theta[:-1], theta[-1],
                                 *self.goal(l + 1, variables), kappa)

    def best_a(self, l, variables):
        """Return the unique argmin in a_l, found in float64: in float32 the objective cannot guide Newton's steps."""
        problem = self.problem_a(l, variables)
        double = {name: getattr(problem, name).astype(np.float64) for name in ("phi", "W", "b", "target")}
        return problem._replace(**double).newton().astype(problem.phi.dtype, copy=False)

    def fixed_point(self, l, variables, steps):
        """Return a_l after `steps` fixed point iterations."""
        return self.problem_a(l, variables).fixed_point(variables.a[l], steps)

    def proximal_gradient(self, l, variables, steps):
        """Return a_l after `steps` steps of proximal gradient descent."""
        return self.problem_a(l, variables).proximal_gradient(variables.a[l], steps)


class MatchingMethod(Lifted):
    """Base class of the methods on a matching energy; a subclass defines `schedule`, and `mu` or `energy`."""

    def energy(self, net, X, y):
        """Return the matching energy with weights μ_l."""
        one_for_each(f"{type(self).__name__}: mu", self.mu, net.depth - 1)  # an error names the method, not the energy
        return MatchingEnergy(net, y, self.mu)

    def start(self, net, state):
        """Return θ and the activations of the forward pass; z is not a variable."""
        return Variables(list(state.theta), None, list(state.a))

    def check_network(self, net):
        """Raise an error unless the network is a chain of Linear maps with transfers whose F* is known."""
        super().check_network(net)
        net.loss_function.transfer_for(f"{type(self).__name__}: the last map")
        for l in range(1, net.depth):
            if type(net.sigma[l]).conjugate is Activation.conjugate:
                raise ValueError(f"{type(self).__name__}: expects transfers with a conjugate F*, such as ReLU; after "
                                 f"map {l} stands {net.sigma[l]!r}, which has none")


def checked_weights(what, value):
    """Return one positive number, or a tuple of them."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError(f"{what} must be a positive number or one for each map, got none")
        return tuple(positive_number(f"{what}[{i}]", number) for i, number in enumerate(value))
    return positive_number(what, value)


def one_for_each(what, weights, maps):
    """Return a list of checked weights, one for each map."""
    return sequence(what, weights, "numbers", maps) if isinstance(weights, tuple) else [weights] * maps
