"""Fetch published files, check their SHA-256, and read the bytes into complete arrays or raise one clear error."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import math
import os
import re
import sys
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minilift.support.arguments import checked_path

MNIST_SHAPES = {"train": (60000, 28, 28), "t10k": (10000, 28, 28)}
USPS_SHAPES = {"train": (7291, 256), "test": (2007, 256)}
CIFAR10_IMAGE = (32, 32, 3)
CIFAR10_RECORD = 1 + 3 * 32 * 32  # label, then the red, green and blue planes
CIFAR10_BATCH = 10000  # records in each of the six files


class DatasetError(ValueError):
    """Raised for a data set that is missing, damaged or not what it should be; the message says which file and why.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     open(os.path.join(folder, "usps.npz"), "w").close()
    ...     try:
    ...         ml.datasets.usps(folder)
    ...     except ml.datasets.DatasetError as error:
    ...         print(os.path.basename(str(error)))
    usps.npz: is not the expected npz file (File is not a zip file)
    """


# Bytes are unpacked and read here: pooch's Decompress and Untar write everything to disk beside the file, without a
# bound; load_svmlight_file would make scikit-learn a requirement just to load USPS; SciPy reads neither IDX nor CIFAR's
# records. Here the memory of each reader is bounded before it is allocated.


def decompress(packed, name, largest):
    """Return the contents of gzip data (if `name` ends in .gz) or bzip2 data, which must not exceed `largest` bytes."""
    opener = bz2.open if str(name).endswith(".bz2") else gzip.open
    try:
        with opener(io.BytesIO(packed)) as file:
            contents = file.read(largest + 1)
    except Exception as error:  # EOFError, OSError, zlib.error, …, depending on the damage
        raise DatasetError(f"{name}: cannot be unpacked, it is truncated or damaged ({error})") from error
    if len(contents) > largest:
        raise DatasetError(f"{name}: unpacks to more than the {largest} bytes that it should have at most")
    return contents


def read_tar(archive, name, members):
    """Return {file name: bytes} of the `members`, in any folder of the archive; nothing is written to disk."""
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
    dimensions as big-endian 32-bit numbers, and the values in row-major order, with nothing after them.
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

    Format: records of 3073 bytes, each with the label and the red, green and blue planes, row by row.
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

    Format: one sample per line, "label index:value index:value …", with indices rising from 1; omitted values are 0.

    Parameters
    ----------
    data : bytes
    name : str
        The name of the file in errors.
    shape : (int, int)
        The numbers of samples and features that it should have.
    """
    lines = data.rstrip().split(b"\n", shape[0])  # at most one part too many
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
    """Return one array of an open zip archive; its header must state `shape` before values are read."""
    info = archive.getinfo(member)
    if info.file_size > 8 * math.prod(shape) + 4096:
        raise ValueError(f"{member} has {info.file_size} bytes, too many for an array of shape {shape}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member} is packed in a way that NumPy does not use")
    with archive.open(info) as packed_member:  # giving a size bounds the memory; read() alone does not
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


@dataclass(frozen=True)
class Published:
    """A published file: its address, SHA-256 and contents, {name: SHA-256, or None if unknown}."""

    url: str
    sha256: str
    contents: dict = field(repr=False)
    largest: int  # bytes, at most, packed or unpacked

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


def data_root(folder=None):
    """Return the folder that holds the published sets: `folder`, else MINILIFT_DATA, else pooch's cache."""
    chosen = os.environ.get("MINILIFT_DATA") if folder is None else checked_path("folder", folder)
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError as error:  # for ~name, if there is no such user
            what = "MINILIFT_DATA" if folder is None else "folder"
            raise DatasetError(f"{what}: {str(chosen)!r} must be the path of a folder ({error})") from error
    import pooch

    return Path(pooch.os_cache("minilift"))


def places(name, root):
    """Return the folders where files of the set `name` may be, the preferred one first."""
    own = Path(root) / name
    return [own, own / "cifar-10-batches-bin", Path(root), Path(root) / "cifar-10-batches-bin"]


def find(filename, folders):
    """Return the path of the first file of this name in the folders, or None."""
    return next((folder / filename for folder in folders if (folder / filename).is_file()), None)


def fetch(name, folder=None):
    """Return {name: bytes} of the unpacked, checked files of a published set, downloading any that are missing."""
    root = data_root(folder)
    contents = {}
    for published in PUBLISHED[name]:
        contents |= unpacked(name, published, root) or packed(name, published, root)
    return contents


REPLACE = "delete it, or keep it elsewhere if it belongs to another set, and a new one will be downloaded"


def unpacked(name, published, root):
    """Return the contents of a published file, if all of them are unpacked in the folder, else None."""
    paths = {member: find(member, places(name, root)) for member in published.contents}
    if None in paths.values() or None in published.contents.values():
        return None
    contents = {member: read_file(path, published.largest) for member, path in paths.items()}
    for member, data in contents.items():
        check_sha256(data, published.contents[member], paths[member], REPLACE)
    return contents


def packed(name, published, root):
    """Return the contents of a published file, downloading it if it is not in the folder."""
    path = find(published.name, places(name, root)) or download(name, published, Path(root) / name)
    data = read_file(path, published.largest)
    known = sha256(data) == published.sha256
    if not known and (path.name.endswith(".tar.gz") or None in published.contents.values()):
        check_sha256(data, published.sha256, path, REPLACE)
    contents = decompress(data, path, published.largest)
    if path.name.endswith(".tar.gz"):
        return read_tar(contents, path, published.contents)
    (member, expected), = published.contents.items()
    if not known:  # packed by somebody else: its contents decide
        check_sha256(contents, expected, path, REPLACE)
    return {member: contents}


def download(name, published, folder):
    """Download a published file into the folder, complete and with the right SHA-256, or not at all."""
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
    """Return the bytes of a file, which must not have more than `largest`."""
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
