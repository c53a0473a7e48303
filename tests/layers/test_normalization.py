"""Batch normalisation in both modes, running statistics, dropout."""

import numpy as np
import pytest
from conftest import read_only
from hypothesis import given
from hypothesis import strategies as st
from laws import assert_adjoint, assert_close, assert_gradient, central_difference, random_like

import minilift as ml

SHAPES = [(7, 3), (4, 5, 6, 3)]


def random_norm(rng, channels=3):
    norm = ml.BatchNorm(channels, momentum=0.3, eps=1e-3)
    norm.scale_shift = read_only(rng.standard_normal((2, channels)))
    norm.running = read_only(np.stack([rng.standard_normal(channels), rng.uniform(0.5, 2, channels)]))
    return norm


def torch_norm(torch, norm, ndim):
    theirs = (torch.nn.BatchNorm2d if ndim == 4 else torch.nn.BatchNorm1d)(norm.channels, norm.eps, norm.momentum)
    theirs = theirs.double()
    with torch.no_grad():
        for array, values in zip((theirs.weight, theirs.bias, theirs.running_mean, theirs.running_var),
                                 (*norm.scale_shift, *norm.running)):
            array.copy_(torch.tensor(values))
    return theirs


def channels_second(x):
    return np.moveaxis(x, -1, 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_pytorchs_batch_normalisation(rng, shape, training):
    torch = pytest.importorskip("torch")
    norm, z = random_norm(rng), rng.standard_normal(shape) * 3 + 1
    theirs = torch_norm(torch, norm, len(shape)).train(training)
    image = torch.tensor(channels_second(z), requires_grad=True)
    expected = theirs(image)
    g = rng.standard_normal(shape)
    expected.backward(torch.tensor(channels_second(g)))
    a, aux = norm.apply(z, training=training)
    assert_close("value", channels_second(a), expected.detach().numpy(), 1e-13)
    assert_close("adjoint", channels_second(norm.adjoint(z, a, aux, g)), image.grad.numpy(), 1e-12)
    gradient = np.stack([theirs.weight.grad.numpy(), theirs.bias.grad.numpy()])
    assert_close("gradient", *norm.gradients(aux, g), gradient, 1e-12)
    norm.commit(aux)
    assert_close("running", norm.running, np.stack([theirs.running_mean.numpy(), theirs.running_var.numpy()]), 1e-13)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([(2, 3), (9, 3), (2, 3, 2, 3)]))
def test_adjoint_and_gradient_by_differences(seed, training, shape):
    rng = np.random.default_rng(seed)
    norm, z, g = random_norm(rng), read_only(rng.standard_normal(shape)), read_only(rng.standard_normal(shape))
    a, aux = norm.apply(z, training=training)
    assert_adjoint("BatchNorm", lambda t: central_difference(lambda x: norm.apply(x, training=training)[0], z, t, 1e-4),
                   lambda c: norm.adjoint(z, a, aux, c), rng.standard_normal(shape), g, 1e-6)

    def value(scale_shift):
        moved = ml.BatchNorm(3, eps=1e-3)
        moved.scale_shift, moved.running = scale_shift, norm.running
        return float((moved.apply(z, training=training)[0] * g).sum())
    assert_gradient("scale and shift", value, norm.scale_shift, *norm.gradients(aux, g), rng)


def test_the_adjoint_is_that_of_the_pass_though_the_scale_moves(rng):
    norm, (z, g) = ml.BatchNorm(3), rng.standard_normal((2, 5, 3))
    a, aux = norm.apply(z, training=True)
    adjoint = norm.adjoint(z, a, aux, g)
    norm.scale_shift[...] = 7.0  # an optimizer writes in place
    assert np.array_equal(norm.adjoint(z, a, aux, g), adjoint)


def test_a_training_pass_normalises_and_changes_nothing(rng):
    norm = ml.BatchNorm(4)
    z = rng.standard_normal((50, 3, 3, 4)) * 5 + 2
    before = norm.running.copy()
    a, _ = norm.apply(z, training=True)
    assert abs(a.mean(axis=(0, 1, 2))).max() < 1e-14
    assert abs(a.var(axis=(0, 1, 2)) - 1).max() < 1e-5
    assert (norm.running == before).all()


