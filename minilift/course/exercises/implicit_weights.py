r"""Checks of notebook 05: the implicit step in the weights of one layer,

.. math:: \arg\min_\theta \tfrac12\|\tilde a\theta - z^{½}\|^2 + \tfrac{1}{2\tau_\theta}\|\theta - \theta_k\|^2.
"""

from __future__ import annotations

import tracemalloc

import numpy as np

from minilift.course.teach import Claim, beyond, check, claim, close_to_answers, same, slips, times
from minilift.layers.gram import Gram
from minilift.local.solvers import damped_solve


def tilde(a):
    """Return [a 1]."""
    return np.hstack([a, np.ones((len(a), 1))])


def damped(a, tau_theta):
    """Return M = ãᵀã + I/τ_θ, formed plainly."""
    return tilde(a).T @ tilde(a) + np.eye(a.shape[1] + 1) / tau_theta


def largest_at_once(function, *arguments):
    """Return the most memory, in bytes, that a call held at one time beyond what it was given."""
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        function(*arguments)
        return max(0, tracemalloc.get_traced_memory()[1] - before)
    finally:
        if not running:
            tracemalloc.stop()


def library_implicit_weights(a, theta_k, z_half, tau_theta):
    """Return the new θ by the library's damped least squares for the difference."""
    gram = Gram(a)
    return theta_k - damped_solve(gram, gram.apply(theta_k) - z_half, 1 / tau_theta).value


def one(t, N):
    """Return 1."""
    return 1.0


def weights_with(damping=lambda t, N: 1 / t, right=lambda t, N: 1 / t, target=one, ones=1.0, sign=1.0, fit=one,
                 identity=np.eye, bias=1.0, hit=lambda z_half, z: z_half, first=False):
    """Return the new θ of (5.1) with a slip in it: the damping, that on the right side, the target, the ones."""
    def solve(a, theta_k, z_half, tau_theta):
        inputs, N, n = np.hstack([a, ones * np.ones((len(a), 1))]), len(a), len(theta_k)
        if first:
            inputs = np.roll(inputs, 1, axis=1)
        on = identity(n) * np.append(np.ones(n - 1), bias)[:, None]
        matrix = fit(tau_theta, N) * inputs.T @ inputs + damping(tau_theta, N) * on
        aim = target(tau_theta, N) * inputs.T @ hit(z_half, inputs @ theta_k)
        return np.linalg.solve(matrix, aim + sign * right(tau_theta, N) * theta_k)
    return solve


