r"""Checks of notebook 13: the energy of a residual block, its half steps, and one θ that stands in several places.

The block is :math:`z_1 \to a_1 \to z_2 \to a_2 \to z_3 = a_3`, then :math:`z_4 = a_3 + a_1` and the last map, number 5.
"""

from __future__ import annotations

import numpy as np

from minilift import Add, Linear, Named, Network, SquaredError, Tanh
from minilift.course.teach import DIFFERENCES, Claim, check, claim, close_to_answers, same
from minilift.energy import PenaltyEnergy, algorithm_1
from minilift.layers.gram import Gram, stacked_product
from minilift.local.solvers import damped_solve

N_IN, WIDTH, N_OUT = 5, 4, 3
MOST_USES = 50
MISFIT = 10  # what the sum of single steps is to leave, in units of what was there before


def residual_net(theta):
    """Return the tanh network with one residual block whose parameters are [None, θ_1, θ_2, θ_3, None, θ_5]."""
    width = len(theta[2]) - 1
    net = Network([Linear(len(theta[1]) - 1, width), Tanh(), Named("x"), Linear(width, width), Tanh(),
                   Linear(width, width), Add("x"), Tanh(), Linear(width, theta[5].shape[1])],
                  loss=SquaredError(), dtype=np.float64)
    net.theta = theta
    return net


def tilde(a):
    """Return [a 1]."""
    return np.hstack([a, np.ones((len(a), 1))])


def sigma(l, z):
    """Return σ_l(z): tanh, but nothing happens behind map 3."""
    return z if l == 3 else np.tanh(z)


def value(l, theta, a):
    """Return what map or join l makes of the values that it reads."""
    return a[3] + a[1] if l == 4 else tilde(a[l - 1]) @ theta[l]


def draw(seed):
    """Return rng and a residual network with weights of size 1, inputs and targets."""
    rng = np.random.default_rng(seed)
    shapes = {1: (N_IN, WIDTH), 2: (WIDTH, WIDTH), 3: (WIDTH, WIDTH), 5: (WIDTH, N_OUT)}
    theta = [None] * 6
    for l, (n_in, n_out) in shapes.items():
        theta[l] = rng.normal(size=(n_in + 1, n_out)) / np.sqrt(n_in)
    return rng, theta, rng.normal(size=(7, N_IN)), rng.normal(size=(7, N_OUT))


def library_energy(theta, a, z, Y, tau):
    """Return E with γ = ρ = 1/τ by the library."""
    return PenaltyEnergy(residual_net(theta), Y, 1 / tau, 1 / tau).value(theta, a, z)


def penalty_energy(answer, seed):
    """Exercise 13.1: E of a point that was made with gaps of known size."""
    rng, theta, X, Y = draw(seed)
    state, tau = residual_net(theta).forward(X), 0.2
    a, z, a_gaps, z_gaps = [X], [None], [None], [None]
    for l in range(1, 6):
        exact = value(l, theta, a)
        z_gaps.append(rng.normal(size=exact.shape))
        z.append(exact + z_gaps[l])
        a_gaps.append(rng.normal(size=exact.shape))
        a.append(sigma(l, z[l]) + a_gaps[l])

    def expected(a_left_out=(), z_left_out=(), factor=1.0):
        kept = [gaps[l] for gaps, left_out in ((a_gaps, a_left_out), (z_gaps, z_left_out))
                for l in range(1, 5) if l not in left_out]
        loss = np.sum((z[5] - z_gaps[5] - Y)**2) / (2 * len(Y))
        return loss + factor * sum(np.sum(gap**2) for gap in kept) / (2 * tau)

    def claims(energy):
        yield claim("after a forward pass E = J", energy(theta, state.a, state.z, Y, tau),
                    np.sum((state.z[5] - Y)**2) / (2 * len(Y)))
        yield claim("gaps of known size cost what they should", energy(theta, a[:5], z, Y, tau), expected())

    def mistakes(energy):
        found = energy(theta, a[:5], z, Y, tau)
        yield same(found, expected(z_left_out=[4])), "the join has no penalty: z_4 is a variable too, held to a_3 + a_1"
        yield same(found, expected(a_left_out=[3])), \
            "a_3 is not held to z_3: with no transfer between them there is still a gap"
        yield same(found, expected(factor=2)), "the factor ½ of the penalties"
        yield same(found, expected(factor=1 / 7)), "the loss is a mean over the batch, the penalties are not averaged"
        yield same(found, expected() + np.sum(z_gaps[5]**2) / (2 * tau)), \
            "E has no penalty on the last map: there the loss takes φ(θ_5, a_4) itself"

    return check("13.1", answer, claims, mistakes, fallback=library_energy)


