"""The processes that stand in for netem, as the broker has them: one for each link.

They share the broker's process namespace, and so end with it however it ends.
"""

import subprocess
import sys
from typing import IO, cast

from adaptoff.errors import NetworkError
from adaptoff.testbed import relay
from adaptoff.testbed.netorders import Impairment


class Relays:
    """Started one by one in the namespace of this process."""

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, device: int, near: str, far: str, impairment: Impairment) -> None:
        """Between two interfaces; ``wait`` tells when it works."""
        each_way = (impairment.rtt_s / 2, impairment.jitter_s / 2, impairment.loss)
        words = [near, far, *(str(figure) for figure in each_way)]
        self._running[device] = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", relay.__file__, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )

    def wait(self) -> None:
        """Until all relay; raises NetworkError if one does not."""
        for device, output in self.outputs().items():
            if not output.readline():
                raise ended(device)

    def outputs(self) -> dict[int, IO[bytes]]:
        """By device, what can be read from once its relay has ended."""
        return {device: _stdout(process) for device, process in self._running.items()}

    def close(self) -> None:
        """End them."""
        for process in self._running.values():
            process.kill()
            process.wait()
            _stdout(process).close()


def ended(device: int) -> NetworkError:
    """What to raise of it."""
    return NetworkError(f"device {device}: the relay of its link ended")


def _stdout(process: subprocess.Popen[bytes]) -> IO[bytes]:
    return cast(IO[bytes], process.stdout)
