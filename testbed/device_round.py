"""A device's side of one round: decide, fetch weights, train, return them, report.

The clock of a round starts when the word to start it arrives and stops when the server has
acknowledged the new weights.
"""

import time
from collections.abc import Iterator
from typing import TypeVar

from msgspec.structs import replace

from adaptoff.errors import RunError
from adaptoff.messages import (
    Bye,
    Decision,
    Fault,
    Gradient,
    NewPolicy,
    Report,
    Reset,
    RoundDone,
    RoundStart,
    Row,
    UsePolicy,
    Weights,
)  # fmt: skip
from adaptoff.testbed import data, wire
from adaptoff.testbed.link import Received
from adaptoff.testbed.meter import Meter
from adaptoff.testbed.parts import Parts
from adaptoff.testbed.pipeline import Pipeline
from adaptoff.testbed.rig import Done
from adaptoff.testbed.split import (
    DeviceHalf,
    FloatArray,
    Labels,
    export_state,
    load_state,
    state_specs,
)  # fmt: skip

M = TypeVar("M", Weights, Gradient)

PATIENCE_S = 3600.0
"""for the next word of a server that is alive"""


class Superseded(Exception):
    """The server went on without this device; carries its newer word."""

    def __init__(self, got: Received) -> None:
        super().__init__(type(got.message).__name__)
        self.got = got


class DeviceRound:
    """One round, which begins now; Superseded is raised when the server goes on before its end."""

    def __init__(self, parts: Parts, start: RoundStart) -> None:
        self._parts, self._start, self._meter = parts, start, Meter(parts)
        self._decision_s: float | None = None

    def run(self) -> Done:
        """All of it."""
        parts, work = self._parts, self._parts.work
        asked = self._decide()
        row = self._take(asked)
        self._fetch(row.cut)
        half = DeviceHalf(parts.model, row.cut, work.learning_rate, work.momentum)
        if row.cut == len(parts.model):
            self._train_native(half, parts.work_s(row))
        else:
            self._train_split(half, row)
        self._return(row.cut)
        telemetry = self._meter.read(self._start.round, row)
        parts.link.send(Report(telemetry=telemetry))
        return Done(telemetry, asked, self._decision_s)

    def _batches(self) -> Iterator[tuple[FloatArray, Labels]]:
        parts, work, start = self._parts, self._parts.work, self._start
        return data.batches(
            parts.shard, start.seed, parts.number, start.round, work.batch_size, work.batches
        )

    def _decide(self) -> Decision:
        """The server's row, or one's own."""
        parts, start = self._parts, self._start
        if start.row:
            return Decision(device=parts.number, round=start.round, row=start.row, source="server")
        begun_s = time.monotonic()
        own = parts.controller.next(start.round, start.figures)
        self._decision_s = time.monotonic() - begun_s
        return own

    def _take(self, asked: Decision) -> Row:
        """Tell the server what was decided, with the OPP that the board really took."""
        parts = self._parts
        parts.controller.row = asked.row
        taken = replace(asked.row, opp=parts.board.set_opp(asked.row.opp))
        parts.cpu.speed = parts.board.speed
        parts.link.send(replace(asked, row=taken))
        return taken

    def _fetch(self, cut: int) -> None:
        blocks = self._parts.model[:cut]
        got, message = self._await(Weights)
        if message.cut != cut:
            raise RunError(f"weights of cut {message.cut}, asked for {cut}")
        specs = [(s.dtype, tuple(s.shape)) for s in state_specs(blocks)]
        wire.check_tensors(got.arrays, specs, finite=True)
        load_state(blocks, got.arrays)
        self._meter.sync_s += got.transfer_s / self._parts.dilation

    def _train_native(self, half: DeviceHalf, work_s: float) -> None:
        for images, labels in self._batches():
            self._parts.link.touch()  # nothing else is said until the end
            with self._parts.cpu.block(work_s):
                half.train_batch(images, labels)

    def _train_split(self, half: DeviceHalf, row: Row) -> None:
        pipeline = Pipeline(
            self._parts, self._meter, half, row, self._start.round, lambda: self._await(Gradient)
        )
        for index, (images, labels) in enumerate(self._batches()):
            pipeline.train(index, images, labels)

    def _return(self, cut: int) -> None:
        parts, sent_s = self._parts, self._parts.now_s()
        done = RoundDone(round=self._start.round, cut=cut)
        ticket = parts.link.send(done, export_state(parts.model[:cut]))
        parts.link.wait_sent(ticket, PATIENCE_S * parts.dilation)
        self._meter.sync_s += parts.now_s() - sent_s

    def _await(self, kind: type[M]) -> tuple[Received, M]:
        """The next ``kind`` of this round; raises Superseded when the server went on."""
        while True:
            got = self._parts.link.recv(PATIENCE_S * self._parts.dilation)
            message = got.message
            if isinstance(message, kind) and message.round == self._start.round:
                return got, message
            if isinstance(message, RoundStart | NewPolicy | UsePolicy | Reset | Bye | Fault):
                raise Superseded(got)
