"""``adaptoff train`` and ``freeze``."""

from pathlib import Path
from typing import Any

from rich.console import Console

from adaptoff import policy
from adaptoff.agents import baselines, checkpoint, settings
from adaptoff.agents.callbacks import LAST
from adaptoff.agents.evaluate import evaluate
from adaptoff.agents.freeze import freeze
from adaptoff.agents.settings import TrainConfig
from adaptoff.agents.train import Interrupted, train
from adaptoff.commands.output import directory
from adaptoff.envs.sampler import RandomFleets

HELD_OUT_SEEDS = range(20_000, 20_004)
HELD_OUT_FLEETS, HELD_OUT_ROUNDS = 64, 16


def training_settings(
    file: Path | None, overrides: list[str], flags: dict[str, int | None], resume: Path | None
) -> TrainConfig:
    """Defaults, under what a checkpoint has, a TOML file, ``--set`` and flags that are given."""
    layers = [settings.of_overrides(overrides)]
    layers += [(f"--{name}", {name: value}) for name, value in flags.items() if value is not None]
    if file:
        layers.insert(0, settings.of_file(file))
    if resume:
        layers.insert(0, (str(resume), checkpoint.load(resume).facts["config"]))
    return settings.merged(layers)


def run_training(
    chosen: TrainConfig, out: Path, resume: Path | None, console: Console
) -> dict[str, Any]:
    """Train; returns where the best and the last checkpoint are, and how good the best one is."""
    try:
        best = train(chosen, directory(out), resume)
    except Interrupted as stopped:
        saved = stopped.checkpoint
        console.print(f"wrote {saved}; to go on: adaptoff train --resume {saved}", soft_wrap=True)
        raise
    facts = checkpoint.load(best).facts
    figures = {"steps": facts["steps"], "regret": facts["validation"]["regret"]}
    return {"best": str(best), "last": str(out / LAST), **figures}


def run_freezing(path: Path, out: Path, *, judge: bool) -> dict[str, Any]:
    """Freeze; returns what the policy's header says of its origin, and how it was judged."""
    directory(out.parent)
    frozen = freeze(path)
    if judge:
        source, seeds = RandomFleets(HELD_OUT_FLEETS, HELD_OUT_ROUNDS), list(HELD_OUT_SEEDS)
        methods = baselines.methods(["policy", "planner"], frozen)
        judged = evaluate(methods, source, seeds, HELD_OUT_ROUNDS)
        on = {"fleets": HELD_OUT_FLEETS, "rounds": HELD_OUT_ROUNDS, "seeds": seeds}
        frozen = freeze(path, judged["methods"] | on)
    policy.save(frozen, out)
    return {"policy": str(out), "provenance": frozen.provenance}
