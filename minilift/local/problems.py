r"""The local problem in one block of parameters, as an objective that can be evaluated.

For one map with input a and old parameters θ_k, every method solves a problem of the form

.. math:: \min_\theta\; h(\tilde a\,\theta) + \tfrac{\beta}{2}\|\theta - \theta_k\|^2.

The methods differ in the gap h between the map's output and its target:

- `SquaredGap`, :math:`\tfrac12\|z - (z_k - s)\|^2`: ProxProp (11) with s = g, LocoProp-S with s = γ g;
- `MatchingLoss`, :math:`\sum F(z) - \langle f(z_k) - s, z\rangle`: LocoProp-M with s = γ g; convex, f is outside;
- `SquaredFit`, :math:`\|f(z) - (f(z_k) - s)\|^2`: SIBP with s = η ∂J/∂a; not convex, since f is inside.

A gap is computed from differences, (f(z) − f(z_k)) + s: forming the target first would lose a small signal in float32.
The unknown is the step D = θ_k − θ in the coordinates of a `Gram` operator, so that one solver serves both sample space
and parameter space.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np

from minilift.layers.activations import Identity, Transfer
from minilift.layers.gram import Gram
from minilift.support.arguments import is_floating, number_between, shown, wrong_class
from minilift.support.backend import array_module

IDENTITY = Identity()


class Model(NamedTuple):
    """A gap h at one z: its value, its gradient, and its curvature, a function v ↦ ∇²h(z) v.

    Attributes
    ----------
    z : array (rows, n_out)
    value : array (n_out,) or (1,)
        h of each output unit, or a single number where f couples the units.
    gradient : array (rows, n_out)
    curvature : callable
    """

    z: object
    value: object
    gradient: object
    curvature: object


class Gap:
    r"""Base class of gaps: a transfer f, and arrays with one row for each row of z; h is a sum over rows.

    Attributes
    ----------
    quadratic : float or None
        c if :math:`h(z) = \tfrac c2\|z - (z_k - s)\|^2` up to a constant, else None.

    `gradient` also takes images, sequences and the like; `value` and `model` need a matrix.
    """

    quadratic: float | None = None

    def __init__(self, f, z, signal):
        what = type(self).__name__
        if not isinstance(f, Transfer):
            raise wrong_class(f"{what}: f", f, Transfer, ", such as ReLU()")
        if not is_floating(z, signal, axes=range(2, 6)) or signal.shape != z.shape:
            name, array = ("signal", signal) if is_floating(z, axes=range(2, 6)) else ("z", z)
            raise ValueError(f"{what}: {name} must be a floating-point array of shape (rows, n_out), "
                             f"or of images or sequences, as z, got {shown(array)}")
        self.f, self.z, self.signal = f, z, signal

    def rounding(self, model, size=0.0):
        """Return the rounding of h in a `Model`, per unit, as if each of its N terms were of size 1 + `size`."""
        return 8 * np.finfo(model.z.dtype).eps * (abs(model.value) + len(model.z) * (1 + size))

    def of_rows(self, rows):
        """Return the part of the gap that belongs to the given rows, a slice: those of each array it keeps."""
        if type(rows) is not slice:
            raise TypeError(f"of_rows: rows must be a slice, got {shown(rows)}")
        part = copy(self)
        vars(part).update({name: kept[rows] for name, kept in vars(self).items() if isinstance(kept, type(self.z))})
        return part


class MatchingLoss(Gap):
    r"""LocoProp's gap, :math:`h(z) = \sum F(z) - \langle y, z\rangle` with target :math:`y = f(z_k) - s`.

    It is convex and, up to a constant, the Bregman divergence of F from z to the target.

    Parameters
    ----------
    f : transfer
        With `forward`, `integral` and `adjoint`.
    z : array (rows, n_out)
        z_k, at which the signal was computed.
    signal : array (rows, n_out)
        s = γ g, the gradient of h at z_k.

    Examples
    --------
    >>> z, signal = np.array([[0.5], [-1.0]]), np.array([[0.1], [0.2]])
    >>> gap = ml.problems.MatchingLoss(ml.Tanh(), z, signal)
    >>> np.allclose(gap.target, np.tanh(z) - signal), np.allclose(gap.gradient(z), signal)
    (True, True)
    """

    convex = True

    def __init__(self, f, z, signal):
        super().__init__(f, z, signal)
        self.f_k, self.quadratic = f.forward(z), 1.0 if isinstance(f, Identity) else None

    def in_double(self):
        """Return the same gap for z_k and signal in float64."""
        signal = self.signal.astype(np.float64)
        if not self.f.elementwise:  # a softmax ignores constants; those in its signal are rounding
            signal = signal - signal.mean(axis=-1, keepdims=True)
        return MatchingLoss(self.f, self.z.astype(np.float64), signal)

    @cached_property
    def target(self):
        """The target y, in the shape of z."""
        return self.f_k - self.signal

    @property
    def attained(self):
        """Whether each target is a value of f, or is f(z_k) itself, rounded to the end of the range."""
        y, (low, high) = self.target, self.f.range
        outside = (y < low) | (y > high)
        at_end = ((y == low) | (y == high)) & (y != self.f_k)
        return not bool((outside if self.f.closed else outside | at_end).any())

    def value(self, z):
        """Return h(z) of each output unit (n_out,), or a single number (1,) where f couples the units."""
        linear = self.target * z
        if not self.f.elementwise:
            return self.f.integral(z).sum(keepdims=True) - linear.sum(keepdims=True)[0]
        return (self.f.integral(z) - linear).sum(axis=-2)

    def gradient(self, z):
        r"""Return :math:`\nabla h(z) = f(z) - y`."""
        return (self.f.forward(z) - self.f_k) + self.signal  # LocoProp-M, LocoProp-S

    def model(self, z):
        """Return the `Model` of h around z."""
        f_z = self.f.forward(z)
        return Model(z, self.value(z), (f_z - self.f_k) + self.signal, lambda v: self.f.adjoint(z, f_z, None, v))


class SquaredGap(MatchingLoss):
    r"""The gap of ProxProp (11) and LocoProp-S, :math:`\tfrac12\|z - (z_k - s)\|^2` up to a constant.

    It is the matching loss of the identity.

    Parameters
    ----------
    z, signal : array (rows, n_out)
        z_k, and s: g for ProxProp, γ g for LocoProp-S.

    Examples
    --------
    >>> gap = ml.problems.SquaredGap(z=np.array([[1.0]]), signal=np.array([[0.25]]))
    >>> gap.target.tolist(), gap.gradient(np.array([[2.0]])).tolist()
    ([[0.75]], [[1.25]])
    """

    def __init__(self, z, signal):
        Gap.__init__(self, IDENTITY, z, signal)
        self.f_k, self.quadratic = z, 1.0


class SquaredFit(Gap):
    r"""SIBP's gap, :math:`h(z) = \|f(z) - T\|^2` with target :math:`T = f(z_k) - s`: not convex, f is inside.

    Parameters
    ----------
    f : Activation
        Elementwise.
    z : array (rows, n_out)
        z_k.
    signal : array (rows, n_out)
        s = η ∂J/∂a, the unmasked signal of the summed loss.

    Examples
    --------
    >>> gap = ml.problems.SquaredFit(ml.ReLU(), z=np.array([[1.0]]), signal=np.array([[0.25]]))
    >>> gap.value(np.array([[2.0]])).tolist(), gap.gradient(np.array([[2.0]])).tolist()  # (2 − ¾)², and 2 (2 − ¾)
    ([1.5625], [[2.5]])
    """

    def __init__(self, f, z, signal):
        super().__init__(f, z, signal)
        if not f.elementwise:
            raise ValueError(f"SquaredFit: f must be elementwise, got {f!r}")
        self.f_k, self.xp, self.quadratic = f.forward(z), array_module(z), 2.0 if isinstance(f, Identity) else None

    @property
    def convex(self):
        """Whether h is convex, as it is where f is the identity."""
        return self.quadratic is not None

    def value(self, z):
        """Return h(z) of each output unit, shape (n_out,)."""
        residual = self.f.forward(z) - self.f_k
        residual += self.signal
        return self.xp.einsum("ij,ij->j", residual, residual)

    def rounding(self, model, size=0.0):
        """Return the rounding of h in a `Model`, per unit: h sums squares r², and r is rounded as f(z_k) and s are."""
        eps, terms = np.finfo(model.z.dtype).eps, (self.f_k, self.signal)
        of_r = 4 * eps * sum(self.xp.einsum("ij,ij->j", x, x) for x in terms) ** 0.5
        return 4 * eps * len(model.z) ** 0.5 * model.value + of_r * (2 * model.value ** 0.5 + of_r)

    def gradient(self, z):
        r"""Return :math:`\nabla h(z) = 2 f'(z) \odot (f(z) - T)`."""
        return self.model(z).gradient

    def model(self, z):
        """Return the `Model` of h around z, with the Gauss–Newton part of its curvature."""
        f_z = self.f.forward(z)
        slope, residual = self.f.adjoint(z, f_z, None, z.dtype.type(1)), f_z - self.f_k
        residual += self.signal
        gradient = slope * residual  # SIBP W, SIBP b
        gradient *= 2
        value = self.xp.einsum("ij,ij->j", residual, residual)
        return Model(z, value, gradient, lambda v: 2 * (slope * (slope * v)))


class Step(NamedTuple):
    """A step D in coordinates u of a `Gram` operator, with the change ãD that it makes to the map's output."""

    u: object
    change: object

    def plus(self, length, other):
        """Return this step plus `length` (one number per unit) times another."""
        u, change = length * other.u, length * other.change
        u += self.u
        change += self.change
        return Step(u, change)


