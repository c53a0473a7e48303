r"""The papers' experiments: ``minilift reproduce EXPERIMENT --scale small | medium | paper``.

An experiment is a list of independent runs: one network, method and step size, trained from one seed. Each finished
run leaves one JSON file in the results folder and is not done again; one that was interrupted continues from its
checkpoint. At the end stand a table and a figure with the paper's numbers beside ours, and for each claim of the paper
a verdict: *holds* (for every seed), *fails* (for none) or *unclear*. A run that diverges is a result ("-").

Runs go to ``joblib``, one at a time or in parallel (``--jobs``). Whatever backend joblib has been given serves, so that
a cluster takes two lines, provided its machines see the results folder:

.. code-block:: python

    with joblib.parallel_config("dask"):  # after client = dask.distributed.Client(…); likewise "ray"
        minilift.reproduce.reproduce("proxprop-table1", scale="paper", folder="/shared/table1", jobs=100)

Where methods are tuned, all have the same number of step sizes to choose from, those of the experiment's grid below;
the choice is made by the training loss of the first seed at the end, and the other seeds run with it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilift import datasets
from minilift.arguments import known_name, whole_number
from minilift.backend import BACKENDS
from minilift.bench import columns, describe, machine, select, step_cells
from minilift.files import read_npz, write_text
from minilift.losses import SigmoidCrossEntropy
from minilift.methods import BackProp, LocoProp, ProxProp, SemiImplicit
from minilift.models import convnet, mlp
from minilift.optim import SGD, Adam, HeavyBall, Nesterov, RMSProp, WarmupLinear
from minilift.train import History, evaluate, fit

SCALES = ("small", "medium", "paper")


# ------------------------------------------------------------------------------------------ what is run


@dataclass(frozen=True)
class Setting:
    """The size of an experiment.

    Attributes
    ----------
    data : tuple of str
        Names of the data sets; each is an experiment of its own.
    samples : int
        Training samples taken, validation included; all if there are fewer.
    widths : tuple of int
        Of the network; channels of the convolutions for a ConvNet.
    epochs, batch, seeds : int
    """

    data: tuple
    samples: int
    widths: tuple
    epochs: int
    batch: int
    seeds: int = 3


class Variant(NamedTuple):
    """One way of training: a method's label, a step size, how to make the method and its optimizer, and how long.

    `times` is the number of epochs as a multiple of the setting's.
    """

    label: str
    step: float
    method: Callable
    optimizer: Callable
    times: int = 1


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes
    ----------
    title : str
    settings : dict of scale → Setting
    network : callable
        From (setting, data, seed, backend) to a network.
    variants : callable
        From a setting to a list of `Variant`.
    claims : callable
        From `Results` to a list of `Verdict`.
    paper : dict
        Numbers of the paper, drawn beside ours.
    validation : float
        Share of the training samples held out.
    tuned : bool
        Whether each label's step size is chosen with the first seed; else all variants run with all seeds.
    figure : {"steps", "curves"}
        Final loss against the step size, or curves over epochs and seconds.
    note : str
        What a reader of the table must know.
    """

    title: str
    settings: dict
    network: Callable
    variants: Callable
    claims: Callable
    paper: dict
    validation: float = 0.1
    tuned: bool = False
    figure: str = "curves"
    note: str = ""


class Job(NamedTuple):
    """One run."""

    data: str
    label: str
    step: float
    seed: int

    @property
    def key(self):
        """Name of its files."""
        return re.sub(r"[^\w.+-]", "-", f"{self.data}_{self.label}_{self.step:g}_{self.seed}")


class Verdict(NamedTuple):
    """What became of a claim: holds, fails or unclear, with the numbers."""

    claim: str
    verdict: str
    numbers: str


# ------------------------------------------------------------------------------------------ experiments


def classifier(setting, data, seed, backend):
    """Return a ReLU network for labels, the widths being those of the hidden layers."""
    widths = [data.X_train.shape[1], *setting.widths, data.n_classes]
    return mlp(widths, "relu", seed=seed, backend=backend)


def image_classifier(setting, data, seed, backend):
    """Return ProxProp's ConvNet, with the channels of the setting."""
    return convnet(data.image_shape, setting.widths, data.n_classes, seed=seed, backend=backend, input_layout="flat")


def sibp_classifier(setting, data, seed, backend):
    """Return Semi-Implicit BP's network, with parameters from N(0, 0.05²)."""
    widths = [data.X_train.shape[1], *setting.widths, data.n_classes]
    return mlp(widths, "relu", seed=seed, backend=backend, init=0.05)


def autoencoder(setting, data, seed, backend):
    """Return LocoProp's kind of autoencoder: tanh, a linear code layer, Glorot's initialisation."""
    half = list(setting.widths)
    widths = [data.X_train.shape[1], *half, *half[-2::-1], data.X_train.shape[1]]
    hidden = ["tanh"] * (len(widths) - 2)
    hidden[len(half) - 1] = "identity"
    return mlp(widths, hidden, SigmoidCrossEntropy(), seed=seed, backend=backend, init="glorot")


TABLE1_STEPS = (50, 10, 5, 1, 0.5, 0.1, 0.05, 5e-3, 5e-4)
TABLE1 = {  # ProxProp, Table 1: training loss after 50 epochs; None: diverged
    "backprop": (None, None, None, None, None, 0.524, 0.091, 0.637, 1.531),
    "cg1": (77.9, 0.079, 0.145, 0.667, 0.991, 1.481, 1.593, 1.881, 2.184),
    "cg3": (94.7, 0.644, 0.031, 2e-3, 0.012, 1.029, 1.334, 1.814, 2.175),
    "cg5": (66.5, 0.190, 0.027, 3e-4, 2e-3, 0.399, 1.049, 1.765, 2.175),
}


