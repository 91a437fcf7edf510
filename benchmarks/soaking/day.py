"""A day: rounds one after another, faults meanwhile, and what must hold all the time."""

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptoff import config, restore
from adaptoff.errors import RunError
from benchmarks.soaking.device import Device
from benchmarks.soaking.faults import Schedule
from benchmarks.soaking.kernel import Kernel
from benchmarks.soaking.kinds import all_kinds
from benchmarks.soaking.notes import Notes, result
from benchmarks.soaking.server import Server
from benchmarks.soaking.site import Site
from benchmarks.soaking.surroundings import Surroundings
from benchmarks.soaking.world import World

MODEL = "vgg5-inference"
RESTART_S = 10.0
"""systemd's wait"""
MOST_STRETCH = 10.0
"""times the hours asked for, after which the rest of the decisions is not waited for"""
LOOKS = 100
"""at memory"""


class Day:
    """Runs it, in files below ``root``."""

    def __init__(
        self, root: Path, decisions: int, hours: float, seed: int, only: Sequence[str] = ()
    ) -> None:
        """At least as many decisions, and hours; ``only``: kinds of faults, all if empty."""
        self.decisions, self.hours = decisions, hours
        self.world = World(config.find_profile(MODEL), 3600 * hours / decisions, seed)
        self.kernel = Kernel(root, self.world.steps_khz)
        self.around = Surroundings(self.world, self.kernel)
        self.device = Device(root, self.around)
        self.server, self.notes = Server(self.world), Notes()
        site = Site(root, self.world, self.device, self.server, np.random.default_rng([seed, 1]))
        kinds = [kind for kind in all_kinds() if not only or kind.name in only]
        self.faults = Schedule(site, kinds)
        self._hot_s = 0.0
        self._begun_s, self._round, self._native_s = self.world.now_s, 0, self.world.now_s

    def run(self, tell: Callable[[int], object]) -> dict[str, Any]:
        """All decisions; ``tell`` hears of each, by its number."""
        every = max(self.decisions // LOOKS, 1)
        while not self._is_over():
            before = self.device.counts
            self.faults.go_on()
            if self.device.lives or self._start():
                self._go()
            self.faults.credit(self.device.counts - before)
            self._compare()
            tell(self.notes.decisions)
            if self.notes.decisions // every > len(self.notes.memory_mb):
                self.notes.look_at_memory()
        self._end()
        self.notes.judge(self.world, self.faults.kinds)
        return result(self.notes, self.world, self.faults.kinds, dict(self.device.counts))

    def _is_over(self) -> bool:
        hours = (self.world.now_s - self._begun_s) / 3600
        if hours > MOST_STRETCH * self.hours:
            self.notes.breaks("decisions", f"only {self.notes.decisions} in {hours:g} hours")
            return True
        return self.notes.decisions >= self.decisions and hours >= self.hours

    def _start(self) -> bool:
        """A process, which may be refused for what the clocks are at that moment."""
        self.notes.starts += 1
        if refusal := self._refusal():
            self.notes.refused[_brief(refusal)] += 1
            if not any(kind.clocks for kind in self.faults.active):
                self.notes.breaks("start", f"{self._now()}: {refusal}")
            self.around.pass_time(RESTART_S)
        else:
            self._check_saved()
        return self.device.lives

    def _check_saved(self) -> None:
        """What a dead process had set was put back before this one looked."""
        for name, saved in self.device.saved().items():
            if saved != self.device.first[name]:
                self.notes.breaks("saved", f"{self._now()}: {name} {saved}")

    def _refusal(self) -> str | None:
        try:
            return self.device.start()
        except Exception:
            self.notes.breaks("error", f"{self._now()}\n{traceback.format_exc(limit=-6)}")
            return "an error"

    def _go(self) -> None:
        """A round; an error out of it would have ended the process."""
        self._round += 1
        try:
            played = self.device.play(self._round, self.server.figures_for(self._round))
        except Exception:
            self.notes.breaks("error", f"{self._now()}\n{traceback.format_exc(limit=-6)}")
            self.device.kill()
            return
        self.notes.decided(played.decision, played.taken, self._round, self.world)
        round_s = max(played.seconds, float(played.columns.total_s.max()))
        self.around.pass_time(round_s - played.seconds)
        try:
            self.server.take(played.telemetry, played.at, played.rows, played.columns, round_s)
        except Exception:
            self.notes.breaks("server", f"{self._now()}\n{traceback.format_exc(limit=-6)}")

    def _compare(self) -> None:
        """The same time for a board that is native."""
        self.world.warm_native(self.world.now_s - self._native_s)
        self._native_s = self.world.now_s
        active = [kind.name for kind in self.faults.active] or ["none"]
        self.notes.hot_s.update(dict.fromkeys(active, self.world.body.above_s - self._hot_s))
        self._hot_s = self.world.body.above_s

    def _end(self) -> None:
        """All faults are over, the process ends, and ``adaptoff restore`` does what is left."""
        self.faults.clear()
        try:
            if self.device.lives or self._start():
                self.device.end()
            restore.put_back(self.device.machine.domains(), self.device.state_dir)
        except RunError as error:
            self.notes.breaks("end", str(error))
        now = {name: clock.settings() for name, clock in self.kernel.clocks.items()}
        if now != self.device.first:
            self.notes.breaks("put back", f"{now}, at first {self.device.first}")

    def _now(self) -> str:
        active = ", ".join(kind.name for kind in self.faults.active)
        return f"{self.world.now_s - self._begun_s:.1f} s, round {self._round} ({active})"


def _brief(refusal: str) -> str:
    """Without numbers and paths, which are many."""
    return refusal.rpartition("/")[2][:60]
