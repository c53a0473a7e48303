"""Planted mistakes: each law must reject them, with a reason. A law that accepts a wrong implementation is
worth nothing.

The wrong implementations run through the very predicates of `laws.py` that the library passes in the other
files.
"""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import read_only
from laws import (
    assert_adjoint,
    assert_close,
    assert_conjugate_gradients,
    assert_direct_solve,
    assert_gradients,
    assert_gram,
    assert_loss_gradient,
    assert_map,
    assert_oracle,
    assert_partial_gradients,
    assert_proposition_1,
    assert_proposition_2,
    assert_proposition_4,
    assert_proposition_5,
    assert_prox,
    assert_relu_convention,
    assert_residual_is_honest,
    assert_transfer,
    dense_step,
    gradients_of,
    oracle_network,
    preconditioner,
    random_case,
    stacked,
    with_half_stepped_input,
)

import minilift as ml
from minilift.energy import PenaltyEnergy
from minilift.layers.gram import Gram, stacked_product
from minilift.local.solvers import Solution, conjugate_gradients, damped_solve


def case(activations=("tanh", "sigmoid"), widths=(4, 5, 5, 3), samples=8, loss=None, seed=1):
    return random_case(seed, list(widths), samples, list(activations), loss or ml.SoftmaxCrossEntropy())


def with_layers(given_case, transfer=None, phi=ml.Linear):
    """Return the case's network with its hidden transfers or its maps replaced, same parameters."""
    widths = [p.shape[0] - 1 for p in given_case.net.parameters] + [given_case.net.parameters[-1].shape[1]]
    layers = [phi(*widths[:2])]
    for n_in, n_out, sigma in zip(widths[1:], widths[2:], given_case.net.sigma[1:]):
        layers += [transfer or sigma, phi(n_in, n_out)]
    net = ml.Network(layers, loss=given_case.net.loss_function, dtype=np.float64)
    net.theta = given_case.net.theta
    return net


def rejected(reason):
    return pytest.raises(AssertionError, match=reason)


# ---- transfers

class TanhZeroBackward(ml.Tanh):
    def adjoint(self, z, a, aux, g):
        return np.zeros_like(g)


class TanhWithoutDerivative(ml.Tanh):
    def adjoint(self, z, a, aux, g):
        return g


class TanhDerivativeOfTheValue(ml.Tanh):
    """σ' at a instead of at z."""

    def adjoint(self, z, a, aux, g):
        return g * (1 - np.tanh(a)**2)


class TanhWrongFactor(ml.Tanh):
    def derivative(self, z):
        return 1.001 * super().derivative(z)


class TanhWrongIntegral(ml.Tanh):
    def integral(self, z):
        return z * z / 2


class TanhConcave(ml.Tanh):
    def integral(self, z):
        return -super().integral(z)


class TanhNarrowRange(ml.Tanh):
    range = (-0.5, 0.5)


class TanhPromotes(ml.Tanh):
    def forward(self, z):
        return np.tanh(z.astype(np.float64))


WRONG_TRANSFERS = [
    (TanhZeroBackward, "adjoint"), (TanhWithoutDerivative, "adjoint"), (TanhDerivativeOfTheValue, "adjoint"),
    (TanhWrongFactor, "derivative"), (TanhWrongIntegral, "integral"), (TanhConcave, "integral"),
    (TanhNarrowRange, "outside of range"),
]


@pytest.mark.parametrize(("transfer", "reason"), WRONG_TRANSFERS)
def test_transfers(transfer, reason, rng):
    z = rng.standard_normal((4, 5))
    assert_transfer(ml.Tanh(), z, rng)
    with rejected(reason):
        assert_transfer(transfer(), z, rng)


def test_promotion(rng):
    with rejected("forward promotes float32 to float64"):
        assert_transfer(TanhPromotes(), rng.standard_normal((2, 2)).astype(np.float32), rng)


def test_relu_with_derivative_one_at_zero(rng):
    class Wrong(ml.ReLU):
        def derivative(self, z):
            return (z >= 0).astype(z.dtype)
    assert_relu_convention(ml.ReLU())
    with rejected("σ'\\(0\\) must be 0"):  # no difference quotient sees it: it is a convention
        assert_relu_convention(Wrong())


