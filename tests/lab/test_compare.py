"""The comparison is fair and does what it says: one grid, one start, the same batches, no look at the test set."""

import io
import itertools
import math
import re
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minilift as ml
from minilift.lab import compare
from minilift.lab.compare import METHODS, fill_in, make_task, parse_method, parse_methods
from minilift.lab.runs import CALM, FACTOR, TIE, Results, lowest_step, trusted_step, undecided_steps
from minilift.training.history import Divergence, History

STEPS = (0.1, 1.0)
RESULTS = Path(__file__).resolve().parent.parent.parent / "data" / "results" / "README.md"


def arguments(*argv):
    parser = ArgumentParser()
    compare.add_arguments(parser)
    made = parser.parse_args(argv)
    fill_in(made)
    return made


def task(*argv):
    """Return a small task, and what else the options say."""
    return make_task(arguments("--epochs", "4", "--samples", "200", "--layers", "64,16,10", *argv))


def run(given_task, *methods, steps=STEPS, seeds=(0,)):
    return compare.compare(given_task, [parse_method(method) for method in methods], steps, seeds, progress=False)


def searched(results, label):
    """Return {step size: losses of the search} of a method."""
    return results.searched(results.data[0], label)


def histories(results, label):
    """Return the histories of the full runs of a method."""
    return [record["history"] for record in results.chosen(results.data[0], label)]


def test_methods_of_one_name_are_held_apart(tmp_path):
    """Two files' own, and a file's and ours, which keeps its name and its look."""
    for file, step in (("mine", "0 * block.theta"), ("theirs", "block.phi.adjoint_theta(block.a, block.g)")):
        (tmp_path / f"{file}.py").write_text(f"def step(block):\n    return {step}\n\n\nbackprop = step\n")
    mine, theirs, backprop = (f"{tmp_path}/mine.py:step", f"{tmp_path}/theirs.py:step", f"{tmp_path}/mine.py:backprop")
    assert [one.label for one in parse_methods([mine])] == ["step"]
    contenders = parse_methods([mine, theirs, "backprop", backprop])
    assert [one.label for one in contenders] == [mine, theirs, "backprop", backprop]
    results = compare.compare(task(), contenders, STEPS, (0,), progress=False)
    moves = [histories(results, one.label)[0]["train_loss"][-1] < histories(results, one.label)[0]["train_loss"][0]
             for one in contenders]
    assert moves == [False, True, True, False]


# ---- fairness


def test_the_result_is_that_of_plain_fits(tmp_path):
    """Written out with `fit`: the search with both seeds for a quarter of the epochs, then the chosen step in full.

    The losses of the two step sizes are so close that both seeds are run with both.
    """
    data, label = ml.datasets.digits(), "proxprop:tau_theta=0.5"
    results = run(task(), label, seeds=(3, 4))

    def history_of(step, seed, epochs):
        net = ml.mlp([64, 16, 10], seed=seed)
        history = ml.fit(net, (data.X_train[:200], data.y_train[:200]), method=ml.ProxProp(tau_theta=0.5),
                         optimizer=ml.SGD(step), epochs=epochs, batch_size=100, seed=seed, progress=False)
        return history, net.accuracy(data.X_test, data.y_test)

    search = {step: [history_of(step, seed, 1)[0]["train_loss"][-1] for seed in (3, 4)] for step in STEPS}
    assert searched(results, label) == search
    records = results.chosen("digits", label)
    start = max(history_of(1.0, seed, 1)[0]["train_loss"][0] for seed in (3, 4))
    assert {record["step"] for record in records} == {trusted_step(search, start)}
    for seed, record in zip((3, 4), records, strict=True):
        expected, expected_accuracy = history_of(trusted_step(search, start), seed, 4)
        assert record["history"]["train_loss"] == expected["train_loss"]
        assert record["test_accuracy"] == expected_accuracy


def test_a_run_of_the_search_ends_where_the_loss_is_above_its_start():
    """And a full run does not."""
    given = replace(task(), epochs=12)
    results = run(given, "backprop", steps=(0.1, 5.0))
    calm, wild = (record["history"] for step in (0.1, 5.0) for record in results.search if record["step"] == step)
    assert len(calm) == 1 + 3
    assert len(wild) < 1 + 3
    start, *losses = wild["train_loss"]
    assert [loss > 1.05 * start for loss in losses] == [False] * (len(losses) - 1) + [True]
    (whole,) = histories(run(given, "backprop", steps=(5.0,)), "backprop")
    assert len(whole) == 1 + 12


def test_the_test_set_has_no_influence_on_training():
    given = task()
    X_test, y_test = np.full_like(given.data.X_test, 7), np.zeros_like(given.data.y_test)
    spoilt = replace(given, data=replace(given.data, X_test=X_test, y_test=y_test))
    one, other = run(given, "backprop"), run(spoilt, "backprop")
    assert searched(one, "backprop") == searched(other, "backprop")
    assert histories(one, "backprop")[0]["train_loss"] == histories(other, "backprop")[0]["train_loss"]
    assert one.records[0]["test_accuracy"] != other.records[0]["test_accuracy"]
    assert all(record["test_accuracy"] is None for record in one.search)


def test_all_methods_start_alike_and_see_the_same_batches(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import minilift as ml\n"
        "class Recorder(ml.BackProp):\n"
        "    def __init__(self, share):\n"
        "        self.share, self.seen = share, []\n"
        "    def propose(self, block):\n"
        "        if block.l == 1:\n"
        "            self.seen.append(block.a.copy())\n"
        "        return self.share * super().propose(block)\n"
        "standing, moving = Recorder(0), Recorder(1)\n")
    contenders = [parse_method(f"{tmp_path / 'mine.py'}:{name}") for name in ("standing", "moving")]
    records = compare.compare(task(), contenders, (1.0,), (0,), progress=False).records
    standing, moving = (contender.factory().seen for contender in contenders)
    assert len(standing) == (1 + 4) * 2  # a search of one epoch and a run of four, of two batches each
    for a, b in zip(standing, moving, strict=True):
        assert np.array_equal(a, b)
    records += run(task(), *METHODS, steps=(1e-3,)).records
    assert len({record["history"]["train_loss"][0] for record in records}) == 1


