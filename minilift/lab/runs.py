r"""Runs: search a grid of step sizes, choose one of them, and repeat the method with it.

`minilift compare` and `minilift reproduce` both do this with `tune`. The first does its runs one after the other and
chooses by `trusted_step`, since it shows methods at work. The second may use several processes, whose results are
files, and chooses by `lowest_step`, since its claims are about losses a few percent apart. Both can send their runs to
the workers of a Dask cluster (see `cluster`), or to those of any other backend that joblib is given.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import sys
import threading
import time
import warnings
from collections import Counter
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from minilift import datasets
from minilift.lab.tables import number
from minilift.support.arguments import where_labels_are
from minilift.support.files import read_npz
from minilift.support.options import naming, shortened
from minilift.support.processes import own_folder_ignored
from minilift.support.signals import children_spared
from minilift.support.terminal import bar_class, how_to_install, is_mistake, note, watched
from minilift.training.fit import evaluate

FACTOR = 3.0  # a step size is at a cliff if the next larger one has more than this multiple of its loss
CALM = 1.25  # a calmer step size than the best is taken if it has at most this multiple of its loss
SILENCE = 10  # seconds without a line, if there is no terminal, after which the number of finished runs is reported
TIE = 1.05  # losses within this factor count as equal


class Job(NamedTuple):
    """One run: a method's label with a step size, from one seed, on a data set."""

    data: str
    label: str
    step: float
    seed: int

    @property
    def key(self):
        """The name of its files."""
        return re.sub(r"[^\w.+-]", "-", f"{self.data}_{self.label}_{self.step:g}_{self.seed}")


@naming("--data")
def existing(path):
    """Return the path of a file of data, or raise an error if there is none."""
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}; expected an .npz file with X_train, y_train, X_test and y_test")
    return path


@naming("--data")
def read_data(path, table=False, white=255):
    """Return the data set of an `.npz` file with X_train, y_train, X_test, y_test, or raise an error.

    Images are (N, height, width, channels), (N, height, width) or flat, uint8 or numbers in [0, 1]; labels are whole
    numbers from 0. The x may be lower case, as in Keras's files.
    A `table` may hold any numbers, which stay in float64; if its y are floats, they are targets of a regression.
    Inputs in uint8 are divided by `white`.
    """
    held = read_npz(existing(path))
    arrays = {**{f"X_{name[2:]}": array for name, array in held.items() if name.startswith("x_")}, **held}
    for name in ("X_train", "y_train", "X_test", "y_test"):
        if name not in arrays:
            hint = "; minilift.datasets.split(X, y, fraction=0.2) makes two parts" * ({"X", "y"} <= held.keys())
            raise ValueError(f"{path} has no {name}; it holds {', '.join(sorted(held)) or 'nothing'}{hint}")
    parts, shape = [], arrays["X_train"].shape[1:]
    fits = table and arrays["y_train"].dtype.kind == "f"
    for part, least in (("train", 10), ("test", 1)):
        X, y = arrays[f"X_{part}"], arrays[f"y_{part}"]
        inputs = inputs_of(f"X_{part} of {path}", X, shape, least, table, white)
        targets = targets_of if fits else labels_of
        parts += [inputs, targets(f"y_{part} of {path}", y, len(X), table)]
    grey = [part for part in ("train", "test") if arrays[f"X_{part}"].dtype == np.uint8]
    if white != 1 and len(grey) == 1 and max(abs(parts[0]).max(), abs(parts[2]).max()) > 1:
        raise ValueError(f"X_train and X_test of {path} must be on one scale: X_{grey[0]} is uint8, which is divided "
                         f"by {white}, and the other is not; save both in one dtype")
    if fits and parts[1].shape[1] != parts[3].shape[1]:
        raise ValueError(f"y_test of {path} must have {parts[1].shape[1]} targets a sample, as y_train, "
                         f"got {parts[3].shape[1]}")
    classes = None if fits else int(max(parts[1].max(), parts[3].max())) + 1
    images = (*shape, 1) if len(shape) == 2 else shape if len(shape) == 3 else None
    return datasets.Dataset(Path(path).stem, *parts, image_shape=images, n_classes=classes, source=str(path))


