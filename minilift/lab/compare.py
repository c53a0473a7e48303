r"""`minilift compare`: one small network trained with every method, side by side.

All methods start from the same parameters and see the same batches. Each is tried with every step size of one grid,
the same for all, in short runs: a quarter of the epochs, or until the loss after an epoch is 5 % above the initial
one. One step size is chosen by the worst *training* loss over the seeds (`minilift.lab.runs.trusted_step`) and run in
full with the same seeds. A step size is tried with the first seed, and with the others only if they can affect the
choice (`minilift.lab.runs.undecided_steps`). The test set is used once, at the end.

The meaning of the step size depends on the method. Methods that return a direction (BackProp, ProxProp, a user's
method) hand it to the optimizer, whose learning rate is searched. LocoProp and Semi-Implicit BP propose new parameters
themselves; what is searched is the step size of their targets (gamma, eta), and ``SGD(lr=1)`` takes exactly the step
they propose. By default the optimizer is plain SGD: then no method remembers anything between batches, and the methods
differ in the local problem alone. For the same reason LocoProp takes plain local steps here; its authors' program uses
RMSProp with momentum (``locoprop-m-rmsprop``).
"""

from __future__ import annotations

import argparse
import inspect
import io
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np

from minilift import datasets, plots
from minilift.checks.command import in_a_file, load_target
from minilift.lab.contenders import METHODS, Contender
from minilift.lab.runs import (
    CALM,
    FACTOR,
    Results,
    blas_threads,
    check_address,
    cluster,
    elsewhere,
    final_loss,
    grouped,
    read_data,
    record_of,
    select,
    spread,
    training_time,
    trusted_step,
    tune,
    undecided_steps,
    varied,
)
from minilift.lab.tables import aligned, ends, number, ranges
from minilift.layers.activations import ACTIVATIONS
from minilift.layers.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from minilift.methods import as_method
from minilift.models import convnet, mlp, resnet, rnn
from minilift.optim import SGD
from minilift.support.arguments import known_name, split_options, unknown_name, whole_number
from minilift.support.backend import BACKENDS
from minilift.support.options import check_count, check_counts, check_options, decimal, naming, series, whole, writable
from minilift.support.terminal import about, note
from minilift.training.curves import verbatim
from minilift.training.fit import fit, quiet
from minilift.training.names import OPTIMIZERS

STEPS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
DIGITS = 2  # significant digits; further ones differ from machine to machine
ABOVE = 1.05  # a loss is above its start if it exceeds this multiple of it; a dead network stays at its start
LARGE_INPUT = 10  # inputs above which networks train badly, so that a table should be standardized
LEARNS = 0.99  # a method has learned something if its loss falls below this share of the loss before training
MANY_CLASSES = 20  # targets that are whole numbers from 0 may be labels, if there are no more than this
SEARCH_SHARE = 4  # a run of the search has a quarter of the epochs, at least one
FAMILY = ("backprop", "proxprop", "bcd", "bcd:variables=forward", "admm:variables=forward", "dladmm", "mac", "fenchel",
          "lpom", "lifted-bregman", "predictive-coding", "target-propagation", "foof", "kfac", "gauss-newton")
FAMILY_OPTIONS = {  # in place of the defaults: some members solve every block by Newton's method, which is slow
    "samples": 500, "epochs": 8, "repeats": 1, "steps": (0.03, 0.1, 0.3, 1, 3, 10, 30, 100)}
DEFAULT_METHODS = ("backprop", "proxprop", "cg3", "locoprop-s", "locoprop-m", "semi-implicit")
DEFAULTS = {"samples": 2000, "epochs": 20, "repeats": 3, "steps": STEPS}
NETS = ("mlp", "convnet", "resnet", "rnn")
EXAMPLES = """examples:
  minilift compare
  minilift compare --methods backprop proxprop:tau_theta=0.05 cg3 --optimizer nesterov:momentum=0.95
  minilift compare --layers 64,32,32,32,10 --activation tanh --steps 0.1,1,10,100 --repeats 5
  minilift compare --data curves --autoencoder --epochs 5 --output curves.png
  minilift compare --net convnet --methods backprop proxprop cg3:joint=True --optimizer adam --steps 0.001,0.01
  minilift compare --net rnn --layers 8,64,10 --optimizer adam --steps 0.001,0.003,0.01
  minilift compare --methods backprop mine.py:my_method

The name of a data set, method or optimizer may have arguments after a colon. FILE.py:NAME is a method of your own: a
function propose(block) that returns the step in theta, or a subclass of Method."""


