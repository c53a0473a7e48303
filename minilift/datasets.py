r"""Data sets: embedded digits, generated curves and toy sets, and published sets that are downloaded once.

>>> data = minilift.datasets.digits()
>>> data.X_train.shape, data.y_train.shape
((1437, 64), (1437,))

Images are rows: X is float32 in [0, 1], shape (N, height · width · channels) in this order; labels are int64
from 0. `Dataset.images` gives (N, height, width, channels), `Dataset.autoencoder` makes inputs the targets.

`mnist`, `fashion_mnist`, `usps` and `cifar10` read their files from a folder, and download what is missing.
The folder is the argument `folder`, else the environment variable MINILIFT_DATA, else pooch's cache folder;
files are looked for in its subfolder named after the set and in the folder itself, and downloads go to the
subfolder. What is read is checked: a published file against its published SHA-256; a file that somebody
unpacked, or packed again, against the SHA-256 of its contents where that is known (MNIST, CIFAR-10 unpacked;
for Fashion-MNIST and USPS it is not, these are taken only as published). The one exception is a `usps.npz`
put there by hand, of which only the form can be checked.

The readers (`decompress`, `read_tar`, `parse_idx`, `parse_cifar10`, `parse_libsvm`, `parse_npz`) take bytes,
give whole arrays or raise `DatasetError`, and use memory in proportion to the sizes that they expect.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import inspect
import io
import json
import math
import os
import re
import sys
import tarfile
import zipfile
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from minilift.arguments import known_name, whole_number

MNIST_SHAPES = {"train": (60000, 28, 28), "t10k": (10000, 28, 28)}
USPS_SHAPES = {"train": (7291, 256), "test": (2007, 256)}
CIFAR10_IMAGE = (32, 32, 3)
CIFAR10_BATCH = 10000  # records in each of the six files
CIFAR10_RECORD = 1 + 3 * 32 * 32  # label, then the red, green and blue planes


class DatasetError(ValueError):
    """A data set that is missing, damaged or not what it should be; the message says which file and why."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training and test samples, and where they come from.

    Attributes
    ----------
    name : str
    X_train, X_test : array (N, n), float32
        Images are in [0, 1] and flattened from (height, width, channels).
    y_train, y_test : array
        Labels (N,), int64, from 0 to n_classes − 1; or real targets (N, m), float32.
    image_shape : (height, width, channels) or None
        None where the samples are not images.
    n_classes : int or None
        None for real targets.
    source, licence : str
        Where the data come from (with what to cite), and under which terms.
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

    def __repr__(self):
        shape = "×".join(map(str, self.image_shape or self.X_train.shape[1:]))
        targets = f"{self.n_classes} classes" if self.n_classes else f"{self.y_train.shape[1]} targets"
        samples = f"{len(self.X_train)} + {len(self.X_test)} samples of {shape}"
        return f"<Dataset {self.name}: {samples}, {targets}>"

    def images(self):
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

    def autoencoder(self):
        """Return the set whose targets are its (flat) inputs, the same arrays, to train an autoencoder."""
        X_train, X_test = (X.reshape(len(X), -1) for X in (self.X_train, self.X_test))
        return replace(self, X_train=X_train, y_train=X_train, X_test=X_test, y_test=X_test, n_classes=None)


def split(X, y, fraction, seed=0):
    """Split samples at random into two parts, such as training and validation.

    Parameters
    ----------
    X, y : arrays with N rows each
    fraction : float
        Share of the second part, above 0 and below 1; at least one sample goes to either part.
    seed : int or numpy.random.Generator
        The same seed and N give the same parts. Classes are not balanced.

    Returns
    -------
    (X, y), (X, y)
        The first part and the second one, copies in random order.
    """
    if len(X) != len(y):
        raise ValueError(f"split: X and y must have as many rows as each other, got {len(X)} and {len(y)}")
    if not isinstance(fraction, (float, np.floating)) or not 0 < fraction < 1:
        raise ValueError(f"split: fraction must be a number above 0 and below 1, got {fraction!r}")
    if len(X) < 2:
        raise ValueError(f"split: at least 2 samples are needed, got {len(X)}")
    order = np.random.default_rng(seed).permutation(len(X))
    second = min(max(round(fraction * len(X)), 1), len(X) - 1)
    return (X[order[second:]], y[order[second:]]), (X[order[:second]], y[order[:second]])