def nesterov(lr):
    """Return ProxProp's optimizer."""
    return Nesterov(lr, momentum=0.95)


def table1_variants(setting):
    """Every method with every τ; the exact solve, which the paper's table does not have, too."""
    methods = {"backprop": BackProp, **{f"cg{k}": partial(ProxProp, 1.0, f"cg{k}") for k in (1, 3, 5)},
               "proxprop": partial(ProxProp, 1.0)}
    return [Variant(label, tau, method, partial(nesterov, tau)) for label, method in methods.items()
            for tau in TABLE1_STEPS]


def fig2_variants(setting):
    """BackProp with its best τ of Table 1 against exact and inexact ProxProp with τ = 1, τ_θ = 0.05."""
    methods = {"proxprop": "exact", "cg3": "cg3", "cg5": "cg5", "cg10": "cg10"}
    return [Variant("backprop", 0.05, BackProp, partial(nesterov, 0.05)),
            *(Variant(label, 1.0, partial(ProxProp, 0.05, solver), partial(nesterov, 1.0))
              for label, solver in methods.items())]


def fig3_variants(setting):
    """Adam on the directions; CG with one step length for a whole tensor, as the authors do for convolutions."""
    methods = {"backprop": BackProp, "cg3": partial(ProxProp, 1.0, "cg3", joint=True),
               "cg10": partial(ProxProp, 1.0, "cg10", joint=True), "proxprop": partial(ProxProp, 1.0)}
    return [Variant(label, 1e-3, method, partial(Adam, 1e-3)) for label, method in methods.items()]


FIRST_ORDER = {"sgd": (SGD, 1.0), "momentum": (HeavyBall, 0.1), "adam": (Adam, 0.1), "rmsprop": (RMSProp, 0.1)}
GRID = tuple(10 ** (-k / 2) for k in range(7))  # seven rates, each 0.316 of the one before


LONG = 7  # in matrix products a LocoProp step with ten local steps is (3 + 2 · 9)/3 BackProp steps


def locoprop_variants(setting):
    """Seven base rates for each; the same schedule, the notebook's, for all: warm-up, then linear decay.

    So that methods can be compared at equal seconds, each with a schedule made for that time, BackProp runs for as many
    epochs as LocoProp and, under another label, for as many as take about LocoProp's time.
    """
    def schedule(rate, times=1):
        epochs = setting.epochs * times
        return WarmupLinear(rate, warmup=min(5, epochs), epochs=epochs)

    backprop = [Variant(f"backprop:{name}{suffix}", largest * part, BackProp,
                        partial(optimizer, schedule(largest * part, times)), times)
                for times, suffix in ((1, ""), (LONG, " long"))
                for name, (optimizer, largest) in FIRST_ORDER.items() for part in GRID]
    return backprop + [Variant(f"locoprop-{variant.lower()}", 1e-3 * part,
                               partial(LocoProp, variant, gamma=10.0, steps=10, local_lr=schedule(1e-3 * part)),
                               partial(SGD, 1.0)) for variant in "SM" for part in GRID]


def sibp_variants(setting):
    """Seven η for SIBP (its paper: 0.1, λ = 1) and as many rates for plain BackProp, both from 10 down.

    SIBP's η is a step on the summed loss, BackProp's rate one on the mean: η times the batch size.
    """
    return [*(Variant("backprop", 10 * part, BackProp, partial(SGD, 10 * part)) for part in GRID),
            *(Variant("semi-implicit", 10 * part, partial(SemiImplicit, 10 * part, 1.0), partial(SGD, 1.0))
              for part in GRID)]


def usps_variants(setting):
    """BackProp and ProxProp, Nesterov's momentum, seven rates each: from 0.1 down, and from 100 down."""
    methods = {"backprop": (BackProp, 0.1), "proxprop": (partial(ProxProp, 1.0), 100.0),
               "cg3": (partial(ProxProp, 1.0, "cg3"), 100.0)}
    return [Variant(label, largest * part, method, partial(nesterov, largest * part))
            for label, (method, largest) in methods.items() for part in GRID]


# ------------------------------------------------------------------------------------------------- claims


class Results:
    """All records of an experiment, and what is asked of them."""

    def __init__(self, experiment, setting, records):
        self.experiment, self.setting, self.records = experiment, setting, records

    def select(self, **wanted):
        """Return the records whose entries are as wanted."""
        return [record for record in self.records if all(record[key] == value for key, value in wanted.items())]

    @property
    def data(self):
        """Names of the data sets."""
        return list(dict.fromkeys(record["data"] for record in self.records))

    @property
    def labels(self):
        """Labels of the methods."""
        return list(dict.fromkeys(record["label"] for record in self.records))

    @property
    def seeds(self):
        """All seeds."""
        return sorted({record["seed"] for record in self.records})

    def steps(self, data, label):
        """Return the step sizes of a method, largest first."""
        return sorted({record["step"] for record in self.select(data=data, label=label)}, reverse=True)

    def best_step(self, data, label):
        """Return the step size with the lowest training loss of the first seed."""
        return min(self.select(data=data, label=label, seed=self.seeds[0]), key=final_loss)["step"]

    def at_edge(self, data, label):
        """Whether the best step size is the grid's first or last, so that a better one may lie outside."""
        steps = self.steps(data, label)
        return len(steps) > 1 and self.best_step(data, label) in (steps[0], steps[-1])

    def chosen(self, data, label):
        """Return the records of a method with its best step size, by seed."""
        records = self.select(data=data, label=label, step=self.best_step(data, label))
        return sorted(records, key=lambda record: record["seed"])


def final_loss(record):
    """Return the training loss at the end, inf if the run diverged."""
    return math.inf if record["history"].diverged else record["history"]["train_loss"][-1]


