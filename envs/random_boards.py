"""Random boards for training, and where they stand; ranges lie well around the measured ones.

What was measured (``boards``): 1.4 to 3.9 W at rest, 2.3 to 9.3 W more at the fastest clock, the
slowest clock 0.35 to 0.71 as fast, 3.5 to 13 C/W, tau 20 to 200 s, throttling from 80 C on.
"""

from typing import Any

import numpy as np

from adaptoff.fleet import Bools, Floats
from adaptoff.processes import log_uniform

HOT = 0.65
"""share of fleets whose heat limit binds for native, if its devices compute most of the time"""


def draw(rng: np.random.Generator, active: Bools, most: int) -> dict[str, Any]:
    """Board fields of a Fleet (F, G), and its heat limit; up to ``most`` OPPs."""
    shape = active.shape
    peak_w = log_uniform(rng, 0.5, 12.0, shape)
    board = {
        **_opp_tables(rng, peak_w, most),
        "idle_w": log_uniform(rng, 0.4, 6.0, shape),
        "radio_w": log_uniform(rng, 0.1, 2.0, shape),
        "heat_tau_s": log_uniform(rng, 10.0, 400.0, shape),
        "trip_c": rng.uniform(65.0, 100.0, shape),
    }
    return {**board, **_heat(rng, board, active)}


def _opp_tables(rng: np.random.Generator, peak_w: Floats, most: int) -> dict[str, Any]:
    """Relative speeds and watts (F, G, K): a memory-bound share does not follow the clock."""
    shape = (*peak_w.shape, 1)
    n_opps = rng.integers(1, most + 1, peak_w.shape)
    lowest, bound = rng.uniform(0.2, 0.7, shape), rng.uniform(0.0, 0.6, shape)
    place = np.minimum(np.arange(most) / np.maximum(n_opps[..., None] - 1, 1), 1.0)
    clock = np.where(n_opps[..., None] > 1, lowest + (1 - lowest) * place, 1.0)
    return {
        "n_opps": n_opps,
        "relative_speed": 1 / (bound + (1 - bound) / clock),
        "dynamic_w": peak_w[..., None] * clock ** rng.uniform(1.0, 3.0, shape),
    }


def _heat(rng: np.random.Generator, board: dict[str, Any], active: Bools) -> dict[str, Floats]:
    """Ambient temperatures, cooling and the fleets' heat limits.

    In a hot fleet the power whose settled temperature is the limit lies between what a device can
    draw at its slowest clock and at its fastest; elsewhere native at full load stays below it.
    """
    shape = active.shape
    ambient_c = rng.uniform(5.0, 45.0, shape)
    native_w = board["idle_w"] + board["dynamic_w"][..., -1]
    frugal_w = board["idle_w"] + np.maximum(board["dynamic_w"][..., 0], board["radio_w"])
    holds_w = frugal_w + rng.random(shape) * np.maximum(native_w - frugal_w, 0.0)
    rise_c = rng.uniform(10.0, 70.0, shape)
    hottest_c = np.where(active, ambient_c + rise_c, 0.0).max(1)
    hot = rng.random((shape[0], 1)) < HOT
    low_c, spare_c = rng.uniform(50.0, 90.0, shape[0]), rng.uniform(1.0, 30.0, shape[0])
    limit_c = np.where(hot[:, 0], low_c, hottest_c + spare_c)
    cooled = np.where(hot, (limit_c[:, None] - ambient_c) / holds_w, rise_c / native_w)
    return {"ambient_c": ambient_c, "heat_limit_c": limit_c, "heat_c_per_w": cooled}