# --- embedded -----------------------------------------------------------------------------------------------


def digits():
    """Return the embedded UCI optical digits: 1437 + 360 images of 8×8 pixels, 10 classes.

    The 1797 images of the repository's test part (Alpaydin and Kaynak, 1998), which scikit-learn carries too;
    intensities 0 … 16 are divided by 16. The split is stored with the data: a fifth of each class, drawn once
    at random, is the test set. It mixes the writers, so that test accuracies are those for known hands.

    Raises
    ------
    DatasetError
        If the file is not found or does not have the SHA-256 that its manifest gives.
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
    """Return what the manifest says about the embedded digits, a dictionary."""
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


def curves(n_train=20000, n_test=10000, seed=0):
    r"""Return CURVES: 28×28 images of random smooth curves, for autoencoders (the targets are the images).

    After Hinton and Salakhutdinov (Science 313, 2006), whose curves are made from three random points of the
    plane, so that the images have six degrees of freedom. How their program draws is not known to us; this is
    our way. The points :math:`p_0, p_1, p_2` are uniform on a square two pixels inside the image, and the
    control points of a quadratic Bézier curve (a cubic one would have eight degrees of freedom),

    .. math:: q(t) = (1 - t)^2 p_0 + 2 t (1 - t) p_1 + t^2 p_2,

    and ink is spread evenly along its length with a Gaussian pen of 0.7 pixels: the pixel at x has intensity
    :math:`\min\{1, \int e^{-\|x - q(s)\|^2 / 2\sigma^2} ds / \sqrt{2\pi}\sigma\}`, which is 1 on a straight
    stroke. That is smooth in the six numbers (no aliasing). Losses are not comparable with those on the
    original files.

    Parameters
    ----------
    n_train, n_test : int
        Numbers of images; the defaults are the sizes used in the literature.
    seed : int
        The training images do not depend on n_test.
    """
    whole_number("curves: n_train", n_train)
    whole_number("curves: n_test", n_test)
    points = np.random.default_rng(seed).uniform(2, 25, (n_train + n_test, 3, 2)).astype(np.float32)
    X = np.concatenate([draw_curves(points[i:i + 1000]) for i in range(0, len(points), 1000)])
    X_train, X_test = X[:n_train], X[n_train:]
    return Dataset("curves", X_train, X_train, X_test, X_test, (28, 28, 1), None,
                   "generated, after G. E. Hinton and R. R. Salakhutdinov, Science 313 (2006) 504-507",
                   "none: generated by the program")


def draw_curves(points, size=28, pen=0.7, samples=128):
    """Return images (N, size²) of quadratic Bézier curves; control points (N, 3, 2) in pixels, pen = σ.

    The integral along the curve is a sum over `samples` points: to 0.003, and to 0.007 at the tip of a cusp.
    """
    p0, p1, p2 = points[:, 0, None], points[:, 1, None], points[:, 2, None]
    t = ((np.arange(samples, dtype=np.float32) + 0.5) / samples)[:, None]
    q = (1 - t) ** 2 * p0 + 2 * t * (1 - t) * p1 + t ** 2 * p2  # (N, samples, 2)
    velocity = 2 * (1 - t) * (p1 - p0) + 2 * t * (p2 - p1)
    ink = np.sqrt((velocity ** 2).sum(axis=2)) / (samples * math.sqrt(2 * math.pi) * pen)
    pixels = np.arange(size, dtype=np.float32)[:, None]
    # the Gaussian pen is a product of one factor a coordinate: its integral is a product of matrices
    across = np.exp((pixels - q[:, None, :, 0]) ** 2 / (-2 * pen ** 2))  # (N, size, samples)
    down = np.exp((pixels - q[:, None, :, 1]) ** 2 / (-2 * pen ** 2)) * ink[:, None]
    return np.minimum(down @ across.transpose(0, 2, 1), 1).reshape(len(points), -1)


def spirals(n=1000, classes=3, noise=0.02, seed=0):
    """Return points on `classes` intertwined spirals: X (N, 2) about [−1, 1], the class is the arm.

    Parameters
    ----------
    n : int
        Samples in all; a fifth, drawn at random, is the test set.
    classes : int
        Arms, each of one turn, at least 2.
    noise : float
        Standard deviation of the normal noise on each coordinate.
    seed : int
    """
    rng, n = toy_arguments("spirals", n, noise, seed)
    classes = whole_number("spirals: classes", classes, 2)
    y = np.arange(n) % classes
    radius = rng.uniform(0.05, 1, n)
    angle = 2 * np.pi * (radius + y / classes)
    arms = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return toy_set("spirals", arms + noise * rng.standard_normal((n, 2)), y, rng, classes)


def moons(n=1000, noise=0.1, seed=0):
    """Return points on two interleaved half circles of radius 1: X (N, 2), the class is the half circle.

    Parameters are those of `spirals`.
    """
    rng, n = toy_arguments("moons", n, noise, seed)
    y = np.arange(n) % 2
    angle = rng.uniform(0, np.pi, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    X = np.where(y[:, None] == 0, upper, lower) + noise * rng.standard_normal((n, 2))
    return toy_set("moons", X, y, rng, 2)


def teacher(n=1000, widths=(10, 20, 1), noise=0.0, seed=0):
    r"""Return a regression set whose targets are the outputs of a random teacher network.

    :math:`y = W_2^T \tanh(W_1^T x + b_1) + b_2 +` noise, with x standard normal, the weights normal with
    variance 1/n_in and the biases standard normal.

    Parameters
    ----------
    n : int
        Samples in all; a fifth, drawn at random, is the test set.
    widths : (int, int, int)
        Inputs, hidden units and outputs of the teacher.
    noise : float
        Standard deviation of the normal noise on the targets.
    seed : int
    """
    rng, n = toy_arguments("teacher", n, noise, seed)
    if len(widths) != 3:
        raise ValueError(f"teacher: widths must be three numbers (inputs, hidden, outputs), got {widths!r}")
    inputs, hidden, outputs = (whole_number("teacher: widths", width) for width in widths)
    W_1, b_1 = rng.standard_normal((inputs, hidden)) / math.sqrt(inputs), rng.standard_normal(hidden)
    W_2, b_2 = rng.standard_normal((hidden, outputs)) / math.sqrt(hidden), rng.standard_normal(outputs)
    X = rng.standard_normal((n, inputs))
    y = np.tanh(X @ W_1 + b_1) @ W_2 + b_2 + noise * rng.standard_normal((n, outputs))
    return toy_set("teacher", X, y.astype(np.float32), rng, None)


def toy_arguments(name, n, noise, seed):
    """Return the random generator and n, after checking the arguments that toy sets share."""
    if isinstance(noise, bool) or not isinstance(noise, (float, int, np.number)) or not 0 <= noise < math.inf:
        raise ValueError(f"{name}: noise must be a finite number of at least 0, got {noise!r}")
    return np.random.default_rng(seed), whole_number(f"{name}: n", n, 10)


def toy_set(name, X, y, rng, n_classes):
    """Return the generated samples as a `Dataset`, a fifth of them for testing."""
    (X_train, y_train), (X_test, y_test) = split(X.astype(np.float32), y, 0.2, rng)
    return Dataset(name, X_train, y_train, X_test, y_test, None, n_classes, "generated",
                   "none: generated by the program")


# --- readers: bytes in, whole arrays or DatasetError out ----------------------------------------------------


def decompress(packed, name, largest):
    """Return the contents of gzip (name ends in .gz) or bzip2 data, which must not exceed `largest` bytes."""
    opener = bz2.open if str(name).endswith(".bz2") else gzip.open
    try:
        with opener(io.BytesIO(packed)) as file:
            contents = file.read(largest + 1)
    except Exception as error:  # EOFError, OSError, zlib.error, … by the kind of damage
        raise DatasetError(f"{name}: cannot be unpacked, it is truncated or damaged ({error})") from error
    if len(contents) > largest:
        raise DatasetError(f"{name}: unpacks to more than the {largest} bytes that it should have at most")
    return contents


def read_tar(archive, name, members):
    """Return {file name: bytes} of the `members`, in any folder of the archive; nothing goes to disk."""
    contents = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for entry in tar:
                member = entry.name.rpartition("/")[2]
                if member not in members:
                    continue
                if not entry.isreg() or entry.size > len(archive) or member in contents:
                    raise DatasetError(f"{name}: {entry.name} is not a plain file, or is there twice")
                contents[member] = tar.extractfile(entry).read()
    except DatasetError:
        raise
    except Exception as error:  # tarfile has several errors of its own and lets others through
        raise DatasetError(f"{name}: is not a whole tar archive ({error})") from error
    missing = [member for member in members if member not in contents]
    if missing:
        raise DatasetError(f"{name}: the archive has no {', '.join(missing)}")
    return contents


def parse_idx(data, name):
    """Return the uint8 array of a file in MNIST's idx format (a read-only view of the bytes `data`).

    Format: two zero bytes, the type (8: unsigned byte, the only one read here), the number of dimensions, the
    dimensions as big-endian 32-bit numbers, the values in row-major order and nothing else.
    """
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 4:
        raise DatasetError(f"{name}: is not an idx file of bytes: it should begin with 00 00 08 and 1 to 4 "
                           f"dimensions, it begins with {data[:4].hex(' ') or 'nothing'}")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DatasetError(f"{name}: is truncated within its header of {start} bytes")
    shape = tuple(int.from_bytes(data[i:i + 4], "big") for i in range(4, start, 4))
    if len(data) != start + math.prod(shape):
        raise DatasetError(f"{name}: its header says {'×'.join(map(str, shape))} values, "
                           f"but {len(data) - start} bytes follow")
    if 0 in shape:
        raise DatasetError(f"{name}: is empty, its header says {'×'.join(map(str, shape))} values")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def parse_cifar10(data, name):
    """Return images (N, 32, 32, 3) and labels (N,), both uint8, of a file of CIFAR-10's binary edition.

    Format: records of 3073 bytes, the label and the red, green and blue planes, row by row.
    """
    if not data or len(data) % CIFAR10_RECORD:
        raise DatasetError(f"{name}: should be records of {CIFAR10_RECORD} bytes, has {len(data)} bytes")
    records = np.frombuffer(data, np.uint8).reshape(-1, CIFAR10_RECORD)
    labels = records[:, 0].copy()
    check_labels(labels, 10, name)
    return np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels


LIBSVM_LINE = re.compile(rb"[0-9.eE+-]+(?:[ \t]+[0-9]+:[0-9.eE+-]+)*[ \t\r]*")


def parse_libsvm(data, name, shape):
    """Return X, shape (N, n), float32, and whole-numbered labels (N,), int64, of a file in libsvm's format.

    Format: a sample a line, "label index:value index:value …", indices rising from 1; what is left out is 0.

    Parameters
    ----------
    data : bytes
    name : str
        What errors call the file.
    shape : (int, int)
        The samples and features that it should have.
    """
    lines = data.rstrip().split(b"\n", shape[0])  # never more parts than one too many
    if len(lines) != shape[0]:
        found = "more" if len(lines) > shape[0] else len(lines)
        raise DatasetError(f"{name}: should have {shape[0]} lines, has {found}")
    X, labels = np.zeros(shape, np.float32), np.zeros(shape[0])
    for i, line in enumerate(lines):
        # a number of 40 characters is absurd, and the limit bounds memory
        if len(line) > 40 * (shape[1] + 1) or not LIBSVM_LINE.fullmatch(line):
            raise DatasetError(f"{name}, line {i + 1}: is not \"label index:value …\": {line[:40]!r}")
        try:
            labels[i], *pairs = map(float, line.replace(b":", b" ").split())
        except ValueError as error:
            raise DatasetError(f"{name}, line {i + 1}: {error}") from error
        index, value = np.array(pairs[::2]), np.array(pairs[1::2])
        if len(index) and not (index[0] >= 1 and index[-1] <= shape[1] and (np.diff(index) > 0).all()):
            raise DatasetError(f"{name}, line {i + 1}: indices must rise within 1 … {shape[1]}")
        if not (np.isfinite(value).all() and (np.abs(value) <= np.finfo(np.float32).max).all()):
            raise DatasetError(f"{name}, line {i + 1}: a value is too large")
        X[i, index.astype(np.intp) - 1] = value
    if not (np.abs(labels) < 2 ** 31).all() or (labels != np.floor(labels)).any():
        raise DatasetError(f"{name}: labels must be whole numbers")
    return X, labels.astype(np.int64)


def parse_npz(data, name, shapes):
    """Return {key: array} of an `.npz` file for the keys and shapes in `shapes`; numbers only, no pickles."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {key: parse_npy(archive, f"{key}.npy", shape) for key, shape in shapes.items()}
    except Exception as error:  # zipfile and NumPy's header reader raise many kinds
        raise DatasetError(f"{name}: is not the expected npz file ({error})") from error


