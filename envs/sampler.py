"""Random fleets for training: what a policy should cope with, drawn and not written.

Every fleet of a draw has its own DNN, devices, links and noise. The ranges cover what evaluation's
trials meet, without being theirs: no measured DNN, board or trace is in them, only the movement of
links that was fitted to traces. Native, interior cuts and early cuts are each often the best.
"""

from dataclasses import dataclass

import numpy as np

from adaptoff.envs import random_boards, random_dnns
from adaptoff.envs.links import Course, free_share, link_rates
from adaptoff.envs.random_dnns import MIN_CUTS
from adaptoff.errors import InputError
from adaptoff.fleet import Bools, Fleet, Floats
from adaptoff.processes import log_uniform

SPEED_DECADES = 1.5
"""between the devices of one fleet"""
PIPELINED = 0.15
"""share of fleets with 2 to 8 micro-batches in flight"""
MOST_NOISE = 0.1


@dataclass(frozen=True)
class Limits:
    """Padded sizes: every drawn fleet has at most this many clusters, cuts and OPPs."""

    clusters: int = 5
    cuts: int = 9
    opps: int = 4

    def __post_init__(self) -> None:
        """Raises InputError for sizes that no fleet can have."""
        fits = self.clusters >= 1 and self.cuts >= MIN_CUTS and self.opps >= 1
        if not fits or self.cuts * self.opps > 64:
            raise InputError(
                f"limits {self}: clusters and opps from 1, cuts from {MIN_CUTS}, cuts x opps to 64"
            )


class RandomFleets:
    """A source of ``n_fleets`` random fleets and ``rounds`` rounds of conditions for each."""

    def __init__(self, n_fleets: int, rounds: int, limits: Limits | None = None) -> None:
        if n_fleets < 1 or rounds < 1:
            raise InputError(f"{n_fleets} fleets, {rounds} rounds: at least one of each")
        self.n_fleets, self.rounds, self.limits = n_fleets, rounds, limits or Limits()

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        """Fleets and the course of their conditions; the same seed gives the same."""
        rng = np.random.default_rng(seed)
        fleet = draw_fleet(rng, self.n_fleets, self.limits)
        return fleet, draw_course(rng, fleet, self.rounds + 1)


def draw_fleet(rng: np.random.Generator, n_fleets: int, limits: Limits) -> Fleet:
    """Static facts of ``n_fleets`` random fleets."""
    shape = (n_fleets, limits.clusters)
    dnn = random_dnns.draw(rng, *shape, limits.cuts)
    active = np.arange(limits.clusters) < rng.integers(1, limits.clusters + 1, (n_fleets, 1))
    weight = log_uniform(rng, 0.02, 2.0, (n_fleets,))
    pipelined = rng.random(n_fleets) < PIPELINED
    return Fleet(
        **dnn,
        **random_boards.draw(rng, active, limits.opps),
        min_cut=(rng.random(n_fleets) < 0.7).astype(np.int64),
        depth=_depths(rng, pipelined, limits.cuts),
        energy_weight=np.where(rng.random(n_fleets) < 0.2, 0.0, weight),
        active=active,
        count=np.ceil(log_uniform(rng, 0.5, 6.0, shape)),
        batches=np.repeat(np.ceil(log_uniform(rng, 1.0, 40.0, (n_fleets, 1))), shape[1], 1),
        memory_limit_bytes=_memory_limit(rng, dnn["memory_bytes"], shape),
    )


def draw_course(rng: np.random.Generator, fleet: Fleet, rounds: int) -> Course:
    """Conditions of ``rounds`` rounds: levels of devices and links, and how they change."""
    shape = fleet.shape
    slowest = log_uniform(rng, 0.004, 0.08, (shape[0], 1))
    speed = slowest * log_uniform(rng, 1.0, 10**SPEED_DECADES, shape)
    up_bps, down_bps = link_rates(rng, rounds, shape)
    server = log_uniform(rng, 0.5, 4.0, shape[:1])
    return Course(
        speed=speed * free_share(rng, rounds, shape),
        up_bps=up_bps,
        down_bps=down_bps,
        rtt_s=np.broadcast_to(log_uniform(rng, 2e-4, 0.06, shape), (rounds, *shape)),
        server_speed=server * free_share(rng, rounds, shape[:1]),
        noise=rng.uniform(0.0, MOST_NOISE, shape[0]),
    )


def _depths(rng: np.random.Generator, pipelined: Bools, n_ways: int) -> Floats:
    """Micro-batches in flight (F, W): all ways of a fleet have as many."""
    depth = np.where(pipelined, rng.integers(2, 9, len(pipelined)), 1.0)
    return np.repeat(depth[:, None], n_ways, 1)


def _memory_limit(rng: np.random.Generator, memory: Floats, shape: tuple[int, int]) -> Floats:
    """Bytes (F, G): ample for most, for some less than the widest cut needs."""
    tight: Bools = rng.random(shape) < 0.15
    return np.where(tight, memory.max(1)[:, None] * rng.uniform(0.3, 1.0, shape), 1e15)
