"""Readers of data files on damaged, wrong and hostile bytes: whole arrays or one clear `DatasetError`.

Any other exception fails these tests, and so does a result that is not whole. Memory is measured where a
small file could ask for a lot of it.
"""

import bz2
import gzip
import io
import re
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilift import datasets, download
from minilift.download import DatasetError

LARGEST = 100_000


@st.composite
def damaged(draw, original):
    """Draw a damaged copy of `original`: cut, lengthened, bytes changed, left out, put in or repeated."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(["cut", "append", "bit", "byte", "delete", "insert", "repeat"]))
        if kind == "cut":
            del data[place:]
        elif kind == "append":
            data += draw(st.binary(min_size=1, max_size=20))
        elif kind == "bit" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte" and data:
            data[place] = draw(st.integers(0, 255))
        elif kind == "delete":
            del data[place:place + draw(st.integers(1, 9))]
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=9))
        elif kind == "repeat":
            data[place:place] = data[place:place + draw(st.integers(1, 600))]
    return bytes(data)


def result_or_error(reader, *args):
    """Return what a reader returns, or None if it raises `DatasetError`."""
    try:
        return reader(*args)
    except DatasetError:
        return None


def peak_memory(call):
    """Return the most bytes that Python and NumPy held while a call ran that must raise `DatasetError`."""
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- idx ----------------------------------------------------------------------------------------------------

IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
IDX = b"\0\0\x08\x03" + struct.pack(">3I", 3, 4, 5) + IMAGES.tobytes()


def test_idx_is_read():
    np.testing.assert_array_equal(download.parse_idx(IDX, "the file"), IMAGES)


@given(data=damaged(IDX) | st.binary(max_size=60)
       | st.binary(max_size=60).map(lambda tail: b"\0\0\x08" + tail))
def test_damaged_idx(data):
    array = result_or_error(download.parse_idx, data, "the file")
    if array is not None:  # then it is all that the file says, and nothing more
        header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        assert header + array.tobytes() == data


@pytest.mark.parametrize(("data", "message"), [
    (b"", "it begins with nothing"),
    (b"\0\0\x08", "it begins with 00 00 08"),
    (b"\0\0\x0d\x01" + bytes(8), "not an idx file of bytes"),  # floats
    (b"\x1f\x8b\x08\x00" + bytes(20), "it begins with 1f 8b 08 00"),  # gzip
    (b"\0\0\x08\0" + bytes(8), "1 to 4 dimensions"),
    (b"\0\0\x08\xff" + bytes(2000), "1 to 4 dimensions"),
    (IDX[:10], "truncated within its header of 16 bytes"),
    (IDX[:-1], "its header says 3×4×5 values, but 59 bytes follow"),
    (IDX + b"\0", "but 61 bytes follow"),
    (b"\0\0\x08\x04" + b"\xff" * 16, "but 0 bytes follow"),
    (b"\0\0\x08\x02" + struct.pack(">2I", 0, 4), "is empty"),
])
def test_wrong_idx(data, message):
    with pytest.raises(DatasetError, match=message):
        download.parse_idx(data, "the file")


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@given(images=damaged(IDX), labels=damaged(idx(np.array([1, 2, 9], np.uint8))))
def test_a_damaged_pair_of_idx_files_gives_all_or_nothing(images, labels):
    pair = result_or_error(datasets.idx_pair, images, labels, "images", "labels", (3, 4, 5))
    if pair is not None:
        X, y = pair
        assert (X.shape, X.dtype, y.shape, y.dtype) == ((3, 20), np.float32, (3,), np.int64)
        assert 0 <= X.min() <= X.max() <= 1
        assert 0 <= y.min() <= y.max() <= 9


@pytest.mark.parametrize(("images", "labels", "message"), [
    (IMAGES[:2], [1, 2, 3], r"images: should have shape \(3, 4, 5\), has \(2, 4, 5\)"),
    (IMAGES, [1, 2], r"labels: should have shape \(3,\), has \(2,\)"),
    (IMAGES, [1, 2, 10], "labels: labels must be 0 … 9, found 10"),
    (IMAGES[0], [1, 2, 3], r"images: should have shape \(3, 4, 5\), has \(4, 5\)"),
])
def test_a_pair_that_does_not_fit(images, labels, message):
    with pytest.raises(DatasetError, match=message):
        datasets.idx_pair(idx(images), idx(np.array(labels, np.uint8)), "images", "labels", (3, 4, 5))


# --- CIFAR-10 -----------------------------------------------------------------------------------------------

RECORDS = np.random.default_rng(0).integers(0, 10, (2, 3073), dtype=np.uint8)
CIFAR10 = RECORDS.tobytes()


def test_cifar10_is_read():
    images, labels = download.parse_cifar10(CIFAR10, "the file")
    np.testing.assert_array_equal(labels, RECORDS[:, 0])
    np.testing.assert_array_equal(images.transpose(0, 3, 1, 2).reshape(2, -1), RECORDS[:, 1:])


@given(data=damaged(CIFAR10) | st.binary(max_size=50)
       | st.integers(0, 255).map(lambda label: bytes([label]) + CIFAR10[1:]))
def test_damaged_cifar10(data):
    result = result_or_error(download.parse_cifar10, data, "the file")
    assert (result is None) == (not data or len(data) % 3073 != 0 or max(data[::3073]) > 9)
    if result is not None:
        images, labels = result
        assert images.shape == (len(data) // 3073, 32, 32, 3)
        assert bytes(labels) == data[::3073]


@pytest.mark.parametrize(("data", "message"), [
    (b"", "has 0 bytes"),
    (CIFAR10[:-1], "should be records of 3073 bytes, has 6145 bytes"),
    (b"\x0a" + CIFAR10[1:], "labels must be 0 … 9, found 10"),
])
def test_wrong_cifar10(data, message):
    with pytest.raises(DatasetError, match=message):
        download.parse_cifar10(data, "the file")


def test_a_cifar10_file_must_have_all_its_records(monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR10_BATCH", 3)
    with pytest.raises(DatasetError, match="should have 3 records, has 2"):
        datasets.cifar10_part(CIFAR10, "the file")


# --- libsvm -------------------------------------------------------------------------------------------------

LIBSVM = b"7 1:-1 2:0.5 4:-0.25 \n10 1:1e-3 3:1\n3\n"


def test_libsvm_is_read():
    X, y = download.parse_libsvm(LIBSVM, "the file", (3, 4))
    np.testing.assert_array_equal(y, [7, 10, 3])
    np.testing.assert_allclose(X, [[-1, 0.5, 0, -0.25], [0.001, 0, 1, 0], [0, 0, 0, 0]], rtol=1e-7)
    assert (X.dtype, y.dtype) == (np.float32, np.int64)


def test_libsvm_is_read_as_scikit_learn_reads_it(rng):
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    file = io.BytesIO()
    X, y = rng.standard_normal((20, 7)) * (rng.random((20, 7)) < 0.5), rng.integers(-3, 4, 20)
    sklearn_datasets.dump_svmlight_file(X, y, file, zero_based=False)
    ours = download.parse_libsvm(file.getvalue(), "the file", (20, 7))
    np.testing.assert_allclose(ours[0], X, rtol=1e-6)
    np.testing.assert_array_equal(ours[1], y)


@given(data=damaged(LIBSVM) | st.binary(max_size=40)
       | st.text("0123456789.:eE+- \n_na", max_size=60).map(str.encode))
def test_damaged_libsvm(data):
    result = result_or_error(download.parse_libsvm, data, "the file", (3, 4))
    if result is not None:
        X, y = result
        assert (X.shape, y.shape) == ((3, 4), (3,))
        assert np.isfinite(X).all()
        assert np.count_nonzero(X) <= data.count(b":")  # no value that is not there


@pytest.mark.parametrize(("data", "message"), [
    (b"", "should have 3 lines, has 1"),
    (LIBSVM[:-2], "should have 3 lines, has 2"),
    (LIBSVM + b"1 1:1\n", "should have 3 lines, has more"),
    (b"1\n2 1:x\n3", "line 2: is not"),
    (b"1\n2 1:nan\n3", "line 2: is not"),
    (b"1\n2 1:1_0\n3", "line 2: is not"),
    (b"1\n2 1 1\n3", "line 2: is not"),
    (b"1\n2 1:1:1\n3", "line 2: is not"),
    (b"1\n\n3", "line 2: is not"),
    (b"1\n2 1:1e\n3", "line 2: could not convert"),
    (b"1\n2 1:1e999\n3", "line 2: a value is too large"),
    (b"1\n2 1:1e39\n3", "line 2: a value is too large"),
    (b"1\n2 0:1\n3", r"line 2: indices must rise within 1 … 4"),
    (b"1\n2 5:1\n3", "line 2: indices"),
    (b"1\n2 2:1 2:1\n3", "line 2: indices"),
    (b"1\n2 3:1 2:1\n3", "line 2: indices"),
    (b"1\n2.5\n3", "labels must be whole numbers"),
    (b"1\n1e300\n3", "labels must be whole numbers"),
    (b"1\n" + b"2 " + b"9" * 1000 + b":1\n3", "line 2: is not"),
    (b"1\n2" + b" 1:1" * 100 + b"\n3", "line 2: is not"),
])
def test_wrong_libsvm(data, message):
    with pytest.raises(DatasetError, match=message):
        download.parse_libsvm(data, "the file", (3, 4))


@pytest.mark.parametrize("data", [b"1\n" * 10 ** 6, b"\n" * 10 ** 6, b"1 " + b"1:1 " * 10 ** 6,
                                  b"1" * 10 ** 6])
def test_libsvm_of_the_wrong_size_needs_no_memory(data):
    assert peak_memory(lambda: download.parse_libsvm(data, "the file", (100, 10))) < 3 * len(data)


@pytest.mark.parametrize(("data", "message"), [
    (b"1 1:2\n2\n", r"values must be in \[-1, 1\], found 0 … 2"),
    (b"0\n2\n", "labels must be 0 … 9, found -1"),
    (b"11\n2\n", "labels must be 0 … 9, found 10"),
])
def test_wrong_usps(data, message):
    with pytest.raises(DatasetError, match=message):
        datasets.usps_part(data, "the file", (2, 4))


# --- npz ----------------------------------------------------------------------------------------------------

ARRAYS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.array([3, 4], np.uint8)}
SHAPES = {"x": (2, 3), "y": (2,)}


def npz(save=np.savez_compressed, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_read(save):
    result = download.parse_npz(npz(save, **ARRAYS), "the file", SHAPES)
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(result[key], array)
        assert result[key].dtype == array.dtype


@pytest.mark.filterwarnings("ignore")  # NumPy's and zipfile's remarks on odd headers
@given(data=damaged(npz(**ARRAYS)) | damaged(npz(np.savez, **ARRAYS)) | st.binary(max_size=60))
def test_damaged_npz(data):
    result = result_or_error(download.parse_npz, data, "the file", SHAPES)
    if result is not None:  # zip has check sums: what is not refused is undamaged
        for key, array in ARRAYS.items():
            np.testing.assert_array_equal(result[key], array)


def npz_of_bytes(member):
    """Return an npz file whose arrays are the given bytes, with a right check sum."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", member)
        archive.writestr("y.npy", member)
    return file.getvalue()