@pytest.mark.parametrize("transfer", [TanhZeroBackward, TanhWithoutDerivative, TanhDerivativeOfTheValue])
def test_a_wrong_backward_pass_fails_the_gradient_check(transfer):
    right = case(activations=("tanh", "tanh"))
    assert_gradients(right.net, right.X, right.y, gradients_of(right.net, right.X, right.y), right.rng)
    net = with_layers(right, transfer())
    with rejected(r"∇J"):
        assert_gradients(net, right.X, right.y, gradients_of(net, right.X, right.y), right.rng)


# ---- maps

class ForwardWithoutBias(ml.Linear):
    def forward(self, theta, a):
        return a @ theta[:-1]


class BiasGradientMissing(ml.Linear):
    def adjoint_theta(self, a, g):
        result = stacked_product(a, g)
        result[-1] = 0
        return result


class BiasGradientAveraged(ml.Linear):
    def adjoint_theta(self, a, g):
        result = stacked_product(a, g)
        result[-1] /= len(a)
        return result


class AdjointNotTransposed(ml.Linear):
    """Only square maps let it pass without an error of shapes."""

    def adjoint_input(self, theta, g):
        return g @ theta[:-1]


class BiasPassedBack(ml.Linear):
    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T + theta[-1]


class GramWithoutBias(ml.Linear):
    def gram(self, a, side=None, bias=True):
        return super().gram(a, side=side, bias=False)


class GramAveraged(ml.Linear):
    """ãᵀã divided by N, as the loss is."""

    def gram(self, a, side=None, bias=True):
        gram = super().gram(a, side=side, bias=bias)
        gram.matrix = gram.matrix / len(a)
        return gram


WRONG_BACKWARD = [BiasGradientMissing, BiasGradientAveraged, AdjointNotTransposed, BiasPassedBack]
WRONG_MAPS = [ForwardWithoutBias, *WRONG_BACKWARD, GramWithoutBias, GramAveraged]


@pytest.mark.parametrize("phi", WRONG_MAPS)
def test_maps(phi, rng):
    theta, a = rng.standard_normal((5, 4)), rng.standard_normal((6, 4))
    assert_map(ml.Linear(4, 4), theta, a, rng)
    with rejected(f"{phi.__name__}|Gram"):
        assert_map(phi(4, 4), theta, a, rng)


@pytest.mark.parametrize("phi", WRONG_BACKWARD)
def test_wrong_maps_fail_the_gradient_check(phi):
    right = case(widths=(4, 5, 5, 5))
    net = with_layers(right, phi=phi)
    with rejected("∇J"):
        assert_gradients(net, right.X, right.y, gradients_of(net, right.X, right.y), right.rng)


@pytest.mark.parametrize("phi", [GramWithoutBias, GramAveraged])
def test_wrong_gram_matrices_fail_proposition_2(phi):
    right = case()
    _, directions = ml.ProxProp(1.0).direction(right.net, right.X, right.y)
    assert_proposition_2(right.net, right.X, right.y, 1.0, directions)
    net = with_layers(right, phi=phi)
    with pytest.raises((AssertionError, ValueError), match=r"Proposition 2|shape"):
        assert_proposition_2(net, right.X, right.y, 1.0, ml.ProxProp(1.0).direction(net, right.X, right.y)[1])


@pytest.mark.parametrize("fault", ["inner", "lift", "lower"])
def test_gram_passing_between_the_sides(fault, rng):
    a = rng.standard_normal((6, 4))

    class Wrong(Gram):
        def inner(self, u, gram_u, v):
            return super().inner(u, u if fault == "inner" else gram_u, v)

        def lift(self, u):
            return -super().lift(u) if fault == "lift" else super().lift(u)

        def lower(self, g):
            return 2 * g if fault == "lower" else super().lower(g)
    assert_gram(Gram(a, side="sample"), stacked(a), rng)
    with rejected("Gram"):
        assert_gram(Wrong(a, side="sample"), stacked(a), rng)


def test_a_zero_derivative_fails_the_adjoint_law(rng):
    t, c = rng.standard_normal((2, 5))
    with rejected("⟨Dt, c⟩"):
        assert_adjoint("zero", lambda u: 2 * u, lambda g: 0 * g, t, c)


# ---- losses

