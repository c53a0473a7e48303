"""Training curves of one run or of several methods, and the styles that all figures share."""

from __future__ import annotations

import io
import itertools
import math
import os
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from minilift import methods
from minilift.support.arguments import checked_path, instance_of, positive_number, shown, text
from minilift.support.files import write_bytes
from minilift.support.spellings import spelled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#666666"
ROOM, ROW = 3, 0.19  # rows of a legend for which a figure has room, and inches that each further one needs
WIDEST = 100  # characters in a line of a legend below two panels


METHOD_STYLE: dict[str, dict] = {
    "backprop": {"color": BLACK, "linestyle": "-", "marker": "o"},
    "proxprop": {"color": BLUE, "linestyle": "-", "marker": "s"},
    "cg1": {"color": SKY, "linestyle": ":", "marker": "1"},
    "cg3": {"color": SKY, "linestyle": "--", "marker": "^"},
    "cg5": {"color": SKY, "linestyle": "-.", "marker": "<"},
    "cg10": {"color": SKY, "linestyle": (0, (6, 1)), "marker": ">"},
    "locoprop-s": {"color": ORANGE, "linestyle": "-.", "marker": "D"},
    "locoprop-m": {"color": VERMILLION, "linestyle": (0, (4, 1, 1, 1, 1, 1)), "marker": "v"},
    "locoprop-m-rmsprop": {"color": VERMILLION, "linestyle": ":", "marker": "d"},
    "semi-implicit": {"color": GREEN, "linestyle": ":", "marker": "P"},
    "foof": {"color": BLUE, "linestyle": "--", "marker": "8"},
    "kfac": {"color": BLUE, "linestyle": ":", "marker": "H"},
    "gauss-newton": {"color": GREEN, "linestyle": "-", "marker": "3"},
    "mac": {"color": GREEN, "linestyle": "--", "marker": "4"},
    "bcd": {"color": VERMILLION, "linestyle": "-", "marker": 4},  # numbers are carets
    "admm": {"color": ORANGE, "linestyle": "-", "marker": 5},
    "dladmm": {"color": ORANGE, "linestyle": ":", "marker": 6},
    "fenchel": {"color": SKY, "linestyle": "-", "marker": 7},
    "lpom": {"color": GREY, "linestyle": "-", "marker": "$L$"},
    "lifted-bregman": {"color": GREY, "linestyle": "--", "marker": "$B$"},
    "predictive-coding": {"color": PURPLE, "linestyle": ":", "marker": "2"},
    "target-propagation": {"color": ORANGE, "linestyle": "--", "marker": "+"},
}


OTHER_STYLES = (  # for the user's own methods, in order of appearance
    {"color": PURPLE, "linestyle": "-", "marker": "*"},
    {"color": GREY, "linestyle": "-.", "marker": "h"},
    {"color": PURPLE, "linestyle": "--", "marker": "X"},
    {"color": YELLOW, "linestyle": "-", "marker": "p"},
)


LOOKS = {methods.BackProp: "backprop", methods.SemiImplicit: "semi-implicit", methods.FOOF: "foof",
         methods.KFAC: "kfac", methods.GaussNewton: "gauss-newton", methods.MAC: "mac", methods.BCD: "bcd",
         methods.ADMM: "admm", methods.DLADMM: "dladmm", methods.FenchelLifted: "fenchel", methods.LPOM: "lpom",
         methods.LiftedBregman: "lifted-bregman", methods.PredictiveCoding: "predictive-coding",
         methods.TargetPropagation: "target-propagation"}


def look_of(method):
    """Return the name in `METHOD_STYLE` of one of the package's methods; "" for any other."""
    if type(method) is methods.ProxProp:
        return "proxprop" if method.solver == "exact" else method.solver
    if type(method) is methods.LocoProp:
        return f"locoprop-{method.variant.lower()}"
    return LOOKS.get(type(method), "")


def styles(looks):
    """Return {label: line style}; a second label of the same method gets a style of `OTHER_STYLES`.

    Parameters
    ----------
    looks : dict of label → name in `METHOD_STYLE`, or sequence of labels
        For any other name, or "", a label gets a style of `OTHER_STYLES`, in order of appearance. In a sequence, the
        name is what precedes the first colon of the label.
    """
    if not isinstance(looks, dict):
        looks = {label: str(label).split(":")[0] for label in looks}
    chosen, taken, others = {}, set(), map(other_style, itertools.count())
    for label, method in looks.items():
        chosen[label] = METHOD_STYLE[method] if method in METHOD_STYLE and method not in taken else next(others)
        taken.add(method)
    return chosen


