"""``adaptoff calibrate`` and ``validate``."""

from pathlib import Path
from typing import Annotated

import typer

from adaptoff.cli_options import (
    DilationOption,
    JsonOption,
    NetOption,
    RoundsOption,
    ScenarioOption,
    SeedOption,
    SetOption,
    console,
    net_of,
    print_json,
)


def calibrate(
    scenario: ScenarioOption = "demo",
    set_: SetOption = None,
    net: NetOption = "auto",
    dilation: DilationOption = 1.0,
    rounds: RoundsOption = None,
    seed: SeedOption = 1,
    out: Annotated[Path, typer.Option("-o", "--out", help="The scenario, calibrated.")] = Path(
        "calibrated.toml"
    ),
    json: JsonOption = False,
) -> None:
    """Fit the cost model to a testbed of this machine; writes the scenario with what was found.

    Drawn rows are run and timed. What --set overrides holds for the run and is not written.

    Example: adaptoff calibrate --scenario fedadapt --out mine.toml
    """
    from adaptoff.commands import agree, bed

    source = bed.Source(scenario, tuple(set_ or ()), "default", dilation)
    result = agree.calibrate(source, net_of(net), rounds, seed, out, console())
    agree.show(result, console())
    if json:
        print_json(result)


def validate(
    scenario: ScenarioOption = "demo",
    set_: SetOption = None,
    net: NetOption = "auto",
    dilation: DilationOption = 1.0,
    rounds: RoundsOption = None,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Compare what the cost model predicts with a testbed of this machine, on rows drawn anew.

    Example: adaptoff validate --scenario mine.toml
    """
    from adaptoff.commands import agree, bed

    source = bed.Source(scenario, tuple(set_ or ()), "default", dilation)
    result = agree.validate(source, net_of(net), rounds, seed, console())
    agree.show(result, console())
    if json:
        print_json(result)
