"""LocoProp: the authors' numbers, the identities of the paper, and what it refuses."""

import itertools

import numpy as np
import pytest
from conftest import read_only
from hypothesis import given
from hypothesis import strategies as st
from laws import assert_close, cases, central_difference, norm, relative, stacked

import minilift as ml
from minilift.course.exercises.local_losses import spectral_filter
from minilift.layers.gram import Gram
from minilift.local.problems import LocalProblem, MatchingLoss
from minilift.local.solvers import gradient_steps, newton
from minilift.methods import sweep
from minilift.methods.backward.locoprop import decay_scales

EPS = np.finfo(float).eps
WIDTHS = [12, 10, 6, 3, 6, 10, 12]
RATES = {"sgd": ("0.01", "0.0001"), "rmsprop": ("0.001", "1e-05")}
TRANSFERS = (ml.Identity(), ml.ReLU(), ml.LeakyReLU(0.1), ml.Tanh(), ml.Sigmoid(), ml.Softplus())


@pytest.fixture(scope="module")
def numbers(oracle):
    """Return the authors' numbers."""
    return oracle("locoprop")


def stored_theta(numbers, key):
    """Return the stored parameters [None, θ_1, …, θ_6]."""
    return [None] + [np.vstack([numbers[f"{key}/W{l}"], numbers[f"{key}/b{l}"]]) for l in range(1, 7)]


def autoencoder(numbers):
    """Return the authors' network at its initial parameters."""
    net = ml.mlp(WIDTHS, activation=["tanh", "tanh", "identity", "tanh", "tanh"], loss=ml.SigmoidCrossEntropy(),
                 dtype=np.float64)
    net.theta = stored_theta(numbers, "init")
    return net


class OfSteps(ml.Map):
    """A map of a user's, the same one at each of T time steps: (N, T, n_in) → (N, T, n_out)."""

    def __init__(self, steps, n_in, n_out):
        self.steps, self.n_in, self.n_out = steps, n_in, n_out

    @property
    def theta_shape(self):
        return (self.n_in + 1, self.n_out)

    def initial_theta(self, rng):
        return rng.uniform(-0.5, 0.5, self.theta_shape)

    def output_shape(self, input_shape):
        return (self.steps, self.n_out)

    def forward(self, theta, a):
        return a @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T

    def adjoint_theta(self, a, g):
        return np.vstack([np.einsum("nti,ntj->ij", a, g), g.sum(axis=(0, 1))])

    def rows(self, a):
        return a.reshape(-1, self.n_in)

    def columns(self, z):
        return z.reshape(-1, self.n_out)


@pytest.mark.parametrize("variant", ["M", "S"])
@pytest.mark.parametrize("optimizer", [ml.SGD(1.0), "rmsprop"], ids=str)
def test_a_map_of_sequences_is_fitted_as_the_same_map_of_vectors(variant, optimizer):
    sequences = ml.Network([OfSteps(5, 3, 4), ml.Tanh(), ml.Flatten(), ml.Linear(20, 2)], input_shape=(5, 3),
                           dtype=np.float64)
    X, y = np.random.default_rng(0).standard_normal((7, 5, 3)), np.arange(7) % 2
    method = ml.LocoProp(variant, gamma=1.0, steps=3, local_lr=0.01, local_optimizer=optimizer)
    block = blocks(sequences, X, y)[-1]
    columns = block.phi.columns
    flat = block._replace(phi=ml.Linear(3, 4), a=block.phi.rows(block.a),
                          z=columns(block.z), g=columns(block.g), g_a=columns(block.g_a))
    d = method.propose(block)
    method.reset()
    assert_close("step", d, method.propose(flat), 1e-13)


def blocks(net, X, y):
    """Return the `Block` of every map, last first."""
    found = []
    X, y = net.checked_batch(X, y)
    list(sweep(net, net.forward(X), y, lambda block: found.append(block) or np.zeros_like(block.theta)))
    return found


