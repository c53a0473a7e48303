r"""Checks of notebook 04: the penalty energy, its gradients, Algorithm 1 and an implicit step on an activation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from minilift import BackProp, SquaredError, mlp
from minilift.course.teach import DIFFERENCES, Claim, check, claim, close_to_answers, gap, same, slips, times
from minilift.energy import PenaltyEnergy, algorithm_1, replaced
from minilift.layers.gram import Gram, stacked_product
from minilift.local.solvers import damped_solve

WIDTHS = [5, 6, 4, 3, 5]  # no factor 2 is a width
SHALLOW, SQUARE = [5, 4, 3], [5, 5, 5, 5, 5]  # another depth, and widths that forgive a wrong index
ONE_DEPTH = "right for the notebook's depth alone: take D from theta, as len(theta) − 1"


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


def draw(seed, widths=WIDTHS):
    """Return rng and a network with weights of size 1, inputs and targets."""
    rng = np.random.default_rng(seed)
    theta = [None] + [rng.normal(size=(m + 1, n)) / np.sqrt(m) for m, n in pairwise(widths)]
    return rng, theta, rng.normal(size=(7, widths[0])), rng.normal(size=(7, widths[-1]))


def off_the_graph(seed, widths):
    """Return theta, a, z and Y of a network with other widths, drawn, no gap of which is zero."""
    rng, theta, X, Y = draw(seed, widths)
    a, z, *_ = point_off_the_graph(rng, theta, X)
    return theta, a, z, Y


def value_or_none(function, *arguments):
    """Return the value, or None where an answer cannot deal with these arguments."""
    try:
        return function(*arguments)
    except (ValueError, IndexError, TypeError):
        return None


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


def squared(gap):
    """Return the sum of squares."""
    return np.sum(gap**2)


def energy_with(half=(0.5, 0.5), loss_half=0.5, samples=len, sigma=np.tanh, bias=(1.0, 1.0), skip=0, first=1,
                size=squared, size_of_map=None, last="φ", weights=(0, 1), kept=1.0, of_map="φ - z", turns=100):
    """Return an energy with a slip in it: the ½ of a term, the mean, the transfer, the bias, the range of the sum."""
    def energy(theta, a, z, Y, gamma, rho):
        def phi(l):
            read = np.tanh(z[l - 1]) if of_map == "forward" and 1 < l < D else a[l - 1]
            read = a[l] if of_map == "own" and l < D else read
            return read @ theta[l][:-1] + bias[int(l < D)] * theta[l][-1]

        D, price = len(theta) - 1, (gamma, rho, gamma * rho, 1.0)
        output = {"φ": phi(D), "z": z[D], "σ": np.tanh(phi(D))}[last]
        total = loss_half * np.sum((output - Y) ** 2) / samples(Y)
        for l in list(range(first, D - skip))[:turns]:
            gap = np.tanh(phi(l)) - a[l] if of_map == "after σ" else phi(l) - z[l]
            total += half[0] * price[weights[0]] * size(sigma(z[l]) - a[l])
            total = kept * total + half[1] * price[weights[1]] * (size_of_map or size)(gap)
        return total
    return energy


WRONG_ENERGIES = {
    "the factor ½ of the penalties": energy_with(half=(1.0, 1.0)),
    "the factor ½ of the penalty on σ(z_l) − a_l": energy_with(half=(1.0, 0.5)),
    "the factor ½ of the penalty on φ_l − z_l": energy_with(half=(0.5, 1.0)),
    "γ belongs to σ(z_l) − a_l; here ρ is in both penalties": energy_with(weights=(1, 1)),
    "ρ belongs to φ_l − z_l; here γ is in both penalties": energy_with(weights=(0, 0)),
    "the factor ½ of the loss (4.2) is missing": energy_with(loss_half=1.0),
    "every ½ is missing: the loss (4.2) has one, and so has each penalty": energy_with(half=(1.0, 1.0), loss_half=1.0),
    "the loss (4.2) is a mean over the samples: divide by N": energy_with(samples=lambda Y: 1),
    "the mean divides by all entries of Y; (4.2) divides by N, the number of rows": energy_with(samples=np.size),
    "σ is missing: the first gap is σ(z_l) − a_l": energy_with(sigma=lambda z: z),
    "the bias is missing in φ": energy_with(bias=(0.0, 0.0)),
    "the bias is missing in the φ of the penalties": energy_with(bias=(1.0, 0.0)),
    "the bias is missing in the φ of the loss": energy_with(bias=(0.0, 1.0)),
    "the sum stops a map too early: l runs to D − 1, and range excludes its end": energy_with(skip=1),
    "the sum starts at l = 2; the first map has its penalties too": energy_with(first=2),
    "gaps are squared; these are absolute values": energy_with(size=lambda gap: np.sum(abs(gap))),
    "square first, then sum: these are squares of sums": energy_with(size=lambda gap: np.sum(gap) ** 2),
    "‖·‖² sums the squares of all entries; np.linalg.norm(gap, 2) is a matrix's largest singular value":
        energy_with(size=lambda gap: np.linalg.norm(gap, 2) ** 2),
    "the last map has no σ: the loss takes φ_D itself": energy_with(last="σ"),
    "norms must be squared": energy_with(size=np.linalg.norm),
    "the penalties are sums over all entries, not means": energy_with(size=lambda gap: np.mean(gap**2)),
    "the penalty on σ(z_l) − a_l is a sum over all entries, not a mean":
        energy_with(size=lambda gap: np.mean(gap**2), size_of_map=squared),
    "the penalty on φ_l − z_l is a sum over all entries, not a mean":
        energy_with(size_of_map=lambda gap: np.mean(gap**2)),
    "the penalty on σ(z_l) − a_l is not divided by N": energy_with(size=lambda gap: squared(gap) / len(gap),
                                                                   size_of_map=squared),
    "the penalty on φ_l − z_l is not divided by N": energy_with(size_of_map=lambda gap: squared(gap) / len(gap)),
    "the gap σ(z_l) − a_l is squared; this is its absolute value": energy_with(size=lambda gap: np.sum(abs(gap)),
                                                                              size_of_map=squared),
    "the gap φ_l − z_l is squared; this is its absolute value": energy_with(size_of_map=lambda gap: np.sum(abs(gap))),
    "the norm of the gap σ(z_l) − a_l must be squared": energy_with(size=np.linalg.norm, size_of_map=squared),
    "the norm of the gap φ_l − z_l must be squared": energy_with(size_of_map=np.linalg.norm),
    "the second gap is φ_l − z_l, before σ": energy_with(of_map="after σ"),
    "φ_l reads the variable a_{l−1}; here it reads σ(z_{l−1})": energy_with(of_map="forward"),
    "the return stands inside the loop: only l = 1 is counted": energy_with(turns=1),
    "each turn of the loop overwrites the energy: add to it": energy_with(kept=0.0),
    "the sign: penalties are added": energy_with(half=(-0.5, -0.5)),
    "the sign: the penalty on φ_l − z_l is added": energy_with(half=(0.5, -0.5)),
    "the sign: the penalty on σ(z_l) − a_l is added": energy_with(half=(-0.5, 0.5)),
    "ρ alone weighs φ_l − z_l; here γ multiplies it too": energy_with(weights=(0, 2)),
    "γ alone weighs σ(z_l) − a_l; here ρ multiplies it too": energy_with(weights=(2, 1)),
    "ρ is missing before the penalty on φ_l − z_l": energy_with(weights=(0, 3)),
    "γ is missing before the penalty on σ(z_l) − a_l": energy_with(weights=(3, 1)),
    "the loss takes φ(θ_D, a_{D−1}), not the list's z_D": energy_with(last="z"),
    "z_D is no variable of E: the loss takes φ(θ_D, a_{D−1}) in its place, and the last map has no penalty":
        lambda theta, a, z, Y, gamma, rho: energy_with(last="z")(theta, a, z, Y, gamma, rho)
        + rho / 2 * squared(a[-1] @ theta[-1][:-1] + theta[-1][-1] - z[-1]),
    "the first gap is σ(z_l) − a_l, with the list's z_l; here φ_l stands in its place":
        lambda theta, a, z, *rest: energy_with()(theta, a, z, *rest) + sum(
            rest[1] / 2 * (squared(np.tanh(read @ part[:-1] + part[-1]) - a_l) - squared(np.tanh(z_l) - a_l))
            for part, read, a_l, z_l in zip(theta[1:-1], a, a[1:], z[1:])),
    "gaps are squared before they are summed; these are the gaps themselves": energy_with(size=np.sum),
    "the loss takes φ(θ_D, a_{D−1}) with the list's a_{D−1}; here a forward pass from X is made for it":
        lambda theta, a, z, Y, *rest: energy_with()(theta, a, z, Y, *rest)
        - energy_with(first=len(theta))(theta, a, z, Y, *rest)
        + SquaredError().value(network(theta).forward(a[0]).z[-1], Y),
    "the weight stands before the square, not in it": lambda theta, a, z, Y, gamma, rho:
        energy_with()(theta, a, z, Y, gamma**2 / 2, rho**2 / 2),
    "the loss stands once, before the loop; here each l adds it": lambda theta, a, z, Y, gamma, rho:
        energy_with()(theta, a, z, Y, gamma, rho)
        + (len(theta) - 3) * energy_with(first=len(theta))(theta, a, z, Y, gamma, rho),
    "the loss has no γ": lambda theta, a, z, Y, gamma, rho: energy_with()(theta, a, z, Y, gamma, rho)
        + (gamma - 1) * energy_with(first=len(theta))(theta, a, z, Y, gamma, rho),
    "the loss has no ρ": lambda theta, a, z, Y, gamma, rho: energy_with()(theta, a, z, Y, gamma, rho)
        + (rho - 1) * energy_with(first=len(theta))(theta, a, z, Y, gamma, rho),
}


def opened(theta, X, gaps, kind=None, l=None):
    """Return a and z of a forward pass, with one gap open: a_l − σ(z_l) for kind "a", z_l − φ_l for "z"."""
    a, z = [X], [None]
    for k, part in enumerate(theta[1:], start=1):
        z.append(a[-1] @ part[:-1] + part[-1])
        z[k] = z[k] + gaps[k] if (kind, l) == ("z", k) else z[k]
        a.append(np.tanh(z[k]) + gaps[k] if (kind, l) == ("a", k) else np.tanh(z[k]))
    return a[:-1], z


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
        for text, weights, look in (("gaps σ(z) − a", (3.0, 1e-9), "look at γ, σ and the range of l"),
                                    ("gaps φ − z", (1e-9, 0.5), "look at ρ, φ and the range of l")):
            yield claim(f"{text} of known size cost what they should", energy(theta, a, z, Y, *weights),
                        expected(*weights), look=look)
        shallow = off_the_graph(seed, SHALLOW)
        yield claim("and in a network of two maps", energy(*shallow, gamma, rho), library_energy(*shallow, gamma, rho),
                    look="D is len(theta) − 1")

    def mistakes(energy):
        square = (*off_the_graph(seed, SQUARE), gamma, rho)
        yield (value_or_none(energy, theta, a, z, Y, gamma, rho) is None
               and same(value_or_none(energy, *square), energy_with(of_map="own")(*square)),
               "map l reads a_{l−1}; here it reads a_l")
        found = energy(theta, a, z, Y, gamma, rho)
        yield same(found, expected(rho, gamma)), "γ and ρ are exchanged: γ belongs to σ(z_l) − a_l"
        yield same(found, expected(gamma, rho) + rho / 2 * np.sum(z_gaps[D]**2)), \
            "E has no penalty on the last map: there the loss takes φ(θ_D, a_{D−1}) itself"
        yield same(found, expected(gamma / 7, rho / 7)), \
            "the loss is a mean over the batch, the penalty is not averaged"
        yield from slips(energy, [(theta, a, z, Y, gamma, rho), (theta, a, z, Y, 1.7, 0.9)], WRONG_ENERGIES)
        at_rest, loss = (theta, state.a, state.z, Y), SquaredError().value(state.z[D], Y)
        yield (not same(energy(*at_rest, 2 * gamma, rho), energy(*at_rest, gamma, rho)),
               "after a forward pass your E changes with γ: there σ(z_l) − a_l is zero; is it that gap?")
        yield (not same(energy(*at_rest, gamma, 2 * rho), energy(*at_rest, gamma, rho)),
               "after a forward pass your E changes with ρ: there φ_l − z_l is zero; is it that gap?")
        yield (not same(energy(*at_rest, gamma, rho), loss), f"after a forward pass all gaps are zero, and your E is "
               f"{energy(*at_rest, gamma, rho) / loss:.3g} times J: the loss (4.2) is not right")
        for kind, name, weight in (("a", "σ(z_{l}) − a_{l}", gamma), ("z", "φ_{l} − z_{l}", rho)):
            for l in range(1, D):
                gaps = a_gaps if kind == "a" else z_gaps
                values = opened(theta, X, gaps, kind, l)
                cost = energy(theta, *values, Y, gamma, rho) - SquaredError().value(values[1][D], Y)
                price = weight / 2 * squared(gaps[l])
                share = round(cost / price, 9)
                yield (not same(cost, price), f"where the gap {name.format(l=l)} alone is open, it costs "
                       + (f"{share:.3g} times what it should" if share else "nothing: is its penalty in the sum?"))
        shallow = (*off_the_graph(seed, SHALLOW), gamma, rho)
        yield (same(found, expected(gamma, rho))
               and not same(value_or_none(energy, *shallow), library_energy(*shallow))), ONE_DEPTH

    return check("4.1", answer, claims, mistakes, fallback=library_energy)


def slope_of_tanh(z):
    """Return σ'(z) for σ = tanh."""
    return 1 - np.tanh(z) ** 2


