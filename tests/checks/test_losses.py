"""`verify` on losses: right ones hold, however unusual; mistakes in the value, gradient, prox, weights and targets are
found, and the reason says what is wrong.
"""

import numpy as np
import pytest
from told import Plant, changed, in_turn, is_found_and_named, is_named_with, reasons, soft, softmax, tells

import minilift as ml
from minilift.layers.losses import OfLabels

# ---- right losses, and a mistake in their like


def test_a_loss_that_is_infinite_outside_of_its_domain_is_judged_inside():
    class Barrier(ml.Loss):
        prox = property()

        def value_per_sample(self, z, y):
            with np.errstate(all="ignore"):
                return np.where(z > -1, (z - y) ** 2 / 2 - np.log1p(z), np.inf).sum(axis=-1)

        def gradient(self, z, y):
            return self.weight(len(z)) * (z - y - 1 / (1 + z))
    ml.verify(Barrier()).raise_for_failures()


def log_sum(z):
    top = z.max(axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(z - top).sum(axis=-1))


class ByClass(OfLabels):
    """Cross-entropy in which a class counts by its inverse frequency."""

    sign = 1

    def sizes(self, z, y):
        return (1 / (1 + y)).astype(z.dtype)

    def value_per_sample(self, z, y):
        z = self.sign * z
        return self.sizes(z, y) * (log_sum(z) - z[np.arange(len(z)), y])

    def gradient(self, z, y):
        g = softmax(self.sign * z) - self.targets(z, y)
        return self.sign * self.sizes(z, y)[:, None] * g * self.weight(len(z))


class PriorOdds(OfLabels):
    """Cross-entropy of outputs to which the classes' logarithms are added (Menon et al. 2021)."""

    def odds(self, z):
        return z + np.log(1.0 + np.arange(z.shape[1])).astype(z.dtype)

    def value_per_sample(self, z, y):
        z = self.odds(z)
        return log_sum(z) - z[np.arange(len(z)), y]

    def gradient(self, z, y):
        return (softmax(self.odds(z)) - self.targets(z, y)) * self.weight(len(z))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("thing", [ByClass(), PriorOdds()], ids=repr)
def test_right_parts_of_ones_own_are_not_refused(thing, seed):
    report = ml.verify(thing, seed=seed)
    assert report.passed, report


class Backwards(ByClass):
    sign = -1


@pytest.mark.parametrize(("thing", "says"), [
    (Backwards(), "predict is not the label of the least loss")], ids=repr)
def test_mistakes_in_their_like_are_found(thing, says):
    assert says in reasons(ml.verify(thing))


# ---- planted mistakes


def prox_with(factor):
    """Return a prox whose τ is off by factor(N)."""
    return lambda self, v, y, tau: ml.Loss.prox(self, v, y, tau * factor(len(v)))


