"""Planted mistakes: `verify` must find each one, and call most of them by name.

A plant is a thing with a mistake in it, what `verify` is told of it besides, and words that the reason must
hold; None where the mistake must be found but has no name of its own.
"""

from typing import NamedTuple

import numpy as np
import pytest

import minilift as ml


class Plant(NamedTuple):
    """A mistake: what it is, the thing with it, words of the diagnosis, and further arguments of `verify`."""

    what: str
    make: object
    words: str | None
    options: dict = {}


def changed(base, *args, **functions):
    """Return an instance of a subclass in which some methods are replaced."""
    return type(f"Wrong{base.__name__}", (base,), functions)(*args)


def stacked(a):
    """Return [a 1]."""
    return np.hstack([a, np.ones((len(a), 1))])


# ---- maps


def without_bias_row(self, a, g):
    d = ml.Linear.adjoint_theta(self, a, g)
    d[-1] = 0
    return d


def bias_forgotten(self, theta, a):
    return a @ theta[:-1]


def gram_with(side, change):
    """Return a map whose Gram matrix is changed on one side."""

    def gram(self, a, side_=None, bias=True, **options):
        result = ml.Linear.gram(self, a, side=options.get("side", side_), bias=bias)
        if result.side == side:
            result.matrix = change(result)
        return result

    return gram


MAPS = [
    Plant(
        "adjoint in θ without the bias row",
        lambda: changed(ml.Linear, 3, 2, adjoint_theta=without_bias_row),
        "the bias row is missing",
    ),
    Plant(
        "adjoint in θ of the wrong shape",
        lambda: changed(ml.Linear, 3, 2, adjoint_theta=lambda self, a, g: a.T @ g),
        "the bias row is missing",
    ),
    Plant(
        "adjoint in θ averaged over the batch",
        lambda: changed(
            ml.Linear, 3, 2, adjoint_theta=lambda self, a, g: ml.Linear.adjoint_theta(self, a, g) / len(a)
        ),
        "1/(N",
    ),
    Plant(
        "adjoint in θ with the bias row averaged",
        lambda: changed(
            ml.Linear, 3, 2, adjoint_theta=lambda self, a, g: np.vstack([a.T @ g, g.mean(axis=0)])
        ),
        "the bias row alone is wrong: it is off by a factor 1/(N",
    ),
    Plant(
        "adjoint in θ transposed",
        lambda: changed(
            ml.Linear, 3, 2, adjoint_theta=lambda self, a, g: ml.Linear.adjoint_theta(self, a, g).T.copy()
        ),
        "transposed",
    ),
    Plant(
        "bias in the first row",
        lambda: changed(
            ml.Linear, 3, 2, adjoint_theta=lambda self, a, g: np.vstack([g.sum(axis=0), a.T @ g])
        ),
        "first row",
    ),
    Plant(
        "adjoint in a with weights not transposed",
        lambda: changed(ml.Linear, 3, 3, adjoint_input=lambda self, theta, g: g @ theta[:-1]),
        "not transposed",
    ),
    Plant(
        "adjoint in a of the wrong sign",
        lambda: changed(ml.Linear, 3, 2, adjoint_input=lambda self, theta, g: -g @ theta[:-1].T),
        "sign",
    ),
    Plant(
        "a zero adjoint in a",
        lambda: changed(ml.Linear, 3, 2, adjoint_input=lambda self, theta, g: np.zeros((len(g), 3))),
        "it is zero",
    ),
    Plant(
        "forward without the bias",
        lambda: changed(ml.Linear, 3, 2, forward=bias_forgotten),
        "the bias is missing",
    ),
    Plant(
        "forward with the bias doubled",
        lambda: changed(ml.Linear, 3, 2, forward=lambda self, theta, a: a @ theta[:-1] + 2 * theta[-1]),
        "the bias is added twice",
    ),
    Plant(
        "sample Gram matrix without 11ᵀ",
        lambda: changed(ml.Linear, 3, 2, gram=gram_with("sample", lambda gram: gram.a @ gram.a.T)),
        "column of ones is missing",
    ),
    Plant(
        "parameter Gram matrix divided by N",
        lambda: changed(ml.Linear, 3, 2, gram=gram_with("parameter", lambda gram: gram.matrix / len(gram.a))),
        "divided by the number",
    ),
    Plant(
        "Gram matrix of centred activations",
        lambda: changed(
            ml.Linear,
            3,
            2,
            gram=gram_with("sample", lambda gram: (gram.a - gram.a.mean(0)) @ (gram.a - gram.a.mean(0)).T),
        ),
        "means are subtracted",
    ),
    Plant(
        "a forward that writes into θ",
        lambda: changed(
            ml.Linear,
            3,
            2,
            forward=lambda self, theta, a: a @ theta[:-1] + np.add(theta[-1], 0, out=theta[-1]),
        ),
        "writes into",
    ),
    Plant(
        "a convolution with flipped kernels",
        lambda: changed(
            ml.Conv2d,
            2,
            2,
            3,
            forward=lambda self, theta, a: ml.Conv2d.forward(
                self, np.vstack([theta[:-1].reshape(3, 3, -1)[::-1, ::-1].reshape(-1, 2), theta[-1:]]), a
            ),
        ),
        "flipped",
    ),
    Plant("columns in another order than rows", lambda: changed(
        ml.Conv2d, 2, 3, 3, columns=lambda self, z: z.swapaxes(0, 1).reshape(-1, 3)), "another order"),
    Plant("a Gram operator that is kept by the shape of the batch", lambda: GramOfShape(3, 2), "that of an earlier a"),
    Plant("θ of a seed of its own", lambda: changed(
        ml.Linear, 3, 2, initial_theta=lambda self, rng: ml.Linear.initial_theta(self, np.random.default_rng(0))),
        "the same for every generator"),
]


