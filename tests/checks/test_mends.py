"""What mends: for a planted mistake `verify` finds the edit of its code with which all claims hold."""

import ast
import contextlib
import copy
import doctest
import functools
import importlib
import io
import itertools
import linecache
import os
import shutil
import site
import sys
import textwrap

import numpy as np
import pytest
from told import draw, normal, ones, relu

import minilift as ml
from minilift import checks
from minilift.checks import mends
from minilift.checks.edits import Edit, edits_of
from minilift.checks.mends import Mend
from minilift.checks.report import NO_REASON


@pytest.fixture(autouse=True)
def _has_time(monkeypatch):
    """Let a search take its time: other work on the machine decides nothing."""
    monkeypatch.setattr(mends, "SECONDS", 90.0)
    monkeypatch.setattr(mends, "ONCE", 0.5)


# ---- mistakes of which a single edit is known


def damped(block, tau_theta=0.2):
    A = ones(block.a)
    if block.last:
        return A.T @ block.g
    return np.linalg.solve(A.T @ A + tau_theta * np.eye(A.shape[1], dtype=A.dtype), A.T @ block.g)


def damped_in_double(block, tau_theta=0.2):
    A = ones(block.a)
    if block.last:
        return A.T @ block.g
    return np.linalg.solve(A.T @ A + tau_theta * np.eye(A.shape[1]), A.T @ block.g)


def ridge(theta, a, z):
    return ((ones(a) @ theta - z) ** 2).sum() / 2 + 0.05 * (theta**2).sum()


def solved(a, z):
    A = ones(a)
    return np.linalg.solve(A.T @ A + 0.05 * np.eye(A.shape[1]), A.T @ z)


def soft_energy(z, v, lam):
    return lam * abs(z).sum() + ((z - v) ** 2).sum() / 2


def soft_wrong(v, lam):
    return np.sign(v) * np.maximum(abs(v) + lam, 0)


def helped(v, lam):
    return np.sign(v) * shrunk(v, lam)


def shrunk(v, lam):
    return np.minimum(abs(v) - lam, 0)


class Softsign(ml.Activation):
    def forward(self, z):
        return z / (1 + abs(z))

    def derivative(self, z):
        return 1 / (1 + abs(z))


class Scaled(ml.Linear):
    def adjoint_input(self, theta, g):
        return super().adjoint_input(theta, g) * 2


class Halved(ml.SquaredError):
    def gradient(self, z, y):
        return super().gradient(z, y) / len(z)


def made(weight):
    """Return a gradient that keeps a number of the function around it."""
    def gradient(z):
        return weight * z**2
    return gradient


@functools.lru_cache(maxsize=1)
def constant():
    return 5.0


def cached(z):
    return constant() * z**4


@functools.lru_cache(maxsize=1)
def constant_wrong():
    return 4.0


def cached_wrongly(z):
    return constant_wrong() * np.ones_like(z)


def power(x, n):
    return x**n


def stepwise(a):
    """A sum by a loop, of squares."""
    total, k = 0.0, 0
    while k <= len(a) - 2:
        total = total + a[k].sum() ** 2
        k += 1
    return total


def ranked(x):
    """The sum of all entries from each on, squared."""
    return (np.cumsum(x[::-1])[::-1] ** 2).sum() / 2


def ranked_slope(x):
    return np.cumsum(np.cumsum(x))


def soft(x, t):
    return np.sign(x) * np.maximum(abs(x) - t, 0)


def soft_rows(x, t):
    return x * np.maximum(1 - t / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-15), 0)


def sparse_group(X, V):
    return ((X - V) ** 2).sum() / 2 + 0.3 * abs(X).sum() + 0.5 * np.linalg.norm(X, axis=1).sum()


class Delayed(ml.Join):
    """Each second of a sample a step later."""

    def output_shape(self, shape):
        return shape

    def forward(self, theta, v):
        late = np.zeros_like(v)
        late[:, 1:] = v[:, :-1]
        return late

    def adjoint_inputs(self, theta, g, values):
        early = np.zeros_like(g)
        early[:, 1:] = g[:, :-1]
        return [early]


def shared_out(p, v, cap):
    """What is nearest to v of all between 0 and a cap that sum to half of it."""
    outside = np.any(p < -1e-10) or np.any(p > cap + 1e-10) or abs(p.sum() - cap.sum() / 2) > 1e-9
    return np.inf if outside else ((p - v) ** 2).sum()


def bisected(v, cap):
    def at(price):
        return np.maximum(v - price, 0)

    low, high = v.min() - cap.sum(), v.max()
    for _ in range(100):
        price = (low + high) / 2
        low, high = (price, high) if at(price).sum() > cap.sum() / 2 else (low, price)
    return np.minimum(at(price), cap)


class LogCosh(ml.Loss):
    """Its gradient forgets the mean; a 1/N would mend that, and make the one of the sum wrong."""

    def value_per_sample(self, z, y):
        return np.log(np.cosh(z - y)).sum(axis=-1)

    def gradient(self, z, y):
        return np.tanh(z - y)


def test_an_edit_that_is_wrong_for_the_other_reduction_is_no_mend():
    report = ml.verify(LogCosh())
    assert report.failures
    assert [mend.new for mend in report.mends] == ["return np.tanh(z - y) * self.weight(len(z))"]


def weight_of(a):
    return 1 / (1 + (a * a).sum(axis=1, keepdims=True))


def weighted(block, theta):
    fit = weight_of(block.a) * (block.phi.forward(theta, block.a) - block.z + block.g) ** 2
    return fit.sum() / 2 + ((theta - block.theta) ** 2).sum() / 2


def twice_weighted(block):
    A = ones(block.a)
    A, g = weight_of(block.a) * A, weight_of(block.a) * block.g
    return np.linalg.solve(A.T @ A + np.eye(A.shape[1], dtype=A.dtype), A.T @ g)


@pytest.mark.slow
def test_what_the_objective_calls_is_not_edited():
    report = ml.verify(twice_weighted, objective=weighted)
    assert report.failures
    assert not any("weight_of" in mend.function for mend in report.mends), lines_of(report)


def upwards(block):
    gradient = block.phi.adjoint_theta(block.a, block.g)
    return -gradient / (1 + np.sqrt((gradient**2).sum()))


def test_steps_of_which_nothing_is_said_may_be_turned_round():
    report = ml.verify(upwards)
    assert report.mends, report
    assert all("gradient" in mend.new for mend in report.mends)


def grouped(x, y):
    return (x.reshape(len(x), -1, 3).sum(axis=2) * y.reshape(len(y), -1, 3).sum(axis=2)).sum()


def in_groups(x, y):
    return sum((x[:, k : k + 2].sum(axis=1) * y[:, k : k + 2].sum(axis=1)).sum() for k in (0, 2, 4))


class Smoothed(ml.Join):
    """A moving average along time, whose adjoint runs the other way."""

    def output_shape(self, shape):
        return shape

    def averaged(self, v):
        state, kept = np.zeros_like(v[:, 0]), np.empty_like(v)
        for t in range(v.shape[1]):
            state = kept[:, t] = 0.7 * state + 0.3 * v[:, t]
        return kept

    def forward(self, theta, v):
        return self.averaged(v)

    def adjoint_inputs(self, theta, g, values):
        return [self.averaged(g)]


def returns(rewards, done):
    total, alive, kept = 0.0, 0.0, np.zeros(len(rewards))
    for t in reversed(range(len(rewards))):
        alive += 1 - done[t]
        kept[t] = total = rewards[t] + 0.9 * total
    return np.append(kept, alive)


def by_sums(rewards, done):
    n = len(rewards)
    kept = [sum(0.9 ** (k - t) * rewards[k] * (1 - done[t:k]).prod() for k in range(t, n)) for t in range(n)]
    return np.append(kept, n - done.sum())


def weighted_mean(w, x):
    return (w * x).sum() / len(w)


def cosine(x, c):
    return float(c @ x / np.linalg.norm(x))


def cosine_slope(x, c):
    unit = x / np.linalg.norm(x)
    return c / np.linalg.norm(x) + 0 * unit


def filtered(h, y):
    H = np.fft.fft(h)
    return np.real(np.fft.ifft(H * np.fft.fft(y)))


def correlated(h, y):
    n = len(h)
    return np.array([sum(h[k] * y[(k + i) % n] for k in range(n)) for i in range(n)])


NOISE = np.diag([1.0, 2.0, 3.0])


def spread(K):
    return K @ K.T


def scores(Q, K, G):
    return (G * (Q @ K.T / np.sqrt(Q.shape[1]))).sum()


def scores_slope(Q, K, G):
    return G @ K


def iterated(A, x):
    for _ in range(4):
        x_new = np.tanh(A @ x)
    return x_new


def four_times(A, x):
    return np.tanh(A @ np.tanh(A @ np.tanh(A @ np.tanh(A @ x))))


def mean_up_to_the_largest(v):
    k = int(np.argmax(v))
    return np.cumsum(v)[k] / max(k, 1)


def shrunk_with_bias(theta):
    new = 2 * theta
    new = np.sign(new) * np.maximum(abs(new) - 0.3, 0)
    return new


def shrunk_weights(theta):
    return np.vstack([np.sign(theta[:-1]) * np.maximum(2 * abs(theta[:-1]) - 0.3, 0), 2 * theta[-1:]])


