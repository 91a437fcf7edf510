"""What each cut of a DNN costs, and its JSON form.

Work is given as FLOPs, as seconds measured once on a *reference core*, as seconds measured on a
class of boards, or as several of these; what was measured wins. A device of speed 0.25 needs four
times the seconds of its class, or of the reference core where it has no class. Figures are per
batch of ``batch_size`` samples and scale linearly; weights do not scale. A full example is in
``docs/profile.md``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from adaptoff.errors import ProfileError

Amount = Annotated[float, Meta(ge=0, le=1e15)]
Mode = Literal["training", "inference"]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Codec = Literal["float32", "float16", "uint8", "uint8-zstd"]
"""how activations and gradients travel; float32 is as they are"""


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The cost of one cut, per batch. Bytes that are left out are 0."""

    name: Name
    device_s: Amount | None = None
    """training: forward and backward of the device's blocks; inference: forward"""
    server_s: Amount | None = None
    """training: forward, loss and backward of the server's blocks; inference: forward"""
    up_bytes: Amount = 0
    """activations; in training labels, too"""
    down_bytes: Amount = 0
    """training: gradient of the activations, 0 at cut 0; inference: the result"""
    sync_bytes: Amount = 0
    """weights of the device's blocks, one way, once a round; 0 in inference"""
    memory_bytes: Amount = 0
    """all that the device holds for its blocks and a batch; 0: not known, it always fits"""
    weights_memory_bytes: Amount = 0
    """what of ``memory_bytes`` does not grow with the batch: weights, gradients, momentum"""
    device_flops: Amount | None = None
    """2 per multiply-add; the same passes as ``device_s``"""
    server_flops: Amount | None = None
    device_call_s: Amount = 0
    """what each micro-batch beyond the first adds to ``device_s``"""
    server_call_s: Amount = 0