class GramOfShape(ml.Linear):
    """A map that keeps its Gram operators by the shape of the batch."""

    def gram(self, a, side=None, bias=True):
        self.kept = getattr(self, "kept", {})
        return self.kept.setdefault((a.shape, side, bias), super().gram(a, side, bias))


# ---- activations

TRANSFERS = [Plant("tanh' in terms of a, given z", lambda: changed(ml.Tanh, derivative=lambda self,
                                                                   z: 1 - z**2), "in terms of a"),
             Plant("sigmoid' in terms of a, given z", lambda: changed(ml.Sigmoid, derivative=lambda self,
                                                                      z: z * (1 - z)), "in terms of a"),
             Plant("sigmoid' without 1 − a", lambda: changed(ml.Sigmoid, derivative=ml.Sigmoid.forward),
                   "returns σ(z)"), Plant("σ' forgotten in the adjoint",
                                          lambda: changed(ml.Tanh, adjoint=lambda self, z, a, aux, g: g),
                                          "σ' is forgotten"),
             Plant("adjoint of ReLU masked by g", lambda: changed(ml.ReLU, adjoint=lambda self, z, a, aux,
                                                                  g: g * (g > 0)), "masked by the sign of g"),
             Plant("σ' applied twice", lambda: changed(ml.Tanh, adjoint=lambda self, z, a, aux,
                                                       g: g * (1 - a * a) ** 2), "twice"),
             Plant("F of ReLU without ½", lambda: changed(ml.ReLU, integral=lambda self,
                                                          z: np.maximum(z, 0) ** 2), "factor 2"),
             Plant("F of the wrong sign", lambda: changed(ml.Tanh, integral=lambda self,
                                                          z: -np.log(np.cosh(z))), "sign"),
             Plant("F = zσ(z)", lambda: changed(ml.Tanh, integral=lambda self, z: z * np.tanh(z)),
                   "without the integral"), Plant("range stated too narrow",
                                                  lambda: changed(ml.Tanh, range=(0.0, 1.0)), "too narrow"),
             Plant("range stated too wide", lambda: changed(ml.ReLU, range=(-np.inf, np.inf)), "too wide"),
             Plant("an overflowing softplus", lambda: changed(ml.Softplus, forward=lambda self,
                                                              z: np.log(1 + np.exp(z))), "overflow"),
             Plant("softmax's adjoint without −aaᵀg", lambda: changed(ml.activations.Softmax,
                                                                      adjoint=lambda self, z, a, aux,
                                                                      g: a * g), "−a aᵀg"),
             Plant("mean pooling that forgets to divide",
                   lambda: changed(ml.AvgPool2d, 2, adjoint=lambda self, z, a, aux,
                                   g: 4 * ml.AvgPool2d.adjoint(self, z, a, aux, g)), "factor 4"),
             Plant("an activation that is not monotone but has F",
                   lambda: changed(ml.Identity, forward=lambda self, z: np.sin(2 * z), derivative=lambda self,
                                   z: 2 * np.cos(2 * z), integral=lambda self, z: -np.cos(2 * z) / 2,
                                   adjoint=ml.Activation.adjoint), None),
             Plant("batch norm that forgets that the mean depends on z",
                   lambda: changed(ml.BatchNorm, 3, adjoint=lambda self, z, a, aux,
                                   g: g * aux.scale * aux.inverse_deviation), None),
             Plant("softplus that overflows in float32 alone", lambda: changed(ml.Activation, derivative=lambda self, z:
                   ml.Sigmoid().forward(z), forward=lambda self, z: np.where(
                       z > 700, z, np.log1p(np.exp(np.minimum(z, 700))))), "overflows in float32"),
             Plant("dropout whose adjoint has the mask of the last pass", lambda: LastMask(0.3), "depends on calls"),
             Plant("batch norm whose momentum is the weight of the past", lambda: changed(
                 ml.BatchNorm, 3, commit=lambda self, aux: setattr(
                     self, "running", aux.batch + self.momentum * (self.running - aux.batch))), "the wrong way round")]


