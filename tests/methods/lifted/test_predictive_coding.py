"""Predictive coding, on the two-split energy: the authors' numbers, and when it is backpropagation."""

import math
from pathlib import Path

import numpy as np
import pytest
from graphs import GRAPHS, case_of, random_graph
from hypothesis import given
from hypothesis import strategies as st
from laws import SMOOTH, assert_close, assert_gradient, cases, norm, random_case

import minilift as ml
from minilift.methods.lifted.descend import Variables
from minilift.methods.lifted.two_split import TwoSplit

ORACLE = dict(np.load(Path(__file__).parents[2] / "oracle" / "family" / "pc.npz"))
LATENTS = ("post", "pre")
SMOOTH_TRANSFERS = (ml.Tanh, ml.Sigmoid, ml.Softplus)
each_latent = pytest.mark.parametrize("latent", LATENTS)


def oracle_case(prefix, loss):
    """Return the oracle's network 6-7-5-3 with its batch."""
    f = {"mse": ml.SquaredError(), "ce": ml.SoftmaxCrossEntropy()}[loss]
    net = ml.mlp([6, 7, 5, 3], prefix[:4], loss=f, dtype=np.float64)
    net.theta = [None] + [ORACLE[f"{prefix}/theta{l}"] for l in (1, 2, 3)]
    return net, ORACLE[f"{prefix}/X"], ORACLE[f"{prefix}/{'y_regression' if loss == 'mse' else 'labels'}"]


def latents(method):
    """Return [None, v_1, …] after a call."""
    return method.variables.a if method.latent == "post" else method.variables.z


def backprop(net, X, y):
    return ml.BackProp().direction(net, X, y)[1]


def rounding(method):
    """Return what rounding can make of a direction: errors v_l − f_l are differences of values, times an input."""
    sizes = [norm(v) + 1 for v in latents(method)[1:]]
    return 1e-13 * (1 + norm(method.variables.a[0]) + sum(sizes)) * sum(sizes)


def linear_case(rng, D):
    """Return a network of identities with squared error, and a batch."""
    net = ml.mlp([4, *[5] * (D - 1), 3], "identity", loss=ml.SquaredError(), seed=D, dtype=np.float64)
    return net, rng.standard_normal((6, 4)), rng.standard_normal((6, 3))


# ---- the energy

@pytest.mark.parametrize("loss", [ml.SquaredError(), ml.SoftmaxCrossEntropy(), ml.SigmoidCrossEntropy("sum")], ids=repr)
@each_latent
def test_each_partial_gradient_is_that_of_the_value(latent, loss, rng):
    # holds PC latent
    net, X, y, _ = random_case(3, [4, 5, 6, 3], 7, ["tanh", "softplus"], loss)
    energy = TwoSplit(net, y, mu=1.3, latent=latent)
    v = energy.start(net.forward(X))
    for l in (1, 2):
        v = v.replaced(energy.block, l, rng.standard_normal(getattr(v, energy.block)[l].shape))
    blocks = [("theta", l) for l in (1, 2, 3)] + [(energy.block, l) for l in (1, 2)]
    for block, l in blocks:
        assert_gradient(f"∂E/∂{block}_{l}", lambda x: energy.value(v.replaced(block, l, x)),  # noqa: B023
                        getattr(v, block)[l], energy.gradient(block, l, v), rng)
    at_once = energy.latent_gradients(v)
    for l in (1, 2):
        assert np.array_equal(at_once[l], energy.gradient(energy.block, l, v))


@each_latent
def test_on_a_forward_pass_the_energy_is_the_summed_loss(latent):
    net, X, y = oracle_case("tanh6-7-5-3", "ce")
    method = ml.PredictiveCoding(latent=latent)
    terms = method.energy(net, X, y).terms(method.start(net, net.forward(X)))
    assert terms == {"loss": pytest.approx(len(X) * net.loss(X, y), rel=1e-14), "error 1": 0, "error 2": 0}


# ---- the authors' programs