def norm_network(**arguments):
    return ml.convnet((6, 6, 2), (3, 4), classes=3, kernel=3, batch_norm=True, dtype=np.float64, **arguments)


def test_a_network_commits_running_statistics(rng):
    net = norm_network()
    X = rng.standard_normal((8, 6, 6, 2)) + 1
    for _ in range(300):
        net.commit(net.forward(X, training=True))
    training, evaluation = net.forward(X, training=True), net.forward(X)
    # up to biased against unbiased variance, running statistics of one batch are that batch's
    assert_close("logits", evaluation.z[3], training.z[3], 0.02)
    mean = training.z[1].mean(axis=(0, 1, 2))
    assert_close("running mean", net.norms[0].running[0], mean, 1e-12)
    net.commit(evaluation)  # an evaluation pass has nothing to give
    assert_close("running mean", net.norms[0].running[0], mean, 1e-12)


def test_a_loop_of_ones_own_commits_if_it_says_so(rng):
    net, X, y = (ml.Network([ml.Linear(3, 4), ml.BatchNorm(4), ml.ReLU(), ml.Linear(4, 2)]),
                 rng.standard_normal((20, 3)), rng.integers(0, 2, 20))
    before = net.norms[0].running.copy()
    loss, _ = ml.BackProp().direction(net, X, y)
    assert (net.norms[0].running == before).all()
    for _ in range(300):
        ml.BackProp().direction(net, X, y, commit=True)
    assert net.loss(X, y) == pytest.approx(loss, rel=0.02)  # the running variance is the unbiased one


def test_parameters_come_after_theta_and_are_the_networks_own(rng):
    norm = ml.BatchNorm(3)
    layers = [ml.Linear(4, 3), norm, ml.ReLU(), ml.Linear(3, 2)]
    one, two = (ml.Network(layers, dtype=np.float64) for _ in range(2))
    assert [p.shape for p in one.parameters] == [(5, 3), (4, 2), (2, 3)]
    X, y = rng.standard_normal((6, 4)), np.array([0, 1, 0, 1, 1, 0])
    _, directions = ml.BackProp().direction(one, X, y)
    ml.SGD(lr=0.1).step(one.parameters, directions)
    assert (one.norms[0].scale_shift != two.norms[0].scale_shift).any()
    assert (norm.scale_shift == two.norms[0].scale_shift).all()
    assert "explicit" in str(one)


def test_gradients_of_a_network_in_all_parameters(rng):
    net = norm_network(activation="tanh")
    for norm in net.norms:
        norm.scale_shift[...] = rng.standard_normal(norm.scale_shift.shape)
    X, y = rng.standard_normal((5, 6, 6, 2)), rng.integers(0, 3, 5)
    loss, gradients = ml.BackProp().direction(net, X, y)
    start = [p.copy() for p in net.parameters]

    def value(parameters):
        for own, new in zip(net.parameters, parameters, strict=True):
            own[...] = new
        return net.loss_function.value(net.forward(X, training=True).z[net.depth], y)
    assert value(start) == loss
    assert_gradient("∇J", value, start, gradients, rng, 1e-6)
    for k in (-2, -1):
        tangent = [np.zeros_like(p) for p in start]
        tangent[k] = random_like(start[k], rng)
        slope = central_difference(value, start, tangent)
        assert abs((gradients[k] * tangent[k]).sum() - slope) < 1e-7


@pytest.mark.parametrize("layers", [
    [ml.Linear(4, 5), ml.BatchNorm(5), ml.Tanh(), ml.BatchNorm(5), ml.Linear(5, 2)],
    [ml.Select(), ml.BatchNorm(4), ml.Linear(4, 2)]], ids=["two norms between two maps", "a norm after a selection"])
