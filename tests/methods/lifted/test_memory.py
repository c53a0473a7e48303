"""What a lifted method keeps between calls, and how `fit` hands it the whole training set."""

import copy

import numpy as np
import pytest
from transfers import Huber, PReLU

import minilift as ml
from minilift.methods.lifted.descend import LiftedEnergy, Variables

DATA = (np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32), np.arange(30) % 3)


def network(**more):
    return ml.mlp([5, 6, 4, 3], "relu", seed=1, **more)


CLOSED = [ml.BCD(), ml.ADMM(), ml.ADMM(alpha=0.5, bias="fixed")]
WHOLE = [*CLOSED, ml.MAC(), ml.MAC(variables="forward", growth=1.1), ml.DLADMM(1e-6),
         ml.DLADMM(1e-6, variables="forward"), ml.LPOM(tau=0.3)]
BATCHES = [ml.FenchelLifted(anchor=0.5), ml.LiftedBregman(tau=0.3), ml.PredictiveCoding(steps=4),
           ml.TargetPropagation(), ml.TargetPropagation(variant="lee")]
METHODS = [*WHOLE, *BATCHES]
SHARED = ml.Linear(5, 5)


@pytest.mark.parametrize("method", CLOSED, ids=repr)
def test_fit_records_the_energy_and_lowers_the_loss(method):
    history = ml.fit(network(), DATA, method, ml.SGD(lr=1.0), epochs=8, batch_size=None, progress=False)
    assert np.isnan(history["energy"][0])
    assert np.isfinite(history["energy"][1:]).all()
    assert history["train_loss"][-1] < history["train_loss"][0]


def test_bcds_energy_never_rises():
    energy = ml.fit(network(), DATA, ml.BCD(alpha=0.5), ml.SGD(lr=1.0), epochs=30, batch_size=None, progress=False)
    energy = np.array(energy["energy"][1:])
    assert (np.diff(energy) <= 1e-5 * energy[:-1]).all()


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_a_resumed_run_is_the_same_bit_for_bit(method, tmp_path):
    """What is recorded, the parameters, and what the method keeps; dlADMM forgets a loss after four epochs."""
    optimizer, batch_size = (ml.SGD(lr=1.0), None) if method in WHOLE else (ml.Nesterov(lr=0.05, momentum=0.9), 10)
    arguments = {"optimizer": optimizer, "batch_size": batch_size, "progress": False}
    whole, parts = network(), network()
    method.reset()
    at_once = ml.fit(whole, DATA, method, epochs=7, **arguments)
    kept = copy.deepcopy(method.state_dict())
    ml.fit(parts, DATA, method, epochs=5, checkpoint=tmp_path / "run.npz", **arguments)
    method.reset()
    resumed = ml.fit(parts, DATA, method, epochs=7, checkpoint=tmp_path / "run.npz", resume=True, **arguments)
    for name in {*at_once.columns} - {"seconds"}:
        assert resumed[name][1:] == at_once[name][1:], name
    for mine, other in zip(parts.parameters, whole.parameters):
        assert np.array_equal(mine, other)
    np.testing.assert_equal(method.state_dict(), kept)


@pytest.mark.parametrize("method", [*CLOSED, ml.MAC(), ml.DLADMM(), ml.LPOM()], ids=repr)
def test_another_batch_is_refused(method):
    net = network()
    method.reset()
    method.direction(net, *DATA)
    method.direction(net, DATA[0].copy(), DATA[1].copy())  # the same numbers are the same batch
    for X, y in ((DATA[0][:20], DATA[1][:20]), (DATA[0] + 1, DATA[1]), (DATA[0], DATA[1][::-1].copy())):
        with pytest.raises(ValueError, match=f"{type(method).__name__}: the batch has changed, .*batch_size=None"):
            method.direction(net, X, y)
    method.reset()
    method.direction(net, DATA[0][:20], DATA[1][:20])


@pytest.mark.parametrize("method", [ml.BCD(), ml.LPOM()], ids=repr)
@pytest.mark.parametrize("batch_size", [10, len(DATA[0]), 100])
def test_fit_refuses_shuffled_batches_before_anything_is_computed(batch_size, method):
    name = type(method).__name__
    with pytest.raises(ValueError, match=rf"batch_size must be None for {name}.*, got {batch_size}; made with varia"):
        ml.fit(network(), DATA, method, ml.SGD(lr=1.0), batch_size=batch_size, progress=False)


@pytest.mark.parametrize("method", [ml.BCD(alpha=0.1, variables="forward"), ml.ADMM(alpha=1.0, variables="forward")],
                         ids=repr)
