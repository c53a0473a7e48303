r"""Checks of notebook 09: the fit's gradient, the scalar ReLU fit, the sweep, a dead unit."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np

from minilift.course.teach import DIFFERENCES, Claim, beyond, check, claim, close_to_answers, same, slips, times
from minilift.layers.activations import ReLU
from minilift.layers.gram import Gram
from minilift.local.problems import LocalProblem, SquaredFit


def library_gradient(F, W, b, target, W_old, lam):
    """Return the gradient of the W fit, of the library's data term and regulariser."""
    z = F @ W + b
    data = SquaredFit(ReLU(), z, ReLU().forward(z) - target)
    problem = LocalProblem(Gram(F, side="parameter", bias=False), z, data, 2 * lam)
    return problem.descent(data.gradient(z), W_old - W)


def gradient_with(factor=2.0, pull=2.0, slope=lambda z: z > 0, output=lambda z: np.maximum(z, 0), sign=1.0, bias=1.0,
                  towards=1.0, miss=1.0, at="W", one_sided=None):
    """Return the gradient (9.3) with a slip in it: factors, σ', what is compared with the target, signs, the bias."""
    def gradient(F, W, b, target, W_old, lam):
        z = F @ (W_old if at == "W_old" else W) + bias * b
        residual = output(z) - miss * target
        on = slope(target if at == "target" else z)
        fit = factor * F.T @ (on * (residual if one_sided is None else one_sided(residual)))
        return sign * fit + pull * lam * (W - towards * W_old)
    return gradient


WRONG_GRADIENTS = {
    "σ' is missing: a unit that is off does not react to W": gradient_with(slope=np.ones_like),
    "a factor 2: the objective has no ½": gradient_with(1.0, 1.0),
    "a factor 2 in the fit: the square has no ½": gradient_with(factor=1.0),
    "a factor 2 in the regulariser: λ‖W − W_l‖² has no ½": gradient_with(pull=1.0),
    "the regulariser is missing": gradient_with(pull=0.0),
    "the two parts are added, not multiplied": lambda F, W, b, target, W_old, lam:
        gradient_with(pull=0.0)(F, W, b, target, W_old, lam) * lam * (W - W_old),
    "the residual stands in the gradient once, not squared": gradient_with(one_sided=np.square),
    "W − W_old stands in the gradient once, not squared": lambda F, W, b, target, W_old, lam:
        gradient_with(pull=0.0)(F, W, b, target, W_old, lam) + 2 * lam * (W - W_old) ** 2,
    "σ' and σ are missing: this is the gradient of a linear fit": gradient_with(slope=np.ones_like, output=lambda z: z),
    "σ' is taken where the unit is off: it is 1 for Z > 0": gradient_with(slope=lambda z: z < 0),
    "σ' is asked of the residual; it is 1 where Z > 0": gradient_with(
        slope=np.ones_like, one_sided=lambda residual: np.maximum(residual, 0)),
    "σ' stands for the output: relu(Z) is meant": gradient_with(output=lambda z: 1.0 * (z > 0)),
    "relu(Z) stands where σ'(Z) belongs": gradient_with(slope=lambda z: np.maximum(z, 0)),
    "the sign of the residual: it is σ(Z) − target": gradient_with(sign=-1.0),
    "the sign of the regulariser: it is W − W_l": gradient_with(pull=-2.0),
    "this is minus the gradient": gradient_with(sign=-1.0, pull=-2.0),
    "the bias is missing in Z": gradient_with(bias=0.0),
    "the regulariser pulls towards 0 (weight decay); it must pull towards W_l": gradient_with(towards=0.0),
    "the fit is a sum over the samples, not a mean":
        lambda F, W, b, target, W_old, lam: gradient_with(2 / len(F))(F, W, b, target, W_old, lam),
    "the bias comes in with a plus sign": gradient_with(bias=-1.0),
    "parentheses: all of W − W_l is multiplied by 2λ": lambda F, W, b, target, W_old, lam:
        gradient_with(pull=0.0)(F, W, b, target, W_old, lam) + 2 * lam * W - W_old,
    "σ' is asked of W; it is 1 where Z > 0": lambda F, W, b, target, W_old, lam:
        2 * F.T @ (np.maximum(F @ W + b, 0) - target) * (W > 0) + 2 * lam * (W - W_old),
    "b is added to FW, not to W: parentheses": lambda F, W, b, target, W_old, lam:
        2 * F.T @ ((F @ (W + b) > 0) * (np.maximum(F @ (W + b), 0) - target)) + 2 * lam * (W - W_old),
    "Z belongs to W itself, not to its change W − W_old": lambda F, W, b, target, W_old, lam:
        gradient_with()(F, W - W_old, b, target, W_old, lam) + 2 * lam * W_old,
    "the target is missing: the residual is σ(Z) − target": gradient_with(miss=0.0),
    "Z belongs to W, the variable, not to W_old": gradient_with(at="W_old"),
    "σ' belongs to Z of W, the variable, not to that of W_old": lambda F, W, b, target, W_old, lam:
        2 * F.T @ ((F @ W_old + b > 0) * (np.maximum(F @ W + b, 0) - target)) + 2 * lam * (W - W_old),
    "the norm in the regulariser is squared: its gradient is not divided by a norm": lambda F, W, b, target, W_old, lam:
        gradient_with()(F, W, b, target, W_old, lam / np.linalg.norm(W - W_old)),
    "σ' is asked of the target; it is 1 where Z > 0": gradient_with(at="target"),
    "the gradient of a sum over the samples, regulariser included: nothing is divided by N":
        lambda F, W, b, target, W_old, lam: gradient_with()(F, W, b, target, W_old, lam) / len(F),
    "the residual is σ(Z) minus the target, not plus": gradient_with(miss=-1.0),
    "all of it is taken at W_old, as at the start; W is the variable":
        lambda F, W, b, target, W_old, lam: gradient_with()(F, W_old, b, target, W_old, lam),
    "λ weighs the regulariser; here it weighs the fit":
        lambda F, W, b, target, W_old, lam: gradient_with(2 * lam)(F, W, b, target, W_old, 1.0),
    "λ weighs the regulariser alone; here it weighs the fit too": lambda F, W, b, target, W_old, lam:
        gradient_with(2 * lam, 2)(F, W, b, target, W_old, lam),
    "1 − tanh² is the slope of tanh; ReLU's is 1 where Z > 0": gradient_with(slope=lambda z: 1 - np.tanh(z) ** 2),
    "σ is ReLU here; this is the gradient of tanh's fit":
        gradient_with(slope=lambda z: 1 - np.tanh(z) ** 2, output=np.tanh),
    "σ(Z) is squared here; the square is around the residual": gradient_with(output=lambda z: np.maximum(z, 0) ** 2),
    "ReLU stands in Z alone: a residual may have both signs": gradient_with(one_sided=lambda r: np.maximum(r, 0)),
    "λ itself is the weight of the regulariser; here it is inverted": lambda F, W, b, target, W_old, lam:
        gradient_with()(F, W, b, target, W_old, 1 / lam),
    "λ is missing: the regulariser has its weight": lambda F, W, b, target, W_old, lam:
        gradient_with()(F, W, b, target, W_old, 1.0),
}


