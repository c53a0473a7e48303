r"""The one backward sweep that the methods of this folder share.

From the last map to the first, a method proposes a step in θ_l; then the signal passes on,

.. math:: \partial J/\partial a_{l-1} = g_l W_l^T, \qquad g_{l-1} = \sigma'(z_{l-1}) \odot \partial J/\partial a_{l-1},

through the old weights, or through the new ones (SIBP). On a graph the signal at a value is the sum over all maps and
joins that read it. Maps that share θ_l form one problem: the sweep stacks their rows and asks for the step when the
first of them, which is visited last, has its signal. This is (b) of ProxProp's Algorithms 1 and 2 in differences,
:math:`a_l - a_l^{½} = \tau\,\partial J/\partial a_l` and :math:`z_l - z_l^{½} = \tau g_l`: forming the half steps and
subtracting them again would lose the signal in float32.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from minilift.energy import Block, OwnBlock, stacked
from minilift.graph import checked_network
from minilift.network import Network
from minilift.support.arguments import boolean, instance_of, shown, takes, whole_number
from minilift.support.settings import Settings
from minilift.support.spellings import guided


def sweep(net, state, y, propose, new_weights=False, explicit=None, output_signal=None):
    r"""Yield (k, step) for the blocks of parameters, the last map's first, in the numbering of `Network.parameters`.

    Steps are old minus new parameters. The maps' θ come first in the numbering (on a chain, k = l), with steps from
    `propose`; the transfers' own parameters, batch norm's scale and shift, come after, with steps from `explicit`.

    Parameters
    ----------
    net : Network
    state : State
        That of the forward pass.
    y : targets, on the network's backend
    propose : callable
        From a `Block` to a step of θ_l's shape.
    new_weights : bool, default False
        Whether the signal passes through the updated weights (SIBP) instead of the old ones. It passes through shared
        weights in their old form: the new ones are known only when all uses have their signals.
    explicit : callable, optional
        From an `OwnBlock` to a step; by default its gradient.
    output_signal : array, optional
        The signal sent back from z_D, in which case y is not read; by default the loss's gradient for the targets y.
    """
    theta, z, a, aux = state
    D, weight = net.depth, net.loss_function.weight(len(z[net.depth]))
    thetas = k = len(net.maps)
    norms, own_k = net.norms, thetas + len(net.norms)
    signal, uses = {}, defaultdict(list)  # ∂J/∂a_j, summed over its readers; the rows of each use of a shared θ
    for l in range(D, 0, -1):  # the readers of a value are visited before it
        if l == D:
            g = net.loss_function.gradient(z[D], y) if output_signal is None else output_signal  # g_D = ∂J/∂z_D
            g_a, own = None, ()
        elif net.learns[l]:
            g_a, g, own = net.sigma[l].signals(z[l], a[l], aux[l], signal.pop(l))
        else:
            continue
        for gradient in reversed(own):
            gradient, theta_own = net.total(gradient), norms[own_k - thetas - 1].scale_shift
            yield own_k, gradient if explicit is None else explicit(OwnBlock(own_k, theta_own, gradient, weight))
            own_k -= 1
        phi, W, inputs, first, shared = net.phi[l], theta[l], net.inputs[l], net.owner[l], net.shared[l]
        if W is not None:  # a join has none
            if shared:
                uses[first].append((a[inputs[0]], z[l], g_a, g))
            if l == first:  # all its signals are in
                rows = stacked(uses.pop(l)) if shared else (a[inputs[0]], z[l], g_a, g)
                step = propose(Block(l, D, l == D, phi, net.f[l], W, *rows, weight, k, thetas, net.f_inside[l]))
                del rows  # so that these arrays are free before the next signals are made
                yield k, step
                k -= 1
                W = W - step if new_weights and not shared else W
        if net.passes_on[l]:
            parts = phi.adjoint_inputs(W, g, [a[j] for j in inputs])
            for j, part in zip(inputs, parts):
                if j in signal and W is not None:
                    part += signal[j]  # a map's signal is a new array, a join's may be g itself
                elif j in signal:
                    part = part + signal[j]
                signal[j] = part  # ProxProp (8), (10), BackProp signal, SIBP signal


@guided
class Method(Settings):
    """Base class: a method is a function that proposes a step for one `Block`; the rest is the sweep.

    A subclass stores each argument of its constructor under its own name (see `Settings`), so that continuing a run
    with another value is refused. A newly assigned value takes effect from the next step, even if something has been
    derived from the old one. What it keeps between batches, a momentum say, it forgets in `reset`, returns in
    `state_dict` and takes back in `load_state_dict`: otherwise a resumed run would go on without it. One that takes
    several passes, such as sharpness-aware steps, defines `direction`; it leaves the parameters as they were.

    Attributes
    ----------
    new_weights : bool
        Whether the sweep passes signals through updated weights.
    columns : tuple of str
        Names of what `measure` returns, which become columns of the history of `fit`.
    whole_batch : bool
        Whether every batch must be the whole training set, because something is kept for each sample.
    by_rows : bool
        Whether the method needs nothing of other samples but what a block's ``phi.adjoint_theta`` and ``phi.gram``
        return. Then each of several ranks can keep its own rows of a batch; if not, `fit` gives each the rows of all,
        and refuses a method that defines `directions`.
        A class that changes how its base class steps does not inherit it, and must set it again.
    descends_on_loss : bool
        Whether it claims to be a descent direction of the loss J that vanishes where ∇J does; `verify` tests the claim.

    Examples
    --------
    >>> class Normalized(ml.Method):
    ...     def propose(self, block):
    ...         d = block.phi.adjoint_theta(block.a, block.g)
    ...         return d / np.linalg.norm(d)
    >>> data = ml.datasets.digits()
    >>> loss, directions = Normalized().direction(ml.mlp([64, 16, 10]), data.X_train, data.y_train)
    >>> [round(float(np.linalg.norm(d)), 4) for d in directions]
    [1.0, 1.0]
    """

    new_weights = False
    columns: tuple[str, ...] = ()
    whole_batch = False
    by_rows = False
    descends_on_loss = True

    def propose(self, block: Block) -> Any:
        """Return θ_l − θ_l^new, an array of θ_l's shape and dtype; the block's own arrays are not written to."""
        raise NotImplementedError(f"{type(self).__name__} must define propose(block)")

    def direction(self, net: Network, X: Any, y: Any, rng: np.random.Generator | None = None,
                  commit: bool = False) -> tuple[float, list[Any]]:
        """Return the loss and the directions of one batch.

        Parameters
        ----------
        net : Network
        X : array (N, …)
        y : targets, as the network's loss takes them
        rng : numpy.random.Generator, optional
            Source of randomness for layers that need it in training (dropout).
        commit : bool, default False
            Whether batch norms include this batch in their running statistics, which evaluation uses. `fit` sets it;
            your own training loop has to do so too.

        Returns
        -------
        loss : float
        directions : list of arrays
            Aligned with `net.parameters`; an optimizer subtracts them.

        Raises
        ------
        ValueError, TypeError
            If X or y do not fit the network, or the method refuses the network.
        ArithmeticError
            If a local problem cannot be solved to working precision. After any error, what a method of the package
            keeps between batches is as before.
        """
        commit = commit if type(commit) is bool else boolean("direction: commit", commit)
        self.check_state(checked_network("direction", net))
        y, state = training_pass("direction", net, X, y, rng)
        directions = self.directions(net, state, y)
        if commit:
            net.commit(state)
        return net.loss_function.value(state.z[net.depth], y), directions

    def directions(self, net, state, y):
        """Return the directions for a completed forward pass, aligned with `net.parameters`."""
        parameters = net.parameters
        steps = [None] * len(parameters)
        for k, step in sweep(net, state, y, self.propose, self.new_weights, self.explicit_step):
            steps[k - 1] = checked_step(self, net, k, step, parameters[k - 1])
        return steps

    def explicit_step(self, block):
        """Return the step in one `OwnBlock`, parameters of a transfer (a batch norm's scale and shift).

        There is no local problem for these. By default the step is the gradient, like ProxProp's explicit step on the
        last map; LocoProp and SIBP take the step that their steps in θ tend to when they are small.
        """
        return block.gradient

    def measure(self) -> dict[str, float]:
        """Return what the method reports after an epoch: numbers, by the names in `columns`."""
        return {}

    def start_epoch(self, epoch: int) -> None:
        """Note that epoch 0, 1, … begins; for methods with schedules."""
        whole_number(f"{type(self).__name__}: epoch", epoch, least=0)

    def reset(self) -> None:
        """Forget what was kept between batches."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept between batches: arrays and numbers, by name."""
        return {}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        if instance_of(f"{type(self).__name__}: values", values, Mapping):
            raise ValueError(f"{self!r} keeps nothing between batches, but was given {sorted(values)}")

    def check_state(self, net):
        """Raise an error if what is kept belongs to another network; `fit` calls it before it continues a run."""


class FunctionMethod(Method):
    """A method made from a user's function from a `Block` to a step."""

    shown_bare = ("function",)

    def __init__(self, function):
        self.function = function

    def propose(self, block):
        """Return what the user's function proposes."""
        return self.function(block)


def as_method(thing):
    """Return `thing` if it is a method, or the method made from a user's function ``propose(block)``.

    Raises
    ------
    TypeError
        If it is neither; a class (instead of an instance of it) is named as such.
    """
    if isinstance(thing, Method):
        return thing
    if isinstance(thing, type):
        raise TypeError(f"method: got the class {thing.__name__}; an instance is needed, {thing.__name__}(…)")
    if callable(thing) and takes(thing, 1):
        return FunctionMethod(thing)
    raise TypeError("method: expected a Method such as BackProp(), or a function of one argument, a Block, "
                    f"got {shown(thing)}")


def training_pass(what, net, X, y, rng):
    """Return the targets in the network's form and the state of a training pass, or say what is wrong."""
    X, y = checked_network(what, net).checked_batch(X, y)
    if rng is not None:
        instance_of(f"{what}: rng", rng, np.random.Generator)
    return y, net.propagate(X, training=True, rng=rng)


def one_transfer(what, block, f):
    """Return the transfer f in a block's local problem, or raise an error if there is none or there are several."""
    if f is None:
        why = "before a loss that names no transfer" if block.last else "before transfers of several kinds"
        why += ", the last map's being one of them" if block.g_a is None and not block.last else ""
        raise ValueError(f"{what}: map {block.l} is used {why}; its local problem, which holds the transfer, needs one")
    return f


def checked_step(method, net, k, step, theta):
    """Return `step` if it has the shape and dtype of its block of parameters, number k."""
    if getattr(step, "shape", None) == theta.shape and step.dtype == theta.dtype:
        return step
    where = f"map {net.maps[k - 1]}" if k <= len(net.maps) else f"scale and shift number {k - len(net.maps)}"
    if getattr(step, "shape", None) != theta.shape:
        raise ValueError(f"{method!r}: the step proposed for {where} must have shape {theta.shape}, "
                         f"got {getattr(step, 'shape', type(step).__name__)}")
    raise TypeError(f"{method!r}: the step proposed for {where} must have dtype {theta.dtype}, got {step.dtype}; "
                    "mixing Python floats in is fine, float64 arrays promote")