def condition(block, eta):
    """Bound the condition number of a local problem with f' at most 1."""
    return 1 + eta * norm(stacked(block.a))**2


def newton_error(method, block, d):
    """Bound the error of exact M steps d: η times the gradient at which Newton stops.

    That is 1e-10 of the first one, or what rounding makes of it: of f(z), of z, and of the sums along a.
    """
    a = norm(stacked(block.a))
    rounding = a * EPS * (norm(block.z) + a * norm(d) + method.gamma * norm(block.g) + norm(block.f.forward(block.z)))
    return 4e-10 * condition(block, method.eta) * norm(d) + 16 * method.eta * rounding


# ---- the authors' numbers

@pytest.mark.parametrize(("variant", "optimizer", "steps", "gamma", "rate"), [
    (variant, optimizer, steps, gamma, rate)
    for variant, optimizer, steps, gamma in itertools.product("SM", RATES, (1, 3, 10), ("10", "0.1"))
    for rate in RATES[optimizer]])
def test_local_steps_are_the_authors(numbers, variant, optimizer, steps, gamma, rate):
    # holds LocoProp-S, LocoProp-M
    net = autoencoder(numbers)
    method = ml.LocoProp(variant, float(gamma), steps, float(rate), optimizer)
    for k, X in enumerate(numbers["X"], start=1):
        ml.SGD(lr=1.0).step(net.parameters, method.direction(net, X, X)[1])
        if k != 2:
            expected = stored_theta(numbers, f"{variant}/{optimizer}/T{steps}/gamma{gamma}/lr{rate}/step{k}")
            for l in range(1, 7):
                assert_close(f"theta[{l}] after batch {k}", net.theta[l], expected[l], 1e-10)


@pytest.mark.parametrize("eta", ["0.01", "1", "100"])
@pytest.mark.parametrize("gamma", ["10", "0.1"])
def test_exact_minimisers(numbers, gamma, eta):
    # holds LocoProp-S, LocoProp-M
    X, net = numbers["X"][0], autoencoder(numbers)
    expected = stored_theta(numbers, f"S/exact/gamma{gamma}/eta{eta}")
    _, step = ml.LocoProp("S", float(gamma), "exact", eta=float(eta)).direction(net, X, X)
    for l in range(1, 7):
        assert_close(f"S, theta[{l}]", net.theta[l] - step[l - 1], expected[l], 1e-10)

    method = ml.LocoProp("M", float(gamma), "exact", eta=float(eta))
    objectives = numbers[f"M/exact/gamma{gamma}/eta{eta}/objective"]
    for block in blocks(net, X, X):
        problem, d = method.problem(block), method.propose(block)
        assert problem.gradient_norm(d) <= 1e-9 * problem.gradient_norm(0 * d)
        # the stored objective is at the minimum, so that an error of the minimiser enters squared
        assert problem.objective(d) == pytest.approx(objectives[block.l - 1], rel=1e-10)


def test_one_plain_step_is_backprop(numbers):
    X, net = numbers["X"][0], autoencoder(numbers)
    _, gradient = ml.BackProp().direction(net, X, X)
    for variant in "SM":
        _, step = ml.LocoProp(variant, gamma=0.3, steps=1, local_lr=0.7, local_optimizer="sgd").direction(net, X, X)
        for d, g in zip(step, gradient, strict=True):
            assert_close(variant, d, 0.21 * g, 1e-13)


# ---- identities

@given(case=cases(), eta=st.floats(1e-2, 1e2), gamma=st.floats(1e-2, 10))
def test_exact_s_is_proxprop_on_every_map(case, eta, gamma):
    _, s = ml.LocoProp("S", gamma, "exact", eta=eta).direction(case.net, case.X, case.y)
    _, prox = ml.ProxProp(eta, last="implicit").direction(case.net, case.X, case.y)
    for d, p, block in zip(s, prox, reversed(blocks(case.net, case.X, case.y)), strict=True):
        assert_close("LocoProp-S", d, gamma * p, 1e-14 * condition(block, eta))


