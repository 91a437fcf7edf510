"""Methods on a live fleet in which every device is a cluster of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from adaptoff import schedule
from adaptoff.agents import baselines
from adaptoff.agents.exact import best_rows
from adaptoff.agents.hindsight import search
from adaptoff.agents.method import Forgetful, Method, play_round
from adaptoff.commands.hindsight import constant_rows
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode, Round
from adaptoff.envs.scenarios import ScenarioFleet
from adaptoff.errors import InputError
from adaptoff.fleet import Fleet, FleetState, Rows
from adaptoff.messages import MAX_CLUSTERS
from adaptoff.policy import Policy
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed.live import LiveFleet

EACH = "best-constant-each"


class Deployed(Forgetful):
    """The frozen policy on the devices, which decide for themselves."""

    name = "policy"

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Nothing is asked of the server; raises NotImplementedError."""
        raise NotImplementedError("the devices decide")


@dataclass
class Told(Forgetful):
    """The oracle: best rows under what the scenario names for the coming round.

    It knows boards, rates and server as they are meant to be, the profile as measured here, and
    the temperatures of the round before.
    """

    scenario: Scenario
    name: str = "oracle"

    def reset(self, backend: EmulatedFleet, seed: int) -> None:  # noqa: ARG002
        """Round 1 comes next."""
        self._round, self._schedules = 0, schedule.of_devices(self.scenario)

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (1, n_devices)."""
        self._round += 1
        named = schedule.nominal(self.scenario, self._schedules, self._round)
        true = state.under(replace(named, temp_c=state.temp_c))
        return best_rows(fleet, true, search(fleet, state, true))


@dataclass
class Constant(Forgetful):
    """The same rows (1, n_devices) in every round."""

    rows: Rows
    name: str = EACH

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:  # noqa: ARG002
        """Those."""
        return self.rows


def methods(
    names: Sequence[str], policy: Policy, scenario: Scenario, profile: Profile
) -> list[Method]:
    """Native, the oracle and those named, each once; raises InputError for an unknown one."""
    wanted = dict.fromkeys(("native", "oracle", *names))
    return [_method(name, policy, scenario, profile) for name in wanted]


def _method(name: str, policy: Policy, scenario: Scenario, profile: Profile) -> Method:
    if name == "policy":
        return Deployed()
    if name == "oracle":
        return Told(scenario)
    if name == EACH:
        return Constant(constant_rows(scenario, profile, each=True))
    return baselines.methods([name], policy)[0]


def twin(scenario: Scenario, profile: Profile) -> EmulatedFleet:
    """The fleet as emulated, a cluster a device: what methods train on, or look back upon.

    Raises InputError for more devices than clusters can be.
    """
    devices = scenario.each_device()
    if len(devices) > MAX_CLUSTERS:
        raise InputError(f"{scenario.name}: {len(devices)} devices: at most {MAX_CLUSTERS} here")
    apart = structs.replace(scenario, devices=[structs.replace(d, count=1) for d in devices])
    return EmulatedFleet(ScenarioFleet(apart, profile, scenario.workload.rounds, loaded=False))


def run_round(method: Method, episode: Episode, live: LiveFleet) -> Round:
    """One round with the method's rows, or with those that the devices choose."""
    if isinstance(method, Deployed):
        return episode.after(live.apply_local())
    return play_round(method, episode)
