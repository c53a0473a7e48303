r"""Claims about lifted methods: what each block of a sweep does to the energy; predictive coding, target propagation.

A sweep starts from the values of a forward pass of other data, so that no penalty is zero.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from minilift.checks.minima import minimum_finding
from minilift.checks.networks import as_base, class_of, compare_blocks, directions_of, fresh, kept, net_case, run_method
from minilift.checks.numeric import Reference, compare, dense, gradient, tried
from minilift.checks.report import Finding, claim, nothing_of, only_if, severity, worst_of
from minilift.layers.maps import Linear
from minilift.methods import (
    ADMM,
    BCD,
    DLADMM,
    LPOM,
    MAC,
    FenchelLifted,
    LiftedBregman,
    PredictiveCoding,
    TargetPropagation,
)
from minilift.methods.lifted.descend import Lifted
from minilift.methods.lifted.matching import one_for_each
from minilift.network import Network
from minilift.support.backend import to_numpy

DESCENDING = (BCD, ADMM, DLADMM, MAC, FenchelLifted, LPOM, LiftedBregman)
SOURCE = "BCD, ADMM, dlADMM, MAC, LPOM, Fenchel lifted, lifted Bregman"
ANCHORED = (FenchelLifted, LiftedBregman)  # their θ_l is damped towards its value before the call, not before the block
TOLD = (*DESCENDING, PredictiveCoding, TargetPropagation)  # their claims are written out below
PROBED = 200  # entries of all blocks, at most, of a network on which a user's own energy is differentiated
MANY_VALUES = 4000  # entries of values, at most, whose slopes are taken by differences one by one
SMALL = 20  # parameters, at most, of a network of which every block is probed


def told_as(claimed, kinds, what):
    """Return the method if it is of one of some classes; the claim is about how these work inside."""
    only_if(isinstance(claimed.method, kinds), f"it is not said to be {what}")
    return claimed.method


def of_blocks(claimed):
    """Return the method if it visits blocks, even if it is of a user's class: the claim is about each block."""
    method = claimed.method
    own = isinstance(method, Lifted) and type(method).schedule is not Lifted.schedule
    only_if(own, "it is not said to be a method of blocks")
    return method


def beginning(method, case):
    """Return a method's variables with the values of other data, and a nonzero multiplier.

    For a user's own class the parameters are those of the call: it is unknown towards which ones its blocks are damped.
    """
    rng = np.random.default_rng(3)
    other = replace(case, X=case.X + 0.3 * rng.standard_normal(case.X.shape))
    start = method.start(case.net, other.forward())
    multiplier = start.multiplier
    if multiplier is not None:
        multiplier = case.lend(0.1 * rng.standard_normal(multiplier.shape))
    # the parameters have moved since the call began
    size = 0.1 * isinstance(method, DESCENDING)
    theta = [None if own is None else case.lend(own + size * rng.standard_normal(own.shape)) for own in case.theta]
    # on either side of a kink: the nearest minimum is not always the lowest
    z = start.z and [None, *(case.lend(rng.choice([-1.0, 1.0], own.shape) * to_numpy(own)) for own in start.z[1:])]
    return start._replace(a=[case.lend(case.X), *start.a[1:]], z=z, multiplier=multiplier, theta=theta)


def visits(method, case):
    """Return a list of (block, l, energy, variables before, variables after), one for each block of one sweep."""
    def sweep(method, case):
        energy = method.energy(case.net, case.lend(case.X), case.lend(case.y))
        before = beginning(method, case)
        for block, l, update in method.schedule(energy):
            after = before.replaced(block, l, update(l, before))
            yield block, l, energy, before, after
            before = after

    try:
        return kept(case, "sweep", method, lambda: list(sweep(fresh(method), case.guarded)))
    except ArithmeticError as error:
        # no failure if the iteration of its class does not reach its tolerance from these values either
        base = class_of(method)
        only_if(type(error) is not ArithmeticError or type(method) is base or tried(
            lambda: list(sweep(as_base(method, base), case.guarded))) is not None, f"it gives up: {error}")
        raise


@claim("method", "its energy is that of the method whose subclass it is", "E(θ, z, a, u), term by term", SOURCE)
def energy_is_of_its_class(claimed, case):
    method = told_as(claimed, DESCENDING, "a method of blocks")
    base = class_of(method)
    only_if(type(method).energy is not base.energy, "it has the energy of its class")
    case, start = case.guarded, beginning(method, case)
    got, expected = (of(method, case.net, case.lend(case.X), case.lend(case.y)).terms(start)
                     for of in (type(method).energy, base.energy))
    if set(got) != set(expected):
        return nothing_of([f"its terms are {', '.join(got)}; {base.__name__}'s are {', '.join(expected)}"],
                          "term by term")
    findings = {name: compare(got[name], dense(expected[name], 1e-7)) for name in got}
    name = max(findings, key=lambda name: severity(findings[name]))  # NaN above all
    share = got[name] / expected[name] if expected[name] else np.nan
    return findings[name].because(
        f"the weight of the energy's term {name!r} is {share:.3g} times that of {base.__name__}")


