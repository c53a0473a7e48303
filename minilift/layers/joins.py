r"""Joins :math:`c = J(v_1, \dots, v_k)` of several earlier values, and the names by which they are read again.

A join is linear and has no parameters: a map φ without θ. A network's layers remain a list in which each layer reads
the value before it. `Named` gives that value a name; `Add` and `Concat` read the value before them and named ones;
`Select` returns to a named one. A residual block is

    Named("x"), Linear(64, 64), ReLU(), Linear(64, 64), Add("x")
"""

from __future__ import annotations

from collections.abc import Sequence

from minilift.layers.base import Layer
from minilift.support.arguments import fits_in_memory, sequence, shown, text, whole_number
from minilift.support.backend import array_module


class Named(Layer):
    """A name for the value before it, by which joins further down the list read that value.

    Parameters
    ----------
    name : str
        A name that no other value of the network has.

    Examples
    --------
    >>> net = ml.Network([ml.Named("x"), ml.Linear(2, 2), ml.Add("x"), ml.Linear(2, 1)], ml.SquaredError())
    >>> net.names, net.inputs
    ({'x': 0}, [(), (0,), (1, 0), (2,)])
    """

    kind = "name"
    shown_bare = ("name",)

    def __init__(self, name: str) -> None:
        self.name = checked_name("Named: name", name)


class Join(Layer):
    r"""Base class of joins, linear in all their inputs.

    A subclass defines ``forward(theta, *values)`` and ``adjoint_inputs(theta, g, values)``, where θ is None, and
    ``output_shape(*input_shapes)``.

    Attributes
    ----------
    sources : tuple of str
        Names of the values that it reads besides the one before it in the list.
    reads_current : bool
        Whether it reads the one before it at all.

    Examples
    --------
    >>> [join.sources for join in (ml.Add("x"), ml.Concat(["x", "y"]), ml.Select("x", 0), ml.Zeros(3))]
    [('x',), ('x', 'y'), ('x',), ()]
    >>> ml.Add("x").forward(None, np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]])).tolist()
    [[11.0, 22.0]]
    """

    kind = "join"
    theta_shape = None
    sources: tuple[str, ...] = ()
    reads_current = True


class OfNames(Join):
    """Base class of joins of the value before them with named ones.

    Parameters
    ----------
    sources : str or sequence of str
        Names of the other values.
    """

    shown_bare = ("sources",)

    def __init__(self, sources: str | Sequence[str]) -> None:
        what = f"{type(self).__name__}: sources"
        several = not isinstance(sources, str)
        names = sequence(what, sources, "names") if several else [sources]
        if not names:
            raise ValueError(f"{what} must hold the name of at least one value, got none")
        self.sources = tuple([checked_name(f"{what}[{k}]" if several else what, name) for k, name in enumerate(names)])

    def settings(self):
        """Return the names: a single one as it is, several as a list."""
        return {"sources": self.sources[0] if len(self.sources) == 1 else list(self.sources)}


class Add(OfNames):
    r"""The sum :math:`c = v_1 + \dots + v_k` of the value before it and named ones, all of the same shape.

    Parameters
    ----------
    sources : str or sequence of str
        Name of the other value, or names of the others.

    Examples
    --------
    >>> ml.Add("x").forward(None, np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]])).tolist()
    [[11.0, 22.0]]
    """

    def output_shape(self, *input_shapes):
        """Shape of one output sample, that of each input sample."""
        if len(set(input_shapes)) > 1:
            raise ValueError(f"{self!r} expects samples of one shape, got {', '.join(map(str, input_shapes))}")
        return input_shapes[0]

    def forward(self, theta, *values):
        """Return the sum, in a new array."""
        total = values[0] + values[1]
        for value in values[2:]:
            total += value
        return total

    def adjoint_inputs(self, theta, g, values):
        """Return g for each input."""
        return [g] * len(values)


