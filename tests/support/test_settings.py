"""Settings: each argument of each class shows in repr, equality, saved networks and the identity of a run.

`EXAMPLES` holds every public class with another valid value for each of its settings; a class or an argument that is
missing there fails.
"""

import copy
import functools
import importlib
import json
import os
import pickle
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import minilift as ml
from minilift.graph import State
from minilift.layers.activations import Composition, Projection, Softmax
from minilift.layers.base import Layer
from minilift.layers.joins import OfNames
from minilift.layers.losses import OfLabels
from minilift.layers.pooling import Pool2d
from minilift.local.minimisers import Softened
from minilift.methods.backward.sweep import FunctionMethod
from minilift.methods.lifted.descend import EnergyMethod, Lifted
from minilift.methods.lifted.matching import MatchingMethod
from minilift.methods.lifted.three_split import ThreeSplitMethod
from minilift.optim import Optimizer, Schedule
from minilift.support.backend import to_numpy
from minilift.support.settings import NotKeptError, Settings, arguments_of, describe, differences
from minilift.training.ranks import Gathered, QuestionedMap, SharedBatchNorm, SharedMap, SharedNetwork

BASES = {Layer, ml.Map, ml.Join, OfNames, ml.Transfer, ml.Activation, ml.Loss, OfLabels, Pool2d, Optimizer, Schedule,
         ml.Method, EnergyMethod, Lifted, MatchingMethod, ThreeSplitMethod, ml.Network, Projection,
         SharedMap, QuestionedMap, SharedBatchNorm, SharedNetwork, Gathered,
         Softened}  # the last are made by fit and by newton


def gradient(block):
    return block.phi.adjoint_theta(block.a, block.g)


def half_gradient(block):
    return block.phi.adjoint_theta(block.a, block.g) / 2


MOMENTUM = {"momentum": 0.8, "lr": 0.2, "weight_decay": 0.01}
# arguments of an example, and another value for each setting (a dict where another argument must change with it)
EXAMPLES = {
    ml.Linear: ({"n_in": 6, "n_out": 4}, {"n_in": 5, "n_out": 3, "init": "he"}),
    ml.Conv2d: ({"c_in": 2, "c_out": 3, "kernel": 3},
                {"c_in": 1, "c_out": 4, "kernel": 5, "stride": 2, "padding": 2, "init": 0.1, "image_size": (9, 9)}),
    **{cls: ({}, {}) for cls in (ml.Identity, ml.ReLU, ml.HardTanh, ml.Tanh, ml.Sigmoid, ml.Softplus, Softmax,
                                 ml.Flatten)},
    ml.LeakyReLU: ({}, {"slope": 0.010000001}),
    Composition: ({"parts": [ml.Tanh(), ml.LeakyReLU()]}, {"parts": [ml.Tanh(), ml.LeakyReLU(0.2)]}),
    ml.BatchNorm: ({"channels": 4}, {"channels": 3, "momentum": 0.2, "eps": 1e-4}),
    ml.Dropout: ({}, {"rate": 0.3}),
    ml.Named: ({"name": "x"}, {"name": "y"}),
    ml.Add: ({"sources": ["x", "y"]}, {"sources": ["x", "z"]}),
    ml.Concat: ({"sources": ["x", "y"]}, {"sources": ["x", "z"]}),
    ml.Select: ({"source": "x", "start": 0, "stop": 4}, {"source": "y", "start": 1, "stop": 3}),
    ml.Zeros: ({"n": 2}, {"n": 3}),
    ml.MaxPool2d: ({"size": 2}, {"size": 3, "stride": 1}),
    ml.AvgPool2d: ({"size": 2}, {"size": 3, "stride": 1}),
    **{cls: ({}, {"reduction": "sum"}) for cls in (
        ml.SoftmaxCrossEntropy, ml.SigmoidCrossEntropy, ml.SquaredError, ml.OneHotSquaredError)},
    ml.BackProp: ({}, {}),
    FunctionMethod: ({"function": gradient}, {"function": half_gradient}),
    ml.ProxProp: ({}, {"tau_theta": [1.0, 0.5], "solver": "cg3", "last": "implicit", "joint": True}),
    ml.LocoProp: ({}, {"variant": "S", "gamma": 10.000001, "steps": 3, "local_lr": 1e-4, "local_optimizer": "sgd",
                       "decay": False, "eta": 2.0}),
    ml.SemiImplicit: ({}, {"eta": 0.1000001, "lam": 2.0, "steps": 3, "solver": "exact", "joint": True}),
    ml.BCD: ({}, {"gamma": 0.5, "rho": 2.0, "alpha": 1.0, "bias": "jacobi", "variables": "forward", "sweeps": 2}),
    ml.DLADMM: ({}, {"rho": 1e-3, "schedule": False, "curvature": 2.0, "variables": "forward", "sweeps": 2}),
    ml.FenchelLifted: ({}, {"lam": 2.0, "anchor": 5.0, "weight_decay": 0.1, "alternations": 2}),
    ml.LPOM: ({}, {"mu": 2.0, "tau": 0.2, "steps": 3, "variables": "forward", "sweeps": 2}),
    ml.LiftedBregman: ({}, {"tau": 0.2, "mu": 2.0, "steps": 3, "variables": "kept", "sweeps": 2}),
    ml.ADMM: ({}, {"beta": 0.5, "gamma": 2.0, "alpha": 1.0, "bias": "fixed", "variables": "forward", "sweeps": 2}),
    ml.PredictiveCoding: ({}, {"rate": 0.2, "steps": 3, "latent": "pre", "prediction": "fixed"}),
    ml.TargetPropagation: ({}, {"beta": 0.2, "variant": "lee", "rate": 0.1, "sigma": 0.2, "transfer": "identity",
                                "seed": 1}),
    ml.MAC: ({}, {"mu": 2.0, "growth": 1.1, "mu_max": 10.0, "alpha": 2.0, "theta_steps": 3, "a_steps": 2,
                  "variables": "forward", "sweeps": 2}),
    ml.FOOF: ({"damping": 0.1}, {"damping": 0.2, "decay": 0.5}),
    ml.KFAC: ({"damping": 0.1}, {"damping": 0.2, "fisher": "empirical", "split": "exact", "decay": 0.5}),
    ml.GaussNewton: ({"damping": 0.1}, {"damping": 0.2, "tolerance": 1e-3, "steps": 900}),
    ml.SGD: ({"lr": 0.1}, {"lr": ml.Constant(0.1), "weight_decay": 0.01}),
    ml.HeavyBall: ({"lr": 0.1}, MOMENTUM),
    ml.Nesterov: ({"lr": 0.1}, MOMENTUM),
    ml.Adam: ({"lr": 0.1}, {"lr": 0.2, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.01,
                            "decoupled": True}),
    ml.RMSProp: ({"lr": 0.1}, {"lr": 0.2, "rho": 0.8, "eps": 1e-6, "momentum": 0.5, "form": "tf1",
                               "weight_decay": 0.01}),
    ml.Muon: ({"lr": 0.1}, {**MOMENTUM, "iterations": 4}),
    ml.Constant: ({"lr": 0.1}, {"lr": 0.2}),
    ml.StepDecay: ({"lr": 0.1, "every": 2}, {"lr": 0.2, "every": 3, "factor": 0.5}),
    ml.WarmupLinear: ({"lr": 0.1}, {"lr": 0.2, "warmup": 4, "epochs": 50}),
    ml.Cosine: ({"lr": 0.1, "epochs": 9}, {"lr": 0.2, "epochs": 8, "lr_min": 0.01}),
    ml.EarlyStop: ({}, {"patience": 3, "monitor": "train_loss", "restore_best": True}),
}
CHANGES = [(cls, name) for cls, (_, others) in EXAMPLES.items() for name in others]

