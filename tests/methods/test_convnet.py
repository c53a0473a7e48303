"""Convolutional networks: the oracle, the papers' propositions, every method, layouts, training."""

import numpy as np
import pytest
from conftest import read_only
from hypothesis import assume, given
from hypothesis import strategies as st
from laws import (
    Case,
    assert_close,
    assert_gradients,
    assert_proposition_4,
    assert_proposition_5,
    frozen,
    gradients_of,
    norm,
    patches_by_loops,
    preconditioner,
)

import minilift as ml
from minilift.energy import algorithm_1

TAUS = ("0.05", "1", "100")


# ---- the authors' program

def from_channels_first(l, weights, bias):
    """Return θ_l from kernels (out, in, rows, columns), or from a matrix whose rows are (channel, row, column)."""
    if l < 4:
        return np.vstack([weights.transpose(2, 3, 1, 0).reshape(-1, len(weights)), bias[None]])
    return np.vstack([weights.reshape(4, 2, 2, -1).transpose(1, 2, 0, 3).reshape(16, -1), bias[None]])


@pytest.fixture(scope="module")
def numbers(oracle):
    return oracle("proxprop_conv")


@pytest.fixture(scope="module")
def net(numbers):
    net = ml.convnet((8, 8, 2), (3, 4, 4), classes=5, dtype=np.float64, input_layout="channels_first")
    net.theta = [None] + [from_channels_first(l, numbers[f"W{l}"], numbers[f"b{l}"]) for l in range(1, 5)]
    return frozen(net)


def assert_directions(directions, numbers, key, tolerances):
    for l, tolerance in enumerate(tolerances, start=1):
        expected = from_channels_first(l, numbers[f"{key}/dW{l}"], numbers[f"{key}/db{l}"])
        assert_close(f"{key}, map {l}", directions[l - 1], expected, tolerance)


def test_loss_and_gradient(net, numbers):
    loss, gradients = ml.BackProp().direction(net, numbers["X"], numbers["y"])
    assert_close("logits", net.forward(numbers["X"]).z[4], numbers["logits"], 1e-13)
    assert abs(loss - numbers["loss"]) < 1e-14
    assert_directions(gradients, numbers, "gradient", [2e-13] * 4)


@pytest.mark.parametrize("tau", TAUS)
def test_exact_steps(net, numbers, tau):
    directions = ml.ProxProp(float(tau)).direction(net, numbers["X"], numbers["y"])[1]
    assert_directions(directions, numbers, f"exact_dense/tau{tau}", [1e-12] * 3)
    last = from_channels_first(4, numbers["gradient/dW4"], numbers["gradient/db4"])
    assert_close("the last map's step is explicit", directions[3], last, 1e-13)


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("steps", [1, 3, 10])
@pytest.mark.parametrize("joint", [True, False])
def test_conjugate_gradients(net, numbers, tau, steps, joint):
    """One step length for the whole tensor, as the authors have it, or one for each output channel."""
    key = f"cg{steps}_textbook{'' if joint else '_perchannel'}/tau{tau}"
    method = ml.ProxProp(float(tau), solver=f"cg{steps}", joint=joint)
    directions = method.direction(net, numbers["X"], numbers["y"])[1]
    tolerances = [1e-12] * 3 if steps < 10 else 1e-12 + 100 * numbers[f"{key}/rounding_sensitivity"]
    assert_directions(directions, numbers, key, tolerances)


# ---- propositions

def random_case(seed, activation="tanh", samples=3, stride=1, **arguments):
    """Return a small network of convolutions of all kinds, read-only, and a batch."""
    rng = np.random.default_rng(seed)
    layers = [ml.Conv2d(2, 3, 3, stride=stride), named(activation), ml.AvgPool2d(2),
              ml.Conv2d(3, 2, 2, padding=1), named(activation), ml.MaxPool2d(2, stride=1),
              ml.Conv2d(2, 3, 3, padding="valid"), ml.Flatten(), ml.Linear(6, 4)]
    size = (8 - 1) * stride + 1
    net = ml.Network(layers, input_shape=(size, 6 * stride, 2), dtype=np.float64, seed=seed % 997, **arguments)
    X, y = read_only(rng.standard_normal((samples, size, 6 * stride, 2))), read_only(rng.integers(0, 4, samples))
    return Case(frozen(net), X, y, rng)


