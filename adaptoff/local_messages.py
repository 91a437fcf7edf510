"""What is said in the local protocol (``adaptoff.local``), with a range for every figure."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from adaptoff.errors import Malformed
from adaptoff.messages import Bps, Index, Level, Seconds, Source, Struct, Text
from adaptoff.profile import Codec
from adaptoff.scenario import Depth
from adaptoff.ways import AS_IS, Way

PROTOCOL = 2
MAX_BYTES = 8192
"""of a frame: ZeroMQ refuses longer ones before it allocates them"""

T = TypeVar("T")


class Measured(Struct, frozen=True, kw_only=True):
    """One round as the loop measured it, in wall seconds. A rate not measured is None, never 0."""

    device_s: Seconds
    """computing on this device"""
    uplink_s: Seconds = 0.0
    """sending activations, waiting for the server excluded"""
    server_s: Seconds = 0.0
    """waiting for the server, its queue included"""
    downlink_s: Seconds = 0.0
    """receiving gradients or results"""
    sync_s: Seconds = 0.0
    """weights down and up"""
    total_s: Seconds
    """of the device's round"""
    samples: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    """trained or answered; seconds are scaled to the samples of the scenario's workload"""
    up_bps: Bps | None = None
    """payload bits per second"""
    down_bps: Bps | None = None
    rtt_s: Seconds | None = None
    server_speed: Annotated[float, Meta(gt=0, le=1e5)] | None = None
    """in reference cores, if the loop knows; without a fleet it is else told from ``server_s``"""
    cut: Level | None = None
    """as really used, if other than answered; so are the next two"""
    depth: Depth | None = None
    codec: Codec | None = None

    @property
    def way(self) -> Way:
        """The one used, plain where it does not say."""
        return Way(self.cut or 0, self.depth or 1, self.codec or AS_IS)


class Ask(Struct, frozen=True, kw_only=True):
    """Loop to control: what was, and what next?"""

    protocol: Index = PROTOCOL
    number: Index
    measured: Measured | None


class Reply(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of what control says."""

    protocol: Index = PROTOCOL
    number: Index


class Answer(Reply, frozen=True, kw_only=True, tag="answer"):
    """Control to loop: the next round's row."""

    round: Index
    """the fleet's, which a restarted server counts anew"""
    cut: Level
    """blocks on this device"""
    depth: Depth = 1
    """micro-batches in flight"""
    codec: Codec = "float32"
    """how activations and gradients travel"""
    opp: Level
    """as applied; without ``--clocks`` the fastest, since nothing was set"""
    mhz: Annotated[float, Meta(ge=0, le=1e6)]
    """of the scenario's table at ``opp``"""
    source: Source
    """who chose"""
    reason: Text


class Refusal(Reply, frozen=True, kw_only=True, tag="refusal"):
    """Control to loop: that cannot be."""

    reason: Text


class _Spoken(msgspec.Struct):
    protocol: int


_spoken = msgspec.msgpack.Decoder(_Spoken)
_ask = msgspec.msgpack.Decoder(Ask)
_reply: msgspec.msgpack.Decoder[Answer | Refusal] = msgspec.msgpack.Decoder(Answer | Refusal)
encode = msgspec.msgpack.Encoder().encode


def decode_ask(frame: bytes) -> Ask:
    """Raises Malformed for anything but one question of this protocol."""
    return _decode(frame, _ask)


def decode_reply(frame: bytes) -> Answer | Refusal:
    """Raises Malformed for anything but one reply of this protocol."""
    return _decode(frame, _reply)


def _decode(frame: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    try:
        spoken = _spoken.decode(frame).protocol
        if spoken != PROTOCOL:
            raise Malformed(f"local protocol {spoken}: here {PROTOCOL} is spoken")
        return decoder.decode(frame)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Malformed(f"local message: {error}") from None
