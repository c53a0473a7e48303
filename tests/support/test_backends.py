"""The CuPy backend gives the numbers of the NumPy one: on the strict stand-in, and on a GPU where there is
one.

The stand-in (strict_cupy.py) refuses host arrays and implicit conversion as CuPy does, so that a chain
which runs here mixes nothing. What it refuses is tested first: a stand-in that lets things pass would be
worth nothing.
"""

import io
import sys

import numpy as np
import pytest
from laws import assert_close

import minilift as ml
from minilift.energy import PenaltyEnergy, algorithm_1
from minilift.layers.gram import Gram
from minilift.support.backend import array_module, get_module, spd_inverse, synchronize, to_numpy

ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "softplus", "identity")
LOSSES = (ml.SoftmaxCrossEntropy(), ml.SigmoidCrossEntropy("sum"), ml.SquaredError())
METHODS = (ml.BackProp(), ml.ProxProp(0.5), ml.ProxProp(2.0, last="implicit"), ml.ProxProp(1.0, "cg3"),
           ml.ProxProp(1.0, "cg3", joint=True))
OTHERS = (lambda: ml.LocoProp("M"), lambda: ml.LocoProp("S", local_optimizer="sgd", local_lr=0.01),
          lambda: ml.LocoProp("S", steps="exact", eta=1.0), lambda: ml.LocoProp("M", 0.1, steps="exact", eta=1.0),
          lambda: ml.SemiImplicit(), lambda: ml.SemiImplicit(solver="exact", joint=True))
TOLERANCE = 1e-11  # float64; a GPU sums in another order


def pair(activation="tanh", loss=None, widths=(5, 7, 4, 3), dtype=np.float64):
    """Return the same network on both backends."""
    nets = [ml.mlp(widths, activation=activation, loss=loss, seed=3, dtype=dtype, backend=backend)
            for backend in ("numpy", "cupy")]
    return nets


def batch(rng, loss, samples=6):
    X = rng.standard_normal((samples, 5))
    return X, rng.integers(0, 3, samples) if loss.classification else rng.uniform(size=(samples, 3))


def assert_same(what, device_array, host_array, device, tolerance=TOLERANCE):
    assert isinstance(device_array, device.ndarray), f"{what} is no device array but {type(device_array)}"
    assert device_array.dtype == host_array.dtype
    assert_close(what, to_numpy(device_array), host_array, tolerance)


# ---- the stand-in refuses what CuPy refuses

