"""A board whose clocks are left to its governor: nothing is set, heat is read where a sensor is.

Its governor is taken to run the fastest OPP while there is work. What no sensor says is modelled.
"""

from typing import Literal

from adaptoff.guards import Guards
from adaptoff.scenario import Board
from adaptoff.sensors import Thermometer
from adaptoff.testbed.board import EmulatedBoard


class FreeBoard:
    """A ``protocols.Board`` that stays at its fastest OPP, whatever is asked for."""

    def __init__(
        self, board: Board, thermometer: Thermometer | None, now_s: float, guards: Guards
    ) -> None:
        """``board`` is what the scenario says of it; ``now_s`` as in all that follows."""
        self._model, self._thermometer = EmulatedBoard(board, now_s), thermometer
        self._guards = guards
        self._is_heard = False
        self._look()

    @property
    def speed(self) -> float:
        """In reference cores, as the scenario says."""
        return self._model.speed

    @property
    def opp(self) -> int:
        """The fastest one."""
        return self._model.opp

    @property
    def opp_left(self) -> int | None:
        """Nobody has looked."""
        return None

    @property
    def temp_c(self) -> float:
        """As measured, or as modelled from the last measurement on."""
        return self._model.temp_c

    @property
    def temp_source(self) -> Literal["modelled", "measured"]:
        """Whether the sensor was heard when it was last read."""
        return "measured" if self._is_heard else "modelled"

    def reset(self, now_s: float) -> None:
        """What is warm stays warm."""
        self.idle_until(now_s)

    def set_opp(self, opp: int) -> int:  # noqa: ARG002
        """The fastest one: nothing is set."""
        return self.opp

    def idle_until(self, now_s: float) -> None:
        """Nothing was computed until ``now_s``."""
        self._model.idle_until(now_s)
        self._look()

    def work_until(self, now_s: float, device_s: float, link_s: float) -> float:
        """That much was done until ``now_s``; returns modelled joules."""
        joules = self._model.work_until(now_s, device_s, link_s)
        self._look()
        return joules

    def _look(self) -> None:
        reading = self._thermometer and self._thermometer.read()
        measured_c = reading.temp_c if reading and reading.age_s == 0 else None
        self._is_heard = measured_c is not None
        if measured_c is not None:
            self._model.temp_c = measured_c
        elif self._thermometer:
            self._guards.act("sensor", "no temperature to be believed: it is modelled")
