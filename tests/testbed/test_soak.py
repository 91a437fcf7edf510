"""A short day of faults, by the code of ``benchmarks/soak.py``; and what is broken is noticed."""

from collections.abc import Callable
from typing import Any

import pytest

from adaptoff import controller, restore
from adaptoff.controller import Controller
from adaptoff.guards import CAUSES
from adaptoff.messages import FleetFigures, Row
from adaptoff.testbed.real_board import RealBoard
from benchmarks import soak

SEED = 4
MOST_HOT = 0.05
"""share of the time above the limit: in so short a day a single fault of the sensor counts much"""


def day(decisions: int, hours: float, *only: str) -> dict[str, Any]:
    return soak.run(decisions, hours, SEED, only, lambda _: None)


def test_a_day_of_faults_breaks_nothing() -> None:
    found = day(3000, 1.2)
    assert found["broken"].keys() <= {"heat"}, found["examples"]
    assert found["heat"]["board"]["above_limit"] < MOST_HOT
    assert found["decisions"] >= 3000
    assert found["hours"] >= 1.19
    assert all(found["faults"].values())
    assert all(found["guards"][cause] for cause in CAUSES)
    assert found["heat"]["native all the time"]["above_limit"] > 0.5


def test_the_same_seed_gives_the_same_day() -> None:
    first, again = (day(100, 0.1) for _ in range(2))
    unlike = {"seconds", "memory_mb", "memory_growth_mb"}
    assert {k: v for k, v in first.items() if k not in unlike} == {
        k: v for k, v in again.items() if k not in unlike
    }


Damage = Callable[[pytest.MonkeyPatch], None]


def raises(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Controller.next

    def fail(self: Controller, round_: int, figures: FleetFigures | None) -> object:
        return usual(self, round_, figures) if round_ % 50 else 1 / 0

    monkeypatch.setattr(Controller, "next", fail)


def strays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "translate", lambda row, *_: Row(cut=0, opp=row.opp))


def leaves_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "put_back", lambda *_: [])


def never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RealBoard, "watch", lambda *_: None)


def is_always_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = RealBoard.set_opp
    monkeypatch.setattr(RealBoard, "set_opp", lambda self, _: usual(self, 9))
    never_looks(monkeypatch)


@pytest.mark.parametrize(
    ("damage", "broken", "only"),
    [
        (raises, "error", "none"),
        (strays, "row", "none"),
        (leaves_clocks, "put back", "none"),
        (leaves_clocks, "saved", "kill -9"),
        (is_always_fast, "heat", "none"),
        (never_looks, "guard", "hot room"),
    ],
)
def test_what_is_broken_is_noticed(
    monkeypatch: pytest.MonkeyPatch, damage: Damage, broken: str, only: str
) -> None:
    damage(monkeypatch)
    assert broken in day(400, 2.0, only)["broken"]
