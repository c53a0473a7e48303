"""The course's machinery: what a check says, what is handed out, what grading makes of a notebook."""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from minilift.course import notebooks, teach
from minilift.support.signals import Terminated


@pytest.fixture
def reported(monkeypatch):
    """Collect what checks and records report."""
    seen = []
    monkeypatch.setattr(teach, "publish", lambda text, report: seen.append({**report, "printed": text}))
    return seen


def check_doubling(answer):
    """Ask for a function that doubles an array: a small exercise to try the check on."""
    x = np.array([1.0, -2.0])

    def claims(double):
        yield teach.claim("twice x", double(x), 2 * x)

    def mistakes(double):
        yield teach.same(double(x), x**2), "this squares"
        yield teach.same(double(x), x), "nothing has changed"

    return teach.check("9.1", answer, claims, mistakes, fallback=lambda x: x + x)


def write_in_place(x):
    x *= 2
    return x


@pytest.mark.parametrize(("answer", "status", "message"), [
    (lambda x: 2 * x, "PASS", ""),
    (lambda x: x**2, "FAIL", "this squares"),
    (lambda x: x, "FAIL", "nothing has changed"),
    (lambda x: 3 * x, "FAIL", "1.5 times what it should be"),
    (lambda x: -2 * x, "FAIL", "it is minus what it should be"),
    (lambda x: x + 1, "FAIL", "the first property that fails is 'twice x'"),
    (lambda x: x * np.nan, "FAIL", "the first property that fails is 'twice x'"),
    (lambda x: x[:1], "FAIL", "your answer does not fit: twice x: shape (1,) where (2,) is expected"),
    (lambda x: 2 * x[None], "FAIL", "shape (1, 2) where (2,) is expected"),
    (lambda x: "two", "FAIL", "could not convert"),
    (lambda x: 1 / 0, "FAIL", "ZeroDivisionError: division by zero; what should come back"),
    (lambda x: math.log(0), "FAIL", "logarithm of a number that is 0"),
    (lambda x: x.reshape(3, 5), "FAIL", "taken from .shape"),
    (write_in_place, "FAIL", "writes into one of its arguments"),
    (lambda x: None, "FAIL", "a return is missing"),
    (lambda x: (2.0, -4.0), "PASS", ""),
    (None, "TODO", ""),
    ((None, 3), "TODO", ""),
    (lambda x: [None, 2 * x], "FAIL", "your answer does not fit"),
    (lambda x: x[5], "FAIL", "your answer raised"),
    (lambda x: lambda: 2 * x, "FAIL", "it must be called"),
])
def test_check_tells_right_from_wrong_and_from_not_done(reported, answer, status, message):
    returned = check_doubling(answer)
    assert reported[0]["status"] == status
    assert message in reported[0]["message"]
    assert reported[0]["printed"].startswith(f"{status}  Exercise 9.1")
    if status == "PASS":
        assert returned is answer
    else:  # the library's stands in
        assert returned is not answer
        assert returned(3.0) == 6.0


def test_check_says_the_size_of_the_error(reported):
    check_doubling(lambda x: 2 * x + 0.25)
    (claim,) = reported[0]["claims"]
    assert claim == {"text": "twice x", "error": 0.0625, "tolerance": teach.ROUNDING}
    assert "error 6.2e-02" in reported[0]["printed"]
    json.dumps(reported)


def test_report_of_a_result_that_is_not_finite_is_valid_json(reported):
    check_doubling(lambda x: x * np.inf)
    assert reported[0]["claims"][0]["error"] is None
    json.dumps(reported, allow_nan=False)
    assert "inf (limit" in notebooks.table(reported)[1]


def test_a_diagnosis_that_cannot_deal_with_an_answer_does_not_stop_the_notebook(reported):
    def mistakes(answer):
        yield answer(1.0).shape == (7,), "never reached"
    teach.check("9.2", lambda x: x, lambda f: [teach.claim("zero", f(1.0), 0.0)], mistakes)
    assert reported[0]["status"] == "FAIL"
    assert reported[0]["message"] == "the first property that fails is 'zero'"


def test_a_message_says_what_failed_first_what_held_before_and_where_to_look(reported):
    def claims(power):
        for k, look in ((1, "the start"), (2, "the loop")):
            yield teach.claim(f"k = {k}", power([2.0, 3.0], k), np.array([2.0, 3.0]) ** k, look=f"look at {look}")
    teach.check("9.4", lambda x, k: np.array(x), claims)
    assert reported[0]["message"] == "the first property that fails is 'k = 2' ('k = 1' holds); look at the loop"


def test_a_table_of_wrong_answers_names_what_behaves_like_one_of_them():
    table = {"squares": lambda x: x**2, "has no row": lambda x: x[0], "adds": lambda x: x + x}
    found = list(teach.slips(lambda x: 2 * x, [(3.0,), (np.array(5.0),)], table))
    assert found == [(False, "squares"), (False, "has no row"), (True, "adds")]


def test_nan_is_the_same_wrong_answer_as_nan_where_it_stands_in_the_same_places():
    assert teach.same(np.nan, np.nan)
    assert teach.same([1.0, np.nan], (1.0, np.nan))
    assert not teach.same(np.array([1.0, np.nan]), np.array([np.nan, 1.0]))
    assert not teach.same(np.array([1.0, np.nan]), np.array([2.0, np.nan]))
    assert not teach.same(np.nan, np.inf)


def stand_in_for_doubling(x):
    return 2 * x


def test_a_stand_in_is_no_answer(reported):
    """Neither what the checks are made of, nor what an earlier check of the same exercise gave."""
    space = {"f": stand_in_for_doubling, "__name__": __name__}
    teach.close_to_answers(space)
    given = check_doubling(space["f"])
    assert "calls a function of the checks" in reported[0]["message"]
    assert (given(3.0), space["f"](3.0)) == (6.0, 6.0)  # elsewhere both work
    check_doubling(given)
    check_doubling(lambda x: given(x))
    assert [report["status"] for report in reported] == ["FAIL", "TODO", "FAIL"]
    teach.check("9.5", given, lambda f: [teach.claim("another exercise may use it", f(1.0), 2.0)])
    number = teach.check("9.6", 27, lambda n: [teach.claim("n", n, 28)], fallback=28)
    teach.check("9.6", number, lambda n: [teach.claim("n", n, 28)], fallback=28)
    teach.check("9.6", 28, lambda n: [teach.claim("n", n, 28)], fallback=28)
    assert [report["status"] for report in reported[3:]] == ["PASS", "FAIL", "TODO", "PASS"]