def gradients_with(signal=1, own=-1, into=1, map_gap=-1, slope=slope_of_tanh, weights=(0, 1, 0, 1), above=1, last=True,
                   samples=len, at="z", reads="a", through=np.ones_like, extra=0, top=1, at_top="φ", W_of=1,
                   rows=(0, -1)):
    """Return gradients (4.5), (4.6) with a slip in them: signs, weights (0: γ, 1: ρ, 2: 1), σ', the map above."""
    def both(l, theta, a, z, Y, gamma, rho):
        def phi(k):
            return a[k - 1] @ theta[k][:-1] + theta[k][-1]

        k, price = l + above, (gamma, rho, 1.0)
        gap, inner = np.tanh(z[l]) - a[l], through(z[l]) * (phi(l) - z[l])
        at_loss = last and k == len(theta) - 1
        read = np.tanh(z[l]) if reads == "z everywhere" or (reads == "z" and not at_loss) else a[l + above - 1]
        value = z[k] if at_loss and at_top == "z" else read @ theta[k][:-1] + theta[k][-1]
        above_it, W = value - (Y if at_loss else z[k]), theta[l + W_of][slice(*rows)]
        G = top * above_it / samples(Y) if at_loss else price[weights[3]] * above_it
        if extra and not at_loss:
            G = G + gamma * (np.tanh(z[k]) - a[k])
        in_a = signal * G @ W.T + own * price[weights[0]] * gap
        in_z = into * price[weights[2]] * slope((z if at == "z" else a)[l]) * gap
        return in_a, in_z + map_gap * price[weights[1]] * inner
    return both


