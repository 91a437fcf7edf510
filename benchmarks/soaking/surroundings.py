"""Where a board lives: time passes, heat follows, and the kernel's files show it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adaptoff import heat
from benchmarks.soaking.kernel import Kernel
from benchmarks.soaking.world import World

SENSOR_STEP_C = 0.5


class Surroundings:
    """A world and a kernel, and who is to look again and again while time passes."""

    def __init__(self, world: World, kernel: Kernel) -> None:
        self.world, self.kernel = world, kernel
        self.sensor: dict[str, str | None] = {}
        """what the zone says by faults of the sensor, the latest last; None: its file is gone"""
        self._look: Callable[[], object] | None = None
        self._every_s = self._look_s = 1.0

    @property
    def khz(self) -> int:
        """Of the fast clock."""
        return self.kernel.clocks["policy0"].running

    def pass_time(self, seconds: float, busy: float = 0.0, link: float = 0.0) -> None:
        """``busy`` and ``link`` are shares of it."""
        end_s = self.world.now_s + seconds
        while (left_s := end_s - self.world.now_s) > 0:
            self.world.warm(min(left_s, self._every_s), self.khz, busy, link)
            self._throttle()
            self._show_heat()
            if self._look and self.world.now_s >= self._look_s:
                self._look_s = self.world.now_s + self._every_s
                self._look()

    @contextmanager
    def repeated(self, look: Callable[[], object], every_s: float, _name: str) -> Iterator[None]:
        """In place of a thread's: whenever as much time has passed in the world."""
        self._look, self._every_s, self._look_s = look, every_s, self.world.now_s + every_s
        try:
            yield
        finally:
            self._look = None

    def _throttle(self) -> None:
        """As the kernel does above the trip point, whatever anybody asks for."""
        clock, world = self.kernel.clocks["policy0"], self.world
        step = heat.throttled(len(clock.steps) - 1, world.body.temp_c, world.board.trip_c)
        clock.hot_cap = clock.steps[int(step)]

    def _show_heat(self) -> None:
        step_c = SENSOR_STEP_C * round(self.world.body.temp_c / SENSOR_STEP_C)
        true = f"{1000 * step_c:.0f}"
        self.kernel.say_temp(list(self.sensor.values())[-1] if self.sensor else true)
