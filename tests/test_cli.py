"""The command line: help, exit codes, and one line instead of a traceback for a user's mistake."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minilift as ml
from minilift import cli
from minilift.lab import compare


def run(capsys, *argv):
    """Return the exit code, standard output and standard error of a command line."""
    try:
        code = cli.main(argv)
    except SystemExit as stop:  # argparse
        code = stop.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# ---- help


def test_overview_names_every_command(capsys):
    for argv in ([], ["--help"], ["-h"]):
        code, out, _ = run(capsys, *argv)
        assert code == 0
        for name, command in cli.COMMANDS.items():
            assert f"  {name} " in out
            assert command.help in out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(capsys, name):
    code, out, err = run(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert f"usage: minilift {name}" in out


def test_help_of_compare_has_examples_and_defaults(capsys):
    _, out, _ = run(capsys, "compare", "--help")
    assert out.count("\n  minilift compare") >= 4
    assert "0.01,0.03,0.1,0.3,1,3,10,30,100,300,1000" in out


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"minilift {ml.__version__}\n", "")


def test_help_is_quick():
    """Neither the subcommands' modules nor the libraries that draw and load are imported for the overview."""
    code = ("import sys; from minilift import cli; cli.main([]); "
            "print([name for name in ('scipy', 'matplotlib', 'pooch', 'tqdm', 'minilift.lab.compare', "
            "'minilift.lab.bench', 'minilift.plots') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_installed_command():
    done = subprocess.run([sys.executable, "-m", "minilift.cli", "comapre"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith("minilift: error: unknown command 'comapre'; did you mean 'compare'?\n")


# ---- mistakes

MISTAKES = [
    ("comapre", "unknown command 'comapre'; did you mean 'compare'?"),
    ("--versio", "unknown argument --versio; did you mean '--version'?"),
    ("compare --epoch 3", "unknown argument --epoch; did you mean '--epochs'?"),
    ("compare --epochs three", "argument --epochs: expected a whole number such as 3, got 'three'"),
    ("compare --epochs 0", "--epochs must be at least 1, got 0"),
    ("compare --batch -1", "--batch must be at least 1, got -1"),
    ("compare --repeats 0", "--repeats must be at least 1, got 0"),
    ("compare --threads 0", "--threads must be at least 1, got 0"),
    ("compare --samples 0", "--samples must be at least 1, got 0"),
    ("compare --seed -1", "--seed must be at least 0, got -1"),
    ("compare --level 0", "argument --level: expected a positive number such as 0.1, got '0'"),
    ("compare --steps 0.1,x", "argument --steps: expected positive numbers such as 0.1,1,10, got '0.1,x'"),
    ("compare --steps 0.1,-1", "argument --steps: expected positive numbers such as 0.1,1,10, got '0.1,-1'"),
    ("compare --layers 64,a,10", "argument --layers: expected whole numbers such as 64,128,10, got '64,a,10'"),
    ("compare --layers 64,128,9", "--layers: digits has 64 inputs and 10 outputs, got 64 and 9"),
    ("compare --activation relo", "--activation: unknown name 'relo'; did you mean 'relu'?"),
    ("compare --methods backprp", "--methods: unknown name 'backprp'; did you mean 'backprop'?"),
    ("compare --methods proxprop:tau=1", "proxprop: argument: unknown name 'tau'; did you mean 'tau_theta'?"),
    ("compare --methods proxprop:tau_theta", "expected NAME:argument=value,…, got 'tau_theta' after the colon"),
    ("compare --methods proxprop:tau_theta=-1", "ProxProp: tau_theta must be positive and finite, got -1"),
    ("compare --methods proxprop:solver=cgx", "ProxProp: solver: unknown name 'cgx'"),
    ("compare --methods locoprop-s:gamma=3", "--methods: locoprop-s: gamma is the step size, which --steps searches"),
    ("compare --methods nowhere.py:f", "there is no file 'nowhere.py'"),
    ("compare --optimizer adm", "--optimizer: unknown name 'adm'; did you mean 'adam'?"),
    ("compare --optimizer nesterov:lr=1", "--optimizer: nesterov: lr is the step size, which --steps searches"),
    ("compare --optimizer nesterov:momentum=2", "Nesterov: momentum must be in [0, 1) and finite, got 2"),
    ("compare --backend cuppy", "--backend: unknown name 'cuppy'; did you mean 'cupy'?"),
    ("compare --data digts", "data set: unknown name 'digts'; did you mean 'digits'?"),
    ("compare --data moons:nose=1", "option of moons: unknown name 'nose'; did you mean 'noise'?"),
    ("compare --output x.pgn", "'x.pgn': the name of a figure must end in one of"),
    ("compare --output nowhere/x.png", "--output: there is no folder nowhere"),
    ("data", "the following arguments are required: {list,fetch}"),
    ("data lst", "unknown name 'lst'; did you mean 'list'? (known: list, fetch)"),
    ("data fetch digit", "data set: unknown name 'digit'; did you mean 'digits'?"),
    ("equations --write nowhere.md", "No such file or directory: 'nowhere.md'"),
    ("bench stepp", "unknown name 'stepp'; did you mean 'step'?"),
    ("teach stdent", "unknown name 'stdent'; did you mean 'student'?"),
    ("verify nowhere.py:f", "there is no file 'nowhere.py'"),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "fit", lambda *a, **k: pytest.fail("training began"))
    code, _, err = run(capsys, *line.split())
    assert code == 2
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


class Broken(ml.Method):
    """A method with a bug in it: the product does not fit."""

    def propose(self, block):
        return block.g @ block.theta


def test_a_bug_is_a_traceback(monkeypatch, tmp_path):
    monkeypatch.setitem(compare.METHODS, "broken", compare.Contender("broken", Broken))
    with pytest.raises(ValueError, match="matmul"):
        cli.main(["compare", "--methods", "broken", "--quiet", "--output", str(tmp_path / "x.png")])


def test_a_wrong_step_of_a_users_method_is_a_mistake(capsys, tmp_path):
    (tmp_path / "mine.py").write_text("def method(block):\n    return block.theta[:-1]\n")
    code, _, err = run(capsys, "compare", "--methods", f"{tmp_path / 'mine.py'}:method", "--quiet",
                       "--output", str(tmp_path / "x.png"))
    assert code == 2
    assert "the step proposed for map 3 must have shape (129, 10), got (128, 10)" in err


@pytest.mark.parametrize(("raise_it", "mistake"), [
    (lambda: ml.ProxProp(tau_theta=-1), True),  # raised by a check of ours
    (lambda: Path("/nowhere/at/all").read_text(), True),
    (lambda: ml.Linear(2, 3).forward(np.ones((3, 3)), np.ones((1, 9))), False),  # an operation that failed in our code
    (lambda: int("x"), False)])
def test_what_is_a_mistake(raise_it, mistake):
    with pytest.raises((ValueError, OSError)) as caught:
        raise_it()
    assert cli.is_mistake(caught.value) == mistake


def test_ctrl_c(capsys, monkeypatch, tmp_path):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt
    monkeypatch.setattr(compare, "fit", interrupt)
    code, _, err = run(capsys, "compare", "--quiet", "--output", str(tmp_path / "x.png"))
    assert code == 130
    assert err == "minilift compare: interrupted\n"


def test_a_reader_that_leaves_is_no_error():
    process = subprocess.Popen([sys.executable, "-m", "minilift.cli", "equations"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141
    process.stderr.close()


# ---- minilift data


def test_data_list(capsys):
    code, out, err = run(capsys, "data", "list")
    assert (code, err) == (0, "")
    for name in ml.datasets.available():
        assert f"\n{name}\n" in f"\n{out}"
    assert "CC BY 4.0" in out


def test_data_fetch_of_what_is_embedded(capsys):
    code, out, _ = run(capsys, "data", "fetch", "digits")
    assert code == 0
    assert "1437 + 360 samples of 8×8×1" in out


def test_data_fetch_offline(capsys, monkeypatch, tmp_path):
    """The message says which file, from where, and where to put it."""
    import socket

    def refuse(*arguments, **options):
        raise OSError("no network in this test")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("MINILIFT_DATA", str(tmp_path))
    code, _, err = run(capsys, "data", "fetch", "mnist")
    assert code == 2
    last = err.splitlines()[-1]
    for part in ("train-images-idx3-ubyte.gz", "https://", str(tmp_path / "mnist")):
        assert part in last
