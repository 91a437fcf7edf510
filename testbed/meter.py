"""What a device measures in a round: from the word to start it to its telemetry."""

from msgspec.structs import replace

from adaptoff.local_messages import Measured
from adaptoff.messages import Row, Telemetry
from adaptoff.testbed.parts import Parts
from adaptoff.testbed.rig import Rig


class Meter:
    """Measures one round, which begins now; the stages add their emulated seconds."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._start_s = parts, parts.now_s()
        self._rig = Rig(parts.board, parts.power, parts.controller.guards)
        self.uplink_s = self.server_s = self.downlink_s = self.sync_s = 0.0
        self._rig.begin(self._start_s)
        parts.link.take_rates()
        parts.cpu.take()

    def read(self, round_: int, row: Row) -> Telemetry:
        """The round ends now; it heats the board."""
        parts, now_s = self._parts, self._parts.now_s()
        busy, rates = parts.cpu.take(), parts.link.take_rates()
        samples = parts.work.batches * parts.work.batch_size
        measured = Measured(
            device_s=busy.wall_s,
            uplink_s=self.uplink_s,
            server_s=self.server_s,
            downlink_s=self.downlink_s,
            sync_s=self.sync_s,
            total_s=now_s - self._start_s,
            samples=samples,
            up_bps=rates.out_bps and rates.out_bps * parts.dilation,
            down_bps=rates.in_bps and rates.in_bps * parts.dilation,
            cut=row.cut,
            depth=row.depth,
            codec=row.codec,
        )
        seen = self._rig.read(measured, now_s, parts.number, round_, row.opp, samples)
        return replace(seen, pace_error=busy.error)
