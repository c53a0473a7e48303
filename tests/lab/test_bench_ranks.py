"""`minilift bench ranks`: what is counted is what is sent, the model is as it says, and real ranks are measured."""

import argparse
import importlib.util
import json
import math
import sys

import numpy as np
import pytest

import minilift as ml
from minilift.lab import bench, ranks
from minilift.lab.contenders import Problem
from minilift.lab.ranks import COUNTS, MODEL_ONLY, Constants, Work, parts, work_of
from tests.ranks import on_ranks

WIDTHS = (7, 9, 5, 3)
MEASURED = [method for method in COUNTS if method not in MODEL_ONLY]
PLAIN = Constants(product=1e9, inverse=1e9, memory=1e9, alpha=1e-6, beta=1e-9)


# ---- the counts


@pytest.mark.parametrize("batch", [4, 16, 40])
@pytest.mark.parametrize("method", MEASURED)
def test_the_bytes_that_are_counted_are_those_that_are_given(method, batch):
    """On either side of the choice between sample and parameter side."""
    problem = Problem("", WIDTHS, "relu", batch)

    def given(team):
        step = ranks.step_on(team, problem, method)
        team.sent = {"sum": [0, 0], "gather": [0, 0]}
        step()
        return team.sent

    found, work = on_ranks(4, given), work_of(method, WIDTHS, batch, 4)
    assert [np.mean([one[verb][0] for one in found]) for verb in ("sum", "gather")] == pytest.approx(work.given(4))
    assert all((one["sum"][1], one["gather"][1]) == (len(work.sums), len(work.gathers)) for one in found)


def test_the_side_is_forced_and_the_step_is_the_same():
    problem, steps = Problem("", WIDTHS, "relu", 12), {}
    for side in ("parameter", "sample"):
        def moved(team, side=side):
            made = []
            network = Problem.network

            def kept(self, backend):
                made.append(network(self, backend))
                return made[-1]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Problem, "network", kept)
                step = ranks.step_on(team, problem, f"exact, {side} side")
            step()
            return made[0].parameters
        steps[side] = moved(ml.Team.alone())
    for one, other in zip(*steps.values()):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", COUNTS)
def test_one_rank_sends_nothing_and_all_work_is_shared_or_repeated(method):
    one, four = (work_of(method, WIDTHS, 40, p) for p in (1, 4))
    assert one.sent(1) == 0
    assert four.own == pytest.approx(one.own / 4)
    assert (four.repeated, four.inverse) == (one.repeated, one.inverse), "what is repeated does not get less"
    if "CG" not in method.upper() and "plain" not in method:
        assert four.repeated == 0, "an exact step repeats no product, its inverses alone"


def test_products_of_a_step_are_those_of_the_limit():
    """On one rank, the flops of BackProp are those of the bare products that `bench step` holds a step against."""
    from minilift.lab.contenders import step_products
    problem = Problem("", (64, 128, 128, 10), "relu", 100)
    flops = sum(2 * math.prod(product[1:]) * number for product, number in
                step_products("BackProp", problem, "numpy").items())
    assert work_of("BackProp", problem.widths, 100, 1).own == pytest.approx(flops, rel=0.02)  # biases are counted here


# ---- the model


@pytest.mark.parametrize(("work", "p", "seconds"), [
    (Work(own=2e9), 4, 2.0), (Work(repeated=2e9, inverse=1e9), 4, 3.0), (Work(moved=1e9), 4, 1.0),
    (Work(sums=(0,)), 8, 3e-6),  # three hops of nothing
    (Work(sums=(1e9,)), 4, 2 * 2e-6 + 1.5),  # in pieces, there and back
    (Work(sums=(100,)), 4, 2 * (1e-6 + 100e-9)), (Work(gathers=(1e9,)), 4, 2e-6 + 0.75),
    (Work(sums=(1e9,), gathers=(1e9,)), 1, 0.0)])
def test_the_model_by_hand(work, p, seconds):
    assert sum(parts(work, p, PLAIN).values()) == pytest.approx(seconds)


def test_textbook_cg_pays_its_latency_and_an_exact_step_what_it_repeats():
    far = {method: parts(work_of(method, (784, 500, 500, 10), 4000, 4096), 4096, PLAIN) for method in COUNTS}
    textbook, exact = far["cg3, textbook"], far["exact, parameter side"]
    assert textbook["latency (α)"] > 2 * exact["latency (α)"]
    assert max(exact, key=exact.get) == "repeated"


