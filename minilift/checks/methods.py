r"""Claims about methods: those that hold for any, of a local objective, and of each paper's method.

The references are dense: the gradients come from differences, the Gram matrices from probing each map, and
every local problem is written out once more as its paper prints it.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

import numpy as np

from minilift.checks.derivations import Derivation, derivation_cases
from minilift.checks.layers import damping_mistakes, to_host
from minilift.checks.networks import (
    NetCase,
    compare_blocks,
    directions_of,
    gradient_arrays,
    guarded,
    no_mistakes,
    propagated_tolerance,
    worst_block,
)
from minilift.checks.numeric import Reference, compare, dense, gradient
from minilift.checks.report import CLAIMS, Finding, NotClaimed, claim, measured
from minilift.layers.activations import Identity
from minilift.layers.normalization import Dropout
from minilift.methods import BackProp, LocoProp, ProxProp, SemiImplicit
from minilift.methods.backward.locoprop import decay_scales
from minilift.support.backend import to_numpy


@dataclass(frozen=True)
class Claimed:
    """A method together with what its user says of it.

    Attributes
    ----------
    method : Method
    like : Method or None
        The method of the package that it should equal; its own class counts where it has one.
    objective : callable or None
        From (block, theta) to a number: the local objective that its new parameters should minimise.
    """

    method: object
    like: object = None
    objective: object = None

    @property
    def told(self):
        """The method whose equations apply."""
        return self.method if self.like is None else self.like


def scaled(case, l, value):
    """Return the reference of an array of θ_l's shape, as accurate as the gradients are."""
    tolerance, why = propagated_tolerance(case)
    return Reference([case.project(l, value)], tolerance, why, 1e-4)


def scaled_blocks(case, values):
    """Return references for all maps."""
    return [None] + [scaled(case, l, values[l]) for l in range(1, case.net.depth + 1)]


# ---- any method


@claim("method", "the loss that comes with the direction is J", "direction(net, X, y)[0] = J(θ)",
       "definition")
def returns_the_loss(claimed, case):
    method = copy.deepcopy(claimed.method)
    method.reset()
    if any(isinstance(layer, Dropout) for layer in case.net.layers):
        raise NotClaimed("direction() draws no random numbers, which dropout needs")
    loss, steps = method.direction(guarded(case), case.X, case.y)
    if len(steps) != len(case.net.parameters):
        return Finding(
            abs(len(steps) - len(case.net.parameters)),
            0,
            "one direction for each of net.parameters",
            ("directions are not aligned with net.parameters",),
        )
    factors = {"N, the batch size": len(case.X)} if len(case.X) > 1 else {}
    return compare(np.asarray([float(loss)]), dense(np.asarray([case.loss(case.theta)])), factors=factors)


@claim("method", "it is a descent direction", "⟨∇J, d⟩ > 0, d to be subtracted", "ProxProp Prop. 4, 5")
def descends(claimed, case):
    slopes = gradient_arrays(case)
    _, d = directions_of(claimed.method, case)
    cosine, norm = 0.0, 0.0
    for l in range(1, case.net.depth + 1):
        cosine += float(np.vdot(slopes[l], d[l]))
        norm += float(np.vdot(slopes[l], slopes[l]))
    length = np.sqrt(sum(float(np.vdot(x, x)) for x in d[1:]))
    if norm < 1e-20:
        raise NotClaimed("the gradient vanishes here")
    cosine = cosine / (np.sqrt(norm) * length) if length > 0 else 0.0
    if cosine > 0:
        return Finding(-cosine, 0.0, "any positive cosine with ∇J will do")
    reasons = compare_blocks(case, d, scaled_blocks(case, slopes)).reasons
    reasons = tuple(reason for reason in reasons if "sign" in reason or "zero" in reason)
    if cosine < -1e-6:
        reasons = (*reasons, "the sign is wrong: it leads up")
    return Finding(-cosine if cosine else 1.0, 0.0, "any positive cosine with ∇J will do", reasons)


@claim("method", "stationary points of J are its fixed points", "∇J = 0 ⇒ d = 0",
       "ProxProp Prop. 3; SIBP Theorem")
