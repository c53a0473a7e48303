r"""Checks of notebook 03: adjoints, the gradient of a loss and backpropagation, held to finite differences."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import (
    DIFFERENCES,
    Claim,
    beyond,
    check,
    claim,
    close_to_answers,
    gap,
    same,
    slips,
    times,
)
from minilift.graph import State
from minilift.layers.activations import Tanh
from minilift.layers.gram import stacked_product
from minilift.layers.losses import SoftmaxCrossEntropy, SquaredError
from minilift.layers.maps import Linear
from minilift.methods import BackProp
from minilift.models import mlp
from minilift.network import Network


def difference(function, x, tangent, h=1e-5):
    """Return the central difference of a function along a tangent."""
    return (function(x + h * tangent) - function(x - h * tangent)) / (2 * h)


WRONG_ADJOINTS = {
    "the bias is missing: its row belongs to θ, and its input is 1 for every sample": lambda a, g: a.T @ g,
    "the bias row is averaged over the samples; an adjoint sums (a mean belongs to the loss)":
        lambda a, g: np.vstack([a.T @ g, g.mean(axis=0)]),
    "all is averaged over the samples; an adjoint sums (a mean belongs to the loss)":
        lambda a, g: stacked_product(a, g) / len(a),
    "the weights are averaged over the samples; an adjoint sums":
        lambda a, g: np.vstack([a.T @ g / len(a), g.sum(axis=0)]),
    "the bias is the last row of θ, not the first": lambda a, g: np.vstack([g.sum(axis=0), a.T @ g]),
    "the bias row sums all of g; each unit has its own bias":
        lambda a, g: np.vstack([a.T @ g, np.full(g.shape[1], g.sum())]),
    "the bias row is of ones: the ones belong to ã, whose product with g sums":
        lambda a, g: np.vstack([a.T @ g, np.ones(g.shape[1])]),
    "the bias row is zero; a bias has an input, too, 1 for each sample": lambda a, g: np.vstack([a.T @ g, 0 * g[0]]),
    "the bias row is that of the last sample; sum over all": lambda a, g: np.vstack([a.T @ g, g[-1]]),
    "the bias row is that of the first sample; sum over all": lambda a, g: np.vstack([a.T @ g, g[0]]),
    "this is transposed: θ has a row for each input": lambda a, g: stacked_product(a, g).T,
    "the sign: an adjoint has none": lambda a, g: -stacked_product(a, g),
    "the sign of the bias row": lambda a, g: np.vstack([a.T @ g, -g.sum(axis=0)]),
    "a factor ½ in the bias row": lambda a, g: np.vstack([a.T @ g, g.sum(axis=0) / 2]),
    "a factor 2 in the weights": lambda a, g: np.vstack([2 * a.T @ g, g.sum(axis=0)]),
    "the bias row sums the signals g, not the rows of aᵀg": lambda a, g: np.vstack([a.T @ g, (a.T @ g).sum(axis=0)]),
    "the bias row sums g, sign and all: no length": lambda a, g: np.vstack([a.T @ g, np.linalg.norm(g, axis=0)]),
    "the bias row sums g, sign and all: no absolute values": lambda a, g: np.vstack([a.T @ g, abs(g).sum(axis=0)]),
    "the bias row sums g, and takes no largest one": lambda a, g: np.vstack([a.T @ g, g.max(axis=0)]),
    "this is the last sample's part alone: is a sum overwritten?": lambda a, g: stacked_product(a[-1:], g[-1:]),
    "this is the first sample's part alone: does the return stand inside the loop?":
        lambda a, g: stacked_product(a[:1], g[:1]),
    "a is centred here; the map has it as it is": lambda a, g: np.vstack([(a - a.mean(axis=0)).T @ g, g.sum(axis=0)]),
    "the bias row sums g itself, not its squares": lambda a, g: np.vstack([a.T @ g, (g**2).sum(axis=0)]),
    "the last sample is left out: range(len(a)) ends with it": lambda a, g: stacked_product(a[:-1], g[:-1]),
    "the ones are counted, N for each unit; the bias row sums g": lambda a, g:
        np.vstack([a.T @ g, np.full(g.shape[1], len(g))]),
    "the weights' row of each input multiplies g with a itself, not with its square":
        lambda a, g: np.vstack([(a**2).T @ g, g.sum(axis=0)]),
    "the weights have a with its sign: no absolute values": lambda a, g: np.vstack([abs(a).T @ g, g.sum(axis=0)]),
    "the weights have a itself: it has passed its transfer already": lambda a, g:
        np.vstack([np.tanh(a).T @ g, g.sum(axis=0)]),
    "the weights are those of the last sample alone: is a sum overwritten?": lambda a, g:
        np.vstack([np.outer(a[-1], g[-1]), g.sum(axis=0)]),
    "the bias row sums g; here it multiplies": lambda a, g: np.vstack([a.T @ g, np.prod(g, axis=0)]),
    "the bias row is the mean of a weight's column; it sums g": lambda a, g:
        np.vstack([a.T @ g, (a.T @ g).mean(axis=0)]),
    "each sample's a meets its own g; here sums are multiplied": lambda a, g:
        np.outer(np.append(a.mean(axis=0), 1), g.sum(axis=0)),
    "the bias row is added to the rows of the weights; it is a row of its own": lambda a, g: a.T @ g + g.sum(axis=0),
    "this is the pseudo-inverse; the adjoint is the transpose":
        lambda a, g: np.linalg.pinv(np.hstack([a, np.ones((len(a), 1))])) @ g,
}


def adjoint_theta(answer, seed):
    """Exercise 3.1: the adjoint of θ ↦ a W + 1 bᵀ."""
    rng = np.random.default_rng(seed)
    a, g, thetas = rng.normal(size=(6, 4)), rng.normal(size=(6, 3)), rng.normal(size=(5, 5, 3))

    def claims(adjoint):
        found = adjoint(a, g)
        if np.ndim(found) > 2:
            raise ValueError("one matrix for each sample comes back, where their sum is expected")
        yield claim("shape of θ", np.array(np.shape(found)), np.array([5, 3]))
        if np.shape(found) != (5, 3):
            return  # no inner product can be taken
        yield claim("⟨φ(θ, a), g⟩ = ⟨θ, adjoint(a, g)⟩ for 5 random θ", np.sum(thetas * found, axis=(1, 2)),
                    np.sum((a @ thetas[:, :-1] + thetas[:, -1:]) * g, axis=(1, 2)),
                    look="look at the weights and at the bias row one after the other")

    def mistakes(adjoint):
        yield from slips(adjoint, [(a, g)], WRONG_ADJOINTS)
        right, found = stacked_product(a, g), np.asarray(adjoint(a, g), dtype=float)
        yield found.ndim == 1, "one flat array comes back: stack the bias row below the weights, with np.vstack"
        yield same(found, right[[-1, *range(len(right) - 1)]]), "the bias is the last row of θ, not the first"
        yield found.ndim == 2 and found.shape != right.shape, (
            "θ has a row for each input, and below them that of the bias, "
            f"{right.shape} in all; yours has {found.shape}")
        factor = times(found, right)
        yield factor == factor, f"all of it is {factor:.3g} times what it should be"
        for part, mine, wanted in (("the bias row is", found[-1], right[-1]),
                                   ("the weights are", found[:-1], right[:-1])):
            factor = times(mine, wanted)
            yield factor == factor and not same(factor, 1.0), f"{part} {factor:.3g} times right"
        yield found.shape == right.shape and same(found[:-1], right[:-1]), "the weights are right, the bias row is not"
        yield found.shape == right.shape and same(found[-1], right[-1]), "the bias row is right, the weights are not"

    return check("3.1", answer, claims, mistakes, fallback=stacked_product)


def softmax_with(axis=1, mean=len, targets=1.0, normalised=True, sign=1.0, shift=0.0):
    """Return the gradient of softmax cross-entropy with a slip in it."""
    def gradient(z, y):
        p = np.exp(z - shift * z.max(axis=1, keepdims=True))
        if normalised:
            p = p / p.sum(axis=axis, keepdims=axis is not None)
        return sign * (p - targets * np.eye(z.shape[1])[y]) / mean(z)
    return gradient


WRONG_LOSS_GRADIENTS = {
    "the mean: each sample's loss has weight 1/N": softmax_with(mean=lambda z: 1),
    "the mean is over samples: divide by N, not by the number of entries": softmax_with(mean=np.size),
    "the mean is over samples: divide by N, not by the number of classes": softmax_with(mean=lambda z: z.shape[1]),
    "the sign: probabilities minus targets": softmax_with(sign=-1.0),
    "softmax normalises each row (sample), not each column": softmax_with(axis=0),
    "softmax normalises each row (sample), not all of z at once": softmax_with(axis=None),
    "softmax, after its shift, normalises each row (sample), not each column": softmax_with(axis=0, shift=1.0),
    "softmax, after its shift, normalises each row (sample), not all of z at once": softmax_with(axis=None, shift=1.0),
    "the largest of each row is subtracted, not of each column": lambda z, y:
        (lambda p: p / p.sum(axis=1, keepdims=True) - np.eye(z.shape[1])[y])(np.exp(z - z.max(axis=0))) / len(z),
    "the exponentials are not normalised": softmax_with(normalised=False),
    "the exponentials are not normalised, only shifted": softmax_with(normalised=False, shift=1.0),
    "the targets are missing: these are the probabilities over N": softmax_with(targets=0.0),
    "these are the probabilities": softmax_with(targets=0.0, mean=lambda z: 1),
    "the targets are added; they are subtracted": softmax_with(targets=-1.0),
    "logits were taken for probabilities: softmax is missing": lambda z, y: (z - np.eye(z.shape[1])[y]) / len(z),
    "logits were taken for probabilities, and a square for the loss: softmax is missing": lambda z, y:
        2 * (z - np.eye(z.shape[1])[y]) / len(z),
    "these are the targets' part alone: log Σ exp z has a slope, too": lambda z, y: -np.eye(z.shape[1])[y] / len(z),
    "the slope is not multiplied by the loss of each sample": lambda z, y: softmax_with()(z, y) * -np.log(
        softmax_with(targets=0.0, mean=lambda z: 1)(z, y)[np.arange(len(y)), y])[:, None],
    "the mean is taken twice": softmax_with(mean=lambda z: len(z) ** 2),
    "the target alone is divided by N once more": softmax_with(targets=1 / 7),
    "each sample has one target: index pairs (i, y_i); here whole rows y are taken": lambda z, y:
        softmax_with(targets=0.0)(z, y) - np.isin(np.arange(len(z)), y)[:, None] / len(z),
    "the label is a column, not a number to subtract: 1 at (i, y_i)":
        lambda z, y: softmax_with(targets=0.0)(z, y) - y[:, None] / len(z),
    "1/N is subtracted at every class, and p is not divided; 1 belongs at the right class alone, then all over N":
        lambda z, y: softmax_with(targets=0.0, mean=lambda z: 1)(z, y) - 1 / len(z),
    "1 is subtracted at every class; it belongs at the right one alone":
        lambda z, y: softmax_with(targets=0.0)(z, y) - 1 / len(z),
    "the logarithm belongs to the loss; its slope in z has p itself": lambda z, y:
        (np.log(softmax_with(targets=0.0, mean=lambda z: 1)(z, y)) - np.eye(z.shape[1])[y]) / len(z),
    "these are the losses of the samples, or their negatives; their slope in z is wanted": lambda z, y:
        np.eye(z.shape[1])[y] * np.log(softmax_with(targets=0.0, mean=lambda z: 1)(z, y)) / len(z),
    "p (1 − p) is the slope of one sigmoid; the logarithm of cross-entropy takes it away": lambda z, y:
        (lambda p: p * (1 - p))(softmax_with(targets=0.0, mean=lambda z: 1)(z, y)) / len(z),
    "at the right class stands p − 1; here its sign is turned": lambda z, y:
        (1 - 2 * np.eye(z.shape[1])[y]) * softmax_with()(z, y),
    "only the first sample has its target: does the return stand inside the loop?": lambda z, y:
        softmax_with(targets=0.0)(z, y) - (np.arange(len(z)) == 0)[:, None] * np.eye(z.shape[1])[y] / len(z),
    "logits over their sum are no probabilities: exp is missing": lambda z, y:
        (z / z.sum(axis=1, keepdims=True) - np.eye(z.shape[1])[y]) / len(z),
    "classes are counted from 0: the labels are off by one":
        lambda z, y: softmax_with()(z, y - 1),
    "classes are counted from 0: the labels are off by one, upwards":
        lambda z, y: softmax_with()(z, (y + 1) % z.shape[1]),
    "the mean divides by N; here N multiplies": softmax_with(mean=lambda z: 1 / len(z)),
    "both exponentials, above and below, are shifted alike": lambda z, y:
        (np.exp(z - z.max(axis=1, keepdims=True)) / np.exp(z).sum(axis=1, keepdims=True)
         - np.eye(z.shape[1])[y]) / len(z),
    "p (p − e_y) has a p too many: cross-entropy's logarithm takes it away": lambda z, y:
        softmax_with(targets=0.0, mean=lambda z: 1)(z, y) * softmax_with()(z, y),
    "the targets are divided by N, the probabilities are not": lambda z, y:
        softmax_with(targets=1 / len(z), mean=lambda z: 1)(z, y),
    "the probabilities are divided by N, the targets are not": lambda z, y: softmax_with(targets=len(z))(z, y),
    "one sigmoid for each logit; softmax shares 1 among the classes":
        lambda z, y: (1 / (1 + np.exp(-z)) - np.eye(z.shape[1])[y]) / len(z),
    "the sign in the exponent: exp(z)": lambda z, y: softmax_with()(-z, y),
    "the base of the exponential is e, not 2": lambda z, y: softmax_with()(z * np.log(2), y),
    "each sample has one target: index pairs (i, y_i), not the columns y": lambda z, y:
        (softmax_with(targets=0.0)(z, y) - np.isin(np.arange(z.shape[1]), y) / len(z)),
    "no p (1 − p) follows: it is the slope of a sigmoid": lambda z, y:
        (lambda d: d * (1 - d))(softmax_with(mean=lambda z: 1)(z, y)) / len(z),
    "at the right class 1 is subtracted from p; here −1 takes its place": lambda z, y: np.where(
        np.eye(z.shape[1])[y] == 1, -1, softmax_with(targets=0.0, mean=lambda z: 1)(z, y)) / len(z),
    "a p (1 − p) too many: cross-entropy's logarithm takes it away": lambda z, y: (
        lambda p: p * (1 - p) * softmax_with()(z, y))(softmax_with(targets=0.0, mean=lambda z: 1)(z, y)),
    "the logarithm of the sum is the loss's; its slope in z is p": lambda z, y:
        (np.log(np.exp(z).sum(axis=1, keepdims=True)) - np.eye(z.shape[1])[y]) / len(z),
    "p − e_y, not its square": lambda z, y: softmax_with(mean=lambda z: 1)(z, y) ** 2 / len(z),
    "the target's p turns its sign here; 1 is subtracted from it": lambda z, y:
        softmax_with(targets=0.0)(z, y) * (1 - 2 * np.eye(z.shape[1])[y]),
    "only the entries of the right class: the other logits move the loss, too":
        lambda z, y: np.eye(z.shape[1])[y] * softmax_with()(z, y),
    "softmax is taken twice": lambda z, y: softmax_with()(softmax_with(targets=0.0, mean=lambda z: 1)(z, y), y),
    "this is a slope of −log p in p; the chain goes on to z":
        lambda z, y: -np.eye(z.shape[1])[y] / (softmax_with(targets=0.0, mean=lambda z: 1)(z, y) * len(z)),
}


OVERFLOW = "for logits of 1000 exp overflows; a shift of all logits of a sample changes no probability"
ROW_BY_ROW = "where one sample has logits of 1000, others come out wrong: subtract the largest of each row, not of all"
LARGEST = "where one logit is 1000 above the others exp overflows: subtract the largest of each row, not its mean"


def loss_gradient(answer, seed):
    """Exercise 3.2: the gradient of softmax cross-entropy, averaged over samples, in the logits."""
    rng = np.random.default_rng(seed)
    z, y, tangents = 2 * rng.normal(size=(7, 4)), rng.integers(0, 4, 7), rng.normal(size=(3, 7, 4))
    loss, few, uneven = SoftmaxCrossEntropy(), np.minimum(y, 2), z + 1000.0 * np.eye(7)[2][:, None]
    alone = z + 1000.0 * np.eye(7, 4)  # in each of four samples another one

    def without_the_last_class(gradient):
        """Return the gradient for a batch that lacks the last class, or None if an answer cannot take it."""
        try:
            return gradient(z, few)
        except (ValueError, IndexError):
            return None

    def claims(gradient):
        found = np.asarray(gradient(z, y), dtype=float)
        yield claim("shape of z", np.array(found.shape), np.array(z.shape))
        for k, tangent in enumerate(tangents):
            slope = difference(lambda moved: loss.value(moved, y), z, tangent)
            yield claim(f"slope along random tangent {k + 1}", np.sum(found * tangent), slope, DIFFERENCES,
                        look="look at softmax over each row, at the targets, at 1/N")
        yield claim("a batch without the last class", gradient(z, few), loss.gradient(z, few),
                    look="the number of classes is that of z's columns")
        yield claim("all logits larger by 1000: the same", gradient(z + 1000, y), found, 1e-9, look=OVERFLOW)
        yield claim("those of one sample larger by 1000: the same", gradient(uneven, y), found, 1e-9, look=ROW_BY_ROW)
        yield claim("one logit of a sample larger by 1000", gradient(alone, y), loss.gradient(alone, y), 1e-9,
                    look=LARGEST)

    def mistakes(gradient):
        shape = np.shape(gradient(z, y))
        yield shape != z.shape, (f"one row for each sample is asked for, {z.shape} in all; yours has {shape}"
                                 f"{': nothing is summed over the samples' if shape == (4,) else ''}"
                                 f"{': a number, such as the loss, is no slope in each logit' if shape == () else ''}")
        yield from slips(gradient, [(z, y)], WRONG_LOSS_GRADIENTS)
        found, right = np.asarray(gradient(z, y), dtype=float), loss.gradient(z, y)
        yield (same(found, right) and not same(without_the_last_class(gradient), loss.gradient(z, few)),
               "a batch may lack the last class: their number is that of z's columns, not of the labels seen")
        yield same(found, right) and not same(gradient(z + 1000, y), found), OVERFLOW
        yield same(found, right) and not same(gradient(uneven, y), found), ROW_BY_ROW
        yield same(found, right) and not same(gradient(alone, y), loss.gradient(alone, y)), LARGEST
        hit = np.eye(4, dtype=bool)[y]
        yield found.shape == z.shape and same(found[hit], right[hit]), "right at the right class, wrong at the others"
        yield found.shape == z.shape and same(found[~hit], right[~hit]), "wrong at the right class, right at the others"
        yield (found.shape == z.shape and not same(found.sum(axis=1), 0 * found[:, 0]),
               "each row must sum to 0: a shift of all logits of a sample changes no loss. Yours do not")
        factor = times(found, right)
        yield factor == factor, f"all of it is {factor:.3g} times what it should be, for N = {len(z)}"
        confident = gradient(np.array([[0.0, 0, 50, 0]]), np.array([2]))
        yield not same(confident, 0 * confident, 1e-6), "a sample that is right and certain has no slope; yours has one"
        even = gradient(np.zeros((1, 4)), np.array([1]))
        yield (not same(even, [[0.25, -0.75, 0.25, 0.25]]),
               "for equal logits of 4 classes p is ¼ each, and the slope ¼, or ¼ − 1 at the right class; yours is not")
        yield True, "right for equal logits, wrong for others: is p made of z itself, and the target of y?"

    return check("3.2", answer, claims, mistakes, fallback=loss.gradient)


def library_backprop(theta, z, a, g):
    """Return [None, ∇θ_1 J, …] by the library, for a tanh network and ∂J/∂z_D = g."""
    widths = [len(part) - 1 for part in theta[1:]] + [theta[-1].shape[1]]
    net = mlp(widths, activation="tanh", loss=SquaredError("sum"), dtype=np.float64)  # gradient: output − target
    net.theta = theta
    return [None, *BackProp().directions(net, State(theta, z, a, [None] * len(theta)), z[-1] - g)]


def backprop(answer, seed):
    """Exercise 3.3: the backward sweep of a tanh network."""
    rng = np.random.default_rng(seed)
    net = mlp([4, 6, 6, 6, 3], activation="tanh", dtype=np.float64, seed=seed + 1)
    X, y = rng.normal(size=(9, 4)), rng.integers(0, 3, 9)
    shallow = mlp([4, 5, 3], activation="tanh", dtype=np.float64, seed=seed + 2)
    theta = [None, *(2.5 * part for part in net.parameters)]
    _, z, a, _ = net.forward(X, theta=theta)
    g_D = net.loss_function.gradient(z[-1], y)

    def slope(l, tangent):
        def moved(theta_l):
            return net.loss_function.value(net.forward(X, theta=[*theta[:l], theta_l, *theta[l + 1:]]).z[-1], y)
        return difference(moved, theta[l], tangent)

    def claims(sweep):
        found = sweep(theta, z, a, g_D)
        if isinstance(found, dict):
            raise ValueError("a dict comes back where a list is expected, whose slot 0 holds None")
        yield claim("a list [None, ∇θ_1 J, …, ∇θ_D J]", len(found), 5)
        for l in range(4, 0, -1):
            tangent = rng.normal(size=theta[l].shape)
            yield claim(f"θ_{l}: shape", np.array(np.shape(found[l])), np.array(theta[l].shape))
            yield claim(f"θ_{l}: slope along a random tangent", np.sum(found[l] * tangent), slope(l, tangent),
                        DIFFERENCES, look="the last map needs no σ': look at the adjoint" if l == 4 else
                        f"θ_{l + 1} is right: look at σ' and W on the way from map {l + 1} to map {l}")
        yield claim("and in a network of two maps", *of_two_maps(sweep), 1e-9, look="D is len(theta) − 1")

    def of_two_maps(sweep):
        """Return the gradients in a network of two maps, and the library's, as rows of numbers."""
        _, z, a, _ = shallow.forward(X)
        problem = shallow.theta, z, a, shallow.loss_function.gradient(z[-1], y)
        return [np.concatenate([np.ravel(part) for part in each(*problem)[1:]]) for each in (sweep, library_backprop)]

    def fits_two_maps(sweep):
        """Return whether it is right for a network of two maps."""
        try:
            return same(*of_two_maps(sweep))
        except (ValueError, IndexError, TypeError):
            return False

    def sweep_with(slope=lambda a_l: 1 - a_l**2, W=lambda part: part[:-1], signal=1.0, at="a", ones=1.0,
                   inputs=np.asarray, passed=np.asarray):
        """Return [None, …] of a sweep with a slip in it: σ', W, the signal."""
        def found(theta, z, a, g):
            result = [None] * len(theta)
            for l in range(len(theta) - 1, 0, -1):
                result[l] = stacked_product(inputs(a[l - 1]), signal * g)
                result[l][-1] *= ones
                if l > 1:
                    down = passed(g @ W(theta[l]).T)
                    g = slope((a if at == "a" else z)[l - 1]) * down
            return result
        return found

    def with_inputs(theta, z, a, g):
        """Return the sweep whose gradients are made with z_{l−1} for a_{l−1}."""
        signals = [g]
        for l in range(len(theta) - 1, 1, -1):
            signals.insert(0, (1 - a[l - 1] ** 2) * (signals[0] @ theta[l][:-1].T))
        return [None, *(stacked_product(x, g) for x, g in zip([a[0], *z[1:]], signals))]

    def through_new_weights(rate):
        """Return a sweep whose signal goes down through θ_l minus `rate` times its gradient."""
        def found(theta, z, a, g):
            result = [None] * len(theta)
            for l in range(len(theta) - 1, 0, -1):
                result[l] = stacked_product(a[l - 1], g)
                g = (1 - a[l - 1] ** 2) * (g @ (theta[l] - rate * result[l])[:-1].T) if l > 1 else g
            return result
        return found

    def one_too_low(theta, z, a, g):
        """Return the sweep that makes the gradient of θ_l with the signal of the map below."""
        result = [None] * len(theta)
        for l in range(len(theta) - 1, 0, -1):
            g = (1 - a[l - 1] ** 2) * (g @ theta[l][:-1].T)
            result[l] = stacked_product(a[l - 1], g)
        return result

    def gathered(theta, z, a, g):
        """Return the sweep that adds the signal to the one above, where their shapes agree."""
        result = [None] * len(theta)
        for l in range(len(theta) - 1, 0, -1):
            result[l] = stacked_product(a[l - 1], g)
            down = (1 - a[l - 1] ** 2) * (g @ theta[l][:-1].T)
            g = down + g if np.shape(down) == np.shape(g) else down
        return result

    def added(theta, z, a, g):
        """Return the sweep that adds σ' to the signal."""
        result = [None] * len(theta)
        for l in range(len(theta) - 1, 0, -1):
            result[l] = stacked_product(a[l - 1], g)
            g = (1 - a[l - 1] ** 2) + g @ theta[l][:-1].T if l > 1 else g
        return result

    def overwriting(theta, z, a, g):
        """Return the sweep that stores its gradients in the list of θ itself, and reads W_l from there."""
        result = list(theta)
        for l in range(len(theta) - 1, 0, -1):
            result[l] = stacked_product(a[l - 1], g)
            g = (1 - a[l - 1] ** 2) * (g @ result[l][:-1].T) if l > 1 else g
        return result

    wrong = {
        "each gradient takes the place of θ_l before W_l is read: gradients = theta is the same list, not a copy":
            overwriting,
        "σ' is missing: the signal passes the activations as if they were the identity":
            sweep_with(lambda a_l: np.ones_like(a_l)),
        "σ' was taken at a_l; it belongs at z_l": sweep_with(lambda a_l: 1 - np.tanh(a_l) ** 2),
        "the derivative of tanh is 1 − tanh², not 1 − tanh": sweep_with(lambda a_l: 1 - a_l),
        "the derivative of tanh is 1 − tanh², not tanh": sweep_with(lambda a_l: a_l),
        "the derivative of tanh is 1 − tanh², not tanh²": sweep_with(lambda a_l: a_l**2),
        "the sign: the derivative of tanh is 1 − tanh²": sweep_with(lambda a_l: a_l**2 - 1),
        "a (1 − a) is the derivative of a sigmoid; this is tanh": sweep_with(lambda a_l: a_l * (1 - a_l)),
        "1 − a² is meant, not (1 − a)²": sweep_with(lambda a_l: (1 - a_l) ** 2),
        "no N here: the mean is in g_D, once": sweep_with(lambda a_l: (1 - a_l**2) / len(X)),
        "σ' belongs there; this is σ, of a": sweep_with(np.tanh),
        "1 − z² stands where 1 − tanh²(z) belongs": sweep_with(lambda z_l: 1 - z_l**2, at="z"),
        "the derivative of tanh is 1/cosh², not 1/cosh": sweep_with(lambda z_l: 1 / np.cosh(z_l), at="z"),
        "a > 0 is ReLU's derivative; this is tanh": sweep_with(lambda a_l: a_l > 0),
        "σ' is applied twice": sweep_with(lambda a_l: (1 - a_l**2) ** 2),
        "σ' of the first sample stands for all": sweep_with(lambda a_l: 1 - a_l[:1] ** 2),
        "the signal passes σ' only, not σ": sweep_with(passed=np.tanh),
        "the bias row is zero: the ones of ã give it": sweep_with(ones=0.0),
        "the bias row sums the signal; here it is a mean": sweep_with(ones=1 / len(X)),
        "map l reads a_{l−1}; here z_{l−1} stands, before the activation": with_inputs,
        "the map's input is a itself, not its square": sweep_with(inputs=np.square),
        "1 + a² stands where 1 − a² belongs": sweep_with(lambda a_l: 1 + a_l**2),
        "W_l is not transposed on the way down": sweep_with(W=lambda part: part[:-1].T if
                                                            part[:-1].shape[0] == part.shape[1] else part[:-1]),
        "the bias row goes down with W_l: leave it out": sweep_with(W=lambda part: part[1:]),
        "the signal was multiplied by N": sweep_with(signal=len(X)),
        "the signal was divided by N once more": sweep_with(signal=1 / len(X)),
        "the sign of all gradients": sweep_with(signal=-1.0),
        "a factor 2 in all gradients": sweep_with(signal=2.0),
        "the last map has no transfer: no σ' for g_D": lambda theta, z, a, g:
            sweep_with()(theta, z, a, (1 - np.tanh(z[-1]) ** 2) * g),
        "σ' multiplies the signal; here it is added": added,
        "this is θ less the gradients; the gradients themselves are asked for": lambda theta, z, a, g:
            [None, *(old - part for old, part in zip(theta[1:], sweep_with()(theta, z, a, g)[1:]))],
        **{f"the signal goes down through the W_l of the forward pass; here θ_l has taken a step before, of {rate:g} "
           "times its gradient": through_new_weights(rate) for rate in (1.0, 0.5, 0.1, 0.05, 0.01, 0.001)},
        "the gradient of θ_l takes g_l; here the signal has gone down to the next map before": one_too_low,
        "a signal takes the place of the one above; here it is added to it": gathered,
        "a factor 2 on the way down": sweep_with(passed=lambda down: 2 * down),
    }

    def of_equal_widths():
        """Return the arguments for a network whose maps have all 3 inputs and 3 outputs: no slip in l raises there."""
        square = mlp([3, 3, 3, 3, 3], activation="tanh", dtype=np.float64, seed=seed + 3)
        inputs = rng.normal(size=(9, 3))
        _, z, a, _ = square.forward(inputs)
        return square.theta, z, a, square.loss_function.gradient(z[-1], y)

    def slip_in_l(sigma=0, W=0, turned=False):
        """Return the sweep with σ' at z of map l − 1 + sigma, and W of map l + W, transposed or not."""
        def found(theta, z, a, g):
            result = [None] * len(theta)
            for l in range(len(theta) - 1, 0, -1):
                result[l] = stacked_product(a[l - 1], g)
                if l > 1:
                    matrix = theta[l + W][:-1]
                    g = (1 - np.tanh(z[l - 1 + sigma]) ** 2) * (g @ (matrix if turned else matrix.T))
            return result
        return found

    def never_replaced(theta, z, a, g):
        """Return the gradients of a sweep that has g_D at every map."""
        return [None, *(stacked_product(part, g) for part in a[:len(theta) - 1])]

    def starting_anew(theta, z, a, g):
        """Return the gradients of a sweep whose signals all come down from g_D, through one map."""
        signals = [(1 - a[l] ** 2) * (g @ theta[l + 1][:-1].T) for l in range(1, len(theta) - 1)]
        return [None, *map(stacked_product, a, [*signals, g])]

    def slips_in_l(sweep):
        """Yield a slip in l, or in g, that raises an error where widths differ, found where they are equal."""
        problem = of_equal_widths()
        try:
            sweep(*problem)
        except Exception:  # it raises there, too, and has no such slip
            return
        yield from slips(sweep, [problem], {
            "here σ' is at z_l; it belongs at z_{l−1}": slip_in_l(sigma=1),
            "the signal goes down through W_l; here W_{l−1} stands": slip_in_l(W=-1),
            "W_l is not transposed on the way down": slip_in_l(turned=True),
            "the signal stays g_D: g must be replaced on the way down": never_replaced,
            "the signal starts anew at each map: g must be replaced on the way down": starting_anew,
        })

    def mistakes(sweep):
        yield from slips_in_l(sweep)
        found = sweep(theta, z, a, g_D)
        yield isinstance(found, dict), "a dict comes back where a list is expected, whose slot 0 holds None"
        yield (len(found) == 2 and isinstance(found[0], (list, tuple)),
               "two parts come back; the list of gradients alone is asked for")
        yield len(found) == 4, "slot 0 of the list holds None, as in theta"
        shapes = [np.shape(part) for part in theta[1:]]
        yield ([np.shape(part) for part in found if part is not None] == shapes[::-1],
               "the list is in reverse order: [None, ∇θ_1 J, …, ∇θ_D J] is asked for")
        yield same(found[4], library_backprop(theta, z, a, g_D)[4]) and all(part is None for part in found[1:4]), \
            "the sweep ends after the last map: the return stands inside the loop"
        yield found[1] is None, "θ_1 has no gradient: the loop goes down to l = 1, and range excludes its end"
        yield from slips(sweep, [(theta, z, a, g_D)], wrong)
        right = library_backprop(theta, z, a, g_D)
        for l in range(4, 0, -1):
            shape, wanted = np.shape(found[l]), theta[l].shape
            yield shape == (wanted[0] - 1, wanted[1]), f"the bias row of ∇θ_{l} J is missing: it is as large as θ_{l}"
            yield shape != wanted, (f"∇θ_{l} J has the shape {shape} where that of θ_{l}, {wanted}, is expected: is it "
                                    "made of a_{l−1} and g_l?")
        for l in range(4, 0, -1):
            if np.shape(found[l]) == np.shape(right[l]) and not same(found[l], right[l]):
                above = f"θ_{l + 1} is right, θ_{l}" if l < 4 else "θ_4"
                yield same(found[l][:-1], right[l][:-1]), f"{above} is wrong in its bias row alone: it sums the signal"
                yield l == 4, "θ_4 is wrong already, where no σ' comes in yet: only the adjoint of 3.1 and g_D do"
                yield True, (f"{above} is not: (3.5) leads from map {l + 1} to map {l}. Is σ' at z_{l}, and W_{l + 1} "
                             "transposed?")
        yield not fits_two_maps(sweep), "right for the notebook's depth alone: take D from theta, as len(theta) − 1"

    return check("3.3", answer, claims, mistakes, fallback=library_backprop)