@pytest.mark.parametrize(("name", "cls", "searched"), [
    ("backprop", ml.BackProp, None), ("proxprop", ml.ProxProp, None), ("cg3", ml.ProxProp, None),
    ("locoprop-s", ml.LocoProp, "gamma"), ("locoprop-m", ml.LocoProp, "gamma"),
    ("foof", ml.FOOF, None), ("kfac", ml.KFAC, None), ("gauss-newton", ml.GaussNewton, None),
    ("semi-implicit", ml.SemiImplicit, "eta")])
def test_where_the_step_size_goes(name, cls, searched):
    """To the optimizer for a direction; to the method itself, with exactly its step taken, for whole steps."""
    method, optimizer = parse_method(name).make(0.25, ml.Nesterov)
    assert isinstance(method, cls)
    if searched is None:
        assert (type(optimizer), optimizer.lr) == (ml.Nesterov, 0.25)
    else:
        assert getattr(method, searched) == 0.25
        assert (type(optimizer), optimizer.lr) == (ml.SGD, 1.0)


def test_names_say_what_is_run():
    def made(spec):
        return parse_method(spec).make(1.0, ml.SGD)[0]
    for k in (1, 3, 5, 10):
        assert made(f"cg{k}").solver == f"cg{k}"
    assert made("proxprop").solver == "exact"
    assert (made("locoprop-s").variant, made("locoprop-m").variant) == ("S", "M")
    assert made("proxprop:tau_theta=0.05,last=implicit").tau_theta == 0.05
    assert made("locoprop-m:steps=exact,eta=2").steps == "exact"


