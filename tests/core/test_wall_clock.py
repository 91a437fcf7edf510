"""The wall clock measures nothing; when it jumps, that is told."""

import ast
from pathlib import Path

import pytest

import adaptoff
from adaptoff.guards import Guards
from adaptoff.wall_clock import StepWatch

ROOT = Path(adaptoff.__file__).parent
FOLDERS = ROOT, ROOT / "commands", ROOT / "testbed"
MODULES = sorted(path for folder in FOLDERS for path in folder.glob("*.py"))
WALL = {
    ("time", "time"), ("time", "time_ns"), ("time", "localtime"), ("time", "gmtime"),
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"),
}  # fmt: skip


class Clocks:
    """Both go when told to."""

    wall_s = 1e9
    now_s = 50.0

    def pass_(self, seconds: float, *, step_s: float = 0.0) -> None:
        self.now_s += seconds
        self.wall_s += seconds + step_s


@pytest.mark.parametrize(
    ("seconds", "step_s", "count"),
    [(10.0, 3600.0, 1), (10.0, -3600.0, 1), (0.0, 1.5, 1), (10.0, 0.5, 0), (36000.0, 18.0, 0)],
    ids=["forward", "back", "at once", "small", "slewed"],
)
def test_a_step_is_counted_once(seconds: float, step_s: float, count: int) -> None:
    clocks, guards = Clocks(), Guards()
    watch = StepWatch(guards, lambda: clocks.wall_s, lambda: clocks.now_s)
    clocks.pass_(seconds, step_s=step_s)
    watch.look()
    clocks.pass_(10.0)
    watch.look()
    assert guards.counts["clock-step"] == count


def used(path: Path) -> set[tuple[str, str]]:
    """(module, function) of the wall clocks that a file reads."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = {
        (node.value.id, node.attr)
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    named |= {
        (node.module or "", name.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    return named & WALL


def test_nothing_measures_by_the_wall_clock() -> None:
    assert len(MODULES) > 80
    found = {path.name: used(path) for path in MODULES if used(path)}
    assert found == {"wall_clock.py": {("time", "time")}}