WRONG_WEIGHTS = {
    "τ_θ divides: the damping is 1/τ_θ, so that a large step size damps little":
        weights_with(lambda t, N: t, lambda t, N: t),
    "θ is pulled towards 0 (weight decay); it must be pulled towards θ_k": weights_with(right=lambda t, N: 0.0),
    "the fit in (11) is not averaged over the batch": weights_with(lambda t, N: N / t, lambda t, N: N / t),
    "the weight of θ_k on the right is not that of I on the left: both come from the second term of (11)":
        weights_with(right=lambda t, N: 1.0),
    "the weight 1/τ_θ of I is missing": weights_with(lambda t, N: 1.0),
    "the damping is missing on the left": weights_with(lambda t, N: 1e-12),
    "the damping is missing on both sides: this is least squares": weights_with(lambda t, N: 1e-12, lambda t, N: 0.0),
    "the sign of θ_k on the right": weights_with(sign=-1.0),
    "the target is missing on the right": weights_with(target=lambda t, N: 0.0),
    "a factor 2: both terms of (11) have a ½": weights_with(lambda t, N: 2 / t, lambda t, N: 2 / t),
    "a factor ½: both terms of (11) have one": weights_with(lambda t, N: 1 / (2 * t), lambda t, N: 1 / (2 * t)),
    "the bias stays as it was, for a alone is fitted to z^½: ã has a column of ones, and θ a row for it":
        weights_with(ones=0.0),
    "the weight of I on the left is upside down, that of θ_k is not": weights_with(lambda t, N: t),
    "the weight of θ_k on the right is upside down, that of I is not": weights_with(right=lambda t, N: t),
    "all of (5.1) is multiplied by τ_θ but for the target": weights_with(
        lambda t, N: 1.0, lambda t, N: 1.0, fit=lambda t, N: t),
    "the sign of the target on the right": weights_with(target=lambda t, N: -1.0),
    "ãᵀã is divided by N on the left only; the fit in (11) is a sum": weights_with(fit=lambda t, N: 1 / N),
    "ãᵀz^½ is divided by N on the right only; the fit in (11) is a sum": weights_with(target=lambda t, N: 1 / N),
    "a matrix of ones stands where the identity belongs: np.eye, not np.ones":
        weights_with(identity=lambda n: np.ones((n, n))),
    "the bias is damped on the left as well: it is part of θ": weights_with(bias=0.0),
    "the ones are the last column of ã, as the bias is the last row of θ": weights_with(first=True),
    "the residual stands where the target belongs, with the wrong sign":
        weights_with(hit=lambda z_half, z: z - z_half),
    "the residual stands where the target belongs":
        weights_with(hit=lambda z_half, z: z_half - z),
    "a ½ too many in the damping on the left": weights_with(lambda t, N: 1 / (2 * t)),
    "a ½ too many in the damping on the right": weights_with(right=lambda t, N: 1 / (2 * t)),
    "multiplied by the matrix instead of solving with it": lambda a, theta_k, z_half, t:
        damped(a, t) @ (tilde(a).T @ z_half + theta_k / t),
    "a matrix is not inverted entry by entry: np.linalg.solve": lambda a, theta_k, z_half, t:
        (1 / damped(a, t)) @ (tilde(a).T @ z_half + theta_k / t),
    "the weights alone are fitted, to what the old bias leaves; all of θ, bias included, is to move":
        lambda a, theta_k, z_half, t: np.vstack([np.linalg.solve(
            a.T @ a + np.eye(a.shape[1]) / t, a.T @ (z_half - theta_k[-1]) + theta_k[:-1] / t), theta_k[-1:]]),
    "only the diagonal of the matrix is used: solve with all of it": lambda a, theta_k, z_half, t:
        (tilde(a).T @ z_half + theta_k / t) / np.diag(damped(a, t))[:, None],
    "the bias is fitted afterwards, as a mean; it is part of θ, damped and solved for with it":
        lambda a, theta_k, z_half, t: (lambda W: np.vstack([W, (z_half - a @ W).mean(axis=0)]))(np.linalg.solve(
            a.T @ a + np.eye(a.shape[1]) / t, a.T @ z_half + theta_k[:-1] / t)),
    "this mixes least squares with θ_k by two weights; (5.1) is a solve, whose matrix holds the damping":
        lambda a, theta_k, z_half, t: (np.linalg.lstsq(tilde(a), z_half, rcond=None)[0] + theta_k / t) / (1 + 1 / t),
    "this is added to θ_k, so that it must be made of z^½ − ãθ_k, not of z^½": lambda a, theta_k, z_half, t:
        theta_k + np.linalg.solve(damped(a, t), tilde(a).T @ z_half),
    "θ_k/τ_θ is added after the solve; it belongs to the right side, before it": lambda a, theta_k, z_half, t:
        theta_k / t + np.linalg.solve(damped(a, t), tilde(a).T @ z_half),
    "the damping is 1/τ_θ, not 1/τ_θ²": weights_with(lambda t, N: 1 / t**2, lambda t, N: 1 / t**2),
    "no further τ_θ: here it multiplies all of the right side, or the solution":
        lambda a, theta_k, z_half, t: t * weights_with()(a, theta_k, z_half, t),
    "this is the change of θ; the new θ is wanted":
        lambda a, theta_k, z_half, tau_theta: theta_k - weights_with()(a, theta_k, z_half, tau_theta),
    "this is the change of θ, new minus old; the new θ is wanted":
        lambda a, theta_k, z_half, tau_theta: weights_with()(a, theta_k, z_half, tau_theta) - theta_k,
    "this is an explicit step: its slope is taken at θ_k, not at the new θ":
        lambda a, theta_k, z_half, tau_theta: theta_k - tau_theta * tilde(a).T @ (tilde(a) @ theta_k - z_half),
}


