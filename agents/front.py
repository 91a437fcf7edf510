"""The front between time and energy that ``energy_weight`` spans."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from adaptoff.agents.cases import Case
from adaptoff.agents.episodes import Played, together
from adaptoff.agents.evaluate import figures
from adaptoff.agents.results import Json
from adaptoff.agents.tasks import Task
from adaptoff.envs.emulator import Source
from adaptoff.envs.links import Course
from adaptoff.fleet import Fleet

WEIGHTS = (0.0, 0.1, 0.3, 1.0)
FLEETS = 16
"""of each class: the oracle is slow"""
SHOWN = ("policy", "planner")
"""beside native and the oracle, where they were asked for"""


def tasks(cases: Sequence[Case], names: Sequence[str], seed: int) -> list[Task]:
    """What to play, class by class and weight by weight."""
    shown = tuple(name for name in SHOWN if name in names)

    def task(case: Case, weight: float) -> Task:
        label, source = f"{case.name}, energy weight {weight:g}", Part(case.source, FLEETS, weight)
        return Task(label, source, seed, case.rounds, shown)

    return [task(case, weight) for case in cases for weight in WEIGHTS]


def front(cases: Sequence[Case], seed: int, played: Sequence[Played]) -> Json:
    """``{"seed", "fleets", "classes": {"all" | name: {method: [point, ...]}}}``.

    A point is ``{"energy_weight", "round_time_ratio", "energy_ratio"}``, means over ``fleets``.
    """
    n = len(WEIGHTS)
    by_class = [played[i : i + n] for i in range(0, len(played), n)]
    everything = [together(parts) for parts in zip(*by_class, strict=True)]
    named = zip(["all", *(case.name for case in cases)], [everything, *by_class], strict=True)
    return {
        "seed": seed,
        "fleets": len(played[0]["native"].cost),
        "classes": {name: _points(runs) for name, runs in named},
    }


def _points(runs: Sequence[Played]) -> Json:
    """By method, one point for each weight."""
    return {
        name: [_point(weight, run, name) for weight, run in zip(WEIGHTS, runs, strict=True)]
        for name in runs[0]
    }


def _point(energy_weight: float, run: Played, name: str) -> Json:
    found = figures([run], name)
    keys = ("round_time_ratio", "energy_ratio")
    return {"energy_weight": energy_weight, **{key: found[key]["mean"] for key in keys}}


@dataclass(frozen=True)
class Part:
    """The first ``fleets`` of a source, all with the same energy weight."""

    source: Source
    fleets: int
    energy_weight: float

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        """As the whole source's."""
        fleet, course = self.source.draw(seed)
        first = {f.name: getattr(fleet, f.name)[: self.fleets] for f in fields(Fleet)}
        first["energy_weight"] = np.full(len(first["energy_weight"]), self.energy_weight)
        rates = {f.name: getattr(course, f.name) for f in fields(Course) if f.name != "noise"}
        shorter = {name: values[:, : self.fleets] for name, values in rates.items()}
        noise = None if course.noise is None else course.noise[: self.fleets]
        return Fleet(**first), Course(**shorter, noise=noise)
