r"""Training: `fit` runs a method and an optimizer over shuffled mini-batches and returns a `History`.

Each step is one forward pass, the method's directions and the optimizer's step. Everything else is
bookkeeping, with three promises: the same seed gives the same run; an interrupted run continues bit for bit from
its checkpoint; divergence is a result that is reported, not a crash.

Epochs count from 1 in everything that is reported; row 0 of a history is the network before training.
Methods, optimizers and schedules receive the index of the epoch that begins, counted from 0.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minilift.datasets import Dataset
from minilift.graph import checked_network
from minilift.methods import Method
from minilift.network import EVALUATION_BATCH, Network
from minilift.optim import Optimizer
from minilift.support.arguments import (
    checked_path,
    function,
    instance_of,
    number_between,
    sequence,
    shown,
    whole_number,
)
from minilift.support.backend import all_finite, to_numpy
from minilift.support.files import check_writable, checksum, moved_aside, read_npz, write_npz
from minilift.support.parallel import ERROR, Team
from minilift.support.settings import PLAIN, arguments_of, describe, differences
from minilift.support.spellings import spelled
from minilift.support.terminal import bar_class
from minilift.training.curves import look_of
from minilift.training.history import Divergence, EarlyStop, History
from minilift.training.names import named_method, named_optimizer
from minilift.training.ranks import Ranks

CHECKPOINT_VERSION = 4


def quiet():
    """Silence NumPy about overflow and NaN, which `fit` detects and reports itself, and about underflow, which is none.

    An error of NumPy's, for those who ask for errors by ``np.seterr``, would be taken for one of the method.
    """
    return np.errstate(all="ignore")


# --------------------------------------------------------------------------------------------- evaluation


@spelled
def evaluate(net: Network, X: Any, y: Any, batch_size: int = EVALUATION_BATCH) -> tuple[float, float | None]:
    """Return the loss of a data set and, for a classification loss, the accuracy (else None).

    Parameters
    ----------
    net : Network
    X : array (N, …)
    y : targets, as the network's loss takes them
    batch_size : int, default 500
        The set is evaluated in batches of this size, to bound memory.

    Returns
    -------
    loss : float
    accuracy : float or None

    Raises
    ------
    ValueError, TypeError
        If X or y do not fit the network.

    Examples
    --------
    >>> net, data = ml.mlp([64, 10]), ml.datasets.digits()
    >>> loss, accuracy = ml.evaluate(net, data.X_test, data.y_test)
    >>> round(loss, 1), accuracy < 0.2  # untrained: about log 10, and chance
    (2.3, True)
    """
    X, y = checked_network("evaluate", net).checked_batch(X, y)
    return measure(net, X, y, whole_number("evaluate: batch_size", batch_size))


@quiet()
def measure(net, X, y, batch_size, ranks=None):
    """Measure, as `evaluate` does, on data already checked; with `ranks`, each measures its part of them."""
    loss_function, samples = net.loss_function, len(X)
    loss, hits = 0.0, 0
    if ranks is not None:
        X, y = ranks.part(X), ranks.part(y)
    for z, part in net.in_batches(X, batch_size):
        loss += loss_function.value(z, y[part]) / loss_function.weight(len(z))
        if loss_function.classification:
            hits += int((loss_function.predict(z) == y[part]).sum())
    if ranks is not None:
        loss, hits = ranks.team.sum(loss), ranks.team.sum(hits)
    return loss * loss_function.weight(samples), hits / samples if loss_function.classification else None


@quiet()
def metrics(net, method, train, validation, batch_size, ranks=None):
    """Return the columns of a row that are measured over whole sets, then those of the method."""
    row = {}
    for name, data in (("train", train), ("val", validation)):
        if data is not None:
            loss, accuracy = measure(net, *data, max(batch_size or 0, EVALUATION_BATCH), ranks)
            row |= {f"{name}_loss": loss} | ({} if accuracy is None else {f"{name}_accuracy": accuracy})
    return row | method.measure()


@quiet()
def not_finite(net, state=None):
    """Return the name of a network's first array (or, given a state, pre-activation) that is not finite, or None."""
    named = [(f"theta_{l}", net.theta[l]) for l in net.maps]
    for k, norm in enumerate(net.norms, start=1):
        named += [(f"scale_shift_{k}", norm.scale_shift), (f"running_{k}", norm.running)]
    if state is not None:
        named += [(f"z_{l}", state.z[l]) for l in range(1, net.depth + 1)]
    return next((name for name, array in named if not all_finite(array)), None)


