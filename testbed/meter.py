"""What a device measures in a round: from the word to start it to its telemetry."""

from adaptoff.messages import Row, Telemetry
from adaptoff.testbed.parts import Parts


class Meter:
    """Measures one round, which begins now; the stages add their emulated seconds."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._start_s = parts, parts.now_s()
        self.uplink_s = self.server_s = self.downlink_s = self.sync_s = 0.0
        parts.board.idle_until(self._start_s)
        parts.power.take(0.0)
        parts.link.take_rates()
        parts.cpu.take()

    def read(self, round_: int, row: Row) -> Telemetry:
        """The round ends now; it heats the board."""
        parts, now_s = self._parts, self._parts.now_s()
        busy, rates = parts.cpu.take(), parts.link.take_rates()
        link_s = self.uplink_s + self.downlink_s + self.sync_s
        energy = parts.power.take(parts.board.work_until(now_s, busy.wall_s, link_s))
        if parts.power.has_sensor and energy.source == "modelled":
            parts.controller.guards.act("sensor", f"energy of round {round_} is modelled")
        return Telemetry(
            device=parts.number,
            round=round_,
            cut=row.cut,
            opp=row.opp,
            opp_left=parts.board.opp_left,
            samples=parts.work.batches * parts.work.batch_size,
            device_s=busy.wall_s,
            uplink_s=self.uplink_s,
            server_s=self.server_s,
            downlink_s=self.downlink_s,
            sync_s=self.sync_s,
            total_s=now_s - self._start_s,
            up_bps=rates.out_bps and rates.out_bps * parts.dilation,
            down_bps=rates.in_bps and rates.in_bps * parts.dilation,
            temp_c=min(max(parts.board.temp_c, -60.0), 250.0),
            temp_source=parts.board.temp_source,
            energy_j=max(energy.joules, 0.0),
            energy_source=energy.source,
            pace_error=busy.error,
        )
