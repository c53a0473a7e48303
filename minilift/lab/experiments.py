r"""The papers' experiments: networks, variants of methods with their step sizes, and claims with verdicts.

Where methods are tuned, all have the same number of step sizes to choose from, those of the experiment's grid below.
The choice is made by the final training loss of the first seed, and the other seeds run with the chosen step size. For
each claim of a paper there is a verdict: *holds* (for every seed), *fails* (it holds for none) or *unclear*.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilift.lab.contenders import METHODS, MOMENTUM
from minilift.lab.runs import final_loss, training_time
from minilift.lab.tables import listed
from minilift.layers.losses import OneHotSquaredError, SigmoidCrossEntropy
from minilift.models import convnet, mlp
from minilift.optim import SGD, Adam, HeavyBall, Nesterov, RMSProp, WarmupLinear
from minilift.support.arguments import known_name
from minilift.support.backend import BACKENDS
from minilift.support.options import check_count, command_line

SCALES = ("small", "medium", "paper")


# ------------------------------------------------------------------------------------------ what is run


@dataclass(frozen=True)
class Setting:
    """The size of an experiment.

    Attributes
    ----------
    data : tuple of str
        Names of the data sets; each is a separate experiment.
    samples : int
        Number of training samples used, including validation; all if there are fewer.
    widths : tuple of int
        Widths of the network; for a ConvNet the channels of the convolutions.
    epochs, seeds : int
    batch : int or None
        None: the whole set.
    """

    data: tuple
    samples: int
    widths: tuple
    epochs: int
    batch: int | None
    seeds: int = 3


class Variant(NamedTuple):
    """One way of training: a method's label, a step size, how to make the method and its optimizer, and for how long.

    `times` is the number of epochs as a multiple of the setting's.
    """

    label: str
    step: float
    method: Callable
    optimizer: Callable
    times: int = 1


class Experiment(NamedTuple):
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
        Numbers from the paper, drawn beside ours.
    validation : float or None
        Share of the training samples held out.
    tuned : bool
        Whether each label's step size is chosen with the first seed; otherwise all variants run with all seeds.
    figure : {"steps", "curves"}
        Final loss against the step size, or curves over epochs and seconds.
    note : str
        What a reader of the table needs to know.
    """

    title: str
    settings: dict
    network: Callable
    variants: Callable
    claims: Callable
    paper: dict
    validation: float | None = 0.1
    tuned: bool = False
    figure: str = "curves"
    note: str = ""


class Verdict(NamedTuple):
    """The verdict on a claim: holds, fails or unclear, with the numbers."""

    claim: str
    verdict: str
    numbers: str


@dataclass(frozen=True)
class Plan:
    """An experiment to be run: which one, at what size, and how.

    Attributes
    ----------
    experiment : str
        One of `EXPERIMENTS`.
    scale : {"small", "medium", "paper"}, default "small"
    seeds, epochs, samples : int, optional
        Replacing those of the scale.
    data : path, optional
        An `.npz` file with X_train, y_train, X_test, y_test, to be used instead of the scale's data.
    backend : {"numpy", "cupy"}, default "numpy"
    threads : int, default 1
        Threads of NumPy's BLAS in each run: several runs use several cores better than several threads do.

    Raises
    ------
    ValueError, TypeError
        If a name is unknown or a number is out of range.
    """

    experiment: str
    scale: str = "small"
    seeds: int | None = None
    epochs: int | None = None
    samples: int | None = None
    data: str | None = None
    backend: str = "numpy"
    threads: int = 1

    def __post_init__(self):
        known_name("experiment", self.experiment, tuple(EXPERIMENTS))
        known_name("--scale", self.scale, SCALES)
        known_name("--backend", self.backend, BACKENDS)
        check_count("threads", self.threads)
        for name in self.changes:
            check_count(name, getattr(self, name), least=10 if name == "samples" else 1)  # a tenth is for validation
        if self.data is not None:
            object.__setattr__(self, "data", str(Path(self.data).absolute()))

    @property
    def what(self):
        """The `Experiment`."""
        return EXPERIMENTS[self.experiment]

    @property
    def changes(self):
        """The values given in place of the scale's."""
        return {name: vars(self)[name] for name in ("seeds", "epochs", "samples") if vars(self)[name] is not None}

    @property
    def setting(self):
        """The `Setting`: the scale's with the changes."""
        setting = replace(self.what.settings[self.scale], **self.changes)
        return setting if self.data is None else replace(setting, data=(Path(self.data).stem,))

    @property
    def methods(self):
        """For each label the method and its optimizer, as text; what differs between its step sizes is "step"."""
        texts = {}
        for one in self.what.variants(self.setting):
            texts.setdefault(one.label, []).append(re.split(r"(=[0-9.e+-]+)", f"{one.method()}, {one.optimizer()}"))
        return {label: "".join(parts[0] if len(set(parts)) == 1 else "=step" for parts in zip(*several))
                for label, several in texts.items()}

    @property
    def command(self):
        """The command that reproduces the results."""
        given = {**self.changes, "data": self.data and Path(self.data).name, "backend": self.backend,
                 "threads": self.threads}
        defaults = {**vars(self.what.settings[self.scale]), "data": None, "backend": "numpy", "threads": 1}
        return command_line(f"minilift reproduce {self.experiment} --scale {self.scale}", given, defaults)