def test_a_users_function_is_run_as_it_is(tmp_path):
    """BackProp written again by hand, with the column of ones formed, gives BackProp's numbers."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def gradient(block):\n"
        "    return np.hstack([block.a, np.ones_like(block.a[:, :1])]).T @ block.g\n")
    results = run(task(), f"{tmp_path / 'mine.py'}:gradient", "backprop")
    assert results.labels == ["gradient", "backprop"]
    for step in STEPS:
        own, ours = (searched(results, label)[step] for label in results.labels)
        assert own == pytest.approx(ours, rel=1e-4)


# ---- the choice of a step size

LOSSES = st.one_of(st.floats(1e-8, 1e8), st.just(math.inf), st.just(math.nan))
SEARCHES = st.integers(1, 3).flatmap(lambda seeds: st.dictionaries(
    st.sampled_from((0.01, 0.03, 0.1, 0.3, 1, 3, 10)), st.lists(LOSSES, min_size=seeds, max_size=seeds), min_size=1))


def worst(losses):
    """Return the highest loss of each step size, the smallest step size first."""
    return {step: max(math.inf if math.isnan(loss) else loss for loss in losses[step]) for step in sorted(losses)}


@pytest.mark.parametrize(("losses", "step"), [
    ({1: 2.0, 3: 1.0, 10: 2.0}, 3),  # the lowest
    ({1: 2.0, 3: 1.04, 10: 1.0, 30: 2.0}, 3),  # the same but for rounding: the smaller one
    ({1: 1.2, 3: 1.0, 10: math.inf}, 1),  # beside one that diverges, and a calmer one is as good up to a quarter
    ({1: 1.2, 3: 1.0, 10: 3.1}, 1),
    ({1: 1.3, 3: 1.0, 10: math.inf}, 3),  # the calmer one is not
    ({1: 2.0, 3: 1.0}, 3),  # nothing is known of the next larger one
    ({1: 1.0, 3: math.inf}, 1),
    ({1: math.inf, 3: math.nan}, 1),
    ({0.3: 0.0163, 1: 0.00354, 3: 0.189, 10: 1350.0}, 1),  # Semi-Implicit BP on one machine
    ({30: 2.1, 100: 0.47, 300: 0.28, 1000: math.inf}, 300),  # LocoProp-S, whose loss is flat to the left
])
def test_the_trusted_step_size(losses, step):
    assert trusted_step({size: [loss] for size, loss in losses.items()}) == step
    assert trusted_step({size: [loss, 1e-9] for size, loss in losses.items()}) == step, "the worst seed counts"


@pytest.mark.parametrize(("losses", "step"), [
    ({0.1: 2.28, 0.3: 2.2, 1: 2.5}, 0.3),  # within 5 %, but after a third of the way
    ({0.1: 2.204, 0.3: 2.2, 1: 2.5}, 0.1),
    ({0.1: 2.28, 0.3: 2.2, 1: 9.0}, 0.3),  # the calmer one has not come as far
    ({0.1: 2.22, 0.3: 2.2, 1: 9.0}, 0.1),  # this one has, but for a fifth
    ({0.1: 2.6, 0.3: 2.5, 1: 2.7}, 0.3),  # nobody is below the start
    ({0.1: math.inf, 0.3: math.nan}, 0.1),
    ({1: 2.0, 3: 1.04, 10: 1.0, 30: 2.0}, 3)])
def test_the_trusted_step_size_of_a_short_search_is_one_that_has_come_as_far(losses, step):
    """All losses are near 2.31, that before training, and within 5 % of each other."""
    assert trusted_step({size: [loss] for size, loss in losses.items()}, 2.31) == step


@given(SEARCHES, LOSSES)
def test_of_the_way_down_the_choice_has_come_as_far_as_the_lowest_loss(losses, start):
    assume(not math.isnan(start))
    found, chosen = worst(losses), trusted_step(losses, start)
    lowest = min(found.values())
    if math.isfinite(lowest):
        far = max(0.0, start - lowest)
        assert found[chosen] <= lowest + ((TIE - 1) + (CALM - 1)) * far * (1 + 1e-9)


def test_a_short_comparison_gives_backprop_the_step_size_that_trains():
    """In its first epoch it comes from 2.31 to 2.2 with 0.3, and to 2.3 with 0.1."""
    results = run(make_task(arguments("--epochs", "4")), "backprop", steps=(0.1, 0.3))
    assert max(itertools.chain(*searched(results, "backprop").values())) < TIE * 2.2
    assert results.best_step("digits", "backprop") == 0.3


@given(SEARCHES)
def test_the_trusted_step_size_is_beside_no_cliff_where_a_calmer_one_is_as_good(losses):
    found, order = worst(losses), sorted(losses)
    chosen = order.index(trusted_step(losses))
    assert found[order[chosen]] <= TIE * CALM * min(found.values())
    if math.isfinite(found[order[chosen]]) and 0 < chosen < len(order) - 1:
        at, before, after = (found[order[k]] for k in (chosen, chosen - 1, chosen + 1))
        assert after <= FACTOR * at or before > CALM * at


@given(SEARCHES, st.randoms(use_true_random=False))
def test_neither_the_order_of_the_steps_nor_that_of_the_seeds_counts(losses, random):
    shuffled = {step: random.sample(losses[step], len(losses[step]))
                for step in random.sample(list(losses), len(losses))}
    assert trusted_step(shuffled) == trusted_step(losses)


@given(SEARCHES, st.randoms(use_true_random=False))
def test_rounding_does_not_change_the_trusted_step_size(losses, random):
    """Unless the ratio of two losses is within rounding of what the rule compares it with."""
    found = [loss for loss in worst(losses).values() if math.isfinite(loss)]
    assume(all(abs(a / b / bound - 1) > 1e-4 for a, b in itertools.permutations(found, 2)
               for bound in (1, TIE, CALM, FACTOR)))
    shaken = {step: [loss * (1 + random.uniform(-1e-5, 1e-5)) for loss in losses[step]] for step in losses}
    assert trusted_step(shaken) == trusted_step(losses)


def after_what_matters(losses):
    """Return the losses of the first seed, and all where `undecided_steps` asks for them."""
    seeds = len(next(iter(losses.values())))
    seen = {step: found[:1] for step, found in losses.items()}
    while asked := undecided_steps(seen, seeds):
        assert all(len(seen[step]) < seeds for step in asked)
        seen.update({step: losses[step] for step in asked})
    return seen


@given(SEARCHES, st.floats(1e-8, math.inf))
def test_seeds_that_are_not_run_do_not_change_the_choice(losses, start):
    assert trusted_step(after_what_matters(losses), start) == trusted_step(losses, start)


@pytest.mark.parametrize(("losses", "tried"), [
    ({1: (9.0, 9.0), 3: (1.0, 2.0), 10: (6.4, 0.1)}, [3]),
    ({1: (9.0, 9.0), 3: (1.0, 2.0), 10: (6.2, 0.1)}, [3, 10]),  # as a neighbour it may make a cliff, or none
    ({1: (2.0, 2.1), 3: (1.0, math.inf), 10: (math.inf, 1.0)}, [1, 3]),  # the favourite fails
    ({1: (math.inf, 1.0), 3: (math.nan, 1.0)}, []),
    ({1: (1.0,), 3: (1.1,)}, [1, 3])])
def test_further_seeds_are_for_step_sizes_that_can_change_the_choice(losses, tried):
    seen = after_what_matters(losses)
    assert [step for step in losses if len(seen[step]) == len(losses[step])] == tried


def test_claims_of_a_few_percent_are_about_the_lowest_loss_of_the_first_seed():
    assert lowest_step({1: [1.0, 9.0], 3: [0.99, 9.0], 10: [math.inf, 0.1]}) == 3


# ---- what is trained


def test_the_default_task():
    made = make_task(arguments())
    assert (made.data.name, len(made.data.X_train), made.widths) == ("digits", 1437, [64, 128, 128, 10])
    assert made.activation == ["relu", "relu"]
    assert isinstance(made.loss, ml.SoftmaxCrossEntropy)


def test_an_autoencoder_is_locoprops_kind_of_network():
    made = make_task(arguments("--data", "curves:n_train=60,n_test=20", "--autoencoder", "--epochs", "2"))
    net = made.network(0)
    assert made.widths == [784, 200, 100, 30, 100, 200, 784]
    assert [repr(sigma) for sigma in net.sigma[1:]] == ["Tanh()", "Tanh()", "Identity()", "Tanh()", "Tanh()"]
    assert isinstance(net.loss_function, ml.SigmoidCrossEntropy)
    assert np.array_equal(made.data.y_train, made.data.X_train)
    results = run(made, "backprop", steps=(0.01,))
    (history,) = histories(results, "backprop")
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert results.records[0]["test_loss"] == pytest.approx(history["train_loss"][-1], rel=0.3)
    assert "test loss" in compare.summary(made, [parse_method("backprop")], results, 1.0)


@pytest.mark.parametrize("data", ["moons", "spirals:classes=4", "teacher", "digits"])
def test_layers_follow_the_data(data):
    made = task("--data", data, "--layers", {"moons": "2,8,2", "spirals:classes=4": "2,8,4", "teacher": "10,8,1"}.get(
        data, "64,8,10"))
    default = make_task(arguments("--data", data))
    assert default.widths[0] == made.widths[0]
    assert default.widths[-1] == made.widths[-1]
    assert default.widths[1:-1] == [128, 128]
    run(made, "backprop", steps=(0.01,))


def test_the_family_has_its_own_defaults_and_leaves_what_is_given():
    made = arguments("--methods", "family", "--epochs", "20", "--repeats", "3", "--samples", "2000")
    assert (made.epochs, made.repeats, made.samples) == (20, 3, 2000)
    assert made.steps == compare.FAMILY_OPTIONS["steps"] != arguments().steps == compare.STEPS


def test_samples_are_the_first_ones():
    made = make_task(arguments("--samples", "30"))
    assert np.array_equal(made.data.X_train, ml.datasets.digits().X_train[:30])
    assert len(made.data.X_test) == 360


# ---- a table of one's own


def table(tmp_path, **changes):
    """Return the options for a file of 60 + 20 samples with raw columns, some of its arrays changed."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3)) * [1.0, 1e-3, 2e4] + [0.0, 5.0, -3e4]
    y = 150 + 77 * (X[:, 0] + np.sin(X[:, 2] / 1e4)) + rng.standard_normal(80)
    arrays = {"X_train": X[:60], "y_train": y[:60], "X_test": X[60:], "y_test": y[60:], **changes}
    np.savez(tmp_path / "mine.npz", **arrays)
    return "--data", str(tmp_path / "mine.npz"), "--epochs", "4", "--batch", "10"


LABELS = {"y_train": np.arange(60) % 3, "y_test": np.arange(20) % 3}


