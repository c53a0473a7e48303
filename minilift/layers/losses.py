r"""Losses :math:`L_y(z)` of the last map's output z: value, gradient and prox.

Each is the matching loss of one transfer f (`transfer`): :math:`\ell(z, y) = F(z) - \langle y, z\rangle` plus a
constant, so that its gradient is :math:`f(z) - y`. Cross-entropies therefore take logits, which is also the
numerically safe form. The losses of the samples are averaged (``reduction="mean"``, ProxProp and LocoProp) or summed
(``"sum"``, SIBP); within a sample, the loss is always summed over the outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minilift.layers.activations import Identity, Sigmoid, Softmax
from minilift.support.arguments import known_name, positive_number, where_labels_are, where_targets_are
from minilift.support.backend import all_finite, array_module, as_array, check_arrays, first_not_finite, real_array
from minilift.support.settings import Settings

REDUCTIONS = ("mean", "sum")
PROX_ROUNDING = 16  # Newton stops at a residual of this many units of rounding
PROX_STEPS = 200  # far above the usual ten or so, and the fifty from far away; reaching it is an error, not a result


class Loss(Settings):
    """Base class of the losses; a subclass names its `transfer` and defines `value_per_sample` and `targets`.

    One whose gradient is not f(z) − y for any transfer f, such as Huber's, names none and defines `gradient`, and
    `prox` if it has one, in the dtype of z, which is float32 by default. A subclass of another loss whose gradient is
    no longer that one's f(z) − y, a cross-entropy with weights for instance, sets ``transfer = None``. If a loss sets
    ``convex = True``, `verify` checks that it is. If it takes only some numbers as targets, a `check_targets` of its
    own refuses the others.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default "mean"
        Whether the losses of the samples are averaged or summed.

    Attributes
    ----------
    transfer : transfer or None
        f.
    classification : bool
        Whether targets are labels, so that there is an accuracy.

    Examples
    --------
    >>> z, y = np.array([[0.0, 2.0], [1.0, 1.0]]), np.array([[0.0, 0.0], [1.0, 1.0]])
    >>> [ml.SquaredError(reduction).value(z, y) for reduction in ("mean", "sum")]
    [1.0, 2.0]
    """

    transfer: Any = None
    classification = False
    shown_bare = ("reduction",)

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = known_name(f"{type(self).__name__}: reduction", reduction, REDUCTIONS)

    def weight(self, samples):
        """Return the factor on one sample's loss: 1/N for the mean, 1 for the sum."""
        return 1 / samples if self.reduction == "mean" else 1.0

    def value(self, z: Any, y: Any) -> float:
        """Return the loss of outputs z (N, n) for targets y as a float, summed in float64."""
        self._check_pair("value", z, y)
        return float(self.value_per_sample(z, y).sum(dtype=np.float64)) * self.weight(len(z))

    def gradient(self, z: Any, y: Any) -> Any:
        r"""Return :math:`\nabla L_y(z)`, the weighted f(z) − y, shape (N, n)."""
        self._check_pair("gradient", z, y)
        g = self.transfer_for(f"{type(self).__name__}: gradient").forward(z) - self.targets(z, y)
        g *= self.weight(len(z))
        return g

    def prox(self, v: Any, y: Any, tau: float) -> Any:
        r"""Return :math:`\operatorname{prox}_{\tau L_y}(v) = \arg\min_u L_y(u) + \tfrac{1}{2\tau}\|u - v\|^2`.

        Parameters
        ----------
        v : array (N, n)
        y : targets
        tau : float
            Step size τ > 0. The weight of a sample's loss (1/N under the mean) is part of L.

        Raises
        ------
        ArithmeticError
            If Newton's method does not reach its tolerance (squared error has a closed form).
        """
        self._check_pair("prox", v, y, "v")
        for name, array in (("v", v), ("y", y)):
            if not all_finite(array):
                raise ValueError(f"{type(self).__name__}: prox: {name} must be finite, but holds NaN or inf")
        c = positive_number("prox: tau", tau) * self.weight(len(v))
        return self.shifted_inverse(v, self.targets(v, y), c)

    def shifted_inverse(self, v, y, c):
        r"""Return u with :math:`u + c\,(f(u) - y) = v`."""
        return shifted_inverse(self.transfer_for(f"{type(self).__name__}: prox"), v, y, c)

    def proba(self, z: Any) -> Any:
        """Return f(z): class probabilities; z itself for squared error or where there is no f."""
        self._check_outputs("proba", z)
        return z if self.transfer is None else self.transfer.forward(z)

    def predict(self, z: Any) -> Any:
        """Return the network's prediction: f(z), or for a classification loss the label of each sample."""
        self._check_outputs("predict", z)
        return z if self.transfer is None else self.transfer.forward(z)

    def transfer_for(self, what):
        """Return f for a caller that needs the gradient to be f(z) − y, or raise a `ValueError` if there is none."""
        if self.transfer is None:
            raise ValueError(f"{what} needs a loss with gradient f(z) − y for a transfer f; {self!r} names none")
        return self.transfer

    def value_per_sample(self, z, y):
        """Return the loss of each sample, unweighted, shape (N,)."""
        raise NotImplementedError(f"{type(self).__name__} must define value_per_sample(z, y)")

    def targets(self, z, y):
        """Return the targets as an array with the shape and dtype of z, on whose values they do not depend."""
        return y

    def _check_outputs(self, what, z, name="z"):
        """Raise an error unless z is a floating-point array of shape (N, n) with N > 0."""
        if type(z) is np.ndarray and z.ndim == 2 and len(z) and z.dtype.kind == "f":
            return  # the common case first: this runs in every step
        what = f"{type(self).__name__}: {what}"
        check_arrays(what, **{name: z})
        if z.ndim != 2 or len(z) == 0:
            raise ValueError(f"{what}: {name} must be of shape (N, n), got {z.shape}")

    def _check_pair(self, what, z, y, name="z"):
        """Raise an error unless y is an array of targets for z: another shape would be broadcast."""
        self._check_outputs(what, z, name)
        if not self.classification and type(self).targets is not Loss.targets:
            return  # a user's loss knows its own targets
        expected = z.shape[:1] if self.classification else z.shape
        if type(y) is np.ndarray and y.shape == expected and y.dtype.kind in ("iu" if self.classification else "f"):
            return
        what, kind = f"{type(self).__name__}: {what}", "whole" if self.classification else "real"
        check_arrays(what, kind, y=y)
        if y.shape != expected:
            raise ValueError(f"{what}: y must be of shape {expected}, got {y.shape}")

    def check_targets(self, y, samples, n_out, dtype, xp=np):
        """Return targets in this loss's form, on the backend `xp`, or raise an error that says what is wrong."""
        y = real_array("y", y, dtype, xp)
        if y.shape != (samples, n_out):
            raise ValueError(f"y: {type(self).__name__} expects targets of shape ({samples}, {n_out}), got {y.shape}"
                             + where_targets_are(y, samples, n_out))
        if not all_finite(y):
            raise ValueError(f"y: targets hold NaN or inf, first {first_not_finite('y', y)}")
        return y


