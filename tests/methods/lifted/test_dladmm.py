"""dlADMM: the authors' updates one by one, their schedule, and blocks that do not raise the energy."""

import copy

import numpy as np
import pytest
from laws import assert_close, norm
from test_three_split import authors_network, problem

import minilift as ml
from minilift.methods.lifted.descend import Variables, descend

DATA = (np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32), np.arange(30) % 3)


def network(**more):
    return ml.mlp([5, 6, 4, 3], "relu", seed=1, **more)


# ---- the authors' numbers

def stored(variables, name, value):
    """Return the variables with a value of the authors' program, such as W1 or u."""
    if name == "u":
        return variables.replaced("multiplier", None, value)
    kind, l = name[0], int(name[1])
    if kind in "az":
        return variables.replaced(kind, l, value)
    theta = variables.theta[l].copy()
    theta[slice(-1) if kind == "W" else -1] = value
    return variables.replaced("theta", l, theta)


@pytest.mark.parametrize("at", ["init0.1/rho0.1", "init0.5/rho1e-06", "init0.5/rho0.1", "init0.5/rho1"])
def test_each_update_is_that_of_the_authors_program(oracle, at):
    """From the state before it; z_3 by its objective, for which theirs is inexact."""
    # holds dlADMM b, dlADMM W, dlADMM a, dlADMM u
    numbers, (init, rho) = oracle("family/dladmm"), at.split("/rho")
    start = f"6-7-5-3/{init}/start"
    net = authors_network((6, 7, 5, 3), numbers, start, ml.SoftmaxCrossEntropy())
    method = ml.DLADMM(float(rho), schedule=False)
    energy = method.energy(net, numbers[f"6-7-5-3/{init}/X"], numbers[f"6-7-5-3/{init}/y"])
    v = Variables(list(net.theta), [None, *(numbers[f"{start}/z{l}"] for l in (1, 2, 3))],
                  [numbers[f"6-7-5-3/{init}/X"], numbers[f"{start}/a1"], numbers[f"{start}/a2"]], numbers[f"{start}/u"])
    theirs = sorted(key for key in numbers if key.startswith(f"6-7-5-3/{at}/sweep1_steps/"))
    for (block, l, update), key in zip(method.schedule(energy), theirs, strict=True):
        ours, v = v.replaced(block, l, update(l, v)), stored(v, key.rpartition("_")[2], numbers[key])
        if (block, l) == ("z", 3):
            assert energy.value(ours) <= energy.value(v)
            assert norm(energy.gradient("z", 3, ours)) <= 1e-12
            continue
        mine, other = (w.multiplier if block == "multiplier" else getattr(w, block)[l] for w in (ours, v))
        assert_close(key, mine, other, 1e-13)


@pytest.mark.parametrize("init", ["init0.1", "init0.5"])
def test_the_schedule_is_that_of_the_authors_program(oracle, init):
    numbers, at = oracle("family/dladmm"), f"6-7-5-3/{init}/rho1e-06_schedule"
    method = ml.DLADMM()
    for rho, tau, loss in zip(*(numbers[f"{at}/{name}"] for name in ("rho", "tau", "printed_train_cost"))):
        if method.losses is None:
            method.look_at(np.nan, 100)  # before the first sweep: the loss at the start does not count
        assert method.rho_now == pytest.approx(rho, rel=1e-14)
        assert method.curvature_now == tau
        method.look_at(loss, 100)


def test_rho_grows_to_a_tenth_and_the_curvature_in_wide_networks_only():
    for width, curvature in ((99, 1.0), (100, 1e7)):
        method = ml.DLADMM(1e-4)
        for loss in range(11):
            method.look_at(float(loss), width)
        assert method.rho_now == 0.1
        assert method.curvature_now == curvature
    method = ml.DLADMM(2.0)
    for loss in range(9):
        method.look_at(float(loss), 3)
    assert method.rho_now == 2.0  # it never shrinks


def test_the_input_is_no_hidden_layer_however_wide():
    X, method, widths = np.random.default_rng(0).standard_normal((9, 120)), ml.DLADMM(1e-4), []
    method.look_at = lambda loss, width: widths.append(width)
    method.direction(ml.mlp([120, 4, 2], seed=0, dtype=np.float64), X, np.arange(9) % 2)
    assert widths == [4]


def test_a_loss_that_stays_has_not_risen():
    method = ml.DLADMM(1e-4)
    for loss in (0.0, 1.0, 2.0, 2.0, 3.0):
        method.look_at(loss, 3)
    assert method.rho_now == 1e-4


# ---- what must hold

