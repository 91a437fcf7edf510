"""Rounds for ``controller.py``: fleets, what is broadcast of each round, the stages of a decision.

Nothing to run by itself.
"""

import time
from dataclasses import dataclass

import numpy as np

from adaptoff import config, estimate, figures, policy
from adaptoff.controller import Controller, decide
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.scenarios import ScenarioFleet
from adaptoff.fleet import FleetState, Outcome
from adaptoff.foresight import looked_at
from adaptoff.ground import scene
from adaptoff.messages import FleetFigures, Telemetry
from adaptoff.observation import observe
from adaptoff.scenario import Scenario

ROUNDS = 40
OPP = "{{mhz = {0}00, relative_speed = {1}, dynamic_w = {0}}}"
ONE_CLUSTER = f"""
name = "one"
workload = {{min_cut = 0}}
links.l = {{steps = [{{up_mbps = 20, down_mbps = 40}}], rtt_ms = 10}}
devices = [{{board = "b", link = "l"}}]

[boards.b]
speed = 0.2
opps = [{", ".join(OPP.format(k, k / 8) for k in range(1, 9))}]
"""
"""a device of eight OPPs and VGG-5's eight cuts"""

STAGES = ("figures", "foresight", "features", "scores", "guard and the rest")


@dataclass(frozen=True)
class Rounds:
    """A fleet in closed loop: the devices do what the policy says."""

    controller: Controller
    told: list[FleetFigures]

    def decide(self, i: int) -> None:
        """One decision of the first device."""
        figures = self.told[i % len(self.told)]
        self.controller.next(figures.round + 1, figures)

    def stages_us(self, calls: int) -> list[float]:
        """Of each stage half of the calls take at most so long."""
        spent = [self._laps(self.told[i % len(self.told)]) for i in range(calls)]
        return [float(value) / 1e3 for value in np.percentile(spent, 50, axis=0)]

    def _laps(self, told: FleetFigures) -> list[int]:
        """Nanoseconds of each stage; the last one is a whole decision less the others."""
        reader, policy = self.controller._reader, self.controller.policy  # noqa: SLF001
        laps = [time.thread_time_ns()]
        seen = reader.view(told)
        laps.append(time.thread_time_ns())
        assert seen.ground
        sight = looked_at(scene(seen.ground, seen.state))
        laps.append(time.thread_time_ns())
        features = observe(sight)
        laps.append(time.thread_time_ns())
        policy.choose(features, sight.table.valid)
        laps.append(time.thread_time_ns())
        self.controller.next(told.round + 1, told)
        whole = time.thread_time_ns() - laps[-1]
        return [*np.diff(laps), whole - (laps[-1] - laps[0])]


def rounds(source: str) -> Rounds:
    """Those of a scenario's file or name, each group of devices a cluster."""
    scenario = config.load(source)
    profile = config.profile_of(scenario)
    controller = Controller(0, scenario, profile, policy.default())
    backend = EmulatedFleet(ScenarioFleet(scenario, profile, ROUNDS + 1))
    state = estimate.initial(backend.fleet, backend.reset(0))
    told = []
    for round_ in range(ROUNDS):
        prior = state
        seen = backend.apply(decide(backend.fleet, state, controller.policy).rows)
        state = estimate.update(backend.fleet, prior, seen)
        told.append(broadcast(scenario, round_, prior, seen))
    return Rounds(controller, told)


def broadcast(scenario: Scenario, round_: int, prior: FleetState, seen: Outcome) -> FleetFigures:
    """What the server says after a round in which each cluster's first device is its slowest."""
    counts = [group.count for group in scenario.devices]
    return FleetFigures(
        epoch=0,
        round=round_,
        clusters=[cluster for cluster, count in enumerate(counts) for _ in range(count)],
        telemetry=[
            telemetry(seen, round_, cluster, sum(counts[:cluster]))
            for cluster in range(len(counts))
        ],
        prior=figures.prior_of(prior),
        round_s=float(seen.round_s[0]),
        server_speed=float(seen.server_speed[0]),
    )


def telemetry(seen: Outcome, round_: int, cluster: int, device: int) -> Telemetry:
    """That of a cluster's first device."""

    def of(name: str) -> float | None:
        value = float(getattr(seen, name)[0, cluster])
        return value if np.isfinite(value) else None

    measured = {
        name: of(name)
        for name in (
            "device_s", "uplink_s", "server_s", "downlink_s", "sync_s", "total_s", "energy_j",
            "temp_c", "up_bps", "down_bps", "rtt_s",
        )
    }  # fmt: skip
    return Telemetry(
        device=device, round=round_, cut=int(seen.way[0, cluster]), opp=int(seen.opp[0, cluster]),
        samples=1, energy_source="modelled", **measured,
    )  # fmt: skip
