r"""The energy in which each layer has one lifted value v_l, predicted from the one below: the two-split quadratic.

.. math:: E(\theta, v) = L_y(\varphi(\theta_D, \cdot)) + \sum_{l<D} \tfrac{\mu}{2}\|v_l - f_l(v_{l-1})\|^2

with the loss summed over the samples. With latent "post" the value is :math:`v_l = a_l` and σ stands outside the map,
:math:`f_l = \sigma_l(\varphi(\theta_l, a_{l-1}))`: the penalty of MAC. With "pre" it is :math:`v_l = z_l` and σ stands
inside, :math:`f_l = \varphi(\theta_l, \sigma_{l-1}(z_{l-1}))`; X passes through no σ. The partial gradients are

.. math:: \text{post:}\quad \partial E/\partial a_l = \mu e_l + g_{l+1}W_{l+1}^T, \qquad
            g_l = -\mu\,\sigma'(u_l) \odot e_l

.. math:: \text{pre:}\quad \partial E/\partial z_l = \mu e_l + \sigma'(z_l) \odot (g_{l+1}W_{l+1}^T), \qquad
            g_l = -\mu e_l

with the errors :math:`e_l = v_l - f_l`, the maps' values u_l, and :math:`g_l = \partial E/\partial u_l`, the gradient
of the loss for l = D. The gradient in θ_l is :math:`\tilde a_{l-1}^T g_l`, as in backpropagation.

On a graph the second term is a sum over the maps and joins that read the value, by their adjoints, and the gradient in
a shared θ is a sum over its uses. Each join has a value and a penalty, like a map. Values that depend on no parameters,
such as a time step of X, are data and stay fixed.
"""

from __future__ import annotations

from functools import partial, reduce
from operator import add
from typing import NamedTuple

from minilift.energy import checked_targets, squared_norm
from minilift.local.fits import fit_inputs
from minilift.local.problems import LocalProblem, MatchingLoss, Model, SquaredFit
from minilift.local.solvers import exact, fletcher_reeves
from minilift.methods.lifted.descend import LiftedEnergy, Variables
from minilift.support.arguments import known_name, positive_number


class Seen(NamedTuple):
    """What E depends on at layer l.

    Attributes
    ----------
    inputs : list of arrays
        What map or join l reads: on a chain a_{l−1}, or σ(z_{l−1}).
    u : array
        φ(θ_l, inputs).
    error : array or None
        e_l; None on the last layer.
    gradient : array
        g_l = ∂E/∂u_l.
    """

    inputs: list
    u: object
    error: object
    gradient: object