def library_half_step(theta, a, a_half, z_half):
    """Return a_1^½ with the adjoints of the network's map 2 and join 4."""
    net = residual_net(theta)
    to_map = net.phi[2].adjoint_inputs(theta[2], net.phi[2].forward(theta[2], a[1]) - z_half[2], [a[1]])[0]
    values = [a[3], a[1]]
    return a[1] - to_map - net.phi[4].adjoint_inputs(None, net.phi[4].forward(None, *values) - z_half[4], values)[1]


def half_step(answer, seed):
    """Exercise 13.2: the gradient step on the two penalties of the children of a_1, by finite differences."""
    rng, theta, X, Y = draw(seed)
    net, tau, h = residual_net(theta), 0.3, 1e-4
    state, swept = net.forward(X), algorithm_1(net, X, Y, tau)
    a, shape = state.a, state.a[1].shape
    a_half = [X, None, *[a[l] + rng.normal(size=shape) for l in (2, 3, 4)]]
    z_half = [None, None, *[state.z[l] + rng.normal(size=shape) for l in (2, 3, 4)]]
    gap_2, gap_4 = value(2, theta, a) - z_half[2], a[3] + a[1] - z_half[4]
    to_map, to_join = gap_2 @ theta[2][:-1].T, gap_4
    directions = rng.normal(size=(4, *shape))

    def penalties(u):
        return (np.sum((tilde(u) @ theta[2] - z_half[2])**2) + np.sum((a[3] + u - z_half[4])**2)) / 2

    def J_from(u):
        """Return the loss when a_1 is u and all after it is computed."""
        c = tilde(np.tanh(tilde(u) @ theta[2])) @ theta[3] + u
        return np.sum((tilde(np.tanh(c)) @ theta[5] - Y)**2) / (2 * len(Y))

    def slopes(function):
        return [(function(a[1] + h * d) - function(a[1] - h * d)) / (2 * h) for d in directions]

    def claims(found):
        step = a[1] - found(theta, a, a_half, z_half)
        if step.shape != shape:
            raise ValueError(f"a_1 has shape {shape}, your half step {step.shape}")
        yield claim("any half steps: the slope of the children's penalties", [np.sum(step * d) for d in directions],
                    slopes(penalties), DIFFERENCES)
        step = a[1] - found(theta, a, [X, None, *swept.a[2:]], [None, None, *swept.z[2:5]])
        yield claim("those of the sweep: τ times the slope of J", [np.sum(step * d) for d in directions],
                    [tau * slope for slope in slopes(J_from)], DIFFERENCES)

    def mistakes(found):
        step = a[1] - found(theta, a, a_half, z_half)
        yield same(step, to_map), "the bridge is missing: the join reads a_1 too, and its penalty pulls"
        yield same(step, to_join), "map 2 is missing: it reads a_1 too, and its penalty pulls"
        yield same(step, to_map + a_half[3] + a[1] - z_half[4]), \
            "the sibling a_3 has its half step here; the join's penalty is to be differentiated at the forward pass"
        yield same(step, -to_map - to_join), "the step goes uphill"
        yield same(a[1] - step, to_map + to_join), "this is the gradient, times τ; the value after the step is wanted"

    return check("13.2", answer, claims, mistakes, fallback=library_half_step)


def library_naive_error(X, z_1, g, tau):
    """Return θ_1^naive − θ_1^right with the map's own product."""
    return tau * stacked_product(X, g * (1 - np.tanh(z_1)**2))


def naive_error(answer, seed):
    """Exercise 13.3: the formula against both orders of the sweep, done literally."""
    _, theta, X, Y = draw(seed)
    net = residual_net(theta)
    z_1 = net.forward(X).z[1]

    def literal(tau):
        """Return the error of the naive order in θ_1, and ∂J/∂z_4."""
        right = algorithm_1(net, X, Y, tau)
        wrong = algorithm_1(net, X, Y, tau, siblings="half")
        return wrong.theta[1] - right.theta[1], (net.forward(X).z[4] - right.z[4]) / tau

    def claims(found):
        for tau in (0.01, 2.0):
            error, g = literal(tau)
            yield claim(f"τ = {tau}: formula over τ", found(X, z_1, g, tau) / tau, error / tau, 1e-9)

    def mistakes(found):
        tau = 2.0
        error, g = literal(tau)
        predicted = found(X, z_1, g, tau)
        yield same(predicted, -error), "the sign: the naive one minus the right one is asked for"
        yield same(predicted, tau * error), "one τ too many: the error is of first order"
        yield same(predicted, error / tau), "the step has the length τ"
        yield same(predicted, tau * stacked_product(X, g)), "between a_1 and θ_1 stands σ_1: its derivative is missing"
        yield same(predicted[:-1], error[:-1]), "the bias row: it gets the sum over the samples"
        yield same(predicted, np.zeros_like(error)), "it is not zero: what is the gap of the join, once a_3 has moved?"

    return check("13.3", answer, claims, mistakes, fallback=library_naive_error)


