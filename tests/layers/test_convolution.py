"""Convolution as a linear map on patches: forward, both adjoints, the structured Gram matrix."""

from typing import NamedTuple

import numpy as np
import pytest
from conftest import read_only
from hypothesis import given
from hypothesis import strategies as st
from laws import assert_adjoint, assert_close, assert_gram, norm, patches_by_loops, stacked

import minilift as ml
from minilift.layers import convolution
from minilift.local.solvers import conjugate_gradients, damped_solve


class Convolution(NamedTuple):
    """A random convolution, its input, a signal and its patch matrix by loops: the reference."""

    phi: ml.Conv2d
    theta: np.ndarray
    a: np.ndarray
    g: np.ndarray
    patches: np.ndarray


def random_convolution(rng, phi, samples, height, width):
    a = read_only(rng.standard_normal((samples, height, width, phi.c_in)))
    theta = read_only(rng.standard_normal(phi.theta_shape))
    g = read_only(rng.standard_normal((samples, *phi.output_shape(a.shape[1:]))))
    return Convolution(phi.for_images(a.shape[1:]), theta, a, g, patches_by_loops(phi, a))


@st.composite
def convolutions(draw, largest=7):
    """Draw one: any kernel, stride and padding, also wider than the image, images that are not square."""
    kernel, padding = draw(st.integers(1, 5)), draw(st.integers(0, 5))
    least = max(1, kernel - 2 * padding)
    height, width = draw(st.integers(least, max(least, largest))), draw(st.integers(least, max(least, largest)))
    phi = ml.Conv2d(draw(st.integers(1, 3)), draw(st.integers(1, 3)), kernel, stride=draw(st.integers(1, 4)),
                    padding=padding)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random_convolution(rng, phi, draw(st.integers(1, 4)), height, width)


# ---- the map

@given(convolutions())
def test_forward_is_the_product_with_the_patch_matrix(case):
    phi = case.phi
    assert_close("rows", phi.rows(case.a), case.patches, 0)
    z = phi.forward(case.theta, case.a)
    assert_close("forward", phi.columns(z), stacked(case.patches) @ case.theta, 1e-13)


@given(convolutions())
def test_adjoints_are_transposes(case):
    phi, rng = case.phi, np.random.default_rng(0)
    without_bias = np.vstack([case.theta[:-1], np.zeros((1, phi.c_out))])
    assert_adjoint("adjoint_input", lambda t: phi.forward(without_bias, t),
                   lambda g: phi.adjoint_input(case.theta, g), rng.standard_normal(case.a.shape), case.g)
    expected = stacked(case.patches).T @ phi.columns(case.g)
    assert_close("adjoint_theta", phi.adjoint_theta(case.a, case.g), expected, 1e-13)


@given(convolutions(), st.sampled_from([1, 200, 10**9]))
def test_blocks_of_images_change_nothing(case, budget):
    phi = case.phi
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "BLOCK_BYTES", budget)
        z, d = phi.forward(case.theta, case.a), phi.adjoint_theta(case.a, case.g)
    assert_close("forward", phi.columns(z), stacked(case.patches) @ case.theta, 1e-13)
    assert_close("adjoint_theta", d, stacked(case.patches).T @ phi.columns(case.g), 1e-13)


@given(convolutions())
def test_it_is_a_fully_connected_map_on_patches(case):
    phi, linear = case.phi, ml.Linear(case.phi.n_in, case.phi.c_out)
    assert phi.theta_shape == linear.theta_shape
    expected = linear.forward(case.theta, case.patches)
    assert_close("forward", phi.columns(phi.forward(case.theta, case.a)), expected, 1e-13)
    with_zeros = np.zeros_like(case.theta)
    with_zeros[-1] = case.theta[-1]
    assert (phi.forward(with_zeros, case.a) == case.theta[-1]).all()


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_one_channel_is_scipys_correlation(rng, kernel, padding):
    signal = pytest.importorskip("scipy.signal")
    phi = ml.Conv2d(1, 1, kernel, padding=padding)
    image, theta = rng.standard_normal((9, 7)), rng.standard_normal(phi.theta_shape)
    expected = signal.correlate2d(image, theta[:-1].reshape(kernel, kernel), mode=padding) + theta[-1]
    assert_close("forward", phi.forward(theta, image[None, :, :, None])[0, :, :, 0], expected, 1e-13)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(5, 1, 2), (3, 2, 0), (4, 3, 1), (1, 1, 0), (3, 2, 4)])
