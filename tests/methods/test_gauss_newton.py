"""Gauss–Newton: another program's steps, Levenberg–Marquardt, the derivative forward and its adjoint."""

import numpy as np
import pytest
from graphs import GRAPHS, case_of, random_graph
from hypothesis import given
from hypothesis import strategies as st
from laws import assert_adjoint, assert_close, cases, central_difference, gradients_of, is_smooth, stacked
from test_kronecker import each_oracle, oracle_case

import minilift as ml
from minilift.methods.backward import gauss_newton
from minilift.methods.backward.gauss_newton import network_jvp, pulled_back, solved, split

EXACT = 1e-13


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


# ---- another program's numbers


@each_oracle
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_steps_are_those_of_another_program(oracle, name, kind, reduction):
    """SGD with rate 1 takes exactly the step; the damping is of the mean loss, whatever the reduction."""
    # holds Gauss–Newton
    data = oracle("family/ggn")
    for damping in ("0.01", "1", "100"):
        net, X, y = oracle_case(data, name, kind, reduction)
        _, directions = ml.GaussNewton(float(damping), tolerance=EXACT).direction(net, X, y)
        key = f"{name}/{kind}/lambda{damping}"
        for l, d in enumerate(directions, start=1):
            assert_close(f"{key}, map {l}", d, data[f"{key}/step_theta{l}"], 1e-10)
        net.theta = [None, *map(np.array, net.parameters)]
        ml.SGD(lr=1.0).step(net.parameters, directions)
        weight = len(X) if reduction == "sum" else 1
        assert net.loss(X, y) / weight == pytest.approx(float(data[f"{key}/loss_new"]), rel=1e-9)


def test_a_planted_mistake_fails_the_oracle(oracle, monkeypatch):
    """The derivative forward is twice what it is: so is the curvature, and the steps are others."""
    data = oracle("family/ggn")
    net, X, y = oracle_case(data, "tanh6-7-5-3", "mse")
    monkeypatch.setattr(gauss_newton, "network_jvp", lambda net, state, tangents: 2 * network_jvp(net, state, tangents))
    d = ml.GaussNewton(1.0, tolerance=EXACT).direction(net, X, y)[1][0]
    with pytest.raises(AssertionError, match="relative error"):
        assert_close("θ_1", d, data["tanh6-7-5-3/mse/lambda1/step_theta1"], 1e-10)


# ---- identities


@pytest.mark.parametrize("damping", [0.01, 1.0, 30.0])
def test_one_linear_map_with_squared_error_is_levenberg_marquardt_is_proxprop(rng, damping):
    # holds Gauss–Newton, FOOF
    X, y = rng.standard_normal((9, 4)), rng.standard_normal((9, 3))
    net = ml.mlp([4, 3], loss=ml.SquaredError("sum"), dtype=np.float64)
    _, (d,) = ml.GaussNewton(damping, tolerance=EXACT).direction(net, X, y)
    _, (prox,) = ml.ProxProp(1 / (9 * damping), last="implicit").direction(net, X, y)
    _, (foof,) = ml.FOOF(damping).direction(net, X, y)
    jacobian = np.kron(stacked(X), np.eye(3))  # of z.ravel() in θ.ravel()
    residual = (net.forward(X).z[1] - y).ravel()
    marquardt = np.linalg.solve(jacobian.T @ jacobian + 9 * damping * np.eye(15), jacobian.T @ residual)
    for name, other in (("Levenberg–Marquardt", marquardt.reshape(5, 3)), ("ProxProp", prox), ("FOOF", foof)):
        assert_close(name, d, other, 1e-10)


def test_for_large_damping_it_is_the_gradient(rng):
    net, X, y = ml.mlp([4, 5, 3], "tanh", dtype=np.float64), rng.standard_normal((9, 4)), rng.integers(0, 3, 9)
    for d, gradient in zip(ml.GaussNewton(1e7, tolerance=EXACT).direction(net, X, y)[1], gradients_of(net, X, y)):
        assert_close("∇J/λ", 1e7 * d, gradient, 1e-5)


