r"""Checks of notebook 13: the energy of a residual block, its half steps, and one θ that stands in several places.

The block is :math:`z_1 \to a_1 \to z_2 \to a_2 \to z_3 = a_3`, then :math:`z_4 = a_3 + a_1` and the last map, number 5.
"""

from __future__ import annotations

import math

import numpy as np

from minilift import Add, Linear, Named, Network, SquaredError, Tanh
from minilift.course.teach import DIFFERENCES, Claim, beyond, check, claim, close_to_answers, same, slips, times
from minilift.energy import PenaltyEnergy, algorithm_1
from minilift.layers.gram import Gram, stacked_product
from minilift.local.solvers import damped_solve

N_IN, WIDTH, N_OUT = 5, 4, 3
FACTORS = 1, 10, 20, 36, 90  # how many times what was there before the sum of single steps is to leave


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


def squares(gap):
    """Return the sum of squares."""
    return np.sum(gap**2)


def energy_with(maps=(1, 2, 3, 4), transfers=(1, 2, 3, 4), join=lambda a: a[3] + a[1], transfer=sigma, size=squares,
                weight=lambda tau, Y: 1 / (2 * tau), loss=lambda gap: np.sum(gap**2) / (2 * len(gap)),
                output=lambda theta, a, z: value(5, theta, a), more=lambda theta, a, z: 0.0,
                held=lambda l, given, a, z: z[l]):
    """Return an answer to 13.1 with a slip in it: penalties left out, the join, the transfer, weights, the loss."""
    def energy(theta, a, z, Y, tau):
        gaps = [given - held(l, given, a, z) for l, given in
                ((l, join(a) if l == 4 else value(l, theta, a)) for l in maps)]
        gaps += [transfer(l, z[l]) - a[l] for l in transfers]
        penalties = sum(size(gap) for gap in gaps) + more(theta, a, z)
        return loss(output(theta, a, z) - Y) + weight(tau, Y) * penalties
    return energy


def reading_transfers(theta, a, z, Y, tau, *, output_too=False):
    """Return E where maps and join read σ(z_l) in the place of the variables a_l; the loss may, too."""
    read = [a[0], *[sigma(l, z[l]) for l in range(1, 5)]]
    gaps = [value(l, theta, read) - z[l] for l in range(1, 5)] + [sigma(l, z[l]) - a[l] for l in range(1, 5)]
    loss = squares(value(5, theta, read if output_too else a) - Y) / (2 * len(Y))
    return loss + sum(map(squares, gaps)) / (2 * tau)


def without_bias(theta, a, z, Y, tau):
    """Return E without the bias rows."""
    return energy_with()([part if part is None else np.vstack([part[:-1], 0 * part[-1:]]) for part in theta],
                         a, z, Y, tau)


