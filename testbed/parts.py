"""What a device is made of, and keeps from round to round."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from adaptoff.controller import Controller
from adaptoff.guards import Guards
from adaptoff.messages import Row
from adaptoff.power_meter import PowerMeter
from adaptoff.protocols import Board
from adaptoff.scenario import Workload
from adaptoff.testbed.cpu import Busy
from adaptoff.testbed.link import Link
from adaptoff.testbed.samples import Samples

if TYPE_CHECKING:
    from torch import nn


class Cpu(Protocol):
    """Runs blocks of computing, paced or as they are, and adds up what they took."""

    speed: float
    """in reference cores"""
    charged_s: float
    """seconds at speed 1 of the last block, if it was paced"""

    def block(self, work_s: float | None = None) -> AbstractContextManager[None]:
        """What runs inside is a block of ``work_s`` reference seconds, if that is known."""

    def take(self) -> Busy:
        """Sums since the last call."""


@dataclass(frozen=True)
class Hardware:
    """What a device runs on, emulated or real."""

    board: Board
    cpu: Cpu
    power: PowerMeter
    guards: Guards = field(default_factory=Guards)
    """what those of the board did; the controller counts with them"""


@dataclass
class Parts:
    """The parts of one device."""

    number: int
    link: Link
    dilation: float
    work: Workload
    controller: Controller
    board: Board
    cpu: Cpu
    power: PowerMeter
    work_s: Callable[[Row], float]
    """of the device's half of a batch, at speed 1"""
    model: "nn.Sequential"
    shard: Samples

    def now_s(self) -> float:
        """Emulated seconds since some moment."""
        return time.monotonic() / self.dilation