def implicit_weights(answer, seed):
    """Exercise 5.1: the gradient of (11) vanishes at the answer."""
    rng = np.random.default_rng(seed)
    shapes = ((7, 4), (4, 7))
    problems = [(rng.normal(size=(N, n)), rng.normal(size=(n + 1, 3)), rng.normal(size=(N, 3))) for N, n in shapes]

    def claims(found):
        for a, theta_k, z_half in problems:
            for tau_theta in (1e-3, 0.2, 50.0):
                new = found(a, theta_k, z_half, tau_theta)
                residual = tilde(a).T @ (tilde(a) @ new - z_half) + (new - theta_k) / tau_theta
                yield claim(f"N = {len(a)}, n = {a.shape[1]}, τ_θ = {tau_theta:g}: gradient of (11) vanishes",
                            residual, np.zeros_like(theta_k), max(1e-11, 1e-13 / tau_theta),  # of θ, rounded
                            look="put your θ into the gradient of (11): its two terms must cancel")

    def mistakes(found):
        (a, theta_k, z_half), tau_theta = problems[0], 0.2
        new = found(a, theta_k, z_half, tau_theta)
        loose = np.diag([1.0] * a.shape[1] + [0.0]) / tau_theta
        free_bias = np.linalg.solve(tilde(a).T @ tilde(a) + loose, tilde(a).T @ z_half + loose @ theta_k)
        yield same(new, free_bias), "the bias is damped as well: it is part of θ"
        yield from slips(found, [(a, theta_k, z_half, t) for t in (0.2, 3.0)], WRONG_WEIGHTS)
        right_at = [same(found(a, theta_k, z_half, t), library_implicit_weights(a, theta_k, z_half, t))
                    for t in (1e-3, 0.2)]
        yield right_at == [False, True], \
            "right for τ_θ = 0.2, wrong for 0.001: does an iteration take steps that are too long there? Solve (5.1)"
        rows = {len(theta_k) - 1: ": the row of the bias is missing; ã, not a, is fitted",
                len(a): ": a row for each sample; ããᵀ stands where ãᵀã belongs"}.get(len(np.atleast_1d(new)), "")
        yield np.shape(new) != theta_k.shape, f"θ has shape {np.shape(new)} where {theta_k.shape} is expected{rows}"
        yield same(new, theta_k), "θ_k comes back: the target is z^½, not z = ãθ_k"
        inputs, change = tilde(a), new - theta_k
        yield (same(new, library_implicit_weights(a, theta_k, z_half, tau_theta), 1e-2)
               and np.array_equal(new, np.round(new, 6)), "the result is rounded: all its digits are wanted")
        yield (same(new, library_implicit_weights(a, theta_k, z_half, tau_theta), 1e-5),
               "right up to some digits: is an array of type float32, or does an iteration stop too early?")
        right = library_implicit_weights(a, theta_k, z_half, tau_theta) - theta_k
        far, explicit = times(change, right), times(change, inputs.T @ (z_half - inputs @ theta_k))
        acting = times(change, inputs.T @ (z_half - inputs @ new))
        yield far == far, f"θ moves {far:.3g} times as far as it should: a sign, a τ_θ or an N too many?"
        yield explicit == explicit, f"this is an explicit step of length {explicit:.3g}: its slope is taken at θ_k"
        yield acting == acting, f"your θ solves (11) for a damping of {1 / acting:.3g}; 1/τ_θ is {1 / tau_theta:.3g}"
        yield (not same(found(a, theta_k, inputs @ theta_k, tau_theta), theta_k),
               "where θ_k fits z^½ already, θ must stay; yours moves: do both sides of (5.1) hold the same weights?")
        last = found(a, theta_k, z_half, 1e-8) - theta_k
        yield (not same(last, 0 * last, 1e-3), "for τ_θ → 0 θ must stay at θ_k; yours moves")
        yield (same(found(a, theta_k, z_half, 1e-5) - theta_k, 1e-5 * inputs.T @ (z_half - inputs @ theta_k), 1e-8),
               "right for a tiny τ_θ only: is a matrix solved with, or are steps taken?")

    return check("5.1", answer, claims, mistakes, fallback=library_implicit_weights)


def library_coefficients(a, g, tau_theta):
    """Return U with the library's Gram matrix of the samples."""
    return np.linalg.solve(Gram(a, side="sample").matrix + np.eye(len(a)) / tau_theta, g)


