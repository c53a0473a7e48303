"""What a seventh stranger planted and `verify` missed, or named wrongly, is found; what is like it and right holds."""

import numpy as np
import pytest

import minilift as ml


def reasons(thing, **options):
    """Return all that a report says is wrong."""
    return "; ".join(check.reason for check in ml.verify(thing, **options).failures)


def squares(z):
    return float((z**2).sum())


# ---- sweeps


def shrinks(rates):
    """Return a claim of a sweep that counts itself, and goes by one rate after the other."""
    def sweep(z, t):
        return {"z": z * rates[min(int(t[0]), len(rates) - 1)], "t": t + 1}
    return ml.Decreases(lambda z, t: squares(z), sweep, draw=lambda rng: {"z": rng.normal(size=3), "t": np.zeros(1)})


def test_the_energy_is_followed_beyond_the_first_sweeps():
    assert "each sweep" not in reasons(shrinks([0.9] * 8 + [1.1]))
    assert "increases the energy" in reasons(shrinks([0.9] * 8 + [1.1]))
    assert not reasons(shrinks([0.9] * 8 + [0.5]))


# ---- methods that keep something from call to call


class Forgets(ml.BCD):
    def directions(self, net, state, y):
        self.variables = None
        return super().directions(net, state, y)


class Early(ml.ADMM):
    """The dual step before z_D."""

    def schedule(self, energy):
        blocks = list(super().schedule(energy))
        blocks[-1], blocks[-2] = blocks[-2], blocks[-1]
        return blocks


class Reset(ml.ADMM):
    def directions(self, net, state, y):
        if self.variables is not None:
            self.variables = self.variables._replace(multiplier=0 * self.variables.multiplier)
        return super().directions(net, state, y)


class Fewer(ml.PredictiveCoding):
    def directions(self, net, state, y):
        self.steps -= 1
        try:
            return super().directions(net, state, y)
        finally:
            self.steps += 1


class Late(ml.LocoProp):
    def start_epoch(self, epoch):
        super().start_epoch(max(epoch - 1, 0))


def scheduled(cls):
    return cls("S", gamma=2.0, steps=3, local_lr=lambda epoch: 0.01 / (1 + epoch), local_optimizer="sgd")


@pytest.mark.parametrize(("method", "like", "words"), [
    (Forgets(), ml.BCD(), "call 2 in a row is not"), (Forgets(), None, "the second is not"),
    (Early(), ml.ADMM(), "in the order of ADMM"), (Reset(), None, "the third is not"),
    (Reset(), ml.ADMM(), "call 3 in a row is not"), (Fewer(), None, "its first call is not"),
    (scheduled(Late), None, "what start_epoch announces is taken late")])
def test_what_shows_in_later_calls_is_found(method, like, words):
    assert words in reasons(method, like=like)


@pytest.mark.parametrize(("base", "make"), [(ml.BCD, ml.BCD), (ml.ADMM, ml.ADMM),
                                            (ml.PredictiveCoding, ml.PredictiveCoding),
                                            (ml.LocoProp, lambda: scheduled(ml.LocoProp))])
def test_a_subclass_that_changes_nothing_holds(base, make):
    method = make()
    method.__class__ = type("Same", (base,), {})
    ml.verify(method).raise_for_failures()
    ml.verify(method, like=make()).raise_for_failures()


def test_another_order_is_remarked():
    assert any("in the order of ADMM: a variant, or a mistake" in check.why for check in ml.verify(Early()).skipped)


# ---- single precision, large batches, kinks


class Half(ml.Linear):
    def forward(self, theta, a):
        if a.dtype != np.float32:
            return super().forward(theta, a)
        return (a.astype(np.float16) @ theta[:-1].astype(np.float16) + theta[-1].astype(np.float16)).astype(a.dtype)


class Tail(ml.Activation):
    def forward(self, z):
        a = np.tanh(z)
        a[256:] = 0
        return a

    def derivative(self, z):
        return 1 - np.tanh(z) ** 2


class MapTail(ml.Linear):
    def adjoint_theta(self, a, g):
        return super().adjoint_theta(a[: len(a) // 200 * 200 or len(a)], g[: len(g) // 200 * 200 or len(g)])


class Value128(ml.SquaredError):
    def gradient(self, z, y):
        g = super().gradient(z, y)
        g[128:] = 0
        return g


class Bent(ml.Activation):
    """A piece of slope 3 that begins at 2.5; its derivative, at `start`."""

    def __init__(self, start):
        self.start = start

    def forward(self, z):
        return np.where(z > 2.5, 2.5 + 3 * (z - 2.5), z)

    def derivative(self, z):
        return np.where(z > self.start, 3, 1).astype(z.dtype)


@pytest.mark.parametrize(("thing", "words"), [
    (Half(4, 3), "forward: of float32 arrays it has other values"), (Tail(), "of a batch of many rows it is another"),
    (MapTail(4, 3), "the last samples are left out"), (Value128(), "of a batch of many rows it is another"),
    (Bent(2.501), "z = 2.500"), (Bent(2.5), "")], ids=lambda given: type(given).__name__)
def test_what_is_wrong_in_one_dtype_in_large_batches_or_beside_a_kink_is_found(thing, words):
    found = reasons(thing)
    assert words in found
    assert bool(words) == bool(found)


# ---- reasons that led astray


def shrinkage(z, v):
    return abs(z).sum() + ((z - v) ** 2).sum() / 2


def tilted(z, v):
    return float(((z**2 - 1) ** 2 + 0.3 * z + 0 * v).sum())


def near_minimiser(z):
    for _ in range(200):
        z = z - 0.02 * (4 * z * (np.clip(z, -3, 3) ** 2 - 1) + 0.3)
    return z


def solved(a, g, lam):
    return np.linalg.solve(a.T @ a + lam * np.eye(a.shape[1]), a.T @ g)


@pytest.mark.parametrize(("claim", "words", "astray"), [
    (ml.Argmin(shrinkage, lambda v: np.where(abs(v) > 1, v, 0), "z"), "a hard threshold", "coupled"),
    (ml.Argmin(tilted, near_minimiser, "z", draw=lambda rng: {"z": rng.normal(size=(1, 1)), "v": np.zeros((1, 1))}), "",
     "several together"),
    (ml.Equal(lambda a, g: solved(a, g, 1.0), lambda a, g: solved(a, g, 0.5)), "", "constant in each problem"),
    (ml.Equal(lambda x: x[:-1], lambda x: x, draw=lambda rng: {"x": rng.normal(size=(5, 4))}), "its shape", "bias"),
    (ml.Argmin(lambda z, v: shrinkage(z, v), lambda v: v / (1 + abs(v[0, 0])), "z"), "", "entries are large")],
    ids=["hard threshold", "double well", "another λ", "a row is dropped", "scaled"])
def test_no_reason_leads_astray(claim, words, astray):
    found = reasons(claim)
    assert found
    assert words in found
    assert astray not in found
