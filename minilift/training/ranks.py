r"""One batch on several ranks: a network whose maps, norms and loss know that other ranks hold the rest of the rows.

Each rank runs forward and backward on its own rows. Samples are coupled only by three kinds of sums: the loss, the
statistics of a batch norm, and what a local problem needs of its map. The sweep and the methods stay as they are; the
`Block` that a method sees holds a `SharedMap`, for which :math:`\tilde a^Tg` is summed over all ranks, and whose Gram
operator (`SharedGram`) stands for the rows of all. On the parameter side :math:`\tilde a^T\tilde a` is a sum over ranks
as well; on the sample side the activations are gathered, since :math:`\tilde a\tilde a^T` needs all pairs of rows, and
each rank multiplies a part of them. The side is the one for which fewer bytes are sent (`SharedMap.bytes_of_sides`),
whatever the number of ranks. Little more than half of a symmetric matrix is sent (`folded`).

A method that accesses rows itself is given those of all ranks (`Gathered`): this is always correct, but each rank then
repeats the whole local problem.
"""

from __future__ import annotations

import copy
import inspect
import json
import math
from functools import cached_property, partial
from itertools import pairwise

import numpy as np

from minilift.energy import Block
from minilift.layers.activations import Composition
from minilift.layers.gram import Gram, sample_gram, stacked_product
from minilift.layers.maps import Linear, Map
from minilift.layers.normalization import BatchNorm
from minilift.methods.backward.backprop import BackProp
from minilift.methods.backward.sweep import Method
from minilift.network import Network
from minilift.support.backend import array_module
from minilift.support.parallel import counts_of, share_of

# functions of a method that do not affect its steps
BESIDE = ("settings", "measure", "start_epoch", "reset", "state_dict", "load_state_dict", "check_state")
BLOCK = 256  # rows of a symmetric matrix that are sent together, up to the diagonal entry of the last one


class Share:
    """Which rows of the present batch this rank holds.

    Attributes
    ----------
    team : Team
    total : int
        Number of samples of the batch, on all ranks.
    own : slice
        The samples of this rank.
    counts : array of int
        Number of samples on each rank.
    """

    def __init__(self, team):
        self.team = team
        self.take(team.size)

    def take(self, total):
        """Begin a batch of `total` samples; return the slice of this rank."""
        self.total, self.own = total, share_of(total, self.team.rank, self.team.size)
        self.counts = counts_of(total, self.team.size)
        return self.own

    def gather(self, array, of_sample):
        """Return the rows of all ranks, for an array with `of_sample` rows per sample."""
        return self.team.gather(array, self.counts * of_sample)

    def rows(self, of_sample):
        """Return the slice of this rank, in an array with `of_sample` rows per sample."""
        return slice(self.own.start * of_sample, self.own.stop * of_sample)


