"""Data sets: what is embedded, what is generated, and what is downloaded, checked and refused."""

import bz2
import gzip
import hashlib
import http.server
import io
import json
import os
import shutil
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilift
from minilift import datasets, download
from minilift.datasets import Dataset, split
from minilift.download import DatasetError, Published

# --- what a data set is -------------------------------------------------------------------------------------


def small_set():
    X = np.arange(5 * 12, dtype=np.float32).reshape(5, 12) / 60
    y = np.arange(5)
    return Dataset("small", X[:3], y[:3], X[3:], y[3:], (2, 2, 3), 5)


def test_a_description_without_docstrings_says_so(monkeypatch):
    monkeypatch.setattr(datasets.digits, "__doc__", None)
    assert datasets.describe("digits").startswith("no description, as Python runs without docstrings")


def test_images_and_flat_rows_are_the_same_numbers():
    data = small_set()
    images = data.images()
    assert images.X_train.shape == (3, 2, 2, 3)
    assert images.X_test.shape == (2, 2, 2, 3)
    assert images.X_train[1, 0, 1, 2] == data.X_train[1, 5]
    assert images.y_train is data.y_train


def test_an_autoencoder_reproduces_its_flat_inputs():
    for data in (small_set().autoencoder(), small_set().images().autoencoder()):
        assert data.y_train is data.X_train
        assert data.y_test is data.X_test
        assert data.X_train.shape == (3, 12)
        assert data.n_classes is None


def test_a_standardized_set_has_mean_0_and_deviation_1_in_training():
    """The test part is moved by the same numbers, what is constant in training is shifted alone, labels stay."""
    rng = np.random.default_rng(0)
    scales, means = np.array([1e-4, 1.0, 3e6, 60.0]), np.array([0.0, -5.0, 7e5, 1.6e9])  # the last are times of day
    X = rng.standard_normal((50, 4)) * scales + means
    X[:, 0] = 0.1
    y = rng.standard_normal((50, 1)) * 77 + 150
    data = Dataset("mine", X[:40], y[:40], X[40:], y[40:]).standardized()
    assert data.X_train.dtype == data.y_test.dtype == np.float32
    expected = (X - X[:40].mean(axis=0)) / [1, *X[:40].std(axis=0)[1:]]
    np.testing.assert_allclose(np.concatenate([data.X_train, data.X_test]), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(data.y_test, (y[40:] - y[:40].mean()) / y[:40].std(), rtol=1e-5)
    assert not data.X_train[:, 0].any()
    tiny = np.array([[1e-200], [2e-200], [3e-200]])  # of which the squares are 0
    assert np.isfinite(Dataset("mine", tiny, tiny, tiny, tiny).standardized().X_train).all()
    digits = datasets.digits()
    assert digits.standardized().y_train is digits.y_train


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_real_targets_of_one_axis_become_a_column_and_are_trained_on(dtype):
    X = np.random.default_rng(0).normal(size=(100, 3)).astype(dtype)
    y = X[:, 0]
    data = datasets.Dataset("table", X[:80], y[:80], X[80:], y[80:])
    assert (data.y_train.shape, data.y_test.shape) == ((80, 1), (20, 1))
    assert np.shares_memory(data.y_train, y), "nothing is copied"
    net = minilift.mlp([3, 8, 1], loss=minilift.SquaredError(), dtype=dtype)
    losses = minilift.fit(net, data.standardized(), "proxprop", "sgd:lr=1", epochs=2, progress=False)["train_loss"]
    assert losses[2] < losses[0]
    labels = datasets.Dataset("labels", X, np.arange(100) % 2, X, np.arange(100) % 2)
    assert labels.y_train.shape == (100,), "whole numbers stay labels"
    whole = datasets.Dataset("wide", X, X, X, X)
    assert whole.y_train is whole.y_test is X


def test_points_are_not_images():
    with pytest.raises(ValueError, match="spirals: the samples are not images"):
        datasets.spirals(10).images()


def test_repr_is_one_short_line():
    assert repr(small_set()) == "<Dataset small: 3 + 2 samples of 2×2×3, 5 classes>"
    assert repr(datasets.teacher(10)) == "<Dataset teacher: 8 + 2 samples of 10, 1 targets>"


@given(n=st.integers(2, 60), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 99))
def test_a_split_uses_every_sample_once(n, fraction, seed):
    X, y = np.arange(n)[:, None], np.arange(n)
    (X_first, y_first), (X_second, y_second) = split(X, y, fraction, seed)
    assert len(X_first) >= 1
    assert len(X_second) >= 1
    assert abs(len(X_second) - fraction * n) <= 1
    assert sorted([*y_first, *y_second]) == list(range(n))
    np.testing.assert_array_equal(X_first[:, 0], y_first)
    np.testing.assert_array_equal(X_second[:, 0], y_second)
    np.testing.assert_array_equal(split(X, y, fraction, seed)[1][1], y_second)