def parse_npy(archive, member, shape):
    """Return one array of an open zip archive; its header must say `shape` before values are looked at."""
    info = archive.getinfo(member)
    if info.file_size > 8 * math.prod(shape) + 4096:
        raise ValueError(f"{member} has {info.file_size} bytes, too many for an array of shape {shape}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member} is packed in a way that NumPy does not use")
    with archive.open(info) as packed_member:  # a size given bounds the memory; read() alone does not
        file = io.BytesIO(packed_member.read(info.file_size))
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    found, fortran_order, dtype = read_header[version](file)
    values = file.read()
    plain = dtype.kind in "uif" and not fortran_order
    if found != shape or not plain or len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{member} should be numbers of shape {shape} by rows, is {dtype} of shape {found}")
    array = np.frombuffer(values, dtype).reshape(shape)
    if not np.isfinite(array).all():
        raise ValueError(f"{member} has values that are not finite")
    return array


def check_labels(labels, n_classes, name):
    """Raise `DatasetError` unless all labels are whole numbers in 0 … n_classes − 1."""
    low, high = labels.min(), labels.max()
    if low < 0 or high >= n_classes:
        raise DatasetError(f"{name}: labels must be 0 … {n_classes - 1}, found {low if low < 0 else high}")
    if (labels != np.floor(labels)).any():
        raise DatasetError(f"{name}: labels must be whole numbers")


