"""Fenchel lifted networks: the exact numbers of the authors' subproblems, LocoProp-M's step, descent."""

import numpy as np
import pytest
from laws import assert_close, norm
from test_matching import check_descent
from test_three_split import authors_network, problem, take_step

import minilift as ml
from minilift.methods.lifted.descend import descend
from minilift.methods.lifted.matching import MatchingEnergy

DATA = (np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32), np.arange(30) % 3)
SETTINGS = {"authors_rhod": 5, "small_rhod": 5, "three_alternations": 2}


def network(activation="relu", **more):
    return ml.mlp([5, 6, 4, 3], activation, seed=1, **more)


def stored_theta(numbers, key, suffix=""):
    return np.vstack([numbers[f"{key}W{suffix}"], numbers[f"{key}b{suffix}"]])


# ---- the authors' numbers

def authors_schedule(net, X, y, setting):
    """Yield the blocks of one call; in a they weigh the loss above by a further factor, `lbd_coef`."""
    lam, decay, weights = float(setting["lmbda"]), float(setting["rho"]), setting["lbd_coef"]
    energy = MatchingEnergy(net, y, 2 * lam, decay)
    anchors = ml.FenchelLifted(lam, tuple(map(float, setting["rhod"])), decay)
    thetas = [step for step in anchors.schedule(energy) if step[0] == "theta"]
    for _ in range(int(setting["alternations"])):
        yield "a", 2, MatchingEnergy(net, y, (1.0, 2 * lam / float(weights[2]))).best_a
        yield "a", 1, MatchingEnergy(net, y, (2 * lam / float(weights[1]), 2 * lam)).best_a
        yield from thetas


@pytest.mark.parametrize("name", SETTINGS)
def test_every_call_comes_to_the_exact_minimisers(oracle, name):
    """With the authors' weights, anchors, weight decay and alternations, from one call to the next."""
    # holds Fenchel a, Matching θ
    numbers, at = oracle("family/fenchel"), f"6-7-5-3/{name}"
    setting = {key.rpartition("/")[2]: value for key, value in numbers.items() if key.count("/") == 2}
    setting |= {key: numbers[f"{at}/{key}"] for key in ("rhod", "lbd_coef", "lmbda", "rho", "alternations")}
    net = authors_network((6, 7, 5, 3), numbers, f"{at}/start", ml.SoftmaxCrossEntropy("sum"))
    for call in range(1, SETTINGS[name] + 1):
        X, y = (np.array(numbers[f"{at}/{key}"][call - 1]) for key in ("X", "y"))
        v = descend(ml.FenchelLifted().start(net, net.propagate(X)), authors_schedule(net, X, y, setting))
        net.theta = v.theta
        exact = f"{at}/own_exact/call{call}"
        for l in (1, 2, 3):
            assert_close(f"θ_{l}", v.theta[l], stored_theta(numbers, f"{exact}/", l), 1e-10)
        for l in (1, 2):
            assert_close(f"a_{l}", v.a[l], numbers[f"{exact}/X{l}"], 1e-10)


def test_without_further_weights_the_method_itself_makes_these_calls(oracle):
    numbers, at = oracle("family/fenchel"), "6-7-5-3/small_rhod"
    net = authors_network((6, 7, 5, 3), numbers, f"{at}/start", ml.SoftmaxCrossEntropy())
    method = ml.FenchelLifted(anchor=0.5)
    for call in range(1, 6):
        take_step(net, method, numbers[f"{at}/X"][call - 1], numbers[f"{at}/y"][call - 1])
        exact = f"{at}/own_exact/call{call}"
        for l in (1, 2, 3):
            assert_close(f"θ_{l}", net.theta[l], stored_theta(numbers, f"{exact}/", l), 1e-10)
        terms = method.last_energy.terms(method.variables)
        stored = numbers[f"{exact}/energy_terms_after_each_block"][-1]
        assert [terms["loss"], terms["matching"]] == pytest.approx(stored[:2], rel=1e-10)