def gradient_of_map(l, theta, a, z, Y, gamma, rho):
    """Return ∂E/∂φ_l (4.3)."""
    value = a[l - 1] @ theta[l][:-1] + theta[l][-1]
    return (value - Y) / len(Y) if l == len(theta) - 1 else rho * (value - z[l])


WRONG_GRADIENTS = {
    "these are minus the gradients": gradients_with(-1, 1, -1, 1),
    "∂E/∂a: in σ(z_l) − a_l the variable a_l stands with a minus sign": gradients_with(own=1),
    "∂E/∂a: the signal from above comes in with a plus sign": gradients_with(signal=-1),
    "∂E/∂a: its own gap is missing; it vanishes after a forward pass only": gradients_with(own=0),
    "∂E/∂a: the signal from the map above is missing; a_l occurs in two terms": gradients_with(signal=0),
    "∂E/∂z: σ' is missing where the chain passes σ": gradients_with(slope=np.ones_like),
    "∂E/∂z: the derivative of tanh is 1 − tanh², not 1 − tanh": gradients_with(slope=lambda z: 1 - np.tanh(z)),
    "∂E/∂z: σ' is taken at σ(z_l); it belongs at z_l": gradients_with(slope=lambda z: 1 - np.tanh(np.tanh(z)) ** 2),
    "∂E/∂z: 1 − z² stands where 1 − tanh²(z) belongs": gradients_with(slope=lambda z: 1 - z**2),
    "∂E/∂z: in φ_l − z_l the variable z_l stands with a minus sign": gradients_with(map_gap=1),
    "∂E/∂z: the gap of the map is missing; z_l occurs in two terms": gradients_with(map_gap=0),
    "∂E/∂z: the gap σ(z_l) − a_l is missing; z_l occurs in two terms": gradients_with(into=0),
    "γ and ρ are exchanged: γ belongs to σ(z_l) − a_l, ρ to φ_l − z_l": gradients_with(weights=(1, 0, 1, 0)),
    "∂E/∂a: γ belongs to its own gap, and ρ is in the signal from above already": gradients_with(weights=(1, 1, 0, 1)),
    "∂E/∂z: γ and ρ are exchanged": gradients_with(weights=(0, 0, 1, 1)),
    "∂E/∂z: ρ is in both terms; γ belongs to σ(z_l) − a_l": gradients_with(weights=(0, 1, 1, 1)),
    "∂E/∂z: γ is in both terms; ρ belongs to φ_l − z_l": gradients_with(weights=(0, 0, 0, 1)),
    "the sign of the gap: it is σ(z_l) − a_l": gradients_with(own=1, into=-1),
    "∂E/∂z: the sign of the gap σ(z_l) − a_l": gradients_with(into=-1),
    "the order: ∂E/∂a_l comes first": lambda *arguments: gradients_with()(*arguments)[::-1],
    "a factor 2: the penalties carry a ½": gradients_with(2, -2, 2, -2),
    "on the last map the loss takes the penalty's place, its signal is (φ_D − Y)/N": gradients_with(last=False),
    "the loss's signal is a mean: (φ_D − Y)/N": gradients_with(samples=lambda Y: 1),
    "the loss's signal is (φ_D − Y)/N: the ½ has met the square": gradients_with(top=0.5),
    "∂E/∂z: σ' comes in once": gradients_with(slope=lambda z: slope_of_tanh(z) ** 2),
    "∂E/∂a: a_l is not passed through σ' in the signal from above": lambda l, theta, a, z, Y, gamma, rho: (
        slope_of_tanh(z[l]) * gradients_with(own=0)(l, theta, a, z, Y, gamma, rho)[0]
        + gradients_with(signal=0)(l, theta, a, z, Y, gamma, rho)[0],
        gradients_with()(l, theta, a, z, Y, gamma, rho)[1]),
    "the loss's signal is (φ_D − Y)/N; its mean is over rows, not over all entries": gradients_with(samples=np.size),
    "the loss's signal is (φ_D − Y)/N: the ½ cancels the 2": gradients_with(top=2),
    "∂E/∂a: a factor 2; the penalty's ½ cancels it": gradients_with(own=-2),
    "∂E/∂a: the signal from above comes twice": gradients_with(signal=2),
    "∂E/∂z: a factor 2 in the gap σ(z_l) − a_l; the ½ cancels it": gradients_with(into=2),
    "∂E/∂z: a factor 2 in the gap φ_l − z_l; the ½ cancels it": gradients_with(map_gap=-2),
    "∂E/∂z: σ' is taken at a_l; it belongs at z_l": gradients_with(at="a"),
    "∂E/∂z: 1 − a_l² is σ' only after a forward pass; here a_l is free, and σ' belongs at z_l":
        gradients_with(slope=lambda a: 1 - a**2, at="a"),
    "∂E/∂z: the derivative of tanh is 1/cosh², not 1/cosh": gradients_with(slope=lambda z: 1 / np.cosh(z)),
    "∂E/∂z: σ' multiplies the gap σ(z_l) − a_l alone; φ_l − z_l has passed no σ": gradients_with(through=slope_of_tanh),
    "∂E/∂z: γ is missing": gradients_with(weights=(0, 1, 2, 1)),
    "∂E/∂z: ρ is missing": gradients_with(weights=(0, 2, 0, 1)),
    "∂E/∂a: γ is missing before its own gap": gradients_with(weights=(2, 1, 0, 1)),
    "∂E/∂a: ρ is missing in the signal of the map above": gradients_with(weights=(0, 1, 0, 2)),
    "∂E/∂a: ρ weighs φ_{l+1} − z_{l+1}; here γ does": gradients_with(weights=(0, 1, 0, 0)),
    "∂E/∂a: φ_{l+1} reads the variable a_l; here it reads σ(z_l)": gradients_with(reads="z"),
    "∂E/∂a: φ_{l+1} reads the variable a_l, in the loss's signal too; here it reads σ(z_l)":
        gradients_with(reads="z everywhere"),
    "the loss's signal is made of φ_D = φ(θ_D, a_{D−1}), not of the list's z_D": gradients_with(at_top="z"),
    "∂E/∂a: the bias is the last row of θ, so that W is θ[:-1], not θ[1:]": gradients_with(rows=(1, None)),
    "∂E/∂a: a_l does not occur in the gap σ(z_{l+1}) − a_{l+1}": gradients_with(extra=1),
    "∂E/∂z: the derivative of tanh is 1 − tanh²(z), not 1 − tanh(z²)":
        gradients_with(slope=lambda z: 1 - np.tanh(z**2)),
    "∂E/∂z: the derivative of tanh is 1 − tanh², not (1 − tanh)²":
        gradients_with(slope=lambda z: (1 - np.tanh(z)) ** 2),
    "∂E/∂a: a_l has passed its σ already: no σ' in this gap": lambda l, theta, a, z, Y, gamma, rho: (
        gradients_with()(l, theta, a, z, Y, gamma, rho)[0]
        + gamma * np.tanh(z[l]) ** 2 * (np.tanh(z[l]) - a[l]), gradients_with()(l, theta, a, z, Y, gamma, rho)[1]),
    "∂E/∂a: σ' does not belong here: E holds a_l itself, not what it was computed from": lambda l, theta, a, z, *rest: (
        slope_of_tanh(z[l]) * gradients_with()(l, theta, a, z, *rest)[0],
        gradients_with()(l, theta, a, z, *rest)[1]),
    "∂E/∂a: no σ', and none taken at a_l: E holds a_l itself, not what it was computed from":
        lambda l, theta, a, *rest: ((1 - a[l]**2) * gradients_with()(l, theta, a, *rest)[0],
                                    gradients_with()(l, theta, a, *rest)[1]),
    "∂E/∂z: this is σ' times ∂E/∂a_l; z_l and a_l are two variables, each with two gaps of its own":
        lambda l, theta, a, z, *rest: (gradients_with()(l, theta, a, z, *rest)[0],
                                       slope_of_tanh(z[l]) * gradients_with()(l, theta, a, z, *rest)[0]),
    "∂E/∂a: σ' of the map above does not belong here: its gap is taken before σ": lambda l, theta, a, z, *rest: (
        gradients_with(signal=0)(l, theta, a, z, *rest)[0]
        + slope_of_tanh(z[l + 1]) * gradient_of_map(l + 1, theta, a, z, *rest) @ theta[l + 1][:-1].T,
        gradients_with()(l, theta, a, z, *rest)[1]),
    "∂E/∂z: σ' is taken at φ_l; it belongs at the list's z_l": lambda l, theta, a, z, Y, gamma, rho: (
        gradients_with()(l, theta, a, z, Y, gamma, rho)[0],
        gradients_with(into=0)(l, theta, a, z, Y, gamma, rho)[1]
        + gamma * slope_of_tanh(a[l - 1] @ theta[l][:-1] + theta[l][-1]) * (np.tanh(z[l]) - a[l])),
    "∂E/∂z: t (1 − t) is the slope of the logistic function; that of t = tanh is 1 − t²":
        gradients_with(slope=lambda z: np.tanh(z) * (1 - np.tanh(z))),
    "γ is missing, in both": gradients_with(weights=(2, 1, 2, 1)),
    "ρ is missing, in both": gradients_with(weights=(0, 2, 0, 2)),
    "γ and ρ are missing": gradients_with(weights=(2, 2, 2, 2)),
    "∂E/∂z: ρ comes in twice; gradient_phi has it": lambda l, theta, a, z, Y, gamma, rho: (
        gradients_with()(l, theta, a, z, Y, gamma, rho)[0],
        gradients_with(map_gap=-rho)(l, theta, a, z, Y, gamma, rho)[1]),
    "∂E/∂a: ρ comes in twice; gradient_phi has it": lambda l, theta, a, z, Y, gamma, rho: (
        gradients_with(signal=rho)(l, theta, a, z, Y, gamma, rho)[0],
        gradients_with()(l, theta, a, z, Y, gamma, rho)[1]),
    "these are the values after a step of length 1; the gradients are asked for": lambda l, theta, a, z, *rest: tuple(
        old - part for old, part in zip((a[l], z[l]), gradients_with()(l, theta, a, z, *rest))),
    "this is backprop: ∂E/∂z_l holds the two gaps of z_l, not the signal at a_l times σ'":
        lambda l, theta, a, z, Y, gamma, rho: (
            gradients_with(own=0)(l, theta, a, z, Y, gamma, rho)[0],
            slope_of_tanh(z[l]) * gradients_with(own=0)(l, theta, a, z, Y, gamma, rho)[0]),
}


