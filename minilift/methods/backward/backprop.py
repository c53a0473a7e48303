r"""Plain backpropagation: the explicit step of block-wise descent on the penalty energy (ProxProp Prop. 1).

.. math:: \nabla_{\theta_l}J = \tilde a_{l-1}^T g_l
"""

from __future__ import annotations

from typing import Any

from minilift.energy import Block
from minilift.methods.backward.sweep import Method


class BackProp(Method):
    r"""The gradient of the loss; `direction` returns ∇J.

    Examples
    --------
    >>> net = ml.Network([ml.Linear(2, 1)], ml.SquaredError(), dtype=np.float64)
    >>> net.theta = [None, np.zeros((3, 1))]
    >>> loss, [d] = ml.BackProp().direction(net, np.array([[1.0, 2.0]]), np.array([[3.0]]))
    >>> loss, d.ravel().tolist()  # ½ 3², and −3 [1 2 1]
    (4.5, [-3.0, -6.0, -3.0])
    """

    by_rows = True

    def propose(self, block: Block) -> Any:
        r"""Return :math:`\tilde a_{l-1}^T g_l`."""
        return block.phi.adjoint_theta(block.a, block.g)  # BackProp, ProxProp Prop. 1
