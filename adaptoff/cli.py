"""The command line. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 it failed, 2 the input is wrong. The commands are in the ``cli_`` modules
beside this one; each imports what it needs when it is called.
"""

import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from adaptoff import (
    __version__,
    cli_agree,
    cli_bed,
    cli_control,
    cli_deploy,
    cli_judge,
    cli_keys,
    cli_learn,
    cli_policy,
    cli_testbed,
)
from adaptoff.cli_options import JsonOption, console, print_json
from adaptoff.errors import AdaptoffError, InputError, RunError

EXTRAS = {"prometheus_client": "metrics"}
"""of modules that need not all extras"""

app = typer.Typer(
    name="adaptoff",
    help="Decides where to cut a neural network between edge devices and a server, "
    "and how fast to clock the devices.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; every error on purpose is one line."""
    caught = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    for number in caught:
        signal.signal(number, _interrupt)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        app()
    except AdaptoffError as error:
        print(f"adaptoff: {_one_line(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        name = str(error.name).split(".")[0]
        extra = EXTRAS.get(name, "all")
        print(f"adaptoff: needs {name}: pip install 'adaptoff[{extra}]'", file=sys.stderr)  # noqa: T201
        sys.exit(InputError.exit_code)
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)  # nothing is left to clean up


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _one_line(error: AdaptoffError) -> str:
    return " ".join(str(error).split())


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)  # noqa: T201
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    pass


def doctor(json: JsonOption = False) -> None:
    """Show what this machine can do, and what is used where it cannot."""
    from adaptoff.commands import doctor as command

    findings = command.examine()
    command.show(findings, console())
    if json:
        print_json(command.as_json(findings))


def restore(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Where it was written down; default: as when it was set."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Put back the clocks that a device which was killed had set; for service managers, too."""
    from adaptoff.commands import restore as command

    found = command.run(directory)
    if json:
        print_json(found)
    else:
        print(", ".join(found["restored"]) or "nothing to put back")  # noqa: T201


def status(
    endpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="ENDPOINT", help="[HOST:]PORT or URL at which one shows its --metrics."
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Show how a running fleet is, from what its servers and devices show with --metrics.

    Example: adaptoff status 192.168.1.2:9101 192.168.1.11:9102 --json
    """
    from rich.console import Console

    from adaptoff.commands import status as command

    found = command.run(endpoints)
    if json:
        print_json(found)
    else:
        command.show(found, Console())
    if lost := [f"{each['url']}: {each['reason']}" for each in found["unreachable"]]:
        raise RunError(f"no answer of {'; '.join(lost)}")


for command in (
    cli_bed.demo, cli_bed.serve, cli_bed.device, cli_control.control, cli_learn.train,
    cli_learn.freeze, cli_judge.evaluate, cli_agree.calibrate, cli_agree.validate,
    cli_deploy.deploy, doctor, restore, status,
):  # fmt: skip
    app.command()(command)
app.add_typer(cli_testbed.app, name="testbed")
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_policy.app, name="policy")
