"""Pooling and flattening: values by loops, adjoints by differences and against PyTorch, ties."""

import numpy as np
import pytest
from conftest import read_only
from hypothesis import given
from hypothesis import strategies as st
from laws import assert_adjoint, assert_close, central_difference

import minilift as ml


@st.composite
def pools(draw, kind):
    """Draw a pooling and an image that it takes: windows side by side, overlapping, with pixels left over."""
    size, stride = draw(st.integers(1, 3)), draw(st.none() | st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = [draw(st.integers(1, 3)), *(draw(st.integers(size, 7)) for _ in range(2)), draw(st.integers(1, 3))]
    return kind(size, stride=stride), read_only(rng.standard_normal(shape)), rng


def by_loops(pool, z, function):
    """Return function of each window and channel."""
    height, width, channels = pool.output_shape(z.shape[1:])
    a = np.empty((len(z), height, width, channels))
    for n, y, x, c in np.ndindex(a.shape):
        i, j = y * pool.stride, x * pool.stride
        a[n, y, x, c] = function(z[n, i:i + pool.size, j:j + pool.size, c])
    return a


def check_adjoint(transfer, z, rng):
    """The adjoint is the transposed derivative, which is by differences."""
    a, aux = transfer.apply(z)
    assert_adjoint(repr(transfer), lambda t: central_difference(lambda x: transfer.apply(x)[0], z, t, step=1e-7),
                   lambda g: transfer.adjoint(z, a, aux, g), rng.standard_normal(z.shape), rng.standard_normal(a.shape),
                   1e-6)


@given(pools(ml.MaxPool2d))
def test_max_pooling(case):
    pool, z, rng = case
    assert_close(repr(pool), pool.apply(z)[0], by_loops(pool, z, np.max), 0)
    gaps = np.diff(np.sort(z.ravel()))
    if not gaps.size or gaps.min() > 1e-5:  # else a difference may step over a kink
        check_adjoint(pool, z, rng)


@given(pools(ml.AvgPool2d))
def test_average_pooling(case):
    pool, z, rng = case
    assert_close(repr(pool), pool.apply(z)[0], by_loops(pool, z, np.mean), 1e-14)
    check_adjoint(pool, z, rng)


def test_flatten_goes_row_by_row_with_channels_last(rng):
    z = read_only(rng.standard_normal((3, 2, 4, 5)))
    flatten = ml.Flatten()
    a, _ = flatten.apply(z)
    assert a.shape == (3, *flatten.output_shape((2, 4, 5))) == (3, 40)
    assert a[1, 1 * 20 + 2 * 5 + 3] == z[1, 1, 2, 3]
    check_adjoint(flatten, z, rng)


def test_of_equal_entries_the_first_takes_the_signal():
    z = np.zeros((1, 3, 3, 1))
    z[0, 0, 1, 0] = z[0, 1, 0, 0] = z[0, 1, 1, 0] = 2  # of three largest the first is that in row 0
    pool = ml.MaxPool2d(2)
    a, aux = pool.apply(z)
    result = pool.adjoint(z, a, aux, np.full((1, 1, 1, 1), 7.0))
    expected = np.zeros_like(z)
    expected[0, 0, 1, 0] = 7
    assert (result == expected).all()


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (2, 3), (3, 1)])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pytorchs_pooling(rng, kind, size, stride):
    """With ties too: values are few."""
    torch = pytest.importorskip("torch")
    z = rng.integers(0, 3, (2, 7, 8, 3)).astype(np.float64)
    pool = (ml.MaxPool2d if kind == "max" else ml.AvgPool2d)(size, stride=stride)
    theirs = getattr(torch.nn.functional, f"{kind}_pool2d")
    image = torch.tensor(z.transpose(0, 3, 1, 2), requires_grad=True)
    expected = theirs(image, size, stride)
    a, aux = pool.apply(z)
    g = rng.standard_normal(a.shape)
    expected.backward(torch.tensor(g.transpose(0, 3, 1, 2)))
    assert_close("value", a, expected.detach().numpy().transpose(0, 2, 3, 1), 1e-15)
    assert_close("adjoint", pool.adjoint(z, a, aux, g), image.grad.numpy().transpose(0, 2, 3, 1), 1e-15)


def test_large_windows_have_places_for_all_entries():
    z = np.zeros((1, 17, 17, 1))
    z[0, 16, 16, 0] = 1
    pool = ml.MaxPool2d(17)
    a, aux = pool.apply(z)
    assert (pool.adjoint(z, a, aux, a) == z).all()


def test_errors():
    with pytest.raises(ValueError, match=r"MaxPool2d: size must be at least 1, got 0"):
        ml.MaxPool2d(0)
    with pytest.raises(ValueError, match=r"AvgPool2d\(3\) expects images .* at least 3×3 pixels, got \(2, 5, 1\)"):
        ml.AvgPool2d(3).output_shape((2, 5, 1))
    with pytest.raises(ValueError, match=r"got \(64,\)"):
        ml.MaxPool2d(2).output_shape((64,))