class WrongTanh(Tanh):
    """A tanh whose backward pass has a fault."""

    def adjoint(self, z, a, aux, g):
        """Return g (1 − a), where it should be g (1 − a²)."""
        return g * (1 - a)


def with_fault(net, X, y, l):
    """Return [None, ∇θ_1 J, …] of a tanh network by a backward sweep whose σ'(z_l) is wrong."""
    widths = [(phi.n_in, phi.n_out) for phi in net.phi[1:]]
    layers = [Linear(*widths[0])]
    for k, (n_in, n_out) in enumerate(widths[1:], start=1):
        layers += [WrongTanh() if k == l else Tanh(), Linear(n_in, n_out)]
    faulty = Network(layers, loss=net.loss_function, dtype=net.dtype)
    faulty.theta = net.theta
    return [None, *BackProp().direction(faulty, X, y)[1]]


def suspicious_gradient(net, X, y, seed):
    """Return [None, ∇θ_1 J, …] of a tanh network by a backward sweep with a fault in one of its layers."""
    return with_fault(net, X, y, 2 + seed % (net.depth - 2))


def topmost_gap(suspicious, right):
    """Return the largest l whose two gradients differ."""
    return max(l for l in range(1, len(right)) if gap(suspicious[l], right[l]) > 1e-9)


