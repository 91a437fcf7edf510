"""``adaptoff train`` and ``freeze``."""

from pathlib import Path
from typing import Annotated

import typer

from adaptoff import config
from adaptoff.cli_options import JsonOption, NetOption, console, net_of, policy_of, show
from adaptoff.errors import InputError


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
        list[str] | None,
        typer.Option(
            "--set",
            help="Override a hyper-parameter, entropy=0.01; "
            "live, a value of the scenario, too: workload.batches=2.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Rounds of emulated fleets in all, as --set steps=.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, choices and fleets, as --set seed=.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="A checkpoint to go on from, with its hyper-parameters; live, its state alone."
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="On a testbed of this machine, with a trained policy.")
    ] = False,
    scenario: Annotated[
        str | None, typer.Option(help="Live: a TOML file or shipped name. Default: demo.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Live: the frozen policy to go on with. Default: 'default'.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Live: how many, in whole updates; 64.")
    ] = None,
    net: NetOption = "auto",
    json: JsonOption = False,
) -> None:
    """Train the row scorer with PPO on randomly drawn emulated fleets, or go on on a live one.

    The checkpoint of lowest regret on validation fleets is kept as best.safetensors, the state of
    training as last.safetensors; Ctrl-C leaves one to resume from. Hyper-parameters with their
    ranges are in adaptoff/agents/settings.py. Live, what telemetry says of each round stands for
    the truth; last.safetensors and policy.safetensors are written in the end, and on Ctrl-C.

    Examples:

      adaptoff train --seed 1 --set entropy=0.01 --set patience=5

      adaptoff train --config train.toml --out runs/mine

      adaptoff train --resume runs/train/last.safetensors

      adaptoff train --live --scenario straggler --rounds 96 --out runs/live
    """
    out = out or (resume.parent if resume else Path("runs/train"))
    if live:
        if steps is not None:
            raise InputError("--steps: not with --live, which takes --rounds")
        flags = {"seed": seed, "steps": rounds}
        of_start = (policy, resume)
        _train_live(scenario or "demo", set_ or [], config_, flags, of_start, net, out, json=json)
        return
    for name, value in (("--scenario", scenario), ("--policy", policy), ("--rounds", rounds)):
        if value is not None:
            raise InputError(f"{name}: only with --live")
    from adaptoff.commands import learn

    chosen = learn.training_settings(config_, set_ or [], {"steps": steps, "seed": seed}, resume)
    show(learn.run_training(chosen, out, resume, console()), json=json)


def _train_live(
    scenario: str, set_: list[str], config_: Path | None, flags: dict[str, int | None],
    of_start: tuple[str | None, Path | None], net: str, out: Path, *, json: bool,
) -> None:  # fmt: skip
    from adaptoff.agents.live_train import Start
    from adaptoff.commands import learn_live
    from adaptoff.commands.bed import Source

    policy, resume = of_start
    if policy and resume:
        raise InputError("--policy and --resume: only one of them can be gone on from")
    of_training, of_scenario = learn_live.split(set_)
    chosen = learn_live.training_settings(
        config.load(scenario, of_scenario), config_, of_training, flags
    )
    start = Start(policy_of(policy or "default"), resume)
    source = Source(scenario, of_scenario, "default")
    result = learn_live.run(source, net_of(net), chosen, start, out, console())
    learn_live.show(result, console())
    show(result, json=json)


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

    show(learn.run_freezing(checkpoint, out, judge=judge), json=json)
