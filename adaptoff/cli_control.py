"""``adaptoff control``."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptoff import config, local_place
from adaptoff.cli_clocks import (
    ClocksOption,
    DryRunOption,
    GpuOption,
    StateDirOption,
    machine_of,
    print_rehearsed,
)
from adaptoff.cli_options import (
    InsecureOption,
    KeysOption,
    MetricsOption,
    PoliciesOption,
    PolicyOption,
    SetOption,
    device_metrics,
    endpoint_of,
    kept_policy,
)
from adaptoff.errors import InputError

if TYPE_CHECKING:
    from adaptoff.commands.control import Here

PATIENCE_S, MOST_PATIENCE_S = 30.0, 45.0
"""the most is less than a watchdog of a minute"""


def control(
    endpoint: Annotated[
        str | None, typer.Argument(help="The fleet server: tcp://HOST:PORT.")
    ] = None,
    number: Annotated[
        int | None, typer.Argument(min=0, help="Which device of its scenario to be.")
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(help="Without a server: a TOML file, or the name of a shipped scenario."),
    ] = None,
    set_: SetOption = None,
    device: Annotated[
        int | None, typer.Option(min=0, help="With --scenario: which device of it; 0 if not said.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            help="Where the loop asks: ipc://FILE in a directory closed to others, or TCP on "
            "loopback. Default: control.sock in $XDG_RUNTIME_DIR/adaptoff; root: /run/adaptoff."
        ),
    ] = None,
    policy_: PolicyOption = "default",
    policies: PoliciesOption = None,
    patience: Annotated[
        float,
        typer.Option(
            min=0.1, max=MOST_PATIENCE_S, help="Seconds to wait for the fleet's figures of a round."
        ),
    ] = PATIENCE_S,
    clocks: ClocksOption = False,
    gpu: GpuOption = False,
    state_dir: StateDirOption = None,
    dry_run: DryRunOption = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON to stdout for each answer.")
    ] = False,
    keys: KeysOption = None,
    insecure: InsecureOption = False,
    metrics: MetricsOption = None,
) -> None:
    """Control this board for a training or inference loop of your own, until SIGTERM.

    The loop asks through adaptoff.local.LocalController; see docs/control.md.

    Examples:

      adaptoff control --scenario fleet.toml --device 2

      adaptoff control tcp://192.168.1.2:5600 2 --clocks
    """
    from adaptoff.commands import control as command

    _check(endpoint, number, scenario, alone=bool(scenario or set_ or device is not None))
    if endpoint is None and (keys or insecure):
        raise InputError("--keys, --insecure: only with ENDPOINT")
    # which cores train is the loop's business
    machine = machine_of(state_dir, clocks=clocks, gpu=gpu, dry_run=dry_run, pin=False)
    if machine and dry_run:
        print_rehearsed(machine)
        return
    if machine:
        machine.domains()  # without any there is nothing to join for
    place = local_place.check(listen or local_place.default_endpoint())
    me = number if endpoint else device
    policy, store = kept_policy(policy_, policies)
    with suppress(KeyboardInterrupt), device_metrics(metrics, me or 0) as shown:
        here = command.Here(policy, store, place, machine, shown, json)
        if endpoint:
            _in_fleet(endpoint, me or 0, keys, patience, here, insecure=insecure)
        else:
            command.alone(config.load(scenario or "", tuple(set_ or ())), me or 0, here)


def _check(endpoint: str | None, number: int | None, scenario: str | None, *, alone: bool) -> None:
    """Raise InputError unless it is a server and a number, or a scenario."""
    if endpoint is None:
        if scenario is None:
            raise InputError("control: needs ENDPOINT N, or --scenario FILE --device N")
        return
    endpoint_of(endpoint)
    if number is None:
        raise InputError("control ENDPOINT N: N is missing: which device of its scenario to be")
    if alone:
        raise InputError("--scenario, --set, --device: the server at ENDPOINT says them")


def _in_fleet(
    endpoint: str, number: int, keys: Path | None, patience_s: float, here: "Here", *,
    insecure: bool,
) -> None:  # fmt: skip
    from adaptoff.commands import control as command
    from adaptoff.testbed.keys import client_name, for_client

    mine = for_client(endpoint, client_name("device", number), keys, insecure=insecure)
    command.in_fleet(endpoint, number, mine, patience_s, here)