class GradientWithoutMean(ml.SoftmaxCrossEntropy):
    def gradient(self, z, y):
        return super().gradient(z, y) * len(z)


class SquareWithoutHalf(ml.SquaredError):
    def value_per_sample(self, z, y):
        return ((z - y)**2).sum(axis=-1)


class ProbabilitiesForGradient(ml.SoftmaxCrossEntropy):
    """The label's one is forgotten: sum(softmax) has gradient zero, and a check of that would pass."""

    def gradient(self, z, y):
        return self.transfer.forward(z) / len(z)


class ProxWithInverseTau(ml.SigmoidCrossEntropy):
    def prox(self, v, y, tau):
        return super().prox(v, y, 1 / tau)


class ProxIsGradientStep(ml.SigmoidCrossEntropy):
    def prox(self, v, y, tau):
        return v - tau * self.gradient(v, y)


class ProxIsIdentity(ml.SquaredError):
    def prox(self, v, y, tau):
        return v


@pytest.mark.parametrize("loss", [GradientWithoutMean, SquareWithoutHalf, ProbabilitiesForGradient])
def test_losses(loss, rng):
    z = rng.standard_normal((5, 3))
    y = rng.integers(0, 3, 5) if loss.classification else rng.uniform(size=(5, 3))
    assert_loss_gradient(loss.__mro__[1](), z, y, rng)
    with rejected("gradient: the derivative along a random tangent"):
        assert_loss_gradient(loss(), z, y, rng)


@pytest.mark.parametrize("loss", [ProxWithInverseTau, ProxIsGradientStep, ProxIsIdentity])
def test_proxes(loss, rng):
    v, y = rng.standard_normal((5, 3)), rng.uniform(size=(5, 3))
    assert_prox(loss.__mro__[1](), v, y, 3.0, rng)
    with rejected("at the prox"):
        assert_prox(loss(), v, y, 3.0, rng)


# ---- the penalty energy

class DoubledRho(PenaltyEnergy):
    def gradient_z(self, l, theta, a, z):
        return super().gradient_z(l, theta, a, z) - self.rho * self.map_gap(l, theta, a, z)


class GammaSignSlip(PenaltyEnergy):
    def gradient_a(self, l, theta, a, z):
        return super().gradient_a(l, theta, a, z) + 2 * self.gamma * self.activation_gap(l, a, z)


class RhoForgotten(PenaltyEnergy):
    def gradient_theta(self, l, theta, a, z):
        if l == self.net.depth:
            return super().gradient_theta(l, theta, a, z)
        return super().gradient_theta(l, theta, a, z) / self.rho


class DerivativeForgotten(PenaltyEnergy):
    def gradient_z(self, l, theta, a, z):
        return self.gamma * self.activation_gap(l, a, z) - self.rho * self.map_gap(l, theta, a, z)


@pytest.mark.parametrize(("energy", "reason"), [(DoubledRho, "∂E/∂z"), (GammaSignSlip, "∂E/∂a"),
                                                (RhoForgotten, "∂E/∂θ"), (DerivativeForgotten, "∂E/∂z")])
def test_partial_gradients(energy, reason):
    right = case()
    assert_partial_gradients(PenaltyEnergy(right.net, right.y, 2.0, 3.0), right)
    with rejected(reason):
        assert_partial_gradients(energy(right.net, right.y, 2.0, 3.0), right)


# ---- solvers

def aliased_cg(gram, g, damping, steps):
    """The published program's fault: residual and first search direction are one tensor, updated in place."""
    b = gram.adjoint(g)
    r = b.copy()
    p, d = r, np.zeros_like(r)
    rho = (r * r).sum(axis=0)
    for _ in range(steps):
        m_p = gram.adjoint(gram.apply(p)) + damping * p
        alpha = rho / np.where(rho > 0, (p * m_p).sum(axis=0), 1)
        d = d + alpha * p
        r -= alpha * m_p  # p is r the first time
        rho_old, rho = rho, (r * r).sum(axis=0)
        p = r + rho / np.where(rho_old > 0, rho_old, 1) * p
    return Solution(d, steps, lambda: np.linalg.norm(gram.adjoint(gram.apply(d)) + damping * d - b, axis=0)
                    / np.linalg.norm(b, axis=0))