@pytest.mark.parametrize(("tolerance", "printed"), [(0.015, "0.015"), (1.001, "1.001"), (1e-12, "1e-12"), (0, "0")])
def test_a_tolerance_is_printed_as_it_is(reported, tolerance, printed):
    teach.check("9.7", 1.0, lambda x: [teach.claim("one", x, 3.0, tolerance)])
    assert f"(tolerance {printed})" in reported[0]["printed"]
    assert f"(limit {printed})" in notebooks.table(reported)[1]


def test_answers_get_copies(reported):
    x = np.ones(2)
    kept = []
    teach.check("9.3", lambda x: kept.append(x) or x, lambda f: [teach.claim("x", f(x), x)])
    assert kept[0] is not x
    assert not kept[0].flags.writeable
    teach.check("9.3", lambda table, pair: table["x"] * pair[0], lambda f: [teach.claim("x", f({"x": x}, (x,)), x)])
    for write in (lambda table, pair: table["x"].fill(2), lambda table, pair: pair[0].fill(2)):
        teach.check("9.3", write, lambda f: [teach.claim("x", f({"x": x}, (x,)), x)])
    assert [report["status"] for report in reported] == ["PASS", "PASS", "FAIL", "FAIL"]
    assert (x == 1).all()
    assert "writes into one of its arguments" in reported[-1]["message"]


class Tensor:
    """An array of another library: np.asarray takes it, and np.sum with an axis does not."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)

    def sum(self):
        return self.values.sum()


@pytest.mark.parametrize("answer", [
    lambda x: (2 * x).tolist(), lambda x: [*(2 * x)], lambda x: map(tuple, 2 * x), lambda x: tuple(map(list, 2 * x)),
    lambda x: np.asmatrix(2 * x), lambda x: (2 * row for row in x), lambda x: dict(enumerate(2 * x)).values(),
    lambda x: Tensor(2 * x)])
def test_a_right_answer_goes_on_in_the_form_in_which_it_was_checked(reported, answer):
    x = np.array([[1.0, -2.0, 0.5], [3.0, 0.0, 1.0]])
    double = teach.check("9.9", answer, lambda f: [teach.claim("twice x", f(x), 2 * x)])
    assert reported[0]["status"] == "PASS"
    assert type(double(x)) is np.ndarray
    assert (double(x)[:, 0] == [2, 6]).all()


def test_what_begins_with_a_symbol_keeps_its_case_in_a_verdict():
    assert "\n      n is the inner size." in teach.verdict("9.9", "FAIL", [], "n is the inner size", False)
    assert "\n      A sum is asked for." in teach.verdict("9.9", "FAIL", [], "a sum is asked for", False)


def test_a_tuple_of_numbers_is_an_array_where_one_is_asked_for(reported):
    x = np.array([1.0, -2.0])
    for array, form in ((True, np.ndarray), (False, tuple)):
        double = teach.check("9.9", lambda x: tuple(2 * x), lambda f: [teach.claim("twice x", f(x), 2 * x)],
                             array=array)
        assert reported[-1]["status"] == "PASS"
        assert type(double(x)) is form


def test_parts_of_an_answer_that_are_no_array_together_stay_apart(reported):
    first, second = np.ones((2, 3)), np.ones(3)
    for pair in ([first, second], (first, second), [None, first, first], (1.0, np.nan, 0), (second, 2.0)):
        assert teach.in_form(pair) is pair
    apart = ([None, first, second], first)
    assert teach.in_form(apart) is apart
    weights, bias = teach.in_form((first.tolist(), second.tolist()))
    assert (weights.shape, bias.shape) == ((2, 3), (3,))
    assert type(teach.in_form([first.tolist(), second.tolist()])) is list


def add_in_place(values):
    values[0] = values[0] + values.pop()
    return values[0]


def test_an_answer_that_changes_a_list_is_refused_and_a_wrong_one_is_told_what_is_wrong_with_its_result(reported):
    def claims(add):
        return [teach.claim("sum", add([1.0, 2.0]), 3.0)]

    teach.check("9.8", add_in_place, claims)
    teach.check("9.8", lambda values: -add_in_place(values), claims, lambda add: [(add([1.0, 1.0]) == -2, "the sign")])
    teach.check("9.8", lambda values: add_in_place(list(values)), claims)
    assert [report["status"] for report in reported] == ["FAIL", "FAIL", "PASS"]
    assert "begin with a copy" in reported[0]["message"]
    assert reported[1]["message"] == "the sign"


def test_a_number_that_is_written_as_text_is_refused(reported):
    for answer in ("40", (1.0, "2e3")):
        teach.check("9.8", answer, lambda x: [teach.claim("anything", 1.0, 1.0)])
    teach.check("9.8", lambda: f"{0.5:.1f}", lambda answer: [teach.claim("a half", float(answer()), 0.5)])
    assert [report["message"] for report in reported] == [teach.TEXT] * 3


def test_a_complex_number_is_refused_and_one_without_imaginary_part_is_not(reported):
    for answer in ([0.1 + 0.1j, 0.1], np.array([0.1 + 0j, 0.1])):
        teach.check("9.8", answer, lambda x: [teach.claim("anything", 1.0, 1.0)])
    assert [report["status"] for report in reported] == ["FAIL", "PASS"]
    assert "complex numbers" in reported[0]["message"]


def test_holds_raises_when_an_equation_does_not_hold(capsys):
    teach.holds("one is one", 1.0, 1.0)
    assert capsys.readouterr().out.startswith("holds   one is one: error 0.0e+00")
    for wrong in (1.1, np.nan):
        with pytest.raises(AssertionError, match="does not hold: one"):
            teach.holds("one", wrong, 1.0)
    with pytest.raises(ValueError, match="shape"):
        teach.holds("one", np.ones(2), 1.0)


def test_record_says_when_the_text_is_no_longer_right(reported):
    teach.record("pi", 3.14159, expected=3.14, tolerance=0.01)
    teach.record("pi", 2.72, expected=3.14, tolerance=0.01)
    teach.record("pi", np.nan, expected=3.14, tolerance=0.01)
    assert [report["kept"] for report in reported] == [True, False, False]


@pytest.mark.parametrize(("prediction", "says"), [(None, "No prediction"), ("a", "Predicted: 'a'; it is 'b'"),
                                                  ("b", "Predicted: 'b', and so it is"),
                                                  ("B", "Predicted: 'b', and so it is"),
                                                  ("(b).", "Predicted: 'b', and so it is"),
                                                   (np.ones((2, 5)), "Predicted: 10 values; were quotation marks"),
                                                  ([np.ones(2), np.ones(3)], "Predicted: 2 values; were quotation")])
def test_reveal(capsys, prediction, says):
    teach.reveal(prediction, "b", "Because.")
    out = capsys.readouterr().out
    assert says in out
    assert out.endswith("Because.\n")


def test_band_draws_a_cross_where_a_run_diverged():
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    fig, ax = plt.subplots()
    teach.band(ax, [1, 2, 3], [[1, 2, np.inf], [1, 50, 1], [1, 3, 1]], "BackProp", ceiling=10)
    (crosses,) = [line for line in ax.lines if line.get_marker() == "x"]
    assert list(crosses.get_xdata()) == [2, 3]
    assert not [line for line in ax.lines if line.get_marker() == "o" and line.get_linestyle() == "None"]
    teach.band(ax, [1, 2, 3], [[1, 2, np.inf], [1, 50, 1], [1, 3, 1]], "BackProp", ceiling=10, survivors=True)
    circles = [line for line in ax.lines if line.get_marker() == "o" and line.get_linestyle() == "None"]
    plt.close(fig)
    np.testing.assert_array_equal([line.get_ydata() for line in circles], [[2, np.nan], [np.nan, 1], [3, 1]])
    with pytest.raises(ValueError, match="did you mean 'BackProp'"):
        teach.method_style("Backprop")


def test_every_method_of_training_has_its_own_look():
    looks = [look for name, look in teach.METHODS.items() if name not in ("explicit", "implicit", "exact")]
    assert len(set(looks)) == len(looks)


# ---- handing out and grading

def parsed(*words):
    parser = argparse.ArgumentParser()
    teach.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("name", ["05", "5", "05_implicit_weights", "05_implicit_weights.ipynb"])
def test_a_notebook_without_a_folder_is_no_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"DIR: a folder comes before .* 'minilift teach student course {name}'"):
        teach.run(parsed("student", name))
    assert not list(tmp_path.iterdir())
    assert teach.run(parsed("student", name, name)) == 0  # who says both means it


@pytest.mark.parametrize("folder", ["course", "5.2", "./05", "class/05", "99"])
def test_a_folder_is_no_notebook(folder):
    assert not notebooks.is_name(folder)


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "05.ipynb").write_text("\n")
    with pytest.raises(ValueError, match=r"05\.ipynb: is empty"):
        notebooks.read(tmp_path / "05.ipynb")


def test_hand_out_gives_fresh_notebooks_and_keeps_existing_work(tmp_path, capsys):
    folder = tmp_path / "class"
    assert teach.run(parsed("student", str(folder), "1")) == 0
    path = folder / "01_backward_step.ipynb"
    assert all(not cell["outputs"] for cell in notebooks.read(path)["cells"] if cell["cell_type"] == "code")
    path.write_text("my work")
    capsys.readouterr()
    teach.run(parsed("student", str(folder), "01"))
    assert "exists, left as it is" in capsys.readouterr().out
    assert path.read_text() == "my work"


def test_an_unknown_notebook_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="did you mean '03_backprop'"):
        notebooks.hand_out(tmp_path, ["03_backpropp"])


def test_tutorials_without_jupyter_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "CURRICULUM", ("01_backward_step",))
    monkeypatch.setattr(notebooks.hand_out, "__defaults__", (("01_backward_step",),))
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    parser = argparse.ArgumentParser()
    teach.add_tutorials_arguments(parser)
    with pytest.raises(RuntimeError, match=r"install with: \S+ -m pip install (-e )?'.*\[tutorials\]'$"):
        teach.run_tutorials(parser.parse_args([str(tmp_path)]))
    assert not list(tmp_path.iterdir()), "it is said before anything is copied"
    assert teach.run_tutorials(parser.parse_args([str(tmp_path), "--no-browser"])) == 0


@pytest.fixture
def jupyterlab(monkeypatch):
    """Put a process in the place of JupyterLab's; return what waiting for it raises, one after the other, and a log."""
    raised, log = [], []

    class Process:
        def __init__(self, words):
            log.append(words[-1])

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            log.append("awaited")

        def wait(self, timeout=None):
            if raised:
                raise raised.pop(0)
            return 0

        def terminate(self):
            log.append("terminated")

        def kill(self):
            log.append("killed")
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(notebooks, "import_or_explain", lambda *modules: None)
    monkeypatch.setattr(notebooks, "hand_out", lambda directory: [])
    return raised, log


