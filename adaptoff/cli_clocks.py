"""``--clocks`` and what goes with it, for commands that run on a board."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptoff.errors import InputError

if TYPE_CHECKING:
    from adaptoff.testbed.real_board import Machine

ClocksOption = Annotated[
    bool,
    typer.Option("--clocks", help="Set this board's own clocks, and put them back at the end."),
]
GpuOption = Annotated[bool, typer.Option("--gpu", help="With --clocks: set its GPU's clock, too.")]
StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        help="With --clocks: where to write down what 'adaptoff restore' puts back.",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="With --clocks: print what each clock step would write.")
]


def machine_of(
    state_dir: Path | None, *, clocks: bool, gpu: bool, dry_run: bool, pin: bool | None = None
) -> "Machine | None":
    """With ``--clocks`` this board, whose cores are chosen as ``pin`` says.

    Raises InputError for options that need ``--clocks``.
    """
    if not clocks:
        if gpu or state_dir or dry_run:
            raise InputError("--gpu, --state-dir, --dry-run: only with --clocks")
        return None
    from adaptoff import restore
    from adaptoff.testbed import real_board

    return real_board.Machine(state_dir or restore.default_directory(), gpu=gpu, pin=pin)


def print_rehearsed(machine: "Machine") -> None:
    """What ``--dry-run`` shows: a line for each file and value that would be written."""
    for path, value in machine.rehearsed():
        print(path, value)  # noqa: T201
