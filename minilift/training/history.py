r"""The record of a training run: its rows (`History`), how it diverged, and when to stop early."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from minilift.support.arguments import (
    boolean,
    checked_path,
    instance_of,
    known_name,
    real_number,
    shown,
    text,
    unknown_name,
    whole_number,
)
from minilift.support.files import write_bytes
from minilift.support.settings import Settings
from minilift.support.spellings import guided
from minilift.support.tables import html

SHOWN_ROWS = 12  # rows of a history shown in a notebook; of a longer one, the first and the last


@dataclass(frozen=True)
class Divergence:
    """Where and how a run diverged.

    Attributes
    ----------
    epoch : int
        The epoch in progress, counted from 1.
    step : int
        Number of steps taken when the divergence was detected: at the first loss that is not finite, or at the
        end of the epoch.
    layer : str or None
        The first array that was not finite: "theta_2", else "z_2" of the last batch, else None.
    reason : str
    """

    epoch: int
    step: int
    layer: str | None
    reason: str

    def __str__(self):
        return f"diverged in epoch {self.epoch} after {self.step} steps: {self.reason}"


@guided
class History:
    """What `fit` recorded: one row for the network before training (epoch 0) and one after each epoch.

    ``history["train_loss"]`` is a column, a list; ``len(history)`` is the number of rows. Two
    histories are equal if everything in them is equal, including seconds; NaN equals NaN. The columns are

    - ``epoch``: 0, 1, …
    - ``seconds``: wall-clock time of training so far (forward passes, directions, steps), without evaluation,
      callbacks and checkpoints;
    - ``batch_loss``: mean of the mini-batches' losses during the epoch, each before its step (NaN in row 0);
    - ``train_loss``, ``train_accuracy``: over the whole training set at the end of the epoch;
    - ``val_loss``, ``val_accuracy``: the same over the validation set, if there is one;
    - what the method measures, by the names in its `columns`, such as ``energy``.

    Only classification losses have accuracies.

    Attributes
    ----------
    label : str
        The method, as text.
    look : str
        The method's name in `minilift.plots.METHOD_STYLE`, which gives its line style in figures; "" if it has none.
    diverged : Divergence or None
        Set if the run stopped because a loss or parameter is not finite, or a local problem could not be solved
        (`ArithmeticError`); the epoch in progress has no row.
    stopped : str or None
        Which early stop or callback ended the run, which may have been after the last epoch.

    Examples
    --------
    >>> net, data = ml.mlp([64, 10]), ml.datasets.digits()
    >>> history = ml.fit(net, data, "backprop", "sgd:lr=1", epochs=2, progress=False)
    >>> history["epoch"], list(history.columns)
    ([0, 1, 2], ['epoch', 'seconds', 'batch_loss', 'train_loss', 'train_accuracy'])
    >>> round(history["train_accuracy"][-1], 1), history.status
    (0.9, 'completed')
    """

    def __init__(self, label: str = "", look: str = "") -> None:
        self.label, self.look = text("History: label", label), text("History: look", look)
        self.diverged: Divergence | None = None
        self.stopped: str | None = None
        self.columns: dict[str, list] = {}

    def __len__(self) -> int:
        return len(self.columns.get("epoch", ()))

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> list[Any]:
        if not isinstance(name, str):
            raise KeyError(f"History: columns go by name, as in history['train_loss'][-1], got {shown(name)} (known: "
                           f"{', '.join(self.columns)})")
        if name not in self.columns:
            raise KeyError(str(unknown_name("History: column", name, tuple(self.columns))))
        return self.columns[name]

    def __eq__(self, other: object) -> bool:
        return self.as_dict() == other.as_dict() if isinstance(other, History) else NotImplemented

    __hash__ = Settings.__hash__  # rows are appended: a hash of them would go stale in a dict

    def append(self, row: dict[str, Any]) -> None:
        """Append a row, a dict with the same keys every time."""
        instance_of("History: row", row, dict)
        if self.columns and set(row) != set(self.columns):
            raise ValueError(f"History: a row must have the columns {list(self.columns)}, got {list(row)}")
        numbers = {name: python_number(f"History: {name!r} in a row", value) for name, value in row.items()}
        for name, number in numbers.items():
            self.columns.setdefault(name, []).append(number)

    @property
    def above_start(self) -> bool:
        """Whether the run ended at a finite training loss above that of the network before training."""
        losses = self.columns.get("train_loss", ())
        return self.diverged is None and len(losses) > 1 and losses[-1] > losses[0]

    @property
    def status(self) -> str:
        """How the run ended, in words."""
        if self.diverged is not None:
            return str(self.diverged)
        above = "ended above the starting loss" if self.above_start else ""
        return "; ".join(filter(None, [self.stopped, above])) or "completed"

    def __repr__(self):
        if not len(self):
            return f"History({self.label}: empty)"
        changes = [f"{name} {self[name][0]:.4g} → {self[name][-1]:.4g}" for name in self.columns
                   if name.endswith(("_loss", "_accuracy")) and name != "batch_loss"]
        took = f" in {self['seconds'][-1]:.3g} s" if "seconds" in self else ""  # not in rows of one's own
        epochs = f"{len(self) - 1} epoch{'s' * (len(self) != 2)}{took}"
        return f"History({self.label}: {', '.join([epochs, *changes])}; {self.status})"

    def _repr_html_(self):
        rows = [[f"{value:.4g}" for value in row] for row in zip(*self.columns.values())]
        if len(rows) > SHOWN_ROWS:
            half = SHOWN_ROWS // 2
            rows = [*rows[:half], ["…"] * len(self.columns), *rows[-half:]]
        head = [name.replace("_", " ") for name in self.columns]
        return html([head, *rows], f"History: {self.label}", [self.status])

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the columns to a CSV file, atomically."""
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(zip(*self.columns.values()))
        write_bytes(checked_path("to_csv: path", path), lines.getvalue().encode())

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a JSON file, atomically; `from_json` reads it back without loss.

        Numbers that JSON does not have are written as the strings "nan", "inf" and "-inf".
        """
        write_bytes(checked_path("to_json: path", path), json.dumps(self.as_dict(), indent=1, allow_nan=False).encode())

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> History:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If the file is not the JSON of a history.
        FileNotFoundError
            If there is no file.
        """
        file = checked_path("from_json: path", path)
        if not file.exists():
            raise FileNotFoundError(f"from_json: path: there is no file {shown(str(file))}; one that to_json wrote is "
                                    "expected (from_dict takes what json.loads makes of its text)")
        try:
            return cls.from_dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}: not a history written by minilift ({error})") from error

    def as_dict(self) -> dict[str, Any]:
        """Return everything as a dict that JSON can hold."""
        columns = {name: [as_json_number(value) for value in column] for name, column in self.columns.items()}
        diverged = None if self.diverged is None else asdict(self.diverged)
        return {"label": self.label, "look": self.look, "diverged": diverged, "stopped": self.stopped,
                "columns": columns}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """Return the history that `as_dict` described.

        Raises
        ------
        ValueError, TypeError
            If something is missing or has the wrong type, or the columns differ in length.
        """
        if "columns" in instance_of("from_dict: values", values, dict):
            values = {"look": "", **values}  # those of former versions have no look
        label, look, stopped, diverged, columns = fields(values, "a history", {
            "label": str, "look": str, "stopped": str | None, "diverged": dict | None, "columns": dict})
        history = cls(label, look)
        history.stopped = stopped
        if diverged is not None:
            history.diverged = Divergence(*fields(diverged, "diverged", {
                "epoch": int, "step": int, "layer": str | None, "reason": str}))
        history.columns = {name: number_column(name, column) for name, column in columns.items()}
        if columns and "epoch" not in columns:
            raise ValueError("the column 'epoch' is missing")
        if len({len(column) for column in history.columns.values()}) > 1:
            raise ValueError("the columns differ in length")
        return history

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Return a matplotlib figure of the run; with `path` also write it, in the format of its suffix."""
        from minilift.training import curves

        form = "png" if path is None or not checked_path("plot: path", path).suffix else curves.checked_format(path)
        figure = curves.history({self.label or "training": self})
        if path is not None:
            image = io.BytesIO()
            figure.savefig(image, format=form)
            write_bytes(path, image.getvalue())
        return figure


def python_number(what, value):
    """Return a number of Python or NumPy as a Python int or float, which JSON can hold."""
    number = real_number(what, value)
    return int(value) if isinstance(value, (int, np.integer)) else number


def as_json_number(value):
    """Return a finite number unchanged, any other as text that `float` reads."""
    return value if math.isfinite(value) else str(value)


def fields(values, what, types):
    """Return the values of a dict with exactly these names, each of its type, or raise an error."""
    if not isinstance(values, dict) or set(values) != set(types):
        got = sorted(values, key=str) if isinstance(values, dict) else repr(values)
        raise ValueError(f"{what} must hold {', '.join(types)}, got {got}")
    for name, kind in types.items():
        if not isinstance(values[name], kind) or isinstance(values[name], bool):
            raise TypeError(f"{name} of {what} must be {getattr(kind, '__name__', kind)}, got {values[name]!r}")
    return [values[name] for name in types]


def number_column(name, column):
    """Return a column of numbers, where those that JSON does not have are given as text; or raise an error."""
    if not isinstance(column, list):
        raise TypeError(f"column {name!r} must be a list, got {column!r}")
    numbers = [float(value) if value in ("nan", "inf", "-inf") else value for value in column]
    for number in numbers:
        if not isinstance(number, (int, float)):
            raise TypeError(f"column {name!r} must hold numbers, got {number!r}")
    return numbers


class EarlyStop(Settings):
    """Stop when a loss has not reached a new minimum for `patience` epochs.

    Parameters
    ----------
    patience : int, default 5
    monitor : {"val_loss", "train_loss"}, optional
        By default the validation loss if there is a validation set, else the training loss.
    restore_best : bool, default False
        Whether `fit` leaves the network with the parameters of the epoch of lowest loss whenever it returns, even
        after divergence; an exception, such as an interrupt, leaves the network as it was after the last step.

    Examples
    --------
    >>> net, data = ml.mlp([64, 10]), ml.datasets.digits()
    >>> history = ml.fit(net, data, "backprop", "sgd:lr=0", epochs=50, validation=0.2, progress=False,
    ...                  early_stop=ml.EarlyStop(patience=3))
    >>> len(history), history.stopped
    (4, 'early stop: val_loss is lowest in epoch 0, 3 epochs ago')
    """

    shown_always = ("patience", "monitor", "restore_best")

    def __init__(self, patience: int = 5, monitor: str | None = None, restore_best: bool = False) -> None:
        self.patience = whole_number("EarlyStop: patience", patience)
        if monitor is not None:
            known_name("EarlyStop: monitor", monitor, ("val_loss", "train_loss"))
        self.monitor, self.restore_best = monitor, boolean("EarlyStop: restore_best", restore_best)

    def column(self, history: History) -> str:
        """Return the name of the monitored column."""
        instance_of("EarlyStop: history", history, History)
        return self.monitor or ("val_loss" if "val_loss" in history else "train_loss")

    def best_epoch(self, history: History) -> int:
        """Return the first epoch with the lowest loss; a loss that is NaN is never the lowest."""
        losses = [math.inf if math.isnan(loss) else loss for loss in history[self.column(history)]]
        return losses.index(min(losses))

    def reason(self, history: History) -> str | None:
        """Return why training should stop now, or None."""
        best = self.best_epoch(history)
        if len(history) - 1 - best < self.patience:
            return None
        return f"early stop: {self.column(history)} is lowest in epoch {best}, {self.patience} epochs ago"