def fit_gradient(answer, seed):
    """Exercise 9.1: the gradient of ‖relu(FW + b) − target‖² + λ‖W − W_old‖²."""
    rng = np.random.default_rng(seed)
    F, b, target = rng.normal(size=(6, 4)), rng.normal(size=3), rng.normal(size=(6, 3))
    target[::2] += 3.0  # some above the output and some below, on either side of 0
    W, W_old, tangent = rng.normal(size=(3, 4, 3))
    while abs(F @ W + b).min() < 1e-3:  # off the kink of ReLU, for the differences
        W = rng.normal(size=W.shape)
    lam, h = 0.7, 1e-6

    def objective(W):
        return np.sum((np.maximum(F @ W + b, 0) - target) ** 2) + lam * np.sum((W - W_old) ** 2)

    def claims(gradient):
        found = gradient(F, W, b, target, W_old, lam)
        slope = (objective(W + h * tangent) - objective(W - h * tangent)) / (2 * h)
        yield claim("the slope along a random tangent", np.sum(found * tangent), slope, DIFFERENCES,
                    look="where the target is met, is it zero? If so: look at σ' and the factors")
        at = np.maximum(F @ W + b, 0)
        yield claim("zero where the target is met and W = W_old", gradient(F, W, b, at, W, lam), 0 * W,
                    look="the residual must be σ(Z) − target")

    def mistakes(gradient):
        found = np.shape(gradient(F, W, b, target, W_old, lam))
        yield found == W.T.shape, f"it is transposed: shape {found} where that of W, {W.shape}, is expected"
        yield (found == (len(W) + 1, W.shape[1]),
               "a row too many: the gradient in W alone is asked for, b has a fit of its own")
        yield found != W.shape, f"it has shape {found} where that of W, {W.shape}, is expected"
        yield from slips(gradient, [(F, W, b, target, W_old, lam)], WRONG_GRADIENTS)
        at, fit = np.maximum(F @ W + b, 0), library_gradient(F, W, b, target, W_old, 0.0)
        share = times(gradient(F, W, b, target, W_old, lam) - fit, 2 * lam * (W - W_old))
        yield (share == share and not same(share, 1, 1e-6),
               f"the fit's part is right; the regulariser's has {share:.3g} times its weight 2λ")
        yield (same(gradient(F, W, b, target, W_old, 0.0), fit),
               "with λ = 0 it is right: look at the regulariser's part, its factor, weight and shape")
        yield (same(gradient(F, W, b, at, W_old, lam), 2 * lam * (W - W_old)),
               "where the target is met it is right: look at the fit's part, at the residual and σ'")

    return check("9.1", answer, claims, mistakes, fallback=library_gradient)