def find_fault(answer, seed):
    """Exercise 3.4: the layer whose derivative is wrong, for a fault in each layer of three networks."""
    rng, cases = np.random.default_rng(seed), []
    for widths in ([4, 6, 6, 6, 3], [5, 4, 4, 3], [4, 5, 5, 5, 5, 3]):
        net = mlp(widths, activation="tanh", dtype=np.float64, seed=seed + 3)
        X, y = 100 * rng.normal(size=(9, widths[0])), rng.integers(0, 3, 9)
        net.theta[1][:-1] /= 100  # such inputs and weights: the largest difference is that in θ_1, whatever the fault
        # equal up to rounding, as where two ways to sum are compared
        right = [None, *(part * (1 + 1e-15) for part in BackProp().direction(net, X, y)[1])]
        cases += [(net.depth, l, with_fault(net, X, y, l), right) for l in range(1, net.depth)]
    _, _, faulty, right = cases[1]
    # the gradients are linear in σ'(z_2): those of a fault so small that ∇θ_2 J is off by 3e-5
    share = 3e-5 / abs(faulty[2] - right[2]).max()
    small = [None, *(good + share * (bad - good) for bad, good in zip(faulty[1:], right[1:]))], right
    # those of a fault at some samples of two units: ∇θ_2 J keeps its bias row, its corners and its sum
    shown = np.outer(np.append(rng.normal(size=len(right[2]) - 1), 0), [0, 1, -1, 0, 0, 0])
    two_units = [*faulty[:2], right[2] + abs(right[2]).max() * shown, *right[3:]], right
    one_sided = [([*faulty[:2], right[2] + sign * abs(right[2]).max(), *right[3:]], right) for sign in (1, -1)]

    def layer_of(find, lists):
        """Return the layer that an answer finds, 0 where it finds none."""
        try:
            return float(find(*lists))
        except Exception:  # it sees no fault, and may do anything then
            return 0.0

    def claims(find):
        for depth, l, *lists in cases:
            found = find(*lists)
            if np.ndim(found) or isinstance(found, (bool, np.bool_)):
                raise ValueError(f"the number of a layer is expected, got {found!r}")
            yield claim(f"{depth} maps, a fault in σ'(z_{l}): l", float(found), l)
        yield claim("4 maps, a fault in σ'(z_2) that moves ∇θ_2 J by 3e-5: l", layer_of(find, small), 2)
        yield claim("4 maps, a fault in σ'(z_2) at some samples of two units: l", layer_of(find, two_units), 2)
        for text, lists in zip(("raises", "lowers"), one_sided):
            yield claim(f"4 maps, a fault in σ'(z_2) that {text} all of ∇θ_2 J: l", layer_of(find, lists), 2)

    def mistakes(find):
        found = [find(*lists) for _, _, *lists in cases]
        yield any(np.ndim(each) for each in found), "one layer is asked for, a number"
        yield any(isinstance(each, (bool, np.bool_)) for each in found), "a number is asked for, not True or False"
        depths, layers = (np.array(part) for part in list(zip(*cases))[:2])
        yield same(found, depths), ("always the last map: it has no activation, and is right. Do you compare "
                                    "up to rounding?")
        yield same(found, 1 + 0 * layers), \
            ("always 1, the lowest that is wrong: the signal flows down and spoils all below; look from the top, for a "
             "difference beyond rounding, however small")
        yield same(found, layers - 1), "one too low: are layers counted from 1, as in lists whose slot 0 is None?"
        yield same(found, layers + 1), \
            "one too high: that gradient is still right; the fault shows first in the map before the activation"
        yield same(found, depths - layers), "this counts from the top; layers are counted from 1, below"
        yield same(found, 0 * layers + found[0]), "the same for every fault: it must come from the two lists"
        yield same(found[:3], layers[:3]) and not same(found, layers), \
            "right for four maps, not for any number: take it from the lists, len(right) − 1"
        for each, depth, l in zip(found, depths, layers):
            yield not same(each, l), f"for a fault in σ'(z_{l}) of {depth} maps your answer is {each}"
        yield any(layer_of(find, lists) != 2 for lists in one_sided), \
            "a fault that raises all entries of ∇θ_2 J, or one that lowers them, is not seen: a difference has a " \
            "sign, and its size counts"
        yield same(layer_of(find, small), 2), \
            "a fault in two units, which changes two columns of ∇θ_2 J, but neither their bias nor the sum of all, " \
            "is not seen: two arrays differ where any entry does, whatever the others do (not np.allclose, say)"
        yield True, "a fault that moves ∇θ_2 J by 3e-5 is not seen, or only below: right gradients agree up to rounding"

    return check("3.4", answer, claims, mistakes, fallback=topmost_gap)


