"""Which rounds count: those whose length is not this host's doing."""

import pytest

from adaptoff import config
from adaptoff.messages import Telemetry
from adaptoff.scenario import Workload
from adaptoff.testbed import models
from adaptoff.testbed.cpu import Busy
from adaptoff.testbed.played import Played
from adaptoff.testbed.session import Session
from adaptoff.testbed.shapes import Shapes
from adaptoff.testbed.split import export_state
from adaptoff.ways import Ways

IDLE = Busy(0.0, 0.0, 1.0)


def played(device_s: float, pace_error: float, total_s: float, server: Busy = IDLE) -> Played:
    model = models.build("vgg5", 0)
    seen = Telemetry(
        device=0, round=1, cut=7, opp=0, samples=8, device_s=device_s, uplink_s=0.0, server_s=0.0,
        downlink_s=0.0, sync_s=0.0, total_s=total_s, up_bps=None, down_bps=None, temp_c=30.0,
        energy_j=1.0, energy_source="modelled", pace_error=pace_error,
    )  # fmt: skip
    session = Session(0, 1, model, Shapes(model, 4), Ways(config.find_profile("vgg5"), Workload()))
    session.telemetry, session.state = seen, export_state(model)
    return Played({0: session}, total_s, server)


@pytest.mark.parametrize(
    ("device_s", "pace_error", "valid"),
    [
        (10.0, 1.0, True),
        (10.0, 1.01, True),  # 0.1 s of 10
        (10.0, 1.03, False),
        (0.2, 2.0, True),  # 0.1 s of 10
        (1.0, 2.0, False),
        (10.0, 0.9, True),
    ],
)
def test_a_device_may_be_late_by_a_fiftieth_of_its_round(
    device_s: float, pace_error: float, valid: bool
) -> None:
    assert played(device_s, pace_error, 10.0).valid == valid


@pytest.mark.parametrize(("wall_s", "valid"), [(0.3, True), (0.5, False)])
def test_so_may_the_server(wall_s: float, valid: bool) -> None:
    assert played(1.0, 1.0, 10.0, Busy(0.1, wall_s, 2.0)).valid == valid


def test_a_round_of_no_time_is_no_reason_to_stop() -> None:
    assert played(0.0, 1.0, 0.0).valid
    assert not played(1.0, 2.0, 0.0).valid


def test_who_is_late_has_nothing_to_show() -> None:
    done = played(1.0, 1.0, 10.0)
    done.sessions[0].telemetry = None
    assert (done.late, done.telemetry, done.states) == ({0: None}, [], [])
