r"""Checks of notebook 09: the fit's gradient, the scalar ReLU fit, the sweep, a dead unit."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import DIFFERENCES, Claim, check, claim, close_to_answers, same
from minilift.layers.activations import ReLU
from minilift.layers.gram import Gram
from minilift.local.problems import LocalProblem, SquaredFit


def library_gradient(F, W, b, target, W_old, lam):
    """Return the gradient of the W fit, of the library's data term and regulariser."""
    z = F @ W + b
    data = SquaredFit(ReLU(), z, ReLU().forward(z) - target)
    problem = LocalProblem(Gram(F, side="parameter", bias=False), z, data, 2 * lam)
    return problem.descent(data.gradient(z), W_old - W)


def fit_gradient(answer, seed):
    """Exercise 9.1: the gradient of ‖relu(FW + b) − target‖² + λ‖W − W_old‖²."""
    rng = np.random.default_rng(seed)
    F, b, target = rng.normal(size=(6, 4)), rng.normal(size=3), rng.normal(size=(6, 3))
    W, W_old, tangent = rng.normal(size=(3, 4, 3))
    lam, h = 0.7, 1e-6

    def objective(W):
        return np.sum((np.maximum(F @ W + b, 0) - target) ** 2) + lam * np.sum((W - W_old) ** 2)

    def claims(gradient):
        found = gradient(F, W, b, target, W_old, lam)
        slope = (objective(W + h * tangent) - objective(W - h * tangent)) / (2 * h)
        yield claim("the slope along a random tangent", np.sum(found * tangent), slope, DIFFERENCES)
        at = np.maximum(F @ W + b, 0)
        yield claim("zero where the target is met and W = W_old", gradient(F, W, b, at, W, lam), 0 * W)

    def mistakes(gradient):
        found, z = gradient(F, W, b, target, W_old, lam), F @ W + b
        off = np.maximum(z, 0) - target
        pull = 2 * lam * (W - W_old)
        right = 2 * F.T @ (off * (z > 0))
        yield same(found, 2 * F.T @ off + pull), "σ' is missing: a unit that is off does not react to W"
        yield same(found, (right + pull) / 2), "a factor 2: the objective has no ½"
        yield same(found, right), "the regulariser is missing"
        yield same(found, 2 * F.T @ ((z - target) * (z > 0)) + pull), "the target is for relu(z), not for z"

    return check("9.1", answer, claims, mistakes, fallback=library_gradient)


def relu_fit_value(u, a, b, c):
    """Return ½ (relu(u) − a)² + c/2 (u − b)², by the library's data term."""
    shape = np.broadcast(u, a, b).shape
    u, a, b = (np.broadcast_to(x, shape).astype(float) for x in (u, a, b))
    data = SquaredFit(ReLU(), u.reshape(1, -1), ReLU().forward(u).reshape(1, -1) - a.reshape(1, -1))
    return data.value(u.reshape(1, -1)).reshape(shape) / 2 + c / 2 * (u - b) ** 2


def library_relu_fit(a, b, c):
    """Return the cheaper of the minimisers on the two pieces of ReLU."""
    off, on = np.minimum(b, 0.0), np.maximum((a + c * b) / (1 + c), 0.0)
    return np.where(relu_fit_value(off, a, b, c) <= relu_fit_value(on, a, b, c), off, on)