# ---- the derivative forward


def assert_jvp(case):
    """The derivative forward is that of the network, by differences, and `pulled_back` is its adjoint."""
    net, state = case.net, case.net.propagate(case.X, training=True)
    tangents = [case.rng.standard_normal(parameter.shape) for parameter in net.parameters]

    def output(parameters):
        theta = dict(zip(net.maps, parameters))
        return net.forward(case.X, training=True, theta=[theta.get(l) for l in net.owner]).z[net.depth]

    if is_smooth(net, case.X):
        expected = central_difference(output, list(net.parameters), tangents)
        assert_close("J t", network_jvp(net, state, tangents), expected, 1e-7)
    assert_adjoint("J", lambda t: network_jvp(net, state, split(t, net.parameters)),
                   lambda g: pulled_back(net, state, g), flat(tangents),
                   case.rng.standard_normal(state.z[net.depth].shape))


@given(cases())
def test_the_derivative_forward_of_a_chain(case):
    # holds Gauss–Newton
    assert_jvp(case)


@given(st.integers(0, 1000))
def test_the_derivative_forward_of_a_random_graph(seed):
    assert_jvp(random_graph(seed, transfers=(ml.Tanh, ml.Softplus)))


@pytest.mark.parametrize("kind", ["residual", "dense", "recurrent", "last output"])
def test_the_derivative_forward_of_a_graph(kind):
    assert_jvp(case_of(GRAPHS[kind](), np.random.default_rng(0)))


@pytest.mark.parametrize("pool", [ml.MaxPool2d(2), ml.MaxPool2d(3, stride=1), ml.AvgPool2d(2)], ids=repr)
def test_the_derivative_forward_through_images(pool, rng):
    """A pooling is linear where its maxima stay where they are, and the difference below does not move them."""
    shape = pool.output_shape((6, 6, 2))
    net = ml.Network([ml.Conv2d(1, 2, 3), ml.Tanh(), pool, ml.Flatten(), ml.Linear(int(np.prod(shape)), 3)],
                     input_shape=(6, 6, 1), dtype=np.float64)
    assert_jvp(case_of(net, rng, 3))


def test_dropout_is_the_mask_that_was_drawn(rng):
    net = ml.Network([ml.Linear(4, 6), ml.Tanh(), ml.Dropout(0.4), ml.Linear(6, 3)], dtype=np.float64)
    X, t = rng.standard_normal((5, 4)), [rng.standard_normal(parameter.shape) for parameter in net.parameters]
    state = net.forward(X, training=True, rng=np.random.default_rng(1))

    def output(parameters):
        return net.forward(X, training=True, rng=np.random.default_rng(1), theta=[None, *parameters]).z[2]

    assert_close("J t", network_jvp(net, state, t), central_difference(output, list(net.parameters), t), 1e-8)


# ---- conjugate gradients


def test_the_residual_is_within_the_tolerance(rng):
    """The true one, by products that the solver did not make."""
    net, X, y = ml.mlp([4, 6, 3], "tanh", dtype=np.float64), rng.standard_normal((9, 4)), rng.integers(0, 3, 9)
    state, gradient = net.forward(X), flat(gradients_of(net, X, y))
    p = net.loss_function.proba(state.z[2])
    for tolerance in (1e-2, 1e-5, 1e-9):
        d = flat(ml.GaussNewton(0.01, tolerance).direction(net, X, y)[1])
        forward = network_jvp(net, state, split(d, net.parameters))
        curved = pulled_back(net, state, p * (forward - (p * forward).sum(axis=1, keepdims=True)) / 9)
        assert np.linalg.norm(curved + 0.01 * d - gradient) <= tolerance * np.linalg.norm(gradient)