def steepest_descent(gram, g, damping, steps):
    b = gram.adjoint(g)
    d = np.zeros_like(b)
    for _ in range(steps):
        r = b - gram.adjoint(gram.apply(d)) - damping * d
        d = d + (r * r).sum(axis=0) / (r * (gram.adjoint(gram.apply(r)) + damping * r)).sum(axis=0) * r
    return Solution(d, steps, lambda: np.zeros(g.shape[1]))


def joint_for_each(gram, g, damping, steps):
    return conjugate_gradients(gram, g, damping, steps, joint=True)


def without_damping(gram, g, damping, steps):
    return conjugate_gradients(gram, g, 0.0, steps)


@pytest.mark.parametrize("solve", [aliased_cg, steepest_descent, joint_for_each, without_damping])
def test_conjugate_gradients(solve, rng):
    a, g = read_only(rng.standard_normal((9, 6))), read_only(rng.standard_normal((9, 3)))
    assert_conjugate_gradients(conjugate_gradients, a, g, 0.5)
    with rejected("CG steps"):
        assert_conjugate_gradients(solve, a, g, 0.5)


def test_the_aliased_cg_is_the_one_that_was_published(oracle):
    """The planted fault is the real one: it gives the published program's numbers, which the oracle rejects."""
    data = oracle("proxprop_mlp")
    net = oracle_network(data)

    class Aliased(ml.ProxProp):
        def propose(self, block):
            if block.last:
                return super().propose(block)
            return aliased_cg(block.phi.gram(block.a), block.g, 1.0, 3).value
    _, directions = Aliased().direction(net, data["X"], data["y"])
    assert_oracle(directions, data, "cg3_official_eps0_tol0/tau1", [1e-10] * 3)
    with rejected("cg3_textbook/tau1, map 1: relative error"):
        assert_oracle(directions, data, "cg3_textbook/tau1", [3e-13] * 3)


@pytest.mark.parametrize(("method", "reason"), [
    (ml.ProxProp(2.0), "exact_closed_form/tau1, map 1"),
    (ml.ProxProp(1.0, "cg10"), "exact_closed_form/tau1, map 2"),
    (ml.BackProp(), "exact_closed_form/tau1, map 1"), (ml.ProxProp(1.0, last="implicit"), "map 4")], ids=repr)
def test_other_settings_fail_the_oracle(oracle, method, reason):
    data = oracle("proxprop_mlp")
    _, directions = method.direction(oracle_network(data), data["X"], data["y"])
    with rejected(reason):
        assert_oracle(directions, data, "exact_closed_form/tau1", [3e-13] * 4)


def new_minus_old(gram, g, damping, dtype=np.float32):
    """Solve for the new parameters in float32 and subtract the old ones."""
    old = np.full((gram.a.shape[1] + 1, g.shape[1]), 3.0, dtype)
    step = damped_solve(gram, g, damping)
    return Solution(((step.value.astype(dtype) + old) - old).astype(np.float64), 0, step.measure)


def damping_for_tau(gram, g, damping):
    return damped_solve(gram, g, 1 / damping)


def without_bias(gram, g, damping):
    d = damped_solve(gram, g, damping).value.copy()
    d[-1] = 0
    return Solution(d, 0, lambda: np.zeros(g.shape[1]))


@pytest.mark.parametrize("solve", [new_minus_old, damping_for_tau, without_bias])
def test_direct_solves(solve, rng):
    a, g = read_only(rng.standard_normal((9, 6))), read_only(rng.standard_normal((9, 3)))
    assert_direct_solve(damped_solve, a, g, 0.5, rng)
    with rejected("direct solve"):
        assert_direct_solve(solve, a, g, 0.5, rng)


def test_a_residual_that_is_always_zero(rng):
    a, g = read_only(rng.standard_normal((9, 6))), read_only(rng.standard_normal((9, 3)))
    value = conjugate_gradients(Gram(a), g, 0.5, 1).value
    with rejected("residual: reported"):
        assert_residual_is_honest(Solution(value, 1, lambda: np.zeros(3)), a, g, 0.5)
    with rejected("residual: reported"):  # honest about another damping
        exact = dense_step(a, g, 0.5)
        wrong = Solution(exact, 0, lambda: np.full(3, 0.1))
        assert_residual_is_honest(wrong, a, g, 0.5)


