"""`verify` on transfers: right ones hold, however unusual; mistakes in σ, its slope, adjoint, integral, inverse, range
and pieces, in what it draws, keeps and trains, are found, and the reason says what is wrong.
"""

import numpy as np
import pytest
from told import Plant, changed, is_found_and_named, is_named_with, reasons, tells
from transfers import PReLU, ScaleShift

import minilift as ml

# ---- right transfers, and mistakes in their like


class Maxout(ml.Transfer):
    """The larger of two neighbours: an even number of units alone."""

    def output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // 2)

    def apply(self, z, training=False, rng=None):
        pairs = z.reshape(*z.shape[:-1], -1, 2)
        return pairs.max(axis=-1), pairs.argmax(axis=-1)

    def adjoint(self, z, a, aux, g):
        out = np.zeros((*g.shape, 2), g.dtype)
        np.put_along_axis(out, aux[..., None], g[..., None], -1)
        return out.reshape(z.shape)


class GLU(ml.Transfer):
    """The first half of the units times the sigmoid of the second; it asserts that there are two."""

    def output_shape(self, input_shape):
        assert input_shape[-1] % 2 == 0
        return (*input_shape[:-1], input_shape[-1] // 2)

    def apply(self, z, training=False, rng=None):
        v, w = np.split(z, 2, axis=-1)
        return v / (1 + np.exp(-w)), None

    def adjoint(self, z, a, aux, g):
        v, w = np.split(z, 2, axis=-1)
        gate = 1 / (1 + np.exp(-w))
        return np.concatenate([g * gate, g * v * gate * (1 - gate)], axis=-1)


class Drop(ml.Transfer):
    def mask(self, z, rng):
        return ((rng.random(z.shape) >= 0.4) / 0.6).astype(z.dtype)

    def apply(self, z, training=False, rng=None):
        if not training:
            return z, None
        mask = self.mask(z, rng)
        return z * mask, mask

    def adjoint(self, z, a, aux, g):
        return g if aux is None else g * aux


@pytest.mark.parametrize("thing", [Maxout(), GLU(), Drop()], ids=repr)
def test_transfers_of_even_widths_and_with_random_numbers_can_be_judged(thing):
    assert ml.verify(thing).passed


class Steep(ml.Activation):
    def forward(self, z):
        return np.tanh(30 * z)

    def derivative(self, z):
        return 30 * (1 - np.tanh(30 * z) ** 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_steep_tanh_that_is_saturated_holds_in_float32(seed):
    assert ml.verify(Steep(), seed=seed).passed


class Ball(ml.Transfer):
    """Projection of each row on a ball: its adjoint is written for vectors."""

    share = 1.0

    def apply(self, z, training=False, rng=None):
        size = np.maximum(np.sqrt((z * z).sum(axis=-1, keepdims=True)), 1)
        return z / size, size

    def adjoint(self, z, a, aux, g):
        rows = [row_g if size == 1 else (row_g - self.share * row * (row @ row_g)) / size
                for row, row_g, size in zip(a, g, aux[:, 0])]
        return np.array(rows, dtype=g.dtype)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("thing", [Ball()], ids=repr)
def test_right_parts_of_ones_own_are_not_refused(thing, seed):
    report = ml.verify(thing, seed=seed)
    assert report.passed, report


class HalfBall(Ball):
    share = 0.5


@pytest.mark.parametrize(("thing", "says"), [
    (HalfBall(), "that of the deviation, or the norm")], ids=repr)
def test_mistakes_in_their_like_are_found(thing, says):
    assert says in reasons(ml.verify(thing))


# ---- planted mistakes


TRANSFERS = [Plant("tanh' in terms of a, given z", lambda: changed(ml.Tanh, derivative=lambda self,
                                                                   z: 1 - z**2), "in terms of a"),
             Plant("sigmoid' in terms of a, given z", lambda: changed(ml.Sigmoid, derivative=lambda self,
                                                                      z: z * (1 - z)), "in terms of a"),
             Plant("sigmoid' without 1 − a", lambda: changed(ml.Sigmoid, derivative=ml.Sigmoid.forward),
                   None), Plant("σ' forgotten in the adjoint",
                                          lambda: changed(ml.Tanh, adjoint=lambda self, z, a, aux, g: g),
                                          "σ' is forgotten"),
             Plant("adjoint of ReLU masked by g", lambda: changed(ml.ReLU, adjoint=lambda self, z, a, aux,
                                                                  g: g * (g > 0)), "masked by the sign of g"),
             Plant("σ' applied twice", lambda: changed(ml.Tanh, adjoint=lambda self, z, a, aux,
                                                       g: g * (1 - a * a) ** 2), None),
             Plant("F of ReLU without ½", lambda: changed(ml.ReLU, integral=lambda self,
                                                          z: np.maximum(z, 0) ** 2), "factor 2"),
             Plant("F of the wrong sign", lambda: changed(ml.Tanh, integral=lambda self,
                                                          z: -np.log(np.cosh(z))), "sign"),
             Plant("F = zσ(z)", lambda: changed(ml.Tanh, integral=lambda self, z: z * np.tanh(z)),
                   None), Plant("range stated too narrow",
                                                  lambda: changed(ml.Tanh, range=(0.0, 1.0)), "too narrow"),
             Plant("range stated too wide", lambda: changed(ml.ReLU, range=(-np.inf, np.inf)), "too wide"),
             Plant("an overflowing softplus", lambda: changed(ml.Softplus, forward=lambda self,
                                                              z: np.log(1 + np.exp(z))), "overflow"),
             Plant("softmax's adjoint without −aaᵀg", lambda: changed(ml.activations.Softmax,
                                                                      adjoint=lambda self, z, a, aux,
                                                                      g: a * g), "a term is missing"),
             Plant("mean pooling that forgets to divide",
                   lambda: changed(ml.AvgPool2d, 2, adjoint=lambda self, z, a, aux,
                                   g: 4 * ml.AvgPool2d.adjoint(self, z, a, aux, g)), "factor 4"),
             Plant("an activation that is not monotone but has F",
                   lambda: changed(ml.Identity, forward=lambda self, z: np.sin(2 * z), derivative=lambda self,
                                   z: 2 * np.cos(2 * z), integral=lambda self, z: -np.cos(2 * z) / 2,
                                   adjoint=ml.Activation.adjoint), None),
             Plant("batch norm that forgets that the mean depends on z",
                   lambda: changed(ml.BatchNorm, 3, adjoint=lambda self, z, a, aux,
                                   g: g * aux.scale * aux.inverse_deviation), None),
             Plant("softplus that overflows in float32 alone", lambda: changed(ml.Activation, derivative=lambda self, z:
                   ml.Sigmoid().forward(z), forward=lambda self, z: np.where(
                       z > 700, z, np.log1p(np.exp(np.minimum(z, 700))))), "overflows in float32"),
             Plant("dropout whose adjoint has the mask of the last pass", lambda: LastMask(0.3), "depends on calls"),
             Plant("batch norm whose momentum is the weight of the past", lambda: changed(
                 ml.BatchNorm, 3, commit=lambda self, aux: setattr(
                     self, "running", aux.batch + self.momentum * (self.running - aux.batch))), "the wrong way round")]


class LastMask(ml.Dropout):
    """Dropout that keeps its mask on itself."""

    def apply(self, z, training=False, rng=None):
        a, self.mask = super().apply(z, training, rng)
        return a, self.mask

    def adjoint(self, z, a, aux, g):
        return super().adjoint(z, a, self.mask, g)


@pytest.mark.parametrize("plant", TRANSFERS, ids=lambda plant: plant.what)
def test_planted_mistake_is_found_and_named(plant):
    is_found_and_named(plant)


@pytest.mark.parametrize("plant", TRANSFERS[:1], ids=lambda plant: plant.what)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_diagnosis_does_not_depend_on_the_seed(plant, seed):
    is_named_with(seed, plant)


# ---- properties beyond the derivatives: one broken thing for each


class Masked(ml.LeakyReLU):
    """Its adjoint takes the mask of the last forward pass."""

    def forward(self, z):
        self.mask = z > 0
        return super().forward(z)

    def adjoint(self, z, a, aux, g):
        same = self.mask.shape == g.shape
        return g * np.where(self.mask if same else z > 0, 1, self.slope).astype(g.dtype)


def tied(self, z, a, aux, g):
    """Every entry that is the largest gets the whole signal."""
    up, largest = (np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)[:, : z.shape[1], : z.shape[2]] for x in (g, a))
    inside = np.zeros_like(z)
    h, w = up.shape[1:3]
    inside[:, :h, :w] = up * (z[:, :h, :w] == largest)
    return inside


BROKEN = {
    "remember": (Masked(0.2), "remembered"),
    "conjugate": (changed(ml.Tanh, conjugate=lambda self, a: 2 * ml.Tanh.conjugate(self, a)), "factor 2"),
    "inverse": (changed(ml.Tanh, inverse=lambda self, a: a), r"σ\(z\) = a"),
    "pieces": (changed(ml.ReLU, pieces=ml.HardTanh.pieces), "pieces"),
    "range": (changed(ml.Activation, forward=lambda self, z: z, derivative=lambda self, z: np.ones_like(z),
                      range=(0.0, np.inf)), "too narrow"),
    "ties": (changed(ml.MaxPool2d, 2, adjoint=tied), "ties"),
    "evaluation": (changed(ml.Dropout, 0.5, apply=lambda self, z, training=False, rng=None: ml.Dropout.apply(
        self, z, True, rng)), "in evaluation"),
    "own parameters": (changed(ml.BatchNorm, 3, gradients=lambda self, aux, g: [
        ml.BatchNorm.gradients(self, aux, g)[0][::-1].copy()]), "swapped"),
    "linear": (changed(ml.Tanh, adjoint=lambda self, z, a, aux, g: np.clip(g, -50, 50) * (1 - a * a)), "not linear"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_property_is_found_and_named(name):
    thing, words = BROKEN[name]
    with pytest.raises(AssertionError, match=words):
        ml.verify(thing).raise_for_failures()


# ---- jumps, kinks, ties and ends


class Softplus(ml.Activation):
    """Linear beyond a threshold of βz, where e⁻ᵝᶻ is left out."""

    def __init__(self, threshold=20, beta=1.0):
        self.threshold, self.beta = threshold, beta

    def forward(self, z):
        beta = z.dtype.type(self.beta)
        return np.where(beta * z > self.threshold, z, np.log1p(np.exp(beta * z)) / beta)

    def derivative(self, z):
        return 1 / (1 + np.exp(-z.dtype.type(self.beta) * z))


@pytest.mark.parametrize("seed", [0, 2, 3])
@pytest.mark.parametrize("beta", [1.0, 2.0, 10.0])
def test_a_softplus_that_is_linear_from_20_on_holds(beta, seed):
    assert ml.verify(Softplus(beta=beta), seed=seed).passed


@pytest.mark.parametrize("thing", [Softplus(5), Softplus(10), Softplus(15)])
def test_one_that_is_linear_too_early_does_not(thing):
    assert not ml.verify(thing).passed


class Joined(Softplus):
    """Its slope is right on either side of the threshold."""

    def derivative(self, z):
        return np.where(z > self.threshold, z.dtype.type(1), super().derivative(z))


def test_a_jump_between_right_slopes_is_found():
    assert "σ jumps" in reasons(ml.verify(Joined(5)))


class HardTanh(ml.Activation):
    range, half = (-1.0, 1.0), 0.5

    def forward(self, z):
        return np.clip(z, -1, 1)

    def derivative(self, z):
        return (abs(z) < 1).astype(z.dtype)

    def integral(self, z):
        return np.where(abs(z) < 1, z**2 / 2, abs(z) - self.half)


def test_pieces_of_an_integral_that_join_are_no_jump():
    ml.verify(HardTanh()).raise_for_failures()


class Gauss(ml.Activation):
    """A bump, of which both ends of a long line are 0."""

    def forward(self, z):
        return np.exp(-z * z)

    def derivative(self, z):
        return -2 * z * np.exp(-z * z)


class Wavelet(Gauss):
    def forward(self, z):
        return z * np.exp(-z * z)

    def derivative(self, z):
        return (1 - 2 * z * z) * np.exp(-z * z)


class Hardshrink(ml.Activation):
    """It jumps on purpose, at ±½, and says so."""

    continuous = False

    def forward(self, z):
        return z * (abs(z) > 0.5)

    def derivative(self, z):
        return (abs(z) > 0.5).astype(z.dtype)


class SaysNothing(Hardshrink):
    continuous = True


class JumpyBump(Gauss):
    def forward(self, z):
        return super().forward(z) + z.dtype.type(1e-3) * (z > 0.123)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sigma", [Gauss(), Wavelet(), Hardshrink()])
def test_a_bump_is_no_jump_and_a_jump_may_be_stated(sigma, seed):
    assert ml.verify(sigma, seed=seed).passed


@pytest.mark.parametrize("sigma", [SaysNothing(), JumpyBump()])
def test_a_jump_that_is_not_stated_is_found_and_the_remedy_named(sigma):
    assert "continuous = False" in reasons(ml.verify(sigma))


class Tail(ml.Activation):
    def forward(self, z):
        a = np.tanh(z)
        a[256:] = 0
        return a

    def derivative(self, z):
        return 1 - np.tanh(z) ** 2


class Bent(ml.Activation):
    """A piece of slope 3 that begins at 2.5; its derivative, at `start`."""

    def __init__(self, start):
        self.start = start

    def forward(self, z):
        return np.where(z > 2.5, 2.5 + 3 * (z - 2.5), z)

    def derivative(self, z):
        return np.where(z > self.start, 3, 1).astype(z.dtype)


@pytest.mark.parametrize(("thing", "words"), [
    (Tail(), "of a batch of many rows it is another"), (Bent(2.501), "z = 2.500"), (Bent(2.5), "")],
    ids=lambda given: type(given).__name__)
def test_what_is_wrong_in_one_dtype_in_large_batches_or_beside_a_kink_is_found(thing, words):
    found = reasons(ml.verify(thing))
    assert words in found
    assert bool(words) == bool(found)


# ---- random numbers and parameters of its own


class OneMask(ml.Dropout):
    def apply(self, z, training=False, rng=None):
        return super().apply(z, training, np.random.default_rng(0) if training else None)


@pytest.mark.parametrize(("thing", "said"), [
    (OneMask(0.5), "the same for every generator")])
def test_parts_that_are_wrong_at_ties_or_far_out_or_never_draw(thing, said):
    report = ml.verify(thing)
    assert not report.passed
    assert said in reasons(report)


class MeanScaleShift(ScaleShift):
    def gradients(self, aux, g):
        return [super().gradients(aux, g)[0] / len(g)]


def with_transfer(sigma):
    return ml.Network([ml.Linear(4, 6), sigma, ml.Tanh(), ml.Linear(6, 3)], seed=3, dtype=np.float64)


def test_a_transfer_with_parameters_needs_no_running_statistics():
    net = with_transfer(ScaleShift(6))
    assert ml.verify(net).passed
    state = net.state_dict()
    assert state["running_1"].shape == (2, 0)
    net.load_state_dict(state)
    assert "1/(N" in reasons(ml.verify(with_transfer(MeanScaleShift(6))))
    with pytest.raises(ValueError, match="running_1"):
        net.load_state_dict({**state, "running_1": np.zeros((2, 6))})


# ---- what a reason says, and what it must not


class MaxoutBoth(Maxout):
    def adjoint(self, z, a, aux, g):
        return np.repeat(g, 2, axis=-1)


class GLUExchanged(GLU):
    def adjoint(self, z, a, aux, g):
        return np.concatenate(np.split(super().adjoint(z, a, aux, g), 2, axis=-1)[::-1], axis=-1)


class DropOfAll(Drop):
    def mask(self, z, rng):
        return super().mask(z, np.random)


class DropKept(Drop):
    def mask(self, z, rng):
        self.kept = getattr(self, "kept", {})
        return self.kept.setdefault(z.shape, super().mask(z, rng))


class DropAgain(Drop):
    def adjoint(self, z, a, aux, g):
        return g if aux is None else g * super().mask(z, np.random)


class SoftmaxOfUnits(ml.Activation):
    def forward(self, z):
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def derivative(self, z):
        a = self.forward(z)
        return a * (1 - a)


class Buffered(ml.Tanh):
    def forward(self, z):
        self.buffer = getattr(self, "buffer", {})
        return np.tanh(z, out=self.buffer.setdefault((z.shape, z.dtype), np.empty_like(z)))


class Overflows(ml.Activation):
    range = (0.0, np.inf)

    def forward(self, z):
        return np.log(1 + np.exp(20 * z)) / 20

    def derivative(self, z):
        return 1 / (1 + np.exp(-20 * z))


class NoTop(ml.Activation):
    range = (0.0, 6.0)

    def forward(self, z):
        return np.clip(z, 0, 6)

    def derivative(self, z):
        return (z > 0).astype(z.dtype)


class CommitsEarly(ml.BatchNorm):
    def apply(self, z, training=False, rng=None):
        a, aux = super().apply(z, training, rng)
        super().commit(aux)
        return a, aux


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (MaxoutBoth(), "a mask is missing", "raises"), (GLUExchanged(), "permuted, swapped", "raises"),
    (DropOfAll(), "that are not those of rng", "linear"), (DropKept(), "of its first call are kept", "linear"),
    (DropAgain(), "it is not the same twice", "clipped"), (SoftmaxOfUnits(), "it is not elementwise", "flat"),
    (Buffered(), "a buffer is reused", "flat"), (Overflows(), "overflow", "power"),
    (NoTop(), "wrong where z > 6", "bias"),
    (CommitsEarly(3), "commit takes the batch twice", "permuted")], ids=lambda value: repr(value)[:30])
def test_a_wrong_transfer_is_told_by_its_cause(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


class Kept(ml.Tanh):
    def forward(self, z):
        return vars(self).setdefault(str((z.shape, z.dtype)), np.tanh(z))


class Affine(ml.activations.Softmax):
    def adjoint(self, z, a, aux, g):
        return super().adjoint(z, a, aux, g) + a - 1


class Lifting(ml.activations.Transfer):
    """Each second entry takes the first one, and gives half of it back: a wavelet's step."""

    def __init__(self, mistake):
        self.mistake = mistake

    def apply(self, z, training=False, rng=None):
        high = z[..., 1::2] - z[..., ::2]
        return np.concatenate([z[..., ::2] + high / 2, high], axis=-1), None

    def output_shape(self, input_shape):
        if input_shape[-1] % 2:
            raise ValueError("Lifting: the number of entries must be even")
        return input_shape

    def adjoint(self, z, a, aux, g):
        out, (low, high) = np.empty_like(g), np.split(g, 2, axis=-1)
        if self.mistake == "inverse":
            out[..., ::2] = low - high / 2
            out[..., 1::2] = high + out[..., ::2]
        elif self.mistake == "derivative":
            return self.apply(g)[0]
        else:
            out[..., ::2] = low / 2 - high
            out[..., 1::2] = low / 2 + high
        return out


@pytest.mark.parametrize(("mistake", "said", "unsaid"), [
    ("inverse", "it is the inverse of the derivative", "along g"),
    ("derivative", "it is the derivative along g", "inverse")])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_inverse_or_a_derivative_is_no_adjoint(mistake, said, unsaid, seed):
    assert ml.verify(Lifting(""), seed=seed).passed
    tells(said, unsaid, Lifting(mistake), seed=seed)


@pytest.mark.parametrize(("thing", "words"), [
    (type("Jumps", (HardTanh,), {"half": 0.0})(), "F jumps: its pieces do not join"),
    (Kept(), "σ(z) is that of an earlier z of this shape"), (Affine(), "not linear in g, but affine")],
    ids=lambda x: type(x).__name__)
def test_what_was_missed_or_misnamed(thing, words):
    assert any(words in check.reason for check in ml.verify(thing).failures)


class PoolFromZero(ml.MaxPool2d):
    def apply(self, z, training=False, rng=None):
        a, aux = super().apply(z, training, rng)
        return np.maximum(a, 0), aux


@pytest.mark.parametrize(("thing", "options", "said", "unsaid"), [
    (PoolFromZero(2), {}, "some entries should be zero", "padding")],
    ids=lambda x: type(x).__name__)
def test_what_fits_by_chance_or_in_part_is_not_said(thing, options, said, unsaid):
    tells(said, unsaid, thing, **options)


class SoftsignExponent(ml.Activation):
    range = (-1.0, 1.0)

    def forward(self, z):
        return z / (1 + abs(z))

    def derivative(self, z):
        return 1 / (1 + abs(z))


class GaussHalf(Gauss):
    def derivative(self, z):
        return super().derivative(z) / 2


class SoftplusBeta(ml.Activation):
    range = (0.0, np.inf)

    def forward(self, z):
        return np.logaddexp(0, 4 * z) / 4

    def derivative(self, z):
        return ml.Sigmoid().forward(z)


class Centred(ml.Activation):
    def forward(self, z):
        return np.tanh(z - z.mean())

    def derivative(self, z):
        return 1 - self.forward(z) ** 2


class Squeezed(ml.Activation):
    def forward(self, z):
        return np.tanh(z.squeeze())

    def derivative(self, z):
        return 1 - np.tanh(z) ** 2


class SigmoidInverse(ml.Sigmoid):
    def inverse(self, a):
        return np.log(a) - np.log1p(a)


class TanhOfZ(ml.Tanh):
    def adjoint(self, z, a, aux, g):
        return g * (1 - z * z)


class LayerNorm(ml.Transfer):
    def apply(self, z, training=False, rng=None):
        s = np.sqrt(z.var(axis=-1, keepdims=True) + z.dtype.type(1e-5))
        return (z - z.mean(axis=-1, keepdims=True)) / s, s

    def adjoint(self, z, a, aux, g):
        return (g - g.mean(axis=-1, keepdims=True)) / aux


@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (SoftsignExponent(), "to the power 0.5: an exponent", "product rule"),
    (GaussHalf(), "off by a factor ½", "leaves out c"),
    (GaussHalf(), "it is that of the derivative, which is not σ's", "leaves out c"),
    (SoftplusBeta(), "the derivative at 0.25 z", "product rule"),
    (Centred(), "samples are coupled", "with apply and adjoint"),
    (Squeezed(), "its shape is", "an entry depends on others"),
    (SigmoidInverse(), "inverse(a) is no z with σ(z) = a", "slope"),
    (TanhOfZ(), "z and a = σ(z) are exchanged", "factor"),
    (LayerNorm(), "that of the deviation, or the norm", "held constant")])