def inputs_of(what, X, shape, least, table, white=255):
    """Return the inputs of a file, flat: in float32 between 0 and 1, or those of a table in float64."""
    if X.ndim < 2 or X.shape[1:] != shape or len(X) < least or X.dtype.kind not in ("buif" if table else "uif"):
        one = "; X[:, None] has one feature a sample" if X.ndim == 1 and shape in ((), (1,)) else ""
        raise ValueError(f"{what} must be numbers, at least {least} samples (N, …) shaped as in X_train, "
                         f"got {X.dtype} of shape {X.shape}{one}")
    check_finite(what, X)
    dtype, white = np.float64 if table else np.float32, white if X.dtype == np.uint8 else 1
    flat = np.ascontiguousarray(X.reshape(len(X), -1), dtype) / dtype(white)
    if not X.size or not (table or 0 <= flat.min() <= flat.max() <= 1):
        raise ValueError(f"{what} must be uint8 or numbers in [0, 1]" + "; 'minilift compare' and 'train' take tables "
                         "of other numbers, with --standardize" * bool(X.size))
    return flat


def labels_of(what, y, samples, table):
    """Return the labels of a file as int64."""
    if y.shape != (samples,) or y.dtype.kind not in "ui" or y.min() < 0 or y.max() > 10**6:
        hint = where_labels_are(y, samples, y.shape[-1] if y.ndim == 2 else 0, real="")
        if table:
            hint += "; or real numbers, as y.astype(float) has them, for a regression" * (y.dtype.kind in "ui")
        wrong = y.dtype.kind in "ui" and y.shape == (samples,)  # then it is the numbers that are
        raise ValueError(f"{what} must be {samples} labels, whole numbers from 0{' to 1000000' * wrong}, got "
                         + (f"{y.min()} to {y.max()}" if wrong else f"{y.dtype} of shape {y.shape}") + hint)
    return y.astype(np.int64)


def targets_of(what, y, samples, table):
    """Return the targets of a file's regression, (N, m) in float64."""
    if y.shape[:1] != (samples,) or y.ndim > 2 or not y.size or y.dtype.kind not in "uif":
        raise ValueError(f"{what} must be {samples} rows of real numbers, (N,) or (N, m), as y_train is, got {y.dtype} "
                         f"of shape {y.shape}")
    check_finite(what, y)
    return np.ascontiguousarray(y.reshape(samples, -1), np.float64)


def check_finite(what, array):
    """Raise an error that says how many numbers of an array do not fit into float32, and where the first one is."""
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(array.astype(np.float32))
    if bad.any():
        place = tuple(map(int, np.argwhere(bad)[0]))
        some = f"{bad.sum()} numbers that are" if bad.sum() > 1 else "a number that is"
        raise ValueError(f"{what} holds {some} NaN, infinite or beyond 1e38, first "
                         f"{list(place)}: {array[place]}; leave those samples out, or fill in a number")


@naming("--data")
def varied(data):
    """Return a data set, or raise an error if all training samples have the same target: nothing could be learned."""
    if len(data.y_train) == 1:
        raise ValueError(f"of one training sample of {data.name} there is nothing to learn; --samples takes more")
    if (data.y_train == data.y_train[0]).all():
        raise ValueError(f"the {len(data.y_train)} training samples of {data.name} have one and the same y, so that "
                         "there is nothing to learn; are they sorted?")
    return data


