"""A real testbed on this machine against what the cost model says of the same rounds.

``python benchmarks/live_against_emulated.py [--repeats 1] [--json]`` starts a server and three
devices as processes, over real sockets with paced links and clocks, and runs rounds at several cuts
and operating points while rates stay as they are. ``cost.joint`` predicts them from the
scenario alone, with the profile that the server measured when it started. An error is predicted
over measured, less 1. Rounds in which this host was overloaded are counted, and left out.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptoff import config, cost, schedule
from adaptoff import fleet as fleets
from adaptoff.commands.children import Children
from adaptoff.cost import Columns
from adaptoff.fleet import Rows
from adaptoff.messages import RoundReport, Welcome
from adaptoff.scenario import Scenario
from adaptoff.testbed.cpu import choose_dilation, free_cores
from adaptoff.testbed.live import LiveFleet

SCENARIO = """
name = "steady"

[workload]
batch_size = 50
batches = 4

[server]
speed = 0.3

[boards.quick]
speed = 0.16
opps = [
  { mhz = 600, relative_speed = 0.5, dynamic_w = 1.0 },
  { mhz = 1500, relative_speed = 1.0, dynamic_w = 4.0 },
]

[boards.slow]
speed = 0.06
opps = [
  { mhz = 700, relative_speed = 0.7, dynamic_w = 0.7 },
  { mhz = 1000, relative_speed = 1.0, dynamic_w = 1.2 },
]

[links.wide]
steps = [{ up_mbps = 120, down_mbps = 120 }]

[links.narrow]
steps = [{ up_mbps = 25, down_mbps = 50 }]

[[devices]]
board = "quick"
link = "wide"

[[devices]]
board = "quick"
link = "narrow"

[[devices]]
board = "slow"
link = "wide"
"""

PLANS = [
    [(7, 1), (7, 1), (7, 1)],  # native: nobody but the devices
    [(7, 0), (7, 1), (7, 0)],
    [(2, 1), (7, 1), (7, 1)],  # one at the server, alone
    [(2, 1), (4, 1), (2, 1)],
    [(2, 0), (4, 0), (4, 0)],
    [(1, 1), (6, 1), (2, 1)],  # the widest and the narrowest cut
    [(5, 1), (5, 1), (5, 1)],
    [(4, 1), (6, 0), (4, 1)],
    [(2, 1), (2, 1), (2, 1)],  # all at the server
]
"""(cut, OPP) of each device, a round a line"""
PARTS = ("device_s", "uplink_s", "server_s", "downlink_s", "sync_s")
CALM = 2.0
"""times slower than real, at least: a sleep ends a fraction of a millisecond late"""
LEAST_SHARE = 0.01
"""of a device's round: a smaller part says nothing by its own error"""


@dataclass(frozen=True)
class Compared:
    """A round that was run and predicted; errors by part, one for each device that has it."""

    overloaded: bool
    predicted_s: float
    measured_s: float
    errors: dict[str, list[float]]


def run(scenario: Scenario, path: Path) -> Iterator[Compared]:
    """Start the testbed, run all plans and compare; raises RunError if a process dies."""
    speeds = [scenario.boards[group.board].speed for group in scenario.each_device()]
    fits = choose_dilation(sum(speeds), scenario.server.speed, free_cores())
    with Children() as children:
        command = ["serve", "--scenario", str(path), "--dilation", f"{max(fits, CALM):.3f}"]
        endpoint = children.start_server(command)
        for number in range(len(speeds)):
            children.start(f"device {number}", ["device", endpoint, str(number)])
        live = LiveFleet(endpoint, children.check)
        try:
            live.reset(1)
            for plan in PLANS:
                cut, opp = np.array(plan).T[:, None]
                live.apply_each(Rows(cut, opp))
                yield compare(live.welcome, live.report, Rows(cut, opp))
        finally:
            live.close()


def predict(welcome: Welcome, rows: Rows) -> Columns:
    """Columns (1, devices) of a round under the rates and speeds that the scenario names."""
    scenario = welcome.scenario
    boards = [scenario.boards[group.board] for group in scenario.each_device()]
    fleet = fleets.build(welcome.profile, scenario, boards, [1] * len(boards))
    at = schedule.nominal(scenario, schedule.of_devices(scenario), round_=0)
    return cost.joint(fleet, at, rows)


def compare(welcome: Welcome, report: RoundReport, rows: Rows) -> Compared:
    """The report's round against its prediction."""
    columns = predict(welcome, rows)
    errors: dict[str, list[float]] = {part: [] for part in (*PARTS, "total_s")}
    for seen in report.telemetry:
        for part, found in errors.items():
            predicted_s = float(getattr(columns, part)[0, seen.device])
            if predicted_s > LEAST_SHARE * columns.total_s[0, seen.device]:
                found.append(predicted_s / getattr(seen, part) - 1)
    return Compared(not report.valid, float(columns.total_s.max()), report.round_s, errors)


def summarise(rounds: list[Compared]) -> dict[str, Any]:
    """Median and worst error of the round and of each part."""
    valid = [each for each in rounds if not each.overloaded]
    errors = {"round_s": [each.predicted_s / each.measured_s - 1 for each in valid]}
    for name in ("total_s", *PARTS):
        errors[name] = [error for each in valid for error in each.errors[name]]
    return {
        "overloaded_rounds": len(rounds) - len(valid),
        "predicted_s": [each.predicted_s for each in rounds],
        "measured_s": [each.measured_s for each in rounds],
        "errors": {name: _spread(found) for name, found in errors.items() if found},
    }


def _spread(errors: list[float]) -> dict[str, float]:
    sizes = [abs(error) for error in errors]
    return {
        "n": len(errors),
        "median": statistics.median(sizes),
        "worst": max(sizes),
        "mean": statistics.fmean(errors),
    }


def show(result: dict[str, Any]) -> None:
    """Print one repeat."""
    n_rounds = len(result["measured_s"])
    print(f"{n_rounds} rounds, {result['overloaded_rounds']} of them overloaded and left out")
    for name, spread in result["errors"].items():
        print(
            f"  {name:10s} n {spread['n']:3d}   median {spread['median']:6.1%}"
            f"   worst {spread['worst']:6.1%}   mean {spread['mean']:+6.1%}"
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steady.toml"
        path.write_text(SCENARIO, encoding="utf-8")
        for _ in range(options.repeats):
            results.append(summarise(list(run(config.load(str(path)), path))))
            if not options.json:
                show(results[-1])
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
