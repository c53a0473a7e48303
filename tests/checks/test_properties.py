"""Properties that `verify` asks of layers and losses beyond their derivatives: one broken thing for each."""

import numpy as np
import pytest

import minilift as ml


def changed(base, *args, **functions):
    """Return an instance of a subclass in which some attributes are others."""
    return type(f"My{base.__name__}", (base,), functions)(*args)


class Masked(ml.LeakyReLU):
    """Its adjoint takes the mask of the last forward pass."""

    def forward(self, z):
        self.mask = z > 0
        return super().forward(z)

    def adjoint(self, z, a, aux, g):
        same = self.mask.shape == g.shape
        return g * np.where(self.mask if same else z > 0, 1, self.slope).astype(g.dtype)


class FirstTargets(ml.SquaredError):
    """It keeps the first targets of each shape."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    def gradient(self, z, y):
        return super().gradient(z, self.kept.setdefault((y.shape, z.dtype), y))


class Keys(ml.Linear):
    """It keeps the first rows of each number of samples."""

    def rows(self, a):
        kept = vars(self).setdefault("kept", {})
        return kept.setdefault((a.shape, a.dtype), np.array(a))


def tied(self, z, a, aux, g):
    """Every entry that is the largest gets the whole signal."""
    up, largest = (np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)[:, : z.shape[1], : z.shape[2]] for x in (g, a))
    inside = np.zeros_like(z)
    h, w = up.shape[1:3]
    inside[:, :h, :w] = up * (z[:, :h, :w] == largest)
    return inside


BROKEN = {
    "remember": (Masked(0.2), "remembered"),
    "targets": (FirstTargets(), "cached"),
    "rows": (Keys(4, 3), "earlier a"),
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


def test_a_loss_that_is_infinite_outside_of_its_domain_is_judged_inside():
    class Barrier(ml.Loss):
        prox = property()

        def value_per_sample(self, z, y):
            with np.errstate(all="ignore"):
                return np.where(z > -1, (z - y) ** 2 / 2 - np.log1p(z), np.inf).sum(axis=-1)

        def gradient(self, z, y):
            return self.weight(len(z)) * (z - y - 1 / (1 + z))
    ml.verify(Barrier()).raise_for_failures()


@pytest.mark.parametrize(("ascend", "words"), [
    (lambda self, energy, l, v: v.multiplier, "zero"),
    (lambda self, energy, l, v: 2 * v.multiplier - ml.ADMM.ascend(self, energy, l, v), "sign")])
def test_a_wrong_dual_step_is_found(ascend, words):
    report = ml.verify(changed(ml.ADMM, 2.0, 0.5, ascend=ascend), net=ml.mlp([2, 2, 1], "relu", loss=ml.SquaredError()))
    assert any("dual step" in check.reason and words in check.reason for check in report.failures), report
