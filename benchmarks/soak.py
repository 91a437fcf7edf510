"""A day of a board's decisions in fast-forward, while all that can fail does, again and again.

``python benchmarks/soak.py [--decisions 10000] [--hours 1] [--seed 0] [--json]``; a whole day is
``--decisions 1000000 --hours 24``. A real controller and a real board decide and clock on a kernel
made of files, in a world whose heat is not the scenario's; no clock is waited for. Ends with status
1 if anything was broken: an error, a row that does not exist, a round without an answer, heat above
the limit for more than 1 % of the time, memory that grows, a guard that never acted on its fault,
or clocks that were not put back.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.soaking.day import Day

SHM = Path("/dev/shm")
TOLD = 100
"""decisions between two moves of the progress bar"""


def run(
    decisions: int, hours: float, seed: int, only: Sequence[str], tell: Callable[[int], object]
) -> dict[str, Any]:
    """One day, in memory where there is such a place; ``tell`` hears how many were decided."""
    started_s = time.perf_counter()
    place = SHM if SHM.is_dir() else None
    with silence(), tempfile.TemporaryDirectory(prefix="soak-", dir=place) as root:
        found = Day(Path(root), decisions, hours, seed, only).run(tell)
    seconds = time.perf_counter() - started_s
    command = f"--decisions {decisions} --hours {hours:g} --seed {seed}"
    return {"command": command, "seconds": seconds, **found}


@contextmanager
def silence() -> Iterator[None]:
    """Each fault would be logged."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def show(found: dict[str, Any]) -> None:
    """Tables."""
    console = Console()
    for title, rows in tables(found, ""):
        table = Table(title=title.replace("_", " "), title_justify="left", show_header=False)
        for name, value in rows.items():
            table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
        console.print(table)


def tables(found: dict[str, Any], title: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Titles and rows: what stands alone, then what belongs together."""
    alone = {name: value for name, value in found.items() if not isinstance(value, dict)}
    if alone:
        yield title or "soak", alone
    for name, value in found.items():
        if isinstance(value, dict):
            yield from tables(value, f"{title}: {name}" if title else name)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="kinds of faults, by name")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("decisions", total=options.decisions)

        def tell(done: int) -> None:
            if done % TOLD == 0:
                progress.update(task, completed=done)

        found = run(options.decisions, options.hours, options.seed, options.only, tell)
    if options.json:
        print(json.dumps(found))
    else:
        show(found)
    sys.exit(bool(found["broken"]))


if __name__ == "__main__":
    main()