# ---------------------------------------------------------------------------------------------- the run


@dataclass
class Run:
    """Everything that changes while `fit` runs, which is what a checkpoint holds."""

    net: object
    method: object
    optimizer: Optimizer
    rng: np.random.Generator
    history: History
    best: dict | None = None  # parameters of the best epoch, if they are to be restored
    steps: int = 0
    ranks: Ranks | None = None  # if several train the network
    written: tuple | None = None  # size and time of the last checkpoint

    def save(self, path, settings):
        """Write a checkpoint, atomically and without pickle; warn if another run has written it since the last time."""
        if self.written is not None and size_and_time(path) not in (None, self.written):
            warnings.warn(f"fit: checkpoint: {os.fspath(path)!r} was written by another run since this one wrote it: "
                          "of two runs with one checkpoint only the last to write can be continued", stacklevel=4)
        about = {"version": CHECKPOINT_VERSION, "settings": settings, "steps": self.steps,
                 "rng": self.rng.bit_generator.state, "history": self.history.as_dict()}
        arrays = {"about": np.array(json.dumps(about))}
        for part, state in (("net", self.net.state_dict()), ("optimizer", self.optimizer.state_dict()),
                            ("method", self.method.state_dict()), ("best", self.best or {})):
            arrays |= {f"{part}/{key}": array for key, array in as_arrays(part, state).items()}
        write_npz(path, {**arrays, "seal": seal(arrays)})
        self.written = size_and_time(path)

    def load(self, path, settings, columns, steps_per_epoch, early_stop):
        """Load a checkpoint, after making sure that it is intact and belongs to a run with the same settings.

        Everything is read and checked first. If something is wrong with the file, nothing is changed.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"fit: resume: there is no checkpoint {str(path)!r}")
        arrays = read_npz(path)
        sealed, found = arrays.pop("seal", None), seal(arrays)
        try:
            about = json.loads(str(arrays.pop("about")))
            version, saved = about["version"], about["settings"]
            saved.keys()
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"fit: resume: {str(path)!r} is not a checkpoint of minilift") from error
        if version != CHECKPOINT_VERSION:
            raise ValueError(f"fit: resume: {str(path)!r} is a checkpoint of version {version}, "
                             f"this minilift reads version {CHECKPOINT_VERSION}")
        if sealed is None or sealed.shape or sealed != found:
            raise ValueError(f"fit: resume: {str(path)!r} is not as it was written: its arrays do not have the "
                             "checksum that stands in it")
        differing = [text for key in {**saved, **settings}
                     for text in differences(saved.get(key), settings.get(key), key)]
        if differing:
            raise ValueError(f"fit: resume: {str(path)!r} belongs to another run: {'; '.join(differing)}")
        try:
            parts = split_parts(arrays)
            history, rng = History.from_dict(about["history"]), generator_of(about["rng"], self.rng)
            steps = check_rows(history, columns, about["steps"], steps_per_epoch)
            self.check_networks(parts, early_stop is not None and early_stop.restore_best)
            self.load_states(parts)
        except Exception as error:  # a user's method or optimizer may fail in its own way
            what = error if isinstance(error, (ValueError, TypeError)) else f"{type(error).__name__}: {error}"
            raise ValueError(f"fit: resume: {str(path)!r} cannot be continued from: {what}") from error
        self.net.load_state_dict(parts["net"])
        self.best, self.history, self.steps = parts["best"] or None, history, steps
        self.rng.bit_generator.state = rng

    def check_networks(self, parts, restores_best):
        """Raise an error unless a checkpoint's parameters, and the best ones if requested, fit the network."""
        if bool(parts["best"]) != restores_best:
            raise ValueError(f"the parameters of the best epoch are {'missing' if restores_best else 'not expected'}")
        for part in ("net", "best"):
            if part == "net" or restores_best:
                self.net.checked_state(parts[part])
            for name, array in parts[part].items():
                if array.dtype != self.net.dtype:
                    raise TypeError(f"{part}/{name} must have the network's dtype {self.net.dtype}, got {array.dtype}")

    def load_states(self, parts):
        """Restore the states of optimizer and method, or leave both as they were."""
        before = [(thing, copy.deepcopy(as_arrays(part, thing.state_dict())))
                  for part, thing in (("optimizer", self.optimizer), ("method", self.method))]
        try:
            self.optimizer.load_state_dict(parts["optimizer"])
            self.optimizer.check_fits(self.net.parameters)
            self.method.reset()
            self.method.load_state_dict(parts["method"])
            self.method.check_state(self.net)
        except BaseException:
            for thing, state in before:
                thing.reset()
                thing.load_state_dict(state)
            raise

    def record(self, row, early_stop):
        """Append a row to the history; keep a copy of the parameters if they are the best and are to be restored."""
        self.history.append(row)
        wanted = early_stop is not None and early_stop.restore_best
        if wanted and early_stop.best_epoch(self.history) == len(self.history) - 1:
            self.best = self.net.state_dict()

    def batches(self, X, y, batch_size):
        """Yield the mini-batches of an epoch, shuffled; all samples in their own order if there is no batch size."""
        if batch_size is None:
            yield (X, y) if self.ranks is None else (self.ranks.part(X), self.ranks.part(y))
            return
        order = self.net.xp.asarray(self.rng.permutation(len(X)))
        for start in range(0, len(X), batch_size):
            batch = order[start:start + batch_size]
            batch = batch if self.ranks is None else self.ranks.part(batch)
            yield X[batch], y[batch]

    @quiet()
    def train_epoch(self, X, y, batch_size, epoch, bar):
        """Train for one epoch; return the mean of the batches' losses, or the `Divergence` that ended it."""
        net, method = (self.net, self.method) if self.ranks is None else self.ranks.shared(self.net)
        self.method.start_epoch(epoch - 1)
        self.optimizer.start_epoch(epoch - 1)
        losses = []
        for X_batch, y_batch in self.batches(X, y, batch_size):
            state = net.propagate(X_batch, training=True, rng=self.rng)
            loss = net.loss_function.value(state.z[net.depth], y_batch)
            if not math.isfinite(loss):
                layer = self.first(not_finite(net, state))
                what = "" if layer is None else f", {layer} is not finite"
                return Divergence(epoch, self.steps, layer, f"the loss of a batch is {loss}{what}")
            try:
                directions = method.directions(net, state, y_batch)
            except ArithmeticError as error:  # a local problem that cannot be solved to working precision
                mistaken = isinstance(error, ZeroDivisionError)  # NumPy raises none: it comes from a user's own numbers
                if mistaken or (self.ranks is not None and not self.ranks.team.meet(ERROR)):
                    raise  # the others wait for this rank
                return Divergence(epoch, self.steps, not_finite(net), self.first(f"{self.method!r}: {error}"))
            self.optimizer.step(net.parameters, directions)
            self.net.commit(state)  # after the step, which may be refused
            self.steps += 1
            losses.append(loss)
            if bar is not None and bar.update():
                bar.set_postfix_str(f"epoch {epoch}, batch loss {loss:.4g}", refresh=False)
        return sum(losses) / len(losses)

    def first(self, text):
        """Return a text, or None; with several ranks, the text of the first rank that has one."""
        return text if self.ranks is None else self.ranks.team.first(text)


