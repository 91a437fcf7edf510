"""Rounds with micro-batches in flight, beside one stage after another and beside the cost model.

``python benchmarks/pipeline.py [--mbps 10 50 100] [--depths 2 4 8] [--codecs float32 uint8]
[--cuts 1 2 3 4 5] [--net auto] [--batches 6] [--dilation 1] [--json]``

One device and a server of twice its speed, as processes of this machine, VGG-5 on digits, batches
of 48; both are the faster the faster the link is. Each cut, rate and codec is run at depth 1 and at
each other depth.

``faster`` is sequential over pipelined; goal 1.3 where computing and the link are within a factor
of 2 of each other (balanced). ``over limit`` is pipelined over what no pipeline can be below, the
largest stage and the weights; goal 1.1 where the other stages together are at most a tenth of the
depth times the largest (bound). ``off`` is how far the cost model's seconds are from the measured
ones; goals 5 % one after another, 15 % pipelined. Rounds that this machine was too busy for are
left out.
"""

import argparse
import json
import os
import statistics
import tempfile
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from adaptoff import agreement, config
from adaptoff.commands.bed import Source, laid
from adaptoff.commands.wires import Kind
from adaptoff.fleet import Rows
from adaptoff.messages import RoundReport
from adaptoff.profile import Codec, Profile
from adaptoff.scenario import MAX_DEPTH, Scenario
from adaptoff.ways import Way, Ways

SCENARIO = """
name = "pipeline"
[workload]
batch_size = 48
batches = {batches}
rounds = {rounds}
min_cut = 0
depths = {depths}
codecs = {codecs}
max_accuracy_drop = 1.0
[server]
speed = {server_speed}
[boards.board]
speed = {speed}
opps = [{{ mhz = 1000, relative_speed = 1.0, dynamic_w = 1.0 }}]
[links.link]
steps = [{{ up_mbps = {mbps}, down_mbps = {mbps} }}]
[[devices]]
board = "board"
link = "link"
"""


MBPS_OF_A_CORE = 250.0
"""on such a link computing and sending take about as long"""


@dataclass(frozen=True)
class Measured:
    """A row on a link."""

    mbps: float
    way: Way
    total_s: float
    predicted_s: float
    plain: dict[str, float]
    """seconds of the same at depth 1"""

    @property
    def faster(self) -> float:
        """Than one stage after another."""
        return self.plain["total_s"] / self.total_s

    @property
    def over_limit(self) -> float:
        """Times what it could be at best."""
        return self.total_s / (self.plain["sync_s"] + max(self._stages))

    @property
    def bound(self) -> bool:
        """Whether one stage is so large that a pipeline should hide the others."""
        others_s = sum(self._stages) - max(self._stages)
        return others_s <= 0.1 * self.way.depth * max(self._stages)

    @property
    def balanced(self) -> bool:
        """Whether computing and the link take about as long."""
        device_s, uplink_s, server_s, downlink_s = self._stages
        return 0.5 <= (device_s + server_s) / (uplink_s + downlink_s) <= 2

    @property
    def _stages(self) -> list[float]:
        return [self.plain[name] for name in ("device_s", "uplink_s", "server_s", "downlink_s")]

    @property
    def off(self) -> float:
        """The cost model's error."""
        return self.predicted_s / self.total_s - 1


def measure(options: argparse.Namespace, mbps: float, directory: Path) -> list[Measured]:
    """All rows on one link, those at depth 1 as well."""
    rows = [Way(*row) for row in product(options.cuts, (1, *options.depths), options.codecs)]
    source = written(options, mbps, len(rows), directory)
    scenario = config.load(source.scenario)
    with laid(scenario, source, Console(stderr=True), options.net) as bed:
        profile, live = bed.live.welcome.profile, bed.live
        numbers = {way: number for number, way in enumerate(Ways(profile, scenario.workload).all)}
        live.reset(0)
        todo = iter(rows)
        reports = bed.watch(
            "rows", lambda: None, lambda: live.apply_each(row_of(numbers[next(todo)]))
        )
    return compared(mbps, rows, scenario, profile, reports)


