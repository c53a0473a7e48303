"""`Argmin`, `Gradient`, `Equal`, `Decreases`: what is right holds, what is wrong fails by name, no claim is empty."""

import itertools
import sys
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import strict_cupy

import minilift as ml
from minilift.checks.claims import log_uniform, usual_draw


class Row(NamedTuple):
    """A claim, and None where it holds, or words that its failure must say."""

    what: str
    claim: object
    words: str | None
    slow: bool = False


def told(rows):
    """Return the parameters of a test over rows."""
    return pytest.mark.parametrize("row", [pytest.param(row, marks=pytest.mark.slow) if row.slow else row
                                           for row in rows], ids=lambda row: row.what)


def check(row, seed=0):
    report = ml.verify(row.claim, seed=seed)
    if row.words is None:
        report.raise_for_failures()
    else:
        reasons = [check.reason for check in report.failures]
        assert any(row.words in reason for reason in reasons), reasons


# ---- the energies of a derivation, and what minimises them

def shrinkage(z, v, lam):
    return lam * abs(z).sum() + ((z - v) ** 2).sum() / 2


def soft_threshold(v, lam):
    return np.sign(v) * np.maximum(abs(v) - lam, 0)


def distance_in_cone(u, v):
    return ((u - v) ** 2).sum() / 2 if (u >= 0).all() else np.inf


def penalty(z, a, v, rho, gamma):
    """BCD's z-step: the activation is fitted to a through ReLU, and z to the map's output v."""
    return gamma / 2 * ((np.maximum(z, 0) - a) ** 2).sum() + rho / 2 * ((z - v) ** 2).sum()


def draw_penalty(rng):
    a, v, z = rng.standard_normal((3, rng.integers(1, 9), 3))
    return {"a": a, "v": v, "z": z, "rho": log_uniform(rng), "gamma": log_uniform(rng)}


def relu_step(a, v, rho, gamma):
    off, on = np.minimum(v, 0), np.maximum((gamma * a + rho * v) / (gamma + rho), 0)
    worth = [gamma / 2 * (np.maximum(z, 0) - a) ** 2 + rho / 2 * (z - v) ** 2 for z in (off, on)]
    return np.where(worth[0] <= worth[1], off, on)


def relu_step_by_sign(a, v, rho, gamma):
    return np.where(v > 0, np.maximum((gamma * a + rho * v) / (gamma + rho), 0), np.minimum(v, 0))


def proximal(W, a, z, W_k, tau):
    return ((a @ W - z) ** 2).sum() / 2 + ((W - W_k) ** 2).sum() / (2 * tau)


def implicit(a, z, W_k, tau):
    return np.linalg.solve(a.T @ a + np.eye(a.shape[1]) / tau, a.T @ z + W_k / tau)


def slope(W, a, z, W_k, tau):
    return a.T @ (a @ W - z) + (W - W_k) / tau


def log_det(S, C):
    return -2 * np.log(np.diag(np.linalg.cholesky(S))).sum() + (S * C).sum()  # raises outside its domain


def draw_covariance(rng):
    X = rng.standard_normal((9, 3))
    return {"S": np.eye(3), "C": X.T @ X / 9}


def on_sphere(u, v):
    return -(u * v).sum() if abs((u * u).sum() - 1) < 1e-6 else np.inf


def normalised(u):
    return u / np.sqrt((u * u).sum())


def draw_sphere(rng):
    u, v = rng.standard_normal((2, rng.integers(2, 6)))
    return {"u": normalised(u), "v": v}


def deep(z, W, x, rho):
    """The penalty of a deep linear network in all its activations: a list of arrays."""
    before = [x, *z[:-1]]
    return sum(rho / 2 * ((a @ w - u) ** 2).sum() for a, w, u in zip(before, W, z)) + (z[-1] ** 2).sum()


def draw_deep(rng):
    widths = rng.integers(1, 5, rng.integers(2, 7))
    W = [rng.standard_normal(shape) for shape in itertools.pairwise(widths)]
    N = rng.integers(1, 6)
    z = [rng.standard_normal((N, width)) for width in widths[1:]]
    return {"z": z, "W": W, "x": rng.standard_normal((N, widths[0])), "rho": log_uniform(rng, 0.1, 10)}


