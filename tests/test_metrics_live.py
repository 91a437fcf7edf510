"""``--metrics`` of a real server and real devices, scraped while rounds go on."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from adaptoff.cli import app
from adaptoff.commands.children import LEAVE_WITH_STDIN
from adaptoff.errors import InputError, LinkError
from adaptoff.messages import RoundReport
from adaptoff.testbed.live import LiveFleet
from tests.worlds import TWO_DEVICES

pytest.importorskip("prometheus_client", reason="needs the extra metrics")

from adaptoff.commands import scrape, status
from adaptoff.metrics_rounds import STAGES

PATIENCE_S = 60.0
SCRAPE_EVERY_S = 0.2
WITHOUT = (
    "import sys; sys.modules['prometheus_client'] = None; from adaptoff.cli import main; main()"
)


class Bed(NamedTuple):
    """A testbed of processes."""

    endpoint: str
    server: str
    """URL of the server's metrics"""
    device: str
    """of device 0's"""
    processes: list[subprocess.Popen[str]]


def start(*arguments: str) -> subprocess.Popen[str]:
    """A process that ends with this one."""
    return subprocess.Popen(
        [sys.executable, "-m", "adaptoff", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {LEAVE_WITH_STDIN: "1"},
    )


@pytest.fixture
def bed(scenario_file: Path) -> Iterator[Bed]:
    arguments = ("--scenario", str(scenario_file), "--no-measure", "--each", "--metrics", "0")
    processes = [start("serve", *arguments)]
    try:
        ready = json.loads(line_of(processes[0].stdout))
        processes.append(start("device", ready["endpoint"], "0", "--metrics", "0"))
        processes.append(start("device", ready["endpoint"], "1"))
        device = line_of(processes[1].stderr).removeprefix("metrics: ").strip()
        yield Bed(ready["endpoint"], ready["metrics"], device, processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(TWO_DEVICES, encoding="utf-8")
    return path


def line_of(stream: object) -> str:
    assert hasattr(stream, "readline")
    return stream.readline()


def figures_at(url: str) -> dict[tuple[str, ...], float]:
    """By name and values of labels, in order of their names."""
    return {
        (name.removeprefix("adaptoff_"), *(labels[key] for key in sorted(labels))): value
        for name, labels, value in scrape.read(url)
    }


def check_fleet(seen: dict[tuple[str, ...], float], reports: list[RoundReport]) -> None:
    last = reports[-1]
    assert seen["fleet_rounds_total",] == len(reports)
    assert seen["fleet_last_round",] == last.round
    assert seen["fleet_last_round_seconds",] == last.round_s
    assert seen["fleet_round_seconds_sum",] == pytest.approx(sum(r.round_s for r in reports))
    assert seen["fleet_accuracy_ratio",] == last.accuracy
    assert seen["fleet_server_speed_cores",] == last.figures.server_speed
    assert seen["fleet_clusters",] == len(set(last.figures.clusters))
    assert seen["fleet_invalid_rounds_total",] == sum(not r.valid for r in reports)
    for each in last.telemetry:
        device = str(each.device)
        assert seen["fleet_device_up", device] == 1
        assert seen["fleet_device_cut", device] == each.cut
        assert seen["fleet_device_opp", device] == each.opp
        assert seen["fleet_device_temperature_celsius", device] == each.temp_c
        assert seen.get(("fleet_device_uplink_bytes_per_second", device)) == over_8(each.up_bps)
        stages = {stage: seen["fleet_device_stage_seconds", device, stage] for stage in STAGES}
        assert stages == {stage: getattr(each, f"{stage}_s") for stage in STAGES}
        every = [t for r in reports for t in r.telemetry if t.device == each.device]
        joules = seen["fleet_device_energy_joules_total", device, "modelled"]
        assert joules == pytest.approx(sum(t.energy_j for t in every))


def over_8(bps: float | None) -> float | None:
    return bps and bps / 8


def check_device(seen: dict[tuple[str, ...], float], reports: list[RoundReport]) -> None:
    own = next(t for t in reports[-1].telemetry if t.device == 0)
    (decision,) = (d for d in reports[-1].decisions if d.device == 0)
    assert seen["device_decisions_total", "0", decision.source] == reports[-1].attempts
    assert seen["device_decision_seconds_count", "0"] == reports[-1].attempts
    assert seen["device_opp", "0"] == own.opp
    assert seen["device_temperature_celsius", "0"] == own.temp_c
    assert seen["device_guard_actions_total", "stale", "0"] == 0
    assert 0 <= seen["device_server_silence_seconds", "0"] < PATIENCE_S


def test_figures_are_those_of_the_rounds(bed: Bed) -> None:
    done = threading.Event()

    def scrape_on() -> int:
        times = 0
        while not done.wait(SCRAPE_EVERY_S):
            figures_at(bed.server), figures_at(bed.device)
            times += 1
        return times

    reports = []
    with ThreadPoolExecutor(2) as scrapers, closing(LiveFleet(bed.endpoint)) as live:
        scrapes = [scrapers.submit(scrape_on) for _ in range(2)]
        try:
            live.reset(1)
            reports.append(live.report)
            live.apply_local()
            reports.append(live.report)
        finally:
            done.set()
        assert all(each.result() > 0 for each in scrapes)  # beside the rounds, and no error
        check_fleet(figures_at(bed.server), reports)
        played = sum(report.attempts for report in reports)
        until(lambda: figures_at(bed.device)["device_rounds_total", "0"] == played)
        check_device(figures_at(bed.device), reports)
        shown = status.run([bed.server, bed.device])["devices"]
        bed.processes[2].terminate()
        until(lambda: figures_at(bed.server)["fleet_device_up", "1"] == 0)
    assert [(seen["device"], seen["alive"]) for seen in shown] == [(0, True), (1, True)]
    assert [seen["cut"] for seen in shown] == [t.cut for t in reports[-1].telemetry]
    assert [process.wait(PATIENCE_S) for process in (bed.processes[0], bed.processes[1])] == [0, 0]
    for url in (bed.server, bed.device):
        with pytest.raises(LinkError, match="refused"):
            scrape.read(url)


def until(fine: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not fine():
        assert time.monotonic() < until_s
        time.sleep(SCRAPE_EVERY_S)


@pytest.mark.parametrize("command", [("serve",), ("device", "tcp://127.0.0.1:1", "0")])
def test_a_taken_port_ends_it_at_once(command: tuple[str, ...]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = CliRunner().invoke(app, [*command, "--metrics", place])
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == f"--metrics {place}: Address already in use"


@pytest.mark.parametrize("command", [("serve", "--metrics", "0"), ("status", "9101")])
def test_without_the_library_it_says_what_to_install(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *command],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    wanted = "adaptoff: needs prometheus_client: pip install 'adaptoff[metrics]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", wanted)