class LastMask(ml.Dropout):
    """Dropout that keeps its mask on itself."""

    def apply(self, z, training=False, rng=None):
        a, self.mask = super().apply(z, training, rng)
        return a, self.mask

    def adjoint(self, z, a, aux, g):
        return super().adjoint(z, a, self.mask, g)


# ---- losses


def prox_with(factor):
    """Return a prox whose τ is off by factor(N)."""
    return lambda self, v, y, tau: ml.Loss.prox(self, v, y, tau * factor(len(v)))


LOSSES = [Plant("gradient of a mean without 1/N", lambda: changed(ml.SquaredError, gradient=lambda self, z,
                                                                  y: z - y), "a factor N"),
          Plant("gradient of a sum with 1/N", lambda: changed(ml.SquaredError, "sum", gradient=lambda self, z,
                                                              y: (z - y) / len(z)), "1/(N"),
          Plant("gradient of ‖z − y‖² for half of it", lambda: changed(ml.SquaredError, "sum",
                                                                       gradient=lambda self, z,
                                                                       y: 2 * (z - y)), "a factor 2"),
          Plant("gradient y − f", lambda: changed(ml.SigmoidCrossEntropy, gradient=lambda self, z,
                                                  y: -ml.SigmoidCrossEntropy.gradient(self, z, y)), "sign"),
          Plant("cross-entropy gradient without its sigmoid",
                lambda: changed(ml.SigmoidCrossEntropy, "sum", gradient=lambda self, z, y: z - y),
                "transfer is forgotten"), Plant("softmax without the target",
                                                lambda: changed(ml.SoftmaxCrossEntropy, "sum",
                                                                gradient=lambda self, z,
                                                                y: self.transfer.forward(z)),
                                                "target is missing"),
          Plant("σ' twice: sigmoid's slope in the cross-entropy",
                lambda: changed(ml.SigmoidCrossEntropy, "sum", gradient=lambda self, z,
                                y: (self.proba(z) - y) * self.transfer.derivative(z)), "applied twice"),
          Plant("prox without the weight 1/N", lambda: changed(ml.SquaredError, prox=prox_with(lambda n: n)),
                "weight_of_a_sample"), Plant("prox with τ doubled",
                                                       lambda: changed(ml.SoftmaxCrossEntropy,
                                                                       prox=prox_with(lambda n: 2)),
                                                       "2 tau stands"),
          Plant("prox that is an explicit step", lambda: changed(ml.SigmoidCrossEntropy, prox=lambda self, v,
                                                                 y, tau: v - tau * self.gradient(v, y)),
                "explicit"), Plant("a concave loss", lambda: changed(ml.SquaredError, value=lambda self, z,
                                                                     y: -ml.SquaredError.value(self, z, y)),
                                   None),
          Plant("logarithms of clipped probabilities", lambda: changed(
              ml.SigmoidCrossEntropy, value_per_sample=lambda self, z, y: clipped_entropy(self.proba(z), y)),
              "clipped"),
          Plant("proba that returns z", lambda: changed(ml.SoftmaxCrossEntropy, proba=lambda self, z: z),
                "returns the outputs z")]


def clipped_entropy(p, y):
    p = np.clip(p, 1e-3, 1 - 1e-3)
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=-1)


