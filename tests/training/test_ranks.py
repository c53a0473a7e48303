"""Several ranks that share the rows of each batch train the network that one process trains, and end together."""

import copy
import functools
import importlib.util
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranks import on_ranks
from transfers import ScaleShift

import minilift as ml
from minilift.cli import main
from minilift.layers.gram import Gram
from minilift.local.solvers import conjugate_gradients, damped_solve
from minilift.methods.backward import kronecker
from minilift.support import parallel
from minilift.support.parallel import Team, share_of
from minilift.training.ranks import (
    Ranks,
    Share,
    SharedMap,
    bounds,
    even_bounds,
    folded,
    folded_size,
    shared_square,
    unfolded,
)

RNG = np.random.default_rng(0)
X, Y = RNG.random((38, 12)), RNG.integers(0, 4, 38)
TARGETS = RNG.random((38, 4))

METHODS = {
    "backprop": ml.BackProp(), "exact": ml.ProxProp(tau_theta=0.5), "cg": ml.ProxProp(solver="cg3"),
    "implicit last": ml.ProxProp(tau_theta=0.5, last="implicit"),
    "degenerate": ml.ProxProp(tau_theta=1e9),  # where rounding asks for the careful solve
    "locoprop-s": ml.LocoProp("S", local_optimizer="sgd", local_lr=0.01),
    "locoprop-m": ml.LocoProp("M", local_optimizer="sgd", local_lr=0.01, eta=3.0),
    "rmsprop": ml.LocoProp("M"), "exact s": ml.LocoProp("S", steps="exact", eta=0.1),
    "exact m": ml.LocoProp("M", steps="exact", eta=0.1, gamma=1.0),
    "foof": ml.FOOF(0.1), "running foof": ml.FOOF(0.1, decay=0.9), "kfac": ml.KFAC(0.1),
    "running kfac": ml.KFAC(0.1, split="heuristic", decay=0.9), "kfac exact": ml.KFAC(0.1, split="exact"),
    "kfac empirical": ml.KFAC(0.1, "empirical"), "gauss-newton": ml.GaussNewton(1.0),
    "semi-implicit": ml.SemiImplicit(eta=0.1),
    "a function": lambda block: block.a.shape[0] * block.phi.adjoint_theta(block.a, block.g) / 100}


@pytest.fixture(autouse=True)
def no_grace(monkeypatch):
    """Let ranks of threads not wait for each other's error, nor long for each other."""
    monkeypatch.setattr(parallel, "GRACE", 0.0)
    monkeypatch.setattr(parallel, "PATIENCE", 0.5)


def plain():
    return ml.mlp([12, 20, 7, 4], "relu", seed=1, dtype=np.float64)


def normed():
    layers = [ml.Linear(12, 20), ml.BatchNorm(20), ml.ReLU(), ml.Dropout(0.3), ml.Linear(20, 4)]
    return ml.Network(layers, seed=2, dtype=np.float64, loss=ml.SoftmaxCrossEntropy("sum"))


def convolutional():
    layers = [ml.Conv2d(1, 3, 3), ml.BatchNorm(3), ml.ReLU(), ml.MaxPool2d(2), ml.Conv2d(3, 2, 3), ml.Tanh(),
              ml.Flatten(), ml.Linear(6, 4)]
    return ml.Network(layers, seed=2, dtype=np.float64, input_shape=(2, 6, 1), input_layout="flat")


def with_shared_map():
    cell = ml.Linear(9, 9)
    layers = [ml.Linear(12, 9), ml.ReLU(), ml.Named("x"), cell, ml.ReLU(), cell, ml.ReLU(), ml.Add("x"),
              ml.Linear(9, 4)]
    return ml.Network(layers, seed=2, dtype=np.float64, loss=ml.SquaredError())


def train(net, method, team=None, lr=0.1, targets=Y, **options):
    """Return the network and its history after one epoch, or as the options say."""
    options = {"epochs": 1, "batch_size": 10, "progress": False, "validation": 0.2, **options}
    return net, ml.fit(net, (X, targets), method, ml.SGD(lr=lr), team=team, **options)


