"""Values of fleets, clusters, cuts and operating points, at rows (F, G) or options (V,)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from adaptoff.fleet import Floats, Ints, Options, Rows


def of_fleet(values: npt.NDArray[Any], rows: Rows | Options) -> npt.NDArray[Any]:
    """Values (F,) for rows (F, G) or options (V,)."""
    return values[rows.fleet] if isinstance(rows, Options) else values[:, None]


def of_cluster(values: npt.NDArray[Any], rows: Rows | Options) -> npt.NDArray[Any]:
    """Values (F, G) for rows (F, G) or options (V,)."""
    return values[rows.fleet, rows.cluster] if isinstance(rows, Options) else values


def of_cut(table: Floats, rows: Rows | Options) -> Floats:
    """Values (F, C) or (F, G, C) at the cuts of rows (F, G) or options (V,)."""
    if isinstance(rows, Rows):
        return pick_cut(table, rows.cut)
    if table.ndim == 3:
        return table[rows.fleet, rows.cluster, rows.cut]
    return table[rows.fleet, rows.cut]


def of_opp(table: Floats, rows: Rows | Options) -> Floats:
    """Values (F, G, K) at the operating points of rows (F, G) or options (V,)."""
    if isinstance(rows, Rows):
        return pick_opp(table, rows.opp)
    return table[rows.fleet, rows.cluster, rows.opp]


def pick_cut(table: Floats, cut: Ints) -> Floats:
    """Values (F, C) or (F, G, C) at cuts (F, G) or (F, G, R)."""
    if table.ndim == 3:
        return pick_opp(table, cut)
    fleet = np.arange(len(table))
    return table[fleet.reshape(-1, *[1] * (cut.ndim - 1)), cut]


def pick_opp(table: Floats, opp: Ints) -> Floats:
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
