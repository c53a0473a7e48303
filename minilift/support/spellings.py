"""Names used in scikit-learn, Keras and PyTorch, so that an error can suggest the name used here."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import sys
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

# arguments of functions and constructors
ARGUMENTS = {
    "learning_rate": ("lr",), "learning_rate_init": ("lr",), "eta": ("lr",), "rate": ("lr",),
    "tau": ("tau_theta", "eta"),
    "n_epochs": ("epochs",), "max_iter": ("epochs",), "num_epochs": ("epochs",), "nb_epoch": ("epochs",),
    "batch": ("batch_size",), "random_state": ("seed",), "verbose": ("progress",),
    "validation_data": ("validation",), "validation_split": ("validation", "validation_fraction"),
    "validation_fraction": ("validation",),
    "early_stopping": ("early_stop",), "callback": ("callbacks",), "warm_start": ("resume",),
    "solver": ("optimizer",), "opt": ("optimizer",), "algorithm": ("method",),
    "hidden_layer_sizes": ("widths",), "layers": ("widths",), "units": ("n_out", "widths"), "sizes": ("widths",),
    "in_features": ("n_in",), "out_features": ("n_out",),
    "in_channels": ("c_in",), "out_channels": ("c_out",), "filters": ("c_out", "channels"),
    "kernel_size": ("kernel", "size"), "strides": ("stride",), "pool_size": ("size",), "num_features": ("channels",),
    "p": ("rate",), "device": ("backend",), "activations": ("activation",), "kernel_initializer": ("init",),
    "loss_fn": ("loss",), "criterion": ("loss",), "from_logits": ("loss",), "beta_1": ("beta1",),
    "beta_2": ("beta2",), "betas": ("beta1",), "epsilon": ("eps",), "alpha": ("weight_decay", "slope"),
    "l2": ("weight_decay",),
    "restore_best_weights": ("restore_best",), "n_iter_no_change": ("patience",),
    "negative_slope": ("slope",), "epochs": ("max_iter",), "seed": ("random_state",),
    "validation": ("validation_fraction",), "act": ("activation",), "nonlinearity": ("activation",),
    "input_dim": ("n_in", "widths"), "output_dim": ("n_out", "widths"), "hidden": ("widths", "hidden_layer_sizes"),
    "input_size": ("n_in", "widths"), "hidden_size": ("n_hidden", "n_out", "widths"), "initial_epoch": ("resume",),
    "n_iter": ("epochs", "max_iter"), "iters": ("steps", "sweeps"), "iterations": ("steps", "sweeps"),
    "lr": ("local_lr", "eta", "rate"),
    "initializer": ("init",), "weight_init": ("init",), "n_inputs": ("widths",), "n_outputs": ("widths",),
    "num_iters": ("steps", "solver"), "gamma": ("tau_theta", "factor"), "eps": ("damping",),
    "niter": ("steps", "sweeps"), "max_epochs": ("epochs", "max_iter"), "rho": ("mu", "beta"), "lam": ("damping",),
    "lambda_": ("lam", "damping"), "T_max": ("epochs",), "eta_min": ("lr_min",), "step_size": ("every", "eta"),
    "n_samples": ("n", "n_train"), "test_size": ("fraction",), "val_data": ("validation",), "root": ("folder",),
    "data_dir": ("folder",), "path": ("folder",), "num_classes": ("classes",), "output_size": ("n_out",),
    "bs": ("batch_size",), "val": ("validation",),
    **dict.fromkeys(("valid", "test_data", "valid_data"), ("validation",)),
    **dict.fromkeys(("save_path", "checkpoint_path"), ("checkpoint",)),
    **dict.fromkeys(("logger", "on_epoch_end", "hooks"), ("callbacks",)), "model": ("net",), "network": ("net",),
    **dict.fromkeys(("train_data", "dataset", "dataloader", "loader"), ("data",)), "initialization": ("init",),
    "b1": ("beta1",), "beta": ("momentum",), "mu": ("momentum", "alpha"), "wd": ("weight_decay",),
    "warmup_epochs": ("warmup",), "warmup_steps": ("warmup",), "max_lr": ("lr",), "lr_max": ("lr",),
    "noise_level": ("noise",),
    "tau_w": ("tau_theta",), "train_size": ("fraction",), "widths": ("hidden_layer_sizes",),
    "patience": ("n_iter_no_change",), "x": ("X",), "training_data": ("data",), "depth": ("widths",),
    "timesteps": ("steps",), "seq_len": ("steps",), "reference": ("like",), "expected": ("like",),
}
LATER = "fit gives it the parameters, or a loop of yours: SGD(lr=0.1).step(net.parameters, directions)"
OPTIMIZERS = ("SGD", "HeavyBall", "Nesterov", "Adam", "RMSProp", "Muon")
# arguments that belong elsewhere
ELSEWHERE = {
    ("fit", "learning_rate"): "it is the optimizer's, as in SGD(lr=0.1)", ("fit", "lr"): "it is the optimizer's, as in "
    "SGD(lr=0.1)", ("fit", "loss"): "it is the network's, as in Network(layers, loss)",
    ("SGD", "momentum"): "HeavyBall and Nesterov have it, as in 'momentum:momentum=0.9'",
    ("SGD", "nesterov"): "Nesterov is a class of its own",
    ("fit", "shuffle"): "samples are always shuffled, as the seed says", ("fit", "x"): "X and y are one pair (X, y)",
    ("fit", "patience"): "it is EarlyStop's, as in early_stop=EarlyStop(patience=3)",
    ("ProxProp", "lr"): "it is the optimizer's, as in SGD(lr=10)",
    **{("ImplicitMLP", name): "it is the optimizer's, as in optimizer='adam:lr=0.01'"
       for name in ("lr", "learning_rate", "learning_rate_init", "momentum")},
    ("fit", "X"): "X and y are one pair (X, y)", ("fit", "y"): "X and y are one pair (X, y)",
    ("ImplicitMLP", "alpha"): "it is the optimizer's, as in optimizer='adam:weight_decay=0.0001'",
    ("SGD", "decay"): "a schedule stands for the rate, as in SGD(StepDecay(0.1, every=10))",
    ("fit", "steps_per_epoch"): "an epoch is one pass over the data", ("fit", "num_workers"): "several processes are a "
    "team, as in team=Team.mpi()", ("SGD", "clipnorm"): "directions may be clipped before optimizer.step(…)",
    ("fit", "metrics"): "loss and, of classes, accuracy are always measured: history[\"train_accuracy\"]",
    ("mlp", "dropout"): "Dropout is a layer: Network([Linear(64, 32), ReLU(), Dropout(0.5), Linear(32, 10)])",
    ("mlp", "batch_norm"): "BatchNorm is a layer: Network([Linear(64, 32), BatchNorm(32), ReLU(), Linear(32, 10)])",
    **{(name, bias): "every map has a bias, the last row of θ" for name in ("mlp", "Linear", "Conv2d")
       for bias in ("bias", "use_bias")},
    ("LocoProp", "loss"): "it is the variant: LocoProp('S') has the squared loss, LocoProp('M') the matching loss",
    **{(name, "params"): LATER for name in OPTIMIZERS},
    ("Activation", "(…)"): "it is the base class of ReLU(), Tanh(), Sigmoid() and others",
}
IN_THE_OPTIMIZER = "it is the optimizer's, as in SGD(lr=0.1, weight_decay=1e-4)"
IN_THE_NETWORK = "it is the network's, as in mlp([64, 32, 10], backend='cupy')"
WEIGHTS = ("every sample weighs the same; rows may be repeated, as in X.repeat(n, axis=0) and y.repeat(n, axis=0) "
           "with whole numbers n, or drawn by their weights")
THREADS = "fit leaves them to BLAS: with threadpoolctl.threadpool_limits(1): fit(…)"
ELSEWHERE |= {
    ("fit", "momentum"): "HeavyBall and Nesterov have it, as in HeavyBall(lr=0.1, momentum=0.9)",
    **{("fit", name): "it is the method's, as in ProxProp(tau_theta=0.5)" for name in ("tau_theta", "tau", "gamma")},
    **{("fit", name): THREADS for name in ("threads", "n_jobs", "n_threads", "num_threads")},
    **{("ProxProp", name): "it is the optimizer's, as in SGD(lr=10)" for name in ("step_size", "learning_rate")},
    ("ProxProp", "momentum"): "it is the optimizer's, as in HeavyBall(lr=10, momentum=0.9)",
    **{("ProxProp", name): "the solver says it, as in solver='cg3'" for name in ("cg", "n_cg", "max_iter", "maxiter")},
    ("LocoProp", "optimizer"): "it is called 'local_optimizer' here",
    **{(name, rate): "it is the optimizer's, as in SGD(lr=0.1)" for name in ("mlp", "Network")
       for rate in ("lr", "learning_rate")},
    **{(loader, name): "the data set has X_train, y_train, X_test and y_test"
       for loader in ("digits", "mnist", "fashion_mnist", "usps", "cifar10") for name in ("train", "split", "subset")},
    **{("ImplicitMLP.fit", name): "the estimator has it, as in ImplicitMLPClassifier(max_iter=20)"
       for name in ("epochs", "max_iter", "n_epochs")},
    ("RMSProp", "alpha"): "it is called 'rho' here",
    ("ImplicitMLP", "warm_start"): "partial_fit goes on from where it is",
    **{("ImplicitMLP", name): "it is the method's, as in method='proxprop:tau_theta=0.5'"
       for name in ("tau_theta", "damping", "gamma", "eta")},
    **{("ProxProp", name): "it is 1/tau_theta" for name in ("damping", "lam", "lambda_", "mu", "rho")},
    **{("ProxProp", name): "the solver says it, as in solver='cg3'"
       for name in ("niter", "iters", "steps", "cg_iters")},
}
# arguments that belong elsewhere, whatever they are given to
ANYWHERE = {
    **dict.fromkeys(("device", "backend", "dtype"), IN_THE_NETWORK),
    **dict.fromkeys(("kernel_regularizer", "regularizer", "weight_decay", "l2", "alpha"), IN_THE_OPTIMIZER),
    "optimizer": "fit takes it, as in fit(net, (X, y), ProxProp(), SGD(lr=3))",
    "activation": "it is a layer of its own, as in Network([Linear(3, 4), ReLU(), Linear(4, 2)])",
    **dict.fromkeys(("output_activation", "last_activation", "out_activation", "final_activation"),
                    "it is inside the loss, SoftmaxCrossEntropy unless told otherwise"),
    **dict.fromkeys(("scheduler", "lr_schedule", "lr_scheduler"),
                    "the rate may be a schedule, as in SGD(lr=Cosine(0.1, epochs=20))"),
    **dict.fromkeys(("grad_clip", "clip_norm"), "directions may be clipped before optimizer.step(…)"),
    "return_X_y": "the data set has X_train, y_train, X_test and y_test",
    **dict.fromkeys(("sample_weight", "class_weight"), WEIGHTS),
}
# arguments given twice, by position and by name: what was probably meant
TAKEN = {**{(name, "lr"): LATER for name in OPTIMIZERS},
         ("fit", "method"): "X and y are one pair (X, y)"}
# hints for missing arguments
MISSING = {"fit": "as in fit(net, (X, y), ProxProp(), SGD(lr=3)), where X and y are one pair"}
# hints for too many arguments
TOO_MANY = {**dict.fromkeys(("ImplicitMLP.fit", "ImplicitMLPClassifier.partial_fit",
                             "ImplicitMLPRegressor.partial_fit"), f"; {WEIGHTS}"),
            **{name: f"; several names are one list, {name}(['x', 'y'])" for name in ("Add", "Concat")}}
# values that are names: those of methods, solvers, transfers, initialisations, backends, data sets
VALUES = {
    "logistic": ("sigmoid",), "linear": ("identity",), "cuda": ("cupy",), "gpu": ("cupy",), "cpu": ("numpy",),
    **{f"cg{k}": (f"ProxProp cg{k}",) for k in (1, 3, 5, 10)},
    "proxprop": ("ProxProp exact", "proxprop, Adam", "proxprop-table1"), "torch": ("PyTorch",),
    "bp": ("backprop",), "gd": ("backprop",), "double": ("float64",), "single": ("float32",),
    "backpropagation": ("backprop",), "gradient": ("backprop",), "sgd": ("backprop",),
    "sibp": ("semi-implicit",), "cg": ("cg3",), "conjugate_gradient": ("cg3",), "conjugate_gradients": ("cg3",),
    "cholesky": ("exact",), "direct": ("exact",), "lu": ("exact",), "heavyball": ("momentum",), "nag": ("nesterov",),
    "he_normal": ("he",), "kaiming": ("he",), "kaiming_normal": ("he",), "kaiming_uniform": ("he",),
    "xavier": ("glorot",), "glorot_uniform": ("glorot",),
    "mnist_784": ("mnist",), "loss": ("train_loss",), "acc": ("train_accuracy",), "accuracy": ("train_accuracy",),
    "val_acc": ("val_accuracy",), "test_loss": ("val_loss",), "test_accuracy": ("val_accuracy",), "squared": ("S",),
    "matching": ("M",), "xavier_uniform": ("glorot",),
    "run": ("train",), "fit": ("train",), "check": ("verify", "grade"), "notebook": ("tutorials",),
    "notebooks": ("tutorials",), "download": ("fetch",), "get": ("fetch",), "ls": ("list",), "info": ("list",),
    "hand-out": ("student",), "handout": ("student",), "solutions": ("build",), "mark": ("grade",), "html": ("book",),
    **dict.fromkeys(("exam", "exams", "quiz", "slides", "lecture"), ("kit",)), "show": ("list",), "load": ("fetch",),
    **dict.fromkeys(("cnn", "lenet", "conv"), ("convnet",)), **dict.fromkeys(("dense", "fc", "sequential"), ("mlp",)),
    "mlp": ("small",), **dict.fromkeys(("lstm", "gru"), ("rnn", "recurrent")), "rnn": ("recurrent",),
    "resnet": ("residual",), **dict.fromkeys(("large", "full"), ("wide", "paper")), "gn": ("gauss-newton",),
    "pc": ("predictive-coding",), "tp": ("target-propagation",), "fmnist": ("fashion_mnist",), "all": ("family",),
    **dict.fromkeys(("speed", "time", "timing"), ("step", "seconds")), "train": ("race",), "adam": ("backprop, Adam",),
    "nchw": ("channels_first",), "nhwc": ("channels_last",),
}
OWN_TRANSFER = "there is none here; softplus is smooth too, and a subclass of minilift.Activation is your own"
VALIDATION = "it is measured where fit is told validation=(X, y), or a fraction"
# values without a counterpart, and what to use instead
INSTEAD = {
    **dict.fromkeys(("swish", "silu", "gelu", "elu", "selu", "mish"), OWN_TRANSFER),
    **dict.fromkeys(("val_loss", "val_accuracy", "val_acc", "test_loss", "test_accuracy"), VALIDATION),
    "softmax": "it is inside SoftmaxCrossEntropy, the loss of mlp and Network unless told otherwise",
    **dict.fromkeys(("adam", "momentum", "rmsprop", "muon"), "it is an optimizer; the method of plain gradients is "
                    "'backprop'"),
    "adamw": "it is 'adam:decoupled=True,weight_decay=0.01'",
    "all": "name them one by one",
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
    "Trainer": "fit", "softmax": "SoftmaxCrossEntropy", "manual_seed": "mlp(…, seed=0)",
    "seed": "mlp(…, seed=0)", "MNIST": "datasets.mnist", "load_mnist": "datasets.mnist", "CIFAR10": "datasets.cifar10",
    "Dataset": "datasets.Dataset", "TensorDataset": "datasets.Dataset", "train_test_split": "datasets.split",
    "fetch_openml": "datasets.load(\"mnist\")", "Backpropagation": "BackProp", "LocoPropS": "LocoProp(\"S\")",
    "LocoPropM": "LocoProp(\"M\")", "lr_scheduler": "StepDecay", "StepLR": "StepDecay", "ExponentialLR": "StepDecay",
    "CosineAnnealingLR": "Cosine", "callbacks": "EarlyStop", "ModelCheckpoint": "fit(…, checkpoint=path)",
    "plot": "plots.history", "predict": "Network.predict", "save": "Network.save", "functional": "activations",
    "make_moons": "datasets.moons", "schedules": "StepDecay", "ExponentialDecay": "StepDecay",
    "accuracy": "Network.accuracy", "RNN": "rnn", "LSTM": "rnn", "GRU": "rnn", "SimpleRNN": "rnn", "CNN": "convnet",
    "ResNet": "resnet", "Hardtanh": "HardTanh",
    "AvgPool2D": "AvgPool2d", "MaxPool2D": "MaxPool2d", "BCELoss": "SigmoidCrossEntropy", "linear": "Identity",
    "NLLLoss": "SoftmaxCrossEntropy", "MSE": "SquaredError", "mse_loss": "SquaredError",
    "CrossEntropy": "SoftmaxCrossEntropy", "cross_entropy": "SoftmaxCrossEntropy", "BCE": "SigmoidCrossEntropy",
    "plot_history": "plots.history", "LinearizedADMM": "DLADMM", "ProximalGradient": "ProxProp", "MatrixMult": "Linear",
    "gradcheck": "verify", "check_grad": "verify", "dottest": "verify", "fetch_mnist": "datasets.mnist",
    "GlobalAveragePooling2D": "AvgPool2d", "AdaptiveAvgPool2d": "AvgPool2d", "ReduceLROnPlateau": "StepDecay",
    "LearningRateScheduler": "StepDecay", "ProxPropClassifier": "ImplicitMLPClassifier",
    "cg": "solvers.conjugate_gradients", "make_regression": "datasets.teacher", "Energy": "energy.PenaltyEnergy",
    "learning_curve": "plots.history", "loss_curve": "plots.history", "accuracy_curve": "plots.history",
    "curves": "plots.history", "savefig": "plots.save", "weights": "plots.filters",
    **dict.fromkeys(("OneCycleLR", "LinearLR", "Warmup"), "WarmupLinear"), "MultiStepLR": "StepDecay",
    "CosineDecay": "Cosine", "CosineAnnealing": "Cosine", "ConstantLR": "Constant", "ReLU6": "HardTanh",
    **dict.fromkeys(("L1Loss", "HuberLoss", "SmoothL1Loss", "MeanAbsoluteError"), "SquaredError"),
    **dict.fromkeys(("KLDivLoss", "LogSoftmax", "log_softmax"), "SoftmaxCrossEntropy"),
    **dict.fromkeys(("Conv1d", "Conv1D", "Conv3d", "conv2d"), "Conv2d"), "Reshape": "Flatten", "View": "Flatten",
    **dict.fromkeys(("Residual", "ResidualBlock", "Skip", "SkipConnection"), "Add"), "resnet18": "resnet",
    **dict.fromkeys(("VGG", "LeNet", "cnn"), "convnet"), "Perceptron": "mlp", "MultiLayerPerceptron": "mlp",
    **dict.fromkeys(("NeuralNetwork", "NeuralNet", "Net", "NN"), "Network"), "Layer": "Map", "dense": "Linear",
    "history": "History", "Optimizer": "optim.Optimizer", "Schedule": "optim.Schedule", "optimizer": "optim",
    "Callback": "fit(…, callbacks=[function])", "load_state_dict": "Network.load_state_dict", "NAG": "Nesterov",
    "load_weights": "load", "accuracy_score": "Network.accuracy", "score": "Network.accuracy", "check": "verify",
    "Prox": "ProxProp", "CG": "solvers.conjugate_gradients", "conjugate_gradients": "solvers.conjugate_gradients",
    "GN": "GaussNewton", "BP": "BackProp", "SGDM": "HeavyBall", "method": "methods", "model": "models",
    **{name: f"datasets.{name}" for name in ("digits", "curves", "moons", "spirals", "teacher", "mnist",
                                             "fashion_mnist", "usps", "cifar10", "split", "available")},
    "data": "datasets", "dataset": "datasets", "cifar": "datasets.cifar10", "loss_functions": "losses",
    "PenaltyEnergy": "energy.PenaltyEnergy", "penalty": "energy.PenaltyEnergy", "version": "__version__",
    **dict.fromkeys(("sklearn", "estimators", "ImplicitMLP", "Classifier", "Estimator"), "ImplicitMLPClassifier"),
    "Regressor": "ImplicitMLPRegressor", "load_data": "datasets.load", "get": "datasets.load",
    **dict.fromkeys(("list", "names", "list_datasets"), "datasets.available"), "checks": "verify",
    "prox_prop": "ProxProp", "jacobian": "verify",
}
OWN_LOOP = "nothing records gradients: minilift.BackProp().direction(net, X, y) returns them"
# names without a counterpart, and what to do instead
OTHERWISE = {
    "nn": "layers and losses are in minilift itself: minilift.Linear, minilift.ReLU, minilift.SoftmaxCrossEntropy",
    **dict.fromkeys(("no_grad", "grad", "GradientTape", "autograd", "backward", "value_and_grad"), OWN_LOOP),
    **dict.fromkeys(("jit", "vmap", "compile"), "there is nothing to compile: arrays are NumPy's or CuPy's"),
    **dict.fromkeys(("config", "set_config", "options"), "settings are arguments, as in minilift.mlp(…, seed=0)"),
    **{name: f"it is the command 'minilift {name}'" for name in ("equations", "reproduce", "tutorials", "bench")},
    "benchmark": "it is the command 'minilift bench'", "race": "it is the command 'minilift bench race'",
    **dict.fromkeys(("Upsample", "ConvTranspose2d", "Conv2DTranspose", "Cropping2D"),
                    "there is none here; a map of your own derives from minilift.Map"),
    "summary": "print(net) shows a network, print(history) a run",
    **dict.fromkeys(("confusion_matrix", "ConfusionMatrixDisplay"), "scikit-learn has it, of net.predict(X)"),
    **dict.fromkeys(("StandardScaler", "Pipeline", "make_pipeline", "GridSearchCV", "cross_val_score",
                     "cross_validate", "KFold"),
                    "it is scikit-learn's, and goes with minilift.ImplicitMLPClassifier"),
    **dict.fromkeys(("Adagrad", "Adadelta", "LBFGS", "Nadam", "Lion"),
                    f"there is none here; optimizers are {', '.join(OPTIMIZERS)}"),
    **dict.fromkeys(("Embedding", "Attention", "MultiheadAttention", "Transformer", "LayerNorm"),
                    "there is none here; a map of your own derives from minilift.Map"),
    **dict.fromkeys(("load_iris", "load_wine", "iris", "wine", "make_classification", "make_blobs", "make_circles"),
                    "there is none here; minilift.datasets.available() names those that there are"),
    **dict.fromkeys(("to_categorical", "one_hot"), "SoftmaxCrossEntropy takes labels as they are: 0, 1, …"),
    **dict.fromkeys(("regularizers", "l2", "L2"), "it is the optimizer's, as in minilift.SGD(0.1, weight_decay=1e-4)"),
    "loss": "net.loss(X, y) measures it, minilift.plots.history(history) draws it",
    "metrics": "net.loss(X, y) and net.accuracy(X, y) measure, or minilift.evaluate(net, X, y) both",
    "utils": "there is none; minilift.fit makes batches, minilift.datasets has data, minilift.plots figures",
    **dict.fromkeys(("Tensor", "tensor", "from_numpy", "randn"), "data are NumPy's arrays (or CuPy's)"),
    "random": "seeds are arguments, as in minilift.mlp(…, seed=0)",
    "init": "it is an argument, as in minilift.mlp(…, init=\"he\")",
    "set_default_dtype": "it is an argument, as in minilift.mlp(…, dtype=\"float64\")",
    **dict.fromkeys(("prox", "proximal"), "a loss has one, as minilift.SquaredError().prox(v, y, tau)"),
    "cholesky": "it is inside minilift.solvers.damped_solve",
    "compare": "it is the command 'minilift compare'; minilift.plots.comparison draws histories of minilift.fit",
    "show": "a notebook shows a figure that a cell ends with, minilift.plots.save writes it",
    "DataLoader": "minilift.fit(net, (X, y), …, batch_size=32) makes the batches",
    **dict.fromkeys(("GELU", "SiLU", "Swish", "ELU", "SELU", "Mish", "gelu", "silu", "swish", "elu", "selu", "mish"),
                    OWN_TRANSFER.replace("softplus", "Softplus()")),
    "device": "Network(…, backend=\"cupy\") is on the GPU", "cuda": "Network(…, backend=\"cupy\") is on the GPU",
}
FIT = "minilift.fit(net, (X, y), method, optimizer)"
SPLIT = "data.X_train, data.y_train, data.X_test and data.y_test"
DIRECTION = "method.direction(net, X, y), which returns the loss and the directions"
# attributes and operations on an object, written (…), […] and len(…), by the class that lacks them
ATTRIBUTES = {
    "Network": {
        "fit": FIT, "train": FIT, "compile": f"{FIT}, which takes method and optimizer", "train_on_batch": FIT,
        "partial_fit": FIT, "evaluate": "minilift.evaluate(net, X, y)", "score": "net.accuracy(X, y)",
        "summary": "print(net)", "weights": "net.parameters", "get_weights": "net.state_dict()",
        "set_weights": "net.load_state_dict(arrays)", "trainable_variables": "net.parameters",
        "trainable_weights": "net.parameters", "get_params": "net.parameters", "coefs_": "net.theta",
        "intercepts_": "net.theta, whose last rows are the biases", "bias": "net.theta, whose last rows are the biases",
        "add": "minilift.Network([layer, …])", "predict_classes": "net.predict(X)",
        "backward": "minilift.BackProp().direction(net, X, y)", "loss_": "net.loss(X, y)",
        "zero_grad": "minilift.BackProp().direction(net, X, y)", "load_weights": "minilift.load(path)",
        "load": "minilift.load(path)", "save_weights": "net.save(path)", "to": "Network(…, backend=\"cupy\")",
        "cuda": "Network(…, backend=\"cupy\")", "depth_": "net.depth", "n_layers_": "net.depth",
        "named_parameters": "net.state_dict()", "eval": "net.predict(X), which does not train",
        "double": "Network(…, dtype=\"float64\")", "half": "Network(…, dtype=\"float32\")",
        "float": "Network(…, dtype=\"float32\")", "children": "net.layers", "modules": "net.layers",
        "count_params": "sum(p.size for p in net.parameters)", "num_params": "sum(p.size for p in net.parameters)",
        "loss_curve_": "history[\"train_loss\"] of what minilift.fit returns", "clone": "copy.deepcopy(net)",
        "copy": "copy.deepcopy(net)", "transform": "net.predict_proba(X)", "activations": "net.forward(X).a",
        "input_shape": "net.shapes[0]", "output_shape": "net.shapes[-1]", "loss_fn": "net.loss_function",
        "criterion": "net.loss_function", "optimizer": f"the optimizer that is given to {FIT}",
        "metrics": "net.accuracy", "error": "net.accuracy(X, y)", "acc": "net.accuracy(X, y)",
        "test": "minilift.evaluate(net, X, y)", "params": "net.parameters", "numpy": "net.parameters",
        **dict.fromkeys(("W1", "W2", "w", "weight"), "net.theta[l]"),
        **dict.fromkeys(("n_parameters", "num_parameters", "size", "numel"), "sum(p.size for p in net.parameters)"),
        **dict.fromkeys(("grad", "gradient", "gradients"), "minilift.BackProp().direction(net, X, y)"),
        **dict.fromkeys(("reset", "reset_parameters", "init_weights", "initialize"), "a new network, of some seed"),
        **dict.fromkeys(("pop", "insert", "extend"), "minilift.Network([layer, …])"),
        "get_layer": "net.layers[k]", "apply": "for layer in net.layers", "n_layers": "net.depth",
        "num_layers": "net.depth", "widths": "net.shapes", "sizes": "net.shapes", "plot": "print(net)",
        "to_json": "net.save(path)", "save_model": "net.save(path)", "device": "net.backend", "gpu_id": "net.backend",
        **dict.fromkeys(("decision_function", "logits", "predict_logits"), "net.forward(X).z[-1]"),
        "predict_log_proba": "numpy.log(net.predict_proba(X))", "history": f"what {FIT} returns",
        "n_iter_": "len(history) - 1, of what minilift.fit returns",
        "freeze": "copies of what shall stay: minilift.fit trains all of net.parameters",
        "energy": "minilift.energy.PenaltyEnergy", "step": FIT, "update": FIT,
        **dict.fromkeys(("lr", "learning_rate"), "the optimizer's, as in minilift.SGD(lr=0.1)"),
        **dict.fromkeys(("cpu", "gpu"), "Network(…, backend=\"numpy\" or \"cupy\")"),
        "append": "minilift.Network([layer, …])", "W": "net.theta", "b": "net.theta, whose last rows are the biases",
        "n_params": "sum(p.size for p in net.parameters)",
        "requires_grad_": "copies of what shall stay: minilift.fit trains all of net.parameters",
        "(…)": "net.predict(X), net.predict_proba(X), or net.forward(X) for the values of all layers",
        "[…]": "net.layers[k], or net.theta[l] for the parameters of map l", "len(…)": "net.depth, or len(net.layers)",
    },
    "Dataset": {"data": "data.X_train", "target": "data.y_train", "train": "data.X_train, data.y_train",
                "test": "data.X_test, data.y_test", "X": "data.X_train", "y": "data.y_train",
                "x_train": "data.X_train", "x_test": "data.X_test", "train_images": "data.X_train",
                "train_labels": "data.y_train", "test_images": "data.X_test", "test_labels": "data.y_test",
                "targets": "data.y_train", "labels": "data.y_train", "shape": "data.X_train.shape",
                "X_val": "minilift.fit(…, validation=0.1), which holds a part out",
                "classes": "range(data.n_classes)", "target_names": "range(data.n_classes)",
                "feature_names": "data.image_shape", "n_features": "data.X_train.shape[1]",
                "n_samples": "len(data.X_train)", "num_classes": "data.n_classes", "inputs": "data.X_train",
                **dict.fromkeys(("X_valid", "y_val", "y_valid"), VALIDATION),
                "split": "minilift.datasets.split(X, y, fraction=0.2)", "train_data": "data.X_train",
                "shuffle": "minilift.fit, which shuffles as its seed says", "test_data": "data.X_test",
                "batch": "minilift.fit(…, batch_size=32)",
                "DESCR": "data.source and data.licence", "features": "data.X_train",
                "[…]": SPLIT, "len(…)": "len(data.X_train) and len(data.X_test)"},
    "History": {"history": "history[\"train_loss\"]", "loss": "history[\"train_loss\"]",
                "losses": "history[\"train_loss\"]", "train_loss": "history[\"train_loss\"]",
                "loss_curve_": "history[\"train_loss\"]", "epoch": "history[\"epoch\"]",
                "accuracy": "history[\"train_accuracy\"]", "train_accuracy": "history[\"train_accuracy\"]",
                "val_loss": "history[\"val_loss\"]", "val_accuracy": "history[\"val_accuracy\"]",
                "best": "min(history[\"val_loss\"])", "show": "history.plot()", "keys": "list(history.columns)",
                "items": "history.columns.items()", "values": "history.columns.values()",
                "get": "history[\"train_loss\"]",
                "train_losses": "history[\"train_loss\"]", "val_losses": "history[\"val_loss\"]",
                "test_loss": "history[\"val_loss\"]", "test_accuracy": "history[\"val_accuracy\"]",
                "rows": "zip(*history.columns.values())", "last": "history[\"train_loss\"][-1]",
                "final_loss": "history[\"train_loss\"][-1]", "best_loss": "min(history[\"train_loss\"])",
                "best_epoch": "history[\"val_loss\"], a list", "epochs": "history[\"epoch\"]",
                **dict.fromkeys(("seconds", "time", "times", "duration"), "history[\"seconds\"]"),
                **dict.fromkeys(("to_dataframe", "to_pandas", "to_frame", "df", "dataframe"),
                                "pandas.DataFrame(history.columns)"),
                "to_dict": "history.as_dict()", "save": "history.to_json(path)", "summary": "print(history)",
                "stopped_epoch": "history.stopped, and len(history)", "converged": "history.status",
                **dict.fromkeys(("net", "model", "params"), "the network that was given to minilift.fit")},
    "Method": {**dict.fromkeys(("gradient", "grad", "gradients", "backward", "compute_gradients"), DIRECTION),
               "step": f"optimizer.step(net.parameters, directions) after {DIRECTION}", "fit": FIT, "train": FIT,
               "(…)": DIRECTION,
               "update": f"optimizer.step(net.parameters, directions) after {DIRECTION}", "name": "repr(method)",
               **dict.fromkeys(("lr", "learning_rate", "momentum"), "the optimizer's, as in minilift.SGD(lr=0.1)")},
    "Optimizer": {"zero_grad": "optimizer.step(net.parameters, directions): nothing is kept to be set to zero",
                  "minimize": FIT, "apply_gradients": "optimizer.step(net.parameters, directions)",
                  "update": "optimizer.step(net.parameters, directions)", "param_groups": "optimizer.lr",
                  "learning_rate": "optimizer.lr", "momentum": "minilift.HeavyBall(lr, momentum=0.9)",
                  "state": "optimizer.state_dict()", "get_config": "optimizer.state_dict()"},
    "ImplicitMLP": {"coefs_": "model.network_.theta", "intercepts_": "model.network_.theta, whose last rows are the "
                    "biases", "loss_curve_": "model.history_[\"train_loss\"]", "n_layers_": "model.network_.depth",
                    "validation_scores_": "model.history_[\"val_accuracy\"]", "history": "model.history_",
                    "n_outputs_": "model.network_.shapes[-1]", "best_loss_": "min(model.history_[\"train_loss\"])",
                    "evaluate": "model.score(X, y)", "decision_function": "model.predict_proba(X)",
                    "network": "model.network_", "predict_log_proba": "numpy.log(model.predict_proba(X))",
                    "net": "model.network_"},
}
HELD = "net.theta[l], since the network holds the parameters; its last row is the bias"
ADJOINT = "phi.adjoint_input(theta, g), or phi.adjoint_theta(a, g) for the gradient in θ"
ATTRIBUTES |= {
    "Map": {"(…)": "phi.forward(theta, a), or minilift.Network([phi, …])", "matvec": "phi.forward(theta, a)",
            **dict.fromkeys(("weight", "weights", "theta", "W", "b"), HELD),
            **dict.fromkeys(("adjoint", "rmatvec", "H", "T", "backward"), ADJOINT)},
    "Transfer": {"(…)": "f.forward(z), or minilift.Network([…, f, …])", "backward": "f.derivative(z)",
                 "grad": "f.derivative(z)"},
    "Loss": {"(…)": "loss.value(z, y)", "forward": "loss.value(z, y)", "grad": "loss.gradient(z, y)",
             "backward": "loss.gradient(z, y)"},
    "Schedule": {"step": "minilift.fit(…), which tells the schedule of each epoch", "get_lr": "schedule(epoch)",
                 "get_last_lr": "schedule(epoch)"},
    "State": {"argmax": "net.predict(X)", "shape": "state.z[-1].shape",
              **dict.fromkeys(("numpy", "logits", "output", "outputs", "y", "preactivations"), "state.z[-1]"),
              "activations": "state.a"},
    "Report": {**dict.fromkeys(("ok", "success", "valid"), "report.passed"),
               **dict.fromkeys(("errors", "failed"), "report.failures"), "results": "report.checks"},
}
# methods of these classes whose arguments are guessed at
CALLED = {"Network": ("forward", "predict", "predict_proba", "accuracy", "loss"), "ImplicitMLP": ("fit",),
          "Dataset": ("__init__",)}
EXPORTED: list[str] = []  # the package's names, which the package itself enters here
OPERATIONS = {"(…)": "__call__", "[…]": "__getitem__", "len(…)": "__len__"}


def nearest(name: str, known: Collection[str], cutoff: float = 0.7) -> str:
    """Return '; did you mean …?' with the nearest of the known names, ignoring case, or ""."""
    lowered = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=cutoff)
    return f"; did you mean {lowered[near[0]]!r}?" if near else ""


def value_hint(name: str, known: Collection[str]) -> str:
    """Return the hint about a value that is not one of the known names: its name here, or the nearest one."""
    lowered = name.strip().lower()
    same = [other for other in (*VALUES.get(lowered, ()), *ARGUMENTS.get(name, ())) if other in known]
    if same:
        return f"; it is called {same[0]!r} here"
    first, bracket, rest = name.rstrip(") ").partition("(")
    if not bracket and "=" in name:
        first, bracket, rest = name.partition("," if "," in name else " ")
    if bracket and first in known:
        return f"; it is written {f'{first}:{rest}'.rstrip(':')!r}"
    if re.fullmatch(r"cg[1-9][0-9]?", lowered) and "proxprop" in known:
        return f"; it is written 'proxprop:solver={lowered}'"
    if "," in name and name.split(",")[0].strip() in known:
        return "; several names are separated by blanks"
    if lowered in INSTEAD and lowered not in known:
        return f"; {INSTEAD[lowered]}"
    return nearest(name, known, cutoff=0.5)


def unknown_argument(what: str, name: str, known: Collection[str]) -> TypeError:
    """Return the error for an argument that `what` does not have; it names the one that is meant, or all of them."""
    same = [other for other in ARGUMENTS.get(name, ()) if other in known]
    where = ELSEWHERE.get((what, name)) or (not same and ANYWHERE.get(name))
    hint = f"; it is called {same[0]!r} here" if same else nearest(name, known)
    hint = f"; {where}" if where else hint
    return TypeError(f"{what}: there is no argument {name!r}{hint} (known: {', '.join(known) or 'none'})")


def check_arguments(what: str, parameters: Collection[inspect.Parameter], count: int, named: Collection[str]) -> None:
    """Raise an error for a named argument that `what` lacks, or has already been given among `count` positional ones.

    Also raise one for an argument that is missing.
    """
    known = [one.name for one in parameters]
    star = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    by_position = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    for name in named:
        if name not in known:
            raise unknown_argument(what, name, known)
        if name in by_position[:count]:
            hint = f"; {TAKEN[what, name]}" if (what, name) in TAKEN else ""
            raise TypeError(f"{what}: {name!r} is given twice, by position and by name{hint} (in this order: "
                            f"{', '.join(known)})")
    if count > len(by_position) and not star:
        some = "one argument goes" if len(by_position) == 1 else f"{len(by_position)} arguments go"
        others = f"; {known[len(by_position)]} and those after it go by name" if len(known) > len(by_position) else ""
        raise TypeError(f"{what}: at most {some} by position, got {count}{TOO_MANY.get(what, others)} (in this order: "
                        f"{', '.join(known) or 'none'})")
    missing = [one.name for one in parameters if one.default is one.empty and one.name not in named
               and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and one.name not in by_position[:count]]
    if missing:
        hint = f"; {MISSING[what]}" if what in MISSING else ""
        raise TypeError(f"{what}: {missing[0]!r} is missing{hint} (in this order: {', '.join(known)})")


def instead_of(thing: object, name: str) -> str:
    """Return, as the end of an error, what to use in place of an attribute or operation that a class does not have."""
    kind = next((cls.__name__ for cls in type(thing).__mro__ if cls.__name__ in ATTRIBUTES), "")
    instead = ATTRIBUTES.get(kind, {}).get(name)
    return f"; use {instead}" if instead else ""


class AbsentError(AttributeError):
    """The error for something that is not there; its hint is looked for once it is read, which `hasattr` never does."""

    __module__ = "builtins"

    def __init__(self, says: str, hint: Callable[[], str]) -> None:
        super().__init__(says)
        self.hint = hint

    def __str__(self) -> str:
        return str(self.args[0]) + self.hint()

    def __reduce__(self) -> tuple[type, tuple[str]]:  # type: ignore[override]
        """Return how pickle makes a plain error of it, for another process."""
        return AttributeError, (str(self),)


AbsentError.__name__ = AbsentError.__qualname__ = "AttributeError"  # as which tracebacks show it


def unknown_attribute(thing: object, name: str) -> AttributeError:
    """Return the error for an attribute that an object does not have, with what to use instead."""
    def hint() -> str:
        known = ", ".join(sorted(one for one in object.__dir__(thing) if is_public(type(thing), one)))
        return instead_of(thing, name) or f"{nearest(name, known.split(', '), cutoff=0.75)} (known: {known})"

    says = f"{type(thing).__name__!r} object has no attribute {name!r}"
    return AttributeError(says) if name.startswith("__") else AbsentError(says, hint)  # copy and pickle ask for those


def is_public(cls: type, name: str) -> bool:
    """Whether a name is meant for users: the arguments of such methods are annotated."""
    found = inspect.getattr_static(cls, name, None)
    return not name.startswith("_") and (not inspect.isfunction(found) or bool(found.__annotations__))


def unknown_export(name: str, known: Collection[str], module: str = "minilift") -> AttributeError:
    """Return the error for a name that the package or a module does not have, with the one that is meant."""
    def hint() -> str:
        here = name if name in EXPORTED else NAMES.get(name)
        few = [one for one in known if module != "minilift" and home_of(module, one) == module]
        return (f"; {OTHERWISE[name]}" if name in OTHERWISE else f"; it is minilift.{here} here" if here
                else nearest(name, known) or (f" (known: {', '.join(few)})" if few
                                              else f"; dir({module}) lists what there is"))

    says = f"module {module!r} has no attribute {name!r}"
    return AttributeError(says) if name.startswith("__") else AbsentError(says, hint)


def home_of(module: str, name: str) -> str:
    """Return the name of the module that defines a public thing of a module."""
    return getattr(getattr(sys.modules.get(module), name, None), "__module__", "")


def guide_in(*modules: ModuleType) -> None:
    """Make modules say what a name that they lack, but other libraries use, is called here."""
    for module in modules:
        def missing(name: str, module: ModuleType = module) -> Any:
            raise unknown_export(name, [one for one in vars(module) if not one.startswith("_")], module.__name__)
        module.__getattr__ = missing  # type: ignore[method-assign]


def guided(cls: C) -> C:
    """Decorate a public class so that errors suggest a replacement for attributes found only in other libraries."""
    def missing(self: object, name: str) -> Any:
        if hasattr(type(self), name):  # a property that failed with its own error
            return object.__getattribute__(self, name)
        raise unknown_attribute(self, name)

    cls.__getattr__ = missing  # type: ignore[attr-defined]
    for sign in ATTRIBUTES[cls.__name__].keys() & OPERATIONS.keys():
        setattr(cls, OPERATIONS[sign], refusal(sign))
    for name in CALLED.get(cls.__name__, ()):
        setattr(cls, name, spelled(vars(cls)[name]))
    if "len(…)" in ATTRIBUTES[cls.__name__]:
        cls.__bool__ = lambda self: True  # type: ignore[attr-defined]  # otherwise Python would ask for the length
    return cls


def refusal(sign: str) -> Callable[..., Any]:
    """Return a method that refuses an operation and says what to use instead."""
    def refuse(self: object, *arguments: Any, **named: Any) -> Any:
        raise TypeError(f"{type(self).__name__!r} object has no {sign}{instead_of(self, sign)}")
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    refuse.__signature__ = inspect.Signature([itself])  # type: ignore[attr-defined]  # takes no arguments
    return refuse


class FixedLength(list):
    """A list with one entry for each thing; nothing can be added or removed."""

    hint = "theta has one entry for each map: assign one, as in net.theta[1] = …"

    def refuse(self, *given: Any, **named: Any) -> Any:
        """Raise the error."""
        raise TypeError(self.hint)

    append = extend = insert = pop = remove = clear = sort = reverse = refuse  # type: ignore[assignment]
    __iadd__ = __imul__ = __delitem__ = refuse  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return how copy and pickle make a copy; otherwise they would append."""
        return remade, (type(self), list(self), vars(self))


