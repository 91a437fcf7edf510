"""The dashboard asks for figures that there are, and Grafana can import it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adaptoff.guards import Guards

pytest.importorskip("prometheus_client", reason="needs the extra metrics")

from adaptoff.messages import FleetFigures
from adaptoff.metrics import EACH, OWN, DeviceMetrics, FleetMetrics
from tests.reported import DECISION, SEEN, round_of

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
WANTED = (
    "Round time", "Stages of device $device", "Decisions by source", "Cut", "Operating point",
    "Link rates", "Temperature", "Energy", "Guard actions", "Accuracy",
)  # fmt: skip


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def exported(figures: FleetFigures) -> dict[str, set[str]]:
    """Labels of each name that a server or a device exports."""
    fleet, device = FleetMetrics(2, 70.0), DeviceMetrics(1)
    seen = replace(SEEN, down_bps=4e6)
    fleet.round(round_of(figures, telemetry=[seen]))
    device.guards(Guards())
    device.watch(lambda: 0.0)
    device.round(seen, DECISION, 0.001)
    return {
        sample.name: set(sample.labels)
        for registry in (fleet.registry, device.registry)
        for family in registry.collect()
        for sample in family.samples
    }


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Expressions and their legends, those of variables included."""
    for panel in dashboard["panels"]:
        yield from ((each["expr"], each["legendFormat"]) for each in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"], ""


def test_it_asks_for_what_there_is(
    dashboard: dict[str, Any], exported: dict[str, set[str]]
) -> None:
    asked = list(queries(dashboard))
    assert len(asked) > len(WANTED)
    for expression, legend in asked:
        names = re.findall(r"adaptoff_\w+", expression)
        assert names, expression
        for name in names:
            labels = exported[name] | {"instance"}
            assert set(re.findall(r'(\w+)=~?"', expression)) <= labels, expression
            assert set(re.findall(r"{{(\w+)}}", legend)) <= labels, legend
            for grouped in re.findall(r"by \(([\w, ]+)\)", expression):
                assert set(grouped.split(", ")) <= labels, expression


def test_the_manual_lists_what_is_exported(exported: dict[str, set[str]]) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    first = re.findall(r"^\|([^|]*)\|", text, re.MULTILINE)
    listed = [name for column in first for name in re.findall(r"`(\w+)", column)]
    ends = [name for name in listed if name.startswith("_")]
    names = {f"{who}{end}" for who in (EACH, OWN) for end in ends} | set(listed) - set(ends)
    assert names == {re.sub("_(bucket|sum|count)$", "", name) for name in exported}


def test_it_shows_what_people_look_for(dashboard: dict[str, Any]) -> None:
    assert set(WANTED) <= {panel["title"] for panel in dashboard["panels"]}


def test_grafana_can_import_it(dashboard: dict[str, Any]) -> None:
    assert dashboard["id"] is None
    assert re.fullmatch(r"[\w-]{1,40}", dashboard["uid"])
    assert dashboard["title"]
    assert dashboard["schemaVersion"] >= 36  # from it on a data source is named by its uid
    assert dashboard["__inputs"] == []  # the data source is a variable instead
    required = {each["id"] for each in dashboard["__requires"]}
    assert required == {"grafana", "prometheus"} | {each["type"] for each in dashboard["panels"]}


def test_its_variables_are_those_it_uses(dashboard: dict[str, Any]) -> None:
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert {"datasource", "device"} <= set(variables)
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    text = json.dumps(dashboard)
    assert set(re.findall(r"\${?([a-z]\w*)", text)) == set(variables)


def test_its_panels_are_told_apart_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [cell for panel in panels for cell in cells(panel["gridPos"])]
    assert len(taken) == len(set(taken))
    for panel in panels:
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs))
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(s == {"type": "prometheus", "uid": "${datasource}"} for s in sources)


def cells(at: dict[str, int]) -> Iterator[tuple[int, int]]:
    assert at["x"] + at["w"] <= 24
    for x in range(at["x"], at["x"] + at["w"]):
        yield from ((x, y) for y in range(at["y"], at["y"] + at["h"]))
