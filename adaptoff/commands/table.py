"""The live table of a run: redrawn on a terminal, one line a round elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from adaptoff.messages import RoundReport, Telemetry
from adaptoff.scenario import Scenario
from adaptoff.ways import way_of

HEADINGS = ("device", "board", "cut", "MHz", "compute s", "link s", "server s", "wait s",
            "up Mbit/s", "down Mbit/s", "chosen by")  # fmt: skip


class Board:
    """What one method did in its last round."""

    def __init__(self, console: Console, name: str, scenario: Scenario) -> None:
        self._console, self._name, self._scenario = console, name, scenario
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Leave the last table standing."""
        self._live.stop()

    def wait(self, what: str) -> None:
        """Say what goes on before the first round."""
        if self._console.is_terminal:
            self._live.update(f"{self._name}: {what} ...", refresh=True)

    def show(self, report: RoundReport) -> None:
        """A round is over."""
        if self._console.is_terminal:
            self._live.update(self._table(report), refresh=True)
        else:
            cuts = " ".join(f"{way_of(t)}@{t.opp}" for t in report.telemetry)
            line = f"{self._title(report)}; cut(xdepth)(-codec)@OPP of each device: {cuts}"
            self._console.print(line, highlight=False, soft_wrap=True)

    def _title(self, report: RoundReport) -> str:
        rounds = self._scenario.workload.rounds
        late = f", late: {report.late}" if report.late else ""
        return (
            f"{self._name}: round {report.round} of {rounds}, {report.round_s:.2f} s, "
            f"accuracy {report.accuracy:.3f}{late}"
        )

    def _table(self, report: RoundReport) -> Table:
        table = Table(title=self._title(report), title_justify="left")
        for heading in HEADINGS:
            table.add_column(heading, justify="right")
        sources = {d.device: d.source for d in report.decisions}
        for seen in report.telemetry:
            table.add_row(*self._row(seen, report.round_s, sources[seen.device]))
        return table

    def _row(self, seen: Telemetry, round_s: float, source: str) -> list[str]:
        name = self._scenario.each_device()[seen.device].board
        link_s = seen.uplink_s + seen.downlink_s + seen.sync_s
        waited_s = max(round_s - seen.total_s, 0.0)
        seconds = (seen.device_s, link_s, seen.server_s, waited_s)
        rates = (seen.up_bps, seen.down_bps)
        return [
            str(seen.device), name, str(way_of(seen)),
            f"{self._scenario.boards[name].opps[seen.opp].mhz:g}",
            *(f"{value:.2f}" for value in seconds),
            *("-" if rate is None else f"{rate / 1e6:.0f}" for rate in rates), source,
        ]  # fmt: skip