WRONG_ENERGIES = {
    "the join has no penalty: z_4 is a variable too, held to a_3 + a_1": energy_with(maps=(1, 2, 3)),
    "the join has no penalty, and its value a_4 is not held to σ(z_4)":
        energy_with(maps=(1, 2, 3), transfers=(1, 2, 3)),
    "a_3 is not held to z_3: with no transfer between them there is still a gap": energy_with(transfers=(1, 2, 4)),
    "a_4 is not held to σ(z_4)": energy_with(transfers=(1, 2, 3)),
    "the first map and its value have no penalties": energy_with(maps=(2, 3, 4), transfers=(2, 3, 4)),
    "the return stands inside the loop: only l = 1 has its penalties": energy_with(maps=(1,), transfers=(1,)),
    "each turn of the loop overwrites the penalties: add to them": energy_with(maps=(), transfers=(4,)),
    "each turn of the loop overwrites E, the loss, too: add to it": energy_with(
        maps=(4,), transfers=(4,), loss=lambda gap: 0.0),
    "parentheses: 1/(2τ) weighs the gaps σ(z_l) − a_l, too": lambda theta, a, z, Y, tau: energy_with()(
        theta, a, z, Y, tau) + (1 - 1 / (2 * tau)) * sum(squares(sigma(l, z[l]) - a[l]) for l in range(1, 5)),
    "parentheses: 1/(2τ) weighs the gaps φ_l − z_l, too": lambda theta, a, z, Y, tau: energy_with()(
        theta, a, z, Y, tau) + (1 - 1 / (2 * tau)) * sum(squares(value(l, theta, a) - z[l]) for l in range(1, 5)),
    "the sign: penalties are added": energy_with(weight=lambda tau, Y: -1 / (2 * tau)),
    "the second gap is φ_l − z_l, before the transfer": energy_with(
        held=lambda l, given, a, z: given - (sigma(l, given) - a[l])),
    "the bridge is missing: z_4 is held to a_3 + a_1": energy_with(join=lambda a: a[3]),
    "the bridge is the wrong value: z_4 is held to a_3 + a_1": energy_with(join=lambda a: a[3] + a[2]),
    "the join adds; here it takes the mean of a_3 and a_1": energy_with(join=lambda a: (a[3] + a[1]) / 2),
    "the join multiplies here; z_4 is held to a_3 + a_1": energy_with(join=lambda a: a[3] * a[1]),
    "the join is held to a_4, behind the transfer; the gap is a_3 + a_1 − z_4": energy_with(
        held=lambda l, given, a, z: a[4] if l == 4 else z[l]),
    "no transfer stands before the join: z_4 is held to a_3 + a_1 itself": energy_with(
        join=lambda a: np.tanh(a[3] + a[1])),
    "the join reads the list's a_3; here it reads z_3": lambda theta, a, z, Y, tau: energy_with()(theta, a, z, Y, tau)
        + (squares(z[3] + a[1] - z[4]) - squares(a[3] + a[1] - z[4])) / (2 * tau),
    "the join reads a_1, behind the transfer; here it reads z_1": lambda theta, a, z, Y, tau: energy_with()(
        theta, a, z, Y, tau) + (squares(a[3] + z[1] - z[4]) - squares(a[3] + a[1] - z[4])) / (2 * tau),
    "the join reads a_3 and a_1, the list's; here it reads z_3 and z_1": lambda theta, a, z, Y, tau: energy_with()(
        theta, a, z, Y, tau) + (squares(z[3] + z[1] - z[4]) - squares(a[3] + a[1] - z[4])) / (2 * tau),
    "the join reads a_3 and a_1; here a_2 stands for a_3": energy_with(join=lambda a: a[2] + a[1]),
    "behind the join there is a transfer: a_4 is held to tanh(z_4)": energy_with(
        transfer=lambda l, z: np.tanh(z) if l < 3 else z),
    "the loss reads the variable a_4, not σ(z_4)": energy_with(
        output=lambda theta, a, z: tilde(np.tanh(z[4])) @ theta[5]),
    "maps and join read the variables a_l, not σ(z_l)": reading_transfers,
    "maps, join and loss read the variables a_l, not σ(z_l)":
        lambda *point: reading_transfers(*point, output_too=True),
    "the bias row of θ is missing in φ": without_bias,
    "no transfer stands behind the last map": energy_with(output=lambda theta, a, z: np.tanh(value(5, theta, a))),
    "the penalties are sums over all entries, not means": energy_with(size=lambda gap: np.mean(gap**2)),
    "the loss has no 1/τ": lambda theta, a, z, Y, tau: energy_with()(theta, a, z, Y, tau)
        + (1 / tau - 1) * energy_with(maps=(), transfers=())(theta, a, z, Y, tau),
    "the join subtracts here; z_4 is held to a_3 + a_1": energy_with(join=lambda a: a[3] - a[1]),
    "behind map 3 there is no transfer: σ_3 is the identity": energy_with(transfer=lambda l, z: np.tanh(z)),
    "σ is missing: a_l is held to σ_l(z_l)": energy_with(transfer=lambda l, z: z),
    "the penalties of the values a_l are missing": energy_with(transfers=()),
    "the penalties of the z_l are missing": energy_with(maps=()),
    "the factor ½ of the penalties": energy_with(weight=lambda tau, Y: 1 / tau),
    "the penalties weigh 1/(2τ), not 2/τ": energy_with(weight=lambda tau, Y: 2 / tau),
    "τ divides: a small τ makes the penalties heavy": energy_with(weight=lambda tau, Y: tau / 2),
    "τ is missing: the penalties weigh 1/τ": energy_with(weight=lambda tau, Y: 0.5),
    "the loss is a mean over the batch, the penalties are not averaged":
        energy_with(weight=lambda tau, Y: 1 / (2 * tau * len(Y))),
    "the ½ of the loss is missing": energy_with(loss=lambda gap: np.sum(gap**2) / len(gap)),
    "the loss is a mean over the samples; this is a sum": energy_with(loss=lambda gap: np.sum(gap**2) / 2),
    "the loss is divided by the number of rows, not of entries": energy_with(loss=lambda gap: np.mean(gap**2) / 2),
    "the loss takes φ(θ_5, a_4), behind the transfer; here z_4 stands for a_4": energy_with(
        output=lambda theta, a, z: tilde(z[4]) @ theta[5]),
    "the sign of the loss": energy_with(loss=lambda gap: -np.sum(gap**2) / (2 * len(gap))),
    "the penalties weigh 1/(2τ), not 1/(2τ²)": energy_with(weight=lambda tau, Y: 1 / (2 * tau**2)),
    "the loss is missing": energy_with(loss=lambda gap: 0.0),
    "the loss reads the variable a_4, not the end of a forward pass from X":
        energy_with(output=lambda theta, a, z: residual_net(theta).forward(a[0]).z[5]),
    "all penalties are missing: this is the loss alone": energy_with(maps=(), transfers=()),
    "the loss takes φ(θ_5, a_4) itself, not the list's z_5": energy_with(output=lambda theta, a, z: z[5]),
    "the last map reads a_4, behind the join": energy_with(output=lambda theta, a, z: tilde(a[3]) @ theta[5]),
    "z_l is a variable of its own: φ_l − z_l and σ(z_l) − a_l are two gaps; here σ(φ_l) − a_l is one":
        energy_with(maps=(), transfers=(), more=lambda theta, a, z: sum(
            squares(sigma(l, value(l, theta, a)) - a[l]) for l in range(1, 5))),
    "these are norms; a penalty is a squared norm": energy_with(size=np.linalg.norm),
    "this is the norm of all gaps together; their squares are summed, without a root": lambda theta, a, z, Y, tau:
        energy_with(maps=(), transfers=())(theta, a, z, Y, tau) + np.sqrt(2 * tau * (
            energy_with()(theta, a, z, Y, tau) - energy_with(maps=(), transfers=())(theta, a, z, Y, tau))) / (2 * tau),
    "this squares the sum of the gaps; the squares are to be summed": energy_with(size=lambda gap: np.sum(gap)**2),
    "the penalties are sums of squares; these are sums of absolute values":
        energy_with(size=lambda gap: np.sum(abs(gap))),
    "the penalties are sums of squares; these are the largest of them": energy_with(size=lambda gap: np.max(gap**2)),
    "np.linalg.norm(·, 2) of a matrix is its largest singular value; ‖·‖² sums the squares of all entries":
        energy_with(size=lambda gap: np.linalg.norm(gap, 2)**2),
    "the bridge comes once: z_4 is held to a_3 + a_1": energy_with(join=lambda a: a[3] + 2 * a[1]),
    "the bias is the last row of θ, not the first": lambda theta, a, z, Y, tau: energy_with()(
        [part if part is None else np.roll(part, -1, axis=0) for part in theta], a, z, Y, tau),
    "maps read the values a_{l−1}, behind the transfers; here they read z_{l−1}": lambda theta, a, z, Y, tau:
        energy_with()(theta, a, z, Y, tau) + sum(squares(tilde(z[l - 1]) @ theta[l] - z[l])
                                                 - squares(value(l, theta, a) - z[l]) for l in (2, 3)) / (2 * tau),
    "the gap is σ(z_l) − a_l; σ stands around z_l alone": lambda theta, a, z, Y, tau:
        energy_with()(theta, a, z, Y, tau) + sum(squares(sigma(l, z[l] - a[l])) - squares(sigma(l, z[l]) - a[l])
                                                 for l in range(1, 5)) / (2 * tau),
    "E has no penalty on the last map: there the loss takes φ(θ_5, a_4) itself":
        energy_with(more=lambda theta, a, z: squares(value(5, theta, a) - z[5])),
}