def fixed_points(claimed, case):
    stationary = case.stationary
    _, d = directions_of(claimed.method, stationary)
    _, away = directions_of(claimed.method, NetCase("", case.xp, stationary.net, case_of_noise(stationary).X,
                                                    stationary.y))
    size = max(np.max(abs(x)) for x in away[1:]) + 1e-3
    number = float(max(np.max(abs(x)) for x in d[1:]) / size)
    reason = (
        "it moves at a stationary point of J whose signals g are not zero: the step is no function of ãᵀg"
    )
    return Finding(
        number,
        1e-7,
        "relative to the step on other data; the stationary point is exact to rounding",
        () if number <= 1e-7 else (reason,),
    )


def case_of_noise(case):
    """Return the case with other inputs."""
    return NetCase(case.label, case.xp, case.net,
                   case.X + 0.5 * np.random.default_rng(6).standard_normal(case.X.shape), case.y)


@claim("method", "the order of the samples does not matter", "d(PX, Py) = d(X, y)", "convention")
def batch_order(claimed, case):
    if len(case.X) == 1:
        raise NotClaimed("a batch of one")
    order = np.random.default_rng(2).permutation(np.arange(len(case.X)))
    order = order if np.any(order != np.arange(len(order))) else order[::-1]
    _, d = directions_of(claimed.method, case)
    _, permuted = directions_of(claimed.method, NetCase("", case.xp, case.net, case.X[order], case.y[order]))
    references = [None] + [dense(case.project(l, x), 1e-5, "iterations amplify rounding") for l, x in enumerate(d) if l]
    return compare_blocks(case, permuted, references, mistakes=no_mistakes(case))


@claim("method", "two runs from the same state agree, and θ is left alone", "d, d; θ_l unchanged",
       "convention")
def repeatable(claimed, case):
    before = [theta.copy() for theta in case.theta[1:]]
    _, first = directions_of(claimed.method, case)
    _, second = directions_of(claimed.method, case)
    number = max(float(np.max(abs(x - y))) for x, y in zip(first[1:], second[1:]))
    moved = max(float(np.max(abs(x - to_numpy(y)))) for x, y in zip(before, case.net.theta[1:]))
    reasons = (
        ("it changes the parameters of the network",)
        if moved
        else ("it keeps a state that reset() does not clear",)
    )
    return Finding(max(number, moved), 0.0, "bit for bit", () if max(number, moved) == 0 else reasons)


# ---- a local objective given by the user


@claim("method", "its new parameters minimise the objective given for it",
       "θ_l − d_l = argmin objective(block, θ)", "yours")
def minimises_objective(claimed, case):
    if claimed.objective is None:
        raise NotClaimed("no objective is given: objective=function(block, theta)")
    return worst_block([(block.l, minimum_finding(case, block, claimed.objective, block_theta(block) - step))
                        for block, step in recorded_blocks(claimed.method, case)])


def recorded_blocks(method, case):
    """Return the (block, step) pairs that a method saw and proposed."""
    method, pairs = copy.deepcopy(method), []
    method.reset()
    propose = method.propose

    def record(block):
        step = propose(block)
        pairs.append((block, to_host(step)))
        return step

    method.propose = record
    method.directions(case.net, case.forward(), case.lend(case.y))
    return pairs


def block_theta(block):
    """Return a block's θ on the host."""
    return to_numpy(block.theta)


def minimum_finding(case, block, objective, claimed_theta):
    """Return the worst finding of the claims about a claimed argmin, for one block's local objective."""
    derived = Derivation(lambda theta: objective(block, theta), argmin=claimed_theta,
                         theta0=block_theta(block))
    point = derivation_cases(derived, 0, case.net.backend)[1][0]
    return worst_finding(derived, point, ("argmin_is_stationary", "argmin_is_minimum"))


def worst_finding(derived, point, names):
    """Return the first failing finding of some claims about derivations, or the last."""
    findings = [measured(c, derived, point) for c in CLAIMS if c.measure.__name__ in names]
    return next((finding for finding in findings if not finding.holds), findings[0])


# ---- BackProp


def told_as(claimed, kind):
    """Return the method whose equations apply, if it is of one class."""
    if not isinstance(claimed.told, kind):
        raise NotClaimed(f"it is not said to be {kind.__name__} (like={kind.__name__}(…))")
    return claimed.told


@claim("method", "BackProp is the gradient, by differences", "d_l = ∇_θl J = ãᵀ g_l", "BackProp")
def backprop_is_gradient(claimed, case):
    told_as(claimed, BackProp)
    _, d = directions_of(claimed.method, case)
    return compare_blocks(case, d, case.gradients)


