"""Linear maps: forward, both adjoints, the Gram operator on either side, initialisation."""

import numpy as np
import pytest
from conftest import read_only
from hypothesis import given
from hypothesis import strategies as st
from laws import assert_close, assert_gram, assert_map, stacked

import minilift as ml
from minilift.layers.gram import Gram, parameter_gram, sample_gram

sizes = st.integers(1, 9)


@given(st.integers(0, 2**32 - 1), sizes, sizes, st.integers(1, 12))
def test_forward_and_adjoints_and_gram(seed, n_in, n_out, samples):
    rng = np.random.default_rng(seed)
    theta = read_only(rng.standard_normal((n_in + 1, n_out)))
    a = read_only(rng.standard_normal((samples, n_in)))
    assert_map(ml.Linear(n_in, n_out), theta, a, rng)


@given(st.integers(0, 2**32 - 1), sizes, st.integers(1, 12))
def test_gram_without_the_column_of_ones(seed, n_in, samples):
    rng = np.random.default_rng(seed)
    a = read_only(rng.standard_normal((samples, n_in)))
    for side in ("sample", "parameter"):
        assert_gram(Gram(a, side=side, bias=False), a, rng)


@pytest.mark.parametrize(("samples", "n_in", "side"), [(5, 4, "sample"), (6, 4, "parameter"), (4, 9, "sample")])
def test_gram_takes_the_smaller_side(rng, samples, n_in, side):
    gram = Gram(rng.standard_normal((samples, n_in)))
    assert gram.side == side
    assert len(gram.matrix) == min(samples, n_in + 1)


@pytest.mark.parametrize("form", [sample_gram, parameter_gram])
@pytest.mark.parametrize("mean", [0.0, 3.0, 100.0])
def test_float32_gram_of_data_with_large_means_is_accurate(rng, form, mean):
    """What centring is for: a plain float32 product rounds the square of the mean, this one its first power."""
    spread = rng.standard_normal((60, 40)) * 0.1
    a = (mean * rng.uniform(0.5, 1, 40) + spread).astype(np.float32)

    def plain(tilde):
        return tilde @ tilde.T if form is sample_gram else tilde.T @ tilde
    exact = plain(stacked(a.astype(np.float64)))
    centred_error = np.abs(form(a) - exact).max()
    plain_error = np.abs(plain(stacked(a).astype(np.float32)) - exact).max()
    assert centred_error <= 4e-6 * (1 + mean)  # rounding of a row's c = A_c m is linear in the mean …
    if mean == 100.0:
        assert plain_error > 50 * centred_error  # … where the plain product's is quadratic


def test_theta_is_one_array_with_the_bias_in_its_last_row(rng):
    phi = ml.Linear(3, 2)
    theta, a = rng.standard_normal((4, 2)), rng.standard_normal((5, 3))
    assert phi.theta_shape == (4, 2)
    assert_close("forward", phi.forward(theta, a), a @ theta[:3] + theta[3], 1e-15)


@pytest.mark.parametrize(("init", "bound", "spread", "bias"), [
    ("uniform", 1 / np.sqrt(400), 1 / np.sqrt(3 * 400), True),
    ("glorot", np.sqrt(6 / 700), np.sqrt(2 / 700), False),
    ("he", np.inf, np.sqrt(2 / 400), False),
    ("normal", np.inf, 0.05, True),
    (0.3, np.inf, 0.3, True),
])
def test_initialisations(init, bound, spread, bias):
    theta = ml.Linear(400, 300, init=init).initial_theta(np.random.default_rng(1))
    weights = theta[:-1]
    assert theta.shape == (401, 300)
    assert abs(weights).max() <= bound
    assert abs(weights.std() / spread - 1) < 0.01
    assert abs(weights.mean()) < spread / 50
    assert bool(theta[-1].any()) == bias
    if bias:
        assert abs(theta[-1].std() / spread - 1) < 0.15


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"Linear\(3, 2\) expects samples of shape \(3,\), got \(4,\)"):
        ml.Linear(3, 2).output_shape((4,))


class Pairs(ml.Map):
    """The same map on each pair of neighbouring time steps: no more than the docstring of `Map` asks for."""

    n_in = 6
    theta_shape = (7, 4)

    def initial_theta(self, rng):
        return rng.standard_normal(self.theta_shape)

    def output_shape(self, input_shape):
        return (input_shape[0] - 1, 4)

    def pairs(self, a):
        return np.concatenate([a[:, :-1], a[:, 1:]], axis=2)

    def rows(self, a):
        return self.pairs(a).reshape(-1, 6)

    def forward(self, theta, a):
        return self.pairs(a) @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        left, right = np.split(g @ theta[:-1].T, 2, axis=2)
        nothing = np.zeros((len(g), 1, 3), g.dtype)
        return np.concatenate([left, nothing], axis=1) + np.concatenate([nothing, right], axis=1)

    def adjoint_theta(self, a, g):
        return stacked(self.rows(a)).T @ g.reshape(-1, 4)


@pytest.mark.parametrize("method", [ml.ProxProp(0.5), ml.FOOF(2.0), ml.SemiImplicit(), ml.KFAC(0.1),
                                    ml.LocoProp("S", local_optimizer="sgd")], ids=repr)
def test_a_map_with_several_rows_for_each_sample_needs_no_more_than_a_linear_one(method, rng):
    net = ml.Network([Pairs(), ml.Tanh(), ml.Flatten(), ml.Linear(16, 2)], ml.SquaredError(), dtype=np.float64,
                     input_shape=(5, 3))
    X, y = rng.standard_normal((7, 5, 3)), rng.standard_normal((7, 2))
    _, (d, _) = method.direction(net, X, y)
    gradients = ml.BackProp().direction(net, X, y)[1]
    assert (d * gradients[0]).sum() > 0
    if isinstance(method, ml.ProxProp):
        A = stacked(Pairs().rows(X))
        assert_close("d", d, np.linalg.solve(A.T @ A + 2 * np.eye(7), gradients[0]), 1e-10)
