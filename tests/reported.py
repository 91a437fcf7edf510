"""A round of two devices as it is reported, for those who show it."""

from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from adaptoff.messages import Decision, FleetFigures, Row, Telemetry

SEEN = Telemetry(
    device=1, round=3, cut=2, opp=1, opp_left=0, samples=8, device_s=0.5, uplink_s=0.2,
    server_s=0.1, downlink_s=0.3, sync_s=0.4, total_s=1.5, up_bps=8e6, down_bps=None, temp_c=50.0,
    energy_j=6.0, energy_source="modelled",
)  # fmt: skip
DECISION = Decision(device=1, round=3, row=Row(cut=2, opp=1), source="policy")


def round_of(figures: FleetFigures, **changes: Any) -> SimpleNamespace:
    """A round of which device 1 is done and device 0 is late."""
    late = replace(DECISION, device=0, row=Row(cut=0, opp=0), source="kept")
    values = {
        "round": 3, "round_s": 2.0, "telemetry": [SEEN], "late": [0], "valid": False,
        "decisions": [late, DECISION], "figures": figures, "accuracy": 0.25, **changes,
    }  # fmt: skip
    return SimpleNamespace(**values)
