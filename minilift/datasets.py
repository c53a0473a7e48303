r"""Data sets: embedded digits, generated curves and toy sets, and published sets that are downloaded once.

>>> data = ml.datasets.digits()
>>> data.X_train.shape, data.y_train.shape
((1437, 64), (1437,))

Images are rows: X is float32 in [0, 1], of shape (N, height · width · channels) in this order; labels are int64
from 0. `Dataset.images` returns (N, height, width, channels); `Dataset.autoencoder` makes the inputs the targets.

`mnist`, `fashion_mnist`, `usps` and `cifar10` read their files from a folder, and download what is missing.
The folder is the argument `folder`, else the environment variable MINILIFT_DATA, else pooch's cache folder;
files are sought in its subfolder named after the set and in the folder itself, and downloads go to the
subfolder. Every file is checked: a published file against its published SHA-256; a file that was unpacked,
or repacked, against the SHA-256 of its contents where that is known (MNIST, CIFAR-10 unpacked; it is not known
for Fashion-MNIST and USPS, which are accepted only as published). The one exception is a `usps.npz` put there
by hand, of which only the format can be checked.

The readers (`decompress`, `read_tar`, `parse_idx`, `parse_cifar10`, `parse_libsvm`, `parse_npz`) take bytes,
return whole arrays or raise `DatasetError`, and use memory in proportion to the sizes that they expect.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from minilift.download import (
    CIFAR10_BATCH,
    CIFAR10_IMAGE,
    LIBSVM_URL,
    MNIST_SHAPES,
    MNIST_URL,
    PUBLISHED,
    USPS_BOUND,
    USPS_SHAPES,
    DatasetError,
    check_labels,
    check_sha256,
    data_root,
    fetch,
    find,
    parse_cifar10,
    parse_idx,
    parse_libsvm,
    parse_npz,
    places,
    read_file,
)
from minilift.support.arguments import (
    fits_in_memory,
    known_name,
    number_between,
    random_generator,
    sequence,
    shown,
    text,
    whole_number,
)
from minilift.support.backend import as_array, check_arrays
from minilift.support.spellings import guided, spelled


@guided
@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training and test samples, and their source.

    Attributes
    ----------
    name : str
    X_train, X_test : array (N, n), float32
        Images are in [0, 1] and flattened from (height, width, channels). Lists and tables of pandas become arrays.
    y_train, y_test : array
        Labels (N,), int64, from 0 to n_classes − 1; or real targets (N, m), float32. Real targets (N,) become (N, 1).
    image_shape : (height, width, channels) or None
        None if the samples are not images.
    n_classes : int or None
        None for real targets.
    source, licence : str
        The origin of the data (with what to cite), and their terms of use.

    Examples
    --------
    >>> data = ml.datasets.digits()
    >>> data
    <Dataset digits: 1437 + 360 samples of 8×8×1, 10 classes>
    >>> data.images().X_train.shape, data.autoencoder().y_train.shape
    ((1437, 8, 8, 1), (1437, 64))
    """

    name: str
    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    image_shape: tuple | None = None
    n_classes: int | None = None
    source: str = ""
    licence: str = ""

    def __post_init__(self):
        text("Dataset: name", self.name)  # with the arrays alone each would stand one place too early
        for name in ("X_train", "y_train", "X_test", "y_test"):
            array = getattr(self, name)
            if isinstance(array, Sequence) or hasattr(array, "to_numpy"):  # a list, or a table of pandas
                array = as_array(f"Dataset: {name}", array)
            if name[0] == "y" and getattr(getattr(array, "dtype", None), "kind", None) == "f" and array.ndim == 1:
                array = array.reshape(-1, 1)  # a view
            object.__setattr__(self, name, array)

    def __repr__(self):
        shape = "×".join(map(str, self.image_shape or np.shape(self.X_train)[1:]))
        targets = f"{self.n_classes} classes" if self.n_classes else f"{math.prod(np.shape(self.y_train)[1:])} targets"
        samples = f"{len(self.X_train)} + {len(self.X_test)} samples of {shape}"
        return f"<Dataset {self.name}: {samples}, {targets}>"

    def images(self) -> Dataset:
        """Return the set with X as images, (N, height, width, channels), the layout of `Conv2d`.

        Raises
        ------
        ValueError
            If the samples are not images.
        """
        if self.image_shape is None:
            raise ValueError(f"{self.name}: the samples are not images")
        return replace(self, X_train=self.X_train.reshape(-1, *self.image_shape),
                       X_test=self.X_test.reshape(-1, *self.image_shape))

    def autoencoder(self) -> Dataset:
        """Return the set whose targets are its (flat) inputs, the same arrays, to train an autoencoder."""
        X_train, X_test = (X.reshape(len(X), -1) for X in (self.X_train, self.X_test))
        return replace(self, X_train=X_train, y_train=X_train, X_test=X_test, y_test=X_test, n_classes=None)

    def standardized(self) -> Dataset:
        """Return the set with each input, and each real target, scaled to mean 0 and deviation 1 in the training part.

        Constant columns are only shifted. The test part is shifted and scaled by the same numbers.

        Examples
        --------
        >>> data = ml.datasets.teacher(100).standardized()
        >>> bool(abs(data.X_train.mean(axis=0)).max() < 1e-6), round(float(data.y_train.std()), 4)
        (True, 1.0)
        """
        parts = ["X"] if self.n_classes else ["X", "y"]
        scales = {part: mean_and_deviation(getattr(self, f"{part}_train")) for part in parts}
        return replace(self, **{f"{part}_{name}": ((getattr(self, f"{part}_{name}") - mean) / deviation).astype("f4")
                                for part, (mean, deviation) in scales.items() for name in ("train", "test")})