def record_of(job, history, net, data):
    """Return the record of a run: its job, its history, and the loss and accuracy on the test set.

    The last two are None if the run diverged, or if there are no data.
    """
    known = data is not None and not history.diverged
    test_loss, test_accuracy = evaluate(net, data.X_test, data.y_test) if known else (None, None)
    return {**job._asdict(), "test_loss": test_loss, "test_accuracy": test_accuracy, "history": history}


def final_loss(record):
    """Return the training loss at the end, inf if the run diverged."""
    return math.inf if record["history"].diverged else record["history"]["train_loss"][-1]


def training_time(record):
    """Return the seconds that a run spent on training."""
    return record["history"]["seconds"][-1]


# ---- runs elsewhere

ANSWERS = 20  # seconds within which a cluster must answer
WORKERLESS = 60  # seconds after which a cluster without workers is given up
LOOK = 1.0  # seconds between two checks of a cluster's workers while no results arrive
LOCAL = "joblib._parallel_backends"  # the module of joblib's own backends, which work on this machine
CLIENT: ContextVar = ContextVar("CLIENT", default=None)  # the client of the Dask cluster that does the runs


def check_address(address):
    """Raise an error if the value of --cluster is not the address of a scheduler."""
    if address is not None and not re.fullmatch(r"[a-z]+://[!-~]+", address):
        raise ValueError(f"--cluster: expected an address such as tcp://10.0.0.1:8786, got {shortened(address)}")


@contextmanager
def cluster(address):
    """Let the workers of a Dask cluster, such as "tcp://10.0.0.1:8786", do the runs in the block.

    Without an address nothing changes.

    Raises
    ------
    RuntimeError
        If Dask is not installed.
    ValueError
        If no scheduler of Dask answers at the address.
    """
    if address is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise RuntimeError(f"--cluster needs Dask; install with: {how_to_install('cluster')}") from error
    with silent("distributed.client"):
        with naming("--cluster", OSError):
            client = Client(address, timeout=ANSWERS, set_as_default=False)
        with client:
            token = CLIENT.set(client)
            try:
                yield
            finally:
                CLIENT.reset(token)


@contextmanager
def silent(name):
    """Silence a logger in the block: what Dask logs, including tracebacks, we report in our own words."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def elsewhere():
    """Whether a cluster does the runs, even a single one, or a backend of joblib that may use other machines."""
    joblib = sys.modules.get("joblib")
    far = joblib is not None and type(joblib.parallel.get_active_backend()[0]).__module__ != LOCAL
    return far or CLIENT.get() is not None


def spread(function, jobs, workers):
    """Yield what a function returns for each of some jobs, in the order in which they finish.

    Parameters
    ----------
    function : callable
        One that can be sent to other processes.
    jobs : list of Job
    workers : int
        Number of processes; a cluster uses all that it has.

    Raises
    ------
    ValueError
        If the function cannot be sent to a cluster, because of a user's method, for example.
    RuntimeError
        If a cluster has no workers, or is lost.
    """
    if not jobs:
        return  # joblib would start workers all the same, and warn of none that it cancels
    function = partial(judged, function)
    sent = packed(partial(job_done, function, jobs)) if elsewhere() else None
    if CLIENT.get() is not None:
        yield from spread_by_dask(CLIENT.get(), sent, len(jobs))
        return
    try:
        from joblib import Parallel, delayed
        from joblib.parallel import get_active_backend
    except ImportError as error:
        raise RuntimeError(f"--jobs needs joblib; install with: {how_to_install('reproduce')}") from error
    with own_folder_ignored():
        start_trackers()
    lazy = get_active_backend()[0].supports_return_generator  # multiprocessing, and Ray's, give all results at the end
    way = "generator_unordered" if lazy else "list"
    with ExitStack() as undone:
        with own_folder_ignored(), children_spared() if sent is None else nullcontext():
            found = Parallel(workers, return_as=way, batch_size=1)(map(delayed(function), jobs))
            if lazy:
                undone.callback(end, found)
        yield from islice(found, len(jobs))
        undone.pop_all()


def judged(function, job):
    """Return what a function returns for a job; an error is marked as a user's mistake or not, here, where it arose."""
    try:
        return function(job)
    except Exception as error:
        with suppress(AttributeError):
            error.is_mistake = is_mistake(error)
        raise