def gradients(answer, seed):
    """Exercise 4.2: ∂E/∂a_l and ∂E/∂z_l against finite differences of the library's E."""
    rng, theta, X, Y = draw(seed)
    a, z, _, _ = point_off_the_graph(rng, theta, X)
    gamma, rho, h, D = 3.0, 0.7, 1e-5, len(theta) - 1
    looks = {"a": "look at the signal of map l + 1, its W and the sign of the own gap",
             "z": "look at σ', at which weight goes with which gap, and at the sign of φ_l − z_l"}

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
            if isinstance(both, dict):
                raise ValueError("a dict comes back where two arrays are expected")
            of_a, of_z = both
            for kind, gradient in (("a", of_a), ("z", of_z)):
                directions = rng.normal(size=(4, *a[l].shape))
                if np.shape(gradient) != a[l].shape:
                    raise ValueError(f"∂E/∂{kind}_{l} has shape {np.shape(gradient)}, expected {a[l].shape}")
                yield claim(f"∂E/∂{kind}_{l} along four directions", [np.sum(gradient * d) for d in directions],
                            [slope(kind, l, d) for d in directions], DIFFERENCES, look=looks[kind])
        shallow = (1, *off_the_graph(seed, SHALLOW), gamma, rho)
        for kind, gradient, wanted in zip("az", found(*shallow), library_gradients(*shallow)):
            yield claim(f"and in a network of two maps: ∂E/∂{kind}_1", gradient, wanted,
                        look="D is len(theta) − 1")

    def mistakes(found):
        square = (*off_the_graph(seed, SQUARE), gamma, rho)
        both, own, W = (value_or_none(each, 2, *square)
                        for each in (found, gradients_with(above=0, W_of=0), gradients_with(W_of=0)))
        refused = value_or_none(found, 2, theta, a, z, Y, gamma, rho) is None
        yield (refused and both is not None and same(both[0], own[0]),
               "∂E/∂a_l: the map that reads a_l is map l + 1; here it is map l")
        yield (refused and both is not None and same(both[0], W[0]),
               "∂E/∂a_l: the signal of map l + 1 comes down through its own W_{l+1}; here through W_l")
        yield from slips(found, [(l, theta, a, z, Y, gamma, rho) for l in (1, len(theta) - 2)], WRONG_GRADIENTS)
        for kind, part in zip("az", found(1, theta, a, z, Y, gamma, rho)):
            yield (np.shape(part) == (len(Y), WIDTHS[1] + 1), f"∂E/∂{kind}_1 has a column too many: W is θ without its "
                   "last row, θ[:-1], in the product as well")
        yield (len(found(1, theta, a, z, Y, gamma, rho)) != 2, "two arrays are asked for, ∂E/∂a_l and ∂E/∂z_l")
        gaps = [None, *(rng.normal(size=part.shape) for part in a[1:])]
        for kind, k, name in (("a", 1, "σ(z_l) − a_l"), ("z", 1, "φ_l − z_l"), ("z", 2, "φ_{l+1} − z_{l+1}")):
            values = opened(theta, X, gaps, kind, k)
            wanted = library_gradients(1, theta, *values, Y, gamma, rho)
            for part, mine, right in zip("az", found(1, theta, *values, Y, gamma, rho), wanted):
                factor, zero = times(mine, right), not np.abs(right).max() > 1e-12
                much = "is not zero" if zero else f"is {factor:.3g} times right" if factor == factor else "is wrong"
                yield (not same(mine, right), f"∂E/∂{part}_l: where the gap {name} alone is open, it {much}"
                                              f"{'; that gap does not hold ' + part + '_l' if zero else ''}")
        at_loss = found(D - 1, theta, *opened(theta, X, gaps), Y, gamma, rho)
        yield (not same(at_loss[0], library_gradients(D - 1, theta, *opened(theta, X, gaps), Y, gamma, rho)[0]),
               "∂E/∂a_{D−1}: without any gap the loss's signal comes down, (φ_D − Y)/N through W_Dᵀ")
        shallow = (1, *off_the_graph(seed, SHALLOW), gamma, rho)
        fewer = value_or_none(found, *shallow)
        yield (fewer is None or not all(same(mine, right, DIFFERENCES) for mine, right in zip(
            fewer, library_gradients(*shallow))), ONE_DEPTH)

    return check("4.2", answer, claims, mistakes, fallback=library_gradients)


