"""``adaptoff demo``, ``serve`` and ``device``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptoff import config
from adaptoff.cli_clocks import (
    ClocksOption,
    DryRunOption,
    GpuOption,
    StateDirOption,
    machine_of,
    print_rehearsed,
)
from adaptoff.cli_options import (
    DilationOption,
    EachOption,
    InsecureOption,
    JsonOption,
    KeysOption,
    MetricsOption,
    NetOption,
    PoliciesOption,
    PolicyOption,
    ScenarioOption,
    SeedOption,
    SetOption,
    console,
    device_metrics,
    endpoint_of,
    fleet_metrics,
    kept_policy,
    net_of,
    policy_of,
    print_json,
)
from adaptoff.errors import InputError
from adaptoff.policy_store import PolicyStore
from adaptoff.scenario import Scenario

if TYPE_CHECKING:
    from adaptoff.commands.metrics import Shown
    from adaptoff.testbed.keys import ServerKeys


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
        chosen, source, policy_of(policy_), out, seed, thorough, net_of(net), console()
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
    metrics: MetricsOption = None,
    policies: Annotated[
        Path | None,
        typer.Option(help="Hand out the policy in use there; see 'adaptoff policy --help'."),
    ] = None,
    figures_only: Annotated[
        bool,
        typer.Option(
            "--figures-only", help="Train nothing: figures for boards under 'adaptoff control'."
        ),
    ] = False,
    deadline: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="With --figures-only: seconds from a round's first report on for the others; 20.",
        ),
    ] = None,
) -> None:
    """Be the server of a testbed; prints its endpoint as JSON, ends when its driver leaves.

    Beyond loopback it lets in only whom its keys list, unless --insecure.

    Examples:

      adaptoff serve --scenario demo --bind tcp://127.0.0.1:5600

      adaptoff keys new server driver device-0 device-1

      adaptoff serve --bind tcp://0.0.0.0:5600

      adaptoff serve --figures-only --scenario fleet.toml --bind tcp://0.0.0.0:5600
    """
    from adaptoff.testbed.keys import for_server

    chosen = config.load(scenario, tuple(set_ or ()))
    binds = [endpoint_of(each) for each in bind or ["tcp://127.0.0.1:*"]]
    secured = for_server(binds, keys, insecure=insecure)
    store = PolicyStore(policies) if policies else None
    if deadline and not figures_only:
        raise InputError("--deadline: only with --figures-only")
    if figures_only:
        if network or stay or dilation != 1:
            raise InputError("--figures-only: not with --network, --stay or --dilation")
        with fleet_metrics(metrics, chosen) as shown:
            _serve_figures(chosen, binds, deadline, secured, shown, store, each=each)
        return
    from adaptoff.commands import node

    with node.shaped(network, pace=pace) as shaping, fleet_metrics(metrics, chosen) as shown:
        node.serve(
            chosen, binds, dilation, measure=measure, each=each, keys=secured, shaping=shaping,
            stay=stay, shown=shown, policies=store,
        )  # fmt: skip


def _serve_figures(
    chosen: Scenario, binds: list[str], deadline_s: float | None, keys: "ServerKeys | None",
    shown: "Shown | None", policies: PolicyStore | None, *, each: bool,
) -> None:  # fmt: skip
    from adaptoff.commands import figures
    from adaptoff.testbed.fleet_server import DEADLINE_S

    figures.serve(
        chosen, binds, deadline_s or DEADLINE_S, keys, each=each, shown=shown, policies=policies
    )


def device(
    endpoint: Annotated[str, typer.Argument(help="The server: tcp://HOST:PORT.")],
    number: Annotated[int, typer.Argument(min=0, help="Which device of the scenario to be.")],
    policy_: PolicyOption = "default",
    data_dir: Annotated[
        str | None,
        typer.Option(help="Where this device has its data set, if not where the scenario says."),
    ] = None,
    clocks: ClocksOption = False,
    gpu: GpuOption = False,
    state_dir: StateDirOption = None,
    dry_run: DryRunOption = False,
    keys: KeysOption = None,
    insecure: InsecureOption = False,
    metrics: MetricsOption = None,
    policies: PoliciesOption = None,
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

    endpoint_of(endpoint)
    machine = machine_of(state_dir, clocks=clocks, gpu=gpu, dry_run=dry_run)
    if machine and dry_run:
        print_rehearsed(machine)
        return
    secured = for_client(endpoint, client_name("device", number), keys, insecure=insecure)
    policy, store = kept_policy(policy_, policies)
    with device_metrics(metrics, number) as shown:
        node.join(endpoint, number, policy, data_dir, secured, machine, shown, store)