class Concat(OfNames):
    r"""The value before it and named ones side by side, :math:`c = [v_1 \dots v_k]`, along the last axis (channels).

    Parameters
    ----------
    sources : str or sequence of str
        Name of the other value, or names of the others.

    Examples
    --------
    >>> ml.Concat("x").forward(None, np.array([[1.0, 2.0]]), np.array([[3.0]])).tolist()
    [[1.0, 2.0, 3.0]]
    """

    def output_shape(self, *input_shapes):
        """Shape of one output sample for the input samples' shapes, which agree except in the last axis."""
        if len({shape[:-1] for shape in input_shapes}) > 1:
            raise ValueError(f"{self!r} expects samples that differ in the last axis alone, "
                             f"got {', '.join(map(str, input_shapes))}")
        return (*input_shapes[0][:-1], sum(shape[-1] for shape in input_shapes))

    def forward(self, theta, *values):
        """Return the values side by side."""
        return array_module(*values).concatenate(values, axis=-1)

    def adjoint_inputs(self, theta, g, values):
        """Return, for each input, the part of g at that input's place."""
        parts, start = [], 0
        for value in values:
            parts.append(g[..., start:start + value.shape[-1]])
            start += value.shape[-1]
        return parts


class Select(Join):
    r"""A named value again, whole or in part: one entry of a sample's first axis, such as one time step, or a slice.

    Parameters
    ----------
    source : str, optional
        Name of the value; by default the one before it.
    start : int, optional
        First entry along the sample's first axis; by default the whole axis is taken.
    stop : int, optional
        The entry after the last. By default only `start` is taken and the axis is dropped: (n,) from samples (T, n).

    Examples
    --------
    >>> steps = np.arange(6.0).reshape(1, 3, 2)  # one sample of three time steps
    >>> ml.Select("x", 1).forward(None, steps).tolist(), ml.Select("x", 1, 3).forward(None, steps).tolist()
    ([[2.0, 3.0]], [[[2.0, 3.0], [4.0, 5.0]]])
    """

    shown_bare, shown_always = ("source", "start", "stop"), ("source",)

    def __init__(self, source: str | None = None, start: int | None = None, stop: int | None = None) -> None:
        self.source = None if source is None else checked_name("Select: source", source)
        self.start = None if start is None else whole_number("Select: start", start, least=0)
        if stop is not None and start is None:
            raise ValueError(f"Select: start must be given with stop, got None and {shown(stop)}")
        self.stop = None if stop is None else whole_number("Select: stop", stop, least=(start or 0) + 1)
        self.reads_current, self.sources = source is None, () if source is None else (source,)

    @property
    def part(self):
        """The index into the value, whose first axis is the batch."""
        if self.start is None:
            return (slice(None),)
        return (slice(None), self.start if self.stop is None else slice(self.start, self.stop))

    def output_shape(self, input_shape):
        """Shape of one output sample for one input sample."""
        last = self.start if self.stop is None else self.stop - 1
        if last is None:
            return tuple(input_shape)
        if last >= input_shape[0] or (self.stop is None and len(input_shape) < 2):
            shape = "(T, …), time steps," if self.stop is None else "(T, …)"
            raise ValueError(f"{self!r} expects samples of shape {shape} with T > {last}, got {tuple(input_shape)}")
        return tuple(input_shape[1:]) if self.stop is None else (self.stop - self.start, *input_shape[1:])

    def forward(self, theta, value):
        """Return the part of the value, as a view."""
        return value[self.part]

    def adjoint_inputs(self, theta, g, values):
        """Return g in its place, with zeros around it."""
        if self.start is None:
            return [g]
        signal = array_module(g).zeros(values[0].shape, g.dtype)
        signal[self.part] = g
        return [signal]


class Zeros(Join):
    """Zeros, whatever the value before it: the state of a recurrent net before its first step.

    Parameters
    ----------
    n : int
        Number of zeros per sample.

    Examples
    --------
    >>> ml.Zeros(3).forward(None, np.ones((2, 5))).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    shown_bare = ("n",)

    def __init__(self, n: int) -> None:
        self.n = whole_number("Zeros: n", n)
        fits_in_memory("Zeros: n", 8 * self.n)

    def output_shape(self, input_shape):
        """Shape of one output sample, (n,)."""
        return (self.n,)

    def forward(self, theta, value):
        """Return zeros, one row per sample."""
        return array_module(value).zeros((len(value), self.n), value.dtype)

    def adjoint_inputs(self, theta, g, values):
        """Return zeros: the output does not depend on the value."""
        return [array_module(g).zeros(values[0].shape, g.dtype)]


def checked_name(what, name):
    """Return `name` if it can name a value: a string that is not blank."""
    if not text(what, name).strip():
        raise ValueError(f"{what} must be a name such as 'x', got {name!r}")
    return name
