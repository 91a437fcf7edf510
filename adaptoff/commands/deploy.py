"""``adaptoff deploy``: board after board, by the user's own ssh and rsync.

What is wrong with the input is found before the first board is touched. A board that fails does not
hold up the others.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from adaptoff import policy as policies
from adaptoff.commands.boards import Board, check_endpoint
from adaptoff.commands.deploy_steps import Files, Step, Steps
from adaptoff.commands.unit import Layout, Service
from adaptoff.errors import InputError, RunError
from adaptoff.testbed.keys import client_name, default_directory, for_client

WHEEL = re.compile(r"adaptoff-[\w.+]+-py3-none-any\.whl", re.ASCII)
PATIENCE_S = 3600.0
"""for one step: installing torch on a small board takes long"""
MAX_SAID_CHARACTERS = 200
Tell = Callable[[str], None]
Plan = Sequence[tuple[Board, Sequence[Step]]]


@dataclass(frozen=True)
class Sources:
    """What the user named."""

    endpoint: str
    policy: str
    keys: Path | None
    wheel: Path | None


def plan(boards: Sequence[Board], service: Service, sources: Sources) -> Plan:
    """The steps of a deployment; all that is taken from here is looked at. Raises InputError."""
    if not sources.endpoint:
        raise InputError("deploy: needs --endpoint tcp://HOST:PORT, the server for the boards")
    endpoint = check_endpoint(sources.endpoint)
    keys = _keys(boards, sources, insecure=service.insecure)
    files = Files(_policy(sources.policy), keys, _wheel(sources.wheel))
    service = replace(service, keys=keys is not None)
    return [
        (board, Steps(board, service.layout).deploy(service, files, endpoint)) for board in boards
    ]


def removal(boards: Sequence[Board], layout: Layout) -> Plan:
    """The steps that take it off again."""
    return [(board, Steps(board, layout).remove()) for board in boards]


def script(plan: Plan) -> str:
    """The steps as lines for a shell."""
    return "\n".join(
        f"# {board.host}: {step.what}\n{step.line()}" for board, steps in plan for step in steps
    )


def run(plan: Plan, tell: Tell) -> dict[str, Any]:
    """Do the steps of each board up to the first that fails.

    Raises RunError if ssh or rsync are missing here.
    """
    for program in ("ssh", "rsync"):
        if shutil.which(program) is None:
            raise RunError(f"needs {program} on this machine, too")
    results = [_deployed(board, steps, tell) for board, steps in plan]
    return {"boards": results, "failed": [r["host"] for r in results if r["failed_at"]]}


def check(result: dict[str, Any]) -> None:
    """Raises RunError naming the boards that failed, and at what."""
    failed = [f"{r['host']} ({r['failed_at']})" for r in result["boards"] if r["failed_at"]]
    if failed:
        raise RunError(f"{len(failed)} of {len(result['boards'])} failed: {', '.join(failed)}")


def _deployed(board: Board, steps: Sequence[Step], tell: Tell) -> dict[str, Any]:
    about: dict[str, Any] = {"host": board.host, "device": board.device, "failed_at": None}
    said = ""
    for step in steps:
        fine, said = _done(step)
        if not fine:
            tell(f"{board.host} (device {board.device}): failed at {step.what}: {said}")
            return about | {"failed_at": step.what, "said": said}
    tell(f"{board.host} (device {board.device}): {said or 'done'}")
    return about | {"said": said}


def _done(step: Step) -> tuple[bool, str]:
    """Whether the command came to a good end, and the most telling line that it said."""
    text = (step.text or "").encode()  # never this terminal's input
    try:
        done = subprocess.run(  # noqa: S603
            step.command, input=text, capture_output=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"no end within {PATIENCE_S:g} s"
    if done.returncode == 0:
        return True, _state(done.stdout) if step.what == "state" else ""
    return False, _last(done.stderr) or _state(done.stdout) or f"exit code {done.returncode}"


def _state(stdout: bytes) -> str:
    """``active: round 12`` of what ``systemctl show`` says."""
    lines = stdout.decode(errors="replace").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    said = (found.get("ActiveState", ""), found.get("StatusText", ""))
    return _printable(": ".join(word for word in said if word))


def _last(stderr: bytes) -> str:
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return _printable(lines[-1]) if lines else ""


def _printable(text: str) -> str:
    """A board's words are no orders to this terminal."""
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_SAID_CHARACTERS].strip()


def _policy(name: str) -> Path:
    if name != "default":
        policies.load(Path(name))
        return Path(name).resolve()
    shipped = resources.files("adaptoff.data") / policies.DEFAULT
    if not isinstance(shipped, Path):
        raise InputError("--policy: name a file: this adaptoff is not installed as files")
    return shipped


def _keys(boards: Sequence[Board], sources: Sources, *, insecure: bool) -> Path | None:
    """The directory in which each board's keys were found to be in order."""
    secured = None
    for board in boards[: 1 if insecure else None]:  # insecure is warned of once
        name = client_name("device", board.device)
        secured = for_client(sources.endpoint, name, sources.keys, insecure=insecure)
    return (sources.keys or default_directory()).resolve() if secured else None


def _wheel(path: Path | None) -> Path | None:
    if path is None:
        return None
    if not WHEEL.fullmatch(path.name) or not path.is_file():
        raise InputError(f"--wheel {path}: must be a file adaptoff-VERSION-py3-none-any.whl")
    return path.resolve()