def as_arrays(part, state):
    """Return a state in the form of a checkpoint, where everything is an array."""
    arrays = {}
    for key, value in state.items():
        try:
            arrays[key] = np.asarray(value if np.isscalar(value) else to_numpy(value))
        except TypeError:  # not an array: a list, for example, or None
            arrays[key] = np.array(None)
        if arrays[key].dtype.hasobject:
            raise TypeError(f"fit: checkpoint: {key!r} of the {part}'s state must be an array or a number, "
                            f"got {value!r}")
    return arrays


def seal(arrays):
    """Return one checksum of all arrays and their names, by which exchanged or edited ones are detected."""
    return np.array(checksum(*(part for name in sorted(arrays) for part in (name, arrays[name]))))


def split_parts(arrays):
    """Return the arrays of a checkpoint by part and name."""
    parts: dict[str, dict] = {"net": {}, "optimizer": {}, "method": {}, "best": {}}
    for key, array in arrays.items():
        part, slash, name = key.partition("/")
        if part not in parts or not slash:
            raise ValueError(f"it holds an unknown array {key!r}")
        parts[part][name] = array
    return parts


def generator_of(state, rng):
    """Return the state of a random generator if it can be that of one started like `rng`, or raise an error."""
    generator, own = np.random.default_rng(0), rng.bit_generator.state
    try:
        generator.bit_generator.state = state
    except Exception as error:
        raise ValueError(f"the state of the random generator makes no sense ({error})") from error
    if generator.bit_generator.state != state or state["state"]["inc"] != own["state"]["inc"]:
        raise ValueError("the state of the random generator is not one of this run")
    return state


