r"""Convolution as the linear map :math:`z = \tilde P(a)\,\theta`, P the matrix of patches: few unknowns, many rows.

Images are (N, H, W, C), channels last; :math:`\theta = [W; b^T]` is (kernel·kernel·c_in + 1, c_out), its rows in the
patch order (row, column, channel); the operation is cross-correlation (the kernel is not flipped), padded with zeros.

The patch matrix is formed only when `rows` is called. Let B be the *strips* of an image, the windows of its
columns. Then a patch is `kernel` strips stacked one below the other, and

.. math:: z[y] = \sum_i B[s y + i]\, W_i, \qquad (\nabla W)_i = \sum_y B[s y + i]^T g[y]

with the stride s. These are sums of `kernel` matrix products, with an array that is `kernel` times as large as the
image instead of kernel² times. They are computed in blocks of images that stay in the processor's cache. The adjoint in
a is the convolution of g, its pixels spaced s apart, with the kernel turned by 180°.

The Gram matrix :math:`\tilde P^T\tilde P` of the proximal steps consists of autocorrelations, many of them equal: see
`centred_patch_gram`.
"""

from __future__ import annotations

import copy
import math
from functools import cached_property

import numpy as np

from minilift.layers.gram import Gram
from minilift.layers.maps import Map, checked_initialization, draw_theta
from minilift.support.arguments import fits_in_memory, known_name, sequence, whole_number
from minilift.support.backend import array_module

BLOCK_BYTES = 3 << 19  # of strips at a time: well inside a second-level cache
DEVICE_BLOCK_BYTES = 1 << 28  # a GPU wants few large products
TILE_WIDTH = 128  # image columns × channels, roughly, that one product of image rows spans in the Gram matrix