def test_where_an_exact_step_is_dear():
    """If nothing but flops costs: the inverses, 3 N³, equal BackProp's products less N² (r + 2 m), over p, at p = 57.

    N is 1000; BackProp's are 4 N 785·4000, twice 6 N 4000² and 6 N 4000·10. With 250 samples more ranks were needed
    than there are samples, 1049.
    """
    flops = Constants(1e9, 1e9, math.inf, 0.0, 0.0)
    assert ranks.dear_from(4000, 250, flops) == "> 4096"
    assert ranks.dear_from(4000, 1000, flops) == "64"
    assert ranks.dear_from(4000, 1000, flops._replace(inverse=math.inf)) == "> 4096", "no product is repeated"


# ---- rows, tables, figure

def test_each_prediction_takes_the_constants_measured_beside_its_own_turn(monkeypatch):
    """A machine that is twice as slow for one turn of a method, whichever it is, is no error of the model."""
    monkeypatch.setattr(ranks, "cores", lambda: 2)
    problem, slow = Problem("", WIDTHS, "relu", 40), "exact, sample side"
    half = PLAIN._replace(product=PLAIN.product / 2, inverse=PLAIN.inverse / 2, memory=PLAIN.memory / 2,
                          alpha=2 * PLAIN.alpha, beta=2 * PLAIN.beta)

    def step(method, p, constants):
        """A step that takes what the model says, but a third more for what is computed, and its calls."""
        made = ranks.parts(work_of(method, WIDTHS, 40, p), p, constants)
        return sum(made.values()) + (made["own rows"] + made["repeated"]) / 3 + 0.02 * max(1, p / 2)

    turns = {method: [half, PLAIN, half] if method == slow else [PLAIN] * 3 for method in MEASURED}
    several = {p: {**found(p), "constants": {method: [one._asdict() for one in turns[method]] for method in MEASURED},
                   "calls": {method: [0.02] for method in MEASURED},
                   "seconds": {method: [step(method, p, one) for one in turns[method]] for method in MEASURED}}
               for p in ranks.MEASURED_RANKS}
    rows = ranks.rows_of("small", problem, several, [], 2)
    assert max(abs(ranks.error(row)) for row in rows if row["seconds"] is not None) < 1e-12
    many = {row["constants"]["product"] for row in rows if row["ranks"] == 4096}
    assert many == {PLAIN.product}, "for many ranks one set of constants, the middle of those measured"


def test_the_error_is_the_median_of_the_turns(rows):
    row = next(row for row in rows if row["method"] == "BackProp" and row["ranks"] == 4)
    made = {**row, "turns": [1.0, 2.0, 4.0], "turns, predicted": [1.5, 2.2, 2.0]}
    assert ranks.error(made) == pytest.approx(0.1)
    assert ranks.error(next(row for row in rows if row["ranks"] == 4096)) is None


def found(p):
    """Return what p ranks might have measured."""
    return {"constants": {method: [PLAIN._asdict()] * 3 for method in MEASURED},
            "seconds": {method: [0.3 / p, 0.2 / p, 0.25 / p] for method in MEASURED},
            "given": {method: list(work_of(method, WIDTHS, 40, p).given(p)) for method in MEASURED},
            "calls": {method: [0.0] for method in MEASURED}}


@pytest.fixture
def rows(monkeypatch):
    """Of a machine of two cores."""
    monkeypatch.setattr(ranks, "cores", lambda: 2)
    problem = Problem("", WIDTHS, "relu", 40)
    return ranks.rows_of("small", problem, {p: found(p) for p in ranks.MEASURED_RANKS},
                         [({"BackProp": 0.1}, {"BackProp": 0.2}), ({"BackProp": 0.2}, {"BackProp": 0.2})], 2)


def test_rows(rows):
    assert {row["method"] for row in rows} == set(COUNTS)
    assert {row["ranks"] for row in rows} == {1, 2, 3, *ranks.RANKS[2:]}
    for row in rows:
        assert row["predicted"] == pytest.approx(sum(row["parts"].values()))
        if row["ranks"] == 1 and row["method"] not in MODEL_ONLY:
            assert ranks.error(row) == pytest.approx(0), "the step on one rank is what the model is held to"
    assert json.loads(json.dumps(rows)) == rows
    assert {(row["method"], row["ranks"]) for row in rows if row["ratios"]} == {("BackProp", 2)}


def once(p, methods=MEASURED, slowness=1.0):
    """Return what p ranks might have measured in one job."""
    slow = PLAIN._replace(product=PLAIN.product / slowness)
    return {"constants": {method: [slow._asdict()] for method in methods},
            "seconds": {method: [slowness * 0.3 / p] for method in methods},
            "given": {method: found(p)["given"][method] for method in methods},
            "calls": {method: [0.01] for method in methods}}


