r"""Claims about the methods of the papers: BackProp, ProxProp, LocoProp, Semi-Implicit BP, FOOF, K-FAC, Gauss–Newton.

The references are dense: the gradients come from differences, the Gram matrices from probing each map, and every local
problem is written out again in the form that its paper prints.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minilift.checks.maps import damping_mistakes
from minilift.checks.methods import equation, scaled, scaled_blocks, summed_weight, told_as, unsolved
from minilift.checks.networks import NetCase, compare_blocks, directions_of, fresh, run_method, worst_block
from minilift.checks.numeric import Reference, compare, directional, gradient, tried
from minilift.checks.report import claim, only_if
from minilift.layers.activations import Identity
from minilift.methods import FOOF, KFAC, BackProp, GaussNewton, LocoProp, ProxProp, SemiImplicit
from minilift.methods.backward.locoprop import decay_scales
from minilift.optim import SGD
from minilift.support.backend import to_numpy

# ---- BackProp


@equation("BackProp is the gradient, by differences", "d_l = ∇_θl J = ãᵀ g_l", "BackProp")
def backprop_is_gradient(claimed, case):
    told_as(claimed, BackProp)
    return compare_blocks(case, directions_of(claimed.method, case), case.gradients)


# ---- ProxProp


@dataclass(frozen=True)
class Proximal:
    """The proximal steps of one case: τ_θ by map, the maps that step implicitly, and a factor γ on the gradients."""

    case: NetCase
    taus: dict
    implicit: list
    gamma: float = 1.0

    @cached_property
    def slopes(self):
        """Return [None, γ ∇_θ1 J, …]."""
        slopes = self.case.dense_gradients
        return self.case.per_map(lambda l: self.gamma * slopes[l])

    def matrix(self, l):
        """Return M_l = ÃᵀÃ + I/τ_θ."""
        C = self.case.gram[l]
        return C + np.eye(len(C)) / self.taus[l]

    def steps(self, solve=np.linalg.solve):
        """Return [None, d_1, …]: solve(M_l, γ ∇_θl J), or γ ∇_θl J on a map with an explicit step."""
        return self.case.per_map(lambda l: solve(self.matrix(l), self.slopes[l]) if l in self.implicit
                                 else self.slopes[l])

    def finding(self, claimed, factors, mistakes=None, expected=None):
        """Return the finding on a method's steps, which should be these, or `expected`."""
        d = directions_of(claimed.method, self.case)
        expected = scaled_blocks(self.case, self.steps()) if expected is None else expected
        return compare_blocks(self.case, d, expected, lambda: (mistakes or self.mistakes)(d), factors)

    def mistakes(self, d):
        """Return, by map, what common mistakes in the proximal step would give, for steps d."""
        return self.case.per_map(lambda l: self.mistakes_in(l, d[l]))

    def mistakes_in(self, l, d):
        """Return what common mistakes in one map's step would give."""
        M, slope, of_gradient = self.matrix(l), self.slopes[l], self.case.mistakes[l]
        if l not in self.implicit:
            return of_gradient | {
                "the last map takes the implicit step, it should be explicit": np.linalg.solve(M, slope)}
        C = self.case.gram[l]
        made = {f"τ_θ of another map, {tau:g}, is taken": np.linalg.solve(C + np.eye(len(C)) / tau, slope)
                for tau in sorted(set(self.taus.values()) - {self.taus[l]})}
        made |= damping_mistakes(C, slope, 1 / self.taus[l], len(self.case.X), d)
        A, signals = self.case.design[l], tried(lambda: self.case.signals)  # None if they are too many
        if signals is not None:
            made["the Gram matrix of samples is taken without the ones of the bias"] = (
                self.gamma * A.T @ np.linalg.solve(A[:, :-1] @ A[:, :-1].T + np.eye(len(A)) / self.taus[l], signals[l]))
        made["the bias takes the gradient, and has no part in the Gram matrix"] = np.vstack(
            [np.linalg.solve(M[:-1, :-1], slope[:-1]), slope[-1:]])
        return made | {name: np.linalg.solve(M, value) for name, value in of_gradient.items()}

    @property
    def factors(self):
        """Return the sizes that a proximal step may be off by as factors."""
        return {**self.case.factors, **{f"tau_theta = {tau:g}": tau for tau in set(self.taus.values())}}


