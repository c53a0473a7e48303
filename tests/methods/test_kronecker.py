"""FOOF and K-FAC: another program's numbers, their identities, running factors, convolutions and shared weights."""

import numpy as np
import pytest
from graphs import GRAPHS, case_of
from hypothesis import given
from hypothesis import strategies as st
from laws import assert_close, cases, central_difference, gradients_of, patches_by_loops, random_case, stacked

import minilift as ml
from minilift.methods.backward.kronecker import hessian_roots
from minilift.support.backend import to_numpy

NETS, LOSSES = ("tanh6-7-5-3", "relu6-7-5-3"), {"mse": ml.SquaredError, "ce": ml.SoftmaxCrossEntropy}
FISHERS, SPLITS, DAMPINGS = ("type2", "empirical"), ("factored", "heuristic", "exact"), ("0.001", "0.01", "1")
each_oracle = pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in NETS for kind in LOSSES])


def oracle_case(data, name, kind, reduction="mean"):
    """Return an oracle's network, X and y."""
    net = ml.mlp([6, 7, 5, 3], name[:4], loss=LOSSES[kind](reduction), dtype=np.float64)
    net.theta = [None, *(data[f"{name}/theta{l}"] for l in (1, 2, 3))]
    return net, data[f"{name}/X"], data[f"{name}/{'labels' if kind == 'ce' else 'y_regression'}"]


def assert_oracle(data, name, kind, make=ml.KFAC):
    """All directions of K-FAC are the oracle's."""
    net, X, y = oracle_case(data, name, kind)
    for fisher in FISHERS:
        for split in SPLITS:
            for damping in DAMPINGS:
                key = f"{name}/{kind}/{fisher}/{split}/damping{damping}"
                _, directions = make(float(damping), fisher, split).direction(net, X, y)
                for l, d in enumerate(directions, start=1):
                    assert_close(f"{key}, map {l}", d, data[f"{key}/d{l}"], 1e-11)


# ---- another program's numbers


@each_oracle
def test_kfac_gives_the_numbers_of_another_program(oracle, name, kind):
    # holds K-FAC, K-FAC S, FOOF
    assert_oracle(oracle("family/kfac"), name, kind)


@each_oracle
def test_foof_gives_the_numbers_of_another_program(oracle, name, kind):
    # holds FOOF
    data = oracle("family/kfac")
    net, X, y = oracle_case(data, name, kind)
    for damping in DAMPINGS:
        for decay in (0.0, 0.9):  # a first batch is its own average
            _, directions = ml.FOOF(float(damping), decay).direction(net, X, y)
            for l, d in enumerate(directions, start=1):
                key = f"{name}/{kind}/foof/input_only/damping{damping}/d{l}"
                assert_close(key, d, data[key], 1e-11)


@each_oracle
@pytest.mark.parametrize("fisher", FISHERS)
def test_factors_and_dampings_are_those_of_another_program(oracle, name, kind, fisher):
    # holds K-FAC S, K-FAC average
    data = oracle("family/kfac")
    method = ml.KFAC(1.0, fisher, "heuristic", decay=0.5)
    method.direction(*oracle_case(data, name, kind))
    for l in (1, 2, 3):
        A, S = (method.state_dict()[f"{factor}/{l}"] for factor in "AS")
        for factor, found in zip("AS", (A, S)):
            assert_close(f"{factor}_{l}", found, data[f"{name}/{kind}/{fisher}/{factor}{l}"], 1e-11)
        for damping in DAMPINGS:
            method.damping = float(damping)
            expected = data[f"{name}/{kind}/{fisher}/heuristic/damping{damping}/damping_A_S{l}"]
            assert_close("λ", np.array(method.dampings(np.trace(A) / len(A), np.trace(S) / len(S))), expected, 1e-11)


class WithoutMean(ml.KFAC):
    """S summed over the batch."""

    def signal_factor(self, block, g, side):
        S, side = super().signal_factor(block, g, side)
        return len(g) * S, side


class DampingsExchanged(ml.KFAC):
    def dampings(self, mean_a, mean_s):
        return super().dampings(mean_a, mean_s)[::-1]


class GradientForSignal(ml.KFAC):
    """The empirical S, under the name of type 2."""

    def __init__(self, damping, fisher, split):
        super().__init__(damping, "empirical", split)


