r"""Checks of notebook 06: conjugate gradients on

.. math:: (\tilde a^T\tilde a + \beta I)\,d = \tilde a^T g, \qquad \beta = 1/\tau_\theta.
"""

from __future__ import annotations

import numpy as np

from minilift.course.exercises.implicit_weights import largest_at_once
from minilift.course.teach import Claim, NoResultError, beyond, check, claim, close_to_answers, same, slips, times
from minilift.layers.gram import Gram
from minilift.local import solvers


def tilde(a):
    """Return [a 1]."""
    return np.hstack([a, np.ones((len(a), 1))])


def dots(u, v):
    """Return the inner product of each pair of columns."""
    return np.sum(u * v, axis=0)


def shaped(name, value, expected):
    """Return `value` as an array if it has the shape of `expected` and is finite."""
    value = np.asarray(value, dtype=float)
    if value.shape != expected.shape:
        raise ValueError(f"{name} has shape {value.shape} where {expected.shape} is expected")
    if not np.isfinite(value).all():
        raise ValueError(f"{name} holds nan or inf where finite numbers are expected: what is divided by 0?")
    return value


def step_by_step(M, b, iterates, inner=""):
    """Yield (whether it is so, what the first CG step that is wrong has for α, γ or its direction), for some columns.

    Parameters
    ----------
    M, b : arrays
    iterates : list of array
        d_1, d_2, … as an answer gives them.
    inner : str
        What to say of inner products.
    """
    for j in range(b.shape[1]):
        start, first = b[:, j], iterates[0][:, j]
        went = times(first, start)
        yield went != went, f"k = 1: d_1 does not lie along b (unit {j}): d starts at 0, p at b, and d moves along p"
        share = went * (start @ M @ start) / (start @ start)
        yield not same(share, 1, 1e-7), (f"k = 1: d_1 lies along b, but is {share:.3g} times as long as it should be "
                                         f"(unit {j}): look at α, at Mp with its damping{inner}")
    for j in range(b.shape[1]):
        start, first, second = b[:, j], iterates[0][:, j], iterates[1][:, j]
        rest, move = start - M @ first, second - first
        parts = np.stack([rest, start], axis=1)
        of_rest, of_old = np.linalg.lstsq(parts, move, rcond=None)[0]
        yield abs(parts @ [of_rest, of_old] - move).max() > 1e-6 * abs(move).max(), \
            "the first step is right; the second does not go along r_new + γ p: which r and which p stand in it?"
        yield abs(of_rest) < 1e-9, "the first step is right; the new residual is missing in the second direction"
        gamma, right = of_old / of_rest, rest @ rest / (start @ start)
        yield (abs(gamma) < 1e-9, "the first step is right; in the second direction γ p is missing: this is steepest "
                                  "descent, or d moves along r where p is meant")
        yield not same(gamma / right, 1, 1e-6), (f"the first step is right; in the second direction γ is "
                                                 f"{gamma / right:.3g} times what it should be (unit {j}): look at γ, "
                                                 f"and at the new r in it{inner}")
        p = rest + right * start
        share = of_rest * (p @ M @ p) / (rest @ rest)
        yield abs(share) > 1e6, ("the first step and the second direction are right; along it ⟨p, Mp⟩ is 0 but for "
                                 "rounding: is Mp still that of the first p? Each step has its own")
        yield not same(share, 1, 1e-6), (f"the first step and the second direction are right; along it d goes "
                                         f"{share:.3g} times as far as it should (unit {j}): which r and p has α?")
    yield True, "two steps are right, a later one is not: is something kept from the first one (b for r, say)?"


def krylov_misfit(M, b, d, steps):
    """Return how far d is from the minimiser over span(b, …, M^{steps−1} b), the worst of its columns.

    Two parts: what of d lies outside the space, relative to d, and what of the residual lies in it, relative to b.
    """
    outside, inside = 0.0, 0.0
    for j in range(b.shape[1]):
        basis = np.zeros((len(b), 0))
        for k in range(steps):
            new = b[:, j] if k == 0 else M @ basis[:, -1]
            for _ in range(2):  # once more, for what rounding left
                new = new - basis @ (basis.T @ new)
            basis = np.hstack([basis, (new / np.linalg.norm(new))[:, None]])
        rest = d[:, j] - basis @ (basis.T @ d[:, j])
        outside = max(outside, np.linalg.norm(rest) / max(np.linalg.norm(d[:, j]), 1e-300))
        inside = max(inside, np.linalg.norm(basis.T @ (b[:, j] - M @ d[:, j])) / np.linalg.norm(b[:, j]))
    return outside, inside


def library_first_step(M, b):
    """Return one step of the library's CG on L Lᵀ d = b, where L Lᵀ = M: its a is Lᵀ, its g is L⁻¹b, β = 0."""
    root = np.linalg.cholesky(M).T
    gram = Gram(root, side="parameter", bias=False)
    return solvers.conjugate_gradients(gram, np.linalg.solve(root.T, b), 0.0, 1).value


def plain_first_step(M, b):
    """Return one step of textbook CG, what stands in for an answer: it owes the library nothing."""
    return dense_cg(M, b, 1)[0]


def total(u, v):
    """Return the inner product over all columns."""
    return np.sum(u * v)


WRONG_FIRST_STEPS = {
    "all units share one step length here; each has its own problem": lambda M, b: total(b, b) / total(b, M @ b) * b,
    "the fraction is upside down": lambda M, b: dots(b, M @ b) / dots(b, b) * b,
    "1/λ_max is stable, but not the best step": lambda M, b: b / np.linalg.norm(M, 2),
    "the norm must be squared, or p is b/‖b‖ in one place and b in another":
        lambda M, b: np.sqrt(dots(b, b)) / dots(b, M @ b) * b,
    "this is the exact solution; one step along b is asked for": lambda M, b: np.linalg.solve(M, b),
    "the sign: the step goes along b, where q falls": lambda M, b: -dots(b, b) / dots(b, M @ b) * b,
    "a factor 2: q has a ½, and its slope along b is ⟨b, b⟩": lambda M, b: dots(b, b) / dots(b, M @ b) / 2 * b,
    "a factor 2: the slope of ½⟨d, Md⟩ is Md": lambda M, b: 2 * dots(b, b) / dots(b, M @ b) * b,
    "M is missing in the denominator: this is b": lambda M, b: 1.0 * b,
    "sums run over the rows (axis 0) of a column; these run over the units":
        lambda M, b: (np.sum(b * b, axis=1) / np.sum(b * (M @ b), axis=1))[:, None] * b,
    "this step is along Mb; from d = 0 the residual is b": lambda M, b: dots(b, b) / dots(b, M @ b) * (M @ b),
    "the denominator is ⟨b, Mb⟩, not ‖Mb‖²": lambda M, b: dots(b, b) / dots(M @ b, M @ b) * b,
    "this α makes the residual smallest, not q: its products have an M too many":
        lambda M, b: dots(b, M @ b) / dots(M @ b, M @ b) * b,
    "all units share the mean of their step lengths; each has its own":
        lambda M, b: np.mean(dots(b, b) / dots(b, M @ b)) * b,
    "this divides by the diagonal of M; α is one number for each unit": lambda M, b: b / np.diag(M)[:, None],
    "the numerator is ‖b‖², a sum of squares; this is one of absolute values":
        lambda M, b: np.sum(abs(b), axis=0) / dots(b, M @ b) * b,
    "this is b − α b; the start is 0, so that d = α b": lambda M, b: b - dots(b, b) / dots(b, M @ b) * b,
    "the norm of Mb is no ⟨b, Mb⟩": lambda M, b: dots(b, b) / np.linalg.norm(M @ b, axis=0) * b,
    "this is b/‖b‖, a direction: the length α is missing": lambda M, b: b / np.sqrt(dots(b, b)),
    "one step length for all, 1 over the trace of M: α is found by (6.2), for each unit": lambda M, b: b / np.trace(M),
    "below stands ⟨b, Mb⟩, with all of M; here with its diagonal alone":
        lambda M, b: dots(b, b) / dots(b, np.diag(M)[:, None] * b) * b,
    "α is a ratio of inner products; these are sums of entries": lambda M, b: b.sum(axis=0) / (M @ b).sum(axis=0) * b,
    "⟨b, Mb⟩ is summed over all units; each has its own": lambda M, b: dots(b, b) / total(b, M @ b) * b,
    "the numerator is summed over all units; each has its own": lambda M, b: total(b, b) / dots(b, M @ b) * b,
    "the b of all units are combined here: each moves along its own b alone":
        lambda M, b: b @ np.linalg.solve(b.T @ M @ b, b.T @ b),
    "these are two steps of steepest descent; one is wanted": lambda M, b: (lambda d, r: d + dots(r, r) / dots(
        r, M @ r) * r)(library_first_step(M, b), b - M @ library_first_step(M, b)),
    "one step length for all, 1 over the mean eigenvalue: α is found by (6.2), for each unit":
        lambda M, b: len(M) / np.trace(M) * b,
    "a root too many: α is the fraction itself": lambda M, b: np.sqrt(dots(b, b) / dots(b, M @ b)) * b,
    "a ratio of norms: α is a ratio of two inner products": lambda M, b: np.sqrt(
        dots(b, b) / dots(M @ b, M @ b)) * b,
    "2/(λ_max + λ_min) is the best length for the worst b; here b is known": lambda M, b:
        2 / np.linalg.eigvalsh(M)[[0, -1]].sum() * b,
    "b is normalised in one place and not in the other: α belongs to the p along which d goes": lambda M, b:
        dots(b, b) ** 1.5 / dots(b, M @ b) * b,
    "d_0 is 0 and not b: the residual at 0 is b": lambda M, b: (lambda r: dots(r, r) / dots(r, M @ r) * r)(b - M @ b),
    "the start is 0 and not b": lambda M, b: (lambda r: b + dots(r, r) / dots(r, M @ r) * r)(b - M @ b),
    "this is the residual after the step; the step itself is wanted":
        lambda M, b: b - dots(b, b) / dots(b, M @ b) * (M @ b),
}


