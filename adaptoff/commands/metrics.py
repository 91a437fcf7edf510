"""``--metrics``: a process shows its figures as long as it runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from adaptoff.metrics import DeviceMetrics, FleetMetrics
from adaptoff.metrics_http import exposed, place_of
from adaptoff.metrics_rounds import Round
from adaptoff.scenario import Scenario

R = TypeVar("R", bound=Round)


class Followed(Protocol[R]):
    """A server of whatever kind that can be watched."""

    on_round: Callable[[R], None]

    @property
    def present(self) -> frozenset[int]:
        """Devices that are here; any thread may ask."""

    @property
    def refused(self) -> int:
        """How often somebody was not let in."""


@dataclass(frozen=True)
class Shown:
    """Figures of a fleet, and where they can be had."""

    metrics: FleetMetrics
    url: str

    def follow(self, server: Followed[R]) -> None:
        """They are this server's from now on."""
        self.metrics.watch(lambda: server.present, lambda: server.refused)
        server.on_round = self.metrics.round


@contextmanager
def of_fleet(where: str, scenario: Scenario) -> Iterator[Shown]:
    """Of a scenario's fleet, at [HOST:]PORT until the end of the block. Raises InputError."""
    metrics = FleetMetrics(len(scenario.each_device()), scenario.objective.heat_limit_c)
    with exposed(metrics.registry, place_of(where)) as url:
        _say(url)
        yield Shown(metrics, url)


@contextmanager
def of_device(where: str, number: int) -> Iterator[DeviceMetrics]:
    """Of one device, at [HOST:]PORT until the end of the block. Raises InputError."""
    metrics = DeviceMetrics(number)
    with exposed(metrics.registry, place_of(where)) as url:
        _say(url)
        yield metrics


def _say(url: str) -> None:
    print(f"metrics: {url}", file=sys.stderr)  # noqa: T201