def test_a_layer_is_told_what_is_wrong(thing, said, unsaid):
    tells(said, unsaid, thing)


class Sparsemax(ml.Transfer):
    """Projection on the simplex; the mean is taken over all entries, and should be over those that are not 0."""

    def apply(self, z, training=False, rng=None):
        u = -np.sort(-z, axis=-1)
        total = np.cumsum(u, axis=-1)
        size = (1 + np.arange(1, z.shape[-1] + 1, dtype=z.dtype) * u > total).sum(axis=-1, keepdims=True)
        return np.maximum(z - (np.take_along_axis(total, size - 1, axis=-1) - 1) / size.astype(z.dtype), 0), None

    def adjoint(self, z, a, aux, g):
        return (a > 0) * (g - ((a > 0) * g).mean(axis=-1, keepdims=True))


class Mish(ml.Activation):
    """Wrong wherever it is not saturated: no place says why."""

    def forward(self, z):
        return z * np.tanh(np.logaddexp(z, z.dtype.type(0)))

    def derivative(self, z):
        t = np.tanh(np.logaddexp(z, z.dtype.type(0)))
        return t + z * (1 - t**2)


@pytest.mark.parametrize(("thing", "says", "does_not_say"), [
    (Sparsemax(), "in all entries of a sample where σ(z) is not 0", "none of"),
    (Mish(), "it is that of the derivative, which is not σ's", "right elsewhere")],
    ids=lambda thing: getattr(type(thing), "__name__", None) if not isinstance(thing, str) else "")
