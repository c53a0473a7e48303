r"""What a layer is: a map φ with parameters θ (`Map`), a join (`Join`), or a transfer σ between them (`Transfer`).

A layer remembers nothing of its last input. What the adjoint of a transfer needs beyond z and a comes back from `apply`
as `aux` and lives in the network's `State`. Shapes leave the batch out: a sample of shape (n,), or (H, W, C) of images.
"""

from __future__ import annotations

from minilift.support.settings import Settings


class Layer(Settings):
    """Base class of maps, joins and transfers.

    Attributes
    ----------
    kind : {"map", "join", "transfer", "name"}
    parameters : sequence of arrays
        What is trained beside the θ of the maps: none, or one array, that the layer keeps as `scale_shift`, such as a
        batch norm's, (2, channels). A network takes a layer that has it in one place.
    """

    kind = ""
    parameters: tuple = ()

    def on_backend(self, xp, dtype):
        """Return a layer whose own arrays are on a backend and in a dtype; itself, if it has none."""
        return self

    def for_images(self, *input_shapes):
        """Return a layer that knows the shapes of its input samples; itself, if that makes no difference."""
        return self

    def output_shape(self, input_shape):
        """Shape of one output sample for one input sample."""
        return tuple(input_shape)
