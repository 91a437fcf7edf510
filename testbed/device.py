"""A device: joins, takes part in round after round, and resets when told to.

All seconds reported are emulated (wall / dilation).
"""

import logging
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from adaptoff import __version__
from adaptoff.adopting import Adoption
from adaptoff.controller import Controller
from adaptoff.errors import Deadline, RunError
from adaptoff.messages import (
    PROTOCOL,
    Bye,
    Fault,
    Hello,
    NewPolicy,
    Reset,
    RoundStart,
    UsePolicy,
    Welcome,
)  # fmt: skip
from adaptoff.policy import Policy
from adaptoff.policy_store import PolicyStore
from adaptoff.power_meter import PowerMeter
from adaptoff.scenario import Board
from adaptoff.schedule import Schedule
from adaptoff.testbed import data, models
from adaptoff.testbed.board import EmulatedBoard
from adaptoff.testbed.cpu import PacedCpu
from adaptoff.testbed.device_round import PATIENCE_S, DeviceRound, Superseded
from adaptoff.testbed.keys import ClientKeys
from adaptoff.testbed.link import Link, Received
from adaptoff.testbed.parts import Hardware, Parts
from adaptoff.testbed.real_board import Machine
from adaptoff.testbed.rehearsal import rehearse
from adaptoff.testbed.rig import Done
from adaptoff.testbed.shaping import Shaper
from adaptoff.testbed.transfer import Config
from adaptoff.wall_clock import StepWatch
from adaptoff.ways import device_s, way_of

if TYPE_CHECKING:
    from adaptoff.metrics import DeviceMetrics

log = logging.getLogger(__name__)

JOIN_S = 60.0
HANG_S = 300.0
"""for what a real board computes at one go; an emulated one says that it lives"""


def run(
    endpoint: str, device: int, policy: Policy, data_dir: str | None = None,
    keys: ClientKeys | None = None, machine: Machine | None = None,
    metrics: "DeviceMetrics | None" = None, store: PolicyStore | None = None,
) -> None:  # fmt: skip
    """Take part until the server says goodbye; RunError when refused, LinkError when lost.

    ``data_dir`` is where this device has its data set, if not where the scenario says. With
    ``machine`` its clocks are set, and put back, else they are emulated.
    """
    if machine:
        machine.domains()  # without any there is nothing to join for
    with Link.connect(endpoint, Config(hang_s=HANG_S) if machine else None, keys) as link:
        welcome = _join(link, endpoint, device)
        link.set_dilation(welcome.dilation)
        board = welcome.scenario.board_of(device)
        limit_c = welcome.scenario.objective.heat_limit_c
        with machine.held(board, welcome.dilation, limit_c) if machine else nullcontext() as real:
            Device(device, link, welcome, policy, data_dir, real, metrics, store).serve()


def _join(link: Link, endpoint: str, device: int) -> Welcome:
    link.send(Hello(protocol=PROTOCOL, version=__version__, role="device", device=device))
    try:
        welcome = link.recv(JOIN_S).message
    except Deadline:
        raise Deadline(
            f"device {device}: {endpoint} did not answer within {JOIN_S:g} s: "
            "is the server up, and is server.pub its own?"
        ) from None
    if isinstance(welcome, Fault):
        raise RunError(f"device {device}: the server refused: {welcome.reason}")
    if not isinstance(welcome, Welcome):
        raise RunError(f"device {device}: the server answered with {type(welcome).__name__}")
    return welcome


def _emulated(board: Board, dilation: float, link: Link) -> Hardware:
    emulated = EmulatedBoard(board, time.monotonic() / dilation)
    cpu = PacedCpu(emulated.speed, dilation, sleep=link.nap)
    return Hardware(emulated, cpu, PowerMeter(None, time.monotonic))


class Device:
    """One device of a scenario, on a link that the server has welcomed."""

    def __init__(
        self, device: int, link: Link, welcome: Welcome, policy: Policy,
        data_dir: str | None = None, real: Hardware | None = None,
        metrics: "DeviceMetrics | None" = None, store: PolicyStore | None = None,
    ) -> None:  # fmt: skip
        """``real``: what it runs on, if that is not emulated; ``metrics`` hear of each round.

        ``store`` keeps what policy the server hands out.
        """
        scenario, profile, dilation = welcome.scenario, welcome.profile, welcome.dilation
        work, board = scenario.workload, scenario.board_of(device)
        hardware = real or _emulated(board, dilation, link)
        train = data.load(work.dataset, data_dir or work.data_dir)[0]
        shards = data.shards(train.labels, len(scenario.each_device()), 0, work.alpha)
        self._parts = Parts(
            number=device,
            link=link,
            dilation=dilation,
            work=work,
            controller=Controller(device, scenario, profile, policy, hardware.guards),
            board=hardware.board,
            cpu=hardware.cpu,
            power=hardware.power,
            work_s=lambda row: device_s(profile, way_of(row), work.batch_size, board.device_class),
            model=models.build(work.model, 0),
            shard=train.take(shards[device]),
        )
        schedule = Schedule(scenario.links[scenario.each_device()[device].link])
        self._adoption = Adoption(self._parts.controller, store)
        self._wall_clock = StepWatch(hardware.guards)
        self._shaper = Shaper(schedule, dilation, up=True)
        if welcome.paced:
            link.shape(0, self._shaper.rate_at)
        rehearse(work)
        self._metrics = metrics
        if metrics:
            metrics.guards(self._parts.controller.guards)
            metrics.watch(lambda: link.heard_s)

    def serve(self) -> None:
        """Rounds until the server says goodbye."""
        got = self._next()
        while not isinstance(got.message, Bye):
            try:
                self._obey(got)
                got = self._next()
            except Superseded as newer:
                log.warning("late: %s came before the round was done", newer)
                got = newer.got

    def _next(self) -> Received:
        return self._parts.link.recv(PATIENCE_S * self._parts.dilation)

    def _obey(self, got: Received) -> None:
        parts, message = self._parts, got.message
        match message:
            case RoundStart():
                self._wall_clock.look()
                self._shaper.begin(message.round, time.monotonic())
                self._tell(DeviceRound(parts, message).run())
            case Reset():
                parts.board.reset(parts.now_s())
                parts.controller.row = parts.controller.native
                parts.link.send(message)
            case NewPolicy():
                parts.link.send(self._adoption.check(message, got.arrays))
            case UsePolicy():
                self._adoption.use(message)
            case Fault():
                raise RunError(f"device {parts.number}: the server sent it away: {message.reason}")
            case _:
                log.info("ignored: %s", type(message).__name__)

    def _tell(self, done: Done) -> None:
        if self._metrics:
            self._metrics.round(*done)
