"""What was seen in a day, and what of it must not be."""

import resource
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptoff.guards import Cause
from adaptoff.messages import Decision, Row
from benchmarks.soaking.kinds import Kind
from benchmarks.soaking.world import FAR_C, Body, World

KEPT = 5
"""examples of each violation"""
MOST_HOT = 0.01
"""share of the time that the board may be above its limit"""
MOST_GROWTH_MB = 16.0
"""of the process, from a tenth of the decisions to the last"""
ENOUGH = 8
"""times of a fault after which its guards must have acted"""
STATM = Path("/proc/self/statm")
PAGE_MB = resource.getpagesize() / 1e6


@dataclass
class Notes:
    """Counts, and a few examples of what must not be."""

    decisions: int = 0
    starts: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """starts, by reason"""
    sources: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    hot_s: Counter[str] = field(default_factory=Counter)
    """seconds above the limit during each kind of fault"""
    memory_mb: list[float] = field(default_factory=list)

    def breaks(self, what: str, detail: str) -> None:
        """Something that must hold did not."""
        self.broken[what] += 1
        kept = self.examples.setdefault(what, [])
        if len(kept) < KEPT:
            kept.append(detail)

    def decided(self, decision: Decision, taken: Row, round_: int, world: World) -> None:
        """A decision, and the row that the board took."""
        self.decisions += 1
        self.sources[decision.source] += 1
        if (decision.device, decision.round) != (0, round_):
            self.breaks("answer", f"{decision} to round {round_}")
        for row in (decision.row, taken):
            if not _is_in_table(row, world):
                self.breaks("row", f"round {round_}: {row}")

    def look_at_memory(self) -> None:
        """Of this process, now."""
        self.memory_mb.append(int(STATM.read_text().split()[1]) * PAGE_MB)

    def judge(self, world: World, kinds: list[Kind]) -> None:
        """At the end: heat, memory, and whether each guard was seen to work."""
        share = world.body.above_s / world.body.seconds
        if share > MOST_HOT:
            self.breaks("heat", f"above the limit for {share:.2%} of the time")
        if self.growth_mb > MOST_GROWTH_MB:
            self.breaks("memory", f"{self.growth_mb:.1f} MB more")
        for kind in kinds:
            for cause in kind.causes:
                if kind.times >= ENOUGH and not kind.acted[cause]:
                    self.breaks("guard", f"{cause}: never in {kind.times} of {kind.name}")

    @property
    def growth_mb(self) -> float:
        """From a tenth of the looks to the last one."""
        return self.memory_mb[-1] - self.memory_mb[len(self.memory_mb) // 10]


def result(
    notes: Notes, world: World, kinds: list[Kind], guards: dict[Cause, int]
) -> dict[str, Any]:  # fmt: skip
    """All figures, as JSON takes them."""
    return {
        "decisions": notes.decisions,
        "hours": world.body.seconds / 3600,
        "starts": notes.starts,
        "starts_refused": dict(notes.refused),
        "sources": dict(notes.sources),
        "faults": {kind.name: kind.times for kind in kinds},
        "guards_by_fault": {kind.name: dict(kind.acted) for kind in kinds if kind.causes},
        "guards": guards,
        "heat": {"board": _heat(world.body), "native all the time": _heat(world.native)},
        "hot_s": {name: seconds for name, seconds in notes.hot_s.most_common() if seconds},
        "memory_mb": notes.memory_mb[-1],
        "memory_growth_mb": notes.growth_mb,
        "broken": dict(notes.broken),
        "examples": notes.examples,
    }


def _heat(body: Body) -> dict[str, float]:
    return {
        "above_limit": body.above_s / body.seconds,
        f"more_than_{FAR_C:g}_c_above": body.far_above_s / body.seconds,
        "hottest_c": body.most_c,
    }


def _is_in_table(row: Row, world: World) -> bool:
    least, native = world.scenario.workload.min_cut, world.profile.native
    return least <= row.cut <= native and 0 <= row.opp < len(world.board.opps)
