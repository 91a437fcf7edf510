"""A board that computes without a pause stays below its limit, at as fast a clock as it can."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptoff.guards import Guards
from adaptoff.heat import warmed
from adaptoff.heat_fit import Heat
from adaptoff.heat_guard import HOLD_S, MARGIN_C, RETRY_S, ROOM_C, HeatGuard
from adaptoff.sensors import MAX_AGE_S, Thermometer, Zone
from adaptoff.sysfs import Sysfs

LIMIT_C, IDLE_W = 80.0, 2.0
DYNAMIC_W = [0.8, 1.8, 2.8, 3.8, 4.8, 5.8, 6.8, 8.0]
TOP = len(DYNAMIC_W) - 1
HOUR_S = 3600
GLITCHES = (0, 255_000, -40_000)


class Board(Sysfs):
    """First-order heat, its sensor, and the clock that its guard sets."""

    def __init__(self, true: Heat, believed: Heat, limit_c: float = LIMIT_C, seed: int = 0) -> None:
        self.true, self.temp_c, self.now_s = true, self.settled_c(true, IDLE_W), 0.0
        self.glitches, self.load = 0.2, 1.0
        self.guards = Guards()
        self.guard = HeatGuard([IDLE_W + w for w in DYNAMIC_W], limit_c, believed, self.guards)
        self._thermometer = Thermometer(Zone(Path("zone"), self), lambda: self.now_s)
        self._rng = np.random.default_rng(seed)

    @staticmethod
    def settled_c(heat: Heat, watts: float) -> float:
        return heat.ambient_c + heat.c_per_w * watts

    def number(self, path: Path) -> int | None:
        """Millidegrees in steps of one degree, off by half a degree, and sometimes nonsense."""
        if self._rng.uniform() < self.glitches:
            return int(self._rng.choice(GLITCHES))
        return 1000 * round(self.temp_c + self._rng.normal(0, 0.5))

    def run(self, seconds: int, *, deaf: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Temperatures and OPPs, (seconds,) each."""
        seen = [self._second(deaf=deaf) for _ in range(seconds)]
        temps_c, opps = zip(*seen, strict=True)
        return np.array(temps_c), np.array(opps)

    def _second(self, *, deaf: bool) -> tuple[float, int]:
        watts = IDLE_W + self.load * DYNAMIC_W[self.guard.opp]
        heat, each = self.true, map(np.array, (watts, 1.0))
        at = map(np.array, (self.temp_c, heat.ambient_c, heat.c_per_w, heat.tau_s))
        self.temp_c = float(warmed(*at, *each))
        self.now_s += self._rng.uniform(0.95, 1.05)
        reading = self._thermometer.read()
        self.guard.sample(self.now_s, None if deaf or reading.age_s else reading.temp_c)
        return self.temp_c, self.guard.opp


def raises(opps: np.ndarray) -> np.ndarray:
    """When a clock was raised."""
    return np.flatnonzero(np.diff(opps) > 0)


