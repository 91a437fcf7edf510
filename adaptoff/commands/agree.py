"""``adaptoff calibrate`` and ``adaptoff validate``: the cost model against a testbed.

Rounds are the scenario's own, whose links change as they do; beyond its last round they stay.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from rich.console import Console
from rich.table import Table

from adaptoff import agreement, config
from adaptoff.commands import summary
from adaptoff.commands.bed import Source, laid
from adaptoff.commands.output import directory, replace
from adaptoff.commands.wires import Kind
from adaptoff.errors import InputError, RunError
from adaptoff.fleet import Rows
from adaptoff.messages import RoundReport
from adaptoff.policy import default
from adaptoff.profile import Profile
from adaptoff.scenario import Calibration, Scenario
from adaptoff.ways import Ways

SEED_OF_VALIDATION = 1_000_003
"""added to the seed, so that no row is one that was fitted on but by chance"""


def calibrate(
    source: Source, net: Kind, rounds: int | None, seed: int, out: Path, console: Console
) -> dict[str, Any]:
    """Fit the model to rounds of the testbed; writes the scenario with what was found to ``out``.

    Raises InputError before anything starts, RunError if no round was valid.
    """
    scenario, source = _loaded(source, rounds)
    text = _text(source.scenario)
    directory(out.parent)
    if out.is_dir():
        raise InputError(f"--out {out}: is a directory")
    profile, reports, provenance = _run(scenario, source, net, seed, seed, console)
    try:
        found = agreement.calibrate(scenario, profile, reports)
    except ValueError as error:
        raise RunError(f"calibration: {error}") from None
    replace(out, (text + _table(found)).encode())
    known = structs.replace(scenario, calibration=found)
    return {
        "scenario": str(out),
        "calibration": structs.asdict(found),
        "before": agreement.compared(scenario, profile, reports),
        "after": agreement.compared(known, profile, reports),
        "provenance": provenance,
    }


def validate(
    source: Source, net: Kind, rounds: int | None, seed: int, console: Console
) -> dict[str, Any]:
    """Predicted against measured seconds of rows drawn anew. Raises RunError if none was valid."""
    scenario, source = _loaded(source, rounds)
    drawn_by = seed + SEED_OF_VALIDATION
    profile, reports, provenance = _run(scenario, source, net, seed, drawn_by, console)
    try:
        found = agreement.compared(scenario, profile, reports)
    except ValueError as error:
        raise RunError(f"validation: {error}") from None
    calibration = structs.asdict(scenario.calibration)
    return {**found, "calibration": calibration, "provenance": provenance}


def show(result: dict[str, Any], console: Console) -> None:
    """As tables: errors by part, before and after where there are both."""
    if "calibration" in result:
        console.print(", ".join(f"{k} {v:.4g}" for k, v in result["calibration"].items()))
    for name in ("before", "after"):
        if name in result:
            _show(result[name], name, console)
    if "errors" in result:
        _show(result, "predicted against measured", console)


def _show(found: dict[str, Any], title: str, console: Console) -> None:
    table = Table("seconds", "n", "median", "90th", "worst", "mean", title=title)
    for part, spread in found["errors"].items():
        shares = (f"{spread[key]:.1%}" for key in ("median", "p90", "worst", "mean"))
        table.add_row(part.removesuffix("_s"), str(spread["n"]), *shares)
    console.print(table)
    if found["spearman"]:
        console.print(f"rank correlation of rows: {found['spearman_least']:.3f} at least")
    console.print(f"rounds: {found['rounds']}, and {found['left_out']} left out as not valid")


def _run(
    scenario: Scenario, source: Source, net: Kind, seed: int, drawn_by: int, console: Console
) -> tuple[Profile, list[RoundReport], dict[str, Any]]:
    """The profile as measured, as many rounds of drawn rows as the scenario has, provenance."""
    with laid(scenario, source, console, net, each=True) as bed:
        profile = bed.live.welcome.profile
        plans = drawn(scenario, profile, drawn_by)
        bed.live.reset(drawn_by)
        reports = bed.watch("rows", lambda: None, lambda: bed.live.apply_each(next(plans)))
        return profile, reports, summary.provenance(bed, default(), seed=seed)


def drawn(scenario: Scenario, profile: Profile, seed: int) -> Iterator[Rows]:
    """Rows (1, devices) without end: each device goes through its ways in orders drawn anew."""
    rng = np.random.default_rng(seed)
    boards = [scenario.boards[group.board] for group in scenario.each_device()]
    ways = Ways(profile, scenario.workload).allowed
    n_opps = [len(board.opps) for board in boards]
    while True:
        for column in np.stack([rng.permutation(ways) for _ in boards], 1):
            yield Rows(column[None], rng.integers(n_opps)[None])


def _loaded(source: Source, rounds: int | None) -> tuple[Scenario, Source]:
    """The scenario, with ``rounds`` if given, else at least one for each way."""
    scenario = config.load(source.scenario, source.overrides)
    ways = Ways(config.profile_of(scenario), scenario.workload).all
    wanted = rounds or max(scenario.workload.rounds, len(ways))
    overrides = (*source.overrides, f"workload.rounds={wanted}")
    return config.load(source.scenario, overrides), changed(source, overrides=overrides)


def _text(name: str) -> str:
    """The scenario's file; raises InputError if it has a calibration already."""
    text = config.text(name)
    if "calibration" in tomllib.loads(text):
        raise InputError(f"{name}: has a calibration: remove that table to fit another")
    return text


def _table(found: Calibration) -> str:
    lines = [f"{name} = {value:.6g}" for name, value in structs.asdict(found).items()]
    return "\n".join(
        ["", "# Fitted to a testbed by adaptoff calibrate.", "[calibration]", *lines, ""]
    )
