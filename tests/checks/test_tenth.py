"""What a tenth reader planted, where `verify` erred: a bump that it took for a jump, and reasons that led elsewhere."""

import numpy as np
import pytest

import minilift as ml


def reasons(report):
    return " / ".join(check.reason for check in report.failures)


# ---- bumps, and jumps on purpose


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


# ---- what a reason says


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


class LeakyInverse(ml.LeakyReLU):
    def inverse(self, a):
        return np.where(a > 0, a, self.slope * a)


class SigmoidIntegral(ml.Sigmoid):
    def integral(self, z):
        return np.logaddexp(0, -z)


class TanhOfZ(ml.Tanh):
    def adjoint(self, z, a, aux, g):
        return g * (1 - z * z)


class TanhFactor(ml.Tanh):
    def adjoint(self, z, a, aux, g):
        return g * (1 - a)


class LayerNorm(ml.Transfer):
    def apply(self, z, training=False, rng=None):
        s = np.sqrt(z.var(axis=-1, keepdims=True) + z.dtype.type(1e-5))
        return (z - z.mean(axis=-1, keepdims=True)) / s, s

    def adjoint(self, z, a, aux, g):
        return (g - g.mean(axis=-1, keepdims=True)) / aux


class HuberUnclipped(ml.Loss):
    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r <= 1, r * r / 2, r - 0.5).sum(axis=-1)

    def gradient(self, z, y):
        return (z - y) * self.weight(len(z))


@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (SoftsignExponent(), "to the power 0.5: an exponent", "product rule"),
    (GaussHalf(), "off by a factor ½", "leaves out c"),
    (GaussHalf(), "it is that of the derivative, which is wrong", "leaves out c"),
    (SoftplusBeta(), "the derivative at 0.25 z", "product rule"),
    (Centred(), "samples are coupled", "with apply and adjoint"),
    (Squeezed(), "its shape is", "an entry depends on others"),
    (SigmoidInverse(), "inverse(a) is no z with σ(z) = a", "slope"),
    (LeakyInverse(), "the slope is inverted", "an end of the range"),
    (SigmoidIntegral(), "F is that of −z", "in the range"),
    (TanhOfZ(), "z and a = σ(z) are exchanged", "factor"),
    (TanhFactor(), "multiplies by 1 − σ(z), a factor of σ' is missing", "exchanged"),
    (LayerNorm(), "that of the deviation, or the norm", "held constant"),
    (HuberUnclipped(), "it is z − y, as of the squared error", "exchanged")])
def test_a_layer_is_told_what_is_wrong(thing, said, unsaid):
    told = reasons(ml.verify(thing))
    assert said in told
    assert unsaid not in told


def relu(z):
    return np.maximum(z, 0)


def soft(v, t):
    return np.sign(v) * np.maximum(abs(v) - t, 0)


def size(x):
    return float((x * x).sum())


def of_relu(z, v, a, gamma):
    return gamma / 2 * size(relu(z) - a) + size(z - v) / 2


def inverted_key(v, a, gamma):
    return np.where(v > 0, np.minimum(v, 0), relu((v + gamma * a) / (1 + gamma)))


def draw_relu(rng):
    return {"z": rng.normal(size=(6, 3)), "v": rng.normal(size=(6, 3)), "a": rng.normal(size=(6, 3)),
            "gamma": float(rng.choice([0.3, 1.0, 4.0]))}


def of_ridge(W, X, y):
    return np.inf if (W < -1e-12).any() else size(X @ W - y) / 2 + size(W) / 2


def cut_ridge(X, y):
    return relu(np.linalg.solve(X.T @ X + np.eye(X.shape[1]), X.T @ y))


def of_map(theta, a, z, theta_k):
    return size(a @ theta[:-1] + theta[-1] - z) / 2 + size(theta - theta_k) / 2


def old_bias(a, z, theta_k):
    rows = np.c_[a, np.ones(len(a))]
    new = np.linalg.solve(rows.T @ rows + np.eye(len(theta_k)), rows.T @ z + theta_k)
    new[-1] = theta_k[-1]
    return new


def of_soft(z, v, lam, rho):
    return lam * abs(z).sum() + rho / 2 * size(z - v)


def draw_form(rng):
    return {"x": rng.normal(size=4), "B": rng.normal(size=(4, 4))}


@pytest.mark.parametrize(("claim", "said", "unsaid"), [
    (ml.Argmin(of_relu, inverted_key, "z", draw_relu), "it is 0 wherever v is positive", "some entries"),
    (ml.Argmin(of_ridge, cut_ridge, "W"), "as if its entries were not coupled, or without the bound", "its sign"),
    (ml.Argmin(of_map, old_bias, "theta"), "its last row is that of theta_k: it is not updated", "branch"),
    (ml.Argmin(of_soft, lambda v, lam, rho: soft(v, lam), "z"), "lam is multiplied by rho, or should not be", "branch"),
    (ml.Gradient(lambda p: float((p * np.log(p)).sum()), lambda p: np.log(p), "p",
                 lambda rng: {"p": rng.uniform(0.1, 2, (4, 3))}), "a constant, or", "off by"),
    (ml.Gradient(lambda x, B: float(x @ B @ x), lambda x, B: 2 * B @ x, "x", draw_form),
     "the gradient of no function, its derivative is not symmetric", "depends on B"),
    (ml.Gradient(lambda z: float(np.linalg.norm(z)), lambda z: z, "z"), "constant in each problem", "no function"),
    (ml.Equal(lambda z: abs(z) + np.log1p(np.exp(-abs(z))), lambda z: np.logaddexp(0, z)),
     "it is wrong only where z is negative", "positive")])
def test_a_claim_is_told_what_is_wrong(claim, said, unsaid):
    told = reasons(ml.verify(claim))
    assert said in told
    assert unsaid not in told
