"""Variants of the exercises for examinations, drawn by a seed: the notebooks that are handed out and their keys.

A table in `tutorials/kit/variants.md` lists what the variants change. `minilift.course.judge` checks answers to one.
"""

from __future__ import annotations

import ast
import functools
import io
import itertools
import re
import tokenize
from typing import NamedTuple

import numpy as np

HEADING = re.compile(r"^## (\d+\.\d+)\n(.*?)(?=^#)", re.M | re.S)
CHANGE = re.compile(r"^    (.+?) ==> (.+)$", re.M)
NONE = re.compile(r"^- ([\d., ]+): (.*?)(?=^- |\Z)", re.M | re.S)
CHECK = re.compile(r"^(\w+) = check\.(\w+)\(\1, SEED\)$")
CHANGED = "**Changed for this examination.**"
DISPLAYED = re.compile(r"(\$\$(?:(?!\$\$).)*?\\tag\{([^}]+)\}(?:(?!\$\$).)*\$\$)", re.S)
FOLDED = re.compile(r"<details>.*?</details>\n?", re.S)


class Variant(NamedTuple):
    """A variant of an exercise: its text, and the changes to the model answer (old, new)."""

    exercise: str
    text: str
    changes: list[tuple[str, str]]


@functools.cache
def variants(table):
    """Return the variants of each exercise in a Markdown table: dict of number → list of `Variant`."""
    found: dict[str, list[Variant]] = {}
    for number, section in HEADING.findall(table):
        text = CHANGE.sub("", section).strip()
        found.setdefault(number, []).append(Variant(number, text, CHANGE.findall(section)))
    return found


def without(table):
    """Return the exercises without a variant, and why: dict of number → reason."""
    return {number: " ".join(reason.split()) for numbers, reason in NONE.findall(table.split("# Exercises without")[1])
            for number in numbers.split(", ")}


def drawn(table, number, seed):
    """Return the `Variant` of an exercise drawn by a seed, with its numbers filled in.

    Raises
    ------
    ValueError
        If the table has none for this exercise.
    """
    choices = variants(table).get(number)
    if not choices:
        raise ValueError(f"exercise {number} has no variant")
    rng = np.random.default_rng([seed, *map(int, number.split("."))])
    _, text, changes = choices[rng.integers(len(choices))]
    numbers = {"§c": str(rng.integers(2, 10)), "§r": f"{rng.uniform(0.1, 0.5):.2f}"}

    def filled(words):
        return re.sub("§[cr]", lambda match: numbers[match[0]], words)
    return Variant(number, filled(text), [(old, filled(new).replace(r"\n", "\n")) for old, new in changes])


def unwrapped(source):
    """Return a source with each statement on one line, so that no line break interrupts what is to be changed."""
    depth, breaks = 0, []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        elif token.type == tokenize.NL and depth and "#" not in token.line:
            breaks.append(token.start)
    lines = source.splitlines()
    for row, column in reversed(breaks):
        before = lines[row - 1][:column].rstrip()
        lines[row - 1:row + 1] = [before + " " * (before[-1] not in "([{") + lines[row].lstrip()]
    return "\n".join(lines)


def replaced(source, old, new):
    """Return a source with `old` replaced by `new`, however it is wrapped; None if it does not contain `old`."""
    for text in (source, unwrapped(source)):
        if old in text:
            return text.replace(old, new)
    return None


def changed(source, variant):
    """Return the source of a model answer, changed according to a variant.

    Raises
    ------
    ValueError
        If the text to be changed is not there.
    """
    for old, new in variant.changes:
        held = replaced(source, old, new)
        if held is None:
            raise ValueError(f"variant of {variant.exercise}: {old!r} is not in the model answer")
        source = held
    return source


def checks(notebook):
    """Return the exercises of a solved notebook whose checks need only the answer and a seed.

    Returns
    -------
    dict of number → (name of the answer, name of its check)
    """
    found, number = {}, ""
    for cell in notebook["cells"]:
        match = re.match(r"# Exercise (\d+\.\d+)", cell["source"])
        number = match[1] if match and cell["cell_type"] == "code" else number
        check = CHECK.match(cell["source"])
        if check:
            found[number] = check.groups()
    return found


