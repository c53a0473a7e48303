"""Wrong command lines of compare, bench and reproduce: one line that names the option, exit code 2, nothing begun."""

import json
import os

import numpy as np
import pytest

from minilift import cli
from minilift.lab import bench, compare, reproduce
from minilift.support import options

HUGE = "1" + 30 * "0"


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command line in an empty folder and returns the last line of its error."""
    def begun(*arguments, **more):
        pytest.fail("work was begun")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "fit", begun)
    monkeypatch.setattr(reproduce, "fit", begun)
    monkeypatch.setattr(bench, "fresh_process", begun)

    def run(*words):
        before = sorted(tmp_path.rglob("*"))
        try:
            code = cli.main(list(words))
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        assert (code, captured.out) == (2, "")
        assert "Traceback" not in captured.err
        assert sorted(tmp_path.rglob("*")) == before
        return captured.err.splitlines()[-1]

    return run


NUMBERS = [(command, option) for command, options_ in (
    ("compare", ("samples", "epochs", "batch", "repeats", "threads")), ("bench step", ("rounds", "threads")),
    ("reproduce sibp-mnist", ("seeds", "epochs", "samples", "threads", "jobs"))) for option in options_]


@pytest.mark.parametrize("value", ["0", "-1000", HUGE, "9" * 5000, "1.5", "٣", "1_0", " 1", "", "nan", "inf", "x"])
@pytest.mark.parametrize(("command", "option"), NUMBERS)
def test_a_number_out_of_range_or_in_other_digits(refused, command, option, value):
    assert f"--{option}" in refused(*command.split(), f"--{option}={value}")


@pytest.mark.parametrize(("option", "value"), [
    *((option, value) for option in ("level", "steps") for value in ("", "0", "-1", "nan", "inf", "1e999", "٣", "1_0")),
    ("steps", "1,,2"), ("steps", "1;2"), ("layers", ""), ("layers", "64,,10"), ("layers", "64,-3,10"),
    ("layers", "64,٣,10"), ("layers", f"64,{HUGE},10"), ("layers", "64,100000000,100000000,10"), ("layers", "64"),
    ("seed", "-1"), ("seed", "٣"), ("data", ""), ("data", "digts"), ("data", "digits:x=1"), ("data", "moons:noise=abc"),
    ("data", "moons:noise"), ("data", "moons:noise=nan"), ("data", "moons:n=-1"), ("data", "moons:seed=-1"),
    ("data", "teacher:widths=3"), ("net", "x"), ("activation", ""), ("backend", "x"),
    ("methods", ""), ("methods", "proxprop:tau_theta=abc"), ("methods", "proxprop:tau_theta=1j"),
    ("methods", "proxprop:tau_theta=nan"), ("methods", "proxprop:tau_theta=[0]"), ("methods", "locoprop-s:steps=-1"),
    ("methods", "semi-implicit:lam=" + "1" + "0" * 400), ("methods", "proxprop:tau_theta=" + "(" * 3000),
    ("methods", "semi-implicit:eta=1"), ("methods", "nowhere.py:method"), ("methods", "proxprop:=1"),
    ("optimizer", "nesterov:momentum=2"), ("optimizer", "nesterov:momentum=x"), ("optimizer", ""), ("optimizer", "x"),
    ("optimizer", "sgd:lr=1"), ("output", "."), ("output", "nowhere/x.png"), ("output", "x.pgn"), ("output", "x"),
    ("output", f"{'x' * 300}.png"), ("output", "/proc/x.png"),
])
def test_values_that_compare_does_not_take(refused, option, value):
    assert f"--{option}" in refused("compare", f"--{option}={value}")


def test_an_autoencoder_of_what_is_not_between_0_and_1(refused):
    said = refused("compare", "--autoencoder", "--data", "moons")
    assert "--autoencoder: the train set: y: SigmoidCrossEntropy" in said


def arrays_with(**changes):
    """Return a small data set of a user's, with some arrays changed, left out (None) or replaced."""
    rng = np.random.default_rng(0)
    arrays = {"X_train": rng.integers(0, 256, (40, 6), dtype=np.uint8), "y_train": rng.integers(0, 3, 40),
              "X_test": rng.integers(0, 256, (10, 6), dtype=np.uint8), "y_test": rng.integers(0, 3, 10)}
    return {name: array for name, array in {**arrays, **changes}.items() if array is not None}


@pytest.mark.parametrize("changes", [
    {"X_train": None}, {"y_test": None}, {"X_train": np.array(3)}, {"X_train": np.zeros((0, 6), np.uint8)},
    {"X_train": np.zeros(40, np.uint8)}, {"X_train": np.full((40, 6), np.nan)}, {"X_train": np.full((40, 6), 255)},
    {"X_train": np.full((40, 6), "x")}, {"X_train": np.zeros((40, 6), complex)},
    {"X_test": np.zeros((10, 5), np.uint8)},
    {"X_test": np.zeros((0, 6), np.uint8)}, {"X_train": np.zeros((40, 0), np.uint8)}, {"y_train": np.zeros(39, int)},
    {"y_train": np.zeros((40, 3), int)}, {"y_train": np.full(40, -1)}, {"y_train": np.zeros(40)},
    {"y_train": np.full(40, 10**12)}, {"y_test": np.array(["a"] * 10)}])
