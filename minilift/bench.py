r"""Measurements: ``minilift bench step | solve | scale | memory | import``.

Contenders take turns, A B A B, in one process with a fixed number of threads; ratios are formed pair by pair,
within a round, and reported with their range. The measure of a step is the machine's own limit: the time that the
bare matrix products of that step take in the same rounds, written into arrays that are there already. It depends
on the method, and is counted from the mathematics, not from the code. Maps with r rows, n inputs, m outputs need

====================  =================================================================================
BackProp              A W, Aᵀ G and, but for the first map, G Wᵀ
implicit steps        these, the Gram matrix of the smaller side s (A Aᵀ or Aᵀ A), and k products of it
                      with s × m: one for an exact step, K for cgK, T − 1 for T plain local steps
rescaled local steps  these, and A W and Aᵀ G again in each of T − 1 further steps (they have no sample space)
====================  =================================================================================

The share of the limit is that time over the time of the whole step: forward pass, loss, directions and
optimizer, checks of the input included. Factorisations are no products: they count against the share.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilift.arguments import known_name, whole_number
from minilift.backend import BACKENDS, get_module, synchronize
from minilift.losses import SigmoidCrossEntropy
from minilift.methods import BackProp, LocoProp, ProxProp, SemiImplicit
from minilift.network import mlp
from minilift.optim import SGD, Nesterov

LEARNING_RATE = 1e-4  # small, so that nothing diverges and every step does the same work
MOMENTUM = 0.95  # ProxProp's, for its own network and for all others
SETTLE = 0.1  # seconds between libraries: OpenBLAS threads spin for some 30 ms after their last product
TURN = 0.05  # seconds that a turn takes at least, in whole steps
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


# ------------------------------------------------------------------------------------------ networks


class Problem(NamedTuple):
    """A network of one of the papers, with the batch it is trained on."""

    title: str
    widths: tuple
    activation: object
    batch: int
    autoencoder: bool = False

    def network(self, backend):
        """Return the network, on a backend."""
        loss = SigmoidCrossEntropy() if self.autoencoder else None
        return mlp(self.widths, self.activation, loss=loss, backend=backend)

    def samples(self, images=None):
        """Return a batch X (batch, n_0), y: images if given, else random ones of 8 bits a pixel in [0, 1]."""
        rng = np.random.default_rng(0)
        if images is None:
            images = rng.integers(0, 256, (self.batch, self.widths[0]), dtype=np.uint8)
        X = images[: self.batch].reshape(self.batch, -1).astype(np.float32)
        X /= X.max()
        return X, X if self.autoencoder else rng.integers(0, self.widths[-1], self.batch)


CODE = ("tanh", "tanh", "tanh", "identity", "tanh", "tanh", "tanh")  # the code layer is linear
PROBLEMS = {
    "wide": Problem("ProxProp's network", (3072, 4000, 1000, 4000, 10), "relu", 500),
    "autoencoder": Problem("LocoProp's autoencoder", (784, 1000, 500, 250, 30, 250, 500, 1000, 784), CODE, 1000,
                           autoencoder=True),
    "sibp": Problem("Semi-Implicit BP's network", (784, 500, 10), "relu", 100),
    "small": Problem("a small network", (64, 128, 128, 10), "relu", 100),
}


# ---------------------------------------------------------------------------------------- contenders


class Contender(NamedTuple):
    """Something to be timed: `step` does the work, `wait` returns when the device has done it."""

    library: str
    step: Callable
    wait: Callable = lambda: None


class Ours(NamedTuple):
    """A method of minilift: how to make it, its outer optimizer, and its products beyond BackProp's."""

    method: Callable
    optimizer: Callable
    products: Callable


def nesterov():
    """Return the optimizer of a method that gives directions."""
    return Nesterov(LEARNING_RATE, MOMENTUM)


def own_step():
    """Return the optimizer of a method that proposes new parameters: it takes just that step."""
    return SGD(1.0)


