"""Candidate rows as a padded table, and the possible ones of them one after another."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from adaptoff.fleet import Bools, Floats, Ints, Options, Rows


@dataclass(frozen=True)
class Table:
    """Candidate rows, (F, G, R), and which of them are possible."""

    rows: Rows
    valid: Bools

    @cached_property
    def options(self) -> Options:
        """The possible rows, in order: every cluster has at least one."""
        fleet, cluster, _ = np.nonzero(self.valid)
        return Options(fleet, cluster, *(v[self.valid] for v in (self.rows.way, self.rows.opp)))

    @cached_property
    def whose(self) -> Ints:
        """Cluster of each option, numbered over all fleets, (V,)."""
        return self.options.fleet * self.valid.shape[1] + self.options.cluster

    @cached_property
    def every(self) -> Ints:
        """Positions of all options, (V,)."""
        return np.arange(len(self.whose))

    @cached_property
    def _place(self) -> Ints:
        """Where the options are among all rows, (V,)."""
        return np.flatnonzero(self.valid)

    @cached_property
    def _starts(self) -> Ints:
        """Where each cluster's options begin, (F * G,)."""
        n_rows = self.valid.sum(2).ravel()
        return np.cumsum(n_rows) - n_rows

    @cached_property
    def _first(self) -> Ints:
        """Where each cluster's rows begin among all rows, (F, G)."""
        n_fleets, n_clusters, n_rows = self.valid.shape
        return (np.arange(n_fleets * n_clusters) * n_rows).reshape(n_fleets, n_clusters)

    @cached_property
    def _positions(self) -> Ints:
        """Where each row is among the options, or the possible one before it, (F * G * R,)."""
        before = np.maximum(np.cumsum(self.valid, 2) - 1, 0)
        return (before + self._starts.reshape(*self.valid.shape[:2], 1)).ravel()

    def find(self, rows: Rows) -> tuple[Ints, Bools]:
        """Where ``rows`` (F, G) are, 0 if they are impossible, and which are possible."""
        same = (self.rows.way == rows.way[..., None]) & (self.rows.opp == rows.opp[..., None])
        same &= self.valid
        index = same.argmax(2)
        return index, same.take(index + self._first)

    def position(self, index: Ints) -> Ints:
        """Where the possible rows at ``index`` (F, G) are among the options."""
        return self._positions.take(index + self._first)

    def spread(self, values: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
        """Values (V, ...) of the options as (F, G, R, ...), ``fill`` in impossible rows."""
        padded = np.full((self.valid.size, *values.shape[1:]), fill, values.dtype)
        padded[self._place] = values
        return padded.reshape(*self.valid.shape, *values.shape[1:])

    def least(self, values: Floats) -> Floats:
        """Smallest of the options' values (..., V) in each cluster, (..., F, G)."""
        least = np.minimum.reduceat(values, self._starts, -1)
        return least.reshape(*values.shape[:-1], *self.valid.shape[:2])

    def at_least(self, values: Floats) -> Ints:
        """Position (F, G) among the options (V,) of each cluster's first smallest value."""
        least = np.minimum.reduceat(values, self._starts).take(self.whose)
        place = np.where(values == least, self.every, len(values))
        return np.minimum.reduceat(place, self._starts).reshape(self.valid.shape[:2])

    def take(self, index: Ints) -> Rows:
        """The rows at ``index`` (F, G)."""
        at = index + self._first
        return Rows(self.rows.way.take(at), self.rows.opp.take(at))