def trains(record):
    """Whether a run ended below nine tenths of the loss it began with (a dead network stays about there)."""
    return final_loss(record) < 0.9 * record["history"]["train_loss"][0]


def verdict(claim, outcomes, numbers):
    """Return the `Verdict` for one outcome a seed: holds if all are true, fails if none is."""
    word = "holds" if all(outcomes) else "unclear" if any(outcomes) else "fails"
    return Verdict(claim, f"{word} ({sum(outcomes)} of {len(outcomes)} seeds)", numbers)


def text(value):
    """Return a number, or the paper's sign for a run that diverged."""
    return f"{value:.3g}" if value is not None and math.isfinite(value) else "-"


def texts(values):
    """Return several numbers."""
    return ", ".join(map(text, values))


def table1_claims(results):
    """The paper: τ up to 10 instead of 0.1 (τ = 50 ends above its start), best loss 3e-4 instead of 0.091."""
    data, verdicts = results.data[0], []
    inexact = [label for label in results.labels if label.startswith("cg")]
    theirs = [best_of_row(results, data, ["backprop"], seed) for seed in results.seeds]
    for name, labels in ((f"ProxProp ({', '.join(inexact)})", inexact), ("exact ProxProp", ["proxprop"])):
        ours = [best_of_row(results, data, labels, seed) for seed in results.seeds]
        both = list(zip(ours, theirs))
        verdicts += [
            verdict(f"{name}: the largest τ that trains is at least 10 times BackProp's (paper: 100 times)",
                    [a[0] >= 10 * b[0] * (1 - 1e-9) for a, b in both],
                    f"{texts(a[0] for a in ours)} against {texts(b[0] for b in theirs)}"),
            verdict(f"{name}: the best training loss is at least 10 times lower (paper: 300 times)",
                    [10 * a[1] <= b[1] for a, b in both],
                    f"{texts(a[1] for a in ours)} against {texts(b[1] for b in theirs)}")]
    return verdicts


def best_of_row(results, data, labels, seed):
    """Return the largest step size that trains and the lowest final loss, of some methods with one seed."""
    records = [record for label in labels for record in results.select(data=data, label=label, seed=seed)]
    return (max((record["step"] for record in records if trains(record)), default=0.0),
            min(map(final_loss, records)))


def lower_loss(results, data, label, others, when="at the end", at=final_loss):
    """Return the verdict on `label` having the lower training loss than all `others`, as far as they were tuned."""
    ours = [at(record) for record in results.chosen(data, label)]
    theirs = [min(map(at, records)) for records in zip(*(results.chosen(data, other) for other in others))]
    rivals = others[0] if len(others) == 1 else f"the best of {', '.join(others)}"
    found = verdict(f"{data}: {label} below {rivals} in training loss, {when}",
                    [a < b for a, b in zip(ours, theirs)], f"{texts(ours)} against {texts(theirs)}")
    won = found.verdict.startswith("holds")
    edge = [name for name in (others if won else [label]) if results.at_edge(data, name)]
    if not edge or found.verdict.startswith("unclear"):
        return found
    note = f"the best step size of {', '.join(edge)} is at the edge of the grid"
    return found._replace(verdict=f"unclear ({found.verdict}, but {note})")


def loss_after(seconds, record):
    """Return the training loss after so many seconds of training, interpolated between epochs."""
    history = record["history"]
    if history.diverged:
        return math.inf
    return float(np.interp(seconds, history["seconds"], history["train_loss"]))


def lower_by_epochs_and_seconds(results, data, label, others, longer=None):
    """Return the verdicts on `label` at equal epochs, and at equal seconds (those that the fastest took).

    `longer` names the runs to compare with at equal seconds, if not `others`: step sizes and schedules of those are
    tuned for equal epochs, and at equal seconds a slower method is in mid-schedule.
    """
    longer = longer or others
    seconds = min(record["history"]["seconds"][-1] for name in (label, *longer)
                  for record in results.chosen(data, name))
    return [lower_loss(results, data, label, others),
            lower_loss(results, data, label, longer, f"after {seconds:.3g} s", partial(loss_after, seconds))]


def fig2_claims(results):
    """The paper: faster over epochs and over seconds, and the better test accuracy (56 % against 54 %)."""
    data = results.data[0]
    verdicts = [one for label in results.labels[1:]
                for one in lower_by_epochs_and_seconds(results, data, label, ["backprop"])]
    return verdicts + [higher_accuracy(results, label, "test_accuracy", last, "test accuracy") for label in
                       results.labels[1:]]


def fig3_claims(results):
    """The paper: best validation accuracy 72.9 % against 71.7 %, test accuracy 70.7 % against 69.6 %."""
    return [one for label in results.labels[1:] for one in
            (higher_accuracy(results, label, "val_accuracy", highest, "best validation accuracy"),
             higher_accuracy(results, label, "test_accuracy", last, "test accuracy"))]


def last(record, name):
    """Return an entry of a record."""
    return record[name] if record[name] is not None else -math.inf


def highest(record, column):
    """Return the largest value of a column of a record's history."""
    return max(record["history"][column])


def higher_accuracy(results, label, name, measure, words):
    """Return the verdict on a method having the higher accuracy than BackProp."""
    data = results.data[0]
    ours, theirs = ([measure(record, name) for record in results.chosen(data, one)] for one in (label, "backprop"))
    return verdict(f"{data}: {label} above backprop in {words}", [a > b for a, b in zip(ours, theirs)],
                   f"{texts(ours)} against {texts(theirs)}")


