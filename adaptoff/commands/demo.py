"""``adaptoff demo``: the whole loop on one machine, over real sockets.

Native federated learning and the controller meet the same links, samples and first weights; what is
printed comes from the devices' telemetry and the server's clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console

from adaptoff.agents.report import write_report
from adaptoff.agents.results import methods
from adaptoff.commands import summary
from adaptoff.commands.children import Children
from adaptoff.commands.hindsight import constant_rows, keep
from adaptoff.commands.output import directory
from adaptoff.commands.table import Board
from adaptoff.policy import Policy
from adaptoff.scenario import Scenario
from adaptoff.testbed.cpu import choose_dilation, free_cores
from adaptoff.testbed.live import LiveFleet

Step = Callable[[LiveFleet], object]


@dataclass(frozen=True)
class Source:
    """How the user named things, handed on to the child processes."""

    scenario: str
    overrides: tuple[str, ...]
    policy: str

    @property
    def arguments(self) -> list[str]:
        """For ``adaptoff serve``."""
        sets = [word for override in self.overrides for word in ("--set", override)]
        return ["--scenario", self.scenario, *sets]


def run(
    scenario: Scenario, source: Source, policy: Policy, out: Path, seed: int, thorough: bool,
    console: Console,
) -> dict[str, Any]:  # fmt: skip
    """Run it all; returns what ``--json`` prints. Raises RunError if a process dies."""
    directory(out)
    dilation = _dilation(scenario)
    pace = "real time" if dilation == 1 else f"emulated time, {dilation:.2f} times slower than real"
    count = len(scenario.each_device())
    console.print(f"{count} devices and a server as processes of this machine, in {pace}")
    with Children() as children:
        fleet = _start(children, scenario, source, dilation)
        try:
            result = _methods(fleet, scenario, seed, thorough, console)
        finally:
            fleet.close()
    result["provenance"] = summary.provenance(seed, dilation, fleet, policy)
    return _finish(result, out, console)


def _dilation(scenario: Scenario) -> float:
    speeds = [scenario.boards[group.board].speed for group in scenario.each_device()]
    fits = choose_dilation(sum(speeds), scenario.server.speed, free_cores())
    return round(max(fits, max(*speeds, scenario.server.speed) / 0.9), 3)


def _start(children: Children, scenario: Scenario, source: Source, dilation: float) -> LiveFleet:
    endpoint = children.start_server(["serve", *source.arguments, "--dilation", str(dilation)])
    for number in range(len(scenario.each_device())):
        arguments = ["device", endpoint, str(number), "--policy", source.policy]
        children.start(f"device {number}", arguments)
    return LiveFleet(endpoint, children.check)


def _methods(
    fleet: LiveFleet, scenario: Scenario, seed: int, thorough: bool, console: Console
) -> dict[str, Any]:  # fmt: skip
    names: list[tuple[str, Step]] = [
        ("native", lambda live: live.apply(live.fleet.native())),
        ("adaptive", LiveFleet.apply_local),
    ]
    if thorough:
        profile = fleet.welcome.profile
        names.append(("constant", keep(constant_rows(scenario, profile, each=False))))
        names.append(("constant_each", keep(constant_rows(scenario, profile, each=True))))
    runs = {name: _method(fleet, scenario, seed, name, step, console) for name, step in names}
    return {
        "backend": "live: zmq over loopback, paced links and clocks",
        "scenario": scenario.name,
        "devices": [
            {"id": i, "board": group.board, "link": group.link}
            for i, group in enumerate(scenario.each_device())
        ],
        "model": scenario.workload.model,
        "dataset": scenario.workload.dataset,
        **runs,
        "reduction": summary.reduction(runs["native"], runs["adaptive"]),
        "decisions": summary.decisions(runs["adaptive"]),
    }


def _method(
    fleet: LiveFleet, scenario: Scenario, seed: int, name: str, step: Step, console: Console
) -> dict[str, Any]:
    """All rounds of one method from the same start; the warm-up is not counted."""
    reports = []
    with Board(console, name, scenario) as board:
        board.wait("warm-up round")
        fleet.reset(seed, restart=True)
        for _ in range(scenario.workload.rounds):
            step(fleet)
            reports.append(fleet.report)
            board.show(fleet.report)
    return summary.of_method(fleet, reports)


def _finish(result: dict[str, Any], out: Path, console: Console) -> dict[str, Any]:
    result["report"] = str(out / "report.html")
    result["results"] = str(out / "results.json")
    write_report(result, out / "report.html")
    (out / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    _print_summary(result, console)
    return result


def _print_summary(result: dict[str, Any], console: Console) -> None:
    for name, run_ in methods(result).items():
        console.print(
            f"{name:>13}: {np.mean(run_['round_s']):6.2f} s a round, "
            f"{np.mean(run_['energy_j']):6.1f} J ({run_['energy_source']}), "
            f"accuracy {run_['accuracy']:.3f}, {run_['late']} late",
            soft_wrap=True,
        )
        if rounds := run_["overloaded_rounds"]:
            console.print(f"{'':15}this host was overloaded in rounds {rounds}")
    time_, energy = result["reduction"]["round_time"], result["reduction"]["energy"]
    console.print(f"reduction: {time_:.1%} of round time, {energy:.1%} of energy")
    console.print(f"{result['results']}\n{result['report']}", soft_wrap=True)
