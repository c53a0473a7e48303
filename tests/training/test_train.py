"""`fit`: what it records, how it ends, and that an interrupted run continues bit for bit."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minilift as ml
from minilift.training import fit as train
from minilift.training.fit import evaluate, fit
from minilift.training.history import Divergence, EarlyStop, History

ROOT = Path(__file__).resolve().parent.parent.parent


def clouds(samples=230, seed=0):
    """Return three overlapping Gaussian clouds in six dimensions, read-only."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, samples)
    X = (rng.standard_normal((samples, 6)) + 1.5 * np.eye(3, 6)[y]).astype(np.float32)
    X.flags.writeable = y.flags.writeable = False
    return X, y


def small_net(seed=0, **options):
    return ml.mlp([6, 8, 5, 3], activation="tanh", seed=seed, **options)


def run(net=None, data=None, **options):
    """Fit with short, quiet defaults."""
    settings = {"method": ml.BackProp(), "optimizer": ml.SGD(0.3), "epochs": 4, "batch_size": 50,
                "progress": False, **options}
    return fit(small_net() if net is None else net, clouds() if data is None else data, **settings)


def assert_same(history, other):
    """Assert that two histories agree bit for bit in everything but the time."""
    assert list(history.columns) == list(other.columns)
    for name in history.columns:
        if name != "seconds":
            np.testing.assert_array_equal(history[name], other[name])


def assert_same_parameters(net, other):
    for a, b in zip(net.parameters, other.parameters):
        np.testing.assert_array_equal(a, b)


class Momentum(ml.Method):
    """A stateful method for these tests: the running mean of gradients, and the epoch it was told."""

    def __init__(self):
        self.reset()

    def __repr__(self):
        return "Momentum()"

    def reset(self):
        self.mean, self.epochs = {}, 0

    def start_epoch(self, epoch):
        self.epochs += epoch + 1

    def propose(self, block):
        gradient = block.phi.adjoint_theta(block.a, block.g)
        self.mean[block.l] = gradient / 2 + self.mean.get(block.l, 0 * gradient) / 2
        return self.mean[block.l] / (1 + self.epochs)

    def state_dict(self):
        return {"epochs": self.epochs, **{f"mean/{index}": mean for index, mean in self.mean.items()}}

    def load_state_dict(self, values):
        self.epochs = int(values.pop("epochs"))
        self.mean = {int(name.split("/")[1]): value for name, value in values.items()}


# ---- what a run is


def test_a_run_is_the_loop_that_one_would_write_by_hand():
    X, y = clouds()
    net, by_hand = small_net(), small_net()
    history = run(net, (X, y), optimizer=ml.Nesterov(0.1, 0.9), epochs=2, seed=7)
    rng = np.random.default_rng(np.random.SeedSequence(7).spawn(2)[1])
    optimizer, losses = ml.Nesterov(0.1, 0.9), []
    for _ in range(2):
        order = rng.permutation(len(X))
        for batch in [order[k:k + 50] for k in range(0, len(X), 50)]:  # the last one is shorter
            loss, directions = ml.BackProp().direction(by_hand, X[batch], y[batch])
            optimizer.step(by_hand.parameters, directions)
            losses.append(loss)
    assert_same_parameters(net, by_hand)
    assert len(losses) == 10
    np.testing.assert_allclose(history["batch_loss"], [math.nan, np.mean(losses[:5]), np.mean(losses[5:])])