def test_a_table_with_real_targets_is_a_regression(tmp_path):
    made = make_task(arguments(*table(tmp_path), "--standardize"))
    assert made.widths == [3, 128, 128, 1]
    assert isinstance(made.loss, ml.SquaredError)
    assert made.describe().startswith("mine (60 training samples, standardized), network 3-128-128-1 (relu), ")
    assert made.remarks() == ["A regression: the loss is half the squared error of the standardized targets, 0.5 for "
                              "their mean."]
    assert made.data.X_train.mean(axis=0) == pytest.approx(0, abs=1e-6)
    assert made.data.y_train.std() == pytest.approx(1)
    results = run(made, "backprop", "proxprop", steps=(0.1, 1.0))
    for method in ("backprop", "proxprop"):
        (trained,) = histories(results, method)
        assert trained["train_loss"][-1] < 0.3
    assert results.records[0]["test_loss"] < 0.5
    assert "test loss" in compare.summary(made, [parse_method("backprop")], results, 0.1)


def test_a_test_set_that_the_loss_does_not_take_is_told_before_training(tmp_path):
    """As one beyond [0, 1], to which the training set has been scaled."""
    options = table(tmp_path, X_train=np.linspace(0, 1, 180).reshape(60, 3), X_test=np.full((20, 3), 1.02), **LABELS)
    with pytest.raises(ValueError, match=r"^--autoencoder: the test set: .* expects targets in \[0, 1\], got 1\.02"):
        make_task(arguments(*options, "--autoencoder", "--layers", "3,2,3"))


def test_a_raw_table_is_taken_as_it_is_and_the_advice_is_given(tmp_path):
    made = make_task(arguments(*table(tmp_path, y_train=np.full((60, 2), [1.0, 3.0]) * np.arange(60)[:, None],
                                      y_test=np.ones((20, 2)))))
    assert made.widths[-1] == 2
    inputs, loss = made.remarks()
    assert inputs.startswith("The inputs reach from -")
    assert inputs.endswith("; with --standardize each has mean 0 and deviation 1.")
    assert "half the squared error of the targets, " in loss
    made = make_task(arguments("--data", "teacher"))
    assert made.remarks() == ["A regression: the loss is half the squared error of the targets, "
                              f"{made.data.y_train.var() / 2:.3g} for their mean."]
    assert make_task(arguments()).remarks() == []


def test_only_the_samples_that_are_trained_on_are_what_is_standardized(tmp_path):
    made = make_task(arguments(*table(tmp_path), "--standardize", "--samples", "30"))
    assert len(made.data.X_train) == 30
    assert made.data.X_train.mean(axis=0) == pytest.approx(0, abs=1e-6)


def test_labels_of_a_raw_table_stay_labels(tmp_path):
    made = make_task(arguments(*table(tmp_path, **LABELS), "--standardize"))
    assert made.widths == [3, 128, 128, 3]
    assert isinstance(made.loss, ml.SoftmaxCrossEntropy)
    assert made.remarks() == []


def test_grey_images_without_an_axis_of_channels_in_a_file_of_keras(tmp_path):
    data, images = ml.datasets.digits(), {}
    for part in ("train", "test"):
        images |= {f"x_{part}": (255 * getattr(data, f"X_{part}")).astype(np.uint8).reshape(-1, 8, 8),
                   f"y_{part}": getattr(data, f"y_{part}").astype(np.uint8)}
    np.savez(tmp_path / "mnist.npz", **images)
    for net, widths in (("mlp", [64, 128, 128, 10]), ("convnet", [1, 8, 16, 10]), ("rnn", [8, 64, 10])):
        made = make_task(arguments("--data", str(tmp_path / "mnist.npz"), "--net", net))
        assert made.widths == widths
        assert made.remarks() == []


def test_a_file_with_one_part_is_told_how_it_is_split(tmp_path):
    np.savez(tmp_path / "one.npz", X=np.zeros((20, 3)), y=np.zeros(20))
    with pytest.raises(ValueError, match=r"one.npz has no X_train; it holds X, y; minilift\.datasets\.split\(X, y"):
        make_task(arguments("--data", str(tmp_path / "one.npz")))


