"""What the link carries, beside what it is built on and beside what it replaces.

``python benchmarks/dataplane.py [--turns 15] [--count 64] [--mbps 5 25 100] [--quick] [--fresh]
[--json]``

On loopback, in float32 tensors of 3.2 MB: goodput and CPU time (both processes) of ``Link`` over
those of plain sockets, of pickles over a socket as FedAdapt sends them and of bare ZeroMQ; and
round trips of 100 bytes. On links that the kernel shapes: how much of what TCP can carry there
(1448/1514 of the Ethernet rate) back-to-back tensors get, one way and both ways at once. Sender and
receiver are processes of their own and the kinds take turns.

A process that trains has memory at hand for what arrives, so the ends grow their heap first. With
``--fresh`` they do not, and what allocates much is slowed down by page faults.

Only the benchmark's own pickles are unpickled.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from dataplane_parts.ratios import Row, ratios, shares
from dataplane_parts.turns import loopback, shaped
from rich.console import Console
from rich.table import Table

from adaptoff.commands.keys import new
from adaptoff.testbed.probe import probe

BATCH_BYTES = {"cut 1": 1_638_400, "cut 2": 819_200, "cut 1 in 4 parts": 409_600}
"""activations of a batch of 100 of VGG-5 after its first and its second pool; of a micro-batch"""
TURNS_PER_SHAPED = 5
"""turns on loopback for one on each shaped link"""
COLUMNS = "ratio", "goal", "met", "least - most", "measured"
WIDTHS = 7, 7, 3, 17, 14


def measure(options: argparse.Namespace, keys: Path) -> list[Row]:
    """All rows."""
    new(["server", "device-0"], keys)
    rows = ratios(loopback(keys, options.turns, options.count, fresh=options.fresh))
    able = probe()
    if not (able.tbf and (able.root_namespaces or able.rootless_namespaces)):
        return rows
    turns = max(1, options.turns // TURNS_PER_SHAPED)
    for mbps in options.mbps:
        for cut, nbytes in BATCH_BYTES.items():
            rows += shares(shaped(keys, mbps, nbytes, turns), mbps, cut)
    return rows


def table(head: str, rows: Iterable[Row]) -> Table:
    """Ratios beside their goals, then what was measured."""
    made = Table(title=head, title_justify="left", box=None, pad_edge=False)
    made.add_column(min_width=22)
    for name, width in zip(COLUMNS, WIDTHS, strict=True):
        made.add_column(name, justify="right", min_width=width, no_wrap=True)
    for row in rows:
        made.add_row(*cells(row))
    return made


def cells(row: Row) -> tuple[str, ...]:
    """One line."""
    met = {None: "", True: "yes", False: "NO"}[row.met]
    spread = f"{row.least:.3g} - {row.most:.3g}"
    measured = " / ".join(f"{side:.3g}" for side in row.measured)
    return f"{row.ours} / {row.other}", f"{row.ratio:.3g}", row.goal, met, spread, measured


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--count", type=int, default=64, help="tensors and round trips a turn")
    parser.add_argument("--mbps", type=float, nargs="*", default=[5.0, 25.0, 100.0])
    parser.add_argument("--quick", action="store_true", help="--turns 5 --count 32 --mbps 25")
    parser.add_argument("--fresh", action="store_true", help="on loopback: ends that never trained")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.turns, options.count, options.mbps = 5, 32, [25.0]
    return options


def main() -> None:
    """Measure and print."""
    options = parse()
    with tempfile.TemporaryDirectory() as directory:
        rows = measure(options, Path(directory) / "keys")
    if options.json:
        print(json.dumps({"load": os.getloadavg(), "rows": [asdict(row) for row in rows]}))
    else:
        for head, group in groupby(rows, lambda row: row.head):
            Console().print(table(head, group))


if __name__ == "__main__":
    main()
