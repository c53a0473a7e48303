"""LPOM: the fixed point iteration, its contraction, descent, and what it keeps."""

import numpy as np
import pytest
from laws import assert_close, norm
from test_matching import check_descent
from test_three_split import problem

import minilift as ml

DATA = (np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32), np.arange(30) % 3)


def network(**more):
    return ml.mlp([5, 6, 4, 3], "relu", seed=1, **more)


def test_an_iteration_is_the_papers():
    """It is a ← σ(φ − μ_{l+1}/μ_l (σ(φ_{l+1}) − a_{l+1}) Wᵀ), on the last hidden map with the loss's gradient."""
    # holds LPOM a
    net = ml.mlp([4, 5, 6, 3], "tanh", seed=2, dtype=np.float64)
    rng = np.random.default_rng(0)
    X, y, mu = rng.standard_normal((7, 4)), np.arange(7) % 3, (0.5, 0.01)
    energy, v = ml.LPOM(mu).energy(net, X, y), ml.LPOM().start(net, net.propagate(X))
    v = v._replace(a=[X, *(np.tanh(rng.standard_normal(a.shape)) for a in v.a[1:])])
    W, b = [theta[:-1] for theta in v.theta[1:]], [theta[-1] for theta in v.theta[1:]]
    first = np.tanh(X @ W[0] + b[0] - mu[1] / mu[0] * (np.tanh(v.a[1] @ W[1] + b[1]) - v.a[2]) @ W[1].T)
    assert_close("a_1", energy.fixed_point(1, v, 1), first, 1e-13)
    mu = (0.5, 2.0)
    energy = ml.LPOM(mu).energy(net, X, y)
    assert energy.problem_a(2, v).contraction() < 1
    z = v.a[2] @ W[2] + b[2]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    second = np.tanh(v.a[1] @ W[1] + b[1] - (p - np.eye(3)[y]) @ W[2].T / mu[1])
    assert_close("a_2", energy.fixed_point(2, v, 1), second, 1e-13)


def test_weights_too_large_to_be_squared_end_a_run_as_divergence():
    net = network()
    net.theta[2] = np.full_like(net.theta[2], 1e25)
    history = ml.fit(net, DATA, ml.LPOM(), ml.SGD(1.0), epochs=1, batch_size=None, progress=False)
    assert "too large to be squared" in str(history.diverged)


def test_the_iteration_contracts_by_the_factor_that_is_stated(rng):
    for seed in range(30):
        net, X, y = problem(seed)
        energy, v = ml.LPOM(mu=2.0).energy(net, X, y), ml.LPOM().start(net, net.propagate(X))
        for l in range(1, net.depth):
            block = energy.problem_a(l, v)
            rho = block.contraction()
            assert rho == pytest.approx(block.kappa * np.linalg.norm(v.theta[l + 1][:-1], 2) ** 2, rel=1e-10)
            if rho < 1:
                a, other = (net.sigma[l].forward(rng.standard_normal(v.a[l].shape)) for _ in range(2))
                apart = norm(block.fixed_point(a, 1) - block.fixed_point(other, 1))
                assert apart <= rho * norm(a - other) * (1 + 1e-12)


def test_no_block_raises_the_energy():
    """100 problems, in many of which the iteration as published would not contract."""
    method = ml.LPOM(mu=0.8, tau=0.7, steps=2)
    check_descent(method, lambda net, v, l: (1 / method.tau, v.theta[l]))


def test_many_iterations_come_to_the_argmin():
    for seed in range(10):
        net, X, y = problem(seed)
        energy, v = ml.LPOM(mu=4.0).energy(net, X, y), ml.LPOM().start(net, net.propagate(X))
        l = net.depth - 1
        if energy.problem_a(l, v).contraction() < 0.8:
            assert_close("a", energy.fixed_point(l, v, 200), energy.best_a(l, v), 1e-10)


@pytest.mark.parametrize(("variables", "batch_size"), [("kept", None), ("forward", 10)])
def test_it_trains(variables, batch_size):
    history = ml.fit(network(), DATA, ml.LPOM(tau=0.3, variables=variables), ml.SGD(lr=1.0), epochs=10,
                     batch_size=batch_size, progress=False)
    assert history["train_loss"][-1] < 0.9 * history["train_loss"][0]
    if variables == "kept":
        energy = np.array(history["energy"][1:])
        assert (np.diff(energy) <= 1e-5 * energy[:-1]).all()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"mu": 0}, "LPOM: mu must be positive and finite, got 0"),
    ({"mu": [1, -1]}, r"LPOM: mu\[1\] must be positive and finite, got -1"),
    ({"tau": -1}, "LPOM: tau must be positive and finite, got -1"),
    ({"steps": 0}, "LPOM: steps must be at least 1, got 0"),
    ({"variables": "old"}, "LPOM: variables: unknown name 'old'"),
])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ml.LPOM(**arguments)
