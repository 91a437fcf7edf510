"""What the server knows of devices that were late, without sockets."""

import dataclasses

import numpy as np
import pytest
from msgspec.structs import replace

from adaptoff import cost, figures, planner
from adaptoff.fleet import Rows
from adaptoff.messages import FleetFigures, Row, Telemetry
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed.tracker import OwnCluster, Tracker
from adaptoff.ways import Ways

SERVER_SPEED = 2.0
LATE_ROW = Row(cut=2, opp=0)


def native(device: int, round_: int, device_s: float) -> Telemetry:
    return Telemetry(
        device=device, round=round_, cut=3, opp=2 if device == 2 else 1, samples=200,
        device_s=device_s, uplink_s=0.0, server_s=0.0, downlink_s=0.0, sync_s=0.1,
        total_s=device_s + 0.1, up_bps=30e6, down_bps=30e6, temp_c=40.0, energy_j=3.0,
        energy_source="modelled",
    )  # fmt: skip


@pytest.fixture
def tracker(scenario: Scenario, profile: Profile) -> Tracker:
    """After a warm-up of three devices, of which the last is the fastest."""
    made = Tracker(scenario, profile, OwnCluster())
    seen = [native(0, 0, 0.64), native(1, 0, 0.64), native(2, 0, 0.16)]
    made.update(0, seen, {}, 0.8, SERVER_SPEED)
    return made


def after_late(tracker: Tracker, round_: int, row: Row | None, round_s: float) -> FleetFigures:
    """Device 0 was late with ``row``, the others were in time."""
    seen = [native(1, round_, 0.64), native(2, round_, 0.16)]
    return tracker.update(round_, seen, {0: row}, round_s, SERVER_SPEED)


def predicted_s(scenario: Scenario, profile: Profile, told: FleetFigures, row: Row) -> float:
    """Seconds of device 0 with ``row``, while the others keep theirs."""
    seen = figures.view(scenario, profile, told)
    rows = seen.state.rows
    rows.way[0, 0], rows.opp[0, 0] = row.cut, row.opp
    return float(cost.joint(seen.fleet, seen.state, rows).total_s[0, 0])


@pytest.mark.parametrize("row", [LATE_ROW, Row(cut=1, opp=1), Row(cut=3, opp=1), None])
def test_a_late_device_is_seen_as_slow_as_the_round_it_missed(
    scenario: Scenario, profile: Profile, tracker: Tracker, row: Row | None
) -> None:
    told = after_late(tracker, 1, row, round_s=10.0)
    assert predicted_s(scenario, profile, told, row or Row(cut=3, opp=1)) >= 9.9
    state = figures.view(scenario, profile, told).state
    assert (state.speed[0, 0] < state.speed[0, 1]) & (state.up_bps[0, 0] < state.up_bps[0, 1])
    assert state.speed[0, 1] == pytest.approx(0.25)  # 4 batches of 0.04 in 0.64 s: left alone


def test_the_row_that_was_late_is_the_row_in_use(
    scenario: Scenario, profile: Profile, tracker: Tracker
) -> None:
    told = after_late(tracker, 1, LATE_ROW, round_s=10.0)
    state = figures.view(scenario, profile, told).state
    assert (state.way[0, 0], state.opp[0, 0]) == (LATE_ROW.cut, LATE_ROW.opp)
    assert (told.telemetry[0].samples, told.telemetry[0].total_s) == (0, 10.0)


def test_the_planner_expects_its_next_row_to_be_slow_as_well(
    scenario: Scenario, profile: Profile, tracker: Tracker
) -> None:
    seen = figures.view(scenario, profile, after_late(tracker, 1, LATE_ROW, 10.0))
    total_s = cost.joint(seen.fleet, seen.state, planner.plan(seen.fleet, seen.state)).total_s[0]
    assert total_s[0] > 4 * total_s[1]  # the same board on the same link, in time


def test_a_round_that_was_expected_to_take_so_long_teaches_nothing(
    scenario: Scenario, profile: Profile, tracker: Tracker
) -> None:
    first = figures.view(scenario, profile, after_late(tracker, 1, LATE_ROW, 10.0)).state
    again = figures.view(scenario, profile, after_late(tracker, 2, LATE_ROW, 9.0)).state
    for name in ("speed", "up_bps", "down_bps"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert again.speed_age[0, 0] == first.speed_age[0, 0] + 1


def test_a_device_that_comes_back_is_believed_again(
    scenario: Scenario, profile: Profile, tracker: Tracker
) -> None:
    slow = figures.view(scenario, profile, after_late(tracker, 1, LATE_ROW, 10.0)).state
    for round_ in range(2, 8):
        seen = [native(device, round_, 0.16 if device == 2 else 0.64) for device in range(3)]
        told = tracker.update(round_, seen, {}, 0.8, SERVER_SPEED)
    state = figures.view(scenario, profile, told).state
    assert slow.speed[0, 0] < 0.1
    assert state.speed[0, 0] == pytest.approx(0.25, rel=0.05)


def test_even_when_all_are_late_something_is_learnt(
    scenario: Scenario, profile: Profile, tracker: Tracker
) -> None:
    told = tracker.update(1, [], dict.fromkeys(range(3)), 20.0, SERVER_SPEED)
    seen = figures.view(scenario, profile, told)
    assert (cost.joint(seen.fleet, seen.state, seen.state.rows).total_s >= 19.9).all()
    assert told.round == 1


@pytest.mark.parametrize("depth", [1, 4, 8])
def test_a_late_pipeline_is_slowed_until_it_explains_the_round(
    scenario: Scenario, profile: Profile, depth: int
) -> None:
    """Its stages do not add up: seconds less the server's would say nothing."""
    work = replace(scenario.workload, depths=(1, 4, 8))
    deep, row = replace(scenario, workload=work), Row(cut=1, opp=1, depth=depth)
    made = Tracker(deep, profile, OwnCluster())
    made.update(0, [native(0, 0, 0.64), native(1, 0, 0.64), native(2, 0, 0.16)], {}, 0.8, 0.2)
    told = made.update(1, [native(1, 1, 0.64), native(2, 1, 0.16)], {0: row}, 20.0, 0.2)
    prior = figures.state_of(told.prior)
    fleet = figures.clusters_of(deep, profile, told)
    way = Ways(profile, work).number(row)
    rows = Rows(np.array([[way, *fleet.native().way[0, 1:]]]), fleet.native().opp)
    at = dataclasses.replace(prior, server_speed=np.array([0.2]))
    assert cost.joint(fleet, at, rows).total_s[0, 0] == pytest.approx(20.0, rel=0.01)
