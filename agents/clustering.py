"""Devices -> clusters: k-means on telemetry, with ids that last and moves that need confirming.

Distances are in logarithms on fixed scales, so a factor means the same on every fleet. Below
``ALIKE`` a distance is measurement noise: the silhouette that chooses the number of clusters takes
no mean distance within a cluster for less. That also gives single devices a silhouette, and fleets
of equal devices one cluster.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from adaptoff.errors import InputError
from adaptoff.fleet import Floats, Ints
from adaptoff.messages import MAX_CLUSTERS

SCALES = np.array([1.0, 0.7, 0.7])
"""of log speed, log up, log down: a link weighs as much as the speed, mostly both ways alike"""
ALIKE = 0.4
CONFIRMATIONS = 2


class Clusters:
    """Clusters of one fleet over time; ``assign`` is called once a round."""

    def __init__(self) -> None:
        self._ids: Ints = np.zeros(0, np.int64)
        self._wanted: Ints = self._ids
        self._times: Ints = self._ids

    def assign(self, features: Floats) -> Sequence[int]:
        """Cluster id below ``MAX_CLUSTERS`` of each device, from (n_devices, 3) logarithms.

        Another number of devices than before starts afresh. Raises InputError for other shapes or
        numbers that are not finite.
        """
        if features.ndim != 2 or features.shape[1] != 3 or not np.isfinite(features).all():
            raise InputError(f"features {features.shape}: must be finite, (n_devices, 3)")
        labels = group(features * SCALES)
        if len(labels) != len(self._ids):
            self._ids, self._wanted = labels, labels
            self._times = np.zeros(len(labels), np.int64)
        self._confirm(matched(labels, self._ids))
        return [int(i) for i in self._ids]

    def _confirm(self, wanted: Ints) -> None:
        """Move the devices that were elsewhere often enough in a row."""
        again = np.where(wanted == self._wanted, self._times + 1, 1)
        self._times = np.where(wanted == self._ids, 0, again)
        self._ids = np.where(self._times >= CONFIRMATIONS, wanted, self._ids)
        self._wanted = wanted


def group(points: Floats) -> Ints:
    """Labels (n,) of points (n, 3); the number of clusters has the best silhouette."""
    best, labels = 0.0, np.zeros(len(points), np.int64)
    for k in range(2, min(MAX_CLUSTERS, len(np.unique(points, axis=0))) + 1):
        tried = KMeans(k, n_init=4, random_state=0).fit_predict(points).astype(np.int64)
        score = silhouette(points, tried)
        if score > best:
            best, labels = score, tried
    return labels


def silhouette(points: Floats, labels: Ints) -> float:
    """Mean over points of (b - a) / max(a, b), a at least ``ALIKE``; needs two labels or more."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    member = labels[:, None] == np.unique(labels)
    sizes = member.sum(0)
    own = np.where(member, sizes - 1, sizes)
    mean = (distances @ member) / np.maximum(own, 1)
    within = np.maximum(np.where(member, mean, 0.0).sum(1), ALIKE)
    nearest = np.where(member, np.inf, mean).min(1)
    return float(((nearest - within) / np.maximum(nearest, within)).mean())


def matched(labels: Ints, ids: Ints) -> Ints:
    """Labels renamed to the ids that they share most members with, by the Hungarian method."""
    overlap = np.zeros((int(labels.max(initial=0)) + 1, MAX_CLUSTERS))
    np.add.at(overlap, (labels, ids), 1.0)
    prefer_low = -1e-3 * np.arange(MAX_CLUSTERS)
    _, names = linear_sum_assignment(overlap + prefer_low, maximize=True)
    return np.asarray(names, np.int64)[labels]