class Coded(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a codec makes of one cut's batch, to encode and decode it included."""

    up_bytes: Amount = 0
    down_bytes: Amount = 0
    device_s: Amount = 0
    """added to the cut's: to encode activations and decode gradients, on a reference core"""
    server_s: Amount = 0
    """added to the cut's: the reverse"""


class CodecCosts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A codec at all cuts."""

    cuts: Annotated[list[Coded], Meta(min_length=2, max_length=64)]
    accuracy_drop: Annotated[float, Meta(ge=0, le=1)] | None = None
    """share of test samples that it was measured to cost; None: not measured"""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All cuts of one DNN, from 0 (all on the server) to native (all on the device).

    Making one whose parts contradict each other raises ValueError with one line that names the
    field; ``load`` and ``decode`` raise ProfileError, which names the file as well.
    """

    name: Name
    batch_size: Annotated[int, Meta(ge=1, le=65536)]
    source: str
    """how the work was obtained"""
    cuts: Annotated[list[Cut], Meta(min_length=2, max_length=64)]
    mode: Mode = "training"
    reference_flops_per_s: Annotated[float, Meta(gt=0, le=1e18)] | None = None
    """what turns FLOPs into seconds where none were measured"""
    classes: Annotated[
        dict[Name, Annotated[list[Amount], Meta(max_length=64)]], Meta(max_length=64)
    ] = {}
    """measured ``device_s`` of each cut per class of boards, at the fastest OPP"""
    codecs: dict[Codec, CodecCosts] = {}
    """what others than float32 make of each cut"""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def native(self) -> int:
        """The last cut: everything on the device."""
        return len(self.cuts) - 1

    def column(self, field: str, batch_size: int, device_class: str | None = None) -> list[float]:
        """One figure of all cuts, scaled to ``batch_size``; weights do not scale.

        ``field``: "device_s", "server_s", "up_bytes", "down_bytes", "sync_bytes", "memory_bytes".
        ``device_class`` matters to "device_s" alone: a board's class, None for shares of the
        reference core. Raises ProfileError for a class, or none, that has no seconds.
        """
        scale = batch_size / self.batch_size
        match field:
            case "device_s" if device_class is not None:
                return [seconds * scale for seconds in self._class(device_class)]
            case "device_s" | "server_s":
                return [seconds * scale for seconds in self._reference(field)]
            case "memory_bytes":
                return [_memory(cut, scale) for cut in self.cuts]
            case "sync_bytes":
                return [cut.sync_bytes for cut in self.cuts]
        return [getattr(cut, field) * scale for cut in self.cuts]

    def _class(self, name: str) -> list[float]:
        if name not in self.classes:
            allowed = ", ".join(sorted(self.classes)) or "none: it has no classes"
            raise ProfileError(f"profile {self.name}: device_class {name!r}: allowed: {allowed}")
        return self.classes[name]

    def _reference(self, field: str) -> list[float]:
        measured = [getattr(cut, field) for cut in self.cuts]
        if measured[0] is not None:
            return measured
        flops = [getattr(cut, _flops_of(field)) for cut in self.cuts]
        if flops[0] is None or self.reference_flops_per_s is None:
            allowed = ", ".join(sorted(self.classes))
            raise ProfileError(
                f"profile {self.name}: no {field}: each board needs a device_class: {allowed}"
            )
        return [count / self.reference_flops_per_s for count in flops]


def _flops_of(field: str) -> str:
    """The field with the FLOPs of the work that ``field`` has the seconds of."""
    return field.removesuffix("_s") + "_flops"


def _memory(cut: Cut, scale: float) -> float:
    weights = cut.weights_memory_bytes
    return weights + (cut.memory_bytes - weights) * scale


def _check(profile: Profile) -> None:
    """Raise ValueError, in one line, for the first part that contradicts another."""
    _check_work(profile, "device_s", "device_s, device_flops or classes")
    _check_work(profile, "server_s", "server_s or server_flops")
    for name, seconds in profile.classes.items():
        if len(seconds) != len(profile.cuts):
            raise ValueError(
                f"classes.{name} has {len(seconds)} entries: one per cut, {len(profile.cuts)}"
            )
    if "float32" in profile.codecs:
        raise ValueError("codecs.float32: is what the cuts say")
    for codec, costs in profile.codecs.items():
        if len(costs.cuts) != len(profile.cuts):
            raise ValueError(
                f"codecs.{codec} has {len(costs.cuts)} cuts: one per cut, {len(profile.cuts)}"
            )
    for index, cut in enumerate(profile.cuts):
        if complaint := _complaint(profile, index, cut):
            raise ValueError(f"cuts[{index}].{complaint}")


def _check_work(profile: Profile, field: str, needed: str) -> None:
    """Seconds or FLOPs of all cuts, FLOPs with a reference; the device's may be its class's."""
    measured, counted = _given(profile, field), _given(profile, _flops_of(field))
    if measured or (field == "device_s" and profile.classes):
        return
    if not counted:
        raise ValueError(f"cuts[0].{field} is missing: every cut needs {needed}")
    if profile.reference_flops_per_s is None:
        raise ValueError(
            f"reference_flops_per_s is missing: {_flops_of(field)} without {field} needs it"
        )


def _given(profile: Profile, field: str) -> bool:
    """Whether the cuts have ``field``; ValueError if only some do."""
    missing = [i for i, cut in enumerate(profile.cuts) if getattr(cut, field) is None]
    if 0 < len(missing) < len(profile.cuts):
        raise ValueError(f"cuts[{missing[0]}].{field} is missing: all cuts have it, or none")
    return not missing


def _complaint(profile: Profile, index: int, cut: Cut) -> str | None:
    """What is wrong with one cut, beginning with the field."""
    split, training = index < profile.native, profile.mode == "training"
    if cut.weights_memory_bytes > cut.memory_bytes:
        return f"weights_memory_bytes is a part of memory_bytes: at most {cut.memory_bytes:g}"
    if not training and cut.sync_bytes:
        return "sync_bytes must be 0 in mode inference: no weights travel"
    if training and not split and not cut.sync_bytes:
        return "sync_bytes must be above 0 in mode training: all weights travel at the last cut"
    if split and not cut.up_bytes:
        return "up_bytes must be above 0: at all cuts but the last something travels"
    if split and not cut.down_bytes and (index or not training):
        answer = "the gradient" if training else "the result"
        return f"down_bytes must be above 0 in mode {profile.mode}: {answer} comes back"
    return None


def load(path: Path) -> Profile:
    """Read a profile; raises ProfileError naming file and field."""
    return decode(path.read_bytes if path.is_file() else None, str(path))


def decode(read: Callable[[], bytes] | None, name: str) -> Profile:
    """Decode what ``read`` returns; ``name`` is what an error calls it."""
    if read is None:
        raise ProfileError(f"{name}: no such profile")
    try:
        return msgspec.json.decode(read(), type=Profile)
    except (msgspec.DecodeError, RecursionError, OSError) as error:
        raise ProfileError(f"{name}: {error}") from None


def save(profile: Profile, path: Path) -> None:
    """Write a profile as indented JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(profile), indent=1) + b"\n")