def used(node):
    """Return the names that a source takes from outside: parameters and variables of its functions are its own."""
    if isinstance(node, ast.Name):
        return {node.id}
    names = set().union(*map(used, ast.iter_child_nodes(node)))
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        names -= {inside.arg for inside in ast.walk(node.args) if isinstance(inside, ast.arg)}
    if isinstance(node, ast.FunctionDef):
        names -= {inside.id for inside in ast.walk(node)
                  if isinstance(inside, ast.Name) and isinstance(inside.ctx, ast.Store)}
    return names


def given(notebook, source):
    """Return the sources of a solved notebook's functions that a source calls without defining them.

    They are in the order of the notebook, and include the functions that these call in turn.
    """
    known = {node.name: node for cell in notebook["cells"] if cell["cell_type"] == "code"
             for node in ast.parse(cell["source"]).body if isinstance(node, ast.FunctionDef)}
    reached = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    own, waiting = set(reached), [ast.parse(source)]
    while waiting:
        called = used(waiting.pop()) & set(known) - reached
        reached |= called
        waiting += [known[name] for name in called]
    return [ast.unparse(node) for name, node in known.items() if name in reached - own]


def is_named(tag, text):
    """Whether a text names an equation: by its number, (15.2), its paper's, (ProxProp 11) or (11), or its name."""
    number = tag.split()[-1]
    return any(f"({name})" in text for name in (tag, number)) if number[0].isdigit() else tag in text


def is_exercise(cell):
    """Whether a cell contains an exercise."""
    return "exercise" in cell["metadata"].get("tags", [])


def imports(notebook):
    """Return the source of a notebook's first code cell: its imports and its seed."""
    return next(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")


def examination(blank, solved, table, head, seed, kind):
    """Return the cells of an examination on one notebook.

    Parameters
    ----------
    blank, solved : notebooks
        The student's and the solved version.
    table : str
        The table of variants.
    head : str
        Markdown of the first cell.
    seed : int
        Draws the variants and, in the checks, their cases.
    kind : {"exam", "graded", "key"}
        Without checks; with checks; with checks and answers.

    Returns
    -------
    list of (cell type, source, tags)
    """
    judging = [] if kind == "exam" else ["from minilift.course import judge"]
    start = re.sub(r"^SEED = \d+", f"SEED = {seed}" if kind == "key" else "SEED = 0", imports(blank), flags=re.M)
    cells = [("markdown", head, []), ("code", "\n".join([start, *judging]), [])]
    answers, names, known = exercise_sources(solved), checks(solved), variants(table)
    equations = [found for cell in blank["cells"] for found in DISPLAYED.findall(cell["source"])]
    for before, cell in itertools.pairwise(blank["cells"]):
        number = re.match(r"# Exercise (\d+\.\d+)|", cell["source"])[1]
        if not is_exercise(cell) or number not in known:
            continue
        variant = drawn(table, number, seed)
        tools = [tool for tool in given(solved, changed(answers[number], variant)) if ("code", tool, []) not in cells]
        cells += [("code", tool, []) for tool in tools]
        statement = FOLDED.sub("", before["source"][before["source"].index("## Exercise"):]).strip()
        words = statement + variant.text + cell["source"]
        shown = [text for text, tag in equations if text not in statement and is_named(tag, words)]
        parts = [statement, *shown, f"{CHANGED} {variant.text}"]  # the sheet is all that a student has
        cells.append(("markdown", "\n\n".join(parts), []))
        cells.append(("code", changed(answers[number], variant) if kind == "key" else cell["source"], ["exercise"]))
        if kind != "exam":
            answer = names[number][0]
            cells.append(("code", f'{answer} = judge.variant("{number}", {answer}, SEED)', ["check"]))
    return cells


def exercise_sources(notebook):
    """Return {number: source} of the exercise cells of a notebook."""
    return {re.match(r"# Exercise (\d+\.\d+)", cell["source"])[1]: cell["source"]
            for cell in notebook["cells"] if is_exercise(cell)}
