"""Who may import whom, and what no file may do: read from the source, nothing is run."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("adaptoff", "envs", "agents", "testbed", "tests", "benchmarks")
FACES = (*sorted(p.stem for p in (ROOT / "adaptoff").glob("cli*.py")), "__main__")
"""modules that show the project to its user: they import everything, but only when called"""
MAY_IMPORT = {
    "core": set(),
    "envs": {"core"},
    "testbed": {"core"},
    "agents": {"core", "envs"},
    "commands": {"core", "envs", "agents", "testbed"},
    "faces": {"core", "envs", "agents", "testbed", "commands"},
}
EXCEPTIONS = {"adaptoff.envs.fleet_env": {"testbed"}}
"""Gymnasium's factory of the live environment imports its backend when it is called"""
CORE_NEEDS = {"msgspec", "numpy", "zmq", "rich", "safetensors", "typer"}
OPTIONAL = {
    "adaptoff.metrics": {"prometheus_client"},
    "adaptoff.metrics_http": {"prometheus_client"},
    "adaptoff.metrics_rounds": {"prometheus_client"},
}
"""of the core, imported only when its user asks for it; an extra brings what it needs"""
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
OWN_PICKLES = {"benchmarks/dataplane_parts/sockets.py": ["pickle"]}
"""what is compared with a transport that pickles makes and reads pickles of its own"""
MACHINE = re.compile("|".join(f"/{top}/" for top in ("work", "root", "home")))


def sources() -> list[Path]:
    """Python files of the project, symlinks left out."""
    files = (f for name in FOLDERS for f in (ROOT / name).rglob("*.py"))
    return sorted(f for f in files if not any(p.is_symlink() for p in f.parents))


def layer_of(module: str) -> str | None:
    """The layer of ``adaptoff.x.y``; None for what is none of ours."""
    first, *rest = module.split(".")
    if first != "adaptoff":
        return None
    if rest and rest[0] in MAY_IMPORT:
        return rest[0]
    return "faces" if rest and rest[0] in FACES else "core"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "adaptoff" else ("adaptoff", *parts))


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of all that is imported, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{a.name}" for a in node.names)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


PROJECT = [p for p in sources() if p.relative_to(ROOT).parts[0] not in {"tests", "benchmarks"}]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PROJECT, ids=name_of)
def test_layers_import_only_those_below(path: Path) -> None:
    mine = layer_of(module_of(path))
    assert mine is not None
    others = {layer_of(name) for name in imported(parse(path))} - {None, mine}
    assert others <= MAY_IMPORT[mine] | EXCEPTIONS.get(module_of(path), set())


@pytest.mark.parametrize("path", PROJECT, ids=name_of)
def test_exceptions_hold_only_inside_functions(path: Path) -> None:
    mine = layer_of(module_of(path))
    if mine != "faces":
        assert at_once(parse(path)) - {None, mine} <= MAY_IMPORT[str(mine)]


@pytest.mark.parametrize(
    "path", [p for p in PROJECT if layer_of(module_of(p)) == "core"], ids=name_of
)
def test_the_core_needs_only_what_a_device_has(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(parse(path))} - {"adaptoff"}
    assert tops <= CORE_NEEDS | OPTIONAL.get(module_of(path), set()) | sys.stdlib_module_names


@pytest.mark.parametrize("path", PROJECT, ids=name_of)
def test_what_is_optional_is_imported_by_commands_alone(path: Path) -> None:
    if layer_of(module_of(path)) != "commands" and module_of(path) not in OPTIONAL:
        names = names_at_once(parse(path))
        modules = names | {name.rpartition(".")[0] for name in names}
        assert not modules & set(OPTIONAL)


@pytest.mark.parametrize("face", FACES)
def test_faces_start_with_the_core_alone(face: str) -> None:
    assert at_once(parse(ROOT / "adaptoff" / f"{face}.py")) <= {None, "core", "faces"}


def at_once(tree: ast.Module) -> set[str | None]:
    """Layers that a module imports as soon as it is imported."""
    return {layer_of(name) for name in names_at_once(tree)}


def names_at_once(tree: ast.Module) -> set[str]:
    """What a module imports as soon as it is imported."""
    nodes = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    return {name for node in nodes for name in imported(node)}


def offences(tree: ast.AST) -> list[str]:
    """What no file may do: unpickle, or import relatively."""
    found = [name for name in imported(tree) if name.split(".")[0] in UNPICKLERS | {""}]
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    return found + [ast.unparse(call) for call in calls if unpickles(call)]


def unpickles(call: ast.Call) -> bool:
    options = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
    return {
        "torch.load": options.get("weights_only") is not True,
        "np.load": "allow_pickle" in [k.arg for k in call.keywords]
        and options.get("allow_pickle") is not False,
        "PPO.load": True,
        "VecNormalize.load": True,
    }.get(ast.unparse(call.func), False)


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_nothing_unpickles_and_imports_are_absolute(path: Path) -> None:
    assert offences(parse(path)) == OWN_PICKLES.get(name_of(path), [])


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "from . import wire",
        "from .wire import decode",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "PPO.load(path)",
    ],
)
def test_offences_are_seen(code: str) -> None:
    assert offences(ast.parse(code))


def test_layers_are_told_apart() -> None:
    assert layer_of("adaptoff.cost") == layer_of("adaptoff.data") == "core"
    assert layer_of("adaptoff.testbed.wire") == "testbed"
    assert layer_of("adaptoff.cli") == layer_of("adaptoff.cli_keys.app") == "faces"
    assert layer_of("numpy.typing") is None
    assert {layer_of(module_of(path)) for path in PROJECT} == set(MAY_IMPORT)


def texts() -> list[Path]:
    """All files that people wrote."""
    top = [p for p in ROOT.iterdir() if p.is_file() and not p.name.startswith(".coverage")]
    docs = [p for name in (".ci", "docs") for p in (ROOT / name).rglob("*") if p.is_file()]
    data = [p for p in (ROOT / "adaptoff" / "data").iterdir() if p.suffix in {".toml", ".json"}]
    return sorted(top + docs + data + sources())


def test_no_path_of_a_certain_machine() -> None:
    read = {path: path.read_bytes().decode("utf-8", "replace") for path in texts()}
    assert len(read) > 50
    assert [str(path) for path, text in read.items() if MACHINE.search(text)] == []