# ---- ProxProp


def implicit_maps(told, depth):
    """Return the maps on which ProxProp takes its implicit step."""
    return range(1, depth + 1 if told.last == "implicit" else depth)


def tau_thetas(told, depth):
    """Return [None, τ_θ1, …]."""
    values = told.tau_theta if hasattr(told.tau_theta, "__len__") else [told.tau_theta] * depth
    return [None, *map(float, values)]


def normal_equations(case):
    """Return [None, ÃᵀÃ, …] of each map, from its design matrix."""
    return [None] + [A.T @ A for A in case.design[1:]]


@claim("method", "ProxProp solves its normal equations: dense reference", "(I/τ_θ + ãᵀã) d_l = ∇_θl J",
       "ProxProp (13), Prop. 2")
def proxprop_exact(claimed, case):
    told = told_as(claimed, ProxProp)
    if told.solver != "exact":
        raise NotClaimed("its solver takes finitely many steps")
    slopes, C, D = gradient_arrays(case), normal_equations(case), case.net.depth
    taus, implicit = tau_thetas(told, D), implicit_maps(told, D)
    expected = list(slopes)
    for l in implicit:
        expected[l] = np.linalg.solve(C[l] + np.eye(len(C[l])) / taus[l], slopes[l])
    _, d = directions_of(claimed.method, case)
    return compare_blocks(case, d, scaled_blocks(case, expected),
                          lambda: prox_mistakes(case, slopes, C, taus, implicit), prox_factors(case, taus))


def prox_factors(case, taus):
    """Return the sizes by which a proximal step may be off."""
    return {**case.factors, **{f"tau_theta = {tau:g}": tau for tau in set(taus[1:]) if tau != 1}}


def prox_mistakes(case, slopes, C, taus, implicit):
    """Return by map what usual mistakes in the proximal step give."""
    mistakes = [None]
    for l in range(1, case.net.depth + 1):
        matrix = C[l] + np.eye(len(C[l])) / taus[l]
        if l in implicit:
            made = damping_mistakes(C[l], slopes[l], 1 / taus[l], len(case.X))
            made |= {name: np.linalg.solve(matrix, value) for name, value in case.mistakes[l].items()}
        else:
            solved = np.linalg.solve(matrix, slopes[l])
            made = {**case.mistakes[l], "the last map takes the implicit step, it should be explicit": solved}
        mistakes.append(made)
    return mistakes


@claim("method", "ProxProp's new parameters minimise the printed objective",
       "θ − τ d = argmin ½‖ãθ − z^½‖² + ‖θ − θ_k‖²/2τ_θ", "ProxProp (11)")
def proxprop_objective(claimed, case):
    told = told_as(claimed, ProxProp)
    if told.solver != "exact" or not list(implicit_maps(told, case.net.depth)):
        raise NotClaimed("it takes no exact implicit step here")
    taus, tau = tau_thetas(told, case.net.depth), 0.8
    state, slopes = case.forward(), signals(case)
    findings = []
    _, d = directions_of(claimed.method, case)
    for l in implicit_maps(told, case.net.depth):
        A, old = case.design[l], case.theta[l]
        z_half = rows_of(to_numpy(state.z[l]), old) - tau * slopes[l]

        def objective(theta, A=A, old=old, z_half=z_half, l=l):
            return ((A @ theta - z_half) ** 2).sum() / 2 + ((theta - old) ** 2).sum() / (2 * taus[l])

        derived = Derivation(objective, argmin=old - tau * d[l], theta0=old)
        findings.append((l, worst_finding(derived, derivation_cases(derived, 0, "numpy")[1][0],
                                          ("argmin_is_stationary", "argmin_is_minimum"))))
    return worst_block(findings)


def rows_of(z, theta):
    """Return z as rows, one column an output unit."""
    return z.reshape(-1, theta.shape[1])


def signals(case):
    """Return [None, g_1, …] as rows, ∂J/∂z_l by differences in z_l."""
    net, state = case.net, case.forward()
    g = [None]
    for l in range(1, net.depth + 1):
        z = to_numpy(state.z[l])
        if z.size > 400:
            raise NotClaimed("the network is too large for signals by differences")
        g.append(rows_of(gradient(lambda x, l=l: loss_from(case, l, x), z).value, case.theta[l]))
    return g


