"""One direction of one peer, without sockets: cutting, windows, acknowledgements, resends.

The sender numbers its chunks, keeps a window of unacknowledged ones and goes back to the oldest
(go-back-N) when nothing moved for as long as the outstanding bytes may take. The receiver takes
chunks in order only, drops what it has seen, and measures the rate by ``dispersion``.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from adaptoff.errors import Malformed
from adaptoff.messages import AnyMessage
from adaptoff.testbed.dispersion import Dispersion, Recent
from adaptoff.testbed.pace import MIN_CHUNK_BYTES, choose_chunk_bytes
from adaptoff.testbed.wire import Ack, Array, Assembly, Buffer, Data, Encoded, Limits

MIN_WINDOW_BYTES = 1 << 20
WINDOW_S = 0.5
"""of the estimated rate: a link that slows down has no more than this queued on it"""
WINDOW_CHUNKS = 256
MAX_BACKOFF = 32


@dataclass
class Config:
    """Times in seconds, all multiplied by ``dilation``; sizes in bytes."""

    dilation: float = 1.0
    beat_s: float = 1.0
    hang_s: float = 30.0
    """an application that leaves its link alone for so long is hung: its beats stop"""
    lost_s: float = 5.0
    """a peer that is silent for so long is lost"""
    resend_s: float = 1.0
    """margin beyond the time that the outstanding bytes take"""
    floor_bps: float = 1e6
    """assumed of a link before it was measured (divided by ``dilation``)"""
    limits: Limits = field(default_factory=Limits)
    window_bytes: int = 16 << 20
    """sent and unacknowledged, per peer"""
    queue_bytes: int = 512 << 20
    """queued and unacknowledged, per peer"""
    peer_hold_bytes: int = 257 << 20
    """received and not yet taken by the application, per peer"""
    hold_bytes: int = 1 << 30
    """the same of all peers"""
    peers: int = 512


@dataclass(slots=True)
class Outbound:
    """A message on its way out; ``cut_bytes`` of it have become chunks."""

    number: int
    encoded: Encoded
    queued_s: float
    since_first_s: float
    """after the first message was queued"""
    cut_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A numbered slice of a message."""

    seq: int
    outbound: Outbound
    offset: int
    nbytes: int
    resent: bool = field(default=False, compare=False)
    """after a pause: the first one that is sent again"""

    @property
    def last(self) -> bool:
        """Whether the message ends here."""
        return self.offset + self.nbytes == self.outbound.encoded.total_bytes

    def envelope(self, session: int) -> Data:
        """What announces the chunk."""
        encoded = self.outbound.encoded
        return Data(
            session, self.seq, self.outbound.number, self.offset,
            encoded.header_bytes, encoded.total_bytes,
            None if self.resent else self.outbound.since_first_s,
        )  # fmt: skip

    def parts(self) -> list[memoryview]:
        """The chunk's bytes, as views."""
        return self.outbound.encoded.cut(self.offset, self.nbytes)