class Conv2d(Map):
    r"""Convolution :math:`\varphi(\theta, a)`, a fully connected map on every patch of the image.

    Parameters
    ----------
    c_in, c_out : int
        Number of input and output channels.
    kernel : int
        Rows and columns of the filters.
    stride : int, default 1
        Step between patches, down and across.
    padding : {"same", "valid"} or int, default "same"
        Rows and columns of zeros on each side of the image: kernel // 2 for "same" (odd kernels only; with stride 1
        the output is as large as the input), 0 for "valid", or the given number.
    init : str or float, default "uniform"
        As for `Linear`, with kernel·kernel·c_in inputs.
    image_size : (int, int), optional
        H and W of the input, for a map used alone; a network tells its maps (`for_images`). Without it `adjoint_input`
        assumes the smallest image that has as many patches, which with stride 1 is the only one.

    Examples
    --------
    >>> phi = ml.Conv2d(1, 1, kernel=3)
    >>> theta = np.r_[np.ones(9), 0.5].reshape(10, 1)  # sums over 3×3 pixels, and a bias
    >>> phi.forward(theta, np.ones((1, 3, 3, 1)))[0, :, :, 0].tolist()
    [[4.5, 6.5, 4.5], [6.5, 9.5, 6.5], [4.5, 6.5, 4.5]]
    """

    takes_images = True
    shown_bare, shown_always = ("c_in", "c_out", "kernel"), ("padding",)

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1,
                 padding: str | int = "same", init: str | float = "uniform",
                 image_size: tuple[int, int] | None = None) -> None:
        self.c_in = whole_number("Conv2d: c_in", c_in)
        self.c_out = whole_number("Conv2d: c_out", c_out)
        self.kernel = whole_number("Conv2d: kernel", kernel)
        self.stride = whole_number("Conv2d: stride", stride)
        self.padding, self.pad = padding, pad_width(padding, self.kernel)
        self.init = checked_initialization("Conv2d: init", init)
        self.image_size = None if image_size is None else tuple(
            whole_number("Conv2d: image_size", n) for n in sequence("Conv2d: image_size", image_size, "sizes", 2))
        self.known_size = self.image_size
        self.n_in = self.kernel**2 * self.c_in
        fits_in_memory("Conv2d: the parameters, kernel² × c_in × c_out,", 8 * math.prod(self.theta_shape))

    @property
    def theta_shape(self):
        """Shape of θ, (kernel·kernel·c_in + 1, c_out)."""
        return (self.n_in + 1, self.c_out)

    def initial_theta(self, rng):
        """Draw θ with NumPy's generator `rng`, as float64."""
        return draw_theta(rng, self.init, self.n_in, self.c_out, fan_in=self.n_in, fan_out=self.kernel**2 * self.c_out)

    def output_shape(self, input_shape):
        """Shape (H', W', c_out) of one output sample for one input image of shape (H, W, c_in)."""
        shape = tuple(input_shape)
        if len(shape) != 3 or shape[2] != self.c_in:
            raise ValueError(f"{self!r} expects images of shape (H, W, {self.c_in}), channels last, got {shape}")
        height, width = (patches_along(n, self.kernel, self.stride, self.pad) for n in shape[:2])
        if min(height, width) < 1:
            raise ValueError(f"{self!r}: images of {shape[0]}×{shape[1]} pixels are smaller than the kernel")
        return (height, width, self.c_out)

    def for_images(self, input_shape):
        """Return a copy of this map that knows the size of its input images, which is not one of its settings."""
        known = copy.copy(self)
        known.known_size = tuple(input_shape[:2])
        return known

    def forward(self, theta: np.ndarray, a: np.ndarray) -> np.ndarray:
        r"""Return :math:`z = \varphi(\theta, a)`, shape (N, H', W', c_out), for images a of shape (N, H, W, c_in)."""
        size = self.output_shape(a.shape[1:])[:2]
        return correlate(a, theta[:-1], self.kernel, size, offset=self.pad, step=self.stride, bias=theta[-1])

    def adjoint_input(self, theta: np.ndarray, g: np.ndarray) -> np.ndarray:
        r"""Return the adjoint of forward in a, applied to g of shape (N, H', W', c_out): shape (N, H, W, c_in)."""
        k, s, p = self.kernel, self.stride, self.pad
        size = self.known_size or [(n - 1) * s + k - 2 * p for n in g.shape[1:3]]
        turned = theta[:-1].reshape(k, k, self.c_in, self.c_out)[::-1, ::-1].transpose(0, 1, 3, 2)
        return correlate(g, turned.reshape(-1, self.c_in), k, size, offset=k - 1 - p, apart=s)

    def adjoint_theta(self, a: np.ndarray, g: np.ndarray) -> np.ndarray:
        r"""Return :math:`\tilde P(a)^T g`, shape (kernel·kernel·c_in + 1, c_out): the adjoint of forward in θ."""
        xp = array_module(a, g)
        k, s = self.kernel, self.stride
        height, width = self.output_shape(a.shape[1:])[:2]
        result = xp.zeros((self.n_in + 1, g.shape[3]), dtype=g.dtype)
        by_row = result[:-1].reshape(k, k * self.c_in, -1)
        for images in blocks(a, k):
            b = strips(a[images], k, (height, width), offset=self.pad, step=s)
            g_rows = xp.ascontiguousarray(g[images].transpose(1, 0, 2, 3)).reshape(-1, g.shape[3])
            for i in range(k):
                by_row[i] += every_row(b, i, height, s).T @ g_rows
        result[-1] = g.sum(axis=0).sum(axis=(0, 1))  # over images first: long contiguous runs of memory
        return result

    def rows(self, a):
        """Return the patch matrix (N·H'·W', kernel·kernel·c_in), which multiplies W; it is large."""
        k, s, p = self.kernel, self.stride, self.pad
        height, width = self.output_shape(a.shape[1:])[:2]
        padded = array_module(a).pad(a, ((0, 0), (p, p), (p, p), (0, 0)))
        windows = windows_along(windows_along(padded, k, axis=1), k, axis=2)[:, ::s, ::s][:, :height, :width]
        return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, self.n_in)

    def gram(self, a, side=None, bias=True):
        """Return the Gram operator of this map at the images a; on the parameter side it forms no patch matrix."""
        height, width = self.output_shape(a.shape[1:])[:2]
        if side is None:
            side = "sample" if len(a) * height * width <= self.n_in + bias else "parameter"
        if known_name("Conv2d: side", side, ("sample", "parameter")) == "sample":
            return Gram(self.rows(a), side="sample", bias=bias)
        return PatchGram(self, a, bias)


