r"""Measurements: ``minilift bench step | profile | solve | scale | memory | race | ranks | import``.

Contenders take turns, A B A B, in one process with a fixed number of threads; ratios are formed pair by pair,
within a round, and reported with their range. A step is measured against the machine's own limit: the time that
the bare matrix products of that step take in the same rounds (see `minilift.lab.contenders`). The share of the limit
is that time divided by the time of the whole step: forward pass, loss, directions and optimizer, including checks of
the input. Factorisations are not products: they count against the share.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from functools import partial
from operator import ge, itemgetter, le
from pathlib import Path

import numpy as np

from minilift import plots
from minilift.lab import contenders
from minilift.lab.contenders import OTHERS, OURS, PROBLEMS, Problem, Timed, step_products, timed_step, trains
from minilift.lab.figures import LIBRARIES, MEASURED, bars, exponent, milliseconds, scale_figure, solve_figure
from minilift.lab.machine import crowd, machine
from minilift.lab.race import COURSE_SECONDS, COURSES, NAMES, courses, race, race_figure, race_table
from minilift.lab.ranks import CHAINS, check_chains, needs, ranks_figure, ranks_rows, ranks_table
from minilift.lab.runs import check_address, cluster, existing, grouped, select
from minilift.lab.tables import aligned, ends, range_text, table
from minilift.layers.maps import Linear
from minilift.local.solvers import conjugate_gradients, damped_solve
from minilift.support.arguments import known_name
from minilift.support.backend import BACKENDS, get_module, synchronize
from minilift.support.files import moved_aside, read_npz, write_text
from minilift.support.options import check_counts, command_line, naming, whole, writable_folder
from minilift.support.processes import THREAD_VARIABLES, cores, own_process, same_modules
from minilift.support.signals import children_spared
from minilift.support.terminal import INTERRUPTED, about, exit_code_of, note, watched

SETTLE = 0.1  # seconds between libraries: OpenBLAS threads spin for about 30 ms after their last product
TURN = 0.05  # seconds that a turn takes at least; it consists of whole steps
SOON = 5  # seconds to go that are no longer counted


# ------------------------------------------------------------------------------------------- the clock


def take_turns(field, rounds, title="", shown=()):
    """Return {name: seconds a step in each round}; the contenders take turns, with a pause between libraries.

    A turn is as many steps as fill `TURN` seconds; its time is divided by their number. The first turn is not counted.
    `shown` are the names for which a line is written if there is no terminal.
    """
    repeats, began = {}, time.perf_counter()
    for name, entrant in field.items():
        progress(f"{title}: {name}" if name in shown else title, line=name in shown)
        entrant.step(), entrant.wait()
        repeats[name] = max(1, round(TURN / seconds(entrant, 1)))
        seconds(entrant, repeats[name] - 1)
    times = {name: [] for name in field}
    for number in range(rounds):
        left = (rounds - number) * (time.perf_counter() - began) / max(1, number)  # the first turns are a round, too
        words = "a few seconds" if left < SOON else about(left)
        progress(f"{title}: round {number + 1} of {rounds}, {words} to go",
                 line=number == 0 or (bool(shown) and left >= SOON))
        began = began if number else time.perf_counter()
        for _, entries in itertools.groupby(field.items(), lambda entry: entry[1].library):
            time.sleep(SETTLE)
            for name, entrant in entries:
                times[name].append(seconds(entrant, repeats[name]))
    return times


def seconds(entrant, repeats):
    """Return the mean time of a step over several in a row."""
    entrant.wait()
    start = time.perf_counter()
    for _ in range(repeats):
        entrant.step()
    entrant.wait()
    return (time.perf_counter() - start) / max(repeats, 1)


def summary(values):
    """Return median, smallest and largest of some numbers."""
    return dict(zip(("median", "min", "max"), ends(values)))


def measured_rows(options, take_part, row):
    """Return the rows of each network, on which contenders take turns with the bare matrix products that they need.

    `take_part` takes a problem, the options and images (or None). It returns the contenders, {name: `Timed`}, and how
    often each product is needed, for those contenders that need any. `row` makes a row, see `step_row`.
    """
    rows, images = [], load_images(options["data"])
    for network in options["network"]:
        progress(f"{network}: the contenders are made", line=True)
        field, counts = take_part(PROBLEMS[network], options, images.get(network))
        progress(f"{network}: bare matrix products, then each contender once", line=True)
        products = contenders.bare_products(itertools.chain(*counts.values()), options["backend"])
        times = take_turns({**products, **field}, options["rounds"], network, field)
        bare = {name: sum((number * np.array(times[product]) for product, number in counts.get(name, {}).items()),
                          np.zeros(options["rounds"])) for name in field}
        rows += [row(network, name, times, bare) for name in field]
    return rows


# ------------------------------------------------------------------------------------------ bench step


SHARE = "share of the limit"
# What was aimed at: the largest ratio to another contender, the smallest share of the limit, or the largest number of
# milliseconds. The targets are shown beside the results and have no influence on them.
TARGETS = {
    ("wide", "BackProp"): {"÷ PyTorch": 0.85, "÷ PyTorch fused": 1.0, SHARE: 0.85},
    ("wide", "ProxProp exact"): {"÷ BackProp": 1.2, "÷ PyTorch": 1.0, SHARE: 0.75},
    ("wide", "ProxProp cg3"): {"÷ BackProp": 1.7, SHARE: 0.75},
    ("wide", "ProxProp cg5"): {"÷ BackProp": 2.1, SHARE: 0.75},
    ("wide", "ProxProp cg10"): {"÷ BackProp": 3.2, SHARE: 0.75},
    ("wide", "LocoProp-S"): {"÷ BackProp": 2.6},
    ("wide", "LocoProp-M"): {"÷ BackProp": 2.6},
    ("autoencoder", "LocoProp-M RMSProp"): {"÷ PyTorch": 8.0},
    ("sibp", "Semi-Implicit BP"): {"÷ BackProp": 12.0, "ms": 25.0},
    ("small", "BackProp"): {"÷ PyTorch": 0.6},
    ("convnet", "BackProp"): {"÷ PyTorch": 2.5},
    ("convnet", "ProxProp exact"): {"÷ BackProp": 1.8, "÷ PyTorch": 5.0},
    ("residual", "BackProp"): {"÷ PyTorch": 1.0},
    ("residual", "ProxProp exact"): {"÷ BackProp": 2.0},
    ("recurrent", "BackProp"): {"÷ PyTorch": 1.0},
    ("recurrent", "ProxProp exact"): {"÷ BackProp": 1.6},
}


def whole_steps(problem, options, images):
    """Return a whole training step of each contender, and the matrix products in it."""
    field = entrants(problem, options, options["contender"], images)
    return field, {name: step_products(name, problem, options["backend"]) for name in field}


def entrants(problem, options, names, images=None):
    """Return {name: `Timed`} for the contenders that can run here."""
    field = {name: timed_step(problem, name, options["backend"], images) for name in names}
    return {name: one for name, one in field.items() if one is not None}


@naming("--data")
def load_images(path):
    """Return {network: images}, with a file's X_train for the networks made for CIFAR-10; empty without a file."""
    if path is None:
        return {}
    X, least = read_npz(existing(path)).get("X_train"), PROBLEMS["wide"].batch
    if X is None or X.ndim < 2 or X.dtype.kind not in "uif" or math.prod(X.shape[1:]) != 3072 or len(X) < least:
        raise ValueError(f"{path} must hold X_train, at least {least} images of 32×32×3")
    if not (np.isfinite(X[:least]).all() and X[:least].max() > 0 <= X[:least].min()):
        raise ValueError(f"the images of {path} must be finite, not negative and not all black")
    return dict.fromkeys(("wide", "convnet"), X)