def locoprop_claims(results):
    """LocoProp-M below tuned first-order BackProp, per epoch and per second; S likewise."""
    first_order = [f"backprop:{name}" for name in FIRST_ORDER]
    longer = [f"{label} long" for label in first_order]
    return [one for data in results.data for label in ("locoprop-m", "locoprop-s")
            for one in lower_by_epochs_and_seconds(results, data, label, first_order, longer)]


def against_backprop(results):
    """Every other method below BackProp, per epoch and per second."""
    return [one for data in results.data for label in results.labels if label != "backprop"
            for one in lower_by_epochs_and_seconds(results, data, label, ["backprop"])]


PAPER_WIDTHS, CODE_WIDTHS = (4000, 1000, 4000), (1000, 500, 250, 30)
EXPERIMENTS = {
    "proxprop-table1": Experiment(
        "ProxProp, Table 1: training loss at the end, for each τ",
        {"small": Setting(("digits",), 1437, (128, 64, 128), 30, 100),
         "medium": Setting(("cifar10",), 10_000, (500, 200, 500), 50, 500, seeds=1),
         "paper": Setting(("cifar10",), 50_000, PAPER_WIDTHS, 50, 500, seeds=1)},
        classifier, table1_variants, table1_claims, TABLE1, figure="steps"),
    "proxprop-fig2": Experiment(
        "ProxProp, Fig. 2: exact and inexact solves",
        {"small": Setting(("digits",), 1437, (128, 64, 128), 30, 100),
         "medium": Setting(("cifar10",), 10_000, (500, 200, 500), 50, 500),
         "paper": Setting(("cifar10",), 50_000, PAPER_WIDTHS, 50, 500)},
        classifier, fig2_variants, fig2_claims, {"test accuracy": {"backprop": 0.54, "proxprop": 0.56}}),
    "proxprop-fig3": Experiment(
        "ProxProp, Fig. 3: ConvNet with Adam",
        {"small": Setting(("digits",), 1437, (8, 12, 12), 20, 100),
         "medium": Setting(("cifar10",), 10_000, (16, 20, 20), 20, 500),
         "paper": Setting(("cifar10",), 50_000, (16, 20, 20), 50, 500)},
        image_classifier, fig3_variants, fig3_claims,
        {"best validation accuracy": {"backprop": 0.717, "proxprop": 0.729},
         "test accuracy": {"backprop": 0.696, "proxprop": 0.707}}),
    "locoprop-autoencoder": Experiment(
        "LocoProp: deep autoencoder",
        {"small": Setting(("curves",), 1000, (100, 50, 10), 20, 100),
         "medium": Setting(("mnist",), 10_000, (500, 250, 125, 30), 25, 500),
         "paper": Setting(("mnist", "fashion_mnist", "curves"), 60_000, CODE_WIDTHS, 100, 1000)},
        autoencoder, locoprop_variants, locoprop_claims,
        {"mnist": {"locoprop-m": (547.2, 547.2, 122.7, 80.7, 69.6, 65.2, 62.9, 61.3, 60.2, 59.4, 58.7, 58.2, 57.8,
                                  57.3, 57.0)}}, validation=0.0, tuned=True,
        note=f"long: {LONG} times the epochs, the time of LocoProp's runs as counted in matrix products"),
    "sibp-mnist": Experiment(
        "Semi-Implicit BP: one hidden layer",
        {"small": Setting(("digits",), 1437, (50,), 10, 100),
         "medium": Setting(("mnist",), 10_000, (500,), 10, 100),
         "paper": Setting(("mnist",), 60_000, (500,), 20, 100)},
        sibp_classifier, sibp_variants, against_backprop, {}, tuned=True),
    "usps-autoencoder": Experiment(
        "USPS autoencoder (settings ours; those of ProxProp's first version are not published)",
        {"small": Setting(("digits",), 1437, (32, 16, 8), 30, 100),
         "medium": Setting(("usps",), 2000, (128, 64, 32, 16), 30, 100),
         "paper": Setting(("usps",), 7291, (128, 64, 32, 16), 100, 100)},
        autoencoder, usps_variants, against_backprop, {}, validation=0.0, tuned=True),
}


# ---------------------------------------------------------------------------------------------------- runs


@lru_cache(maxsize=2)
def load_data(experiment, name, samples, path):
    """Return a data set, cut to a number of training samples; an autoencoder's targets are its inputs."""
    data = read_data(path) if path else datasets.load(name, **({"n_train": samples} if name == "curves" else {}))
    data = replace(data, X_train=data.X_train[:samples], y_train=data.y_train[:samples])
    return data.autoencoder() if EXPERIMENTS[experiment].network is autoencoder else data


def read_data(path):
    """Return the data set of an `.npz` file with X_train, y_train, X_test, y_test, or raise an error.

    Images are (N, height, width, channels) or flat, uint8 or numbers in [0, 1]; labels are whole numbers from 0.
    """
    arrays = read_npz(path)
    for name in ("X_train", "y_train", "X_test", "y_test"):
        if name not in arrays:
            raise ValueError(f"--data: {path} has no {name}; it holds {', '.join(sorted(arrays)) or 'nothing'}")
    shape = arrays["X_train"].shape[1:]
    parts = []
    for part in ("train", "test"):
        X = arrays[f"X_{part}"]
        white = 255 if X.dtype == np.uint8 else 1
        parts += [X.reshape(len(X), -1).astype(np.float32) / np.float32(white), arrays[f"y_{part}"].astype(np.int64)]
    return datasets.Dataset(Path(path).stem, *parts, image_shape=shape if len(shape) == 3 else None,
                            n_classes=int(arrays["y_train"].max()) + 1, source=str(path))


