"""Communication between several processes that train one network, each on its rows of every batch.

This is the only file that imports mpi4py, and only when a `Team` with MPI is requested. A team has few operations:
`sum` over all ranks, `gather` the rows of all ranks, `agree` that all hold the same bits. All ranks must call them in
the same order. The results of `sum` and `gather` are bit-equal on all ranks.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import sys
import threading
import time
import traceback
from typing import Any

import numpy as np

from minilift.support.backend import array_module, to_numpy
from minilift.support.files import checksum
from minilift.support.terminal import how_to_install

# how MPI's launchers tell a process how many were started; SLURM_NTASKS is no help, being set in every Slurm shell
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "SLURM_STEP_NUM_TASKS")
LONGEST_TEXT = 400  # bytes of a text that ranks exchange
PIECE = 8_000_000  # bytes that are summed at a time: for larger sums MPI would allocate a new buffer in every step
GRACE = 0.5  # seconds in which rank 0 may report an error common to all ranks, so that it is reported once
PATIENCE = 5.0  # seconds within which all ranks meet after an error, if all have it
ERROR, EXIT = 1, 2  # where ranks meet: at an error in a local problem, at the end of a process
FORWARDING = 0.2  # seconds for the launcher to pass on a rank's message; on an abort it discards the rest


class Team:
    """The processes (ranks) that share the rows of each batch, made by ``Team.mpi()`` or ``Team.alone()``.

    Parameters
    ----------
    communicator : object, optional
        An MPI communicator of mpi4py. By default there is none, and the team has one rank.
    brief : bool, default False
        Whether a rank that fails reports this in one line instead of a traceback.

    Attributes
    ----------
    rank, size : int
        The number of this process, counted from 0, and the number of all processes.
    sent : dict
        Bytes that this rank has passed to `sum` and to `gather`, and how often: ``{"sum": [bytes, calls], …}``.

    Examples
    --------
    >>> team = ml.Team.alone()
    >>> team.rank, team.size, team.sum(np.ones(2)).tolist()
    (0, 1, [1.0, 1.0])
    """

    def __init__(self, communicator: Any = None, brief: bool = False) -> None:
        if communicator is not None and not hasattr(communicator, "Get_rank"):
            raise TypeError("Team: communicator must be one of mpi4py's, as Team.mpi() has it; processes are started "
                            f"as in mpiexec -n 4 python mine.py, got {communicator!r}")
        self.communicator, self.brief = communicator, brief
        self.rank = 0 if communicator is None else communicator.Get_rank()
        self.size = 1 if communicator is None else communicator.Get_size()
        self.beside = None if self.size == 1 else communicator.Dup()  # for messages sent while others use the first
        self.sent = {"sum": [0, 0], "gather": [0, 0]}
        self.stopped, self.status = False, None

    @classmethod
    def alone(cls) -> Team:
        """Return a team of this process alone."""
        return cls()

    @classmethod
    def mpi(cls, brief: bool = False) -> Team:
        """Return the team of all processes that ``mpiexec`` started.

        An uncaught exception, or a call of `sys.exit` with an error, then stops all ranks, instead of leaving the
        others waiting for ever.

        Raises
        ------
        RuntimeError
            If mpi4py, or an MPI for it, is not installed, or if that MPI is not the one whose ``mpiexec`` was called.
        """
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is installed, but no MPI library is
            raise RuntimeError(f"Team.mpi: mpi4py cannot be imported ({error}); install with: "
                               f"{how_to_install('mpi')}") from error
        team = cls(MPI.COMM_WORLD, brief)
        if team.size == 1 < started():
            raise RuntimeError(f"Team.mpi: {started()} processes were started, but mpi4py sees one: they belong to two "
                               "MPIs; call the mpiexec of the MPI that mpi4py uses")
        if team.size > 1:
            sys.excepthook = lambda kind, error, trace: team.stop(error)
            team.watch_exit()
        return team

    def __repr__(self):
        return f"Team(rank {self.rank} of {self.size})"

    # ---- the operations

    def sum(self, array, overwrite=False):
        """Return the sum of all ranks' arrays, which have one shape and dtype, or of their numbers.

        With `overwrite` the sum may be written into the array's own memory.
        """
        if isinstance(array, (int, float)):
            return float(self.sum(np.array([float(array)]), overwrite=True)[0])
        if self.size == 1:
            return array
        mine = to_numpy(array)
        total = np.ascontiguousarray(mine) if overwrite else np.array(mine, order="C")
        numbers = total.reshape(-1)
        step = max(1, PIECE // total.itemsize)
        for start in range(0, max(1, len(numbers)), step):
            self.communicator.Allreduce(None, numbers[start:start + step])  # None: the sum takes the place of the array
        self.count("sum", total)
        return array_module(array).asarray(total)

    def gather(self, array, counts=None):
        """Return the rows of all ranks, in the order of ranks; the number of rows may differ, but not their shape.

        If each rank knows the numbers of rows of all, passing them as `counts` saves the message that tells them.
        """
        if self.size == 1:
            return array
        mine = np.ascontiguousarray(to_numpy(array))
        if counts is None:
            counts = np.empty(self.size, np.int64)
            self.communicator.Allgather(np.array([len(mine)], np.int64), counts)
        rows = np.empty((counts.sum(), *mine.shape[1:]), mine.dtype)
        sizes = counts * math.prod(mine.shape[1:])
        self.communicator.Allgatherv(mine, [rows, (sizes, np.cumsum(sizes) - sizes)])
        self.count("gather", mine)
        return array_module(array).asarray(rows)

    def agree(self, what, arrays):
        """Raise an error unless all ranks hold the same bits, naming the first rank and array that differ.

        Parameters
        ----------
        what : str
            The beginning of the error message.
        arrays : dict
            Arrays or texts by name.

        Raises
        ------
        RuntimeError
            On all ranks.
        """
        names = list(arrays)
        sums = self.gather(np.array([checksum(arrays[name]) for name in names], np.int64))
        if len(sums) != self.size * len(names):
            raise RuntimeError(f"{what}: the ranks hold different numbers of arrays; all must train one network")
        sums = sums.reshape(self.size, -1)
        wrong = np.argwhere(sums != sums[0])
        if len(wrong):
            rank, place = map(int, wrong[0])
            raise RuntimeError(f"{what}: {names[place]} on rank {rank} of {self.size} is not, bit for bit, "
                               f"{names[place]} on rank 0")

    def first(self, text):
        """Return the text of the first rank that has one (not None), or None."""
        mine = np.zeros((1, LONGEST_TEXT), np.uint8)
        encoded = (text or "").encode()[:LONGEST_TEXT]
        mine[0, :len(encoded)] = np.frombuffer(encoded, np.uint8)
        texts = [row.tobytes().rstrip(b"\0").decode(errors="ignore") for row in self.gather(mine)]
        return next((text for text in texts if text), None)

    def count(self, verb, array):
        """Record what this rank has passed to an operation."""
        self.sent[verb][0] += array.nbytes
        self.sent[verb][1] += 1

    # ---- when something goes wrong

    @contextlib.contextmanager
    def guard(self):
        """Stop all ranks if an exception leaves the block on this one, as the others would wait for it for ever."""
        try:
            yield
        except BaseException as error:
            self.stop(error)
            raise

    def meet(self, place):
        """Return whether all ranks reach this place, where something went wrong, within `PATIENCE` seconds.

        Unlike the operations, it may be called by one rank alone, whatever the others are waiting for.
        """
        places = np.empty(self.size, np.int64)
        request = self.beside.Iallgather(np.array([place], np.int64), places)
        end = time.monotonic() + PATIENCE
        while not request.Test():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return bool((places == place).all())

    def watch_exit(self):
        """Make a `sys.exit` with an error on this rank, but not on all, stop all ranks when the process ends."""
        leave = sys.exit

        def leave_noted(status=None, /):
            if threading.current_thread() is threading.main_thread():
                self.status = status
            leave(status)

        sys.exit = leave_noted
        atexit.register(self.check_exit)

    def check_exit(self):
        """Stop all ranks if this process ends with an error and the others do not; called at its end."""
        if self.status not in (None, 0) and not self.stopped and not self.meet(EXIT):
            self.stop(SystemExit(self.status))

    def stop(self, error):
        """Report an error on standard error and end all ranks, once; a team of one does nothing."""
        if self.size == 1 or self.stopped:
            return
        self.stopped = True
        if self.rank:
            time.sleep(GRACE)  # if all ranks fail alike, rank 0 reports it and ends the others
        told = f"rank {self.rank} of {self.size} stops all ranks: {type(error).__name__}: {error}\n"
        if not self.brief:
            told = "".join(traceback.format_exception(error)) + told
        sys.stderr.write(told)
        sys.stderr.flush()
        time.sleep(FORWARDING)
        self.communicator.Abort(1)
        time.sleep(GRACE)  # Abort may return before the launcher has ended this process


def started():
    """Return how many processes an MPI launcher says that it has started; 1 if there is no launcher."""
    return next((int(os.environ[name]) for name in SIZES if os.environ.get(name, "").isdecimal()), 1)


def share_of(rows, rank, size):
    """Return the slice of `rows` rows that belongs to a rank: contiguous, with sizes that differ by one row at most.

    If there are fewer rows than ranks, some have none.
    """
    return slice(rows * rank // size, rows * (rank + 1) // size)


def counts_of(rows, size):
    """Return how many of `rows` rows each rank has according to `share_of`."""
    return np.diff(rows * np.arange(size + 1) // size)
