"""The numerical tests hold under every BLAS kernel: which one runs is the processor's choice, not the user's.

OpenBLAS carries kernels for many processors and takes the one that `OPENBLAS_CORETYPE` names. They sum in different
orders, with and without fused products, so their results differ in the last digits, and so do those of one and of
two threads. Each kernel runs the tests in a process of its own with one thread; the one that this processor takes by
itself, which all other tests run under, with two. A third of the tests each is for the kernels of processors that few
still have, for Zen, whose products are Haswell's, and for two threads.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import in_turns

ROOT = Path(__file__).parent.parent
KERNELS = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX", "Sapphirerapids")
RARE = ("Prescott", "Nehalem", "Sandybridge", "Zen")
OWN = os.environ.get("OPENBLAS_CORETYPE", "")  # '': the one that this processor takes by itself
OWN_NAMES = {"Prescott": "Katmai"}  # what OpenBLAS answers where it is not the name asked for
NUMERICAL = ["tests/layers", "tests/local", "tests/methods", "tests/test_energy.py", "tests/test_network.py"]
# PyTorch brings a BLAS of its own; that a loss falls in training hangs on no last digit.
BUT = "not torch and not it_trains and not are_learnt"
PROBE = """
import json
import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_info
for dtype in (np.float32, np.float64):  # a kernel that the processor lacks ends the process here
    a = np.random.default_rng(0).standard_normal((300, 200)).astype(dtype)
    gram = a.T @ a + np.eye(200, dtype=dtype)
    np.linalg.solve(gram, a.T)
    scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram), a.T)
print(json.dumps([library.get("architecture") for library in threadpool_info() if library["user_api"] == "blas"]))
"""


class Item(NamedTuple):
    """A test, as pytest collects it."""

    originalname: str
    number: int
    path: str = "test_it.py"


def environment(kernel, threads):
    """Return the variables under which a process uses a kernel, with so many threads, and takes its share of tests."""
    third = str(RARE.index(kernel) % 3) if kernel in RARE else "1" if threads > 1 else ""
    return {**os.environ, "OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": str(threads),
            "HYPOTHESIS_PROFILE": "few", "TESTS_THIRD": third, "TESTS_TURN": ""}


@functools.cache
def architectures(kernel):
    """Return the kernels that NumPy's and SciPy's BLAS run where one is asked for; none if the process dies.

    Where none is asked for (''), they are those that this processor takes by itself.
    """
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment(kernel, 1), capture_output=True, text=True,
                          check=False, timeout=120)
    return set(json.loads(done.stdout)) if done.returncode == 0 else set()


def skip_unless_it_runs(kernel):
    """Skip, visibly, where the processor cannot run a kernel, the BLAS takes another one, or all tests run under it."""
    found = architectures(kernel)
    if not found:
        pytest.skip(f"this processor cannot run the kernel {kernel}: the process died")
    if not {str(name).casefold() for name in found} <= {kernel.casefold(), OWN_NAMES.get(kernel, "").casefold()}:
        pytest.skip(f"asked for the kernel {kernel}, this BLAS runs {', '.join(map(str, sorted(found)))}")
    if found == architectures(OWN):
        pytest.skip(f"{kernel} is what all tests run under here")


def failures(kernel, threads, paths):
    """Run tests under a kernel; return (lines that name the failed ones, how many passed).

    Raises
    ------
    RuntimeError
        If the process ended otherwise than after its tests: a crash, or no tests at all.
    """
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", "--tb=no",
                           "-k", BUT, *paths],
                          cwd=ROOT, env=environment(kernel, threads), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{kernel}, {threads} threads: pytest ended with {done.returncode}\n"
                           f"{done.stdout[-3000:]}{done.stderr[-3000:]}")
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    assert bool(failed) == bool(done.returncode), done.stdout
    return failed, lines[-1]


@pytest.mark.slow
@pytest.mark.by_turns
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_numerical_tests_hold_under_each_kernel(kernel):
    skip_unless_it_runs(kernel)
    they_hold(kernel, 1)


@pytest.mark.slow
def test_the_numerical_tests_hold_with_two_threads():
    they_hold(OWN, 2)


def they_hold(kernel, threads):
    """Assert that no test fails under a kernel with so many threads; say which do."""
    failed, closing = failures(kernel, threads, NUMERICAL)
    named = "\n".join(f"{kernel or 'own kernel'}, {threads} threads: {line}" for line in failed)
    assert not failed, f"{closing}\n{named}"


def test_in_three_turns_each_test_has_its_own():
    """Of a function with seven tests, and of one with two."""
    items = [Item(*one) for one in [("a", k) for k in range(7)] + [("b", k) for k in range(2)]]
    turns = [in_turns(items, turn) for turn in (3, 4, 5)]
    assert sorted(item for turn in turns for item in turn) == items
    assert [len(turn) for turn in turns] == [4, 3, 2]


def test_a_test_that_fails_under_a_kernel_is_named(tmp_path):
    """The same way through a process, with tests that look at the variables that they are run under."""
    (tmp_path / "test_planted.py").write_text(
        "import os\n"
        "def test_kernel(): assert os.environ['OPENBLAS_CORETYPE'] != 'Prescott'\n"
        "def test_threads(): assert os.environ['OPENBLAS_NUM_THREADS'] == '2'\n", encoding="utf-8")
    failed, closing = failures("Prescott", 2, [tmp_path])
    assert len(failed) == 1
    assert "test_planted.py::test_kernel" in failed[0]
    assert closing.startswith("1 failed, 1 passed")
    with pytest.raises(RuntimeError, match="Prescott, 1 threads: pytest ended with 4"):
        failures("Prescott", 1, [tmp_path / "missing.py"])
