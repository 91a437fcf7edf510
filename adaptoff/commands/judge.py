"""``adaptoff evaluate``: everything is checked, then played, then written at once."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from adaptoff.agents import front
from adaptoff.agents.baselines import methods
from adaptoff.agents.cases import Case, cases_of
from adaptoff.agents.episodes import Played, together
from adaptoff.agents.eval_report import render
from adaptoff.agents.evaluate import MINE, summary
from adaptoff.agents.provenance import policy_facts, provenance, traces_of
from adaptoff.agents.results import Json
from adaptoff.agents.tasks import Task, Tell, play_tasks
from adaptoff.agents.timeline import busiest, timeline
from adaptoff.agents.wanted import Wanted
from adaptoff.commands.output import directory, write
from adaptoff.envs.trials import TraceTrial
from adaptoff.errors import InputError
from adaptoff.policy import Policy


@dataclass(frozen=True)
class Judging:
    """Who is judged, and how often."""

    asked: tuple[str, ...]
    """methods as the user calls them"""
    seeds: tuple[int, ...]
    policy: Policy
    policy_name: str = "default"
    jobs: int = 1

    def names(self) -> list[str]:
        """The methods' own names; raises InputError for one that is not there, or twice."""
        names = [method.name for method in methods(self.asked, self.policy)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"--methods: {twice[0]} is there twice")
        return names


def run(judging: Judging, wanted: Wanted, out: Path | None, console: Console) -> Json:
    """Judge; returns what ``--json`` prints. With ``out``, writes results.json and report.html.

    Raises InputError before anything is played.
    """
    start_s, names = time.monotonic(), judging.names()
    cases = cases_of(wanted)
    tasks = [_task(case, seed, judging) for case in cases for seed in judging.seeds]
    more = front.tasks(cases, names, judging.seeds[0]) if out and directory(out) else []
    with _progress(tasks + more, console) as tell:
        played = play_tasks(tasks + more, judging.policy, judging.jobs, tell)
    n_seeds = len(judging.seeds)
    by_class = [played[i : i + n_seeds] for i in range(0, len(tasks), n_seeds)]
    result = _summaries(cases, by_class, names) | {"provenance": _provenance(judging, cases)}
    if out:
        result["front"] = front.front(cases, judging.seeds[0], played[len(tasks) :])
        result["timeline"] = _timeline(judging, cases, [seeds[0] for seeds in by_class])
    result["provenance"]["wall_s"] = round(time.monotonic() - start_s, 1)
    return write(result, render(result), out) if out else result


def _task(case: Case, seed: int, judging: Judging) -> Task:
    return Task(f"{case.name}, seed {seed}", case.source, seed, case.rounds, judging.asked)


@contextmanager
def _progress(tasks: Sequence[Task], console: Console) -> Iterator[Tell]:
    """A bar that counts plays."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        counted = bar.add_task("", total=sum(task.plays for task in tasks))
        yield lambda what, plays: bar.update(counted, description=what, advance=plays)


def _summaries(cases: list[Case], by_class: list[list[Played]], names: list[str]) -> Json:
    """All classes together, each of the same weight, and one by one."""
    everything = [together(parts) for parts in zip(*by_class, strict=True)]
    classes = zip(cases, by_class, strict=True)
    return {
        **summary(everything, names),
        "classes": {case.name: summary(played, names) for case, played in classes},
    }


def _provenance(judging: Judging, cases: list[Case]) -> Json:
    seeds = judging.seeds
    fleets = sum(case.facts["fleets"] for case in cases)
    on_traces = {
        case.name.partition("/")[2]: case.source
        for case in cases
        if isinstance(case.source, TraceTrial)
    }  # seeds draw the same links for all profiles
    chosen = {"policy": policy_facts(judging.policy, judging.policy_name)}
    return {
        **provenance(seeds, cases[0].rounds, fleets * len(seeds)),
        "jobs": judging.jobs,
        "classes": {case.name: case.facts for case in cases},
        "traces": {kind: traces_of(source, seeds) for kind, source in on_traces.items()},
        **(chosen if MINE in judging.asked else {}),
    }


def _timeline(judging: Judging, cases: list[Case], played: list[Played]) -> Json:
    """The first seed's episode in which most happened."""
    shown = MINE if MINE in judging.asked else judging.asked[-1]
    [method] = methods([shown], judging.policy)
    where, number = busiest(played, method.name)
    return timeline(cases[where], method, judging.seeds[0], number, played[where])
