r"""The energy in which each layer has one lifted value v_l, predicted from the one below: the two-split quadratic.

.. math:: E(\theta, v) = L_y(\varphi(\theta_D, \cdot)) + \sum_{l<D} \tfrac{\mu}{2}\|v_l - f_l(v_{l-1})\|^2

with the loss summed over the samples. With latent "post" the value is :math:`v_l = a_l` and σ stands outside the map,
:math:`f_l = \sigma_l(\varphi(\theta_l, a_{l-1}))`: the penalty of MAC. With "pre" it is :math:`v_l = z_l` and σ stands
inside, :math:`f_l = \varphi(\theta_l, \sigma_{l-1}(z_{l-1}))`; X is not passed through a σ. The partial gradients are

.. math:: \text{post:}\quad \partial E/\partial a_l = \mu e_l + g_{l+1}W_{l+1}^T, \qquad
            g_l = -\mu\,\sigma'(u_l) \odot e_l

.. math:: \text{pre:}\quad \partial E/\partial z_l = \mu e_l + \sigma'(z_l) \odot (g_{l+1}W_{l+1}^T), \qquad
            g_l = -\mu e_l

with the errors :math:`e_l = v_l - f_l`, the maps' values u_l, and :math:`g_l = \partial E/\partial u_l`, the gradient
of the loss for l = D. The gradient in θ_l is :math:`\tilde a_{l-1}^T g_l`, as in backpropagation.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from minilift.energy import squared_norm
from minilift.local.fits import fit_inputs
from minilift.local.problems import LocalProblem, MatchingLoss, Model, SquaredFit
from minilift.local.solvers import exact, fletcher_reeves
from minilift.methods.lifted.descend import LiftedEnergy, Variables, checked_targets
from minilift.support.arguments import known_name, positive_number


class Seen(NamedTuple):
    """What E sees of layer l.

    Attributes
    ----------
    input : array
        What map l reads: a_{l−1}, or σ(z_{l−1}).
    u : array
        φ(θ_l, input).
    error : array or None
        e_l, None on the last layer.
    gradient : array
        g_l = ∂E/∂u_l.
    """

    input: object
    u: object
    error: object
    gradient: object


class TwoSplit(LiftedEnergy):
    r"""The two-split quadratic energy of one batch.

    Its variables hold a_1, …, a_{D−1} in `a` for "post", z_1, …, z_{D−1} in `z` for "pre"; and X in slot 0 of `a`.

    Parameters
    ----------
    net : Network
        A chain of maps with elementwise transfers.
    y : targets or None
        None will do for `start`.
    mu : float, default 1.0
        Weight μ of the penalties.
    latent : {"post", "pre"}, default "post"
    fixed : Variables, optional
        Where predictions f_l and all derivatives of maps and transfers are taken, if not at the variables themselves.
        `gradient` is then no gradient of `value`, but what predictive coding puts in its place.
    """

    def __init__(self, net, y, mu=1.0, latent="post", fixed=None):
        self.net, self.fixed = net, fixed
        self.y = None if y is None else checked_targets("TwoSplit", net, y)
        self.mu = positive_number("TwoSplit: mu", mu)
        self.latent = known_name("TwoSplit: latent", latent, ("post", "pre"))

    @property
    def block(self):
        """The name of the block that holds the lifted values, "a" or "z"."""
        return "a" if self.latent == "post" else "z"

    def start(self, state):
        """Return the variables of a forward pass; all errors are 0."""
        D = self.net.depth
        if self.latent == "post":
            return Variables(list(state.theta), None, list(state.a[:D]))
        return Variables(list(state.theta), list(state.z[:D]), [state.a[0]])

    def terms(self, variables):
        """Return the loss and the penalties "error 1", …, one of each hidden layer."""
        D = self.net.depth
        errors = {f"error {l}": self.mu / 2 * squared_norm(self.layer(l, variables).error) for l in range(1, D)}
        return {"loss": self.loss(self.layer(D, variables).u), **errors}

    def layer(self, l, variables):
        """Return what is `Seen` of layer l."""
        read = self.input(l, variables if self.fixed is None else self.fixed)
        u = self.net.phi[l].forward(variables.theta[l], read)
        return Seen(read, u, *self.seen(l, u, variables))

    def seen(self, l, u, variables):
        """Return the error and the gradient of layer l for a value u of its map."""
        if l == self.net.depth:
            return None, self.loss_gradient(u)
        if self.latent == "pre":
            error = variables.z[l] - u
            return error, -self.mu * error
        sigma, prediction = self.net.sigma[l], self.net.sigma[l].forward(u)
        error = variables.a[l] - prediction
        return error, sigma.adjoint(u, prediction, None, -self.mu * error)

    def input(self, l, variables):
        """Return what map l reads."""
        if l == 1 or self.latent == "post":
            return variables.a[l - 1]
        return self.net.sigma[l - 1].forward(variables.z[l - 1])

    def gradient(self, block, l, variables):
        """Return ∂E in block "theta" number l, or in the lifted value ("a" or "z") number l."""
        layer = self.layer(l, variables)
        if block == "theta":
            return self.net.phi[l].adjoint_theta(layer.input, layer.gradient)
        known_name("TwoSplit: block", block, ("theta", self.block))
        return self.latent_gradient(l, layer, self.layer(l + 1, variables), variables)

    def latent_gradients(self, variables):
        """Return [None, ∂E/∂v_1, …, ∂E/∂v_{D−1}]; each map is applied once."""
        layers = [None] + [self.layer(l, variables) for l in range(1, self.net.depth + 1)]
        return [None] + [self.latent_gradient(l, layers[l], layers[l + 1], variables)
                         for l in range(1, self.net.depth)]

    def latent_gradient(self, l, layer, above, variables):
        """Return ∂E/∂v_l from what is `Seen` of layer l and of the one above it."""
        signal = self.net.phi[l + 1].adjoint_input(variables.theta[l + 1], above.gradient)
        if self.latent == "pre":
            z = (variables if self.fixed is None else self.fixed).z[l]
            signal = self.net.sigma[l].adjoint(z, above.input, None, signal)
        signal += self.mu * layer.error  # PC latent
        return signal

    # ---- MAC's blocks, for "post": steps that never raise E

    def lowered_theta(self, l, variables, alpha, steps):
        r"""Return θ_l with a lower E + α/2 ‖θ − θ_old‖².

        In a hidden map it is the local problem of SIBP, for each unit, with the target a_l: a few steps of `steps`
        Fletcher–Reeves. In the last it is convex, and solved.
        """
        phi, theta, a = self.net.phi[l], variables.theta[l], variables.a[l - 1]
        u = phi.forward(theta, a)
        if l == self.net.depth:
            gap = MatchingLoss(self.net.loss_function.transfer_for("MAC"), u, self.loss_gradient(u))
            return theta - exact(LocalProblem(phi.gram(a), u, gap, alpha)).value  # MAC W
        gap = SquaredFit(self.net.sigma[l], u, -self.seen(l, u, variables)[0])
        problem = LocalProblem(phi.gram(a), u, gap, 2 * alpha / self.mu)  # the gap has no factor ½
        return theta - fletcher_reeves(problem, steps).value  # MAC W

    def lowered_a(self, l, variables, steps):
        """Return a_l with a lower E, by Gauss–Newton steps of each sample."""
        prediction = variables.a[l] - self.layer(l, variables).error
        model = partial(self.model, l + 1, variables=variables)
        return fit_inputs(self.net.phi[l + 1], variables.theta[l + 1], model, variables.a[l], prediction, self.mu,
                          steps)  # MAC a

    def model(self, l, u, variables):
        """Return the `Model` of what E says of u_l, of each sample, with the Gauss–Newton part of its curvature."""
        error, gradient = self.seen(l, u, variables)
        if l == self.net.depth:
            loss, f = self.net.loss_function, self.net.loss_function.transfer_for("MAC")
            return Model(u, loss.value_per_sample(u, self.y), gradient, partial(f.adjoint, u, f.forward(u), None))
        curvature = self.mu * self.net.sigma[l].derivative(u) ** 2
        return Model(u, self.mu / 2 * (error * error).sum(axis=1), gradient, lambda v: curvature * v)