def run_job(options, job, callback=None):
    """Do one run, or take it up where it stopped, or read its result if it is finished; return the record."""
    path = Path(options["folder"]) / "runs" / f"{job.key}.json"
    if path.exists():
        return read_record(path)
    from threadpoolctl import threadpool_limits

    experiment, setting = EXPERIMENTS[options["experiment"]], Setting(**options["setting"])
    data = load_data(options["experiment"], job.data, setting.samples, options["data"])
    variant = next(v for v in experiment.variants(setting) if (v.label, v.step) == (job.label, job.step))
    epochs = setting.epochs * variant.times
    net = experiment.network(setting, data, job.seed, options["backend"])
    checkpoint = path.with_suffix(".npz")
    with threadpool_limits(options["threads"], user_api="blas"):
        history = fit(net, data, method=variant.method(), optimizer=variant.optimizer(), epochs=epochs,
                      batch_size=setting.batch, seed=job.seed, validation=experiment.validation or None,
                      progress=False, checkpoint=checkpoint, checkpoint_every=options["checkpoint every"],
                      resume=True, callbacks=[callback] if callback else [])
        test_loss, test_accuracy = (None, None) if history.diverged else evaluate(net, data.X_test, data.y_test)
    record = {**job._asdict(), "test_loss": test_loss, "test_accuracy": test_accuracy, "history": history.as_dict(),
              "machine": {**machine(), "threads": options["threads"]}}
    write_text(path, json.dumps(record))
    checkpoint.unlink(missing_ok=True)
    return {**record, "history": history}


def read_record(path):
    """Return the record that `run_job` wrote."""
    record = json.loads(path.read_text(encoding="utf-8"))
    return {**record, "history": History.from_dict(record["history"])}


def do_jobs(options, jobs, workers, bar, epochs):
    """Do runs, one at a time or in parallel, and return their records; the bar counts epochs, so many a label."""
    records, done = [], bar.n
    for record in finished_jobs(options, jobs, workers, bar):
        records.append(record)
        done += epochs[record["label"]]
        bar.update(done - bar.n)  # a diverged run is shorter
        bar.set_postfix_str(f"{record['label']} {record['step']:.3g}: {text(final_loss(record))}")
    return records


def finished_jobs(options, jobs, workers, bar):
    """Yield the records of runs as they are finished; of runs in this process the bar counts each epoch."""
    if workers == 1:
        return (run_job(options, job, lambda row, net, history: bar.update(row["epoch"] > 0) and None) for job in jobs)
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise RuntimeError("--jobs needs joblib; install minilift[reproduce]") from error
    return Parallel(workers, return_as="generator_unordered")(delayed(run_job)(options, job) for job in jobs)


def reproduce(experiment, scale="small", folder=None, *, jobs=1, threads=1, seeds=None, epochs=None, samples=None,
              data=None, backend="numpy", progress=True):
    """Run an experiment, or what is left of it, and write its results.

    Parameters
    ----------
    experiment : str
        One of `EXPERIMENTS`.
    scale : {"small", "medium", "paper"}, default "small"
    folder : path, optional
        Of the results, by default ``minilift-EXPERIMENT-SCALE``. What is finished in it is not done again.
    jobs : int, default 1
        Runs at a time, as joblib counts (−1: as many as there are cores).
    threads : int, default 1
        Threads of NumPy's BLAS in each run: several runs use several cores better than several threads do.
    seeds, epochs, samples : int, optional
        Instead of the scale's.
    data : path, optional
        An `.npz` file with X_train, y_train, X_test, y_test, to be used instead of the scale's data.
    backend : {"numpy", "cupy"}, default "numpy"
    progress : bool, default True

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        If a name is unknown, or the folder holds results of other settings.
    """
    plan = EXPERIMENTS[known_name("experiment", experiment, tuple(EXPERIMENTS))]
    setting = plan.settings[known_name("--scale", scale, SCALES)]
    for name, value in (("seeds", seeds), ("epochs", epochs), ("samples", samples)):
        if value is not None:
            setting = replace(setting, **{name: whole_number(f"--{name}", value)})
    if data is not None:
        setting = replace(setting, data=(Path(data).stem,))
    folder = Path(folder or f"minilift-{experiment}-{scale}")
    options = {"experiment": experiment, "scale": scale, "setting": asdict(setting), "folder": str(folder),
               "data": None if data is None else str(Path(data).resolve()),
               "backend": known_name("--backend", backend, BACKENDS),
               "threads": whole_number("--threads", threads), "checkpoint every": 1 if scale == "paper" else 10}
    claim_folder(folder, options)
    results = Results(plan, setting, run_all(plan, setting, options, jobs, progress))
    write_results(results, options, folder)
    return results


def claim_folder(folder, options):
    """Write down the settings of a results folder, or make sure that it has the same ones."""
    mine = {name: options[name] for name in ("experiment", "scale", "setting", "backend")}
    mine["data"] = {name: fingerprint(options, name) for name in options["setting"]["data"]}
    mine, path = json.loads(json.dumps(mine)), folder / "settings.json"
    if not path.exists():
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(mine, indent=1))
        return
    theirs = json.loads(path.read_text(encoding="utf-8"))
    differing = [name for name in mine if mine[name] != theirs.get(name)]
    if differing:
        raise ValueError(f"{folder} holds results of other settings ({', '.join(differing)} differ from its "
                         "settings.json); choose another folder with --output")


def fingerprint(options, name):
    """Return sizes and checksum of a data set."""
    data = load_data(options["experiment"], name, options["setting"]["samples"], options["data"])
    return f"{data!r}, checksum {zlib.crc32(np.ascontiguousarray(data.X_train)):08x}"


