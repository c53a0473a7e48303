r"""Closed-form fits of lifted values: the argmin over z of a gap with f inside, and over a of a least-squares gap.

.. math:: \min_u \tfrac12(f(u) - t)^2 + \tfrac{c}{2}(u - q)^2, \qquad
            \min_a \tfrac12\|s - \varphi(\theta, a)\|^2 + \tfrac{\beta}{2}\|a - h\|^2.

The first is not convex, since f is inside, and is solved one number at a time. If f is piecewise linear, its pieces
are tried in turn; if f is smooth, the lowest point of a grid is refined by the secant method, which halves a
bracket where it would be slow. The second is the step in θ with the roles exchanged: W takes the place of the
activations, and the samples that of the units.
For another gap in its place, `fit_inputs` lowers the objective by Gauss–Newton steps for each sample.
"""

from __future__ import annotations

import numpy as np

from minilift.layers.gram import Gram
from minilift.layers.maps import Linear
from minilift.local.solvers import ARMIJO, HALVINGS, cg_solve, damped_solve
from minilift.support.arguments import positive_number, shown
from minilift.support.backend import array_module, check_arrays, in_cache

GRID = 33  # points between the centre and the farthest place where the minimiser can be
HALVED = 20  # halvings to find that place
REFINEMENTS = 60  # of a bracket: halvings alone would reach the last bit


def fit_transfer(f, target, centre, c, out=None):
    r"""Return u that minimises :math:`\tfrac12(f(u) - t)^2 + \tfrac{c}{2}(u - q)^2`, entry by entry.

    Parameters
    ----------
    f : Activation
        Increasing (see `falls`), or with `pieces`, in which case the fit is exact; of two equally good minimisers the
        one on the lower piece is taken.
    target, centre : array
        t and q, of one shape.
    c : float
        Weight c > 0.
    out : array, optional
        The array that receives the minimiser; it may be `centre` itself.

    Returns
    -------
    array
        A minimiser, of the same shape: a global one if f has `pieces`. For a smooth f it is the lowest point of a grid,
        refined, which misses the global minimiser only if that lies between two points and is only a little lower.
    """
    check_arrays("fit_transfer", target=target, centre=centre)
    c = positive_number("fit_transfer: c", c)
    xp, fit = array_module(target, centre), fit_smooth if f.pieces is None else fit_pieces
    out = xp.empty_like(centre) if out is None else out
    for rows in in_cache(centre):
        out[rows] = fit(f, target[rows], centre[rows], c)
    return out


def falls(f, xp, dtype):
    """Return whether f falls by more than rounding between two neighbouring points of a grid from −20 to 20."""
    values = f.forward(xp.linspace(-20, 20, 401, dtype=dtype)[:, None])
    return bool((values[1:] < values[:-1] - 100 * np.finfo(dtype).eps * (1 + abs(values[1:]))).any())


def fit_pieces(f, target, centre, c):
    r"""Return the fit of `fit_transfer` for a piecewise linear f, the best of the minimisers on each piece.

    At u the objective is :math:`\tfrac12 (s^2 + c)(u - v)^2` higher than at the minimiser v on the whole line su + o.
    """
    xp = array_module(target, centre)
    best = lowest = None
    for low, high, slope, offset in f.pieces:
        curvature, rest = slope * slope + c, slope * centre + (offset - target)
        v = centre - (slope / curvature) * rest  # Lifted z
        u = xp.clip(v, low, high)
        cost = (c / curvature) * rest**2 + curvature * (u - v) ** 2
        if best is None:
            best, lowest = u, cost
        else:
            better = cost < lowest
            best = better * u + ~better * best  # NumPy's `where` takes ten times as long
            lowest = xp.minimum(cost, lowest)
    return best