def flat_images(images, white):
    """Return integer intensities 0 … white as float32 in [0, 1], shape (N, pixels · channels)."""
    return np.divide(images.reshape(len(images), -1), np.float32(white), dtype=np.float32)


# --- published files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    """A published file: address, SHA-256, and what is in it, {name: its SHA-256, or None if unknown}."""

    url: str
    sha256: str
    contents: dict = field(repr=False)
    largest: int  # bytes that it may have at most, packed or unpacked

    @property
    def name(self):
        """The file's name: the last part of its address."""
        return self.url.rpartition("/")[2]


MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
LIBSVM_URL = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/"
IDX_BOUND, USPS_BOUND, CIFAR10_BOUND = 2 ** 26, 2 ** 26, 200_000_000

# SHA-256 of the files as published: from TensorFlow Datasets (MNIST, Fashion-MNIST, CIFAR-10) and from
# torchvision's prototype data sets (USPS). Of contents: computed from files whose MD5 is that of the original
# (MNIST), and from torchvision for Ruby (CIFAR-10).
MNIST_SHA256 = {
    "train-images-idx3-ubyte": ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                               "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                               "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}
FASHION_SHA256 = {
    "train-images-idx3-ubyte": ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", None),
    "train-labels-idx1-ubyte": ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", None),
    "t10k-images-idx3-ubyte": ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", None),
    "t10k-labels-idx1-ubyte": ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", None),
}
USPS_SHA256 = {
    "usps": ("3771e9dd6ba685185f89867b6e249233dd74652389f263963b3b741e994b034f", None),
    "usps.t": ("a9c0164e797d60142a50604917f0baa604f326e9a689698763793fa5d12ffc4e", None),
}
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CIFAR10_CONTENTS = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
PUBLISHED = {
    "mnist": [Published(f"{MNIST_URL}{name}.gz", packed, {name: contents}, IDX_BOUND)
              for name, (packed, contents) in MNIST_SHA256.items()],
    "fashion_mnist": [Published(f"{FASHION_URL}{name}.gz", packed, {name: contents}, IDX_BOUND)
                      for name, (packed, contents) in FASHION_SHA256.items()],
    "usps": [Published(f"{LIBSVM_URL}{name}.bz2", packed, {name: contents}, USPS_BOUND)
             for name, (packed, contents) in USPS_SHA256.items()],
    "cifar10": [Published(f"{CIFAR10_URL}cifar-10-binary.tar.gz", CIFAR10_SHA256, CIFAR10_CONTENTS,
                          CIFAR10_BOUND)],
}
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