def test_a_reason_says_what_is_planted(thing, says, does_not_say):
    tells(says, does_not_say, thing)


class Shuffled(ml.Transfer):
    """Channels of two groups in turn; the way back is the way there for four channels alone."""

    def output_shape(self, shape):
        if len(shape) != 1 or shape[0] % 2:
            raise ValueError("an odd number of channels")
        return tuple(shape)

    def apply(self, z, training=False, rng=None):
        return z.reshape(len(z), 2, -1).swapaxes(1, 2).reshape(z.shape), None

    def adjoint(self, z, a, aux, g):
        return self.apply(g)[0]


class ShuffledBack(Shuffled):
    def adjoint(self, z, a, aux, g):
        return g.reshape(len(g), -1, 2).swapaxes(1, 2).reshape(g.shape)


def test_a_permutation_is_tried_on_more_than_four_channels():
    assert not ml.verify(Shuffled()).passed
    assert ml.verify(ShuffledBack()).passed


@pytest.mark.parametrize("rate", [0.002, 0.005, 0.01, 0.99, 0.995])
def test_dropout_of_any_rate_is_accepted(rate):
    report = ml.verify(ml.Dropout(rate))
    assert report.passed, report


def test_a_wide_batch_norm_is_accepted():
    assert ml.verify(ml.BatchNorm(201)).passed


