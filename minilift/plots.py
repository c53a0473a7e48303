r"""Figures: the layer graph, training curves of one run or of several methods, residuals of inexact solves, and what
a convolution holds.

Each function returns a `matplotlib.figure.Figure` made without pyplot: nothing needs a display and nothing is kept in
a global list. Colours are those of Okabe and Ito, which colour-blind readers tell apart; every method has one colour,
line style and marker in all figures (`METHOD_STYLE`). A run that diverged is marked by a cross on the top edge.
"""

from __future__ import annotations

import textwrap

import numpy as np

from minilift.graph import checked_network, shape_text
from minilift.layers.activations import Identity
from minilift.layers.convolution import Conv2d
from minilift.methods import ProxProp, as_method
from minilift.methods.backward import sweep as backward
from minilift.support.arguments import shown, whole_number
from minilift.support.backend import check_arrays, to_numpy
from minilift.training.curves import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    METHOD_STYLE,
    ORANGE,
    OTHER_STYLES,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    checked_format,
    comparison,
    draw,
    history,
    legend,
    look_of,
    new_figure,
    plain_numbers,
    save,
    styles,
)

# ---- training curves


# ---- residuals of inexact solves


def residuals(found):
    """Return a figure of relative residuals of the proximal steps: one panel a map, one column a solver.

    Parameters
    ----------
    found : dict of label → list
        The lists are those of `ProxProp.residuals`: None, or an array with one number an output unit, for each map.
        Each unit is a dot, the median a bar. Units without signal, whose residual is 0, are left out.

    Returns
    -------
    matplotlib.figure.Figure
    """
    check_residuals(found)
    labels = list(found)
    maps = [l for l in range(len(found[labels[0]])) if any(found[label][l] is not None for label in labels)]
    if not maps:
        raise ValueError("residuals: no map takes an implicit step, there is nothing to draw")
    figure = new_figure(1 + max(2.2, 0.6 * len(labels)) * len(maps), 3.4)
    chosen = styles({label: "proxprop" if label == "exact" else label for label in labels})
    for axes, l in zip(figure.subplots(1, len(maps), sharey=True, squeeze=False)[0], maps):
        for column, label in enumerate(labels):
            units = np.asarray(found[label][l] if found[label][l] is not None else [])
            units = units[units > 0]
            if not len(units):
                continue
            spread = np.linspace(-0.25, 0.25, len(units))
            axes.plot(column + spread, units, ".", color=chosen[label]["color"], markersize=3, alpha=0.5)
            axes.plot([column - 0.35, column + 0.35], [np.median(units)] * 2, color=chosen[label]["color"], linewidth=2)
        axes.set_yscale("log")
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_title(f"map {l}", fontsize=10)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(r"relative residual of $M v = \nabla J$")
    return figure


def check_residuals(found):
    """Raise an error unless `found` is what `residuals` draws."""
    if not isinstance(found, dict) or not found or not all(isinstance(rows, list) for rows in found.values()):
        raise TypeError(f"residuals: found must be a dict of label → list of residuals, got {shown(found)}")
    lengths = [len(rows) for rows in found.values()]
    if len(set(lengths)) > 1:
        raise ValueError(f"residuals: found must hold lists of one length, got {lengths}")
    for label, rows in found.items():
        check_arrays("residuals", **{f"found[{label!r}][{l}]": units for l, units in enumerate(rows)
                                     if units is not None})


# ---- the layer graph


def graph(net):
    r"""Return a figure of a network as the papers see it: θ_l, z_l and a_l as nodes, one column a map or join.

    Arrows say what is computed from what: :math:`z_l = \varphi_l(\theta_l, a_{l-1})` and :math:`a_l = \sigma_l(z_l)`.
    Where a join reads values further back, an arc runs below the columns. A θ that several maps share has one colour in
    all its places; all but the first are marked "again".

    A network with joins is drawn in rows of 9 columns. What a column reads from another row is named there, two values
    at most. Of more than 4 rows the first three are drawn, and the last 9 columns.

    Parameters
    ----------
    net : Network

    Returns
    -------
    matplotlib.figure.Figure
    """
    return drawn(checked_network("graph", net), {})


def sweep(net):
    r"""Return the figure of `graph`, with the order of the half steps.

    Numbers 1, 2, … at the nodes say when `minilift.energy.algorithm_1` steps in them: from the last map to the first in
    :math:`a_l^{½}`, in :math:`z_l^{½}`, then in θ_l. A shared θ waits until all that use it have their half steps.

    Parameters
    ----------
    net : Network

    Returns
    -------
    matplotlib.figure.Figure
    """
    return drawn(checked_network("sweep", net), half_steps(net))


