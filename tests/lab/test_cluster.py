"""Runs on a Dask cluster: its workers do them, wherever they stand; if one is lost, the others do what it had left."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import pytest

import minilift as ml
from minilift import cli
from minilift.lab import race, reproduce, runs
from minilift.lab.contenders import Problem
from minilift.lab.experiments import Plan

needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs dask")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """Return a cluster of two workers, each a process of one thread, that stand in another folder than the tests."""
    distributed = pytest.importorskip("distributed")
    pytest.importorskip("joblib")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("away"))
        patch.setenv("PYTHONPATH", str(Path(ml.__file__).parents[1]))
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True)
    with cluster:
        yield cluster


def pid_of_a_worker(cluster):
    """Return the process of one of the workers, and make sure that both stand elsewhere."""
    from distributed import Client
    with Client(cluster, set_as_default=False) as client:
        assert os.getcwd() not in client.run(os.getcwd).values()
        return next(iter(client.run(os.getpid).values()))


@pytest.mark.slow
@needs_dask
def test_a_comparison_on_a_cluster_is_that_of_this_process(two_workers, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["compare", "--samples", "100", "--epochs", "1", "--repeats", "1", "--steps", "0.1", "--methods",
             "backprop", "locoprop-s", "--quiet", "--cluster", two_workers.scheduler_address]
    assert cli.main(words) == 0
    assert cli.main([*words[:-2]]) == 0
    first, second = (part.split("seconds to")[1].split("\n\n")[1] for part in
                     capsys.readouterr().out.split("digits (100 ")[1:])
    assert first == second, "the losses of the grid"


@pytest.mark.slow
@needs_dask
def test_every_run_is_there_at_the_end_and_none_twice_if_a_worker_is_killed(two_workers, tmp_path, monkeypatch):
    """In a relative folder, and with jobs=1."""
    monkeypatch.chdir(tmp_path)
    victim, finished = pid_of_a_worker(two_workers), {}
    records = runs.collect

    def killing(found, *arguments):
        def seen():
            for number, record in enumerate(found):
                if number == 2:
                    os.kill(victim, signal.SIGKILL)
                    folder = Path("results", "runs")
                    finished.update({path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")})
                yield record
        return records(seen(), *arguments)
    monkeypatch.setattr(runs, "collect", killing)
    plan = Plan("proxprop-fig2", samples=300, epochs=12, seeds=2)
    results = reproduce.reproduce(plan, "results", progress=False, address=two_workers.scheduler_address)
    left = {path.name: path.stat().st_mtime_ns for path in Path("results", "runs").iterdir()}
    assert len(finished) >= 2
    assert len(left) == len(results.records) == 10
    assert {name: left[name] for name in finished} == finished, "a finished run was done again"
    assert len({(one["label"], one["step"], one["seed"]) for one in results.records}) == 10
    assert all(len(one["history"]) == 13 for one in results.records)


@pytest.mark.slow
@needs_dask
def test_every_run_of_a_race_is_there_and_none_twice_if_a_worker_is_killed(two_workers):
    """Of the trials of two entrants together, and of the finals, some hundredths of a second each."""
    victim, said = pid_of_a_worker(two_workers), []

    def progress(text, line=False):
        said.append(text)
        if len(said) == 3:
            os.kill(victim, signal.SIGKILL)

    with runs.cluster(two_workers.scheduler_address):
        rows = race.race(SHORT, ["backprop, Nesterov", "cg3, Nesterov"], progress)
    trials, finals = ([text.partition(": ")[2] for text in said if kind in text] for kind in ("trials", "finals"))
    assert len(trials) == len(set(trials)) == sum(row["trials"] for row in rows)
    assert len(finals) == 6
    assert [len(row["runs"]) for row in rows] == [race.SEEDS] * 2
    assert all(found["losses"] for row in rows for found in row["runs"])


@pytest.fixture
def empty(monkeypatch):
    """Return a cluster without workers, which is given up after a moment."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(runs, "WORKERLESS", 0.3)
    monkeypatch.setattr(runs, "LOOK", 0.1)
    with distributed.LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