@given(case=cases(activations=("identity",), losses=(ml.SquaredError,)))
def test_m_with_identity_transfers_is_s(case):
    for options in ({"steps": 4, "local_lr": 1e-3, "local_optimizer": "sgd"},
                    {"steps": 3, "local_lr": 1e-3, "local_optimizer": "adam"}):
        _, m = ml.LocoProp("M", 0.5, **options).direction(case.net, case.X, case.y)
        _, s = ml.LocoProp("S", 0.5, **options).direction(case.net, case.X, case.y)
        for d, e in zip(m, s, strict=True):
            assert_close(f"M against S with {options}", d, e, 1e-7)


@given(case=cases(activations=("identity",), losses=(ml.SquaredError,)))
def test_exact_m_with_identity_transfers_is_exact_s(case):
    m, s = (ml.LocoProp(variant, 0.5, "exact", eta=0.5) for variant in "MS")
    for block in blocks(case.net, case.X, case.y):
        d = s.propose(block)
        assert norm(m.propose(block) - d) <= newton_error(m, block, d)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 5), (5, 1)])
def test_many_steps_reach_the_pseudo_inverse_or_the_prox(rng, shape):
    a, g = read_only(rng.standard_normal(shape)), read_only(rng.standard_normal((shape[0], 3)))
    dense = np.hstack([a, np.ones((shape[0], 1))])
    rate = 1.9 / (np.linalg.norm(dense, 2) ** 2 + 0.1)
    for damping, limit in ((0.0, np.linalg.pinv(dense) @ g),
                           (0.1, np.linalg.solve(dense.T @ dense + 0.1 * np.eye(shape[1] + 1), dense.T @ g))):
        problem = LocalProblem(Gram(a), np.zeros_like(g), MatchingLoss(ml.Identity(), np.zeros_like(g), g), damping)
        assert_close("the limit", gradient_steps(problem, [rate] * 30_000).value, limit, 1e-6)


@given(case=cases(least_depth=2), variant=st.sampled_from("SM"), eta=st.sampled_from((None, 0.5)),
       steps=st.integers(1, 6))
def test_sample_space_is_parameter_space(case, variant, eta, steps):
    method = ml.LocoProp(variant, 0.5, steps, 1e-2, "sgd", eta=eta)
    for block in blocks(case.net, case.X, case.y):
        sample, parameter = (gradient_steps(method.problem(block, side), method.rates()).value
                             for side in ("sample", "parameter"))
        assert_close(f"map {block.l}", sample, parameter, 1e-11)


@given(case=cases(), eta=st.floats(0.05, 20))
def test_exact_m_on_both_sides(case, eta):
    method = ml.LocoProp("M", 0.9, "exact", eta=eta)
    for block in blocks(case.net, case.X, case.y):
        sample, parameter = (newton(method.problem(block, side), 1e-10).value for side in ("sample", "parameter"))
        assert norm(sample - parameter) <= newton_error(method, block, parameter)


@given(case=cases(), seed=st.integers(0, 2**32 - 1))
def test_exact_m_minimises_its_objective(case, seed):
    method = ml.LocoProp("M", 2.0, "exact", eta=0.7)
    rng = np.random.default_rng(seed)
    for block in blocks(case.net, case.X, case.y):
        problem, d = method.problem(block), method.propose(block)
        least = problem.objective(d)
        for size in (1e-3, 1e-1, 1):
            other = problem.objective(d + size * rng.standard_normal(d.shape))
            assert least <= other + 1e-12 * max(1, abs(least))