@pytest.mark.parametrize(("prefix", "latent", "loss", "rate", "steps"), [
    *(("tanh6-7-5-3", "post", "mse", rate, steps) for rate in (0.1, 0.05) for steps in (1, 5, 20)),
    ("tanh6-7-5-3", "pre", "ce", 0.1, 5), ("tanh6-7-5-3", "pre", "ce", 0.1, 20),
    ("relu6-7-5-3", "post", "ce", 0.1, 20), ("relu6-7-5-3", "pre", "mse", 0.1, 20)])
def test_jpcs_numbers(prefix, latent, loss, rate, steps):
    # holds PC latent, PC direction
    net, X, y = oracle_case(prefix, loss)
    method, key = ml.PredictiveCoding(rate, steps, latent), f"{prefix}/{latent}/{loss}/eta{rate}/T{steps}"
    _, directions = method.direction(net, X, y)
    for l in (1, 2):
        assert_close(f"z_{l}", latents(method)[l], ORACLE[f"{key}/z{l}"], 1e-12)
    for l in (1, 2, 3):
        expected = ORACLE[f"{key}/grad_theta{l}"]
        if l == 1 and steps == 1:  # the error has not arrived
            assert not directions[0].any()
            assert abs(expected).max() < 1e-15
        else:
            assert_close(f"∂F/∂θ_{l}", directions[l - 1], expected, 1e-12)
    terms = method.last_energy.terms(method.variables)
    energies = [terms[name] / len(X) for name in ("error 1", "error 2", "loss")]
    assert energies == pytest.approx(list(ORACLE[f"{key}/energies"]), rel=1e-12)


def test_jpcs_energy_before_each_step():
    net, X, y = oracle_case("tanh6-7-5-3", "mse")
    method = ml.PredictiveCoding(0.1)
    energy, v = method.energy(net, X, y), method.start(net, net.forward(X))
    for expected in ORACLE["tanh6-7-5-3/post/mse/eta0.1/energy_before_step"]:
        assert energy.value(v) / len(X) == pytest.approx(float(expected), rel=1e-12)
        v = method.relaxed(energy, v)


@each_latent
def test_jpcs_equilibrium(latent):
    net, X, y = oracle_case("tanh6-7-5-3", "mse")
    method = ml.PredictiveCoding(0.3, 800, latent)
    _, directions = method.direction(net, X, y)
    assert max(abs(g).max() for g in method.last_energy.latent_gradients(method.variables)[1:]) < 1e-12
    for l in (1, 2, 3):
        expected = ORACLE[f"tanh6-7-5-3/{latent}/mse/equilibrium/grad_theta{l}"]
        assert_close(f"∂F/∂θ_{l}", directions[l - 1], expected, 1e-10)


@pytest.mark.parametrize("loss", ["mse", "ce"])
@pytest.mark.parametrize(("rate", "n"), [(1.0, 2), (0.1, 20)])
def test_torch2pcs_fixed_predictions(loss, rate, n):
    """Its n iterations take the direction from the errors before the last step of the values."""
    net, X, y = oracle_case("tanh6-7-5-3", loss)
    _, directions = ml.PredictiveCoding(rate, n - 1, prediction="fixed").direction(net, X, y)
    for l in (1, 2, 3):
        expected = ORACLE[f"tanh6-7-5-3/post/{loss}/torch2pc_FixedPred_eta{rate}_n{n}_mean/grad_theta{l}"]
        assert norm(directions[l - 1] - expected) <= 1e-12 * norm(expected)


def test_zils_schedule_takes_each_direction_when_the_error_arrives():
    """The authors sum over samples: their gradient of map 3 − t is ours after t steps, times N."""
    net, X, y = oracle_case("tanh6-7-5-3", "mse")
    for t in (0, 1, 2):
        _, directions = ml.PredictiveCoding(0.5, t, "pre").direction(net, X, y)
        expected = ORACLE[f"tanh6-7-5-3/pre/mse/zil_xlr0.5/t{t}/grad_theta{3 - t}"]
        assert_close(f"map {3 - t}", len(X) * directions[2 - t], expected, 1e-12)