# ------------------------------------------------------------------------------------------ experiments


def classifier(setting, data, seed, backend, init="uniform"):
    """Return a ReLU network for labels; the widths are those of the hidden layers."""
    widths = [data.X_train.shape[1], *setting.widths, data.n_classes]
    return mlp(widths, "relu", seed=seed, backend=backend, init=init)


def image_classifier(setting, data, seed, backend):
    """Return ProxProp's ConvNet, with the channels of the setting."""
    return convnet(data.image_shape, setting.widths, data.n_classes, seed=seed, backend=backend, input_layout="flat")


def autoencoder(setting, data, seed, backend):
    """Return an autoencoder like LocoProp's: tanh, a linear code layer, Glorot's initialisation."""
    n_in, half = data.X_train.shape[1], setting.widths
    tanh = ["tanh"] * (len(half) - 1)
    return mlp([n_in, *half, *half[-2::-1], n_in], [*tanh, "identity", *tanh], SigmoidCrossEntropy(), seed=seed,
               backend=backend, init="glorot")


TABLE1_STEPS = (50, 10, 5, 1, 0.5, 0.1, 0.05, 5e-3, 5e-4)
TABLE1 = {  # ProxProp, Table 1: training loss after 50 epochs; None: diverged
    "backprop": (None, None, None, None, None, 0.524, 0.091, 0.637, 1.531),
    "cg1": (77.9, 0.079, 0.145, 0.667, 0.991, 1.481, 1.593, 1.881, 2.184),
    "cg3": (94.7, 0.644, 0.031, 2e-3, 0.012, 1.029, 1.334, 1.814, 2.175),
    "cg5": (66.5, 0.190, 0.027, 3e-4, 2e-3, 0.399, 1.049, 1.765, 2.175),
}


NESTEROV = partial(Nesterov, momentum=MOMENTUM)  # ProxProp's optimizer


def whole_step(step):
    """Return the optimizer that takes exactly the steps proposed by a method."""
    return SGD(1.0)


def variant(name, step, optimizer=NESTEROV, **more):
    """Return the `Variant` of a method in the registry, with further or replaced arguments."""
    return Variant(name, step, partial(METHODS[name].method, **more), partial(optimizer, step))


def table1_variants(setting):
    """Every method with every τ, including the exact solve, which is not in the paper's table."""
    return [variant(name, tau) for name in ("backprop", "cg1", "cg3", "cg5", "proxprop") for tau in TABLE1_STEPS]


def fig2_variants(setting):
    """BackProp with its best τ of Table 1 against exact and inexact ProxProp with τ = 1, τ_θ = 0.05."""
    return [variant("backprop", 0.05),
            *(variant(name, 1.0, tau_theta=0.05) for name in ("proxprop", "cg3", "cg5", "cg10"))]


def fig3_variants(setting):
    """Adam on the directions; CG with one step length for a whole tensor, as the authors use for convolutions."""
    return [variant("backprop", 1e-3, Adam), variant("cg3", 1e-3, Adam, joint=True),
            variant("cg10", 1e-3, Adam, joint=True), variant("proxprop", 1e-3, Adam)]


FIRST_ORDER = {"sgd": (SGD, 1.0), "momentum": (HeavyBall, 0.1), "adam": (Adam, 0.1), "rmsprop": (RMSProp, 0.1)}
GRID = tuple(10 ** (-k / 2) for k in range(7))  # seven rates, each 0.316 times the one before


