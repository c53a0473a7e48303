r"""The penalty energy of ProxProp: its partial gradients, derived by hand, the local problems in θ, Algorithms 1 and 2.

.. math:: E(\theta, a, z) = L_y(\varphi(\theta_D, a_{D-1}))
            + \sum_{l<D} \tfrac{\gamma}{2}\|\sigma(z_l) - a_l\|^2
            + \tfrac{\rho}{2}\|\varphi(\theta_l, a_{l-1}) - z_l\|^2

On a forward pass both penalties vanish and E is the training loss J. Proposition 1: one sweep of block-wise descent
on E, from the last layer to the first, with γ = ρ = 1/τ and step τ, is one step of gradient descent on J.

The methods of `minilift.methods.backward` share one sweep. ProxProp, LocoProp and SIBP replace the step in θ_l by
the `local` problem of a block, each with its own gap. They work with differences and form no half steps; `algorithm_1`
and `algorithm_2` write the half steps out, and tests check that both forms agree.

`a` and `z` are lists as in `State`; z_D is not a variable of E and is not read. On a graph a_{l−1} stands for
all values that map or join l reads, and each join has a penalty like that of a map, with its weight ρ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minilift.graph import State, checked_network
from minilift.local.problems import LocalProblem, SquaredGap
from minilift.local.solvers import exact
from minilift.support.arguments import known_name, positive_number, shown
from minilift.support.backend import array_module, as_array


class Block(NamedTuple):
    r"""One block of variables, θ_l, and everything a method may use when it proposes a step in it.

    Attributes
    ----------
    l, depth : int
        Index of the map, and of the last one. If maps share θ_l, l is the index of the first.
    last : bool
        Whether this is the last map, which ends the network, and no other shares its θ.
    phi : map
        φ_l.
    f : transfer or None
        The elementwise activation that directly follows the map (the identity if something else does); for the last
        map, the transfer inside the loss, softmax say. None if there are several, of maps that share θ_l, or if the
        loss names none.
    theta : array
        θ_l before the step.
    a : array
        a_{l−1}, the map's input in the forward pass. If maps share θ_l, the rows of all their inputs are stacked,
        and so are those of z, g_a and g: the step is that of one map with that many samples.
    z : array
        z_l = φ_l(θ_l, a_{l−1}).
    g_a : array or None
        ∂J/∂f(z_l), not masked by f': if f is all of σ_l this is ∂J/∂a_l. None for the last map, and for maps that share
        its θ.
    g : array
        g_l = ∂J/∂z_l.
    weight : float
        Factor of one sample's loss in J: 1/N for the mean, 1 for the sum.
    k, thetas : int
        Number of θ_l in `Network.parameters`, counted from 1, and the total number of θ: l and depth on a chain.
    f_inside : transfer or None
        As f, but the identity for the last map (SIBP), where the loss is outside the network.

    Examples
    --------
    >>> shapes = []
    >>> def gradient(block):
    ...     shapes.append((block.l, block.theta.shape, block.a.shape, block.g.shape))
    ...     return block.phi.adjoint_theta(block.a, block.g)
    >>> data = ml.datasets.digits()
    >>> history = ml.fit(ml.mlp([64, 16, 10]), data, gradient, ml.SGD(1.0), epochs=1, batch_size=None, progress=False)
    >>> shapes
    [(2, (17, 10), (1437, 16), (1437, 10)), (1, (65, 16), (1437, 64), (1437, 16))]
    """

    l: int
    depth: int
    last: bool
    phi: Any
    f: Any
    theta: Any
    a: Any
    z: Any
    g_a: Any
    g: Any
    weight: float
    k: int
    thetas: int
    f_inside: Any


def stacked(uses):
    """Return a, z, g_a and g stacked over all uses of one θ; `uses` has a tuple for each, the last use first.

    g_a is None if it is None for any of them.
    """
    return [None if any(part is None for part in parts) else array_module(*parts).concatenate(parts)
            for parts in zip(*reversed(uses))]


class OwnBlock(NamedTuple):
    """One block of a transfer's own parameters, such as scale and shift of a batch norm; it has no local problem.

    Attributes
    ----------
    k : int
        Number in `Network.parameters`, where it continues from those of the maps.
    theta : array
        Its present values.
    gradient : array
        ∂J in this block, of its shape.
    weight : float
        As for `Block`.
    """

    k: int
    theta: Any
    gradient: Any
    weight: float


def local(block, gap, damping, side=None, bias=True):
    r"""Return the local problem in θ_l: a gap in the map's output, and a proximal term.

    .. math:: \min_\theta\; h(\varphi(\theta, a_{l-1})) + \tfrac{\beta}{2}\|\theta - \theta_l\|^2

    With β = 1/τ_θ and h the energy's own squared gap to :math:`z_l^{½} = z_l - \tau g_l`, divided by τ², it is
    ProxProp (11) for the step divided by τ.

    Parameters
    ----------
    block : Block
    gap : SquaredGap, MatchingLoss or SquaredFit
        h, built from the block's z in matrix form (``phi.columns(z)``).
    damping : float
        β ≥ 0.
    side : {"sample", "parameter"}, optional
        As for `Gram`.
    bias : bool, default True
        Whether the bias is part of the problem (it is not in the W block of SIBP).

    Returns
    -------
    LocalProblem
    """
    return LocalProblem(block.phi.gram(block.a, side=side, bias=bias), gap.z, gap, damping)  # ProxProp (11)


def checked_targets(what, net, y):
    """Return targets in the form of the network's loss, on its backend, or raise an error."""
    y = as_array(f"{what}: y", y, checked_network(what, net).xp)
    if not (y.ndim and len(y)):
        raise ValueError(f"{what}: y must hold targets, got {shown(y)}")
    return net.loss_function.check_targets(y, len(y), net.shapes[-1][0], net.dtype, net.xp)


