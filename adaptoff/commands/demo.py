"""``adaptoff demo``: the whole loop on one machine, over real sockets.

Native federated learning and the controller meet the same links, samples and first weights; what is
printed comes from the devices' telemetry and the server's clock.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from adaptoff.agents.report import render
from adaptoff.agents.results import methods
from adaptoff.commands import summary
from adaptoff.commands.bed import Bed, Source, laid
from adaptoff.commands.hindsight import constant_rows, keep
from adaptoff.commands.output import directory, write
from adaptoff.commands.wires import Kind
from adaptoff.policy import Policy
from adaptoff.scenario import Scenario
from adaptoff.testbed.live import LiveFleet

Step = Callable[[LiveFleet], object]


def run(
    scenario: Scenario, source: Source, policy: Policy, out: Path, seed: int, thorough: bool,
    net: Kind, console: Console,
) -> dict[str, Any]:  # fmt: skip
    """Run it all; returns what ``--json`` prints. Raises RunError if a process dies."""
    directory(out)
    with laid(scenario, source, console, net) as bed:
        result = _methods(bed, seed, thorough)
    result["provenance"] = summary.provenance(bed, policy, seed=seed)
    return _finish(result, out, console)


def _methods(bed: Bed, seed: int, thorough: bool) -> dict[str, Any]:
    scenario, profile = bed.scenario, bed.live.welcome.profile
    steps: dict[str, Step] = {
        "native": lambda live: live.apply(live.fleet.native()),
        "adaptive": LiveFleet.apply_local,
    }
    if thorough:
        steps["constant"] = keep(constant_rows(scenario, profile, each=False))
        steps["constant_each"] = keep(constant_rows(scenario, profile, each=True))
    runs = {name: _method(bed, seed, name, step) for name, step in steps.items()}
    return {
        **summary.of_bed(bed),
        **runs,
        "reduction": summary.reduction(runs["native"], runs["adaptive"]),
        "decisions": summary.decisions(runs["adaptive"]),
    }


def _method(bed: Bed, seed: int, name: str, step: Step) -> dict[str, Any]:
    """All rounds of one method from the same start; the warm-up is not counted."""
    live = bed.live
    reports = bed.watch(name, lambda: live.reset(seed, restart=True), lambda: step(live))
    return summary.of_method(live, reports)


def _finish(result: dict[str, Any], out: Path, console: Console) -> dict[str, Any]:
    result = write(result, render(result), out)
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
