r"""Checks of notebook 03: adjoints, the gradient of a loss and backpropagation, held to finite differences."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import DIFFERENCES, Claim, check, claim, close_to_answers, gap, same
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


def adjoint_theta(answer, seed):
    """Exercise 3.1: the adjoint of θ ↦ a W + 1 bᵀ."""
    rng = np.random.default_rng(seed)
    a, g, thetas = rng.normal(size=(6, 4)), rng.normal(size=(6, 3)), rng.normal(size=(5, 5, 3))

    def claims(adjoint):
        found = adjoint(a, g)
        yield claim("shape of θ", np.array(np.shape(found)), np.array([5, 3]))
        yield claim("⟨φ(θ, a), g⟩ = ⟨θ, adjoint(a, g)⟩ for 5 random θ", np.sum(thetas * found, axis=(1, 2)),
                    np.sum((a @ thetas[:, :-1] + thetas[:, -1:]) * g, axis=(1, 2)))

    def mistakes(adjoint):
        found, weights = adjoint(a, g), a.T @ g
        yield same(found, weights), "the bias is missing: its row belongs to θ, and its input is 1 for every sample"
        yield same(found, np.vstack([weights, g.mean(axis=0)])), \
            "the bias row is averaged over the samples; an adjoint sums (a mean belongs to the loss)"
        yield same(found, np.vstack([g.sum(axis=0), weights])), "the bias is the last row of θ, not the first"

    return check("3.1", answer, claims, mistakes, fallback=stacked_product)


def loss_gradient(answer, seed):
    """Exercise 3.2: the gradient of softmax cross-entropy, averaged over samples, in the logits."""
    rng = np.random.default_rng(seed)
    z, y, tangents = 2 * rng.normal(size=(8, 4)), rng.integers(0, 4, 8), rng.normal(size=(3, 8, 4))
    loss = SoftmaxCrossEntropy()

    def claims(gradient):
        found = np.asarray(gradient(z, y), dtype=float)
        yield claim("shape of z", np.array(found.shape), np.array(z.shape))
        for k, tangent in enumerate(tangents):
            slope = difference(lambda moved: loss.value(moved, y), z, tangent)
            yield claim(f"slope along random tangent {k + 1}", np.sum(found * tangent), slope, DIFFERENCES)

    def mistakes(gradient):
        found, one_hot, right = gradient(z, y), np.eye(4)[y], loss.gradient(z, y)
        across = np.exp(z) / np.exp(z).sum(axis=0)
        yield same(found, len(z) * right), "the mean: each sample's loss has weight 1/N"
        yield same(found, -right), "the sign: probabilities minus targets"
        yield same(found, (z - one_hot) / len(z)), "logits were taken for probabilities: softmax is missing"
        yield same(found, (across - one_hot) / len(z)), "softmax normalises each row (sample), not each column"

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
    theta = [None, *(2.5 * part for part in net.parameters)]
    _, z, a, _ = net.forward(X, theta=theta)
    g_D = net.loss_function.gradient(z[-1], y)

    def slope(l, tangent):
        def moved(theta_l):
            return net.loss_function.value(net.forward(X, theta=[*theta[:l], theta_l, *theta[l + 1:]]).z[-1], y)
        return difference(moved, theta[l], tangent)

    def claims(sweep):
        found = sweep(theta, z, a, g_D)
        yield claim("a list [None, ∇θ_1 J, …, ∇θ_D J]", len(found), 5)
        for l in range(4, 0, -1):
            tangent = rng.normal(size=theta[l].shape)
            yield claim(f"θ_{l}: shape", np.array(np.shape(found[l])), np.array(theta[l].shape))
            yield claim(f"θ_{l}: slope along a random tangent", np.sum(found[l] * tangent), slope(l, tangent),
                        DIFFERENCES)

    def with_slopes(slopes):
        """Return what comes out if these stand for σ'(z_1), σ'(z_2), …"""
        found, g = [None] * 5, g_D
        for l in range(4, 0, -1):
            found[l] = stacked_product(a[l - 1], g)
            g = g @ theta[l][:-1].T * slopes[l - 1] if l > 1 else g
        return found

    def mistakes(sweep):
        found = sweep(theta, z, a, g_D)
        for slopes, message in (
                ([None] + [1.0] * 3, "σ' is missing: the signal passes the activations as if they were the identity"),
                ([None] + [1 - np.tanh(a[l]) ** 2 for l in (1, 2, 3)], "σ' was taken at a_l; it belongs at z_l"),
                ([None] + [1 - a[l] for l in (1, 2, 3)], "the derivative of tanh is 1 − tanh², not 1 − tanh")):
            yield len(found) == 5 and same(found[1], with_slopes(slopes)[1]), message
        yield same(found[4], library_backprop(theta, z, a, len(X) * g_D)[4]), "the signal was multiplied by N"

    return check("3.3", answer, claims, mistakes, fallback=library_backprop)


class WrongTanh(Tanh):
    """A tanh whose backward pass has a fault."""

    def adjoint(self, z, a, aux, g):
        """Return g (1 − a), where it should be g (1 − a²)."""
        return g * (1 - a)


def suspicious_gradient(net, X, y, seed):
    """Return [None, ∇θ_1 J, …] of a tanh network by a backward sweep with a fault in one of its layers."""
    transfers = [Tanh() for _ in range(net.depth - 1)]
    transfers[1 + seed % (net.depth - 2)] = WrongTanh()
    widths = [(phi.n_in, phi.n_out) for phi in net.phi[1:]]
    layers = [Linear(*widths[0])]
    for transfer, (n_in, n_out) in zip(transfers, widths[1:]):
        layers += [transfer, Linear(n_in, n_out)]
    faulty = Network(layers, loss=net.loss_function, dtype=net.dtype)
    faulty.theta = net.theta
    return [None, *BackProp().direction(faulty, X, y)[1]]


def faulty_layer(answer, net, X, y, seed):
    """Exercise 3.4: the layer whose derivative is wrong, found from its effects."""
    suspicious, right = suspicious_gradient(net, X, y, seed), BackProp().direction(net, X, y)[1]
    errors = [None] + [gap(found, expected) for found, expected in zip(suspicious[1:], right)]

    def claims(l):
        if l not in range(1, net.depth):
            raise ValueError(f"expected a layer, 1 … {net.depth - 1}, got {l!r}")
        yield Claim(f"∇θ_{l} J is wrong (shortfall)", max(0.0, 1e-4 - errors[l]), 1e-9)
        yield Claim(f"everything after layer {l} is right", max(errors[l + 1:]), 1e-9)

    def mistakes(l):
        yield l == net.depth, "the last map has no activation; its gradient needs no σ'"
        yield max(errors[l + 1:]) > 1e-9, "already wrong at a later layer: the signal flows down from the last map"
        yield errors[l] < 1e-4, "this gradient is still right; the fault shows first in the map before the activation"

    return check("3.4", answer, claims, mistakes, fallback=next(l for l in range(4, 0, -1) if errors[l] > 1e-4))


def fool(answer, gradient, seed):
    """Exercise 3.5: a wrong gradient that a weak check passes."""
    def claims(wrong):
        yield claim("shape", np.array(np.shape(wrong)), np.array(gradient.shape))
        yield Claim("it is wrong (shortfall of 10 %)", max(0.0, 0.1 - distance(wrong)), 1e-9)
        yield claim("the weak check passes it: equal sums", np.sum(wrong), np.sum(gradient), 1e-9)

    def distance(wrong):
        """Return the distance of an answer from the gradient, relative to the gradient."""
        return float(np.linalg.norm(np.asarray(wrong) - gradient) / np.linalg.norm(gradient))

    def mistakes(wrong):
        yield np.shape(wrong) != gradient.shape, "it must have the gradient's shape"
        yield distance(wrong) < 0.1, "this is the gradient, or nearly; it should be wrong"
        yield same(wrong, 0 * gradient), "zero: its sum is zero, the gradient's is not"
        yield abs(np.sum(wrong) - np.sum(gradient)) > 1e-9, "the sums differ, so that even the weak check sees it"

    return check("3.5", answer, claims, mistakes)


close_to_answers(globals())
