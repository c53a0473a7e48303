r"""Checks of notebook 04: the penalty energy, its gradients, Algorithm 1 and an implicit step on an activation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from minilift import BackProp, SquaredError, mlp
from minilift.course.teach import DIFFERENCES, check, claim, same
from minilift.energy import PenaltyEnergy, algorithm_1, replaced
from minilift.layers.gram import Gram, stacked_product
from minilift.local.solvers import damped_solve

WIDTHS = [5, 6, 4, 3, 2]


def network(theta):
    """Return the tanh network with squared error whose parameters are [None, θ_1, …, θ_D]."""
    widths = [len(theta[1]) - 1] + [part.shape[1] for part in theta[1:]]
    net = mlp(widths, activation="tanh", loss=SquaredError(), dtype=np.float64)
    net.theta = theta
    return net


def library_energy(theta, a, z, Y, gamma, rho):
    """Return E by the library."""
    return PenaltyEnergy(network(theta), Y, gamma, rho).value(theta, a, z)


def library_gradients(l, theta, a, z, Y, gamma, rho):
    """Return ∂E/∂a_l and ∂E/∂z_l by the library."""
    energy = PenaltyEnergy(network(theta), Y, gamma, rho)
    return energy.gradient_a(l, theta, a, z), energy.gradient_z(l, theta, a, z)


def draw(seed):
    """Return rng and a network with weights of size 1, inputs and targets."""
    rng = np.random.default_rng(seed)
    theta = [None] + [rng.normal(size=(m + 1, n)) / np.sqrt(m) for m, n in pairwise(WIDTHS)]
    return rng, theta, rng.normal(size=(7, WIDTHS[0])), rng.normal(size=(7, WIDTHS[-1]))


def point_off_the_graph(rng, theta, X):
    """Return a, z and their gaps, drawn: a_l − σ(z_l), z_l − φ_l, and z_D, which E must not read."""
    a, z, a_gaps, z_gaps = [X], [None], [None], [None]
    for part in theta[1:]:
        value = a[-1] @ part[:-1] + part[-1]
        z_gaps.append(rng.normal(size=value.shape))
        z.append(value + z_gaps[-1])
        a_gaps.append(rng.normal(size=value.shape))
        a.append(np.tanh(z[-1]) + a_gaps[-1])
    return a[:-1], z, a_gaps[:-1], z_gaps


def penalty_energy(answer, seed):
    """Exercise 4.1: E of a point that was made with gaps of known size."""
    rng, theta, X, Y = draw(seed)
    a, z, a_gaps, z_gaps = point_off_the_graph(rng, theta, X)
    D, gamma, rho = len(theta) - 1, 3.0, 0.5
    state = network(theta).forward(X)

    def expected(gamma, rho):
        penalties = sum(gamma / 2 * np.sum(a_gaps[l]**2) + rho / 2 * np.sum(z_gaps[l]**2) for l in range(1, D))
        loss = SquaredError().value(z[D] - z_gaps[D], Y)
        return loss + penalties

    def claims(energy):
        yield claim("after a forward pass E = J", energy(theta, state.a, state.z, Y, gamma, rho),
                    SquaredError().value(state.z[D], Y))
        yield claim("gaps of known size cost what they should", energy(theta, a, z, Y, gamma, rho),
                    expected(gamma, rho))

    def mistakes(energy):
        found = energy(theta, a, z, Y, gamma, rho)
        yield same(found, expected(rho, gamma)), "γ and ρ are exchanged: γ belongs to σ(z_l) − a_l"
        yield same(found, expected(2 * gamma, 2 * rho)), "the factor ½ of the penalties"
        yield same(found, expected(gamma, rho) + rho / 2 * np.sum(z_gaps[D]**2)), \
            "E has no penalty on the last map: there the loss takes φ(θ_D, a_{D−1}) itself"
        yield same(found, expected(gamma / 7, rho / 7)), \
            "the loss is a mean over the batch, the penalty is not averaged"

    return check("4.1", answer, claims, mistakes, fallback=library_energy)


def gradients(answer, seed):
    """Exercise 4.2: ∂E/∂a_l and ∂E/∂z_l against finite differences of the library's E."""
    rng, theta, X, Y = draw(seed)
    a, z, a_gaps, z_gaps = point_off_the_graph(rng, theta, X)
    gamma, rho, h = 3.0, 0.5, 1e-4

    def slope(kind, l, direction):
        """Return the derivative of E along a direction in a_l or z_l, by central differences."""
        values = []
        for sign in (1, -1):
            point = {"a": a, "z": z}
            point[kind] = replaced(point[kind], l, point[kind][l] + sign * h * direction)
            values.append(library_energy(theta, point["a"], point["z"], Y, gamma, rho))
        return (values[0] - values[1]) / (2 * h)

    def claims(found):
        for l in (1, len(theta) - 2):
            both = found(l, theta, a, z, Y, gamma, rho)
            for kind, gradient in zip("az", both):
                directions = rng.normal(size=(4, *a[l].shape))
                if np.shape(gradient) != a[l].shape:
                    raise ValueError(f"∂E/∂{kind}_{l} has shape {np.shape(gradient)}, expected {a[l].shape}")
                yield claim(f"∂E/∂{kind}_{l} along four directions", [np.sum(gradient * d) for d in directions],
                            [slope(kind, l, d) for d in directions], DIFFERENCES)

    def mistakes(found):
        in_a, in_z = found(1, theta, a, z, Y, gamma, rho)
        right_a, right_z = library_gradients(1, theta, a, z, Y, gamma, rho)
        yield same(in_a, -right_a) and same(in_z, -right_z), "these are minus the gradients"
        yield same(in_z, -gamma * a_gaps[1] + rho * z_gaps[1]), "∂E/∂z: σ' is missing where the chain passes σ"
        yield same(in_z, right_z - 2 * rho * z_gaps[1]), "∂E/∂z: in φ_l − z_l the variable z_l stands with a minus sign"
        yield same(in_a, right_a - gamma * a_gaps[1]), \
            "∂E/∂a: its own gap is missing; it vanishes after a forward pass only"

    return check("4.2", answer, claims, mistakes, fallback=library_gradients)


