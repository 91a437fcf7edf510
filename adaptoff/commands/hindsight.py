"""The best constant rows in hindsight: what one can reach without any controller.

``constant`` is one way for everybody, ``constant_each`` a way of its own for every device, which is
the stronger of the two. Both have the lowest mean round time under the rates that the scenario will
really show; the latter is found by coordinate descent from several starts.
"""

from collections.abc import Callable

import numpy as np

from adaptoff import cost, schedule
from adaptoff import fleet as fleets
from adaptoff.fleet import Fleet, Rows
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed.live import LiveFleet
from adaptoff.ways import Ways

STARTS = 8
"""of the descent: that many of the best ways for everybody"""


def keep(rows: Rows) -> Callable[[LiveFleet], object]:
    """A step that applies each device's own constant row of ``rows`` (1, n_devices)."""
    return lambda live: live.apply_each(rows)


def constant_rows(scenario: Scenario, profile: Profile, *, each: bool) -> Rows:
    """Rows (1, n_devices); fastest OPP, since only time counts here."""
    fleet = fleets.of_devices(profile, scenario)
    ways = Ways(profile, scenario.workload).allowed

    def mean_round_s(way: fleets.Ints) -> float:
        return float(np.mean(cost.round_s(*_rounds(fleet, scenario, way))))

    best, *others = sorted((np.full(fleet.shape, way) for way in ways), key=mean_round_s)
    if each:
        starts = [best, *others][:STARTS]
        best = min((_descend(fleet, scenario, way, ways) for way in starts), key=mean_round_s)
    return Rows(best, fleet.native().opp)


def _descend(fleet: Fleet, scenario: Scenario, way: fleets.Ints, ways: list[int]) -> fleets.Ints:
    for _ in range(3):
        for device in range(fleet.shape[1]):
            mine = np.arange(fleet.shape[1]) == device
            options = [np.where(mine, option, way) for option in ways]
            way = min(options, key=lambda option: _total_s(fleet, scenario, option))
    return way


def _total_s(fleet: Fleet, scenario: Scenario, way: fleets.Ints) -> float:
    """Mean round, with a little of every device's own time so that ties move."""
    many, columns = _rounds(fleet, scenario, way)
    return float(np.mean(cost.round_s(many, columns) + 0.01 * columns.total_s.mean(1)))


def _rounds(fleet: Fleet, scenario: Scenario, way: fleets.Ints) -> tuple[Fleet, cost.Columns]:
    """All measured rounds at once, along F."""
    schedules, count = schedule.of_devices(scenario), scenario.workload.rounds
    each = [schedule.nominal(scenario, schedules, r) for r in range(1, count + 1)]
    at = fleets.Conditions(
        **{
            name: np.concatenate([getattr(one, name) for one in each])
            for name in fleets.Conditions.__dataclass_fields__
        }
    )
    many = fleets.take(fleet, np.zeros(count, int))
    return many, cost.joint(many, at, Rows(np.repeat(way, count, 0), many.native().opp))
