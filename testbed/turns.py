"""Whose micro-batch the server trains next: that of the device that it has served least.

In the order of arrival a device with many micro-batches in flight would hold up the others. What
counts is the work done for a device in this round, in seconds of a reference core, so that short
micro-batches weigh less than whole batches; of equals the one that has waited longest is next.
"""

from collections import defaultdict, deque
from typing import NamedTuple

from adaptoff.testbed.link import Received


class Place(NamedTuple):
    """Of a micro-batch in its round."""

    batch: int
    part: int

    def after(self, depth: int) -> "Place":
        """The next one of a round with ``depth`` parts a batch."""
        batches, part = divmod(self.part + 1, depth)
        return Place(self.batch + batches, part)


FIRST = Place(0, 0)


class Turns:
    """Micro-batches that wait, by device, each device's in their order."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Received]] = {}
        self._served_s: dict[int, float] = defaultdict(float)

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._waiting)

    def add(self, device: int, got: Received) -> None:
        """One more of ``device`` waits."""
        self._waiting.setdefault(device, deque()).append(got)

    def take(self) -> tuple[int, Received]:
        """The next one, and whose it is; KeyError when none waits."""
        device = min(self._waiting, key=self._served_s.__getitem__)
        got = self._waiting[device].popleft()
        if waiting := self._waiting.pop(device):  # others that were served as little are before it
            self._waiting[device] = waiting
        return device, got

    def served(self, device: int, work_s: float) -> None:
        """The server has done ``work_s`` for ``device``."""
        self._served_s[device] += work_s
