"""Damaged files and states leave nothing behind: one clear error and all as it was, or what is read is as good as new.

Files are damaged in three ways: in their bytes (a bit, an end, a stretch), in their arrays (one is missing, renamed, of
another shape or type, not finite) and in their JSON (a value is missing, of another type, one level too deep).
"""

import copy
import json
import math
import zipfile

import numpy as np
import pytest
from test_train import Momentum, clouds

import minilift as ml
from minilift.support.files import read_npz
from minilift.training import fit as train
from minilift.training.history import Divergence, EarlyStop, History

MUTANTS = 100  # of each file

# ---- ways to damage


def flip(content, rng):
    at = rng.integers(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.integers(8)]) + content[at + 1:]


def cut(content, rng):
    return content[:rng.integers(len(content))]


def blank(content, rng):
    at = rng.integers(len(content))
    return content[:at] + bytes(min(int(rng.integers(1, 100)), len(content) - at)) + content[at + 100:]


def insert(content, rng):
    at = rng.integers(len(content))
    return content[:at] + rng.bytes(rng.integers(1, 50)) + content[at:]


BYTES = [flip, flip, cut, blank, insert]

ARRAYS = {  # each takes an array and gives one that is not as good
    "one axis more": lambda a: a[None],
    "flat": lambda a: a.reshape(-1) if a.ndim != 1 else a[:, None],
    "a row less": lambda a: a[:-1] if a.ndim else np.zeros(0, a.dtype),
    "empty": lambda a: a.reshape(-1)[:0],
    "text": lambda a: np.full(a.shape, "a word"),
    "complex": lambda a: a + 0j if a.dtype.kind in "if" else a[None],
    "half precision": lambda a: a.astype(np.float16) if a.dtype.kind == "f" else a[None],
    "whole numbers": lambda a: a.astype(np.int64) if a.dtype.kind == "f" else a[None],
    "booleans": lambda a: a != a,
    "a record": lambda a: np.zeros(a.shape, [("x", "f4")]),
    "dates": lambda a: np.zeros(a.shape, "M8[s]"),
    "NaN": lambda a: np.full(a.shape, np.nan, a.dtype if a.dtype.kind == "f" else float),
    "below zero": lambda a: np.full(a.shape, -1) if a.dtype.kind == "i" else a[None],
    "a fraction": lambda a: a + 0.5 if a.dtype.kind == "i" else a[None],
}


def spoil_arrays(arrays, rng):
    """Return the arrays with one of them missing, renamed, added or spoilt."""
    name, kind = list(arrays)[rng.integers(len(arrays))], rng.integers(12)
    rest = {other: array for other, array in arrays.items() if other != name}
    if kind == 0:
        return rest
    if kind == 1:
        return {**rest, f"{name}x": arrays[name]}
    if kind == 2:
        return {**arrays, ("net/theta_9", "method/x", "optimizer/9", "theta_0", "x")[rng.integers(5)]: np.ones(2)}
    return {**rest, name: list(ARRAYS.values())[rng.integers(len(ARRAYS))](arrays[name])}


WRONG_VALUES = [None, True, -1, 1.5, 10**30, "a word", [], {}, math.nan, [[1]], {"a": {}}, [None], "\ud800"]


