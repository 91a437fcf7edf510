"""What this machine can do for a testbed, found by doing it in namespaces that are thrown away."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from adaptoff.testbed import namespaces

PATIENCE_S = 20.0
CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Ability:
    """True where it works; ``why_not`` is empty then."""

    why_not: str = ""

    def __bool__(self) -> bool:
        return not self.why_not


@dataclass(frozen=True)
class Abilities:
    """Of this machine and user. A ``Network`` needs either kind of namespaces, and TBF."""

    root_namespaces: Ability
    """with veth pairs and a bridge, as are the rootless ones"""
    rootless_namespaces: Ability
    tbf: Ability
    htb: Ability
    netem: Ability
    """delay, jitter and loss, with TBF below it"""
    relay: Ability
    """the same by ``relay``, which needs raw packets"""
    nft: Ability
    cpu_quota: Ability
    """looked for, not tried"""


UNTRIED = Ability("there is no network namespace to try it in")


@dataclass(frozen=True)
class Trial:
    """What ``nettrial`` found in a namespace of one kind."""

    links: Ability
    tbf: Ability = UNTRIED
    htb: Ability = UNTRIED
    netem: Ability = UNTRIED
    relay: Ability = UNTRIED
    nft: Ability = UNTRIED


@cache
def probe() -> Abilities:
    """Try once per process; the host's own interfaces are never touched."""
    root = _try("-n") if os.geteuid() == 0 else Trial(Ability("this user is not root"))
    rootless = _try("-Urn")
    best = root if root.links else rootless
    return Abilities(
        root_namespaces=root.links,
        rootless_namespaces=rootless.links,
        tbf=best.tbf,
        htb=best.htb,
        netem=best.netem,
        relay=best.relay,
        nft=best.nft,
        cpu_quota=_cpu_quota(),
    )


def _try(flags: str) -> Trial:
    trial = ["unshare", flags, "--", sys.executable, "-m", "adaptoff.testbed.nettrial"]
    try:
        done = subprocess.run(  # noqa: S603
            [*trial, namespaces.own()], capture_output=True, timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Trial(Ability(str(error)))
    try:
        return msgspec.json.decode(done.stdout, type=Trial)
    except msgspec.DecodeError:
        return Trial(Ability(_reason(done.stderr.decode(errors="replace"))))


def _reason(stderr: str) -> str:
    """Why a trial told nothing."""
    said = stderr.strip().splitlines()
    if said and said[-1].startswith(ModuleNotFoundError.__name__):
        return "needs adaptoff[testbed]"
    return said[-1] if said else "the trial said nothing"


def _cpu_quota() -> Ability:
    for file in _quota_files():
        if file.exists():
            return Ability("" if os.access(file, os.W_OK) else f"{file} cannot be written to")
    return Ability("this process's cgroup has no CPU quota")


def _quota_files() -> Iterator[Path]:
    """Of this process's own groups, in version 2 and 1."""
    if not OWN_GROUPS.exists():
        return
    for line in OWN_GROUPS.read_text(encoding="utf-8").splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            yield CGROUPS / group.lstrip("/") / "cpu.max"
        elif "cpu" in controllers.split(","):
            yield CGROUPS / controllers / group.lstrip("/") / "cpu.cfs_quota_us"
