"""Figures of the lab: bars and lines of the benchmarks, step sizes and curves of the experiments."""

from __future__ import annotations

import math
from itertools import cycle
from operator import itemgetter

import numpy as np

from minilift import plots
from minilift.lab.contenders import OTHERS, PROBLEMS
from minilift.lab.experiments import LONG, TABLE1_STEPS
from minilift.lab.runs import grouped, losses_by_step
from minilift.training.curves import verbatim

LIBRARIES = ("numpy", "torch", "sklearn.neural_network")  # beside minilift in `bench import`


def panels(width, height, rows=1, columns=1, **options):
    """Return an empty figure and its panels, an array (rows, columns), open at the top and on the right."""
    figure = plots.new_figure(width, height)
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, grid


# ---- benchmarks


def milliseconds(row):
    """Return the median time of a row."""
    return row["seconds"]["median"] * 1e3


def megabytes(row):
    """Return the memory of a row, or None where it was not measured."""
    return None if row["bytes"] is None else row["bytes"] / 1e6


MEASURED = {"milliseconds a step": milliseconds, "MB of arrays in a step": megabytes}


def exponent(rows, key):
    """Return p of the least-squares fit key ~ size^p, or None where nothing was measured."""
    values = [key(row) for row in rows]
    if None in values:
        return None
    return float(np.polyfit(np.log([row["size"] for row in rows]), np.log(values), 1)[0])


def bars(rows, key, factor, label, inner=None):
    """Return a figure with one bar for each row, a panel for each network.

    Parameters
    ----------
    rows : list of dict
        With "network" and "contender".
    key : str
        Key of what is drawn: a number of the row, or a dict of its median, smallest and largest value.
    factor : float
        Factor by which it is multiplied.
    label : str
        Label of the axis.
    inner : str, optional
        Key of what is drawn as a thin black bar: such a dict, of which the median is used.
    """
    networks = grouped(rows, "network")
    legend = 0.0 if inner is None else 0.3  # inches
    figure, grid = panels(8, 1.0 * len(networks) + 0.32 * len(rows) + legend, rows=len(networks),
                          height_ratios=list(map(len, networks.values())))
    for axes, (network, block) in zip(grid.flat, networks.items()):
        block = block[::-1]
        names = [row["contender"] for row in block]
        values = [list(row[key].values()) if isinstance(row[key], dict) else [row[key]] * 3 for row in block]
        middle, low, high = np.transpose(values) * factor
        axes.barh(names, middle, color=["#bbbbbb" if name in (*OTHERS, *LIBRARIES) else "#4477aa" for name in names],
                  xerr=[middle - low, high - middle], error_kw={"lw": 1})
        if inner is not None:
            axes.barh(names, [row[inner]["median"] * factor for row in block], height=0.3, color="black",
                      label="bare matrix products")
        problem = PROBLEMS.get(network)
        axes.set_title(f"{problem.title}, batch {problem.batch}" if problem else network, fontsize=10)
        axes.set_xlabel(label)
    if inner is not None:
        figure.legend(*grid[0, 0].get_legend_handles_labels(), frameon=False, loc="outside lower right")
    return figure


def solve_figure(rows):
    """Return a figure of the time of local solves against each size, and of their flops at the machine's rate."""
    marker, color = {"exact": "o", "cg5": "s"}, {"sample": "#4477aa", "parameter": "#cc6677"}
    blocks = grouped(rows, "varied")
    figure, grid = panels(11, 4, columns=len(blocks), sharey=True)
    for axes, (varied, block) in zip(grid.flat, blocks.items()):
        for (solver, side), line in grouped(block, "solver", "side").items():
            sizes, look = [row[varied] for row in line], {"marker": marker[solver], "color": color[side]}
            axes.loglog(sizes, list(map(milliseconds, line)), label=f"{solver}, {side} side", **look)
            predicted = [row["flops"] / row["machine flops a second"] * 1e3 for row in line]
            axes.loglog(sizes, predicted, ":", fillstyle="none", lw=1, **look)
        size_axis(axes, varied.replace("rows", "N, samples"), sizes)
        fixed = ", ".join(f"{name} = {block[0][name]}" for name in blocks if name != varied)
        axes.set_title(fixed.replace("rows", "N"), fontsize=10)
    figure.axes[0].set_ylabel("milliseconds; dotted: flops at the product's rate")
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def scale_figure(rows):
    """Return a figure of time and memory of a step against width, depth and batch, with the fitted exponents."""
    columns = grouped(rows, "varied")
    figure, grid = panels(11, 6, len(MEASURED), len(columns), sharey="row")
    colors = dict(zip(grouped(rows, "contender"), cycle(("#4477aa", "#cc6677", "#ddaa33", "#228833", "#888888"))))
    for column, (varied, block) in zip(grid.T, columns.items()):
        for axes, (label, key) in zip(column, MEASURED.items()):
            for name, line in grouped(block, "contender").items():
                power, sizes = exponent(line, key), [row["size"] for row in line]
                if power is not None:
                    axes.loglog(sizes, list(map(key, line)), "o-", color=colors[name], label=f"{name}, p = {power:.2f}")
                    axes.legend(frameon=False, fontsize=8)
            size_axis(axes, varied, sizes)
            axes.set_ylabel(label if varied == next(iter(columns)) else "")
    return figure