def half_steps(net):
    """Return {(kind of node, l): number}, in the order of Algorithm 1."""
    order = []
    for l in range(net.depth, 0, -1):
        order += [("a", l), ("z", l)] if l < net.depth else []
        order += [("theta", l)] if l in net.maps else []
    return {node: number for number, node in enumerate(order, start=1)}


COLUMNS, ROWS = 9, 4  # of the picture of a network with joins: in a row, and at most
LANE = 0.16  # between two arcs
SHARED = (SKY, ORANGE, "#8C5A00", GREY)  # colours of shared θ
HEIGHT = {"theta": 2, "z": 1, "a": 0}  # of the nodes of a column


def has_joins(net):
    """Whether the network is no chain."""
    return any(phi.kind == "join" for phi in net.phi[1:])


def rows_of(net):
    """Return the numbers of the maps and joins in each row of the picture: a chain has one row."""
    columns = list(range(1, net.depth + 1))
    if not has_joins(net):
        return [columns]
    rows = [columns[k:k + COLUMNS] for k in range(0, len(columns), COLUMNS)]
    return rows if len(rows) <= ROWS else [*rows[:ROWS - 1], columns[-COLUMNS:]]


def lanes_of(net, row):
    """Return {j: lane} of the values j in a row that are read in it beyond the next column; lane 0 is the highest."""
    ends = {j: l for l in row for j in net.inputs[l] if j in (row[0] - 1, *row) and j < l - 1}
    ends = {j: l for j, l in ends.items() if j != row[0] - 1 or j == 0}
    lanes, taken = {}, []
    for j in sorted(ends):
        lane = next((lane for lane, end in enumerate(taken) if end <= j), len(taken))
        taken[lane:lane + 1] = [ends[j]]
        lanes[j] = lane
    return lanes


def drawn(net, numbers):
    """Return the figure of a network's graph, with a number at each node that has one."""
    D, rows = net.depth, rows_of(net)
    lanes = [lanes_of(net, row) for row in rows]
    below = [below_text(net, l) for l in range(D + 1)]
    deepest = -0.45 - 0.12 * max(below[l].count("\n") + 1 for row in rows for l in row)
    bottom = deepest - LANE * max(max(lane.values(), default=-1) + 1 for lane in lanes)
    pitch, width = 3.05 - bottom, max(map(len, rows))
    figure = new_figure(1.75 * (width + 1.05), 1.2 * (2.75 - bottom + pitch * (len(rows) - 1)), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.3, width + 0.75)
    axes.set_ylim(bottom - pitch * (len(rows) - 1), 2.75)
    axes.axis("off")
    colors = colors_of(net)
    for k, (row, lane) in enumerate(zip(rows, lanes)):
        y = -pitch * k
        at = {l: (x, y) for x, l in enumerate(row, start=1)} | ({0: (0, 0)} if k == 0 else {})
        if k == 0:
            node(axes, (0, 0), "$a_0$", shape_text(net.shapes[0]) + names_text(net, 0), GREEN)
        elif row[0] != rows[k - 1][-1] + 1:
            beside(axes, (1, y + 2.85), f"⋮  {rows[k - 1][-1] + 1} to {row[0] - 1} are left out", color=BLACK)
        for l in row:
            draw_column(axes, net, l, at[l], colors, numbers)
            beside(axes, (at[l][0], y - 0.28), below[l], ha="center", va="top", color=BLACK)
            draw_reads(axes, net, l, at, {j: y + deepest - LANE * (lane[j] + 0.3) for j in lane})
    return figure


def below_text(net, l):
    """Return what stands below column l: its transfer, or the loss."""
    if l == net.depth:
        return textwrap.fill(repr(net.loss_function), 22)
    return "" if l == 0 or is_plain_join(net, l) else repr(net.sigma[l]).replace(" → ", "\n→ ")


def is_plain_join(net, l):
    """Whether l is a join without a transfer, so that a_l is z_l."""
    return net.phi[l].kind == "join" and l < net.depth and isinstance(net.sigma[l], Identity)


def names_text(net, l):
    """Return what value l is called, below its shape."""
    names = ["X"] * (l == 0) + [name for name, value in net.names.items() if value == l]
    return "\n= " + " = ".join(names) if names else ""


def colors_of(net):
    """Return {l: colour} of θ: each that is shared has its own."""
    shared = [l for l in net.maps if net.owner.count(l) > 1]
    return {l: SHARED[shared.index(l) % len(SHARED)] if l in shared else BLUE for l in net.maps}


