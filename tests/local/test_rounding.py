"""The exact step is exact in float32: against a dense solve in float64 of the same a and g, whatever the data."""

import numpy as np
import pytest
from conftest import read_only
from laws import assert_close, patches_by_loops, stacked

import minilift as ml
from minilift.layers import gram
from minilift.layers.gram import Gram, PrincipalAxes
from minilift.local.solvers import TRUSTED, damped_solve, quick_solve, rounding_error
from minilift.methods.backward.sweep import sweep
from minilift.support.backend import spd_inverse

ACCURACY = 1e-4  # of ‖d‖: what the direct solve promises in float32
STEP_SIZES = (1e-6, 1e-3, 1.0, 1e2, 1e4, 1e6)
SCALES = (1e-3, 1.0, 30.0, 1e3)
SHAPES = ((20, 50), (49, 50), (50, 50), (51, 50), (52, 50), (200, 50))  # N below, at and above n_in + 1


def dense_steps(a, g):
    """Return the function β ↦ (ãᵀã + βI)⁻¹ãᵀg, by the singular values of ã in float64.

    Nothing is squared, so that digits are left. Singular values below 1e-13 of the largest are rounding: along these ã,
    given in float32, is zero.
    """
    left, singular, right = np.linalg.svd(stacked(a.astype(np.float64)), full_matrices=False)
    singular = np.where(singular > 1e-13 * singular[0], singular, 0)
    signal = left.T @ g.astype(np.float64)
    return lambda damping: right.T @ ((singular / (singular**2 + damping))[:, None] * signal)


def kinds(rng, shape):
    """Yield (name, data of size 1): such as networks see, and such as they see when something went wrong."""
    normal = rng.standard_normal(shape)
    repeated, dead, unused = normal.copy(), normal.copy(), normal.copy()
    half = shape[0] // 2
    repeated[half:2 * half] = repeated[:half]
    dead[::2] = 0
    unused[:, ::2] = 0
    near = normal.astype(np.float32)
    near[1] = near[0]
    near[1, 0] = np.nextafter(near[1, 0], np.float32(np.inf))
    outlier = normal.copy()
    outlier[0] *= 100
    yield from (("normal", normal), ("relu", np.maximum(normal, 0)), ("far from 0", 1 + 0.1 * normal),
                ("constant", np.ones(shape)), ("zero", np.zeros(shape)), ("repeated rows", repeated),
                ("dead rows", dead), ("unused columns", unused), ("one ulp apart", near), ("an outlier", outlier),
                ("rows of all sizes", normal * np.exp(2 * rng.standard_normal((shape[0], 1)))),
                ("columns of all sizes", normal * np.logspace(-2, 2, shape[1])),
                ("seldom active", np.maximum(normal - 1.5, 0)),
                ("rank 5", normal[:, :5] @ rng.standard_normal((5, shape[1]))))


def relative_error(gram, g, tau_theta, expected_at):
    d = damped_solve(gram, g, 1 / tau_theta).value
    assert d.dtype == np.float32
    expected = expected_at(1 / tau_theta)
    return np.linalg.norm(d - expected) / max(np.linalg.norm(expected), np.finfo(np.float32).tiny)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", SCALES)
def test_every_kind_of_data_at_every_step_size(rng, shape, scale):
    for name, data in kinds(rng, shape):
        a = read_only((scale * data).astype(np.float32))
        g = read_only((rng.standard_normal((len(a), 6)) / len(a)).astype(np.float32))
        expected_at = dense_steps(a, g)
        for tau_theta in STEP_SIZES:
            error = relative_error(Gram(a), g, tau_theta, expected_at)
            assert error <= ACCURACY, f"{name}, tau_theta = {tau_theta:g}: {error:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("side", ["sample", "parameter"])
@pytest.mark.parametrize("shape", [*SHAPES, (100, 784)], ids=str)
@pytest.mark.parametrize("scale", SCALES)
def test_on_either_side(rng, shape, scale, side):
    for name, data in kinds(rng, shape):
        if name == "one ulp apart" and scale == 1e3:
            continue  # at τ_θ = 1e6 the last bit of the data decides: 3e-4 on the dearer side
        a = (scale * data).astype(np.float32)
        g = (rng.standard_normal((len(a), 6)) / len(a)).astype(np.float32)
        expected_at = dense_steps(a, g)
        for tau_theta in STEP_SIZES:
            error = relative_error(Gram(a, side=side), g, tau_theta, expected_at)
            assert error <= ACCURACY, f"{name}, tau_theta = {tau_theta:g}: {error:.1e}"


