"""The wheel: everything that runs is in it, once, and nothing else."""

import configparser
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from email.parser import Parser
from pathlib import Path

import pytest

import adaptoff

ROOT = Path(__file__).parents[1]
MAPPED = ("envs", "agents", "testbed")
DATA = {".toml", ".json", ".safetensors"}
SKIPPED = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist",
    "runs", "demo-*", "tests", "benchmarks",
)  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, so that nothing is left in the checkout."""
    where = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, where / "copy", symlinks=True, ignore=SKIPPED)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(where)]
    done = subprocess.run(
        [*command, str(where / "copy")], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = where.glob("*.whl")
    return zipfile.ZipFile(path)


def expected() -> set[str]:
    """Modules, data and the typing marker, by the name that they have when installed."""
    core = ROOT / "adaptoff"
    names = {f"adaptoff/{p.name}" for p in core.glob("*.py")} | {"adaptoff/py.typed"}
    names |= {f"adaptoff/commands/{p.name}" for p in (core / "commands").glob("*.py")}
    names |= {f"adaptoff/data/{p.name}" for p in (core / "data").iterdir() if p.suffix in DATA}
    for folder in MAPPED:
        names |= {f"adaptoff/{folder}/{p.name}" for p in (ROOT / folder).glob("*.py")}
    return names | {"adaptoff/data/__init__.py"}


def test_it_holds_all_that_runs_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {n for n in names if ".dist-info/" not in n} == expected()
    assert [n for n, times in Counter(names).items() if times > 1] == []
    assert "adaptoff/testbed/wire.py" in names
    assert "adaptoff/data/demo.toml" in names


def test_no_folder_has_files_that_the_wheel_would_miss() -> None:
    """Sub-folders are only packages where ``pyproject.toml`` lists them."""
    inner = {p.parent.relative_to(ROOT) for f in MAPPED for p in (ROOT / f).rglob("*.py")}
    assert inner == {Path(folder) for folder in MAPPED}
    core = (p for p in (ROOT / "adaptoff").iterdir() if p.is_dir() and not p.is_symlink())
    packages = {p.name for p in core if any(p.glob("*.py"))}
    assert packages == {"data", "commands"}


def test_the_links_in_the_checkout_lead_to_the_same_modules() -> None:
    for folder in MAPPED:
        link = ROOT / "adaptoff" / folder
        assert link.is_symlink()
        assert link.readlink() == Path("..") / folder


def test_entry_point_version_and_licence(wheel: zipfile.ZipFile) -> None:
    info = next(n.split("/")[0] for n in wheel.namelist() if ".dist-info/" in n)
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    assert dict(scripts["console_scripts"]) == {"adaptoff": "adaptoff.cli:main"}
    about = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert (about["Name"], about["Version"]) == ("adaptoff", adaptoff.__version__)
    assert about["License-Expression"] == "Apache-2.0"
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