def step_row(network, name, times, limits):
    """Return the results of one contender: seconds, ratios pair by pair, share of the limit, targets."""
    ratios = {other: summary(np.array(times[name]) / np.array(times[other]))
              for other in ("BackProp", *OTHERS) if other in times and other != name}
    row = {"network": network, "contender": name, "seconds": summary(times[name]), "rounds": times[name],
           "limit": summary(limits[name]), "share": summary(limits[name] / np.array(times[name])),
           "ratios": ratios}
    reached = {SHARE: row["share"]["median"], "ms": milliseconds(row),
               **{f"÷ {other}": ratio["median"] for other, ratio in ratios.items()}}
    row["targets"] = [target(what, bound, reached[what]) for what, bound in TARGETS.get((network, name), {}).items()
                      if what in reached]
    return row


def target(what, bound, reached):
    """Return a target with the number that was reached, and whether it meets the target."""
    side, meets = ("at least", ge) if what == SHARE else ("at most", le)
    return {"what": what, side: bound, "reached": reached, "met": meets(reached, bound)}


def step_table(rows):
    """Return the results as text, one block for each network, with the targets below."""
    return blocks(rows, step_cells, lambda block: [target_line(row, one) for row in block for one in row["targets"]])


def target_line(row, one):
    """Return one of the targets of a row as a line of text."""
    bound = f"≥ {one['at least']}" if "at least" in one else f"≤ {one['at most']}"
    verdict = "met" if one["met"] else "NOT met"
    return f"  target: {row['contender']} {one['what']} {bound}: {one['reached']:.2f}, {verdict}"


