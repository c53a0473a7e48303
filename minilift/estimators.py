r"""Estimators for scikit-learn: `ImplicitMLPClassifier` and `ImplicitMLPRegressor`, networks for pipelines.

They put `mlp` and `fit` behind scikit-learn's interface and add nothing. Arguments have scikit-learn's names if there
are any (`hidden_layer_sizes`, `max_iter`, `random_state`), else those of `fit`. Samples and classes have no weights.
scikit-learn is imported with this module, which is itself imported on the first use of one of the two classes.

>>> import minilift as ml
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> data = ml.datasets.digits()
>>> model = make_pipeline(StandardScaler(), ml.ImplicitMLPClassifier((32,), max_iter=3, random_state=0))
>>> model.fit(data.X_train, data.y_train).score(data.X_test, data.y_test) > 0.85
True
"""

from __future__ import annotations

import contextlib
import copy
import math
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from minilift.layers.losses import SoftmaxCrossEntropy, SquaredError
from minilift.models import mlp
from minilift.support.arguments import number_between, sequence, whole_number
from minilift.support.spellings import guided, spelled
from minilift.training.fit import fit, not_finite, quiet
from minilift.training.history import EarlyStop
from minilift.training.names import named_method, named_optimizer

PARTS = {"method": named_method, "optimizer": named_optimizer}  # arguments that have arguments of their own


