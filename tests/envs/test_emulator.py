from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from msgspec import structs

from adaptoff.envs.emulator import EmulatedFleet, travelled
from adaptoff.envs.episode import Episode
from adaptoff.envs.links import Course
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.envs.scenarios import ScenarioFleet
from adaptoff.errors import InputError
from adaptoff.fleet import Fleet, Floats, Outcome, Rows
from adaptoff.observation import Observation
from adaptoff.profile import Profile
from adaptoff.scenario import Calibration, Link, Scenario, Step
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
        device_work_s=np.array([[[0.0, 0.1, 0.3]]]), server_work_s=np.array([[0.3, 0.2, 0.0]]),
        up_bytes=np.array([[2e6, 1e6, 0.0]]), down_bytes=np.array([[0.0, 0.5e6, 0.0]]),
        sync_bytes=np.array([[0.0, 2e6, 4e6]]), memory_bytes=np.zeros((1, 3)),
        depth=np.ones((1, 3)), cut=np.arange(3)[None], one_pass=np.array([0.5]),
        n_ways=np.array([3]), min_cut=np.array([0]), energy_weight=np.array([1.0]),
        heat_limit_c=np.array([80.0]), active=one > 0, count=one * count, batches=one * 4,
        memory_limit_bytes=one * 1e9, idle_w=one * 2, radio_w=one, heat_c_per_w=one * 5,
        heat_tau_s=one * 60, ambient_c=one * 20, trip_c=one * 80, n_opps=np.array([[2]]),
        relative_speed=np.array([[[0.5, 1.0]]]), dynamic_w=np.array([[[1.0, 4.0]]]),
    )  # fmt: skip


def rows(way: int, opp: int, clusters: int = 1) -> Rows:
    return Rows(np.full((1, clusters), way), np.full((1, clusters), opp))


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


