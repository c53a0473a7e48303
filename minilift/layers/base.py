r"""What a layer is: a map φ with parameters θ (`Map`), a join (`Join`), or a transfer σ between them (`Transfer`).

A layer stores nothing of its last input. What the adjoint of a transfer needs beyond z and a, `apply` returns as `aux`,
which lives in the network's `State`. Shapes omit the batch axis: a sample has shape (n,), an image (H, W, C).
"""

from __future__ import annotations

from minilift.support.settings import Settings


class Layer(Settings):
    """Base class of maps, joins and transfers.

    Attributes
    ----------
    kind : {"map", "join", "transfer", "name"}
    parameters : sequence of arrays
        What is trained besides the θ of the maps: nothing, or one array, which the layer keeps as `scale_shift`, such
        as a batch norm's, (2, channels). A layer that has one may stand in only one place in a network.
    """

    kind = ""
    parameters: tuple = ()

    def on_backend(self, xp, dtype):
        """Return this layer with its own arrays on a backend and in a dtype; itself, if it has none."""
        return self

    def for_images(self, *input_shapes):
        """Return this layer with the shapes of its input samples known; itself, if they make no difference."""
        return self

    def output_shape(self, input_shape):
        """Shape of one output sample for one input sample."""
        return tuple(input_shape)
