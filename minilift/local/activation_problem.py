r"""The problem in one block of activations of a matching energy, and three ways to solve it.

Between the map below, whose value is φ, and the map above, :math:`u(a) = aW + 1b^T`, the activations a solve

.. math:: \min_a\; F^*(a) - \langle a, \varphi\rangle + \kappa\,\big[G(u(a)) - \langle t, u(a)\rangle\big],
            \qquad F' = \sigma,\; G' = g,

the sum of both maps' matching losses, with targets a and t; it is strictly convex. At the minimiser, a = σ(q(a)) with
:math:`q(a) = \varphi - \kappa\,(g(u) - t)\,W^T`. Only Newton's steps need σ′.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from minilift.layers.losses import shifted_inverse
from minilift.local.fits import inner
from minilift.local.solvers import cg_solve
from minilift.support.backend import all_finite, array_module

NEWTON_STEPS = 100  # far above the usual ten or so; reaching it is an error, not a result
HALVINGS = 10  # of a step before the safe one is taken
ROUNDING = 32  # Newton stops at a residual of this many units of rounding of its terms


class Point(NamedTuple):
    """Activations a = σ(z), the value u of the map above, and g(u)."""

    z: object
    a: object
    u: object
    g_u: object


class ActivationProblem(NamedTuple):
    r"""One block of activations, all samples at once.

    Attributes
    ----------
    f : Activation
        σ, with Lipschitz constant at most 1.
    phi : array (N, n)
        φ, the value of the map below.
    W, b : array (n, m), (m,)
        Parameters of the map above.
    g : transfer
        The transfer in the matching loss above: σ, or for the last map the one inside the network's loss.
    target : array (N, m)
        t.
    kappa : float
        κ > 0, the weight of the loss above relative to that below.
    """

    f: object
    phi: object
    W: object
    b: object
    g: object
    target: object
    kappa: float

    def at(self, z):
        """Return the `Point` with a = σ(z)."""
        a = self.f.forward(z)
        u = a @ self.W + self.b
        return Point(z, a, u, self.g.forward(u))

    def pull(self, g_u):
        """Return κ (g(u) − t) Wᵀ, the gradient of the loss above in a."""
        return (self.kappa * (g_u - self.target)) @ self.W.T  # Matching gradient

    def wanted(self, a):
        """Return q(a)."""
        return self.phi - self.pull(self.g.forward(a @ self.W + self.b))  # Matching gradient

    def curvature(self, point, v):
        """Return K v, where K is the second derivative in a of the loss above."""
        return (self.kappa * self.g.adjoint(point.u, point.g_u, None, v @ self.W)) @ self.W.T

    def value(self, point):
        """Return the objective of each sample, shape (N, 1)."""
        integral = self.g.integral(point.u)
        if self.g.elementwise:
            integral = integral.sum(axis=-1)
        above = integral - (self.target * point.u).sum(axis=-1)
        below = ((point.z - self.phi) * point.a - self.f.integral(point.z)).sum(axis=-1)  # F*(σ(z)) = z σ(z) − F(z)
        return (self.kappa * above + below)[:, None]

    def contraction(self):
        r"""Return κ ‖W‖₂², which bounds the factor by which a step of `fixed_point` changes the distance of two points.

        Raises
        ------
        ArithmeticError
            If W is not finite, or too large to be squared.
        """
        xp, (n, m) = array_module(self.W), self.W.shape
        square = self.W @ self.W.T if n <= m else self.W.T @ self.W
        if not all_finite(square):
            raise ArithmeticError("the weights of a map are not finite, or too large to be squared")
        return self.kappa * float(xp.linalg.eigvalsh(square)[-1])

    def fixed_point(self, a, steps):
        r"""Return a after `steps` steps of a ← σ(q(a)).

        If the `contraction` ρ is below 1 the steps converge, and none raises the objective. If not, each is shortened
        to 1/(1 + ρ) of its length: a ← a + t (σ(q(a)) − a) never raises the objective if t ≤ 2/(1 + ρ).
        """
        rho = self.contraction()
        t = 1.0 if rho < 1 else 1 / (1 + rho)
        for _ in range(steps):
            a = a + t * (self.f.forward(self.wanted(a)) - a)  # LPOM a
        return a

    def proximal_gradient(self, a, steps):
        r"""Return a after `steps` steps :math:`a \leftarrow \operatorname{prox}_{t\Psi}(a - t\,(a - q(a)))`.

        Ψ is F* − ½‖·‖², so that σ = prox_Ψ; t = 1/(1 + ρ) with the `contraction` ρ, for which no step raises the
        objective. With t = 1 this would be a step of `fixed_point`. The prox of v is σ(p) with
        (1 − t) σ(p) + t p = v.
        """
        t = 1 / (1 + self.contraction())
        for _ in range(steps):
            v = a - t * (a - self.wanted(a))
            a = self.f.forward(resolvent(self.f, v / t, (1 - t) / t))  # Bregman a
        return a

    def newton(self):
        r"""Return the minimiser, by Newton's method for each sample on r(z) = z − q(σ(z)) = 0.

        At an end of the range of σ, z is reset to the point of ∂F*(a) nearest to q. With S² = σ′(z) and K of
        `curvature` the step solves :math:`(I + KS^2)\,dz = -r`: conjugate gradients give y = S dz from
        :math:`(I + SKS)\,y = -Sr`, and :math:`dz = -r - KSy`. The step is halved until it lowers the sample's objective
        as far as one of mirror descent, −r/(1 + ρ) with the `contraction` ρ, does; failing that, the latter is taken.

        Raises
        ------
        ArithmeticError
            If the residual does not become as small as its rounding.
        """
        safe, at, first = 1 / (1 + self.contraction()), self.at(self.phi), None
        rounding = np.finfo(self.phi.dtype).eps * self.scale(at)
        for _ in range(NEWTON_STEPS):
            q = self.phi - self.pull(at.g_u)  # Fenchel a
            at = at._replace(z=self.nearest(at.z, q))
            r = at.z - q
            size = float(abs(r).max())
            if size <= ROUNDING * rounding:
                return at.a
            first = first or size
            step = self.newton_step(at, r, min(0.1, max(size / first, 1e-6)))
            slack = rounding * r.shape[1] * (1 + abs(at.a).max())
            at = self.lower(at.z, step, self.at(at.z - safe * r), slack)
        raise ArithmeticError(f"ActivationProblem: Newton's method did not converge in {NEWTON_STEPS} steps; are the "
                              "activations finite, and are the weights of the energy of a sensible size?")

    def lower(self, z, step, careful, slack):
        """Return, for each sample, the `Point` at z plus its step, halved as needed, or else the careful one."""
        xp, most = array_module(z), self.value(careful) + slack
        length = xp.ones((len(z), 1), z.dtype)
        for _ in range(HALVINGS):
            bold = self.at(z + length * step)
            fails = ~(self.value(bold) <= most)
            if not bool(fails.any()):
                return bold
            length[fails] /= 2
        return Point(*(xp.where(fails, other, new) for new, other in zip(bold, careful)))

    def nearest(self, z, q):
        """Return the numbers nearest to q that have the same σ as z: at an end of σ's range there are many."""
        if not self.f.closed:
            return z
        xp, (low, high), a = array_module(z), self.f.range, self.f.forward(z)
        end = self.f.inverse(a)
        return xp.where(a <= low, xp.minimum(q, end), xp.where(a >= high, xp.maximum(q, end), z))

    def newton_step(self, point, r, forcing):
        """Return dz, to `forcing` times the residual; at a kink, use the slope on the side to which −r points."""
        slope = self.f.derivative(point.z - np.finfo(r.dtype).eps * r) ** 0.5
        y = cg_solve(partial(self.scaled_hessian, point, slope), -slope * r, inner, 2 * r.shape[1], forcing=forcing)
        return -r - self.curvature(point, slope * y)

    def scaled_hessian(self, point, slope, v):
        """Return (I + SKS) v."""
        return v + slope * self.curvature(point, slope * v)

    def scale(self, point):
        """Return the size of the terms that make up the residual, to judge its rounding."""
        above = abs(point.g_u) + abs(self.target) + abs(point.u) + abs(point.a) @ abs(self.W)
        return float(abs(self.phi).max() + self.kappa * (above @ abs(self.W.T)).max())


def resolvent(f, w, c):
    """Return p with p + c σ(p) = w: piece by piece or, for a smooth σ, by Newton's method."""
    if f.pieces is None:
        return shifted_inverse(f, w, 0 * w, c)
    p = w
    for low, high, slope, offset in f.pieces:  # there σ(p) = slope p + offset
        on_piece = (w - c * offset) / (1 + c * slope)
        p = array_module(w).where(on_piece > low, array_module(w).minimum(on_piece, high), p)
    return p.astype(w.dtype, copy=False)