@pytest.mark.parametrize(("changes", "remark"), [
    ({"y_train": np.arange(60) % 3.0}, "The targets are whole numbers; of classes y must hold integers, as y.astype("),
    ({"y_train": np.eye(3)[np.arange(60) % 3], "y_test": np.eye(3)[np.arange(20) % 3]}, "as y.argmax(axis=1) has them"),
    ({"y_train": np.arange(60), "y_test": np.arange(20)}, "There are 60 classes in 60 samples; for a regression y must "
     "hold floats: y.astype(float)."),
    ({"y_train": np.arange(60) // 40, "y_test": np.arange(20) % 4}, "Of the classes of the test set 2 have no training "
     "sample: 2, 3. Are the samples sorted, or too few?")])
def test_what_may_not_be_meant_so_is_said(tmp_path, changes, remark):
    remarks = make_task(arguments(*table(tmp_path, **{**LABELS, **changes}), "--standardize")).remarks()
    assert any(remark in line for line in remarks), remarks


@pytest.mark.parametrize(("changes", "message"), [
    ({"X_train": np.full((60, 3), np.nan)}, "X_train of .*mine.npz holds 180 numbers that are NaN, infinite "
     r"or beyond 1e38, first \[0, 0\]: nan; leave those samples out"),
    ({"y_test": np.full(20, np.inf)}, r"y_test of .* holds 20 numbers that are .*, first \[0\]: inf; leave those"),
    ({"X_train": np.zeros(60), "X_test": np.zeros(20)}, r"X_train of .*float64 of shape \(60,\); X\[:, None\] has one"),
    ({"y_train": LABELS["y_train"].astype(str)}, r"got <U21 of shape \(60,\); np.unique\(y, return_inverse=True\)"),
    ({"y_train": LABELS["y_train"] > 1}, r"got bool of shape \(60,\); y.astype\(int\) has them"),
    ({"y_train": LABELS["y_train"][:, None]}, r"y\[:, 0\] has it; or real numbers, as y.astype\(float\) has them"),
    ({"y_train": LABELS["y_train"] - 1}, "whole numbers from 0 to 1000000, got -1 to 1; .* for a regression"),
    ({"y_train": LABELS["y_train"] * 10**7}, "y_train .* from 0 to 1000000, got 0 to 20000000; "),
    ({"X_test": np.pad([[np.nan]], ((0, 19), (0, 2)))}, r"X_test of .* holds a number that is NaN, .*\[0, 0\]: nan"),
    ({"y_train": np.arange(60.0), "y_test": np.arange(20.0).astype(str)}, "20 rows of real numbers, .*, as y_train is"),
    ({"y_test": np.ones((20, 2))}, "y_test of .* must have 1 targets a sample, as y_train, got 2"),
    ({"y_train": np.zeros(60, int), "y_test": np.arange(20)}, "the 60 training samples of mine have one and"),
    ({"y_train": np.full(60, 2.5)}, "have one and the same y, .*; are they sorted?"),
    ({"X_train": np.linspace(1, 1e300, 180).reshape(60, 3)}, r"X_train .* holds 179 .* 1e38, first \[0, 1\]: ")])
def test_what_is_wrong_with_a_table_is_told_with_what_to_do(tmp_path, changes, message):
    with pytest.raises((ValueError, TypeError), match=f"--data: .*{message}"):
        make_task(arguments(*table(tmp_path, **changes), "--standardize"))


def test_a_folder_in_place_of_a_table_is_told_as_such(tmp_path):
    (tmp_path / "mine.npz").mkdir()
    with pytest.raises(ValueError, match=r"--data: there is no file .*mine\.npz; expected an \.npz file"):
        make_task(arguments("--data", str(tmp_path / "mine.npz")))


@pytest.mark.parametrize("form", [lambda a: a.astype(a.dtype.newbyteorder(">")), np.asfortranarray,
                                  lambda a: a.astype(np.float64)])
def test_the_form_of_an_array_makes_no_difference(tmp_path, form):
    plain, other = (make_task(arguments(*table(tmp_path, **changes), "--standardize")) for changes in (
        {}, {"X_train": form(np.random.default_rng(0).standard_normal((80, 3))[:60] * [1.0, 1e-3, 2e4]
                             + [0.0, 5.0, -3e4])}))
    assert np.array_equal(plain.data.X_train, other.data.X_train)
    assert other.data.X_train.flags.c_contiguous


@pytest.mark.parametrize("more", [("--net", "convnet"), ("--net", "rnn"), ("--autoencoder",)])
def test_what_is_not_standardized_is_told(tmp_path, more):
    with pytest.raises(ValueError, match=r"^--standardize: is for tables, with --net mlp or resnet"):
        make_task(arguments("--standardize", *more))


@pytest.mark.parametrize("name", ["mine.csv", "data/mine", "mine.npz:n=3"])
def test_another_file_than_an_npz_is_told_how_it_becomes_one(name):
    with pytest.raises(ValueError, match=r"--data: expected a NAME or FILE\.npz, got '.*numpy\.savez\('mine\.npz'"):
        make_task(arguments("--data", name))


def test_the_widths_of_a_teacher_are_written_in_brackets():
    assert make_task(arguments("--data", "teacher:widths=(7,20,2),n=60")).widths == [7, 128, 128, 2]
    assert make_task(arguments("--data", "teacher:n=60,widths=[7,20,2]")).widths == [7, 128, 128, 2]


# ---- the level


def level_of(**losses):
    """Return the common level of methods with these losses after each epoch, one run a method."""
    records = [record_of(label, 1.0, 0, [4.0, *run]) for label, run in losses.items()]
    return compare.common_level(Results(records, records, trusted_step), "digits")


def test_the_level_is_a_tenth_of_the_loss_before_training_if_most_that_learn_come_there():
    level, how = level_of(a=[1.0, 0.4], b=[2.0, 0.39], c=[3.0, 1.0], d=[math.inf])
    assert level == pytest.approx(0.4)
    assert how == "The level is a tenth of the loss before training."


def test_where_noise_keeps_the_loss_up_the_level_is_what_two_thirds_of_the_methods_come_to():
    level, how = level_of(a=[3.2, 3.0], b=[2.9, 2.95], c=[0.3], d=[3.9, 3.5], e=[3.6])
    assert level == pytest.approx(3.5 + 0.05)
    assert how == ("The level is nine tenths of the way from 4, the loss before training, to 3.5: 4 of 5 methods come "
                   "there, 1 to a tenth of that loss.")


def test_a_level_that_is_said_to_be_reached_is_reached_in_the_table():
    """Of two seeds both reach it: the median of a time and never is never."""
    records = [record_of("backprop", 1.0, seed, [4.0, 3.5, last]) for seed, last in enumerate([1.0, 3.0])]
    results = Results(records, records, trusted_step)
    level, _ = compare.common_level(results, "digits")
    assert level == pytest.approx(3.1)
    table, _ = lines_of(results, level)
    assert table[2].endswith(" 1")


def test_numbers_that_overflow_are_no_warnings_of_numpys(tmp_path):
    """A table as it is makes methods diverge, which their runs tell."""
    options = table(tmp_path, y_train=np.arange(60) * 1e6)
    for method in ("backprop", "proxprop", "locoprop-s", "cg3", "semi-implicit"):
        made = make_task(arguments(*options, "--layers", "3,8,1"))
        compare.seconds_needed(made, parse_method(method), 1)


def test_of_methods_that_learn_nothing_the_level_is_a_tenth_of_the_loss_before_training():
    assert level_of(a=[4.0, 5.0], b=[math.inf])[0] == pytest.approx(0.4)


def test_a_method_learns_by_the_loss_before_its_own_runs():
    """Seeds begin at losses of their own: a run that never moves from a lower one has learned nothing."""
    records = [record_of("backprop", 1.0, seed, [first, first]) for seed, first in enumerate([5.0, 3.0, 3.0])]
    level, how = compare.common_level(Results(records, records, trusted_step), "digits")
    assert level == pytest.approx(0.3)
    assert how == "The level is a tenth of the loss before training."


# ---- tables


def history(losses, diverged=False):
    made = History()
    for epoch, loss in enumerate(losses):
        made.append({"epoch": epoch, "seconds": 0.5 * epoch, "train_loss": loss})
    if diverged:
        made.diverged = Divergence(len(losses), 1, None, "made up")
    return made


def results_of(search, runs, label="backprop"):
    """Return results with these losses of the search and these full runs, (losses, accuracy), at the chosen step."""
    tried = [record_of(label, step, seed, [4.0, loss]) for step, losses in search.items()
             for seed, loss in enumerate(losses)]
    step = trusted_step(search, 4.0)
    return Results([record_of(label, step, seed, *run) for seed, run in enumerate(runs)], tried, trusted_step)


def record_of(label, step, seed, losses, accuracy=None):
    return {"data": "digits", "label": label, "step": step, "seed": seed, "test_accuracy": accuracy, "test_loss": None,
            "history": history([loss for loss in losses if loss < math.inf], diverged=losses[-1] == math.inf)}


def lines_of(results, level=1.0):
    """Return each line of both tables, with single spaces."""
    contenders = [parse_method(label) for label in results.labels]
    tables = compare.summary(task(), contenders, results, level), compare.grid_table(task(), results)
    return [[" ".join(line.split()) for line in table.splitlines()] for table in tables]


def test_summary_gives_medians_ranges_and_the_time_to_a_loss():
    one = results_of({0.1: [2.0], 1.0: [1.0], 10.0: [1.5]},
                     [([4, 2, 1.0], 0.9), ([4, 3, 2.0], 0.8), ([4, 1, 0.5], 0.7)])
    other = results_of({0.1: [3.0], 1.0: [3.5], 10.0: [3.9]}, [([4, 3.0], 0.5)] * 3, label="locoprop-s")
    both = Results(one.records + other.records, one.search + other.search, trusted_step)
    table, grid = lines_of(both, level=2.0)
    assert table[0].endswith(" seconds to 2")
    assert table[2] == "backprop lr = 1 1 [0.5, 2] 0.8 [0.7, 0.9] 1 0.5"
    assert table[3] == "locoprop-s gamma = 0.1* 3 0.5 0.5 never"
    assert table[4].startswith("Medians over 3 seeds")
    assert "wider" in table[5]
    assert grid[4:6] == ["backprop 2 [1] 1.5", "locoprop-s [3] 3.5 3.9"]


def test_a_run_that_diverged_does_not_raise_the_accuracy():
    results = results_of({1.0: [1.0]}, [([4, 2.0], 0.9), ([4, 1.0], 0.95), ([4, math.inf], None)])
    table, _ = lines_of(results)
    assert "0.9 [-, 0.95]" in table[2]


def test_divergence_is_said():
    results = results_of({0.1: [2.0, 1.0], 1.0: [1.0, 3.0], 10.0: [1.0, 5.0], 100.0: [2.0, math.inf]},
                         [([4, 2.0], 0.9), ([4, math.inf], None), ([4, math.inf], None)])
    table, grid = lines_of(results)
    assert "diverged [2, diverged] - [-, 0.9]" in table[2], "a diverged run has the highest loss, the lowest accuracy"
    assert grid[4] == "backprop [2] 3 above div.", "the worst seed is shown"


def test_a_run_is_above_if_it_ends_above_its_own_start():
    """Seeds begin at losses of their own."""
    tried = [record_of("backprop", step, seed, losses) for step, runs in (
        (0.1, ([1.0, 0.9], [3.0, 2.0])), (1.0, ([1.0, 1.5], [3.0, 2.5]))) for seed, losses in enumerate(runs)]
    _, grid = lines_of(Results(tried[:2], tried, trusted_step))
    assert grid[4] == "backprop [2] above"


def test_a_loss_of_the_first_seed_alone_is_said_to_be_a_bound():
    results = results_of({0.1: [2.0], 1.0: [0.5, 0.4], 10.0: [4.0], 100.0: [4.5], 1000.0: [math.inf]},
                         [([4, 0.1], 0.9)] * 2)
    _, grid = lines_of(results)
    assert grid[1].startswith("(≥: of the first seed, as no other could change the choice; above: ")
    assert grid[4] == "backprop ≥2 [0.5] ≥4 above div."


def test_a_method_that_diverges_everywhere_is_shown():
    results = run(task(), "backprop", steps=(1e30, 1e35))
    assert searched(results, "backprop") == {1e30: [math.inf], 1e35: [math.inf]}
    table, grid = lines_of(results)
    assert table[2] == "backprop lr = 1e+30* diverged - 0 never"
    assert grid[4] == "backprop [div.] div."


def test_a_method_of_the_whole_set_is_told():
    told = "A step of bcd takes the whole training set, whatever --batch says."
    assert told in compare.summary(task(), [parse_method("bcd")], run(task(), "bcd"), 0.3).splitlines()
    assert told not in compare.summary(task(), [parse_method("backprop")], run(task(), "backprop"), 0.3)


@pytest.mark.parametrize(("optimizer", "methods", "told"), [
    ("adam", ["backprop", "locoprop-s"],
     ["locoprop-s proposes new parameters, taken as they are: adam is not applied."]),
    ("sgd:weight_decay=0.1", ["bcd", "mac"],
     ["bcd, mac propose new parameters, taken as they are: sgd:weight_decay=0.1 is not applied."]),
    ("adam", ["backprop", "cg3"], []), ("sgd", ["locoprop-s"], [])])
def test_a_method_that_goes_without_the_optimizer_is_told(optimizer, methods, told):
    given_task = task("--optimizer", optimizer, "--samples", "20", "--epochs", "1")
    lines = compare.summary(given_task, [parse_method(method) for method in methods],
                            run(given_task, *methods, steps=(0.1,)), 0.3).splitlines()
    assert [line for line in lines if "optimizer" in line or "applied" in line] == told


# ---- the figure


def drawn(given_task, results, level=1.0, contenders=None):
    """Return the figure of a comparison as it is saved."""
    figure = compare.figure(given_task, contenders or [parse_method(label) for label in results.labels], results, level)
    figure.savefig(io.BytesIO())
    return figure


def test_a_name_that_is_no_tex_and_no_unicode_is_drawn_as_it_is():
    """Of the user's data, and of the user's method."""
    name, shown, made = "a$x_{$b\udcfc", r"a\$x_{\$b\udcfc", task()
    made = replace(made, data=replace(made.data, name=name))
    records = [{**record_of(name, 1.0, 0, [4.0, 1.0]), "data": name}]
    own = parse_method("backprop")._replace(label=name)
    figure = drawn(made, Results(records, records, trusted_step), contenders=[own])
    assert figure.get_suptitle().startswith(f"{shown} (200 training samples), ")
    assert figure.legends[0].get_texts()[0].get_text() == f"{shown}, lr = 1"


def test_a_level_that_is_not_finite_is_not_drawn():
    """As a tenth of the loss before training may be, on large numbers."""
    made, results = task(), results_of({1.0: [1.0]}, [([4, 2.0], 0.9)])
    assert [len(drawn(made, results, level).axes[0].lines) for level in (1.0, math.inf, math.nan)] == [2, 1, 1]


# ---- the whole command


SHORT = ("--quiet", "--epochs", "1", "--samples", "100", "--steps", "1", "--repeats", "1", "--methods", "backprop",
         "--layers", "64,10")


def test_the_figure_is_saved_though_nobody_reads_the_tables(tmp_path, monkeypatch):
    """`minilift compare | head -1`."""
    def unread(text, *more, **options):
        if text.startswith("\n"):
            raise BrokenPipeError
    monkeypatch.setattr(compare, "print", unread, raising=False)
    with pytest.raises(BrokenPipeError):
        compare.run(arguments(*SHORT, "--output", str(tmp_path / "x.png")))
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_are_printed_though_the_figure_cannot_be_saved(tmp_path, monkeypatch, capsys):
    def full(figure, path):
        raise OSError("No space left on device")
    monkeypatch.setattr(compare.plots, "save", full)
    with pytest.raises(OSError, match="No space left"):
        compare.run(arguments(*SHORT, "--output", str(tmp_path / "x.png")))
    assert "\nbackprop  " in capsys.readouterr().out


def test_the_command_prints_tables_and_saves_the_figure(tmp_path, monkeypatch, capsys):
    from minilift import cli
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", "--epochs", "4", "--samples", "100", "--steps", "0.1,1", "--repeats", "2",
                     "--layers", "64,16,10"]) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith("figure: minilift-compare.png\n")
    assert (tmp_path / "minilift-compare.png").read_bytes().startswith(b"\x89PNG")
    for name in compare.DEFAULT_METHODS:
        assert captured.out.count(f"\n{name} ") == 2  # a row in either table
    assert "%|" not in captured.err  # no terminal, no bar: how long it takes, and a line when a method is done
    assert re.match(r"about \d+ seconds; then two tables and the figure minilift-compare\.png\n", captured.err)
    lines = re.findall(r"^(.+): (\S+): (\d+) runs? finished", captured.err, re.M)
    assert len(set(lines)) == len(lines)  # nothing is told twice
    stages = list(dict.fromkeys(stage for stage, _, _ in lines))
    assert stages[:2] == ["step sizes, the first seed", "step sizes in question, the other seeds, round 1"]
    assert stages[-1] == "full runs"
    finished = [line[1:] for line in lines]
    methods, both = list(compare.DEFAULT_METHODS), len(compare.DEFAULT_METHODS) * ["2"]
    assert finished[:6] == finished[-6:] == list(zip(methods, both, strict=True))  # two step sizes, then two seeds
    assert {name for name, _ in finished[6:-6]} == set(methods)  # the other seed of the search


