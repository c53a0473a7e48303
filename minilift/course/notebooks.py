r"""The course's notebooks: each has one source, from which the student and solution versions are generated.

A source is a Python file in percent format, `tutorials/src/NN_name.py`. Tags on its cells say what they are:

- ``exercise``: a cell with ``# <solution>`` and ``# </solution>`` around what the student is to find;
- ``check``: the check of the exercise, in one line;
- ``predict``: a question asked before a figure;
- ``mistake``: a planted wrong answer, for the tests; in neither version;
- ``answer``: a model answer to an open exercise; in the solutions only;
- ``record``: numbers that the text relies on; the values stated in the text, for the tests, are not for students.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import json
import math
import os
import re
import secrets
import subprocess
import sys
import tempfile
import textwrap
import unicodedata
import zlib
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from importlib import resources
from pathlib import Path

from minilift.course import book, exam, gradebook, kit, lite
from minilift.support.arguments import unknown_name, whole_number
from minilift.support.files import check_writable, write_text
from minilift.support.options import check_count, decimal, naming, whole
from minilift.support.processes import cores
from minilift.support.signals import Terminated
from minilift.support.tables import padded
from minilift.support.terminal import how_to_install, note

CURRICULUM = (
    "01_backward_step",
    "02_prox_and_envelope",
    "03_backprop",
    "04_lift_the_network",
    "05_implicit_weights",
    "06_conjugate_gradients",
    "07_step_sizes",
    "08_local_losses",
    "09_semi_implicit",
    "10_second_order",
    "11_reproduce_a_paper",
    "12_gpu",
    "13_branches",
    "14_keep_the_variables",
    "15_train_like_a_brain",
)
REPORT = "application/vnd.minilift.report+json"  # the machine-readable half of a check's or record's output
SOLUTION = re.compile(r"^([ ]*)# <solution(?: ([\w, ]+))?>\n(.*?)^\1# </solution>$", re.M | re.S)
EXERCISE = re.compile(r"^# Exercise (\d+\.\d+)", re.M)
COURSE = re.compile(r"\bminilift\.course\b[\w.]*")  # not allowed in an answer, unless the exercise says so
CHECKS = re.compile(rf"\b(?:check|judge)\.\w+|{COURSE.pattern}")
LIBRARY = re.compile(r"\b(?:ml|minilift)(?:\.\w+)+|\bfrom minilift[\w.]* import .*|\bteach\.(?!gap\b)\w+")
PLAIN = {"numpy", "math", "cmath", "itertools", "functools", "operator", "collections", "typing", "dataclasses",
         "__future__"}  # an answer may import these; any other module is flagged
REACH = {"__import__", "__builtins__", "eval", "exec", "compile", "globals", "locals", "vars", "setattr", "delattr",
         "open", "get_ipython"}  # names by which a cell can reach what is not its own
IMPORT = re.compile(r"^(?:import|from) .*", re.M)
EXERCISES = re.compile(r"^from (minilift\.course\.exercises) import (\w+) as check$", re.M)
SURROGATE = re.compile(r"[\ud800-\udfff]")  # half a character, which no file and no kernel accepts
SEED = re.compile(r"^SEED = \d+$", re.M)
OFFLINE = ("--IPKernelApp.exec_lines=__import__('minilift.course.notebooks', fromlist=['x']).refuse_network(); "
           "exit = quit = __import__('sys').exit")  # IPython's own exit() would end the kernel some cells later
SLOWER = 3  # times the limit of an answer that a cell of the course may take: it trains, and no student is to blame
ANSWER_SECONDS = 120  # for one cell of a returned notebook
MINUTES, MEMORY = 10, 4  # minutes and GB that a notebook of a class may take, unless the teacher sets other limits
MOST_PRINTED = 1_000_000  # characters of a notebook's streams that are kept
LARGEST = gradebook.LARGEST


# ---- the files

def folder():
    """Return the folder of the tutorials: inside the installed package, or beside it in a source checkout."""
    inside = Path(str(resources.files("minilift"))) / "tutorials"
    path = inside if inside.is_dir() else inside.parent.parent / "tutorials"
    if not path.is_dir():
        raise FileNotFoundError(f"the tutorials are neither in {inside} nor in {path}")
    return path


def full_name(name):
    """Return the name in the curriculum that `name` stands for, such as "01", "1", "01_backward_step" or a file."""
    stem = Path(str(name)).stem
    for known in CURRICULUM:
        if stem == known or stem.lstrip("0") == known[:2].lstrip("0"):
            return known
    raise unknown_name("notebook", stem, CURRICULUM)


def paths(name):
    """Return the paths of a notebook's source, student version and solution version."""
    root, name = folder(), full_name(name)
    return root / "src" / f"{name}.py", root / f"{name}.ipynb", root / "solutions" / f"{name}.ipynb"


def kit_file(name):
    """Return a text of the lecturer's kit, in Markdown."""
    return (folder() / "kit" / f"{name}.md").read_text(encoding="utf-8")


# ---- from a source to its two versions

