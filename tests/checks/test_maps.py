"""`verify` on maps: right ones hold, however unusual; mistakes in the map, its adjoints, its rows and columns, its Gram
operators and its convolutions are found, and the reason says what is wrong.
"""

import numpy as np
import pytest
from told import Plant, changed, is_found_and_named, is_named_with, reasons, tells, without_bias_row

import minilift as ml
from minilift.checks.maps import map_cases, sample_gram_matrix
from minilift.checks.report import NotClaimed

# ---- right maps, and mistakes in their like


class Sequence(ml.Map):
    """The same map at each of so many times."""

    n_in, n_out, times = 2, 3, 6
    theta_shape = (3, 3)

    def initial_theta(self, rng):
        return rng.standard_normal((3, 3))

    def output_shape(self, input_shape):
        if tuple(input_shape) != (6, 2):
            raise ValueError("Sequence: expects (6, 2)")
        return (6, 3)

    def forward(self, theta, a):
        return a @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T

    def adjoint_theta(self, a, g):
        a, g = self.rows(a), self.columns(g)
        return np.concatenate([a.T @ g, g.sum(axis=0, keepdims=True)])

    def rows(self, a):
        return a.reshape(-1, 2)

    def columns(self, z):
        return z.reshape(-1, 3)


def test_a_map_of_sequences_finds_samples_that_it_takes():
    assert ml.verify(Sequence()).passed


class Pixelwise(ml.Map):
    """A matrix for each pixel; `kernel` is a method, no size."""

    takes_images, n_in, n_out, c_in = True, 2, 3, 2
    theta_shape = (3, 3)

    def initial_theta(self, rng):
        return rng.standard_normal((3, 3))

    def output_shape(self, input_shape):
        if len(input_shape) != 3 or input_shape[2] != 2:
            raise ValueError(f"Pixelwise expects images of shape (H, W, 2), got {input_shape}")
        return (*input_shape[:2], 3)

    def kernel(self, theta):
        return theta[:-1]

    def forward(self, theta, a):
        return a @ self.kernel(theta) + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ self.kernel(theta).T

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ self.columns(g), self.columns(g).sum(axis=0)])

    def rows(self, a):
        return a.reshape(-1, 2)

    def columns(self, z):
        return z.reshape(-1, 3)


def test_a_name_of_ours_may_be_something_else_of_the_users():
    assert ml.verify(Pixelwise()).passed


@pytest.mark.parametrize("phi", [ml.Conv2d(1, 2, 2, stride=2, padding=1), ml.Conv2d(1, 1, 3, stride=2),
                                 ml.Conv2d(2, 1, 1, padding="valid"), ml.Conv2d(1, 2, 3, image_size=(5, 4))])
def test_convolutions_hold_on_images_of_both_sizes(phi):
    assert ml.verify(phi).passed


class Torus(ml.Conv2d):
    """Images go on periodically by one pixel: the patches are its own."""

    wrong = False

    def output_shape(self, input_shape):
        height, width, channels = input_shape
        return super().output_shape((height + 2, width + 2, channels))

    def around(self, a):
        return np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")

    def plain(self):
        return ml.Conv2d(self.c_in, self.c_out, 3, padding="valid")

    def forward(self, theta, a):
        return self.plain().forward(theta, self.around(a))

    def adjoint_input(self, theta, g):
        wide = self.plain().adjoint_input(theta, g)
        if not self.wrong:
            wide[:, -2] += wide[:, 0]
            wide[:, 1] += wide[:, -1]
            wide[:, :, -2] += wide[:, :, 0]
            wide[:, :, 1] += wide[:, :, -1]
        return wide[:, 1:-1, 1:-1].copy()

    def adjoint_theta(self, a, g):
        return self.plain().adjoint_theta(self.around(a), g)

    def rows(self, a):
        return self.plain().rows(self.around(a))

    def gram(self, a, side=None, bias=True):
        return ml.layers.gram.Gram(self.rows(a), side, bias)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("thing", [Torus(2, 3, 3, padding="valid")], ids=repr)