def test_splits_of_different_seeds_differ():
    X = np.arange(100)
    assert (split(X, X, 0.5, seed=0)[0][0] != split(X, X, 0.5, seed=1)[0][0]).any()


@pytest.mark.parametrize("fraction", [0.0, 1.0, 1, -0.1, float("nan"), True, "0.2", None])
def test_a_fraction_is_above_0_and_below_1(fraction):
    with pytest.raises(ValueError, match="fraction must be a number above 0 and below 1, got"):
        split(np.zeros((4, 1)), np.zeros(4), fraction)


def test_a_split_needs_two_samples_and_equal_rows():
    with pytest.raises(ValueError, match="at least 2 samples are needed, got 1"):
        split(np.zeros((1, 1)), np.zeros(1), 0.5)
    with pytest.raises(ValueError, match="as many rows as each other, got 3 and 4"):
        split(np.zeros((3, 1)), np.zeros(4), 0.5)


def test_a_split_takes_what_numpy_makes_arrays_of():
    class Table:
        def __array__(self, dtype=None, copy=None):
            return np.arange(8.0).reshape(4, 2)

    (X, y), (X_val, y_val) = split(Table(), [0, 1, 2, 3], 0.25)
    assert [x.tolist() for x in [*X, *X_val]] == [[2.0 * k, 2.0 * k + 1] for k in [*y, *y_val]]
    with pytest.raises(TypeError, match="y must be an array of numbers, got dtype <U"):
        split(Table(), ["a", "b", "c", "d"], 0.25)
    with pytest.raises(ValueError, match="split: X: cannot be made into an array"):
        split([[1], [2, 3]], [0, 1], 0.5)


class Table:
    """A table like those of pandas: no array, but one can be made of it."""

    def __init__(self, rows):
        self.rows, self.shape = rows, np.shape(rows)

    def __len__(self):
        return len(self.rows)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.rows)

    def to_numpy(self):
        return np.array(self.rows)


@pytest.mark.parametrize("kind", [list, Table])
def test_lists_and_tables_are_a_data_set_as_arrays_are(kind):
    X, y = [[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]], [1.0, 2.0, 6.0]
    own, arrays = (Dataset("mine", *map(form, (X, y, X[:1], y[:1]))) for form in (kind, np.array))
    for form in (lambda data: data, Dataset.standardized, Dataset.autoencoder):
        for name in ("X_train", "y_train", "X_test", "y_test"):
            np.testing.assert_array_equal(getattr(form(own), name), getattr(form(arrays), name))
    assert own.y_train.shape == (3, 1)
    with pytest.raises(ValueError, match="Dataset: X_test: cannot be made into an array"):
        Dataset("mine", X, y, [[1], [2, 3]], y)


def test_a_data_set_without_a_name_is_told_what_comes_first():
    X, y = np.zeros((2, 1)), np.zeros(2, int)
    with pytest.raises(TypeError, match=r"^Dataset: 'y_test' is missing \(in this order: name, X_train, y_train, "):
        Dataset(X, y, X, y)
    with pytest.raises(TypeError, match=r"^Dataset: name must be a text, got ndarray of shape"):
        Dataset(X, y, X, y, "mine")


# --- embedded digits ----------------------------------------------------------------------------------------


def test_digits_have_the_documented_form():
    data = datasets.digits()
    assert (data.X_train.shape, data.X_test.shape) == ((1437, 64), (360, 64))
    assert (data.y_train.shape, data.y_test.shape) == ((1437,), (360,))
    assert (data.X_train.dtype, data.y_train.dtype) == (np.float32, np.int64)
    assert (data.X_train.min(), data.X_train.max()) == (0, 1)
    assert (data.image_shape, data.n_classes) == ((8, 8, 1), 10)
    assert "CC BY 4.0" in data.licence
    assert "Alpaydin" in data.source


def test_a_fifth_of_each_class_of_digits_is_for_testing():
    data = datasets.digits()
    test, every = np.bincount(data.y_test), np.bincount(np.concatenate([data.y_train, data.y_test]))
    assert (abs(test - every / 5) < 1).all()


