"""Optimizers against PyTorch and literal restatements; in place, block by block, and nothing else touched."""

import copy
import math
import sys
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import strict_cupy
from hypothesis import given
from hypothesis import strategies as st

from minilift import optim
from minilift.optim import (
    SGD,
    Adam,
    Constant,
    Cosine,
    HeavyBall,
    Muon,
    Nesterov,
    RMSProp,
    StepDecay,
    WarmupLinear,
    msign,
)

SHAPES = [(7, 5), (6, 3), (4,), ()]
EVERY = [SGD(0.1), SGD(0.1, weight_decay=0.03), HeavyBall(0.1, 0.9), Nesterov(0.1, 0.95, weight_decay=0.03),
         Adam(0.01), Adam(0.01, weight_decay=0.1, decoupled=True), RMSProp(0.01), RMSProp(0.01, momentum=0.9),
         RMSProp(0.01, 0.9, 1e-5, 0.999, form="tf1"), Muon(0.02), Muon(0.02, 0.8, 4, weight_decay=0.1)]


def fresh(optimizer):
    optimizer = copy.deepcopy(optimizer)
    optimizer.reset()
    return optimizer


def random_arrays(seed, shapes=SHAPES, dtype=np.float64, read_only=False):
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.standard_normal(shape), dtype=dtype) for shape in shapes]
    for array in arrays:
        array.flags.writeable = not read_only
    return arrays


def run(optimizer, parameters, steps, **options):
    for k in range(steps):
        shapes, dtype = [p.shape for p in parameters], parameters[0].dtype
        directions = random_arrays(100 + k, shapes, dtype, read_only=True)
        optimizer.step(parameters, directions, **options)
    return parameters