def other_style(number):
    """Return the style of the user's own method number 0, 1, …; from the fifth on, with another one's marker."""
    own, round_ = number % len(OTHER_STYLES), number // len(OTHER_STYLES)
    return {**OTHER_STYLES[own], "marker": OTHER_STYLES[(own + round_) % len(OTHER_STYLES)]["marker"]}


def looks_of(runs):
    """Return {label: name of the method}: what precedes the colon of the label if it is one, else the history's."""
    found = {}
    for label, histories in runs.items():
        first = histories[0] if isinstance(histories, (list, tuple)) else histories
        name = str(label).split(":")[0]
        found[label] = name if name in METHOD_STYLE else first.look
    return found


@spelled
def history(histories: Any) -> Figure:
    """Return a figure of losses against epochs and against seconds.

    The losses' axis is logarithmic, or linear if one of them is negative.

    Parameters
    ----------
    histories : History, list of History, or dict of label → History
        In a list, each is shown under its own label. Training losses are drawn with lines and markers, validation
        losses, if there are any, with thin lines.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> net, data = ml.mlp([64, 10]), ml.datasets.digits()
    >>> history = ml.fit(net, data, "backprop", "sgd:lr=1", epochs=2, progress=False)
    >>> figure = ml.plots.history(history)
    >>> [axes.get_xlabel() for axes in figure.axes], len(figure.axes[0].lines[0].get_xdata())
    (['epochs', 'seconds of training'], 3)
    """
    if isinstance(histories, (list, tuple)):
        runs = [checked_run(f"history: histories[{k}]", run) for k, run in enumerate(histories)]
        histories = {run.label or "training": run for run in runs}
        if len(histories) < len(runs):
            raise ValueError(f"history: histories must have labels that differ, got {[run.label for run in runs]}; a "
                             "dict of label → History gives them others")
    elif not isinstance(histories, dict):
        histories = {checked_run("history: histories", histories).label or "training": histories}
    histories = {label: checked_run("history: histories", run) for label, run in histories.items()}
    if not histories:
        raise ValueError("history: histories must hold at least one History, got none")
    figure, panels = panels_of(histories.values(), "loss")
    for label, style in styles(looks_of(histories)).items():
        run = histories[label]
        name = textwrap.fill(str(label), 60)
        draw(panels, [run], "train_loss", style, f"{name}, training")
        if "val_loss" in run:
            draw(panels, [run], "val_loss", {**style, "marker": "", "linewidth": 0.8}, f"{name}, validation")
    legend(figure, panels)
    return figure


