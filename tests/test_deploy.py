"""Boards get what they need and nothing that is not theirs; the wrong input reaches none."""

import json
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adaptoff import policy as policies
from adaptoff.cli import app
from adaptoff.commands import boards, keys
from adaptoff.commands.boards import Board, parsed
from adaptoff.errors import InputError
from tests.boards_by_ssh import Boards

SERVER = ("--endpoint", "tcp://10.0.0.1:5600")
KEY = re.compile(r'"([^"]{40})"')


@pytest.fixture
def made(tmp_path: Path) -> Boards:
    return Boards(tmp_path / "boards")


@pytest.fixture
def key_dir(tmp_path: Path) -> Path:
    """With a name that a shell would take apart."""
    where = tmp_path / "it's $(my) keys; *"
    keys.new(["server", "driver", "device-0", "device-1", "device-7"], where)
    return where


def deploy(made: Boards, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "adaptoff", "deploy", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False, env=made.environment(),
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done


def deployed(made: Boards, *words: object, code: int = 0) -> Any:
    return json.loads(deploy(made, *SERVER, "--json", *words, code=code).stdout)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(home: Path) -> dict[str, bytes]:
    kept = (p for p in home.rglob("*") if p.is_file() and p.name not in {"asked", "accounts"})
    return {str(path.relative_to(home)): path.read_bytes() for path in kept}


def test_a_board_gets_its_key_policy_and_service(made: Boards, key_dir: Path) -> None:
    home = made.add("pi-0")
    result = deployed(made, "me@pi-0=7", "--keys", key_dir)
    board = {"host": "me@pi-0", "device": 7, "failed_at": None, "said": "active: round 3"}
    assert result == {"boards": [board], "failed": []}
    there = home / "etc/adaptoff/keys"
    assert sorted(path.name for path in there.iterdir()) == ["device-7.key", "server.pub"]
    assert (there / "device-7.key").read_bytes() == (key_dir / "device-7.key").read_bytes()
    assert mode(there / "device-7.key") == 0o600
    assert mode(there) == 0o700
    settings = (home / "etc/adaptoff/device.env").read_text()
    assert settings == "ADAPTOFF_ENDPOINT=tcp://10.0.0.1:5600\nADAPTOFF_DEVICE=7\n"
    unit = (home / "etc/systemd/system/adaptoff-device.service").read_text()
    assert "control ${ADAPTOFF_ENDPOINT} ${ADAPTOFF_DEVICE} --policies" in unit
    assert "--keys /etc/adaptoff/keys --clocks\n" in unit
    assert (home / "var/lib/adaptoff/policies/policy.safetensors").is_file()
    assert (
        "scaling_setspeed 0664 root adaptoff" in (home / "etc/tmpfiles.d/adaptoff.conf").read_text()
    )
    assert (home / "accounts").read_text() == "u adaptoff -\n"
    asked = (home / "asked").read_text()
    assert re.search(r"pip install .*adaptoff==", asked)
    assert f"chown -R adaptoff:adaptoff {there}" in asked


def test_again_it_is_the_same(made: Boards, key_dir: Path) -> None:
    home = made.add("pi-0")
    deployed(made, "pi-0", "--keys", key_dir)
    first = contents(home)
    deployed(made, "pi-0", "--keys", key_dir)
    assert contents(home) == first


def test_a_login_s_own_service_needs_no_root(made: Boards, key_dir: Path) -> None:
    home = made.add("pi-0")
    own = ("--user", "--run", "device", "--no-clocks", "--metrics", "9102")
    deployed(made, "pi-0", "--keys", key_dir, *own)
    assert "sudo" not in (home / "asked").read_text()
    assert "loginctl enable-linger" in (home / "asked").read_text()
    assert "'adaptoff[testbed,metrics]==" in str(made.asked())
    assert "--metrics 9102" in (home / ".config/systemd/user/adaptoff-device.service").read_text()
    assert mode(home / ".config/adaptoff-device/keys/device-0.key") == 0o600
    unit = (home / ".config/systemd/user/adaptoff-device.service").read_text()
    assert "ExecStart=%h/adaptoff/bin/adaptoff device ${ADAPTOFF_ENDPOINT}" in unit
    assert "--clocks" not in unit
    assert not (home / "etc/adaptoff").exists()


def test_no_secret_is_in_a_command_or_in_what_is_said(made: Boards, key_dir: Path) -> None:
    made.add("pi-0")
    done = deploy(made, *SERVER, "--json", "pi-0", "--keys", key_dir)
    dry = deploy(made, *SERVER, "--dry-run", "pi-0", "--keys", key_dir)
    (secret,) = KEY.findall((key_dir / "device-0.key").read_text())
    assert secret not in str(made.asked()) + done.stdout + done.stderr + dry.stdout + dry.stderr


def test_a_board_that_fails_does_not_hold_up_the_others(made: Boards, key_dir: Path) -> None:
    for host in ("pi-0", "pi-7"):
        made.add(host)
    (made.where / "pi-0" / "broken").touch()
    done = deploy(made, *SERVER, "--json", "pi-0", "gone", "pi-7=7", "--keys", key_dir, code=1)
    result = json.loads(done.stdout)
    assert result["failed"] == ["pi-0", "gone"]
    assert [board["failed_at"] for board in result["boards"]] == ["start", "check", None]
    assert "pi-0 (device 0): failed at start: Job  [31mfailed" in done.stderr  # no escape
    assert "gone (device 1): failed at check: ssh: connect to host gone" in done.stderr
    assert "pi-7 (device 7): active: round 3" in done.stderr
    assert done.stderr.splitlines()[-1] == "adaptoff: 2 of 3 failed: pi-0 (start), gone (check)"


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("python3", "needs python3 from 3.11 on, with venv"),
        ("sudo", "needs sudo without a password, or --user"),
    ],
)
def test_what_a_board_lacks_is_named(made: Boards, key_dir: Path, missing: str, said: str) -> None:
    home = made.add("pi-0")
    (home / "bin" / missing).write_text("#!/bin/sh\nexit 1\n")
    (board,) = deployed(made, "pi-0", "--keys", key_dir, code=1)["boards"]
    assert (board["failed_at"], board["said"]) == ("check", said)
    assert not (home / "etc/adaptoff").exists()


