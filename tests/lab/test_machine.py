"""What is written beside a measurement: the BLAS that is loaded, and NumPy's own word where that is not known.

And a process of its own, which is not misled by what lies in the folder it is started in.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import threadpoolctl

from minilift.course import gradebook
from minilift.lab import bench, ranks
from minilift.lab.machine import blas


def test_the_blas_is_the_one_that_is_loaded(monkeypatch):
    found = [{"user_api": "openmp", "internal_api": "openmp", "version": None},
             {"user_api": "blas", "internal_api": "openblas", "version": "0.3.30", "architecture": "Haswell"},
             {"user_api": "blas", "internal_api": "mkl", "version": "2025.1"}]
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [*found, found[1]])
    assert blas() == "openblas 0.3.30 Haswell, mkl 2025.1"


def test_a_blas_that_is_not_known_is_named_by_numpy(monkeypatch):
    monkeypatch.setattr(threadpoolctl, "threadpool_info", list)
    assert blas().split()[0] == np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]


@pytest.fixture
def among_namesakes(tmp_path, monkeypatch):
    """The working directory: one that holds files called as modules of Python."""
    for name in ("queue", "json", "argparse", "typing", "numpy", "minilift"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the folder was taken for a module')")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("among_namesakes")
def test_a_returned_file_called_as_a_module_does_not_stop_grading():
    done = subprocess.run([*gradebook.COMMAND, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "minilift teach grade" in done.stdout


@pytest.mark.usefixtures("among_namesakes")
def test_nor_does_it_stop_a_measurement():
    options = {"what": "peak", "threads": 1, "network": "small", "contender": "BackProp", "backend": "numpy"}
    done = bench.fresh_process(options, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""
    assert int(done.stdout) > 1e7
    assert bench.bench_import({"rounds": 1})[0]["contender"] == "minilift"


@pytest.mark.usefixtures("among_namesakes")
def test_nor_does_it_stop_ranks():
    pytest.importorskip("mpi4py")
    if ranks.launcher() is None:
        pytest.skip("there is no mpiexec")
    order = {"widths": [6, 5, 3], "activation": "relu", "batch": 4, "autoencoder": False, "methods": [],
             "constants": {}}
    assert set(ranks.on_ranks(2, 1, order)) == set(ranks.FOUND)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_the_cores_are_those_that_the_process_may_use():
    """As in a job of a cluster, on a node of many more."""
    code = ("import os, argparse; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
            "from minilift.lab import bench, machine; parser = argparse.ArgumentParser(); bench.add_arguments(parser); "
            "print(parser.parse_args(['step']).threads, machine.machine()['cores'], machine.cores())")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1 1 1\n"