@spelled
def comparison(runs: dict[str, Any], ylabel: str = "training loss", column: str = "train_loss",
               level: float | None = None, title: str | None = None, looks: dict[str, str] | None = None) -> Figure:
    """Return a figure of several methods side by side: loss against epochs and against seconds.

    The losses' axis is logarithmic, or linear if one of them is negative.

    Parameters
    ----------
    runs : dict of label → History or list of History
        Several histories of one label are repetitions with other seeds: their median is drawn, and their range shaded.
    ylabel : str, default "training loss"
    column : str, default "train_loss"
        The column of the histories to draw.
    level : float, optional
        A loss to mark with a horizontal line.
    title : str, optional
    looks : dict of label → name in `METHOD_STYLE`, optional
        As for `styles`. By default the label itself up to a colon, or the method named in the history.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> def run(method):
    ...     net, data = ml.mlp([64, 10]), ml.datasets.digits()
    ...     return ml.fit(net, data, method, "sgd:lr=1", epochs=2, progress=False)
    >>> figure = ml.plots.comparison({"backprop": run("backprop"), "foof": run("foof:damping=1")}, level=0.5)
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['backprop', 'foof']
    """
    ylabel, column = text("comparison: ylabel", ylabel), text("comparison: column", column)
    level = None if level is None else positive_number("comparison: level", level)
    title = None if title is None else text("comparison: title", title)
    if not isinstance(runs, dict):
        raise TypeError(f"comparison: runs must be a dict of label → History or list of History, got {shown(runs)}")
    looks = None if looks is None else instance_of("comparison: looks", looks, dict)
    if looks is not None and not set(runs) <= set(looks):
        raise ValueError(f"comparison: looks must have a name for each of {list(runs)}, got {shown(looks)}")
    runs = {label: run if isinstance(run, (list, tuple)) else [run] for label, run in runs.items()}
    if not runs or not all(runs.values()):
        raise ValueError("comparison: runs must hold a History for each label")
    runs = {label: [checked_run("comparison: runs", run, column) for run in some] for label, some in runs.items()}
    figure, panels = panels_of([run for some in runs.values() for run in some], ylabel)
    in_time = [panels["seconds"]] if "seconds" in panels else []
    for axes in in_time:
        axes.set_xscale("log")  # methods differ by large factors in time; epoch 0, at 0 s, is left out
    for label, style in styles({label: looks[label] for label in runs} if looks else looks_of(runs)).items():
        name = str(label)
        draw(panels, runs[label], column, style, name if len(name) <= WIDEST else textwrap.fill(name, WIDEST))
    for axes in in_time:
        bring_crosses_in(axes)
    if level is not None and abs(math.log10(level)) < 200:  # beyond, the margins of a logarithmic axis overflow
        for axes in panels.values():
            axes.axhline(level, color=GREY, linewidth=0.8, linestyle=(0, (1, 3)))
        axes.annotate(f"{level:.3g}", (1, level), xycoords=("axes fraction", "data"), fontsize=8, color=GREY,
                      xytext=(3, 0), textcoords="offset points", va="center")  # beside the panels, free of curves
    for axis in (panels["epoch"].yaxis, *(axes.xaxis for axes in in_time)):
        plain_numbers(axis)
    if title:
        figure.suptitle(title, fontsize=10)
    legend(figure, panels)
    return figure


def checked_run(what, run, column="train_loss"):
    """Return `run` if it is a `History` that has a column, or raise an error."""
    if not hasattr(run, "columns") or not hasattr(run, "diverged"):
        raise TypeError(f"{what} must be a History, or a dict of label → History, got {shown(run)}")
    if column not in run:
        raise ValueError(f"{what} must have the column {column!r}, the History has {list(run.columns)}")
    return run


def panels_of(runs, ylabel):
    """Return a figure with a panel for epochs and one for seconds, both with the same loss axis, logarithmic at first.

    If all histories are of rows without seconds, as one's own may be, there is no panel for them.
    """
    from matplotlib.ticker import MaxNLocator

    timed = any("seconds" in run for run in runs)
    figure = new_figure(9 if timed else 5, 4.2)
    panels = dict(zip(("epoch", "seconds"), figure.subplots(1, 1 + timed, sharey=True, squeeze=False)[0]))
    for axes, xlabel in zip(panels.values(), ("epochs", "seconds of training")):
        axes.set_yscale("log")
        axes.set_xlabel(xlabel)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        places = {"integer": True, "min_n_ticks": 1} if xlabel == "epochs" else {"nbins": 5}  # 0.00025 needs room
        axes.xaxis.set_major_locator(MaxNLocator(**places))
    panels["epoch"].set_ylabel(ylabel)
    return figure, panels