def test_pypcs_numbers_without_biases():
    net, X, y = oracle_case("tanh6-7-5-3", "mse")
    for l in (1, 2, 3):
        net.theta[l] = np.vstack([net.theta[l][:-1], 0 * net.theta[l][-1:]])
    method, key = ml.PredictiveCoding(0.1, 20), "tanh6-7-5-3/nobias_post/mse/pypc_fixed0_eta0.1_T20"
    _, directions = method.direction(net, X, y)
    for l in (1, 2):
        assert_close(f"z_{l}", latents(method)[l], ORACLE[f"{key}/z{l}"], 1e-12)
    for l in (1, 2, 3):
        assert_close(f"W_{l}", len(X) * directions[l - 1][:-1], ORACLE[f"{key}/grad_W{l}"], 1e-12)


# ---- what ties it to backpropagation

@given(case=cases(least_depth=2), latent=st.sampled_from(LATENTS), more=st.integers(0, 3))
def test_with_fixed_predictions_and_rate_1_it_is_backprop(case, latent, more):
    # holds PC latent, PC direction
    method = ml.PredictiveCoding(1.0, case.net.depth - 1 + more, latent, "fixed")
    loss, directions = method.direction(case.net, case.X, case.y)
    assert loss == case.net.loss(case.X, case.y)
    for l, (d, gradient) in enumerate(zip(directions, backprop(*case[:3]), strict=True), start=1):
        assert norm(d - gradient) <= 1e-12 * norm(gradient) + rounding(method), f"map {l}"


@given(case=cases(least_depth=2), latent=st.sampled_from(LATENTS), rate=st.sampled_from([0.1, 0.5, 1.0]))
def test_the_error_moves_one_map_a_step(case, latent, rate):
    """After T steps maps below D − T have no error; at map D − T it is η^T times BackProp's signal, for any η."""
    D = case.net.depth
    gradients = backprop(*case[:3])
    for T in range(D):
        method = ml.PredictiveCoding(rate, T, latent)
        directions = method.direction(case.net, case.X, case.y)[1]
        for l in range(1, D - T):
            assert not directions[l - 1].any(), f"after {T} steps the direction of map {l} is not 0"
        arrived = directions[D - T - 1]
        assert norm(arrived - rate**T * gradients[D - T - 1]) <= 1e-12 * norm(arrived) + rounding(method)


@each_latent
def test_for_small_rates_the_direction_is_backprops_times_a_power_of_the_rate(latent):
    """After T steps as many paths of D − l arrivals have brought map l its error as there are choices of D − l in T."""
    net, X, y = oracle_case("tanh6-7-5-3", "ce")
    D, T, gradients = 3, 4, backprop(*oracle_case("tanh6-7-5-3", "ce"))
    errors = []
    for rate in (1e-2, 1e-3):
        _, directions = ml.PredictiveCoding(rate, T, latent).direction(net, X, y)
        ratios = [d / (math.comb(T, D - l) * rate ** (D - l)) for l, d in enumerate(directions, start=1)]
        errors.append([norm(r - g) / norm(g) for r, g in zip(ratios, gradients)])
    assert max(errors[1]) < 0.02
    assert np.allclose(np.array(errors[0]) / errors[1], 10, rtol=0.1)  # the rest is of first order


@pytest.mark.parametrize("D", [2, 3, 4])
@each_latent
def test_the_energy_of_a_linear_equilibrium(latent, D, rng):
    r"""It is ½ rᵀS⁻¹r, with the residual r of the forward pass and S = I + Σ_l (W_l ⋯ W_D)ᵀ(W_l ⋯ W_D)."""
    net, X, y = linear_case(rng, D)
    method = ml.PredictiveCoding(0.4, 250, latent)
    method.direction(net, X, y)
    S, product = np.eye(3), np.eye(3)
    for l in range(D, 1, -1):
        product = net.theta[l][:-1] @ product
        S += product.T @ product
    r = y - net.forward(X).z[D]
    expected = (r * np.linalg.solve(S, r.T).T).sum() / 2
    assert method.measure()["energy"] == pytest.approx(expected, rel=1e-10)


