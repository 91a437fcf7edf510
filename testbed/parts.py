"""What a device is made of, and keeps from round to round."""

import time
from dataclasses import dataclass

from torch import nn

from adaptoff.controller import Controller
from adaptoff.scenario import Workload
from adaptoff.testbed.board import EmulatedBoard
from adaptoff.testbed.cpu import PacedCpu
from adaptoff.testbed.link import Link
from adaptoff.testbed.samples import Samples


@dataclass
class Parts:
    """The parts of one device."""

    number: int
    link: Link
    dilation: float
    work: Workload
    controller: Controller
    board: EmulatedBoard
    cpu: PacedCpu
    work_s: list[float]
    """(cuts,) of the device's half of a batch, at speed 1"""
    model: nn.Sequential
    shard: Samples

    def now_s(self) -> float:
        """Emulated seconds since some moment."""
        return time.monotonic() / self.dilation
