"""SIGTERM that ends a program in good order, and child processes that Ctrl-C does not reach."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """The process was told to end by SIGTERM: whatever puts things in order after Ctrl-C does so now, too."""


@contextmanager
def terminable():
    """Let SIGTERM raise `Terminated` in the block; a second one ends the process at once."""
    def end(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # only that one gets signals and may set them
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def children_spared():
    """Let processes that are started in the block ignore Ctrl-C, which a terminal sends to all: we end them.

    They inherit this. (A signal that is only blocked would not do: starting multiprocessing's resource tracker unblocks
    it.) For the moment that the block takes, this process ignores Ctrl-C too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