def coefficients_with(ones=1.0, damping=lambda t, N: 1 / t, right=lambda K, g: g, mean=False, identity=np.eye,
                      centred=False):
    """Return U with a slip in it: the ones in K, the damping, the right side."""
    def solve(a, g, tau_theta):
        a = a - a.mean(axis=0) if centred else a
        K = (a @ a.T + ones) / (len(a) if mean else 1)
        return np.linalg.solve(K + damping(tau_theta, len(a)) * identity(len(a)), right(K, g))
    return solve


WRONG_COEFFICIENTS = {
    "the column of ones is missing: ããᵀ = aaᵀ + 11ᵀ": coefficients_with(ones=0.0),
    "τ_θ divides: β = 1/τ_θ": coefficients_with(damping=lambda t, N: t),
    "the damping β is missing": coefficients_with(damping=lambda t, N: 1e-12),
    "β is 1 here, whatever τ_θ is": coefficients_with(damping=lambda t, N: 1.0),
    "the solve is missing: this gives the gradient, times τ_θ": lambda a, g, t: t * g,
    "the solve is missing: this gives the gradient": lambda a, g, t: 1.0 * g,
    "g is centred here, and the ones are missing in K": lambda a, g, t:
        coefficients_with(ones=0.0)(a, g - g.mean(axis=0), t),
    "the ones are added on the diagonal only; 11ᵀ is full":
        lambda a, g, t: np.linalg.solve(a @ a.T + (1 + 1 / t) * np.eye(len(a)), g),
    "β is not averaged: it has no N": coefficients_with(damping=lambda t, N: 1 / (t * N)),
    "β is not summed: it has no N": coefficients_with(damping=lambda t, N: N / t),
    "the sign of β": coefficients_with(damping=lambda t, N: -1 / t),
    "1/τ_θ multiplies ããᵀ here: in (5.3) β stands before I": lambda a, g, t:
        np.linalg.solve(np.eye(len(a)) + (a @ a.T + 1) / t, g),
    "this is KU: the right side is g, not Kg, or the solution is multiplied by K once more":
        coefficients_with(right=lambda K, g: K @ g),
    "multiplied by K + βI instead of solving with it":
        lambda a, g, t: (a @ a.T + 1 + np.eye(len(a)) / t) @ g,
    "a ½ too many in β": coefficients_with(damping=lambda t, N: 1 / (2 * t)),
    "K is no mean: it has no N": coefficients_with(mean=True),
    "β stands on the diagonal: np.eye, not np.ones": coefficients_with(identity=lambda N: np.ones((N, N))),
    "only the diagonal of ããᵀ + βI is used: solve with all of it": lambda a, g, t:
        g / (np.sum(a**2, axis=1) + 1 + 1 / t)[:, None],
    "the products in K have their sign: no absolute values":
        lambda a, g, t: np.linalg.solve(abs(a @ a.T) + 1 + np.eye(len(a)) / t, g),
    "this is the solution to second order in τ_θ only; solve with the matrix": lambda a, g, t:
        t * (g - t * (a @ a.T + 1) @ g),
    "the ones are added twice: ããᵀ = aaᵀ + 11ᵀ": coefficients_with(ones=2.0),
    "the activations are centred here, and the ones are missing": coefficients_with(ones=0.0, centred=True),
    "the activations are centred here; ããᵀ has them as they are": coefficients_with(centred=True),
    "a factor 2 in β": coefficients_with(damping=lambda t, N: 2 / t),
    "g is centred here; the right side is g as it is": lambda a, g, t: coefficients_with()(a, g - g.mean(axis=0), t),
    "β is added after the solve; it belongs to the matrix, before it": lambda a, g, t:
        np.linalg.pinv(a @ a.T + 1) @ g + g / t,
    "β is added after the inversion; it belongs to the matrix, before it": lambda a, g, t:
        np.linalg.pinv(a @ a.T + 1) @ g + t * g,
    "the damping is 1/τ_θ, not 1/τ_θ²": coefficients_with(damping=lambda t, N: 1 / t**2),
    "the sign: d = ãᵀU goes along +∇J": lambda a, g, t: -coefficients_with()(a, g, t),
}