def test_all_numbers_of_ranks_have_their_turn_in_each_round(monkeypatch):
    """A machine that is slow for a minute is so for all of them; what one method leaves behind is no other's."""
    jobs, slowness = [], [1.0, 10.0, 2.0]

    def measured(p, threads, order):
        assert order["constants"]
        jobs.append((p, *order["methods"]))
        return once(p, order["methods"], slowness[(len(jobs) - 1) // (4 * len(MEASURED))])

    monkeypatch.setattr(ranks, "on_ranks", measured)
    several = ranks.by_turns({}, 3, lambda text: None, "small")
    assert jobs == [(p, method) for p in (1, 2, 3, 4) for method in MEASURED] * 3
    for p, one in several.items():
        assert one["seconds"]["BackProp"] == pytest.approx([0.3 / p, 3 / p, 0.6 / p])
        assert [beside["product"] for beside in one["constants"]["BackProp"]] == [1e9, 1e8, 5e8]


def test_ranks_and_threads_are_measured_by_turns(monkeypatch):
    jobs, problem = [], Problem("", WIDTHS, "relu", 40)
    monkeypatch.setattr(ranks, "on_ranks", lambda p, threads, order: jobs.append((p, threads, order)) or once(p))
    pairs = ranks.in_pairs({"batch": 40}, problem, 2, lambda text: None, "small")
    assert [job[:2] for job in jobs] == [(2, 1), (1, 2)] * ranks.PAIRS
    methods = ["BackProp", "exact, parameter side"]
    assert all(order == {"batch": 40, "methods": methods, "constants": False} for *_, order in jobs)
    assert ranks.ratios(pairs, "BackProp") == [0.5] * ranks.PAIRS
    assert ranks.in_pairs({"batch": 40}, problem, 8, print, "small") == [], "none of 8 ranks is measured"
    assert ranks.beside(Problem("", (400, 300, 10), "relu", 40), 2)[1] == "exact, sample side"


def test_table_and_figure(rows, tmp_path):
    text = ranks.ranks_table(rows)
    for word in ("Measured, ms a step", "prediction for 4 ranks within 25%", "NOT met", "batch 16000", "textbook"):
        assert word in text
    assert "target: BackProp, 2 ranks ÷ one process with 2 threads ≤ 1.15: 0.75 (0.50–1.00), met" in text
    figure = ranks.ranks_figure(rows)
    left, right = figure.axes
    assert len(left.get_legend().get_texts()) == len(COUNTS)
    assert len(right.patches) == 12 * len(ranks.PARTS)
    lines = {line.get_label(): list(line.get_xdata()) for line in left.lines}
    assert lines["BackProp"] == [row["ranks"] for row in rows if row["method"] == "BackProp" and row["own cores"]]
    figure.savefig(tmp_path / "ranks.png")


# ---- the command


def parsed(*words):
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(("words", "message"), [
    (["race", "--batch", "10"], "--batch belongs to bench ranks, got bench race"), (["ranks", "--batch", "0"], "batch"),
    (["step", "--cluster", "tcp://10.0.0.1:8786"], "--cluster belongs to bench race, got bench step"),
    (["race", "--cluster", "nowhere"], "--cluster: expected an address")])
def test_options_of_one_benchmark_alone(words, message, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "needs", lambda: None)
    with pytest.raises(ValueError, match=message):
        bench.checked_options(parsed(*words, "--output", str(tmp_path)))


def test_without_mpi_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(ranks, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"mpi4py.* cannot be found; install with: .* pip install .*\[mpi\]'"):
        bench.run(parsed("ranks", "--output", str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_only_chains_are_counted(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "needs", lambda: None)
    with pytest.raises(ValueError, match=r"--network: bench ranks takes chains .*got convnet"):
        bench.run(parsed("ranks", "--network", "convnet", "--output", str(tmp_path)))
    assert bench.checked_options(parsed("ranks", "--all", "--output", str(tmp_path)))["network"] == ranks.CHAINS


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None or ranks.launcher() is None, reason="needs mpi4py")
def test_on_real_ranks(monkeypatch):
    monkeypatch.setattr(ranks, "MEASURED_RANKS", (1, 2))
    order = {"widths": WIDTHS, "activation": "relu", "batch": 40, "autoencoder": False, "constants": True,
             "methods": ["BackProp", "exact, sample side"]}
    for p in (1, 2):
        seen = ranks.on_ranks(p, 1, order)
        for method in order["methods"]:
            assert len(seen["seconds"][method]) == len(seen["constants"][method]) == ranks.MOST
            assert min(seen["seconds"][method]) > 0
            assert seen["given"][method] == ([0, 0] if p == 1 else list(work_of(method, WIDTHS, 40, p).given(p)))
            for constants in map(lambda one: Constants(**one), seen["constants"][method]):
                assert min(constants.product, constants.inverse, constants.memory) > 0
                assert (constants.alpha > 0) == (p > 1)
    with pytest.raises(RuntimeError, match="2 ranks ended with status"):
        ranks.on_ranks(2, 1, {**order, "methods": ["nonsense"]})
    assert "mpi4py" not in sys.modules, "this process needs none"
