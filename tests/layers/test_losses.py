"""Losses: value against an independent formula, gradient, prox and Moreau's identity, both reductions."""

import math

import numpy as np
import pytest
from conftest import read_only
from hypothesis import given
from hypothesis import strategies as st
from laws import LOSSES, assert_close, assert_gradient, assert_loss_gradient, assert_prox, random_targets
from scipy.optimize import brentq
from transfers import Huber

import minilift as ml

every_loss = pytest.mark.parametrize("loss", [cls(r) for cls in LOSSES for r in ("mean", "sum")], ids=repr)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed, loss, scale=3.0):
    rng = np.random.default_rng(seed)
    samples, n = rng.integers(1, 7, 2)
    z = read_only(scale * rng.standard_normal((samples, n)))
    return z, random_targets(loss, rng, samples, n), rng


def value_by_definition(loss, z, y):
    """Return the loss from probabilities, in Python's own floats, sample by sample."""
    total = []
    for row, target in zip(z.tolist(), y.tolist()):
        if isinstance(loss, ml.SoftmaxCrossEntropy):
            total.append(-math.log(math.exp(row[target]) / math.fsum(map(math.exp, row))))
        elif isinstance(loss, ml.SigmoidCrossEntropy):
            p = [1 / (1 + math.exp(-u)) for u in row]
            total += [-t * math.log(q) - (1 - t) * math.log1p(-q) for t, q in zip(target, p)]
        else:
            total += [(u - t)**2 / 2 for u, t in zip(row, target)]
    return math.fsum(total) / (len(z) if loss.reduction == "mean" else 1)


@every_loss
@given(seed=seeds)
def test_value(loss, seed):
    z, y, _ = drawn(seed, loss)
    value = loss.value(z, y)
    assert type(value) is float
    assert value == pytest.approx(value_by_definition(loss, z, y), rel=1e-12)


@every_loss
@given(seed=seeds)
def test_gradient(loss, seed):
    z, y, rng = drawn(seed, loss)
    assert_loss_gradient(loss, z, y, rng)
    # a matching loss: its gradient is f(z) − y
    matching = (loss.transfer.forward(z) - loss.targets(z, y)) * loss.weight(len(z))
    assert_close("gradient", loss.gradient(z, y), matching, 1e-14)


class TanhMatching(ml.Loss):
    """F(z) − ⟨y, z⟩ with F' = tanh, whose prox goes far for targets that tanh cannot reach."""

    transfer = ml.Tanh()

    def value_per_sample(self, z, y):
        return (self.transfer.integral(z) - y * z).sum(axis=-1)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("tau", [1.0, 300.0, 1e4])
def test_a_prox_that_goes_far_is_found(seed, tau):
    """Where the objective is large, its rounding is no rise."""
    v, y = 3 * np.random.default_rng(seed).standard_normal((2, 6, 2))
    loss = TanhMatching()
    u, c = loss.prox(v, y, tau), tau * loss.weight(len(v))
    np.testing.assert_allclose(u + c * (np.tanh(u) - y), v, atol=1e-12 * (1 + c) * (1 + abs(u).max()))


@pytest.mark.parametrize("loss", [ml.SoftmaxCrossEntropy("sum"), ml.SigmoidCrossEntropy("sum")], ids=repr)
@pytest.mark.parametrize("far", [1e3, 1e5])
@pytest.mark.parametrize("tau", [1e3, 1e6, 1e9])
def test_a_prox_that_comes_from_far_is_found(loss, tau, far):
    """Where f is flat Newton's steps end on its other side: dlADMM's default ρ = 1e-6 asks for such a prox."""
    rng = np.random.default_rng(0)
    v, y = far * rng.standard_normal((1000, 5)), rng.random((1000, 5))
    y = y.argmax(axis=1) if isinstance(loss, ml.SoftmaxCrossEntropy) else y
    u = loss.prox(v, y, tau)
    expected = v - tau * (loss.transfer.forward(u) - loss.targets(v, y))
    np.testing.assert_allclose(u, expected, rtol=0, atol=1e-14 * (1 + tau) * far)