@given(case=cases(activations=SMOOTH, least_depth=2), latent=st.sampled_from(LATENTS))
def test_small_steps_lower_the_energy(case, latent):
    method = ml.PredictiveCoding(1e-4, 10, latent)
    state = case.net.forward(case.X)
    energy, v = method.energy(case.net, case.X, case.y), method.start(case.net, state)
    slack = 1e-14 * (1 + norm(state.z[-1]))  # a small loss is a difference of large outputs
    for _ in range(3):
        after = method.relaxed(energy, v)
        assert energy.value(after) <= energy.value(v) * (1 + 1e-14) + slack
        v = after


# ---- on graphs


def stepwise_graph(kind):
    """Return a graph without batch norm, or a random one by its seed."""
    return random_graph(kind) if isinstance(kind, int) else case_of(GRAPHS[kind](), np.random.default_rng(0))


def small_convnet():
    """A ConvNet with max pooling."""
    return case_of(ml.convnet((6, 6, 2), (3, 4), 3, kernel=3, dtype=np.float64), np.random.default_rng(0), 4)


PLAIN = [kind for kind in GRAPHS if "norm" not in kind and kind != "residual convnet"]
each_graph = pytest.mark.parametrize("kind", [*PLAIN, *range(20)])


def reached(net, T, prediction):
    """Return the values that can have moved after T steps.

    A value moves if it has an error, or if one that reads it has. With free predictions an error comes up also where
    what is read has moved: through a reader in common it goes to siblings, which on a chain do not exist.
    """
    lifted, moved = [l for l in range(1, net.depth) if net.learns[l]], set()
    for _ in range(T):
        wrong = {l for l in lifted if l in moved or (prediction == "free" and moved & {*net.inputs[l]})} | {net.depth}
        moved = moved | {l for l in lifted if l in wrong or any(l in net.inputs[c] for c in wrong)}
    return moved


@each_graph
@each_latent
def test_on_graphs_each_partial_gradient_is_that_of_the_value(kind, latent, rng):
    # holds PC latent
    net, X, y, _ = random_graph(kind, SMOOTH_TRANSFERS) if isinstance(kind, int) else stepwise_graph(kind)
    energy = TwoSplit(net, y, mu=1.3, latent=latent)
    v = energy.start(net.forward(X))
    for l in energy.lifted:
        v = v.replaced(energy.block, l, rng.standard_normal(getattr(v, energy.block)[l].shape))
    for block, l in [("theta", l) for l in net.maps] + [(energy.block, l) for l in energy.lifted]:
        assert_gradient(f"∂E/∂{block}_{l}", lambda x: energy.value(v.replaced(block, l, x)),  # noqa: B023
                        getattr(v, block)[l], energy.gradient(block, l, v), rng)
    at_once = energy.latent_gradients(v)
    for l in range(1, net.depth):
        if l in energy.lifted:
            assert_close(f"∂E/∂v_{l}", at_once[l], energy.gradient(energy.block, l, v), 1e-12)
        else:
            assert at_once[l] is None


@each_graph
@each_latent
def test_on_graphs_with_fixed_predictions_and_rate_1_it_is_backprop(kind, latent):
    # holds PC latent, PC direction
    net, X, y, _ = stepwise_graph(kind)
    method = ml.PredictiveCoding(1.0, net.depth - 1, latent, "fixed")
    for d, gradient in zip(method.direction(net, X, y)[1], backprop(net, X, y), strict=True):
        assert norm(d - gradient) <= 1e-12 * norm(gradient) + rounding(method)


@each_latent
def test_on_a_convnet_with_max_pooling_it_is_backprop(latent):
    net, X, y, _ = small_convnet()
    d = ml.PredictiveCoding(1.0, net.depth - 1, latent, "fixed").direction(net, X, y)[1]
    for mine, gradient in zip(d, backprop(net, X, y), strict=True):
        assert_close("∇J", mine, gradient, 1e-12)