class OfLabels(Loss):
    """Base class of the losses whose targets are labels: whole numbers from 0, one per sample.

    A network calls `check_targets` to see that each label has an output; `value` and `gradient` do not check again.
    """

    classification = True

    def targets(self, z, y):
        """Return the labels y (N,) as one-hot rows (N, n)."""
        return array_module(z).eye(z.shape[-1], dtype=z.dtype)[y]

    def predict(self, z: Any) -> Any:
        """Return the most probable label of each sample, shape (N,)."""
        self._check_outputs("predict", z)
        return z.argmax(axis=-1)

    def check_targets(self, y, samples, n_out, dtype, xp=np):
        y = as_array("y", y, xp)
        if y.shape != (samples,):
            raise ValueError(f"y: {type(self).__name__} expects labels of shape ({samples},), got {y.shape}"
                             + where_labels_are(y, samples, n_out))
        if y.dtype.kind not in "iu":
            raise TypeError(f"y: {type(self).__name__} expects whole-number labels, got dtype {y.dtype}"
                            + where_labels_are(y, samples, n_out))
        y = xp.asarray(y)
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= n_out:
            raise ValueError(f"y: labels must lie in 0 … {n_out - 1} (the network has {n_out} outputs), "
                             f"got {low if low < 0 else high}; labels count from 0, and each has an output")
        return y


