"""What a board is in a round, and what it did in one that is over: its telemetry.

Heat and energy are those of all the time from ``begin`` to ``read``. For a loop that is not
adaptoff's that is from an answer to the next question, its own pauses included. Its seconds are
scaled to the batches that the scenario's workload names, for that is what estimates and figures
speak of.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from adaptoff.guards import Guards
from adaptoff.local_messages import Measured
from adaptoff.messages import Decision, Telemetry
from adaptoff.power_meter import PowerMeter
from adaptoff.protocols import Board

MOST_S = 1e7
"""of any time that is told"""


class Done(NamedTuple):
    """A round of a device that is over."""

    telemetry: Telemetry
    decision: Decision
    """as asked for: the board may have taken another OPP"""
    decision_s: float | None
    """wall seconds of a decision of its own, waiting for figures excluded"""


@dataclass(frozen=True)
class Rig:
    """A board with what is measured on it; seconds are emulated where the board is."""

    board: Board
    power: PowerMeter
    guards: Guards = field(default_factory=Guards)
    """the board's, and the controller's"""

    def begin(self, now_s: float) -> None:
        """A round begins: what was until now is no part of it."""
        self.board.idle_until(now_s)
        self.power.take(0.0)

    def read(
        self, measured: Measured, now_s: float, device: int, round_: int, opp: int, samples: int
    ) -> Telemetry:
        """The round ends, which was run at ``opp``; seconds are scaled to ``samples``."""
        link_s = measured.uplink_s + measured.downlink_s + measured.sync_s
        joules = self.board.work_until(now_s, measured.device_s, link_s)
        energy = self.power.take(joules)
        if self.power.has_sensor and energy.source == "modelled":
            self.guards.act("sensor", f"energy of round {round_} is modelled")
        told = scaled(measured, samples)
        return Telemetry(
            device=device,
            round=round_,
            cut=told.way.cut,
            opp=opp,
            opp_left=self.board.opp_left,
            depth=told.way.depth,
            codec=told.way.codec,
            samples=told.samples,
            device_s=told.device_s,
            uplink_s=told.uplink_s,
            server_s=told.server_s,
            downlink_s=told.downlink_s,
            sync_s=told.sync_s,
            total_s=told.total_s,
            up_bps=told.up_bps,
            down_bps=told.down_bps,
            rtt_s=told.rtt_s,
            temp_c=min(max(self.board.temp_c, -60.0), 250.0),
            temp_source=self.board.temp_source,
            energy_j=min(max(energy.joules, 0.0), 1e12),
            energy_source=energy.source,
        )


def scaled(measured: Measured, samples: int) -> Measured:
    """The round as it would be with ``samples``: weights go once a round, all else grows."""
    factor = samples / measured.samples
    stages = {
        name: min(getattr(measured, name) * factor, MOST_S)
        for name in ("device_s", "uplink_s", "server_s", "downlink_s")
    }
    rest_s = max(measured.total_s - measured.sync_s, 0.0)
    total_s = min(measured.total_s + rest_s * (factor - 1), MOST_S)
    return replace(measured, **stages, total_s=total_s, samples=samples)
