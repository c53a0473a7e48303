"""Target propagation: the authors' numbers, what its targets are, and what is kept of the inverse maps."""

from pathlib import Path

import numpy as np
import pytest
from laws import assert_close, assert_gradient, norm, random_case

import minilift as ml

ORACLE = dict(np.load(Path(__file__).parents[2] / "oracle" / "family" / "dtp.npz"))
TANH, RELU = "tanh6-7-5-3", "relu6-7-5-3"
each_variant = pytest.mark.parametrize("variant", ["difference", "lee"])


def oracle_case(prefix, loss):
    """Return the oracle's network 6-7-5-3 with its batch."""
    f = {"mse": ml.SquaredError(), "ce": ml.SoftmaxCrossEntropy()}[loss]
    net = ml.mlp([6, 7, 5, 3], prefix[:4], loss=f, dtype=np.float64)
    net.theta = [None] + [ORACLE[f"{prefix}/theta{l}"] for l in (1, 2, 3)]
    return net, ORACLE[f"{prefix}/X"], ORACLE[f"{prefix}/{'y_regression' if loss == 'mse' else 'labels'}"]


def with_inverses(method, prefix):
    """Return the method with the oracle's inverse maps."""
    method.psi = {l: ORACLE[f"{prefix}/psi{l}"] for l in ((2, 3) if method.variant == "difference" else (2,))}
    return method


# ---- the authors' program

CASES = [(prefix, loss, transfer, beta) for prefix, transfer, beta in
         ((TANH, "tanh", 10), (TANH, "linear", 0.5), (RELU, "relu", 10)) for loss in ("mse", "ce")]


@each_variant
@pytest.mark.parametrize(("prefix", "loss", "transfer", "beta"), CASES)
def test_targets_and_directions(variant, prefix, loss, transfer, beta):
    """The program's β belongs to the mean loss, and its local losses have no ½."""
    # holds DTP target, DTP direction
    net, X, y = oracle_case(prefix, loss)
    method = ml.TargetPropagation(beta / len(X), variant, transfer="identity" if transfer == "linear" else transfer)
    _, directions = with_inverses(method, prefix).direction(net, X, y)
    key = f"{prefix}/{loss}/{'dtp' if variant == 'difference' else 'lee'}/fb_{transfer}/beta{beta}"
    for l in (1, 2, 3):
        if f"{key}/target{l}" in ORACLE:
            assert_close(f"t_{l}", method.variables.a[l], ORACLE[f"{key}/target{l}"], 1e-12)
        scale = 1 if variant == "lee" and l == 3 else 2 * beta / len(X)
        assert_close(f"map {l}", scale * directions[l - 1], ORACLE[f"{key}/grad_theta{l}"], 1e-12)


@pytest.mark.parametrize(("prefix", "loss", "transfer", "beta"), CASES)
def test_gradients_of_the_inverses(prefix, loss, transfer, beta):
    """The program takes the mean over units too, no ½, and divides by σ²."""
    # holds DTP inverse
    net, X, _ = oracle_case(prefix, loss)
    method = with_inverses(ml.TargetPropagation(transfer="identity" if transfer == "linear" else transfer), prefix)
    state, sigma = net.forward(X), float(ORACLE[f"{prefix}/sigma"])
    for l in (2, 3):
        noise = ORACLE[f"{prefix}/noise{l - 1}"]
        scale = 2 / (sigma**2 * noise.shape[1])
        value, gradient = method.reconstruct(net, l, state.a[l - 1] + sigma * noise, net.theta[l])
        key = f"{prefix}/{loss}/dtp/fb_{transfer}"
        assert scale * value == pytest.approx(float(ORACLE[f"{key}/reconstruction_loss{l}"]), rel=1e-12)
        assert_close(f"ψ_{l}", scale * gradient, ORACLE[f"{key}/grad_psi{l}"], 1e-12)


# ---- what holds

@pytest.mark.parametrize("loss", [ml.SquaredError(), ml.SoftmaxCrossEntropy("sum")], ids=repr)
def test_the_gradient_of_an_inverse_is_that_of_its_loss(loss, rng):
    net, X, y, _ = random_case(1, [4, 5, 6, 3], 7, ["tanh", "softplus"], loss)
    method = ml.TargetPropagation()
    method.direction(net, X, y)
    h = net.forward(X).a
    for l, psi in method.psi.items():
        def value(x, l=l):
            method.psi[l] = x
            return method.reconstruct(net, l, h[l - 1], net.theta[l])[0]
        gradient = method.reconstruct(net, l, h[l - 1], net.theta[l])[1]
        assert_gradient(f"ψ_{l}", value, psi, gradient, rng)


