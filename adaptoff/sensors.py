"""How hot a board is: one thermal zone, its trip point, and readings that can be believed.

The zone is the first, by number, whose type contains "cpu", else "soc", else "pkg", else "gpu",
else the hottest one; or the one that is named.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adaptoff.errors import InputError
from adaptoff.sysfs import Sysfs

THERMAL_ROOT = Path("/sys/class/thermal")
PREFERRED = ("cpu", "soc", "pkg", "gpu")
TRIPS = ("passive", "hot", "critical")
"""kinds of trip points that slow the board or stop it; "active" starts a fan"""
BELIEVED_C = (0.0, 150.0)
"""between these, not at them: sensors that fail say 0, 255, or something negative"""
JUMP_C_PER_S = 30.0
MAX_AGE_S = 30.0


@dataclass(frozen=True)
class Zone:
    """A thermal zone of the kernel."""

    folder: Path
    sysfs: Sysfs

    @property
    def kind(self) -> str:
        """Its type: "cpu-thermal", say."""
        return self.sysfs.read(self.folder / "type") or ""

    @property
    def number(self) -> int:
        """Of ``thermal_zone7``: 7."""
        return int(self.folder.name.removeprefix("thermal_zone"))

    def temp_c(self) -> float | None:
        """What it says now; None if nothing, or nothing to be believed."""
        return _celsius(self.sysfs.number(self.folder / "temp"))

    def trip_c(self) -> float | None:
        """Where the kernel begins to slow the board or stop it; None if it does not say."""
        trips_c = [
            _celsius(self.sysfs.number(path.with_name(path.name.replace("_type", "_temp"))))
            for path in self.folder.glob("trip_point_*_type")
            if self.sysfs.read(path) in TRIPS
        ]
        return min((trip for trip in trips_c if trip is not None), default=None)


def zones(root: Path = THERMAL_ROOT, sysfs: Sysfs | None = None) -> list[Zone]:
    """All that there are, by number."""
    folders = [path for path in root.glob("thermal_zone*") if path.name[12:].isdecimal()]
    return sorted((Zone(path, sysfs or Sysfs()) for path in folders), key=lambda z: z.number)


def find_zone(
    root: Path = THERMAL_ROOT, name: str | None = None, sysfs: Sysfs | None = None
) -> Zone | None:
    """The zone by the rule above, of those that can be believed now, else of all; None without any.

    One that fails at the start may well be heard later. ``name`` is a zone's type or folder. Raises
    InputError naming what there is.
    """
    found = zones(root, sysfs)
    if name is not None:
        return _named(found, name)
    alive = [zone for zone in found if zone.temp_c() is not None] or found
    for word in PREFERRED:
        for zone in alive:
            if word in zone.kind.lower():
                return zone
    return max(alive, key=lambda zone: zone.temp_c() or 0.0, default=None)


@dataclass(frozen=True)
class Reading:
    """A temperature, and how long ago it was read."""

    temp_c: float | None
    """None: nothing to be believed for longer than MAX_AGE_S"""
    age_s: float


class Thermometer:
    """Reads a zone and passes glitches over."""

    def __init__(self, zone: Zone, monotonic: Callable[[], float]) -> None:
        """``monotonic``: seconds since some moment."""
        self._zone, self._monotonic = zone, monotonic
        self._good_c: float | None = None
        self._good_s = monotonic()

    def read(self) -> Reading:
        """The temperature now, or the last one that could be believed.

        One that strays from that by more than JUMP_C_PER_S x its age (at least 1 s) is not: a
        false first reading is thus got over.
        """
        now_s, temp_c = self._monotonic(), self._zone.temp_c()
        age_s = now_s - self._good_s
        if temp_c is not None and self._follows(temp_c, age_s):
            self._good_c, self._good_s, age_s = temp_c, now_s, 0.0
        return Reading(self._good_c if age_s <= MAX_AGE_S else None, age_s)

    def _follows(self, temp_c: float, age_s: float) -> bool:
        if self._good_c is None:
            return True
        return abs(temp_c - self._good_c) <= JUMP_C_PER_S * max(age_s, 1.0)


def _named(found: list[Zone], name: str) -> Zone:
    for zone in found:
        if name in (zone.folder.name, zone.kind):
            return zone
    kinds = ", ".join(zone.kind for zone in found) or "none"
    raise InputError(f"thermal zone {name}: there is no such; there are: {kinds}")


def _celsius(millis: int | None) -> float | None:
    if millis is None or not BELIEVED_C[0] < millis / 1000 < BELIEVED_C[1]:
        return None
    return millis / 1000