def fit_smooth(f, target, centre, c):
    r"""Return the fit of `fit_transfer` for a smooth f: the lowest point of a grid, refined.

    The minimiser lies on the side where f approaches t, not beyond t, and no farther than :math:`|f(q) - t|/\sqrt c`
    from q: beyond that, the second term alone exceeds the sum of both at q.
    """
    xp = array_module(target, centre)

    def cost(u):
        return (f.forward(u) - target) ** 2 + c * (u - centre) ** 2

    far = reached(f, target, centre, centre + (target - f.forward(centre)) / c**0.5)
    best, lowest = centre, cost(centre)
    for k in range(1, GRID):
        u = centre + (k / (GRID - 1)) * (far - centre)
        trial = cost(u)
        better = trial < lowest
        best, lowest = xp.where(better, u, best), xp.where(better, trial, lowest)
    step, slack = abs(far - centre) / (GRID - 1), 1 + 1000 * np.finfo(best.dtype).eps
    low, high, u, curvature = best - step, best + step, best, f.derivative(best) ** 2 + c
    old_u = old_gradient = None
    for _ in range(REFINEMENTS):
        gradient, height = f.derivative(u) * (f.forward(u) - target) + c * (u - centre), cost(u)
        astray = height > slack * lowest  # in the basin of another minimum
        best, lowest = xp.where(height < lowest, u, best), xp.minimum(height, lowest)
        low = xp.where(xp.where(astray, u < best, gradient < 0), u, low)
        high = xp.where(xp.where(astray, u > best, gradient > 0), u, high)
        if old_u is not None:
            moved = u != old_u
            curvature = xp.where(moved, (gradient - old_gradient) / xp.where(moved, u - old_u, 1), curvature)
        newton = u - gradient / xp.where(curvature > 0, curvature, xp.full_like(best, c))
        trusted = (newton >= low) & (newton <= high) & (abs(newton - u) <= step / 2)
        following = xp.where(gradient == 0, u, xp.where(trusted, newton, (low + high) / 2))
        step = abs(following - u)
        if bool((step <= np.finfo(u.dtype).eps * (1 + abs(u))).all()):
            break
        old_u, old_gradient, u = u, gradient, following
    return xp.where(cost(u) <= slack * lowest, u, best)


def reached(f, target, near, far):
    """Return where f, from `near` to `far`, has just reached t, to a millionth of the way; else `far`."""
    xp, rising = array_module(target, near), far > near
    for _ in range(HALVED):
        middle = (near + far) / 2
        short = (f.forward(middle) < target) == rising
        near, far = xp.where(short, middle, near), xp.where(short, far, middle)
    return far


def fit_values(phi, theta, target, centre, beta):
    r"""Return a that minimises :math:`\tfrac12\|s - \varphi(\theta, a)\|^2 + \tfrac{\beta}{2}\|a - h\|^2`.

    Written for the difference from h, this is `damped_solve` on the transposed problem: each sample is a unit, and each
    row of :math:`W^T` a sample. So the system solved is the smaller of the two, with n_in or n_out rows.

    Parameters
    ----------
    phi : Linear
    theta : array (n_in + 1, n_out)
    target, centre : array (N, n_out), (N, n_in)
        s and h.
    beta : float
        β > 0.

    Returns
    -------
    array (N, n_in)
    """
    if not isinstance(phi, Linear):
        raise TypeError(f"fit_values: phi must be a Linear map, got {shown(phi)}")
    rest = phi.forward(theta, centre)
    rest -= target
    xp = array_module(theta)
    step = damped_solve(Gram(xp.ascontiguousarray(theta[:-1].T), bias=False), rest.T, beta).value.T
    return xp.subtract(centre, step, out=step)


def fit_inputs(phi, theta, model, a, centre, beta, steps):
    r"""Lower :math:`h(\varphi(\theta, a)) + \tfrac{\beta}{2}\|a - h\|^2` by Gauss–Newton steps of each sample.

    A step solves :math:`(W C W^T + \beta I)\,p = \nabla` by conjugate gradients, where C is the curvature of the gap;
    it is halved until Armijo's condition holds. So no sample's objective rises, except by rounding.

    Parameters
    ----------
    phi : Map
    theta : array
    model : callable
        From u (N, n_out) to the `Model` of the gap there, whose value has shape (N,), and whose curvature does not
        couple samples.
    a, centre : array (N, n_in)
        The start of the steps, and the centre h.
    beta : float
        β > 0.
    steps : int

    Returns
    -------
    array (N, n_in)
    """
    bias, eps = phi.forward(theta, 0 * a[:1]), np.finfo(a.dtype).eps
    for _ in range(steps):
        u, off = phi.forward(theta, a), a - centre
        at = model(u)

        def hessian(v, curvature=at.curvature):
            return phi.adjoint_input(theta, curvature(phi.forward(theta, v) - bias)) + beta * v

        gradient = phi.adjoint_input(theta, at.gradient) + beta * off
        # twice as many steps as unknowns: finite termination fails in floating point
        p = cg_solve(hessian, gradient, inner, 2 * min(theta.shape) + 10, forcing=10 * eps)
        change, slope = phi.forward(theta, p) - bias, inner(gradient, p)
        before = at.value[:, None] + beta / 2 * inner(off, off)
        slack = 8 * eps * abs(before)  # otherwise rounding would stop the steps before they are small
        length = array_module(a).ones((len(a), 1), a.dtype)
        for _ in range(HALVINGS):
            off = a - length * p - centre
            after = model(u - length * change).value[:, None] + beta / 2 * inner(off, off)
            fails = ~(after <= before - ARMIJO * length * slope + slack)
            if not bool(fails.any()):
                break
            length[fails] /= 2
        length[fails] = 0
        a = a - length * p
    return a


def inner(x, y):
    """Return ⟨x, y⟩ of each sample, shape (N, 1)."""
    return array_module(x).einsum("ij,ij->i", x, y)[:, None]
