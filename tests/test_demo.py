"""The demo: its scenario is a real choice, and its figures come from live processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from adaptoff import config, planner
from adaptoff.commands.hindsight import constant_rows
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode
from adaptoff.envs.scenarios import ScenarioFleet
from adaptoff.ways import Ways

SMALL = """
name = "small"

[workload]
batch_size = 8
batches = 2
rounds = 2

[boards.a]
speed = 0.4
opps = [
  {mhz = 600, relative_speed = 0.5, dynamic_w = 1.0},
  {mhz = 1200, relative_speed = 1.0, dynamic_w = 3.0},
]

[links.l]
steps = [{up_mbps = 200, down_mbps = 200}, {round = 2, up_mbps = 50, down_mbps = 50}]

[[devices]]
board = "a"
link = "l"
count = 2
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def start(path: Path, *more: str) -> subprocess.Popen[str]:
    arguments = ["demo", "--scenario", str(path), "--out", str(path.parent / "out"), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "adaptoff", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_children(parent: int, count: int, timeout_s: float = 60) -> list[psutil.Process]:
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        children = psutil.Process(parent).children(recursive=True)
        if len(children) >= count:
            return children
        time.sleep(0.05)
    raise AssertionError("the demo started no processes")


def test_the_shipped_scenario_is_a_real_choice() -> None:
    scenario = config.load("demo")
    profile = config.profile_of(scenario)
    assert scenario.workload.min_cut == 1
    rounds = scenario.workload.rounds
    backend = EmulatedFleet(ScenarioFleet(scenario, profile, rounds, loaded=False))
    episode = Episode(backend)
    episode.reset(0)
    best, ways = set(), Ways(profile, scenario.workload).all
    for _ in range(rounds):
        state = episode.state
        true = state.under(backend.truth())
        rows = planner.enumerate_best(episode.fleet, true)
        best |= set(zip(rows.way[0].tolist(), rows.opp[0].tolist(), strict=True))
        episode.run(rows)
    assert len(best) >= 3
    assert any(0 < ways[way].cut < profile.native for way, _ in best)
    assert len({ways[way].depth for way, _ in best}) > 1
    assert {ways[way].codec for way, _ in best} == {"float32", "uint8"}


def test_constant_rows_in_hindsight_are_within_the_boards_tables() -> None:
    scenario = config.load("demo")
    profile = config.profile_of(scenario)
    same = constant_rows(scenario, profile, each=False)
    assert len(set(same.way[0].tolist())) == 1
    rows = constant_rows(scenario, profile, each=True)
    assert rows.way.shape == (1, len(scenario.each_device()))
    assert set(rows.way[0].tolist()) <= set(Ways(profile, scenario.workload).allowed)


def test_the_demo_runs_end_to_end(small: Path) -> None:
    running = start(small, "--thorough", "--json")
    out, err = running.communicate(timeout=200)
    assert running.returncode == 0, err
    result = json.loads(out)
    for name in ("native", "adaptive", "constant", "constant_each"):
        assert len(result[name]["round_s"]) == 2
        assert len(result[name]["energy_j"]) == 2
        assert result[name]["energy_source"] == "modelled"
        assert 0 <= result[name]["accuracy"] <= 1
    assert result["native"]["accuracy_per_round"] == result["adaptive"]["accuracy_per_round"]
    assert result["native"]["samples"] == result["adaptive"]["samples"] == 2 * 2 * 2 * 8
    assert {d["cut"] for r in result["native"]["rounds"] for d in r["devices"]} == {7}
    assert {d["source"] for d in result["decisions"]} <= {"policy", "planner"}
    mean = {name: np.mean(result[name]["round_s"]) for name in ("native", "adaptive")}
    saved = 1 - mean["adaptive"] / mean["native"]
    assert result["reduction"]["round_time"] == pytest.approx(saved)
    assert {"versions", "seed", "command", "host_cores", "dilation"} <= set(result["provenance"])
    assert Path(result["report"]).read_text(encoding="utf-8").startswith("<!")
    assert json.loads((small.parent / "out" / "results.json").read_text())["model"] == "vgg5"


def test_a_server_stopped_during_the_demo_means_no_result(small: Path) -> None:
    running = start(small, "--set", "workload.rounds=500", "--json")
    children = wait_for_children(running.pid, 3)
    server = next(c for c in children if "serve" in c.cmdline())
    time.sleep(3)
    server.send_signal(signal.SIGKILL)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 1
    assert out == ""
    assert "the server" in err.splitlines()[-1]
    assert not (small.parent / "out" / "results.json").exists()
    assert_gone(children)


@pytest.mark.parametrize(
    ("count", "wait_s", "how"),
    [
        (1, 0, signal.SIGINT),  # while the server starts
        (2, 0, signal.SIGINT),  # in the midst of starting devices
        (3, 0, signal.SIGINT),
        (3, 0, signal.SIGTERM),
        (3, 8, signal.SIGINT),  # in a round
    ],
)
def test_an_interrupted_demo_leaves_no_process(
    small: Path, count: int, wait_s: float, how: signal.Signals
) -> None:
    running = start(small, "--set", "workload.rounds=500")
    children = wait_for_children(running.pid, count)
    time.sleep(wait_s)
    children = psutil.Process(running.pid).children(recursive=True)
    os.kill(running.pid, how)
    begun_s = time.monotonic()
    running.communicate(timeout=30)  # until all that share its standard error are gone
    assert time.monotonic() - begun_s < 2 + 1  # the promise is 2 s; 1 s for a busy machine
    assert running.returncode != 0
    assert_gone(children)


def assert_gone(children: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(children, timeout=3)
    assert alive == []


def test_a_place_that_cannot_be_written_to_is_one_line(small: Path) -> None:
    (small.parent / "out").write_text("a file", encoding="utf-8")
    running = start(small)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 2
    assert err.startswith("adaptoff: --out")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("wait_s", [0, 8])
def test_children_notice_a_parent_that_was_killed(small: Path, wait_s: float) -> None:
    running = start(small, "--set", "workload.rounds=500")
    children = wait_for_children(running.pid, 3)
    time.sleep(wait_s)
    running.kill()
    running.wait(5)
    _, alive = psutil.wait_procs(children, timeout=30)
    running.communicate()
    assert alive == []