def first_step(answer, seed):
    """Exercise 6.1: the exact line search along b, in each unit."""
    rng = np.random.default_rng(seed)
    root, b = rng.normal(size=(8, 5)), rng.normal(size=(5, 3))
    M = root.T @ root + 0.5 * np.eye(5)

    def claims(step):
        outside, inside = krylov_misfit(M, b, shaped("d_1", step(M, b), b), 1)
        yield Claim("each column is a multiple of its b", outside, 1e-12)
        yield Claim("no slope along b is left, in any unit", inside, 1e-12)

    def mistakes(step):
        yield np.shape(step(M, b)) == (3,), "these are the lengths α of the steps; d = α b is asked for"
        yield from slips(step, [(M, b)], WRONG_FIRST_STEPS)
        found = shaped("d_1", step(M, b), b)
        yield same(abs(found), abs(library_first_step(M, b))), "the entries of b keep their signs: no absolute values"
        turned = [j for j in range(b.shape[1]) if times(found[:, j], b[:, j]) != times(found[:, j], b[:, j])]
        yield bool(turned), (f"unit {turned[0] if turned else 0} does not go along its own b: α is one number for each "
                             "unit, and multiplies its column")
        lengths = dots(step(M, b), b) / dots(library_first_step(M, b), b)
        yield (same(lengths, np.ones(3), 0.01) and same(step(M, b), lengths * library_first_step(M, b)),
               "nearly the best lengths: is α looked for among many? (6.2) gives it exactly")
        yield (same(step(M, b), lengths * library_first_step(M, b)), "along b, but by other lengths: "
               + ", ".join(f"{length:.3g}" for length in lengths) + " of the best in the three units; look at α")

    return check("6.1", answer, claims, mistakes, fallback=plain_first_step)


def library_cg(a, g, tau_theta, steps):
    """Return the library's CG iterate."""
    return solvers.conjugate_gradients(Gram(a, side="parameter"), g, 1 / tau_theta, steps).value


def wrong_cg(a, g, tau_theta, steps, gamma=None, alias=False, alpha=None, damping=None, inner=dots, residual=-1,
             along="p", late=False, free=False, rows=1, ones=1.0, kept=1.0, moves="p", since="r", give="d",
             falls="Mp", held=False, below="pMp"):
    """Return CG with a slip in it: γ or α of another rule, another damping, inner product, sign or start."""
    damping = 1 / tau_theta if damping is None else damping(tau_theta)
    diagonal = np.append(np.ones(a.shape[1]), ones)
    M = tilde(a).T @ tilde(a) / (rows if rows == 1 else len(a)) + damping * np.diag(diagonal)
    b = r = tilde(a).T @ g
    d, p = np.zeros_like(r), r.copy()
    for k in range(steps):
        before, Mp = r, M @ p
        if k == 0 or not held:
            length = alpha(r, p, Mp) if alpha else inner(r, r) / (inner(p, Mp) if below == "pMp" else inner(r, M @ r))
        fall = {"Mp": Mp, "p": p, "undamped": Mp - damping * p}[falls]
        r = (r if since == "r" else b) + residual * (1 if free else length) * fall
        d = kept * d + length * {"p": p, "p alone": p / length, "late": 0 * p, "r_old": before}.get(moves, r)
        if alias and k == 0:
            p = r
        ratio = inner(r, r) / inner(before, before) if gamma is None else gamma(r, before, p, Mp)
        new = (before if late else r) + ratio * (before if along == "r_old" else p)
        p = {"b": p, "γr": ratio * r + p, "p alone": ratio * p, "b + γp": b + ratio * p}.get(along, new)
        d = d + length * p if moves == "late" else d
    return {"d": d, "r": r, "p": p}[give]


def cg_with(**slip):
    """Return a solver for the layer with this slip."""
    return lambda a, g, tau_theta, steps: wrong_cg(a, g, tau_theta, steps, **slip)


def plain_cg(a, g, tau_theta, steps):
    """Return a textbook's CG with M formed, what stands in for an answer: it owes the library nothing."""
    return wrong_cg(a, g, tau_theta, steps)


def cg_in_one_array(a, g, tau_theta, steps):
    """Return CG whose r and p are one array, and all of whose updates are in place."""
    M, r = tilde(a).T @ tilde(a) + np.eye(a.shape[1] + 1) / tau_theta, tilde(a).T @ g
    d, p = np.zeros_like(r), r
    for _ in range(steps):
        Mp, size = M @ p, dots(r, r)
        alpha = size / dots(p, Mp)
        d = d + alpha * p
        r -= alpha * Mp
        p *= dots(r, r) / size
        p += r
    return d


def cg_after_p_is_r(a, g, tau_theta, steps):
    """Return CG whose r becomes p in each step: p = r, and then p += γ p, with the p from before."""
    M, b = tilde(a).T @ tilde(a) + np.eye(a.shape[1] + 1) / tau_theta, tilde(a).T @ g
    d, r, p = np.zeros_like(b), b, b
    for _ in range(steps):
        Mp, size = M @ p, dots(r, r)
        alpha = size / dots(p, Mp)
        d, r = d + alpha * p, r - alpha * Mp
        p = r = r * (1 + dots(r, r) / size)
    return d


def cg_from_one_residual(a, g, tau_theta, steps):
    """Return CG whose r stays what it was at the start."""
    M, b = tilde(a).T @ tilde(a) + np.eye(a.shape[1] + 1) / tau_theta, tilde(a).T @ g
    d, p = np.zeros_like(b), b
    for _ in range(steps):
        alpha = dots(b, b) / dots(p, M @ p)
        r = b - alpha * (M @ p)
        d, p = d + alpha * p, r + dots(r, r) / dots(b, b) * p
    return d


