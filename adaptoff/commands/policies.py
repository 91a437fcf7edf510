"""``adaptoff policy``: what a board's policies are, and which of them is in use."""

import hashlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from adaptoff import policy as policies
from adaptoff.errors import PolicyError
from adaptoff.observation import SCHEMA
from adaptoff.policy import Policy
from adaptoff.policy_store import CURRENT, PREVIOUS, PolicyStore, read_bytes

SHIPPED = "shipped"


def take(file: str, directory: Path) -> dict[str, Any]:
    """Use the policy of a file, or the one that ships (``default``). Raises PolicyError."""
    data = _shipped() if file == "default" else read_bytes(Path(file))
    return {"sha256": PolicyStore(directory).take(data, file), "directory": str(directory)}


def back(directory: Path) -> dict[str, Any]:
    """Use the policy before. Raises PolicyError if there is none."""
    return {"sha256": PolicyStore(directory).back(), "directory": str(directory)}


def listed(directory: Path) -> dict[str, Any]:
    """All policies in the order in which they would be used; ``used`` is true for the first fit."""
    entries = list(_entries(PolicyStore(directory)))
    used = next(entry for entry in entries if "refused" not in entry)
    for entry in entries:
        entry["used"] = entry is used
    return {"directory": str(directory), "policies": entries}


def shown(directory: Path) -> dict[str, Any]:
    """The policy in use, with all that is known of where it comes from."""
    return next(entry for entry in listed(directory)["policies"] if entry["used"])


def lines(entry: dict[str, Any]) -> list[str]:
    """One entry as text."""
    facts = {name: entry[name] for name in ("name", "path", "sha256", "schema") if name in entry}
    return list(_rows(facts | entry["provenance"]))


def _rows(values: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A line for each value, and those of a table further in below its name."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield indent + name
            yield from _rows(value, f"{indent}  ")
        else:
            yield f"{indent + name:<20} {value}"


def _entries(store: PolicyStore) -> Iterator[dict[str, Any]]:
    for name, file in (("current", CURRENT), ("previous", PREVIOUS)):
        path = store.directory / file
        if not path.exists():
            continue
        entry = {"name": name, "path": str(path)}
        try:
            kept = store.read(file)
            yield entry | _known(kept.policy, kept.sha256)
        except PolicyError as error:
            yield entry | {"refused": str(error)}
    yield {"name": SHIPPED} | _known(policies.default(), hashlib.sha256(_shipped()).hexdigest())


def _known(policy: Policy, sha256: str) -> dict[str, Any]:
    return {"sha256": sha256, "schema": SCHEMA, "provenance": policy.provenance}


def _shipped() -> bytes:
    return (resources.files("adaptoff.data") / policies.DEFAULT).read_bytes()
