"""Generated traces: the fitted process, by kind and seed."""

from typing import get_args

import numpy as np
import pytest

from adaptoff import generated, schedule
from adaptoff.fitted import FAMILIES, STEP_S, links
from adaptoff.generated import KINDS, STEPS
from adaptoff.scenario import Link
from adaptoff.schedule import Schedule


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_the_same_trace_and_another_one_does_not(kind: str) -> None:
    first, again, other = (generated.trace(kind, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.up_bps, again.up_bps)
    np.testing.assert_array_equal(first.down_bps, again.down_bps)
    assert not np.array_equal(first.down_bps, other.down_bps)


def test_the_process_is_that_of_the_training_sampler() -> None:
    trace = generated.trace("lte-drive", 3)
    fitted = links(np.random.default_rng(3), FAMILIES["hsdpa"], STEPS, 1)[:, 0]
    ratio = KINDS["lte-drive"].family.level_bps / FAMILIES["hsdpa"].level_bps
    np.testing.assert_allclose(trace.down_bps, fitted * ratio, rtol=1e-12)
    np.testing.assert_allclose(trace.up_bps, trace.down_bps * 0.4, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_levels_are_as_stated(kind: str) -> None:
    medians = [np.median(generated.trace(kind, seed).down_bps) for seed in range(60)]
    # 60 levels that spread by e^0.6 at most have a median within about 22 % of theirs
    assert np.median(medians) == pytest.approx(KINDS[kind].family.level_bps, rel=0.25)


def test_a_drive_changes_more_than_an_office() -> None:
    def spread(kind: str) -> float:
        traces = [generated.trace(kind, seed) for seed in range(20)]
        return float(np.median([np.log(trace.down_bps).std() for trace in traces]))

    assert spread("lte-drive") > 2 * spread("wifi-office")


def test_a_link_follows_its_trace_by_round_and_time() -> None:
    trace = generated.trace("wifi-office", 5)
    link = Schedule(Link(generated="wifi-office", seed=5, trace_round_s=4 * STEP_S))
    assert link.rates_bps(0) == (trace.up_bps[0], trace.down_bps[0])
    assert link.rates_bps(2, elapsed_s=STEP_S) == (trace.up_bps[9], trace.down_bps[9])
    assert link.rates_bps(STEPS // 4) == link.rates_bps(0)  # it repeats


def test_a_scenario_may_name_exactly_the_kinds_that_there_are() -> None:
    allowed = Link.__annotations__["generated"]
    assert set(get_args(get_args(allowed)[0])) == set(KINDS)


def test_links_without_one_follow_no_trace() -> None:
    assert schedule.trace_of(Link()) is None