def test_each_norm_has_its_own_gradient(layers, rng):
    """Parameter by parameter: the right numbers at another's place are wrong."""
    net = ml.Network(layers, input_shape=(4,), dtype=np.float64)
    for norm in net.norms:
        norm.scale_shift[...] = rng.standard_normal(norm.scale_shift.shape)
    X, y = rng.standard_normal((6, 4)), np.array([0, 1] * 3)
    for k, gradient in enumerate(ml.BackProp().direction(net, X, y)[1]):
        parameter, start = net.parameters[k], net.parameters[k].copy()

        def value(new, parameter=parameter):
            parameter[...] = new
            return net.loss_function.value(net.forward(X, training=True).z[net.depth], y)
        assert_gradient(f"parameter {k}", value, start, gradient, rng, 1e-6)
        parameter[...] = start


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 1.0, 50.0]), st.sampled_from(["exact", "cg1", "cg3"]))
def test_below_batch_norm_proxprops_step_descends(seed, tau_theta, solver):
    rng = np.random.default_rng(seed)
    net = norm_network(seed=seed % 1000)
    X, y = rng.standard_normal((4, 6, 6, 2)), rng.integers(0, 3, 4)
    gradients = ml.BackProp().direction(net, X, y)[1]
    directions = ml.ProxProp(tau_theta, solver=solver).direction(net, X, y)[1]
    for d, gradient in zip(directions, gradients):
        assert (d * gradient).sum() > 0
    for d, gradient in zip(directions[net.depth - 1:], gradients[net.depth - 1:]):
        assert (d == gradient).all()  # the last map, scales and shifts: explicit


def assert_gradients_times(rate, method, rng, tolerance):
    net = norm_network(activation="tanh", seed=4)
    X, y = rng.standard_normal((5, 6, 6, 2)), rng.integers(0, 3, 5)
    gradients, steps = (m.direction(net, X, y)[1] for m in (ml.BackProp(), method))
    assert len(steps) == net.depth + len(net.norms)
    for step, gradient in zip(steps, gradients):
        assert_close("step", step, rate * gradient, tolerance)


def test_one_plain_step_of_locoprop_is_backprop_in_all_parameters(rng):
    for variant in "SM":
        method = ml.LocoProp(variant, gamma=2.0, steps=1, local_lr=0.01, local_optimizer="sgd", decay=False)
        assert_gradients_times(0.02, method, rng, 1e-11)


def test_small_exact_steps_are_backprop_in_all_parameters(rng):
    assert_gradients_times(3e-7, ml.LocoProp("S", gamma=3.0, steps="exact", eta=1e-7), rng, 1e-4)
    assert_gradients_times(5 * 0.1 / 1e7, ml.SemiImplicit(eta=0.1, lam=1e7), rng, 1e-4)  # the loss of 5 samples, summed


def test_scale_and_shift_take_locoprops_local_steps_with_the_gradient_held(rng):
    net = norm_network(activation="tanh", seed=4)
    X, y = rng.standard_normal((5, 6, 6, 2)), rng.integers(0, 3, 5)
    gradient = ml.BackProp().direction(net, X, y)[1][-1]
    plain = ml.LocoProp(gamma=2.0, steps=3, local_lr=0.01, local_optimizer="sgd", decay=False)
    assert_close("plain", plain.direction(net, X, y)[1][-1], 3 * 0.01 * 2.0 * gradient, 1e-12)
    adam = ml.LocoProp(gamma=2.0, steps=3, local_lr=0.01, local_optimizer="adam", decay=False)
    assert_close("adam", adam.direction(net, X, y)[1][-1], 3 * 0.01 * np.sign(gradient), 1e-4)  # |d| divides out
    again = ml.LocoProp(gamma=2.0, steps=3, local_lr=0.01, local_optimizer="adam", decay=False)
    again.load_state_dict(adam.state_dict())
    for one, other in zip(adam.direction(net, X, y)[1], again.direction(net, X, y)[1]):
        assert (one == other).all(), "the optimizers of batch norms are kept in checkpoints as well"
    with pytest.raises(ValueError, match="batch norm; give eta"):
        ml.LocoProp("M", gamma=1e-3, steps="exact").direction(net, X, y)


def test_saved_and_read_back(rng, tmp_path):
    net = norm_network(seed=3)
    X = rng.standard_normal((8, 6, 6, 2))
    net.commit(net.forward(X, training=True))
    net.norms[1].scale_shift[...] = rng.standard_normal((2, 4))
    net.save(tmp_path / "net.npz")
    again = ml.load(tmp_path / "net.npz")
    assert (again.forward(X).z[3] == net.forward(X).z[3]).all()
    with pytest.raises(ValueError, match="running_1"):
        net.load_state_dict({"theta_1": net.theta[1]})