def loss_from(case, l, z):
    """Return the loss of a forward pass that continues from a given z_l."""
    net, rng = case.net, np.random.default_rng(0)
    z = case.lend(z)
    for k in range(l, net.depth):
        z = net.phi[k + 1].forward(case.lend(case.theta[k + 1]),
                                   net.sigma[k].apply(z, training=True, rng=rng)[0])
    return case.value(to_numpy(z))


@claim("method", "the angle to the gradient is bounded by the condition number",
       "cos ∠(∇J, M⁻¹∇J) ≥ 2√κ/(1 + κ)", "ProxProp Prop. 4")
def proxprop_angle(claimed, case):
    told = told_as(claimed, ProxProp)
    slopes, C, taus = gradient_arrays(case), normal_equations(case), tau_thetas(told, case.net.depth)
    _, d = directions_of(claimed.method, case)
    short = -1.0
    for l in implicit_maps(told, case.net.depth):
        s = np.linalg.eigvalsh(C[l])
        kappa = (s[-1] + 1 / taus[l]) / (max(s[0], 0.0) + 1 / taus[l])
        norms = np.linalg.norm(slopes[l]) * np.linalg.norm(d[l])
        if norms > 1e-12 and told.solver == "exact":
            short = max(short, 2 * np.sqrt(kappa) / (1 + kappa) - float(np.vdot(slopes[l], d[l])) / norms)
        elif norms > 1e-12:
            short = max(short, -float(np.vdot(slopes[l], d[l])) / norms)
    if short == -1.0:
        raise NotClaimed("no implicit map has a gradient here")
    return Finding(
        short,
        1e-6,
        "differences leave 1e-6 of the cosine",
        () if short <= 1e-6 else ("the step is turned from the gradient further than M⁻¹ can turn it",),
    )


@claim("method", "as τ_θ → 0 the direction becomes the gradient", "d_l/τ_θ → ∇_θl J", "ProxProp Prop. 2")
def proxprop_limit(claimed, case):
    told_as(claimed, ProxProp)
    if not hasattr(claimed.method, "tau_theta"):
        raise NotClaimed("it has no attribute tau_theta to be changed")
    small, slopes = copy.deepcopy(claimed.method), gradient_arrays(case)
    small.tau_theta = 1e-9
    _, d = directions_of(small, case)
    implicit = implicit_maps(claimed.told, case.net.depth)
    d = [None] + [d[l] / 1e-9 if l in implicit else d[l] for l in range(1, case.net.depth + 1)]
    references = [reference and reference._replace(tolerance=1e-5)
                  for reference in scaled_blocks(case, slopes)]
    return compare_blocks(case, d, references)


@claim("method", "K steps of CG minimise over the Krylov space of dimension K",
       "d ∈ span{b, Mb, …, M^{K−1}b}", "ProxProp (14)")
def proxprop_krylov(claimed, case):
    told = told_as(claimed, ProxProp)
    match = re.fullmatch(r"cg(\d+)", told.solver)
    if match is None:
        raise NotClaimed("its solver is exact")
    slopes, C, taus = gradient_arrays(case), normal_equations(case), tau_thetas(told, case.net.depth)
    expected, implicit = list(slopes), implicit_maps(told, case.net.depth)
    for l in implicit:
        M = C[l] + np.eye(len(C[l])) / taus[l]
        expected[l] = krylov_step(M, slopes[l], int(match[1]), told.joint)
    _, d = directions_of(claimed.method, case)
    references = [r and r._replace(tolerance=max(r.tolerance, 1e-6), floor=1e-3)
                  for r in scaled_blocks(case, expected)]
    return compare_blocks(case, d, references, lambda: krylov_mistakes(case, told, slopes, C, taus,
                                                                       int(match[1])),
                          prox_factors(case, taus))


def krylov_mistakes(case, told, slopes, C, taus, steps):
    """Return by map what usual mistakes in K steps of conjugate gradients give."""
    implicit = implicit_maps(told, case.net.depth)
    mistakes = prox_mistakes(case, slopes, C, taus, implicit)
    for l in implicit:
        M = C[l] + np.eye(len(C[l])) / taus[l]
        for k in (steps - 1, steps + 1):
            mistakes[l][f"it takes {abs(k - steps)} step of CG too {'few' if k < steps else 'many'}"] = (
                krylov_step(M, slopes[l], k, told.joint)
            )
        mistakes[l]["it is the exact solution"] = np.linalg.solve(M, slopes[l])
        mistakes[l]["all output units share one step length, or should"] = krylov_step(
            M, slopes[l], steps, not told.joint
        )
    return mistakes


