"""Scenario files -> scenarios: TOML, overrides, and the checks that span fields."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from adaptoff import profile as profiles
from adaptoff import scenario as scenarios
from adaptoff.errors import ProfileError, ScenarioError
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.ways import usable


def load(source: str, overrides: tuple[str, ...] = ()) -> Scenario:
    """A scenario from a file, or one that ships with the package by its name.

    ``overrides`` are ``key.path=value`` with TOML values. Raises ScenarioError naming source, key
    and what is allowed.
    """
    tree = _parse(_read(source), source)
    for override in overrides:
        _override(tree, override)
    return check(_convert(tree, source), source)


def profile_of(scenario: Scenario) -> Profile:
    """The profile of the scenario's model, which has seconds for all of its boards.

    Raises ProfileError where it does not ship, and for a board of a class, or for codecs, that it
    has no figures of.
    """
    profile = find_profile(scenario.workload.model)
    for name, board in scenario.boards.items():
        try:
            profile.column("device_s", 1, board.device_class)
        except ProfileError as error:
            raise ProfileError(f"{scenario.name}: boards.{name}: {error}") from None
    try:
        usable(profile, scenario.workload)
    except ProfileError as error:
        raise ProfileError(f"{scenario.name}: workload.codecs: {error}") from None
    return profile


def find_profile(source: str) -> Profile:
    """A profile that ships with the package by its name, or one from a file by its path.

    Raises ProfileError naming what ships, or file and field.
    """
    names = shipped_profiles()
    if source in names:
        name = f"{source}.json"
        return profiles.decode((resources.files("adaptoff.data") / name).read_bytes, name)
    try:
        text = Path(source).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no possible file name
        raise ProfileError(_not_found(source, names, error)) from None
    return profiles.decode(lambda: text, source)


def text(source: str) -> str:
    """A scenario's file as it is, found as by ``load``; raises ScenarioError."""
    return _read(source)


def shipped() -> list[str]:
    """Names of the scenarios that ship with the package."""
    return _data_files(".toml")


def shipped_profiles() -> list[str]:
    """Names of the profiles that ship with the package."""
    return _data_files(".json")


def _data_files(suffix: str) -> list[str]:
    names = (file.name for file in resources.files("adaptoff.data").iterdir())
    return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))


def _read(source: str) -> str:
    shipping = resources.files("adaptoff.data") / f"{source}.toml"
    path = shipping if source in shipped() else Path(source)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or no possible file name
        raise ScenarioError(_not_found(source, shipped(), error)) from None


def _not_found(source: str, names: list[str], error: OSError | ValueError) -> str:
    reason = error.strerror if isinstance(error, OSError) else error
    return f"{source}: neither a readable file nor one of {', '.join(names)}: {reason}"


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ScenarioError(f"{source}: not TOML: {error}") from None


def _override(tree: dict[str, Any], override: str) -> None:
    key, found, value = override.partition("=")
    *path, last = key.strip().split(".")
    if not found or not last:
        raise ScenarioError(f"--set {override}: must be key.path=value, as workload.min_cut=0")
    for step in path:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            raise ScenarioError(f"--set {override}: {step} is no table with keys")
    tree[last] = _value(value.strip())


def _value(text: str) -> Any:  # noqa: ANN401
    """A TOML value; what is none is a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _convert(tree: dict[str, Any], source: str) -> Scenario:
    try:
        return msgspec.convert(tree, Scenario)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{source}: {error}{allowed(str(error), Scenario)}") from None


def allowed(message: str, kind: type) -> str:
    """What a ``kind`` of table allows where msgspec complains of an unknown key or name."""
    path = message.rpartition("`$")[2].rstrip("`").replace("...", "").split(".")
    steps = [step for step in (part.partition("[")[0] for part in path) if step]
    for step in steps:
        kind = _TABLES.get(step, kind)
    fields = {f.encode_name: f.type for f in msgspec.structs.fields(kind)}
    if "unknown field" in message:
        return f"; allowed: {', '.join(fields)}"
    if "Invalid enum value" in message and steps:
        return f"; allowed: {', '.join(_names(fields[steps[-1]]))}"
    return ""


def _names(kind: Any) -> list[str]:  # noqa: ANN401
    """Those of the literals in a type."""
    if get_origin(kind) is Literal:
        return [str(name) for name in get_args(kind)]
    return [name for part in get_args(kind) for name in _names(part)]


_TABLES: dict[str, type] = {
    "workload": scenarios.Workload,
    "objective": scenarios.Objective,
    "server": scenarios.Server,
    "boards": scenarios.Board,
    "opps": scenarios.Opp,
    "links": scenarios.Link,
    "steps": scenarios.Step,
    "devices": scenarios.Devices,
    "calibration": scenarios.Calibration,
}


def check(scenario: Scenario, source: str) -> Scenario:
    """The scenario itself, if names, orders and totals fit each other."""
    for i, group in enumerate(scenario.devices):
        for kind, names in (("board", scenario.boards), ("link", scenario.links)):
            if (name := getattr(group, kind)) not in names:
                allowed = ", ".join(sorted(names))
                raise ScenarioError(f"{source}: devices[{i}].{kind} = {name}: allowed: {allowed}")
    for name, link in scenario.links.items():
        _check_link(f"{source}: links.{name}", link)
    for name, board in scenario.boards.items():
        _check_board(f"{source}: boards.{name}", board)
    _check_depths(f"{source}: workload.depths", scenario.workload)
    if len(scenario.each_device()) > scenarios.MAX_DEVICES:
        raise ScenarioError(f"{source}: devices: at most {scenarios.MAX_DEVICES} in all")
    return scenario


def _check_depths(where: str, work: scenarios.Workload) -> None:
    """BatchNorm cannot train on a single sample."""
    most = work.batch_size // 2
    if (deepest := max(work.depths)) > most:
        raise ScenarioError(f"{where}: {deepest}: at most {most}, half of batch_size")


def _check_link(where: str, link: scenarios.Link) -> None:
    given = [bool(link.steps), link.trace is not None, link.generated is not None]
    if sum(given) != 1:
        raise ScenarioError(f"{where}: needs one of steps, trace or generated")
    rounds = [step.round for step in link.steps]
    if rounds and (rounds[0] != 0 or rounds != sorted(set(rounds))):
        raise ScenarioError(f"{where}.steps: rounds must start at 0 and ascend")
    if link.jitter_ms > link.rtt_ms:
        raise ScenarioError(f"{where}.jitter_ms: {link.jitter_ms}: at most rtt_ms, {link.rtt_ms}")


def _check_board(where: str, board: scenarios.Board) -> None:
    speeds = [opp.relative_speed for opp in board.opps]
    if speeds != sorted(speeds) or speeds[-1] != 1.0:
        raise ScenarioError(f"{where}.opps: relative_speed must ascend and end with 1.0")
