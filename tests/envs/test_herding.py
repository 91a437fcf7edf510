"""Clusters that all read last round's server load must not jump together and back."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from adaptoff import candidates, config, cost, policy, risk
from adaptoff import fleet as fleets
from adaptoff.agents import baselines
from adaptoff.agents.method import Method, Stateless, play
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.links import Course
from adaptoff.fleet import Fleet, FleetState, Floats, Rows
from adaptoff.ground import Ground, scene
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario


@dataclass
class Alike:
    """Fleets of identical clusters that share a server, under conditions that never change.

    Every combination of 2 to 6 clusters of 1 or 3 devices, slow to quick boards, links and servers,
    without and with a price of energy: from "nobody offloads" to "the server is full".
    """

    profile: Profile
    scenario: Scenario
    noise: float

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        """324 fleets, padded to six clusters."""
        boards = [self.scenario.boards["slow"]] * 6
        one = fleets.build(self.profile, self.scenario, boards, [1] * 6)
        cases = np.array(list(product(
            (2, 4, 6), (1, 3), (0.02, 0.1, 0.4), (5e6, 30e6, 150e6), (0.3, 1.0, 3.0), (0.0, 0.3),
        )))  # fmt: skip
        clusters, count, speed, link_bps, server_speed, weight = cases.T

        def each(values: Floats) -> Floats:
            return np.repeat(values[:, None], 6, 1)

        fleet = replace(
            fleets.take(one, np.zeros(len(cases), int)),
            active=np.arange(6) < clusters[:, None],
            count=each(count),
            energy_weight=weight,
            heat_c_per_w=np.zeros((len(cases), 6)),  # warming up is no steady condition
        )
        return fleet, Course(
            speed=each(speed)[None],
            up_bps=each(link_bps)[None],
            down_bps=each(link_bps)[None],
            rtt_s=np.full((1, *fleet.shape), 0.005),
            server_speed=server_speed[None],
            noise=np.full(len(cases), self.noise),
        )


def changes(method: Method, source: Alike, rounds: int = 80) -> Floats:
    """Share (T, F) of a fleet's clusters that take another row than in the round before."""
    done = play(method, EmulatedFleet(source), seed=3, rounds=rounds)
    way, opp = (np.stack([getattr(one.outcome, name) for one in done]) for name in ("way", "opp"))
    active = source.draw(0)[0].active
    moved = ((np.diff(way, axis=0) != 0) | (np.diff(opp, axis=0) != 0)) & active
    return moved.sum(2) / active.sum(1)


def greedily(fleet: Fleet, state: FleetState) -> Rows:
    """What is best for each if the others keep their rows: the herd."""
    table, current = candidates.build(fleet, state), cost.joint(fleet, state, state.rows)
    columns = cost.alternatives(fleet, state, table.options, current)
    outlook = risk.alone(scene(Ground(fleet, table), state), columns)
    seconds = outlook.seconds(risk.slowest_other(fleet, current.total_s))
    costs = outlook.costs(seconds, outlook.excess_c(seconds), current)
    return table.take(table.spread(costs, np.inf).argmin(2))


def test_a_greedy_choice_jumps_together_and_back(scenario: Scenario) -> None:
    source = Alike(config.profile_of(scenario), scenario, noise=0.0)
    moved = changes(Stateless("greedy", greedily), source)
    assert (moved[-10:] == 1).all(0).sum() >= 3


def test_the_shipped_policy_settles_under_steady_conditions(scenario: Scenario) -> None:
    moved = changes(
        baselines.of_policy(policy.default()),
        Alike(config.profile_of(scenario), scenario, noise=0.0),
    )
    restless = np.flatnonzero(moved[-10:].any(0))
    assert restless.tolist() == []


def test_with_noise_the_shipped_policy_rarely_changes_its_mind(scenario: Scenario) -> None:
    moved = changes(
        baselines.of_policy(policy.default()),
        Alike(config.profile_of(scenario), scenario, noise=0.05),
    )
    assert moved[-20:].mean() < 0.05
    assert (moved[-20:].mean(0) < 0.5).all()  # jumping every other round is herding, too
