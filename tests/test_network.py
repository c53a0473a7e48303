"""The layer graph: grouping, state, parameters, description, saving and loading."""

import copy
import json
import os
import pickle
import stat

import numpy as np
import pytest
from conftest import read_only
from hypothesis import given
from hypothesis import strategies as st
from laws import LOSSES, assert_close, cases, random_case
from transfers import ScaleShift

import minilift as ml
from minilift.layers.activations import Composition


def small(**options):
    return ml.Network([ml.Linear(3, 4), ml.ReLU(), ml.Linear(4, 2)], **options)


# ---- graph

def test_maps_and_transfers_carry_the_papers_indices():
    net = ml.Network([ml.Linear(3, 4), ml.Tanh(), ml.Linear(4, 5), ml.Linear(5, 2)])
    assert net.depth == 3
    assert [phi and phi.n_in for phi in net.phi] == [None, 3, 4, 5]
    assert isinstance(net.sigma[1], ml.Tanh)
    assert isinstance(net.sigma[2], ml.Identity)  # two maps in a row
    assert len(net.sigma) == 3
    assert net.shapes == [(3,), (4,), (4,), (5,), (5,), (2,)]


def test_transfers_in_a_row_are_composed(rng):
    net = ml.Network([ml.Linear(3, 4), ml.Tanh(), ml.Softplus(), ml.Linear(4, 2)], dtype=np.float64)
    assert isinstance(net.sigma[1], Composition)
    X = rng.standard_normal((5, 3))
    state = net.forward(X)
    assert_close("a_1", state.a[1], np.log1p(np.exp(np.tanh(state.z[1]))), 1e-14)
    assert isinstance(net.f[1], ml.Tanh)


@given(cases())
def test_forward_is_the_chain_of_maps_and_transfers(case):
    net, a = case.net, case.X
    state = net.forward(case.X)
    assert np.shares_memory(state.a[0], case.X)  # cast or moved only if need be
    assert [len(values) for values in state] == [net.depth + 1, net.depth + 1, net.depth, net.depth]
    assert state.theta[0] is None
    assert state.z[0] is None
    for l in range(1, net.depth + 1):
        z = a @ net.theta[l][:-1] + net.theta[l][-1]
        assert_close(f"z_{l}", state.z[l], z, 1e-13)
        if l < net.depth:
            a = net.sigma[l].forward(z)
            assert_close(f"a_{l}", state.a[l], a, 1e-12)


@given(cases())
def test_no_method_writes_into_data_parameters_or_values(case):
    """Everything is read-only here, the state's arrays too: a write would raise."""
    state = case.net.forward(case.X)
    for values in (state.z, state.a):
        for array in values[1:]:
            array.flags.writeable = False
    for method in (ml.BackProp(), ml.ProxProp(), ml.ProxProp(solver="cg3"), ml.ProxProp(last="implicit"),
                   ml.ProxProp(solver="cg2", joint=True)):
        first = method.directions(case.net, state, case.y)
        again = method.directions(case.net, state, case.y)
        assert all((x == y).all() for x, y in zip(first, again))


def test_a_state_is_a_value(rng):
    net = small(dtype=np.float64)
    X, y = rng.standard_normal((5, 3)), np.array([0, 1, 0, 1, 1])
    state = net.forward(X)
    kept = state.copy()
    assert state.theta[1] is net.theta[1]
    before = net.theta[1].copy()
    ml.SGD(0.5).step(net.parameters, ml.BackProp().direction(net, X, y)[1])
    assert (kept.theta[1] == before).all()
    assert not (state.theta[1] == before).all()
    assert (state.z[1] == kept.z[1]).all()


def test_other_parameters_for_one_forward_pass(rng):
    net, X = small(dtype=np.float64), rng.standard_normal((5, 3))
    theta = [None, *(p + 1 for p in net.parameters)]
    state = net.forward(X, theta=theta)
    assert_close("z_1", state.z[1], X @ theta[1][:-1] + theta[1][-1], 1e-15)
    net.theta = theta
    assert (net.forward(X).z[2] == state.z[2]).all()


# ---- parameters