def blocks(rows, cells, below=lambda block: []):
    """Return one table for each network as text.

    `cells` makes the table's cells from the rows of the network, and `below` makes the lines that follow the table.
    """
    return "\n".join(line for network, block in grouped(rows, "network").items()
                     for line in ("", describe(network), *aligned(cells(block)), *below(block)))


def describe(network):
    """Return a network's name, widths and batch as text."""
    problem = PROBLEMS[network]
    widths = "" if problem.images or problem.residual else f", {'-'.join(map(str, problem.widths))}"
    return f"{network}: {problem.title}{widths}, batch {problem.batch}"


def step_cells(block):
    """Return the rows of one network as a table of text cells, the head first."""
    ratios = {f"÷ {other}": lambda row, other=other: timing(row["ratios"].get(other), 1, 2)
              for other in ("BackProp", "PyTorch", "PyTorch fused") if any(other in row["ratios"] for row in block)}
    return table(block, {"": "{contender}", "ms a step": lambda row: timing(row["seconds"], 1e3), **ratios,
                         "limit, ms": lambda row: timing(row["limit"], 1e3),
                         "share of it": lambda row: timing(row["share"], 1, 2)})


def timing(values, factor=1.0, digits=None):
    """Return a summary of times or ratios as text: 'median (smallest–largest)', or a dash for None."""
    if values is None:
        return "–"
    three = [value * factor for value in values.values()]
    digits = (2 if three[0] < 10 else 1 if three[0] < 100 else 0) if digits is None else digits
    return range_text(three, f"{{:.{digits}f}}".format, "{} ({}–{})")


# --------------------------------------------------------------------------------------- bench profile


def step_parts(problem, options, images):
    """Return the parts of a step of one of `OURS`, each timed separately, and the products in them."""
    name = profiled(options)
    if not trains(name, problem):
        return {}, {}
    net, method, optimizer = contenders.entered(problem, name, options["backend"])
    X, y = net.checked_batch(*problem.samples(images))
    state = net.propagate(X, training=True)
    directions = method.directions(net, state, y)
    sweep = "backward sweep" if name == "BackProp" else "sweep and local problems"
    parts = {"checks of the batch": lambda: net.checked_batch(X, y),
             "forward pass": lambda: net.propagate(X, training=True),
             "loss": lambda: net.loss_function.value(state.z[net.depth], y),
             sweep: lambda: method.directions(net, state, y),
             "optimizer": lambda: optimizer.step(net.parameters, directions)}
    once = step_products("BackProp", problem, options["backend"])  # a local problem may take further forward products
    counts = {"forward pass": {}, sweep: {}}
    for product, number in step_products(name, problem, options["backend"]).items():
        forward = once[product] if product[0] == "forward" else 0
        counts["forward pass"] |= {product: forward} if forward else {}
        counts[sweep] |= {product: number - forward} if number > forward else {}
    return {part: Timed("minilift", step, lambda: synchronize(net.xp)) for part, step in parts.items()}, counts


def profiled(options):
    """Return the contender whose step is taken apart, which is BackProp if none is given."""
    return "BackProp" if options["contender"] == DEFAULTS["contender"] else options["contender"][0]


def part_rows(options):
    """Return the results of the parts of a step: their seconds, and those of the bare products in each."""
    def row(network, part, times, limits):
        return {"network": network, "contender": part, "step of": profiled(options), "seconds": summary(times[part]),
                "limit": summary(limits[part])}

    return measured_rows(options, step_parts, row)


def profile_cells(block):
    """Return the parts of a step of one network as a table of text cells, the head first and their sum last."""
    times, bare = (np.array([row[key]["median"] for row in block]) * 1e3 for key in ("seconds", "limit"))
    return [[f"a step of {block[0].get('step of', 'BackProp')}", "ms", "bare products, ms", "the rest, ms"],
            *([row["contender"], timing(row["seconds"], 1e3, 3), f"{products:.3f}", f"{rest:.3f}"]
              for row, products, rest in zip(block, bare, times - bare)),
            ["sum", *(f"{sum(column):.3f}" for column in (times, bare, times - bare))]]


# ----------------------------------------------------------------------------------------- bench solve


