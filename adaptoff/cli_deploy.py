"""``adaptoff deploy``."""

from pathlib import Path
from typing import Annotated

import typer

from adaptoff.cli_options import InsecureOption, JsonOption, KeysOption, console, print_json


def deploy(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="HOST[=N]...",
            help="As ssh takes it, and which device it is; the first is device 0.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="The server as the boards reach it: tcp://HOST:PORT.")
    ] = None,
    policy: Annotated[str, typer.Option(help="A frozen policy, or 'default'.")] = "default",
    keys: KeysOption = None,
    insecure: InsecureOption = False,
    run: Annotated[
        str,
        typer.Option(help="control: beside a training loop of yours; device: adaptoff's own."),
    ] = "control",
    clocks: Annotated[
        bool, typer.Option("--clocks/--no-clocks", help="Set the boards' clocks, or leave them.")
    ] = True,
    metrics: Annotated[
        str | None, typer.Option(metavar="[HOST:]PORT", help="Show figures for Prometheus there.")
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option(help="Install this file; default: this version, from PyPI.")
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(help="The venv; default: /opt/adaptoff, with --user: adaptoff in the home."),
    ] = None,
    user: Annotated[
        bool, typer.Option("--user", help="A service of the login's own; needs no root.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the commands; nothing is reached.")
    ] = False,
    show_unit: Annotated[
        bool, typer.Option("--unit", help="Print the systemd unit alone.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Stop it, put the clocks back, and take it off.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Install and start the controller on boards, with your own ssh and rsync; repeat at will.

    Examples:

      adaptoff deploy --endpoint tcp://192.168.1.2:5600 pi@pi-0 pi@pi-1 jetson=7

      adaptoff deploy --endpoint tcp://192.168.1.2:5600 pi@pi-0 --dry-run

      adaptoff deploy --remove pi@pi-0
    """
    from adaptoff.commands import boards, unit
    from adaptoff.commands import deploy as command

    place = boards.check_prefix(prefix or unit.DEFAULT_PREFIX[user], user=user)
    service = unit.Service(
        unit.Layout(user, place), boards.check_run(run), clocks, keys=not insecure,
        insecure=insecure, metrics=boards.check_metrics(metrics),
    )  # fmt: skip
    if show_unit:
        print(service.unit(), end="")  # noqa: T201
        return
    chosen = boards.parsed(hosts or [])
    sources = command.Sources(endpoint or "", policy, keys, wheel)
    if remove:
        plan = command.removal(chosen, service.layout)
    else:
        plan = command.plan(chosen, service, sources)
    if dry_run:
        print(command.script(plan))  # noqa: T201
        return
    result = command.run(plan, _tell)
    if json:
        print_json(result)
    command.check(result)


def _tell(line: str) -> None:
    console().print(line, markup=False, highlight=False, soft_wrap=True)