class PatchGram(Gram):
    r"""The operator :math:`\tilde P^T\tilde P` of a convolution, on the parameter side (see `Gram`), without patches.

    Parameters
    ----------
    phi : Conv2d
    a : array (N, H, W, c_in)
        Input images.
    bias : bool, default True
    """

    side = "parameter"

    def __init__(self, phi, a, bias=True):
        self.phi, self.a, self.bias, self.xp = phi, a, bias, array_module(a)
        self.height = len(a) * math.prod(phi.output_shape(a.shape[1:])[:2])

    @cached_property
    def matrix(self):
        """The patches' C, formed on first use."""
        return patch_gram(self.phi, self.a, self.bias)

    def in_double(self):
        """Return the same operator for the images in float64."""
        return PatchGram(self.phi, self.a.astype(np.float64), self.bias)

    def singular(self):
        """Return singular values and right vectors of the patch matrix, by QR, one block of images at a time."""
        xp, r = self.xp, self.xp.empty((0, self.coordinates), self.a.dtype)
        for images in blocks(self.a, self.phi.kernel**2):
            patches = self.phi.rows(self.a[images])
            ones = xp.ones((len(patches), int(self.bias)), self.a.dtype)
            r = xp.linalg.qr(xp.concatenate([r, xp.concatenate([patches, ones], axis=1)]), mode="r")
        _, values, right = xp.linalg.svd(r, full_matrices=False)
        return values, right.T, None

    @property
    def coordinates(self):
        """Number of parameters per output channel."""
        return self.phi.n_in + self.bias

    def apply(self, d):
        r"""Return :math:`\tilde P d`, the change of z along the step d in θ, as a matrix (rows, c_out)."""
        if not self.bias:
            d = self.xp.pad(d, ((0, 1), (0, 0)))
        return self.phi.forward(d, self.a).reshape(-1, d.shape[1])

    def adjoint(self, g):
        r"""Return :math:`\tilde P^T g` for g of shape (rows, c_out)."""
        height, width = self.phi.output_shape(self.a.shape[1:])[:2]
        d = self.phi.adjoint_theta(self.a, g.reshape(len(self.a), height, width, g.shape[1]))
        return d if self.bias else d[:-1]


def correlate(a, w, kernel, size, *, offset, step=1, apart=1, bias=None):
    r"""Return :math:`\sum_i B[s y + i]\, w_i` plus bias for all rows y of the output.

    Parameters
    ----------
    a : array (N, H, W, C)
    w : array (kernel·kernel·C, n_out)
    kernel : int
    size : (int, int)
        Rows and columns of the output.
    offset : int
        Zeros before the first pixel; negative: pixels left out.
    step : int, default 1
        The stride s of the output.
    apart : int, default 1
        The distance between neighbouring pixels.
    bias : array (n_out,), optional

    Returns
    -------
    array (N, \*size, n_out)
    """
    xp = array_module(a, w)
    height, width = size
    by_row = w.reshape(kernel, -1, w.shape[1])
    z = xp.empty((len(a), height, width * w.shape[1]), dtype=a.dtype)
    shift = 0 if bias is None else xp.tile(bias, width)
    for images in blocks(a, kernel, apart):
        b = strips(a[images], kernel, size, offset=offset, step=step, apart=apart)
        total = every_row(b, 0, height, step) @ by_row[0]
        product = xp.empty_like(total)
        for i in range(1, kernel):
            total += xp.matmul(every_row(b, i, height, step), by_row[i], out=product)
        total = total.reshape(height, -1, z.shape[2]).transpose(1, 0, 2)
        xp.add(total, shift, out=z[images])
    return z.reshape(len(a), height, width, w.shape[1])


