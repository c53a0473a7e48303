"""A class is graded in parallel: each notebook for itself, whatever it does, and none twice.

In the quick tests a "notebook" is a program, and a stub in the place of `minilift teach grade` runs it.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from minilift.course import gradebook, notebooks

psutil = pytest.importorskip("psutil")

STUB = """
import json, os, sys, time
path, _, seed, _, target, *of_exam = sys.argv[1:]
here = os.path.dirname(__file__)

def log(word):
    with open(os.path.join(here, "log"), "a") as file:
        file.write(f"{word} {os.path.basename(path)} {time.time()}\\n")

def write(*statuses, message="", flags=()):
    results = [{"exercise": f"1.{k}", "status": status, "claims": [], "message": message, "flags": list(flags)}
               for k, status in enumerate(statuses, start=1)]
    with open(target, "w") as file:
        json.dump({"results": results}, file)

log("begins")
exec(open(path).read())
log("ends")
"""
GOOD = "write('PASS', 'FAIL')"
LIMITS = gradebook.Limits(minutes=1, memory=1)


@pytest.fixture
def school(tmp_path, monkeypatch):
    """Return a function that puts programs into a folder as notebooks, and the folder; a stub runs them."""
    folder = tmp_path / "class"
    folder.mkdir()
    (tmp_path / "stub.py").write_text(STUB)
    monkeypatch.setattr(gradebook, "COMMAND", (sys.executable, "-S", str(tmp_path / "stub.py")))

    def put(**programs):
        for name, program in programs.items():
            (folder / f"{name}.ipynb").write_text(program)
        return folder
    return put


def grade(folder, jobs=2, limits=LIMITS, seed=1, edition="first", of_exam=False):
    """Grade a folder; return {name: (statuses or None, remark)}."""
    rows = gradebook.grade_class(folder, seed, edition, jobs, limits, of_exam)
    return {row["file"].removesuffix(".ipynb"): (
        None if row["results"] is None else [result["status"] for result in row["results"]], row["remark"])
        for row in rows}


def begun(folder):
    """Return the names of the notebooks that were graded, in order, and forget them."""
    log = folder.parent / "log"
    names = [line.split()[1].removesuffix(".ipynb") for line in log.read_text().splitlines() if line[0] == "b"] \
        if log.exists() else []
    log.unlink(missing_ok=True)
    return sorted(names)


def test_a_class_is_one_table(school):
    folder = school(ada=GOOD, bob="write('PASS', 'PASS', flags=['uses ml.solvers'])", cy="sys.exit(2)")
    assert grade(folder) == {"ada": (["PASS", "FAIL"], ""), "bob": (["PASS", "PASS"], ""),
                             "cy": (None, "grading ended with 2")}
    head, *lines = csv.reader((folder / "grades.csv").open(newline=""))
    assert head == ["file", "passed", "of", "1.1", "1.2", "flags", "remark", "seconds"]
    assert [line[:-1] for line in lines] == [
        ["ada.ipynb", "1", "2", "PASS", "FAIL", "", ""],
        ["bob.ipynb", "2", "2", "PASS", "PASS", "1.1: uses ml.solvers; 1.2: uses ml.solvers", ""],
        ["cy.ipynb", "", "", "", "", "", "not graded: grading ended with 2"]]
    rows = json.loads((folder / "grades.json").read_text())["rows"]
    assert [row["file"] for row in rows] == ["ada.ipynb", "bob.ipynb", "cy.ipynb"]
    assert "".join(gradebook.shown(rows)).count("PASS") == 3


def has_ended(pid):
    """Whether a process has ended, even if nobody has asked for its exit code yet."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


HOSTILE = {
    "takes more than 0.2 GB of memory": "kept = b'x' * 300_000_000\ntime.sleep(60)",
    "grading was ended by signal 9": "os.kill(os.getpid(), 9)",
    "the results of grading cannot be read (JSONDecodeError: Expecting value: line 1 column 1 (char 0))":
        "open(target, 'w').write('PASS')",
    "the results of grading cannot be read (TypeError: 'int' object is not iterable)":
        "json.dump({'results': 5}, open(target, 'w'))",
    "no such answer": "sys.exit(f'minilift teach: {path} cannot be graded: no such answer')",
    "grading ended with 3": "os.close(2)\nsys.exit(3)",
}


@pytest.mark.parametrize("remark", HOSTILE)
def test_a_hostile_notebook_costs_its_own_row_alone(school, remark):
    found = grade(school(ada=GOOD, eve=HOSTILE[remark], zoe=GOOD), limits=gradebook.Limits(1, 0.2))
    assert found == {"ada": (["PASS", "FAIL"], ""), "eve": (None, remark), "zoe": (["PASS", "FAIL"], "")}