def test_from_a_forward_pass_mini_batches_train(method):
    history = ml.fit(network(), DATA, method, ml.SGD(lr=1.0), epochs=10, batch_size=10, progress=False)
    assert history["train_loss"][-1] < 0.9 * history["train_loss"][0]
    assert method.state_dict() == {}


def test_admms_defaults_from_a_forward_pass():
    """A sweep more than there are maps, and a prox term."""
    net = network()
    default, told = ml.ADMM(variables="forward"), ml.ADMM(variables="forward", alpha=1.0, sweeps=net.depth + 1)
    for d, e in zip(*(method.direction(net, *DATA)[1] for method in (default, told)), strict=True):
        np.testing.assert_array_equal(d, e)


def test_the_lifted_state_is_a_value():
    method, net = ml.BCD(), network()
    loss, steps = method.direction(net, *DATA)
    v = method.variables
    assert isinstance(v, Variables)
    assert [len(v.theta), len(v.z), len(v.a)] == [4, 4, 4]
    assert v.a[0].shape == DATA[0].shape
    assert loss == pytest.approx(net.loss(*DATA))
    for theta, new, step in zip(net.parameters, v.theta[1:], steps):
        assert np.allclose(theta - step, new, atol=1e-6)
    assert isinstance(method.energy(net, *DATA), LiftedEnergy)


def test_settings_hold_where_the_variables_start_and_not_what_they_are():
    method = ml.BCD(alpha=2.0, variables="forward")
    method.direction(network(), *DATA)
    assert repr(method) == "BCD(gamma=1.0, rho=1.0, alpha=2.0, variables='forward')"
    assert method == ml.BCD(alpha=2.0, variables="forward")
    assert method != ml.BCD(alpha=2.0)


@pytest.mark.parametrize(("layers", "what"), [
    ([ml.Linear(5, 4), ml.BatchNorm(4), ml.ReLU(), ml.Linear(4, 3)], "expects elementwise transfers; after map 1"),
    ([ml.Named("x"), ml.Linear(5, 5), ml.Add("x"), ml.Linear(5, 3)], "expects a chain of Linear maps, each with its "),
    ([SHARED, ml.ReLU(), SHARED, ml.ReLU(), ml.Linear(5, 3)], r"expects .*own θ; map 2 is .* and θ of map 1"),
])
@pytest.mark.parametrize("method", [*CLOSED[:2], ml.MAC(), ml.LPOM(), ml.TargetPropagation()], ids=repr)
def test_networks_other_than_chains_are_refused(method, layers, what):
    method.reset()
    with pytest.raises(ValueError, match=f"{type(method).__name__}: {what}"):
        method.direction(ml.Network(layers), *DATA)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ml.BCD(alpha=0), "BCD: alpha must be positive and finite, got 0"),
    (lambda: ml.BCD(bias="both"), "BCD: bias: unknown name 'both'"),
    (lambda: ml.BCD(variables="old"), "BCD: variables: unknown name 'old'"),
    (lambda: ml.ADMM(beta=-1), "ADMM: beta must be positive and finite, got -1"),
    (lambda: ml.ADMM(sweeps=0), "ADMM: sweeps must be at least 1, got 0"),
])
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_state_of_another_network_is_refused():
    method = ml.BCD()
    method.direction(network(), *DATA)
    state = method.state_dict()
    other = ml.BCD()
    other.load_state_dict(state)
    other.check_state(network())
    for widths, dtype, got in (([5, 7, 4, 3], "float32", r"\(7,\) and dtype float32 here, got .*\(6,\)"),
                               ([5, 6, 4, 3], "float64", r"\(6,\) and dtype float64 here, got .* dtype float32")):
        with pytest.raises(ValueError, match=rf"BCD: z/1 must be rows of shape {got}.*reset\(\) forgets what is kept"):
            other.check_state(ml.mlp(widths, dtype=dtype))
    with pytest.raises(ValueError, match=r"BCD: z/3 must be rows of shape \(2,\) .*, got rows of shape \(3,\)"):
        other.check_state(ml.mlp([5, 6, 4, 2, 3]))
    with pytest.raises(ValueError, match="BCD: expected a state with the keys"):
        other.load_state_dict({**state, "w": np.zeros(2)})


STARTING_ANEW = [ml.ADMM(variables="forward"), ml.BCD(variables="forward"), ml.MAC(variables="forward"),
                 ml.DLADMM(variables="forward"), ml.LPOM(variables="forward"), ml.FenchelLifted(), ml.LiftedBregman(),
                 ml.PredictiveCoding()]