def size_axis(axes, label, sizes):
    """Mark the sizes that were measured on a logarithmic axis, and no others."""
    axes.set_xlabel(label)
    axes.set_xticks(sizes, map(str, sizes))
    axes.set_xticks([], minor=True)


# ---- experiments


def steps_figure(plan, results, data):
    """Return a figure of the final training loss against the step size, with the paper's numbers as thin lines.

    If a method diverged, a cross stands above the axes, in a separate row for each method.
    """
    figure, ((axes,),) = panels(8, 5)
    for row, (label, style) in enumerate(plots.styles(results.labels).items()):
        found = losses_by_step(results.select(data=data, label=label))
        steps, losses = np.array(list(found)), np.array(list(found.values()))
        trained = np.isfinite(losses).all(axis=1)
        axes.plot(steps, np.where(trained, np.median(losses, axis=1), np.nan), label=label, linewidth=1.8, **style)
        crosses = steps[~trained]
        axes.plot(crosses, np.full(len(crosses), 1.02 + 0.025 * row), "x", color=style["color"], markersize=5,
                  markeredgewidth=1.5, transform=axes.get_xaxis_transform(), clip_on=False)
        if label in plan.what.paper:
            paper = [math.nan if loss is None else loss for loss in plan.what.paper[label]]
            axes.plot(TABLE1_STEPS, paper, linewidth=0.8, alpha=0.6, fillstyle="none", **style)
    axes.set(xscale="log", yscale="log", xlabel="τ", ylabel="training loss at the end")
    epochs = plan.setting.epochs
    diverged = any(line.get_marker() == "x" and len(line.get_xdata()) for line in axes.lines)
    title = f"{verbatim(data)}, {epochs} epoch{'s' * (epochs > 1)}; thin: the paper's, CIFAR-10, 50 epochs"
    axes.set_title(title + "\ncrosses: diverged, from below in the legend's order" * diverged, fontsize=10,
                   pad=8 + 8 * len(results.labels) * diverged)
    axes.legend(frameon=False, fontsize=9)
    return figure


def curves_figure(plan, results, data):
    """Return a figure of training losses over epochs and seconds, and of validation accuracies where there are any."""
    from matplotlib.ticker import MaxNLocator

    experiment = plan.what
    runs = {label: results.measured(data, label, itemgetter("history")) for label in results.labels}
    accuracy = all("val_accuracy" in history for histories in runs.values() for history in histories)
    longer = {label.removesuffix(" long"): label for label in runs if label.endswith(" long")}
    seconds = "seconds of training" + (f" (backprop: {LONG} times the epochs)" if longer else "")
    columns = [("epoch", "epochs", "train_loss", "training loss"), ("seconds", seconds, "train_loss", "training loss"),
               ("epoch", "epochs", "val_accuracy", "validation accuracy")][:3 if accuracy else 2]
    figure, (row,) = panels(13 if accuracy else 9, 4.6, columns=len(columns))
    looks = plots.styles([label for label in runs if label not in longer.values()])
    for axes, (x, xlabel, y, ylabel) in zip(row, columns):
        for label, style in looks.items():
            shown = longer.get(label, label) if x == "seconds" else label
            plots.draw({x: axes}, runs[shown], y, style, shown)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True) if x == "epoch" else MaxNLocator(5))  # 0.001 is wide
        if y == "train_loss":
            axes.set_yscale("log")
            plots.plain_numbers(axes.yaxis)
    for label, curve in experiment.paper.get(data, {}).items():
        row[0].plot(range(len(curve)), curve, "k.", label=f"{label}, the authors' log (full size)")
    for label, value in experiment.paper.get("best validation accuracy", {}).items():
        below = label == "backprop"
        row[-1].axhline(value, color="grey", linewidth=0.8, linestyle=":" if below else "--")
        row[-1].annotate(f"the paper's best, CIFAR-10: {label}", (0, value), fontsize=7,
                            xytext=(2, -8 if below else 2), textcoords="offset points")
    figure.suptitle(verbatim(f"{experiment.title}, {data}"), fontsize=10)
    plots.legend(figure, {"epoch": row[0]})
    return figure
