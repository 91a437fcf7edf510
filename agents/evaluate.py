"""Judging methods: all meet the same fleets and links; costs against native and the oracle.

The unit of a figure is one episode of one fleet (its mean over rounds); intervals are 95 %
percentile bootstraps over those episodes.
"""

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from adaptoff.agents.baselines import Method, Oracle, native
from adaptoff.envs.emulator import EmulatedFleet, Source
from adaptoff.envs.episode import Episode
from adaptoff.errors import InputError
from adaptoff.fleet import Floats

RESAMPLES = 2000
PACKAGES = ("adaptoff", "numpy")


@dataclass(frozen=True)
class Totals:
    """Means over the rounds of each episode, (episodes,)."""

    cost: Floats
    round_s: Floats
    energy_j: Floats


def evaluate(
    methods: Sequence[Method], source: Source, seeds: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Figures of every method over ``rounds`` rounds on each seed's fleets, ready for JSON.

    ``{"methods": {name: {"cost" | "round_time_ratio" | "energy_ratio" | "regret":
    {"mean", "ci95": [low, high]}}}, "provenance": {...}}``; ratios are against native, regret is
    cost over the oracle's minus 1. Raises InputError.
    """
    if not seeds or rounds < 1 or not methods:
        raise InputError("evaluation needs at least one method, one seed and one round")
    base, best = (run(m, source, seeds, rounds) for m in (native(), Oracle()))
    known = {"native": base, "oracle": best}
    totals = {m.name: known.get(m.name) or run(m, source, seeds, rounds) for m in methods}
    return {
        "methods": {name: figures(total, base, best) for name, total in totals.items()},
        "provenance": provenance(seeds, rounds, len(base.cost)),
    }


def run(method: Method, source: Source, seeds: Sequence[int], rounds: int) -> Totals:
    """Play one method; episodes are ordered by seed, then fleet."""
    played = [_play(method, EmulatedFleet(source), seed, rounds) for seed in seeds]
    return Totals(*(np.concatenate(column) for column in zip(*played, strict=True)))


def _play(
    method: Method, backend: EmulatedFleet, seed: int, rounds: int
) -> tuple[Floats, Floats, Floats]:
    episode = Episode(backend)
    episode.reset(seed)
    method.reset(backend, seed)
    done = [episode.run(method.choose(episode.fleet, episode.state)) for _ in range(rounds)]
    return (
        np.mean([each.cost for each in done], 0),
        np.mean([each.outcome.round_s for each in done], 0),
        np.mean([each.outcome.energy_j.sum(1) for each in done], 0),
    )


def figures(total: Totals, base: Totals, best: Totals) -> dict[str, Any]:
    """One method's figures with their intervals."""
    return {
        "cost": interval(total.cost),
        "round_time_ratio": interval(total.round_s / base.round_s),
        "energy_ratio": interval(total.energy_j / base.energy_j),
        "regret": interval(total.cost / best.cost - 1),
    }


def interval(values: Floats) -> dict[str, Any]:
    """Mean and 95 % bootstrap interval of values (episodes,)."""
    rng = np.random.default_rng(0)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": float(values.mean()), "ci95": [float(low), float(high)]}


def provenance(seeds: Sequence[int], rounds: int, episodes: int) -> dict[str, Any]:
    """How to get these figures again."""
    return {
        "command": sys.argv,
        "seeds": list(seeds),
        "rounds": rounds,
        "episodes": episodes,
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
    }