class SoftmaxCrossEntropy(OfLabels):
    r"""Cross-entropy of softmax(z) with integer labels: :math:`\log\sum_j e^{z_{ij}} - z_{iy_i}`.

    Its prox has no closed form; Newton's method solves each row.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default "mean"
        Whether the losses of the samples are averaged or summed.

    Examples
    --------
    >>> loss, z, y = ml.SoftmaxCrossEntropy(), np.log([[1.0, 3.0]]), np.array([1])
    >>> round(loss.value(z, y), 4), loss.gradient(z, y).round(4).tolist()  # log 4/3, and p − e_1
    (0.2877, [[0.25, -0.25]])
    """

    transfer = Softmax()

    def value_per_sample(self, z, y):
        xp = np if type(z) is np.ndarray else array_module(z)  # runs in every step: no call for NumPy
        z = z - z.max(axis=-1, keepdims=True)  # the loss is the difference of log Σ e^z and z_y, which may be large
        total = xp.exp(z).sum(axis=-1, dtype=np.result_type(z.dtype, np.float64))  # keeps small terms next to the 1
        return xp.log(total).astype(z.dtype, copy=False) - z[xp.arange(len(z)), y]

    def gradient(self, z: Any, y: Any) -> Any:
        self._check_pair("gradient", z, y)
        xp = np if type(z) is np.ndarray else array_module(z)
        g = self.transfer.forward(z)
        g[xp.arange(len(z)), y] -= 1
        g *= self.weight(len(z))
        return g


class SigmoidCrossEntropy(Loss):
    r"""Cross-entropy of sigmoid(z) with targets in [0, 1], summed over outputs: :math:`\log(1 + e^z) - y z`.

    The loss of LocoProp's autoencoders. Its prox has no closed form; Newton's method solves each entry.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default "mean"
        Whether the losses of the samples are averaged or summed; over outputs each is a sum in both cases.

    Examples
    --------
    >>> loss, z, y = ml.SigmoidCrossEntropy(), np.zeros((1, 2)), np.array([[0.0, 1.0]])
    >>> round(loss.value(z, y), 4), loss.gradient(z, y).tolist()  # 2 log 2, and ½ − y
    (1.3863, [[0.5, -0.5]])
    """

    transfer = Sigmoid()

    def value_per_sample(self, z, y):
        xp = array_module(z)  # log(1 + e^z) = z + log(1 + e^−z), lest a small loss vanish in the difference with y z
        return (xp.log1p(xp.exp(xp.minimum(z, -z))) + ((z > 0) - y) * z).sum(axis=-1)

    def check_targets(self, y, samples, n_out, dtype, xp=np):
        y = super().check_targets(y, samples, n_out, dtype, xp)
        low, high = float(y.min()), float(y.max())
        if low < 0 or high > 1:
            raise ValueError(f"y: SigmoidCrossEntropy expects targets in [0, 1], got {low if low < 0 else high:g}")
        return y


