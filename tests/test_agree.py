"""``adaptoff calibrate`` and ``validate``: what they run, write and refuse."""

import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from adaptoff import config
from adaptoff.commands.agree import _table, _text, drawn
from adaptoff.errors import InputError
from adaptoff.scenario import Calibration

FOUND = Calibration(device_share=0.9, server_share=0.75, link_share=0.95, message_ms=2.5)


def test_what_is_written_is_the_scenario_with_its_calibration(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(_text("fedadapt") + _table(FOUND), encoding="utf-8")
    assert config.load(str(path)).calibration == FOUND
    assert config.load(str(path)).devices == config.load("fedadapt").devices


@pytest.mark.parametrize("table", ["", _table(FOUND).split("[calibration]")[1]])
def test_a_calibrated_scenario_is_not_calibrated_again(tmp_path: Path, table: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{_text('demo')}\n[calibration]\n{table}", encoding="utf-8")
    with pytest.raises(InputError, match="has a calibration"):
        _text(str(path))


def test_every_device_goes_through_all_its_cuts_once_before_any_again() -> None:
    scenario = config.load("fedadapt")
    profile = config.profile_of(scenario)
    cuts = list(range(scenario.workload.min_cut, profile.native + 1))
    rows = list(islice(drawn(scenario, profile, 3), 2 * len(cuts)))
    for part in (rows[: len(cuts)], rows[len(cuts) :]):
        for device in range(5):
            assert sorted(int(each.way[0, device]) for each in part) == cuts
    n_opps = [len(scenario.board_of(device).opps) for device in range(5)]
    assert all((each.opp[0] < n_opps).all() for each in rows)
    assert not np.array_equal(rows[0].way, rows[len(cuts)].way)


def test_a_bad_place_for_the_result_is_told_before_anything_starts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adaptoff", "calibrate", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "is a directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1
