"""A device: decides, trains its half, measures, and tells.

All seconds reported are emulated (wall / dilation). The clock of a round starts when the word to
start it arrives and stops when the server has acknowledged the new weights.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from adaptoff import __version__
from adaptoff.controller import Controller
from adaptoff.errors import RunError
from adaptoff.messages import (
    PROTOCOL,
    Activations,
    AnyMessage,
    Bye,
    Decision,
    Fault,
    Gradient,
    Hello,
    Report,
    Reset,
    RoundDone,
    RoundStart,
    Row,
    Telemetry,
    Weights,
    Welcome,
)  # fmt: skip
from adaptoff.policy import Policy
from adaptoff.schedule import Schedule
from adaptoff.testbed import data, models, wire
from adaptoff.testbed.board import EmulatedBoard
from adaptoff.testbed.cpu import Busy, PacedCpu
from adaptoff.testbed.link import Link, Received
from adaptoff.testbed.shaping import Shaper
from adaptoff.testbed.split import (
    DeviceHalf,
    FloatArray,
    Labels,
    export_state,
    load_state,
    rehearse,
    state_specs,
)  # fmt: skip

M = TypeVar("M", Weights, Gradient)

log = logging.getLogger(__name__)

PATIENCE_S = 3600.0
"""for the next word of a server that is alive"""
JOIN_S = 60.0


class Superseded(Exception):
    """The server went on without this device; carries its newer word."""

    def __init__(self, message: AnyMessage) -> None:
        super().__init__(type(message).__name__)
        self.message = message


@dataclass
class Spent:
    """Emulated seconds of a round, the computing excluded."""

    uplink_s: float = 0.0
    server_s: float = 0.0
    downlink_s: float = 0.0
    sync_s: float = 0.0

    @property
    def link_s(self) -> float:
        """All that the radio was on."""
        return self.uplink_s + self.downlink_s + self.sync_s


def run(endpoint: str, device: int, policy: Policy) -> None:
    """Take part until the server says goodbye; RunError when refused, LinkError when lost."""
    with Link.connect(endpoint) as link:
        hello = Hello(protocol=PROTOCOL, version=__version__, role="device", device=device)
        link.send(hello)
        welcome = link.recv(JOIN_S).message
        if not isinstance(welcome, Welcome):
            raise RunError(f"device {device}: the server refused: {welcome}")
        link.set_dilation(welcome.dilation)
        Device(device, link, welcome, policy).serve()


class Device:
    """One device of a scenario, on a link that the server has welcomed."""

    def __init__(self, device: int, link: Link, welcome: Welcome, policy: Policy) -> None:
        scenario, self._dilation = welcome.scenario, welcome.dilation
        group = scenario.each_device()[device]
        self._id, self._link, self._work = device, link, scenario.workload
        self._controller = Controller(device, scenario, welcome.profile, policy)
        self._board = EmulatedBoard(scenario.boards[group.board], self._now_s())
        self._cpu = PacedCpu(self._board.speed, self._dilation, sleep=link.nap)
        self._work_s = welcome.profile.column("device_s", self._work.batch_size)
        self._shaper = Shaper(Schedule(scenario.links[group.link]), self._dilation, up=True)
        link.shape(0, self._shaper.rate_at)
        rehearse(models.build(self._work.model, 0), self._work.batch_size, models.INPUT_SHAPE)
        self._model = models.build(self._work.model, 0)
        train = data.load(self._work.dataset)[0]
        shards = data.shards(train.labels, len(scenario.each_device()), 0)
        self._shard = train.take(shards[device])

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
        return self._link.recv(PATIENCE_S * self._dilation).message

    def _obey(self, message: AnyMessage) -> None:
        match message:
            case RoundStart():
                self._round(message)
            case Reset():
                self._board.reset(self._now_s())
                self._controller.row = self._controller.native
                self._link.send(message)
            case Fault():
                raise RunError(f"device {self._id}: the server sent it away: {message.reason}")
            case _:
                log.info("ignored: %s", type(message).__name__)

    def _now_s(self) -> float:
        return time.monotonic() / self._dilation

    def _round(self, start: RoundStart) -> None:
        """Decide, fetch weights, train, return weights, report."""
        start_s, spent = self._now_s(), Spent()
        self._shaper.begin(start.round, time.monotonic())
        self._board.idle_until(start_s)
        self._link.take_rates()
        self._cpu.take()
        decision = self._decide(start)
        row = decision.row
        self._fetch(start.round, row.cut, spent)
        half = DeviceHalf(self._model, row.cut, self._work.learning_rate, self._work.momentum)
        for index, (images, labels) in enumerate(self._batches(start)):
            self._batch(start.round, index, half, row.cut, images, labels, spent)
        self._return(start.round, row.cut, spent)
        self._report(start.round, row, spent, self._now_s() - start_s)

    def _batches(self, start: RoundStart) -> Iterator[tuple[FloatArray, Labels]]:
        work = self._work
        return data.batches(
            self._shard, start.seed, self._id, start.round, work.batch_size, work.batches
        )

    def _decide(self, start: RoundStart) -> Decision:
        """The server's row, or one's own; with the OPP that the board really took."""
        if start.row:
            asked = Decision(device=self._id, round=start.round, row=start.row, source="server")
        else:
            asked = self._controller.next(start.round, start.figures)
        opp = self._board.set_opp(asked.row.opp)
        self._cpu.speed = self._board.speed
        row = Row(cut=asked.row.cut, opp=opp)
        self._controller.row = asked.row
        decision = Decision(device=self._id, round=start.round, row=row, source=asked.source)
        self._link.send(decision)
        return decision

    def _fetch(self, round_: int, cut: int, spent: Spent) -> None:
        got, message = self._await(Weights, round_)
        if message.cut != cut:
            raise RunError(f"weights of cut {message.cut}, asked for {cut}")
        specs = [(s.dtype, tuple(s.shape)) for s in state_specs(self._model[:cut])]
        wire.check_tensors(got.arrays, specs, finite=True)
        load_state(self._model[:cut], got.arrays)
        spent.sync_s += got.transfer_s / self._dilation

    def _batch(
        self, round_: int, index: int, half: DeviceHalf, cut: int, images: FloatArray,
        labels: Labels, spent: Spent,
    ) -> None:  # fmt: skip
        if cut == len(self._model):
            with self._cpu.block(self._work_s[cut]):
                half.train_batch(images, labels)
            return
        with self._cpu.block():
            activations = half.forward(images)
        gradient = self._exchange(round_, index, activations, labels, spent)
        with self._cpu.block(max(self._work_s[cut] - self._cpu.charged_s, 0.0)):
            half.backward(gradient)

    def _exchange(
        self, round_: int, index: int, activations: FloatArray, labels: Labels, spent: Spent
    ) -> FloatArray | None:
        """Send activations, wait for their gradient, and split the time between."""
        sent_s = time.monotonic()
        self._link.send(Activations(round=round_, batch=index), [activations, labels])
        got, message = self._await(Gradient, round_)
        if message.batch != index or len(got.arrays) > 1:
            raise RunError(f"an answer to batch {message.batch}, expected {index}")
        if got.arrays:
            wire.check_tensors(got.arrays, [("float32", activations.shape)], finite=True)
        whole_s = (time.monotonic() - sent_s) / self._dilation
        downlink_s = got.transfer_s / self._dilation if got.arrays else 0.0
        spent.server_s += message.server_s
        spent.downlink_s += downlink_s
        spent.uplink_s += max(whole_s - message.server_s - downlink_s, 0.0)
        return got.arrays[0] if got.arrays else None

    def _return(self, round_: int, cut: int, spent: Spent) -> None:
        sent_s = time.monotonic()
        done = RoundDone(round=round_, cut=cut)
        ticket = self._link.send(done, export_state(self._model[:cut]))
        self._link.wait_sent(ticket, PATIENCE_S * self._dilation)
        spent.sync_s += (time.monotonic() - sent_s) / self._dilation

    def _report(self, round_: int, row: Row, spent: Spent, total_s: float) -> None:
        busy: Busy = self._cpu.take()
        rates = self._link.take_rates()
        energy_j = self._board.work_until(self._now_s(), busy.wall_s, spent.link_s)
        telemetry = Telemetry(
            device=self._id,
            round=round_,
            cut=row.cut,
            opp=row.opp,
            samples=self._work.batches * self._work.batch_size,
            device_s=busy.wall_s,
            uplink_s=spent.uplink_s,
            server_s=spent.server_s,
            downlink_s=spent.downlink_s,
            sync_s=spent.sync_s,
            total_s=total_s,
            up_bps=rates.out_bps and rates.out_bps * self._dilation,
            down_bps=rates.in_bps and rates.in_bps * self._dilation,
            temp_c=min(max(self._board.temp_c, -60.0), 250.0),
            energy_j=energy_j,
            energy_source="modelled",
            pace_error=busy.error,
        )
        self._link.send(Report(telemetry=telemetry))

    def _await(self, kind: type[M], round_: int) -> tuple[Received, M]:
        """The next ``kind`` of this round; raises Superseded when the server went on."""
        while True:
            got = self._link.recv(PATIENCE_S * self._dilation)
            message = got.message
            if isinstance(message, kind) and message.round == round_:
                return got, message
            if isinstance(message, RoundStart | Reset | Bye | Fault):
                raise Superseded(message)