def fool(answer, gradient, seed):
    """Exercise 3.5: a wrong gradient that a weak check passes."""
    def claims(wrong):
        yield claim("shape", np.array(np.shape(wrong)), np.array(gradient.shape))
        yield Claim("it is wrong (shortfall of 10 %)", beyond(0.1 - distance(wrong)), 1e-9)
        yield claim("the weak check passes it: equal sums", np.sum(wrong), np.sum(gradient), 1e-9)

    def distance(wrong):
        """Return the distance of an answer from the gradient, relative to the gradient."""
        return float(np.linalg.norm(np.asarray(wrong) - gradient) / np.linalg.norm(gradient))

    def mistakes(wrong):
        yield isinstance(wrong, (list, tuple)) and any(part is None for part in wrong), \
            "one array is asked for, of the shape of `gradient`; this is a list for all maps"
        yield np.shape(wrong) != gradient.shape, "it must have the gradient's shape"
        yield wrong is gradient, "wrong_gradient is gradient itself, and both change at once: begin with a copy"
        yield same(wrong, gradient), "this is the gradient; it should be wrong"
        yield same(wrong, -gradient), "minus the gradient has minus its sum: even the weak check sees it"
        yield distance(wrong) > 0 and same(np.asarray(wrong) / 2, gradient), "twice the gradient has twice its sum"
        yield distance(wrong) < 0.1, (
            f"this is the gradient, or nearly: off by {distance(wrong):.2g} of its norm; it should be wrong, by 0.1")
        yield same(wrong, 0 * gradient), "zero: its sum is zero, the gradient's is not"
        yield abs(np.sum(wrong) - np.sum(gradient)) > 1e-9, "the sums differ, so that even the weak check sees it"

    return check("3.5", answer, claims, mistakes)


close_to_answers(globals())