def minimise_deep(z, W, x, rho):
    """All activations at once: least squares."""
    flat = np.concatenate([u.ravel() for u in z])

    def residual(flat):
        parts, start = [], 0
        for u in z:
            parts.append(flat[start : start + u.size].reshape(u.shape))
            start += u.size
        before = [x, *parts[:-1]]
        terms = [np.sqrt(rho / 2) * (a @ w - u).ravel() for a, w, u in zip(before, W, parts)]
        return np.concatenate([*terms, parts[-1].ravel()]), parts
    offset = residual(0 * flat)[0]
    A = np.stack([residual(unit)[0] - offset for unit in np.eye(len(flat))], axis=1)
    return residual(np.linalg.lstsq(A, -offset, rcond=None)[0])[1]


def fit(W, b, a, z, W_k):
    return ((a @ W + b - z) ** 2).sum() + ((W - W_k) ** 2).sum()


def fit_both(a, z, W_k):
    centred = a - a.mean(axis=0)
    W = np.linalg.solve(centred.T @ centred + np.eye(a.shape[1]), centred.T @ z + W_k)
    return W, (z - a @ W).mean(axis=0)


def fit_bias_last(W, b, a, z, W_k):
    W = np.linalg.solve(a.T @ a + np.eye(a.shape[1]), a.T @ (z - b) + W_k)
    return W, (z - a @ W).mean(axis=0)


ARGMINS = [
    Row("soft threshold", ml.Argmin(shrinkage, soft_threshold, "z"), None),
    Row("with twice the threshold", ml.Argmin(shrinkage, lambda v, lam: soft_threshold(v, 2 * lam), "z"),
        "2 lam stands where lam should", True),
    Row("with the inverse threshold", ml.Argmin(shrinkage, lambda v, lam: soft_threshold(v, 1 / lam), "z"),
        "", True),  # named with some seeds: with one entry alone other mistakes give the same number
    Row("hard threshold", ml.Argmin(shrinkage, lambda v, lam: v * (abs(v) > lam), "z"), "", True),
    Row("projection", ml.Argmin(distance_in_cone, lambda v: np.maximum(v, 0), "u"), None, True),
    Row("no projection", ml.Argmin(distance_in_cone, lambda v: +v, "u"), "outside the domain"),
    Row("z-step of ReLU", ml.Argmin(penalty, relu_step, "z", draw_penalty), None, True),
    Row("z-step of the branch of v", ml.Argmin(penalty, relu_step_by_sign, "z", draw_penalty), "not the global", True),
    Row("the same, said to be local", ml.Argmin(penalty, relu_step_by_sign, "z", draw_penalty, local=True), None, True),
    Row("penalties exchanged", ml.Argmin(penalty, lambda a, v, rho, gamma: relu_step(a, v, gamma, rho), "z",
                                         draw_penalty), "rho and gamma are exchanged", True),
    Row("implicit step", ml.Argmin(proximal, implicit, "W"), None),
    Row("τ for 1/τ", ml.Argmin(proximal, lambda a, z, W_k, tau: implicit(a, z, W_k, 1 / tau), "W"),
        "tau and 1/tau are exchanged", True),
    Row("the step alone", ml.Argmin(proximal, lambda a, z, W_k, tau: implicit(a, z, W_k, tau) - W_k, "W"),
        "none of the usual mistakes fits", True),
    Row("half of the step", ml.Argmin(proximal, lambda W, a, z, W_k, tau: (implicit(a, z, W_k, tau) + W) / 2, "W"),
        "half of the step", True),
    Row("an explicit step", ml.Argmin(proximal, lambda W, a, z, W_k, tau: W - 0.01 * slope(W, a, z, W_k, tau), "W"),
        "it is explicit, not implicit", True),
    Row("log det", ml.Argmin(log_det, lambda C: np.linalg.inv(C), "S", draw_covariance,
                             project=lambda S: (S + S.T) / 2), None, True),
    Row("log det of the other matrix", ml.Argmin(log_det, lambda C: +C, "S", draw_covariance,
                                                 project=lambda S: (S + S.T) / 2), "", True),
    Row("on a sphere", ml.Argmin(on_sphere, lambda v: normalised(v), "u", draw_sphere, project=normalised), None),
    Row("opposite on a sphere", ml.Argmin(on_sphere, lambda v: -normalised(v), "u", draw_sphere, project=normalised),
        "it is a maximum", True),
    Row("a set without interior", ml.Argmin(on_sphere, lambda v: normalised(v), "u", draw_sphere), "give project"),
    Row("all activations", ml.Argmin(deep, minimise_deep, "z", draw_deep), None, True),
    Row("W and b together", ml.Argmin(fit, fit_both, ("W", "b")), None, True),
    Row("W, then b", ml.Argmin(fit, fit_bias_last, ("W", "b")), "", True),
    Row("a constant energy", ml.Argmin(lambda W: 3.0, lambda W: W, "W"), "does not depend on W"),
    Row("an energy of other things", ml.Argmin(lambda W, z: (z**2).sum(), lambda W: W, "W"), "not depend on W", True),
    Row("an energy without the bias", ml.Argmin(lambda theta: (theta[:-1] ** 2).sum(), lambda theta: 0 * theta,
                                                "theta"),
        "does not depend on some entries of theta"),
    Row("a maximum", ml.Argmin(lambda z, v: -((z - v) ** 2).sum(), lambda v: +v, "z"), "it is a maximum", True),
    Row("a saddle", ml.Argmin(lambda z, v: ((z - v) ** 2 * np.cos(np.arange(z.size).reshape(z.shape))).sum(),
                              lambda v: +v, "z"), "", True),
    Row("of another shape", ml.Argmin(shrinkage, lambda v, lam: v.T, "z"), "has not the shape of z"),
    Row("not finite", ml.Argmin(shrinkage, lambda v, lam: v * np.nan, "z"), "not finite"),
]


