from dataclasses import fields

import numpy as np
import pytest

from adaptoff import cost, planner
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode
from adaptoff.envs.links import MOST_LOAD, Course
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.errors import InputError
from adaptoff.fleet import Bools, Fleet, Rows


@pytest.fixture(scope="module")
def drawn() -> tuple[Fleet, Course]:
    return RandomFleets(600, 6).draw(0)


def test_random_fleets_are_finite_and_fit_their_limits(drawn) -> None:
    fleet, course = drawn
    for part in (fleet, course):
        for field in fields(part):
            assert np.isfinite(getattr(part, field.name)).all(), field.name
    assert fleet.shape == (600, 5)
    assert fleet.device_work_s.shape == (600, 5, 9)
    assert course.up_bps.shape == (7, 600, 5)
    assert set(fleet.active.sum(1).tolist()) == {1, 2, 3, 4, 5}
    with pytest.raises(InputError):
        Limits(clusters=0)
    with pytest.raises(InputError):
        RandomFleets(0, 1)


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    courses = [RandomFleets(8, 4).draw(seed)[1] for seed in (3, 3, 4)]
    for field in fields(Course):
        first, same, other = (getattr(course, field.name) for course in courses)
        np.testing.assert_array_equal(first, same)
        assert (first != other).any(), field.name


def test_work_grows_with_the_cut_and_padding_repeats_native(drawn) -> None:
    fleet, _ = drawn
    assert (np.diff(fleet.device_work_s, axis=2) >= 0).all()
    assert (np.diff(fleet.sync_bytes, axis=1) >= 0).all()
    padding = np.arange(9) >= fleet.n_ways[:, None] - 1
    for name in ("server_work_s", "up_bytes", "down_bytes"):
        assert (getattr(fleet, name)[padding] == 0).all(), name
        assert (getattr(fleet, name)[~padding] > 0).sum() > 0.8 * (~padding).sum(), name
    work = fleet.device_work_s[:, 0]
    assert (work[padding] == np.broadcast_to(work[:, -1:], work.shape)[padding]).all()


def test_clocks_ascend_to_the_full_speed(drawn) -> None:
    fleet, _ = drawn
    assert (fleet.relative_speed[..., -1] == 1.0).all()
    for table in (fleet.relative_speed, fleet.dynamic_w):
        assert (np.diff(table, axis=2) >= 0).all()
    assert (np.arange(4) < fleet.n_opps[..., None])[..., 0].all()


def test_fleets_vary_as_much_as_they_should(drawn) -> None:
    fleet, course = drawn
    assert 0.1 < (fleet.depth > 1).mean() < 0.2
    assert set(fleet.depth.ravel().tolist()) == {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0}
    assert 0.15 < (fleet.energy_weight == 0).mean() < 0.25
    paying = fleet.energy_weight[fleet.energy_weight > 0]
    assert 0.02 <= paying.min() < 0.03
    assert 1.5 < paying.max() <= 2
    assert set(fleet.count[fleet.active].tolist()) == {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}
    assert course.noise.min() < 0.01
    assert 0.09 < course.noise.max() <= 0.1
    answers = fleet.sync_bytes[:, -1] == 0
    assert 0.1 < answers.mean() < 0.2
    assert fleet.down_bytes[answers].max() <= 4e3
    spread = course.speed.max((0, 2)) / course.speed.min((0, 2))
    assert spread.max() > 10**1.5  # of the boards, and load on top
    assert spread.max() < 10**1.5 / (1 - MOST_LOAD) * 1.01


def test_native_early_and_interior_cuts_are_each_often_best() -> None:
    episode = Episode(EmulatedFleet(RandomFleets(128, 2)))
    episode.reset(0)
    fleet = episode.fleet
    cut = planner.plan(fleet, episode.state.under(episode.backend.truth())).way
    native = (cut == fleet.n_ways[:, None] - 1)[fleet.active]
    early = (cut == fleet.min_cut[:, None])[fleet.active] & ~native
    for share in (native, early, ~native & ~early):
        assert 0.1 < share.mean() < 0.7


def settled_above(fleet: Fleet, course: Course, rows: Rows) -> Bools:
    """Fleets (F,) of which a device ends above the limit if the first round goes on for ever."""
    columns = cost.joint(fleet, course.at(0, fleet.ambient_c), rows)
    mean_w = fleet.idle_w + columns.active_j / cost.round_s(fleet, columns)[:, None]
    settled_c = fleet.ambient_c + fleet.heat_c_per_w * mean_w
    return ((settled_c > fleet.heat_limit_c[:, None] + 1e-6) & fleet.active).any(1)


def test_heat_binds_native_in_a_third_of_the_fleets_and_slow_clocks_hold_it(drawn) -> None:
    fleet, course = drawn
    native = fleet.native()
    too_hot = settled_above(fleet, course, native)
    assert 0.25 < too_hot.mean() < 0.42
    slow = settled_above(fleet, course, Rows(native.way, np.zeros_like(native.way)))
    assert slow[too_hot].mean() < 0.05
