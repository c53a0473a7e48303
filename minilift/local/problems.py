r"""The local problems of LocoProp and Semi-Implicit BP, as objectives that can be evaluated.

Both have the form, for one map with input a and old parameters θ_k,

.. math:: \min_\theta\; h(\tilde a\,\theta) + \tfrac{\beta}{2}\|\theta - \theta_k\|^2,

with a data term h that compares f(ãθ) with the target f(z_k) − s, where s is the scaled signal (γ g for LocoProp,
η ∂J/∂a for SIBP). A data term is kept in differences, (f(z) − f(z_k)) + s: forming the target first would lose a
small signal in float32. The unknown is the step D = θ_k − θ in the coordinates of a `Gram` operator; so one solver
serves sample space and parameter space.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from minilift.layers.activations import Identity, Transfer
from minilift.layers.gram import Gram
from minilift.support.arguments import instance_of, number_between, shown
from minilift.support.backend import array_module, check_arrays


class MatchingLoss:
    r"""LocoProp's data term, :math:`h(z) = \sum F(z) - \langle y, z\rangle` with target :math:`y = f(z_k) - s`.

    The Bregman divergence of F up to a constant; convex. With f the identity it is ½‖z − (z_k − s)‖² up to a
    constant, LocoProp-S.

    Parameters
    ----------
    f : transfer
        With `forward`, `integral` and `adjoint`.
    z : array (rows, n_out)
        z_k, where the signal was taken.
    signal : array (rows, n_out)
        s = γ g, the gradient of h at z_k.
    """

    convex = True

    def __init__(self, f, z, signal):
        self.f, self.signal = check_target("MatchingLoss", f, z, signal), signal
        self.f_k = f.forward(z)

    @cached_property
    def target(self):
        """The target y, of the shape of z."""
        return self.f_k - self.signal

    def value(self, z):
        """Return h(z) of each output unit (n_out,), or in one number (1,) where f couples the units."""
        linear = self.target * z
        if not self.f.elementwise:
            return self.f.integral(z).sum(keepdims=True) - linear.sum(keepdims=True)[0]
        return (self.f.integral(z) - linear).sum(axis=0)

    def gradient(self, z):
        r"""Return :math:`\nabla h(z) = f(z) - y`."""
        return (self.f.forward(z) - self.f_k) + self.signal  # LocoProp-M, LocoProp-S

    def curvature(self, z, v):
        r"""Return :math:`\nabla^2 h(z)\,v`, the derivative of f along v."""
        return self.f.adjoint(z, self.f.forward(z), None, v)


class SquaredFit:
    r"""SIBP's data term, :math:`h(z) = \|f(z) - T\|^2` with target :math:`T = f(z_k) - s`: not convex, f is inside.

    Parameters
    ----------
    f : Activation
        Elementwise.
    z : array (rows, n_out)
        z_k.
    signal : array (rows, n_out)
        s = η ∂J/∂a, the unmasked signal of the summed loss.
    """

    def __init__(self, f, z, signal):
        self.f, self.signal = check_target("SquaredFit", f, z, signal), signal
        self.f_k = f.forward(z)

    @property
    def convex(self):
        """Whether h is convex: f is the identity."""
        return isinstance(self.f, Identity)

    def residual(self, f_z):
        """Return f(z) − T."""
        return (f_z - self.f_k) + self.signal

    def value(self, z):
        """Return h(z) of each output unit, shape (n_out,)."""
        return (self.residual(self.f.forward(z)) ** 2).sum(axis=0)

    def gradient(self, z):
        r"""Return :math:`\nabla h(z) = 2 f'(z) \odot (f(z) - T)`."""
        f_z = self.f.forward(z)
        return self.f.adjoint(z, f_z, None, 2 * self.residual(f_z))  # SIBP W, SIBP b

    def curvature(self, z, v):
        r"""Return the Gauss–Newton part :math:`2 f'(z)^2 \odot v` of :math:`\nabla^2 h(z)\,v`."""
        f_z = self.f.forward(z)
        return self.f.adjoint(z, f_z, None, self.f.adjoint(z, f_z, None, 2 * v))


class LocalProblem:
    r"""Minimise :math:`h(z_k - \tilde aD) + \tfrac{\beta}{2}\|D\|^2` over the step D, in coordinates u of `gram`.

    Parameters
    ----------
    gram : Gram
        Of the map's input.
    z : array (rows, n_out)
        z_k, the map's output at D = 0.
    data : MatchingLoss, SquaredFit or alike
        h, with `value`, `gradient`, `curvature` and `convex`.
    damping : float
        β ≥ 0; 0 for no regulariser.
    """

    def __init__(self, gram, z, data, damping):
        self.gram, self.z, self.data, self.damping = instance_of("LocalProblem: gram", gram, Gram), z, data, damping
        gram.check("LocalProblem", z, "z")
        number_between("LocalProblem: damping", damping, 0)
        if not all(hasattr(data, name) for name in ("value", "gradient", "curvature", "convex")):
            raise TypeError(f"LocalProblem: data must have value, gradient, curvature and convex, got {shown(data)}")

    @property
    def coupled(self):
        """Whether the output units share one problem (softmax) instead of having each its own."""
        return not self.data.f.elementwise

    def total(self, x, y):
        """Return ⟨x, y⟩ of each unit (n_out,), or in one number (1,) where the units are coupled."""
        of_each = array_module(x, y).einsum("ij,ij->j", x, y)
        return of_each.sum(keepdims=True) if self.coupled else of_each

    def descent(self, z, u):
        r"""Return the coordinates of minus the gradient in D, :math:`\tilde a^T\nabla h(z) - \beta D`."""
        q = self.gram.lower(self.data.gradient(z))
        return q - self.damping * u if self.damping else q

    def norm(self, q):
        """Return the norm in θ of the step with coordinates q, over all units, a float."""
        return float(self.gram.squared_norm(q, self.gram.output_change(q), self.total).sum()) ** 0.5

    def rounding(self):
        """Return the norm of a gradient that is made of the rounding of f(z) alone: none can be brought below it."""
        eps = np.finfo(self.z.dtype).eps
        return self.norm(self.gram.lower(4 * eps * (abs(self.data.f_k) + abs(self.data.signal))))

    def start(self):
        """Return u = 0."""
        return array_module(self.z).zeros((self.gram.coordinates, self.z.shape[1]), self.z.dtype)

    def objective(self, d):
        """Return the objective at a step D in θ, a float: for tests and for the reader, solvers have z at hand."""
        value = self.data.value(self.z - self.gram.apply(d)).sum()
        return float(value + self.damping / 2 * (d * d).sum())

    def gradient_norm(self, d):
        """Return the norm of the gradient at a step D, a float."""
        z = self.z - self.gram.apply(d)
        gradient = self.damping * d - self.gram.adjoint(self.data.gradient(z))
        return float((gradient * gradient).sum()) ** 0.5


def check_target(what, f, z, signal):
    """Return the transfer f of a data term, or raise an error if it, z or the signal is not what is expected."""
    check_arrays(what, z=z, signal=signal)
    if signal.shape != z.shape:
        raise ValueError(f"{what}: signal must have the shape of z, {z.shape}, got {signal.shape}")
    return instance_of(f"{what}: f", f, Transfer, " such as ReLU()")