@guided
class ImplicitMLP(BaseEstimator):
    """Base class of the two estimators, whose docstrings explain its arguments."""

    @spelled
    def __init__(self, hidden_layer_sizes: Any = (100,), activation: Any = "relu", *, method: Any = "proxprop",
                 optimizer: Any = "adam:lr=0.01", max_iter: int = 50, batch_size: int | None = 100,
                 early_stopping: bool = False, validation_fraction: float = 0.1, n_iter_no_change: int = 5,
                 random_state: Any = None, verbose: bool | int = False) -> None:
        self.hidden_layer_sizes, self.activation = hidden_layer_sizes, activation
        self.method, self.optimizer = method, optimizer
        self.max_iter, self.batch_size = max_iter, batch_size
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.n_iter_no_change, self.random_state, self.verbose = n_iter_no_change, random_state, verbose

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments by name; with `deep`, also those of method and optimizer, such as method__tau_theta."""
        params = super().get_params(deep)
        for part in PARTS if deep else ():
            with contextlib.suppress(ValueError, TypeError):  # `fit` says what is wrong with a method or an optimizer
                params |= {f"{part}__{name}": value for name, value in self.made(part).settings().items()}
        return params

    def set_params(self, **params: Any) -> Any:
        """Set arguments by name and return the estimator.

        With an argument such as method__tau_theta, another method, with this argument, takes the place of the present
        one; if both are given, of the given one. So searches over such arguments change no method of the user's.
        """
        inner = {name: value for name, value in params.items() if name.partition("__")[0] in PARTS and "__" in name}
        super().set_params(**{name: value for name, value in params.items() if name not in inner})
        for part in PARTS:
            changes = {name.partition("__")[2]: inner[name] for name in inner if name.startswith(f"{part}__")}
            if changes:
                thing = self.made(part)
                setattr(self, part, type(thing)(**{**thing.settings(), **changes}))
        return self

    def made(self, part):
        """Return the method or the optimizer as an object, which may be given by name."""
        return PARTS[part](f"{type(self).__name__}: {part}", getattr(self, part))

    def fit(self, X: Any, y: Any) -> Any:
        """Train a new network.

        Parameters
        ----------
        X : array (N, n)
        y : array (N,)
            Labels of any kind for the classifier; numbers, (N,) or (N, m), for the regressor.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If an argument is not as expected, or training diverges.
        """
        net, X, targets = self.begin(X, y)
        stop = validation = None
        if self.early_stopping:
            stop = EarlyStop(self.checked("n_iter_no_change"), restore_best=True)
            validation = number_between(f"{type(self).__name__}: validation_fraction", self.validation_fraction, 0, 1)
        self.history_ = fit(net, (X, targets), self.method_, self.optimizer_, epochs=self.checked("max_iter"),
                            batch_size=self.samples_at_once(), seed=self.seed_, validation=validation,
                            early_stop=stop, progress=bool(self.verbose))
        self.check_finite(self.history_.diverged is None, f"training {self.history_.diverged}")
        self.network_ = net
        kept = -1 if stop is None else stop.best_epoch(self.history_)
        self.n_iter_, self.loss_ = len(self.history_) - 1, self.history_["train_loss"][kept]
        return self

    def begin(self, X, y, classes=None):
        """Make a method and an optimizer for data; return a new network, and X and the targets, checked.

        From here on the estimator is not fitted until the network has been trained and becomes `network_`.
        """
        for name in ("network_", "n_iter_"):
            vars(self).pop(name, None)
        X, targets, outputs = self.checked_data(X, y, classes)
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, (int, np.integer)) else sizes
        what = f"{type(self).__name__}: hidden_layer_sizes"
        sizes = [whole_number(f"{what}[{k}]", n) for k, n in enumerate(sequence(what, sizes, "numbers of units"))]
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        net = mlp([X.shape[1], *sizes, outputs], self.activation, loss=self.new_loss(), seed=self.seed_, dtype=X.dtype)
        self.method_, self.optimizer_ = copy.deepcopy(self.made("method")), copy.deepcopy(self.made("optimizer"))
        self.rng_ = np.random.default_rng(self.seed_)  # of dropout in `steps`; `fit` has its own
        self.method_.reset()
        self.optimizer_.reset()
        return net, X, targets

    def steps(self, net, X, targets):
        """Take one step for each batch of the data, in their order, as the next epoch of the method and optimizer."""
        batch_size, epoch = self.samples_at_once() or len(X), getattr(self, "n_iter_", 0)
        self.method_.start_epoch(epoch)
        self.optimizer_.start_epoch(epoch)
        with quiet():
            for start in range(0, len(X), batch_size):
                part = slice(start, start + batch_size)
                self.optimizer_.step(net.parameters, self.directions(net, X[part], targets[part]))
        where = not_finite(net)
        self.check_finite(where is None, f"{where} is not finite")
        self.network_, self.n_iter_ = net, epoch + 1
        return self

    def directions(self, net, X, targets):
        """Return the directions for a batch, and keep its loss; what counts as divergence in `fit` is an error here."""
        try:
            self.loss_, directions = self.method_.direction(net, X, targets, self.rng_, commit=True)
        except ZeroDivisionError:  # from a user's own numbers
            raise
        except ArithmeticError as error:
            self.check_finite(False, error)
        self.check_finite(math.isfinite(self.loss_), f"the loss of a batch is {self.loss_}")
        return directions

    def check_finite(self, finite, what):
        """Raise an error that says what is not finite, unless all is; the estimator is then not fitted."""
        if not finite:
            vars(self).pop("network_", None)
            raise ValueError(f"{type(self).__name__}: {what}; try a smaller lr, or scale the features")

    def samples_at_once(self):
        """Return the number of samples in a batch, or None for all."""
        return None if self.batch_size is None else self.checked("batch_size")

    def checked(self, name):
        """Return an argument that counts something."""
        return whole_number(f"{type(self).__name__}: {name}", getattr(self, name))

    def outputs(self, name, X):
        """Return the result of a method of the network for new samples."""
        check_is_fitted(self, "network_")
        return getattr(self.network_, name)(validate_data(self, X, reset=False, dtype=self.network_.dtype))


class ImplicitMLPClassifier(ClassifierMixin, ImplicitMLP):
    """A multilayer perceptron for classification, trained by implicit steps (or by any other method of the package).

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, or int; default (100,)
        Number of units of each hidden layer.
    activation : str or Activation, default "relu"
        As for `mlp`.
    method : str, Method or callable; default "proxprop"
    optimizer : str or Optimizer, default "adam:lr=0.01"
        Both as for `fit`. A grid search may try names, such as "proxprop:tau_theta=0.1", or arguments of the given
        method or optimizer, as ``{"method__tau_theta": [0.1, 1.0]}``.
    max_iter : int, default 50
        Number of epochs.
    batch_size : int or None, default 100
        None for all samples at once.
    early_stopping : bool, default False
        Whether to hold out a part of the data, stop when the loss on it has not fallen for `n_iter_no_change` epochs,
        and keep the parameters of its lowest loss.
    validation_fraction : float, default 0.1
        The fraction to hold out.
    n_iter_no_change : int, default 5
    random_state : int, RandomState or None; default None
        Seed of the initial parameters and the shuffling.
    verbose : bool or int, default False
        Whether to show a progress bar.

    Attributes
    ----------
    classes_ : array
        The labels, sorted.
    network_ : Network
    history_ : History
        The history of the last `fit`.
    loss_ : float
        After `fit`, the loss on the training set; after `partial_fit`, that on the last batch, before its step.
    n_iter_ : int
        Epochs of the last `fit` plus calls of `partial_fit` since, each of which counts as an epoch in a schedule.
    n_features_in_ : int

    Examples
    --------
    >>> import minilift as ml
    >>> data = ml.datasets.moons(200)
    >>> model = ml.ImplicitMLPClassifier(random_state=0).fit(data.X_train, data.y_train)
    >>> model.predict_proba(data.X_test).shape
    (40, 2)
    """

    def new_loss(self):
        """Return the loss."""
        return SoftmaxCrossEntropy()

    def checked_data(self, X, y, classes=None):
        """Return X, class numbers and the number of outputs; store the classes."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_ = np.unique(y if classes is None else classes)
        return X, self.numbers(y), len(self.classes_)

    def numbers(self, y):
        """Return the number of each label's class."""
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"{type(self).__name__}: y holds {unknown.tolist()[0]!r}, which is not among the classes "
                             f"{self.classes_.tolist()}")
        return np.searchsorted(self.classes_, y)

    @spelled
    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Any:
        """Take one step for each batch of the data, in their order.

        Parameters
        ----------
        X : array (N, n)
        y : array (N,)
        classes : array, optional
            All labels that will occur; needed in the first call, unless `fit` has been called.

        Returns
        -------
        self
        """
        if hasattr(self, "network_"):
            if classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
                raise ValueError(f"ImplicitMLPClassifier: classes must be those of the first call, {self.classes_}, "
                                 f"got {np.unique(classes)}")
            X, y = validate_data(self, X, y, reset=False, dtype=self.network_.dtype)
            return self.steps(self.network_, X, self.numbers(y))
        if classes is None:
            raise ValueError("ImplicitMLPClassifier: classes must be given in the first call of partial_fit")
        return self.steps(*self.begin(X, y, classes))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of the classes, (N, number of classes), in the order of `classes_`."""
        return self.outputs("predict_proba", X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each sample, (N,)."""
        numbers = self.outputs("predict", X)
        return self.classes_[numbers]