def source_cells(name):
    """Return all cells of a source, in order, as nbformat cells with readable, stable ids."""
    import jupytext
    notebook = jupytext.reads(paths(name)[0].read_text(encoding="utf-8"), fmt="py:percent")
    seen = set()
    for cell in notebook.cells:
        cell.metadata = {"tags": list(cell.metadata.get("tags", []))} if cell.metadata.get("tags") else {}
        cell.id = unused(slug(cell.source), seen)
    return notebook.cells


def tagged(cell, tag):
    """Whether a cell carries a tag."""
    return tag in cell["metadata"].get("tags", [])


def slug(source):
    """Return an id made from the first words of a cell, which does not change when cells are added before it."""
    first = unicodedata.normalize("NFKD", source.strip().split("\n")[0])
    plain = first.encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or "cell"


def unused(name, seen):
    """Return `name`, with a number appended if it is taken, and mark it as taken."""
    number, free = 1, name
    while free in seen:
        number += 1
        free = f"{name}-{number}"
    seen.add(free)
    return free


def version(name, kind):
    """Return a notebook, not executed; `kind` is "student" or "solution"."""
    import nbformat.v4 as v4
    left_out = {"student": ("mistake", "answer"), "solution": ("mistake",)}[kind]
    cells = [cell for cell in source_cells(name) if not any(tagged(cell, tag) for tag in left_out)]
    for cell in cells:
        cell.source = SOLUTION.sub(blank if kind == "student" else revealed, cell.source)
        if kind == "student" and tagged(cell, "record"):
            cell.source = plain_numbers(cell.source)
        if "# <solution" in cell.source or "# </solution" in cell.source:
            raise ValueError(f"{name}, cell {cell.id!r}: a solution marker lacks its partner")
    return v4.new_notebook(cells=cells, metadata=notebook_metadata(name, kind))


def blank(match):
    """Return what the student finds in place of a solution: code that, when run, says that nothing is there yet."""
    indent, names, _ = match.groups()
    if names is None:
        return f"{indent}raise NotImplementedError  # your code here"
    return f"{indent}{' = '.join(name.strip() for name in names.split(','))} = None  # your answer here"


def revealed(match):
    """Return a solution without its markers."""
    return match[3].rstrip("\n")


def notebook_metadata(name, kind):
    """Return metadata without anything that differs between machines."""
    return {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "minilift": {"notebook": full_name(name), "version": kind}}


def examination(name, seed, kind):
    """Return the examination on a notebook, not executed; `kind` is "exam", "graded" or "key"."""
    import nbformat.v4 as v4
    blank, solved, seen = version(name, "student"), version(name, "solution"), set()
    head = kit_file("exam").replace("{title}", blank.cells[0].source.split("\n")[0].lstrip("# "))
    cells = []
    for cell_type, source, tags in exam.examination(blank, solved, kit_file("variants"), head, seed, kind):
        new = v4.new_markdown_cell if cell_type == "markdown" else v4.new_code_cell
        cells.append(new(source, metadata={"tags": tags} if tags else {}, id=unused(slug(source), seen)))
    metadata = notebook_metadata(name, kind)
    metadata["minilift"]["seed"] = seed_mark(seed)
    return v4.new_notebook(cells=cells, metadata=metadata)


def seed_mark(seed):
    """Return two digits that identify the seed of an examination without revealing it."""
    return hashlib.sha256(f"examination {seed}".encode()).hexdigest()[:2]


def build(name):
    """Write both versions of a notebook: the student's is executed, the solutions have no outputs."""
    _, student_path, solution_path = paths(name)
    write_text(student_path, as_text(recorded(name)))
    write_text(solution_path, as_text(version(name, "solution")))


def recorded(name):
    """Return the executed student version, with the reports of the records behind its plain numbers."""
    shown, notebook = version(name, "student"), version(name, "student")
    sources = {cell.id: cell.source for cell in source_cells(name) if tagged(cell, "record")}
    for cell in notebook.cells:
        cell.source = sources.get(cell.id, cell.source)
    execute(notebook)
    notebook.metadata = shown.metadata
    for cell, student in zip(notebook.cells, shown.cells):
        cell.source = student.source
    return notebook


def plain_numbers(source):
    """Return the source of records without the stated values: teach.record(name, value, …) becomes teach.number(…)."""
    plain = source
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        if ast.unparse(call.func) == "teach.record":
            whole, name, value = (ast.get_source_segment(source, part) for part in (call, *call.args[:2]))
            plain = plain.replace(str(whole), f"teach.number({name}, {value})")
    return plain