def opened(theta, X, gaps, kind, at):
    """Return a and z of a forward pass with one gap open: a_l − σ(z_l) for kind 0, z_l − φ_l for 1."""
    a, z = [X], [None]
    for l in range(1, 6):
        z.append(value(l, theta, a) + (kind == 1 and l == at) * gaps[l])
        a.append(sigma(l, z[l]) + (kind == 0 and l == at) * gaps[l])
    return a[:5], z


def opened_loss(theta, X, Y, gaps, kind, at):
    """Return the loss there."""
    return np.sum((opened(theta, X, gaps, kind, at)[1][5] - Y)**2) / (2 * len(Y))


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

    penalties = sum(np.sum(gaps[l]**2) for gaps in (a_gaps, z_gaps) for l in range(1, 5)) / (2 * tau)
    expected = np.sum((z[5] - z_gaps[5] - Y)**2) / (2 * len(Y)) + penalties

    def claims(energy):
        yield claim("after a forward pass E = J", energy(theta, state.a, state.z, Y, tau),
                    np.sum((state.z[5] - Y)**2) / (2 * len(Y)))
        yield claim("gaps of known size cost what they should", energy(theta, a[:5], z, Y, tau), expected,
                    look="the loss is right: count the penalties, there are eight")
        yield claim("lists that go on beyond a_4 and z_4", energy(theta, a, z, Y, tau), expected,
                    look="the penalties end at l = 4, however long the lists are")

    def mistakes(energy):
        yield from slips(energy, [(theta, a[:5], z, Y, step) for step in (tau, 0.7)], WRONG_ENERGIES)
        at_rest, loss = energy(theta, state.a, state.z, Y, tau), np.sum((state.z[5] - Y)**2) / (2 * len(Y))
        yield float(energy(theta, a[:5], z, Y, 0.7)).is_integer(), \
            "your E is a whole number: int cuts off what stands behind the point"
        yield (not same(energy(theta, state.a, state.z, Y, 2 * tau), at_rest),
               "after a forward pass your E changes with τ: a gap is open there. Which value is held to the wrong one?")
        yield (not same(at_rest, loss), f"after a forward pass all gaps are zero, and your E is {at_rest / loss:.3g} "
                                        "times J: the loss is not right")
        yield (same(energy(theta, a[:5], z, Y, tau), energy(theta, a[:5], z, Y, 2 * tau)),
               "with all gaps open another τ gives the same E: is the argument `tau` used?")
        for k, gaps, name in ((0, a_gaps, "σ(z_{l}) − a_{l}"), (1, z_gaps, "φ_{l} − z_{l}")):
            for l in range(1, 5):
                cost = energy(theta, *opened(theta, X, gaps, k, l), Y, tau) - opened_loss(theta, X, Y, gaps, k, l)
                price = squares(gaps[l]) / (2 * tau)
                yield (not same(cost, price), f"where the gap {name.format(l=l)} alone is open, it costs "
                                              f"{cost / price:.3g} times what it should")

    return check("13.1", answer, claims, mistakes, fallback=energy_with())


def library_half_step(theta, a, a_half, z_half):
    """Return a_1^½ with the adjoints of the network's map 2 and join 4."""
    net = residual_net(theta)
    to_map = net.phi[2].adjoint_inputs(theta[2], net.phi[2].forward(theta[2], a[1]) - z_half[2], [a[1]])[0]
    values = [a[3], a[1]]
    return a[1] - to_map - net.phi[4].adjoint_inputs(None, net.phi[4].forward(None, *values) - z_half[4], values)[1]


def from_map(theta, a, a_half, z_half):
    """Return the gradient of map 2's penalty in a_1, times τ."""
    return (tilde(a[1]) @ theta[2] - z_half[2]) @ theta[2][:-1].T


def from_join(theta, a, a_half, z_half):
    """Return the gradient of the join's penalty in a_1, times τ."""
    return a[3] + a[1] - z_half[4]


def half_step_with(through_map=from_map, through_join=from_join, map_sign=-1, join_sign=-1, start=1, share=1.0):
    """Return an answer to 13.2 with a slip in it: what comes from either child, its sign, the start, a share."""
    def step(*lists):
        return start * lists[1][1] + share * (map_sign * through_map(*lists) + join_sign * through_join(*lists))
    return step


def one_after_another(theta, a, a_half, z_half):
    """Return a_1 after a step for the join, and then one for map 2 where the first has led."""
    after = list(a)
    for child in (from_join, from_map):
        after[1] = after[1] - child(theta, after, a_half, z_half)
    return after[1]