# ---- methods: a user's functions of a block, told what they should be


def proximal(tau_theta=0.3, damping=None, gram=None, change=lambda d, block: d):
    """Return a function of a block that takes ProxProp's step, with something changed."""

    def propose(block):
        T = stacked(block.a)
        gradient = T.T @ block.g
        if block.last:
            return gradient
        C = T.T @ T if gram is None else gram(T)
        beta = 1 / tau_theta if damping is None else damping
        return change(np.linalg.solve(C + beta * np.eye(len(C)), gradient), block)

    return lambda: propose


def backprop(change):
    """Return a function of a block that proposes a changed gradient."""
    return lambda: lambda block: change(stacked(block.a).T @ block.g, block)


def bare(T):
    """Return TᵀT without the row and column of the bias."""
    return np.pad(T[:, :-1].T @ T[:, :-1], ((0, 1), (0, 1)))


def masked(block):
    """Return the gradient with the signal of a, not of z."""
    return stacked(block.a).T @ (block.g if block.g_a is None else block.g_a)


def zero_bias(d, block):
    return np.vstack([d[:-1], 0 * d[-1:]])


class OneSided(ml.LocoProp):
    """LocoProp whose regulariser pulls towards 0."""

    def propose(self, block):
        return super().propose(block) + self.local_lr * block.theta


class OldWeights(ml.SemiImplicit):
    new_weights = False


class AlwaysNew(ml.BackProp):
    new_weights = True


class ColdAverage(ml.FOOF):
    """FOOF whose average has its full decay at once."""

    def average(self, name, factor):
        self.factors[name] = factor + self.decay * (self.factors.get(name, factor) - factor)
        return self.factors[name]


class ForgetfulAverage(ml.FOOF):
    """FOOF whose state does not say how many steps there were."""

    def state_dict(self):
        return {**super().state_dict(), "steps": 1}


class ConstantPenalty(ml.MAC):
    """MAC whose μ stays, whatever its `growth`."""

    def directions(self, net, state, y):
        return super(ml.MAC, self).directions(net, state, y)


class UnscaledSemi(ml.SemiImplicit):
    """SIBP whose η refers to the averaged loss."""

    def propose(self, block):
        return super().propose(block._replace(weight=1.0))


PROX = {"like": ml.ProxProp(0.3)}
BACK = {"like": ml.BackProp()}
METHODS = [
    Plant("damping τ_θ for 1/τ_θ", proximal(damping=0.3), "τ_θ where it should be 1/τ_θ", PROX),
    Plant("damping doubled", proximal(damping=2 / 0.3), "damping is doubled", PROX),
    Plant("Gram matrix divided by N", proximal(gram=lambda T: T.T @ T / len(T)), "divided by N", PROX),
    Plant("Gram matrix without the bias", proximal(gram=bare), "no bias row and column", PROX),
    Plant("step doubled", proximal(change=lambda d, block: 2 * d), "a factor 2", PROX),
    Plant("step up, not down", proximal(change=lambda d, block: -d), "sign", PROX),
    Plant("bias row of the step missing", proximal(change=zero_bias), "the bias row is missing", PROX),
    Plant("the gradient for the proximal step", backprop(lambda d, block: d), "explicit", PROX),
    Plant(
        "implicit on the last map too",
        lambda: ml.ProxProp(0.3, last="implicit"),
        "last map takes the implicit",
        PROX,
    ),
    Plant(
        "CG with a step too few",
        lambda: ml.ProxProp(0.3, solver="cg1"),
        "too few",
        {"like": ml.ProxProp(0.3, solver="cg2")},
    ),
    Plant("σ' forgotten", lambda: masked, "σ' is forgotten", BACK),
    Plant("gradient summed, not averaged", backprop(lambda d, block: d / block.weight), "a factor N", BACK),
    Plant("gradient ascent", backprop(lambda d, block: -d), "sign"),
    Plant("nothing at all", backprop(lambda d, block: 0 * d), "zero"),
    Plant("signals through new weights", lambda: AlwaysNew(), "new weights"),
    Plant(
        "T steps, one too few",
        lambda: ml.LocoProp("M", gamma=0.5, steps=3, local_lr=0.05, local_optimizer="sgd", decay=False),
        "too few",
        {"like": ml.LocoProp("M", gamma=0.5, steps=4, local_lr=0.05, local_optimizer="sgd", decay=False)},
    ),
    Plant(
        "S for M",
        lambda: ml.LocoProp("S", gamma=0.5, steps=3, local_lr=0.05, local_optimizer="sgd"),
        "LocoProp-S, not LocoProp-M",
        {"like": ml.LocoProp("M", gamma=0.5, steps=3, local_lr=0.05, local_optimizer="sgd")},
    ),
    Plant(
        "no regulariser",
        lambda: ml.LocoProp("S", gamma=0.5, steps=5, local_lr=0.05, local_optimizer="sgd"),
        "regulariser is missing",
        {"like": ml.LocoProp("S", gamma=0.5, steps=5, local_lr=0.05, local_optimizer="sgd", eta=0.5)},
    ),
    Plant(
        "a regulariser towards 0",
        lambda: OneSided("M", gamma=0.5, steps=3, local_lr=0.05, local_optimizer="sgd"),
        None,
    ),
    Plant("η of SIBP on the averaged loss", lambda: UnscaledSemi(eta=0.05), "η is scaled by the batch size"),
    Plant("SIBP through old weights", lambda: OldWeights(eta=0.3, lam=0.5), "old weights"),
    Plant(
        "half of the batch is left out",
        lambda: lambda block: stacked(block.a[::2]).T @ block.g[::2],
        None,
        BACK,
    ),
    Plant(
        "a running average without its warm start", lambda: ColdAverage(0.1, decay=0.9),
        "full decay from the second batch on",
    ),
    Plant("a state without the number of steps", lambda: ForgetfulAverage(0.1, decay=0.9), "goes on otherwise"),
    Plant("a penalty that does not grow", lambda: ConstantPenalty(growth=1.5), "the second is not"),
    Plant("not a number", backprop(lambda d, block: d + np.nan), "it is not finite", BACK),
    Plant(
        "an objective that is not the one minimised",
        proximal(),
        None,
        {
            "objective": lambda block, theta: (
                ((stacked(block.a) @ theta - block.z + block.g) ** 2).sum() / 2
                + ((theta - block.theta) ** 2).sum()
            )
        },
    ),
]

