from dataclasses import fields, replace

import numpy as np
import pytest

from adaptoff import planner
from adaptoff.envs.emulator import EmulatedFleet, throttled, travelled
from adaptoff.envs.episode import Episode
from adaptoff.envs.links import Course
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.envs.scenarios import ScenarioFleet, link_rates
from adaptoff.errors import InputError
from adaptoff.fleet import Fleet, FleetState, Floats, Rows
from adaptoff.scenario import Link, Step
from tests.envs.contract import check_backend, check_outcome

SMALL = RandomFleets(6, 5, Limits(3, 5, 3))


class Fixed:
    """A source of one given fleet under constant conditions."""

    def __init__(self, fleet: Fleet, speed: list[float], up: float, down: float) -> None:
        self.fleet = fleet
        shape = (3, 1, len(speed))
        self.course = Course(
            np.broadcast_to(speed, shape), np.full(shape, up), np.full(shape, down),
            np.full(shape, 0.01), np.full((3, 1), 2.0),
        )  # fmt: skip

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        return self.fleet, self.course


def tiny(count: float = 1.0) -> Fleet:
    """One cluster; cut 1: 0.1 s here, 0.2 s there, 1 MB up, 0.5 MB down, 2 MB of weights."""
    one: Floats = np.ones((1, 1))
    return Fleet(
        device_work_s=np.array([[[0.0, 0.1, 0.3]]]), depth=np.ones(1), server_work_s=np.array([[0.3, 0.2, 0.0]]),
        up_bytes=np.array([[2e6, 1e6, 0.0]]), down_bytes=np.array([[0.0, 0.5e6, 0.0]]),
        sync_bytes=np.array([[0.0, 2e6, 4e6]]), memory_bytes=np.zeros((1, 3)),
        n_cuts=np.array([3]), min_cut=np.array([0]), energy_weight=np.array([1.0]),
        heat_limit_c=np.array([80.0]), active=one > 0, count=one * count, batches=one * 4,
        memory_limit_bytes=one * 1e9, idle_w=one * 2, radio_w=one, heat_c_per_w=one * 5,
        heat_tau_s=one * 60, ambient_c=one * 20, trip_c=one * 80, n_opps=np.array([[2]]),
        relative_speed=np.array([[[0.5, 1.0]]]), dynamic_w=np.array([[[1.0, 4.0]]]),
    )  # fmt: skip


def rows(cut: int, opp: int, clusters: int = 1) -> Rows:
    return Rows(np.full((1, clusters), cut), np.full((1, clusters), opp))


def test_times_of_one_device_are_those_worked_out_by_hand() -> None:
    backend = EmulatedFleet(Fixed(tiny(), [0.25], up=16e6, down=32e6), noise=0.0)
    backend.reset(0)
    done = backend.apply(rows(1, 0))
    assert done.device_s[0, 0] == pytest.approx(4 * 0.1 / (0.25 * 0.5))  # 3.2
    assert done.uplink_s[0, 0] == pytest.approx(4 * (0.5 + 0.005))
    assert done.downlink_s[0, 0] == pytest.approx(4 * (0.125 + 0.005))
    assert done.server_s[0, 0] == pytest.approx(4 * 0.2 / 2)
    assert done.sync_s[0, 0] == pytest.approx(2e6 * 8 * (1 / 16e6 + 1 / 32e6))  # 1.5
    round_s = 3.2 + 2.02 + 0.52 + 0.4 + 1.5
    assert done.round_s[0] == pytest.approx(round_s)
    assert done.energy_j[0, 0] == pytest.approx(1.0 * 3.2 + 1.0 * (2.02 + 0.52 + 1.5) + 2 * round_s)


def test_two_devices_share_the_server() -> None:
    alone = EmulatedFleet(Fixed(tiny(1), [0.25], 16e6, 32e6), noise=0.0)
    shared = EmulatedFleet(Fixed(tiny(2), [0.25], 16e6, 32e6), noise=0.0)
    single, both = (b.apply(rows(1, 1)) for b in (alone, shared))
    share = both.server_s / both.total_s
    # Whoever arrives finds the other one there for its share of the round.
    np.testing.assert_allclose(both.server_s, single.server_s * (1 + share), rtol=1e-3)
    assert both.server_s > single.server_s
    np.testing.assert_array_equal(both.device_s, single.device_s)
    assert both.energy_j > 2 * single.energy_j * 0.99


def test_it_keeps_the_backend_contract() -> None:
    check_backend(EmulatedFleet(SMALL))


def test_the_contract_notices_a_broken_outcome() -> None:
    backend = EmulatedFleet(SMALL)
    seen = backend.reset(1)
    with pytest.raises(AssertionError, match="device_s"):
        check_outcome(backend.fleet, replace(seen, device_s=seen.device_s * np.nan))