WRONG_HALF_STEPS = {
    "the bridge is missing: the join reads a_1 too, and its penalty pulls": half_step_with(join_sign=0),
    "map 2 is missing, which reads a_1 too, or cancels: the join's gap is taken at the forward pass's a_1, not at one "
    "that map 2 has moved": half_step_with(map_sign=0),
    "the sibling a_3 has its half step here; the join's penalty is to be differentiated at the forward pass":
        half_step_with(through_join=lambda theta, a, a_half, z_half: a_half[3] + a[1] - z_half[4]),
    "map 2's gap is taken at an a_1 that the join has moved; both gaps are those of the forward pass":
        one_after_another,
    "no mean over the samples: each has its own step": lambda *lists: half_step_with(
        share=1 / len(lists[1][1]))(*lists),
    "the step goes uphill": half_step_with(map_sign=1, join_sign=1),
    "this is the gradient, times τ; the value after the step is wanted":
        half_step_with(start=0, map_sign=1, join_sign=1),
    "this is the change of a_1; the value after the step is wanted": half_step_with(start=0),
    "the join's signal has the wrong sign": half_step_with(join_sign=1),
    "map 2's signal has the wrong sign": half_step_with(map_sign=1),
    "the signals of several readers add up; they are not averaged": half_step_with(share=0.5),
    "map 2 is held to z_2^½, before the transfer, not to a_2^½": half_step_with(
        lambda theta, a, a_half, z_half: (tilde(a[1]) @ theta[2] - a_half[2]) @ theta[2][:-1].T),
    "the join is held to z_4^½, before the transfer, not to a_4^½": half_step_with(
        through_join=lambda theta, a, a_half, z_half: a[3] + a[1] - a_half[4]),
    "the signal of map 2 comes back through W_2 transposed": half_step_with(
        lambda theta, a, a_half, z_half: (tilde(a[1]) @ theta[2] - z_half[2]) @ theta[2][:-1]),
    "the signal of map 2 lacks its W_2ᵀ": half_step_with(
        lambda theta, a, a_half, z_half: tilde(a[1]) @ theta[2] - z_half[2]),
    "map 2 has a bias row, which belongs to φ": half_step_with(
        lambda theta, a, a_half, z_half: (a[1] @ theta[2][:-1] - z_half[2]) @ theta[2][:-1].T),
    "no transfer stands between a_1 and the penalty of map 2: its gap is one of z_2": half_step_with(
        lambda theta, a, a_half, z_half: (np.tanh(tilde(a[1]) @ theta[2]) - z_half[2]) @ theta[2][:-1].T),
    "a derivative of σ too many: map 2's penalty has none, a_1 stands behind its transfer": half_step_with(
        lambda *lists: (1 - lists[1][1]**2) * from_map(*lists),
        lambda *lists: (1 - lists[1][1]**2) * from_join(*lists)),
    "the join reads a_1 behind its transfer: no derivative of σ_1 comes in": half_step_with(
        through_join=lambda *lists: (1 - lists[1][1]**2) * from_join(*lists)),
    "the join is a sum: its derivative in a_1 is 1, no W_2": half_step_with(
        through_join=lambda *lists: from_join(*lists) @ lists[0][2][:-1].T),
    "the join is a sum: its derivative in a_1 is 1, no weights": half_step_with(
        through_join=lambda *lists: from_join(*lists) @ lists[0][3][:-1].T),
    "a_1 stands behind its transfer already: φ(θ_2, a_1)": half_step_with(
        lambda theta, a, a_half, z_half: (tilde(np.tanh(a[1])) @ theta[2] - z_half[2]) @ theta[2][:-1].T),
    "the join's penalty stands before the transfer: no derivative of σ_4 comes in": half_step_with(
        through_join=lambda *lists: (1 - np.tanh(lists[1][3] + lists[1][1])**2) * from_join(*lists)),
    "no transfer stands before the join: its gap is one of z_4": half_step_with(
        through_join=lambda theta, a, a_half, z_half: np.tanh(a[3] + a[1]) - z_half[4]),
    "the join reads a_3, too: its gap holds all that it reads": half_step_with(
        through_join=lambda theta, a, a_half, z_half: a[1] - z_half[4]),
    "the join's gap is before the transfer, one of z_4; a_4 stands behind it": half_step_with(
        through_join=lambda theta, a, a_half, z_half: a[4] - a_half[4]),
    "the join counts once": half_step_with(join_sign=-2),
    "map 2 counts once": half_step_with(map_sign=-2),
    "the step starts from a_1 itself, which has passed its transfer: no tanh on it": lambda *lists:
        np.tanh(lists[1][1]) - from_map(*lists) - from_join(*lists),
    "no transfer is taken of the result: a_1^½ is a value that has been stepped": lambda *lists:
        np.tanh(half_step_with()(*lists)),
    "a derivative of σ too many: a_1 stands behind its transfer, and map 2 reads it there": half_step_with(
        lambda *lists: (1 - lists[1][1]**2) * from_map(*lists)),
    "a derivative of σ too many: it stands on map 2's gap, which is taken before the transfer": half_step_with(
        lambda theta, a, a_half, z_half: ((tilde(a[1]) @ theta[2] - z_half[2]) * (1 - a[1]**2)) @ theta[2][:-1].T),
    "the signals of two readers add up; they are not multiplied": lambda *lists:
        lists[1][1] - from_map(*lists) * from_join(*lists),
    "θ_2 reads a_1, not θ_3": half_step_with(
        lambda theta, a, a_half, z_half: (tilde(a[1]) @ theta[3] - z_half[2]) @ theta[2][:-1].T),
    "the join reads a_1 itself, too: its gap holds all that it reads": half_step_with(
        through_join=lambda theta, a, a_half, z_half: a[3] - z_half[4]),
    "the join reads a_3 and a_1; here a_2 stands in it": half_step_with(
        through_join=lambda theta, a, a_half, z_half: a[2] + a[1] - z_half[4]),
    "map 3 reads a_2, not a_1: the children of a_1 are map 2 and the join": half_step_with(
        lambda theta, a, a_half, z_half: (tilde(a[2]) @ theta[3] - z_half[3]) @ theta[3][:-1].T),
    "the bridge leads past the block: the join's signal comes to a_1 as it is, not through W_3 and W_2": half_step_with(
        through_join=lambda *lists: from_join(*lists) @ lists[0][3][:-1].T @ lists[0][2][:-1].T),
    "this is the step of the sibling: the same in a sweep, but (13.3) asks for the join's own gap": half_step_with(
        through_join=lambda theta, a, a_half, z_half: a[3] - a_half[3]),
}