def relu_fit_value(u, t, q, c):
    """Return ½ (relu(u) − t)² + c/2 (u − q)², by the library's data term."""
    shape = np.broadcast(u, t, q).shape
    u, t, q = (np.broadcast_to(x, shape).astype(float) for x in (u, t, q))
    data = SquaredFit(ReLU(), u.reshape(1, -1), ReLU().forward(u).reshape(1, -1) - t.reshape(1, -1))
    return data.value(u.reshape(1, -1)).reshape(shape) / 2 + c / 2 * (u - q) ** 2


def library_relu_fit(t, q, c):
    """Return the cheaper of the minimisers on the two pieces of ReLU."""
    off, on = np.minimum(q, 0.0), np.maximum((t + c * q) / (1 + c), 0.0)
    return np.where(relu_fit_value(off, t, q, c) <= relu_fit_value(on, t, q, c), off, on)


def relu_fit_with(on=lambda t, q, c: (t + c * q) / (1 + c), off=lambda q: np.minimum(q, 0), c_in=None,
                  sigma=lambda u: np.maximum(u, 0), half=1.0, choose=np.less_equal, at_least=0.0, size=np.square,
                  when_off=(1.0, 1.0), when_on=(1.0, 1.0), start=lambda t, q: q):
    """Return the scalar fit with a slip in it: a candidate, the values that are compared, or how.

    `when_off` and `when_on` are what the two terms of (9.5) are multiplied with at either candidate.
    """
    def fit(t, q, c):
        price = c if c_in is None else c_in(c)
        stay, move = off(q), np.maximum(on(t, q, c), at_least)

        def value(u, weights):
            return weights[0] * half * size(sigma(u) - t) + weights[1] * price * (u - start(t, q)) ** 2
        return np.where(choose(value(stay, when_off), value(move, when_on)), stay, move)
    return fit


def matching_fit(t, q, c):
    """Return the minimiser of (9.7)."""
    return np.where(t + c * q > 0, (t + c * q) / (1 + c), q + t / c)


def downhill(t, q, c):
    """Return where gradient descent from q ends."""
    u = q.copy()
    for _ in range(500):
        u = u - 0.3 / (1 + c) * ((u > 0) * (u - t) + c * (u - q))
    return u


def ends_near(u, end):
    """Whether u is about where a descent ends, or zigzags with it about the kink at 0."""
    return bool(np.all((abs(u - end) < 0.02) | (np.maximum(abs(u), abs(end)) < 0.5)))


def on_piece(t, q, c):
    """Return the candidate with u > 0, or 0."""
    return np.maximum((t + c * q) / (1 + c), 0.0)


def off_piece(t, q, c):
    """Return the candidate with u ≤ 0."""
    return np.minimum(q, 0.0)


