"""What an eleventh reader planted in maps, transfers, losses and gradients, where `verify` erred or named no cause."""

import math

import numpy as np
import pytest

import minilift as ml
from minilift.layers.losses import OfLabels


def reasons(report):
    return " / ".join(check.reason for check in report.failures)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_sum(z):
    top = z.max(axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(z - top).sum(axis=-1))


# ---- right things that were refused


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


class Dropped(Torus):
    wrong = True


class Flipped(ml.Conv2d):
    def forward(self, theta, a):
        turned = theta[:-1].reshape(3, 3, self.c_in, self.c_out)[::-1, ::-1].reshape(-1, self.c_out)
        return super().forward(np.vstack([turned, theta[-1:]]), a)


class Affine(ml.Transfer):
    """A trained scale and shift, and nothing that evaluation would keep of training."""

    mean = False

    def __init__(self, channels):
        self.channels = channels
        self.scale_shift = np.stack([np.ones(channels), np.zeros(channels)])

    @property
    def parameters(self):
        return [self.scale_shift]

    def on_backend(self, xp, dtype):
        owned = type(self)(self.channels)
        owned.scale_shift = xp.array(self.scale_shift, dtype=dtype)
        return owned

    def apply(self, z, training=False, rng=None):
        scale, shift = self.scale_shift
        return scale * z + shift, (z, scale.copy())

    def adjoint(self, z, a, aux, g):
        return g * aux[1]

    def gradients(self, aux, g):
        rows = len(g) if self.mean else 1
        return [np.stack([(g * aux[0]).sum(axis=0), g.sum(axis=0)]) / rows]


class MeanAffine(Affine):
    mean = True


def with_transfer(sigma):
    return ml.Network([ml.Linear(4, 6), sigma, ml.Tanh(), ml.Linear(6, 3)], seed=3, dtype=np.float64)


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


class HalfBall(Ball):
    share = 0.5


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


class Backwards(ByClass):
    sign = -1


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("thing", [Torus(2, 3, 3, padding="valid"), Ball(), ByClass(), PriorOdds()], ids=repr)
def test_right_parts_of_ones_own_are_not_refused(thing, seed):
    report = ml.verify(thing, seed=seed)
    assert report.passed, report


def test_a_transfer_with_parameters_needs_no_running_statistics():
    net = with_transfer(Affine(6))
    assert ml.verify(net).passed
    state = net.state_dict()
    assert state["running_1"].shape == (2, 0)
    net.load_state_dict(state)
    assert "1/(N" in reasons(ml.verify(with_transfer(MeanAffine(6))))
    with pytest.raises(ValueError, match="running_1"):
        net.load_state_dict({**state, "running_1": np.zeros((2, 6))})


@pytest.mark.parametrize(("thing", "says"), [
    (Dropped(2, 3, 3, padding="valid"), "at the border of the images alone"),
    (Flipped(2, 3, 3), "the kernel is"),
    (HalfBall(), "that of the deviation, or the norm"),
    (Backwards(), "predict is not the label of the least loss")], ids=repr)
def test_mistakes_in_their_like_are_found(thing, says):
    assert says in reasons(ml.verify(thing))


# ---- reasons that led elsewhere, or were not given


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


class Inverse(Fixed):
    def back(self, signal):
        return signal @ np.linalg.inv(self.matrix()).astype(signal.dtype)


class Straight(Fixed):
    def back(self, signal):
        return signal @ self.matrix(signal.dtype)


class LeftOut(Fixed):
    def back(self, signal):
        return signal + 0


class OtherRows(Fixed):
    def rows(self, a):
        return a


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


def normal(**shapes):
    return lambda rng: {name: rng.normal(size=shape) for name, shape in shapes.items()}


def attention():
    def weights(Q, K):
        return softmax(Q @ K.T / math.sqrt(Q.shape[1]))

    def energy(Q, K, V, T):
        return 0.5 * np.sum((weights(Q, K) @ V - T) ** 2)

    def gradient(Q, K, V, T):
        P = weights(Q, K)
        R = P @ V - T
        S = P * (R @ V.T - (R @ V.T * P).sum(axis=1, keepdims=True))
        return S @ K / math.sqrt(Q.shape[1]), S.T @ Q, P.T @ R

    return ml.Gradient(energy, gradient, block=("Q", "K", "V"), draw=normal(Q=(5, 3), K=(6, 3), V=(6, 2), T=(5, 2)))