class OfWrongVariable(ml.Tanh):
    def adjoint(self, z, a, aux, g):
        return g * (1 - z * z)


class PerSample(ml.Join):
    """The mean of what it is given, whose adjoint divides by the number of names."""

    sources = ("x", "y")

    def output_shape(self, *shapes):
        return shapes[0]

    def forward(self, theta, *values):
        return sum(values) / len(values)

    def adjoint_inputs(self, theta, g, values):
        return [g / len(self.sources) for _ in values]


class Backwards(ml.Join):
    """What it is given, in reverse order along time."""

    def output_shape(self, shape):
        if len(shape) < 2:
            raise ValueError(f"Backwards: expected samples of shape (time, channels), got {shape}")
        return shape

    def forward(self, theta, v):
        return v[:, ::-1]

    def adjoint_inputs(self, theta, g, values):
        return [g[::-1]]


LINKS = np.array([[0, 1], [0, 2], [1, 2], [2, 3]])


def stretched(x):
    return ((x[LINKS[:, 1]] - x[LINKS[:, 0]]) ** 2).sum() / 2


def forces(x):
    d, grad = x[LINKS[:, 1]] - x[LINKS[:, 0]], np.zeros_like(x)
    grad[LINKS[:, 0]] -= d
    grad[LINKS[:, 1]] += d
    return grad


def smoothed_levels(sales):
    level = np.zeros_like(sales)
    level[0] = sales[0]
    for t in range(1, len(sales)):
        level[t] = 0.3 * sales[t] + 0.7 * level[t - 1]
    return level


def by_weights(sales):
    n = len(sales)
    return np.array([0.7**t * sales[0] + sum(0.3 * 0.7 ** (t - k) * sales[k] for k in range(1, t + 1))
                     for t in range(n)])


def reflected(a, k):
    for i in range(len(a)):
        a[i] = a[i] - k * a[len(a) - 1 - i]
    return a


def all_at_once(a, k):
    return a - k * a[::-1]


def spent(p, share, sigma):
    return (share**sigma * p ** (1 - sigma)).sum() / (1 - sigma)


def demand(p, share, sigma):
    return share * p ** (-sigma)


def recursion(gaps):
    state = 0.0
    for gap in gaps:
        state = 1 + np.exp(-gap) * state
    return state


def double_sum(gaps):
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    return np.exp(-(times[-1] - times[:-1])).sum()


def hinge(w, old, x, y, cost):
    return ((w - old) ** 2).sum() / 2 + cost * max(0.0, 1 - y * (w @ x))


def passive_aggressive(old, x, y, cost):
    tau = min(cost, max(0.0, 1 - y * (old @ x)) / np.linalg.norm(x))
    return old + tau * y * x


def draw_sample(rng):
    return {"w": np.zeros(4), "old": 0.3 * rng.standard_normal(4), "x": rng.standard_normal(4),
            "y": rng.choice([-1.0, 1.0]), "cost": rng.uniform(0.3, 3.0)}


LASSO, RHO, STEP, SHARE, ONE, LINK = 0.5, 2.0, 0.2, 0.05, 1.0, 1.5


def augmented(x, z, u, A, b):
    gap = x - z
    return ((A @ x - b) ** 2).sum() / 2 + LASSO * abs(z).sum() + RHO * (u * gap).sum() + RHO / 2 * (gap**2).sum()


def alternating(z, u, A, b):
    x = np.linalg.solve(A.T @ A + RHO * np.eye(len(z)), A.T @ b + RHO * (z - u))
    z = soft(x + u, LASSO)  # RHO is missing
    return {"x": x, "z": z, "u": u + x - z}


def elastic_net(w, X, y):
    return ((X @ w - y) ** 2).sum() / 2 + LASSO * abs(w).sum() + RHO / 2 * (w**2).sum()


def one_by_one(w, X, y):
    w = w.copy()
    for j, x in enumerate(X.T):
        rest = y - X @ w + x * w[j]
        w[j] = soft(x @ rest / (x @ x + RHO), LASSO)  # divided before the threshold
    return {"w": w}


class Thresholded(ml.Method):
    descends_on_loss = False

    def propose(self, block):
        new = block.theta - STEP * block.phi.adjoint_theta(block.a, block.g)  # without its second half it is θ itself
        W = new[:-1]
        new[:-1] = np.sign(W) * np.maximum(abs(W) - SHARE, 0)  # STEP is missing
        return block.theta - new


def thresholded(block, theta):
    change, gradient = theta - block.theta, block.phi.adjoint_theta(block.a, block.g)
    return (gradient * change).sum() + (change**2).sum() / (2 * STEP) + SHARE * abs(theta[:-1]).sum()


class Counts(ml.Loss):
    class Rate(ml.Activation):
        range = (0.0, np.inf)

        def forward(self, z):
            return np.exp(z)

        def derivative(self, z):
            return np.exp(z)

    transfer = Rate()

    def value_per_sample(self, z, y):
        return (np.exp(z) - y * z).mean(axis=-1)  # its transfer says that it is a sum


class Remembering(ml.Method):
    def __init__(self):
        self.inverse = {}

    def reset(self):
        self.inverse = {}

    def propose(self, block):
        gradient = block.phi.adjoint_theta(block.a, block.g)
        A = np.c_[block.phi.rows(block.a), np.ones((len(block.phi.rows(block.a)), 1), block.a.dtype)]
        if block.k not in self.inverse:
            self.inverse[block.k] = np.linalg.inv(A.T @ A + np.eye(len(gradient), dtype=A.dtype) / 0.4)
        return gradient if block.last else self.inverse[block.k] @ gradient


class Velocity(ml.Method):
    def __init__(self):
        self.v = {}

    def propose(self, block):
        v = self.v.setdefault(block.k, np.zeros_like(block.theta))
        v *= 0.8
        v += block.phi.adjoint_theta(block.a, block.g)
        return v.copy()

    def reset(self):
        self.v = {}

    def state_dict(self):
        return {str(k): v for k, v in self.v.items()}  # live arrays

    def load_state_dict(self, values):
        self.v = {int(k): np.array(v) for k, v in values.items()}


class NewVelocity(Velocity):
    def propose(self, block):
        self.v = {**self.v, block.k: 0.8 * self.v.get(block.k, 0) + block.phi.adjoint_theta(block.a, block.g)}
        return self.v[block.k].copy()


def pendulum(q):
    return ((np.diff(q) / 0.3) ** 2).sum() / 2 + 0.3 * np.cos(q[:-1]).sum()


def pendulum_slope(q):
    out, v = np.zeros_like(q), np.diff(q) / 0.09
    out[:-1] -= v
    out[1:] += v
    out -= 0.3 * np.sin(q)  # the last entry, too
    return out


def simpson(c):
    w = np.ones(9)
    w[1::2] = 4
    w[2::2] = 2  # the last one, too
    return (w * np.polyval(c, np.linspace(0, 1, 9))).sum() / 24


def decayed(theta):
    d = theta.copy()
    d *= 0.9  # the last row, too
    return d


def saturated(z):
    return np.where(abs(z) < 2.75, z, 2.57 * np.sign(z))


def penalised(z, a, phi):
    return ((np.maximum(z, 0) - a) ** 2).sum() + RHO * ((z - phi) ** 2).sum()


def either_side(z, a, phi):
    up, down = np.maximum((a + RHO * phi) / (1 + RHO), 0), np.minimum(phi, 0)
    cost_up = (up - a) ** 2 + RHO * (up - phi) ** 2
    cost_down = RHO * (down - phi) ** 2  # a² is missing
    return np.where(cost_up < cost_down, up, down)


class Tokenwise(ml.Map):
    """One small map for each of three pairs of inputs."""

    n_in, theta_shape = 6, (3, 4)

    def output_shape(self, input_shape):
        return (12,)

    def initial_theta(self, rng):
        return rng.standard_normal((3, 4))

    def rows(self, a):
        return a.reshape(-1, 2)

    def columns(self, z):
        return z.reshape(-1, 4)

    def forward(self, theta, a):
        return (self.rows(a) @ theta[:-1]).reshape(len(a), -1) + np.repeat(theta[-1], 3)  # of which tiles are due

    def adjoint_input(self, theta, g):
        return (self.columns(g) @ theta[:-1].T).reshape(len(g), -1)

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ self.columns(g), self.columns(g).sum(axis=0)])


class Projected(ml.Map):
    """A map of a few random sums of the inputs, divided by the root of their number, which happens to be 2."""

    takes_vectors = True

    def __init__(self, n_in, few, n_out):
        self.n_in, self.few, self.theta_shape = n_in, few, (few + 1, n_out)
        self.P = np.where(np.random.default_rng(1).random((n_in, few)) < 0.5, -1.0, 1.0)

    def initial_theta(self, rng):
        return rng.standard_normal(self.theta_shape)

    def rows(self, a):
        return a @ self.P.astype(a.dtype)  # not divided

    def forward(self, theta, a):
        return a @ self.P.astype(a.dtype) / self.few**0.5 @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T @ self.P.T.astype(g.dtype) / self.few**0.5

    def adjoint_theta(self, a, g):
        return np.vstack([self.P.T.astype(a.dtype) @ a.T @ g / self.few**0.5, g.sum(axis=0)])


def rated(x):
    return LINK / RHO * x * x  # the ratio is due twice


def waves(rng):
    return rng.standard_normal(4) + 1j * rng.standard_normal(4)