def proximal(told, case):
    """Return the proximal steps of a ProxProp."""
    D, maps = case.net.depth, case.net.maps
    taus = told.tau_theta if hasattr(told.tau_theta, "__len__") else [told.tau_theta] * len(maps)
    return Proximal(case, dict(zip(maps, map(float, taus))), [l for l in maps if l < D or told.last == "implicit"])


@equation("ProxProp solves its normal equations: dense reference", "(I/τ_θ + ãᵀã) d_l = ∇_θl J",
          "ProxProp (13), Prop. 2")
def proxprop_exact(claimed, case):
    told = told_as(claimed, ProxProp)
    only_if(told.solver == "exact", "its solver takes finitely many steps")
    prox = proximal(told, case)
    return prox.finding(claimed, prox.factors)


def outputs(case):
    """Return [None, z_1, …] as rows, one column for each output unit; stacked for maps that share θ."""
    state = case.forward()
    return case.per_map(lambda l: np.vstack([to_numpy(state.z[u]).reshape(-1, case.theta[l].shape[1])
                                             for u in case.uses(l)]))


@equation("K steps of CG minimise over the Krylov space of dimension K",
          "d ∈ span{b, Mb, …, M^{K−1}b}", "ProxProp (14)")
def proxprop_krylov(claimed, case):
    told = told_as(claimed, ProxProp)
    match = re.fullmatch(r"cg(\d+)", told.solver)
    only_if(match is not None, "its solver is exact")
    prox, steps = proximal(told, case), int(match[1])
    steps_K = prox.steps(lambda M, b: krylov_step(M, b, steps, told.joint))
    expected = scaled_blocks(case, steps_K, least=1e-6, floor=1e-3)
    return prox.finding(claimed, prox.factors, lambda d: krylov_mistakes(prox, steps, told.joint, d), expected)


def krylov_mistakes(prox, steps, joint, d):
    """Return, by map, what common mistakes in K steps of conjugate gradients would give."""
    mistakes = prox.mistakes(d)
    for l in prox.implicit:
        M, b = prox.matrix(l), prox.slopes[l]
        mistakes[l] |= {
            "it takes 1 step of CG too few": krylov_step(M, b, steps - 1, joint),
            "its products are with ãᵀã, without the damping": krylov_step(prox.case.gram[l], b, steps, joint),
            "it is steepest descent: its directions are not conjugate": cg_steps(M, b, steps, lambda new, old: 0 * new),
            "β is inverted: old/new": cg_steps(M, b, steps, lambda new, old: old / np.maximum(new, 1e-300)),
            "all output units share one step length, or should": krylov_step(M, b, steps, not joint)}
    return mistakes


def cg_steps(M, b, steps, beta):
    """Return d after steps of conjugate gradients on M d = b by column, with β a function of the new and old ‖r‖²."""
    d, r, p, square = np.zeros_like(b), b, b, (b * b).sum(axis=0)
    for _ in range(steps):
        d = d + p * (square / np.maximum((p * (M @ p)).sum(axis=0), 1e-300))
        r, old = b - M @ d, square
        square = (r * r).sum(axis=0)
        p = r + beta(square, old) * p
    return d


def krylov_step(M, b, steps, joint):
    """Return the minimiser of ½⟨d, Md⟩ − ⟨b, d⟩ over a Krylov space, column by column or with all columns stacked."""
    if joint:
        M, shape = np.kron(M, np.eye(b.shape[1])), b.shape
        return krylov_step(M, b.reshape(-1, 1), steps, False).reshape(shape)
    bases = [krylov_basis(M, column, steps) for column in b.T]
    return np.stack([V @ np.linalg.solve(V.T @ M @ V, V.T @ column) for V, column in zip(bases, b.T)], axis=1)


def krylov_basis(M, b, steps):
    """Return an orthonormal basis of span{b, Mb, …}, by Arnoldi's method with two orthogonalisations."""
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


def loco_targets(told, case):
    """Return per map (f, target y, signal γ g) as rows, with f the identity in variant S."""
    z, g = outputs(case), case.signals

    def target(l):
        f, signal = case.net.f[l] if told.variant == "M" else Identity(), told.gamma * g[l]
        return f, case.call(f.forward, z[l]) - signal, signal

    return case.per_map(target)