def krylov_step(M, b, steps, joint):
    """Return the minimiser of ½⟨d, Md⟩ − ⟨b, d⟩ over a Krylov space, by column or of the stacked whole."""
    if joint:
        M, shape = np.kron(M, np.eye(b.shape[1])), b.shape
        return krylov_step(M, b.reshape(-1, 1), steps, False).reshape(shape)
    d = np.zeros_like(b)
    for j in range(b.shape[1]):
        basis = krylov_basis(M, b[:, j], steps)
        if basis.size:
            d[:, j] = basis @ np.linalg.solve(basis.T @ M @ basis, basis.T @ b[:, j])
    return d


def krylov_basis(M, b, steps):
    """Return an orthonormal basis of span{b, Mb, …}, by Arnoldi with two orthogonalisations."""
    basis = np.zeros((len(b), 0))
    v = b
    for _ in range(steps):
        size = np.linalg.norm(v)
        for _ in range(2):
            v = v - basis @ (basis.T @ v)
        if np.linalg.norm(v) <= 1e-10 * max(size, 1e-300) or size < 1e-14:
            break
        basis = np.column_stack([basis, v / np.linalg.norm(v)])
        v = M @ basis[:, -1]
    return basis


# ---- LocoProp


def loco_target(told, case):
    """Return per map (f, z, signal γ g) as rows, with f the identity in variant S."""
    state, g = case.forward(), signals(case)
    parts = [None]
    for l in range(1, case.net.depth + 1):
        f = case.net.f[l] if told.variant == "M" else Identity()
        parts.append((f, rows_of(to_numpy(state.z[l]), case.theta[l]), told.gamma * g[l]))
    return parts


def loco_reference(told, case, rates):
    """Return θ − θ_new after plain local steps, written out as the paper has them."""
    damping = 0.0 if told.eta is None else 1 / told.eta
    result = [None]
    for l, (f, z, signal) in list(enumerate(loco_target(told, case)[1:], start=1)):
        A, theta = case.design[l], case.theta[l].copy()
        y = case.call(f.forward, z) - signal
        for rate in rates:
            residual = case.call(f.forward, A @ theta) - y
            theta = theta - rate * (A.T @ residual + damping * (theta - case.theta[l]))
        result.append(case.theta[l] - theta)
    return result


def plain_rates(told):
    """Return the rates of plain local steps in epoch 0."""
    rate = told.local_lr(0) if callable(told.local_lr) else told.local_lr
    return [rate * s for s in decay_scales(told.steps, told.decay)]


@claim("method", "T plain local steps, written out densely", "θ ← θ − α_t (ãᵀ(f(ãθ) − y) + (θ − θ_k)/η)",
       "LocoProp-S, LocoProp-M")
def locoprop_steps(claimed, case):
    told = told_as(claimed, LocoProp)
    if told.steps == "exact" or told.local_optimizer != "sgd":
        raise NotClaimed("its local steps are not plain ones")
    expected = loco_reference(told, case, plain_rates(told))
    _, d = directions_of(claimed.method, case)
    return compare_blocks(case, d, scaled_blocks(case, expected), lambda: loco_mistakes(told, case),
                          {**case.factors, "gamma": told.gamma})


def loco_mistakes(told, case):
    """Return by map what usual mistakes in T local steps give."""
    rates, other = plain_rates(told), copy.copy(told)
    other.variant = "S" if told.variant == "M" else "M"
    other_name = f"it is LocoProp-{other.variant}, not LocoProp-{told.variant}"
    made = {"it takes one local step too few": loco_reference(told, case, rates[:-1]),
            "it takes one local step": loco_reference(told, case, rates[:1]),
            other_name: loco_reference(other, case, rates)}
    if told.decay:
        made["the local rate does not decay"] = loco_reference(told, case, [rates[0]] * told.steps)
    if told.eta is not None:
        unregularised = copy.copy(told)
        unregularised.eta = None
        made["the regulariser is missing"] = loco_reference(unregularised, case, rates)
    return [None] + [{name: steps[l] for name, steps in made.items()} for l in range(1, case.net.depth + 1)]


