"""Random processes of one episode: links, background load, server speed.

All are drawn ahead for the whole episode, so they cannot depend on actions. Axis T counts rounds
and comes first; T = 0 is the warm-up round. The logarithm of a rate is a level, which jumps anew
now and then, plus an AR(1), plus outages; a part of the links moves as real traces do (``fitted``).
"""

from dataclasses import dataclass

import numpy as np

from adaptoff import fitted
from adaptoff.fleet import Bools, Conditions, Floats
from adaptoff.processes import autoregression, held, outages

LEVEL_BPS, LIMITS_BPS = (1e6, 1e9), (1e5, 10e9)
CALM, FITTED = 0.25, 0.5
"""shares of links: up to the first hardly change, as on a shaped testbed; from there to the second
they move as a family of real traces does; the others by drawn parameters"""
CALM_SD = 0.02
AR, MOST_INNOVATION = (0.5, 0.99), 0.6
MOST_SD = 1.2
"""stationary; a slow process with large steps would leave any sane range"""
MOST_JUMPS = 0.1
MOST_OUTAGES, OUTAGE_ROUNDS, OUTAGE_DEEPEST = 0.03, (1.0, 4.0), 0.03
IDLE, REDRAWN = 0.3, 0.7
"""shares of processors: without hidden load, with one that is redrawn; the others' moves slowly"""
MOST_LOAD, MOST_REDRAWS = 0.8, 0.2


@dataclass(frozen=True)
class Course:
    """Conditions of all rounds of an episode; temperatures follow from what is done."""

    speed: Floats  # (T, F, G) reference cores at the fastest OPP, load taken off
    up_bps: Floats  # (T, F, G)
    down_bps: Floats  # (T, F, G)
    rtt_s: Floats  # (T, F, G)
    server_speed: Floats  # (T, F)
    noise: Floats | None = None
    """(F,) standard deviation of the logarithm of what is measured; None: as the backend has it"""

    def at(self, round_: int, temp_c: Floats) -> Conditions:
        """Conditions of a round; after the last one, its conditions hold on."""
        t = min(round_, len(self.speed) - 1)
        return Conditions(
            speed=self.speed[t],
            up_bps=self.up_bps[t],
            down_bps=self.down_bps[t],
            rtt_s=self.rtt_s[t],
            temp_c=temp_c,
            server_speed=self.server_speed[t],
        )


def link_rates(
    rng: np.random.Generator, rounds: int, shape: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Rates up and down (T, F, G); the links of a fleet lie in a range of its own.

    Both directions share most of their fate; half of the downlinks are up to ten times as fast.
    """
    place = rng.random(shape)
    calm, real = place < CALM, (place >= CALM) & (place < FITTED)
    level = held(rng, _levels(rng, rounds, shape), _jump_rate(rng, ~(calm | real)))
    rho, innovation = _drawn(rng, shape, calm)
    moves = autoregression(rng, rounds, rho, innovation) + _outages(rng, rounds, ~calm)
    family = fitted.pick(rng.integers(0, len(fitted.FAMILIES), shape))
    up = level + np.where(real, fitted.moves(rng, rounds, family), moves)
    asymmetry = np.where(rng.random(shape) < 0.5, 0.0, rng.uniform(0.0, np.log(10.0), shape))
    down = up + asymmetry + autoregression(rng, rounds, rho, innovation / 4)
    return _rates(up), _rates(down)


def free_share(rng: np.random.Generator, rounds: int, shape: tuple[int, ...]) -> Floats:
    """Share (T, ...) of a processor that hidden background load leaves, 0.2 to 1."""
    kind, most = rng.random(shape), rng.uniform(0.0, MOST_LOAD, shape)
    anew = most * rng.random((rounds, *shape))
    redrawn = held(rng, anew, rng.uniform(0.0, MOST_REDRAWS, shape))
    rho = rng.uniform(0.9, 0.99, shape)
    slow = most * np.abs(autoregression(rng, rounds, rho, 0.5 * np.sqrt(1 - rho**2)))
    load = np.where(kind < IDLE, 0.0, np.where(kind < REDRAWN, redrawn, slow))
    return 1 - np.minimum(load, MOST_LOAD)


def _levels(rng: np.random.Generator, rounds: int, shape: tuple[int, int]) -> Floats:
    """Logarithms (T, F, G), uniform over each fleet's own range."""
    ends = np.sort(rng.uniform(np.log(LEVEL_BPS[0]), np.log(LEVEL_BPS[1]), (2, shape[0], 1)), 0)
    return rng.uniform(ends[0], ends[1], (rounds, *shape))


def _jump_rate(rng: np.random.Generator, jumps: Bools) -> Floats:
    return np.where(jumps, rng.uniform(0.0, MOST_JUMPS, jumps.shape), 0.0)


def _drawn(rng: np.random.Generator, shape: tuple[int, int], calm: Bools) -> tuple[Floats, Floats]:
    """AR coefficients and innovations (F, G)."""
    rho = rng.uniform(*AR, shape)
    widest = np.sqrt(1 - rho**2)
    innovation = np.minimum(rng.uniform(0.0, MOST_INNOVATION, shape), MOST_SD * widest)
    return rho, np.where(calm, CALM_SD * widest, innovation)


def _outages(rng: np.random.Generator, rounds: int, some: Bools) -> Floats:
    rate = np.where(some, rng.uniform(0.0, MOST_OUTAGES, some.shape), 0.0)
    length = rng.uniform(*OUTAGE_ROUNDS, some.shape)
    return outages(rng, rounds, rate, length, np.log(OUTAGE_DEEPEST))


def _rates(logs: Floats) -> Floats:
    return np.clip(np.exp(logs), *LIMITS_BPS)
