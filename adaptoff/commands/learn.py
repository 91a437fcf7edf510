"""``adaptoff train``, ``freeze`` and ``evaluate``."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from adaptoff import config, policy
from adaptoff.agents import baselines
from adaptoff.agents.evaluate import evaluate
from adaptoff.agents.freeze import freeze
from adaptoff.agents.train import TrainConfig, train
from adaptoff.commands.output import directory
from adaptoff.envs.emulator import Source
from adaptoff.envs.sampler import RandomFleets
from adaptoff.envs.scenarios import ScenarioFleet
from adaptoff.policy import Policy

HELD_OUT_SEEDS = range(20_000, 20_004)
HELD_OUT_ROUNDS = 16
COLUMNS = ("cost", "round_time_ratio", "energy_ratio", "regret")


def run_training(settings: TrainConfig, out: Path, resume: Path | None) -> dict[str, Any]:
    """Train; returns where the last checkpoint is."""
    return {"checkpoint": str(train(settings, directory(out), resume))}


def run_freezing(checkpoint: Path, out: Path, *, judge: bool) -> dict[str, Any]:
    """Freeze; returns what the policy's header says of its origin, and how it was judged."""
    directory(out.parent)
    frozen = freeze(checkpoint)
    if judge:
        source, methods = RandomFleets(64, HELD_OUT_ROUNDS), ["policy", "planner"]
        judged = run_evaluation(methods, frozen, source, HELD_OUT_ROUNDS, list(HELD_OUT_SEEDS))
        frozen = freeze(checkpoint, judged["methods"] | {"seeds": list(HELD_OUT_SEEDS)})
    policy.save(frozen, out)
    return {"policy": str(out), "provenance": frozen.provenance}


def source_of(
    scenario: str | None, overrides: tuple[str, ...], fleets: int, rounds: int | None
) -> tuple[Source, int]:
    """What to evaluate on, and for how many rounds an episode."""
    if scenario is None:
        rounds = rounds or 32
        return RandomFleets(fleets, rounds), rounds
    loaded = config.load(scenario, overrides)
    rounds = rounds or loaded.workload.rounds
    return ScenarioFleet(loaded, config.profile_of(loaded), rounds), rounds


def run_evaluation(
    names: list[str], chosen: Policy, source: Source, rounds: int, seeds: list[int]
) -> dict[str, Any]:
    """Figures of every method, against native and the oracle."""
    return evaluate(baselines.methods(names, chosen), source, seeds, rounds)


def print_evaluation(result: dict[str, Any], console: Console) -> None:
    """A row a method, mean and 95 % interval."""
    table = Table(*("method", *COLUMNS))
    for name, figures in result["methods"].items():
        table.add_row(name, *(_cell(figures[column]) for column in COLUMNS))
    console.print(table)


def _cell(figure: dict[str, Any]) -> str:
    low, high = np.asarray(figure["ci95"])
    return f"{figure['mean']:.3f} [{low:.3f}, {high:.3f}]"
