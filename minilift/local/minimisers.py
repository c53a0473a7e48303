r"""Whether a matching loss without a regulariser has a minimiser, and a softer loss that leads to one far away.

At a minimiser :math:`\tilde A^T(f(z) - y) = 0`. So one exists if and only if the targets y can be exchanged for
values p of f with the same :math:`\tilde A^Ty`. If the rows of :math:`\tilde A` are independent that means p = y. Else
a target may lie outside the range of f while the others hold the minimiser back.
"""

from __future__ import annotations

import numpy as np

from minilift.layers.activations import Activation
from minilift.local.problems import LocalProblem, MatchingLoss
from minilift.support.backend import to_numpy

MARGIN = 1e-6  # of p from an end that f does not attain, as a share of the largest target: ten times HiGHS's tolerance


def has_minimiser(problem):
    """Whether an undamped problem with a `MatchingLoss`, along `PrincipalAxes`, has a minimiser."""
    gram, gap = problem.gram, problem.gap
    if gap.attained:
        return True
    rows = to_numpy(gram.output_change(problem.xp.eye(gram.coordinates)) / problem.xp.sqrt(gram.values[:, 0]))
    y, f_k = to_numpy(gap.target), to_numpy(gap.f_k)
    units = [slice(j, j + 1) for j in range(y.shape[1])] if gap.f.elementwise else [slice(None)]
    return rows.shape[0] > rows.shape[1] and all(
        can_be_exchanged(rows, gap.f, y[:, unit], f_k[:, unit]) for unit in units)


def can_be_exchanged(rows, f, y, f_k):
    """Whether values p of f have ``rows.T @ p = rows.T @ y`` and, if f couples the units, the row sums of y."""
    from scipy.optimize import linprog
    from scipy.sparse import eye, kron, vstack
    (low, high), size, units = f.range, abs(y).max() or 1.0, y.shape[1]
    margin = 0 if f.closed else MARGIN * size
    attained = ((low < y) & (y < high)) | (y == f_k)
    least = np.where(attained, np.minimum(y, low + margin), low + margin)
    most = np.where(attained, np.maximum(y, high - margin), high - margin)
    sums = np.zeros((0, y.size)) if f.elementwise else kron(eye(len(y)), np.ones((1, units)))
    system = vstack([kron(rows.T, eye(units)), sums])
    bounds = np.stack([least.reshape(-1), most.reshape(-1)], axis=1) / size
    return linprog(np.zeros(y.size), A_eq=system, b_eq=system @ (y.reshape(-1) / size), bounds=bounds).status == 0


class Softened(Activation):
    r"""f(z/μ), the derivative of :math:`\mu F(z/\mu)`: it saturates μ times farther out than f, with the same range.

    Parameters
    ----------
    f : Activation
        Smooth or not.
    scale : float
        μ.
    """

    def __init__(self, f, scale):
        self.f, self.scale = f, scale
        self.elementwise, self.range, self.closed = f.elementwise, f.range, f.closed

    def forward(self, z):
        return self.f.forward(z / self.scale)

    def integral(self, z):
        return self.scale * self.f.integral(z / self.scale)

    def adjoint(self, z, a, aux, g):
        return self.f.adjoint(z / self.scale, a, aux, g / self.scale)


def softened(problem, scale):
    """Return a problem with the same targets for f(z/μ)."""
    f = Softened(problem.gap.f, scale)
    gap = MatchingLoss(f, problem.z, f.forward(problem.z) - problem.gap.target)
    return LocalProblem(problem.gram, problem.z, gap, problem.damping)
