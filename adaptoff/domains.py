"""Frequency domains: cores, or a GPU, that share one clock.

Linux calls them cpufreq policies and devfreq devices; the word "policy" is the network's here.
Frequencies are Hz. The kernel's own unit is kHz for CPUs and Hz for GPUs, and is kept for what is
saved and put back, so that it is put back to the digit.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from adaptoff.sysfs import Sysfs, whole

CPU_ROOT = Path("/sys/devices/system/cpu/cpufreq")
GPU_ROOT = Path("/sys/class/devfreq")
NAMES = {
    "cpu": re.compile(r"policy\d{1,4}"),
    # Jetson: 57000000.gpu, 17000000.gp10b, 17000000.ga10b; Arm boards: fb000000.gpu, 13000000.mali
    "gpu": re.compile(r"[\w.-]*(gpu|mali|g[a-z]\d\d[a-z])[\w.-]*", re.ASCII),
}
USERSPACE = "userspace"
Window = tuple[int, int]


@dataclass(frozen=True)
class Files:
    """What the files of a kind of domain are called, and in which unit they speak."""

    unit_hz: int
    steps: str
    limits: tuple[str, str]
    """floor and ceiling for the governor"""
    governor: str
    governors: str
    current: tuple[str, ...]
    """the first that can be read counts; the hardware's own word, for root alone, comes first"""
    ends: tuple[str, str] | None = None
    """slowest and fastest of the hardware"""
    setspeed: str | None = None


FILES = {
    "cpu": Files(
        unit_hz=1000,
        steps="scaling_available_frequencies",
        limits=("scaling_min_freq", "scaling_max_freq"),
        governor="scaling_governor",
        governors="scaling_available_governors",
        current=("cpuinfo_cur_freq", "scaling_cur_freq", "scaling_setspeed"),
        ends=("cpuinfo_min_freq", "cpuinfo_max_freq"),
        setspeed="scaling_setspeed",
    ),
    "gpu": Files(
        unit_hz=1,
        steps="available_frequencies",
        limits=("min_freq", "max_freq"),
        governor="governor",
        governors="available_governors",
        current=("cur_freq",),
    ),
}


class Domain:
    """One clock: its steps, what it runs at, and how it is set."""

    def __init__(self, folder: Path, kind: Literal["cpu", "gpu"], sysfs: Sysfs) -> None:
        """``folder`` is a cpufreq policy or a devfreq device."""
        self.name, self.kind, self.sysfs = folder.name, kind, sysfs
        self.files = FILES[kind]
        self._folder = folder

    def path(self, file: str) -> Path:
        """Of one of its files."""
        return self._folder / file

    def steps_hz(self) -> list[int]:
        """Ascending, as they are now; empty where the kernel names only the ends."""
        steps = {whole(word) or 0 for word in self.sysfs.words(self.path(self.files.steps))}
        return sorted(step * self.files.unit_hz for step in steps if step > 0)

    def range_hz(self) -> Window | None:
        """(slowest, fastest) of the hardware; None if the kernel does not say."""
        if steps := self.steps_hz():
            return steps[0], steps[-1]
        ends = self.files.ends and self._pair(self.files.ends)
        return ends and (ends[0] * self.files.unit_hz, ends[1] * self.files.unit_hz)

    def nearest_hz(self, hz: float) -> int:
        """The step nearest to ``hz``, or ``hz`` within the ends where steps are not named."""
        if steps := self.steps_hz():
            return min(steps, key=lambda step: abs(step - hz))
        least, most = self.range_hz() or (0, round(hz))
        return round(min(max(hz, least), most))

    def running_hz(self) -> int | None:
        """What it runs at; None if it does not say (a GPU that sleeps says 0)."""
        for file in self.files.current:
            if value := self.sysfs.number(self.path(file)):
                return value * self.files.unit_hz
        return None

    def window(self) -> Window | None:
        """(floor, ceiling) that hold for its governor, in the kernel's unit."""
        return self._pair(self.files.limits)

    @cached_property
    def by_userspace(self) -> bool:
        """Whether the kernel lets us name the speed, or only its limits; as at the first look.

        What is changed is what was saved first: a governor that comes or goes changes neither.
        """
        governors = self.sysfs.words(self.path(self.files.governors))
        setspeed = self.files.setspeed
        return bool(setspeed and USERSPACE in governors and self.path(setspeed).exists())

    def set_governor(self, governor: str) -> None:
        """If it is not that already. Raises OSError."""
        path = self.path(self.files.governor)
        if self.sysfs.read(path) != governor:
            self.sysfs.write(path, governor)

    def set_window(self, floor: int, ceiling: int) -> None:
        """In the kernel's unit, never with the floor above the ceiling. Raises OSError."""
        now = self.window()
        writes = list(zip(self.files.limits, (floor, ceiling), strict=True))
        if now and floor > now[1]:
            writes.reverse()
        for file, value in writes:
            self.sysfs.write(self.path(file), str(value))

    def ask(self, hz: int, bounds: Window | None) -> None:
        """Ask for a speed. Raises OSError.

        ``bounds``: limits (kernel's unit) that were there first and are kept; None if unknown.
        """
        value = hz // self.files.unit_hz
        if self.files.setspeed and self.by_userspace:
            self.set_governor(USERSPACE)
            self.sysfs.write(self.path(self.files.setspeed), str(value))
            return
        if bounds:
            value = min(max(value, bounds[0]), bounds[1])
        self.set_window(value, value)

    def _pair(self, files: tuple[str, str]) -> Window | None:
        low, high = (self.sysfs.number(self.path(file)) for file in files)
        return None if low is None or high is None else (low, high)


def discover(
    cpu_root: Path = CPU_ROOT, gpu_root: Path = GPU_ROOT, sysfs: Sysfs | None = None
) -> list[Domain]:
    """Domains whose range is known, CPUs first, in the order of their names; maybe none."""
    sysfs = sysfs or Sysfs()
    cpus = [Domain(folder, "cpu", sysfs) for folder in _named(cpu_root, "cpu")]
    gpus = [Domain(folder, "gpu", sysfs) for folder in _named(gpu_root, "gpu")]
    return [domain for domain in cpus + gpus if domain.range_hz()]


def lead_of(domains: Sequence[Domain]) -> Domain:
    """The fastest CPU domain, else the fastest: the OPP table's MHz are its own."""
    cpus = [domain for domain in domains if domain.kind == "cpu"] or domains
    return max(cpus, key=lambda domain: (domain.range_hz() or (0, 0))[1])


def _named(root: Path, kind: str) -> list[Path]:
    folders = [path for path in root.glob("*") if NAMES[kind].fullmatch(path.name)]
    return sorted(folders, key=lambda path: (len(path.name), path.name))
