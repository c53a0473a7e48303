r"""The energy in which the matching loss stands between a map and its activation, with the updates of its blocks.

.. math:: E(\theta, a) = L_y(\varphi_D) + \sum_{l<D} \mu_l\,\big[F(\varphi_l) + F^*(a_l) - \langle a_l, \varphi_l\rangle\big]
            + \delta\sum_l \|W_l\|^2, \qquad \varphi_l = \varphi(\theta_l, a_{l-1}),\; F' = \sigma,

with the loss summed over the samples. By Fenchel and Young each bracket is ≥ 0, and 0 exactly where a_l = σ(φ_l). Where
σ changes no faster than its argument it is :math:`\ge \tfrac12\|a_l - \sigma(\varphi_l)\|^2`. σ is outside of the gap:
E is convex in each block, and no gradient needs σ′. In θ_l a block is LocoProp-M's problem with target a_l. In a_l

.. math:: \partial E/\partial a_l = \mu_l\,(\sigma^{-1}(a_l) - q_l), \qquad
            q_l = \varphi_l - \tfrac{1}{\mu_l}\,\nabla h_{l+1}(\varphi_{l+1})\,W_{l+1}^T,

with :math:`\nabla h_{l+1} = \mu_{l+1}(\sigma(\varphi_{l+1}) - a_{l+1})`, on the last map the gradient of the loss. So
a_l is optimal if a_l = σ(q_l).
"""

from __future__ import annotations

import math

import numpy as np

from minilift.energy import squared_norm
from minilift.layers.activations import Activation
from minilift.layers.gram import Gram
from minilift.layers.losses import shifted_inverse
from minilift.local.problems import LocalProblem, MatchingLoss
from minilift.local.solvers import exact, ratio
from minilift.methods.lifted.descend import Lifted, LiftedEnergy, Variables
from minilift.support.arguments import number_between, positive_number, sequence
from minilift.support.backend import array_module

