"""The process that owns a network: builds it, changes it when told to, and plays timelines.

``Network`` starts it in namespaces of its own and holds its standard input open. When that ends,
by ``close`` or because the parent is gone, so does this process, and the namespaces with it, but
for those in which other processes still run: these go with the last of them. One thread only.
"""

import asyncio
import math
import os
import sys
import tempfile
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import msgspec

from adaptoff.errors import NetworkError
from adaptoff.testbed.netorders import (
    LINE_BYTES,
    AnyAnswer,
    AnyOrder,
    Done,
    Plan,
    Play,
    Rates,
    Ready,
    Refused,
    SetLink,
    SetRates,
)
from adaptoff.testbed.netwiring import Wiring
from adaptoff.testbed.relays import Relays, ended

STDIN, STDOUT = 0, 1

_orders: msgspec.json.Decoder[AnyOrder] = msgspec.json.Decoder(AnyOrder)


class Broker:
    """Carries orders out; ``group`` is where its timelines run, and fail."""

    def __init__(self, wiring: Wiring, devices: int, group: asyncio.TaskGroup) -> None:
        self._wiring, self._devices, self._group = wiring, devices, group
        self._timelines: dict[int, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it goes, or says a line that is too long."""
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self.answer(line)) + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            pass
        finally:
            writer.close()

    async def answer(self, line: bytes) -> AnyAnswer:
        """Carry out one order; what it did wrong is its sender's to know."""
        try:
            order = _orders.decode(line)
            self._check(order)
            async with self._lock:
                await self._obey(order)
        except (msgspec.DecodeError, RecursionError, NetworkError) as error:
            return Refused(str(error))
        return Done()

    def stop(self) -> None:
        """End all timelines."""
        for device in list(self._timelines):
            self._stop(device)

    def _check(self, order: AnyOrder) -> None:
        if order.device >= self._devices:
            raise NetworkError(f"device {order.device}: the network has {self._devices}")
        if isinstance(order, Play) and any(a > b for a, b in pairwise(order.offsets_s)):
            raise NetworkError("steps: their offsets must ascend")

    async def _obey(self, order: AnyOrder) -> None:
        match order:
            case SetLink(device, connected):
                await self._wiring.set_link(device, connected=connected)
            case SetRates(device, rates):
                self._stop(device)
                await self._wiring.set_rates(device, rates)
            case Play(device):
                self._stop(device)
                self._timelines[device] = self._group.create_task(self._play(order))

    async def _play(self, order: Play) -> None:
        """Set the rates of each step when it is due; what was overtaken meanwhile is left out."""
        now_s = asyncio.get_running_loop().time  # CLOCK_MONOTONIC
        starts_s = [order.start_s + offset_s for offset_s in order.offsets_s]
        ends_s = [*starts_s[1:], math.inf]
        for step, start_s, end_s in zip(order.steps, starts_s, ends_s, strict=True):
            if end_s > now_s():
                await asyncio.sleep(start_s - now_s())
                async with self._lock:  # so that nothing is half done when this is cancelled
                    await self._wiring.set_rates(order.device, Rates(step.up_bps, step.down_bps))

    def _stop(self, device: int) -> None:
        if timeline := self._timelines.pop(device, None):
            timeline.cancel()


async def serve(plan: Plan) -> None:
    """Build the network, say that it is ready, obey until standard input ends."""
    wiring = Wiring(plan.host, plan.emulator)
    with closing(wiring.relays), tempfile.TemporaryDirectory(prefix="adaptoff-") as folder:
        namespaces = await wiring.build(plan.rates, plan.impairments)
        control = f"{folder}/control"
        async with asyncio.TaskGroup() as group:
            broker = Broker(wiring, len(plan.rates), group)
            server = await asyncio.start_unix_server(broker.talk, control, limit=LINE_BYTES)
            _say(Ready(int(Path("/proc/self").readlink().name), control, namespaces))
            await _over(wiring.relays)
            broker.stop()
            server.close()


def _over(relays: Relays) -> asyncio.Future[None]:
    """Done when standard input ends, failed when a relay does."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def end(error: NetworkError | None = None) -> None:
        if over.done():
            return
        if error:
            over.set_exception(error)
        else:
            over.set_result(None)

    loop.add_reader(STDIN, end)
    for device, output in relays.outputs().items():
        loop.add_reader(output, end, ended(device))
    return over


def _say(ready: Ready) -> None:
    os.write(STDOUT, msgspec.json.encode(ready) + b"\n")


def main() -> None:
    """Serve the plan on standard input; what fails is one line on standard error."""
    try:
        plan = msgspec.json.decode(sys.stdin.buffer.readline(LINE_BYTES), type=Plan)
        asyncio.run(serve(plan))
    except* (NetworkError, OSError, msgspec.DecodeError) as errors:
        sys.exit(str(errors.exceptions[0]))


if __name__ == "__main__":
    main()