LOSSES = [Plant("gradient of a mean without 1/N", lambda: changed(ml.SquaredError, gradient=lambda self, z,
                                                                  y: z - y), "a factor N"),
          Plant("gradient of a sum with 1/N", lambda: changed(ml.SquaredError, "sum", gradient=lambda self, z,
                                                              y: (z - y) / len(z)), "1/(N"),
          Plant("gradient of ‖z − y‖² for half of it", lambda: changed(ml.SquaredError, "sum",
                                                                       gradient=lambda self, z,
                                                                       y: 2 * (z - y)), "a factor 2"),
          Plant("gradient y − f", lambda: changed(ml.SigmoidCrossEntropy, gradient=lambda self, z,
                                                  y: -ml.SigmoidCrossEntropy.gradient(self, z, y)), "sign"),
          Plant("cross-entropy gradient without its sigmoid",
                lambda: changed(ml.SigmoidCrossEntropy, "sum", gradient=lambda self, z, y: z - y),
                None), Plant("softmax without the target",
                                                lambda: changed(ml.SoftmaxCrossEntropy, "sum",
                                                                gradient=lambda self, z,
                                                                y: self.transfer.forward(z)),
                                                None),
          Plant("σ' twice: sigmoid's slope in the cross-entropy",
                lambda: changed(ml.SigmoidCrossEntropy, "sum", gradient=lambda self, z,
                                y: (self.proba(z) - y) * self.transfer.derivative(z)), None),
          Plant("prox without the weight 1/N", lambda: changed(ml.SquaredError, prox=prox_with(lambda n: n)),
                "weight_of_a_sample"), Plant("prox with τ doubled",
                                                       lambda: changed(ml.SoftmaxCrossEntropy,
                                                                       prox=prox_with(lambda n: 2)),
                                                       "2 tau stands"),
          Plant("prox that is an explicit step", lambda: changed(ml.SigmoidCrossEntropy, prox=lambda self, v,
                                                                 y, tau: v - tau * self.gradient(v, y)),
                "explicit"), Plant("a concave loss", lambda: changed(ml.SquaredError, value=lambda self, z,
                                                                     y: -ml.SquaredError.value(self, z, y)),
                                   None),
          Plant("logarithms of clipped probabilities", lambda: changed(
              ml.SigmoidCrossEntropy, value_per_sample=lambda self, z, y: clipped_entropy(self.proba(z), y)),
              "clipped"),
          Plant("proba that returns z", lambda: changed(ml.SoftmaxCrossEntropy, proba=lambda self, z: z),
                "is not f(z)")]


def clipped_entropy(p, y):
    p = np.clip(p, 1e-3, 1 - 1e-3)
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=-1)


@pytest.mark.parametrize("plant", in_turn(LOSSES), ids=lambda plant: plant.what)
def test_planted_mistake_is_found_and_named(plant):
    is_found_and_named(plant)


@pytest.mark.parametrize("plant", LOSSES[:1], ids=lambda plant: plant.what)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_diagnosis_does_not_depend_on_the_seed(plant, seed):
    is_named_with(seed, plant)


# ---- properties beyond the derivatives: a broken one


class FirstTargets(ml.SquaredError):
    """It keeps the first targets of each shape."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    def gradient(self, z, y):
        return super().gradient(z, self.kept.setdefault((y.shape, z.dtype), y))


BROKEN = {
    "targets": (FirstTargets(), "cached"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_property_is_found_and_named(name):
    thing, words = BROKEN[name]
    with pytest.raises(AssertionError, match=words):
        ml.verify(thing).raise_for_failures()


# ---- of large batches, at ties, far out


class Value128(ml.SquaredError):
    def gradient(self, z, y):
        g = super().gradient(z, y)
        g[128:] = 0
        return g


@pytest.mark.parametrize(("thing", "words"), [
    (Value128(), "of a batch of many rows it is another")],
    ids=lambda given: type(given).__name__)
def test_what_is_wrong_in_one_dtype_in_large_batches_or_beside_a_kink_is_found(thing, words):
    assert words in reasons(ml.verify(thing))


class TiesTwice(ml.SoftmaxCrossEntropy):
    """A perceptron's loss, of which all tied maxima count."""

    transfer, proba = None, None

    def value(self, z, y):
        return float(self.value_per_sample(z, y).sum() * self.weight(len(z)))

    def value_per_sample(self, z, y):
        return z.max(axis=-1) - z[np.arange(len(z)), y]

    def gradient(self, z, y):
        return ((z == z.max(axis=-1, keepdims=True)) - np.eye(z.shape[1], dtype=z.dtype)[y]) * self.weight(len(z))

    def prox(self, z, y, tau):
        raise NotImplementedError("none is known")


class FiveSteps(ml.SoftmaxCrossEntropy):
    def prox(self, v, y, tau):
        c, u, t = tau * self.weight(len(v)), v.copy(), np.eye(v.shape[1])[y]
        for _ in range(5):
            u = u - self.transfer.solve_shifted(u, c, u - v + c * (self.transfer.forward(u) - t))
        return u


@pytest.mark.parametrize(("thing", "said"), [
    (TiesTwice(), "ties or kinks"), (FiveSteps(), "")])
