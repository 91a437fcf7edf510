"""Values of fleets, clusters, ways and operating points, at rows (F, G) or options (V,)."""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from adaptoff.fleet import Floats, Ints, Options, Rows

T = TypeVar("T", bound=np.generic)


def of_fleet(values: npt.NDArray[Any], rows: Rows | Options) -> npt.NDArray[Any]:
    """Values (F,) for rows (F, G) or options (V,)."""
    return values[rows.fleet] if isinstance(rows, Options) else values[:, None]


def of_cluster(values: npt.NDArray[Any], rows: Rows | Options) -> npt.NDArray[Any]:
    """Values (F, G) for rows (F, G) or options (V,)."""
    return values[rows.fleet, rows.cluster] if isinstance(rows, Options) else values


def of_way(table: npt.NDArray[T], rows: Rows | Options) -> npt.NDArray[T]:
    """Values (F, W) or (F, G, W) at the ways of rows (F, G) or options (V,)."""
    if isinstance(rows, Rows):
        return pick_way(table, rows.way)
    if table.ndim == 3:
        return table[rows.fleet, rows.cluster, rows.way]
    return table[rows.fleet, rows.way]


def of_opp(table: npt.NDArray[T], rows: Rows | Options) -> npt.NDArray[T]:
    """Values (F, G, K) at the operating points of rows (F, G) or options (V,)."""
    if isinstance(rows, Rows):
        return pick_opp(table, rows.opp)
    return table[rows.fleet, rows.cluster, rows.opp]


def pick_way(table: npt.NDArray[T], way: Ints) -> npt.NDArray[T]:
    """Values (F, W) or (F, G, W) at ways (F, G) or (F, G, R)."""
    if table.ndim == 3:
        return pick_opp(table, way)
    fleet = np.arange(len(table))
    return table[fleet.reshape(-1, *[1] * (way.ndim - 1)), way]


def pick_opp(table: npt.NDArray[T], opp: Ints) -> npt.NDArray[T]:
    """Values (F, G, K) at operating points (F, G) or (F, G, R)."""
    fleet, cluster = np.arange(len(table))[:, None], np.arange(table.shape[1])
    if opp.ndim == 3:
        return table[fleet[..., None], cluster[:, None], opp]
    return table[fleet, cluster, opp]


def first_least(values: Floats, group: Ints) -> Ints:
    """Position of the first least value (n,) of each group, which are numbered 0, 1, ... (n,)."""
    starts = group.searchsorted(np.arange(group[-1] + 1))
    least = np.minimum.reduceat(values, starts).take(group)
    place = np.where(values == least, np.arange(len(values)), len(values))
    return np.minimum.reduceat(place, starts)
