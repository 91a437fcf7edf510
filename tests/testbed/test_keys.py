"""Key files: who may read them, what is in them, and when a link asks for them."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from adaptoff.commands import keys as command
from adaptoff.errors import KeysError
from adaptoff.scenario import MAX_DEVICES
from adaptoff.testbed import keyfiles, keys
from adaptoff.testbed.keyfiles import MAX_FILE_BYTES, read_authorized, read_key

NAMES = ("server", "driver", "device-0", "device-1")
REMOTE = "tcp://192.0.2.1:5600"


@pytest.fixture
def directory(tmp_path):
    made = tmp_path / "keys"
    command.new(NAMES, made)
    return made


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def secret_in(path):
    return path.read_text().partition('"')[2].partition('"')[0]


# --- making


def test_what_is_made_fits_together(directory):
    assert {p.name for p in directory.iterdir()} == {
        "server.key", "server.pub", "driver.key", "device-0.key", "device-1.key", "authorized.toml"
    }  # fmt: skip
    server = keys.load_server(directory)
    listed = read_authorized(server.authorized)
    assert list(listed) == ["driver", "device-0", "device-1"]
    for name, public in listed.items():
        client = keys.load_client(directory, name)
        assert zmq.curve_public(client.secret).decode() == public
        assert zmq.curve_public(server.secret) == client.server


def test_nobody_else_can_ever_read_them(tmp_path, monkeypatch):
    before, replace = [], Path.replace

    def watched(self, target):
        before.append((target.name, mode(self)))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    usual = os.umask(0)
    try:
        command.new(NAMES, tmp_path / "deep" / "keys")
    finally:
        os.umask(usual)
    assert {"server.key", "device-1.key"} <= {name for name, _ in before}
    assert {m for _, m in before} == {0o600}
    assert {mode(path) for path in (tmp_path / "deep" / "keys").iterdir()} == {0o600}
    assert mode(tmp_path / "deep" / "keys") == 0o700


@pytest.mark.parametrize("taken", ["server", "device-0"])
def test_nothing_is_replaced_unless_forced(directory, taken):
    before = {path: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(KeysError, match=f"{taken} has a key already; --force"):
        command.new(["device-7", taken], directory)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before
    command.new([taken], directory, force=True)
    assert (directory / f"{taken}.key").read_bytes() != before[directory / f"{taken}.key"]


def test_a_name_stays_taken_where_its_secret_has_moved_away(directory):
    (directory / "device-0.key").unlink()
    (directory / "server.key").unlink()
    for name in ("device-0", "server"):
        with pytest.raises(KeysError, match="--force"):
            command.new([name], directory)


@pytest.mark.parametrize(
    "name", ["", "device", "device-", "device-01", "device-1\n", "../driver", "Driver", "device-٣"]
)
def test_other_names_are_refused(tmp_path, name):
    with pytest.raises(KeysError, match="allowed: server, driver, device-0"):
        command.new(["driver", name], tmp_path / "keys")
    assert not (tmp_path / "keys").exists()


def test_a_failed_write_leaves_the_old_file(directory, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    before = {path: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(KeysError, match=r"device-0.key: No space left"):
        command.new(["device-0"], directory, force=True)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_revoking_removes_name_and_secret(directory):
    command.revoke("device-0", directory)
    assert list(read_authorized(directory / "authorized.toml")) == ["driver", "device-1"]
    assert not (directory / "device-0.key").exists()
    for name in ("device-0", "server"):
        with pytest.raises(KeysError, match=f"{name} is not listed, but: driver, device-1"):
            command.revoke(name, directory)
    command.new(["device-0"], directory)


def test_two_commands_at_once_do_not_undo_each_other(directory):
    code = "import sys; from adaptoff.cli import main; main()"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, "keys", "new", f"device-{n}", "--dir", directory],
            stdout=subprocess.DEVNULL,
        )
        for n in range(10, 14)
    ]
    assert [child.wait() for child in started] == [0] * 4
    assert {f"device-{n}" for n in range(10, 14)} < set(
        read_authorized(directory / "authorized.toml")
    )


# --- reading


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_secret_that_others_may_use_is_refused_until_mended(directory, bits):
    path = directory / "server.key"
    path.chmod(bits)
    with pytest.raises(KeysError, match=f"others may .* it; mend that with: chmod go= {path}"):
        keys.load_server(directory)
    path.chmod(0o600)
    keys.load_server(directory)


@pytest.mark.parametrize("name", ["authorized.toml", "."])
def test_a_list_that_others_may_change_is_refused(directory, name):
    path = directory / name
    path.chmod(mode(path) | 0o020)
    with pytest.raises(KeysError, match="others may change it; mend that with: chmod go-w"):
        keys.load_server(directory)
    path.chmod(mode(path) & ~0o022 | 0o044)
    keys.load_server(directory)


GOOD = "1^!+:H/e%ARx>L+OKwjR6Vk0MGhDGIpD/]B2wBY]"


@pytest.mark.parametrize(
    "text",
    [
        b"", f'public = "{GOOD}"'.encode(), f'secret = "{GOOD}"\nmore = 1'.encode(),
        f'secret = "{GOOD[:-1]}"'.encode(), f'secret = "{GOOD}0"'.encode(),
        b'secret = "' + b"#" * 40 + b'"', b'secret = "' + b"'" * 40 + b'"',
        'secret = "é'.encode() + GOOD[:-1].encode() + b'"', b"secret = 1", b'secret = ["x"]',
        b"\xff" * 40, b"secret", b"secret = " + b"[" * 40_000, b"#" * (MAX_FILE_BYTES + 1),
    ],
    ids=[
        "empty", "public", "more", "short", "long", "above 32 bits", "not Z85", "not ASCII",
        "number", "list", "not UTF-8", "not TOML", "deep", "large",
    ],
)  # fmt: skip
def test_a_bad_key_file_is_one_line_that_names_it(tmp_path, text):
    path = tmp_path / "server.key"
    path.touch(0o600)
    path.write_bytes(text)
    with pytest.raises(KeysError) as caught:
        read_key(path, "secret", "hint")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert GOOD[:8] not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'server = "{GOOD}"', "server: allowed names: driver, device-0"),
        (f'device-1 = "{GOOD}"\ndriver = "{GOOD}"', "driver and device-1 have the same key"),
        ('device-1 = "x"', "device-1: must be a key of 40 characters"),
    ],
)
def test_a_bad_list_is_one_line_that_names_it(tmp_path, text, words):
    path = tmp_path / "authorized.toml"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(KeysError, match=words):
        read_authorized(path)


def test_secrets_are_not_shown(directory):
    for held in (keys.load_server(directory), keys.load_client(directory, "driver")):
        assert held.secret.decode() not in repr(held)


# --- when keys are asked for


@pytest.mark.parametrize(
    ("endpoint", "here"),
    [
        ("tcp://127.0.0.1:*", True),
        ("tcp://127.1.2.3:5600", True),
        ("tcp://localhost:5600", True),
        ("tcp://[::1]:5600", True),
        ("ipc:///run/adaptoff", True),
        ("inproc://x", True),
        ("nonsense", True),
        ("tcp://*:5600", False),
        ("tcp://0.0.0.0:5600", False),
        ("tcp://[::]:5600", False),
        ("tcp://192.168.1.2:5600", False),
        ("tcp://localhost.example.org:5600", False),
        ("tcp://127.0.0.1.example.org:5600", False),
        ("tcp://127.0.0.1:0;192.168.1.2:5600", False),
        ("tcp://lo:5600", False),
        ("udp://127.0.0.1:5600", False),
    ],
)
def test_what_stays_on_this_machine(endpoint, here):
    assert keys.stays_here(endpoint) is here


def test_plain_text_is_for_this_machine_or_on_demand(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    local = "tcp://127.0.0.1:*"
    assert keys.for_server([local, "ipc://x"], None) is None
    assert keys.for_client(local, "driver", None) is None
    assert keys.for_server([local], None, insecure=True) is None
    assert caplog.messages == []
    assert keys.for_server([local, REMOTE], None, insecure=True) is None
    assert caplog.messages == [f"{REMOTE} is neither encrypted nor authenticated (--insecure)"]
    with pytest.raises(KeysError, match=r"adaptoff keys new server driver .* or pass --insecure"):
        keys.for_server([local, REMOTE], None)
    with pytest.raises(KeysError, match=r"copy device-3.key and server.pub .* or pass --insecure"):
        keys.for_client(REMOTE, "device-3", None)


def test_keys_of_the_default_directory_or_of_the_one_named(tmp_path, monkeypatch, directory):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert keys.for_server(["ipc://x"], directory) == keys.load_server(directory)
    default = keys.default_directory()
    assert default == tmp_path / "adaptoff" / "keys"
    command.new(NAMES, default)
    assert keys.for_server([REMOTE], None) == keys.load_server(default)
    assert keys.for_client(REMOTE, "driver", None) == keys.load_client(default, "driver")
    assert keys.for_client(REMOTE, "driver", directory) == keys.load_client(directory, "driver")
    with pytest.raises(KeysError, match="--keys and --insecure"):
        keys.for_client(REMOTE, "driver", directory, insecure=True)
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/nowhere")
    assert keys.default_directory() == Path("/nowhere/.config/adaptoff/keys")


def test_a_server_without_a_list_does_not_start(tmp_path):
    command.new(["server"], tmp_path / "keys")
    with pytest.raises(KeysError, match=r"authorized.toml: there is no such file; list clients"):
        keys.load_server(tmp_path / "keys")


# --- the command line


def adaptoff(*arguments, home, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "adaptoff", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"XDG_CONFIG_HOME": str(home)},
    )
    assert done.returncode == code, done.stderr
    return done


def test_new_list_revoke(tmp_path):
    default = tmp_path / "adaptoff" / "keys"
    made = adaptoff("keys", "new", "server", "device-0", "device-1", home=tmp_path).stdout
    assert made.split() == [
        str(default / name) for name in ("server.key", "server.pub", "device-0.key", "device-1.key")
    ]
    adaptoff("keys", "revoke", "device-0", home=tmp_path)
    (default / "device-1.key").unlink()
    found = json.loads(adaptoff("keys", "list", "--json", home=tmp_path).stdout)
    assert found["directory"] == str(default)
    assert [(k["name"], k["secret"]) for k in found["keys"]] == [
        ("server", True), ("device-1", False)
    ]  # fmt: skip
    shown = adaptoff("keys", "list", "--dir", str(default), home="/nowhere").stdout
    assert shown.count("\n") == 2
    for key in found["keys"]:
        assert f"{key['name']:<12} {key['public']}" in shown
    assert secret_in(default / "server.key") not in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "--bind", "tcp://0.0.0.0:0"), ("server.key", "adaptoff keys new", "--insecure")),
        (("serve", "--keys", "nowhere"), ("nowhere", "adaptoff keys new")),
        (("device", REMOTE, "3"), ("device-3.key", "server.pub", "--insecure")),
        (("device", REMOTE, "3", "--keys", "x", "--insecure"), ("--keys and --insecure",)),
        (("keys", "list"), ("adaptoff/keys", "No such file")),
        (("keys", "new", "device"), ("device", "allowed")),
        (("keys", "revoke", "device-0"), ("adaptoff/keys", "No such file")),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, arguments, words):
    done = adaptoff(*arguments, home=tmp_path, code=2)
    assert done.stderr.startswith("adaptoff: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_insecure_warns():
    done = subprocess.run(
        [sys.executable, "-m", "adaptoff", "device", "tcp://*:5600", "0", "--insecure"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "tcp://*:5600 is neither encrypted nor authenticated" in done.stderr


def test_the_list_has_room_for_the_largest_fleet():
    entry = len(f'device-10000 = "{GOOD}"\n')
    assert entry * (MAX_DEVICES + 1) < keyfiles.MAX_FILE_BYTES