each_class = pytest.mark.parametrize("cls", EXAMPLES, ids=lambda cls: cls.__name__)
each_setting = pytest.mark.parametrize(("cls", "name"), CHANGES, ids=[f"{c.__name__}-{n}" for c, n in CHANGES])


def example(cls):
    return cls(**EXAMPLES[cls][0])


def changed(cls, name):
    arguments, others = EXAMPLES[cls]
    return cls(**{**arguments, name: others[name]})


def subclasses(cls):
    return {cls}.union(*map(subclasses, cls.__subclasses__()))


def fitting(thing):
    """Return a network, data, and the other arguments of `fit`, with a thing in its place."""
    rng = np.random.default_rng(0)
    options = {"method": ml.BackProp(), "optimizer": ml.SGD(0.1), "early_stop": None}
    layers, loss, input_shape = [ml.Linear(6, 4), ml.Tanh(), ml.Linear(4, 3)], None, None
    if isinstance(thing, ml.Loss):
        loss = thing
    elif isinstance(thing, ml.Linear):
        layers[0], layers[2] = thing, ml.Linear(thing.n_out, 3)
    elif isinstance(thing, (ml.Conv2d, Pool2d)):
        first = [thing] if isinstance(thing, ml.Conv2d) else [ml.Conv2d(2, 2, 3), thing]
        input_shape = shape = (9, 9, first[0].c_in)
        for layer in first:
            shape = layer.output_shape(shape)
        layers = [*first, ml.Flatten(), ml.Linear(int(np.prod(shape)), 3)]
    elif isinstance(thing, ml.Named):
        layers = [ml.Linear(6, 4), thing, ml.Tanh(), ml.Linear(4, 4), ml.Add(thing.name), ml.Linear(4, 3)]
    elif isinstance(thing, ml.Join):
        sources = thing.sources or ("x",)
        width, = thing.output_shape(*[(4,)] * (1 + len(sources) if thing.sources and thing.reads_current else 1))
        again = [] if thing.sources else [ml.Concat("x"), ml.Linear(width + 4, width)]
        layers = [ml.Linear(6, 4), *map(ml.Named, sorted(sources)), thing, *again, ml.Linear(width, 3)]
    elif isinstance(thing, ml.Transfer):
        width = getattr(thing, "channels", 4)
        layers = [ml.Linear(6, width), thing, ml.Linear(width, 3)]
    elif isinstance(thing, Schedule):
        options["optimizer"] = ml.SGD(thing)
    else:
        kinds = {"method": ml.Method, "optimizer": Optimizer, "early_stop": ml.EarlyStop}
        options[next(key for key, kind in kinds.items() if isinstance(thing, kind))] = thing
    net = ml.Network(layers, loss=loss, input_shape=input_shape)
    X = rng.uniform(size=(12, *net.shapes[0]))
    y = rng.integers(0, 3, 12) if net.loss_function.classification else rng.uniform(size=(12, 3))
    batch_size = None if isinstance(thing, Lifted) else 6  # what is kept of each sample wants them all
    return net, (X, y), {**options, "epochs": 1, "batch_size": batch_size, "progress": False}


