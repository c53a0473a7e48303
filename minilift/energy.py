r"""The penalty energy of ProxProp, its partial gradients by hand, and the literal Algorithm 1.

.. math:: E(\theta, a, z) = L_y(\varphi(\theta_D, a_{D-1}))
            + \sum_{l<D} \tfrac{\gamma}{2}\|\sigma(z_l) - a_l\|^2
            + \tfrac{\rho}{2}\|\varphi(\theta_l, a_{l-1}) - z_l\|^2

On a forward pass both penalties vanish and E is the training loss J. Proposition 1: one sweep of block-wise descent
on E, from the last layer to the first, with γ = ρ = 1/τ and step τ, is one step of gradient descent on J. Training
does not come here (`minilift.methods` works in differences and forms no half steps); tests hold the two equal.

`a` and `z` are lists as in `State`, of which z_D is not a variable of E and is not read.
"""

from __future__ import annotations

from minilift.graph import State, checked_network
from minilift.support.arguments import positive_number, sequence, shown, whole_number
from minilift.support.backend import as_array, check_arrays


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

    def check(self, l=1, most=1, **lists):
        """Raise an error unless l is an index of at most `most` and the lists θ, a and z have the network's shapes."""
        whole_number("PenaltyEnergy: l", l, most=most)
        shapes, D, N = self.net.shapes, self.net.depth, len(self.y)
        expected = {"theta": [None, *(phi.theta_shape for phi in self.net.phi[1:])],
                    "a": [(N, *shapes[2 * l]) for l in range(D)],
                    "z": [None, *((N, *shapes[2 * l - 1]) for l in range(1, D)), None]}  # z_D is not read
        for name, given in lists.items():
            given = sequence(f"PenaltyEnergy: {name}", given, "arrays, as in a State,", len(expected[name]))
            for l, (array, shape) in enumerate(zip(given, expected[name])):
                if shape is not None:
                    check_arrays("PenaltyEnergy", **{f"{name}[{l}]": array})
                    if array.shape != shape:
                        raise ValueError(f"PenaltyEnergy: {name}[{l}] must be of shape {shape}, got {array.shape}")

    def value(self, theta, a, z):
        """Return E(θ, a, z), a float."""
        loss, activation_terms, map_terms = self.terms(theta, a, z)
        return loss + sum(activation_terms) + sum(map_terms)  # ProxProp (3)

    def terms(self, theta, a, z):
        """Return the loss, and lists over l < D of the two penalties γ/2 ‖σ(z_l) − a_l‖² and ρ/2 ‖φ_l − z_l‖²."""
        self.check(theta=theta, a=a, z=z)
        D = self.net.depth
        loss = self.net.loss_function.value(self.net.phi[D].forward(theta[D], a[D - 1]), self.y)
        activation_terms = [self.gamma / 2 * squared_norm(self.activation_gap(l, a, z)) for l in range(1, D)]
        map_terms = [self.rho / 2 * squared_norm(self.map_gap(l, theta, a, z)) for l in range(1, D)]
        return loss, activation_terms, map_terms

    def activation_gap(self, l, a, z):
        """Return σ(z_l) − a_l."""
        self.check(l, self.net.depth - 1, a=a, z=z)
        return self.net.sigma[l].apply(z[l])[0] - a[l]

    def map_gap(self, l, theta, a, z):
        """Return φ(θ_l, a_{l−1}) − z_l."""
        self.check(l, self.net.depth, theta=theta, a=a, z=z)
        return self.net.phi[l].forward(theta[l], a[l - 1]) - z[l]

    def gradient_phi(self, l, theta, a, z):
        r"""Return ∂E/∂φ_l, the gradient in the value of the map: ρ (φ_l − z_l), and ∇L_y(φ_D) on the last."""
        self.check(l, self.net.depth, theta=theta, a=a, z=z)
        if l == self.net.depth:
            return self.net.loss_function.gradient(self.net.phi[l].forward(theta[l], a[l - 1]), self.y)
        return self.rho * self.map_gap(l, theta, a, z)

    def gradient_theta(self, l, theta, a, z):
        r"""Return :math:`\partial E/\partial\theta_l = \tilde a_{l-1}^T\,\partial E/\partial\varphi_l`."""
        self.check(l, self.net.depth, theta=theta, a=a, z=z)
        return self.net.phi[l].adjoint_theta(a[l - 1], self.gradient_phi(l, theta, a, z))

    def gradient_a(self, l, theta, a, z):
        r"""Return :math:`\partial E/\partial a_l`.

        It is :math:`\partial E/\partial\varphi_{l+1}\,W_{l+1}^T + \gamma(a_l - \sigma(z_l))`.
        """
        self.check(l, self.net.depth - 1, theta=theta, a=a, z=z)
        through_map = self.net.phi[l + 1].adjoint_input(theta[l + 1], self.gradient_phi(l + 1, theta, a, z))
        return through_map - self.gamma * self.activation_gap(l, a, z)

    def gradient_z(self, l, theta, a, z):
        r"""Return :math:`\partial E/\partial z_l`.

        It is :math:`\gamma\,\sigma'(z_l)\odot(\sigma(z_l) - a_l) - \rho(\varphi_l - z_l)`.
        """
        self.check(l, self.net.depth - 1, theta=theta, a=a, z=z)
        sigma_z, aux = self.net.sigma[l].apply(z[l])
        through_transfer = self.net.sigma[l].adjoint(z[l], sigma_z, aux, self.gamma * (sigma_z - a[l]))
        return through_transfer - self.rho * self.map_gap(l, theta, a, z)


def algorithm_1(net, X, y, tau):
    r"""Return θ after one sweep of ProxProp's Algorithm 1, done literally on the penalty energy.

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
    X, y = checked_network("algorithm_1", net).checked_batch(X, y)
    tau = positive_number("algorithm_1: tau", tau)
    energy = PenaltyEnergy(net, y, gamma=1 / tau, rho=1 / tau)
    theta, z, a, aux = net.propagate(X)
    theta_new, z_half, a_half, D = list(theta), list(z), list(a), net.depth

    # (a) one gradient step on E in (θ_D, a_{D−1}), both from the forward pass
    theta_new[D] = theta[D] - tau * energy.gradient_theta(D, theta, a, z)  # ProxProp (12)
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
        theta_new[l] = theta[l] - tau * energy.gradient_theta(l, theta, a, half)  # ProxProp (11)
    return State(theta_new, z_half, a_half, aux)


def replaced(values, l, value):
    """Return a list with entry l replaced."""
    return [*values[:l], value, *values[l + 1:]]


def squared_norm(x):
    """Return ‖x‖² as a float."""
    return float((x * x).sum())
