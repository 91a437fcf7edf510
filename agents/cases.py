"""What methods are judged on: classes of scenarios, each a DNN on one kind of links."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from adaptoff import config
from adaptoff.agents.results import Json
from adaptoff.agents.wanted import Wanted, trace_files
from adaptoff.envs.emulator import Source
from adaptoff.envs.scenarios import ScenarioFleet
from adaptoff.envs.trials import LEVEL_BPS, DrawnTrial, TraceTrial
from adaptoff.errors import InputError
from adaptoff.profile import Profile

FLEETS, ROUNDS = 64, 24
TRACE_ROUND_S = 5.0


@dataclass(frozen=True)
class Case:
    """One class of scenarios: a source of its fleets, and what there is to say of it."""

    name: str
    source: Source
    rounds: int
    facts: Json


def cases_of(wanted: Wanted) -> list[Case]:
    """The classes, with all their files read and understood.

    Raises InputError, ScenarioError, ProfileError, TraceError.
    """
    cases = of_scenario(wanted) if wanted.scenario else of_trials(wanted)
    names = [case.name for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two classes are called {twice[0]}: name profiles and traces apart")
    for case in cases:
        case.source.draw(0)  # fails for a profile that says nothing of these boards
    return cases


def of_scenario(wanted: Wanted) -> list[Case]:
    """A scenario's fleet, with its own profile or with those given."""
    overrides = wanted.overrides
    if wanted.energy_weight is not None:
        overrides += (f"objective.energy_weight={wanted.energy_weight}",)
    scenario = config.load(str(wanted.scenario), overrides)
    profiles = [config.find_profile(name) for name in wanted.profiles]
    rounds = wanted.rounds or scenario.workload.rounds
    facts = {"fleets": 1, "scenario": msgspec.to_builtins(scenario)}
    return [
        Case(
            f"{profile.name}/{scenario.name}",
            ScenarioFleet(scenario, profile, rounds),
            rounds,
            facts | {"profile": profile_facts(profile)},
        )
        for profile in profiles or [config.profile_of(scenario)]
    ]


def of_trials(wanted: Wanted) -> list[Case]:
    """Drawn fleets of each profile: on drawn links, and on those of each directory of traces."""
    profiles = [config.find_profile(name) for name in wanted.profiles]
    shipped = (config.find_profile(name) for name in config.shipped_profiles())
    profiles = profiles or [profile for profile in shipped if profile.mode == "training"]
    fleets, rounds = wanted.fleets or FLEETS, wanted.rounds or ROUNDS
    facts = {
        "fleets": fleets,
        "heat_limit_binds": wanted.heat,
        "depths": list(wanted.work.depths),
        "codecs": list(wanted.work.codecs),
        "energy_weight": "drawn" if wanted.energy_weight is None else wanted.energy_weight,
    }
    return [
        Case(
            f"{profile.name}/{kind}{'-hot' if wanted.heat else ''}",
            source,
            rounds,
            {"profile": profile_facts(profile), "links": links, **facts},
        )
        for profile in profiles
        for kind, source, links in _links(wanted, profile, fleets, rounds)
    ]


def _links(
    wanted: Wanted, profile: Profile, fleets: int, rounds: int
) -> Iterator[tuple[str, Source, Json]]:
    """Kinds of links, the fleets on them, and how they came about."""
    weight, heat, work = wanted.energy_weight, wanted.heat, wanted.work
    level = [rate / 1e6 for rate in LEVEL_BPS]
    facts: Json = {"law": "log-AR(1) about a level that jumps", "level_mbps": level}
    yield "drawn", DrawnTrial([profile], fleets, rounds, weight, heat=heat, work=work), facts
    for directory in wanted.traces:
        files, name = trace_files(directory), directory.resolve().name
        for scale in wanted.scales_mbps:
            yield (
                f"{name}-scaled" if scale else name,
                TraceTrial(
                    [profile], files, fleets, rounds, scale, wanted.up_over_down,
                    round_s=TRACE_ROUND_S, energy_weight=weight, heat=heat, work=work,
                ),
                trace_facts(directory, files, scale, wanted.up_over_down),
            )  # fmt: skip


def profile_facts(profile: Profile) -> Json:
    """Which profile it was."""
    return {
        "name": profile.name,
        "mode": profile.mode,
        "cuts": len(profile.cuts),
        "batch_size": profile.batch_size,
        "sha256": sha256(msgspec.json.encode(profile)).hexdigest(),
    }


def trace_facts(
    directory: Path, files: list[Path], scale: tuple[float, float] | None, ratio: float | None
) -> Json:
    """How traces were replayed; the ratio holds for files that measured one direction alone."""
    return {
        "traces": str(directory),
        "files": len(files),
        "mean_downlink_scaled_to_mbps": scale and list(scale),
        "uplink_over_downlink_where_one_was_measured": ratio or 1.0,
        "trace_seconds_a_round": TRACE_ROUND_S,
    }