def test_what_a_method_cannot_train_is_refused_before_the_others_run(monkeypatch, capsys):
    """Quiet or not."""
    from minilift import cli
    monkeypatch.setattr(compare, "compare", lambda *arguments: pytest.fail("hours of runs"))
    for quiet in ([], ["--quiet"]):
        assert cli.main(["compare", "--net", "resnet", "--methods", "backprop", "bcd", *quiet]) == 2
        assert "BCD: expects a chain of Linear maps" in capsys.readouterr().err


def test_a_figure_that_cannot_be_made_is_an_error_before_all_runs(monkeypatch, capsys):
    from matplotlib.figure import Figure

    from minilift import cli

    def without_latex(self, file, format):
        raise RuntimeError(f"'xelatex' not found, which .{format} needs")
    monkeypatch.setattr(Figure, "savefig", without_latex)
    monkeypatch.setattr(compare, "make_task", lambda arguments: pytest.fail("hours of runs"))
    assert cli.main(["compare", "--output", "x.pgf"]) == 2
    assert "--output: 'xelatex' not found, which .pgf needs" in capsys.readouterr().err


def test_quiet_means_no_bars_and_runs_are_repeatable(tmp_path, capsys):
    from minilift import cli
    argv = ["compare", "--quiet", "--epochs", "2", "--samples", "100", "--steps", "1", "--methods", "cg3",
            "--output", str(tmp_path / "x.svg")]
    tables = []
    for _ in range(2):
        assert cli.main(argv) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        tables.append(captured.out.split("step size  ")[-1])
    assert tables[0] == tables[1]