class SquaredError(Loss):
    r"""Half the squared error, summed over outputs: :math:`\tfrac12\|z_i - y_i\|^2`; its prox has a closed form.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default "mean"
        Whether the losses of the samples are averaged or summed; over outputs each is a sum in both cases.

    Examples
    --------
    >>> loss, z, y = ml.SquaredError(), np.array([[3.0, 4.0]]), np.zeros((1, 2))
    >>> loss.value(z, y), loss.gradient(z, y).tolist(), loss.prox(z, y, tau=1.0).tolist()
    (12.5, [[3.0, 4.0]], [[1.5, 2.0]])
    """

    transfer = Identity()

    def value_per_sample(self, z, y):
        return ((z - y) ** 2).sum(axis=-1) / 2

    def shifted_inverse(self, v, y, c):
        """Return (v + c y)/(1 + c)."""
        return (v + c * y) / (1 + c)


class OneHotSquaredError(OfLabels, SquaredError):
    r"""Half the squared error with labels as one-hot rows, :math:`\tfrac12\|z_i - e_{y_i}\|^2`.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default "mean"
        Whether the losses of the samples are averaged or summed; over outputs each is a sum in both cases.

    Examples
    --------
    >>> loss, z, y = ml.OneHotSquaredError(), np.array([[3.0, 4.0]]), np.array([1])
    >>> loss.value(z, y), loss.gradient(z, y).tolist(), loss.predict(z).tolist()
    (9.0, [[3.0, 3.0]], [1])
    """

    def value_per_sample(self, z, y):
        return super().value_per_sample(z, self.targets(z, y))


def shifted_inverse(f, v, y, c):
    r"""Return u with :math:`u + c\,(f(u) - y) = v` by Newton's method with backtracking in each row.

    It is the prox of c (F − ⟨y, ·⟩), with F' = f. For an elementwise f each entry is a row of its own: an entry that
    starts far away, where f is flat, needs its steps halved often and would hold back the others. The residual is a
    difference of numbers of the size of c, which may be large, so it is formed in float64, whatever the dtype.
    """
    if f.elementwise and v.shape[-1] > 1:
        return shifted_inverse(f, v.reshape(-1, 1), y.reshape(-1, 1), c).reshape(v.shape)
    xp, dtype, v = array_module(v), v.dtype, v.astype(np.float64)
    u, objective, unit = v, _prox_objective(f, v, v, y, c), PROX_ROUNDING * np.finfo(v.dtype).eps * (1 + c)
    rounding = unit * (1 + abs(v).max(axis=-1, keepdims=True))  # a rise of the objective by less is none
    for _ in range(PROX_STEPS):
        gap = f.forward(u) - y
        residual, size = u - v + c * gap, 1 + (abs(u) + abs(gap)).max(axis=-1, keepdims=True)
        if bool((abs(residual) <= unit * size).all()):
            return u.astype(dtype)
        step, length = f.solve_shifted(u, c, residual), xp.ones((len(v), 1), v.dtype)
        for _ in range(60):  # halve the step of rows that get less than three tenths of what their slope promises
            trial = _prox_objective(f, u - length * step, v, y, c)
            most = objective - 0.3 * length * (residual * step).sum(axis=-1, keepdims=True)
            # a large objective's own rounding exceeds that of the residual, and is not a rise
            rises = trial > most + rounding + 4 * np.finfo(v.dtype).eps * abs(objective)
            if not bool(rises.any()):
                break
            length[rises] /= 2
        u, objective = u - length * step, trial
    raise ArithmeticError(f"{f!r}: the prox did not converge in {PROX_STEPS} Newton steps; "
                          "are the outputs finite, and is tau of a sensible size?")


def _prox_objective(transfer, u, v, y, c):
    """Return c (F(u) − ⟨y, u⟩) + ½‖u − v‖² of each row, shape (N, 1)."""
    integral = transfer.integral(u).sum(axis=-1) if transfer.elementwise else transfer.integral(u)
    return (c * (integral - (y * u).sum(axis=-1)) + ((u - v) ** 2).sum(axis=-1) / 2)[:, None]
