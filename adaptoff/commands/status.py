"""``adaptoff status``: what servers and devices show of themselves, in one table."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console, JustifyMethod
from rich.table import Table

from adaptoff.commands import scrape
from adaptoff.commands.scrape import Sample
from adaptoff.errors import LinkError
from adaptoff.guards import CAUSES
from adaptoff.metrics import EACH, FLEET, OWN
from adaptoff.scenario import MAX_DEVICES
from adaptoff.ways import AS_IS, Way

READERS = 8
HEADINGS = ("device", "alive", "round s", "cut@OPP", "temp C", "up Mbit/s", "down Mbit/s", "guards")
Reading = tuple[str, Callable[[float], float]]
"""a field, and how it is made of the figure"""
OF_DEVICE: dict[str, Reading] = {
    "up": ("alive", bool),
    "round_seconds": ("round_s", float),
    "cut": ("cut", int),
    "opp": ("opp", int),
    "depth": ("depth", int),
    "temperature_celsius": ("temp_c", float),
    "uplink_bytes_per_second": ("up_bps", lambda value: 8 * value),
    "downlink_bytes_per_second": ("down_bps", lambda value: 8 * value),
}
OF_FLEET: dict[str, Reading] = {
    "rounds_total": ("rounds", int),
    "last_round": ("round", int),
    "last_round_seconds": ("round_s", float),
    "accuracy_ratio": ("accuracy", float),
    "clusters": ("clusters", int),
}


@dataclass
class Seen:
    """One device, as its server or it itself shows it; None is "not shown"."""

    device: int
    url: str
    alive: bool | None = None
    """whether its server has it; None where no server was asked"""
    round_s: float | None = None
    cut: int | None = None
    opp: int | None = None
    depth: int | None = None
    codec: str | None = None
    temp_c: float | None = None
    up_bps: float | None = None
    down_bps: float | None = None
    guards: dict[str, int] | None = None
    """what they did, by cause: only the device itself knows"""

    def note(self, sample: Sample) -> None:
        """Take in a figure, whoever of both showed it."""
        name = sample.name.removeprefix(f"{EACH}_").removeprefix(f"{OWN}_")
        cause = sample.labels.get("cause")
        if name in OF_DEVICE:
            field, made = OF_DEVICE[name]
            setattr(self, field, made(sample.value))
        elif name == "codec":
            self.codec = sample.labels.get("codec", "")[:32]
        elif name == "guard_actions_total" and cause in CAUSES:
            self.guards = (self.guards or {}) | {cause: int(sample.value)}

    def fill(self, other: "Seen") -> None:
        """What is not known yet, from another view of the same device."""
        for field in fields(self):
            if getattr(self, field.name) is None:
                setattr(self, field.name, getattr(other, field.name))


def run(endpoints: Sequence[str]) -> dict[str, Any]:
    """Devices, servers, and endpoints that did not answer, as for JSON. Raises InputError."""
    urls = list(dict.fromkeys(scrape.url_of(endpoint) for endpoint in endpoints))
    with ThreadPoolExecutor(READERS) as readers:
        answers = dict(zip(urls, readers.map(_asked, urls), strict=True))
    shown = {url: answer for url, answer in answers.items() if not isinstance(answer, str)}
    servers = {url: figures for url, answer in shown.items() if (figures := _fleet(answer))}
    found = [seen for url, answer in shown.items() for seen in _devices(url, answer)]
    return {
        "devices": [asdict(seen) for seen in _merged(found, list(servers))],
        "servers": [{"url": url, **figures} for url, figures in servers.items()],
        "unreachable": [
            {"url": url, "reason": why} for url, why in answers.items() if isinstance(why, str)
        ],
    }


def _asked(url: str) -> list[Sample] | str:
    """The samples, or why there are none."""
    try:
        return scrape.read(url)
    except LinkError as error:
        return str(error)


def _fleet(samples: Iterable[Sample]) -> dict[str, float]:
    """What a server shows of its fleet; nothing if it is none."""
    named = ((s.name.removeprefix(f"{FLEET}_"), s.value) for s in samples)
    known = ((OF_FLEET[name], value) for name, value in named if name in OF_FLEET)
    return {field: made(value) for (field, made), value in known}


def _devices(url: str, samples: Iterable[Sample]) -> list[Seen]:
    """What is labelled otherwise than adaptoff does is left out."""
    found: dict[int, Seen] = {}
    for sample in samples:
        label = sample.labels.get("device", "")
        if label.isascii() and label.isdigit() and len(label) < 4 and int(label) < MAX_DEVICES:
            found.setdefault(int(label), Seen(int(label), url)).note(sample)
    return list(found.values())


def _merged(found: Sequence[Seen], servers: Sequence[str]) -> list[Seen]:
    """With a single server it is clear whose the devices are that speak for themselves."""
    if len(servers) != 1:
        return sorted(found, key=lambda seen: (seen.url, seen.device))
    rows = {seen.device: seen for seen in found if seen.url in servers}
    for seen in found:
        rows.setdefault(seen.device, seen).fill(seen)
    return [rows[device] for device in sorted(rows)]


def show(result: dict[str, Any], console: Console) -> None:
    """For people; where a device was seen is said if that is not the same for all."""
    several = len({seen["url"] for seen in result["devices"]}) > 1
    table = Table()
    for heading in (*HEADINGS, "seen at") if several else HEADINGS:
        justify: JustifyMethod = "left" if heading in {"guards", "seen at"} else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for seen in result["devices"]:
        at = [urlsplit(seen["url"]).netloc] if several else []
        table.add_row(*_row(seen), *at)
    if result["devices"]:
        console.print(table)
    for server in result["servers"]:
        console.print(_said(server), soft_wrap=True, highlight=False, markup=False)


def _row(seen: dict[str, Any]) -> list[str]:
    acted = ", ".join(f"{cause} {n}" for cause, n in (seen["guards"] or {}).items() if n)
    rates = (seen["up_bps"], seen["down_bps"])
    return [
        str(seen["device"]),
        {None: "-", True: "yes", False: "no"}[seen["alive"]],
        _number(seen["round_s"], 2),
        "-" if seen["cut"] is None else f"{_way(seen)}@{_number(seen['opp'], 0)}",
        _number(seen["temp_c"], 1),
        *(_number(None if rate is None else rate / 1e6, 1) for rate in rates),
        "-" if seen["guards"] is None else acted or "none",
    ]


def _way(seen: dict[str, Any]) -> str:
    """As ``Way`` says it, of what others may have shown."""
    return str(Way(seen["cut"], seen["depth"] or 1, seen["codec"] or AS_IS))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _said(server: dict[str, Any]) -> str:
    parts = [
        f"{server['rounds']} rounds" if "rounds" in server else "",
        f"the last one took {server['round_s']:.2f} s" if "round_s" in server else "",
        f"accuracy {server['accuracy']:.3f}" if "accuracy" in server else "",
        f"{server['clusters']} clusters" if "clusters" in server else "",
    ]
    return f"{urlsplit(server['url']).netloc}: {', '.join(part for part in parts if part)}"