class Exponential(ml.Activation):
    range = (0.0, np.inf)

    def forward(self, z):
        return np.exp(z)

    derivative = integral = forward


class NaiveSoftplus(ml.Activation):
    def forward(self, z):
        return np.log(1 + np.exp(z))

    def derivative(self, z):
        return 1 / (1 + np.exp(-z))


def test_what_grows_exponentially_may_overflow_and_what_need_not_may_not():
    assert ml.verify(Exponential()).passed
    assert any("overflows" in check.reason for check in ml.verify(NaiveSoftplus()).failures)


class Standardised(ml.Transfer):
    """Without ε: 0/0 where all entries of a sample are equal."""

    def apply(self, z, training=False, rng=None):
        return (z - z.mean(axis=-1, keepdims=True)) / z.std(axis=-1, keepdims=True), None

    def adjoint(self, z, a, aux, g):
        return (g - g.mean(axis=-1, keepdims=True) - a * (g * a).mean(axis=-1, keepdims=True)) / z.std(
            axis=-1, keepdims=True)


def test_nan_where_all_entries_are_equal_is_told_as_such():
    reasons = [check.reason for check in ml.verify(Standardised()).failures]
    assert any("0/0" in reason for reason in reasons), reasons
    assert not any("it should be shared" in reason for reason in reasons), reasons


