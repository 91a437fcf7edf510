"""What may not leak: the hidden truth into what is seen, actions into what is drawn."""

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from adaptoff.agents import baselines, tuned
from adaptoff.agents.method import play
from adaptoff.envs.emulator import EmulatedFleet, Source
from adaptoff.envs.episode import Episode
from adaptoff.envs.fleet_env import FleetEnv
from adaptoff.envs.links import Course
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.envs.scenarios import ScenarioFleet
from adaptoff.envs.trials import DrawnTrial, TraceTrial
from adaptoff.envs.vec_env import FleetVecEnv
from adaptoff.fleet import Conditions, Fleet, Outcome, Rows
from adaptoff.observation import FEATURES
from adaptoff.policy import Policy
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario

SMALL = Limits(3, 5, 3)
ROUNDS = 5
DRAWN = ("speed", "up_bps", "down_bps", "rtt_s", "server_speed")
Choose = Callable[[Fleet, int], Rows]


def far_away(scenario: Scenario) -> Scenario:
    """With round trips, so that there is something to lie about."""
    links = {name: structs.replace(link, rtt_ms=8.0) for name, link in scenario.links.items()}
    return structs.replace(scenario, links=links)


def native(fleet: Fleet, round_: int) -> Rows:
    return fleet.native()


def slowest(fleet: Fleet, round_: int) -> Rows:
    return Rows(fleet.native().way, np.zeros(fleet.shape, np.int64))


def anything(fleet: Fleet, round_: int) -> Rows:
    rng = np.random.default_rng(round_)
    return Rows(rng.integers(0, fleet.n_ways[:, None], fleet.shape), rng.integers(0, fleet.n_opps))


@pytest.fixture(params=["random fleets", "drawn trial", "heat trial", "trace trial", "scenario"])
def source(
    request: pytest.FixtureRequest, profile: Profile, scenario: Scenario, tmp_path: Path
) -> Source:
    match request.param:
        case "random fleets":
            return RandomFleets(8, ROUNDS, SMALL)
        case "drawn trial":
            return DrawnTrial([profile], 6, ROUNDS)
        case "heat trial":
            return DrawnTrial([profile], 6, ROUNDS, heat=True)
        case "trace trial":
            trace = tmp_path / "trace.csv"
            lines = [f"{t},{2 + t % 5},{3 + t % 7}" for t in range(30)]
            trace.write_text("t_s,up_mbps,down_mbps\n" + "\n".join(lines) + "\n")
            return TraceTrial([profile], [trace], 6, ROUNDS)
    return ScenarioFleet(far_away(scenario), profile, ROUNDS)


def drawn(source: Source, choose: Choose) -> tuple[list[Conditions], list[Outcome]]:
    """The conditions of all rounds, and what was measured."""
    backend = EmulatedFleet(source)
    seen = [backend.reset(9)]
    truth = []
    for round_ in range(ROUNDS):
        truth.append(backend.truth())
        seen.append(backend.apply(choose(backend.fleet, round_)))
    return truth, seen


@pytest.mark.parametrize("choose", [slowest, anything])
def test_what_is_drawn_does_not_depend_on_what_is_chosen(source: Source, choose: Choose) -> None:
    (truth, seen), (other_truth, other_seen) = drawn(source, native), drawn(source, choose)
    for one, other in zip(truth, other_truth, strict=True):
        for name in DRAWN:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for one, other in zip(seen, other_seen, strict=True):  # nor does the noise
        np.testing.assert_array_equal(one.server_speed, other.server_speed)
        np.testing.assert_array_equal(one.rtt_s, other.rtt_s)
        both = np.isfinite(one.up_bps) & np.isfinite(other.up_bps)
        np.testing.assert_array_equal(one.up_bps[both], other.up_bps[both])
    assert (seen[-1].round_s != other_seen[-1].round_s).any()
    assert any((a.speed != b.speed).any() for a, b in pairwise(truth))


