"""When faults begin and end: each kind at random on its own, so that they overlap.

Gaps and lengths are exponential, in the world's seconds.
"""

from collections import Counter
from contextlib import AbstractContextManager, ExitStack, contextmanager

from adaptoff.guards import Cause
from benchmarks.soaking.kinds import Kind
from benchmarks.soaking.site import Site


class Schedule:
    """Begins and ends faults as time passes."""

    def __init__(self, site: Site, kinds_: list[Kind]) -> None:
        self.kinds, self._site, self._rng = kinds_, site, site.rng
        self._ends: dict[str, ExitStack] = {}
        now_s = site.world.now_s
        self._due_s = {kind.name: now_s + self._rng.exponential(kind.gap_s) for kind in kinds_}

    @property
    def active(self) -> list[Kind]:
        """Those that go on."""
        return [kind for kind in self.kinds if kind.name in self._ends]

    def go_on(self) -> None:
        """To what is due now."""
        now_s = self._site.world.now_s
        for kind in self.kinds:
            if now_s >= self._due_s[kind.name]:
                self._toggle(kind, now_s)

    def credit(self, acts: Counter[Cause]) -> None:
        """Guards acted, in a round with the faults that go on now."""
        for kind in self.active:
            for cause in kind.causes:
                kind.acted[cause] += acts[cause]

    def clear(self) -> None:
        """End all."""
        for kind in self.active:
            self._ends.pop(kind.name).close()
        self._site.device.kernel.settle()

    def _toggle(self, kind: Kind, now_s: float) -> None:
        if ending := self._ends.pop(kind.name, None):
            ending.close()
            mean_s = kind.gap_s
        else:
            self._ends[kind.name] = ending = ExitStack()
            ending.enter_context(_context(kind, self._site))
            kind.times += 1
            mean_s = kind.lasts_s
        self._site.device.kernel.settle()
        self._due_s[kind.name] = now_s + self._rng.exponential(mean_s)


def _context(kind: Kind, site: Site) -> AbstractContextManager[None]:
    return contextmanager(kind.begin)(site)
