r"""FOOF (Benzing, ICML 2022) and K-FAC (Martens, Grosse, ICML 2015): a map's curvature as a Kronecker product.

With the mean loss J over N samples, whatever the network's reduction, and the bias inside θ,

.. math:: A_l = \tfrac1N\,\tilde a_{l-1}^T\tilde a_{l-1}, \qquad
            S_l = \tfrac1N\sum_n B_n^T H_n B_n, \quad B_n = \partial z_D/\partial z_l, \quad H_n = \nabla^2\ell_n,

.. math:: \text{FOOF:}\quad d_l = (A_l + \lambda I)^{-1}\nabla_{\theta_l}J, \qquad
            \text{K-FAC:}\quad d_l = (A_l + \lambda_A I)^{-1}\,\nabla_{\theta_l}J\,(S_l + \lambda_S I)^{-1}.

On one batch FOOF is ProxProp's step on every map: N times the step with τ_θ = 1/(Nλ). What the two methods add is the
average of its Gram matrix over batches.

Where θ acts in several places of one sample, A is a sum over them and S a mean: over the positions of a convolution
(Grosse, Martens, ICML 2016, who take the signals at two positions to be uncorrelated), and over the uses of a shared
map, whose rows come stacked. Scale and shift of a batch norm take the gradient step. A batch norm couples samples; S
uses their signals as the sweep has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from minilift.layers.activations import Softmax
from minilift.layers.gram import Gram, parameter_gram
from minilift.local.solvers import damped_solve, norm, shifted
from minilift.methods.backward.sweep import Method, sweep
from minilift.optim import as_number
from minilift.support.arguments import instance_of, known_name, number_between, positive_number, whole_number
from minilift.support.backend import array_module, real_array, spd_solve, to_numpy

SEEN = 0.1  # share of the damping above which a Gram matrix's rounding, in the dtype of the data, calls for float64


class FOOF(Method):
    r"""The gradient preconditioned by the input's covariance: `direction` returns :math:`(A + \lambda I)^{-1}\nabla J`.

    Parameters
    ----------
    damping : float
        λ, for the mean loss.
    decay : float, default 0.0
        Weight of the past in the running average of A, in [0, 1): in step k it is min(1 − 1/k, decay), so that the
        first factors are plain means (Martens and Grosse, section 5). At 0 each batch is solved on the smaller of its
        two sides. Otherwise a matrix of size n_in + 1 is factorised in float64 in every step, which for wide maps
        takes many times as long. For raw data, with values up to 255 say, it is formed in float64 as well.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range.
    ArithmeticError
        On a batch: if a running factor with its damping is not positive definite to working precision.

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10], dtype=np.float64), ml.datasets.digits()
    >>> N = len(data.X_train)
    >>> _, d = ml.FOOF(damping=0.1).direction(net, data.X_train, data.y_train)
    >>> _, e = ml.ProxProp(tau_theta=1 / (0.1 * N), last="implicit").direction(net, data.X_train, data.y_train)
    >>> np.allclose(d[0], N * e[0])  # ProxProp's step is FOOF's, divided by N
    True
    """

    shown_always: tuple[str, ...] = ("damping", "decay")
    by_rows = True
    kinds = "A"  # the factors that are kept

    def __init__(self, damping: float, decay: float = 0.0) -> None:
        name = type(self).__name__
        self.damping = positive_number(f"{name}: damping", damping)
        self.decay = number_between(f"{name}: decay", decay, 0, 1)
        self.reset()

    def directions(self, net, state, y):
        """Return the directions for a completed forward pass, aligned with `net.parameters`."""
        before = self.steps, dict(self.factors)
        try:
            self.prepare(net, state)
            return super().directions(net, state, y)
        except BaseException:  # a step that was not taken leaves no trace in the averages
            self.steps, self.factors = before
            raise
        finally:
            if not self.decay:
                self.reset()

    def prepare(self, net, state):
        """Count the step and note the number of samples, before the sweep."""
        self.steps, self.samples = self.steps + 1, net.samples(state)

    def propose(self, block):
        r"""Return :math:`(A + \lambda I)^{-1}\nabla J`."""
        return self.solve(self.gram(block), signals(block), self.damping)

    def gram(self, block, side=None):
        r"""Return the Gram operator of the map's input, whose `matrix` is N times the running A if there is a decay."""
        gram = block.phi.gram(block.a, side="parameter" if self.decay else side)
        if self.decay:
            matrix = (gram.in_double() if self.rounding_is_seen(gram) else gram).matrix
            matrix /= self.samples
            gram.matrix = self.samples * self.average(f"A/{block.k}", matrix)
        return gram

    def rounding_is_seen(self, gram):
        """Whether rounding in the data's dtype, at the size of the Gram matrix, is visible next to the damping."""
        return np.finfo(gram.a.dtype).eps * norm(gram.matrix) > SEEN * self.samples * self.damping

    def lowered(self, gram, g):
        r"""Return :math:`\tilde a^Tg`, in float64 where the damping would magnify its rounding."""
        if not self.rounding_is_seen(gram):
            return gram.adjoint(g)
        return gram.in_double().adjoint(gram.whole(g).astype(np.float64))

    def solve(self, gram, g, damping):
        r"""Return :math:`(A + \lambda I)^{-1}\tilde a^Tg/N`."""
        damping = self.samples * damping
        if not self.decay:
            return damped_solve(gram, g, damping).value  # FOOF
        matrix = shifted(gram.matrix, damping)
        if gram.a.ndim == 2 and gram.whole_height < g.shape[1]:  # fewer right-hand sides; patches are never formed
            rows = Gram(gram.whole(gram.a), "parameter", gram.bias)
            return spd_solve(matrix, rows.adjoint(gram.xp.eye(rows.height, dtype=g.dtype))) @ gram.whole(g)  # FOOF
        return spd_solve(matrix, self.lowered(gram, g)).astype(g.dtype, copy=False)  # FOOF

    def average(self, name, factor):
        """Return the running average of a factor, which now includes this batch's; its array is overwritten."""
        rate = min(1 - 1 / self.steps, self.decay)
        if name in self.factors:
            old = array_module(factor).asarray(self.factors[name])
            factor *= 1 - rate  # in place: for wide maps these are the largest arrays
            factor += rate * old  # K-FAC average
        self.factors[name] = factor
        return factor

    def explicit_step(self, block):
        """Return the gradient of the mean loss in the scale and shift of a batch norm."""
        return block.gradient / (self.samples * block.weight)

    def reset(self):
        """Forget the running factors."""
        self.steps, self.factors = 0, {}

    def state_dict(self):
        """Return the number of steps and the running factors; nothing without a decay."""
        factors = {name: np.array(to_numpy(factor)) for name, factor in self.factors.items()}
        return {"steps": self.steps, **factors} if self.decay else {}

    def load_state_dict(self, values):
        """Take back what `state_dict` returned: all of it or, if something is wrong with it, nothing."""
        if not self.decay:
            super().load_state_dict(values)
            return
        who = type(self).__name__
        names = [name for name in instance_of(f"{who}: values", values, Mapping) if name != "steps"]
        if "steps" not in values or not all(re.fullmatch(f"[{self.kinds}]/[1-9][0-9]*", str(name)) for name in names):
            known = ", ".join(["steps", *(f"{kind}/1 …" for kind in self.kinds)])
            raise ValueError(f"{who}: expected a state with the keys {known}, got {sorted(values, key=str)}")
        steps = whole_number(f"{who}: steps", as_number(values["steps"]), least=0)
        if (steps > 0) != (len(names) > 0):
            raise ValueError(f"{who}: a state holds factors after its first step, got steps={steps} and {names}")
        factors = {name: checked_factor(f"{who}: {name}", values[name]) for name in names}
        self.steps, self.factors = steps, factors

    def check_state(self, net):
        """Raise a `ValueError` if the running factors belong to another network."""
        sizes = {f"{kind}/{k}": (size, size) for k, l in enumerate(net.maps, start=1)
                 for kind, size in zip(self.kinds, net.theta[l].shape)}
        found = {name: factor.shape for name, factor in self.factors.items()}
        if found and found != sizes:
            raise ValueError(f"{type(self).__name__}: expected running factors of the shapes {sizes}, got {found}; "
                             "call reset() to start anew")