def test_an_endless_notebook_is_ended(school):
    """One that will not hear of it, too."""
    folder = school(eve="import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass")
    assert grade(folder, limits=gradebook.Limits(1 / 60, 1)) == {"eve": (None, "takes longer than 0.0166667 minutes")}


@pytest.mark.skipif(os.name == "nt", reason="needs fork")
def test_no_process_is_left_behind(school):
    """A notebook starts a process that leaves its session and its parent."""
    folder = school(eve="if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
                        "        open(os.path.join(here, 'pid'), 'w').write(str(os.getpid()))\n        time.sleep(60)\n"
                        "    os._exit(0)\nwhile not os.path.exists(os.path.join(here, 'pid')): time.sleep(0.01)\n"
                        "time.sleep(0.1)\nwrite('PASS')")
    assert grade(folder) == {"eve": (["PASS"], "")}
    assert has_ended(int((folder.parent / "pid").read_text()))


@pytest.mark.skipif(os.name == "nt", reason="needs fork")
def test_memory_is_that_of_all_processes_of_a_notebook_and_the_grader_goes_on(school):
    """As a kernel does, a process of the notebook takes too much; the one that grades notes it and finishes."""
    folder = school(eve="child = os.fork()\nif child == 0:\n    kept = b'x' * 300_000_000\n    time.sleep(60)\n"
                        "write('FAIL' if os.waitpid(child, 0)[1] == 9 else 'PASS')")
    assert grade(folder, limits=gradebook.Limits(1, 0.2)) == {"eve": (["FAIL"], "takes more than 0.2 GB of memory")}


BARE = """
import subprocess
code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); kept = b'x' * 300_000_000; time.sleep(60)"
pid = os.path.join(here, "pid")
subprocess.Popen([sys.executable, "-S", "-c", code, pid], env={}, start_new_session=True)
while not os.path.exists(pid): time.sleep(0.01)
time.sleep(2)
write("PASS")
"""


@pytest.mark.skipif(os.name == "nt", reason="needs sessions")
def test_a_process_without_the_mark_counts_and_is_ended(school):
    folder = school(eve=BARE)
    assert grade(folder, limits=gradebook.Limits(1, 0.2)) == {"eve": (["PASS"], "takes more than 0.2 GB of memory")}
    assert has_ended(int((folder.parent / "pid").read_text()))


ORPHAN = """
import os, sys, time
from minilift.course import gradebook
gradebook.adopt()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-S", "-c", "import os, sys, time\\n"
                  "open(sys.argv[1], 'w').write(str(os.getpid()))\\ntime.sleep(60)", sys.argv[1]], {})
    os._exit(0)
while not (os.path.exists(sys.argv[1]) and open(sys.argv[1]).read()): time.sleep(0.01)
gradebook.end_descendants()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there alone orphans can be adopted")
def test_a_grader_ends_the_orphans_of_its_notebook_before_it_writes(tmp_path):
    subprocess.run([sys.executable, "-c", ORPHAN, str(tmp_path / "pid")], check=True, timeout=60)
    assert has_ended(int((tmp_path / "pid").read_text()))


KILLER = """
import sys
from pathlib import Path
from minilift.course import gradebook
gradebook.COMMAND = (sys.executable, "-S", sys.argv[2])
gradebook.grade_class(Path(sys.argv[1]), 1, "first", 1, gradebook.Limits(1, 1))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_notebook_that_kills_the_grading_of_the_class_is_graded_last_alone_and_then_no_more(school):
    folder = school(eve="import signal\ntime.sleep(0.5)\nos.kill(os.getppid(), signal.SIGKILL)",
                    ada=GOOD, zoe=GOOD)

    def call():
        words = [sys.executable, "-c", KILLER, str(folder), str(folder.parent / "stub.py")]
        return subprocess.run(words, timeout=60, capture_output=True).returncode
    assert call() == -signal.SIGKILL
    assert call() == -signal.SIGKILL
    assert list(gradebook.read_rows(folder / "grades.json")[0]) == ["ada.ipynb", "zoe.ipynb"]
    begun(folder)
    good, remark = (["PASS", "FAIL"], ""), "the grading was killed 2 times while this one ran"
    assert grade(folder) == grade(folder) == {"ada": good, "eve": (None, remark), "zoe": good}
    assert begun(folder) == []
    school(eve=GOOD)
    assert grade(folder)["eve"] == good