def place(net, thing):
    """Return how a thing of a network is called in errors."""
    return next((f"network: layers[{k}]" for k, layer in enumerate(net.layers) if type(layer) is type(thing)
                 and layer.settings() == thing.settings()), "network: loss")


def arrays_of(thing):
    """Return all arrays in a thing, wherever they are kept."""
    if isinstance(thing, (list, tuple)):
        return [array for item in thing for array in arrays_of(item)]
    if isinstance(thing, dict):
        return arrays_of(list(thing.values()))
    if isinstance(thing, Settings):
        return arrays_of(vars(thing))
    return [thing] if hasattr(thing, "shape") and hasattr(thing, "dtype") and thing.ndim else []


# ---- every class


@pytest.mark.parametrize(("cls", "name"), [pair for pair in CHANGES if issubclass(pair[0], (ml.Method, Optimizer))],
                         ids=lambda value: getattr(value, "__name__", value))
def test_a_setting_that_is_assigned_is_the_one_that_trains(cls, name):
    given, assigned = changed(cls, name), example(cls)
    if name == "variables" or name not in vars(assigned):
        pytest.skip("kept under another name")
    setattr(assigned, name, EXAMPLES[cls][1][name])
    assert repr(assigned) == repr(given)
    (net, data, options), (other, _, others) = fitting(given), fitting(assigned)
    ml.fit(net, data, **options)
    ml.fit(other, data, **others)
    for one, two in zip(net.parameters, other.parameters):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("cls", "name"), [pair for pair in CHANGES if issubclass(pair[0], ml.Method)],
                         ids=lambda value: getattr(value, "__name__", value))
def test_a_setting_that_is_assigned_between_two_steps_counts_in_the_second(cls, name):
    """As in a method that was made with it, and has been given what the first one keeps."""
    method = example(cls)
    if name == "variables" or name not in vars(method):
        pytest.skip("kept under another name")
    net, (X, y), _ = fitting(method)
    method.direction(net, X, y)
    setattr(method, name, EXAMPLES[cls][1][name])
    other = cls(**method.settings())
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    for _ in range(2):
        found = []
        for one in (method, other):
            try:
                one.check_state(net)
                found.append(one.direction(net, X, y)[1])
            except (ValueError, ArithmeticError) as error:
                found.append([str(error)])
        for mine, others in zip(*found):
            np.testing.assert_array_equal(mine, others)
    assert repr(as_arrays(method.state_dict())) == repr(as_arrays(other.state_dict()))


def as_arrays(state):
    return {name: np.array(value).tolist() for name, value in state.items()}


def test_every_class_has_an_example():
    for info in pkgutil.walk_packages(ml.__path__, "minilift."):
        importlib.import_module(info.name)
    ours = {cls for cls in subclasses(Settings) - {Settings} if cls.__module__.startswith("minilift.")
            and ".exercises." not in cls.__module__}
    assert ours == EXAMPLES.keys() | BASES


@pytest.mark.parametrize("module", ["layers.maps", "layers.joins", "layers.convolution", "layers.activations",
                                    "layers.losses", "layers.normalization", "layers.pooling", "optim",
                                    "training.history"])
def test_every_part_has_settings(module):
    classes = [cls for cls in vars(importlib.import_module(f"minilift.{module}")).values()
               if isinstance(cls, type) and cls.__module__.startswith("minilift.")]
    parts = [cls for cls in classes if hasattr(cls, "kind") or hasattr(cls, "gradient") or hasattr(cls, "_update")
             or ("__call__" in vars(cls) and not issubclass(cls, type))]
    assert all(issubclass(cls, Settings) for cls in parts)