def test_digits_are_scikit_learns():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    images, labels = sklearn_datasets.load_digits(return_X_y=True)
    data = datasets.digits()
    def rows(X, y):
        return sorted((*x, label) for x, label in zip(X, y))

    ours = rows(np.concatenate([data.X_train, data.X_test]) * 16, np.concatenate([data.y_train, data.y_test]))
    assert ours == rows(images, labels)


def test_the_manifest_says_what_a_copy_must_say():
    facts = json.loads((datasets.data_folder() / "manifest.json").read_text(encoding="utf-8"))["digits.npz"]
    content = (datasets.data_folder() / "digits.npz").read_bytes()
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["bytes"] == len(content)
    for key in ("source", "licence", "citation", "split", "changes"):
        assert facts[key]


@pytest.fixture
def data_copy(tmp_path, monkeypatch):
    """Return a copy of the embedded data, which `digits` reads."""
    folder = tmp_path / "data"
    shutil.copytree(datasets.data_folder(), folder)
    monkeypatch.setattr(datasets, "data_folder", lambda: folder)
    return folder


@pytest.mark.parametrize("position", [0, 20000, -1])
def test_damaged_digits_are_refused(data_copy, position):
    content = bytearray((data_copy / "digits.npz").read_bytes())
    content[position] ^= 1
    (data_copy / "digits.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"digits\.npz: is damaged.*install minilift again"):
        datasets.digits()


def test_truncated_longer_or_missing_digits_are_refused(data_copy):
    content = (data_copy / "digits.npz").read_bytes()
    (data_copy / "digits.npz").write_bytes(content[:-1])
    with pytest.raises(DatasetError, match="is damaged"):
        datasets.digits()
    (data_copy / "digits.npz").write_bytes(content + b"\0")
    with pytest.raises(DatasetError, match="is larger than"):
        datasets.digits()
    (data_copy / "digits.npz").unlink()
    with pytest.raises(DatasetError, match="cannot be read"):
        datasets.digits()


@pytest.mark.parametrize("text", ["", "{", "{}", "\xff"])
def test_a_damaged_manifest_is_refused(data_copy, text):
    (data_copy / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"manifest\.json: is damaged"):
        datasets.digits()


def test_data_are_found_inside_an_installed_package_and_beside_a_source_tree(tmp_path, monkeypatch):
    here = datasets.data_folder()
    package = tmp_path / "minilift"
    package.mkdir()
    monkeypatch.setattr(datasets, "files", lambda name: package)
    with pytest.raises(DatasetError, match="the embedded data are missing"):
        datasets.digits()
    shutil.copytree(here, tmp_path / "data")
    assert datasets.data_folder() == tmp_path / "data"
    shutil.copytree(here, package / "data")
    assert datasets.data_folder() == package / "data"
    assert len(datasets.digits().X_train) == 1437


# --- generated sets -----------------------------------------------------------------------------------------


def test_curves_are_images_in_the_unit_interval_and_their_own_targets():
    data = datasets.curves(30, 20, seed=1)
    assert (data.X_train.shape, data.X_test.shape) == ((30, 784), (20, 784))
    assert data.X_train.dtype == np.float32
    assert data.X_train.min() >= 0
    assert data.X_train.max() <= 1
    assert data.y_train is data.X_train
    assert data.images().X_test.shape == (20, 28, 28, 1)
    border = data.images().X_train.copy()
    border[:, 1:-1, 1:-1] = 0
    assert border.max() < 0.05  # a curve stays two pixels, three widths of the pen, inside


def test_curves_follow_from_the_seed_alone():
    first = datasets.curves(1200, 5, seed=1)
    np.testing.assert_array_equal(first.X_train, datasets.curves(1200, 7, seed=1).X_train)
    assert (first.X_train[0] != datasets.curves(1, 1, seed=2).X_train[0]).any()
    assert len(np.unique(first.X_train, axis=0)) == 1200


@given(points=st.lists(st.floats(2, 25, width=32), min_size=6, max_size=6))
def test_a_curve_is_the_line_integral_of_the_pen(points):
    points = np.array(points).reshape(3, 2)
    t = np.linspace(0, 1, 4001)[:, None]
    q = (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t ** 2 * points[2]
    length = np.linalg.norm(np.diff(q, axis=0), axis=1)
    row, column = np.mgrid[:28, :28].reshape(2, 784, 1)
    middle = (q[1:] + q[:-1]) / 2
    distance_2 = (column - middle[:, 0]) ** 2 + (row - middle[:, 1]) ** 2
    expected = np.minimum((np.exp(-distance_2 / (2 * 0.7 ** 2)) @ length) / (np.sqrt(2 * np.pi) * 0.7), 1)
    np.testing.assert_allclose(datasets.draw_curves(points[None].astype(np.float32))[0], expected, atol=1e-2)


def test_a_straight_stroke_has_intensity_1():
    points = np.array([[[4, 14], [14, 14], [24, 14]]], dtype=np.float32)
    image = datasets.draw_curves(points).reshape(28, 28)
    np.testing.assert_allclose(image[14, 8:20], 1, atol=1e-4)


@pytest.mark.parametrize("make", [datasets.spirals, datasets.moons, datasets.teacher])
def test_toy_sets_follow_from_the_seed(make):
    data, same, other = make(seed=1), make(seed=1), make(seed=2)
    assert (len(data.X_train), len(data.X_test)) == (800, 200)
    assert data.X_train.dtype == np.float32
    np.testing.assert_array_equal(data.X_train, same.X_train)
    np.testing.assert_array_equal(data.y_test, same.y_test)
    assert (data.X_train != other.X_train).any()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_spirals_without_noise_lie_on_their_arms(classes):
    data = datasets.spirals(500, classes=classes, noise=0)
    radius, angle = np.hypot(*data.X_train.T), np.arctan2(*data.X_train.T[::-1])
    turns = angle / (2 * np.pi) - radius - data.y_train / classes
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-5)
    assert data.y_train.dtype == np.int64
    assert np.ptp(np.bincount(np.concatenate([data.y_train, data.y_test]))) <= 1


def test_moons_without_noise_are_half_circles():
    data = datasets.moons(200, noise=0)
    centre = np.where(data.y_train[:, None] == 0, [0, 0], [1, 0.5])
    np.testing.assert_allclose(np.linalg.norm(data.X_train - centre, axis=1), 1, atol=1e-6)
    assert (data.X_train[data.y_train == 0, 1] >= 0).all()
    assert (data.X_train[data.y_train == 1, 1] <= 0.5).all()


def test_a_teacher_has_one_target_a_sample_and_noise_on_targets_only():
    clean, noisy = datasets.teacher(2000, (3, 4, 2)), datasets.teacher(2000, (3, 4, 2), noise=0.5)
    assert clean.X_train.shape == (1600, 3)
    assert clean.y_train.shape == (1600, 2)
    assert clean.y_train.dtype == np.float32
    np.testing.assert_array_equal(clean.X_train, noisy.X_train)
    assert np.std(noisy.y_train - clean.y_train) == pytest.approx(0.5, rel=0.1)


def test_a_teacher_is_a_smooth_function_of_its_inputs():
    data = datasets.teacher(4000, (1, 5, 1))
    order = np.argsort(data.X_train[:, 0])
    x, y = data.X_train[order, 0], data.y_train[order, 0]
    assert np.abs(np.diff(y) / np.maximum(np.diff(x), 1e-4)).max() < 50
    assert np.std(y) > 0.05


@pytest.mark.parametrize(("call", "message"), [
    (lambda: datasets.spirals(9), "spirals: n must be at least 10, got 9"),
    (lambda: datasets.spirals(classes=1), "spirals: classes must be at least 2, got 1"),
    (lambda: datasets.moons(noise=-1), "moons: noise must be in .0, 1e.30. and finite, got -1"),
    (lambda: datasets.moons(noise=float("nan")), "moons: noise must be in .0, 1e.30. and finite, got nan"),
    (lambda: datasets.teacher(widths=(3, 1)), "teacher: widths must be a list of 3 numbers"),
    (lambda: datasets.teacher(widths=(3, 0, 1)), "teacher: widths must be at least 1, got 0"),
    (lambda: datasets.curves(0), "curves: n_train must be at least 1, got 0"),
])
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- by name ------------------------------------------------------------------------------------------------


def test_sets_are_loaded_by_name():
    assert datasets.available() == ("digits", "curves", "spirals", "moons", "teacher",
                                    "mnist", "fashion_mnist", "usps", "cifar10")
    assert datasets.load("digits").name == "digits"
    assert len(datasets.load("spirals", n=50, seed=3).X_train) == 40


def test_unknown_names_and_options_give_the_nearest():
    with pytest.raises(ValueError, match="data set: unknown name 'minst'; did you mean 'mnist'"):
        datasets.load("minst")
    with pytest.raises(ValueError, match="data set: unknown name 'cifar'; did you mean 'cifar10'"):
        datasets.describe("cifar")
    with pytest.raises(ValueError, match="option of spirals: unknown name 'noize'; did you mean 'noise'"):
        datasets.load("spirals", noize=1)


@pytest.mark.parametrize("name", datasets.available())
def test_a_description_says_what_and_where(name, monkeypatch, tmp_path):
    monkeypatch.setenv("MINILIFT_DATA", str(tmp_path))
    text = datasets.describe(name)
    assert len(text.splitlines()[0]) > 20
    for published in download.PUBLISHED.get(name, []):
        assert published.url in text
        assert published.sha256 in text
        assert str(tmp_path / name) in text


def test_published_files_have_addresses_and_hashes():
    for name, published in download.PUBLISHED.items():
        assert len({file.name for file in published}) == len(published)
        assert name in datasets.ABOUT
        for file in published:
            assert file.url.startswith(("https://", download.FASHION_URL))
            for value in (file.sha256, *filter(None, file.contents.values())):
                assert len(bytes.fromhex(value)) == 32


# --- published sets, at a small size, from a server of our own ----------------------------------------------


class Server:
    """A web server on this machine: what it has (`files`), and what it was asked for (`requests`)."""

    def __init__(self):
        self.files, self.requests, self.cut = {}, [], 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.lstrip("/")
                outer.requests.append(name)
                if name not in outer.files:
                    self.send_error(404)
                    return
                content = outer.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:len(content) - outer.cut])

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch, tmp_path):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MINILIFT_DATA", str(tmp_path))
    server = Server()
    yield server
    server.close()