@pytest.mark.parametrize("wrong", [WithoutMean, DampingsExchanged, GradientForSignal])
def test_a_planted_mistake_fails_the_oracle(oracle, wrong):
    with pytest.raises((AssertionError, ArithmeticError), match="relative error"):
        assert_oracle(oracle("family/kfac"), "tanh6-7-5-3", "ce", wrong)


# ---- identities


@given(cases(), st.sampled_from([1e-3, 0.1, 2.0]))
def test_foof_of_one_batch_is_proxprop_on_every_map(case, damping):
    """τ_θ = 1/(Nλ), and N times the direction; the reduction of the loss makes no difference to FOOF."""
    # holds FOOF
    N, loss = len(case.X), case.net.loss_function
    prox = ml.ProxProp(1 / (N * damping), last="implicit").direction(case.net, case.X, case.y)[1]
    factor = N if loss.reduction == "mean" else 1
    for d, p in zip(ml.FOOF(damping).direction(case.net, case.X, case.y)[1], prox, strict=True):
        assert_close("FOOF", d, factor * p, 1e-9)


@given(cases(), st.sampled_from(FISHERS), st.sampled_from(SPLITS))
def test_the_split_solves_its_equations(case, fisher, split):
    """(A + λ_A I) d (S + λ_S I) = ∇J, or A d S + λ d = ∇J, of the mean loss, with the factors that a run keeps."""
    # holds K-FAC
    method = ml.KFAC(0.3, fisher, split, decay=0.5)
    _, directions = method.direction(case.net, case.X, case.y)
    scale = 1 if case.net.loss_function.reduction == "mean" else len(case.X)
    for k, (d, gradient) in enumerate(zip(directions, gradients_of(case.net, case.X, case.y)), start=1):
        A, S = method.factors[f"A/{k}"], method.factors[f"S/{k}"]
        if split == "exact":
            assert_close("∇J", A @ d @ S + 0.3 * d, gradient / scale, 1e-9)
            continue
        of_a, of_s = method.dampings(np.trace(A) / len(A), np.trace(S) / len(S))
        found = (A + of_a * np.eye(len(A))) @ d @ (S + of_s * np.eye(len(S)))
        assert_close("∇J", found, gradient / scale, 1e-9)


@given(cases(), st.sampled_from(SPLITS))
def test_without_a_decay_the_side_makes_no_difference(case, split):
    """A first batch with a decay is solved with whole factors, without one on the smaller sides."""
    # holds K-FAC, FOOF
    for d, e in zip(*(ml.KFAC(0.1, "empirical", split, decay).direction(case.net, case.X, case.y)[1]
                      for decay in (0.0, 0.5)), strict=True):
        assert_close(split, d, e, 1e-8)


@pytest.mark.parametrize("loss", [ml.SoftmaxCrossEntropy(), ml.SigmoidCrossEntropy(), ml.SquaredError()], ids=repr)
def test_the_roots_are_those_of_the_hessian(loss, rng):
    # holds K-FAC S
    z = rng.standard_normal((6, 4))
    y = rng.integers(0, 4, 6) if loss.classification else rng.uniform(size=(6, 4))
    roots = list(hessian_roots(loss, z))
    for unit in np.eye(4):
        expected = 6 * central_difference(lambda u: loss.gradient(u, y), z, np.ones((6, 1)) * unit)
        assert_close("H", sum(root * (root @ unit)[:, None] for root in roots), expected, 1e-8)


def test_a_loss_of_which_no_hessian_is_known_is_refused():
    class Shifted(ml.Transfer):
        """z − max z, which is neither elementwise nor a softmax."""

        def forward(self, z):
            return z - z.max(axis=-1, keepdims=True)

    class Other(ml.SquaredError):
        transfer = Shifted()

    net, X, y = ml.mlp([3, 4, 2], loss=Other(), dtype=np.float64), np.ones((5, 3)), np.zeros((5, 2))
    ml.KFAC(0.1, "empirical").direction(net, X, y)
    for method, name in ((ml.KFAC(0.1), "KFAC: fisher='type2'"), (ml.GaussNewton(0.1), "GaussNewton")):
        with pytest.raises(ValueError, match=f"{name} needs a loss whose transfer is elementwise or a softmax, got"):
            method.direction(net, X, y)