class KFAC(FOOF):
    r"""The gradient preconditioned by the covariances of a map's input and of its signal.

    A run amplifies rounding: in float32, on another number of ranks or another machine, its parameters may drift apart
    step by step, at about the same loss (by 0.09 of their norm in five epochs of the digits; ProxProp's by 3e-5).

    Parameters
    ----------
    damping : float
        λ, for the mean loss.
    fisher : {"type2", "empirical"}, default "type2"
        What S is built from. "type2" sends back each column of a square root of the loss's Hessian, one signal for each
        output of the network, so that it costs that many sweeps. "empirical" takes the samples' own gradients, which
        are already available.
    split : {"factored", "heuristic", "exact"}, default "factored"
        How λ is shared: λ_A = λ_S = λ; or √λ π and √λ/π with π² = (tr A/dim A)/(tr S/dim S) (Martens and Grosse,
        section 6.3; π = 1 where a factor vanishes); or added to the Kronecker product itself, in the eigenbases of
        both factors.
    decay : float, default 0.0
        Weight of the past in the running averages of A and S, as for `FOOF`.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range. On a batch: if "type2" meets a loss whose transfer is neither elementwise nor a
        softmax.
    ArithmeticError
        On a batch: if a factor with its damping is not positive definite to working precision.

    Examples
    --------
    >>> net, data = ml.mlp([64, 16, 10], dtype=np.float64), ml.datasets.digits()
    >>> loss, directions = ml.KFAC(damping=0.1).direction(net, data.X_train, data.y_train)
    >>> ml.SGD(lr=1.0).step(net.parameters, directions)
    >>> round(loss, 1), round(net.loss(data.X_train, data.y_train), 1)
    (2.3, 1.9)
    """

    shown_always = ("damping", "fisher", "split", "decay")
    kinds = "AS"

    def __init__(self, damping: float, fisher: str = "type2", split: str = "factored", decay: float = 0.0) -> None:
        self.fisher = known_name("KFAC: fisher", fisher, ("type2", "empirical"))
        self.split = known_name("KFAC: split", split, ("factored", "heuristic", "exact"))
        super().__init__(damping, decay)

    def prepare(self, net, state):
        """Count the step, and compute S of type 2, which takes sweeps of its own."""
        super().prepare(net, state)
        if self.fisher == "type2":
            for k, covariance in signal_covariances(net, state).items():
                self.average(f"S/{k}", covariance)

    def propose(self, block):
        r"""Return :math:`(A + \lambda_A I)^{-1}\nabla J\,(S + \lambda_S I)^{-1}`, or the step with λ in the product."""
        g, whole = signals(block), "parameter" if self.split == "exact" or self.decay else None
        gram, (S, side) = self.gram(block, whole), self.signal_factor(block, g, whole)
        if self.split == "exact":
            d = solve_exactly(gram.matrix / self.samples, S, self.lowered(gram, g) / self.samples, self.damping)
            return d.astype(g.dtype, copy=False)
        of_input, of_signal = self.dampings(float(gram.matrix.trace()) / self.samples / len(block.theta),
                                            float(S.trace()) / g.shape[1])
        S = shifted(S, of_signal)
        g = spd_solve(S, gram.whole(g))[gram.mine] if side == "sample" else spd_solve(S, g.T).T  # K-FAC
        return self.solve(gram, g, of_input)

    def signal_factor(self, block, g, side):
        r"""Return S and its side; in its place, if allowed and smaller, :math:`gg^T` over the number of rows."""
        if self.fisher == "type2":
            return self.factors[f"S/{block.k}"], "parameter"
        gram = block.phi.signal_gram(g, side)
        S = gram.matrix / gram.whole_height  # K-FAC S
        return (self.average(f"S/{block.k}", S) if self.decay else S), gram.side

    def dampings(self, mean_a, mean_s):
        """Return λ_A and λ_S, given the mean eigenvalues of A and S."""
        if self.split == "factored":
            return self.damping, self.damping
        ratio = (mean_a / mean_s) ** 0.5 if mean_a * mean_s > 0 else 1.0
        return self.damping**0.5 * ratio, self.damping**0.5 / ratio