def test_right_parts_of_ones_own_are_not_refused(thing, seed):
    report = ml.verify(thing, seed=seed)
    assert report.passed, report


class Dropped(Torus):
    wrong = True


class Flipped(ml.Conv2d):
    def forward(self, theta, a):
        turned = theta[:-1].reshape(3, 3, self.c_in, self.c_out)[::-1, ::-1].reshape(-1, self.c_out)
        return super().forward(np.vstack([turned, theta[-1:]]), a)


@pytest.mark.parametrize(("thing", "says"), [
    (Dropped(2, 3, 3, padding="valid"), "at the border of the images alone"),
    (Flipped(2, 3, 3), "the kernel is")], ids=repr)
def test_mistakes_in_their_like_are_found(thing, says):
    assert says in reasons(ml.verify(thing))


class Fixed(ml.Map):
    """z = (a P) W + b with a fixed P, the cosine transform."""

    n_in, n_out = 6, 4
    theta_shape = (7, 4)

    def matrix(self, dtype=float):
        k = np.arange(self.n_in)
        return np.cos(np.pi * (k[:, None] + 0.5) * k / self.n_in).astype(dtype)

    def initial_theta(self, rng):
        return rng.normal(size=self.theta_shape)

    def rows(self, a):
        return a @ self.matrix(a.dtype)

    def back(self, signal):
        return signal @ self.matrix(signal.dtype).T

    def forward(self, theta, a):
        return a @ self.matrix(a.dtype) @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return self.back(g @ theta[:-1].T)

    def adjoint_theta(self, a, g):
        return np.vstack([self.matrix(a.dtype).T @ a.T @ g, g.sum(axis=0)])


def test_a_map_with_a_fixed_transform_before_its_weights_is_right():
    assert ml.verify(Fixed()).passed


# ---- planted mistakes


def bias_forgotten(self, theta, a):
    return a @ theta[:-1]


def gram_with(side, change):
    """Return a map whose Gram matrix is changed on one side."""

    def gram(self, a, side_=None, bias=True, **options):
        result = ml.Linear.gram(self, a, side=options.get("side", side_), bias=bias)
        if result.side == side:
            result.matrix = change(result)
        return result

    return gram


