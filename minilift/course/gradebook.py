"""A class: every returned notebook of a folder graded in a process of its own, and one table of all.

Each notebook is graded by ``minilift teach grade NOTEBOOK`` as a child process, some at a time. The processes that
belong to a notebook carry a mark in their environment. By that they are found when they take too long or too much
memory, and at the end, whoever their parent is by then. What is graded stands in grades.json, which is written anew
after each notebook: a second call grades only what is new or changed.

This is no sandbox. A notebook runs with the teacher's rights, and one that means harm can do it; grade a class that you
do not trust in a container, or as a user who owns nothing else.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from minilift.lab.machine import THREAD_VARIABLES
from minilift.lab.tables import aligned
from minilift.support.files import read_text, write_text
from minilift.support.terminal import about, note

COMMAND = (sys.executable, "-m", "minilift.cli", "teach", "grade")
MARK = "MINILIFT_GRADING"  # the environment variable by which the processes of a notebook are known
USUAL = 30  # seconds that a notebook takes, about
PAUSE = 0.25  # seconds between two looks at the processes of a notebook
ROUNDS = 100  # of ending processes that start others meanwhile
LONGEST = 300  # characters of a remark
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a cell begins that a spreadsheet would compute


class Limits(NamedTuple):
    """What the processes of one notebook may take together."""

    minutes: float
    memory: float  # GB, resident


class Task(NamedTuple):
    """A notebook to be graded: its path, its name in the folder, and what its grades depend on."""

    path: Path
    name: str
    of: dict


# ---- what is to be graded

def tasks_of(folder, seed, edition):
    """Return a `Task` for every notebook below a folder, hidden folders and files left out, in the order of names.

    Parameters
    ----------
    folder : Path
    seed : int
    edition : str
        A checksum of the course: of what answers are held to.
    """
    paths = ((path, path.relative_to(folder)) for path in sorted(folder.rglob("*.ipynb")))
    return [Task(path, name.as_posix(), {"checksum": checksum(path), "seed": seed, "edition": edition})
            for path, name in paths if not any(part.startswith(".") for part in name.parts)]


def checksum(path):
    """Return a checksum of a file, or None if it cannot be read; grading will say why."""
    total = hashlib.sha256()
    try:
        if not path.is_file():  # a pipe would never end
            return None
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    except OSError:
        return None
    return total.hexdigest()


def is_graded(row, task, limits):
    """Whether the row of an earlier call is that of this notebook as it is now.

    One that could not be graded is tried again with other limits.
    """
    same = row is not None and {name: row[name] for name in task.of} == task.of
    return same and (row["results"] is not None or row["limits"] == limits._asdict())


def read_rows(path):
    """Return {name: row} of an earlier call, or raise an error that says that the file is damaged."""
    if not path.exists():
        return {}
    try:
        rows = {row["file"]: row for row in json.loads(read_text(path))["rows"]}
        for row in rows.values():
            cells(row, exercises_of([row]))
            _ = [row[name] for name in ("checksum", "seed", "edition", "limits")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or not of minilift teach ({type(error).__name__}: {error}); "
                         "move it away to grade all anew") from error
    return rows


# ---- one notebook

def graded_row(limits, environment, task, stop):
    """Grade a notebook in a process of its own and return its row of the table; whatever happens is told in it."""
    started = time.perf_counter()
    if task.of["checksum"] is None:
        results, remark = None, "cannot be read, or is no file"
    else:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            results, remark = graded_alone(task, Path(scratch), limits, environment, stop)
    return {"file": task.name, **task.of, "results": results, "remark": one_line(remark),
            "seconds": round(time.perf_counter() - started, 1), "limits": limits._asdict()}


def graded_alone(task, scratch, limits, environment, stop):
    """Return the results of a notebook, None if there are none, and a remark: why, or what was in the way.

    All temporary files of its processes lie in the folder `scratch`.
    """
    target, errors, mark = scratch / "grade.json", scratch / "errors", os.urandom(16).hex()
    words = [*COMMAND, str(task.path.absolute()), "--seed", str(task.of["seed"]), "--json", str(target)]
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    with open(errors, "wb") as file:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file,
                                 env={**environment, **places, MARK: mark}, start_new_session=True)
    try:
        remark = watched_over(child, mark, limits, stop)
    finally:
        end_all(mark)
        child.kill()
        code = child.wait()
    if code == 0:
        return read_results(target, remark)
    lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    why = f"grading was ended by signal {-code}" if code < 0 else lines[-1] if lines else f"grading ended with {code}"
    return None, remark or why.rpartition("cannot be graded: ")[2]


def read_results(path, remark):
    """Return the results that a child has written, or None, and the remark."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        exercises_of([{"results": results}])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return None, f"the results of grading cannot be read ({type(error).__name__}: {error})"
    return results, remark


def watched_over(child, mark, limits, stop):
    """Wait for a child that grades a notebook; return why it was ended, or what it was kept from, or "".

    If the processes of the notebook take too much memory, all but the child itself are ended: it goes on without the
    answer that did so. If they take too long, or `stop` is set, that is for the caller to end.
    """
    remark, deadline = "", time.monotonic() + 60 * limits.minutes
    while is_running(child):
        if stop.is_set():
            return "grading was interrupted"
        if time.monotonic() > deadline:
            return f"takes longer than {limits.minutes:g} minutes"
        sizes = {process.pid: size for process, size in marked(mark)}
        if sum(sizes.values()) > 1e9 * limits.memory:
            remark = f"takes more than {limits.memory:g} GB of memory"
            end_all(mark, spared=child.pid if sizes.get(child.pid, 0) <= 1e9 * limits.memory else None)
    return remark


