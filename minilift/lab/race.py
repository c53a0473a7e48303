r"""`minilift bench race`: seconds of training to reach given losses, minilift's methods against PyTorch's optimizers.

The network is a multilayer perceptron, an autoencoder or ProxProp's ConvNet.
All entrants share the network, the data set, the grid of rates × batch sizes, and the budget of seconds per trial: the
tuning effort is the same. A trial ends when the last loss is reached, when it diverges, or when its seconds are up. An
entrant's best trial is the one that reaches that loss first or, if none does, has the lowest loss. If it lies at an end
of the grid of rates, the grid is extended there, by one rate at a time and at most `EXTENSIONS` times; a batch size at
an end of its grid is flagged. The finalists then run with new seeds and `LONGER` times the budget, entrants taking
turns; the workers of a cluster do as many runs at a time as they can. The clock runs only during training: the loss on
the whole training set is measured after each epoch with the clock stopped, by the same evaluation for all entrants.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from minilift import datasets
from minilift.lab.contenders import METHODS, Problem, torch_loss, torch_network
from minilift.lab.runs import blas_threads, elsewhere, grouped, read_data, spread, varied
from minilift.lab.tables import aligned, number, ranges
from minilift.optim import Adam, Nesterov
from minilift.training.fit import measure, quiet

RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
STEP = 10**0.5  # ratio of neighbouring rates of the grid, also when it is extended
EXTENSIONS = 3
LONGER = 8  # a finalist's budget in budgets of a trial: with less, few finals of slow entrants would reach the end
COLORS = {"minilift": ("#0072B2", "#009E73", "#56B4E9", "#44AA99", "#000000", "#666666", "#332288"),
          "PyTorch": ("#D55E00", "#CC79A7", "#E69F00", "#AA3377")}
SEEDS = 3  # seeds of the finalists, all different from that of the search
MOMENTUM = 0.9
DECAY = 0.01  # of AdamW, PyTorch's default
BEST = {"test accuracy": (max, "highest", 2), "test loss": (min, "lowest", 3)}  # and the digits to be shown
LOST = 10.0  # a run counts as diverged from this multiple of its initial loss


class Course(NamedTuple):
    """A network and a data set to race on.

    Attributes
    ----------
    title : str
    problem : Problem
        The network.
    batches : tuple of int
    levels : tuple of float
        The training losses to be reached, the last of which ends a run.
    budget : float
        Seconds of training in a trial.
    data : Dataset
    """

    title: str
    problem: Problem
    batches: tuple
    levels: tuple
    budget: float
    data: datasets.Dataset

    def network(self, seed):
        """Return minilift's network before training."""
        return self.problem.network(seed=seed)

    @property
    def held_out(self):
        """The quantity measured on the test set."""
        return "test loss" if self.problem.autoencoder else "test accuracy"


class Entrant(NamedTuple):
    """A participant: its name, its library, and a function of (course, rate, batch, seed) that makes a `Trainer`."""

    name: str
    library: str
    trainer: Callable


class Trainer(NamedTuple):
    """One run: `epoch` trains for one epoch, `parameters` returns the θ of each map for the evaluation."""

    epoch: Callable
    parameters: Callable


class Trial(NamedTuple):
    """One run to be done: the entrant, its settings, and whether it is one of the finals."""

    entrant: str
    rate: float
    batch: int
    seed: int = 0
    final: bool = False


class Run(NamedTuple):
    """The result of a run: after each epoch the seconds, the training loss, and the test set's accuracy or loss."""

    seconds: list
    losses: list
    held_out: list

    def time_to(self, level):
        """Return the seconds after which the training loss was at most `level`, inf if it never was."""
        return next((s for s, loss in zip(self.seconds, self.losses) if loss <= level), math.inf)


# ---- who races


def our_trainer(method, optimizer, course, rate, batch, seed):
    """Return the `Trainer` of a method of minilift with an outer optimizer."""
    net, method, optimizer = course.network(seed), METHODS[method].method(), optimizer(rate)
    X, y = net.checked_batch(course.data.X_train, course.data.y_train)
    rng = np.random.default_rng(seed)

    def epoch():
        order = rng.permutation(len(X))
        for start in range(0, len(X), batch):
            rows = order[start:start + batch]
            state = net.propagate(X[rows], training=True)
            optimizer.step(net.parameters, method.directions(net, state, y[rows]))

    return Trainer(epoch, lambda: net.parameters)


