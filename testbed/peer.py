"""One peer: its two transfers, its pacing and its signs of life."""

import math
from dataclasses import dataclass

from adaptoff.messages import AnyMessage
from adaptoff.testbed.pace import Pacer
from adaptoff.testbed.transfer import Chunk, Config, Receiver, Sender
from adaptoff.testbed.wire import Array

SERVER = 0
"""what a device or driver calls its one peer"""


@dataclass(frozen=True, slots=True)
class Received:
    """A message from ``peer``, or with ``lost`` set the news that it is gone (a Fault says why).

    Times are the local monotonic clock's, rates payload bits per second of it.
    """

    peer: int
    message: AnyMessage
    arrays: list[Array]
    nbytes: int
    started_s: float
    """first chunk complete"""
    finished_s: float
    """last chunk complete"""
    rate_bps: float | None
    """by dispersion; None if the message, with those right before it, was too short to tell"""
    transfer_s: float
    """the whole message's time on the link: by its rate, else the link's of late; 0 if unknown"""
    lost: bool = False
    who: str | None = None
    """the name that the peer's key is listed under; None on a link without keys"""


@dataclass(slots=True)
class Total:
    """Bytes and the seconds they took."""

    nbytes: float = 0.0
    time_s: float = 0.0

    def add(self, nbytes: int, rate_bps: float) -> None:
        """Count ``nbytes`` that went at ``rate_bps``."""
        self.nbytes += nbytes
        self.time_s += 8 * nbytes / rate_bps

    def take(self) -> float | None:
        """The mean rate since the last call, None if nothing was measured."""
        rate_bps = 8 * self.nbytes / self.time_s if self.time_s > 0 else None
        self.nbytes = self.time_s = 0.0
        return rate_bps


class Peer:
    """All state of one peer."""

    def __init__(self, number: int, config: Config, now_s: float, who: str | None = None) -> None:
        self.number = number
        self.who = who
        self.session: int | None = number or None
        self.route = b""
        self.sender = Sender(config)
        self.receiver = Receiver(config.limits)
        self.pacer: Pacer | None = None
        self.waiting: Chunk | None = None
        """the chunk that the pacer holds back"""
        self.heard_s = now_s if number else math.inf
        self.beat_at_s = now_s
        self.introduced = False
        """the application has got a message of it"""
        self.held_bytes = 0
        self.chunk_bytes = 0
        self.total_in = Total()
        self.total_out = Total()

    def silent_at_s(self, config: Config) -> float:
        """When it counts as lost: later while a chunk of a slowed link may be on its way."""
        chunk_s = 8 * self.chunk_bytes / config.floor_bps if self.receiver.partial_bytes else 0.0
        return self.heard_s + (config.lost_s + chunk_s) * config.dilation

    def due_s(self, now_s: float) -> float:
        """When the next chunk may leave, taking one up if none waits; infinity if there is none."""
        if self.waiting is None:
            self.waiting = self.sender.next_chunk()
            if self.waiting and self.pacer:
                chunk = self.waiting
                self.pacer.start(chunk.nbytes, chunk.outbound.queued_s, now_s)
        if self.waiting is None:
            return math.inf
        return self.pacer.due_s(now_s) if self.pacer else now_s

    def wake_s(self, now_s: float) -> float:
        """When something is to be sent or sent again."""
        if self.waiting is None:
            return self.sender.resend_at_s()
        return self.pacer.wake_s(now_s) if self.pacer else now_s