# ---- the command line


def add_task(parser, examples, samples, threads):
    """Declare the options that say what is trained; return functions that declare further options and counts."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{examples}\n\n{own_settings()}"
    add, count = parser.add_argument, partial(parser.add_argument, type=whole, metavar="N")
    add("--data", default="digits", metavar="NAME",
        help="data set, such as digits, curves, mnist, moons:noise=0.2 or 'teacher:widths=(10,20,2)'; see 'minilift "
        "data list' (default digits); or FILE.npz with X_train, y_train, X_test, y_test: inputs are numbers (uint8 are "
        "divided by 255), targets are whole numbers from 0 as labels, or floats for a regression")
    add("--standardize", action="store_true",
        help="shift and scale each input, and each target of a regression, to mean 0 and standard deviation 1 in the "
        "training samples; the network that train writes to --output takes and returns the original numbers")
    count("--samples", help=f"the largest number of training samples, the first N of the set (default {samples})")
    add("--autoencoder", action="store_true",
        help="reproduce the input: sigmoid cross-entropy, tanh, and no activation on the narrowest (code) layer")
    add("--net", default="mlp", metavar="{mlp,convnet,resnet,rnn}",
        help="mlp, the default: fully connected maps; convnet: convolutions with max-pooling, on images; resnet: fully "
        "connected maps in residual blocks of two; rnn: a recurrent net that reads a sample's features in steps")
    add("--layers", type=partial(series, parse=whole, example="whole numbers such as 64,128,10"), metavar="N,N,…",
        help="widths from input to output (default 64,128,128,10 for digits; N,200,100,30,100,200,N for autoencoders); "
        "for a convnet, the channels (default 1,8,16,10 for digits, 3,16,20,20,10 for cifar10); for a resnet, an even "
        "number of maps (default 64,64,64,64,64,64,10 for digits); for an rnn, the inputs in each step, hidden units "
        "and outputs (default 8,64,10 for digits, one row of the image in each step)")
    add("--activation", metavar="NAME", help=f"{', '.join(ACTIVATIONS)} (default relu; tanh for autoencoders and rnn)")
    add("--optimizer", default="sgd", metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)}; for methods that return a direction (default sgd)")
    count("--batch", default=100, help="samples in a batch, in all processes together (default 100)")
    count("--seed", default=0, help="seed of the parameters and batches (default 0)")
    count("--threads", default=1, help=f"threads of NumPy's BLAS{threads}")
    add("--quiet", action="store_true", help="show neither a progress bar nor an estimate of the time")
    return add, count


def own_settings():
    """Return lines that explain the names whose settings differ from their class's defaults."""
    made = {}
    for name, method in METHODS.items():
        parameters = inspect.signature(method.factory).parameters
        own = [f"{key}={value!r}" for key, value in method.options.items() if value != parameters[key].default]
        if own:
            made[name] = f"{method.factory.__name__}({', '.join(own)})"
    return "\n".join(["names with settings of their own, which arguments after a colon replace:",
                      *(f"  {name:<{max(map(len, made))}}  {text}" for name, text in made.items())])