def table_in(text, head):
    """Return {first word: the rest} of the rows of a table below its head."""
    lines = text[text.index(f"\n{head} "):].splitlines()[3:]
    return dict(line.split(maxsplit=1) for line in lines[:len(compare.DEFAULT_METHODS)])


def numbers_in(row):
    return [float(number) for number in re.findall(r"\d[\d.e+-]*", row)]


@pytest.mark.slow
def test_the_default_is_a_small_piece_of_work_and_the_page_shows_what_a_user_sees(tmp_path, monkeypatch, capsys):
    """The work in epochs of the digits with 35,000 parameters, not in seconds: those are the machine's.

    On the page of results are the same step sizes as on every processor, and losses within its ranges.
    """
    from minilift import cli
    epochs = []

    def counted(net, data, **options):
        epochs.append(options["epochs"])
        assert sum(array.size for array in net.parameters) < 35_000
        assert len(data.X_train) == 1437
        return ml.fit(net, data, **options)
    monkeypatch.setattr(compare, "fit", counted)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", "--quiet"]) == 0
    assert 0 < sum(epochs) <= 1400
    assert Path(tmp_path / "minilift-compare.png").is_file()
    printed, shown = capsys.readouterr().out, comparison_on_the_page()
    assert printed.startswith(shown.split("\n\n")[0])
    ours, theirs = (table_in(text, "method") for text in (printed, shown))
    assert list(ours) == list(compare.DEFAULT_METHODS)
    for name in ours:
        step, median, *_ = numbers_in(ours[name])
        their_step, _, lowest, highest, *_ = numbers_in(theirs[name])
        assert step == their_step
        assert 0.95 * lowest <= median <= 1.05 * highest, "one of the second digit"
    assert all(row.count("[") == 1 for row in table_in(printed, "step size").values())


def comparison_on_the_page():
    """Return what the page of results shows of a comparison."""
    (shown,) = re.findall(r"^```text\n(digits .*?)^```$", RESULTS.read_text(encoding="utf-8"), re.M | re.S)
    return shown


