"""The penalty energy (3): the loss on a forward pass, and its partial gradients for any γ and ρ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import SMOOTH, assert_partial_gradients, cases, infeasible, norm

import minilift as ml
from minilift.energy import PenaltyEnergy

weights = st.floats(0.05, 20)


@given(cases(), weights, weights)
def test_on_a_forward_pass_the_energy_is_the_loss(case, gamma, rho):
    state = case.net.forward(case.X)
    energy = PenaltyEnergy(case.net, case.y, gamma, rho)
    assert energy.value(state.theta, state.a, state.z) == case.net.loss(case.X, case.y)
    loss, activation_terms, map_terms = energy.terms(state.theta, state.a, state.z)
    assert loss == case.net.loss(case.X, case.y)
    assert [*activation_terms, *map_terms] == [0] * (2 * (case.net.depth - 1))


@given(cases(activations=SMOOTH), weights, weights)
def test_partial_gradients(case, gamma, rho):
    assert_partial_gradients(PenaltyEnergy(case.net, case.y, gamma, rho), case)


@given(cases(activations=SMOOTH, least_depth=2), weights, weights)
def test_the_energy_is_the_loss_and_the_two_penalties(case, gamma, rho):
    """The formula of (3), written out again."""
    # holds ProxProp (3)
    theta, a, z = infeasible(case)
    net, D = case.net, case.net.depth
    expected = net.loss_function.value(a[D - 1] @ theta[D][:-1] + theta[D][-1], case.y)
    for l in range(1, D):
        expected += gamma / 2 * norm(net.sigma[l].forward(z[l]) - a[l])**2
        expected += rho / 2 * norm(a[l - 1] @ theta[l][:-1] + theta[l][-1] - z[l])**2
    assert PenaltyEnergy(net, case.y, gamma, rho).value(theta, a, z) == pytest.approx(expected, rel=1e-12)


def test_gamma_and_rho_are_one_by_default(rng):
    energy = PenaltyEnergy(ml.mlp([2, 2]), [0, 1])
    assert (energy.gamma, energy.rho) == (1.0, 1.0)
