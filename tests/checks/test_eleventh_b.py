"""What an eleventh reader planted in methods, minimisers and sweeps, and right things that were refused."""

from functools import partial

import numpy as np
import pytest

import minilift as ml


def reasons(report):
    return " / ".join(check.reason for check in report.failures)


def ones(a):
    return np.concatenate([a, np.ones((len(a), 1), a.dtype)], axis=1)


# ---- steps


def prox_step(solve):
    """Return a step that is the gradient on the last map, and elsewhere what is made of ã, the gradient and g."""
    return lambda block: gradient_of(block) if block.last else solve(
        ones(block.a), gradient_of(block), block.g)


def gradient_of(block):
    return ones(block.a).T @ block.g


def unsquared(A, d, g, beta=1 / 0.3):
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    return Vt.T @ ((s / (s + beta))[:, None] * (U.T @ g))


def inner_of_one(A, d, g, tau=0.3):
    """Woodbury's formula with I in the inner matrix, where I/τ should be."""
    return tau * (d - A.T @ np.linalg.solve(np.eye(len(A), dtype=A.dtype) + A @ A.T, A @ d))


def undamped_cg(A, d, g):
    x, r = np.zeros_like(d), d
    p = r
    for _ in range(3):
        Mp, rr = A.T @ (A @ p), (r * r).sum(axis=0)
        alpha = rr / ((p * Mp).sum(axis=0) + 1e-30)
        x, r = x + alpha * p, r - alpha * Mp
        p = r + (r * r).sum(axis=0) / (rr + 1e-30) * p
    return x


def centred(block):
    A, rest = ones(block.a), block.a - block.a.mean(axis=0)
    C = np.zeros((A.shape[1],) * 2, A.dtype)
    C[:-1, :-1], C[-1, -1] = rest.T @ rest / len(A), 1
    return np.linalg.solve(C + 0.1 * np.eye(len(C), dtype=A.dtype), gradient_of(block) / (len(A) * block.weight))


class FromZero(ml.FOOF):
    """A running average that starts from 0, without min(1 − 1/k, decay)."""

    def __init__(self, damping=0.1, decay=0.9):
        super().__init__(damping, decay)

    def average(self, name, factor):
        self.factors[name] = self.decay * self.factors.get(name, 0) + (1 - self.decay) * factor
        return self.factors[name]


def mean_signals(block, damping=0.1):
    A, g, N = ones(block.a), block.g, len(block.a)
    of_input, of_signal = (x.T @ x / N + damping * np.eye(x.shape[1], dtype=A.dtype) for x in (A, g))
    return np.linalg.solve(of_signal, np.linalg.solve(of_input, A.T @ g / (N * block.weight)).T).T


@pytest.mark.parametrize(("method", "like", "said"), [
    (prox_step(unsquared), ml.ProxProp(0.3), "the singular values of the input stand where their squares should"),
    (prox_step(inner_of_one), ml.ProxProp(0.3), "ãᵀã is multiplied by 3.33, the damping by 1"),
    (prox_step(undamped_cg), ml.ProxProp(0.3, solver="cg3"), "without the damping"),
    (centred, ml.FOOF(0.1), "the input is centred"),
    (FromZero(), ml.FOOF(0.1, decay=0.9), "the average starts from 0"),
    (mean_signals, ml.KFAC(0.1, fisher="empirical"), "the signals of the mean loss")])
def test_a_preconditioner_is_told_what_is_wrong(method, like, said):
    assert said in reasons(ml.verify(method, like=like))


class UndampedBias(ml.BCD):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            yield block, l, partial(self.weights, energy) if block == "theta" else update

    def weights(self, energy, l, v):
        A, damping = ones(v.a[l - 1]), self.alpha * np.eye(len(v.theta[l]), dtype=v.theta[l].dtype)
        damping[-1, -1] = 0
        return np.linalg.solve(self.rho * A.T @ A + damping, self.rho * A.T @ v.z[l] + damping @ v.theta[l])


def test_a_lifted_method_is_told_of_its_bias():
    assert "only the last row of theta is wrong, the bias" in reasons(ml.verify(UndampedBias()))


def test_what_is_written_for_chains_is_told_so():
    class OnChains(ml.PredictiveCoding):
        def relaxed(self, energy, variables):
            assert all(abs(theta[-1]).size for theta in variables.theta[1:])  # a join has no θ
            return super().relaxed(energy, variables)

    assert "on a network that is no chain alone" in reasons(ml.verify(OnChains()))


def local_steps(block, rate=0.05):
    """LocoProp-S's plain steps in the residual alone, with a rate that is too long for some inputs."""
    A, residual, total = ones(block.a), 2.0 * block.g, 0
    for t in range(4):
        part = rate * max(1 - t / 4, 0.25) * residual
        total, residual = total + part, residual - A @ (A.T @ part)
    return A.T @ total


