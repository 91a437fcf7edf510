"""``adaptoff train --live``: goes on with a policy on a testbed of this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from adaptoff import config
from adaptoff.agents import live_train, settings
from adaptoff.agents.live_env import LiveEnv
from adaptoff.agents.live_train import Start
from adaptoff.agents.settings import Layer, TrainConfig
from adaptoff.agents.train import Interrupted
from adaptoff.commands.bed import Source, laid
from adaptoff.commands.output import directory
from adaptoff.commands.wires import Kind
from adaptoff.envs.episode import Round
from adaptoff.messages import MAX_CLUSTERS
from adaptoff.scenario import Scenario
from adaptoff.testbed.live import LiveFleet


def split(overrides: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """``--set`` of hyper-parameters, and of values of the scenario, whose keys have a dot."""
    of_scenario = tuple(each for each in overrides if "." in each.partition("=")[0])
    return [each for each in overrides if each not in of_scenario], of_scenario


def training_settings(
    scenario: Scenario, file: Path | None, overrides: Sequence[str], flags: dict[str, int | None]
) -> TrainConfig:
    """Defaults of live training, under a TOML file, ``--set`` and flags that are given.

    An episode has as many rounds as the scenario. Raises InputError.
    """
    layers: list[Layer] = [("live", live_train.DEFAULTS | {"rounds": scenario.workload.rounds})]
    layers += [settings.of_file(file)] if file else []
    layers.append(settings.of_overrides(overrides))
    layers += [("--live", {name: value}) for name, value in flags.items() if value is not None]
    return settings.merged([*layers, ("--live", {"n_fleets": 1})])


def run(
    source: Source, net: Kind, chosen: TrainConfig, start: Start, out: Path, console: Console
) -> dict[str, Any]:
    """Train; returns what ``--json`` prints.

    Raises InputError before anything starts, RunError if a process dies.
    """
    directory(out)
    start.check()
    scenario = config.load(source.scenario, source.overrides)
    each = len(scenario.each_device()) <= MAX_CLUSTERS
    with laid(scenario, source, console, net, each=each) as bed:
        env = LiveEnv(bed.live, chosen.rounds, _Teller(bed.live, console).tell)
        try:
            last = live_train.continued(env, chosen, start, out)
        except Interrupted as stopped:
            console.print(_to_go_on(stopped.checkpoint, source), soft_wrap=True)
            raise
        links, dilation = bed.links, bed.dilation
    return {
        "policy": str(out / live_train.FROZEN),
        "checkpoint": str(last),
        **quarters(env.costs),
        "costs": env.costs,
        "links": links,
        "dilation": dilation,
    }


def quarters(costs: Sequence[float]) -> dict[str, float]:
    """Mean cost of a round in the first and the last quarter of the rounds."""
    quarter = max(len(costs) // 4, 1)
    return {
        "cost_first_quarter": float(np.mean(costs[:quarter])),
        "cost_last_quarter": float(np.mean(costs[-quarter:])),
    }


def show(result: dict[str, Any], console: Console) -> None:
    """What came of it."""
    first, last = result["cost_first_quarter"], result["cost_last_quarter"]
    console.print(
        f"mean cost of a round: {first:.4f} in the first quarter of {len(result['costs'])} rounds, "
        f"{last:.4f} in the last ({last / first - 1:+.1%})",
        soft_wrap=True,
    )


class _Teller:
    """Says what a round was, and whether anything is to be learnt from it."""

    def __init__(self, live: LiveFleet, console: Console) -> None:
        self._live, self._console = live, console
        self._clusters: list[int] = []
        self._round = 0

    def tell(self, done: Round) -> bool:
        """Not if this host was too busy for it, or if devices changed clusters."""
        report = self._live.report
        clusters, before = report.figures.clusters, self._clusters
        self._clusters, self._round = clusters, self._round + 1
        fine = report.valid and (not before or clusters == before)
        self._console.print(
            f"round {self._round}: cost {done.cost[0]:.4f}, {report.round_s:.3f} s"
            + ("" if fine else ", nothing learnt from it"),
            soft_wrap=True,
        )
        return fine


def _to_go_on(checkpoint: Path, source: Source) -> str:
    again = f"adaptoff train --live --scenario {source.scenario} --resume {checkpoint}"
    return f"wrote {checkpoint} and {live_train.FROZEN} beside it; to go on: {again}"
