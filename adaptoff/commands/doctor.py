"""``adaptoff doctor``: what this machine can do, and what is used where it cannot.

With ``--json`` it is ``{"findings": [{"what": ..., "found": ..., "used": ...}]}``, one entry for
each of ``WHATS``, in this order, on every machine; ``found`` and ``used`` are for people to read.
"""

import os
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from adaptoff import config, policy
from adaptoff.commands import doctor_net
from adaptoff.commands.doctor_net import Finding
from adaptoff.errors import AdaptoffError

EXTRAS = {
    "train": ("gymnasium", "stable-baselines3", "torch"),
    "testbed": ("torch", "psutil", "pyroute2"),
    "metrics": ("prometheus-client",),
}
SLEEP_S = 0.001
CLASSES = Path("/sys/class")
POWER = ["powercap/intel-rapl:*", "hwmon/hwmon*/power*_input", "hwmon/hwmon*/curr*_input"]
CPUFREQ = Path("/sys/devices/system/cpu/cpufreq")
WHATS = (
    "extra train", "extra testbed", "extra metrics", "cores", "clock", "1 ms sleep", "cpufreq",
    "cpu quota", "thermal zones", "power sensors", "namespaces", "tbf", "htb", "netem", "relay",
    "nft", "delay and loss", "links", "default policy", "scenarios",
)  # fmt: skip
"""stable: scripts may look for them"""


def examine() -> list[Finding]:
    """Look and try out, touch nothing that is there."""
    return [
        *[_extra(name) for name in EXTRAS],
        Finding("cores", _cores(), "more demand than that dilates time"),
        Finding("clock", f"{time.get_clock_info('monotonic').resolution:.0e} s", "monotonic"),
        Finding("1 ms sleep", f"{_sleep_s() * 1e3:.2f} ms", "pacing of clocks and links"),
        _sysfs("cpufreq", CPUFREQ, ["policy*"], "paced CPU time"),
        doctor_net.quota(),
        _sysfs("thermal zones", CLASSES, ["thermal/thermal_zone*"], "the heat model"),
        _sysfs("power sensors", CLASSES, POWER, "the power model"),
        *doctor_net.examine(),
        _default_policy(),
        Finding("scenarios", ", ".join(config.shipped()), "by name"),
    ]


def show(findings: list[Finding], console: Console) -> None:
    """As a table."""
    table = Table(Column("what", no_wrap=True), "found", "used")
    for finding in findings:
        table.add_row(finding.what, escape(finding.found), escape(finding.used))
    console.print(table)


def as_json(findings: list[Finding]) -> dict[str, object]:
    """For ``--json``."""
    return {"findings": [asdict(finding) for finding in findings]}


def _extra(name: str) -> Finding:
    found, missing = [], []
    for package in EXTRAS[name]:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    advice = f"pip install 'adaptoff[{name}]'" if missing else "as it is"
    return Finding(f"extra {name}", ", ".join(found) or "none", advice)


def _sleep_s() -> float:
    """Median seconds that a sleep of SLEEP_S really takes."""
    taken = []
    for _ in range(21):
        start_s = time.perf_counter()
        time.sleep(SLEEP_S)
        taken.append(time.perf_counter() - start_s)
    return sorted(taken)[10]


def _cores() -> str:
    usable = getattr(os, "sched_getaffinity", None)  # macOS has none
    return f"{len(usable(0)) if usable else os.cpu_count()} of {os.cpu_count()} usable"


def _sysfs(what: str, folder: Path, patterns: list[str], otherwise: str) -> Finding:
    found = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    # reported only: the testbed emulates its boards, whatever this machine has
    return Finding(what, ", ".join(found) or "none", otherwise)


def _default_policy() -> Finding:
    try:
        seed = policy.default().provenance.get("seed", "unknown")
        return Finding("default policy", f"readable, seed {seed}", "unless --policy names another")
    except (AdaptoffError, OSError) as error:
        return Finding("default policy", str(error), "nothing")
