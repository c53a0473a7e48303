"""Lifted Bregman training: its implicit step, its proximal gradient, descent."""

import numpy as np
import pytest
from laws import assert_close, norm
from test_matching import check_descent
from test_three_split import problem, take_step

import minilift as ml

DATA = (np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32), np.arange(30) % 3)


def network(**more):
    return ml.mlp([5, 6, 4, 3], "relu", seed=1, **more)


def test_for_a_relu_a_proximal_gradient_step_is_a_projected_one():
    """Ψ is the indicator of a ≥ 0: step along −∇(½‖a‖² − ⟨a, φ⟩ + κh), then cut at 0."""
    # holds Bregman a
    net = network(dtype=np.float64)
    rng = np.random.default_rng(0)
    X, y = DATA[0].astype(np.float64), DATA[1]
    energy, v = ml.LiftedBregman(mu=0.7).energy(net, X, y), ml.LiftedBregman().start(net, net.propagate(X))
    v = v._replace(a=[X, *(abs(rng.standard_normal(a.shape)) for a in v.a[1:])])
    for l, kappa in ((1, 1.0), (2, 1 / 0.7)):
        W, phi, above = v.theta[l + 1][:-1], energy.phi(l, v), energy.phi(l + 1, v)
        f, target = energy.goal(l + 1, v)
        t = 1 / (1 + kappa * np.linalg.norm(W, 2) ** 2)
        stepped = v.a[l] - t * (v.a[l] - phi + kappa * (f.forward(above) - target) @ W.T)
        assert_close(f"a_{l}", energy.proximal_gradient(l, v, 1), np.maximum(stepped, 0), 1e-13)


def test_the_step_in_theta_is_implicit():
    """θ^{k+1} = θ^k − τ ∇E(θ^{k+1}, a): the gradient is taken where the step ends."""
    # holds Matching θ
    for seed in range(12):
        net, X, y = problem(seed)
        method, before = ml.LiftedBregman(tau=0.3), [theta.copy() for theta in net.parameters]
        take_step(net, method, X, y)
        v, energy = method.variables, method.energy(net, X, y)
        l = net.depth  # all other variables were as they are now when θ_D was stepped
        assert_close("θ_D", net.theta[l] - before[-1], -0.3 * energy.gradient("theta", l, v), 1e-8)


def test_as_tau_vanishes_the_step_is_an_explicit_one():
    """With the activations where their steps put them."""
    net, X, y = problem(3, ["tanh"])
    method, tau = ml.LiftedBregman(tau=1e-6), 1e-6
    _, steps = method.direction(net, X, y)
    v, energy = method.variables, method.energy(net, X, y)
    for l, step in enumerate(steps, start=1):
        assert_close(f"θ_{l}", step / tau, energy.gradient("theta", l, v._replace(theta=net.theta)), 1e-4)


@pytest.mark.parametrize("sweeps", [1, 2])
def test_no_block_raises_the_energy(sweeps):
    """100 problems; the anchor stays where the call began."""
    method = ml.LiftedBregman(tau=0.7, mu=0.8, steps=2, sweeps=sweeps)
    check_descent(method, lambda net, v, l: (1 / method.tau, net.theta[l]), range(sweeps // 2, 100, 2), sweeps)


def test_more_alternations_come_nearer_to_the_joint_minimum():
    """Of E + 1/(2τ)‖θ − θ^k‖² over a and θ: its value falls from one number of alternations to the next."""
    for seed in (0, 2, 3, 5):
        net, X, y = problem(seed)
        reached = []
        for sweeps in (1, 2, 4, 8):
            method = ml.LiftedBregman(tau=0.5, sweeps=sweeps)
            _, steps = method.direction(net, X, y)
            reached.append(method.measure()["energy"] + sum(norm(step) ** 2 for step in steps))
        assert reached[-1] < reached[0]
        assert (np.diff(reached) <= 1e-10 * (1 + abs(reached[0]))).all()


@pytest.mark.parametrize(("variables", "batch_size"), [("kept", None), ("forward", 10)])
def test_it_trains_and_resumes_bit_for_bit(variables, batch_size, tmp_path):
    method, whole, parts = ml.LiftedBregman(tau=0.3, variables=variables), network(), network()
    arguments = {"optimizer": ml.SGD(lr=1.0), "batch_size": batch_size, "progress": False}
    history = ml.fit(whole, DATA, method, epochs=8, **arguments)
    assert history["train_loss"][-1] < 0.9 * history["train_loss"][0]
    ml.fit(parts, DATA, method, epochs=4, checkpoint=tmp_path / "run.npz", **arguments)
    method.reset()
    ml.fit(parts, DATA, method, epochs=8, checkpoint=tmp_path / "run.npz", resume=True, **arguments)
    for mine, other in zip(parts.parameters, whole.parameters):
        assert np.array_equal(mine, other)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"tau": 0}, "LiftedBregman: tau must be positive and finite, got 0"),
    ({"mu": -1}, "LiftedBregman: mu must be positive and finite, got -1"),
    ({"steps": 0}, "LiftedBregman: steps must be at least 1, got 0"),
    ({"variables": "old"}, "LiftedBregman: variables: unknown name 'old'"),
    ({"sweeps": 0}, "LiftedBregman: sweeps must be at least 1, got 0"),
])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ml.LiftedBregman(**arguments)