WRONG_FITS = {
    "the piece u < 0 is forgotten, with its u_off = min(q, 0), or the larger candidate is taken: staying at a negative "
    "q may be cheaper": lambda t, q, c: np.maximum((t + c * q) / (1 + c), 0),
    "only the piece on which q lies: the other one may hold a deeper minimum":
        lambda t, q, c: np.where(q > 0, np.maximum((t + c * q) / (1 + c), 0), q),
    "as if σ were the identity": lambda t, q, c: (t + c * q) / (1 + c),
    "both pieces can have a minimum: compare their values, each with the way from q, (u − q)² with no ReLU in it":
        lambda t, q, c: np.where((q < 0) & (t + c * q <= 0), q, np.maximum((t + c * q) / (1 + c), 0)),
    "the worse one is taken: the comparison is upside down": relu_fit_with(choose=np.greater),
    "the piece u > 0 is forgotten: moving to a positive u may be cheaper": lambda t, q, c: np.minimum(q, 0),
    "each candidate counts only on its own piece: u_off is at most 0, u_on at least 0":
        relu_fit_with(off=lambda q: q, at_least=-np.inf),
    "the way from q is missing in the value of u_off": relu_fit_with(when_off=(1.0, 0.0)),
    "the miss t² is missing in the value of u_off: ReLU gives 0 there, the target is t":
        relu_fit_with(when_off=(0.0, 1.0)),
    "the miss is missing in the value of u_on": relu_fit_with(when_on=(0.0, 1.0)),
    "the ½ of c is missing in the value of u_on": relu_fit_with(when_on=(1.0, 2.0)),
    "the miss is squared; here it is an absolute value": relu_fit_with(size=lambda miss: 2 * abs(miss)),
    "moving is paid from q, not from t": relu_fit_with(start=lambda t, q: t),
    "q has its weight c in u_on, as t has 1": relu_fit_with(on=lambda t, q, c: (t + q) / (1 + c)),
    "the u of least value is wanted, which may be negative; this is its ReLU":
        lambda t, q, c: np.maximum(relu_fit_with()(t, q, c), 0),
    "this is the minimiser of the matching loss (9.7)": matching_fit,
    "this is where a slope leads from q; the other minimum may be deeper": downhill,
    "the values lack c: the price of moving counts": relu_fit_with(c_in=lambda c: 0.0),
    "the values lack σ: (9.5) compares relu(u) with t": relu_fit_with(sigma=lambda u: u),
    "both terms of (9.5) have a ½; here one has lost it": relu_fit_with(half=2.0),
    "both terms of (9.5) have a ½; here the price has lost it": relu_fit_with(half=0.5),
    "a sign in u_on: it is a weighted mean of t and q":
        relu_fit_with(on=lambda t, q, c: (t - c * q) / (1 + c)),
    "c weighs q, and 1 weighs t, in u_on": relu_fit_with(on=lambda t, q, c: (c * t + q) / (1 + c)),
    "the denominator 1 + c is missing": relu_fit_with(on=lambda t, q, c: t + c * q),
    "u_on is a weighted mean of t and q, not t itself": relu_fit_with(on=lambda t, q, c: t),
    "these are least values; the u that has them is wanted": lambda t, q, c:
        relu_fit_value(relu_fit_with()(t, q, c), t, q, c),
    "the candidate nearer to q is taken: the miss counts too, compare the values of (9.5)":
        lambda t, q, c: np.where(abs(np.minimum(q, 0) - q) <= abs(on_piece(t, q, c) - q), np.minimum(q, 0),
                                 on_piece(t, q, c)),
    "whether t > q does not decide: compare the two values": lambda t, q, c:
        np.where(t > q, on_piece(t, q, c), np.minimum(q, 0)),
    "the sum of the two candidates; the better one is wanted": lambda t, q, c: np.minimum(q, 0) + on_piece(t, q, c),
    "the mean of the two candidates; the better one is wanted": lambda t, q, c:
        (np.minimum(q, 0) + on_piece(t, q, c)) / 2,
    "this says which candidate is better; the u itself is wanted": lambda t, q, c:
        1.0 * (relu_fit_with()(t, q, c) == np.minimum(q, 0)),
    "this is the number of the better candidate, 0 or 1; the u itself is wanted": lambda t, q, c:
        1.0 * (relu_fit_with()(t, q, c) != np.minimum(q, 0)),
    "moving is paid from q: (u − q)², not (u + q)²": relu_fit_with(start=lambda t, q: -q),
    "c multiplies the price, it does not divide it": relu_fit_with(c_in=lambda c: 1 / c),
    "the values are compared at t and q; they belong to the two candidates": lambda t, q, c: np.where(
        (np.maximum(q, 0) - t) ** 2 / 2 <= (np.maximum(t, 0) - t) ** 2 / 2 + c / 2 * (t - q) ** 2, np.minimum(q, 0),
        on_piece(t, q, c)),
    "the mean in u_on has the weights 1 and c: divide by 1 + c, not by 2":
        relu_fit_with(on=lambda t, q, c: (t + c * q) / 2),
    "the denominator of u_on is 1 + c, not 1 − c": relu_fit_with(on=lambda t, q, c: (t + c * q) / (1 - c)),
    "the denominator of u_on is 1 + c, not c": relu_fit_with(on=lambda t, q, c: (t + c * q) / c),
    "c is missing, in u_on and in the values": lambda t, q, c: relu_fit_with()(t, q, 1.0),
    "c stands upside down, in u_on and in the values": lambda t, q, c: relu_fit_with()(t, q, 1 / c),
    "a factor 2 in c, in u_on and in the values": lambda t, q, c: relu_fit_with()(t, q, 2 * c),
    "a factor ½ in c, in u_on and in the values": lambda t, q, c: relu_fit_with()(t, q, c / 2),
    "this is the move u − q; u itself is wanted": lambda t, q, c: relu_fit_with()(t, q, c) - q,
    "this is the move q − u; u itself is wanted": lambda t, q, c: q - relu_fit_with()(t, q, c),
    "this is minus the minimiser": lambda t, q, c: -relu_fit_with()(t, q, c),
    "t and q are exchanged: q is where u starts, t the target": lambda t, q, c: relu_fit_with()(q, t, c),
}