SIZES = (125, 250, 500, 1000, 2000)
BASE = {"rows": 500, "n_in": 1000, "n_out": 1000}
SOLVERS = {"exact": lambda gram, g: damped_solve(gram, g, 1.0),
           "cg5": lambda gram, g: conjugate_gradients(gram, g, 1.0, 5)}


def predicted_flops(solver, side, rows, n_in, n_out):
    """Return the flops of a local solve, including its Gram matrix and the product that lifts the result."""
    s, other = (rows, n_in + 1) if side == "sample" else (n_in + 1, rows)
    solve = s**3 + 2 * s**2 * n_out if solver == "exact" else 5 * 2 * s**2 * n_out
    return s**2 * other + solve + 2 * rows * n_in * n_out


def solve_contender(solver, side, rows, n_in, n_out, backend):
    """Return the local solve of one map on one side, including its Gram matrix."""
    xp, rng = get_module(backend), np.random.default_rng(0)
    phi = Linear(n_in, n_out)
    a, g = (xp.asarray(rng.random((rows, n), dtype=np.float32)) for n in (n_in, n_out))
    return Timed("minilift", lambda: SOLVERS[solver](phi.gram(a, side=side), g), lambda: synchronize(xp))


def bench_solve(options):
    """Measure the local solves on both sides, varying one size at a time."""
    rows, ways = [], list(itertools.product(SOLVERS, ("sample", "parameter")))
    for varied, size in itertools.product(BASE, some(SIZES, options)):
        shape = {**BASE, varied: size}
        field = {way: solve_contender(*way, **shape, backend=options["backend"]) for way in ways}
        forward = ("forward", *shape.values())
        field |= contenders.bare_products([forward], options["backend"])
        progress(f"{varied} = {size}", line=True)
        times = take_turns(field, options["rounds"], f"{varied} = {size}")
        rate = 2 * math.prod(shape.values()) / np.median(times[forward])
        rows += [{"varied": varied, **shape, "solver": solver, "side": side,
                  "seconds": summary(times[solver, side]), "flops": predicted_flops(solver, side, **shape),
                  "machine flops a second": float(rate)} for solver, side in ways]
    return rows


def some(sizes, options):
    """Return all sizes with --all, else the quick ones: the first three."""
    return sizes if options["all"] else sizes[:3]


def crossover(rows, solver, key):
    """Return the number of rows at which both sides cost the same, interpolated between sizes, or None."""
    costs = {side: np.log([key(row) for row in select(rows, varied="rows", solver=solver, side=side)])
             for side in ("sample", "parameter")}
    gap = costs["sample"] - costs["parameter"]
    for (low, high), sizes in zip(itertools.pairwise(gap), itertools.pairwise(SIZES)):
        if low < 0 <= high:
            return float(np.exp(np.interp(0, (low, high), np.log(sizes))))
    return None


def solve_table(rows):
    """Return the local solves as text."""
    cells = table(rows, {
        **{name: f"{{{name}}}" for name in BASE}, "solver, side": "{solver}, {side}",
        "ms": lambda row: timing(row["seconds"], 1e3), "Gflop": lambda row: f"{row['flops'] / 1e9:.2f}",
        "share of the product's rate": lambda row:
        f"{row['flops'] / row['machine flops a second'] / row['seconds']['median']:.2f}"})
    lines, largest = ["", *aligned(cells), ""], max(row["rows"] for row in rows)
    for solver in SOLVERS:
        found = (crossover(rows, solver, key) for key in (milliseconds, itemgetter("flops")))
        measured, predicted = (f"{size:.0f}" if size else f"none of {SIZES[0]} to {largest}" for size in found)
        lines.append(f"{solver}: both sides cost the same at {measured} rows; by flops {predicted} "
                     f"(n_in = {BASE['n_in']}, n_out = {BASE['n_out']})")
    return "\n".join(lines)


# ----------------------------------------------------------------------------------------- bench scale


SCALES = {  # what is varied: its values, and the problem it makes
    "width": ((250, 500, 1000, 2000), lambda n: Problem("", (784, n, n, n, 10), "relu", 500)),
    "depth": ((1, 2, 4, 8), lambda n: Problem("", (500,) * (n + 1) + (10,), "relu", 500)),
    "batch": ((125, 250, 500, 1000, 2000), lambda n: Problem("", (784, 500, 500, 500, 10), "relu", n)),
}
SCALED = ("BackProp", "ProxProp exact", "ProxProp cg3", "LocoProp-S", "PyTorch")