@pytest.mark.parametrize("loss", [ml.SoftmaxCrossEntropy("sum"), ml.SigmoidCrossEntropy("sum")], ids=repr)
@pytest.mark.parametrize("tau", [1.0, 1e3, 1e6])
def test_in_float32_the_prox_is_right_to_float32(loss, tau, rng):
    """Though its residual is a difference of numbers of the size of τ."""
    v, y = rng.standard_normal((50, 5)).astype(np.float32), rng.random((50, 5)).astype(np.float32)
    y = y.argmax(axis=1) if isinstance(loss, ml.SoftmaxCrossEntropy) else y
    u, expected = loss.prox(v, y, tau), loss.prox(v.astype(np.float64), y, tau)
    assert u.dtype == np.float32
    np.testing.assert_allclose(u, expected, rtol=1e-6, atol=1e-6)


@every_loss
@given(seed=seeds, tau=st.sampled_from([1e-3, 0.1, 1.0, 30.0, 1e3]), scale=st.sampled_from([0.1, 3.0, 30.0]))
def test_prox_is_the_minimiser(loss, seed, tau, scale):
    z, y, rng = drawn(seed, loss, scale)
    assert_prox(loss, z, y, tau, rng)


@every_loss
@given(seed=seeds, tau=st.sampled_from([0.1, 1.0, 10.0]))
def test_moreau_envelope(loss, seed, tau):
    """Its gradient is (v − prox)/τ; it lies below the loss; the prox is firmly non-expansive."""
    v, y, rng = drawn(seed, loss)

    def envelope(u):
        p = loss.prox(u, y, tau)
        return loss.value(p, y) + ((p - u)**2).sum() / (2 * tau)
    u = loss.prox(v, y, tau)
    assert_gradient("Moreau envelope", envelope, v, (v - u) / tau, rng, tolerance=1e-6)
    assert envelope(v) <= loss.value(v, y) + 1e-12
    w = v + rng.standard_normal(v.shape)
    difference = loss.prox(w, y, tau) - u
    assert (difference**2).sum() <= (difference * (w - v)).sum() + 1e-9


@given(st.floats(-20, 20), st.floats(0.01, 0.99), st.sampled_from([0.1, 1.0, 10.0]),
       st.sampled_from(["mean", "sum"]))
def test_moreau_identity_with_a_conjugate_solved_on_its_own(v, y, tau, reduction):
    """That v = prox_{τL}(v) + τ prox_{L*/τ}(v/τ), L* the binary entropy (sigmoid) or ½p² + py (square).

    Two samples, so that the mean has a weight; the dual problem is solved by bisection and never calls the library.
    """
    weight = 1 / 2 if reduction == "mean" else 1.0
    pair, targets = np.full((2, 1), v), np.full((2, 1), y)

    def entropy_condition(q):  # q = y + p/w in (0, 1): (1/τ) log(q/(1−q)) + p − v/τ = 0
        return (math.log(q) - math.log1p(-q)) / tau + weight * (q - y) - v / tau
    q = brentq(entropy_condition, 1e-300, 1 - 1e-16, xtol=1e-300, rtol=1e-15, maxiter=2000)
    u = ml.SigmoidCrossEntropy(reduction).prox(pair, targets, tau)
    assert u[0, 0] + tau * weight * (q - y) == pytest.approx(v, abs=1e-9)
    dual = brentq(lambda p: (p / weight + y) / tau + p - v / tau, -1e6, 1e6, xtol=1e-14)
    u = ml.SquaredError(reduction).prox(pair, targets, tau)
    assert u[0, 0] + tau * dual == pytest.approx(v, abs=1e-9)


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_are_safe(loss, dtype, rng):
    z = (1e4 * rng.standard_normal((4, 3))).astype(dtype)
    y = random_targets(loss, rng, 4, 3)
    y = y if loss.classification else y.astype(dtype)
    with np.errstate(over="raise", invalid="raise"):
        assert math.isfinite(loss.value(z, y))
        g = loss.gradient(z, y)
    assert g.dtype == dtype
    assert np.isfinite(g).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shift", [0.0, 400.0, -3000.0])
@pytest.mark.parametrize("gap", [0.0, 3.0, 10.0, 16.0])
def test_the_cross_entropy_of_a_good_answer_is_no_difference_of_large_numbers(dtype, shift, gap):
    """A loss is exact to its own rounding, not to that of the logits, nor, in float32, to that of 1."""
    rel = 8 * float(np.finfo(dtype).eps)
    z, y = np.array([[shift - gap, shift, shift - gap]], dtype), np.array([1])
    value = ml.SoftmaxCrossEntropy().value_per_sample(z, y)
    assert value.dtype == dtype
    assert value[0] == pytest.approx(math.log1p(2 * math.exp(-gap)), rel=rel, abs=1e-15)
    z, y = np.array([[gap, -gap]], dtype), np.array([[1.0, 0.0]], dtype)
    value = ml.SigmoidCrossEntropy().value_per_sample(z, y)
    assert value.dtype == dtype
    assert value[0] == pytest.approx(2 * math.log1p(math.exp(-gap)), rel=rel)