@claim("method", "with the sweep of the method whose subclass it is, it takes its steps, call after call",
       "d_l = d_l of its class", "convention")
def steps_of_its_class(claimed, case):
    method = told_as(claimed, TOLD, "a lifted method")
    only_if(claimed.told is method and claimed.objective is None, "its objective, or `like`, says what it claims")
    base = class_of(method)
    only_if(type(method) is not base, "it is of that class itself")
    own = getattr(type(method), "energy", None) is not getattr(base, "energy", None)
    only_if(not own, "its energy is its own, of which another claim is made")
    only_if(case.net.depth > 2, "the order of blocks shows on three maps or more")
    name, twin = base.__name__, as_base(method, base)
    expected = tried(some_calls, twin, case)
    only_if(expected is not None, f"{name} itself does not run here")
    findings = [compare_blocks(case, one, case.per_map(lambda l, other=other: dense(
        case.project(l, other[l]), 1e-6, "the steps of its class, rounding")), lambda: case.per_map(lambda l: {}))
        for one, other in zip(some_calls(method, case), expected)]
    # here a variant cannot be told from a mistake
    change = departure(method, twin, case, findings[0].holds)
    only_if(change is None, f"{change}: a variant, or a mistake; verify(…, like={name}(…)) compares the two")
    own = sorted(set(method.settings()) - set(twin.settings()))
    only_if(not (own and findings[0].holds), f"its first call is that of {name}; later ones, with settings of its own, "
            f"{', '.join(own)}, need not be; verify(…, like={name}(…)) compares the two")
    if findings[0].holds:
        which, later = ("third", findings[2]) if findings[1].holds else ("second", findings[1])
        return later.because(
            f"its first call is that of {name}, the {which} is not: what it keeps, draws or lets grow between them")
    return findings[0].because(
        f"each block of a sweep is that of {name}, its first call is not: how often it sweeps, or what comes before")


def some_calls(method, case):
    """Return three lists [None, d_1, …, d_D], from successive calls: a multiplier shows in the third."""
    method = fresh(method)
    calls = [dict(zip(case.net.maps, [np.array(to_numpy(step)) for step in run_method(method, case)]))
             for _ in range(3)]
    return [case.per_map(lambda l, steps=steps: steps[l]) for steps in calls]


def departure(method, twin, case, same):
    """Return how one sweep differs from that of a method's class, or None; `same` says that its first call does not.

    A sweep may differ in the order of its blocks, or in what one of them does to the same variables.
    """
    name = type(twin).__name__
    if isinstance(method, PredictiveCoding):
        energy, start = method.energy(case.net, case.lend(case.X), case.lend(case.y)), beginning(method, case)
        mine, other = (one.relaxed(energy, start) for one in (method, twin))
        near = [np.allclose(to_numpy(getattr(mine, energy.block)[l]), to_numpy(getattr(other, energy.block)[l]),
                            rtol=1e-6, atol=1e-9) for l in energy.lifted]
        return None if all(near) else f"its step of the values is not that of {name}"
    if not isinstance(method, DESCENDING):
        return None if same else f"its first call is not that of {name}"
    mine = visits(method, case)
    if [visit[:2] for visit in mine] != [(block, l) for block, l, _ in twin.schedule(mine[0][2])]:
        return f"its sweep does not visit the blocks in the order of {name}"
    for (block, l, _, before, after), (_, _, update) in zip(mine, twin.schedule(mine[0][2])):
        new = getattr(after, block)
        new, expected = to_numpy(new if block == "multiplier" else new[l]), to_numpy(update(l, before))
        if not np.allclose(new, expected, rtol=1e-6, atol=1e-9):
            return f"its update of {block} is not that of {name}"
    return None