def test_fit_trains_scale_and_shift_and_commits(rng):
    data = ml.datasets.digits()
    X, y = data.X_train[:200], data.y_train[:200]
    net = ml.convnet((8, 8, 1), (4,), kernel=3, batch_norm=True, input_layout="flat")
    before = net.state_dict()
    before = {name: array.copy() for name, array in before.items()}
    history = ml.fit(net, (X, y), method=ml.ProxProp(), optimizer=ml.Adam(lr=0.01), epochs=5, batch_size=50, seed=0)
    assert history["train_loss"][-1] < 0.7 * history["train_loss"][0]  # in evaluation: by running statistics
    assert all((net.state_dict()[name] != array).any() for name, array in before.items())


def test_batch_norm_errors():
    with pytest.raises(ValueError, match="more than one value in each channel"):
        ml.BatchNorm(3).apply(np.ones((1, 3)), training=True)
    with pytest.raises(ValueError, match=r"expects samples of shape \(…, 3\), got \(4, 4, 2\)"):
        ml.BatchNorm(3).output_shape((4, 4, 2))
    with pytest.raises(ValueError, match="momentum must be at most 1, got 2"):
        ml.BatchNorm(3, momentum=2)


# ---- dropout

def test_dropout_keeps_the_mean_and_draws_from_the_given_generator(rng):
    dropout, z = ml.Dropout(0.25), read_only(np.ones((400, 500)))
    a, mask = dropout.apply(z, training=True, rng=np.random.default_rng(5))
    again, _ = dropout.apply(z, training=True, rng=np.random.default_rng(5))
    assert (a == again).all()
    assert set(np.unique(a)) == {0.0, 1 / 0.75}
    assert abs((a == 0).mean() - 0.25) < 0.005
    assert abs(a.mean() - 1) < 0.005
    g = rng.standard_normal(z.shape)
    assert (dropout.adjoint(z, a, mask, g) == g * a).all()


def test_dropout_does_nothing_in_evaluation(rng):
    z, g = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    a, aux = ml.Dropout().apply(z)
    assert (a == z).all()
    assert (ml.Dropout().adjoint(z, a, aux, g) == g).all()


def test_dropout_in_a_network(rng):
    net = ml.Network([ml.Linear(6, 8), ml.Tanh(), ml.Dropout(0.5), ml.Linear(8, 3)], dtype=np.float64)
    X, y = rng.standard_normal((5, 6)), rng.integers(0, 3, 5)
    state = net.forward(X, training=True, rng=np.random.default_rng(1))
    gradients = ml.BackProp().directions(net, state, y)

    def value(parameters):  # with the same mask
        again = net.forward(X, training=True, rng=np.random.default_rng(1), theta=[None, *parameters])
        return net.loss_function.value(again.z[2], y)
    assert_gradient("∇J", value, list(net.parameters), gradients, rng)
    with pytest.raises(ValueError, match="needs rng"):
        net.forward(X, training=True)


def test_dropout_errors():
    for rate in (1.0, 1.5):
        with pytest.raises(ValueError, match="rate must be below 1"):
            ml.Dropout(rate)
    with pytest.raises(ValueError, match="rate must be positive"):
        ml.Dropout(0.0)


def test_direction_with_dropout_draws_from_the_rng_it_is_given(rng):
    net = ml.Network([ml.Linear(6, 8), ml.Tanh(), ml.Dropout(0.5), ml.Linear(8, 3)], dtype=np.float64)
    X, y = rng.standard_normal((5, 6)), rng.integers(0, 3, 5)
    one, same, other = (ml.ProxProp().direction(net, X, y, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one[0] == same[0] != other[0]
    with pytest.raises(ValueError, match="needs rng"):
        ml.ProxProp().direction(net, X, y)


def test_the_statistics_of_many_pixels_in_float32_are_those_of_the_pixels():
    """A long sum in float32 errs in one direction: a constant channel was normalised to nearly one."""
    z = np.full((100, 32, 32, 4), 10.1, np.float32)
    a, aux = ml.BatchNorm(4).on_backend(np, np.dtype(np.float32)).apply(z, training=True)
    assert a.dtype == aux.batch.dtype == np.float32
    assert abs(a).max() < 0.01
    assert abs(aux.batch[0] - 10.1).max() < 1e-5