@told(ARGMINS)
def test_minimisers(row):
    check(row)


GRADIENTS = [
    Row("right", ml.Gradient(proximal, slope, "W"), None),
    Row("of a list", ml.Gradient(deep, lambda z, W, x, rho: [
        rho * (u - a @ w) - (rho * (v - u @ w_next) @ w_next.T if w_next is not None else -2 * u)
        for a, w, u, v, w_next in zip([x, *z[:-1]], W, z, [*z[1:], None], [*W[1:], None])], "z", draw_deep), None),
    Row("twice", ml.Gradient(lambda z, v: ((z - v) ** 2).sum() / 2, lambda z, v: 2 * (z - v), "z"), "factor 2"),
    Row("negative", ml.Gradient(lambda z, v: ((z - v) ** 2).sum() / 2, lambda z, v: v - z, "z"), "sign"),
    Row("averaged", ml.Gradient(lambda z, v: ((z - v) ** 2).sum() / 2, lambda z, v: (z - v) / len(z), "z"),
        "1/(the number of rows"),
    Row("without the regulariser", ml.Gradient(proximal, lambda W, a, z: a.T @ (a @ W - z), "W"), "a term in W − W_k"),
    Row("of the old value", ml.Gradient(proximal, lambda a, z, W_k, tau: a.T @ (a @ W_k - z), "W"), ""),
    Row("of |z|, where it has one", ml.Gradient(shrinkage, lambda z, v, lam: lam * np.sign(z) + z - v, "z"), None),
    Row("of nothing", ml.Gradient(lambda W: 1.0, lambda W: 0 * W, "W"), "does not depend on W"),
    Row("of a domain", ml.Gradient(lambda u, tau: -tau * np.log(u).sum() + u.sum(), lambda u, tau: 1 - tau / u, "u",
                                   lambda rng: {"u": rng.uniform(0.1, 3, 4), "tau": log_uniform(rng)}), None),
]


@told(GRADIENTS)
def test_gradients(row):
    check(row)


def buffered():
    """Return a formula that fills one array again and again."""
    kept = {}

    def formula(z):
        out = kept.setdefault(z.shape, np.empty(z.shape))
        return np.multiply(z, 2, out=out)
    return formula


def cached():
    """Return a formula that remembers its first result for a shape."""
    kept = {}
    return lambda z: kept.setdefault(z.shape, 2 * z)


def dense_step(a, z, W_k, tau):
    return W_k - np.linalg.inv(a.T @ a + np.eye(a.shape[1]) / tau) @ a.T @ (a @ W_k - z)


def sample_step(a, z, W_k, tau):
    return W_k - a.T @ np.linalg.solve(a @ a.T + np.eye(len(a)) / tau, a @ W_k - z)


