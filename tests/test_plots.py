"""Figures: what is drawn is what was given; methods keep their looks; nothing is cut off; no display is needed."""

import copy
import itertools
import math
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.path import Path
from matplotlib.text import Annotation

import minilift as ml
from minilift import diagram, plots
from minilift.energy import PenaltyEnergy, algorithm_1
from minilift.graph import shape_text
from minilift.lab.contenders import METHODS
from minilift.training.history import Divergence, History


def history(losses, seconds=None, diverged=False, validation=None):
    """Return a history with given training losses."""
    made = History("made")
    for epoch, loss in enumerate(losses):
        row = {"epoch": epoch, "seconds": 0.5 * epoch if seconds is None else seconds[epoch], "train_loss": loss}
        made.append(row | ({} if validation is None else {"val_loss": validation[epoch]}))
    if diverged:
        made.diverged = Divergence(len(losses), 7, "theta_1", "made up")
    return made


def line_of(axes, label):
    """Return the data of the line with a label."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line.get_xdata(), line.get_ydata()


def crosses(axes):
    """Return the places of the crosses that mark divergence, y in shares of the axes' height."""
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines
            if line.get_marker() == "x" and line.get_transform() == axes.get_xaxis_transform()]


def rendered(figure):
    """Draw a figure; return its renderer."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


# ---- styles


def test_every_method_has_one_look_and_no_two_share_it():
    assert set(METHODS) <= set(plots.METHOD_STYLE)
    looks = [*plots.METHOD_STYLE.values(), *plots.OTHER_STYLES]
    for one, other in itertools.combinations(looks, 2):
        assert (one["color"], one["linestyle"]) != (other["color"], other["linestyle"])
        assert one["marker"] != other["marker"]


def test_labels_name_methods_by_what_stands_before_the_colon():
    labels = ["backprop", "proxprop:tau_theta=0.05", "mine", "proxprop:tau_theta=1", "cg3"]
    chosen = plots.styles(labels)
    assert chosen["backprop"] == plots.METHOD_STYLE["backprop"]
    assert chosen["proxprop:tau_theta=0.05"] == plots.METHOD_STYLE["proxprop"]
    assert chosen["cg3"] == plots.METHOD_STYLE["cg3"]
    assert [chosen["mine"], chosen["proxprop:tau_theta=1"]] == list(plots.OTHER_STYLES[:2])
    assert list(plots.styles("abcd").values()) == list(plots.OTHER_STYLES)
    assert len(set(map(repr, plots.styles([f"proxprop:tau_theta={k}" for k in range(12)]).values()))) == 12


@pytest.mark.parametrize(("method", "look"), [
    (ml.BackProp(), "backprop"), (ml.ProxProp(), "proxprop"), (ml.ProxProp(solver="cg5"), "cg5"),
    (ml.LocoProp("S"), "locoprop-s"), (ml.LocoProp("M"), "locoprop-m"), (ml.SemiImplicit(), "semi-implicit"),
    (ml.FOOF(0.1), "foof"), (ml.KFAC(0.1), "kfac"), (ml.GaussNewton(0.1), "gauss-newton"),
    (lambda block: block.g_theta, "")])
def test_a_history_knows_the_look_of_its_method(method, look):
    """Whatever the label says; it survives the way through JSON."""
    data = ml.datasets.digits()
    made = ml.fit(ml.mlp([64, 10]), (data.X_train[:20], data.y_train[:20]), method=method, optimizer=ml.SGD(0.01),
                  epochs=0, progress=False)
    assert made.look == History.from_dict(made.as_dict()).look == look
    expected = plots.METHOD_STYLE.get(look, plots.OTHER_STYLES[0])
    for figure in (plots.history({"mine": made}), plots.comparison({"mine": made})):
        assert figure.axes[0].lines[0].get_color() == expected["color"]


def test_looks_may_be_given():
    figure = plots.comparison({"a": history([2.0, 1.0]), "b": history([2.0, 1.0])}, looks={"a": "cg3", "b": "nothing"})
    assert [line.get_color() for line in figure.axes[0].lines] == [
        plots.METHOD_STYLE["cg3"]["color"], plots.OTHER_STYLES[0]["color"]]


def test_looks_of_other_labels_are_left_alone():
    figure = plots.comparison({"a": history([2.0, 1.0])}, looks={"b": "backprop", "a": "cg3"})
    assert [line.get_color() for line in figure.axes[0].lines] == [plots.METHOD_STYLE["cg3"]["color"]]


@pytest.mark.parametrize("label", ["_mine", "", 3])
def test_every_label_stands_in_the_legend(label):
    for runs in ({label: history([2.0, 1.0])}, {label: history([2.0, 1.0]), "b": history([2.0, 1.0])}):
        texts = [text.get_text().strip() for text in plots.comparison(runs).legends[0].get_texts()]
        assert texts == [str(one) for one in runs]
        assert len(plots.history(runs).legends[0].get_texts()) == len(runs)


def test_a_long_label_is_not_cut_off():
    path = "a long name of a folder/" * 8 + "mine.py:step"
    figure = plots.comparison({path: history([2.0, 1.0]), "b": history([2.0, 1.0])})
    rendered(figure)
    legend, (text, _) = figure.legends[0].get_window_extent(), figure.legends[0].get_texts()
    assert 0 <= legend.x0 < legend.x1 <= figure.bbox.width
    assert text.get_text().replace("\n", " ") == path


# ---- training curves


def test_comparison_draws_the_losses_against_epochs_and_seconds():
    losses, seconds = [4.0, 2.0, 1.0], [0.0, 3.0, 5.0]
    left, right = plots.comparison({"backprop": history(losses, seconds)}).axes
    assert (left.get_yscale(), right.get_yscale()) == ("log", "log")
    for drawn, expected in zip(line_of(left, "backprop"), ([0, 1, 2], losses)):
        assert list(drawn) == expected
    for drawn, expected in zip(line_of(right, "backprop"), (seconds[1:], losses[1:])):  # log axis: not at 0 s
        assert list(drawn) == expected
    assert not crosses(left)


def test_a_history_without_seconds_has_no_line_over_seconds():
    bare = History("bare")
    for epoch, loss in enumerate([3.0, 1.0]):
        bare.append({"epoch": epoch, "train_loss": loss})
    left, right = plots.comparison({"backprop": history([4.0, 2.0]), "bare": bare}).axes
    assert [[line.get_label() for line in axes.lines] for axes in (left, right)] == [["backprop", "bare"], ["backprop"]]
    (alone,) = plots.comparison({"bare": bare}, level=2.0).axes
    assert list(line_of(alone, "bare")[1]) == [3.0, 1.0]
    rendered(alone.figure)


def test_comparison_draws_the_median_and_the_range_of_repetitions():
    runs = [history([4.0, 1.0]), history([4.0, 2.0]), history([4.0, 8.0])]
    left, _ = plots.comparison({"cg3": runs}).axes
    assert list(line_of(left, "cg3")[1]) == [4.0, 2.0]
    (band,) = left.collections
    at_end = [y for x, y in band.get_paths()[0].vertices if x == 1]
    assert (min(at_end), max(at_end)) == (1.0, 8.0)


def test_every_run_that_diverged_is_a_cross_on_the_top_edge():
    runs = {"backprop": [history([4.0, 2.0, 1.0]), history([4.0, 9.0], diverged=True)],
            "proxprop": history([4.0], diverged=True)}
    left, right = plots.comparison(runs).axes
    assert crosses(left) == [(1, 1), (0, 1)]
    (beyond, _), (first, _) = crosses(right)
    assert beyond == 0.5
    assert first == right.get_xlim()[0]  # 0 s has no place on a logarithmic axis: at its left end
    rendered(left.figure)  # a cross far outside made the layout collapse, which is a warning, which is an error
    assert list(line_of(left, "backprop")[1]) == [4.0, 5.5]  # with one of two runs gone there is no median
    assert "diverged" in [text.get_text() for text in left.figure.legends[0].get_texts()]


def test_where_all_runs_diverge_at_once_there_are_crosses_alone():
    both = [history([4.0], diverged=True), history([4.5], diverged=True)]
    left, right = plots.comparison({"backprop": both, "proxprop": both}).axes
    rendered(left.figure)  # on the logarithmic axis there is nothing to shade, of which matplotlib warned
    assert [len(crosses(axes)) for axes in (left, right)] == [4, 4]


def test_a_long_legend_takes_nothing_from_the_panels():
    runs = {f"admm:variables=forward, 1/alpha = {number}": history([4.0, 2.0, 1.0]) for number in range(15)}
    heights = []
    for shown in (dict(list(runs.items())[:6]), runs):
        figure = plots.comparison(shown)
        rendered(figure)
        heights.append(figure.axes[0].get_window_extent().height)
    assert heights[1] > 0.95 * heights[0]


def test_the_level_is_named_where_no_curve_is_drawn():
    figure = plots.comparison({"a": history([4.0, 2.0, 1.0])}, level=2.5)
    rendered(figure)
    (name,) = [text for axes in figure.axes for text in axes.texts]
    assert name.get_text() == "2.5"
    place = name.get_window_extent()
    assert not any(place.overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert place.x1 <= figure.bbox.x1
    for beyond in (1e300, 1e-300):
        rendered(plots.comparison({"a": history([4.0, 2.0, 1.0])}, level=beyond))  # the layout does not collapse


def test_a_run_that_stopped_early_goes_on_with_its_last_loss():
    runs = [history([4.0, 2.0, 1.0]), history([4.0, 3.0, 2.5, 2.2, 2.0]), history([4.0, 3.0, 2.6, 2.4, 2.1])]
    left, _ = plots.comparison({"proxprop": runs}).axes
    assert list(line_of(left, "proxprop")[1]) == [4.0, 3.0, 2.5, 2.2, 2.0]


def test_a_level_is_a_line():
    left, right = plots.comparison({"backprop": history([4.0, 2.0])}, level=3.0).axes
    for axes in (left, right):
        assert [3.0, 3.0] in [list(line.get_ydata()) for line in axes.lines]


def test_a_list_of_histories_stands_under_their_labels():
    data, made = ml.datasets.digits(), []
    for method in ("backprop", "proxprop"):
        made.append(ml.fit(ml.mlp([64, 10]), data, method, "sgd:lr=1", epochs=1, progress=False))
    texts = [text.get_text() for text in plots.history(made).legends[0].get_texts()]
    assert [text.split("(")[0] for text in texts] == ["BackProp", "ProxProp"]
    with pytest.raises(ValueError, match="must have labels that differ"):
        plots.history([made[0], made[0]])
    with pytest.raises(TypeError, match=r"histories\[1\] must be a History"):
        plots.history([made[0], 3])


def test_history_has_a_line_for_training_and_a_thin_one_for_validation():
    made = history([4.0, 2.0], validation=[5.0, 3.0])
    for figure in (plots.history(made), plots.history({"made": made})):
        left, right = figure.axes
        assert list(line_of(left, "made, training")[1]) == [4.0, 2.0]
        assert list(line_of(left, "made, validation")[1]) == [5.0, 3.0]
        assert list(line_of(right, "made, validation")[0]) == [0.0, 0.5]


def test_a_real_history_plots_itself(tmp_path):
    net, data = ml.mlp([64, 8, 10]), ml.datasets.digits()
    made = ml.fit(net, data, method=ml.BackProp(), optimizer=ml.SGD(0.1), epochs=2, validation=0.2, progress=False)
    made.plot(tmp_path / "x.svg")
    assert "<svg" in (tmp_path / "x.svg").read_text()


# ---- residuals


def test_residuals_show_each_unit_and_the_median():
    net, data = ml.mlp([64, 12, 9, 10]), ml.datasets.digits()
    found = {name: ml.ProxProp(solver=name).residuals(net, data.X_train[:50], data.y_train[:50])
             for name in ("cg1", "cg3", "exact")}
    figure = plots.residuals(found)
    assert [axes.get_title() for axes in figure.axes] == ["map 1", "map 2"]  # the last map's step is explicit
    for axes, l in zip(figure.axes, (1, 2)):
        dots = [line for line in axes.lines if line.get_marker() == "."]
        bars = [line for line in axes.lines if line.get_marker() != "."]
        for dot, bar, name in zip(dots, bars, found, strict=True):
            units = np.asarray(found[name][l])
            assert sorted(dot.get_ydata()) == sorted(units[units > 0])
            assert bar.get_ydata()[0] == np.median(units[units > 0])
        assert dots[0].get_ydata().mean() > dots[1].get_ydata().mean() > dots[2].get_ydata().mean()


def test_residuals_of_explicit_steps_only():
    with pytest.raises(ValueError, match="no map takes an implicit step"):
        plots.residuals({"exact": [None, None]})


# ---- the graph


def networks():
    """Return networks of 1 to 8 maps, and one with convolutions and compositions."""
    yield from (ml.mlp([784, *[1000] * (depth - 1), 10], activation="tanh") for depth in range(1, 9))
    yield ml.Network([ml.Conv2d(3, 16, 5, padding=2), ml.ReLU(), ml.MaxPool2d(2), ml.Conv2d(16, 20, 5, padding=2),
                      ml.BatchNorm(20), ml.LeakyReLU(0.1), ml.MaxPool2d(2), ml.Flatten(), ml.Linear(20 * 64, 10)],
                     input_shape=(32, 32, 3))


@pytest.mark.parametrize("net", list(networks()), ids=lambda net: f"{net.depth} maps")
def test_graph_has_every_node_arrow_and_shape(net):
    (axes,) = plots.graph(net).axes
    texts = [text.get_text() for text in axes.texts]
    D = net.depth
    for l in range(1, D + 1):
        for node in (rf"$\theta_{{{l}}}$", f"$z_{{{l}}}$", rf"$\varphi_{{{l}}}$"):
            assert texts.count(node) == 1
        assert str(net.phi[l].theta_shape) in texts
        assert shape_text(net.shapes[2 * l - 1]) in texts
    assert [text for text in texts if text.startswith("$a_")] == [f"$a_{{{l}}}$" if l else "$a_0$" for l in range(D)]
    arrows = [text for text in axes.texts if isinstance(text, Annotation) and text.arrow_patch is not None]
    assert len(arrows) == 3 * D  # θ_l → z_l, a_{l−1} → z_l, z_l → a_l or the loss


def check_layout(figure):
    """Check that all is on the page, that no texts overlap, and that no arc runs through a node or a text."""
    (axes,) = figure.axes
    renderer = rendered(figure)
    page = figure.bbox
    texts = [text for text in axes.texts if text.get_text()]
    for box in (text.get_window_extent(renderer) for text in texts):
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
    boxes = [(text.get_bbox_patch() or text).get_window_extent(renderer) for text in texts]  # of nodes
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for arc in axes.patches:
        (line, *_) = arc.get_path().transformed(axes.transData).to_polygons(closed_only=False)
        points = Path(line).interpolated(20).vertices
        assert (points > page.min).all()
        assert not any(box.count_contains(points) for box in boxes)


def dense():
    """Return a network whose last map reads all values before it, the input included."""
    return ml.Network([ml.Named("x"), ml.Linear(4, 4), ml.ReLU(), ml.Named("y"), ml.Linear(4, 4), ml.Tanh(),
                       ml.Concat(["x", "y"]), ml.Linear(12, 2)])


GRAPHS = {"a residual block": ml.resnet([8, 8, 8, 8, 3]), "a projection": ml.resnet([2, 8, 8, 16, 3]),
          "convolutions": ml.resnet([3, 16, 16, 32, 10], batch_norm=True, input_shape=(32, 32, 3)), "dense": dense(),
          "recurrent": ml.rnn(2, 8, 1, 5), "outputs at every step": ml.rnn(2, 8, 1, 3, "every", loss=ml.SquaredError())}


def test_what_is_no_network_is_not_drawn():
    for draw in (plots.graph, plots.sweep):
        with pytest.raises(TypeError, match=f"{draw.__name__}: net must be a Network"):
            draw(ml.Linear(2, 3))


@pytest.mark.parametrize("net", [*(net for net in networks() if net.depth in (1, 3, 8)), *GRAPHS.values()],
                         ids=lambda net: f"{net.depth} maps and joins")
def test_all_has_its_place(net):
    """With the numbers of the sweep: without them there is only less."""
    figure = plots.sweep(net)
    numbered, plain = ([(text.get_text(), text.get_position()) for text in drawn.axes[0].texts]
                       for drawn in (figure, plots.graph(net)))
    assert [text for text in numbered if not text[0].isdigit()] == plain
    check_layout(figure)


@pytest.mark.parametrize("net", [net for net in GRAPHS.values() if net.depth <= diagram.COLUMNS],
                         ids=lambda net: f"{net.depth} columns")
def test_an_arrow_comes_from_every_value_that_is_read(net):
    (axes,) = plots.graph(net).axes
    straight = [text for text in axes.texts if isinstance(text, Annotation) and text.arrow_patch is not None]
    reads = [(j, l) for l in range(1, net.depth + 1) for j in net.inputs[l]]
    far = [(j, l) for j, l in reads if j < l - 1]
    assert len(straight) == len(net.maps) + net.depth + len(reads) - len(far)
    ends = [patch.get_path().to_polygons(closed_only=False)[0][[0, -1], 0] for patch in axes.patches]
    assert [tuple(np.round(end).astype(int)) for end in ends] == far


def test_values_have_their_names_and_joins_no_theta():
    texts = [text.get_text() for text in plots.graph(GRAPHS["a projection"]).axes[0].texts]
    assert {"(N, 8)\n= x1", "(N, 16)\n= y1", "Select('x1')", "Add('y1')"} <= set(texts)
    assert [text for text in texts if "theta" in text] == [rf"$\theta_{{{l}}}$" for l in (1, 2, 3, 5, 7)]


def test_a_shared_theta_is_the_same_in_all_its_places():
    texts = plots.graph(GRAPHS["outputs at every step"]).axes[0].texts
    colors = {}
    for text in texts:
        if "theta" in text.get_text():
            colors.setdefault(text.get_text(), []).append(text.get_bbox_patch().get_facecolor())
    assert list(colors) == [r"$\theta_{4}$", r"$\theta_{5}$"]
    assert [len(found) for found in colors.values()] == [3, 3]
    assert len({color for found in colors.values() for color in found}) == 2
    assert [text.get_text() for text in texts].count("(11, 8)\nagain") == 2, "all places but the first"


def test_a_long_network_is_drawn_in_rows_and_not_in_full():
    net = ml.rnn(2, 8, 1, 50)
    figure = plots.graph(net)
    texts = [text.get_text() for text in figure.axes[0].texts]
    drawn = [l for l in range(1, net.depth + 1) if f"$z_{{{l}}}$" in texts]
    assert drawn == [*range(1, 28), *range(net.depth - 8, net.depth + 1)]
    assert any("28 to 143 are left out" in text for text in texts)
    assert "$a_{143}$, $a_{142}$" in texts, "what the Concat of the last row reads above it"
    assert figure.get_figwidth() < 18
    check_layout(figure)


@pytest.mark.parametrize("net", [ml.mlp([4, 4, 4, 2]), dense(), ml.rnn(2, 3, 1, 3, loss=ml.SquaredError())],
                         ids=["chain", "dense", "recurrent"])
def test_the_numbers_are_the_order_of_the_literal_algorithm(net, monkeypatch):
    order = []
    for kind in ("a", "z", "theta"):
        gradient = getattr(PenaltyEnergy, f"gradient_{kind}")

        def noted(energy, l, *values, kind=kind, gradient=gradient):
            order.append((kind, l))
            return gradient(energy, l, *values)
        monkeypatch.setattr(PenaltyEnergy, f"gradient_{kind}", noted)
    X = np.random.default_rng(0).uniform(size=(5, *net.shapes[0]))
    algorithm_1(net, X, np.zeros((5, 1)) if net.shapes[-1] == (1,) else np.zeros(5, int), 0.1)
    assert diagram.half_steps(net) == {node: number for number, node in enumerate(order, start=1)}
    texts = [text.get_text() for text in plots.sweep(net).axes[0].texts]
    assert sorted(int(text) for text in texts if text.isdigit()) == list(range(1, len(order) + 1))


# ---- files


def test_a_figure_is_written_whole_in_the_format_of_its_name(tmp_path):
    figure = plots.comparison({"backprop": history([4.0, 2.0])})
    plots.save(figure, tmp_path / "x.png")
    plots.save(figure, tmp_path / "x.PDF")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "x.PDF").read_bytes().startswith(b"%PDF")
    for bad in ("x", "x.pgn"):
        with pytest.raises(ValueError, match="must end in one of"):
            plots.save(figure, tmp_path / bad)
    assert {path.name for path in tmp_path.iterdir()} == {"x.png", "x.PDF"}


def test_a_notebook_shows_a_figure_that_a_cell_ends_with():
    """Without pyplot, which tells IPython how, it would show no more than the figure's name."""
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    run = history([2.0, 1.0])
    figures = [plots.graph(ml.mlp([2, 3, 1])), plots.comparison({"a": run}), run.plot()]
    for figure in [*figures, pickle.loads(pickle.dumps(figures[0]))]:
        shown, _ = formatter.format(figure)
        assert shown["image/png"].startswith(b"\x89PNG")