def test_a_data_file_with_wrong_content(refused, tmp_path, changes):
    np.savez(tmp_path / "mine.npz", **arrays_with(**changes))
    for experiment in ("proxprop-fig2", "usps-autoencoder"):
        assert "--data: " in refused("reproduce", experiment, "--data", "mine.npz")
    assert "--data: " in refused("bench", "step", "--data", "mine.npz")


def test_labels_of_one_class_are_nothing_to_learn(refused, tmp_path):
    """An autoencoder does not ask for them."""
    np.savez(tmp_path / "mine.npz", **arrays_with(y_train=np.zeros(40, int)))
    for command in (["reproduce", "sibp-mnist"], ["bench", "race"], ["compare"], ["train"]):
        assert "--data: the 40 training samples of mine have one and" in refused(*command, "--data", "mine.npz")
    assert "--epochs" in refused("train", "--autoencoder", "--data", "mine.npz", "--epochs", "0")


def test_names_with_commas_are_told_apart(refused):
    assert "known: backprop, Nesterov; backprop, Adam; " in refused("bench", "race", "--contender", "x")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive at all", b"\x93NUMPY"])
def test_a_damaged_data_file(refused, tmp_path, content):
    (tmp_path / "mine.npz").write_bytes(content)
    for command in (["reproduce", "proxprop-fig2"], ["bench", "step"]):
        assert "mine.npz" in refused(*command, "--data", "mine.npz")
        assert "nowhere.npz" in refused(*command, "--data", "nowhere.npz")


def test_a_convnet_takes_images(refused, tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays_with())
    assert "--data: proxprop-fig3 takes images" in refused("reproduce", "proxprop-fig3", "--data", "mine.npz")


@pytest.mark.parametrize("X", [np.full((500, 3072), np.nan), np.zeros((500, 3072)), np.full((500, 3072), -1),
                               np.ones((499, 3072)), np.array(3), np.full((500, 3072), "x", dtype="U1")])
def test_images_that_bench_cannot_use(refused, tmp_path, X):
    np.savez(tmp_path / "mine.npz", X_train=X)
    assert "--data: " in refused("bench", "step", "--data", "mine.npz")


@pytest.mark.parametrize("words", [["bench", "step"], ["reproduce", "proxprop-fig2", "--samples", "50"]])
def test_a_folder_that_cannot_be_made(refused, tmp_path, words):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/folder", "/proc/folder", "x" * 300):
        assert "--output: " in refused(*words, "--output", folder)


@pytest.mark.parametrize("name", ["settings.json", "runs/digits_cg3_1_0.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b'"x"', b"{}", b"\xff\xfe", b"null", b"[" * 100000,
                                     b'{"history": []}', b'{"history": {"label": 1}}'])
def test_a_damaged_results_folder(refused, tmp_path, name, content):
    words = ["reproduce", "proxprop-fig2", "--samples", "50", "--output", "r"]
    plan = reproduce.Plan("proxprop-fig2", samples=50)
    reproduce.claim_folder(plan, tmp_path / "r")
    (tmp_path / "r" / name).write_bytes(content)
    line = refused(*words)
    assert str(tmp_path / "r" / name).endswith(name)
    assert name in line or "r holds results of other settings: " in line


@pytest.mark.parametrize("content", [[], 3, None, {}, {"command": 3}, {"command": "minilift bench step"},
                                     {"command": "minilift bench step", "rows": [{}], "machine": {}},
                                     {"verdicts": [], "title": "x"}, {"verdicts": 3}])
def test_results_of_another_shape_are_named(refused, tmp_path, content):
    (tmp_path / "data" / "results").mkdir(parents=True)
    (tmp_path / "data" / "results" / "x.json").write_text(json.dumps(content))
    (tmp_path / "data" / "results" / "README.md").write_text("<!-- results:begin --><!-- results:end -->")
    line = refused("reproduce", "--write", "data/results/README.md")
    assert "--write: " in line
    assert "x.json" in line


def test_a_readme_that_is_no_text(refused, tmp_path):
    (tmp_path / "README.md").write_bytes(b"\xff\xfe\x00")
    assert "--write: " in refused("reproduce", "--write", "README.md")
    assert "nowhere" in refused("reproduce", "--write", "nowhere.md")


def test_minus_one_stands_for_all_cores_and_nothing_is_left_by_a_trial(tmp_path):
    for jobs in (0, -2, 2000):
        with pytest.raises(ValueError, match="--jobs must be"):
            reproduce.reproduce(reproduce.Plan("sibp-mnist"), tmp_path, jobs=jobs)
    (tmp_path / "x.png.trial").write_text("a user's own")
    options.writable(tmp_path / "x.png")
    options.writable_folder(tmp_path / "a" / "b")
    assert sorted(os.listdir(tmp_path)) == ["a", "x.png.trial"]
    assert (tmp_path / "x.png.trial").read_text() == "a user's own"


def test_a_folder_is_taken_whatever_is_in_it(tmp_path):
    """As `data` is in a clone, which holds the folder `results`."""
    (tmp_path / "results").mkdir()
    options.writable_folder(tmp_path)
    assert os.listdir(tmp_path) == ["results"]
