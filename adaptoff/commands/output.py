"""Where results go: found out before the work, not after it."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from adaptoff.errors import InputError


def directory(path: Path) -> Path:
    """Make ``path`` if need be; raises InputError where nothing can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise InputError(f"--out {path}: {error.strerror}") from None


def replace(path: Path, data: bytes) -> None:
    """Old results stay whole until the new ones are."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def write(result: dict[str, Any], page: str, out: Path) -> dict[str, Any]:
    """results.json and report.html; returns the result with their paths, as in the former."""
    result |= {"report": str(out / "report.html"), "results": str(out / "results.json")}
    replace(out / "results.json", msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    replace(out / "report.html", page.encode())
    return result
