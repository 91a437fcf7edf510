"""What a cable really carries: a TCP transfer from one node to another, timed where it arrives.

Its ends are ``python -m adaptoff.testbed.netmeter receive`` and ``... send ADDRESS BYTES``.
"""

import socket
import subprocess
import sys
import time
from typing import IO, NamedTuple, cast

import msgspec

from adaptoff.closing import Closing
from adaptoff.testbed.network import Network

PORT = 5001
CHUNK_BYTES = 1 << 16
PATIENCE_S = 60.0


class Arrival(NamedTuple):
    """``total_bytes`` were there at the CLOCK_MONOTONIC moment ``at_s``."""

    at_s: float
    total_bytes: int


def goodput_bps(arrivals: list[Arrival]) -> float:
    """Payload bits per second by dispersion: all but the first arrival, over the time since it."""
    first, last = arrivals[0], arrivals[-1]
    return 8 * (last.total_bytes - first.total_bytes) / (last.at_s - first.at_s)


class Transfer(Closing):
    """``nbytes`` on their way between two nodes of a network, until its block ends."""

    def __init__(self, network: Network, sender: int, receiver: int, nbytes: int) -> None:
        end = [sys.executable, "-m", "adaptoff.testbed.netmeter"]
        self._receiver = subprocess.Popen(  # noqa: S603
            [*network.command(receiver), *end, "receive"], stdout=subprocess.PIPE
        )
        self._stdout = cast(IO[bytes], self._receiver.stdout)
        self._stdout.readline()  # it listens
        send = ["send", network.address(receiver), str(nbytes)]
        self._sender = subprocess.Popen([*network.command(sender), *end, *send])  # noqa: S603

    def wait_for_first(self) -> None:
        """Until the first bytes are there."""
        self._stdout.readline()

    def finish(self) -> list[Arrival]:
        """Wait until all has arrived; raises DecodeError of msgspec if the connection broke."""
        arrivals = msgspec.json.decode(self._stdout.read().strip(), type=list[Arrival])
        self._sender.wait(PATIENCE_S)
        return arrivals

    def close(self) -> None:
        """Both ends end, whatever has arrived."""
        for end in (self._sender, self._receiver):
            end.kill()
            end.wait()
        self._stdout.close()


def measure(network: Network, sender: int, receiver: int, nbytes: int) -> list[Arrival]:
    """One transfer, to its end."""
    with Transfer(network, sender, receiver, nbytes) as transfer:
        return transfer.finish()


def receive() -> None:
    """Take one connection: a line when it listens, one at the first bytes, then all arrivals."""
    with socket.create_server(("", PORT)) as server:
        print(flush=True)  # noqa: T201
        connection, _ = server.accept()
    arrivals: list[Arrival] = []
    with connection:
        connection.settimeout(PATIENCE_S)
        while chunk := connection.recv(CHUNK_BYTES):
            if not arrivals:
                print(flush=True)  # noqa: T201
            total = arrivals[-1].total_bytes if arrivals else 0
            arrivals.append(Arrival(time.monotonic(), total + len(chunk)))
    sys.stdout.buffer.write(msgspec.json.encode(arrivals))


def send(address: str, nbytes: int) -> None:
    """Connect and send."""
    with socket.create_connection((address, PORT), PATIENCE_S) as connection:
        connection.sendall(bytes(nbytes))


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive()
    else:
        send(sys.argv[2], int(sys.argv[3]))
