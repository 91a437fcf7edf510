"""``adaptoff control``: the controller of this board for a loop that adaptoff does not run."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adaptoff import config, notify
from adaptoff.adopting import Adoption
from adaptoff.commands.children import leave_with_stdin
from adaptoff.controller import Controller
from adaptoff.errors import InputError
from adaptoff.guards import Guards
from adaptoff.local_messages import Answer, Ask
from adaptoff.policy import Policy
from adaptoff.policy_store import PolicyStore
from adaptoff.power import find_power
from adaptoff.power_meter import metered
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.sensors import Thermometer, find_zone
from adaptoff.stdout import say
from adaptoff.testbed.control import Control, Fleet
from adaptoff.testbed.fleet_link import FleetLink
from adaptoff.testbed.free_board import FreeBoard
from adaptoff.testbed.keys import ClientKeys
from adaptoff.testbed.local_socket import LocalSocket
from adaptoff.testbed.lone_fleet import LoneFleet
from adaptoff.testbed.rig import Rig
from adaptoff.ways import way_of

if TYPE_CHECKING:
    from adaptoff.metrics import DeviceMetrics
    from adaptoff.testbed.real_board import Machine

LOOK_EVERY_S = 0.25
"""at the fleet's link, while the loop asks nothing"""


@dataclass(frozen=True)
class Here:
    """What is decided with on this board, and who is told."""

    policy: Policy
    store: PolicyStore | None
    """keeps what a server hands out"""
    listen: str
    """endpoint for the loop"""
    machine: "Machine | None" = None
    """whose clocks are set"""
    metrics: "DeviceMetrics | None" = None
    json: bool = False
    """a line on stdout for each answer"""


def alone(scenario: Scenario, device: int, here: Here) -> None:
    """Control ``device`` of the scenario as a fleet of one. Raises InputError for its number."""
    count = len(scenario.each_device())
    if device >= count:
        raise InputError(f"--device {device}: the scenario has 0 to {count - 1}")
    profile = config.profile_of(scenario)
    _run(device, scenario, profile, LoneFleet(scenario, profile), here)


def in_fleet(
    endpoint: str, device: int, keys: ClientKeys | None, patience_s: float, here: Here
) -> None:
    """Control ``device`` of the fleet server at ``endpoint``, which must be there at the start."""
    with closing(FleetLink(endpoint, device, keys, patience_s)) as fleet:
        task = fleet.join()
        _run(device, task.scenario, task.profile, fleet, here)


def _run(device: int, scenario: Scenario, profile: Profile, fleet: Fleet, here: Here) -> None:
    """Answer until KeyboardInterrupt; then all is put back."""
    leave_with_stdin()
    with (
        LocalSocket(here.listen) as asked,
        _rigged(scenario, device, here.machine) as rig,
    ):
        controller = Controller(device, scenario, profile, here.policy, rig.guards)
        fleet.adoption = Adoption(controller, here.store)
        if here.metrics:
            here.metrics.guards(rig.guards)
            here.metrics.watch(lambda: fleet.heard_s)
        print(f"adaptoff: answers at {asked.endpoint}", file=sys.stderr)  # noqa: T201
        notify.ready()
        _serve(asked, Control(controller, rig, fleet), fleet, here)


def _serve(asked: LocalSocket, control: Control, fleet: Fleet, here: Here) -> None:
    watchdog = notify.Watchdog()

    def answer(ask: Ask) -> Answer:
        said = control.answer(ask)
        _tell(control, said, here)
        return said

    try:
        while True:
            watchdog.alive()
            fleet.tend()
            asked.turn(answer, LOOK_EVERY_S)
    finally:
        notify.stopping()


def _tell(control: Control, said: Answer, here: Here) -> None:
    notify.status(f"round {said.round}: cut {way_of(said)}, OPP {said.opp}: {said.reason}")
    if here.metrics and control.done:
        here.metrics.round(*control.done)
    if here.json:
        line = {
            "answer": said,
            "asked_opp": control.decision.row.opp,
            "telemetry": control.done and control.done.telemetry,
            "guards": control.guards.counts,
        }
        say(line)


@contextmanager
def _rigged(scenario: Scenario, device: int, machine: "Machine | None") -> Iterator[Rig]:
    """This board, its clocks held if there is a ``machine``, and left alone if not."""
    said = scenario.board_of(device)
    if machine:
        with machine.held(said, 1.0, scenario.objective.heat_limit_c) as real:
            yield Rig(real.board, real.power, real.guards)
        return
    zone, guards = find_zone(), Guards()
    with metered(find_power(), time.monotonic) as power:
        thermometer = Thermometer(zone, time.monotonic) if zone else None
        board = FreeBoard(said, thermometer, time.monotonic(), guards)
        yield Rig(board, power, guards)