def run_tutorials():
    return teach.run_tutorials(argparse.Namespace(directory="mine", no_browser=False))


def test_ctrl_c_is_jupyterlabs_own_affair(jupyterlab):
    """It asks whether to end, and takes its kernels with it."""
    raised, log = jupyterlab
    raised += [KeyboardInterrupt(), KeyboardInterrupt()]
    try:
        assert run_tutorials() == 0
    except KeyboardInterrupt:
        pytest.fail("it was taken for ours")
    assert log == ["mine", "awaited"]


def test_sigterm_goes_on_to_jupyterlab(jupyterlab):
    raised, log = jupyterlab
    raised += [Terminated()]
    with pytest.raises(Terminated):
        run_tutorials()
    assert log == ["mine", "terminated", "awaited"]


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    path = tmp_path / "01_backward_step.ipynb"
    path.write_text("{}")
    with pytest.raises(ValueError, match="is not a Jupyter notebook"):
        notebooks.grade(path, 1)


CELL = {"cell_type": "code", "source": "# Exercise 1.1", "metadata": {}, "outputs": [], "execution_count": None}
NO_NOTEBOOKS = {
    "empty": b"", "no JSON": b"PK\x03\x04", "no UTF-8": b"\xff\xfe\x00{", "a list": b"[]", "a number": b"5",
    "null": b"null", "no cells": b"{}", "cells null": b'{"cells": null}', "cells a dict": b'{"cells": {}}',
    "cells a text": b'{"cells": "x"}', "a cell null": b'{"cells": [null]}', "a cell a list": b'{"cells": [[]]}',
    "format 3": b'{"worksheets": []}',
    "no source": b'{"cells": [{"cell_type": "code"}]}', "source a number": b'{"cells": [{"source": 5}]}',
    "source a list of numbers": b'{"cells": [{"source": [5]}]}', "source NaN": b'{"cells": [{"source": NaN}]}',
    "nested": b'{"cells": ' + 100_000 * b"[" + 100_000 * b"]" + b"}",
    "a long number": b'{"cells": ' + 5000 * b"9" + b"}",
    "of no known name": json.dumps({"cells": [{**CELL, "source": "# Exercise 77.1"}], "metadata": {}}).encode(),
    "of another course": json.dumps({"cells": [], "metadata": {"minilift": {"notebook": "99_more"}}}).encode(),
    "its name a number": json.dumps({"cells": [], "metadata": {"minilift": {"notebook": 5}}}).encode(),
}