# ---- running factors


def batches(case, number=4):
    return [(case.rng.standard_normal(case.X.shape), case.y) for _ in range(number)]


def test_the_running_factors_are_averages_of_those_of_the_batches():
    # holds K-FAC average, K-FAC S
    case, decay = random_case(3, [4, 6, 3], 9, ["tanh"], ml.SoftmaxCrossEntropy()), 0.6
    running, expected = ml.KFAC(0.1, "empirical", decay=decay), {}
    for step, (X, y) in enumerate(batches(case), start=1):
        alone = ml.KFAC(0.1, "empirical", decay=decay)
        alone.direction(case.net, X, y)
        rate = min(1 - 1 / step, decay)  # 0, ½, 0.6, 0.6
        expected = {name: rate * expected.get(name, 0 * factor) + (1 - rate) * factor
                    for name, factor in alone.factors.items()}
        _, directions = running.direction(case.net, X, y)
        for name, factor in expected.items():
            assert_close(name, running.factors[name], factor, 1e-13)
    for k, (d, gradient) in enumerate(zip(directions, gradients_of(case.net, X, y)), start=1):
        A, S = (expected[f"{kind}/{k}"] for kind in "AS")
        left = np.linalg.solve(A + 0.1 * np.eye(len(A)), gradient)
        assert_close("d", d, np.linalg.solve(S + 0.1 * np.eye(len(S)), left.T).T, 1e-11)


@pytest.mark.parametrize(("mean", "shape"), [(0, (100, 200)), (1000, (100, 200)), (1000, (300, 50))])
@pytest.mark.parametrize("method", [ml.FOOF(0.01, decay=0.9), ml.KFAC(0.01, "empirical", decay=0.9),
                                    ml.KFAC(0.01, "empirical", "exact", decay=0.9)], ids=repr)
def test_running_factors_in_float32_on_raw_data(mean, shape, method, rng):
    """As accurate as a step without a decay: data far from 0 are not squared, nor multiplied by signals, in float32."""
    X, y, directions = mean + rng.standard_normal(shape, dtype=np.float32), rng.integers(0, 3, shape[0]), []
    theta = ml.mlp([shape[1], 16, 3], "tanh").theta
    theta[1][-1] -= mean * theta[1][:-1].sum(axis=0)  # or tanh would be saturated
    for dtype in (np.float32, np.float64):
        net = ml.mlp([shape[1], 16, 3], "tanh", dtype=dtype)
        net.theta = [None, *(own.astype(dtype) for own in theta[1:])]
        method.reset()
        directions.append(method.direction(net, X.astype(dtype), y)[1][0])
        assert directions[-1].dtype == dtype
    assert_close("d", *directions, 2e-3)


def test_pixels_from_0_to_255_leave_a_running_factor_positive_definite(rng):
    digits = ml.datasets.digits()
    X = np.kron(digits.X_train[:200].reshape(-1, 8, 8), np.ones((1, 2, 2))).reshape(200, -1)
    X = (255 * X + rng.integers(0, 3, X.shape)).astype(np.float32)
    for method in (ml.FOOF(0.001, decay=0.9), ml.KFAC(0.001, "empirical", decay=0.9)):
        history = ml.fit(ml.mlp([256, 16, 10]), (X, digits.y_train[:200]), method, ml.SGD(0.01), epochs=1,
                         batch_size=100, progress=False)
        assert history.status == "completed"


def test_foof_solves_with_the_average_of_proxprops_gram_matrices():
    # holds FOOF, K-FAC average
    case, method, grams = random_case(4, [4, 6, 3], 9, ["tanh"], ml.SquaredError()), ml.FOOF(0.1, decay=0.5), []
    for X, y in batches(case, 3):
        _, (d, _) = method.direction(case.net, X, y)
        grams.append(stacked(X).T @ stacked(X) / 9)
    A = ((grams[0] + grams[1]) / 2 + grams[2]) / 2
    assert_close("d", d, np.linalg.solve(A + 0.1 * np.eye(5), gradients_of(case.net, X, y)[0]), 1e-12)