def bench_scale(options):
    """Measure time and memory of a step against width, depth and batch, and fit exponents."""
    rows, given = [], options["contender"]
    names = SCALED if given == DEFAULTS["contender"] else given
    for varied, (sizes, problem) in SCALES.items():
        for size in some(sizes, options):
            field = entrants(problem(size), options, names)
            progress(f"{varied} = {size}", line=True)
            times = take_turns(field, options["rounds"], f"{varied} = {size}")
            traced = OURS if options["backend"] == "numpy" else ()
            rows += [{"varied": varied, "size": size, "contender": name, "seconds": summary(times[name]),
                      "bytes": traced_bytes(one) if name in traced else None} for name, one in field.items()]
    return rows


def traced_bytes(entrant):
    """Return the peak memory of a step, in bytes of host arrays beyond what was allocated before."""
    tracemalloc.start()
    entrant.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def scale_table(rows):
    """Return times, memory and exponents as text."""
    cells = [["varied", "contender", "sizes", "ms a step", "~ size^p", "MB in a step", "~ size^p"]]
    for (varied, name), line in grouped(rows, "varied", "contender").items():
        cells.append([varied, name, " ".join(str(row["size"]) for row in line)])
        for key in MEASURED.values():
            power = exponent(line, key)
            cells[-1] += ["–", "–"] if power is None else [
                " ".join(f"{key(row):.1f}" for row in line), f"{power:.2f}"]
    return "\n".join(["", *aligned(cells)])


# ---------------------------------------------------------------------------------------- bench memory


def bench_memory(options):
    """Measure the peak memory of a process that takes three steps, one process for each contender."""
    rows = []
    for network, name in itertools.product(options["network"], options["contender"]):
        progress(f"{network}: {name}", line=True)
        done = fresh_process({**options, "what": "peak", "network": network, "contender": name}, stdout=subprocess.PIPE)
        if done.returncode:
            raise RuntimeError(f"bench memory: {name} on {network} ended with status {done.returncode}")
        rows.append({"network": network, "contender": name, "bytes": json.loads(done.stdout)})
    rows = [row for row in rows if row["bytes"] is not None]
    reference = {row["network"]: row["bytes"] for row in select(rows, contender="PyTorch")}
    return [{**row, "÷ PyTorch": row["bytes"] / reference[row["network"]] if row["network"] in reference else None}
            for row in rows]


def peak_memory(options):
    """Return the peak resident memory of this process, in bytes, after three steps; None if nothing can run."""
    one = timed_step(PROBLEMS[options["network"]], options["contender"], options["backend"])
    if one is None:
        return None
    seconds(one, 3)
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent process had when it forked
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_table(rows):
    """Return the peak memories as text."""
    cells = table(rows, {"network, contender": "{network}, {contender}", "MB": lambda row: f"{row['bytes'] / 1e6:.0f}",
                         "÷ PyTorch": lambda row: "–" if row["÷ PyTorch"] is None else f"{row['÷ PyTorch']:.2f}"})
    return "\n".join(["", "peak resident memory of a process of its own, libraries included, in three steps",
                      *aligned(cells)])


# ---------------------------------------------------------------------------------------- bench import


HEAVY = ("scipy", "matplotlib", "cupy", "torch", "sklearn", "pooch", "tqdm")
IMPORT_SECONDS = 0.25  # the target
IMPORT_PROGRAM = """{paths}
import json, sys, time
start = time.perf_counter()
import {name}
print(json.dumps([time.perf_counter() - start, [m for m in {heavy} if m in sys.modules], len(sys.modules)]))
"""


def bench_import(options):
    """Measure the import of minilift in a fresh interpreter, beside other libraries, and see what it loads."""
    runs = {name: [] for name in ("minilift", *LIBRARIES) if importlib.util.find_spec(name.split(".")[0]) is not None}
    for number in range(options["rounds"]):
        progress(f"import: round {number + 1} of {options['rounds']}", line=True)
        for name in runs:
            words = [sys.executable, "-c", IMPORT_PROGRAM.format(paths=same_modules(), name=name, heavy=HEAVY)]
            runs[name].append(json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout))
    return [{"network": "import", "contender": name, "seconds": summary([run[0] for run in found]),
             "heavy": found[0][1], "modules": found[0][2]} for name, found in runs.items()]


def import_table(rows):
    """Return import times, and what got loaded, as text."""
    cells = table(rows, {"import": "{contender}", "seconds": lambda row: timing(row["seconds"], 1, 3),
                         "modules": "{modules}",
                         "heavy ones among them": lambda row: ", ".join(row["heavy"]) or "none"})
    seconds, heavy = rows[0]["seconds"]["median"], rows[0]["heavy"]
    verdict = "met" if seconds <= IMPORT_SECONDS and not heavy else "NOT met"
    return "\n".join(["", *aligned(cells),
                      f"  target: minilift ≤ {IMPORT_SECONDS} s, nothing heavy: {seconds:.3f} s, {verdict}"])