NPY = io.BytesIO()
np.save(NPY, ARRAYS["x"])


@pytest.mark.filterwarnings("ignore")
@given(member=damaged(NPY.getvalue()) | damaged(NPY.getvalue()[:128]) | st.binary(max_size=60))
def test_damaged_arrays_within_a_sound_npz(member):
    result = result_or_error(download.parse_npz, npz_of_bytes(member), "the file", {"x": (2, 3)})
    if result is not None:
        assert result["x"].shape == (2, 3)
        assert result["x"].dtype.kind in "uif"
        assert np.isfinite(result["x"]).all()


class Explosive:
    """An object whose unpickling would be noticed."""

    def __reduce__(self):
        return (pytest.fail, ("was unpickled",))


@pytest.mark.parametrize(("arrays", "message"), [
    ({"x": ARRAYS["x"]}, "y.npy"),
    (ARRAYS | {"x": np.zeros((3, 2))}, "should be numbers of shape"),
    (ARRAYS | {"x": np.asfortranarray(ARRAYS["x"])}, "by rows"),
    (ARRAYS | {"x": np.full((2, 3), np.inf)}, "not finite"),
    (ARRAYS | {"x": np.zeros((2, 3), complex)}, "should be numbers"),
    (ARRAYS | {"x": np.zeros((2, 3), [("a", "f4")])}, "should be numbers"),
    (ARRAYS | {"x": np.array([[Explosive()] * 3] * 2)}, "should be numbers"),
])
def test_wrong_npz(arrays, message):
    with pytest.raises(DatasetError, match=message):
        download.parse_npz(npz(**arrays), "the file", SHAPES)