def interfering(u, v):
    return np.real(complex(1) * u @ v)


def clipped(x, q):
    return np.clip(x, -q, 1 - q)  # to be −(1 − q) and q


def alike(w, X, y):
    return ((X @ w - y) ** 2).sum() / 2 + SHARE * (w**2).sum()


def in_turn(w, X, y):
    w, rest = w.copy(), y - X @ w
    for j, x in enumerate(X.T):
        best = x @ (rest + x * w[j]) / (x @ x + 2 * SHARE)
        w[j] = best
        rest = rest + x * (w[j] - best)  # which is 0
    return {"w": w}


def almost_alike(rng):
    return {"w": rng.standard_normal(4), "X": rng.standard_normal((12, 1)) + 0.5 * rng.standard_normal((12, 4)),
            "y": rng.standard_normal(12)}


class Shuffled(ml.Linear):
    """Its inputs are put in another order; back, they are put in it once more."""

    order = np.array([1, 2, 3, 0])

    def rows(self, a):
        return super().rows(a[:, self.order])

    def forward(self, theta, a):
        return super().forward(theta, a[:, self.order])

    def adjoint_theta(self, a, g):
        return super().adjoint_theta(a[:, self.order], g)

    def adjoint_input(self, theta, g):
        return super().adjoint_input(theta, g)[:, self.order]


def ratios(x):
    total = 0.0
    size = abs(x).sum()
    for _ in range(3):
        x = np.cumsum(x) / 2
        new = abs(x).sum()
        total = total + new / size
    return total


def ratios_right(x):
    sizes = [abs(x).sum()]
    for _ in range(3):
        x = np.cumsum(x) / 2
        sizes.append(abs(x).sum())
    return sum(later / before for before, later in itertools.pairwise(sizes))


CUBE = draw(z=normal(4))
CUBE_OF_A = draw(a=normal(4))
def along_depth(P, seen):
    x, y, z = P.T
    u, v = 1.8 * x / z, 1.8 * y / z
    return -(((u - seen[0]) * x + (v - seen[1]) * y) / z).sum()


def pooled(m1, m2, n1, n2, w1, w2):
    return (n1 * m1 + n2 * m2) / (n1 + n2)


def same_part(x, k):
    full = np.convolve(x, k)
    start = len(k) // 2
    return full[start : start + len(x)]


def same_part_reference(x, k):
    return np.convolve(x, k, mode="same")