def digest(content):
    return hashlib.sha256(content).hexdigest()


def idx(array):
    array = np.asarray(array, np.uint8)
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def small_mnist(server, monkeypatch, rng):
    """Publish a set of 3 + 2 images as MNIST; return the contents of its files."""
    shapes = {"train": (3, 28, 28), "t10k": (2, 28, 28)}
    contents = {}
    for part, shape in shapes.items():
        contents[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, shape))
        contents[f"{part}-labels-idx1-ubyte"] = idx(rng.integers(0, 10, shape[0]))
    server.files |= {f"{name}.gz": gzip.compress(content) for name, content in contents.items()}
    published = [Published(f"{server.url}{name}.gz", digest(server.files[f"{name}.gz"]),
                           {name: digest(content)}, 10 ** 5) for name, content in contents.items()]
    monkeypatch.setattr(datasets, "MNIST_SHAPES", shapes)
    monkeypatch.setitem(download.PUBLISHED, "mnist", published)
    return contents


def assert_is_small_mnist(data, contents):
    for X, y, part in ((data.X_train, data.y_train, "train"), (data.X_test, data.y_test, "t10k")):
        pixels = np.frombuffer(contents[f"{part}-images-idx3-ubyte"], np.uint8, offset=16)
        np.testing.assert_array_equal(X, (pixels / 255).astype(np.float32).reshape(-1, 784))
        np.testing.assert_array_equal(y, list(contents[f"{part}-labels-idx1-ubyte"][8:]))
        assert (X.dtype, y.dtype) == (np.float32, np.int64)


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_set_is_downloaded_once(server, small_mnist, tmp_path):
    assert_is_small_mnist(datasets.mnist(), small_mnist)
    assert sorted(server.requests) == sorted(server.files)
    assert files_in(tmp_path) == files_in(tmp_path / "mnist") == sorted(server.files)
    assert_is_small_mnist(datasets.mnist(), small_mnist)
    assert len(server.requests) == 4