def test_no_result_of_the_authors_program_is_better(oracle):
    """Its L-BFGS-B stops within 3e-8 of the minimum of a block."""
    numbers, at = oracle("family/fenchel"), "6-7-5-3/small_rhod"
    net = authors_network((6, 7, 5, 3), numbers, f"{at}/start", ml.SoftmaxCrossEntropy("sum"))
    X, y = numbers[f"{at}/X"][0], numbers[f"{at}/y"][0]
    method = ml.FenchelLifted(anchor=0.5)
    energy, v = method.energy(net, X, y), method.start(net, net.propagate(X))
    for j, (block, l, update) in enumerate(method.schedule(energy), start=1):
        new, key = update(l, v), f"{at}/official/call1/sub{j}_{'X' if block == 'a' else 'W'}{l}"
        if block == "a":
            theirs, best = numbers[f"{key}/result_official"], numbers[f"{key}/exact"]
        else:
            theirs, best = (stored_theta(numbers, f"{key}/{name}_") for name in ("result_official", "exact"))
        assert_close(key, new, best, 1e-10)

        def objective(value):
            anchor = 0.5 * norm(value - net.theta[l]) ** 2 if block == "theta" else 0.0  # noqa: B023
            return energy.value(v.replaced(block, l, value)) + anchor  # noqa: B023

        assert -1e-12 <= objective(theirs) - objective(new) <= 3e-8
        v = v.replaced(block, l, theirs)


# ---- what must hold

@pytest.mark.parametrize("seed", range(10))
def test_the_step_in_theta_is_locoprop_ms(seed):
    """With a_l = σ(z_l) − γ g_l and 1/η = α/μ_l; on the last map with the loss's own targets."""
    # holds Matching θ
    net, X, y = problem(seed)
    state, gamma, alpha, mu = net.propagate(X), 0.05, 0.7, 1.6
    blocks = {}
    list(ml.methods.sweep(net, state, y, lambda block: blocks.setdefault(block.l, block).theta))
    energy, v = MatchingEnergy(net, y, mu), ml.FenchelLifted().start(net, state)
    for l in range(1, net.depth):
        loco = ml.LocoProp("M", gamma, "exact", eta=mu / alpha).propose(blocks[l])
        aimed = v.replaced("a", l, net.sigma[l].forward(state.z[l]) - gamma * blocks[l].g)
        assert_close(f"θ_{l}", v.theta[l] - energy.best_theta(l, aimed, alpha), loco, 1e-6)
    loss = net.loss_function
    D, full = net.depth, 1 / loss.weight(len(X))  # γ = 1/weight turns g into f(z) − y
    loco = ml.LocoProp("M", full, "exact", eta=1 / alpha).propose(blocks[D])
    assert_close("θ_D", v.theta[D] - energy.best_theta(D, v, alpha), loco, 1e-6)


@pytest.mark.parametrize("method", [ml.FenchelLifted(0.8, 0.6), ml.FenchelLifted(0.3, 2.0, weight_decay=0.2)], ids=repr)
def test_no_block_raises_the_energy(method):
    """100 problems; a block of activations is its argmin, too."""
    check_descent(method, lambda net, v, l: (2 * method.anchor, net.theta[l]),
                  range(0, 100, 2) if method.weight_decay else range(1, 100, 2))
    for seed in range(10):
        net, X, y = problem(seed, ["relu", "hard_tanh", "leaky_relu"])
        energy, v = method.energy(net, X, y), method.start(net, net.propagate(X))
        for l in range(net.depth - 1, 0, -1):
            new = v.replaced("a", l, energy.best_a(l, v))
            assert norm(energy.gradient("a", l, new)) <= 1e-10 * (1 + norm(energy.gradient("a", l, v)))
            v = new


