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
    return np.take_along_axis(table, cut.reshape(len(cut), -1), 1).reshape(cut.shape)


def pick_opp(table: Floats, opp: Ints) -> Floats:
    """Values (F, G, K) at operating points (F, G) or (F, G, R)."""
    if opp.ndim == 3:
        return np.take_along_axis(table, opp, 2)
    return np.take_along_axis(table, opp[..., None], 2)[..., 0]


def first_least(values: Floats, group: Ints) -> Ints:
    """Position of the first least value (n,) of each group, whose numbers (n,) ascend."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    least = np.repeat(np.minimum.reduceat(values, starts), np.diff(starts, append=len(values)))
    place = np.where(values == least, np.arange(len(values)), len(values))
    return np.minimum.reduceat(place, starts)