@each_class
def test_every_argument_has_another_value(cls):
    assert list(example(cls).settings()) == list(arguments_of(cls))
    assert EXAMPLES[cls][1].keys() == arguments_of(cls).keys()


@each_class
def test_the_same_arguments_make_an_equal_thing(cls):
    assert example(cls) == example(cls)
    assert hash(example(cls)) == hash(example(cls))
    assert cls(**example(cls).settings()) == example(cls)
    assert repr(example(cls)) == repr(example(cls))
    assert example(cls) != "something else"
    assert all(example(cls) != example(other) for other in EXAMPLES if other is not cls)


@each_setting
def test_a_changed_setting_shows(cls, name):
    one, other = example(cls), changed(cls, name)
    assert one.settings() != other.settings()
    assert repr(one) != repr(other)
    assert one != other
    text, = differences(describe(one), describe(other), "it")
    assert text.startswith(f"it: {name}")


@each_setting
def test_a_changed_setting_is_another_run(cls, name, tmp_path):
    (net, data, options), (again, other, changes) = fitting(example(cls)), fitting(changed(cls, name))
    ml.fit(net, data, checkpoint=tmp_path / "run.npz", **options)
    before = again.state_dict()
    where = {ml.Method: "method", Optimizer: "optimizer", ml.EarlyStop: "early_stop", Schedule: "optimizer: lr"}
    part = next((text for kind, text in where.items() if issubclass(cls, kind)), None) or place(net, example(cls))
    with pytest.raises(ValueError, match="belongs to another run") as error:
        ml.fit(again, other, resume=tmp_path / "run.npz", **changes)
    assert f"{part}: {name}" in str(error.value)
    assert all(np.array_equal(array, before[name]) for name, array in again.state_dict().items())


@each_class
def test_the_same_settings_are_the_same_run(cls, tmp_path):
    (net, data, options), (again, _, same), (whole, _, twice) = [fitting(example(cls)) for _ in range(3)]
    ml.fit(net, data, checkpoint=tmp_path / "run.npz", **options)
    ml.fit(again, data, resume=tmp_path / "run.npz", **{**same, "epochs": 2})
    ml.fit(whole, data, **{**twice, "epochs": 2})
    assert again == whole


@each_setting
def test_a_saved_network_keeps_its_settings(cls, name, tmp_path):
    net, _, _ = fitting(changed(cls, name))
    net.save(tmp_path / "net.npz")
    again = ml.load(tmp_path / "net.npz")
    assert again == net
    assert again.layers == net.layers
    assert again.loss_function == net.loss_function
    assert repr(again.layers).replace("[9, 9]", "(9, 9)") == repr(net.layers)  # a file holds lists


@pytest.mark.parametrize("cls", [cls for cls in EXAMPLES if cls not in (Composition, FunctionMethod)],
                         ids=lambda cls: cls.__name__)
def test_repr_is_what_one_would_write(cls):  # those two are printed as they act
    names = {**vars(ml), "Softmax": Softmax}
    for thing in [example(cls), *(changed(cls, name) for name in EXAMPLES[cls][1])]:
        assert eval(repr(thing), names) == thing


@pytest.mark.parametrize(("thing", "text"), [
    (ml.Linear(64, 128), "Linear(64, 128)"), (ml.Linear(6, 4, "he"), "Linear(6, 4, init='he')"),
    (ml.Conv2d(3, 16, 5), "Conv2d(3, 16, 5, padding='same')"), (ml.LeakyReLU(), "LeakyReLU(0.01)"),
    (ml.MaxPool2d(2, 2), "MaxPool2d(2)"), (ml.BatchNorm(4, momentum=0.2), "BatchNorm(4, momentum=0.2)"),
    (ml.Dropout(), "Dropout(0.5)"), (ml.SquaredError(), "SquaredError()"),
    (ml.SquaredError("sum"), "SquaredError('sum')"),
    (Composition([ml.ReLU(), ml.Dropout()]), "ReLU() → Dropout(0.5)"),
    (ml.SGD(0.1), "SGD(lr=0.1, weight_decay=0.0)"), (ml.SGD(lambda epoch: 1.0), "SGD(lr=<lambda>, weight_decay=0.0)"),
    (ml.ProxProp(), "ProxProp(tau_theta=1.0, solver='exact')"),
    (ml.ProxProp(np.array([1.0, 0.5]), joint=True), "ProxProp(tau_theta=[1.0, 0.5], solver='exact', joint=True)"),
    (ml.LocoProp("S", decay=False), "LocoProp('S', gamma=10.0, steps=10, decay=False, eta=None)"),
    (FunctionMethod(gradient), "FunctionMethod(gradient)")], ids=lambda value: value if isinstance(value, str) else "")
def test_repr_is_short(thing, text):
    assert repr(thing) == text