def distance(net, other):
    """Return the largest difference of the parameters and running averages of two networks, relative to their size."""
    pairs = [(array, other.state_dict()[name]) for name, array in net.state_dict().items()]
    return max(abs(mine - theirs).max() / abs(mine).max() for mine, theirs in pairs if mine.size)


def assert_same(make, method, size, tolerance=1e-12, **options):
    """Assert that so many ranks train the network that one process trains, and hold the same bits."""
    alone, history = train(make(), method(), **options)
    ranks = on_ranks(size, lambda team: train(make(), method(), team, **options))
    assert distance(alone, ranks[0][0]) < tolerance
    assert all(distance(ranks[0][0], net) == 0 for net, _ in ranks)
    for column in ("train_loss", "val_loss", "batch_loss"):
        for _, other in ranks:
            np.testing.assert_allclose(other[column], history[column], rtol=tolerance)
            assert other[column][1:] == ranks[0][1][column][1:]
    return alone


# ---------------------------------------------------------------------------------- the same as one process

@pytest.mark.parametrize("name", METHODS)
def test_three_ranks_train_what_one_process_trains(name):
    """Of 30 samples in batches of 10, so that shares differ by one."""
    moved = assert_same(plain, lambda: copy.deepcopy(METHODS[name]), 3)
    assert distance(plain(), moved) > 1e-6, "nothing was trained"


def with_own_parameters():
    return ml.Network([ml.Linear(12, 20), ScaleShift(20), ml.ReLU(), ml.Linear(20, 4)], seed=2, dtype=np.float64)


@pytest.mark.parametrize("name", ["backprop", "exact"])
def test_a_users_transfer_has_the_gradient_of_all_ranks(name):
    assert_same(with_own_parameters, lambda: copy.deepcopy(METHODS[name]), 2)


@pytest.mark.parametrize("make", [normed, convolutional, with_shared_map])
@pytest.mark.parametrize("name", ["exact", "exact m", "running foof", "kfac empirical"])
def test_norms_dropout_convolutions_and_shared_maps(make, name):
    assert_same(make, lambda: copy.deepcopy(METHODS[name]), 2, targets=TARGETS if make is with_shared_map else Y)


@pytest.mark.parametrize("make", [normed, convolutional, with_shared_map])
@pytest.mark.parametrize("name", ["backprop", "exact", "rmsprop", "running foof", "kfac empirical"])
def test_ranks_without_a_row(make, name):
    """Batches of three for four ranks: one has no row."""
    targets = TARGETS if make is with_shared_map else Y
    assert_same(make, lambda: copy.deepcopy(METHODS[name]), 4, batch_size=3, targets=targets)


@pytest.mark.parametrize("make", [plain, convolutional, with_shared_map])
@pytest.mark.parametrize("name", ["running foof", "running kfac", "kfac exact"])
def test_running_factors_formed_in_float64(make, name, monkeypatch):
    monkeypatch.setattr(kronecker, "SEEN", 0.0)  # as if rounding were seen beside any damping
    targets = TARGETS if make is with_shared_map else Y
    assert_same(make, lambda: copy.deepcopy(METHODS[name]), 4, batch_size=3, targets=targets)


def test_the_whole_set_as_one_batch():
    assert_same(plain, ml.ProxProp, 3, batch_size=None, epochs=2)


def test_a_team_of_one_changes_nothing():
    alone, history = train(plain(), ml.ProxProp())
    net, other = train(plain(), ml.ProxProp(), Team.alone())
    assert distance(alone, net) == 0
    assert history["train_loss"] == other["train_loss"]


def test_float32_and_momentum():
    def run(team=None):
        net = ml.mlp([12, 20, 4], seed=1)
        ml.fit(net, (X, Y), ml.ProxProp(), ml.Nesterov(lr=0.1), epochs=2, batch_size=10, progress=False, team=team)
        return net

    ranks = on_ranks(2, run)
    assert distance(*ranks) == 0
    assert distance(run(), ranks[0]) < 1e-5


