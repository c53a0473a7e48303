"""`minilift bench`: what is timed is the work that it claims to be, and the arithmetic on the times is right."""

import argparse
import io
import json
import math
import re
import time
from collections import Counter
from functools import partial

import numpy as np
import pytest

import minilift as ml
from minilift.lab import bench, contenders
from minilift.lab.contenders import Problem, Timed

TINY = Problem("tiny", (6, 5, 3), "relu", 4)
IMAGES = Problem("images", (192, 10), "relu", 3, images=(8, 8, 3))
RESIDUAL = Problem("residual", (5, 5, 5, 5, 5, 5, 3), "relu", 7, residual=True)
RECURRENT = Problem("recurrent", (2, 4, 3), "tanh", 6, steps=5)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short turns and pauses: these tests look at what is done, not at how long it takes."""
    monkeypatch.setattr(bench, "SETTLE", 0.0)
    monkeypatch.setattr(bench, "TURN", 1e-3)


@pytest.fixture
def networks(monkeypatch):
    """Collect the networks that contenders make for themselves."""
    made, original = [], Problem.network

    def network(problem, backend):
        made.append(original(problem, backend))
        return made[-1]

    monkeypatch.setattr(Problem, "network", network)
    return made


def parsed(*words):
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(words)


# ---- what is timed


@pytest.mark.parametrize("problem", [TINY, Problem("code", (9, 6, 2, 6, 9), ("tanh", "identity", "tanh"), 12, True),
                                     IMAGES, RESIDUAL, RECURRENT],
                         ids=lambda problem: problem.title)
@pytest.mark.parametrize("name", contenders.OURS)
def test_a_step_of_every_method_trains_its_network_and_nothing_diverges(problem, name, networks):
    contender = contenders.timed_step(problem, name)
    assert (contender is None) == (contenders.OURS[name].chains and not problem.chain)
    if contender is None:
        return
    before = [theta.astype(np.float64) for theta in networks[0].parameters]
    loss = networks[0].loss(*problem.samples())
    for _ in range(20):
        contender.step()
    moved = sum(abs(theta - old).sum() for theta, old in zip(networks[0].parameters, before))
    assert moved > 0
    assert all(np.isfinite(theta).all() for theta in networks[0].parameters)
    assert networks[0].loss(*problem.samples()) <= loss * (1 + 1e-6)


def test_backprop_steps_lower_the_loss_as_they_do_in_pytorch(networks):
    torch = pytest.importorskip("torch")
    problem = Problem("like", (20, 15, 7), "tanh", 50)
    ours = contenders.timed_step(problem, "BackProp")
    net = contenders.torch_mlp(problem)
    with torch.no_grad():
        for layer, theta in zip([net[0], net[2]], networks[0].parameters):
            layer.weight.copy_(torch.from_numpy(theta[:-1].T.copy()))
            layer.bias.copy_(torch.from_numpy(theta[-1].copy()))
    X, y = (torch.from_numpy(array) for array in problem.samples())
    optimizer = torch.optim.SGD(net.parameters(), contenders.LEARNING_RATE, contenders.MOMENTUM, nesterov=True)
    for _ in range(100):
        ours.step()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(X), y).backward()
        optimizer.step()
    z = networks[0].forward(X.numpy()).z[-1]
    np.testing.assert_allclose(z, net(X).detach().numpy(), atol=1e-5)


def test_the_convnet_in_pytorch_has_the_same_maps():
    pytest.importorskip("torch")
    problem = contenders.PROBLEMS["convnet"]
    sizes = [theta.size for theta in problem.network("numpy").parameters]
    parameters = [parameter.numel() for parameter in contenders.torch_convnet(problem).parameters()]
    assert sizes == [weight + bias for weight, bias in zip(parameters[::2], parameters[1::2])]


@pytest.mark.parametrize("problem", [RESIDUAL, RECURRENT, contenders.PROBLEMS["residual"],
                                     contenders.PROBLEMS["recurrent"]], ids=lambda problem: problem.title)
def test_graphs_have_the_loss_and_the_gradient_that_they_have_in_pytorch(problem):
    torch = pytest.importorskip("torch")
    made = problem.network("numpy")
    net = ml.Network(**{**made.settings(), "dtype": np.float64})
    net.theta = made.theta
    theirs = contenders.torch_network(problem).double()
    weights = list(theirs.parameters())
    with torch.no_grad():
        for weight, bias, theta in zip(weights[::2], weights[1::2], net.parameters, strict=True):
            weight.copy_(torch.from_numpy(theta[:-1].T.copy()))
            bias.copy_(torch.from_numpy(theta[-1].copy()))
    X, y = problem.samples()
    loss, directions = ml.BackProp().direction(net, X, y)
    their_loss = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(X).double()), torch.from_numpy(y))
    their_loss.backward()
    assert loss == pytest.approx(their_loss.item(), rel=1e-12)
    for weight, bias, direction in zip(weights[::2], weights[1::2], directions, strict=True):
        gradient = np.vstack([weight.grad.numpy().T, bias.grad.numpy()])
        np.testing.assert_allclose(direction, gradient, rtol=0, atol=1e-12 * abs(gradient).max())


@pytest.mark.parametrize("name", contenders.OTHERS)
def test_other_libraries_take_finite_steps(name):
    contender = contenders.timed_step(contenders.PROBLEMS["small"], name)
    if contender is None:
        pytest.skip(f"{name} is not installed")
    for _ in range(3):
        loss = contender.step()  # of scikit-learn the network, which keeps it
        assert np.isfinite(getattr(loss, "loss_", loss))


def test_scikit_learn_is_no_contender_where_it_lacks_the_loss_or_the_layers():
    for network in ("autoencoder", "convnet", "residual", "recurrent"):
        assert contenders.timed_step(contenders.PROBLEMS[network], "scikit-learn") is None


# ---- the limit


@pytest.mark.parametrize("problem", [TINY, IMAGES, RESIDUAL, RECURRENT], ids=lambda problem: problem.title)
def test_the_limit_counts_the_flops_of_backprop(problem):
    net, maps = contenders.places(problem, "numpy")
    z = net.forward(problem.samples()[0]).z
    learned = {l: theta for l, theta in enumerate(net.theta) if theta is not None}
    assert maps == {l: (z[l].size // theta.shape[1], theta.shape[0] - 1, theta.shape[1])
                    for l, theta in learned.items()}
    each = [math.prod(shape) for shape in maps.values()]  # multiplications of one product with W
    assert multiplications(contenders.step_products("BackProp", problem, "numpy")) == 3 * sum(each) - each[0]
    ours, theirs = (contenders.step_products(name, problem, "numpy") for name in ("BackProp", "PyTorch"))
    assert ours == theirs


def test_a_map_in_several_places_has_one_gram_matrix_of_all_rows():
    """6 samples over 5 steps: 30 rows of the 2 + 4 inputs of the cell."""
    products = contenders.step_products("ProxProp exact", RECURRENT, "numpy")
    assert products == {("forward", 6, 6, 4): 5, ("input", 6, 6, 4): 4, ("theta", 30, 6, 4): 1, ("gram", 30, 6): 1,
                        ("apply", 6, 4): 1, ("forward", 6, 4, 3): 1, ("input", 6, 4, 3): 1, ("theta", 6, 4, 3): 1}


def test_the_limit_counts_gram_matrix_and_its_products():
    maps = [(4, 6, 5), (4, 5, 3)]  # sample side: 4 rows, fewer than inputs
    exact, cg3 = (Counter(contenders.OURS[f"ProxProp {solver}"].products(maps)) for solver in ("exact", "cg3"))
    assert multiplications(exact) == 4 * 6 * 4 + 4 * 4 * 5  # the last map's step is explicit
    assert multiplications(cg3) == 4 * 6 * 4 + 3 * 4 * 4 * 5
    tall = Counter(contenders.OURS["ProxProp exact"].products([(40, 6, 5), (40, 5, 3)]))
    assert tall["gram", 40, 6] == 1
    assert tall["apply", 6, 5] == 1
    rescaled = Counter(contenders.OURS["LocoProp-M RMSProp"].products(maps))
    assert multiplications(rescaled) == 9 * 2 * (4 * 6 * 5 + 4 * 5 * 3)


def multiplications(products: Counter):
    """Return the number of multiplications, a Gram matrix counted in full."""
    def one(kind, *shape):
        if kind.endswith("gram"):
            return math.prod(shape) * (min(shape) if kind == "gram" else shape[0])
        return shape[0] ** 2 * shape[1] if kind == "apply" else math.prod(shape)
    return sum(number * one(*product) for product, number in products.items())


@pytest.mark.parametrize(("product", "shape"), [
    (("forward", 4, 6, 5), (4, 5)), (("theta", 4, 6, 5), (6, 5)), (("input", 4, 6, 5), (4, 6)),
    (("gram", 4, 6), (4, 4)), (("gram", 6, 4), (4, 4)), (("sample gram", 6, 4), (6, 6)), (("apply", 4, 5), (4, 5))])
def test_bare_products_have_the_shapes_of_their_kind(product, shape):
    contender = contenders.bare_products([product], "numpy")[product]
    out = contender.step()
    assert out.shape == shape
    assert out.dtype == np.float32
    assert contender.step() is out, "into an array that is there already"


# ---- the clock


def test_rounds_are_counted_down_only_while_they_are_long(monkeypatch, capsys):
    clock = iter(range(1000))
    field = {"quick": Timed("minilift", lambda: None)}
    bench.take_turns(field, 3, "small", field)
    assert capsys.readouterr().err.splitlines() == ["small: quick", "small: round 1 of 3, a few seconds to go"]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: 10.0 * next(clock))
    bench.take_turns(field, 3, "wide", field)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "wide: quick", *(f"wide: round {number} of 3" for number in (1, 2, 3))]


def test_contenders_take_turns():
    order = []
    field = {name: Timed("x", lambda name=name: order.append(name) or time.sleep(2e-3)) for name in "AB"}
    times = bench.take_turns(field, rounds=3)
    assert "".join(order[-6:]) == "ABABAB"
    assert {name: len(values) for name, values in times.items()} == {"A": 3, "B": 3}
    assert all(value >= 2e-3 for values in times.values() for value in values), "no step sleeps for less"


def test_short_steps_are_repeated_and_their_time_divided():
    count = []
    values = bench.take_turns({"A": Timed("x", lambda: count.append(1) or time.sleep(1e-4))}, rounds=1)["A"]
    assert len(count) > 2
    assert values[0] >= 1e-4, "a step sleeps that long at least"


def test_the_clock_waits_for_the_device():
    waited = []
    bench.seconds(Timed("x", lambda: None, lambda: waited.append(1)), 5)
    assert len(waited) == 2, "before the clock starts and before it stops"


def test_ratios_are_formed_pair_by_pair():
    times = {"BackProp": [1.0, 2.0, 4.0], "PyTorch": [2.0, 4.0, 4.0]}
    limits = {"BackProp": np.array([0.5, 1.0, 3.0])}
    row = bench.step_row("small", "BackProp", times, limits)
    assert row["ratios"]["PyTorch"] == {"median": 0.5, "min": 0.5, "max": 1.0}
    assert row["share"] == {"median": 0.5, "min": 0.5, "max": 0.75}
    assert row["rounds"] == times["BackProp"]


def test_targets_are_told_as_met_or_not_met():
    times = {"BackProp": [1.0], "PyTorch": [2.0], "ProxProp exact": [1.3]}
    rows = [bench.step_row("wide", name, times, {name: np.array([0.8])}) for name in times]
    met = {(row["contender"], one["what"]): one["met"] for row in rows for one in row["targets"]}
    assert met == {("BackProp", "÷ PyTorch"): True, ("BackProp", "share of the limit"): False,
                   ("ProxProp exact", "÷ BackProp"): False, ("ProxProp exact", "÷ PyTorch"): True,
                   ("ProxProp exact", "share of the limit"): False}
    text = bench.step_table(rows)
    assert "ProxProp exact ÷ BackProp ≤ 1.2: 1.30, NOT met" in text
    assert "BackProp share of the limit ≥ 0.85: 0.80, NOT met" in text


# ---- solve and scale


def test_the_crossover_is_where_the_two_costs_meet():
    rows = [{"varied": "rows", "solver": "exact", "side": side, "cost": cost}
            for side, costs in (("sample", [size**2 for size in bench.SIZES]), ("parameter", [700**2] * 5))
            for cost in costs]
    assert bench.crossover(rows, "exact", lambda row: row["cost"]) == pytest.approx(700)
    assert bench.crossover([{**row, "cost": 1} for row in rows], "exact", lambda row: row["cost"]) is None


def test_the_legend_of_the_bars_covers_no_bar():
    """The last bar is often the longest."""
    row = {"network": "small", "seconds": {"median": 1.0, "min": 1.0, "max": 1.0}, "limit": {"median": 0.5}}
    figure = bench.step_figure([{**row, "contender": name} for name in ("BackProp", "LPOM")])
    figure.savefig(io.BytesIO())
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)


def test_sizes_without_a_crossover_are_named():
    rows = [{"varied": "rows", "rows": size, "n_in": 9, "n_out": 9, "solver": solver, "side": side, "flops": 1,
             "machine flops a second": 1.0, "seconds": {"median": 1.0, "min": 1.0, "max": 1.0}}
            for solver in bench.SOLVERS for side in ("sample", "parameter") for size in bench.SIZES]
    told = "both sides cost the same at none of 125 to 2000 rows; by flops none of 125 to 2000"
    assert told in bench.solve_table(rows)


def test_predicted_flops_cross_where_samples_are_as_many_as_parameters():
    for solver in bench.SOLVERS:
        costs = [bench.predicted_flops(solver, side, 101, 100, 30) for side in ("sample", "parameter")]
        assert costs[0] == costs[1]
        fewer = [bench.predicted_flops(solver, side, 50, 100, 30) for side in ("sample", "parameter")]
        assert fewer[0] < fewer[1]


def test_the_fitted_exponent_is_that_of_a_power_law():
    rows = [{"size": size, "cost": 3 * size**1.7} for size in (10, 20, 40)]
    assert bench.exponent(rows, lambda row: row["cost"]) == pytest.approx(1.7)
    assert bench.exponent([{"size": 1, "cost": None}], lambda row: row["cost"]) is None


def test_traced_bytes_are_those_of_a_step():
    assert bench.traced_bytes(Timed("x", lambda: np.ones(10**6))) == pytest.approx(8e6, rel=0.01)


# ---- the command


def seconds_said(monkeypatch, *words, load=0.0):
    """Return the estimate of a benchmark on two idle cores, or on loaded ones, in seconds."""
    for name, value in (("TURN", 0.05), ("SETTLE", 0.1), ("crowd", lambda threads: 1.0 + load), ("about", float)):
        monkeypatch.setattr(bench, name, value)
    said = bench.lasting(bench.checked_options(parsed(*words)))
    return float(str(said).partition(" ")[0])


def test_what_is_named_twice_is_measured_once():
    options = bench.checked_options(parsed("step", "--network", "small", "small", "--contender", "LPOM", "MAC", "LPOM"))
    assert (options["network"], options["contender"]) == (["small"], ["LPOM", "MAC"])


def test_the_estimate_follows_what_is_asked_for(monkeypatch):
    """On two cores one contender took 3.5 s in a round and 5 s in seven, all of them 47 s: one of them, and large."""
    said = partial(seconds_said, monkeypatch)
    one, all_of_them = ("--contender", "BackProp"), said("step")
    assert said("step", *one, "--rounds", "1") < said("step", *one) < 15 < 30 < all_of_them < 90
    assert said("step", "--rounds", "50") > 5 * all_of_them
    wide, dear = said("step", "--network", "wide", *one), said("step", "--network", "wide", "--contender", "LPOM")
    assert 10 < wide < 30 < 5 * wide < dear
    assert said("step", "--network", "wide", "small", *one) > wide
    assert said("step", "--network", "wide", *one, load=3.0) > 2 * wide
    assert said("step", *one, "--threads", "1", load=3.0) < 30, "turns of a short step are as long on a busy machine"
    assert said("profile", "--network", "wide", "--contender", "LPOM") > 5 * said("profile", "--network", "wide")
    assert said("step", "--all") > 600
    assert said("memory", *one) < said("memory", *one, "--network", "wide", "small") < said("memory")
    for what in ("solve", "scale", "import"):
        assert said(what, "--rounds", "1") < said(what) < said(what, "--rounds", "20")
    assert said("scale", *one) < said("scale") < said("scale", "--all")


def test_every_network_has_a_time():
    assert set(bench.STEPS) == set(contenders.PROBLEMS)
    assert set(bench.COSTLY) <= {*contenders.OURS, *contenders.OTHERS}


def test_the_help_of_an_option_says_which_benchmarks_it_belongs_to():
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    helps = {action.dest: action.help for action in parser._actions}
    for option, kinds in bench.BELONGS.items():
        assert helps[option].startswith(f"{', '.join(kinds)}: ")
    assert "begins with the benchmarks" in parser.epilog
    assert ":" not in helps["threads"].split("(")[0]


@pytest.mark.parametrize(("words", "message"), [
    (("--network", "smal"), "did you mean 'small'"), (("--contender", "Backprop"), "did you mean 'BackProp'"),
    (("--rounds", "0"), "--rounds must be at least 1"), (("--threads", "0"), "--threads must be at least 1"),
    (("--backend", "numpi"), "did you mean 'numpy'"), (("--data", "no-such.npz"), "no-such.npz"),
    (("--data", "flat.npz"), "flat.npz must hold X_train, at least 500 images of 32×32×3")])
def test_wrong_options_are_refused_before_anything_is_measured(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("flat.npz", X_train=np.zeros((600, 784)))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        bench.run(parsed("step", *words))


@pytest.mark.parametrize(("what", "words", "message"), [
    ("solve", ("--network", "wide"), "--network belongs to bench step, profile, memory, race, ranks, got bench solve"),
    ("solve", ("--contender", "FOOF"), "--contender belongs to"), ("step", ("--batch", "9"), "--batch belongs"),
    ("race", ("--backend", "cupy"), "--backend belongs"), ("memory", ("--data", "images.npz"), "--data belongs"),
    ("step", ("--cluster", "tcp://a:1"), "--cluster belongs to bench race, got bench step"),
    ("memory", ("--rounds", "50"), "--rounds belongs"), ("race", ("--rounds", "50"), "--rounds belongs")])
def test_an_option_is_refused_where_it_does_nothing(what, words, message):
    with pytest.raises(ValueError, match=message):
        bench.run(parsed(what, *words))


@pytest.mark.parametrize(("what", "words", "where"), [
    ("step", ("--network", "recurrent", "--contender", "MAC"), " on recurrent"),
    ("scale", ("--contender", "PyTorch"), "")])
def test_contenders_that_have_no_step_there_are_named(what, words, where, tmp_path, monkeypatch):
    steps = bench.timed_step
    monkeypatch.setattr(bench, "timed_step", lambda problem, name, *more: None if name == "PyTorch" else
                        steps(problem, name, *more))  # as where it is not installed
    arguments = parsed(what, "--rounds", "1", "--output", str(tmp_path), *words)
    with pytest.raises(ValueError, match=f"--contender: .* bench {what} has no step of {words[-1]}{where} here"):
        bench.measure(bench.checked_options(arguments))
    assert not list(tmp_path.iterdir())


def test_whichever_contender_is_named_is_scaled(tmp_path, monkeypatch):
    """By default those are whose exponents are known."""
    small = {"batch": ((10, 20), lambda n: Problem("", (8, 8, 4), "relu", n))}
    monkeypatch.setattr(bench, "SCALES", small)
    names = ["LocoProp-M", "MAC", "K-FAC", "FOOF", "BackProp", "ProxProp cg1"]
    options = bench.checked_options(parsed("scale", "--rounds", "1", "--output", str(tmp_path), "--contender", *names))
    rows = bench.bench_scale(options)
    assert [row["contender"] for row in rows] == names * 2
    assert "LocoProp-M" in bench.scale_table(rows)
    bench.scale_figure(rows)


def test_a_users_images_are_those_of_the_networks_that_take_them(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (500, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", X_train=images)
    loaded = bench.load_images(tmp_path / "images.npz")
    for network, shape in (("wide", (500, 3072)), ("convnet", (500, 32, 32, 3))):
        X, _ = contenders.PROBLEMS[network].samples(loaded[network])
        assert X.dtype == np.float32
        np.testing.assert_allclose(X, images.reshape(shape) / 255, rtol=1e-6)


def results(folder, what, *words, own_process=False):
    """Measure once, as a user would in a process of its own or in this one; return what is written."""
    rounds = ["--rounds", "1"] * (what in bench.BELONGS["rounds"])
    arguments = parsed(what, *rounds, "--threads", "1", "--output", str(folder), *words)
    assert (bench.run(arguments) if own_process else bench.measure(bench.checked_options(arguments))) == 0
    assert (folder / f"{what}.png").stat().st_size > 5000
    return json.loads((folder / f"{what}.json").read_text()), (folder / f"{what}.txt").read_text()


def test_a_step_is_measured_and_written_down(tmp_path):
    record, text = results(tmp_path, "step", "--network", "small", "--contender", "BackProp", "ProxProp exact",
                           own_process=True)
    assert [row["contender"] for row in record["rows"]] == ["BackProp", "ProxProp exact"]
    assert record["machine"]["threads"] == "1"
    assert record["command"] == ("minilift bench step --network small --contender BackProp 'ProxProp exact' "
                                 "--rounds 1 --threads 1")
    for row in record["rows"]:
        assert row["limit"]["median"] > 0
        assert row["share"]["median"] == pytest.approx(row["limit"]["median"] / row["seconds"]["median"])
    assert record["machine"]["processor"] in text


def test_what_was_measured_is_kept_whatever_becomes_of_table_and_figure(tmp_path, monkeypatch):
    def broken(rows):
        raise KeyError("minilift")
    measured, _, figure = bench.MEASURES["profile"]
    monkeypatch.setitem(bench.MEASURES, "profile", (measured, broken, figure))
    with pytest.raises(KeyError):
        results(tmp_path, "profile", "--network", "small")
    assert json.loads((tmp_path / "profile.json").read_text())["rows"]


def test_earlier_results_are_set_aside(tmp_path, capsys):
    first, _ = results(tmp_path, "profile", "--network", "small")
    drawn = (tmp_path / "profile.png").read_bytes()
    second, _ = results(tmp_path, "profile", "--network", "small")
    assert json.loads((tmp_path / "profile.json~").read_text()) == first != second
    assert (tmp_path / "profile.png~").read_bytes() == drawn
    assert f"profile.json was there already and is now {tmp_path / 'profile.json~'}" in capsys.readouterr().err


def test_a_busy_machine_is_said_to_be_one():
    assert not bench.busy({"load before": [0.4, 0, 0], "cores": 2})
    assert "not to be relied on" in bench.busy({"load before": [1.4, 0, 0], "cores": 2})[0]
    assert not bench.busy({"load before": None, "cores": 2}), "where the system does not tell"


def test_a_step_is_taken_apart(tmp_path):
    record, text = results(tmp_path, "profile", "--network", "small")
    rows = {row["contender"]: row for row in record["rows"]}
    assert list(rows) == ["checks of the batch", "forward pass", "loss", "backward sweep", "optimizer"]
    with_products = [name for name, row in rows.items() if row["limit"]["median"] > 0]
    assert with_products == ["forward pass", "backward sweep"]
    parts = sum(row["seconds"]["median"] for row in rows.values())
    assert f"{parts * 1e3:.3f}" in text, "the sum stands below the parts"
    assert re.search(r"^a step of BackProp +ms +bare products, ms", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["ProxProp exact", "LocoProp-M RMSProp", "BCD"])
def test_a_step_of_any_method_is_taken_apart_and_the_table_names_it(tmp_path, name):
    record, text = results(tmp_path, "profile", "--network", "small", "--contender", name)
    assert [row["contender"] for row in record["rows"]][3] == "sweep and local problems"
    assert {row["step of"] for row in record["rows"]} == {name}
    assert re.search(rf"^a step of {name} +ms +bare products, ms", text, re.MULTILINE)
    _, counts = bench.step_parts(TINY, bench.checked_options(parsed("profile", "--contender", name)), None)
    assert sum((Counter(some) for some in counts.values()), Counter()) == contenders.step_products(name, TINY, "numpy")
    assert sum(counts["forward pass"].values()) == 2, "one product for each map, whatever the local problems take"


@pytest.mark.parametrize(("words", "message"), [
    (("PyTorch",), "unknown name 'PyTorch'"), (("BackProp", "FOOF"), "takes one step apart, got BackProp, FOOF")])
def test_what_has_no_parts_is_refused(words, message):
    with pytest.raises(ValueError, match=f"--contender: .*{message}"):
        bench.run(parsed("profile", "--contender", *words))


def test_memory_is_that_of_a_process_of_its_own(tmp_path):
    ballast = np.ones(4 * 10**7)  # 320 MB in this process must not count in the other
    record, text = results(tmp_path, "memory", "--network", "small", "--contender", "BackProp")
    assert "rounds" not in text
    assert 1e7 < record["rows"][0]["bytes"] < ballast.nbytes / 2


def test_import_tells_what_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "LIBRARIES", ("numpy", "no_such_library"))
    record, text = results(tmp_path, "import")
    assert record["command"] == "minilift bench import --rounds 1 --threads 1", "no option that belongs to others"
    assert "median (smallest–largest) over the rounds" in text
    rows = {row["contender"]: row for row in record["rows"]}
    assert set(rows) == {"minilift", "numpy"}
    assert all(row["seconds"]["median"] > 0 for row in rows.values())
    assert rows["minilift"]["modules"] > rows["numpy"]["modules"], "minilift loads NumPy, and modules of its own"
    assert not rows["minilift"]["heavy"]


@pytest.mark.slow
def test_solve_and_scale_are_measured_and_written_down(tmp_path, monkeypatch):
    for name, small in (("SIZES", (8, 16)), ("BASE", {"rows": 8, "n_in": 8, "n_out": 4}),
                        ("SCALES", {"batch": ((10, 20), lambda n: Problem("", (8, 8, 4), "relu", n))})):
        monkeypatch.setattr(bench, name, small)
    options = {**bench.checked_options(parsed("solve", "--rounds", "1")), "output": str(tmp_path)}
    for what in ("solve", "scale"):  # in this process, which has the small sizes
        bench.measure({**options, "what": what})
        assert (tmp_path / f"{what}.png").stat().st_size > 5000
    solve, scale = (json.loads((tmp_path / f"{what}.json").read_text())["rows"] for what in ("solve", "scale"))
    assert len(solve) == 3 * 2 * 4
    assert {row["contender"] for row in scale} >= {"BackProp", "ProxProp exact"}
    assert all(row["bytes"] > 0 for row in scale if row["contender"] in contenders.OURS)