@every_loss
def test_a_loss_has_complex_steps(loss, rng):
    """The derivative along an imaginary step, which `verify` takes."""
    z, y, d = rng.standard_normal((5, 3)), random_targets(loss, rng, 5, 3), rng.standard_normal((5, 3))
    slope = loss.value_per_sample(z + 1e-30j * d, y).imag.sum() / 1e-30 * loss.weight(5)
    assert slope == pytest.approx((loss.gradient(z, y) * d).sum(), rel=1e-12)


@every_loss
def test_mean_and_sum_differ_by_the_number_of_samples(loss, rng):
    z, y = rng.standard_normal((5, 3)), random_targets(loss, rng, 5, 3)
    mean, total = type(loss)("mean"), type(loss)("sum")
    assert total.value(z, y) == pytest.approx(5 * mean.value(z, y), rel=1e-14)
    assert_close("gradients", total.gradient(z, y), 5 * mean.gradient(z, y), 1e-14)
    assert_close("prox", total.prox(z, y, 0.7), mean.prox(z, y, 3.5), 1e-8)


def test_a_loss_without_a_transfer_trains_and_who_needs_one_says_so(rng):
    net = ml.Network([ml.Linear(3, 4), ml.ReLU(), ml.Linear(4, 2)], Huber(), dtype=np.float64)
    X, y = rng.standard_normal((20, 3)), 3 * rng.standard_normal((20, 2))
    for method in (ml.ProxProp(), ml.SemiImplicit(), ml.LocoProp("S", 1.0, "exact", eta=1.0), ml.FOOF(0.1)):
        before = net.loss(X, y)
        ml.fit(net, (X, y), method, ml.SGD(0.05), epochs=5, progress=False)
        assert net.loss(X, y) < before
    np.testing.assert_array_equal(net.predict(X), net.forward(X).z[2])
    for method in (ml.LocoProp("M"), ml.GaussNewton(0.1), ml.KFAC(0.1), ml.MAC(), ml.FenchelLifted(), ml.LPOM(),
                   ml.BCD(), ml.ADMM()):
        with pytest.raises((ValueError, TypeError), match=r"Huber|names no transfer"):
            method.direction(net, X, y)


@pytest.mark.parametrize("loss", [ml.SquaredError(), ml.SigmoidCrossEntropy()], ids=repr)
def test_targets_whose_sum_overflows_are_finite(loss):
    y = np.full((10, 4), 1e38 if isinstance(loss, ml.SquaredError) else 1.0, np.float32)
    assert loss.check_targets(y, 10, 4, np.dtype("float32")) is y
    for value in (np.nan, np.inf):
        y[3, 2] = value
        with pytest.raises(ValueError, match="targets hold NaN or inf"):
            loss.check_targets(y, 10, 4, np.dtype("float32"))


def test_predictions(rng):
    z = rng.standard_normal((6, 4))
    softmax = ml.SoftmaxCrossEntropy()
    assert (softmax.predict(z) == np.argmax(z, axis=1)).all()
    assert_close("proba", softmax.proba(z), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), 1e-14)
    assert_close("sigmoid", ml.SigmoidCrossEntropy().predict(z), 1 / (1 + np.exp(-z)), 1e-14)
    assert (ml.SquaredError().predict(z) == z).all()


@every_loss
def test_nothing_is_written_into_the_arguments(loss, rng):
    z = read_only(rng.standard_normal((5, 3)))
    y = random_targets(loss, rng, 5, 3)
    loss.value(z, y), loss.gradient(z, y), loss.prox(z, y, 1.0), loss.predict(z), loss.proba(z)


@pytest.mark.parametrize(("v", "tau", "y", "minimiser"), [
    (1e9, 1e9, 0.0, 17.841726), (1e3, 1e12, 0.3, -0.847298), (1e12, 1e9, 0.0, 0.999e12)])
def test_the_prox_of_a_long_step_from_far_away(v, tau, y, minimiser):
    """Solve u + τ(σ(u) − y) = v: for y = 0 and v = τ, u = log(τ/u − 1); for τ far above v, σ(u) = y + v/τ."""
    u = ml.SigmoidCrossEntropy("sum").prox(np.array([[v]]), np.array([[y]]), tau).item()
    assert u == pytest.approx(minimiser, rel=1e-5)