def test_the_argument_folder_comes_before_the_environment(server, small_mnist, tmp_path):
    datasets.mnist(folder=tmp_path / "elsewhere")
    assert files_in(tmp_path / "elsewhere" / "mnist") == sorted(server.files)
    assert not (tmp_path / "mnist").exists()


def test_a_folder_that_cannot_be_one_is_named_by_where_it_was_given(monkeypatch):
    monkeypatch.setenv("MINILIFT_DATA", "~nobody-of-this-name/data")
    with pytest.raises(DatasetError, match=r"^MINILIFT_DATA: '~nobody-of-this-name/data' must be the path of a folder"):
        datasets.mnist()
    with pytest.raises(DatasetError, match=r"^folder: '~nobody-of-this-name' must be the path of a folder"):
        datasets.mnist("~nobody-of-this-name")


def test_without_a_choice_the_folder_is_the_cache_of_pooch(monkeypatch):
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("MINILIFT_DATA", raising=False)
    assert download.data_root() == Path(pooch.os_cache("minilift"))
    assert download.data_root("~/here") == Path.home() / "here"


def test_wrong_bytes_are_refused_and_nothing_is_left(server, small_mnist, tmp_path):
    server.files["train-images-idx3-ubyte.gz"] = gzip.compress(b"a page of some captive portal")
    with pytest.raises(DatasetError, match=r"its SHA-256 is not .* nothing was kept") as caught:
        datasets.mnist()
    assert server.url + "train-images-idx3-ubyte.gz" in str(caught.value)
    assert files_in(tmp_path) == []


