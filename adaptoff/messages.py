"""What travels between devices, server and driver, in SI units.

Every figure has a range, which also keeps NaN and infinity out. Tensors are no part of a message:
they travel beside it as raw frames, described by ``TensorSpec``.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from adaptoff.profile import Codec, Profile
from adaptoff.scenario import MAX_DEVICES, Depth, Scenario

PROTOCOL = 5
MAX_CLUSTERS = 8
GONE = 255

Seconds = Annotated[float, Meta(ge=0, le=1e7)]
Bps = Annotated[float, Meta(gt=0, le=1e13)]
Joule = Annotated[float, Meta(ge=0, le=1e12)]
Celsius = Annotated[float, Meta(ge=-60, le=250)]
Index = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Level = Annotated[int, Meta(ge=0, le=63)]
Finite = Annotated[float, Meta(ge=-1e13, le=1e13)]
Source = Literal["server", "policy", "planner", "native", "kept"]
Text = Annotated[str, Meta(max_length=1000)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
"""SHA-256 of a file's bytes"""


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all parts of messages."""


class TensorSpec(Struct, frozen=True, array_like=True):
    """One raw frame: little-endian, C order."""

    dtype: Literal["float32", "float16", "int64", "uint8"]
    shape: Annotated[list[Annotated[int, Meta(ge=0, le=2**31 - 1)]], Meta(max_length=8)]


class Row(Struct, frozen=True, kw_only=True):
    """The levers of one cluster or device for one round."""

    cut: Level
    opp: Level
    depth: Depth = 1
    """micro-batches that a batch is trained in, all of them in flight at once"""
    codec: Codec = "float32"
    """how activations and gradients travel"""


class Telemetry(Struct, frozen=True, kw_only=True):
    """What a device measured in one round. ``None`` is "not measured", never zero."""

    device: Index
    round: Index
    cut: Level
    opp: Level
    """as applied when the round started: what heat and the kernel left of the one asked for"""
    opp_left: Level | None = None
    """as the board still ran at the end, when heat or somebody else may have taken some of it"""
    depth: Depth = 1
    codec: Codec = "float32"
    samples: Index
    device_s: Seconds
    uplink_s: Seconds
    server_s: Seconds
    """waiting for the server, its queue included"""
    downlink_s: Seconds
    sync_s: Seconds
    """weights down and up"""
    total_s: Seconds
    up_bps: Bps | None
    down_bps: Bps | None
    rtt_s: Seconds | None = None
    temp_c: Celsius
    temp_source: Literal["modelled", "measured"] = "modelled"
    energy_j: Joule
    energy_source: Literal["modelled", "measured"]
    pace_error: Annotated[float, Meta(ge=0, le=1e6)] = 1.0
    """wall seconds over asked seconds of emulated compute: above 1.02 the host was overloaded"""

    @property
    def row(self) -> Row:
        """As applied when the round started."""
        return Row(cut=self.cut, opp=self.opp, depth=self.depth, codec=self.codec)


class FleetFigures(Struct, frozen=True, kw_only=True):
    """What the server broadcasts after a round: enough for every device to decide alike."""

    epoch: Index
    """counts rebuilds of the clusters"""
    round: Index
    clusters: Annotated[list[Index], Meta(min_length=1, max_length=MAX_DEVICES)]
    """cluster of each device, ``GONE`` for one that is not there any more"""
    telemetry: Annotated[list[Telemetry], Meta(min_length=1, max_length=MAX_CLUSTERS)]
    """of the slowest member of each cluster"""
    prior: dict[str, Annotated[list[Finite], Meta(max_length=MAX_CLUSTERS)]]
    """estimates before this telemetry, by name, one value per cluster"""
    round_s: Seconds
    server_speed: Annotated[float, Meta(gt=0, le=1e6)]
    """measured, in reference cores"""


class Message(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of everything that has a header of its own on the wire."""


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """First word of a device or of the driver."""

    protocol: Index
    version: Text
    role: Literal["device", "driver"]
    device: Index = 0


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The server's answer: everything a device needs to know of its task."""

    scenario: Scenario
    profile: Profile
    dilation: Annotated[float, Meta(ge=1, le=1000)]
    paced: bool
    """whether devices are to hold back what they send, to the scenario's rates"""