@pytest.mark.parametrize("f", TRANSFERS, ids=repr)
def test_gradient_of_the_matching_loss(rng, f):
    z_k, signal, z, tangent = (rng.standard_normal((5, 3)) for _ in range(4))
    data = MatchingLoss(f, z_k, signal)
    slope = central_difference(lambda t: data.value(t).sum(), z, tangent)
    assert (data.gradient(z) * tangent).sum() == pytest.approx(slope, rel=1e-8)
    assert_close("at z_k the gradient is the signal, to the last bit", data.gradient(z_k), signal, 0)
    curvature = central_difference(data.gradient, z, tangent)
    assert_close("curvature", data.model(z).curvature(tangent), curvature, 1e-8)


def filtered_step(gram, signal, rates, damping=0.0):
    """Return T plain steps of LocoProp-S at once, by eigenvectors: Q diag(h(s)) Qᵀ ãᵀ s."""
    s, q = np.linalg.eigh(gram.matrix)
    h = spectral_filter(s, rates, damping)
    return gram.lift((q @ (h[:, None] * (q.T @ gram.lower(signal)))).astype(signal.dtype))


def test_filter_form_is_the_steps(rng):
    g = rng.standard_normal((6, 3))
    for shape, side, damping in itertools.product([(6, 4), (6, 9)], ("sample", "parameter"), (0.0, 0.3)):
        gram = Gram(rng.standard_normal(shape), side=side)
        rates = [0.01 * scale for scale in decay_scales(7, decay=True)]
        problem = LocalProblem(gram, 0 * g, MatchingLoss(ml.Identity(), 0 * g, g), damping)
        assert_close("filter", filtered_step(gram, g, rates, damping), gradient_steps(problem, rates).value, 1e-11)


def test_limits_of_the_filter():
    s = np.array([0.0, 0.5, 2.0])
    np.testing.assert_allclose(spectral_filter(s, [0.3]), 0.3)  # one step: BackProp
    np.testing.assert_allclose(spectral_filter(s[1:], [0.5] * 1000), 1 / s[1:])  # pseudo-inverse
    np.testing.assert_allclose(spectral_filter(s, [0.4] * 1000, damping=0.1), 1 / (s + 0.1))  # prox
    np.testing.assert_allclose(spectral_filter(s[:1], [0.4] * 10), 4.0)  # the limit at s = 0


@pytest.mark.parametrize("variant", ["S", "M"])
@pytest.mark.parametrize("eta", [None, 0.3])
def test_plain_steps_are_the_same_by_name_and_by_an_optimizer(variant, eta, rng):
    """By name, on the local problem, and by an SGD of rate 1, on θ itself; scale and shift of a norm as well."""
    net = ml.Network([ml.Linear(4, 5), ml.BatchNorm(5), ml.Tanh(), ml.Linear(5, 3)], dtype=np.float64)
    X, y = rng.standard_normal((9, 4)), np.arange(9) % 3
    by_name, by_object = (ml.LocoProp(variant, 0.5, 4, 0.05, optimizer, eta=eta).direction(net, X, y)[1]
                          for optimizer in ("sgd", ml.SGD(1.0)))
    for d, e in zip(by_name, by_object, strict=True):
        assert_close("step", e, d, 1e-12)


# ---- states, schedules, refusals

def test_local_state_survives_from_batch_to_batch(numbers):
    X = numbers["X"]
    method, net = ml.LocoProp("M", 10.0, 3, 1e-3, "rmsprop"), autoencoder(numbers)
    _, first = method.direction(net, X[0], X[0])
    saved = method.state_dict()
    _, second = method.direction(net, X[0], X[0])
    assert relative(second[0], first[0]) > 1e-3
    again = ml.LocoProp("M", 10.0, 3, 1e-3, "rmsprop")
    again.load_state_dict(saved)
    for d, e in zip(again.direction(net, X[0], X[0])[1], second, strict=True):
        np.testing.assert_array_equal(d, e)
    method.reset()
    for d, e in zip(method.direction(net, X[0], X[0])[1], first, strict=True):
        np.testing.assert_array_equal(d, e)


