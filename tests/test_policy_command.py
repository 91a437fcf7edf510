"""``adaptoff policy``: what is shown is what is used."""

import hashlib
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from adaptoff import policy as policies
from adaptoff.cli import app
from adaptoff.errors import PolicyError
from adaptoff.observation import FEATURES, SCHEMA
from adaptoff.policy import Policy

SHIPPED = hashlib.sha256(
    (resources.files("adaptoff.data") / policies.DEFAULT).read_bytes()
).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    layer = (np.ones((len(FEATURES), 1), np.float32), np.zeros(1, np.float32))
    policies.save(Policy([layer], {"seed": 7}), path)
    return path


def run(folder: Path, *words: object) -> Result:
    arguments = ["policy", *map(str, words), "--dir", str(folder / "kept")]
    return CliRunner().invoke(app, arguments)


def test_taken_shown_listed_and_taken_back(tmp_path: Path, file: Path) -> None:
    mine = hashlib.sha256(file.read_bytes()).hexdigest()
    assert run(tmp_path, "take", "default").stdout.strip() == SHIPPED
    assert run(tmp_path, "take", file).stdout.strip() == mine
    shown = json.loads(run(tmp_path, "show", "--json").stdout)
    assert (shown["name"], shown["sha256"]) == ("current", mine)
    assert (shown["schema"], shown["provenance"]) == (SCHEMA, {"seed": 7})
    assert [line.split() for line in run(tmp_path, "list").stdout.splitlines()] == [
        ["*", "current", mine], ["previous", SHIPPED], ["shipped", SHIPPED],
    ]  # fmt: skip
    assert run(tmp_path, "back").stdout.strip() == SHIPPED
    text = run(tmp_path, "show").stdout
    assert SHIPPED in text
    assert f"schema               {SCHEMA}" in text


def test_before_anything_was_taken_it_is_the_shipped_one(tmp_path: Path) -> None:
    shown = json.loads(run(tmp_path, "show", "--json").stdout)
    assert (shown["name"], shown["sha256"]) == ("shipped", SHIPPED)
    assert not (tmp_path / "kept").exists()


def test_tables_of_the_provenance_are_shown_line_by_line(tmp_path: Path) -> None:
    shown = run(tmp_path, "show").stdout.splitlines()
    known = policies.default().provenance
    place = shown.index("config")
    rows = shown[place + 1 : place + 1 + len(known["config"])]
    assert [row.split() for row in rows] == [[k, str(v)] for k, v in known["config"].items()]
    assert all(row.startswith("  ") for row in rows)
    assert not any("{" in line or len(line) > 100 for line in shown)


def test_a_broken_one_is_named_and_not_used(tmp_path: Path, file: Path) -> None:
    run(tmp_path, "take", file)
    path = tmp_path / "kept" / "policy.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    current, shipped = json.loads(run(tmp_path, "list", "--json").stdout)["policies"]
    assert (current["used"], shipped["used"]) == (False, True)
    assert str(path) in current["refused"]
    assert str(path) in run(tmp_path, "list").stdout


@pytest.mark.parametrize("words", [("take", "nowhere"), ("take", __file__), ("back",)])
def test_wrong_input(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert isinstance(run(tmp_path, *words).exception, PolicyError)
