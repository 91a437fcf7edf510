"""The command line. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 it failed, 2 the input is wrong.
"""

import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from adaptoff import __version__, config, policy
from adaptoff.errors import AdaptoffError, InputError

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
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
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
    json: JsonOption = False,
) -> None:
    """Split training on a live testbed: classic FL, then the controller, on the same links.

    Examples:

      adaptoff demo

      adaptoff demo --thorough --json > result.json

      adaptoff demo --set workload.rounds=4 --set server.speed=0.5
    """
    from adaptoff.commands import demo as command

    chosen = config.load(scenario, tuple(set_ or ()))
    source = command.Source(scenario, tuple(set_ or ()), policy_)
    result = command.run(chosen, source, _policy(policy_), out, seed, thorough, console)
    if json:
        _print_json(result)


@app.command()
def serve(
    scenario: ScenarioOption = "demo",
    set_: SetOption = None,
    bind: Annotated[str, typer.Option(help="Where to listen.")] = "tcp://127.0.0.1:*",
    dilation: Annotated[
        float, typer.Option(min=1, max=1000, help="How much emulated time is slowed.")
    ] = 1.0,
    measure: Annotated[
        bool, typer.Option(help="Measure the model's profile on this machine first.")
    ] = True,
) -> None:
    """Be the server of a testbed; prints its endpoint as JSON, ends when its driver leaves.

    Example: adaptoff serve --scenario demo --bind tcp://127.0.0.1:5600
    """
    from adaptoff.commands import node

    node.serve(config.load(scenario, tuple(set_ or ())), bind, dilation, measure=measure)


@app.command()
def device(
    endpoint: Annotated[str, typer.Argument(help="The server: tcp://HOST:PORT.")],
    number: Annotated[int, typer.Argument(min=0, help="Which device of the scenario to be.")],
    policy_: PolicyOption = "default",
) -> None:
    """Be one device of a testbed, until its server says goodbye.

    Example: adaptoff device tcp://127.0.0.1:5600 0
    """
    from adaptoff.commands import node

    node.join(endpoint, number, _policy(policy_))


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
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="Not those of training.")] = 10_000,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds an episode; 24, or the scenario's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for results.json and report.html.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes side by side.")] = 1,
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
    """
    from adaptoff.agents.wanted import Wanted
    from adaptoff.commands import judge, judged

    wanted = Wanted(
        scenario, tuple(set_ or ()), tuple(profile or ()), tuple(traces or ()), trace_scale,
        up_over_down, heat, fleets, rounds, energy_weight,
    )  # fmt: skip
    names = tuple(name.strip() for name in methods.split(","))
    numbers = tuple(range(first_seed, first_seed + seeds))
    judging = judge.Judging(names, numbers, _policy(policy_), policy_, jobs)
    result = judge.run(judging, wanted, out, console)
    judged.show(result, console)
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


def _show(result: dict[str, Any], *, json: bool) -> None:
    if json:
        _print_json(result)
    else:
        print(next(iter(result.values())))  # noqa: T201