def relu_fit(answer, seed):
    """Exercise 9.2: argmin_u ½ (relu(u) − t)² + c/2 (u − q)²."""
    rng = np.random.default_rng(seed)
    t, q = rng.uniform(-2, 2, size=(2, 60))
    q[:4] = -0.3, -0.3, -1.5, 0.8  # two wells, the right one deeper; the same, off; far off; on
    t[:4] = 1.0, 0.1, 1.0, -1.0
    grid = np.linspace(-6, 6, 1201)[:, None]

    def least_from(q, c):
        """Return the least value on the grid for each pair."""
        return relu_fit_value(grid, t, q, c).min(axis=0)

    def claims(fit):
        for c in (0.2, 2.0):
            excess = np.max(relu_fit_value(fit(t, q, c), t, q, c) - least_from(q, c))
            excess_on = np.max(relu_fit_value(fit(t, abs(q), c), t, abs(q), c) - least_from(abs(q), c))
            yield Claim(f"c = {c:g}, q > 0: no point of a grid is lower", beyond(excess_on), 1e-12,
                        "all units are on here: look at u_on, and at when 0 is the best")
            yield Claim(f"c = {c:g}, any q: no point of a grid is lower", beyond(excess), 1e-12,
                        "right for q > 0: look at u_off, and at the comparison")
            u = fit(t, q, c)
            away = np.max(np.minimum(abs(u - np.minimum(q, 0)), abs(u - on_piece(t, q, c))))
            yield Claim(f"c = {c:g}, any q: u is the lowest point of a piece", beyond(away), 1e-6)

    def mistakes(fit):
        alike = [x * np.ones(4) for x in (-1.0, 1.0)]  # targets and starts: of the first all stay off, of the other on
        yield (all(same(fit(x, x, 2.0), x) for x in alike)
               and any(same(fit(t, q, 2.0), piece(t, q, 2.0)) for piece in (on_piece, off_piece)),
               "one choice for the whole array: each element has its own, compare element by element")
        yield from slips(fit, [(t, q, c) for c in (0.2, 2.0)], WRONG_FITS)
        yield all(np.shape(fit(t, q, c)) == t.shape and ends_near(fit(t, q, c), downhill(t, q, c))
                  for c in (0.2, 2.0)), \
            "this is where a slope leads from q, a local method's answer; the other minimum may be deeper"
        yield same(fit(t, q, 2.0), np.where(t > 0, (t + 2 * q).clip(0) / 3, np.minimum(q, 0))), \
            "the sign of t alone does not decide: compare the two values"
        u, stay, move = np.asarray(fit(t, q, 2.0), dtype=float), np.minimum(q, 0), on_piece(t, q, 2.0)
        yield u.shape != t.shape, f"one u for each t and q is asked for, shape {t.shape}; yours has {u.shape}"
        yield (np.max(abs(u - library_relu_fit(t, q, 2.0))) <= 0.1,
               "near the least value, not at it: is it one of a grid? The lowest point of each parabola can be written "
               "down")
        cheap = np.asarray(fit(t, q, 0.2), dtype=float)  # at this price more units move
        u, stay, move = np.concatenate([[u, stay, move], [cheap, stay, on_piece(t, q, 0.2)]], axis=1)
        near = [np.isclose(u, candidate, atol=1e-9) for candidate in (stay, move)]
        yield (np.logical_or(*near).all(),
               "each u is one of the two candidates, but not the better one: are the values those of (9.5), with c?")
        other = ~near[0]
        yield (not near[1][other & (u > 0)].all(),
               "where it moves to a positive u, that is no minimum: the slope there is (u − t) + c (u − q)")
        yield (not near[0][u < 0].all(),
               "where it is negative, it is not q: there only the price counts, and staying is free")

    return check("9.2", answer, claims, mistakes, fallback=library_relu_fit)


