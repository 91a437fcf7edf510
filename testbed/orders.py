"""The driver's command -> the row of each device; rows that cannot be are the driver's error."""

from collections.abc import Sequence

from adaptoff.controller import translate
from adaptoff.errors import RunError
from adaptoff.messages import GONE, FleetFigures, Row, RunRound
from adaptoff.profile import Profile
from adaptoff.scenario import Board, Scenario
from adaptoff.ways import Ways


def row_of(
    device: int, command: RunRound, figures: FleetFigures | None, scenario: Scenario,
    profile: Profile,
) -> Row | None:  # fmt: skip
    """What a device is to do, in OPPs of its own board; None where it decides.

    A device that is in no cluster yet is native whatever was commanded: that is how it gets known.
    Raises RunError for a row that is missing or outside the tables.
    """
    board = scenario.board_of(device)
    cluster = figures.clusters[device] if figures else GONE
    if figures is None or cluster == GONE:
        return Row(cut=profile.native, opp=len(board.opps) - 1)
    ways = Ways(profile, scenario.workload)
    if command.each is not None:
        return _pick(command.each, device, "device", ways, board)
    if command.rows is None:
        return None
    like = scenario.board_of(figures.telemetry[cluster].device)
    return translate(_pick(command.rows, cluster, "cluster", ways, like), like, board)


def _pick(rows: Sequence[Row], index: int, of: str, ways: Ways, board: Board) -> Row:
    if index >= len(rows):
        raise RunError(f"{len(rows)} rows for {of} {index}: one a {of} is needed")
    row = rows[index]
    try:
        ways.check(row)
    except ValueError as error:
        raise RunError(f"the row for {of} {index}: {error}") from None
    if row.opp >= len(board.opps):
        raise RunError(f"OPP {row.opp} for {of} {index}: its board has 0 to {len(board.opps) - 1}")
    return row