def test_the_page_shows_both_tables_and_how_the_step_size_is_chosen():
    shown = comparison_on_the_page()
    assert shown.splitlines()[-2:] == list(compare.CHOICE)
    assert list(table_in(shown, "method")) == list(compare.DEFAULT_METHODS)
    assert all(row.count("[") == 1 for row in table_in(shown, "step size").values())


def test_the_setting_is_said_in_a_line():
    assert task("--optimizer", "nesterov").describe() == (
        "digits (200 training samples), network 64-16-10 (relu), 4 epochs, batch 100, nesterov")
    assert "network 64-10 (no hidden layer), 4 epochs" in task("--layers", "64,10").describe()


def test_a_convnet_is_made_for_the_images():
    made = make_task(arguments("--net", "convnet", "--samples", "200", "--epochs", "4"))
    net = made.network(0)
    assert made.describe().startswith("digits (200 training samples), convnet 1-8-16-10 (relu), ")
    assert [type(phi).__name__ for phi in net.phi[1:]] == ["Conv2d", "Conv2d", "Linear"]
    (history,) = histories(run(made, "proxprop", steps=(1.0,)), "proxprop")
    assert history["train_loss"][-1] < history["train_loss"][0]


@pytest.mark.parametrize(("net", "layers", "described"), [
    ("resnet", "64,16,16,16,10", "resnet 64-16-16-16-10 (relu)"), ("rnn", "8,16,10", "rnn 8-16-10 (tanh)")])
def test_graphs_are_trained_by_every_method(net, layers, described):
    made = make_task(arguments("--net", net, "--samples", "200", "--epochs", "4", "--layers", layers))
    assert described in made.describe()
    results = run(made, *compare.DEFAULT_METHODS, steps=(0.3,))
    for method in compare.DEFAULT_METHODS:
        (history,) = histories(results, method)
        assert history["train_loss"][-1] < history["train_loss"][0]


def test_a_recurrent_net_reads_the_rows_of_an_image_one_after_the_other():
    made, data = make_task(arguments("--net", "rnn")), ml.datasets.digits()
    assert made.widths == [8, 64, 10]
    assert made.network(0).shapes[0] == (8, 8)
    assert np.array_equal(made.data.X_train, data.X_train.reshape(-1, 8, 8))
    assert np.array_equal(made.data.X_test, data.X_test.reshape(-1, 8, 8))
    assert make_task(arguments("--net", "rnn", "--layers", "16,5,10")).network(0).shapes[0] == (4, 16)
    assert make_task(arguments("--net", "rnn", "--data", "teacher")).network(0).shapes[0] == (10, 1)


def test_the_default_resnet():
    made = make_task(arguments("--net", "resnet"))
    assert made.widths == [64] * 6 + [10]
    assert sum(isinstance(phi, ml.Add) for phi in made.network(0).phi) == 2


@pytest.mark.parametrize(("options", "message"), [
    (("--net", "resnet", "--layers", "64,16,16,10"), "at least 64,64,10 and an even number of maps, got 3"),
    (("--net", "resnet", "--layers", "64,10"), "--layers: expected at least 64,64,10"),
    (("--net", "resnet", "--layers", "63,8,10"), "--layers: digits has 64 inputs and 10 outputs, got 63 and 10"),
    (("--net", "rnn", "--layers", "7,16,10"), "--layers: the 64 features of digits do not divide into steps of 7"),
    (("--net", "rnn", "--layers", "8,16,16,10"), "--layers: expected three numbers for an rnn, such as 8,64,10, got 4"),
    (("--net", "rnn", "--layers", "8,10"), "--layers: expected at least 8,64,10"),
    (("--net", "rnn", "--layers", "0,16,10"), "--layers must be at least 1"),
    (("--net", "rnn", "--layers", "8,16,9"), "--layers: digits has 8 inputs at a step and 10 outputs, got 8 and 9"),
    (("--net", "rnn", "--autoencoder"), "--autoencoder: expected --net mlp, which has a code layer, got rnn"),
    (("--net", "resnet", "--autoencoder"), "--autoencoder: expected --net mlp, which has a code layer, got resnet"),
    (("--net", "convnet", "--autoencoder"), "--autoencoder: expected --net mlp, which has a code layer, got convnet"),
])
def test_what_a_resnet_and_a_recurrent_net_cannot_take(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_task(arguments(*options))


@pytest.mark.parametrize(("options", "message"), [
    (("--net", "convnet", "--data", "moons"), "moons does not hold"),
    (("--net", "convnet", "--data", "curves:n_train=20,n_test=20"), "curves has no labels for"),
    (("--net", "convnet", "--layers", "3,8,10"), "digits has 1 channels and 10 outputs, got 3 and 10"),
    (("--net", "convnet", "--layers", "1,10"), "expected at least 1,8,10"),
    (("--net", "convnt"), "did you mean 'convnet'"),
])
def test_what_a_convnet_cannot_take(options, message):
    with pytest.raises(ValueError, match=message):
        make_task(arguments(*options))


def test_one_thread_of_blas_unless_asked_for_more(tmp_path, monkeypatch):
    """More threads than free cores make small products a hundred times slower."""
    from threadpoolctl import threadpool_info

    from minilift import cli
    seen = []

    def look(*arguments, **options):
        seen.append({library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"})
        raise KeyboardInterrupt
    monkeypatch.setattr(compare, "fit", look)
    for threads in ([], ["--threads", "2"]):
        cli.main(["compare", "--quiet", "--output", str(tmp_path / "x.png"), *threads])
    assert seen == [{1}, {2}]


def test_a_file_without_one_name_is_told_how_it_is_written(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def step(block):\n    return 0\n")
    for more, says in {"": "expected FILE.py:NAME, got '.*mine.py'$", ":": r"unknown name '' \(known: step\)",
                       "::step": "did you mean '.*mine.py:step'", ":step:a=1": "without arguments after it"}.items():
        with pytest.raises(ValueError, match=f"^--methods: .*{says}"):
            parse_method(f"{path}{more}")
    for between in ":.":
        with pytest.raises(ValueError, match=r"expected a name or FILE\.py:NAME, .*; did you mean '.*mine\.py:step'"):
            parse_method(f"{path.with_suffix('')}{between}step")