def mnist(folder=None):
    """Return MNIST: 60000 + 10000 images of handwritten digits, 28×28 pixels, 10 classes.

    Parameters
    ----------
    folder : path, optional
        Where the files are, or go to; see the module's first lines. Default: MINILIFT_DATA, else the cache.

    Raises
    ------
    DatasetError
        If a file is neither there nor to be had from the network, or is damaged.
    """
    return idx_set("mnist", folder)


def fashion_mnist(folder=None):
    """Return Fashion-MNIST: 60000 + 10000 images of clothes, 28×28 pixels, 10 classes.

    Its files have the names of MNIST's: keep them in a subfolder `fashion_mnist`. Parameters and errors are
    those of `mnist`.
    """
    return idx_set("fashion_mnist", folder)


def idx_set(name, folder):
    """Return MNIST or a set in its four files."""
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


def usps(folder=None):
    """Return USPS: 7291 + 2007 images of handwritten digits, 16×16 pixels, 10 classes.

    From the files of the libsvm collection, whose values in [−1, 1] and labels 1 … 10 become [0, 1] and
    0 … 9. A file `usps.npz` put into the folder by hand is taken instead: x_train (7291, 256) and x_test
    (2007, 256) in [0, 1], y_train and y_test from 0. Parameters and errors are those of `mnist`.
    """
    by_hand = find("usps.npz", places("usps", data_root(folder)))
    if by_hand is not None:
        arrays = usps_npz(read_file(by_hand, USPS_BOUND), by_hand)
    else:
        contents = fetch("usps", folder)
        arrays = [*usps_part(contents["usps"], "usps", USPS_SHAPES["train"]),
                  *usps_part(contents["usps.t"], "usps.t", USPS_SHAPES["test"])]
    return Dataset("usps", *arrays, (16, 16, 1), 10, *ABOUT["usps"])


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