def test_parts_that_are_wrong_at_ties_or_far_out_or_never_draw(thing, said):
    report = ml.verify(thing)
    assert not report.passed
    assert said in reasons(report)


# ---- what a reason says, and what it must not


class Jumps(ml.Loss):
    """Huber's, without the constant that joins its pieces."""

    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r < 0.7, r * r / 2, 0.7 * r).sum(axis=-1)

    def gradient(self, z, y):
        return np.clip(z - y, -0.7, 0.7) * z.dtype.type(self.weight(len(z)))


class Pinball(ml.SquaredError):
    """Its prox is that of the squared error, which it inherits."""

    def value_per_sample(self, z, y):
        return np.where(y > z, 0.3 * (y - z), 0.7 * (z - y)).sum(axis=-1)

    def gradient(self, z, y):
        return np.where(y > z, -0.3, 0.7).astype(z.dtype) * z.dtype.type(self.weight(len(z)))


class Cauchy(ml.Loss):
    """Not convex, and it does not say so."""

    def value_per_sample(self, z, y):
        return np.log1p((z - y) ** 2).sum(axis=-1) / 2

    def gradient(self, z, y):
        return (z - y) / (1 + (z - y) ** 2) * z.dtype.type(self.weight(len(z)))


class SaysConvex(Cauchy):
    convex = True


class SoftMinimum(ml.Loss):
    """Not convex, where its two branches are equally near too, and nowhere without a slope."""

    def branches(self, z, y):
        squares = np.stack([(z - y) ** 2, (z + y + 1) ** 2]) / 0.5
        low = squares.min(axis=0)
        weights = np.exp(low - squares)
        return low, weights, weights.sum(axis=0)

    def value_per_sample(self, z, y):
        low, _, total = self.branches(z, y)
        return (0.5 * (low - np.log(total))).sum(axis=-1)

    def gradient(self, z, y):
        _, weights, total = self.branches(z, y)
        return 2 * (weights[0] * (z - y) + weights[1] * (z + y + 1)) / total * z.dtype.type(self.weight(len(z)))


@pytest.mark.parametrize("loss", [Cauchy(), SoftMinimum()])
@pytest.mark.parametrize("seed", range(4))
def test_a_loss_need_not_be_convex_and_need_not_say_so(loss, seed):
    report = ml.verify(loss, seed=seed)
    report.raise_for_failures()
    assert [check.why for check in report.checks if check.claim == "it is convex in z"] == [
        "it does not say that it is: convex = True"]


class Redescending(ml.Loss):
    """Tukey's: outliers weigh nothing, so that it is concave, then level, wherever no output is near its target."""

    def value_per_sample(self, z, y):
        near = np.minimum((2 * (z - y)) ** 2, 1)
        return (1 - (1 - near) ** 3).sum(axis=-1)

    def gradient(self, z, y):
        near = np.minimum((2 * (z - y)) ** 2, 1)
        return (24 * (z - y) * (1 - near) ** 2 * self.weight(len(z))).astype(z.dtype)


@pytest.mark.parametrize("seed", [0, 26, 30, 32])
def test_a_loss_that_levels_off_is_concave_in_some_draws_and_no_mistake(seed):
    ml.verify(Redescending(), seed=seed).raise_for_failures()


class SoftDice(ml.Loss):
    """Of logits; bounded, so that it levels off, but not in the middle of what is drawn."""

    def parts(self, z, y):
        p = ml.Sigmoid().forward(z)
        total = (p * p).sum(axis=-1, keepdims=True) + (y * y).sum(axis=-1, keepdims=True) + 0.5
        return p, 2 * (p * y).sum(axis=-1, keepdims=True) + 0.5, total

    def value_per_sample(self, z, y):
        _, common, total = self.parts(z, y)
        return (1 - common / total)[:, 0]

    def gradient(self, z, y):
        p, common, total = self.parts(z, y)
        return 2 * (common * p / total**2 - y / total) * p * (1 - p) * self.weight(len(z))


