r"""minilift: neural networks trained by implicit steps, the derivation as code.

ProxProp, LocoProp, Semi-Implicit BP and plain backpropagation as block-wise descent on one quadratic penalty
energy, in NumPy and CuPy. Start with `Network` or `mlp`, a method such as `ProxProp`, and `fit`.
"""

from minilift import datasets, energy, methods, models, network, optim
from minilift.graph import State
from minilift.layers import activations, convolution, joins, losses, maps, normalization, pooling
from minilift.layers.activations import Activation, Identity, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh, Transfer
from minilift.layers.convolution import Conv2d
from minilift.layers.joins import Add, Concat, Join, Named, Select, Zeros
from minilift.layers.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from minilift.layers.maps import Linear, Map
from minilift.layers.normalization import BatchNorm, Dropout
from minilift.layers.pooling import AvgPool2d, Flatten, MaxPool2d
from minilift.local import problems, solvers
from minilift.methods import BackProp, Block, LocoProp, Method, ProxProp, SemiImplicit
from minilift.models import convnet, load, mlp, resnet, rnn
from minilift.network import Network
from minilift.optim import SGD, Adam, Constant, Cosine, HeavyBall, Nesterov, RMSProp, StepDecay, WarmupLinear
from minilift.training.fit import evaluate, fit
from minilift.training.history import EarlyStop, History

__version__ = "0.1.0"


def __getattr__(name):
    """Load `verify` and what belongs to it when first asked for: whoever trains has no need of it."""
    if name in ("Argmin", "Check", "Decreases", "Equal", "Gradient", "Report", "verify"):
        from minilift import checks
        return getattr(checks, name)
    raise AttributeError(f"module 'minilift' has no attribute {name!r}")
