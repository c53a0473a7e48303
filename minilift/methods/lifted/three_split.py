r"""The energy in which θ, z and a are all variables, with the argmin of each of its blocks.

.. math:: E(\theta, z, a) = L_y(a_D) + \sum_{l\le D} \tfrac{\gamma}{2}\|\sigma(z_l) - a_l\|^2
            + \tfrac{\rho}{2}\|z_l - \varphi(\theta_l, a_{l-1})\|^2, \qquad \sigma_D = \mathrm{id},

with the loss summed over the samples. It is ProxProp (3) with one more variable, the output. Without a_D the loss
takes z_D itself, and a multiplier may be added for the gap z_D − φ_D. Each block is solved directly: damped least
squares in θ_l and in a_l; entry by entry in z_l, in closed form if σ has linear pieces; in the output by the prox of
the loss, in closed form for squared error. A proximal term ``α/2 ‖v − v_old‖²`` may be added in any block.
"""

from __future__ import annotations

from minilift.energy import Penalties, squared_norm
from minilift.layers.activations import Identity
from minilift.local.fits import falls, fit_transfer, fit_values
from minilift.local.problems import LocalProblem, SquaredGap
from minilift.local.solvers import exact
from minilift.methods.lifted.descend import Lifted, LiftedEnergy, Variables
from minilift.support.arguments import boolean, known_name
from minilift.support.backend import all_finite


