"""Guards count by cause and speak once."""

import logging

import pytest

from adaptoff.guards import CAUSES, Guards


def test_every_cause_is_counted_from_nothing() -> None:
    assert Guards().counts == dict.fromkeys(CAUSES, 0)


def test_a_cause_is_logged_once_and_counted_each_time(caplog: pytest.LogCaptureFixture) -> None:
    guards = Guards()
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            guards.act("stale", f"round {number}")
        guards.act("too-hot", "81 C")
    assert [record.getMessage() for record in caplog.records] == [
        "guard stale: round 0",
        "guard too-hot: 81 C",
    ]
    assert guards.counts["stale"] == 3
    assert guards.counts["too-hot"] == 1