def test_a_schedule_of_the_local_optimizers_own_rate_is_followed(rng):
    """Its rate is 0 from epoch 1 on; also of one that is made, or read from a checkpoint, later."""
    X, y = rng.standard_normal((6, 3)), rng.integers(0, 2, 6)
    method = ml.LocoProp("M", steps=2, local_lr=1e-3, local_optimizer=ml.SGD(ml.StepDecay(1.0, every=1, factor=0.0)))
    net = ml.mlp([3, 4, 2], dtype=np.float64)
    for epoch, moves in ((0, True), (1, False)):
        method.start_epoch(epoch)
        assert all(d.any() == moves for d in method.direction(net, X, y)[1])
    other = ml.LocoProp(**method.settings())
    other.load_state_dict(method.state_dict())
    late = ml.LocoProp(**method.settings())
    late.start_epoch(1)
    assert not any(d.any() for method in (other, late) for d in method.direction(net, X, y)[1])


def test_a_local_optimizer_that_was_at_work_elsewhere_lends_its_settings_alone(rng):
    X, y = rng.standard_normal((6, 3)), rng.integers(0, 2, 6)
    used = ml.Adam(0.1)
    used.step([np.ones((4, 2))], [np.ones((4, 2))])  # of the shape of θ_1
    net = ml.mlp([3, 2], dtype=np.float64)
    [d], [e] = (ml.LocoProp("M", local_lr=0.1, local_optimizer=optimizer).direction(net, X, y)[1]
                for optimizer in (ml.Adam(0.1), used))
    assert np.array_equal(d, e)
    ml.LocoProp("M", local_lr=0.1, local_optimizer=used).direction(ml.mlp([3, 5, 2], dtype=np.float64), X, y)


@pytest.mark.parametrize("other", ["adam", "sgd", ml.SGD(0.5), ml.Adam(2.0)], ids=repr)
def test_a_local_optimizer_that_is_assigned_begins_anew_with_the_next_step(rng, other):
    X, y, net = rng.standard_normal((6, 3)), rng.integers(0, 2, 6), ml.mlp([3, 4, 2], dtype=np.float64)
    method, fresh = ml.LocoProp("M", local_lr=0.1), ml.LocoProp("M", local_lr=0.1, local_optimizer=other)
    method.direction(net, X, y)
    method.local_optimizer = other
    assert method.settings() == fresh.settings()
    resumed = ml.LocoProp(**method.settings())
    for _ in range(2):
        steps = [m.direction(net, X, y)[1] for m in (method, fresh)]
        for d, e in zip(*steps):
            assert np.array_equal(d, e)
        resumed.load_state_dict(method.state_dict())
    for d, e in zip(resumed.direction(net, X, y)[1], method.direction(net, X, y)[1]):
        assert np.array_equal(d, e)


def test_settings_of_the_local_optimizer_that_are_assigned_count_from_the_next_step_on(rng):
    X, y, net = rng.standard_normal((6, 3)), rng.integers(0, 2, 6), ml.mlp([3, 4, 2], dtype=np.float64)
    method = ml.LocoProp("M", local_lr=0.1, local_optimizer=ml.HeavyBall(1.0, momentum=0.9))
    method.direction(net, X, y)
    method.local_optimizer.lr = 0.0
    assert not any(d.any() for d in method.direction(net, X, y)[1])
    method.local_optimizer.lr = 1.0
    resumed = ml.LocoProp(**method.settings())
    resumed.load_state_dict(method.state_dict())
    for d, e in zip(resumed.direction(net, X, y)[1], method.direction(net, X, y)[1]):
        assert d.any()
        assert np.array_equal(d, e)


def test_a_wrong_local_optimizer_is_not_assigned():
    method = ml.LocoProp()
    with pytest.raises(ValueError, match="LocoProp: local_optimizer: unknown name 'rmsprob'; did you mean 'rmsprop'"):
        method.local_optimizer = "rmsprob"