def run_all(plan, setting, options, workers, progress):
    """Return the records of all runs; where methods are tuned, of the grid with one seed and the best with all."""
    from tqdm.auto import tqdm

    variants, seeds = plan.variants(setting), range(setting.seeds)
    first = [Job(data, v.label, v.step, seed) for data in setting.data for v in variants
             for seed in (seeds[:1] if plan.tuned else seeds)]
    epochs = {variant.label: setting.epochs * variant.times for variant in variants}
    later = len(setting.data) * (len(seeds) - 1) * sum(epochs.values()) if plan.tuned else 0
    with tqdm(total=sum(epochs[job.label] for job in first) + later, desc=options["experiment"], unit="epoch",
              smoothing=0, disable=not progress) as bar:
        records = do_jobs(options, first, workers, bar, epochs)
        if plan.tuned:
            tuned = Results(plan, setting, records)
            rest = [Job(data, label, tuned.best_step(data, label), seed)
                    for data in tuned.data for label in tuned.labels for seed in seeds[1:]]
            records += do_jobs(options, rest, workers, bar, epochs)
    order = {(variant.label, variant.step): k for k, variant in enumerate(variants)}
    return sorted(records, key=lambda r: (setting.data.index(r["data"]), order[r["label"], r["step"]], r["seed"]))


# ------------------------------------------------------------------------------------------------- results


def write_results(results, options, folder):
    """Write table and verdicts (text, CSV, JSON) and the figures, one for each data set."""
    from minilift import plots

    about = {"command": command(options), "title": results.experiment.title, "setting": options["setting"],
             "machine": machine(), "machines of the runs": machines(results),
             "verdicts": [one._asdict() for one in results.experiment.claims(results)],
             "tables": {data: cells_of(results, data) for data in results.data},
             "notes": {data: notes_of(results, data) for data in results.data},
             "paper": results.experiment.paper, "runs": [summary(record) for record in results.records]}
    write_text(folder / "results.json", json.dumps(about, indent=1, ensure_ascii=False))
    write_text(folder / "results.csv", csv_text(about["runs"]))
    write_text(folder / "results.txt", report(results, options))
    draw = step_figure if results.experiment.figure == "steps" else curve_figure
    for data in results.data:
        plots.save(draw(results, data), folder / f"{data}.png")


def summary(record):
    """Return one run in few numbers: how it ended, and its curve of training losses."""
    history = record["history"]
    numbers = {name: history[name][-1] for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
               if name in history}
    return {**{name: record[name] for name in Job._fields}, "status": history.status, "epochs": len(history) - 1,
            "seconds": history["seconds"][-1], **numbers, "test_loss": record["test_loss"],
            "test_accuracy": record["test_accuracy"],
            "curve": [float(f"{loss:.5g}") for loss in history["train_loss"]]}


def csv_text(runs):
    """Return the runs as CSV, without their curves."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [name for name in runs[0] if name != "curve"], extrasaction="ignore",
                            lineterminator="\n")
    writer.writeheader()
    writer.writerows(runs)
    return out.getvalue()


def machines(results):
    """Return where, with what versions and from which commits the runs were done."""
    names = ("processor", "threads", "blas", "versions", "commit")
    found = {json.dumps({name: record["machine"][name] for name in names}) for record in results.records}
    return [json.loads(one) for one in sorted(found)]


def command(options):
    """Return the command that gives these results again."""
    setting, planned = options["setting"], asdict(EXPERIMENTS[options["experiment"]].settings[options["scale"]])
    words = [f"minilift reproduce {options['experiment']} --scale {options['scale']}"]
    words += [f"--{name} {setting[name]}" for name in ("seeds", "epochs", "samples") if setting[name] != planned[name]]
    words += [f"--data {Path(options['data']).name}"] if options["data"] else []
    words += [f"--backend {options['backend']}"] if options["backend"] != "numpy" else []
    return " ".join(words)


def report(results, options):
    """Return the table and the verdicts as text."""
    setting, about = results.setting, machine()
    lines = [results.experiment.title, command(options),
             f"{setting.samples} samples at most, hidden widths {'-'.join(map(str, setting.widths))}, "
             f"{setting.epochs} epochs, batch {setting.batch}, {setting.seeds} seeds",
             f"{about['processor']}, {about['blas']}, numpy {np.__version__}, commit {about['commit']}, "
             f"{about['date']}"]
    for data in results.data:
        lines += ["", f"{data}:", *columns(cells_of(results, data)), *notes_of(results, data)]
    lines += ["", "verdicts:", *(f"  {one.verdict}: {one.claim}: {one.numbers}"
                                 for one in results.experiment.claims(results))]
    return "\n".join(lines) + "\n"


def table1_cells(results, data):
    """Return final training losses for each step size (median over seeds), the paper's below ours."""
    steps = results.steps(data, results.labels[0])
    cells = [["τ", *map(text, steps)]]
    for label in results.labels:
        medians = [np.median([final_loss(record) for record in results.select(data=data, label=label, step=step)])
                   for step in steps]
        cells.append([label, *map(text, medians)])
        if label in results.experiment.paper:
            cells.append([f"{label}, paper", *map(text, results.experiment.paper[label])])
    return cells


def curve_cells(results, data):
    """Return each method at its best step size: medians over the seeds, ranges in brackets."""
    shown = {"training loss": final_loss, "test loss": lambda record: record["test_loss"],
             "test accuracy": lambda record: record["test_accuracy"],
             "seconds": lambda record: record["history"]["seconds"][-1]}
    if not any(record["test_accuracy"] for record in results.records):
        del shown["test accuracy"]
    cells = [["method", "step", *shown]]
    for label in results.labels:
        records, edge = results.chosen(data, label), "*" if results.at_edge(data, label) else ""
        cells.append([label, f"{records[0]['step']:.3g}{edge}",
                      *(middle(map(value, records)) for value in shown.values())])
    return cells


def cells_of(results, data):
    """Return the table of one data set."""
    return (table1_cells if results.experiment.figure == "steps" else curve_cells)(results, data)


