r"""Gauss–Newton for the whole network, damped after Levenberg and Marquardt, without forming its matrix.

.. math:: (G + \lambda I)\,d = \nabla J, \qquad G = \tfrac1N\sum_n J_n^T H_n J_n, \quad
            J_n = \partial z_D/\partial\theta, \quad H_n = \nabla^2\ell_n,

with J the mean loss, whatever the network's reduction. Conjugate gradients need only products with G, each of which is
one derivative forward, `network_jvp`, and one sweep back (Schraudolph, 2002). On one linear map with squared error it
is the Levenberg–Marquardt step, and N times ProxProp's with last="implicit" and τ_θ = 1/(Nλ).
"""

from __future__ import annotations

import math

from minilift.layers.activations import Composition
from minilift.layers.normalization import Dropout
from minilift.layers.pooling import AvgPool2d, Flatten, MaxPool2d
from minilift.local.solvers import cg_solve, norm
from minilift.methods.backward.backprop import BackProp
from minilift.methods.backward.kronecker import matching_transfer
from minilift.methods.backward.sweep import Method, sweep
from minilift.support.arguments import number_between, positive_number, whole_number
from minilift.support.backend import array_module


class GaussNewton(Method):
    r"""Damped Gauss–Newton steps; `direction` returns :math:`(G + \lambda I)^{-1}\nabla J`, for ``SGD(lr=1.0)``.

    Parameters
    ----------
    damping : float
        λ, for the mean loss. As λ → ∞ the direction tends to ∇J/λ.
    tolerance : float, default 1e-4
        The residual of the equations, relative to ∇J, at which conjugate gradients stop.
    steps : int, default 1000
        The largest number of steps, each of one product with G, to reach it; a restart, and the check at the end, take
        one more product each.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: for a batch norm, where G has no terms of single samples, or another
        transfer with parameters, for a layer without a forward derivative, or for a loss whose transfer is neither
        elementwise nor a softmax.
    ArithmeticError
        On a batch: if the tolerance is not reached in that many steps. In float32 it cannot be near 1e-7.

    Examples
    --------
    >>> net = ml.Network([ml.Linear(2, 1)], ml.SquaredError(), dtype=np.float64)
    >>> X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> y = np.array([[1.0], [3.0], [4.0]])
    >>> _, directions = ml.GaussNewton(damping=1e-9, tolerance=1e-9).direction(net, X, y)
    >>> ml.SGD(lr=1.0).step(net.parameters, directions)
    >>> net.theta[1].round(4).tolist()  # y = 2 x_1 + 3 x_2 + 1, found in one step
    [[2.0], [3.0], [1.0]]
    """

    shown_always = ("damping",)
    by_rows = True

    def __init__(self, damping: float, tolerance: float = 1e-4, steps: int = 1000) -> None:
        self.damping = positive_number("GaussNewton: damping", damping)
        self.tolerance = number_between("GaussNewton: tolerance", positive_number("GaussNewton: tolerance", tolerance),
                                        0, 1)
        self.steps = whole_number("GaussNewton: steps", steps)

    def directions(self, net, state, y):
        """Return the directions for a completed forward pass, aligned with `net.parameters`."""
        loss, z = net.loss_function, state.z[net.depth]
        f, N = matching_transfer("GaussNewton", loss), net.samples(state)
        if net.norms:
            raise ValueError("GaussNewton: expects transfers without parameters of their own, for which it has no "
                             f"Gauss–Newton matrices (those of a batch norm couple samples); got {net.norms[0]!r}")
        p = f.forward(z)

        def damped_product(v):
            forward = network_jvp(net, state, split(v, net.parameters))
            return pulled_back(net, state, f.adjoint(z, p, None, forward) / N) + self.damping * v  # Gauss–Newton

        gradient = pulled_back(net, state, loss.gradient(z, y) / (loss.weight(N) * N))
        return split(solved(damped_product, gradient, self.tolerance, self.steps), net.parameters)


def pulled_back(net, state, signal):
    r"""Return :math:`J^T` times a signal at the output, all parameters in one vector."""
    steps = dict(sweep(net, state, None, BackProp().propose, output_signal=signal))
    return array_module(signal).concatenate([steps[k].reshape(-1) for k in sorted(steps)])


def split(vector, parameters):
    """Return a vector of all parameters as a list of arrays with their shapes."""
    parts, start = [], 0
    for parameter in parameters:
        parts.append(vector[start:start + parameter.size].reshape(parameter.shape))
        start += parameter.size
    return parts


def network_jvp(net, state, tangents):
    r"""Return :math:`J\,t`, the derivative of the output z_D along a tangent of each θ, in one pass forward.

    Maps are linear in a and in θ, and joins are linear, so each is applied to the tangents themselves.
    """
    xp, along, moved, change = net.xp, dict(zip(net.maps, tangents)), [None], None
    for l in range(1, net.depth + 1):
        phi, theta, inputs, change = net.phi[l], state.theta[l], net.inputs[l], None
        if net.passes_on[l]:
            if theta is not None:
                theta = theta.copy()
                theta[-1] = 0  # the bias does not depend on a
            change = phi.forward(theta, *[xp.zeros_like(state.a[j]) if moved[j] is None else moved[j] for j in inputs])
        if theta is not None:
            own = phi.forward(along[net.owner[l]], state.a[inputs[0]])
            change = own if change is None else change + own
        if l < net.depth:
            moved.append(None if change is None else
                         transfer_jvp(net.sigma[l], state.z[l], state.a[l], state.aux[l], change))
    return change


def transfer_jvp(sigma, z, a, aux, t):
    r"""Return the derivative of σ at z along t, or raise a `ValueError` for a transfer that has none here.

    Where the derivative is diagonal it is its own transpose, the adjoint.
    """
    if isinstance(sigma, Composition):
        for part, inputs in zip(sigma.parts, aux):
            t = transfer_jvp(part, *inputs, t)
        return t
    if sigma.elementwise or isinstance(sigma, Dropout):
        return sigma.adjoint(z, a, aux, t)
    if isinstance(sigma, (AvgPool2d, Flatten)):  # linear
        return sigma.forward(t)
    if isinstance(sigma, MaxPool2d):
        return sum(view * (aux == place) for place, view in enumerate(sigma.views(t)))
    raise ValueError(f"GaussNewton: {sigma!r} has no forward derivative; it needs elementwise transfers, dropout, "
                     "pooling or flattening")


def solved(product, b, tolerance, steps):
    """Return x with ``product(x)`` = b, for a positive definite operator, to a residual of tolerance · ‖b‖.

    In floating point the residual that conjugate gradients update drifts from the true one. So the true one is computed
    once the updated one is small enough; if the true one is still too large, they restart from there.
    """
    x, r, taken, goal = 0 * b, b, 0, tolerance * norm(b)
    if not 0 < goal < math.inf:
        return b  # 0, or NaN and inf, from which `fit` sees that a run diverged

    def counted(p):
        nonlocal taken
        taken += 1
        return product(p)

    while (size := norm(r)) > goal:
        if taken == steps:
            raise ArithmeticError(f"GaussNewton: conjugate gradients have not reached a residual of {tolerance:g} in "
                                  f"{steps} steps, but {size / goal * tolerance:.2g}: use a larger damping, more steps "
                                  "or a larger tolerance")
        x = x + cg_solve(counted, r, array_module(b).vdot, steps - taken, forcing=goal / size)
        r = b - product(x)
    return x
