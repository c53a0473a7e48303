"""ProxProp against its authors' own program (oracle/README.md says where the numbers come from)."""

import numpy as np
import pytest
from laws import assert_close, assert_oracle, oracle_network, oracle_theta

import minilift as ml

TAUS = (0.05, 1, 100)


@pytest.fixture
def mlp_oracle(oracle):
    return oracle("proxprop_mlp")


def direction(oracle, method):
    return method.direction(oracle_network(oracle), oracle["X"], oracle["y"])[1]


def test_outputs_and_loss(mlp_oracle):
    net = oracle_network(mlp_oracle)
    assert_close("logits", net.forward(mlp_oracle["X"]).z[4], mlp_oracle["logits"], 1e-14)
    assert net.loss(mlp_oracle["X"], mlp_oracle["y"]) == pytest.approx(float(mlp_oracle["loss"]), rel=1e-14)


def test_gradient(mlp_oracle):
    assert_oracle(direction(mlp_oracle, ml.BackProp()), mlp_oracle, "gradient", [1e-13] * 4)


@pytest.mark.parametrize("tau_theta", TAUS)
def test_exact(mlp_oracle, tau_theta):
    directions = direction(mlp_oracle, ml.ProxProp(tau_theta))
    assert_oracle(directions, mlp_oracle, f"exact_closed_form/tau{tau_theta}", [3e-13] * 3)
    gradient = oracle_theta(mlp_oracle, "gradient/dW4", "gradient/db4")
    assert_close("the last map's direction", directions[3], gradient, 1e-13)


@pytest.mark.parametrize("tau_theta", TAUS)
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_conjugate_gradients(mlp_oracle, tau_theta, steps):
    # holds ProxProp (14)
    key = f"cg{steps}_textbook/tau{tau_theta}"
    # ten steps are sensitive to rounding, by up to 1e-5: a hundred times what 80-bit arithmetic changes
    sensitivity = mlp_oracle[f"{key}/rounding_sensitivity"] if steps == 10 else np.zeros(3)
    tolerances = np.maximum(3e-13, 100 * sensitivity)
    assert_oracle(direction(mlp_oracle, ml.ProxProp(tau_theta, f"cg{steps}")), mlp_oracle, key, tolerances)


def test_the_published_program_takes_another_third_step(mlp_oracle):
    """Its first two search directions are one tensor, so that from the second step on it is not CG."""
    directions = direction(mlp_oracle, ml.ProxProp(1, "cg3"))
    with pytest.raises(AssertionError, match="relative error"):
        assert_oracle(directions, mlp_oracle, "cg3_official_eps0_tol0/tau1", [1e-2] * 3)


# ---- three mini-batches with an optimizer

@pytest.fixture
def training_oracle(oracle):
    return oracle("proxprop_training")


OPTIMIZERS = {"sgd_nesterov": (lambda: ml.Nesterov(lr=0.1, momentum=0.95), 1e-12),
              "adam": (lambda: ml.Adam(lr=1e-3), 1e-7)}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("tau_theta", [None, *TAUS])
def test_three_training_steps(training_oracle, name, tau_theta):
    make, tolerance = OPTIMIZERS[name]
    method = ml.BackProp() if tau_theta is None else ml.ProxProp(tau_theta)
    key = f"gradient/{name}" if tau_theta is None else f"exact/{name}/tau{tau_theta}"
    net, optimizer, losses = oracle_network(training_oracle), make(), []
    net.theta = [None, *(p.copy() for p in net.parameters)]
    for X, y in zip(training_oracle["X"], training_oracle["y"], strict=True):
        loss, directions = method.direction(net, X, y)
        losses.append(loss)
        optimizer.step(net.parameters, directions)
    assert len(losses) == 3
    assert_close("losses", losses, training_oracle[f"{key}/losses_before_each_step"], tolerance)
    for l in range(1, 5):
        expected = oracle_theta(training_oracle, f"{key}/step3/W{l}", f"{key}/step3/b{l}")
        assert_close(f"{key}: θ_{l}", net.theta[l], expected, tolerance)