class Compressed(ml.Activation):
    """arcsinh(2z)/2; F is wrong, and F* right."""

    def forward(self, z):
        return np.arcsinh(2 * z) / 2

    def derivative(self, z):
        return 1 / np.hypot(1.0, 2 * z)

    def integral(self, z):
        return (z * np.arcsinh(2 * z) - (np.hypot(1.0, 2 * z) - 1)) / 2

    def conjugate(self, a):
        return (np.cosh(2 * a) - 1) / 4


def test_a_conjugate_is_not_blamed_for_its_integral():
    checks = {check.claim: check for check in ml.verify(Compressed()).checks}
    assert checks["σ is the derivative of its integral F"].passed is False
    assert "F is not the integral" in checks["F* is the conjugate of F"].why


class OtherName(PReLU):
    """Its trained slope is kept under a name of its own, which no network takes."""

    def __init__(self):
        self.slope = np.full((1, 1), 0.1)

    @property
    def parameters(self):
        return [self.slope]

    @property
    def scale_shift(self):
        raise AttributeError("slope is its name")

    def on_backend(self, xp, dtype):
        return self

    def forward(self, z):
        return np.where(z > 0, z, self.slope[0, 0] * z)

    def derivative(self, z):
        return np.where(z > 0, 1, self.slope[0, 0]).astype(z.dtype)