def sweep_with_half_steps(net, X, Y, tau):
    """Return [θ_1, …, θ_D] after Algorithm 1 with its step (c) taken at a_{l−1}^½, which is wrong."""
    state, half = net.forward(X), algorithm_1(net, X, Y, tau)
    energy, theta = PenaltyEnergy(net, Y, 1 / tau, 1 / tau), list(half.theta)
    for l in range(1, net.depth):
        a, z = replaced(state.a, l - 1, half.a[l - 1]), replaced(state.z, l, half.z[l])
        theta[l] = state.theta[l] - tau * energy.gradient_theta(l, state.theta, a, z)
    return theta[1:]


def sweep(answer, seed):
    """Exercise 4.3: one sweep is θ − τ ∇J, with ∇J by finite differences and by backprop."""
    rng, theta, X, Y = draw(seed)
    net, tau, h = network(theta), 0.3, 1e-4
    D, (_, dJ) = net.depth, BackProp().direction(net, X, Y)

    def slope(l, direction):
        """Return the derivative of J along a direction in θ_l."""
        ends = [network(replaced(theta, l, theta[l] + sign * h * direction)).loss(X, Y) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * h)

    def claims(found):
        new = found(net, X, Y, tau)
        if len(new) != D:
            raise ValueError(f"{len(new)} arrays where [θ_1, …, θ_{D}] are expected")
        for l in range(D, 0, -1):
            step = (theta[l] - new[l - 1]) / tau
            directions = rng.normal(size=(3, *theta[l].shape))
            yield claim(f"θ_{l}: the step over τ is the slope of J", [np.sum(step * d) for d in directions],
                        [slope(l, d) for d in directions], DIFFERENCES)
            yield claim(f"θ_{l}: and backprop's gradient", step, dJ[l - 1], 1e-11)

    def mistakes(found):
        new = found(net, X, Y, tau)
        still = [same(new[l - 1], theta[l]) for l in range(1, D + 1)]
        powers = [tau ** (2 * (D - l) + 1) for l in range(1, D + 1)]
        yield all(same(x, y) for x, y in zip(new, sweep_with_half_steps(net, X, Y, tau))), \
            "step (4.7) uses the half-stepped a; it belongs at the forward pass's (Exercise 4.4 is about this)"
        yield all(still[:-1]) and not still[-1], \
            "the hidden maps do not move: (9) takes its gradient at a_l^½, and (4.7) at z_l^½"
        yield still[0], "θ_1 does not move: (10) takes its gradient at z_l^½, else no gap is handed down"
        yield all(same(x, y - p * d) for x, y, p, d in zip(new, theta[1:], powers, dJ)), \
            "each map down loses a factor τ²: the penalties must have the weight 1/τ"

    return check("4.3", answer, claims, mistakes,
                 fallback=lambda net, X, Y, tau: algorithm_1(net, X, Y, tau).theta[1:])


