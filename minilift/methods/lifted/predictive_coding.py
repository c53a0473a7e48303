r"""Predictive coding (Whittington, Bogacz 2017): values relax on the two-split energy, then θ takes its gradient.

From the forward pass, where all errors are 0, T steps are taken in all lifted values at once,

.. math:: v_l \leftarrow v_l - \eta\,\partial F/\partial v_l, \qquad l = 1 \dots D - 1,

and the direction of θ_l is ∂F/∂θ_l at the values reached. F is the energy of `TwoSplit` with μ = 1. Each step carries
the error one map down: after T steps the errors of maps D − T … D are no longer 0; all others still are. What first
arrives at map l, after T = D − l steps, is :math:`\eta^{D-l}` times BackProp's signal g_l, for any η; after T steps

.. math:: \partial F/\partial\theta_l \;\to\; \binom{T}{D-l}\,\eta^{D-l}\,\nabla_{\theta_l}J
            \quad\text{relatively, as } \eta \to 0.

With fixed predictions (Millidge, Tschantz, Buckley 2020), f_l and all derivatives keep their values at the forward
pass. The errors then follow a linear recursion, whose limit is the signals of backpropagation; D − 1 steps of rate 1
reach it exactly.

On a graph a join is a node with its own value and error, and a value that is read several times gets the sum of what
its readers send. With fixed predictions a path of k steps to the loss contributes its part of the gradient times

.. math:: \sum_{j=k}^{T} \binom{T}{j}\,\eta^j(1-\eta)^{T-j}, \qquad \text{about } \binom{T}{k}\,\eta^k.

With free predictions errors also spread sideways: a value that has moved leaves all its readers with an error, and
these move their other inputs.
"""

from __future__ import annotations

from minilift.layers.normalization import Dropout
from minilift.methods.lifted.descend import EnergyMethod
from minilift.methods.lifted.two_split import TwoSplit
from minilift.support.arguments import known_name, positive_number, whole_number


class PredictiveCoding(EnergyMethod):
    r"""Predictive coding; `direction` returns ∂F/∂θ, scaled to the network's reduction of the loss, for any optimizer.

    F counts the loss as a sum over samples, so that samples do not affect each other and η is a rate per sample. The
    direction is then multiplied by the weight of a sample, 1/N if the network's loss is a mean. Without steps it is
    ∇J on a map that ends the network, and 0 on the others.

    Parameters
    ----------
    rate : float, default 0.1
        Step size η of the lifted values. Above a limit that depends on the weights, steps grow instead of settling.
    steps : int, default 20
        T ≥ 0. On a chain, maps below D − T get no direction.
    latent : {"post", "pre"}, default "post"
        Whether the lifted values are the activations a_l or the pre-activations z_l.
    prediction : {"free", "fixed"}, default "free"
        "fixed": predictions and derivatives are those of the forward pass. With ``rate=1`` and at least D − 1 ``steps``
        the direction is exactly that of `BackProp`.

    Attributes
    ----------
    variables : Variables or None
        The lifted values after the last call, and the θ of that call.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: if the network has dropout, or transfers with their own parameters,
        such as batch norms, for which this method has no direction.

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10], dtype=np.float64), ml.datasets.digits()
    >>> _, d = ml.PredictiveCoding(rate=1, steps=1, prediction="fixed").direction(net, data.X_train, data.y_train)
    >>> _, gradient = ml.BackProp().direction(net, data.X_train, data.y_train)
    >>> [np.allclose(*pair) for pair in zip(d, gradient)]
    [True, True]
    """

    shown_always = ("rate", "steps")

    def __init__(self, rate: float = 0.1, steps: int = 20, latent: str = "post", prediction: str = "free") -> None:
        self.rate = positive_number("PredictiveCoding: rate", rate)
        self.steps = whole_number("PredictiveCoding: steps", steps, least=0)
        self.latent = known_name("PredictiveCoding: latent", latent, ("post", "pre"))
        self.prediction = known_name("PredictiveCoding: prediction", prediction, ("free", "fixed"))

    def check_network(self, net):
        """Raise an error if a transfer is random, or has parameters, for which this method has no direction."""
        for l in range(1, net.depth):
            for part in getattr(net.sigma[l], "parts", [net.sigma[l]]):
                if len(part.parameters) or isinstance(part, Dropout):
                    raise ValueError("PredictiveCoding: expects transfers without parameters of their own, and no "
                                     f"dropout; after map {l} stands {part!r}")

    def energy(self, net, X, y):
        """Return the energy F of one batch; with fixed predictions, around the forward pass."""
        return self.energy_around(net, net.forward(X), y)

    def energy_around(self, net, state, y):
        """Return F for a completed forward pass."""
        fixed = self.start(net, state) if self.prediction == "fixed" else None
        return TwoSplit(net, y, latent=self.latent, fixed=fixed)

    def start(self, net, state):
        """Return the values of the forward pass."""
        return TwoSplit(net, None, latent=self.latent).start(state)

    def directions(self, net, state, y):
        """Return ∂F/∂θ after the steps, for a completed forward pass, aligned with `net.parameters`."""
        self.check_network(net)
        energy, variables = self.energy_around(net, state, y), self.start(net, state)
        for _ in range(self.steps):
            variables = self.relaxed(energy, variables)
        # an optimizer writes into the network's own arrays
        kept = [None if theta is None else theta.copy() for theta in variables.theta]
        self.variables, self.last_energy = variables._replace(theta=kept), energy
        weight = net.loss_function.weight(len(state.a[0]))
        return [weight * energy.gradient("theta", l, variables) for l in net.maps]  # PC direction

    def relaxed(self, energy, variables):
        """Return the variables after one step in all lifted values at once, all computed from the old ones."""
        gradients = energy.latent_gradients(variables)
        values = [value if gradient is None else value - self.rate * gradient
                  for value, gradient in zip(getattr(variables, energy.block), gradients)]
        return variables._replace(**{energy.block: values})