RUNS = {"Newton–Muon": lambda: (ml.FOOF(0.01, decay=0.95), ml.Muon(0.02)),
        "K-FAC": lambda: (ml.KFAC(0.1, "empirical", "heuristic", decay=0.95), ml.SGD(0.1)),
        "K-FAC of type 2": lambda: (ml.KFAC(0.1, decay=0.9), ml.HeavyBall(0.01)),
        "without a memory": lambda: (ml.KFAC(0.1), ml.SGD(0.1))}


@pytest.mark.parametrize("make", RUNS.values(), ids=RUNS)
def test_a_resumed_run_equals_an_uninterrupted_one(make, tmp_path, rng):
    data = rng.standard_normal((60, 5)), rng.integers(0, 3, 60)
    whole, half = (ml.mlp([5, 7, 3], "tanh", seed=1) for _ in range(2))
    options = {"batch_size": 20, "progress": False}
    method, optimizer = make()
    history = ml.fit(whole, data, method=method, optimizer=optimizer, epochs=4, **options)
    for epochs, files in ((2, {"checkpoint": tmp_path / "run.npz"}), (4, {"resume": tmp_path / "run.npz"})):
        method, optimizer = make()
        ml.fit(half, data, method=method, optimizer=optimizer, epochs=epochs, **files, **options)
    assert history["train_loss"][-1] < history["train_loss"][0]
    for one, other in zip(whole.parameters, half.parameters):
        np.testing.assert_array_equal(one, other)


def trained(method=None):
    """Return a method that has seen a batch of a network 3-4-2."""
    method = ml.KFAC(0.1, decay=0.5) if method is None else method
    method.direction(ml.mlp([3, 4, 2], dtype=np.float64), np.ones((5, 3)), [0, 1, 0, 1, 1])
    return method


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"B/1": np.eye(2)}, ValueError, "KFAC: expected a state with the keys steps, A/1 …, S/1 …"),
    ({"A/0": np.eye(2)}, ValueError, "expected a state with the keys"),
    ({"steps": 0}, ValueError, "holds factors after its first step, got steps=0"),
    ({"steps": 1.5}, TypeError, "KFAC: steps must be a whole number, got 1.5"),
    ({"A/1": np.ones((4, 3))}, ValueError, r"KFAC: A/1 must be a square matrix, got shape \(4, 3\)"),
    ({"S/1": np.full((4, 4), np.nan)}, ValueError, "KFAC: S/1 must hold finite numbers"),
    ({"S/1": -np.eye(4)}, ValueError, "S/1 must hold finite numbers and none below 0 on its diagonal"),
    ({"S/1": np.full((4, 4), "a")}, TypeError, "KFAC: S/1: expected numbers")])
def test_what_is_wrong_with_a_state_is_said(change, error, message):
    method = trained()
    before = method.state_dict()
    with pytest.raises(error, match=message):
        method.load_state_dict({**before, **change})
    assert all(np.array_equal(value, before[name]) for name, value in method.state_dict().items())


def test_factors_of_another_network_are_refused():
    method = trained(ml.FOOF(0.1, decay=0.5))
    method.check_state(ml.mlp([3, 4, 2]))
    for widths in ([3, 5, 2], [3, 4, 4, 2]):
        with pytest.raises(ValueError, match="FOOF: expected running factors of the shapes"):
            method.check_state(ml.mlp(widths))


def test_without_a_decay_nothing_is_kept():
    method = trained(ml.KFAC(0.1))
    assert method.state_dict() == method.factors == {}
    with pytest.raises(ValueError, match="keeps nothing between batches"):
        method.load_state_dict({"steps": 1})


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_factors_that_are_not_finite_end_a_run_as_divergence(decay, rng):
    """The squares of the inputs overflow, but not the loss."""
    X, y = (1e25 * rng.random((8, 3))).astype(np.float32), rng.integers(0, 2, 8)
    history = ml.fit(ml.mlp([3, 4, 2], "leaky_relu"), (X, y), ml.KFAC(0.1, split="exact", decay=decay), ml.SGD(1.0),
                     epochs=2, batch_size=4, progress=False)
    assert "not finite" in str(history.diverged)


# ---- convolutions, shared weights, batch norm, other dtypes and backends


