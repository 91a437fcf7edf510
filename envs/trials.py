"""The fleets of evaluation: real DNNs on measured boards, their links drawn or from real traces.

They are judged on, never trained on: training draws its own DNNs, boards and links, and its own
seeds. The random streams of fleets and of links are apart, so both trials of one seed have the same
fleets.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adaptoff.envs import trial_fleets
from adaptoff.envs.links import Course
from adaptoff.envs.replay import Replay, Traces
from adaptoff.errors import InputError
from adaptoff.fleet import Fleet, Floats
from adaptoff.processes import autoregression, held, log_uniform
from adaptoff.profile import Profile
from adaptoff.scenario import Workload

SPEED_SPAN = 20.0
LEVEL_BPS = (3e6, 100e6)
MEDIAN_BPS = float(np.sqrt(LEVEL_BPS[0] * LEVEL_BPS[1]))
LIMITS_BPS = (0.5e6, 500e6)
INNOVATION, AR, JUMP_RATE = 0.35, 0.9, 0.05
"""of the logarithm of a drawn link's rate, per round"""
MOST_ASYMMETRY = 4.0
LOAD, LOAD_RATE = 0.6, 0.1
"""hidden load is redrawn from 0 to this, with this probability a round"""
NOISE = 0.05
SLOWEST = 0.25
"""of the range of device speeds, in crossing speeds of the profile"""
SERVER_SPEED = (0.7, 3.0)
RTT_S = (1e-3, 0.04)


class Trial:
    """``n_fleets`` fleets, the i-th with profile i modulo their number, for ``rounds`` rounds.

    ``energy_weight`` None draws one for each fleet: 0 for a fifth, else 0.05 to 1. With ``heat``
    native breaks the heat limit in many device-rounds while every device keeps a row that holds
    it; else no limit binds. ``work`` says which depths and codecs there are. Subclasses
    say what the links carry.
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        n_fleets: int,
        rounds: int,
        energy_weight: float | None = None,
        *,
        heat: bool = False,
        work: Workload | None = None,
    ) -> None:
        if not profiles or n_fleets < 1 or rounds < 1:
            raise InputError(
                f"{len(profiles)} profiles, {n_fleets} fleets, {rounds} rounds: from 1"
            )
        self.profiles, self.rounds = list(profiles), rounds
        self.n_fleets, self.energy_weight, self.heat = n_fleets, energy_weight, heat
        self._of = np.arange(n_fleets) % len(profiles)
        self._work = work or Workload()

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        """Fleets and the course of their conditions; the same seed gives the same."""
        rng = np.random.default_rng([seed, 10])
        fleet = trial_fleets.draw(
            rng, self.profiles, self._of, self.energy_weight, self._work, heat=self.heat
        )
        rounds, shape = self.rounds + 1, fleet.shape
        crossing = np.array([crossing_speed(profile) for profile in self.profiles])[self._of]
        speed = SLOWEST * crossing[:, None] * log_uniform(rng, 1.0, SPEED_SPAN, shape)
        server = log_uniform(rng, *SERVER_SPEED, shape[:1])
        up_bps, down_bps = self._links(_of_links(seed), rounds, shape)
        return fleet, Course(
            speed=speed * _free(rng, rounds, shape),
            up_bps=up_bps,
            down_bps=down_bps,
            rtt_s=np.broadcast_to(log_uniform(rng, *RTT_S, shape), (rounds, *shape)),
            server_speed=server * _free(rng, rounds, shape[:1]),
            noise=np.full(shape[0], NOISE),
        )

    def _links(
        self, rng: np.random.Generator, rounds: int, shape: tuple[int, int]
    ) -> tuple[Floats, Floats]:
        raise NotImplementedError


class DrawnTrial(Trial):
    """Links that move by a log-AR(1) about a level, which jumps anew now and then.

    Downlinks are like uplinks on half of the devices, up to 4 times as fast on the others.
    """

    def _links(
        self, rng: np.random.Generator, rounds: int, shape: tuple[int, int]
    ) -> tuple[Floats, Floats]:
        level = held(rng, log_uniform(rng, *LEVEL_BPS, (rounds, *shape)), JUMP_RATE)
        moves = autoregression(rng, rounds, np.full(shape, AR), np.full(shape, INNOVATION))
        up_bps = np.clip(level * np.exp(moves), *LIMITS_BPS)
        even = rng.random(shape) < 0.5
        return up_bps, up_bps * np.where(even, 1.0, log_uniform(rng, 1.0, MOST_ASYMMETRY, shape))


class TraceTrial(Trial):
    """Links that follow real traces, each from a random offset, ``round_s`` seconds a round.

    ``scale_to_mbps`` and ``up_over_down`` (None: 1) as in ``Traces``. Raises InputError,
    TraceError.
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        trace_files: Sequence[Path],
        n_fleets: int,
        rounds: int,
        scale_to_mbps: tuple[float, float] | None = None,
        up_over_down: float | None = None,
        *,
        round_s: float = 5.0,
        energy_weight: float | None = None,
        heat: bool = False,
        work: Workload | None = None,
    ) -> None:
        super().__init__(profiles, n_fleets, rounds, energy_weight, heat=heat, work=work)
        ratio = 1.0 if up_over_down is None else up_over_down
        self.traces = Traces(trace_files, round_s, scale_to_mbps, ratio)
        self._loaded = self.traces.load()

    def replay(self, seed: int) -> Replay:
        """Files, offsets, factors and ratios of the links that this seed draws."""
        return self._choose(_of_links(seed), (self.n_fleets, trial_fleets.CLUSTERS[1]))

    def _choose(self, rng: np.random.Generator, shape: tuple[int, int]) -> Replay:
        return self.traces.choose(rng, self._loaded, shape)

    def _links(
        self, rng: np.random.Generator, rounds: int, shape: tuple[int, int]
    ) -> tuple[Floats, Floats]:
        return self.traces.rates(self._loaded, self._choose(rng, shape), rounds)


def crossing_speed(profile: Profile) -> float:
    """Speed of a device for which native and the best other cut from 1 on take equally long.

    On a link of the median rate, with a server of one reference core to itself: below it offloading
    pays, above it does not. Device speeds are drawn around it, so that both happen with any DNN.
    """

    def column(name: str) -> Floats:
        return np.array(profile.column(name, profile.batch_size))

    batches = np.sqrt(trial_fleets.BATCHES[0] * trial_fleets.BATCHES[1])
    bits = 8 * (column("up_bytes") + column("down_bytes") + 2 * column("sync_bytes") / batches)
    waits_s = bits / MEDIAN_BPS + column("server_s")
    work_s = column("device_s")
    native = len(profile.cuts) - 1
    inner = slice(min(1, native - 1), native)
    longer_s = np.maximum(waits_s[inner] - waits_s[-1], 1e-9)
    saved_s = np.maximum(work_s[-1] - work_s[inner], 1e-12)
    return float((saved_s / longer_s).max())


def _of_links(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 11])


def _free(rng: np.random.Generator, rounds: int, shape: tuple[int, ...]) -> Floats:
    """Share (T, ...) of a processor that hidden load leaves."""
    return 1 - held(rng, rng.uniform(0.0, LOAD, (rounds, *shape)), LOAD_RATE)