class Wired(FixedLength):
    """The layers of a network, which is wired when it is made: another layer in the list would never run."""

    hint = ("a network is wired with its layers, loss, dtype and backend when it is made: make another, "
            "Network([…], loss=…), and assign its theta")
    __setitem__ = FixedLength.refuse


def remade(cls: type, entries: list[Any], attributes: dict[str, Any]) -> Any:
    """Return a list of the given class with these entries and attributes."""
    copied: Any = list.__new__(cls)
    list.extend(copied, entries)
    vars(copied).update(attributes)
    return copied


class NoMethod(FixedLength):
    """A list that is an attribute where other libraries have a method; if it is called, an error says so.

    It is made anew each time it is accessed, so an entry assigned to it would be lost.
    """

    hint = "net.parameters is made anew: write into an array, net.parameters[0][:] = …, or assign net.theta[1] = …"
    __setitem__ = FixedLength.refuse

    def __call__(self) -> Any:
        """Refuse the call."""
        raise TypeError("this is a list, and no method: leave the parentheses out, as in net.parameters")


def spelled(function: F) -> F:
    """Decorate a public function or constructor so that the error for an unknown argument names the right one."""
    parameters = list(inspect.signature(function).parameters.values())
    itself = sum(one.name == "self" for one in parameters[:1])
    what = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        check_arguments(what, parameters[itself:], len(arguments) - itself, named)
        return function(*arguments, **named)
    return call  # type: ignore[return-value]
