"""Building blocks of random processes: arrays (T, ...), T rounds first."""

import numpy as np

from adaptoff.fleet import Floats

OUTAGE = 0.25
"""a link is out while it has less than this share of its usual rate"""


def log_uniform(
    rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]
) -> Floats:
    """Numbers whose logarithms are uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def held(rng: np.random.Generator, fresh: Floats, rate: Floats | float) -> Floats:
    """``fresh`` (T, ...), each value held until, with probability ``rate``, a new one counts."""
    new = rng.random(fresh.shape) < rate
    new[0] = True
    rounds = np.arange(len(fresh)).reshape(-1, *[1] * (fresh.ndim - 1))
    return np.take_along_axis(fresh, np.maximum.accumulate(np.where(new, rounds, 0)), 0)


def autoregression(
    rng: np.random.Generator, rounds: int, rho: Floats, innovation: Floats
) -> Floats:
    """Stationary AR(1) (T, ...) about 0; ``innovation`` is the standard deviation of its steps."""
    steps = innovation * rng.standard_normal((rounds, *rho.shape))
    out = steps / np.sqrt(1 - rho**2)
    for t in range(1, rounds):
        out[t] = rho * out[t - 1] + steps[t]
    return out


def outages(
    rng: np.random.Generator,
    rounds: int,
    rate: Floats,
    mean_rounds: Floats | float,
    deepest: Floats | float,
) -> Floats:
    """Log factors (T, ...): uniform from ``deepest`` to log ``OUTAGE`` in outages, else 0.

    An outage starts with probability ``rate`` a round, never in the warm-up round, and lasts
    ``mean_rounds`` on average, geometrically distributed.
    """
    depth = rng.uniform(deepest, np.log(OUTAGE), (rounds, *rate.shape))
    draws = rng.random((rounds, *rate.shape))
    out = np.zeros(depth.shape, bool)
    for t in range(1, rounds):
        out[t] = draws[t] < np.where(out[t - 1], 1 - 1 / mean_rounds, rate)
    return np.where(out, depth, 0.0)
