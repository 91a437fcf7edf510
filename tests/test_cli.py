"""The command line as a user meets it, in processes of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adaptoff import __version__, policy


def adaptoff(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "adaptoff", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def test_version_and_help_name_the_commands() -> None:
    assert adaptoff("--version").stdout.strip() == __version__
    text = adaptoff("--help").stdout
    for command in ("demo", "train", "freeze", "evaluate", "serve", "device", "doctor"):
        assert command in text
        assert command in adaptoff(command, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demo", "--scenario", "nowhere.toml"), ("nowhere.toml", "demo")),
        (("demo", "--set", "workload.min_cut=-1"), ("workload.min_cut", ">= 0")),
        (("demo", "--set", "workload.cut=1"), ("`cut`", "min_cut")),
        (("evaluate", "--policy", "nowhere.safetensors"), ("nowhere.safetensors",)),
        (("evaluate", "--methods", "magic", "--fleets", "1"), ("magic", "planner")),
        (("freeze", "nowhere.safetensors"), ("nowhere.safetensors",)),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    done = adaptoff(*arguments, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("adaptoff: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_a_server_that_is_not_there_fails_with_one_line() -> None:
    done = adaptoff("device", "nowhere", "0", code=1)
    assert done.stderr.count("\n") == 1


def test_doctor_tells_what_is_used() -> None:
    found = json.loads(adaptoff("doctor", "--json").stdout)["findings"]
    assert {"cores", "cpufreq", "links", "default policy"} <= {each["what"] for each in found}
    assert all(each["used"] for each in found)


def test_evaluate_prints_figures_with_intervals() -> None:
    arguments = ("--scenario", "demo", "--seeds", "2", "--rounds", "3", "--json")
    result = json.loads(adaptoff("evaluate", *arguments).stdout)
    assert set(result["methods"]) == {"native", "policy", "planner"}
    assert result["methods"]["native"]["round_time_ratio"]["mean"] == pytest.approx(1)
    for figures in result["methods"].values():
        for figure in figures.values():
            low, high = figure["ci95"]
            assert low <= figure["mean"] <= high


def test_train_resume_freeze_evaluate(tmp_path: Path) -> None:
    first = adaptoff("train", "--steps", "2048", "--out", str(tmp_path), "--json")
    checkpoint = json.loads(first.stdout)["checkpoint"]
    more = ("--steps", "4096", "--resume", checkpoint, "--out", str(tmp_path), "--json")
    second = json.loads(adaptoff("train", *more).stdout)["checkpoint"]
    assert second != checkpoint
    frozen = tmp_path / "policy.safetensors"
    assert adaptoff("freeze", second, "-o", str(frozen), "--no-judge").stdout.strip() == str(frozen)
    assert policy.load(frozen).provenance["steps"] == 4096
    judged = ("--policy", str(frozen), "--fleets", "4", "--seeds", "1", "--rounds", "2", "--json")
    assert "policy" in json.loads(adaptoff("evaluate", *judged).stdout)["methods"]
