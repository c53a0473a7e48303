"""Wrong calls, each with the error that it must give: which argument, what was expected, what came."""

import sys

import numpy as np
import pytest

import minilift as ml
from minilift.energy import PenaltyEnergy, algorithm_1
from minilift.layers.activations import Softmax
from minilift.layers.gram import Gram
from minilift.methods import as_method
from minilift.support.backend import array_module, get_module, to_numpy

X = np.linspace(-1, 1, 15).reshape(5, 3)
Y = np.array([0, 1, 0, 1, 1])


def net(loss=None):
    return ml.mlp([3, 4, 2], loss=loss, dtype=np.float64)


def with_entry(value):
    data = X.copy()
    data[2, 1] = value
    return data


def step_of(step):
    return as_method(lambda block: step(block)).direction(net(), X, Y)


def set_theta(l, theta):
    net().theta[l] = theta


def overlapping(array):
    ml.SGD(0.1).step([array[:3], array[2:]], [np.ones(3), np.ones(3)])


def loco(schedule):
    return ml.LocoProp(local_lr=schedule).direction(net(), X, Y)


# what is called wrongly: (call, exception, what the message says)
class Huberlike(ml.Loss):
    """A loss that names no transfer and forgets its gradient."""

    def value_per_sample(self, z, y):
        return abs(z - y).sum(axis=-1)


class Projected(ml.Map):
    """A flat map of a user's, which leaves its shapes to the base class."""

    def __init__(self, n_in, n_out):
        self.n_in, self.theta_shape = n_in, (n_in + 1, n_out)