def cifar10(folder=None):
    """Return CIFAR-10: 50000 + 10000 colour images of 32×32 pixels, 10 classes.

    Read from the binary edition, the archive or its unpacked `data_batch_*.bin` and `test_batch.bin` (in the
    folder or in its `cifar-10-batches-bin`). The files hold the three colours one after another; here each
    image is (height, width, colour), flattened in this order: X is (N, 3072), 737 MB in all. Nothing is
    centred. Parameters and errors are those of `mnist`.
    """
    contents = fetch("cifar10", folder)
    parts = [f"data_batch_{i}.bin" for i in range(1, 6)]
    X, y = np.empty((5 * CIFAR10_BATCH, 3072), np.float32), np.empty(5 * CIFAR10_BATCH, np.int64)
    for i, name in enumerate(parts):
        rows = slice(i * CIFAR10_BATCH, (i + 1) * CIFAR10_BATCH)
        X[rows], y[rows] = cifar10_part(contents.pop(name), name)
    test = cifar10_part(contents["test_batch.bin"], "test_batch.bin")
    return Dataset("cifar10", X, y, *test, CIFAR10_IMAGE, 10, *ABOUT["cifar10"])


def cifar10_part(data, name):
    """Return X, float32 in [0, 1], and y, int64, of one file of CIFAR-10."""
    images, labels = parse_cifar10(data, name)
    if len(images) != CIFAR10_BATCH:
        raise DatasetError(f"{name}: should have {CIFAR10_BATCH} records, has {len(images)}")
    return flat_images(images, 255), labels.astype(np.int64)


def data_root(folder=None):
    """Return the folder that holds the published sets: `folder`, else MINILIFT_DATA, else pooch's cache."""
    chosen = folder or os.environ.get("MINILIFT_DATA")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("minilift"))


def places(name, root):
    """Return the folders where files of the set `name` may lie, the preferred one first."""
    own = Path(root) / name
    return [own, own / "cifar-10-batches-bin", Path(root), Path(root) / "cifar-10-batches-bin"]


def find(filename, folders):
    """Return the path of the first file of this name in the folders, or None."""
    return next((folder / filename for folder in folders if (folder / filename).is_file()), None)


def fetch(name, folder=None):
    """Return {name: bytes} of the unpacked, checked files of a published set, downloading what is missing."""
    root = data_root(folder)
    contents = {}
    for published in PUBLISHED[name]:
        contents |= unpacked(name, published, root) or packed(name, published, root)
    return contents


