r"""Measurements: ``minilift bench step | profile | solve | scale | memory | import``.

Contenders take turns, A B A B, in one process with a fixed number of threads; ratios are formed pair by pair,
within a round, and reported with their range. The measure of a step is the machine's own limit: the time that
the bare matrix products of that step take in the same rounds (see `minilift.lab.contenders`). The share of the limit
is that time over the time of the whole step: forward pass, loss, directions and optimizer, checks of the input
included. Factorisations are no products: they count against the share.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilift.lab.contenders import (
    METHODS,
    OTHERS,
    PROBLEMS,
    TARGETS,
    Contender,
    Problem,
    contender,
    map_shapes,
    outer,
    product_contender,
    step_products,
)
from minilift.layers.maps import Linear
from minilift.local.solvers import conjugate_gradients, damped_solve
from minilift.methods import BackProp
from minilift.support.arguments import known_name, whole_number
from minilift.support.backend import BACKENDS, get_module, synchronize
from minilift.support.files import read_npz, write_text
from minilift.support.terminal import exit_code_of

SETTLE = 0.1  # seconds between libraries: OpenBLAS threads spin for some 30 ms after their last product
TURN = 0.05  # seconds that a turn takes at least, in whole steps
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


# ------------------------------------------------------------------------------------------- the clock


class Result(NamedTuple):
    """What a measurement gives: rows for JSON, a table, and a function that draws them, (rows, path)."""

    rows: list
    text: str
    draw: Callable


def take_turns(contenders, rounds, title=""):
    """Return {name: seconds a step in each round}: contenders take turns, a pause between libraries.

    A turn is as many steps as fill `TURN` seconds, its time is divided by them. One turn before the rest
    counts for nothing.
    """
    repeats = {}
    for name, entrant in contenders.items():
        entrant.step(), entrant.wait()
        repeats[name] = max(1, round(TURN / seconds(entrant, 1)))
        seconds(entrant, repeats[name] - 1)
    times = {name: [] for name in contenders}
    for number in range(rounds):
        progress(f"{title}: round {number + 1} of {rounds}")
        library = None
        for name, entrant in contenders.items():
            if entrant.library != library:
                time.sleep(SETTLE)
                library = entrant.library
            times[name].append(seconds(entrant, repeats[name]))
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


def bench_step(options):
    """Measure a whole training step of each contender on each network."""
    rows, images = [], load_images(options["data"])
    for network in options["network"]:
        problem, maps = PROBLEMS[network], map_shapes(PROBLEMS[network], options["backend"])
        field = {name: contender(problem, name, options["backend"], images.get(network))
                 for name in options["contender"]}
        field = {name: one for name, one in field.items() if one is not None}
        counts = {name: step_products(name, maps) for name in field}
        products = {product: product_contender(product, get_module(options["backend"]))
                    for count in counts.values() for product in count}
        times = take_turns({**products, **field}, options["rounds"], network)
        limits = {name: sum(number * np.array(times[product]) for product, number in counts[name].items())
                  for name in field}
        rows += [step_row(network, name, times, limits) for name in field]
    return Result(rows, step_table(rows), step_figure)


def load_images(path):
    """Return the images of a file's X_train for the networks that take CIFAR-10's, or nothing."""
    if path is None:
        return {}
    X = read_npz(path).get("X_train")
    if X is None or X[0].size != 3072 or len(X) < PROBLEMS["wide"].batch:
        raise ValueError(f"--data: {path} must hold X_train, at least {PROBLEMS['wide'].batch} images of 32×32×3")
    return dict.fromkeys(("wide", "convnet"), X)


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
        block = select(rows, network=network)
        lines += ["", describe(network), *columns(step_cells(block))]
        lines += [f"  target: {row['contender']} {one['what']} "
                  f"{'≥' if 'at least' in one else '≤'} {one.get('at least', one.get('at most'))}: "
                  f"{one['reached']:.2f}, {'met' if one['met'] else 'NOT met'}"
                  for row in block for one in row["targets"]]
    return "\n".join(lines)


def describe(network):
    """Return a network's name, widths and batch as text."""
    problem = PROBLEMS[network]
    widths = "" if problem.images else f", {'-'.join(map(str, problem.widths))}"
    return f"{network}: {problem.title}{widths}, batch {problem.batch}"