class Recording(PenaltyEnergy):
    """An energy that notes which of its gradients are asked for, and where those in z_l see a_l."""

    def __init__(self, net, y, gamma, rho):
        super().__init__(net, y, gamma, rho)
        self.asked, self.seen = set(), {}

    def gradient_theta(self, l, theta, a, z):
        """Note it, and return ∂E/∂θ_l."""
        self.asked.add(f"θ_{l}")
        return super().gradient_theta(l, theta, a, z)

    def gradient_a(self, l, theta, a, z):
        """Note it, and return ∂E/∂a_l."""
        self.asked.add(f"a_{l}")
        return super().gradient_a(l, theta, a, z)

    def gradient_z(self, l, theta, a, z):
        """Note it, and return ∂E/∂z_l."""
        self.asked.add(f"z_{l}")
        self.seen.setdefault(l, []).append(a[l])
        return super().gradient_z(l, theta, a, z)


def sweep_with(last=1, top_at="a", theta_at="a", z_at="half", a_at="half", theta_sees="half", through="old",
               tau_in=1, first=True, slope=np.ones_like, z_sign=1):
    """Return a sweep with a slip in it: at which of the old and half-stepped values each gradient is taken."""
    def sweep(energy, theta, a, z, tau):
        D, new = len(theta) - 1, list(theta)
        weights = theta if through in ("old", "below") else new
        top = replaced(a, D - 1, a[D - 1] - tau * energy.gradient_a(D - 1, theta, a, z)) if top_at == "half" else a
        new[D] = theta[D] - last * (1 if tau_in == "all θ" else tau) * energy.gradient_theta(D, theta, top, z)
        halves = {D - 1: a[D - 1] - tau * energy.gradient_a(D - 1, weights, a, z)}
        for l in range(D - 1, 0, -1):
            seen = replaced(a, l, halves[l]) if z_at == "half" else a
            seen = replaced(a, l - 1, halves[l]) if z_at == "below" else seen
            in_z = slope(z[l]) * energy.gradient_z(l, theta, seen, z)
            moved = replaced(z, l, z[l] - z_sign * (1 if tau_in == "z" else tau) * in_z)
            if l > 1 and through not in ("new", "below"):
                halves[l - 1] = a[l - 1] - tau * energy.gradient_a(l - 1, theta, a, moved if a_at == "half" else z)
            at = replaced(a, l - 1, halves.get(l - 1, a[l - 1])) if theta_at == "half" else a
            step = energy.gradient_theta(l, theta, at, moved if theta_sees == "half" else z)
            if l > 1 or first:
                new[l] = theta[l] - (1 if tau_in in ("θ", "all θ") else tau) * step
            if l > 1 and through in ("new", "below"):
                halves[l - 1] = a[l - 1] - tau * energy.gradient_a(l - 1, new, a, moved)
        return new[1:]
    return sweep


def descent_without_a_sweep(energy, theta, a, z, tau):
    """Return θ − τ ∇J, of backprop."""
    return [part - tau * d for part, d in zip(theta[1:], BackProp().direction(energy.net, a[0], energy.y)[1])]


def moved_upwards(energy, theta, a, z, tau):
    """Return all steps in θ after all in z and a, each seeing what has moved, from the first map up."""
    a, z, maps = list(a), list(z), range(1, len(theta))
    for l in maps[:-1]:
        z[l] = z[l] - tau * energy.gradient_z(l, theta, a, z)
        a[l] = a[l] - tau * energy.gradient_a(l, theta, a, z)
    return [theta[l] - tau * energy.gradient_theta(l, theta, a, z) for l in maps]


WRONG_SWEEPS = {
    "this is θ − τ ∇J, without a sweep or with 1/τ written in: take the gradients of the energy that is handed in":
        descent_without_a_sweep,
    "step (4.7) uses the half-stepped a; it belongs at the forward pass's (Exercise 4.4 is about this)":
        sweep_with(theta_at="half"),
    "only θ_D and the map below it move: does the return stand inside the loop, does the loop run upwards, or is z_l "
    "still the old one where (10) takes its gradient?": sweep_with(a_at="z"),
    "the signal goes down through the new weights (that is notebook 09); here all gradients see the old θ":
        sweep_with(through="new"),
    "gradient_z has passed σ already: no further σ'": sweep_with(slope=slope_of_tanh),
    "the sign of a half step, in z or in a": sweep_with(z_sign=-1),
    "the hidden maps do not move: (9) takes its gradient at a_l^½, and (4.7) at z_l^½": sweep_with(theta_sees="old"),
    "θ_D does not move: it takes its step (12) before the loop": sweep_with(last=0),
    "the sign of the step in θ_D": sweep_with(last=-1),
    "θ_1 does not move: the loop goes down to l = 1, and range excludes its end": sweep_with(first=False),
    "τ is missing in (4.7), or in (8): with γ = ρ = 1/τ the factor τ stands before each gradient":
        sweep_with(tau_in="θ"),
    "τ is missing in (4.7) and (12), before the gradients in θ": sweep_with(theta_at="a", tau_in="all θ"),
    "τ is missing in (9), or in (8) and (10)": sweep_with(tau_in="z"),
    "these are the changes; the new θ_l are asked for": lambda energy, theta, a, z, tau: [
        new - old for new, old in zip(sweep_with(theta_at="a")(energy, theta, a, z, tau), theta[1:])],
    "these are the gradients, or the changes over −τ; the new θ_l are asked for": lambda energy, theta, a, z, tau: [
        (old - new) / tau for new, old in zip(sweep_with(theta_at="a")(energy, theta, a, z, tau), theta[1:])],
    "a_{D−1} takes its half step at the old θ_D; here it sees the new one": lambda energy, theta, a, z, tau:
        sweep_with(through="top")(energy, theta, a, z, tau),
    "a_{l−1} takes its half step at the old θ_l; here it sees the new one": sweep_with(through="below"),
    "θ_D takes its step (12) at the forward pass; here it sees the half-stepped a_{D−1}": sweep_with(top_at="half"),
    "a_{D−1} sees the new θ_D here, and θ_l the half-stepped a_{l−1}: at the forward pass but for one neighbour":
        sweep_with(through="top", theta_at="half"),
    "the order: all a and z have moved from the first map up, before any θ": moved_upwards,
    "θ_D comes last in the list: [θ_1, …, θ_D]": lambda *problem: sweep_with(theta_at="a")(*problem)[::-1],
    "every step goes uphill: θ − τ …": lambda energy, theta, a, z, tau: sweep_with(theta_at="a")(
        energy, theta, a, z, -tau),
    "τ multiplies each gradient; here it divides": lambda energy, theta, a, z, tau: sweep_with(theta_at="a")(
        energy, theta, a, z, 1 / tau),
    "slot 0 holds None: return new[1:]": lambda energy, theta, a, z, tau: [
        None, *sweep_with(theta_at="a")(energy, theta, a, z, tau)],
}


UPHILL = "θ is right, but not a_l^½: two wrong signs cancel; each half step, in a and in z, goes down its gradient"


def sweep_with_half_steps(energy, theta, a, z, tau):
    """Return [θ_1, …, θ_D] after a sweep with its step (4.7) taken at a_{l−1}^½, which is wrong."""
    return sweep_with(theta_at="half")(energy, theta, a, z, tau)