def coefficients(answer, seed):
    """Exercise 5.2: d = ãᵀU satisfies M d = ãᵀg."""
    rng = np.random.default_rng(seed)
    problems = [(rng.normal(size=(N, n)), rng.normal(size=(N, 2))) for N, n in ((6, 12), (12, 5))]
    wide = rng.normal(size=(4, 400)), rng.normal(size=(4, 2)), 0.4
    forms_M = "right numbers, but an array as large as M is formed: all that is needed is N × N"

    def claims(found):
        for a, g in problems:
            for tau_theta in (0.2, 50.0):
                U = np.asarray(found(a, g, tau_theta), dtype=float)
                if U.shape != g.shape:
                    raise ValueError(f"U has shape {U.shape} where {g.shape} is expected, one row a sample")
                case = f"N = {len(a)}, n = {a.shape[1]}, τ_θ = {tau_theta:g}"
                yield claim(f"{case}: M ãᵀU = ãᵀg", damped(a, tau_theta) @ tilde(a).T @ U, tilde(a).T @ g, 1e-11,
                            look="look at the matrix of (5.3): its column of ones, and where β stands")
        yield Claim("n = 400: memory used beyond half of that of M, over that of M",
                    beyond(largest_at_once(found, *wide) / (8 * 401**2) - 0.5), 0, forms_M)

    def mistakes(found):
        a, g = problems[0]
        yield np.shape(found(a, g, 0.2)) == (a.shape[1] + 1, g.shape[1]), \
            "this is d itself; its coefficients U are asked for"
        yield all(np.shape(found(a, g, t)) == g.shape
                  and same(tilde(a).T @ found(a, g, t), tilde(a).T @ library_coefficients(a, g, t), 1e-8)
                  for a, g in problems for t in (0.2, 50.0)), forms_M
        yield from slips(found, [(a, g, t) for t in (0.2, 3.0)], WRONG_COEFFICIENTS)
        K, U = a @ a.T + 1, found(a, g, 0.2)
        yield np.shape(U) != g.shape, f"U has shape {np.shape(U)} where {g.shape} is expected, one row a sample"
        yield (same(U, library_coefficients(a, g, 0.2), 1e-2) and np.array_equal(U, np.round(U, 6)),
               "the result is rounded: all its digits are wanted")
        factor, acting = times(U, library_coefficients(a, g, 0.2)), times(g - K @ U, U)
        yield factor == factor, f"U is {factor:.3g} times what it should be, for τ_θ = 0.2 and N = {len(a)}"
        yield acting == acting, f"your U solves (K + βI)U = g for β = {acting:.3g}; 1/τ_θ is 5"
        tiny = 1e-6
        yield (not same(found(a, g, tiny) / tiny, g, 1e-3), "for τ_θ → 0 the damping wins, and U must become τ_θ g; "
                                                            "yours does not: what stands in the filter, or on I?")
        acting_K = (tiny * g - found(a, g, tiny)) / tiny**2  # (K + I/τ)⁻¹ = τI − τ²K + …
        yield not same(acting_K, K @ g, 1e-2), "the matrix that is damped is not ããᵀ: it has aaᵀ, and a 1 in each entry"

    return check("5.2", answer, claims, mistakes, fallback=library_coefficients)


def library_cosine_bound(a, tau_theta):
    """Return the bound from the condition number of the library's damped matrix."""
    kappa = np.linalg.cond(Gram(a, side="parameter").matrix + np.eye(a.shape[1] + 1) / tau_theta)
    return 2 * np.sqrt(kappa) / (1 + kappa)


def bound_with(square=np.square, damping=lambda t: 1 / t, ones=1.0, formula=lambda k: 2 * np.sqrt(k) / (1 + k),
               ends=lambda values: (values[-1], values[0]), mean=False, of_both=None):
    """Return a bound with a slip in it: singular values, damping, ones, the formula in κ, or in λ_min and λ_max."""
    def bound(a, tau_theta):
        inputs = tilde(a) if ones else a
        values = square(np.linalg.svd(inputs, compute_uv=False)) / (len(a) if mean else 1) + damping(tau_theta)
        m, L = ends(values)
        return formula(L / m) if of_both is None else of_both(m, L)
    return bound


def equal_parts(a, tau_theta):
    """Return the cosine of the gradient that has equal parts in all eigenvectors of M."""
    step = 1 / (np.linalg.svd(tilde(a), compute_uv=False) ** 2 + 1 / tau_theta)
    return step.sum() / np.sqrt(len(step)) / np.linalg.norm(step)