def sweep_down(answer, net, state, y, seed):
    """Exercise 9.3: fits from the last map to the first, signals through the new weights."""
    rng = np.random.default_rng(seed)
    D, z = net.depth, state.z
    delta = net.loss_function.gradient(z[D], y)
    fitted = [None] + [theta + 0.3 * rng.normal(size=theta.shape) for theta in net.theta[1:]]

    def masked(l, signal):
        return signal if l == D else signal * net.sigma[l].derivative(z[l])

    def signals(sweep, fits, theta=net.theta, z=z, delta=delta):
        """Return the signals with which the answer asks for fits, by layer, and what it returns."""
        asked = {}

        def fit(l, signal):
            asked[int(l)] = np.array(signal)
            return fits[l]
        return asked, sweep(theta, z, delta, fit)

    def drawn(sizes, samples):
        """Return fits, parameters, pre-activations and δ_D of another net."""
        fits, theta = ([None] + [rng.normal(size=(n + 1, m)) for n, m in itertools.pairwise(sizes)] for _ in range(2))
        return fits, theta, [None] + [rng.normal(size=(samples, m)) for m in sizes[1:]], rng.normal(
            size=(samples, sizes[-1]))

    others = {  # of which an answer must not know more than what it is given
        "other z and δ": drawn([len(net.theta[1]) - 1, *(theta.shape[1] for theta in net.theta[1:])], len(delta)),
        "a deeper net": drawn([*range(4, D + 5), 3], 6)}

    def elsewhere(sweep, name):
        """Return the signals of an answer for another net, and what they should be; none if it fails there."""
        fits, theta, z, delta = others[name]
        right, signal = {}, delta
        for l in range(len(theta) - 1, 0, -1):
            right[l] = signal
            signal = (signal if l == len(theta) - 1 else signal * (z[l] > 0)) @ fits[l][:-1].T
        with contextlib.suppress(Exception):  # what it raises is told otherwise
            return signals(sweep, *others[name])[0], right
        return {}, right

    def claims(sweep):
        asked, result = signals(sweep, fitted)
        in_order = list(asked) == list(range(D, 0, -1))
        yield Claim("every layer is fitted, the last first", float(not in_order), 0)
        yield Claim("fits beyond one for each layer", max(0, len(order(sweep)) - D), 0)
        yield claim("the last layer's signal is δ_D", asked[D], delta)
        for l in range(D, 1, -1):
            passed = masked(l, asked[l]) @ fitted[l][:-1].T
            yield claim(f"signal of layer {l - 1}: through the new W of layer {l}", asked[l - 1], passed,
                        look=f"the fit of layer {l} gets the right signal: look at σ' and W on the way to {l - 1}")
        for l in range(1, D + 1):
            yield claim(f"returns the fit of layer {l}", result[l], fitted[l])
        for name in others:
            asked, right = elsewhere(sweep, name)
            yield Claim(f"{name}: every layer is fitted, the last first", float(list(asked) != list(right)), 0)
            for l in asked.keys() & right:
                yield claim(f"{name}: signal of layer {l}", asked[l], right[l])

    def down(weights=fitted, mask=masked, before=False, last=False, rows=slice(None, -1)):
        """Return {l: signal with which layer l is fitted} of a sweep with a slip in it."""
        found, signal = {}, delta
        for l in range(D, 0, -1):
            g = delta * (z[D] > 0) if last and l == D else mask(l, signal)
            found[l] = g if before else signal
            signal = g @ weights[l][rows].T
        return found

    def between(old, new):
        """Return, in each slot, a combination of the old parameters and the fits."""
        return [None] + [old * before + new * after for before, after in zip(net.theta[1:], fitted[1:])]

    def order(sweep):
        """Return the layers in the order in which the answer asks for fits, even if it fails thereafter."""
        asked = []

        def fit(l, signal):
            asked.append(int(l))
            return fitted[l]
        with contextlib.suppress(Exception):  # what it raises is told otherwise
            sweep(net.theta, z, delta, fit)
        return asked

    def mistakes(sweep):
        upwards = order(sweep)[:1] == [1]
        yield upwards and len(order(sweep)) < D, "upwards: the signal comes from the loss, so layer D is fitted first"
        asked, result = signals(sweep, fitted)
        yield (upwards and all(same(asked[l], signal) for l, signal in down(net.theta).items()),
               "all signals are BackProp's, of the old weights, made before any fit")
        if len(asked) < D:
            yield list(asked) == [D], "the loop ends after its first turn: the return stands inside it"
            yield min(asked) > 1, "the sweep stops too early: l runs down to 1, and range excludes its end"
            yield True, "a layer is never fitted"
        wrong = {
            "the old weights: then it is BackProp's signal": down(net.theta),
            "σ' is missing on the way through a layer": down(mask=lambda l, signal: signal),
            "the fit is given a signal that is already masked; δ_l is ∂J/∂F_l, see (9.1)": down(before=True),
            "the last layer is no ReLU: its σ' is 1": down(last=True),
            "σ' is 1 where z_l > 0; here it is the other way round":
                down(mask=lambda l, signal: signal if l == D else signal * (z[l] <= 0)),
            "z_l itself stands where σ'(z_l) belongs": down(mask=lambda l, signal: signal if l == D else signal * z[l]),
            "relu(z_l) stands where σ'(z_l) belongs":
                down(mask=lambda l, signal: signal if l == D else signal * np.maximum(z[l], 0)),
            "every fit gets δ_D, the signal of the last layer": dict.fromkeys(range(1, D + 1), delta),
            "a mean of old and new weights; the new ones alone are meant": down(between(0.5, 0.5)),
            "the change of the weights stands where the new weights belong": down(between(-1, 1)),
            "minus the change of the weights stands where the new weights belong": down(between(1, -1)),
            "fit returns the new θ itself; nothing is to be added to it": down(between(1, 1)),
            "the signal passes through W transposed, not through its inverse":
                down([None, *(np.vstack([np.linalg.pinv(theta[:-1]).T, theta[-1]]) for theta in fitted[1:])]),
            "σ' is 1 where z_l > 0 and 0 elsewhere; here it is the sign of z_l":
                down(mask=lambda l, signal: signal if l == D else signal * np.sign(z[l])),
            "the bias is the last row, not the first: [:-1] leaves it out": down(rows=slice(1, None)),
            "1 − tanh² is the slope of tanh; ReLU's is 1 where z_l > 0":
                down(mask=lambda l, signal: signal if l == D else signal * (1 - np.tanh(z[l]) ** 2)),
            "σ' depends on z_l; here it is the sign of the signal that is asked":
                down(mask=lambda l, signal: signal if l == D else np.maximum(signal, 0)),
            "a target, z_l minus the signal, is handed over; fit wants the signal itself":
                {l: z[l] - signal for l, signal in down().items()},
            "a target, F_l minus the signal, is handed over; fit wants the signal itself":
                {l: (z[l] if l == D else np.maximum(z[l], 0)) - signal for l, signal in down().items()},
            "the sign of the signal": {l: -signal for l, signal in down().items()},
        }
        yield list(asked) == list(range(1, D + 1)), "the order: the last layer is fitted first"
        again = len(order(sweep)) > D
        yield again and all(same(asked[l], signal) for l, signal in down().items()), \
            "a layer is fitted more than once: a fit is what costs, and one for each layer is asked for"
        for output in (lambda l: np.maximum(z[l], 0), lambda l: z[l] if l == D else np.maximum(z[l], 0)):
            shares = [times(output(l) - asked[l], signal) if asked[l].shape == signal.shape else np.nan
                      for l, signal in down().items()]
            yield (same(shares, np.full(D, shares[0])) and shares[0] == shares[0],
                   f"a target, F_l minus {shares[0]:.3g} times the signal, is handed over; fit wants the signal itself")
        if all(same(asked[l], signal) for l, signal in down().items()) and same(result[1:], fitted[1:]):
            for name, hint in (("other z and δ", "use theta, z and delta alone, nothing of the notebook's"),
                               ("a deeper net", "D is len(theta) − 1, and each hidden layer has its σ'")):
                found, right = elsewhere(sweep, name)
                yield (not all(l in found and same(found[l], signal) for l, signal in right.items()),
                       f"right for the notebook's net, not for {name}: {hint}")
        for message, expected in wrong.items():
            yield all(same(asked[l], expected[l]) for l in asked), message
        yield len(result) == D, "slot 0 of the list holds None, as in theta"
        yield len(result) != D + 1, f"{len(result)} parts come back; one list of D + 1 is asked for, as theta is"
        yield (same(result[1:], fitted[:0:-1]),
               "the list is in the order of the fits, the last layer first; layer l belongs into slot l")
        yield same(result[1:], net.theta[1:]), "these are the old θ; what the fits return is wanted"
        yield same(result[1:], between(1, -1)[1:]), "fit returns the new θ itself, no step to subtract"

    def library(theta, z, delta, fit):
        new, signal = [None] * (D + 1), delta
        for l in range(D, 0, -1):
            new[l] = fit(l, signal)
            g = signal if l == D else net.sigma[l].adjoint(z[l], net.sigma[l].forward(z[l]), None, signal)
            signal = net.phi[l].adjoint_input(new[l], g)
        return new

    return check("9.3", answer, claims, mistakes, fallback=library)