def relu_fit(answer, seed):
    """Exercise 9.2: argmin_u ½ (relu(u) − a)² + c/2 (u − b)²."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-2, 2, size=(2, 60))
    b[:4] = -0.3, -0.3, -1.5, 0.8  # two wells, the right one deeper; the same, off; far off; on
    a[:4] = 1.0, 0.1, 1.0, -1.0
    grid = np.linspace(-6, 6, 12001)[:, None]

    def claims(fit):
        for c in (0.2, 2.0):
            least = relu_fit_value(grid, a, b, c).min(axis=0)
            excess = np.max(relu_fit_value(fit(a, b, c), a, b, c) - least)
            yield Claim(f"c = {c:g}: no point of a grid is lower", max(0.0, excess), 1e-12)

    def mistakes(fit):
        c = 0.2
        found, on = fit(a, b, c), np.maximum((a + c * b) / (1 + c), 0)
        yield same(found, on), "the piece u < 0 is forgotten: staying at a negative b may be cheaper"
        yield same(found, np.where(b > 0, on, b)), \
            "only the piece on which b lies: the other one may hold a deeper minimum"
        yield same(found, (a + c * b) / (1 + c)), "as if σ were the identity"
        yield same(found, np.where((b < 0) & (a + c * b <= 0), b, on)), \
            "both pieces can have a minimum: compare their values"

    return check("9.2", answer, claims, mistakes, fallback=library_relu_fit)


def sweep_down(answer, net, state, y, seed):
    """Exercise 9.3: fits from the last map to the first, signals through the new weights."""
    rng = np.random.default_rng(seed)
    D, z = net.depth, state.z
    delta = net.loss_function.gradient(z[D], y)
    fitted = [None] + [theta + 0.3 * rng.normal(size=theta.shape) for theta in net.theta[1:]]

    def masked(l, signal):
        return signal if l == D else signal * net.sigma[l].derivative(z[l])

    def signals(sweep, fits):
        """Return the signals with which the answer asks for fits, by layer, and what it returns."""
        asked = {}

        def fit(l, signal):
            asked[int(l)] = np.array(signal)
            return fits[l]
        return asked, sweep(net.theta, z, delta, fit)

    def claims(sweep):
        asked, result = signals(sweep, fitted)
        in_order = list(asked) == list(range(D, 0, -1))
        yield Claim("every layer is fitted once, the last first", float(not in_order), 0)
        yield claim("the last layer's signal is δ_D", asked[D], delta)
        for l in range(D, 1, -1):
            passed = masked(l, asked[l]) @ fitted[l][:-1].T
            yield claim(f"signal of layer {l - 1}: through the new W of layer {l}", asked[l - 1], passed)
        for l in range(1, D + 1):
            yield claim(f"returns the fit of layer {l}", result[l], fitted[l])

    def mistakes(sweep):
        asked, _ = signals(sweep, fitted)
        found = asked[D - 2]
        new, old = (lambda l: fitted[l][:-1].T), (lambda l: net.theta[l][:-1].T)
        first = delta @ new(D)
        yield same(found, masked(D - 1, delta @ old(D)) @ old(D - 1)), \
            "the old weights: then it is BackProp's signal"
        yield same(found, first @ new(D - 1)), "σ' is missing on the way through a layer"
        yield same(asked[D - 1], masked(D - 1, first)), \
            "the fit needs the signal before σ' is applied; mask it on the way down only"

    def library(theta, z, delta, fit):
        new, signal = [None] * (D + 1), delta
        for l in range(D, 0, -1):
            new[l] = fit(l, signal)
            g = signal if l == D else net.sigma[l].adjoint(z[l], net.sigma[l].forward(z[l]), None, signal)
            signal = net.phi[l].adjoint_input(new[l], g)
        return new

    return check("9.3", answer, claims, mistakes, fallback=library)


def dead_unit(answer, seed):
    """Exercise 9.4: a, b, c with zero gradient at b and the fit's least value elsewhere."""
    def claims(found):
        a, b, c = map(float, found)
        stay = relu_fit_value(np.float64(b), a, b, c)
        move = relu_fit_value(np.maximum((a + c * b) / (1 + c), 0.0), a, b, c)
        yield Claim("c is positive", max(0.0, 1e-6 - c), 0)
        yield Claim("at u = b the slope is zero, the unit off by 1 or more (shortfall)", max(0.0, 1 + b), 0)
        short = float(max(0.0, 0.01 - (stay - move)))
        yield Claim("a point on the other side is lower by 0.01 or more", short, 0)

    def mistakes(found):
        a, b, c = map(float, found)
        yield b >= 0, "the unit is on at this b, so the fit's gradient sees the target"
        yield b > -1, "the unit is off, but nearer than asked: b must be at most −1"
        yield a <= 0, "with a ≤ 0 being off is what the target asks for"
        yield c * (a - b) ** 2 >= (1 + c) * a**2 - 0.03, \
            "staying is cheaper: the way from b to a costs more than the target is worth"

    return check("9.4", answer, claims, mistakes, fallback=(1.0, -1.0, 0.2))


close_to_answers(globals())
