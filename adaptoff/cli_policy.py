"""``adaptoff policy``."""

from pathlib import Path
from typing import Annotated

import typer

from adaptoff.cli_options import JsonOption, print_json

app = typer.Typer(
    help="Keep a board's policy and the one before it; a bad one is taken back.",
    no_args_is_help=True,
)
DirectoryOption = Annotated[
    Path | None,
    typer.Option("--dir", help="Default: adaptoff/policies in $XDG_CONFIG_HOME or ~/.config."),
]


@app.command("show")
def policy_show(directory: DirectoryOption = None, json: JsonOption = False) -> None:
    """Show the policy in use: digest of its file, schema, and where it comes from."""
    from adaptoff.commands import policies as command

    found = command.shown(_chosen(directory))
    if json:
        print_json(found)
    else:
        print("\n".join(command.lines(found)))  # noqa: T201


@app.command("take")
def policy_take(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A frozen policy, or 'default'.")],
    directory: DirectoryOption = None,
    json: JsonOption = False,
) -> None:
    """Use a policy from the next start on, and keep the one in use until now; prints its digest.

    Examples:

      adaptoff policy take policy.safetensors

      adaptoff device tcp://HOST:5600 0 --policy ~/.config/adaptoff/policies/policy.safetensors
    """
    from adaptoff.cli_options import show
    from adaptoff.commands import policies as command

    show(command.take(file, _chosen(directory)), json=json)


@app.command("back")
def policy_back(directory: DirectoryOption = None, json: JsonOption = False) -> None:
    """Use the policy before the one in use; once more undoes it."""
    from adaptoff.cli_options import show
    from adaptoff.commands import policies as command

    show(command.back(_chosen(directory)), json=json)


@app.command("list")
def policy_list(directory: DirectoryOption = None, json: JsonOption = False) -> None:
    """List the policies: in use, before it, shipped; a * marks the one that is used."""
    from adaptoff.commands import policies as command

    found = command.listed(_chosen(directory))
    if json:
        print_json(found)
        return
    for entry in found["policies"]:
        mark = "*" if entry["used"] else " "
        print(f"{mark} {entry['name']:<9} {entry.get('sha256') or entry['refused']}")  # noqa: T201


def _chosen(directory: Path | None) -> Path:
    from adaptoff.policy_store import default_directory

    return directory or default_directory()
