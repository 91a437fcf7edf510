"""What rounds of devices are in Prometheus's words, the same on a server and on a device."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.core import GaugeMetricFamily

from adaptoff.messages import Decision, FleetFigures, Telemetry

DEVICE = ("device",)
STAGES = ("device", "uplink", "server", "downlink", "sync")
MEASURED = (
    ("round_seconds", "Seconds until the device had done the last round.", "total_s", 1),
    ("temperature_celsius", "Temperature after the last round.", "temp_c", 1),
    ("uplink_bytes_per_second", "Rate as measured in the last round.", "up_bps", 8),
    ("downlink_bytes_per_second", "Rate as measured in the last round.", "down_bps", 8),
    ("opp_left", "Operating point that was left when the last round ended.", "opp_left", 1),
)
"""name, help, field of Telemetry, and what it is divided by to be in base units"""


class Round(Protocol):
    """What ``FleetMetrics`` reads of a round: a ``RoundReport``, or something like it."""

    @property
    def round(self) -> int:
        """Its number, 0 for an episode's warm-up."""

    @property
    def round_s(self) -> float:
        """How long it took."""

    @property
    def telemetry(self) -> Sequence[Telemetry]:
        """Of the devices that made the deadline."""

    @property
    def late(self) -> Sequence[int]:
        """The others."""

    @property
    def decisions(self) -> Sequence[Decision]:
        """Rows that were taken, those of late devices included."""

    @property
    def figures(self) -> FleetFigures:
        """What was broadcast after it."""

    @property
    def accuracy(self) -> float | None:
        """Of the model after it; None where there is no model."""

    @property
    def valid(self) -> bool:
        """Whether the host kept the emulated pace."""


class Sums:
    """What adds up over all rounds of devices."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self._decisions = Counter(
            f"{prefix}_decisions", "Rows taken, by who chose them.", (*DEVICE, "source"),
            registry=registry,
        )  # fmt: skip
        self._energy = Counter(
            f"{prefix}_energy_joules", "Energy in rounds, measured or modelled.",
            (*DEVICE, "source"), registry=registry,
        )  # fmt: skip

    def add(self, decisions: Iterable[Decision], telemetry: Iterable[Telemetry]) -> None:
        """Of one round."""
        for decision in decisions:
            self._decisions.labels(decision.device, decision.source).inc()
        for seen in telemetry:
            self._energy.labels(seen.device, seen.energy_source).inc(seen.energy_j)


def gauge(
    name: str, what: str, samples: Iterable[tuple[Sequence[object], float | None]],
    labels: Sequence[str] = (),
) -> Metric:  # fmt: skip
    """Samples as (values of the labels, value); those of None are left out."""
    family = GaugeMetricFamily(name, what, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric([str(each) for each in values], value)
    return family


def one(name: str, what: str, value: float | None) -> Metric:
    """A gauge without labels."""
    return gauge(name, what, [((), value)])


def of_rows(prefix: str, opp: str, decisions: Sequence[Decision]) -> Iterator[Metric]:
    """The rows of a round; ``opp`` is what their OPP is called."""
    rows = [(d.device, d.row) for d in decisions]
    cuts, opps, depths = (
        [([device], getattr(row, name)) for device, row in rows] for name in ("cut", "opp", "depth")
    )
    yield gauge(f"{prefix}_cut", "Blocks of the model that the device kept.", cuts, DEVICE)
    yield gauge(f"{prefix}_{opp}", "Operating point as decided.", opps, DEVICE)
    yield gauge(f"{prefix}_depth", "Micro-batches in flight.", depths, DEVICE)
    codecs = [([device, row.codec], 1) for device, row in rows]
    yield gauge(f"{prefix}_codec", "1 for how batches travelled.", codecs, (*DEVICE, "codec"))


def of_telemetry(prefix: str, seen: Sequence[Telemetry]) -> Iterator[Metric]:
    """What devices measured in a round."""
    stages = [([t.device, stage], getattr(t, f"{stage}_s")) for t in seen for stage in STAGES]
    yield gauge(
        f"{prefix}_stage_seconds", "Seconds of the last round, by stage.", stages,
        (*DEVICE, "stage"),
    )  # fmt: skip
    for name, what, field, divisor in MEASURED:
        values = [([t.device], getattr(t, field)) for t in seen]
        samples = [(of, value and value / divisor) for of, value in values]
        yield gauge(f"{prefix}_{name}", what, samples, DEVICE)