def loco_reference(told, case, rates, mistake=""):
    """Return θ − θ_new after local steps, written out as in the paper, or with a mistake, a key of `LOCO_MISTAKES`."""
    damping, targets = 0.0 if told.eta is None else 1 / told.eta, loco_targets(told, case)

    def step(l):
        (f, y, signal), A, old = targets[l], case.design[l], case.theta[l]
        y = case.call(f.forward, outputs(case)[l] - signal) if mistake == "target" else y
        theta, optimizer = old.copy(), SGD(1.0) if told.local_optimizer == "sgd" else told.new_optimizer()
        for rate in rates:
            z = A @ (old if mistake == "held" else theta)
            residual = (a := case.call(f.forward, z)) - y
            if mistake == "twice":
                residual = to_numpy(f.adjoint(case.lend(z), case.lend(a), None, case.lend(residual)))
            slope = A.T @ residual + damping * (theta - old * (mistake != "origin")) * (-1 if mistake == "away" else 1)
            optimizer.step([theta], [slope], scale=rate)
        return old - theta

    return case.per_map(step)


LOCO_MISTAKES = {
    "target": "the target is f(z − γg), it should be f(z) − γg",
    "held": "all local steps have one gradient: held",
    "twice": "f' is applied twice: the matching loss has it already",
    "origin": "the regulariser draws to 0, it should draw to the old θ",
    "away": "the regulariser has the wrong sign: it draws away from the old θ",
}


def plain_rates(told):
    """Return the rates of plain local steps in epoch 0."""
    first = told.local_lr(0) if callable(told.local_lr) else told.local_lr
    return [first * scale for scale in decay_scales(told.steps, told.decay)]


def loco_factors(told, case):
    """Return the sizes that a local step may be off by as factors."""
    return {**case.factors, "gamma": told.gamma}


@equation("T local steps, written out densely", "θ ← θ − α_t (ãᵀ(f(ãθ) − y) + (θ − θ_k)/η)",
          "LocoProp-S, LocoProp-M")
def locoprop_steps(claimed, case):
    told = told_as(claimed, LocoProp)
    only_if(told.steps != "exact", "its local problems are solved")
    expected = loco_reference(told, case, plain_rates(told))
    return compare_blocks(case, directions_of(claimed.method, case), scaled_blocks(case, expected),
                          lambda: loco_mistakes(told, case), loco_factors(told, case))


def loco_mistakes(told, case):
    """Return, by map, what common mistakes in T local steps would give."""
    rates, other = plain_rates(told), fresh(told, variant="S" if told.variant == "M" else "M")
    made = {"it takes one local step too few": loco_reference(told, case, rates[:-1]),
            "it takes one local step": loco_reference(told, case, rates[:1]),
            f"it is LocoProp-{other.variant}, not LocoProp-{told.variant}": loco_reference(other, case, rates),
            **{why: loco_reference(told, case, rates, name) for name, why in LOCO_MISTAKES.items()}}
    if told.decay:
        later = [rates[0] * max(1 - t / told.steps, 0.25) for t in range(1, told.steps + 1)]
        made["the local rate decays a step too early: 1 − (t + 1)/T"] = loco_reference(told, case, later)
        made["the local rate does not decay"] = loco_reference(told, case, [rates[0]] * told.steps)
    if told.eta is not None:
        made["the regulariser is missing"] = loco_reference(fresh(told, eta=None), case, rates)
    return case.by_map(made)


@equation("LocoProp-S, exact: the dense closed form, on every map", "θ − θ_new = γ (ãᵀã + I/η)⁻¹ ∇J",
          "LocoProp-S = ProxProp (13)")
def locoprop_exact_s(claimed, case):
    told = told_as(claimed, LocoProp)
    only_if(told.steps == "exact" and told.variant == "S", "not the exact S")
    prox = Proximal(case, dict.fromkeys(case.net.maps, told.eta), case.net.maps, told.gamma)
    return prox.finding(claimed, loco_factors(told, case))


@equation("LocoProp-M, exact: stationary for the matching loss", "ãᵀ(f(ãθ) − y) + (θ − θ_k)/η = 0", "LocoProp-M")
def locoprop_exact_m(claimed, case):
    told = told_as(claimed, LocoProp)
    only_if(told.steps == "exact" and told.variant == "M" and told.eta is not None, "not the exact, regularised M")
    d, targets = directions_of(claimed.method, case), loco_targets(told, case)
    tolerance, why = case.propagated_tolerance

    def finding(l):
        (f, y, signal), A = targets[l], case.design[l]
        data = A.T @ (case.call(f.forward, A @ (case.theta[l] - d[l])) - y)
        start = np.max(abs(A.T @ signal), initial=0.0) + 1e-6
        # at the minimiser the regulariser's term equals minus the data term, and so shows what is wrong
        reference = Reference([case.project(l, -told.eta * data)], 10 * tolerance, why, told.eta * start)
        return compare(case.project(l, -d[l]), reference, factors={**case.factors, "eta": told.eta}, theta=True)

    return worst_block([(l, finding(l)) for l in case.net.maps])


