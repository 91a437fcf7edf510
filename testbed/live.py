"""LiveFleet: the fleet behind a running server, as a FleetBackend."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from adaptoff import __version__, figures
from adaptoff.controller import row_at
from adaptoff.errors import Deadline, LinkError, PeerLost, RunError
from adaptoff.fleet import Fleet, FleetState, Outcome, Rows
from adaptoff.messages import (
    GONE,
    PROTOCOL,
    AnyMessage,
    Bye,
    Fault,
    Hello,
    Reset,
    RoundReport,
    Row,
    RunRound,
    Welcome,
)  # fmt: skip
from adaptoff.testbed.keys import for_client
from adaptoff.testbed.link import Config, Link
from adaptoff.ways import Ways

JOIN_S = 60.0
ROUND_S = 1800.0
"""wall seconds for a round; the server keeps deadlines of its own"""
POLL_S = 0.25
HANG_S = 86_400.0
CLOSE_S = 0.5


class LiveFleet:
    """One fleet (F = 1) over ZeroMQ. A lost server is a PeerLost, a failed round a RunError."""

    def __init__(
        self, endpoint: str, watch: Callable[[], None] = lambda: None,
        keys: str | Path | None = None, *, insecure: bool = False,
    ) -> None:  # fmt: skip
        """``watch`` is called while waiting and may raise, say when a child process died.

        ``keys`` is the directory of driver.key and server.pub; the default one where ``endpoint``
        is not on this machine, unless ``insecure``. Raises KeysError.
        """
        chosen = Path(keys) if keys is not None else None
        mine = for_client(endpoint, "driver", chosen, insecure=insecure)
        # a driver may think for long between two rounds
        self._link = Link.connect(endpoint, Config(hang_s=HANG_S), mine)
        self._watch = watch
        self._commands = count(1)
        self._report: RoundReport | None = None
        self._closed = False
        try:
            self.welcome = self._join()
            self._ways = Ways(self.welcome.profile, self.welcome.scenario.workload)
        except BaseException:  # an open link would keep the process from ending
            self._link.close()
            raise

    @property
    def report(self) -> RoundReport:
        """The last round, device by device; raises RunError before the first reset."""
        if self._report is None:
            raise RunError("a live fleet has no state before its first reset")
        return self._report

    @property
    def fleet(self) -> Fleet:
        """Static facts of the clusters as they are now."""
        return figures.clusters_of(self.welcome.scenario, self.welcome.profile, self.report.figures)

    def estimates(self) -> FleetState:
        """Estimates after the last round, as every device has them; clusters as they are now."""
        told = self.report.figures
        return figures.view(self.welcome.scenario, self.welcome.profile, told).state

    def reset(self, seed: int, *, restart: bool = False) -> Outcome:
        """Rewind the links and run the native warm-up; weights stay unless ``restart``."""
        return self._round(Reset(command=next(self._commands), seed=seed, restart=restart))

    def apply(self, rows: Rows) -> Outcome:
        """One round with these rows (1, G) of the clusters as they are now."""
        chosen = self._listed(rows)[: len(self.report.figures.telemetry)]
        return self._round(RunRound(command=next(self._commands), rows=chosen))

    def apply_each(self, rows: Rows) -> Outcome:
        """One round with rows (1, n_devices) of the devices, whatever their clusters."""
        return self._round(RunRound(command=next(self._commands), each=self._listed(rows)))

    def apply_local(self) -> Outcome:
        """One round in which every device decides for itself."""
        return self._round(RunRound(command=next(self._commands)))

    def close(self) -> None:
        """Send everybody home; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with suppress(LinkError):
            self._link.wait_sent(self._link.send(Bye()), CLOSE_S)
        self._link.close()

    def _join(self) -> Welcome:
        self._link.send(Hello(protocol=PROTOCOL, version=__version__, role="driver"))
        welcome = self._answer(None, JOIN_S)
        if not isinstance(welcome, Welcome):
            raise RunError(f"the server answered with {type(welcome).__name__}")
        self._link.set_dilation(welcome.dilation)
        return welcome

    def _round(self, command: Reset | RunRound) -> Outcome:
        self._link.send(command)
        answer = self._answer(command.command, ROUND_S * self.welcome.dilation)
        if not isinstance(answer, RoundReport):
            raise RunError(f"the server answered with {type(answer).__name__}")
        self._report = answer
        return self._outcome(answer)

    def _answer(self, command: int | None, patience_s: float) -> AnyMessage:
        """The server's next word, late ones on earlier commands left out; a Fault is a RunError."""
        for _ in range(int(patience_s / POLL_S) + 1):
            self._watch()
            try:
                message = self._link.recv(POLL_S).message
            except Deadline:
                continue
            except PeerLost as error:
                raise PeerLost(f"the server is gone ({error}): no result") from None
            if isinstance(message, RoundReport | Fault) and message.command not in (None, command):
                continue
            if isinstance(message, Fault):
                raise RunError(f"the server failed: {message.reason}")
            return message
        raise Deadline(f"the server did not answer within {patience_s:g} s")

    def _listed(self, rows: Rows) -> list[Row]:
        most = len(self._ways.all) - 1
        if rows.way.min() < 0 or rows.way.max() > most:
            raise RunError(f"ways {rows.way[0].tolist()}: 0 to {most} exist")
        return [row_at(self._ways, rows, i) for i in range(rows.way.shape[1])]

    def _outcome(self, report: RoundReport) -> Outcome:
        """Clusters by their slowest members; energy and lateness of all members."""
        told = report.figures
        outcome = figures.outcome_of(self._ways, told.telemetry, report.round_s, told.server_speed)
        joules, late = np.zeros(outcome.way.shape), np.zeros_like(outcome.way)
        for device, each_j in energy_j(self.welcome, report).items():
            cluster = told.clusters[device]
            if cluster != GONE:  # late in its very first round: in no cluster yet
                joules[0, cluster] += each_j
                late[0, cluster] += device in report.late
        return replace(outcome, energy_j=joules, late=late)


def energy_j(welcome: Welcome, report: RoundReport) -> dict[int, float]:
    """Joules of each device over the whole round.

    What it measured, and idling until the end. A late device told nothing: it is charged with all
    that its board could have drawn, so that being late never pays.
    """
    seconds = report.round_s
    joules = {
        seen.device: seen.energy_j
        + welcome.scenario.board_of(seen.device).idle_w * max(seconds - seen.total_s, 0.0)
        for seen in report.telemetry
    }
    for device in report.late:
        board = welcome.scenario.board_of(device)
        most_w = max(opp.dynamic_w for opp in board.opps) + board.radio_w + board.idle_w
        joules[device] = most_w * seconds
    return joules