def strangers(found, step, lists):
    """Yield (whether a half step of a_1 changes with a value that is in no penalty of a child, which value)."""
    for place, name, indices in ((1, "a_2", (2,)), (1, "a_4", (4,)), (2, "a_3^½", (3,)), (2, "a_2^½", (2,)),
                                 (2, "a_4^½", (4,)), (3, "z_3^½", (3,)), (0, "θ_3", (3,)), (0, "θ_1", (1,))):
        other = [list(values) for values in lists]
        for l in indices:
            other[place][l] = 2 * other[place][l]
        yield (not same(found(*other), step),
               f"your half step changes with {name}, which stands in no penalty of a child of a_1")


def half_step(answer, seed):
    """Exercise 13.2: the gradient step on the two penalties of the children of a_1, by finite differences."""
    rng, theta, X, Y = draw(seed)
    net, tau, h = residual_net(theta), 0.3, 1e-4
    state, swept = net.forward(X), algorithm_1(net, X, Y, tau)
    a, shape = state.a, state.a[1].shape
    a_half = [X, None, *[a[l] + rng.normal(size=shape) for l in (2, 3, 4)]]
    z_half = [None, None, *[state.z[l] + rng.normal(size=shape) for l in (2, 3, 4)]]
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
                    slopes(penalties), DIFFERENCES, "who reads a_1, and what is the gap of each reader?")
        step = a[1] - found(theta, a, [X, None, *swept.a[2:]], [None, None, *swept.z[2:5]])
        yield claim("those of the sweep: τ times the slope of J", [np.sum(step * d) for d in directions],
                    [tau * slope for slope in slopes(J_from)], DIFFERENCES)

    def mistakes(found):
        yield from slips(found, [(theta, a, a_half, z_half)], WRONG_HALF_STEPS)
        step = found(theta, a, a_half, z_half)
        yield np.shape(step) != shape, f"one array of the shape of a_1, {shape}, is asked for: its value after the step"
        yield from strangers(found, step, [theta, a, a_half, z_half])
        first = ([None if value is None else value[:1] for value in values] for values in (a, a_half, z_half))
        yield (not same(found(theta, *first), step[:1]),
               "the first sample's half step changes with the others: each has its own")
        nudge = rng.normal(size=shape)
        for child, name, wanted in ((2, "map 2", nudge @ theta[2][:-1].T), (4, "the join", nudge)):
            moved = found(theta, a, a_half, [*z_half[:child], z_half[child] + nudge, *z_half[child + 1:]]) - step
            factor = times(moved, wanted)
            yield (not same(moved, wanted), f"the pull of {name} is {factor:.3g} times what it should be; τ · 1/τ is 1"
                   if factor == factor else f"the pull of {name} comes down wrongly: by which matrix?")

    return check("13.2", answer, claims, mistakes, fallback=library_half_step)


def library_naive_error(X, z_1, g, tau):
    """Return θ_1^naive − θ_1^right with the map's own product."""
    return tau * stacked_product(X, g * (1 - np.tanh(z_1)**2))


def error_with(slope=lambda z: 1 - np.tanh(z)**2, factor=1.0, power=1, bias=1.0, mean=False):
    """Return an answer to 13.3 with a slip in it: the derivative of σ_1, a factor, the power of τ, the ones."""
    def error(X, z_1, g, tau):
        rows = np.hstack([X, bias * np.ones((len(X), 1))])
        return factor * tau**power / (len(X) if mean else 1) * rows.T @ (g * slope(z_1))
    return error