def notes_of(results, data):
    """Return the lines below the table of one data set: the grids of step sizes, and numbers of the paper."""
    numbers = {name: of for name, of in results.experiment.paper.items()
               if isinstance(of, dict) and name not in datasets.available()}
    lines = [f"paper, {name}: " + ", ".join(f"{label} {number}" for label, number in of.items())
             for name, of in numbers.items()]
    if results.experiment.tuned:
        lines += ["step sizes tried: " + "; ".join(f"{label} {texts(results.steps(data, label))}"
                                                   for label in results.labels)]
        lines += ["* the first or last of those: a wider grid may hold a better one"]
    return lines + [results.experiment.note] * bool(results.experiment.note)


def middle(values):
    """Return the median as text, and the range of several."""
    values = [math.nan if value is None else value for value in values]
    if not all(map(math.isfinite, values)):
        return "-"
    ends = f" [{text(min(values))}, {text(max(values))}]" if len(values) > 1 else ""
    return text(float(np.median(values))) + ends


def step_figure(results, data):
    """Draw the final training loss against the step size, the paper's numbers in thin lines.

    A method that diverged has a cross above the axes, in a row of its own.
    """
    from minilift import plots

    figure = plots.new_figure(8, 5)
    axes = figure.subplots()
    steps = results.steps(data, results.labels[0])
    for row, (label, style) in enumerate(plots.styles(results.labels).items()):
        losses = np.array([[final_loss(record) for record in results.select(data=data, label=label, step=step)]
                           for step in steps])
        trained = np.isfinite(losses).all(axis=1)
        axes.plot(steps, np.where(trained, np.median(losses, axis=1), np.nan), label=label, linewidth=1.8, **style)
        crosses = np.array(steps)[~trained]
        axes.plot(crosses, np.full(len(crosses), 1.02 + 0.025 * row), "x", color=style["color"], markersize=5,
                  markeredgewidth=1.5, transform=axes.get_xaxis_transform(), clip_on=False)
        if label in results.experiment.paper:
            paper = [math.nan if loss is None else loss for loss in results.experiment.paper[label]]
            axes.plot(TABLE1_STEPS, paper, linewidth=0.8, alpha=0.6, fillstyle="none", **style)
    axes.set(xscale="log", yscale="log", xlabel="τ", ylabel="training loss at the end")
    axes.set_title(f"{data}, {results.setting.epochs} epochs; thin: the paper's, CIFAR-10, 50 epochs\n"
                   "crosses: diverged, from below in the legend's order", fontsize=10, pad=8 + 8 * len(results.labels))
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def curve_figure(results, data):
    """Draw training losses over epochs and seconds, and validation accuracies where there are any."""
    from matplotlib.ticker import MaxNLocator

    from minilift import plots

    runs = {label: [record["history"] for record in results.chosen(data, label)] for label in results.labels}
    longer = {label.removesuffix(" long"): label for label in runs if label.endswith(" long")}
    accuracy = all("val_accuracy" in history for histories in runs.values() for history in histories)
    figure = plots.new_figure(13 if accuracy else 9, 4.6)
    panels = figure.subplots(1, 3 if accuracy else 2)
    for label, style in plots.styles([label for label in runs if label not in longer.values()]).items():
        at_seconds = longer.get(label, label)
        plots.draw({"epoch": panels[0]}, runs[label], "train_loss", style, label)
        plots.draw({"seconds": panels[1]}, runs[at_seconds], "train_loss", style, at_seconds)
        if accuracy:
            plots.draw({"epoch": panels[2]}, runs[label], "val_accuracy", style, label)
    for label, curve in results.experiment.paper.get(data, {}).items():
        panels[0].plot(range(len(curve)), curve, "k.", label=f"{label}, the authors' log (full size)")
    seconds = "seconds of training" + (f" (backprop: {LONG} times the epochs)" if longer else "")
    for axes, name in zip(panels, ("epochs", seconds, "epochs")):
        axes.set_xlabel(name)
        axes.spines[["top", "right"]].set_visible(False)
        if name == "epochs":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels[:2]:
        axes.set(yscale="log", ylabel="training loss")
        plots.plain_numbers(axes.yaxis)
    if accuracy:
        panels[2].set_ylabel("validation accuracy")
        for label, value in results.experiment.paper.get("best validation accuracy", {}).items():
            below = label == "backprop"
            panels[2].axhline(value, color="grey", linewidth=0.8, linestyle=":" if below else "--")
            panels[2].annotate(f"the paper's best, CIFAR-10: {label}", (0, value), fontsize=7,
                               xytext=(2, -8 if below else 2), textcoords="offset points")
    figure.suptitle(f"{results.experiment.title}, {data}", fontsize=10)
    plots.legend(figure, {"epoch": panels[0]})
    return figure


# --------------------------------------------------------------------------------------------- the README


BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def write_section(readme):
    """Renew the results in a README from data/results beside it; return the exit code."""
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"--write: {readme} has no lines {BEGIN} and {END}")
    write_text(readme, with_section(text, section(readme.parent / "data" / "results")))
    print(f"renewed the results in {readme}")
    return 0


def with_section(text, body):
    """Return a README with everything between its two marks replaced."""
    return f"{text.partition(BEGIN)[0]}{BEGIN}\n{body}\n{END}{text.partition(END)[2]}"


def section(folder):
    """Return the results of all files of a folder as Markdown: those of `bench step` first.

    The files are ``step.json`` of `minilift bench step`; ``memory.json`` and others of other benchmarks, whose tables
    and figures, NAME.txt and NAME.png, are linked; and, under names of one's choice, ``results.json`` of experiments,
    the figure for a data set being NAME-DATA.png.
    """
    files = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(folder).glob("*.json"))}
    kinds = (bench_section, other_section, experiment_section)
    in_order = sorted(files.items(), key=lambda item: kinds.index(section_of(item[1])))
    lines = [line for path, about in in_order for line in section_of(about)(path, about)]
    return "\n".join(lines).strip() or "Nothing has been measured yet."


