"""Let SIGTERM end a program cleanly, and keep Ctrl-C from reaching child processes."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """The process was told to end by SIGTERM; code that cleans up after Ctrl-C does so after this, too."""


@contextmanager
def terminable():
    """Make SIGTERM raise `Terminated` in the block; a second one ends the process at once."""
    def end(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # only that one receives signals and may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def children_spared():
    """Shield processes started in the block from Ctrl-C, which a terminal sends to all: we end them ourselves.

    They inherit the signal as blocked. Starting them is not interrupted: if this process is told to end meanwhile, by
    Ctrl-C or SIGTERM, it does so at the end of the block. (If it ignored Ctrl-C in the block, so that its children
    inherited that, a Ctrl-C in that time would be lost.)
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    told = []
    before = {number: signal.signal(number, lambda number, frame: told.append(number))
              for number in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(number))}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in told[:1]:
            signal.raise_signal(number)