MAPS = [
    Plant(
        "adjoint in θ without the bias row",
        lambda: changed(ml.Linear, 3, 2, adjoint_theta=without_bias_row),
        "the bias row is missing",
    ),
    Plant(
        "adjoint in θ of the wrong shape",
        lambda: changed(ml.Linear, 3, 2, adjoint_theta=lambda self, a, g: a.T @ g),
        "the bias row is missing",
    ),
    Plant(
        "adjoint in θ averaged over the batch",
        lambda: changed(
            ml.Linear, 3, 2, adjoint_theta=lambda self, a, g: ml.Linear.adjoint_theta(self, a, g) / len(a)
        ),
        "1/(N",
    ),
    Plant(
        "adjoint in θ with the bias row averaged",
        lambda: changed(
            ml.Linear, 3, 2, adjoint_theta=lambda self, a, g: np.vstack([a.T @ g, g.mean(axis=0)])
        ),
        "the bias row alone is wrong: it is off by a factor 1/(N",
    ),
    Plant(
        "adjoint in θ transposed",
        lambda: changed(
            ml.Linear, 3, 2, adjoint_theta=lambda self, a, g: ml.Linear.adjoint_theta(self, a, g).T.copy()
        ),
        "transposed",
    ),
    Plant(
        "bias in the first row",
        lambda: changed(
            ml.Linear, 3, 2, adjoint_theta=lambda self, a, g: np.vstack([g.sum(axis=0), a.T @ g])
        ),
        "first row",
    ),
    Plant(
        "adjoint in a with weights not transposed",
        lambda: changed(ml.Linear, 3, 3, adjoint_input=lambda self, theta, g: g @ theta[:-1]),
        "not transposed",
    ),
    Plant(
        "adjoint in a of the wrong sign",
        lambda: changed(ml.Linear, 3, 2, adjoint_input=lambda self, theta, g: -g @ theta[:-1].T),
        "sign",
    ),
    Plant(
        "a zero adjoint in a",
        lambda: changed(ml.Linear, 3, 2, adjoint_input=lambda self, theta, g: np.zeros((len(g), 3))),
        "it is zero",
    ),
    Plant(
        "forward without the bias",
        lambda: changed(ml.Linear, 3, 2, forward=bias_forgotten),
        "the bias is missing",
    ),
    Plant(
        "forward with the bias doubled",
        lambda: changed(ml.Linear, 3, 2, forward=lambda self, theta, a: a @ theta[:-1] + 2 * theta[-1]),
        "the bias is added twice",
    ),
    Plant(
        "sample Gram matrix without 11ᵀ",
        lambda: changed(ml.Linear, 3, 2, gram=gram_with("sample", lambda gram: gram.a @ gram.a.T)),
        "column of ones is missing",
    ),
    Plant(
        "parameter Gram matrix divided by N",
        lambda: changed(ml.Linear, 3, 2, gram=gram_with("parameter", lambda gram: gram.matrix / len(gram.a))),
        "divided by the number",
    ),
    Plant(
        "Gram matrix of centred activations",
        lambda: changed(
            ml.Linear,
            3,
            2,
            gram=gram_with("sample", lambda gram: (gram.a - gram.a.mean(0)) @ (gram.a - gram.a.mean(0)).T),
        ),
        "the input is centred",
    ),
    Plant(
        "a forward that writes into θ",
        lambda: changed(
            ml.Linear,
            3,
            2,
            forward=lambda self, theta, a: a @ theta[:-1] + np.add(theta[-1], 0, out=theta[-1]),
        ),
        "writes into",
    ),
    Plant(
        "a convolution with flipped kernels",
        lambda: changed(
            ml.Conv2d,
            2,
            2,
            3,
            forward=lambda self, theta, a: ml.Conv2d.forward(
                self, np.vstack([theta[:-1].reshape(3, 3, -1)[::-1, ::-1].reshape(-1, 2), theta[-1:]]), a
            ),
        ),
        "flipped",
    ),
    Plant("columns in another order than rows", lambda: changed(
        ml.Conv2d, 2, 3, 3, columns=lambda self, z: z.swapaxes(0, 1).reshape(-1, 3)), "another order"),
    Plant("a Gram operator that is kept by the shape of the batch", lambda: GramOfShape(3, 2), "that of an earlier a"),
    Plant("θ of a seed of its own", lambda: changed(
        ml.Linear, 3, 2, initial_theta=lambda self, rng: ml.Linear.initial_theta(self, np.random.default_rng(0))),
        "the same for every generator"),
]


class GramOfShape(ml.Linear):
    """A map that keeps its Gram operators by the shape of the batch."""

    def gram(self, a, side=None, bias=True):
        self.kept = getattr(self, "kept", {})
        return self.kept.setdefault((a.shape, side, bias), super().gram(a, side, bias))


@pytest.mark.parametrize("plant", MAPS, ids=lambda plant: plant.what)
def test_planted_mistake_is_found_and_named(plant):
    is_found_and_named(plant)


@pytest.mark.parametrize("plant", MAPS[:1], ids=lambda plant: plant.what)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_diagnosis_does_not_depend_on_the_seed(plant, seed):
    is_named_with(seed, plant)


# ---- properties beyond the derivatives: one broken thing for each


class Keys(ml.Linear):
    """It keeps the first rows of each number of samples."""

    def rows(self, a):
        kept = vars(self).setdefault("kept", {})
        return kept.setdefault((a.shape, a.dtype), np.array(a))