class SharedMap(Map):
    """A map whose input and output are shared among ranks by rows.

    Parameters
    ----------
    phi : Map
    share : Share
    of_sample : int
        Rows of ã for each sample: positions of a convolution, times the uses of a shared θ.
    inputs : int
        Numbers in the input of each sample, over all uses.
    uses : int, default 1
        Number of uses of a shared θ.
    """

    def __init__(self, phi, share, of_sample, inputs, uses=1):
        self.phi, self.share, self.of_sample, self.inputs, self.uses = phi, share, of_sample, inputs, uses

    def __repr__(self):
        return repr(self.phi)

    @property
    def theta_shape(self):
        """Shape of θ."""
        return self.phi.theta_shape

    def forward(self, theta, a):
        """Return z for this rank's rows."""
        return self.phi.forward(theta, a)

    def adjoint_input(self, theta, g):
        """Return the signal at the input, for this rank's rows."""
        return self.phi.adjoint_input(theta, g)

    def adjoint_theta(self, a, g):
        r"""Return :math:`\tilde a^T g` over the rows of all ranks."""
        own = self.phi.adjoint_theta(a, g) if len(a) else array_module(g).zeros(self.theta_shape, g.dtype)
        return self.share.team.sum(own, overwrite=True)

    def rows(self, a):
        """Return the matrix of this rank's rows."""
        return self.phi.rows(a)

    def columns(self, z):
        """Return z of this rank's rows as a matrix."""
        return self.phi.columns(z)

    def height(self, z):
        """Return the number of rows of ã on all ranks."""
        return self.share.total * self.of_sample

    def bytes_of_sides(self, samples, itemsize):
        r"""Return {side: bytes} that a rank receives for the local problem of a batch, if there are many ranks.

        On the sample side these are the inputs and signals of all samples, and the other ranks' parts of K; on the
        parameter side C in float64, :math:`\tilde a^Tg`, and the rows of the step. A sum counts twice, since it goes
        both ways. On the sample side the step itself is summed, which is as large as :math:`\tilde a^Tg`.
        """
        rows, n_out = self.theta_shape
        step = 2 * rows * n_out * itemsize
        height = samples * self.of_sample
        return {"sample": (samples * self.inputs + height * n_out + height**2 // 2) * itemsize + step,
                "parameter": 2 * 8 * folded_size(bounds(rows)) + rows * n_out * itemsize + step}

    def gram(self, a, side=None, bias=True):
        """Return the Gram operator of the rows of all ranks, by default on the side with fewer bytes to receive."""
        return SharedGram(self, a, side or self.cheap_side(a.dtype.itemsize), bias)

    def cheap_side(self, itemsize):
        """Return the side with fewer bytes to receive."""
        sides = self.bytes_of_sides(self.share.total, itemsize)
        return min(sides, key=sides.get)

    def signal_gram(self, g, side=None):
        """Return the Gram operator of the signals of all ranks' rows, by default on the side of the smaller matrix."""
        n_out = self.theta_shape[1]
        smaller = "sample" if self.height(g) <= n_out else "parameter"
        return SharedMap(Linear(n_out, n_out), self.share, self.of_sample, 0, self.of_sample).gram(
            g, side or smaller, bias=False)


class Asked(BaseException):
    """What a method first asks of a `QuestionedMap`: a side, or None if it asks for a product."""

    def __init__(self, side):
        self.side = side


class QuestionedMap(SharedMap):
    """A map that does not answer: it serves to learn what a method would ask of a `SharedMap`."""

    def adjoint_theta(self, a, g):
        """Report that a product is asked for."""
        raise Asked(None)

    def gram(self, a, side=None, bias=True):
        """Report on which side a Gram operator is asked for."""
        raise Asked(side or self.cheap_side(a.dtype.itemsize))


class SharedGram(Gram):
    r"""The Gram operator of the rows of all ranks, where each holds its own (see `Gram`).

    Arrays with rows (activations, signals, changes of z) are this rank's part; coordinates and steps are whole, and
    bit-equal on all ranks.

    Parameters
    ----------
    shared : SharedMap
    a : array
        This rank's input.
    side : {"sample", "parameter"}
    bias : bool
    """

    def __init__(self, shared, a, side, bias):
        self.shared, self.input, self.side, self.bias = shared, a, side, bias
        self.own = shared.phi.gram(a, side=side, bias=bias)
        self.a, self.xp, self.height = self.own.a, self.own.xp, self.own.height
        self.team = shared.share.team

    @cached_property
    def matrix(self):
        """K of the rows of all ranks, or C, the sum over all ranks."""
        if self.side == "sample":
            return sample_gram(self.all_rows, self.bias, partial(shared_square, self.team))
        size = self.own.coordinates
        own = self.own.matrix if self.height else self.xp.zeros((size, size))
        if self.team.size == 1:
            return own
        return unfolded(self.team.sum(folded(own, bounds(size)), overwrite=True), bounds(size), own)

    def all_inputs(self):
        """Return the inputs of all ranks."""
        return self.shared.share.gather(self.input, self.shared.uses)

    @cached_property
    def all_rows(self):
        """The matrix of the rows of all ranks, without the column of ones."""
        return self.shared.phi.gram(self.all_inputs(), side="sample", bias=self.bias).a

    @property
    def whole_height(self):
        """Number of rows on all ranks."""
        return self.shared.height(None)

    @property
    def coordinates(self):
        """Number of coordinates per output unit: rows of all ranks, or parameters."""
        return self.whole_height if self.side == "sample" else self.own.coordinates

    @property
    def mine(self):
        """The slice that this rank's rows occupy among those of all."""
        return self.shared.share.rows(self.shared.of_sample)

    def in_double(self):
        """Return the operator of all rows, on each rank, in float64."""
        a = self.all_inputs().astype(np.float64)
        return self.shared.phi.gram(a, side=self.side, bias=self.bias)

    def whole(self, g):
        """Return the rows of all ranks."""
        return self.shared.share.gather(g, self.shared.of_sample)

    def total(self, number):
        """Return the sum of all ranks' numbers."""
        return self.team.sum(number)

    def lower(self, g):
        r"""Return the coordinates of :math:`\tilde A^T g`: the rows of all ranks on the sample side."""
        return self.whole(g) if self.side == "sample" else self.adjoint(g)

    def lift(self, u):
        r"""Return the step in θ with coordinates u: each rank contributes :math:`\tilde A^T u` for its rows."""
        return self.adjoint(u[self.mine]) if self.side == "sample" else u

    def solve(self, inverse, q):
        r"""Return the step with coordinates ``inverse @ q``, of which each rank computes its part.

        On the sample side its part is its rows, with the cheaper product first: with q, or with the rows of all ranks.
        """
        if self.side == "sample":
            inverse = inverse[self.mine]
            if self.own.a.shape[1] >= q.shape[1]:
                return self.adjoint(inverse @ q)
            solved, q = inverse @ self.all_rows, q[self.mine]
            own = stacked_product(solved, q, ones=inverse.sum(axis=1)) if self.bias else solved.T @ q
            return self.team.sum(own, overwrite=True)
        rows = share_of(len(inverse), self.team.rank, self.team.size)
        return self.team.gather((inverse[rows] @ q).astype(self.a.dtype, copy=False),
                                counts_of(len(inverse), self.team.size))

    def output_change(self, u):
        r"""Return the change of z, for this rank's rows, along the step with coordinates u."""
        return self.product(u, self.mine) if self.side == "sample" else self.apply(u)

    def apply(self, d):
        r"""Return :math:`\tilde A d` for this rank's rows."""
        return self.own.apply(d)

    def adjoint(self, g):
        r"""Return :math:`\tilde A^T g` over the rows of all ranks."""
        size = self.own.a.shape[-1] + self.bias if self.side == "sample" else self.own.coordinates
        own = self.own.adjoint(g) if self.height else self.xp.zeros((size, g.shape[1]), g.dtype)
        return self.team.sum(own, overwrite=True)


# ---- symmetric matrices: blocks of rows, each up to the last one's diagonal


def bounds(size):
    """Return where each block of rows of a symmetric matrix begins, and where the last one ends."""
    return [*range(0, size, BLOCK), size]


def even_bounds(size, parts):
    """Return the bounds of `parts` blocks of rows, each of which takes about the same work."""
    return [round(size * (part / parts) ** 0.5) for part in range(parts + 1)]


def folded_size(bounds):
    """Return the number of entries in all blocks."""
    return sum((stop - start) * stop for start, stop in pairwise(bounds))


def folded(matrix, bounds):
    """Return all blocks, one after another, in a new vector."""
    xp = array_module(matrix)
    return xp.concatenate([matrix[start:stop, :stop].reshape(-1) for start, stop in pairwise(bounds)])


def unfolded(numbers, bounds, matrix):
    """Return the matrix, filled with the blocks and their mirror images."""
    at = 0
    for start, stop in pairwise(bounds):
        rows = numbers[at:at + (stop - start) * stop].reshape(stop - start, stop)
        matrix[start:stop, :stop] = rows
        matrix[:start, start:stop] = rows[:, :start].T
        at += rows.size
    return matrix


def shared_square(team, a):
    r"""Return :math:`aa^T` of rows that all ranks have; each rank multiplies a block of them."""
    if team.size == 1:
        return a @ a.T
    xp, limits = array_module(a), even_bounds(len(a), team.size)
    start, stop = limits[team.rank], limits[team.rank + 1]
    rows, block = a[start:stop], xp.empty((stop - start, stop), a.dtype)
    block[:, :start] = rows @ a[:start].T
    block[:, start:] = rows @ rows.T
    counts = np.array([(end - begin) * end for begin, end in pairwise(limits)])
    return unfolded(team.gather(block.reshape(-1), counts), limits, xp.empty((len(a), len(a)), a.dtype))


class SharedBatchNorm(BatchNorm):
    """A batch norm whose statistics are taken over the rows of all ranks."""

    def __init__(self, norm, share):
        vars(self).update(vars(norm))  # scale, shift and running averages are those of the network
        self.share = share

    def statistics(self, z):
        """Return mean and variance over the rows of all ranks, and the number of values in each."""
        mean = self.mean(z)
        return mean, self.mean((z - mean) ** 2), self.values(z)

    def values(self, z):
        """Return the number of values in each channel, on all ranks."""
        return self.share.total * math.prod(z.shape[1:-1])

    def mean(self, x):
        """Return the mean of each channel over the rows of all ranks."""
        own = x.sum(axis=tuple(range(x.ndim - 1)), dtype=np.float64)
        return (self.share.team.sum(own, overwrite=True) / self.values(x)).astype(x.dtype, copy=False)


class SharedLoss:
    """A loss for which each rank has the outputs of its own rows; weight and value are those of the whole batch."""

    def __init__(self, loss, share):
        self.loss, self.share = loss, share

    def __getattr__(self, name):
        return getattr(self.loss, name)

    def weight(self, samples):
        """Return the factor on one sample's loss in the batch of all ranks."""
        return self.loss.weight(self.share.total)

    def value(self, z, y):
        """Return the loss of the batch of all ranks."""
        own = self.loss.value(z, y) / self.loss.weight(len(z)) if len(z) else 0.0
        return self.share.team.sum(own) * self.weight(None)

    def gradient(self, z, y):
        """Return the gradient of the whole batch's loss in this rank's outputs."""
        if not len(z):
            return array_module(z).zeros_like(z)
        return self.loss.gradient(z, y) * z.dtype.type(self.weight(None) / self.loss.weight(len(z)))


class SharedRandom:
    """A random generator that all ranks have: each draws the numbers of the whole batch and takes its rows."""

    def __init__(self, rng, share):
        self.rng, self.share = rng, share

    def random(self, size=None, dtype=np.float64):
        """Return uniform random numbers for this rank's rows."""
        return self.rows_of(self.rng.random, size, dtype)

    def standard_normal(self, size=None, dtype=np.float64):
        """Return normal random numbers for this rank's rows."""
        return self.rows_of(self.rng.standard_normal, size, dtype)

    def rows_of(self, draw, size, dtype):
        """Return this rank's rows of the numbers drawn for all; a single number is the same on each rank."""
        if size is None:
            return draw(dtype=dtype)
        shape = tuple(size) if isinstance(size, (tuple, list)) else (size,)
        if shape[:1] != (len(range(self.share.total)[self.share.own]),):
            raise ValueError("fit: team: on several ranks the first axis of random numbers must be that of a batch's "
                             f"rows, got {shape}")
        return draw((self.share.total, *shape[1:]), dtype=dtype)[self.share.own]

    def __getattr__(self, name):
        raise AttributeError(f"fit: team: rng.{name} is not shared by several ranks, on which a layer draws its rows "
                             "by random(shape) and standard_normal(shape) alone, and scales them itself")


class SharedNetwork(Network):
    """A network on this rank's rows of a batch; its parameters are those of the network that it is made from.

    Parameters
    ----------
    net : Network
    share : Share
    by_rows : bool
        Whether the maps are `SharedMap`; if not, a method must be given the rows of all ranks.
    """

    def __init__(self, net, share, by_rows):
        vars(self).update(vars(net), share=share, loss_function=SharedLoss(net.loss_function, share))
        self.sigma = [shared_transfer(sigma, share) for sigma in net.sigma]
        if by_rows:
            self.phi = [shared_map(net, l, share) for l in range(net.depth + 1)]

    def propagate(self, X, training=False, rng=None, theta=None):
        """Run the graph on this rank's rows."""
        return super().propagate(X, training, rng and SharedRandom(rng, self.share), theta)

    def samples(self, state):
        """Return the number of samples on all ranks."""
        return self.share.total

    def total(self, array):
        """Return the sum of all ranks' arrays; the array is overwritten."""
        return self.share.team.sum(array, overwrite=True)


def shared_map(net, l, share, kind=SharedMap):
    """Return the `SharedMap` of map l, or one of another kind; a join, which couples no samples, is unchanged."""
    if l == 0 or net.phi[l].kind == "join":
        return net.phi[l]
    uses = sum(owner == net.owner[l] for owner in net.owner[1:])
    positions, inputs = math.prod(net.shapes[2 * l - 1][:-1]), math.prod(net.shapes[2 * net.inputs[l][0]])
    return kind(net.phi[l], share, uses * positions, uses * inputs, uses)


def shared_transfer(sigma, share):
    """Return a transfer in which each batch norm is shared."""
    if isinstance(sigma, Composition):
        return Composition([shared_transfer(part, share) for part in sigma.parts])
    return SharedBatchNorm(sigma, share) if isinstance(sigma, BatchNorm) else sigma


class Gathered(Method):
    """A method that is given the rows of all ranks, so that it need not know that there are several."""

    def __init__(self, method, team):
        self.method, self.team = method, team
        self.new_weights = method.new_weights

    def __repr__(self):
        return repr(self.method)

    def propose(self, block):
        """Return the step that the method proposes for the rows of all ranks."""
        rows = {name: self.team.gather(getattr(block, name)) for name in ("a", "z", "g")}
        rows["g_a"] = None if block.g_a is None else rows["g"] if block.g_a is block.g else self.team.gather(block.g_a)
        return self.method.propose(block._replace(**rows))

    def explicit_step(self, block):
        """Return the method's step in the parameters of a transfer."""
        return self.method.explicit_step(block)


def says_by_rows(method):
    """Return a method's `by_rows`, or False if a user's subclass has changed how it steps without setting it again.

    The base class cannot know which rows the steps of the subclass use.
    """
    for cls in type(method).__mro__:
        if "by_rows" in {**vars(method), **vars(cls)} or cls.__module__.startswith("minilift."):
            break
        if any(inspect.isroutine(thing) or isinstance(thing, property) for name, thing in vars(cls).items()
               if not name.startswith("__") and name not in BESIDE):
            return False
    return method.by_rows


class Ranks:
    """What `fit` needs for training on several ranks.

    Parameters
    ----------
    team : Team
    method : Method

    Raises
    ------
    ValueError
        If the method cannot share a batch.
    """

    def __init__(self, team, method):
        by_rows = says_by_rows(method)
        if not by_rows and type(method).directions is not Method.directions:
            raise ValueError(f"fit: team: {method!r} cannot be trained by several ranks: what it does beside the "
                             "steps in theta is not shared among them; BackProp, ProxProp, LocoProp, FOOF, KFAC, "
                             "GaussNewton, SemiImplicit and methods that only define propose(block) can, and a class "
                             "of your own that says by_rows = True (see ml.Method)")
        self.team, self.share, self.by_rows = team, Share(team), by_rows
        self.method = method if by_rows else Gathered(method, team)

    def shared(self, net):
        """Return the network and method that replace, in an epoch, those of one process, on this rank's rows."""
        return SharedNetwork(net, self.share, self.by_rows), self.method

    @property
    def leads(self):
        """Whether this is rank 0, which reports and writes."""
        return self.team.rank == 0

    def part(self, array):
        """Return the rows of a batch that belong to this rank, and note the batch in `share`."""
        return array[self.share.take(len(array))]

    def check_start(self, net, settings):
        """Raise an error unless all ranks are about to start the same run, from the same parameters."""
        texts = {name: json.dumps(value, sort_keys=True, default=str) for name, value in settings.items()}
        self.team.agree("fit", {**texts, **net.state_dict()})

    def check(self, net):
        """Raise an error unless parameters and running statistics are bit-equal on all ranks."""
        self.team.agree("fit: after an epoch", net.state_dict())

    def describe(self, net, samples):
        """Return, for each map, a line on what the ranks exchange for its step, for batches of `samples` samples."""
        lines = []
        self.share.take(samples)
        for k, l in enumerate(net.maps, start=1):
            if isinstance(self.method, Gathered):
                text = "activations and signals of all samples are gathered, and each rank solves the whole problem"
            elif isinstance(self.method, BackProp):
                text = f"the gradient is summed, {2 * net.theta[l].nbytes / 1000:,.0f} kB a step and rank"
            elif (side := self.side_of(net, k, l)) is None:
                text = f"gradients are summed, {2 * net.theta[l].nbytes / 1000:,.0f} kB each and rank"
            else:
                sides = shared_map(net, l, self.share).bytes_of_sides(samples, net.dtype.itemsize)
                other = "parameter" if side == "sample" else "sample"
                text = (f"solved on the {side} side, {sides[side] / 1000:,.0f} kB a solve and rank "
                        f"({sides[other] / 1000:,.0f} kB on the {other} side)")
            lines.append(f"map {l}: {text}")
        return lines

    def side_of(self, net, k, l):
        """Return the side on which the method solves its problem in map l, or None if it only sums gradients."""
        if type(self.method).propose is Method.propose:
            return None  # it has directions of its own
        phi, method = shared_map(net, l, self.share, QuestionedMap), copy.deepcopy(self.method)
        rows = phi.uses * len(range(self.share.total)[self.share.own])
        a, z = (net.xp.ones((rows, *net.shapes[j]), net.dtype)  # not zeros: a user's method might divide by their norm
                for j in (2 * net.inputs[l][0], 2 * l - 1))
        try:
            method.propose(Block(l, net.depth, l == net.depth, phi, net.f[l], net.theta[l], a, z,
                                 None if net.owner[net.depth] == l else z, z, 1.0, k, len(net.maps), net.f_inside[l]))
        except Asked as asked:
            return asked.side
        return None