# --------------------------------------------------------------------------------------- sides, rows, verbs

@pytest.mark.parametrize("side", ["sample", "parameter"])
@pytest.mark.parametrize("rows", [2, 5, 40])
@pytest.mark.parametrize("n_out", [3, 12])
def test_both_sides_give_the_step_of_one_process(side, rows, n_out):
    """Whether the inverse meets the signal first or the rows, and where a rank has none."""
    a, g = RNG.random((rows, 8)), RNG.random((rows, n_out))
    solve = {"exact": damped_solve, "cg": functools.partial(conjugate_gradients, steps=3)}

    def steps(team):
        share = Share(team)
        own = share.take(rows)
        shared = SharedMap(ml.Linear(8, n_out), share, 1, 8)
        found = {name: solver(shared.gram(a[own], side), g[own], 2.0) for name, solver in solve.items()}
        return {name: (solution.value, solution.measure()) for name, solution in found.items()}

    expected = {name: solver(Gram(a), g, 2.0) for name, solver in solve.items()}
    for found in on_ranks(3, steps):
        for name, (value, residual) in found.items():
            np.testing.assert_allclose(value, expected[name].value, rtol=1e-11, atol=1e-14)
            np.testing.assert_allclose(residual, expected[name].residual, rtol=1e-9, atol=1e-13)