# ---- propositions

def test_proposition_1():
    right = case()
    with rejected("Proposition 1"):
        assert_proposition_1(right.net, right.X, right.y, 1.0,
                             with_half_stepped_input(right.net, right.X, right.y, 1.0))
    with rejected("Proposition 1: θ_1"):
        assert_proposition_1(right.net, right.X, right.y, 1.0, right.net.theta)  # no step at all


@pytest.mark.parametrize("method", [
    ml.BackProp(), ml.ProxProp(1.1), ml.ProxProp(1.0, last="implicit"), ml.ProxProp(1.0, "cg1"),
    ml.ProxProp(1 / 8)], ids=repr)
def test_proposition_2(method):
    right = case()
    with rejected("Proposition 2"):
        _, directions = method.direction(right.net, right.X, right.y)
        assert_proposition_2(right.net, right.X, right.y, 1.0, directions)


def test_propositions_4_and_5_reject_ascent_and_drift(rng):
    right = case()
    m = preconditioner(right.X, 1.0)
    gradient = gradients_of(right.net, right.X, right.y)[0]
    d = np.linalg.solve(m, gradient)
    assert_proposition_4(d, gradient, m)
    assert_proposition_5(d, gradient, m)
    with rejected("Proposition 4: the cosine is -"):
        assert_proposition_4(-d, gradient, m)
    with rejected("Proposition 5"):
        assert_proposition_5(-d, gradient, m)
    one_unit_uphill = d * np.array([-1.0] + [1.0] * (d.shape[1] - 1))
    with rejected("Proposition 5"):
        assert_proposition_5(one_unit_uphill, gradient, m)
    across = rng.standard_normal(d.shape)
    across -= (across * gradient).sum() / (gradient * gradient).sum() * gradient
    with rejected("Proposition 4"):
        assert_proposition_4(across, gradient, m)
    with rejected("a step where the gradient is zero"):
        assert_proposition_4(d, 0 * gradient, m)


# ---- writing into what is not one's own, and mixing backends

def test_a_method_that_writes_into_its_signal_raises():
    right = case()

    def spoil(block):
        block.g[:] = 0
        return block.phi.adjoint_theta(block.a, block.g)
    state = right.net.forward(right.X)
    state.a[1].flags.writeable = False

    def spoil_input(block):
        a = block.a
        a *= 2
        return block.phi.adjoint_theta(a, block.g)
    with pytest.raises(ValueError, match="read-only"):
        ml.methods.as_method(spoil_input).directions(right.net, state, right.y)
    with pytest.raises(ValueError, match="read-only"):
        right.net.parameters[0] -= 1.0
    with rejected("∇J"):  # a signal that is overwritten fails the gradient check instead
        assert_gradients(right.net, right.X, right.y,
                         ml.methods.as_method(spoil).direction(right.net, right.X, right.y)[1], right.rng)


@pytest.mark.parametrize("propose", [
    lambda block: np.asarray(block.theta),
    lambda block: block.phi.adjoint_theta(block.a, block.g) * np.ones(block.theta.shape),
    lambda block: np.nan_to_num(block.theta),
    lambda block: block.theta.get() + block.theta,
], ids=["asarray", "host factor", "NumPy alone has it", "half moved"])
def test_a_method_that_mixes_backends_fails_on_the_stand_in(strict_cupy, propose):
    right = case()
    net = ml.mlp([4, 5, 5, 3], dtype=np.float64, backend="cupy")
    with pytest.raises(TypeError):
        ml.methods.as_method(propose).direction(net, right.X, right.y)


# ---- the predicates themselves

def test_nan_is_no_agreement():
    with rejected("relative error nan"):
        assert_close("nan", np.array([np.nan]), np.array([1.0]), 1.0)


def test_shapes_are_not_broadcast():
    with rejected(re.escape("shapes (3, 1) and (3, 3) differ")):
        assert_close("shapes", np.ones((3, 1)), np.ones((3, 3)), 1.0)


def test_a_missing_oracle_is_an_error(oracle):
    with pytest.raises(FileNotFoundError):
        oracle("none")
    with pytest.raises(KeyError):
        assert_oracle([SimpleNamespace()], oracle("proxprop_mlp"), "no such key", [1.0])