# ---- networks


def normed(**options):
    layers = [ml.Linear(6, 8), ml.BatchNorm(8), ml.ReLU(), ml.Dropout(0.3), ml.Linear(8, 3)]
    return ml.Network(layers, **options)


@pytest.mark.parametrize(("change", "text"), [
    ({"dtype": np.float64}, "network: dtype was float32, is float64"),
    ({"loss": ml.SigmoidCrossEntropy()}, "network: loss was SoftmaxCrossEntropy"),
    ({"input_shape": (8, 8, 2)}, r"network: input_shape\[0\] was 7, is 8"),
    ({"input_layout": "channels_first"}, "network: input_layout was channels_last, is channels_first")])
def test_a_network_is_told_apart_too(change, text, tmp_path):
    plain = {"layers": [ml.Conv2d(2, 2, 3), ml.AvgPool2d(7), ml.Flatten(), ml.Linear(2, 3)],
             "input_shape": (7, 7, 2), "loss": None}
    one, other = ml.Network(**plain), ml.Network(**{**plain, **change})
    assert one != other
    assert repr(one) != repr(other)
    assert "; ".join(differences(describe(one), describe(other), "network")).startswith(text.replace("\\", ""))
    other.save(tmp_path / "net.npz")
    assert ml.load(tmp_path / "net.npz") == other


def test_what_a_network_tells_its_maps_is_no_setting():
    net = ml.Network([ml.Conv2d(2, 2, 3, stride=2), ml.Flatten(), ml.Linear(32, 3)], input_shape=(8, 8, 2))
    assert net.phi[1].known_size == (8, 8)
    assert net.phi[1] == net.layers[0] == ml.Conv2d(2, 2, 3, stride=2)


def test_equal_networks_have_equal_arrays_whatever_the_backend(strict_cupy):
    assert normed() == normed()
    assert hash(normed()) == hash(normed())
    assert normed() == normed(backend="cupy")
    assert normed() != normed(seed=1)
    statistics = normed()
    statistics.norms[0].running[0] += 1
    assert statistics != normed()


# ---- copies

COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda thing: pickle.loads(pickle.dumps(thing))}
each_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


@each_copy
@each_class
def test_a_copy_is_equal_and_shares_nothing(cls, copied):
    for thing in [example(cls), *(changed(cls, name) for name in EXAMPLES[cls][1])]:
        twin = copied(thing)
        assert twin is not thing
        assert type(twin) is cls
        assert twin == thing
        assert not any(a is b for a in arrays_of(twin) for b in arrays_of(thing))


METHODS = [ml.BackProp(), ml.ProxProp(0.5, "cg3"), ml.LocoProp("S", 1.0, local_optimizer="rmsprop"), ml.SemiImplicit()]
OPTIMIZERS = [ml.Nesterov(0.1), ml.Adam(0.01), ml.RMSProp(0.01, momentum=0.5), ml.SGD(1.0)]


def training(net, method, optimizer, seed, steps=3):
    """Take some steps as `fit` does."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        X, y = net.checked_batch(rng.standard_normal((20, 6)), rng.integers(0, 3, 20))
        state = net.propagate(X, training=True, rng=rng)
        directions = method.directions(net, state, y)
        net.commit(state)
        optimizer.step(net.parameters, directions)


@each_copy
@pytest.mark.parametrize("backend", ["numpy", "cupy"])
@pytest.mark.parametrize(("method", "optimizer"), list(zip(METHODS, OPTIMIZERS)),
                         ids=lambda value: type(value).__name__)
def test_training_goes_on_bit_for_bit_after_a_copy(method, optimizer, backend, copied, strict_cupy):
    trio = normed(backend=backend), copy.deepcopy(method), copy.deepcopy(optimizer)
    training(*trio, seed=1)
    twins = [copied(thing) for thing in trio]
    assert twins == list(trio)
    frozen = {name: np.array(array) for name, array in trio[0].state_dict().items()}
    kept = [{name: np.array(value) for name, value in thing.state_dict().items()} for thing in trio[1:]]
    training(*twins, seed=2)
    assert all(np.array_equal(frozen[name], array) for name, array in trio[0].state_dict().items())
    for thing, before in zip(trio[1:], kept):
        assert all(np.array_equal(before[name], np.array(value)) for name, value in thing.state_dict().items())
    assert twins[0] != trio[0]
    training(*trio, seed=2)
    assert twins[0] == trio[0]
    for thing, twin in zip(trio[1:], twins[1:]):
        state = twin.state_dict()
        assert all(np.array_equal(np.array(value), np.array(state[name])) for name, value in thing.state_dict().items())


@each_copy
def test_a_copied_network_is_whole(copied):
    net = normed()
    twin = copied(net)
    assert twin.xp is np
    assert twin.norms[0] is twin.layers[1] is twin.sigma[1].parts[0]  # its own, in every place
    assert twin.norms[0] is not net.norms[0]
    assert not any(np.shares_memory(a, b) for a in arrays_of(twin) for b in arrays_of(net))
    X, y = np.ones((4, 6)), np.array([0, 1, 2, 0])
    assert twin.loss(X, y) == net.loss(X, y)
    assert isinstance(twin.forward(X), State)


@each_copy
def test_a_network_on_the_device_stays_there(copied, strict_cupy):
    net = normed(backend="cupy")
    twin = copied(net)
    assert twin.xp is strict_cupy
    assert all(isinstance(array, strict_cupy.ndarray) for array in [*twin.parameters, twin.norms[0].running])
    assert all(np.array_equal(to_numpy(a), to_numpy(b)) for a, b in zip(twin.parameters, net.parameters))


# ---- functions and foreign objects


def rate(factor):
    return lambda epoch: factor * 0.9**epoch


def stepped(milestones):
    return lambda epoch: 0.1 / (1 + len(milestones))


def recursive(base):
    def value(epoch):
        return base if epoch == 0 else value(epoch - 1)
    return value


class Wave:
    """A user's schedule, which is no `Settings`."""

    def __init__(self, rates, period=2):
        self.rates, self._period, self.asked = rates, period, []

    def __call__(self, epoch):
        self.asked.append(epoch)
        return self.rates[epoch % self._period]


