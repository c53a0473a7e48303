r"""Figures: the layer graph, training curves of one run or of several methods, residuals of inexact solves, and the
filters and activations of a convolution.

Each function returns a `matplotlib.figure.Figure` made without pyplot: nothing needs a display and nothing is kept in a
global list. A notebook shows the one that a cell ends with. Colours are those of Okabe and Ito, which colour-blind
readers can tell apart; a method has the same colour, line style and marker in all figures (`METHOD_STYLE`). A cross on
the top edge marks a run that diverged.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minilift import diagram
from minilift.graph import checked_network
from minilift.layers.convolution import Conv2d
from minilift.methods import Method, ProxProp, as_method
from minilift.methods.backward import sweep as backward
from minilift.network import Network
from minilift.support.arguments import shown, whole_number
from minilift.support.backend import check_arrays, to_numpy
from minilift.support.spellings import guide_in, spelled
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["METHOD_STYLE", "activations", "comparison", "filters", "graph", "history", "prox_residual", "residuals",
           "save", "styles", "sweep"]

# ---- residuals of inexact solves


@spelled
def residuals(found: dict[str, list[Any]]) -> Figure:
    """Return a figure of relative residuals of the proximal steps: one panel per map, one column per solver.

    Parameters
    ----------
    found : dict of label → list
        The lists are those of `ProxProp.residuals`: for each map None, or an array with one number per output unit.
        Each unit is a dot, the median a bar. Units without signal, whose residual is 0, are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10], dtype=np.float64), ml.datasets.digits()
    >>> found = {solver: ml.ProxProp(solver=solver).residuals(net, data.X_train, data.y_train)
    ...          for solver in ("cg1", "cg3")}
    >>> [round(float(np.median(found[solver][1])), 1) for solver in found], len(ml.plots.residuals(found).axes)
    ([0.8, 0.2], 1)
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
            units = np.zeros(0) if found[label][l] is None else to_numpy(found[label][l])
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


@spelled
def graph(net: Network) -> Figure:
    r"""Return a figure of a network as in the papers: θ_l, z_l and a_l as nodes, one column per map or join.

    Arrows show what is computed from what: :math:`z_l = \varphi_l(\theta_l, a_{l-1})` and :math:`a_l = \sigma_l(z_l)`.
    Where a join reads values further back, an arc runs below the columns. A θ that several maps share has the same
    colour in all its places; all but the first are marked "again".

    A network with joins is drawn in rows of 9 columns. At most two values that a column reads from another row are
    named at the column. If there are more than 4 rows, only the first three and the last 9 columns are drawn.

    Parameters
    ----------
    net : Network

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = ml.plots.graph(ml.mlp([64, 16, 10]))
    >>> [text.get_text() for text in figure.axes[0].texts if "Linear" in text.get_text()]
    ['Linear(64, 16)', 'Linear(16, 10)']
    """
    return diagram.drawn(checked_network("graph", net), {})


@spelled
def sweep(net: Network) -> Figure:
    r"""Return the figure of `graph`, with the order of the half steps.

    Numbers 1, 2, … at the nodes show when `minilift.energy.algorithm_1` steps in them: from the last map to the first
    in :math:`a_l^{½}`, in :math:`z_l^{½}`, then in θ_l. A shared θ waits until all its uses have their half steps.

    Parameters
    ----------
    net : Network

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = ml.plots.sweep(ml.mlp([64, 16, 10]))
    >>> [text.get_text() for text in figure.axes[0].texts if text.get_text().isdigit()]  # θ_1, z_1, a_1, θ_2
    ['4', '3', '2', '1']
    """
    return diagram.drawn(checked_network("sweep", net), diagram.half_steps(net))


# ---- convolutional layers