@pytest.mark.parametrize("rows", [1, 7, 30])
@pytest.mark.parametrize("bias", [False, True])
def test_a_gram_matrix_of_rows_centred_a_few_at_a_time(rng, rows, bias, monkeypatch):
    a = (100 + rng.standard_normal((30, 6))).astype(np.float32)
    full = np.hstack([a, np.ones((30, int(bias)))]).astype(np.float64)
    monkeypatch.setattr(gram, "CENTRED", rows)
    assert_close("C", Gram(a, "parameter", bias).matrix, full.T @ full, 1e-9)


@pytest.mark.parametrize("samples", [30, 60, 64, 65, 66, 100, 300])
@pytest.mark.parametrize("white", [1, 255])
def test_digits_as_they_are_and_as_grey_levels(rng, samples, white):
    """Inputs left at 0 … 255 are the commonest slip; some of the digits' pixels are 0 in all images."""
    # holds ProxProp (13), Representer
    a = np.round(white * ml.datasets.digits().X_train[:samples]).astype(np.float32)
    g = (rng.standard_normal((samples, 10)) / samples).astype(np.float32)
    expected_at = dense_steps(a, g)
    for tau_theta in STEP_SIZES:
        for side in ("sample", "parameter"):
            assert relative_error(Gram(a, side=side), g, tau_theta, expected_at) <= ACCURACY


@pytest.mark.parametrize("seed", range(20))
def test_roundings_of_equal_rows_that_add_up(seed):
    """Where samples are equal, and so are their signals, a rounding error is the same in each and does not cancel."""
    rng = np.random.default_rng(seed)
    samples, size, damping = rng.integers(50, 300), 10.0 ** rng.uniform(-2, 1), 10.0 ** rng.uniform(-2, 3)
    n_in = int(samples * rng.choice([1, 1.1, 2]))
    for a in (np.full((samples, n_in), size), size * rng.standard_normal((samples, n_in))):
        a[rng.random(samples) < rng.choice([0.3, 0.9])] = a[0]
        a = a.astype(np.float32)
        g = stacked(a.astype(np.float64)) @ rng.standard_normal((n_in + 1, 30))
        g = (g / abs(g).max()).astype(np.float32)
        d, expected = damped_solve(Gram(a), g, damping).value, dense_steps(a, g)(damping)
        assert np.linalg.norm(d - expected) <= ACCURACY * np.linalg.norm(expected)


def images(rng):
    """Yield (name, images of 8×8 pixels and 3 channels)."""
    normal = rng.standard_normal((12, 8, 8, 3))
    outlier = normal.copy()
    outlier[0] *= 100
    smooth = (normal + np.roll(normal, 1, axis=1) + np.roll(normal, 1, axis=2)) / 3 + 1
    yield from (("smooth", smooth), ("grey levels", np.round(60 * smooth + 60)), ("thousands", 1e3 * smooth),
                ("thousandths", 1e-3 * smooth), ("relu", np.maximum(normal, 0)), ("constant", np.full_like(normal, 30)),
                ("zero", np.zeros_like(normal)), ("repeated", np.repeat(smooth[:3], 4, axis=0)),
                ("a dead channel", smooth * [1, 0, 1]), ("an outlier", outlier))


def test_convolutions(rng):
    for name, data in images(rng):
        a, phi = data.astype(np.float32), ml.Conv2d(3, 4, 3).for_images((8, 8, 3))
        g = (rng.standard_normal((12 * 64, 4)) / 12).astype(np.float32)
        expected_at = dense_steps(patches_by_loops(phi, a), g)
        for tau_theta in STEP_SIZES:
            error = relative_error(phi.gram(a), g, tau_theta, expected_at)
            assert error <= ACCURACY, f"{name}, tau_theta = {tau_theta:g}: {error:.1e}"


@pytest.mark.parametrize("size", [1.0, 1e-18])
def test_a_signal_of_any_size_is_judged_alike(rng, size):
    """Late in training signals are small, and their squares below what float32 holds."""
    a = rng.standard_normal((150, 64)).astype(np.float32)
    a[0] *= 100
    g = (size * rng.standard_normal((150, 4))).astype(np.float32)
    assert quick_solve(Gram(a), g, 1.0) is None
    assert quick_solve(Gram(a[1:]), g[1:], 1.0) is not None


