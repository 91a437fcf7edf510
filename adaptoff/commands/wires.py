"""What connects the processes of a testbed on this machine."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from adaptoff import schedule
from adaptoff.commands import keys
from adaptoff.errors import InputError
from adaptoff.scenario import Scenario
from adaptoff.testbed.network import SERVER, Network
from adaptoff.testbed.probe import Abilities, probe

Kind = Literal["auto", "netns", "pace", "none"]
KINDS: tuple[Kind, ...] = ("auto", "netns", "pace", "none")


class Wires:
    """Plain sockets of this machine; the ends hold back what they send if ``paced``."""

    said: str
    """what shapes the links"""
    server: Sequence[str]
    """arguments of ``adaptoff serve``"""
    client: Sequence[str] = ()
    """further arguments of ``adaptoff device``"""
    keys: Path | None = None
    """of the driver"""

    def __init__(self, *, paced: bool) -> None:
        links = "paced links" if paced else "links as they are"
        self.said = f"zmq over loopback, {links} and paced clocks"
        self.server = () if paced else ("--no-pace",)

    def prefix(self, node: int) -> Sequence[str]:  # noqa: ARG002
        """What to put before a device's command line, or the SERVER's."""
        return ()

    def driver(self, endpoint: str) -> str:
        """Where the driver finds the server, whose first ``endpoint`` is known."""
        return endpoint

    def check(self) -> None:
        """Raise NetworkError if they are gone."""


class Namespaces(Wires):
    """A namespace for each, links shaped by tc, CURVE with keys of this run."""

    def __init__(self, network: Network, directory: Path, count: int) -> None:
        self._network, self._ipc = network, f"ipc://{directory}/driver"
        self.keys = directory / "keys"
        keys.new(["server", "driver", *(f"device-{i}" for i in range(count))], self.keys)
        self.said = "zmq with CURVE over namespaces, links shaped by tc (TBF), paced clocks"
        self.client = ("--keys", str(self.keys))
        binds = ("--bind", f"tcp://{network.address(SERVER)}:*", "--bind", self._ipc)
        self.server = (*binds, "--network", network.control, *self.client)

    def prefix(self, node: int) -> Sequence[str]:
        """Into the node's namespace."""
        return self._network.command(node)

    def driver(self, endpoint: str) -> str:  # noqa: ARG002
        """Past the namespaces, by a file."""
        return self._ipc

    def check(self) -> None:
        """The broker must live."""
        self._network.check()


def choose(kind: Kind) -> tuple[Kind, str]:
    """What ``auto`` comes to here, and why; raises InputError for what this machine has not."""
    if kind not in {"auto", "netns"}:
        return kind, "as asked"
    missing = _missing(probe())
    if missing and kind == "netns":
        raise InputError(f"--net netns: {missing}; allowed here: pace, none")
    return ("pace", missing) if missing else ("netns", "namespaces and tbf work here")


def _missing(able: Abilities) -> str:
    """Why there can be no shaped namespaces; empty if there can."""
    if able.root_namespaces or able.rootless_namespaces:
        return able.tbf.why_not
    return f"{able.root_namespaces.why_not}; {able.rootless_namespaces.why_not}"


@contextmanager
def strung(scenario: Scenario, kind: Kind, dilation: float) -> Iterator[Wires]:
    """Wires of this kind for the scenario's devices, at the rates of round 0."""
    if kind != "netns":
        yield Wires(paced=kind == "pace")
        return
    rates = [s.rates_bps(0) for s in schedule.of_devices(scenario)]
    slowed = [(up / dilation, down / dilation) for up, down in rates]
    with tempfile.TemporaryDirectory(prefix="adaptoff-") as made, Network(slowed) as network:
        yield Namespaces(network, Path(made), len(slowed))