# ---- Semi-Implicit BP


@equation("with many steps each block is stationary: W, then b with the new W, signals through new weights",
          "∂/∂W, ∂/∂b of ‖f(aW + 1bᵀ) − (a_l − ηδ)‖² + λ‖· − ·_k‖² = 0", "SIBP W, SIBP b")
def sibp_stationary(claimed, case):
    told = told_as(claimed, SemiImplicit)
    only_if(case.plain and not re.search("relu|again", case.label) and not getattr(claimed.method, "joint", False),
            "needs smooth elementwise activations, signals that are not large, and separate blocks")
    only_if(hasattr(claimed.method, "steps"), "it has no attribute steps to be changed")
    only_if(case.has_few_inputs, "so many steps are taken on small networks alone")
    patient = fresh(claimed.method, steps=60, lam=max(told.lam, 0.5, 20 * told.eta))
    d, why = directions_of(patient, case), "Fletcher–Reeves has stopped near 1e-7"
    return worst_block([(l, compare(d[l], Reference([right], 1e-5, why, 1e-2), mistakes, theta=True))
                        for l, right, mistakes in sibp_steps(patient, case, d)])


def sibp_steps(method, case, d):
    """Yield (l, the step that its optimality condition implies, the same with common mistakes)."""
    state, D = case.forward(), case.net.depth
    z, a = case.per_map(lambda l: to_numpy(state.z[l])), [to_numpy(x) for x in state.a]
    delta = delta_old = gradient(case.value, z[D]).value / summed_weight(case)
    for l in range(D, 0, -1):
        f, old = Identity() if l == D else case.net.sigma[l], case.theta[l]
        new, f_z = old - d[l], case.call(f.forward, z[l])
        step = functools.partial(sibp_condition, case, f, a[l - 1], old, new, method.lam)
        slope, right = 1.0 if l == D else case.slopes[l], step(f_z - method.eta * delta)
        yield l, right, {
            "the target takes ∂J/∂z, with f', where it should take ∂J/∂a": step(f_z - method.eta * delta * slope),
            "b is fitted before W, with the old W, and W with the new b": step(f_z - method.eta * delta, "bias first"),
            "the signal passes through the old weights, SIBP's are new": step(f_z - method.eta * delta_old),
            "η is scaled by the batch size: it refers to the summed loss":
                step(f_z - method.eta * (delta / len(case.X))),
            "b is fitted with the old W, it should be the new": step(f_z - method.eta * delta, "old weights")}
        if l > 1:
            delta, delta_old = ((x * slope) @ w[:-1].T for x, w in ((delta, new), (delta_old, old)))


def sibp_condition(case, f, a, old, new, lam, target, mistake=""):
    """Return the step that makes W, b stationary: half the data terms' gradients at the new W and b, over λ."""

    def data(w, b):
        z = a @ w + b
        return case.call(f.derivative, z) * (case.call(f.forward, z) - target)

    weights = a.T @ data(new[:-1], (new if mistake == "bias first" else old)[-1])
    bias = data((old if mistake else new)[:-1], new[-1]).sum(axis=0)
    return np.vstack([weights, bias]) / lam


# ---- FOOF, K-FAC, Gauss–Newton


@equation("FOOF solves its normal equations: dense reference", "(ãᵀã/N + λI) d_l = ∇J of the mean loss", "FOOF")
def foof_exact(claimed, case):
    told = told_as(claimed, FOOF)
    only_if(not isinstance(told, KFAC), "it is not said to be FOOF alone")
    tau_theta, gamma = 1 / (len(case.X) * told.damping), 1 / summed_weight(case)
    prox = Proximal(case, dict.fromkeys(case.net.maps, tau_theta), case.net.maps, gamma)

    def mistakes(d):
        return case.per_map(lambda l: prox.mistakes_in(l, d[l]) | from_zero.get(l, {}))

    share, unit = 1 - told.decay, case.per_map(lambda l: np.eye(len(case.gram[l])))
    from_zero = {l: {"the average starts from 0: the first factor has the weight 1 − decay, not 1": np.linalg.solve(
        share * case.gram[l] + unit[l] / tau_theta, prox.slopes[l])} for l in case.net.maps if told.decay}
    return prox.finding(claimed, prox.factors, mistakes)