@pytest.mark.parametrize("method", [ml.GaussNewton(1e-3, steps=2), ml.GaussNewton(1e-3, tolerance=1e-12)], ids=repr)
def test_a_tolerance_that_is_not_reached_is_an_error(method, rng):
    X, y = rng.standard_normal((9, 4)), rng.integers(0, 3, 9)
    words = f"have not reached a residual of {method.tolerance:g} in {method.steps} steps"
    with pytest.raises(ArithmeticError, match=words):
        method.direction(ml.mlp([4, 6, 3], "tanh", dtype=np.float32), X, y)


def test_a_gradient_of_zero_or_nan_comes_back():
    net = ml.mlp([2, 2], loss=ml.SquaredError(), dtype=np.float64)
    X = np.ones((3, 2))
    assert not flat(ml.GaussNewton(0.1).direction(net, X, net.predict(X))[1]).any()
    net.theta[1][:] = np.nan
    assert np.isnan(flat(ml.GaussNewton(0.1).direction(net, X, X)[1])).all()


def test_an_infinite_gradient_comes_back():
    b = np.array([np.inf, 1.0])
    with np.errstate(invalid="ignore"):
        assert solved(lambda p: p, b, 1e-4, 5) is b


# ---- what is refused; other dtypes and backends


def test_layers_without_a_forward_derivative_are_refused_by_name(rng):
    class Sorted(ml.Transfer):
        def apply(self, z, training=False, rng=None):
            return np.sort(z, axis=-1), np.argsort(z, axis=-1)

        def adjoint(self, z, a, aux, g):
            return np.take_along_axis(g, np.argsort(aux, axis=-1), axis=-1)

    X, y = rng.standard_normal((6, 4)), [0, 1, 2, 0, 1, 2]
    for layer, words in ((ml.BatchNorm(5), r"got BatchNorm\(5\)"),
                         (Sorted(), r"Sorted\(\) has no forward derivative")):
        net = ml.Network([ml.Linear(4, 5), layer, ml.ReLU(), ml.Linear(5, 3)], dtype=np.float64)
        with pytest.raises(ValueError, match=f"GaussNewton: .*{words}"):
            ml.GaussNewton(0.1).direction(net, X, y)


def test_float32_trains_the_digits():
    data = ml.datasets.digits()
    net = ml.mlp([64, 16, 10], "tanh", seed=0)
    history = ml.fit(net, (data.X_train[:300], data.y_train[:300]), ml.GaussNewton(0.1), ml.SGD(1.0), epochs=2,
                     batch_size=100, progress=False)
    assert history["train_loss"][-1] < 0.5 * history["train_loss"][0]
    assert net.parameters[0].dtype == np.float32


def test_on_the_other_backend(device):
    rng = np.random.default_rng(0)
    X, y, found = rng.standard_normal((4, 6, 6, 1)), [0, 1, 2, 0], []
    for backend in ("numpy", "cupy"):
        net = ml.convnet((6, 6, 1), (2,), classes=3, kernel=3, activation="tanh", dtype=np.float64, backend=backend)
        found.append(ml.GaussNewton(0.1, tolerance=1e-12).direction(net, X, y)[1])
    for d, e in zip(*found, strict=True):
        assert isinstance(e, device.ndarray)
        assert_close("d", e.get(), d, 1e-9)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"damping": 0}, ValueError, "GaussNewton: damping must be positive and finite, got 0"),
    ({"damping": None}, TypeError, "GaussNewton: damping must be a positive number"),
    ({"damping": 1.0, "tolerance": 1.0}, ValueError, r"GaussNewton: tolerance must be in \[0, 1\)"),
    ({"damping": 1.0, "tolerance": 0}, ValueError, "GaussNewton: tolerance must be positive"),
    ({"damping": 1.0, "steps": 0.5}, TypeError, "GaussNewton: steps must be a whole number")])
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        ml.GaussNewton(**arguments)
