"""Judge whether an answer solves a variant of an exercise; see `minilift.course.exam`.

The course's own check is run on the published answer, to record the cases that it would put to a student's. On the same
cases, an answer to the variant must agree with the model answer as changed by the variant.
"""

from __future__ import annotations

import ast
import functools
import importlib

import numpy as np

from minilift.course import exam, notebooks, teach

TOLERANCE = 1e-8  # relative to the largest entry: two ways to write one formula differ by rounding, and these cases
# are conditioned well enough for the course's own checks, most of which ask for more
DRAWS = 3  # times that the check draws random cases
AS_PUBLISHED = "this is the answer to the course's exercise, not to the changed one"


def variant(exercise, answer, seed):
    """Check an answer to the variant of an exercise drawn by a seed, print the verdict, and return the answer.

    Parameters
    ----------
    exercise : str
        Number, such as "5.1".
    answer : function
    seed : int
        The seed with which the examination was made.
    """
    published, wanted, cases = material(exercise, seed)

    def claims(found):
        errors = [error(found(*case), wanted(*case)) for case in cases]
        worst = int(np.argmax(errors))
        yield teach.Claim(f"agrees with the changed exercise in {len(cases)} cases", errors[worst], TOLERANCE,
                          f"case {worst + 1} is farthest off")

    def mistakes(found):
        yield all(error(found(*case), published(*case)) <= TOLERANCE for case in cases), AS_PUBLISHED

    return teach.check(exercise, answer, claims, mistakes)


@functools.cache
def material(exercise, seed):
    """Return the published answer to an exercise, the answer to its variant, and the cases that the check uses."""
    name = notebooks.full_name(exercise.split(".")[0])
    solved = solved_notebook(name)
    source, (function, check) = exam.exercise_sources(solved)[exercise], exam.checks(solved)[exercise]
    wanted = exam.changed(source, exam.drawn(notebooks.kit_file("variants"), exercise, seed))
    published, changed = (function_of(text, function, solved) for text in (source, wanted))
    module = importlib.import_module(f"minilift.course.exercises.{name[3:]}")
    cases: list[tuple] = []

    def recorder(*arguments):
        cases.append(arguments)
        return published(*arguments)

    with teach.unseen():
        for draw in range(seed, seed + DRAWS):
            getattr(module, check)(recorder, draw)
    return published, changed, cases


@functools.cache
def solved_notebook(name):
    """Return the solved version of a notebook."""
    return notebooks.version(name, "solution")


def function_of(source, name, notebook):
    """Return a function defined by a source, given the notebook's imports and the functions that it calls."""
    space: dict = {"__name__": "__main__"}
    top = ast.parse(exam.imports(notebook)).body
    loading = ast.Module([node for node in top if isinstance(node, (ast.Import, ast.ImportFrom))], type_ignores=[])
    exec(compile(loading, "imports", "exec"), space)
    exec("\n".join([*exam.given(notebook, source), source]), space)
    return space[name]


def error(actual, expected):
    """Return the largest difference of two results, relative to the largest expected entry; inf if the forms differ."""
    if isinstance(expected, (list, tuple)):
        if not isinstance(actual, (list, tuple, np.ndarray)) or len(actual) != len(expected):
            raise ValueError(f"{len(expected)} parts are expected")
        return max((error(*pair) for pair in zip(actual, expected) if pair[1] is not None), default=0.0)
    actual, expected = np.asarray(actual, dtype=float), np.array(expected, dtype=float)
    if actual.shape == expected.shape:
        actual, expected = (np.where(np.isnan(x) & np.isnan(y), 0.0, x)
                            for x, y in ((actual, expected), (expected, actual)))
    sizes = abs(expected[np.isfinite(expected)])
    scale = float(sizes.max(initial=0)) or 1.0
    return teach.gap(actual / scale, expected / scale)