def cg_with_products_of_r(a, g, tau_theta, steps):
    """Return CG whose Mp is Mr: two steps of it are right."""
    M, r = tilde(a).T @ tilde(a) + np.eye(a.shape[1] + 1) / tau_theta, tilde(a).T @ g
    d, p = np.zeros_like(r), r
    for _ in range(steps):
        alpha = dots(r, r) / dots(p, M @ r)
        new = r - alpha * (M @ r)
        d, p, r = d + alpha * p, new + dots(new, new) / dots(r, r) * p, new
    return d


WRONG_CG = {
    "Mp is M times p; here it is M times r, which stands in the place of p": cg_with_products_of_r,
    "α has ⟨p, Mp⟩ below, not ‖Mp‖²": cg_with(alpha=lambda r, p, Mp: dots(r, r) / dots(Mp, Mp)),
    "this α makes the residual smallest, not q: its products have an M too many":
        cg_with(alpha=lambda r, p, Mp: dots(r, Mp) / dots(Mp, Mp)),
    "‖r‖² below in γ is that of the start, b; take that of the last r": lambda a, g, tau_theta, steps: cg_with(
        gamma=lambda r, old, p, Mp: dots(r, r) / dots(tilde(a).T @ g, tilde(a).T @ g))(a, g, tau_theta, steps),
    "γ is missing, or 0, as ⟨r_new, r_old⟩ is: repeated exact line searches are steepest descent":
        cg_with(gamma=lambda *_: 0),
    "after p = r both names stand for one and the same array, which r −= α Mp changes": cg_with(alias=True),
    "r and p are one and the same array: what is done to one in place is done to both": cg_in_one_array,
    "one step length for all units; each has its own problem (sum over axis 0 only)": cg_with(inner=total),
    "α is that of the first step in all of them; each step has its own": cg_with(held=True),
    "the damping is missing where r falls: the same Mp as in α": cg_with(falls="undamped"),
    "τ_θ divides: the damping is 1/τ_θ": cg_with(damping=lambda tau_theta: tau_theta),
    "the damping is missing: Mp = ãᵀ(ãp) + p/τ_θ": cg_with(damping=lambda tau_theta: 0.0),
    "the damping is 1 here, whatever τ_θ is": cg_with(damping=lambda tau_theta: 1.0),
    "γ is upside down: new ‖r‖² over old": cg_with(gamma=lambda r, old, p, Mp: dots(old, old) / dots(r, r)),
    "γ is the ratio of the squared norms; these are norms":
        cg_with(gamma=lambda r, old, p, Mp: np.sqrt(dots(r, r) / dots(old, old))),
    "γ is 1 in every step: r was replaced before its old norm was taken": cg_with(gamma=lambda *_: 1.0),
    "‖r‖² is squared, in α and in γ; these are norms": cg_with(
        alpha=lambda r, p, Mp: np.sqrt(dots(r, r)) / dots(p, Mp),
        gamma=lambda r, old, p, Mp: np.sqrt(dots(r, r) / dots(old, old))),
    "the sign of γ": cg_with(gamma=lambda r, old, p, Mp: -dots(r, r) / dots(old, old)),
    "the sign of the residual: r falls by α Mp": cg_with(residual=1),
    "α is missing in the new residual": cg_with(free=True),
    "p goes on from the old residual; the new one is needed": cg_with(late=True),
    "γ multiplies the old p, not the old r": cg_with(along="r_old"),
    "α has ‖r‖² above, not ‖p‖²":
        cg_with(alpha=lambda r, p, Mp: dots(p, p) / dots(p, Mp)),
    "α has ⟨p, Mp⟩ below, not ⟨r, Mr⟩": cg_with(below="rMr"),
    "α has ‖r‖² above; this is the norm itself": cg_with(alpha=lambda r, p, Mp: np.sqrt(dots(r, r)) / dots(p, Mp)),
    "after p = r, p += γ p_old changes r as well: both names stand for one array; write p = r + γp": cg_after_p_is_r,
    "α is upside down": cg_with(alpha=lambda r, p, Mp: dots(p, Mp) / dots(r, r)),
    "α lacks its M: below stands ⟨p, Mp⟩": cg_with(alpha=lambda r, p, Mp: dots(r, r) / dots(p, p)),
    "‖r‖² in α is summed over all units; each has its own":
        cg_with(alpha=lambda r, p, Mp: total(r, r) / dots(p, Mp)),
    "⟨p, Mp⟩ is summed over all units; each has its own":
        cg_with(alpha=lambda r, p, Mp: dots(r, r) / total(p, Mp)),
    "‖r‖² is taken over all units in γ; each has its own":
        cg_with(gamma=lambda r, old, p, Mp: total(r, r) / total(old, old)),
    "sums run over axis 0, the entries of a column; these run over the units":
        cg_with(inner=lambda u, v: np.sum(u * v, axis=1, keepdims=True)),
    "both sums in α run over all units; each has its own":
        cg_with(alpha=lambda r, p, Mp: total(r, r) / total(p, Mp)),
    "r is never renewed: α, γ and the new residual are made of b in every step": cg_from_one_residual,
    "this is the exact solution; so many steps of the iteration are asked for": lambda a, g, tau_theta, steps:
        np.linalg.solve(tilde(a).T @ tilde(a) + np.eye(a.shape[1] + 1) / tau_theta, tilde(a).T @ g),
    "b is a sum over the samples, ãᵀg: no division by N": lambda a, g, tau_theta, steps:
        wrong_cg(a, g / len(a), tau_theta, steps),
    "the column of ones is missing in ã: a column of zeros stands there": lambda a, g, tau_theta, steps: np.vstack([
        solvers.conjugate_gradients(Gram(a, side="parameter", bias=False), g, 1 / tau_theta, steps).value, 0 * g[:1]]),
    "d is a sum over the steps, not a mean": lambda a, g, tau_theta, steps: wrong_cg(a, g, tau_theta, steps) / steps,
    "α has no ½": cg_with(alpha=lambda r, p, Mp: dots(r, r) / dots(p, Mp) / 2),
    "p stays b: each step needs its new direction, r + γp": cg_with(along="b"),
    "γ multiplies the old p, not the new r": cg_with(along="γr"),
    "γ in this form has a minus: −⟨r_new, Mp⟩/⟨p, Mp⟩":
        cg_with(gamma=lambda r, old, p, Mp: dots(r, Mp) / dots(p, Mp)),
    "no mean: ãᵀã is a sum over the samples": cg_with(rows=0),
    "the bias row is damped too: β stands on all of M's diagonal": cg_with(ones=0.0),
    "d goes along p; here it goes along the new r": cg_with(moves="r"),
    "p is renewed before d moves along it: first d, then p": cg_with(moves="late"),
    "1/τ_θ belongs to M's diagonal; here τ_θ stands before ãᵀã, so that d is τ_θ times too small":
        lambda a, g, tau_theta, steps: wrong_cg(a, g, tau_theta, steps) / tau_theta,
    "1/τ_θ multiplies p alone, outside of ãᵀ(ãp)": lambda a, g, tau_theta, steps:
        cg_with(damping=lambda tau_theta: 0.0)(a, g, tau_theta, steps) / (1 + 1 / tau_theta),
    "r is overwritten with p, or r, p and b are one array, which r −= α Mp changes: two arrays, two names":
        cg_with(alias=True, gamma=lambda r, old, p, Mp: 1.0),
    "each step replaces d; it must add to it: d + αp": cg_with(kept=0.0),
    "r starts from b in every step; it goes on from the last r": cg_with(since="b"),
    "this is the residual r; d is wanted": cg_with(give="r"),
    "‖r‖² in α is that of the start, b; take that of the present r":
        lambda a, g, tau_theta, steps: cg_with(alpha=lambda r, p, Mp: dots(tilde(a).T @ g, tilde(a).T @ g) / dots(
            p, Mp))(a, g, tau_theta, steps),
    "α is missing where d moves: d + αp": cg_with(moves="p alone"),
    "d goes along p; here it goes along the old r": cg_with(moves="r_old"),
    "1/τ_θ, not 1/τ_θ²": cg_with(damping=lambda tau_theta: 1 / tau_theta**2),
    "a factor ½ in the damping: β is 1/τ_θ": cg_with(damping=lambda tau_theta: 1 / tau_theta / 2),
    "a solution is no direction: no further τ_θ":
        lambda a, g, tau_theta, steps: tau_theta * wrong_cg(a, g, tau_theta, steps),
    "γ is new ‖r‖² over old ‖r‖²; here ⟨p, Mp⟩ stands below":
        cg_with(gamma=lambda r, old, p, Mp: dots(r, r) / dots(p, Mp)),
    "γ is new ‖r‖² over old ‖r‖²; here ‖p‖² stands below":
        cg_with(gamma=lambda r, old, p, Mp: dots(r, r) / dots(p, p)),
    "all units share the mean of their α; each has its own":
        cg_with(alpha=lambda r, p, Mp: np.mean(dots(r, r) / dots(p, Mp))),
    "all units share the mean of their γ; each has its own":
        cg_with(gamma=lambda r, old, p, Mp: np.mean(dots(r, r) / dots(old, old))),
    "γ has no ½": cg_with(gamma=lambda r, old, p, Mp: dots(r, r) / dots(old, old) / 2),
    "d is measured in units of b: b is not to be normalised": lambda a, g, tau_theta, steps:
        wrong_cg(a, g, tau_theta, steps) / np.linalg.norm(tilde(a).T @ g),
    "d is measured in units of b: no column of b is to be normalised": lambda a, g, tau_theta, steps:
        wrong_cg(a, g, tau_theta, steps) / np.linalg.norm(tilde(a).T @ g, axis=0),
    "the new residual falls by α Mp; here M is missing in it": cg_with(falls="p"),
    "the new direction is r + γp; here r is missing in it": cg_with(along="p alone"),
    "the new direction starts from the new r; here it starts from b": cg_with(along="b + γp"),
    "this is the direction p; d is wanted": cg_with(give="p"),
}