LONG = 7  # in matrix products a LocoProp step with ten local steps is (3 + 2 · 9)/3 BackProp steps


def locoprop_variants(setting):
    """Seven base rates for each method, and for all the schedule of the notebook: warm-up, then linear decay.

    So that methods can be compared at equal seconds, each with a schedule made for that time, BackProp runs for as many
    epochs as LocoProp and, under another label, for as many as take about LocoProp's time.
    """
    def schedule(rate, times=1):
        epochs = setting.epochs * times
        return WarmupLinear(rate, warmup=min(5, epochs), epochs=epochs)

    backprop = [Variant(f"backprop:{name}{suffix}", largest * part, METHODS["backprop"].method,
                        partial(optimizer, schedule(largest * part, times)), times)
                for times, suffix in ((1, ""), (LONG, " long"))
                for name, (optimizer, largest) in FIRST_ORDER.items() for part in GRID]
    return backprop + [variant(name, 1e-3 * part, whole_step, gamma=10.0, local_optimizer="rmsprop",
                               local_lr=schedule(1e-3 * part))
                       for name in ("locoprop-s", "locoprop-m") for part in GRID]


def sibp_variants(setting):
    """Seven η for SIBP (its paper: 0.1, λ = 1) and as many rates for plain BackProp, both from 10 down.

    SIBP's η is a step on the summed loss, BackProp's rate a step on the mean: η times the batch size.
    """
    return [*(variant("backprop", 10 * part, SGD) for part in GRID),
            *(variant("semi-implicit", 10 * part, whole_step, eta=10 * part) for part in GRID)]


def usps_variants(setting):
    """BackProp and ProxProp with Nesterov's momentum, seven rates each: from 0.1 down, and from 100 down."""
    return [variant(name, largest * part)
            for name, largest in (("backprop", 0.1), ("proxprop", 100.0), ("cg3", 100.0)) for part in GRID]


def bcd_network(setting, data, seed, backend):
    """Return BCD's classifier: squared error of one-hot labels, W drawn from N(0, 0.01²) and b = 0.1."""
    widths = [data.X_train.shape[1], *setting.widths, data.n_classes]
    net = mlp(widths, "relu", OneHotSquaredError(), seed=seed, backend=backend, init=0.01)
    for theta in net.parameters:
        theta[-1] = 0.1
    return net


def bcd_variants(setting):
    """The authors' weights for three hidden maps, γ = ρ = 1 and α = 5; θ in one block, and as published."""
    return [variant("bcd", 0.2, whole_step), Variant("bcd:jacobi", 0.2, partial(METHODS["bcd"].method, bias="jacobi"),
                                                     partial(whole_step, 0.2))]


# ------------------------------------------------------------------------------------------------- claims


def trains(record):
    """Whether a run ended below nine tenths of its initial loss (a dead network stays near that loss)."""
    return final_loss(record) < 0.9 * record["history"]["train_loss"][0]


def verdict(claim, ours, theirs, better):
    """Return the `Verdict` for a pair of numbers per seed: holds if `better` is true for all, fails if for none."""
    outcomes = [better(a, b) for a, b in zip(ours, theirs)]
    word = "holds" if all(outcomes) else "unclear" if any(outcomes) else "fails"
    return Verdict(claim, f"{word} ({sum(outcomes)} of {len(outcomes)} seeds)",
                   f"{listed(ours)} against {listed(theirs)}")


def table1_claims(results):
    """Judge the paper's claims: τ up to 10, not 0.1 (τ = 50 ends above its start), best loss 3e-4 instead of 0.091."""
    verdicts = []
    inexact = [label for label in results.labels if label.startswith("cg")]
    steps, losses = best_of_rows(results, ["backprop"])
    for name, labels in ((f"ProxProp ({', '.join(inexact)})", inexact), ("exact ProxProp", ["proxprop"])):
        our_steps, our_losses = best_of_rows(results, labels)
        verdicts += [
            measured_against(f"{name}: the largest τ that trains is at least 10 times BackProp's (paper: 100 times)",
                             our_steps, steps, lambda a, b: a >= 10 * b * (1 - 1e-9)),
            measured_against(f"{name}: the best training loss is at least 10 times lower (paper: 300 times)",
                             our_losses, losses, lambda a, b: 10 * a <= b)]
    return verdicts


