"""The comparison is fair and does what it says: one grid, one start, the same batches, no look at the test set."""

import math
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minilift as ml
from minilift.lab import compare
from minilift.lab.compare import METHODS, Result, make_task, parse_method
from minilift.training.history import Divergence, History

STEPS = (0.1, 1.0)


def arguments(*argv):
    parser = ArgumentParser()
    compare.add_arguments(parser)
    return parser.parse_args(argv)


def task(*argv):
    """Return a small task, and what else the options say."""
    return make_task(arguments("--epochs", "4", "--samples", "200", "--layers", "64,16,10", *argv))


def run(given_task, *methods, steps=STEPS, seeds=(0,)):
    return compare.compare(given_task, [parse_method(method) for method in methods], steps, seeds, progress=False)


# ---- fairness


def test_the_result_is_that_of_plain_fits(tmp_path):
    """Written out with `fit`: the search with the first seed for a quarter of the epochs, the best step with all."""
    data = ml.datasets.digits()
    (result,) = run(task(), "proxprop:tau_theta=0.5", seeds=(3, 4))

    def history_of(step, seed, epochs):
        net = ml.mlp([64, 16, 10], seed=seed)
        history = ml.fit(net, (data.X_train[:200], data.y_train[:200]), method=ml.ProxProp(tau_theta=0.5),
                         optimizer=ml.SGD(step), epochs=epochs, batch_size=100, seed=seed, progress=False)
        return history, net.accuracy(data.X_test, data.y_test)

    search = {step: history_of(step, 3, 1)[0]["train_loss"][-1] for step in STEPS}
    assert result.search == search
    assert result.step == min(search, key=search.get)
    for seed, history, accuracy in zip((3, 4), result.histories, result.test, strict=True):
        expected, expected_accuracy = history_of(result.step, seed, 4)
        assert history["train_loss"] == expected["train_loss"]
        assert accuracy == expected_accuracy


def test_the_test_set_has_no_influence_on_training():
    given = task()
    X_test, y_test = np.full_like(given.data.X_test, 7), np.zeros_like(given.data.y_test)
    spoilt = replace(given, data=replace(given.data, X_test=X_test, y_test=y_test))
    (one,), (other,) = run(given, "backprop"), run(spoilt, "backprop")
    assert one.search == other.search
    assert one.histories[0]["train_loss"] == other.histories[0]["train_loss"]
    assert one.test != other.test


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
    results = compare.compare(task(), contenders, (1.0,), (0,), progress=False)
    standing, moving = (contender.factory().seen for contender in contenders)
    assert len(standing) == (1 + 4) * 2  # a search of one epoch and a run of four, of two batches each
    for a, b in zip(standing, moving, strict=True):
        assert np.array_equal(a, b)
    results += run(task(), *METHODS, steps=(1e-3,))
    assert len({result.histories[0]["train_loss"][0] for result in results}) == 1