SMALL = 1e-3  # times a signal of size 1: as small as in the notebook, where a guard against 0 is small no longer
TINY = 1e-7  # times a signal of size 1: all of it is below what may be taken for a small residual
GUARDED = ("right for a signal of size 1, not for a small one, but d is in proportion to g: is a number added to a "
           "denominator, or does the loop end when r is small?")
FORMS_M = "right numbers, but an array as large as M is formed: Mp takes two products with ã, one after the other"


def conjugate_gradients(answer, seed):
    """Exercise 6.2: d_k minimises over the Krylov space of dimension k, in each unit."""
    rng = np.random.default_rng(seed)
    a, g, tau_theta = rng.normal(size=(12, 6)), rng.normal(size=(12, 3)), 0.4
    M, b = tilde(a).T @ tilde(a) + np.eye(7) / tau_theta, tilde(a).T @ g
    places = {1: ("look at the first direction, p = b", "look at α and Mp"),
              2: ("look at p = r + γ p", "the first step is right: look at γ, or at the new r"),
              4: ("look at p = r + γ p", "two steps are right: is something kept from the first step?"),
              7: ("look at p = r + γ p", "four steps are right, seven are not: does the loop end by itself?")}
    wide = rng.normal(size=(4, 400)), rng.normal(size=(4, 2)), tau_theta

    def claims(cg):
        for steps in (1, 2, 4, 7):
            d = shaped("d", cg(a, g, tau_theta, steps), b)
            outside, inside = krylov_misfit(M, b, d, steps)
            yield Claim(f"k = {steps}: d lies in the Krylov space", outside, 1e-10, places[steps][0])
            yield Claim(f"k = {steps}: the residual is orthogonal to it", inside, 1e-10, places[steps][1])
        outside, inside = krylov_misfit(M, SMALL * b, shaped("d", cg(a, SMALL * g, tau_theta, 6), b), 6)
        yield Claim("k = 6, a small signal: d and the residual likewise", max(outside, inside), 1e-8, GUARDED)
        yield claim("k = 2, a tiny signal: d is in proportion to it", cg(a, TINY * g, tau_theta, 2) / TINY,
                    cg(a, g, tau_theta, 2), 1e-2, GUARDED)
        yield Claim("n = 400: memory used beyond half of that of M, over that of M",
                    beyond(largest_at_once(cg, *wide, 2) / (8 * 401**2) - 0.5), 0, FORMS_M)

    def mistakes(cg):
        yield (same(cg(a, g, tau_theta, 2), library_cg(a, g, tau_theta, 2)) and any(
            same(cg(a, g, tau_theta, 7), library_cg(a, g, tau_theta, k)) for k in range(2, 7)),
               "the loop ends before `steps` steps are done: take as many as are asked for, however small r is")
        if all(same(cg(a, g, tau_theta, k), library_cg(a, g, tau_theta, k), 1e-5) for k in (1, 2, 4, 7)):
            yield not same(cg(a, SMALL * g, tau_theta, 6) / SMALL, library_cg(a, g, tau_theta, 6), 1e-7), GUARDED
            yield not same(cg(a, TINY * g, tau_theta, 2) / TINY, library_cg(a, g, tau_theta, 2), 1e-2), GUARDED
            yield True, FORMS_M
        yield from slips(cg, [(a, g, tau_theta, steps) for steps in (2, 3)], WRONG_CG)
        two, ones = cg(a, g, tau_theta, 2), [library_cg(a, g, tau_theta, k) for k in (1, 3)]
        yield same(cg(a, g, tau_theta, 4), ones[0]), \
            "d stays at its first step: the return stands inside the loop, or α has ⟨r, b⟩ above, 0 from then on"
        yield any(same(two, other) for other in ones), "the number of steps is off by one"
        yield same(two, -library_cg(a, g, tau_theta, 2)), "the sign: d goes along +p"
        yield same(two, library_cg(a, g, tau_theta, 2) + tilde(a).T @ g), "d starts at 0, not at b"
        yield (all(same(cg(a, g, tau_theta, k), library_cg(a, g, tau_theta, len(b)), 1e-6) for k in (1, 2)),
               "so many steps are taken whatever `steps` is; as many as are asked for")
        yield from step_by_step(M, b, [shaped("d", cg(a, g, tau_theta, k), b) for k in (1, 2)])

    return check("6.2", answer, claims, mistakes, fallback=plain_cg)


def rows_of(K):
    """Return ã with ããᵀ = K, from K's eigenvectors."""
    values, vectors = np.linalg.eigh(K)
    return vectors * np.sqrt(values.clip(0))


def library_sample_space_cg(K, g, beta, steps):
    """Return U by the library's CG on the sample side, for any K = ããᵀ."""
    class Coordinates(Gram):
        """The sample side with K given, which keeps its coordinates."""

        def lift(self, u):
            return u
    gram = Coordinates(rows_of(K), side="sample", bias=False)
    return solvers.conjugate_gradients(gram, g, beta, steps).value