def in_no_order(a, tau_theta):
    """Return the bound from the first and the last eigenvalue that np.linalg.eigvals gives."""
    first, *_, last = np.linalg.eigvals(damped(a, tau_theta))
    return 2 * np.sqrt(first * last) / (first + last)


WRONG_BOUNDS = {
    "λ_min and λ_max are the least and the largest eigenvalue: np.linalg.eigvals and eig do not sort": in_no_order,
    "this is for the undamped matrix; M has I/τ_θ added": bound_with(damping=lambda t: 0.0),
    "τ_θ divides: M has I/τ_θ added": bound_with(damping=lambda t: t),
    "the damping is 1 here, whatever τ_θ is": bound_with(damping=lambda t: 1.0),
    "true, but no gradient comes near it: use both parts of (5.7)": bound_with(formula=lambda k: 1 / k),
    "true, but no gradient comes near it: use both parts of (5.7), not 1/√κ":
        bound_with(formula=lambda k: 1 / np.sqrt(k)),
    "these are singular values of ã; the eigenvalues of ãᵀã are their squares": bound_with(square=np.asarray),
    "squared twice: singular values squared are the eigenvalues": bound_with(square=lambda v: v**4),
    "the square root of κ is missing": bound_with(formula=lambda k: 2 * k / (1 + k)),
    "the factor 2 is missing": bound_with(formula=lambda k: np.sqrt(k) / (1 + k)),
    "a factor 2 too many": bound_with(formula=lambda k: 4 * np.sqrt(k) / (1 + k)),
    "λ_max is the largest eigenvalue, not their mean; and use both parts of (5.7)": lambda a, t:
        (lambda values: values[-1] / values.mean())(np.linalg.svd(tilde(a), compute_uv=False) ** 2 + 1 / t),
    "λ_min is the smallest eigenvalue, not their mean; and use both parts of (5.7)": lambda a, t:
        (lambda values: values.mean() / values[0])(np.linalg.svd(tilde(a), compute_uv=False) ** 2 + 1 / t),
    "one root too many: above stands one, below none": bound_with(formula=lambda k: 2 * np.sqrt(k) / (1 + np.sqrt(k))),
    "one root too many, and none above: (5.7) has it in the product":
        bound_with(formula=lambda k: 2 / (1 + np.sqrt(k))),
    "λ_min is the smallest eigenvalue, not their mean": bound_with(ends=lambda values: (values.mean(), values[0])),
    "λ_max is the largest eigenvalue, not the trace of ãᵀã, damped": lambda a, t: (lambda s: bound_with(
        ends=lambda values: (values[-1], np.sum(s**2) + 1 / t))(a, t))(np.linalg.svd(tilde(a), compute_uv=False)),
    "this is the sine of that angle: the cosine is asked for":
        bound_with(formula=lambda k: (k - 1) / (k + 1)),
    "the root is missing above": bound_with(of_both=lambda m, L: 2 * m * L / (m + L)),
    "the cosine itself is asked for; this is its square": bound_with(formula=lambda k: 4 * k / (1 + k) ** 2),
    "λ_min is the smallest eigenvalue; this is the second smallest":
        bound_with(ends=lambda values: (values[-2], values[0])),
    "λ_max is the largest eigenvalue; this is the second largest":
        bound_with(ends=lambda values: (values[-1], values[1])),
    "λ_max is the largest eigenvalue, not the sum of all": bound_with(ends=lambda values: (values[-1], values.sum())),
    "true of any descent direction, but no gradient comes near it": lambda a, t: 0.0,
    "true of any cosine, but no gradient comes near it": lambda a, t: -1.0,
    "upside down: a cosine is at most 1": bound_with(formula=lambda k: (1 + k) / (2 * np.sqrt(k))),
    "ãᵀã is a sum over the samples, no mean": bound_with(mean=True),
    "λ_max lacks its damping: both ends of M's eigenvalues have 1/τ_θ added": lambda a, t: bound_with(
        ends=lambda values: (values[-1], values[0] - 1 / t))(a, t),
    "λ_min lacks its damping: both ends of M's eigenvalues have 1/τ_θ added": lambda a, t: bound_with(
        ends=lambda values: (values[-1] - 1 / t, values[0]))(a, t),
    "a difference stands below, and a negative one: look at the left side of (5.7)": bound_with(
        of_both=lambda m, L: 2 * np.sqrt(m * L) / (m - L)),
    "a difference stands below: look at the left side of (5.7)": bound_with(
        of_both=lambda m, L: 2 * np.sqrt(m * L) / (L - m)),
    "sum and product are exchanged": bound_with(of_both=lambda m, L: 2 * np.sqrt(m + L) / (m * L)),
    "this is the angle; its cosine is asked for": bound_with(formula=lambda k: np.arccos(2 * np.sqrt(k) / (1 + k))),
    "λ_min is 1/τ_θ here, as of ããᵀ + I/τ_θ; no gradient enters its null space: take ãᵀã + I/τ_θ": lambda a, t:
        bound_with(ends=lambda values: (1 / t, values[0]))(a, t),
    "λ_min and λ_max are eigenvalues of M; here they are squared once more":
        bound_with(formula=lambda k: 2 * k / (1 + k**2)),
    "λ_min and λ_max are eigenvalues of M; here their roots stand": bound_with(
        formula=lambda k: 2 * np.sqrt(np.sqrt(k)) / (1 + np.sqrt(k))),
    "this is the cosine of one gradient, with equal parts in all eigenvectors; the worst one is asked for": equal_parts,
    "the damping is added to each eigenvalue, not to κ": lambda a, t: (lambda k: 2 * np.sqrt(k) / (1 + k))(
        bound_with(damping=lambda t: 0.0, formula=lambda k: k)(a, t) + 1 / t),
    "this is the cosine in a right-angled triangle of sides √λ_min and √λ_max; the bound is that of (5.7)":
        bound_with(formula=lambda k: 1 / np.sqrt(1 + k)),
    "this is κ; the bound is a function of it": bound_with(formula=lambda k: k),
    "the column of ones is missing": bound_with(ones=0.0),
}


