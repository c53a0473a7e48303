"""`minilift train` says beforehand how long it takes and what comes of it; a bar moves on a terminal alone."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minilift as ml
from minilift import cli
from minilift.lab import train
from minilift.lab.runs import read_data
from minilift.training.history import History

LINE = ["train", "--samples", "50", "--layers", "64,8,10", "--epochs", "20"]


def test_without_a_terminal_there_are_ten_lines_and_no_bar(capsys, tmp_path):
    assert cli.main([*LINE, "--output", str(tmp_path / "net.npz")]) == 0
    out, err = capsys.readouterr()
    first, *lines = err.splitlines()
    assert first == "about 10 seconds at most"
    assert [line.partition(":")[0] for line in lines] == [f"epoch {epoch} of 20" for epoch in range(0, 21, 2)]
    assert "\r" not in err
    assert re.search(r"test accuracy 0\.\d+", out)
    assert ml.load(tmp_path / "net.npz").depth == 2


def test_one_process_in_the_shell_of_a_slurm_job_is_alone(monkeypatch, capsys):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert cli.main([*LINE, "--quiet"]) == 0
    assert "step size 1, 1 process" in capsys.readouterr().out


def test_of_a_run_that_diverged_no_test_accuracy_is_told(capsys, tmp_path):
    assert cli.main([*LINE, "--quiet", "--step", "1e9", "--output", str(tmp_path / "net.npz")]) == 1
    out = capsys.readouterr().out
    assert "diverged in epoch" in out
    assert "test accuracy" not in out
    assert f"network, as it diverged: {tmp_path}" in out


def test_a_quiet_run_says_nothing_on_the_way(capsys):
    assert cli.main([*LINE, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_method_on_the_whole_set_is_estimated_on_the_whole_set(capsys):
    assert cli.main([*LINE[:-1], "2", "--method", "bcd"]) == 0
    assert capsys.readouterr().err.startswith("about 10 seconds at most\nepoch 0 of 2")


def test_data_of_ones_own_are_trained_on(capsys, tmp_path):
    """As `bench race --data` and `reproduce --data` take them."""
    data = ml.datasets.digits()
    np.savez(tmp_path / "mine.npz", X_train=data.X_train[:90], y_train=data.y_train[:90], X_test=data.X_test,
             y_test=data.y_test)
    assert cli.main(["train", "--data", str(tmp_path / "mine.npz"), "--epochs", "1", "--quiet"]) == 0
    assert "mine (90 training samples), network 64-128-128-10" in capsys.readouterr().out


def raw_table(path, rng, targets=None):
    """Write a table with columns of very different scales and return its arrays."""
    X = rng.standard_normal((160, 4)) * [1.0, 1e-3, 2e4, 60.0] + [0.0, 5.0, -3e4, 1.6e9]
    z = ((X - X.mean(axis=0)) / X.std(axis=0)) @ [1.0, -2.0, 0.5, 1.0]
    y = (z > 0).astype(int) if targets is None else 1e3 + 40.0 * z[:, None] * np.ones(targets)
    arrays = {"X_train": X[:120], "y_train": y[:120], "X_test": X[120:], "y_test": y[120:]}
    np.savez(path, **arrays)
    return arrays


@pytest.mark.parametrize(("net", "layers"), [("mlp", "4,8,"), ("resnet", "4,8,8,8,"), ("mlp", "4,")])
@pytest.mark.parametrize("targets", [None, 1, 2])
def test_the_network_of_a_standardized_table_takes_the_table_as_it_is(tmp_path, capsys, rng, net, layers, targets):
    table = raw_table(tmp_path / "mine.npz", rng, targets)
    assert cli.main(["train", "--data", str(tmp_path / "mine.npz"), "--standardize", "--net", net, "--step", "1",
                     "--layers", f"{layers}{targets or 2}", "--batch", "20",
                     "--output", str(tmp_path / "net.npz")]) == 0
    out, own = capsys.readouterr().out, ml.load(tmp_path / "net.npz")
    assert "mine (120 training samples, standardized), " in out
    if targets is None:
        accuracy = float(re.search(r"test accuracy ([\d.]+)", out)[1])
        assert own.accuracy(table["X_test"], table["y_test"]) == pytest.approx(accuracy, abs=1e-3)
        assert accuracy > 0.9
    else:
        deviation = table["y_train"].std()
        told, loss = float(re.search(r"test loss ([\d.e-]+)", out)[1]), own.loss(table["X_test"], table["y_test"])
        assert loss / deviation**2 == pytest.approx(told, rel=1e-2)
        assert told < 0.05 * targets


@pytest.mark.parametrize(("arrays", "named"), [(None, "there is no file"), ({"X": np.zeros(3)}, "has no X_train")])
def test_a_file_without_data_is_named(capsys, tmp_path, arrays, named):
    if arrays is not None:
        np.savez(tmp_path / "mine.npz", **arrays)
    assert cli.main(["train", "--data", str(tmp_path / "mine.npz"), "--epochs", "1"]) == 2
    assert re.search(rf"--data: .*{named}", capsys.readouterr().err)


def test_of_a_network_with_nan_no_file_is_written(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(ml.SGD, "step", lambda self, parameters, directions: parameters[0].fill(np.nan))
    assert cli.main([*LINE, "--quiet", "--output", str(tmp_path / "net.npz")]) == 1
    assert "no network is written: Network.save: theta_1 holds NaN or inf" in capsys.readouterr().out
    assert not (tmp_path / "net.npz").exists()


@pytest.mark.filterwarnings("default:fit. checkpoint")
def test_a_checkpoint_set_aside_is_told_in_a_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert cli.main([*LINE, "--quiet", "--checkpoint", "run.npz"]) == 0
    assert capsys.readouterr().err == ("minilift train: fit: checkpoint: 'run.npz' was there already and is now "
                                       "'run.npz~'; with resume=True (--resume) a run goes on from its checkpoint\n")


def test_the_network_does_not_take_the_place_of_the_checkpoint(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.npz").symlink_to("run.npz")
    for output in ("run.npz", "./run.npz", "link.npz"):
        assert cli.main([*LINE, "--checkpoint", "run.npz", "--output", output]) == 2
        assert "--output: expected another file than --checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "run.npz").exists()


@pytest.mark.parametrize("option", ["output", "checkpoint"])
@pytest.mark.parametrize("name", ["mine.npz", "./mine.npz", "link.npz"])
def test_neither_network_nor_checkpoint_takes_the_place_of_the_data(capsys, tmp_path, monkeypatch, option, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.npz").symlink_to("mine.npz")
    table = raw_table("mine.npz", np.random.default_rng(0))
    assert cli.main(["train", "--data", "mine.npz", "--epochs", "1", "--quiet", f"--{option}", name]) == 2
    assert f"--{option}: expected another file than --data, got {Path(name)} for both" in capsys.readouterr().err
    assert set(np.load("mine.npz")) == set(table)


def test_the_network_is_written_though_nobody_reads_what_is_printed(tmp_path, monkeypatch):
    """`minilift train --output net.npz | head -1`."""
    def unread(*words, **options):
        raise BrokenPipeError
    monkeypatch.setattr(train, "print", unread, raising=False)
    net = ml.mlp([64, 10])
    with pytest.raises(BrokenPipeError):
        train.report(net, SimpleNamespace(given=None), History(), tmp_path / "net.npz")
    assert ml.load(tmp_path / "net.npz") == net


def test_what_came_of_a_run_is_printed_though_the_network_cannot_be_written(tmp_path, monkeypatch, capsys):
    def full(net, path):
        raise OSError("No space left on device")
    monkeypatch.setattr(ml.Network, "save", full)
    with pytest.raises(OSError, match="No space left"):
        train.report(ml.mlp([64, 10]), SimpleNamespace(given=None, data=ml.datasets.digits()), History("x"),
                     tmp_path / "net.npz")
    out = capsys.readouterr().out
    assert re.fullmatch(r"History\(x: empty\)\ntest accuracy 0\.\d+\n", out)


def test_an_interrupted_run_says_how_it_goes_on(capsys, tmp_path, monkeypatch):
    def interrupted(*arguments, checkpoint, **options):
        checkpoint.write_bytes(b"whole")
        raise KeyboardInterrupt
    monkeypatch.setattr(train, "fit", interrupted)
    assert cli.main([*LINE, "--quiet", "--checkpoint", str(tmp_path / "run.npz")]) == 130
    assert "holds the last whole epoch: the same line with --resume goes on from it" in capsys.readouterr().err


@pytest.mark.parametrize(("epochs", "told"), [("2", True), ("3", True), ("4", False)])
def test_a_finished_run_that_is_resumed_says_that_nothing_was_left_to_do(capsys, tmp_path, epochs, told):
    line = [*LINE[:-2], "--quiet", "--checkpoint", str(tmp_path / "run.npz"), "--resume", "--epochs"]
    assert cli.main([*line, "3"]) == 0
    assert "nothing was left" not in capsys.readouterr().out
    assert cli.main([*line, epochs]) == 0
    words = f"nothing was left to do: {tmp_path / 'run.npz'} holds 3 epochs, --epochs is {epochs}\n"
    assert (words in capsys.readouterr().out) == told


def test_a_run_without_its_optimizer_is_told(capsys):
    line = [*LINE[:-1], "1", "--quiet", "--optimizer", "adam", "--step", "0.1", "--method"]
    told = "locoprop-s proposes new parameters, taken as they are: adam is not applied.\n"
    assert cli.main([*line, "locoprop-s"]) == 0
    assert told in capsys.readouterr().out
    assert cli.main([*line, "proxprop"]) == 0
    assert "not applied" not in capsys.readouterr().out


def test_a_network_of_a_standardized_table_of_bytes_takes_the_tables_own_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X = np.random.default_rng(0).integers(0, 100, (200, 3), dtype=np.uint8)
    y = X.astype(float) @ [1.0, 2.0, -1.0]
    np.savez("mine.npz", X_train=X[:150], y_train=y[:150], X_test=X[150:], y_test=y[150:])
    assert cli.main(["train", "--data", "mine.npz", "--standardize", "--layers", "3,1", "--step", "0.3", "--quiet",
                     "--output", "net.npz"]) == 0
    found = ml.load("net.npz").predict(X[150:].astype(float))
    assert abs(found[:, 0] - y[150:]).max() < 0.05 * np.ptp(y)


def test_bytes_beside_other_whole_numbers_are_refused(tmp_path):
    data, path = ml.datasets.digits(), tmp_path / "mixed.npz"
    np.savez(path, X_train=(255 * data.X_train).astype(np.uint8), y_train=data.y_train,
             X_test=(255 * data.X_test).astype(int), y_test=data.y_test)
    with pytest.raises(ValueError, match="must be on one scale: X_train is uint8, which is divided by 255"):
        read_data(path, table=True)
    np.savez(path, X_train=(255 * data.X_train).astype(np.uint8), y_train=data.y_train,
             X_test=data.X_test, y_test=data.y_test)
    assert read_data(path, table=True).X_train.max() == 1