def step_cells(block):
    """Return the rows of one network as a table of text, the head first."""
    present = {other for row in block for other in row["ratios"]}
    others = [other for other in ("BackProp", "PyTorch", "PyTorch fused") if other in present]
    cells = [["", "ms a step", *(f"÷ {other}" for other in others), "limit, ms", "share of it"]]
    for row in block:
        cells.append([row["contender"], spread(row["seconds"], 1e3),
                      *(spread(row["ratios"].get(other), 1, 2) for other in others),
                      spread(row["limit"], 1e3), spread(row["share"], 1, 2)])
    return cells


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


# --------------------------------------------------------------------------------------- bench profile


def bench_profile(options):
    """Measure the parts of a BackProp step, each by itself, and the bare matrix products in them."""
    rows, images = [], load_images(options["data"])
    for network in options["network"]:
        problem, maps = PROBLEMS[network], map_shapes(PROBLEMS[network], options["backend"])
        field = step_parts(problem, options["backend"], images.get(network))
        counts = {part: Counter({product: number for product, number in step_products("BackProp", maps).items()
                                 if (product[0] == "forward") == (part == "forward pass")})
                  for part in ("forward pass", "backward sweep")}
        products = {product: product_contender(product, get_module(options["backend"]))
                    for count in counts.values() for product in count}
        times = take_turns({**products, **field}, options["rounds"], network)
        for part in field:
            bare = sum(number * np.array(times[product]) for product, number in counts.get(part, {}).items())
            rows.append({"network": network, "contender": part, "seconds": summary(times[part]),
                         "limit": summary(np.broadcast_to(bare, options["rounds"]))})
    return Result(rows, profile_table(rows), profile_figure)


def step_parts(problem, backend, images):
    """Return what a BackProp step consists of, each part on its own."""
    net, method, optimizer = problem.network(backend), BackProp(), outer(problem)
    X, y = net.checked_batch(*problem.samples(images))
    state = net.propagate(X, training=True)
    directions = method.directions(net, state, y)
    parts = {"checks of the batch": lambda: net.checked_batch(X, y),
             "forward pass": lambda: net.propagate(X, training=True),
             "loss": lambda: net.loss_function.value(state.z[net.depth], y),
             "backward sweep": lambda: method.directions(net, state, y),
             "optimizer": lambda: optimizer.step(net.parameters, directions)}
    return {part: Contender("minilift", step, lambda: synchronize(net.xp)) for part, step in parts.items()}


def profile_table(rows):
    """Return the parts of a step as text, one block for each network, with their sum."""
    lines = []
    for network in dict.fromkeys(row["network"] for row in rows):
        block = select(rows, network=network)
        cells = [["", "ms", "bare products, ms", "the rest, ms"]]
        cells += [[row["contender"], spread(row["seconds"], 1e3, 3), f"{row['limit']['median'] * 1e3:.3f}",
                   f"{(row['seconds']['median'] - row['limit']['median']) * 1e3:.3f}"] for row in block]
        whole, bare = (sum(row[key]["median"] for row in block) * 1e3 for key in ("seconds", "limit"))
        cells.append(["sum", f"{whole:.3f}", f"{bare:.3f}", f"{whole - bare:.3f}"])
        lines += ["", describe(network), *columns(cells)]
    return "\n".join(lines)


def profile_figure(rows, path):
    """Draw the parts of a step."""
    bars(rows, path, milliseconds, "milliseconds; black: its bare matrix products",
         inner=lambda row: row["limit"]["median"] * 1e3)


# ----------------------------------------------------------------------------------------- bench solve


SIZES = (125, 250, 500, 1000, 2000)
BASE = {"rows": 500, "n_in": 1000, "n_out": 1000}
SOLVERS = {"exact": lambda gram, g: damped_solve(gram, g, 1.0),
           "cg5": lambda gram, g: conjugate_gradients(gram, g, 1.0, 5)}


def predicted_flops(solver, side, rows, n_in, n_out):
    """Return the flops of a local solve with its Gram matrix and the product that lifts it."""
    s, other = (rows, n_in + 1) if side == "sample" else (n_in + 1, rows)
    solve = s**3 + 2 * s**2 * n_out if solver == "exact" else 5 * 2 * s**2 * n_out
    return s**2 * other + solve + 2 * rows * n_in * n_out


def solve_contender(solver, side, rows, n_in, n_out, backend):
    """Return the local solve of one map on one side, its Gram matrix included."""
    xp, rng = get_module(backend), np.random.default_rng(0)
    phi = Linear(n_in, n_out)
    a, g = (xp.asarray(rng.random((rows, n), dtype=np.float32)) for n in (n_in, n_out))
    return Contender("minilift", lambda: SOLVERS[solver](phi.gram(a, side=side), g), lambda: synchronize(xp))


