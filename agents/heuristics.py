"""Two rules from the literature; neither knows of energy, so both stay at the fastest clock."""

from dataclasses import dataclass, replace

import numpy as np

from adaptoff import cost, lookup
from adaptoff.agents.method import Forgetful, lowest, top_clock
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.fleet import Fleet, FleetState, Floats, Options, Outcome, Rows

EWMA_GAIN = 2 / 3
"""weight of the last round: DTFL's published code averages over a span of 2"""


@dataclass
class Threshold(Forgetful):
    """Each cluster's quickest cut for its link as estimated, all else as at the warm-up.

    After Neurosurgeon (Kang et al., ASPLOS 2017): profiles are taken once, then the partition
    follows the bandwidth. Later load, heat and the other clusters at the server are not seen.
    """

    name: str = "threshold"

    def reset(self, backend: EmulatedFleet, seed: int) -> None:  # noqa: ARG002
        """The next state is the warm-up's."""
        self._nominal: FleetState | None = None

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        self._nominal = nominal = self._nominal or state
        known = replace(state, speed=nominal.speed, server_speed=nominal.server_speed)
        table = top_clock(fleet, state)
        return lowest(table, cost.solo(fleet, known, table.options).total_s)


@dataclass
class Tiers:
    """No cluster slower than the quickest that the straggler can be, else as much on the device.

    After DTFL (Sajjadi Mohammadabadi et al., 2024): times measured at the present cut, averaged,
    and scaled by the profile's ratios give the time at every cut. Its stages overlap, as local
    losses let device and server train at once; here they follow the fleet's cost model.
    """

    name: str = "tiers"

    def reset(self, backend: EmulatedFleet, seed: int) -> None:  # noqa: ARG002
        """Nothing is measured yet."""
        self._started = False

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        if not self._started:
            self._started, self._fleet = True, fleet
            self._device_pace = 1 / state.speed
            self._server_pace = np.repeat(1 / state.server_speed[:, None], fleet.shape[1], 1)
        table = top_clock(fleet, state)
        seconds = self._seconds(fleet, state, table.options)
        straggler_s = np.where(fleet.active, table.least(seconds), 0.0).max(1)
        in_time = seconds <= lookup.of_fleet(straggler_s, table.options)
        return lowest(table, np.where(in_time, -lookup.of_way(fleet.cut, table.options), np.inf))

    def see(self, outcome: Outcome, cost: Floats) -> None:  # noqa: ARG002
        """Average the paces: seconds measured for each that the profile has."""
        device_s, server_s = _profiled(self._fleet, Rows(outcome.way, outcome.opp))
        self._device_pace = _average(self._device_pace, outcome.device_s, device_s)
        self._server_pace = _average(self._server_pace, outcome.server_s, server_s)

    def _seconds(self, fleet: Fleet, state: FleetState, options: Options) -> Floats:
        """Of a cluster's round (V,) with each of its options."""
        columns = cost.solo(fleet, replace(state, speed=1 / self._device_pace), options)
        server_s = _profiled(fleet, options)[1] * lookup.of_cluster(self._server_pace, options)
        return replace(columns, server_s=server_s).total_s


def _profiled(fleet: Fleet, rows: Rows | Options) -> tuple[Floats, Floats]:
    """Device and server seconds of a round at speed 1, shaped as ``rows``."""
    batches = lookup.of_cluster(fleet.batches, rows)
    work = (fleet.device_work_s, fleet.server_work_s)
    device_s, server_s = (batches * lookup.of_way(table, rows) for table in work)
    return device_s, server_s


def _average(pace: Floats, measured_s: Floats, profiled_s: Floats) -> Floats:
    """EWMA (F, G); what was not used keeps its pace."""
    used = (profiled_s > 0) & (measured_s > 0)
    fresh = np.where(used, measured_s / np.where(used, profiled_s, 1.0), pace)
    return pace + EWMA_GAIN * (fresh - pace)
