"""Options and output that commands have in common."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console

from adaptoff import policy
from adaptoff.errors import InputError

if TYPE_CHECKING:
    from adaptoff.commands.wires import Kind

console = Console(stderr=True)

ScenarioOption = Annotated[
    str, typer.Option("--scenario", help="A TOML file, or the name of a shipped scenario.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a value of the scenario: workload.min_cut=0."),
]
PolicyOption = Annotated[str, typer.Option("--policy", help="A frozen policy, or 'default'.")]
NetOption = Annotated[
    str,
    typer.Option(
        "--net",
        help="Links: netns (namespaces shaped by tc), pace (in user space), none (as they are), "
        "or auto: netns where this machine can.",
    ),
]
MOST_SEED = 2**30
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys", help="Directory of keys; its default is used beyond loopback, see 'keys'."
    ),
]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Plain text, without any keys, beyond loopback too.")
]
DilationOption = Annotated[
    float,
    typer.Option(
        "--dilation",
        min=1,
        max=1000,
        help="How much slower than real, at least; more spares a busy machine.",
    ),
]
EachOption = Annotated[bool, typer.Option("--each", help="Every device is a cluster of its own.")]
RoundsOption = Annotated[
    int | None,
    typer.Option(min=1, help="How many; the scenario's, but one for each cut at least."),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=MOST_SEED, help="Of links, batches and weights.")
]


def print_json(result: dict[str, Any]) -> None:
    """One document on stdout."""
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")


def net_of(kind: str) -> "Kind":
    """What ``--net`` asks for; raises InputError naming what is allowed."""
    from adaptoff.commands.wires import KINDS

    for known in KINDS:
        if kind == known:
            return known
    raise InputError(f"--net {kind}: allowed: {', '.join(KINDS)}")


def policy_of(name: str) -> policy.Policy:
    """What ``--policy`` names; raises PolicyError."""
    return policy.default() if name == "default" else policy.load(Path(name))


def show(result: dict[str, Any], *, json: bool) -> None:
    """All of it as JSON, or its first value alone."""
    if json:
        print_json(result)
    else:
        print(next(iter(result.values())))  # noqa: T201