@pytest.mark.parametrize("damage", NO_NOTEBOOKS)
def test_a_damaged_notebook_is_a_value_error(tmp_path, monkeypatch, damage):
    pytest.importorskip("nbformat")
    monkeypatch.setattr(notebooks, "execute", lambda *arguments, **options: pytest.fail("it was run"))
    path = tmp_path / "returned.ipynb"
    path.write_bytes(NO_NOTEBOOKS[damage])
    named = r"\.ipynb: (is empty|is not a Jupyter notebook|cell 1: its source)|unknown name"
    with pytest.raises(ValueError, match=named):
        notebooks.grade(path, 1)


def test_a_notebook_of_no_known_name_is_told_in_one_line(tmp_path):
    """It was told the names of all fifteen, in the table of a class."""
    pytest.importorskip("nbformat")
    (tmp_path / "carol.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    with pytest.raises(ValueError, match="unknown name 'carol', and nothing in it says") as error:
        notebooks.grade(tmp_path / "carol.ipynb", 1)
    assert len(str(error.value)) < 200


def test_a_notebook_that_lost_its_name_is_known_by_its_exercises(tmp_path, monkeypatch):
    """It was renamed, and saved by a program that drops metadata."""
    notebook = notebooks.read(notebooks.paths("02")[2])
    path = tmp_path / "homework of carol.ipynb"
    path.write_text(json.dumps({**notebook, "metadata": {}}), encoding="utf-8")
    results, _ = graded_without_running(path, monkeypatch)
    assert {number.partition(".")[0] for number in results} == {"2"}
    others = notebooks.read(notebooks.paths("03")[2])["cells"]
    path.write_text(json.dumps({**notebook, "metadata": {}, "cells": notebook["cells"] + others}), encoding="utf-8")
    with pytest.raises(ValueError, match="nothing in it says which it is"):
        notebooks.grade(path, 1)


def test_a_notebook_that_is_no_file_or_too_large_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "LARGEST", 2_000_000)
    (tmp_path / "large.ipynb").write_bytes(2_000_001 * b" ")
    for name, says in (("", "cannot be read"), ("missing.ipynb", "cannot be read"), ("large.ipynb", "larger than")):
        with pytest.raises(ValueError, match=says):
            notebooks.grade(tmp_path / name, 1)


@pytest.mark.parametrize("change", [
    {"metadata": None}, {"metadata": {"minilift": None}}, {"metadata": {"minilift": {"notebook": None}}},
    {"nbformat": float("nan")}, {"nbformat": None}, {"more": [float("inf")]}])
def test_damage_outside_the_answers_does_no_harm(tmp_path, monkeypatch, change):
    """The answers are found, and so is the notebook's name, from the file's if it is nowhere else."""
    pytest.importorskip("nbformat")
    notebook = {**notebooks.read(notebooks.paths("01")[2]), **change}
    for cell in notebook["cells"]:
        cell.update(metadata=None, outputs=5)
    path = tmp_path / "01_backward_step.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    seen = []
    monkeypatch.setattr(notebooks, "execute", lambda notebook, **options: seen.append(notebook) or notebook)
    notebooks.grade(path, 1)
    assert len(notebooks.answers_in(notebooks.read(path))) == 4
    assert sum("raise NotImplementedError" in cell.source for cell in seen[0].cells) == 0


def test_the_notebooks_of_a_class_are_graded_one_by_one(tmp_path, monkeypatch, capsys):
    pytest.importorskip("nbclient")
    results = [{"exercise": "1.1", "status": "PASS", "claims": [], "message": ""}]
    grade, names = notebooks.grade, ["ada.ipynb", "bob.ipynb", "cy.ipynb", "dan.ipynb", "eve.ipynb"]
    (tmp_path / "bob.ipynb").write_text("not yet")

    def graded(path, seed, of_exam):
        assert path.name != "dan.ipynb", "half a minute whose result cannot be written"
        if path.name == "cy.ipynb":
            raise KeyError("a bug of ours")
        return grade(path, seed) if path.name == "bob.ipynb" else results
    monkeypatch.setattr(notebooks, "grade", graded)
    (tmp_path / "dan.grade.json").mkdir()  # so that its result cannot be written
    assert teach.run(parsed("grade", *(str(tmp_path / name) for name in names))) == 2
    out, err = capsys.readouterr()
    assert out.count("1 of 1 passed") == 2
    announced, *refused = err.splitlines()
    assert "grading 5 notebooks" in announced
    assert [line.split(" cannot")[0][-9:] for line in refused] == ["bob.ipynb", "/cy.ipynb", "dan.ipynb"]
    assert (tmp_path / "eve.grade.json").is_file()
    assert teach.run(parsed("grade", str(tmp_path / "ada.ipynb"))) == 0
    with pytest.raises(ValueError, match="--json: names the file of one notebook, got 2"):
        teach.run(parsed("grade", "a", "b", "--json", "c"))


def test_grades_that_cannot_be_written_after_all_are_printed(tmp_path, monkeypatch, capsys):
    pytest.importorskip("nbclient")
    results = [{"exercise": "1.1", "status": "PASS", "claims": [], "message": ""}]
    monkeypatch.setattr(notebooks, "grade", lambda path, seed, of_exam: (path.parent / "ada.grade.json").mkdir()
                        or results)
    assert teach.run(parsed("grade", str(tmp_path / "ada.ipynb"))) == 2
    out, err = capsys.readouterr()
    assert "1 of 1 passed" in out
    assert "written" not in out
    assert "ada.grade.json: cannot be written, it is a folder" in err


def test_grades_that_nobody_reads_are_written(tmp_path, monkeypatch, capsys):
    """`minilift teach grade ada.ipynb | true`."""
    pytest.importorskip("nbclient")

    def unread(*words, **options):
        raise BrokenPipeError
    results = [{"exercise": "1.1", "status": "PASS", "claims": [], "message": ""}]
    monkeypatch.setattr(notebooks, "grade", lambda path, seed, of_exam: results)
    monkeypatch.setattr(notebooks, "print", unread, raising=False)
    with pytest.raises(BrokenPipeError):
        teach.run(parsed("grade", str(tmp_path / "ada.ipynb")))
    assert json.loads((tmp_path / "ada.grade.json").read_text())["results"] == results
    assert "cannot be graded" not in capsys.readouterr().err