def draw(panels, histories, column, style, label):
    """Draw the median of some histories over epochs and over seconds, their range, and a cross where one diverged."""
    rows, label = max(map(len, histories)), str(label)
    if label.startswith("_") or not label:
        label = f" {label}"  # matplotlib would leave it out of the legend
    losses = np.array([[*run[column], *[at_last(run, column)] * (rows - len(run))] for run in histories], dtype=float)
    for x_column, axes in panels.items():
        if x_column == "seconds" and not all(x_column in run for run in histories):
            continue
        x = np.median([extended(run[x_column], rows) for run in histories], axis=0)
        median = np.median(losses, axis=0)
        shown = np.isfinite(median) & ((x > 0) | (axes.get_xscale() == "linear"))
        every = max(1, rows // 8)
        axes.plot(x[shown], median[shown], label=label, markersize=5, markevery=every, **{"linewidth": 1.6, **style})
        if (median[np.isfinite(median)] < 0).any():  # the loss is one's own, such as a log-likelihood
            axes.set_yscale("linear")
        if len(histories) > 1:
            low, high = losses.min(axis=0), losses.max(axis=0)
            whole = np.isfinite(high) & shown
            axes.fill_between(x[whole], low[whole], high[whole], color=style["color"], alpha=0.15, linewidth=0)
        for run in histories:
            if run.diverged is not None:
                last = run[x_column][-1]
                cross = math.nan if last <= 0 and axes.get_xscale() == "log" else last  # see bring_crosses_in
                axes.plot(cross, 1, marker="x", color=style["color"], markersize=10, markeredgewidth=2,
                          transform=axes.get_xaxis_transform(), clip_on=False, zorder=5)


def at_last(run, column):
    """Return the value that continues the column of a run that ended early: infinity if it diverged, else its last."""
    return math.inf if run.diverged is not None else run[column][-1]


def bring_crosses_in(axes):
    """Place crosses at 0 s, which a logarithmic axis cannot show, at its left end; all lines are drawn by now."""
    if not any(x > 0 for line in axes.lines for x in line.get_xdata()):  # all diverged in their first epoch
        axes.set(xscale="linear", xlim=(0, 1))
    left = axes.get_xlim()[0]
    for line in axes.lines:
        if line.get_marker() == "x" and math.isnan(line.get_xdata()[0]):
            line.set_xdata([left])


def plain_numbers(axis):
    """Write 200 instead of 2×10², and 0.2 instead of 2e−01, at the ticks of a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogFormatter

    class Plain(LogFormatter):
        def __call__(self, value, place=None):
            return f"{value:g}" if super().__call__(value, place) else ""  # it decides which ticks have a label

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(Plain(minor_thresholds=(1.5, 0.6)))


def extended(values, rows):
    """Return a column extended to `rows` rows by the step between its last two values."""
    step = values[-1] - values[-2] if len(values) > 1 else 1.0
    return [*values, *(values[-1] + step * k for k in range(1, rows - len(values) + 1))]


def legend(figure, panels):
    """Put one legend for both panels below them; it explains the cross if there is one."""
    from matplotlib.lines import Line2D

    handles, labels = panels["epoch"].get_legend_handles_labels()
    if any(line.get_marker() == "x" for line in panels["epoch"].lines):
        handles.append(Line2D([], [], color=GREY, marker="x", linestyle="", markersize=8, markeredgewidth=2))
        labels.append("diverged")
    width = 0.8 + 0.075 * max(map(len, labels))  # of an entry, in inches: its line, and its text at 9 points
    columns = max(1, min(4, len(labels), int(figure.get_figwidth() / width)))
    further = max(0, math.ceil(len(labels) / columns) - ROOM)
    figure.set_figheight(figure.get_figheight() + ROW * further)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9, frameon=False,
                  handlelength=3.5)


def verbatim(text):
    """Return a text, which may hold the name of a user's file, as matplotlib shows it: no TeX, no half characters."""
    return text.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")


def new_figure(width, height, layout="constrained"):
    """Return an empty white figure of the given size in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout=layout, facecolor="white")
    vars(figure)["_repr_png_"] = partial(as_png, figure)  # without pyplot a notebook would show the figure's name alone
    return figure


def as_png(figure):
    """Return the bytes of a figure's picture."""
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


@spelled
def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, atomically, in the format of the file's suffix.

    Raises
    ------
    ValueError
        If matplotlib does not support the format.

    Examples
    --------
    >>> import os, tempfile
    >>> figure = ml.plots.graph(ml.mlp([2, 3, 1]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ml.plots.save(figure, os.path.join(folder, "net.png"))
    ...     os.listdir(folder)
    ['net.png']
    """
    from matplotlib.figure import Figure

    form = checked_format(path)
    image = io.BytesIO()
    instance_of("save: figure", figure, Figure).savefig(image, format=form)
    write_bytes(path, image.getvalue())


def checked_format(path):
    """Return the format that the suffix of a figure's file name asks for, or raise an error."""
    from matplotlib.backend_bases import FigureCanvasBase

    form = checked_path("path", path).suffix.lstrip(".").lower()
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if form not in known:
        raise ValueError(f"path {str(path)!r}: the name of a figure must end in one of "
                         f"{', '.join('.' + f for f in known)}")
    return form
