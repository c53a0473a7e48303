r"""minilift: neural networks trained by implicit steps, the derivation as code.

ProxProp, LocoProp, Semi-Implicit BP and plain backpropagation, written as block-wise descent on one quadratic penalty
energy, in NumPy and CuPy. Start with `Network` or `mlp`, a method such as `ProxProp`, and `fit`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from minilift import datasets, energy, layers, methods, models, network, optim
from minilift.graph import State
from minilift.layers import activations, convolution, joins, losses, maps, normalization, pooling
from minilift.layers.activations import (
    Activation,
    HardTanh,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softplus,
    Tanh,
    Transfer,
)
from minilift.layers.convolution import Conv2d
from minilift.layers.joins import Add, Concat, Join, Named, Select, Zeros
from minilift.layers.losses import Loss, OneHotSquaredError, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from minilift.layers.maps import Linear, Map
from minilift.layers.normalization import BatchNorm, Dropout
from minilift.layers.pooling import AvgPool2d, Flatten, MaxPool2d
from minilift.local import problems, solvers
from minilift.methods import (
    ADMM,
    BCD,
    DLADMM,
    FOOF,
    KFAC,
    LPOM,
    MAC,
    BackProp,
    Block,
    FenchelLifted,
    GaussNewton,
    LiftedBregman,
    LocoProp,
    Method,
    PredictiveCoding,
    ProxProp,
    SemiImplicit,
    TargetPropagation,
)
from minilift.models import convnet, load, mlp, resnet, rnn
from minilift.network import Network
from minilift.optim import SGD, Adam, Constant, Cosine, HeavyBall, Muon, Nesterov, RMSProp, StepDecay, WarmupLinear
from minilift.support.parallel import Team
from minilift.support.spellings import EXPORTED, guide_in, guided, unknown_export
from minilift.training.fit import evaluate, fit
from minilift.training.history import EarlyStop, History

if TYPE_CHECKING:
    from minilift import plots
    from minilift.checks import Argmin, Check, Decreases, Equal, Gradient, Mend, Report, verify
    from minilift.estimators import ImplicitMLPClassifier, ImplicitMLPRegressor

__version__ = "0.1.0"
__all__ = [
    "ADMM",
    "BCD",
    "DLADMM",
    "FOOF",
    "KFAC",
    "LPOM",
    "MAC",
    "SGD",
    "Activation",
    "Adam",
    "Add",
    "Argmin",
    "AvgPool2d",
    "BackProp",
    "BatchNorm",
    "Block",
    "Check",
    "Concat",
    "Constant",
    "Conv2d",
    "Cosine",
    "Decreases",
    "Dropout",
    "EarlyStop",
    "Equal",
    "FenchelLifted",
    "Flatten",
    "GaussNewton",
    "Gradient",
    "HardTanh",
    "HeavyBall",
    "History",
    "Identity",
    "ImplicitMLPClassifier",
    "ImplicitMLPRegressor",
    "Join",
    "LeakyReLU",
    "LiftedBregman",
    "Linear",
    "LocoProp",
    "Loss",
    "Map",
    "MaxPool2d",
    "Mend",
    "Method",
    "Muon",
    "Named",
    "Nesterov",
    "Network",
    "OneHotSquaredError",
    "PredictiveCoding",
    "ProxProp",
    "RMSProp",
    "ReLU",
    "Report",
    "Select",
    "SemiImplicit",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SquaredError",
    "State",
    "StepDecay",
    "Tanh",
    "TargetPropagation",
    "Team",
    "Transfer",
    "WarmupLinear",
    "Zeros",
    "activations",
    "convnet",
    "convolution",
    "datasets",
    "energy",
    "evaluate",
    "fit",
    "joins",
    "load",
    "losses",
    "maps",
    "methods",
    "mlp",
    "models",
    "network",
    "normalization",
    "optim",
    "plots",
    "pooling",
    "problems",
    "resnet",
    "rnn",
    "solvers",
    "verify",
]


# names that are loaded on first use, since training does not need them
LATER = {**dict.fromkeys(["Argmin", "Check", "Decreases", "Equal", "Gradient", "Mend", "Report", "verify"],
                         "minilift.checks"),
         "plots": "minilift.plots",
         **dict.fromkeys(["ImplicitMLPClassifier", "ImplicitMLPRegressor"], "minilift.estimators")}


EXPORTED.extend(__all__)
guide_in(activations, datasets, energy, layers, losses, methods, models, network, optim, problems, solvers)
for _kind in (Map, Transfer, Loss, optim.Schedule, State):
    guided(_kind)
if not TYPE_CHECKING:
    def __getattr__(name):
        """Load a name in `LATER`, or say what a name from another library is called here."""
        if name not in LATER:
            raise unknown_export(name, __all__)
        try:
            module = import_module(LATER[name])
        except ImportError as error:
            if LATER[name] != "minilift.estimators":
                raise
            from minilift.support.terminal import absent

            return absent(name, f"scikit-learn ({error})", "sklearn")
        return module if LATER[name] == f"minilift.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    """Return the public names, including those loaded later, and the modules that are loaded."""
    modules = [name for name, thing in globals().items() if getattr(thing, "__name__", "").startswith("minilift.")]
    return sorted({*__all__, *modules, *(name for name in globals() if name.startswith("__"))})
