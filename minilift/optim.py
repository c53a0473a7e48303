r"""First-order optimizers that take a direction, and schedules for their learning rate.

An optimizer does not know where a direction :math:`d` comes from: it may be the gradient (BackProp), the
preconditioned :math:`M^{-1}\nabla J` (ProxProp) or a method's own step :math:`\Theta - \Theta^{new}`, which
``SGD(lr=1.0)`` then takes exactly. Parameters are updated in place; directions are only read.

The cost of an update is memory traffic: parameters are traversed as flat views, in blocks that stay in the
processor's cache while all of an optimizer's arithmetic is done on them. No array of a parameter's size is
allocated besides the optimizer's own buffers. (On CuPy a block is the whole array, since starting a kernel costs more.
`Muon` always takes whole arrays, since its update consists of matrix products.)

Weight decay is coupled, as in PyTorch: :math:`d + \lambda\theta` takes the place of d, for every parameter,
including biases; momentum and rescaling then act on the sum. `Adam` offers the decoupled form as an option; `Muon` has
no other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minilift.support.arguments import boolean, function, instance_of, known_name, number_between, shown, whole_number
from minilift.support.backend import array_module, to_numpy
from minilift.support.settings import Settings
from minilift.support.spellings import guided

BLOCK = 32_768  # elements; three or four such float32 arrays fit together in a core's second-level cache


def as_number(value):
    """Return the number in an array without axes; anything else unchanged."""
    return value[()] if isinstance(value, np.ndarray) and not value.ndim else value


def buffer_of(key, value):
    """Return a copy of a buffer in a state, on the host."""
    try:
        return np.array(to_numpy(value), order="C")
    except TypeError as error:
        raise TypeError(f"{key}: {error}") from error


def check_buffer(key, buffer, like, dtype):
    """Raise an error unless a buffer has the shape of another, a floating-point dtype, and possible values."""
    if buffer.dtype.kind != "f" or buffer.dtype != dtype:
        raise TypeError(f"{key} must be a floating-point array, of one dtype with the other buffers, "
                        f"got {buffer.dtype}")
    if buffer.shape != like.shape:
        raise ValueError(f"{key} must have the shape of its parameter's other buffer, {like.shape}, "
                         f"got {buffer.shape}")
    if np.isnan(buffer).any():  # inf is possible: a mean square too large for float32
        raise ValueError(f"{key} holds NaN")
    if key.split("/")[1] in ("second_moment", "mean_square") and (buffer < 0).any():
        raise ValueError(f"{key} holds negative numbers, which no mean of squares can be")


# ------------------------------------------------------------------------------------------------ schedules


class Schedule(Settings):
    """Base class of the package's schedules; any other callable epoch → rate may be used in their place."""

    shown_always = ("lr", "every", "factor", "warmup", "epochs", "lr_min")


def checked_epoch(schedule, epoch):
    """Return the index of an epoch if it is valid."""
    return whole_number(f"{type(schedule).__name__}: epoch", epoch, least=0)


@dataclass(frozen=True, repr=False, eq=False)
class Constant(Schedule):
    """The same learning rate in every epoch.

    Parameters
    ----------
    lr : float

    Examples
    --------
    >>> [ml.Constant(0.1)(epoch) for epoch in range(3)]
    [0.1, 0.1, 0.1]
    """

    lr: float

    def __post_init__(self):
        number_between("Constant: lr", self.lr, 0)

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        checked_epoch(self, epoch)
        return self.lr


