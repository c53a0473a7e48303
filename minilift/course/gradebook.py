"""Grade a class: every returned notebook in a folder, each in its own process, with one table of all results.

Each notebook is graded by ``minilift teach grade NOTEBOOK`` as a child process, several at a time. The processes that
belong to a notebook carry a mark in their environment, descend from one that does, or are in the same session as one.
They are found in this way, and remembered, and ended if they take too long or too much memory, or when grading ends.
Grades are kept in grades.json, which is rewritten after each notebook: a second call grades only what is new or
changed. A notebook under way when a call was killed is graded last and alone; if that happens twice, it is given up.

This is not a sandbox. A notebook runs with the teacher's rights, and a malicious one can do harm: write to any file,
end this process, forge its grades, and leave a process behind if it ends its grader first. Grade a class that you do
not trust in a container, or as a user who owns nothing else.
"""

from __future__ import annotations

import csv
import ctypes
import hashlib
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from minilift.lab.tables import aligned
from minilift.support.files import moved_aside, read_text, write_text
from minilift.support.processes import THREAD_VARIABLES, cores, own_process
from minilift.support.terminal import about, note

COMMAND = own_process("minilift.cli", "teach", "grade")
MARK = "MINILIFT_GRADING"  # the environment variable by which the processes of a notebook are known
USUAL = 30  # seconds that grading a notebook usually takes
PAUSE = 0.25  # seconds between two checks of the processes of a notebook
ROUNDS = 100  # attempts, at most, to end processes that start others meanwhile
LARGEST = 100_000_000  # bytes that a notebook may have to be read
ENDED = 2  # times that the grading may be killed while a notebook is under way, before it is given up
LONGEST = 300  # characters of a remark
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # first characters of a cell that a spreadsheet would evaluate


class Limits(NamedTuple):
    """The time and memory that the processes of one notebook may use together."""

    minutes: float
    memory: float  # GB, resident


class Task(NamedTuple):
    """A notebook to be graded: its path, its name in the folder, and the data that its grades depend on."""

    path: Path
    name: str
    of: dict


# ---- what is to be graded

def tasks_of(folder, seed, edition, of_exam=False):
    """Return a `Task` for every notebook below a folder, except hidden ones, in the order of their names.

    Parameters
    ----------
    folder : Path
    seed : int
    edition : str
        A checksum of the course, by which answers are judged.
    of_exam : bool, default False
        Whether they are examinations.
    """
    same = {"seed": seed, "edition": edition, "of": "examination" if of_exam else "course"}
    paths = ((path, path.relative_to(folder)) for path in sorted(folder.rglob("*.ipynb")))
    return [Task(path, name.as_posix(), {"checksum": checksum(path), **same})
            for path, name in paths if not any(part.startswith(".") for part in name.parts)]


def checksum(path):
    """Return a checksum of a file, its size if it is too large, or None if unreadable, which grading will report."""
    total = hashlib.sha256()
    try:
        if not path.is_file():  # reading a pipe might never end
            return None
        if path.stat().st_size > LARGEST:
            return f"{path.stat().st_size} bytes"
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    except OSError:
        return None
    return total.hexdigest()


def is_graded(row, task, limits):
    """Whether the row of an earlier call belongs to this notebook in its present state.

    A notebook that could not be graded is tried again if the limits have changed.
    """
    same = row is not None and {name: row.get(name) for name in task.of} == task.of
    return same and (row["results"] is not None or row["limits"] == limits._asdict())