@claim("method", "the first local step is a BackProp step", "T = 1: θ − θ_new = local_lr γ ∇J",
       "LocoProp-S, LocoProp-M")
def locoprop_first_step(claimed, case):
    told = told_as(claimed, LocoProp)
    if told.local_optimizer != "sgd" or not hasattr(claimed.method, "local_lr"):
        raise NotClaimed("its local steps are rescaled by an optimizer, or exact")
    one = copy.deepcopy(claimed.method)
    one.steps, one.decay = 1, False
    rate = (told.local_lr(0) if callable(told.local_lr) else told.local_lr) * told.gamma
    _, d = directions_of(one, case)
    d = [None] + [x / rate for x in d[1:]]
    return compare_blocks(case, d, scaled_blocks(case, gradient_arrays(case)),
                          factors={**case.factors, "gamma": told.gamma})


@claim("method", "LocoProp-S, exact: the dense closed form, on every map", "θ − θ_new = γ (ãᵀã + I/η)⁻¹ ∇J",
       "LocoProp-S = ProxProp (13)")
def locoprop_exact_s(claimed, case):
    told = told_as(claimed, LocoProp)
    if told.steps != "exact" or told.variant != "S":
        raise NotClaimed("not the exact S")
    slopes, C, D = gradient_arrays(case), normal_equations(case), case.net.depth
    etas, every = [None] + [told.eta] * D, range(1, D + 1)
    expected = [None] + [told.gamma * np.linalg.solve(C[l] + np.eye(len(C[l])) / told.eta, slopes[l])
                         for l in every]
    _, d = directions_of(claimed.method, case)
    signal = [None] + [told.gamma * s for s in slopes[1:]]
    return compare_blocks(case, d, scaled_blocks(case, expected),
                          lambda: prox_mistakes(case, signal, C, etas, every),
                          {**case.factors, "gamma": told.gamma})


@claim("method", "LocoProp-M, exact: stationary for the matching loss", "ãᵀ(f(ãθ) − y) + (θ − θ_k)/η = 0",
       "LocoProp-M")
def locoprop_exact_m(claimed, case):
    told = told_as(claimed, LocoProp)
    if told.steps != "exact" or told.variant != "M" or told.eta is None:
        raise NotClaimed("not the exact, regularised M")
    _, d = directions_of(claimed.method, case)
    findings = []
    for l, (f, z, signal) in enumerate(loco_target(told, case)[1:], start=1):
        A, theta, y = case.design[l], case.theta[l] - d[l], case.call(f.forward, z) - signal
        data = A.T @ (case.call(f.forward, A @ theta) - y)
        start = np.max(abs(A.T @ signal), initial=0.0) + 1e-6
        tolerance, why = propagated_tolerance(case)
        # at the minimiser the regulariser's term is minus the data term, so that it says what is wrong
        reference = Reference([case.project(l, -told.eta * data)], 10 * tolerance, why, told.eta * start)
        eta = {"eta": told.eta} if told.eta != 1 else {}
        findings.append((l, compare(case.project(l, -d[l]), reference, factors={**case.factors, **eta})))
    return worst_block(findings)


# ---- Semi-Implicit BP


@claim("method", "for large λ it is a gradient step on the summed loss", "λ → ∞: (θ − θ_new) λ/η → ∇ Σ_i ℓ_i",
       "SIBP W, SIBP b")
def sibp_limit(claimed, case):
    told_as(claimed, SemiImplicit)
    if not hasattr(claimed.method, "lam"):
        raise NotClaimed("it has no attribute lam to be changed")
    steps = [stiff_step(claimed.method, case, lam) for lam in (3e4, 6e4)]
    d = [None] + [2 * fine - coarse for coarse, fine in zip(*steps)]  # the error falls as 1/λ, this takes it away
    references = [r and r._replace(tolerance=1e-4) for r in scaled_blocks(case, gradient_arrays(case))]
    return compare_blocks(case, d, references, factors={**case.factors, "eta": claimed.method.eta})


