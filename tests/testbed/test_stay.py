"""A server that outlasts its drivers."""

from collections.abc import Iterator

import pytest

from adaptoff.messages import RunRound
from adaptoff.testbed import rounds, server
from adaptoff.testbed.live import LiveFleet
from adaptoff.testbed.tracker import OwnCluster
from tests.testbed.test_live import PATIENCE_S, SEED, Bed, until


class Standing(Bed):
    def _serve(self) -> None:
        with self.server:
            self.server.serve(stay=True)


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standing]:
    monkeypatch.setattr(rounds, "DEADLINE_MARGIN_S", PATIENCE_S)
    bed = Standing(OwnCluster, 1.0)
    bed.join(0, 1)
    yield bed
    bed.close()


def drive(live: LiveFleet) -> tuple[int, int]:
    """Reset and one round; the rounds that were reported."""
    live.reset(SEED)
    first = live.report.round
    live.apply(live.fleet.native())
    return first, live.report.round


def test_the_next_driver_starts_anew(standing: Standing) -> None:
    assert drive(standing.drive()) == (0, 1)
    standing.live.close()
    until(lambda: standing.server._driver is None)
    assert drive(standing.drive()) == (0, 1)


def test_a_driver_that_vanishes_within_a_round_is_not_missed(standing: Standing) -> None:
    """Its round comes to its end; the next driver never hears of it."""
    drive(standing.drive())
    link = standing.live._link
    link.wait_sent(link.send(RunRound(command=1)), PATIENCE_S)  # the next driver begins with 1, too
    link.close()
    until(lambda: standing.server._driver is None)
    assert drive(standing.drive()) == (0, 1)


def test_without_a_driver_it_keeps_devices_from_giving_up(
    standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    tell = standing.server._tell_devices
    monkeypatch.setattr(standing.server, "_tell_devices", lambda m: (told.append(m), tell(m)))
    monkeypatch.setattr(server, "NO_DRIVER_S", 0.05)
    standing.drive().close()  # from now on it looks again as often
    until(lambda: len(told) > 1)
    monkeypatch.setattr(server, "NO_DRIVER_S", PATIENCE_S)
    assert drive(standing.drive()) == (0, 1)


def test_without_a_driver_another_server_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "NO_DRIVER_S", 0.05)
    bed = Bed(OwnCluster, 1.0)
    bed.threads[0].join(PATIENCE_S)
    assert not bed.threads[0].is_alive()
    bed.close()
