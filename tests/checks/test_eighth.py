"""What an eighth stranger's right things and mistakes showed of `verify`."""

import numpy as np
import pytest

import minilift as ml


def reasons(report):
    return " / ".join(check.reason for check in report.failures)


# ---- right things that were refused


def relu(z):
    return np.maximum(z, 0)


def lifted_energy(theta, z, x, y, rho):
    gap = np.hstack([x, np.ones((len(x), 1))]) @ theta - z
    return rho / 2 * (gap**2).sum() + ((relu(z) - y) ** 2).sum() / 2 + (theta**2).sum() / 2


def lifted_sweep(theta, z, x, y, rho):
    M = np.hstack([x, np.ones((len(x), 1))])
    u = M @ theta
    positive, negative = relu((y + rho * u) / (1 + rho)), np.minimum(u, 0)
    z = np.where((relu(positive) - y) ** 2 + rho * (positive - u) ** 2 < y**2 + rho * (negative - u) ** 2,
                 positive, negative)
    return {"z": z, "theta": np.linalg.solve(rho * M.T @ M + np.eye(M.shape[1]), rho * M.T @ z)}


@pytest.mark.parametrize("seed", [0, 40, 45])
def test_a_point_of_rest_may_lie_beside_a_kink(seed):
    assert ml.verify(ml.Decreases(lifted_energy, lifted_sweep), seed=seed).passed


@pytest.mark.parametrize(("eta", "seed"), [(0.5, 15), (0.5, 40), (2.0, 0), (10.0, 1)])
def test_semi_implicit_is_itself_with_long_targets(eta, seed):
    assert ml.verify(ml.SemiImplicit(eta=eta), seed=seed).passed


@pytest.mark.parametrize("seed", [31, 35])
def test_a_resnet_with_batch_norm_is_differentiated_on_three_samples(seed):
    assert ml.verify(ml.resnet([4, 3, 3, 3, 2], activation="tanh", batch_norm=True), seed=seed).passed


class PReLU(ml.Activation):
    axis = -1

    def slopes(self, z):
        shape = np.ones(z.ndim, dtype=int)
        shape[self.axis] = 3
        return np.array([0.1, 0.5, 2.0], dtype=z.dtype).reshape(shape)

    def forward(self, z):
        return np.where(z > 0, z, self.slopes(z) * z)

    def derivative(self, z):
        return np.where(z > 0, np.ones_like(z), self.slopes(z) * np.ones_like(z))


class Turned(PReLU):
    def derivative(self, z):
        return np.where(z > 0, np.ones_like(z), self.slopes(z)[..., ::-1] * np.ones_like(z))


@pytest.mark.parametrize(("transfer", "passed"), [(PReLU, True), (Turned, False)])
def test_a_slope_for_each_channel_is_checked_on_the_samples_of_its_network(transfer, passed):
    layers = [ml.Conv2d(1, 3, 3), transfer(), ml.Flatten(), ml.Linear(27, 2)]
    report = ml.verify(ml.Network(layers, ml.SquaredError(), input_shape=(3, 3, 1)))
    assert report.passed == passed
    assert "raises" not in reasons(report)


def test_locoprop_is_like_proxprop_but_for_batch_norms():
    assert ml.verify(ml.LocoProp("S", gamma=1.0, steps="exact", eta=0.2), like=ml.ProxProp(0.2, last="implicit")).passed


# ---- reasons


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


# ---- mistakes that were missed


class OneMask(ml.Dropout):
    def apply(self, z, training=False, rng=None):
        return super().apply(z, training, np.random.default_rng(0) if training else None)


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
    (OneMask(0.5), "the same for every generator"), (TiesTwice(), "ties or kinks"), (FiveSteps(), "")])
def test_parts_that_are_wrong_at_ties_or_far_out_or_never_draw(thing, said):
    report = ml.verify(thing)
    assert not report.passed
    assert said in reasons(report)


def test_an_equality_is_asked_of_many_rows():
    def chunked(a):
        return sum(a[k : k + 64].T @ a[k : k + 64] for k in range(0, max(len(a) // 64, 1) * 64, 64))

    assert not ml.verify(ml.Equal(chunked, lambda a: a.T @ a)).passed


class HalvedLater(ml.BackProp):
    calls = 0

    def directions(self, net, state, y):
        self.calls += 1
        return [step if self.calls <= 10 else step / 2 for step in super().directions(net, state, y)]

    def reset(self):
        self.calls = 0


class Forgets(ml.ADMM):
    calls = 0

    def directions(self, net, state, y):
        self.calls += 1
        if self.calls == 6:
            self.variables = None
        return super().directions(net, state, y)

    def reset(self):
        super().reset()
        self.calls = 0


@pytest.mark.parametrize(("method", "like", "call"), [
    (HalvedLater(), ml.BackProp(), "batch 11"), (Forgets(), ml.ADMM(), "call 6")])
def test_what_changes_after_some_calls_is_met(method, like, call):
    assert call in reasons(ml.verify(method, like=like))


@pytest.mark.parametrize(("jitter", "passed"), [(0.0, True), (0.1, False)])
def test_float32_steps_are_those_of_like(jitter, passed):
    def step(block):
        A = np.hstack([block.a, np.ones_like(block.a[:, :1])])
        if block.last:
            return A.T @ block.g
        more = jitter * (A.dtype == np.float32)
        return np.linalg.solve(A.T @ A + A.dtype.type(5 + more) * np.eye(A.shape[1], dtype=A.dtype), A.T @ block.g)

    assert ml.verify(step, like=ml.ProxProp(0.2)).passed == passed