def add_arguments(parser):
    """Declare the options of `minilift compare`."""
    add, count = add_task(parser, EXAMPLES, "2000, so that large sets stay quick",
                          " (default 1: for small matrices more threads only wait for each other)")
    add("--methods", nargs="+", default=list(DEFAULT_METHODS), metavar="METHOD",
        help=f"{', '.join(METHODS)}, FILE.py:NAME, or family: all methods on a lifted energy, and others for "
        "comparison, by default with 500 samples, 8 epochs, one seed and eight step sizes, in two minutes "
        f"(default {' '.join(DEFAULT_METHODS)})")
    add("--steps", type=partial(series, parse=decimal, example="positive numbers such as 0.1,1,10"), metavar="X,X,…",
        help=f"the grid of step sizes, the same for all (default {','.join(f'{step:g}' for step in STEPS)})")
    count("--epochs", help="epochs of a run (default 20); each step size is tried for a quarter of them")
    count("--repeats", help="number of seeds, in the search and in the full runs (default 3)")
    add("--cluster", metavar="ADDRESS",
        help="address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers do the runs; times are measured "
        "there. Not with FILE.py:NAME")
    add("--backend", default="numpy", metavar="{numpy,cupy}", help="array library (default numpy)")
    add("--level", type=decimal, metavar="LOSS",
        help="report the seconds to this training loss (default: a tenth of the loss before training; if few methods "
        "reach that, nine tenths of the way to the loss that two thirds of them reach)")
    add("--output", type=Path, default=Path("minilift-compare.png"), metavar="FILE",
        help="file for the figure (default minilift-compare.png); one of the energies, if methods have some, gets "
        "-energy in its name")


def fill_in(arguments):
    """Set options that were not given to their defaults, which are different for the family."""
    for name, value in (FAMILY_OPTIONS if "family" in arguments.methods else DEFAULTS).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def of_energies(path):
    """Return the file for the figure of energies beside that of losses."""
    return path.with_stem(f"{path.stem}-energy")


def run(arguments):
    """Compare the methods, print the tables, save the figure; return the exit code."""
    from threadpoolctl import threadpool_limits

    fill_in(arguments)
    check_counts(vars(arguments), "samples", "epochs", "batch", "repeats", "threads")
    whole_number("--seed", arguments.seed, least=0)
    check_address(arguments.cluster)
    check_figure(arguments.output)
    twice = [spec for spec, count in Counter(arguments.methods).items() if count > 1]
    if twice:
        raise ValueError(f"--methods: {twice[0]!r} is given twice")
    specs = [spec for given in arguments.methods for spec in (FAMILY if given == "family" else [given])]
    contenders = parse_methods(dict.fromkeys(specs))
    task = make_task(arguments)
    writable(arguments.output)
    if any("energy" in contender.method().columns for contender in contenders):
        writable(of_energies(arguments.output))
    seeds = range(arguments.seed, arguments.seed + arguments.repeats)
    print(task.describe(), *task.remarks(), sep="\n", flush=True)
    with threadpool_limits(arguments.threads, user_api="blas"):
        epochs = epochs_of_each(task, len(set(arguments.steps)), len(seeds))
        needed = sum(seconds_needed(task, contender, epochs) for contender in contenders)  # may raise an error
        if not arguments.quiet:
            note(f"{about(needed)}; then two tables and the figure {arguments.output}")
        with cluster(arguments.cluster):
            results = compare(task, contenders, sorted(set(arguments.steps)), seeds, not arguments.quiet,
                              arguments.threads)
    level, how = (arguments.level, None) if arguments.level else common_level(results, task.data.name)
    try:
        plots.save(figure(task, contenders, results, level), arguments.output)  # first: perhaps nobody reads the table
    finally:
        print(f"\n{summary(task, contenders, results, level, how)}\n\n{grid_table(task, results)}")
    print(f"\nfigure: {arguments.output}")
    energies = energy_figure(task, contenders, results)
    if energies is not None:
        plots.save(energies, path := of_energies(arguments.output))
        print(f"energies: {path}")
    return 0


@naming("--output", Exception)
def check_figure(path):
    """Raise an error now, not after all runs, if a figure cannot be saved to a file: .pgf, say, needs LaTeX."""
    figure = plots.new_figure(1, 1)
    figure.suptitle("x")
    figure.savefig(io.BytesIO(), format=plots.checked_format(path))


# ---- what is trained


