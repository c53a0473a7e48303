"""Wrong answers that students give are refused, and most are told what is wrong; right ones pass in every form.

Each line of `harvest` changes the model answer to an exercise in one place.
"""

import ast
import functools
import re
from contextlib import suppress

import numpy as np
import pytest
from course.harvest import RIGHT, SETUP, WRONG

from minilift.course import exam, notebooks, teach
from minilift.course.exercises import conjugate_gradients, implicit_weights, lift_the_network

pytest.importorskip("jupytext")
EXERCISES = sorted(WRONG, key=lambda number: [int(part) for part in number.split(".")])
UNNAMED = re.compile(r"the first property that fails|your answer (raised|does not fit)(?!.*\?$|.* expected)", re.S)
IMPORTS, DEFINITIONS = (ast.Import, ast.ImportFrom), (ast.FunctionDef, ast.ClassDef)
LONG = {"1.3"}  # its model answer is an experiment
each_exercise = pytest.mark.parametrize("exercise", [
    pytest.param(number, marks=pytest.mark.slow) if number in LONG else number for number in EXERCISES])


@functools.cache
def code_cells(name):
    """Return the code cells of a solved notebook."""
    return [cell for cell in notebooks.version(name, "solution").cells if cell.cell_type == "code"]


@functools.cache
def exercise_cells(number):
    """Return the model answer's source, its check's and the notebook's imports, then functions and classes."""
    name = notebooks.full_name(number.split(".")[0])
    answer = check = None
    parts = []
    for cell in code_cells(name):
        if notebooks.tagged(cell, "exercise") and cell.source.startswith(f"# Exercise {number}\n"):
            answer = cell.source
        elif notebooks.tagged(cell, "check") and answer and not check:
            check = cell.source
        parts += ast.parse(cell.source).body
    kinds = [[node for node in parts if isinstance(node, kind)] for kind in (IMPORTS, DEFINITIONS)]
    return answer, check, [ast.Module(nodes, type_ignores=[]) for nodes in kinds]


def namespace(number, modules):
    """Return what the notebook has defined, without its computing; `SETUP` gives what of that is needed."""
    space = {"__name__": "__main__", "SEED": 0}
    exec(compile(modules[0], "imports", "exec"), space)
    exec(SETUP.get(number.split(".")[0], ""), space)
    exec(compile(modules[1], "definitions", "exec"), space)
    exec(SETUP.get(number, ""), space)
    return space


@pytest.fixture
def judge(monkeypatch):
    """Return a function from an exercise and changed sources to the reports of its check."""
    seen = []
    monkeypatch.setattr(teach, "publish", lambda text, report: seen.append(report))

    def reports(number, changes, result=None, seed=0):
        answer, check, modules = exercise_cells(number)
        space = namespace(number, modules) | {"SEED": seed}
        for old, new, *_ in changes:
            wrong = exam.replaced(answer, old, new)
            assert wrong is not None, f"{number}: {old!r} is not in the model answer"
            here = dict(space)
            exec(compile(wrong, f"exercise {number}", "exec"), here)
            here |= {} if result is None else {
                name: changed(here[name], result) for name in made_by(wrong) if name in here}
            exec(check, here)
        found = list(seen)
        seen.clear()
        return found
    return reports


def named(report):
    return not UNNAMED.match(report["message"])


@each_exercise
def test_every_wrong_answer_is_refused_and_most_are_named(exercise, judge):
    reports = judge(exercise, WRONG[exercise])
    passed = [row[:2] for row, report in zip(WRONG[exercise], reports) if report["status"] != "FAIL"]
    assert not passed
    for (_, new, says), report in zip(WRONG[exercise], reports):
        assert says in report["message"], (new, report["message"])
    unnamed = [(row[1], report["message"]) for row, report in zip(WRONG[exercise], reports) if not named(report)]
    assert len(unnamed) <= 0.4 * len(reports), unnamed
    assert len(reports) - len(unnamed) >= min(6, len(reports)), unnamed


@each_exercise
def test_no_right_answer_is_refused(exercise, judge):
    reports = judge(exercise, [("", ""), *RIGHT.get(exercise, ())])
    refused = [report["message"] for report in reports if report["status"] != "PASS"]
    assert not refused


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_message_of_a_table_can_be_shown(exercise, monkeypatch):
    """A slip is never named that gives on all questions what one above it in its table gives."""
    answer, check, modules = exercise_cells(exercise)
    space, asked = namespace(exercise, modules), []

    def never_found(answer, questions, table):
        asked.append((questions, table))
        return ()

    def searched(number, answer, claims, mistakes, **options):
        with suppress(ArithmeticError, LookupError, TypeError, ValueError):  # it is not meant for right answers
            list(mistakes(answer))
        return answer

    monkeypatch.setattr(space["check"], "slips", never_found, raising=False)
    monkeypatch.setattr(space["check"], "check", searched)
    exec(compile(answer, f"exercise {exercise}", "exec"), space)
    exec(check, space)
    shown, hidden = set(), {}
    for questions, table in asked:
        before = []
        for message, wrong in table.items():
            try:
                found = [wrong(*arguments) for arguments in questions]
            except (IndexError, TypeError, ValueError):
                continue
            above = [other for other, values in before if all(map(teach.same, found, values))]
            before.append((message, found))
            if above:
                hidden[message] = above[0]
            else:
                shown.add(message)
    assert {message: above for message, above in hidden.items() if message not in shown} == {}