REPLACE = "delete it, or keep it elsewhere if it belongs to another set, and a new one will be downloaded"


def unpacked(name, published, root):
    """Return what a published file contains, if all of it lies unpacked in the folder, else None."""
    paths = {member: find(member, places(name, root)) for member in published.contents}
    if None in paths.values() or None in published.contents.values():
        return None
    contents = {member: read_file(path, published.largest) for member, path in paths.items()}
    for member, data in contents.items():
        check_sha256(data, published.contents[member], paths[member], REPLACE)
    return contents


def packed(name, published, root):
    """Return the contents of a published file, which is downloaded if it is not in the folder."""
    path = find(published.name, places(name, root)) or download(name, published, Path(root) / name)
    data = read_file(path, published.largest)
    known = sha256(data) == published.sha256
    if not known and (path.name.endswith(".tar.gz") or None in published.contents.values()):
        check_sha256(data, published.sha256, path, REPLACE)
    contents = decompress(data, path, published.largest)
    if path.name.endswith(".tar.gz"):
        return read_tar(contents, path, published.contents)
    (member, expected), = published.contents.items()
    if not known:  # packed by somebody else: what is in it decides
        check_sha256(contents, expected, path, REPLACE)
    return {member: contents}


def download(name, published, folder):
    """Download a published file into the folder, whole and with the right SHA-256 or not at all."""
    import pooch

    by_hand = (f"Download {published.url} by hand (SHA-256 {published.sha256}) and put it into {folder}, "
               f"or into the subfolder {name} of a folder that MINILIFT_DATA names")
    progress = sys.stderr is not None and sys.stderr.isatty()
    try:
        downloader = pooch.HTTPDownloader(progressbar=progress, timeout=30)
        return Path(pooch.retrieve(published.url, f"sha256:{published.sha256}", published.name, folder,
                                   downloader=downloader))
    except OSError as error:  # no network, no such address, a full disk
        raise DatasetError(f"{name}: {published.name} is not there and could not be downloaded. {by_hand}. "
                           f"The reason: {error}") from error
    except ValueError as error:
        raise DatasetError(f"{name}: what {published.url} sent is not {published.name}: its SHA-256 is not "
                           f"{published.sha256}; nothing was kept. Try again later. {by_hand}.") from error


def read_file(path, largest):
    """Return the bytes of a file, which must have no more than `largest`."""
    try:
        with open(path, "rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > largest:
        raise DatasetError(f"{path}: is larger than the {largest} bytes that it should have at most")
    return data


def sha256(data):
    """Return the SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def check_sha256(data, expected, path, remedy):
    """Raise `DatasetError` unless the bytes have the SHA-256 expected of them."""
    found = sha256(data)
    if found != expected:
        raise DatasetError(f"{path}: is damaged or another file of this name (SHA-256 {found}, expected "
                           f"{expected}); {remedy}")


# --- by name, for the command line --------------------------------------------------------------------------

SETS = {loader.__name__: loader for loader in
        (digits, curves, spirals, moons, teacher, mnist, fashion_mnist, usps, cifar10)}


def available():
    """Return the names of all data sets."""
    return tuple(SETS)


def describe(name):
    """Return a few lines on a data set: what it is, its source and terms, its files and their folder."""
    loader = SETS[known_name("data set", name, SETS)]
    lines = [inspect.getdoc(loader).partition("\n")[0].removeprefix("Return ")]
    if name == "digits":
        facts = digits_manifest()
        lines += [f"Source: {facts['source']}; {facts['citation']}", f"Licence: {facts['licence']}"]
    if name in PUBLISHED:
        source, licence = ABOUT[name]
        lines += [f"Source: {source}", f"Licence: {licence}", f"Folder: {data_root() / name}"]
        lines += [f"File: {file.url} (SHA-256 {file.sha256})" for file in PUBLISHED[name]]
    return "\n".join(lines)


def load(name, **options):
    """Return the data set called `name`; options are the arguments of its function.

    Raises
    ------
    ValueError
        If there is no such set, or an option that it does not have; with the nearest name that there is.
    DatasetError
        If it cannot be read or downloaded.
    """
    loader = SETS[known_name("data set", name, SETS)]
    for option in options:
        known_name(f"option of {name}", option, list(inspect.signature(loader).parameters))
    return loader(**options)