@pytest.mark.parametrize("words", [
    ["reproduce", "proxprop-fig2", "--samples", "50", "--epochs", "1"],
    ["compare", "--samples", "50", "--epochs", "1", "--repeats", "1", "--quiet"]])
def test_a_cluster_without_workers_is_given_up(empty, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    address = empty.scheduler_address
    assert cli.main([*words, "--cluster", address]) == 2
    assert (f"--cluster: the scheduler at {address} has had no workers for 0.3 seconds; start some with: "
            f"dask worker {address}") in capsys.readouterr().err


@needs_dask
def test_workers_may_come_later(empty, monkeypatch):
    said = []

    def started(text):
        said.append(text)
        monkeypatch.setattr(runs, "WORKERLESS", 120)
        empty.scale(1)
    monkeypatch.setattr(runs, "note", started)
    with runs.cluster(empty.scheduler_address):
        assert sorted(runs.spread(abs, [-1, -2, -3], 1)) == [1, 2, 3]
    assert said == [f"the scheduler at {empty.scheduler_address} has no workers; it is given up after 0.3 seconds"]


@contextmanager
def started(*words, **environment):
    """Start a command of Dask's and end it at the end."""
    command = [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def address_of(file):
    """Wait until a scheduler has written its address to a file, and return it."""
    for _ in range(2400):
        if file.exists():
            break
        time.sleep(0.05)
    return json.loads(file.read_text())["address"]


@pytest.mark.slow
@needs_dask
def test_a_scheduler_that_is_lost_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(ml.__file__).parents[1]))
    file = tmp_path / "scheduler.json"
    common = ["--no-dashboard", "--scheduler-file", str(file)]
    with started("dask_scheduler", *common, "--port", "0", "--host", "127.0.0.1") as scheduler:
        address = address_of(file)
        with started("dask_worker", *common, "--nthreads", "1"), runs.cluster(address):
            found = runs.spread(abs, list(range(2000)), 1)
            assert next(found) >= 0
            scheduler.kill()
            with pytest.raises(RuntimeError, match=f"--cluster: the scheduler at {address} is lost"):
                list(found)


@pytest.mark.slow
@needs_dask
def test_a_worker_that_lacks_a_module_is_told(two_workers):
    words = r"cannot read the runs \(.*: ModuleNotFoundError: .*its environment needs"
    with runs.cluster(two_workers.scheduler_address), pytest.raises(RuntimeError, match=words):
        list(runs.spread(Lacking(), [1], 1))


class Lacking:
    """A function whose module its reader does not have."""

    def __reduce__(self):
        return importlib.import_module, ("minilift_has_no_such_module",)


@pytest.mark.slow
@needs_dask
def test_a_run_that_ends_its_workers_is_told():
    distributed = pytest.importorskip("distributed")
    from dask import config
    with config.set({"distributed.scheduler.allowed-failures": 0}), \
            distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, \
            runs.cluster(cluster.scheduler_address), pytest.raises(RuntimeError, match="lost, one after the other"):
        list(runs.spread(partial(os._exit), [3], 1))


def test_records_are_in_the_order_of_the_grid_whatever_comes_first():
    """A table of methods would change with the speed of the workers otherwise."""
    def backwards(jobs, bar):
        yield from ({**job._asdict(), "history": history()} for job in reversed(jobs))

    def history():
        made = ml.History()
        made.append({"epoch": 0, "train_loss": 1.0})
        return made
    grid = [("digits", label, step) for label in "ba" for step in (1.0, 0.1)]
    stage = backwards, {"a": 1, "b": 1}, [1, 0]
    searched, repeated = runs.tune(grid, stage, stage, runs.lowest_step, progress=False)
    assert [(one["label"], one["step"], one["seed"]) for one in searched] == [
        (label, step, seed) for _, label, step in grid for seed in (1, 0)]
    assert [(one["label"], one["seed"]) for one in repeated] == [("b", 1), ("b", 0), ("a", 1), ("a", 0)]