@equation("K-FAC's direction from dense factors", "(A + λ_A I) d_l (S + λ_S I) = ∇J, or A d_l S + λ d_l = ∇J",
          "K-FAC")
def kfac_exact(claimed, case):
    told = told_as(claimed, KFAC)
    only_if(case.plain, "its dense S is found on chains of fully connected maps")
    other = fresh(told, fisher="type2" if told.fisher == "empirical" else "empirical")
    factors, weight = kronecker_factors(told, case), summed_weight(case)
    small = case.per_map(lambda l: [factors[l][0], weight**2 * factors[l][1]])
    return compare_blocks(case, directions_of(claimed.method, case),
                          scaled_blocks(case, kfac_reference(told, case), least=1e-5),
                          lambda: case.by_map({f"S is {other.fisher}": kfac_reference(other, case),
                                               "π is inverted": kfac_reference(told, case, power=-1),
                                               "it solves A d + d S + λ d = ∇J: A and S are added, not multiplied":
                                                   kfac_reference(told, case, product=lambda A, S: (
                                                       np.kron(A, np.eye(len(S))) + np.kron(np.eye(len(A)), S))),
                                               "S is made of the signals of the mean loss, 1/N² as large: it wants "
                                               "each sample's own": kfac_reference(told, case, small)}),
                          {**case.factors, "damping": told.damping})


@claim("method", "after three batches its step is that of averaged factors: dense reference",
       "F ← r F + (1 − r) F_batch, r = min(1 − 1/k, decay) in step k", "K-FAC average", once=True)
def averages_its_factors(claimed, case):
    told = told_as(claimed, FOOF)
    only_if(told.decay, "it keeps no average")
    batches = case.batches[:3]
    method, last = fresh(claimed.method), batches[-1]
    steps = dict(zip(case.net.maps, [run_method(method, batch) for batch in batches][-1]))
    each = [kronecker_factors(told, batch) for batch in batches]

    def averaged(kept, new, rate):
        return case.per_map(lambda l: [rate * old + (1 - rate) * own for old, own in zip(kept[l], new[l])])

    def case_of(factors, change):
        A = case.per_map(lambda l: change(factors[l][0]))
        return case.per_map(lambda l: [A[l], change(factors[l][1]) if isinstance(told, KFAC) else factors[l][1]])

    def of(rates):
        first, second, third = each
        if rates is None:  # from 0, with the full decay
            rates, share = [told.decay] * 2, 1 - told.decay
            first = case_of(first, lambda factor: share * factor)
        return kfac_reference(told, last, averaged(averaged(first, second, rates[0]), third, rates[1]))

    rates = [min(1 - 1 / k, told.decay) for k in (2, 3)]
    mistakes = {"the average has its full decay from the second batch on, not min(1 − 1/k, decay)": [told.decay] * 2,
                "the weights of the average are exchanged: old factors and new": [1 - r for r in rates],
                "the average starts from 0: the first factor has the weight 1 − decay, not 1": None}
    return compare_blocks(last, case.per_map(lambda l: to_numpy(steps[l])), scaled_blocks(last, of(rates), least=1e-5),
                          lambda: case.by_map({name: of(other) for name, other in mistakes.items()}))


def kronecker_factors(told, case):
    """Return [None, [A, S], …] of one batch; for FOOF, S is the identity."""
    N = len(case.X)
    H = loss_hessians(case) if isinstance(told, KFAC) else None

    def factors(l):
        unit = np.eye(case.theta[l].shape[1])
        if not isinstance(told, KFAC):
            S = unit
        elif told.fisher == "type2":
            S = curvature([jacobian_column(case, l, row) for row in unit], H)
        else:
            S = case.signals[l].T @ case.signals[l] / summed_weight(case) ** 2 / N
        return [case.gram[l] / N, S]

    return case.per_map(factors)