EQUALS = [
    Row("two forms of a step", ml.Equal(sample_step, dense_step), None),
    Row("with the inverse τ", ml.Equal(lambda a, z, W_k, tau: sample_step(a, z, W_k, 1 / tau), dense_step),
        "tau and 1/tau are exchanged"),
    Row("with the arguments exchanged", ml.Equal(lambda u, v: u - 3 * v, lambda u, v: v - 3 * u), "u and v are exch"),
    Row("a formula with itself", ml.Equal(dense_step, dense_step), "one function"),
    Row("constants", ml.Equal(lambda a: 0.0, lambda a: 0.0), "the same for all that is drawn"),
    Row("nothing", ml.Equal(lambda a: a[:0], lambda a: a[:0]), "returns nothing"),
    Row("a reused buffer", ml.Equal(buffered(), lambda z: 2 * z, lambda rng: {"z": rng.standard_normal(3)}),
        "a buffer is reused"),
    Row("a cache", ml.Equal(cached(), lambda z: 2 * z), ""),
    Row("one that writes into its arguments", ml.Equal(lambda z: np.multiply(z, 2, out=z), lambda z: 2 * z),
        "writes into an array"),
    Row("one that raises", ml.Equal(lambda z: z @ z, lambda z: z.sum()), "it raises ValueError"),
]


@told(EQUALS)
def test_equalities(row):
    check(row)


def descent(W, a, z, W_k, tau):
    return {"W": W - slope(W, a, z, W_k, tau) / (np.linalg.norm(a, 2) ** 2 + 1 / tau)}


def alternating(W, b, a, z, W_k):
    W = np.linalg.solve(a.T @ a + np.eye(a.shape[1]), a.T @ (z - b) + W_k)
    return {"W": W, "b": (z - a @ W).mean(axis=0)}


def lagrangian(u, v, p, lam, target):
    """Of min ½‖u − target‖² + lam |v| for u = v, without the quadratic term, which vanishes at the end."""
    return ((u - target) ** 2).sum() / 2 + lam * abs(v).sum() + (p * (u - v)).sum()


def admm(u, v, p, lam, target):
    u = (target - p + v) / 2
    v = soft_threshold(u + p, lam)
    return {"u": u, "v": v, "p": p + u - v}


DECREASES = [
    Row("a minimiser", ml.Decreases(proximal, lambda a, z, W_k, tau: {"W": implicit(a, z, W_k, tau)}), None),
    Row("gradient descent", ml.Decreases(proximal, descent), None),
    Row("alternating minimisation", ml.Decreases(fit, alternating), None),
    Row("ADMM does not decrease", ml.Decreases(lagrangian, admm), "a multiplier", True),
    Row("ADMM rests where it should", ml.Decreases(lagrangian, admm, descends=False), None),
    Row("ascent", ml.Decreases(proximal, lambda W, **rest: {"W": 2 * W - descent(W, **rest)["W"]},
                               lambda rng: usual_draw(("W", "a", "z", "W_k", "tau"), 0, rng)), "increases the energy",
        True),
    Row("standing still", ml.Decreases(proximal, lambda W: {"W": W}), "it moves nothing"),
    Row("half of the blocks", ml.Decreases(fit, lambda b, a, W, z, W_k: {
        "W": W, "b": (z - a @ W).mean(axis=0)}), "not stationary in W"),
    Row("τ for 1/τ", ml.Decreases(proximal, lambda a, z, W_k, tau: {"W": implicit(a, z, W_k, 1 / tau)}),
        "not stationary in W"),
]


@told(DECREASES)
def test_sweeps(row):
    check(row)


# ---- the seeds, the draws, the calls

@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in (*ARGMINS, *GRADIENTS, *EQUALS, *DECREASES) if row.words is None],
                         ids=lambda row: row.what)
def test_what_is_right_holds_for_other_seeds(row):
    for seed in range(1, 4):
        check(row, seed)


def test_usual_draws_vary():
    drawn = [usual_draw(("a", "theta_k", "tau"), k, np.random.default_rng(k)) for k in range(12)]
    assert {len(values["a"]) for values in drawn} == {1, 2, 3, 5, 16, 17}
    assert {values["a"].shape[1] < len(values["a"]) for values in drawn} == {True, False}
    assert all(values["theta_k"].shape[0] == values["a"].shape[1] + 1 for values in drawn)
    assert max(values["tau"] for values in drawn) > 100 * min(values["tau"] for values in drawn)


