"""How far the cost model's shared server is from a simulated one, on fleets where it matters.

``python -m tests.envs.sharing [FLEETS]`` prints what the decision on mean occupancy says.
"""

import sys
from dataclasses import replace

import numpy as np

from adaptoff import cost
from adaptoff.envs.sampler import RandomFleets
from adaptoff.fleet import Floats, Rows
from tests.envs.reference import Device, devices_of, play, total_s
from tests.envs.simulation import Jitter, round_s

MOST_BATCHES = 12
MATTERS = 1.05
"""a round that the sharing makes so many times as long"""
VARIED = [Jitter(seed) for seed in range(5)]


def shared_rounds(n_fleets: int, seed: int) -> list[list[Device]]:
    """Random fleets in any rows, as the sampler draws them, if sharing the server matters."""
    found: list[list[Device]] = []
    rng = np.random.default_rng(seed)
    while len(found) < n_fleets:
        fleet, course = RandomFleets(64, 1).draw(int(rng.integers(2**31)))
        cut = rng.integers(0, fleet.n_ways[:, None], fleet.shape)
        rows, at = Rows(cut, rng.integers(0, fleet.n_opps)), course.at(0, fleet.ambient_c)
        drawn = [_shortened(devices_of(fleet, at, rows, f)) for f in range(64)]
        found += [devices for devices in drawn if _sharing(devices) > MATTERS]
    return found[:n_fleets]


def errors(fleets: list[list[Device]]) -> dict[str, Floats]:
    """The model's round over the simulated one, less 1, for each fleet and kind of server."""
    model = np.array([play(devices, cost.SHARING_STEPS)[0] for devices in fleets])
    simulated = {
        "shared": [round_s(devices, VARIED) for devices in fleets],
        "shared, in step": [round_s(devices, [None]) for devices in fleets],
        "in order": [round_s(devices, VARIED, fifo=True) for devices in fleets],
    }
    return {kind: model / np.array(seconds) - 1 for kind, seconds in simulated.items()}


def _shortened(devices: list[Device]) -> list[Device]:
    return [replace(device, batches=min(device.batches, MOST_BATCHES)) for device in devices]


def _sharing(devices: list[Device]) -> float:
    return play(devices)[0] / max(total_s(device, 1.0) for device in devices)


def main() -> None:
    """Print median, 90th percentile, worst and mean error."""
    fleets = shared_rounds(int(sys.argv[1]) if len(sys.argv) > 1 else 240, seed=1)
    for kind, off in errors(fleets).items():
        middle, most, worst = np.quantile(np.abs(off), [0.5, 0.9, 1.0])
        sys.stdout.write(
            f"{kind:16s} {len(off)} fleets: median {middle:.1%}, 90th percentile {most:.1%}, "
            f"worst {worst:.1%} ({off.min():+.1%} to {off.max():+.1%}), mean {off.mean():+.1%}\n"
        )


if __name__ == "__main__":
    main()
