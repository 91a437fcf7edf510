"""How long packets take there and back, and which are lost: numbered datagrams that are echoed.

Its ends are ``python -m adaptoff.testbed.netecho reflect`` and ``send ADDRESS COUNT SPACING_S``.
"""

import select
import socket
import subprocess
import sys
import time
from typing import IO, NamedTuple, cast

import msgspec

from adaptoff.testbed.network import Network

PORT = 5002
NUMBER_BYTES = 4
PATIENCE_S = 60.0
LINGER_S = 1.0
"""after the last datagram, for echoes that are still under way"""


class Echo(NamedTuple):
    """Datagram ``number`` came back ``rtt_s`` after it was sent."""

    number: int
    rtt_s: float


def measure(
    network: Network, sender: int, reflector: int, count: int, spacing_s: float
) -> list[Echo]:
    """Echoes in the order of their arrival; whose number is missing was lost on either way."""
    end = [sys.executable, "-m", "adaptoff.testbed.netecho"]
    reflect = [*network.command(reflector), *end, "reflect"]
    send = [*network.command(sender), *end, "send", network.address(reflector)]
    with subprocess.Popen(reflect, stdout=subprocess.PIPE) as reflecting:  # noqa: S603
        try:
            cast(IO[bytes], reflecting.stdout).readline()  # it listens
            done = subprocess.run(  # noqa: S603
                [*send, str(count), str(spacing_s)], capture_output=True, timeout=PATIENCE_S,
                check=True,
            )  # fmt: skip
        finally:
            reflecting.kill()
    return msgspec.json.decode(done.stdout, type=list[Echo])


def reflect() -> None:
    """A line when it listens; then send everything back until killed."""
    with socket.socket(type=socket.SOCK_DGRAM) as reflecting:
        reflecting.bind(("", PORT))
        print(flush=True)  # noqa: T201
        while True:
            datagram, sender = reflecting.recvfrom(NUMBER_BYTES)
            reflecting.sendto(datagram, sender)


def send(address: str, count: int, spacing_s: float) -> list[Echo]:
    """One datagram each ``spacing_s``, whether or not those before it are back."""
    sent_s: list[float] = []
    echoes: list[Echo] = []
    with socket.socket(type=socket.SOCK_DGRAM) as sending:
        sending.connect((address, PORT))
        start_s = time.monotonic()
        end_s = start_s + count * spacing_s + LINGER_S
        while len(echoes) < count and (now_s := time.monotonic()) < end_s:
            if len(sent_s) < count and now_s >= start_s + len(sent_s) * spacing_s:
                sent_s.append(now_s)
                sending.send((len(sent_s) - 1).to_bytes(NUMBER_BYTES, "big"))
            next_s = start_s + len(sent_s) * spacing_s if len(sent_s) < count else end_s
            if select.select([sending], [], [], max(next_s - time.monotonic(), 0))[0]:
                number = int.from_bytes(sending.recv(NUMBER_BYTES), "big")
                echoes.append(Echo(number, time.monotonic() - sent_s[number]))
    return echoes


if __name__ == "__main__":
    if sys.argv[1] == "reflect":
        reflect()
    else:
        sys.stdout.buffer.write(
            msgspec.json.encode(send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
        )