class Sender:
    """Messages -> chunks, until they are acknowledged."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.rate_bps: float | None = None
        """as the receiver lately measured it"""
        self.queued_bytes = 0
        """of messages that are not wholly acknowledged"""
        self.acked_messages = 0
        self.resends = 0
        self._pushed = 0
        self._first_s = math.nan
        self._recent = Recent()
        self._next_seq = 0
        self._queue: deque[Outbound] = deque()
        self._unacked: deque[Chunk] = deque()
        self._unacked_bytes = 0
        self._cursor = 0
        self._moved_s = 0.0
        self._backoff = 1

    def push(self, encoded: Encoded, now_s: float) -> int:
        """Queue a message; returns its number, counted from 0."""
        if self._pushed == 0:
            self._first_s = now_s
        self._queue.append(Outbound(self._pushed, encoded, now_s, now_s - self._first_s))
        self.queued_bytes += encoded.total_bytes
        self._pushed += 1
        return self._pushed - 1

    def next_chunk(self) -> Chunk | None:
        """The chunk to send next: a resend, a new one, or None (no data or window full)."""
        if self._cursor == len(self._unacked) and not self._cut():
            return None
        self._cursor += 1
        return self._unacked[self._cursor - 1]

    def sent(self, now_s: float) -> None:
        """A chunk has just left: the time to an acknowledgement counts from here."""
        self._moved_s = now_s

    def on_ack(self, ack: Ack, now_s: float) -> int:
        """Forget what has arrived; returns the bytes of the messages that are now complete.

        Raises Malformed for an acknowledgement of what was never sent.
        """
        if ack.seq > self._next_seq:
            raise Malformed(f"chunk {ack.seq} acknowledged, {self._next_seq} sent")
        before_bytes = self.queued_bytes
        while self._unacked and self._unacked[0].seq < ack.seq:
            self._forget(self._unacked.popleft())
            self._moved_s, self._backoff = now_s, 1
        if ack.rate_bps is not None and ack.spread_bytes:
            self.rate_bps = self._recent.add(ack.spread_bytes, ack.rate_bps)
        return before_bytes - self.queued_bytes

    def resend_at_s(self) -> float:
        """When to go back if no acknowledgement comes; infinity if none is awaited."""
        if self._cursor == 0:
            return math.inf
        rate_bps = self.rate_bps or self.config.floor_bps / self.config.dilation
        wait_s = self.config.resend_s * self.config.dilation + 8 * self._unacked_bytes / rate_bps
        return self._moved_s + wait_s * self._backoff

    def check(self, now_s: float) -> None:
        """Go back to the oldest unacknowledged chunk when it is time to."""
        if now_s >= self.resend_at_s():
            self._cursor = 0
            self._unacked[0] = replace(self._unacked[0], resent=True)
            self._backoff = min(2 * self._backoff, MAX_BACKOFF)
            self.resends += 1

    def _cut(self) -> bool:
        """Cut one more chunk if there is data and the window has room."""
        if not self._queue or self._window_full():
            return False
        outbound = self._queue[0]
        total = outbound.encoded.total_bytes
        nbytes = choose_chunk_bytes(self.rate_bps, total)
        if outbound.cut_bytes == 0:
            # small, as it may be refused and is not counted in dispersion; with the whole header
            nbytes = max(MIN_CHUNK_BYTES, outbound.encoded.header_bytes)
        chunk = Chunk(
            self._next_seq, outbound, outbound.cut_bytes, min(nbytes, total - outbound.cut_bytes)
        )
        outbound.cut_bytes += chunk.nbytes
        if chunk.last:
            self._queue.popleft()
        self._unacked.append(chunk)
        self._unacked_bytes += chunk.nbytes
        self._next_seq += 1
        return True

    def _window_full(self) -> bool:
        wish = max(MIN_WINDOW_BYTES, WINDOW_S * (self.rate_bps or 0.0) / 8)
        window = min(self.config.window_bytes, wish)
        return self._unacked_bytes >= window or len(self._unacked) >= WINDOW_CHUNKS

    def _forget(self, chunk: Chunk) -> None:
        self._unacked_bytes -= chunk.nbytes
        self._cursor = max(0, self._cursor - 1)
        if chunk.last:
            self.acked_messages += 1
            self.queued_bytes -= chunk.outbound.encoded.total_bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """A complete incoming message and when its first and last chunk came."""

    message: AnyMessage
    arrays: list[Array]
    nbytes: int
    started_s: float
    finished_s: float
    rate_bps: float | None
    """None if, with those before it, it was too short to tell"""
    spread_bytes: int
    """that the rate was measured with"""


class Receiver:
    """Chunks -> messages, in order."""

    def __init__(self, limits: Limits) -> None:
        self.expected = 0
        self.rate_bps: float | None = None
        """as lately measured"""
        self._limits = limits
        self._assembly: Assembly | None = None
        self._started_s = 0.0
        self._dispersion = Dispersion()
        self._recent = Recent()

    @property
    def partial_bytes(self) -> int:
        """Size of the message that has begun and not ended, 0 if there is none."""
        return self._assembly.first.total_bytes if self._assembly else 0

    def on_data(
        self, data: Data, parts: Sequence[Buffer], now_s: float, admit: Callable[[int], bool]
    ) -> Delivery | None:
        """Take the next chunk; other ones are dropped (the caller acknowledges ``expected``).

        ``admit`` is asked once a message whether its bytes may be held. Raises Malformed, Oversize.
        """
        if data.seq != self.expected or not self._place(data, parts, now_s, admit):
            self._dispersion.disturb()
            return None
        self._dispersion.add(data, sum(len(part) for part in parts), now_s)
        self.expected += 1
        return self._finish(now_s)

    def _place(
        self, data: Data, parts: Sequence[Buffer], now_s: float, admit: Callable[[int], bool]
    ) -> bool:
        if self._assembly:
            self._assembly.add(data, parts)
            return True
        # an oversize claim must reach the Assembly, which refuses it for good
        if data.total_bytes <= self._limits.message_bytes and not admit(data.total_bytes):
            return False
        self._assembly, self._started_s = Assembly(data, parts, self._limits), now_s
        return True

    def _finish(self, now_s: float) -> Delivery | None:
        assembly = self._assembly
        if assembly is None or not assembly.complete:
            return None
        self._assembly = None
        spread_bytes, rate_bps = self._dispersion.take() or (0, None)
        if rate_bps is not None:
            self.rate_bps = self._recent.add(spread_bytes, rate_bps)
        return Delivery(
            assembly.message, assembly.arrays, assembly.filled_bytes,
            self._started_s, now_s, rate_bps, spread_bytes,
        )  # fmt: skip
