"""Random processes of one episode: links, background load, server speed.

All are drawn ahead for the whole episode, so they cannot depend on actions. Axis T counts rounds
and comes first; T = 0 is the warm-up round. Logarithms follow an AR(1) with level jumps; links
also have outages. Ranges cover home, campus and cellular links as in public throughput traces.
"""

from dataclasses import dataclass

import numpy as np

from adaptoff.fleet import Conditions, Floats
from adaptoff.traces import FLOOR_BPS

CEILING_BPS = 10e9
CALM_SHARE = 0.3
"""links that hardly change, as on a shaped testbed"""
BUSY_SHARE = 0.5
"""processors with background load"""
JUMP_SD = 0.8
JUMP_KEEP = 0.97
"""share of a jump that is left a round later"""


@dataclass(frozen=True)
class Course:
    """Conditions of all rounds of an episode; temperatures follow from what is done."""

    speed: Floats  # (T, F, G) reference cores at the fastest OPP, load taken off
    up_bps: Floats  # (T, F, G)
    down_bps: Floats  # (T, F, G)
    rtt_s: Floats  # (T, F, G)
    server_speed: Floats  # (T, F)

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


def log_uniform(
    rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]
) -> Floats:
    """Numbers whose logarithms are uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def wander(
    rng: np.random.Generator, rounds: int, rho: Floats, sigma: Floats, jump_rate: Floats
) -> Floats:
    """Log factors (T, ...): AR(1) of standard deviation ``sigma`` plus slowly fading jumps.

    ``rho`` is the correlation from round to round, ``jump_rate`` the chance of a jump per round,
    all shaped alike.
    """
    noise = np.zeros((rounds, *rho.shape))
    level = np.zeros((rounds, *rho.shape))
    noise[0] = sigma * rng.standard_normal(rho.shape)
    for t in range(1, rounds):
        fresh = np.sqrt(1 - rho**2) * rng.standard_normal(rho.shape)
        jump = rng.normal(0.0, JUMP_SD, rho.shape) * (rng.random(rho.shape) < jump_rate)
        noise[t] = rho * noise[t - 1] + sigma * fresh
        level[t] = JUMP_KEEP * level[t - 1] + jump
    return noise + level


def outages(rng: np.random.Generator, rounds: int, rate: Floats) -> Floats:
    """Log factors (T, ...) of 3-20 % of the rate for one to three rounds, else 0."""
    depth = np.log(log_uniform(rng, 0.03, 0.2, (rounds, *rate.shape)))
    starts = rng.random((rounds, *rate.shape)) < rate
    length = rng.integers(1, 4, starts.shape)
    out = np.zeros_like(depth)
    for age in range(3):
        hit = starts[: rounds - age] & (length[: rounds - age] > age)
        out[age:] = np.where(hit, depth[: rounds - age], out[age:])
    out[0] = 0.0
    return out


def link_rates(
    rng: np.random.Generator, rounds: int, up_bps: Floats, down_bps: Floats
) -> tuple[Floats, Floats]:
    """Rates (T, F, G) around the given levels (F, G); both directions share most of their fate."""
    shape = up_bps.shape
    rho = rng.uniform(0.5, 0.98, shape)
    calm = rng.random(shape) < CALM_SHARE
    sigma = np.where(calm, 0.02, log_uniform(rng, 0.05, 0.6, shape))
    jump_rate = np.where(calm, 0.0, rng.uniform(0.0, 0.06, shape))
    shared = wander(rng, rounds, rho, sigma, jump_rate)
    shared += outages(rng, rounds, np.where(calm, 0.0, rng.uniform(0.0, 0.015, shape)))
    own = [wander(rng, rounds, rho, sigma / 3, np.zeros(shape)) for _ in range(2)]
    up, down = (np.exp(np.log(level) + shared + mine) for level, mine in
                zip((up_bps, down_bps), own, strict=True))  # fmt: skip
    return np.clip(up, FLOOR_BPS, CEILING_BPS), np.clip(down, FLOOR_BPS, CEILING_BPS)


def free_share(rng: np.random.Generator, rounds: int, shape: tuple[int, ...]) -> Floats:
    """Share (T, ...) of a processor that hidden background load leaves, 0.15 to 1."""
    busy = rng.random(shape) < BUSY_SHARE
    sigma = np.where(busy, rng.uniform(0.02, 0.3, shape), 0.01)
    jump_rate = np.where(busy, rng.uniform(0.0, 0.06, shape), 0.0)
    rho = rng.uniform(0.5, 0.95, shape)
    return np.clip(np.exp(-np.abs(wander(rng, rounds, rho, sigma, jump_rate))), 0.15, 1.0)
