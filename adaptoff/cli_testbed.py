"""``adaptoff testbed``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import structs

from adaptoff.cli_options import (
    DilationOption,
    EachOption,
    JsonOption,
    NetOption,
    PolicyOption,
    ScenarioOption,
    SetOption,
    console,
    net_of,
    policy_of,
    print_json,
)

if TYPE_CHECKING:
    from adaptoff.commands.bed import Source

app = typer.Typer(
    help="A testbed on this machine that stands until it is told to end; drivers come and go.",
    no_args_is_help=True,
)
ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A TOML file, or the name of a shipped scenario.")
]
NameArgument = Annotated[
    str | None, typer.Argument(metavar="NAME", help="As up named it; default: all that are up.")
]
KeysOption = Annotated[
    Path | None,
    typer.Option("--keys", help="Directory of keys for all ends; netns makes keys of its own."),
]


@app.command()
def up(
    scenario: ScenarioArgument,
    name: Annotated[str | None, typer.Option(help="Default: the scenario's name.")] = None,
    set_: SetOption = None,
    net: NetOption = "auto",
    dilation: DilationOption = 1.0,
    keys: KeysOption = None,
    each: EachOption = False,
    policy: PolicyOption = "default",
    json: JsonOption = False,
) -> None:
    """Start server, devices and network of a scenario; prints the endpoint for a driver.

    In Python: gymnasium.make("adaptoff/LiveFleet-v0", endpoint=..., keys=...), with the keys that
    are said here, if any are.

    Examples:

      adaptoff testbed up demo

      adaptoff testbed up straggler --net pace --name mine --json
    """
    from adaptoff.commands import testbed

    source = _source(scenario, set_, policy, dilation)
    policy_of(policy)
    state = testbed.up(name, source, net_of(net), keys, each=each)
    for line in testbed.said(state):
        console().print(line, soft_wrap=True)
    if json:
        print_json(structs.asdict(state))
    else:
        print(state.endpoint)  # noqa: T201


@app.command()
def status(name: NameArgument = None, json: JsonOption = False) -> None:
    """Show testbeds that are up, and clean up after those whose supervisor died.

    Example: adaptoff testbed status --json
    """
    from adaptoff.commands import testbed

    found = testbed.status(name)
    if json:
        print_json(found)
        return
    for line in testbed.lines(found):
        print(line)  # noqa: T201


@app.command()
def down(name: NameArgument = None) -> None:
    """End a testbed, the only one if none is named; nothing of it is left.

    Example: adaptoff testbed down demo
    """
    from adaptoff.commands import testbed

    console().print(f"{testbed.down(name)} is down", soft_wrap=True)


@app.command(hidden=True)
def hold(
    name: Annotated[str, typer.Argument()],
    scenario: ScenarioOption,
    set_: SetOption = None,
    net: NetOption = "auto",
    dilation: DilationOption = 1.0,
    keys: KeysOption = None,
    each: EachOption = False,
    policy: PolicyOption = "default",
) -> None:
    """Be the supervisor that ``up`` starts."""
    from adaptoff.commands import hold as supervisor

    supervisor.hold(name, _source(scenario, set_, policy, dilation), net_of(net), keys, each=each)


def _source(scenario: str, set_: list[str] | None, policy: str, dilation: float) -> "Source":
    from adaptoff.commands.bed import Source

    return Source(scenario, tuple(set_ or ()), policy, dilation)