def kfac_reference(told, case, factors=None, power=1, product=np.kron):
    """Return [None, d_1, …] of K-FAC or FOOF, by a linear system in all entries of θ_l; by default for this batch."""
    factors, split = factors or kronecker_factors(told, case), getattr(told, "split", None)

    def step(l):
        A, S = factors[l]
        in_a, in_s = np.eye(len(A)), np.eye(len(S))
        slope = case.dense_gradients[l] / (len(case.X) * summed_weight(case))
        trace_a, trace_s = np.trace(A) / len(A), np.trace(S) / len(S)
        ratio = np.sqrt(trace_a / trace_s) ** power if split == "heuristic" and trace_a * trace_s > 0 else 1.0
        root = np.sqrt(told.damping) if split == "heuristic" else told.damping
        of_s = S if split is None else S + root / ratio * in_s
        matrix = (product(A, S) + told.damping * np.kron(in_a, in_s) if split == "exact" else
                  np.kron(A + root * ratio * in_a, of_s))
        return np.linalg.solve(matrix, slope.ravel()).reshape(slope.shape)

    return case.per_map(step)


def jacobian_column(case, l, unit):
    """Return the derivative of z_D along one unit of z_l in all samples at once, as they are uncoupled, (N, n)."""
    state = case.forward()
    z, theta = to_numpy(state.z[l]), case.lend_all(case.theta)
    return directional(lambda x: case.output_from(l, x, state.a, theta), z, np.ones((len(z), 1)) * unit).value


def loss_hessians(case):
    """Return the Hessian of each sample's loss at the output, (N, n, n), by differences of the gradient."""
    net, z = case.net, to_numpy(case.forward().z[case.net.depth])
    columns = [directional(lambda x: case.call(net.loss_function.gradient, x, case.y), z, np.ones((len(z), 1)) * unit)
               for unit in np.eye(z.shape[1])]
    return np.stack([column.value for column in columns], axis=2) / summed_weight(case)


def curvature(columns, hessians):
    r"""Return the mean over samples of :math:`B_n^T H_n B_n`, given the columns of all B_n and all H_n."""
    return np.einsum("inc,ncd,jnd->ij", columns, hessians, columns, optimize=True) / len(hessians)


@equation("it solves the damped Gauss–Newton equations of the whole network: dense reference",
          "(Σ JᵀHJ/N + λI) d = ∇J of the mean loss", "Gauss–Newton")
def gauss_newton_exact(claimed, case):
    told, maps = told_as(claimed, GaussNewton), case.net.maps
    slopes, N = case.dense_gradients, len(case.X)  # raises where the network is too large
    columns = [directional(lambda t, l=l: to_numpy(case.forward(case.with_theta(l, t)).z[case.net.depth]),
                           case.theta[l], v).value for l in maps for v in case.tangents[l]]
    H, sizes = loss_hessians(case), np.cumsum([case.theta[l].size for l in maps])[:-1]
    slope = np.concatenate([slopes[l].ravel() for l in maps]) / (N * summed_weight(case))
    G, rest = curvature(columns, H), unsolved(told, case)

    def solved(G, damping=1.0):
        d = np.linalg.solve(G + told.damping * damping * np.eye(len(G)), slope)
        return dict(zip(maps, np.split(d, sizes)))

    def mistakes():
        of_diagonal = np.maximum(np.diag(G), np.finfo(float).tiny)  # 0 for a unit that does not fire
        signals = case.call(case.net.loss_function.gradient, to_numpy(case.forward().z[case.net.depth]), case.y)
        each = np.einsum("inc,nc->ni", columns, signals) / summed_weight(case)  # gradients of the samples
        of = np.concatenate([np.full(case.theta[l].size, l) for l in maps])  # the map of each entry of the stacked θ
        made = {"the loss's Hessian is missing: G is Σ JᵀJ/N": solved(curvature(columns, 0 * H + np.eye(H.shape[1]))),
                "G is made of the samples' gradients (the empirical Fisher matrix), it should be Σ JᵀHJ/N":
                    solved(each.T @ each / N),
                "its damping is λ diag(G) (Marquardt), where λI should stand": solved(G, of_diagonal),
                "each map's step is solved by itself: the blocks of G between maps are missing": solved(
                    G * (of[:, None] == of))}
        return case.by_map({why: case.per_map(lambda l, d=d: d[l].reshape(case.theta[l].shape))
                            for why, d in made.items()})

    steps = solved(G)

    def expected(l):
        right = scaled(case, l, steps[l].reshape(case.theta[l].shape))
        return right.loosened(max(1e-5, rest / (np.max(abs(steps[l])) + right.floor)))

    return compare_blocks(case, directions_of(claimed.method, case), case.per_map(expected), mistakes,
                          {**case.factors, "damping": told.damping})
