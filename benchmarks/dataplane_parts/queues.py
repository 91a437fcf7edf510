"""ZeroMQ's own sockets, and the project's link that is built on them."""

from pathlib import Path

import numpy as np
import zmq

from adaptoff.messages import Activations
from adaptoff.testbed.keys import load_client, load_server
from adaptoff.testbed.link import SERVER, Link
from dataplane_parts.end import Array, Role, answer_with

DEVICE = "device-0"
QUEUED = 8
"""messages that ZeroMQ holds at each end"""
PATIENCE_S = 120.0
BATCH = Activations(round=0, batch=0)


class Bare:
    """DEALER to DEALER, a frame a message, copied only where ZeroMQ must; CURVE with ``keys``."""

    def __init__(self, role: Role, where: str, keys: Path | None = None) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set_hwm(QUEUED)
        if role == "send":
            if keys:
                load_client(keys, DEVICE).secure(self._socket)
            self._socket.connect(where)
            return
        if keys:
            self._socket.set(zmq.CURVE_SERVER, 1)
            self._socket.set(zmq.CURVE_SECRETKEY, load_server(keys).secret)
        self._socket.bind(f"tcp://{where}:*")
        answer_with(self._socket.get_string(zmq.LAST_ENDPOINT))

    def send(self, array: Array) -> None:
        """A frame."""
        self._socket.send(memoryview(array).cast("B"), copy=False)

    def recv(self, nbytes: int) -> Array:  # noqa: ARG002 - a frame knows it
        """The next frame, in place."""
        return np.frombuffer(self._socket.recv(copy=False).buffer, np.uint8)

    def close(self) -> None:
        """What is queued is dropped."""
        self._context.destroy(0)


class Linked:
    """``adaptoff.testbed.link``: the receiver is the server, the sender a device."""

    def __init__(self, role: Role, where: str, keys: Path | None = None) -> None:
        self._peer = SERVER
        if role == "send":
            self._link = Link.connect(where, keys=load_client(keys, DEVICE) if keys else None)
            return
        self._link = Link.bind(f"tcp://{where}:*", keys=load_server(keys) if keys else None)
        answer_with(self._link.endpoint)

    def send(self, array: Array) -> None:
        """A batch of activations."""
        self._link.send(BATCH, [array], to=self._peer, timeout_s=PATIENCE_S)

    def recv(self, nbytes: int) -> Array:  # noqa: ARG002 - a message knows it
        """The next batch; answers go to whom it came from."""
        got = self._link.recv(PATIENCE_S)
        self._peer = got.peer
        return got.arrays[0]

    def close(self) -> None:
        """Tell the other end."""
        self._link.close()