def test_a_trained_parameter_that_no_network_takes_is_no_parameter():
    ml.verify(PReLU()).raise_for_failures()
    tells("scale_shift", "off by", OtherName())
    with pytest.raises(TypeError, match="scale_shift"):
        ml.Network([ml.Linear(2, 3), OtherName(), ml.Linear(3, 2)])


class Gain(ml.Transfer):
    """z over its root mean square, times a gain, which begins at 1."""

    def __init__(self, projects_gained=True):
        self.scale_shift, self.projects_gained = np.ones((1, 4)), projects_gained

    @property
    def parameters(self):
        return [self.scale_shift]

    def on_backend(self, xp, dtype):
        own = Gain(self.projects_gained)
        own.scale_shift = xp.array(self.scale_shift, dtype=dtype)
        return own

    def apply(self, z, training=False, rng=None):
        size = np.sqrt((z * z).mean(axis=-1, keepdims=True))
        return self.scale_shift[0] * z / size, (z / size, size)

    def adjoint(self, z, a, aux, g):
        normal, size = aux
        gained = self.scale_shift[0] * g
        projected = gained if self.projects_gained else g
        return (gained - normal * (projected * normal).mean(axis=-1, keepdims=True)) / size

    def gradients(self, aux, g):
        return [(g * aux[0]).reshape(-1, 4).sum(axis=0, keepdims=True)]


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a network"])
def test_a_mistake_that_the_first_values_of_parameters_hide_is_found(inside):
    """Where all gains are 1 the signal is the same with and without them."""
    def thing(**options):
        gain = Gain(**options)
        return ml.Network([ml.Linear(3, 4), gain, ml.Linear(4, 2)], ml.SquaredError()) if inside else gain

    right, wrong = thing(), thing(projects_gained=False)
    assert ml.verify(right).passed
    assert any("adjoint" in check.claim or "gradients" in check.claim for check in ml.verify(wrong).failures)
    assert np.array_equal((right.layers[1] if inside else right).scale_shift, np.ones((1, 4)))  # they are not moved


