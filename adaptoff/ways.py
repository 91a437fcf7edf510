"""Ways to share a batch with the server: cut, depth and codec together, and what each costs.

A task has a list of them, native last, and arrays of fleets are indexed by their place in it. On
the wire and in results a row names its levers, never that place.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from adaptoff.errors import ProfileError
from adaptoff.profile import Codec, Coded, Profile
from adaptoff.scenario import Workload

AS_IS: Codec = "float32"


class Way(NamedTuple):
    """How a batch is shared: blocks on the device, micro-batches in flight, and how they travel."""

    cut: int
    depth: int = 1
    codec: Codec = AS_IS

    def __str__(self) -> str:
        """As "3", or "3x4-uint8" for four micro-batches with a codec."""
        depth = f"x{self.depth}" if self.depth > 1 else ""
        return f"{self.cut}{depth}" + (f"-{self.codec}" if self.codec != AS_IS else "")


class Levers(Protocol):
    """Whatever names a way: a row, a decision's, a round's telemetry."""

    @property
    def cut(self) -> int:
        """Blocks on the device."""

    @property
    def depth(self) -> int:
        """Micro-batches in flight."""

    @property
    def codec(self) -> Codec:
        """How they travel."""


def way_of(levers: Levers) -> Way:
    """The way that they name."""
    return Way(levers.cut, levers.depth, levers.codec)


class Ways:
    """The ways of a task in order: by cut, then depth, then codec; native is the last one."""

    def __init__(self, profile: Profile, work: Workload) -> None:
        """Raises ProfileError where the workload allows no codec that the profile knows."""
        self.work, self.native = work, profile.native
        self._least = min(work.min_cut, profile.native)
        self._codecs = usable(profile, work)
        self.all = [
            Way(cut, depth, codec)
            for cut in range(profile.native)
            for depth in sorted(set(work.depths))
            for codec in self._codecs
        ] + [Way(profile.native)]
        self._numbers = {way: number for number, way in enumerate(self.all)}

    @property
    def allowed(self) -> list[int]:
        """The numbers of those that ``min_cut`` leaves."""
        return [number for number, way in enumerate(self.all) if way.cut >= self._least]

    def number(self, levers: Levers) -> int:
        """Its place in ``all``; raises ValueError naming what is allowed."""
        found = self._numbers.get(way_of(levers))
        if found is None:
            raise ValueError(self._complaint(way_of(levers)))
        return found

    def check(self, levers: Levers) -> None:
        """Raise ValueError, naming what is allowed, for a way that the task does not have."""
        if not self._least <= levers.cut <= self.native:
            raise ValueError(f"cut {levers.cut}: min_cut allows {self._least} to {self.native}")
        self.number(levers)

    def _complaint(self, way: Way) -> str:
        if not 0 <= way.cut <= self.native:
            return f"cut {way.cut}: 0 to {self.native} exist"
        if way.cut == self.native:
            return f"depth {way.depth}, codec {way.codec}: native has depth 1 and float32"
        if way.depth not in self.work.depths:
            allowed = ", ".join(map(str, sorted(set(self.work.depths))))
            return f"depth {way.depth}: allowed: {allowed}"
        return f"codec {way.codec}: allowed: {', '.join(self._codecs)}"


def usable(profile: Profile, work: Workload) -> list[Codec]:
    """The workload's codecs but for those that lose too much, or nobody knows how much.

    Raises ProfileError for one that the profile has no figures of, and where none is left.
    """
    known: list[Codec] = [AS_IS, *profile.codecs]
    for codec in work.codecs:
        if codec not in known:
            allowed = ", ".join(known)
            raise ProfileError(f"profile {profile.name}: no codec {codec}: allowed: {allowed}")
    left = [c for c in known if c in work.codecs and _drop(profile, c) <= work.max_accuracy_drop]
    if not left:
        raise ProfileError(
            f"profile {profile.name}: none of {', '.join(work.codecs)} is known to lose at most "
            f"max_accuracy_drop = {work.max_accuracy_drop:g}"
        )
    return left


def _drop(profile: Profile, codec: Codec) -> float:
    if codec == AS_IS:
        return 0.0
    drop = profile.codecs[codec].accuracy_drop
    return 1.0 if drop is None else drop


def column(
    profile: Profile, ways: Sequence[Way], field: str, batch_size: int,
    device_class: str | None = None,
) -> list[float]:  # fmt: skip
    """One figure of all ``ways``; arguments and errors as of ``Profile.column``."""
    of_way = profile.column(field, batch_size, device_class)
    scale = batch_size / profile.batch_size
    slower = _slower(profile, device_class) if field == "device_s" else 1.0
    return [_figure(profile, way, field, of_way[way.cut], scale, slower) for way in ways]


def device_s(profile: Profile, way: Way, batch_size: int, device_class: str | None) -> float:
    """Seconds of the device's work on a batch, at speed 1."""
    return column(profile, [way], "device_s", batch_size, device_class)[0]


def server_s(profile: Profile, way: Way, batch_size: int) -> float:
    """Seconds of the server's work on a batch, at speed 1."""
    return column(profile, [way], "server_s", batch_size)[0]


def _figure(
    profile: Profile, way: Way, field: str, plain: float, scale: float, slower: float
) -> float:
    coded = _coded(profile, way)
    cut = profile.cuts[way.cut]
    match field:
        case "device_s":
            more_s = (way.depth - 1) * cut.device_call_s + (coded.device_s * scale if coded else 0)
            return plain + slower * more_s
        case "server_s":
            more_s = (way.depth - 1) * cut.server_call_s + (coded.server_s * scale if coded else 0)
            return plain + more_s
        case "up_bytes" | "down_bytes" if coded:
            return float(getattr(coded, field)) * scale
        case "memory_bytes" if coded and plain:
            return plain + (coded.up_bytes + coded.down_bytes) * scale
    return plain


def _coded(profile: Profile, way: Way) -> Coded | None:
    return None if way.codec == AS_IS else profile.codecs[way.codec].cuts[way.cut]


def _slower(profile: Profile, device_class: str | None) -> float:
    """A class's seconds for those of a reference core, by the whole network; 1 if not known."""
    whole = profile.cuts[-1].device_s
    if device_class is None or not whole:
        return 1.0
    return profile.column("device_s", profile.batch_size, device_class)[-1] / whole
