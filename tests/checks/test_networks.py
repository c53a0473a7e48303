"""`verify` on networks, chains and graphs: what is right holds; mistakes in a layer, and at branches, joins and shared
weights, are found in the whole.
"""

import numpy as np
import pytest
from graphs import GRAPHS, random_graph
from told import Plant, changed, is_found_and_named, reasons, tells, without_bias_row

import minilift as ml
from minilift.layers import joins

# ---- right networks


SLOW = ("residual convnet", "residual with batch norm", "recurrent", "last output")  # many finite differences


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind
                                  for kind in GRAPHS])
def test_every_graph_holds(kind):
    report = ml.verify(GRAPHS[kind]())
    assert report.passed, report


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_random_graphs_hold(seed):
    report = ml.verify(random_graph(seed, transfers=(ml.Tanh, ml.Sigmoid)).net)
    assert report.passed, report


def test_a_batch_norm_over_two_samples_is_no_mistake():
    """It turns so sharply that a plain difference of 1e-5 is off by more than the tolerance."""
    net = ml.Network([ml.Linear(3, 4), ml.BatchNorm(4), ml.ReLU(), ml.Named("x"), ml.Linear(4, 4), ml.Tanh(),
                      ml.Add("x"), ml.Linear(4, 2)], loss=ml.SquaredError("sum"), dtype=np.float64, seed=2)
    report = ml.verify(net)
    assert report.passed, report


@pytest.mark.parametrize("join", [ml.Add("x"), ml.Concat(["x", "y"]), ml.Select("x", 2), ml.Select(None, 0, 2),
                                  ml.Zeros(3)], ids=repr)
def test_joins_hold(join):
    report = ml.verify(join)
    assert report.passed
    assert len(report.checks) == 5


@pytest.mark.parametrize("seed", [31, 35])
def test_a_resnet_with_batch_norm_is_differentiated_on_three_samples(seed):
    assert ml.verify(ml.resnet([4, 3, 3, 3, 2], activation="tanh", batch_norm=True), seed=seed).passed


class PReLU(ml.Activation):
    axis = -1

    def slopes(self, z):
        shape = np.ones(z.ndim, dtype=int)
        shape[self.axis] = 3
        return np.array([0.1, 0.5, 2.0], dtype=z.dtype).reshape(shape)

    def forward(self, z):
        return np.where(z > 0, z, self.slopes(z) * z)

    def derivative(self, z):
        return np.where(z > 0, np.ones_like(z), self.slopes(z) * np.ones_like(z))


class Turned(PReLU):
    def derivative(self, z):
        return np.where(z > 0, np.ones_like(z), self.slopes(z)[..., ::-1] * np.ones_like(z))


@pytest.mark.parametrize(("transfer", "passed"), [(PReLU, True), (Turned, False)])
def test_a_slope_for_each_channel_is_checked_on_the_samples_of_its_network(transfer, passed):
    layers = [ml.Conv2d(1, 3, 3), transfer(), ml.Flatten(), ml.Linear(27, 2)]
    report = ml.verify(ml.Network(layers, ml.SquaredError(), input_shape=(3, 3, 1)))
    assert report.passed == passed
    assert "raises" not in reasons(report)


# ---- planted mistakes: what a layer gets wrong shows in the whole


NETWORKS = [
    Plant(
        "a network whose tanh forgets σ'",
        lambda: ml.mlp([3, 4, 2], activation=changed(ml.Tanh, adjoint=lambda self, z, a, aux, g: g)),
        "σ' is forgotten",
    ),
    Plant(
        "a network whose loss leaves out 1/N",
        lambda: ml.mlp([3, 4, 2], loss=changed(ml.SquaredError, gradient=lambda self, z, y: z - y)),
        "a factor N",
    ),
    Plant(
        "a network whose map leaves out the bias's gradient",
        lambda: ml.Network(
            [changed(ml.Linear, 3, 4, adjoint_theta=without_bias_row), ml.Tanh(), ml.Linear(4, 2)]
        ),
        "the bias row is missing",
    ),
]


@pytest.mark.parametrize("plant", NETWORKS, ids=lambda plant: plant.what)
def test_planted_mistake_is_found_and_named(plant):
    is_found_and_named(plant)


