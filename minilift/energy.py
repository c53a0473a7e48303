r"""The penalty energy of ProxProp: its partial gradients by hand, the local problems in θ, Algorithms 1 and 2.

.. math:: E(\theta, a, z) = L_y(\varphi(\theta_D, a_{D-1}))
            + \sum_{l<D} \tfrac{\gamma}{2}\|\sigma(z_l) - a_l\|^2
            + \tfrac{\rho}{2}\|\varphi(\theta_l, a_{l-1}) - z_l\|^2

On a forward pass both penalties vanish and E is the training loss J. Proposition 1: one sweep of block-wise descent
on E, from the last layer to the first, with γ = ρ = 1/τ and step τ, is one step of gradient descent on J.

Every method of `minilift.methods` takes the same sweep. What it puts in the place of the step in θ_l is the `local`
problem of that block, with a gap of its own. The methods work in differences and form no half steps;
`algorithm_1` and `algorithm_2` write them out, and tests hold the two equal.

`a` and `z` are lists as in `State`, of which z_D is not a variable of E and is not read.
"""

from __future__ import annotations

from typing import NamedTuple

from minilift.graph import State, checked_network
from minilift.local.problems import LocalProblem, SquaredGap
from minilift.local.solvers import exact
from minilift.support.arguments import positive_number, shown
from minilift.support.backend import as_array


class Block(NamedTuple):
    r"""One block of variables, θ_l, and what a method may know when it proposes a step in it.

    Attributes
    ----------
    l, depth : int
        Index of the map, and of the last one.
    last : bool
        Whether this is the last map.
    phi : map
        φ_l.
    f : transfer
        The elementwise activation that directly follows the map (identity where something else does); on the last
        map the transfer inside the loss, softmax say.
    theta : array
        θ_l before the step.
    a : array
        a_{l−1}, the map's input in the forward pass.
    z : array
        z_l = φ_l(θ_l, a_{l−1}).
    g_a : array or None
        ∂J/∂f(z_l), not masked by f': where f is all of σ_l this is ∂J/∂a_l. None on the last map.
    g : array
        g_l = ∂J/∂z_l.
    weight : float
        Factor of one sample's loss in J: 1/N for the mean, 1 for the sum.
    """

    l: int
    depth: int
    last: bool
    phi: object
    f: object
    theta: object
    a: object
    z: object
    g_a: object
    g: object
    weight: float


class OwnBlock(NamedTuple):
    """One block of parameters of a transfer itself, such as scale and shift of a batch norm. It has no local problem.

    Attributes
    ----------
    k : int
        Goes on from the maps': D + 1, … in the order of `Network.parameters`.
    gradient : array
        ∂J in this block, of its shape.
    weight : float
        As for `Block`.
    """

    k: int
    gradient: object
    weight: float


def local(block, gap, damping, side=None, bias=True):
    r"""Return the local problem in θ_l: a gap of the map's output, and a proximal term.

    .. math:: \min_\theta\; h(\varphi(\theta, a_{l-1})) + \tfrac{\beta}{2}\|\theta - \theta_l\|^2

    With β = 1/τ_θ and h the energy's own squared gap to :math:`z_l^{½} = z_l - \tau g_l`, divided by τ², it is
    ProxProp (11) for the step divided by τ.

    Parameters
    ----------
    block : Block
    gap : SquaredGap, MatchingLoss or SquaredFit
        h, made for the block's z as a matrix of columns (``phi.columns(z)``).
    damping : float
        β ≥ 0.
    side : {"sample", "parameter"}, optional
        As for `Gram`.
    bias : bool, default True
        Whether the bias belongs to the problem (it does not in the W block of SIBP).

    Returns
    -------
    LocalProblem
    """
    return LocalProblem(block.phi.gram(block.a, side=side, bias=bias), gap.z, gap, damping)  # ProxProp (11)