def solves(maps, applications):
    """Return the products of local solves: a Gram matrix each, applied so many times."""
    gram = [("gram", rows, n_in) for rows, n_in, _ in maps]
    return gram + [("apply", min(rows, n_in), n_out) for rows, n_in, n_out in maps] * applications


def passes(maps, times):
    """Return the products of further local steps in parameter space."""
    return [(kind, *shape) for shape in maps for kind in ("forward", "theta")] * times


def locoprop(variant, local_optimizer="sgd"):
    """Return LocoProp with ten local steps, of a rate at which nothing diverges."""
    return LocoProp(variant, gamma=1.0, steps=10, local_lr=1e-8, local_optimizer=local_optimizer)


METHODS = {
    "BackProp": Ours(BackProp, nesterov, lambda maps: []),
    "ProxProp exact": Ours(lambda: ProxProp(1.0), nesterov, lambda maps: solves(maps[:-1], 1)),
    "ProxProp cg3": Ours(lambda: ProxProp(1.0, "cg3"), nesterov, lambda maps: solves(maps[:-1], 3)),
    "ProxProp cg5": Ours(lambda: ProxProp(1.0, "cg5"), nesterov, lambda maps: solves(maps[:-1], 5)),
    "ProxProp cg10": Ours(lambda: ProxProp(1.0, "cg10"), nesterov, lambda maps: solves(maps[:-1], 10)),
    "LocoProp-S": Ours(lambda: locoprop("S"), own_step, lambda maps: solves(maps, 9)),
    "LocoProp-M": Ours(lambda: locoprop("M"), own_step, lambda maps: solves(maps, 9)),
    "LocoProp-M RMSProp": Ours(lambda: locoprop("M", "rmsprop"), own_step, lambda maps: passes(maps, 9)),
    "Semi-Implicit BP": Ours(lambda: SemiImplicit(eta=0.1, lam=1.0), own_step, lambda maps: solves(maps, 5)),
}
OTHERS = ("PyTorch", "PyTorch fused", "scikit-learn")

# What was aimed at: largest ratio to another contender, smallest share of the limit, or most milliseconds. Shown
# beside the results, without influence on them.
TARGETS = {
    ("wide", "BackProp"): {"PyTorch": 0.85, "PyTorch fused": 1.0, "share": 0.85},
    ("wide", "ProxProp exact"): {"BackProp": 1.2, "PyTorch": 1.0, "share": 0.75},
    ("wide", "ProxProp cg3"): {"BackProp": 1.7, "share": 0.75},
    ("wide", "ProxProp cg5"): {"BackProp": 2.1, "share": 0.75},
    ("wide", "ProxProp cg10"): {"BackProp": 3.2, "share": 0.75},
    ("wide", "LocoProp-S"): {"BackProp": 2.6},
    ("wide", "LocoProp-M"): {"BackProp": 2.6},
    ("autoencoder", "LocoProp-M RMSProp"): {"PyTorch": 8.0},
    ("sibp", "Semi-Implicit BP"): {"BackProp": 12.0, "ms": 25.0},
    ("small", "BackProp"): {"PyTorch": 0.6},
    ("convnet", "BackProp"): {"PyTorch": 2.5},
    ("convnet", "ProxProp exact"): {"BackProp": 1.8, "PyTorch": 5.0},
}


def our_contender(problem, name, backend, images):
    """Return a whole training step of one of `METHODS`."""
    ours = METHODS[name]
    net, method, optimizer = problem.network(backend), ours.method(), ours.optimizer()
    X, y = net.checked_batch(*problem.samples(images))

    def step():
        _, directions = method.direction(net, X, y)
        optimizer.step(net.parameters, directions)

    return Contender("minilift", step, lambda: synchronize(net.xp))


