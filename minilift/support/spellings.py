"""What users of scikit-learn, Keras and PyTorch call things, so that an error can name the spelling here."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# arguments of functions and constructors
ARGUMENTS = {
    "learning_rate": ("lr",), "learning_rate_init": ("lr",), "eta": ("lr",), "rate": ("lr",), "tau": ("tau_theta",),
    "n_epochs": ("epochs",), "max_iter": ("epochs",), "num_epochs": ("epochs",), "nb_epoch": ("epochs",),
    "batch": ("batch_size",), "random_state": ("seed",), "verbose": ("progress",),
    "validation_data": ("validation",), "validation_split": ("validation",), "validation_fraction": ("validation",),
    "early_stopping": ("early_stop",), "callback": ("callbacks",), "warm_start": ("resume",),
    "solver": ("optimizer",), "opt": ("optimizer",), "algorithm": ("method",),
    "hidden_layer_sizes": ("widths",), "layers": ("widths",), "units": ("n_out", "widths"), "sizes": ("widths",),
    "in_features": ("n_in",), "out_features": ("n_out",), "input_dim": ("n_in",), "output_dim": ("n_out",),
    "in_channels": ("c_in",), "out_channels": ("c_out",), "filters": ("c_out", "channels"),
    "kernel_size": ("kernel",), "strides": ("stride",), "pool_size": ("size",), "num_features": ("channels",),
    "p": ("rate",), "device": ("backend",), "activations": ("activation",), "kernel_initializer": ("init",),
    "loss_fn": ("loss",), "criterion": ("loss",), "from_logits": ("loss",), "beta_1": ("beta1",),
    "beta_2": ("beta2",), "betas": ("beta1",), "epsilon": ("eps",), "alpha": ("weight_decay",), "l2": ("weight_decay",),
    "restore_best_weights": ("restore_best",), "n_iter_no_change": ("patience",), "min_delta": ("patience",),
    "negative_slope": ("slope",), "epochs": ("max_iter",), "seed": ("random_state",),
    "validation": ("validation_fraction",),
}
# arguments that belong elsewhere
ELSEWHERE = {
    ("fit", "learning_rate"): "it is the optimizer's, as in SGD(lr=0.1)", ("fit", "lr"): "it is the optimizer's, as in "
    "SGD(lr=0.1)", ("fit", "loss"): "it is the network's, as in Network(layers, loss)",
    ("SGD", "momentum"): "HeavyBall and Nesterov have it", ("SGD", "nesterov"): "Nesterov is a class of its own",
    ("fit", "shuffle"): "samples are always shuffled, as the seed says", ("fit", "x"): "X and y are one pair (X, y)",
    ("fit", "patience"): "it is EarlyStop's, as in early_stop=EarlyStop(patience=3)",
    ("ProxProp", "lr"): "it is the optimizer's, as in SGD(lr=10)",
    **{("ImplicitMLP", name): "it is the optimizer's, as in optimizer='adam:lr=0.01'"
       for name in ("lr", "learning_rate", "learning_rate_init", "momentum")},
    ("fit", "X"): "X and y are one pair (X, y)", ("fit", "y"): "X and y are one pair (X, y)",
}
# names in the package
NAMES = {
    "Dense": "Linear", "Sequential": "Network", "Model": "Network", "Module": "Network", "MLP": "mlp",
    "Conv2D": "Conv2d", "MaxPooling2D": "MaxPool2d", "AveragePooling2D": "AvgPool2d", "BatchNormalization": "BatchNorm",
    "BatchNorm1d": "BatchNorm", "BatchNorm2d": "BatchNorm", "relu": "ReLU", "Relu": "ReLU", "tanh": "Tanh",
    "sigmoid": "Sigmoid", "MLPClassifier": "ImplicitMLPClassifier", "MLPRegressor": "ImplicitMLPRegressor",
    "CrossEntropyLoss": "SoftmaxCrossEntropy", "CategoricalCrossentropy": "SoftmaxCrossEntropy",
    "SparseCategoricalCrossentropy": "SoftmaxCrossEntropy", "BinaryCrossentropy": "SigmoidCrossEntropy",
    "BCEWithLogitsLoss": "SigmoidCrossEntropy", "MSELoss": "SquaredError", "MeanSquaredError": "SquaredError",
    "EarlyStopping": "EarlyStop", "RMSprop": "RMSProp", "AdamW": "Adam(…, decoupled=True)", "Momentum": "HeavyBall",
    "Backprop": "BackProp", "Proxprop": "ProxProp", "SIBP": "SemiImplicit", "SemiImplicitBP": "SemiImplicit",
    "train": "fit", "load_model": "load", "load_digits": "datasets.digits", "Input": "Network(…, input_shape=…)",
    "Softmax": "SoftmaxCrossEntropy", "Concatenate": "Concat", "optimizers": "optim",
    "nn": "Network", "Trainer": "fit", "softmax": "SoftmaxCrossEntropy", "manual_seed": "mlp(…, seed=0)",
    "seed": "mlp(…, seed=0)", "MNIST": "datasets.mnist", "load_mnist": "datasets.mnist", "CIFAR10": "datasets.cifar10",
    "Dataset": "datasets.Dataset",
}
FIT = "minilift.fit(net, (X, y), method, optimizer)"
# attributes, by the class that lacks them
ATTRIBUTES = {
    "Network": {
        "fit": FIT, "train": FIT, "compile": f"{FIT}, which takes method and optimizer", "train_on_batch": FIT,
        "evaluate": "minilift.evaluate(net, X, y)", "score": "net.accuracy(X, y)", "summary": "print(net)",
        "weights": "net.parameters", "get_weights": "net.state_dict()", "set_weights": "net.load_state_dict(arrays)",
        "trainable_variables": "net.parameters", "coefs_": "net.theta", "add": "minilift.Network([layer, …])",
        "predict_classes": "net.predict(X)", "backward": "minilift.BackProp().direction(net, X, y)",
        "zero_grad": "minilift.BackProp().direction(net, X, y)", "loss_": "net.loss(X, y)",
        "load_weights": "minilift.load(path)", "save_weights": "net.save(path)", "to": "Network(…, backend=\"cupy\")",
        "cuda": "Network(…, backend=\"cupy\")", "depth_": "net.depth", "named_parameters": "net.state_dict()",
        "eval": "net.predict(X), which does not train",
    },
    "Dataset": {"data": "data.X_train", "target": "data.y_train", "train": "data.X_train, data.y_train",
                "test": "data.X_test, data.y_test", "X": "data.X_train", "y": "data.y_train"},
    "History": {"history": "history[\"train_loss\"]", "loss": "history[\"train_loss\"]",
                "loss_curve_": "history[\"train_loss\"]", "epoch": "history[\"epoch\"]",
                "to_pandas": "pandas.DataFrame(history.columns)",
                "to_frame": "pandas.DataFrame(history.columns)"},
}


def nearest(name: str, known: Collection[str]) -> str:
    """Return '; did you mean …?' with the nearest of the known names, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown_argument(what: str, name: str, known: Collection[str]) -> TypeError:
    """Return the error for an argument that `what` does not have; it names the one that is meant, or all."""
    same = [other for other in ARGUMENTS.get(name, ()) if other in known]
    hint = f"; it is called {same[0]!r} here" if same else nearest(name, known)
    if (what, name) in ELSEWHERE:
        hint = f"; {ELSEWHERE[what, name]}"
    return TypeError(f"{what}: there is no argument {name!r}{hint} (known: {', '.join(known) or 'none'})")


def unknown_attribute(thing: object, name: str) -> AttributeError:
    """Return the error for an attribute that an object does not have, with what serves instead."""
    kind = next((cls.__name__ for cls in type(thing).__mro__ if cls.__name__ in ATTRIBUTES), "")
    instead = ATTRIBUTES.get(kind, {}).get(name)
    hint = f"; use {instead}" if instead else ""
    return AttributeError(f"{type(thing).__name__!r} object has no attribute {name!r}{hint}")


def unknown_export(name: str, known: Collection[str], module: str = "minilift") -> AttributeError:
    """Return the error for a name that the package, or a module, does not have, with the one that is meant."""
    hint = f"; it is minilift.{NAMES[name]} here" if name in NAMES else nearest(name, known)
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")


def spelled(function: F) -> F:
    """Decorate a public function or constructor: the error for an argument that it lacks names the right one."""
    known = tuple(name for name in inspect.signature(function).parameters if name != "self")
    what = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        for name in named:
            if name not in known:
                raise unknown_argument(what, name, known)
        return function(*arguments, **named)
    return call  # type: ignore[return-value]