def cosine_bound(answer, seed):
    """Exercise 5.3: no gradient violates the bound, and one reaches it."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(12, 4)) * [3.0, 1.0, 0.5, 0.2]
    gradients = rng.normal(size=(500, 5))
    diagonal = np.diag([1.0, 3.0, 2.0, 0.2])
    unsorted = np.vstack([diagonal, -diagonal])  # ãᵀã is diagonal: 2, 18, 8, 0.08 and 8 stand in no order

    def cosines(gradients, tau_theta):
        d = np.linalg.solve(damped(a, tau_theta), gradients.T).T
        return np.sum(gradients * d, axis=1) / (np.linalg.norm(gradients, axis=1) * np.linalg.norm(d, axis=1))

    def worst(tau_theta):
        """Return the gradient that d leaves farthest: parts in the two extreme eigenvectors, as their roots."""
        values, vectors = np.linalg.eigh(damped(a, tau_theta))
        return np.sqrt(values[0]) * vectors[:, 0] + np.sqrt(values[-1]) * vectors[:, -1]

    def claims(bound):
        for tau_theta in (0.01, 1.0, 100.0):
            value = bound(a, tau_theta)
            if np.ndim(value):
                raise ValueError("one number is asked for, and an array or a list comes")
            value = float(value)
            yield Claim(f"τ_θ = {tau_theta:g}: 500 gradients do not fall below it (shortfall)",
                        beyond(value - cosines(gradients, tau_theta).min()), 1e-12)
            yield claim("  and one gradient reaches it", cosines(worst(tau_theta)[None], tau_theta)[0], value, 1e-9,
                        look="a bound, but not the largest: put the worst gradient's two parts into the cosine")
        yield claim("another a, τ_θ = 1: the bound", bound(unsorted, 1.0), library_cosine_bound(unsorted, 1.0), 1e-9)

    def mistakes(bound):
        yield from slips(bound, [(a, 0.5), (a, 2.0), (unsorted, 1.0)], WRONG_BOUNDS)
        value = bound(a, 0.5)
        yield np.size(value) > 1, "one number is asked for: that of the two extreme eigenvalues"
        yield (not 0 <= float(value) <= 1,
               f"the cosine of a descent direction lies between 0 and 1; yours is {value:.3g}")
        tiny = float(bound(a, 1e-9))
        yield (not same(tiny, 1.0, 1e-4), f"for τ_θ → 0 M is a multiple of I, d is ∇J, and the bound must be 1; yours "
                                          f"is {tiny:.3g}: is each eigenvalue damped, and κ = λ_max/λ_min?")
        Q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
        yield (not same(float(bound(a @ Q, 0.5)), float(value)), "inputs turned by an orthogonal matrix leave the "
               "eigenvalues as they are, and your bound changes: are they sorted, or are gradients drawn?")
        yield (not same(float(bound(np.vstack([a, a]), 0.25)), float(value)), "each sample twice and half of τ_θ "
               "double M, and κ stays, yet your bound changes: are eigenvalues s² + 1/τ_θ?")
        kappa, cosine = np.linalg.cond(damped(a, 0.5)), cosines(worst(0.5)[None], 0.5)[0]
        side = "too large: a gradient falls below it" if value > cosine else "true, but no gradient comes so low"
        yield True, f"{side}. For κ = {kappa:.3g} yours is {value:.3g}: where do λ_min and λ_max stand in (5.7)?"

    return check("5.3", answer, claims, mistakes, fallback=library_cosine_bound)


def lost_digits(answer, seed):
    """Exercise 5.4: shapes and τ_θ for which the sample side loses half its digits, the parameter side does not.

    Whatever the seed, the same draws are taken and their median counts: an answer near the border is judged alike
    in the notebook and when it is graded.
    """
    def sizes(found):
        return int(found[0]), int(found[1]), float(found[2])

    def errors(found):
        """Return the relative errors of the sample-space and of the parameter form, the medians of seven draws."""
        return np.median([errors_of(*sizes(found), np.random.default_rng(draw)) for draw in range(7)], axis=0)

    def errors_of(samples, inputs, tau_theta, rng):
        """Return both errors for one draw of a and g."""
        a, g = rng.normal(size=(samples, inputs)), rng.normal(size=(samples, 3))
        Q, s, Vt = np.linalg.svd(tilde(a), full_matrices=False)
        exact = Vt.T @ ((s / (s**2 + 1 / tau_theta))[:, None] * (Q.T @ g))
        sample = tilde(a).T @ np.linalg.solve(tilde(a) @ tilde(a).T + np.eye(samples) / tau_theta, g)
        parameter = np.linalg.solve(damped(a, tau_theta), tilde(a).T @ g)
        return [float(abs(d - exact).max() / abs(exact).max()) for d in (sample, parameter)]

    def claims(found):
        samples, inputs, tau_theta = sizes(found)
        excess = max(0, 1 - samples, 1 - inputs, samples - 100, inputs - 100)
        yield Claim("N and n lie between 1 and 100 (excess)", excess, 0)
        yield Claim("N and n are whole numbers", sum(abs(float(size) % 1) for size in found[:2]), 0)
        yield Claim("τ_θ is positive (shortfall)", beyond(1e-12 - tau_theta), 0.0)
        if 1 <= samples <= 100 and 1 <= inputs <= 100 and tau_theta > 0:
            sample, parameter = errors(found)
            yield Claim("sample space: error above 1e-8 (shortfall, relative)", beyond(1 - sample / 1e-8), 1e-9)
            yield Claim("M⁻¹∇J: error", parameter, 1e-10)

    def mistakes(found):
        samples, inputs, tau_theta = sizes(found)
        yield max(samples, inputs) > 100 or min(samples, inputs) < 1, "N and n may be at most 100, and at least 1"
        yield any(float(size) % 1 for size in found[:2]), "N and n count samples and inputs: whole numbers"
        yield np.size(found) != 3, "three numbers are asked for: N, n and τ_θ"
        yield tau_theta <= 0, "a step size is positive"
        yield samples == inputs + 1, "ããᵀ is square and invertible for N = n + 1: more samples are needed"
        yield samples <= inputs + 1, "with N ≤ n + 1 the matrix ããᵀ is invertible: the sample side is the safe one here"
        yield tau_theta < 1, "a small step size damps much: τ_θ must be large"
        yield tau_theta < 1e7, "the damping 1/τ_θ is still large compared with rounding"
        yield errors(found)[1] > 1e-10, \
            "M itself is nearly singular here: fewer inputs than samples, and not nearly as many"

    return check("5.4", answer, claims, mistakes)


close_to_answers(globals())
