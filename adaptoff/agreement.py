"""How far the cost model is from a testbed, and the few figures that bring it near.

What a scenario names is what was asked of a machine. What it gives is a little less: packets have
headers, a message costs some time of its own, a server core is not all the model's.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import structs

from adaptoff import cost, schedule
from adaptoff import fleet as fleets
from adaptoff.cost import Columns
from adaptoff.fleet import Floats, Rows
from adaptoff.messages import RoundReport, Telemetry
from adaptoff.profile import Profile
from adaptoff.scenario import Calibration, Scenario
from adaptoff.ways import Way, Ways, way_of

LEAST_SHARE = 0.01
"""of a device's round: a smaller part says nothing by its own error"""
PARTS = ("device_s", "uplink_s", "server_s", "downlink_s", "sync_s")
SERVER_SHARES = np.geomspace(0.25, 2.0, 121)


@dataclass(frozen=True)
class Pair:
    """A device's round as predicted and as measured, in seconds."""

    device: int
    way: Way
    opp: int
    predicted: dict[str, float]
    measured: dict[str, float]


def pairs(scenario: Scenario, profile: Profile, reports: Iterable[RoundReport]) -> list[Pair]:
    """All device-rounds of the reports that are valid and without late devices."""
    found = []
    fleet, schedules = fleets.of_devices(profile, scenario), schedule.of_devices(scenario)
    ways = Ways(profile, scenario.workload)
    for report in reports:
        seen = sorted(report.telemetry, key=lambda each: each.device)
        if report.valid and not report.late and len(seen) == len(schedules):
            at = schedule.nominal(scenario, schedules, report.round)
            columns = cost.joint(fleet, at, _rows(ways, seen))
            found += [_pair(each, columns) for each in seen]
    return found


def _rows(ways: Ways, seen: Sequence[Telemetry]) -> Rows:
    return Rows(np.array([[ways.number(t) for t in seen]]), np.array([[t.opp for t in seen]]))


def _pair(seen: Telemetry, columns: Columns) -> Pair:
    names = (*PARTS, "total_s")
    predicted = {name: float(getattr(columns, name)[0, seen.device]) for name in names}
    measured = {name: float(getattr(seen, name)) for name in names}
    return Pair(seen.device, way_of(seen), seen.opp, predicted, measured)


def calibrate(scenario: Scenario, profile: Profile, reports: Sequence[RoundReport]) -> Calibration:
    """The calibration by which the model comes nearest to the reports, part by part.

    Shares are medians of ratios; of the link, share and seconds a message are fitted together by
    least squares of relative errors. Raises ValueError where nothing valid was measured.
    """
    plain = structs.replace(scenario, calibration=Calibration())
    known = pairs(plain, profile, reports)
    if not known:
        raise ValueError("no valid round to calibrate with")
    link_share, message_s = _link(known, scenario.workload.batches)
    found = Calibration(
        device_share=_clipped(_median_ratio(known, "device_s")),
        link_share=_clipped(link_share),
        message_ms=float(np.clip(1e3 * message_s, 0.0, 1000.0)),
    )

    def off(share: float) -> float:
        tried = structs.replace(found, server_share=float(share))
        again = pairs(structs.replace(scenario, calibration=tried), profile, reports)
        errors = _errors(again, "server_s")
        return float(np.median(np.abs(errors))) if len(errors) else 0.0

    return structs.replace(found, server_share=_least(off))


def _least(off: Callable[[float], float]) -> float:
    return float(min(SERVER_SHARES, key=off))


def _clipped(share: float) -> float:
    return float(np.clip(share, 0.1, 2.0))


def _telling(known: Sequence[Pair], part: str) -> list[Pair]:
    """Those in which the part is no trifle, neither as predicted nor as measured."""
    return [
        pair
        for pair in known
        if pair.predicted[part] > LEAST_SHARE * pair.predicted["total_s"]
        and pair.measured[part] > 0
    ]


def _median_ratio(known: Sequence[Pair], part: str) -> float:
    ratios = [pair.predicted[part] / pair.measured[part] for pair in _telling(known, part)]
    return float(np.median(ratios)) if ratios else 1.0


def _errors(known: Sequence[Pair], part: str) -> Floats:
    """Predicted over measured, less 1."""
    telling = _telling(known, part)
    return np.array([pair.predicted[part] / pair.measured[part] - 1 for pair in telling])


def _link(known: Sequence[Pair], batches: int) -> tuple[float, float]:
    """Share of the named rate that a link gives, and seconds a round trip of messages."""
    rows = [
        (pair.predicted[part] / pair.measured[part], trips / pair.measured[part])
        for part, trips in (("uplink_s", batches / 2), ("downlink_s", batches / 2), ("sync_s", 0.0))
        for pair in _telling(known, part)
    ]
    if not rows:
        return 1.0, 0.0
    table = np.array(rows)
    slower, message_s = np.linalg.lstsq(table, np.ones(len(table)), rcond=None)[0]
    if message_s < 0 or slower <= 0:
        slower, message_s = float(np.median(1 / table[:, 0])), 0.0
    return 1.0 / float(slower), float(message_s)


def ranks(known: Sequence[Pair]) -> dict[int, float]:
    """Spearman's correlation of predicted and measured seconds over each device's rows.

    Devices with fewer than three rows, or whose seconds are all the same, have none.
    """
    found = {}
    for device in sorted({pair.device for pair in known}):
        mine = [pair for pair in known if pair.device == device]
        both = np.array([[p.predicted["total_s"], p.measured["total_s"]] for p in mine]).T
        order = both.argsort(1).argsort(1).astype(float)
        if len(mine) >= 3 and (np.ptp(both, axis=1) > 0).all():
            found[device] = float(np.corrcoef(order)[0, 1])
    return found


def spread(errors: Floats) -> dict[str, float]:
    """How large relative errors are: count, median, 90th percentile, worst, and their mean."""
    sizes = np.abs(errors)
    return {
        "n": len(errors),
        "median": float(np.median(sizes)),
        "p90": float(np.quantile(sizes, 0.9)),
        "worst": float(sizes.max()),
        "mean": float(errors.mean()),
    }


def compared(
    scenario: Scenario, profile: Profile, reports: Sequence[RoundReport]
) -> dict[str, Any]:
    """Errors of devices' rounds and their parts, and how rows rank. Raises ValueError if none."""
    known = pairs(scenario, profile, reports)
    if not known:
        raise ValueError("no valid round to compare with")
    errors = {part: _errors(known, part) for part in ("total_s", *PARTS)}
    correlation = ranks(known)
    return {
        "rounds": len(known) // len(scenario.each_device()),
        "left_out": len(reports) - len(known) // len(scenario.each_device()),
        "errors": {part: spread(found) for part, found in errors.items() if len(found)},
        "spearman": {str(device): value for device, value in correlation.items()},
        "spearman_least": min(correlation.values(), default=None),
    }