def coefficient_cg(K, g, beta, steps, inner=(0, 0), damped=1.0, gamma=True, residual=-1, products=dots, start=None,
                   in_gamma=None, turned=1, falls="MP", moves="P", give="U", begins="both", above=None, along="new",
                   held=False, by=None, ratio=None, since="R", kept=1.0):
    """Return CG for U with slips: `inner` holds the power of K in ‖r‖² and what ⟨p, Mp⟩ is."""
    below = [lambda P, MP: products(P, MP), lambda P, MP: products(K @ P, MP), lambda P, MP: products(P, K @ P),
             lambda P, MP: products(K @ P, K @ P), lambda P, MP: products(MP, MP)][inner[1]]

    def size(R, power):
        return products(R, R) if power == 0 else products(R, K @ R)

    in_gamma = inner[0] if in_gamma is None else in_gamma
    U, R = np.zeros_like(g), g if start is None else start(K, g)
    P = R if begins == "both" else g
    first = size(R, inner[0])
    for _ in range(steps):
        MP = K @ P + damped * beta * P if by is None else by(K, P, beta)
        alpha = (first if held else size(R, inner[0])) / below(P, MP) if above is None else above(K, R, P, MP)
        new = (R if since == "R" else g) + residual * {"MP": alpha * MP, "KP": alpha * (K @ P), "free": MP}[falls]
        U = kept * U + alpha * {"P": P, "KP": K @ P, "R": new, "old R": R, "free": P / alpha}[moves]
        share = (size(new, in_gamma) / (first if held else size(R, in_gamma))) ** turned
        share = gamma * (share if ratio is None else ratio(K, new, R, P))
        P, R = {"new": new + share * P, "old": R + share * P,
                "R": new + share * R, "new R": new + share * new}[along], new
    return {"U": U, "R": R, "P": P}[give]


def sample_cg_with(**slip):
    """Return a solver in sample space with this slip."""
    return lambda K, g, beta, steps: coefficient_cg(K, g, beta, steps, **{"inner": (1, 1), **slip})


def sample_cg_in_one_array(K, g, beta, steps, p_too=False):
    """Return CG in sample space whose R and P start as one array, which R −= α MP changes."""
    U, R = np.zeros_like(g), g.copy()
    P = R
    for _ in range(steps):
        MP, size = K @ P + beta * P, dots(R, K @ R)
        alpha = size / dots(K @ P, MP)
        U = U + alpha * P
        R -= alpha * MP
        gamma = dots(R, K @ R) / size
        if p_too:
            P *= gamma
            P += R
        else:
            P = R + gamma * P
    return U


def squared_sample_cg(K, g, beta, steps, onto=lambda K, R: R, size=lambda K, R: dots(K @ R, K @ R),
                      below=dots):
    """Return CG in sample space with other inner products, or with R moved by a matrix before it enters P."""
    U, R, P = np.zeros_like(g), g, g
    for _ in range(steps):
        MP = K @ P + beta * P
        alpha = size(K, R) / below(K @ P, MP)
        new = R - alpha * MP
        U, P, R = U + alpha * P, onto(K, new) + size(K, new) / size(K, R) * P, new
    return U


def lifted_sample_cg(K, g, beta, steps):
    """Return CG in sample space whose P goes on from KR."""
    return squared_sample_cg(K, g, beta, steps, lambda K, R: K @ R, lambda K, R: dots(R, K @ R))


def coefficient_with_gamma_of_theta(K, g, beta, steps):
    """Return CG for U whose α has the inner products of coefficients, and whose γ has those of θ."""
    return coefficient_cg(K, g, beta, steps, in_gamma=1)


def squared_everywhere(K, g, beta, steps):
    """Return CG for U all of whose inner products have one K more than those of θ."""
    return squared_sample_cg(K, g, beta, steps, below=lambda KP, MP: dots(KP, K @ MP))


WRONG_SAMPLE_CG = {
    "these are inner products of the coefficients; those of θ are ⟨U, KV⟩": coefficient_cg,
    "‖r‖² is that of R here; (6.9) gives that of r = ãᵀR": sample_cg_with(inner=(0, 1)),
    "⟨p, Mp⟩ lacks the K of (6.9): P and KP + βP are coefficients": sample_cg_with(inner=(1, 0)),
    "the denominator lacks the damping of M": sample_cg_with(inner=(1, 3)),
    "the denominator is ⟨p, p⟩; M is missing in it": sample_cg_with(inner=(1, 2)),
    "the damping β is missing": sample_cg_with(damped=0.0),
    "β is the damping itself, no step size: it multiplies":
        lambda K, g, beta, steps: sample_cg_with()(K, g, 1 / beta, steps),
    "after P = R both names stand for one and the same array, which R −= α MP changes": sample_cg_in_one_array,
    "R and P are one and the same array: what is done to one in place is done to both":
        lambda K, g, beta, steps: sample_cg_in_one_array(K, g, beta, steps, p_too=True),
    "γ is missing, or 0, as ⟨R_new, KR_old⟩ is: this is steepest descent": sample_cg_with(gamma=False),
    "the sign of γ": sample_cg_with(gamma=-1),
    "γ is upside down: the new ‖r‖² over the old": sample_cg_with(turned=-1),
    "in γ stands ⟨R, R⟩; ‖r‖² is that of θ there too": sample_cg_with(in_gamma=0),
    "in α stands ⟨R, R⟩, in γ does not; ‖r‖² is that of θ in both": sample_cg_with(inner=(0, 1), in_gamma=1),
    "the sign of the damping: M adds βP": sample_cg_with(damped=-1.0),
    "the denominator has M on both sides; (6.2) has it on one": sample_cg_with(inner=(1, 4)),
    "R falls by α (KP + βP); the damping is missing there": sample_cg_with(falls="KP"),
    "α is missing in the new R": sample_cg_with(falls="free"),
    "this is KU, or U moves along KP where P is meant: the coefficients U are wanted": sample_cg_with(moves="KP"),
    "U moves along P, not along the new R": sample_cg_with(moves="R"),
    "U moves along P, not along R": sample_cg_with(moves="old R"),
    "P goes on from the old R; the new one is needed": sample_cg_with(along="old"),
    "γ multiplies the old P, not the old R": sample_cg_with(along="R"),
    "γ multiplies the old P, not the new R": sample_cg_with(along="new R"),
    "R goes on from the last R, not from g": sample_cg_with(since="g"),
    "α is missing where U moves: U + αP": sample_cg_with(moves="free"),
    "each step replaces U; it must add to it: U + αP": sample_cg_with(kept=0.0),
    "α has ‖r‖² above; this is the norm itself": sample_cg_with(
        above=lambda K, R, P, MP: np.sqrt(dots(R, K @ R)) / dots(K @ P, MP)),
    "γ is the ratio of the squared norms; these are norms": sample_cg_with(turned=0.5),
    "‖r‖² is squared, in α and in γ; these are norms": sample_cg_with(
        turned=0.5, above=lambda K, R, P, MP: np.sqrt(dots(R, K @ R)) / dots(K @ P, MP)),
    "⟨p, Mp⟩ is summed over all units; each has its own": sample_cg_with(
        above=lambda K, R, P, MP: dots(R, K @ R) / total(K @ P, MP)),
    "γ is new ‖r‖² over old ‖r‖²; here ‖p‖² stands below": sample_cg_with(
        ratio=lambda K, new, R, P: dots(new, K @ new) / dots(P, K @ P)),
    "‖r‖² is taken over all units in γ; each has its own": sample_cg_with(
        ratio=lambda K, new, R, P: total(new, K @ new) / total(R, K @ R)),
    "the damping is β, not β²": sample_cg_with(by=lambda K, P, beta: K @ P + beta**2 * P),
    "‖r‖² of the start is kept: after each step the old ‖r‖² is that of the present R": sample_cg_with(held=True),
    "one α for all units; each has its own, as γ has: sum over axis 0 only":
        sample_cg_with(above=lambda K, R, P, MP: total(R, K @ R) / total(K @ P, MP)),
    "the inner products in α are those of the coefficients; in γ they are those of θ":
        coefficient_with_gamma_of_theta,
    "β is added to every entry of KP; it multiplies P": sample_cg_with(by=lambda K, P, beta: K @ P + beta),
    "β multiplies P, not KP": sample_cg_with(by=lambda K, P, beta: P + beta * K @ P),
    "the damping is 1 here, whatever β is": sample_cg_with(by=lambda K, P, beta: K @ P + P),
    "the denominator has a K too many: (6.9) has one": sample_cg_with(
        above=lambda K, R, P, MP: dots(R, K @ R) / dots(K @ P, K @ MP)),
    "in γ stands ⟨R, R⟩ above; ‖r‖² is that of θ there too": sample_cg_with(
        ratio=lambda K, new, R, P: dots(new, new) / dots(R, K @ R)),
    "MP has a K too many: it is KP + βP": sample_cg_with(by=lambda K, P, beta: K @ (K @ P + beta * P)),
    "all inner products have a K too many: (6.9) has one": squared_everywhere,
    "this is the residual R; U is wanted": sample_cg_with(give="R"),
    "this is the direction P; U is wanted": sample_cg_with(give="P"),
    "‖r‖² has a K too many: (6.9) has one": squared_sample_cg,
    "P goes on from R, not from KR: all are coefficients": lifted_sample_cg,
    "the start: R is g, and P is the same": sample_cg_with(start=lambda K, g: K @ g, begins="P"),
    "the sign of the residual: R falls by α (KP + βP)": sample_cg_with(residual=1),
    "one step length for all units; sum over axis 0 only": sample_cg_with(products=total),
    "sums run over axis 0, the samples; these run over the units":
        sample_cg_with(products=lambda u, v: np.sum(u * v, axis=1, keepdims=True)),
    "the start: R is the coefficients of b = ãᵀg, which are g, not Kg": sample_cg_with(start=lambda K, g: K @ g),
    "the start, and the inner products: R is g, the coefficients of b = ãᵀg, not Kg; ⟨U, KV⟩ are those of θ":
        lambda K, g, beta, steps: coefficient_cg(K, g, beta, steps, start=lambda K, g: K @ g),
    "this is the exact solution, not so many steps":
        lambda K, g, beta, steps: np.linalg.solve(K + beta * np.eye(len(K)), g),
    "the loop ends after its first step: the return stands inside it":
        lambda K, g, beta, steps: sample_cg_with()(K, g, beta, 1),
    "the number of steps is off by one": lambda K, g, beta, steps: sample_cg_with()(K, g, beta, steps - 1),
    "one step too many": lambda K, g, beta, steps: sample_cg_with()(K, g, beta, steps + 1),
}