def price_with(share=lambda t, q: (t / (t - q)) ** 2, final=lambda share: share / (1 - share)):
    """Return an answer to 9.4 with a slip in it: the share that c/(1 + c) must be, or what is made of it."""
    return lambda t, q: final(share(t, q))


WRONG_PRICES = {
    "this is c/(1 + c); or the price at which moving all the way to t would pay: u may stop between q and t":
        price_with(final=lambda share: share),
    "this is where u_on reaches 0, or squares are missing: the costs hold t² and (t − q)²": lambda t, q: -t / q,
    "moving costs c/2 times the way from q to u, squared, and a miss: (t − q)² stands in it, not q²":
        price_with(lambda t, q: (t / q) ** 2, lambda share: share),
    "q is negative: the way is t − q, not t + q": price_with(lambda t, q: (t / (t + q)) ** 2),
    "upside down: this is 1/c": price_with(final=lambda share: (1 - share) / share),
    "c/(1 + c) is the share, so that c is share/(1 − share), not share/(1 + share)": price_with(
        final=lambda share: share / (1 + share)),
    "a root too many: the costs are compared as they are": price_with(lambda t, q: np.sqrt(t / (t - q))),
    "a factor 2: both costs have a ½": price_with(final=lambda share: 2 * share / (1 - share)),
    "a factor ½: both costs have one": price_with(final=lambda share: share / (1 - share) / 2),
    "a ½ on one side alone: both costs have one": price_with(lambda t, q: (t / (t - q)) ** 2 / 2),
    "t and q are exchanged": price_with(lambda t, q: (q / (t - q)) ** 2),
    "the sign: a price is positive": price_with(final=lambda share: share / (share - 1)),
}


