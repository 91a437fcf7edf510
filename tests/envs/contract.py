"""What every FleetBackend must do; emulator and live fleet run the same checks."""

from dataclasses import fields

import numpy as np

from adaptoff.fleet import Fleet, Outcome, Rows
from adaptoff.protocols import FleetBackend

MAY_BE_MISSING = {"up_bps", "down_bps", "rtt_s"}
PER_FLEET = {"round_s", "server_speed"}


def check_backend(backend: FleetBackend) -> None:
    """Run a few rounds and check shapes, values and levers; closes the backend, twice."""
    warm_up = backend.reset(seed=1)
    fleet = backend.fleet
    check_outcome(fleet, warm_up)
    np.testing.assert_array_equal(warm_up.way, fleet.native().way)
    check_outcome(fleet, backend.apply(fleet.native()))
    early = Rows(
        np.broadcast_to(fleet.min_cut[:, None], fleet.shape), np.zeros(fleet.shape, np.int64)
    )
    done = backend.apply(early)
    check_outcome(backend.fleet, done)
    np.testing.assert_array_equal(done.way, early.way)
    np.testing.assert_array_equal(done.opp, early.opp)
    again = backend.reset(seed=1)
    np.testing.assert_array_equal(again.way, warm_up.way)
    backend.close()
    backend.close()


def check_outcome(fleet: Fleet, seen: Outcome) -> None:
    """Shapes, finite values, positive times; NaN only where a rate was not measured."""
    for field in fields(Outcome):
        values = getattr(seen, field.name)
        shape = fleet.shape[:1] if field.name in PER_FLEET else fleet.shape
        assert values.shape == shape, field.name
        known = values[np.isfinite(values)] if field.name in MAY_BE_MISSING else values
        assert np.isfinite(known).all(), field.name
        if field.name != "temp_c":
            assert (known >= 0).all(), field.name
    assert (seen.round_s > 0).all()
    assert (seen.server_speed > 0).all()
    assert (np.where(fleet.active, seen.energy_j, 1.0) > 0).all()
