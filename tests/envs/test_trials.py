from dataclasses import fields
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adaptoff import config, planner
from adaptoff.envs import boards, trials
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode
from adaptoff.envs.replay import Traces, averages
from adaptoff.envs.trials import DrawnTrial, TraceTrial, Trial, crossing_speed
from adaptoff.errors import InputError, TraceError
from adaptoff.fleet import Bools, Rows
from adaptoff.traces import Trace

TRACES = Path(__file__).parents[3] / "shared" / "data" / "traces"


@pytest.fixture(scope="module")
def profiles(profile, scenario):
    """Four cuts and eight: the toy and VGG-5."""
    return [profile, config.profile_of(scenario)]


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Downlink only, then both directions."""
    one, both = tmp_path / "one.csv", tmp_path / "both.csv"
    lines = [f"{t},,{2 + t % 3}" for t in range(40)]
    one.write_text("t_s,up_mbps,down_mbps\n" + "\n".join(lines) + "\n")
    lines = [f"{t},{1 + t % 2},{10 + t}" for t in range(40)]
    both.write_text("t_s,up_mbps,down_mbps\n" + "\n".join(lines) + "\n")
    return [one, both]


def test_shapes_and_static_facts_are_as_announced(profiles) -> None:
    fleet, course = DrawnTrial(profiles, 300, 6).draw(1)
    for part in (fleet, course):
        for field in fields(part):
            assert np.isfinite(getattr(part, field.name)).all(), field.name
    assert course.up_bps.shape == (7, 300, 5)
    assert set(fleet.active.sum(1).tolist()) == {2, 3, 4, 5}
    assert set(fleet.count.ravel().tolist()) == {1.0, 2.0, 3.0}
    assert fleet.batches.min() == 2
    assert fleet.batches.max() == 40
    assert (fleet.batches == fleet.batches[:, :1]).all()
    assert (fleet.depth == 1).all()
    assert (course.noise == 0.05).all()
    assert 0.13 < (fleet.energy_weight == 0).mean() < 0.27
    assert (DrawnTrial(profiles, 4, 2, energy_weight=0.3).draw(1)[0].energy_weight == 0.3).all()


def test_profiles_take_turns_and_are_padded_with_native(profiles) -> None:
    fleet, _ = DrawnTrial(profiles, 6, 2).draw(1)
    assert fleet.n_ways.tolist() == [4, 8] * 3
    toy, vgg = profiles
    np.testing.assert_allclose(fleet.up_bytes[0, :4], toy.column("up_bytes", toy.batch_size))
    assert (fleet.up_bytes[0, 3:] == 0).all()
    assert (fleet.device_work_s[0, :, 3:] == toy.cuts[-1].device_s).all()
    np.testing.assert_allclose(fleet.device_work_s[1, 2], vgg.column("device_s", vgg.batch_size))
    assert (np.diff(fleet.device_work_s, axis=2) >= 0).all()


def test_the_crossing_speed_makes_native_and_offloading_equal(profile) -> None:
    """By hand: cut 2 saves 0.03 s of work for 1e6 bytes less 1.8e6 of weights over 9 batches."""
    seconds = 8 * (1e6 - 1.8e6 / np.sqrt(80)) / np.sqrt(3e6 * 100e6) + 0.03
    assert crossing_speed(profile) == pytest.approx(0.03 / seconds)


def test_a_dnn_of_two_cuts_has_a_crossing_speed_too(profile) -> None:
    two = msgspec.structs.replace(profile, cuts=[profile.cuts[0], profile.cuts[-1]])
    assert 0.01 < crossing_speed(two) < 10
    assert np.isfinite(DrawnTrial([two], 2, 2).draw(0)[1].speed).all()


def test_the_links_move_and_jump_as_stated(profiles) -> None:
    _, course = DrawnTrial(profiles, 100, 200).draw(2)
    logs = np.log(course.up_bps)
    inside = (course.up_bps > 0.5e6) & (course.up_bps < 500e6)
    level_free = logs[1:] - trials.AR * logs[:-1]
    # Between jumps x' - 0.9 x differs from 0.1 level by the innovation alone.
    steps = np.diff(level_free, axis=0)[inside[2:] & inside[1:-1] & inside[:-2]]
    assert np.median(abs(steps)) / 0.6745 == pytest.approx(0.35 * np.sqrt(2), rel=0.15)
    ratio = course.down_bps / course.up_bps
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1], ratio.shape))
    assert ratio.max() <= 4.0
    assert (ratio[0] == 1.0).mean() == pytest.approx(0.5, abs=0.1)
    assert np.quantile(course.up_bps, 0.05) > 1e6
    assert np.quantile(course.up_bps, 0.95) < 200e6


def test_levels_jump_as_often_as_stated(profiles, monkeypatch) -> None:
    monkeypatch.setattr(trials, "INNOVATION", 0.0)
    _, course = DrawnTrial(profiles, 100, 100).draw(2)
    assert (np.diff(course.up_bps, axis=0) != 0).mean() == pytest.approx(0.05, abs=0.004)
    assert course.up_bps.min() >= 3e6
    assert course.up_bps.max() <= 100e6


def test_hidden_load_is_redrawn_as_often_as_stated(profiles) -> None:
    _, course = DrawnTrial(profiles, 100, 100).draw(2)
    for speed in (course.speed, course.server_speed):
        assert (np.diff(speed, axis=0) != 0).mean() == pytest.approx(0.1, abs=0.01)
        assert (speed.min(0) / speed.max(0)).min() >= 0.4
    idle = course.speed.max(0)[0::2]  # fleets of one profile
    assert 10 < idle.max() / idle.min() < 20


def best_cuts(trial: Trial) -> tuple[Bools, Bools]:
    """Which active clusters do best with native, and which with cut 0 or 1."""
    episode = Episode(EmulatedFleet(trial))
    episode.reset(3)
    fleet = episode.fleet
    cut = planner.plan(fleet, episode.state.under(episode.backend.truth())).way
    native = (cut == fleet.n_ways[:, None] - 1)[fleet.active]
    return native, (cut <= 1)[fleet.active] & ~native


def test_native_early_and_interior_cuts_are_each_often_best(profiles) -> None:
    for each in profiles:
        native, early = best_cuts(DrawnTrial([each], 96, 2))
        for share in (native, early, ~native & ~early):
            assert 0.1 < share.mean() < 0.75, each.name


def too_hot(trial: Trial, seed: int, rounds: int, *, slow: bool) -> Bools:
    """Which active device-rounds end above the heat limit, at the native cut and one clock."""
    backend = EmulatedFleet(trial)
    backend.reset(seed)
    fleet = backend.fleet
    native = fleet.native()
    rows = Rows(native.way, np.zeros_like(native.way)) if slow else native
    done = [backend.apply(rows).temp_c > fleet.heat_limit_c[:, None] for _ in range(rounds)]
    return np.array(done)[:, fleet.active]


def test_where_heat_binds_native_breaks_the_limit_and_a_feasible_row_exists(profiles) -> None:
    for seed in (4, 5):
        trial = DrawnTrial(profiles, 64, 24, heat=True)
        assert too_hot(trial, seed, 24, slow=False).mean() >= 0.25
        assert too_hot(trial, seed, 24, slow=True).mean() <= 0.01


def test_without_heat_no_limit_binds(profiles) -> None:
    assert not too_hot(DrawnTrial(profiles, 64, 24), 4, 24, slow=False).any()


def test_links_do_not_depend_on_what_is_chosen(profiles, files) -> None:
    for trial in (DrawnTrial(profiles, 4, 6), TraceTrial(profiles, files, 4, 6)):
        slow, native = EmulatedFleet(trial), EmulatedFleet(trial)
        for backend in (slow, native):
            backend.reset(9)
        for _ in range(6):
            slow.apply(Rows(native.fleet.native().way, np.zeros(native.fleet.shape, np.int64)))
            native.apply(native.fleet.native())
            a, b = slow.truth(), native.truth()
            for name in ("speed", "up_bps", "down_bps", "rtt_s", "server_speed"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_both_trials_of_a_seed_have_the_same_fleets(profiles, files) -> None:
    drawn, traced = DrawnTrial(profiles, 5, 4).draw(7), TraceTrial(profiles, files, 5, 4).draw(7)
    for field in fields(drawn[0]):
        np.testing.assert_array_equal(getattr(drawn[0], field.name), getattr(traced[0], field.name))
    np.testing.assert_array_equal(drawn[1].speed, traced[1].speed)
    assert (drawn[1].up_bps != traced[1].up_bps).any()


def test_averages_of_a_trace_by_hand() -> None:
    trace = Trace(np.arange(4.0), np.array([1.0, 2, 3, 4]), np.full(4, 8.0), 4.0)
    np.testing.assert_allclose(averages(trace, 0.5, 2, 2.0)[0], [2.0, 3.0])  # repeats after 4 s
    np.testing.assert_allclose(averages(trace, 3.0, 1, 1.0)[:, 0], [4.0, 8.0])


def test_traces_are_followed_scaled_and_accounted_for(profiles, files) -> None:
    trial = TraceTrial(profiles, files, 50, 7, scale_to_mbps=(3, 100), up_over_down=0.25)
    fleet, course = trial.draw(1)
    used = trial.replay(1)
    assert used.file.shape == fleet.shape
    assert set(used.file.ravel().tolist()) == {0, 1}
    first = used.file == 0
    np.testing.assert_allclose(used.up_over_down[first], 0.25)
    np.testing.assert_allclose(used.up_over_down[~first], 1.5 / 29.5)
    np.testing.assert_allclose((course.up_bps / course.down_bps)[:, first], 0.25)
    mean_mbps = np.where(first, (2 * 14 + 3 * 13 + 4 * 13) / 40, 29.5) * used.factor
    assert 3 <= mean_mbps.min() < 6
    assert 50 < mean_mbps.max() <= 100
    # 40 s are eight rounds of 5 s: the whole trace has passed.
    np.testing.assert_allclose(course.down_bps.mean(0) / 1e6, mean_mbps)


def test_unscaled_traces_stay_as_measured(profiles, files) -> None:
    trial = TraceTrial(profiles, files[1:], 3, 7)
    assert (trial.replay(1).factor == 1).all()
    np.testing.assert_allclose(trial.draw(1)[1].up_bps.mean(0), 1.5e6)


def test_bad_figures_are_refused(profiles, files, tmp_path) -> None:
    for make in (
        lambda: DrawnTrial([], 1, 1),
        lambda: DrawnTrial(profiles, 0, 1),
        lambda: TraceTrial(profiles, [], 1, 1),
        lambda: TraceTrial(profiles, files, 1, 1, scale_to_mbps=(100, 3)),
        lambda: Traces(files, up_over_down=0.0),
    ):
        with pytest.raises(InputError):
            make()
    with pytest.raises(TraceError):
        TraceTrial(profiles, [tmp_path / "none.csv"], 1, 1)


def test_real_traces_can_be_replayed(profiles) -> None:
    found = sorted(TRACES.glob("*.csv"))
    if not found:
        pytest.skip(f"no traces in {TRACES}")
    trial = TraceTrial(profiles, found, 16, 10, scale_to_mbps=(3, 100), up_over_down=0.5)
    _, course = trial.draw(1)
    np.testing.assert_allclose(course.up_bps, course.down_bps / 2)
    assert 3e6 < np.median(course.down_bps) < 100e6


def test_boards_are_whole() -> None:
    for name, board in boards.BOARDS.items():
        sizes = {len(column) for column in (board.mhz, board.relative_speed, board.dynamic_w)}
        assert len(sizes) == 1, name
        for column in (board.mhz, board.relative_speed, board.dynamic_w):
            assert list(column) == sorted(column), name
        assert board.relative_speed[-1] == 1.0, name
    table = boards.columns(np.array([[0, 2]]))
    assert table["n_opps"].tolist() == [[3, 4]]
    np.testing.assert_array_equal(table["relative_speed"][0, 0], [0.52, 0.83, 1.0, 1.0])