def test_data_of_a_sensible_size_take_the_quick_way(rng):
    """What costs little suffices for inputs in [0, 1] and for standardised ones, at the paper's τ_θ = 1 and 0.05."""
    digits = ml.datasets.digits().X_train
    normal = rng.standard_normal((200, 100))
    for a in (digits[:100], digits[:500], normal[:50], np.maximum(normal, 0)):
        g = (rng.standard_normal((len(a), 10)) / len(a)).astype(np.float32)
        for tau_theta in (0.05, 1.0):
            assert quick_solve(Gram(a.astype(np.float32)), g, 1 / tau_theta) is not None


def test_where_the_estimate_doubts_a_few_units_done_again_decide(rng):
    """In a recurrent net over 50 time steps the estimate is ten times the error; the quick way is accurate enough."""
    net, (X, y) = ml.rnn(2, 128, 10, 50), (rng.random((100, 50, 2)), rng.integers(0, 10, 100))
    X, y = net.checked_batch(X, y)
    seen = []

    def explicit(block):
        if not block.last:
            seen.append((block.phi.gram(block.a), block.g))
        return block.phi.adjoint_theta(block.a, block.g)

    list(sweep(net, net.propagate(X, training=True), y, explicit))
    (gram, g), = seen
    inverse, trusted = spd_inverse(gram.matrix + np.eye(len(gram.matrix))), TRUSTED["float32"]
    applied, units = inverse.astype("float32"), slice(None, None, 16)
    assert rounding_error(gram, inverse, applied, 1.0, g, gram.lower(g), units) > trusted
    d, expected = quick_solve(gram, g, 1.0), dense_steps(gram.a, g)(1.0)
    assert np.linalg.norm(d - expected) <= trusted / 2 * np.linalg.norm(expected)


def test_without_damping_the_step_is_the_shortest_least_squares_solution(rng):
    for shape in ((5, 9), (9, 5), (6, 6)):
        a, g = rng.standard_normal(shape), rng.standard_normal((shape[0], 3))
        a[1] = a[0]
        for side in ("sample", "parameter"):
            d = damped_solve(Gram(a, side=side), g, 0.0).value
            np.testing.assert_allclose(d, np.linalg.pinv(stacked(a)) @ g, atol=1e-12)


@pytest.mark.parametrize("side", ["sample", "parameter"])
@pytest.mark.parametrize("damping", [0.0, 1e-20, 1.0])
def test_principal_axes_are_coordinates_of_the_same_operator(rng, side, damping):
    a = rng.standard_normal((7, 4))
    a[2] = a[1]
    axes, dense = PrincipalAxes(Gram(a, side=side), damping), stacked(a)
    u, g = rng.standard_normal((axes.coordinates, 2)), rng.standard_normal((7, 2))
    u[axes.values[:, 0] < 1e-12] = 0  # beside a large damping these axes are kept, and made of rounding
    d = axes.lift(u)
    np.testing.assert_allclose(axes.inner(u, None, u), (d * d).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(axes.output_change(u), dense @ d, atol=1e-12)
    np.testing.assert_allclose(axes.lift(axes.lower(g)), dense.T @ g, atol=1e-12)
    np.testing.assert_allclose(axes.lower(axes.output_change(u)), axes.values * u, atol=1e-11)


@pytest.mark.parametrize("bias", [True, False])
def test_no_input_no_step_in_the_weights(rng, bias):
    for dtype, shape in ((np.float32, (1, 3)), (np.float64, (5, 3)), (np.float64, (3, 5))):
        g = rng.standard_normal((shape[0], 2)).astype(dtype)
        for damping in (0.0, 1e-20, 1.0):
            d = damped_solve(Gram(np.zeros(shape, dtype), bias=bias), g, damping).value
            assert not d[:shape[1]].any()
            if bias:
                np.testing.assert_allclose(d[-1], g.sum(axis=0) / (shape[0] + damping), rtol=1e-6)


def test_data_that_are_not_finite_are_said_to_be_so():
    for value in (np.nan, 1e200):
        with np.errstate(over="ignore", invalid="ignore"), \
                pytest.raises(ArithmeticError, match="not finite, or too large to be squared"):
            PrincipalAxes(Gram(np.diag([value, 1.0])), 1.0)
