"""The layer graph: values with names, joins, shared maps; wrong graphs are refused by name; files and copies."""

import copy
import pickle

import numpy as np
import pytest
from graphs import GRAPHS, case_of, random_graph

import minilift as ml

each_graph = pytest.mark.parametrize("kind", GRAPHS)


def linear(n=4, m=4):
    return ml.Linear(n, m)


# ---- wrong graphs


SHARED = ml.Conv2d(1, 1, 3)
WRONG = {
    "used before it exists": ([linear(), ml.Add("x"), ml.Named("x"), linear()],
                              r"layers\[1\]: Add\('x'\) reads 'x', which is named only after it"),
    "never named": ([linear(), ml.Named("y"), ml.Add("x"), linear(), ml.Add("y")],
                    r"layers\[2\]: Add\('x'\) reads 'x', which no layer names \(named so far: 'y'\)"),
    "named twice": ([linear(), ml.Named("x"), linear(), ml.Named("x"), ml.Add("x"), linear()],
                    r"layers\[3\]: the name 'x' is given twice"),
    "shapes that do not add": ([ml.Named("x"), linear(4, 3), ml.Add("x"), linear(3)],
                               r"map 2 does not fit .*Add\('x'\) expects samples of one shape, got \(3,\), \(4,\)"),
    "shapes that do not go side by side": (
        [ml.Named("x"), ml.Conv2d(1, 1, 3, padding=0), ml.Concat("x"), ml.Flatten(), linear(8, 2)],
        r"Concat\('x'\) expects samples that differ in the last axis alone"),
    "a name that nobody reads": ([linear(), ml.Named("x"), linear()], "nobody reads the value named 'x'"),
    "a value that nobody reads": ([ml.Named("x"), linear(), ml.Tanh(), ml.Select("x"), linear()],
                                  r"nobody uses the value that Linear\(4, 4\) begins, number 1"),
    "a shared map with two shapes": (
        [SHARED, ml.ReLU(), ml.MaxPool2d(2), SHARED, ml.Flatten(), linear(4, 2)],
        r"Conv2d.* is used by maps 1 and 2 on samples of two shapes, \(4, 4, 1\) and \(2, 2, 1\)"),
    "a selection beyond the end": ([linear(), ml.Select(None, 2, 5), linear(3, 2)],
                                   r"Select\(None, 2, 5\) expects samples of shape .* with T > 4"),
    "a time step of vectors": ([linear(), ml.Named("x"), ml.Select("x", 2), ml.Add("x"), linear()],
                               r"Select\('x', 2\) expects samples"),
    "a transfer first": ([ml.Tanh(), linear()], "the first layer must be a map"),
    "dropout of the input": ([ml.Dropout(0.1), linear()],
                             r"map or a join, got Dropout\(0.1\); .*put Select\(\) before it.*input_shape"),
    "dropout of a named input": ([ml.Named("x"), ml.Dropout(0.1), linear()],
                                 "nobody reads the value named 'x': use the name in a join, or leave it out"),
    "a name last": ([linear(), ml.Named("x")], "the last layer must be a map"),
    "no map": ([ml.Named("x"), ml.Select("x")], "joins learn nothing"),
    "no layer": ([linear(), "x", linear()], r"layers\[1\] must be a map, a join or a transfer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_graphs_are_refused_by_name(name):
    layers, message = WRONG[name]
    images = any(isinstance(layer, ml.Conv2d) for layer in layers)
    with pytest.raises((ValueError, TypeError), match=message):
        ml.Network(layers, input_shape=(4, 4, 1) if images else None)


def test_a_network_that_begins_with_a_join_must_know_its_input():
    with pytest.raises(ValueError, match=r"input_shape is needed, such as \(T, n\)"):
        ml.Network([ml.Named("x"), ml.Select("x", 0), linear()])


@pytest.mark.parametrize("layer", [ml.Flatten(), ml.Dropout(0.1), ml.BatchNorm(4), ml.Tanh()], ids=repr)
def test_a_network_that_begins_with_a_transfer_begins_with_a_selection(layer):
    """What the error says is a way out."""
    net = ml.Network([ml.Select(), layer, linear(4, 2)], input_shape=(4,), dtype=np.float64)
    X = np.random.default_rng(0).standard_normal((6, 4))
    assert net.predict(X).shape == (6,)
    _, directions = ml.ProxProp().direction(net, X, np.array([0, 1, 0, 1, 0, 1]), rng=np.random.default_rng(0))
    assert [d.shape for d in directions] == [p.shape for p in net.parameters]
    assert all(np.isfinite(d).all() and d.any() for d in directions)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ml.Add([]), "Add: sources must hold the name"),
    (lambda: ml.Add(["x", 3]), r"Add: sources\[1\] must be a text, got 3"),
    (lambda: ml.Concat(""), "Concat: sources must be a name"),
    (lambda: ml.Named(" "), "Named: name must be a name"),
    (lambda: ml.Select("x", 3, 3), "Select: stop must be at least 4"),
    (lambda: ml.Select("x", None, 3), "Select: start must be given with stop"),
    (lambda: ml.Zeros(0), "Zeros: n must be at least 1"),
    (lambda: ml.resnet([4, 4, 4, 4]), "resnet: widths must hold"),
    (lambda: ml.resnet([4, 4, 2], input_shape=(6, 6, 1)), r"resnet: input_shape must be \(H, W, 4\)"),
    (lambda: ml.rnn(2, 4, 1, 5, outputs="all"), "rnn: outputs: unknown name 'all'"),
    (lambda: ml.rnn(2, 4, 2, 5, "every"), "must take each output by itself.* got SoftmaxCrossEntropy.., the default"),
    (lambda: ml.rnn(2, 4, 2, 5, "every", loss=ml.OneHotSquaredError()), "got OneHotSquaredError"),
])
def test_wrong_joins_and_networks(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


# ---- what a graph is


def test_a_chain_reads_as_before():
    net = ml.mlp([4, 5, 6, 3])
    assert net.inputs == [(), (0,), (1,), (2,)]
    assert net.owner == [0, 1, 2, 3]
    assert net.maps == [1, 2, 3]
    assert net.names == {}
    assert net.learns == [False, True, True, True]


def test_a_residual_block_by_hand():
    layers = [ml.Linear(3, 4), ml.Tanh(), ml.Named("x"), ml.Linear(4, 4), ml.Add("x"), ml.ReLU(), ml.Linear(4, 2)]
    net = ml.Network(layers, dtype=np.float64)
    assert net.inputs == [(), (0,), (1,), (2, 1), (3,)]
    X = np.random.default_rng(0).standard_normal((5, 3))

    def phi(l, a):
        return a @ net.theta[l][:-1] + net.theta[l][-1]
    x = np.tanh(phi(1, X))
    expected = phi(4, np.maximum(phi(2, x) + x, 0))
    assert np.allclose(net.forward(X).z[4], expected, rtol=1e-14, atol=1e-14)
    assert net.theta[3] is None
    assert len(net.parameters) == 3


def test_a_recurrent_net_by_hand():
    net = ml.rnn(2, 3, 1, 4, "every", loss=ml.SquaredError(), dtype=np.float64)
    X, h, outputs = np.random.default_rng(0).standard_normal((5, 4, 2)), np.zeros((5, 3)), []
    cell, output = net.parameters
    for t in range(4):
        h = np.tanh(np.hstack([X[:, t], h]) @ cell[:-1] + cell[-1])
        outputs.append(h @ output[:-1] + output[-1])
    assert np.allclose(net.predict(X), np.hstack(outputs), rtol=1e-14, atol=1e-14)
    assert cell.shape == (6, 3)


def test_a_shared_map_is_one_parameter():
    cell = linear()
    net = ml.Network([cell, ml.Tanh(), cell, ml.Tanh(), ml.Linear(4, 2)])
    assert len(net.parameters) == 2
    assert net.theta[1] is net.theta[2]
    assert list(net.state_dict()) == ["theta_1", "theta_3"]
    net.theta[2] = np.ones((5, 4), np.float32)
    assert net.theta[1] is net.theta[2]
    assert net.parameters[0] is net.theta[1]
    with pytest.raises(ValueError, match=r"theta\[2\]: .* shares the parameters of map 1"):
        net.theta = [None, net.theta[1], 2 * net.theta[1], net.theta[3]]
    with pytest.raises(ValueError, match=r"theta\[2\]"):
        ml.Network([linear(), ml.Named("x"), ml.Add("x"), linear()]).theta[2] = np.ones((5, 4))


def test_layers_shared_or_not_make_different_networks():
    cell = linear()
    shared, apart = ml.Network([cell, cell, linear(4, 2)]), ml.Network([linear(), linear(), linear(4, 2)])
    assert shared != apart
    with pytest.raises(ValueError, match="expected the arrays"):
        shared.load_state_dict(apart.state_dict())


def test_a_value_goes_on_after_its_name():
    """A transfer after a name acts on a copy: the name keeps the value before it."""
    net = ml.Network([linear(), ml.Named("z"), ml.ReLU(), ml.Add("z"), linear(4, 2)], dtype=np.float64)
    X = np.random.default_rng(0).standard_normal((5, 4))
    state = net.forward(X)
    assert np.array_equal(state.z[3], np.maximum(state.z[1], 0) + state.z[1])


def test_joins_do_not_write_into_what_they_read():
    for seed in range(20):
        case = random_graph(seed)
        case.X.flags.writeable = False
        state = case.net.forward(case.X)
        kept = state.copy()
        ml.ProxProp().directions(case.net, state, case.y)
        assert all(np.array_equal(v, w) for v, w in zip(state.a + state.z[1:], kept.a + kept.z[1:]))


def test_printing_shows_branches_and_who_shares():
    text = str(ml.rnn(2, 3, 1, 2))
    assert "Named('h1')" in text
    assert "Concat('h1')" in text
    assert "those of 4" in text
    assert text.endswith("22 parameters")
    assert str(ml.resnet([4, 6, 6, 6, 2])).count("Add(") == 1


def test_printing_folds_groups_that_repeat_and_no_others():
    lines = str(ml.rnn(2, 4, 1, 50)).splitlines()
    assert len(lines) < 35
    assert sum("⋮ 46 times more" in line for line in lines) == 1  # 49 steps are alike: the first two and the last stand
    assert "Named('h49')" in lines[-8]
    assert "⋮ 8 times more" in ml.mlp([8] + [7] * 12 + [3])._repr_html_()
    widths = list(range(20, 2, -1))
    assert len(str(ml.mlp(widths)).splitlines()) == 2 * len(widths) + 2  # no two maps of one size
    assert "⋮" not in str(ml.mlp([8, 8, 8, 8, 8]))


# ---- files, copies, runs


@each_graph
def test_saving_and_loading(kind, tmp_path):
    case = case_of(GRAPHS[kind](), np.random.default_rng(0))
    case.net.save(tmp_path / "net.npz")
    again = ml.load(tmp_path / "net.npz")
    assert again == case.net
    assert again.owner == case.net.owner
    assert repr(again) == repr(case.net)
    assert np.array_equal(again.predict(case.X), case.net.predict(case.X))


@each_graph
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_share_weights_among_themselves_alone(kind, copied):
    net = GRAPHS[kind]()
    twin = copied(net)
    assert twin == net
    assert twin.owner == net.owner
    for l in range(1, net.depth + 1):
        assert twin.theta[l] is twin.theta[twin.owner[l]]
        assert twin.theta[l] is None or twin.theta[l] is not net.theta[l]
    twin.parameters[0][...] += 1
    assert twin != net


@each_graph
def test_a_stopped_run_goes_on_bit_for_bit(kind, tmp_path):
    X, y = (case := case_of(GRAPHS[kind](), np.random.default_rng(0), 12)).X, case.y
    method, options = ml.LocoProp("M", gamma=0.1, steps=2, local_lr=0.01), {"batch_size": 4, "progress": False}
    start = case.net.state_dict()
    whole, half = GRAPHS[kind](), GRAPHS[kind]()
    for net in (whole, half):
        net.load_state_dict({name: np.array(array) for name, array in start.items()})
    ml.fit(whole, (X, y), method, ml.Nesterov(0.01), epochs=4, **options)
    ml.fit(half, (X, y), method, ml.Nesterov(0.01), epochs=2, checkpoint=tmp_path / "run.npz", **options)
    ml.fit(half, (X, y), method, ml.Nesterov(0.01), epochs=4, resume=tmp_path / "run.npz", **options)
    assert half == whole


@each_graph
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_value_has_the_networks_dtype(kind, dtype):
    net = GRAPHS[kind]()
    settings = net.settings()
    net = ml.Network(settings["layers"], loss=settings["loss"], dtype=dtype, input_shape=settings["input_shape"])
    case = case_of(net, np.random.default_rng(0))
    state = net.forward(case.X)
    assert {value.dtype for value in [*state.a, *state.z[1:]]} == {np.dtype(dtype)}
    for method in (ml.BackProp(), ml.ProxProp(), ml.ProxProp(solver="cg2"), ml.SemiImplicit()):
        assert {d.dtype for d in method.direction(net, case.X, case.y)[1]} == {np.dtype(dtype)}


@each_graph
def test_the_strict_stand_in_for_cupy_gives_the_same(kind, strict_cupy):
    one = GRAPHS[kind]()
    settings = one.settings()
    other = ml.Network(settings["layers"], loss=settings["loss"], dtype=settings["dtype"], backend="cupy",
                       input_shape=settings["input_shape"])
    case = case_of(one, np.random.default_rng(0))
    other.load_state_dict(one.state_dict())
    for method in (ml.BackProp(), ml.ProxProp(), ml.ProxProp(solver="cg2"), ml.SemiImplicit(),
                   ml.LocoProp("M", gamma=0.1, steps=2, local_lr=0.01)):
        method.reset()
        loss, directions = method.direction(one, case.X, case.y)
        method.reset()
        again, same = method.direction(other, case.X, case.y)
        assert again == pytest.approx(loss, rel=1e-12)
        for d, e in zip(directions, same):
            assert np.allclose(d, e.get(), rtol=1e-9, atol=1e-12)


def test_a_run_that_diverges_names_an_array_of_the_network():
    net = ml.rnn(2, 4, 1, 5, loss=ml.SquaredError(), activation="relu")
    X, y = np.ones((10, 5, 2)), np.full((10, 1), 1e3)
    diverged = ml.fit(net, (X, y), ml.BackProp(), ml.SGD(1e38), epochs=20, progress=False).diverged
    assert diverged.layer in [*net.state_dict(), *(f"z_{l}" for l in range(1, net.depth + 1))]
