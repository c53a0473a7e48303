"""What the rooms of these tests share: what a report must say of a thing, planted mistakes, and a few functions."""

from typing import NamedTuple

import numpy as np
import pytest

import minilift as ml

# ---- what a report says


def reasons(report):
    """Return all that a report says is wrong."""
    return " / ".join(check.reason for check in report.failures)


def tells(said, unsaid, thing, **options):
    """Check that something fails, for a reason that is said, and none for another."""
    found = reasons(ml.verify(thing, **options))
    assert found
    assert said in found, found
    assert unsaid not in found, found


# ---- planted mistakes


class Plant(NamedTuple):
    """A mistake: what it is, the thing with it, words of the diagnosis, and further arguments of `verify`.

    The words are those that the reason must hold; None where the mistake must be found but has no name of its own.
    """

    what: str
    make: object
    words: str | None
    options: dict = {}


def changed(base, *args, **functions):
    """Return an instance of a subclass in which some attributes are others."""
    return type(f"My{base.__name__}", (base,), functions)(*args)


def in_turn(plants):
    """Return every second plant for the quick tests, the others for the slow ones."""
    return [pytest.param(plant, marks=pytest.mark.slow) if k % 2 else plant for k, plant in enumerate(plants)]


def is_found_and_named(plant):
    """Check that `verify` finds a planted mistake, and calls it by its name if it has one."""
    report = ml.verify(plant.make(), **plant.options)
    assert report.failures, f"verify accepts: {plant.what}\n{report}"
    if plant.words is not None:
        assert any(plant.words in check.reason for check in report.failures), reasons(report)


def is_named_with(seed, plant):
    """Check that a planted mistake is called by its name with this seed too."""
    report = ml.verify(plant.make(), seed=seed, **plant.options)
    assert any(plant.words in check.reason for check in report.failures), report


def without_bias_row(self, a, g):
    """Return the adjoint in θ of a linear map without the gradient of its bias."""
    d = ml.Linear.adjoint_theta(self, a, g)
    d[-1] = 0
    return d


# ---- functions


def relu(z):
    return np.maximum(z, 0)


def soft(v, t):
    return np.sign(v) * np.maximum(abs(v) - t, 0)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def square(v):
    """Return the sum of squares."""
    return (v * v).sum()


def ones(a):
    """Return [a 1], of the dtype of a."""
    return np.concatenate([a, np.ones((len(a), 1), a.dtype)], axis=1)


def draw(**parts):
    """Return a function of a generator that draws an array by each of these functions of it."""
    return lambda rng: {name: make(rng) for name, make in parts.items()}


def normal(*shape, size=1.0):
    """Return a function of a generator that draws a normal array."""
    return lambda rng: size * rng.standard_normal(shape)
