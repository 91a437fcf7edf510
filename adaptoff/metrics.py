"""Figures of a running fleet for Prometheus: what a server says of it, and a device of itself.

Names begin with ``adaptoff_fleet_`` on a server, ``adaptoff_fleet_device_`` where they are of one
device, and with ``adaptoff_device_`` on a device. Units are base units: seconds, bytes, joules.

The last round is kept whole and replaced whole: a scrape sees one round, or the one before. What
was not measured in it has no sample, never a zero. Seconds of rounds and stages are emulated ones.
A scrape runs in a thread of its own and only reads. This module needs ``prometheus-client``, an
extra: nothing may import it before its user asks for metrics.
"""

import time
from collections.abc import Callable, Collection, Iterator

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import CounterMetricFamily

from adaptoff.guards import Guards
from adaptoff.messages import GONE, Decision, Telemetry
from adaptoff.metrics_rounds import DEVICE, Round, Sums, gauge, of_rows, of_telemetry, one

FLEET, EACH, OWN = "adaptoff_fleet", "adaptoff_fleet_device", "adaptoff_device"
ROUND_S = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
DECISION_S = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 1)
"""upper bounds of the histograms' buckets"""

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


OF_ROUND: tuple[tuple[str, str, Callable[[Round], float | None]], ...] = (
    ("last_round", "Number of the last round.", lambda r: r.round),
    ("last_round_seconds", "Seconds of the last round.", lambda r: r.round_s),
    ("accuracy_ratio", "Accuracy of the model on its test set.", lambda r: r.accuracy),
    ("server_speed_cores", "Speed of the server in reference cores.",
     lambda r: r.figures.server_speed),
    ("clusters", "Clusters of devices.", lambda r: len(set(r.figures.clusters) - {GONE})),
)  # fmt: skip


class FleetMetrics:
    """What a server exports, in ``registry``."""

    def __init__(self, devices: int, heat_limit_c: float) -> None:
        """For ``devices`` of them, numbered from 0: what there may be no more series of."""
        self.registry = CollectorRegistry(auto_describe=True)
        self._devices, self._heat_limit_c = range(devices), heat_limit_c
        self._last: Round | None = None
        self._alive: Callable[[], Collection[int]] = tuple
        self._refused: Callable[[], int] = int
        self._sums = Sums(self.registry, EACH)
        self._rounds = Counter(f"{FLEET}_rounds", "Rounds closed.", registry=self.registry)
        self._invalid = Counter(
            f"{FLEET}_invalid_rounds", "Rounds for which the host was too busy.",
            registry=self.registry,
        )  # fmt: skip
        self._late = Counter(
            f"{EACH}_late_rounds", "Rounds that the device did not finish in time.", DEVICE,
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            f"{FLEET}_round_seconds", "Seconds of rounds.", buckets=ROUND_S, registry=self.registry
        )
        for device in self._devices:
            self._late.labels(device)
        self.registry.register(self)

    def watch(self, alive: Callable[[], Collection[int]], refused: Callable[[], int]) -> None:
        """Whom to ask at a scrape, in its thread: who is there, and how many were refused."""
        self._alive, self._refused = alive, refused

    def round(self, report: Round) -> None:
        """A round is over."""
        self._rounds.inc()
        self._invalid.inc(not report.valid)
        self._seconds.observe(report.round_s)
        self._sums.add(report.decisions, report.telemetry)
        for device in report.late:
            self._late.labels(device).inc()
        self._last = report

    def collect(self) -> Iterator[Metric]:
        """What is so now, and what the last round was; called at a scrape."""
        last, alive = self._last, set(self._alive())
        up = [([device], float(device in alive)) for device in self._devices]
        yield gauge(f"{EACH}_up", "Whether the device is connected.", up, DEVICE)
        yield one(f"{FLEET}_heat_limit_celsius", "The scenario's limit.", self._heat_limit_c)
        yield CounterMetricFamily(
            f"{FLEET}_refused_peers", "Peers not let in: by their keys, or as a device or driver.",
            value=self._refused(),
        )  # fmt: skip
        yield from _of_fleet(last)
        yield from of_rows(EACH, "opp", last.decisions if last else ())
        yield from of_telemetry(EACH, last.telemetry if last else ())


def _of_fleet(last: Round | None) -> Iterator[Metric]:
    """What the last round was for all."""
    for name, what, value in OF_ROUND:
        yield one(f"{FLEET}_{name}", what, value(last) if last else None)


class DeviceMetrics:
    """What one device exports, in ``registry``."""

    def __init__(self, device: int) -> None:
        """``device`` is its number in the fleet."""
        self.registry = CollectorRegistry(auto_describe=True)
        self._device, self._guards = device, Guards()
        self._last: tuple[list[Telemetry], list[Decision]] = [], []
        self._heard_s: Callable[[], float | None] = lambda: None
        self._sums = Sums(self.registry, OWN)
        rounds = Counter(f"{OWN}_rounds", "Rounds done.", DEVICE, registry=self.registry)
        seconds = Histogram(
            f"{OWN}_decision_seconds", "Wall seconds of the device's own decisions.", DEVICE,
            buckets=DECISION_S, registry=self.registry,
        )  # fmt: skip
        self._rounds, self._seconds = rounds.labels(device), seconds.labels(device)
        self.registry.register(self)

    def watch(self, heard_s: Callable[[], float | None]) -> None:
        """Whom to ask at a scrape when the server was last heard, by ``time.monotonic()``."""
        self._heard_s = heard_s

    def guards(self, guards: Guards) -> None:
        """Whose counts to show, as they are at a scrape; once is enough."""
        self._guards = guards

    def round(
        self, telemetry: Telemetry, decision: Decision, decision_s: float | None = None
    ) -> None:
        """A round is over; ``decision`` is what was asked for, and the wall seconds it took."""
        self._rounds.inc()
        self._sums.add([decision], [telemetry])
        if decision_s is not None:
            self._seconds.observe(decision_s)
        self._last = [telemetry], [decision]

    def collect(self) -> Iterator[Metric]:
        """What is so now, and what the last round was; called at a scrape."""
        (seen, asked), heard_s = self._last, self._heard_s()
        silence_s = None if heard_s is None else max(time.monotonic() - heard_s, 0.0)
        guards = CounterMetricFamily(
            f"{OWN}_guard_actions", "What guards did, by cause.", labels=(*DEVICE, "cause")
        )
        for cause, count in self._guards.counts.items():
            guards.add_metric([str(self._device), cause], count)
        yield guards
        yield gauge(
            f"{OWN}_server_silence_seconds", "Wall seconds since the server was last heard.",
            [([self._device], silence_s)], DEVICE,
        )  # fmt: skip
        opps = [([self._device], t.opp) for t in seen]
        yield gauge(f"{OWN}_opp", "Operating point as the board took it.", opps, DEVICE)
        yield from of_rows(OWN, "opp_asked", asked)
        yield from of_telemetry(OWN, seen)