def test_a_report_does_not_take_the_place_of_a_notebook(tmp_path, monkeypatch):
    """Of who takes --json for a switch."""
    pytest.importorskip("nbclient")
    monkeypatch.setattr(notebooks, "grade", lambda path, seed, of_exam: [])
    ada, bob = tmp_path / "ada.ipynb", tmp_path / "bob.ipynb"
    ada.write_text("my work")
    with pytest.raises(ValueError, match=r"--json: expected the file of a report, .* got the notebook .*ada\.ipynb"):
        teach.run(parsed("grade", "--json", str(ada), str(bob)))
    assert ada.read_text() == "my work"


def test_an_answer_that_is_no_unicode_fails_alone(tmp_path, monkeypatch):
    pytest.importorskip("nbformat")
    path = returned_notebook(tmp_path, e1="# Exercise 1.1\nx = '\ud800'")
    seen = []
    monkeypatch.setattr(notebooks, "execute", lambda notebook, **options: seen.append(notebook) or notebook)
    report = {"kind": "check", "exercise": "1.1", "status": "TODO", "claims": [], "message": ""}
    monkeypatch.setattr(notebooks, "reports", lambda notebook: [report])
    assert notebooks.grade(path, 1)[0]["message"] == "the cell is no text in Unicode"
    assert "\ud800" not in "".join(cell.source for cell in seen[0].cells)


def graded_without_running(path, monkeypatch):
    """Return what grading makes of a notebook if every check passes, and the exercise cells that would be run."""
    pytest.importorskip("nbformat")
    seen = []
    monkeypatch.setattr(notebooks, "execute", lambda notebook, **options: seen.append(notebook) or notebook)
    monkeypatch.setattr(notebooks, "verdict", lambda number, check: {
        "kind": "check", "exercise": number, "status": "PASS", "claims": [], "message": ""})
    results = {result["exercise"]: result for result in notebooks.grade(path, 1)}
    return results, [cell.source for cell in seen[0].cells if notebooks.tagged(cell, "exercise")]


@pytest.mark.parametrize("taken", ["explicit_step = check.library_implicit_step",
                                   "explicit_step = check.explicit_step(None, SEED)",
                                   "from minilift.course.exercises import backward_step as b",
                                   "k = check\nexplicit_step = k.library_implicit_step",
                                   "explicit_step = getattr(check, 'library_' + 'implicit_step')",
                                   "from minilift import course", "c = ml.course",
                                   "%%time\nexplicit_step = check.library_implicit_step"])
def test_an_answer_that_is_taken_from_the_checks_fails(tmp_path, monkeypatch, taken):
    pytest.importorskip("IPython")
    path = returned_notebook(tmp_path, e1=f"# Exercise 1.1\n{taken}" if taken[0] != "%" else f"{taken}\n# Exercise 1.1")
    results, run = graded_without_running(path, monkeypatch)
    assert results["1.1"]["status"] == "FAIL"
    assert results["1.1"]["message"] == "the cell takes its answer from the checks"
    assert not any(taken in source for source in run)
    assert results["1.2"]["status"] == "PASS"


def test_an_answer_that_uses_the_library_is_flagged(tmp_path, monkeypatch):
    path = returned_notebook(tmp_path, e2="# Exercise 1.2\ndef implicit_step(B, x, tau): return ml.solvers.exact(B)")
    results, _ = graded_without_running(path, monkeypatch)
    assert [results[number]["flags"] for number in ("1.1", "1.2")] == [[], ["uses ml.solvers.exact"]]
    assert "FLAG: uses ml.solvers.exact" in notebooks.table(results.values())[2]


@pytest.mark.parametrize(("source", "flag"), [
    *((line, line) for line in ("import minilift as m", "from minilift import ProxProp", "from os import path")),
    ("step = getattr(ml, 'Prox' + 'Prop')", "ml"), ("import sys, numpy", "import sys, numpy"),
    ("%%time\nk = check", "a cell magic"), ("k = __import__('os')", "__import__"), ("k = eval('m' 'l')", "eval"),
    ("k = f.__globals__", "__globals__"), ("get_ipython().events", "get_ipython"), ("!ls", "get_ipython"),
    ("def check(step): return step", "check"), ("SEED = 0", "SEED"), ("x = [check for check in y]", "check")])
def test_what_a_teacher_should_look_at(source, flag):
    pytest.importorskip("IPython")
    assert notebooks.names_of_note(source) == {flag}
    assert not notebooks.names_of_checks(source)


@pytest.mark.parametrize("source", ["import numpy.linalg as la\nfrom math import exp", "def f(x:", "x = a.T @ b", ""])
def test_plain_answers_raise_no_flag(source):
    pytest.importorskip("IPython")
    assert not notebooks.names_of_note(source) | notebooks.names_of_checks(source)


def test_model_answers_raise_no_flag():
    for name in notebooks.CURRICULUM:
        blanks, solved = (notebooks.answers_in(notebooks.read(notebooks.paths(name)[k])) for k in (1, 2))
        for number, source in solved.items():
            for names in (notebooks.names_of_checks, notebooks.names_of_note):
                assert notebooks.borrowed(names, source, blanks[number]) == [], number


def returned_notebook(tmp_path, **changes):
    """Write a solved notebook 01, the source of some exercise cells replaced, as a student returns it."""
    notebook = notebooks.read(notebooks.paths("01")[2])
    for cell in notebook["cells"]:
        for number, source in changes.items():
            if cell["source"].startswith(f"# Exercise 1.{number[1:]}\n"):
                cell["source"] = source
    path = tmp_path / "returned.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


@pytest.mark.parametrize(("second", "counts"), [
    ("def f(x):\n    return 2 * x", True), ("print(f(1))", False), ("x = f(1)", False), ("def f(x", True),
    ("%timeit f(1)", False), ("f = None", True), ("", False)])
def test_a_trial_below_an_answer_is_no_answer(second, counts):
    pytest.importorskip("IPython")
    first, second = "# Exercise 1.1\ndef f(x):\n    return x", f"# Exercise 1.1\n{second}"
    blanks = {"1.1": "# Exercise 1.1\ndef f(x):\n    raise NotImplementedError"}
    cells = [{"cell_type": "code", "source": source} for source in (first, second)]
    assert notebooks.answers_in({"cells": cells}, blanks) == {"1.1": second if counts else first}
    assert notebooks.answers_in({"cells": cells[::-1]}, blanks) == {"1.1": first}