# ----------------------------------------------------------------------------------------- bench race


def bench_race(options):
    """Race to a training loss, on the embedded digits or on a file's images."""
    names = NAMES if options["contender"] == DEFAULTS["contender"] else options["contender"]
    with cluster(options["cluster"]):
        return [row for course in courses(options["data"], options["network"])
                for row in race(course, names, progress, options["threads"])]


# ---------------------------------------------------------------------------------------- bench ranks


def bench_ranks(options):
    """Measure steps on one to four ranks of this machine, and compare the cost model with them."""
    return ranks_rows(options, progress)


# ------------------------------------------------------------------------------------ the command line


QUICK = ["small"]  # the networks that are measured without --all
DEFAULTS = {"network": QUICK, "contender": [*OURS, *OTHERS], "backend": "numpy", "data": None, "all": False,
            "batch": None, "cluster": None, "rounds": 7}
BELONGS = {  # the benchmarks that an option applies to, if not to all
    "network": ("step", "profile", "memory", "race", "ranks"),
    "contender": ("step", "profile", "scale", "memory", "race"),
    "backend": ("step", "profile", "solve", "scale", "memory"), "data": ("step", "profile", "race"),
    "batch": ("ranks",), "cluster": ("race",), "rounds": ("step", "profile", "solve", "scale", "ranks", "import")}
SECONDS = {"solve": 20, "scale": 40, "memory": 50, "import": 20, "ranks": 90}  # as the defaults have it
LARGE = 600  # seconds that a run with all sizes, or with other networks on ranks, takes at least
BEGIN = 3  # seconds until libraries are loaded
BARE = 10  # kinds of bare matrix products in a step of BackProp; about two more for each contender
STEPS = {"wide": 0.3, "autoencoder": 0.11, "sibp": 0.0015, "small": 0.0003, "convnet": 0.3, "residual": 0.12,
         "recurrent": 0.011}  # seconds of a step of BackProp on two cores
COSTLY = {"Fenchel lifted": 60, "LPOM": 45, "Lifted Bregman": 60, "MAC": 20, "Gauss–Newton": 14, "BCD": 10, "ADMM": 10,
          "dlADMM": 10, "LocoProp-M RMSProp": 9, "Semi-Implicit BP": 9, "Predictive coding": 7, "LocoProp-M": 6,
          "K-FAC": 5, **dict.fromkeys(("BackProp", *OTHERS), 1)}  # such steps that one of theirs takes; 3 if not named


def add_arguments(parser):
    """Declare the options of `minilift bench`."""
    parser.set_defaults(**DEFAULTS)
    parser.epilog = "The help of an option begins with the benchmarks that it belongs to, unless it belongs to all."

    def add(option, help, **more):
        of = BELONGS.get(option.removeprefix("--"))
        parser.add_argument(option, help=f"{', '.join(of)}: {help}" if of else help, **more)

    parser.add_argument("what", choices=tuple(MEASURES), metavar=f"{{{','.join(MEASURES)}}}")
    add("--network", nargs="+", metavar="NAME",
        help=f"networks to measure, from {', '.join(PROBLEMS)} (default: {', '.join(QUICK)}); for ranks, from "
        f"{', '.join(CHAINS)}; for a race, from {', '.join(COURSES)} (default: mlp)")
    add("--all", action="store_true", help="measure all networks and all sizes: ten minutes or more")
    add("--contender", nargs="+", metavar="NAME",
        help=f"contenders to measure (default: all of {', '.join([*OURS, *OTHERS])}; for scale: {', '.join(SCALED)}; "
        f"for a race: {'; '.join(NAMES)}); for profile, the one of ours whose step is taken apart (default: BackProp)")
    add("--rounds", type=whole, help="number of turns of each contender (default: 7)")
    add("--threads", type=whole, default=cores(), help="threads of NumPy and PyTorch (default: one per core)")
    add("--backend", metavar="{numpy,cupy}",
        help="array library of minilift (default: numpy); with cupy PyTorch runs on CUDA")
    add("--data", metavar="FILE.npz",
        help="CIFAR-10's images, (N, 32, 32, 3) or flat, as X_train (default: random images); for a race, also "
        "y_train, X_test and y_test (default: the digits)")
    add("--batch", type=whole, metavar="N", help="samples in a batch, in all ranks (default: the problem's)")
    add("--cluster", metavar="ADDRESS",
        help="a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers do the runs; times are measured there, so "
        "the workers must be alike, and idle")
    add("--output", default="minilift-bench", metavar="FOLDER",
        help="folder for the results (default: minilift-bench)")


