r"""`minilift compare`: one small network trained with every method, side by side.

All methods start from the same parameters and see the same batches. Each is tried with every step size of one grid,
the same for all, in short runs of a quarter of the epochs, and the step size that leaves the lowest *training* loss is
run in full, with several seeds. The test set is used once, at the end.

What the step size is: methods that give a direction (BackProp, ProxProp, a method of the user's) hand it to the
optimizer, whose learning rate is searched. LocoProp and Semi-Implicit BP propose new parameters themselves; theirs is
the step size of their targets (gamma, eta), and ``SGD(lr=1)`` takes exactly the step they propose. The optimizer is
plain SGD by default: then no method remembers anything between batches, and what differs is the local problem alone.
For the same reason LocoProp takes plain local steps here; its authors' program uses RMSProp with momentum
(``locoprop-m:local_optimizer=rmsprop,local_lr=1e-4``).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from minilift import datasets
from minilift.checks import load_target
from minilift.layers.activations import ACTIVATIONS
from minilift.layers.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from minilift.methods import BackProp, LocoProp, ProxProp, SemiImplicit, as_method
from minilift.models import convnet, mlp
from minilift.optim import SGD, Adam, HeavyBall, Nesterov, RMSProp
from minilift.support.arguments import known_name, positive_number, whole_number
from minilift.support.backend import BACKENDS
from minilift.training.fit import evaluate, fit

STEPS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
LOCAL = {"steps": 10, "local_optimizer": "sgd", "local_lr": 5e-4}
SEARCH_SHARE = 4  # a run of the search has this part of the epochs, at least one
METHODS = {  # name: class, arguments, and the argument that is the step size (None: the optimizer's learning rate)
    "backprop": (BackProp, {}, None),
    "proxprop": (ProxProp, {"solver": "exact"}, None),
    "cg1": (ProxProp, {"solver": "cg1"}, None),
    "cg3": (ProxProp, {"solver": "cg3"}, None),
    "cg5": (ProxProp, {"solver": "cg5"}, None),
    "cg10": (ProxProp, {"solver": "cg10"}, None),
    "locoprop-s": (LocoProp, {"variant": "S", **LOCAL}, "gamma"),
    "locoprop-m": (LocoProp, {"variant": "M", **LOCAL}, "gamma"),
    "semi-implicit": (SemiImplicit, {}, "eta"),
}
DEFAULT_METHODS = ("backprop", "proxprop", "cg3", "locoprop-s", "locoprop-m", "semi-implicit")
OPTIMIZERS = {"sgd": SGD, "momentum": HeavyBall, "nesterov": Nesterov, "adam": Adam, "rmsprop": RMSProp}
EXAMPLES = """examples:
  minilift compare
  minilift compare --methods backprop proxprop:tau_theta=0.05 cg3 --optimizer nesterov:momentum=0.95
  minilift compare --layers 64,32,32,32,10 --activation tanh --steps 0.1,1,10,100 --repeats 5
  minilift compare --data curves --autoencoder --epochs 5 --output curves.png
  minilift compare --net convnet --methods backprop proxprop cg3:joint=True --optimizer adam --steps 0.001,0.01
  minilift compare --methods backprop mine.py:my_method