WRONG = {
    # layers
    "no inputs": (lambda: ml.Linear(0, 2), ValueError, "Linear: n_in must be at least 1, got 0"),
    "negative width": (lambda: ml.Linear(3, -2), ValueError, "Linear: n_out must be at least 1, got -2"),
    "half a unit": (lambda: ml.Linear(3, 2.5), TypeError, "Linear: n_out must be a whole number, got 2.5"),
    "width as text": (lambda: ml.Linear("3", 2), TypeError, "Linear: n_in must be a whole number, got '3'"),
    "width True": (lambda: ml.Linear(True, 2), TypeError, "Linear: n_in must be a whole number, got True"),
    "misspelt init": (lambda: ml.Linear(3, 2, init="glorrot"), ValueError,
                      "Linear: init: unknown name 'glorrot'; did you mean 'glorot'"),
    "negative spread": (lambda: ml.Linear(3, 2, init=-1.0), ValueError,
        "Linear: init must be positive and finite"),
    "slope above one": (lambda: ml.LeakyReLU(1.5), ValueError, "LeakyReLU: slope must be below 1, got 1.5"),
    "slope zero": (lambda: ml.LeakyReLU(0), ValueError,
        "LeakyReLU: slope must be positive and finite, got 0"),
    "misspelt reduction": (lambda: ml.SquaredError("men"), ValueError,
                           "SquaredError: reduction: unknown name 'men'; did you mean 'mean'"),
    # networks
    "no layers": (lambda: ml.Network([]), ValueError, "layers must hold at least one map"),
    "layers not in a list": (lambda: ml.Network(ml.Linear(3, 2)), TypeError,
                             r"Network: layers must be a list of layers, got Linear\(3, 2\)"),
    "class instead of layer": (lambda: ml.Network([ml.Linear(3, 2), ml.ReLU, ml.Linear(2, 2)]), TypeError,
                               r"layers\[1\] is the class ReLU; an instance is needed, ReLU\(…\)"),
    "something else as layer": (lambda: ml.Network([ml.Linear(3, 2), np.tanh]), TypeError,
                                r"layers\[1\] must be a map, a join or a transfer, got <ufunc 'tanh'>"),
    "loss as layer": (lambda: ml.Network([ml.Linear(3, 2), ml.SquaredError()]), TypeError,
                      r"layers\[1\] must be a map, a join or a transfer, got SquaredError\(\)"),
    "activation first": (lambda: ml.Network([ml.ReLU(), ml.Linear(3, 2)]), ValueError,
                         r"the first layer must be a map or a join, got ReLU\(\); .* put Select\(\) before it"),
    "activation last": (lambda: ml.Network([ml.Linear(3, 2), ml.Sigmoid()]), ValueError,
                        r"the last layer must be a map, got Sigmoid\(\); a loss .* holds its own transfer"),
    "widths that do not meet": (lambda: ml.Network([ml.Linear(3, 4), ml.ReLU(), ml.Linear(5, 2)]), ValueError,
        r"map 2 does not fit .*: Linear\(5, 2\) expects samples of shape \(5,\), got \(4,\)"),
    "widths of a user's own maps that do not meet": (
        lambda: ml.Network([Projected(64, 20), ml.ReLU(), Projected(21, 6)]), ValueError,
        r"map 2 does not fit what comes before it: Projected\(.*\) expects samples of shape \(21,\), got \(20,\)"),
    "samples that a user's own first map does not take": (
        lambda: ml.Network([Projected(4, 2)], input_shape=[5]), ValueError,
        r"map 1 does not fit the input_shape: Projected\(.*\) expects samples of shape \(4,\), got \(5,\)"),
    "images for a linear map": (lambda: ml.Network([ml.Linear(3, 2)], input_shape=[2, 2, 3]), ValueError,
        r"Linear\(3, 2\) expects samples of shape \(3,\), got \(2, 2, 3\)"),
    "loss by name": (lambda: ml.Network([ml.Linear(3, 2)], loss="mse"), TypeError,
                     r"loss must be a loss such as .*SquaredError\(\), got 'mse'"),
    "loss class": (lambda: ml.Network([ml.Linear(3, 2)], loss=ml.SquaredError), TypeError,
                   r"loss is the class SquaredError; an instance is needed, SquaredError\(…\)"),
    "half precision": (lambda: ml.Network([ml.Linear(3, 2)], dtype=np.float16), ValueError,
                       r"Network: dtype: unknown name 'float16'.* \(known: float32, float64\)"),
    "misspelt dtype": (lambda: ml.Network([ml.Linear(3, 2)], dtype="flot32"), ValueError,
                       "Network: dtype: unknown name 'flot32'; did you mean 'float32'"),
    "seed as text": (lambda: ml.Network([ml.Linear(3, 2)], seed="0"), TypeError,
                     "Network: seed must be a whole number, got '0'"),
    "negative seed": (lambda: ml.Network([ml.Linear(3, 2)], seed=-1), ValueError,
        "seed must be at least 0, got -1"),
    "misspelt backend": (lambda: ml.Network([ml.Linear(3, 2)], backend="cuppy"), ValueError,
                         "backend: unknown name 'cuppy'; did you mean 'cupy'"),
    "one width": (lambda: ml.mlp([3]), ValueError,
        r"mlp: widths must hold at least an input and an output width"),
    "widths not in a list": (lambda: ml.mlp(3), TypeError, "mlp: widths must be a list of widths, got 3"),
    "misspelt activation": (lambda: ml.mlp([3, 4, 2], activation="rellu"), ValueError,
                            "mlp: activation: unknown name 'rellu'; did you mean 'relu'"),
    "activation class": (lambda: ml.mlp([3, 4, 2], activation=ml.Tanh), TypeError,
                         "is the class Tanh; an instance is needed"),
    "too few activations": (lambda: ml.mlp([3, 4, 4, 2], activation=["relu"]), ValueError,
                            "mlp: activation must be a list of 2 activations of hidden layers, got 1"),
    "activation as number": (lambda: ml.mlp([3, 4, 2], activation=3), TypeError,
                             r"mlp: activation must be a name or a transfer such as Tanh\(\), got 3"),
    # parameters
    "theta of another depth": (lambda: setattr(net(), "theta", [None, X]), ValueError,
                               r"theta must be a list of 3 entries \[None, theta_1, …, theta_2\], got 2"),
    "theta as a long list": (lambda: net().theta.__setitem__(1, list(range(1000))), ValueError,
        r"theta\[1\]: Linear\(3, 4\) expects shape \(4, 4\), got \[0, 1, 2, .{150,200}…$"),
    "large array of other dtype": (lambda: ml.solvers.damped_solve(ml.Linear(3, 2).gram(X), X[:, :2].astype("f"), 1),
        ValueError, r"g must be an array of shape \(5, n_out\) and dtype float64, "
        r"got ndarray of shape \(5, 2\) and dtype float32$"),
    "a gap of other rows": (lambda: ml.problems.LocalProblem(ml.Linear(3, 2).gram(X), np.zeros((5, 2)),
                                                             ml.problems.SquaredGap(X[:1, :2], X[:1, :2]), 1.0),
        ValueError, r"LocalProblem: gap must be that of a z of shape \(5, 2\), got one of \(1, 2\)"),
    "a fit of softmax": (lambda: ml.problems.SquaredFit(Softmax(), X, X), ValueError,
        r"SquaredFit: f must be elementwise, got Softmax\(\)"),
    "a loss without transfer and gradient": (lambda: ml.BackProp().direction(net(Huberlike()), X, X[:, :2]), ValueError,
        r"Huberlike: gradient needs a loss with gradient f\(z\) − y for a transfer f; Huberlike\(\) names none"),
    "no targets at all": (lambda: PenaltyEnergy(net(), np.zeros(0, int)), ValueError,
        "PenaltyEnergy: y must hold targets, got array"),
    "theta of another shape": (lambda: setattr(net(), "theta", [None, X, X]), ValueError,
                               r"theta\[1\]: Linear\(3, 4\) expects shape \(4, 4\), got \(5, 3\)"),
    "theta without slot 0": (lambda: setattr(net(), "theta", net().parameters), ValueError,
                             r"must be a list of 3 entries \[None, theta_1, …, theta_2\], got 2"),
    "state of other names": (lambda: net().load_state_dict({"W": X}), ValueError,
                             r"load_state_dict: expected the arrays \['theta_1', 'theta_2'\], got \['W'\]"),
    "state of another shape": (lambda: net().load_state_dict({"theta_1": X, "theta_2": X}), ValueError,
                               r"load_state_dict: theta_1: Linear\(3, 4\) expects shape \(4, 4\), got \(5, 3\)"),
    # data
    "too many features": (lambda: net().loss(np.ones((5, 4)), Y), ValueError,
                          r"X: Linear\(3, 4\) expects samples of shape \(N, 3\), got \(5, 4\)"),
    "one sample without a batch": (lambda: net().forward(np.ones(3)), ValueError,
                                   r"X: .* expects samples of shape \(N, 3\), got \(3,\)"),
    "samples in columns": (lambda: net().forward(X.T), ValueError,
        r"expects samples of shape \(N, 3\), got \(3, 5\)"),
    "scalar as data": (lambda: net().forward(1.0), ValueError,
        r"expects samples of shape \(N, 3\), got \(\)"),
    "empty batch": (lambda: net().loss(np.ones((0, 3)), Y[:0]), ValueError, "X: the batch is empty"),
    "NaN": (lambda: net().predict(with_entry(np.nan)), ValueError,
            r"X: the data hold NaN or inf in float64, first X\[2, 1\] = nan"),
    "inf": (lambda: net().predict(with_entry(-np.inf)), ValueError, "X: the data hold NaN or inf"),
    "too large for float32": (lambda: ml.mlp([3, 2]).predict(with_entry(1e200)), ValueError,
                              "X: the data hold NaN or inf"),
    "text as data": (lambda: net().forward([["a", "b", "c"]]), TypeError,
        "X: expected numbers, got dtype <U1"),
    "complex data": (lambda: net().forward(X + 1j), TypeError,
        "X: expected real numbers, got dtype complex128"),
    "objects as data": (lambda: net().forward(np.array([[None] * 3])), TypeError,
                        r"X: expected numbers, got dtype object; X\.astype\(float\) has them, if all are numbers"),
    "ragged data": (lambda: net().forward([[1, 2, 3], [1, 2]]), ValueError,
        "X: cannot be made into an array"),
    # targets
    "texts as labels, as pandas keeps them": (lambda: net().loss(X, np.array(list("abaab"), dtype=object)), TypeError,
                                              r"dtype object; np\.unique\(y, return_inverse=True\)\[1\] has them"),
    "labels missing": (lambda: net().loss(X, Y[:4]), ValueError,
                       r"y: SoftmaxCrossEntropy expects labels of shape \(5,\), got \(4,\)"),
    "labels in a column": (lambda: net().loss(X, Y[:, None]), ValueError,
        r"labels of shape \(5,\), got \(5, 1\); y\[:, 0\] has it"),
    "one-hot labels": (lambda: net().accuracy(X, np.eye(2)[Y]), ValueError,
        r"labels of shape \(5,\), got \(5, 2\); y.argmax\(axis=1\) has it"),
    "labels as floats": (lambda: net().loss(X, Y * 1.0), TypeError,
        r"expects whole-number labels, got dtype float64; y.astype\(int\) has them"),
    "boolean labels": (lambda: net().loss(X, Y > 0), TypeError,
        r"expects whole-number labels, got dtype bool; y.astype\(int\) has them"),
    "labels as words": (lambda: net().loss(X, np.array(["a", "b", "a", "b", "a"])), TypeError,
        r"expects whole-number labels, got dtype <U1; np.unique\(y, return_inverse=True\)\[1\] has them"),
    "real targets for a loss of labels": (lambda: net().loss(X, Y + 0.5), TypeError,
        r"expects whole-number labels, got dtype float64; a regression takes loss=ml\.SquaredError\(\)$"),
    "a column of real targets for a loss of labels": (lambda: net().loss(X, Y[:, None] + 0.5), ValueError,
        r"labels of shape \(5,\), got \(5, 1\); a regression takes loss=ml\.SquaredError\(\)$"),
    "a column of labels as floats": (lambda: net().loss(X, Y[:, None] * 1.0), ValueError,
        r"labels of shape \(5,\), got \(5, 1\); y\[:, 0\]\.astype\(int\) has it"),
    "label too large": (lambda: net().loss(X, Y + 1), ValueError,
                        r"y: labels must lie in 0 … 1 \(the network has 2 outputs\), got 2"),
    "negative label": (lambda: net().loss(X, Y - 1), ValueError, r"y: labels must lie in 0 … 1 .*, got -1"),
    "targets in a row": (lambda: ml.mlp([3, 1], loss=ml.SquaredError()).loss(X, Y * 1.0), ValueError,
                         r"y: SquaredError expects targets of shape \(5, 1\), got \(5,\)"),
    "labels for a loss of each output": (lambda: net(ml.SigmoidCrossEntropy()).loss(X, Y), ValueError,
        r"expects targets of shape \(5, 2\), got \(5,\); of labels np.eye\(2\)\[y\] has it"),
    "targets of images": (lambda: net(ml.SquaredError()).loss(X, X[:, :2, None]), ValueError,
        r"got \(5, 2, 1\); y.reshape\(len\(y\), -1\) has it"),
    "targets of another number": (lambda: net(ml.SquaredError()).loss(X, X), ValueError, r"got \(5, 3\)$"),
    "NaN in targets": (lambda: net(ml.SquaredError()).loss(X, with_entry(np.nan)[:, :2]), ValueError,
                       r"y: targets hold NaN or inf, first y\[2, 1\] = nan"),

           "targets outside [0, 1]": (lambda: net(ml.SigmoidCrossEntropy()).loss(X, np.full((5, 2), 1.5)), ValueError,
                               r"y: SigmoidCrossEntropy expects targets in \[0, 1\], got 1.5"),
    "text as targets": (lambda: net(ml.SquaredError()).loss(X, [["a", "b"]] * 5), TypeError,
                        "y: expected numbers, got dtype <U1"),
    "complex targets": (lambda: net(ml.SquaredError()).loss(X, X[:, :2] + 1j), TypeError,
                        "y: expected real numbers, got dtype complex128"),
    "accuracy without labels": (lambda: net(ml.SquaredError()).accuracy(X, X[:, :2]), ValueError,
                                r"accuracy: SquaredError\(\) has no labels; use loss\(X, y\)"),
    # methods
    "tau_theta zero": (lambda: ml.ProxProp(0), ValueError,
        r"ProxProp: tau_theta.* must be positive and finite, got 0"),
    "tau_theta negative": (lambda: ml.ProxProp(-1.0), ValueError,
                           r"ProxProp: tau_theta must be positive and finite, got -1.0"),
    "tau_theta NaN": (lambda: ml.ProxProp(np.nan), ValueError,
        "tau_theta must be positive and finite, got nan"),
    "tau_theta as text": (lambda: ml.ProxProp("1"), TypeError,
        "tau_theta must be a positive number, got '1'"),
    "one bad tau_theta": (lambda: ml.ProxProp([1.0, -2.0]), ValueError,
                          r"ProxProp: tau_theta\[2\] must be positive and finite, got -2.0"),
    "tau_theta for other maps": (lambda: ml.ProxProp([1.0, 1.0, 1.0]).direction(net(), X, Y), ValueError,
        r"ProxProp: tau_theta: expected one value or one for each of the 2 maps, got 3"),
    "misspelt solver": (lambda: ml.ProxProp(solver="exakt"), ValueError,
                        "ProxProp: solver: unknown name 'exakt'; did you mean 'exact'"),
    "no CG steps": (lambda: ml.ProxProp(solver="cg0"), ValueError,
        "K of solver='cgK' must be at least 1, got 0"),
    "CG without K": (lambda: ml.ProxProp(solver="cg"), ValueError, "ProxProp: solver: unknown name 'cg'"),
    "solver as number": (lambda: ml.ProxProp(solver=3), ValueError, "ProxProp: solver: unknown name 3"),
    "misspelt last": (lambda: ml.ProxProp(last="implicite"), ValueError, "last: .*did you mean 'implicit'"),
    "method as class": (lambda: as_method(ml.BackProp), TypeError,
                        r"method: got the class BackProp; an instance is needed, BackProp\(…\)"),
    "method as text": (lambda: as_method("backprop"), TypeError,
        r"expected a Method such as BackProp\(\), .*'backprop'"),
    "step of another shape": (lambda: step_of(lambda block: np.ones((7, 2))), ValueError,
                              r"the step proposed for map 2 must have shape \(5, 2\), got \(7, 2\)"),
    "step that is no array": (lambda: step_of(lambda block: None), ValueError,
                              r"step proposed for map 2 must have shape \(5, 2\), got NoneType"),
    "step of another dtype": (lambda: step_of(lambda block: block.theta.astype(np.float32)), TypeError,
                              "step proposed for map 2 must have dtype float64, got float32"),
    "method without propose": (lambda: ml.Method().direction(net(), X, Y), NotImplementedError,
                               r"Method must define propose\(block\)"),
    "state for a method that has none": (lambda: ml.BackProp().load_state_dict({"m": X}), ValueError,
        r"BackProp\(\) keeps nothing between batches, but was given \['m'\]"),
    # parameters and what moves them
    "entry of theta of another shape": (lambda: set_theta(1, X), ValueError,
                                        r"theta\[1\]: Linear\(3, 4\) expects shape \(4, 4\), got \(5, 3\)"),
    "entry of theta not real": (lambda: set_theta(2, np.ones((5, 2), complex)), TypeError,
                                r"theta\[2\]: expected real numbers, got dtype complex128"),
    "entry of theta with NaN": (lambda: set_theta(-1, np.full((5, 2), np.nan)), ValueError,
                                r"theta\[2\]: must be finite"),
    "slot 0 of theta": (lambda: set_theta(0, X), ValueError, r"theta\[0\] must stay None"),
    "several entries of theta": (lambda: set_theta(slice(1, 3), [X, X]), TypeError, "index of a map must be a whole"),
    "overlapping parameters": (lambda: ml.SGD(0.1).step([X.copy()] * 2, [X, X]), ValueError,
                               "SGD: parameters must not overlap in memory"),
    "parameters that are views": (lambda: overlapping(np.zeros(5)), ValueError, "parameters must not overlap"),
    "masked directions": (lambda: ml.SGD(0.1).step([X.copy()], [np.ma.masked_array(X)]), TypeError,
                          "directions: expected an array of NumPy or CuPy, got a masked array"),
    "schedule that gives NaN": (lambda: ml.SGD(lambda epoch: np.nan).step([X.copy()], [X]), ValueError,
                                r"SGD: lr\(0\) must be at least 0 and finite, got nan"),
    "local schedule that gives NaN": (lambda: loco(lambda epoch: np.nan), ValueError,
                                      r"LocoProp: local_lr\(0\) must be at least 0 and finite, got nan"),
    "local schedule that is negative": (lambda: loco(lambda epoch: -1), ValueError,
                                        r"LocoProp: local_lr\(0\) must be at least 0 and finite, got -1"),
    "K in digits of another script": (lambda: ml.ProxProp(solver="cg٣"), ValueError, "solver: unknown name 'cg٣'"),
    "decay as text": (lambda: ml.LocoProp(decay="no"), TypeError, "LocoProp: decay must be True or False, got 'no'"),
    # what no machine can hold
    "a layer too large": (lambda: ml.Linear(10**9, 10**9), ValueError,
                          r"n_in × n_out parameters must fit in memory: 8e\+09 GB are needed, this machine has \d"),
    "a network too large": (lambda: ml.mlp([64, 10**8, 10**8, 10]), ValueError, "mlp: widths must fit in memory"),
    "layers too large together": (lambda: ml.Network([ml.Linear(10**4, 10**4) for _ in range(10**4)]), ValueError,
                                  "Network: the parameters of all layers must fit in memory"),
    "a kernel too large": (lambda: ml.Conv2d(1, 1, 10**6 + 1), ValueError, "Conv2d: .*must fit in memory"),
    "too many moons": (lambda: ml.datasets.moons(n=10**18), ValueError, "moons: n samples must fit in memory"),
    "too many curves": (lambda: ml.datasets.curves(n_train=10**12), ValueError,
                        r"curves: n_train \+ n_test images must fit in memory"),
    # targets that would be broadcast
    "targets of one row": (lambda: ml.SquaredError().value(X, X[:1]), ValueError,
                           r"SquaredError: value: y must be of shape \(5, 3\), got \(1, 3\)"),
    "targets of one column": (lambda: ml.SquaredError().gradient(X, X[:, :1]), ValueError, "gradient: y must be of"),
    "targets of a prox": (lambda: ml.SigmoidCrossEntropy().prox(X, X[0], 1.0), ValueError, "prox: y must be of shape"),
    "labels as columns": (lambda: ml.SoftmaxCrossEntropy().value(X, Y[:, None]), ValueError,
                          r"value: y must be of shape \(5,\), got \(5, 1\)"),
    # what is found where it is called, or given
    "the class of networks": (lambda: ml.evaluate(ml.Network, X, Y), TypeError, "evaluate: net must be a Network"),
    "a method of no argument": (lambda: as_method(lambda: None), TypeError, "a function of one argument, a Block, got"),
    "a schedule of no argument": (lambda: ml.SGD(lambda: 0.1), TypeError, "SGD: lr must be a function of the epoch"),
    "a callback of one": (lambda: ml.fit(net(), (X, Y), ml.BackProp(), ml.SGD(0.1), callbacks=lambda row: None),
                          TypeError, r"callbacks must be a function of \(row, net, history\)"),
    "an objective of one": (lambda: ml.verify(ml.BackProp(), objective=lambda block: 0), TypeError,
                            r"objective must be a function of \(block, theta\)"),
    "an epoch before the first": (lambda: ml.Cosine(0.1, 5)(-1), ValueError, "Cosine: epoch must be at least 0"),
    "an epoch as text": (lambda: ml.StepDecay(0.1, 2)("a"), TypeError, "StepDecay: epoch must be a whole number"),
    "half an epoch": (lambda: ml.WarmupLinear(0.1)(0.5), TypeError, "WarmupLinear: epoch must be a whole number"),
    "a constant's epoch": (lambda: ml.Constant(0.1)(None), TypeError, "Constant: epoch must be a whole number"),
    "text in a history": (lambda: ml.History().append({"epoch": "x"}), TypeError,
                          "History: 'epoch' in a row must be a number, got 'x'"),
    "text as a buffer": (lambda: ml.Nesterov(0.1).load_state_dict(
        {"Nesterov/steps": 1, "Nesterov/epoch": 0, "Nesterov/velocity/0": "abc"}), TypeError,
        "Nesterov/velocity/0: expected an array"),
    "masked data": (lambda: net().loss(np.ma.masked_array(X, X > 0), Y), TypeError, "X: must not be a masked array"),
    "masked labels": (lambda: net().loss(X, np.ma.masked_array(Y, Y > 0)), TypeError, "y: must not be a masked array"),
    "dtype None": (lambda: ml.mlp([3, 2], dtype=None), ValueError, "Network: dtype: unknown name None"),
    # energy, losses, solvers, arrays
    "gamma zero": (lambda: PenaltyEnergy(net(), Y, gamma=0), ValueError,
        "PenaltyEnergy: gamma must be positive"),
    "rho infinite": (lambda: PenaltyEnergy(net(), Y, rho=np.inf), ValueError,
        "PenaltyEnergy: rho must be positive"),
    "tau negative": (lambda: algorithm_1(net(), X, Y, -0.1), ValueError,
                     "algorithm_1: tau must be positive and finite, got -0.1"),
    "prox tau zero": (lambda: ml.SquaredError().prox(X, X, 0), ValueError,
        "prox: tau must be positive and finite"),
    "misspelt side": (lambda: Gram(X, side="samples"), ValueError,
                      "Gram: side: unknown name 'samples'; did you mean 'sample'"),
    "derivative of softmax": (lambda: Softmax().derivative(X), NotImplementedError,
        r"Softmax must define derivative\(z\)"),
    "list as array": (lambda: array_module([1.0]), TypeError, "expected an array of NumPy or CuPy, got list"),
    "None to the host": (lambda: to_numpy(None), TypeError,
        "expected an array of NumPy or CuPy, got NoneType"),
    "unknown backend": (lambda: get_module("torch"), ValueError,
        r"backend: unknown name 'torch'.*known: numpy, cupy"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_call(name):
    call, exception, message = WRONG[name]
    with pytest.raises(exception, match=message):
        call()


def test_there_are_enough_of_them():
    assert len(WRONG) >= 40


def test_cupy_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match=r"backend='cupy': CuPy is not installed; .* pip install .*\[cupy\]"):
        ml.mlp([3, 2], backend="cupy")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        ml.load(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        net().save(tmp_path / "nowhere" / "net.npz")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 but no more"])
def test_a_file_of_another_kind(tmp_path, content):
    (tmp_path / "net.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.npz: cannot be read as \.npz, the file is damaged or of another kind"):
        ml.load(tmp_path / "net.npz")


def test_arrays_that_are_no_network(tmp_path):
    np.savez(tmp_path / "a.npz", weights=X)
    with pytest.raises(ValueError, match=r"a\.npz: not a network saved by minilift \(it holds \['weights'\]\)"):
        ml.load(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", X)
    with pytest.raises(ValueError, match=r"b\.npy: cannot be read as \.npz"):
        ml.load(tmp_path / "b.npy")


def test_a_backend_that_is_unknown_is_not_blamed_on_the_file(tmp_path):
    net().save(tmp_path / "net.npz")
    with pytest.raises(ValueError, match=r"^backend: unknown name 'cuda'"):
        ml.load(tmp_path / "net.npz", backend="cuda")


def test_the_data_of_a_wrong_call_are_left_alone():
    before = X.copy()
    for call, exception, _ in WRONG.values():
        with pytest.raises(exception):
            call()
    assert (before == X).all()