@claim("method", "the gradient of its own energy, in each block, by differences", "∂E/∂θ_l, ∂E/∂z_l, ∂E/∂a_l", "yours")
def own_energy_gradient(claimed, case):
    only_if(isinstance(claimed.method, Lifted), "it is not said to be a method of blocks")
    method, case = fresh(claimed.method), case.guarded
    energy, start = method.energy(case.net, case.lend(case.X), case.lend(case.y)), beginning(method, case)
    only_if(not type(energy).gradient.__module__.startswith("minilift."), "its energy is not its own")

    def finding(block, l):
        def value(x):
            return energy.value(start.replaced(block, l, case.lend(x)))

        old = to_numpy(getattr(start, block)[l])
        return compare(to_numpy(energy.gradient(block, l, start)), gradient(value, old)).retold(
            lambda known: [f"of {block}: {reason}" for reason in known])

    blocks = [(block, l) for block in ("theta", "z", "a") for l in range(1, len(getattr(start, block) or ()))
              if depends_on(energy, start, block, l)]
    only_if(blocks and sum(to_numpy(getattr(start, block)[l]).size for block, l in blocks) < PROBED,
            "its energy is differentiated on small networks alone")
    return worst_of(finding(*each) for each in blocks)


@claim("method", "no block of a sweep but the multiplier raises the energy", "E(…, v⁺, …) ≤ E(…, v, …)", SOURCE)
def blocks_descend(claimed, case):
    method = of_blocks(claimed)
    rises = []
    for block, l, energy, before, after in visits(method, case):
        if block != "multiplier":
            value, given = damped_energy(method, case, block, l, energy, before)
            old, new = (value(**{block: getattr(variables, block)[l]}, **given) for variables in (before, after))
            rise = (new - old) / (abs(old) + 1e-300)
            reason = f"the update of {block} {l} raises it"
            rises.append(Finding(rise, 1e-9, "rounding, relative to the energy", (reason,)))
    only_if(rises, "it visits no block")
    return worst_of(rises)


@claim("method", "its closed blocks are argmins: no probe is lower", "v⁺ = argmin E + α/2 ‖v − v_old‖²", SOURCE)
def blocks_are_argmins(claimed, case):
    method = of_blocks(claimed)
    case = probed_case(case)
    steps = visits(method, case)
    # if a block is visited twice, its last visit is probed; that none raises the energy is claimed of every visit
    last = {(block, l): visit for block, l, *visit in steps if prox_weight(method, block, l, visit[0]) is not None}
    findings = [block_finding(method, case, steps[0][3], *which, *visit) for which, visit in last.items()]
    only_if(findings, "none of its blocks is an argmin")
    return worst_of(findings)


def probed_case(case):
    """Return a case whose blocks are all probed: a small one itself, or for three maps a net with two units a layer.

    In the small ones no block lies between two hidden layers.
    """
    if case.net.depth > 1 and sum(theta.size for theta in case.theta[1:]) <= SMALL:
        return case
    only_if(case.net.depth == 3, "each block is probed on small networks alone, and on narrow ones of three maps")
    first, second = case.net.sigma[1:3]
    net = Network([Linear(2, 2), first, Linear(2, 2), second, Linear(2, 2)], loss=case.net.loss_function)
    rng = np.random.default_rng(int(1e6 * abs(case.X).sum()))  # differs with the seed of the case
    return net_case(net, case.net.backend, rng, f"{case.label}, as 2-2-2-2, N = 3", 3, "random")


@claim("method", "a sweep visits each block on which the energy depends", "θ_l, and all z_l and a_l of E", SOURCE)
def all_blocks_are_visited(claimed, case):
    method = told_as(claimed, DESCENDING, "a method of blocks")
    steps, base = visits(method, case), class_of(method)
    visited, energy, start = Counter((block, l) for block, l, *_ in steps), steps[0][2], steps[0][3]
    missing = [f"{block} {l}" for block in ("theta", "z", "a") for l in range(1, len(getattr(start, block) or ()))
               if (block, l) not in visited and depends_on(energy, start, block, l)]
    if missing:
        return nothing_of([f"{', '.join(missing)}: left out, not updated"], "each is a variable")
    fewer = Counter((block, l) for block, l, _ in base.schedule(method, energy)) - visited
    names = ", ".join(f"{block} {l}" for block, l in fewer)
    return Finding(float(len(fewer)), 0.0, "as often as its class", (
        f"{names}: visited less often than in the sweep of {base.__name__}",
        f"some blocks are visited less often than in the sweep of {base.__name__}: a part of it is left out"))


def depends_on(energy, variables, block, l):
    """Whether an energy depends on one block of its variables."""
    value = getattr(variables, block)[l]
    if value is None:
        return False
    moved = variables.replaced(block, l, value + 0.1 * abs(value) + 0.01)
    return abs(energy.value(moved) - energy.value(variables)) > 1e-9 * abs(energy.value(variables))


