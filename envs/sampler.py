"""Random fleets for training: what a policy should cope with, drawn and not written.

Ranges are wide around a few boards and a small vision model, so that native, interior cuts and
early cuts are each often the best. Every fleet of a draw has its own DNN, devices and links.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptoff.envs.links import Course, free_share, link_rates, log_uniform
from adaptoff.errors import InputError
from adaptoff.fleet import Bools, Fleet, Floats, Ints

MIN_CUTS = 3
LABEL_BYTES = 400.0


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
    dnn = _dnn(rng, n_fleets, limits.clusters, limits.cuts)
    n_clusters = rng.integers(1, limits.clusters + 1, (n_fleets, 1))
    weight = log_uniform(rng, 0.02, 2.0, (n_fleets,))
    return Fleet(
        **dnn,
        **_boards(rng, shape, limits.opps),
        min_cut=(rng.random(n_fleets) < 0.7).astype(np.int64),
        depth=np.ones(n_fleets),
        energy_weight=np.where(rng.random(n_fleets) < 0.15, 0.0, weight),
        heat_limit_c=rng.uniform(55.0, 90.0, n_fleets),
        active=np.arange(limits.clusters) < n_clusters,
        count=np.ceil(log_uniform(rng, 0.5, 6.0, shape)),
        batches=np.repeat(np.ceil(log_uniform(rng, 1.0, 40.0, (n_fleets, 1))), shape[1], 1),
        memory_limit_bytes=_memory_limit(rng, dnn["memory_bytes"], shape),
    )


def draw_course(rng: np.random.Generator, fleet: Fleet, rounds: int) -> Course:
    """Conditions of ``rounds`` rounds: levels of devices and links, and how they change."""
    shape = fleet.shape
    speed = log_uniform(rng, 0.02, 0.7, shape) * free_share(rng, rounds, shape)
    up_level = _link_level(rng, shape)
    asymmetry = np.where(rng.random(shape) < 0.5, 1.0, log_uniform(rng, 1.0, 8.0, shape))
    up_bps, down_bps = link_rates(rng, rounds, up_level, up_level * asymmetry)
    rtt_s = np.broadcast_to(log_uniform(rng, 2e-4, 0.06, shape), (rounds, *shape))
    server = log_uniform(rng, 0.5, 4.0, shape[:1]) * free_share(rng, rounds, shape[:1])
    return Course(speed, up_bps, down_bps, rtt_s, server)


def _link_level(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Mean uplink rates (F, G): a fleet's links lie around a level of its own."""
    level = log_uniform(rng, 4e6, 3e8, (shape[0], 1))
    return level * log_uniform(rng, 0.25, 4.0, shape)


def _dnn(rng: np.random.Generator, n_fleets: int, n_clusters: int, most: int) -> dict[str, Any]:
    """Columns (F, C) of random DNNs in training, padded with their native cut."""
    n_cuts = rng.integers(MIN_CUTS, most + 1, n_fleets)
    at = np.minimum(np.arange(most), n_cuts[:, None] - 1)
    inner = at < n_cuts[:, None] - 1
    done = _grow(rng, n_cuts, most, 0.0)
    learned = _grow(rng, n_cuts, most, 3.0)
    work_s = log_uniform(rng, 0.005, 0.15, (n_fleets, 1))
    params = log_uniform(rng, 1e5, 6e7, (n_fleets, 1))
    up_bytes = np.where(inner, _activations(rng, n_fleets, most), 0.0)
    return {
        "n_cuts": n_cuts,
        "device_work_s": np.repeat((work_s * done)[:, None], n_clusters, 1),
        "server_work_s": np.where(inner, work_s * (1.02 - done), 0.0),
        "up_bytes": up_bytes,
        "down_bytes": np.where(at > 0, np.maximum(up_bytes - LABEL_BYTES, 0.0), 0.0),
        "sync_bytes": params * learned,
        "memory_bytes": 3 * params * learned + 2 * np.cumsum(up_bytes, 1) * (at > 0),
    }


def _grow(rng: np.random.Generator, n_cuts: Ints, most: int, late: float) -> Floats:
    """Shares (F, C) on the device: 0 at cut 0, 1 from native on; ``late`` puts more at the end."""
    step = np.arange(1, most)
    real = step < n_cuts[:, None]
    blocks = rng.gamma(1.5, 1.0, real.shape) * np.exp(late * step / n_cuts[:, None]) * real + 1e-3
    total = np.cumsum(blocks * real, 1)
    return np.concatenate([np.zeros((len(n_cuts), 1)), total / total[:, -1:]], 1)


def _activations(rng: np.random.Generator, n_fleets: int, most: int) -> Floats:
    """Bytes up (F, C) per batch: widest after the first block, then shrinking unevenly."""
    raw = log_uniform(rng, 5e4, 6e6, (n_fleets, 1))
    widest = raw * log_uniform(rng, 1.0, 20.0, (n_fleets, 1))
    fall = log_uniform(rng, 0.25, 0.9, (n_fleets, 1))
    bumps = np.exp(rng.normal(0.0, 0.6, (n_fleets, most - 1)))
    inside = widest * fall ** np.arange(most - 1) * bumps
    return np.clip(np.concatenate([raw, inside], 1), 2e3, 4e7) + LABEL_BYTES


def _boards(rng: np.random.Generator, shape: tuple[int, int], most: int) -> dict[str, Any]:
    idle_w = log_uniform(rng, 0.4, 4.0, shape)
    peak_w = log_uniform(rng, 0.5, 8.0, shape)
    ambient_c = rng.uniform(10.0, 40.0, shape)
    hottest_c = ambient_c + rng.uniform(10.0, 70.0, shape)
    return {
        **_opp_tables(rng, peak_w, most),
        "idle_w": idle_w,
        "radio_w": log_uniform(rng, 0.1, 2.0, shape),
        "ambient_c": ambient_c,
        "heat_c_per_w": (hottest_c - ambient_c) / (idle_w + peak_w),
        "heat_tau_s": log_uniform(rng, 10.0, 300.0, shape),
        "trip_c": rng.uniform(65.0, 90.0, shape),
    }


def _opp_tables(rng: np.random.Generator, peak_w: Floats, most: int) -> dict[str, Any]:
    """Relative speeds and watts (F, G, K): a memory-bound share does not follow the clock."""
    shape = (*peak_w.shape, 1)
    n_opps = rng.integers(1, most + 1, peak_w.shape)
    lowest, bound = rng.uniform(0.25, 0.7, shape), rng.uniform(0.0, 0.6, shape)
    place = np.minimum(np.arange(most) / np.maximum(n_opps[..., None] - 1, 1), 1.0)
    clock = np.where(n_opps[..., None] > 1, lowest + (1 - lowest) * place, 1.0)
    return {
        "n_opps": n_opps,
        "relative_speed": 1 / (bound + (1 - bound) / clock),
        "dynamic_w": peak_w[..., None] * clock ** rng.uniform(1.0, 3.0, shape),
    }


def _memory_limit(rng: np.random.Generator, memory: Floats, shape: tuple[int, int]) -> Floats:
    """Bytes (F, G): ample for most, for some less than the widest cut needs."""
    tight: Bools = rng.random(shape) < 0.15
    return np.where(tight, memory.max(1)[:, None] * rng.uniform(0.3, 1.0, shape), 1e15)