def draw_column(axes, net, l, at, colors, numbers):
    """Draw the nodes of map or join l and of its transfer, and the arrows between them."""
    x, y = at
    theta, z, a = ((x, y + HEIGHT[kind]) for kind in ("theta", "z", "a"))
    if net.phi[l].kind == "map":
        owner = net.owner[l]
        node(axes, theta, rf"$\theta_{{{owner}}}$", str(net.phi[l].theta_shape) + "\nagain" * (owner != l),
             colors[owner], "round,pad=0.35", numbers.get(("theta", l)))
        arrow(axes, theta, z)
        node(axes, z, f"$z_{{{l}}}$", shape_text(net.shapes[2 * l - 1]), VERMILLION, number=numbers.get(("z", l)))
    else:
        node(axes, z, f"$z_{{{l}}}$", shape_text(net.shapes[2 * l - 1]), PURPLE, "square,pad=0.35",
             numbers.get(("z", l)))
    beside(axes, (x, y + (2.42 if net.phi[l].kind == "map" else 1.42)), textwrap.fill(repr(net.phi[l]), 22),
           ha="center", color=BLACK)
    text = "" if l == net.depth else "=" if is_plain_join(net, l) else rf"$\sigma_{{{l}}}$"
    arrow(axes, z, a, text, right=has_joins(net))  # there, arcs may come in on the left
    if l < net.depth:
        node(axes, a, f"$a_{{{l}}}$", shape_text(net.shapes[2 * l]) + names_text(net, l), GREEN,
             number=numbers.get(("a", l)))
    else:
        axes.annotate("$L_y$", a, ha="center", va="center", fontsize=12,
                      bbox={"boxstyle": "square,pad=0.35", "facecolor": "white", "edgecolor": BLACK})


def draw_reads(axes, net, l, at, lanes):
    """Draw arrows from the values that map or join l reads: arcs from far ones, names of those in other rows."""
    z, elsewhere = (at[l][0], at[l][1] + HEIGHT["z"]), []
    for j in dict.fromkeys(net.inputs[l]):
        if j not in at:
            elsewhere.append(f"$a_{{{j}}}$")
        elif j == l - 1:
            arrow(axes, at[j], z, rf"$\varphi_{{{l}}}$" if net.phi[l].kind == "map" else "")
        else:
            arc(axes, at[j], z, lanes[j])
    if elsewhere:
        start = (z[0] - 0.24, z[1] - 0.62)
        beside(axes, start, ", ".join(elsewhere[:2] + ["…"] * (len(elsewhere) > 2)), ha="center", fontsize=11)
        arrow(axes, start, z)


def node(axes, at, name, shape, color, box="circle,pad=0.3", number=None):
    """Draw a node, its shape beside it, and above it its number if it has one."""
    axes.annotate(name, at, ha="center", va="center", fontsize=12, color="white", zorder=3,
                  bbox={"boxstyle": box, "facecolor": color, "edgecolor": "none"})
    beside(axes, (at[0] + 0.17, at[1]), shape)
    if number is not None:
        beside(axes, (at[0] - 0.13, at[1] + 0.2), str(number), ha="right", fontsize=10, color=BLACK, fontweight="bold")


def beside(axes, at, text, **options):
    """Write a small text."""
    axes.text(*at, text, **{"ha": "left", "va": "center", "fontsize": 8, "color": GREY, **options})


def arrow(axes, start, end, text="", right=False):
    """Draw a straight arrow from node to node, with a text on the left or right of its middle."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": BLACK, "shrinkA": 16, "shrinkB": 16})
    axes.text((start[0] + end[0]) / 2 + (0.05 if right else -0.05), (start[1] + end[1]) / 2 + 0.05, text, fontsize=10,
              ha="left" if right else "right")


def arc(axes, start, end, lane):
    """Draw an arrow from a node down to a lane below all columns, along it, and up between two columns to a node."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    (x, y), (x_end, y_end) = start, end
    points = [(x + 0.13, y - 0.13), (x + 0.42, y - 0.2), (x + 0.28, lane), (x + 0.55, lane), (x_end - 0.6, lane),
              (x_end - 0.3, lane), (x_end - 0.4, y_end - 0.7), (x_end - 0.09, y_end - 0.18)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3]
    axes.add_patch(FancyArrowPatch(path=Path(points, codes), arrowstyle="-|>", mutation_scale=10, color=BLACK))


# ---- convolutional layers