class Sloped(ml.Activation):
    def __init__(self, alpha=1.7):
        self.alpha = alpha

    def forward(self, z):
        return np.tanh(self.alpha * z)

    def derivative(self, z):
        return 1 - np.tanh(self.alpha * z) ** 2


def test_of_claims_that_follow_from_one_another_one_has_a_reason():
    """The adjoint is that of the derivative, and a network's gradient that of its layers."""
    report = ml.verify(ml.mlp([3, 4, 2], activation=Sloped()))
    told = [check for check in report.failures if "factor" in check.reason]
    assert {check.claim for check in told} <= {"the derivative", "at and beside kinks the derivative lies between the "
                                               "one-sided ones"}
    assert any(check.claim == "the derivative" for check in told)
    assert {check.reason for check in report.failures if check.kind == "network"} == {"see transfer Sloped() below"}


class FirstMask(ml.Transfer):
    """It keeps the mask of the first batch for ever."""

    def apply(self, z, training=False, rng=None):
        mask = self.__dict__.setdefault("mask", (z > 0).astype(z.dtype))
        return z * (z > 0), mask

    def adjoint(self, z, a, aux, g):
        return g * aux


def test_shapes_that_do_not_fit_are_told_for_what_they_are():
    tells("array kept from another batch", "mean, norm or deviation", FirstMask())