def check_rows(history, columns, steps, steps_per_epoch):
    """Return the number of steps if history and steps can be those of a run with these columns, or raise an error."""
    rows = len(history)
    if list(history.columns) != columns or history["epoch"] != list(range(rows)) or not rows:
        raise ValueError(f"expected a history with the columns {columns} and the epochs 0, 1, …, "
                         f"got {list(history.columns)} and {history.columns.get('epoch')}")
    if history.diverged is not None:
        raise ValueError("its run diverged")
    times, losses = np.array(history["seconds"], float), history["batch_loss"][1:] + history["train_loss"][1:]
    if not (np.isfinite(losses).all() and np.isfinite(times).all() and times[0] >= 0 and (np.diff(times) >= 0).all()):
        raise ValueError("the losses of its history must be finite and its seconds must not fall")
    if whole_number("steps", steps, least=0) != (rows - 1) * steps_per_epoch:
        raise ValueError(f"{rows - 1} epochs of {steps_per_epoch} steps are not {steps} steps")
    return steps


def columns_of(net, validation, method):
    """Return the names of a history's columns."""
    of_a_set = ("loss", "accuracy") if net.loss_function.classification else ("loss",)
    sets = ("train",) if validation is None else ("train", "val")
    measured = [f"{part}_{name}" for part in sets for name in of_a_set]
    return ["epoch", "seconds", "batch_loss", *measured, *method.columns]