@spelled
def split(X: Any, y: Any, fraction: float, seed: int | np.random.Generator = 0) -> tuple[tuple[Any, Any],
          tuple[Any, Any]]:
    """Split samples at random into two parts, such as training and validation.

    Parameters
    ----------
    X, y : arrays with N rows each
        Or anything that NumPy converts to arrays of numbers: lists, pandas tables.
    fraction : float
        Share of the second part, above 0 and below 1; at least one sample goes to each part.
    seed : int or numpy.random.Generator
        The same seed and N give the same parts. Classes are not balanced.

    Returns
    -------
    (X, y), (X, y)
        The first and the second part, copies in random order.

    Examples
    --------
    >>> (X, y), (X_val, y_val) = ml.datasets.split(np.arange(10.0), np.arange(10), fraction=0.2)
    >>> len(X), len(X_val), np.array_equal(X, y), sorted([*X, *X_val]) == list(range(10))
    (8, 2, True, True)
    """
    X, y = (as_array(f"split: {name}", value, sys.modules.get("cupy", np)) for name, value in (("X", X), ("y", y)))
    check_arrays("split", "any", X=X, y=y)
    if X.ndim == 0 or y.ndim == 0:
        raise ValueError(f"split: X and y must have rows, got the shapes {X.shape} and {y.shape}")
    if len(X) != len(y):
        raise ValueError(f"split: X and y must have as many rows as each other, got {len(X)} and {len(y)}")
    if not isinstance(fraction, (float, np.floating)) or not 0 < fraction < 1:
        raise ValueError(f"split: fraction must be a number above 0 and below 1, got {shown(fraction)}")
    if len(X) < 2:
        raise ValueError(f"split: at least 2 samples are needed, got {len(X)}")
    order = random_generator("split: seed", seed).permutation(len(X))
    second = min(max(round(fraction * len(X)), 1), len(X) - 1)
    return (X[order[second:]], y[order[second:]]), (X[order[:second]], y[order[:second]])


# --- embedded -----------------------------------------------------------------------------------------------