def test_no_primal_block_raises_the_energy():
    """100 problems: and a gradient step brings the ‖g‖²/(2α) that its α promises."""
    for seed in range(100):
        net, X, y = problem(seed)
        method = ml.DLADMM(1e-3, False) if seed % 2 else ml.DLADMM(0.7, False, 0.01)
        energy, v = method.energy(net, X, y), method.start(net, net.propagate(X))
        value = energy.value(v)
        for block, l, update in method.schedule(energy):
            new = v.replaced(block, l, update(l, v))
            terms = energy.terms(new).values()
            before, value, rounding = value, sum(terms), 1e-12 * (1 + sum(map(abs, terms)))
            if block == "a":
                change = v.a[l] - new.a[l]
                before -= energy.gradient("a", l, v).ravel() @ change.ravel() / 2
            assert value <= before + rounding or block == "multiplier", (seed, block, l)
            v = new


@pytest.mark.parametrize("seed", range(6))
def test_alpha_is_the_least_that_bounds_the_energy(seed):
    """As the program finds it, by values of E, where these are not disturbed by rounding."""
    net, X, y = problem(seed)
    method = ml.DLADMM(2.0, False, 0.01)
    energy, v = method.energy(net, X, y), method.start(net, net.propagate(X))
    v = descend(v, list(method.schedule(energy))[:2])  # only now do the gaps not vanish
    l = net.depth
    g = energy.gradient("theta", l, v)
    g[-1] = 0
    alpha = 0.01
    while energy.value(v.replaced("theta", l, v.theta[l] - g / alpha)) > energy.value(v) - norm(g)**2 / (2 * alpha):
        alpha *= 2
    assert_close("W", method.step_w(energy, l, v), v.theta[l] - g / alpha, 1e-12)


def test_a_batch_that_is_refused_is_no_loss_of_the_schedule():
    net, X, y = problem(0)
    method = ml.DLADMM()
    method.direction(net, X, y)
    method.direction(net, X, y)
    losses = list(method.losses)
    for _ in range(5):
        with pytest.raises(ValueError, match="DLADMM: the batch has changed"):
            method.direction(net, X + 1, y)
    assert method.losses == losses
    assert len(losses) == 1


def test_the_multiplier_rises_from_what_it_was():
    # holds dlADMM u
    net, X, y = problem(0)
    method = ml.DLADMM(0.3)
    energy, v = method.energy(net, X, y), method.start(net, net.propagate(X))
    v = descend(v, method.schedule(energy))
    v = v.replaced("multiplier", None, v.multiplier + 1)
    rise = method.ascend(energy, net.depth, v) - v.multiplier
    assert_close("u", rise, 0.3 * (v.z[-1] - net.phi[net.depth].forward(v.theta[-1], v.a[net.depth - 1])), 1e-12)


def test_b_is_the_argmin_though_it_is_but_a_mean():
    for seed in range(10):
        net, X, y = problem(seed)
        method = ml.DLADMM(0.3, False)
        energy, v = method.energy(net, X, y), method.start(net, net.propagate(X))
        v = descend(v, method.schedule(energy))
        for l in range(1, net.depth + 1):
            new = v.replaced("theta", l, energy.best_bias(l, v))
            assert norm(energy.gradient("theta", l, new)[-1]) <= 1e-12 * (1 + norm(energy.gradient("theta", l, v)))


def test_training_from_kept_variables_and_from_forward_passes():
    kept = ml.fit(network(), DATA, ml.DLADMM(1.0), ml.SGD(1.0), epochs=40, batch_size=None, progress=False)
    forward = ml.fit(network(), DATA, ml.DLADMM(1.0, False, variables="forward"), ml.SGD(1.0), epochs=10,
                     batch_size=10, progress=False)
    for history in (kept, forward):
        assert history["train_loss"][-1] < 0.9 * history["train_loss"][0]
        assert np.isfinite(history["energy"][1:]).all()


@pytest.mark.parametrize("schedule", [True, False])
def test_with_its_defaults_it_does_in_float32_what_it_does_in_float64(schedule):
    single, double = (ml.fit(ml.mlp([64, 32, 10], dtype=dtype), ml.datasets.digits(), ml.DLADMM(schedule=schedule),
                             ml.SGD(1.0), epochs=6, batch_size=None, progress=False)["train_loss"]
                      for dtype in ("float32", "float64"))
    assert single == pytest.approx(double, rel=1e-3)


