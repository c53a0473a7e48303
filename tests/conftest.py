"""What all tests share: the two tiers, hypothesis' settings, read-only data, oracles, and the two ways to run the
CuPy backend.

The laws that tests check are in `laws.py`, so that planted mistakes (`test_planted.py`) run through the
very same predicates as the library does.
"""

import os
import signal
import sys
import threading
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is loaded: the matrices are small
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=30)
settings.register_profile("ci", deadline=None, max_examples=30, derandomize=True)
settings.register_profile("few", deadline=None, max_examples=8, derandomize=True)  # for test_kernels.py
settings.register_profile("long", deadline=None, max_examples=1000)  # pytest --hypothesis-profile=long
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))

TESTS = Path(__file__).parent
LEFT_OUT = pytest.StashKey[int]()
LONGEST = ("test_compare", "test_kernels", "test_tutorials")  # half a minute a test


if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell has its background jobs ignore


# ---- two tiers, on two cores

@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Give the whole suite two processes where pytest-xdist is installed; named files run in this one."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # one of the two, which reads this file too: it must start no others
        return
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    xdist = config.pluginmanager.hasplugin("xdist") and not config.option.usepdb
    if whole and xdist and config.option.numprocesses is None:
        config.option.numprocesses, config.option.dist = 2, "worksteal"
        if config.option.markexpr == "slow":  # some take a minute: one at a time, the longest first
            config.option.dist, config.option.maxschedchunk = "load", 1


def pytest_collection_modifyitems(items):
    """Put the slow tests of the longest files first, so that no process is left alone with one at the end.

    Where a third of the tests is asked for (`test_kernels.py`), leave out the others; where a turn is (`.ci/run`),
    those of the other turns.
    """
    items.sort(key=lambda item: not ("slow" in item.keywords and item.path.stem in LONGEST))
    if os.environ.get("TESTS_THIRD"):
        items[:] = items[int(os.environ["TESTS_THIRD"])::3]
    if os.environ.get("TESTS_TURN"):
        in_turn = in_turns([item for item in items if "by_turns" in item.keywords], int(os.environ["TESTS_TURN"]))
        items[:] = [item for item in items if "by_turns" not in item.keywords or item in in_turn]


def in_turns(items, turn):
    """Return each third of the tests that share a function, from that of the turn on."""
    kinds = {}
    for item in items:
        kinds.setdefault((item.path, item.originalname), []).append(item)
    return {item for kind in kinds.values() for item in kind[turn % 3::3]}


def pytest_deselected(items):
    """Count the slow tests that are left out; a process of pytest-xdist passes its count on."""
    config = items[0].config
    slow = sum("slow" in item.keywords for item in items)
    config.stash[LEFT_OUT] = config.stash.get(LEFT_OUT, 0) + slow
    getattr(config, "workeroutput", {})["left out"] = config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take the count from a process that has ended: each of them has left out the same tests."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left out", 0)


def pytest_terminal_summary(terminalreporter, config):
    """Say what was left out, and how to run it."""
    if config.stash.get(LEFT_OUT, 0):
        terminalreporter.section("slow tests")
        terminalreporter.write_line(f"{config.stash[LEFT_OUT]} slow tests were left out; "
                                    'with them: python -m pytest -m ""; they alone: python -m pytest -m slow')


# ---- fixtures

def read_only(array):
    """Return a copy of an array that raises when something writes into it."""
    array = np.array(array)
    array.flags.writeable = False
    return array


@pytest.fixture
def rng():
    """Return NumPy's generator, seeded."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def oracle():
    """Return a loader of the files in tests/oracle; a missing file is an error, not a skip."""
    def load(name):
        with np.load(TESTS / "oracle" / f"{name}.npz", allow_pickle=False) as file:
            return {key: read_only(file[key]) for key in file.files}
    return load


@pytest.fixture
def strict_cupy(monkeypatch):
    """Put the strict stand-in where CuPy would be; see strict_cupy.py."""
    import strict_cupy
    for name, module in strict_cupy.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return sys.modules["cupy"]


@pytest.fixture
def real_cupy():
    """Return CuPy, or skip, visibly, where it is missing or no GPU answers."""
    from minilift.support.backend import get_module
    try:
        return get_module("cupy")
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["strict", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    """Return the library behind backend="cupy": the strict stand-in, and CuPy where a GPU answers."""
    return request.getfixturevalue("strict_cupy" if request.param == "strict" else "real_cupy")
