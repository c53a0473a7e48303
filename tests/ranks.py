"""A communicator among threads of one process, with the calls of MPI's that a `Team` makes: ranks without mpiexec."""

import contextlib
import threading

import numpy as np

from minilift.layers.gram import Gram
from minilift.support.parallel import Team
from minilift.training.ranks import SharedGram

# Before Python 3.12 a cached property lets one thread at a time compute, of all objects; here the others must join in.
for prop in [*vars(Gram).values(), *vars(SharedGram).values()]:
    if hasattr(prop, "lock"):
        prop.lock = contextlib.nullcontext()


class Stopped(BaseException):
    """Another rank has called Abort."""


class Communicator:
    """Rank `rank` of several threads; `board` and `barrier` are common to all."""

    def __init__(self, rank, board, barrier, come):
        self.rank, self.board, self.barrier, self.come = rank, board, barrier, come

    def Dup(self):
        return self

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return len(self.board)

    def exchanged(self, array):
        """Return the arrays of all ranks."""
        try:
            self.board[self.rank] = array
            self.barrier.wait()
            arrays = list(self.board)
            self.barrier.wait()
        except threading.BrokenBarrierError:
            raise Stopped from None
        return arrays

    def Allreduce(self, mine, total):
        assert mine is None, "the sum takes the place of the array"
        total[...] = sum(self.exchanged(total.copy()))

    def Allgather(self, mine, rows):
        rows[...] = np.concatenate(self.exchanged(mine))

    def Allgatherv(self, mine, received):
        rows, (sizes, starts) = received
        parts = self.exchanged(mine)
        assert [part.size for part in parts] == list(sizes)
        assert list(starts) == [sum(sizes[:rank]) for rank in range(len(sizes))]
        rows[...] = np.concatenate(parts)

    def Iallgather(self, mine, places):
        self.come[self.rank] = mine[0]
        return Request(self.come, places)

    def Abort(self, code):
        self.barrier.abort()


class Request:
    """What `Iallgather` returns; it is called once by each rank at most."""

    def __init__(self, come, places):
        self.come, self.places = come, places

    def Test(self):
        if len(self.come) < len(self.places):
            return False
        self.places[...] = [self.come[rank] for rank in range(len(self.places))]
        return True


def on_ranks(size, run):
    """Return what ``run(team)`` returns on each of so many ranks; raise the first error that is no consequence."""
    board, barrier, results, errors, come = [None] * size, threading.Barrier(size), [None] * size, [], {}

    def work(rank):
        try:
            results[rank] = run(Team(Communicator(rank, board, barrier, come), brief=True))
        except BaseException as error:
            barrier.abort()
            if not isinstance(error, Stopped):
                errors.append(error)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
