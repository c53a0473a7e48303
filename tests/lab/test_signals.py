"""SIGTERM and Ctrl-C end `minilift reproduce` and its workers, and leave what is finished whole."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minilift import cli
from minilift.lab.reproduce import read_record
from minilift.support.files import read_npz
from minilift.support.signals import Terminated, children_spared, terminable

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
REPRODUCE = [sys.executable, "-m", "minilift.cli", "reproduce", "proxprop-fig2", "--seeds", "3"]


def descendants(process):
    """Return the numbers of all processes below one, as /proc shows them."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


def is_running(process):
    """Whether a process is there and has not ended as a zombie that nobody waits for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, seconds, what):
    """Wait until a condition holds; return how long that was. What hangs is ended by an error."""
    start = time.perf_counter()
    while not condition():
        if time.perf_counter() - start > seconds:
            raise TimeoutError(f"{what}, after {seconds} s")
        time.sleep(0.01)
    return time.perf_counter() - start


@POSIX
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(("jobs", "to_all"), [(1, False), (2, False), (2, True)],
                         ids=["one process", "workers", "workers, told too"])
@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"),
                                                     (signal.SIGINT, 130, "interrupted")])
def test_reproduce_ends_with_its_workers(number, code, word, to_all, jobs, tmp_path):
    if jobs > 1:
        pytest.importorskip("joblib")
    command = [*REPRODUCE, "--jobs", str(jobs), "--output", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        wait_for(lambda: list(tmp_path.glob("runs/*.json")), 120, "no run was finished")
        workers = descendants(process.pid)
        assert jobs == 1 or len(workers) >= 2
        (os.killpg if to_all else os.kill)(process.pid, number)
        ended = wait_for(lambda: process.poll() is not None, 120, "the command goes on")
        gone = wait_for(lambda: not any(map(is_running, workers)), 120, "workers go on")
        out, err = process.communicate()
    print(f"ended after {ended:.2f} s, its {len(workers)} processes {gone:.2f} s later")
    assert (process.returncode, out, err.splitlines()[-1]) == (code, "", f"minilift reproduce: {word}")
    assert not re.search("Traceback|Warning", err)
    left = list((tmp_path / "runs").iterdir())
    assert {path.suffix for path in left} <= {".json", ".npz"}, "an unfinished file is left"
    assert all(len(read_record(path)["history"]) > 1 for path in left if path.suffix == ".json")
    assert all("about" in read_npz(path) for path in left if path.suffix == ".npz")


@POSIX
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(("words", "started", "says"), [
    ("verify --jobs 3", 2, "checking all that the package holds: about 10 seconds"),
    ("bench step --contender BackProp --output", 1, "bench step: .*")])
def test_ctrl_c_while_a_commands_processes_import_is_reported_once(words, started, says, tmp_path):
    command = [sys.executable, "-m", "minilift.cli", *words.split(), *[str(tmp_path)] * words.endswith("--output")]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        wait_for(lambda: len(descendants(process.pid)) == started, 120, "no processes were started")
        time.sleep(0.05)  # they are Python by now, and far from having imported NumPy
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert re.fullmatch(f"{says}\nminilift {words.split()[0]}: interrupted\n", err)


@POSIX
@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"),
                                                     (signal.SIGINT, 130, "interrupted")])
def test_a_signal_ends_a_command_with_a_line_and_its_code(number, code, word, monkeypatch, capsys):
    before, tidied = signal.getsignal(signal.SIGTERM), []

    def run(arguments):
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        finally:
            tidied.append(True)

    monkeypatch.setattr(cli, "run_data", run)
    assert cli.main(["data", "list"]) == code
    assert capsys.readouterr() == ("", f"minilift data: {word}\n")
    assert tidied
    assert signal.getsignal(signal.SIGTERM) == before


@POSIX
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_what_is_told_while_workers_start_is_not_lost(number, error):
    before, started = signal.getsignal(number), []

    def start():
        with children_spared():
            os.kill(os.getpid(), number)
            started.append(True)
    with terminable(), pytest.raises(error):
        start()
    assert started, "what starts in the block is started whole"
    assert signal.getsignal(number) == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@POSIX
def test_workers_do_not_see_ctrl_c():
    pytest.importorskip("joblib")
    program = ("import signal; from minilift.lab import runs\n"
               "def blocked(job): return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
               "print(set(runs.spread(blocked, [1, 2, 3, 4], 2)))")
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (found.stdout, found.stderr) == ("{True}\n", "")


@POSIX
def test_a_signal_at_the_start_of_workers_ends_them_in_silence(tmp_path):
    """Joblib warns of what was not done, and a thread of its own may die of it aloud.

    Now and then, on a busy machine, that thread leaves a semaphore: then joblib's tracker says that it has removed it.
    """
    pytest.importorskip("joblib")
    program = tmp_path / "stopped.py"
    program.write_text("""
import os, signal, time
from minilift.lab import runs

class Jobs(list):
    def __iter__(self):
        os.kill(os.getpid(), signal.SIGINT)
        return super().__iter__()

try:
    list(runs.spread(time.sleep, Jobs([60, 60, 60]), 2))
except KeyboardInterrupt:
    print("stopped")
""", encoding="utf-8")
    for _ in range(3):  # it is a race
        done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120)
        said = [line for line in done.stderr.splitlines() if not re.search(r"resource_tracker|^ +warnings\.warn", line)]
        assert (done.stdout, said) == ("stopped\n", [])

