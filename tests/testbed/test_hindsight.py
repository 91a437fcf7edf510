"""Constant rows in hindsight, and how they reach the devices."""

from itertools import product

import numpy as np
import pytest
from msgspec.structs import replace

from adaptoff import cost, schedule
from adaptoff import fleet as fleets
from adaptoff.commands.hindsight import constant_rows, keep
from adaptoff.fleet import Rows
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario


def mean_round_s(scenario: Scenario, profile: Profile, cuts: tuple[int, ...]) -> float:
    """Round by round, as slowly as it is plain."""
    boards = [scenario.board_of(device) for device in range(3)]
    fleet = fleets.build(profile, scenario, boards, [1, 1, 1])
    schedules = schedule.of_devices(scenario)
    rows = Rows(np.array([cuts]), fleet.native().opp)
    times = []
    for round_ in range(1, scenario.workload.rounds + 1):
        at = schedule.nominal(scenario, schedules, round_)
        times.append(float(cost.round_s(fleet, cost.joint(fleet, at, rows))[0]))
    return float(np.mean(times))


def test_they_are_the_best_of_all(scenario: Scenario, profile: Profile) -> None:
    times = {cuts: mean_round_s(scenario, profile, cuts) for cuts in product((1, 2, 3), repeat=3)}
    each = constant_rows(scenario, profile, each=True)
    assert times[tuple(each.way[0].tolist())] == pytest.approx(min(times.values()))
    same = constant_rows(scenario, profile, each=False)
    best = min((1, 2, 3), key=lambda cut: times[cut, cut, cut])
    assert same.way.tolist() == [[best] * 3]
    assert same.opp.tolist() == each.opp.tolist() == [[1, 1, 2]]


@pytest.mark.parametrize("each", [False, True])
def test_min_cut_above_native_leaves_native(
    scenario: Scenario, profile: Profile, *, each: bool
) -> None:
    strict = replace(scenario, workload=replace(scenario.workload, min_cut=63))
    assert constant_rows(strict, profile, each=each).way.tolist() == [[3, 3, 3]]


def test_every_device_is_given_its_own_row(scenario: Scenario, profile: Profile) -> None:
    class Driver:
        def apply_each(self, rows: Rows) -> Rows:
            return rows

    rows = constant_rows(scenario, profile, each=True)
    assert keep(rows)(Driver()) is rows  # type: ignore[arg-type]
