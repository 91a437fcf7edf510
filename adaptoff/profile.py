"""What each cut of a DNN costs, and its JSON form.

A profile is measured once on a *reference core* and scaled from there: a device of speed 0.25
needs four times the seconds. Figures are per batch of ``batch_size`` samples and scale linearly.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from adaptoff.errors import ProfileError

Amount = Annotated[float, Meta(ge=0, le=1e15)]


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cost of one cut: seconds of a reference core and bytes, per batch."""

    name: str
    device_s: Amount
    """forward and backward of the device's blocks"""
    server_s: Amount
    """forward, loss and backward of the server's blocks"""
    up_bytes: Amount
    """activations and labels"""
    down_bytes: Amount
    """gradient of the activations; 0 at cut 0"""
    sync_bytes: Amount
    """weights of the device's blocks, one way, once a round"""
    memory_bytes: Amount
    """weights, gradients, momentum and activations held by the device"""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All cuts of one DNN, from 0 (all on the server) to native (all on the device)."""

    name: str
    batch_size: Annotated[int, Meta(ge=1, le=65536)]
    source: str
    """how the seconds were obtained"""
    cuts: Annotated[list[Cut], Meta(min_length=2, max_length=64)]
    mode: Literal["training"] = "training"

    @property
    def native(self) -> int:
        """The last cut: everything on the device."""
        return len(self.cuts) - 1

    def column(self, field: str, batch_size: int) -> list[float]:
        """One field of all cuts, scaled to ``batch_size``; weights do not scale."""
        scale = 1.0 if field == "sync_bytes" else batch_size / self.batch_size
        return [getattr(cut, field) * scale for cut in self.cuts]


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