def test_a_step_that_leads_up_as_its_reference_does_is_right():
    like = ml.LocoProp("S", gamma=2.0, steps=4, local_lr=0.05, local_optimizer="sgd")
    assert not ml.verify(like).passed
    assert ml.verify(local_steps, like=like).passed
    assert "leads up" in reasons(ml.verify(lambda block: -local_steps(block), like=like))


def test_an_iteration_that_gives_up_says_nothing():
    class Same(ml.DLADMM):
        def alpha(self, g, curvature):
            return super().alpha(g, curvature)

    assert ml.verify(Same(), like=ml.DLADMM(), seed=3).passed

    class GivesUp(ml.DLADMM):
        def alpha(self, g, curvature):
            raise ArithmeticError("no step")

    assert not ml.verify(GivesUp(), like=ml.DLADMM(rho=1.0, schedule=False)).passed


# ---- minimisers


def draw(**parts):
    return lambda rng: {name: make(rng) for name, make in parts.items()}


def normal(*shape, size=1.0):
    return lambda rng: size * rng.standard_normal(shape)


def of_nuclear(X, V, lam=0.7):
    return 0.5 * np.sum((X - V) ** 2) + lam * np.linalg.svd(X, compute_uv=False).sum()


def hard(V, lam=0.7):
    U, s, Vt = np.linalg.svd(V, full_matrices=False)
    return (U * np.where(s > lam, s, 0)) @ Vt


def of_pinball(x, v, tau=0.8, lam=0.9):
    return lam * np.sum(np.maximum(tau * x, (tau - 1) * x)) + 0.5 * np.sum((x - v) ** 2)


def swapped(v, tau=0.8, lam=0.9):
    return np.where(v > lam * (1 - tau), v - lam * (1 - tau), np.where(v < -lam * tau, v + lam * tau, 0))


def of_logdet(X, V, tau=0.8):
    w = np.linalg.eigvalsh((X + X.T) / 2)
    return -tau * np.log(w).sum() + 0.5 * np.sum((X - V) ** 2) if w.min() > 0 else np.inf


def without_four(V, tau=0.8):
    w, Q = np.linalg.eigh(V)
    return (Q * ((w + np.sqrt(w * w + tau)) / 2)) @ Q.T


def of_huber(x, v, delta=0.5, lam=2.0):
    return lam * np.sum(np.where(abs(x) <= delta, x * x / 2, delta * (abs(x) - delta / 2))) + np.sum((x - v) ** 2) / 2


def early_branch(v, delta=0.5, lam=2.0):
    return np.where(abs(v) <= delta, v / (1 + lam), v - lam * delta * np.sign(v))


def of_ridge(theta, X, y):
    return 0.5 * np.sum((X @ theta[:-1] + theta[-1] - y) ** 2) + 0.25 * np.sum(theta[:-1] ** 2)


def plain_mean(X, y):
    centre = X - X.mean(axis=0)
    return np.append(np.linalg.solve(centre.T @ centre + 0.5 * np.eye(X.shape[1]), centre.T @ (y - y.mean())), y.mean())


def in_ball(v):
    u = np.sort(abs(v))[::-1]
    cut = (np.cumsum(u) - 2) / np.arange(1, len(u) + 1)
    return np.sign(v) * np.maximum(abs(v) - cut[np.nonzero(u > cut)[0][-1]], 0)


def near_ball(v):
    return v if abs(v).sum() <= 2 else in_ball(v)


def semidefinite(V):
    w, Q = np.linalg.eigh((V + V.T) / 2)
    return (Q * np.maximum(w, 0)) @ Q.T


def lower_alone(V):
    w, Q = np.linalg.eigh(V)
    return (Q * np.maximum(w, 0)) @ Q.T


def rotation(V, entry=-1):
    U, _, Vt = np.linalg.svd(V)
    U[:, entry] *= np.sign(np.linalg.det(U) * np.linalg.det(Vt))
    return U @ Vt


def of_transport(f, g, C, a, eps=0.5):
    return -f @ a + eps * np.exp((f[:, None] + g[None, :] - C) / eps).sum()


def without_eps(g, C, a, eps=0.5):
    return np.log(a) - eps * np.log(np.exp((g[None, :] - C) / eps).sum(axis=1))


def of_mirror(x, g, y, tau=0.7):
    return np.sum(g * x) + np.sum(x * np.log(x / y) - x) / tau if x.min() > 0 else np.inf


def positive(*shape):
    return lambda rng: rng.uniform(0.2, 2, shape)


