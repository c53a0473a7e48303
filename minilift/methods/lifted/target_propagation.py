r"""Target propagation (Lee, Zhang, Fischer, Bengio 2015): each map has its own target, made by learned inverses.

With the values h_l of the forward pass (h_D is the output), inverse maps :math:`g_l(h) = \tau(\tilde h\,\psi_l)` and
the gradient of the summed loss, the targets are, from the output down,

.. math:: t_D = h_D - \beta\,\partial L_y/\partial h_D, \qquad
            t_{l-1} = h_{l-1} + g_l(t_l) - g_l(h_l).

The difference corrects the error of g_l at h_l: if a target equals its value, so do the targets below. Each map
then descends on its own local loss, and each inverse on its own reconstruction of noisy values,

.. math:: \theta_l:\; \tfrac12\|f_l(h_{l-1}) - t_l\|^2, \qquad
            \psi_l:\; \tfrac{1}{2N}\|g_l(f_l(\tilde h)) - \tilde h\|^2, \quad \tilde h = h_{l-1} + \sigma\varepsilon,

with :math:`f_l = \sigma_l \circ \varphi(\theta_l, \cdot)`. Below the first target nothing passes through a
transposed W. Implementations scale the two losses differently; here both sum over units and have the factor ½.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from minilift.energy import squared_norm
from minilift.layers.activations import ACTIVATIONS, Identity
from minilift.layers.maps import Linear
from minilift.methods.backward.sweep import Method
from minilift.methods.lifted.descend import Variables, refuse_all_but_chains
from minilift.support.arguments import (
    instance_of,
    is_floating,
    known_name,
    number_between,
    positive_number,
    shown,
    whole_number,
)


class TargetPropagation(Method):
    r"""Target propagation; `direction` returns the gradients of the local losses divided by β, for any optimizer.

    So they have the size of a gradient: that of the last map is ∇J, and if the inverses had the transposed
    derivatives, all of them would tend to ∇J as β → 0. The weight of a sample is that of the network's loss.

    A call uses only old values: the targets come from the inverses before the call, and the step of the inverses from
    the maps before the call.

    Parameters
    ----------
    beta : float, default 0.1
        Step β of the first target along the gradient of the summed loss.
    variant : {"difference", "lee"}, default "difference"
        "lee": as published, the last map takes ∇J and the first target is that of its input,
        :math:`t_{D-1} = h_{D-1} - \beta\,\partial L_y/\partial h_{D-1}`. "difference": the first target is that of the
        output, and the last map has an inverse too (Meulemans et al. 2020).
    rate : float, default 0.01
        Learning rate of the inverse maps.
    sigma : float, default 0.1
        Standard deviation σ of the noise, which makes the inverses accurate around the values too.
    transfer : str, optional
        Name of the transfer τ of all inverses, "identity" for linear ones. By default τ of g_l is the network's
        transfer after map l − 1, whose values g_l returns.
    seed : int, default 0
        Seed of the inverse maps, drawn in the first call, and of the noise. Assigning another one resets both.

    Attributes
    ----------
    psi : dict
        {l: ψ_l} with ψ_l of shape (n_l + 1, n_{l−1}); empty before the first call.
    variables : Variables or None
        The targets of the last call, as `a`.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: if the network is not a chain of Linear maps with elementwise transfers.

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10], dtype=np.float64), ml.datasets.digits()
    >>> _, d = ml.TargetPropagation().direction(net, data.X_train, data.y_train)
    >>> _, gradient = ml.BackProp().direction(net, data.X_train, data.y_train)
    >>> np.allclose(d[1], gradient[1], atol=1e-3)  # on the last map
    True
    """

    shown_always = ("beta", "variant")
    columns = ("reconstruction",)
    descends_on_loss = False  # each map descends on a loss of its own

    def __init__(self, beta: float = 0.1, variant: str = "difference", rate: float = 0.01, sigma: float = 0.1,
                 transfer: str | None = None, seed: int = 0) -> None:
        self.beta = positive_number("TargetPropagation: beta", beta)
        self.variant = known_name("TargetPropagation: variant", variant, ("difference", "lee"))
        self.rate = number_between("TargetPropagation: rate", rate, 0)
        self.sigma = number_between("TargetPropagation: sigma", sigma, 0)
        self.transfer = transfer
        if transfer is not None:
            known_name("TargetPropagation: transfer", transfer, tuple(ACTIVATIONS))
        self.seed = seed

    def __setattr__(self, name, value):
        """Start afresh when a seed is assigned."""
        if name == "seed":
            whole_number("TargetPropagation: seed", value, least=0)
        super().__setattr__(name, value)
        if name == "seed":
            self.reset()

    def reset(self):
        """Forget the inverse maps: the next call draws them anew."""
        self.psi, self.rng = {}, np.random.default_rng(self.seed)
        self.variables, self.reconstruction = None, float("nan")

    def measure(self):
        """Return the inverses' reconstruction loss in the last call, NaN before the first."""
        return {"reconstruction": self.reconstruction}

    def inverted(self, net):
        """Return the indices of the maps that have an inverse."""
        return range(2, net.depth + (self.variant == "difference"))

    def prepare(self, net):
        """Draw the inverse maps if there are none, and move them to the network's backend."""
        if not self.psi:
            self.psi = {l: self.inverse_map(net, l).initial_theta(self.rng).astype(net.dtype)
                        for l in self.inverted(net)}
        self.psi = {l: net.xp.asarray(psi) for l, psi in self.psi.items()}

    def inverse_map(self, net, l):
        """Return the linear map inside g_l."""
        return Linear(net.phi[l].n_out, net.phi[l].n_in)

    def inverse_transfer(self, net, l):
        """Return τ of g_l."""
        return net.sigma[l - 1] if self.transfer is None else ACTIVATIONS[self.transfer]()

    def inverse(self, net, l, h):
        """Return g_l(h)."""
        return self.inverse_transfer(net, l).forward(self.inverse_map(net, l).forward(self.psi[l], h))

    def directions(self, net, state, y):
        """Return the gradients of the local losses divided by β; then train the inverses."""
        refuse_all_but_chains(self, net)
        before = self.psi, self.rng.bit_generator.state
        try:
            return self.gradients_and_inverses(net, state, y)
        except BaseException:  # a step that was not taken leaves no trace in the inverses
            self.psi, self.rng.bit_generator.state = before
            raise

    def gradients_and_inverses(self, net, state, y):
        """Return the directions, and train the inverses."""
        self.prepare(net)
        D, weight = net.depth, net.loss_function.weight(len(state.a[0]))
        off = self.differences(net, state, y)
        values = [*state.a[:D], state.z[D]]
        targets = [h if t is None else h - t for h, t in zip(values, off)]
        directions = [weight / self.beta * self.local_gradient(net, state, l, off[l]) for l in range(1, D + 1)]
        self.learn_inverses(net, state)
        self.variables = Variables(list(state.theta), None, targets)
        return directions

    def local_gradient(self, net, state, l, off):
        """Return the gradient of ½‖f_l(h_{l−1}) − t_l‖² in θ_l, from the difference h_l − t_l."""
        g = off if l == net.depth else net.sigma[l].adjoint(state.z[l], state.a[l], None, off)  # DTP direction
        return net.phi[l].adjoint_theta(state.a[l - 1], g)  # DTP direction

    def differences(self, net, state, y):
        """Return [None, h_1 − t_1, …, h_D − t_D]; for "lee" the last one is what gives the last map ∇J."""
        theta, z, a, D = state.theta, state.z, state.a, net.depth
        loss = net.loss_function
        off = [None] * D + [self.beta / loss.weight(len(z[D])) * loss.gradient(z[D], y)]
        h = [*a[:D], z[D]]
        for l in range(D, 1, -1):
            if l == D and self.variant == "lee":
                off[l - 1] = net.phi[l].adjoint_input(theta[l], off[l])
            else:
                off[l - 1] = self.inverse(net, l, h[l]) - self.inverse(net, l, h[l] - off[l])  # DTP target
        return off

    def learn_inverses(self, net, state):
        """Take a gradient step in each ψ_l on the reconstruction of noisy values, and measure it."""
        learned, total = {}, 0.0
        for l, psi in self.psi.items():
            loss, gradient = self.reconstruct(net, l, self.noisy(net, state.a[l - 1]), state.theta[l])
            learned[l] = psi - self.rate * gradient
            total += loss
        self.psi, self.reconstruction = learned, total

    def noisy(self, net, h):
        """Return h + σε."""
        noise = self.rng.standard_normal(h.shape).astype(net.dtype)
        return h + self.sigma * net.xp.asarray(noise)

    def reconstruct(self, net, l, h, theta):
        """Return ½‖g_l(f_l(h)) − h‖², averaged over samples, and its gradient in ψ_l."""
        sigma, tau, phi = Identity() if l == net.depth else net.sigma[l], self.inverse_transfer(net, l), net.phi[l]
        above, inverse = sigma.forward(phi.forward(theta, h)), self.inverse_map(net, l)
        u = inverse.forward(self.psi[l], above)
        back = tau.forward(u)
        gradient = inverse.adjoint_theta(above, tau.adjoint(u, back, None, back - h))  # DTP inverse
        return squared_norm(back - h) / (2 * len(h)), gradient / len(h)

    def state_dict(self):
        """Return the inverse maps as psi/2, …, and the state of the noise's generator."""
        if not self.psi:
            return {}
        state = {f"psi/{l}": psi for l, psi in self.psi.items()}
        return {**state, "rng": np.array(json.dumps(self.rng.bit_generator.state))}

    def load_state_dict(self, values):
        """Take back what `state_dict` returned: all of it or, if something is wrong with it, nothing."""
        instance_of("TargetPropagation: values", values, Mapping)
        names = [f"psi/{l}" for l in range(2, max(2, len(values)) + 1)] if values else []
        if values and set(values) != {*names, "rng"}:
            raise ValueError("TargetPropagation: expected a state with the keys psi/2, psi/3, … and rng, "
                             f"got {sorted(values, key=str)}")
        for name in names:
            if not is_floating(values[name]):
                raise TypeError(f"TargetPropagation: {name} must be a floating-point matrix, got {shown(values[name])}")
        rng = np.random.default_rng(self.seed)
        if values:
            try:
                rng.bit_generator.state = json.loads(str(values["rng"]))
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"TargetPropagation: rng must be the state of a generator, {error}") from error
        self.reset()
        self.psi, self.rng = {l: values[name] for l, name in enumerate(names, start=2)}, rng

    def check_state(self, net):
        """Raise an error if the inverse maps belong to another network."""
        if self.psi and list(self.psi) != list(self.inverted(net)):
            raise ValueError(f"TargetPropagation: expected inverses of the maps {list(self.inverted(net))}, "
                             f"got those of {list(self.psi)}")
        for l, psi in self.psi.items():
            if psi.shape != self.inverse_map(net, l).theta_shape or psi.dtype != net.dtype:
                raise ValueError(f"TargetPropagation: psi/{l} must be of shape {self.inverse_map(net, l).theta_shape} "
                                 f"and dtype {net.dtype}, got {shown(psi)}")