# ---- joins


class Doubled(ml.Add):
    """A sum whose adjoint counts the first value twice."""

    def adjoint_inputs(self, theta, g, values):
        return [2 * g, *[g] * (len(values) - 1)]


class Swapped(ml.Concat):
    """Values side by side whose signals are exchanged."""

    def adjoint_inputs(self, theta, g, values):
        return super().adjoint_inputs(theta, g, values)[::-1]


class Squared(ml.Add):
    """A join that is not linear."""

    def forward(self, theta, *values):
        return super().forward(theta, *values) ** 2


@pytest.mark.parametrize("wrong", [Doubled("x"), Swapped("x"), Squared("x")], ids=repr)
def test_wrong_joins_are_found(wrong):
    assert not ml.verify(wrong).passed


def test_a_wrong_join_is_found_inside_a_network():
    net = ml.Network([ml.Linear(3, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 4), ml.Tanh(), Doubled("x"),
                      ml.Linear(4, 2)])
    failed = {check.claim for check in ml.verify(net).failures}
    assert "backpropagated gradients of every block" in failed


class Product(ml.Add):
    def forward(self, theta, *values):
        return values[0] * values[1]

    def adjoint_inputs(self, theta, g, values):
        return [g * values[1], g * values[1]]


@pytest.mark.parametrize(("thing", "options", "said", "unsaid"), [
    (Product("x"), {}, "the signal to value 1: it is that of value 0", "a mask is missing")],
    ids=lambda x: type(x).__name__)
def test_what_fits_by_chance_or_in_part_is_not_said(thing, options, said, unsaid):
    tells(said, unsaid, thing, **options)


def test_a_signal_that_misses_a_reader_is_found(monkeypatch):
    monkeypatch.setattr(joins.Add, "adjoint_inputs", lambda self, theta, g, values: [g, *[0 * g] * (len(values) - 1)])
    net = ml.Network([ml.Linear(3, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 4), ml.Add("x"), ml.Linear(4, 2)])
    assert not ml.verify(net).passed


# ---- shared weights


def first_use_alone(block):
    """Take the gradient of a shared weight in the first of its uses only."""
    rows = len(block.a) if block.k == block.thetas else 3
    return block.phi.adjoint_theta(block.a[:rows], block.g[:rows])


def sum_of_steps(block):
    """Add the implicit steps of all uses of a shared weight: the usual mistake."""
    if block.last:
        return block.phi.adjoint_theta(block.a, block.g)
    parts = np.array_split(np.arange(len(block.a)), max(len(block.a) // 4, 1))
    return sum(ml.solvers.damped_solve(block.phi.gram(block.a[part]), block.g[part], 1.0).value for part in parts)


@pytest.mark.parametrize(("method", "like"), [(first_use_alone, ml.BackProp()), (sum_of_steps, ml.ProxProp(1.0))])
def test_mistakes_in_a_shared_weight_are_found(method, like):
    net = ml.rnn(2, 3, 1, 3, loss=ml.SquaredError())
    X = np.random.default_rng(0).standard_normal((4, 3, 2))
    assert ml.verify(like, net=net, X=X).passed
    assert not ml.verify(method, net=net, X=X, like=like).passed


class ScaledTanh(ml.Activation):
    """tanh(kz)/k, with an integral that is right for k = 1 alone; its repr does not show k."""

    def __init__(self, k):
        self.factor, self.range = k, (-1 / k, 1 / k)

    def forward(self, z):
        return np.tanh(self.factor * z) / self.factor

    def derivative(self, z):
        return 1 - np.tanh(self.factor * z) ** 2

    def integral(self, z):
        return (np.logaddexp(self.factor * z, -self.factor * z) - np.log(2)) / self.factor


def test_layers_that_look_alike_are_checked_each():
    layers = [ml.Linear(3, 4), ScaledTanh(2.0), ml.Linear(4, 4), ScaledTanh(1.0), ml.Linear(4, 2)]
    net = ml.Network(layers, ml.SquaredError(), seed=0)
    assert repr(layers[1]) == repr(layers[3])
    assert not ml.verify(net).passed