@pytest.mark.parametrize("kind", [*PLAIN, *range(20)])
@each_latent
@pytest.mark.parametrize("prediction", ["free", "fixed"])
def test_on_graphs_the_error_moves_one_value_a_step(kind, latent, prediction):
    net, X, y, _ = random_graph(kind, SMOOTH_TRANSFERS) if isinstance(kind, int) else stepwise_graph(kind)
    start = net.forward(X)
    for T in range(min(net.depth, 8)):
        method = ml.PredictiveCoding(0.5, T, latent, prediction)
        method.direction(net, X, y)
        before = start.a if latent == "post" else start.z
        moved = {l for l in range(1, net.depth)
                 if norm(latents(method)[l] - before[l]) > 1e-13 * (1 + norm(before[l]))}
        expected = reached(net, T, prediction)
        assert moved == expected if isinstance(kind, str) else moved <= expected, f"after {T} steps"


def test_with_free_predictions_an_error_also_goes_sideways():
    """The value q is six maps and joins from the loss, but it is read together with p, which is two from it."""
    layers = [ml.Linear(4, 3), ml.Tanh(), ml.Named("p"), ml.Linear(3, 3), ml.Tanh(), ml.Concat("p")]
    for n_in in (6, 3, 3):
        layers += [ml.Linear(n_in, 3), ml.Tanh()]
    net, X, y, _ = case_of(ml.Network([*layers, ml.Concat("p"), ml.Linear(6, 3)], dtype=np.float64),
                           np.random.default_rng(0))
    first = {}
    for prediction in ("free", "fixed"):
        for T in range(1, net.depth):
            method = ml.PredictiveCoding(0.5, T, prediction=prediction)
            method.direction(net, X, y)
            if norm(method.variables.a[2] - net.forward(X).a[2]) > 1e-12:
                first[prediction] = T
                break
    assert first == {"free": 3, "fixed": 6}


@each_latent
def test_with_fixed_predictions_each_path_brings_its_part(latent):
    """Value p is two steps from the loss by one path and six by the other; zero weights cut off either."""
    def graph(cut):
        layers = [ml.Linear(4, 3), ml.Tanh(), ml.Named("p")]
        for _ in range(4):
            layers += [ml.Linear(3, 3), ml.Tanh()]
        net, X, y, _ = case_of(ml.Network([*layers, ml.Concat("p"), ml.Linear(6, 3)], loss=ml.SquaredError("sum"),
                                          dtype=np.float64), np.random.default_rng(0))
        out = net.forward(X).z[-1]
        part = net.theta[net.depth].copy()
        part[{"far": slice(0, 3), "near": slice(3, 6), "none": slice(0, 0)}[cut]] = 0
        net.theta[net.depth] = part
        return net, X, net.forward(X).z[-1] - out + y  # the same residual, whatever is cut

    T, rate = 9, 0.5
    share = {k: sum(math.comb(T, j) * rate**j * (1 - rate) ** (T - j) for j in range(k, T + 1)) for k in (2, 6)}
    near, far = (backprop(*graph(cut))[0] for cut in ("far", "near"))
    d = ml.PredictiveCoding(rate, T, latent, "fixed").direction(*graph("none"))[1][0]
    assert_close("direction", d, share[2] * near + share[6] * far, 1e-12)


def test_data_inside_a_graph_stay():
    """The time steps of a recurrent net's input, and the zeros before the first, depend on no parameters."""
    net, X, y, _ = stepwise_graph("recurrent")
    method = ml.PredictiveCoding(0.3, 10)
    method.direction(net, X, y)
    data = [l for l in range(1, net.depth) if not net.learns[l]]
    assert len(data) > 5
    for l in data:
        assert np.array_equal(method.variables.a[l], net.forward(X).a[l])


