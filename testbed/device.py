"""A device: joins, takes part in round after round, and resets when told to.

All seconds reported are emulated (wall / dilation).
"""

import logging
import time

from adaptoff import __version__
from adaptoff.controller import Controller
from adaptoff.errors import Deadline, RunError
from adaptoff.messages import (
    PROTOCOL,
    AnyMessage,
    Bye,
    Fault,
    Hello,
    Reset,
    RoundStart,
    Welcome,
)  # fmt: skip
from adaptoff.policy import Policy
from adaptoff.schedule import Schedule
from adaptoff.testbed import data, models
from adaptoff.testbed.board import EmulatedBoard
from adaptoff.testbed.cpu import PacedCpu
from adaptoff.testbed.device_round import PATIENCE_S, DeviceRound, Superseded
from adaptoff.testbed.keys import ClientKeys
from adaptoff.testbed.link import Link
from adaptoff.testbed.parts import Parts
from adaptoff.testbed.shaping import Shaper
from adaptoff.testbed.split import rehearse

log = logging.getLogger(__name__)

JOIN_S = 60.0


def run(
    endpoint: str, device: int, policy: Policy, data_dir: str | None = None,
    keys: ClientKeys | None = None,
) -> None:  # fmt: skip
    """Take part until the server says goodbye; RunError when refused, LinkError when lost.

    ``data_dir`` is where this device has its data set, if not where the scenario says.
    """
    with Link.connect(endpoint, keys=keys) as link:
        hello = Hello(protocol=PROTOCOL, version=__version__, role="device", device=device)
        link.send(hello)
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
        link.set_dilation(welcome.dilation)
        Device(device, link, welcome, policy, data_dir).serve()


class Device:
    """One device of a scenario, on a link that the server has welcomed."""

    def __init__(
        self, device: int, link: Link, welcome: Welcome, policy: Policy,
        data_dir: str | None = None,
    ) -> None:  # fmt: skip
        scenario, profile, dilation = welcome.scenario, welcome.profile, welcome.dilation
        work, board = scenario.workload, scenario.board_of(device)
        emulated = EmulatedBoard(board, time.monotonic() / dilation)
        train = data.load(work.dataset, data_dir or work.data_dir)[0]
        shards = data.shards(train.labels, len(scenario.each_device()), 0, work.alpha)
        self._parts = Parts(
            number=device,
            link=link,
            dilation=dilation,
            work=work,
            controller=Controller(device, scenario, profile, policy),
            board=emulated,
            cpu=PacedCpu(emulated.speed, dilation, sleep=link.nap),
            work_s=profile.column("device_s", work.batch_size, board.device_class),
            model=models.build(work.model, 0),
            shard=train.take(shards[device]),
        )
        schedule = Schedule(scenario.links[scenario.each_device()[device].link])
        self._shaper = Shaper(schedule, dilation, up=True)
        if welcome.paced:
            link.shape(0, self._shaper.rate_at)
        rehearse(models.build(work.model, 0), work.batch_size, models.INPUT_SHAPE)

    def serve(self) -> None:
        """Rounds until the server says goodbye."""
        message = self._next()
        while not isinstance(message, Bye):
            try:
                self._obey(message)
                message = self._next()
            except Superseded as newer:
                log.warning("late: %s came before the round was done", newer)
                message = newer.message

    def _next(self) -> AnyMessage:
        return self._parts.link.recv(PATIENCE_S * self._parts.dilation).message

    def _obey(self, message: AnyMessage) -> None:
        parts = self._parts
        match message:
            case RoundStart():
                self._shaper.begin(message.round, time.monotonic())
                DeviceRound(parts, message).run()
            case Reset():
                parts.board.reset(parts.now_s())
                parts.controller.row = parts.controller.native
                parts.link.send(message)
            case Fault():
                raise RunError(f"device {parts.number}: the server sent it away: {message.reason}")
            case _:
                log.info("ignored: %s", type(message).__name__)
