"""The local protocol: a loop that is not adaptoff's asks ``adaptoff control`` for its next row.

The loop's DEALER socket talks to the ROUTER of the control process. A message is one frame, a
msgpack map of at most ``MAX_BYTES``; whatever else comes is refused and changes nothing:

    loop -> control   {"protocol": 2, "number": n, "measured": nil or Measured}
    control -> loop   {"type": "answer", "protocol": 2, "number": n, "round": 4, "cut": 2, ...}
                      {"type": "refusal", "protocol": 2, "number": n, "reason": "..."}

``number`` counts the questions of a loop; what answers one repeats it (0: it could not be read).
``measured`` is nil where nothing was measured, as before the first round: the answer is native.

    with LocalController() as controller:
        decision = controller.next(None)
        while training:
            ...  # one round with decision.cut blocks on this device
            decision = controller.next(Measured(device_s=..., total_s=..., samples=...))
"""

import time
from typing import Any

import msgspec
import zmq

from adaptoff import local_place
from adaptoff.closing import Closing
from adaptoff.errors import Deadline, InputError, Malformed, WireError
from adaptoff.local_messages import (
    MAX_BYTES,
    PROTOCOL,
    Answer,
    Ask,
    Measured,
    Refusal,
    decode_ask,
    decode_reply,
    encode,
)

__all__ = ["PROTOCOL", "Answer", "LocalController", "Measured"]

TIMEOUT_S = 60.0
"""for an answer: longer than the control process waits for its fleet"""
HINT = "is it running? adaptoff control --scenario FILE --device N, or with a fleet: ENDPOINT N"


class LocalController(Closing):
    """A loop's end, for one thread; a context manager. Every wait ends after ``timeout_s``."""

    def __init__(self, endpoint: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """``endpoint`` as ``adaptoff control --listen`` has it; the process may come later.

        By default the user's own, or the system service's if only that is there.

        Raises InputError for an endpoint that others could reach.
        """
        self.endpoint = local_place.check(endpoint or local_place.found_endpoint())
        self.timeout_s = timeout_s
        self._number = 0
        self._answered: Answer | None = None
        self._context = zmq.Context()
        try:
            self._socket = self._connected()
        except BaseException:
            self._context.destroy(linger=0)
            raise

    def next(self, measured: Measured | None) -> Answer:
        """What to do in the next round, after a round that was ``measured`` (None: nothing was).

        Raises InputError for figures out of range, Deadline if nobody answers, WireError for an
        answer that cannot be read or a refusal. All of them leave it ready for the next call.
        """
        self._number += 1
        frame, until_s = self._question(measured), time.monotonic() + self.timeout_s
        try:
            if not self._socket.poll(_left_ms(until_s), zmq.POLLOUT):
                raise Deadline(f"{self.endpoint}: no control process: {HINT}")
            self._socket.send(frame, zmq.NOBLOCK)
            answer = self._answer(until_s)
        except (Deadline, WireError):
            self._socket.close(linger=0)  # what was asked in vain must not be answered later
            self._socket = self._connected()
            raise
        self._answered = answer
        return answer

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._context.destroy(linger=0)

    def _question(self, measured: Measured | None) -> bytes:
        if measured and measured.cut is None and (last := self._answered):
            measured = msgspec.structs.replace(
                measured, cut=last.cut, depth=last.depth, codec=last.codec
            )
        frame = encode(Ask(number=self._number, measured=measured))
        try:
            decode_ask(frame)  # ranges are checked where messages are read
        except Malformed as error:
            raise InputError(str(error)) from None
        return frame

    def _answer(self, until_s: float) -> Answer:
        while self._socket.poll(_left_ms(until_s)):
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
            if len(frames) != 1:
                raise Malformed(f"local message of {len(frames)} frames")
            reply = decode_reply(frames[0])
            if isinstance(reply, Refusal):
                raise WireError(f"{self.endpoint} refused: {reply.reason}")
            if reply.number == self._number:
                return reply
        raise Deadline(f"{self.endpoint}: no answer within {self.timeout_s:g} s: {HINT}")

    def _connected(self) -> "zmq.Socket[Any]":
        made: zmq.Socket[Any] = self._context.socket(zmq.DEALER)
        made.set(zmq.IMMEDIATE, 1)  # nothing is queued for a process that is not there
        made.set(zmq.MAXMSGSIZE, MAX_BYTES)
        made.set(zmq.RECONNECT_IVL_MAX, 1000)
        try:
            made.connect(self.endpoint)
        except zmq.ZMQError as error:
            made.close(linger=0)
            raise InputError(f"{self.endpoint}: {error}") from None
        return made


def _left_ms(until_s: float) -> int:
    return max(round((until_s - time.monotonic()) * 1000), 0)
