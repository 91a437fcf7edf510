"""Random fleets and states, changed for a purpose, and a scenario for processes."""

from dataclasses import replace
from typing import Any

import numpy as np

from adaptoff.fleet import Fleet, FleetState

OF_THE_DNN = {
    "server_work_s", "up_bytes", "down_bytes", "sync_bytes", "memory_bytes", "cut", "depth",
}  # fmt: skip

TWO_DEVICES = """
name = "small"
workload = {batch_size = 8, batches = 2, rounds = 2}
boards.a.speed = 0.4
boards.a.opps = [{mhz = 600, relative_speed = 1.0, dynamic_w = 1.0}]
links.l.steps = [{up_mbps = 50, down_mbps = 50}]
devices = [{board = "a", link = "l", count = 2}]
"""


def calm(fleet: Fleet, state: FleetState) -> tuple[Fleet, FleetState]:
    """Nothing moves and nothing is too hot."""
    still, limit_c = np.zeros(fleet.shape), np.full(fleet.shape[0], 1e9)
    return (
        replace(fleet, heat_limit_c=limit_c),
        replace(state, volatility=still, speed_volatility=still),
    )


def of_clusters(arrays: Any, which: list[int]) -> Any:
    """A fleet, or its state, with those clusters in this order."""
    shape = (arrays.active if isinstance(arrays, Fleet) else arrays.speed).shape
    picked = {
        name: value[:, which]
        for name, value in vars(arrays).items()
        if value.shape[:2] == shape and name not in OF_THE_DNN
    }
    return replace(arrays, **picked)