A data set, method or optimizer may be given arguments after a colon. FILE.py:NAME is a method of your own: a function
propose(block) that returns the step in theta, or a subclass of Method."""


# ---- the command line


def add_arguments(parser):
    """Declare the options of `minilift compare`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("--data", default="digits", metavar="NAME",
        help="data set, such as digits, curves, mnist or moons:noise=0.2; see 'minilift data list' (default digits)")
    add("--samples", type=int, default=2000, metavar="N",
        help="training samples at most, the first N of the set (default 2000, so that large sets stay quick)")
    add("--autoencoder", action="store_true",
        help="reproduce the input: sigmoid cross-entropy, tanh, and no activation on the narrowest (code) layer")
    add("--net", default="mlp", metavar="{mlp,convnet}",
        help="fully connected maps, or convolutions with max-pooling between them, on images (default mlp)")
    add("--layers", type=widths, metavar="N,N,…",
        help="widths from input to output (default 64,128,128,10 for digits; N,200,100,30,100,200,N for autoencoders); "
        "of a convnet the channels (default 1,8,16,10 for digits, 3,16,20,20,10 for cifar10)")
    add("--activation", metavar="NAME", help=f"{', '.join(ACTIVATIONS)} (default relu; tanh for autoencoders)")
    add("--methods", nargs="+", default=list(DEFAULT_METHODS), metavar="METHOD",
        help=f"{', '.join(METHODS)}, or FILE.py:NAME (default {' '.join(DEFAULT_METHODS)})")
    add("--optimizer", default="sgd", metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)}; for methods that give a direction (default sgd)")
    add("--steps", type=step_sizes, default=STEPS, metavar="X,X,…",
        help=f"the grid of step sizes, the same for all (default {','.join(f'{step:g}' for step in STEPS)})")
    add("--epochs", type=int, default=20, metavar="N",
        help="length of a run (default 20); each step size is tried for a quarter of it")
    add("--batch", type=int, default=100, metavar="N", help="samples in a batch (default 100)")
    add("--seed", type=int, default=0, metavar="N", help="of parameters and batches (default 0)")
    add("--repeats", type=int, default=3, metavar="N",
        help="seeds to run the chosen step size with; the search has the first (default 3)")
    add("--threads", type=int, default=1, metavar="N",
        help="threads of NumPy's BLAS (default 1: for small matrices the others only wait for each other)")
    add("--backend", default="numpy", metavar="{numpy,cupy}", help="array library (default numpy)")
    add("--level", type=float, metavar="LOSS",
        help="report the seconds to this training loss (default: a tenth of the loss before training)")
    add("--output", type=Path, default=Path("minilift-compare.png"), metavar="FILE",
        help="the figure (default minilift-compare.png)")
    add("--quiet", action="store_true", help="no progress bars")


def run(arguments):
    """Compare the methods, print the tables, save the figure; return the exit code."""
    from threadpoolctl import threadpool_limits

    from minilift import plots

    check_numbers(arguments)
    plots.checked_format(arguments.output)
    if not arguments.output.absolute().parent.is_dir():
        raise FileNotFoundError(f"--output: there is no folder {arguments.output.parent}")
    contenders = [parse_method(spec) for spec in dict.fromkeys(arguments.methods)]
    task = make_task(arguments)
    seeds = range(arguments.seed, arguments.seed + arguments.repeats)
    print(task.describe(), flush=True)
    with threadpool_limits(arguments.threads, user_api="blas"):
        results = compare(task, contenders, arguments.steps, seeds, progress=not arguments.quiet)
    level = arguments.level or results[0].histories[0]["train_loss"][0] / 10
    print(f"\n{summary(task, results, level)}\n\n{grid_table(results, task.search_epochs, seeds[0])}")
    curves = {result.contender.label: result.histories for result in results}
    plots.save(plots.comparison(curves, level=level, title=task.describe()), arguments.output)
    print(f"\nfigure: {arguments.output}")
    return 0