def test_a_directory_of_somebody_else_is_left_alone(made: Boards, key_dir: Path) -> None:
    home = made.add("pi-0")
    (home / "work").mkdir()
    (home / "work" / "thesis").touch()
    own = ("pi-0", "--user", "--prefix", "work")
    (board,) = deployed(made, *own, "--keys", key_dir, code=1)["boards"]
    assert board["failed_at"] == "venv"
    assert "not made by adaptoff" in board["said"]
    deploy(made, "--remove", *own)
    assert (home / "work" / "thesis").exists()


def test_nor_does_it_change_hands(made: Boards, key_dir: Path) -> None:
    home = made.add("pi-0")
    (home / "opt" / "web").mkdir()
    (home / "opt" / "web" / "page").touch()
    (home / "opt" / "web").chmod(0o701)
    (board,) = deployed(made, "pi-0", "--prefix", "/opt/web", "--keys", key_dir, code=1)["boards"]
    assert board["failed_at"] == "venv"
    assert mode(home / "opt" / "web") == 0o701
    assert f"{home}/opt/web" not in (home / "asked").read_text()


@pytest.mark.parametrize("way", [(), ("--user",)])
def test_removed_nothing_is_left(made: Boards, key_dir: Path, way: tuple[str, ...]) -> None:
    home = made.add("pi-0")
    before = contents(home)
    deployed(made, "pi-0", *way, "--keys", key_dir)
    deploy(made, "--remove", "pi-0", *way)
    assert contents(home) == before
    assert "disable --now adaptoff-device" in (home / "asked").read_text()
    deploy(made, "--remove", "pi-0", *way)  # and again


def test_a_wheel_is_brought_and_installed(made: Boards, key_dir: Path, tmp_path: Path) -> None:
    home = made.add("pi-0")
    wheel = tmp_path / "adaptoff-9.9-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    deployed(made, "pi-0", "--keys", key_dir, "--wheel", wheel)
    assert (home / "opt/adaptoff" / wheel.name).read_bytes() == b"wheel"
    asked = (home / "asked").read_text()
    assert f"--no-deps --force-reinstall {home}/opt/adaptoff/{wheel.name}" in asked


def test_the_dry_run_reaches_nobody_and_does_the_same_in_a_shell(
    made: Boards, key_dir: Path, tmp_path: Path
) -> None:
    first, second = made.add("pi-0"), made.add("pi-1")
    deployed(made, "pi-0", "--keys", key_dir, "--run", "device")
    asked = made.asked()
    (made.where / "log").unlink()
    dry = deploy(made, *SERVER, "--dry-run", "pi-1=0", "--keys", key_dir, "--run", "device")
    assert made.asked() == []
    pasted = subprocess.run(
        ["/bin/sh", "-e"], input=dry.stdout, text=True, env=made.environment(), check=False,
        cwd=tmp_path, capture_output=True,
    )  # fmt: skip
    assert pasted.returncode == 0, pasted.stderr
    assert str(made.asked()).replace("pi-1", "pi-0") == str(asked)
    assert contents(first) == {k: v.replace(b"pi-1", b"pi-0") for k, v in contents(second).items()}