def filters(net, l=1):
    """Return a figure of the filters of one convolution.

    One image a filter where the input has three channels (a colour picture, each scaled to its own range), else one for
    each pair of output channel (column) and input channel (row), blue negative, red positive, on one scale.

    Parameters
    ----------
    net : Network
    l : int, default 1
        Index of the map.

    Returns
    -------
    matplotlib.figure.Figure
    """
    phi = convolution_of(net, l)
    kernels = to_numpy(net.theta[l])[:-1].reshape(phi.kernel, phi.kernel, phi.c_in, phi.c_out)
    if phi.c_in == 3:
        low, high = kernels.min(axis=(0, 1, 2)), kernels.max(axis=(0, 1, 2))
        pictures = np.moveaxis((kernels - low) / np.maximum(high - low, np.finfo(kernels.dtype).tiny), 3, 0)
        return picture_grid(pictures[None], f"filters of map {l}, each on its own scale", columns="output channel")
    return picture_grid(kernels.transpose(2, 3, 0, 1), f"filters of map {l}", "input channel", "output channel")


def activations(net, X, l=1):
    """Return a figure of the activations a_l after one convolution: one row a sample, one column a channel.

    Parameters
    ----------
    net : Network
    X : array (N, …)
        A few samples.
    l : int, default 1
        Index of the map.

    Returns
    -------
    matplotlib.figure.Figure
    """
    convolution_of(net, l)
    state = net.forward(X)
    a = state.a[l] if l < net.depth and state.a[l].ndim == 4 else state.z[l]  # a flattened a_l is no picture
    name = "a" if a is not state.z[l] else "z"
    return picture_grid(to_numpy(a).transpose(0, 3, 1, 2), f"${name}_{{{l}}}$", "sample", "channel")


def prox_residual(net, X, y, l=1, method=None):
    r"""Return a figure of what an implicit step leaves of its target: one row a sample, one column an output channel.

    The target of ProxProp (11) is a change of z_l by −g_l (for τ = 1); the step d changes it by
    :math:`-\tilde a\,d`. Drawn is the misfit :math:`\tilde a\,d - g_l`, which the damping and the few
    parameters of the filters leave.

    Parameters
    ----------
    net : Network
    X, y : a batch of a few samples
    l : int, default 1
        Index of the map.
    method : Method, optional
        Default ``ProxProp()``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    phi, method = convolution_of(net, l), ProxProp() if method is None else as_method(method)
    X, y = net.checked_batch(X, y)
    found = {}

    def record(block):
        step = method.propose(block)
        if block.l == l:  # forward is linear in θ: at the step it gives ã d
            found.update(change=to_numpy(phi.forward(step, block.a)), target=to_numpy(block.g))
        return step

    list(backward.sweep(net, net.propagate(X), y, record, new_weights=method.new_weights))
    target, left = found["target"], found["change"] - found["target"]
    share = np.linalg.norm(left) / max(np.linalg.norm(target), np.finfo(target.dtype).tiny)
    return picture_grid(left.transpose(0, 3, 1, 2), rf"map {l}: $\tilde a\,d - g$, {share:.0%} of the target $g$",
                        "sample", "output channel")


def convolution_of(net, l):
    """Return map l of a network, or raise an error that says that it is no convolution."""
    checked_network("plots", net)
    whole_number("l, the index of a map,", l, most=net.depth)
    if not isinstance(net.phi[l], Conv2d):
        raise ValueError(f"map {l} is no convolution but {net.phi[l]!r}")
    return net.phi[l]


def picture_grid(pictures, title, rows="", columns=""):
    """Return a figure of pictures (rows, columns, H, W), on one scale around zero, or with a last axis of 3 colours."""
    n_rows, n_columns = pictures.shape[:2]
    figure = new_figure(min(12, 1 + 0.7 * n_columns), min(12, 0.8 + 0.7 * n_rows))
    size = float(abs(pictures).max()) or 1.0
    scale = {} if pictures.ndim == 5 else {"cmap": "RdBu_r", "vmin": -size, "vmax": size}
    for axes, picture in zip(figure.subplots(n_rows, n_columns, squeeze=False).ravel(),
                             pictures.reshape(-1, *pictures.shape[2:])):
        shown = axes.imshow(picture, **scale, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
    if scale:
        figure.colorbar(shown, ax=figure.axes, shrink=0.7)
    figure.suptitle(title, fontsize=10)
    figure.supxlabel(columns, fontsize=8)
    figure.supylabel(rows, fontsize=8)
    return figure


# ---- what all figures share