class PenaltyEnergy:
    r"""E of ProxProp (3) for one network and one set of targets.

    Parameters
    ----------
    net : Network
    y : targets, as the network's loss takes them
    gamma, rho : float, default 1
        Weights of the two penalties.
    """

    def __init__(self, net, y, gamma=1.0, rho=1.0):
        y = as_array("PenaltyEnergy: y", y, checked_network("PenaltyEnergy", net).xp)
        if not y.ndim:
            raise ValueError(f"PenaltyEnergy: y must hold targets, got {shown(y)}")
        self.net, self.y = net, net.loss_function.check_targets(y, len(y), net.shapes[-1][0], net.dtype, net.xp)
        self.gamma = positive_number("PenaltyEnergy: gamma", gamma)
        self.rho = positive_number("PenaltyEnergy: rho", rho)

    def value(self, theta, a, z):
        """Return E(θ, a, z), a float."""
        loss, activation_terms, map_terms = self.terms(theta, a, z)
        return loss + sum(activation_terms) + sum(map_terms)  # ProxProp (3)

    def terms(self, theta, a, z):
        """Return the loss, and lists over l < D of the two penalties γ/2 ‖σ(z_l) − a_l‖² and ρ/2 ‖φ_l − z_l‖²."""
        D = self.net.depth
        loss = self.net.loss_function.value(self.net.phi[D].forward(theta[D], a[D - 1]), self.y)
        activation_terms = [self.gamma / 2 * squared_norm(self.activation_gap(l, a, z)) for l in range(1, D)]
        map_terms = [self.rho / 2 * squared_norm(self.map_gap(l, theta, a, z)) for l in range(1, D)]
        return loss, activation_terms, map_terms

    def activation_gap(self, l, a, z):
        """Return σ(z_l) − a_l."""
        return self.net.sigma[l].apply(z[l])[0] - a[l]

    def map_gap(self, l, theta, a, z):
        """Return φ(θ_l, a_{l−1}) − z_l."""
        return self.net.phi[l].forward(theta[l], a[l - 1]) - z[l]

    def gradient_phi(self, l, theta, a, z):
        r"""Return ∂E/∂φ_l, the gradient in the value of the map: ρ (φ_l − z_l), and ∇L_y(φ_D) on the last."""
        if l == self.net.depth:
            return self.net.loss_function.gradient(self.net.phi[l].forward(theta[l], a[l - 1]), self.y)
        return self.rho * self.map_gap(l, theta, a, z)

    def gradient_theta(self, l, theta, a, z):
        r"""Return :math:`\partial E/\partial\theta_l = \tilde a_{l-1}^T\,\partial E/\partial\varphi_l`."""
        return self.net.phi[l].adjoint_theta(a[l - 1], self.gradient_phi(l, theta, a, z))

    def gradient_a(self, l, theta, a, z):
        r"""Return :math:`\partial E/\partial a_l`.

        It is :math:`\partial E/\partial\varphi_{l+1}\,W_{l+1}^T + \gamma(a_l - \sigma(z_l))`.
        """
        through_map = self.net.phi[l + 1].adjoint_input(theta[l + 1], self.gradient_phi(l + 1, theta, a, z))
        return through_map - self.gamma * self.activation_gap(l, a, z)

    def gradient_z(self, l, theta, a, z):
        r"""Return :math:`\partial E/\partial z_l`.

        It is :math:`\gamma\,\sigma'(z_l)\odot(\sigma(z_l) - a_l) - \rho(\varphi_l - z_l)`.
        """
        sigma_z, aux = self.net.sigma[l].apply(z[l])
        through_transfer = self.net.sigma[l].adjoint(z[l], sigma_z, aux, self.gamma * (sigma_z - a[l]))
        return through_transfer - self.rho * self.map_gap(l, theta, a, z)


def algorithm_1(net, X, y, tau):
    r"""Return the variables after one sweep of ProxProp's Algorithm 1, done literally on the penalty energy.

    Parameters
    ----------
    net : Network
    X, y : a batch
    tau : float
        Step size τ; γ = ρ = 1/τ.

    Returns
    -------
    State
        With θ^{k+1}, and the half-stepped a and z. By Proposition 1 θ^{k+1} is θ^k − τ ∇J(θ^k).
    """
    def explicit(energy, l, theta, a, z_half):
        return tau * energy.gradient_theta(l, theta, a, z_half)

    tau = positive_number("algorithm_1: tau", tau)
    return literal_sweep(net, X, y, tau, explicit)


def algorithm_2(net, X, y, tau, tau_theta):
    r"""Return the variables after one sweep of ProxProp's Algorithm 2: step (c) is implicit on the hidden maps.

    Parameters
    ----------
    net : Network
    X, y : a batch
    tau, tau_theta : float
        Step sizes τ, of the half steps, and τ_θ, of the proximal step in θ.

    Returns
    -------
    State
        With θ^{k+1}, and the half-stepped a and z. By Proposition 2 θ^{k+1} is θ^k − τ M⁻¹∇J(θ^k).
    """
    def implicit(energy, l, theta, a, z_half):
        phi, z = energy.net.phi[l], energy.net.phi[l].forward(theta[l], a[l - 1])
        block = Block(l, net.depth, False, phi, None, theta[l], a[l - 1], z, None, None, 1.0)
        gap = SquaredGap(phi.columns(z), phi.columns(z - z_half[l]))
        return exact(local(block, gap, 1 / tau_theta)).value  # ProxProp (11)

    tau, tau_theta = positive_number("algorithm_2: tau", tau), positive_number("algorithm_2: tau_theta", tau_theta)
    return literal_sweep(net, X, y, tau, implicit)


def literal_sweep(net, X, y, tau, step):
    """Return the variables after (a), (b) and (c) of Algorithms 1 and 2, with `step` for (c) on the hidden maps."""
    X, y = checked_network("literal_sweep", net).checked_batch(X, y)
    energy = PenaltyEnergy(net, y, gamma=1 / tau, rho=1 / tau)
    theta, z, a, aux = net.propagate(X)
    theta_new, z_half, a_half, D = list(theta), list(z), list(a), net.depth

    # (a) one gradient step on E in (θ_D, a_{D−1}), both from the forward pass
    theta_new[D] = theta[D] - tau * energy.gradient_theta(D, theta, a, z)  # ProxProp (12), Prop. 1
    if D > 1:
        a_half[D - 1] = a[D - 1] - tau * energy.gradient_a(D - 1, theta, a, z)  # ProxProp (8)
    for l in range(D - 1, 0, -1):
        # (b) in z_l, with the a_l^½ just found; then in a_{l−1}, with z_l^½
        at_half = replaced(a, l, a_half[l])
        z_half[l] = z[l] - tau * energy.gradient_z(l, theta, at_half, z)  # ProxProp (9)
        half = replaced(z, l, z_half[l])
        if l > 1:
            a_half[l - 1] = a[l - 1] - tau * energy.gradient_a(l - 1, theta, a, half)  # ProxProp (10)
        # (c) in θ_l, at the forward pass's a_{l−1}: with a_{l−1}^½ Proposition 1 would be false
        theta_new[l] = theta[l] - step(energy, l, theta, a, half)  # ProxProp Prop. 1
    return State(theta_new, z_half, a_half, aux)


def replaced(values, l, value):
    """Return a list with entry l replaced."""
    return [*values[:l], value, *values[l + 1:]]


def squared_norm(x):
    """Return ‖x‖² as a float."""
    return float((x * x).sum())