BROKEN = {
    "rows": (Keys(4, 3), "earlier a"),
    "bias of the Gram matrix": (changed(ml.Linear, 4, 3, gram=lambda self, a, side=None, bias=True: ml.Linear.gram(
        self, a, side=side)), "column of ones"),
    "coupled": (changed(ml.Linear, 4, 3, forward=lambda self, theta, a: (a - a.mean(axis=0)) @ theta[:-1] + theta[-1]),
                "coupled"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_property_is_found_and_named(name):
    thing, words = BROKEN[name]
    with pytest.raises(AssertionError, match=words):
        ml.verify(thing).raise_for_failures()


# ---- what a reason says, and what it must not


class RowsTwice(ml.Linear):
    def rows(self, a):
        return 2 * a


class BiasTwice(ml.Linear):
    def forward(self, theta, a):
        return a @ theta[:-1] + 2 * theta[-1]


class TanhInside(ml.Linear):
    def forward(self, theta, a):
        return super().forward(theta, np.tanh(a))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (RowsTwice(4, 3), "rows(a) are off by a constant factor", "twice"),
    (BiasTwice(4, 3), "the bias is added twice", "order"),
    (TanhInside(4, 3), "the map is not affine in a", "constant factor")], ids=lambda value: repr(value)[:30])
def test_a_wrong_map_is_told_by_its_cause(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


class Inverse(Fixed):
    def back(self, signal):
        return signal @ np.linalg.inv(self.matrix()).astype(signal.dtype)


class OnceMore(Fixed):
    def back(self, signal):
        return signal @ self.matrix().astype(signal.dtype)


class LeftOut(Fixed):
    def back(self, signal):
        return signal + 0


class OtherRows(Fixed):
    def rows(self, a):
        return a


@pytest.mark.parametrize(("thing", "says", "does_not_say"), [
    (Inverse(), "the inverse of what is done to a before W", "none of"),
    (LeftOut(), "what is done to a before W is left out", "none of"),
    (OnceMore(), "what is done to a before W is done to g Wᵀ too, where its transpose should", "none of"),
    (OtherRows(), "rows(a) is not what W is multiplied by", "cached")],
    ids=lambda thing: getattr(type(thing), "__name__", None) if not isinstance(thing, str) else "")
def test_a_reason_says_what_is_planted(thing, says, does_not_say):
    tells(says, does_not_say, thing)


# ---- in single precision, of large batches, on images of odd and even numbers of rows


class Half(ml.Linear):
    def forward(self, theta, a):
        if a.dtype != np.float32:
            return super().forward(theta, a)
        return (a.astype(np.float16) @ theta[:-1].astype(np.float16) + theta[-1].astype(np.float16)).astype(a.dtype)


class MapTail(ml.Linear):
    def adjoint_theta(self, a, g):
        return super().adjoint_theta(a[: len(a) // 200 * 200 or len(a)], g[: len(g) // 200 * 200 or len(g)])


@pytest.mark.parametrize(("thing", "words"), [
    (Half(4, 3), "forward: of float32 arrays it has other values"),
    (MapTail(4, 3), "the last samples are left out")],
    ids=lambda given: type(given).__name__)
def test_what_is_wrong_in_one_dtype_in_large_batches_or_beside_a_kink_is_found(thing, words):
    assert words in reasons(ml.verify(thing))


class OddRows(ml.Conv2d):
    def adjoint_input(self, theta, g):
        da = super().adjoint_input(theta, g)
        return da[:, ::-1] if da.shape[1] % 2 else da


def test_images_have_odd_numbers_of_rows_too():
    assert "adjoint in a" in [check.claim for check in ml.verify(OddRows(2, 3, 3)).failures]
    assert "of another size alone" in reasons(ml.verify(OddRows(2, 3, 3)))


class Periodic(ml.Map):
    """Filters on one period of a signal, of any length; the adjoint is right for as many entries as taps alone."""

    n_in, taps, n_out, wrong = 4, 4, 2, True
    theta_shape = (5, 2)

    def output_shape(self, shape):
        return (*shape, self.n_out)

    def rows(self, a):
        return np.stack([np.roll(a, -i, axis=1) for i in range(self.taps)], axis=-1).reshape(-1, self.taps)

    def columns(self, z):
        return z.reshape(-1, self.n_out)

    def forward(self, theta, a):
        return (self.rows(a) @ theta[:-1] + theta[-1]).reshape(*a.shape, self.n_out)

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ self.columns(g), self.columns(g).sum(axis=0)])

    def adjoint_input(self, theta, g):
        p = g @ theta[:-1].T
        return sum(np.roll(p[:, :, i], i - self.taps * self.wrong, axis=1) for i in range(self.taps))


class RightPeriodic(Periodic):
    wrong = False


class FirstEntries(ml.Map):
    """It takes some entries of a vector, and would of a longer one, of which it does not speak."""

    n_in, theta_shape, kept = 5, (3, 2), (1, 3)

    def output_shape(self, shape):
        return (2,)

    def rows(self, a):
        return a[:, self.kept]

    def forward(self, theta, a):
        return self.rows(a) @ theta[:-1] + theta[-1]

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ g, g.sum(axis=0)])

    def adjoint_input(self, theta, g):
        back = np.zeros((len(g), self.n_in), g.dtype)
        back[:, self.kept] = g @ theta[:-1].T
        return back