def test_the_same_seed_gives_the_same_rounds_and_another_does_not() -> None:
    seen = [EmulatedFleet(SMALL).reset(seed) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(seen[0].total_s, seen[1].total_s)
    assert (seen[0].total_s != seen[2].total_s).any()


def test_another_seed_gives_other_noise_on_the_same_conditions() -> None:
    seen = [EmulatedFleet(Fixed(tiny(), [0.25], 16e6, 32e6)).reset(s).rtt_s for s in (3, 3, 4)]
    np.testing.assert_array_equal(seen[0], seen[1])
    assert seen[0] != seen[2]


def test_a_rate_is_not_measured_where_too_little_travelled() -> None:
    backend = EmulatedFleet(Fixed(tiny(), [0.25], 16e6, 32e6))
    backend.reset(0)
    done = backend.apply(rows(0, 1))
    up, down = travelled(backend.fleet, rows(0, 1))
    assert (up[0, 0], down[0, 0]) == (8e6, 0.0)
    assert np.isnan(done.down_bps[0, 0])
    assert done.up_bps[0, 0] == pytest.approx(16e6, rel=0.2)


def test_heat_lowers_the_operating_point() -> None:
    """Idle, the board is at 30 degrees."""
    for trip_c, opp in ((30.0, 2), (29.9, 1), (25.0, 0), (-100.0, 0)):
        board = replace(
            tiny(), trip_c=np.array([[trip_c]]), n_opps=np.array([[3]]),
            relative_speed=np.array([[[0.2, 0.5, 1.0]]]), dynamic_w=np.ones((1, 1, 3)),
        )  # fmt: skip
        done = EmulatedFleet(Fixed(board, [0.25], 16e6, 32e6)).apply(rows(2, 2))
        assert done.opp[0, 0] == opp


@pytest.mark.parametrize("bad", [rows(3, 0), rows(0, 2), rows(-1, 0), rows(0, 0, 2)])
def test_rows_that_do_not_exist_are_refused(bad: Rows) -> None:
    with pytest.raises(InputError, match="rows"):
        EmulatedFleet(Fixed(tiny(), [0.25], 16e6, 32e6)).apply(bad)


def test_a_scenarios_links_change_by_round(scenario, profile) -> None:
    link = Link(steps=[Step(up_mbps=8, down_mbps=9), Step(round=2, up_mbps=1, down_mbps=2)])
    course = course_of(scenario, profile, link, 3)
    assert course.up_bps[:, 0, 0].tolist() == [8e6, 8e6, 1e6, 1e6]
    assert course.down_bps[:, 0, 0].tolist() == [9e6, 9e6, 2e6, 2e6]
    backend = EmulatedFleet(ScenarioFleet(scenario, profile, 6))
    backend.reset(0)
    for _ in range(4):
        backend.apply(backend.fleet.native())
    assert backend.truth().up_bps[0, 0] == 5e6
    assert backend.fleet.count.tolist() == [[2.0, 1.0]]
    check_backend(backend)


def test_a_traces_rates_follow_the_round_index(scenario, profile, tmp_path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("t_s,up_mbps,down_mbps\n0,1,2\n10,3,4\n20,5,6\n")
    course = course_of(scenario, profile, Link(trace=str(path), trace_round_s=10.0), 2)
    assert course.up_bps[:, 0, 0].tolist() == [1e6, 3e6, 5e6]
    assert course.down_bps[:, 0, 0].tolist() == [2e6, 4e6, 6e6]


def test_a_calibration_holds_for_the_emulator(scenario, profile) -> None:
    found = Calibration(device_share=0.5, server_share=0.8, link_share=0.9, message_ms=4.0)
    plain = ScenarioFleet(scenario, profile, 2, loaded=False).draw(0)[1]
    fitted = ScenarioFleet(
        structs.replace(scenario, calibration=found), profile, 2, loaded=False
    ).draw(0)[1]
    np.testing.assert_allclose(fitted.speed, 0.5 * plain.speed)
    np.testing.assert_allclose(fitted.server_speed, 0.8 * plain.server_speed)
    np.testing.assert_allclose(fitted.up_bps, 0.9 * plain.up_bps)
    np.testing.assert_allclose(fitted.rtt_s, plain.rtt_s + 0.004)


def course_of(scenario: Scenario, profile: Profile, link: Link, rounds: int) -> Course:
    """Conditions of a fleet whose first devices have this link."""
    links = {**scenario.links, scenario.devices[0].link: link}
    return ScenarioFleet(structs.replace(scenario, links=links), profile, rounds).draw(0)[1]


@dataclass
class Changed:
    """What another source draws, but ``factor`` times as fast from round ``since`` to ``until``."""

    source: RandomFleets
    since: int
    factor: float = 0.2
    until: int = 99

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        fleet, course = self.source.draw(seed)
        rounds = np.arange(len(course.speed))
        inside = (rounds >= self.since) & (rounds < self.until)
        each = np.where(inside, self.factor, 1.0)[:, None, None]
        return fleet, replace(
            course, speed=course.speed * each, up_bps=course.up_bps * each,
            down_bps=course.down_bps * each, server_speed=course.server_speed * each[:, :, 0],
        )  # fmt: skip


def observations(source: Changed, rounds: int) -> list[Observation]:
    """After the warm-up and after each round of the same random rows."""
    episode, rng = Episode(EmulatedFleet(source)), np.random.default_rng(0)
    episode.reset(2)
    seen = [episode.observe()]
    for _ in range(rounds):
        episode.step(rng.integers(0, episode.table.valid.shape[2], episode.fleet.shape))
        seen.append(episode.observe())
    return seen


@pytest.mark.parametrize("since", [1, 2, 4])
def test_what_is_observed_after_a_round_depends_on_no_later_one(since: int) -> None:
    as_is, changed = (observations(Changed(SMALL, r), 5) for r in (99, since))
    for before in range(since):
        np.testing.assert_array_equal(as_is[before], changed[before])
    for after in range(since, 6):
        assert (as_is[after] != changed[after]).any()


def test_an_outage_and_hidden_load_are_measured_when_their_round_is_over() -> None:
    source = Changed(RandomFleets(20, 5, Limits(3, 5, 3)), since=2, factor=0.05, until=3)
    episode = Episode(EmulatedFleet(source, noise=0.0))
    episode.reset(4)
    measured, known = [], []
    for _ in range(3):
        measured.append(episode.run(episode.fleet.native()).outcome)
        known.append(episode.state)
    before, out, after = measured
    sent = np.isfinite(before.up_bps)  # some send too little to measure
    assert sent.sum() > 20
    assert np.median(out.up_bps[sent] / before.up_bps[sent]) < 0.1
    assert np.median(after.up_bps[sent] / before.up_bps[sent]) > 0.3
    assert np.median(out.round_s / after.round_s) > 5
    one, two = known[:2]
    assert np.median(two.up_bps[sent] / one.up_bps[sent]) < 0.2
    assert np.median(two.speed / one.speed) < 0.3


def hot(trip_c: float) -> EmulatedFleet:
    """At rest 30 C; native at full clock tends to 50 C within seconds."""
    fleet = replace(tiny(), trip_c=np.array([[trip_c]]), heat_tau_s=np.array([[0.1]]))
    return EmulatedFleet(Fixed(fleet, [0.25], 1e9, 1e9), noise=0.0)


def test_a_hot_board_applies_less_than_asked_and_says_so() -> None:
    episode = Episode(hot(trip_c=47.0))
    warm_up = episode.reset(0)
    assert warm_up.opp[0, 0] == 1
    assert warm_up.temp_c[0, 0] == pytest.approx(50.0, abs=0.3)
    done = episode.run(rows(2, 1)).outcome
    assert done.opp[0, 0] == episode.state.opp[0, 0] == 0
    assert done.device_s[0, 0] == pytest.approx(4 * 0.3 / (0.25 * 0.5))
    assert episode.state.speed[0, 0] == pytest.approx(0.25)  # what it could do stays known
    assert episode.run(rows(2, 1)).outcome.opp[0, 0] == 1  # it has cooled down


def test_a_board_below_its_trip_point_applies_what_is_asked() -> None:
    backend = hot(trip_c=51.0)
    backend.reset(0)
    assert backend.apply(rows(2, 1)).opp[0, 0] == 1


def test_a_device_that_waits_burns_idle_power() -> None:
    """The second device is ten times as fast and computes the same: it waits nine tenths."""
    one = tiny()
    pair = replace(one, **{
        f.name: np.repeat(getattr(one, f.name), 2, 1)
        for f in fields(one)
        if getattr(one, f.name).shape[:2] == (1, 1)
    })  # fmt: skip
    backend = EmulatedFleet(Fixed(pair, [0.1, 1.0], 16e6, 16e6), noise=0.0)
    done = backend.apply(backend.fleet.native())
    sync_s = 2 * 4e6 * 8 / 16e6
    np.testing.assert_allclose(done.total_s, [[12 + sync_s, 1.2 + sync_s]])
    idle_j = 2.0 * (12 + sync_s)
    np.testing.assert_allclose(
        done.energy_j, [[4 * 12 + sync_s + idle_j, 4 * 1.2 + sync_s + idle_j]]
    )
    mean_w = done.energy_j / done.round_s
    start_c = 20 + 5 * 2
    tends_c = 20 + 5 * mean_w
    decay = np.exp(-done.round_s / 60)
    np.testing.assert_allclose(done.temp_c, tends_c + (start_c - tends_c) * decay)


@dataclass
class Noisy:
    """What another source draws, measured with this noise (F,)."""

    source: RandomFleets
    noise: Floats

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        fleet, course = self.source.draw(seed)
        return fleet, replace(course, noise=self.noise)


MEASURED = ("device_s", "uplink_s", "server_s", "downlink_s", "sync_s", "rtt_s", "server_speed")
EXACT = ("way", "opp", "round_s", "energy_j", "temp_c", "late")


def offloading(noise: Floats, rounds: int) -> dict[str, Floats]:
    """All rounds of four fleets at cut 1, each figure (T, F, G) or (T, F)."""
    backend = EmulatedFleet(Noisy(RandomFleets(4, rounds, Limits(5, 5, 3)), noise))
    backend.reset(6)
    fleet = backend.fleet
    chosen = Rows(np.ones(fleet.shape, np.int64), fleet.n_opps - 1)
    seen = [backend.apply(chosen) for _ in range(rounds)]
    return {f.name: np.array([getattr(one, f.name) for one in seen]) for f in fields(Outcome)}


def test_noise_is_as_large_as_each_fleets_course_says() -> None:
    noise = np.array([0.0, 0.02, 0.05, 0.1])
    quiet, loud = offloading(np.zeros(4), 400), offloading(noise, 400)
    for name in EXACT:
        np.testing.assert_array_equal(quiet[name], loud[name])
    off = []
    for name in MEASURED:
        known = quiet[name].min(0) > 0  # inference synchronises nothing
        logs = np.log(loud[name][:, known] / quiet[name][:, known])
        sd = np.broadcast_to(noise.reshape(-1, *[1] * (known.ndim - 1)), known.shape)[known]
        np.testing.assert_allclose(logs.std(0), sd, rtol=0.15)  # 4 standard errors of 400 draws
        assert (abs(logs.mean(0)) <= 4 * sd / 20).all()
        off.append(logs[:, sd == 0.1])
    alike = np.corrcoef(np.concatenate(off, 1).T)
    assert abs(alike - np.eye(len(alike))).max() < 0.25  # each figure errs by itself


def test_a_measured_rate_errs_like_the_rest() -> None:
    quiet, loud = (offloading(np.full(4, sd), 400)["up_bps"] for sd in (0.0, 0.05))
    np.testing.assert_array_equal(np.isnan(quiet), np.isnan(loud))
    known = np.isfinite(quiet[0])
    logs = np.log(loud[:, known] / quiet[:, known])
    assert logs.std() == pytest.approx(0.05, rel=0.05)
    assert abs(logs.mean()) < 0.003


def test_a_backends_own_noise_is_for_sources_without() -> None:
    def spread(source: Fixed) -> float:
        backend = EmulatedFleet(source, noise=0.3)
        backend.reset(0)
        cuts = np.ones(backend.fleet.shape, np.int64)
        seen = [backend.apply(Rows(cuts, cuts)).rtt_s[0, 0] for _ in range(200)]
        return float(np.log(seen).std())

    assert spread(Fixed(tiny(), [0.25], 16e6, 32e6)) == pytest.approx(0.3, rel=0.2)
    quiet = Fixed(tiny(), [0.25], 16e6, 32e6)
    quiet.course = replace(quiet.course, noise=np.zeros(1))
    assert spread(quiet) < 1e-12