def other_call(self, epoch):
    return 0.1


def bound(rates):
    return Wave(rates).__call__


@pytest.mark.parametrize(("one", "same", "other", "text"), [
    (rate(0.1), rate(0.1), rate(0.2), "lr: factor was 0.1, is 0.2"),
    (rate(np.float32(0.5)), rate(0.5), rate(np.float32(0.25)), "lr: factor was 0.5, is 0.25"),
    (rate((1, [2])), rate((3, [4])), rate((1, 2)), "lr: factor was None, is [1, 2]"),
    (rate(0.1), rate(np.float64(0.1)), rate(ml.Constant(0.1)), "lr: factor was 0.1, is Constant(lr=0.1)"),
    # what is in a list may be the function's memory
    (stepped([1]), stepped([2, 3]), lambda epoch: 0.1, "lr was stepped.<locals>.<lambda>(code="),
    (recursive(1.0), recursive(1.0), recursive(2.0), "lr: base was 1.0, is 2.0"),
    (Wave([1.0, 2.0]), Wave([1.0, 2.0]), Wave([1.0, 3.0]), "lr: rates[1] was 2.0, is 3.0"),
    (Wave(object()), Wave(object()), Wave({1}), "lr: rates was object(value=<object object>), is set(value={1})"),
    (Wave([1.0], 1), Wave([1.0], 1), Wave([1.0], 2), "lr: _period was 1, is 2"),
    (bound([1.0]), bound([1.0]), bound([2.0]), "lr: object: rates[0] was 1.0, is 2.0"),
    (functools.partial(pow, 0.5), functools.partial(pow, 0.5), functools.partial(pow, 0.6),
     "lr: arguments[0] was 0.5, is 0.6"),
    (abs, abs, round, "lr was abs(), is round()")])
def test_functions_are_told_apart(one, same, other, text):
    assert ml.SGD(one) == ml.SGD(same)
    assert ml.SGD(one) != ml.SGD(other)
    first = next(differences(describe(ml.SGD(one)), describe(ml.SGD(other)), "optimizer"))
    assert first.startswith(f"optimizer: {text}")
    assert json.loads(json.dumps(describe(ml.SGD(one)))) == describe(ml.SGD(same))


def test_the_code_of_a_function_counts_and_where_it_stands_does_not():
    def compiled(source, line=0):
        names = {}
        exec("\n" * line + source, names)
        return names["f"]
    source = "def f(epoch, low=0.1):\n    return [low for _ in range(3) if epoch in {'a', 'b', 1}][-1]"
    assert describe(compiled(source)) == describe(compiled(source, line=7))
    for changed_source in (source.replace("3", "4"), source.replace("0.1", "0.2"), source.replace("'b'", "'c'"),
                           source.replace("range", "list"), source.replace("[low for", "[2 * low for")):
        assert describe(compiled(source)) != describe(compiled(changed_source))
    documented = source.replace(":\n", ':\n    """Fall slowly."""\n', 1)
    assert describe(compiled(documented)) == describe(compiled(documented.replace("slowly", "by halves")))


def test_the_call_of_an_object_counts():
    class Other(Wave):
        __call__ = other_call
    Other.__qualname__ = Other.__name__ = "Wave"
    assert [text.split(" was ")[0] for text in differences(describe(Wave([1.0])), describe(Other([1.0])), "lr")] == [
        "lr: code"]