def torch_contender(problem, name, backend, images):
    """Return PyTorch's training step by backpropagation, default or fused SGD."""
    import torch
    from torch import nn

    device = "cuda" if backend == "cupy" else "cpu"
    activations = {"relu": nn.ReLU, "tanh": nn.Tanh, "identity": nn.Identity}
    hidden = len(problem.widths) - 2
    names = [problem.activation] * hidden if isinstance(problem.activation, str) else problem.activation
    layers = [nn.Linear(problem.widths[0], problem.widths[1])]
    for activation, n_in, n_out in zip(names, problem.widths[1:], problem.widths[2:]):
        layers += [activations[activation](), nn.Linear(n_in, n_out)]
    net = nn.Sequential(*layers).to(device)
    X, y = (torch.from_numpy(array).to(device) for array in problem.samples(images))
    fused = {"fused": True} if name.endswith("fused") else {}
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, momentum=MOMENTUM, nesterov=True, **fused)

    def loss(z):
        if problem.autoencoder:
            return nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(z)
        return nn.functional.cross_entropy(z, y)

    def step():
        optimizer.zero_grad()
        value = loss(net(X))
        value.backward()
        optimizer.step()
        return value.item()

    return Contender("PyTorch", step, torch.cuda.synchronize if device == "cuda" else lambda: None)


def sklearn_contender(problem, name, backend, images):
    """Return scikit-learn's training step by backpropagation: one batch of `partial_fit`."""
    from sklearn.neural_network import MLPClassifier

    X, y = problem.samples(images)
    net = MLPClassifier(problem.widths[1:-1], problem.activation, solver="sgd", alpha=0.0,
                        batch_size=problem.batch, learning_rate_init=LEARNING_RATE, momentum=MOMENTUM)  # Nesterov's
    net.partial_fit(X, y, classes=np.arange(problem.widths[-1]))
    return Contender("scikit-learn", lambda: net.partial_fit(X, y))


def contender(problem, name, backend="numpy", images=None):
    """Return a contender by name, or None if it does not apply or is not installed here."""
    if name in METHODS:
        return our_contender(problem, name, backend, images)
    if name == "scikit-learn" and (problem.autoencoder or backend == "cupy"):
        return None  # it has neither the loss nor the linear code layer, and no GPU
    build = sklearn_contender if name == "scikit-learn" else torch_contender
    try:
        return build(problem, name, backend, images)
    except ImportError:
        return None


# ----------------------------------------------------------------------------- the machine's own limit


def step_products(name, maps):
    """Return how often a contender's step needs each bare product, for maps of (rows, n_in, n_out)."""
    products = [(kind, *shape) for shape in maps for kind in ("forward", "theta")]
    products += [("input", *shape) for shape in maps[1:]]
    return Counter(products + (METHODS[name].products(maps) if name in METHODS else []))


def product_contender(product, xp):
    """Return one bare matrix product, into an array that is there already."""
    kind, *shape = product
    rng = np.random.default_rng(0)

    def array(*shape):
        return xp.asarray(rng.random(shape, dtype=np.float32))

    if kind == "apply":
        side, n_out = shape
        left, right = array(side, side), array(side, n_out)
    elif kind == "gram":
        a = array(*shape)
        left, right = (a, a.T) if a.shape[0] <= a.shape[1] + 1 else (a.T, a)
    else:
        rows, n_in, n_out = shape
        left, right = {"forward": lambda: (array(rows, n_in), array(n_in, n_out)),
                       "theta": lambda: (array(rows, n_in).T, array(rows, n_out)),
                       "input": lambda: (array(rows, n_out), array(n_in, n_out).T)}[kind]()
    out = xp.empty((left.shape[0], right.shape[1]), np.float32)
    return Contender("minilift", lambda: xp.matmul(left, right, out=out), lambda: synchronize(xp))


def map_shapes(problem, backend):
    """Return (rows, n_in, n_out) of each map of a problem's network."""
    net = problem.network(backend)
    a = net.forward(problem.samples()[0]).a
    return [(*phi.rows(a_in).shape, phi.theta_shape[1]) for phi, a_in in zip(net.phi[1:], a)]