@each_variant
def test_the_last_maps_direction_is_the_gradient(variant):
    net, X, y = oracle_case(TANH, "ce")
    _, directions = ml.TargetPropagation(0.3, variant).direction(net, X, y)
    assert_close("∇J", directions[-1], ml.BackProp().direction(net, X, y)[1][-1], 1e-14)


def test_lees_first_target_gives_the_map_below_its_gradient():
    net, X, y = oracle_case(TANH, "ce")
    _, directions = ml.TargetPropagation(1e-3, "lee").direction(net, X, y)
    assert_close("∇J", directions[-2], ml.BackProp().direction(net, X, y)[1][-2], 1e-14)


def test_where_the_loss_is_least_there_is_no_direction():
    """However wrong the inverses are: the difference takes out their error. Without it targets would be off."""
    net, X, _ = oracle_case(TANH, "mse")
    method = ml.TargetPropagation()
    _, directions = method.direction(net, X, net.forward(X).z[3].copy())
    assert not any(d.any() for d in directions)
    assert norm(method.inverse(net, 3, net.forward(X).z[3]) - net.forward(X).a[2]) > 1


def test_with_transposed_derivatives_for_inverses_small_targets_are_backprop():
    net = ml.mlp([6, 7, 5, 3], "identity", loss=ml.SquaredError(), seed=2, dtype=np.float64)
    X, y = ORACLE[f"{TANH}/X"], ORACLE[f"{TANH}/y_regression"]
    method = ml.TargetPropagation(0.01)
    method.psi = {l: np.vstack([net.theta[l][:-1].T, np.zeros((1, net.phi[l].n_in))]) for l in (2, 3)}
    for d, gradient in zip(method.direction(net, X, y)[1], ml.BackProp().direction(net, X, y)[1]):
        assert_close("∇J", d, gradient, 1e-11)  # h − t is a difference of values of size 1, by 0.01


def test_of_a_linear_network_the_inverses_learn_to_invert():
    net = ml.mlp([3, 3, 3], "identity", loss=ml.SquaredError(), seed=1, dtype=np.float64)
    net.theta[2] = np.vstack([np.diag([1.0, 2.0, -1.5]), np.ones((1, 3))])
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)), rng.standard_normal((40, 3))
    method = ml.TargetPropagation(rate=0.2, sigma=1.0)
    for _ in range(300):
        method.direction(net, X, y)
    assert np.allclose(method.psi[2][:-1] @ net.theta[2][:-1], np.eye(3), atol=1e-3)
    assert method.measure()["reconstruction"] < 1e-5


# ---- the method

DATA = (np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32), np.arange(30) % 3)


def network(**more):
    return ml.mlp([5, 6, 4, 3], "relu", seed=1, **more)