def lying_about_its_size(data, size, said):
    """Return zip data in which the size of an unpacked member is said to be another."""
    assert data.count(struct.pack("<I", size)) >= 1
    return data.replace(struct.pack("<I", size), struct.pack("<I", said))


def test_npz_bombs_need_no_memory():
    bomb = npz(x=np.zeros((10 ** 4, 10 ** 3)), y=ARRAYS["y"])  # 80 MB
    assert peak_memory(lambda: download.parse_npz(bomb, "the file", SHAPES)) < 10 ** 6
    assert len(bomb) < 10 ** 5
    disguised = lying_about_its_size(bomb, 8 * 10 ** 7 + 128, 200)
    assert peak_memory(lambda: download.parse_npz(disguised, "the file", SHAPES)) < 10 ** 6


def test_an_npz_member_in_another_packing_is_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", NPY.getvalue())
    with pytest.raises(DatasetError, match="packed in a way that NumPy does not use"):
        download.parse_npz(file.getvalue(), "the file", {"x": (2, 3)})


# --- gzip, bzip2, tar ---------------------------------------------------------------------------------------

TEXT = bytes(np.random.default_rng(1).integers(0, 9, 500, dtype=np.uint8))


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, ".gz"), (bz2.compress, ".bz2")])
def test_packed_data_are_unpacked_up_to_the_limit(pack, suffix):
    assert download.decompress(pack(TEXT), f"the file{suffix}", len(TEXT)) == TEXT
    with pytest.raises(DatasetError, match="unpacks to more than the 499 bytes"):
        download.decompress(pack(TEXT), f"the file{suffix}", len(TEXT) - 1)
    for cut in range(len(pack(TEXT)) - 1):
        if cut:
            with pytest.raises(DatasetError, match="truncated or damaged"):
                download.decompress(pack(TEXT)[:cut], f"the file{suffix}", LARGEST)