def measured_against(claim, ours, theirs, better):
    """Return the verdict on a ratio to BackProp's numbers: unclear if one of these is 0 or not finite.

    BackProp's largest τ is 0 if it never trained, and a ratio to 0 means nothing.
    """
    found = verdict(claim, ours, theirs, better)
    if all(0 < number < math.inf for number in theirs):
        return found
    return found._replace(verdict=f"unclear ({found.verdict}, but a ratio to 0 or to no number says nothing)")


def best_of_rows(results, labels):
    """Return the largest step sizes that train and the lowest final losses of some methods, one for each seed."""
    rows = [[record for record in results.select(seed=seed) if record["label"] in labels] for seed in results.seeds]
    return ([max((record["step"] for record in row if trains(record)), default=0.0) for row in rows],
            [min(map(final_loss, row)) for row in rows])


def lower_loss(results, data, label, others, when="at the end", at=final_loss):
    """Return the verdict on `label` having a lower training loss than all `others`.

    It is unclear if the losers' best step size is at the edge of their grid: a wider one might have let them win.
    """
    ours = results.measured(data, label, at)
    theirs = list(map(min, zip(*(results.measured(data, other, at) for other in others))))
    rivals = others[0] if len(others) == 1 else f"the best of {', '.join(others)}"
    found = verdict(f"{data}: {label} below {rivals} in training loss, {when}", ours, theirs, operator.lt)
    losers = others if found.verdict.startswith("holds") else [label]
    edge = [name for name in losers if results.at_edge(data, name)]
    if not edge or found.verdict.startswith("unclear"):
        return found
    note = f"the best step size of {', '.join(edge)} is at the edge of the grid"
    return found._replace(verdict=f"unclear ({found.verdict}, but {note})")


def loss_after(seconds, record):
    """Return the training loss after a number of seconds of training, interpolated between epochs."""
    history = record["history"]
    if history.diverged:
        return math.inf
    return float(np.interp(seconds, history["seconds"], history["train_loss"]))


CONDITIONS = ("processor", "threads", "jobs")  # of a run, on which its seconds depend


def lower_by_epochs_and_seconds(results, labels, others, longer):
    """Return for each label the verdicts at equal epochs, and at equal seconds (those that the fastest took).

    `longer` are the runs to compare with at equal seconds: step sizes and schedules of `others` are tuned for equal
    epochs, and at equal seconds a slower method would be in mid-schedule. At equal seconds the verdict is unclear if
    runs differ in `CONDITIONS`.
    """
    verdicts = []
    for data, label in product(results.data, labels):
        records = [record for name in (label, *longer) for record in results.chosen(data, name)]
        times = [training_time(record) for record in records
                 if not record["history"].diverged]  # one that diverged ended early, but was not the fastest
        seconds = min(times, default=0.0)
        timed = lower_loss(results, data, label, longer, f"after {seconds:.3g} s", partial(loss_after, seconds))
        unlike = [name for name in CONDITIONS if len({record["machine"].get(name) for record in records}) > 1]
        if unlike:
            timed = timed._replace(verdict=f"unclear ({timed.verdict}, but its runs differ in {', '.join(unlike)})")
        verdicts += [lower_loss(results, data, label, others), timed]
    return verdicts


def fig2_claims(results):
    """Judge the paper's claims: faster over epochs and over seconds, and a better test accuracy (56 % against 54 %)."""
    return against_backprop(results) + higher(results, "test accuracy")


def fig3_claims(results):
    """Judge the paper's claims: best validation accuracy 72.9 % against 71.7 %, test accuracy 70.7 % against 69.6 %."""
    return higher(results, "best validation accuracy", "test accuracy")


ACCURACIES = {  # of a run; the test accuracy is −inf if it diverged
    "best validation accuracy": lambda record: max(record["history"]["val_accuracy"]),
    "test accuracy": lambda record: -math.inf if record["test_accuracy"] is None else record["test_accuracy"]}


def higher(results, *accuracies):
    """Return the verdicts on whether each method exceeds BackProp in each of some `ACCURACIES`."""
    data = results.data[0]
    return [verdict(f"{data}: {label} above backprop in {name}", results.measured(data, label, ACCURACIES[name]),
                    results.measured(data, "backprop", ACCURACIES[name]), operator.gt)
            for label in results.labels[1:] for name in accuracies]