def bench_solve(options):
    """Measure the local solves on either side, one size varied at a time."""
    rows = []
    ways = [(solver, side) for solver in SOLVERS for side in ("sample", "parameter")]
    for varied in BASE:
        for size in SIZES:
            shape = {**BASE, varied: size}
            field = {way: solve_contender(*way, **shape, backend=options["backend"]) for way in ways}
            product = ("forward", *shape.values())
            field["product"] = product_contender(product, get_module(options["backend"]))
            times = take_turns(field, options["rounds"], f"{varied} = {size}")
            rate = 2 * math.prod(shape.values()) / np.median(times["product"])
            rows += [{"varied": varied, **shape, "solver": way[0], "side": way[1],
                      "seconds": summary(times[way]), "flops": predicted_flops(*way, **shape),
                      "machine flops a second": float(rate)} for way in ways]
    return Result(rows, solve_table(rows), solve_figure)


def crossover(rows, solver, key):
    """Return the number of rows at which both sides cost the same, interpolated between sizes, or None."""
    costs = {side: np.log([key(row) for row in select(rows, varied="rows", solver=solver, side=side)])
             for side in ("sample", "parameter")}
    gap = costs["sample"] - costs["parameter"]
    for k in range(len(gap) - 1):
        if gap[k] < 0 <= gap[k + 1]:
            part = gap[k] / (gap[k] - gap[k + 1])
            return float(SIZES[k] * (SIZES[k + 1] / SIZES[k]) ** part)
    return None