class ThreeSplit(Penalties, LiftedEnergy):
    r"""The three-split energy of one batch.

    Parameters
    ----------
    net : Network
        A chain of `Linear` maps with elementwise transfers.
    y : targets
    gamma, rho : float, default 1.0
        Weights of the penalties on a and on z.
    split_output : bool, default True
        Whether there is a variable a_D between z_D and the loss.
    multiplier : {"output", "gap"}, optional
        What the multiplier u multiplies: z_D, or z_D − φ_D.
    """

    def __init__(self, net, y, gamma=1.0, rho=1.0, split_output=True, multiplier=None):
        super().__init__(net, y, gamma, rho)
        self.split_output = boolean("ThreeSplit: split_output", split_output)
        self.multiplier = multiplier
        if multiplier is not None:
            known_name("ThreeSplit: multiplier", multiplier, ("output", "gap"))

    def phi(self, l, theta, a):
        """Return φ(θ_l, a_{l−1}); in a sweep it is reused for the arrays of the forward pass and for the last ones.

        So z_l and θ_l share it when one follows the other.
        """
        for known_theta, known_a, value in self.known:
            if theta[l] is known_theta and a[l - 1] is known_a:
                return value
        value = super().phi(l, theta, a)
        if self.known:
            self.known[-1] = theta[l], a[l - 1], value
        return value

    def terms(self, variables):
        """Return the loss, the penalties on activations, output and maps, and the multiplier's term."""
        theta, z, a, u = variables
        D, output = self.net.depth, (variables.a if self.split_output else variables.z)[self.net.depth]
        terms = {"loss": self.loss(output),
                 "activations": self.gamma / 2 * sum(squared_norm(self.activation_gap(l, a, z)) for l in range(1, D)),
                 "maps": self.rho / 2 * sum(squared_norm(self.map_gap(l, theta, a, z)) for l in range(1, D + 1))}
        if self.split_output:
            terms["output"] = self.gamma / 2 * squared_norm(a[D] - z[D])
        if self.multiplier:
            terms["multiplier"] = float((u * self.multiplied(variables)).sum())
        return terms

    def multiplied(self, variables):
        """Return what the multiplier multiplies."""
        theta, z, a, _ = variables
        return z[-1] if self.multiplier == "output" else -self.map_gap(self.net.depth, theta, a, z)

    def gradient(self, block, l, variables):
        """Return ∂E in block "theta", "z" or "a" number l, or in the multiplier if there is one."""
        known_name("ThreeSplit: block", block, ("theta", "z", "a") + ("multiplier",) * (self.multiplier is not None))
        theta, z, a, u = variables
        last = l == self.net.depth
        if block == "multiplier":
            return self.multiplied(variables)
        if block == "z" and last:
            gradient = (u if self.multiplier else 0) - self.rho * self.map_gap(l, theta, a, z)
            return gradient + (self.gamma * (z[l] - a[l]) if self.split_output else self.loss_gradient(z[l]))
        if block == "z":
            return self.gradient_z(l, theta, a, z)
        if block == "a" and last:
            return self.loss_gradient(a[l]) + self.gamma * (a[l] - z[l])
        z = [*z[:-1], self.wanted(self.net.depth, variables)]
        return (self.gradient_theta if block == "theta" else self.gradient_a)(l, theta, a, z)

    def gradient_phi(self, l, theta, a, z):
        """Return ∂E/∂φ_l = ρ (φ_l − z_l)."""
        return self.rho * self.map_gap(l, theta, a, z)

    # ---- the argmin of each block

    def wanted(self, l, variables):
        """Return the target of map l: z_l, on the last map plus the multiplier's share."""
        z_l = variables.z[l]
        return z_l + variables.multiplier / self.rho if l == self.net.depth and self.multiplier == "gap" else z_l

    def best_theta(self, l, variables, alpha=0.0, bias=True):
        r"""Return θ_l: damped least squares with target z_l, that is, ProxProp (11) with another target.

        Without α it is the minimiser nearest to the old θ_l. Without bias, the bias row stays as it is.
        """
        z = self.phi(l, variables.theta, variables.a)
        gap, gram = SquaredGap(z, z - self.wanted(l, variables)), self.net.phi[l].gram(variables.a[l - 1], bias=bias)
        step = exact(LocalProblem(gram, z, gap, alpha / self.rho)).value
        new = variables.theta[l].copy()
        new[:len(step)] -= step  # Lifted θ
        return new

    def best_bias(self, l, variables, alpha=0.0):
        """Return θ_l with the best b for its W: the mean of the target minus aW."""
        rest = self.phi(l, variables.theta, variables.a) - self.wanted(l, variables)
        new = variables.theta[l].copy()
        new[-1] -= rest.sum(axis=0) / (len(rest) + alpha / self.rho)  # dlADMM b
        return new

    def best_z(self, l, variables, alpha=0.0):
        """Return z_l: entry by entry, σ(z) is fitted to a_l and z to φ_l; for z_D without a_D, the prox of the loss."""
        phi, last, weight = self.phi(l, variables.theta, variables.a), l == self.net.depth, self.rho + alpha
        if last and self.multiplier:
            phi = phi - variables.multiplier / self.rho
        centre = between(phi, variables.z[l], alpha / weight)  # (ρφ + αz)/(ρ + α)
        if last and not self.split_output:
            return self.best_output(centre, weight)
        sigma = Identity() if last else self.net.sigma[l]
        return fit_transfer(sigma, variables.a[l], centre, weight / self.gamma, out=centre)  # Lifted z

    def best_a(self, l, variables, alpha=0.0):
        """Return a_l: damped least squares with target z_{l+1} around σ(z_l); for the output, the prox of the loss."""
        z, weight = variables.z[l], self.gamma + alpha
        if l == self.net.depth:
            return self.best_output(between(z, variables.a[l], alpha / weight), weight)
        phi, theta = self.net.phi[l + 1], variables.theta[l + 1]
        target, centre = self.wanted(l + 1, variables), self.net.sigma[l].forward(z)
        if alpha:
            centre = between(centre, variables.a[l], alpha / weight)
        return fit_values(phi, theta, target, centre, weight / self.rho)  # Lifted a

    def best_output(self, centre, weight):
        """Return the argmin over v of L_y(v) + weight/2 ‖v − centre‖², with the loss summed."""
        loss = self.net.loss_function
        if not all_finite(centre):
            raise ArithmeticError("the outputs of a sweep are not finite: are weights too large to be squared?")
        return loss.prox(centre, self.y, 1 / (weight * loss.weight(len(centre))))  # Lifted output


class ThreeSplitMethod(Lifted):
    """Base class of the methods on a three-split energy; a subclass defines `energy` and `schedule`."""

    def start(self, net, state):
        """Return the values of the forward pass, and a multiplier of zeros."""
        return Variables(list(state.theta), list(state.z), list(state.a), net.xp.zeros_like(state.z[net.depth]))

    def check_network(self, net):
        """Raise an error unless the network is a chain of Linear maps with transfers that `fit_transfer` accepts."""
        super().check_network(net)
        for l in range(1, net.depth):
            if net.sigma[l].pieces is None and falls(net.sigma[l], net.xp, net.dtype):
                raise ValueError(f"{type(self).__name__}: expects increasing transfers, where the fit of z_l finds the "
                                 f"minimum; after map {l} stands {net.sigma[l]!r}, which falls somewhere")


def between(centre, old, share):
    """Return centre + share (old − centre), in a new array."""
    new = old - centre
    new *= share
    new += centre
    return new