def locoprop_claims(results):
    """Judge whether LocoProp-M is below tuned first-order BackProp, per epoch and per second; S likewise."""
    first_order = [f"backprop:{name}" for name in FIRST_ORDER]
    longer = [f"{label} long" for label in first_order]
    return lower_by_epochs_and_seconds(results, ("locoprop-m", "locoprop-s"), first_order, longer)


def bcd_claims(results):
    """Judge the theorem (the energy never rises); on MNIST, the authors' test accuracy, 0.9439–0.9492, five seeds."""
    verdicts = []
    for label in results.labels:
        energies = [np.array(history["energy"][1:]) for history in
                    results.measured(results.data[0], label, operator.itemgetter("history"))]
        rises = [float((np.diff(energy) / energy[:-1]).max(initial=-math.inf)) for energy in energies]
        found = verdict(f"{label}: no sweep raises the energy, beyond the rounding of its sum (share of it)",
                        rises, [1e-5] * len(rises), operator.le)
        verdicts.append(found._replace(verdict="unclear (no two sweeps)") if -math.inf in rises else found)
        if results.data[0] == "mnist":
            accuracies = results.measured("mnist", label, ACCURACIES["test accuracy"])
            claim = "test accuracy at least 0.9439 − 0.005 (authors, 1500 wide, 60 000 samples: to 0.9492)"
            verdicts.append(verdict(f"{label}: {claim}", accuracies, [0.9389] * len(accuracies), operator.ge))
    return verdicts


def against_backprop(results):
    """Judge whether every other method is below BackProp, per epoch and per second."""
    others = [label for label in results.labels if label != "backprop"]
    return lower_by_epochs_and_seconds(results, others, ["backprop"], ["backprop"])


PROXPROP = {"small": Setting(("digits",), 1437, (128, 64, 128), 30, 100),
            "medium": Setting(("cifar10",), 10_000, (500, 200, 500), 50, 500),
            "paper": Setting(("cifar10",), 50_000, (4000, 1000, 4000), 50, 500)}
EXPERIMENTS = {
    "proxprop-table1": Experiment(
        "ProxProp, Table 1: training loss at the end, for each τ",
        {**PROXPROP, **{scale: replace(PROXPROP[scale], seeds=1) for scale in ("medium", "paper")}},
        classifier, table1_variants, table1_claims, TABLE1, figure="steps"),
    "proxprop-fig2": Experiment(
        "ProxProp, Fig. 2: exact and inexact solves", PROXPROP,
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
         "paper": Setting(("mnist", "fashion_mnist", "curves"), 60_000, (1000, 500, 250, 30), 100, 1000)},
        autoencoder, locoprop_variants, locoprop_claims,
        {"mnist": {"locoprop-m": (547.2, 547.2, 122.7, 80.7, 69.6, 65.2, 62.9, 61.3, 60.2, 59.4, 58.7, 58.2, 57.8,
                                  57.3, 57.0)}}, validation=None, tuned=True,
        note=f"long: {LONG} times the epochs, the time of LocoProp's runs as counted in matrix products"),
    "sibp-mnist": Experiment(
        "Semi-Implicit BP: one hidden layer",
        {"small": Setting(("digits",), 1437, (50,), 10, 100),
         "medium": Setting(("mnist",), 10_000, (500,), 10, 100),
         "paper": Setting(("mnist",), 60_000, (500,), 20, 100)},
        partial(classifier, init=0.05), sibp_variants, against_backprop, {}, tuned=True),
    "bcd-mnist": Experiment(
        "BCD: three hidden layers, squared error, the whole training set in each sweep",
        {"small": Setting(("digits",), 1437, (200, 200, 200), 50, None),
         "medium": Setting(("mnist",), 10_000, (500, 500, 500), 50, None, seeds=1),
         "paper": Setting(("mnist",), 60_000, (1500, 1500, 1500), 50, None, seeds=1)},
        bcd_network, bcd_variants, bcd_claims, {"test accuracy": {"bcd:jacobi": "0.9439 to 0.9492"}}, validation=None,
        note="step: 1/α"),
    "usps-autoencoder": Experiment(
        "USPS autoencoder (settings ours; those of ProxProp's first version are not published)",
        {"small": Setting(("digits",), 1437, (32, 16, 8), 30, 100),
         "medium": Setting(("usps",), 2000, (128, 64, 32, 16), 30, 100),
         "paper": Setting(("usps",), 7291, (128, 64, 32, 16), 100, 100)},
        autoencoder, usps_variants, against_backprop, {}, validation=None, tuned=True),
}
