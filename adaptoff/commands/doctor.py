"""``adaptoff doctor``: what this machine can do, and what is used where it cannot."""

import os
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from adaptoff import config, policy
from adaptoff.errors import AdaptoffError

EXTRAS = {"train": ("gymnasium", "stable-baselines3", "torch"), "testbed": ("torch", "psutil")}
SLEEP_S = 0.001


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    what: str
    found: str
    used: str


def examine() -> list[Finding]:
    """Look, touch nothing."""
    return [
        *[_extra(name) for name in EXTRAS],
        Finding("cores", str(os.cpu_count()), "more demand than that dilates time"),
        Finding("clock", f"{time.get_clock_info('monotonic').resolution:.0e} s", "monotonic"),
        Finding("1 ms sleep", f"{_sleep_s() * 1e3:.2f} ms", "pacing of clocks and links"),
        _sysfs("cpufreq", "/sys/devices/system/cpu/cpufreq", "policy*", "paced CPU time"),
        _sysfs("thermal zones", "/sys/class/thermal", "thermal_zone*", "the heat model"),
        _sysfs("power sensors", "/sys/class/powercap", "intel-rapl:*", "the power model"),
        Finding("links", "user-space pacer", "chunks are held back to the scenario's rate"),
        _default_policy(),
        Finding("scenarios", ", ".join(config.shipped()), "by name"),
    ]


def show(findings: list[Finding], console: Console) -> None:
    """As a table."""
    table = Table("what", "found", "used")
    for finding in findings:
        table.add_row(finding.what, finding.found, finding.used)
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


def _sysfs(what: str, folder: str, pattern: str, otherwise: str) -> Finding:
    found = sorted(path.name for path in Path(folder).glob(pattern))
    # reported only: the testbed emulates its boards, whatever this machine has
    return Finding(what, ", ".join(found) or "none", otherwise)


def _default_policy() -> Finding:
    try:
        seed = policy.default().provenance.get("seed", "unknown")
        return Finding("default policy", f"readable, seed {seed}", "unless --policy names another")
    except (AdaptoffError, OSError) as error:
        return Finding("default policy", str(error), "nothing")