def sample_space_cg(answer, seed):
    """Exercise 6.4: ãᵀU is the CG iterate in θ."""
    rng = np.random.default_rng(seed)
    problems = [(rng.normal(size=(N, n)), rng.normal(size=(N, 2))) for N, n in ((6, 9), (9, 5))]
    beta = 2.0
    places = {1: "look at α: its two inner products are those of θ", 3: "one step is right: look at γ, or at the new R"}

    def claims(cg):
        for a, g in problems:
            M, b = tilde(a).T @ tilde(a) + beta * np.eye(a.shape[1] + 1), tilde(a).T @ g
            for steps in (1, 3):
                U = shaped("U", cg(tilde(a) @ tilde(a).T, g, beta, steps), g)
                outside, inside = krylov_misfit(M, b, tilde(a).T @ U, steps)
                where = f"N = {len(a)}, k = {steps}"
                yield Claim(f"{where}: ãᵀU lies in the Krylov space", outside, 1e-9, "look at P = R + γ P")
                yield Claim(f"{where}: its residual is orthogonal to it", inside, 1e-9, places[steps])
            U = shaped("U", cg(tilde(a) @ tilde(a).T, SMALL * g, beta, 5), g)
            misfit = max(krylov_misfit(M, SMALL * b, tilde(a).T @ U, 5))
            yield Claim(f"N = {len(a)}, k = 5, a small signal: ãᵀU and its residual likewise", misfit, 1e-8, GUARDED)
            U = [shaped("U", cg(tilde(a) @ tilde(a).T, size * g, beta, 2), g) / size for size in (TINY, 1)]
            yield claim(f"N = {len(a)}, k = 2, a tiny signal: U is in proportion to it", *U, 1e-2, GUARDED)

    def mistakes(cg):
        yield from slips(cg, [(tilde(a) @ tilde(a).T, g, beta, 3) for a, g in problems], WRONG_SAMPLE_CG)
        a, g = problems[0]
        K = tilde(a) @ tilde(a).T
        M, b = tilde(a).T @ tilde(a) + beta * np.eye(a.shape[1] + 1), tilde(a).T @ g
        found = [shaped("U", cg(K, g, beta, k), g) for k in (1, 2, 3)]
        yield all(same(U, library_sample_space_cg(K, g, beta, k)) for k, U in enumerate(found, start=1)), GUARDED
        right = library_sample_space_cg(K, g, beta, 1)
        yield (all(same(U, library_sample_space_cg(K, g, beta, len(g)), 1e-6) for U in found),
               "so many steps are taken whatever `steps` is; as many as are asked for")
        yield (any(same(found[0] - right, sign * start) for sign in (1, -1) for start in (g, K @ g)),
               "U starts at 0: d = 0 are the present weights")
        factor = times(found[2], library_sample_space_cg(K, g, beta, 3))
        yield factor == factor, f"U is {factor:.3g} times what it should be, for β = {beta:g}"
        yield from step_by_step(M, b, [tilde(a).T @ U for U in found[:2]],
                                ", and at its inner products, those of θ by (6.9)")

    return check("6.4", answer, claims, mistakes, fallback=library_sample_space_cg)


def dense_cg(M, b, steps):
    """Return the iterates d_1, …, d_steps of textbook CG on M d = b, for figures about rounding."""
    d, r, p, iterates = np.zeros_like(b), b, b, []
    for _ in range(steps):
        Mp, rho = M @ p, dots(r, r)
        alpha = rho / np.maximum(dots(p, Mp), 1e-300)
        d, r = d + alpha * p, r - alpha * Mp
        p = r + dots(r, r) / np.maximum(rho, 1e-300) * p
        iterates.append(d)
    return iterates


def chebyshev(kappa, k, half=1.0, root=np.sqrt):
    """Return the bound (6.6)."""
    return 2 * half * ((root(kappa) - 1) / (root(kappa) + 1)) ** k


def bounds(values, k, price=1, second=-2, lowest=0, order=np.sort, **slip):
    """Return (6.6) and (6.7)."""
    values = order(values)
    return (chebyshev(values[-1] / values[0], k, **slip),
            chebyshev(values[second] / values[lowest], k - price, **slip))


def library_steps_enough(eigenvalues, eps, take=min, later=0, **slip):
    """Return the least k at which the lower bound is at most ε."""
    return later + next(k for k in range(1, 100_000) if take(bounds(eigenvalues, k, **slip)) <= eps)


def enough_with(**slip):
    """Return a count with this slip."""
    return lambda eigenvalues, eps: library_steps_enough(eigenvalues, eps, **slip)