# ------------------------------------------------------------------------------------------- the clock


def take_turns(contenders, rounds, report=lambda text: None):
    """Return {name: seconds a step in each round}: contenders take turns, a pause between libraries.

    A turn is as many steps as fill `TURN` seconds; its time is divided by them. One such turn before the first
    counts for nothing.
    """
    repeats = {}
    for name, contender in contenders.items():
        contender.step(), contender.wait()
        repeats[name] = max(1, round(TURN / seconds(contender, 1)))
        seconds(contender, repeats[name] - 1)
    times = {name: [] for name in contenders}
    for number in range(rounds):
        report(f"round {number + 1} of {rounds}")
        library = None
        for name, contender in contenders.items():
            if contender.library != library:
                time.sleep(SETTLE)
                library = contender.library
            times[name].append(seconds(contender, repeats[name]))
    return times


def seconds(contender, repeats):
    """Return the mean time of a step over some in a row."""
    contender.wait()
    start = time.perf_counter()
    for _ in range(repeats):
        contender.step()
    contender.wait()
    return (time.perf_counter() - start) / max(repeats, 1)


def summary(values):
    """Return median, smallest and largest of some numbers."""
    return {"median": float(np.median(values)), "min": float(min(values)), "max": float(max(values))}


# ------------------------------------------------------------------------------------------ bench step


def bench_step(networks, contenders, rounds, backend, images, report):
    """Return one row for each contender on each network."""
    rows = []
    for network in networks:
        problem, maps = PROBLEMS[network], map_shapes(PROBLEMS[network], backend)
        field = {name: contender(problem, name, backend, images.get(network)) for name in contenders}
        field = {name: one for name, one in field.items() if one is not None}
        counts = {name: step_products(name, maps) for name in field}
        products = {product: product_contender(product, get_module(backend))
                    for product in dict.fromkeys(product for count in counts.values() for product in count)}
        times = take_turns({**products, **field}, rounds, lambda text, network=network: report(f"{network}: {text}"))
        limits = {name: sum(number * np.array(times[product]) for product, number in counts[name].items())
                  for name in field}
        rows += [step_row(network, name, times, limits) for name in field]
    return rows


def step_row(network, name, times, limits):
    """Return the results of one contender: seconds, ratios pair by pair, share of the limit, targets."""
    ratios = {other: summary(np.array(times[name]) / np.array(times[other]))
              for other in ("BackProp", *OTHERS) if other in times and other != name}
    row = {"network": network, "contender": name, "seconds": summary(times[name]), "rounds": times[name],
           "limit": summary(limits[name]), "share": summary(limits[name] / np.array(times[name])),
           "ratios": ratios}
    row["targets"] = [target(row, kind, bound) for kind, bound in TARGETS.get((network, name), {}).items()
                      if kind in ratios or kind in ("share", "ms")]
    return row


def target(row, kind, bound):
    """Return how a row stands to one target."""
    if kind == "share":
        reached = row["share"]["median"]
        return {"what": "share of the limit", "at least": bound, "reached": reached, "met": reached >= bound}
    reached = row["seconds"]["median"] * 1e3 if kind == "ms" else row["ratios"][kind]["median"]
    what = "ms" if kind == "ms" else f"÷ {kind}"
    return {"what": what, "at most": bound, "reached": reached, "met": reached <= bound}