@claim("method", "the multiplier takes its dual step", "u⁺ = u + β (z_D − φ_D)", "ADMM u, dlADMM u")
def multiplier_ascends(claimed, case):
    method = told_as(claimed, (ADMM, DLADMM), "a method with a multiplier")
    steps = [visit for visit in visits(method, case) if visit[0] == "multiplier"]
    if not steps:
        return nothing_of(["the multiplier is not updated: the dual step is left out"], "it must move")
    _, l, energy, before, after = steps[-1]
    gap = to_numpy(before.z[l] - energy.net.phi[l].forward(before.theta[l], before.a[l - 1]))
    rate = method.beta if isinstance(method, ADMM) else energy.rho
    step = to_numpy(after.multiplier) - to_numpy(before.multiplier)
    return compare(step, dense(rate * gap)).retold(
        lambda known: [f"the multiplier's dual step: {reason}" for reason in known])


def prox_weight(method, block, l, energy):
    """Return the α of a block that is an argmin, as the papers or a user define it; None if it only descends."""
    if not isinstance(method, DESCENDING):
        return weight_said(method, block, l, energy)
    last = l == energy.net.depth
    if block == "multiplier" or (block == "theta" and isinstance(method, DLADMM)):
        return None
    if isinstance(method, BCD):
        damped = {"theta": True, "a": last, "z": not last}[block]
        return None if block == "theta" and method.bias == "jacobi" else method.alpha if damped else 0.0
    if isinstance(method, ADMM):
        return None if block == "theta" and method.bias == "fixed" else method.anchor if block == "theta" else 0.0
    if isinstance(method, DLADMM):
        return 0.0 if block == "z" else None
    if isinstance(method, MAC):
        return method.alpha if block == "theta" and last else None
    if isinstance(method, FenchelLifted):
        return 2 * one_for_each("anchor", method.anchor, energy.net.depth)[l - 1] if block == "theta" else 0.0
    return 1 / method.tau if block == "theta" else None


def weight_said(method, block, l, energy):
    """Return the α of a user's block that calls the energy's own best_theta, best_z or best_a; None otherwise."""
    *_, update = (update for kind, k, update in method.schedule(energy) if (kind, k) == (block, l))
    given, solved = getattr(update, "keywords", {}), getattr(update, "func", update)
    is_best = getattr(solved, "__name__", "") == f"best_{block}" and set(given) <= {"alpha"}
    return given.get("alpha", 0.0) if is_best else None


def damped_energy(method, case, block, l, energy, before):
    """Return E + α/2 ‖v − v⁰‖² as a function of a block's value v and of v⁰ and α by name, and v⁰ and α themselves."""
    alpha, old = prox_weight(method, block, l, energy) or 0.0, to_numpy(getattr(before, block)[l])
    around = case.theta[l] if block == "theta" and isinstance(method, ANCHORED) else old
    names = "the anchor", "the anchor's weight α"

    def value(**given):
        v = given[block]
        rest = energy.value(before.replaced(block, l, v))
        if not alpha:
            return rest
        anchor, weight = case.lend(to_numpy(given[names[0]])), given[names[1]]
        return rest + weight / 2 * float(((v - anchor) ** 2).sum())

    return value, dict(zip(names, (around, alpha))) if alpha else {}


def block_finding(method, case, start, block, l, energy, before, after):
    """Return the finding of the claim that one block's new value minimises E + α/2 ‖v − v_old‖²."""
    old, new = (to_numpy(getattr(variables, block)[l]) for variables in (before, after))
    value, given = damped_energy(method, case, block, l, energy, before)
    found = minimum_finding(value, block, new, old, case.xp, 3, **given)  # one update has many blocks

    def with_jacobi(known):
        others = damped_energy(method, case, block, l, energy, start)
        if minimum_finding(others[0], block, new, old, case.xp, **others[1]).holds:
            yield "blocks are made of the others' values from before the sweep (Jacobi), not of those just moved"
        yield from (f"the {block} of a map: {reason}" for reason in known)
        yield f"{block} {l} is not the argmin"

    return found.retold(with_jacobi)


# ---- predictive coding


def energetic(claimed, case):
    """Return a copy of a predictive-coding method whose energy may be differentiated."""
    method = fresh(told_as(claimed, PredictiveCoding, "predictive coding"))
    only_if(method.prediction == "free", "with fixed predictions it is no gradient of F")
    only_if(case.has_few_inputs, "its energy is differentiated on small networks alone")
    return method


@claim("method", "its direction is the energy's gradient in θ at the values reached, by differences",
       "d_l = weight · ∂F/∂θ_l", "Predictive coding")