def packed(function):
    """Return a function as bytes that another process can read, or raise an error."""
    try:
        import cloudpickle
    except ImportError as error:
        raise RuntimeError(f"--cluster needs cloudpickle; install with: {how_to_install('cluster')}") from error
    try:
        return cloudpickle.dumps(function)
    except Exception as error:  # a user's object may raise anything; joblib's backends would wait for ever
        raise ValueError(f"--cluster: these runs cannot be sent to other processes ({error}); a method from a file "
                         "must be in a module that the workers can import") from error


def start_trackers():
    """Start the processes that clean up after joblib's workers.

    Starting them unblocks Ctrl-C, so this is done before the workers are started, which should not receive it.
    """
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as tracker_of_loky

    for tracker in (resource_tracker, tracker_of_loky):
        tracker.ensure_running()


def end(found):
    """End joblib's workers in the middle of their work; `found` is the iterator over the results."""
    told, threading.excepthook = threading.excepthook, lost_its_jobs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib warns of jobs not done
            found.close()
        for thread in threading.enumerate():
            if thread.name == "QueueFeederThread":  # it removes the workers' semaphores, unless we end first
                thread.join(LOOK)
    finally:
        threading.excepthook = told


def lost_its_jobs(about):
    """Ignore the error of joblib's thread that hands out jobs, when it finds them gone; report all other errors."""
    if about.exc_type is not KeyError or about.thread is None or about.thread.name != "ExecutorManagerThread":
        threading.__excepthook__(about)


LOCK = threading.Lock()
LIMITS: list[Any] = []  # the limit in force, and one entry for each further block that keeps it


@contextmanager
def blas_threads(threads):
    """Hold the BLAS to `threads` threads in the block; where blocks of several threads overlap, until the last ends.

    A limit is the whole process's, and the end of each would restore what it had found, under the others.
    """
    from threadpoolctl import threadpool_limits

    with LOCK:
        LIMITS.append(threads if LIMITS else threadpool_limits(threads, user_api="blas"))
    try:
        yield
    finally:
        with LOCK:
            if len(LIMITS) == 1:
                LIMITS[0].restore_original_limits()
            LIMITS.pop()


# ---- a cluster


def job_done(function, jobs, number):
    """Return the result of a function for one of the jobs."""
    return function(jobs[number])


def spread_by_dask(client, sent, count):
    """Yield the results of a Dask cluster's workers for jobs 0, 1, …; `sent` is the function of the number, packed.

    Dask gives the job of a lost worker to another. The workers unpack the function themselves, so that one that lacks a
    module can say so. (A function sent unpacked would end such a worker, and joblib's backend would wait for ever.)
    """
    def do(sent, number):  # a nested function is sent by value, and needs nothing from minilift
        import platform

        from cloudpickle import loads
        try:
            function = loads(sent)
        except Exception as error:
            raise ImportError(f"{platform.node()}: {type(error).__name__}: {error}") from None
        return function(number)

    held = client.submit(bytes, sent, pure=False)  # sent once, and recreated if it is lost
    futures = [client.submit(do, held, number, pure=False) for number in range(count)]
    done, patience = SimpleQueue(), Patience(client)
    for future in futures:
        future.add_done_callback(done.put)
    for _ in futures:
        yield next_result(done, patience)


def next_result(done, patience):
    """Return the result of the next run from a queue of futures, or raise an error that explains what happened."""
    while True:
        try:
            future = done.get(timeout=LOOK)
            return future.result(timeout=None if future.status == "error" else ANSWERS)
        except Empty:
            patience.look()
        except Exception as error:
            late = isinstance(error, (OSError, asyncio.TimeoutError))  # Python's own TimeoutError only from 3.11 on
            if future.status in ("error", "cancelled") or not late:
                raise patience.in_words(future.status, error) from None
            future.add_done_callback(done.put)  # its worker was lost before the result arrived: others do it again
            patience.look()