@given(data=damaged(gzip.compress(TEXT)) | st.binary(max_size=60))
def test_damaged_gzip(data):
    result = result_or_error(download.decompress, data, "the file.gz", LARGEST)
    # a check sum over the contents; a second member may follow, and the empty file is an empty gzip file
    assert result is None or result in (TEXT, b"", TEXT + TEXT)


@given(data=damaged(bz2.compress(TEXT)) | st.binary(max_size=60))
def test_damaged_bzip2(data):
    result = result_or_error(download.decompress, data, "the file.bz2", LARGEST)
    assert result is None or result in (TEXT, b"", TEXT + TEXT)


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, ".gz"), (bz2.compress, ".bz2")])
def test_bombs_need_no_memory(pack, suffix):
    bomb = pack(bytes(5 * 10 ** 7))
    assert len(bomb) < 10 ** 5
    assert peak_memory(lambda: download.decompress(bomb, f"the file{suffix}", LARGEST)) < 2 * 10 ** 6


def tar(*entries, **options):
    """Return a tar archive of (name, content, changes to the entry's header)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as archive:
        for name, content, changes in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in changes.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


MEMBERS = {"a.bin": None, "b.bin": None}
A, B = ("folder/a.bin", b"a" * 700, {}), ("folder/b.bin", b"b" * 30, {})


def test_members_of_an_archive_are_read():
    archive = tar(("folder", b"", {"type": tarfile.DIRTYPE}), ("folder/readme", b"?", {}), A, B)
    assert download.read_tar(archive, "the file", MEMBERS) == {"a.bin": b"a" * 700, "b.bin": b"b" * 30}


@given(data=damaged(tar(A, B)) | st.binary(max_size=600))
def test_damaged_tar(data):
    result = result_or_error(download.read_tar, data, "the file", MEMBERS)
    if result is not None:  # a tar archive has no check sum of contents; `fetch` compares their SHA-256
        assert set(result) == set(MEMBERS)
        assert sum(map(len, result.values())) <= len(data)


@pytest.mark.parametrize(("archive", "message"), [
    (b"", "is not a whole tar archive"),
    (tar(), r"the archive has no a\.bin, b\.bin"),
    (tar(A), r"the archive has no b\.bin"),
    (tar(A, B, A), "folder/a.bin is not a plain file, or is there twice"),
    (tar(A, B, ("../../a.bin", b"", {})), r"\.\./a\.bin is not a plain file, or is there twice"),
    (tar(A, ("b.bin", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"})), "b.bin is not a plain"),
    (tar(A, ("b.bin", b"", {"type": tarfile.LNKTYPE, "linkname": "folder/a.bin"})), "b.bin is not a plain"),
    (tar(A, ("b.bin", b"", {"type": tarfile.FIFOTYPE})), "b.bin is not a plain"),
    (tar(A, ("b.bin", b"", {"type": tarfile.DIRTYPE})), "b.bin is not a plain"),
    (tar(B, A)[:1024 + 512 + 100], "is not a whole tar archive"),
])
def test_wrong_archives(archive, message):
    with pytest.raises(DatasetError, match=message):
        download.read_tar(archive, "the file", MEMBERS)


def test_members_said_to_be_huge_need_no_memory():
    entry = tarfile.TarInfo("a.bin")
    entry.size = 2 ** 40
    archive = entry.tobuf() + bytes(10240)
    assert peak_memory(lambda: download.read_tar(archive, "the file", MEMBERS)) < 10 ** 6
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(10 ** 8)}
    sparse = tar(("a.bin", b"1\n0\n1\n", {"pax_headers": headers}), format=tarfile.PAX_FORMAT)
    assert peak_memory(lambda: download.read_tar(sparse, "the file", MEMBERS)) < 10 ** 6


def test_every_message_names_the_file():
    for reader, args in ((download.parse_idx, ()), (download.parse_cifar10, ()), (download.decompress, (10,)),
                         (download.parse_libsvm, ((3, 4),)), (download.parse_npz, (SHAPES,)),
                         (download.read_tar, (MEMBERS,))):
        with pytest.raises(DatasetError, match=re.escape("some/file.gz")):
            reader(b"\x01", "some/file.gz", *args)