def row_of(number: int) -> Rows:
    """Of the one device, which has one clock."""
    return Rows(np.array([[number]]), np.array([[0]]))


def written(options: argparse.Namespace, mbps: float, n_rows: int, directory: Path) -> Source:
    """The scenario of one link."""
    speed = mbps / MBPS_OF_A_CORE
    path = directory / "pipeline.toml"
    text = SCENARIO.format(
        mbps=mbps, speed=speed, server_speed=2 * speed, batches=options.batches, rounds=n_rows,
        depths=[1, *options.depths], codecs=json.dumps(options.codecs),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")
    return Source(str(path), (), "default", options.dilation)


def compared(
    mbps: float, rows: list[Way], scenario: Scenario, profile: Profile, reports: list[RoundReport]
) -> list[Measured]:
    """Those of rounds that this machine kept pace with."""
    found = {
        way: pair
        for way, report in zip(rows, reports, strict=True)
        for pair in agreement.pairs(scenario, profile, [report])
    }
    return [
        Measured(mbps, way, pair.measured["total_s"], pair.predicted["total_s"], plain.measured)
        for way, pair in found.items()
        if (plain := found.get(Way(way.cut, 1, way.codec)))
    ]


def table(found: list[Measured]) -> Table:
    """Ratios first."""
    made = Table(box=None, pad_edge=False)
    for heading in ("Mbit/s", "cut", "faster", "over limit", "off", "seconds", "one by one", ""):
        made.add_column(heading, justify="right")
    for row in found:
        made.add_row(
            f"{row.mbps:g}", str(row.way), f"{row.faster:.2f}", f"{row.over_limit:.2f}",
            f"{row.off:+.1%}", f"{row.total_s:.2f}", f"{row.plain['total_s']:.2f}",
            "bound" if row.bound else "balanced" if row.balanced else "",
        )  # fmt: skip
    return made


def summary(found: list[Measured]) -> dict[str, Any]:
    """The cost model's errors, and the ratios where there are goals, by depth."""
    plain = [abs(row.off) for row in found if row.way.depth == 1]
    piped = [row for row in found if row.way.depth > 1]
    balanced, bound = [r for r in piped if r.balanced], [r for r in piped if r.bound]
    return {
        "off_sequential": spread(plain),
        "off_pipelined": spread([abs(row.off) for row in piped]),
        "faster_where_balanced": by_depth(balanced, "faster"),
        "over_limit_where_bound": by_depth(bound, "over_limit"),
    }


def by_depth(rows: list[Measured], name: str) -> dict[int, dict[str, float]]:
    """How a ratio spreads at each depth."""
    depths = sorted({row.way.depth for row in rows})
    return {k: spread([getattr(r, name) for r in rows if r.way.depth == k]) for k in depths}


def spread(values: list[float]) -> dict[str, float]:
    """Least, median and most."""
    if not values:
        return {}
    middle = statistics.median(values)
    return {"n": len(values), "least": min(values), "median": middle, "most": max(values)}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mbps", type=float, nargs="+", default=[10.0, 50.0, 100.0])
    depths = range(2, MAX_DEPTH + 1)
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 4, 8], choices=depths)
    parser.add_argument("--codecs", nargs="+", default=["float32"], choices=get_args(Codec))
    cuts = range(config.find_profile("vgg5").native)
    parser.add_argument("--cuts", type=int, nargs="+", default=[1, 2, 3, 4, 5], choices=cuts)
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--net", default="auto", choices=get_args(Kind))
    parser.add_argument("--dilation", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    with tempfile.TemporaryDirectory() as directory:
        links = [measure(options, mbps, Path(directory)) for mbps in options.mbps]
    found = [row for link in links for row in link]
    if options.json:
        rows = [asdict(row) | {"faster": row.faster, "over_limit": row.over_limit} for row in found]
        print(json.dumps({"load": os.getloadavg(), "rows": rows, **summary(found)}))
    else:
        Console().print(table(found))
        Console().print_json(data=summary(found))


if __name__ == "__main__":
    main()
