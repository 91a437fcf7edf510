"""What is said to the broker of a network: JSON, one order a line, one answer a line."""

from ipaddress import IPv4Network
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from adaptoff.scenario import MAX_DEVICES

SERVER = -1
"""the node that is no device"""
SUBNET = IPv4Network("10.77.0.0/16")
MAX_STEPS = 10_000
LINE_BYTES = 1 << 20

LEAST_BPS, MOST_BPS = 1e3, 1e10
RateBps = Annotated[float, Meta(ge=LEAST_BPS, le=MOST_BPS)]
"""payload bits per second: a slower TBF cannot be expressed, a faster one not be kept up with"""
DelayS = Annotated[float, Meta(ge=0, le=100)]
Moment = Annotated[float, Meta(ge=-1e7, le=1e10)]
Device = Annotated[int, Meta(ge=0, lt=MAX_DEVICES)]


def address(node: int) -> str:
    """Of SERVER, or of a device by its number."""
    return str(SUBNET[node + 2])


def hardware_address(node: int) -> str:
    """Of the same."""
    return ":".join(f"{byte:02x}" for byte in (2, 0, *SUBNET[node + 2].packed))


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To one device's link."""

    device: Device


class Rates(msgspec.Struct, frozen=True, array_like=True):
    """Both directions of a link."""

    up_bps: RateBps
    down_bps: RateBps


class Impairment(msgspec.Struct, frozen=True, array_like=True):
    """Of a link without load: half of the round trip and of its jitter are each way's."""

    rtt_s: DelayS = 0.0
    jitter_s: DelayS = 0.0
    """how far round trips stray, evenly spread"""
    loss: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    """share of packets, each way"""

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self != Impairment()


Emulator = Literal["netem", "relay"]
"""what delays and loses packets: the kernel, or ``relay``"""


class Step(msgspec.Struct, frozen=True, array_like=True):
    """Rates that hold from ``offset_s`` after the start of their timeline on."""

    offset_s: Moment
    up_bps: RateBps
    down_bps: RateBps


class SetRates(Order, frozen=True, tag="rates"):
    """From now on; ends a timeline."""

    rates: Rates


class Play(Order, frozen=True, tag="play"):
    """A timeline instead of the earlier one; ``start_s`` is a CLOCK_MONOTONIC moment."""

    start_s: Moment
    steps: Annotated[list[Step], Meta(min_length=1, max_length=MAX_STEPS)]

    @property
    def offsets_s(self) -> list[float]:
        """Of the steps."""
        return [step.offset_s for step in self.steps]


class SetLink(Order, frozen=True, tag="link"):
    """Pull the cable, or put it in again."""

    connected: bool


AnyOrder = SetRates | Play | SetLink


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The order is carried out; a timeline has begun."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Nothing was changed."""

    why: str


AnyAnswer = Done | Refused


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First line of the broker's standard input; when that ends, so does the network."""

    host: str
    """the namespace that must never be written to"""
    rates: Annotated[list[Rates], Meta(min_length=1, max_length=MAX_DEVICES)]
    impairments: list[Impairment]
    """as many"""
    emulator: Emulator | None
    """of the impairments, if there are any"""


class Ready(msgspec.Struct, frozen=True):
    """The one line that the broker prints."""

    pid: int
    """in the host's process namespace"""
    control: str
    namespaces: list[int]
    """the broker's descriptors: of the server, then of each device"""