def coding_direction(claimed, case):
    method = energetic(claimed, case)
    steps = dict(zip(case.net.maps, run_method(method, case)))
    weight, energy, reached = case.net.loss_function.weight(len(case.X)), method.last_energy, method.variables

    def reference(l):
        def value(theta):
            return weight * energy.value(reached.replaced("theta", l, case.lend(theta)))
        return gradient(value, case.theta[l], case.tangents[l])

    return compare_blocks(case, case.per_map(lambda l: to_numpy(steps[l])), case.per_map(reference))


@claim("method", "all values take one gradient step at once, by differences", "v_l ← v_l − η ∂F/∂v_l",
       "Predictive coding")
def coding_relaxation(claimed, case):
    method = energetic(claimed, case)
    only_if(case.net.depth > 1, "one map has no lifted value")
    net, block = case.guarded.net, "a" if method.latent == "post" else "z"
    energy, old = method.energy(net, case.lend(case.X), case.lend(case.y)), beginning(method, case)
    new = method.relaxed(energy, old)

    def moved(several):
        values = old
        for k in several:
            values = values.replaced(block, k, getattr(new, block)[k])
        return values

    def slope_from(values, l):
        v = to_numpy(getattr(old, block)[l])
        only_if(v.size <= MANY_VALUES, "its values are too many for slopes by differences")
        return gradient(lambda x: energy.value(values.replaced(block, l, case.lend(x))), v)

    def finding(l):
        v = to_numpy(getattr(old, block)[l])
        slope = slope_from(old, l)
        step = (v - to_numpy(getattr(new, block)[l])) / method.rate
        return compare(step, slope.loosened(1e-6), lambda: {
            f"values move in turn, the {name} first, each with those just moved, not all at once":
                slope_from(moved(before), l).value
            for name, before in (("last", range(l + 1, net.depth)), ("first", range(1, l)))}, case.factors)

    return worst_of(finding(l) for l in energy.lifted)


@claim("method", "with fixed predictions, D − 1 steps of rate 1 give the gradient", "η = 1, T = D − 1: d_l = ∇_θl J",
       "Predictive coding")
def coding_is_backprop(claimed, case):
    method = told_as(claimed, PredictiveCoding, "predictive coding")
    only_if(method.prediction == "fixed", "its predictions are free")
    exact = fresh(method, rate=1.0, steps=case.net.depth - 1)
    return compare_blocks(case, directions_of(exact, case), case.gradients)


# ---- target propagation


@claim("method", "each map takes the gradient of its local loss, with targets from the inverses: dense reference",
       "d_l = weight/β · ∂ ½‖f_l(h_{l−1}) − t_l‖²/∂θ_l", "Target propagation")
def local_losses(claimed, case):
    method = fresh(told_as(claimed, TargetPropagation, "target propagation"))
    method.prepare(case.guarded.net)
    weight = case.net.loss_function.weight(len(case.X))

    def steps(corrected=True):
        targets, h = difference_targets(method, case, corrected)
        return case.per_map(lambda l: case.design[l].T @ (
            (case.slopes[l] if l < case.net.depth else 1.0) * weight / method.beta * (h[l] - targets[l])))

    def mistakes():
        alone = steps(corrected=False)
        TargetPropagation.learn_inverses(method, case.guarded.net, case.forward())
        return case.by_map({"the targets are g(t) alone: h − g(h), the difference, is missing": alone,
                            "the inverses take their step before the targets are made": steps()})

    expected = steps()
    return compare_blocks(case, directions_of(claimed.method, case), case.per_map(lambda l: Reference(
        [case.project(l, expected[l])], 1e-6, "dense algebra, of slopes by differences", 1e-2)), mistakes)


def difference_targets(method, case, corrected=True):
    """Return the difference targets [None, t_1, …, t_D], from the inverse maps as they were drawn, and all h_l."""
    state, D = case.forward(), case.net.depth
    h = [*(to_numpy(x) for x in state.a[:D]), to_numpy(state.z[D])]
    only_if(h[D].size <= MANY_VALUES, "its outputs are too many for slopes by differences")
    slope = gradient(case.value, h[D]).value / case.net.loss_function.weight(len(case.X))
    targets = [None] * D + [h[D] - method.beta * slope]

    def inverse(l, values):
        psi = to_numpy(method.psi[l])
        return case.call(method.inverse_transfer(case.net, l).forward, values @ psi[:-1] + psi[-1])

    for l in range(D, 1, -1):
        if l == D and method.variant == "lee":
            targets[l - 1] = h[l - 1] - method.beta * slope @ case.theta[l][:-1].T
        else:
            targets[l - 1] = inverse(l, targets[l]) + corrected * (h[l - 1] - inverse(l, h[l]))
    return targets, h