def test_the_report_says_what_was_claimed():
    report = ml.verify(ml.Argmin(proximal, implicit, "W"))
    assert repr(report.checks[0].subject) == repr("Argmin(proximal, implicit, block='W')")
    assert "tau" in report.checks[-1].worst
    assert report.summary().startswith("3 claims hold, 0 fail")


@pytest.mark.parametrize(("call", "message"), [
    (lambda: ml.Argmin(3, implicit, "W"), "Argmin: energy must be a function"),
    (lambda: ml.Argmin(proximal, implicit, 3), "Argmin: block must be the name of an argument"),
    (lambda: ml.Argmin(lambda foo: 0.0, lambda foo: foo, "foo"), "draw is needed.*'foo'"),
    (lambda: ml.Argmin(proximal, implicit, "W", lambda rng: {"W": np.ones(2)}), "draw must return a value for 'a'"),
    (lambda: ml.Argmin(proximal, implicit, "W", draw=lambda rng: 3), "draw must return a dict"),
    (lambda: ml.Argmin(proximal, implicit, "W", draw=3), "Argmin: draw must be a function"),
    (lambda: ml.Argmin(proximal, implicit, "W", tolerance=0), "tolerance must be positive"),
    (lambda: ml.Argmin(proximal, implicit, "W", project=3), "project must be a function"),
    (lambda: ml.Argmin(proximal, implicit, "W", local="yes"), "local must be True or False"),
    (lambda: ml.Equal(np.add, np.subtract), "whose arguments have names"),
    (lambda: ml.verify(ml.Equal(sample_step, dense_step), like=ml.BackProp()), "go with a method")])