@pytest.mark.parametrize(("ours", "name", "settings"), [
    (SGD(0.1), "SGD", {"lr": 0.1}),
    (SGD(0.1, weight_decay=0.03), "SGD", {"lr": 0.1, "weight_decay": 0.03}),
    (HeavyBall(0.1, 0.9), "SGD", {"lr": 0.1, "momentum": 0.9}),
    (Nesterov(0.1, 0.95), "SGD", {"lr": 0.1, "momentum": 0.95, "nesterov": True}),
    (Nesterov(0.1, 0.95, weight_decay=0.03), "SGD",
     {"lr": 0.1, "momentum": 0.95, "nesterov": True, "weight_decay": 0.03}),
    (Adam(0.01, 0.8, 0.99, 1e-6), "Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6}),
    (Adam(0.01, weight_decay=0.1), "Adam", {"lr": 0.01, "weight_decay": 0.1}),
    (Adam(0.01, weight_decay=0.1, decoupled=True), "AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    (RMSProp(0.01, 0.95, 1e-6), "RMSprop", {"lr": 0.01, "alpha": 0.95, "eps": 1e-6}),
    (RMSProp(0.01, 0.95, 1e-6, 0.9, weight_decay=0.1), "RMSprop",
     {"lr": 0.01, "alpha": 0.95, "eps": 1e-6, "momentum": 0.9, "weight_decay": 0.1}),
], ids=repr)
def test_twenty_steps_equal_those_of_pytorch(ours, name, settings):
    torch = pytest.importorskip("torch")
    parameters = random_arrays(0)
    theirs = [torch.tensor(parameter) for parameter in parameters]
    reference = getattr(torch.optim, name)(theirs, **settings)
    for k in range(20):
        directions = random_arrays(100 + k)
        for tensor, direction in zip(theirs, directions):
            tensor.grad = torch.tensor(direction)
        reference.step()
        ours.step(parameters, directions)
    for parameter, tensor in zip(parameters, theirs):
        np.testing.assert_allclose(parameter, tensor.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.999])
def test_rmsprop_in_tf1_form_is_its_definition(momentum):
    (theta,) = random_arrays(0, [(6, 4)])
    expected, ms, mom = theta.copy(), np.ones((6, 4)), np.zeros((6, 4))
    optimizer = RMSProp(lambda epoch: 0.01 / (1 + epoch), 0.9, 1e-5, momentum, form="tf1")
    for k in range(20):
        d, scale = np.random.default_rng(k).standard_normal((6, 4)), max(1 - k / 10, 0.25)
        ms = 0.9 * ms + 0.1 * d**2
        mom = momentum * mom + scale * 0.01 / (1 + k) * d / np.sqrt(ms + 1e-5)
        expected = expected - mom
        optimizer.start_epoch(k)
        optimizer.step([theta], [d], scale=scale)
    np.testing.assert_allclose(theta, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("form", ["pytorch", "tf1"])
def test_a_momentum_given_to_rmsprop_later_begins_at_rest(form):
    """As PyTorch's and TensorFlow's does: from 0, not from where a momentum of 0 would have left it."""
    optimizer, reference = (RMSProp(0.1, momentum=momentum, form=form) for momentum in (0.0, 0.5))
    theta, other = random_arrays(0), random_arrays(0)
    run(optimizer, theta, 2)
    run(reference, other, 2)
    reference.load_state_dict({**reference.state_dict(), **{f"RMSProp/mean_square/{k}": optimizer.state_dict()[
        f"RMSProp/mean_square/{k}"] for k in range(len(theta))},
        **{f"RMSProp/momentum/{k}": np.zeros_like(array) for k, array in enumerate(theta)}})
    optimizer.momentum = 0.5
    other = [array.copy() for array in theta]
    run(optimizer, theta, 3)
    run(reference, other, 3)
    for one, two in zip(theta, other):
        np.testing.assert_array_equal(one, two)
    assert optimizer.state_dict().keys() == reference.state_dict().keys()


def test_sgd_with_rate_one_takes_exactly_the_step_of_a_method():
    theta, new = random_arrays(0, [(5, 3)] * 2)
    expected = theta - (theta - new)
    SGD(1.0).step([theta], [theta - new])
    np.testing.assert_array_equal(theta, expected)


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
class TestEveryOptimizer:
    def test_parameters_change_in_place_and_directions_do_not(self, optimizer):
        parameters = random_arrays(0)
        before, addresses = [p.copy() for p in parameters], [p.ctypes.data for p in parameters]
        directions = random_arrays(1, read_only=True)
        kept = [d.copy() for d in directions]
        fresh(optimizer).step(parameters, directions)
        assert [p.ctypes.data for p in parameters] == addresses
        assert all((p != b).all() for p, b in zip(parameters, before))
        for direction, copied in zip(directions, kept):
            np.testing.assert_array_equal(direction, copied)

    @pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 33, 100])
    def test_blocks_change_nothing(self, optimizer, size, monkeypatch):
        whole = run(fresh(optimizer), random_arrays(0, [(size,), (3, 5)]), 4)
        monkeypatch.setattr(optim, "BLOCK", 16)
        blocks = run(fresh(optimizer), random_arrays(0, [(size,), (3, 5)]), 4)
        for a, b in zip(whole, blocks):
            np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-15)  # SIMD tails may round differently

    def test_float32_stays_float32(self, optimizer):
        optimizer = fresh(optimizer)
        optimizer.lr = np.float64(optimizer.lr)  # a NumPy scalar would promote
        parameters = run(optimizer, random_arrays(0, dtype=np.float32), 3)
        assert {p.dtype for p in parameters} == {np.dtype(np.float32)}
        arrays = [value for value in optimizer.state_dict().values() if isinstance(value, np.ndarray)]
        assert all(array.dtype == np.float32 for array in arrays)
        exact = run(fresh(optimizer), random_arrays(0, dtype=np.float32), 3)
        wide = run(fresh(optimizer), [p.astype(np.float64) for p in random_arrays(0, dtype=np.float32)], 3)
        for a, b in zip(exact, wide):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

    def test_state_continues_bit_for_bit(self, optimizer):
        through = run(fresh(optimizer), random_arrays(0), 3)
        through_optimizer = fresh(optimizer)
        half = run(through_optimizer, random_arrays(0), 3)
        state = through_optimizer.state_dict()
        kept = copy.deepcopy(state)
        assert all(isinstance(value, (int, np.ndarray)) for value in state.values())
        second = fresh(optimizer)
        second.load_state_dict(state)
        run(through_optimizer, through, 2)
        run(second, half, 2)
        for a, b in zip(through, half):
            np.testing.assert_array_equal(a, b)
        for key, value in kept.items():  # a later step leaves a state that was taken or given alone
            np.testing.assert_array_equal(state[key], value)

    def test_a_loaded_state_replaces_the_old_one(self, optimizer):
        used = fresh(optimizer)
        run(used, random_arrays(5, [(9, 2)]), 3)
        used.load_state_dict(fresh(optimizer).state_dict())
        for a, b in zip(run(used, random_arrays(0), 3), run(fresh(optimizer), random_arrays(0), 3)):
            np.testing.assert_array_equal(a, b)

    def test_reset_forgets_everything(self, optimizer):
        optimizer = fresh(optimizer)
        first = run(optimizer, random_arrays(0), 3)
        run(optimizer, random_arrays(5), 3)
        optimizer.reset()
        again = run(optimizer, random_arrays(0), 3)
        for a, b in zip(first, again):
            np.testing.assert_array_equal(a, b)

    def test_scale_multiplies_the_rate(self, optimizer):
        scaled = run(fresh(optimizer), random_arrays(0), 4, scale=0.25)
        optimizer = fresh(optimizer)
        optimizer.lr *= 0.25
        for a, b in zip(scaled, run(optimizer, random_arrays(0), 4)):
            np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-15)

    def test_a_schedule_gives_the_rate_of_the_epoch(self, optimizer):
        scheduled, constant = fresh(optimizer), fresh(optimizer)
        scheduled.lr = StepDecay(optimizer.lr, every=1, factor=0.5)
        a, b = random_arrays(0), random_arrays(0)
        for epoch in range(3):
            scheduled.start_epoch(epoch)
            constant.lr = optimizer.lr * 0.5**epoch
            run(scheduled, a, 2)
            run(constant, b, 2)
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)

    def test_no_temporary_of_the_size_of_a_parameter(self, optimizer):
        parameters, directions = random_arrays(0, [(1000, 1000)]), random_arrays(1, [(1000, 1000)])
        optimizer = fresh(optimizer)
        optimizer.step(parameters, directions)
        tracemalloc.start()
        optimizer.step(parameters, directions)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        most = 8 if isinstance(optimizer, Muon) else 0.1  # Muon is made of products of whole matrices
        assert peak < most * parameters[0].nbytes

    def test_nothing_changes_when_the_input_is_refused(self, optimizer):
        parameters, directions = random_arrays(0), random_arrays(1)
        optimizer = fresh(optimizer)
        optimizer.step(parameters, directions)
        before, state = [p.copy() for p in parameters], optimizer.state_dict()
        directions[-2] = directions[-2][:-1]
        with pytest.raises(ValueError, match="direction 2"):
            optimizer.step(parameters, directions)
        for a, b in zip(parameters, before):
            np.testing.assert_array_equal(a, b)
        for key, value in optimizer.state_dict().items():
            np.testing.assert_array_equal(value, state[key])

    def test_a_refused_rate_leaves_the_optimizer_to_other_parameters(self, optimizer):
        optimizer = copy.deepcopy(optimizer)
        with pytest.raises(ValueError, match="scale must be at least 0"):
            optimizer.step([np.ones(3)], [np.ones(3)], scale=-1.0)
        optimizer.step([np.ones(4)], [np.ones(4)])

    def test_a_direction_that_is_not_contiguous(self, optimizer):
        a, b = random_arrays(0, [(5, 3)]), random_arrays(0, [(5, 3)])
        (d,) = random_arrays(1, [(5, 3)])
        fresh(optimizer).step(a, [d])
        fresh(optimizer).step(b, [np.asfortranarray(d)])
        np.testing.assert_array_equal(a[0], b[0])

    def test_the_same_on_the_other_backend(self, optimizer, device):
        parameters, on_host, on_device = random_arrays(0), fresh(optimizer), fresh(optimizer)
        moved = [device.asarray(parameter) for parameter in parameters]
        for k in range(4):
            directions = random_arrays(100 + k)
            on_host.step(parameters, directions, scale=0.5)
            on_device.step(moved, [device.asarray(direction) for direction in directions], scale=0.5)
            state = on_device.state_dict()  # NumPy's arrays, which the next step moves back
            assert all(isinstance(value, (int, np.ndarray)) for value in state.values())
            on_device.load_state_dict(state)
        for a, b in zip(parameters, moved):
            np.testing.assert_allclose(b.get(), a, rtol=1e-12, atol=1e-14)
        with pytest.raises(TypeError, match="arrays of NumPy and CuPy are mixed"):
            on_device.step(moved, random_arrays(1))

    def test_repr_rebuilds_it(self, optimizer):
        assert repr(eval(repr(optimizer), vars(optim))) == repr(optimizer)


