"""The fleets of the trials: real DNNs on measured boards, in surroundings that may bind."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from adaptoff.envs import boards
from adaptoff.fleet import ONE_PASS, Fleet, Floats, Ints
from adaptoff.processes import log_uniform
from adaptoff.profile import Profile
from adaptoff.scenario import Workload
from adaptoff.ways import Ways, column

CLUSTERS, MEMBERS = (2, 5), (1, 3)
BATCHES = (2.0, 40.0)
LOWEST_CUT_1 = 0.7
"""share of fleets whose raw inputs stay on the devices"""
UNWEIGHTED, ENERGY_WEIGHT = 0.2, (0.05, 1.0)
COOL_C, NO_LIMIT_C = (10.0, 30.0), 120.0
HOT_C, LIMIT_C = (28.0, 42.0), (55.0, 70.0)
SPARE = (0.15, 0.45)
"""where the power that holds the limit lies between the slowest clock's and the fastest one's"""


def draw(
    rng: np.random.Generator,
    profiles: Sequence[Profile],
    of: Ints,
    energy_weight: float | None,
    work: Workload,
    *,
    heat: bool,
) -> Fleet:
    """One fleet for each index ``of`` (F,) into the profiles; ``work`` says what levers it has."""
    shape = (len(of), CLUSTERS[1])
    n_clusters = rng.integers(CLUSTERS[0], CLUSTERS[1] + 1, (shape[0], 1))
    board = boards.columns(rng.integers(0, len(boards.BOARDS), shape))
    weight = _energy_weight(rng, shape[0])
    return Fleet(
        **{name: table[of] for name, table in dnns(profiles, shape[1], work).items()},
        **{**board, **_surroundings(rng, board, heat=heat)},
        min_cut=(rng.random(shape[0]) < LOWEST_CUT_1).astype(np.int64),
        energy_weight=weight if energy_weight is None else np.full(shape[0], energy_weight),
        active=np.arange(shape[1]) < n_clusters,
        count=rng.integers(MEMBERS[0], MEMBERS[1] + 1, shape).astype(float),
        batches=np.repeat(np.round(log_uniform(rng, *BATCHES, (shape[0], 1))), shape[1], 1),
    )


def dnns(profiles: Sequence[Profile], n_clusters: int, work: Workload) -> dict[str, Any]:
    """Columns (P, W) of the profiles, device work (P, G, W); padded with their native way."""
    ways = [Ways(profile, work).all for profile in profiles]
    most = max(len(each) for each in ways)

    def of_ways(name: str) -> Floats:
        rows = [column(p, w, name, p.batch_size) for p, w in zip(profiles, ways, strict=True)]
        return _padded(rows, most)

    names = "up_bytes", "down_bytes", "sync_bytes", "memory_bytes"
    return {
        **{name: of_ways(name) for name in names},
        "server_work_s": of_ways("server_s"),
        "device_work_s": np.repeat(of_ways("device_s")[:, None], n_clusters, 1),
        "cut": _padded([[way.cut for way in each] for each in ways], most).astype(np.int64),
        "depth": _padded([[way.depth for way in each] for each in ways], most),
        "n_ways": np.array([len(each) for each in ways]),
        "one_pass": np.array([ONE_PASS[profile.mode] for profile in profiles]),
    }


def _padded(rows: Sequence[list[Any]], most: int) -> Floats:
    """Rows (P, most), each with its last value again."""
    return np.array([row + row[-1:] * (most - len(row)) for row in rows], np.float64)


def _energy_weight(rng: np.random.Generator, n_fleets: int) -> Floats:
    drawn = log_uniform(rng, *ENERGY_WEIGHT, (n_fleets,))
    return np.where(rng.random(n_fleets) < UNWEIGHTED, 0.0, drawn)


def _surroundings(
    rng: np.random.Generator, board: dict[str, Any], *, heat: bool
) -> dict[str, Floats]:
    """Ambient temperatures and the heat limit; where it binds, how well each device is cooled.

    With ``heat``, the power whose settled temperature is the limit lies between what the slowest
    clock and what the fastest one can draw: whatever a device has done before, its slowest clock
    stays below the limit, and native goes above it if it computes long enough.
    """
    shape = board["idle_w"].shape
    if not heat:
        ambient_c = rng.uniform(*COOL_C, shape)
        return {"ambient_c": ambient_c, "heat_limit_c": np.full(shape[0], NO_LIMIT_C)}
    ambient_c, limit_c = rng.uniform(*HOT_C, shape), rng.uniform(*LIMIT_C, shape[0])
    least_w = np.maximum(board["dynamic_w"][..., 0], board["radio_w"])
    most_w = board["dynamic_w"][..., -1]
    holds_w = board["idle_w"] + least_w + rng.uniform(*SPARE, shape) * (most_w - least_w)
    return {
        "ambient_c": ambient_c,
        "heat_limit_c": limit_c,
        "heat_c_per_w": (limit_c[:, None] - ambient_c) / holds_w,
    }