def named(activation):
    return {"tanh": ml.Tanh, "relu": ml.ReLU}[activation]()


def patches(net, state, l):
    """Return the rows that multiply W_l."""
    a = state.a[l - 1]
    return patches_by_loops(net.phi[l], a) if isinstance(net.phi[l], ml.Conv2d) else a


seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.sampled_from([1, 2]))
def test_gradients_by_differences(seed, stride):
    # holds ProxProp (9), BackProp signal
    case = random_case(seed, stride=stride)
    # a difference must not step over a kink of the pooling: in no window may two largest be nearly equal
    inner = case.net.sigma[2].apply(case.net.forward(case.X).z[2])[1][1][0]
    largest = np.sort(np.stack(case.net.sigma[2].parts[1].views(inner)), axis=0)[-2:]
    assume((largest[1] - largest[0]).min() > 1e-4)
    assert_gradients(case.net, case.X, case.y, gradients_of(case.net, case.X, case.y), case.rng)


@given(seeds, st.sampled_from([0.1, 1.0, 5.0]))
def test_proposition_1_algorithm_1_is_gradient_descent(seed, tau):
    net, X, y, _ = random_case(seed)
    state = algorithm_1(net, X, y, tau)
    for l, gradient in enumerate(gradients_of(net, X, y), start=1):
        assert_close(f"θ_{l}", state.theta[l], net.theta[l] - tau * gradient, 1e-11)


@given(seeds, st.sampled_from([0.05, 1.0, 100.0]), st.sampled_from(["tanh", "relu"]))
def test_proposition_2_exact_steps_solve_their_equations(seed, tau_theta, activation):
    net, X, y, _ = random_case(seed, activation)
    state, gradients = net.forward(X), gradients_of(net, X, y)
    directions = ml.ProxProp(tau_theta, last="implicit").direction(net, X, y)[1]
    for l, (d, gradient) in enumerate(zip(directions, gradients, strict=True), start=1):
        m = preconditioner(patches(net, state, l), tau_theta)
        assert norm(m @ d - gradient) <= 1e-11 * (norm(m) * norm(d) + norm(gradient))


def test_proposition_3_fixed_points_are_stationary_points():
    """Where the gradient vanishes so does the step, and only there."""
    net, X, _, _ = random_case(7)
    theta = [None] + [t.copy() for t in net.parameters]
    theta[-1][:] = 0  # with these the mean gradient over both labels of one image is zero
    net.theta = theta
    twice, both = np.concatenate([X[:1]] * 4), np.arange(4)
    for method in (ml.BackProp(), ml.ProxProp(), ml.ProxProp(solver="cg3")):
        assert all(norm(d) < 1e-15 for d in method.direction(net, twice, both)[1])
        assert norm(method.direction(net, twice, both[::-1] * 0)[1][-1]) > 1e-3


@given(seeds, st.sampled_from([0.05, 1.0, 100.0]))
def test_proposition_4_the_angle_to_the_gradient_is_bounded(seed, tau_theta):
    net, X, y, _ = random_case(seed)
    state, gradients = net.forward(X), gradients_of(net, X, y)
    directions = ml.ProxProp(tau_theta).direction(net, X, y)[1]
    for l in range(1, net.depth):
        assert_proposition_4(directions[l - 1], gradients[l - 1], preconditioner(patches(net, state, l), tau_theta))


@given(seeds, st.sampled_from([0.05, 1.0, 100.0]), st.integers(1, 5))
def test_proposition_5_any_number_of_cg_steps_descends(seed, tau_theta, steps):
    net, X, y, _ = random_case(seed)
    state, gradients = net.forward(X), gradients_of(net, X, y)
    directions = ml.ProxProp(tau_theta, solver=f"cg{steps}").direction(net, X, y)[1]
    for l in range(1, net.depth):
        m = preconditioner(patches(net, state, l), tau_theta)
        assert_proposition_5(directions[l - 1], gradients[l - 1], m)
    joint = ml.ProxProp(tau_theta, solver=f"cg{steps}", joint=True).direction(net, X, y)[1]
    for d, gradient in zip(joint[:-1], gradients[:-1]):
        assert (d * gradient).sum() > 0 or not norm(gradient)


