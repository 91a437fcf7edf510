"""Round reports -> the result of a run, as ``--json`` prints it."""

import os
import platform
import shlex
import sys
from importlib.metadata import version
from typing import Any

import msgspec

from adaptoff import __version__
from adaptoff.commands.bed import Bed
from adaptoff.messages import RoundReport
from adaptoff.policy import Policy
from adaptoff.testbed.live import LiveFleet, energy_j

PACKAGES = ("torch", "numpy", "pyzmq", "msgspec", "scikit-learn")


def of_method(fleet: LiveFleet, reports: list[RoundReport]) -> dict[str, Any]:
    """What one method did, round by round."""
    joules = [sum(energy_j(fleet.welcome, r).values()) for r in reports]
    sources = {t.energy_source for r in reports for t in r.telemetry}
    return {
        "round_s": [r.round_s for r in reports],
        "energy_j": joules,
        "energy_source": "measured" if sources == {"measured"} else "modelled",
        "accuracy": reports[-1].accuracy,
        "accuracy_per_round": [r.accuracy for r in reports],
        "samples": sum(t.samples for r in reports for t in r.telemetry),
        "late": sum(len(r.late) for r in reports),
        "overloaded_rounds": [r.round for r in reports if not r.valid],
        "rounds": [_round(r) for r in reports],
    }


def _round(report: RoundReport) -> dict[str, Any]:
    sources = {d.device: d.source for d in report.decisions}
    return {
        "round": report.round,
        "round_s": report.round_s,
        "devices": [
            {
                "device": t.device,
                "cut": t.cut,
                "opp": t.opp,
                "depth": t.depth,
                "codec": t.codec,
                "device_s": t.device_s,
                "link_s": t.uplink_s + t.downlink_s + t.sync_s,
                "server_s": t.server_s,
                "wait_s": max(report.round_s - t.total_s, 0.0),
                "up_mbps": t.up_bps and t.up_bps / 1e6,
                "down_mbps": t.down_bps and t.down_bps / 1e6,
                "temp_c": t.temp_c,
                "pace_error": t.pace_error,
                "source": sources[t.device],
            }
            for t in report.telemetry
        ],
        "late": report.late,
        "attempts": report.attempts,
    }


def reduction(native: dict[str, Any], adaptive: dict[str, Any]) -> dict[str, float]:
    """Saved shares, at equal samples: whoever is late trained fewer, and pays for it."""

    def each(run: dict[str, Any], key: str) -> float:
        return sum(run[key]) / run["samples"] if run["samples"] else float("inf")

    def saved(key: str) -> float:
        return 1 - each(adaptive, key) / each(native, key)

    return {"round_time": saved("round_s"), "energy": saved("energy_j")}


def decisions(adaptive: dict[str, Any]) -> list[dict[str, Any]]:
    """Flat: which device took which row in which round, and who chose it."""
    keys = ("device", "cut", "opp", "depth", "codec", "source")
    return [
        {"round": r["round"], **{key: d[key] for key in keys}}
        for r in adaptive["rounds"]
        for d in r["devices"]
    ]


def of_bed(bed: Bed) -> dict[str, Any]:
    """What all methods ran on."""
    scenario = bed.scenario
    return {
        "backend": f"live: {bed.links}",
        "scenario": scenario.name,
        "devices": [
            {"id": i, "board": group.board, "link": group.link}
            for i, group in enumerate(scenario.each_device())
        ],
        "model": scenario.workload.model,
        "dataset": scenario.workload.dataset,
    }


def provenance(bed: Bed, policy: Policy, **drawn: int | list[int]) -> dict[str, Any]:
    """How to get these figures again."""
    return {
        "versions": {"adaptoff": __version__, "python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        **drawn,
        "command": shlex.join(["adaptoff", *sys.argv[1:]]),
        "host_cores": os.cpu_count(),
        "dilation": bed.dilation,
        "profile": msgspec.to_builtins(bed.live.welcome.profile),
        "policy": policy.provenance,
    }