def read_rows(path):
    """Return {name: row} of an earlier call, and {name: [checksum, times]} of notebooks under way when it was killed.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    if not path.exists():
        return {}, {}
    try:
        kept = json.loads(read_text(path))
        rows = {row["file"]: row for row in kept["rows"]}
        begun = {name: [of, int(times)] for name, (of, times) in kept.get("begun", {}).items()}
        for row in rows.values():
            cells(row, exercises_of([row]))
            _ = [row[name] for name in ("checksum", "seed", "edition", "limits")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or not of minilift teach ({type(error).__name__}: {error}); "
                         "move it away to grade all anew") from error
    return rows, begun


# ---- one notebook

def graded_row(limits, environment, task, stop):
    """Grade a notebook in its own process and return its row of the table, which reports whatever happened."""
    started = time.perf_counter()
    if task.of["checksum"] is None:
        results, remark = None, "cannot be read, or is no file"
    else:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            results, remark = graded_alone(task, Path(scratch), limits, environment, stop)
    return {"file": task.name, **task.of, "results": results, "remark": one_line(remark),
            "seconds": round(time.perf_counter() - started, 1), "limits": limits._asdict()}


def graded_alone(task, scratch, limits, environment, stop):
    """Return the results of a notebook, None if there are none, and a remark: why not, or what went wrong.

    All temporary files of its processes are in the folder `scratch`.
    """
    target, errors, mark = scratch / "grade.json", scratch / "errors", os.urandom(16).hex()
    words = [*COMMAND, str(task.path.absolute()), "--seed", str(task.of["seed"]), "--json", str(target),
             *(["--exam"] if task.of["of"] == "examination" else [])]
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    with open(errors, "wb") as file:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file,
                                 env={**environment, **places, MARK: mark}, start_new_session=True)
    family = Family(mark)
    try:
        remark = watched_over(child, family, limits, stop)
    finally:
        family.end()
        child.kill()
        code = child.wait()
    if code == 0:
        return read_results(target, remark)
    lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    why = f"grading was ended by signal {-code}" if code < 0 else lines[-1] if lines else f"grading ended with {code}"
    return None, remark or why.rpartition("cannot be graded: ")[2]


def read_results(path, remark):
    """Return the results that a child process has written, or None, and the remark."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        exercises_of([{"results": results}])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return None, f"the results of grading cannot be read ({type(error).__name__}: {error})"
    return results, remark


def watched_over(child, family, limits, stop):
    """Wait for a child that grades a notebook; return why it was or must be ended, or which limit it hit, or "".

    If the processes of the notebook take too much memory, all but the child itself are ended: it goes on without the
    answer responsible, unless it is itself too large. If they take too long, or `stop` is set, the caller ends them.
    """
    remark, deadline = "", time.monotonic() + 60 * limits.minutes
    while is_running(child):
        if stop.is_set():
            return "grading was interrupted"
        if time.monotonic() > deadline:
            return f"takes longer than {limits.minutes:g} minute{'s' * (limits.minutes != 1)}"
        sizes = {process.pid: memory_of(process) for process in family.members()}
        if sum(sizes.values()) > 1e9 * limits.memory:
            remark = f"takes more than {limits.memory:g} GB of memory"
            family.end(spared=child.pid if sizes.get(child.pid, 0) <= 1e9 * limits.memory else None)
    return remark


def is_running(child):
    """Whether a child process is still running after a pause."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(PAUSE)
    return child.returncode is None


class Family:
    """The processes of one notebook; one that was found once stays known, whatever becomes of its parents."""

    def __init__(self, mark):
        self.mark: str = mark
        self.known: set = set()

    def members(self):
        """Return the running members: marked or known ones, their descendants, and all in the same session as one."""
        import psutil
        parents, processes, found = {}, {}, set()
        for number in psutil.pids():
            with suppress(psutil.Error, OSError):  # the process has ended
                process = psutil.Process(number)
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                processes[number], parents[number] = process, (process.ppid(), session_of(number))
                if process in self.known or process.environ().get(MARK) == self.mark:
                    found.add(number)
        while True:
            roots = found | {parents[number][1] for number in found} - {None, 0}
            more = {number for number, above in parents.items() if roots & set(above)} - found
            if not more:
                break
            found |= more
        self.known |= {processes[number] for number in found}
        return [processes[number] for number in found]

    def end(self, spared=None):
        """End the members except one, including those that they start meanwhile."""
        end_all(lambda: [process for process in self.members() if process.pid != spared])


def session_of(number):
    """Return the number of the session that a process is in, or None if the system has no sessions."""
    return os.getsid(number) if hasattr(os, "getsid") else None


def memory_of(process):
    """Return the bytes of memory that a process uses; 0 if it has ended or belongs to another user."""
    import psutil
    with suppress(psutil.Error, OSError):
        return process.memory_info().rss
    return 0


def end_all(members):
    """End the processes that `members()` returns until it returns none."""
    import psutil
    for _ in range(ROUNDS):
        found = members()
        for act in ("suspend", "kill"):  # a suspended process starts no others
            for process in found:
                with suppress(psutil.Error):
                    getattr(process, act)()
        if not found:
            return
        time.sleep(0.02)


# ---- in the process that grades a notebook

def is_of_a_class():
    """Whether this process grades a notebook of a class."""
    return MARK in os.environ


def adopt():
    """Make this process the parent of descendants whose own parents have ended, where that is possible (Linux)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def end_descendants():
    """End all descendants of this process, so that they cannot tamper with the results of grading."""
    import psutil
    this = psutil.Process()
    end_all(lambda: [process for process in this.children(recursive=True) if is_alive(process)])


