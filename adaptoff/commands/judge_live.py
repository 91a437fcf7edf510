"""``adaptoff evaluate --live``: methods on a testbed, one after another on the same links.

Every method starts from the same weights and trains on the same samples. Seconds are measured, by
the server for the round and by each device for its part of it.
"""

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Self

from rich.console import Console

from adaptoff import config
from adaptoff.agents.episodes import Episodes, Played, episodes_of
from adaptoff.agents.evaluate import summary as judged
from adaptoff.agents.live_report import render
from adaptoff.agents.method import Method
from adaptoff.agents.results import Json
from adaptoff.agents.wanted import Wanted
from adaptoff.commands import live_methods, summary
from adaptoff.commands.bed import Bed, Source, laid
from adaptoff.commands.output import directory, write
from adaptoff.commands.wires import Kind
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode, Round
from adaptoff.errors import InputError
from adaptoff.fleet import Outcome
from adaptoff.policy import Policy
from adaptoff.scenario import Scenario


@dataclass(frozen=True)
class Contest:
    """What is judged, and how."""

    scenario: Scenario
    source: Source
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    policy: Policy
    target_accuracy: float | None = None
    """to measure the time to; None: what the worst method has in the end"""

    @classmethod
    def of(
        cls, wanted: Wanted, names: tuple[str, ...], seeds: tuple[int, ...], policy: Policy,
        policy_name: str, target_accuracy: float | None, dilation: float = 1.0,
    ) -> Self:  # fmt: skip
        """As the command line has it; raises InputError, ScenarioError."""
        if wanted.profiles:
            raise InputError("--profile: not with --live, which measures the scenario's model")
        values = {"workload.rounds": wanted.rounds, "objective.energy_weight": wanted.energy_weight}
        more = (f"{key}={value}" for key, value in values.items() if value is not None)
        overrides, name = (*wanted.overrides, *more), str(wanted.scenario)
        source = Source(name, overrides, policy_name, dilation)
        return cls(config.load(name, overrides), source, names, seeds, policy, target_accuracy)


def run(contest: Contest, net: Kind, out: Path | None, console: Console) -> Json:
    """Play it all; returns what ``--json`` prints, and writes it and a report into ``out``.

    Raises InputError before anything starts, RunError if a process dies.
    """
    profile = config.profile_of(contest.scenario)
    made = live_methods.methods(contest.names, contest.policy, contest.scenario, profile)
    if len({method.name for method in made}) < len(made):
        raise InputError("--methods: one is there twice")
    live_methods.twin(contest.scenario, profile)
    if out:
        directory(out)
    with laid(contest.scenario, contest.source, console, net, each=True) as bed:
        result = _result(contest, bed)
    return write(result, render(result), out) if out else result


def _result(contest: Contest, bed: Bed) -> Json:
    profile = bed.live.welcome.profile
    methods = live_methods.methods(contest.names, contest.policy, contest.scenario, profile)
    twin = live_methods.twin(contest.scenario, profile)
    played: list[Played] = []
    runs: dict[str, list[Json]] = {method.name: [] for method in methods}
    for seed in contest.seeds:
        played.append({})
        for method in methods:
            played[-1][method.name], run_ = _play(method, bed, twin, seed)
            runs[method.name].append(run_)
    asked = ("native", "oracle", *contest.names)
    names = dict(zip(dict.fromkeys(asked), (method.name for method in methods), strict=True))
    figures = judged(played, [names[name] for name in contest.names])
    return {
        **figures,
        "classes": {f"{profile.name}/{contest.scenario.name}": figures},
        **summary.of_bed(bed),
        "runs": _timed({name: each[0] for name, each in runs.items()}, contest.target_accuracy),
        "provenance": summary.provenance(bed, contest.policy, seeds=list(contest.seeds)),
    }


def _play(method: Method, bed: Bed, twin: EmulatedFleet, seed: int) -> tuple[Episodes, Json]:
    episode, warm_up, done = Episode(bed.live), list[Outcome](), list[Round]()

    def start() -> None:
        warm_up.append(episode.reset(seed, restart=True))
        method.reset(twin, seed)

    def step() -> None:
        done.append(live_methods.run_round(method, episode, bed.live))

    reports = bed.watch(method.name, start, step)
    return episodes_of(episode.fleet, warm_up[0], done), summary.of_method(bed.live, reports)


def _timed(runs: dict[str, Json], target: float | None) -> dict[str, Json]:
    """With training time, and time to an accuracy; ``runs`` by name."""
    target = min(each["accuracy"] for each in runs.values()) if target is None else target
    return {name: each | times(each, target) for name, each in runs.items()}


def times(run_: Json, target: float) -> Json:
    """Seconds of training in all, and until the first round of at least ``target`` accuracy."""
    elapsed_s = list(accumulate(run_["round_s"]))
    reached = (s for s, a in zip(elapsed_s, run_["accuracy_per_round"], strict=True) if a >= target)
    return {
        "training_time_s": elapsed_s[-1],
        "target_accuracy": target,
        "time_to_accuracy_s": next(reached, None),
    }