WRONG_ERRORS = {
    "the sign: the naive one minus the right one is asked for": error_with(factor=-1.0),
    "one τ too many: the error is of first order": error_with(power=2),
    "the step has the length τ": error_with(power=0),
    "τ multiplies: a longer step makes a larger error": error_with(power=-1),
    "between a_1 and θ_1 stands σ_1: its derivative is missing": error_with(lambda z: 1.0),
    "σ' is 1 − tanh², not 1 − tanh": error_with(lambda z: 1 - np.tanh(z)),
    "σ' is 1 − tanh(z)², not 1 − z²": error_with(lambda z: 1 - z**2),
    "σ' is 1 − tanh², not 1 + tanh²": error_with(lambda z: 1 + np.tanh(z)**2),
    "the derivative of σ_1 is asked for, not σ_1 itself": error_with(np.tanh),
    "tanh is taken twice here; σ' is 1 − tanh(z_1)²": error_with(lambda z: 1 - np.tanh(np.tanh(z))**2),
    "σ_1' is taken at z_1; here it is taken at g": lambda X, z_1, g, tau: error_with(
        lambda z: 1 - np.tanh(g)**2)(X, z_1, g, tau),
    "the bias row: it gets the sum over the samples": error_with(bias=0.0),
    "the bias row: each unit has a sum of its own; here one sum runs over all": lambda X, z_1, g, tau: np.vstack(
        [error_with()(X, z_1, g, tau)[:-1], np.full((1, g.shape[1]), tau * np.sum(g * (1 - np.tanh(z_1)**2)))]),
    "this is a mean over the samples; the one of the loss is in g already": error_with(mean=True),
    "the derivative of tanh is 1/cosh², not 1/cosh": error_with(lambda z: 1 / np.cosh(z)),
    "z > 0 is ReLU's derivative; here σ_1 is tanh": error_with(lambda z: z > 0),
    "g has its sign, and so has the error": lambda X, z_1, g, tau: error_with()(X, z_1, abs(g), tau),
    "this is a mean over the samples, and half of it; both are in g already": error_with(factor=0.5, mean=True),
    "the sign of the bias row: its column of ones is positive": error_with(bias=-1.0),
    "σ_1' comes in once": error_with(lambda z: (1 - np.tanh(z)**2)**2),
    "the ones are the last column of ã, as the bias is the last row of θ":
        lambda *q: np.roll(error_with()(*q), 1, axis=0),
    "a factor 2: what is lost is one half step of a_1, of length τ": error_with(factor=2.0),
    "a factor ½: what is lost is one half step of a_1, of length τ": error_with(factor=0.5),
    "it is not zero: what is the gap of the join, once a_3 has moved?": error_with(factor=0.0),
    "the bias row, too, has σ_1' in its sum": lambda X, z_1, g, tau: np.vstack(
        [error_with()(X, z_1, g, tau)[:-1], tau * g.sum(axis=0)]),
    "the bias row gets the sum over the samples; this is their mean": lambda X, z_1, g, tau: np.vstack(
        [error_with()(X, z_1, g, tau)[:-1], error_with(mean=True)(X, z_1, g, tau)[-1:]]),
    "the bias row is missing: θ_1 has one more row than W_1": lambda X, z_1, g, tau: error_with()(X, z_1, g, tau)[:-1],
    "this is the error in z_1; θ_1 has ã_0ᵀ in front": lambda X, z_1, g, tau: tau * g * (1 - np.tanh(z_1)**2),
}


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
            yield claim(f"τ = {tau}: formula over τ", found(X, z_1, g, tau) / tau, error / tau, 1e-9,
                        "follow the missing step of a_1 down: σ_1', then ã_0ᵀ")

    def mistakes(found):
        g = literal(2.0)[1]
        yield from slips(found, [(X, z_1, g, tau) for tau in (0.5, 2.0)], WRONG_ERRORS)
        error, one = found(X, z_1, g, 1.0), slice(0, 1)
        yield np.shape(error) != np.shape(theta[1]), f"one array of the shape of θ_1, {theta[1].shape}, is asked for"
        yield not same(found(X, z_1, g, 2.0), 2 * error), "a doubled τ must double the error: it is of first order"
        yield not same(found(X, z_1, 2 * g, 1.0), 2 * error), "a doubled signal must double the error; yours does not"
        yield (not same(found(X[one], z_1[one], g[one], 1.0) + found(X[1:], z_1[1:], g[1:], 1.0), error),
               "the samples' parts must add up, and here they mix: sum over them once, by a product ã_0ᵀ(…)")
        acting = found(0 * X[one], z_1[one], np.ones_like(g[one]), 1.0)[-1]
        yield (not same(acting, 1 - np.tanh(z_1[0])**2), f"for one sample with z_1 = {z_1[0, 0]:.2f} your factor is "
               f"{acting[0]:.3g}; σ'(z_1) = 1 − tanh² is {1 - np.tanh(z_1[0, 0])**2:.3g}")

    return check("13.3", answer, claims, mistakes, fallback=library_naive_error)


def library_stacked_step(inputs, signals, tau_theta):
    """Return d by the library's solve on the stacked rows."""
    gram = Gram(np.concatenate(inputs))
    return damped_solve(gram, np.concatenate(signals), 1 / tau_theta).value


def solve_rows(inputs, signals, damping, ones=1.0, right=1.0):
    """Return d of (13.7) with this damping, a number or a matrix."""
    rows = np.concatenate(inputs)
    rows = np.hstack([rows, ones * np.ones((len(rows), 1))]) if ones is not None else rows
    diagonal = np.eye(rows.shape[1]) * damping if np.ndim(damping) == 0 else damping
    return np.linalg.solve(rows.T @ rows + diagonal, right * rows.T @ np.concatenate(signals))


def singles(inputs, signals, tau_theta):
    """Return the steps of the single uses."""
    return [solve_rows([a], [g], 1 / tau_theta) for a, g in zip(inputs, signals)]


def stacked_with(damping=lambda tau_theta, uses, N: 1 / tau_theta, **slip):
    """Return an answer to 13.4 with a slip in it: another damping, column of ones or right side."""
    return lambda inputs, signals, tau_theta: solve_rows(
        inputs, signals, damping(tau_theta, len(inputs), sum(map(len, inputs))), **slip)


def added(uses):
    """Return the sum of the uses' arrays, as far as the shortest goes."""
    return sum(rows[:min(map(len, uses))] for rows in uses)


