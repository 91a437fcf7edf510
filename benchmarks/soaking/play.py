"""A device's side of a round, as ``device_round`` does it, on work that is only reckoned."""

from typing import Any, NamedTuple

from adaptoff.cost import Columns
from adaptoff.fleet import Conditions, Rows
from adaptoff.messages import Decision, FleetFigures, Row, Telemetry
from adaptoff.testbed.cpu import Busy
from adaptoff.testbed.link import Rates
from adaptoff.testbed.meter import Meter
from benchmarks.soaking.drawn import BATCHES
from benchmarks.soaking.server import rates_of
from benchmarks.soaking.surroundings import Surroundings


class Cpu:
    """Says what it was told."""

    busy_s = 0.0

    def take(self) -> Busy:
        """Seconds of the last round."""
        return Busy(self.busy_s, self.busy_s, 1.0)


class Link:
    """Says what it was told."""

    rates = Rates(None, None)

    def take_rates(self) -> Rates:
        """Of the last round."""
        return self.rates


class Played(NamedTuple):
    """A round."""

    decision: Decision
    taken: Row
    telemetry: Telemetry
    at: Conditions
    rows: Rows
    columns: Columns
    seconds: float


def play(parts: Any, around: Surroundings, number: int, figures: FleetFigures | None) -> Played:  # noqa: ANN401
    """``parts`` are those of a device, as far as a meter needs them."""
    world, meter = around.world, Meter(parts)
    decision = parts.controller.next(number, figures)
    taken = _take(parts, decision)
    at = world.conditions()
    rows, columns = world.columns(at, taken.cut, taken.opp)
    begun_s = world.now_s
    parts.cpu.busy_s = _work(around, taken, columns)
    parts.link.rates = rates_of(world, at, taken.cut, 0)
    for name in ("uplink_s", "server_s", "downlink_s"):
        setattr(meter, name, world.noisy(float(getattr(columns, name)[0, 0])))
    telemetry = meter.read(number, taken)
    return Played(decision, taken, telemetry, at, rows, columns, world.now_s - begun_s)


def _take(parts: Any, decision: Decision) -> Row:  # noqa: ANN401
    asked = parts.controller.row = decision.row
    return Row(cut=asked.cut, opp=parts.board.set_opp(asked.opp))


def _work(around: Surroundings, taken: Row, columns: Columns) -> float:
    """Batch by batch at the clock that there is; returns busy seconds."""
    world, busy_s = around.world, 0.0
    own_s, link_s, server_s = (
        float(getattr(columns, name)[0, 0]) / BATCHES for name in ("device_s", "link_s", "server_s")
    )
    work_s = own_s * world.board.opps[taken.opp].relative_speed
    for _ in range(BATCHES):
        device_s = work_s / world.at_khz(around.khz)[0]
        whole_s = device_s + link_s + server_s
        around.pass_time(whole_s, device_s / whole_s, link_s / whole_s)
        busy_s += device_s
    return busy_s