@pytest.mark.parametrize("seed", [0, 2])
def test_a_bounded_loss_that_says_nothing_of_it_is_not_called_concave(seed):
    ml.verify(SoftDice(), seed=seed).raise_for_failures()


class CosineDistance(ml.Loss):
    """It is steep around 0, where it has neither a slope nor a chord above it."""

    def value_per_sample(self, z, y):
        lengths = np.sqrt((z * z).sum(axis=-1) + 1e-8) * np.sqrt((y * y).sum(axis=-1) + 1e-8)
        return 1 - (z * y).sum(axis=-1) / lengths

    def gradient(self, z, y):
        square = (z * z).sum(axis=-1, keepdims=True) + 1e-8
        others = np.sqrt((y * y).sum(axis=-1, keepdims=True) + 1e-8)
        inner = (z * y).sum(axis=-1, keepdims=True)
        return (inner * z / square - y) / (np.sqrt(square) * others) * self.weight(len(z))


@pytest.mark.parametrize("seed", [0, 7])
def test_where_a_loss_lies_above_its_chords_no_subgradient_is_looked_for(seed):
    ml.verify(CosineDistance(), seed=seed).raise_for_failures()


class HuberBetweenPieces(ml.Loss):
    """Of its prox the pieces change at δ + c, not at δ (1 + c): wrong where |v − y| lies between these alone."""

    convex = True
    delta, bound = 0.7, staticmethod(lambda delta, c: delta + c)

    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r <= self.delta, r**2 / 2, self.delta * (r - self.delta / 2)).sum(axis=-1)

    def gradient(self, z, y):
        return np.clip(z - y, -self.delta, self.delta) * self.weight(len(z))

    def prox(self, v, y, tau):
        r, c = v - y, tau * self.weight(len(v))
        return y + np.where(abs(r) <= self.bound(self.delta, c), r / (1 + c), r - c * self.delta * np.sign(r))


class RightHuber(HuberBetweenPieces):
    bound = staticmethod(lambda delta, c: delta * (1 + c))


@pytest.mark.parametrize("seed", range(4))
def test_a_prox_is_tried_where_its_pieces_meet(seed):
    wrong = ml.verify(HuberBetweenPieces(), seed=seed).failures
    assert [check.claim for check in wrong] == ["the prox minimises its objective: no probe is lower"], wrong
    ml.verify(RightHuber(), seed=seed).raise_for_failures()


class Negative(ml.Loss):
    """The sign of all is wrong."""

    def value_per_sample(self, z, y):
        return -((z - y) ** 2).sum(axis=-1) / 2

    def gradient(self, z, y):
        return (y - z) * z.dtype.type(self.weight(len(z)))


def test_a_loss_whose_sign_is_wrong_is_found():
    assert "it is concave: its sign is wrong" in reasons(ml.verify(Negative()))


class Gamma(ml.Loss):
    """For positive targets; of others it is concave, and it does not refuse them."""

    def value_per_sample(self, z, y):
        return (z + y * np.exp(-z)).sum(axis=-1)

    def gradient(self, z, y):
        return self.weight(len(z)) * (1 - y * np.exp(-z))


class Shares(ml.Loss):
    """For targets in [0, 1], in which a large one counts three times."""

    def value_per_sample(self, z, y):
        return ((1 + 2 * y) * np.logaddexp(0, -z) + (1 - y) * z).sum(axis=-1)

    def gradient(self, z, y):
        return ((1 + 2 * y) / (1 + np.exp(-z)) - 3 * y) * self.weight(len(z))


@pytest.mark.parametrize(("loss", "seed"), [(Gamma(), 2), (Shares(), 0), (Shares(), 8)])
def test_a_loss_for_some_targets_may_be_concave_for_others(loss, seed):
    ml.verify(loss, seed=seed).raise_for_failures()