def library_stacked_step(inputs, signals, tau_theta):
    """Return d by the library's solve on the stacked rows."""
    gram = Gram(np.concatenate(inputs))
    return damped_solve(gram, np.concatenate(signals), 1 / tau_theta).value


def stacked_step(answer, seed):
    """Exercise 13.4: the gradient of the problem with all uses vanishes at d."""
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(N, 4)) for N in (3, 6, 5)]
    signals = [rng.normal(size=(len(a), 2)) for a in inputs]

    def residual(d, tau_theta):
        return sum(tilde(a).T @ (tilde(a) @ d - g) for a, g in zip(inputs, signals)) + d / tau_theta

    def single(a, g, damping):
        return np.linalg.solve(tilde(a).T @ tilde(a) + damping * np.eye(5), tilde(a).T @ g)

    def claims(found):
        for tau_theta in (0.1, 20.0):
            d = np.asarray(found(inputs, signals, tau_theta), dtype=float)
            if d.shape != (5, 2):
                raise ValueError(f"d has shape {d.shape} where (5, 2) is expected, that of θ")
            yield claim(f"τ_θ = {tau_theta:g}: gradient of (13.6) vanishes", residual(d, tau_theta), 0 * d, 1e-10)

    def mistakes(found):
        tau_theta = 0.1
        d = found(inputs, signals, tau_theta)
        singles = [single(a, g, 1 / tau_theta) for a, g in zip(inputs, signals)]
        rows, right = np.concatenate(inputs), np.concatenate(signals)
        yield same(d, sum(singles)), "this adds the steps of the single uses: each was made as if it were alone"
        yield same(d, sum(singles) / 3), "this averages the steps of the single uses; they must agree on one step"
        yield same(d, single(rows, right, 3 / tau_theta)), \
            "the proximal term is there once, however many uses: it belongs to θ"
        yield same(d, single(rows, right, tau_theta)), "τ_θ divides: the damping is 1/τ_θ"
        yield same(d, single(rows, right, 0)), "the damping 1/τ_θ is missing"
        yield same(d, tau_theta * tilde(rows).T @ right), "the solve is missing: this is the gradient, times τ_θ"
        plain = np.linalg.solve(rows.T @ rows + np.eye(4) / tau_theta, rows.T @ right)
        yield same(np.asarray(d)[:-1], plain) or same(d, plain), "the column of ones is missing"

    return check("13.4", answer, claims, mistakes, fallback=library_stacked_step)


def overshoot(answer, seed):
    """Exercise 13.5: equal uses and τ_θ for which the sum of single steps makes the misfit much larger."""
    rng = np.random.default_rng(seed)
    a = tilde(rng.normal(size=(30, 4)))
    wanted = rng.normal(size=(5, 2))  # a change of θ that would remove the misfit of each use

    def left(uses, tau_theta):
        """Return the misfit after the sum of `uses` single steps, over that before."""
        d = np.linalg.solve(a.T @ a + np.eye(5) / tau_theta, a.T @ a @ wanted)
        return float(np.sum((a @ (uses * d - wanted))**2) / np.sum((a @ wanted)**2))

    def numbers(found):
        return float(found[0]), float(found[1])

    def claims(found):
        uses, tau_theta = numbers(found)
        excess = abs(uses - round(uses)) + max(0.0, 1 - uses, uses - MOST_USES)
        yield Claim(f"U is a whole number from 1 to {MOST_USES} (excess)", excess, 0)
        yield Claim("τ_θ is positive (shortfall)", max(0.0, 1e-12 - tau_theta), 0)
        if excess == 0 and tau_theta > 0:
            yield Claim(f"misfit above {MISFIT} times the old one (shortfall)",
                        max(0.0, MISFIT - left(uses, tau_theta)), 1e-9)

    def mistakes(found):
        uses, tau_theta = numbers(found)
        yield not 1 <= uses <= MOST_USES or uses != round(uses), f"U must be a whole number from 1 to {MOST_USES}"
        yield tau_theta <= 0, "a step size is positive"
        yield uses == 1, "with one use nothing is summed"
        yield left(uses, 1e9) < MISFIT, \
            "too few uses: the sum is at most U times too long, which leaves (U − 1)² of the misfit"
        yield left(uses, tau_theta) < MISFIT, \
            "the damping 1/τ_θ is still large: single steps are short, so that adding them does little harm"

    return check("13.5", answer, claims, mistakes)


close_to_answers(globals())