def select(rows, **wanted):
    """Return those rows whose entries are as wanted."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def crossovers(rows, solver):
    """Return measured and predicted crossover, in rows."""
    return (crossover(rows, solver, lambda row: row["seconds"]["median"]),
            crossover(rows, solver, lambda row: row["flops"]))


def solve_table(rows):
    """Return the local solves as text."""
    cells = [["rows", "n_in", "n_out", "solver, side", "ms", "Gflop", "share of the product's rate"]]
    for row in rows:
        share = row["flops"] / row["machine flops a second"] / row["seconds"]["median"]
        cells.append([*(str(row[name]) for name in BASE), f"{row['solver']}, {row['side']}",
                      spread(row["seconds"], 1e3), f"{row['flops'] / 1e9:.2f}", f"{share:.2f}"])
    lines = ["", *columns(cells), ""]
    for solver in SOLVERS:
        measured, predicted = (f"{size:.0f}" if size else f"outside {SIZES[0]}–{SIZES[-1]}"
                               for size in crossovers(rows, solver))
        lines.append(f"{solver}: both sides cost the same at {measured} rows; by flops {predicted} "
                     f"(n_in = {BASE['n_in']}, n_out = {BASE['n_out']})")
    return "\n".join(lines)


def solve_figure(rows, path):
    """Draw the time of the local solves against each size, beside the flops at the machine's rate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    for axis, varied in zip(figure.subplots(1, 3, sharey=True), BASE):
        for solver, marker in zip(SOLVERS, "os"):
            for side, color in (("sample", "#4477aa"), ("parameter", "#cc6677")):
                line = select(rows, varied=varied, solver=solver, side=side)
                axis.loglog(SIZES, [row["seconds"]["median"] * 1e3 for row in line], marker + "-",
                            color=color, label=f"{solver}, {side} side")
                predicted = [row["flops"] / row["machine flops a second"] * 1e3 for row in line]
                axis.loglog(SIZES, predicted, marker + ":", color=color, fillstyle="none", lw=1)
        axis.set_xlabel({"rows": "N, samples", "n_in": "n_in", "n_out": "n_out"}[varied])
        axis.set_xticks(SIZES, map(str, SIZES), minor=False)
        axis.set_xticks([], minor=True)
        fixed = ", ".join(f"{name} = {size}" for name, size in BASE.items() if name != varied)
        axis.set_title(fixed.replace("rows", "N"), fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("milliseconds; dotted: flops at the product's rate")
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


# ----------------------------------------------------------------------------------------- bench scale


SCALES = {  # what is varied: its values, and the problem it makes
    "width": ((250, 500, 1000, 2000), lambda n: Problem("", (784, n, n, n, 10), "relu", 500)),
    "depth": ((1, 2, 4, 8), lambda n: Problem("", (500,) * (n + 1) + (10,), "relu", 500)),
    "batch": ((125, 250, 500, 1000, 2000), lambda n: Problem("", (784, 500, 500, 500, 10), "relu", n)),
}
SCALED = ("BackProp", "ProxProp exact", "ProxProp cg3", "LocoProp-S", "PyTorch")


def bench_scale(options):
    """Measure time and memory of a step against width, depth and batch, and fit exponents."""
    rows = []
    for varied, (sizes, problem) in SCALES.items():
        for size in sizes:
            field = {name: contender(problem(size), name, options["backend"]) for name in SCALED
                     if name in options["contender"]}
            field = {name: one for name, one in field.items() if one is not None}
            times = take_turns(field, options["rounds"], f"{varied} = {size}")
            traced = options["backend"] == "numpy"
            rows += [{"varied": varied, "size": size, "contender": name, "seconds": summary(times[name]),
                      "bytes": traced_bytes(one) if traced and name in METHODS else None}
                     for name, one in field.items()]
    return Result(rows, scale_table(rows), scale_figure)


def traced_bytes(contender):
    """Return the most bytes of host arrays that a step has at once, beyond what there was before."""
    tracemalloc.start()
    contender.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def exponent(rows, key):
    """Return p of the least-squares fit key ~ size^p, or None where nothing was measured."""
    values = [key(row) for row in rows]
    if any(value is None for value in values):
        return None
    return float(np.polyfit(np.log([row["size"] for row in rows]), np.log(values), 1)[0])


def scale_lines(rows):
    """Return (varied, contender, its rows) of each line of the figure."""
    keys = dict.fromkeys((row["varied"], row["contender"]) for row in rows)
    return [(varied, name, select(rows, varied=varied, contender=name)) for varied, name in keys]


def scale_table(rows):
    """Return times, memory and exponents as text."""
    cells = [["varied", "contender", "sizes", "ms a step", "~ size^p", "MB in a step", "~ size^p"]]
    for varied, name, line in scale_lines(rows):
        cells.append([varied, name, " ".join(str(row["size"]) for row in line)])
        for key in (milliseconds, megabytes):
            power = exponent(line, key)
            cells[-1] += ["–", "–"] if power is None else [
                " ".join(f"{key(row):.1f}" for row in line), f"{power:.2f}"]
    return "\n".join(["", *columns(cells)])


def milliseconds(row):
    """Return the median time of a row."""
    return row["seconds"]["median"] * 1e3


def megabytes(row):
    """Return the memory of a row, or None where it was not measured."""
    return None if row["bytes"] is None else row["bytes"] / 1e6


def scale_figure(rows, path):
    """Draw time and memory of a step against width, depth and batch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, len(SCALES), sharey="row", squeeze=False)
    colors = dict(zip(SCALED, ("#4477aa", "#cc6677", "#ddaa33", "#228833", "#888888")))
    for varied, name, line in scale_lines(rows):
        column, sizes = axes[:, list(SCALES).index(varied)], [row["size"] for row in line]
        for axis, key in zip(column, (milliseconds, megabytes)):
            power = exponent(line, key)
            if power is not None:
                axis.loglog(sizes, [key(row) for row in line], "o-", color=colors[name],
                            label=f"{name}, p = {power:.2f}")
                axis.set_xticks(sizes, [str(size) for size in sizes])
                axis.set_xticks([], minor=True)
                axis.legend(frameon=False, fontsize=8)
        column[1].set_xlabel(varied)
    axes[0, 0].set_ylabel("milliseconds a step")
    axes[1, 0].set_ylabel("MB of arrays in a step")
    figure.savefig(path, dpi=150)


# ---------------------------------------------------------------------------------------- bench memory


def bench_memory(options):
    """Measure the peak memory of a process that does three steps, one process for each contender."""
    rows = []
    for network in options["network"]:
        for name in options["contender"]:
            progress(f"{network}: {name}")
            done = fresh_process({**options, "what": "peak", "network": network, "contender": name},
                                 stdout=subprocess.PIPE)
            if done.returncode:
                raise RuntimeError(f"bench memory: {name} on {network} ended with status {done.returncode}")
            peak = json.loads(done.stdout)
            if peak is not None:
                rows.append({"network": network, "contender": name, "bytes": peak})
    for row in rows:
        reference = select(rows, network=row["network"], contender="PyTorch")
        row["÷ PyTorch"] = row["bytes"] / reference[0]["bytes"] if reference else None
    return Result(rows, memory_table(rows), memory_figure)


def peak_memory(options):
    """Return the peak resident memory of this process, in bytes, after three steps; None for no contender."""
    one = contender(PROBLEMS[options["network"]], options["contender"], options["backend"])
    if one is None:
        return None
    for _ in range(3):
        one.step(), one.wait()
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent process had when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_table(rows):
    """Return peaks as text."""
    cells = [["network, contender", "MB", "÷ PyTorch"]]
    for row in rows:
        ratio = row["÷ PyTorch"]
        cells.append([f"{row['network']}, {row['contender']}", f"{row['bytes'] / 1e6:.0f}",
                      "–" if ratio is None else f"{ratio:.2f}"])
    return "\n".join(["", "peak resident memory of a process of its own, libraries included, in three steps",
                      *columns(cells)])


def memory_figure(rows, path):
    """Draw the peaks."""
    bars(rows, path, megabytes, "MB, peak of the process")


def bars(rows, path, key, label, inner=None):
    """Draw one bar for each row, a panel for each network; with `inner` a thin one in it."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(row["network"] for row in rows))
    figure = Figure(figsize=(8, len(networks) + 0.3 * len(rows)), layout="constrained")
    heights = [len(select(rows, network=network)) for network in networks]
    axes = figure.subplots(len(networks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, network in zip(axes, networks):
        block = select(rows, network=network)[::-1]
        colors = ["#bbbbbb" if row["contender"] in (*OTHERS, *IMPORTS[1:]) else "#4477aa" for row in block]
        names = [row["contender"] for row in block]
        axis.barh(names, [key(row) for row in block], color=colors)
        if inner is not None:
            axis.barh(names, [inner(row) for row in block], height=0.3, color="black")
        axis.set_title(network, fontsize=10)
        axis.set_xlabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


# ---------------------------------------------------------------------------------------- bench import


IMPORTS = ("minilift", "numpy", "torch", "sklearn.neural_network")
HEAVY = ("scipy", "matplotlib", "cupy", "torch", "sklearn", "pooch", "tqdm")
IMPORT_SECONDS = 0.25  # aimed at
IMPORT_PROGRAM = """
import json, sys, time
start = time.perf_counter()
import {name}
print(json.dumps([time.perf_counter() - start, [m for m in {heavy} if m in sys.modules], len(sys.modules)]))
"""


def bench_import(options):
    """Measure importing minilift in a fresh interpreter, beside other libraries, and see what it loads."""
    found = [name for name in IMPORTS if importlib.util.find_spec(name.split(".")[0]) is not None]
    runs = {name: [] for name in found}
    for number in range(options["rounds"]):
        progress(f"import: round {number + 1} of {options['rounds']}")
        for name in found:
            program = IMPORT_PROGRAM.format(name=name, heavy=HEAVY)
            runs[name].append(json.loads(python("-c", program).stdout))
    rows = [{"network": "import", "contender": name, "seconds": summary([run[0] for run in runs[name]]),
             "heavy": runs[name][0][1], "modules": runs[name][0][2]} for name in found]
    return Result(rows, import_table(rows), import_figure)


def python(*arguments):
    """Run a fresh interpreter and return what it said."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def slowest_imports(count=8):
    """Return the modules that take longest by themselves when minilift is imported, (milliseconds, name)."""
    lines = python("-X", "importtime", "-c", "import minilift").stderr.splitlines()[1:]
    fields = [line.removeprefix("import time:").split("|") for line in lines if "|" in line]
    return sorted(((int(own) / 1e3, name.strip()) for own, _, name in fields), reverse=True)[:count]


def import_table(rows):
    """Return import times, and what got loaded, as text."""
    cells = [["import", "seconds", "modules", "heavy ones among them"]]
    for row in rows:
        heavy = ", ".join(row["heavy"]) or "none"
        cells.append([row["contender"], spread(row["seconds"], 1, 3), str(row["modules"]), heavy])
    seconds, heavy = rows[0]["seconds"]["median"], rows[0]["heavy"]
    verdict = "met" if seconds <= IMPORT_SECONDS and not heavy else "NOT met"
    slowest = ", ".join(f"{name} {time:.1f} ms" for time, name in slowest_imports())
    return "\n".join(["", *columns(cells),
                      f"  target: minilift ≤ {IMPORT_SECONDS} s, nothing heavy: {seconds:.3f} s, {verdict}",
                      f"slowest by themselves: {slowest}"])


def import_figure(rows, path):
    """Draw the import times."""
    bars(rows, path, lambda row: row["seconds"]["median"], "seconds to import, in a fresh interpreter")


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
    folder = Path(__file__).resolve().parent.parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        return subprocess.run(["git", "-C", folder, "describe", "--always", "--abbrev=12", "--dirty=+"],
                              capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


# ------------------------------------------------------------------------------------ the command line


def add_arguments(parser):
    """Add the options of ``minilift bench``."""
    parser.add_argument("what", choices=tuple(MEASURES))
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
                        help="CIFAR-10's images, (N, 32, 32, 3) or flat, as X_train (default: random images)")
    parser.add_argument("--output", default="minilift-bench", metavar="FOLDER",
                        help="where results are written (default: minilift-bench)")


def run(arguments):
    """Check the options and measure in a fresh process, whose libraries see the number of threads in time."""
    return fresh_process(checked_options(arguments)).returncode


def checked_options(arguments):
    """Return the options as a dict that can be written down, or raise an error that says what is wrong."""
    options = {name: getattr(arguments, name) for name in
               ("what", "network", "contender", "rounds", "threads", "backend", "data", "output")}
    for name in options["network"]:
        known_name("--network", name, tuple(PROBLEMS))
    for name in options["contender"]:
        known_name("--contender", name, (*METHODS, *OTHERS))
    get_module(known_name("--backend", options["backend"], BACKENDS))
    whole_number("--rounds", options["rounds"])
    whole_number("--threads", options["threads"])
    if options["data"] is not None:
        load_images(options["data"])
    return options


def fresh_process(options, **more):
    """Run this module with the options in a process of its own, libraries held to the number of threads."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(options["threads"]))}
    return subprocess.run([sys.executable, "-m", "minilift.lab.bench", json.dumps(options)], env=environment,
                          check=False, **more)


def measure(options):
    """Measure, print and write the results of one kind, in the process that was made for it; return the exit code."""
    if options["what"] == "peak":
        print(json.dumps(peak_memory(options)))
        return 0
    load = machine()["load"]
    result = MEASURES[options["what"]](options)
    progress("")
    about = {"command": command(options), "machine": {**machine(), "load before": load}}
    text = f"{heading(about)}\n{result.text}\n"
    path = Path(options["output"]) / options["what"]
    record = {**about, "rows": result.rows}
    write_text(path.with_suffix(".json"), json.dumps(record, indent=1, ensure_ascii=False))
    write_text(path.with_suffix(".txt"), text)
    result.draw(result.rows, path.with_suffix(".png"))
    print(f"{text}\nwritten: {path}.json, .txt and .png")
    return 0


def command(options):
    """Return the command that gives a result again."""
    words = ["minilift", "bench", options["what"]]
    for name, default in (("network", list(PROBLEMS)), ("contender", [*METHODS, *OTHERS]), ("rounds", None),
                          ("threads", None), ("backend", "numpy"), ("data", None)):
        values = options[name] if isinstance(options[name], list) else [str(options[name])]
        if options[name] != default:
            words += [f"--{name}", *values]
    return shlex.join(words)


def heading(about):
    """Return the lines that say where and how it was measured."""
    at = about["machine"]
    load = f"; load {at['load before'][0]:.1f} before, {at['load'][0]:.1f} after" if at["load"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in at["versions"].items())
    return "\n".join([about["command"],
                      f"{at['processor']}, {at['cores']} cores, {at['threads']} threads, {at['blas']}{load}",
                      f"{versions}; commit {at['commit']}, {at['date']}",
                      "median (smallest–largest) over the rounds; ratios pair by pair", *busy(at)])


def busy(at):
    """Return a warning if the machine was at work in the minute before the measurement began."""
    load = at["load before"][0] if at["load before"] else 0.0
    if load <= at["cores"] / 2:
        return []
    return [f"WARNING: the machine was busy in the minute before (load {load:.1f}); if that work went on, times, "
            "ratios and verdicts below are not to be relied on"]


def progress(text):
    """Show on a terminal what is being done."""
    if sys.stderr.isatty():
        print(f"\r{text:<70}", end="\r" if text == "" else "", file=sys.stderr, flush=True)


MEASURES = {"step": bench_step, "profile": bench_profile, "solve": bench_solve, "scale": bench_scale,
            "memory": bench_memory, "import": bench_import}


if __name__ == "__main__":
    sys.exit(exit_code_of("minilift bench", measure, json.loads(sys.argv[1])))
