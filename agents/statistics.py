"""Means and how sure they are: 95 % percentile bootstraps."""

from functools import lru_cache

import numpy as np

from adaptoff.agents.results import Json
from adaptoff.fleet import Floats

RESAMPLES = 2000


def interval(values: Floats) -> Json:
    """Mean and 95 % bootstrap interval of values (N,); a single one has none: two times None."""
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return {"mean": mean, "ci95": [None, None]}
    low, high = np.percentile(_draws(n) @ values / n, [2.5, 97.5])
    # Equal values differ from their mean by rounding alone, which must not put it outside.
    return {"mean": mean, "ci95": [min(float(low), mean), max(float(high), mean)]}


@lru_cache(maxsize=4)
def _draws(n: int) -> Floats:
    """How often each of ``n`` values is in each resample, (RESAMPLES, n); the same for all."""
    rng = np.random.default_rng(0)
    return rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)