def torch_trainer(optimizer, course, rate, batch, seed):
    """Return the `Trainer` of an optimizer of PyTorch, from the same parameters and with the same batches."""
    import torch

    problem, net, own = course.problem, torch_network(course.problem), course.network(seed)
    maps = [(phi, window_of(phi, problem)) for phi in net if hasattr(phi, "weight")]
    for (phi, window), theta in zip(maps, own.parameters):
        to_torch(theta, phi, window)
    steps = optimizer(torch, net, rate)
    X, y = (torch.from_numpy(array) for array in own.checked_batch(course.data.X_train, course.data.y_train))
    if problem.images:
        X = X.permute(0, 3, 1, 2).contiguous()  # PyTorch's own layout
    rng = np.random.default_rng(seed)

    def epoch():
        order = torch.from_numpy(rng.permutation(len(X)))
        for rows in order.split(batch):
            for one in steps:
                one.zero_grad()
            torch_loss(problem, net(X[rows]), y[rows]).backward()
            for one in steps:
                one.step()

    return Trainer(epoch, lambda: [from_torch(phi, window) for phi, window in maps])


def window_of(phi, problem):
    """Return the size of the pixel window of a map of PyTorch: a filter's, or the image's after the filters, or ()."""
    if not problem.images:
        return ()
    return getattr(phi, "kernel_size", (problem.images[0] // 4, problem.images[1] // 4))


def to_torch(theta, phi, window):
    """Write θ = [W; bᵀ] into a map of PyTorch, which has outputs first, and channels before the pixels of a window."""
    import torch

    W = np.moveaxis(theta[:-1].reshape(*window, -1, theta.shape[1]), (-1, -2), (0, 1))
    phi.weight.data = torch.from_numpy(np.ascontiguousarray(W).reshape(phi.weight.shape))
    phi.bias.data = torch.from_numpy(theta[-1].copy())


def from_torch(phi, window):
    """Return θ = [W; bᵀ] of a map of PyTorch."""
    W, b = phi.weight.detach().numpy(), phi.bias.detach().numpy()
    W = np.moveaxis(W.reshape(len(b), -1, *window), (0, 1), (-1, -2))
    return np.vstack([W.reshape(-1, len(b)), b])


def sgd(torch, net, rate):
    """Return PyTorch's SGD with Nesterov's momentum."""
    return [torch.optim.SGD(net.parameters(), rate, momentum=MOMENTUM, nesterov=True)]


def of_class(name, torch, net, rate):
    """Return an optimizer of PyTorch with its defaults."""
    return [getattr(torch.optim, name)(net.parameters(), rate)]


def muon(torch, net, rate):
    """Return PyTorch's Muon for the hidden matrices and AdamW for the others, as its authors do."""
    parameters = list(net.parameters())
    hidden = [p for p in parameters[2:-2] if p.ndim == 2]
    others = [p for p in parameters if not any(p is h for h in hidden)]
    return [torch.optim.Muon(hidden, rate), torch.optim.AdamW(others, rate)]


OUTER = {"Nesterov": partial(Nesterov, momentum=MOMENTUM), "Adam": Adam,
         "AdamW": partial(Adam, weight_decay=DECAY, decoupled=True)}
OURS = [Entrant(f"{name}, {outer}", "minilift", partial(our_trainer, name, OUTER[outer]))
        for name, outer in (*product(("backprop", "proxprop", "cg3"), ("Nesterov", "Adam")), ("proxprop", "AdamW"))]
THEIRS = [Entrant(f"PyTorch {name}", "PyTorch", partial(torch_trainer, optimizer)) for name, optimizer in {
    "SGD Nesterov": sgd, "Adam": partial(of_class, "Adam"), "AdamW": partial(of_class, "AdamW"), "Muon": muon}.items()]
NAMES = tuple(entrant.name for entrant in OURS + THEIRS)


def entrants(names=NAMES, problem=None):
    """Return the entrants with these names that can run here, on `problem` if it is given."""
    names = set(names)
    if problem is not None and problem.images:
        names.discard("PyTorch Muon")  # the matrices between the first and the last map are filters, not for Muon
    try:
        import torch
        missing = () if hasattr(torch.optim, "Muon") else ("PyTorch Muon",)
    except ImportError:
        missing = tuple(entrant.name for entrant in THEIRS)
    return [entrant for entrant in OURS + THEIRS if entrant.name in names and entrant.name not in missing]


# ---- the race


@quiet()
def run(course, entrant, rate, batch, seed, judge, final=False):
    """Do one run and return its `Run`; the first epoch is trained whatever the budget.

    `judge` is a network of minilift with which all parameters are evaluated, in the finals on the test set too.
    """
    trainer, found, clock = entrant.trainer(course, rate, batch, seed), Run([], [], []), 0.0
    train, held_out = judge.checked_batch(course.data.X_train, course.data.y_train), None
    lost = LOST * measure(course.network(seed), *train, 500)[0]
    budget = course.budget
    if final:
        budget *= LONGER
        held_out = judge.checked_batch(course.data.X_test, course.data.y_test)
    while clock < budget:
        started = time.perf_counter()
        trainer.epoch()
        clock += time.perf_counter() - started
        for theta, value in zip(judge.parameters, trainer.parameters()):
            theta[...] = value
        loss, _ = measure(judge, *train, 500)
        found.seconds.append(clock)
        found.losses.append(loss if math.isfinite(loss) else math.inf)
        found.held_out.append(measure(judge, *held_out, 500)[not course.problem.autoencoder] if final else math.nan)
        if not course.levels[-1] < loss < lost:
            break
    return found


def run_elsewhere(course, threads, trial):
    """Do a run on a worker of a cluster, with the given number of threads; return the trial and its `Run`."""
    entrant = next(iter(entrants([trial.entrant])), None)
    if entrant is None:
        raise ImportError(f"{platform.node()}: {trial.entrant} needs PyTorch, which is missing there, or too old")
    if entrant.library == "PyTorch":
        import torch
        torch.set_num_threads(threads)
    with blas_threads(threads):
        return trial, run(course, entrant, *trial[1:4], course.network(0), trial.final)


def runs_of(course, trials, progress, threads):
    """Return {trial: its `Run`}; runs are done here one after the other, or by all workers of a cluster."""
    found, judge = {}, course.network(0)
    field = {entrant.name: entrant for entrant in entrants([trial.entrant for trial in trials])}

    def done():
        if elsewhere():
            yield from spread(partial(run_elsewhere, course, threads), trials, -1)
            return
        for trial in trials:
            yield trial, run(course, field[trial.entrant], *trial[1:4], judge, trial.final)

    told = set()  # one line for each entrant if there is no terminal
    for trial, came in done():
        found[trial] = came
        progress(f"{len(found)} of {len(trials)} {'finals' if trial.final else 'trials'}: {trial.entrant}, "
                 f"rate {trial.rate:.2g}, batch {trial.batch}", line=trial.entrant not in told)
        told.add(trial.entrant)
    return {trial: found[trial] for trial in trials}  # workers finish in any order


def search(course, names, do):
    """Return {trial: `Run`} for the grids of some entrants, each extended while its best trial is at an end of it.

    `do` is a function from a list of `Trial` to such a dict.
    """
    trials, rates = {}, {name: list(RATES) for name in names}
    new = {name: list(RATES) for name in names}
    for _ in range(1 + EXTENSIONS):
        trials |= do([Trial(name, rate, batch) for name in new for rate in new[name] for batch in course.batches])
        new = {name: beyond(best_of(course, trials, name).rate, rates[name]) for name in new}
        new = {name: more for name, more in new.items() if more}
        if not new:
            break
        for name, more in new.items():
            rates[name] += more
    return trials


def best_of(course, trials, name):
    """Return the best trial of an entrant, by the time to the last level, and then by the last loss."""
    own = [trial for trial in trials if trial.entrant == name]
    return min(own, key=lambda trial: (trials[trial].time_to(course.levels[-1]), trials[trial].losses[-1]))


def beyond(best, rates):
    """Return a list with the rate that extends a grid whose best rate is at an end; it is empty otherwise."""
    return [best * STEP] if best == max(rates) else [best / STEP] if best == min(rates) else []


def race(course, names=NAMES, progress=lambda text, line=False: None, threads=1):
    """Return the rows of a race: the finals of each entrant, with the trials before them.

    Parameters
    ----------
    course : Course
    names : sequence of str, default all
        Names of the entrants.
    progress : callable
        Takes a text that says what is done, and whether it is worth a line if there is no terminal.
    threads : int, default 1
        Threads of NumPy and PyTorch in each run, if workers of a cluster do the runs (see `minilift.lab.runs.cluster`).
    """
    field = {entrant.name: entrant for entrant in entrants(names, course.problem)}
    progress(f"{course.title}: {len(field)} entrant{'s' * (len(field) != 1)}", line=True)
    do = partial(runs_of, course, progress=progress, threads=threads)
    trials = search(course, list(field), do)
    best = {name: best_of(course, trials, name) for name in field}
    finals = [best[name]._replace(seed=seed, final=True) for seed in range(1, SEEDS + 1) for name in field]
    found, rows = do(finals), []
    for name, entrant in field.items():
        own, chosen = [trial for trial in trials if trial.entrant == name], best[name]
        rates, batches = sorted({trial.rate for trial in own}), sorted({trial.batch for trial in own})
        rows.append({"network": course.title, "contender": name, "library": entrant.library, "rate": chosen.rate,
                     "batch": chosen.batch, "trials": len(own), "rates": rates, "batches": batches,
                     "at edge": chosen.rate in (rates[0], rates[-1]),
                     "batch at edge": chosen.batch in (batches[0], batches[-1]),
                     "runs": [found[final]._asdict() for final in finals if final.entrant == name],
                     "held out": course.held_out, "levels": course.levels, "budget": LONGER * course.budget})
    return rows


def courses(path=None, networks=("mlp",)):
    """Return the courses on the embedded digits, or on the images of a file with X_train, y_train, X_test, y_test."""
    data = datasets.digits() if path is None else read_data(path)
    data = replace(data, X_train=data.X_train[:10_000], y_train=data.y_train[:10_000])
    return [COURSES[network](data if network == "autoencoder" else varied(data), path is None) for network in networks]


def mlp_course(data, small):
    """Return the course of a multilayer perceptron."""
    widths = (64, 128, 128, 10) if small else (data.X_train[0].size, 1000, 250, 1000, data.n_classes)
    batches, levels, budget = ((100, 400, 1000), (0.1, 0.01), 0.5) if small else ((50, 200, 800), (0.3, 0.1), 30.0)
    problem = Problem("", widths, "relu", 0)
    return Course(named(data, small, "-".join(map(str, widths))), problem, batches, levels, budget, data)


def autoencoder_course(data, small):
    """Return the course of LocoProp's autoencoder, a smaller one for the digits.

    The levels lie between the least possible loss, the entropy of the pixels, and the loss of the mean image: 30 % and
    20 % of that difference above the least.
    """
    data = data.autoencoder()
    least, mean = (float(entropy(X).sum(axis=-1).mean()) for X in (data.X_train, data.X_train.mean(axis=0)))
    half = (data.X_train.shape[1], *((100, 50) if small else (1000, 500, 250)))
    widths = (*half, 10 if small else 30, *half[::-1])
    codes = ("tanh",) * (len(half) - 1)
    problem = Problem("", widths, (*codes, "identity", *codes), 0, autoencoder=True)
    batches, budget = ((25, 100, 400), 2.0) if small else ((50, 200, 800), 60.0)
    return Course(named(data, small, f"autoencoder {'-'.join(map(str, widths))}"), problem, batches,
                  tuple(float(f"{least + share * (mean - least):.3g}") for share in (0.3, 0.2)), budget, data)


def convnet_course(data, small):
    """Return the course of ProxProp's ConvNet."""
    if data.image_shape is None or any(size % 4 for size in data.image_shape[:2]):
        raise ValueError("--network convnet takes images, X_train of shape (N, height, width, channels) with height "
                         f"and width divisible by 4, got {data.X_train.shape}")
    data = data.images()
    problem = Problem("", (data.X_train[0].size, data.n_classes), "relu", 0, images=data.image_shape)
    batches, levels, budget = ((25, 100, 400), (0.1, 0.01), 4.0) if small else ((50, 200, 800), (1.0, 0.5), 120.0)
    return Course(named(data, small, "ConvNet"), problem, batches, levels, budget, data)


COURSES = {"mlp": mlp_course, "autoencoder": autoencoder_course, "convnet": convnet_course}
COURSE_SECONDS = {"mlp": 110, "autoencoder": 450, "convnet": 700}  # on the digits


def named(data, small, network):
    """Return the title of a course."""
    return f"{'digits' if small else f'{len(data.X_train)} images'}, {network}"


def entropy(p):
    """Return the entropy of probabilities, in nats."""
    from scipy.special import entr
    return entr(p) + entr(1 - p)


# ---- tables


def times_to(row, level):
    """Return the seconds after which each final of an entrant reached a training loss, inf if it never did."""
    return [Run(**found).time_to(level) for found in row["runs"]]


def last_time(row):
    """Return the median of the seconds to the last level."""
    return float(np.median(times_to(row, row["levels"][-1])))


def race_cells(block):
    """Return the results of one course as a table of text cells, the head first, then the quickest entrant."""
    levels, held_out = block[0]["levels"], block[0]["held out"]
    best, best_is, digits = BEST[held_out]
    rows = [["entrant", "rate", "batch", *(f"seconds to {level:g}" for level in levels), "training loss", held_out,
             f"{best_is} on the way"]]
    for row in sorted(block, key=last_time):
        tested = [found["held_out"] for found in row["runs"]]
        rows.append([row["contender"], number(row["rate"]) + "*" * row["at edge"],
                     str(row["batch"]) + "*" * row.get("batch at edge", False),
                     *(ranges(times_to(row, level), 3, "never") for level in levels),
                     *(ranges(values, digits) for values in ([found["losses"][-1] for found in row["runs"]],
                                                             [found[-1] for found in tested],
                                                             [best(found) for found in tested]))])
    return rows


def verdict(block):
    """Return the lines below the table: by what factor the best of minilift is faster than the best of PyTorch.

    The comparison is made if both libraries took part.
    """
    trials = sorted({row["trials"] for row in block})
    tried = f"{trials[0]} to {trials[-1]}" if len(trials) > 1 else trials[0]
    lines = [f"Each entrant: {tried} trials of rate × batch, then {SEEDS} new seeds of at most "
             f"{block[0]['budget']:g} s. Medians over these, ranges in brackets.",
             f"Rate and batch are those of the trial of {block[0]['budget'] / LONGER:g} s that was soonest at "
             f"{block[0]['levels'][-1]:g}, for all levels; where none came there, of that with the lowest loss: such "
             "an entrant runs for longer than it was tuned for.",
             f"{block[0]['held out'].capitalize()}: where the run ended, and the {BEST[block[0]['held out']][1]} after "
             "any epoch: early stopping cannot do better."]
    if any(row["at edge"] or row.get("batch at edge") for row in block):
        lines.append("* At an end of the grid: a rate or a batch beyond may be better.")
    absent = COLORS.keys() - {row["library"] for row in block}
    if absent:
        return [*lines, f"Nothing is compared: no entrant of {absent.pop()} took part."]
    return lines + [compared(block, level) for level in block[0]["levels"]]


def compared(block, level):
    """Return the line that compares the best of both libraries at one training loss."""
    best = {library: min(float(np.median(times_to(row, level))) for row in rows)
            for library, rows in grouped(block, "library").items()}
    if math.isinf(best["minilift"]):
        return f"to {level:g}: no entrant of minilift reached it in most of its runs"
    least = ""
    if math.isinf(best["PyTorch"]):
        best["PyTorch"], least = block[0]["budget"], "more than "
    return (f"to {level:g}: best of PyTorch ÷ best of minilift = {least}{best['PyTorch']:.3g} s ÷ "
            f"{best['minilift']:.3g} s = {least}{best['PyTorch'] / best['minilift']:.1f}")


def race_table(rows):
    """Return the results as text."""
    return "\n".join(line for title, block in grouped(rows, "network").items()
                     for line in ("", title, *aligned(race_cells(block)), *verdict(block)))


def race_figure(rows):
    """Return a figure of training loss and test accuracy (or loss) against seconds, with a row of panels per course."""
    from minilift import plots

    blocks = grouped(rows, "network")
    figure = plots.new_figure(10, 4.2 * len(blocks))
    grid = figure.subplots(len(blocks), 2, squeeze=False)
    for (title, block), (left, right) in zip(blocks.items(), grid):
        colors = {library: iter(names) for library, names in COLORS.items()}
        for row in block:
            color = next(colors[row["library"]])
            line = "-" if row["library"] == "minilift" else "--"
            runs = sorted(row["runs"], key=lambda run: Run(**run).time_to(row["levels"][-1]))
            for found in runs:
                drawn = {"color": color, "label": row["contender"]} if found is runs[len(runs) // 2] else {
                    "color": color, "linewidth": 0.6, "alpha": 0.5}
                left.plot(found["seconds"], found["losses"], line, **drawn)
                right.plot(found["seconds"], found["held_out"], line, **drawn)
        for level in block[0]["levels"]:
            left.axhline(level, color="#999999", linewidth=0.8)
        few = block[0]["held out"] == "test loss"  # its least value is not near 0: it spans less than a decade
        left.set(xscale="log", yscale="linear" if few else "log", xlabel="seconds of training", ylabel="training loss",
                 title=title)
        right.set(xscale="log", xlabel="seconds of training", ylabel=block[0]["held out"],
                  title="thick: the seed in the middle; thin: the others")
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8,
                  frameon=False)
    return figure