WRONG_STACKED_STEPS = {
    "rows and signals are stacked in different orders: those of one use belong together":
        lambda inputs, signals, tau_theta: stacked_with()(inputs, signals[::-1], tau_theta),
    "this adds the steps of the single uses: each was made as if it were alone":
        lambda *problem: sum(singles(*problem)),
    "this averages the steps of the single uses; they must agree on one step":
        lambda *problem: np.mean(singles(*problem), axis=0),
    "this is the step of the last use alone": lambda *problem: singles(*problem)[-1],
    "this is the step of the first use alone": lambda *problem: singles(*problem)[0],
    "the proximal term is there once, however many uses: it belongs to θ":
        stacked_with(lambda tau_theta, uses, N: uses / tau_theta),
    "the damping is divided by the number of uses; it is 1/τ_θ":
        stacked_with(lambda tau_theta, uses, N: 1 / (uses * tau_theta)),
    "τ_θ divides: the damping is 1/τ_θ": stacked_with(lambda tau_theta, uses, N: tau_theta),
    "the damping 1/τ_θ is missing": stacked_with(lambda tau_theta, uses, N: 0.0),
    "the sign of the damping: M is ãᵀã + I/τ_θ": stacked_with(lambda tau_theta, uses, N: -1 / tau_theta),
    "the damping is 1/τ_θ, not 1/τ_θ²": stacked_with(lambda tau_theta, uses, N: 1 / tau_theta**2),
    "this is the change of θ for τ = τ_θ; d is wanted, with θ ← θ − τ d": lambda inputs, signals, tau_theta:
        -tau_theta * stacked_with()(inputs, signals, tau_theta),
    "each entry is solved for alone, by the diagonal of the matrix; the whole one is meant":
        lambda inputs, signals, tau_theta: tilde(np.concatenate(inputs)).T @ np.concatenate(signals) / (
            np.sum(tilde(np.concatenate(inputs))**2, axis=0) + 1 / tau_theta)[:, None],
    "τ_θ is missing: the damping is 1/τ_θ, not 1": stacked_with(lambda tau_theta, uses, N: 1.0),
    "the damping has a factor 2: both terms of (13.6) have a ½":
        stacked_with(lambda tau_theta, uses, N: 2 / tau_theta),
    "the damping has a factor ½: both terms of (13.6) have a ½":
        stacked_with(lambda tau_theta, uses, N: 0.5 / tau_theta),
    "the damping stands on the diagonal only: np.eye is missing":
        stacked_with(lambda tau_theta, uses, N: np.full((5, 5), 1 / tau_theta)),
    "the damping is that of θ, and the bias row belongs to it":
        stacked_with(lambda tau_theta, uses, N: np.diag([1.0, 1, 1, 1, 0]) / tau_theta),
    "(13.6) is a sum over the rows, not a mean": stacked_with(lambda tau_theta, uses, N: N / tau_theta),
    "(13.6) is a sum over the uses, not a mean, on the right side too": lambda inputs, signals, tau_theta:
        stacked_with()(inputs, signals, tau_theta) / len(inputs),
    "the right side is a sum over the rows; here it is a mean": lambda inputs, signals, tau_theta:
        stacked_with()(inputs, signals, tau_theta) / sum(map(len, inputs)),
    "the solve is missing: this is the gradient, times τ_θ": lambda inputs, signals, tau_theta:
        tau_theta * tilde(np.concatenate(inputs)).T @ np.concatenate(signals),
    "the solve is missing: this is the gradient": lambda inputs, signals, tau_theta:
        tilde(np.concatenate(inputs)).T @ np.concatenate(signals),
    "the sign: d goes along ãᵀg": stacked_with(right=-1.0),
    "a solution is no direction: no further τ_θ": lambda inputs, signals, tau_theta:
        tau_theta * stacked_with()(inputs, signals, tau_theta),
    "this is d/τ_θ: with I + τ_θ ãᵀã on the left the right side has τ_θ too": lambda inputs, signals, tau_theta:
        stacked_with()(inputs, signals, tau_theta) / tau_theta,
    "(13.6) has one d for all uses: it is not multiplied by their number": lambda inputs, signals, tau_theta:
        len(inputs) * stacked_with()(inputs, signals, tau_theta),
    "ãᵀã is a sum over the rows, not a mean": lambda inputs, signals, tau_theta: sum(map(len, inputs)) * solve_rows(
        inputs, signals, sum(map(len, inputs)) / tau_theta),
    "the uses are stacked, not added: each row is a sample of its own": lambda inputs, signals, tau_theta:
        solve_rows([added(inputs)], [added(signals)], 1 / tau_theta),
    "the rows of a use are summed, not averaged": lambda inputs, signals, tau_theta: np.linalg.solve(
        sum(tilde(a).T @ tilde(a) / len(a) for a in inputs) + np.eye(inputs[0].shape[1] + 1) / tau_theta,
        sum(tilde(a).T @ g / len(a) for a, g in zip(inputs, signals))),
    "ãᵀã is a sum over the uses; here it is a mean": lambda inputs, signals, tau_theta: len(inputs) * solve_rows(
        inputs, signals, len(inputs) / tau_theta),
    "the ones are the last column of ã, as the bias is the last row of θ": lambda *problem: np.roll(
        stacked_with()(*problem), 1, axis=0),
    "the bias alone is damped here; the damping is that of all of θ":
        stacked_with(lambda tau_theta, uses, N: np.diag([0.0, 0, 0, 0, 1]) / tau_theta),
    "1/τ_θ stands on the diagonal, not before the solution": lambda inputs, signals, tau_theta:
        stacked_with(lambda *_: 1.0)(inputs, signals, tau_theta) / tau_theta,
    "1 over each entry of a matrix is not its inverse: solve": lambda inputs, signals, tau_theta: (1 / (
        tilde(np.concatenate(inputs)).T @ tilde(np.concatenate(inputs)) + np.eye(inputs[0].shape[1] + 1) / tau_theta)
        ) @ tilde(np.concatenate(inputs)).T @ np.concatenate(signals),
    "the last row is lost: all rows of all uses count": lambda inputs, signals, tau_theta: solve_rows(
        [np.concatenate(inputs)[:-1]], [np.concatenate(signals)[:-1]], 1 / tau_theta),
    "the column of ones is missing": stacked_with(ones=None),
    "the column of ones holds zeros": stacked_with(ones=0.0),
}


def solved_with(found, inputs, signals):
    """Return d for signals that make the same right side whatever the inputs are: ãᵀg = 1 in each entry."""
    rows, sizes = tilde(np.concatenate(inputs)), np.cumsum([len(part) for part in inputs])[:-1]
    g = np.linalg.lstsq(rows.T, np.ones((rows.shape[1], signals[0].shape[1])), rcond=None)[0]
    return found(inputs, np.split(g, sizes), 0.1)


