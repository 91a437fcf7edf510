"""The end of the local protocol that answers: one ROUTER socket, one question at a time.

The protocol is in ``adaptoff.local``. What cannot be read is refused; whoever sent it may go on.
"""

import fcntl
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import zmq

from adaptoff import local_place
from adaptoff.closing import Closing
from adaptoff.errors import InputError, RunError, WireError
from adaptoff.local_messages import MAX_BYTES, Answer, Ask, Refusal, decode_ask, encode

log = logging.getLogger(__name__)

QUEUED = 16
"""questions in ZeroMQ's own queue, per loop"""
LINGER_MS = 100
"""for the last answer"""


class LocalSocket(Closing):
    """Bound, and with its file removed when it is closed; a context manager."""

    def __init__(self, endpoint: str) -> None:
        """Raises InputError for an endpoint that others reach, RunError if it is another's."""
        self._path = local_place.socket_path(local_place.check(endpoint))
        self._lock = _claimed(self._path) if self._path else None
        self.refused = 0
        """questions that were"""
        self._context = zmq.Context()
        try:
            self._socket = self._bound(endpoint)
        except BaseException:
            self.close()
            raise
        self.endpoint = self._socket.get_string(zmq.LAST_ENDPOINT)

    def turn(self, answer: Callable[[Ask], Answer], timeout_s: float) -> None:
        """Answer the next question, if one comes in time; a WireError of ``answer`` refuses it."""
        if not self._socket.poll(round(timeout_s * 1000)):
            return
        frames = self._frames()
        reply = self._reply(frames[1:], answer)
        with suppress(zmq.ZMQError):  # it has gone, or does not read
            self._socket.send_multipart([frames[0], encode(reply)], zmq.NOBLOCK)

    def close(self) -> None:
        """Remove the file and let go of the lock; a second call does nothing."""
        self._context.destroy(linger=LINGER_MS)
        if self._path and self._lock is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _reply(self, parts: list[bytes], answer: Callable[[Ask], Answer]) -> Answer | Refusal:
        number = 0
        try:
            if len(parts) != 1:
                raise WireError(f"{len(parts)} frames: a question is one")
            asked = decode_ask(parts[0])
            number = asked.number
            return answer(asked)
        except WireError as error:
            self.refused += 1
            log.warning("a question was refused: %s", error)
            return Refusal(number=number, reason=str(error)[:1000])

    def _frames(self) -> list[bytes]:
        """Of one message the sender and two frames at most; the rest is read and dropped."""
        frames: list[bytes] = []
        more = True
        while more:
            frame = self._socket.recv(zmq.NOBLOCK)
            more = bool(self._socket.get(zmq.RCVMORE))
            if len(frames) < 3:
                frames.append(frame)
        return frames

    def _bound(self, endpoint: str) -> "zmq.Socket[Any]":
        made: zmq.Socket[Any] = self._context.socket(zmq.ROUTER)
        made.set(zmq.MAXMSGSIZE, MAX_BYTES)
        made.set(zmq.RCVHWM, QUEUED)
        made.set(zmq.SNDHWM, QUEUED)
        made.set(zmq.LINGER, LINGER_MS)
        try:
            made.bind(endpoint)
            if self._path:
                _open_to_group(self._path)
        except (zmq.ZMQError, OSError) as error:
            raise InputError(f"{endpoint}: {error.strerror}") from None
        return made


def _open_to_group(path: Path) -> None:
    """To the one of the directory, which says who may come so far."""
    group = path.parent.stat().st_gid
    if path.stat().st_gid != group:
        with suppress(PermissionError):  # not a member: then that group cannot ask
            os.chown(path, -1, group)
    path.chmod(0o660)


def _claimed(path: Path) -> int:
    """A locked file beside the socket, for ZeroMQ would take over the one of a living process.

    Whatever file is at ``path``, ZeroMQ would remove it.
    """
    local_place.make_directory(path.parent)
    if os.path.lexists(path) and not path.is_socket():
        raise InputError(f"{path}: is there already, and is no socket")
    beside = path.with_name(f"{path.name}.lock")
    try:
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(f"{beside}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RunError(f"{path}: another control process answers there") from None
    return handle