class WeightsForgotten(ml.SquaredError):
    """The value weighs outputs, the gradient does not."""

    def value_per_sample(self, z, y):
        return ((z - y) ** 2 * (1 + np.arange(z.shape[1]))).sum(axis=-1) / 2


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (Jumps(), "the value jumps", "off by"),
    (Pinball(), "its transfer is another loss's", "independent"), (SaysConvex(), "it says convex = True", "concave"),
    (WeightsForgotten(), "", "cut off")], ids=lambda value: repr(value)[:30])
def test_a_wrong_loss_is_told_by_its_cause(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


class Divergence(ml.Loss):
    """KL(y ‖ softmax z), for rows of probabilities alone."""

    transfer, convex = ml.SoftmaxCrossEntropy.transfer, True

    def value_per_sample(self, z, y):
        top = z.max(axis=-1, keepdims=True)
        log_total = top + np.log(np.exp(z - top).sum(axis=-1, keepdims=True))
        return (y * (np.log(np.where(y > 0, y, 1.0)) - z + log_total)).sum(axis=-1)

    def check_targets(self, y, samples, n_out, dtype, xp=np):
        y = super().check_targets(y, samples, n_out, dtype, xp)
        if (y < 0).any() or (abs(y.sum(axis=-1) - 1) > 1e-5).any():
            raise ValueError("y: rows of probabilities are expected")
        return y


class Margin(ml.Loss):
    """For targets ±1 alone."""

    def value_per_sample(self, z, y):
        return (np.maximum(1 - y * z, 0) ** 2).sum(axis=-1)

    def gradient(self, z, y):
        return -2 * y * np.maximum(1 - y * z, 0) * self.weight(len(z))

    def check_targets(self, y, samples, n_out, dtype, xp=np):
        y = super().check_targets(y, samples, n_out, dtype, xp)
        if (abs(y) != 1).any():
            raise ValueError("y: signs are expected")
        return y


class Cosine(ml.Loss):
    """1 − cos ∠(z, y): of a single output it is 0 or 2, and jumps."""

    def value_per_sample(self, z, y):
        return 1 - (z * y).sum(axis=-1) / np.linalg.norm(y, axis=-1) / np.sqrt((z * z).sum(axis=-1))

    def gradient(self, z, y):
        of_z, of_y = (np.linalg.norm(x, axis=-1, keepdims=True) for x in (z, y))
        return ((z * y).sum(axis=-1, keepdims=True) * z / of_z**2 - y) / (of_z * of_y) * self.weight(len(z))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("loss", [Divergence(), Margin(), Cosine()], ids=repr)
def test_right_losses_of_their_own_targets_hold(loss, seed):
    report = ml.verify(loss, seed=seed)
    report.raise_for_failures()
    assert any(check.passed for check in report.checks if check.claim == "the gradient")


class Huber(ml.Loss):
    def __init__(self, delta=0.8):
        super().__init__()
        self.delta = delta

    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r <= self.delta, r * r / 2, self.delta * (r - self.delta / 2)).sum(axis=-1)

    def gradient(self, z, y):
        return np.clip(z - y, -self.delta, self.delta) * self.weight(len(z))

    def prox(self, v, y, tau):
        r, c = v - y, tau * self.weight(len(v))
        return y + np.where(abs(r) <= self.delta, r / (1 + c), r - c * self.delta * np.sign(r))  # to be δ(1 + c)


class HuberExplicit(Huber):
    def prox(self, v, y, tau):
        return v - tau * self.gradient(v, y)


@pytest.mark.parametrize("seed", range(4))
def test_a_prox_that_chooses_its_piece_wrongly_is_not_called_explicit(seed):
    assert "explicit" not in ml.verify(Huber(), seed=seed).failures[0].reason
    assert "it is explicit, not implicit" in ml.verify(HuberExplicit(), seed=seed).failures[0].reason


class OfPairs(Cosine):
    """It refuses single outputs, for which it has no slope."""

    def check_targets(self, y, samples, n_out, dtype, xp=np):
        if n_out < 2:
            raise ValueError("y: two outputs at least")
        return super().check_targets(y, samples, n_out, dtype, xp)


class OfTenths(Margin):
    def check_targets(self, y, samples, n_out, dtype, xp=np):
        raise ValueError("y: tenths are expected")