@spelled
def digits() -> Dataset:
    """Return the embedded UCI optical digits: 1437 + 360 images of 8×8 pixels, 10 classes.

    These are the 1797 images of the repository's test part (Alpaydin and Kaynak, 1998), also part of scikit-learn;
    intensities 0 … 16 are divided by 16. The split is stored with the data: a fifth of each class, drawn once
    at random, is the test set. It mixes the writers, so that test accuracies are those for known hands.

    Raises
    ------
    DatasetError
        If the file is not found or does not have the SHA-256 given in its manifest.

    Examples
    --------
    >>> data = ml.datasets.digits()
    >>> data.X_train.shape, data.X_test.shape, np.bincount(data.y_test).tolist()
    ((1437, 64), (360, 64), [36, 37, 35, 37, 36, 36, 36, 36, 35, 36])
    """
    facts, path = digits_manifest(), data_folder() / "digits.npz"
    packed = read_file(path, facts["bytes"])
    check_sha256(packed, facts["sha256"], path, "install minilift again")
    arrays = parse_npz(packed, path, {key: tuple(array["shape"]) for key, array in facts["arrays"].items()})
    X, y = flat_images(arrays["images"], 16), arrays["labels"].astype(np.int64)
    test = arrays["is_test"] == 1
    return Dataset("digits", X[~test], y[~test], X[test], y[test], (8, 8, 1), 10,
                   f"{facts['source']}; {facts['citation']}", facts["licence"])


def digits_manifest():
    """Return the manifest's entry for the embedded digits, a dictionary."""
    path = data_folder() / "manifest.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["digits.npz"]
    except (ValueError, KeyError) as error:
        raise DatasetError(f"{path}: is damaged ({error}); install minilift again") from error


def data_folder():
    """Return the folder of the embedded data: inside an installed package, beside it in a source tree."""
    package = files("minilift")
    for folder in (package / "data", Path(str(package)).parent / "data"):
        if (folder / "manifest.json").is_file():
            return folder
    raise DatasetError(f"the embedded data are missing: no data/manifest.json in or beside {package}; "
                       "install minilift again")


# --- generated ----------------------------------------------------------------------------------------------


@spelled
def curves(n_train: int = 20000, n_test: int = 10000, seed: int | np.random.Generator = 0) -> Dataset:
    r"""Return CURVES: 28×28 images of random smooth curves, for autoencoders (the targets are the images).

    They follow Hinton and Salakhutdinov (Science 313, 2006), whose curves are made from three random points of
    the plane, so that the images have six degrees of freedom. How their program draws is not known to us; this
    is our way. The points :math:`p_0, p_1, p_2`, uniform on a square two pixels inside the image, are the
    control points of a quadratic Bézier curve (a cubic one would have eight degrees of freedom),

    .. math:: q(t) = (1 - t)^2 p_0 + 2 t (1 - t) p_1 + t^2 p_2,

    and ink is spread evenly along its length with a Gaussian pen of 0.7 pixels: the pixel at x has intensity
    :math:`\min\{1, \int e^{-\|x - q(s)\|^2 / 2\sigma^2} ds / \sqrt{2\pi}\sigma\}`, which is 1 on a straight
    stroke. The image is smooth in the six numbers (no aliasing). Losses are not comparable with those on the
    original files.

    Parameters
    ----------
    n_train, n_test : int
        Numbers of images; the defaults are the sizes used in the literature.
    seed : int
        The training images do not depend on n_test.

    Examples
    --------
    >>> data = ml.datasets.curves(n_train=20, n_test=10)
    >>> data.X_train.shape, data.y_train is data.X_train, float(data.X_train.max()) <= 1
    ((20, 784), True, True)
    """
    n_train, n_test = whole_number("curves: n_train", n_train), whole_number("curves: n_test", n_test)
    fits_in_memory("curves: n_train + n_test images", 2 * 4 * 28 * 28 * (n_train + n_test))
    points = random_generator("curves: seed", seed).uniform(2, 25, (n_train + n_test, 3, 2)).astype(np.float32)
    X = np.concatenate([draw_curves(points[i:i + 1000]) for i in range(0, len(points), 1000)])
    X_train, X_test = X[:n_train], X[n_train:]
    return Dataset("curves", X_train, X_train, X_test, X_test, (28, 28, 1), None,
                   "generated, after G. E. Hinton and R. R. Salakhutdinov, Science 313 (2006) 504-507",
                   "none: generated by the program")