def test_float32_directions_are_near_those_in_float64(rng):
    """Images are not centred; what float32 keeps of the exact steps shows that the Gram matrix is."""
    X, y = rng.uniform(0, 1, (40, 16, 16, 3)), rng.integers(0, 10, 40)
    single, double = [ml.convnet((16, 16, 3), (6, 8), dtype=dtype) for dtype in (np.float32, np.float64)]
    double.theta = single.theta
    for tau_theta in (0.05, 1.0, 100.0):
        got, expected = [ml.ProxProp(tau_theta).direction(net, X, y)[1] for net in (single, double)]
        for d, e in zip(got, expected):
            assert_close(f"τ_θ = {tau_theta}", d, e, 2e-4)


# ---- other methods: a convolution is a fully connected map on patches

def linear_block(block):
    """Return the block of the fully connected map on patches that is the same map."""
    phi = block.phi
    columns = {name: phi.columns(getattr(block, name)) for name in ("z", "g")}
    g_a = None if block.g_a is None else phi.columns(block.g_a)
    return block._replace(phi=ml.Linear(phi.n_in, phi.c_out), a=patches_by_loops(phi, block.a), g_a=g_a, **columns)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("make", [
    lambda: ml.ProxProp(0.7, solver="cg2"),
    lambda: ml.LocoProp("S", gamma=0.3, steps="exact", eta=0.5),
    lambda: ml.LocoProp("S", gamma=0.3, steps=4, local_lr=1e-3, local_optimizer="sgd"),
    lambda: ml.LocoProp("M", gamma=0.3, steps="exact", eta=0.5),
    lambda: ml.LocoProp("M", gamma=0.3, steps=4, local_lr=1e-3, local_optimizer="sgd", eta=2.0),
    lambda: ml.LocoProp("M", gamma=0.3, steps=4, local_lr=1e-3),
    lambda: ml.SemiImplicit(eta=0.05),
    lambda: ml.SemiImplicit(eta=0.05, joint=True),
], ids=lambda make: repr(make()))
def test_every_method_takes_the_step_of_a_fully_connected_map_on_patches(make, activation):
    net, X, y, _ = random_case(11, activation)
    seen = []

    def check(block):
        step = make().propose(block)
        if isinstance(block.phi, ml.Conv2d):
            seen.append(block.l)
            expected = make().propose(linear_block(block))
            assert_close(f"map {block.l}", step, expected, 1e-7)
        return step
    list(ml.methods.sweep(net, net.forward(X, training=True), y, check, new_weights=make().new_weights))
    assert seen == [3, 2, 1]


# ---- layouts, sizes, files

def test_channels_first_is_told_and_never_guessed(rng):
    X, y = rng.standard_normal((5, 6, 8, 2)), rng.integers(0, 3, 5)
    arguments = {"input_shape": (6, 8, 2), "channels": (3,), "classes": 3, "kernel": 3, "dtype": np.float64}
    last, first, flat = (ml.convnet(**arguments, input_layout=layout)
                         for layout in ("channels_last", "channels_first", "flat"))
    turned = X.transpose(0, 3, 1, 2)
    expected = last.forward(X).z[2]
    assert (first.forward(turned).z[2] == expected).all()
    assert (flat.forward(X.reshape(5, -1)).z[2] == expected).all()
    assert (first.predict(turned) == last.predict(X)).all()
    assert first.loss(turned, y) == last.loss(X, y)
    with pytest.raises(ValueError, match=r"samples of shape \(N, 6, 8, 2\), got \(5, 2, 6, 8\).*channels_first"):
        last.forward(turned)
    with pytest.raises(ValueError, match=r"samples of shape \(N, 2, 6, 8\), got \(5, 6, 8, 2\).*channels_last"):
        first.forward(X)
    with pytest.raises(ValueError, match=r"got \(5, 96\).*'flat'"):
        last.forward(X.reshape(5, -1))


def test_a_square_image_with_as_many_channels_is_taken_as_the_network_was_told(rng):
    """Where the shape cannot tell, the argument does."""
    X = rng.standard_normal((2, 3, 3, 3))
    last, first = (ml.convnet((3, 3, 3), (2,), 2, kernel=3, dtype=np.float64, input_layout=layout)
                   for layout in ("channels_last", "channels_first"))
    assert (last.forward(X).z[2] != first.forward(X).z[2]).any()
    assert (last.forward(X).z[2] == first.forward(X.transpose(0, 3, 1, 2)).z[2]).all()