NEWTON_STEPS = 100  # far above the ten or so that it takes; reaching it is an error, not a result
ROUNDING = 32  # Newton stops at a residual of so many units of rounding of its terms


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
        self.net, self.y = net, y
        what = "MatchingEnergy: mu"
        self.mu = [None, *one_for_each(what, checked_weights(what, mu), net.depth - 1), 1.0]
        self.decay = number_between("MatchingEnergy: decay", decay, 0)

    def phi(self, l, variables):
        """Return φ(θ_l, a_{l−1})."""
        return self.net.phi[l].forward(variables.theta[l], variables.a[l - 1])

    def terms(self, variables):
        """Return the loss, the matching losses, and the weight decay where there is one; inf for a beyond σ's range."""
        D, loss = self.net.depth, self.net.loss_function
        output = self.phi(D, variables)
        terms = {"loss": loss.value(output, self.y) / loss.weight(len(output)),
                 "matching": sum(self.mu[l] * self.matching(l, variables) for l in range(1, D))}
        if self.decay:
            terms["decay"] = self.decay * sum(squared_norm(theta[:-1]) for theta in variables.theta[1:])
        return terms

    def matching(self, l, variables):
        """Return the bracket of map l, a float."""
        f, a, phi = self.net.sigma[l], variables.a[l], self.phi(l, variables)
        if not f.in_range(a):
            return math.inf
        return float((f.integral(phi) + f.conjugate(a) - a * phi).sum(dtype=np.float64))

    def gradient(self, block, l, variables):
        """Return ∂E in θ_l or a_l; at an end of the range of σ the shortest of the subgradients."""
        phi = self.phi(l, variables)
        if block == "theta":
            g = self.net.phi[l].adjoint_theta(variables.a[l - 1], self.mu[l] * self.gap(l, phi, variables))
            g[:-1] += 2 * self.decay * variables.theta[l][:-1]
            return g
        f, a = self.net.sigma[l], variables.a[l]
        g, xp = self.mu[l] * (f.inverse(a) - self.wished(l, phi, a, variables)), array_module(a)
        if f.closed:
            low, high = f.range
            g = xp.where(a <= low, xp.minimum(g, 0), xp.where(a >= high, xp.maximum(g, 0), g))
        return g

    def gap(self, l, phi, variables):
        """Return the gradient of map l's matching loss in φ_l, σ(φ_l) − a_l, or on the last map that of the loss."""
        f, target = self.goal(l, phi, variables)
        return f.forward(phi) - target

    def goal(self, l, phi, variables):
        """Return the transfer in map l's matching loss, and its target."""
        loss = self.net.loss_function
        if l == self.net.depth:
            return loss.transfer, loss.targets(phi, self.y)
        return self.net.sigma[l], variables.a[l]

    def wished(self, l, phi, a, variables):
        """Return q_l, of which σ is the a_l that the linear model of map l + 1 around `a` wants."""
        above = self.net.phi[l + 1]
        g = self.gap(l + 1, above.forward(variables.theta[l + 1], a), variables)
        return phi - above.adjoint_input(variables.theta[l + 1], g) * (self.mu[l + 1] / self.mu[l])

    # ---- θ

    def best_theta(self, l, variables, alpha, around=None):
        r"""Return the argmin in θ_l of E plus α/2 ‖θ_l − θ⁰‖²: LocoProp-M's problem with target a_l.

        Weight decay pulls W only. It is taken into the anchor: W⁰ becomes shorter, and the column of ones longer, so
        that one damping serves W and b.

        Parameters
        ----------
        l : int
        variables : Variables
        alpha : float
            α > 0.
        around : list, optional
            Of θ⁰, as ``variables.theta``, which it is by default.
        """
        a, theta = variables.a[l - 1], (variables.theta if around is None else around)[l].copy()
        damping = alpha + 2 * self.decay
        stretch = (damping / alpha) ** 0.5
        theta[:-1] *= alpha / damping
        z = self.net.phi[l].forward(theta, a)
        f, target = self.goal(l, z, variables)
        stretched = array_module(a).full((len(a), 1), stretch, a.dtype)
        gram = Gram(array_module(a).concatenate([a, stretched], axis=1), bias=False)
        gap = MatchingLoss(f, z, f.forward(z) - target)
        step = exact(LocalProblem(gram, z, gap, damping / self.mu[l]), tolerance=1e-12).value
        step[-1] *= stretch
        theta -= step
        return theta

    # ---- a: the argmin, and steps towards it

    def best_a(self, l, variables):
        r"""Return the unique argmin in a_l, by Newton's method for each sample on :math:`z = q_l(\sigma(z))`.

        a_l = σ(z) stays in the range of σ. With r = z − q_l, S² = σ′(z) and K = W ∇²h_{l+1} Wᵀ/μ_l the step
        solves :math:`(I + KS^2)\,dz = -r`: conjugate gradients give y = S dz of :math:`(I + SKS)\,y = -Sr`, and
        :math:`dz = -r - KSy`. A sample whose E it does not lower as far as the safe step -r/(1 + ‖K‖) takes that one.

        Raises
        ------
        ArithmeticError
            If Newton's method does not converge.
        """
        f, phi = self.net.sigma[l], self.phi(l, variables)
        xp, W, kappa = array_module(phi), variables.theta[l + 1][:-1], self.mu[l + 1] / self.mu[l]
        safe, z, first = 1 / (1 + self.contraction(l, variables)), phi, None
        for _ in range(NEWTON_STEPS):
            a = f.forward(z)
            u = self.net.phi[l + 1].forward(variables.theta[l + 1], a)
            above, target = self.goal(l + 1, u, variables)
            f_u = above.forward(u)
            through = kappa * ((f_u - target) @ W.T)
            r = z - phi + through
            size = float(abs(r).max())
            first = first or size
            scale = float(abs(phi).max() + abs(z).max()
                          + kappa * ((abs(f_u) + abs(target) + abs(u) + abs(a) @ abs(W)) @ abs(W.T)).max())
            if size <= ROUNDING * np.finfo(z.dtype).eps * scale:
                return a
            slope = f.derivative(z) ** 0.5

            def hessian(v):
                return kappa * (above.adjoint(u, f_u, None, v @ W) @ W.T)

            y = row_solve(lambda v: v + slope * hessian(slope * v), -slope * r, min(0.1, max(size / first, 1e-6)))
            bold, careful = z - r - hessian(slope * y), z - safe * r
            values = [self.partial(l, trial, phi, variables) for trial in (bold, careful)]
            slack = 8 * np.finfo(z.dtype).eps * (abs(values[1]) + scale * phi.shape[1])
            z = xp.where(values[0] <= values[1] + slack, bold, careful)
        raise ArithmeticError(f"best_a: Newton's method did not converge in {NEWTON_STEPS} steps; are the activations "
                              "finite, and is mu of a sensible size?")

    def partial(self, l, z, phi, variables):
        """Return what E/μ_l has of a_l = σ(z), for each sample (N, 1)."""
        f, kappa = self.net.sigma[l], self.mu[l + 1] / self.mu[l]
        a = f.forward(z)
        u = self.net.phi[l + 1].forward(variables.theta[l + 1], a)
        above, target = self.goal(l + 1, u, variables)
        integral = above.integral(u)
        if above.elementwise:
            integral = integral.sum(axis=-1)
        of_next = integral - (target * u).sum(axis=-1)
        of_own = ((z - phi) * a - f.integral(z)).sum(axis=-1)  # F*(σ(z)) = zσ(z) − F(z)
        return (kappa * of_next + of_own)[:, None]

    def contraction(self, l, variables):
        r"""Return :math:`\mu_{l+1}\|W_{l+1}\|_2^2/\mu_l`, for σ that change no faster than their argument."""
        W = variables.theta[l + 1][:-1]
        xp = array_module(W)
        small = W @ W.T if W.shape[0] <= W.shape[1] else W.T @ W
        return float(xp.linalg.eigvalsh(small)[-1]) * self.mu[l + 1] / self.mu[l]

    def fixed_point(self, l, variables, steps):
        r"""Return a_l after so many steps of a ← σ(q_l(a)).

        If the `contraction` factor ρ is below 1 they converge, by at least ρ in each step, and none raises E. If not,
        the step is made shorter, 1/(1 + ρ) of it: a ← a + t(σ(q_l(a)) − a) does not raise E for t ≤ 2/(1 + ρ).
        """
        factor = self.contraction(l, variables)
        length = 1.0 if factor < 1 else 1 / (1 + factor)
        f, a, phi = self.net.sigma[l], variables.a[l], self.phi(l, variables)
        for _ in range(steps):
            wanted = f.forward(self.wished(l, phi, a, variables))
            a = wanted if length == 1 else a + length * (wanted - a)
        return a

    def proximal_gradient(self, l, variables, steps):
        r"""Return a_l after so many steps of proximal gradient descent, :math:`a \leftarrow \mathrm{prox}_{t\Psi}(a - t(a - q_l(a)))`.

        Ψ is what F* has beyond ½‖·‖², so that σ = prox_Ψ, and t = 1/(1 + ρ) with the `contraction` factor ρ. A step
        with t = 1 would be one of `fixed_point`. The prox is :math:`\sigma(p)` with (1 − t) σ(p) + t p = v.
        """
        t = 1 / (1 + self.contraction(l, variables))
        f, a, phi = self.net.sigma[l], variables.a[l], self.phi(l, variables)
        for _ in range(steps):
            v = a - t * (a - self.wished(l, phi, a, variables))
            a = f.forward(shifted_inverse(f, v / t, 0 * v, (1 - t) / t))
        return a