@dataclass(frozen=True, repr=False, eq=False)
class StepDecay(Schedule):
    r"""A learning rate that is multiplied by `factor` after every `every` epochs.

    Parameters
    ----------
    lr : float
        The rate of the first `every` epochs.
    every : int
        Number of epochs between two changes.
    factor : float, default 0.1
        In epoch e the rate is lr · factor^⌊e / every⌋.

    Examples
    --------
    >>> [round(ml.StepDecay(1.0, every=2)(epoch), 4) for epoch in range(5)]
    [1.0, 1.0, 0.1, 0.1, 0.01]
    """

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self):
        number_between("StepDecay: lr", self.lr, 0)
        whole_number("StepDecay: every", self.every)
        number_between("StepDecay: factor", self.factor, 0)

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return self.lr * self.factor ** (checked_epoch(self, epoch) // self.every)


@dataclass(frozen=True, repr=False, eq=False)
class WarmupLinear(Schedule):
    r"""A learning rate that rises linearly from 0, then falls linearly to 0: the schedule of LocoProp's notebook.

    With e the epoch and w the length of the warm-up, the rate is lr · e/w in epochs e < w and
    lr · (1 − (e − (w − 1)) / (epochs − (w − 1))) afterwards. The first epoch has rate zero: nothing changes.

    Parameters
    ----------
    lr : float
    warmup : int, default 5
        Number of epochs of the warm-up.
    epochs : int, default 99
        The epoch from which the rate is zero again. The defaults are the notebook's, where the second branch
        reads 1 − (e − 4)/95.

    Examples
    --------
    >>> [round(ml.WarmupLinear(1.0, warmup=2, epochs=6)(epoch), 4) for epoch in range(7)]
    [0.0, 0.5, 0.8, 0.6, 0.4, 0.2, 0.0]
    """

    lr: float
    warmup: int = 5
    epochs: int = 99

    def __post_init__(self):
        number_between("WarmupLinear: lr", self.lr, 0)
        whole_number("WarmupLinear: warmup", self.warmup)
        whole_number("WarmupLinear: epochs, not less than warmup,", self.epochs, least=self.warmup)

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if checked_epoch(self, epoch) < self.warmup:
            return self.lr * epoch / self.warmup
        top = self.warmup - 1
        return self.lr * max(0.0, 1 - (epoch - top) / (self.epochs - top))


@dataclass(frozen=True, repr=False, eq=False)
class Cosine(Schedule):
    r"""A learning rate that falls from lr to lr_min along half a cosine.

    Parameters
    ----------
    lr : float
    epochs : int
        In epoch e < epochs the rate is lr_min + (lr − lr_min)(1 + cos(π e/epochs))/2; from then on lr_min.
    lr_min : float, default 0.0

    Examples
    --------
    >>> [round(ml.Cosine(1.0, epochs=4)(epoch), 4) for epoch in range(6)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]
    """

    lr: float
    epochs: int
    lr_min: float = 0.0

    def __post_init__(self):
        number_between("Cosine: lr", self.lr, 0)
        whole_number("Cosine: epochs", self.epochs)
        number_between("Cosine: lr_min", self.lr_min, 0)

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        progress = min(checked_epoch(self, epoch) / self.epochs, 1.0)
        return self.lr_min + (self.lr - self.lr_min) * (1 + math.cos(math.pi * progress)) / 2


# ----------------------------------------------------------------------------------------------- optimizers


@guided
class Optimizer(Settings):
    r"""Base class of the optimizers.

    A subclass names its buffers, each an array of a parameter's size, and their initial values in `slots`.
    Its `_update` works on one block.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule: a callable epoch → rate, epochs counted from 0 (see `start_epoch`).
    weight_decay : float, default 0.0
        λ of the coupled weight decay, d + λθ in place of d.

    Attributes
    ----------
    epoch : int
        The epoch last announced by `start_epoch`.
    steps : int
        Number of steps taken since the start or the last `reset`.
    """

    shown_always: tuple[str, ...] = ("lr", "weight_decay")
    slots: dict[str, float] = {}
    __setattr__: Any = object.__setattr__  # quick, for every step; updates in place promote no array

    def __init__(self, lr: float | Callable[[int], float], weight_decay: float = 0.0) -> None:
        name = type(self).__name__
        self.lr = function(f"{name}: lr", lr, "the epoch") if callable(lr) else number_between(f"{name}: lr", lr, 0)
        self.weight_decay = number_between(f"{name}: weight_decay", weight_decay, 0)
        self.reset()

    @property
    def rate(self):
        """The learning rate of the present epoch.

        Raises
        ------
        ValueError, TypeError
            If a schedule returns anything but a finite number ≥ 0.
        """
        if not callable(self.lr):
            return self.lr
        return number_between(f"{type(self).__name__}: lr({self.epoch})", self.lr(self.epoch), 0)

    def reset(self) -> None:
        """Forget all buffers, the number of steps and the epoch."""
        self.epoch = 0
        self.steps = 0
        self._signature: Any = None  # whether on NumPy, and dtype and shapes, of the buffers' parameters
        self._buffers: Any = None  # for each parameter the list of its flat buffers

    def start_epoch(self, epoch: int) -> None:
        """Tell the optimizer that an epoch begins, for its schedule (`fit` does)."""
        self.epoch = whole_number(f"{type(self).__name__}: epoch", epoch, least=0)

    def step(self, parameters: list[Any], directions: list[Any], scale: float = 1.0) -> None:
        """Update parameters in place by one step against the directions, or change nothing and raise an error.

        Parameters
        ----------
        parameters : list of array
            C-contiguous, writeable arrays of one dtype, the same ones (or of the same shapes) at every call.
        directions : list of array
            What to subtract, after scaling: aligned with `parameters`, with the same shapes and dtype. They are only
            read. One that is not C-contiguous is copied first.
        scale : float, default 1.0
            Multiplies the learning rate in this step.

        Raises
        ------
        ValueError
            If the lists differ in length, if a direction does not have its parameter's shape, if a parameter is not
            C-contiguous, or if the parameters' shapes differ from those in earlier steps (which `reset` forgets).
            If parameters overlap in memory, which is checked when their shapes are new.
        TypeError
            If something is not an array, dtypes differ, or NumPy and CuPy are mixed.
        """
        xp = self._checked_module(parameters, directions)
        rate = self.rate
        if not (type(scale) is float and 0 <= scale < math.inf):
            scale = number_between(f"{type(self).__name__}: scale", scale, 0)
        rate *= scale
        self._fit_buffers(xp, parameters)
        self.steps += 1
        self._begin_step(rate)
        for parameter, direction, buffers in zip(parameters, directions, self._buffers):
            self._update_array(xp, parameter, direction, buffers)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state, without the hyperparameters: a flat dict of NumPy arrays and numbers.

        The keys begin with the class's name, so that another kind of optimizer refuses them.
        """
        name = type(self).__name__
        state = {f"{name}/steps": self.steps, f"{name}/epoch": self.epoch}
        for index, buffers in enumerate(self._buffers or []):
            shape = self._signature[2][index]
            for slot, buffer in zip(self.slots, buffers):
                state[f"{name}/{slot}/{index}"] = np.array(to_numpy(buffer)).reshape(shape)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state that `state_dict` of an optimizer of the same class and buffers returned: all or nothing.

        Raises
        ------
        ValueError, TypeError
            If a key is missing or does not belong to this optimizer, a number is not a whole number of at least 0, or
            the buffers are not floating-point arrays of one dtype without NaN. Nothing is changed then.
        """
        name = type(self).__name__
        instance_of(f"{name}: state", state, Mapping)
        numbers = [f"{name}/steps", f"{name}/epoch"]
        arrays = {key: state[key] for key in state if key not in numbers}
        count = len(arrays) // len(self.slots) if self.slots else 0
        keys = [[f"{name}/{slot}/{index}" for slot in self.slots] for index in range(count)]
        if set(state) != set(numbers).union(*keys):
            known = ", ".join([*numbers, *(f"{name}/{slot}/0 …" for slot in self.slots)])
            raise ValueError(f"{name}: expected a state with the keys {known}, got {sorted(state, key=str)}")
        steps, epoch = [whole_number(key, as_number(state[key]), least=0) for key in numbers]
        if steps and self.slots and not count:
            raise ValueError(f"{name}: after {steps} steps a state holds buffers ({', '.join(self.slots)}), got none")
        rows = [[buffer_of(key, arrays[key]) for key in row] for row in keys]
        for row_keys, row in zip(keys, rows):
            for key, buffer in zip(row_keys, row):
                check_buffer(key, buffer, like=row[0], dtype=rows[0][0].dtype)
        self.steps, self.epoch = steps, epoch
        self._signature = self._buffers = None
        if count:
            self._signature = (None, rows[0][0].dtype, tuple(row[0].shape for row in rows))
            self._buffers = [[buffer.reshape(-1) for buffer in row] for row in rows]

    def check_fits(self, parameters):
        """Raise a `ValueError` if the buffers do not belong to these parameters."""
        dtype = parameters[0].dtype if parameters else np.dtype(np.float64)
        shapes = tuple([parameter.shape for parameter in parameters])
        if self._buffers is not None and self._signature[1:] != (dtype, shapes):
            raise self._misfit(dtype, shapes)

    def _misfit(self, dtype, shapes, where=""):
        return ValueError(f"{type(self).__name__}: the buffers belong to parameters of dtype {self._signature[1]} and "
                          f"shapes {list(self._signature[2])}, got dtype {dtype} and shapes {list(shapes)}{where}; "
                          "call reset() to start anew")

    def _begin_step(self, rate):
        """Work out the scalars of this step."""
        self._rate = rate

    def _update_array(self, xp, parameter, direction, buffers):
        """Update one parameter and its buffers in place, block by block."""
        theta, d = parameter.reshape(-1), direction.reshape(-1)
        block = BLOCK if xp is np else theta.size
        if theta.size <= block:
            self._update_block(xp, theta, d, buffers)
            return
        for start in range(0, theta.size, block):
            part = slice(start, start + block)
            self._update_block(xp, theta[part], d[part], [buffer[part] for buffer in buffers])

    def _update(self, xp, theta, d, scratch, *buffers):
        """Update the block `theta` and those of the buffers in place; `d` is only read, `scratch` is free."""
        raise NotImplementedError(f"{type(self).__name__} must define _update")

    def _update_block(self, xp, theta, d, buffers):
        if self.weight_decay:
            d = d + theta * self.weight_decay
        self._update(xp, theta, d, self._scratch[: theta.size], *buffers)

    def _checked_module(self, parameters, directions):
        """Return the array library of all the arrays, after the cheap checks of `step`."""
        name = type(self).__name__
        for what, arrays in (("parameters", parameters), ("directions", directions)):
            if not isinstance(arrays, (list, tuple)):
                raise TypeError(f"{name}: {what} must be a list of arrays, got {shown(arrays)}")
        if len(parameters) != len(directions):
            raise ValueError(f"{name}: expected one direction for each of {len(parameters)} parameters, "
                             f"got {len(directions)}")
        try:
            arrays = [*parameters, *directions]  # usually NumPy's: then no call is needed
            xp = np if set(map(type, arrays)) == {np.ndarray} else array_module(*arrays)
        except TypeError as error:
            raise TypeError(f"{name}: parameters and directions: {error}") from None
        for index, (parameter, direction) in enumerate(zip(parameters, directions)):
            if direction.shape != parameter.shape:
                raise ValueError(f"{name}: direction {index} must have its parameter's shape "
                                 f"{parameter.shape}, got {direction.shape}")
            if direction.dtype != parameter.dtype:
                raise TypeError(f"{name}: direction {index} must have its parameter's dtype "
                                f"{parameter.dtype}, got {direction.dtype}")
            flags = parameter.flags
            if not flags.c_contiguous:
                raise ValueError(f"{name}: parameter {index} must be C-contiguous, since it is updated "
                                 "through a flat view; make it so with np.ascontiguousarray")
            if xp is np and not flags.writeable:
                raise ValueError(f"{name}: parameter {index} must be writeable, since it is updated in place")
        return xp

    def _fit_buffers(self, xp, parameters):
        """Make the buffers at the first step; later, check that they still belong to these parameters."""
        dtype = parameters[0].dtype if parameters else np.dtype(np.float64)
        signature = (xp is np, dtype, tuple([parameter.shape for parameter in parameters]))
        if signature == self._signature and all(parameter.dtype == dtype for parameter in parameters):
            return
        name = type(self).__name__
        for index, parameter in enumerate(parameters):
            if parameter.dtype != dtype or dtype.kind != "f":
                raise TypeError(f"{name}: parameters must be floating-point arrays of one dtype, "
                                f"got {parameter.dtype} for parameter {index} and {dtype} for parameter 0")
        if xp is np and any(np.may_share_memory(*pair) for pair in itertools.combinations(parameters, 2)):
            raise ValueError(f"{name}: parameters must not overlap in memory, or a step would be taken twice")
        if self._buffers is None:
            self._buffers = [[xp.full(parameter.size, value, dtype=dtype) for value in self.slots.values()]
                             for parameter in parameters]
        elif self._signature == (None, *signature[1:]):  # loaded; these parameters say where to
            self._buffers = [[xp.asarray(buffer) for buffer in buffers] for buffers in self._buffers]
        else:
            raise self._misfit(*signature[1:], ", on another backend" * (self._signature[1:] == signature[1:]))
        self._signature = signature
        largest = max([parameter.size for parameter in parameters], default=0)
        self._scratch = xp.empty(min(BLOCK, largest) if xp is np else largest, dtype=dtype)


class SGD(Optimizer):
    r"""Plain steps: :math:`\theta \leftarrow \theta - \mathrm{lr}\; d`.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule epoch → rate.
    weight_decay : float, default 0.0
        Coupled: d + λθ in place of d.

    Examples
    --------
    >>> theta = np.array([1.0])
    >>> ml.SGD(lr=0.1).step([theta], [np.array([2.0])])
    >>> theta.round(4).tolist()
    [0.8]
    """

    def _update(self, xp, theta, d, scratch):
        xp.multiply(d, self._rate, out=scratch)
        theta -= scratch


class HeavyBall(Optimizer):
    r"""Polyak's momentum, in PyTorch's form.

    .. math:: v \leftarrow \mu v + d, \qquad \theta \leftarrow \theta - \mathrm{lr}\; v

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule epoch → rate. It stands outside the velocity: a new rate acts at once.
    momentum : float, default 0.9
        μ in [0, 1).
    weight_decay : float, default 0.0
        Coupled: d + λθ in place of d.

    Examples
    --------
    >>> theta, optimizer = np.array([1.0]), ml.HeavyBall(lr=0.1, momentum=0.9)
    >>> for _ in range(2):  # steps of 0.2, and of 0.1 · (0.9 · 2 + 2)
    ...     optimizer.step([theta], [np.array([2.0])])
    >>> theta.round(4).tolist()
    [0.42]
    """

    shown_always = ("lr", "momentum", "weight_decay")
    slots = {"velocity": 0.0}

    def __init__(self, lr: float | Callable[[int], float], momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        self.momentum = number_between(f"{type(self).__name__}: momentum", momentum, 0, 1)

    def _update(self, xp, theta, d, scratch, velocity):
        velocity *= self.momentum
        velocity += d
        xp.multiply(velocity, self._rate, out=scratch)
        theta -= scratch


class Nesterov(HeavyBall):
    r"""Nesterov's momentum, in PyTorch's form.

    .. math:: v \leftarrow \mu v + d, \qquad \theta \leftarrow \theta - \mathrm{lr}\,(d + \mu v)

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule epoch → rate. It stands outside the velocity: a new rate acts at once.
    momentum : float, default 0.9
        μ in [0, 1). ProxProp's experiments use 0.95.
    weight_decay : float, default 0.0
        Coupled: d + λθ in place of d.

    Examples
    --------
    >>> theta, optimizer = np.array([1.0]), ml.Nesterov(lr=0.1, momentum=0.9)
    >>> optimizer.step([theta], [np.array([2.0])])  # a step of 0.1 · (2 + 0.9 · 2)
    >>> theta.round(4).tolist()
    [0.62]
    """

    def _update(self, xp, theta, d, scratch, velocity):
        velocity *= self.momentum
        velocity += d
        xp.multiply(velocity, self.momentum, out=scratch)
        scratch += d
        scratch *= self._rate
        theta -= scratch


class Adam(Optimizer):
    r"""Adam with bias correction (Kingma and Ba, 2015, Algorithm 1).

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) d, \quad v \leftarrow \beta_2 v + (1 - \beta_2) d^2, \quad
        \theta \leftarrow \theta - \mathrm{lr}\, \frac{\hat m}{\sqrt{\hat v} + \epsilon}, \quad
        \hat m = \frac{m}{1 - \beta_1^t}, \quad \hat v = \frac{v}{1 - \beta_2^t}

    Parameters
    ----------
    lr : float or callable, default 0.001
        Learning rate, or a schedule epoch → rate.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the two moments, in [0, 1).
    eps : float, default 1e-8
        ε, outside the root. With 0, an entry that has never had a signal becomes NaN, as 0/0.
    weight_decay : float, default 0.0
        Coupled: d + λθ in place of d.
    decoupled : bool, default False
        Apply weight decay outside the direction: θ ← (1 − lr λ) θ before the step (AdamW, Loshchilov and Hutter
        2019).

    Examples
    --------
    >>> theta, optimizer = np.array([1.0, 1.0]), ml.Adam(lr=0.1)
    >>> optimizer.step([theta], [np.array([2.0, -0.002])])  # the first step has the size lr, whatever the direction's
    >>> theta.round(4).tolist()
    [0.9, 1.1]
    """

    shown_always = ("lr", "beta1", "beta2", "eps", "weight_decay", "decoupled")
    slots = {"first_moment": 0.0, "second_moment": 0.0}

    def __init__(self, lr: float | Callable[[int], float] = 0.001, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, weight_decay: float = 0.0, decoupled: bool = False) -> None:
        super().__init__(lr, weight_decay)
        self.beta1 = number_between("Adam: beta1", beta1, 0, 1)
        self.beta2 = number_between("Adam: beta2", beta2, 0, 1)
        self.eps = number_between("Adam: eps", eps, 0)
        self.decoupled = boolean("Adam: decoupled", decoupled)

    def _begin_step(self, rate):
        super()._begin_step(rate)
        # m̂/(√v̂ + ε) = c/(1 − β₁ᵗ) · m/(√v + c ε) with c = √(1 − β₂ᵗ): both corrections become scalars
        correction = math.sqrt(1 - self.beta2**self.steps)
        self._corrected_rate = rate * correction / (1 - self.beta1**self.steps)
        self._corrected_eps = self.eps * correction

    def _update_block(self, xp, theta, d, buffers):
        if self.decoupled and self.weight_decay:
            theta *= 1 - self._rate * self.weight_decay
            self._update(xp, theta, d, self._scratch[: theta.size], *buffers)
        else:
            super()._update_block(xp, theta, d, buffers)

    def _update(self, xp, theta, d, scratch, first_moment, second_moment):
        first_moment *= self.beta1
        xp.multiply(d, 1 - self.beta1, out=scratch)
        first_moment += scratch
        second_moment *= self.beta2
        xp.multiply(d, d, out=scratch)
        scratch *= 1 - self.beta2
        second_moment += scratch
        xp.sqrt(second_moment, out=scratch)
        scratch += self._corrected_eps
        xp.divide(first_moment, scratch, out=scratch)
        scratch *= self._corrected_rate
        theta -= scratch


class RMSProp(Optimizer):
    r"""RMSProp with momentum, in PyTorch's form or in that of TensorFlow 1.

    .. math::
        \text{pytorch:}\quad & s \leftarrow \rho s + (1 - \rho) d^2, &
        p &\leftarrow \mu p + d / (\sqrt{s} + \epsilon), & \theta &\leftarrow \theta - \mathrm{lr}\; p \\
        \text{tf1:}\quad & s \leftarrow \rho s + (1 - \rho) d^2, &
        p &\leftarrow \mu p + \mathrm{lr}\; d / \sqrt{s + \epsilon}, & \theta &\leftarrow \theta - p

    The forms differ in three ways: TensorFlow 1 starts s at one (PyTorch at zero), has ε inside the root, and
    the rate inside the momentum, so that a new rate acts on new directions only.

    Parameters
    ----------
    lr : float or callable, default 0.001
        Learning rate, or a schedule epoch → rate.
    rho : float, default 0.9
        Decay of the mean square, in [0, 1).
    eps : float, default 1e-8
        ε; LocoProp's notebook has 1e-5.
    momentum : float, default 0.0
        μ in [0, 1); LocoProp's notebook has 0.999.
    form : {"pytorch", "tf1"}, default "pytorch"
    weight_decay : float, default 0.0
        Coupled: d + λθ in place of d.

    Examples
    --------
    >>> theta, optimizer = np.array([1.0]), ml.RMSProp(lr=0.1, rho=0.75)
    >>> optimizer.step([theta], [np.array([2.0])])  # s = 0.25 · 2² = 1
    >>> theta.round(4).tolist()
    [0.8]
    """

    shown_always = ("lr", "rho", "eps", "momentum", "form", "weight_decay")

    def __init__(self, lr: float | Callable[[int], float] = 0.001, rho: float = 0.9, eps: float = 1e-8,
                 momentum: float = 0.0, form: str = "pytorch", weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        self.rho = number_between("RMSProp: rho", rho, 0, 1)
        self.eps = number_between("RMSProp: eps", eps, 0)
        self.momentum = number_between("RMSProp: momentum", momentum, 0, 1)
        self.form = known_name("RMSProp: form", form, ("pytorch", "tf1"))

    @property
    def slots(self):
        """Initial values of the buffers."""
        mean_square = {"mean_square": 1.0 if self.form == "tf1" else 0.0}
        return mean_square | {"momentum": 0.0} if self.momentum else mean_square

    def _update_array(self, xp, parameter, direction, buffers):
        if self.momentum and len(buffers) == 1:  # it was 0 in earlier steps
            buffers.append(xp.zeros_like(buffers[0]))
        super()._update_array(xp, parameter, direction, buffers)

    def _update(self, xp, theta, d, scratch, mean_square, momentum=None):
        mean_square *= self.rho
        xp.multiply(d, d, out=scratch)
        scratch *= 1 - self.rho
        mean_square += scratch
        if self.form == "tf1":
            xp.add(mean_square, self.eps, out=scratch)
            xp.sqrt(scratch, out=scratch)
        else:
            xp.sqrt(mean_square, out=scratch)
            scratch += self.eps
        xp.divide(d, scratch, out=scratch)
        if self.form == "tf1":
            scratch *= self._rate
        change = scratch
        if momentum is not None:
            momentum *= self.momentum
            momentum += scratch
            change = momentum
        if self.form == "pytorch":
            change = xp.multiply(change, self._rate, out=scratch)
        theta -= change


class Muon(Optimizer):
    r"""Steps of equal size in all singular directions of a momentum (Jordan et al., 2024).

    .. math:: V \leftarrow \mu V + D, \qquad
        \Theta \leftarrow (1 - \mathrm{lr}\,\lambda)\,\Theta
            - \mathrm{lr}\,\sqrt{\max(1, n/m)}\;\operatorname{msign}(D + \mu V)

    for an array of m rows and n columns, where :math:`\operatorname{msign}(U\Sigma V^T) \approx UV^T` (see `msign`).
    With the direction of `ProxProp` or `FOOF` this is Newton–Muon.

    A parameter is treated as a whole. θ = [W; b] is one matrix, where the bias holds the weights of an input that is
    always 1, as in the methods' Gram matrices; filters are the matrix that acts on patches, and the scale and shift of
    a batch norm are its two rows. An array with fewer than two axes is one row, whose msign is its direction.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule epoch → rate. It alone sets the length of the steps: the size of D has no effect.
    momentum : float, default 0.95
        μ in [0, 1), in Nesterov's form.
    iterations : int, default 5
        Number of Newton–Schulz iterations in `msign`.
    weight_decay : float, default 0.0
        λ, decoupled, since msign would not preserve its size.

    Examples
    --------
    >>> theta, optimizer = np.zeros((2, 2)), ml.Muon(lr=1.0)
    >>> optimizer.step([theta], [np.diag([100.0, 1.0])])
    >>> abs(np.diag(theta)).round(1).tolist()  # steps of about equal size in both singular directions
    [0.7, 0.7]
    """

    shown_always = ("lr", "momentum", "iterations", "weight_decay")
    slots = {"velocity": 0.0}

    def __init__(self, lr: float | Callable[[int], float], momentum: float = 0.95, iterations: int = 5,
                 weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        self.momentum = number_between("Muon: momentum", momentum, 0, 1)
        self.iterations = whole_number("Muon: iterations", iterations)

    def _update_array(self, xp, parameter, direction, buffers):
        shape = parameter.shape if parameter.ndim == 2 else (1, parameter.size)
        theta, d, velocity = (array.reshape(shape) for array in (parameter, direction, *buffers))
        velocity *= self.momentum
        velocity += d
        step = msign(d + self.momentum * velocity, self.iterations)
        if self.weight_decay:
            theta *= 1 - self._rate * self.weight_decay
        step *= self._rate * math.sqrt(max(1, shape[1] / max(1, shape[0])))
        theta -= step


def msign(matrix, iterations=5):
    r"""Return roughly :math:`UV^T` for a matrix :math:`U\Sigma V^T`, by the Newton–Schulz iteration of Jordan et al.

    .. math:: X \leftarrow aX + bXX^TX + cXX^TXX^TX, \qquad (a, b, c) = (3.4445, -4.7750, 2.0315)

    from :math:`X = M/\|M\|_F`, on the smaller side. The polynomial acts on each singular value separately. With these
    coefficients the values do not converge to 1. They were chosen for a steep slope at 0: five iterations bring all
    values from 0.002 of the norm upwards to between 0.68 and 1.21, whereas convergent coefficients would leave the
    small ones small. The sign of a momentum needs no more.

    Parameters
    ----------
    matrix : array (m, n)
    iterations : int, default 5

    Returns
    -------
    array (m, n)
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / ((float(abs(x).max()) if x.size else 0.0) or 1.0)  # or squares could leave the range of float32
    x = x / (float((x * x).sum()) ** 0.5 or 1.0)
    for _ in range(iterations):
        square = x @ x.T
        polynomial = b * square + c * (square @ square)  # Muon
        x = a * x + polynomial @ x
    return x.T if tall else x
