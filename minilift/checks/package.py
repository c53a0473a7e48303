r"""Everything in the package, in small sizes, for `verify()`: layers, losses, networks and methods."""

from __future__ import annotations

from minilift import methods
from minilift.layers import activations, joins, losses, maps, normalization, pooling
from minilift.layers.convolution import Conv2d
from minilift.models import mlp, resnet, rnn
from minilift.network import Network


def package_things():
    """Return the package's own layers and losses, in several sizes and settings, for `verify()` of everything."""
    things = [maps.Linear(3, 4), maps.Linear(1, 1), maps.Linear(5, 1), maps.Linear(4, 4), maps.Linear(20, 2)]
    things += [Conv2d(2, 3, 3), Conv2d(1, 2, 2, stride=2, padding=1), Conv2d(3, 1, 1, padding="valid")]
    things += [pooling.MaxPool2d(2), pooling.AvgPool2d(2), pooling.Flatten(), normalization.BatchNorm(3),
               normalization.Dropout(0.3)]
    things += [joins.Add("x"), joins.Add(["x", "y"]), joins.Concat(["x", "y"]), joins.Select("x"), joins.Select("x", 1),
               joins.Select(None, 1, 3), joins.Zeros(2)]
    things += [cls() for cls in activations.ACTIVATIONS.values()]
    things += [activations.LeakyReLU(0.3), activations.Softmax(),
               activations.Composition([activations.Tanh(), activations.ReLU()])]
    return things + [cls(reduction) for cls in (losses.SquaredError, losses.SoftmaxCrossEntropy,
                                                losses.SigmoidCrossEntropy) for reduction in losses.REDUCTIONS]


def package_networks(seed):
    """Return small networks of all kinds, the convolutional one last."""
    start = {"seed": seed % 2**32}
    return [mlp([5, 4, 3, 2], activation="tanh", **start), mlp([3, 6, 4], activation="relu", **start),
            mlp([4, 3], loss=losses.SquaredError(), **start), resnet([3, 4, 4, 4, 2], "tanh", **start),
            rnn(2, 3, 1, 3, "every", loss=losses.SquaredError(), **start), small_convnet(seed, "numpy")]


def small_convnet(seed, backend):
    """Return a network with all the layers used for images: convolutions, batch norm, pooling, flattening."""
    layers = [Conv2d(1, 2, 3), normalization.BatchNorm(2), activations.Tanh(), pooling.AvgPool2d(2),
              Conv2d(2, 2, 2, padding="valid"), activations.ReLU(), pooling.MaxPool2d(2, stride=1), pooling.Flatten(),
              maps.Linear(2, 3)]
    return Network(layers, seed=seed % 2**32, input_shape=(6, 7, 1), backend=backend)


def package_methods():
    """Return the package's methods in settings that differ in kind, with steps that suit the small networks."""
    return [methods.BackProp(), methods.ProxProp(0.5), methods.ProxProp(5.0, last="implicit"),
            methods.ProxProp(1.0, solver="cg3"), methods.ProxProp(1.0, solver="cg2", joint=True),
            methods.LocoProp("S", gamma=0.5, steps="exact", eta=0.7),
            methods.LocoProp("M", gamma=0.2, steps="exact", eta=0.7),
            methods.LocoProp("M", gamma=0.5, steps=4, local_lr=0.02, local_optimizer="sgd", eta=2.0),
            methods.LocoProp("M", gamma=1.0, steps=3, local_lr=1e-3, local_optimizer="rmsprop"),
            methods.SemiImplicit(eta=0.05, lam=3.0, solver="exact"), methods.FOOF(2.0, decay=0.9),
            methods.KFAC(0.1, split="heuristic", decay=0.9), methods.KFAC(0.1, "empirical", split="exact"),
            methods.GaussNewton(0.1, tolerance=1e-6), methods.BCD(3.0, alpha=0.5), methods.ADMM(2.0, 0.5, alpha=0.3),
            methods.DLADMM(0.3), methods.MAC(3.0, a_steps=2), methods.FenchelLifted(0.3, 2.0, weight_decay=0.1),
            methods.LPOM(), methods.LiftedBregman(), methods.PredictiveCoding(0.2, 6),
            methods.PredictiveCoding(prediction="fixed"), methods.TargetPropagation(),
            methods.TargetPropagation(variant="lee")]