@pytest.mark.slow
def test_a_solved_notebook_passes_with_another_seed(tmp_path, capsys):
    pytest.importorskip("nbclient")
    path = returned_notebook(tmp_path)
    assert teach.run(parsed("grade", str(path), "--seed", "7")) == 0
    out = capsys.readouterr().out
    graded = json.loads((tmp_path / "returned.grade.json").read_text())
    assert graded["seed"] == 7
    assert [result["status"] for result in graded["results"]] == ["PASS"] * 4
    assert "4 of 4 passed" in out


@pytest.mark.slow
def test_grading_judges_each_exercise_by_itself(tmp_path):
    """One is wrong, one does not even compile, one is not done: the last still passes."""
    pytest.importorskip("nbclient")
    path = returned_notebook(
        tmp_path,
        e1="# Exercise 1.1\ndef explicit_step(B, x, tau):\n    return x + tau * B.T @ (B @ x)",
        e2="# Exercise 1.2\ndef implicit_step(B, x, tau:",
        e3="# Exercise 1.3\ndef largest_stable_step(B):\n    raise NotImplementedError")
    results = {result["exercise"]: result for result in notebooks.grade(path, 3)}
    assert [results[f"1.{k}"]["status"] for k in range(1, 5)] == ["FAIL", "FAIL", "TODO", "PASS"]
    assert "downhill" in results["1.1"]["message"]
    assert "SyntaxError" in results["1.2"]["message"]


SMALL_COURSE = [
    (None, """SEED = 0
from IPython.display import display
def check(exercise, answer):
    try:
        status = "PASS" if answer() == 1 else "FAIL"
    except NotImplementedError:
        status = "TODO"
    report = {"kind": "check", "exercise": exercise, "status": status, "claims": [], "message": ""}
    display({"text/plain": status, "application/vnd.minilift.report+json": report}, raw=True)"""),
    ("exercise", "# Exercise 1.1\ndef one():\n    raise NotImplementedError"), ("check", "check('1.1', one)"),
    ("exercise", "# Exercise 1.2\ndef two():\n    raise NotImplementedError"), ("check", "check('1.2', two)")]
SHOW = """from IPython.display import display
def show(number):
    report = {"kind": "check", "exercise": number, "status": "PASS", "claims": [], "message": ""}
    display({"text/plain": "PASS", "application/vnd.minilift.report+json": report}, raw=True)"""
RIGHT_1_1 = "# Exercise 1.1\ndef one():\n    return 1"
RIGHT = "# Exercise 1.2\ndef two():\n    return 1"
ENDLESS = """# Exercise 1.1
def one():
    while True:
        try:
            sum(range(9**9))
        except KeyboardInterrupt:
            pass"""


@pytest.fixture
def small_course(tmp_path, monkeypatch):
    """Put two exercises that need no library in the place of notebook 01; return a writer of returned notebooks."""
    v4 = pytest.importorskip("nbformat").v4
    pytest.importorskip("nbclient")

    def write(path, cells):
        cells = [v4.new_code_cell(source, metadata={"tags": [tag]} if tag else {}) for tag, source in cells]
        path.write_text(notebooks.as_text(v4.new_notebook(cells=cells)), encoding="utf-8")
        return path
    course = write(tmp_path / "course.ipynb", SMALL_COURSE)
    monkeypatch.setattr(notebooks, "paths", lambda name: (None, course, None))
    monkeypatch.setattr(notebooks, "ANSWER_SECONDS", 6)
    return lambda *answers: write(tmp_path / "01.ipynb", [("exercise", answer) for answer in answers])


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "status", "message"), [
    (RIGHT_1_1, "PASS", ""),
    ("# Exercise 1.1\ndef one():\n    print(10**6 * 'much ')\n    return 1", "PASS", ""),
    (ENDLESS, "FAIL", "the cell takes longer than 6 seconds"),
    ("# Exercise 1.1\nimport os\nos._exit(3)", "FAIL", "the cell ends the process that runs it"),
    ("# Exercise 1.1\nexit()", "FAIL", "the cell raises SystemExit"),
    ("# Exercise 1.1\nimport sys\nsys.exit('bye')", "FAIL", "the cell raises SystemExit: bye"),
    ("# Exercise 1.1\nother = 1", "FAIL", "the check came to no verdict (NameError: name 'one' is not defined)"),
    (f"# Exercise 1.1\n{SHOW}\ndef one():\n    show('1.2')\n    show('1.1')\n    return 0", "FAIL",
     "an answer shows verdicts of its own"),
    (f"# Exercise 1.1\n{SHOW}\nshow('1.1')\ndef one():\n    return 0", "FAIL", ""),
    (f"# Exercise 1.1\n{SHOW}\ndef one():\n    show('1.9')\n    return 1 / 0", "FAIL",
     "an answer shows verdicts of its own"),
    ("# Exercise 1.1\nSEED, display, one = 'none', 0, lambda: 1", "PASS", "")],
    ids=["right", "prints megabytes", "hangs", "dies", "quits", "exits", "other name", "shows a verdict of its own",
         "shows one in its own cell", "shows one of no exercise", "takes names of the course"])
def test_an_answer_that_does_not_end_well_fails_alone(small_course, answer, status, message):
    first, second = notebooks.grade(small_course(answer, RIGHT), 3)
    assert (first["status"], first["message"]) == (status, message)
    assert second["status"] == "PASS"


@pytest.mark.parametrize(("silent", "status"), [(1, "PASS"), (2, None)])
def test_a_kernel_that_does_not_answer_is_replaced_once(small_course, monkeypatch, silent, status):
    """Before a cell has run, nothing is lost by it."""
    from jupyter_client.asynchronous import AsyncKernelClient
    starts, wait_for_ready = [], AsyncKernelClient.wait_for_ready

    async def ready(client, timeout=None):
        starts.append(client)
        if len(starts) <= silent:
            raise RuntimeError("Kernel didn't respond in 60 seconds")
        await wait_for_ready(client, timeout)
    monkeypatch.setattr(AsyncKernelClient, "wait_for_ready", ready)
    if status is None:
        with pytest.raises(RuntimeError, match="didn't respond"):
            notebooks.grade(small_course(RIGHT_1_1, RIGHT), 3)
    else:
        assert [result["status"] for result in notebooks.grade(small_course(RIGHT_1_1, RIGHT), 3)] == [status] * 2
    assert len(starts) == 2