@pytest.mark.parametrize(("c_per_w", "tau_s"), [(8, 20), (8, 60), (8, 200), (12, 60)])
@pytest.mark.parametrize(("gain", "pace"), [(1, 1), (0.7, 1.4), (1.4, 0.7)])
def test_it_never_gets_too_hot_and_does_not_oscillate(
    c_per_w: float, tau_s: float, gain: float, pace: float
) -> None:
    """Sensors fail once in five readings, and constants are off by 40 %."""
    true = Heat(c_per_w, tau_s, 25.0)
    believed = Heat(gain * c_per_w, pace * tau_s, 25.0)
    fits = [w for w in DYNAMIC_W if Board.settled_c(true, IDLE_W + w) < LIMIT_C]
    for seed in range(4):
        board = Board(true, believed, seed=seed)
        temps_c, opps = board.run(HOUR_S)
        assert temps_c.max() <= LIMIT_C + 1
        assert temps_c.max() > LIMIT_C - MARGIN_C - ROOM_C
        assert np.diff(raises(opps)).min() >= HOLD_S - 2
        assert abs(opps[HOUR_S // 4 :].mean() - (len(fits) - 1)) < 1
        assert board.guards.counts["too-hot"] == (np.diff(opps, prepend=TOP) < 0).sum() > 0


def test_without_a_guard_it_would_get_too_hot() -> None:
    board = Board(Heat(8.0, 60.0, 25.0), Heat(8.0, 60.0, 25.0), limit_c=math.inf)
    temps_c, opps = board.run(600)
    assert temps_c.max() > LIMIT_C + 20
    assert (opps == TOP).all()


def test_a_cool_board_keeps_the_clock_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    board = Board(Heat(4.0, 60.0, 25.0), Heat(4.0, 60.0, 25.0))
    with caplog.at_level(logging.WARNING):
        assert (board.run(HOUR_S)[1] == TOP).all()
        assert board.guard.ask(3) == 3
        assert (board.run(60)[1] == 3).all()
    assert not caplog.records


def test_the_first_step_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Board(Heat(8.0, 60.0, 25.0), Heat(8.0, 60.0, 25.0)).run(HOUR_S)
    assert [r.getMessage() for r in caplog.records if "too-hot" not in r.getMessage()] == []
    assert len(caplog.records) == 1


def test_what_is_asked_for_comes_back_when_the_load_ends() -> None:
    board = Board(Heat(8.0, 60.0, 25.0), Heat(8.0, 60.0, 25.0))
    board.run(600)
    assert board.guard.ask(TOP) < TOP
    board.load = 0.0
    opps = board.run(600)[1]
    assert opps[-1] == TOP
    assert raises(opps)[0] < 4 * HOLD_S


def test_a_slower_clock_that_was_asked_for_stays() -> None:
    board = Board(Heat(8.0, 60.0, 25.0), Heat(8.0, 60.0, 25.0))
    assert board.guard.ask(2) == 2
    assert (board.run(HOUR_S)[1] == 2).all()
    assert board.guard.ask(TOP) == TOP


def test_constants_that_see_heat_everywhere_do_not_hold_a_cool_board_down_for_ever() -> None:
    board = Board(Heat(8.0, 60.0, 25.0), Heat(8.0, 60.0, 25.0))
    board.run(600)
    board.true = replace(board.true, c_per_w=2.0)
    board.guard.heat = Heat(45.0, 20.0, 25.0)
    opps = board.run(round(TOP * RETRY_S))[1]
    assert opps[-1] == TOP


def test_without_a_sensor_the_model_lowers_the_clock() -> None:
    heat = Heat(8.0, 60.0, 25.0)
    board = Board(heat, heat)
    board.guard.assume(board.now_s, board.temp_c)
    temps_c, opps = board.run(HOUR_S, deaf=True)
    assert LIMIT_C - 10 < temps_c.max() <= LIMIT_C
    assert opps[-1] > 0


def test_a_sensor_that_dies_while_it_gets_hot_is_replaced_by_the_model() -> None:
    heat = Heat(8.0, 60.0, 25.0)
    board = Board(heat, heat)
    board.run(20)
    assert board.guard.opp == TOP
    temps_c, opps = board.run(round(MAX_AGE_S) + 600, deaf=True)
    assert temps_c.max() <= LIMIT_C + 2
    assert opps.min() < TOP


def test_a_room_that_gets_warmer_unheard_does_not_get_the_board_above_its_limit() -> None:
    heat = Heat(8.0, 60.0, 25.0)
    board = Board(heat, heat)
    board.run(HOUR_S)
    board.true = replace(board.true, ambient_c=33.0)
    temps_c = board.run(HOUR_S, deaf=True)[0]
    assert temps_c[300:].max() <= LIMIT_C


def test_before_the_first_word_nothing_is_done() -> None:
    board = Board(Heat(8.0, 60.0, 25.0), Heat(8.0, 60.0, 25.0))
    assert (board.run(60, deaf=True)[1] == TOP).all()


def test_the_slowest_clock_is_the_end() -> None:
    board = Board(Heat(30.0, 60.0, 25.0), Heat(30.0, 60.0, 25.0))
    opps = board.run(600)[1]
    assert opps[-1] == opps.min() == 0
    assert board.guards.counts["too-hot"] == TOP
