"""The calibration finds what a testbed gives less than asked; validation says how far it is."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from adaptoff import agreement, cost, schedule
from adaptoff.agreement import calibrate, compared, ranks
from adaptoff.fleet import Rows, of_devices
from adaptoff.messages import Telemetry
from adaptoff.profile import Profile
from adaptoff.scenario import Calibration, Devices, Scenario

TRUE = Calibration(device_share=0.9, server_share=0.7, link_share=0.95, message_ms=6.0)


@pytest.fixture
def fleet(scenario: Scenario) -> Scenario:
    """Three devices at a slow server, so that sharing shows."""
    return structs.replace(
        scenario,
        devices=[Devices(board="slow", link="wifi", count=2), Devices(board="fast", link="lte")],
        server=structs.replace(scenario.server, speed=0.5),
    )


def measured(
    scenario: Scenario, profile: Profile, rounds: Sequence[Sequence[int]], **changed: Any
) -> list[Any]:
    """Reports of a testbed that gives what ``TRUE`` says, one round a line of cuts."""
    real = structs.replace(scenario, calibration=TRUE)
    return [
        SimpleNamespace(
            **{"round": 1, "valid": True, "late": [], **changed},
            telemetry=telemetry(real, profile, cuts),
        )
        for cuts in rounds
    ]


def telemetry(scenario: Scenario, profile: Profile, cuts: Sequence[int]) -> list[Telemetry]:
    built = of_devices(profile, scenario)
    rows = Rows(np.array([cuts]), built.n_opps - 1)
    at = schedule.nominal(scenario, schedule.of_devices(scenario), 1)
    columns = cost.joint(built, at, rows)
    names = (*agreement.PARTS, "total_s")
    return [
        Telemetry(
            device=i, round=1, cut=cut, opp=int(rows.opp[0, i]), samples=1, up_bps=None,
            down_bps=None, temp_c=40.0, energy_j=1.0, energy_source="modelled", pace_error=1.0,
            **{name: float(getattr(columns, name)[0, i]) for name in names},
        )
        for i, cut in enumerate(cuts)
    ]  # fmt: skip


def every_cut(profile: Profile) -> list[list[int]]:
    cuts = range(1, profile.native + 1)
    return [[cut, profile.native + 1 - cut, cut] for cut in cuts]


def test_calibration_finds_what_was_given(fleet: Scenario, profile: Profile) -> None:
    found = calibrate(fleet, profile, measured(fleet, profile, every_cut(profile)))
    assert found.device_share == pytest.approx(0.9, rel=1e-6)
    assert found.link_share == pytest.approx(0.95, rel=1e-6)
    assert found.message_ms == pytest.approx(6.0, rel=1e-4)
    assert found.server_share == pytest.approx(0.7, rel=0.02)


def test_calibrated_the_model_predicts_other_rounds(fleet: Scenario, profile: Profile) -> None:
    found = calibrate(fleet, profile, measured(fleet, profile, every_cut(profile)))
    others = measured(fleet, profile, [[1, 1, 1], [2, 1, profile.native]])
    before = compared(fleet, profile, others)
    after = compared(structs.replace(fleet, calibration=found), profile, others)
    assert before["errors"]["total_s"]["median"] > 0.05
    assert after["errors"]["total_s"]["worst"] < 0.01
    assert after["rounds"] == 2


def test_a_testbed_as_asked_needs_no_calibration(fleet: Scenario, profile: Profile) -> None:
    reports = measured(fleet, profile, every_cut(profile))
    as_asked = structs.replace(fleet, calibration=TRUE)
    result = compared(as_asked, profile, reports)
    assert result["errors"]["total_s"]["worst"] < 1e-9
    assert result["spearman_least"] == pytest.approx(1.0)


@pytest.mark.parametrize("changed", [{"valid": False}, {"late": [1]}])
def test_rounds_that_say_nothing_are_left_out(
    fleet: Scenario, profile: Profile, changed: dict[str, Any]
) -> None:
    bad = measured(fleet, profile, [[1, 1, 1]], **changed)
    with pytest.raises(ValueError, match="no valid round"):
        calibrate(fleet, profile, bad)
    good = measured(fleet, profile, every_cut(profile))
    assert compared(fleet, profile, good + bad)["left_out"] == 1


def test_ranks_are_of_each_device_by_itself() -> None:
    def pair(device: int, predicted: float, seen: float) -> agreement.Pair:
        return agreement.Pair(device, 0, 0, {"total_s": predicted}, {"total_s": seen})

    rising = [pair(0, value, 10 + value) for value in (1.0, 2.0, 3.0)]
    falling = [pair(1, value, -value) for value in (1.0, 2.0, 3.0)]
    assert ranks([*rising, *falling, pair(2, 1.0, 1.0)]) == pytest.approx({0: 1.0, 1: -1.0})