class Patience:
    """Keep track of how long a cluster has been without workers, and word the errors when it is given up.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client):
        self.client, self.address, self.since = client, client.scheduler.address, None

    def look(self):
        """Raise an error if the scheduler is lost or has had no workers for `WORKERLESS` seconds."""
        try:
            workers = self.client.nthreads()
        except OSError as error:
            raise self.lost() from error
        if workers:
            self.since = None
        elif self.since is None:
            self.since = time.monotonic()
            note(f"the scheduler at {self.address} has no workers; it is given up after {WORKERLESS:g} seconds")
        elif time.monotonic() - self.since >= WORKERLESS:
            raise RuntimeError(f"--cluster: the scheduler at {self.address} has had no workers for {WORKERLESS:g} "
                               f"seconds; start some with: dask worker {self.address} --nthreads 1")

    def lost(self):
        """Return the error that says that the scheduler is gone."""
        return RuntimeError(f"--cluster: the scheduler at {self.address} is lost; start it and its workers again")

    def in_words(self, status, error):
        """Return an error that explains why a run with this status has no result."""
        from distributed import KilledWorker

        if status == "cancelled":
            return self.lost()
        if isinstance(error, ImportError):
            return RuntimeError(f"--cluster: a worker of {self.address} cannot read the runs ({error}); its "
                                "environment needs minilift and what stands in the extra [cluster], as here")
        if isinstance(error, KilledWorker):
            return RuntimeError(f"--cluster: several workers of {self.address} were lost, one after the other, while "
                                "they did the same run; do they have enough memory?")
        return error


# ---- the choice of a step size


def lowest_step(losses, start=math.inf):
    """Return the step size with the lowest loss of the first seed; arguments as for `trusted_step`."""
    return min(losses, key=lambda step: losses[step][0])


def trusted_step(losses, start=math.inf):
    """Return the step size that a practitioner would trust.

    The loss of a step size is the worst over the seeds, infinite if one of them diverged. The first choice is the
    smallest step size whose loss is the lowest or within 5 % (`TIE`) of it. It is at a cliff if the next larger step
    size has more than 3 times (`FACTOR`) its loss. In that case the next smaller one is taken instead, if it has at
    most 1.25 times the loss (`CALM`): more would favour methods whose loss is steep there over those of a flat one.
    In a short search a loss of 2.2 may be all that can be reached from 2.31, and 2.3 within 5 % of it; so both
    shares are also those of the way down from `start` (see `close`).

    The largest step sizes that still train amplify rounding, so their losses differ between machines. The losses of
    calmer ones do not. Rounding can change the choice only where a ratio of two losses is close to one of these.

    Parameters
    ----------
    losses : dict of float → sequence of float
        Losses at the end of the search, one per seed, for each step size; inf or nan where a run diverged.
    start : float
        The loss before training. By default shares of the way down are not considered.

    Returns
    -------
    float
        The smallest step size if all diverged.
    """
    worst = worst_losses(losses)
    steps, lowest = list(worst), min(worst.values())
    chosen = next(step for step in steps if close(worst[step], lowest, TIE, start))
    before, after = steps[:steps.index(chosen)], steps[steps.index(chosen) + 1:]
    cliff = after and not worst[after[0]] <= FACTOR * worst[chosen]
    return before[-1] if cliff and before and close(worst[before[-1]], worst[chosen], CALM, start) else chosen


def close(loss, other, factor, start):
    """Whether a loss is at most `factor` times another one, and gives up at most that share of its way from `start`."""
    return loss <= factor * other and loss <= other + (factor - 1) * max(0.0, start - other)


def worst_losses(losses):
    """Return {step size: highest loss over the seeds}, the smallest step size first; a nan counts as inf."""
    return {step: max(math.inf if math.isnan(loss) else loss for loss in losses[step]) for step in sorted(losses)}


def undecided_steps(losses, seeds):
    """Return the step sizes that must be run with their other seeds before `trusted_step` can choose.

    The worst loss of a step size can only rise with further seeds. First the step size with the lowest loss is run with
    all seeds. The lowest worst loss is then at most that one's, and the loss of the choice at most 5 % above it. A step
    size whose loss is over 3 times that bound can neither be chosen nor, as a neighbour, change the choice:
    as the larger neighbour it already makes a cliff, and as the smaller one it is far from good enough. So it needs no
    further seeds, and neither does one that diverged. `trusted_step` thus chooses as it would after all runs.

    Parameters
    ----------
    losses : dict of float → sequence of float
        Losses so far: of the first seed, or of all seeds.
    seeds : int
        Number of all seeds.

    Returns
    -------
    list of float
        Empty when the choice is settled.
    """
    worst = worst_losses(losses)
    whole = [step for step in worst if len(losses[step]) == seeds]
    left = [step for step in worst if step not in whole and worst[step] < math.inf]
    if not whole:
        return left and [min(left, key=worst.get)]
    bound = FACTOR * (TIE * min(worst[step] for step in whole))
    return [step for step in left if worst[step] <= bound]


# ---- all runs


class Results:
    """All records of a comparison or an experiment, with methods that answer questions about them.

    Parameters
    ----------
    records : list of dict
        Made by `record_of`.
    search : list of dict, optional
        The records by which step sizes are chosen; by default those of the first seed.
    choose : callable, default `lowest_step`
        From {step size: losses, one per seed}, and the loss before training, to a step size.

    Attributes
    ----------
    data, labels, seeds : list
        Names of the data sets, labels of the methods, and all seeds, sorted.
    """

    def __init__(self, records, search=None, choose=lowest_step):
        self.records, self.choose = records, choose
        self.data, self.labels, seeds = (list(grouped(records, key)) for key in ("data", "label", "seed"))
        self.seeds = sorted(seeds)
        self.search = self.select(seed=self.seeds[0]) if search is None else search

    def select(self, **wanted):
        """Return the records with the given entries."""
        return select(self.records, **wanted)

    def searched(self, data, label):
        """Return {step size: losses of the search, one per seed} of a method, the largest step size first."""
        return losses_by_step(select(self.search, data=data, label=label))

    def steps(self, data, label):
        """Return the step sizes of a method, largest first."""
        return list(self.searched(data, label))

    def best_step(self, data, label):
        """Return the chosen step size of a method."""
        starts = [record["history"]["train_loss"][0] for record in select(self.search, data=data, label=label)]
        return self.choose(self.searched(data, label), max(starts))

    def at_edge(self, data, label):
        """Whether the chosen step size is the grid's first or last, so that a better one may lie outside."""
        steps = self.steps(data, label)
        return len(steps) > 1 and self.best_step(data, label) in (steps[0], steps[-1])

    def chosen(self, data, label):
        """Return the records of a method with its chosen step size, by seed."""
        records = self.select(data=data, label=label, step=self.best_step(data, label))
        return sorted(records, key=itemgetter("seed"))

    def measured(self, data, label, measure):
        """Return the values of `measure` for the records of a method with its chosen step size, by seed."""
        return list(map(measure, self.chosen(data, label)))


