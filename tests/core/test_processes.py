"""Random processes have the moments that they are asked for."""

import numpy as np
import pytest

from adaptoff.processes import OUTAGE, autoregression, held, outages


def test_held_values_change_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    fresh = rng.random((400, 50))
    kept = held(rng, fresh, np.linspace(0.0, 0.2, 50))
    changes = (np.diff(kept, axis=0) != 0).mean(0)
    np.testing.assert_allclose(changes, np.linspace(0.0, 0.2, 50), atol=0.06)
    assert np.isin(kept, fresh).all()


def test_an_autoregression_is_stationary_from_the_start() -> None:
    rho, innovation = np.full(4000, 0.9), np.full(4000, 0.35)
    moves = autoregression(np.random.default_rng(0), 12, rho, innovation)
    np.testing.assert_allclose(moves.std(1), 0.35 / np.sqrt(1 - 0.81), rtol=0.05)
    steps = moves[1:] - 0.9 * moves[:-1]
    np.testing.assert_allclose(steps.std(1), 0.35, rtol=0.05)


def test_outages_have_their_rate_length_and_depth() -> None:
    rate = np.full(2000, 0.02)
    logs = outages(np.random.default_rng(0), 200, rate, 3.0, np.log(0.03))
    out = logs < 0
    assert not out[0].any()
    starts = out[1:] & ~out[:-1]
    assert starts.sum() / (~out[:-1]).sum() == pytest.approx(0.02, rel=0.05)
    assert out.sum() / starts.sum() == pytest.approx(3.0, rel=0.05)
    assert logs[out].min() >= np.log(0.03)
    assert logs[out].max() <= np.log(OUTAGE)
