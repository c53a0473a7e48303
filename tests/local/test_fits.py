"""The closed fits of lifted values: no point of a fine grid is lower, and the step in a is the dense solve."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import assert_close

import minilift as ml
from minilift.local.fits import falls, fit_transfer, fit_values
from minilift.support import backend

TRANSFERS = [ml.ReLU(), ml.LeakyReLU(0.1), ml.HardTanh(), ml.Identity(), ml.Tanh(), ml.Sigmoid(), ml.Softplus()]


def cost(f, u, target, centre, c):
    return ((f.forward(u) - target) ** 2 + c * (u - centre) ** 2) / 2


@pytest.mark.parametrize("f", TRANSFERS, ids=repr)
@pytest.mark.parametrize("c", [1e-3, 0.1, 1.0, 30.0])
def test_no_point_is_lower_than_the_fit(f, c):
    rng = np.random.default_rng(0)
    target, centre = 2 * rng.standard_normal((2, 60))
    target[:5] = centre[5:10] = 0.0
    grid = np.linspace(-12, 12, 6001)[:, None]
    u = fit_transfer(f, target, centre, c)
    lowest = cost(f, grid, target, centre, c).min(axis=0)
    assert (cost(f, u, target, centre, c) <= lowest + 1e-14 * (1 + lowest)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_which_transfers_fall(dtype):
    assert not [f for f in TRANSFERS if falls(f, np, np.dtype(dtype))]
    for wave in (np.sin, lambda z: z / (1 + np.exp(-z)), lambda z: -np.tanh(z), lambda z: np.exp(-z * z)):
        f = ml.Tanh()
        f.forward = wave
        assert falls(f, np, np.dtype(dtype))


@pytest.mark.parametrize("f", TRANSFERS, ids=repr)
@pytest.mark.parametrize("c", [1e-4, 1e-3, 1e-2, 0.1])
def test_far_centres_and_small_weights_do_not_hide_the_basin_near_the_target(f, c):
    rng = np.random.default_rng(5)
    centre = 20 * rng.standard_normal(300)
    target = np.where(np.arange(300) % 2, rng.uniform(-1, 1, 300), 5 * rng.standard_normal(300))
    target[0], centre[0] = -0.39434, -18.76024
    grid = np.concatenate([np.linspace(-15, 15, 3001), np.linspace(-600, 600, 6001)])[:, None]
    u = fit_transfer(f, target, centre, c)
    found, lowest = cost(f, u, target, centre, c), cost(f, grid, target, centre, c).min(axis=0)
    assert (found <= 1.02 * lowest + 1e-14).all()
    assert (found > lowest * (1 + 1e-9) + 1e-14).sum() <= 1  # between two points of the grid, and hardly lower
    kinks = [end for piece in f.pieces or () for end in piece[:2]]
    smooth = ~np.isin(u, kinks)
    gradient = f.derivative(u) * (f.forward(u) - target) + c * (u - centre)
    assert (abs(gradient) <= 1e-7 * (1 + abs(target)))[smooth].all()


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(1e-4, 1e4), st.sampled_from(TRANSFERS))
def test_moving_from_the_fit_never_helps(target, centre, c, f):
    target, centre = np.array([target]), np.array([centre])
    u = fit_transfer(f, target, centre, c)
    at = cost(f, u, target, centre, c)
    for size in (1e-6, 1e-3, 0.1, 1.0, 10.0):
        for sign in (-1, 1):
            assert (cost(f, u + sign * size, target, centre, c) >= at * (1 - 1e-12) - 1e-14).all()


@pytest.mark.parametrize("c", [0.1, 1, 2, 6, 50])
def test_the_authors_relu_fit(oracle, c):
    """Values are equal but for exact ties (row 3), where both minimisers cost the same."""
    # holds Lifted z
    bcd = oracle("family/bcd")
    key = f"relu_prox/c{c}"
    target, centre = bcd[f"{key}/a"], bcd[f"{key}/b"]
    u = fit_transfer(ml.ReLU(), target, centre, c)
    assert cost(ml.ReLU(), u, target, centre, c) == pytest.approx(bcd[f"{key}/cost"], rel=1e-13, abs=1e-15)
    rows = np.arange(len(u)) != 3
    assert_close("u", u[rows], bcd[f"{key}/u_official"][rows], 1e-14)


@pytest.mark.parametrize("f", TRANSFERS, ids=repr)
def test_rows_are_fitted_a_few_at_a_time(f, rng, monkeypatch):
    target, centre = rng.standard_normal((2, 7, 5))
    whole = fit_transfer(f, target, centre, 0.7)
    monkeypatch.setattr(backend, "CACHED", 10)
    assert_close("u", fit_transfer(f, target, centre, 0.7), whole, 1e-14)
    assert [len(centre[rows]) for rows in backend.in_cache(centre)] == [2, 2, 2, 1]


def test_fits_keep_the_dtype_and_their_arguments():
    target, centre = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    for f in TRANSFERS:
        assert fit_transfer(f, target, centre, 0.5).dtype == np.float32
    assert (target == 1).all()
    assert (centre == 0).all()


@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 6), st.floats(0.01, 100), st.integers(0, 2**32))
def test_the_step_in_a_is_the_dense_solve(samples, n_in, n_out, beta, seed):
    rng = np.random.default_rng(seed)
    phi, theta = ml.Linear(n_in, n_out), rng.standard_normal((n_in + 1, n_out))
    target, centre = rng.standard_normal((samples, n_out)), rng.standard_normal((samples, n_in))
    W, b = theta[:-1], theta[-1]
    dense = np.linalg.solve(W @ W.T + beta * np.eye(n_in), (W @ (target - b).T + beta * centre.T)).T
    assert_close("a", fit_values(phi, theta, target, centre, beta), dense, 1e-9)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="fit_transfer: centre must be an array of floating-point numbers, got dtype"):
        fit_transfer(ml.Tanh(), np.zeros(2), np.zeros(2, int), 0.5)
    with pytest.raises(ValueError, match="fit_transfer: c must be positive and finite, got 0"):
        fit_transfer(ml.ReLU(), np.zeros(2), np.zeros(2), 0)
    with pytest.raises(TypeError, match="fit_values: phi must be a Linear map, got"):
        fit_values(ml.Conv2d(1, 1, 3), np.zeros((10, 1)), np.zeros((1, 1)), np.zeros((1, 1)), 1.0)