def stiff_step(method, case, lam):
    """Return [d_1, …, d_D] of SIBP at a large λ, scaled to tend to the gradient of J."""
    stiff = copy.deepcopy(method)
    stiff.lam = lam
    scale = lam / stiff.eta * case.net.loss_function.weight(len(case.X))
    return [scale * step for step in directions_of(stiff, case)[1][1:]]


@claim("method",
       "with many steps each block is stationary: W, then b with the new W, signals through new weights",
       "∂/∂W, ∂/∂b of ‖f(aW + 1bᵀ) − (a_l − ηδ)‖² + λ‖· − ·_k‖² = 0", "SIBP W, SIBP b")
def sibp_stationary(claimed, case):
    told = told_as(claimed, SemiImplicit)
    if not case.plain or "relu" in case.label or getattr(claimed.method, "joint", False):
        raise NotClaimed("needs smooth elementwise activations and separate blocks")
    if not hasattr(claimed.method, "steps"):
        raise NotClaimed("it has no attribute steps to be changed")
    patient = copy.deepcopy(claimed.method)
    patient.steps, patient.lam = 120, max(told.lam, 0.5)
    _, d = directions_of(patient, case)
    return worst_block([(l, compare(got, Reference([want], 1e-5, "Fletcher–Reeves has stopped near 1e-7",
                                                   1e-2), variants)) for l, got, want,
                        variants in sibp_residuals(patient, case, d)])


def sibp_residuals(method, case, d):
    """Yield (l, step, what its optimality condition makes of it, the same under usual mistakes)."""
    state, net, theta = case.forward(), case.net, case.theta
    z, a = [None] + [to_numpy(x) for x in state.z[1:]], [to_numpy(x) for x in state.a]
    delta = gradient(case.value, z[net.depth]).value / net.loss_function.weight(len(case.X))
    delta_old = delta
    for l in range(net.depth, 0, -1):
        f = Identity() if l == net.depth else net.sigma[l]
        f_z = case.call(f.forward, z[l])
        new = theta[l] - d[l]
        conditions = {}
        for name, signal in (
            ("", delta),
            ("the signal passes through the old weights, SIBP's are new", delta_old),
            ("η is scaled by the batch size: it refers to the summed loss", delta / len(case.X)),
        ):
            conditions[name] = (sibp_condition(case, f, a[l - 1], f_z - method.eta * signal, theta[l],
                                               new) / method.lam)
        conditions["λ is doubled: the objective has no factor ½"] = conditions[""] / 2
        conditions["λ is halved: the objective has no factor ½"] = conditions[""] * 2
        conditions["b is fitted with the old W, it should be the new"] = (
            sibp_condition(case, f, a[l - 1], f_z - method.eta * delta, theta[l], new, old_weights=True)
            / method.lam
        )
        yield l, d[l], conditions.pop(""), conditions
        if l > 1:
            slope = 1.0 if l == net.depth else case.slopes[l]
            delta, delta_old = ((x * slope) @ w[:-1].T for x, w in ((delta, new), (delta_old, theta[l])))


def sibp_condition(case, f, a, target, old, new, old_weights=False):
    """Return half the data terms' gradients at the new W and b, which λ times the step must equal."""

    def data(w, b):
        z = a @ w + b
        slope = case.call(f.derivative, z)
        return slope * (case.call(f.forward, z) - target)

    weights = a.T @ data(new[:-1], old[-1])
    bias = data((old if old_weights else new)[:-1], new[-1]).sum(axis=0)
    return np.vstack([weights, bias])


@claim("method", "the last map's exact step solves its two linear problems",
       "W = argmin ‖aW + 1bᵀ − z^½‖² + λ‖W − W_k‖²", "SIBP W, SIBP b")
def sibp_last_exact(claimed, case):
    told = told_as(claimed, SemiImplicit)
    if told.solver != "exact" or told.joint:
        raise NotClaimed("its last map is solved by Fletcher–Reeves steps")
    D, g = case.net.depth, signals(case)
    A = case.design[D][:, :-1]
    signal = told.eta / case.net.loss_function.weight(len(case.X)) * g[D]
    weights = np.linalg.solve(A.T @ A + told.lam * np.eye(A.shape[1]), A.T @ signal)
    bias = (signal - A @ weights).sum(axis=0) / (len(A) + told.lam)
    _, d = directions_of(claimed.method, case)
    return compare(case.project(D, d[D]), scaled(case, D, np.vstack([weights, bias])), factors=case.factors)
