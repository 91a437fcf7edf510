"""A device's side of split batches, with ``depth`` micro-batches of each in flight.

All forwards come first, each sent at once, then the backwards in the same order: the link and the
server have as much to do as early as can be, and no order of the device's own work ends sooner. It
holds the activations of one batch, as without micro-batches. The next batch waits for the step.
"""

from collections.abc import Callable
from dataclasses import dataclass

from adaptoff.errors import RunError
from adaptoff.messages import Activations, Gradient, Row
from adaptoff.testbed.codec import decode, encode
from adaptoff.testbed.link import Received
from adaptoff.testbed.meter import Meter
from adaptoff.testbed.parts import Parts
from adaptoff.testbed.split import DeviceHalf, FloatArray, Labels, micro_batches


@dataclass(frozen=True)
class Sent:
    """A micro-batch in flight."""

    shape: tuple[int, ...]
    """of its activations"""
    sent_s: float


@dataclass(frozen=True)
class Pipeline:
    """Trains the batches of one round on ``half``; ``meter`` gets their seconds."""

    parts: Parts
    meter: Meter
    half: DeviceHalf
    row: Row
    round: int
    answer: Callable[[], tuple[Received, Gradient]]
    """waits for the next gradient"""

    def train(self, batch: int, images: FloatArray, labels: Labels) -> None:
        """One batch; RunError for an answer to another micro-batch than the oldest."""
        cpu, depth = self.parts.cpu, self.row.depth
        left_s, sent = self.parts.work_s(self.row), []
        for part, which in enumerate(micro_batches(len(labels), depth)):
            sent.append(self._forward(batch, part, images[which], labels[which]))
            left_s -= cpu.charged_s
        for part, one in enumerate(sent):
            got = self._receive(batch, part, one)
            with cpu.block(max(left_s, 0.0) / depth):
                self.half.backward(self._gradient(got, one), last=part == depth - 1)

    def _forward(self, batch: int, part: int, images: FloatArray, labels: Labels) -> Sent:
        with self.parts.cpu.block():
            activations = self.half.forward(images)
            arrays = encode(self.row.codec, activations)
        sent = Sent(activations.shape, self.parts.now_s())
        message = Activations(round=self.round, batch=batch, part=part)
        self.parts.link.send(message, [*arrays, labels])
        return sent

    def _receive(self, batch: int, part: int, sent: Sent) -> Received:
        """The gradient, once it is there; the time until then is split between the stages."""
        got, message = self.answer()
        if (message.batch, message.part) != (batch, part):
            other = f"part {message.part} of batch {message.batch}"
            raise RunError(f"an answer to {other}, expected part {part} of batch {batch}")
        downlink_s = got.transfer_s / self.parts.dilation if got.arrays else 0.0
        waited_s = self.parts.now_s() - sent.sent_s - message.server_s - downlink_s
        self.meter.server_s += message.server_s
        self.meter.downlink_s += downlink_s
        # in a pipeline the wait is for those before, too
        self.meter.uplink_s += max(waited_s, 0.0) if self.row.depth == 1 else message.uplink_s
        return got

    def _gradient(self, got: Received, sent: Sent) -> FloatArray | None:
        if self.row.cut == 0 and not got.arrays:
            return None
        return decode(self.row.codec, got.arrays, sent.shape)