REFUSED = {
    "host array on the right": lambda d, h: d + h,
    "host array on the left": lambda d, h: h * d,
    "product with a host array": lambda d, h: d @ h,
    "host array as operand of a function": lambda d, h: array_module(d).maximum(d, h),
    "host array of no dimension": lambda d, h: d + np.array(1.0),
    "host array assigned": lambda d, h: d.__setitem__(0, h[0]),
    "host array as index": lambda d, h: d[h.astype(int)],
    "host array as out": lambda d, h: np.add(d, d, out=h),
    "in place with a host array": lambda d, h: d.__iadd__(h),
    "host array changed in place": lambda d, h: h.__iadd__(d),
    "implicit conversion": lambda d, h: np.asarray(d),
    "implicit conversion in np.array": lambda d, h: np.array([d, d]),
    "saving a device array": lambda d, h: np.savez(io.BytesIO(), d=d),
    "a function that CuPy has not": lambda d, h: np.nan_to_num(d),
    "a ufunc's method": lambda d, h: np.add.reduce(d),
    "stacking mixed arrays": lambda d, h: np.concatenate([d, h]),
    "random numbers": lambda d, h: array_module(d).random,
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_stand_in_refuses(strict_cupy, name):
    host = np.eye(2)
    with pytest.raises((TypeError, AttributeError)):
        REFUSED[name](strict_cupy.asarray(host), host)


def test_the_stand_in_computes_as_numpy(strict_cupy, rng):
    host = rng.standard_normal((3, 3))
    device = strict_cupy.asarray(host)
    assert not isinstance(device, np.ndarray)
    for result, expected in ((device @ device.T, host @ host.T), (np.exp(device), np.exp(host)),
                             (2 * device - np.float64(1), 2 * host - 1),
                             (device.sum(axis=0), host.sum(axis=0)), (device[device > 0], host[host > 0]),
                             (np.linalg.inv(device), np.linalg.inv(host))):
        assert_same("result", result, expected, strict_cupy)
    total = device.sum()
    assert isinstance(total, strict_cupy.ndarray)  # a reduction stays on the device
    assert total.shape == ()
    assert float(total) == host.sum()
    device[:] = 0
    assert host.any()  # moved, not shared


def test_a_failed_factorisation_raises_nothing_in_the_stand_in(strict_cupy):
    indefinite = strict_cupy.asarray(np.array([[1.0, 2.0], [2.0, 1.0]]))
    assert np.isfinite(strict_cupy.linalg.cholesky(indefinite).get()).all()
    with sys.modules["cupyx"].errstate(linalg="raise"), pytest.raises(np.linalg.LinAlgError):
        strict_cupy.linalg.cholesky(indefinite)


# ---- which library owns the arrays

def test_arrays_say_which_library_owns_them(device):
    host, moved = np.ones(2), device.ones(2)
    assert array_module(host, host) is np
    assert array_module(moved, moved) is device
    with pytest.raises(TypeError, match="arrays of NumPy and CuPy are mixed; move them to one backend first"):
        array_module(host, moved)
    assert isinstance(to_numpy(moved), np.ndarray)
    assert to_numpy(host) is host
    synchronize(device)
    synchronize(np)


def test_that_cupy_imports_says_nothing_about_a_gpu(strict_cupy, monkeypatch):
    def no_device(*args):
        raise OSError("no CUDA-capable device is detected")
    monkeypatch.setattr(strict_cupy, "ones", no_device)
    with pytest.raises(RuntimeError, match=r"CuPy is installed but no GPU answers \(no CUDA-capable device"):
        get_module("cupy")
    monkeypatch.setattr(strict_cupy, "ones", lambda n: np.array([1.0, 2.0]))
    with pytest.raises(RuntimeError, match=r"the GPU computed 1 \+ 1 = 3\.0"):
        get_module("cupy")


# ---- the whole chain

@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_loss_and_directions(device, rng, activation, loss):
    host, moved = pair(activation, loss)
    X, y = batch(rng, loss)
    for p, q in zip(moved.parameters, host.parameters):
        assert_same("initial θ", p, q, device, 0)
    here, there = host.forward(X), moved.forward(X)
    for l in range(1, 4):
        assert_same(f"z_{l}", there.z[l], here.z[l], device)
    assert moved.loss(X, y) == pytest.approx(host.loss(X, y), rel=TOLERANCE)
    for method in METHODS:
        value, directions = method.direction(moved, X, y)
        expected_value, expected = method.direction(host, X, y)
        assert type(value) is float
        assert value == pytest.approx(expected_value, rel=TOLERANCE)
        for l, (d, e) in enumerate(zip(directions, expected, strict=True), start=1):
            assert_same(f"{method!r}, θ_{l}", d, e, device, 1e-9)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_float32(device, rng, method):
    host, moved = pair(dtype=np.float32)
    X, y = batch(rng, host.loss_function)
    for d, e in zip(method.direction(moved, X, y)[1], method.direction(host, X, y)[1]):
        assert_same(repr(method), d, e, device, 1e-4)


def test_wide_and_tall_batches(device, rng):
    for samples in (2, 40):
        host, moved = pair()
        X, y = batch(rng, host.loss_function, samples)
        for method in METHODS:
            for d, e in zip(method.direction(moved, X, y)[1], method.direction(host, X, y)[1]):
                assert_same(repr(method), d, e, device, 1e-8)


@pytest.mark.parametrize("make", OTHERS, ids=lambda make: repr(make()))
@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_other_methods(device, rng, make, activation):
    host, moved = pair(activation)
    X, y = batch(rng, host.loss_function)
    for d, e in zip(make().direction(moved, X, y)[1], make().direction(host, X, y)[1], strict=True):
        assert_same("direction", d, e, device, 1e-8)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("make", [*(lambda m=m: m for m in METHODS), *OTHERS], ids=lambda make: repr(make()))
def test_convolutions(device, rng, make, batch_norm):
    X, y = rng.standard_normal((3, 8, 8, 2)), np.array([0, 1, 2])
    host, moved = [ml.convnet((8, 8, 2), channels=(3, 4), classes=3, kernel=3, batch_norm=batch_norm,
                              dtype=np.float64, backend=backend) for backend in ("numpy", "cupy")]
    for d, e in zip(make().direction(moved, X, y)[1], make().direction(host, X, y)[1], strict=True):
        assert_same("direction", d, e, device, 1e-8)


def test_predictions_come_back_to_the_host(device, rng):
    host, moved = pair()
    X, y = batch(rng, host.loss_function)
    for name in ("predict", "predict_proba"):
        result = getattr(moved, name)(X)
        assert isinstance(result, np.ndarray)
        assert_close(name, result, getattr(host, name)(X), TOLERANCE)
    assert moved.accuracy(X, y) == host.accuracy(X, y)


def test_data_may_be_on_the_device_already(device, rng):
    host, moved = pair()
    X, y = batch(rng, host.loss_function)
    assert moved.loss(device.asarray(X), device.asarray(y)) == moved.loss(X, y)
    with pytest.raises(TypeError, match="Implicit conversion"):
        host.loss(device.asarray(X), y)


def test_bad_data_are_refused_on_the_device(device, rng):
    _, moved = pair()
    X, y = batch(rng, moved.loss_function)
    X[1, 2] = np.nan
    with pytest.raises(ValueError, match="X: the data hold NaN or inf"):
        moved.loss(X, y)
    with pytest.raises(ValueError, match="labels must lie in 0 … 2"):
        moved.loss(np.ones((6, 5)), y + 3)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_prox(device, rng, loss):
    z = rng.standard_normal((6, 3))
    _, y = batch(rng, loss)
    moved = loss.prox(device.asarray(z), device.asarray(y), 0.7)
    assert_same("prox", moved, loss.prox(z, y, 0.7), device, 1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_integrals(device, rng, activation):
    transfer, z = ml.activations.ACTIVATIONS[activation](), rng.standard_normal((4, 3))
    assert_same("F", transfer.integral(device.asarray(z)), transfer.integral(z), device)
    assert transfer.in_range(transfer.forward(device.asarray(z)))


def test_penalty_energy_and_algorithm_1(device, rng):
    host, moved = pair()
    X, y = batch(rng, host.loss_function)
    for l, theta in enumerate(algorithm_1(host, X, y, 0.5).theta[1:], start=1):
        assert_same(f"θ_{l}", algorithm_1(moved, X, y, 0.5).theta[l], theta, device)
    state = moved.forward(X)
    energy = PenaltyEnergy(moved, device.asarray(y), 2.0, 3.0)
    assert energy.value(state.theta, state.a, state.z) == pytest.approx(host.loss(X, y), rel=TOLERANCE)


def test_residuals(device, rng):
    host, moved = pair()
    X, y = batch(rng, host.loss_function)
    method = ml.ProxProp(1.0, "cg2")
    for r, e in zip(method.residuals(moved, X, y)[1:-1], method.residuals(host, X, y)[1:-1]):
        assert_same("residual", r, e, device, 1e-8)
    assert len(ml.plots.residuals({"cg2": method.residuals(moved, X, y)}).axes) == 2


@pytest.mark.parametrize("side", ["sample", "parameter"])
@pytest.mark.parametrize("bias", [True, False])
def test_gram(device, rng, side, bias):
    a = rng.standard_normal((6, 4)) + 3
    moved = Gram(device.asarray(a), side=side, bias=bias)
    assert_same("matrix", moved.matrix, Gram(a, side=side, bias=bias).matrix, device)


def test_saved_here_and_loaded_there(device, rng, tmp_path):
    host, moved = pair("leaky_relu")
    X, y = batch(rng, host.loss_function)
    moved.save(tmp_path / "net.npz")
    back = ml.load(tmp_path / "net.npz")
    again = ml.load(tmp_path / "net.npz", backend="cupy")
    assert all(isinstance(array, np.ndarray) for array in moved.state_dict().values())
    for p, q, r in zip(back.parameters, again.parameters, host.parameters):
        assert_same("θ", q, r, device, 0)
        assert (p == r).all()
    assert again.loss(X, y) == moved.loss(X, y)
    kept = moved.forward(X).copy()
    assert isinstance(kept.theta[1], device.ndarray)


@pytest.mark.parametrize("matrix", [np.diag([1.0, -1]), np.ones((2, 2)), np.array([[1.0, 2], [2, 1]])])
def test_a_matrix_that_is_not_positive_definite_is_an_error_here_too(device, matrix):
    with pytest.raises(ArithmeticError, match="should be positive definite is not"):
        spd_inverse(device.asarray(matrix))


def test_small_inverse(device, rng):
    b = rng.standard_normal((5, 5))
    matrix = b @ b.T + np.eye(5)
    assert_same("inverse", spd_inverse(device.asarray(matrix)), spd_inverse(matrix), device)


def test_training_goes_the_same_way(device, rng):
    host, moved = pair()
    X, y = batch(rng, host.loss_function, 30)
    for net in (host, moved):
        optimizer, method = ml.Nesterov(lr=0.1, momentum=0.9), ml.ProxProp(1.0, "cg3")
        for _ in range(5):
            optimizer.step(net.parameters, method.direction(net, X, y)[1])
    for l in range(1, 4):
        assert_same(f"θ_{l}", moved.theta[l], host.theta[l], device, 1e-9)