def test_the_side_is_the_one_that_needs_fewer_bytes():
    """And what a rank gives to `sum` and `gather` is what is counted: a sum takes its size twice, there and back."""
    def sent(team):
        share, sides = Share(team), {}
        shared = SharedMap(ml.Linear(8, 3), share, 1, 8)
        for rows in (6, 400):
            own = share.take(rows)
            a, g = np.random.default_rng(1).random((2, rows, 8))
            team.sent = {"sum": [0, 0], "gather": [0, 0]}
            gram = shared.gram(a[own])
            damped_solve(gram, g[own, :3], 1.0)
            sides[rows] = gram.side, team.sent, shared.bytes_of_sides(rows, 8)
        return sides

    ranks = on_ranks(2, sent)
    few, many = (sum(sides[rows][1]["gather"][0] for sides in ranks) for rows in (6, 400))
    (small, of_few, bytes_few), (large, of_many, bytes_many) = ranks[0][6], ranks[0][400]
    assert (small, large) == ("sample", "parameter")
    assert few - 8 * (4 * 4 + 2 * 6 - 6**2 // 2) + 2 * of_few["sum"][0] == bytes_few["sample"], "K counts as its half"
    assert many + 2 * (of_many["sum"][0] - 32) == bytes_many["parameter"], "beside 4 numbers of the rounding's estimate"


@pytest.mark.parametrize("name", [name for name, method in METHODS.items()
                                  if getattr(method, "by_rows", False) and name != "backprop"])
def test_what_is_said_of_the_sides_is_what_is_done(name, monkeypatch):
    """As `minilift train` says it; wide and small maps, so that both sides are taken."""
    taken, gram = {}, SharedMap.gram

    def noted(self, a, side=None, bias=True):
        found = gram(self, a, side, bias)
        taken.setdefault(self.theta_shape, found.side)
        return found

    def run(team):
        method = copy.deepcopy(METHODS[name])
        net = plain()
        said = Ranks(team, method).describe(net, 10)
        train(net, method, team)
        return net, said

    monkeypatch.setattr(SharedMap, "gram", noted)
    net, said = on_ranks(2, run)[0]
    sides = [re.search(r"on the (\w+) side, |gradients are summed", line)[1] for line in said]
    assert sides == [taken.get(net.theta[l].shape) for l in net.maps]


class Unit(ml.ProxProp):
    """A method of a user's, which minds a signal of zeros, and maybe all others."""

    by_rows = True

    def __init__(self, told=None):
        super().__init__()
        self.told = told

    def propose(self, block):
        if self.told is not None:
            raise LookupError(self.told)
        if not block.g.any():
            raise ArithmeticError("no signal")
        return super().propose(block)


def test_a_method_that_minds_a_signal_of_zeros_says_its_side():
    assert "solved on the sample side" in Ranks(Team.alone(), Unit()).describe(plain(), 10)[0]


def test_an_error_of_a_method_that_is_asked_for_its_side_is_its_own():
    """It is not taken for an answer, "gradients are summed"."""
    with pytest.raises(LookupError, match="no such row"):
        Ranks(Team.alone(), Unit("no such row")).describe(plain(), 10)
    with pytest.raises(ValueError, match="tau_theta: expected one value or one for each of the 3 maps, got 2"):
        Ranks(Team.alone(), ml.ProxProp(tau_theta=[1.0, 2.0])).describe(plain(), 10)


@given(st.integers(1, 600), st.integers(1, 9))
def test_a_symmetric_matrix_is_sent_by_little_more_than_its_half(size, parts):
    matrix = np.random.default_rng(size).integers(0, 9, (size, size))
    matrix += matrix.T
    for limits in (bounds(size), even_bounds(size, parts)):
        assert (limits[0], limits[-1]) == (0, size)
        numbers = folded(matrix, limits)
        assert len(numbers) == folded_size(limits)
        assert np.array_equal(unfolded(numbers, limits, np.empty_like(matrix)), matrix)
    assert folded_size(bounds(size)) <= size * (size + 256) / 2 or size < 256


@pytest.mark.parametrize("size", [2, 3, 5])
def test_each_rank_multiplies_a_part_of_the_square(size):
    a = RNG.random((7, 3))
    for square in on_ranks(size, lambda team: shared_square(team, a)):
        np.testing.assert_allclose(square, a @ a.T, rtol=1e-14)


def test_large_sums_go_in_pieces_and_take_the_array_only_if_told(monkeypatch):
    monkeypatch.setattr(parallel, "PIECE", 24)

    def summed(team):
        kept, given = np.arange(10.0).reshape(2, 5) + team.rank, np.arange(4.0)
        team.sum(given, overwrite=True)
        return team.sum(kept), kept[0, 0], given, team.sent["sum"]

    for rank, (total, first, taken, sent) in enumerate(on_ranks(2, summed)):
        assert np.array_equal(total, 2 * np.arange(10.0).reshape(2, 5) + 1)
        assert first == rank
        assert np.array_equal(taken, 2 * np.arange(4.0))
        assert sent == [112, 2], "bytes, and sums whatever their pieces"


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_shares_are_contiguous_and_even(rows, size):
    shares = [share_of(rows, rank, size) for rank in range(size)]
    assert [shares[0].start, shares[-1].stop] == [0, rows]
    assert all(share.stop == following.start for share, following in itertools.pairwise(shares))
    lengths = {share.stop - share.start for share in shares}
    assert max(lengths) - min(lengths) <= 1


def test_the_verbs():
    def say(team):
        rows = np.full((team.rank, 2), team.rank)
        return (team.sum(np.arange(3.0) * team.rank), team.gather(rows), team.sum(0.5),
                team.first("second" if team.rank == 1 else None), team.first(None))

    for total, rows, number, text, nothing in on_ranks(3, say):
        assert total.tolist() == [0, 3, 6]
        assert rows.tolist() == [[1, 1], [2, 2], [2, 2]]
        assert (number, text, nothing) == (1.5, "second", None)
    assert say(Team.alone())[3:] == (None, None)


@pytest.mark.parametrize(("change", "named"), [
    (lambda value: np.nextafter(value, 2), "b on rank 1"), (lambda value: value[:, None], "b on rank 1"),
    (lambda value: value.astype(np.float32), "b on rank 1"), (lambda value: value, None)])
def test_ranks_agree_to_the_bit(change, named):
    def compare(team):
        b = np.ones(3)
        team.agree("here", {"a": "text", "b": change(b) if team.rank == 1 else b})

    if named is None:
        on_ranks(3, compare)
    else:
        with pytest.raises(RuntimeError, match=f"^here: {named} of 3 is not, bit for bit, b on rank 0"):
            on_ranks(3, compare)


# ----------------------------------------------------------------------------------------- what goes wrong

@pytest.mark.parametrize(("options", "named"), [
    ({"seed": 1}, "seed"), ({"epochs": 2}, "epochs"), ({"batch_size": 5}, "batch_size"), ({"lr": 0.2}, "optimizer"),
    ({"targets": Y[::-1]}, "training data")])
def test_a_rank_with_another_run_is_found_before_training(options, named):
    with pytest.raises(RuntimeError, match=rf"^fit: {named} on rank 1 of 2"):
        on_ranks(2, lambda team: train(plain(), ml.BackProp(), team, **(options if team.rank else {})))


def test_a_rank_that_goes_astray_is_found_after_the_epoch():
    def run(team):
        def astray(row, net, history):  # callbacks are called by rank 0 alone
            net.theta[2][0, 0] += row["epoch"] == 1
        train(plain(), ml.BackProp(), team, callbacks=[astray], epochs=5)

    with pytest.raises(RuntimeError, match=r"^fit: after an epoch: theta_2 on rank 1 of 3"):
        on_ranks(3, run)


def test_an_exception_on_one_rank_ends_all():
    class Broken(ml.BackProp):
        def __init__(self, rank=0):
            self.rank = 0
            self.broken = rank == 2

        def propose(self, block):
            if self.broken and block.l == 1:
                raise LookupError("no such row")
            return super().propose(block)

    with pytest.raises(LookupError, match="no such row"):
        on_ranks(3, lambda team: train(plain(), Broken(team.rank), team))


class Unsolvable(ml.BackProp):
    """A method that cannot solve its problem of map 1 on some ranks."""

    by_rows = True

    def __init__(self, fails=False):
        self.fails = False
        self.on_this_rank = fails

    def propose(self, block):
        if self.on_this_rank and block.l == 1:
            raise ArithmeticError("not positive definite")
        return super().propose(block)


def test_an_arithmetic_error_on_one_rank_ends_all():
    """It is no divergence, which all would have: the others wait for the rank."""
    with pytest.raises(ArithmeticError, match="not positive definite"):
        on_ranks(3, lambda team: train(plain(), Unsolvable(team.rank == 1), team))


def test_an_arithmetic_error_on_all_ranks_is_a_divergence():
    found = on_ranks(3, lambda team: train(plain(), Unsolvable(True), team)[1].diverged)
    assert len(set(map(str, found))) == 1
    assert "not positive definite" in str(found[0])


def test_ranks_that_went_wrong_in_different_places_do_not_meet():
    assert on_ranks(2, lambda team: team.meet(team.rank)) == [False, False]
    assert on_ranks(2, lambda team: team.meet(1)) == [True, True]


@pytest.mark.parametrize("method", [ml.MAC(), ml.BCD(), ml.PredictiveCoding()], ids=repr)
def test_methods_that_cannot_share_a_batch_are_refused_by_name(method):
    with pytest.raises(ValueError, match=f"^fit: team: {re.escape(repr(method))} cannot be trained by several ranks"):
        on_ranks(2, lambda team: train(plain(), method, team, batch_size=None))


class Clipped(ml.BackProp):
    """A method of a user's that looks at the signals of the whole batch."""

    def propose(self, block):
        return block.phi.adjoint_theta(block.a, block.g / max(1.0, np.linalg.norm(block.g) / 0.05))


class Raw(ml.ProxProp):
    """Another, which changes less than the whole step."""

    def solve(self, block):
        return super().solve(block._replace(g=block.g / np.linalg.norm(block.g)))


class Counted(ml.ProxProp):
    """One that steps as its base class does, and counts."""

    columns, epochs = ("epochs",), 0

    def __init__(self, tau_theta=0.5):
        super().__init__(tau_theta)

    def start_epoch(self, epoch):
        self.epochs = epoch

    def measure(self):
        return {"epochs": self.epochs}


@pytest.mark.parametrize("method", [Clipped, Raw, Counted])
def test_what_a_users_subclass_looks_at_its_base_class_does_not_answer_for(method):
    assert_same(plain, method, 2)


class Said(Clipped):
    """One that says it."""

    by_rows = True


def test_a_subclass_that_steps_as_its_base_class_or_says_by_rows_keeps_its_rows():
    for method, by_rows in ((ml.KFAC(0.1), True), (Counted(), True), (Clipped(), False), (Raw(), False), (Said(), True),
                            (type("More", (Said,), {"propose": Clipped.propose})(), False)):
        assert Ranks(Team.alone(), method).by_rows == by_rows


class Cut(ml.GaussNewton):
    """A method with directions of its own, of which nobody has said how it takes rows."""

    def directions(self, net, state, y):
        return [np.clip(d, -1, 1) for d in super().directions(net, state, y)]


def test_a_users_directions_are_refused_unless_they_say_by_rows():
    with pytest.raises(ValueError, match=r"Cut\(damping=1.0\) cannot be trained by several ranks.*by_rows = True"):
        Ranks(Team.alone(), Cut(1.0))


class Noise(ml.Transfer):
    """A layer of a user's that draws random numbers."""

    def __init__(self, draw):
        self.draw = draw

    def apply(self, z, training=False, rng=None):
        return (z + self.draw(rng, z) if training else z), None

    def adjoint(self, z, a, aux, g):
        return g


def noisy(draw):
    return ml.Network([ml.Linear(12, 6), Noise(draw), ml.Tanh(), ml.Linear(6, 4)], dtype=np.float64)


@pytest.mark.parametrize("draw", [
    lambda rng, z: 0.1 * rng.standard_normal(z.shape), lambda rng, z: rng.random(z.shape),
    lambda rng, z: rng.random((len(z), 1)) * rng.standard_normal(), lambda rng, z: rng.standard_normal(len(z))[:, None],
    lambda rng, z: rng.standard_normal(z.shape, np.float32)])
def test_a_users_noise_on_ranks_is_that_of_one_process(draw):
    assert_same(lambda: noisy(draw), ml.BackProp, 3)


@pytest.mark.parametrize(("draw", "message"), [
    (lambda rng, z: rng.normal(0, 0.1, z.shape), r"rng\.normal.*random\(shape\) and standard_normal\(shape\)"),
    (lambda rng, z: rng.standard_normal(z.shape[1:]), r"first axis.*of a batch's rows, got \(6,\)")])
def test_noise_that_ranks_cannot_share_is_refused_by_name(draw, message):
    with pytest.raises((ValueError, AttributeError), match=message):
        on_ranks(2, lambda team: train(noisy(draw), ml.BackProp(), team))


def test_divergence_is_told_by_all():
    def run(team):
        return train(plain(), ml.BackProp(), team, lr=1e300, epochs=3)[1].diverged

    alone, *ranks = run(None), *on_ranks(3, run)
    assert alone is not None
    assert {str(found) for found in ranks} == {str(alone)}


def test_what_is_no_team_is_refused():
    with pytest.raises(TypeError, match=r"^fit: team must be of class Team, got 4"):
        train(plain(), ml.BackProp(), 4)


def test_without_mpi_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(RuntimeError, match=r"mpi4py cannot be imported .*; install with: .*mpi"):
        Team.mpi()


# ------------------------------------------------------------------------- reports, checkpoints, the end

def test_rank_0_reports_and_decides():
    called = []

    def run(team):
        def enough(row, net, history):
            called.append((team.rank, row["epoch"]))
            return row["epoch"] == 2
        return train(plain(), ml.BackProp(), team, callbacks=[enough], epochs=9)[1]

    histories = on_ranks(3, run)
    assert called == [(0, 0), (0, 1), (0, 2)]
    assert {history.stopped for history in histories} == {"stopped by callback enough in epoch 2"}


def test_early_stop_gives_back_the_best_parameters_on_all_ranks():
    assert_same(plain, ml.BackProp, 2, epochs=6, lr=3.0,
                early_stop=ml.EarlyStop(patience=2, monitor="val_loss", restore_best=True))


@pytest.mark.parametrize("sizes", [(2, 1, 3), (1, 3)])
def test_a_checkpoint_is_continued_by_another_number_of_ranks(sizes, tmp_path):
    """With momentum, local optimizers and norms, which are in it."""
    def run(team, epochs, **options):
        net = normed()
        ml.fit(net, (X, Y), ml.LocoProp("S"), ml.HeavyBall(lr=1.0), epochs=epochs, batch_size=10, progress=False,
               team=team, **options)
        return net

    checkpoint, expected = tmp_path / "run.npz", run(None, 2 * len(sizes))
    for k, size in enumerate(sizes, start=1):
        nets = on_ranks(size, lambda team, k=k: run(team, 2 * k, checkpoint=checkpoint, resume=True))
        assert os.listdir(tmp_path) == ["run.npz"]
    assert distance(expected, nets[0]) < 1e-12
    assert all(distance(nets[0], net) == 0 for net in nets)


# ------------------------------------------------------------------------------------------------ real MPI

needs_mpi = pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="needs mpi4py")
SCRIPT = """
    import os, signal, sys
    import numpy as np
    import minilift as ml

    team, what, checkpoint = ml.Team.mpi(), *sys.argv[1:]
    if what == "all leave" or what == "leaves" and team.rank == team.size - 1:
        sys.exit("no data")
    rng = np.random.default_rng(0)
    X, y = rng.random((38, 12)), rng.integers(0, 4, 38)
    net = ml.mlp([12, 20, 7, 4], "relu", seed=1, dtype=np.float64)

    steps_done, propose = [], ml.ProxProp.propose

    def doomed(self, block):
        steps_done.append(block.l)
        if len(steps_done) > 25 and team.rank == team.size - 1 and what == "raises":
            raise LookupError("no such row")
        if len(steps_done) > 25 and team.rank == team.size - 1 and what == "divides":
            return 1 / 0
        if len(steps_done) > 25 and team.rank == team.size - 1 and what == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return propose(self, block)

    ml.ProxProp.propose = doomed
    ml.fit(net, (X, y), ml.ProxProp(), ml.SGD(lr=0.1), epochs=4, batch_size=10, progress=False, team=team,
           checkpoint=checkpoint)
    if team.rank == team.size - 1 and what == "fails later":
        raise LookupError("no such row")
    if what == "fails later":
        team.sum(1.0)
    sums = " ".join(float(abs(theta).sum()).hex() for theta in net.parameters)
    sys.stdout.write(f"done {sums}\\n")
"""