def spoil_json(value, rng):
    """Return a JSON value with one value in it, at any depth, replaced, missing or added."""
    value = copy.deepcopy(value)
    holder, key = [value], 0
    while isinstance(holder[key], (dict, list)) and len(holder[key]) and (holder[key] is value or rng.random() < 0.8):
        holder = holder[key]
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = keys[rng.integers(len(keys))]
    kind = rng.integers(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder["another"] = 1
    elif kind == 2 and isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[key] = WRONG_VALUES[rng.integers(len(WRONG_VALUES))]
    return value


def spoil_file(path, rng, member):
    """Damage an `.npz` file in one of the ways; `member` holds its JSON; return what has been done.

    A checkpoint is sealed anew afterwards: its checksum alone would refuse all, and what is behind it be tried no more.
    """
    content, kind = path.read_bytes(), rng.integers(4)
    if kind == 0:
        damage = BYTES[rng.integers(len(BYTES))]
        path.write_bytes(damage(content, rng))
        return damage.__name__
    arrays = read_npz(path)
    sealed = arrays.pop("seal", None) is not None
    if kind == 1:
        write_sealed(path, spoil_arrays(arrays, rng), sealed)
        return "arrays"
    if kind == 2:
        spoilt = json.dumps(spoil_json(json.loads(str(arrays[member])), rng))
        write_sealed(path, {**arrays, member: np.array(spoilt.replace("\\ud800", "\\\\ud800"))}, sealed)
        return "json"
    with zipfile.ZipFile(path, "a") as archive:  # a member that is no array
        archive.writestr(("more.npy", "more", "net/more.npy")[rng.integers(3)], rng.bytes(20))
    return "member"


def write_sealed(path, arrays, sealed):
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez(path, **arrays, **({"seal": train.seal(arrays)} if sealed else {}))


# ---- checkpoints


class Halfway(Momentum):
    """A user's method that takes over a part of a state before it notices that the rest is wrong."""

    def load_state_dict(self, values):
        self.epochs = values["epochs"].item()
        for name in values:
            if name != "epochs":
                index = int(name.removeprefix("mean/"))
                self.mean[index] = values[name]

    def check_state(self, net):
        if type(self.epochs) is not int or self.epochs < 0:
            raise RuntimeError("no number of epochs")
        for index, theta in enumerate(net.parameters, 1):
            mean = self.mean[index]
            if (mean.shape, mean.dtype) != (theta.shape, theta.dtype) or not np.isfinite(mean).all():
                raise RuntimeError("not mine")


def plain():
    return ml.mlp([6, 5, 3], activation="tanh", seed=1)


def with_norm():
    return ml.Network([ml.Linear(6, 4), ml.BatchNorm(4), ml.ReLU(), ml.Dropout(0.2), ml.Linear(4, 3)], seed=1)


CASES = {
    "Nesterov, the best kept": lambda: {"net": plain(), "method": ml.ProxProp(0.1), "optimizer": ml.Nesterov(0.1),
                                        "early_stop": EarlyStop(5, restore_best=True), "validation": 0.2},
    "Adam, batch norm": lambda: {"net": with_norm(), "method": ml.BackProp(), "optimizer": ml.Adam(0.01)},
    "LocoProp with RMSProp": lambda: {
        "net": with_norm(), "method": ml.LocoProp("M", 1.0, 2, ml.WarmupLinear(1e-3), "rmsprop"),
        "optimizer": ml.SGD(1.0)},
    "a user's method that fails halfway": lambda: {"net": plain(), "method": Halfway(), "optimizer": ml.SGD(0.1)},
}


class Kept(train.Run):
    """A run that can be looked at afterwards."""

    last = None

    def __init__(self, *arguments):
        super().__init__(*arguments)
        Kept.last = self


def resumed(settings, path):
    return train.fit(data=clouds(60), epochs=2, batch_size=20, progress=False, resume=path, **settings)


def everything(settings):
    """Return a copy of all that a checkpoint changes: of the objects given, and of the run that was tried."""
    run = Kept.last
    return copy.deepcopy({"net": settings["net"].state_dict(), "optimizer": settings["optimizer"].state_dict(),
                          "method": settings["method"].state_dict(), "best": run.best, "steps": run.steps,
                          "rng": run.rng.bit_generator.state, "history": run.history.as_dict(),
                          "told": getattr(settings["method"], "epoch", None)})


def assert_equal(one, other, parts=None):
    for part in other if parts is None else parts:
        np.testing.assert_equal(one[part], other[part], part)  # NaN equals NaN; shapes and values, bit for bit


def in_use(settings, path):
    """Return settings whose network, optimizer and method have been at other work, and all that must stay as it is."""
    used = settings()
    train.fit(data=clouds(60, seed=5), epochs=1, batch_size=20, progress=False, **used)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read"):
        resumed(used, path)
    return used, everything(used)


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_a_damaged_checkpoint_is_refused_and_changes_nothing(settings, tmp_path, monkeypatch):
    path, refused = tmp_path / "run.npz", 0
    train.fit(data=clouds(60), epochs=2, batch_size=20, progress=False, checkpoint=path, **settings())
    content, rng = path.read_bytes(), np.random.default_rng(0)
    monkeypatch.setattr(train, "Run", Kept)
    resumed(whole := settings(), path)
    expected = everything(whole)
    used, before = in_use(settings, path)
    for _ in range(MUTANTS):
        path.write_bytes(content)
        damage = spoil_file(path, rng, "about")
        error = failure(lambda: resumed(used, path))  # noqa: B023 - called at once
        if error is not None:
            assert_clear(error, path)
            assert_equal(everything(used), before)
            refused += 1
        else:  # a number in the JSON that could be the true one, of a loss or of the generator, cannot be told from it
            parts = ("net", "optimizer", "method", "best", "steps") if damage == "json" else tuple(expected)
            assert_equal(everything(used), expected, parts)
            used, before = in_use(settings, path)
    assert refused > 0.75 * MUTANTS


def exchange_maps(arrays):  # of one shape
    return {**arrays, "net/theta_1": arrays["net/theta_2"], "net/theta_2": arrays["net/theta_1"]}


def exchange_map_and_moment(arrays):
    name = next(name for name in arrays if name.startswith("optimizer/") and arrays[name].shape == (7, 6))
    return {**arrays, "net/theta_1": arrays[name], name: arrays["net/theta_1"]}


def change_a_weight(arrays):
    theta = arrays["net/theta_3"].copy()
    theta[0, 0] += 1e-3
    return {**arrays, "net/theta_3": theta}


def tell_another_loss(arrays):
    about = json.loads(str(arrays["about"]))
    about["history"]["columns"]["train_loss"][-1] /= 2
    return {**arrays, "about": np.array(json.dumps(about))}


@pytest.mark.parametrize("change", [exchange_maps, exchange_map_and_moment, change_a_weight, tell_another_loss,
                                    lambda arrays: {name: arrays[name] for name in arrays if name != "seal"}],
                         ids=["two maps", "a map and its moment", "one weight", "a loss", "no checksum"])
def test_a_checkpoint_is_taken_only_as_it_was_written(change, tmp_path):
    path = tmp_path / "run.npz"

    def settings():
        return {"net": ml.mlp([6, 6, 6, 3], activation="tanh", seed=1), "method": ml.BackProp(),
                "optimizer": ml.Nesterov(0.1), "data": clouds(60), "epochs": 1, "progress": False}

    train.fit(checkpoint=path, **settings())
    arrays = read_npz(path)
    np.savez(path, **change(arrays))
    changed = read_npz(path)
    assert any(name not in changed or not np.array_equal(changed[name], arrays[name]) for name in arrays)
    with pytest.raises(ValueError, match=r"run\.npz' is not as it was written"):
        train.fit(resume=path, **{**settings(), "epochs": 2})


def failure(call):
    """Return the exception that a call ends in, or None."""
    try:
        call()
    except Exception as error:
        return error
    return None


def assert_clear(error, path):
    assert type(error) is ValueError
    assert str(path) in str(error)
    raw = {"AttributeError", "IndexError", "AssertionError", "UnboundLocalError"}
    assert not raw & set(str(error).replace(":", " ").split()), str(error)


# ---- networks in files, histories


def test_a_damaged_network_is_refused_or_as_good_as_new(tmp_path):
    path, net, refused, rng = tmp_path / "net.npz", with_norm(), 0, np.random.default_rng(1)
    net.save(path)
    content = path.read_bytes()
    for _ in range(2 * MUTANTS):
        path.write_bytes(content)
        damage = spoil_file(path, rng, "graph")
        error = failure(lambda: ml.load(path))
        if error is not None:
            assert type(error) is ValueError
            assert str(path) in str(error)
            refused += 1
        else:  # another momentum, rate of dropout or initialisation could be the true one
            again = ml.load(path)
            assert damage == "json" or repr(again) == repr(net)
            assert_equal(again.state_dict(), net.state_dict())
    assert refused > 0.75 * 2 * MUTANTS


def test_a_damaged_history_is_refused_or_is_a_history(tmp_path):
    path, history, refused, rng = tmp_path / "history.json", History("a run"), 0, np.random.default_rng(2)
    for epoch in range(3):
        history.append({"epoch": epoch, "train_loss": 1 / 3, "val_loss": math.nan})
    history.diverged = Divergence(3, 7, "theta_1", "theta_1 is not finite")
    history.to_json(path)
    content, value = path.read_bytes(), json.loads(path.read_text(encoding="utf-8"))
    for _ in range(4 * MUTANTS):
        spoilt = [cut(content, rng), insert(content, rng), json.dumps(spoil_json(value, rng)).encode()][rng.integers(3)]
        path.write_bytes(spoilt)
        error = failure(lambda: History.from_json(path))
        if error is not None:
            assert type(error) is ValueError
            assert "history.json: not a history written by minilift" in str(error)
            refused += 1
        else:
            again = History.from_json(path)
            assert again.label + again.status
            assert {len(column) for column in again.columns.values()} <= {len(again)}
            assert all(isinstance(number, (int, float)) for column in again.columns.values() for number in column)
    assert refused > 2 * MUTANTS
    path.write_text("[" * 10**5)
    with pytest.raises(ValueError, match="not a history"):
        History.from_json(path)


# ---- states


def trained(make):
    """Return a thing with a state: a network, an optimizer or a method, after an epoch."""
    net, optimizer, method = with_norm(), ml.SGD(0.1), ml.BackProp()
    thing = make()
    if isinstance(thing, ml.Network):
        net = thing
    elif isinstance(thing, ml.Method):
        method = thing
    else:
        optimizer = thing
    train.fit(net, clouds(60), method=method, optimizer=optimizer, epochs=1, batch_size=20, progress=False)
    return thing


STATES = {"network": with_norm, "SGD": lambda: ml.SGD(0.1), "Nesterov": lambda: ml.Nesterov(0.1),
          "Adam": lambda: ml.Adam(0.1), "RMSProp": lambda: ml.RMSProp(0.01, momentum=0.9),
          "BackProp": ml.BackProp, "LocoProp with RMSProp": lambda: ml.LocoProp("S", 1.0, 2, 1e-3, "rmsprop"),
          "LocoProp with plain steps": lambda: ml.LocoProp("M", 1.0, 2, 1e-3, "sgd"), "Muon": lambda: ml.Muon(0.1),
          "K-FAC": lambda: ml.KFAC(0.1, decay=0.5)}


@pytest.mark.parametrize("make", STATES.values(), ids=STATES)
def test_a_damaged_state_is_refused_and_changes_nothing(make):
    thing, rng = trained(make), np.random.default_rng(3)
    before, refused = copy.deepcopy(thing.state_dict()), 0
    good = {name: np.asarray(value) for name, value in trained(make).state_dict().items()} or {"x": np.ones(2)}
    for _ in range(MUTANTS):
        spoilt = spoil_arrays(good, rng)
        error = failure(lambda: thing.load_state_dict(spoilt))  # noqa: B023 - called at once
        if error is not None:
            assert type(error) in (ValueError, TypeError), error
            assert str(error).startswith(("load_state_dict: ", type(thing).__name__)), error
            assert_equal(thing.state_dict(), before)
            refused += 1
        else:  # taken over, as a whole: another precision of a network, other parameters of an optimizer
            thing = trained(make)
    assert refused > 0.5 * MUTANTS


@pytest.mark.parametrize(("make", "change", "message"), [
    (with_norm, {"theta_2": np.full((5, 3), np.nan)}, r"load_state_dict: theta_2 of Linear\(4, 3\) holds NaN or inf"),
    (with_norm, {"running_1": np.full((2, 4), np.inf)}, r"running_1 of BatchNorm\(4\) holds NaN or inf"),
    (with_norm, {"running_1": -np.ones((2, 4))}, "running_1: the variances of .* must not be negative"),
    (with_norm, {"scale_shift_1": np.ones((4, 2))}, r"BatchNorm\(4\) expects shape \(2, 4\), got \(4, 2\)"),
    (with_norm, {"theta_1": np.full((7, 4), "a")}, "load_state_dict: theta_1: expected numbers, got dtype <U1"),
    (STATES["Adam"], {"Adam/steps": -1}, "Adam/steps must be at least 0, got -1"),
    (STATES["Adam"], {"Adam/epoch": 0.5}, "Adam/epoch must be a whole number, got 0.5"),
    (STATES["Adam"], {"Adam/second_moment/0": -np.ones((7, 4), "f4")}, "Adam/second_moment/0 holds negative numbers"),
    (STATES["Adam"], {"Adam/first_moment/1": np.full((5, 3), np.nan, "f4")}, "Adam/first_moment/1 holds NaN"),
    (STATES["Adam"], {"Adam/first_moment/1": np.ones((5, 4), "f4")}, r"must have the shape .*\(5, 4\), got \(5, 3\)"),
    (STATES["Adam"], {"Adam/first_moment/1": np.ones((5, 3))}, "one dtype with the other buffers, got float64"),
    (STATES["LocoProp with RMSProp"], {"one/steps": 1}, "LocoProp: expected a state with the keys epoch, 1/…, 2/…"),
    (STATES["LocoProp with RMSProp"], {"1/RMSProp/steps": -3}, "RMSProp/steps must be at least 0, got -3"),
])
def test_what_is_wrong_with_a_state_is_said(make, change, message):
    thing = trained(make)
    before = copy.deepcopy(thing.state_dict())
    with pytest.raises((ValueError, TypeError), match=message):
        thing.load_state_dict({**before, **change})
    assert_equal(thing.state_dict(), before)