def sweep(answer, seed):
    """Exercise 4.3: with γ = ρ = 1/τ a sweep is θ − τ ∇J; with others each map loses a factor τ²γρ."""
    rng, theta, X, Y = draw(seed)
    net, tau, h = network(theta), 0.3, 1e-5
    D, (_, dJ) = net.depth, BackProp().direction(net, X, Y)
    _, z, a, _ = net.forward(X)

    def slope(l, direction):
        """Return the derivative of J along a direction in θ_l."""
        ends = [network(replaced(theta, l, theta[l] + sign * h * direction)).loss(X, Y) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * h)

    def steps(found, energy):
        """Return θ − θ_new of each map."""
        new = found(energy, theta, a, z, tau)
        if isinstance(new, dict):
            raise ValueError(f"a dict comes back where a list [θ_1, …, θ_{D}] is expected")
        if len(new) != D:
            raise ValueError(f"{len(new)} arrays where [θ_1, …, θ_{D}] are expected")
        return [old - part for old, part in zip(theta[1:], new)]

    def farthest(energy):
        """Return how far a_l is from its half step, at worst, where a gradient in z_l sees it nearest to that."""
        right = Recording(net, Y, energy.gamma, energy.rho)
        sweep_with()(right, theta, a, z, tau)
        return max(min((gap(value, right.seen[l][0]) for value in energy.seen.get(l, ())
                        if np.shape(value) == a[l].shape), default=np.inf) for l in range(1, D))

    def shallow(found):
        """Return a sweep over a network of two maps, and θ − τ ∇J, as rows of numbers."""
        _, theta, X, Y = draw(seed, SHALLOW)
        net = network(theta)
        energy, (_, z, a, _) = PenaltyEnergy(net, Y, 1 / tau, 1 / tau), net.forward(X)
        return [np.concatenate([np.ravel(part) for part in new])
                for new in (found(energy, theta, a, z, tau), descent_without_a_sweep(energy, theta, a, z, tau))]

    def claims(found):
        for l, step in zip(range(D, 0, -1), steps(found, PenaltyEnergy(net, Y, 1 / tau, 1 / tau))[::-1]):
            directions = rng.normal(size=(3, *theta[l].shape))
            yield claim(f"γ = ρ = 1/τ, θ_{l}: the step over τ is the slope of J",
                        [np.sum(step / tau * d) for d in directions], [slope(l, d) for d in directions], DIFFERENCES,
                        look="look at the values at which its gradient and those above are taken")
        energy = Recording(net, Y, 3.0, 0.5)
        for l, step in zip(range(D, 0, -1), steps(found, energy)[::-1]):
            factor = tau * (tau**2 * energy.gamma * energy.rho) ** (D - l)
            yield claim(f"γ = 3, ρ = 0.5, θ_{l}: (τ²γρ)^{D - l} of that", step, factor * dJ[l - 1], 1e-10,
                        look="the gaps must come from the energy's own gradients, with its own γ and ρ")
        yield claim("and in a network of two maps: θ − τ ∇J", *shallow(found), 1e-10, look="D is len(theta) − 1")
        needed = {f"{kind}_{l}" for l in range(1, D) for kind in "θaz"} | {f"θ_{D}"}
        yield Claim("gradients of the energy that the sweep does not ask for", len(needed - energy.asked), 0,
                    "a sweep takes a step in every a_l, z_l and θ_l")
        yield Claim("(9) takes its gradient at a_l^½, a step down from a_l", farthest(energy), 1e-10, UPHILL)

    def mistakes(found):
        energies = [PenaltyEnergy(net, Y, 1 / tau, 1 / tau), PenaltyEnergy(net, Y, 3.0, 0.5)]
        _, other, inputs, wanted = draw(seed, SQUARE)
        rest = network(other)
        _, other_z, other_a, _ = rest.forward(inputs)
        square = PenaltyEnergy(rest, wanted, 1 / tau, 1 / tau), other, other_a, other_z, tau
        yield (value_or_none(found, energies[0], theta, a, z, tau) is None
               and same(value_or_none(found, *square), sweep_with(theta_at="a", z_at="below")(*square)),
               "(9) takes its gradient where a_l has moved, replaced(a, l, …); here a_{l−1} is replaced")
        yield from slips(found, [(energy, theta, a, z, tau) for energy in energies], WRONG_SWEEPS)
        energy = Recording(net, Y, 3.0, 0.5)
        new = found(energy, theta, a, z, tau)
        yield (all(same(*pair, 1e-10) for pair in zip(new, sweep_with()(energies[1], theta, a, z, tau)))
               and farthest(energy) > 1e-10, UPHILL)
        new = found(energies[0], theta, a, z, tau)
        yield isinstance(new, dict), f"a dict comes back where a list [θ_1, …, θ_{D}] is expected"
        yield len(new) == D + 1, "slot 0 comes back too: [θ_1, …, θ_D] is asked for, new[1:]"
        for l in range(D, 0, -1):
            factor = times(new[l - 1] - theta[l], -tau * dJ[l - 1], 1e-6)
            yield (not same(factor, 1.0, 1e-6), f"θ_{l} moves {factor:.3g} times as far as it should"
                   if factor == factor else
                   f"θ_{D} is wrong already: (12) is one step from the old θ_{D}, at the a_{D - 1} of the forward pass"
                   if l == D else
                   f"θ_{l} is the first that is wrong, from the top: what has been put into z_{l} and a_{l}?")
        pair = value_or_none(shallow, found)
        yield pair is None or not same(*pair), ONE_DEPTH

    return check("4.3", answer, claims, mistakes,
                 fallback=lambda energy, theta, a, z, tau: algorithm_1(energy.net, a[0], energy.y, tau).theta[1:])


def library_discrepancy(a, W, g, tau):
    """Return θ_wrong − θ_right of step (c) with the map's own operations."""
    half = a - tau * g @ W.T
    return stacked_product(a, tau * g) - stacked_product(half, half @ W - (a @ W - tau * g))


def discrepancy_with(sign=1, phi="half", factor="half", ones=1.0, step=1, plus=1, tau_power=1):
    """Return the discrepancy with a slip in it: φ or the factor in front at the forward pass, a sign or a τ."""
    def formula(a, W, g, tau):
        def stacked(inputs, signal):
            return np.vstack([inputs.T @ signal, ones * signal.sum(axis=0)])

        gW = step * g @ W.T
        gap = g - plus * (g @ W.T @ W if phi == "half" else 0)
        right, wrong = stacked(a, g), stacked(a - tau * gW if factor == "half" else a, gap)
        if ones == 2.0:  # the bias row takes a half step too
            wrong[-1] = (1 - tau) * wrong[-1]
            right[-1], wrong[-1] = right[-1] / 2, wrong[-1] / 2
        return sign * tau**tau_power * (right - wrong)
    return formula


def second_order(a, W, g, tau, signal):
    """Return the discrepancy with another signal in its part of second order."""
    return stacked_product(a, tau * g @ W.T @ W) + tau**2 * np.vstack([(g @ W.T).T @ signal, 0 * g[:1]])