def test_the_next_episode_does_not_depend_on_the_last_ones_actions() -> None:
    starts = []
    for action in (0, 7):
        env = FleetVecEnv(EmulatedFleet(RandomFleets(4, 3, SMALL)), 3, seed=5)
        env.reset()
        for _ in range(3):
            env.step(np.full((4, env.shape.clusters), action))
        starts.append((env.episode.backend.fleet, env.episode.backend.truth()))
    (fleet, at), (other_fleet, other_at) = starts
    for field in fields(Fleet):
        np.testing.assert_array_equal(getattr(fleet, field.name), getattr(other_fleet, field.name))
    for name in DRAWN:
        np.testing.assert_array_equal(getattr(at, name), getattr(other_at, name))


class Lying(EmulatedFleet):
    """Runs rounds on what was drawn; between them the hidden truth is another one."""

    def reset(self, seed: int) -> Outcome:
        self._honest: Course | None = None
        return super().reset(seed)

    def apply(self, rows: Rows) -> Outcome:
        self._course = self._honest = self._honest or self._course
        seen = super().apply(rows)
        self._course = wild(self._honest)
        return seen


def wild(course: Course) -> Course:
    """Every condition up to a hundred times as much or as little; the same noise."""
    rng, names = np.random.default_rng(3), [f.name for f in fields(Course) if f.name != "noise"]
    far = {name: np.exp(rng.uniform(-4, 4, getattr(course, name).shape)) for name in names}
    return replace(course, **{name: getattr(course, name) * far[name] for name in names})


def test_a_lie_is_one(source: Source) -> None:
    honest, lying = EmulatedFleet(source), Lying(source)
    seen = [backend.reset(4) for backend in (honest, lying)]
    np.testing.assert_array_equal(seen[0].total_s, seen[1].total_s)
    for name in DRAWN:
        assert (getattr(honest.truth(), name) != getattr(lying.truth(), name)).all()


def test_what_is_observed_does_not_depend_on_the_hidden_truth(source: Source) -> None:
    honest, lying = Episode(EmulatedFleet(source)), Episode(Lying(source))
    for episode in (honest, lying):
        episode.reset(4)
    for round_ in range(ROUNDS):
        np.testing.assert_array_equal(honest.observe(), lying.observe())
        np.testing.assert_array_equal(honest.table.valid, lying.table.valid)
        rows = anything(honest.fleet, round_)
        np.testing.assert_array_equal(honest.run(rows).cost, lying.run(rows).cost)
    np.testing.assert_array_equal(honest.observe(), lying.observe())


def test_what_the_environments_return_does_not_depend_on_the_hidden_truth() -> None:
    source = RandomFleets(1, ROUNDS, SMALL)
    envs = [FleetEnv(kind(source), ROUNDS) for kind in (EmulatedFleet, Lying)]
    seen = [env.reset(seed=4)[0] for env in envs]
    for _ in range(ROUNDS):
        np.testing.assert_array_equal(seen[0]["features"], seen[1]["features"])
        (honest, reward, *_), (lying, other, *_) = (env.step(np.ones(3, np.int64)) for env in envs)
        assert reward == other
        seen = [honest, lying]


CONTROLLERS = [
    "policy", *tuned.PLANNERS, "native", "all-offload", "random", "threshold", "tiers", "linucb",
    "fedadapt-constant",
]  # fmt: skip


def chosen(name: str, backend: EmulatedFleet) -> list[Outcome]:
    """The rounds of a method; a policy by weights that nobody has trained."""
    weights = np.random.default_rng(0).standard_normal((len(FEATURES), 1)).astype(np.float32)
    (method,) = baselines.methods([name], Policy([(weights, np.zeros(1, np.float32))]))
    return [done.outcome for done in play(method, backend, seed=4, rounds=ROUNDS)]


def same_rows(name: str) -> bool:
    source = RandomFleets(8, ROUNDS, SMALL)
    both = zip(chosen(name, EmulatedFleet(source)), chosen(name, Lying(source)), strict=True)
    return all((a.way == b.way).all() and (a.opp == b.opp).all() for a, b in both)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_no_controller_looks_at_the_hidden_truth(name: str) -> None:
    assert same_rows(name)


def test_an_oracle_does_look_at_the_hidden_truth() -> None:
    assert not same_rows("oracle")
