"""A kernel-shaped network on one machine: a server, devices, a cable of its own rate to each.

Every node is a network namespace without a name. A small broker process owns them all: as root in
the host's user namespace, as another user in one of its own. This process stays where it is and
starts programs inside with ``command``. Nothing of the host's network is touched.

Where links are impaired, netem delays and loses packets, or else a process for each such link does.

However this process ends, the broker sees it, cleans up and ends too. A namespace in which a
program still runs lasts as long as that program.
"""

import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import msgspec

from adaptoff.errors import NetworkError
from adaptoff.testbed import namespaces, netorders
from adaptoff.testbed.netcontrol import Control
from adaptoff.testbed.netorders import (
    LINE_BYTES,
    SERVER,
    Emulator,
    Impairment,
    Plan,
    Rates,
    Ready,
)
from adaptoff.testbed.probe import Abilities, probe

START_S = 30.0
LEAVE_S = 5.0
COMPLAINT_BYTES = 4096
UNSHARE = ("--pid", "--fork", "--kill-child")

__all__ = ["SERVER", "Control", "Impairment", "Network"]


class Network(Control):
    """A network of ``len(rates_bps)`` devices: (up, down) of each in payload bits per second.

    ``impairments`` has the delay and loss of each, or is empty; what emulates them is what
    ``emulator`` says, or else ``able`` chooses. With ``rootless``, the default for all but root,
    programs inside see themselves as root of a user namespace. ``control`` is the path by which
    other processes of this user can reach it, see ``Control``. Raises NetworkError where this
    machine or user cannot have one.
    """

    emulator: Emulator | None
    """of delay and loss, if a link has any"""

    def __init__(
        self,
        rates_bps: Sequence[tuple[float, float]],
        impairments: Sequence[Impairment] = (),
        *,
        rootless: bool | None = None,
        emulator: Emulator | None = None,
    ) -> None:
        plan = _plan(rates_bps, impairments, emulator)
        self.emulator = plan.emulator
        self._rootless = os.geteuid() != 0 if rootless is None else rootless
        self._process = _Process("-Urn" if self._rootless else "-n")
        try:
            self._ready = self._process.begin(plan)
            self.control = self._ready.control
            super().__init__(self.control)
        except BaseException:
            self._process.end()
            raise

    def address(self, node: int) -> str:
        """IPv4 address of SERVER or of a device by its number."""
        return netorders.address(node)

    def command(self, node: int) -> list[str]:
        """What to put before a command line to run it inside SERVER or a device; needs nsenter."""
        broker = f"/proc/{self._ready.pid}"
        user = [f"--user={broker}/ns/user", "--preserve-credentials"] if self._rootless else []
        fd = self._ready.namespaces[node - SERVER]
        return ["nsenter", *user, f"--net={broker}/fd/{fd}", "--"]

    def check(self) -> None:
        """Raise NetworkError if the broker ended, and the rates are no longer looked after."""
        self._process.check()

    def close(self) -> None:
        """End the network; programs that still run inside keep their namespace until they end."""
        super().close()
        self._process.end()
        shutil.rmtree(Path(self.control).parent, ignore_errors=True)  # if the broker was killed


def emulator_of(able: Abilities) -> Emulator:
    """What can delay and lose packets here; raises NetworkError if nothing can."""
    if able.netem:
        return "netem"
    if able.relay:
        return "relay"
    missing = f"netem: {able.netem.why_not}; relay: {able.relay.why_not}"
    raise NetworkError(f"delay, jitter and loss cannot be emulated here: {missing}")


def _plan(
    rates_bps: Sequence[tuple[float, float]],
    impairments: Sequence[Impairment],
    emulator: Emulator | None,
) -> Plan:
    if impairments and len(impairments) != len(rates_bps):
        raise NetworkError(f"{len(impairments)} impairments for {len(rates_bps)} devices")
    rates = [Rates(*pair) for pair in rates_bps]
    each = list(impairments) or [Impairment()] * len(rates)
    if not any(each):
        return Plan(namespaces.own(), rates, each, None)
    return Plan(namespaces.own(), rates, each, emulator or emulator_of(probe()))


class _Process:
    """The broker, as its parent sees it."""

    def __init__(self, flags: str) -> None:
        broker = [sys.executable, "-m", "adaptoff.testbed.broker"]
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        try:
            self._popen = subprocess.Popen(  # noqa: S603
                ["unshare", flags, *UNSHARE, "--", *broker],  # noqa: S607
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                start_new_session=True,
            )
        except OSError as error:
            self._complaints.close()
            raise NetworkError(f"no network namespaces: {error}") from None
        self._stdin = cast(IO[bytes], self._popen.stdin)
        self._stdout = cast(IO[bytes], self._popen.stdout)

    def begin(self, plan: Plan) -> Ready:
        """Hand the plan over and wait for the network to stand."""
        with suppress(BrokenPipeError):  # it says why by itself
            self._stdin.write(msgspec.json.encode(plan) + b"\n")
        if not select.select([self._stdout], [], [], START_S)[0]:
            raise NetworkError(f"the network did not stand within {START_S:.0f} s")
        try:
            return msgspec.json.decode(self._stdout.readline(LINE_BYTES), type=Ready)
        except msgspec.DecodeError:
            raise NetworkError(f"the network cannot be made: {self._complaint()}") from None

    def check(self) -> None:
        """Raise NetworkError if it ended."""
        if self._popen.poll() is not None:
            raise NetworkError(f"the network's broker ended: {self._complaint()}")

    def end(self) -> None:
        """By the end of its standard input, or by force if that does not do."""
        self._stdin.close()
        try:
            self._popen.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._stdout.close()
        self._complaints.close()

    def _complaint(self) -> str:
        """The last line on its standard error."""
        self._complaints.seek(max(self._complaints.seek(0, os.SEEK_END) - COMPLAINT_BYTES, 0))
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