def is_alive(process):
    """Whether a process is alive, and not a zombie that its parent has yet to collect."""
    import psutil
    with suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


# ---- all of them

def grade_class(folder, seed, edition, jobs, limits, of_exam=False):
    """Grade what is new or changed in a folder, write grades.json and grades.csv there, and return the rows.

    Parameters
    ----------
    folder : Path
    seed : int
    edition : str
        A checksum of the course.
    jobs : int
        Number of notebooks graded at a time.
    limits : Limits
    of_exam : bool, default False
        Whether they are examinations, made with that seed.

    Returns
    -------
    list of dict
        file, checksum, seed, edition, of ("course" or "examination"), results (as `minilift.course.notebooks.grade`
        returns them, or None), remark, seconds, limits; one for each notebook, in the order of names.

    Raises
    ------
    ValueError
        If there is no notebook in the folder, its grades.json is damaged, or another call is grading it.
    """
    tasks = tasks_of(folder, seed, edition, of_exam)
    if not tasks:
        raise ValueError(f"{folder}: there is no notebook (*.ipynb) in this folder")
    with alone_in(folder):
        book = Book(folder, tasks, limits)
        kind = " as examinations" if of_exam else ""
        lasts = f": {about(USUAL * max(1, len(book.due) / jobs))}" if book.due else ""
        note(f"{len(book.due)} of {len(tasks)} notebooks are to be graded{kind}, {jobs} at a time{lasts}")
        threads = str(max(1, cores() // jobs))
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, threads)}

        def work(task, stop):
            book.begin(task)
            return graded_row(limits, environment, task, stop)
        try:
            for due, at_a_time in ((book.unsuspected(), jobs), (book.suspected(), 1)):
                with closing(in_parallel(work, due, at_a_time)) as graded:
                    for row in graded:
                        book.end(row)
                        note(f"{len(book.rows)} of {len(tasks)}: {printable(row['file'])}: {printable(verdict(row))}")
        finally:
            book.leave()
    return [book.rows[task.name] for task in tasks]


@contextmanager
def alone_in(folder):
    """Hold a lock on a folder, if the system has locks: two calls would remove each other's rows from the table."""
    try:
        import fcntl
        descriptor = os.open(folder, os.O_RDONLY)
    except ImportError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another call is grading this folder; wait for its end") from None
        except OSError:  # a file system without locks, such as some network file systems
            pass
        yield
    finally:
        os.close(descriptor)