def test_targets_that_a_loss_refuses_are_not_used():
    report = ml.verify(OfPairs())
    report.raise_for_failures()
    assert next(check.problems for check in report.checks if check.claim == "the gradient") == 4
    report = ml.verify(OfTenths())
    assert not report.passed
    assert not report.failures
    assert "check_targets refuses the targets drawn" in report.checks[0].why
    with pytest.raises(ValueError, match="give X and y"):
        ml.verify(ml.BackProp(), ml.mlp([3, 2], loss=OfTenths()))


class Exchanged(ml.Loss):
    def __init__(self, q=0.3):
        super().__init__()
        self.q = q

    def value_per_sample(self, z, y):
        return np.maximum(self.q * (y - z), (1 - self.q) * (z - y)).sum(axis=-1)

    def gradient(self, z, y):
        return np.where(z > y, -self.q, 1 - self.q) * self.weight(len(z))


def test_sides_that_are_exchanged_are_told_in_one_word():
    tells("above the target and what belongs below it are exchanged", "besides", Exchanged())


class OneSum(ml.Loss):
    def value_per_sample(self, z, y):
        return ((z - y) ** 2).sum() / 2

    def gradient(self, z, y):
        return self.weight(len(z)) * (z - y)


class Distance(ml.Loss):
    def value_per_sample(self, z, y):
        return np.sqrt(((z - y) ** 2).sum(axis=-1))

    def gradient(self, z, y):
        return self.weight(len(z)) * (z - y) / self.value_per_sample(z, y)[:, None]


@pytest.mark.parametrize(("thing", "words"), [
    (OneSum(), "value_per_sample returns shape (), not (N,)"), (Distance(), "not finite (NaN or inf) at ties")],
    ids=lambda x: type(x).__name__)
def test_what_was_missed_or_misnamed(thing, words):
    assert any(words in check.reason for check in ml.verify(thing).failures)


class Quantile(ml.Loss):
    def value_per_sample(self, z, y):
        return np.maximum(0.8 * (y - z), 0.2 * (z - y)).sum(axis=-1)

    def gradient(self, z, y):
        return np.where(z < y, -0.2, 0.8) * self.weight(len(z))


@pytest.mark.parametrize(("thing", "options", "said", "unsaid"), [
    (Quantile(), {}, "two sides of the target are exchanged", "of the targets")],
    ids=lambda x: type(x).__name__)
def test_what_fits_by_chance_or_in_part_is_not_said(thing, options, said, unsaid):
    tells(said, unsaid, thing, **options)