@pytest.mark.parametrize("method", STARTING_ANEW, ids=repr)
def test_what_keeps_nothing_serves_one_network_after_another(method):
    alone = copy.deepcopy(method)
    method.direction(network(), *DATA)
    for net in (ml.mlp([5, 7, 3], seed=1), network(dtype=np.float64)):
        alone.reset()
        for after, first in zip(method.direction(net, *DATA)[1], alone.direction(net, *DATA)[1]):
            assert np.array_equal(after, first)


@pytest.mark.parametrize("method", [*STARTING_ANEW, *CLOSED], ids=repr)
def test_the_state_and_its_energy_stay_as_they_are_when_the_network_is_trained(method):
    method, net = copy.deepcopy(method), network()
    method.reset()
    _, directions = method.direction(net, *DATA)
    energy, theta = method.measure(), [theta.copy() for theta in method.variables.theta[1:]]
    ml.SGD(lr=0.5).step(net.parameters, directions)
    assert method.measure() == energy
    assert all(map(np.array_equal, method.variables.theta[1:], theta))


@pytest.mark.parametrize(("kept", "method", "message"), [
    (ml.BCD(), ml.ADMM(), r"ADMM: multiplier must be rows of .*, got nothing"),
    (ml.ADMM(), ml.BCD(), r"BCD: a/3 must be rows of shape \(3,\) and dtype float32 here, got nothing"),
    (ml.ADMM(), ml.LPOM(), r"LPOM: z/1 must be absent here, got rows"),
    (ml.LPOM(), ml.BCD(), r"BCD: z/1 must be rows of shape \(6,\) .*, got nothing"),
], ids=lambda case: type(case).__name__)
def test_lifted_values_of_another_method_are_refused(kept, method, message):
    kept.reset()
    kept.direction(network(), *DATA)
    method.load_state_dict(kept.state_dict())
    with pytest.raises(ValueError, match=message):
        method.direction(network(), *DATA)
    method.reset()


def test_variables_that_are_too_few_are_refused():
    method = ml.BCD()
    method.variables = Variables([], [None], [None])
    with pytest.raises(ValueError, match=r"BCD: z/1 must be rows .*, got nothing"):
        method.direction(network(), *DATA)


@pytest.mark.parametrize("method", [ml.BCD(), ml.ADMM(), ml.MAC(), ml.LPOM()], ids=repr)
def test_variables_of_another_number_of_samples_are_refused(method):
    net = network()
    method.reset()
    for samples in (1, len(DATA[0]) - 1):
        method.variables = method.start(net, net.propagate(DATA[0][:samples]))
        with pytest.raises(ValueError, match=rf"{type(method).__name__}: ./1 must have 30 rows, one for each sample, "
                                             f"got {samples}"):
            method.direction(net, *DATA)
    method.reset()


@pytest.mark.parametrize("method", [ml.MAC(), ml.LPOM(), ml.FenchelLifted(), ml.LiftedBregman()], ids=repr)
def test_a_loss_without_a_transfer_is_refused_by_the_method_itself(method):
    name, net = type(method).__name__, network(loss=Huber())
    with pytest.raises(ValueError, match=f"{name}: the last map needs a loss with gradient f.*Huber.* names none"):
        method.direction(net, DATA[0], np.zeros((30, 3), np.float32))
    report = ml.verify(method, net=net)
    assert not report.failures
    assert all(check.why.startswith(f"{name}: the last map needs") for check in report.checks)


@pytest.mark.parametrize("method", [ml.BCD(), ml.ADMM(), ml.MAC(), ml.LPOM(), ml.PredictiveCoding()], ids=repr)
def test_the_energy_takes_the_targets_that_the_network_takes(method):
    net = network()
    energy, listed = (method.energy(net, DATA[0], y) for y in (DATA[1], DATA[1].tolist()))
    start = method.start(net, net.forward(DATA[0]))
    assert energy.value(start) == listed.value(start)
    for y, message in ((DATA[1][:, None], "y: SoftmaxCrossEntropy expects labels of shape"), (3, "y must hold targets"),
                       (DATA[1] + 1, "y: labels must lie in 0 … 2")):
        with pytest.raises(ValueError, match=message):
            method.energy(net, DATA[0], y)


@pytest.mark.parametrize("method", [
    *CLOSED[:2], ml.MAC(), ml.DLADMM(0.1, curvature=0.01), ml.LPOM(tau=0.3), ml.FenchelLifted(anchor=1.0),
    ml.LiftedBregman(tau=0.3), ml.PredictiveCoding(), ml.PredictiveCoding(latent="pre"), ml.TargetPropagation()],
    ids=repr)
def test_the_gpu_backend(method, device):
    tolerance, steps = 2e-3 if method == ml.MAC() else 2e-4, []
    for backend in ("cupy", "numpy"):
        method.reset()
        steps.append(method.direction(network(backend=backend), *DATA)[1])
    method.reset()
    for theirs, ours in zip(*steps, strict=True):
        assert np.allclose(ml.network.to_numpy(theirs), ours, atol=tolerance * abs(ours).max())