def strips(a, kernel, size, *, offset, step=1, apart=1):
    """Return the windows of columns of the padded images, row by row: shape (rows, n, width, kernel·C).

    Rows come first, so that a range of rows, of all images, is one matrix; see `correlate` for the arguments.
    """
    xp = array_module(a)
    rows, columns = ((n - 1) * step + kernel for n in size)
    padded = xp.zeros((rows, len(a), columns, a.shape[3]), dtype=a.dtype)
    from_y, to_y = placing(a.shape[1], rows, offset, apart)
    from_x, to_x = placing(a.shape[2], columns, offset, apart)
    padded[to_y, :, to_x] = a[:, from_y, from_x].transpose(1, 0, 2, 3)
    windows = windows_along(padded, kernel, axis=2)[:, :, ::step].transpose(0, 1, 2, 4, 3)
    # the copy is made here, once: reshape alone would return a view of overlapping windows
    return xp.ascontiguousarray(windows).reshape(rows, len(a), size[1], -1)


def placing(n, room, offset, apart):
    """Return two slices, which of n pixels go where: pixel i to offset + i·apart, as far as there is room."""
    first = max(0, -(offset // apart))  # the first i with offset + i·apart ≥ 0
    stop = max(first, min(n, (room - 1 - offset) // apart + 1))
    start = offset + first * apart
    return slice(first, stop), slice(start, start + (stop - first) * apart, apart)


def every_row(b, i, height, step):
    """Return strips i, i + step, … (`height` of them) of all images as one matrix; no copy for step 1."""
    return b[i:i + (height - 1) * step + 1:step].reshape(-1, b.shape[3])


def windows_along(a, kernel, axis):
    """Return a view of all windows of `kernel` entries along one axis; the entries get a new last axis."""
    return array_module(a).lib.stride_tricks.sliding_window_view(a, kernel, axis=axis)


def blocks(a, kernel, apart=1):
    """Yield slices of images whose strips fill the cache."""
    budget = BLOCK_BYTES if array_module(a) is np else DEVICE_BLOCK_BYTES
    images = max(1, int(budget // max(1, a[:1].nbytes * kernel * apart**2)))
    for first in range(0, len(a), images):
        yield slice(first, first + images)


def patches_along(n, kernel, stride, pad):
    """Return how many patches fit along n pixels."""
    return (n + 2 * pad - kernel) // stride + 1


def pad_width(padding, kernel):
    """Return the number of zeros on each side."""
    if isinstance(padding, str):
        if known_name("Conv2d: padding", padding, ("same", "valid")) == "valid":
            return 0
        if kernel % 2 == 0:
            raise ValueError(f"Conv2d: padding='same' needs an odd kernel, got kernel={kernel}; give the padding as "
                             "a number")
        return kernel // 2
    return whole_number("Conv2d: padding", padding, least=0)


# ---- the Gram matrix of patches


def patch_gram(phi, a, bias=True):
    r"""Return :math:`C = \tilde P^T\tilde P` (without the ones if not `bias`) in float64.

    With M the mean image, :math:`a_c = a - M`, and the rows of patches those of N images,

    .. math:: P^TP = P_c^TP_c + R^TP_M + P_M^TR + N\,P_M^TP_M, \qquad R = \sum_n P(a_c[n]) \approx 0,

    of which only the first term is formed in float32; the others come from the patches of a single image.
    """
    xp = array_module(a)
    n = len(a)
    mean = a.mean(axis=0)
    centred = a.transpose(1, 0, 2, 3).copy()  # (H, N, W, C): a range of rows is one matrix
    centred -= mean[:, None]
    p_mean = phi.rows(mean[None].astype(np.float64))
    # the mean is rounded, so the centred images do not sum exactly to zero
    rest = phi.rows(centred.sum(axis=1, dtype=np.float64)[None])
    cross = p_mean.T @ rest
    gram = xp.empty((phi.n_in + bias, phi.n_in + bias), dtype=np.float64)
    gram[:phi.n_in, :phi.n_in] = centred_patch_gram(phi, centred)
    gram[:phi.n_in, :phi.n_in] += cross + cross.T + n * (p_mean.T @ p_mean)
    if bias:
        gram[-1, :-1] = gram[:-1, -1] = (rest + n * p_mean).sum(axis=0)
        gram[-1, -1] = n * len(p_mean)
    return gram


def centred_patch_gram(phi, a):
    r"""Return :math:`P^TP` in float64 for images a of shape (H, N, W, C), from products of image rows.

    The entry of two offsets (i, j, c), (i + d, j', c') is the correlation of two shifted images,

    .. math:: \sum_{y,x}\sum_n a[n, s y + i - p, s x + j - p, c]\; a[n, s y + i + d - p, s x + j' - p, c'].

    The sum over rows and images is a product of two ranges of image rows d apart. Except for a few rows at the border
    it is the same for all i: one large product for each d, and small ones to complete it. The sum over x remains.
    """
    xp = array_module(a)
    k, s = phi.kernel, phi.stride
    gram = xp.empty((k, k * phi.c_in, k, k * phi.c_in), dtype=np.float64)
    for d in range(k):
        for residue in range(min(s, k - d)):
            offsets = range(residue, k - d, s)
            ranges = [row_range(phi, a.shape[0], i, d) for i in offsets]
            common = range(max(r.start for r in ranges), min(r.stop for r in ranges), s)
            shared = rows_correlation(phi, a, common, d)
            border = {y: rows_correlation(phi, a, range(y, y + 1), d)
                      for y in sorted(set().union(*ranges) - set(common))}
            for i, rows in zip(offsets, ranges):
                entry = sum((border[y] for y in rows if y not in common), start=shared)
                gram[i, :, i + d, :] = entry
                gram[i + d, :, i, :] = entry.T
    return gram.reshape(phi.n_in, phi.n_in)


def row_range(phi, height, i, d):
    """Return the image rows s·y + i − p over output rows y, such that they and the rows d below are in the image."""
    s, start = phi.stride, i - phi.pad
    first = max(0, -(start // s))
    stop = max(first, min(patches_along(height, phi.kernel, s, phi.pad), -((start + d - height) // s)))
    return range(start + first * s, start + stop * s, s)


def rows_correlation(phi, a, rows, d):
    r"""Return the sum over images, the given rows (with those d below them) and x, for all (j, c), (j', c').

    Shape (k·C, k·C), float64.

    The product of two rows holds all pairs of columns; the pairs (s x + j − p, s x + j' − p) lie near its diagonal.
    Wide images are therefore cut into tiles of output columns x.
    """
    xp = array_module(a)
    k, s, p, C = phi.kernel, phi.stride, phi.pad, phi.c_in
    width = a.shape[2]
    upper, lower = (a[rows.start + e:rows.stop + e:s].reshape(-1, width * C) for e in (0, d))
    n_columns = patches_along(width, k, s, p)
    total = xp.zeros((k, C, k, C), dtype=np.float64)
    tile = -(-n_columns // max(1, n_columns * s * C // TILE_WIDTH))
    for first in range(0, n_columns, tile):
        count = min(tile, n_columns - first)
        left, size = first * s - p, (count - 1) * s + k  # the window of image columns that these patches cover
        start, stop = max(left, 0), min(left + size, width)
        if start >= stop:  # padding only
            continue
        product = upper[:, start * C:stop * C].T @ lower[:, start * C:stop * C]
        window = xp.zeros((size, C, size, C), dtype=np.float64)
        inside = slice(start - left, stop - left)
        window[inside, :, inside] = product.reshape(stop - start, C, stop - start, C)
        total += sum_along_diagonal(window, k, s, count)
    return total.reshape(k * C, k * C)


def sum_along_diagonal(window, k, s, count):
    """Return Σ_x window[s·x + j, c, s·x + j', c'] over x < count for all j, j' < k, shape (k, C, k, C)."""
    C = window.shape[1]
    down, channel, across, other = window.strides
    pairs = array_module(window).lib.stride_tricks.as_strided(
        window, (count, k, C, k, C), (s * (down + across), down, channel, across, other))
    return pairs.sum(axis=0)
