"""The report of an evaluation: complete, self-contained, and safe with any text."""

import copy
import json
import re
from typing import Any

import pytest

from adaptoff.agents import eval_timeline
from adaptoff.agents.eval_report import render
from tests.agents.test_report import HOSTILE, Reader

CLASSES = ("vgg5/drawn", "mine/bus")
METHODS = ("native", "policy", "planner", "all-offload", "oracle")


def figure(mean: float) -> dict[str, Any]:
    wide, narrow = [0.9 * mean, 1.2 * mean], [0.95 * mean, 1.1 * mean]
    return {"mean": mean, "ci95": wide, "ci95_episodes": narrow}


def method(regret: float) -> dict[str, Any]:
    ratios = {"round_time_ratio": figure(0.7), "energy_ratio": figure(0.8)}
    shares = {"heat_violation": figure(0.1234), "decision_changes": figure(0.25)}
    return {"cost": figure(1.5), **ratios, **shares, "regret": figure(regret)}


def part(scale: float) -> dict[str, Any]:
    regrets = {"native": 9.0, "policy": 0.031, "planner": 0.052, "all-offload": 20.0, "oracle": 0.0}
    methods = {name: method(scale * regret) for name, regret in regrets.items()}
    pairs = {f"policy - {name}": figure(-0.02) for name in METHODS if name != "policy"}
    return {"methods": methods, "paired": pairs}


def points(time_ratio: float) -> list[dict[str, float]]:
    return [
        {"energy_weight": w, "round_time_ratio": time_ratio + w / 10, "energy_ratio": 0.9 - w / 10}
        for w in (0.0, 0.1, 0.3, 1.0)
    ]


def cluster(devices: int) -> dict[str, Any]:
    series = {"up_mbps": [9.0, 90.0, 4.0], "down_mbps": [9.0, 90.0, 4.0]}
    rows = {"cut": [7, 2, 3], "opp": [1, 0, 1], "temp_c": [40.0, 50.0, 61.0]}
    return {"devices": devices, "top_opp": 1, **rows, **series}


@pytest.fixture
def result() -> dict[str, Any]:
    lines = {"native": points(1.0), "oracle": points(0.5), "policy": points(0.55)}
    return {
        **part(1.0),
        "classes": {name: part(0.5) for name in CLASSES},
        "provenance": {
            "command": "adaptoff evaluate --out x",
            "versions": {"adaptoff": "0.1.0"},
            "seeds": [3, 4],
            "rounds": 3,
            "episodes": 40,
            "classes": {name: {"fleets": 10} for name in CLASSES},
        },
        "front": {"seed": 3, "fleets": 10, "classes": dict.fromkeys(("all", *CLASSES), lines)},
        "timeline": {
            "class": "mine/bus",
            "seed": 3,
            "fleet": 4,
            "method": "policy",
            "energy_weight": 0.2,
            "heat_limit_c": 60.0,
            "native_cut": 7,
            "round_s": {"native": [9.0, 9.0, 9.0], "policy": [9.0, 4.0, 5.0]},
            "clusters": [cluster(1), cluster(3)],
        },
    }


def test_all_parts_are_there(result) -> None:
    page = Reader(render(result))
    assert page.tags.count("svg") == 4
    words = (*METHODS, *CLASSES, "3.1%", "-2.0%", "12.3%", "fleet 4", "adaptoff evaluate --out x")
    for word in (*words, "five seeds hold", "0.1, 0.3, 1", "Means of the first 10 fleets"):
        assert word in page.text


def test_figures_show_methods_classes_weights_and_clusters(result) -> None:
    """Text of figures is drawn as outlines, but each is named in a comment."""
    named = set(re.findall(r"<!-- (.*?) -->", render(result)))
    shown = {*METHODS, *CLASSES, "all classes, and native", "cluster 2, 3 devices"}
    assert shown <= named  # the oracle in the legend of the front
    assert {"3.1%", "1.6%", "900%"} <= named  # of the policy in all and in each class, of native


def test_it_is_self_contained(result) -> None:
    text = render(result)
    page = Reader(text)
    assert not {"script", "img", "link", "iframe", "object", "a"} & set(page.tags)
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_text_is_shown_never_run(result) -> None:
    raw = json.dumps(result).replace('"all-offload"', json.dumps(HOSTILE))
    raw = raw.replace('"mine/bus"', json.dumps(f"{HOSTILE}/bus"))
    raw = raw.replace("policy - all-offload", json.dumps(f"policy - {HOSTILE}")[1:-1])
    page = Reader(render(json.loads(raw)))
    assert "script" not in page.tags
    assert '<script>alert("x")</script>' in page.text


def test_one_class_and_no_intervals(result) -> None:
    result["classes"] = {"vgg5/drawn": part(1.0)}
    result["front"]["classes"].pop("mine/bus")
    text = re.sub(r'(ci95(?:_episodes)?": )\[[^]]*\]', r"\1[null, null]", json.dumps(result))
    page = Reader(render(json.loads(text)))
    assert page.tags.count("svg") == 4
    assert "none" in page.text


def test_without_the_policy_the_last_method_leads(result) -> None:
    for each in (result, *result["classes"].values()):
        each["paired"] = {}
        each["methods"].pop("policy")
    text = Reader(render(result)).text
    assert "oracle: regret to the oracle" in text
    assert "The policy against" not in text


def test_negative_regret_is_drawn(result) -> None:
    """An oracle that does not plan for heat can be beaten."""
    result["methods"]["policy"]["regret"] = figure(-0.5)
    assert "-50.0%" in render(result)


def test_many_clusters_are_cut_short_and_it_says_so(result) -> None:
    line = result["timeline"]
    line["clusters"] = [cluster(1)] * (eval_timeline.MOST_CLUSTERS + 2)
    assert "The first 6 of 8 clusters are shown." in Reader(render(result)).text


def test_the_same_result_gives_the_same_page(result) -> None:
    before = copy.deepcopy(result)
    assert render(result) == render(json.loads(json.dumps(result)))
    assert result == before