def mpi(size, *command, cwd):
    """Run Python on so many ranks; return exit code, standard output and standard error."""
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(ml.__file__).parents[1])}
    result = subprocess.run([mpiexec, "-n", str(size), sys.executable, *command], cwd=cwd, env=environment, timeout=120,
                            capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


@needs_mpi
@pytest.mark.parametrize("size", [1, 2, 3])
def test_mpiexec(size, tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    code, out, err = mpi(size, "script.py", "works", "run.npz", cwd=tmp_path)
    assert code == 0, err
    lines = re.findall("^done (.*)", out, re.MULTILINE)
    assert len(lines) == size
    assert len(set(lines)) == 1, "the ranks hold other bits"
    net = plain()
    ml.fit(net, (X, Y), ml.ProxProp(), ml.SGD(lr=0.1), epochs=4, batch_size=10, progress=False)
    expected = [float(abs(theta).sum()) for theta in net.parameters]
    np.testing.assert_allclose([float.fromhex(word) for word in lines[0].split()], expected, rtol=1e-12)


@needs_mpi
@pytest.mark.parametrize("what", [pytest.param("raises", marks=pytest.mark.slow), "fails later", "is killed"])
def test_a_rank_that_fails_stops_all(what, tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    code, out, err = mpi(3, "script.py", what, "run.npz", cwd=tmp_path)  # which waits for two minutes and no longer
    assert code != 0
    assert "done" not in out
    if what == "is killed":
        assert f"{int(signal.SIGKILL)}" in out + err, "the launcher says by which signal"
    else:
        assert "rank 2 of 3 stops all ranks: LookupError: no such row" in err
    net = plain()  # the last checkpoint is whole, and one process continues it
    history = ml.fit(net, (X, Y), ml.ProxProp(), ml.SGD(lr=0.1), epochs=5, batch_size=10, progress=False,
                     resume=tmp_path / "run.npz")
    assert len(history) == 6


@needs_mpi
@pytest.mark.parametrize(("what", "told"), [
    ("leaves", "rank 1 of 2 stops all ranks: SystemExit: no data"),
    pytest.param("divides", "rank 1 of 2 stops all ranks: ZeroDivisionError: division by zero", marks=pytest.mark.slow),
    pytest.param("all leave", "no data", marks=pytest.mark.slow)])
def test_no_rank_is_waited_for_for_ever(what, told, tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    code, out, err = mpi(2, "script.py", what, "run.npz", cwd=tmp_path)
    assert code == 1
    assert "done" not in out
    assert err.count(told) == (2 if what == "all leave" else 1)
    assert err.count("stops all ranks") == (what != "all leave")


@needs_mpi
@pytest.mark.slow
def test_the_command_on_two_ranks(tmp_path):
    command = ["-c", "import sys; from minilift.cli import main; sys.exit(main())", "train", "--samples", "200",
               "--epochs", "2", "--quiet", "--layers", "64,16,10"]
    code, out, err = mpi(2, *command, "--checkpoint", "run.npz", cwd=tmp_path)
    assert code == 0, err
    assert out.count("2 processes") == out.count("test accuracy") == 1, "rank 0 alone prints"
    assert re.search(r"map 1: solved on the \w+ side, [\d,]+ kB a solve and rank", out)
    code, _, err = mpi(2, *command, "--method", "mac", cwd=tmp_path)
    assert code == 1
    assert err.count("rank 0 of 2 stops all ranks: ValueError: fit: team: MAC") == 1


# --------------------------------------------------------------------------------------------- the command

QUICK = ["train", "--samples", "100", "--layers", "64,8,10", "--quiet"]


def test_the_command_trains_and_continues(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for epochs in ("1", "2"):
        assert main([*QUICK, "--epochs", epochs, "--checkpoint", "run.npz", "--resume", "--output", "net.npz"]) == 0
    assert main([*QUICK, "--epochs", "2", "--output", "other.npz"]) == 0
    out = capsys.readouterr().out
    assert "digits (100 training samples), network 64-8-10 (relu), 2 epochs, batch 100, sgd" in out
    assert "proxprop, step size 1, 1 process\n" in out
    assert ml.load("net.npz") == ml.load("other.npz")


@pytest.mark.parametrize(("options", "message"), [
    (["--resume"], "--resume needs --checkpoint"), (["--method", "proxprob"], "--method: unknown name 'proxprob'"),
    (["--optimizer", "sgd:lr=1"], "lr is the step size"), (["--checkpoint", "no/run.npz"], "there is no folder 'no'"),
    (["--samples", "0"], "--samples must be at least 1"), (["--output", "no/net.npz"], "there is no folder no")])
def test_a_mistake_is_told_in_one_line(options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*QUICK, *options]) == 2
    err = capsys.readouterr().err
    assert err.startswith("minilift train: ")
    assert message in err
    assert err.count("\n") == 1