def as_text(notebook):
    """Return a notebook as the text of its file."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


# ---- running them

class StoppedError(RuntimeError):
    """A notebook could not be run to the end; `cell` is the index of the cell at which it stopped."""

    def __init__(self, cell, why):
        super().__init__(f"cell {cell + 1} {why}")
        self.cell, self.why = cell, why


def execute(notebook, timeout=300, allow_errors=False):
    """Run a notebook in a clean folder without network, in place, and return it with tidy outputs.

    What is printed beyond `MOST_PRINTED` characters is dropped.

    Parameters
    ----------
    notebook : nbformat notebook
    timeout : int, default 300
        Seconds for each cell with an exercise or its check; the course's own cells may take `SLOWER` times as long.
    allow_errors : bool, default False
        Whether to go on after a cell that raises.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises.
    StoppedError
        If a cell takes longer than that, or ends the process that runs it.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    reached = []

    def limit(cell):
        return timeout * (1 if tagged(cell, "exercise") or tagged(cell, "check") else SLOWER)

    with tempfile.TemporaryDirectory() as clean:
        client = NotebookClient(notebook, timeout_func=limit, kernel_name="python3", allow_errors=allow_errors,
                                record_timing=False, extra_arguments=[OFFLINE],
                                on_cell_start=lambda cell, cell_index: reached.append(cell_index),
                                resources={"metadata": {"path": clean}})
        client.output = bounded(client.output)
        try:
            run_with_a_kernel_that_answers(client, reached)
        except CellTimeoutError as error:
            why = f"takes longer than {limit(notebook.cells[reached[-1]])} seconds"
            raise StoppedError(reached[-1], why) from error
        except DeadKernelError as error:
            raise StoppedError(reached[-1] if reached else 0, "ends the process that runs it") from error
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = joined_streams(cell.outputs)
    return notebook


def run_with_a_kernel_that_answers(client, reached):
    """Run the cells of an nbclient; a kernel that does not answer before any cell is `reached` is replaced, once.

    This was seen, rarely and for unknown reasons, when many start at once. As no cell has run, nothing is lost.
    """
    try:
        run_to_the_end(client)
    except RuntimeError:
        if reached:
            raise
        run_to_the_end(client)


def run_to_the_end(client):
    """Run the cells of an nbclient; after Ctrl-C no kernel is left behind.

    The client runs in a separate thread: in the main one it would catch the signal itself, and a kernel that it has
    ended looks like one that a cell has ended.
    """
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.execute, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            running.result()
        except KeyboardInterrupt:
            while not running.done():  # a kernel that is just starting has no process yet
                process = getattr(getattr(client.km, "provisioner", None), "process", None)
                if process is not None:
                    process.kill()
                wait([running], timeout=0.2)
            raise
        finally:
            if client.km is None:  # ended while starting, and dropped: nbclient would look for it at exit
                atexit.unregister(client._cleanup_kernel)


def bounded(output):
    """Return nbclient's receiver of outputs, made to drop streams beyond `MOST_PRINTED` characters."""
    printed = 0

    def receive(outs, message, display_id, cell_index):
        nonlocal printed
        if message["msg_type"] == "stream":
            printed += len(message["content"]["text"])
            if printed > MOST_PRINTED:
                return None
        return output(outs, message, display_id, cell_index)
    return receive