def test_theta_may_be_assigned_and_is_cast_to_the_networks_dtype():
    net = small(dtype=np.float32)
    net.theta = [None, np.ones((4, 4)), np.zeros((5, 2))]
    assert [p.dtype for p in net.parameters] == [np.float32] * 2
    assert net.parameters[0] is net.theta[1]
    assert (net.theta[1] == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_assigned_parameters_are_copied_so_that_training_writes_into_nobody_elses(dtype):
    net, other, theta = small(dtype=dtype), small(dtype=dtype), [None, np.ones((4, 4), dtype), np.zeros((5, 2), dtype)]
    net.theta = theta
    other.theta = net.theta
    net.theta[2] = theta[2]
    ml.SGD(1.0).step(net.parameters, [np.ones_like(p) for p in net.parameters])
    assert (theta[1] == 1).all()
    assert (theta[2] == 0).all()
    assert (other.theta[1] == 1).all()


def test_the_seed_decides_and_the_dtype_only_rounds():
    a, b, other = small(seed=3), small(seed=3, dtype=np.float64), small(seed=4)
    for p, q, r in zip(a.parameters, b.parameters, other.parameters):
        assert (p == q.astype(np.float32)).all()
        assert not (p == r).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", [cls() for cls in LOSSES], ids=repr)
def test_all_values_have_the_networks_dtype(dtype, loss, rng):
    net = ml.mlp([3, 4, 5, 2], activation=["tanh", "softplus"], loss=loss, dtype=dtype)
    X = rng.standard_normal((6, 3))
    y = np.array([0, 1] * 3) if loss.classification else rng.uniform(size=(6, 2))
    state = net.forward(X)
    assert {array.dtype for array in [*state.z[1:], *state.a]} == {np.dtype(dtype)}
    for method in (ml.BackProp(), ml.ProxProp(), ml.ProxProp(solver="cg3"), ml.ProxProp(last="implicit")):
        value, directions = method.direction(net, X, y)
        assert type(value) is float
        assert {d.dtype for d in directions} == {np.dtype(dtype)}
    assert net.predict_proba(X).dtype == dtype


@given(st.integers(1, 5), st.integers(1, 30))
def test_float32_directions_are_the_rounded_float64_ones(depth, samples):
    case = random_case(depth, [6] * (depth + 1), samples, ["tanh"] * (depth - 1), ml.SoftmaxCrossEntropy())
    single = ml.Network(case.net.layers, loss=case.net.loss_function, dtype=np.float32)
    single.theta = case.net.theta
    for method in (ml.BackProp(), ml.ProxProp(), ml.ProxProp(solver="cg3")):
        _, exact = method.direction(case.net, case.X, case.y)
        _, rounded = method.direction(single, case.X, case.y)
        for d, e in zip(rounded, exact):
            assert_close(repr(method), d, e, 1e-4)


# ---- what a user asks

def test_loss_accuracy_predictions(rng):
    net = ml.mlp([3, 8, 4], dtype=np.float64)
    X, y = rng.standard_normal((50, 3)), rng.integers(0, 4, 50)
    logits = net.forward(X).z[2]
    assert (net.predict(X) == logits.argmax(axis=1)).all()
    assert net.accuracy(X, y) == np.mean(logits.argmax(axis=1) == y)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert_close("probabilities", net.predict_proba(X), p, 1e-13)
    assert net.loss(X, y) == pytest.approx(-np.log(p[np.arange(50), y]).mean(), rel=1e-13)
    assert net.loss(X.tolist(), y.tolist()) == net.loss(X, y)


class Watched(ml.Activation):
    """The identity, which notes how many rows it is given at most."""

    most = 0

    def forward(self, z):
        Watched.most = max(Watched.most, len(z))
        return z


def test_what_a_network_says_of_many_samples_is_found_in_batches(rng, monkeypatch):
    """Nothing keeps all values of all samples; and it is what `evaluate` says."""
    net = ml.Network([ml.Linear(3, 8), Watched(), ml.Linear(8, 4)], dtype=np.float64)
    X, y = rng.standard_normal((1203, 3)), rng.integers(0, 4, 1203)
    logits = net.forward(X).z[2]
    monkeypatch.setattr(Watched, "most", 0)
    loss, accuracy = ml.evaluate(net, X, y)
    assert net.loss(X, y) == pytest.approx(loss, rel=1e-14)
    assert net.accuracy(X, y) == accuracy
    assert (net.predict(X) == logits.argmax(axis=1)).all()
    assert_close("probabilities", net.predict_proba(X), net.loss_function.proba(logits), 1e-14)
    assert 0 < Watched.most <= 500


class PReLU(ml.Transfer):
    """A layer of a user's with an array of its own."""

    def __init__(self):
        self.slope = np.full(4, 0.1)

    @property
    def parameters(self):
        return [self.slope]


def test_a_layer_whose_parameters_are_not_scale_and_shift_is_refused_by_name():
    with pytest.raises(TypeError, match=r"^Network: layers\[1\]: PReLU\(\) has parameters beside the θ of maps; .*"
                                        "scale_shift"):
        ml.Network([ml.Linear(3, 4), PReLU(), ml.Linear(4, 2)])


def test_a_batch_norm_in_two_places_is_refused_by_name():
    """It would be two, of which a map object in two places is one."""
    norm, cell = ml.BatchNorm(3), ml.Linear(3, 3)
    with pytest.raises(ValueError, match=r"^Network: layers\[4\]: BatchNorm\(3\) stands in layers\[1\] already"):
        ml.Network([cell, norm, ml.Tanh(), cell, norm, ml.Linear(3, 2)])
    net = ml.Network([cell, norm, ml.Tanh(), cell, ml.BatchNorm(3), ml.Linear(3, 2)])
    assert len(net.parameters) == 4
    assert len(ml.Network([ml.Linear(3, 3), norm, ml.Linear(3, 2)]).norms) == 1  # and in another network


def test_mlp_names_all_activations():
    for name in ml.activations.ACTIVATIONS:
        assert f'"{name}"' in ml.mlp.__doc__
        ml.mlp([2, 3, 1], name)


def test_mlp_is_the_same_network_written_shorter():
    short, long = ml.mlp([3, 4, 2], seed=5), small(seed=5)
    assert repr(short) == repr(long)
    assert all((p == q).all() for p, q in zip(short.parameters, long.parameters))
    mixed = ml.mlp([3, 4, 5, 2], activation=["tanh", ml.LeakyReLU(0.2)])
    assert [repr(s) for s in mixed.sigma[1:]] == ["Tanh()", "LeakyReLU(0.2)"]


def test_printing_a_network_shows_its_graph():
    text = str(ml.mlp([64, 128, 10], activation="tanh"))
    for part in ("Linear(64, 128)", "Tanh()", "(N, 128)", "8,320", "1,290", "9,610 parameters",
                 "float32 on numpy", "SoftmaxCrossEntropy()"):
        assert part in text
    assert repr(small()) == ("Network([Linear(3, 4), ReLU(), Linear(4, 2)], loss=SoftmaxCrossEntropy(), "
                             "dtype=float32)")


# ---- saving and loading

@given(cases())
def test_a_saved_network_comes_back_bit_for_bit(tmp_path_factory, case):
    path = tmp_path_factory.mktemp("net") / "net.npz"
    case.net.save(path)
    net = ml.load(path)
    assert repr(net) == repr(case.net)
    assert net.dtype == case.net.dtype
    assert all((p == q).all() for p, q in zip(net.parameters, case.net.parameters))
    assert net.loss(case.X, case.y) == case.net.loss(case.X, case.y)


def test_arguments_of_layers_are_saved(tmp_path):
    net = ml.Network([ml.Linear(3, 4, init="he"), ml.LeakyReLU(0.25), ml.Linear(4, 2, init=0.5)],
                     loss=ml.SquaredError("sum"))
    net.save(tmp_path / "net.npz")
    again = ml.load(tmp_path / "net.npz")
    assert again.layers[0].init == "he"
    assert again.layers[1].slope == 0.25
    assert again.layers[2].init == 0.5
    assert again.loss_function.reduction == "sum"


class Sine(ml.Activation):
    """A user's layer."""

    def __init__(self, frequency=1.0):
        self.frequency = frequency

    def forward(self, z):
        return np.sin(self.frequency * z)

    def derivative(self, z):
        return self.frequency * np.cos(self.frequency * z)


def test_a_users_layer_is_named_when_loading(tmp_path):
    net = ml.Network([ml.Linear(3, 4), Sine(2.0), ml.Linear(4, 2)])
    net.save(tmp_path / "net.npz")
    assert ml.load(tmp_path / "net.npz", layers=[Sine]).layers[1].frequency == 2.0
    with pytest.raises(ValueError, match="unknown name 'Sine'"):
        ml.load(tmp_path / "net.npz")


def test_saving_replaces_a_file_at_once_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "net.npz"
    small(seed=1).save(path)
    small(seed=2).save(path)
    assert os.listdir(tmp_path) == ["net.npz"]
    assert (ml.load(path).theta[1] == small(seed=2).theta[1]).all()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask  # as any file that the user writes


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    small(seed=1).save(path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")
    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        small(seed=2).save(path)
    assert os.listdir(tmp_path) == ["net.npz"]
    assert path.read_bytes() == before


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_damaged_file_is_an_error_or_does_no_harm(tmp_path_factory, position, bit):
    """One bit flipped: one clear error, or the same network (the bit was in a part that nothing reads)."""
    path = tmp_path_factory.mktemp("net") / "net.npz"
    net = small(seed=1)
    net.save(path)
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        again = ml.load(path)
    except ValueError as error:
        again = error
    if isinstance(again, ValueError):
        assert str(path) in str(again)
    else:
        assert repr(again) == repr(net)
        assert all((p == q).all() for p, q in zip(again.parameters, net.parameters))


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_an_error(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("net") / "net.npz"
    small().save(path)
    content = path.read_bytes()
    path.write_bytes(content[:int(share * len(content))])
    with pytest.raises(ValueError, match=r"net\.npz: cannot be read as \.npz, the file is damaged"):
        ml.load(path)


def write(path, graph, **arrays):
    np.savez(path, graph=np.array(graph if isinstance(graph, str) else json.dumps(graph)), **arrays)


def described(**changes):
    """Return a good description of Linear(3, 2) with squared error, changed."""
    return {"layers": [["Linear", {"n_in": 3, "n_out": 2}]], "loss": ["SquaredError", {}], "dtype": "float32",
            "input_shape": [3], "input_layout": "channels_last", **changes}


@pytest.mark.parametrize(("graph", "message"), [
    ("{", "damaged"),
    ("[]", "damaged"),
    ({"layers": []}, "damaged"),
    (described(layers=[["Linear", {"n_in": 3}]]), "'n_out' is missing"),
    (described(layers=[["Linear", {"n_in": 3, "n_out": 2, "rows": 1}]]), "there is no argument 'rows'"),
    (described(layers=[["Liner", {"n_in": 3, "n_out": 2}]]), "did you mean 'Linear'"),
    (described(layers=[["Gram", {"a": 3}]]), "unknown name 'Gram'"),
    (described(dtype="float16"), "dtype: unknown name 'float16'"),
    (described(input_shape=[4]), r"expects samples of shape \(3,\), got \(4,\)"),
    (described(), r"expected the arrays \['theta_1'\], got \[\]"),
])
def test_a_file_whose_description_makes_no_sense(tmp_path, graph, message):
    write(tmp_path / "net.npz", graph)
    with pytest.raises(ValueError, match=rf"net\.npz.*{message}"):
        ml.load(tmp_path / "net.npz")


def test_no_pickle_is_loaded(tmp_path, capsys):
    class Bomb:
        def __reduce__(self):
            return (print, ("loaded",))
    np.savez(tmp_path / "net.npz", graph=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match=r"net\.npz: an array in it holds objects of Python"):
        ml.load(tmp_path / "net.npz")
    assert "loaded" not in capsys.readouterr().out


def test_state_dict_goes_from_one_network_to_another():
    source, target = small(seed=1), small(seed=2)
    state = source.state_dict()
    assert sorted(state) == ["theta_1", "theta_2"]
    target.load_state_dict(state)
    assert all((p == q).all() for p, q in zip(source.parameters, target.parameters))
    source.theta[1][:] = 0
    assert target.theta[1].any()  # the two share nothing
    assert not read_only(source.theta[1]).any()


def test_a_state_dict_keeps_its_moment(rng):
    net = ml.Network([ml.Linear(3, 4), ml.BatchNorm(4), ml.Linear(4, 2)])
    state = net.state_dict()
    before = {name: array.copy() for name, array in state.items()}
    _, directions = ml.BackProp().direction(net, rng.random((5, 3)), rng.integers(0, 2, 5), commit=True)
    ml.SGD(1.0).step(net.parameters, directions)
    assert all(np.array_equal(array, before[name]) for name, array in state.items())
    assert not any(np.array_equal(array, before[name]) for name, array in net.state_dict().items())


@pytest.mark.parametrize("change", [
    lambda theta: theta.append(np.zeros(3)), lambda theta: theta.extend([np.zeros(3)]), lambda theta: theta.pop(),
    lambda theta: theta.insert(0, None), lambda theta: theta.clear(), lambda theta: theta.reverse(),
    lambda theta: theta.__iadd__([np.zeros(3)]), lambda theta: theta.__imul__(2), lambda theta: theta.__delitem__(1)])
def test_nothing_is_added_to_theta_or_taken_from_it(change):
    net = ml.mlp([4, 8, 2])
    before = copy.deepcopy(net)
    with pytest.raises(TypeError, match=r"net\.theta\[1\] = …"):
        change(net.theta)
    assert net == before
    assert len(net.theta) == 3


def test_an_entry_of_parameters_is_not_assigned_in_vain():
    net = ml.mlp([4, 8, 2])
    with pytest.raises(TypeError, match=r"net\.parameters\[0\]\[:\] = …"):
        net.parameters[0] = np.zeros((5, 8))
    net.parameters[0][:] = 0
    assert not net.theta[1].any()


def test_copies_of_the_lists_of_parameters_are_their_own():
    net = ml.mlp([4, 8, 2])
    for copied in (copy.deepcopy(net.theta)[1], copy.deepcopy(net.parameters)[0], net.parameters.copy()[0].copy()):
        copied[:] = 0
        assert net.theta[1].any()


def test_a_network_with_nan_is_not_saved(tmp_path):
    """Such a file could not be loaded again."""
    net = ml.mlp([2, 3, 2])
    net.save(tmp_path / "net.npz")
    saved = (tmp_path / "net.npz").read_bytes()
    net.theta[2][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"Network\.save: theta_2 holds NaN or inf"):
        net.save(tmp_path / "net.npz")
    assert (tmp_path / "net.npz").read_bytes() == saved


@pytest.mark.parametrize(("size", "channels"), [(1, (4, 4)), (2, (4, 4, 4)), (7, (4, 4, 4, 4))])
def test_a_convnet_says_that_images_are_too_small(size, channels):
    least = 2 ** (len(channels) - 1)
    with pytest.raises(ValueError, match=rf"convnet: input_shape=\({size}, 9, 1\) .* {least} pixels"):
        ml.convnet((size, 9, 1), channels)


@pytest.mark.parametrize("change", [
    lambda net: net.layers.__setitem__(1, ml.Tanh()), lambda net: net.layers.append(ml.Linear(2, 2)),
    lambda net: setattr(net, "layers", [ml.Linear(3, 2)]), lambda net: setattr(net, "loss_function", ml.SquaredError()),
    lambda net: setattr(net, "loss", ml.SquaredError()), lambda net: setattr(net, "dtype", np.float64),
    lambda net: setattr(net, "backend", "cupy")])
@pytest.mark.parametrize("again", [lambda net: net, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_what_a_network_is_wired_with_is_not_exchanged(change, again):
    """A layer put into the list never ran, but was written to the file; another loss left LocoProp-M its transfer."""
    net = again(ml.mlp([3, 4, 2]))
    with pytest.raises((TypeError, AttributeError), match=r"make another, Network\(\[…\], loss=…\)"):
        change(net)
    assert net == ml.mlp([3, 4, 2])


def test_an_even_kernel_is_refused_in_the_terms_of_convnet():
    """It was told to give the padding, which is no argument of `convnet`."""
    with pytest.raises(ValueError, match="convnet: kernel must be odd, got 4"):
        ml.convnet((8, 8, 1), kernel=4)


def test_load_tells_a_checkpoint(tmp_path):
    data, path = ml.datasets.moons(40), tmp_path / "run.npz"
    ml.fit(ml.mlp([2, 3, 2]), data, "backprop", "sgd:lr=1", epochs=1, checkpoint=path, progress=False)
    with pytest.raises(ValueError, match=r"a checkpoint, which fit\(…, resume=…\) continues"):
        ml.load(path)


def test_loading_says_where_a_class_of_ones_own_goes(tmp_path):
    class Mine(ml.Tanh):
        pass
    ml.mlp([2, 3, 2], activation=Mine()).save(tmp_path / "net.npz")
    with pytest.raises(ValueError, match=r"unknown name 'Mine'.*classes of your own go into layers=\[…\]"):
        ml.load(tmp_path / "net.npz")


def test_of_a_text_that_is_no_npz_no_unsafe_loading_is_advised(tmp_path):
    (tmp_path / "net.npz").write_text("hello")
    with pytest.raises(ValueError, match=r"another kind$"):
        ml.load(tmp_path / "net.npz")


def test_what_float32_cannot_hold_is_told_with_the_dtype():
    with pytest.raises(ValueError, match="NaN or inf in float32"):
        ml.mlp([2, 2]).predict([[1e200, 0.0]])


def test_targets_of_one_column_are_told_the_missing_axis():
    with pytest.raises(ValueError, match=r"shape \(5, 1\), got \(5,\); y\[:, None\] has it"):
        ml.mlp([2, 1], loss=ml.SquaredError()).loss(np.zeros((5, 2)), np.zeros(5))


# ---- parameters of other layers, and what is assigned

def test_a_network_with_a_users_parameters_is_loaded_as_it_was_saved(tmp_path):
    net = ml.Network([ml.Linear(4, 6), ScaleShift(6), ml.Linear(6, 3)])
    net.layers[1].scale_shift[...] = 0.5
    assert net.dtype == np.float32
    net.save(tmp_path / "net.npz")
    assert ml.load(tmp_path / "net.npz", layers=[ScaleShift]) == net


class Scaled(ml.Linear):
    """A map with parameters beside its θ, for which no method has steps."""

    def __init__(self, n_in, n_out):
        super().__init__(n_in, n_out)
        self.scale_shift = np.ones((2, n_out))

    @property
    def parameters(self):
        return [self.scale_shift]


def test_a_map_with_parameters_beside_its_theta_is_refused_by_name():
    with pytest.raises(TypeError, match=r"^Network: layers\[1\]: Scaled.*one array of a transfer"):
        ml.Network([ml.Linear(3, 3), Scaled(3, 3)])


def test_shared_parameters_are_cast_before_they_are_compared():
    wide, net = (ml.rnn(2, 3, 2, steps=3, dtype=dtype, seed=1) for dtype in (np.float64, np.float32))
    net.theta = wide.theta
    for mine, theirs in zip(net.parameters, wide.parameters):
        np.testing.assert_array_equal(mine, theirs.astype(np.float32))


@pytest.mark.parametrize("theta", [0.5, [1.0, 2.0], np.float64(3)])
def test_a_join_takes_no_parameters(theta):
    net = ml.resnet([4, 3, 3, 3, 2])
    join = next(l for l in range(1, net.depth) if net.phi[l].kind == "join")
    with pytest.raises(ValueError, match=rf"^theta\[{join}\]: "):
        net.theta[join] = theta
    assert net.theta[join] is None


def test_a_wide_resnet_without_images_needs_no_memory_for_filters(monkeypatch):
    """Of nine numbers for each pair of units, which is what filters of images have, Linear maps need one."""
    from minilift import models
    asked = []
    monkeypatch.setattr(models, "fits_in_memory", lambda what, size: asked.append(size))
    for shape in (None, (4, 4, 3)):
        ml.resnet([3, 6, 6], input_shape=shape)
    assert asked == [8 * (4 * 6 + 7 * 6), 8 * (28 * 6 + 55 * 6)]