def signals(block):
    """Return ∂ℓ/∂z of each sample, the signal of the summed loss, as a matrix (rows, n_out)."""
    return block.phi.columns(block.g) / block.weight


def signal_covariances(net, state):
    r"""Return {k: S} with :math:`S = \tfrac1N\sum_n B_n^T H_n B_n`, by a sweep for each column of a root of H."""
    def covariance(block):
        rows = block.phi.columns(block.g)
        if not len(rows):  # this rank has none
            return array_module(rows).zeros((rows.shape[1], rows.shape[1]))
        return parameter_gram(rows, bias=False) / block.phi.height(block.z)  # K-FAC S

    found = {}
    for root in hessian_roots(net.loss_function, state.z[net.depth]):
        for k, part in sweep(net, state, None, covariance, output_signal=root):
            if k <= len(net.maps):  # larger k are batch norms
                found[k] = found.get(k, 0) + part
    return {k: net.total(own) for k, own in found.items()}


def hessian_roots(loss, z):
    r"""Yield the columns of R with :math:`RR^T = \nabla^2\ell`, each (N, n): of softmax :math:`\sqrt{p_c}(e_c - p)`."""
    f, xp = matching_transfer("KFAC: fisher='type2'", loss), array_module(z)
    softmax = isinstance(f, Softmax)
    slopes = f.forward(z) if softmax else f.derivative(z)
    for c in range(z.shape[1]):
        root = -slopes if softmax else xp.zeros_like(z)
        root[:, c] += 1
        yield root * xp.sqrt(slopes[:, c:c + 1])