def joined_streams(outputs):
    """Return outputs with adjacent pieces of one stream joined, since where they are split depends on timing."""
    joined = []
    for output in outputs:
        if joined and output.output_type == "stream" and output.get("name") == joined[-1].get("name"):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def refuse_network():
    """Make every connection that leaves this machine fail, for the rest of this process.

    It is called in a notebook's kernel, a separate process that pytest-socket does not reach.
    """
    import socket

    def local_only(connect):
        def own(self, address):
            far = self.family in (socket.AF_INET, socket.AF_INET6)  # Windows has no AF_UNIX
            if far and address[0] not in ("127.0.0.1", "::1", "localhost"):
                raise OSError(f"the course runs without network, but a cell tried to reach {address}")
            return connect(self, address)
        return own

    socket.socket.connect = local_only(socket.socket.connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = local_only(socket.socket.connect_ex)  # type: ignore[method-assign]


def reports(notebook):
    """Return the reports of the checks and records of an executed notebook, in order, as dicts."""
    return [output["data"][REPORT] for cell in notebook["cells"] for output in cell.get("outputs", ())
            if REPORT in output.get("data", {})]


# ---- handing out and grading

def hand_out(directory, names=CURRICULUM):
    """Copy student versions into a folder without outputs, since a figure already seen cannot be predicted.

    Returns
    -------
    list of (Path, bool)
        Each file, and whether it is new; a file that exists is somebody's work and is left as it is.
    """
    directory, names = Path(directory), [full_name(name) for name in names]
    with naming("DIR", OSError):
        directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names:
        target = directory / f"{name}.ipynb"
        written.append((target, not target.exists()))
        if not target.exists():
            write_text(target, as_text(without_outputs(read(paths(name)[1]))))
    return written


def read(path):
    """Return a notebook file as nested dicts, or raise a `ValueError` that says what is wrong with it.

    The result has a dict "metadata" and a list "cells". Each cell has a dict "metadata" and texts "cell_type" and
    "source", and each code cell a list "outputs". A source that is not text is an error, because it may be an answer;
    anything else that is missing or of the wrong kind is taken to be empty.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > LARGEST:
        raise ValueError(f"{path}: is larger than the {LARGEST // 1_000_000} MB that a notebook may have")
    if not data.strip():
        raise ValueError(f"{path}: is empty")
    try:
        notebook = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deeply
        raise ValueError(f"{path}: is not a Jupyter notebook ({error})") from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise ValueError(f"{path}: is not a Jupyter notebook of format 4 (it has no list of cells)")
    return dict(notebook, metadata=kind_of(dict, notebook.get("metadata")),
                cells=[tidy_cell(f"{path}: cell {number}", cell) for number, cell in enumerate(cells, start=1)])


def tidy_cell(where, cell):
    """Return a cell of a notebook file with its source as a single text, as `read` promises."""
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise ValueError(f"{where}: its source is no text but {textwrap.shorten(repr(source), 60, placeholder='…')}")
    tidy = dict(cell, source=source, cell_type=kind_of(str, cell.get("cell_type")),
                metadata=kind_of(dict, cell.get("metadata")))
    return dict(tidy, outputs=kind_of(list, cell.get("outputs"))) if tidy["cell_type"] == "code" else tidy


def kind_of(kind, value):
    """Return a value if it is of the given kind (dict, list, str), else an empty one of that kind."""
    return value if isinstance(value, kind) else kind()


def without_outputs(notebook):
    """Return a notebook, as dicts, with all outputs removed."""
    cells = [dict(cell, outputs=[], execution_count=None) if cell["cell_type"] == "code" else cell
             for cell in notebook["cells"]]
    return dict(notebook, cells=cells)


def grade(path, seed, of_exam=False):
    """Run the answers of a returned notebook in a fresh copy, with another seed.

    Only the exercise cells, found by their first line (``# Exercise 1.2``), are taken from the returned notebook; the
    other cells are the course's own, and SEED and imports are restored before each check. The verdict is what the check
    of an exercise reports in its own cell, and nothing else. A cell that raises counts as failed and is replaced by the
    unsolved one, so that the others are still judged.

    The limits of this: answers and checks run in one process, so an answer written for the purpose can change anything
    that the checks rely on, including later answers and this verdict, or a file of the course or of another student.
    Whatever such an answer must use is flagged if it is visible in the source. Read what is flagged; where much depends
    on a grade, read answers that pass as well.

    Parameters
    ----------
    path : str or Path
        The returned notebook.
    seed : int
        Replaces SEED in the notebook's second cell. For an examination: the seed that it was made with.
    of_exam : bool, default False
        Whether it is graded as the examination with that seed, instead of the course. The notebook itself is not
        consulted, because a student could change what it says.

    Returns
    -------
    list of dict
        exercise, status ("PASS", "FAIL", "TODO"), claims (text, error, tolerance), message, flags; one dict for each
        exercise. A flag names something that an answer uses and the exercise does not provide, from the library or to
        reach what is not its own: look at it yourself. A cell that names the checks or the course's modules fails.

    Raises
    ------
    ValueError
        If the notebook cannot be graded: it is damaged, its name is unknown, or it is recognised as an examination
        without `of_exam`, or as one with another seed.
    """
    import nbformat
    seed = whole_number("grade: seed", seed, least=0)
    returned = read(path)
    known = kind_of(dict, returned["metadata"].get("minilift"))
    name = name_of(path, kind_of(str, known.get("notebook")), answers_in(returned))
    check_kind(returned, known, seed, of_exam)
    unsolved = examination(name, seed, "graded") if of_exam else read(paths(name)[1])
    blanks = answers_in(unsolved)
    answers = answers_in(returned, blanks)
    broken = {number: "is no text in Unicode" for number, source in answers.items() if SURROGATE.search(source)}
    broken |= {number: "takes its answer from the checks" for number, source in answers.items()
               if number not in broken and borrowed(names_of_checks, source, blanks.get(number, ""))}
    blamed, cleared = (None, None), set()  # a cell and the answer for which it stopped; those for which it did not
    while True:
        sound = {number: source for number, source in answers.items() if number not in broken}
        text = as_text(with_answers(without_outputs(unsolved), sound, seed))
        notebook = nbformat.reads(text, as_version=4)
        try:
            raised = errors_of_exercises(execute(notebook, timeout=ANSWER_SECONDS, allow_errors=True), sound)
        except StoppedError as error:
            if error.cell == blamed[0]:  # it stops without that answer, too
                del broken[blamed[1]]
                cleared.add(blamed[1])
            blamed = error.cell, exercise_at(notebook, error, sound.keys() - cleared)
            raised = {blamed[1]: error.why}
        if not raised:
            break
        broken.update(raised)
    results = [verdict(number, check) for number, check in checks_of(notebook)]
    for report in results:
        number = report["exercise"]
        if number in broken:
            report.update(status="FAIL", claims=[], message=f"the cell {broken[number]}")
        used = borrowed(names_of_note, answers.get(number, ""), blanks.get(number, ""))
        report["flags"] = [f"uses {name}" for name in used]
    return results


def name_of(path, said, answers):
    """Return the name in the curriculum of a returned notebook, by its metadata, its file name or its exercises."""
    try:
        return full_name(said or path)
    except ValueError:
        if said:
            raise ValueError(f"has the unknown name {said!r} in its metadata") from None
    numbers = {number.split(".")[0].zfill(2) for number in answers}
    found = [name for name in CURRICULUM if name[:2] in numbers]
    if len(found) != 1:
        raise ValueError(f"has the unknown name {Path(path).stem!r}, and nothing in it says which it is")
    return found[0]


def check_kind(returned, known, seed, of_exam):
    """Refuse a notebook that is an examination if the course is graded, or an examination with another seed.

    Parameters
    ----------
    returned : notebook
    known : dict
        The entries that minilift wrote into its metadata; they may be lost.
    seed : int
    of_exam : bool
        Whether an examination is graded.
    """
    if not of_exam and (known.get("version") in ("exam", "key")
                        or any(exam.CHANGED in cell["source"] for cell in returned["cells"])):
        raise ValueError("it is an examination; grade it with --exam and the seed of the kit")
    if of_exam and known.get("version") in ("exam", "key") and known.get("seed", seed_mark(seed)) != seed_mark(seed):
        raise ValueError(f"it is an examination of another seed than {seed}; the page of the kit's examination says "
                         "which")


def checks_of(notebook):
    """Yield (exercise, check cell) for each check cell of a notebook, which belongs to the exercise cell before it."""
    number = None
    for cell in notebook["cells"]:
        match = EXERCISE.search(cell["source"]) if cell["cell_type"] == "code" else None
        number = match[1] if match else number
        if tagged(cell, "check"):  # an answer's own output is not a verdict
            yield number, cell


def verdict(number, check):
    """Return what the check of an exercise reported in its own cell.

    It is a failure if the check reached no verdict, for example because a name has no value, or if there is another
    report: a check reports once.
    """
    found = [report for report in reports({"cells": [check]}) if isinstance(report, dict)
             and report.get("kind") == "check"]
    own = [report for report in found if report.get("exercise") == number]
    if own and len(found) == 1:
        return own[-1]
    why = next((f"{output['ename']}: {output['evalue']}" for output in check["outputs"]
                if output["output_type"] == "error"), "it reported nothing")
    message = "an answer shows verdicts of its own" if found else f"the check came to no verdict ({why})"
    return {"kind": "check", "exercise": number, "status": "FAIL", "claims": [], "message": message}


def answers_in(notebook, blanks=None):
    """Return {exercise: source} of the exercise cells of a returned notebook; if there are several, the last counts.

    With `blanks`, the unsolved ones, a cell counts that makes one of their names: a trial of the answer is none.
    """
    found: dict[str, str] = {}
    for cell in notebook["cells"]:
        match = EXERCISE.search(cell["source"]) if cell["cell_type"] == "code" else None
        if match and (match[1] not in found or makes(cell["source"], (blanks or {}).get(match[1], ""))):
            found[match[1]] = cell["source"]
    return found


def makes(source, blank):
    """Whether a cell defines or assigns a name that the unsolved cell does; True where that cannot be told."""
    trees = tree_of(source), tree_of(blank)
    if None in trees:
        return True
    made, asked = (bound_in([node for part in tree.body
                             for node in ([part] if isinstance(part, ast.FunctionDef) else ast.walk(part))])
                   for tree in trees)
    return not asked or bool(made & asked)


def borrowed(names, source, blank):
    """Return, sorted, what `names` finds in the source of an answer but not in the blank exercise."""
    return sorted(names(source) - names(blank))


def tree_of(source):
    """Return the syntax tree of a cell, or None if it has none, or if it holds code as text, as with ``%%time``."""
    from IPython.core.inputtransformer2 import TransformerManager
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        plain = TransformerManager().transform_cell(source)
        return None if "run_cell_magic" in plain else ast.parse(plain)
    return None


def names_of_checks(source):
    """Return the names by which a source reaches the checks; a `check` that it defines itself does not count."""
    tree = tree_of(source)
    if tree is None:
        return set(CHECKS.findall(source))
    nodes = list(ast.walk(tree))
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    parts = {f"{node.module}.{name.name}" for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names}
    parts |= {re.sub(r"^ml\.", "minilift.", ast.unparse(node)) for node in nodes if isinstance(node, ast.Attribute)}
    found = {match for text in (source, *parts) for match in COURSE.findall(text)}
    return found | ({"check", "judge"} & used - bound_in(nodes))


def bound_in(nodes):
    """Return the names to which a source gives a value: functions, classes, arguments, assignments, imports."""
    named = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    named |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    named |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return named | {node.asname or node.name.split(".")[0] for node in nodes if isinstance(node, ast.alias)}


def names_of_note(source):
    """Return the names in a source that a teacher should look at.

    These are names of the library, under whatever alias; modules other than the usual ones; names by which a cell can
    reach what is not its own, including attributes with two underscores; and `check`, `judge` and SEED, used or bound.
    """
    found, tree = set(LIBRARY.findall(source)), tree_of(source)
    if tree is None:
        return found | ({"a cell magic"} if "%%" in source else set())
    nodes = list(ast.walk(tree))
    found |= {ast.unparse(node) for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))
              and not {name.split(".")[0] for name in modules_of(node)} <= PLAIN}
    inside = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    used = {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in inside}
    found |= ({"ml", "minilift", "teach"} & used) | (REACH & used)
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    found |= {"check", "judge", "SEED"} & (used | bound_in(nodes))
    return found | {name for name in attributes if name.startswith("__")}


def modules_of(node):
    """Return the full names of the modules that an import statement names."""
    return [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module or ""]


def exercise_at(notebook, error, answers):
    """Return the exercise whose answer stopped a notebook: the student's last one at or before that cell.

    Raises
    ------
    ValueError
        If there is none, which means that the notebook cannot be graded.
    """
    before = [EXERCISE.search(cell.source)[1] for cell in notebook.cells[:error.cell + 1] if tagged(cell, "exercise")]
    found = [number for number in before if number in answers]
    if not found:
        raise ValueError(f"it cannot be run: {error}")
    return found[-1]


def with_answers(notebook, answers, seed):
    """Return the course's notebook with the student's exercise cells and another seed.

    Before each check, SEED and the imports are restored. The checks are called through their modules, so that an answer
    may define its own `check`.
    """
    cells, back, modules = [], [f"SEED = {seed}"], {"judge": "minilift.course.judge"}
    for cell in notebook["cells"]:
        source = SEED.sub(f"SEED = {seed}", cell["source"])
        if SEED.search(source):
            back += [line for line in IMPORT.findall(source) if not line.endswith((" check", " judge"))]
            modules["check"] = ".".join(next(iter(EXERCISES.findall(source)), ("", "")))
        match = EXERCISE.search(source) if tagged(cell, "exercise") else None
        if tagged(cell, "check"):
            for name, module in modules.items():
                source = re.sub(rf"\b{name}\.", f'__import__("{module}", fromlist=["x"]).', source)
            source = "\n".join([*back, source])
        cells.append(dict(cell, source=answers.get(match[1], source) if match else source))
    return dict(notebook, cells=cells)


def errors_of_exercises(notebook, answers):
    """Return {exercise: error} for the student's cells that raised when they were run."""
    errors = {}
    for cell in notebook.cells:
        match = EXERCISE.search(cell.source) if tagged(cell, "exercise") else None
        for output in cell.get("outputs", ()):
            if match and match[1] in answers and output.output_type == "error":
                errors[match[1]] = f"raises {output.ename}: {output.evalue}".rstrip(": ")
    return errors


def error_and_limit(claim):
    """Return the error of a reported claim (None stands for an infinite or NaN one) and its tolerance."""
    return (math.inf if claim["error"] is None else claim["error"]), claim["tolerance"]


def table(results):
    """Return graded results as the lines of a table."""
    rows = [("exercise", "result", "largest error", "remark")]
    for result in results:
        errors = map(error_and_limit, result["claims"])
        error, limit = max(errors, key=lambda pair: pair[0] / max(pair[1], 1e-300), default=(None, 1))
        size = "" if error is None else f"{error:.1e} (limit {limit:g})"
        remarks = [result["message"], *(f"FLAG: {flag}" for flag in result.get("flags", ()))]
        rows.append((result["exercise"], result["status"], size, "; ".join(filter(None, remarks))))
    lines = padded(rows, "<<<<")
    passed = sum(result["status"] == "PASS" for result in results)
    return [*lines, f"{passed} of {len(results)} passed"]


# ---- the command line

def add_arguments(parser):
    """Add the arguments of `minilift teach`."""
    commands = parser.add_subparsers(dest="teach_command", required=True, metavar="{student,grade,build,book,kit}")
    student = commands.add_parser("student", help="write fresh student notebooks into a folder")
    student.add_argument("directory", metavar="DIR")
    student.add_argument("names", nargs="*", default=[], metavar="NOTEBOOK", help="such as 01 (default: all)")
    grading = commands.add_parser(
        "grade", help="run the answers of returned notebooks with another seed",
        description="Run the answers of returned notebooks with another seed: the named notebooks one after the other, "
        "or those of a whole FOLDER, each in a process of its own. For a folder, the table is grades.csv (and "
        "grades.json) in the folder, and a second call grades only what is new or changed.")
    grading.add_argument("notebook", nargs="+", metavar="NOTEBOOK|FOLDER",
                         help="a notebook that cannot be graded does not stop the others")
    grading.add_argument("--seed", type=whole, default=1,
                         help="default 1 (the course's is 0); for an examination, the seed of its kit")
    grading.add_argument("--exam", action="store_true", help="the notebooks are a kit's examinations, made with --seed")
    for option, kind, text in (("jobs", whole, f"notebooks at a time (default: one per core, {cores()})"),
                               ("minutes", decimal, f"minutes that one notebook may take (default {MINUTES})"),
                               ("memory", decimal, f"GB that its processes may take together (default {MEMORY})")):
        grading.add_argument(f"--{option}", type=kind, metavar="N", help=f"for a folder: {text}")
    grading.add_argument("--json", metavar="FILE",
                         help="for one notebook: the report (default: NOTEBOOK with the ending .grade.json)")
    making = commands.add_parser("build", help="generate notebooks from their sources (in a source checkout)")
    making.add_argument("names", nargs="*", default=[], metavar="NOTEBOOK", help="default: all")
    pages = commands.add_parser("book", help="write the course as static pages that are read without a network")
    pages.add_argument("directory", nargs="?", default="minilift-book", metavar="DIR", help="default minilift-book")
    pages.add_argument("--lite", action="store_true", help="also write notebooks that run in the browser, in DIR/lite "
                                                           "(needs the extra 'lite', in a source checkout)")
    material = commands.add_parser("kit", help="write a lecturer's kit: plans, quiz, slides, handout, rubrics, "
                                               "examinations (in a source checkout)")
    material.add_argument("directory", nargs="?", default="minilift-kit", metavar="DIR", help="default minilift-kit")
    material.add_argument("--seed", type=whole, help="seed of the examinations (default: drawn, and printed; "
                                                     "needed where DIR holds a kit)")


def run(arguments):
    """Run `minilift teach` and return its exit code."""
    commands = {"student": run_student, "grade": run_grade, "build": run_build, "book": run_book,
                "kit": run_kit}
    return commands[arguments.teach_command](arguments)


def run_student(arguments):
    """Write fresh student notebooks."""
    if not arguments.names and is_name(arguments.directory):
        raise ValueError(f"DIR: a folder comes before the names of notebooks, as in 'minilift teach student course "
                         f"{arguments.directory}', got {arguments.directory!r} alone (a folder of that name is "
                         f"./{arguments.directory})")
    for path, new in hand_out(arguments.directory, arguments.names or CURRICULUM):
        print(f"{path}" if new else f"{path}: exists, left as it is")
    return 0


def is_name(word):
    """Whether a word, and no path, is the name of a notebook as `full_name` knows it."""
    with suppress(ValueError):
        return word == Path(word).name and Path(word).suffix in ("", ".ipynb") and bool(full_name(word))
    return False


def run_grade(arguments):
    """Grade returned notebooks, printing a table and writing a JSON file for each; return 2 if any cannot be graded."""
    if arguments.exam:
        need_sources("--exam: examinations are graded")
    import_or_explain("nbclient", "ipykernel", *(["jupytext"] if arguments.exam else []))
    whole_number("--seed", arguments.seed, least=0)
    if any(map(os.path.isdir, arguments.notebook)):
        return run_grade_class(arguments)
    for option in ("jobs", "minutes", "memory"):
        if getattr(arguments, option) is not None:
            raise ValueError(f"--{option}: is for a FOLDER of notebooks, got no folder")
    if arguments.json and len(arguments.notebook) > 1:
        raise ValueError(f"--json: names the file of one notebook, got {len(arguments.notebook)} notebooks")
    if arguments.json:
        if Path(arguments.json).suffix == ".ipynb":  # --json NOTEBOOK NOTEBOOK: a student's work would be overwritten
            raise ValueError(f"--json: expected the file of a report, such as grades.json, got the notebook "
                             f"{arguments.json}")
        check_target(Path(arguments.json))
    note(f"grading {len(arguments.notebook)} notebook{'s' * (len(arguments.notebook) > 1)}: about half a minute each")
    failed = [path for path in map(Path, arguments.notebook) if not graded(path, arguments)]
    return 2 if failed else 0


def run_grade_class(arguments):
    """Grade all notebooks of a folder, each in its own process; return 2 if any cannot be graded."""
    import_or_explain("psutil")
    folder, *more = map(Path, arguments.notebook)
    if more:
        raise ValueError(f"NOTEBOOK|FOLDER: a folder is graded by itself, got {len(more) + 1} paths")
    if arguments.json:
        raise ValueError("--json: names the file of one notebook; the results of a folder are its grades.json")
    jobs = check_count("jobs", cores() if arguments.jobs is None else arguments.jobs)
    limits = gradebook.Limits(arguments.minutes or MINUTES, arguments.memory or MEMORY)
    course = checksums()
    rows = gradebook.grade_class(folder, arguments.seed, edition(course), jobs, limits, arguments.exam)
    now = checksums()
    changed = [str(file) for file in sorted({**course, **now}) if course.get(file) != now.get(file)]
    if changed:
        raise RuntimeError("files of the course were changed while this ran, by an answer perhaps: "
                           f"{', '.join(changed)}; install minilift anew, look at what is flagged, and grade all again")
    print("\n".join([*gradebook.shown(rows), f"written: {folder / 'grades.csv'} and grades.json"]))
    return 2 if any(row["results"] is None for row in rows) else 0


def checksums():
    """Return a checksum of each file of the course: checks, notebooks, and what examinations are judged by."""
    of_exams = (folder() / "kit" / "variants.md", *(folder() / "src" / f"{name}.py" for name in CURRICULUM))
    files = [*sorted(Path(__file__).parent.rglob("*.py")), *(paths(name)[1] for name in CURRICULUM),
             *filter(Path.is_file, of_exams)]  # an installed package leaves these out
    return {file: zlib.crc32(file.read_bytes()) for file in files}


def edition(course):
    """Return one checksum of the `checksums` of a course, by which grades from an earlier edition are recognised."""
    return f"{zlib.crc32(repr([*course.values()]).encode()):08x}"


def check_target(path):
    """Make sure, before the work, that a file can be written, and create its folder."""
    with naming("--json", OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(path)


def graded(path, arguments):
    """Grade one notebook, print its table and write it to a file, or say why not; return whether it was graded."""
    seed, of = arguments.seed, "examination" if arguments.exam else "course"
    target = Path(arguments.json) if arguments.json else path.with_suffix(".grade.json")
    try:
        check_writable(target)
        if gradebook.is_of_a_class():
            gradebook.adopt()
        results = grade(path, seed, arguments.exam)
        if gradebook.is_of_a_class():
            gradebook.end_descendants()
        with suppress(BrokenPipeError):  # nobody reads it; the file is written all the same
            print("\n".join([f"{path.name}, {of}, seed {seed}", *table(results)]), flush=True)
        about = {"notebook": path.name, "of": of, "seed": seed, "results": results}
        write_text(target, json.dumps(about, indent=1) + "\n")
    except Exception as error:  # a returned file may cause anything, and the next one is somebody else's
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        why = f"{kind}{error}".removeprefix(f"{path}: ")
        sys.stderr.write(f"minilift teach: {path} cannot be graded: {why}\n")
        return False
    print(f"written: {target}", flush=True)
    return True


def run_build(arguments):
    """Generate notebooks from their sources."""
    need_sources("notebooks are built")
    import_or_explain("jupytext", "nbclient", "ipykernel")
    note("building: each notebook is run, about half a minute each")
    for name in arguments.names or CURRICULUM:
        build(name)
        print(paths(name)[1])
    return 0


def run_book(arguments):
    """Write the course as a book of static pages."""
    browser = ("jupyterlite_core", "jupyterlite_pyodide_kernel", "jupyter_server") if arguments.lite else ()
    import_or_explain("nbconvert", "latex2mathml", *browser, extra="lite" if arguments.lite else "tutorials")
    directory = Path(arguments.directory)
    with naming("DIR", OSError):
        directory.mkdir(parents=True, exist_ok=True)
    note("writing the book: about 20 seconds")
    front = (folder() / "README.md").read_text(encoding="utf-8")
    course = {name: read(paths(name)[1]) for name in CURRICULUM}
    if not any(cell.get("outputs") for notebook in course.values() for cell in notebook["cells"]):
        note("an installed package leaves out the results of the notebooks: the pages will have no figures; in a clone "
             "of the repository they have them")
    if arguments.lite:
        write_lite(directory / "lite", course)
        front += "\n[Run the notebooks in the browser](lite/lab/index.html)\n"
    book.write(directory, course, front)
    print(directory / "index.html")
    return 0


def write_lite(directory, course):
    """Write the site where the notebooks run in the browser."""
    root = folder().parent
    if not (root / "setup.cfg").is_file():
        raise RuntimeError("--lite builds a wheel of minilift; run it in a clone of the repository")
    note("building the site for the browser: half a minute")
    lite.write(directory, {name: as_text(lite.with_installation(without_outputs(notebook)))
                           for name, notebook in course.items()}, root)
    note(f"to look at it: {sys.executable} -m http.server -d {directory.parent}")


def run_kit(arguments):
    """Write the lecturer's kit, with an examination on each notebook."""
    directory = Path(arguments.directory)
    seed = secrets.randbelow(10**6) if arguments.seed is None else whole_number("--seed", arguments.seed, least=0)
    if arguments.seed is None and (directory / "examination.html").exists():
        raise ValueError(f"DIR: {directory} holds a kit already, and a new seed would replace its examinations; give "
                         "the --seed that its examination.html names, or another DIR")
    need_sources("the kit is made")
    import_or_explain("nbconvert", "latex2mathml", "jupytext")
    with naming("DIR", OSError):
        directory.mkdir(parents=True, exist_ok=True)
    note("writing the kit: about ten seconds")
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (folder() / "kit").glob("*.md")}
    texts["README"] = (folder() / "README.md").read_text(encoding="utf-8")
    kit.write(directory, {name: read(paths(name)[1]) for name in CURRICULUM},
              {name: source_cells(name) for name in CURRICULUM}, texts, seed)
    for kind, place in (("exam", directory / "exam"), ("key", directory / "key")):
        place.mkdir(exist_ok=True)
        for name in CURRICULUM:
            write_text(place / f"{name}.ipynb", as_text(examination(name, seed, kind)))
    print(f"{directory / 'index.html'}\nseed of the examinations, which grading needs: {seed}")
    return 0


def add_tutorials_arguments(parser):
    """Add the arguments of `minilift tutorials`."""
    parser.add_argument("directory", nargs="?", default="minilift-tutorials", metavar="DIR",
                        help="folder to copy the notebooks to (default minilift-tutorials)")
    parser.add_argument("--no-browser", action="store_true", help="copy the notebooks, do not start Jupyter")


def run_tutorials(arguments):
    """Copy the student notebooks into a user's folder, start Jupyter there, and return the exit code."""
    if not arguments.no_browser:
        import_or_explain("jupyterlab")
    for path, new in hand_out(arguments.directory):
        print(f"{path}" if new else f"{path}: exists, left as it is")
    if arguments.no_browser:
        return 0
    note("starting JupyterLab: a browser opens in some seconds; Ctrl-C here ends it")
    with subprocess.Popen([sys.executable, "-m", "jupyterlab", str(arguments.directory)]) as server:
        while True:
            try:
                return server.wait()
            except Terminated:
                server.terminate()  # and it is waited for
                raise
            except KeyboardInterrupt:  # JupyterLab has it too: it asks, and ends its kernels
                continue


def need_sources(what):
    """Raise an error that says where a command works, unless the notebooks' sources are present."""
    if not (folder() / "src").is_dir():
        raise RuntimeError(f"{what} from the notebooks' sources and model answers, which an installed package leaves "
                           "out; run this with minilift installed from a clone of the repository (pip install -e .)")


def import_or_explain(*modules, extra="tutorials"):
    """Raise an error that says what to install if one of `modules`, which an extra provides, is missing."""
    from importlib.util import find_spec
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise RuntimeError(f"the notebooks need {', '.join(missing)}, not installed here; install with: "
                           f"{how_to_install(extra)}")