def section_of(about):
    """Return the function that writes the section of a file."""
    if "verdicts" in about:
        return experiment_section
    return bench_section if about["command"].startswith("minilift bench step") else other_section


def origin(about):
    """Return where the numbers come from, in one line."""
    at = about["machine"]
    commits = dict.fromkeys(one["commit"] for one in about.get("machines of the runs", [at]))
    return (f"`{about['command']}`, {at['date'][:10]}, {at['processor']} ({at['cores']} cores), {at['blas']}, "
            f"NumPy {at['versions']['numpy']}, commit {', '.join(commits)}.")


def bench_section(path, about):
    """Return the tables of `bench step`."""
    lines = ["", "### Time of a training step", "", f"{origin(about)} {at_threads(about)} Medians over the rounds, "
             "ranges in brackets; ratios pair by pair; *limit*: the bare matrix products of that step."]
    for network in dict.fromkeys(row["network"] for row in about["rows"]):
        lines += ["", f"*{describe(network)}*", "", *markdown(step_cells(select(about["rows"], network=network)))]
    return lines


def other_section(path, about):
    """Return where the numbers of another benchmark are."""
    kept = [f"[{kind}](data/results/{path.stem}{suffix})" for kind, suffix in (("table", ".txt"), ("figure", ".png"))
            if path.with_suffix(suffix).exists()]
    title = about["command"].removeprefix("minilift ").split(" --")[0]
    return ["", f"### `{title}`", "", f"{origin(about)} {', '.join([*kept, f'[numbers](data/results/{path.name})'])}"]


def at_threads(about):
    """Return the number of threads and the versions of what was compared."""
    versions = about["machine"]["versions"]
    others = [f"{name} {versions[key]}" for key, name in (("torch", "PyTorch"), ("sklearn", "scikit-learn"))
              if key in versions]
    threads = about["machine"]["threads"]
    return f"{threads} thread{'s' * (threads != '1')}{''.join(f', {other}' for other in others)}."


def experiment_section(path, about):
    """Return the tables, notes, verdicts and figures of an experiment; figures lie beside the file."""
    setting = about["setting"]
    lines = ["", f"### {about['title']} ({', '.join(about['tables'])})", "",
             f"{origin(about)} {setting['samples']} samples at most, hidden widths "
             f"{'-'.join(map(str, setting['widths']))}, {setting['epochs']} epochs, batch {setting['batch']}, "
             f"{setting['seeds']} seed{'s' * (setting['seeds'] > 1)}."]
    for data, cells in about["tables"].items():
        lines += ["", f"*{data}*", "", *markdown(cells), "", *(f"{note}  " for note in about["notes"][data])]
        figure = path.with_name(f"{path.stem}-{data}.png")
        if figure.exists():
            lines += ["", f"![{about['title']}: {data}](data/results/{figure.name})"]
    return [*lines, "", *(f"- {one['verdict']}: {one['claim']}: {one['numbers']}" for one in about["verdicts"])]


def markdown(cells):
    """Return a table of text as Markdown."""
    rows = [f"| {' | '.join(row)} |" for row in cells]
    return [rows[0], f"| --- |{' ---: |' * (len(cells[0]) - 1)}", *rows[1:]]


# ---------------------------------------------------------------------------------------- the command line


def add_arguments(parser):
    """Declare the options of `minilift reproduce`."""
    parser.epilog = ("--jobs goes to joblib; a Dask or Ray cluster serves as its backend when "
                     "minilift.reproduce.reproduce(…) is called within joblib.parallel_config(\"dask\") or (\"ray\").")
    parser.add_argument("experiment", metavar="EXPERIMENT", nargs="?", help=", ".join(EXPERIMENTS))
    parser.add_argument("--scale", default="small", metavar="{small,medium,paper}",
                        help="small: embedded or generated data, minutes; medium: real data, a smaller network; paper: "
                             "the full experiment, hours to days (default small)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="runs at a time; -1: one for each core (default 1)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of NumPy in each run (default 1)")
    for name in ("seeds", "epochs", "samples"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help="instead of the scale's")
    parser.add_argument("--data", metavar="FILE.npz",
                        help="X_train, y_train, X_test, y_test to use instead of the scale's data")
    parser.add_argument("--backend", default="numpy", metavar="{numpy,cupy}", help="array library (default numpy)")
    parser.add_argument("--write", metavar="FILE", type=Path,
                        help="renew the results in FILE (README.md) from data/results, and run nothing")
    parser.add_argument("--output", metavar="FOLDER",
                        help="of the results (default minilift-EXPERIMENT-SCALE); finished runs are not done again")


def run(arguments):
    """Run the experiment and print its table and verdicts; return the exit code."""
    if arguments.write is not None:
        return write_section(arguments.write)
    if arguments.experiment is None:
        raise ValueError(f"which EXPERIMENT? One of {', '.join(EXPERIMENTS)}")
    results = reproduce(arguments.experiment, arguments.scale, arguments.output, jobs=arguments.jobs,
                        threads=arguments.threads, seeds=arguments.seeds, epochs=arguments.epochs,
                        samples=arguments.samples, data=arguments.data, backend=arguments.backend,
                        progress=sys.stderr.isatty())
    folder = Path(arguments.output or f"minilift-{arguments.experiment}-{arguments.scale}")
    print((folder / "results.txt").read_text(encoding="utf-8"))
    print(f"written: {folder}: results.txt, results.csv, results.json, {', '.join(f'{d}.png' for d in results.data)}")
    return 0