def test_a_network_says_what_does_not_fit():
    conv = ml.Conv2d(3, 4, 5)
    with pytest.raises(ValueError, match=r"input_shape=\(H, W, C\) is needed"):
        ml.Network([conv, ml.Flatten(), ml.Linear(64, 2)])
    with pytest.raises(ValueError, match=r"last map must give vectors.*Conv2d\(3, 4, 5"):
        ml.Network([conv], input_shape=(8, 8, 3))
    with pytest.raises(ValueError, match=r"map 2 does not fit.*\(256,\)"):
        ml.Network([conv, ml.Flatten(), ml.Linear(255, 2)], input_shape=(8, 8, 3))
    with pytest.raises(ValueError, match=r"channels last, got \(3, 8, 8\)"):
        ml.Network([conv, ml.Flatten(), ml.Linear(256, 2)], input_shape=(3, 8, 8))
    with pytest.raises(ValueError, match="did you mean 'channels_first'"):
        ml.convnet(input_layout="channel_first")
    with pytest.raises(ValueError, match="is for images"):
        ml.Network([ml.Linear(4, 2)], input_layout="channels_first")


def test_the_papers_network():
    net = ml.convnet()
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["Conv2d", "ReLU", "MaxPool2d"] * 2 + ["Conv2d", "ReLU", "Flatten", "Linear"]
    assert [p.shape for p in net.parameters] == [(76, 16), (401, 20), (501, 20), (1281, 10)]
    assert net.shapes[0] == (32, 32, 3)
    assert "(N, 16, 16, 16)" in str(net)


def test_saved_and_read_back(rng, tmp_path):
    net, X, _, _ = random_case(3, stride=2)
    net.save(tmp_path / "net.npz")
    assert (ml.load(tmp_path / "net.npz").forward(X).z[4] == net.forward(X).z[4]).all()
    first = ml.convnet((4, 6, 2), (3,), 2, kernel=3, input_layout="channels_first")
    first.save(tmp_path / "first.npz")
    again = ml.load(tmp_path / "first.npz")
    X = rng.standard_normal((2, 2, 4, 6))
    assert (again.forward(X).z[2] == first.forward(X).z[2]).all()


# ---- training

@pytest.mark.parametrize("method", [ml.BackProp(), ml.ProxProp(), ml.ProxProp(solver="cg3", joint=True)], ids=repr)
def test_the_embedded_digits_are_learnt_in_seconds(method):
    data = ml.datasets.digits()
    net = ml.convnet((8, 8, 1), channels=(8, 16), kernel=3, input_layout="flat")
    history = ml.fit(net, (data.X_train, data.y_train), method=method, optimizer=ml.Adam(lr=5e-3), epochs=6,
                     batch_size=100, seed=0)
    assert net.accuracy(data.X_test, data.y_test) > 0.9
    assert history["train_loss"][-1] < 0.3


def test_pytorchs_gradients(rng):
    """Logits and gradients of a network with pooling against PyTorch's automatic differentiation."""
    torch = pytest.importorskip("torch")
    net = ml.convnet((8, 8, 3), (4, 5), classes=6, dtype=np.float64, input_layout="channels_first")
    X, y = rng.standard_normal((3, 3, 8, 8)), rng.integers(0, 6, 3)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(4, 5, 5, padding=2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(80, 6)).double()
    maps = [layer for layer in theirs if hasattr(layer, "weight")]
    with torch.no_grad():
        for layer, theta, (k, c) in zip(maps, net.parameters, ((5, 3), (5, 4), (4, 5))):
            weight = theta[:-1].reshape(k, k, c, -1).transpose(3, 2, 0, 1)
            layer.weight.copy_(torch.tensor(weight.reshape(layer.weight.shape)))
            layer.bias.copy_(torch.tensor(theta[-1]))
    loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(X)), torch.tensor(y))
    loss.backward()
    ours, gradients = ml.BackProp().direction(net, X, y)
    assert abs(ours - float(loss.detach())) < 1e-13
    for layer, gradient, (k, c) in zip(maps, gradients, ((5, 3), (5, 4), (4, 5))):
        weight = layer.weight.grad.numpy().reshape(-1, c, k, k).transpose(2, 3, 1, 0).reshape(k * k * c, -1)
        assert_close("gradient", gradient, np.vstack([weight, layer.bias.grad.numpy()[None]]), 1e-12)