def test_the_history_holds_what_the_network_says_after_each_epoch():
    (X, y), validation, net, seen = clouds(), clouds(90, seed=1), small_net(), []

    def look(row, net, history):
        seen.append((net.loss(X, y), net.accuracy(X, y), net.loss(*validation), net.accuracy(*validation)))
        assert row == {name: column[-1] for name, column in history.columns.items()}

    history = run(net, (X, y), validation=validation, callbacks=look)
    assert history["epoch"] == [0, 1, 2, 3, 4]
    recorded = zip(*(history[name] for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")))
    np.testing.assert_allclose(list(recorded), seen, rtol=1e-6)
    assert history["train_loss"][-1] < history["train_loss"][0] / 1.5
    assert history["train_accuracy"][-1] > 0.7
    assert history["seconds"][0] == 0
    assert np.all(np.diff(history["seconds"]) > 0)
    assert history.diverged is None
    assert history.stopped is None
    assert not history.above_start
    assert history.status == "completed"


def test_seconds_leave_out_callbacks(monkeypatch):
    """By a clock that goes on at each look, and by a thousand seconds in each callback."""
    now = [0.0]

    def clock():
        now[0] += 1
        return now[0]

    def wait(row, net, history):
        now[0] += 1000
    monkeypatch.setattr(time, "perf_counter", clock)
    history = run(callbacks=wait, epochs=3)
    assert 0 < history["seconds"][-1] < 1000


def test_losses_without_labels_have_no_accuracy():
    X, _ = clouds()
    history = run(ml.mlp([6, 4, 6], loss=ml.SquaredError()), (X, X), optimizer=ml.SGD(0.01), validation=0.2)
    assert list(history.columns) == ["epoch", "seconds", "batch_loss", "train_loss", "val_loss"]
    assert history["train_loss"][-1] < history["train_loss"][0]


def test_one_seed_one_run():
    nets = [small_net(), small_net(), small_net()]
    histories = [run(net, seed=seed) for net, seed in zip(nets, (3, 3, 4))]
    assert_same(histories[0], histories[1])
    assert_same_parameters(nets[0], nets[1])
    assert histories[2]["batch_loss"][1:] != histories[0]["batch_loss"][1:]


def test_all_methods_see_the_same_batches():
    def batches_of(method):
        seen = []

        def propose(block):
            if block.l == 1:
                seen.append(np.array(block.a))
            return method.propose(block)

        run(method=propose, seed=5)
        return seen

    for a, b in zip(batches_of(ml.BackProp()), batches_of(ml.ProxProp(0.1))):
        np.testing.assert_array_equal(a, b)


def test_a_second_fit_starts_anew():
    method, optimizer = Momentum(), ml.Nesterov(0.1)
    first, second = [run(method=method, optimizer=optimizer) for _ in range(2)]
    assert_same(first, second)


def test_method_and_schedule_are_told_the_epochs_from_zero():
    told, asked = [], []
    method = ml.BackProp()
    method.start_epoch = told.append

    def rate(epoch):
        asked.append(epoch)
        return 0.0 if epoch == 0 else 0.1

    history = run(method=method, optimizer=ml.SGD(rate), epochs=3)
    assert told == [0, 1, 2]
    assert asked == [0] * 5 + [1] * 5 + [2] * 5
    assert history["train_loss"][0] == history["train_loss"][1] != history["train_loss"][2]


def test_commit_follows_every_training_pass():
    net, committed = small_net(), []
    net.commit = lambda state: committed.append(len(state.a[0]))
    run(net, epochs=2)
    assert committed == [50, 50, 50, 50, 30] * 2


def test_data_are_left_alone_and_cast_once():
    X, y = clouds()
    wide, kept = X.astype(np.float64), X.copy()
    wide.flags.writeable = False
    nets = [small_net(), small_net()]
    assert_same(run(nets[0], (wide, y)), run(nets[1], (X, y)))
    np.testing.assert_array_equal(X, kept)


def test_of_a_data_set_the_test_part_is_not_looked_at():
    (X, y), poison = clouds(), SimpleNamespace()
    data = SimpleNamespace(X_train=X, y_train=y, X_test=poison, y_test=poison)
    assert_same(run(data=data, validation=0.1), run(data=(X, y), validation=0.1))


def test_a_fraction_is_split_off_by_seed_and_not_trained_on(monkeypatch):
    X, y = clouds()
    X = X.copy()
    X[:, 0] = np.arange(len(X))  # a mark for each sample
    trained, validated = set(), set()

    def propose(block):
        if block.l == 1:
            trained.update(block.a[:, 0].tolist())
        return 0 * block.theta

    measure = train.measure
    sets = []
    monkeypatch.setattr(train, "measure", lambda net, X, *rest: sets.append(X) or measure(net, X, *rest))
    run(data=(X, y), method=propose, validation=0.3, epochs=1)
    validated.update(sets[1][:, 0].tolist())
    assert len(validated) == 69
    assert trained == set(range(230)) - validated
    run(data=(X, y), method=propose, validation=0.3, epochs=0)
    np.testing.assert_array_equal(sets[-1], sets[1])
    run(data=(X, y), method=propose, validation=0.3, epochs=0, seed=1)
    assert set(sets[-1][:, 0].tolist()) != validated


def test_a_batch_larger_than_the_data_is_the_whole_set():
    assert_same(run(batch_size=230), run(batch_size=1000))


def test_no_epochs_give_one_row():
    net, untouched = small_net(), small_net()
    assert len(run(net, epochs=0)) == 1
    assert_same_parameters(net, untouched)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("batch_size", [1, 64, 230, 1000])
def test_evaluation_in_batches_is_evaluation(reduction, batch_size):
    X, y = clouds()
    net = small_net(loss=ml.SoftmaxCrossEntropy(reduction))
    loss, accuracy = evaluate(net, X, y, batch_size)
    assert loss == pytest.approx(net.loss(X, y), rel=1e-6)
    assert accuracy == pytest.approx(net.accuracy(X, y))
    assert evaluate(ml.mlp([6, 6], loss=ml.SquaredError()), X, X)[1] is None


def test_the_same_on_the_other_backend(device, tmp_path):
    nets = [small_net(backend=backend, dtype=np.float64) for backend in ("numpy", "cupy")]
    options = {"optimizer": ml.Adam(0.02), "validation": 0.2, "early_stop": EarlyStop(3, restore_best=True)}
    histories = [run(net, checkpoint=tmp_path / f"{net.backend}.npz", **options) for net in nets]
    np.testing.assert_allclose(histories[0]["val_loss"], histories[1]["val_loss"], rtol=1e-10)
    for name, array in nets[0].state_dict().items():
        np.testing.assert_allclose(array, nets[1].state_dict()[name], rtol=1e-8, atol=1e-12)
    other = small_net(backend="cupy", dtype=np.float64)
    resumed = run(other, epochs=6, resume=tmp_path / "cupy.npz", **options)
    whole = run(small_net(backend="cupy", dtype=np.float64), epochs=6, **options)
    np.testing.assert_allclose(resumed["train_loss"], whole["train_loss"], rtol=1e-12)


# ---- progress


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ipywidgets") is not None, reason="needs an installation without ipywidgets")
def test_a_notebook_without_widgets_shows_the_bar_and_no_warning():
    """That is what the extra "tutorials" installs; tqdm would ask for ipywidgets."""
    nbclient, v4 = pytest.importorskip("nbclient"), pytest.importorskip("nbformat.v4")
    source = ("import minilift as ml\nml.fit(ml.mlp([64, 10]), ml.datasets.digits(), 'backprop', 'sgd:lr=1', epochs=1, "
              "progress='the bar').plot()")
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    *told, shown = notebook.cells[0].outputs
    assert "image/png" in shown.data
    said = "".join(output.text for output in told)
    assert "the bar: 100%" in said
    assert "Warning" not in said


def test_progress_is_quiet_or_shows_loss_and_accuracy(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # tqdm cuts its bar at the width that these name, and readline sets them to
    monkeypatch.setenv("LINES", "50")     # those of the terminal, or to 80 and 24
    run(progress=False)
    assert capfd.readouterr() == ("", "")
    history = run(progress="the description")
    out, err = capfd.readouterr()
    assert out == ""
    assert "the description: 100%" in err
    assert f"train loss {history['train_loss'][-1]:.4g}, " in err
    assert f"train accuracy {history['train_accuracy'][-1]:.4g}" in err
    run(progress=True)
    assert "BackProp(): 100%" in capfd.readouterr().err
    history = run(progress=True, optimizer=ml.SGD(1e40))
    assert str(history.diverged) in capfd.readouterr().err


def test_the_bar_of_a_resumed_run_goes_on():
    history = History()
    for epoch in range(3):
        history.append({"epoch": epoch})
    with train.progress_bar(True, history, 4, 5) as bar:
        assert (bar.n, bar.total) == (10, 20)


# ---- divergence


def test_divergence_of_the_loss_is_a_result(recwarn):
    X, _ = clouds()
    history = run(ml.mlp([6, 4, 6], loss=ml.SquaredError()), (X, X), optimizer=ml.SGD(100.0), epochs=50)
    diverged = history.diverged
    assert isinstance(diverged, Divergence)
    assert diverged.epoch == len(history)  # the epoch under way has no row
    assert (diverged.epoch - 1) * 5 <= diverged.step <= diverged.epoch * 5
    assert diverged.layer in ("theta_1", "theta_2", "z_1", "z_2")
    when = f"diverged in epoch {diverged.epoch} after {diverged.step} steps"
    assert history.status == str(diverged) == f"{when}: {diverged.reason}"
    assert not recwarn.list


@pytest.mark.parametrize("method", ["backprop", "mac"])
def test_errors_that_a_user_asks_of_numpy_are_no_divergence(method):
    """An exponential that underflows is 0, as it should be; MAC was said to have diverged."""
    def train():
        net = ml.mlp([2, 3, 2], "tanh")
        net.theta[1], net.theta[2] = 100 * net.theta[1], 1000 * net.theta[2]
        return ml.fit(net, ml.datasets.moons(40), method, "sgd:lr=0.01", epochs=2, progress=False)["train_loss"]

    expected = train()
    with np.errstate(all="raise"):
        assert train() == expected


def test_divergence_names_the_layer_and_the_step():
    calls = []

    def propose(block):
        step = 0 * block.theta
        calls.append(block.l)
        if block.l == 2 and len(calls) == 3 * 7 - 1:  # in the seventh step, the second of epoch 2
            step[-1, 0] = np.nan
        return step

    history = run(method=propose)
    reason = "the loss of a batch is nan, theta_2 is not finite"
    assert history.diverged == Divergence(2, 7, "theta_2", reason)
    assert len(history) == 2


def test_a_parameter_that_the_loss_does_not_show_is_found_at_the_end_of_the_epoch():
    net = ml.mlp([6, 4, 3], activation="relu")

    def kill_a_unit(block):  # a bias of −inf switches a ReLU off: the loss stays finite
        step = 0 * block.theta
        if block.l == 1:
            step[-1, 0] = np.inf
        return step

    history = run(net, method=kill_a_unit, optimizer=ml.SGD(1.0))
    assert history.diverged == Divergence(1, 5, "theta_1", "theta_1 is not finite")


def test_a_local_problem_without_solution_is_divergence():
    def propose(block):
        raise ArithmeticError("the matrix is not positive definite")

    history = run(method=propose)
    assert history.diverged.step == 0
    assert "propose" in history.status
    assert "not positive definite" in history.status


@pytest.mark.parametrize("method", [ml.ADMM(), ml.BCD(), ml.PredictiveCoding(rate=3.0)], ids=repr)
def test_an_energy_that_overflows_is_no_warning(method, recwarn):
    """`measure` asks for the energy of what diverges, after the epoch."""
    history = run(method=method, optimizer=ml.SGD(1e3), batch_size=None, epochs=20)
    assert "diverged in epoch" in history.status
    assert not recwarn


def test_a_finite_loss_above_the_start_is_kept_and_marked():
    history = run(method=lambda block: -block.phi.adjoint_theta(block.a, block.g), epochs=3)
    assert len(history) == 4
    assert history.diverged is None
    assert history.above_start
    assert history.status == "ended above the starting loss"
    assert "ended above the starting loss" in repr(history)


def nan_in_the_third_epoch():
    """Return a method that is backpropagation for two epochs of three maps and five batches."""
    steps = []

    def propose(block):
        steps.append(block.l)
        return block.phi.adjoint_theta(block.a, block.g) * (np.float32(np.nan) if len(steps) > 30 else 1)

    return propose


def test_divergence_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "run.npz"
    history = run(method=nan_in_the_third_epoch(), checkpoint=path)
    assert history.diverged is not None
    with np.load(path, allow_pickle=False) as file:
        assert all(np.isfinite(file[name]).all() for name in file.files if name.startswith("net/"))


def test_the_best_parameters_come_back_after_divergence_too():
    kept, net = [], small_net()
    history = run(net, method=nan_in_the_third_epoch(), early_stop=EarlyStop(9, restore_best=True),
                  callbacks=lambda row, net, history: kept.append(net.state_dict()))
    assert history.diverged is not None
    assert np.argmin(history["train_loss"]) == 2
    assert all(np.array_equal(array, kept[-1][name]) for name, array in net.state_dict().items())


# ---- ends


def test_a_callback_that_returns_true_stops():
    def enough(row, net, history):
        return np.bool_(row["epoch"] == 2)

    history = run(callbacks=[lambda row, net, history: "a figure", enough])
    assert len(history) == 3
    assert history.stopped == history.status == "stopped by callback enough in epoch 2"
    assert len(run(callbacks=lambda *_: True)) == 1


def test_all_callbacks_are_called_whoever_stops_and_each_with_a_row_of_its_own():
    epochs = []
    run(callbacks=[lambda row, net, history: row.clear() is None, lambda row, *_: epochs.append(row["epoch"])])
    assert epochs == [0]


def test_a_wrong_progress_is_told_before_anything_is_done():
    heard = []
    with pytest.raises(TypeError, match="fit: progress must be True, False or a description, got 1"):
        run(progress=1, callbacks=lambda *row: heard.append(row))
    assert not heard


def wobble(losses):
    """Return a network, data and a method with which the training loss takes given values in turn."""
    X, y = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)
    net = ml.mlp([1, 1], loss=ml.SquaredError())
    net.theta = [None, np.array([[0], [np.sqrt(2 * losses[0])]], np.float32)]
    shifts = iter(-np.diff(np.sqrt(2 * np.array(losses, np.float32))))
    return net, (X, y), lambda block: np.array([[0], [next(shifts)]], np.float32)


def test_early_stop_waits_for_its_patience_and_restores_the_best():
    losses = [9, 4, 5, 1, 2, 3, 2, 8, 0.1, 0.1]
    net, data, method = wobble(losses)
    settings = {"method": method, "optimizer": ml.SGD(1.0), "epochs": 9}
    history = run(net, data, early_stop=EarlyStop(patience=4, restore_best=True), **settings)
    np.testing.assert_allclose(history["train_loss"], losses[:8], rtol=1e-5)
    assert history.stopped == "early stop: train_loss is lowest in epoch 3, 4 epochs ago"
    assert net.loss(*data) == pytest.approx(1.0, rel=1e-5)
    net, data, method = wobble(losses)
    history = run(net, data, early_stop=EarlyStop(patience=4), **{**settings, "method": method})
    assert net.loss(*data) == pytest.approx(8.0, rel=1e-5)
    net, data, method = wobble(losses)
    history = run(net, data, early_stop=EarlyStop(patience=5), **{**settings, "method": method})
    assert (len(history), history.stopped) == (10, None)


def test_early_stop_watches_the_validation_loss_if_there_is_one():
    stop = EarlyStop(patience=2)
    history = History()
    for train_loss, val_loss in [(4, math.nan), (3, 3), (2, math.nan), (1, 4)]:
        history.append({"epoch": len(history), "train_loss": train_loss, "val_loss": val_loss})
    assert stop.reason(history) == "early stop: val_loss is lowest in epoch 1, 2 epochs ago"
    assert EarlyStop(2, monitor="train_loss").reason(history) is None


# ---- checkpoints


def norm_and_dropout():
    layers = [ml.Linear(6, 8), ml.BatchNorm(8), ml.ReLU(), ml.Dropout(0.3), ml.Linear(8, 3)]
    return ml.Network(layers, seed=0)


RUNS = {
    "nesterov": lambda: {"optimizer": ml.Nesterov(0.1, 0.9)},
    "adam and a validation split": lambda: {"optimizer": ml.Adam(0.01), "validation": 0.2},
    "a stateful method": lambda: {"method": Momentum(), "optimizer": ml.SGD(ml.StepDecay(1.0, 2, 0.5))},
    "LocoProp with RMSProp": lambda: {
        "method": ml.LocoProp("M", gamma=1.0, steps=3, local_lr=ml.WarmupLinear(1e-3),
                              local_optimizer="rmsprop"),
        "optimizer": ml.SGD(1.0)},
    "early stop that restores": lambda: {"optimizer": ml.SGD(1.5), "validation": 0.3,
                                         "early_stop": EarlyStop(3, restore_best=True)},
}


@pytest.mark.parametrize("settings", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("interrupted_after", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(settings, interrupted_after, tmp_path):
    path, whole, resumed = tmp_path / "run.npz", small_net(), small_net()
    history = run(whole, epochs=6, **settings())
    first = run(small_net(), epochs=interrupted_after, checkpoint=path, **settings())
    again = run(resumed, epochs=6, resume=path, **settings())
    assert_same(again, history)
    assert_same_parameters(resumed, whole)
    assert again.stopped == history.stopped
    assert again["seconds"][:len(first)] == first["seconds"]  # time goes on from where it was
    assert np.all(np.diff(again["seconds"]) > 0)


def test_running_statistics_and_dropout_continue_too(tmp_path):
    path, whole, resumed = tmp_path / "run.npz", norm_and_dropout(), norm_and_dropout()
    history = run(whole, epochs=4, optimizer=ml.Adam(0.02))
    run(norm_and_dropout(), epochs=2, checkpoint=path, optimizer=ml.Adam(0.02))
    assert_same(run(resumed, epochs=4, resume=path, optimizer=ml.Adam(0.02)), history)
    assert history["train_loss"][-1] < history["train_loss"][0]
    for name, array in whole.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], array)


def test_dropout_draws_from_the_seed():
    first, second, other = [run(norm_and_dropout(), batch_size=230, seed=seed) for seed in (0, 0, 1)]
    assert_same(first, second)  # with one batch an epoch the order of the samples hardly matters
    assert abs(first["train_loss"][-1] - other["train_loss"][-1]) > 1e-4


def test_the_best_parameters_survive_an_interruption(tmp_path):
    path, net, settings = tmp_path / "run.npz", small_net(), RUNS["early stop that restores"]
    run(small_net(), epochs=3, checkpoint=path, **settings())
    history = run(net, epochs=20, resume=path, checkpoint=path, **settings())
    best = EarlyStop().best_epoch(history)
    assert (best, history.stopped) == (2, "early stop: val_loss is lowest in epoch 2, 3 epochs ago")
    again, only_two = small_net(), small_net()
    assert_same(run(again, epochs=20, resume=path, **settings()), history)  # it stays stopped
    assert_same_parameters(again, net)
    run(only_two, epochs=2, **settings())
    assert_same_parameters(only_two, net)


def test_a_resumed_run_counts_steps_on(tmp_path):
    def propose(block):
        return block.phi.adjoint_theta(block.a, block.g) * poison[0]

    path, poison = tmp_path / "run.npz", [np.float32(1)]
    run(method=propose, epochs=3, checkpoint=path)
    poison[0] = np.float32(np.nan)
    history = run(method=propose, epochs=5, resume=path)
    assert (history.diverged.epoch, history.diverged.step) == (4, 16)


def test_resume_true_starts_or_continues(tmp_path):
    path, whole, net = tmp_path / "run.npz", small_net(), small_net()
    history = run(whole, epochs=4)
    for epochs in (2, 4):  # one and the same program, run twice
        net = small_net()
        again = run(net, epochs=epochs, checkpoint=path, resume=True)
    assert_same(again, history)
    assert_same_parameters(net, whole)
    finished = run(small_net(), epochs=4, checkpoint=path, resume=True)  # nothing is left to do
    assert_same(finished, history)


@pytest.mark.parametrize(("every", "written"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (10, [5])])
def test_checkpoints_are_written_every_n_epochs_and_at_the_end(every, written, tmp_path, monkeypatch):
    epochs = []
    save = train.Run.save
    monkeypatch.setattr(train.Run, "save",
                        lambda self, *rest: epochs.append(len(self.history) - 1) or save(self, *rest))
    run(epochs=5, checkpoint=tmp_path / "run.npz", checkpoint_every=every)
    assert epochs == written
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_a_run_with_nothing_left_to_do_leaves_a_checkpoint_too(tmp_path):
    one, two, three = (tmp_path / f"{name}.npz" for name in "123")
    run(epochs=0, checkpoint=one)
    run(callbacks=lambda *_: True, checkpoint=two)
    assert_same(run(epochs=4, resume=one), run(epochs=4))
    assert_same(run(epochs=4, resume=two, checkpoint=three), run(epochs=4))
    copy = tmp_path / "copy.npz"
    finished = run(epochs=4, resume=three, checkpoint=copy)
    assert_same(run(epochs=4, resume=copy), finished)


def test_an_interrupt_loses_the_epoch_under_way_only(tmp_path, capfd):
    path, whole, net = tmp_path / "run.npz", small_net(), small_net()
    history = run(whole, epochs=4)
    interrupts, batches = [40], []  # in the third epoch

    def propose(block):
        batches.append(block.l)
        if len(batches) in interrupts:
            raise KeyboardInterrupt
        return block.phi.adjoint_theta(block.a, block.g)

    with pytest.raises(KeyboardInterrupt):
        run(net, method=propose, epochs=4, checkpoint=path, progress=True)
    assert capfd.readouterr().err.endswith("\n")  # the bar is closed
    resumed = small_net()
    again = run(resumed, method=propose, epochs=4, resume=path)
    assert_same(again, history)
    assert_same_parameters(resumed, whole)


def test_an_interrupt_while_writing_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    run(epochs=2, checkpoint=path)
    before = path.read_bytes()

    def interrupted(file, **arrays):
        file.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(epochs=4, checkpoint=path, resume=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import sys, time
sys.path[:0] = {paths!r}
import minilift as ml
import test_train
from test_train import run, small_net

steps = 0

adjoint_theta = ml.Linear.adjoint_theta

def counted(self, a, g):
    global steps
    steps += 1
    if steps > 3 * 12:  # in the middle of epoch 3
        print("now", flush=True)
        time.sleep(60)
    return adjoint_theta(self, a, g)

ml.Linear.adjoint_theta = counted
run(method=test_train.Momentum(), optimizer=ml.Nesterov(0.1), epochs=5, checkpoint={path!r})
"""


def test_a_killed_run_continues_bit_for_bit(tmp_path):
    path, whole, resumed = tmp_path / "run.npz", small_net(), small_net()
    settings = {"optimizer": ml.Nesterov(0.1), "epochs": 5}
    program = KILLED.format(paths=[str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "training")], path=str(path))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "now\n"
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    history = run(whole, method=Momentum(), **settings)
    again = run(resumed, method=Momentum(), resume=path, **settings)
    assert_same(again, history)
    assert_same_parameters(resumed, whole)


@pytest.mark.parametrize("memory", [dict, list, lambda: [np.zeros(1)]], ids=["dict", "list", "array"])
def test_of_a_memory_that_no_checkpoint_holds_is_warned(tmp_path, recwarn, memory):
    """A run that was resumed went on without it, and nobody said so."""
    class Forgetful(ml.Method):
        def __init__(self, beta=0.9):
            self.beta, self.kept = beta, memory()

        def propose(self, block):
            if isinstance(self.kept, dict):
                self.kept[block.l] = block.g.copy()
            elif len(self.kept) == 1:
                self.kept[0] += 1
            else:
                self.kept.append(block.l)
                self.kept.append(block.l)
            return block.phi.adjoint_theta(block.a, block.g)

    with pytest.warns(UserWarning, match=r"Forgetful\(\) changes kept as it trains, which is not in its state") as told:
        run(method=Forgetful(), epochs=2, checkpoint=tmp_path / "run.npz")
    assert told[0].filename == __file__
    recwarn.clear()
    run(method=Forgetful(), epochs=1)  # without a checkpoint nothing is lost
    run(method=Momentum(), epochs=1, checkpoint=tmp_path / "other.npz")
    assert not recwarn.list


def test_a_checkpoint_holds_no_pickle_and_refuses_objects(tmp_path):
    path = tmp_path / "run.npz"
    run(method=Momentum(), epochs=1, checkpoint=path)
    with np.load(path, allow_pickle=False) as file:
        assert all(not file[name].dtype.hasobject for name in file.files)
    method = ml.BackProp()
    method.state_dict = lambda: {"kept": np.array([None])}
    with pytest.raises(TypeError, match="fit: checkpoint: 'kept' of the method's state must be an array"):
        run(method=method, epochs=1, checkpoint=tmp_path / "other.npz")


@pytest.mark.parametrize("kept", [[1.0, 2.0], None, {"a": 1}], ids=["list", "None", "dict"])
def test_a_state_that_is_no_array_is_refused_by_its_name(tmp_path, kept):
    method = ml.BackProp()
    method.state_dict = lambda: {"kept": kept}
    with pytest.raises(TypeError, match="fit: checkpoint: 'kept' of the method's state must be an array"):
        run(method=method, epochs=1, checkpoint=tmp_path / "run.npz")


@pytest.mark.parametrize("kept", [lambda block: np.linalg.norm(block.g), lambda block: small_net(),
                                  lambda block: np.float32], ids=["NumPy's scalar", "network", "dtype"])
def test_a_method_may_keep_what_has_a_dtype_and_is_no_array(tmp_path, kept):
    class Keeping(ml.Method):
        def propose(self, block):
            self.kept = kept(block)
            return block.phi.adjoint_theta(block.a, block.g)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(method=Keeping(), epochs=1, checkpoint=tmp_path / "run.npz")
    assert (tmp_path / "run.npz").exists()


def test_the_warning_of_a_memory_points_at_the_call_of_fit(tmp_path):
    class Counting(ml.BackProp):
        def propose(self, block):
            self.kept = getattr(self, "kept", 0) + 1
            return super().propose(block)

    with pytest.warns(UserWarning, match="changes kept as it trains") as told:
        ml.fit(ml.mlp([2, 3, 2]), ml.datasets.moons(40), Counting(), ml.SGD(0.1), epochs=1, progress=False,
               checkpoint=tmp_path / "run.npz")
    assert told[0].filename == __file__


def change_version(path):
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    np.savez(path, **{**arrays, "about": np.array(json.dumps({**about, "version": 99}))})


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "error", "message"), [
    (lambda path: path.unlink(), FileNotFoundError, "fit: resume: there is no checkpoint '.*run.npz'"),
    (lambda path: path.write_bytes(b""), ValueError, "run.npz.*cannot be read"),
    (lambda path: path.write_bytes(path.read_bytes()[:-100]), ValueError, "run.npz.*cannot be read"),
    (flip_a_byte, ValueError, "run.npz.*cannot be read"),
    (lambda path: np.savez(path, a=np.zeros(3)), ValueError, "run.npz' is not a checkpoint of minilift"),
    (lambda path: small_net().save(path), ValueError, "run.npz' is not a checkpoint of minilift"),
    (change_version, ValueError, "is a checkpoint of version 99, this minilift reads version 4"),
])
def test_a_missing_or_damaged_checkpoint_is_one_clear_error(damage, error, message, tmp_path):
    path, net, untouched = tmp_path / "run.npz", small_net(), small_net()
    run(epochs=1, checkpoint=path)
    damage(path)
    with pytest.raises(error, match=message):
        run(net, resume=path)
    assert_same_parameters(net, untouched)


def test_a_generator_of_another_seed_is_refused():
    with pytest.raises(ValueError, match="is not one of this run"):
        train.generator_of(np.random.default_rng(1).bit_generator.state, np.random.default_rng(0))


@pytest.mark.parametrize(("changes", "message"), [
    ({"batch_size": 25}, "belongs to another run: batch_size was 50, is 25"),
    ({"seed": 1}, "seed was 0, is 1"),
    ({"method": ml.ProxProp(0.5)}, r"method was BackProp\(\), is ProxProp\(tau_theta=0.5"),
    ({"optimizer": ml.Adam(0.3)}, r"optimizer was SGD\(lr=0.3, weight_decay=0.0\), is Adam\(lr=0.3"),
    ({"optimizer": ml.SGD(0.2)}, "optimizer: lr was 0.3, is 0.2"),
    ({"data": clouds(seed=1)}, r"training data was 230 samples \(checksum .*, is 230 samples"),
    ({"validation": 0.1}, "validation data was none, is 23 samples"),
    ({"net": ml.mlp([6, 9, 5, 3], activation="tanh")},
     r"network: layers\[0\]: n_out was 8, is 9; network: layers\[2\]: n_in was 8, is 9"),
    ({"net": ml.mlp([6, 5, 3], activation="tanh")}, r"network: layers was \[Linear\(n_in=6, n_out=8.* is \[Linear\("),
    ({"net": small_net(dtype=np.float64)}, "network: dtype was float32, is float64"),
    ({"early_stop": EarlyStop()}, "early_stop was None, is EarlyStop"),
])
def test_a_checkpoint_of_another_run_is_refused(changes, message, tmp_path):
    path = tmp_path / "run.npz"
    run(epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match=message):
        run(resume=path, **changes)


def test_a_schedule_without_a_name_does_not_stand_in_the_way(tmp_path):
    path = tmp_path / "run.npz"
    run(epochs=1, checkpoint=path, optimizer=ml.SGD(lambda epoch: 0.1))
    assert len(run(epochs=2, resume=path, optimizer=ml.SGD(lambda epoch: 0.1))) == 3


# ---- the history as a thing


def diverged_history():
    history = History("ProxProp(0.1)")
    history.append({"epoch": 0, "seconds": 0.0, "batch_loss": math.nan, "train_loss": 1 / 3})
    history.append({"epoch": 1, "seconds": 0.25, "batch_loss": math.inf, "train_loss": 2e-17})
    history.diverged = Divergence(2, 7, "theta_1", "theta_1 is not finite")
    history.stopped = "why"
    return history


def test_json_gives_everything_back(tmp_path):
    history, path = diverged_history(), tmp_path / "history.json"
    history.to_json(path)
    text = path.read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = History.from_json(path)
    assert_same(again, history)
    assert (again.label, again.diverged, again.stopped) == (history.label, history.diverged, history.stopped)
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_of_numpy_are_recorded_as_pythons(tmp_path):
    history = History("new")
    history.append({"epoch": np.int64(0), "loss": np.float32(1.5)})
    history.to_json(tmp_path / "history.json")
    assert [type(column[0]) for column in History.from_json(tmp_path / "history.json").columns.values()] == [int, float]


@pytest.mark.parametrize("text", [
    "", "[]", "{}",
    '{"label": "", "diverged": 3, "stopped": null, "columns": {}}',
    '{"label": "", "diverged": null, "stopped": null, "columns": {"a": [1], "b": []}}',
])
def test_json_of_something_else_is_refused(text, tmp_path):
    path = tmp_path / "history.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"history.json: not a history written by minilift"):
        History.from_json(path)


def test_what_is_expected_of_json_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"from_json: path: there is no file '\{\}'; one that to_json wrote"):
        History.from_json("{}")
    (tmp_path / "history.json").write_text("{}")
    with pytest.raises(ValueError, match=r"a history must hold label, look, stopped, diverged, columns, got \[\]"):
        History.from_json(tmp_path / "history.json")


def test_histories_are_equal_if_all_in_them_is(tmp_path):
    diverged_history().to_json(tmp_path / "history.json")
    assert diverged_history() == diverged_history() == History.from_json(tmp_path / "history.json")
    other = diverged_history()
    other.columns["train_loss"][1] = 2e-16
    assert other != diverged_history()
    assert diverged_history() != diverged_history().as_dict()
    assert History("one") != History("two")
    assert len({diverged_history(), diverged_history(), other}) == 2


def test_csv_has_a_line_for_each_row(tmp_path):
    history, path = run(), tmp_path / "history.csv"
    history.to_csv(path)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == history["train_loss"]
    assert list(rows[0]) == list(history.columns)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    history, path = run(epochs=1), tmp_path / "history.json"
    history.to_json(path)
    before = path.read_text()
    history.columns["seconds"][0] = object()
    with pytest.raises(TypeError):
        history.to_json(path)
    assert path.read_text() == before


def test_columns_and_summary():
    history = run(validation=0.2)
    assert "val_loss" in history
    assert "val_los" not in history
    with pytest.raises(KeyError, match="did you mean 'val_loss'"):
        history["val_los"]
    with pytest.raises(ValueError, match="a row must have the columns"):
        history.append({"epoch": 5})
    assert repr(history).startswith("History(BackProp(): 4 epochs in ")
    assert repr(run(epochs=1)).startswith("History(BackProp(): 1 epoch in ")
    assert f"→ {history['val_accuracy'][-1]:.4g}" in repr(history)
    assert repr(History("new")) == "History(new: empty)"


def test_a_loss_that_stays_is_not_above_its_start():
    history = History()
    for epoch in range(2):
        history.append({"epoch": epoch, "train_loss": 1.0})
    assert not history.above_start


def test_rows_of_ones_own_need_no_seconds():
    history = History("mine")
    for epoch, loss in enumerate([2.0, 1.0]):
        history.append({"epoch": epoch, "train_loss": loss})
    assert repr(history) == "History(mine: 1 epoch, train_loss 2 → 1; completed)"
    assert [axes.get_xlabel() for axes in history.plot().axes] == ["epochs"]


def test_plot_returns_a_figure_and_writes_it(tmp_path):
    pytest.importorskip("minilift.plots")
    figure = run().plot(tmp_path / "loss.png")
    assert figure.axes
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1


# ---- wrong calls

def assigned(thing, **values):
    """Return a thing with other values of some attributes, which nothing has looked at."""
    vars(thing).update(values)
    return thing


class KeepsEta(ml.SGD):
    """A name for something of its own, which is nobody's setting."""

    def step(self, parameters, directions, scale=1.0):
        self.eta = 1.0
        super().step(parameters, directions, scale)


def test_what_a_subclass_keeps_is_no_setting_of_another_name():
    X, y = clouds()
    optimizer = KeepsEta(0.1)
    for _ in range(2):
        ml.fit(small_net(), (X, y), ml.BackProp(), optimizer, epochs=1, progress=False)


X, Y = clouds()
BAD = X.copy()
BAD[3, 2] = np.nan
BROKEN = small_net()
BROKEN.theta[2][0, 0] = np.inf
BROKEN_NORM = norm_and_dropout()
BROKEN_NORM.norms[0].scale_shift[0, 0] = np.nan


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"data": X}, TypeError, r"fit: data must be a pair \(X, y\) or a Dataset.*, got ndarray"),
    ({"data": (X,)}, TypeError, r"fit: data must be a pair \(X, y\)"),
    ({"data": (X[:0], Y[:0])}, ValueError, "fit: data: X: the batch is empty"),
    ({"data": (X, Y[:-1])}, ValueError, r"fit: data: y: .* labels of shape \(230,\), got \(229,\)"),
    ({"data": (X, Y[:, None])}, ValueError, r"fit: data: y: .*got \(230, 1\)"),
    ({"data": (X, Y + 1)}, ValueError, "fit: data: y: labels must lie in 0 … 2 .*got 3"),
    ({"data": (X, Y - 1)}, ValueError, "fit: data: y: labels must lie in 0 … 2 .*got -1"),
    ({"data": (X, Y.astype(float))}, TypeError, "fit: data: y: .*whole-number labels"),
    ({"data": (X[:, :5], Y)}, ValueError, r"fit: data: X: Linear\(6, 8\) expects samples of shape \(N, 6\)"),
    ({"data": (BAD, Y)}, ValueError, "fit: data: X: the data hold NaN or inf"),
    ({"data": (X.astype(np.float64) * 1e300, Y)}, ValueError, "fit: data: X: the data hold NaN or inf"),
    ({"validation": (BAD, Y)}, ValueError, "fit: validation: X: the data hold NaN or inf"),
    ({"validation": (X, Y, X)}, TypeError, r"^fit: validation must be a pair \(X, y\).*, got tuple of 3"),
    ({"validation": ml.datasets.digits()}, TypeError, r"^fit: validation must be a pair \(X, y\).*, got Dataset"),
    ({"validation": 1.0}, ValueError, r"fit: validation, if no \(X, y\), must be in \[0, 1\)"),
    ({"validation": "0.1"}, TypeError, r"fit: validation, if no \(X, y\), must be a number, got '0.1'"),
    ({"validation": 0.001}, ValueError, "fit: validation=0.001 of 230 samples leaves 0 to validate"),
    ({"validation": 0.9999}, ValueError, "leaves 230 to validate and 0 to train on"),
    ({"method": ml.BackProp}, TypeError, "method: got the class BackProp; an instance is needed"),
    ({"method": 3}, TypeError, "method: expected a Method"),
    ({"method": "my/mine.py:step"}, ValueError,
     "fit: method: 'my/mine.py:step' is a name for the commands; here give the object: from mine import step"),
    ({"method": "bakprop"}, ValueError, "fit: method: unknown name 'bakprop'; did you mean 'backprop'"),
    ({"optimizer": ml.SGD}, TypeError, r"fit: optimizer must be an Optimizer such as SGD\(lr=0.1\)"),
    ({"optimizer": 0.1}, TypeError, "fit: optimizer must be an Optimizer .*got 0.1"),
    ({"optimizer": assigned(ml.SGD(0.1), lr=-5)}, ValueError, "^fit: optimizer: SGD: lr must be at least 0"),
    ({"optimizer": assigned(ml.SGD(0.1), learning_rate=5)}, TypeError, "^fit: optimizer: SGD: .* called 'lr' here"),
    ({"optimizer": assigned(ml.Adam(0.1), decoupled=1)}, TypeError, "^fit: optimizer: Adam: decoupled must be True"),
    ({"method": assigned(ml.ProxProp(), tau_theta=0)}, ValueError, "^fit: method: ProxProp: tau_theta must be pos"),
    ({"epochs": -1}, ValueError, "fit: epochs must be at least 0, got -1"),
    ({"epochs": 2.5}, TypeError, "fit: epochs must be a whole number, got 2.5"),
    ({"batch_size": 0}, ValueError, "fit: batch_size must be at least 1, got 0"),
    ({"seed": None}, TypeError, "fit: seed must be a whole number, got None"),
    ({"seed": -1}, ValueError, "fit: seed must be at least 0"),
    ({"progress": 3}, TypeError, "fit: progress must be True, False or a description, got 3"),
    ({"callbacks": [3]}, TypeError, r"fit: callbacks must be a function of \(row, net, history\), got 3"),
    ({"early_stop": 5}, TypeError, "fit: early_stop must be an EarlyStop, got 5"),
    ({"early_stop": EarlyStop(monitor="val_loss")}, ValueError, "val_loss, but there is no validation set"),
    ({"checkpoint": "no/such/run.npz"}, FileNotFoundError, "fit: checkpoint: there is no folder 'no/such'"),
    ({"checkpoint_every": 0}, ValueError, "fit: checkpoint_every must be at least 1"),
    ({"resume": True}, ValueError, "fit: resume=True needs checkpoint="),
    ({"resume": False}, TypeError, "fit: resume must be a path, True or None"),
    ({"resume": "missing.npz"}, FileNotFoundError, "fit: resume: there is no checkpoint 'missing.npz'"),
    ({"net": ml.Network([ml.Linear(6, 8), ml.BatchNorm(8), ml.Tanh(), ml.Linear(8, 3)]), "batch_size": 229}, ValueError,
     r"fit: batch_size=229 leaves one of 230 samples for the last batch: BatchNorm\(8\): training needs more than one"),
    ({"net": BROKEN_NORM}, ValueError, "fit: scale_shift_1 of the network is not finite before training"),
    ({"net": BROKEN}, ValueError, "fit: theta_2 of the network is not finite before training"),
    ({"method": lambda block: block.theta[:-1]}, ValueError, "the step proposed for map 3 must have shape"),
], ids=lambda value: "-".join(value) if isinstance(value, dict) else None)
def test_wrong_calls(options, error, message):
    with pytest.raises(error, match=message):
        run(**options)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: EarlyStop(0), ValueError, "EarlyStop: patience must be at least 1"),
    (lambda: EarlyStop(monitor="val_acc"), ValueError, "EarlyStop: monitor: unknown name 'val_acc'"),
    (lambda: EarlyStop(restore_best=1), TypeError, "EarlyStop: restore_best must be True or False"),
    (lambda: evaluate(small_net(), X, Y, 0), ValueError, "evaluate: batch_size must be at least 1"),
    (lambda: evaluate(small_net(), BAD, Y), ValueError, "X: the data hold NaN or inf"),
    (lambda: fit(small_net(), (X, Y)), TypeError, "method"),
])
def test_other_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_division_by_zero_in_a_users_method_is_no_divergence():
    """NumPy raises none: what divides Python's own numbers by zero is a mistake, and its line is wanted."""
    with pytest.raises(ZeroDivisionError):
        ml.fit(ml.mlp([64, 10]), ml.datasets.digits(), lambda block: 1 / 0, "sgd:lr=1", epochs=1, progress=False)