def run(arguments):
    """Check the options and measure in a fresh process, so that its libraries see the number of threads in time."""
    options = checked_options(arguments)
    note(f"bench {options['what']}: {lasting(options)}; then a table, and files in {options['output']}")
    return fresh_process(options).returncode


def lasting(options):
    """Return how long a benchmark takes, in words."""
    longer = crowd(options["threads"])
    if options["what"] == "race":
        alone = sum(COURSE_SECONDS[network] for network in options["network"])
        share = min(1.0, len(options["contender"]) / len(NAMES))
        return about(alone * share * longer) if options["data"] is None else "hours"
    if options["what"] in ("step", "profile"):
        return about(sum(seconds_of_turns(PROBLEMS[network], STEPS[network], options, longer)
                         for network in options["network"]) + BEGIN * longer)
    share = (options["rounds"] + 2) / (DEFAULTS["rounds"] + 2)  # two turns of each are not counted
    if options["contender"] != DEFAULTS["contender"]:
        share *= len(options["contender"]) / len(SCALED if options["what"] == "scale" else DEFAULTS["contender"])
    if options["what"] == "memory":
        share *= len(options["network"])
    elif options["what"] != "import" and (options["all"] or options["network"] != QUICK):
        return f"{about(LARGE * max(1, share) * longer)} or more"
    return about(SECONDS[options["what"]] * share * longer)


def seconds_of_turns(problem, step, options, longer):
    """Return roughly how long the turns on one network take, where BackProp takes `step` seconds."""
    whole = options["what"] == "step"
    names = options["contender"] if whole else [profiled(options)]
    turn = TURN if options["threads"] == 1 else TURN * longer  # threads wait for each other
    turns = [max(turn, step * COSTLY.get(name, 3) * longer) for name in names if trains(name, problem)]
    turns += [turn] * (0 if whole else 4)  # for the other parts of the step
    bare = (BARE + 2 * len(turns)) * max(turn, step / BARE * longer)
    return (sum(turns) + bare) * (options["rounds"] + 2) + SETTLE * options["rounds"]


def checked_options(arguments):
    """Return the options as a dict that can be serialised, or raise an error that says what is wrong."""
    options, racing, ranks = vars(arguments), arguments.what == "race", arguments.what == "ranks"
    for option, kinds in BELONGS.items():
        if options[option] != DEFAULTS[option] and options["what"] not in kinds:
            raise ValueError(f"--{option} belongs to bench {', '.join(kinds)}, got bench {options['what']}")
    field = DEFAULTS["contender"]
    if options["contender"] != field:
        field = {"race": NAMES, "profile": OURS}.get(arguments.what, field)
        if arguments.what == "profile" and len(options["contender"]) > 1:
            raise ValueError(f"--contender: bench profile takes one step apart, got {', '.join(options['contender'])}")
    networks = COURSES if racing else PROBLEMS
    if options["all"]:
        options["network"] = CHAINS if ranks else list(networks)
    elif racing and options["network"] == QUICK:
        options["network"] = ["mlp"]
    for option, known in (("network", tuple(networks)), ("contender", tuple(field))):
        for name in options[option]:
            known_name(f"--{option}", name, known)
        options[option] = list(dict.fromkeys(options[option]))  # one that is named twice would be measured twice
    get_module(known_name("--backend", options["backend"], BACKENDS))
    check_counts(options, "rounds", "threads", "batch")
    check_address(options["cluster"])
    if racing:
        courses(options["data"], options["network"])
    elif ranks:
        needs()
        check_chains(options["network"])
    else:
        load_images(options["data"])
    writable_folder(Path(options["output"]))
    return options