@pytest.mark.slow
def test_an_answer_may_have_names_of_the_notebook(tmp_path):
    """A `check` and a SEED of its own: all are judged, with the grader's seed."""
    pytest.importorskip("nbclient")
    own = "# Exercise 1.1\nSEED = 'none'\ndef check(step):\n    return step\n"
    step = "def explicit_step(B, x, tau):\n    return check(x - tau * B.T @ (B @ x))"
    path = returned_notebook(tmp_path, e1=own + step)
    results = notebooks.grade(path, 3)
    assert [result["status"] for result in results] == ["PASS"] * 4, results
    assert [result["flags"] for result in results] == [["uses SEED", "uses check"], [], [], []]


@pytest.mark.slow
def test_what_is_printed_is_bounded(monkeypatch):
    v4 = pytest.importorskip("nbformat").v4
    monkeypatch.setattr(notebooks, "MOST_PRINTED", 1000)
    notebook = v4.new_notebook(cells=[v4.new_code_cell("print('few')"), v4.new_code_cell("print(2000 * 'x')")])
    notebooks.execute(notebook)
    assert [len(cell.outputs) for cell in notebook.cells] == [1, 0]


@pytest.mark.slow
def test_ctrl_c_while_grading_leaves_no_kernel(tmp_path):
    pytest.importorskip("nbclient")
    pid = tmp_path / "pid"
    path = returned_notebook(tmp_path, e1=f"# Exercise 1.1\nimport os, time\nopen({str(pid)!r}, 'w').write("
                                          "str(os.getpid()))\ntime.sleep(600)")
    grading = subprocess.Popen([sys.executable, "-m", "minilift.cli", "teach", "grade", str(path)], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    while not (pid.exists() and pid.read_text()) and grading.poll() is None:
        time.sleep(0.1)
    os.killpg(grading.pid, signal.SIGINT)
    out, err = grading.communicate(timeout=30)
    assert (grading.returncode, out, err.splitlines()[-1]) == (130, "", "minilift teach: interrupted")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


INTERRUPTED_AT_ITS_START = """
import os, signal, sys, nbclient
from minilift import cli

class Client(nbclient.NotebookClient):
    async def async_start_new_kernel_client(self):
        os.kill(os.getpid(), signal.SIGINT)
        return await super().async_start_new_kernel_client()

nbclient.NotebookClient = Client
sys.exit(cli.main(["teach", "grade", sys.argv[1]]))
"""


@pytest.mark.slow
def test_ctrl_c_while_the_kernel_starts_is_one_line(tmp_path):
    """A kernel that is killed so early is forgotten by nbclient, which complained of it when the process ended."""
    pytest.importorskip("nbclient")
    path = returned_notebook(tmp_path, e1="# Exercise 1.1")
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_AT_ITS_START, str(path)], text=True, capture_output=True,
                          timeout=100)
    assert (done.returncode, done.stdout, done.stderr.splitlines()[1:]) == (130, "", ["minilift teach: interrupted"])


@pytest.mark.slow
def test_grading_uses_the_courses_checks_not_the_returned_ones(tmp_path):
    pytest.importorskip("nbclient")
    path = returned_notebook(tmp_path, e1="# Exercise 1.1\ndef explicit_step(B, x, tau):\n    return x")
    notebook = notebooks.read(path)
    for cell in notebook["cells"]:
        if notebooks.tagged(cell, "check"):
            cell["source"] = "print('PASS')"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert [result["status"] for result in notebooks.grade(path, 3)] == ["FAIL", "PASS", "PASS", "PASS"]


@pytest.mark.slow
def test_the_network_is_refused_in_notebooks():
    nbformat = pytest.importorskip("nbformat")
    code = "import urllib.request\nurllib.request.urlopen('http://192.0.2.1/', timeout=5)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebooks.execute(notebook, allow_errors=True)
    assert "runs without network" in notebook.cells[0].outputs[-1].evalue