def not_a_number(value):
    """Return a result with NaN in the place of each of its numbers."""
    if isinstance(value, (list, tuple)):
        return type(value)(not_a_number(part) for part in value)
    return value if isinstance(value, (str, dict)) or value is None else np.full(np.shape(value), np.nan)[()]


def made_by(source):
    """Return the names that an answer defines: its functions, and its values."""
    parts = ast.parse(source).body
    values = [node for part in parts if isinstance(part, ast.Assign) for node in ast.walk(part)]
    return [part.name for part in parts if isinstance(part, DEFINITIONS)] + [
        node.id for node in values if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def changed(answer, result):
    """Return a function that returns what `result` makes of an answer's result, or such a value."""
    if not callable(answer):
        return result(answer)
    return functools.wraps(answer)(lambda *a, **k: result(answer(*a, **k)))


@pytest.mark.parametrize("result", [not_a_number, lambda value: ()], ids=["nan", "nothing"])
@each_exercise
def test_no_numbers_are_no_answer(exercise, result, judge):
    (report,) = judge(exercise, [("", "")], result)
    assert report["status"] == "FAIL"


def counted_by_twos(eigenvalues, eps):
    """Return the least odd number of steps for which the smaller bound promises ε."""
    values, k = np.sort(eigenvalues), 1
    while min(2 * ((np.sqrt(kappa) - 1) / (np.sqrt(kappa) + 1)) ** steps for kappa, steps in (
            (values[-1] / values[0], k), (values[-2] / values[0], k - 1))) > eps:
        k += 2
    return k


def solved_for_the_outputs(a, theta_D, Y, tau):
    """Return the implicit step on an activation by a system as wide as Y, which loses a digit where τ is large."""
    W, b = theta_D[:-1], theta_D[-1]
    return a - np.linalg.solve(W.T @ W + len(a) / tau * np.eye(W.shape[1]), (a @ W + b - Y).T).T @ W.T


def bound_by_eigvals(a, tau_theta):
    """Return the bound made of the first and the last of the eigenvalues, which LAPACK returns in no order."""
    a_tilde = np.hstack([a, np.ones((len(a), 1))])
    values = np.linalg.eigvals(a_tilde.T @ a_tilde) + 1 / tau_theta
    return 2 * np.sqrt(values[0] * values[-1]) / (values[0] + values[-1])


@pytest.mark.parametrize(("judged", "answers"), [
    (lift_the_network.implicit_activation, [solved_for_the_outputs]),
    (conjugate_gradients.steps_enough, [counted_by_twos]),
    (conjugate_gradients.unfinished, [np.geomspace(1, kappa, 16) for kappa in (700, 1500, 2000, 2500, 3000, 5000)]),
    (implicit_weights.cosine_bound, [bound_by_eigvals]),
    (implicit_weights.lost_digits, [(40, 5, tau_theta) for tau_theta in (1e7, 2e7, 5e7, 1e8, 2e8, 1e9)])])
def test_the_verdict_does_not_hang_on_the_seed(judged, answers, monkeypatch):
    statuses = []
    monkeypatch.setattr(teach, "publish", lambda text, report: statuses.append(report["status"]))
    found = []
    for answer in answers:
        for seed in range(12):
            judged(answer, seed)
        found.append({*statuses})
        statuses.clear()
    assert all(len(each) == 1 for each in found), found


def test_that_eigenvalues_are_in_no_order_is_said_for_each_seed(monkeypatch):
    messages = []
    monkeypatch.setattr(teach, "publish", lambda text, report: messages.append(report["message"]))
    for seed in range(12):
        implicit_weights.cosine_bound(bound_by_eigvals, seed)
    assert [message for message in messages if "do not sort" not in message] == []


@pytest.mark.parametrize(("exercise", "seed"), [("7.3", 523), ("7.3", 1437), ("9.1", 813)])
def test_no_right_answer_is_refused_with_an_unlucky_seed(exercise, seed, judge):
    """Such as one whose window is empty, or that puts a difference across a kink."""
    assert [report["status"] for report in judge(exercise, [("", "")], seed=seed)] == ["PASS"]


@pytest.mark.parametrize(("exercise", "seed"), [("11.2", 14), ("11.2", 61)])
def test_no_wrong_answer_passes_with_a_lucky_seed(exercise, seed, judge):
    """Such as one that puts what diverged behind the best step size, or whose last seed alone chooses well."""
    assert {report["status"] for report in judge(exercise, WRONG[exercise], seed=seed)} == {"FAIL"}


def test_every_exercise_that_is_checked_has_a_harvest_of_eight():
    checked = set()
    for name in notebooks.CURRICULUM:
        for cell in code_cells(name):
            if notebooks.tagged(cell, "exercise"):
                checked.add(re.match(r"# Exercise (\d+\.\d+)", cell.source)[1])
    assert checked == set(WRONG)
    assert {number: len(rows) for number, rows in WRONG.items() if len(rows) < 8} == {}