class ImplicitMLPRegressor(RegressorMixin, ImplicitMLP):
    """A multilayer perceptron for regression with the squared error, trained by implicit steps.

    Parameters and attributes are those of `ImplicitMLPClassifier`, except `classes_`. Scale y as well as X: if its
    numbers are in the hundreds, say, the steps do not suit the loss, and the network may learn nothing. scikit-learn's
    ``TransformedTargetRegressor(model, transformer=StandardScaler())`` does so, and predicts in the units of y.

    Examples
    --------
    >>> import minilift as ml
    >>> data = ml.datasets.teacher(500)
    >>> model = ml.ImplicitMLPRegressor(activation="tanh", random_state=0)
    >>> model.fit(data.X_train, data.y_train).score(data.X_test, data.y_test) > 0.8
    True
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def new_loss(self):
        """Return the loss."""
        return SquaredError()

    def checked_data(self, X, y, classes=None, reset=True):
        """Return X, targets (N, m) and m; with `reset`, store whether y has one axis."""
        dtype = (np.float64, np.float32) if reset else self.network_.dtype
        X, y = validate_data(self, X, y, reset=reset, multi_output=True, y_numeric=True, dtype=dtype)
        if reset:
            self.one_axis_ = y.ndim == 1
        y = y.reshape(len(y), -1).astype(X.dtype)
        return X, y, y.shape[1]

    @spelled
    def partial_fit(self, X: Any, y: Any) -> Any:
        """Take one step for each batch of the data, in their order; return the estimator."""
        new = not hasattr(self, "network_")
        return self.steps(*(self.begin(X, y) if new else
                            (self.network_, *self.checked_data(X, y, reset=False)[:2])))

    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs, of shape (N,) or (N, m) as y in training."""
        outputs = self.outputs("predict", X)
        return outputs[:, 0] if self.one_axis_ else outputs
