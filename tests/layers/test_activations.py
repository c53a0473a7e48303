"""Transfer functions: derivative, adjoint, convex integral, range; at the ends of the number line too."""

import math

import numpy as np
import pytest
from conftest import read_only
from hypothesis import given
from hypothesis import strategies as st
from laws import (
    assert_adjoint,
    assert_close,
    assert_gradient,
    assert_relu_convention,
    assert_transfer,
    central_difference,
)
from scipy.integrate import trapezoid

import minilift as ml
from minilift.layers.activations import ACTIVATIONS, Composition, Softmax

TRANSFERS = [*(cls() for cls in ACTIVATIONS.values()), ml.LeakyReLU(0.3)]
each_transfer = pytest.mark.parametrize("transfer", TRANSFERS, ids=repr)


@each_transfer
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_derivative_adjoint_integral_and_range(transfer, seed, scale):
    rng = np.random.default_rng(seed)
    z = scale * rng.standard_normal((4, 5))
    z[abs(z) < 1e-3] = 0.5  # finite differences mean nothing at a kink
    assert_transfer(transfer, read_only(z), rng)


@each_transfer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_values_neither_overflow_nor_promote(transfer, dtype):
    z = np.array([[-1e4, -100, -1, 0, 1, 100, 1e4]], dtype=dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for value in (transfer.forward(z), transfer.derivative(z), transfer.integral(z)):
            assert value.dtype == dtype
            assert np.isfinite(value).all()
    assert transfer.in_range(transfer.forward(z))
    a, aux = transfer.apply(z)
    assert transfer.adjoint(z, a, aux, np.ones_like(z)).dtype == dtype


@each_transfer
def test_range_is_the_closure_of_the_values(transfer):
    low, high = transfer.range
    with np.errstate(over="ignore"):
        ends = transfer.forward(np.array([-1e6, 1e6]))
    for end, bound in zip(ends, (low, high)):
        assert math.isinf(bound) or abs(end - bound) < 1e-12
    for bound, outward in ((low, -1), (high, 1)):
        if math.isfinite(bound):
            assert transfer.in_range(np.array([bound]))
            assert not transfer.in_range(np.array([bound + outward * 1e-6]))


def test_relu_has_derivative_zero_at_zero():
    assert_relu_convention(ml.ReLU())


def test_at_a_kink_the_slope_is_the_flatter_one():
    ends, g = np.array([[-1.0, 1.0]]), np.ones((1, 2))
    assert not ml.HardTanh().derivative(ends).any()
    assert not ml.HardTanh().adjoint(ends, ends, None, g).any()
    assert ml.LeakyReLU(0.3).derivative(np.zeros(1)) == 0.3


def test_known_integrals():
    """F at points where it is known in closed form."""
    z = np.array([0.0, 1.0])
    assert_close("tanh", ml.Tanh().integral(z), np.log(np.cosh(z)), 1e-15)
    assert_close("sigmoid", ml.Sigmoid().integral(z), np.log1p(np.exp(z)), 1e-15)
    # −Li₂(−1) = π²/12, −Li₂(−e) = 1.8062860704447742986… (dilogarithm tables)
    assert_close("softplus", ml.Softplus().integral(np.array([0.0])), np.array([math.pi**2 / 12]), 1e-14)
    numeric = trapezoid(np.log1p(np.exp(np.linspace(-40, 1, 200_001))), dx=41 / 200_000)
    assert abs(ml.Softplus().integral(np.array([1.0]))[0] - numeric) < 1e-8


@pytest.mark.parametrize("z", [-3.95, -1.5, -30.0])  # just inside the series, outside of it, far out
def test_softplus_integral_is_exact_to_rounding(z):
    dilogarithm = math.fsum((-math.exp(z)) ** n / n**2 for n in range(1, 80))
    assert ml.Softplus().integral(np.array([z]))[0] == pytest.approx(-dilogarithm, rel=2e-14, abs=0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([1.0, 30.0, 1e3]))
def test_softmax_is_the_gradient_of_log_sum_exp_and_self_adjoint(seed, n, scale):
    rng = np.random.default_rng(seed)
    softmax, z = Softmax(), read_only(scale * rng.standard_normal((3, n)))
    a = softmax.forward(z)
    assert softmax.in_range(a)
    assert_close("rows", a.sum(axis=1), np.ones(3), 1e-14)
    assert_gradient("log Σ exp", lambda u: softmax.integral(u).sum(), z, a, rng, tolerance=1e-6)
    t, c = rng.standard_normal((2, 3, n))
    assert_adjoint("softmax", lambda u: central_difference(softmax.forward, z, u),
                   lambda g: softmax.adjoint(z, a, None, g), t, c, tolerance=1e-7)
    r, shift = rng.standard_normal((3, n)), 2.5
    s = softmax.solve_shifted(z, shift, r)
    assert_close("solve_shifted", s + shift * softmax.adjoint(z, a, None, s), r, 1e-9)


def test_softmax_range_is_the_simplex():
    softmax = Softmax()
    assert softmax.in_range(np.array([[0.2, 0.8], [1.0, 0.0]]))
    assert not softmax.in_range(np.array([[0.2, 0.9]]))
    assert not softmax.in_range(np.array([[-0.1, 1.1]]))


@pytest.mark.parametrize("f", [make() for make in ACTIVATIONS.values()], ids=repr)
def test_whole_numbers_and_numbers_without_axes_have_the_same_values(f):
    for z in (-2, 0, 3):
        for function in (f.forward, f.derivative, f.integral):
            assert function(np.array(z)) == function(np.array([z])) == function(np.array([float(z)]))


@given(st.integers(0, 2**32 - 1))
def test_a_composition_is_the_transfers_in_a_row(seed):
    rng = np.random.default_rng(seed)
    z = read_only(rng.standard_normal((3, 4)))
    chain = Composition([ml.Tanh(), ml.Softplus(), ml.Sigmoid()])
    a, aux = chain.apply(z)
    assert_close("forward", a, ml.Sigmoid().forward(ml.Softplus().forward(np.tanh(z))), 1e-15)
    t, c = rng.standard_normal((2, 3, 4))
    assert_adjoint("composition", lambda u: central_difference(lambda v: chain.apply(v)[0], z, u),
                   lambda g: chain.adjoint(z, a, aux, g), t, c, tolerance=1e-8)


def test_a_users_activation_needs_forward_and_derivative_only(rng):
    class Square(ml.Activation):
        def forward(self, z):
            return z * z

        def derivative(self, z):
            return 2 * z

    z, g = rng.standard_normal((2, 3, 2))
    assert_close("adjoint", Square().adjoint(z, z * z, None, g), 2 * z * g, 1e-15)
    with pytest.raises(NotImplementedError, match=r"Square has no integral\(z\), which exact LocoProp-M needs"):
        Square().integral(z)
    with pytest.raises(NotImplementedError, match=r"Activation must define forward\(z\)"):
        ml.Activation().forward(z)