def test_pytorchs_convolution(rng, kernel, stride, padding):
    torch = pytest.importorskip("torch")
    phi = ml.Conv2d(3, 4, kernel, stride=stride, padding=padding).for_images((9, 8, 3))
    theta, a = rng.standard_normal(phi.theta_shape), rng.standard_normal((2, 9, 8, 3))
    weight = torch.tensor(theta[:-1].reshape(kernel, kernel, 3, 4).transpose(3, 2, 0, 1), requires_grad=True)
    bias, image = torch.tensor(theta[-1], requires_grad=True), torch.tensor(a.transpose(0, 3, 1, 2), requires_grad=True)
    z = torch.nn.functional.conv2d(image, weight, bias, stride=stride, padding=padding)
    g = rng.standard_normal((2, *phi.output_shape((9, 8, 3))))
    z.backward(torch.tensor(g.transpose(0, 3, 1, 2)))
    assert_close("forward", phi.forward(theta, a), z.detach().numpy().transpose(0, 2, 3, 1), 1e-13)
    assert_close("adjoint_input", phi.adjoint_input(theta, g), image.grad.numpy().transpose(0, 2, 3, 1), 1e-13)
    d = phi.adjoint_theta(a, g)
    assert_close("adjoint_theta, W", d[:-1], weight.grad.numpy().transpose(2, 3, 1, 0).reshape(-1, 4), 1e-13)
    assert_close("adjoint_theta, b", d[-1], bias.grad.numpy(), 1e-13)


def test_same_keeps_the_size_and_valid_pads_nothing():
    assert ml.Conv2d(2, 7, 5).output_shape((8, 6, 2)) == (8, 6, 7)
    assert ml.Conv2d(2, 7, 5, padding="valid").output_shape((8, 6, 2)) == (4, 2, 7)
    assert ml.Conv2d(2, 7, 5, stride=2).output_shape((8, 7, 2)) == (4, 4, 7)


def test_without_a_size_the_adjoint_takes_the_smallest_image(rng):
    phi = ml.Conv2d(1, 1, 2, stride=3, padding=0)
    theta, g = rng.standard_normal(phi.theta_shape), rng.standard_normal((1, 2, 2, 1))
    small = phi.adjoint_input(theta, g)
    assert small.shape == (1, 5, 5, 1)
    large = phi.for_images((7, 6, 1)).adjoint_input(theta, g)
    assert (large[:, :5, :5] == small).all()
    assert not large[:, 5:].any()
    assert not large[:, :, 5:].any()


# ---- the Gram operator

@given(convolutions())
def test_gram_operator_is_that_of_the_patch_matrix(case):
    rng = np.random.default_rng(0)
    for side in ("sample", "parameter"):
        assert_gram(case.phi.gram(case.a, side=side), stacked(case.patches), rng)
        assert_gram(case.phi.gram(case.a, side=side, bias=False), case.patches, rng)


@given(convolutions(largest=16), st.sampled_from([1, 8, 10**6]))
def test_tiles_of_the_gram_matrix_change_nothing(case, width):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "TILE_WIDTH", width)
        gram = case.phi.gram(case.a, side="parameter").matrix
    dense = stacked(case.patches)
    assert_close("Gram", gram, dense.T @ dense, 1e-12)


@pytest.mark.parametrize(("samples", "side"), [(1, "sample"), (2, "parameter")])
def test_gram_takes_the_smaller_side(rng, samples, side):
    phi = ml.Conv2d(2, 3, 3)
    gram = phi.gram(rng.standard_normal((samples, 4, 4, 2)))  # 16 patches an image, 19 parameters a channel
    assert gram.side == side
    assert len(gram.matrix) == gram.coordinates == min(16 * samples, 19)


def test_without_damping_and_bias_the_shortest_solution_is_taken(rng):
    phi, a = ml.Conv2d(2, 3, 3), np.repeat(rng.standard_normal((1, 4, 4, 2)), 2, axis=0)  # 16 patches, 18 weights
    g = rng.standard_normal((32, 3))
    d = damped_solve(phi.gram(a, side="parameter", bias=False), g, 0.0).value
    assert_close("d", d, np.linalg.pinv(patches_by_loops(phi, a)) @ g, 1e-8)


def test_float32_gram_of_images_with_large_means_is_accurate(rng):
    """Centred on the mean image, the error stays near float32's rounding of the images' spread, not of their mean."""
    phi = ml.Conv2d(3, 1, 3)
    mean = 50 * rng.uniform(0.5, 1, (8, 8, 3))
    a = (mean + 0.1 * rng.standard_normal((40, 8, 8, 3))).astype(np.float32)
    dense = stacked(patches_by_loops(phi, a).astype(np.float64))
    exact = dense.T @ dense
    plain = dense.astype(np.float32).T @ dense.astype(np.float32)
    error = abs(phi.gram(a).matrix - exact).max()
    assert error <= 1e-6 * len(dense)  # of the sums over all patches
    assert abs(plain - exact).max() > 1000 * error