def test_b_is_twice_the_matching_loss(rng):
    """B(v, u) = v² − 2uv + max(u, 0)², which the docstring promises."""
    net, X, y = problem(5, ["relu"])
    energy = ml.FenchelLifted(lam=0.7).energy(net, X, y)
    v = ml.FenchelLifted().start(net, net.propagate(X))
    v = v._replace(a=[X, *(abs(rng.standard_normal(a.shape)) for a in v.a[1:])])
    B = [v.a[l] ** 2 - 2 * v.a[l] * u + np.maximum(u, 0) ** 2
         for l in range(1, net.depth) for u in [energy.phi(l, v)]]
    assert energy.terms(v)["matching"] == pytest.approx(0.7 * sum(b.sum() for b in B), rel=1e-12)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "hard_tanh", "tanh"])
def test_mini_batches_train_and_nothing_is_kept(activation):
    method = ml.FenchelLifted(anchor=2.0, alternations=2)
    history = ml.fit(network(activation), DATA, method, ml.SGD(lr=1.0), epochs=6, batch_size=10, progress=False)
    assert history["train_loss"][-1] < 0.9 * history["train_loss"][0]
    assert np.isfinite(history["energy"][1:]).all()
    assert method.state_dict() == {}


def test_a_transfer_without_a_conjugate_is_refused_by_name():
    for method in (ml.FenchelLifted(), ml.LPOM(), ml.LiftedBregman()):
        with pytest.raises(ValueError, match=rf"{type(method).__name__}: expects transfers with a conjugate F\*, such "
                                             r"as ReLU; after map 1 stands Softplus\(\)"):
            method.direction(network("softplus"), *DATA)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"lam": 0}, "FenchelLifted: lam must be positive and finite, got 0"),
    ({"anchor": -1}, "FenchelLifted: anchor must be positive and finite, got -1"),
    ({"anchor": (1, 0)}, r"FenchelLifted: anchor\[1\] must be positive and finite, got 0"),
    ({"weight_decay": -1}, "FenchelLifted: weight_decay must be at least 0"),
    ({"alternations": 0}, "FenchelLifted: alternations must be at least 1, got 0"),
])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ml.FenchelLifted(**arguments)


def test_an_assigned_number_of_alternations_is_the_one_that_is_run():
    method, four, net = ml.FenchelLifted(), ml.FenchelLifted(alternations=4), network()
    method.alternations = 4
    assert method == four
    for assigned, made in zip(method.direction(net, *DATA)[1], four.direction(net, *DATA)[1]):
        assert np.array_equal(assigned, made)


def test_as_many_anchors_as_maps():
    with pytest.raises(ValueError, match="FenchelLifted: anchor must be a list of 3 numbers, got 2"):
        ml.FenchelLifted(anchor=(1.0, 2.0)).direction(network(), *DATA)


def test_settings():
    assert repr(ml.FenchelLifted(2.0, (1, 2, 3))) == "FenchelLifted(lam=2.0, anchor=(1.0, 2.0, 3.0))"
    assert ml.FenchelLifted() == ml.FenchelLifted(1, 10)
    assert ml.FenchelLifted() != ml.FenchelLifted(alternations=2)


@pytest.mark.parametrize("seed", range(4))
def test_in_float32_newtons_method_ends_too(seed):
    rng = np.random.default_rng(seed)
    net = ml.mlp([10, 10, 5], seed=seed, init=2.0)
    X, y = rng.standard_normal((100, 10)), rng.integers(0, 5, 100)
    d = ml.FenchelLifted(lam=0.1).direction(net, X, y)[1]
    assert all(one.dtype == np.float32 and np.isfinite(one).all() for one in d)


def test_a_long_run_in_float32_does_not_diverge():
    history = ml.fit(ml.mlp([2, 16, 2]), ml.datasets.moons(200), ml.FenchelLifted(lam=0.01, anchor=0.01), ml.SGD(1.0),
                     epochs=40, batch_size=None, progress=False)
    assert history.diverged is None