def is_running(child):
    """Whether a child still runs after a pause."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(PAUSE)
    return child.returncode is None


def marked(mark):
    """Return (process, bytes of memory in use) of all processes that carry a mark."""
    import psutil
    found = []
    for number in psutil.pids():
        with suppress(psutil.Error, OSError):  # it has ended, or it is another user's
            process = psutil.Process(number)
            if process.environ().get(MARK) == mark:
                found.append((process, process.memory_info().rss))
    return found


def end_all(mark, spared=None):
    """End the processes that carry a mark, those too that they start meanwhile."""
    import psutil
    for _ in range(ROUNDS):
        found = [process for process, _ in marked(mark) if process.pid != spared]
        for act in ("suspend", "kill"):  # one that stands still starts no other
            for process in found:
                with suppress(psutil.Error):
                    getattr(process, act)()
        if not found:
            return
        time.sleep(0.02)


# ---- all of them

def grade_class(folder, seed, edition, jobs, limits):
    """Grade what is new or changed in a folder; write grades.json and grades.csv there; return the rows.

    Parameters
    ----------
    folder : Path
    seed : int
    edition : str
        A checksum of the course.
    jobs : int
        Notebooks at a time.
    limits : Limits

    Returns
    -------
    list of dict
        file, checksum, seed, edition, results (as `minilift.course.notebooks.grade` returns them, or None), remark,
        seconds, limits; one for each notebook, in the order of names.

    Raises
    ------
    ValueError
        If there is no notebook in the folder, or its grades.json is damaged.
    """
    tasks, store = tasks_of(folder, seed, edition), folder / "grades.json"
    if not tasks:
        raise ValueError(f"{folder}: there is no notebook (*.ipynb) in this folder")
    rows = read_rows(store)
    due = [task for task in tasks if not is_graded(rows.get(task.name), task, limits)]
    rows = {task.name: rows[task.name] for task in tasks if task not in due}
    write(folder, tasks, rows)  # before the work: that it can be written
    lasts = f": {about(USUAL * max(1, len(due) / jobs))}" if due else ""
    note(f"{len(due)} of {len(tasks)} notebooks are to be graded, {jobs} at a time{lasts}")
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    work = partial(graded_row, limits, {**os.environ, **dict.fromkeys(THREAD_VARIABLES, threads)})
    with closing(in_parallel(work, due, jobs)) as graded:
        for row in graded:
            rows[row["file"]] = row
            write(folder, tasks, rows)
            note(f"{len(rows)} of {len(tasks)}: {printable(row['file'])}: {printable(verdict(row))}")
    return [rows[task.name] for task in tasks]


def in_parallel(work, tasks, jobs):
    """Yield what `work(task, stop)` returns, in the order of finishing; `stop` is set when the caller leaves."""
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(work, task, stop) for task in tasks]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def write(folder, tasks, rows):
    """Write the rows that there are, as JSON and as CSV."""
    kept = [rows[task.name] for task in tasks if task.name in rows]
    write_text(folder / "grades.json", json.dumps({"rows": kept}, indent=1) + "\n")
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([[harmless(cell) for cell in line] for line in table_of(kept)])
    write_text(folder / "grades.csv", out.getvalue())


# ---- the table

def exercises_of(rows):
    """Return the numbers of all exercises in some rows, 1.2 before 1.10."""
    found = {str(result["exercise"]) for row in rows for result in row["results"] or ()}
    return sorted(found, key=lambda exercise: [int(part) for part in exercise.split(".")])


def table_of(rows):
    """Return the table of a class as rows of texts: one a notebook, with a column for each exercise."""
    exercises = exercises_of(rows)
    head = ["file", "passed", "of", *exercises, "flags", "remark", "seconds"]
    return [head, *(cells(row, exercises) for row in rows)]


def cells(row, exercises):
    """Return the texts of a row."""
    status = {result["exercise"]: result["status"] for result in row["results"] or ()}
    flags = [f"{result['exercise']}: {flag}" for result in row["results"] or () for flag in result.get("flags", ())]
    passed, of = (Counter(status.values())["PASS"], len(status)) if row["results"] is not None else ("", "")
    remark = row["remark"] if row["results"] is not None else f"not graded: {row['remark']}"
    return [row["file"], str(passed), str(of), *(status.get(exercise, "") for exercise in exercises),
            "; ".join(flags), remark, f"{row['seconds']:.1f}"]


def verdict(row):
    """Return what came of a notebook, in words."""
    _, passed, of, *_, remark, seconds = cells(row, [])
    return f"{f'{passed} of {of} passed, ' if of else ''}{seconds} s{f'; {remark}' if remark else ''}"


def shown(rows):
    """Return the lines of the table of a class for a terminal, without flags and times."""
    return aligned([[printable(cell) for cell in (*line[:-3], line[-2])] for line in table_of(rows)])


def one_line(text):
    """Return a text as one line of moderate length."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


def printable(text):
    """Return a text without signs that would steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def harmless(cell):
    """Return a cell that can be written and that no spreadsheet takes for a formula: it may be a student's text."""
    cell = cell.encode("utf-8", "backslashreplace").decode()
    return f"'{cell}" if cell.startswith(FORMULA) else cell
