"""What ``adaptoff deploy`` does to a board, as the commands of ssh and rsync that do it.

Every step may be repeated. Secret keys go as files alone: no command and no output has them.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from adaptoff import __version__
from adaptoff.commands import unit
from adaptoff.commands.boards import Board
from adaptoff.commands.unit import ACCOUNT, NAME, Layout, Service

PYTHON = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
CONNECT_S = 20
MARK = ".adaptoff"
"""a file that says that the directory is adaptoff's, to fill and to remove"""
LINGERS = 'test -e "/var/lib/systemd/linger/$(id -un)"'
LINGER = "needs once, or it ends with the login: sudo loginctl enable-linger LOGIN"
EXTRAS: dict[str, list[str]] = {"control": [], "device": ["testbed"]}


class Step(NamedTuple):
    """A command on this machine, what it is for, and what it reads."""

    what: str
    command: tuple[str, ...]
    text: str | None = None

    def line(self) -> str:
        """To be pasted into a shell."""
        command = shlex.join(self.command)
        return command if self.text is None else f"{command} <<'EOF'\n{self.text}EOF"


@dataclass(frozen=True)
class Files:
    """What is taken from this machine; absolute paths."""

    policy: Path
    keys: Path | None
    wheel: Path | None


class Steps:
    """The steps for one board."""

    def __init__(self, board: Board, layout: Layout) -> None:
        self._board, self._layout = board, layout
        self._sudo = "" if layout.user else "sudo -n "
        self._systemctl = "systemctl --user" if layout.user else "sudo -n systemctl"

    def deploy(self, service: Service, files: Files, endpoint: str) -> list[Step]:
        """Install and start, again where it is there already."""
        there = self._layout
        settings = unit.settings(endpoint, self._board.device)
        steps = [self._check(), self._directories(), self._venv(), *self._install(service, files)]
        steps += self._keys(files.keys) + self._policy(files.policy)
        steps += [self._write("settings", f"{there.config}/device.env", settings)]
        steps += [self._write("unit", there.unit, service.unit())]
        if not there.user:
            steps += [self._write("clocks", there.tmpfiles, unit.tmpfiles())]
        return [*steps, self._start(), self.state()]

    def remove(self) -> list[Step]:
        """Stop it, put the clocks back, and take away all but the account."""
        there = self._layout
        files = there.unit if there.user else f"{there.unit} {there.tmpfiles}"
        folders = there.config if there.user else f"{there.config} {there.state}"
        own = f"test ! -e {there.prefix}/{MARK} || {self._sudo}rm -rf {there.prefix}"
        back = f"{self._sudo}{there.program} restore --dir {there.state}"
        return [
            self._ssh("reach it", "true", f"-o ConnectTimeout={CONNECT_S}"),
            self._ssh("stop", f"test ! -e {there.unit} || {self._systemctl} disable --now {NAME}"),
            self._ssh("restore", f"test ! -x {there.program} || {back}"),
            self._ssh("unit", f"{self._sudo}rm -f {files} && {self._systemctl} daemon-reload"),
            self._ssh("files", f"{self._sudo}rm -rf {folders} && {{ {own}; }}"),
        ]

    def state(self) -> Step:
        """Fails unless it runs; says what it says of itself."""
        show = f"{self._systemctl} show -p ActiveState -p StatusText {NAME}"
        return self._ssh("state", f"{show} && {self._systemctl} --quiet is-active {NAME}")

    def _check(self) -> Step:
        needs = {
            f"python3 -c {shlex.quote(PYTHON)}": "python3 from 3.11 on, with venv",
            "command -v rsync": "rsync",
            f"{self._systemctl} show -p Version": "systemd, of a login with --user",
        }
        if not self._layout.user:
            needs |= {"sudo -n true": "sudo without a password, or --user"}
        tests = [
            f"{{ {test} >/dev/null 2>&1 || {_fail(f'needs {what}')}; }}"
            for test, what in reversed(needs.items())
        ]
        return self._ssh("check", " && ".join(tests), f"-o ConnectTimeout={CONNECT_S}")

    def _directories(self) -> Step:
        there = self._layout
        if there.user:
            made = f"install -d -m 700 {there.config} {there.config}/keys"
            linger = f"{{ {LINGERS} || loginctl enable-linger || {_fail(LINGER)}; }}"
            return self._ssh("directories", f"{made} .config/systemd/user && {linger}")
        its = f"-m 700 -o {ACCOUNT} -g {ACCOUNT} {there.config}/keys {there.state}"
        return self._ssh(
            "account", f"echo 'u {ACCOUNT} -' | sudo -n systemd-sysusers - && "
            f"{{ test -e {there.prefix} || "
            f'sudo -n install -d -o "$(id -u)" -g "$(id -g)" {there.prefix}; }} && '
            f"sudo -n install -d {there.config} && sudo -n install -d {its}",
        )  # fmt: skip

    def _venv(self) -> Step:
        prefix, mark = self._layout.prefix, f"{self._layout.prefix}/{MARK}"
        empty = f'test -z "$(ls -A {prefix} 2>/dev/null)" && mkdir -p {prefix} && touch {mark}'
        fail = _fail(
            f"{prefix} is not an empty directory of yours, and not made by adaptoff deploy"
        )
        own = f"{{ test -e {mark} || {{ {empty}; }} || {fail}; }}"
        return self._ssh(
            "venv",
            f"umask 022 && {own} && {{ test -x {prefix}/bin/pip || python3 -m venv {prefix}; }}",
        )

    def _install(self, service: Service, files: Files) -> list[Step]:
        prefix = self._layout.prefix
        extras = EXTRAS[service.run] + (["metrics"] if service.metrics else [])
        extra = f"[{','.join(extras)}]" if extras else ""
        pip = f"umask 022 && {prefix}/bin/python -m pip install --disable-pip-version-check --quiet"
        if files.wheel is None:
            return [self._ssh("install", f"{pip} {shlex.quote(f'adaptoff{extra}=={__version__}')}")]
        wheel = f"{prefix}/{files.wheel.name}"
        again = (
            f"{pip} --no-deps --force-reinstall {wheel}"  # the same version may be another build
        )
        return [
            self._rsync("wheel", [files.wheel], f"{prefix}/", "644"),
            self._ssh("install", f"{pip} {shlex.quote(f'{wheel}{extra}')} && {again}"),
        ]

    def _keys(self, keys: Path | None) -> list[Step]:
        if keys is None:
            return []
        there = f"{self._layout.config}/keys"
        files = [keys / f"device-{self._board.device}.key", keys / "server.pub"]
        own = self._ssh("keys", f"sudo -n chown -R {ACCOUNT}:{ACCOUNT} {there}")
        copied = self._rsync("keys", files, f"{there}/", "600", root=True)
        return [copied] if self._layout.user else [copied, own]

    def _policy(self, policy: Path) -> list[Step]:
        there = self._layout
        brought = f"{there.prefix}/policy.safetensors"
        as_account = "" if there.user else f"sudo -n -u {ACCOUNT} "
        take = f"{there.program} policy take {brought} --dir {there.policies}"
        return [
            self._rsync("policy", [policy], brought, "644"),
            self._ssh("policy", f"{as_account}{take}"),
        ]

    def _start(self) -> Step:
        todo = f"{self._systemctl} daemon-reload && {self._systemctl} --quiet enable {NAME}"
        journal = "journalctl --user" if self._layout.user else "sudo -n journalctl"
        field = "_SYSTEMD_USER_UNIT" if self._layout.user else "_SYSTEMD_UNIT"
        words = f"{journal} -q -o cat -n 9 {field}={NAME}.service"
        why = f"{{ {words} | grep -v '^nothing to put back' >&2; exit 1; }}"
        return self._ssh("start", f"{todo} && {{ {self._systemctl} restart {NAME} || {why}; }}")

    def _write(self, what: str, path: str, text: str) -> Step:
        command = f"{self._sudo}tee {path} >/dev/null"
        return Step(what, ("ssh", "--", self._board.host, command), text)

    def _ssh(self, what: str, command: str, *options: str) -> Step:
        """Without standard input: lines that are pasted after it are the shell's."""
        chosen = [word for option in options for word in option.split(" ")]
        return Step(what, ("ssh", "-n", *chosen, "--", self._board.host, command))

    def _rsync(
        self, what: str, files: list[Path], to: str, mode: str, *, root: bool = False
    ) -> Step:
        as_root = root and not self._layout.user
        options = ("--rsync-path=sudo -n rsync",) if as_root else ()
        command = ("rsync", "-pt", f"--chmod=F{mode}", *options, "--", *map(str, files))
        return Step(what, (*command, self._board.at(to)))


def _fail(why: str) -> str:
    return f"{{ echo {shlex.quote(why)} >&2; exit 1; }}"