def test_a_broken_transfer_leaves_nothing(server, small_mnist, tmp_path):
    server.cut = 5
    with pytest.raises(DatasetError, match=r"train-images-idx3-ubyte\.gz"):
        datasets.mnist()
    assert files_in(tmp_path) == []


def test_a_download_resumes_with_the_missing_files(server, small_mnist, tmp_path):
    last = server.files.pop("t10k-labels-idx1-ubyte.gz")
    with pytest.raises(DatasetError, match="404"):
        datasets.mnist()
    assert len(files_in(tmp_path)) == 3
    server.files["t10k-labels-idx1-ubyte.gz"] = last
    assert_is_small_mnist(datasets.mnist(), small_mnist)
    assert server.requests.count("train-images-idx3-ubyte.gz") == 1


def test_offline_the_message_says_what_to_put_where(server, small_mnist, tmp_path):
    server.close()
    with pytest.raises(DatasetError) as caught:
        datasets.mnist()
    message = str(caught.value)
    assert message.startswith("mnist: train-images-idx3-ubyte.gz is not there and could not be downloaded")
    assert f"{server.url}train-images-idx3-ubyte.gz" in message
    assert digest(server.files["train-images-idx3-ubyte.gz"]) in message
    assert f"put it into {tmp_path / 'mnist'}" in message
    assert "MINILIFT_DATA" in message
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("subfolder", ["mnist", "."])
@pytest.mark.parametrize("form", ["as published", "packed again", "unpacked"])
def test_files_put_there_by_hand_are_read(server, small_mnist, tmp_path, subfolder, form):
    folder = tmp_path / subfolder
    folder.mkdir(exist_ok=True)
    for name, content in small_mnist.items():
        if form == "unpacked":
            (folder / name).write_bytes(content)
        elif form == "packed again":
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1, mtime=1))
        else:
            (folder / f"{name}.gz").write_bytes(server.files[f"{name}.gz"])
    assert_is_small_mnist(datasets.mnist(), small_mnist)
    assert server.requests == []


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_other_contents_put_there_by_hand_are_refused(server, small_mnist, tmp_path, suffix):
    (tmp_path / "mnist").mkdir()
    other = bytearray(small_mnist["train-images-idx3-ubyte"])
    other[-1] ^= 1  # well-formed, one grey level off
    path = tmp_path / "mnist" / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(gzip.compress(other) if suffix else other)
    with pytest.raises(DatasetError, match="is damaged or another file of this name") as caught:
        datasets.mnist()
    assert str(path) in str(caught.value)
    assert path.exists()
    assert server.requests == []


def test_a_truncated_file_put_there_by_hand_is_refused(server, small_mnist, tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(server.files[path.name][:-9])
    with pytest.raises(DatasetError, match="cannot be unpacked, it is truncated or damaged"):
        datasets.mnist()


def test_a_gzip_bomb_put_there_by_hand_is_refused(server, small_mnist, tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(10 ** 7)))
    with pytest.raises(DatasetError, match="unpacks to more than the 100000 bytes"):
        datasets.mnist()


def test_where_contents_are_unknown_only_published_files_count(server, small_mnist, tmp_path, monkeypatch):
    unknown = [Published(file.url, file.sha256, dict.fromkeys(file.contents), file.largest)
               for file in download.PUBLISHED["mnist"]]
    monkeypatch.setitem(download.PUBLISHED, "fashion_mnist", unknown)
    for name, content in small_mnist.items():
        (tmp_path / name).write_bytes(content)  # could be MNIST's: the names are the same
    assert_is_small_mnist(datasets.fashion_mnist(), small_mnist)
    assert len(server.requests) == 4
    path = tmp_path / "fashion_mnist" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(small_mnist["t10k-labels-idx1-ubyte"], 1, mtime=1))
    with pytest.raises(DatasetError, match="is damaged or another file of this name"):
        datasets.fashion_mnist()