def widths(text):
    """Return the layer widths of a text such as '64,128,10'."""
    try:
        return [whole_number("--layers", int(item)) for item in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 64,128,10, got {text!r}") from None


def step_sizes(text):
    """Return the step sizes of a text such as '0.1,1,10', in rising order."""
    try:
        return tuple(sorted({positive_number("--steps", float(item)) for item in text.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected positive numbers such as 0.1,1,10, got {text!r}") from None


def check_numbers(arguments):
    """Raise an error for a number that is out of range."""
    for name in ("samples", "epochs", "batch", "repeats", "threads"):
        whole_number(f"--{name}", getattr(arguments, name))
    whole_number("--seed", arguments.seed, least=0)
    if arguments.level is not None:
        positive_number("--level", arguments.level)


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
    image_shape : tuple or None
        (H, W, C) for a convolutional network, of which `widths` are the channels.
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
    image_shape: tuple | None = None

    def network(self, seed):
        """Return the network before training."""
        if self.image_shape:
            return convnet(self.image_shape, self.widths[1:-1], self.widths[-1], filter_size(self.image_shape),
                           self.activation[0], loss=self.loss, seed=seed, backend=self.backend, input_layout="flat")
        return mlp(self.widths, self.activation, loss=self.loss, seed=seed, backend=self.backend)

    @property
    def search_epochs(self):
        """Length of a run of the search."""
        return max(1, self.epochs // SEARCH_SHARE)

    def train(self, contender, step, seed, epochs, callback=None):
        """Return the history of one run, and the network after it."""
        net = self.network(seed)
        method, optimizer = contender.make(step, self.optimizer)
        history = fit(net, self.data, method=method, optimizer=optimizer, epochs=epochs, batch_size=self.batch,
                      seed=seed, callbacks=[callback] if callback else [], progress=False)
        return history, net

    def describe(self):
        """Return the setting in one line."""
        layers = "-".join(map(str, self.widths))
        hidden = ", ".join(dict.fromkeys(self.activation))
        kind = "convnet" if self.image_shape else "network"
        return (f"{self.data.name} ({len(self.data.X_train)} training samples), {kind} {layers} ({hidden}), "
                f"{self.epochs} epochs, batch {self.batch}, {self.optimizer_name}")


def make_task(arguments):
    """Return the `Task` that the arguments describe, or raise an error that says what is wrong."""
    name, options = split_options("--data", arguments.data)
    data = datasets.load(name, **options)
    data = data.autoencoder() if arguments.autoencoder else data
    data = replace(data, X_train=data.X_train[:arguments.samples], y_train=data.y_train[:arguments.samples])
    n_in, n_out = data.X_train.shape[1], data.n_classes or data.y_train.shape[1]
    hidden = [200, 100, 30, 100, 200] if arguments.autoencoder else [128, 128]
    image_shape = None
    if known_name("--net", arguments.net, ("mlp", "convnet")) == "convnet":
        if data.image_shape is None or not data.n_classes:
            raise ValueError(f"--net convnet classifies images, which {data.name} "
                             f"{'does not hold' if data.n_classes else 'has no labels for'}")
        image_shape, n_in = data.image_shape, data.image_shape[2]
        hidden = [16, 20, 20] if filter_size(image_shape) == 5 else [8, 16]
    layers = arguments.layers or [n_in, *hidden, n_out]
    if (layers[0], layers[-1]) != (n_in, n_out):
        raise ValueError(f"--layers: {data.name} has {n_in} {'channels' if image_shape else 'inputs'} and {n_out} "
                         f"outputs, got {layers[0]} and {layers[-1]}")
    if image_shape and len(layers) < 3:
        raise ValueError("--layers: a convnet needs the channels of at least one convolution, such as "
                         f"{n_in},{hidden[0]},{n_out}")
    transfer = arguments.activation or ("tanh" if arguments.autoencoder else "relu")
    activation = [known_name("--activation", transfer, tuple(ACTIVATIONS))] * (len(layers) - 2)
    loss = SoftmaxCrossEntropy() if data.n_classes else SquaredError()
    if arguments.autoencoder:
        loss = SigmoidCrossEntropy()
        if activation:
            activation[int(np.argmin(layers[1:-1]))] = "identity"
    name, options = split_options("--optimizer", arguments.optimizer)
    optimizer = OPTIMIZERS[known_name("--optimizer", name, tuple(OPTIMIZERS))]
    check_options(f"--optimizer: {name}", optimizer, options, taken=("lr",))
    known_name("--backend", arguments.backend, BACKENDS)
    task = Task(data, layers, activation, loss, lambda lr: optimizer(lr, **options), arguments.optimizer,
                arguments.epochs, arguments.batch, arguments.backend, image_shape)
    task.optimizer(1.0)
    task.network(arguments.seed)  # what is wrong with the two is wrong now, not after a minute
    return task


def filter_size(image_shape):
    """Return the rows and columns of a convnet's filters: the paper's 5, or 3 for images as small as the digits."""
    return 5 if min(image_shape[:2]) >= 16 else 3


# ---- who trains


@dataclass(frozen=True)
class Contender:
    """A method as the command line names it.

    Attributes
    ----------
    label : str
        What was written on the command line.
    factory : callable
        From keyword arguments to a method.
    options : dict
        Its arguments, without the step size.
    searched : str or None
        The argument that is the step size; None if it is the optimizer's learning rate.
    """

    label: str
    factory: Callable
    options: dict
    searched: str | None

    def make(self, step, optimizer):
        """Return the method and its optimizer for a step size; `optimizer` is a function of the learning rate."""
        if self.searched is None:
            return self.factory(**self.options), optimizer(step)
        return self.factory(**self.options, **{self.searched: step}), SGD(lr=1.0)


def parse_method(spec):
    """Return the `Contender` of 'NAME', 'NAME:argument=value,…' or 'FILE.py:NAME'."""
    if re.fullmatch(r".+\.py:\w+", spec):
        own = as_method(load_target(spec))
        return Contender(spec.rpartition(":")[2], lambda: own, {}, None)
    name, options = split_options("--methods", spec)
    factory, defaults, searched = METHODS[known_name("--methods", name, tuple(METHODS))]
    check_options(f"--methods: {name}", factory, options, taken=(searched,))
    contender = Contender(spec, factory, {**defaults, **options}, searched)
    contender.make(1.0, SGD)  # an argument that is out of range is an error now
    return contender


def split_options(what, text):
    """Return the name and the arguments of 'name:argument=value,…'; values are Python literals or text."""
    name, _, rest = text.partition(":")
    options = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{what}: {text!r}: expected NAME:argument=value,…, got {item!r} after the colon")
        options[key] = value
        with contextlib.suppress(ValueError, SyntaxError):
            options[key] = ast.literal_eval(value)
    return name, options


def check_options(what, factory, options, taken=()):
    """Raise an error for an argument that `factory` does not have, or that the grid of step sizes sets."""
    for key in options:
        if key in taken:
            raise ValueError(f"{what}: {key} is the step size, which --steps searches")
        known_name(f"{what}: argument", key, [p for p in inspect.signature(factory).parameters if p not in taken])


# ---- the comparison


@dataclass
class Result:
    """What came out for one method.

    Attributes
    ----------
    contender : Contender
    search : dict of float → float
        Training loss after a short run for each step size, inf where it diverged.
    step : float
        The step size of the lowest one.
    histories : list of History
        Full runs with that step size, one a seed.
    test : list of float
        Test accuracies (test losses, where there are no classes), likewise; nan where the run diverged.
    """

    contender: Contender
    search: dict
    step: float
    histories: list
    test: list


def compare(task, contenders, steps, seeds, progress=True):
    """Return the `Result` of each contender.

    Parameters
    ----------
    task : Task
    contenders : list of Contender
    steps : sequence of float
        The grid of step sizes, searched with the first seed.
    seeds : sequence of int
        Of parameters and batches.
    progress : bool, default True
        Show a progress bar for each contender.
    """
    from tqdm.auto import tqdm

    results = []
    pad = max(len(contender.label) for contender in contenders)
    for contender in contenders:
        total = len(steps) * task.search_epochs + len(seeds) * task.epochs
        with tqdm(total=total, desc=contender.label.ljust(pad), unit="epoch", disable=not progress) as bar:
            results.append(search_and_repeat(task, contender, steps, seeds, bar))
            bar.update(total - bar.n)  # diverged runs are shorter
    return results


def search_and_repeat(task, contender, steps, seeds, bar):
    """Try every step size with the first seed, run the best one in full with all; return the `Result`."""
    def run(step, seed, epochs):
        bar.set_postfix_str(f"step size {step:g}, seed {seed}")
        return task.train(contender, step, seed, epochs, callback=count)

    def count(row, net, history):
        if row["epoch"] > 0:
            bar.update()

    search = {step: final_loss(run(step, seeds[0], task.search_epochs)[0]) for step in steps}
    best = min(search, key=search.__getitem__)
    runs = [run(best, seed, task.epochs) for seed in seeds]
    losses = [final_loss(history) for history, _ in runs]
    bar.set_postfix_str(f"step size {best:g}, training loss {np.median(losses):.3g}")
    return Result(contender, search, best, [history for history, _ in runs], [test(task, *run) for run in runs])


def final_loss(history):
    """Return the training loss at the end, inf if the run diverged."""
    return math.inf if history.diverged is not None else history["train_loss"][-1]


def test(task, history, net):
    """Return the test accuracy of a network, or its test loss where there are no classes; nan if it diverged."""
    if history.diverged is not None:
        return math.nan
    loss, accuracy = evaluate(net, task.data.X_test, task.data.y_test)
    return loss if accuracy is None else accuracy


def seconds_to(history, level):
    """Return the training time after which the training loss was first at most `level`, inf if never."""
    reached = [seconds for seconds, loss in zip(history["seconds"], history["train_loss"]) if loss <= level]
    return min(reached, default=math.inf)


# ---- tables


def summary(task, results, level):
    """Return the table of the methods, each at its best step size: medians over the seeds, ranges in brackets."""
    metric = "test accuracy" if task.data.n_classes else "test loss"
    rows = [("method", "step size", "training loss", metric, "seconds", f"seconds to {level:.3g}")]
    for result in results:
        edge = "*" if at_edge(result) else ""
        rows.append((result.contender.label, f"{result.contender.searched or 'lr'} = {result.step:g}{edge}",
                     spread([final_loss(history) for history in result.histories], "diverged"),
                     spread(result.test, "-"),
                     spread([history["seconds"][-1] for history in result.histories], "-", brackets=False),
                     spread([seconds_to(history, level) for history in result.histories], "never", brackets=False)))
    notes = []
    if len(results[0].histories) > 1:
        notes.append(f"Medians over {len(results[0].histories)} seeds, the lowest and highest in brackets.")
    if any(map(at_edge, results)):
        notes.append("* The best step size is the grid's first or last: a wider grid (--steps) may hold a better one.")
    return "\n".join([aligned(rows), *notes])


def grid_table(results, epochs, seed):
    """Return the table of the search: the training losses of every method with every step size."""
    rows = [("step size", *(f"{step:g}" for step in results[0].search))]
    for result in results:
        rows.append((result.contender.label, *(spread([loss], "div.") for loss in result.search.values())))
    return f"Training loss after {epochs} epochs for each step size, seed {seed} (div.: diverged):\n{aligned(rows)}"


def at_edge(result):
    """Whether the best step size is the grid's first or last, so that the best of all may lie outside."""
    return len(result.search) > 1 and result.step in (min(result.search), max(result.search))


def spread(values, otherwise, brackets=True):
    """Return the median of some values as text, with the range of several; `otherwise` for one that is not finite."""
    def text(value):
        return f"{value:.3g}" if math.isfinite(value) else otherwise

    middle = text(float(np.median([math.inf if math.isnan(value) else value for value in values])))
    if len(values) == 1 or not brackets:
        return middle
    return f"{middle} [{text(min(values))}, {text(max(values))}]"


def aligned(rows):
    """Return rows of text as a table, the first row as its head."""
    columns = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join([row[0].ljust(columns[0]), *(cell.rjust(width) for cell, width in zip(row[1:], columns[1:]))])
             for row in rows]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:]])