WRONG_COUNTS = {
    "only (6.6) is looked at; the smaller of the two bounds counts": enough_with(take=lambda pair: pair[0]),
    "only (6.7) is looked at, or (6.6) has k − 1, too; the smaller of the two bounds counts":
        enough_with(take=lambda pair: pair[1]),
    "both bounds are asked for, but one is enough: take the smaller of the two": enough_with(take=max),
    "removing one eigenvalue costs one step: (6.7) has k − 1": enough_with(price=0),
    "the roots are missing: the bounds have √κ": enough_with(root=lambda kappa: kappa),
    "the factor 2 of the bounds is missing, or 2ε stands for ε": enough_with(half=0.5),
    "off by one: the loop must end at the first k that is enough": enough_with(later=1),
    "off by one: this k is one step too few": enough_with(later=-1),
    "κ' leaves out the largest eigenvalue, not the two largest": enough_with(second=-3),
    "κ' leaves out the largest eigenvalue; it is the smallest here": enough_with(second=-1, lowest=1),
    "λ₂ is the largest eigenvalue but one; the smallest but one stands here": enough_with(second=1),
    "the root is taken twice: the bounds have √κ": enough_with(root=lambda kappa: kappa**0.25),
    "the eigenvalues come in any order: sort them": enough_with(order=np.asarray),
    "the eigenvalues come in any order, and not from the largest down: sort them":
        enough_with(order=lambda values: np.asarray(values)[::-1]),
    "removing one eigenvalue costs one step, not two: (6.7) has k − 1": enough_with(price=2),
    "κ' leaves out the largest eigenvalue alone; here the smallest is left out, too": enough_with(lowest=1),
    "the error may be ε, not ε/2": lambda values, eps: library_steps_enough(values, eps / 2),
    "that CG ends after n steps is exact arithmetic's; the bounds may promise ε later, and count alone":
        lambda values, eps: min(library_steps_enough(values, eps), len(values)),
    "√κ steps gain a factor, no ε: where is ε in it?": lambda values, eps:
        int(np.ceil(np.sqrt(np.max(values) / np.min(values)))),
    "the steps are counted by 1; here by 2": lambda values, eps:
        library_steps_enough(values, eps) // 2 * 2 + 1,
    "k goes on by 1; here it is doubled": lambda values, eps:
        int(2 ** np.ceil(np.log2(library_steps_enough(values, eps)))),
    "κ' is upside down: λ₂ over the smallest eigenvalue, not over the largest": enough_with(second=-2, lowest=-1),
    "κ has the largest eigenvalue above, not the mean": lambda values, eps: next(k for k in range(1, 100_000) if min(
        chebyshev(np.mean(values) / np.min(values), k), bounds(values, k)[1]) <= eps),
    "κ has the smallest eigenvalue below, not the mean": lambda values, eps: next(k for k in range(1, 100_000) if min(
        chebyshev(np.max(values) / np.mean(values), k), bounds(values, k)[1]) <= eps),
    "κ is a quotient: the smallest eigenvalue is missing in it":
        lambda values, eps: library_steps_enough(np.append(np.sort(values)[1:], 1.0), eps),
    "κ is a quotient, the largest over the smallest; this is a difference":
        lambda values, eps: next(k for k in range(1, 100_000) if min(
            chebyshev(np.ptp(values), k), chebyshev(np.sort(values)[-2] - np.min(values), k - 1)) <= eps),
    "always 1: does the loop go on while the bound is below ε, or is κ the smallest over the largest?":
        lambda values, eps: 1,
    "that CG ends after n steps is exact arithmetic's, and no bound on fewer": lambda values, eps: len(values),
    "½√κ log(2/ε) is simpler than (6.6) and larger, and (6.7) is not looked at": lambda values, eps:
        int(np.ceil(np.sqrt(np.max(values) / np.min(values)) / 2 * np.log(2 / eps))),
    "½√κ' log(2/ε) + 1 is simpler than (6.7) and may be larger, and (6.6) is not looked at": lambda values, eps:
        int(np.ceil(np.sqrt(np.sort(values)[-2] / np.min(values)) / 2 * np.log(2 / eps))) + 1,
    "rounded to the nearest: the first k that is enough is found by rounding up": lambda values, eps: max(1, round(min(
        np.log(eps / 2) / np.log(bounds(values, 1)[0] / 2), 1 + np.log(eps / 2) / np.log(bounds(values, 2)[1] / 2)))),
    "equal eigenvalues count once here; λ₂ of (6.7) is the largest but one, equal to it or not":
        enough_with(order=np.unique),
    "the bounds are multiplied; the smaller of the two counts": enough_with(take=np.prod),
    "the bounds are held against ε², but they bound the norm itself":
        lambda values, eps: library_steps_enough(values, eps**2),
    "the bounds are held against √ε, but they bound the norm itself":
        lambda values, eps: library_steps_enough(values, eps**0.5),
    "removing one eigenvalue costs one step: (6.7) has k − 1, not k + 1": enough_with(price=-1),
    "κ' is λ₂ over the smallest eigenvalue; here the largest stands over λ₂": enough_with(second=-1, lowest=-2),
    "the bounds are added; the smaller of the two counts": enough_with(take=sum),
    "two eigenvalues are left out here, for two steps; (6.7) leaves out one, for one": enough_with(second=-3, price=2),
    "the largest and the smallest eigenvalue are left out here, for two steps; (6.7) leaves out the largest, for one":
        enough_with(lowest=1, price=2),
    "the mean of the two bounds is looked at; the smaller of the two counts": enough_with(take=np.mean),
    "only (6.6) is looked at, and its k is rounded down: take the smaller bound, and round up":
        lambda values, eps: enough_with(take=lambda pair: pair[0])(values, eps) - 1,
}


def steps_enough(answer, seed):
    """Exercise 6.3: the least number of steps for which (6.6) or (6.7) promises an error of ε."""
    rng = np.random.default_rng(seed)
    even, alone = rng.uniform(1, 50, 12), np.append(rng.uniform(1, 3, 11), 900.0)
    groups = rng.permutation(np.append(rng.uniform(2, 4, 6), np.full(6, 60.0)))  # where (6.6) is the smaller bound
    enough = library_steps_enough(even, 1e-6)
    smaller = np.sqrt(min(bounds(even, enough)) * min(bounds(even, enough + 1)))  # takes one step more
    cases = [("even", even, 1e-6), ("one apart", rng.permutation(alone), 1e-4), ("all equal", np.full(6, 2.0), 1e-2),
             ("in two groups", groups, 1e-5), ("even, with a smaller ε", even, smaller),
             ("even, with a loose ε", even, 3.0), ("far apart", np.geomspace(1, 1e4, 9)[::-1], 1e-6)]
    late, early = cases[-1][1:], cases[0][1:]
    gives_up = (f"right for few steps; where {library_steps_enough(*late)} are needed the search ends before: "
                "let it go on until a bound holds")
    gives_none = (f"no number comes back where {library_steps_enough(*early)} steps are needed: the search ends "
                  "before; let it go on until a bound holds")

    def nothing(count, values, eps):
        """Whether no number comes back."""
        try:
            count(values, eps)
        except NoResultError:
            return True
        return False

    def fails(count, values, eps):
        """Whether an answer raises an error of arithmetic."""
        try:
            count(values, eps)
        except (ArithmeticError, ValueError):
            return True
        return False

    def claims(count):
        for name, values, eps in cases:
            try:
                k = count(values, eps)
            except NoResultError:
                if name != "far apart" and (name != "even" or nothing(count, *cases[2][1:])):
                    raise
                yield Claim(f"{name}: a number comes back", np.inf, 0, gives_up if name == "far apart" else gives_none)
                return
            yield Claim(f"{name}: a whole number, at least 1", abs(float(k) - max(1, round(float(k)))), 0,
                        "steps are counted: start at k = 1 and go on by 1")
            lower, before = min(bounds(values, int(k))), min(bounds(values, int(k) - 1)) if k > 1 else np.inf
            yield Claim(f"{name}: with k steps the lower bound exceeds ε by", beyond(lower - eps), 0,
                        "too few steps: is a factor of a bound missing?")
            yield Claim(f"{name}: with k − 1 it falls short of ε by", beyond(eps - before), 0,
                        "more steps than needed: which of the two bounds is the smaller one here?")
            b = np.ones((len(values), 1))
            if int(k) != library_steps_enough(values, eps):
                return  # and ask no more: a loop whose condition is turned may never end in a later case
            d = exact_arithmetic(np.diag(values), b, int(min(k, len(values))))
            rest = d - b / values[:, None]
            error = np.sqrt(np.sum(rest * values[:, None] * rest) / np.sum(b / values[:, None] * b))
            yield Claim(f"{name}: CG after k steps, its error over ε", error / eps, 1.0)

    def short_of(count):
        """Whether no number comes back where many steps are needed."""
        try:
            return count(*late) < library_steps_enough(*late)
        except NoResultError:
            return True

    def mistakes(count):
        questions = [(values, eps) for k in (0, 1, 3) for _, values, _ in cases[k:k + 1]
                     for eps in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)]
        yield nothing(count, *early), gives_none
        if all(float(count(*question)) % 1 for question in questions):
            yield True, "steps are whole: round up"
        yield from slips(count, questions, WRONG_COUNTS)
        yield (all(count(*question) == library_steps_enough(*question) for question in questions)
               and fails(count, *cases[2][1:]),
               "right but where all eigenvalues are equal: there κ is 1, (6.6) is 0, which has no logarithm, and one "
               "step is enough")
        yield (all(count(*question) == library_steps_enough(*question) for question in questions)
               and count(*cases[2][1:]) > library_steps_enough(*cases[2][1:]),
               "where one step is enough yours gives more: count from k = 1")
        yield (all(count(*question) == library_steps_enough(*question) for question in questions)
               and short_of(count), gives_up)
        yield (len({float(count(values, eps)) for values, eps in questions}) == 1,
               "the same number, whatever the eigenvalues and ε are")
        yield (all(count(values, 1e-2) == count(values, 1e-6) for _, values, _ in cases[:2]),
               "a smaller ε takes more steps; yours does not depend on it")
        for name, values, eps in cases:
            k, right = int(count(values, eps)), library_steps_enough(values, eps)
            yield k < 1, "k is at least 1: count from there, even where κ = 1 or ε is above 2"
            if k != right:
                all_of_it, apart = bounds(values, max(k, 1))
                yield True, (f"where the eigenvalues are {name.split(',')[0]} and ε = {eps:.3g} yours is {k}; there "
                             f"(6.6) is {all_of_it:.1e} and (6.7) {apart:.1e}: is κ, κ' or k − 1 another?")

    return check("6.3", answer, claims, mistakes, fallback=library_steps_enough)