# ---- networks: what a layer gets wrong shows in the whole

NETWORKS = [
    Plant(
        "a network whose tanh forgets σ'",
        lambda: ml.mlp([3, 4, 2], activation=changed(ml.Tanh, adjoint=lambda self, z, a, aux, g: g)),
        "σ' is forgotten in a layer above",
    ),
    Plant(
        "a network whose loss leaves out 1/N",
        lambda: ml.mlp([3, 4, 2], loss=changed(ml.SquaredError, gradient=lambda self, z, y: z - y)),
        "a factor N",
    ),
    Plant(
        "a network whose map leaves out the bias's gradient",
        lambda: ml.Network(
            [changed(ml.Linear, 3, 4, adjoint_theta=without_bias_row), ml.Tanh(), ml.Linear(4, 2)]
        ),
        "the bias row is missing",
    ),
]

PLANTS = [*MAPS, *TRANSFERS, *LOSSES, *METHODS, *NETWORKS]


def test_there_are_enough_plants_of_all_kinds():
    assert len(PLANTS) >= 30
    assert sum(plant.words is not None for plant in PLANTS) >= 25
    assert len({plant.what for plant in PLANTS}) == len(PLANTS)


def in_turn(plants):
    """Return every second plant for the quick tests, the others for the slow ones."""
    return [pytest.param(plant, marks=pytest.mark.slow) if k % 2 else plant for k, plant in enumerate(plants)]


@pytest.mark.parametrize("plant", [*MAPS, *TRANSFERS, *NETWORKS, *in_turn(LOSSES), *in_turn(METHODS)],
                         ids=lambda plant: plant.what)
def test_planted_mistake_is_found_and_named(plant):
    report = ml.verify(plant.make(), **plant.options)
    assert report.failures, f"verify accepts: {plant.what}\n{report}"
    reasons = [check.reason for check in report.failures]
    if plant.words is not None:
        assert any(plant.words in reason for reason in reasons), "\n".join(reasons)


@pytest.mark.parametrize("plant", [PLANTS[0], TRANSFERS[0], LOSSES[0], METHODS[0]],
                         ids=lambda plant: plant.what)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_diagnosis_does_not_depend_on_the_seed(plant, seed):
    report = ml.verify(plant.make(), seed=seed, **plant.options)
    assert any(plant.words in check.reason for check in report.failures), report