def test_base_rate_of_the_notebook(numbers):
    X, net = numbers["X"][0], autoencoder(numbers)
    method = ml.LocoProp("M", 10.0, 3, ml.WarmupLinear(1e-3), "rmsprop")
    method.start_epoch(0)
    assert all(not d.any() for d in method.direction(net, X, X)[1])  # rate zero: nothing changes
    method.start_epoch(1)
    assert method.rates() == pytest.approx([2e-4 * scale for scale in (1, 2 / 3, 1 / 3)])


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "adam", "rmsprop", ml.HeavyBall(lr=1.0, momentum=0.5)],
                         ids=str)
def test_local_optimizers_lower_the_local_objectives(numbers, optimizer):
    X, net = numbers["X"][0], autoencoder(numbers)
    method = ml.LocoProp("M", 10.0, 5, 1e-4, optimizer)
    for block in blocks(net, X, X):
        problem, d = method.problem(block), method.propose(block)
        assert problem.objective(d) < problem.objective(0 * d)


def test_unregularised_exact_m_refuses_targets_out_of_range(rng):
    net = ml.mlp([4, 5, 3], activation="tanh", loss=ml.SquaredError(), dtype=np.float64)
    X, y = rng.standard_normal((6, 4)), 10 * rng.standard_normal((6, 3))
    with pytest.raises(ValueError, match=r"target of map 1 lies outside the closure of the range of Tanh\(\)"):
        ml.LocoProp("M", 100.0, "exact").direction(net, X, y)
    ml.LocoProp("M", 100.0, "exact", eta=1.0).direction(net, X, y)  # regularised it is well posed


@pytest.mark.parametrize("samples", [7, 10, 60, 64])
def test_a_label_as_target_has_no_minimiser_and_a_lower_bound_whatever_rounding_makes_of_it(samples):
    data, net = ml.datasets.digits(), ml.mlp([64, 12, 8, 10], activation="tanh", seed=0, dtype=np.float64)
    X, y = data.X_train[:samples].astype(float), data.y_train[:samples]
    last, *_ = blocks(net, X, y)
    with pytest.raises(ArithmeticError, match="a target is no value of f"):
        ml.LocoProp("M", float(samples), "exact").propose(last)  # the target is f(z) − N g, the label
    with pytest.raises(ValueError, match="outside the closure of the range of Softmax"):
        ml.LocoProp("M", 1.001 * samples, "exact").propose(last)


def test_unregularised_exact_m_within_range(rng):
    net = ml.mlp([3, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal((20, 2))
    method = ml.LocoProp("M", 0.05, "exact")
    for block in blocks(net, X, y):
        problem, d = method.problem(block), method.propose(block)
        assert problem.gradient_norm(d) <= 1e-9 * problem.gradient_norm(0 * d)


def test_a_minimiser_at_infinity_is_said_to_be_one():
    z = np.zeros((1, 1))
    problem = LocalProblem(Gram(np.ones((1, 1))), z, MatchingLoss(ml.Softplus(), z, np.full((1, 1), np.log(2))), 0.0)
    assert float(problem.gap.target[0, 0]) == 0  # softplus comes near 0 and never reaches it
    with pytest.raises(ArithmeticError, match="without a regulariser to infinity"):
        newton(problem, 1e-10)


def test_users_activation_needs_its_integral(rng):
    class Cube(ml.Activation):
        def forward(self, z):
            return z**3 + z

        def derivative(self, z):
            return 3 * z**2 + 1

    net = ml.Network([ml.Linear(3, 4), Cube(), ml.Linear(4, 2)], loss=ml.SquaredError(), dtype=np.float64)
    X, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    with pytest.raises(NotImplementedError, match="Cube has no integral"):
        ml.LocoProp("M", 0.1, "exact", eta=1.0).direction(net, X, y)
    Cube.integral = lambda self, z: z**4 / 4 + z**2 / 2
    method = ml.LocoProp("M", 0.1, "exact", eta=1.0)
    for block in blocks(net, X, y):
        problem, d = method.problem(block), method.propose(block)
        assert problem.gradient_norm(d) <= 1e-9 * problem.gradient_norm(0 * d)


def test_exact_step_of_s_in_float32(rng):
    net = ml.mlp([20, 15, 5])
    X, y = rng.standard_normal((10, 20)), rng.integers(0, 5, 10)
    for variant in "SM":
        _, step = ml.LocoProp(variant, 1.0, "exact", eta=1.0).direction(net, X, y)
        assert all(d.dtype == np.float32 for d in step)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"variant": "m"}, ValueError, "did you mean|known: S, M"),
    ({"gamma": 0}, ValueError, "gamma must be positive"),
    ({"gamma": "10"}, TypeError, "gamma must be a positive number"),
    ({"steps": 0}, ValueError, "steps must be at least 1"),
    ({"steps": 2.5}, TypeError, "steps must be a whole number"),
    ({"local_lr": -1.0}, ValueError, "local_lr must be positive"),
    ({"local_optimizer": "rmsprob"}, ValueError, "did you mean 'rmsprop'"),
    ({"eta": float("nan")}, ValueError, "eta must be positive and finite"),
    ({"variant": "S", "steps": "exact"}, ValueError, "needs eta"),
])
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        ml.LocoProp(**arguments)