def exact_arithmetic(M, b, steps):
    """Return the minimiser over the Krylov space, its basis kept orthogonal: CG without rounding."""
    basis = np.zeros((len(b), 0))
    for k in range(steps):
        new = b if k == 0 else M @ basis[:, -1:]
        for _ in range(2):
            new = new - basis @ (basis.T @ new)
        if np.linalg.norm(new) < 1e-10 * np.linalg.norm(b):
            break  # the space is complete
        basis = np.hstack([basis, new / np.linalg.norm(new)])
    return basis @ np.linalg.solve(basis.T @ M @ basis, basis.T @ b)


def unfinished(answer, seed):
    """Exercise 6.5: 16 eigenvalues, κ ≤ 1e4, for which CG is not done after 16 steps.

    Whatever the seed, the same draws are taken and their median counts: a spectrum near the border is judged alike
    in the notebook and when it is graded.
    """
    draws = [np.random.default_rng(draw) for draw in range(9)]
    problems = [(np.linalg.qr(rng.normal(size=(16, 16)))[0], rng.normal(size=(16, 5))) for rng in draws]

    def in_a_row(spectrum):
        """Return a spectrum as an array, one that is a column as a row."""
        values = np.asarray(spectrum, dtype=float)
        return values.ravel() if values.shape in ((16, 1), (1, 16)) else values

    def remaining(values):
        """Return the relative error in the norm of M, the least over five right sides: the median over nine bases."""
        errors = []
        for Q, b in problems:
            M, exact = Q * values @ Q.T, Q / values @ Q.T @ b
            rest = exact - dense_cg(M, b, 16)[-1]
            errors.append(np.sqrt(dots(rest, M @ rest) / dots(exact, M @ exact)).min())
        return float(np.median(errors))

    def claims(spectrum):
        values = in_a_row(spectrum)
        yield Claim("16 numbers in one row", float(values.shape != (16,)), 0)
        if values.shape != (16,):
            return
        yield Claim("all are positive (shortfall)", float(not values.min() > 0), 0.0)
        yield Claim("κ is at most 1e4 (excess, relative)", beyond(np.ptp(values) / values.min() / 1e4 - 1), 1e-9)
        yield Claim("error after 16 steps above 1 %, median (shortfall)", beyond(0.01 - remaining(values)), 1e-9,
                    "how are the eigenvalues spread?")

    def mistakes(spectrum):
        shape, values = np.shape(spectrum), in_a_row(spectrum)
        yield len(shape) == 1 and shape != (16,), f"16 eigenvalues are asked for; here are {np.size(spectrum)}"
        yield values.shape != (16,), ("one number comes; " if shape == () else f"an array of shape {shape} comes; ") + \
            "the 16 eigenvalues alone are asked for, in one row"
        values = np.sort(values)
        yield (same(np.diff(values), np.full(15, np.diff(values).mean())) and values[0] == 0 and values[-1] <= 16,
               "an eigenvalue is 0, and all are evenly spaced: are these the exponents of 10?")
        kappa, left = values[-1] / values[0], remaining(values)
        yield values[0] <= 0, "M is positive definite: its eigenvalues are positive"
        yield same(np.diff(values), np.full(15, np.diff(values).mean())) and kappa > 100, \
            "evenly spaced, so that most of them are large and, seen by their ratios, alike: few steps deal with them"
        yield kappa > 1.0001e4, "κ may be at most 10⁴"
        yield np.sum(np.diff(values) > 1e-9 * values[1:]) < 12, \
            "too few distinct eigenvalues: a polynomial of low degree vanishes on all of them, and CG ends early"
        well = "so well conditioned that CG converges before rounding matters"
        yield left < 1e-9 and kappa < 50, well
        gaps = np.diff(np.log(values))
        yield (gaps.max() > 4 * np.median(gaps),
               "some lie close to one another, seen by their ratios: few steps deal with them")
        yield left < 1e-9, well
        yield True, f"rounding leaves an error of {left:.0e} after 16 steps, but not yet by one percent: a larger κ"

    return check("6.5", answer, claims, mistakes)


class Counting(np.ndarray):
    """An array that counts multiplications and additions of its matrix products, half of those of AAᵀ and AᵀA."""

    operations = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [x.view(np.ndarray) if isinstance(x, Counting) else x for x in inputs]
        if out is not None:
            options["out"] = tuple(x.view(np.ndarray) if isinstance(x, Counting) else x for x in out)
        if ufunc is np.matmul:
            symmetric = np.may_share_memory(*plain)  # one half of the entries are those of the other
            Counting.operations += (2 - symmetric) * plain[0].size * (plain[1].shape[1] if plain[1].ndim > 1 else 1)
        result = getattr(ufunc, method)(*plain, **options)
        return result.view(Counting) if isinstance(result, np.ndarray) else result


def count_products(side, N, n, m, steps):
    """Return the operations in matrix products of `steps` CG steps: the library's on one side, or a textbook's.

    The textbook's is matrix-free: it multiplies by ã, then by ãᵀ.
    """
    rng = np.random.default_rng(0)
    a, g = rng.normal(size=(N, n)).view(Counting), rng.normal(size=(N, m)).view(Counting)
    Counting.operations = 0
    if side == "matrix-free":
        a_tilde = tilde(a).view(Counting)
        r = p = a_tilde.T @ g
        d = 0 * r
        for _ in range(steps):
            Mp, rho = a_tilde.T @ (a_tilde @ p) + p, dots(r, r)
            alpha = rho / dots(p, Mp)
            d, r = d + alpha * p, r - alpha * Mp
            p = r + dots(r, r) / rho * p
    else:
        gram = Gram(a, side=side)
        gram.matrix = gram.matrix.view(Counting)
        solvers.conjugate_gradients(gram, g, 1.0, steps)
    return Counting.operations


close_to_answers(globals())