def test_vectors_may_be_longer_where_the_output_is_longer_too():
    assert [check.claim for check in ml.verify(Periodic()).failures] == ["adjoint in a"]
    assert "of another size alone" in reasons(ml.verify(Periodic()))
    for right in (RightPeriodic(), FirstEntries()):
        ml.verify(right).raise_for_failures()


class PaddedAdd(ml.Join):
    """A shortcut whose narrower value is padded with channels that are 0."""

    def __init__(self, source="x", first=True):
        self.source, self.sources, self.first = source, (source,), first

    def output_shape(self, wide, narrow):
        if wide[:-1] != narrow[:-1] or narrow[-1] > wide[-1]:
            raise ValueError(f"PaddedAdd: {narrow} does not fit into {wide}")
        return wide

    def forward(self, theta, wide, narrow):
        c = wide.copy()
        c[..., :narrow.shape[-1]] += narrow
        return c

    def adjoint_inputs(self, theta, g, values):
        width = values[1].shape[-1]
        return [g, g[..., :width] if self.first else g[..., g.shape[-1] - width:]]


def test_a_join_is_tried_on_values_of_different_widths():
    assert ml.verify(PaddedAdd()).passed
    assert not ml.verify(PaddedAdd(first=False)).passed


class RunningSum(ml.Linear):
    """A sum along the wrong axis, over the samples before: the first one depends on no other."""

    def rows(self, a):
        return np.cumsum(a, axis=0)

    def forward(self, theta, a):
        return self.rows(a) @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return np.cumsum((g @ theta[:-1].T)[::-1], axis=0)[::-1]

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ g, g.sum(axis=0, keepdims=True)])


class Within(ml.Linear):
    """The mean is that of the batch; of one sample nothing is left."""

    def rows(self, a):
        return a - a.mean(axis=0)

    def forward(self, theta, a):
        return super().forward(theta, self.rows(a))

    def adjoint_input(self, theta, g):
        return self.rows(super().adjoint_input(theta, g))

    def adjoint_theta(self, a, g):
        return super().adjoint_theta(self.rows(a), g)


