"""The HTML report: complete, self-contained, and safe with any text."""

import copy
import json
from html.parser import HTMLParser
from typing import Any

import pytest

from adaptoff.agents import plots, report
from adaptoff.agents.results import device_label, rounds_of, series

HOSTILE = """<script>alert("x")</script>&'$\\frac{$\x00\n中"""
ROUNDS = 4
N = 3


def device(number: int, round_: int, cut: int, device_s: float, **changes: Any) -> dict[str, Any]:
    parts = {"device_s": device_s, "link_s": 0.5, "server_s": 0.25 * (cut < 7), "wait_s": 0.1}
    rates = {"up_mbps": 20.0 / round_, "down_mbps": None}
    usual = {"source": "policy", "opp": 1}
    return {"device": number, "cut": cut, **usual, **parts, **rates, **changes}


def run(cut: int, device_s: float) -> dict[str, Any]:
    rounds = [
        {
            "round": r,
            "round_s": device_s + 1,
            "devices": [device(i, r, cut, device_s * (i + 1)) for i in range(N)],
        }
        for r in range(1, ROUNDS + 1)
    ]
    return {
        "round_s": [device_s + 1] * ROUNDS,
        "energy_j": [10 * device_s] * ROUNDS,
        "energy_source": "modelled",
        "accuracy": 0.9,
        "late": 0,
        "accuracy_per_round": [0.3, 0.6, 0.8, 0.9],
        "rounds": rounds,
    }


@pytest.fixture
def result() -> dict[str, Any]:
    return {
        "backend": "live",
        "model": "vgg5",
        "dataset": "digits",
        "devices": [{"id": i, "board": f"board{i}", "link": "wifi"} for i in range(N)],
        "native": run(7, 4.0),
        "adaptive": run(2, 1.0),
        "reduction": {"round_time": 0.6, "energy": -0.05},
        "decisions": [],
        "report": "report.html",
        "provenance": {"seed": 7, "versions": {"adaptoff": "0.1.0"}, "command": "adaptoff demo"},
    }


class Reader(HTMLParser):
    """Collects tags, attributes and text; complains of tags that do not nest."""

    VOID = frozenset({"meta"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in {"src", "href", "xlink:href", "data"}]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(result: dict[str, Any]) -> Reader:
    return Reader(report.render(result))


def test_all_parts_are_there(result: dict[str, Any]) -> None:
    page = read(result)
    assert page.tags.count("svg") == len(report.CAPTIONS) == 5
    for part in ("60.0% less", "5.0% more", "90.0%", "adaptoff demo", "board2", "modelled"):
        assert part in page.text
    assert "constant" not in page.text
    assert "overloaded" not in page.text


def test_it_is_self_contained(result: dict[str, Any]) -> None:
    page = read(result)
    assert page.tags
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert all(link.startswith("#") for link in page.links)


def test_a_third_method_is_shown(result: dict[str, Any]) -> None:
    before = read(result)
    result["constant"] = run(4, 2.0) | {"late": 2, "overloaded_rounds": [3]}
    page = read(result)
    assert page.tags.count("tr") == before.tags.count("tr") + 1
    assert "constant: this host was overloaded in rounds [3]" in page.text


def hostile(value: Any) -> Any:
    """The same result with the hostile text in the place of every text, keys included."""
    if isinstance(value, dict):
        return {k: hostile(v) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(v) for v in value]
    return HOSTILE if isinstance(value, str) else value


def test_text_is_shown_never_run(result: dict[str, Any]) -> None:
    result = hostile(result)
    result["provenance"] |= {HOSTILE: HOSTILE}
    result["devices"][0]["id"] = HOSTILE
    page = read(result)
    assert "script" not in page.tags
    assert '<script>alert("x")</script>' in page.text


def test_late_and_silent_devices_leave_gaps(result: dict[str, Any]) -> None:
    result["adaptive"]["rounds"][1]["devices"].pop(0)
    result["adaptive"]["rounds"][2]["devices"][1]["up_mbps"] = None
    for round_ in result["adaptive"]["rounds"]:
        round_["devices"].pop()  # the last one never answered
    assert str(series(result["adaptive"], 0, "cut")) == "[2.0, nan, 2.0, 2.0]"
    assert series(result["adaptive"], 0, "source")[:2] == ["policy", None]
    assert rounds_of(result["adaptive"]) == [1, 2, 3, 4]
    read(result)


def test_one_round_and_one_device(result: dict[str, Any]) -> None:
    result["devices"] = result["devices"][:1]
    for name in ("native", "adaptive"):
        one = result[name]
        for key in ("round_s", "energy_j", "accuracy_per_round", "rounds"):
            one[key] = one[key][:1]
    read(result)


def test_many_devices_are_cut_short_and_it_says_so(result: dict[str, Any]) -> None:
    extra = {"id": 0, "board": "b", "link": "l"}
    result["devices"] = [extra | {"id": i} for i in range(plots.MAX_DRAWN + 5)]
    page = read(result)
    assert page.text.count("The first 16 of 21 devices are shown.") == 3


def test_the_same_result_gives_the_same_page(result: dict[str, Any]) -> None:
    before = copy.deepcopy(result)
    assert report.render(result) == report.render(json.loads(json.dumps(result)))
    assert result == before


def test_labels_are_short_and_printable() -> None:
    assert device_label({"id": 3, "board": "pi4"}) == "3 · pi4"
    label = device_label({"id": 3, "board": "x\n\x00" + "y" * 100})
    assert label.startswith("3 · x??yyy")
    assert len(label) == 24