def test_a_name_for_a_shell_stays_a_name(made: Boards, key_dir: Path, tmp_path: Path) -> None:
    policy = tmp_path / "-x $(touch oops) 'a\" & b.safetensors"
    policies.save(policies.default(), policy)
    dry = deploy(made, *SERVER, "--dry-run", "pi-0", "--keys", key_dir, "--policy", policy)
    line = next(line for line in dry.stdout.splitlines() if "oops" in line)
    assert shlex.split(line)[-2:] == [str(policy), "pi-0:/opt/adaptoff/policy.safetensors"]


WRONG: list[tuple[tuple[str, ...], str]] = [
    ((), "at least one HOST"),
    (("-oProxyCommand=x",), "2"),
    (("--", "-oProxyCommand=x"), "no host"),
    (("me@-oProxyCommand",), "no host"),
    (("-me@pi",), "2"),
    (("a b",), "no host"),
    (("a;b",), "no host"),
    (("pi:/etc",), "no host"),
    (("ssh://pi",), "no host"),
    (("",), "no host"),
    (("pi=",), "device after ="),
    (("pi=-1",), "device after ="),
    (("pi=١",), "device after ="),  # noqa: RUF001
    (("pi=256",), "0 to 255"),
    (("pi", "pi"), "host pi is there twice"),
    (("pi", "po=0"), "device 0 is there twice"),
    (("pi", "--run", "demo"), "--run demo: allowed: control, device"),
    (("pi", "--prefix", "adaptoff"), "--prefix"),
    (("pi", "--prefix", "/opt"), "--prefix"),
    (("pi", "--prefix", "/opt/../etc"), "--prefix"),
    (("pi", "--prefix", "/opt/a b"), "--prefix"),
    (("pi", "--prefix", "/opt/%h"), "--prefix"),
    (("pi", "--user", "--prefix", "."), "--prefix"),
    (("pi", "--user", "--prefix", ".ssh"), "--prefix"),
    (("pi", "--metrics", "80 --x"), "--metrics"),
    (("pi", "--metrics", "0.0.0.0:65536"), "0 to 65535"),
    (("pi", "--wheel", "nowhere.whl"), "--wheel nowhere.whl"),
    (("pi", "--policy", "nowhere"), "nowhere: No such file"),
    (("pi", "--keys", "nowhere"), "device-0.key: there is no such file"),
    (("pi=5",), "device-5.key: there is no such file"),
    (("pi", "--endpoint", "ipc://x"), "--endpoint"),
    (("pi", "--endpoint", "tcp://a b:1"), "--endpoint"),
    (("pi", "--endpoint", "tcp://a:65536"), "--endpoint"),
]


@pytest.mark.parametrize(("words", "part"), WRONG)
def test_wrong_input_reaches_nobody(
    made: Boards, key_dir: Path, words: tuple[str, ...], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", made.environment()["PATH"])
    done = CliRunner().invoke(app, ["deploy", *SERVER, "--keys", str(key_dir), *words])
    error = done.exception
    assert error.exit_code == 2 if isinstance(error, InputError) else done.exit_code == 2
    assert part in str(error)
    assert made.asked() == []


def test_boards_must_be_told_where_the_server_is() -> None:
    done = CliRunner().invoke(app, ["deploy", "pi", "--insecure"])
    assert isinstance(done.exception, InputError)
    assert "needs --endpoint tcp://HOST:PORT" in str(done.exception)


@pytest.mark.parametrize("option", ["--unit", "--remove"])
def test_without_a_server_to_reach_none_is_named(option: str) -> None:
    done = CliRunner().invoke(app, ["deploy", "pi", option, "--dry-run"])
    assert (done.exit_code, bool(done.stdout)) == (0, True)


def test_hosts_and_their_devices() -> None:
    assert parsed(["a", "me@b.local=7", "fe80::1%eth0"]) == [
        Board("a", 0), Board("me@b.local", 7), Board("fe80::1%eth0", 2),
    ]  # fmt: skip
    assert Board("me@b", 0).at("x") == "me@b:x"
    assert Board("me@fe80::1", 0).at("/x") == "me@[fe80::1]:/x"


@pytest.mark.parametrize("prefix", ["/opt/adaptoff", "/srv/a/b-1.2"])
def test_a_prefix_may_be(prefix: str) -> None:
    assert boards.check_prefix(prefix, user=False) == prefix
    with pytest.raises(InputError):
        boards.check_prefix(prefix + "\n", user=False)


def test_without_ssh_here(made: Boards, key_dir: Path) -> None:
    (made.bin / "ssh").unlink()
    environment = made.environment() | {"PATH": str(made.bin)}
    done = subprocess.run(
        [sys.executable, "-m", "adaptoff", "deploy", *SERVER, "pi", "--keys", str(key_dir)],
        capture_output=True, text=True, timeout=120, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "adaptoff: needs ssh on this machine, too\n"