@spelled
def fit(net: Network, data: Dataset | tuple[Any, Any], method: str | Method | Callable[..., Any],
        optimizer: str | Optimizer, *, epochs: int = 10, batch_size: int | None = 100, seed: int = 0,
        validation: float | tuple[Any, Any] | None = None,
        callbacks: Callable[..., Any] | Sequence[Callable[..., Any]] = (), progress: bool | str = True,
        early_stop: EarlyStop | None = None, checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1, resume: str | os.PathLike[str] | bool | None = None,
        team: Team | None = None) -> History:
    r"""Train a network, in place.

    Parameters
    ----------
    net : Network
    data : Dataset or (X, y)
        Only the training part of a data set is used. X and y are checked and cast once, here.
    method : Method, str or callable
        A method such as ``BackProp()`` or ``ProxProp(tau_theta=0.05)``; its name on the command line, such as
        "proxprop" or "proxprop:tau_theta=0.05"; or a function from a `Block` to a step.
    optimizer : Optimizer or str
        Takes the method's directions: ``SGD(lr=0.1)``, "sgd:lr=0.1", "adam". Method and optimizer start afresh
        (``reset()``), unless the run is resumed.
    epochs : int, default 10
        Number of epochs in all: those before a `resume` count.
    batch_size : int or None, default 100
        Samples in a mini-batch. If it does not divide the training set, the last batch of an epoch is shorter. None for
        the whole set as one batch, not shuffled, as needed by methods that keep lifted values of each sample.
    seed : int, default 0
        Seed of the shuffling, of the validation split and of layers that draw random numbers. The same seed gives
        all methods the same batches.
    validation : (X, y) or float, optional
        A validation set, or the fraction of the training set to split off at random (and not train on). The
        test set of a data set is never used.
    callbacks : callable or sequence of callables
        Each is called as ``callback(row, net, history)`` after every row of the history, including that of epoch 0
        (before training); `row` is a dict. If one returns True, training stops. If the run is then resumed, it goes
        on (the callback may have watched the clock), and the callback is called again after the next epoch.
    progress : bool or str, default True
        Show a progress bar (tqdm, on standard error); a string is its description, by default the method.
    early_stop : EarlyStop, optional
    checkpoint : path, optional
        Where to write checkpoints (`.npz`, atomically: there is always a whole one, the last or the next). An existing
        file of a run that is not being continued is kept with a ~ after its name (then ~2, ~3, …).
    checkpoint_every : int, default 1
        k, the number of epochs between checkpoints; one is always written at the end, even if the run had nothing
        left to do, but not after divergence.
        It is written after the callbacks of its epoch. A run that is killed loses the epoch in progress and at most k
        finished ones: those since the last checkpoint, which are k if the kill falls between the end of an epoch and
        the end of writing. When an epoch's callbacks are called, all checkpoints due before it are on the disk.
    resume : path or True, optional
        Continue the run of this checkpoint, bit for bit as if it had not been interrupted: the same data and
        settings are needed, but `epochs` may be larger. A function or a class of yours must have the same code and
        constants too (`minilift.support.settings.traits` says what is compared). True stands for the file that
        `checkpoint` names, or for a new run if that does not exist yet.
    team : Team, optional
        ``Team.mpi()`` in each of the processes that ``mpiexec -n 4`` started: they train one network, each on its part
        of the rows of every batch (see `minilift.training.ranks`). All pass the same arguments and hold the whole data
        set. A step is that of one process up to rounding (which a run may amplify, see `KFAC`), and bit-equal on all
        ranks, which is checked after each epoch. Rank 0 shows the progress, calls the callbacks and writes the
        checkpoint. All read the checkpoint to be resumed, whatever its number of ranks. An exception on one rank in
        training ends all processes.

    Returns
    -------
    History
        If a loss or parameter is not finite, training stops, and ``history.diverged`` says at which step and
        in which layer; likewise if the method raises an `ArithmeticError` (a local problem that cannot be
        solved to working precision), except a `ZeroDivisionError`, which is raised. No checkpoint is written then.
        The parameters are left as they are, unless `early_stop` restores the best ones.

    Raises
    ------
    ValueError, TypeError
        If an argument or the data are not as expected, or a checkpoint is damaged or belongs to another run.
    FileNotFoundError
        If there is no file to resume from, or no folder for checkpoints.
    OSError
        If checkpoints cannot be written.
    RuntimeError
        If ranks of a team do not hold the same bits; it names the rank and the array, and ends all processes.
    KeyboardInterrupt
        If the user interrupts; the last checkpoint is intact, and the network is as it was at that moment, perhaps in
        the middle of a step, whatever `early_stop` says. After any other exception it is as the last step left it.

    Examples
    --------
    >>> net, data = ml.mlp([64, 32, 10]), ml.datasets.digits()
    >>> history = ml.fit(net, data, "proxprop", "sgd:lr=10", epochs=3, progress=False)
    >>> [round(loss, 1) for loss in history["train_loss"]], net.accuracy(data.X_test, data.y_test) > 0.9
    ([2.3, 0.4, 0.2, 0.1], True)
    """
    checked_network("fit", net)
    data = pair_of("data", data)
    method, optimizer = named_method("fit: method", method), named_optimizer("fit: optimizer", optimizer)
    if early_stop is not None and not isinstance(early_stop, EarlyStop):
        raise TypeError(f"fit: early_stop must be an EarlyStop, got {shown(early_stop)}")
    epochs = whole_number("fit: epochs", epochs, least=0)
    batch_size = None if batch_size is None else whole_number("fit: batch_size", batch_size)
    checkpoint_every = whole_number("fit: checkpoint_every", checkpoint_every)
    callbacks = checked_callbacks(callbacks)
    if not isinstance(progress, (bool, str)):
        raise TypeError(f"fit: progress must be True, False or a description, got {shown(progress)}")
    check_paths(checkpoint, resume)
    split_seed, run_seed = np.random.SeedSequence(whole_number("fit: seed", seed, least=0)).spawn(2)
    train, held_out = split_data(net, data, validation, np.random.default_rng(split_seed))
    if early_stop is not None and early_stop.monitor == "val_loss" and held_out is None:
        raise ValueError("fit: early_stop monitors val_loss, but there is no validation set")
    if method.whole_batch and batch_size is not None:
        raise ValueError(f"fit: batch_size must be None for {method!r}, which keeps lifted values of each sample, got "
                         f"{batch_size}; made with variables='forward' it takes mini-batches")
    check_last_batch(net, train[0], batch_size)
    where = not_finite(net)
    if where is not None:
        raise ValueError(f"fit: {where} of the network is not finite before training")

    ranks = None if team is None or instance_of("fit: team", team, Team).size == 1 else Ranks(team, method)
    settings = {}
    if checkpoint is not None or resume is not None or ranks is not None:
        settings = describe_run(net, train, held_out, method, optimizer, batch_size, seed, early_stop)
    run = Run(net, method, optimizer, np.random.default_rng(run_seed), History(repr(method), look_of(method)))
    steps_per_epoch = -(-len(train[0]) // (batch_size or len(train[0])))
    source: Any = checkpoint if resume is True else resume
    guard = contextlib.nullcontext if ranks is None else ranks.team.guard
    if source is None or (resume is True and not Path(source).exists()):
        method.reset()
        optimizer.reset()
    else:
        with guard():
            run.load(source, settings, columns_of(net, held_out, method), steps_per_epoch, early_stop)
    if checkpoint is not None and (ranks is None or ranks.leads):
        set_aside(checkpoint, source)

    kept = beyond_settings(method) if settings else {}
    history = run.history
    history.stopped = None
    leads = ranks is None or ranks.leads
    if not leads:
        callbacks, progress = [], False
    with guard():
        if ranks is not None:
            run.ranks = ranks
            ranks.check_start(net, {**settings, "epochs": epochs, "the number of epochs done": len(history)})
        if not len(history):
            row = {"epoch": 0, "seconds": 0.0, "batch_loss": math.nan,
                   **metrics(net, method, train, held_out, batch_size, ranks)}
            run.record(row, early_stop)
            history.stopped = run.first(told_to_stop(callbacks, row, net, history))
    if early_stop is not None and history.stopped is None:
        history.stopped = early_stop.reason(history)

    saved = None  # the epoch of this call's last checkpoint
    with guard(), progress_bar(progress, history, epochs, steps_per_epoch) as bar:
        while len(history) <= epochs and history.stopped is None:
            epoch = len(history)
            started = time.perf_counter()
            outcome = run.train_epoch(*train, batch_size, epoch, bar)
            seconds = history["seconds"][-1] + time.perf_counter() - started
            if isinstance(outcome, Divergence):
                history.diverged = outcome
                break
            if settings and kept is not None:
                warn_of_memory(method, kept)
                kept = None
            row = {"epoch": epoch, "seconds": seconds, "batch_loss": outcome,
                   **metrics(net, method, train, held_out, batch_size, ranks)}
            if ranks is not None:
                ranks.check(net)
            history.diverged = divergence_after_epoch(net, row, run.steps)
            if history.diverged is not None:
                break
            run.record(row, early_stop)
            show(bar, row)
            history.stopped = run.first(told_to_stop(callbacks, row, net, history))
            if early_stop is not None and history.stopped is None:
                history.stopped = early_stop.reason(history)
            if checkpoint is not None and leads and epoch % checkpoint_every == 0:
                run.save(checkpoint, settings)
                saved = epoch
        if checkpoint is not None and leads and history.diverged is None and saved != len(history) - 1:
            run.save(checkpoint, settings)
        if bar is not None and history.diverged is not None:
            bar.set_postfix_str(str(history.diverged))
    if run.best is not None:
        net.load_state_dict(run.best)
    return history


def beyond_settings(method):
    """Return what a method holds beyond its part of a checkpoint, by name: a text for each attribute.

    A method that defines `state_dict` is not examined: it defines itself what it keeps.
    """
    if type(method).state_dict is not Method.state_dict:
        return {}
    return {name: fingerprint(value) for name, value in vars(method).items() if name not in arguments_of(type(method))}


def fingerprint(value):
    """Return a text that changes with the numbers in a value: arrays, or lists, tuples and dicts of them."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(fingerprint, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {fingerprint(item)}' for key, item in value.items())}}}"
    if isinstance(value, (*PLAIN, np.generic)):
        return repr(value)
    try:
        return f"{checksum(value)}"
    except TypeError:  # not an array: a network, for example, which has a dtype too
        return ""


def set_aside(checkpoint, source):
    """Keep, under another name, a file that checkpoints would overwrite, unless it is of the run being continued."""
    if os.path.exists(checkpoint) and (source is None or not os.path.samefile(checkpoint, source)):
        kept = moved_aside(checkpoint)
        warnings.warn(f"fit: checkpoint: {os.fspath(checkpoint)!r} was there already and is now {kept!r}; with "
                      "resume=True (--resume) a run goes on from its checkpoint", stacklevel=4)


def size_and_time(path):
    """Return the size of a file and when it was written, None if there is none."""
    if not os.path.exists(path):
        return None
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def warn_of_memory(method, kept):
    """Warn if a user's method has changed during an epoch in a way that a checkpoint does not record."""
    changed = [name for name, value in beyond_settings(method).items()
               if value != kept.get(name) and name not in method.columns]
    if changed:
        warnings.warn(f"fit: {method!r} changes {', '.join(changed)} as it trains, which is not in its state_dict(): a "
                      "run that is resumed goes on without it. Define reset, state_dict and load_state_dict; see "
                      "ml.Method", stacklevel=4)


@quiet()
def check_last_batch(net, X, batch_size):
    """Raise an error now, rather than during an epoch, if its last batch is one sample, too few for a batch norm."""
    size = min(batch_size or len(X), len(X))
    last = len(X) % size or size
    if last > 1 or not net.norms:
        return
    try:
        net.propagate(X[:1], training=True, rng=np.random.default_rng(0))
    except ValueError as error:
        raise ValueError(f"fit: batch_size={batch_size} leaves one of {len(X)} samples for the last batch: "
                         f"{error}") from error


def divergence_after_epoch(net, row, steps):
    """Return the `Divergence` if the training loss or a parameter is not finite after an epoch, else None."""
    layer = not_finite(net)
    if layer is not None:
        return Divergence(row["epoch"], steps, layer, f"{layer} is not finite")
    if not math.isfinite(row["train_loss"]):
        return Divergence(row["epoch"], steps, None, f"the loss of the training set is {row['train_loss']}")
    return None


def told_to_stop(callbacks, row, net, history):
    """Call the callbacks; return which of them asked to stop, or None."""
    stopping = [callback for callback in callbacks if is_true(callback(dict(row), net, history))]
    if not stopping:
        return None
    names = ", ".join(getattr(callback, "__name__", type(callback).__name__) for callback in stopping)
    return f"stopped by callback {names} in epoch {row['epoch']}"


def is_true(value):
    """Return whether a value is a boolean (Python's or NumPy's) and true; a figure, say, is not."""
    return isinstance(value, (bool, np.bool_)) and bool(value)


def progress_bar(progress, history, epochs, steps_per_epoch):
    """Return a context that gives a progress bar, or None if `progress` is False."""
    if progress is False:
        return contextlib.nullcontext()
    description = history.label if progress is True else progress
    done = (len(history) - 1) * steps_per_epoch
    return bar_class()(total=epochs * steps_per_epoch, initial=done, desc=description, unit="step")


def show(bar, row):
    """Show the measurements of a row on the bar."""
    if bar is not None:
        shown = [name for name in row if name.startswith(("train_", "val_"))]
        parts = [f"epoch {row['epoch']}", *(f"{name.replace('_', ' ')} {row[name]:.4g}" for name in shown)]
        bar.set_postfix_str(", ".join(parts))


def checked_callbacks(callbacks):
    """Return the callbacks as a list, or raise an error."""
    callbacks = [callbacks] if callable(callbacks) else callbacks
    if any(isinstance(one, EarlyStop) for one in (callbacks if isinstance(callbacks, (list, tuple)) else [callbacks])):
        raise TypeError("fit: callbacks are functions; an EarlyStop is given as early_stop=")
    callbacks = sequence("fit: callbacks", callbacks, "functions")
    return [function("fit: callbacks", callback, "(row, net, history)", 3) for callback in callbacks]


def check_paths(checkpoint, resume):
    """Raise an error now, rather than after the first epoch, if checkpoints cannot be written."""
    if resume is True and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint=, the file to continue from")
    if resume is False:
        raise TypeError("fit: resume must be a path, True or None, got False")
    if resume is not None and resume is not True:
        checked_path("fit: resume", resume)
    if checkpoint is not None and checked_path("fit: checkpoint", checkpoint).is_dir():
        raise ValueError(f"fit: checkpoint must be the path of a file, got the folder {str(checkpoint)!r}")
    if checkpoint is not None and not Path(checkpoint).parent.is_dir():
        raise FileNotFoundError(f"fit: checkpoint: there is no folder {str(Path(checkpoint).parent)!r}")
    if checkpoint is not None:
        check_writable(checkpoint)


def split_data(net, data, validation, rng):
    """Return the training set and the validation set (or None), checked, cast, on the network's backend."""
    train = checked_set(net, "data", data)
    if validation is None:
        return train, None
    if isinstance(validation, (tuple, list, Dataset)):
        return train, checked_set(net, "validation", validation)
    fraction = number_between("fit: validation, if no (X, y),", validation, 0, 1)
    X, y = train
    held_out = round(fraction * len(X))
    if not 0 < held_out < len(X):
        raise ValueError(f"fit: validation={fraction} of {len(X)} samples leaves {held_out} to validate and "
                         f"{len(X) - held_out} to train on")
    order = net.xp.asarray(rng.permutation(len(X)))
    rest, held_out = order[held_out:], order[:held_out]
    return (X[rest], y[rest]), (X[held_out], y[held_out])


def pair_of(what, data):
    """Return the given (X, y), or the training part of a data set, or raise an error."""
    if what == "data" and hasattr(data, "X_train"):
        return data.X_train, data.y_train
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        what = {"data": "data must be a pair (X, y) or a Dataset, such as ml.datasets.digits()",
                "validation": "validation must be a pair (X, y), such as (data.X_test, data.y_test), or a share"}[what]
        raise TypeError(f"fit: {what}, got {type(data).__name__}"
                        + (f" of {len(data)}" if isinstance(data, (tuple, list)) else ""))
    return data


def checked_set(net, what, data):
    """Return one set (X, y), checked and cast, or raise an error that names the argument."""
    pair = pair_of(what, data)
    try:
        with quiet():  # a cast may overflow, which the check then reports
            return net.checked_batch(*pair)
    except (ValueError, TypeError) as error:
        raise type(error)(f"fit: {what}: {error}") from error


def describe_run(net, train, validation, method, optimizer, batch_size, seed, early_stop):
    """Return everything that must be the same for a run to be continued from a checkpoint."""
    parts = {"network": net, "method": method, "optimizer": optimizer, "early_stop": early_stop}
    return {**describe(parts), "batch_size": batch_size, "seed": int(seed),
            "training data": describe_data(train), "validation data": describe_data(validation)}


def describe_data(data):
    """Return the size and checksum of a data set as text."""
    return "none" if data is None else f"{len(data[0])} samples (checksum {checksum(*data):08x})"