def test_two_calls_do_not_take_each_others_rows(school):
    pytest.importorskip("fcntl")
    folder = school(ada=GOOD)
    with gradebook.alone_in(folder), pytest.raises(ValueError, match="another call is grading this folder"):
        grade(folder)
    assert grade(folder)["ada"] == (["PASS", "FAIL"], "")


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(gradebook, "LARGEST", 1000)
    (tmp_path / "a.ipynb").write_bytes(bytes(1001))
    assert gradebook.tasks_of(tmp_path, 1, "first")[0].of["checksum"] == "1001 bytes"


def test_so_many_at_a_time(school):
    folder = school(**{f"s{k}": f"time.sleep(0.3)\n{GOOD}" for k in range(4)})
    grade(folder, jobs=2)
    lines = [line.split() for line in (folder.parent / "log").read_text().splitlines()]
    running, most = 0, 0
    for word, _, _ in sorted(lines, key=lambda line: float(line[2])):
        running += 1 if word == "begins" else -1
        most = max(most, running)
    assert most == 2


def test_a_second_call_grades_what_is_new_or_changed(school):
    folder = school(ada=GOOD, bob=GOOD, cy="sys.exit(2)")
    first = grade(folder)
    assert begun(folder) == ["ada", "bob", "cy"]
    for change, put, again in (
            ({}, {}, []), ({}, {"ada": "write('PASS')"}, ["ada"]), ({}, {"dan": GOOD}, ["dan"]),
            ({"limits": LIMITS._replace(minutes=2)}, {}, ["cy"]),  # what could not be graded is tried with other limits
            ({"seed": 2}, {}, ["ada", "bob", "cy", "dan"]), ({"edition": "second"}, {}, ["ada", "bob", "cy", "dan"])):
        school(**put)
        found = grade(folder, **change)
        assert begun(folder) == again
        assert found["bob"] == first["bob"]
    assert found["ada"] == (["PASS"], "")


def test_examinations_are_graded_as_such_and_anew_where_the_course_was(school):
    folder = school(ada="write('PASS' if of_exam == ['--exam'] else 'FAIL')")
    assert [grade(folder, of_exam=of_exam)["ada"][0] for of_exam in (False, True)] == [["FAIL"], ["PASS"]]


def test_a_notebook_that_is_gone_is_out_of_the_table(school):
    folder = school(ada=GOOD, bob=GOOD)
    grade(folder)
    (folder / "bob.ipynb").unlink()
    assert list(grade(folder)) == ["ada"]


def test_an_interrupted_call_is_taken_up(school, monkeypatch):
    slow = f"time.sleep(0 if os.path.exists(os.path.join(here, 'log2')) else 60)\n{GOOD}"
    folder = school(ada=GOOD, bob=slow, cy=GOOD)
    said = []

    def interrupt(text):
        said.append(text)
        if len(said) == 3:
            raise KeyboardInterrupt
    monkeypatch.setattr(gradebook, "note", interrupt)
    with pytest.raises(KeyboardInterrupt):
        grade(folder)
    # bob's notebook is ended, not waited for: it has no row
    assert [row["file"] for row in gradebook.read_rows(folder / "grades.json")[0].values()] == ["ada.ipynb", "cy.ipynb"]
    assert json.loads((folder / "grades.json").read_text())["begun"] == {}
    begun(folder)
    (folder.parent / "log2").touch()
    assert grade(folder)["bob"] == (["PASS", "FAIL"], "")
    assert begun(folder) == ["bob"]


def interrupted(folder, monkeypatch, at, **options):
    """Grade one at a time, and be interrupted when so many lines have been said."""
    said = []

    def note(text):
        said.append(text)
        if len(said) == at:
            raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(gradebook, "note", note)
        with pytest.raises(KeyboardInterrupt):
            grade(folder, jobs=1, **options)
    begun(folder)


def seeds_in(folder):
    """Return {name: seed} of the grades that are kept, and the names in the table."""
    rows, _ = gradebook.read_rows(folder / "grades.json")
    _, *lines = csv.reader((folder / "grades.csv").open(newline=""))
    return {name.removesuffix(".ipynb"): row["seed"] for name, row in rows.items()}, [line[0][:-6] for line in lines]


def test_grades_of_another_seed_stay_until_there_are_new_ones(school, monkeypatch):
    """The table is of one seed."""
    folder = school(ada=GOOD, bob=GOOD)
    grade(folder)
    interrupted(folder, monkeypatch, 2, seed=2)
    assert seeds_in(folder) == ({"ada": 2, "bob": 1}, ["ada"])
    grade(folder, seed=2)
    assert begun(folder) == ["bob"]
    assert seeds_in(folder) == ({"ada": 2, "bob": 2}, ["ada", "bob"])