def test_a_checkpoint_of_another_run_is_set_aside(tmp_path):
    """The same line again, without resume, would write over hours of work after its first epoch."""
    path = tmp_path / "run.npz"

    def train(epochs, **options):
        return ml.fit(ml.mlp([64, 10]), ml.datasets.digits(), "proxprop", "sgd:lr=1", epochs=epochs, progress=False,
                      checkpoint=path, **options)
    train(3)
    first = path.read_bytes()
    with pytest.warns(UserWarning, match=r"run\.npz' was there already and is now .*run\.npz~'") as told:
        train(1)
    assert told[0].filename == __file__
    assert (tmp_path / "run.npz~").read_bytes() == first
    second = path.read_bytes()
    assert len(train(2, resume=True)) == 3  # epochs 0, 1, 2: that of the second call goes on
    assert path.read_bytes() != second
    with pytest.warns(UserWarning, match="was there already"):
        assert len(train(4, resume=tmp_path / "run.npz~")) == 5
    assert (tmp_path / "run.npz~").read_bytes() == first


def test_two_runs_with_one_checkpoint_are_told(tmp_path):
    def train(name, *callbacks):
        ml.fit(ml.mlp([64, 10]), ml.datasets.digits(), "proxprop", "sgd:lr=1", epochs=3, progress=False,
               checkpoint=tmp_path / name, callbacks=callbacks)

    def write(row, net, history):
        if row["epoch"] == 2:
            (tmp_path / "run.npz").write_bytes((tmp_path / "other.npz").read_bytes())

    train("other.npz", lambda row, net, history: (tmp_path / "other.npz").unlink(missing_ok=True))
    with pytest.warns(UserWarning, match=r"run\.npz' was written by another run since this one wrote it") as told:
        train("run.npz", write)
    assert told[0].filename == __file__, "the line that is warned about is the one that calls fit"