def test_it_trains_a_recurrent_net_through_time():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 6, 1))
    y = X[:, :, 0].sum(axis=1, keepdims=True)
    net = ml.rnn(1, 12, 1, 6, loss=ml.SquaredError(), dtype=np.float64)
    history = ml.fit(net, (X, y), ml.PredictiveCoding(0.2, 30), ml.Adam(lr=0.01), epochs=40, batch_size=50,
                     progress=False)
    assert history["train_loss"][-1] < 0.2 * history["train_loss"][0]


# ---- the method

DATA = (np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32), np.arange(30) % 3)


def network(**more):
    return ml.mlp([5, 6, 4, 3], "relu", seed=1, **more)


@each_latent
@pytest.mark.parametrize("prediction", ["free", "fixed"])
def test_it_trains_and_records_its_energy(latent, prediction):
    method = ml.PredictiveCoding(0.2, 6, latent, prediction)
    history = ml.fit(network(), DATA, method, ml.Adam(lr=0.02), epochs=20, batch_size=10, progress=False)
    assert history["train_loss"][-1] < 0.8 * history["train_loss"][0]
    assert np.isfinite(history["energy"][1:]).all()
    assert method.state_dict() == {}
    assert isinstance(method.variables, Variables)


def test_the_direction_has_the_reduction_of_the_loss():
    mean, total = network(loss=ml.SoftmaxCrossEntropy()), network(loss=ml.SoftmaxCrossEntropy("sum"))
    method = ml.PredictiveCoding()
    for d, whole in zip(method.direction(mean, *DATA)[1], method.direction(total, *DATA)[1]):
        assert np.allclose(30 * d, whole, rtol=1e-4, atol=1e-6)


def test_settings():
    assert repr(ml.PredictiveCoding(latent="pre")) == "PredictiveCoding(rate=0.1, steps=20, latent='pre')"
    assert ml.PredictiveCoding() == ml.PredictiveCoding(0.1, 20, "post", "free") != ml.PredictiveCoding(0.2)


def test_it_has_nothing_of_the_methods_that_go_through_a_schedule_of_blocks():
    method = ml.PredictiveCoding()
    method.direction(network(), *DATA)
    assert not {"memory", "sweeps", "schedule", "sweeps_on", "data", "check_rows", "beginning"} & set(dir(method))
    assert method.state_dict() == {}
    assert not method.whole_batch
    for name in ("variables", "sweeps", "memory"):
        with pytest.raises(TypeError, match=f"PredictiveCoding: there is no argument '{name}'"):
            ml.PredictiveCoding(**{name: "forward"})


@pytest.mark.parametrize(("arguments", "message"), [
    ({"rate": 0}, "PredictiveCoding: rate must be positive and finite, got 0"),
    ({"steps": -1}, "PredictiveCoding: steps must be at least 0, got -1"),
    ({"latent": "past"}, "PredictiveCoding: latent: unknown name 'past'; did you mean 'post'"),
    ({"prediction": "frozen"}, "PredictiveCoding: prediction: unknown name 'frozen'")])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ml.PredictiveCoding(**arguments)


@pytest.mark.parametrize("layers", [[ml.Linear(5, 4), ml.BatchNorm(4), ml.ReLU(), ml.Linear(4, 3)],
                                    [ml.Linear(5, 4), ml.ReLU(), ml.Dropout(0.5), ml.Linear(4, 3)]])
def test_other_networks_are_refused(layers):
    with pytest.raises(ValueError, match="PredictiveCoding: expects"):
        ml.fit(ml.Network(layers), DATA, ml.PredictiveCoding(), ml.SGD(0.1), epochs=1, progress=False)


class Scaled(ml.Transfer):
    """A transfer with a parameter, of which the method would return no direction."""

    parameters = (np.ones((2, 4)),)

    def apply(self, z, training=False, rng=None):
        return z, None

    def adjoint(self, z, a, aux, g):
        return g


def test_a_transfer_with_parameters_is_refused():
    net = ml.mlp([5, 4, 3], dtype=np.float64)
    net.sigma[1] = Scaled()
    with pytest.raises(ValueError, match="expects transfers without parameters of their own, and no dropout; after"):
        ml.PredictiveCoding().directions(net, net.forward(DATA[0]), DATA[1])