def test_wrong_calls(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


# ---- what says nothing, small energies, arguments with a default


@pytest.mark.parametrize("energy", [lambda z: 1.0, lambda v: (v**2).sum()])
def test_a_sweep_that_the_energy_does_not_feel_does_not_pass(energy):
    report = ml.verify(ml.Decreases(energy, lambda z: {"z": z + 1}))
    assert any("does not depend on any of what the sweep returns" in check.reason for check in report.failures)


def of_others(B, X):
    """Each column of X by the others: the diagonal of B counts for nothing."""
    B = np.where(np.eye(len(B), dtype=bool), 0, B)
    return ((X - X @ B) ** 2).sum() + (B**2).sum()


def regressed(X, own=0.0):
    n = X.shape[1]
    B = own * np.eye(n)
    for j in range(n):
        others = np.delete(np.arange(n), j)
        B[others, j] = np.linalg.solve(X[:, others].T @ X[:, others] + np.eye(n - 1), X[:, others].T @ X[:, j])
    return B


def test_what_the_energy_ignores_is_fixed_by_a_projection():
    """Any value would do there: the report says how to claim one."""
    claim = ml.Argmin(of_others, regressed, "B", lambda rng: {
        "X": rng.standard_normal((8, 4)), "B": rng.standard_normal((4, 4))})
    (failure,) = ml.verify(claim).failures
    assert "give a project that sets them" in failure.reason
    fixed = replace(claim, project=lambda B: np.where(np.eye(4, dtype=bool), 0, B))
    assert ml.verify(fixed).passed
    assert not ml.verify(replace(fixed, update=lambda X: regressed(X, own=1.0))).passed


def test_a_sweep_may_return_what_the_energy_does_not_depend_on_and_the_rest_is_said_to_be_held():
    report = ml.verify(ml.Decreases(lambda z, W: (z**2).sum(), lambda z, v: {"z": z / 2, "v": v / 2}))
    assert report.passed, report
    assert any("not in the sweep: W" in check.why for check in report.checks)


@pytest.mark.parametrize("scale", [1e-12, 1e-10, 1.0])
def test_a_gradient_is_held_against_energies_of_any_size(scale):
    passed = [ml.verify(ml.Gradient(lambda z: scale * (abs(z) ** 3).sum(), lambda z, k=k: k * scale * z * abs(z), "z",
                                    lambda rng: {"z": rng.normal(size=4)})).passed for k in (0.0, 3.03, 3.0)]
    assert passed == [False, False, True]


@pytest.mark.parametrize("seed", [12, 16, 0, 1])
def test_the_gradient_of_a_norm_holds_beside_its_kinks(seed):
    """Seeds 12 and 16 draw an entry of 1.3e-5: short differences reach across zero, each side has its own slope."""
    def energy(z, v, lam):
        return lam * abs(z).sum() + 0.5 * ((z - v) ** 2).sum()

    def gradient(z, v, lam):
        return lam * np.sign(z) + z - v

    def without_signs(z, v, lam):
        return lam + z - v

    assert not ml.verify(ml.Gradient(energy, gradient, block="z"), seed=seed).failures
    assert ml.verify(ml.Gradient(energy, without_signs, block="z"), seed=seed).failures


def test_on_a_kink_each_subgradient_is_right():
    def energy(z):
        return np.maximum(z, 0).sum()

    def draw(rng):
        return {"z": np.round(rng.standard_normal((5, 3)))}

    for at_zero in (0.0, 0.5, 1.0):
        claim = ml.Gradient(energy, lambda z, at_zero=at_zero: np.heaviside(z, at_zero), block="z", draw=draw)
        assert not ml.verify(claim).failures
    claim = ml.Gradient(energy, lambda z: np.heaviside(z, 2.0), block="z", draw=draw)
    assert ml.verify(claim).failures


def test_arguments_with_a_default_that_is_no_usual_name_keep_it():
    ml.verify(ml.Decreases(lambda z: (z**2).sum(), lambda z, cap=60: {"z": z / 2})).raise_for_failures()
    ml.verify(ml.Equal(lambda a, _m=None: a, lambda a: a)).raise_for_failures()


def test_an_energy_that_overflows_is_said_to_rise():
    report = ml.verify(ml.Decreases(lambda z: (z**4).sum(), lambda z: {"z": -50 * z**3}))
    assert any("overflows" in check.reason for check in report.failures)


def too_narrow(z, W):
    return ((z @ W) ** 2).sum()


@pytest.mark.parametrize("claim", [
    ml.Argmin(too_narrow, lambda z: 0 * z, "z", lambda rng: {"z": rng.normal(size=(5, 3)), "W": np.ones((4, 3))}),
    ml.Gradient(too_narrow, lambda z: 0 * z, "z", lambda rng: {"z": rng.normal(size=(5, 3)), "W": np.ones((4, 3))}),
    ml.Decreases(too_narrow, lambda z: {"z": z / 2}, lambda rng: {"z": rng.normal(size=(5, 3)), "W": np.ones((4, 3))})],
    ids=repr)
def test_what_an_energy_raises_is_quoted(claim):
    """A ValueError may be an end of the domain, or a mistake in the energy."""
    reasons = [check.reason for check in ml.verify(claim).failures]
    assert any("it raises ValueError: matmul: Input operand 1 has a mismatch" in reason for reason in reasons), reasons


@np.vectorize
def shrunk(v):
    return float(np.sign(v) * max(abs(v) - 1, 0))


@np.vectorize
def cut(v):
    return float(v * (abs(v) > 1))


@pytest.mark.parametrize(("update", "passes"), [(shrunk, True), (cut, False)])
def test_a_function_made_for_arrays_by_numpy_has_its_arguments(update, passes):
    def energy(z, v):
        return abs(z).sum() + ((z - v) ** 2).sum() / 2

    assert ml.verify(ml.Argmin(energy, update, "z")).passed == passes


def test_two_functions_may_be_of_truth_values():
    assert ml.verify(ml.Equal(lambda z: z > 0, lambda z: np.sign(z) == 1)).passed
    assert not ml.verify(ml.Equal(lambda z: z > 0, lambda z: z < 0)).passed


def test_claims_hold_on_the_device(monkeypatch):
    for name, module in strict_cupy.modules().items():
        monkeypatch.setitem(sys.modules, name, module)

    def energy(z, v):
        return ((z - v) ** 2).sum() / 2

    for claim in (ml.Argmin(energy, lambda v: v * 1.0, block="z"), ml.Gradient(energy, lambda z, v: z - v, block="z"),
                  ml.Decreases(energy, lambda z, v: {"z": (z + v) / 2})):
        report = ml.verify(claim, backend="cupy")
        assert report.passed, report