def library_discrepancy(a, W, g, tau):
    """Return θ_wrong − θ_right of step (c) with the map's own operations."""
    half = a - tau * g @ W.T
    return stacked_product(a, tau * g) - stacked_product(half, half @ W - (a @ W - tau * g))


def discrepancy(answer, seed):
    """Exercise 4.4: the formula against the two sweeps, done literally, on every map that is affected."""
    _, theta, X, Y = draw(seed)
    net = network(theta)
    state = net.forward(X)

    def literal(l, tau):
        """Return the discrepancy of θ_l as the two sweeps give it, and g_l = ∂J/∂z_l."""
        half = algorithm_1(net, X, Y, tau)
        wrong = sweep_with_half_steps(net, X, Y, tau)
        return wrong[l - 1] - half.theta[l], (state.z[l] - half.z[l]) / tau

    def claims(found):
        for tau in (0.01, 2.0):
            for l in range(2, net.depth):
                difference, g = literal(l, tau)
                yield claim(f"map {l}, τ = {tau}: formula over τ", found(state.a[l - 1], theta[l][:-1], g, tau) / tau,
                            difference / tau, 1e-9)

    def mistakes(found):
        tau, a, W = 2.0, state.a[1], theta[2][:-1]
        difference, g = literal(2, tau)
        predicted = found(a, W, g, tau)
        first = tau * stacked_product(a, g @ W.T @ W)
        second = np.vstack([tau**2 * (g @ W.T).T @ g, np.zeros((1, g.shape[1]))])
        yield same(predicted, -difference), "the sign: the wrong one minus the right one is asked for"
        yield same(predicted, first), "right to first order in τ only: the product of two half steps is missing"
        yield same(predicted, second), "φ is taken at the half step too, not only the factor in front"
        yield same(predicted[:-1], difference[:-1]), "the bias row: the column of ones takes no half step"

    return check("4.4", answer, claims, mistakes, fallback=library_discrepancy)


def library_implicit_activation(a, theta_D, Y, tau):
    """Return the prox of a ↦ L_y(φ(θ_D, a)): a damped least-squares problem whose matrix is Wᵀ (see `damped_solve`)."""
    misfit = a @ theta_D[:-1] + theta_D[-1] - Y
    change = damped_solve(Gram(theta_D[:-1].T, bias=False), misfit.T, len(Y) / tau).value
    return a - change.T


def implicit_activation(answer, seed):
    """Exercise 4.5: the optimality condition of the implicit step on the last activation."""
    rng, theta, _, Y = draw(seed)
    a, last = rng.normal(size=(7, WIDTHS[-2])), theta[-1]
    W, b = last[:-1], last[-1]

    def slope(u):
        return (u @ W + b - Y) @ W.T / len(Y)

    def claims(found):
        for tau in (0.5, 1e3):
            u = found(a, last, Y, tau)
            yield claim(f"u + τ f'(u) = a, τ = {tau:g}", u + tau * slope(u), a, 1e-10)

    def mistakes(found):
        tau = 0.5
        u = found(a, last, Y, tau)
        yield same(u, a - tau * slope(a)), "this is the explicit step (8): its slope is taken at a, not at u"
        yield same(u + tau * len(Y) * slope(u), a), "the loss is averaged over the batch: L has a factor 1/N"
        yield same(u + tau * (slope(u) - b @ W.T / len(Y)), a), "the bias of the last map is missing"
        yield same(u + slope(u) / tau, a), "τ divides: it belongs to the slope"

    return check("4.5", answer, claims, mistakes, fallback=library_implicit_activation)