def draw_curves(points, size=28, pen=0.7, samples=128):
    """Return images (N, size²) of quadratic Bézier curves; control points (N, 3, 2) in pixels, pen = σ.

    The integral along the curve is a sum over `samples` points, accurate to 0.003, and to 0.007 at the tip of a cusp.
    """
    p0, p1, p2 = points[:, 0, None], points[:, 1, None], points[:, 2, None]
    t = ((np.arange(samples, dtype=np.float32) + 0.5) / samples)[:, None]
    q = (1 - t) ** 2 * p0 + 2 * t * (1 - t) * p1 + t ** 2 * p2  # (N, samples, 2)
    velocity = 2 * (1 - t) * (p1 - p0) + 2 * t * (p2 - p1)
    ink = np.sqrt((velocity ** 2).sum(axis=2)) / (samples * math.sqrt(2 * math.pi) * pen)
    pixels = np.arange(size, dtype=np.float32)[:, None]
    # the Gaussian pen is a product of one factor per coordinate: its integral is a product of matrices
    across = np.exp((pixels - q[:, None, :, 0]) ** 2 / (-2 * pen ** 2))  # (N, size, samples)
    down = np.exp((pixels - q[:, None, :, 1]) ** 2 / (-2 * pen ** 2)) * ink[:, None]
    return np.minimum(down @ across.transpose(0, 2, 1), 1).reshape(len(points), -1)


@spelled
def spirals(n: int = 1000, classes: int = 3, noise: float = 0.02, seed: int | np.random.Generator = 0) -> Dataset:
    """Return points on `classes` intertwined spirals: X (N, 2) about [−1, 1], the class is the arm.

    Parameters
    ----------
    n : int
        Total number of samples; a fifth, drawn at random, is the test set.
    classes : int
        Number of arms, at least 2, each of one turn.
    noise : float
        Standard deviation of the normal noise on each coordinate.
    seed : int

    Examples
    --------
    >>> data = ml.datasets.spirals(300, classes=3)
    >>> data.X_train.shape, np.bincount(np.r_[data.y_train, data.y_test]).tolist()
    ((240, 2), [100, 100, 100])
    """
    rng, n = toy_arguments("spirals", n, noise, seed, 2)
    classes = whole_number("spirals: classes", classes, 2, most=n)
    y = np.arange(n) % classes
    radius = rng.uniform(0.05, 1, n)
    angle = 2 * np.pi * (radius + y / classes)
    arms = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return toy_set("spirals", arms + noise * rng.standard_normal((n, 2)), y, rng, classes)