def test_a_run_with_a_function_that_changed_is_refused(tmp_path):
    path, (net, data, options) = tmp_path / "run.npz", fitting(ml.BackProp())
    ml.fit(net, data, checkpoint=path, **{**options, "optimizer": ml.SGD(lambda epoch: 0.1)})
    with pytest.raises(ValueError, match=r"optimizer: lr: code was [0-9a-f]{8}, is [0-9a-f]{8}"):
        ml.fit(fitting(ml.BackProp())[0], data, resume=path, **{**options, "optimizer": ml.SGD(lambda epoch: 0.2)})


# ---- a user's own classes


class Kept(ml.ProxProp):
    """Passes on what it does not take itself."""

    def __init__(self, strength, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.strength = strength


class Half(ml.ProxProp):
    """Takes less than its base class."""

    def __init__(self, joint):
        super().__init__(0.5, "cg3", joint=joint)


class Hidden(ml.Method):
    """Keeps an argument under another name."""

    def __init__(self, strength, propose=None):
        self._strength = strength

    def propose(self, block):
        return gradient(block)


class Told(Hidden):
    """The same with settings of its own."""

    def settings(self):
        return {"strength": self._strength}


class Plain(ml.Method):
    """Without arguments."""

    def propose(self, block):
        return gradient(block)


class Bare(ml.Map):
    """A map that is no `Settings`: what it must have and nothing else."""

    kind = "map"

    def __init__(self, n_in):
        self.inner = ml.Linear(n_in, 3)
        self.n_in = n_in

    def __getattr__(self, name):
        if name == "inner":  # not there yet, as in a pickle that is being read
            raise AttributeError(name)
        return getattr(self.inner, name)


class Shaped(ml.Tanh):
    """A layer that takes something else than a number."""

    def __init__(self, shape):
        self.shape = shape


def test_a_subclass_passes_on_the_settings_of_its_base():
    method = Kept(3, 0.5, joint=True)
    assert method.settings() == {"strength": 3, "tau_theta": 0.5, "solver": "exact", "last": "explicit", "joint": True}
    assert repr(method) == "Kept(strength=3, tau_theta=0.5, solver='exact', joint=True)"
    assert method == Kept(3, 0.5, joint=True) != Kept(3, 0.5)
    assert Half(True).settings() == {"joint": True}
    assert Plain() == Plain() != ml.BackProp()
    assert Plain() != type("Plain", (ml.Method,), {})()
    assert repr(Plain()) == "Plain()"


def test_settings_that_cannot_be_told_are_an_error_when_asked_for(tmp_path):
    method, (net, data, options) = Hidden(2), fitting(ml.BackProp())
    with pytest.raises(NotKeptError, match=r"Hidden: .* argument 'strength' is not kept.*: assign self\.strength"):
        method.settings()
    method.strength = 2
    with pytest.raises(NotKeptError, match="argument 'propose' is not kept"):  # a method of that name is no setting
        method.settings()
    assert repr(method) == "Hidden(…)"
    assert method == method
    assert method != Hidden(2)
    assert len(ml.fit(net, data, **{**options, "method": method})) == 2  # without a checkpoint nothing is asked
    with pytest.raises(TypeError, match="Hidden: the constructor's argument 'propose' is not kept"):
        ml.fit(net, data, checkpoint=tmp_path / "run.npz", **{**options, "method": method})


@pytest.mark.parametrize(("one", "other", "text"), [
    (Told(1), Told(2), "method: strength was 1, is 2"), (Kept(1), Kept(2), "method: strength was 1, is 2"),
    (Plain(), Told(1), r"method was Plain\(\), is Told\(strength=1\)"),
    (gradient, half_gradient, r"method: function was gradient\(code=.*, is half_gradient\(code=")])
def test_a_users_method_is_continued_and_told_apart(one, other, text, tmp_path):
    path, (net, data, options) = tmp_path / "run.npz", fitting(ml.BackProp())
    ml.fit(net, data, checkpoint=path, **{**options, "method": one})
    assert len(ml.fit(fitting(ml.BackProp())[0], data, resume=path, **{**options, "method": one, "epochs": 2})) == 3
    with pytest.raises(ValueError, match=text):
        ml.fit(fitting(ml.BackProp())[0], data, resume=path, **{**options, "method": other})


def test_a_layer_of_another_family_is_saved_copied_and_told_apart(tmp_path):
    net, path = ml.Network([Bare(6)]), tmp_path / "net.npz"
    net.save(path)
    assert ml.load(path, layers=[Bare]) == net
    assert all(copied(net) == net for copied in COPIES.values())
    text, *_ = differences(describe(net), describe(ml.Network([Bare(5)])), "network")
    assert text == "network: layers[0]: n_in was 6, is 5"


def test_what_a_file_cannot_hold_is_named_when_saving(tmp_path):
    net = ml.Network([ml.Linear(6, 4), Shaped(np.sin), ml.Linear(4, 3)])
    with pytest.raises(TypeError, match="Shaped: a file cannot hold shape=<ufunc 'sin'>; it holds numbers, text"):
        net.save(tmp_path / "net.npz")
    assert not list(tmp_path.iterdir())
    for shape in (np.arange(3), [1, [ml.ReLU(), ml.LeakyReLU(0.2)]], Composition([ml.ReLU()])):
        net = ml.Network([ml.Linear(6, 4), Shaped(shape), ml.Linear(4, 3)])
        net.save(tmp_path / "net.npz")
        assert ml.load(tmp_path / "net.npz", layers=[Shaped]) == net


class Slotted(ml.Method):
    __slots__ = ("rate",)

    def __init__(self, rate):
        self.rate = rate


class ArgumentsKept(Slotted):
    """With a `__new__` that wants its arguments, of copies too."""

    def __new__(cls, rate):
        return super().__new__(cls, rate)

    def __getnewargs__(self):
        return (self.rate,)


class ArgumentsLeft(Slotted):
    """With a `__new__` that hands none on."""

    def __new__(cls, *arguments):
        new = super().__new__(cls)
        new.extra = 1
        return new


class OwnState(Slotted):
    def __getstate__(self):
        return {"rate": self.rate}

    def __setstate__(self, state):
        self.rate = state["rate"]


@pytest.mark.parametrize("cls", [Slotted, ArgumentsKept, ArgumentsLeft, OwnState])
def test_a_users_class_is_copied_as_python_copies_it(cls):
    thing = cls(2)
    for again in (copy.copy(thing), copy.deepcopy(thing), *(pickle.loads(pickle.dumps(thing, p)) for p in (2, 4, 5))):
        assert (type(again), again.rate) == (cls, 2)
        assert cls is not ArgumentsLeft or again.extra == 1
    with pytest.raises(TypeError, match="rate"):
        cls()


def test_the_description_of_a_set_is_that_of_every_process():
    code = "from minilift.support.settings import describe; print(describe({'a', 'b', 'c', 'd'}))"
    told = {subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": str(seed)}, text=True,
                           capture_output=True, check=True).stdout for seed in range(4)}
    assert len(told) == 1, told


