"""The command line. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 it failed, 2 the input is wrong.
"""

import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console

from adaptoff import __version__, config, policy
from adaptoff.errors import AdaptoffError, InputError

if TYPE_CHECKING:
    from adaptoff.commands.wires import Kind

app = typer.Typer(
    name="adaptoff",
    help="Decides where to cut a neural network between edge devices and a server, "
    "and how fast to clock the devices.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
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
RoundsOption = Annotated[
    int | None,
    typer.Option(min=1, help="How many; the scenario's, but one for each cut at least."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of links, batches and weights.")]


def main() -> None:
    """Run the command line; every error on purpose is one line."""
    signal.signal(signal.SIGTERM, _interrupt)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        app()
    except AdaptoffError as error:
        print(f"adaptoff: {_one_line(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        print(f"adaptoff: needs {error.name}: pip install 'adaptoff[all]'", file=sys.stderr)  # noqa: T201
        sys.exit(InputError.exit_code)
    except KeyboardInterrupt:
        print("adaptoff: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to clean up


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _one_line(error: AdaptoffError) -> str:
    return " ".join(str(error).split())


def _print_json(result: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")


def _net(kind: str) -> "Kind":
    from adaptoff.commands.wires import KINDS

    for known in KINDS:
        if kind == known:
            return known
    raise InputError(f"--net {kind}: allowed: {', '.join(KINDS)}")


def _policy(name: str) -> policy.Policy:
    return policy.default() if name == "default" else policy.load(Path(name))


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


@app.command()
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
    source = bed.Source(scenario, tuple(set_ or ()), policy_)
    result = command.run(chosen, source, _policy(policy_), out, seed, thorough, _net(net), console)
    if json:
        _print_json(result)


@app.command()
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
    each: Annotated[
        bool, typer.Option("--each", help="Every device is a cluster of its own.")
    ] = False,
    pace: Annotated[
        bool, typer.Option(help="Hold traffic back to the scenario's rates; not on real links.")
    ] = True,
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
            chosen, binds, dilation, measure=measure, each=each, keys=secured, shaping=shaping
        )


@app.command()
def device(
    endpoint: Annotated[str, typer.Argument(help="The server: tcp://HOST:PORT.")],
    number: Annotated[int, typer.Argument(min=0, help="Which device of the scenario to be.")],
    policy_: PolicyOption = "default",
    data_dir: Annotated[
        str | None,
        typer.Option(help="Where this device has its data set, if not where the scenario says."),
    ] = None,
    keys: KeysOption = None,
    insecure: InsecureOption = False,
) -> None:
    """Be one device of a testbed, until its server says goodbye.

    Beyond loopback it needs server.pub and, being device 3, device-3.key, unless --insecure.

    Examples:

      adaptoff device tcp://127.0.0.1:5600 0

      adaptoff device tcp://192.168.1.2:5600 3 --keys keys
    """
    from adaptoff.commands import node
    from adaptoff.testbed.keys import client_name, for_client

    secured = for_client(endpoint, client_name("device", number), keys, insecure=insecure)
    node.join(endpoint, number, _policy(policy_), data_dir, secured)


@app.command()
def train(
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory for checkpoints and TensorBoard; runs/train, or where --resume is."
        ),
    ] = None,
    config_: Annotated[
        Path | None, typer.Option("--config", help="A TOML file of hyper-parameters.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a hyper-parameter: entropy=0.01.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Rounds of emulated fleets in all, as --set steps=.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, choices and fleets, as --set seed=.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="A checkpoint to go on from, with its hyper-parameters.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train the row scorer with PPO on randomly drawn emulated fleets.

    The checkpoint of lowest regret on validation fleets is kept as best.safetensors, the state of
    training as last.safetensors; Ctrl-C leaves one to resume from. Hyper-parameters with their
    ranges are in adaptoff/agents/settings.py.

    Examples:

      adaptoff train --seed 1 --set entropy=0.01 --set patience=5

      adaptoff train --config train.toml --out runs/mine

      adaptoff train --resume runs/train/last.safetensors
    """
    from adaptoff.commands import learn

    chosen = learn.training_settings(config_, set_ or [], {"steps": steps, "seed": seed}, resume)
    out = out or (resume.parent if resume else Path("runs/train"))
    _show(learn.run_training(chosen, out, resume, console), json=json)


@app.command()
def freeze(
    checkpoint: Annotated[Path, typer.Argument(help="What train wrote.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The policy file.")] = Path(
        "policy.safetensors"
    ),
    judge: Annotated[
        bool, typer.Option(help="Judge it on held-out fleets; the figures go into the file.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Make a frozen policy of a checkpoint: weights for NumPy, with their provenance.

    Example: adaptoff freeze runs/train/best.safetensors -o policy.safetensors
    """
    from adaptoff.commands import learn

    _show(learn.run_freezing(checkpoint, out, judge=judge), json=json)


@app.command()
def evaluate(
    policy_: PolicyOption = "default",
    scenario: Annotated[
        str | None, typer.Option(help="A TOML file or shipped name; without it, drawn fleets.")
    ] = None,
    set_: SetOption = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help="A DNN profile, by file or shipped name; may be repeated. "
            "Default: all that ship, for training."
        ),
    ] = None,
    traces: Annotated[
        list[Path] | None,
        typer.Option(
            help="A directory of bandwidth traces (CSV or mahimahi) to judge on beside drawn "
            "links; may be repeated."
        ),
    ] = None,
    trace_scale: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="Judge on the traces once more, each scaled by one factor such that its mean "
            "downlink lies between LOW and HIGH Mbit/s.",
        ),
    ] = None,
    up_over_down: Annotated[
        float | None,
        typer.Option(help="Uplink over downlink of traces that measured one of them; 1."),
    ] = None,
    heat: Annotated[
        bool, typer.Option("--heat", help="Draw fleets whose heat limit binds.")
    ] = False,
    energy_weight: Annotated[
        float | None,
        typer.Option(min=0, max=10, help="Of all fleets. Default: drawn, or the scenario's."),
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Names, with commas; a wrong one lists all.")
    ] = "native,policy,planner",
    fleets: Annotated[
        int | None, typer.Option(min=1, help="Drawn fleets a seed and class; 64.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many seeds; 5, or 1 if live.")
    ] = None,
    first_seed: Annotated[int, typer.Option(min=0, help="Not those of training.")] = 10_000,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds an episode; 24, or the scenario's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for results.json and report.html.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes side by side.")] = 1,
    live: Annotated[
        bool, typer.Option("--live", help="On a testbed of this machine, in the demo's scenario.")
    ] = False,
    net: NetOption = "auto",
    target_accuracy: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Live: to measure the time to; the lowest in the end."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Judge methods on emulated fleets, all on the same links; regret is to the oracle.

    Figures are for all classes of scenarios together and for each: a profile on one kind of links.
    Intervals are 95 % bootstraps over seeds. The oracle takes most of the time.

    Examples:

      adaptoff evaluate --out runs/evaluate --jobs 2

      adaptoff evaluate --profile vgg5 --heat --methods policy,planner,linucb

      adaptoff evaluate --traces bus/ --trace-scale 5 100 --up-over-down 0.5

      adaptoff evaluate --policy mine.safetensors --scenario demo --json

      adaptoff evaluate --live --scenario demo --methods native,policy,threshold --out runs/live
    """
    from adaptoff.agents.wanted import Wanted
    from adaptoff.commands import judge, judged

    wanted = Wanted(
        scenario or ("demo" if live else None), tuple(set_ or ()), tuple(profile or ()),
        tuple(traces or ()), trace_scale,
        up_over_down, heat, fleets, rounds, energy_weight,
    )  # fmt: skip
    names = tuple(name.strip() for name in methods.split(","))
    numbers = tuple(range(first_seed, first_seed + (seeds or (1 if live else 5))))
    if live:
        from adaptoff.commands import judge_live

        contest = judge_live.Contest.of(
            wanted, names, numbers, _policy(policy_), policy_, target_accuracy
        )
        result = judge_live.run(contest, _net(net), out, console)
    else:
        judging = judge.Judging(names, numbers, _policy(policy_), policy_, jobs)
        result = judge.run(judging, wanted, out, console)
    judged.show(result, console)
    if json:
        _print_json(result)


@app.command()
def calibrate(
    scenario: ScenarioOption = "demo",
    set_: SetOption = None,
    net: NetOption = "auto",
    rounds: RoundsOption = None,
    seed: SeedOption = 1,
    out: Annotated[Path, typer.Option("-o", "--out", help="The scenario, calibrated.")] = Path(
        "calibrated.toml"
    ),
    json: JsonOption = False,
) -> None:
    """Fit the cost model to a testbed of this machine; writes the scenario with what was found.

    Drawn rows are run and timed. What --set overrides holds for the run and is not written.

    Example: adaptoff calibrate --scenario fedadapt --out mine.toml
    """
    from adaptoff.commands import agree, bed

    source = bed.Source(scenario, tuple(set_ or ()), "default")
    result = agree.calibrate(source, _net(net), rounds, seed, out, console)
    agree.show(result, console)
    if json:
        _print_json(result)


@app.command()
def validate(
    scenario: ScenarioOption = "demo",
    set_: SetOption = None,
    net: NetOption = "auto",
    rounds: RoundsOption = None,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Compare what the cost model predicts with a testbed of this machine, on rows drawn anew.

    Example: adaptoff validate --scenario mine.toml
    """
    from adaptoff.commands import agree, bed

    source = bed.Source(scenario, tuple(set_ or ()), "default")
    result = agree.validate(source, _net(net), rounds, seed, console)
    agree.show(result, console)
    if json:
        _print_json(result)


@app.command()
def doctor(json: JsonOption = False) -> None:
    """Show what this machine can do, and what is used where it cannot."""
    from adaptoff.commands import doctor as command

    findings = command.examine()
    command.show(findings, console)
    if json:
        _print_json(command.as_json(findings))


keys_app = typer.Typer(
    help="Make, list and revoke the keys by which a server and its devices know each other.",
    no_args_is_help=True,
)
app.add_typer(keys_app, name="keys")
DirectoryOption = Annotated[
    Path | None,
    typer.Option("--dir", help="Default: adaptoff/keys in $XDG_CONFIG_HOME or ~/.config."),
]


@keys_app.command("new")
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


@keys_app.command("list")
def keys_list(directory: DirectoryOption = None, json: JsonOption = False) -> None:
    """Show names and public keys, and whose secret key is here."""
    from adaptoff.commands import keys as command
    from adaptoff.testbed.keys import default_directory

    found = command.found(directory or default_directory())
    if json:
        _print_json(found)
        return
    for key in found["keys"]:
        print(f"{key['name']:<12} {key['public']} {'secret key here' if key['secret'] else ''}")  # noqa: T201


@keys_app.command("revoke")
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


def _show(result: dict[str, Any], *, json: bool) -> None:
    if json:
        _print_json(result)
    else:
        print(next(iter(result.values())))  # noqa: T201
