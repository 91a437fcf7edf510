"""What ``adaptoff evaluate`` finds and writes."""

import json
from hashlib import sha256
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from adaptoff import policy as policies
from adaptoff.agents.freeze import layers_of
from adaptoff.agents.scorer import make_actor
from adaptoff.agents.wanted import Wanted
from adaptoff.commands import judge, judged
from adaptoff.commands.judge import Judging
from adaptoff.errors import InputError
from adaptoff.policy import Policy

ASKED = ("native", "policy", "planner", "random")
SEEDS = (10_000, 10_001)


def policy() -> Policy:
    """Untrained: it follows the cost model."""
    torch.manual_seed(0)
    return Policy(layers_of(make_actor().state_dict()), {"steps": 7, "evaluation": {"a": 1}})


def run(wanted: Wanted, out: Path | None = None, asked=ASKED, seeds=SEEDS) -> dict[str, Any]:
    return judge.run(Judging(asked, seeds, policy()), wanted, out, Console(file=StringIO()))


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("traces") / "metro"
    path.mkdir()
    (path / "one.csv").write_text("t_s,up_mbps,down_mbps\n0,,20\n5,,3\n9,,50\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("out") / "new"


@pytest.fixture(scope="module")
def result(directory, out) -> dict[str, Any]:
    wanted = Wanted(
        profiles=("vgg5",), traces=(directory,), up_over_down=0.5, fleets=3, rounds=4, heat=True
    )
    return run(wanted, out)


def test_figures_are_given_for_all_and_for_each_class(result) -> None:
    assert list(result["classes"]) == ["vgg5/drawn-hot", "vgg5/metro-hot"]
    parts = [result, *result["classes"].values()]
    for part in parts:
        assert list(part["methods"]) == list(ASKED)
        assert list(part["paired"]) == ["policy - native", "policy - planner", "policy - random"]
    for name in ASKED:
        for key in ("cost", "regret", "heat_violation"):
            whole, *each = (part["methods"][name][key]["mean"] for part in parts)
            assert whole == pytest.approx(np.mean(each))
    assert result["methods"]["native"]["heat_violation"]["mean"] > 0


def test_provenance_says_how_to_get_it_again(result, directory) -> None:
    known = result["provenance"]
    assert (known["seeds"], known["rounds"], known["episodes"]) == (list(SEEDS), 4, 12)
    assert known["command"].startswith("adaptoff ")
    assert known["wall_s"] > 0
    assert set(known["classes"]) == set(result["classes"])
    assert known["classes"]["vgg5/metro-hot"]["links"]["traces"] == str(directory)
    [trace] = known["traces"]["metro-hot"]
    assert (trace["file"], trace["factor"], trace["up_over_down"]) == ("one.csv", [1.0, 1.0], 0.5)
    shipped = resources.files("adaptoff.data") / policies.DEFAULT
    assert known["policy"] == {
        "name": "default",
        "sha256": sha256(shipped.read_bytes()).hexdigest(),
        "origin": {"steps": 7},
    }


def test_the_files_say_what_is_printed(result, out) -> None:
    assert json.loads((out / "results.json").read_bytes()) == result
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "results.json"]


def test_the_front_has_a_point_for_each_weight(result) -> None:
    found = result["front"]
    assert (found["seed"], found["fleets"]) == (SEEDS[0], 3)
    assert list(found["classes"]) == ["all", *result["classes"]]
    for lines in found["classes"].values():
        assert set(lines) == {"native", "oracle", "policy", "planner"}
        for points in lines.values():
            assert [point["energy_weight"] for point in points] == [0.0, 0.1, 0.3, 1.0]
        assert all(p["round_time_ratio"] == p["energy_ratio"] == 1 for p in lines["native"])
        assert lines["oracle"][-1]["energy_ratio"] <= lines["oracle"][0]["energy_ratio"] + 1e-9


def test_the_time_line_is_of_an_episode_that_was_played(result) -> None:
    line = result["timeline"]
    assert line["class"] in result["classes"]
    assert (line["seed"], line["method"]) == (SEEDS[0], "policy")
    assert set(line["round_s"]) == {"native", "policy", "oracle"}
    assert 2 <= len(line["clusters"]) <= 5
    for cluster in line["clusters"]:
        lengths = {len(value) for value in cluster.values() if isinstance(value, list)}
        assert lengths == {4} == {len(seconds) for seconds in line["round_s"].values()}
        assert 0 <= min(cluster["cut"]) <= max(cluster["cut"]) <= line["native_cut"]
        assert max(cluster["opp"]) <= cluster["top_opp"]


def test_without_out_nothing_is_written_or_drawn(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(Wanted(profiles=("vgg5",), fleets=2, rounds=2), asked=("native",), seeds=(1,))
    assert set(found) == {"methods", "paired", "classes", "provenance"}
    assert found["paired"] == {}
    assert "policy" not in found["provenance"]
    assert list(tmp_path.iterdir()) == []


def test_one_episode_has_no_intervals_and_still_a_report(tmp_path) -> None:
    text = StringIO()
    found = run(Wanted(scenario="demo", rounds=1), tmp_path, ("policy", "native"), (1,))
    assert found["methods"]["policy"]["cost"]["ci95"] == [None, None]
    judged.show(found, Console(file=text))
    assert "none" in text.getvalue()
    assert (tmp_path / "report.html").exists()


def test_the_same_words_give_the_same_figures() -> None:
    wanted = Wanted(profiles=("vgg5",), fleets=2, rounds=3)
    first, again = (run(wanted, asked=("linucb", "random", "policy")) for _ in range(2))
    for found in (first, again):
        del found["provenance"]["wall_s"]
    assert first == again


def test_tables_name_methods_classes_and_pairs(result) -> None:
    text = StringIO()
    judged.show(result, Console(file=text, width=120))
    for word in (*ASKED, *result["classes"], "policy - planner:", "over 2 seeds", "report.html"):
        assert word in text.getvalue()


@pytest.mark.parametrize(
    ("asked", "wanted", "word"),
    [
        (("native", "magic"), {"fleets": 1}, "magic"),
        (("policy", "policy"), {"fleets": 1}, "policy is there twice"),
        (("native",), {"fleets": 1, "profiles": ("nowhere",)}, "nowhere"),
        (("native",), {"fleets": 1, "traces": (Path("nowhere"),)}, "nowhere"),
    ],
)
def test_wrong_input_is_found_before_anything_is_played(
    asked, wanted, word, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(judge, "play_tasks", None)
    with pytest.raises(InputError, match=word):
        run(Wanted(**wanted), tmp_path / "new", asked)
    assert not (tmp_path / "new").exists()


def test_a_directory_that_cannot_be_written_is_found_first(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(judge, "play_tasks", None)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="--out"):
        run(Wanted(profiles=("vgg5",), fleets=1), tmp_path / "file")


def test_a_crash_leaves_old_results_whole(tmp_path, monkeypatch) -> None:
    for name in ("results.json", "report.html"):
        (tmp_path / name).write_text("old", encoding="utf-8")

    def broken(_: object) -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(judge, "render", broken)
    with pytest.raises(RuntimeError, match="broken"):
        run(Wanted(scenario="demo", rounds=1), tmp_path, ("native",), (1,))
    assert {path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {"old"}