@pytest.fixture
def small_usps(server, monkeypatch, rng):
    """Publish a set of 4 + 2 images as USPS; return its values (in [−1, 1]) and labels (from 1)."""
    shapes = {"train": (4, 256), "test": (2, 256)}
    parts, published = [], []
    for shape, name in zip(shapes.values(), ("usps", "usps.t")):
        values, labels = rng.integers(-1000, 1001, shape) / 1000, rng.integers(1, 11, shape[0])
        text = "".join(f"{label} " + " ".join(f"{i + 1}:{v:g}" for i, v in enumerate(row)) + " \n"
                       for label, row in zip(labels, values))
        server.files[f"{name}.bz2"] = bz2.compress(text.encode())
        packed = server.files[f"{name}.bz2"]
        published.append(Published(f"{server.url}{name}.bz2", digest(packed), {name: None}, 10 ** 5))
        parts += [values, labels]
    monkeypatch.setattr(datasets, "USPS_SHAPES", shapes)
    monkeypatch.setitem(download.PUBLISHED, "usps", published)
    return parts


def test_usps_becomes_digits_in_the_unit_interval(small_usps):
    data = datasets.usps()
    for array, expected in zip((data.X_train, data.X_test), small_usps[::2]):
        np.testing.assert_allclose(array, (expected + 1) / 2, atol=1e-7)
        assert array.dtype == np.float32
    np.testing.assert_array_equal(data.y_train, small_usps[1] - 1)
    np.testing.assert_array_equal(data.y_test, small_usps[3] - 1)
    assert data.images().X_train.shape == (4, 16, 16, 1)