MENDED = {
    "two names that were set together": (
        ml.Gradient(lambda t, P, seen: ((1.8 * P[:, :2] / (P[:, 2:] + t) - seen) ** 2).sum() / 2,
                    lambda t, P, seen: along_depth(P + np.array([0, 0, t]), seen.T), "t", lambda rng: {
                        "t": rng.uniform(0, 1), "P": rng.uniform(1, 2, (5, 3)), "seen": rng.standard_normal((5, 2))}),
        {}, "(u - seen[0]) * u + (v - seen[1]) * v", "along_depth"),
    "two names that differ in a digit": (
        ml.Equal(pooled, lambda m1, m2, n1, n2, w1, w2: (w1 * m1 + w2 * m2) / (w1 + w2), draw=lambda rng: dict(zip(
            ("m1", "m2", "n1", "n2", "w1", "w2"), rng.uniform(1, 2, (6, 3))))), {}, "w1 * m1 + w2 * m2", "pooled"),
    "the middle of an even number": (
        ml.Equal(same_part, same_part_reference, draw=lambda rng: {
            "x": rng.standard_normal(11), "k": rng.standard_normal(4)}), {}, "start = (len(k) - 1) // 2", "same_part"),
    "the damping": (damped, {"like": ml.ProxProp(tau_theta=0.2)}, "1 / tau_theta", "damped"),
    "a constant": (ml.Argmin(ridge, solved, block="theta"), {}, "0.1 * np.eye", "solved"),
    "a sign": (ml.Argmin(soft_energy, soft_wrong, block="z"), {}, "abs(v) - lam", "soft_wrong"),
    "in a helper": (ml.Argmin(soft_energy, helped, block="z"), {}, "np.maximum(abs(v) - lam, 0)", "shrunk"),
    "a power in a method": (Softsign(), {}, "** 2", "Softsign.derivative"),
    "beside super()": (Scaled(3, 2), {}, "return super().adjoint_input(theta, g)", "Scaled.adjoint_input"),
    "of a loss": (Halved(), {}, "return super().gradient(z, y)", "Halved.gradient"),
    "of a lambda": (ml.Gradient(lambda z: (z**3).sum(), lambda z: 3 * z, block="z", draw=CUBE), {}, "z ** 2",
                    "<lambda>"),
    "in a function in a function": (ml.Gradient(lambda z: (z**3).sum() / 3, made(-1.0), block="z", draw=CUBE), {},
                                    "return z ** 2", "gradient"),
    "of a decorated one": (ml.Gradient(lambda z: (z**5).sum(), cached, block="z", draw=CUBE), {}, None, None),
    "below a decorator": (ml.Gradient(lambda z: 5 * z.sum(), cached_wrongly, block="z", draw=CUBE), {}, "5.0",
                          "constant_wrong"),
    "of a partial": (ml.Equal(functools.partial(power, n=3), lambda x: x * x * x * x, draw=draw(x=normal(3))), {},
                     "x", "power"),
    "a running sum from the other end": (ml.Gradient(ranked, ranked_slope, "x", draw(x=normal(5))), {}, "[::-1])[::-1]",
                                         "ranked_slope"),
    "one after the other": (ml.Argmin(sparse_group, lambda V: soft(soft_rows(V, 0.5), 0.3), "X",
                                      draw(X=normal(6, 3), V=normal(6, 3))), {}, "soft_rows(soft(V, 0.3), 0.5)",
                            "<lambda>"),
    "a variable taken twice": (OfWrongVariable(), {}, "a, everywhere", "OfWrongVariable.adjoint"),
    "a letter of an einsum": (ml.Equal(lambda A, B: np.einsum("ij,kjl->ikl", A, B), lambda A, B: np.tensordot(
        A, B, (1, 0)), draw=draw(A=normal(3, 3), B=normal(3, 3, 3))), {}, "'ij,jkl->ikl'", "<lambda>"),
    "off by one name": (PerSample(), {}, "g / len(values)", "PerSample.adjoint_inputs"),
    "along the other axis": (Backwards(), {}, "g[:, ::-1]", "Backwards.adjoint_inputs"),
    "an index that comes twice": (ml.Gradient(stretched, forces, "x", draw(x=normal(4, 2))), {}, "np.add.at", "forces"),
    "whole numbers kept": (ml.Equal(smoothed_levels, by_weights, draw=draw(sales=lambda rng: rng.integers(0, 50, 6))),
                           {}, "np.zeros_like(sales, dtype=float)", "smoothed_levels"),
    "what a loop has changed": (ml.Equal(lambda a, k: reflected(a.copy(), k), all_at_once, draw=draw(
        a=normal(5), k=lambda rng: rng.uniform(0.1, 0.9))), {}, "a as it was where this loop begins", "reflected"),
    "a power that stands elsewhere": (ml.Gradient(spent, demand, "p", lambda rng: {
        "p": rng.uniform(0.5, 2, 4), "share": rng.uniform(0.1, 1, 4), "sigma": rng.uniform(1.5, 4)}), {},
        "share ** sigma", "demand"),
    "brackets the other way": (ml.Equal(recursion, double_sum, draw=draw(gaps=lambda rng: rng.uniform(0.2, 2, 5))), {},
                               "np.exp(-gap) * (1 + state)", "recursion"),
    "a norm of a sample with a sign": (ml.Argmin(hinge, passive_aggressive, "w", draw_sample), {},
                                       "np.linalg.norm(x) ** 2", "passive_aggressive"),
    "a shift the other way": (Delayed(), {}, "early[:, :-1] = g[:, 1:]", "Delayed.adjoint_inputs"),
    "a bound in time": (ml.Argmin(shared_out, bisected, "p", lambda rng: {
        "p": np.full(5, 0.5), "v": rng.standard_normal(5), "cap": np.ones(5)}), {}, "np.minimum(", "bisected"),
    "a ratio turned over": (ml.Equal(lambda d, m, n: d**2 * (m + n) / (m * n), lambda d, m, n: d**2 / (1 / m + 1 / n),
                                     draw=lambda rng: dict(zip("dmn", map(float, rng.uniform(1, 4, 3))))), {},
                            "* (m * n) / (m + n)", "<lambda>"),
    "arguments exchanged": (ml.Equal(grouped, in_groups, draw=draw(x=normal(3, 6), y=normal(3, 6))), {},
                            "reshape(_, y, x), everywhere", "grouped"),
    "an average from the other end": (Smoothed(), {}, "self.averaged(g[:, ::-1])[:, ::-1]", "Smoothed.adjoint_inputs"),
    "a sum for a length": (ml.Equal(weighted_mean, lambda w, x: np.average(x, weights=w), draw=lambda rng: {
        "w": rng.uniform(1, 2, 5), "x": rng.normal(size=5)}), {}, "w.sum()", "weighted_mean"),
    "a factor that stands elsewhere": (ml.Equal(returns, by_sums, draw=lambda rng: {
        "rewards": rng.normal(size=8), "done": np.eye(8)[2] + np.eye(8)[5]}), {}, "* (1 - done[t])", "returns"),
    "an argument that is not read": (ml.Equal(lambda x, b: np.exp(x).sum(), lambda x, b: b @ np.exp(x), draw=draw(
        x=normal(4), b=normal(4))), {}, "(np.exp(x) * b).sum()", "<lambda>"),
    "a part projected out": (ml.Gradient(cosine, cosine_slope, "x", draw(x=normal(5), c=normal(5))), {}, "- unit * (",
                             "cosine_slope"),
    "of complex numbers": (ml.Equal(filtered, correlated, draw=draw(h=normal(6), y=normal(6))), {}, "np.conj(",
                           "filtered"),
    "a term in brackets": (ml.Equal(lambda A, Z, b: 2 * A.T @ Z, lambda A, Z, b: 2 * A.T @ (Z - b), draw=draw(
        A=normal(5, 3), Z=normal(5, 4), b=normal(4))), {}, "2 * A.T @ (Z - b)", "<lambda>"),
    "one of two transposes": (ml.Gradient(lambda x, P: x @ P @ x, lambda x, P: P @ x, "x", draw(
        x=normal(4), P=normal(4, 4))), {}, "(P + P.T) @ x", "<lambda>"),
    "a matrix in the middle": (ml.Equal(lambda K, R: K @ K.T, lambda K, R: np.einsum("ij,jk,lk->il", K, R, K),
                                        draw=draw(K=normal(4, 3), R=normal(3, 3))), {}, "K @ R @ K.T", "<lambda>"),
    "an inverse for a transpose": (ml.Equal(lambda U, g: np.linalg.pinv(U) @ g, lambda U, g: np.einsum(
        "ij,i->j", U, g), draw=draw(U=normal(4, 3), g=normal(4))), {}, "U.T @ g", "<lambda>"),
    "along rows, not columns": (ml.Equal(lambda U, s: U @ (s * U.T), lambda U, s: U @ np.diag(s) @ U.T, draw=draw(
        U=normal(4, 4), s=normal(4))), {}, "s[:, None]", "<lambda>"),
    "one more": (ml.Equal(mean_up_to_the_largest, lambda v: np.cumsum(v)[np.argmax(v)] / (1 + np.argmax(v)), draw=draw(
        v=normal(6))), {}, "(k + 1)", "mean_up_to_the_largest"),
    "a rule for powers": (ml.Gradient(lambda x, k: (x + k * x**3).sum(), lambda x, k: 1 + k * x**2, "x", lambda rng: {
        "x": rng.standard_normal(4), "k": rng.uniform(0.1, 1)}), {}, "3 * (k * x ** 2)", "<lambda>"),
    "an array of the module": (ml.Equal(spread, lambda K: np.einsum("ij,j,lj->il", K, np.arange(1.0, 4.0), K),
                                        draw=draw(K=normal(4, 3))), {}, "K @ NOISE @ K.T", "spread"),
    "a root that stands elsewhere": (ml.Gradient(scores, scores_slope, "Q", draw(
        Q=normal(4, 3), K=normal(5, 3), G=normal(4, 5))), {}, "/ np.sqrt(Q.shape[1])", "scores_slope"),
    "a name that is not renewed": (ml.Equal(iterated, four_times, draw=draw(A=normal(3, 3), x=normal(3))), {},
                                   "; x = x_new", "iterated"),
    "the bias too": (ml.Equal(shrunk_with_bias, shrunk_weights, draw=draw(theta=normal(4, 3))), {},
                     "new[:-1] = ", "shrunk_with_bias"),
    "a loop that ends early": (ml.Equal(stepwise, lambda a: (a.sum(axis=1) ** 2).sum()), {}, "k", "stepwise"),
    "a threshold in a sweep": (ml.Decreases(augmented, alternating, descends=False, draw=draw(
        x=normal(4), z=normal(4), u=normal(4), A=normal(8, 4), b=normal(8))), {}, "soft(x + u, LASSO / RHO)",
                               "alternating"),
    "divided before a threshold": (ml.Decreases(elastic_net, one_by_one, draw=draw(
        w=normal(4), X=normal(9, 4), y=normal(9))), {}, "soft(x @ rest, LASSO) / (x @ x + RHO)", "one_by_one"),
    "after an edit that writes into θ": (Thresholded(), {"objective": thresholded}, "SHARE * STEP",
                                         "Thresholded.propose"),
    "a value, of which the gradient is not made": (Counts(), {}, ".sum(axis=-1)", "Counts.value_per_sample"),
    "a stale look-up": (Remembering(), {"like": ml.ProxProp(tau_theta=0.4)}, "if True:", "Remembering.propose"),
    "live arrays, of a base class": (Velocity(), {"like": NewVelocity()}, "v.copy() for", "Velocity.state_dict"),
    "cuts on both sides": (ml.Gradient(pendulum, pendulum_slope, "q", draw(q=normal(8))), {},
                           "out[:-1] -= 0.3 * np.sin(q[:-1])", "pendulum_slope"),
    "a number that stands elsewhere": (ml.Equal(saturated, lambda z: np.clip(z, -2.75, 2.75), draw=draw(
        z=lambda rng: 3 * rng.standard_normal(40))), {}, "2.75 * np.sign(z)", "saturated"),
    "one of two parts": (ml.Equal(lambda a, g: np.vstack([a.T @ g, g.sum(axis=0)]) / 3.0, lambda a, g: np.vstack(
        [a.T @ g / 3.0, g.sum(axis=0)]), draw=draw(a=normal(5, 2), g=normal(5, 3))), {}, "a.T @ g / 3.0, g",
                         "<lambda>"),
    "added before the product": (ml.Equal(lambda B, P, A, x, w: B.T @ P @ A @ x, lambda B, P, A, x, w: B.T @ P @ (
        A @ x + w), draw=draw(B=normal(3, 2), P=normal(3, 3), A=normal(3, 3), x=normal(3), w=normal(3))), {},
                                 "(A @ x + w)", "<lambda>"),
    "a mean over a mask": (ml.Equal(lambda g, s: (g * s).mean(axis=-1, keepdims=True), lambda g, s: (
        g * s).sum(axis=-1, keepdims=True) / s.sum(axis=-1, keepdims=True), draw=lambda rng: {
            "g": rng.standard_normal((4, 5)), "s": np.tri(4, 5)}), {}, "/ s.sum(axis=-1, keepdims=True)", "<lambda>"),
    "parts that alternate": (ml.Equal(lambda g: np.split(g, 2, axis=1), lambda g: [g[:, ::2], g[:, 1::2]], draw=draw(
        g=normal(3, 6))), {}, "for _k in range(2)", "<lambda>"),
    "halves that alternate": (ml.Equal(lambda g: [g[..., :3], g[..., 3:]], lambda g: np.split(g[:, [0, 2, 4, 1, 3, 5]],
                                                                                          2, axis=1),
                                       draw=draw(g=normal(3, 6))), {}, "[g[..., ::2], g[..., 1::2]]", "<lambda>"),
    "entries for rows": (ml.Equal(lambda X: (X * X).sum() / len(X), lambda X: np.mean(X * X), draw=draw(
        X=normal(5, 3))), {}, "X.size", "<lambda>"),
    "a sign for a mask": (ml.Equal(lambda a: (a != 0) * a**2, lambda a: a * abs(a), draw=CUBE_OF_A), {}, "np.sign(a)",
                          "<lambda>"),
    "the other axis, which stays": (ml.Equal(lambda C: C / C.sum(axis=0), lambda C: np.einsum(
        "ij,i->ij", C, 1 / np.einsum("ij->i", C)), draw=lambda rng: {"C": rng.uniform(0.1, 1, (4, 4))}), {},
                                    "axis=1, keepdims=True", "<lambda>"),
    "squares of the factors": (ml.Equal(lambda A, s: (A.T @ s) ** 2, lambda A, s: np.einsum("ni,nj->ij", A * A, s * s),
                                        draw=draw(A=normal(6, 2), s=normal(6, 3))), {}, "A.T ** 2 @ s ** 2",
                               "<lambda>"),
    "nothing for the bias": (ml.Equal(lambda X: X.T @ X + 0.4 * np.eye(X.shape[1]), lambda X: X.T @ X + np.diag(
        [0.4, 0.4, 0.0]), draw=draw(X=normal(6, 3))), {}, "+ [0.0]", "<lambda>"),
    "a term on one side of a kink": (ml.Argmin(penalised, either_side, "z", draw(
        z=normal(6, 3), a=normal(6, 3), phi=normal(6, 3))), {}, "+ a ** 2", "either_side"),
    "every other one, but not the last": (ml.Equal(simpson, lambda c: np.polyval(np.polyint(c), 1.0), draw=draw(
        c=normal(4))), {}, "w[2:-1:2] = 2", "simpson"),
    "a cut of what is changed": (ml.Equal(decayed, lambda theta: np.vstack([0.9 * theta[:-1], theta[-1:]]), draw=draw(
        theta=normal(4, 2))), {}, "d[:-1] *= 0.9", "decayed"),
    "repeated one by one, not as a whole": (ml.Equal(lambda b: np.repeat(b, 3), lambda b: np.concatenate([b, b, b]),
                                                     draw=draw(b=normal(4))), {}, "np.tile(b, 3)", "<lambda>"),
    "a setting squared": (ml.Equal(lambda r: r / (3.0 + r * r), lambda r: r / (3.0 * RHO * RHO + r * r), draw=draw(
        r=normal(5))), {}, "RHO ** 2", "<lambda>"),
    "what defines a map, against all the rest": (Tokenwise(), {}, "np.tile(theta[-1], 3)", "Tokenwise.forward"),
    "the root of a number, not what it is here": (Projected(6, 4, 3), {}, "/ self.few ** 0.5", "Projected.rows"),
    "a sweep that goes on to a minimum": (ml.Decreases(alike, in_turn, draw=almost_alike), {},
                                          "rest = rest + x * (w[j] - best); w[j] = best", "in_turn"),
    "the sum of a matrix and its transpose": (ml.Gradient(lambda x, P: x @ P @ x / 2, lambda x, P: P @ x, "x", draw(
        x=normal(4), P=normal(4, 4))), {}, "(P + P.T) / 2", "<lambda>"),
    "a weighted sum of rows": (ml.Equal(lambda d, p: p.sum(axis=0) - d, lambda d, p: np.einsum("i,ij->j", d, p) - d,
                                        draw=draw(d=normal(4), p=normal(4, 4))), {}, "d @ p - d", "<lambda>"),
    "a share and its complement": (ml.Equal(clipped, lambda x, q: np.minimum(np.maximum(x, q - 1), q), draw=lambda r: {
        "x": r.normal(size=9), "q": r.uniform(0.6, 0.9)}), {}, "1 - q … q", "clipped"),
    "an index that is one too large": (ml.Equal(lambda v: [v[k] * v[k] for k in range(1, 4)], lambda v: (
        v[:3] * v[1:4]).tolist(), draw=draw(v=normal(5))), {}, "v[k - 1]", "<lambda>"),
    "a conjugate, without a transform": (ml.Equal(interfering, lambda u, v: np.vdot(u, v).real, draw=draw(
        u=waves, v=waves)), {}, "np.conj(", "interfering"),
    "a ratio that stands elsewhere": (ml.Equal(rated, lambda x: x * x * (LINK / RHO) ** 2, draw=draw(x=normal(5))), {},
                                      "* (LINK / RHO)", "rated"),
    "the bias of a change": (ml.Equal(lambda X, d: abs(X @ d[:-1]).sum(), lambda X, d: abs(ones(X) @ d).sum(),
                                      draw=draw(X=normal(6, 3), d=normal(4, 2))), {}, "X @ d[:-1] + d[-1]", "<lambda>"),
    "an inverse of what is made here": (ml.Equal(lambda g, U: g @ np.linalg.pinv(np.cos(U)), lambda g, U: np.einsum(
        "i,ji->j", g, np.cos(U)), draw=draw(g=normal(3), U=normal(4, 3))), {}, "np.cos(U).T", "<lambda>"),
    "a count of rows that is not read": (ml.Equal(lambda X, n: X * X, lambda X, n: np.einsum("ij,i->ij", X * X, 1 / n),
                                                  draw=draw(X=normal(4, 3), n=lambda rng: rng.uniform(1, 3, 4))), {},
                                         "/ n[:, None]", "<lambda>"),
    "counted from 0": (ml.Equal(lambda T: [1 - t / T for t in range(1, T + 1)], lambda T: np.linspace(1, 0, T + 1)[
        :-1].tolist(), draw=lambda rng: {"T": int(rng.integers(2, 9))}), {}, "for t in range(T)", "<lambda>"),
    "a product in another order": (ml.Equal(lambda Q, w: Q @ (w[:, None] ** 0.5) * Q.T, lambda Q, w: np.einsum(
        "ij,j,kj->ik", Q, w**0.5, Q), draw=draw(Q=normal(3, 3), w=lambda rng: rng.uniform(1, 2, 3))), {},
                                   "Q @ (w[:, None] ** 0.5 * Q.T)", "<lambda>"),
    "a column for a row": (ml.Equal(lambda V, w: V[np.argmin(w)], lambda V, w: np.einsum("ij,j->i", V, 1.0 * (
        w == w.min())), draw=draw(V=normal(4, 4), w=normal(4))), {}, "V[:, np.argmin(w)]", "<lambda>"),
    "back in place": (Shuffled(4, 3), {}, "[:, np.argsort(self.order)]", "Shuffled.adjoint_input"),
    "a sum for the largest": (ml.Equal(lambda x: x.max(axis=1), lambda x: np.einsum("ij->i", x), draw=draw(
        x=normal(4, 3))), {}, "x.sum(axis=1)", "<lambda>"),
    "sums of rows beside those of columns": (ml.Equal(lambda X: X.sum(axis=1) + X.sum(axis=0), lambda X: np.add.outer(
        np.einsum("ij->i", X), np.einsum("ij->j", X)), draw=draw(X=normal(4, 4))), {}, "axis=1, keepdims=True",
                                             "<lambda>"),
    "what a loop does not renew": (ml.Equal(ratios, ratios_right, draw=draw(x=normal(4))), {}, "; size = new",
                                   "ratios"),
    "axes laid out in another order": (ml.Equal(lambda v: v.reshape(3, 2), lambda v: v.reshape(2, 3).T, draw=draw(
        v=normal(6))), {}, "reshape(2, 3).swapaxes(0, 1)", "<lambda>"),
}


