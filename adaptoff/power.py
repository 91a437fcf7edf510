"""Where a board's power can be read: its current monitors, else its processor's energy counters.

Current monitors are chips of the INA family under hwmon. If one of their channels is the board's
input, it alone counts, else the sum of all. Counters are RAPL's: the platform's ("psys") alone if
there is one, else the sum of the packages, which leaves out what is around the processor.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from adaptoff.sysfs import Sysfs

HWMON_ROOT = Path("/sys/class/hwmon")
POWERCAP_ROOT = Path("/sys/class/powercap")
CHIP = re.compile(r"ina\d{3}\w*", re.ASCII)
PACKAGE = re.compile(r"intel-rapl:\d+")
"""a package or the platform; parts of a package have a second number"""
INPUTS = ("VDD_IN", "POM_5V_IN")
"""labels of the channel that feeds all others on Jetsons"""
LEAST_W, MAX_W = -1.0, 2000.0
"""a channel at rest may read a little below zero"""
MAX_GAP_S = 2.0
"""between two samples of a current monitor; longer, and the energy is not measured"""


@dataclass(frozen=True)
class Channel:
    """One channel of a current monitor."""

    chip: Path
    number: int
    sysfs: Sysfs

    @property
    def label(self) -> str:
        """What it feeds; empty if the kernel was not told."""
        return self._text(f"in{self.number}_label") or self._text(f"power{self.number}_label")

    def watts(self) -> float | None:
        """Now: uW, or mV x mA; None if it is switched off or cannot be read."""
        micro = self.sysfs.number(self.chip / f"power{self.number}_input")
        if micro is not None:
            return micro / 1e6
        milli_v = self.sysfs.number(self.chip / f"in{self.number}_input")
        milli_a = self.sysfs.number(self.chip / f"curr{self.number}_input")
        return None if milli_v is None or milli_a is None else milli_v * milli_a / 1e6

    def _text(self, file: str) -> str:
        return self.sysfs.read(self.chip / file) or ""


class Monitors:
    """Current monitors: power of the moment, integrated by the trapezoid rule."""

    def __init__(self, channels: list[Channel]) -> None:
        """``channels`` that do not feed each other."""
        self._channels = channels
        self._last: tuple[float, float | None] = (0.0, None)

    def watts(self) -> float | None:
        """Now; None if one of them cannot be read or is beyond belief."""
        total_w = _total([channel.watts() for channel in self._channels])
        return total_w if total_w is not None and LEAST_W <= total_w <= MAX_W else None

    def joules_since_last(self, now_s: float) -> float | None:
        """Since the call before; None after a gap, or if a sample is missing."""
        (last_s, last_w), now_w = self._last, self.watts()
        self._last = now_s, now_w
        if last_w is None or now_w is None or now_s - last_s > MAX_GAP_S:
            return None
        return (last_w + now_w) / 2 * (now_s - last_s)


class Counters:
    """RAPL's energy counters, which start over at their range.

    https://docs.kernel.org/power/powercap/powercap.html
    """

    def __init__(self, zones: list[Path], sysfs: Sysfs) -> None:
        """``zones`` that do not overlap."""
        self._zones, self._sysfs = zones, sysfs
        self._last_uj: list[int | None] = [None] * len(zones)

    def joules_since_last(self, now_s: float) -> float | None:  # noqa: ARG002
        """Since the call before; None if a counter could not be read now or then."""
        last_uj, now_uj = self._last_uj, [self._read(zone, "energy_uj") for zone in self._zones]
        self._last_uj = now_uj
        return _total(
            [self._used_j(*used) for used in zip(self._zones, last_uj, now_uj, strict=True)]
        )

    def _used_j(self, zone: Path, last_uj: int | None, now_uj: int | None) -> float | None:
        if last_uj is None or now_uj is None:
            return None
        over_uj = 0 if now_uj >= last_uj else self._read(zone, "max_energy_range_uj")
        return None if over_uj is None else (now_uj - last_uj + over_uj) / 1e6

    def _read(self, zone: Path, file: str) -> int | None:
        return self._sysfs.number(zone / file)


Source = Monitors | Counters


def find_power(
    hwmon_root: Path = HWMON_ROOT, powercap_root: Path = POWERCAP_ROOT, sysfs: Sysfs | None = None
) -> Source | None:
    """Current monitors, else energy counters, that can be read now; None: to be modelled."""
    sysfs = sysfs or Sysfs()
    if channels := _channels(hwmon_root, sysfs):
        return Monitors(channels)
    if zones := _counted(powercap_root, sysfs):
        return Counters(zones, sysfs)
    return None


def _total(each: list[float | None]) -> float | None:
    known = [value for value in each if value is not None]
    return sum(known) if len(known) == len(each) else None


def _channels(root: Path, sysfs: Sysfs) -> list[Channel]:
    chips = [path for path in sorted(root.glob("hwmon*")) if _is_chip(path, sysfs)]
    found = [Channel(chip, number, sysfs) for chip in chips for number in (1, 2, 3)]
    alive = [channel for channel in found if channel.watts() is not None]
    return [channel for channel in alive if channel.label in INPUTS] or alive


def _is_chip(path: Path, sysfs: Sysfs) -> bool:
    return bool(CHIP.fullmatch(sysfs.read(path / "name") or ""))


def _counted(root: Path, sysfs: Sysfs) -> list[Path]:
    zones = [path for path in sorted(root.glob("intel-rapl:*")) if PACKAGE.fullmatch(path.name)]
    alive = [zone for zone in zones if sysfs.number(zone / "energy_uj") is not None]
    platform = [zone for zone in alive if sysfs.read(zone / "name") == "psys"]
    return platform or alive
