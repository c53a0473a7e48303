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