@spelled
def moons(n: int = 1000, noise: float = 0.1, seed: int | np.random.Generator = 0) -> Dataset:
    """Return points on two interleaved half circles of radius 1: X (N, 2), the class is the half circle.

    Parameters are those of `spirals`.

    Examples
    --------
    >>> data = ml.datasets.moons(200)
    >>> data.X_train.shape, np.bincount(np.r_[data.y_train, data.y_test]).tolist()
    ((160, 2), [100, 100])
    """
    rng, n = toy_arguments("moons", n, noise, seed, 2)
    y = np.arange(n) % 2
    angle = rng.uniform(0, np.pi, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    X = np.where(y[:, None] == 0, upper, lower) + noise * rng.standard_normal((n, 2))
    return toy_set("moons", X, y, rng, 2)


@spelled
def teacher(n: int = 1000, widths: Sequence[int] = (10, 20, 1), noise: float = 0.0,
            seed: int | np.random.Generator = 0) -> Dataset:
    r"""Return a regression set whose targets are the outputs of a random teacher network.

    :math:`y = W_2^T \tanh(W_1^T x + b_1) + b_2 +` noise, with x standard normal, the weights normal with
    variance 1/n_in and the biases standard normal.

    Parameters
    ----------
    n : int
        Total number of samples; a fifth, drawn at random, is the test set.
    widths : (int, int, int)
        Numbers of inputs, hidden units and outputs of the teacher.
    noise : float
        Standard deviation of the normal noise on the targets.
    seed : int

    Examples
    --------
    >>> data = ml.datasets.teacher(100, widths=(10, 20, 2))
    >>> data.X_train.shape, data.y_test.shape
    ((80, 10), (20, 2))
    """
    widths = sequence("teacher: widths", widths, "numbers (inputs, hidden, outputs)", 3)
    inputs, hidden, outputs = (whole_number("teacher: widths", width) for width in widths)
    fits_in_memory("teacher: widths", 8 * hidden * (inputs + outputs))
    rng, n = toy_arguments("teacher", n, noise, seed, sum(widths))
    W_1, b_1 = rng.standard_normal((inputs, hidden)) / math.sqrt(inputs), rng.standard_normal(hidden)
    W_2, b_2 = rng.standard_normal((hidden, outputs)) / math.sqrt(hidden), rng.standard_normal(outputs)
    X = rng.standard_normal((n, inputs))
    y = np.tanh(X @ W_1 + b_1) @ W_2 + b_2 + noise * rng.standard_normal((n, outputs))
    return toy_set("teacher", X, y.astype(np.float32), rng, None)


def mean_and_deviation(array):
    """Return mean and standard deviation over samples, in float64; for constant columns the deviation is set to 1."""
    mean, deviation = (measure(axis=0, dtype=np.float64) for measure in (array.mean, array.std))
    varies = (array.max(axis=0) > array.min(axis=0)) & (deviation > 0)  # the square of 1e-200 is 0
    return np.where(varies, mean, array[0]), np.where(varies, deviation, 1.0)


def toy_arguments(name, n, noise, seed, columns):
    """Return the random generator and n, after checking the arguments that toy sets share."""
    number_between(f"{name}: noise", noise, 0, 1e30)  # float32 holds 3e38
    n = whole_number(f"{name}: n", n, 10)
    fits_in_memory(f"{name}: n samples", 4 * 8 * n * columns)  # in float64, with intermediate arrays
    return random_generator(f"{name}: seed", seed), n


def toy_set(name, X, y, rng, n_classes):
    """Return the generated samples as a `Dataset`, a fifth of them for testing."""
    (X_train, y_train), (X_test, y_test) = split(X.astype(np.float32), y, 0.2, rng)
    return Dataset(name, X_train, y_train, X_test, y_test, None, n_classes, "generated",
                   "none: generated by the program")


# --- readers: bytes in, whole arrays or DatasetError out ----------------------------------------------------


def flat_images(images, white):
    """Return integer intensities 0 … white as float32 in [0, 1], shape (N, pixels · channels)."""
    return np.divide(images.reshape(len(images), -1), np.float32(white), dtype=np.float32)


# --- published files ----------------------------------------------------------------------------------------


ABOUT = {
    "mnist": ("Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document "
              "recognition, Proc. IEEE 86 (1998) 2278-2324; files of the mirror " + MNIST_URL,
              "CC BY-SA 3.0 (as its mirrors state)"),
    "fashion_mnist": ("H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking "
                      "machine learning algorithms, arXiv:1708.07747", "MIT"),
    "usps": ("J. J. Hull, A database for handwritten text recognition research, IEEE PAMI 16 (1994) 550-554; "
             "files of " + LIBSVM_URL, "none stated"),
    "cifar10": ("A. Krizhevsky, Learning multiple layers of features from tiny images, technical report, "
                "University of Toronto, 2009, https://www.cs.toronto.edu/~kriz/cifar.html", "none stated"),
}


@spelled
def mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Return MNIST: 60000 + 10000 images of handwritten digits, 28×28 pixels, 10 classes.

    Parameters
    ----------
    folder : path, optional
        Where the files are, or are to go; see `minilift.datasets`. Default: MINILIFT_DATA, else the cache.

    Raises
    ------
    DatasetError
        If a file is neither there nor available from the network, or is damaged.

    Examples
    --------
    >>> ml.datasets.mnist()
    <Dataset mnist: 60000 + 10000 samples of 28×28×1, 10 classes>
    """
    return idx_set("mnist", folder)


@spelled
def fashion_mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Return Fashion-MNIST: 60000 + 10000 images of clothes, 28×28 pixels, 10 classes.

    Its files have the names of MNIST's: keep them in a subfolder `fashion_mnist`. Parameters and errors are
    those of `mnist`.

    Examples
    --------
    >>> ml.datasets.fashion_mnist()
    <Dataset fashion_mnist: 60000 + 10000 samples of 28×28×1, 10 classes>
    """
    return idx_set("fashion_mnist", folder)


def idx_set(name, folder):
    """Return MNIST, or a set with the same four files."""
    contents = fetch(name, folder)
    arrays = []
    for part, shape in MNIST_SHAPES.items():
        images_name, labels_name = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        arrays += idx_pair(contents[images_name], contents[labels_name], images_name, labels_name, shape)
    return Dataset(name, *arrays, (28, 28, 1), 10, *ABOUT[name])


def idx_pair(images, labels, images_name, labels_name, shape):
    """Return X, float32 in [0, 1], and y, int64, of a pair of idx files, whose images must have `shape`."""
    images, labels = parse_idx(images, images_name), parse_idx(labels, labels_name)
    for array, name, expected in ((images, images_name, shape), (labels, labels_name, shape[:1])):
        if array.shape != expected:
            raise DatasetError(f"{name}: should have shape {expected}, has {array.shape}")
    check_labels(labels, 10, labels_name)
    return flat_images(images, 255), labels.astype(np.int64)


@spelled
def usps(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Return USPS: 7291 + 2007 images of handwritten digits, 16×16 pixels, 10 classes.

    It is read from the files of the libsvm collection, whose values in [−1, 1] and labels 1 … 10 are mapped to
    [0, 1] and 0 … 9. A file `usps.npz` put into the folder by hand is used instead: x_train (7291, 256) and x_test
    (2007, 256) in [0, 1], y_train and y_test from 0. Parameters and errors are those of `mnist`.

    Examples
    --------
    >>> ml.datasets.usps()
    <Dataset usps: 7291 + 2007 samples of 16×16×1, 10 classes>
    """
    by_hand = find("usps.npz", places("usps", data_root(folder)))
    if by_hand is not None:
        arrays = usps_npz(read_file(by_hand, USPS_BOUND), by_hand)
    else:
        contents = fetch("usps", folder)
        arrays = [*usps_part(contents["usps"], "usps", USPS_SHAPES["train"]),
                  *usps_part(contents["usps.t"], "usps.t", USPS_SHAPES["test"])]
    X_train, y_train, X_test, y_test = arrays
    return Dataset("usps", X_train, y_train, X_test, y_test, (16, 16, 1), 10, *ABOUT["usps"])


def usps_part(data, name, shape):
    """Return X in [0, 1] and y from 0 of one of libsvm's two USPS files."""
    X, y = parse_libsvm(data, name, shape)
    check_range(X, -1, 1, name)
    check_labels(y - 1, 10, name)
    return (X + 1) / 2, y - 1


def usps_npz(data, name):
    """Return X_train, y_train, X_test, y_test of a `usps.npz`."""
    shapes = {f"x_{part}": shape for part, shape in USPS_SHAPES.items()}
    shapes |= {f"y_{part}": shape[:1] for part, shape in USPS_SHAPES.items()}
    arrays = parse_npz(data, name, shapes)
    for part in USPS_SHAPES:
        check_range(arrays[f"x_{part}"], 0, 1, name)
        check_labels(arrays[f"y_{part}"], 10, name)
    return [arrays[key].astype(np.float32 if key[0] == "x" else np.int64)
            for key in ("x_train", "y_train", "x_test", "y_test")]


def check_range(X, low, high, name):
    """Raise `DatasetError` unless all values are in [low, high]."""
    if X.min() < low or X.max() > high:
        raise DatasetError(f"{name}: values must be in [{low}, {high}], found {X.min():g} … {X.max():g}")


@spelled
def cifar10(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Return CIFAR-10: 50000 + 10000 colour images of 32×32 pixels, 10 classes.

    It is read from the binary edition, either the archive or its unpacked `data_batch_*.bin` and `test_batch.bin` (in
    the folder or in its `cifar-10-batches-bin`). The files hold the three colours one after another; here each
    image is (height, width, colour), flattened in this order: X is (N, 3072), 737 MB in all. Nothing is
    centred. Parameters and errors are those of `mnist`.

    Examples
    --------
    >>> ml.datasets.cifar10()
    <Dataset cifar10: 50000 + 10000 samples of 32×32×3, 10 classes>
    """
    contents = fetch("cifar10", folder)
    parts = [f"data_batch_{i}.bin" for i in range(1, 6)]
    X, y = np.empty((5 * CIFAR10_BATCH, 3072), np.float32), np.empty(5 * CIFAR10_BATCH, np.int64)
    for i, name in enumerate(parts):
        rows = slice(i * CIFAR10_BATCH, (i + 1) * CIFAR10_BATCH)
        X[rows], y[rows] = cifar10_part(contents.pop(name), name)
    X_test, y_test = cifar10_part(contents["test_batch.bin"], "test_batch.bin")
    return Dataset("cifar10", X, y, X_test, y_test, CIFAR10_IMAGE, 10, *ABOUT["cifar10"])


def cifar10_part(data, name):
    """Return X, float32 in [0, 1], and y, int64, of one file of CIFAR-10."""
    images, labels = parse_cifar10(data, name)
    if len(images) != CIFAR10_BATCH:
        raise DatasetError(f"{name}: should have {CIFAR10_BATCH} records, has {len(images)}")
    return flat_images(images, 255), labels.astype(np.int64)


# --- by name, for the command line --------------------------------------------------------------------------

SETS = {loader.__name__: loader for loader in
        (digits, curves, spirals, moons, teacher, mnist, fashion_mnist, usps, cifar10)}


def available() -> tuple[str, ...]:
    """Return the names of all data sets.

    Examples
    --------
    >>> ml.datasets.available()
    ('digits', 'curves', 'spirals', 'moons', 'teacher', 'mnist', 'fashion_mnist', 'usps', 'cifar10')
    """
    return tuple(SETS)


def describe(name: str) -> str:
    """Return a few lines on a data set: what it is, its source and terms, its files and their folder.

    Examples
    --------
    >>> print(ml.datasets.describe("digits").partition(":")[0])
    the embedded UCI optical digits
    """
    loader = SETS[known_name("data set", name, SETS)]
    about = inspect.getdoc(loader) or "no description, as Python runs without docstrings (-OO)"
    lines = [about.partition("\n")[0].removeprefix("Return ")]
    if name == "digits":
        facts = digits_manifest()
        lines += [f"Source: {facts['source']}; {facts['citation']}", f"Licence: {facts['licence']}"]
    if name in PUBLISHED:
        source, licence = ABOUT[name]
        lines += [f"Source: {source}", f"Licence: {licence}", f"Folder: {data_root() / name}"]
        lines += [f"File: {file.url} (SHA-256 {file.sha256})" for file in PUBLISHED[name]]
    return "\n".join(lines)


def load(name: str, **options: Any) -> Dataset:
    """Return the data set called `name`; options are the arguments of its function.

    Raises
    ------
    ValueError
        If there is no such set, or it does not have an option; the message suggests the nearest name.
    DatasetError
        If it cannot be read or downloaded.

    Examples
    --------
    >>> ml.datasets.load("moons", n=200)
    <Dataset moons: 160 + 40 samples of 2, 2 classes>
    """
    loader = SETS[known_name("data set", name, SETS)]
    for option in options:
        known_name(f"option of {name}", option, list(inspect.signature(loader).parameters))
    return loader(**options)