def test_what_was_graded_before_a_mistaken_seed_is_not_graded_again(school, monkeypatch):
    folder = school(ada=GOOD, bob=GOOD)
    first = grade(folder)
    interrupted(folder, monkeypatch, 1, seed=2)
    assert grade(folder) == first
    assert begun(folder) == []
    assert seeds_in(folder) == ({"ada": 1, "bob": 1}, ["ada", "bob"])


def test_of_a_notebook_that_is_gone_no_grades_of_another_seed_stay(school, monkeypatch):
    folder = school(ada=GOOD, bob=GOOD)
    grade(folder)
    interrupted(folder, monkeypatch, 1, seed=2)
    (folder / "bob.ipynb").unlink()
    grade(folder, seed=2)
    assert seeds_in(folder) == ({"ada": 2}, ["ada"])


def test_a_table_of_the_teachers_own_is_set_aside(school, capsys):
    folder = school(ada=GOOD)
    (folder / "grades.csv").write_text("mine")
    for _ in range(2):
        grade(folder)
    assert (folder / "grades.csv~").read_text() == "mine"
    assert capsys.readouterr().err.count("grades.csv was there already and is now ") == 1
    assert sorted(path.name for path in folder.glob("grades*")) == ["grades.csv", "grades.csv~", "grades.json"]


def test_what_is_no_file_or_hidden(school):
    folder = school(ada=GOOD)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "ada-checkpoint.ipynb").write_text(GOOD)
    (folder / "eve" / "deep").mkdir(parents=True)
    (folder / "eve" / "deep" / "b.ipynb").write_text(GOOD)
    (folder / "folder.ipynb").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.ipynb")
    found = grade(folder)
    assert found.pop("pipe", None) in (None, (None, "cannot be read, or is no file"))
    assert found == {"ada": (["PASS", "FAIL"], ""), "eve/deep/b": (["PASS", "FAIL"], ""),
                     "folder": (None, "cannot be read, or is no file")}


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_names_and_messages_are_texts_and_no_formulas_and_steer_no_terminal(school, capsys):
    folder = school(**{"=1+1": GOOD, "\udcff": GOOD, "a\x1b[2J": GOOD,
                       "@x": "write('PASS', flags=['\\ud800'])", "-x": "sys.exit('\\x1b[31mred')"})
    grade(folder)
    names = [line[0] for line in csv.reader((folder / "grades.csv").open(newline="", encoding="utf-8"))]
    assert names == ["file", "'-x.ipynb", "'=1+1.ipynb", "'@x.ipynb", "a\x1b[2J.ipynb", "\\udcff.ipynb"]
    assert "\x1b" not in "\n".join([capsys.readouterr().err,
                                    *gradebook.shown(list(gradebook.read_rows(folder / "grades.json")[0].values()))])


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [], "begun": {"a": 5}}',
                                  '{"rows": 5}', '{"rows": [{"file": "a"}]}', '{"rows": [5]}',
                                  '{"rows": [{"file": "a", "results": null, "remark": "", "seconds": "x"}]}'])
def test_damaged_grades_are_named_and_left_as_they_are(school, text):
    folder = school(ada=GOOD)
    (folder / "grades.json").write_text(text)
    with pytest.raises(ValueError, match=r"grades\.json is damaged .* move it away to grade all anew"):
        grade(folder)
    assert (folder / "grades.json").read_text() == text


# ---- the command

def parsed(*words):
    parser = argparse.ArgumentParser()
    notebooks.add_arguments(parser)
    return parser.parse_args(["grade", *words])


def test_the_command_grades_a_folder(school, capsys):
    pytest.importorskip("nbclient")
    folder = school(ada=GOOD)
    assert notebooks.run(parsed(str(folder), "--jobs", "1", "--minutes", "2", "--memory", "0.5")) == 0
    out, err = capsys.readouterr()
    assert "ada.ipynb       1   2  PASS  FAIL" in out
    assert "1 of 1: ada.ipynb: 1 of 2 passed" in err
    assert json.loads((folder / "grades.json").read_text())["rows"][0]["limits"] == {"minutes": 2, "memory": 0.5}
    school(bob="sys.exit(2)")
    assert notebooks.run(parsed(str(folder))) == 2


def test_a_course_that_changes_while_it_grades_is_told(school, monkeypatch):
    pytest.importorskip("nbclient")
    courses = iter(({"kept.py": 1, "edited.py": 2, "gone.py": 3}, {"kept.py": 1, "edited.py": 0, "new.py": 4}))
    monkeypatch.setattr(notebooks, "checksums", lambda: next(courses))
    with pytest.raises(RuntimeError, match=r"by an answer perhaps: edited\.py, gone\.py, new\.py; install"):
        notebooks.run(parsed(str(school(ada=GOOD))))


