"""``docs/scenarios.md`` has every key with the range and the default that the code has."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from adaptoff import config
from adaptoff import scenario as scenarios

TEXT = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text(encoding="utf-8")
TABLES = {
    "## Top level": scenarios.Scenario,
    "## `[workload]`": scenarios.Workload,
    "## `[objective]`": scenarios.Objective,
    "## `[server]`": scenarios.Server,
    "## `[boards.NAME]`": scenarios.Board,
    "## `opps = [{...}]`": scenarios.Opp,
    "## `[links.NAME]`": scenarios.Link,
    "## `steps = [{...}]`": scenarios.Step,
    "## `[[devices]]`": scenarios.Devices,
    "## `[calibration]`": scenarios.Calibration,
}
FIELDS = [
    (heading, field) for heading, kind in TABLES.items() for field in msgspec.structs.fields(kind)
]


def rows(heading: str) -> dict[str, tuple[str, str]]:
    """Key -> allowed, default, as the table under a heading has them."""
    section = TEXT.split(f"\n{heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|([^|]*)\|$", section, re.MULTILINE)
    return {key: (allowed.strip(), default.strip()) for key, allowed, default in found}


def number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,}"


def interval(kind: inspect.IntType | inspect.FloatType) -> str | None:
    """As the tables say it; None without bounds."""
    low = None if kind.ge is None else number(kind.ge)
    if kind.gt is not None and kind.le is not None:
        return f"above {number(kind.gt)}, to {number(kind.le)}"
    if low is not None and kind.lt is not None:
        return f"{low} to below {number(kind.lt)}"
    return f"{low} to {number(kind.le)}" if low is not None and kind.le is not None else None


def lengths(kind: inspect.StrType | inspect.ListType, what: str) -> str | None:
    if kind.max_length is None:
        return None
    low = "up" if kind.min_length is None else number(kind.min_length)
    return f"{low} to {number(kind.max_length)} {what}"


def allowed(kind: inspect.Type) -> str | None:
    """What the tables must say of a type; None where they say it in words."""
    match kind:
        case (
            inspect.UnionType(types=(inner, inspect.NoneType()))
            | inspect.VarTupleType(item_type=inner)
        ):
            return allowed(inner)
        case inspect.IntType() | inspect.FloatType():
            return interval(kind)
        case inspect.StrType():
            return lengths(kind, "characters")
        case inspect.ListType():
            return lengths(kind, "entries")
        case inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
    return None


def default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value: Any = field.default
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    match value:
        case None:
            return "none"
        case str():
            return f"`{value}`"
        case int() | float():
            return number(value)
    return "empty" if field.default_factory is list else ""


@pytest.mark.parametrize("heading", TABLES)
def test_each_key_has_its_row_and_no_other(heading: str) -> None:
    assert list(rows(heading)) == list(TABLES[heading].__struct_fields__)


@pytest.mark.parametrize(("heading", "field"), FIELDS, ids=lambda v: getattr(v, "name", ""))
def test_ranges_and_defaults_are_those_of_the_code(
    heading: str, field: msgspec.structs.FieldInfo
) -> None:
    said, usual = rows(heading)[field.name]
    wanted = allowed(inspect.type_info(field.type))
    assert wanted is None or set(said.split(", ")) == set(wanted.split(", "))
    assert usual == default(field)


def test_the_example_loads(tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text(TEXT.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    scenario = config.load(str(path))
    assert scenario.workload.alpha == 0.5
    assert [group.link for group in scenario.each_device()] == ["wlan", "wlan", "car"]


def test_all_that_ship_are_listed() -> None:
    section = TEXT.split("## What ships")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)`", section, re.MULTILINE)) == config.shipped()
