"""FedAdapt's agent (Wu et al., IEEE IoT-J 2022), and the answer that the one it ships always gives.

Devices form groups: the slow and the fast by their native seconds per iteration, and those on links
below 5 Mbit/s. The state is, for each group's slowest device, its seconds per iteration and its
share of the DNN's work; the action is that share for the next round, in which each group takes the
cut nearest to it. There is no DVFS: all stay at the fastest clock. Work is measured seconds where
FedAdapt counts FLOPs, and cut 0 is none of its choices.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adaptoff import cost, lookup
from adaptoff.agents.method import Forgetful, every_way, lowest
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Ints, Options, Outcome, Rows

GROUPS = 3
SLOW, FAST, SLOW_LINK = range(GROUPS)
SLOW_LINK_BPS = 5e6
POOL1_SHARE = 0.39
"""of the work of the shipped VGG-5 profile, 0.0211 s of 0.0545 s, is done after pool1"""


@dataclass
class FedAdapt:
    """``act`` gives shares (F, GROUPS) for states (F, 2 * GROUPS)."""

    act: Callable[[Floats], Floats]
    name: str = "fedadapt"

    def reset(self, backend: EmulatedFleet, seed: int) -> None:  # noqa: ARG002
        """The next state is that after a native round: the baseline."""
        self._started = False

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        if not self._started:
            self._started, self._batches = True, fleet.batches
            self.baseline_s = self.seconds = native_iteration_s(fleet, state)
        groups = np.where(
            state.up_bps < SLOW_LINK_BPS, SLOW_LINK, slow_and_fast(fleet, self.baseline_s)
        )
        shares = self.act(observe(fleet, groups, self.seconds, share_of(fleet, state.rows)))
        return nearest(fleet, np.take_along_axis(shares, groups, 1))

    def see(self, outcome: Outcome, cost: Floats) -> None:  # noqa: ARG002
        """Remember the seconds per iteration (F, G); weights are not part of an iteration."""
        self.seconds = (outcome.total_s - outcome.sync_s) / self._batches


@dataclass
class FedAdaptConstant(Forgetful):
    """FedAdapt's shipped agent: always pool1 for the slow group and native for the others.

    Other DNNs are cut nearest to VGG-5's share of work at pool1; the slow group is that of the
    native warm-up round.
    """

    name: str = "fedadapt-constant"

    def reset(self, backend: EmulatedFleet, seed: int) -> None:  # noqa: ARG002
        """The next state is the warm-up's."""
        self._rows: Rows | None = None

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        if self._rows is None:
            slow = slow_and_fast(fleet, native_iteration_s(fleet, state)) == SLOW
            self._rows = nearest(fleet, np.where(slow, POOL1_SHARE, 1.0))
        return self._rows


def native_iteration_s(fleet: Fleet, state: FleetState) -> Floats:
    """Seconds (F, G) of a batch that is trained on the device alone."""
    return cost.solo(fleet, state, fleet.native()).device_s / fleet.batches


def slow_and_fast(fleet: Fleet, seconds: Floats) -> Ints:
    """SLOW or FAST for each cluster (F, G): 2-means over the devices' seconds, exact in 1-D."""
    devices = np.where(fleet.active, fleet.count, 0.0)[:, None]
    slow = seconds[:, None, :] >= seconds[:, :, None]  # by threshold: each cluster's own seconds
    spread = sum(_squares(np.where(side, devices, 0.0), seconds[:, None]) for side in (slow, ~slow))
    best = np.where(fleet.active, spread, np.inf).argmin(1)
    return np.where(slow[np.arange(len(best)), best], SLOW, FAST)


def _squares(weight: Floats, values: Floats) -> Floats:
    """Weighted squared distances from the weighted mean, summed over the last axis."""
    mean = (weight * values).sum(-1) / np.maximum(weight.sum(-1), 1e-12)
    return (weight * (values - mean[..., None]) ** 2).sum(-1)


def observe(fleet: Fleet, groups: Ints, seconds: Floats, share: Floats) -> Floats:
    """State (F, 2 * GROUPS): seconds, then shares, of each group's slowest device.

    A group without devices shows 0 s and, as if native, a share of 1.
    """
    member = fleet.active[:, None] & (groups[:, None] == np.arange(GROUPS)[:, None])
    slowest = np.where(member, seconds[:, None], -1.0).argmax(2)
    shown_s, shown = (np.take_along_axis(values, slowest, 1) for values in (seconds, share))
    present = member.any(2)
    return np.concatenate([np.where(present, shown_s, 0.0), np.where(present, shown, 1.0)], 1)


def share_of(fleet: Fleet, rows: Rows | Options) -> Floats:
    """Share of the DNN's work that is on the device, shaped as ``rows``."""
    whole = lookup.of_way(fleet.device_work_s, fleet.native())
    return lookup.of_way(fleet.device_work_s, rows) / lookup.of_cluster(whole, rows)


def nearest(fleet: Fleet, share: Floats) -> Rows:
    """The rows (F, G) with nearest to ``share`` (F, G) of the work, the later of equals."""
    table = every_way(fleet)
    way = table.options.way
    gap = np.abs(share_of(fleet, table.options) - lookup.of_cluster(share, table.options))
    plain = lookup.of_way(_first_of_cut(fleet), table.options) & (way > 0)
    return lowest(table, np.where(plain, gap - 1e-9 * way, np.inf))


def _first_of_cut(fleet: Fleet) -> Bools:
    """Which ways (F, W) are the first of their cut: it knows neither depth nor codec."""
    return np.diff(fleet.cut, axis=1, prepend=-1) > 0


def reward(fleet: Fleet, seconds: Floats, baseline_s: Floats) -> Floats:
    """Sum (F,) over all devices of the relative gain on the baseline, or loss; each below 1."""
    change = (baseline_s - seconds) / np.maximum(baseline_s, seconds)
    return np.where(fleet.active, change * fleet.count, 0.0).sum(1)


def failed(fleet: Fleet, seconds: Floats, baseline_s: Floats) -> Bools:
    """Where (F,) the slowest device is no quicker than the baseline's slowest: an episode's end."""
    return _slowest(fleet, seconds) >= _slowest(fleet, baseline_s)


def _slowest(fleet: Fleet, seconds: Floats) -> Floats:
    return np.where(fleet.active, seconds, 0.0).max(1)
