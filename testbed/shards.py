"""Who trains on what: disjoint shards of the training set, alike or skewed."""

import numpy as np

from adaptoff.errors import DatasetError
from adaptoff.testbed.models import CLASSES
from adaptoff.testbed.samples import Indices, Labels

ALPHA = (0.01, 1000)


def shards(labels: Labels, n_devices: int, seed: int, alpha: float | None = None) -> list[Indices]:
    """Disjoint, non-empty, sorted indices into ``labels``, one array per device.

    IID without ``alpha``; else each class is dealt out by a Dirichlet draw of concentration
    ``alpha``: the smaller, the fewer classes a device sees. Raises DatasetError for more devices
    than samples, and for an ``alpha`` outside 0.01..1000.
    """
    if not 1 <= n_devices <= len(labels):
        raise DatasetError(f"{n_devices} devices: {len(labels)} samples allow 1 to {len(labels)}")
    rng = np.random.default_rng(seed)
    if alpha is None:
        parts = np.array_split(rng.permutation(len(labels)), n_devices)
    else:
        parts = _dirichlet(labels, n_devices, alpha, rng)
    return [np.sort(part) for part in parts]


def _dirichlet(
    labels: Labels, n_devices: int, alpha: float, rng: np.random.Generator
) -> list[Indices]:
    if not ALPHA[0] <= alpha <= ALPHA[1]:
        raise DatasetError(f"alpha {alpha}: allowed are {ALPHA[0]} to {ALPHA[1]}")
    parts: list[list[Indices]] = [[] for _ in range(n_devices)]
    for label in range(CLASSES):
        members = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(n_devices, alpha))
        bounds = (np.cumsum(shares)[:-1] * len(members)).round().astype(np.int64)
        for part, dealt in zip(parts, np.split(members, bounds), strict=True):
            part.append(dealt)
    return _fill_empty([rng.permutation(np.concatenate(part)) for part in parts])


def _fill_empty(parts: list[Indices]) -> list[Indices]:
    """Give each device that drew nothing one sample of the device that has most."""
    for index, part in enumerate(parts):
        if len(part) == 0:
            richest = max(range(len(parts)), key=lambda other: len(parts[other]))
            parts[index], parts[richest] = parts[richest][:1], parts[richest][1:]
    return parts