def conv_factors(net, X, y, fisher):
    """Return A, S and ∇J of the first map of conv, tanh, flatten, linear, one sample and one position at a time."""
    phi, z, W = net.phi[1], net.forward(X).z[1], net.theta[2][:-1].reshape(*net.shapes[1], -1)
    P, slopes, N = stacked(patches_by_loops(phi, X)), 1 - np.tanh(z) ** 2, len(X)
    outputs = net.forward(X).z[2]
    p = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    S, signals, positions = 0, [], list(np.ndindex(z.shape[1:3]))
    for n in range(N):
        H = np.diag(p[n]) - np.outer(p[n], p[n])
        for at in positions:
            B = slopes[(n, *at)][:, None] * W[at]  # dz_D/dz at one position, (channels, outputs), transposed
            signals.append(B @ (p[n] - np.eye(len(H))[y[n]]))
            S += B @ H @ B.T if fisher == "type2" else np.outer(signals[-1], signals[-1])
    return P.T @ P / N, S / (N * len(positions)), P.T @ np.array(signals) / N


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("samples", [2, 7])
def test_a_convolution_sums_over_positions(rng, fisher, samples):
    """A is the sum and S the mean over the positions of a sample, as Grosse and Martens have them."""
    # holds K-FAC, K-FAC S
    net = ml.Network([ml.Conv2d(2, 3, 3, padding="valid"), ml.Tanh(), ml.Flatten(), ml.Linear(12, 4)],
                     input_shape=(4, 4, 2), dtype=np.float64)
    X, y = rng.standard_normal((samples, 4, 4, 2)), rng.integers(0, 4, samples)
    A, S, gradient = conv_factors(net, X, y, fisher)
    left, right = A + 0.1 * np.eye(len(A)), S + 0.1 * np.eye(len(S))
    expected = np.linalg.solve(right, np.linalg.solve(left, gradient).T).T
    for decay in (0.0, 0.5):
        assert_close("d", ml.KFAC(0.1, fisher, decay=decay).direction(net, X, y)[1][0], expected, 1e-10)
        assert_close("FOOF", ml.FOOF(0.1, decay).direction(net, X, y)[1][0], np.linalg.solve(left, gradient), 1e-10)


def test_fewer_rows_than_channels_make_no_difference_to_a_running_factor(rng):
    """After one batch the running factor is the batch's: a map over the whole image, 3 rows and 16 channels."""
    net = ml.Network([ml.Conv2d(1, 16, 4, padding="valid"), ml.ReLU(), ml.Flatten(), ml.Linear(16, 2)],
                     input_shape=(4, 4, 1), dtype=np.float64)
    X, y = rng.standard_normal((3, 4, 4, 1)), np.array([0, 1, 1])
    for d, e in zip(*(ml.FOOF(damping=0.1, decay=decay).direction(net, X, y)[1] for decay in (0.0, 0.9))):
        np.testing.assert_allclose(d, e, atol=1e-12 * abs(d).max())