@dataclass(frozen=True)
class Task:
    """What all methods have in common: data, network and length of a run.

    Attributes
    ----------
    data : Dataset
    widths : list of int
    activation : list of str
        One for each hidden layer.
    loss : Loss
    optimizer : callable
        From a learning rate to an optimizer.
    optimizer_name : str
    epochs, batch : int
    backend : str
    net : str
        One of `NETS`. For a convolutional network, `widths` are the channels.
    given : Dataset or None
        The data before standardization; None if they have not been standardized.
    """

    data: datasets.Dataset
    widths: list
    activation: list
    loss: object
    optimizer: Callable
    optimizer_name: str
    epochs: int
    batch: int
    backend: str
    net: str = "mlp"
    given: datasets.Dataset | None = None

    def network(self, seed):
        """Return the network before training."""
        more = {"loss": self.loss, "seed": seed, "backend": self.backend}
        if self.net == "convnet":
            shape = self.data.image_shape
            return convnet(shape, self.widths[1:-1], self.widths[-1], filter_size(shape), self.activation[0],
                           input_layout="flat", **more)
        if self.net == "resnet":
            return resnet(self.widths, self.activation[0], **more)
        if self.net == "rnn":
            return rnn(*self.widths, self.data.X_train.shape[1], activation=self.activation[0], **more)
        return mlp(self.widths, self.activation, **more)

    @property
    def search_epochs(self):
        """The number of epochs of a run of the search."""
        return max(1, self.epochs // SEARCH_SHARE)

    def run(self, contender, job, bar, search):
        """Do a run of a contender and return its record; the bar, if there is one, counts its epochs.

        A run of the search is short, ends as soon as the loss is above its start, and does not use the test set.
        """
        def after_epoch(row, net, history):
            if bar is not None:
                bar.update(row["epoch"] > 0)
            return search and row["train_loss"] > ABOVE * history["train_loss"][0]

        net = self.network(job.seed)
        method, optimizer = contender.make(job.step, self.optimizer)
        batch = None if method.whole_batch else self.batch
        history = fit(net, self.data, method=method, optimizer=optimizer, batch_size=batch, seed=job.seed,
                      epochs=self.search_epochs if search else self.epochs, callbacks=[after_epoch], progress=False)
        return record_of(job, history, net, None if search else self.data)

    def describe(self):
        """Return the setting in one line."""
        layers = "-".join(map(str, self.widths))
        hidden = ", ".join(dict.fromkeys(self.activation)) or "no hidden layer"
        kind = "network" if self.net == "mlp" else self.net
        samples = f"{len(self.data.X_train)} training samples{', standardized' * (self.given is not None)}"
        return (f"{self.data.name} ({samples}), {kind} {layers} ({hidden}), "
                f"{self.epochs} epoch{'s' * (self.epochs > 1)}, batch {self.batch}, {self.optimizer_name}")

    def remarks(self):
        """Return lines about settings that may be unintended, or about what is needed to read the numbers."""
        data, lines = self.data, []
        X, y = data.X_train, data.y_train
        if self.given is None and max(X.max(), -X.min()) > LARGE_INPUT:
            table = self.net in ("mlp", "resnet") and not np.array_equal(X, y)  # not an autoencoder
            advice = "with --standardize each has mean 0 and deviation 1" if table else "smaller ones train sooner"
            lines.append(f"The inputs reach from {X.min():.3g} to {X.max():.3g}; {advice}.")
        if data.n_classes:
            seen = np.unique(y)
            unseen = np.setdiff1d(data.y_test, seen)
            if len(unseen):
                lines.append(f"Of the classes of the test set {len(unseen)} have no training sample: "
                             f"{', '.join(map(str, unseen[:5]))}{', …' * (len(unseen) > 5)}. Are the samples sorted, "
                             "or too few?")
            if len(seen) > max(MANY_CLASSES, len(y) / 4):
                lines.append(f"There are {len(seen)} classes in {len(y)} samples; for a regression y must hold floats: "
                             "y.astype(float).")
        elif isinstance(self.loss, SquaredError):
            mean = ((y - y.mean(axis=0)) ** 2).sum(axis=1).mean() / 2
            of = "the standardized targets" if self.given is not None else "the targets"
            lines.append(f"A regression: the loss is half the squared error of {of}, {mean:.3g} for their mean.")
            values = np.unique((self.given or data).y_train[:1000])
            if len(values) <= MANY_CLASSES and (values == np.arange(len(values))).all():
                lines.append("The targets are whole numbers; of classes y must hold integers, as "
                             f"y.{'astype(int)' if y.shape[1] == 1 else 'argmax(axis=1)'} has them.")
        return lines


def make_task(arguments):
    """Return the `Task` that the arguments describe, or raise an error that says what is wrong."""
    if arguments.standardize and (arguments.autoencoder or arguments.net in ("convnet", "rnn")):
        raise ValueError("--standardize: is for tables, with --net mlp or resnet and without --autoencoder")
    data = load_data(arguments)
    layers = layers_of(arguments, data)
    data = in_steps(data, layers[0]) if arguments.net == "rnn" else data
    transfer = arguments.activation or ("tanh" if arguments.autoencoder or arguments.net == "rnn" else "relu")
    given, data = (data, data.standardized()) if arguments.standardize else (None, data)
    activation = [known_name("--activation", transfer, tuple(ACTIVATIONS))] * (len(layers) - 2)
    loss = SigmoidCrossEntropy if arguments.autoencoder else SoftmaxCrossEntropy if data.n_classes else SquaredError
    if arguments.autoencoder and activation:
        activation[int(np.argmin(layers[1:-1]))] = "identity"
    name, options = split_options("--optimizer", arguments.optimizer)
    optimizer = OPTIMIZERS[known_name("--optimizer", name, tuple(OPTIMIZERS))][0]
    check_options(f"--optimizer: {name}", optimizer, options, taken=("lr",))
    known_name("--backend", arguments.backend, BACKENDS)
    task = Task(data, layers, activation, loss(), lambda lr: optimizer(lr, **options), arguments.optimizer,
                arguments.epochs, arguments.batch, arguments.backend, arguments.net, given)
    with naming("--optimizer", ArithmeticError):  # an error is reported now, not after a minute
        task.optimizer(1.0)
    with naming("--layers", MemoryError):
        net = task.network(arguments.seed)
    with naming("--autoencoder" if arguments.autoencoder else "--data"):
        for part in ("train", "test"):
            with naming(f"the {part} set"):
                net.checked_batch(getattr(data, f"X_{part}"), getattr(data, f"y_{part}"))
    return task


@naming("--data", ArithmeticError, MemoryError)
def load_data(arguments):
    """Return the data set that the arguments name, cut to the number of samples."""
    if arguments.data.endswith(".npz"):
        data = read_data(arguments.data, table=True, white=1 if arguments.standardize else 255)
    else:
        name, options = split_options("--data", arguments.data)
        if re.fullmatch(r"[^()]*[./\\][^()]*", name):
            raise ValueError(f"expected a NAME or FILE.npz, got {arguments.data!r}; arrays become such a file by "
                             "numpy.savez('mine.npz', X_train=…, y_train=…, X_test=…, y_test=…)")
        data = datasets.load(name, **options)
    data = data.autoencoder() if arguments.autoencoder else data
    return varied(replace(data, X_train=data.X_train[:arguments.samples], y_train=data.y_train[:arguments.samples]))


def layers_of(arguments, data):
    """Return the widths of all layers (for a convolutional network, its channels), or raise an error."""
    n_in, hidden, unit = before_output(arguments, data)
    n_out = data.n_classes or data.y_train.shape[1]
    layers, net = arguments.layers or [n_in, *hidden, n_out], arguments.net
    for width in layers:
        check_count("layers", width)
    if (layers[0], layers[-1]) != (n_in, n_out):
        raise ValueError(f"--layers: {data.name} has {n_in} {unit} and {n_out} outputs, got {layers[0]} and "
                         f"{layers[-1]}")
    least = f"--layers: expected at least {n_in},{f'{hidden[0]},' if net != 'mlp' else ''}{n_out}"
    if len(layers) < 2 + (net != "mlp"):
        raise ValueError(least)
    if net == "resnet" and len(layers) % 2 == 0:
        raise ValueError(f"{least} and an even number of maps, got {len(layers) - 1}")
    if net == "rnn" and len(layers) > 3:
        raise ValueError(f"--layers: expected three numbers for an rnn, such as {n_in},{hidden[0]},{n_out}, "
                         f"got {len(layers)}")
    return layers


def before_output(arguments, data):
    """Return the number of inputs (channels, or inputs at a step), the default hidden widths and the inputs' name."""
    net, shape = known_name("--net", arguments.net, NETS), data.image_shape
    if net != "mlp" and arguments.autoencoder:
        raise ValueError(f"--autoencoder: expected --net mlp, which has a code layer, got {net}")
    if net == "convnet":
        if shape is None or not data.n_classes:
            raise ValueError(f"--net convnet classifies images, which {data.name} "
                             f"{'does not hold' if data.n_classes else 'has no labels for'}")
        return shape[2], [16, 20, 20] if filter_size(shape) == 5 else [8, 16], "channels"
    if net == "rnn":
        row = math.prod(shape[1:]) if shape else 1
        return arguments.layers[0] if arguments.layers else row, [64], "inputs at a step"
    if net == "resnet":
        return data.X_train.shape[1], [64] * 5, "inputs"
    return data.X_train.shape[1], [200, 100, 30, 100, 200] if arguments.autoencoder else [128, 128], "inputs"


def in_steps(data, n_in):
    """Return the data set with the features of each sample cut into time steps, (N, T, n_in)."""
    features = data.X_train.shape[1]
    if features % n_in:
        raise ValueError(f"--layers: the {features} features of {data.name} do not divide into steps of {n_in}")
    return replace(data, **{name: getattr(data, name).reshape(-1, features // n_in, n_in)
                            for name in ("X_train", "X_test")})


def filter_size(image_shape):
    """Return the size of a convnet's square filters: the paper's 5, or 3 for images as small as the digits."""
    return 5 if min(image_shape[:2]) >= 16 else 3


def parse_methods(specs):
    """Return the contenders of different texts; if two have the same NAME, their labels are the whole texts."""
    contenders = {spec: parse_method(spec) for spec in specs}
    labels = [contender.label for contender in contenders.values()]
    return [contender._replace(label=spec) if labels.count(contender.label) > 1 else contender
            for spec, contender in contenders.items()]


def parse_method(spec, what="--methods"):
    """Return the `Contender` of 'NAME', 'NAME:argument=value,…' or 'FILE.py:NAME', given to the option `what`.

    Its label is the text, or for a file just NAME, unless one of our methods has that name.
    """
    if re.search(r"\.py\b", spec):
        with naming(what):
            own = as_method(load_target(spec))
        name = spec.rpartition(":")[2]
        return Contender(spec if name in METHODS else name, lambda: own)
    if spec.partition(":")[0] not in METHODS and (hint := in_a_file(spec)):
        raise ValueError(f"{what}: expected a name or FILE.py:NAME, got {spec!r}{hint}")
    name, options = split_options(what, spec)
    if name not in METHODS:
        raise unknown_name(what, name, (*METHODS, *["family"] * (what == "--methods")))
    known = METHODS[name]
    check_options(f"{what}: {name}", known.factory, options, taken=(known.argument,))
    contender = known._replace(label=spec, options={**known.options, **options})
    with naming(what, ArithmeticError):  # an argument out of range is reported now
        contender.make(1.0, SGD)
    return contender


# ---- the comparison


def run_elsewhere(task, by_label, threads, search, job):
    """Do a run on a worker of a cluster, with the given number of threads, and return its record."""
    with blas_threads(threads):
        return task.run(by_label[job.label], job, None, search)


def compare(task, contenders, steps, seeds, progress=True, threads=1):
    """Return the `Results` of all contenders.

    Parameters
    ----------
    task : Task
    contenders : list of Contender
    steps : sequence of float
        The grid of step sizes.
    seeds : sequence of int
        Seeds of parameters and batches, in the search and in the full runs.
    progress : bool, default True
        Show a progress bar or, if there is no terminal, a line for each method.
    threads : int, default 1
        Threads of NumPy in each run, if the workers of a cluster do the runs (see `minilift.lab.runs.cluster`).
    """
    by_label = {contender.label: contender for contender in contenders}
    grid = [(task.data.name, label, step) for label in by_label for step in steps]

    def runs(search, jobs, bar):
        if elsewhere():
            return spread(partial(run_elsewhere, task, by_label, threads, search), jobs, -1)
        return (task.run(by_label[job.label], job, bar, search) for job in jobs)

    stages = [(partial(runs, search), dict.fromkeys(by_label, epochs), seeds)
              for search, epochs in ((True, task.search_epochs), (False, task.epochs))]
    search, records = tune(grid, *stages, trusted_step, progress, undecided_steps)
    return Results(records, search, trusted_step)


def epochs_of_each(task, steps, seeds):
    """Return the epochs of a method; as a rule two step sizes are tried with further seeds (see `undecided_steps`)."""
    return (steps + (seeds - 1) * min(2, steps)) * task.search_epochs + seeds * task.epochs


def seconds_needed(task, contender, epochs, processes=1):
    """Return roughly how many seconds `epochs` take, from the time of one step on a process's rows of a batch."""
    samples = len(task.data.X_train)
    rows = samples if contender.make(1.0, SGD)[0].whole_batch else min(task.batch, samples)
    step = seconds_of_a_step(replace(task, batch=math.ceil(rows / processes)), contender)
    return epochs * math.ceil(samples / rows) * step


def seconds_of_a_step(task, contender):
    """Return the seconds of one step of a method; a first step, which creates buffers, is not counted."""
    net = task.network(0)
    method, optimizer = contender.make(1.0, task.optimizer)
    X, y = task.data.X_train[:task.batch], task.data.y_train[:task.batch]
    for _ in range(2):
        started = time.perf_counter()
        try:
            with quiet():
                optimizer.step(net.parameters, method.direction(net, X, y)[1])
        except ArithmeticError:  # reported in its run
            return 0.0
    return time.perf_counter() - started


def seconds_to(level, record):
    """Return the training time after which the training loss was first at most `level`, inf if never."""
    rows = zip(record["history"]["seconds"], record["history"]["train_loss"])
    return next((seconds for seconds, loss in rows if loss <= level), math.inf)


# ---- tables and figure


def common_level(results, data):
    """Return a training loss that most methods reach, and a sentence on how it was chosen.

    It is a tenth of the loss before training. If fewer than two thirds of the methods that learn anything reach that,
    for example because labels are noisy, it is nine tenths of the way from the loss before training down to the lowest
    loss that two thirds of them reach.
    """
    start = float(np.median([record["history"]["train_loss"][0] for record in results.records]))
    lowest, tenth = sorted(reached(results, data, label) for label in results.labels), start / 10
    learn = sorted(reached(results, data, label) for label in results.labels
                   if reached(results, data, label, share=True) < LEARNS)
    most = learn[math.ceil(len(learn) * 2 / 3) - 1] if learn else 0.0
    if most <= tenth:
        return tenth, "The level is a tenth of the loss before training."
    level = most + (start - most) / 10
    come, few = (sum(loss <= bound for loss in lowest) for bound in (level, tenth))
    return level, (f"The level is nine tenths of the way from {start:.3g}, the loss before training, to {most:.3g}: "
                   f"{come} of {len(lowest)} methods come there, {few} to a tenth of that loss.")


def reached(results, data, label, share=False):
    """Return the lowest training loss of a method's runs, or the share of the loss before training that it is.

    It is that of the median run, or the higher of the two in the middle.
    """
    losses = [record["history"]["train_loss"] for record in results.chosen(data, label)]
    lowest = sorted(min(loss) / (loss[0] if share else 1) for loss in losses)
    return lowest[len(lowest) // 2]


def summary(task, contenders, results, level, how=None):
    """Return the table of the methods, each with its chosen step size: medians over the seeds, ranges in brackets.

    `how` says how the level was chosen.
    """
    metric, worst = ("accuracy", -math.inf) if task.data.n_classes else ("loss", math.inf)
    rows = [("method", "step size", "training loss", f"test {metric}", "seconds", f"seconds to {level:.3g}")]
    for contender in contenders:
        measured = partial(results.measured, task.data.name, contender.label)
        rows.append((contender.label, step_text(task, contender, results),
                     ranges(measured(final_loss), DIGITS, "diverged"),
                     ranges(measured(itemgetter(f"test_{metric}")), DIGITS, missing=worst),
                     number(ends(measured(training_time))[0], DIGITS),
                     number(ends(measured(partial(seconds_to, level)))[0], DIGITS, "never")))
    notes = [f"Medians over {len(results.seeds)} seeds, the lowest and highest in brackets."] * (len(results.seeds) > 1)
    if any("*" in row[1] for row in rows):
        notes.append("* The grid's first or last step size: a wider grid (--steps) may hold a better one.")
    whole = [contender.label for contender in contenders if contender.make(1.0, task.optimizer)[0].whole_batch]
    if whole:
        notes.append(f"A step of {', '.join(whole)} takes the whole training set, whatever --batch says.")
    notes += taken_as_they_are(task, contenders)
    notes += [how] * (how is not None)
    return "\n".join([*aligned(rows), *notes])


def taken_as_they_are(task, contenders):
    """Return a line that names the methods to which the optimizer is not applied; none if it is plain SGD."""
    own = [contender.label for contender in contenders if contender.searched is not None]
    if not own or task.optimizer_name == "sgd":
        return []
    return [f"{', '.join(own)} propose{'s' * (len(own) == 1)} new parameters, taken as they are: "
            f"{task.optimizer_name} is not applied."]


def step_text(task, contender, results):
    """Return the chosen step size with its name, and with an asterisk if it is at the edge of the grid."""
    step, edge = (ask(task.data.name, contender.label) for ask in (results.best_step, results.at_edge))
    return f"{contender.searched or 'lr'} = {step:g}{'*' * edge}"


def grid_table(task, results):
    """Return the table of the search: the highest loss over the seeds for each step size, the choice in brackets.

    If only the first seed was run, its loss is shown after a ≥: the highest of all is at least that.
    """
    seeds = len(results.seeds)
    grid = sorted(results.steps(task.data.name, results.labels[0]))
    rows = [("step size", *(f"{step:g} " for step in grid))]
    for label in results.labels:
        searched, chosen = (ask(task.data.name, label) for ask in (results.searched, results.best_step))
        most = max(map(len, searched.values()))
        own = grouped(select(results.search, data=task.data.name, label=label), "step")
        cells = {step: loss_text(losses, most, any(map(is_above, own[step]))) for step, losses in searched.items()}
        rows.append((label, *(f"[{cells[step]}]" if step == chosen else f"{cells[step]} " for step in grid)))
    over = f", the highest of {seeds} seeds" * (seeds > 1)
    counted = f"{task.search_epochs} epoch{'s' * (task.search_epochs > 1)}"
    few = "≥: of the first seed, as no other could change the choice; " * (seeds > 1)
    return "\n".join([f"Training loss after {counted} for each step size{over}",
                      f"({few}above: a run ended above its start; div.: one diverged).", *aligned(rows), *CHOICE])


CHOICE = ("In brackets the choice: the smallest step size within 5 % of the lowest loss, and of the way down to it.",
          f"Where the next larger one has more than {FACTOR:g} times its loss, the next smaller one is taken if it is "
          f"within {100 * (CALM - 1):g} % likewise.")


def is_above(record):
    """Whether a run ended above the loss from which it started, which differs between seeds."""
    return final_loss(record) > ABOVE * record["history"]["train_loss"][0]


def loss_text(losses, seeds, above):
    """Return the highest loss of a step size as text; 'above' if a run was, as how far above is arbitrary."""
    worst = max(losses)
    if worst == math.inf:
        return "div."
    if above:
        return "above"
    return "≥" * (len(losses) < seeds) + number(worst, DIGITS)


def figure(task, contenders, results, level):
    """Return the figure of the losses with the chosen step sizes, which the legend names."""
    curves, looks = curves_of(task, contenders, results)
    return plots.comparison(curves, level=level if math.isfinite(level) else None,
                            title=verbatim(task.describe()), looks=looks)


def energy_figure(task, contenders, results):
    """Return the figure of the energies of the methods that descend on one, or None if none does."""
    with_energy = [contender for contender in contenders if "energy" in contender.method().columns]
    if not with_energy:
        return None
    curves, looks = curves_of(task, with_energy, results)
    return plots.comparison(curves, "energy, the loss as a sum", "energy", looks=looks,
                            title="Each method's own energy: of all samples if they are kept, else of the last batch")


def curves_of(task, contenders, results):
    """Return the histories with the chosen step sizes, by legend text, and the names of their plotting styles."""
    labels = {verbatim(f"{contender.label}, {step_text(task, contender, results)}"): contender.label
              for contender in contenders}
    curves = {shown: results.measured(task.data.name, label, itemgetter("history")) for shown, label in labels.items()}
    return curves, {shown: label.split(":")[0] for shown, label in labels.items()}
