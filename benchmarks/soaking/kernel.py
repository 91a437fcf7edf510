"""A kernel's files for clocks and heat, and the hardware behind them.

What is set lives here, the files only show it: hidden ones come back as they are by then. Writes
are refused as a kernel refuses them, and wherever a fault says so.
"""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptoff.sysfs import Sysfs

USERSPACE, USUAL = "userspace", "schedutil"
UNSUPPORTED = "<unsupported>"
FOREVER_KHZ = 10**9


@dataclass
class Clock:
    """One cpufreq policy; kHz."""

    name: str
    steps: list[int]
    """of the hardware"""
    governors: list[str]
    said: str
    """the table in its file"""
    governor: str = USUAL
    floor: int = 0
    ceiling: int = FOREVER_KHZ
    speed: int = 0
    """by ``userspace``"""
    cap: int = FOREVER_KHZ
    hot_cap: int = FOREVER_KHZ
    """what firmware and heat leave"""
    snaps: int = 1
    """only each so many-th step is really there"""

    @property
    def running(self) -> int:
        """A busy board under its usual governor is as fast as it may be."""
        wanted = self.speed if self.governor == USERSPACE else self.ceiling
        wanted = min(max(wanted, self.floor), self.ceiling, self.cap, self.hot_cap)
        return min(self.steps[:: self.snaps], key=lambda step: abs(step - wanted))

    def shown(self) -> dict[str, str]:
        """Its files."""
        speed = str(self.speed) if self.governor == USERSPACE else UNSUPPORTED
        return {
            "cpuinfo_min_freq": str(self.steps[0]),
            "cpuinfo_max_freq": str(self.steps[-1]),
            "scaling_min_freq": str(self.floor),
            "scaling_max_freq": str(self.ceiling),
            "scaling_cur_freq": str(self.running),
            "scaling_governor": self.governor,
            "scaling_available_governors": " ".join(self.governors),
            "scaling_available_frequencies": self.said,
            "scaling_setspeed": speed,
        }

    def settings(self) -> tuple[str, int, int]:
        """What a user may have set."""
        return self.governor, self.floor, self.ceiling


class Kernel(Sysfs):
    """Two policies, the fast one by ``userspace`` and one by limits alone, and a thermal zone."""

    def __init__(self, root: Path, steps_khz: Sequence[int]) -> None:
        """``steps_khz`` of the fast one."""
        self.cpufreq, self.thermal = root / "cpufreq", root / "thermal"
        self.refuses: dict[Path, int] = {}
        """error numbers of writes that are refused"""
        self._hidden: set[Path] = set()
        self._shown: dict[Path, str] = {}
        small = [step // 2 for step in steps_khz]
        self.clocks = {
            "policy0": _clock("policy0", list(steps_khz), [USUAL, USERSPACE]),
            "policy4": _clock("policy4", small, ["performance", USUAL]),
        }
        self._paths = {
            (name, file): self.cpufreq / name / file
            for name, clock in self.clocks.items()
            for file in clock.shown()
        }
        zone = self.thermal / "thermal_zone0"
        for folder in (*(self.cpufreq / name for name in self.clocks), zone):
            folder.mkdir(parents=True)
        self._show(zone / "type", "cpu-thermal")
        self.temp = zone / "temp"
        self.say_temp("40000")
        self.settle()

    def files(self) -> list[Path]:
        """All of the clocks'."""
        return list(self._paths.values())

    def settle(self) -> None:
        """Show how the clocks are now."""
        for clock in self.clocks.values():
            for file, text in clock.shown().items():
                self._show(self._paths[clock.name, file], text)

    def say_temp(self, text: str | None) -> None:
        """Of the zone; None: its file is gone."""
        if text is None:
            self.hide([self.temp])
        else:
            self._hidden.discard(self.temp)
            self._show(self.temp, text)

    def hide(self, paths: Sequence[Path]) -> None:
        """Files that are not there for a while."""
        self._hidden.update(paths)
        for path in paths:
            self._shown.pop(path, None)
            path.unlink(missing_ok=True)

    def bring_back(self, paths: Sequence[Path]) -> None:
        """Hidden files, as they are by now."""
        self._hidden.difference_update(paths)
        self.settle()

    def write(self, path: Path, text: str) -> None:
        """As a kernel takes it."""
        if refusal := self._refusal(path, text):
            raise OSError(refusal, os.strerror(refusal), str(path))
        self._take(self.clocks[path.parent.name], path.name, text)
        self.settle()

    def _refusal(self, path: Path, text: str) -> int:
        if not path.exists():
            return errno.ENOENT
        if path in self.refuses:
            return self.refuses[path]
        clock = self.clocks[path.parent.name]
        taken = {
            "scaling_governor": text in clock.governors,
            "scaling_setspeed": clock.governor == USERSPACE and text.isdecimal(),
            "scaling_min_freq": text.isdecimal() and int(text) <= clock.ceiling,
            "scaling_max_freq": text.isdecimal() and int(text) >= clock.floor,
        }
        return 0 if taken.get(path.name) else errno.EINVAL

    def _take(self, clock: Clock, file: str, text: str) -> None:
        names = {
            "scaling_min_freq": "floor", "scaling_max_freq": "ceiling", "scaling_setspeed": "speed",
        }  # fmt: skip
        if file == "scaling_governor":
            clock.speed = clock.running
            clock.governor = text
        else:
            setattr(clock, names[file], int(text))

    def _show(self, path: Path, text: str) -> None:
        if path not in self._hidden and self._shown.get(path) != text:
            self._shown[path] = text
            path.write_text(f"{text}\n")


def _clock(name: str, steps: list[int], governors: list[str]) -> Clock:
    said = " ".join(map(str, steps))
    return Clock(name, steps, governors, said, floor=steps[0], ceiling=steps[-1])