def stale(b, X, y):
    b, rest = b.copy(), y - X @ b
    for j, x in enumerate(X.T):
        size = x @ x / len(y)
        b[j] = (x @ rest / len(y) + size * b[j]) / (size + SHARE)
    return {"b": b}


def test_shorter_steps_are_no_mend_of_a_residual_that_is_stale():
    """With size · len(y), say, the sweep descends, too, but hardly moves."""
    claim = ml.Decreases(lambda b, X, y: ((y - X @ b) ** 2).sum() / 2 / len(y) + SHARE / 2 * (b**2).sum(), stale,
                         lambda rng: {"b": rng.standard_normal(4), "y": rng.standard_normal(10),
                                      "X": rng.standard_normal((10, 1)) + 0.6 * rng.standard_normal((10, 4))})
    report = ml.verify(claim)
    assert "Jacobi" in report.failures[0].reason
    assert not [mend.new for mend in report.mends if "size" in mend.new]


def flow(theta, B):
    return B @ np.cos(theta) - theta**2 @ B


def test_what_is_given_is_not_clipped():
    """A matrix whose diagonal alone is negative would be without it."""
    def given(rng):
        return {"theta": rng.standard_normal(4), "B": rng.uniform(1, 2, (4, 4)) - 6 * np.eye(4)}

    claim = ml.Equal(lambda theta, B: flow(theta, B), lambda theta, B: flow(theta, np.maximum(B, 0)), given)
    assert not ml.verify(claim).mends


def test_an_edit_keeps_the_words_of_its_author():
    """Quotes, brackets and spaces stay, also where other edits moved that part of the code before."""
    def parts(x):
        return [ "half" and x/3,(x) ]

    report = ml.verify(ml.Equal(parts, lambda x: [x / 2, x], draw=draw(x=normal(3))))
    assert [(mend.old, mend.new) for mend in report.mends] == [
        ('return [ "half" and x/3,(x) ]', 'return [ "half" and x/2,(x) ]')]


def bracketed(x, n):
    return x / (len(x) + n)


def test_brackets_go_with_what_stands_in_them():
    report = ml.verify(ml.Equal(bracketed, lambda x, n: x / len(x), draw=lambda rng: {
        "x": rng.standard_normal(3 + int(rng.integers(4))), "n": 1.0}))
    assert "return x / len(x)" in [mend.new for mend in report.mends]


def without_link(x, z, u, A, b):
    x = np.linalg.solve(A.T @ A + RHO * np.eye(len(z)), A.T @ b + RHO * z - u)  # u is scaled: RHO * (z - u)
    z = RHO * (x + u) / (SHARE + RHO)
    return {"x": x, "z": z, "u": u + x - z}


def test_edits_of_a_sweep_that_need_not_descend_are_said_to_be_about_points_of_rest():
    claim = ml.Decreases(lambda x, z, u, A, b: ((A @ x - b) ** 2).sum() / 2 + SHARE / 2 * (z**2).sum() + RHO * u @ (
        x - z) + RHO / 2 * ((x - z) ** 2).sum(), without_link, draw(
            x=normal(3), z=normal(3), u=normal(3), A=normal(6, 3), b=normal(6)), descends=False)
    assert "about where sweeps rest" in str(ml.verify(claim))


def lines_of(report):
    return "\n".join(map(str, report.mends))


@pytest.mark.parametrize("name", [name for name, item in MENDED.items() if item[2]])
def test_the_edit_is_found(name):
    thing, options, new, where = MENDED[name]
    if where == "<lambda>" and sys.version_info < (3, 11):
        pytest.skip("Python 3.10 does not say which of several lambdas in one line is meant")
    report = ml.verify(thing, **options)
    assert report.failures
    assert any(new in mend.new and mend.function.endswith(where) for mend in report.mends), lines_of(report)


@pytest.mark.parametrize("name", [name for name, item in MENDED.items() if not item[2]])
def test_right_things_are_not_edited(name):
    thing, options, _, _ = MENDED[name]
    report = ml.verify(thing, **options)
    assert report.passed, report
    assert report.mends == []


@pytest.mark.slow
def test_one_of_two_mistakes_is_mended():
    report = ml.verify(damped_in_double, like=ml.ProxProp(tau_theta=0.2))
    assert len(report.failures) == 2
    assert [mend.left for mend in report.mends] == [1]
    assert "1 / tau_theta" in report.mends[0].new
    assert "With this edit fewer claims fail:" in str(report)