def grouped(rows, *keys):
    """Return {entry: its rows} in the order of the rows; with several keys the entries are tuples."""
    entry, groups = itemgetter(*keys), {}
    for row in rows:
        groups.setdefault(entry(row), []).append(row)
    return groups


def losses_by_step(records):
    """Return {step size: final training losses}, the largest step size first."""
    found = grouped(records, "step")
    return {step: list(map(final_loss, found[step])) for step in sorted(found, reverse=True)}


def select(rows, **wanted):
    """Return the rows, each a dict, with the given entries."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def tune(grid, search, repeat, choose, progress=True, undecided=None, **bar_options):
    """Search the step sizes of all methods and run the chosen ones, with a progress bar that counts epochs.

    Parameters
    ----------
    grid : list of (data, label, step)
    search, repeat : (callable, dict of label → int, seeds)
        A function that takes a list of `Job` and the bar and returns an iterator over their records; the epochs of a
        run; and the seeds to run.
    choose : callable
        As for `Results`.
    progress : bool, default True
        Show the bar on a terminal; elsewhere write a line when the runs of a method are finished.
    undecided : callable, optional
        A function like `undecided_steps`. If given, the search begins with the first seed, and the others are run only
        for the step sizes that it returns.
    **bar_options
        Further arguments of `tqdm`.

    Returns
    -------
    search, repeated : list of dict
        The records of both stages.
    """
    def do(points, run, epochs, seeds, stage):
        jobs = [Job(*point, seed) for point in points for seed in seeds]
        with closing(run(jobs, bar)) as records:  # this ends workers if we are ended
            found = collect(records, bar, epochs, Counter(job.label for job in jobs) if lines else {}, stage)
        order = {job: number for number, job in enumerate(jobs)}  # workers finish in any order
        return sorted(found, key=lambda record: order[Job(*map(record.get, Job._fields))])

    def seek(run, epochs, seeds):
        if undecided is None:
            return do(grid, run, epochs, seeds, "step sizes")
        found, number = do(grid, run, epochs, seeds[:1], "step sizes, the first seed"), 0
        while points := [(*pair, step) for pair, records in grouped(found, "data", "label").items()
                         for step in undecided(losses_by_step(records), len(seeds))]:
            number += 1
            found += do(points, run, epochs, seeds[1:], f"step sizes in question, the other seeds, round {number}")
        return found

    def work(points, epochs, seeds):
        return len(seeds) * sum(epochs[label] for _, label, *_ in points)

    pairs, tqdm = list(dict.fromkeys(point[:2] for point in grid)), bar_class()
    lines, last = progress and not watched(), work(pairs, *repeat[1:])
    with tqdm(total=work(grid, *search[1:]) + last, unit="epoch", disable=not progress or lines, **bar_options) as bar:
        searched = seek(*search)
        bar.total = bar.n + last
        found = Results(searched, searched, choose)
        return searched, do([(*pair, found.best_step(*pair)) for pair in pairs], *repeat, "full runs")


def collect(records, bar, epochs, awaited, stage):
    """Return records that arrive one by one as a list; the bar, which counts epochs, gains `epochs[label]` for each.

    `awaited` is {label: number of runs} and is emptied: when the last run of a label has arrived, a line says so and in
    which `stage`; before that, lines report progress if none has been written for `SILENCE` seconds.
    """
    kept, done, started, total = [], bar.n, time.perf_counter(), sum(awaited.values())
    spoken = started
    for record in records:
        label = record["label"]
        if awaited:
            awaited[label] -= 1
            if awaited[label] and time.perf_counter() - spoken > SILENCE:
                note(f"{stage}: {label}: {len(kept) + 1} of all {total} runs are done "
                     f"({time.perf_counter() - started:.0f} s)")
                spoken = time.perf_counter()
            if not awaited[label]:
                spoken = time.perf_counter()
                count = sum(one["label"] == label for one in kept) + 1
                note(f"{stage}: {label}: {count} run{'s' * (count > 1)} finished "
                     f"({time.perf_counter() - started:.0f} s)")
        kept.append(record)
        done += epochs[record["label"]]
        bar.update(done - bar.n)  # a diverged run has fewer epochs
        bar.set_postfix_str(f"{record['label']} {record['step']:.3g}: {number(final_loss(record))}")
    return kept