def step_table(rows):
    """Return the results as text, one block for each network."""
    lines = []
    for network in dict.fromkeys(row["network"] for row in rows):
        problem, block = PROBLEMS[network], [row for row in rows if row["network"] == network]
        present = {other for row in block for other in row["ratios"]}
        others = [other for other in ("BackProp", "PyTorch", "PyTorch fused") if other in present]
        cells = [["", "ms a step", *(f"÷ {other}" for other in others), "limit, ms", "share of it"]]
        for row in block:
            cells.append([row["contender"], spread(row["seconds"], 1e3),
                          *(spread(row["ratios"].get(other), 1, 2) for other in others),
                          spread(row["limit"], 1e3), spread(row["share"], 1, 2)])
        widths = "-".join(map(str, problem.widths))
        lines += ["", f"{network}: {problem.title}, {widths}, batch {problem.batch}", *columns(cells)]
        lines += [f"  target: {row['contender']} {one['what']} "
                  f"{'≥' if 'at least' in one else '≤'} {one.get('at least', one.get('at most'))}: "
                  f"{one['reached']:.2f}, {'met' if one['met'] else 'NOT met'}"
                  for row in block for one in row["targets"]]
    return "\n".join(lines)


def spread(values, factor, digits=None):
    """Return 'median (smallest–largest)', or a dash."""
    if values is None:
        return "–"
    middle, low, high = (values[key] * factor for key in ("median", "min", "max"))
    digits = (2 if middle < 10 else 1 if middle < 100 else 0) if digits is None else digits
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def columns(cells):
    """Return rows of text cells as aligned lines, the first row being the head."""
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(row[1:], widths[1:]))])
             for row in cells]
    return [lines[0], "─" * len(lines[0]), *lines[1:]]


def step_figure(rows, path):
    """Draw the time of each contender's step, and within it the bare matrix products."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(row["network"] for row in rows))
    heights = [sum(row["network"] == network for row in rows) for network in networks]
    figure = Figure(figsize=(8, 1.0 * len(networks) + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots(len(networks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, network in zip(axes, networks):
        block = [row for row in rows if row["network"] == network][::-1]
        names = [row["contender"] for row in block]
        middle = np.array([row["seconds"]["median"] for row in block]) * 1e3
        low, high = (np.array([row["seconds"][key] for row in block]) * 1e3 for key in ("min", "max"))
        colors = ["#4477aa" if name in METHODS else "#bbbbbb" for name in names]
        axis.barh(names, middle, color=colors, xerr=[middle - low, high - middle], error_kw={"lw": 1})
        limits = [row["limit"]["median"] * 1e3 for row in block]
        axis.barh(names, limits, height=0.3, color="black", label="its bare matrix products")
        axis.set_title(f"{PROBLEMS[network].title}, batch {PROBLEMS[network].batch}", fontsize=10)
        axis.set_xlabel("milliseconds a step (median; line: range)")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)


# -------------------------------------------------------------------------- what must be known to believe


def machine():
    """Return what a measurement depends on: processor, BLAS, threads, versions, date and commit."""
    loaded = [sys.modules[name] for name in ("minilift", "numpy", "scipy", "torch", "sklearn", "cupy")
              if name in sys.modules]
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"processor": processor(), "cores": os.cpu_count(),
            "threads": os.environ.get("OPENBLAS_NUM_THREADS", "not set"),
            "blas": f"{blas['name']} {blas['version']}", "system": platform.platform(),
            "python": platform.python_version(),
            "versions": {module.__name__: module.__version__ for module in loaded}, "commit": commit(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None}


def processor():
    """Return the name of the processor's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit():
    """Return the commit of this module's source tree, '+' if it was changed; None outside a checkout."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        return subprocess.run(["git", "-C", folder, "describe", "--always", "--abbrev=12", "--dirty=+"],
                              capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def write_text(path, text):
    """Write a text file so that a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


# ------------------------------------------------------------------------------------ the command line


def add_arguments(parser):
    """Add the options of ``minilift bench``."""
    parser.add_argument("what", choices=("step", "solve", "scale", "memory", "import"))
    parser.add_argument("--network", nargs="+", default=list(PROBLEMS), metavar="NAME",
                        help=f"networks to measure (default: all of {', '.join(PROBLEMS)})")
    parser.add_argument("--contender", nargs="+", default=[*METHODS, *OTHERS], metavar="NAME",
                        help=f"contenders to measure (default: all of {', '.join([*METHODS, *OTHERS])})")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender (default: 7)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(),
                        help="of NumPy and PyTorch (default: as many as cores)")
    parser.add_argument("--backend", default="numpy", metavar="{numpy,cupy}",
                        help="array library of minilift (default: numpy); with cupy PyTorch runs on CUDA")
    parser.add_argument("--data", metavar="FILE.npz",
                        help="CIFAR-10's images for ProxProp's network, as X_train (default: random images)")
    parser.add_argument("--output", default="minilift-bench", metavar="FOLDER",
                        help="where results are written (default: minilift-bench)")


