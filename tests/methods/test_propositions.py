"""Propositions 1 to 5 of ProxProp, for networks drawn at random."""

import numpy as np
import pytest
from conftest import read_only
from hypothesis import given
from hypothesis import strategies as st
from laws import (
    SMOOTH,
    assert_close,
    assert_gradients,
    assert_proposition_1,
    assert_proposition_2,
    assert_proposition_4,
    assert_proposition_5,
    cases,
    frozen,
    gradients_of,
    inner,
    is_smooth,
    norm,
    preconditioner,
    random_case,
    stacked,
    with_half_stepped_input,
)

import minilift as ml
from minilift.energy import algorithm_1, algorithm_2

taus = st.sampled_from([0.05, 0.3, 1.0, 10.0])


@given(cases())
def test_backprop_is_the_gradient_of_the_loss(case):
    # holds BackProp, BackProp signal, ProxProp (8), (9), (10)
    loss, gradients = ml.BackProp().direction(case.net, case.X, case.y)
    assert loss == case.net.loss(case.X, case.y)
    if is_smooth(case.net, case.X):
        assert_gradients(case.net, case.X, case.y, gradients, case.rng)


# ---- Proposition 1

@given(cases(), taus)
def test_1_algorithm_1_is_gradient_descent(case, tau):
    # holds ProxProp (11), (12), Prop. 1
    state = algorithm_1(case.net, case.X, case.y, tau)
    assert_proposition_1(case.net, case.X, case.y, tau, state.theta)


@given(cases(least_depth=2), taus)
def test_1_half_steps_are_the_signals(case, tau):
    r"""ProxProp (8)–(10): a_l^½ = a_l − τ ∂J/∂a_l and z_l^½ = z_l − τ ∂J/∂z_l, as the sweep has them."""
    # holds ProxProp (8), (9), (10)
    half, state = algorithm_1(case.net, case.X, case.y, tau), case.net.forward(case.X)
    seen = {}

    def look(block):
        seen[block.l] = block
        return block.phi.adjoint_theta(block.a, block.g)
    ml.methods.as_method(look).directions(case.net, state, case.y)
    for l in range(1, case.net.depth):
        scale = norm(state.a[l]) + norm(state.z[l]) + tau * norm(seen[l].g_a)
        assert norm(half.a[l] - (state.a[l] - tau * seen[l].g_a)) <= 1e-12 * scale
        assert norm(half.z[l] - (state.z[l] - tau * seen[l].g)) <= 1e-12 * scale


def test_1_is_false_with_half_stepped_activations():
    case = random_case(3, [4, 5, 6, 3], 7, ["tanh", "sigmoid"], ml.SoftmaxCrossEntropy())
    assert_proposition_1(case.net, case.X, case.y, 1.0, algorithm_1(case.net, case.X, case.y, 1.0).theta)
    wrong = with_half_stepped_input(case.net, case.X, case.y, 1.0)
    with pytest.raises(AssertionError, match=r"Proposition 1: θ_2 is off its gradient step by 0\.\d+ rel"):
        assert_proposition_1(case.net, case.X, case.y, 1.0, wrong)


# ---- Proposition 2

@given(cases(), taus)
def test_2_the_direction_is_the_preconditioned_gradient(case, tau_theta):
    # holds ProxProp (12), (13), Prop. 2
    _, directions = ml.ProxProp(tau_theta).direction(case.net, case.X, case.y)
    assert_proposition_2(case.net, case.X, case.y, tau_theta, directions)


@given(cases(), taus)
def test_2_the_new_parameters_minimise_the_proximal_objective(case, tau_theta):
    r"""(11) itself: ½‖ãΘ − z^½‖² + ‖Θ − Θ_k‖²/(2τ_θ) is stationary, hence least, at Θ_k − τ d."""
    # holds ProxProp (11), Prop. 2
    tau = 0.7
    half, state = algorithm_1(case.net, case.X, case.y, tau), case.net.forward(case.X)
    _, directions = ml.ProxProp(tau_theta).direction(case.net, case.X, case.y)
    for l in range(1, case.net.depth):
        theta = state.theta[l] - tau * directions[l - 1]
        tilde = stacked(state.a[l - 1])
        gradient = tilde.T @ (tilde @ theta - half.z[l]) + (theta - state.theta[l]) / tau_theta
        scale = norm(tilde) * (norm(tilde) * norm(theta) + norm(half.z[l])) + norm(theta) / tau_theta
        assert norm(gradient) <= 1e-11 * scale