class TwoSplit(LiftedEnergy):
    r"""The two-split quadratic energy of one batch.

    Its variables hold a_1, …, a_{D−1} in `a` for "post", z_1, …, z_{D−1} in `z` for "pre", and X in slot 0 of `a`.

    Parameters
    ----------
    net : Network
        One whose transfers depend only on their input: no dropout, no batch norm.
    y : targets or None
        None is enough for `start`.
    mu : float, default 1.0
        Weight μ of the penalties.
    latent : {"post", "pre"}, default "post"
    fixed : Variables, optional
        The point at which predictions f_l and all derivatives of maps and transfers are taken; by default the variables
        themselves. With it `gradient` is not the gradient of `value`, but predictive coding's substitute for it.
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

    @property
    def lifted(self):
        """The numbers l of the lifted values: 1, …, D − 1 on a chain."""
        return [l for l in range(1, self.net.depth) if self.net.learns[l]]

    def terms(self, variables):
        """Return the loss and the penalties "error 1", …, one for each lifted value."""
        errors = {f"error {l}": self.mu / 2 * squared_norm(self.layer(l, variables).error) for l in self.lifted}
        return {"loss": self.loss(self.layer(self.net.depth, variables).u), **errors}

    def layer(self, l, variables):
        """Return `Seen` for layer l."""
        at = variables if self.fixed is None else self.fixed
        read = [self.reading(j, at) for j in self.net.inputs[l]]
        u = self.net.phi[l].forward(variables.theta[self.net.owner[l]], *read)
        return Seen(read, u, *self.seen(l, u, variables))

    def seen(self, l, u, variables):
        """Return the error and the gradient of layer l for a value u of its map."""
        if l == self.net.depth:
            return None, self.loss_gradient(u)
        if self.latent == "pre":
            error = variables.z[l] - u
            return error, -self.mu * error
        prediction, aux = self.net.sigma[l].apply(u)
        error = variables.a[l] - prediction
        return error, self.net.sigma[l].adjoint(u, prediction, aux, -self.mu * error)

    def reading(self, j, variables):
        """Return what maps and joins read of value j."""
        if j == 0 or self.latent == "post":
            return variables.a[j]
        return self.net.sigma[j].forward(variables.z[j])

    def gradient(self, block, l, variables):
        """Return ∂E in block "theta" number l, or in the lifted value ("a" or "z") number l."""
        net = self.net
        if block == "theta":
            uses = [(net.phi[u], self.layer(u, variables)) for u in range(l, net.depth + 1) if net.owner[u] == l]
            return reduce(add, [phi.adjoint_theta(*use.inputs, use.gradient) for phi, use in uses])
        known_name("TwoSplit: block", block, ("theta", self.block))
        readers = [c for c in range(l + 1, net.depth + 1) if l in net.inputs[c]]
        layers = {c: self.layer(c, variables) for c in (l, *readers)}
        return self.latent_gradient(l, layers[l], self.signals(layers, readers, variables)[l], variables)

    def latent_gradients(self, variables):
        """Return [None, ∂E/∂v_1, …, ∂E/∂v_{D−1}], None where a value is data; each map is applied once."""
        lifted, net = self.lifted, self.net
        layers = {l: self.layer(l, variables) for l in (*lifted, net.depth)}
        signals = self.signals(layers, [l for l in layers if net.passes_on[l]], variables)
        found = {l: self.latent_gradient(l, layers[l], signals[l], variables) for l in lifted}
        return [found.get(l) for l in range(net.depth)]

    def signals(self, layers, readers, variables):
        """Return {j: sum of the signals that reach value j from the given maps and joins, by their adjoints}."""
        net, sums = self.net, {}
        for c in readers:
            parts = net.phi[c].adjoint_inputs(variables.theta[net.owner[c]], layers[c].gradient, layers[c].inputs)
            for j, part in zip(net.inputs[c], parts):
                sums[j] = sums[j] + part if j in sums else part
        return sums

    def latent_gradient(self, l, layer, signal, variables):
        """Return ∂E/∂v_l from `Seen` of layer l and the signal that reaches its value."""
        if self.latent == "pre":
            z, sigma = (variables if self.fixed is None else self.fixed).z[l], self.net.sigma[l]
            signal = sigma.adjoint(z, *sigma.apply(z), signal)
        gradient = self.mu * layer.error
        gradient += signal  # PC latent
        return gradient

    # ---- MAC's blocks, for "post": steps that never raise E

    def lowered_theta(self, l, variables, alpha, steps):
        r"""Return θ_l with a lower E + α/2 ‖θ − θ_old‖².

        For a hidden map this is SIBP's local problem, per unit, with target a_l: `steps` Fletcher–Reeves steps are
        taken. For the last map it is convex, and is solved.
        """
        phi, theta, a = self.net.phi[l], variables.theta[l], variables.a[l - 1]
        u = phi.forward(theta, a)
        if l == self.net.depth:
            f = self.net.loss_function.transfer_for("TwoSplit: the last map")
            gap = MatchingLoss(f, u, self.loss_gradient(u))
            return theta - exact(LocalProblem(phi.gram(a), u, gap, alpha)).value  # MAC W
        gap = SquaredFit(self.net.sigma[l], u, -self.seen(l, u, variables)[0])
        problem = LocalProblem(phi.gram(a), u, gap, 2 * alpha / self.mu)  # the gap has no factor ½
        return theta - fletcher_reeves(problem, steps).value  # MAC W

    def lowered_a(self, l, variables, steps):
        """Return a_l with a lower E, by Gauss–Newton steps for each sample."""
        prediction = variables.a[l] - self.layer(l, variables).error
        model = partial(self.model, l + 1, variables=variables)
        return fit_inputs(self.net.phi[l + 1], variables.theta[l + 1], model, variables.a[l], prediction, self.mu,
                          steps)  # MAC a

    def model(self, l, u, variables):
        """Return the `Model` of E as a function of u_l, per sample, with the Gauss–Newton part of its curvature."""
        error, gradient = self.seen(l, u, variables)
        if l == self.net.depth:
            loss, f = self.net.loss_function, self.net.loss_function.transfer_for("TwoSplit: the last map")
            return Model(u, loss.value_per_sample(u, self.y), gradient, partial(f.adjoint, u, f.forward(u), None))
        curvature = self.mu * self.net.sigma[l].derivative(u) ** 2
        return Model(u, self.mu / 2 * (error * error).sum(axis=1), gradient, lambda v: curvature * v)
