"""What a device may send: shapes and sizes of the micro-batches of a row."""

import math

from torch import nn

from adaptoff.messages import Row
from adaptoff.testbed.models import activation_shapes
from adaptoff.testbed.split import micro_batches

CODEC_BYTES = 4096
"""that a codec may add to a tensor, at most"""


class Shapes:
    """What each cut of a model sends, measured once by a forward pass of zeros."""

    def __init__(self, model: nn.Sequential, batch_size: int) -> None:
        self._batch_size = batch_size
        self._shapes = activation_shapes(model)

    def activations(self, row: Row, part: int) -> tuple[int, ...]:
        """Of one micro-batch, (n, ...)."""
        return (self._size(row, part), *self._shapes[row.cut])

    def share(self, row: Row, part: int) -> float:
        """Of the batch that a micro-batch is."""
        return self._size(row, part) / self._batch_size

    def most_bytes(self, row: Row, part: int) -> int:
        """More than any codec makes of a micro-batch, labels included."""
        values, labels = math.prod(self.activations(row, part)), self._size(row, part)
        return 4 * values + 8 * labels + CODEC_BYTES

    def _size(self, row: Row, part: int) -> int:
        samples = micro_batches(self._batch_size, row.depth)[part]
        return samples.stop - samples.start