@pytest.mark.parametrize(("words", "message"), [
    (["{folder}"], "there is no notebook"), (["{folder}", "a.ipynb"], "a folder is graded by itself, got 2 paths"),
    (["{folder}", "--json", "x"], "--json: names the file of one notebook"),
    (["{folder}", "--jobs", "0"], "--jobs must be at least 1"), (["a.ipynb", "--jobs", "2"], "--jobs: is for a FOLDER"),
    (["a.ipynb", "--minutes", "2"], "--minutes: is for a FOLDER")])
def test_a_wrong_command_is_refused(school, words, message):
    pytest.importorskip("nbclient")
    with pytest.raises(ValueError, match=message):
        notebooks.run(parsed(*(word.format(folder=school()) for word in words)))


def test_the_edition_is_that_of_the_checks(tmp_path, monkeypatch):
    before = notebooks.edition(notebooks.checksums())
    assert before == notebooks.edition(notebooks.checksums())
    course = tmp_path / "01.ipynb"
    course.write_text("another")
    with monkeypatch.context() as patch:
        patch.setattr(notebooks, "paths", lambda name: (None, course, None))
        assert notebooks.edition(notebooks.checksums()) != before


@pytest.mark.parametrize("edited", ["kit/variants.md", "src/01_backward_step.py"])
def test_the_edition_is_that_of_what_examinations_are_held_to(edited, tmp_path, monkeypatch):
    tutorials = tmp_path / "tutorials"
    shutil.copytree(notebooks.folder(), tutorials)
    monkeypatch.setattr(notebooks, "folder", lambda: tutorials)
    before = notebooks.edition(notebooks.checksums())
    with open(tutorials / edited, "a") as file:
        file.write("\n")
    assert notebooks.edition(notebooks.checksums()) != before


# ---- real notebooks

def returned(path, exercise, source):
    """Write a solved notebook 01 with another answer to one exercise."""
    notebook = notebooks.read(notebooks.paths("01")[2])
    for cell in notebook["cells"]:
        if cell["source"].startswith(f"# Exercise {exercise}\n"):
            cell["source"] = f"# Exercise {exercise}\n{source}"
    path.write_text(json.dumps(notebook), encoding="utf-8")


FORGER = """import os, re, time
parent = open(f'/proc/{os.getppid()}/cmdline').read().split(chr(0))
target = parent[parent.index('--json') + 1]
if os.fork() == 0:
    os.setsid()
    while not os.path.exists(target):
        time.sleep(0.001)
    text = open(target).read()
    open(target, 'w').write(text.replace('FAIL', 'PASS'))
    os._exit(0)
def explicit_step(B, x, tau):
    return x"""


@pytest.mark.slow
def test_real_notebooks(tmp_path):
    """One takes all memory in one answer, and fails in that; one kills the process that grades it; one forges."""
    pytest.importorskip("nbclient")
    returned(tmp_path / "ada.ipynb", "1.2", "much = bytearray(10**9)\nimport time\ntime.sleep(60)")
    returned(tmp_path / "bob.ipynb", "1.1", FORGER)
    returned(tmp_path / "eve.ipynb", "1.1", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
    found = grade(tmp_path, limits=gradebook.Limits(15, 0.9))
    assert found["ada"] == (["PASS", "FAIL", "PASS", "PASS"], "takes more than 0.9 GB of memory")
    assert found["bob"] == (["FAIL", "PASS", "PASS", "PASS"], "")
    assert found["eve"] == (None, f"grading was ended by signal {int(signal.SIGKILL)}")


def test_remarks_stand_below_the_table_in_lines_of_moderate_length():
    results = [{"exercise": "1.1", "status": "PASS"}]
    rows = [{"file": "ada.ipynb", "results": results, "remark": "", "seconds": 1.0},
            {"file": "zoe.ipynb", "results": None, "remark": "a long remark " * 20, "seconds": 1.0}]
    head, rule, ada, zoe, first, second, *_ = gradebook.shown(rows)
    assert head.split() == ["file", "passed", "of", "1.1"]
    assert (len(rule), ada.split()[-1], zoe.strip()) == (len(head), "PASS", "zoe.ipynb")
    assert first.startswith("zoe.ipynb: not graded: a long remark")
    assert second.startswith("  ")
    assert max(map(len, gradebook.shown(rows))) <= 100
