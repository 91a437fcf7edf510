"""Options and output that commands have in common."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adaptoff import policy
from adaptoff.errors import InputError
from adaptoff.local_place import is_port
from adaptoff.policy_store import PolicyStore
from adaptoff.scenario import Scenario
from adaptoff.stdout import say

if TYPE_CHECKING:
    from rich.console import Console

    from adaptoff.commands.metrics import Shown
    from adaptoff.commands.wires import Kind
    from adaptoff.metrics import DeviceMetrics

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
PoliciesOption = Annotated[
    Path | None,
    typer.Option(
        "--policies",
        help="Instead of --policy: a directory as 'adaptoff policy' keeps it, "
        "which also keeps what the server hands out.",
    ),
]
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
MetricsOption = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="[HOST:]PORT",
        help="Show figures for Prometheus, to this machine alone unless a host is named; "
        "port 0: any.",
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


@cache
def console() -> "Console":
    """For people, on stderr; made when it is asked for: a board's controller prints no tables."""
    from rich.console import Console

    return Console(stderr=True)


def print_json(result: dict[str, Any]) -> None:
    """One document on stdout."""
    say(result)


def net_of(kind: str) -> "Kind":
    """What ``--net`` asks for; raises InputError naming what is allowed."""
    from adaptoff.commands.wires import KINDS

    for known in KINDS:
        if kind == known:
            return known
    raise InputError(f"--net {kind}: allowed: {', '.join(KINDS)}")


def endpoint_of(text: str) -> str:
    """An endpoint of a server; raises InputError naming what is allowed."""
    is_tcp = text.startswith("tcp://") and is_port(text.rpartition(":")[2])
    if not (is_tcp or text.startswith("ipc://")):
        raise InputError(f"{text[:80]}: must be tcp://HOST:PORT, or ipc://FILE")
    return text


def policy_of(name: str) -> policy.Policy:
    """What ``--policy`` names; raises PolicyError."""
    return policy.default() if name == "default" else policy.load(Path(name))


def kept_policy(name: str, directory: Path | None) -> tuple[policy.Policy, PolicyStore | None]:
    """What ``--policy`` or ``--policies`` name; raises PolicyError, and InputError for both."""
    if directory is None:
        return policy_of(name), None
    if name != "default":
        raise InputError("--policy, --policies: only one of them")
    store = PolicyStore(directory)
    return store.current(), store


def show(result: dict[str, Any], *, json: bool) -> None:
    """All of it as JSON, or its first value alone."""
    if json:
        print_json(result)
    else:
        print(next(iter(result.values())))  # noqa: T201


def fleet_metrics(
    where: str | None, scenario: Scenario
) -> AbstractContextManager["Shown | None"]:  # fmt: skip
    """The metrics of a server, if they are asked for."""
    if where is None:
        return nullcontext()
    from adaptoff.commands import metrics

    return metrics.of_fleet(where, scenario)


def device_metrics(
    where: str | None, number: int
) -> AbstractContextManager["DeviceMetrics | None"]:  # fmt: skip
    """The metrics of a device, if they are asked for."""
    if where is None:
        return nullcontext()
    from adaptoff.commands import metrics

    return metrics.of_device(where, number)
