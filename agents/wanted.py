"""What a user asked to judge methods on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from adaptoff import config
from adaptoff.errors import InputError
from adaptoff.scenario import Workload

NO_TRACES = {".md", ".html", ".json", ".toml", ".py"}
"""suffixes of files that may lie beside traces"""


@dataclass(frozen=True)
class Wanted:
    """None and empty stand for the usual. Raises InputError for what does not go together."""

    scenario: str | None = None
    overrides: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    traces: tuple[Path, ...] = ()
    trace_scale_mbps: tuple[float, float] | None = None
    up_over_down: float | None = None
    heat: bool = False
    fleets: int | None = None
    rounds: int | None = None
    energy_weight: float | None = None
    depths: str = ""
    codecs: str = ""
    """numbers, and names, with commas"""

    def __post_init__(self) -> None:
        """Raises InputError."""
        trials_only = {
            "traces": self.traces, "heat": self.heat, "fleets": self.fleets,
            "depths": self.depths, "codecs": self.codecs,
        }  # fmt: skip
        traces_only = {"trace-scale": self.trace_scale_mbps, "up-over-down": self.up_over_down}
        if self.scenario:
            _refuse(trials_only | traces_only, "not with --scenario, which has its fleet and links")
        else:
            _refuse({"set": self.overrides}, "only with --scenario")
        if not self.traces:
            _refuse(traces_only, "only with --traces")
        _ = self.work

    @property
    def work(self) -> Workload:
        """The levers of drawn fleets, as a workload names them."""
        given = {"depths": self.depths, "codecs": self.codecs}
        levers = {name: text.split(",") for name, text in given.items() if text}
        try:
            return msgspec.convert(levers, Workload, strict=False)
        except msgspec.ValidationError as error:
            which = config.allowed(str(error), Workload)
            raise InputError(f"--depths, --codecs: {error}{which}") from None

    @property
    def scales_mbps(self) -> list[tuple[float, float] | None]:
        """How traces are replayed: as measured, and scaled where that was asked for."""
        return [None, self.trace_scale_mbps] if self.trace_scale_mbps else [None]


def _refuse(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value:
            raise InputError(f"--{name}: {why}")


def trace_files(directory: Path) -> list[Path]:
    """The traces of a directory, or the one file that was given; raises InputError."""
    if directory.is_file():
        return [directory]
    try:
        inside = [file for file in directory.iterdir() if file.is_file()]
    except OSError as error:
        raise InputError(f"--traces {directory}: {error.strerror}") from None
    visible = [file for file in inside if not file.name.startswith(".")]
    files = sorted(file for file in visible if file.suffix not in NO_TRACES)
    if not files:
        raise InputError(f"--traces {directory}: has no files with traces, CSV or mahimahi")
    return files