def dead_unit(answer, seed):
    """Exercise 9.4: the price below which the scalar fit has its least value away from a q without slope."""
    rng = np.random.default_rng(seed)
    pairs = list(zip(rng.uniform(0.3, 2, size=6), rng.uniform(-3, -0.2, size=6)))

    def gain(t, q, c):
        """Return by how much the best u on the other side is lower than staying, over the cost of staying."""
        move = relu_fit_value(np.maximum((t + c * q) / (1 + c), 0.0), t, q, c)
        return 1 - float(move) / (t**2 / 2)

    def claims(price):
        for t, q in pairs:
            c = price(t, q)
            if np.ndim(c):
                raise ValueError(f"one number is expected, and the shape {np.shape(c)} comes")
            here = f"t = {t:.2f}, q = {q:.2f}"
            yield Claim(f"{here}: c is positive", float(not c > 0), 0)
            yield Claim(f"{here}: at 0.99 c the other side is lower (shortfall)", beyond(-gain(t, q, 0.99 * c)), 0)
            yield Claim(f"{here}: at 1.01 c it is not (excess)", beyond(gain(t, q, 1.01 * c)), 0)

    def mistakes(price):
        found = np.array([float(price(t, q)) for t, q in pairs])
        yield np.ptp(found) < 1e-9, "one price for all; it must be made of t and q"
        yield from slips(price, pairs, WRONG_PRICES)
        yield (found <= 0).any(), "c is a price: it is positive"
        for (t, q), c in zip(pairs, found):
            yield gain(t, q, 0.99 * c) < 0, f"for t = {t:.2f}, q = {q:.2f} staying is cheaper already at this price"
            yield gain(t, q, 1.01 * c) > 0, f"for t = {t:.2f}, q = {q:.2f} moving still pays at this price"

    return check("9.4", answer, claims, mistakes, fallback=lambda t, q: t**2 / (q * (q - 2 * t)))


close_to_answers(globals())
