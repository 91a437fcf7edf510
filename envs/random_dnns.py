"""Random DNNs for training: their cuts' work, bytes and memory, as columns of a Fleet."""

from typing import Any

import numpy as np

from adaptoff.fleet import ONE_PASS, Floats, Ints
from adaptoff.processes import log_uniform

MIN_CUTS = 3
LABEL_BYTES = 400.0
INFERENCE = 0.15
"""share of DNNs that only answer: no gradient comes back and no weights are averaged"""


def draw(rng: np.random.Generator, n_fleets: int, n_clusters: int, most: int) -> dict[str, Any]:
    """Columns (F, C), device work (F, G, C), of ``MIN_CUTS`` to ``most`` cuts.

    Padded with their native cut.
    """
    n_cuts = rng.integers(MIN_CUTS, most + 1, n_fleets)
    at = np.minimum(np.arange(most), n_cuts[:, None] - 1)
    inner = at < n_cuts[:, None] - 1
    done = _grow(rng, n_cuts, most, 0.0)
    learned = _grow(rng, n_cuts, most, 3.0)
    work_s = log_uniform(rng, 0.005, 0.15, (n_fleets, 1))
    params = log_uniform(rng, 1e5, 6e7, (n_fleets, 1))
    answers = rng.random((n_fleets, 1)) < INFERENCE
    up_bytes = np.where(inner, _activations(rng, n_fleets, most), 0.0)
    gradient = np.where(at > 0, np.maximum(up_bytes - LABEL_BYTES, 0.0), 0.0)
    answer = np.where(inner, log_uniform(rng, 10.0, 4e3, (n_fleets, 1)), 0.0)
    held = np.where(answers, up_bytes, 2 * np.cumsum(up_bytes, 1))
    return {
        "n_ways": n_cuts,
        "cut": at,
        "one_pass": np.where(answers[:, 0], ONE_PASS["inference"], ONE_PASS["training"]),
        "device_work_s": np.repeat((work_s * done)[:, None], n_clusters, 1),
        "server_work_s": np.where(inner, work_s * (1.02 - done), 0.0),
        "up_bytes": up_bytes,
        "down_bytes": np.where(answers, answer, gradient),
        "sync_bytes": np.where(answers, 0.0, params * learned),
        "memory_bytes": np.where(answers, 1, 3) * params * learned + held * (at > 0),
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
