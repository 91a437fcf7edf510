"""The board that this process runs on: its clocks are set, its heat and energy measured.

What no sensor says is modelled as on an emulated board. Time is real: nothing is paced or slowed.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from msgspec import structs

from adaptoff import dvfs
from adaptoff.affinity import Scheduler, fast_cpus, pinned
from adaptoff.background import repeated
from adaptoff.domains import CPU_ROOT, GPU_ROOT, Domain, discover, lead_of
from adaptoff.errors import RunError
from adaptoff.guards import Guards
from adaptoff.heat_fit import Heat, HeatFit
from adaptoff.heat_guard import EVERY_S, HeatGuard
from adaptoff.power import HWMON_ROOT, POWERCAP_ROOT, find_power
from adaptoff.power_meter import metered
from adaptoff.scenario import Board
from adaptoff.sensors import THERMAL_ROOT, Thermometer, find_zone
from adaptoff.sysfs import Sysfs
from adaptoff.testbed.board import EmulatedBoard
from adaptoff.testbed.measured_cpu import MeasuredCpu
from adaptoff.testbed.parts import Hardware

log = logging.getLogger(__name__)

MOST_READINGS = 3600
"""of a round that are remembered: one that lasts longer teaches its last hour"""


class RealBoard:
    """Real clocks, and heat as the sensor has it; where it is silent, the model goes on from there.

    The model's heat constants are the scenario's at first, and learnt from what the sensor says
    and from the watts of the cost model, which is what they will be used with.
    """

    def __init__(
        self, board: Board, clocks: dvfs.Clocks, thermometer: Thermometer | None, now_s: float,
        guards: Guards, limit_c: float,
    ) -> None:  # fmt: skip
        """``board`` is what the scenario says of it; ``now_s`` as in all that follows.

        ``limit_c`` is what it may not be hotter than.
        """
        self._board, self._clocks, self._thermometer = board, clocks, thermometer
        self._guards, self._lock = guards, threading.RLock()
        heat = Heat(board.heat_c_per_w, board.heat_tau_s, board.ambient_c)
        watts = [board.idle_w + opp.dynamic_w for opp in board.opps]
        self._fit, self._heat_guard = HeatFit(heat), HeatGuard(watts, limit_c, heat, guards)
        self._model, self._since_s = EmulatedBoard(board, now_s), now_s
        self._model.opp = clocks.opp
        self._is_heard, self._is_computing = True, False
        self._readings: deque[tuple[float, float]] = deque(maxlen=MOST_READINGS)
        """seconds and degrees of this round, until it is known what was drawn"""
        self._look(board.idle_w, now_s)
        self._heat_guard.start(now_s, self.temp_c)
        self.set_opp(len(board.opps) - 1)

    @property
    def speed(self) -> float:
        """In reference cores at the OPP applied, as the scenario says; nothing is paced by it."""
        return self._model.speed

    @property
    def opp(self) -> int:
        """As applied, and after a round what heat left of it."""
        return self._model.opp

    @property
    def opp_left(self) -> int:
        """What the last round left of the OPP applied."""
        return self._model.opp

    @property
    def temp_source(self) -> Literal["modelled", "measured"]:
        """Whether the sensor was heard when it was last read."""
        return "measured" if self._is_heard else "modelled"

    @property
    def temp_c(self) -> float:
        """As measured, or as modelled from the last measurement on."""
        return self._model.temp_c

    def reset(self, now_s: float) -> None:
        """To the fastest OPP; what is warm stays warm."""
        self.idle_until(now_s)
        self._is_computing = False
        self.set_opp(len(self._board.opps) - 1)

    def set_opp(self, opp: int) -> int:
        """Ask for an OPP, or what heat allows of it; returns the one that runs."""
        with self._lock:
            allowed = self._heat_guard.ask(opp)
            self._model.opp = self._clocks.set_opp(allowed)
            if self.opp != allowed:
                self._guards.act("opp-refused", f"the board runs OPP {self.opp}, not {allowed}")
            return self.opp

    def watch(self, now_s: float) -> None:
        """Clock down before it gets too hot, and up again; every second, from any thread."""
        with self._lock:
            if not self._is_computing:
                self._model.idle_until(now_s)
                self._heat_guard.assume(now_s, self.temp_c)
            before, measured_c = self._heat_guard.opp, self._measured_c()
            if measured_c is not None:
                self._readings.append((now_s, measured_c))
            allowed = self._heat_guard.sample(now_s, measured_c)
            if allowed != before:
                self._clocks.set_opp(allowed)

    def idle_until(self, now_s: float) -> None:
        """Nothing was computed until ``now_s``, but may be from now on."""
        with self._lock:
            # after a round of which nothing was told, nobody knows what it drew
            watts = math.nan if self._is_computing else self._board.idle_w
            self._is_computing = True
            self._model.idle_until(now_s)
            self._look(watts, now_s)

    def work_until(self, now_s: float, device_s: float, link_s: float) -> float:
        """That much was done until ``now_s``; returns modelled joules, looks what heat left."""
        with self._lock:
            self._is_computing = False
            joules = self._model.work_until(now_s, device_s, link_s)
            self._look(joules / max(now_s - self._since_s, 1e-9), now_s)
            left = self._clocks.running_opp()
            if left < self.opp:
                log.warning("heat has left OPP %d of OPP %d (%.0f C)", left, self.opp, self.temp_c)
            self._model.opp = left
            return joules

    def _look(self, watts: float, now_s: float) -> None:
        """Read the sensor; ``watts`` is the mean power since it was read before, NaN: unknown."""
        measured_c = self._measured_c()
        self._readings.append((now_s, math.nan if measured_c is None else measured_c))
        for at_s, temp_c in self._readings:
            self._fit.add(at_s - self._since_s, watts, temp_c)
            self._since_s = at_s
        self._readings.clear()
        if measured_c is not None:
            self._model = self._modelled(measured_c, now_s)
        elif self._is_heard:
            log.warning("no thermal zone that can be believed: the temperature is modelled")
        self._is_heard = measured_c is not None
        self._heat_guard.heat = self._fit.heat()
        self._heat_guard.assume(now_s, self.temp_c)

    def _measured_c(self) -> float | None:
        if self._thermometer is None:
            return None
        reading = self._thermometer.read()
        if reading.temp_c is not None and reading.age_s == 0:
            return reading.temp_c
        self._guards.act("sensor", f"no temperature to be believed for {reading.age_s:.0f} s")
        return None

    def _modelled(self, temp_c: float, now_s: float) -> EmulatedBoard:
        """The model by the constants as they are known now."""
        heat = self._fit.heat()
        learnt = structs.replace(
            self._board, heat_c_per_w=heat.c_per_w, heat_tau_s=heat.tau_s, ambient_c=heat.ambient_c
        )
        model = EmulatedBoard(learnt, now_s)
        model.opp, model.temp_c = self.opp, temp_c
        return model


@dataclass(frozen=True)
class Machine:
    """Where the kernel shows this board's clocks and sensors."""

    state_dir: Path
    """keeps the file from which clocks are put back after a kill"""
    gpu: bool = False
    """whether a GPU's clock is set, too"""
    cpu_root: Path = CPU_ROOT
    gpu_root: Path = GPU_ROOT
    thermal_root: Path = THERMAL_ROOT
    hwmon_root: Path = HWMON_ROOT
    powercap_root: Path = POWERCAP_ROOT
    pin: bool | None = None
    """whether to train on the fastest cores alone; None: where there are slower ones"""
    sysfs: Sysfs = field(default_factory=Sysfs)
    scheduler: Scheduler = field(default_factory=Scheduler)
    monotonic: Callable[[], float] = time.monotonic

    def domains(self) -> list[Domain]:
        """All clocks there are. Raises RunError if none of them is a CPU's."""
        found = discover(self.cpu_root, self.gpu_root, self.sysfs)
        if not any(domain.kind == "cpu" for domain in found):
            raise RunError(
                f"--clocks: {self.cpu_root} has no policy that says its range: "
                "clocks cannot be set here; go on without --clocks"
            )
        return found

    def rehearsed(self) -> list[tuple[Path, str]]:
        """(file, value) of all that would be written for this board's own steps."""
        domains = self.domains()
        opps_mhz = [hz / dvfs.MHZ for hz in lead_of(domains).steps_hz()] or dvfs.own_mhz(domains)
        would = dvfs.rehearsed(opps_mhz, self.cpu_root, self.gpu_root, gpu=self.gpu)
        return list(dict.fromkeys(would))

    @contextmanager
    def held(self, board: Board, dilation: float, limit_c: float = math.inf) -> Iterator[Hardware]:
        """This board for a device whose scenario says ``board``; its clocks are put back after.

        It is kept below ``limit_c`` and its trip point. Raises RunError if the server slows time,
        or as ``dvfs.held``.
        """
        if dilation != 1:
            raise RunError(
                f"--clocks: the server slows time by {dilation:g} and a real board cannot be "
                "slowed: serve with --dilation 1"
            )
        opps_mhz, domains, guards = [opp.mhz for opp in board.opps], self.domains(), Guards()
        source = find_power(self.hwmon_root, self.powercap_root, self.sysfs)
        with (
            dvfs.held(opps_mhz, self.state_dir, domains, gpu=self.gpu) as clocks,
            self._pinned(domains),
            metered(source, self.monotonic) as power,
        ):
            real = self._board(board, clocks, guards, limit_c)
            with repeated(lambda: real.watch(self.monotonic()), EVERY_S, "heat"):
                yield Hardware(real, MeasuredCpu(), power, guards)

    def _board(
        self, board: Board, clocks: dvfs.Clocks, guards: Guards, limit_c: float
    ) -> RealBoard:
        zone = find_zone(self.thermal_root, sysfs=self.sysfs)
        thermometer = Thermometer(zone, self.monotonic) if zone else None
        limits_c = [limit_c, board.trip_c, (zone and zone.trip_c()) or math.inf]
        return RealBoard(board, clocks, thermometer, self.monotonic(), guards, min(limits_c))

    def _pinned(self, domains: list[Domain]) -> AbstractContextManager[None]:
        several = sum(domain.kind == "cpu" for domain in domains) > 1
        if not (several if self.pin is None else self.pin):
            return nullcontext()
        return pinned(fast_cpus(domains), self.scheduler)
