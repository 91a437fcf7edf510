"""``adaptoff testbed``: one that stands by itself, for drivers that come and go.

``up`` starts a supervisor (``hold``) that owns server, devices and network until ``down``. What is
known of it is in a directory of its own, see ``standing``.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from adaptoff import config
from adaptoff.commands import standing
from adaptoff.commands.bed import Source
from adaptoff.commands.standing import State
from adaptoff.commands.wires import Kind, choose
from adaptoff.errors import InputError, RunError

END_S = 20.0
FORCED_S = 2.0
POLL_S = 0.05


def up(
    name: str | None, source: Source, net: Kind, keys: Path | None, *, each: bool
) -> State:  # fmt: skip
    """Start a testbed and return when it stands; what it says goes to a log.

    Raises InputError, ProfileError, and RunError with the last line of the log.
    """
    scenario = config.load(source.scenario, source.overrides)
    config.profile_of(scenario)
    name = name or scenario.name
    if keys and choose(net, scenario)[0] == "netns":
        raise InputError("--keys: not with --net netns, which makes keys of its own")
    path, lock = standing.place(name), standing.claim(name)
    try:
        more = ["--policy", source.policy, "--net", net, "--dilation", str(source.dilation)]
        more += ["--keys", str(keys.resolve())] if keys else []
        more += ["--each"] if each else []
        return _begin(path, ["testbed", "hold", name, *source.arguments, *more], lock)
    except BaseException:
        standing.remove(path)
        raise
    finally:
        os.close(lock)


def _begin(path: Path, arguments: Sequence[str], lock: int) -> State:
    """Start the supervisor, which inherits the lock, and wait for its word."""
    with (path / standing.LOG).open("wb") as log:
        supervisor = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "adaptoff", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"TMPDIR": str(path)},
            start_new_session=True,
            pass_fds=(lock,),
        )
    try:
        line = supervisor.stdout.readline() if supervisor.stdout else b""
        return msgspec.json.decode(line, type=State)
    except msgspec.DecodeError:
        code, said = supervisor.wait(), standing.last_line(path).removeprefix("adaptoff: ")
        raise (InputError if code == InputError.exit_code else RunError)(said) from None
    except BaseException:
        supervisor.terminate()
        supervisor.wait()
        raise


def status(name: str | None) -> dict[str, Any]:
    """Testbeds that live, and those found dead, of which nothing is left now.

    Raises InputError for a ``name`` that is neither.
    """
    dead = [structs.asdict(state) for state in standing.swept()]
    known = [standing.read(path) for path in standing.living()]
    alive = [structs.asdict(state) for state in known if state]
    if name and not any(state["name"] == name for state in alive + dead):
        raise InputError(f"no testbed {name[:60]}; up: {_names(alive)}")
    return {
        kind: [state for state in states if name in {None, state["name"]}]
        for kind, states in (("testbeds", alive), ("cleaned", dead))
    }


def said(state: State) -> list[str]:
    """What a person wants to know of a testbed that has just come up."""
    pace = "real time" if state.dilation == 1 else f"{state.dilation:.2f} times slower than real"
    return [
        f"{state.name} is up: {state.devices} devices, {state.links}, {pace}",
        *([f"keys of the driver: {state.keys}"] if state.keys else []),
        f"to end it: adaptoff testbed down {state.name}",
    ]


def lines(found: dict[str, Any]) -> list[str]:
    """``status`` for people."""
    alive = [
        f"{state['name']}: {state['phase']} at {state['endpoint']}, pid {state['pid']}, "
        f"{state['devices'] - len(state['lost'])} of {state['devices']} devices"
        + "".join(f"; {lost}" for lost in state["lost"])
        for state in found["testbeds"]
    ]
    dead = [
        f"{state['name']}: {state['reason'] or 'its supervisor was killed'}; cleaned up"
        for state in found["cleaned"]
    ]
    return alive + dead or ["no testbed is up"]


def down(name: str | None) -> str:
    """End a testbed, the only one if none is named; returns its name.

    Nothing of it is left. Raises InputError if there is none, RunError if it does not end.
    """
    name = name or _only()
    path = standing.place(name)
    if not path.exists():
        raise InputError(f"no testbed {name}; up: {_names(status(None)['testbeds'])}")
    lock = os.open(path, os.O_RDONLY)
    try:
        _end(path, lock)
    finally:
        os.close(lock)
    return name


def _only() -> str:
    names = [path.name for path in standing.living()]
    if len(names) != 1:
        raise InputError(f"which testbed? up: {', '.join(names) or 'none'}")
    return names[0]


def _end(path: Path, lock: int) -> None:
    """Ask the supervisor to end; one that does not is killed, and its children end, too."""
    for number, patience_s in ((signal.SIGTERM, END_S), (signal.SIGKILL, FORCED_S)):
        if standing.is_free(lock):
            break
        _signal(path, number)
        until_s = time.monotonic() + patience_s
        while not standing.is_free(lock) and time.monotonic() < until_s:
            time.sleep(POLL_S)
    if not standing.is_free(lock):
        raise RunError(f"testbed {path.name} does not end")
    with standing.alone():
        if not standing.lives(path):  # another may have come up in its place
            standing.remove(path)


def _signal(path: Path, number: signal.Signals) -> None:
    """While the lock is held, the process that is written down is the one that holds it."""
    state = standing.read(path)
    if state is None:
        raise RunError(f"testbed {path.name} has only just begun: try again")
    with suppress(ProcessLookupError):
        os.kill(state.pid, number)


def _names(states: Sequence[dict[str, Any]]) -> str:
    return ", ".join(state["name"] for state in states) or "none"
