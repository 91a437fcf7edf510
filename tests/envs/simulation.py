"""A round event by event: devices cycle through five stages, and who is at the server shares it.

The first and the last stage are a device's passes forward and backward, on one processor that goes
forward while it can.

Independent of the cost model: no occupancy and no closed form. Both have nothing in common but the
seconds that each stage of a batch takes alone (``reference.stages_of``).
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tests.envs.reference import Device, stages_of

SERVER, BACK = 2, 4
NOTHING_S = 1e-12


@dataclass(frozen=True)
class Jitter:
    """Batches vary on the device and on the link; ``sd`` is that of the logarithm of their seconds.

    Their mean stays.
    """

    seed: int
    sd: float = 0.1


@dataclass(frozen=True)
class Simulated:
    """Seconds of one device's round."""

    total_s: float
    server_s: float


class Member:
    """One device in its round; a micro-batch is the seconds that are left of it in its stage."""

    def __init__(self, device: Device, jitter: Jitter | None, number: int) -> None:
        self._depth = round(device.depth)
        self._mean_s = [stage_s / self._depth for stage_s in _five_stages(device)]
        self._stages_s = self._mean_s
        self._batches_left = round(device.batches)
        name = f"{jitter.seed} {number}" if jitter else ""
        self._random = random.Random(name) if jitter else None  # noqa: S311
        self._sd = jitter.sd if jitter else 0.0
        self._out = 0
        self._return_s = device.sync_bytes * 8 / device.up_bps
        self.queues: list[list[float]] = [[], [], [], [], []]
        self.at_server_s = 0.0
        self.end_s = math.inf
        self._begin()
        self.queues[0][0] += device.sync_bytes * 8 / device.down_bps  # weights come first

    @property
    def result(self) -> Simulated:
        """Once it has ended."""
        return Simulated(self.end_s + self._return_s, self.at_server_s)

    def _begin(self) -> None:
        """Cut the next batch into micro-batches."""
        self._stages_s = [
            stage_s * (1.0 if stage == SERVER else factor)
            for stage, (stage_s, factor) in enumerate(
                zip(self._mean_s, self._factors(), strict=True)
            )
        ]
        self.queues[0] = [self._stages_s[0]] * self._depth
        self._batches_left -= 1
        self._out = 0

    def _factors(self) -> list[float]:
        """Of a batch; both passes of the device vary alike."""
        found = [self._factor() for _ in range(BACK)]
        return [*found, found[0]]

    def _factor(self) -> float:
        return self._random.lognormvariate(-(self._sd**2) / 2, self._sd) if self._random else 1.0

    def _working(self) -> list[int]:
        """Stages at which a micro-batch is worked on."""
        return [
            i for i, queue in enumerate(self.queues) if queue and (i < BACK or not self.queues[0])
        ]

    def soonest_s(self, server_rate: float) -> float:
        """Until the next micro-batch leaves a stage."""
        ends_s = [self.queues[stage][0] for stage in self._working() if stage != SERVER]
        if self.queues[SERVER] and server_rate > 0:
            ends_s.append(self.queues[SERVER][0] / server_rate)
        return min(ends_s, default=math.inf)

    def work(self, seconds: float, server_rate: float) -> None:
        """Let time pass: each stage works on one micro-batch."""
        for stage in self._working():
            self.queues[stage][0] -= seconds * (server_rate if stage == SERVER else 1.0)
        if self.queues[SERVER]:
            self.at_server_s += seconds

    def move(self, now_s: float) -> tuple[int, int]:
        """Micro-batches that are through go on; how many came to the server, and left it."""
        came = left = 0
        for stage in reversed(range(BACK + 1)):
            queue = self.queues[stage]
            if not queue or queue[0] > NOTHING_S:
                continue
            queue.pop(0)
            came, left = came + (stage + 1 == SERVER), left + (stage == SERVER)
            if stage == BACK:
                self._out += 1
            else:
                self.queues[stage + 1].append(self._stages_s[stage + 1])
        if self._out == self._depth:
            if self._batches_left:
                self._begin()
            else:
                self._out, self.end_s = 0, now_s
        return came, left


def _five_stages(device: Device) -> list[float]:
    """Seconds of a batch forward, up, at the server, down, backward; two passes are alike."""
    whole_s, *others_s = stages_of(device)
    back_s = 0.0 if device.one_pass == 1 else whole_s / 2
    return [whole_s - back_s, *others_s, back_s]


def simulate(
    devices: list[Device], jitter: Jitter | None = None, *, fifo: bool = False
) -> list[Simulated]:
    """Every device's round; without ``jitter`` all start at once and no batch varies.

    With ``fifo`` the server serves who came first, instead of all who are there at the same speed.
    """
    fleet = [Member(device, jitter, number) for number, device in enumerate(devices)]
    line: list[int] = []  # whose micro-batches are at the server, by arrival
    now_s = 0.0
    while any(member.end_s == math.inf for member in fleet):
        served = line[:1] if fifo else sorted(set(line))
        rates = [1 / len(served) if i in served else 0.0 for i in range(len(fleet))]
        step_s = min(member.soonest_s(rate) for member, rate in zip(fleet, rates, strict=True))
        now_s += step_s
        for i, (member, rate) in enumerate(zip(fleet, rates, strict=True)):
            member.work(step_s, rate)
            came, left = member.move(now_s)
            line += [i] * came
            for _ in range(left):
                line.remove(i)
    return [member.result for member in fleet]


def round_s(
    devices: list[Device], jitters: Sequence[Jitter | None], *, fifo: bool = False
) -> float:
    """Seconds of the round: the slowest device's, mean over the ``jitters``."""
    rounds = [simulate(devices, jitter, fifo=fifo) for jitter in jitters]
    return fmean(max(each.total_s for each in devices) for devices in rounds)