def test_what_is_right_is_not_looked_at():
    def look():
        raise AssertionError("it is looked for")

    check = ml.verify(ml.Tanh()).checks[0]
    assert ml.Report([check], 0, look=look).mends == []


def test_the_package_and_code_without_a_file_are_not_edited():
    made = {}
    exec("def step(block):\n    return -block.phi.adjoint_theta(block.a, block.g)", made)
    report = ml.verify(made["step"], like=ml.BackProp())
    assert report.failures
    assert report.mends == []
    assert ml.verify(ml.ProxProp(0.5), like=ml.ProxProp(2.0)).mends == []


class Leaky(ml.Transfer):
    """A recursion over the entries; its adjoint runs it forwards again, where it should run from the last one back."""

    def apply(self, z, training=False, rng=None):
        return self.run(z), None

    def adjoint(self, z, a, aux, g):
        return self.run(g)

    def run(self, x):
        out, h = np.zeros_like(x), np.zeros_like(x[..., 0])
        for k in range(x.shape[-1]):
            h = 0.5 * h + x[..., k]
            out[..., k] = h
        return out


@pytest.mark.slow
def test_what_defines_a_thing_is_left_as_it_is():
    """A transfer that does nothing has a right adjoint; but it is another transfer."""
    report = ml.verify(Leaky())
    assert report.failures
    assert not any(mend.function == "Leaky.run" for mend in report.mends), lines_of(report)


class Spread(ml.Activation):
    """Its derivative takes as many as it wants of what has no end: an edit that takes all would not return."""

    def forward(self, z):
        return sum(part for part in (z, z))

    def derivative(self, z):
        return np.stack([one for one, _ in zip(itertools.repeat(z * 0 + 1.0), range(3))]).sum(axis=0)


def test_what_has_no_end_is_not_edited():
    report = ml.verify(Spread())
    assert report.failures
    assert not any("sum(itertools" in mend.new for mend in report.mends)


class Crossed(ml.Linear):
    def adjoint_input(self, theta, g):
        return g @ theta[1:].T


def test_a_part_of_a_network_is_mended():
    report = ml.verify(ml.Network([Crossed(3, 4), ml.Tanh(), ml.Linear(4, 2)], loss=ml.SquaredError()))
    assert any(mend.new == "return g @ theta[:-1].T" for mend in report.mends), lines_of(report)


class Stale(ml.BCD):
    """A block of a lifted method."""

    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            yield block, l, lambda k, v, update=update: 0.9 * update(k, v)


@pytest.mark.slow
def test_a_sweep_of_a_lifted_method_is_mended():
    report = ml.verify(Stale())
    assert any("schedule" in mend.function for mend in report.mends), lines_of(report)


def in_place(block):
    """A step that writes into its signal; what it should be nobody has said."""
    g = block.g
    g *= 3
    return block.phi.adjoint_theta(block.a, g)


CALLS_OF_A_STEP = [0]


def counted(block):
    """A step that depends on how often it has been called."""
    CALLS_OF_A_STEP[0] += 1
    return block.phi.adjoint_theta(block.a, block.g) * (1 + CALLS_OF_A_STEP[0] % 2)


def test_of_a_method_that_nobody_has_told_the_steps_stay():
    assert [mend.new for mend in ml.verify(in_place).mends] == ["g = g * 3"]
    assert ml.verify(counted).mends == []


def test_a_search_that_raises_is_said_and_the_report_shown():
    def look():
        raise ZeroDivisionError("of a copy")

    wrong = ml.verify(ml.Equal(noted, lambda a: a.sum()))
    report = ml.Report(wrong.checks, 0, look=look)
    with pytest.warns(UserWarning, match="ZeroDivisionError: of a copy"):
        assert "FAIL" in str(report)


# ---- a mend is no guess


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return a function that writes a file, and one that loads a name of it."""
    def write(text, name="mine.py"):
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
        return tmp_path / name

    return write


def loaded(path, name):
    from minilift.checks.command import load_target

    return load_target(f"{path}:{name}")


WRONG = """
    import numpy as np


    def energy(z, v, a, rho):
        return ((np.maximum(z, 0) - a) ** 2).sum() / 2 + rho * ((z - v) ** 2).sum() / 2


    def update(v, a, rho):
        up = np.maximum((a + v) / (1 + rho), 0)
        down = np.minimum(v, 0)
        costs = [(np.maximum(z, 0) - a) ** 2 + rho * (z - v) ** 2 for z in (up, down)]
        return np.where(costs[0] <= costs[1], up, down)
"""


def test_made_in_the_file_it_mends(written):
    path = written(WRONG)
    shapes = draw(z=normal(5, 2), v=normal(5, 2), a=normal(5, 2), rho=lambda rng: rng.uniform(0.5, 3))

    def claim():
        return ml.Argmin(loaded(path, "energy"), loaded(path, "update"), block="z", draw=shapes)

    report = ml.verify(claim())
    mend = report.mends[0]
    assert (mend.file, mend.line, mend.function) == ("mine.py", 10, "update")
    lines = path.read_text().splitlines()
    assert mend.old in lines[mend.line - 1]
    lines[mend.line - 1] = lines[mend.line - 1].replace(mend.old, mend.new)
    path.write_text("\n".join(lines))
    assert ml.verify(claim()).passed


def bent(a):
    return np.sin(a) + 0.317 * np.cos(1.7 * a)


def test_that_no_edit_mends_is_said_where_some_were_tried():
    said = "None of the small edits of your code that were tried makes a claim hold that fails."
    report = ml.verify(ml.Equal(bent, lambda a: a**3 * np.exp(a)))
    assert report.failures
    assert report.mends == []
    assert said in str(report)
    assert said in report._repr_html_()
    with pytest.raises(AssertionError, match=said):
        report.raise_for_failures()
    assert said not in str(ml.verify(ml.ProxProp(0.5), like=ml.ProxProp(2.0)))  # whose code is the package's
    assert said not in str(ml.verify(ml.Tanh()))


def test_that_no_usual_mistake_fits_is_said_once():
    checks = [ml.Check("map", "it", claim, "", "", 1.0, 0.5, "so", False, reason, 3, "the first") for claim, reason in
              (("one", NO_REASON), ("two", NO_REASON), ("three", "likely: this"), ("four", "likely: this"))]
    text = str(ml.Report(checks, 0))
    assert text.count(NO_REASON) == 1
    assert text.count("likely: this") == 2
    assert text.count("worst on the first; allowed because so") == 4
    assert NO_REASON not in str(ml.Report(checks[::-1], 0))  # below a reason that does fit


def test_print_html_and_json_say_it():
    report = ml.verify(ml.Argmin(soft_energy, soft_wrong, block="z"))
    text = str(report.mends[0])
    assert text.startswith("test_mends.py, line ")
    assert "With this edit all claims hold:" in str(report)
    assert all(line.strip() in str(report) for line in text.splitlines())
    assert "abs(v) - lam" in report._repr_html_()
    assert '"new": "return np.sign(v) * np.maximum(abs(v) - lam, 0)"' in report.to_json()
    with pytest.raises(AssertionError, match=r"abs\(v\) - lam"):
        report.raise_for_failures()


def test_the_command_says_it(written, capsys):
    from minilift import cli

    path = written("""
        def step(block):
            return 2 * block.phi.adjoint_theta(block.a, block.g)
    """)
    assert cli.main(["verify", f"{path}:step", "--like", "backprop"]) == 1
    assert "mine.py, line 3, in step:" in capsys.readouterr().out


def test_the_example_of_the_checks_is_as_it_shows():
    """It is what `verify` is explained by: a step with a mistake, its reason, and the edit that mends it."""
    parsed = doctest.DocTestParser().get_doctest(checks.__doc__, {}, "minilift.checks", None, None)
    said = []
    doctest.DocTestRunner().run(parsed, out=said.append)
    assert not said, "".join(said)


# ---- what the user has is left as it is


CALLS = []


def noted(a):
    CALLS.append(len(a))
    print("called")
    return a.sum() + 1


def test_nothing_of_the_users_is_changed_or_printed(capsys):
    report = ml.verify(ml.Equal(noted, lambda a: a.sum()))
    code, calls = noted.__code__, len(CALLS)
    capsys.readouterr()
    assert report.mends
    assert noted.__code__ is code
    assert len(CALLS) == calls
    assert capsys.readouterr().out == ""
    assert noted(np.zeros(1)) == 1


TABLE, LARGE = np.ones(3), np.ones(mends.COPIED + 1)


def filled(x, k):
    kept, large = TABLE, LARGE
    total = np.zeros(3)
    for j in range(3):
        total[j] = x[j] * k + large[j] - kept[j]
    return total


def test_no_edit_writes_into_an_array_of_the_users():
    """`TABLE[j]` for `total[j]`, say; all edits are tried, since none mends."""
    report = ml.verify(ml.Equal(filled, lambda x, k: np.sin(k * x) * x[::-1], draw=lambda rng: {
        "x": rng.normal(size=3), "k": rng.uniform(1, 2)}))
    assert not report.mends
    assert np.all(TABLE == 1)
    assert np.all(LARGE == 1)
    assert LARGE.flags.writeable


def test_a_copy_of_an_instance_has_arrays_of_its_own():
    thing = Remembering()
    thing.table = np.ones(3)
    copied = mends.Own(thing).copied({})
    copied.table[0] = 2.0
    assert type(copied) is not Remembering
    assert np.all(thing.table == 1)


class Remembering(ml.Activation):
    """Its slope is in an array of its own, to which an edited copy may write."""

    def __init__(self):
        self.slope = {"value": 2.0}

    def forward(self, z):
        return z * self.slope["value"]

    def derivative(self, z):
        return np.full_like(z, self.slope["value"] + 1)


def test_an_instance_is_copied_with_what_it_holds():
    thing = Remembering()
    report = ml.verify(thing)
    assert report.mends
    assert thing.slope == {"value": 2.0}
    assert type(thing) is Remembering


def endless(a):
    """A bisection of which nearly every edit never ends."""
    low, high = 0.0, 1.0 + (a**2).sum()
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle**2 > (a**2).sum():
            low = middle
        else:
            high = middle
    return high


def test_an_edit_that_never_ends_is_stopped():
    report = ml.verify(ml.Equal(endless, lambda a: np.sqrt((a**2).sum()), tolerance=1e-6))
    assert any("middle ** 2 <" in mend.new for mend in report.mends), lines_of(report)


class Squareplus(ml.Activation):
    """The inverse needs b/4: with b = 4 an edit to 1/a holds, too, by chance."""

    range = (0.0, np.inf)

    def __init__(self, b=4.0):
        self.b = b

    def forward(self, z):
        return (z + np.sqrt(z * z + self.b)) / 2

    def derivative(self, z):
        return self.forward(z) / np.sqrt(z * z + self.b)

    def inverse(self, a):
        return a - self.b / a


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing bounds the memory elsewhere")
def test_a_copy_takes_no_more_memory_than_it_may():
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    with mends.bounded():
        assert np.ones(2**20).sum() == 2**20
        with pytest.raises(MemoryError):
            np.ones(mends.MEMORY * (1 + (os.cpu_count() or 1)))
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_what_holds_for_one_number_alone_is_no_mend():
    report = ml.verify(Squareplus())
    assert report.failures
    assert [mend.new for mend in report.mends] == ["return a - self.b / a / 4"], lines_of(report)


def log_partial_likelihood(w, x, event):
    """Cox's, with the earliest last: each person who fell ill against all who were still there."""
    score = x @ w
    return -(event * (score - np.log(np.cumsum(np.exp(score)[::-1])[::-1]))).sum()