def test_no_display_and_no_pyplot_are_needed():
    code = ("import io, sys, minilift as ml; from minilift import plots; figure = plots.graph(ml.mlp([4, 3, 2])); "
            "figure.savefig(io.BytesIO()); print('matplotlib.pyplot' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "MPLCONFIGDIR": ""})
    assert done.stdout == "False\n"


@pytest.mark.parametrize(("losses", "scale"), [([1.0, -2.0], "linear"), ([-1.0, -2.0], "linear"), ([1.0, 0.0], "log")])
def test_losses_that_a_logarithmic_axis_cannot_show_have_a_linear_one(losses, scale):
    """As those of one's own loss may be, a log-likelihood for instance."""
    runs = {"backprop": history([4.0, 2.0]), "mine": history(losses)}
    for figure in (plots.comparison(runs), plots.history(runs), plots.comparison({"mine": runs["mine"]})):
        assert {axes.get_yscale() for axes in figure.axes} == {scale}
        rendered(figure)


def test_losses_of_zero_and_infinity_do_not_break_a_figure():
    figure = plots.comparison({"backprop": history([4.0, 0.0, math.inf])})
    rendered(figure)


# ---- convolutional layers


def pictures(figure):
    """Return what is shown, picture by picture."""
    return [image.get_array() for axes in figure.axes for image in axes.images]


def conv_case(channels=1):
    net = ml.convnet((8, 8, channels), channels=(4, 5), classes=3, kernel=3, dtype=np.float64)
    return net, np.random.default_rng(0).uniform(0, 1, (2, 8, 8, channels)), np.array([0, 2])


def test_filters_are_the_columns_of_theta():
    net = conv_case()[0]
    shown = pictures(plots.filters(net, 2))
    kernels = net.theta[2][:-1].reshape(3, 3, 4, 5)
    assert len(shown) == 20
    assert (shown[5 + 2] == kernels[:, :, 1, 2]).all()  # second row, third column


def test_filters_of_pictures_are_in_colour():
    shown = pictures(plots.filters(conv_case(channels=3)[0]))
    assert [picture.shape for picture in shown] == [(3, 3, 3)] * 4
    assert all(picture.min() == 0 and picture.max() == 1 for picture in shown)


def test_activations_of_each_sample_and_channel():
    net, X, _ = conv_case()
    state = net.forward(X)
    shown = pictures(plots.activations(net, X))
    assert len(shown) == 2 * 4
    assert (shown[4 + 1] == state.a[1][1, :, :, 1]).all()
    assert (pictures(plots.activations(net, X, 2))[0] == state.z[2][0, :, :, 0]).all()  # a_2 is flat


def test_the_residual_of_an_implicit_step_shrinks_as_tau_theta_grows():
    net, X, y = conv_case()
    sizes = [np.linalg.norm(pictures(plots.prox_residual(net, X, y, 2, ml.ProxProp(tau)))) for tau in (1e-8, 1, 100)]
    state = net.forward(X)
    signals = []
    ml.methods.as_method(lambda block: signals.append(block.g) or 0 * block.theta).directions(net, state, y)
    assert sizes[0] == pytest.approx(np.linalg.norm(signals[1]), rel=1e-5)  # without a step all of the target is left
    assert sizes[0] > sizes[1] > sizes[2] > 0


@pytest.mark.parametrize("method", [ml.FOOF(0.1, decay=0.9), ml.KFAC(0.1), ml.GaussNewton(0.1), ml.MAC(),
                                    ml.PredictiveCoding(), ml.BCD(), ml.SemiImplicit(0.1), ml.LocoProp()], ids=repr)
def test_the_residual_is_drawn_of_the_step_of_any_method(method):
    """That of its directions; on the blocks that it sees where signals pass through updated weights."""
    net, X, y = conv_case()
    try:
        steps = copy.deepcopy(method).directions(net, net.propagate(X), y)
    except (ValueError, TypeError) as error:  # which does not train such a network
        with pytest.raises(type(error), match=re.escape(str(error))):
            plots.prox_residual(net, X, y, 2, method)
        return
    blocks, before = {}, repr(method.state_dict())

    def keep(block):
        blocks[block.l] = block
        return steps[block.k - 1]

    list(ml.methods.sweep(net, net.propagate(X), y, keep, new_weights=method.new_weights))
    left = net.phi[2].forward(steps[1], blocks[2].a) - blocks[2].g
    np.testing.assert_array_equal(pictures(plots.prox_residual(net, X, y, 2, method))[0], left[0, :, :, 0])
    assert repr(method.state_dict()) == before


def test_the_residual_of_a_shared_map_is_drawn_whichever_use_is_named():
    shared, data = ml.Conv2d(1, 1, 3, padding=1), ml.datasets.digits().images()
    net = ml.Network([shared, ml.ReLU(), shared, ml.ReLU(), ml.Flatten(), ml.Linear(64, 10)], input_shape=(8, 8, 1))
    first, second = (pictures(plots.prox_residual(net, data.X_test[:3], data.y_test[:3], l)) for l in (1, 2))
    assert len(first) == 6
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("l", "message"), [(3, "no convolution but Linear"),
                                             (4, "index of a map, must be at most 3, got 4")])