def test_a_solution_marker_without_partner_is_named(monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    cell = nbformat.v4.new_code_cell("def f():\n    # <solution>\n    return 1\n# </solution>")
    monkeypatch.setattr(notebooks, "source_cells", lambda name: [cell])
    with pytest.raises(ValueError, match="solution marker"):
        notebooks.version("01", "student")


def test_ids_are_readable_and_unique():
    seen = set()
    assert [notebooks.unused(notebooks.slug(text), seen) for text in
            ("# Exercise 1.1\nx", "# Exercise 1.1\ny", "## Éxplicit: τ", "…")] == \
        ["exercise-1-1", "exercise-1-1-2", "explicit", "cell"]


@pytest.mark.parametrize(("message", "line"), [
    ("your answer is a list", "Your answer is a list."),
    ("the first is right, is the second old?", "The first is right, is the second old?")])
def test_a_message_ends_in_one_stop(message, line):
    assert teach.verdict("1.1", "FAIL", [], message, False).split("\n")[1].strip() == line


# ---- what a hostile reader found

def test_a_function_that_returns_complex_numbers_fails(reported):
    check_doubling(lambda x: 2 * x + 7j)
    assert (reported[-1]["status"], reported[-1]["message"]) == ("FAIL", teach.COMPLEX)
    check_doubling(lambda x: 2 * x + 0j)
    assert reported[-1]["status"] == "PASS"


def test_a_function_that_changes_a_dict_which_it_was_given_fails(reported):
    given = {"tau": np.array([3.0, 1.0, 2.0])}

    def least(table):
        table["tau"] = np.sort(table["tau"])
        return table["tau"][0]

    def claims(least):
        yield teach.claim("the least", least(given), 1.0)

    teach.check("9.2", least, claims)
    assert (reported[-1]["status"], reported[-1]["message"]) == ("FAIL", teach.LIST_CHANGED)
    np.testing.assert_array_equal(given["tau"], [3.0, 1.0, 2.0])


@pytest.mark.parametrize(("use", "says"), [
    (lambda found: found + np.ones(4), "has it the shape that is asked for?"),
    (lambda found: np.ones((2, 4)) @ found, "has it the shape that is asked for?"),
    (lambda found: np.array([found, [1.0]]), "the arrays of a list differ in shape")])
def test_what_a_check_cannot_use_is_no_error_of_the_answer(use, says, reported):
    """Nor are its operations guessed at."""
    teach.check("9.2", lambda: np.ones(3), lambda found: [teach.Claim("zero", float(np.sum(use(found()))), 0.0)])
    assert reported[-1]["message"].startswith("your answer does not fit: ")
    assert says in reported[-1]["message"]
    assert "written for @" not in reported[-1]["message"]


def not_done(x):
    """Return x."""
    raise NotImplementedError  # your code


def done_below(x):
    """Return x."""
    raise NotImplementedError  # your code
    return x


@pytest.mark.parametrize(("answer", "message"), [(not_done, ""), (done_below, teach.STILL_RAISES), (None, ""),
                                                 ((None, None), ""), ((np.eye(2), None), teach.PART_DONE)])
def test_code_below_the_line_that_says_not_done_yet_is_seen(answer, message, reported):
    teach.check("9.2", answer, lambda found: [teach.Claim("zero", found(0.0), 0.0)])
    assert (reported[-1]["status"], reported[-1]["message"]) == ("TODO", message)


READ = np.ones(3)


@pytest.mark.parametrize(("answer", "names"), [
    (lambda x: x + READ, ["READ"]), (lambda x: sum(READ[k] for k in range(3)) + x, ["READ"]),
    (lambda x: np.sum(x), []), (lambda x: held_to(x), []), (lambda READ: READ + 1, []), (np.ones(3), []), (np.sum, [])])
def test_what_a_wrong_answer_reads_of_the_notebook_is_told(answer, names, reported):
    teach.check("9.2", answer, lambda found: [teach.Claim("zero", 1.0, 0.0)])
    told = f"Your function reads {', '.join(names)} of the notebook" if names else "first property that fails"
    assert told in reported[-1]["message"]
    assert ("reads" in reported[-1]["message"]) == bool(names)


def held_to(x):
    return x + READ


@pytest.mark.parametrize("message", ["cannot access local variable 'd' where it is not associated with a value",
                                     "local variable 'd' referenced before assignment"], ids=["3.11", "3.10"])
def test_a_variable_used_before_it_is_made_is_guessed_at_with_any_python(message):
    with pytest.raises(UnboundLocalError) as raised:
        raise UnboundLocalError(message)
    assert "is it used before it is made" in teach.explained(raised.value)


@pytest.mark.parametrize(("prediction", "answer", "right"), [
    ((100, 2.1), (2.1, 100.0), True), ({2.1, 100}, (2.1, 100.0), True),
    ([2.1, 100], (2.1, 100.0), True), (4, (4.0,), True), ((4.0,), (4.0,), True),
    ((2.1,), (2.1, 100.0), False), ((1.9, 2.1, 100.0), (2.1, 100.0), False), (None, (4.0,), False),
    ("a", (4.0,), False), (np.array([1.9, 100.0]), (2.1, 100.0), False), ("4", (4.0,), True),
    (" 100, 2.1", (2.1, 100.0), True), ("2.1", (2.1, 100.0), False), ("2.1 and 100", (2.1, 100.0), False)])
def test_a_prediction_of_several_in_any_order(prediction, answer, right, capsys):
    teach.reveal(prediction, answer, in_order=False)
    assert ("and so it is" in capsys.readouterr().out) == right


@pytest.mark.parametrize(("prediction", "answer", "says"), [
    ((3, 0), (3, 0), "Predicted: (3, 0), and so it is"), ([3, 0], (3, 0), "Predicted: (3, 0), and so it is"),
    (np.array([3.0, 0.0]), (3, 0), "Predicted: (3, 0), and so it is"),
    ([0, 3], (3, 0), "Predicted: (0, 3); it is (3, 0)"), (np.array([5, 5]), (3, 0), "Predicted: (5, 5); it is (3, 0)"),
    ("A", "a", "Predicted: 'a', and so it is"), ("(a)", "a", "Predicted: 'a', and so it is"),
    ("3", 3, "Predicted: 3, and so it is"), ("a)", "b", "Predicted: 'a)'; it is 'b'"),
    (1 - 1.9, -0.9, "Predicted: -0.9, and so it is"), ("-0.9", -0.9, "Predicted: -0.9, and so it is"),
    ((-0.9,), -0.9, "Predicted: (-0.9,); it is -0.9"), ("1e-5", 1e-05, "Predicted: 1e-05, and so it is"),
    (-0.899, -0.9, "Predicted: -0.899; it is -0.9"), (1, "a", "Predicted: 1; it is 'a'"),
    ([2], 2, "Predicted: 2, and so it is"), (np.array([1, 2]), "a", "Predicted: (1, 2); it is 'a'")])
def test_a_prediction_of_several_in_a_list_or_an_array(prediction, answer, says, capsys):
    teach.reveal(prediction, answer)
    assert says in capsys.readouterr().out


def test_without_network_a_kernel_still_reaches_this_machine(tmp_path):
    """On Windows too, which has no AF_UNIX; and connect_ex returns what it always does."""
    code = """
import socket
from minilift.course.notebooks import refuse_network
socket.__dict__.pop("AF_UNIX", None)
server = socket.create_server(("127.0.0.1", 0))
refuse_network()
with socket.socket() as s:
    assert s.connect_ex(server.getsockname()) == 0
socket.create_connection(server.getsockname()).close()
address = server.getsockname()
server.close()
with socket.socket() as s:
    assert s.connect_ex(address) > 0
for connect in ("connect", "connect_ex"):
    with socket.socket() as s:
        try:
            getattr(s, connect)(("192.0.2.1", 80))
        except OSError as error:
            assert "the course runs without network" in str(error), error
        else:
            raise AssertionError(connect)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.slow
def test_an_answer_is_not_blamed_for_a_cell_that_stops_without_it_too(small_course, monkeypatch):
    """The first answer hangs in a cell of the course behind the second, which is right."""
    hangs = "# Exercise 1.1\ndef one(n=[0]):\n    n[0] += 1\n    while n[0] > 1:\n        pass\n    return 1"
    returned, course = small_course(hangs, RIGHT), notebooks.paths("01")[1]
    longer = json.loads(course.read_text(encoding="utf-8"))
    longer["cells"].append({**longer["cells"][0], "id": "behind", "source": "if callable(one):\n    one()"})
    course.write_text(json.dumps(longer), encoding="utf-8")
    monkeypatch.setattr(notebooks, "ANSWER_SECONDS", 4)
    monkeypatch.setattr(notebooks, "SLOWER", 1)
    first, second = notebooks.grade(returned, 3)
    assert (first["status"], first["message"]) == ("FAIL", "the cell takes longer than 4 seconds")
    assert second["status"] == "PASS"