@pytest.mark.parametrize(("name", "cls", "searched"), [
    ("backprop", ml.BackProp, None), ("proxprop", ml.ProxProp, None), ("cg3", ml.ProxProp, None),
    ("locoprop-s", ml.LocoProp, "gamma"), ("locoprop-m", ml.LocoProp, "gamma"),
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
    own, ours = run(task(), f"{tmp_path / 'mine.py'}:gradient", "backprop")
    assert own.contender.label == "gradient"
    for step in STEPS:
        assert own.search[step] == pytest.approx(ours.search[step], rel=1e-4)


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
    (result,) = run(made, "backprop", steps=(0.01,))
    history = result.histories[0]
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert result.test[0] == pytest.approx(history["train_loss"][-1], rel=0.3)
    assert "test loss" in compare.summary(made, [result], 1.0)


@pytest.mark.parametrize("data", ["moons", "spirals:classes=4", "teacher", "digits"])
def test_layers_follow_the_data(data):
    made = task("--data", data, "--layers", {"moons": "2,8,2", "spirals:classes=4": "2,8,4", "teacher": "10,8,1"}.get(
        data, "64,8,10"))
    default = make_task(arguments("--data", data))
    assert default.widths[0] == made.widths[0]
    assert default.widths[-1] == made.widths[-1]
    assert default.widths[1:-1] == [128, 128]
    run(made, "backprop", steps=(0.01,))


def test_samples_are_the_first_ones():
    made = make_task(arguments("--samples", "30"))
    assert np.array_equal(made.data.X_train, ml.datasets.digits().X_train[:30])
    assert len(made.data.X_test) == 360


# ---- tables


def history(losses, diverged=False):
    made = History()
    for epoch, loss in enumerate(losses):
        made.append({"epoch": epoch, "seconds": 0.5 * epoch, "train_loss": loss})
    if diverged:
        made.diverged = Divergence(len(losses), 1, None, "made up")
    return made


def result_of(histories, test, search, step=1.0, label="backprop"):
    return Result(parse_method(label), search, step, histories, test)


def test_summary_gives_medians_ranges_and_the_time_to_a_loss():
    results = [result_of([history([4, 2, 1.0]), history([4, 3, 2.0]), history([4, 1, 0.5])], [0.9, 0.8, 0.7],
                         {0.1: 2.0, 1.0: 1.0, 10.0: math.inf}),
               result_of([history([4, 3.0])] * 3, [0.5] * 3, {0.1: 3.0, 1.0: 3.5}, step=0.1, label="locoprop-s")]
    table = compare.summary(task(), results, level=2.0).splitlines()
    assert table[0].split("  ")[-1].strip() == "seconds to 2"
    cells = " ".join(table[2].split())
    assert cells == "backprop lr = 1 1 [0.5, 2] 0.8 [0.7, 0.9] 1 0.5"
    assert " ".join(table[3].split()) == "locoprop-s gamma = 0.1* 3 [3, 3] 0.5 [0.5, 0.5] 0.5 never"
    assert "Medians over 3 seeds" in table[4]
    assert "a wider grid" in table[5]


def test_divergence_is_said():
    runs = [history([4, 2.0]), history([4], diverged=True), history([4], diverged=True)]
    result = result_of(runs, [0.9, math.nan, math.nan], {0.1: math.inf, 1.0: 2.0, 10.0: math.inf})
    assert "diverged [2, diverged]" in compare.summary(task(), [result], 1.0)
    grid = compare.grid_table([result], 1, 0)
    assert grid.splitlines()[-1].split() == ["backprop", "div.", "2", "div."]


def test_a_method_that_diverges_everywhere_is_shown():
    (result,) = run(task(), "backprop", steps=(1e30, 1e35))
    assert result.search == {1e30: math.inf, 1e35: math.inf}
    assert compare.summary(task(), [result], 1.0).splitlines()[2].split() == [
        "backprop", "lr", "=", "1e+30*", "diverged", "-", "0", "never"]


# ---- the whole command


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
        assert f"\r{name.ljust(13)}: 100%" in captured.err  # a progress bar


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


@pytest.mark.slow
def test_the_default_is_a_small_piece_of_work(tmp_path, monkeypatch):
    """Counted in epochs of the digits with 35,000 parameters, not in seconds: those are the machine's."""
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
    assert 0 < sum(epochs) <= 1000
    assert Path(tmp_path / "minilift-compare.png").is_file()


def test_the_setting_is_said_in_a_line():
    assert task("--optimizer", "nesterov").describe() == (
        "digits (200 training samples), network 64-16-10 (relu), 4 epochs, batch 100, nesterov")


def test_a_convnet_is_made_for_the_images():
    made = make_task(arguments("--net", "convnet", "--samples", "200", "--epochs", "4"))
    net = made.network(0)
    assert made.describe().startswith("digits (200 training samples), convnet 1-8-16-10 (relu), ")
    assert [type(phi).__name__ for phi in net.phi[1:]] == ["Conv2d", "Conv2d", "Linear"]
    (result,) = run(made, "proxprop", steps=(1.0,))
    history = result.histories[0]
    assert history["train_loss"][-1] < history["train_loss"][0]


@pytest.mark.parametrize(("options", "message"), [
    (("--net", "convnet", "--data", "moons"), "moons does not hold"),
    (("--net", "convnet", "--data", "curves:n_train=20,n_test=20"), "curves has no labels for"),
    (("--net", "convnet", "--layers", "3,8,10"), "digits has 1 channels and 10 outputs, got 3 and 10"),
    (("--net", "convnet", "--layers", "1,10"), "at least one convolution, such as 1,8,10"),
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
