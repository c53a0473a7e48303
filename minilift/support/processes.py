"""Processes: how many cores they may use, and the command by which minilift starts one with its own modules."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def cores():
    """Return the number of cores that this process may use: those of its job, for example, not of the whole node."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_process(module, *words):
    """Return the command that runs a module as ``python -m`` does, but without modules from the current folder.

    With `-m` a user's queue.py in that folder would be taken for Python's own.
    """
    run = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", f"{same_modules()}; {run}", *words]


def same_modules():
    """Return a line of Python that makes an interpreter find this one's modules, except those of the current folder."""
    here, root = sys.path[0] in ("", os.getcwd()), str(Path(__file__).resolve().parent.parent.parent)
    paths = [path for path in sys.path[here:] if path]
    return f"import sys; sys.path[:] = {paths if root in paths else [root, *paths]!r}"


@contextmanager
def own_folder_ignored():
    """Let Python's processes that a library starts in the block take no file of the current folder for a module.

    That is possible from Python 3.11 on; before, a user's queue.py in that folder ends them.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = before or "1"
    try:
        yield
    finally:
        if not before:
            del os.environ["PYTHONSAFEPATH"]