@pytest.mark.filterwarnings("ignore:fit. checkpoint")
def test_no_start_writes_over_what_an_earlier_one_set_aside(tmp_path):
    contents = []
    for epochs in (3, 1, 2, 4):
        ml.fit(ml.mlp([64, 10]), ml.datasets.digits(), "proxprop", "sgd:lr=1", epochs=epochs, progress=False,
               checkpoint=tmp_path / "run.npz")
        contents.append((tmp_path / "run.npz").read_bytes())
    kept = [(tmp_path / f"run.npz{end}").read_bytes() for end in ("~", "~2", "~3", "")]
    assert kept == contents


def test_a_checkpoint_that_cannot_be_written_is_an_error_before_the_first_epoch(tmp_path):
    rows = []
    with pytest.raises(OSError, match="cannot be written"):
        ml.fit(ml.mlp([64, 10]), ml.datasets.digits(), "proxprop", "sgd:lr=1", epochs=1, progress=False,
               callbacks=lambda row, net, history: rows.append(row), checkpoint=tmp_path / f"{'x' * 250}.npz")
    assert not rows
    assert not list(tmp_path.iterdir())


# ---- settings and refusals in the middle of a run

def test_a_setting_that_is_assigned_as_a_number_of_numpy_promotes_no_float32_network():
    net, data, method = ml.mlp([64, 16, 10]), ml.datasets.digits(), ml.PredictiveCoding()
    for rate in np.linspace(0.05, 0.1, 2):
        method.rate = rate
        ml.fit(net, data, method, ml.SGD(0.1), epochs=1, progress=False)
    assert type(method.rate) is float
    norm = ml.BatchNorm(3)
    norm.momentum = np.float64(0.2)
    assert type(norm.momentum) is float


def test_a_step_that_is_refused_leaves_the_running_statistics_as_they_were():
    net, kept = ml.Network([ml.Linear(2, 4), ml.BatchNorm(4), ml.Tanh(), ml.Linear(4, 2)]), []
    rate = ml.SGD(lambda epoch: 0.1 if epoch < 1 else np.nan)
    with pytest.raises(ValueError, match=r"lr\(1\) must be at least 0 and finite"):
        ml.fit(net, ml.datasets.moons(100), "backprop", rate, epochs=3, progress=False,
               callbacks=lambda row, net, history: kept.append(net.state_dict()))
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, kept[-1][name], name)