class Book:
    """The grades of a folder, written to disk after each change, and the notebooks under way."""

    def __init__(self, folder, tasks, limits):
        rows, begun = read_rows(folder / "grades.json")
        self.folder, self.tasks, self.lock = folder, tasks, threading.Lock()
        self.due = [task for task in tasks if not is_graded(rows.get(task.name), task, limits)]
        self.rows = {task.name: rows[task.name] for task in tasks if task not in self.due}
        self.former = {task.name: rows[task.name] for task in self.due if task.name in rows}  # of another seed, say
        if not (folder / "grades.json").exists() and (folder / "grades.csv").exists():
            note(f"{folder / 'grades.csv'} was there already and is now {moved_aside(folder / 'grades.csv')}")
        self.before = {task.name: begun[task.name] for task in self.due
                       if task.name in begun and begun[task.name][0] == task.of["checksum"]}
        for task in [task for task in self.due if self.times(task) >= ENDED]:
            self.due.remove(task)
            self.rows[task.name] = {"file": task.name, **task.of, "results": None, "seconds": 0.0,
                                    "remark": f"the grading was killed {ENDED} times while this one ran",
                                    "limits": limits._asdict()}
        self.begun = dict(self.before)
        self.write()  # before the work, to make sure that it can be written

    def times(self, task):
        """Return how often the grading was killed while a notebook was under way."""
        return self.before.get(task.name, [None, 0])[1]

    def unsuspected(self):
        """Return the tasks due that were not under way when an earlier call was killed."""
        return [task for task in self.due if not self.times(task)]

    def suspected(self):
        """Return the tasks due that were under way when an earlier call was killed."""
        return [task for task in self.due if self.times(task)]

    def begin(self, task):
        """Note that a notebook is under way."""
        with self.lock:
            self.begun[task.name] = [task.of["checksum"], self.times(task) + 1]
            self.write_json()

    def end(self, row):
        """Add the row of a notebook."""
        with self.lock:
            self.rows[row["file"]] = row
            self.begun.pop(row["file"], None)
            self.write()

    def leave(self):
        """Note that nothing is under way any more: notebooks begun but not finished by this call are not to blame."""
        self.begun, begun = {name: was for name, was in self.before.items() if name not in self.rows}, self.begun
        if begun != self.begun:
            self.write_json()

    def kept(self):
        """Return the rows so far, in the order of names."""
        return [self.rows[task.name] for task in self.tasks if task.name in self.rows]

    def write_json(self):
        """Write grades.json."""
        former = [row for name, row in self.former.items() if name not in self.rows]  # kept until there is a new one
        text = json.dumps({"rows": [*self.kept(), *former], "begun": self.begun}, indent=1)
        write_text(self.folder / "grades.json", f"{text}\n")

    def write(self):
        """Write grades.json and grades.csv."""
        self.write_json()
        out = io.StringIO()
        lines = [[harmless(cell) for cell in line] for line in table_of(self.kept())]
        csv.writer(out, lineterminator="\n").writerows(lines)
        write_text(self.folder / "grades.csv", out.getvalue())


def in_parallel(work, tasks, jobs):
    """Yield the results of `work(task, stop)` in the order of finishing; `stop` is set when the caller leaves."""
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(work, task, stop) for task in tasks]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


# ---- the table

def exercises_of(rows):
    """Return the numbers of all exercises in some rows, 1.2 before 1.10."""
    found = {str(result["exercise"]) for row in rows for result in row["results"] or ()}
    return sorted(found, key=lambda exercise: [int(part) for part in exercise.split(".")])


def table_of(rows):
    """Return the table of a class as rows of texts: one row for each notebook, one column for each exercise."""
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
    """Return the outcome of a notebook in words."""
    _, passed, of, *_, remark, seconds = cells(row, [])
    return f"{f'{passed} of {of} passed, ' if of else ''}{seconds} s{f'; {remark}' if remark else ''}"


def shown(rows):
    """Return the lines of the table of a class for a terminal, without flags and times, and with the remarks below."""
    lines = [[printable(cell) for cell in line] for line in table_of(rows)]
    remarks = [wrap(f"{name}: {remark}", 100, subsequent_indent="  ") for name, *_, remark, _ in lines[1:] if remark]
    return [*aligned([line[:-3] for line in lines]), *itertools.chain(*remarks)]


def one_line(text):
    """Return a text as one line of moderate length."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


def printable(text):
    """Return a text without control characters, which could steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def harmless(cell):
    """Return a cell that can be written and that no spreadsheet takes for a formula, as it may be a student's text."""
    cell = cell.encode("utf-8", "backslashreplace").decode()
    return f"'{cell}" if cell.startswith(FORMULA) else cell