class Penalties:
    """Base class of energies with the penalties of ProxProp (3): their gaps and partial gradients.

    A subclass defines `gradient_phi`, the gradient in the value of a map.

    Parameters
    ----------
    net : Network
    y : targets, as the network's loss takes them
    gamma, rho : float, default 1
        Weights of the two penalties.
    """

    def __init__(self, net, y, gamma=1.0, rho=1.0):
        what = type(self).__name__
        self.net, self.y = net, checked_targets(what, net, y)
        self.gamma = positive_number(f"{what}: gamma", gamma)
        self.rho = positive_number(f"{what}: rho", rho)

    def gradient_phi(self, l, theta, a, z):
        r"""Return ∂E/∂φ_l, the gradient in the value of the map."""
        raise NotImplementedError(f"{type(self).__name__} must define gradient_phi(l, theta, a, z)")

    def inputs(self, l, a):
        """Return the values that map or join l reads; on a chain [a_{l−1}]."""
        return [a[j] for j in self.net.inputs[l]]

    def phi(self, l, theta, a):
        """Return φ(θ_l, a_{l−1})."""
        return self.net.phi[l].forward(theta[l], *self.inputs(l, a))

    def activation_gap(self, l, a, z):
        """Return σ(z_l) − a_l."""
        return self.net.sigma[l].apply(z[l])[0] - a[l]

    def map_gap(self, l, theta, a, z):
        """Return φ(θ_l, a_{l−1}) − z_l."""
        return self.phi(l, theta, a) - z[l]

    def gradient_theta(self, l, theta, a, z):
        r"""Return :math:`\partial E/\partial\theta_l = \tilde a_{l-1}^T\,\partial E/\partial\varphi_l`.

        If maps share θ_l it is the sum over them.
        """
        return sum(self.net.phi[u].adjoint_theta(*self.inputs(u, a), self.gradient_phi(u, theta, a, z))
                   for u in range(1, self.net.depth + 1) if self.net.owner[u] == self.net.owner[l])

    def gradient_a(self, l, theta, a, z):
        r"""Return :math:`\partial E/\partial a_l`.

        It is :math:`\partial E/\partial\varphi_{l+1}\,W_{l+1}^T + \gamma(a_l - \sigma(z_l))`; if several maps or
        joins read a_l, the first term is a sum over them.
        """
        gradient = -self.gamma * self.activation_gap(l, a, z)
        for c in range(l + 1, self.net.depth + 1):
            if l in self.net.inputs[c]:
                parts = self.net.phi[c].adjoint_inputs(theta[c], self.gradient_phi(c, theta, a, z), self.inputs(c, a))
                gradient = gradient + sum(part for j, part in zip(self.net.inputs[c], parts) if j == l)
        return gradient

    def gradient_z(self, l, theta, a, z):
        r"""Return :math:`\partial E/\partial z_l`.

        It is :math:`\gamma\,\sigma'(z_l)\odot(\sigma(z_l) - a_l) - \rho(\varphi_l - z_l)`.
        """
        sigma_z, aux = self.net.sigma[l].apply(z[l])
        through_transfer = self.net.sigma[l].adjoint(z[l], sigma_z, aux, self.gamma * (sigma_z - a[l]))
        return through_transfer - self.rho * self.map_gap(l, theta, a, z)