# ---- Muon


def singular_values_after(values, iterations=5):
    for _ in range(iterations):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return values


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (1, 7), (7, 1), (40, 3)])
@pytest.mark.parametrize("iterations", [1, 5])
def test_msign_acts_on_the_singular_values_alone(shape, iterations):
    # holds Muon
    (matrix,) = random_arrays(0, [shape])
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    expected = left * singular_values_after(values / np.linalg.norm(values), iterations) @ right
    np.testing.assert_allclose(msign(matrix, iterations), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(msign(1e-6 * matrix, iterations), expected, rtol=0, atol=1e-12)


def test_five_iterations_bring_all_but_the_smallest_singular_values_near_one():
    values = singular_values_after(np.logspace(np.log10(0.002), 0, 10**5))
    assert (values.min(), values.max()) == (pytest.approx(0.6818, abs=1e-4), pytest.approx(1.2024, abs=1e-4))
    assert not msign(np.zeros((3, 4))).any()


@pytest.mark.parametrize("shape", [(6, 4), (4, 9), (5,), ()])
def test_muon_is_its_definition(shape):
    """The size of the directions makes no difference; wide matrices take longer steps; a vector is one row."""
    # holds Muon
    (theta,) = random_arrays(0, [shape])
    expected, velocity, (rows, columns) = theta.copy(), 0, shape if len(shape) == 2 else (1, theta.size)
    optimizer = Muon(0.1, 0.9, weight_decay=0.5)
    for k in range(4):
        (d,) = random_arrays(k, [shape])
        velocity = 0.9 * velocity + d
        left, values, right = np.linalg.svd((d + 0.9 * velocity).reshape(rows, columns), full_matrices=False)
        step = left * singular_values_after(values / np.linalg.norm(values)) @ right
        expected = (1 - 0.1 * 0.5) * expected - 0.1 * math.sqrt(max(1, columns / rows)) * step.reshape(shape)
        optimizer.step([theta], [np.asarray(1000 * d)])
        np.testing.assert_allclose(theta, expected, rtol=0, atol=1e-11)


def test_muon_comes_near_that_of_pytorch():
    """PyTorch's iterates in bfloat16, and its matrices are (n_out, n_in)."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    (theta,) = random_arrays(0, [(6, 9)])
    theirs = torch.tensor(theta.T.copy())
    reference, ours = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, momentum=0.95), Muon(0.1, weight_decay=0.1)
    start = theta.copy()
    for k in range(3):
        (d,) = random_arrays(100 + k, [(6, 9)])
        theirs.grad = torch.tensor(d.T.copy())
        reference.step()
        ours.step([theta], [d])
    assert np.linalg.norm(theta - theirs.numpy().T) < 0.02 * np.linalg.norm(theta - start)


def test_the_warm_up_is_that_of_the_notebook():
    schedule = WarmupLinear(1e-5)
    expected = [1e-5 * (e / 5 if e < 5 else 1 - (e - 4) / 95) for e in range(99)]
    np.testing.assert_allclose([schedule(e) for e in range(99)], expected, rtol=1e-12, atol=0)
    assert schedule(0) == schedule(99) == schedule(500) == 0


def test_schedules_at_chosen_epochs():
    assert [Constant(0.3)(e) for e in (0, 50)] == [0.3, 0.3]
    assert [StepDecay(1.0, 10, 0.5)(e) for e in (0, 9, 10, 25)] == [1.0, 1.0, 0.5, 0.25]
    np.testing.assert_allclose([Cosine(1.0, 10, 0.2)(e) for e in (0, 5, 10, 11)], [1.0, 0.6, 0.2, 0.2])
    assert repr(Cosine(1.0, 10)) == "Cosine(lr=1.0, epochs=10, lr_min=0.0)"


@given(lr=st.floats(1e-6, 10), epochs=st.integers(1, 60), share=st.floats(0, 1))
def test_a_cosine_falls_from_lr_to_lr_min(lr, epochs, share):
    schedule = Cosine(lr, epochs, lr_min=share * lr)
    rates = [schedule(epoch) for epoch in range(epochs + 2)]
    assert rates[0] == pytest.approx(lr)
    assert rates[-1] == pytest.approx(share * lr)
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(rates))


def two():
    return random_arrays(0, [(3, 2), (2,)])


def using_other_shapes():
    optimizer = Nesterov(0.1)
    optimizer.step(two(), two())
    optimizer.step(two()[:1], two()[:1])


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: SGD(-0.1), ValueError, "SGD: lr must be at least 0 and finite, got -0.1"),
    (lambda: SGD(math.nan), ValueError, "SGD: lr must be"),
    (lambda: Adam(math.inf), ValueError, "Adam: lr must be"),
    (lambda: SGD("0.1"), TypeError, "SGD: lr must be a number, got '0.1'"),
    (lambda: SGD(True), TypeError, "SGD: lr must be a number, got True"),
    (lambda: SGD(0.1, weight_decay=-1), ValueError, "SGD: weight_decay must be at least 0"),
    (lambda: HeavyBall(0.1, momentum=1.0), ValueError, r"HeavyBall: momentum must be in \[0, 1\)"),
    (lambda: Nesterov(0.1, -0.5), ValueError, r"Nesterov: momentum must be in \[0, 1\).*got -0.5"),
    (lambda: Adam(0.1, beta1=1), ValueError, "Adam: beta1 must be in"),
    (lambda: Adam(0.1, beta2=-1), ValueError, "Adam: beta2 must be in"),
    (lambda: Adam(0.1, eps=-1e-8), ValueError, "Adam: eps must be at least 0"),
    (lambda: Adam(0.1, decoupled="yes"), TypeError, "Adam: decoupled must be True or False"),
    (lambda: Muon(0.1, momentum=1), ValueError, r"Muon: momentum must be in \[0, 1\)"),
    (lambda: Muon(0.1, iterations=0), ValueError, "Muon: iterations must be at least 1, got 0"),
    (lambda: RMSProp(0.1, rho=2), ValueError, "RMSProp: rho must be in"),
    (lambda: RMSProp(0.1, form="tf"), ValueError, "RMSProp: form: unknown name 'tf'.*tf1"),
    (lambda: SGD(lambda epoch: -1.0).step(two(), two()), ValueError, r"SGD: lr\(0\) must be at least 0"),
    (lambda: SGD(lambda epoch: None).step(two(), two()), TypeError, r"SGD: lr\(0\) must be a number"),
    (lambda: SGD(0.1).step(two(), two(), scale=-1), ValueError, "SGD: scale must be at least 0"),
    (lambda: SGD(0.1).step(two(), two()[:1]), ValueError,
     "SGD: expected one direction for each of 2 parameters, got 1"),
    (lambda: SGD(0.1).step(two(), two()[::-1]), ValueError,
     r"direction 0 must have its parameter's shape \(3, 2\)"),
    (lambda: SGD(0.1).step(two(), [d.astype(np.float32) for d in two()]), TypeError,
     "direction 0 .* float64, got float32"),
    (lambda: SGD(0.1).step(two(), [[1.0], [2.0]]), TypeError,
     "SGD: parameters and directions: expected an array"),
    (lambda: SGD(0.1).step([p.T for p in two()], [p.T for p in two()]), ValueError,
     "parameter 0 must be C-contiguous"),
    (lambda: SGD(0.1).step(random_arrays(0, read_only=True), random_arrays(1)), ValueError,
     "parameter 0 must be writeable"),
    (lambda: SGD(0.1).step([np.arange(3)], [np.arange(3)]), TypeError, "must be floating-point arrays"),
    (lambda: SGD(0.1).step([two()[0], two()[1].astype("f4")], [two()[0], two()[1].astype("f4")]), TypeError,
     "floating-point arrays of one dtype, got float32 for parameter 1"),
    (using_other_shapes, ValueError,
     r"Nesterov: the buffers belong to .*\[\(3, 2\), \(2,\)\], got .*reset\(\)"),
    (lambda: Adam(0.1).load_state_dict(Nesterov(0.1).state_dict()), ValueError,
     "Adam: expected a state with the keys"),
    (lambda: Nesterov(0.1).load_state_dict({}), ValueError, "Nesterov: expected a state"),
    (lambda: Nesterov(0.1).load_state_dict({"Nesterov/steps": 3, "Nesterov/epoch": 0}), ValueError,
     "after 3 steps a state holds buffers"),
    (lambda: SGD(0.1).start_epoch(-1), ValueError, "SGD: epoch must be at least 0"),
    (lambda: optim.Optimizer(0.1).step(two(), two()), NotImplementedError, "Optimizer must define _update"),
    (lambda: Constant(-1), ValueError, "Constant: lr"),
    (lambda: StepDecay(0.1, 0), ValueError, "StepDecay: every must be at least 1, got 0"),
    (lambda: StepDecay(0.1, 5, factor=-1), ValueError, "StepDecay: factor"),
    (lambda: WarmupLinear(0.1, warmup=5, epochs=4), ValueError, "epochs, not less than warmup, must be at least 5"),
    (lambda: Cosine(0.1, 2.5), TypeError, "Cosine: epochs must be a whole number"),
    (lambda: Cosine(0.1, 5, -1), ValueError, "Cosine: lr_min"),
])
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


def changed_state(optimizer, key, value):
    """Load the optimizer's own state after a step, with one buffer changed."""
    optimizer.step([np.ones(2)], [np.ones(2)])
    fresh(optimizer).load_state_dict({**optimizer.state_dict(), key: value})


def test_a_negative_mean_of_squares_is_refused_and_an_infinite_one_is_not():
    """The square of a large number is more than its dtype holds."""
    with pytest.raises(ValueError, match="RMSProp/mean_square/0 holds negative numbers"):
        changed_state(RMSProp(0.1), "RMSProp/mean_square/0", -np.ones(2))
    changed_state(Adam(0.1), "Adam/second_moment/0", np.array([np.inf, 1.0]))


def test_parameters_that_overlap_need_not_be_neighbours():
    whole = np.zeros(5)
    with pytest.raises(ValueError, match="must not overlap in memory"):
        SGD(0.1).step([whole[:3], np.zeros(2), whole[2:]], [np.ones(3), np.ones(2), np.ones(3)])


def test_a_parameter_that_changes_its_dtype_is_refused_in_any_step():
    optimizer, narrow = SGD(0.1), np.ones(2, np.float32)
    optimizer.step([narrow, narrow.copy()], [narrow.copy(), narrow.copy()])
    with pytest.raises(TypeError, match="got float64 for parameter 1 and float32 for parameter 0"):
        optimizer.step([narrow, np.ones(2)], [narrow.copy(), np.ones(2)])


@pytest.mark.parametrize("size", [1e-30, 1e-24, 1.0, 1e20, 1e37])
def test_the_size_of_a_direction_is_nothing_to_muon_even_where_its_square_leaves_float32(size):
    theta = np.zeros((2, 3), np.float32)
    Muon(1.0).step([theta], [(size * np.eye(2, 3)).astype(np.float32)])
    assert np.abs(np.diag(theta)).min() > 0.6


def test_an_optimizer_that_meets_another_backend_says_so(monkeypatch):
    for name, module in strict_cupy.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    device = sys.modules["cupy"].asarray(np.ones(3))
    optimizer = Adam()
    optimizer.step([np.ones(3)], [np.ones(3)])
    with pytest.raises(ValueError, match="on another backend"):
        optimizer.step([device], [device])