SHORT = race.Course("short", Problem("", (64, 8, 10), "relu", 0), (100,), (2.0,), 0.05, ml.datasets.digits())


def test_a_race_goes_to_the_backend_and_has_the_rows_of_one_here(far):
    from joblib import parallel_config
    (here,) = race.race(SHORT, ["backprop, Nesterov"])
    with parallel_config("far"):
        (there,) = race.race(SHORT, ["backprop, Nesterov"])
    assert far.asked, "the runs went to the backend"
    assert here.keys() == there.keys()
    assert len(here["runs"]) == len(there["runs"]) == race.SEEDS


@pytest.fixture
def far():
    """Return a backend of joblib's that is none of its own, so that it may work on other machines."""
    joblib = pytest.importorskip("joblib")

    class Far(joblib.parallel.ParallelBackendBase):
        """What it does is what the base class does: all in this process."""

        supports_retrieve_callback = True
        asked = 0

        def effective_n_jobs(self, n_jobs):
            Far.asked += 1
            return 1

    joblib.register_parallel_backend("far", Far)
    return Far


def test_one_run_at_a_time_stays_in_this_process_only_if_no_cluster_is_meant(far, tmp_path):
    from joblib import parallel_config
    assert not runs.elsewhere()
    with parallel_config("threading"):
        assert not runs.elsewhere()
    with parallel_config("far"):
        assert runs.elsewhere()
        reproduce.claim_folder(plan := Plan("proxprop-fig2", samples=50, epochs=1, seeds=1), tmp_path)
        list(reproduce.finished_jobs(plan, tmp_path, 1, [runs.Job("digits", "cg3", 1.0, 0)], None))
    assert far.asked, "the run went to the backend"


def test_a_method_that_cannot_be_sent_is_refused(far, tmp_path, monkeypatch, capsys):
    """Dask's backend for joblib would wait for ever."""
    from joblib import parallel_config
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def gradient(block):\n    return block.phi.adjoint_theta(block.a, block.g)\n")
    words = ["compare", "--samples", "50", "--epochs", "1", "--repeats", "1", "--steps", "0.1", "--quiet", "--methods"]
    with parallel_config("far"):
        assert cli.main([*words, "backprop"]) == 0
        assert cli.main([*words, "backprop", "mine.py:gradient"]) == 2
    assert "--cluster: these runs cannot be sent to other processes" in capsys.readouterr().err


def test_mistakes_are_told(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", "proxprop-fig2", "--cluster", "tcp://127.0.0.1:1", "--jobs", "2"]) == 2
    assert "--jobs is for this machine" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RuntimeError, match=r"--cluster needs Dask; install with: .*\[cluster\]'"), \
            runs.cluster("tcp://127.0.0.1:1"):
        pass


@needs_dask
@pytest.mark.parametrize("address", ["nonsense://x", "tcp://127.0.0.1:1"])
def test_an_address_at_which_nobody_answers(address, monkeypatch):
    monkeypatch.setattr(runs, "ANSWERS", 0.5)
    with pytest.raises(ValueError, match="--cluster: "), runs.cluster(address):
        pass


@needs_dask
def test_a_result_that_is_late_is_waited_for():
    """On Python 3.10 asyncio's TimeoutError is not Python's own."""
    class Late:
        status, tries = "finished", 0

        def result(self, timeout):
            self.tries += 1
            if self.tries == 1:
                raise asyncio.TimeoutError("timed out")
            return 7

        def add_done_callback(self, put):
            put(self)

    class Patient:
        look, in_words = staticmethod(lambda: None), staticmethod(lambda status, error: error)

    done = SimpleQueue()
    done.put(Late())
    assert runs.next_result(done, Patient()) == 7