@spelled
def filters(net: Network, l: int = 1) -> Figure:
    """Return a figure of the filters of one convolution.

    If the input has three channels, each filter is one colour image, scaled to its own range. Otherwise there is one
    for each pair of output channel (column) and input channel (row), blue negative, red positive, on one scale.

    Parameters
    ----------
    net : Network
    l : int, default 1
        Index of the map.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> net = ml.convnet((8, 8, 1), channels=(4, 6), kernel=3)
    >>> len(ml.plots.filters(net, l=2).axes)  # 4 × 6 filters, and their scale
    25
    """
    phi = convolution_of(net, l)
    kernels = to_numpy(net.theta[l])[:-1].reshape(phi.kernel, phi.kernel, phi.c_in, phi.c_out)
    if phi.c_in == 3:
        low, high = kernels.min(axis=(0, 1, 2)), kernels.max(axis=(0, 1, 2))
        pictures = np.moveaxis((kernels - low) / np.maximum(high - low, np.finfo(kernels.dtype).tiny), 3, 0)
        return picture_grid(pictures[None], f"filters of map {l}, each on its own scale", columns="output channel")
    return picture_grid(kernels.transpose(2, 3, 0, 1), f"filters of map {l}", "input channel", "output channel")


@spelled
def activations(net: Network, X: Any, l: int = 1) -> Figure:
    """Return a figure of the activations a_l after one convolution: one row per sample, one column per channel.

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

    Examples
    --------
    >>> net, data = ml.convnet((8, 8, 1), channels=(4,), kernel=3), ml.datasets.digits().images()
    >>> len(ml.plots.activations(net, data.X_test[:3]).axes)  # 3 samples × 4 channels, and their scale
    13
    """
    convolution_of(net, l)
    state = net.forward(X)
    a = state.a[l] if l < net.depth and state.a[l].ndim == 4 else state.z[l]  # a flattened a_l is not a picture
    name = "a" if a is not state.z[l] else "z"
    return picture_grid(to_numpy(a).transpose(0, 3, 1, 2), f"${name}_{{{l}}}$", "sample", "channel")


@spelled
def prox_residual(net: Network, X: Any, y: Any, l: int = 1,
                  method: Method | Callable[..., Any] | None = None) -> Figure:
    r"""Return a figure of what an implicit step misses of its target: one row per sample, one column per channel.

    The target of ProxProp (11) is a change of z_l by −g_l (for τ = 1); the step d changes it by
    :math:`-\tilde a\,d`. The figure shows the misfit :math:`\tilde a\,d - g_l`, which is due to the damping and to
    the few parameters of the filters. If maps share θ_l, the samples of all are drawn, the first map's on top.

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

    Examples
    --------
    >>> net, data = ml.convnet((8, 8, 1), channels=(4,), kernel=3), ml.datasets.digits().images()
    >>> len(ml.plots.prox_residual(net, data.X_test[:3], data.y_test[:3]).axes)  # 3 × 4 pictures, and their scale
    13
    """
    phi, method = convolution_of(net, l), ProxProp() if method is None else as_method(method)
    X, y = net.checked_batch(X, y)
    found: dict[str, Any] = {}

    def record(block):
        step = steps[block.k - 1]
        if block.l == net.owner[l]:  # forward is linear in θ: at the step it returns ã d
            found.update(change=to_numpy(phi.forward(step, block.a)), target=to_numpy(block.g))
        return step

    steps = copy.deepcopy(method).directions(net, net.propagate(X), y)
    list(backward.sweep(net, net.propagate(X), y, record, new_weights=method.new_weights))
    target, left = found["target"], found["change"] - found["target"]
    share = np.linalg.norm(left) / max(np.linalg.norm(target), np.finfo(target.dtype).tiny)
    return picture_grid(left.transpose(0, 3, 1, 2), rf"map {l}: $\tilde a\,d - g$, {share:.0%} of the target $g$",
                        "sample", "output channel")


def convolution_of(net, l):
    """Return map l of a network, or raise an error if it is not a convolution."""
    checked_network("plots", net)
    whole_number("l, the index of a map,", l, most=net.depth)
    if not isinstance(net.phi[l], Conv2d):
        raise ValueError(f"map {l} is no convolution but {net.phi[l]!r}")
    return net.phi[l]


def picture_grid(pictures, title, rows="", columns=""):
    """Return a figure of pictures (rows, columns, H, W) on one scale around zero, or with a last axis of 3 colours."""
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


guide_in(sys.modules[__name__])  # here, since the package loads this module later than the others