class Increments(ml.Linear):
    """The adjoint of differences has the other sign, and the 0 at the other end."""

    def rows(self, a):
        return np.diff(a, axis=1, prepend=0 * a[:, :1])

    def forward(self, theta, a):
        return super().forward(theta, self.rows(a))

    def adjoint_input(self, theta, g):
        h = super().adjoint_input(theta, g)
        return -np.diff(h, axis=1, prepend=0 * h[:, :1])

    def adjoint_theta(self, a, g):
        return super().adjoint_theta(self.rows(a), g)


class Tilded(ml.Linear):
    """What is kept of a batch stands for every other of its size."""

    kept = None

    def tilde(self, a):
        if self.kept is None or len(self.kept) != len(a):
            self.kept = np.c_[a, np.ones(len(a), a.dtype)]
        return self.kept

    def forward(self, theta, a):
        return self.tilde(a) @ theta

    def adjoint_theta(self, a, g):
        return np.c_[a, np.ones(len(a), a.dtype)].T @ g


@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (Within(6, 2), "samples are coupled", "cached"),
    (Increments(6, 3), "minus what is done to a before W is done to g Wᵀ", "the sign is wrong"),
    (Tilded(4, 3), "cached, or remembered", "coupled")], ids=lambda x: type(x).__name__)
def test_one_cause_is_told_and_not_what_follows_from_it(thing, said, unsaid):
    tells(said, unsaid, thing)


def test_samples_that_are_coupled_with_those_before_alone_are_found():
    assert any("samples are coupled" in check.reason for check in ml.verify(RunningSum(3, 2)).failures)


class RowsWithOnes(ml.Linear):
    def rows(self, a):
        return np.hstack([a, np.ones_like(a[:, :1])])


def test_rows_of_another_width_fail_by_name():
    reasons_given = [check.reason for check in ml.verify(RowsWithOnes(3, 2)).failures]
    assert any("rows(a) have 4 columns, W has 3 rows" in reason for reason in reasons_given), reasons_given


class Forgets(ml.Add):
    def adjoint_inputs(self, theta, g, values):
        return [g, g]


class Misstated(ml.Add):
    def output_shape(self, *shapes):
        return (99,)


class InDouble(ml.Add):
    def forward(self, theta, *values):
        return super().forward(theta, *values) * np.float64(1)


@pytest.mark.parametrize(("join", "says"), [(Forgets(["x", "y"]), "returns 2 signals; the join reads 3 values"),
                                            (Misstated("x"), "output_shape says another shape"),
                                            (InDouble("x"), "float64 for float32")], ids=["signals", "shape", "dtype"])
def test_what_a_join_may_get_wrong_is_found(join, says):
    assert any(says in check.reason for check in ml.verify(join).failures), ml.verify(join)


def test_large_images_ask_for_no_matrix_of_all_samples():
    """A convolution of 32 × 32 images has 17 408 rows for 17 samples: their Gram matrix takes 2.4 GB."""
    net = ml.convnet()
    _, cases = map_cases(net.phi[1], np.random.default_rng(0), np, shape=net.shapes[0])
    with pytest.raises(NotClaimed, match="rows would take much memory"):
        sample_gram_matrix(net.phi[1], cases[-1])


class Patches(ml.Map):
    """One linear map on patches of 2 by 2 pixels; of several patches, the adjoint mixes up the pixels."""

    takes_images, c_in, n_in, theta_shape = True, 2, 8, (9, 3)

    def output_shape(self, input_shape):
        if len(input_shape) != 3 or input_shape[2] != 2 or min(input_shape[:2]) < 2:
            raise ValueError(f"Patches: expects images with 2 channels, got {input_shape}")
        return input_shape[0] // 2, input_shape[1] // 2, 3

    def initial_theta(self, rng):
        return rng.standard_normal((9, 3))

    def rows(self, a):
        h, w, _ = self.output_shape(a.shape[1:])
        tiles = a[:, : 2 * h, : 2 * w].reshape(len(a), h, 2, w, 2, 2)
        return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(-1, 8)

    def columns(self, z):
        return z.reshape(-1, 3)

    def forward(self, theta, a):
        return (self.rows(a) @ theta[:-1] + theta[-1]).reshape(len(a), *self.output_shape(a.shape[1:]))

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ self.columns(g), self.columns(g).sum(axis=0)])

    def for_images(self, input_shape):
        known = Patches()
        known.size = input_shape[:2]
        return known

    def adjoint_input(self, theta, g):
        n, h, w, _ = g.shape
        image = np.zeros((n, *self.size, 2), g.dtype)
        image[:, : 2 * h, : 2 * w] = (self.columns(g) @ theta[:-1].T).reshape(n, 2 * h, 2 * w, 2)
        return image


