"""Many emulated fleets at once against one at a time.

``python benchmarks/emulator.py [--fleets 256] [--repeats 5] [--json]``

The dynamics alone (``EmulatedFleet.apply``), and all of a step: with estimates, candidates, the
plan and the features of the observation. Microseconds of process time a fleet and round, of one
thread; both sides are repeated in turns, figures are medians, a ratio is the median of the turns'
ratios.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle

import numpy as np

from adaptoff import estimate
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode
from adaptoff.envs.sampler import RandomFleets
from adaptoff.fleet import Outcome, Rows
from adaptoff.foresight import looked_at
from adaptoff.ground import scene
from adaptoff.observation import observe

ROUNDS = 32
SINGLES = 16
"""different fleets, one at a time"""
AT_LEAST_S = 0.3

Work = Callable[["Setting"], object]


class Setting:
    """An episode past its warm-up, with possible rows and what a round with them gave."""

    def __init__(self, n_fleets: int, seed: int) -> None:
        self.episode = Episode(EmulatedFleet(RandomFleets(n_fleets, ROUNDS)))
        self.episode.reset(seed)
        valid = self.episode.table.valid
        drawn = np.random.default_rng(seed).random(valid.shape)
        self.rows: Rows = self.episode.table.take((valid * drawn).argmax(2))
        self.seen: Outcome = self.episode.backend.apply(self.rows)


def dynamics(at: Setting) -> None:
    """The round itself."""
    at.episode.backend.apply(at.rows)


def estimates(at: Setting) -> None:
    """What is made of a round's telemetry."""
    estimate.update(at.episode.fleet, at.episode.state, at.seen)


def foresight(at: Setting) -> None:
    """The plan and what is foreseen beside it."""
    looked_at(scene(at.episode.ground, at.episode.state))


def features(at: Setting) -> None:
    """The observation of what is foreseen, costs included."""
    observe(replace(at.episode.sight))


def whole(at: Setting) -> None:
    """All of them."""
    at.episode.run(at.rows)
    at.episode.observe()


def each_us(settings: list[Setting], work: Work) -> float:
    """Microseconds of ``work`` a fleet."""
    turns, rounds, start = cycle(settings), 0, time.process_time()
    while (spent_s := time.process_time() - start) < AT_LEAST_S:
        for _ in range(SINGLES):
            work(next(turns))
        rounds += SINGLES
    return 1e6 * spent_s / rounds / settings[0].episode.fleet.shape[0]


def measure(n_fleets: int, repeats: int) -> dict[str, float]:
    """Ratios, and the microseconds behind them."""
    single = [Setting(1, seed) for seed in range(SINGLES)]
    many = [Setting(n_fleets, 0)]
    found: dict[str, float] = {}
    for work in (dynamics, whole):
        turns = [(each_us(single, work), each_us(many, work)) for _ in range(repeats)]
        found[f"{work.__name__}, one at a time over batched"] = statistics.median(
            alone / batched for alone, batched in turns
        )
        found[f"{work.__name__}, one at a time, us"] = statistics.median(turn[0] for turn in turns)
        found[f"{work.__name__}, batched, us"] = statistics.median(turn[1] for turn in turns)
    for work in (estimates, foresight, features):
        spent = statistics.median(each_us(many, work) for _ in range(repeats))
        found[f"{work.__name__}, batched, us"] = spent
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleets", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.fleets, options.repeats)
    if options.json:
        print(json.dumps(found))
    else:
        print(*(f"{name:40s}{value:10.4g}" for name, value in found.items()), sep="\n")


if __name__ == "__main__":
    main()
