"""A testbed on this machine: a server and its devices as processes, ended with this one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from adaptoff import config
from adaptoff.commands.children import Children
from adaptoff.commands.table import Board
from adaptoff.commands.wires import Kind, Wires, choose, strung
from adaptoff.messages import RoundReport
from adaptoff.scenario import Scenario
from adaptoff.testbed.cpu import choose_dilation, free_cores
from adaptoff.testbed.live import LiveFleet
from adaptoff.testbed.network import SERVER

CROWDED = 2.5
"""times the cores that micro-batches need: their short blocks must find one free at once

Of the demo's rounds on two cores half were overloaded without it, none when twice as slow.
"""
BUSIEST = 0.9
"""share of a core that the fastest process may need"""


@dataclass(frozen=True)
class Source:
    """How the user named things, handed on to the child processes."""

    scenario: str
    overrides: tuple[str, ...]
    policy: str
    dilation: float = 1.0
    """at least"""

    @property
    def arguments(self) -> list[str]:
        """For ``adaptoff serve``."""
        sets = [word for override in self.overrides for word in ("--set", override)]
        return ["--scenario", self.scenario, *sets]


@dataclass(frozen=True)
class Bed:
    """A running testbed."""

    scenario: Scenario
    live: LiveFleet
    dilation: float
    links: str
    """what shapes them"""
    console: Console

    def watch(
        self, name: str, start: Callable[[], object], step: Callable[[], object]
    ) -> list[RoundReport]:
        """``start`` and as many steps as the scenario has rounds, shown; the steps' reports."""
        reports = []
        with Board(self.console, name, self.scenario) as board:
            board.wait("warm-up round")
            start()
            for _ in range(self.scenario.workload.rounds):
                step()
                reports.append(self.live.report)
                board.show(self.live.report)
        return reports


@contextmanager
def laid(
    scenario: Scenario, source: Source, console: Console, net: Kind = "pace", *, each: bool = False
) -> Iterator[Bed]:
    """Start it all; on the way out, however that is, nothing is left.

    With ``each`` every device is a cluster of its own. Raises ProfileError, RunError, LinkError.
    """
    config.profile_of(scenario)  # the server would fail, too, but say so less well
    kind, why = choose(net, scenario)
    dilation = dilation_of(scenario, source.dilation)
    pace = "real time" if dilation == 1 else f"emulated time, {dilation:.2f} times slower than real"
    count = len(scenario.each_device())
    console.print(f"{count} devices and a server as processes of this machine, in {pace}")
    console.print(f"links: {kind} ({why})")
    with strung(scenario, kind, dilation) as wires, Children() as children:
        if wires.left_out:
            console.print(f"links: {wires.left_out}")
        endpoint = populate(children, wires, source, count, dilation, each=each)
        live = _driven(children, wires, endpoint)
        try:
            yield Bed(scenario, live, dilation, wires.said, console)
        finally:
            live.close()


def dilation_of(scenario: Scenario, least: float = 1.0) -> float:
    """How much slower than real time this machine runs the scenario's fleet and server."""
    speeds = [scenario.boards[group.board].speed for group in scenario.each_device()]
    cores = free_cores() / (CROWDED if max(scenario.workload.depths) > 1 else 1.0)
    fits = choose_dilation(sum(speeds), scenario.server.speed, cores)
    return round(max(least, fits, max(*speeds, scenario.server.speed) / BUSIEST), 3)


def populate(
    children: Children, wires: Wires, source: Source, count: int, dilation: float,
    *, each: bool = False, stay: bool = False,
) -> str:  # fmt: skip
    """Start a server and ``count`` devices; returns the endpoint that devices know.

    With ``stay`` the server outlasts its drivers. Raises RunError.
    """
    serve = ["serve", *source.arguments, "--dilation", str(dilation), *wires.server]
    serve += ["--each"] if each else []
    serve += ["--stay"] if stay else []
    endpoint = children.start_server(serve, wires.prefix(SERVER))
    for number in range(count):
        arguments = ["device", endpoint, str(number), "--policy", source.policy, *wires.client]
        children.start(f"device {number}", arguments, wires.prefix(number))
    return endpoint


def _driven(children: Children, wires: Wires, endpoint: str) -> LiveFleet:
    def check() -> None:
        wires.check()
        children.check()

    return LiveFleet(wires.driver(endpoint), check, wires.keys)