class Smoothed(ml.SoftmaxCrossEntropy):
    """The targets are divided by one less than they should be, which is 0 where there is one class."""

    def gradient(self, z, y):
        share = 0.1 / (z.shape[1] - 1.0 if z.shape[1] > 1 else 1 // (z.shape[1] - 1))
        return super().gradient(z, y) + self.weight(len(z)) * share


class Turned(ml.Loss):
    """Huber's, of a length: the prox is right in the quadratic part, and explicit between the two thresholds alone."""

    convex = True

    def length(self, r):
        return np.sqrt((r * r).sum(axis=-1, keepdims=True))

    def value_per_sample(self, z, y):
        n = self.length(z - y)[:, 0]
        return np.where(n <= 0.7, n * n / 2, 0.7 * (n - 0.35))

    def gradient(self, z, y):
        return self.weight(len(z)) * (z - y) * np.minimum(1, 0.7 / np.maximum(self.length(z - y), 1e-30))

    def prox(self, v, y, tau):
        c, n = tau * self.weight(len(v)), self.length(v - y)
        shrunk = np.where(n <= 0.7, 1 / (1 + c), 1 - 0.7 * c / np.maximum(n, 1e-30))
        return y + shrunk.astype(v.dtype) * (v - y)


def test_a_mistake_is_told_also_where_another_problem_raises():
    gradient = ml.verify(Smoothed()).failures[0]
    assert np.isfinite(gradient.number)
    assert "besides, where there is one output it raises ZeroDivisionError" in gradient.reason


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_prox_that_is_implicit_elsewhere_is_not_called_explicit(seed):
    tells("", "explicit", Turned(), seed=seed)


class Weighted(ml.SquaredError):
    """Each sample counts by its place in the batch."""

    def value(self, z, y):
        return float((self.weights(z) * (z - y) ** 2).sum() / 2)

    def gradient(self, z, y):
        return self.weights(z) * (z - y)

    def weights(self, z):
        weights = np.arange(1, len(z) + 1, dtype=z.dtype)[:, None]
        return weights / weights.sum()


def test_weights_by_place_are_no_cache():
    said = reasons(ml.verify(Weighted()))
    assert "depends on its place" in said
    assert "cached" not in said


class Manhattan(ml.Loss):
    def value_per_sample(self, z, y):
        return abs(z - y).sum(axis=-1)

    def gradient(self, z, y):
        return np.sign(z - y) * z.dtype.type(self.weight(len(z)))

    def prox(self, v, y, tau):
        return y + soft(v - y, v.dtype.type(tau * self.weight(len(v))))


class TowardsZero(Manhattan):
    def prox(self, v, y, tau):
        return soft(v, v.dtype.type(tau * self.weight(len(v))))


def test_a_prox_that_shrinks_towards_zero_is_no_step():
    def energy(z, v, y, lam):
        return lam * abs(z - y).sum() + ((z - v) ** 2).sum() / 2

    assert ml.verify(Manhattan()).passed
    assert ml.verify(ml.Argmin(energy, lambda v, y, lam: y + soft(v - y, lam), "z")).passed
    for wrong in (TowardsZero(), ml.Argmin(energy, lambda v, lam: soft(v, lam), "z")):
        said = reasons(ml.verify(wrong))
        assert "it shrinks towards 0, not y" in said
        assert "the step from" not in said


class HuberUnclipped(ml.Loss):
    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r <= 1, r * r / 2, r - 0.5).sum(axis=-1)

    def gradient(self, z, y):
        return (z - y) * self.weight(len(z))


@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (HuberUnclipped(), "it is z − y, as of the squared error", "exchanged")])
def test_a_layer_is_told_what_is_wrong(thing, said, unsaid):
    tells(said, unsaid, thing)


class Poisson(ml.Loss):
    transfer = ml.Softplus()

    def value_per_sample(self, z, y):
        return (np.exp(z) - y * z).sum(axis=-1)


class Focal(OfLabels):
    convex = False

    def value_per_sample(self, z, y):
        log_p = z[np.arange(len(z)), y] - log_sum(z)
        return -(np.expm1(log_p) ** 2) * log_p

    def gradient(self, z, y):
        p = softmax(z)
        p_y = p[np.arange(len(z)), y][:, None]
        return (1 - p_y) ** 2 * (p - self.targets(z, y)) * self.weight(len(z))


class Unweighted(ByClass):
    def gradient(self, z, y):
        return (softmax(z) - self.targets(z, y)) * self.weight(len(z))


class Absolute(ml.Loss):
    """The threshold of its prox is τ, and should be τ times a sample's weight."""

    def value_per_sample(self, z, y):
        return abs(z - y).sum(axis=-1)

    def gradient(self, z, y):
        return np.sign(z - y) * self.weight(len(z))

    def prox(self, v, y, tau):
        return y + np.sign(v - y) * np.maximum(abs(v - y) - tau, 0)


class FewNewton(ml.Loss):
    """Three steps of Newton's method are few for a long step of the prox."""

    transfer = ml.Sigmoid()

    def value_per_sample(self, z, y):
        return (np.logaddexp(z, z.dtype.type(0)) - y * z).sum(axis=-1)

    def prox(self, v, y, tau):
        c, u = tau * self.weight(len(v)), v.copy()
        for _ in range(3):
            p = self.transfer.forward(u)
            u = u - (u - v + c * (p - y)) / (1 + c * p * (1 - p))
        return u


