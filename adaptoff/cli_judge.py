"""``adaptoff evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from adaptoff.cli_options import (
    MOST_SEED,
    DilationOption,
    JsonOption,
    NetOption,
    PolicyOption,
    SetOption,
    console,
    net_of,
    policy_of,
    print_json,
)
from adaptoff.errors import InputError


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
    depths: Annotated[
        str, typer.Option(help="Micro-batches in flight that drawn fleets may choose: 1,2,4,8.")
    ] = "",
    codecs: Annotated[
        str, typer.Option(help="Codecs that drawn fleets may choose: float32,float16,uint8.")
    ] = "",
    methods: Annotated[
        str, typer.Option(help="Names, with commas; a wrong one lists all.")
    ] = "native,policy,planner",
    fleets: Annotated[
        int | None, typer.Option(min=1, help="Drawn fleets a seed and class; 64.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many seeds; 5, or 1 if live.")
    ] = None,
    first_seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Not those of training.")
    ] = 10_000,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds an episode; 24, or the scenario's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for results.json and report.html.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes side by side.")] = 1,
    live: Annotated[
        bool,
        typer.Option("--live", help="On a testbed of this machine; without --scenario the demo's."),
    ] = False,
    net: NetOption = "auto",
    dilation: DilationOption = 1.0,
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

      adaptoff evaluate --profile vgg5 --depths 1,2,4 --codecs float32,uint8

      adaptoff evaluate --traces bus/ --trace-scale 5 100 --up-over-down 0.5

      adaptoff evaluate --policy mine.safetensors --scenario demo --json

      adaptoff evaluate --live --scenario demo --methods native,policy,threshold --out runs/live
    """
    from adaptoff.agents.wanted import Wanted
    from adaptoff.commands import judge, judged

    wanted = Wanted(
        scenario or ("demo" if live else None), tuple(set_ or ()), tuple(profile or ()),
        tuple(traces or ()), trace_scale,
        up_over_down, heat, fleets, rounds, energy_weight, depths, codecs,
    )  # fmt: skip
    if target_accuracy is not None and not live:
        raise InputError("--target-accuracy: only with --live")
    if dilation != 1 and not live:
        raise InputError("--dilation: only with --live")
    if live and jobs > 1:
        raise InputError("--jobs: not with --live, whose methods are timed one by one")
    names = tuple(name.strip() for name in methods.split(","))
    numbers = tuple(range(first_seed, first_seed + (seeds or (1 if live else 5))))
    if live:
        from adaptoff.commands import judge_live

        contest = judge_live.Contest.of(
            wanted, names, numbers, policy_of(policy_), policy_, target_accuracy, dilation
        )
        result = judge_live.run(contest, net_of(net), out, console())
    else:
        judging = judge.Judging(names, numbers, policy_of(policy_), policy_, jobs)
        result = judge.run(judging, wanted, out, console())
    judged.show(result, console())
    if json:
        print_json(result)
