"""The scenario: fleet, links, workload and objective, as TOML -> validated structs.

Every figure has a range; a wrong key, type or range is a ScenarioError that names file, key and
what is allowed. Overrides such as ``workload.min_cut=0`` pass through the same checks.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from adaptoff.profile import Codec

MAX_OPPS = 8
MAX_DEVICES = 256
MAX_DEPTH = 16

Share = Annotated[float, Meta(gt=0, le=1)]
Mbps = Annotated[float, Meta(gt=0, le=100_000)]
Watt = Annotated[float, Meta(ge=0, le=1000)]
Celsius = Annotated[float, Meta(ge=-40, le=200)]
Depth = Annotated[int, Meta(ge=1, le=MAX_DEPTH)]
FilePath = Annotated[str, Meta(min_length=1, max_length=4096)]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all scenario tables: immutable, unknown keys refused."""


class Workload(Struct, frozen=True, kw_only=True):
    """What every device trains."""

    model: FilePath = "vgg5"
    """a shipped network, or for emulation alone a profile's file"""
    dataset: Literal["digits", "cifar10"] = "digits"
    data_dir: FilePath | None = None
    """where the files of a data set lie that does not ship, on every device and the server"""
    alpha: Annotated[float, Meta(ge=0.01, le=1000)] | None = None
    """concentration of the Dirichlet draw that deals out each class; absent: equal shares"""
    batch_size: Annotated[int, Meta(ge=2, le=1024)] = 50
    batches: Annotated[int, Meta(ge=1, le=10_000)] = 8
    """batches per device and round"""
    rounds: Annotated[int, Meta(ge=1, le=10_000)] = 10
    min_cut: Annotated[int, Meta(ge=0, le=63)] = 1
    """lowest cut allowed: at 0 the raw inputs leave the device"""
    depths: Annotated[tuple[Depth, ...], Meta(min_length=1)] = (1,)
    """allowed numbers of micro-batches in flight; with BatchNorm more than 1 train otherwise"""
    codecs: Annotated[tuple[Codec, ...], Meta(min_length=1)] = ("float32",)
    """allowed ways to send activations and gradients"""
    max_accuracy_drop: Annotated[float, Meta(ge=0, le=1)] = 0.005
    """codecs are left out that were measured to lose more, or were not measured"""
    learning_rate: Annotated[float, Meta(gt=0, le=10)] = 0.01
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9


class Objective(Struct, frozen=True, kw_only=True):
    """What a round costs: T/T_native + energy_weight * E/E_native + heat penalty."""

    energy_weight: Annotated[float, Meta(ge=0, le=10)] = 0.1
    heat_limit_c: Celsius = 80.0


class Server(Struct, frozen=True, kw_only=True):
    """The edge server."""

    speed: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    """in reference cores"""


class Opp(Struct, frozen=True, kw_only=True):
    """One operating performance point."""

    mhz: Annotated[float, Meta(gt=0, le=100_000)]
    relative_speed: Share
    """g(k): measured speed relative to the fastest OPP"""
    dynamic_w: Watt
    """power above idle while computing"""


class Board(Struct, frozen=True, kw_only=True):
    """A device class."""

    speed: Annotated[float, Meta(gt=0, le=1000)]
    """at the fastest OPP, in reference cores; with ``device_class`` in boards of that class"""
    opps: Annotated[list[Opp], Meta(min_length=1, max_length=MAX_OPPS)]
    """slowest first; the last one has relative_speed 1"""
    device_class: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    """a class of the profile, whose measured seconds hold for this board: "pi4", say"""
    idle_w: Watt = 2.0
    radio_w: Watt = 1.0
    memory_mb: Annotated[float, Meta(gt=0, le=1e6)] = 1024
    heat_c_per_w: Annotated[float, Meta(ge=0, le=100)] = 6.0
    heat_tau_s: Annotated[float, Meta(gt=0, le=1e5)] = 60.0
    ambient_c: Celsius = 25.0
    trip_c: Celsius = 80.0


class Step(Struct, frozen=True, kw_only=True):
    """Rates that hold from a round on."""

    round: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    up_mbps: Mbps
    down_mbps: Mbps


class Link(Struct, frozen=True, kw_only=True):
    """A link: ``steps`` by round, or by time a ``trace`` file or a ``generated`` trace."""

    steps: Annotated[list[Step], Meta(max_length=1000)] = []
    trace: FilePath | None = None
    """CSV ``t_s,up_mbps,down_mbps`` or a mahimahi file"""
    generated: Literal["lte-drive", "wifi-office"] | None = None
    """a kind of ``generated.KINDS``"""
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    """which of the generated traces"""
    trace_round_s: Annotated[float, Meta(gt=0, le=1e5)] = 10.0
    """seconds of the trace from one round's start to the next"""
    rtt_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    """there and back"""
    jitter_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    """how far round trips stray, at most ``rtt_ms``"""
    loss: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    """share of packets that are lost"""


class Devices(Struct, frozen=True, kw_only=True):
    """``count`` devices of one board on links of one kind."""

    board: str
    link: str
    count: Annotated[int, Meta(ge=1, le=MAX_DEVICES)] = 1


FittedShare = Annotated[float, Meta(ge=0.1, le=2)]


class Calibration(Struct, frozen=True, kw_only=True):
    """What a testbed was found to give of what is asked of it, for the cost model to know."""

    device_share: FittedShare = 1.0
    """of the boards' speeds"""
    server_share: FittedShare = 1.0
    """of the server's speed"""
    link_share: FittedShare = 1.0
    """of the links' rates"""
    message_ms: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    """added to the round trip of each batch"""


class Scenario(Struct, frozen=True, kw_only=True):
    """A fleet and its task."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    workload: Workload = Workload()
    objective: Objective = Objective()
    server: Server = Server()
    boards: dict[str, Board]
    links: dict[str, Link]
    devices: Annotated[list[Devices], Meta(min_length=1, max_length=MAX_DEVICES)]
    calibration: Calibration = Calibration()

    def each_device(self) -> list[Devices]:
        """One entry per device, in device-id order."""
        return [group for group in self.devices for _ in range(group.count)]

    def board_of(self, device: int) -> Board:
        """The board of a device by id; raises IndexError for one that is not in the fleet."""
        return self.boards[self.each_device()[device].board]