def test_the_course_of_an_episode_does_not_depend_on_actions() -> None:
    frugal, native = EmulatedFleet(SMALL), EmulatedFleet(SMALL)
    for backend in (frugal, native):
        backend.reset(7)
    for _ in range(4):
        frugal.apply(Rows(native.fleet.native().cut, np.zeros(native.fleet.shape, np.int64)))
        native.apply(native.fleet.native())
        a, b = frugal.truth(), native.truth()
        for name in ("speed", "up_bps", "down_bps", "rtt_s", "server_speed"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (frugal.truth().temp_c != native.truth().temp_c).any()


def test_the_same_seed_gives_the_same_rounds_and_another_does_not() -> None:
    seen = [EmulatedFleet(SMALL).reset(seed) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(seen[0].total_s, seen[1].total_s)
    assert (seen[0].total_s != seen[2].total_s).any()


def test_a_rate_is_not_measured_where_too_little_travelled() -> None:
    backend = EmulatedFleet(Fixed(tiny(), [0.25], 16e6, 32e6))
    backend.reset(0)
    done = backend.apply(rows(0, 1))
    up, down = travelled(backend.fleet, rows(0, 1))
    assert (up[0, 0], down[0, 0]) == (8e6, 0.0)
    assert np.isnan(done.down_bps[0, 0])
    assert done.up_bps[0, 0] == pytest.approx(16e6, rel=0.2)


def test_heat_lowers_the_operating_point() -> None:
    fleet = tiny()
    for temp_c, opp in ((80.0, 1), (80.1, 0), (200.0, 0)):
        assert throttled(fleet, np.array([[temp_c]]), rows(2, 1)).opp[0, 0] == opp


@pytest.mark.parametrize("bad", [rows(3, 0), rows(0, 2), rows(-1, 0), rows(0, 0, 2)])
def test_rows_that_do_not_exist_are_refused(bad: Rows) -> None:
    with pytest.raises(InputError, match="rows"):
        EmulatedFleet(Fixed(tiny(), [0.25], 16e6, 32e6)).apply(bad)


def test_random_fleets_are_finite_and_fit_their_limits() -> None:
    fleet, course = RandomFleets(200, 3).draw(0)
    for part in (fleet, course):
        for field in fields(part):
            assert np.isfinite(getattr(part, field.name)).all(), field.name
    assert (fleet.relative_speed[..., -1] == 1.0).all()
    assert (np.diff(fleet.device_work_s, axis=2) >= 0).all()
    native = fleet.n_cuts - 1
    each = np.arange(200)
    for name in ("server_work_s", "up_bytes", "down_bytes"):
        assert (getattr(fleet, name)[each, native] == 0).all(), name
    assert {1, 5} <= set(fleet.active.sum(1).tolist())
    with pytest.raises(InputError):
        Limits(clusters=0)


def test_native_early_and_interior_cuts_are_each_often_best() -> None:
    backend = EmulatedFleet(RandomFleets(128, 2))
    backend.reset(0)
    fleet, at = backend.fleet, backend.truth()
    ones: Floats = np.ones(fleet.shape)
    state = FleetState(
        **vars(at), speed_age=ones, up_age=ones, down_age=ones, volatility=ones,
        cut=fleet.native().cut, opp=fleet.native().opp, native_s=ones[:, 0], native_j=ones[:, 0],
    )  # fmt: skip
    cut = planner.plan(fleet, state).cut
    native = (cut == fleet.n_cuts[:, None] - 1)[fleet.active]
    early = (cut == fleet.min_cut[:, None])[fleet.active] & ~native
    for share in (native, early, ~native & ~early):
        assert 0.1 < share.mean() < 0.7


def test_a_scenarios_links_change_by_round(scenario, profile) -> None:
    rates = link_rates(
        Link(steps=[Step(up_mbps=8, down_mbps=9), Step(round=2, up_mbps=1, down_mbps=2)]), 4
    )
    np.testing.assert_array_equal(rates[0], [8e6, 8e6, 1e6, 1e6])
    np.testing.assert_array_equal(rates[1], [9e6, 9e6, 2e6, 2e6])
    backend = EmulatedFleet(ScenarioFleet(scenario, profile, 6))
    backend.reset(0)
    for _ in range(4):
        backend.apply(backend.fleet.native())
    assert backend.truth().up_bps[0, 0] == 5e6
    assert backend.fleet.count.tolist() == [[2.0, 1.0]]
    check_backend(backend)


def test_a_traces_rates_follow_the_round_index(tmp_path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("t_s,up_mbps,down_mbps\n0,1,2\n10,3,4\n20,5,6\n")
    rates = link_rates(Link(trace=str(path), trace_round_s=10.0), 3)
    np.testing.assert_array_equal(rates, np.array([[1, 3, 5], [2, 4, 6]]) * 1e6)


def test_what_is_observed_does_not_know_the_coming_rounds() -> None:
    seen = []
    for future in (1.0, 0.2):
        source = Fixed(tiny(), [0.25], 16e6, 32e6)
        later = np.where(np.arange(3)[:, None, None] > 0, future, 1.0)
        source.course = replace(source.course, speed=later * 0.25, up_bps=later * 16e6)
        episode = Episode(EmulatedFleet(source))
        episode.reset(0)
        seen.append(episode.observe())
        assert episode.backend.truth().speed[0, 0] == future * 0.25
    np.testing.assert_array_equal(*seen)
