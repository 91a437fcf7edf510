"""The unit, as systemd's own tools see it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from adaptoff.commands import unit
from adaptoff.commands.unit import Layout, Run, Service

MOST_EXPOSED = 2.0
"""of 10, as ``systemd-analyze security`` counts"""
ANALYZE = shutil.which("systemd-analyze") or ""
needs_systemd = pytest.mark.skipif(not ANALYZE, reason="needs systemd-analyze")


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """With a program, which ``verify`` looks for."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "adaptoff").symlink_to(sys.executable)
    return str(tmp_path)


def analyzed(*words: str, text: str, where: Path) -> subprocess.CompletedProcess[str]:
    path = where / "adaptoff-device.service"
    path.write_text(text)
    return subprocess.run(
        [ANALYZE, *words, str(path)], capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip


@needs_systemd
@pytest.mark.parametrize("run", ["control", "device"])
@pytest.mark.parametrize("user", [False, True])
def test_systemd_finds_nothing_wrong(run: Run, user: bool, prefix: str, tmp_path: Path) -> None:
    service = Service(Layout(user, prefix), run, metrics="0.0.0.0:9102")
    done = analyzed("verify", "--man=no", text=service.unit(), where=tmp_path)
    own = [line for line in done.stderr.splitlines() if "adaptoff-device" in line]
    assert own == []


@needs_systemd
def test_it_finds_what_is_wrong(prefix: str, tmp_path: Path) -> None:
    text = Service(Layout(user=False, prefix=prefix)).unit().replace("Restart=on-", "Restart=off-")
    done = analyzed("verify", "--man=no", text=text, where=tmp_path)
    assert "adaptoff-device.service" in done.stderr


@needs_systemd
@pytest.mark.parametrize("run", ["control", "device"])
def test_it_exposes_little(run: Run, tmp_path: Path) -> None:
    text = Service(Layout(user=False, prefix="/opt/adaptoff"), run).unit()
    done = analyzed("security", "--offline=true", "--no-pager", text=text, where=tmp_path)
    if "offline" in done.stderr:
        pytest.skip("this systemd-analyze knows no --offline")
    found = re.search(r"Overall exposure level for adaptoff-device.service: ([\d.]+)", done.stdout)
    assert found
    assert float(found[1]) <= MOST_EXPOSED


def test_what_libzmq_needs_is_not_taken_away() -> None:
    """It ends the process where sched_setscheduler is refused."""
    filters = re.findall(
        r"^SystemCallFilter=(.*)$", Service(Layout(user=False, prefix="/x/y")).unit(), re.M
    )
    assert filters == [
        "@system-service",
        "~@privileged @resources",
        "sched_setscheduler sched_setaffinity",
    ]


def test_options_are_in_the_command() -> None:
    service = Service(
        Layout(user=False, prefix="/opt/adaptoff"), "device", keys=False, insecure=True
    )
    (start,) = re.findall(r"^ExecStart=(.*)$", service.unit(), re.M)
    assert start == (
        "/opt/adaptoff/bin/adaptoff device ${ADAPTOFF_ENDPOINT} ${ADAPTOFF_DEVICE} "
        "--policies /var/lib/adaptoff/policies --insecure --clocks"
    )
    assert "--clocks" not in replace(service, clocks=False).unit()
    for run in ("device", "control"):
        assert "WatchdogSec=60\n" in replace(service, run=run).unit()


def test_the_group_may_write_clocks_and_nothing_else() -> None:
    lines = [line.split() for line in unit.tmpfiles().splitlines() if line[0] != "#"]
    assert {line[0] for line in lines} == {"z"}
    assert {tuple(line[2:]) for line in lines} == {("0664", "root", "adaptoff")}
    names = {Path(line[1]).name for line in lines}
    assert names == {"scaling_governor", "scaling_setspeed", "scaling_min_freq", "scaling_max_freq"}