WRONG_DISCREPANCIES = {
    "the sign: the wrong one minus the right one is asked for": discrepancy_with(-1),
    "right to first order in τ only: the product of two half steps is missing": discrepancy_with(factor="forward"),
    "φ is taken at the half step too, not only the factor in front": discrepancy_with(phi="forward"),
    "the bias row is missing its part: ã_½ still has a column of ones": discrepancy_with(ones=0.0),
    "the bias row: which columns of ã take a half step?": discrepancy_with(ones=2.0),
    "a factor τ is missing: z_l^½ = z_l − τ g": discrepancy_with(tau_power=0),
    "a factor τ too many": discrepancy_with(tau_power=2),
    "the sign of the half step in a: a^½ = a − τ g Wᵀ": discrepancy_with(step=-1),
    "the sign of the half step in a, in both places: a^½ = a − τ g Wᵀ": discrepancy_with(step=-1, plus=-1),
    "the part of second order: [gWᵀ 0]ᵀ meets g (I − WᵀW), not g": lambda a, W, g, tau:
        second_order(a, W, g, tau, g),
    "the part of second order: [gWᵀ 0]ᵀ meets g (I − WᵀW), not g WᵀW": lambda a, W, g, tau:
        second_order(a, W, g, tau, g @ W.T @ W),
    "the sign of WᵀW: put (10) into φ(θ, a^½) once more, and mind its minus": discrepancy_with(plus=-1),
    "this is the wrong step itself; the right one is to be subtracted": lambda a, W, g, tau:
        library_discrepancy(a, W, g, tau) - stacked_product(a, tau * g),
    "this is the wrong step with its sign turned; the right one is to be subtracted": lambda a, W, g, tau:
        stacked_product(a, tau * g) - library_discrepancy(a, W, g, tau),
    "this is the part of second order in τ alone; what is left of first order?": lambda a, W, g, tau:
        library_discrepancy(a, W, g, tau) - stacked_product(a, tau * g @ W.T @ W),
    "the part of second order has τ², not τ: has the half step its τ, a^½ = a − τ g Wᵀ?": lambda a, W, g, tau:
        (library_discrepancy(a, W, g, tau) - stacked_product(a, tau * g @ W.T @ W)) / tau
        + stacked_product(a, tau * g @ W.T @ W),
    "τ is missing in one of the two steps": lambda a, W, g, tau:
        stacked_product(a, tau * g) - (stacked_product(a, tau * g) - library_discrepancy(a, W, g, tau)) / tau,
}


def discrepancy(answer, seed):
    """Exercise 4.4: the formula against the two sweeps, done literally, on every map that is affected."""
    _, theta, X, Y = draw(seed)
    net = network(theta)
    state = net.forward(X)

    looks = {0.01: "look at the term of first order in τ", 2.0: "look at the term of second order in τ"}

    def literal(l, tau):
        """Return the discrepancy of θ_l as the two sweeps give it, and g_l = ∂J/∂z_l."""
        half = algorithm_1(net, X, Y, tau)
        wrong = sweep_with_half_steps(PenaltyEnergy(net, Y, 1 / tau, 1 / tau), theta, state.a, state.z, tau)
        return wrong[l - 1] - half.theta[l], (state.z[l] - half.z[l]) / tau

    def claims(found):
        for tau in (0.01, 2.0):
            for l in range(2, net.depth):
                difference, g = literal(l, tau)
                yield claim(f"map {l}, τ = {tau}: formula over τ", found(state.a[l - 1], theta[l][:-1], g, tau) / tau,
                            difference / tau, 1e-9, look=looks[tau])

    def mistakes(found):
        tau, a, W = 2.0, state.a[1], theta[2][:-1]
        difference, g = literal(2, tau)
        predicted = found(a, W, g, tau)
        yield np.shape(predicted) == np.shape(W), "the bias row is missing: θ has one row more than W"
        yield from slips(found, [(a, W, g, tau), (a, W, g, 0.5)], WRONG_DISCREPANCIES)
        yield same(predicted, 0 * predicted), "it is not zero: φ at a^½ is another value than z_l^½"
        yield same(predicted[:-1], difference[:-1]), "the bias row: which columns of ã take a half step?"
        yield (np.shape(predicted) != difference.shape,
               f"one array of the shape of θ, {difference.shape}, is asked for; yours has {np.shape(predicted)}")
        values, wanted = ([f(a, W, g, t) for t in (1.0, 2.0, 3.0)] for f in (found, library_discrepancy))
        (first, second), (right_first, right_second) = (
            ((4 * f[0] - f[1]) / 2, (f[1] - 2 * f[0]) / 2) for f in (values, wanted))
        yield (not same(values[2], 3 * first + 9 * second),
               "two half steps of length τ meet: parts with τ and τ² alone. In yours τ comes in otherwise")
        for part, mine, right in (("τ", first, right_first), ("τ²", second, right_second)):
            factor = times(mine, right)
            yield (not same(mine, right), f"the part with {part} is {factor:.3g} times what it should be"
                   if factor == factor else f"the part with {part} is wrong: multiply the step's two factors out")

    return check("4.4", answer, claims, mistakes, fallback=library_discrepancy)


def library_implicit_activation(a, theta_D, Y, tau):
    """Return the prox of a ↦ L_y(φ(θ_D, a)): a damped least-squares problem whose matrix is Wᵀ (see `damped_solve`)."""
    misfit = a @ theta_D[:-1] + theta_D[-1] - Y
    change = damped_solve(Gram(theta_D[:-1].T, bias=False), misfit.T, len(Y) / tau).value
    return a - change.T


def as_it_is(c, tau, N):
    """Return c = τ/N."""
    return c


def activation_with(step=lambda tau, N: tau / N, bias=1.0, pull_left=1.0, sign=1.0, miss=1.0, left=as_it_is,
                    right=as_it_is, identity=np.eye):
    """Return the implicit step on an activation with a slip in it, of its system or one side of it."""
    def solve(a, theta_D, Y, tau):
        W, b, c = theta_D[:-1], bias * theta_D[-1], step(tau, len(Y))
        matrix = pull_left * identity(len(W)) + left(c, tau, len(Y)) * W @ W.T
        return np.linalg.solve(matrix, (a + sign * right(c, tau, len(Y)) * (miss * Y - b) @ W.T).T).T
    return solve