def after_a_step():
    def energy(U, V, M):
        return 0.5 * np.sum((M - U @ V.T) ** 2)

    def gradient(U, V, M):
        in_u = (U @ V.T - M) @ V
        return in_u, (((U - 0.1 * in_u) @ V.T) - M).T @ (U - 0.1 * in_u)

    return ml.Gradient(energy, gradient, block=("U", "V"), draw=normal(U=(5, 2), V=(4, 2), M=(5, 4)))


@pytest.mark.parametrize(("thing", "says", "does_not_say"), [
    (Inverse(), "the inverse of what is done to a before W", "none of"),
    (Straight(), "what is done to a before W should be transposed", "none of"),
    (LeftOut(), "what is done to a before W is left out", "none of"),
    (OtherRows(), "rows(a) is not what W is multiplied by", "cached"),
    (Sparsemax(), "in all entries of a sample where σ(z) is not 0", "none of"),
    (Mish(), "it is that of the derivative, which is wrong", "right elsewhere"),
    (Poisson(), "value and transfer do not go together", "y alone"),
    (Focal(), "a weight that does so is held constant", "of its class"),
    (Unweighted(), "a weight of its class, or sample", "held constant"),
    (Absolute(), "weight_of_a_sample", "one output"),
    (FewNewton(), "for long steps τ alone", "one output"),
    (attention(), "wrong in K alone: it is off by the constant factor 1.73205", "transposed"),
    (after_a_step(), "wrong in V alone: it is taken at the new U", "transposed")],
    ids=lambda thing: getattr(type(thing), "__name__", None) if not isinstance(thing, str) else "")
def test_a_reason_says_what_is_planted(thing, says, does_not_say):
    said = reasons(ml.verify(thing))
    assert says in said
    assert does_not_say not in said


def test_the_maps_and_gradients_beside_them_are_right():
    assert ml.verify(Fixed()).passed


# ---- what is carried from row to row


def one_pass(rescaled, steps=3):
    """Attention in one pass over blocks of keys, with a running maximum."""
    def streamed(q, K, V):
        top, total, out = -np.inf, 0.0, np.zeros(V.shape[1])
        for k in range(0, len(K), steps):
            s = K[k : k + steps] @ q
            new = max(top, s.max())
            total = total * np.exp(top - new) + np.exp(s - new).sum()
            out = out * (np.exp(top - new) if rescaled else 1) + np.exp(s - new) @ V[k : k + steps]
            top = new
        return out / total

    return ml.Equal(streamed, lambda q, K, V: softmax(K @ q) @ V, draw=normal(q=3, K=(12, 3), V=(12, 2)))


def recursive_squares(late):
    """Least squares row by row, with the gain before the update of P, or after it."""
    def recursive(A, b, lam=0.5):
        P, w = np.eye(A.shape[1]) / lam, np.zeros(A.shape[1])
        for a, y in zip(A, b):
            new = P - np.outer(P @ a, P @ a) / (1 + a @ P @ a)
            P = new if late else P
            w, P = w + P @ a / (1 + a @ P @ a) * (y - a @ w), new
        return w

    return ml.Equal(recursive, lambda A, b, lam=0.5: np.linalg.solve(A.T @ A + lam * np.eye(A.shape[1]), A.T @ b),
                    draw=normal(A=(9, 4), b=9))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("claim", [one_pass(True), recursive_squares(False)])
def test_a_right_recursion_passes(claim, seed):
    assert ml.verify(claim, seed=seed).passed


@pytest.mark.parametrize(("claim", "names"), [(one_pass(False), "K and V"), (recursive_squares(True), "A and b")])
def test_a_recursion_that_depends_on_the_order_of_rows_says_so(claim, names):
    assert f"the order of the rows of {names}, the reference does not" in reasons(ml.verify(claim))
