"""A real testbed on this machine against what the cost model says of the same rounds.

``python benchmarks/live_against_emulated.py [--repeats 1] [--json]`` starts a server and three
devices as processes, over real sockets with paced links and clocks, and runs rounds at several cuts
and operating points while rates stay as they are. ``cost.joint`` predicts them from the
scenario alone, with the profile that the server measured when it started. An error is predicted
over measured, less 1. Rounds in which this host was overloaded are counted, and left out.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from adaptoff import agreement, config, cost, schedule
from adaptoff import fleet as fleets
from adaptoff.commands.children import Children
from adaptoff.fleet import Rows
from adaptoff.messages import RoundReport
from adaptoff.profile import Profile
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
CALM = 2.0
"""times slower than real, at least: a sleep ends a fraction of a millisecond late"""


def run(scenario: Scenario, path: Path) -> tuple[Profile, list[RoundReport]]:
    """Start the testbed and run all plans; raises RunError if a process dies."""
    speeds = [scenario.boards[group.board].speed for group in scenario.each_device()]
    fits = choose_dilation(sum(speeds), scenario.server.speed, free_cores())
    with Children() as children:
        command = ["serve", "--scenario", str(path), "--dilation", f"{max(fits, CALM):.3f}"]
        endpoint = children.start_server(command)
        for number in range(len(speeds)):
            children.start(f"device {number}", ["device", endpoint, str(number)])
        live = LiveFleet(endpoint, children.check)
        reports = []
        try:
            live.reset(1)
            for plan in PLANS:
                cut, opp = np.array(plan).T[:, None]
                live.apply_each(Rows(cut, opp))
                reports.append(live.report)
            return live.welcome.profile, reports
        finally:
            live.close()


def summarise(scenario: Scenario, profile: Profile, reports: list[RoundReport]) -> dict[str, Any]:
    """Errors of rounds, and of devices' parts of them, where this host kept the pace."""
    fleet = fleets.of_devices(profile, scenario)
    at = schedule.nominal(scenario, schedule.of_devices(scenario), round_=0)
    plans = [Rows(*np.array(plan).T[:, None]) for plan in PLANS]
    predicted_s = np.array([cost.joint(fleet, at, rows).total_s.max() for rows in plans])
    measured_s = np.array([report.round_s for report in reports])
    valid = [report.valid for report in reports]
    compared = agreement.compared(scenario, profile, reports)
    rounds = agreement.spread((predicted_s / measured_s - 1)[valid])
    return {
        "overloaded_rounds": compared["left_out"],
        "predicted_s": predicted_s.tolist(),
        "measured_s": measured_s.tolist(),
        "errors": {"round_s": rounds} | compared["errors"],
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
            scenario = config.load(str(path))
            results.append(summarise(scenario, *run(scenario, path)))
            if not options.json:
                show(results[-1])
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
