from pathlib import Path

import numpy as np
import pytest

from adaptoff import fitted, traces
from adaptoff.envs.fitting import figures, fit, simulated
from adaptoff.envs.links import LIMITS_BPS, free_share, link_rates
from adaptoff.envs.replay import averages
from adaptoff.fitted import FAMILIES, Family

TRACES = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = {"fcc16": "traces", "hsdpa": "traces", "oboe": "traces", "starlink": "traces-starlink"}


def test_drawn_links_cover_calm_and_wild_ones_within_limits() -> None:
    up, down = link_rates(np.random.default_rng(0), 64, (200, 5))
    assert up.shape == down.shape == (64, 200, 5)
    for rates in (up, down):
        assert LIMITS_BPS[0] <= rates.min()
        assert rates.max() <= LIMITS_BPS[1]
    steps = np.diff(np.log(up), axis=0).std(0)
    assert np.quantile(steps, 0.1) < 0.03
    assert np.quantile(steps, 0.9) > 0.6
    level = np.median(np.log(up), 0)
    assert level.min() < np.log(3e6)
    assert level.max() > np.log(300e6)
    ratio = np.median(down / up, 0)
    assert (abs(np.log(ratio)) < 0.3).mean() > 0.4
    assert 7 < ratio.max() < 15


def test_hidden_load_stays_within_its_range_and_some_processors_have_none() -> None:
    free = free_share(np.random.default_rng(0), 50, (400,))
    assert free.shape == (50, 400)
    assert free.min() >= 0.2 - 1e-12
    assert free.max() <= 1.0
    assert 0.2 < (free == 1.0).all(0).mean() < 0.4
    changes = (np.diff(free, axis=0) != 0).mean(0)
    assert (changes > 0.9).any()  # slow but steady
    assert ((changes > 0) & (changes < 0.3)).any()  # redrawn now and then


FAMILY = Family(20e6, 0.5, 0.4, 0.2, 0.8, 0.05, 0.4, 0.01, 2.0, -3.0)


def test_a_fit_finds_the_figures_of_links_that_it_has_not_seen() -> None:
    rates = fitted.links(np.random.default_rng(1), FAMILY, 150, 80)
    series = list(rates.T)
    found = fit(series)
    assert found.level_bps == pytest.approx(20e6, rel=0.2)
    assert found.sd == pytest.approx(0.4, rel=0.2)
    assert found.outage_rate == pytest.approx(0.01, rel=0.6)
    check_alike(figures(series), figures(simulated(found, series, seed=2)), rel=0.1, lag=0.06)


def check_alike(real: dict[str, float], drawn: dict[str, float], rel: float, lag: float) -> None:
    assert drawn["mean_mbps"] == pytest.approx(real["mean_mbps"], rel=rel)
    assert drawn["cv"] == pytest.approx(real["cv"], rel=rel)
    assert drawn["lag1"] == pytest.approx(real["lag1"], abs=lag)
    assert drawn["outage_share"] == pytest.approx(real["outage_share"], abs=0.01)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_parameters_in_the_code_reproduce_the_traces(name) -> None:
    files = sorted((TRACES / FOLDERS[name]).glob(f"{name}_*.csv"))
    if not files:
        pytest.skip(f"no {name} traces in {TRACES / FOLDERS[name]}")
    loaded = [traces.load(file) for file in files]
    real = [averages(each, 0.0, int(each.period_s // 5), 5.0)[1] for each in loaded]
    real = [rates for rates in real if len(rates) >= 10]
    check_alike(figures(real), figures(simulated(FAMILIES[name], real, seed=3)), rel=0.1, lag=0.06)


def test_families_are_picked_by_index_and_none_follows_actions() -> None:
    index = np.array([[0, 1], [3, 2]])
    family = fitted.pick(index)
    names = list(FAMILIES)
    assert family.rho[1, 0] == FAMILIES[names[3]].rho
    moves = [fitted.moves(np.random.default_rng(5), 30, family) for _ in range(2)]
    assert moves[0].shape == (30, 2, 2)
    np.testing.assert_array_equal(*moves)
