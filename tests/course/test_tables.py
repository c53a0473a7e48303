"""No table of wrong answers holds an entry that can never be shown: each, handed in, brings up its own message.

An entry that cannot is one that behaves like another above it, raises an error on the questions, or is right.
"""

from contextlib import nullcontext

import numpy as np
import pytest
from course.test_harvest import EXERCISES, exercise_cells, namespace

from minilift.course import teach
from minilift.course.exercises import backward_step, local_losses, step_sizes

pytest.importorskip("jupytext")


def with_decades(edges):
    """Return an answer to 7.3 from its two edges."""
    def window(*problem):
        low, high = edges(*problem)
        return low, high, np.log10(high / low)
    return window


ANSWERS = {  # by table: what makes an answer of an entry that is a part of one
    "WRONG_EDGES": with_decades,
    "WRONG_GAMMAS": lambda largest: largest,
    "WRONG_DIVERGENCES": lambda D: lambda f, z, w: (D(f, z, w), f.forward(z) - f.forward(w)),
    "WRONG_SLOPES": lambda slope: lambda f, z, w: (local_losses.bregman_with()(f, z, w), slope(f, z, w)),
    "WRONG_LIMITS": lambda over: lambda B: 1 / float(over(np.linalg.eigvalsh(B.T @ B))),
    "WRONG_SIZES": lambda size: lambda B: 2 / float(size(B)),
    "WRONG_WIDTHS": lambda width: lambda *problem: (
        *step_sizes.quadratic_with()(*problem), width(*step_sizes.quadratic_with()(*problem))),
}
BESIDE_SLIPS = {"1.3": (backward_step.WRONG_LIMITS, backward_step.WRONG_SIZES), "7.3": (step_sizes.WRONG_WIDTHS,)}

EXPERIMENTS = {"1.3"}  # its model answer and its claims take seconds, and its tables are not those of `slips`


@pytest.fixture
def seen(monkeypatch):
    """Collect what checks report; entries are functions of the checks, and may be asked here."""
    found = []
    monkeypatch.setattr(teach, "publish", lambda text, report: found.append(report))
    monkeypatch.setattr(teach, "asking", lambda exercise: nullcontext())
    return found


def name_of(table, module):
    """Return the name of a table in the module of a check, "" if it is made there as it is needed."""
    return next((name for name, value in vars(module).items() if value is table), "")


def material(exercise, monkeypatch):
    """Return the module of an exercise's check, its claims and mistakes, and the tables that it looks through."""
    source, cell, modules = exercise_cells(exercise)
    space, asked, judged, tables = namespace(exercise, modules), [], [], list(BESIDE_SLIPS.get(exercise, ()))
    exec(compile(source, f"exercise {exercise}", "exec"), space)
    module = space["check"]

    def noted(answer, questions, table):
        if answer in judged or name_of(table, module) in ANSWERS:  # the others hold no answers, but parts of some
            tables.append(table)
        return ()

    def held(number, answer, claims, mistakes=None, array=False, **rest):
        asked.append((claims, mistakes, array))
        if mistakes is not None and exercise not in EXPERIMENTS:  # all of them; the model answer is none of them
            judged.append(teach.guarded(answer))
            teach.diagnosis(judged[0], lambda answer: ((False, message) for _, message in mistakes(answer)))
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(module, "check", held)
        patched.setattr(module, "slips", noted, raising=False)
        exec(cell, space)
    (parts,) = asked
    return module, *parts, tables


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_entry_of_a_table_is_named_when_it_is_handed_in(exercise, seen, monkeypatch):
    module, claims, mistakes, array, tables = material(exercise, monkeypatch)
    never = {}
    for table in tables:
        for message, wrong in table.items():
            answer = ANSWERS.get(name_of(table, module), lambda wrong: wrong)(wrong)
            if exercise in EXPERIMENTS:
                said = teach.diagnosis(teach.guarded(answer), mistakes)
            else:
                teach.check(exercise, answer, claims, mistakes, array=array)
                said = seen.pop()["message"]
            if message not in said:
                never[message] = said
    assert not never


def test_the_tables_are_found(monkeypatch):
    """Of the exercises whose checks know wrong answers by tables."""
    counts = {exercise: sum(map(len, material(exercise, monkeypatch)[-1])) for exercise in ("1.2", "3.3", "7.3", "8.3")}
    assert min(counts.values()) > 38, counts