def stacked_step(answer, seed):
    """Exercise 13.4: the gradient of the problem with all uses vanishes at d."""
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(N, 4)) for N in (3, 6, 5)]
    signals = [rng.normal(size=(len(a), 2)) for a in inputs]

    def residual(d, tau_theta):
        return sum(tilde(a).T @ (tilde(a) @ d - g) for a, g in zip(inputs, signals)) + d / tau_theta

    def claims(found):
        for tau_theta in (0.1, 20.0):
            d = np.asarray(found(inputs, signals, tau_theta), dtype=float)
            if d.shape != (5, 2):
                raise ValueError(f"d has shape {d.shape} where (5, 2) is expected, that of θ")
            yield claim(f"τ_θ = {tau_theta:g}: gradient of (13.6) vanishes", residual(d, tau_theta), 0 * d, 1e-10,
                        "look at the matrix: all rows, ones appended, and 1/τ_θ once on its diagonal")

    def mistakes(found):
        equal = [rows[:3] for rows in inputs], [rows[:3] for rows in signals]
        yield (same(found(*equal, 0.1), solve_rows([sum(equal[0])], [sum(equal[1])], 10.0)),
               "the uses are stacked, not added: each row is a sample of its own")
        yield from slips(found, [(inputs, signals, tau_theta) for tau_theta in (0.1, 3.0)], WRONG_STACKED_STEPS)
        d, one = found(inputs, signals, 0.1), ([inputs[1]], [signals[1]])
        alone, right = found(*one, 0.1), library_stacked_step(*one, 0.1)
        rows = tilde(inputs[1])
        acting, far = times(alone, rows.T @ (signals[1] - rows @ alone)), times(alone, right)
        yield far == far and not same(far, 1.0), f"for one use alone d is {far:.3g} times what it should be"
        yield acting == acting and not same(acting, 0.1), \
            f"for one use your d solves (13.6) for a damping of {1 / acting:.3g}; 1/τ_θ is 10"
        yield not same(alone, right), "for one use alone it is wrong already: (ãᵀã + I/τ_θ) d = ãᵀg"
        for u in range(3):
            fewer = [signal * (k != u) for k, signal in enumerate(signals)]
            yield (same(found(inputs, fewer, 0.1), d),
                   f"the signals of use {u} of 0, 1, 2 do not count: is a sum overwritten?")
            other = [(1 + (k == u)) * rows for k, rows in enumerate(inputs)]
            M, wanted = (solved_with(found, values, signals) for values in (inputs, other))
            yield same(M, wanted), f"ãᵀã of use {u} of 0, 1, 2 is not in the matrix: is a sum overwritten?"
        yield (not same(found(inputs[::-1], signals[::-1], 0.1), d),
               "the uses in another order give another d: are they taken one after the other?")
        halves = [part for rows in inputs for part in (rows[:1], rows[1:])]
        cut = [part for rows in signals for part in (rows[:1], rows[1:])]
        yield (not same(found(halves, cut, 0.1), d), "each use cut in two gives another d: only the rows may count, "
                                                     "not which use they belong to. Is a step made for each use?")

    return check("13.4", answer, claims, mistakes, fallback=library_stacked_step)


WRONG_USES = {
    "one use too few: the sum is up to U times too long and leaves (U − 1)² of the misfit, not U²":
        lambda factor: math.floor(math.sqrt(factor)) + 1,
    "right, unless the factor is a square: with U = 1 + √factor the sum leaves a little less than that": lambda
        factor: math.ceil(math.sqrt(factor)) + 1,
    "the misfit is squared: it leaves (U − 1)², not U − 1": lambda factor: math.floor(factor) + 2,
    "it leaves (U − 1)², not U − 1, and more is asked for": lambda factor: math.ceil(factor) + 1,
    "a number of uses is whole: the next one above": lambda factor: 1 + math.sqrt(factor),
    "a number of uses is whole, and one use too few: the sum leaves (U − 1)², not U²": math.sqrt,
    "one use more than needed": lambda factor: math.floor(math.sqrt(factor)) + 3,
}


def overshoot(answer, seed):
    """Exercise 13.5: the fewest equal uses with which the sum of single steps can make the misfit so much larger."""
    rng = np.random.default_rng(seed)
    a = tilde(rng.normal(size=(30, 4)))
    wanted = rng.normal(size=(5, 2))  # a change of θ that would remove the misfit of each use

    def left(uses, tau_theta):
        """Return the misfit after the sum of `uses` single steps, over that before."""
        d = np.linalg.solve(a.T @ a + np.eye(5) / tau_theta, a.T @ a @ wanted)
        return float(np.sum((a @ (uses * d - wanted))**2) / np.sum((a @ wanted)**2))

    def claims(fewest):
        for factor in FACTORS:
            uses = fewest(factor)
            if np.ndim(uses):
                raise ValueError(f"one number is expected, U, and the shape {np.shape(uses)} comes")
            yield Claim(f"factor {factor}: U is a whole number (excess)", abs(uses - round(uses)), 0)
            yield Claim(f"factor {factor}: with τ_θ = 10000 the sum leaves more (shortfall)",
                        beyond(factor - left(uses, 1e4)), 1e-6)
            yield Claim(f"factor {factor}: one use fewer never does (excess)",
                        beyond(left(uses - 1, 1e12) - factor), 1e-6)

    def mistakes(fewest):
        found = [float(fewest(factor)) for factor in FACTORS]
        yield len({*found}) == 1, f"{found[0]:g} for every factor; a larger factor takes more uses"
        yield from slips(fewest, [(factor,) for factor in FACTORS], WRONG_USES)
        yield min(found) < 2, "with one use nothing is summed, and the misfit falls"
        for factor, uses in zip(FACTORS, found):
            yield left(uses, 1e4) <= factor, \
                f"{uses:g} uses are too few for a factor of {factor}: the sum leaves {left(uses, 1e12):.3g} at most"
            yield left(uses - 1, 1e12) > factor, f"for a factor of {factor} fewer uses than {uses:g} will do"

    return check("13.5", answer, claims, mistakes)


close_to_answers(globals())