class PenaltyEnergy(Penalties):
    r"""E of ProxProp (3) for one network and one set of targets.

    Parameters
    ----------
    net : Network
    y : targets, as the network's loss takes them
    gamma, rho : float, default 1
        Weights of the two penalties.

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10], dtype=np.float64), ml.datasets.digits()
    >>> theta, z, a, _ = net.forward(data.X_train)
    >>> energy = ml.energy.PenaltyEnergy(net, data.y_train)
    >>> abs(energy.value(theta, a, z) - net.loss(data.X_train, data.y_train)) < 1e-12  # no penalty on a forward pass
    True
    """

    def value(self, theta, a, z):
        """Return E(θ, a, z), a float."""
        loss, activation_terms, map_terms = self.terms(theta, a, z)
        return loss + sum(activation_terms) + sum(map_terms)  # ProxProp (3)

    def terms(self, theta, a, z):
        """Return the loss, and lists over l < D of the two penalties γ/2 ‖σ(z_l) − a_l‖² and ρ/2 ‖φ_l − z_l‖²."""
        D = self.net.depth
        loss = self.net.loss_function.value(self.phi(D, theta, a), self.y)
        activation_terms = [self.gamma / 2 * squared_norm(self.activation_gap(l, a, z)) for l in range(1, D)]
        map_terms = [self.rho / 2 * squared_norm(self.map_gap(l, theta, a, z)) for l in range(1, D)]
        return loss, activation_terms, map_terms

    def gradient_phi(self, l, theta, a, z):
        r"""Return ∂E/∂φ_l, the gradient in the value of the map: ρ (φ_l − z_l), or ∇L_y(φ_D) for the last map."""
        if l == self.net.depth:
            return self.net.loss_function.gradient(self.phi(l, theta, a), self.y)
        return self.rho * self.map_gap(l, theta, a, z)


def algorithm_1(net, X, y, tau, siblings="forward"):
    r"""Return the variables after one sweep of ProxProp's Algorithm 1, carried out literally on the penalty energy.

    Proposition 1 holds on every graph by the following lemma. Each penalty is differentiated at the forward pass's
    values of everything that its map or join reads, and at the half step of its own value. Induction from the loss
    backwards then gives :math:`v^{½} = v - \tau\,\partial J/\partial v` for each value v: on the forward pass the
    penalty between v and what it is computed from vanishes, and the others sum to the chain rule,

    .. math:: \tfrac{1}{\tau}\sum_{c\,\text{reads}\,v} (\partial_v f_c)^T(f_c - c^{½})
                = \sum_c (\partial_v f_c)^T\,\partial J/\partial c.

    The usual block coordinate descent does something else: if a join reads two values, it uses the half step of one
    in the penalty when it steps in the other, :math:`f_c(v_1, v_2^{½}) - c^{½}`, which pulls v_1 by the motion of its
    sibling. That error is of first order in τ, as large as the step. On a chain no penalty has two such values.

    Parameters
    ----------
    net : Network
        Its batch norms and dropouts act as in evaluation, in J too.
    X, y : a batch
    tau : float
        Step size τ; γ = ρ = 1/τ.
    siblings : {"forward", "half"}, default "forward"
        Values of v's siblings at which penalties are differentiated. "half" is the order for which Proposition 1 fails.

    Returns
    -------
    State
        With θ^{k+1}, and the half-stepped a and z. By Proposition 1 θ^{k+1} is θ^k − τ ∇J(θ^k).

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10], dtype=np.float64), ml.datasets.digits()
    >>> state = ml.energy.algorithm_1(net, data.X_train, data.y_train, tau=0.5)
    >>> _, gradient = ml.BackProp().direction(net, data.X_train, data.y_train)
    >>> np.allclose(state.theta[1], net.theta[1] - 0.5 * gradient[0])  # Proposition 1
    True
    """
    def explicit(energy, l, theta, a, z_half):
        return tau * energy.gradient_theta(l, theta, a, z_half)

    tau = positive_number("algorithm_1: tau", tau)
    known_name("algorithm_1: siblings", siblings, ("forward", "half"))
    return literal_sweep(checked_network("algorithm_1", net), X, y, tau, explicit, siblings)