class Reset(Message, frozen=True, kw_only=True, tag="reset"):
    """Driver to server, server to device: rewind the links; ``restart`` also the weights.

    A device echoes it: what it says afterwards belongs to the new episode.
    """

    command: Index
    """counts the driver's commands, so that a late answer is not taken for the next one's"""
    seed: Index
    restart: bool


class RunRound(Message, frozen=True, kw_only=True, tag="run-round"):
    """Driver to server: run a round with one row a cluster or a device; with neither they decide.

    Raises ValueError for both.
    """

    command: Index
    """as in ``Reset``"""
    rows: Annotated[list[Row], Meta(max_length=MAX_CLUSTERS)] | None = None
    """by cluster, with the OPPs of its slowest member's board"""
    each: Annotated[list[Row], Meta(max_length=MAX_DEVICES)] | None = None
    """by device, with the OPPs of its own board"""

    def __post_init__(self) -> None:
        if self.rows is not None and self.each is not None:
            raise ValueError("rows by cluster or by device, not both")


class RoundStart(Message, frozen=True, kw_only=True, tag="round-start"):
    """Server to device: begin; without ``row`` the device decides from ``figures``."""

    round: Index
    seed: Index
    row: Row | None
    figures: FleetFigures | None


class Decision(Message, frozen=True, kw_only=True, tag="decision"):
    """Device to server: the row that it takes this round."""

    device: Index
    round: Index
    row: Row
    source: Source
    """who chose: a guard of the controller names itself here"""


class Weights(Message, frozen=True, kw_only=True, tag="weights"):
    """Server to device: the weights of the device's blocks, as tensors in state-dict order."""

    round: Index
    cut: Level


class Activations(Message, frozen=True, kw_only=True, tag="activations"):
    """Device to server: activations and labels of one micro-batch, encoded."""

    round: Index
    batch: Index
    part: Index = 0
    """which micro-batch of the batch, counted from 0"""


class Gradient(Message, frozen=True, kw_only=True, tag="gradient"):
    """Server to device: gradient of the activations, encoded (no tensor at cut 0)."""

    round: Index
    batch: Index
    part: Index = 0
    uplink_s: Seconds = 0.0
    """that the activations were on the link"""
    server_s: Seconds
    """from the last byte of the activations, or the answer before if that was later, to this one"""


class RoundDone(Message, frozen=True, kw_only=True, tag="round-done"):
    """Device to server: its blocks' new weights; its telemetry follows when they arrived."""

    round: Index
    cut: Level


class Report(Message, frozen=True, kw_only=True, tag="report"):
    """Device to server: telemetry of the round, sent once the weights were acknowledged."""

    telemetry: Telemetry


class RoundReport(Message, frozen=True, kw_only=True, tag="round-report"):
    """Server to driver: what the round was."""

    command: Index
    """which it answers; a reset is answered with its warm-up round"""
    round: Index
    round_s: Seconds
    telemetry: list[Telemetry]
    """of the devices that made the deadline"""
    late: list[Index]
    decisions: list[Decision]
    figures: FleetFigures
    accuracy: Annotated[float, Meta(ge=0, le=1)]
    valid: bool
    """false when the host could not keep the emulated pace, not even in the last attempt"""
    attempts: Annotated[int, Meta(ge=1, le=100)] = 1
    """how often it was run until it was valid"""


class NewPolicy(Message, frozen=True, kw_only=True, tag="new-policy"):
    """Server to device: a policy file, as a tensor of bytes; to be checked, and not yet used."""

    sha256: Digest


class PolicyAnswer(Message, frozen=True, kw_only=True, tag="policy-answer"):
    """Device to server: whether it could use the policy that it was offered."""

    sha256: Digest
    refused: Text = ""
    """what is wrong with it; empty: nothing"""


class UsePolicy(Message, frozen=True, kw_only=True, tag="use-policy"):
    """Server to device: decide by the policy that was offered from now on, as all others do."""

    sha256: Digest


class Fault(Message, frozen=True, kw_only=True, tag="fault"):
    """Either way: why the sender gives up."""

    reason: Text
    command: Index | None = None
    """which it answers, if it is one of the driver's"""


class Bye(Message, frozen=True, kw_only=True, tag="bye"):
    """Either way: the sender leaves, orderly."""


AnyMessage = (
    Hello | Welcome | Reset | RunRound | RoundStart | Decision | Weights | Activations
    | Gradient | RoundDone | Report | RoundReport | NewPolicy | PolicyAnswer | UsePolicy
    | Fault | Bye
)  # fmt: skip