WRONG_ACTIVATIONS = {
    "this is the explicit step (8): its slope is taken at a, not at u":
        lambda a, theta_D, Y, tau: a - tau / len(Y) * (a @ theta_D[:-1] + theta_D[-1] - Y) @ theta_D[:-1].T,
    "the loss is averaged over the batch: L has a factor 1/N": activation_with(lambda tau, N: tau),
    "the mean is over rows alone: divide by N, not by the number of entries":
        lambda a, theta_D, Y, tau: activation_with(lambda tau, N: tau / Y.size)(a, theta_D, Y, tau),
    "the bias of the last map is missing": activation_with(bias=0.0),
    "the sign of the bias: (uW + 1bᵀ − Y) has Y − b on the other side": activation_with(bias=-1.0),
    "τ divides: it belongs to the slope": activation_with(lambda tau, N: 1 / (tau * N)),
    "the term a is missing on the right: collect all of (u − a)/τ":
        lambda a, theta_D, Y, tau: activation_with()(0 * a, theta_D, Y, tau),
    "the sign: what of the slope does not hold u changes sides, and its sign with them": activation_with(sign=-1.0),
    "the target is missing: the slope is (uW + 1bᵀ − Y)Wᵀ/N": activation_with(miss=0.0),
    "a factor 2: L has a ½, so that its slope has none": activation_with(lambda tau, N: 2 * tau / N),
    "this is the change of a; the new a is wanted":
        lambda a, theta_D, Y, tau: activation_with()(a, theta_D, Y, tau) - a,
    "this is a − u, the change of a; u itself is wanted":
        lambda a, theta_D, Y, tau: a - activation_with()(a, theta_D, Y, tau),
    "1/N is missing on the left, where WWᵀ stands": activation_with(left=lambda c, tau, N: c * N),
    "τ/N is missing on the left, where WWᵀ stands": activation_with(left=lambda c, tau, N: 1.0),
    "the bias is the last row of θ_D: W is θ_D[:-1], not θ_D[1:]": lambda a, theta_D, Y, tau:
        activation_with()(a, np.roll(theta_D, -1, axis=0), Y, tau),
    "the bias has one entry for each output; here their mean stands for all": lambda a, theta_D, Y, tau:
        activation_with()(a, np.vstack([theta_D[:-1], 0 * theta_D[-1] + theta_D[-1].mean()]), Y, tau),
    "the whole of WWᵀ couples the entries of u; here its diagonal stands alone": lambda a, theta_D, Y, tau: (
        a + tau / len(Y) * (Y - theta_D[-1]) @ theta_D[:-1].T) / (1 + tau / len(Y) * np.sum(theta_D[:-1]**2, axis=1)),
    "no transfer stands behind map D: the targets are Y itself": lambda a, theta_D, Y, tau:
        activation_with()(a, theta_D, np.tanh(Y), tau),
    "1/N is missing on the right: all of the slope has it": activation_with(right=lambda c, tau, N: c * N),
    "the identity on the left is divided by τ": activation_with(left=lambda c, tau, N: c / tau**2),
    "a factor 2: the pull is (u − a)/τ, since its ½ has met the square": activation_with(lambda tau, N: tau / 2 / N),
    "the sign of a: (u − a)/τ is on the left": lambda a, theta_D, Y, tau: activation_with()(-a, theta_D, Y, tau),
    "a ½ too many before the pull (u − a)/τ on the left": activation_with(pull_left=0.5),
    "on the left the pull comes in with a plus sign": activation_with(pull_left=-1.0),
    "a matrix of ones stands where the identity belongs: np.eye, not np.ones":
        activation_with(identity=lambda n: np.ones((n, n))),
    "this is u without the pull to a (τ = ∞): the least-squares solution":
        lambda a, theta_D, Y, tau: (Y - theta_D[-1]) @ np.linalg.pinv(theta_D[:-1]),
    "the right side is that of the change u − a, which must be added to a": lambda a, theta_D, Y, tau:
        activation_with()(a, theta_D, Y - a @ theta_D[:-1], tau),
    "one τ too many: a solution is no direction":
        lambda a, theta_D, Y, tau: tau * activation_with()(a, theta_D, Y, tau),
    "the sign of WWᵀ on the left": activation_with(left=lambda c, tau, N: -c),
    "1/τ is missing before a: of (u − a)/τ both parts have it": lambda a, theta_D, Y, tau:
        activation_with()(tau * a, theta_D, Y, tau),
    "the bias is no row of W: split θ_D into W and b": lambda a, theta_D, Y, tau: np.linalg.solve(
        theta_D @ theta_D.T / len(Y) + np.eye(len(theta_D)) / tau,
        (Y @ theta_D.T / len(Y) + np.hstack([a, np.ones((len(a), 1))]) / tau).T).T[:, :-1],
    "no transfer belongs here: u is what map D reads": lambda a, theta_D, Y, tau:
        np.tanh(activation_with()(a, theta_D, Y, tau)),
    "multiplied by the matrix instead of solving with it": lambda a, theta_D, Y, tau:
        (a + tau / len(Y) * (Y - theta_D[-1]) @ theta_D[:-1].T)
        @ (np.eye(len(theta_D) - 1) + tau / len(Y) * theta_D[:-1] @ theta_D[:-1].T),
    "the matrix's inverse is more than its first two terms, I − (τ/N)WWᵀ": lambda a, theta_D, Y, tau:
        (a + tau / len(Y) * (Y - theta_D[-1]) @ theta_D[:-1].T)
        @ (np.eye(len(theta_D) - 1) - tau / len(Y) * theta_D[:-1] @ theta_D[:-1].T),
}


def implicit_activation(answer, seed):
    """Exercise 4.5: the optimality condition of the implicit step on the last activation."""
    rng = np.random.default_rng(seed)
    a, last, Y = (rng.normal(size=shape) for shape in ((7, 3), (4, 5), (7, 5)))  # so that no factor 2 is a width
    W, b = last[:-1], last[-1]
    looks = {1e-3: "for a small τ u stays near a", 0.5: "put your u into hint 2 and see which of its terms is off",
             1e3: "right for a small τ only: solve the system, do not iterate or expand"}
    tolerance = {1e-3: 1e-10, 0.5: 1e-10, 1e3: 1e-8}  # τ f'(u) multiplies the rounding of u by τ

    def slope(u):
        return (u @ W + b - Y) @ W.T / len(Y)

    def claims(found):
        for tau in tolerance:
            u = found(a, last, Y, tau)
            yield claim(f"u + τ f'(u) = a, τ = {tau:g}", u + tau * slope(u), a, tolerance[tau],
                        look=looks[tau])

    def mistakes(found):
        yield from slips(found, [(a, last, Y, 0.5), (a, last, Y, 3.0)], WRONG_ACTIVATIONS)
        right_at = [same(found(a, last, Y, t), library_implicit_activation(a, last, Y, t)) for t in (1e-3, 0.5)]
        yield right_at == [False, True], \
            "right for τ = 0.5, wrong for 0.001: does an iteration take steps that are too long there? Solve the system"
        u = found(a, last, Y, 0.5)
        yield (np.shape(u) == (len(a), len(last)), "the answer has a column too many, that of the ones: "
               "they are no variables, and the bias is no row of W")
        yield np.shape(u) == Y.shape, "this has the shape of Y: φ_D at u, it seems; u itself is wanted"
        yield np.shape(u) != a.shape, f"u has shape {np.shape(u)} where {a.shape} is expected: is it transposed?"
        other = replaced(list(Y), 0, Y[0] + 1.0)
        moved = found(a, last, np.array(other), 0.5)
        yield (not same(moved[1:], u[1:]), "another target of the first sample changes the others: each row of u has "
                                           "its own target")
        acting, explicit = times(a - u, slope(u)), times(a - u, slope(a))
        yield same(acting, 0.5, 1e-5), \
            "right for a small τ only: repeating u ← a − τ f'(u) finds u while τ is small; solve the system"
        yield acting < 0, ("a − u is a multiple of f'(u) with the wrong sign: a sign in the system, or steps that are "
                           "too long and run away?")
        yield acting == acting, f"u solves (4.9) with τ = {acting:.3g}; it should be {0.5:g}: where do N and τ stand?"
        yield explicit == explicit, f"this is an explicit step of length {explicit:.3g}: its slope is taken at a"
        fitted = np.array(a) @ W + b
        yield (not same(found(a, last, fitted, 0.5), a), "where a fits its targets already, u must be a; yours moves")
        whole = [found(a, last, Y, t) for t in (1e-4, 1e-3)]
        yield not abs(whole[0]).max() < 1e3 * abs(a).max(), \
            "for a tiny τ u runs away: is this an iteration, whose steps are too long there? Solve the system"
        yield (same((a - whole[0]) / 1e-4, slope(a), 1e-2), "right for a tiny τ only: a matrix is to be solved with, "
               "and no iteration or expansion replaces that")
        yield (not same(whole[0], a, 1e-2), "for τ → 0 u must become a; yours does not")
        along = float(np.sum((a - u) * slope(u)) / np.sum(slope(u) ** 2))
        yield True, (f"a − u must be τ f'(u) with τ = 0.5; yours is about {along:.2g} f'(u), and no multiple of it: "
                     "steps that stop too early, or a matrix of which a part is left out?")

    return check("4.5", answer, claims, mistakes, fallback=library_implicit_activation)


close_to_answers(globals())