MINIMISERS = {
    "hard": (of_nuclear, hard, "X", draw(X=normal(4, 3), V=normal(4, 3)), None,
             "each singular value that is not 0 is too large"),
    "pinball": (of_pinball, swapped, "x", draw(x=normal(9), v=normal(9)), None, "1 − tau stands where tau should"),
    "log det": (of_logdet, without_four, "X", draw(X=lambda rng: np.eye(4), V=lambda rng: semidefinite(
        rng.normal(size=(4, 4)))), None, "tau/4 stands where tau should"),
    "huber": (of_huber, early_branch, "x", draw(x=normal(9), v=normal(9, size=2)), None, "only where |v| is between"),
    "ridge": (of_ridge, plain_mean, "theta", draw(theta=normal(4), X=lambda rng: 1 + rng.normal(size=(10, 3)),
                                                  y=normal(10)), None, "only the last entry of theta is wrong"),
    "ball": (lambda x, v: np.sum((x - v) ** 2), in_ball, "x", draw(x=normal(5, size=0.1), v=normal(5, size=0.1)),
             near_ball, "it should be v as it is"),
    "triangle": (lambda X, V: np.sum((X - V) ** 2), lower_alone, "X", draw(X=lambda rng: np.eye(4), V=normal(4, 4)),
                 semidefinite, "it reads V below its diagonal alone"),
    "Kabsch": (lambda Q, A, B: np.sum((A @ Q - B) ** 2), lambda A, B: rotation(A.T @ B, 0), "Q", draw(
        Q=lambda rng: np.eye(3), A=normal(6, 3), B=normal(6, 3)), rotation, "another stationary point"),
    "transport": (of_transport, without_eps, "f", draw(f=normal(4), g=normal(5), C=positive(4, 5), a=positive(4)),
                  None, "depends on eps and a alone"),
    "mirror": (of_mirror, lambda g, y, tau=0.7: y * np.exp(-g / tau), "x", draw(
        x=positive(5), g=normal(5), y=positive(5)), None, "tau and 1/tau are exchanged"),
    "defaults": (of_huber, lambda v, delta=0.5, lam=1.0: v - lam * np.clip(v / (1 + lam), -delta, delta), "x", draw(
        x=normal(9), v=normal(9, size=2)), None, "its lam is 1 by default, that of the energy 2")}


@pytest.mark.parametrize("name", MINIMISERS)
def test_a_minimiser_is_told_what_is_wrong(name):
    energy, update, block, drawn, project, said = MINIMISERS[name]
    found = reasons(ml.verify(ml.Argmin(energy, update, block, drawn, project)))
    assert said in found
    assert "squared" not in found
    assert "shrinks towards 0" not in found


def soft_values(V, lam=0.7):
    w, Q = np.linalg.eigh(V.T @ V)
    return V @ (Q * np.maximum(1 - lam / np.sqrt(np.maximum(w, 1e-300)), 0)) @ Q.T


@pytest.mark.parametrize(("energy", "update", "block", "drawn", "project"), [
    (of_nuclear, soft_values, *MINIMISERS["hard"][2:5]),
    (of_huber, lambda v: v - 2 * np.clip(v / 3, -0.5, 0.5), *MINIMISERS["huber"][2:5]),
    (MINIMISERS["Kabsch"][0], lambda A, B: rotation(A.T @ B), *MINIMISERS["Kabsch"][2:5]),
    (MINIMISERS["ball"][0], near_ball, *MINIMISERS["ball"][2:5])])
def test_what_is_right_is_no_mistake(energy, update, block, drawn, project):
    assert ml.verify(ml.Argmin(energy, update, block, drawn, project)).passed


# ---- sweeps

POINTS = np.random.default_rng(7).normal(size=(20, 2)) * [1, 2] + [2, 0]


def of_clusters(c):
    return ((POINTS[:, None] - c[None]) ** 2).sum(axis=2).min(axis=1).sum()


def means(c, count):
    label = ((POINTS[:, None] - c[None]) ** 2).sum(axis=2).argmin(axis=1)
    return {"c": np.array([POINTS[label == k].sum(axis=0) / max(count(label == k), 1) for k in range(len(c))])}


def of_median(x):
    return np.linalg.norm(POINTS - x, axis=1).sum()


def weiszfeld(x, power):
    w = np.maximum(np.linalg.norm(POINTS - x, axis=1), 1e-12) ** -power
    return {"x": w @ POINTS / w.sum()}


def test_a_step_towards_a_wrong_point_is_not_too_long():
    drawn = draw(c=lambda rng: POINTS[rng.choice(20, 3, replace=False)])
    found = reasons(ml.verify(ml.Decreases(of_clusters, lambda c: means(c, len), drawn)))
    assert "increases the energy" in found
    assert "too long" not in found
    assert ml.verify(ml.Decreases(of_clusters, lambda c: means(c, np.sum), drawn)).passed


def test_a_direction_that_leads_up_is_told_from_a_step_that_is_too_long():
    drawn = draw(x=normal(2))
    assert "its direction is wrong, not its length" in reasons(ml.verify(ml.Decreases(
        of_median, lambda x: weiszfeld(x, 2), drawn)))
    too_long = ml.Decreases(lambda x: float((x * x).sum()), lambda x: {"x": x - 2.5 * x}, drawn)
    assert "the step is too long" in reasons(ml.verify(too_long))
    assert ml.verify(ml.Decreases(of_median, lambda x: weiszfeld(x, 1), drawn)).passed
