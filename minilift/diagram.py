"""The picture of a network's graph, which `minilift.plots.graph` and `minilift.plots.sweep` show."""

from __future__ import annotations

import textwrap

from minilift.graph import shape_text
from minilift.layers.activations import Identity
from minilift.training.curves import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, new_figure

COLUMNS, ROWS = 9, 4  # columns in a row, and rows at most, of the picture of a network with joins
LANE = 0.16  # between two arcs
SHARED = (SKY, ORANGE, "#8C5A00", GREY)  # colours of shared θ
HEIGHT = {"theta": 2, "z": 1, "a": 0}  # of the nodes in a column


def half_steps(net):
    """Return {(kind of node, l): number}, in the order of Algorithm 1."""
    order = []
    for l in range(net.depth, 0, -1):
        order += [("a", l), ("z", l)] if l < net.depth else []
        order += [("theta", l)] if l in net.maps else []
    return {node: number for number, node in enumerate(order, start=1)}


def has_joins(net):
    """Whether the network is not a chain."""
    return any(phi.kind == "join" for phi in net.phi[1:])


def rows_of(net):
    """Return the numbers of the maps and joins in each row of the picture: a chain has one row."""
    columns = list(range(1, net.depth + 1))
    if not has_joins(net):
        return [columns]
    rows = [columns[k:k + COLUMNS] for k in range(0, len(columns), COLUMNS)]
    return rows if len(rows) <= ROWS else [*rows[:ROWS - 1], columns[-COLUMNS:]]


def lanes_of(net, row):
    """Return {j: lane} for the values j in a row that are read beyond the next column of it; lane 0 is the highest."""
    here = (0, *row) if row[0] == 1 else row
    ends = {j: l for l in row for j in net.inputs[l] if j in here and j < l - 1}
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
    """Return the text below column l: its transfer, or the loss."""
    if l == net.depth:
        return textwrap.fill(repr(net.loss_function), 22)
    return "" if l == 0 or is_plain_join(net, l) else repr(net.sigma[l]).replace(" → ", "\n→ ")


def is_plain_join(net, l):
    """Whether l is a join without a transfer, so that a_l is z_l."""
    return net.phi[l].kind == "join" and l < net.depth and isinstance(net.sigma[l], Identity)


def names_text(net, l):
    """Return the text, below its shape, that names value l."""
    names = ["X"] * (l == 0) + [name for name, value in net.names.items() if value == l]
    return "\n" + textwrap.fill("= " + " = ".join(names), 16, max_lines=2, placeholder=" …") if names else ""


def colors_of(net):
    """Return {l: colour} of θ; each shared θ has its own colour."""
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
    arrow(axes, z, a, text, right=has_joins(net))  # with joins, arcs may arrive on the left
    if l < net.depth:
        node(axes, a, f"$a_{{{l}}}$", shape_text(net.shapes[2 * l]) + names_text(net, l), GREEN,
             number=numbers.get(("a", l)))
    else:
        axes.annotate("$L_y$", a, ha="center", va="center", fontsize=12,
                      bbox={"boxstyle": "square,pad=0.35", "facecolor": "white", "edgecolor": BLACK})


def draw_reads(axes, net, l, at, lanes):
    """Draw arrows from the values that map or join l reads: arcs for distant ones, names for those in other rows."""
    z, elsewhere = (at[l][0], at[l][1] + HEIGHT["z"]), []
    for j in dict.fromkeys(net.inputs[l]):
        if j not in at:
            elsewhere.append(f"$a_{{{j}}}$")
        elif j == l - 1:
            arrow(axes, at[j], z, rf"$\varphi_{{{l}}}$" if net.phi[l].kind == "map" else "")
        else:
            arc(axes, at[j], z, lanes[j])
    if elsewhere:
        start = (z[0] - 0.2, z[1] - 0.62)
        beside(axes, start, ", ".join(elsewhere[:2] + ["…"] * (len(elsewhere) > 2)), ha="center", fontsize=11)
        arrow(axes, start, z)


def node(axes, at, name, shape, color, box="circle,pad=0.3", number=None):
    """Draw a node with its shape beside it and, if it has a number, that above it."""
    axes.annotate(name, at, ha="center", va="center", fontsize=12, color="white", zorder=3,
                  bbox={"boxstyle": box, "facecolor": color, "edgecolor": "none"})
    beside(axes, (at[0] + 0.17, at[1]), shape)
    if number is not None:
        beside(axes, (at[0] - 0.13, at[1] + 0.2), str(number), ha="right", fontsize=10, color=BLACK, fontweight="bold")


def beside(axes, at, text, **options):
    """Write a small text."""
    axes.text(*at, text, **{"ha": "left", "va": "center", "fontsize": 8, "color": GREY, **options})


def arrow(axes, start, end, text="", right=False):
    """Draw a straight arrow from node to node, with a text to the left or right of its middle."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": BLACK, "shrinkA": 16, "shrinkB": 16})
    axes.text((start[0] + end[0]) / 2 + (0.05 if right else -0.05), (start[1] + end[1]) / 2 + 0.05, text, fontsize=10,
              ha="left" if right else "right")


def arc(axes, start, end, lane):
    """Draw an arrow from a node down to a lane below all columns, along it, and up between two columns to a node."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    (x, y), (x_end, y_end) = start, end
    points = [(x + 0.13, y - 0.13), (x + 0.42, y - 0.2), (x + 0.28, lane), (x + 0.55, lane), (x_end - 0.6, lane),
              (x_end - 0.33, lane), (x_end - 0.43, y_end - 0.7), (x_end - 0.09, y_end - 0.18)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3]
    axes.add_patch(FancyArrowPatch(path=Path(points, codes), arrowstyle="-|>", mutation_scale=10, color=BLACK))
