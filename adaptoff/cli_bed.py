"""``adaptoff demo``, ``serve`` and ``device``."""

from pathlib import Path
from typing import Annotated

import typer

from adaptoff import config
from adaptoff.cli_options import (
    DilationOption,
    EachOption,
    InsecureOption,
    JsonOption,
    KeysOption,
    NetOption,
    PolicyOption,
    ScenarioOption,
    SeedOption,
    SetOption,
    console,
    net_of,
    policy_of,
    print_json,
)
from adaptoff.errors import InputError


def demo(
    scenario: ScenarioOption = "demo",
    set_: SetOption = None,
    policy_: PolicyOption = "default",
    out: Annotated[Path, typer.Option(help="Directory for results.json and report.html.")] = Path(
        "runs/demo"
    ),
    seed: SeedOption = 1,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Run the best constant rows in hindsight, too.")
    ] = False,
    net: NetOption = "pace",
    dilation: DilationOption = 1.0,
    json: JsonOption = False,
) -> None:
    """Split training on a live testbed: classic FL, then the controller, on the same links.

    Examples:

      adaptoff demo

      adaptoff demo --thorough --json > result.json

      adaptoff demo --set workload.rounds=4 --set server.speed=0.5
    """
    from adaptoff.commands import bed
    from adaptoff.commands import demo as command

    chosen = config.load(scenario, tuple(set_ or ()))
    source = bed.Source(scenario, tuple(set_ or ()), policy_, dilation)
    result = command.run(
        chosen, source, policy_of(policy_), out, seed, thorough, net_of(net), console
    )
    if json:
        print_json(result)


def serve(
    scenario: ScenarioOption = "demo",
    set_: SetOption = None,
    bind: Annotated[
        list[str] | None,
        typer.Option(help="Where to listen; may be repeated. Default: tcp://127.0.0.1:*"),
    ] = None,
    dilation: Annotated[
        float, typer.Option(min=1, max=1000, help="How much emulated time is slowed.")
    ] = 1.0,
    measure: Annotated[
        bool, typer.Option(help="Measure the model's profile on this machine first.")
    ] = True,
    each: EachOption = False,
    pace: Annotated[
        bool, typer.Option(help="Hold traffic back to the scenario's rates; not on real links.")
    ] = True,
    stay: Annotated[
        bool, typer.Option("--stay", help="Wait for the next driver when one has left.")
    ] = False,
    network: Annotated[
        str | None, typer.Option(help="Control socket of the emulated network that shapes links.")
    ] = None,
    keys: KeysOption = None,
    insecure: InsecureOption = False,
) -> None:
    """Be the server of a testbed; prints its endpoint as JSON, ends when its driver leaves.

    Beyond loopback it lets in only whom its keys list, unless --insecure.

    Examples:

      adaptoff serve --scenario demo --bind tcp://127.0.0.1:5600

      adaptoff keys new server driver device-0 device-1

      adaptoff serve --bind tcp://0.0.0.0:5600
    """
    from adaptoff.commands import node
    from adaptoff.testbed.keys import for_server

    chosen = config.load(scenario, tuple(set_ or ()))
    binds = bind or ["tcp://127.0.0.1:*"]
    secured = for_server(binds, keys, insecure=insecure)
    with node.shaped(network, pace=pace) as shaping:
        node.serve(
            chosen, binds, dilation, measure=measure, each=each, keys=secured, shaping=shaping,
            stay=stay,
        )  # fmt: skip


def device(
    endpoint: Annotated[str, typer.Argument(help="The server: tcp://HOST:PORT.")],
    number: Annotated[int, typer.Argument(min=0, help="Which device of the scenario to be.")],
    policy_: PolicyOption = "default",
    data_dir: Annotated[
        str | None,
        typer.Option(help="Where this device has its data set, if not where the scenario says."),
    ] = None,
    clocks: Annotated[
        bool,
        typer.Option("--clocks", help="Set this board's own clocks, and put them back at the end."),
    ] = False,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="With --clocks: set its GPU's clock, too.")
    ] = False,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="With --clocks: where to write down what 'adaptoff restore' puts back."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --clocks: print what each clock step would write."),
    ] = False,
    keys: KeysOption = None,
    insecure: InsecureOption = False,
) -> None:
    """Be one device of a testbed, until its server says goodbye.

    Beyond loopback it needs server.pub and, being device 3, device-3.key, unless --insecure.

    Examples:

      adaptoff device tcp://127.0.0.1:5600 0

      adaptoff device tcp://192.168.1.2:5600 3 --keys keys

      adaptoff device tcp://192.168.1.2:5600 3 --clocks
    """
    from adaptoff.commands import node
    from adaptoff.testbed.keys import client_name, for_client

    if not endpoint.startswith(("tcp://", "ipc://")):
        raise InputError(f"{endpoint[:80]}: must be tcp://HOST:PORT, or ipc://FILE")
    if (gpu or state_dir or dry_run) and not clocks:
        raise InputError("--gpu, --state-dir, --dry-run: only with --clocks")
    machine = node.this_machine(state_dir, gpu=gpu) if clocks else None
    if machine and dry_run:
        for path, value in machine.rehearsed():
            print(path, value)  # noqa: T201
        return
    secured = for_client(endpoint, client_name("device", number), keys, insecure=insecure)
    node.join(endpoint, number, policy_of(policy_), data_dir, secured, machine)