def test_a_usps_npz_put_there_by_hand_is_read(server, small_usps, tmp_path):
    x_train, y_train, x_test, y_test = small_usps
    np.savez_compressed(tmp_path / "usps.npz", x_train=((x_train + 1) / 2).astype(np.float32),
                        y_train=(y_train - 1).astype(np.uint8), x_test=(x_test + 1) / 2, y_test=y_test - 1)
    data = datasets.usps()
    assert server.requests == []
    np.testing.assert_allclose(data.X_test, (x_test + 1) / 2, atol=1e-7)
    np.testing.assert_array_equal(data.y_train, y_train - 1)
    assert (data.X_test.dtype, data.y_train.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize(("key", "value", "message"), [
    ("x_train", np.full((4, 256), 1.5), r"values must be in \[0, 1\]"),
    ("x_train", np.full((4, 256), np.nan), "not finite"),
    ("x_test", np.zeros((3, 256)), r"x_test.npy should be numbers of shape \(2, 256\)"),
    ("y_test", np.array([3, 10]), "labels must be 0 … 9, found 10"),
    ("y_test", np.array([3, -1]), "labels must be 0 … 9, found -1"),
    ("y_test", np.array(["3", "4"]), "should be numbers"),
    ("y_test", np.array([3, None]), "should be numbers"),
    ("y_test", np.array([3, 4.5]), "labels must be whole numbers"),
])
def test_a_wrong_usps_npz_is_refused(small_usps, tmp_path, key, value, message):
    arrays = {"x_train": np.zeros((4, 256)), "y_train": np.zeros(4),
              "x_test": np.zeros((2, 256)), "y_test": np.zeros(2)}
    np.savez(tmp_path / "usps.npz", **arrays | {key: value})
    with pytest.raises(DatasetError, match=message):
        datasets.usps()


@pytest.fixture
def small_cifar10(server, monkeypatch, rng):
    """Publish a set of 10 + 2 images as CIFAR-10; return the contents of its files."""
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    contents = {}
    for name in names:
        records = rng.integers(0, 256, (2, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        contents[name] = records.tobytes()
    server.files["cifar-10-binary.tar.gz"] = gzip.compress(tar({
        "cifar-10-batches-bin/readme.html": b"<html>",
        **{f"cifar-10-batches-bin/{name}": content for name, content in contents.items()}}))
    archive = server.files["cifar-10-binary.tar.gz"]
    published = Published(f"{server.url}cifar-10-binary.tar.gz", digest(archive),
                          {name: digest(content) for name, content in contents.items()}, 10 ** 6)
    monkeypatch.setattr(datasets, "CIFAR10_BATCH", 2)
    monkeypatch.setitem(download.PUBLISHED, "cifar10", [published])
    return contents


def tar(contents):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def assert_is_small_cifar10(data, contents):
    assert data.X_train.shape == (10, 3072)
    images = data.images()
    for i, record in enumerate(np.frombuffer(b"".join(contents.values()), np.uint8).reshape(-1, 3073)):
        image = images.X_train[i] if i < 10 else images.X_test[i - 10]
        label = images.y_train[i] if i < 10 else images.y_test[i - 10]
        assert label == record[0]
        for colour, row, column in ((0, 0, 0), (0, 0, 1), (1, 0, 0), (2, 31, 31), (1, 5, 9)):
            byte = record[1 + 1024 * colour + 32 * row + column]
            assert image[row, column, colour] == np.float32(byte / 255)


def test_cifar10_is_read_from_its_archive_and_nothing_is_unpacked(small_cifar10, tmp_path):
    assert_is_small_cifar10(datasets.cifar10(), small_cifar10)
    assert files_in(tmp_path) == ["cifar-10-binary.tar.gz"]


@pytest.mark.parametrize("subfolder", [".", "cifar10", "cifar-10-batches-bin",
                                       "cifar10/cifar-10-batches-bin"])
def test_cifar10_is_read_unpacked(server, small_cifar10, tmp_path, subfolder):
    (tmp_path / subfolder).mkdir(parents=True, exist_ok=True)
    for name, content in small_cifar10.items():
        (tmp_path / subfolder / name).write_bytes(content)
    assert_is_small_cifar10(datasets.cifar10(), small_cifar10)
    assert server.requests == []


def test_an_archive_of_other_origin_is_not_opened(server, small_cifar10, tmp_path, monkeypatch):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(tar(small_cifar10)))
    monkeypatch.setattr(download, "read_tar", lambda *args: pytest.fail("was opened"))
    with pytest.raises(DatasetError, match="is damaged or another file of this name"):
        datasets.cifar10()


def test_a_file_larger_than_it_can_be_is_not_read(server, small_cifar10, tmp_path):
    with open(tmp_path / "cifar-10-binary.tar.gz", "wb") as file:
        file.truncate(10 ** 6 + 1)
    with pytest.raises(DatasetError, match="is larger than the 1000000 bytes"):
        datasets.cifar10()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_an_unreadable_file_is_named(server, small_mnist, tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"")
    path.chmod(0)
    with pytest.raises(DatasetError, match="cannot be read"):
        datasets.mnist()


# --- the real files, where somebody has them ----------------------------------------------------------------


def real_files(name):
    """Skip unless the folder that MINILIFT_DATA names has the first file of a set."""
    root = os.environ.get("MINILIFT_DATA")
    names = [download.PUBLISHED[name][0].name, *download.PUBLISHED[name][0].contents, f"{name}.npz"]
    if not root or not any(download.find(file, download.places(name, root)) for file in names):
        pytest.skip(f"the folder named by MINILIFT_DATA does not have the files of {name}")


def test_the_real_mnist():
    real_files("mnist")
    data = datasets.mnist()
    assert (data.X_train.shape, data.X_test.shape) == ((60000, 784), (10000, 784))
    assert list(np.bincount(data.y_train)) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert list(data.y_train[:10]) == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.X_train.mean() == pytest.approx(0.1307, abs=1e-4)  # the usual constants of normalisation
    assert data.X_train.std() == pytest.approx(0.3081, abs=1e-4)


def test_the_real_fashion_mnist():
    real_files("fashion_mnist")
    data = datasets.fashion_mnist()
    assert list(np.bincount(data.y_train)) == [6000] * 10
    assert data.X_train.mean() == pytest.approx(0.2860, abs=1e-3)


def test_the_real_usps():
    real_files("usps")
    data = datasets.usps()
    assert list(np.bincount(data.y_train)) == [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
    assert data.X_train.min() == 0
    assert data.X_train.max() == 1


def test_the_real_cifar10():
    real_files("cifar10")
    data = datasets.cifar10()
    assert list(np.bincount(data.y_train)) == [5000] * 10
    colours = data.images().X_train.mean(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(colours, [0.4914, 0.4822, 0.4465], atol=1e-3)


def test_importing_the_package_does_not_import_pooch():
    import subprocess
    import sys

    code = "import sys, minilift.datasets; sys.exit('pooch' in sys.modules or 'scipy' in sys.modules)"
    root = Path(minilift.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


@pytest.mark.parametrize("convert", [np.asarray, np.ndarray.tolist], ids=["arrays", "lists"])
def test_a_set_of_ones_own_is_shown_whatever_its_targets(convert):
    X, y = convert(np.zeros((3, 2))), convert(np.zeros(3))
    assert repr(datasets.Dataset("mine", X, y, X, y)) == "<Dataset mine: 3 + 3 samples of 2, 1 targets>"
