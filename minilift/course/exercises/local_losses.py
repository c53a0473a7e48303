r"""Checks of notebook 08: local steps, their filters, the Bregman divergence, unbounded targets."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import DIFFERENCES, Claim, check, claim, close_to_answers, same
from minilift.layers.activations import Identity, ReLU, Sigmoid, Tanh
from minilift.layers.gram import Gram
from minilift.local.problems import LocalProblem, MatchingLoss
from minilift.local.solvers import gradient_steps
from minilift.support.backend import array_module


def library_steps(a_tilde, theta, target, rate, steps):
    """Return θ after T plain steps of the library on LocoProp-S without regulariser."""
    z = a_tilde @ theta
    problem = LocalProblem(Gram(a_tilde, bias=False), z, MatchingLoss(Identity(), z, z - target), 0.0)
    return theta - gradient_steps(problem, [rate] * steps).value


def local_steps(answer, seed):
    """Exercise 8.1: T gradient steps on ½‖ãθ − target‖²."""
    rng = np.random.default_rng(seed)
    a, theta, target = rng.normal(size=(7, 4)), rng.normal(size=(4, 3)), rng.normal(size=(7, 3))
    rate = 0.5 / np.linalg.norm(a, 2) ** 2

    def claims(steps):
        before = theta
        for T in (1, 2, 5):
            if T > 1:
                before = steps(a, theta, target, rate, T - 1)
            moved = (before - steps(a, theta, target, rate, T)) / rate
            slope = a.T @ (a @ before - target)
            yield claim(f"step {T} goes down the local slope where it starts", moved, slope, 1e-9)

    def mistakes(steps):
        found, first = steps(a, theta, target, rate, 3), a.T @ (a @ theta - target)
        once, mean, up = theta, theta, theta
        for _ in range(3):
            mean = mean - rate / len(a) * a.T @ (a @ mean - target)
            up = up + rate * a.T @ (a @ up - target)
            once = once - rate * first
        yield same(found, once), "the residual is that of the start in every step: T times one BackProp step"
        yield same(found, mean), "the local loss is a sum over the samples, not a mean"
        yield same(found, up), "the sign: these steps climb the local loss"
        yield same(found, library_steps(a, theta, target, rate, 3) - theta), \
            "this is the change of theta; the new theta is wanted"

    return check("8.1", answer, claims, mistakes, fallback=library_steps)


def local_filter(answer, seed):
    """Exercise 8.2: what T local steps make of an eigenvalue, h_T(s)."""
    s = np.append(0.0, np.random.default_rng(seed).uniform(0.1, 2, 6))
    rate = 0.4

    def claims(h):
        yield claim("one step: α for every s", h(s, rate, 1, 0.0), np.full(7, rate))
        for damping in (0.0, 0.3):
            for T in (1, 4):
                kept = h(s, rate, T, damping)
                text = f"one step more adds α (1 − (s + 1/η) h), T = {T}, 1/η = {damping:g}"
                yield claim(text, h(s, rate, T + 1, damping) - kept, rate * (1 - (s + damping) * kept))
        yield claim("T = 2000 solves (s + 1/η) h = 1", (s + 0.3) * h(s, rate, 2000, 0.3), np.ones(7), 1e-9)

    def mistakes(h):
        found, s_damped = h(s, rate, 3, 0.3), s + 0.3
        left = (1 - rate * s_damped) ** 3
        yield same(found, left), "this is the share of the residual that is left, not the step that was made"
        yield same(found, 1 - left), "this is the share of the residual that is gone; divide it by s + 1/η"
        yield same(found, (1 - (1 - rate * s) ** 3) / s_damped), \
            "the regulariser pulls in each of the T steps as well"
        yield same(found, rate * (1 - rate * s_damped) ** 2), "this is the last of the T steps; add them up"
        yield not np.isfinite(h(s, rate, 3, 0.0)[0]), "0/0 where s + 1/η = 0: what is the limit there?"

    def library(s, rate, steps, damping):
        return spectral_filter(s, [rate] * steps, damping)

    return check("8.2", answer, claims, mistakes, fallback=library)


def bregman(answer, seed):
    """Exercise 8.3: D_F(z, w), entry by entry, for a transfer with integral F and F' = f."""
    rng = np.random.default_rng(seed)
    z, w = rng.normal(size=(2, 40)) * 1.5
    z = np.where(abs(z) < 0.01, 0.5, z)  # off the kink of ReLU, for the differences

    def claims(D):
        h = 1e-5
        for f in (Tanh(), Sigmoid(), ReLU()):
            yield claim(f"{f!r}: zero at z = w", D(f, w, w), 0 * w)
            slope, expected = (D(f, z + h, w) - D(f, z - h, w)) / (2 * h), f.forward(z) - f.forward(w)
            yield claim(f"{f!r}: its slope in z is f(z) − f(w)", slope, expected, DIFFERENCES)
        yield claim("identity: half the square", D(Identity(), z, w), (z - w) ** 2 / 2)

    def mistakes(D):
        f = Tanh()
        found, F, F_w = D(f, z, w), f.integral(z), f.integral(w)
        yield same(found, F_w - F - f.forward(z) * (w - z)), \
            "D_F(w, z): the tangent is laid at the wrong point (the divergence is not symmetric)"
        yield same(found, (f.forward(z) - f.forward(w)) ** 2 / 2), \
            "a squared error of outputs; its slope has a factor f'(z), and it is not convex"
        yield same(found, F - F_w + f.forward(w) * (z - w)), "the tangent is to be subtracted"
        yield same(found, F - f.forward(w) * z), "the matching loss itself; subtract its value at z = w"

    def library(f, z, w):
        data = MatchingLoss(f, w.reshape(1, -1), np.zeros((1, w.size)))
        return (data.value(z.reshape(1, -1)) - data.value(w.reshape(1, -1))).reshape(z.shape)

    return check("8.3", answer, claims, mistakes, fallback=library)