@each_variant
def test_it_trains_and_its_inverses_improve(variant):
    method = ml.TargetPropagation(variant=variant, rate=0.05)
    history = ml.fit(network(), DATA, method, ml.Adam(lr=0.02), epochs=20, batch_size=10, progress=False)
    assert history["train_loss"][-1] < 0.9 * history["train_loss"][0]
    assert np.isfinite(history["reconstruction"][1:]).all()
    fixed = network()
    method.reset()
    losses = [(method.direction(fixed, *DATA), method.measure()["reconstruction"])[1] for _ in range(200)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_the_noise_has_the_deviation_sigma():
    assert ml.TargetPropagation(sigma=0.3).noisy(network(), np.zeros((500, 20))).std() == pytest.approx(0.3, rel=0.05)


def test_the_reconstruction_is_that_of_all_inverses():
    net, method, fresh = network(), ml.TargetPropagation(sigma=0.0), ml.TargetPropagation(sigma=0.0)
    method.direction(net, *DATA)
    fresh.prepare(net)
    a = net.forward(DATA[0]).a
    losses = [fresh.reconstruct(net, l, a[l - 1], net.theta[l])[0] for l in fresh.psi]
    assert len(losses) == 2
    assert method.measure()["reconstruction"] == pytest.approx(sum(losses), rel=1e-6)


def test_a_seed_that_is_assigned_begins_anew_with_the_next_step():
    method, fresh = ml.TargetPropagation(), ml.TargetPropagation(seed=3)
    method.direction(network(), *DATA)
    method.seed = 3
    assert method == fresh
    for d, e in zip(*(m.direction(network(), *DATA)[1] for m in (method, fresh))):
        assert np.array_equal(d, e)
    assert all(np.array_equal(method.psi[l], fresh.psi[l]) for l in fresh.psi)
    with pytest.raises(ValueError, match="TargetPropagation: seed must be at least 0, got -1"):
        method.seed = -1
    assert method.seed == 3


def test_a_state_that_does_not_fit_is_refused():
    method, other = ml.TargetPropagation(), ml.TargetPropagation()
    method.direction(network(), *DATA)
    state = method.state_dict()
    other.load_state_dict(state)
    other.check_state(network())
    for l, psi in method.psi.items():
        assert np.array_equal(other.psi[l], psi)
    with pytest.raises(ValueError, match=r"TargetPropagation: psi/2 must be of shape \(5, 7\)"):
        other.check_state(ml.mlp([5, 7, 4, 3]))
    with pytest.raises(ValueError, match=r"expected inverses of the maps \[2\], got those of \[2, 3\]"):
        other.check_state(ml.mlp([5, 6, 3]))
    for wrong in ({"psi/2": state["psi/2"]}, {**state, "w": 1}, {"rng": state["rng"]}, {**state, 3: 1}):
        with pytest.raises(ValueError, match="TargetPropagation: expected a state with the keys psi/2"):
            other.load_state_dict(wrong)
    with pytest.raises(ValueError, match="TargetPropagation: rng must be the state of a generator"):
        other.load_state_dict({**state, "rng": np.array("{}")})
    with pytest.raises(TypeError, match="TargetPropagation: psi/2 must be a floating-point matrix, got None"):
        other.load_state_dict({**state, "psi/2": None})
    assert other.psi
    other.load_state_dict({})
    assert not other.psi


@pytest.mark.parametrize(("arguments", "message"), [
    ({"beta": 0}, "TargetPropagation: beta must be positive and finite, got 0"),
    ({"variant": "Lee"}, "TargetPropagation: variant: unknown name 'Lee'; did you mean 'lee'"),
    ({"rate": -1}, "TargetPropagation: rate must be at least 0 and finite, got -1"),
    ({"sigma": -1}, "TargetPropagation: sigma must be at least 0 and finite, got -1"),
    ({"transfer": "rectifier"}, "TargetPropagation: transfer: unknown name 'rectifier'"),
    ({"seed": -1}, "TargetPropagation: seed must be at least 0, got -1")])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ml.TargetPropagation(**arguments)


@pytest.mark.parametrize("layers", [[ml.Linear(5, 4), ml.BatchNorm(4), ml.ReLU(), ml.Linear(4, 3)],
                                    [ml.Named("x"), ml.Linear(5, 5), ml.Add("x"), ml.Linear(5, 3)]])
def test_other_networks_are_refused(layers):
    with pytest.raises(ValueError, match="TargetPropagation: expects"):
        ml.TargetPropagation().direction(ml.Network(layers), *DATA)


def test_one_map_alone_takes_the_gradient():
    net = ml.mlp([5, 3])
    for variant in ("difference", "lee"):
        d, = ml.TargetPropagation(variant=variant).direction(net, *DATA)[1]
        assert_close("∇J", d, ml.BackProp().direction(net, *DATA)[1][0], 1e-6)


def test_a_step_that_fails_leaves_no_trace_in_the_inverses(monkeypatch):
    net, method = network(), ml.TargetPropagation()
    method.direction(net, *DATA)
    before = {l: psi.copy() for l, psi in method.psi.items()}
    state, targets, measured = method.rng.bit_generator.state, method.variables, method.measure()
    own, calls = method.reconstruct, []

    def second_fails(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise ArithmeticError("an inverse fails")
        return own(*arguments)

    monkeypatch.setattr(method, "reconstruct", second_fails)
    with pytest.raises(ArithmeticError, match="an inverse fails"):
        method.direction(net, *DATA)
    assert method.rng.bit_generator.state == state
    assert method.variables is targets
    assert method.measure() == measured
    for l, psi in method.psi.items():
        np.testing.assert_array_equal(psi, before[l])