def algorithm_2(net, X, y, tau, tau_theta):
    r"""Return the variables after one sweep of ProxProp's Algorithm 2, where step (c) is implicit on the hidden maps.

    Parameters
    ----------
    net : Network
        Its batch norms and dropouts act as in evaluation, in J too.
    X, y : a batch
    tau, tau_theta : float
        Step sizes τ of the half steps and τ_θ of the proximal step in θ.

    Returns
    -------
    State
        With θ^{k+1}, and the half-stepped a and z. By Proposition 2 θ^{k+1} is θ^k − τ M⁻¹∇J(θ^k), on the last map
        without M⁻¹.

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10], dtype=np.float64), ml.datasets.digits()
    >>> state = ml.energy.algorithm_2(net, data.X_train, data.y_train, tau=0.5, tau_theta=0.1)
    >>> _, d = ml.ProxProp(tau_theta=0.1).direction(net, data.X_train, data.y_train)
    >>> np.allclose(state.theta[1], net.theta[1] - 0.5 * d[0])  # Proposition 2
    True
    """
    def implicit(energy, l, theta, a, z_half):
        uses = [(*energy.inputs(u, a), energy.phi(u, theta, a), None, tau * energy.gradient_phi(u, theta, a, z_half))
                for u in range(net.depth, 0, -1) if net.owner[u] == l]  # τ ∂E/∂φ is z − z^½
        phi, (a_in, z_l, _, g) = net.phi[l], stacked(uses)
        gap = SquaredGap(phi.columns(z_l), phi.columns(g))
        return exact(LocalProblem(phi.gram(a_in), gap.z, gap, 1 / tau_theta)).value  # ProxProp (11)

    tau, tau_theta = positive_number("algorithm_2: tau", tau), positive_number("algorithm_2: tau_theta", tau_theta)
    return literal_sweep(checked_network("algorithm_2", net), X, y, tau, implicit)


def literal_sweep(net, X, y, tau, step, siblings="forward"):
    """Return the variables after (a), (b) and (c) of Algorithms 1 and 2, with `step` for (c) on the hidden maps."""
    X, y = net.checked_batch(X, y)
    energy = PenaltyEnergy(net, y, gamma=1 / tau, rho=1 / tau)
    theta, z, a, aux = net.propagate(X)
    theta_new, z_half, a_half, D = list(theta), list(z), list(a), net.depth
    for l in range(D, 0, -1):
        if l < D:
            # (a), (b): one gradient step on E in a_l, after all its readers have taken theirs, then in z_l, with a_l^½
            others = a if siblings == "forward" else a_half
            a_half[l] = a[l] - tau * energy.gradient_a(l, theta, others, z_half)  # ProxProp (8), (10)
            z_half[l] = z[l] - tau * energy.gradient_z(l, theta, replaced(a, l, a_half[l]), z)  # ProxProp (9)
        if l not in net.maps:
            continue
        # (a), (c): in θ_l, at the forward pass's a_{l−1}: with a_{l−1}^½ Proposition 1 would be false
        if l == D:
            change = tau * energy.gradient_theta(l, theta, a, z)  # ProxProp (12), Prop. 1
        else:
            change = step(energy, l, theta, a, z_half)  # ProxProp Prop. 1
        for use in range(l, D + 1):
            if net.owner[use] == l:
                theta_new[use] = theta[l] - change
    return State(theta_new, z_half, a_half, aux)


def replaced(values, l, value):
    """Return a list with entry l replaced."""
    return [*values[:l], value, *values[l + 1:]]


def squared_norm(x):
    """Return ‖x‖² as a float."""
    return float((x * x).sum())