def its_gradient(w, x, event):
    """Those who did not fall ill are counted, too."""
    e = np.exp(x @ w)
    total = np.cumsum(e[::-1])[::-1]
    moment = np.cumsum((e[:, None] * x)[::-1], axis=0)[::-1]
    expected = moment / total[:, None]
    return -event @ x + expected.sum(axis=0)


def some_fall_ill(rng):
    return {"w": 0.5 * rng.standard_normal(3), "x": rng.standard_normal((10, 3)), "event": np.arange(10.0) % 2}


def test_an_edit_that_divides_by_0_comes_last():
    """Dividing the totals by `event` gives the right numbers: a moment over inf is 0."""
    report = ml.verify(ml.Gradient(log_partial_likelihood, its_gradient, block="w", draw=some_fall_ill))
    assert report.failures
    assert [mend.new for mend in report.mends] == ["return -event @ x + event @ expected"], lines_of(report)


def shared_fit(z, A, b):
    return ((A @ z - b) ** 2).sum() / 2 + LASSO / 2 * (z**2).sum()


def federated(x, u, z, A, b):
    """The server forgets how many clients there are: three, and 3 · LASSO is LINK."""
    x = np.array([np.linalg.solve(Ak.T @ Ak + LINK * np.eye(2), Ak.T @ bk + LINK * (z - uk))
                  for Ak, bk, uk in zip(A, b, u)])
    z = LINK / (LASSO + LINK) * (x + u).mean(axis=0)
    return {"x": x, "z": z, "u": u + x - z}


@pytest.mark.parametrize("name", ["svd", "pinv", "eigh", "norm"])
def test_lapack_is_not_given_what_it_may_never_return_from(name):
    """NumPy's pinv of a matrix with an inf, for one, loops in LAPACK, where nothing can stop it."""
    before, order = getattr(np.linalg, name), [2] * (name == "norm")
    with mends.harmless():
        getattr(np.linalg, name)(np.eye(3), *order)
        with pytest.raises(np.linalg.LinAlgError, match="not finite"):
            getattr(np.linalg, name)(np.diag([1, np.inf, 1]), *order)
    assert getattr(np.linalg, name) is before


def test_what_holds_for_one_ratio_of_two_numbers_alone_is_no_mend():
    report = ml.verify(ml.Decreases(shared_fit, federated, descends=False, draw=draw(
        x=normal(3, 2), u=normal(3, 2), z=normal(2), A=normal(3, 5, 2), b=normal(3, 5))))
    assert report.failures
    assert not any("LINK + LASSO" in mend.new for mend in report.mends), lines_of(report)


def test_a_bias_in_another_order_is_not_a_mask_of_weights():
    reason = next(check.reason for check in ml.verify(Tokenwise()).failures if "column of θ" in check.claim)
    assert "the bias" in reason
    assert "masked" not in reason


# ---- the edits


SAMPLE = """
def sample(self, x, y, n=3):
    '''A docstring.'''
    total = np.zeros(3)
    for k in range(n):
        if k > 1 and x is not y:
            total += x[k] * y.T @ self.W
        elif not k:
            total[k] = np.sum(x, axis=0) / len(x)
        else:
            continue
    z = total.copy()
    return np.where(z > 0, z, -self.slope * z)
"""


def test_each_edit_is_another_program_and_is_taken_back():
    function = ast.parse(SAMPLE).body[0]
    before, texts = ast.dump(function), []
    for edit in edits_of(function, {"np": np}):
        old, new = edit.told()
        with edit.made():
            text = ast.unparse(function)
            if len(texts) % 5 == 0:
                compile(ast.Module([copy.deepcopy(function)], []), "sample", "exec")
        assert len(texts) % 5 or ast.dump(function) == before
        assert text != ast.unparse(function), (old, new)
        assert old != new
        texts.append(text)
    assert len(set(texts)) > 0.8 * len(texts) > 200


def test_modules_and_functions_are_no_operands():
    function = ast.parse("def f(x, y):\n    return np.dot(relu(x), y)").body[0]
    with_edit = []
    for edit in edits_of(function, {"np": np, "relu": relu}):
        with edit.made():
            with_edit.append(ast.unparse(function.body[0]))
    assert "return np.dot(relu(y), y)" in with_edit
    assert not any("relu, " in text or "+ np" in text or "* relu" in text.replace("relu(", "") for text in with_edit)


def edited(text, **options):
    """Return the body of a function after each of its edits."""
    function, found = ast.parse(text).body[0], []
    for edit in edits_of(function, {"np": np}, **options):
        with edit.made():
            found.append("\n".join(map(ast.unparse, function.body)))
    return found


def test_what_a_module_has_beside_functions_is_no_operand():
    """`np.c_` times an array takes seconds, and gigabytes."""
    assert not any("np.c_ " in text or "np.c_)" in text or "np.c_." in text
                   for text in edited("def f(x, y):\n    return np.c_[x, y]"))
    assert "return np.pi + x" in edited("def f(x):\n    return np.pi * x")


def test_a_block_has_more_than_is_looked_at():
    texts = edited("def f(block):\n    z = block.a @ block.theta\n    return z - block.g")
    assert "z = block.a @ block.theta\nreturn block.z - block.g" in texts
    assert "z = block.a @ block.theta\nreturn z - block.g / block.weight" in texts


def test_what_is_kept_may_be_copied():
    text = "def f(self):\n    return {k: v for k, v in self.kept.items()}"
    assert "return {k: v.copy() for k, v in self.kept.items()}" in edited(text)


def test_no_other_list_is_filled():
    """A network's own, say, which all later edits are tried on."""
    texts = edited("def f(net, x):\n    out = []\n    for s in net.sigma:\n        out.insert(0, s(x))\n    return out")
    assert any("insert" in text for text in texts)
    assert not any(f"{name}.insert" in text for text in texts for name in ("sigma", "net", "x", "s"))


def test_a_number_is_not_put_in_order():
    texts = edited("def f(q, k):\n    s = q @ k\n    u = q[::-1]\n    w = u[1:]\n    return max(s, 1) + u",
                   wraps={"np.argsort(_)": set()})
    assert any("np.argsort(u)" in text for text in texts)
    assert not any("np.argsort(s)" in text or "np.argsort(max" in text for text in texts)


def test_what_was_not_run_is_left_alone():
    function = ast.parse("def f(x):\n    if x > 0:\n        return x + 1\n    return x - 1").body[0]
    assert {edit.line for edit in edits_of(function, {}, lambda first, last: first <= 2 or first == 4)} == {2, 4}


def test_a_mend_without_a_statement_says_so():
    assert str(Mend("mine.py", 3, "f", "x += 1", "pass")) == "mine.py, line 3, in f: without `x += 1`"
    assert isinstance(next(edits_of(ast.parse("lambda x: -x").body[0].value, {})), Edit)


# ---- what copies must not do, and whose code it is

