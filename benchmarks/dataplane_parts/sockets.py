"""Plain TCP: the limit, and what a training script does when left to itself."""

import pickle  # noqa: TID251 - as FedAdapt does; it reads nothing but this benchmark's own bytes
import socket
import struct

import numpy as np

from dataplane_parts.end import Array, Role, answer_with

PREFIX = struct.Struct(">I")


class Stream:
    """A connected TCP socket; the receiving end listens and says where."""

    def __init__(self, role: Role, where: str) -> None:
        if role == "send":
            host, port = where.split(":")
            self.socket = socket.create_connection((host, int(port)))
            return
        with socket.create_server((where, 0)) as server:
            answer_with(f"{where}:{server.getsockname()[1]}")
            self.socket, _ = server.accept()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


class Raw(Stream):
    """Bytes of known number into a buffer that is there already."""

    def __init__(self, role: Role, where: str) -> None:
        super().__init__(role, where)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = np.zeros(0, np.uint8)

    def send(self, array: Array) -> None:
        """All bytes."""
        self.socket.sendall(memoryview(array).cast("B"))

    def recv(self, nbytes: int) -> Array:
        """The next ``nbytes``; the next call overwrites them."""
        if len(self._buffer) < nbytes:
            self._buffer = np.zeros(nbytes, np.uint8)
        array = self._buffer[:nbytes]
        view = memoryview(array)
        while view:
            view = view[self.socket.recv_into(view) :]
        return array


class Pickled(Stream):
    """A length and a pickle, sent one after the other; Nagle's algorithm stays on."""

    def send(self, array: Array) -> None:
        """As ["MSG", array]."""
        body = pickle.dumps(["MSG", array])
        self.socket.sendall(PREFIX.pack(len(body)))
        self.socket.sendall(body)

    def recv(self, nbytes: int) -> Array:  # noqa: ARG002 - the prefix says it
        """The array of the next message."""
        (length,) = PREFIX.unpack(self.socket.recv(PREFIX.size, socket.MSG_WAITALL))
        return pickle.loads(self.socket.recv(length, socket.MSG_WAITALL))[1]