class MatchingMethod(Lifted):
    """Base class of the methods on a matching energy; a subclass defines `energy` and `schedule`."""

    def start(self, net, state):
        """Return θ and the activations of the forward pass; z is no variable."""
        return Variables(list(state.theta), None, list(state.a))

    def check_network(self, net):
        """Raise an error unless the network is a chain of Linear maps with transfers whose F* is known."""
        super().check_network(net)
        for l in range(1, net.depth):
            if type(net.sigma[l]).conjugate is Activation.conjugate:
                raise ValueError(f"{type(self).__name__}: expects transfers with a conjugate F*, such as ReLU; after "
                                 f"map {l} stands {net.sigma[l]!r}, which has none")


def checked_weights(what, value):
    """Return one positive number, or a tuple of them."""
    if isinstance(value, (list, tuple)):
        return tuple(positive_number(f"{what}[{i}]", number) for i, number in enumerate(value))
    return positive_number(what, value)


def one_for_each(what, weights, maps):
    """Return a list of checked weights, one for each map."""
    return sequence(what, weights, "numbers", maps) if isinstance(weights, tuple) else [weights] * maps


def row_solve(operator, b, forcing):
    """Solve a positive definite system for each row of b by conjugate gradients, to `forcing` times its norm."""
    xp = array_module(b)
    x, r = xp.zeros_like(b), b
    p, rho = r, (r * r).sum(axis=-1, keepdims=True)
    goal = forcing**2 * rho
    for _ in range(2 * b.shape[-1]):
        if not bool((rho > goal).any()):
            break
        along = operator(p)
        alpha = ratio(rho, (p * along).sum(axis=-1, keepdims=True))
        x, r = x + alpha * p, r - alpha * along
        rho_old, rho = rho, (r * r).sum(axis=-1, keepdims=True)
        p = r + ratio(rho, rho_old) * p
    return x
