"""The command line as a user meets it, in processes of its own."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptoff import __version__, policy
from adaptoff.agents import checkpoint


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
        (("evaluate", "--profile", "nowhere.json"), ("nowhere.json", "vgg5")),
        (("evaluate", "--traces", "nowhere"), ("--traces nowhere",)),
        (("evaluate", "--scenario", "demo", "--heat"), ("--heat", "--scenario")),
        (("evaluate", "--trace-scale", "5", "100"), ("--trace-scale", "--traces")),
        (("device", "tcp://127.0.0.1:65536", "0"), ("tcp://HOST:PORT",)),
        (("evaluate", "--dilation", "2"), ("--dilation", "--live")),
        (("serve", "--figures-only", "--bind", "nowhere"), ("nowhere", "tcp://HOST:PORT")),
        (("freeze", "nowhere.safetensors"), ("nowhere.safetensors",)),
        (("train", "--config", "nowhere.toml"), ("nowhere.toml",)),
        (("train", "--set", "entrpy=0.5"), ("--set", "entrpy", "entropy")),
        (("train", "--set", "entropy=5"), ("--set", "entropy = 5", "0 to 1")),
        (("train", "--steps", "0"), ("--steps", "from 1")),
        (("train", "--resume", "nowhere.safetensors"), ("nowhere.safetensors",)),
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


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("adaptoff.cli", "rich.console"),
        ("adaptoff.commands.control", "rich.console"),
        ("adaptoff.commands.control", "torch"),
        ("adaptoff.commands.node", "sklearn"),
        ("adaptoff.commands.node", "scipy"),
    ],
)
def test_a_board_s_memory_is_spared_what_it_does_not_need(module: str, spared: str) -> None:
    code = f"import sys, {module}; sys.exit({spared!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_server_that_is_not_there_fails_with_one_line() -> None:
    done = adaptoff("device", "ipc:///nowhere/at-all", "0", code=1)
    assert done.stderr.count("\n") == 1


def test_doctor_tells_what_is_used() -> None:
    found = json.loads(adaptoff("doctor", "--json").stdout)["findings"]
    assert {"cores", "cpufreq", "links", "default policy"} <= {each["what"] for each in found}
    assert all(each["used"] for each in found)


def test_evaluate_writes_what_it_prints(tmp_path: Path) -> None:
    traces, out = tmp_path / "bus", tmp_path / "out"
    traces.mkdir()
    (traces / "one.csv").write_text("t_s,up_mbps,down_mbps\n0,2,9\n9,1,5\n", encoding="utf-8")
    size = ("--fleets", "2", "--seeds", "2", "--rounds", "2", "--energy-weight", "0.2")
    more = ("--traces", str(traces), "--trace-scale", "5", "50", "--out", str(out), "--json")
    done = adaptoff("evaluate", "--profile", "vgg5", *size, *more)
    result = json.loads(done.stdout)
    assert result == json.loads((out / "results.json").read_bytes())
    assert list(result["classes"]) == ["vgg5/drawn", "vgg5/bus", "vgg5/bus-scaled"]
    assert result["provenance"]["command"].endswith("--json")
    assert result["provenance"]["classes"]["vgg5/drawn"]["energy_weight"] == 0.2
    assert result["report"] == str(out / "report.html")
    assert (out / "report.html").exists()
    for word in ("planner", "vgg5/bus-scaled", "policy - native"):
        assert word in done.stderr


def test_evaluate_prints_figures_with_intervals() -> None:
    arguments = ("--scenario", "demo", "--seeds", "2", "--rounds", "3", "--json")
    result = json.loads(adaptoff("evaluate", *arguments).stdout)
    assert set(result["methods"]) == {"native", "policy", "planner"}
    assert result["methods"]["native"]["round_time_ratio"]["mean"] == pytest.approx(1)
    for figures in result["methods"].values():
        for figure in figures.values():
            low, high = figure["ci95"]
            assert low <= figure["mean"] <= high


TRAIN = """
steps = 2048
n_fleets = 16
rounds = 16
batch_size = 64
validation_fleets = 4
validation_rounds = 2
evaluate_every = 512
"""


def test_train_resume_freeze_evaluate(tmp_path: Path) -> None:
    settings, out = tmp_path / "train.toml", tmp_path / "run"
    settings.write_text(TRAIN, encoding="utf-8")
    first = (
        "train",
        "--config",
        str(settings),
        "--set",
        "entropy=0.5",
        "--out",
        str(out),
        "--json",
    )
    trained = json.loads(adaptoff(*first).stdout)
    assert set(trained) == {"best", "last", "steps", "regret"}
    assert trained["steps"] <= 2048
    again = ("train", "--resume", trained["last"], "--steps", "4096", "--json")
    assert json.loads(adaptoff(*again).stdout)["last"] == trained["last"]
    frozen = tmp_path / "policy.safetensors"
    done = adaptoff("freeze", trained["last"], "-o", str(frozen), "--no-judge")
    assert done.stdout.strip() == str(frozen)
    provenance = policy.load(frozen).provenance
    assert provenance["steps"] == 4096
    assert provenance["config"]["entropy"] == 0.5
    judged = ("--policy", str(frozen), "--fleets", "4", "--seeds", "1", "--rounds", "2", "--json")
    assert "policy" in json.loads(adaptoff("evaluate", *judged).stdout)["methods"]


def test_the_same_command_gives_the_same_policy_file(tmp_path: Path) -> None:
    settings, files = tmp_path / "train.toml", []
    settings.write_text(TRAIN, encoding="utf-8")
    for name in ("one", "other"):
        best, frozen = tmp_path / name / "best.safetensors", tmp_path / name / "policy.safetensors"
        adaptoff("train", "--config", str(settings), "--seed", "3", "--out", str(tmp_path / name))
        adaptoff("freeze", str(best), "-o", str(frozen), "--no-judge")
        files.append(frozen.read_bytes())
    assert files[0] == files[1]


def test_a_wrong_training_file_is_named(tmp_path: Path) -> None:
    settings = tmp_path / "train.toml"
    settings.write_text("epochs = 2.5", encoding="utf-8")
    err = adaptoff("train", "--config", str(settings), code=2).stderr
    assert err == f"adaptoff: {settings}: epochs = 2.5: must be int from 1 to 100\n"


def test_an_interrupted_training_says_how_to_go_on(tmp_path: Path) -> None:
    settings, last = tmp_path / "train.toml", tmp_path / "last.safetensors"
    settings.write_text(TRAIN + "checkpoint_every = 1\n", encoding="utf-8")
    command = ("train", "--config", str(settings), "--set", "steps=10_000_000")
    running = subprocess.Popen(
        [sys.executable, "-m", "adaptoff", *command, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(last)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")
    assert f"adaptoff train --resume {last}" in err
    resumed = adaptoff("train", "--resume", str(last), "--steps", str(steps_of(last) + 1), "--json")
    assert json.loads(resumed.stdout)["last"] == str(last)


def wait_for(path: Path, timeout_s: float = 60) -> None:
    until_s = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < until_s, f"no {path}"
        time.sleep(0.05)


def steps_of(path: Path) -> int:
    return checkpoint.load(path).facts["steps"]


def test_restore_has_nothing_to_do_where_nothing_was_set(tmp_path: Path) -> None:
    done = adaptoff("restore", "--dir", str(tmp_path / "none"), "--json")
    assert json.loads(done.stdout)["restored"] == []