class LocalProblem:
    r"""Minimise :math:`h(z_k - \tilde aD) + \tfrac{\beta}{2}\|D\|^2` over the step D, in coordinates u of `gram`.

    Parameters
    ----------
    gram : Gram
        The operator of the map's input.
    z : array (rows, n_out)
        z_k, the map's output at D = 0.
    gap : SquaredGap, MatchingLoss, SquaredFit, or your own `Gap`
        The gap h, with `value`, `gradient`, `model`, `of_rows` and `convex`.
    damping : float
        β ≥ 0; 0 for no regulariser.

    Examples
    --------
    >>> a, z, g = np.array([[1.0], [2.0]]), np.zeros((2, 1)), np.array([[1.0], [3.0]])
    >>> problem = ml.problems.LocalProblem(ml.Linear(1, 1).gram(a), z, ml.problems.SquaredGap(z, g), damping=1e-9)
    >>> ml.solvers.exact(problem).value.round(4).tolist()  # the line 2 a − 1 through (1, 1) and (2, 3)
    [[2.0], [-1.0]]
    """

    def __init__(self, gram, z, gap, damping):
        if not isinstance(gram, Gram):
            raise wrong_class("LocalProblem: gram", gram, Gram)
        if type(z) is not type(gram.a) or z.ndim != 2 or len(z) != gram.height or z.dtype != gram.a.dtype:
            raise ValueError(f"LocalProblem: z must be an array of shape ({gram.height}, n_out) and dtype "
                             f"{gram.a.dtype}, got {shown(z)}")
        if not isinstance(gap, Gap):
            raise wrong_class("LocalProblem: gap", gap, Gap, ", such as MatchingLoss")
        if gap.z.shape != z.shape:
            raise ValueError(f"LocalProblem: gap must be that of a z of shape {z.shape}, got one of {gap.z.shape}")
        if type(damping) is not float or not 0 <= damping < np.inf:  # this runs in every step
            damping = number_between("LocalProblem: damping", damping, 0)  # a NumPy float64 would promote float32
        self.gram, self.z, self.gap, self.damping = gram, z, gap, damping
        self.xp = gram.xp
        self.coupled = not gap.f.elementwise  # whether the units share one problem (softmax)

    def of_units(self, numbers):
        """Return one number per unit (n_out,) unchanged, or their sum (1,) where the units are coupled."""
        return numbers.sum(keepdims=True) if self.coupled else numbers

    def total(self, x, y):
        """Return ⟨x, y⟩ of each unit, or their sum."""
        return self.of_units(self.xp.einsum("ij,ij->j", x, y))

    def inner(self, step, u):
        """Return the inner product in θ of a `Step` and the step with coordinates u, likewise."""
        return self.of_units(self.gram.inner(step.u, step.change, u))

    def squared_norm(self, step):
        """Return the squared norm in θ of a `Step`, likewise."""
        return self.of_units(self.gram.squared_norm(step.u, step.change))

    def descent(self, gradient, u):
        r"""Return the coordinates of minus the gradient in D, :math:`\tilde a^T\nabla h - \beta D`."""
        q = self.gram.lower(gradient)
        return q - self.damping * u if self.damping else q

    def step(self, u):
        """Return the `Step` with coordinates u."""
        return Step(u, self.gram.output_change(u))

    def start(self):
        """Return the `Step` D = 0."""
        zeros = self.xp.zeros((self.gram.coordinates, self.z.shape[1]), self.z.dtype)
        return Step(zeros, self.xp.zeros_like(self.z))

    def objective(self, d):
        """Return the objective at a step D in θ, a float; for tests and readers: the solvers already have z."""
        value = self.gap.value(self.z - self.gram.apply(d)).sum()
        return float(value + self.damping / 2 * (d * d).sum())

    def gradient_norm(self, d):
        """Return the norm of the gradient at a step D, a float."""
        z = self.z - self.gram.apply(d)
        gradient = self.damping * d - self.gram.adjoint(self.gap.gradient(z))
        return float((gradient * gradient).sum()) ** 0.5