def test_on_the_other_backend(device):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 5)), rng.integers(0, 3, 6)
    for method in (ml.LocoProp("M", 1.0, 3, 1e-2, "sgd"), ml.LocoProp("M", 1.0, 3, 1e-2, "rmsprop"),
                   ml.LocoProp("M", 1.0, "exact", eta=1.0), ml.LocoProp("S", 1.0, "exact", eta=1.0)):
        here, there = (ml.mlp([5, 4, 3], activation="tanh", dtype=np.float64, backend=backend)
                       for backend in ("numpy", "cupy"))
        _, expected = method.direction(here, X, y)
        method.reset()
        _, found = method.direction(there, X, y)
        for d, e in zip(found, expected, strict=True):
            assert isinstance(d, device.ndarray)
            assert_close(repr(method), d.get(), e, 1e-9)


def test_weight_decay_of_the_local_optimizer_reaches_a_batch_norm(rng):
    layers = [ml.Linear(4, 6), ml.BatchNorm(6), ml.Tanh(), ml.Linear(6, 3)]
    net, X, y = ml.Network(layers, dtype=np.float64), rng.standard_normal((9, 4)), np.arange(9) % 3

    def steps(decay):
        local = ml.SGD(1.0, weight_decay=decay)
        return ml.LocoProp("S", 1.0, steps=1, local_lr=0.1, local_optimizer=local).direction(net, X, y)[1]

    for with_decay, without, parameter in zip(steps(0.5), steps(0.0), net.parameters):
        np.testing.assert_allclose(with_decay - without, 0.05 * parameter, atol=1e-12)


class Fails(ml.Tanh):
    """Its derivative may raise, which is after the maps above have taken their local steps."""

    fails = False

    def adjoint(self, z, a, aux, g):
        if Fails.fails:
            raise ArithmeticError("the sweep fails")
        return super().adjoint(z, a, aux, g)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_a_call_that_fails_leaves_the_local_optimizers_as_they_were(optimizer, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 8)), rng.integers(0, 3, 50)
    net = ml.Network([ml.Linear(8, 6), Fails(), ml.Linear(6, 3)], dtype=np.float64)
    method, fresh = (ml.LocoProp(local_lr=1e-3, local_optimizer=optimizer) for _ in range(2))
    for _ in range(2):  # before the first step, and after it
        monkeypatch.setattr(Fails, "fails", True)
        with pytest.raises(ArithmeticError, match="the sweep fails"):
            method.direction(net, X, y)
        monkeypatch.setattr(Fails, "fails", False)
        for mine, theirs in zip(method.direction(net, X, y)[1], fresh.direction(net, X, y)[1]):
            np.testing.assert_array_equal(mine, theirs)
