"""`minilift bench race`: one network, the same batches and the same search for all, and verdicts that follow."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from minilift import datasets
from minilift.lab import race
from minilift.lab.contenders import Problem
from minilift.lab.race import Course, Run

DIGITS = datasets.digits()
TINY = Course("tiny", Problem("", (64, 8, 10), "relu", 0), (100,), (2.0, 1.0), 0.2, DIGITS)
MLP, AUTOENCODER, CONVNET = race.courses(None, ["mlp", "autoencoder", "convnet"])


def entrant(name="backprop, Nesterov"):
    return next(one for one in race.entrants() if one.name == name)


@pytest.mark.parametrize("course", [TINY, AUTOENCODER, CONVNET], ids=["mlp", "autoencoder", "convnet"])
def test_libraries_start_alike_and_see_the_same_batches(course):
    """One epoch of the same optimizer on the same gradients: PyTorch's parameters are minilift's."""
    pytest.importorskip("torch")
    names = ("backprop, Nesterov", "PyTorch SGD Nesterov")
    few = replace(course.data, X_train=course.data.X_train[:250], y_train=course.data.y_train[:250])
    ours, theirs = (entrant(name).trainer(course._replace(data=few), 0.01, 100, 3) for name in names)
    for trainer in (ours, theirs):
        trainer.epoch()
    for mine, other, start in zip(ours.parameters(), theirs.parameters(), course.network(3).parameters):
        assert np.allclose(mine, other, atol=1e-5)
        assert not np.allclose(mine, start, atol=1e-4)


@pytest.mark.parametrize("images", [(8, 8, 1), (12, 8, 3)])
def test_a_convnet_is_the_same_function_in_both_libraries(images):
    """Filters, and the map behind the last of them, whose inputs PyTorch has in another order; and back."""
    torch = pytest.importorskip("torch")
    problem = Problem("", (math.prod(images), 10), "relu", 0, images=images)
    net, theirs = problem.network(seed=4), race.torch_network(problem)
    maps = [(phi, race.window_of(phi, problem)) for phi in theirs if hasattr(phi, "weight")]
    for (phi, window), theta in zip(maps, net.parameters):
        race.to_torch(theta, phi, window)
    X = np.random.default_rng(0).random((5, *images), dtype=np.float32)
    z = theirs(torch.from_numpy(X).permute(0, 3, 1, 2)).detach().numpy()
    assert np.allclose(net.forward(X).z[net.depth], z, atol=1e-5)
    assert all(np.array_equal(race.from_torch(*one), theta) for one, theta in zip(maps, net.parameters))


def test_the_levels_of_an_autoencoder_lie_between_the_best_loss_and_that_of_the_mean_image():
    X = np.clip(AUTOENCODER.data.X_train.astype(float), 1e-12, 1 - 1e-12)
    loss = [-(X * np.log(p) + (1 - X) * np.log(1 - p)).sum() / len(X) for p in (X, np.broadcast_to(X.mean(0), X.shape))]
    shares = [(level - loss[0]) / (loss[1] - loss[0]) for level in AUTOENCODER.levels]
    assert shares == pytest.approx([0.3, 0.2], abs=0.005)


def test_an_autoencoder_is_judged_by_its_test_loss():
    course = AUTOENCODER._replace(budget=1e-3)
    judge, X = course.network(0), course.data.X_test
    found = race.run(course, entrant(), 0.01, 100, 0, judge, final=True)
    assert course.held_out == "test loss"
    assert found.held_out[-1] == pytest.approx(judge.loss(X, X), rel=1e-5)


def test_muon_is_not_asked_for_a_network_without_a_matrix_for_it():
    pytest.importorskip("torch")
    names = [[one.name for one in race.entrants(race.NAMES, course.problem)] for course in (MLP, CONVNET)]
    assert set(names[0]) - set(names[1]) <= {"PyTorch Muon"}
    assert "PyTorch Adam" in names[1]
    assert "PyTorch Muon" not in names[1]
    told = []
    assert race.race(CONVNET, ["PyTorch Muon"], lambda text, line=False: told.append(text)) == []
    assert told[0].endswith(": 0 entrants")


def test_a_run_ends_where_the_loss_is_reached_and_measures_what_it_says():
    judge = TINY.network(0)
    found = race.run(TINY._replace(levels=(2.2,), budget=30.0), entrant(), 0.1, 100, 0, judge, final=True)
    assert found.losses[-1] <= 2.2 < min(found.losses[:-1], default=math.inf)
    assert found.time_to(2.2) == found.seconds[-1]
    assert found.losses[-1] == pytest.approx(judge.loss(DIGITS.X_train, DIGITS.y_train), rel=1e-5)
    assert found.held_out[-1] == pytest.approx(judge.accuracy(DIGITS.X_test, DIGITS.y_test))


def test_a_run_that_diverges_is_over():
    found = race.run(TINY._replace(budget=30.0), entrant(), 1e4, 100, 0, TINY.network(0))
    assert found.losses[-1] > 10 * math.log(10)
    assert len(found.losses) == 1
    assert found.time_to(1.0) == math.inf


@pytest.mark.parametrize(("target", "rates"), [(0.01, 5), (0.3, 7), (1e-9, 8)])
def test_the_grid_is_extended_where_its_best_trial_is_at_an_end(target, rates):
    """At most three times: beyond 0.1, up to the rate after the best; towards 10⁻⁹ three rates are not enough."""
    def do(trials):
        return {trial: Run([1.0], [2 + abs(math.log(trial.rate / (target if trial.entrant == "one" else 0.01)))],
                           [math.nan]) for trial in trials}

    trials = race.search(TINY, ["one", "in the middle"], do)
    assert len({trial.rate for trial in trials if trial.entrant == "one"}) == rates
    assert len({trial.rate for trial in trials if trial.entrant != "one"}) == 5, "each grid is extended by itself"


def row(name, library, seconds, at_edge=False, held_out="test accuracy"):
    runs = [Run([0.5, s], [0.5, 0.009], [0.9, 0.95])._asdict() for s in seconds]
    return {"network": "n", "contender": name, "library": library, "rate": 0.1, "batch": 50, "trials": 10, "rates": [],
            "at edge": at_edge, "runs": runs, "held out": held_out, "levels": [0.5, 0.01], "budget": 3.0}


@pytest.mark.parametrize(("theirs", "says"), [
    ([1.0, 2.0, 4.0], "2 s ÷ 0.5 s = 4.0"), ([1.0, math.inf, math.inf], "more than 3 s ÷ 0.5 s = more than 6.0")])
def test_the_verdict_is_the_ratio_of_the_medians_of_the_best(theirs, says):
    rows = [row("slow", "minilift", [3.0] * 3), row("ours", "minilift", [0.4, 0.5, 0.6], at_edge=True),
            row("PyTorch SGD", "PyTorch", theirs)]
    text = race.race_table(rows)
    assert f"to 0.01: best of PyTorch ÷ best of minilift = {says}" in text
    assert text.index("ours") < text.index("slow")
    assert "* At an end of the grid" in text
    assert len(race.race_figure(rows).axes) == 2


@pytest.mark.parametrize(("library", "absent"), [("PyTorch", "minilift"), ("minilift", "PyTorch")])
def test_a_race_within_one_library_says_who_was_not_there(library, absent):
    """Whether PyTorch is installed has nothing to do with it."""
    text = race.race_table([row("one", library, [1.0] * 3), row("other", library, [2.0] * 3)])
    assert text.endswith(f"no entrant of {absent} took part.")
    assert "÷" not in text


@pytest.mark.parametrize(("held_out", "head", "value"), [
    ("test accuracy", "highest on the way", "0.95"), ("test loss", "lowest on the way", "0.9")])
def test_the_best_on_the_way_is_the_highest_accuracy_or_the_lowest_loss(held_out, head, value):
    cells = race.race_cells([row("ours", "minilift", [1.0] * 3, held_out=held_out)])
    assert cells[0][-2:] == [held_out, head]
    assert cells[1][-2:] == ["0.95", value]
    assert f"the {head.split()[0]} after any epoch" in " ".join(race.verdict([row("x", "minilift", [1.0] * 3,
                                                                                   held_out=held_out)]))


def test_a_file_without_labels_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", X_train=np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"--data: .* has no y_train; it holds X_train"):
        race.courses(tmp_path / "x.npz")


@pytest.mark.parametrize("changed", [{"X_train": np.full((20, 4), 255.0)}, {"y_train": np.full(20, -1)},
                                     {"y_test": np.zeros(9, int)}, {"X_test": np.zeros((20, 5))}], ids=str)
def test_a_file_of_wrong_data_is_refused(changed, tmp_path):
    arrays = {name: np.zeros((20, 4)) if name[0] == "X" else np.arange(20) % 2
              for name in ("X_train", "y_train", "X_test", "y_test")}
    np.savez(tmp_path / "x.npz", **arrays)
    assert race.courses(tmp_path / "x.npz")[0].problem.widths == (4, 1000, 250, 1000, 2)
    np.savez(tmp_path / "x.npz", **{**arrays, **changed})
    with pytest.raises(ValueError, match=f"--data: {next(iter(changed))} of .* must be"):
        race.courses(tmp_path / "x.npz")


def test_entrants_may_come_from_any_iterable():
    names = ["backprop, Adam", "cg3, Adam"]
    assert [one.name for one in race.entrants(iter(names))] == names


def test_a_convnet_wants_images(tmp_path):
    arrays = {name: np.zeros((20, 36)) if name[0] == "X" else np.arange(20) % 2
              for name in ("X_train", "y_train", "X_test", "y_test")}
    np.savez(tmp_path / "x.npz", **arrays)
    assert race.courses(tmp_path / "x.npz", ["autoencoder"])[0].problem.widths[::8] == (36, 36)
    for shape in ((20, 36), (20, 6, 6, 1)):
        np.savez(tmp_path / "x.npz", **{k: v.reshape(shape) if k[0] == "X" else v for k, v in arrays.items()})
        with pytest.raises(ValueError, match="--network convnet takes images"):
            race.courses(tmp_path / "x.npz", ["convnet"])


def test_a_worker_without_pytorch_is_told_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="PyTorch Adam needs PyTorch, which is missing there"):
        race.run_elsewhere(TINY, 1, race.Trial("PyTorch Adam", 0.01, 100))