def matching_transfer(what, loss):
    """Return f of a loss with gradient f(z) − y and Hessian f', or raise an error if the Hessian is not known."""
    f = loss.transfer_for(what)
    if not (f.elementwise or isinstance(f, Softmax)):
        raise ValueError(f"{what} needs a loss whose transfer is elementwise or a softmax, got {loss!r}")
    return f


def solve_exactly(A, S, gradient, damping):
    r"""Return d with :math:`A d S + \lambda d = \nabla J`, in float64 along the eigenvectors of both.

    It is NaN where a factor is not finite, as from `spd_solve`: reporting divergence is left to the caller.
    """
    xp = array_module(gradient)
    if not bool(xp.isfinite(A.sum() + S.sum())):
        return xp.full_like(gradient, np.nan)
    (a, left), (s, right) = xp.linalg.eigh(A), xp.linalg.eigh(S)
    products = xp.maximum(a, 0)[:, None] * xp.maximum(s, 0)
    d = (left.T @ gradient @ right) / (products + damping)  # K-FAC
    return (left @ d @ right.T).astype(gradient.dtype)


def checked_factor(what, factor):
    """Return a running factor in float64 on the host, or raise an error that says what is wrong with it."""
    factor = real_array(what, to_numpy(factor), np.float64, np)
    if factor.ndim != 2 or factor.shape[0] != factor.shape[1]:
        raise ValueError(f"{what} must be a square matrix, got shape {factor.shape}")
    if not np.isfinite(factor).all() or (factor.diagonal() < 0).any():
        raise ValueError(f"{what} must hold finite numbers and none below 0 on its diagonal")
    return factor