def test_other_maps_have_no_filters(l, message):
    net, X, y = conv_case()
    for draw in (lambda: plots.filters(net, l), lambda: plots.activations(net, X, l),
                 lambda: plots.prox_residual(net, X, y, l)):
        with pytest.raises(ValueError, match=message):
            draw()


def test_ticks_of_a_short_logarithmic_axis_are_plain():
    figure = plots.new_figure(4, 4)
    axes = figure.subplots()
    axes.plot([0.11, 0.42])
    axes.set_yscale("log")
    plots.plain_numbers(axes.yaxis)
    FigureCanvasAgg(figure).draw()
    texts = {label.get_text() for label in axes.get_yticklabels("both")} - {""}
    assert texts >= {"0.2", "0.3", "0.4"}
    assert not any("e" in text for text in texts)


def test_a_run_that_diverges_at_once_has_whole_epochs_and_no_warning(recwarn):
    """Its axis of epochs went from -0.045 to 0.045, and Matplotlib warned of an axis without positive numbers."""
    history = ml.fit(ml.mlp([2, 3, 2]), ml.datasets.moons(40), "backprop", "sgd:lr=1e30", epochs=2, progress=False)
    assert history.diverged.epoch == 1
    figure = ml.plots.comparison({"backprop": history})
    figure.canvas.draw()
    left = figure.axes[0]
    low, high = left.get_xlim()
    assert [tick for tick in left.get_xticks() if low <= tick <= high] == [0]
    assert not recwarn.list


def test_the_ticks_of_very_short_runs_do_not_touch():
    history = ml.fit(ml.mlp([2, 3, 2]), ml.datasets.moons(40), "backprop", "sgd:lr=1", epochs=3, progress=False)
    history.columns["seconds"][:] = [0.0, 0.0006, 0.0011, 0.00156]
    figure = history.plot()
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[1].get_xticklabels()]
    boxes = sorted((box for box in boxes if box.width), key=lambda box: box.x0)
    assert len(boxes) > 2
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))