def largest_gamma(answer, seed):
    """Exercise 8.4: the largest γ with all targets f(z) − γ g inside the range of f."""
    rng = np.random.default_rng(seed)
    z, signal = rng.normal(size=(30, 4)), rng.normal(size=(30, 4))
    layers = [(f, z, signal * f.derivative(z)) for f in (Tanh(), Sigmoid(), ReLU())]

    def outside(f, z, g, gamma):
        """Return by how much targets leave the range."""
        target, (low, high) = f.forward(z) - gamma * g, f.range
        return float(max((target - high).max(), (low - target).max()))

    def claims(largest):
        for f, z, g in layers:
            gamma = float(largest(f, z, g))
            excess = max(0.0, outside(f, z, g, 0.999 * gamma))
            yield Claim(f"{f!r}: at 0.999 γ no target is out of range", excess, 0.0)
            yield Claim(f"{f!r}: at 1.001 γ one is", float(outside(f, z, g, 1.001 * gamma) <= 0), 0.0)

    def mistakes(largest):
        f, z, g = layers[0]
        a = f.forward(z)
        room = np.where(g < 0, 1 - a, a + 1) / abs(g)
        found = float(largest(f, z, g))
        yield same(found, room[g < 0].min(), 1e-6) and room.min() < room[g < 0].min(), \
            "only the upper border is looked at; a positive g pushes a target down"
        yield same(found, room.max(), 1e-6), "the entry with the most room; the first to leave decides"
        yield same(found, ((1 - abs(a)) / abs(g)).min(), 1e-6), \
            "distance to the nearer border; the target may be moving towards the other one"
        yield same(found, (np.where(g < 0, 1 - z, z + 1) / abs(g)).min(), 1e-6), \
            "the room is counted from z; the target starts from f(z)"

    return check("8.4", answer, claims, mistakes, fallback=library_largest_gamma)


def library_largest_gamma(f, z, g):
    """Return the largest γ by bisection on what the library says about the targets' range."""
    low, high = 0.0, 1.0
    while f.in_range(MatchingLoss(f, z, high * g).target):
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if f.in_range(MatchingLoss(f, z, middle * g).target) else (low, middle)
    return low


def spectral_filter(s, rates, damping=0.0):
    r"""Return what T plain steps of LocoProp-S make of an eigenvalue s of :math:`C = \tilde a^T\tilde a`.

    The step is :math:`-\gamma\,Q\,\mathrm{diag}(h(s))\,Q^T\tilde a^Tg` with
    :math:`h(s) = (1 - \prod_t(1 - \alpha_t(s + \beta)))/(s + \beta)`: T = 1 is BackProp, T → ∞ the pseudo-inverse
    1/s, and with the regulariser the prox 1/(s + β).

    Parameters
    ----------
    s : array (k,)
        Eigenvalues.
    rates : sequence of float
        α_t.
    damping : float, default 0
        β = 1/η.

    Returns
    -------
    array (k,)
        h(s), at s + β = 0 its limit Σα_t.
    """
    xp = array_module(s)
    shifted = s + damping
    product = xp.ones_like(shifted)
    for rate in rates:
        product = product * (1 - rate * shifted)
    tiny = abs(shifted) <= np.finfo(shifted.dtype).tiny
    return xp.where(tiny, sum(rates), (1 - product) / xp.where(tiny, 1, shifted))


close_to_answers(globals())