def test_a_map_of_patches_is_tried_on_several_in_both_directions():
    found = [(check.claim, check.reason) for check in ml.verify(Patches()).failures]
    assert [claim for claim, _ in found] == ["adjoint in a"]
    assert "in another order" in found[0][1]


class Windowed(ml.Linear):
    """Its windowed inputs are kept, and returned for others of the same shape."""

    framed = None

    def rows(self, a):
        if self.framed is None or self.framed.shape != a.shape:
            self.framed = a * np.linspace(0.5, 1, a.shape[1], dtype=a.dtype)
        return self.framed

    def forward(self, theta, a):
        return super().forward(theta, self.rows(a))

    def adjoint_theta(self, a, g):
        return super().adjoint_theta(self.rows(a), g)

    def adjoint_input(self, theta, g):
        return super().adjoint_input(theta, g) * np.linspace(0.5, 1, len(theta) - 1, dtype=g.dtype)


def test_what_is_kept_from_an_earlier_input_is_named_and_nothing_else_blamed():
    report = ml.verify(Windowed(5, 3))
    found = " ".join(check.reason for check in report.failures)
    assert "rows(a) are the same for another a" in found
    assert "coupled" not in found
    assert [mend.new for mend in report.mends] == ["if True:"]  # not one that needs what has been kept already


class Segments(ml.Map):
    """One small map on each of 3 segments; z has the segments before the units."""

    n_in, theta_shape = 2, (3, 4)

    def initial_theta(self, rng):
        return rng.standard_normal(self.theta_shape)

    def output_shape(self, input_shape):
        if tuple(input_shape) != (6,):
            raise ValueError("Segments: expects (6,)")
        return (12,)

    def rows(self, a):
        return a.reshape(-1, 2)

    def columns(self, z):
        return z.reshape(-1, 4)

    def forward(self, theta, a):
        return (self.rows(a) @ theta[:-1] + theta[-1]).reshape(len(a), -1)

    def adjoint_input(self, theta, g):
        return (self.columns(g) @ theta[:-1].T).reshape(len(g), -1)

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ self.columns(g), self.columns(g).sum(axis=0)])


class UnitsFirst(Segments):
    def adjoint_theta(self, a, g):
        return super().adjoint_theta(a, g.reshape(-1, 4, 3).swapaxes(1, 2).reshape(g.shape))


class UnitsFirstToo(Segments):
    def adjoint_input(self, theta, g):
        return super().adjoint_input(theta, g.reshape(-1, 3, 4).swapaxes(1, 2).reshape(g.shape))


class ScaledBias(Segments):
    """The bias grows from segment to segment."""

    def forward(self, theta, a):
        z = (self.rows(a) @ theta[:-1]).reshape(len(a), 3, 4)
        return (z + theta[-1] * np.arange(1, 4, dtype=a.dtype)[:, None]).reshape(len(a), -1)


def test_segments_hold():
    ml.verify(Segments()).raise_for_failures()


@pytest.mark.parametrize(("thing", "said"), [
    (UnitsFirst(), "g is read in another order"), (UnitsFirstToo(), "g is read in another order"),
    (ScaledBias(), "done to the bias")], ids=["θ", "a", "bias"])
def test_layouts_and_biases_are_named(thing, said):
    tells(said, "it is linear", thing)