def test_the_schedules_state_is_refused_where_it_does_not_belong():
    method = ml.DLADMM()
    method.direction(network(), *DATA)
    state = method.state_dict()
    assert {"rho", "curvature", "losses"} <= set(state)
    with pytest.raises(ValueError, match="DLADMM: expected a state without the keys rho"):
        ml.DLADMM(schedule=False).load_state_dict(state)
    with pytest.raises(ValueError, match="DLADMM: expected a state with the keys rho"):
        ml.DLADMM().load_state_dict({name: state[name] for name in state if name != "losses"})
    with pytest.raises(ValueError, match="DLADMM: rho must be positive and finite, got -1"):
        ml.DLADMM().load_state_dict({**state, "rho": -1.0})
    method.load_state_dict({})
    assert method.variables is None
    assert method.losses is None


@pytest.mark.parametrize(("arguments", "message"), [
    ({"rho": 0}, "DLADMM: rho must be positive and finite, got 0"),
    ({"curvature": -1}, "DLADMM: curvature must be positive and finite, got -1"),
    ({"variables": "old"}, "DLADMM: variables: unknown name 'old'"),
])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ml.DLADMM(**arguments)
    with pytest.raises(TypeError, match="DLADMM: schedule must be True or False"):
        ml.DLADMM(schedule=1)


def test_the_gradient_step_in_the_values_has_its_curvature_to_rounding_however_small_the_gradient():
    """With b far larger than g W, of which (g W + b) − b leaves nothing."""
    net = ml.mlp([2, 2, 2], dtype=np.float64)
    energy, g = ml.DLADMM(0.5).energy(net, np.zeros((1, 2)), np.zeros(1, int)), 1e-20 * np.ones((1, 2))
    net.theta[2][-1] = 1e3
    v = Variables(net.theta, [None, g, g], [g, g])
    energy.gradient = lambda block, l, v: g
    method, seen = ml.DLADMM(0.5), []
    method.alpha = lambda g, curvature: seen.append(curvature) or 1.0
    method.step_a(energy, 1, v)
    assert seen == [pytest.approx(0.5 * norm(g @ net.theta[2][:-1]) ** 2 + 0.5 * norm(g) ** 2, rel=1e-12, abs=0)]


def test_the_schedule_is_assigned_as_scheduled():
    method = ml.DLADMM()
    with pytest.raises(AttributeError, match="DLADMM: assign `scheduled`; `schedule` is a method"):
        method.schedule = False
    method.scheduled = False
    assert method == ml.DLADMM(schedule=False)
    method.direction(network(), *DATA)


@pytest.mark.parametrize(("name", "value"), [("rho", 0.5), ("curvature", 3.0), ("scheduled", False)])
def test_the_schedule_begins_anew_with_the_next_step_where_one_of_its_settings_is_assigned(name, value):
    method, net = ml.DLADMM(1e-3), network()
    method.direction(net, *DATA)
    for loss in range(9):
        method.look_at(float(loss), 300)
    setattr(method, name, value)
    fresh = ml.DLADMM(**method.settings())
    assert getattr(fresh, name) == value
    for other in (fresh, ml.DLADMM(**method.settings())):
        other.load_state_dict(method.state_dict())
        assert (method.rho_now, method.curvature_now) == (other.rho_now, other.curvature_now) == (
            method.rho, method.curvature)
        for d, e in zip(other.direction(net, *DATA)[1], copy.deepcopy(method).direction(net, *DATA)[1]):
            assert np.array_equal(d, e)
    method.direction(net, *DATA)
    ml.DLADMM(**method.settings()).load_state_dict(method.state_dict())


@pytest.mark.parametrize("name", ["rho", "curvature"])
def test_what_is_assigned_is_looked_at(name):
    with pytest.raises(ValueError, match=f"DLADMM: {name} must be positive and finite, got 0"):
        setattr(ml.DLADMM(), name, 0)


def test_settings_hold_where_rho_begins():
    method = ml.DLADMM(1e-3)
    for loss in range(9):
        method.look_at(float(loss), 3)
    assert method.rho_now > 1e-3
    assert repr(method) == "DLADMM(rho=0.001, schedule=True)"
    assert method == ml.DLADMM(1e-3)


def test_a_sweep_that_fails_leaves_no_trace_in_the_schedule():
    class Loss(ml.SoftmaxCrossEntropy):
        fails = False

        def prox(self, v, y, tau):
            if Loss.fails:
                raise ArithmeticError("no prox")
            return super().prox(v, y, tau)

    net, method = ml.mlp([5, 6, 3], loss=Loss(), dtype=np.float64), ml.DLADMM(rho=0.1)
    for _ in range(2):
        method.direction(net, *DATA)
    before = method.rho_now, method.curvature_now, list(method.losses)
    Loss.fails = True
    with pytest.raises(ArithmeticError, match="no prox"):
        method.direction(net, *DATA)
    assert (method.rho_now, method.curvature_now, list(method.losses)) == before