def test_a_copy_deletes_and_writes_no_file(tmp_path):
    """An edited path is that of anything: `root / "cache"` becomes `root`."""
    root = tmp_path / "root"
    (root / "cache").mkdir(parents=True)
    (root / "thesis.txt").write_text("two years")

    def with_a_cache(a):
        (root / "cache").mkdir(exist_ok=True)
        shutil.rmtree(root / "cache")
        (root / "log.txt").write_text("once")
        return a.sum() + 1

    report = ml.verify(ml.Equal(with_a_cache, lambda a: a.sum()))
    (root / "log.txt").write_text("by the user")
    assert not report.mends
    assert (root / "thesis.txt").read_text() == "two years"
    assert (root / "log.txt").read_text() == "by the user"
    (root / "log.txt").unlink()  # afterwards everything is as before


class Logged(ml.Activation):
    """σ(z) = z², with a half of its derivative, and memories on the class."""

    calls, sizes = [], {"last": 0}

    def forward(self, z):
        self.calls.append(z.shape)
        self.sizes["last"] += 1
        return z * z

    def derivative(self, z):
        return z


def remembers(a, *, seen=[]):  # noqa: B006
    seen.append(len(a))
    return a.sum() + 1


def bound(a, seen):
    seen.append(len(a))
    return a.sum() + 1


def test_a_search_writes_into_no_memory_of_the_users():
    held = []
    things = ((Logged(), Logged.calls), (ml.Equal(remembers, lambda a: a.sum()), remembers.__kwdefaults__["seen"]),
              (ml.Equal(functools.partial(bound, seen=held), lambda a: a.sum()), held))
    for thing, memory in things:
        report = ml.verify(thing)
        before, last = len(memory), Logged.sizes["last"]
        assert report.mends, thing  # for which the thing itself runs once more, and its copies hundreds of times
        assert len(memory) - before < max(before, 20), thing
        assert Logged.sizes["last"] - last <= last, thing


def tells_on_stderr(a):
    print("step", file=sys.stderr)
    return a.sum() + 1


def test_copies_print_nothing_on_stderr():
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):
        report = ml.verify(ml.Equal(tells_on_stderr, lambda a: a.sum()))
        before = len(shown.getvalue())
        assert report.mends
    assert len(shown.getvalue()) == before > 0


def leaves_if_empty(a):
    if a.size < 1:
        sys.exit("nothing given")
    return (a * a).sum() + 1


def test_an_edit_that_reaches_sys_exit_does_not_end_the_process():
    assert any("(a * a).sum()" in mend.new for mend in ml.verify(ml.Equal(
        leaves_if_empty, lambda a: (a * a).sum())).mends)


def nested_with_annotations(a):
    def square(x: np.ndarray) -> np.ndarray:
        return x * x
    return square(a).sum() + 1


def from_a_large_number(a):
    best = 1e200
    for x in a.ravel():
        best = min(best, x)
    return best + 1


@pytest.mark.parametrize(("function", "reference"), [(nested_with_annotations, lambda a: (a * a).sum()),
                                                     (from_a_large_number, lambda a: a.min())], ids=["nested", "1e200"])
def test_edits_are_looked_for_in(function, reference):
    assert ml.verify(ml.Equal(function, reference)).mends


def test_a_file_that_was_changed_since_it_was_imported_is_not_edited(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "changed_deriv.py"
    file.write_text("def mine(a):\n    return 2 * (a * a).sum()\n")
    mine = importlib.import_module("changed_deriv").mine
    file.write_text("def mine(a):\n    return 1 * (a * a).sum()\n")
    linecache.checkcache()
    report = ml.verify(ml.Equal(mine, lambda a: (a * a).sum()))
    assert report.failures
    assert not report.mends


def function_in(path):
    space = {"__name__": "mine"}
    exec(compile("def f(a):\n    return a.sum()\n", path, "exec"), space)
    return space["f"]


def test_whose_code_it_is_goes_by_whole_folders():
    assert mends.is_own(function_in(f"{mends.PACKAGE}_mine.py"))
    assert not mends.is_own(function_in(os.path.join(mends.PACKAGE, "layers", "x.py")))
    assert not mends.is_own(function_in(os.path.join(site.getusersitepackages(), "scipy", "x.py")))


def test_large_whole_numbers_are_no_operands():
    """Of n ** SEED no guard stops the power."""
    known = {"SEED": 123_456_789, "rate": 0.1, "few": 3}
    node = ast.parse("def f(a):\n    n = len(a)\n    return a.sum() / n").body[0]
    texts = {" ".join(map(str, edit.told())) for edit in edits_of(node, known)}
    assert not any("SEED" in text for text in texts)
    assert any("few" in text for text in texts)


def unused(x, y):
    return x * y + (x * y).sum() + y.sum()


def uses_little(a):
    if a.size == 0:
        return unused(a, a)
    return (a * a).sum() + 1


def test_functions_that_were_not_run_are_not_edited():
    own = mends.Own(uses_little)
    sources = list(mends.sources_of(own))
    ran = {source: set() if source.name == "unused" else set(range(1, 10_000)) for source in sources}
    assert {source.name for _, source in mends.in_order(sources, ran, own)} == {"uses_little"}


def test_a_share_is_of_the_settings_own_default():
    node = ast.parse("def f(a, tau=0.5, *, steps=3):\n    return tau * a * steps").body[0]
    told = {edit.told() for edit in edits_of(node, {})}
    assert any("1 - tau" in new for _, new in told)
    assert not any("1 - steps" in new for _, new in told)


FILE_WITH_A_NETWORK = """
import minilift as ml
class Patch(ml.Linear):
    pass
net = ml.Network([Patch(3, 4), ml.Tanh(), Patch(4, 2)], loss=ml.SquaredError())
def step(block):
    assert isinstance(block.phi, Patch)
    return block.phi.adjoint_theta(block.a, block.g)
def late(block):
    import beside_the_file
    return 2 * beside_the_file.HALF * block.phi.adjoint_theta(block.a, block.g)
"""


@pytest.mark.parametrize("words", [["late", "--like", "backprop"], ["step", "--net", "net", "--like", "backprop"]],
                         ids=["imports inside a function", "a network of the same file"])
def test_a_file_is_run_once_and_finds_what_lies_beside_it(words, tmp_path, monkeypatch, capsys):
    from minilift import cli
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside_the_file.py").write_text("HALF = 0.5")
    path = tmp_path / "with_a_network.py"
    path.write_text(FILE_WITH_A_NETWORK)
    named = [f"{path}:{word}" if word in ("late", "step", "net") else word for word in words]
    assert cli.main(["verify", *named]) == 0, capsys.readouterr().out


class Shifted(ml.Map):
    """z_t = a_{t−k} W + b on sequences; the adjoint is right for k = 1 alone."""

    def __init__(self, n_in, n_out, k):
        self.n_in, self.n_out, self.k, self.theta_shape = n_in, n_out, k, (n_in + 1, n_out)

    def initial_theta(self, rng):
        return rng.standard_normal(self.theta_shape)

    def output_shape(self, input_shape):
        if len(input_shape) != 2 or input_shape[1] != self.n_in:
            raise ValueError("Shifted: expects sequences")
        return input_shape[0], self.n_out

    def rows(self, a):
        late = np.pad(a, ((0, 0), (self.k, 0), (0, 0)))
        return late[:, : a.shape[1]].reshape(-1, self.n_in)

    def columns(self, z):
        return z.reshape(-1, self.n_out)

    def forward(self, theta, a):
        return (self.rows(a) @ theta[:-1] + theta[-1]).reshape(*a.shape[:2], -1)

    def adjoint_input(self, theta, g):
        back = np.pad(g @ theta[:-1].T, ((0, 0), (0, self.k), (0, 0)))
        return back[:, : g.shape[1]]

    def adjoint_theta(self, a, g):
        return np.vstack([self.rows(a).T @ self.columns(g), self.columns(g).sum(axis=0)])


def test_an_edit_mends_all_layers_of_a_class():
    layers = [Shifted(2, 3, 2), ml.Tanh(), Shifted(3, 2, 1), ml.Tanh(), ml.Flatten(), ml.Linear(10, 2)]
    report = ml.verify(ml.Network(layers, ml.SquaredError(), dtype=np.float64, input_shape=(5, 2)))
    assert report.mends
    for mend in report.mends:
        assert mend.left == 0
        assert mend.new == "return back[:, self.k:]" or "-g.shape[1]" in mend.new, mend


def keeps_the_first(block, tau=0.5):
    """Three steps of conjugate gradients whose squared residual is not brought up to date."""
    a = np.c_[block.phi.rows(block.a), np.ones(len(block.phi.rows(block.a)), block.a.dtype)]
    r = a.T @ block.phi.columns(block.g)
    d, p, rr = np.zeros_like(r), r, (r * r).sum(axis=0)
    for _ in range(3):
        Mp = a.T @ (a @ p) + p / tau
        alpha = rr / ((p * Mp).sum(axis=0) + 1e-30)
        d = d + alpha * p
        r = r - alpha * Mp
        p = r + (r * r).sum(axis=0) / (rr + 1e-30) * p
    return d


@pytest.mark.slow
def test_an_edit_that_mends_some_claims_does_so_on_other_networks_too():
    report = ml.verify(keeps_the_first, like=ml.ProxProp(tau_theta=0.5, solver="cg3", last="implicit"))
    assert len(report.failures) == 2
    assert report.mends == []