OWN_FILE = """
import minilift as ml
LAM, CALLS = 0.0, 0
def helper(x):
    return 1.0 * x
def step(block):
    global CALLS
    CALLS += 1
    return helper(block.phi.adjoint_theta(block.a, block.g)) + LAM * block.theta
class Step(ml.Method):
    rate = 0.5
    def propose(self, block):
        return block.phi.adjoint_theta(block.a, block.g)
    @property
    def known(self):
        return 3
class Child(Step):
    pass
"""


@pytest.mark.parametrize(("was", "now", "name", "said"), [
    ("LAM, CALLS = 0.0", "LAM, CALLS = 5.0", "step", "LAM was 0.0, is 5.0"),
    ("return 1.0 * x", "return 2.0 * x", "step", "helper was"),
    ("rate = 0.5", "rate = 0.6", "Step", "rate was 0.5, is 0.6"),
    ("        return block.phi", "        return -block.phi", "Step", "propose: code was"),
    ("        return block.phi", "        return -block.phi", "Child", "propose: code was"),
    ("return 3", "return 4", "Step", "known: code was"),
    ("CALLS = 0.0, 0", "CALLS = 0.0, 7", "step", None),  # which it writes: its memory
    ("return 3", "return 3  # as before", "Step", None),
    ("class Child", "UNREAD = 1\nclass Child", "step", None)])
def test_a_users_code_and_what_it_reads_from_its_file_tell_runs_apart(was, now, name, said):
    def made(source):
        names = {"__name__": "users_own"}
        exec(compile(source, "users_own.py", "exec"), names)
        return ml.methods.as_method(names[name]() if isinstance(names[name], type) else names[name])

    assert was in OWN_FILE
    found = "; ".join(differences(describe(made(OWN_FILE)), describe(made(OWN_FILE.replace(was, now))), "method"))
    assert said in found if said else found == ""


def test_functions_that_call_each_other_are_described():
    names = {"__name__": "users_own"}
    exec("def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n > 0 and even(n - 1)", names)
    assert set(describe(names["even"])[1]) == {"code", "n", "odd"} or set(describe(names["even"])[1]) == {"code", "odd"}



def test_no_nearest_name_is_sought_to_describe_a_network(monkeypatch):
    def unknown(thing, name):
        raise AssertionError(f"{type(thing).__name__} was asked for {name}")

    net = ml.mlp([3, 4, 2])
    monkeypatch.setattr("minilift.support.spellings.unknown_attribute", unknown)
    assert describe([net, ml.ProxProp(), ml.SGD(0.1), np.ones(2), np.float32(1), ml.ReLU])[-3:] == [
        [1.0, 1.0], 1.0, ["ReLU", {}]]