@pytest.mark.parametrize("make", [ml.LPOM, ml.MAC, ml.ADMM, ml.DLADMM, ml.BCD,
                                  lambda: ml.LiftedBregman(variables="kept")],
                         ids=["LPOM", "MAC", "ADMM", "DLADMM", "BCD", "LiftedBregman"])
def test_what_is_kept_of_a_network_of_one_map_is_taken_back(make):
    net, one, two = ml.mlp([5, 3], seed=1), make(), make()
    one.direction(net, *DATA)
    two.load_state_dict(one.state_dict())
    for mine, theirs in zip(one.direction(net, *DATA)[1], two.direction(net, *DATA)[1]):
        np.testing.assert_array_equal(mine, theirs)


def test_weights_too_large_to_be_squared_end_a_run_of_admm_as_divergence():
    net = ml.mlp([5, 4, 3], seed=1)
    net.theta[2] = 1e25 * np.random.default_rng(0).standard_normal((5, 3))
    history = ml.fit(net, DATA, ml.ADMM(variables="forward"), ml.SGD(1.0), epochs=1, batch_size=None, progress=False)
    assert "too large to be squared" in str(history.diverged)


@pytest.mark.parametrize("name", ["mac", "bcd", "admm", "dladmm", "fenchel", "lpom", "lifted-bregman",
                                  "target-propagation", "predictive-coding", "gauss-newton"])
def test_a_transfer_with_parameters_is_refused_by_methods_that_have_no_direction_for_them(name):
    net = ml.Network([ml.Linear(2, 4), PReLU(), ml.Linear(4, 2)], dtype=np.float64)
    with pytest.raises(ValueError, match=r"transfers? .*parameters.* PReLU"):
        ml.fit(net, ml.datasets.moons(60), name, "sgd:lr=1", epochs=1, batch_size=None, progress=False)


class Fuse(ml.Tanh):
    """A tanh that fails after so many calls."""

    left = 10**6

    def counted(self, result):
        Fuse.left -= 1
        if Fuse.left < 0:
            raise RuntimeError("the fuse has blown")
        return result

    def forward(self, z):
        return self.counted(super().forward(z))

    def adjoint(self, z, a, aux, g):
        return self.counted(super().adjoint(z, a, aux, g))


@pytest.mark.parametrize("method", [*METHODS, ml.LiftedBregman(variables="kept"), ml.FOOF(0.1, decay=0.9),
                                    ml.KFAC(0.1, decay=0.9), ml.LocoProp(local_optimizer="adam"), ml.GaussNewton(0.1),
                                    ml.SemiImplicit(), ml.ProxProp(solver="cg3")], ids=repr)
def test_whatever_fails_in_a_call_leaves_what_is_kept_as_it_was(method, rng, monkeypatch):
    monkeypatch.setattr(Fuse, "left", 10**6)
    net = ml.Network([ml.Linear(4, 5), Fuse(), ml.Linear(5, 4), Fuse(), ml.Linear(4, 3)], dtype=np.float64)
    X, y = rng.standard_normal((8, 4)), rng.integers(0, 3, 8)
    method = copy.deepcopy(method)
    method.reset()
    method.direction(net, X, y)
    kept, other = method.state_dict(), copy.deepcopy(method)
    Fuse.left = 10**6
    directions = other.direction(net, X, y)[1]
    calls = 10**6 - Fuse.left
    for left in {2, calls // 2, calls - 1}:
        Fuse.left = left
        with pytest.raises(RuntimeError, match="fuse"):
            method.direction(net, X, y)
        for name, value in method.state_dict().items():
            np.testing.assert_array_equal(value, kept[name])
    Fuse.left = 10**6
    again = method.direction(net, X, y)[1]
    assert all((one == two).all() for one, two in zip(again, directions))


def test_variables_that_were_assigned_belong_to_no_data_until_a_call_succeeds(rng, monkeypatch):
    monkeypatch.setattr(Fuse, "left", 10**6)
    net = ml.Network([ml.Linear(4, 5), Fuse(), ml.Linear(5, 3)], dtype=np.float64)
    X, y = rng.standard_normal((8, 4)), rng.integers(0, 3, 8)
    method = ml.MAC()
    method.variables = method.start(net, net.propagate(X))
    Fuse.left = 2
    with pytest.raises(RuntimeError, match="fuse"):
        method.direction(net, X, y)
    Fuse.left = 10**6
    method.direction(net, X + 1, y)  # of another batch, which is now the one
    with pytest.raises(ValueError, match="the batch has changed"):
        method.direction(net, X, y)