@given(cases(), taus, taus)
def test_2_algorithm_2_written_out_with_half_steps_is_the_method(case, tau, tau_theta):
    """Half steps lose digits where the signal is small beside z: to the rounding of z, magnified by M⁻¹ãᵀ ≤ √τ_θ/2."""
    # holds ProxProp (11), (12)
    _, directions = ml.ProxProp(tau_theta).direction(case.net, case.X, case.y)
    state, literal = case.net.forward(case.X), algorithm_2(case.net, case.X, case.y, tau, tau_theta)
    for l, d in enumerate(directions, start=1):
        lost = np.finfo(float).eps * (norm(state.z[l]) * (1 + tau_theta) + norm(state.theta[l]))
        assert norm(literal.theta[l] - (state.theta[l] - tau * d)) <= 1e-10 * tau * norm(d) + 16 * lost


@given(cases())
def test_2_for_small_tau_theta_it_is_the_gradient_step(case):
    """d/τ_θ = (I + τ_θ ãᵀã)⁻¹ ∇J, which is off ∇J by no more than τ_θ λ_max(ãᵀã)."""
    tiny, state = 1e-6, case.net.forward(case.X)
    _, directions = ml.ProxProp(tiny, last="implicit").direction(case.net, case.X, case.y)
    for a, d, gradient in zip(state.a, directions, gradients_of(case.net, case.X, case.y)):
        bound = tiny * np.linalg.norm(stacked(a), ord=2)**2
        assert_close("d/τ_θ", d / tiny, gradient, bound + 1e-12)


def test_2_tau_theta_may_be_given_for_each_map():
    case = random_case(5, [4, 5, 6, 3], 7, ["tanh", "sigmoid"], ml.SoftmaxCrossEntropy())
    _, each = ml.ProxProp([0.1, 2.0, 5.0], last="implicit").direction(case.net, case.X, case.y)
    for l, tau_theta in enumerate((0.1, 2.0, 5.0)):
        _, same = ml.ProxProp(tau_theta, last="implicit").direction(case.net, case.X, case.y)
        assert_close(f"map {l + 1}", each[l], same[l], 1e-14)


def test_2_a_list_of_tau_theta_is_taken_as_it_was():
    given_by_user = np.array([0.1, 2.0])
    method = ml.ProxProp(given_by_user)
    given_by_user[0] = -1.0
    assert method == ml.ProxProp([0.1, 2.0])
    assert repr(method) == "ProxProp(tau_theta=[0.1, 2.0], solver='exact')"


def test_2_one_linear_map_with_squared_loss_is_levenberg_marquardt(rng):
    X, y = rng.standard_normal((9, 4)), rng.standard_normal((9, 3))
    net = ml.mlp([4, 3], loss=ml.SquaredError("sum"), dtype=np.float64)
    _, (d,) = ml.ProxProp(2.0, last="implicit").direction(net, X, y)
    jacobian = np.kron(stacked(X), np.eye(3))  # of z.ravel() in θ.ravel()
    residual = (net.forward(X).z[1] - y).ravel()
    step = np.linalg.solve(jacobian.T @ jacobian + np.eye(15) / 2.0, jacobian.T @ residual)
    assert_close("Levenberg–Marquardt", d, step.reshape(5, 3), 1e-12)


# ---- Proposition 3

def stationary_case(rng, activation):
    """Return a deep network at a stationary point of J whose signal g_D is not zero.

    All gradients are linear in g_D = (z_D − y)/N: a residual in its null space makes them vanish.
    """
    net = ml.mlp([2, 3, 2], activation=activation, loss=ml.SquaredError(), dtype=np.float64, seed=4)
    X = read_only(rng.standard_normal((12, 2)))
    z = net.forward(X).z[2]

    def all_gradients(residual):
        return np.concatenate([g.ravel() for g in gradients_of(net, X, z - residual.reshape(z.shape))])
    matrix = np.array([all_gradients(unit) for unit in np.eye(z.size)]).T
    residual = np.linalg.svd(matrix)[2][-1]
    return frozen(net), X, read_only(z - residual.reshape(z.shape))


@pytest.mark.parametrize("method", [
    ml.ProxProp(1.0), ml.ProxProp(100.0, last="implicit"), ml.ProxProp(1.0, "cg3"),
    ml.ProxProp(1.0, "cg5", joint=True)], ids=repr)
@pytest.mark.parametrize("activation", SMOOTH)
def test_3_at_a_stationary_point_there_is_no_step(rng, method, activation):
    # holds ProxProp Prop. 3
    net, X, y = stationary_case(rng, activation)
    g = net.loss_function.gradient(net.forward(X).z[net.depth], y)
    loss, directions = method.direction(net, X, y)
    assert norm(g) > 0.01
    assert loss > 0.01
    assert max(map(norm, directions)) < 1e-12