def fresh_process(options, **more):
    """Run this module with the options in its own process, with libraries limited to the number of threads."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(options["threads"]))}
    words, process = own_process("minilift.lab.bench", json.dumps(options)), None
    try:
        with children_spared():  # until `interruptible` runs in it
            process = subprocess.Popen(words, env=environment, **more)
        out, err = process.communicate()
    except BaseException:
        if process is not None:
            process.kill()
            process.wait()
        raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def interruptible(options):
    """Measure, listening to Ctrl-C from now on; the process that started this one reports it."""
    try:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        return measure(options)
    except KeyboardInterrupt:
        return INTERRUPTED


def measure(options):
    """Measure, print and write the results of one kind, in the process started for it; return the exit code."""
    if options["what"] == "peak":
        print(json.dumps(peak_memory(options)))
        return 0
    load = machine()["load"]
    rows_of, table_of, figure_of = MEASURES[options["what"]]
    rows = rows_of(options)
    progress("")
    if not rows:
        where = f" on {', '.join(options['network'])}" * (options["what"] in BELONGS["network"])
        raise ValueError(f"--contender: nothing was measured: bench {options['what']} has no step of "
                         f"{', '.join(options['contender'])}{where} here")
    idle = [option for option, kinds in BELONGS.items() if options["what"] not in kinds]
    left_out = ("what", "output", *idle, *["network"] * options["all"])
    given = {name: value for name, value in options.items() if name not in left_out}
    usual = {name: value for name, value in DEFAULTS.items() if name not in ("network", "rounds")}  # always said
    about = {"command": command_line(f"minilift bench {options['what']}", given, usual),
             "machine": {**machine(), "load before": load}}
    path = Path(options["output"]) / options["what"]
    text = write(path, about, rows, table_of, figure_of)
    print(f"{text}\nwritten: {path}.json, .txt and .png")
    return 0


def write(path, about, rows, table_of, figure_of):
    """Write results to path.json, .txt and .png, the numbers before table and figure are made; return the text.

    Earlier results are kept under different names.
    """
    numbers, text_file, figure = (path.with_suffix(suffix) for suffix in (".json", ".txt", ".png"))
    for earlier in filter(Path.exists, (numbers, text_file, figure)):
        note(f"{earlier} was there already and is now {moved_aside(earlier)}")
    write_text(numbers, json.dumps({**about, "rows": rows}, indent=1, ensure_ascii=False))
    text = f"{heading(about)}\n{table_of(rows)}\n"
    write_text(text_file, text)
    plots.save(figure_of(rows), figure)
    return text


def heading(about):
    """Return the lines that say where and how the results were measured."""
    at = about["machine"]
    load = f"; load {at['load before'][0]:.1f} before, {at['load'][0]:.1f} after" if at["load"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in at["versions"].items())
    in_rounds = about["command"].split()[2] in BELONGS["rounds"]
    rounds = ["median (smallest–largest) over the rounds; ratios pair by pair"] * in_rounds
    if "--cluster" in about["command"]:
        rounds = ["the workers of the cluster did the runs, and seconds are theirs; the machine above asked for them"]
    return "\n".join([about["command"],
                      f"{at['processor']}, {at['cores']} cores, {at['threads']} threads, {at['blas']}{load}",
                      f"{versions}; commit {at['commit']}, {at['date']}", *rounds, *busy(at)])


def busy(at):
    """Return a warning if the machine was busy in the minute before the measurement began."""
    load = at["load before"][0] if at["load before"] else 0.0
    warning = (f"WARNING: the machine was busy in the minute before (load {load:.1f}); if that work went on, times, "
               "ratios and verdicts below are not to be relied on")
    return [warning] if load > at["cores"] / 2 else []


def progress(text, line=False):
    """Show the progress on a terminal; elsewhere write only what is worth a line."""
    if watched():
        print(f"\r{text:<70}", end="\r" if text == "" else "", file=sys.stderr, flush=True)
    elif line:
        note(text)


def step_figure(rows):
    """Return the figure of the times of whole steps, or of the parts of one."""
    of = f" in a step of {rows[0]['step of']}" if "step of" in rows[0] else ""
    return bars(rows, "seconds", 1e3, f"milliseconds{of} (median; line: range)", "limit")


MEASURES = {  # for each benchmark, the functions that measure its rows, and make a text and a figure of them
    "step": (partial(measured_rows, take_part=whole_steps, row=step_row), step_table, step_figure),
    "profile": (part_rows, partial(blocks, cells=profile_cells), step_figure),
    "solve": (bench_solve, solve_table, solve_figure),
    "scale": (bench_scale, scale_table, scale_figure),
    "memory": (bench_memory, memory_table, partial(bars, key="bytes", factor=1e-6, label="MB, peak of the process")),
    "race": (bench_race, race_table, race_figure),
    "ranks": (bench_ranks, ranks_table, ranks_figure),
    "import": (bench_import, import_table, partial(bars, key="seconds", factor=1,
                                                   label="seconds to import, in a fresh interpreter")),
}


if __name__ == "__main__":
    sys.exit(exit_code_of("minilift bench", interruptible, json.loads(sys.argv[1])))
