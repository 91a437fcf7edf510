"""The emulated board's clock steps and heat."""

import pytest

from adaptoff.scenario import Board, Opp
from adaptoff.testbed.board import EmulatedBoard


def board(trip_c=80.0):
    """Idle at 30 degrees; three clock steps."""
    opps = [Opp(mhz=500 * k, relative_speed=k / 3, dynamic_w=k) for k in (1, 2, 3)]
    usual = {"idle_w": 2.0, "heat_c_per_w": 5.0, "ambient_c": 20.0, "heat_tau_s": 60.0}
    return EmulatedBoard(Board(speed=0.3, opps=opps, trip_c=trip_c, **usual), now_s=0.0)


def test_a_cool_board_takes_what_it_is_asked_for_up_to_its_fastest():
    cool = board()
    assert [cool.set_opp(opp) for opp in (0, 1, 2, 7)] == [0, 1, 2, 2]
    assert cool.speed == pytest.approx(0.3)


@pytest.mark.parametrize(("trip_c", "opp"), [(30.0, 2), (29.9, 1), (25.0, 0)])
def test_a_hot_board_throttles_as_the_emulators_do(trip_c, opp):
    hot = board(trip_c)
    assert hot.set_opp(2) == hot.opp == opp
    hot.idle_until(1e6)
    assert hot.set_opp(2) == opp


def test_it_recovers_when_it_has_cooled():
    worked = board(trip_c=31.0)
    worked.work_until(60.0, device_s=60.0, link_s=0.0)
    assert worked.temp_c == pytest.approx(30 + 15 * 0.632, abs=0.01)
    assert worked.set_opp(2) == 0
    worked.idle_until(1e4)
    assert worked.set_opp(2) == 2


def test_nothing_is_lost_within_a_round_and_nothing_is_measured() -> None:
    cool = board()
    cool.set_opp(1)
    cool.work_until(1e4, device_s=1e4, link_s=0.0)
    assert (cool.opp_left, cool.temp_source) == (1, "modelled")