@given(cases(), taus)
def test_3_without_a_step_the_gradient_is_zero(case, tau_theta):
    """‖∇J‖ ≤ λ_max(M) ‖d‖: where d vanishes, so does ∇J."""
    # holds ProxProp Prop. 3
    state = case.net.forward(case.X)
    _, directions = ml.ProxProp(tau_theta).direction(case.net, case.X, case.y)
    gradients = gradients_of(case.net, case.X, case.y)
    for l in range(1, case.net.depth):
        largest = np.linalg.eigvalsh(preconditioner(state.a[l - 1], tau_theta))[-1]
        assert norm(gradients[l - 1]) <= largest * norm(directions[l - 1]) * (1 + 1e-9)


# ---- Proposition 4

@given(cases(), st.sampled_from([0.05, 1.0, 100.0, 1e4]))
def test_4_the_angle_to_the_gradient_stays_bounded(case, tau_theta):
    # holds ProxProp Prop. 4
    state = case.net.forward(case.X)
    _, directions = ml.ProxProp(tau_theta, last="implicit").direction(case.net, case.X, case.y)
    for l, (d, gradient) in enumerate(zip(directions, gradients_of(case.net, case.X, case.y)), start=1):
        assert_proposition_4(d, gradient, preconditioner(state.a[l - 1], tau_theta))


@given(cases(activations=SMOOTH), taus)
def test_4_a_small_step_lowers_the_loss(case, tau_theta):
    # holds ProxProp Prop. 4
    loss, directions = ml.ProxProp(tau_theta).direction(case.net, case.X, case.y)
    slope = inner(directions, gradients_of(case.net, case.X, case.y))
    assert slope >= -1e-12
    if slope < 1e-8:
        return  # nothing to gain: dead or saturated
    for halving in range(40):
        step = 0.5**halving
        theta = [None, *(p - step * d for p, d in zip(case.net.parameters, directions))]
        z = case.net.forward(case.X, theta=theta).z[case.net.depth]
        if case.net.loss_function.value(z, case.y) < loss:
            return
    pytest.fail(f"no step along the direction lowers the loss, though its slope is {slope}")


# ---- Proposition 5

@given(cases(), st.sampled_from([0.05, 1.0, 100.0]), st.integers(1, 12))
def test_5_any_number_of_cg_steps_gives_a_descent_direction(case, tau_theta, steps):
    # holds ProxProp Prop. 5
    state = case.net.forward(case.X)
    _, directions = ml.ProxProp(tau_theta, f"cg{steps}", last="implicit").direction(case.net, case.X, case.y)
    for l, (d, gradient) in enumerate(zip(directions, gradients_of(case.net, case.X, case.y)), start=1):
        assert_proposition_5(d, gradient, preconditioner(state.a[l - 1], tau_theta))


@given(cases(least_depth=2), st.sampled_from([0.05, 1.0]))
def test_5_many_cg_steps_are_the_exact_direction(case, tau_theta):
    # holds ProxProp (14), Prop. 5
    _, exact = ml.ProxProp(tau_theta).direction(case.net, case.X, case.y)
    _, many = ml.ProxProp(tau_theta, "cg30").direction(case.net, case.X, case.y)
    for d, e in zip(many, exact):
        assert norm(d - e) <= 1e-6 * norm(e) + 1e-14


# ---- what holds for all of them

@given(cases(), st.sampled_from(["exact", "cg3"]))
def test_sum_and_mean_differ_by_the_batch_size(case, solver):
    total = type(case.net.loss_function)("sum")
    net = ml.Network(case.net.layers, loss=total, dtype=np.float64)
    net.theta = case.net.theta
    N = len(case.X) if case.net.loss_function.reduction == "mean" else 1
    _, summed = ml.ProxProp(1.0, solver).direction(net, case.X, case.y)
    _, directions = ml.ProxProp(1.0, solver).direction(case.net, case.X, case.y)
    # beyond the rank CG may take a last step or not: ⟨R, KR⟩ is 0 within its rounding, R in θ within the root of that
    tolerance = 1e-9 if solver == "exact" else 8 * np.finfo(float).eps ** 0.5
    for d, s in zip(directions, summed):
        assert_close("sum", N * d, s, tolerance)


@given(cases())
def test_residuals_are_those_of_the_normal_equations(case):
    net, state = case.net, case.net.forward(case.X)
    gradients = gradients_of(net, case.X, case.y)
    method = ml.ProxProp(1.0, "cg2")
    _, directions = method.direction(net, case.X, case.y)
    residuals = method.residuals(net, case.X, case.y)
    assert len(residuals) == net.depth + 1
    assert residuals[0] is None
    assert residuals[net.depth] is None
    for l in range(1, net.depth):
        m, b = preconditioner(state.a[l - 1], 1.0), gradients[l - 1]
        size = np.linalg.norm(b, axis=0)
        misfit = np.linalg.norm(m @ directions[l - 1] - b, axis=0)
        assert (abs(residuals[l] * size - misfit) <= 1e-12 * (norm(m) * norm(directions[l - 1]) + size)).all()
