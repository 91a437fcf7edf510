"""What connects the processes of a testbed on this machine."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from adaptoff import schedule
from adaptoff.commands import keys
from adaptoff.errors import InputError, NetworkError
from adaptoff.scenario import Scenario
from adaptoff.testbed.netorders import LEAST_BPS, MOST_BPS
from adaptoff.testbed.network import SERVER, Impairment, Network, emulator_of
from adaptoff.testbed.probe import Abilities, probe
from adaptoff.testbed.shaping import steps

Kind = Literal["auto", "netns", "pace", "none"]
KINDS: tuple[Kind, ...] = ("auto", "netns", "pace", "none")
HOW = {"netem": ", delayed by netem", "relay": ", delayed by relays in user space"}
"""by a network's emulator of delay, jitter and loss"""


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
    left_out = ""
    """what the scenario has of its links and these do not"""

    def __init__(self, *, paced: bool, impaired: Sequence[str] = ()) -> None:
        """``impaired`` are links with round trips, jitter or loss."""
        links = "paced links" if paced else "links as they are"
        self.said = f"zmq over loopback, {links} and paced clocks"
        if impaired:
            names = ", ".join(impaired)
            self.left_out = f"round trips, jitter and loss of {names} are not emulated"
            self.said += f"; {self.left_out}"
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
        shaped = "links shaped by tc (TBF)" + HOW.get(network.emulator or "", "")
        self.said = f"zmq with CURVE over namespaces, {shaped}, paced clocks"
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


def choose(kind: Kind, scenario: Scenario | None = None) -> tuple[Kind, str]:
    """What ``auto`` comes to here, and why; raises InputError for what this machine has not.

    The scenario says whether its links need more than rates.
    """
    if kind not in {"auto", "netns"}:
        return kind, "as asked"
    why_not = missing(probe(), impaired(scenario) if scenario else ())
    if why_not and kind == "netns":
        raise _refusal(why_not)
    return ("pace", why_not) if why_not else ("netns", "namespaces and tbf work here")


def missing(able: Abilities, impaired: Sequence[str] = ()) -> str:
    """Why there can be no shaped namespaces with these impaired links; empty if there can."""
    if not (able.root_namespaces or able.rootless_namespaces):
        reasons = (able.root_namespaces.why_not, able.rootless_namespaces.why_not)
        return "; ".join(dict.fromkeys(reasons))
    if not impaired or not able.tbf:
        return able.tbf.why_not
    try:
        emulator_of(able)
    except NetworkError as error:
        return f"{', '.join(impaired)}: {error}"
    return ""


def impaired(scenario: Scenario) -> list[str]:
    """Links of devices that have round trips, jitter or loss, as the scenario names them."""
    named = {group.link: scenario.links[group.link] for group in scenario.devices}
    return [f"links.{n}" for n, link in named.items() if link.rtt_ms or link.jitter_ms or link.loss]


def _refusal(why_not: str) -> InputError:
    return InputError(f"--net netns: {why_not}; allowed here: pace, none")


def _impairments(scenario: Scenario, dilation: float) -> list[Impairment]:
    """Of each device's link, in wall seconds."""
    links = [scenario.links[group.link] for group in scenario.each_device()]
    return [
        Impairment(link.rtt_ms / 1e3 * dilation, link.jitter_ms / 1e3 * dilation, link.loss)
        for link in links
    ]


def _too_far(scenario: Scenario, dilation: float) -> str:
    """Why the rates by round cannot be had; empty if they can. Outages of traces are rounded up."""
    for group in scenario.devices:
        for step in scenario.links[group.link].steps:
            for mbps in (step.up_mbps, step.down_mbps):
                if not LEAST_BPS <= mbps * 1e6 / dilation <= MOST_BPS:
                    return f"link {group.link}: {mbps:g} Mbit/s, slowed down {dilation:g} times"
    return ""


@contextmanager
def strung(scenario: Scenario, kind: Kind, dilation: float) -> Iterator[Wires]:
    """Wires of this kind for the scenario's devices, at the rates of round 0.

    Raises InputError where namespaces cannot delay or lose what the scenario wants them to.
    """
    if kind != "netns":
        yield Wires(paced=kind == "pace", impaired=impaired(scenario))
        return
    why_not = missing(probe(), impaired(scenario)) or _too_far(scenario, dilation)
    if why_not:
        raise _refusal(why_not)
    slowed = [steps(s, 0, 0.0, dilation)[0][1:] for s in schedule.of_devices(scenario)]
    delayed = _impairments(scenario, dilation)
    with (
        tempfile.TemporaryDirectory(prefix="adaptoff-") as made,
        Network(slowed, delayed) as network,
    ):
        yield Namespaces(network, Path(made), len(slowed))
