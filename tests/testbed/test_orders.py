"""From the driver's command to each device's row."""

import pytest
from msgspec.structs import replace

from adaptoff.errors import RunError
from adaptoff.messages import GONE, FleetFigures, Row, RunRound
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed.orders import row_of

LOCAL = RunRound(command=1)
BY_CLUSTER = RunRound(command=1, rows=[Row(cut=1, opp=0), Row(cut=3, opp=2)])
BY_DEVICE = RunRound(
    command=1, each=[Row(cut=1, opp=0), Row(cut=2, opp=1), Row(cut=3, opp=1)]
)  # fmt: skip


def test_without_rows_devices_decide(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    assert [row_of(d, LOCAL, figures, scenario, profile) for d in range(3)] == [None] * 3


def test_members_of_a_cluster_take_its_row(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    rows = [row_of(device, BY_CLUSTER, figures, scenario, profile) for device in range(3)]
    assert rows == [Row(cut=1, opp=0), Row(cut=1, opp=0), Row(cut=3, opp=2)]


def test_a_clusters_row_is_translated_to_the_members_board(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    one = replace(figures, clusters=[0, 0, 0])
    command = RunRound(command=1, rows=[Row(cut=2, opp=1)])
    rows = [row_of(device, command, one, scenario, profile) for device in range(3)]
    assert rows == [Row(cut=2, opp=1), Row(cut=2, opp=1), Row(cut=2, opp=2)]


def test_rows_by_device_are_taken_as_they_are(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    one = replace(figures, clusters=[0, 0, 0])
    rows = [row_of(device, BY_DEVICE, one, scenario, profile) for device in range(3)]
    assert rows == BY_DEVICE.each


@pytest.mark.parametrize("command", [LOCAL, BY_CLUSTER, BY_DEVICE])
def test_a_device_that_nobody_knows_is_native(
    scenario: Scenario, profile: Profile, figures: FleetFigures, command: RunRound
) -> None:
    new = replace(figures, clusters=[0, 0, GONE])
    for told in (None, new):
        assert row_of(2, command, told, scenario, profile) == Row(cut=3, opp=2)


@pytest.mark.parametrize(
    ("levers", "complaint"),
    [
        ({"rows": []}, "0 rows for cluster 0"),
        ({"rows": [Row(cut=0, opp=0)]}, "the row for cluster 0: cut 0: min_cut allows 1 to 3"),
        ({"rows": [Row(cut=4, opp=0)]}, "the row for cluster 0: cut 4: min_cut allows 1 to 3"),
        ({"rows": [Row(cut=1, opp=2)]}, "OPP 2 for cluster 0: its board has 0 to 1"),
        ({"rows": [Row(cut=1, opp=0, depth=2)]}, "cluster 0: depth 2: allowed: 1"),
        ({"each": [Row(cut=1, opp=0)]}, "1 rows for device 1"),
        ({"each": [Row(cut=1, opp=0), Row(cut=1, opp=2)]}, "OPP 2 for device 1"),
        ({"each": [Row(cut=1, opp=0), Row(cut=0, opp=0)]}, "the row for device 1: cut 0"),
    ],
)
def test_rows_that_cannot_be_are_refused(
    scenario: Scenario, profile: Profile, figures: FleetFigures, levers: dict[str, list[Row]],
    complaint: str,
) -> None:  # fmt: skip
    with pytest.raises(RunError, match=complaint):
        row_of(1, RunRound(command=1, **levers), figures, scenario, profile)


def test_min_cut_above_native_leaves_native(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    strict = replace(scenario, workload=replace(scenario.workload, min_cut=63))
    command = RunRound(command=1, rows=[Row(cut=3, opp=0)])
    assert row_of(0, command, figures, strict, profile) == Row(cut=3, opp=0)
