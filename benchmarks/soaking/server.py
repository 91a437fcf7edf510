"""The server's side: telemetry of the whole fleet in, figures out, as far as it is there."""

from collections.abc import Callable, Sequence
from typing import Any

from adaptoff.cost import Columns
from adaptoff.fleet import Conditions, Floats, Rows
from adaptoff.messages import FleetFigures, Telemetry
from adaptoff.testbed.link import Rates
from adaptoff.testbed.tracker import Tracker
from benchmarks.soaking.drawn import BATCH_SIZE, BATCHES
from benchmarks.soaking.world import World

MEASURABLE_BITS = 8 * 65536
SECONDS = ("device_s", "uplink_s", "server_s", "downlink_s", "sync_s")
Spoil = Callable[[FleetFigures], FleetFigures]


class Groups:
    """Clusters of devices, dealt out in turn."""

    def __init__(self) -> None:
        self.count = 8

    def assign(self, features: Floats) -> Sequence[int]:
        """``count`` clusters at most."""
        return [device % self.count for device in range(len(features))]


class Server:
    """Tracks the fleet; ``figures_for`` gives what a device hears before a round."""

    def __init__(self, world: World) -> None:
        self.world, self.groups = world, Groups()
        self.gone = self.late = False
        self.missing: set[int] = set()
        """of the other devices"""
        self.stale: FleetFigures | None = None
        self.spoil: Spoil | None = None
        self._tracker = Tracker(world.scenario, world.profile, self.groups)
        at, native = world.conditions(), world.fleet.native()
        columns = world.columns(at, int(native.way[0, 0]), int(native.opp[0, 0]))[1]
        seen = [self._telemetry(0, i, at, native, columns) for i in range(world.n_devices)]
        self.last = self._tracker.update(0, seen, {}, 1.0, float(at.server_speed[0]))

    def figures_for(self, round_: int) -> FleetFigures | None:  # noqa: ARG002
        """None while the server is gone."""
        if self.gone:
            return None
        figures = self.stale or self.last
        return self.spoil(figures) if self.spoil else figures

    def take(
        self, own: Telemetry, at: Conditions, rows: Rows, columns: Columns, round_s: float
    ) -> None:
        """A round is over; device 0 says ``own``."""
        if self.gone:
            return
        others = [i for i in range(1, self.world.n_devices) if i not in self.missing]
        seen = [self._telemetry(own.round, i, at, rows, columns) for i in others]
        late = {0: None} if self.late else {}
        seen = seen if self.late else [own, *seen]
        speed = self.world.noisy(float(at.server_speed[0]))
        self.last = self._tracker.update(own.round, seen, late, round_s, speed)

    def _telemetry(
        self, round_: int, device: int, at: Conditions, rows: Rows, columns: Columns
    ) -> Telemetry:
        seconds: dict[str, Any] = {
            name: self.world.noisy(float(getattr(columns, name)[0, device])) for name in SECONDS
        }
        rates = rates_of(self.world, at, int(rows.way[0, device]), device)
        return Telemetry(
            device=device, round=round_, cut=int(rows.way[0, device]),
            opp=int(rows.opp[0, device]), samples=BATCHES * BATCH_SIZE,
            total_s=sum(seconds.values()), up_bps=rates.out_bps, down_bps=rates.in_bps,
            temp_c=40.0, energy_j=1.0, energy_source="modelled", **seconds,
        )  # fmt: skip


def rates_of(world: World, at: Conditions, cut: int, device: int) -> Rates:
    """As measured of a round with this cut, where enough travelled."""

    def rate(nbytes: Floats, bps: Floats) -> float | None:
        bits = 8 * BATCHES * float(nbytes[0, cut])
        return world.noisy(float(bps[0, device])) if bits >= MEASURABLE_BITS else None

    fleet = world.fleet
    return Rates(rate(fleet.down_bytes, at.down_bps), rate(fleet.up_bytes, at.up_bps))
