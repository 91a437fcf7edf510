"""``adaptoff keys``."""

from pathlib import Path
from typing import Annotated

import typer

from adaptoff.cli_options import JsonOption, print_json

app = typer.Typer(
    help="Make, list and revoke the keys by which a server and its devices know each other.",
    no_args_is_help=True,
)
DirectoryOption = Annotated[
    Path | None,
    typer.Option("--dir", help="Default: adaptoff/keys in $XDG_CONFIG_HOME or ~/.config."),
]


@app.command("new")
def keys_new(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="server, driver, device-0, device-1, ...")
    ],
    directory: DirectoryOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace keys that exist.")] = False,
) -> None:
    """Make keys; prints the files. The server lets in the driver and devices made beside it.

    Take device-N.key and server.pub to device N; server.key stays where it is.

    Example: adaptoff keys new server driver device-0 device-1
    """
    from adaptoff.commands import keys as command
    from adaptoff.testbed.keys import default_directory

    for path in command.new(names, directory or default_directory(), force=force):
        print(path)  # noqa: T201


@app.command("list")
def keys_list(directory: DirectoryOption = None, json: JsonOption = False) -> None:
    """Show names and public keys, and whose secret key is here."""
    from adaptoff.commands import keys as command
    from adaptoff.testbed.keys import default_directory

    found = command.found(directory or default_directory())
    if json:
        print_json(found)
        return
    for key in found["keys"]:
        print(f"{key['name']:<12} {key['public']} {'secret key here' if key['secret'] else ''}")  # noqa: T201


@app.command("revoke")
def keys_revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="driver, device-0, device-1, ...")],
    directory: DirectoryOption = None,
) -> None:
    """Let a device or driver in no more, from its next connection on; no restart is needed.

    Example: adaptoff keys revoke device-1
    """
    from adaptoff.commands import keys as command
    from adaptoff.testbed.keys import default_directory

    command.revoke(name, directory or default_directory())
