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
    """Let processes that are started in the block never see Ctrl-C, which a terminal sends to all: we end them.

    They inherit it as blocked. What starts in the block is started whole: if this process is told to end meanwhile, by
    Ctrl-C or SIGTERM, that is done at the end of the block. (If it ignored Ctrl-C for the moment, and its children from
    then on, that of the moment would be lost.)
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