class RaisesWhereAlike(ml.Loss):
    """The squares; its prox divides by how much the outputs' distances to their targets differ."""

    def value_per_sample(self, z, y):
        return ((z - y) ** 2).sum(axis=-1) / 2

    def prox(self, v, y, tau):
        if v.size > 1 and np.ptp(v - y) < 1e-9:
            raise ZeroDivisionError("all distances are alike")
        c = tau * self.weight(len(v))
        return (v + c * y) / (1 + c)


def test_a_prox_that_raises_past_its_targets_alone_is_not_passed_over():
    report = ml.verify(RaisesWhereAlike())
    assert any("all distances are alike" in check.reason for check in report.failures), report


@pytest.mark.parametrize(("thing", "says", "does_not_say"), [
    (Poisson(), "value and transfer do not go together", "y alone"),
    (Focal(), "a factor that depends on its outputs", "of its class"),
    (Unweighted(), "a weight of its class, or sample", "held constant"),
    (Absolute(), "weight_of_a_sample", "one output"),
    (FewNewton(), "for long steps τ alone", "one output")],
    ids=lambda thing: getattr(type(thing), "__name__", None) if not isinstance(thing, str) else "")
def test_a_reason_says_what_is_planted(thing, says, does_not_say):
    tells(says, does_not_say, thing)


class SquaredEMD(OfLabels):
    """Labels in an order: squared distances of cumulated probabilities. The likeliest is not that of the least loss."""

    def value_per_sample(self, z, y):
        return (self.distance(z, y) ** 2).sum(axis=-1)

    def distance(self, z, y):
        p = np.exp(z - z.max(axis=-1, keepdims=True))
        return np.cumsum(p / p.sum(axis=-1, keepdims=True) - self.targets(z, y), axis=-1)

    def gradient(self, z, y):
        p = np.exp(z - z.max(axis=-1, keepdims=True))
        p = p / p.sum(axis=-1, keepdims=True)
        at_p = np.cumsum(2 * self.distance(z, y)[:, ::-1], axis=-1)[:, ::-1]
        return self.weight(len(z)) * p * (at_p - (p * at_p).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("seed", range(3))
def test_an_inherited_predict_need_not_be_of_the_least_loss(seed):
    assert ml.verify(SquaredEMD(), seed=seed).passed


class Spread(ml.Loss):
    """Residuals about their mean over the batch: it is no sum of losses of samples."""

    def value_per_sample(self, z, y):
        r = z - y
        return ((r - r.mean(axis=0)) ** 2).sum(axis=-1) / 2

    def gradient(self, z, y):
        r = z - y
        return (r - r.mean(axis=0)) * self.weight(len(z))


def test_of_a_loss_that_couples_samples_nothing_is_said_of_large_batches():
    (check,) = [check for check in ml.verify(Spread()).checks if "large batch" in check.claim]
    assert check.passed is None
    assert "coupled" in check.why


class TwoValues(ml.SquaredError):
    """value_per_sample is another loss than value."""

    def value(self, z, y):
        return 0.5 * float(((z - y) ** 2).sum()) * self.weight(len(z))

    def value_per_sample(self, z, y):
        return ((z - y) ** 2).mean(axis=-1)


def test_value_is_the_sum_of_value_per_sample():
    assert any("value is not the sum of value_per_sample" in check.reason for check in ml.verify(TwoValues()).failures)


class StudentT(ml.Loss):
    """The gradient lacks the square of the scale."""

    def __init__(self, df=4.0, scale=0.6, reduction="mean"):
        super().__init__(reduction)
        self.df, self.scale = df, scale

    def value_per_sample(self, z, y):
        return (self.df + 1) / 2 * np.log1p(((z - y) / self.scale) ** 2 / self.df).sum(axis=-1)

    def gradient(self, z, y):
        r = z - y
        return self.weight(len(z)) * (self.df + 1) * r / (self.df + r * r)


def test_a_setting_that_is_left_out_is_named():
    tells("it would be right if scale were 1", "df were", StudentT())