@given(convolutions(), st.sampled_from([0.05, 1.0, 100.0]))
def test_exact_prox_is_a_stacked_least_squares_problem(case, tau_theta):
    r"""‖P̃d − g‖² + ‖d‖²/τ_θ is the squared residual of [P̃; I/√τ_θ] d = [g; 0]."""
    phi, g = case.phi, case.phi.columns(case.g)
    tilde = stacked(case.patches)
    n = tilde.shape[1]
    expected = np.linalg.lstsq(np.vstack([tilde, np.eye(n) / np.sqrt(tau_theta)]),
                               np.vstack([g, np.zeros((n, phi.c_out))]), rcond=None)[0]
    for side in ("sample", "parameter"):
        solution = damped_solve(phi.gram(case.a, side=side), g, 1 / tau_theta)
        assert_close(f"prox ({side})", solution.value, expected, 1e-8)
        assert solution.residual.max() < 1e-7


@given(convolutions(), st.integers(1, 3), st.booleans())
def test_cg_is_that_on_the_patch_matrix(case, steps, joint):
    phi, g = case.phi, case.phi.columns(case.g)
    on_patches = ml.maps.Gram(case.patches, side="parameter")
    expected = conjugate_gradients(on_patches, g, 1.0, steps, joint=joint).value
    got = conjugate_gradients(phi.gram(case.a, side="parameter"), g, 1.0, steps, joint=joint).value
    assert_close("CG", got, expected, 1e-9)


def test_the_gram_matrix_of_many_images_does_not_need_their_patches(rng):
    """Memory: less than a tenth of what the patch matrix would take."""
    import tracemalloc
    phi, a = ml.Conv2d(4, 4, 5), rng.standard_normal((300, 16, 16, 4)).astype(np.float32)
    theta = phi.initial_theta(rng).astype(np.float32)
    g = phi.forward(theta, a)
    patches = 300 * 16 * 16 * 100 * 4
    tracemalloc.start()
    phi.gram(a).matrix  # noqa: B018
    assert tracemalloc.get_traced_memory()[1] < patches / 10
    tracemalloc.reset_peak()
    phi.adjoint_theta(a, g)
    assert tracemalloc.get_traced_memory()[1] < patches / 3  # strips of a block
    tracemalloc.stop()


# ---- errors and dtypes

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(rng, dtype):
    phi = ml.Conv2d(2, 3, 3)
    a, theta = rng.standard_normal((2, 5, 5, 2)).astype(dtype), phi.initial_theta(rng).astype(dtype)
    z = phi.forward(theta, a)
    step = damped_solve(phi.gram(a), phi.columns(z), 1.0).value
    for array in (z, phi.adjoint_theta(a, z), phi.adjoint_input(theta, z), phi.rows(a), step):
        assert array.dtype == dtype


@pytest.mark.parametrize(("arguments", "message"), [
    ({"kernel": 4}, "needs an odd kernel, got kernel=4"),
    ({"padding": "sane"}, "did you mean 'same'"),
    ({"padding": -1}, "padding must be at least 0, got -1"),
    ({"stride": 0}, "stride must be at least 1, got 0"),
    ({"c_in": 0}, "c_in must be at least 1, got 0"),
    ({"init": "unifrom"}, "did you mean 'uniform'"),
])
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        ml.Conv2d(**{"c_in": 1, "c_out": 1, "kernel": 3, **arguments})


def test_images_are_checked(rng):
    phi = ml.Conv2d(3, 2, 3, padding=0)
    theta = rng.standard_normal(phi.theta_shape)
    with pytest.raises(ValueError, match=r"images of shape \(H, W, 3\), channels last, got \(3, 8, 8\)"):
        phi.forward(theta, rng.standard_normal((2, 3, 8, 8)))
    with pytest.raises(ValueError, match="2×9 pixels are smaller than the kernel"):
        phi.forward(theta, rng.standard_normal((2, 2, 9, 3)))


def test_initial_theta_is_bounded_by_the_patch_size():
    phi = ml.Conv2d(4, 400, 5)
    theta, bound = phi.initial_theta(np.random.default_rng(0)), 1 / np.sqrt(100)
    assert theta.shape == (101, 400)
    assert 0.99 * bound < abs(theta).max() <= bound
    he = ml.Conv2d(4, 400, 5, init="he").initial_theta(np.random.default_rng(0))
    assert abs(norm(he[:-1]) / np.sqrt(100 * 400 * 2 / 100) - 1) < 0.02
    assert not he[-1].any()
    glorot, bound = ml.Conv2d(4, 40, 5, init="glorot").initial_theta(np.random.default_rng(0)), np.sqrt(6 / 25 / 44)
    assert 0.99 * bound < abs(glorot).max() <= bound  # each output counts as often as the kernel has pixels
