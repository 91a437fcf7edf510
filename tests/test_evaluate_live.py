"""``adaptoff evaluate --live``: methods on real processes, judged as emulated ones are."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adaptoff import config
from adaptoff.agents.hindsight import Oracle
from adaptoff.agents.method import play
from adaptoff.agents.wanted import Wanted
from adaptoff.commands import live_methods
from adaptoff.commands.judge_live import Contest, times
from adaptoff.commands.live_methods import EACH, Told
from adaptoff.commands.wires import Kind, missing
from adaptoff.errors import InputError
from adaptoff.policy import default
from adaptoff.scenario import Scenario
from adaptoff.testbed.probe import probe

SMALL = """
name = "small"
workload = {batch_size = 8, batches = 2, rounds = 2}
boards.a.speed = 0.4
boards.a.opps = [
  {mhz = 600, relative_speed = 0.5, dynamic_w = 1.0},
  {mhz = 1200, relative_speed = 1.0, dynamic_w = 3.0},
]
links.l.steps = [{up_mbps = 50, down_mbps = 50}, {round = 2, up_mbps = 2000, down_mbps = 2000}]
devices = [{board = "a", link = "l", count = 2}]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def evaluate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adaptoff", "evaluate", "--live", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)


@pytest.mark.parametrize("net", ["pace", "netns"])
def test_methods_meet_the_same_links_and_samples(small: Path, net: Kind) -> None:
    if net == "netns" and (why := missing(probe())):
        pytest.skip(why)
    names = ("native", "policy", "threshold", EACH)
    out = small.parent / "out"
    done = evaluate(
        "--scenario", str(small), "--methods", ",".join(names), "--out", str(out), "--json",
        "--net", net,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert ("TBF" in result["backend"]) == (net == "netns")
    assert set(result["methods"]) == set(names)
    assert set(result["runs"]) == {*names, "oracle"}
    runs = result["runs"].values()
    assert len({tuple(run["accuracy_per_round"]) for run in runs}) == 1
    assert {run["samples"] for run in runs} == {2 * 2 * 2 * 8}
    native = result["runs"]["native"]
    assert native["training_time_s"] == pytest.approx(sum(native["round_s"]))
    assert {d["cut"] for r in native["rounds"] for d in r["devices"]} == {7}
    assert {d["source"] for r in result["runs"]["policy"]["rounds"] for d in r["devices"]} <= {
        "policy",
        "planner",
    }
    ratio = np.mean(result["runs"]["threshold"]["round_s"]) / np.mean(native["round_s"])
    assert result["methods"]["threshold"]["round_time_ratio"]["mean"] == pytest.approx(ratio)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!")
    assert all(name in page for name in names)


def test_what_cannot_be_judged_live_is_told_before_anything_starts(small: Path) -> None:
    done = evaluate("--scenario", str(small), "--methods", "nobody")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "method nobody: allowed: " in done.stderr


def test_a_profile_is_refused(small: Path) -> None:
    wanted = Wanted(scenario=str(small), profiles=("vgg5",))
    with pytest.raises(InputError, match="--profile"):
        Contest.of(wanted, ("native",), (0,), default(), "default", None)


def test_more_devices_than_clusters_are_refused() -> None:
    scenario = config.load("scale")
    with pytest.raises(InputError, match="20 devices: at most 8"):
        live_methods.twin(scenario, config.profile_of(scenario))


@pytest.fixture
def scenario(small: Path) -> Scenario:
    return config.load(str(small))


def test_the_oracle_that_is_told_is_the_emulated_one(scenario: Scenario) -> None:
    """Where nothing is hidden, what the scenario names is the truth."""
    profile = config.profile_of(scenario)
    told = play(Told(scenario), live_methods.twin(scenario, profile), 0, 2)
    knows = play(Oracle(), live_methods.twin(scenario, profile), 0, 2)
    for mine, true in zip(told, knows, strict=True):
        np.testing.assert_array_equal(mine.outcome.way, true.outcome.way)
        np.testing.assert_array_equal(mine.outcome.opp, true.outcome.opp)
    assert told[0].outcome.way.tolist() != told[1].outcome.way.tolist()


def test_time_to_accuracy_is_that_of_the_first_round_that_has_it() -> None:
    run = {"round_s": [2.0, 3.0, 4.0], "accuracy_per_round": [0.1, 0.6, 0.5]}
    assert times(run, 0.5)["time_to_accuracy_s"] == 5.0
    assert times(run, 0.7)["time_to_accuracy_s"] is None
    assert times(run, 0.7)["training_time_s"] == 9.0