def test_the_rows_of_all_uses_of_a_shared_map_are_stacked(rng):
    cell = ml.Linear(3, 3)
    net = ml.Network([cell, ml.Tanh(), cell, ml.Tanh(), ml.Linear(3, 2)], dtype=np.float64)
    X, y = rng.standard_normal((5, 3)), rng.integers(0, 2, 5)
    method = ml.KFAC(0.1, "empirical", decay=0.5)
    method.direction(net, X, y)
    blocks = dict(ml.methods.sweep(net, net.forward(X), y, lambda block: (block.a, 5 * block.g)))
    a, g = blocks[1]
    assert a.shape == (10, 3)
    assert_close("A", method.factors["A/1"], stacked(a).T @ stacked(a) / 5, 1e-12)
    assert_close("S", method.factors["S/1"], g.T @ g / 10, 1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_scale_and_shift_take_the_gradient_step(reduction):
    case = case_of(GRAPHS["residual with batch norm"](), np.random.default_rng(0))
    net = ml.Network(case.net.layers, loss=ml.SoftmaxCrossEntropy(reduction), dtype=np.float64)
    scale = 1 if reduction == "mean" else len(case.X)
    gradients = gradients_of(net, case.X, case.y)[len(net.maps):]
    for method in (ml.FOOF(0.1), ml.KFAC(0.1), ml.KFAC(0.1, "empirical", decay=0.5)):
        directions = method.direction(net, case.X, case.y)[1][len(net.maps):]
        for d, gradient in zip(directions, gradients, strict=True):
            assert_close("scale and shift", scale * d, gradient, 1e-13)


EVERY = [ml.FOOF(0.1), ml.FOOF(0.1, decay=0.5), ml.KFAC(0.1), ml.KFAC(0.1, split="exact", decay=0.5),
         ml.KFAC(0.1, "empirical"), ml.KFAC(0.1, "empirical", "heuristic", decay=0.5)]


@pytest.mark.parametrize("method", EVERY, ids=repr)
def test_float32_comes_near_float64(method, rng):
    X, y = rng.standard_normal((30, 12)) + 2, rng.integers(0, 3, 30)
    found = []
    for dtype in (np.float64, np.float32):
        method.reset()
        found.append(method.direction(ml.mlp([12, 40, 3], dtype=dtype), X, y)[1])
    for e, d in zip(*found, strict=True):
        assert d.dtype == np.float32
        assert_close(repr(method), d, e, 1e-4)


@pytest.mark.parametrize("method", EVERY, ids=repr)
def test_on_the_other_backend(device, method, rng):
    """Two batches, between which what is kept goes by way of the host."""
    here, there = (ml.convnet((6, 6, 1), (2,), classes=3, kernel=3, activation="tanh", dtype=np.float64,
                              backend=backend) for backend in ("numpy", "cupy"))
    results = []
    for net in (here, there):
        method.reset()
        for seed in range(2):
            X = np.random.default_rng(seed).standard_normal((5, 6, 6, 1))
            method.load_state_dict(method.state_dict())
            directions = method.direction(net, X, [0, 1, 2, 0, 1])[1]
        results.append(directions)
    for d, e in zip(*results, strict=True):
        assert isinstance(e, device.ndarray)
        assert_close(repr(method), to_numpy(e), d, 1e-9)


def test_a_factor_that_vanishes_leaves_no_step():
    """Dead units pass no signal: S is zero, and so is the direction."""
    net = ml.mlp([3, 4, 2], dtype=np.float64)
    net.theta[1][-1] = -100.0
    X, y = np.ones((5, 3)), [0, 1, 0, 1, 1]
    for split in SPLITS:
        for fisher in FISHERS:
            first, last = ml.KFAC(0.1, fisher, split).direction(net, X, y)[1]
            assert not first.any()
            assert last.any()


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: ml.FOOF(0), ValueError, "FOOF: damping must be positive and finite, got 0"),
    (lambda: ml.FOOF("1"), TypeError, "FOOF: damping must be a positive number, got '1'"),
    (lambda: ml.FOOF(0.1, 1.0), ValueError, r"FOOF: decay must be in \[0, 1\)"),
    (lambda: ml.KFAC(-1), ValueError, "KFAC: damping must be positive"),
    (lambda: ml.KFAC(0.1, "type1"), ValueError, "KFAC: fisher: unknown name 'type1'; did you mean 'type2'"),
    (lambda: ml.KFAC(0.1, split="exactly"), ValueError, "KFAC: split: unknown name 'exactly'; did you mean 'exact'"),
    (lambda: ml.KFAC(0.1, decay=None), TypeError, "KFAC: decay must be a number, got None")])
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("method", [ml.FOOF(1e-300, decay=0.5), ml.KFAC(1e-300, "empirical", decay=0.5)],
                         ids=["FOOF", "KFAC"])
def test_a_step_that_fails_leaves_no_trace_in_the_averages(method):
    net = ml.mlp([2, 3, 2], dtype=np.float64)
    net.theta[1] = np.array([[0.0] * 3, [0.0] * 3, [1.0] * 3])  # a_1 is 1 as well: both Gram matrices are singular
    X, y = np.ones((4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(ArithmeticError, match="damping"):
        method.direction(net, X, y)
    assert method.steps == 0
    assert not method.factors
    method.load_state_dict(method.state_dict())
    method.damping = 0.1
    fresh = type(method)(0.1, decay=0.5) if isinstance(method, ml.FOOF) and not isinstance(method, ml.KFAC) else (
        ml.KFAC(0.1, "empirical", decay=0.5))
    for mine, theirs in zip(method.direction(net, X, y)[1], fresh.direction(net, X, y)[1]):
        np.testing.assert_array_equal(mine, theirs)
