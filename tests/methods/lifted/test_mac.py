"""MAC: blocks of the two-split energy that never raise it, in the values of a sample and in the weights of a unit."""

import numpy as np
import pytest
from laws import assert_close, assert_gradient, norm, random_case
from test_three_split import problem

import minilift as ml
from minilift.local.fits import fit_inputs, fit_values
from minilift.local.problems import LocalProblem, SquaredFit
from minilift.local.solvers import fletcher_reeves
from minilift.methods.lifted.descend import descend
from minilift.methods.lifted.two_split import TwoSplit


def apart(net, X, y, rng, mu=1.0):
    """Return an energy and variables that no forward pass gives."""
    energy = TwoSplit(net, y, mu)
    v = energy.start(net.forward(X))
    for l in range(1, net.depth):
        v = v.replaced("a", l, v.a[l] + 0.3 * rng.standard_normal(v.a[l].shape))
    return energy, v


# ---- the blocks

@pytest.mark.slow
def test_no_sweep_raises_the_energy(rng):
    """100 random problems, two sweeps of each; the prox terms count."""
    # holds MAC W, MAC a
    for seed in range(100):
        net, X, y = problem(seed)
        method = ml.MAC(mu=[0.1, 1.0, 10.0][seed // 3 % 3], alpha=0.1)
        energy, v = apart(net, X, y, rng, method.mu)
        for _ in range(2):
            before, start = energy.value(v), v
            v = descend(v, method.schedule(energy))
            moved = sum(norm(new - old) ** 2 for new, old in zip(v.theta[1:], start.theta[1:]))
            assert energy.value(v) + method.alpha / 2 * moved <= before * (1 + 1e-12), f"problem {seed}"


def test_no_block_raises_the_energy(rng):
    # holds MAC W, MAC a
    for seed in range(30):
        net, X, y = problem(seed)
        energy, v = apart(net, X, y, rng, 0.7)
        for block, l, update in ml.MAC(alpha=0.1).schedule(energy):
            after = v.replaced(block, l, update(l, v))
            prox = 0.05 * norm(after.theta[l] - v.theta[l]) ** 2
            assert energy.value(after) + prox <= energy.value(v) * (1 + 1e-12), f"{block}_{l} of problem {seed}"
            v = after


@pytest.mark.parametrize("loss", [ml.SquaredError(), ml.SoftmaxCrossEntropy(), ml.SigmoidCrossEntropy("sum")], ids=repr)
def test_many_steps_in_the_values_are_stationary(loss, rng):
    # holds MAC a
    net, X, y, _ = random_case(5, [4, 6, 5, 3], 8, ["tanh", "sigmoid"], loss)
    energy, v = apart(net, X, y, rng)
    for l in (2, 1):
        assert norm(energy.gradient("a", l, v)) > 0.1
        v = v.replaced("a", l, energy.lowered_a(l, v, steps=60))
        assert norm(energy.gradient("a", l, v)) < 1e-10


@pytest.mark.parametrize("loss", [ml.SquaredError(), ml.SoftmaxCrossEntropy(), ml.SigmoidCrossEntropy("sum")], ids=repr)
def test_the_last_maps_problem_is_solved(loss, rng):
    # holds MAC W
    net, X, y, _ = random_case(6, [4, 6, 3], 8, ["tanh"], loss)
    energy, v = apart(net, X, y, rng)
    new = energy.lowered_theta(2, v, 0.3, 1)
    gradient = energy.gradient("theta", 2, v.replaced("theta", 2, new)) + 0.3 * (new - v.theta[2])
    assert norm(gradient) < 1e-9 * norm(energy.gradient("theta", 2, v))


def test_the_weights_step_is_that_of_semi_implicit_backpropagation(rng):
    """With the target a_l for SIBP's σ(z_l) − η ∂J/∂a_l and λ = α/μ it is the same problem, W and b as one block."""
    # holds MAC W
    net, X, y, _ = random_case(7, [5, 4, 3], 9, ["tanh"], ml.SquaredError("sum"))
    eta, mu, steps = 0.2, 1.7, 4
    state = net.forward(X)
    signal = net.loss_function.gradient(state.z[2], y) @ net.theta[2][:-1].T
    sibp = ml.SemiImplicit(eta=eta, lam=0.5, steps=steps, joint=True)
    sibp.new_weights = False  # so that the signal is that of the old W
    _, directions = sibp.direction(net, X, y)
    energy = TwoSplit(net, y, mu)
    v = energy.start(state).replaced("a", 1, state.a[1] - eta * signal)
    assert_close("step", v.theta[1] - energy.lowered_theta(1, v, 0.5 * mu, steps), directions[0], 1e-12)


def test_a_hidden_units_weights_are_lowered_as_far_as_fletcher_reeves_goes(rng):
    net, X, y, _ = random_case(8, [4, 6, 3], 20, ["sigmoid"], ml.SquaredError())
    energy, v = apart(net, X, y, rng, 2.0)
    z = net.phi[1].forward(v.theta[1], X)
    gap = SquaredFit(net.sigma[1], z, net.sigma[1].forward(z) - v.a[1])
    many = fletcher_reeves(LocalProblem(net.phi[1].gram(X), z, gap, 0.1), 200).value
    assert_close("θ", energy.lowered_theta(1, v, 0.1, 200), v.theta[1] - many, 1e-12)
    new = v.theta[1] - many
    gradient = energy.gradient("theta", 1, v.replaced("theta", 1, new)) + 0.1 * (new - v.theta[1])
    assert norm(gradient) < 1e-4 * norm(energy.gradient("theta", 1, v))


# ---- Gauss–Newton in the input of a map

def test_of_a_quadratic_gap_one_step_is_the_closed_fit(rng):
    # holds MAC a
    for seed in range(10):
        net, X, y = problem(seed, ["identity"])
        energy, v = apart(net, X, y, rng)
        if net.depth < 3:
            continue
        prediction = v.a[1] - energy.layer(1, v).error
        closed = fit_values(net.phi[2], v.theta[2], v.a[2], prediction, 1.0)
        assert_close("a_1", energy.lowered_a(1, v, 1), closed, 1e-11)


def test_the_model_has_the_gradient_of_its_value_and_the_curvature_of_gauss_and_newton(rng):
    for loss in (ml.SquaredError(), ml.SoftmaxCrossEntropy(), ml.SigmoidCrossEntropy("sum")):
        net, X, y, _ = random_case(9, [4, 5, 3], 6, ["tanh"], loss)
        energy, v = apart(net, X, y, rng, 1.3)
        for l in (1, 2):
            u = rng.standard_normal((6, net.phi[l].n_out))
            assert_gradient(f"u_{l}", lambda x: energy.model(l, x, v).value.sum(), u,  # noqa: B023
                            energy.model(l, u, v).gradient, rng)
        tangent = rng.standard_normal((6, 3))
        assert_gradient("the loss' curvature", lambda x: (energy.model(2, x, v).gradient * tangent).sum(),  # noqa: B023
                        u, energy.model(2, u, v).curvature(tangent), rng)


def test_each_sample_has_a_step_length_of_its_own(rng):
    net, X, y, _ = random_case(10, [4, 6, 5, 3], 8, ["sigmoid", "tanh"], ml.SquaredError())
    net.theta = [None, *(6 * theta for theta in net.parameters)]
    energy, v = apart(net, X, y, rng, 0.05)
    together = energy.lowered_a(1, v, 3)
    for n in range(8):
        alone = TwoSplit(net, y[n:n + 1], 0.05)
        one = v._replace(a=[a[n:n + 1] for a in v.a])
        assert_close(f"sample {n}", together[n:n + 1], alone.lowered_a(1, one, 3), 1e-8)


def test_a_sample_for_which_no_step_is_found_stays():
    phi, theta = ml.Linear(2, 2), np.vstack([np.eye(2), np.zeros((1, 2))])

    def cliff(u):
        """A gap that says to go up, and is NaN there."""
        model = TwoSplit(ml.mlp([2, 2], loss=ml.SquaredError(), dtype=np.float64), 0 * u).model(1, u, None)
        return model._replace(value=np.where((u == 0).all(axis=1), 0.0, np.nan), gradient=u - 1)
    a = np.zeros((1, 2))
    assert np.array_equal(fit_inputs(phi, theta, cliff, a, a, 1.0, 2), a)


# ---- the method

DATA = (np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32), np.arange(30) % 3)


def network(**more):
    return ml.mlp([5, 6, 4, 3], "relu", seed=1, **more)


def test_mu_rises_from_call_to_call_up_to_its_largest():
    method, net = ml.MAC(mu=1.0, growth=1.5, mu_max=3.0), network()
    weights = []
    for _ in range(5):
        weights.append(method.weight)
        method.direction(net, *DATA)
    assert weights == [1.0, 1.5, 2.25, 3.0, 3.0]
    method.reset()
    assert method.weight == 1.0
    forward = ml.MAC(variables="forward")
    forward.direction(net, *DATA)
    assert forward.weight == 1.0


def test_a_mu_above_its_largest_does_not_sink():
    method = ml.MAC(mu=5.0, mu_max=3.0)
    method.direction(network(), *DATA)
    assert method.weight == 5.0


def test_as_many_steps_are_taken_as_it_is_told():
    net, method = network(), ml.MAC(a_steps=3, theta_steps=2)
    energy, v = method.energy(net, *DATA), method.start(net, net.propagate(DATA[0]))
    for l in (2, 1):
        v = v.replaced("a", l, energy.lowered_a(l, v, 3))
    for l in (1, 2, 3):
        v = v.replaced("theta", l, energy.lowered_theta(l, v, method.alpha, 2))
    for l, d in enumerate(method.direction(net, *DATA)[1], start=1):
        np.testing.assert_array_equal(d, net.theta[l] - v.theta[l])


def test_a_mu_that_is_assigned_is_that_of_the_next_call():
    method, net = ml.MAC(mu=1.0, growth=1.5), network()
    method.direction(net, *DATA)
    method.mu = 7.0
    assert method.weight == 7.0
    method.direction(net, *DATA)
    assert method.weight == 10.5
    with pytest.raises(ValueError, match="MAC: mu must be positive and finite, got -1"):
        method.mu = -1
    assert method.mu == 7.0


def test_fit_lowers_the_energy_while_mu_stays():
    history = ml.fit(network(), DATA, ml.MAC(growth=1.0), ml.SGD(lr=1.0), epochs=15, batch_size=None, progress=False)
    energy = np.array(history["energy"][1:])
    assert (np.diff(energy) <= 1e-5 * energy[:-1]).all()
    assert history["train_loss"][-1] < 0.8 * history["train_loss"][0]


def test_as_mu_rises_the_values_become_those_of_the_forward_pass():
    method, net, gaps = ml.MAC(growth=1.3, alpha=0.1), network(dtype=np.float64), []
    for _ in range(20):
        _, steps = method.direction(net, *DATA)
        net.theta = [None, *(theta - step for theta, step in zip(net.parameters, steps))]
        gaps.append((method.measure()["energy"] - method.last_energy.terms(method.variables)["loss"]) / method.weight)
    assert gaps[-1] < 0.02 * max(gaps)


def test_from_a_forward_pass_mini_batches_train():
    method = ml.MAC(alpha=3.0, variables="forward")
    history = ml.fit(network(), DATA, method, ml.SGD(lr=1.0), epochs=10, batch_size=10, progress=False)
    assert history["train_loss"][-1] < 0.9 * history["train_loss"][0]


def test_a_state_that_does_not_fit_is_refused():
    method, other = ml.MAC(), ml.MAC()
    method.direction(network(), *DATA)
    state = method.state_dict()
    other.load_state_dict(state)
    assert other.weight == method.weight
    other.check_state(network())
    with pytest.raises(ValueError, match="MAC: a/1 must be rows of shape"):
        other.check_state(ml.mlp([5, 7, 4, 3]))
    with pytest.raises(ValueError, match="MAC: expected a state with the key mu"):
        other.load_state_dict({"a/1": state["a/1"]})
    with pytest.raises(ValueError, match="MAC: mu must be positive and finite, got -1"):
        other.load_state_dict({**state, "mu": -1.0})
    with pytest.raises(ValueError, match="MAC: expected a state with the keys z/1"):
        other.load_state_dict({**state, "w": 0, "mu": 7.0})
    assert other.weight == method.weight  # what is refused changes nothing
    assert other.variables is not None


@pytest.mark.parametrize(("arguments", "message"), [
    ({"mu": 0}, "MAC: mu must be positive and finite, got 0"),
    ({"growth": 0.5}, "MAC: growth must be at least 1 and finite, got 0.5"),
    ({"mu_max": -1}, "MAC: mu_max must be positive and finite, got -1"),
    ({"alpha": 0}, "MAC: alpha must be positive and finite, got 0"),
    ({"theta_steps": 0}, "MAC: theta_steps must be at least 1, got 0"),
    ({"a_steps": 0}, "MAC: a_steps must be at least 1, got 0"),
    ({"variables": "held"}, "MAC: variables: unknown name 'held'"),
    ({"sweeps": 0}, "MAC: sweeps must be at least 1, got 0")])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ml.MAC(**arguments)


@pytest.mark.parametrize("layers", [[ml.Linear(5, 4), ml.BatchNorm(4), ml.ReLU(), ml.Linear(4, 3)],
                                    [ml.Named("x"), ml.Linear(5, 5), ml.Add("x"), ml.Linear(5, 3)]])
def test_other_networks_are_refused(layers):
    with pytest.raises(ValueError, match="MAC: expects"):
        ml.MAC().direction(ml.Network(layers), *DATA)