def run(arguments):
    """Check the options and measure in a fresh process, whose libraries see the number of threads in time."""
    try:
        options = checked_options(arguments)
    except (ValueError, TypeError) as error:
        print(f"minilift bench: {error}", file=sys.stderr)
        return 2
    return fresh_process(options).returncode


def checked_options(arguments):
    """Return the options as a dict that can be written down, or raise an error that says what is wrong."""
    options = {name: getattr(arguments, name) for name in
               ("what", "network", "contender", "rounds", "threads", "backend", "data", "output")}
    for name in options["network"]:
        known_name("--network", name, tuple(PROBLEMS))
    for name in options["contender"]:
        known_name("--contender", name, (*METHODS, *OTHERS))
    known_name("--backend", options["backend"], BACKENDS)
    whole_number("--rounds", options["rounds"])
    whole_number("--threads", options["threads"])
    if options["data"] is not None and not Path(options["data"]).is_file():
        raise ValueError(f"--data: no file {options['data']}")
    return options


def fresh_process(options, **more):
    """Run this module in a process of its own with the options, libraries held to the number of threads."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(options["threads"]))}
    command = [sys.executable, "-m", "minilift.bench", json.dumps({**options, **more})]
    return subprocess.run(command, env=environment, check=False)


def measure(options):
    """Measure, print and write the results of one kind, in the process that was made for it."""
    threads = options["threads"]
    if "PyTorch" in "".join(options["contender"]):
        try:
            import torch
            torch.set_num_threads(threads)
        except ImportError:
            print("PyTorch is not installed (extra [compare]); measuring without it", file=sys.stderr)
    before = machine()
    images = {}
    if options["data"]:
        with np.load(options["data"]) as file:
            images["wide"] = file["X_train"]
    rows = bench_step(options["network"], options["contender"], options["rounds"], options["backend"], images,
                      progress)
    progress("")
    result = {"command": command(options), "machine": {**machine(), "load before": before["load"]},
              "rows": rows}
    text = f"{heading(result)}\n{step_table(rows)}\n"
    folder = Path(options["output"])
    write_text(folder / "step.json", json.dumps(result, indent=1, ensure_ascii=False))
    write_text(folder / "step.txt", text)
    step_figure(rows, folder / "step.png")
    print(text)
    print(f"written: {folder / 'step.json'}, {folder / 'step.txt'}, {folder / 'step.png'}")


def command(options):
    """Return the command that gave a result."""
    text = f"minilift bench {options['what']} --rounds {options['rounds']} --threads {options['threads']}"
    return text + (f" --backend {options['backend']}" if options["backend"] != "numpy" else "")


def heading(result):
    """Return the lines that say where and how it was measured."""
    at = result["machine"]
    load = "" if at["load"] is None else f"; load {at['load before'][0]:.1f} before, {at['load'][0]:.1f} after"
    versions = ", ".join(f"{name} {version}" for name, version in at["versions"].items())
    return "\n".join([result["command"],
                      f"{at['processor']}, {at['cores']} cores, {at['threads']} threads, {at['blas']}{load}",
                      f"{versions}; commit {at['commit']}, {at['date']}",
                      "median (smallest–largest) over the rounds; ratios pair by pair"])


def progress(text):
    """Show on a terminal what is being done."""
    if sys.stderr.isatty():
        print(f"\r{text:<70}", end="\r" if text == "" else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    measure(json.loads(sys.argv[1]))
