"""What this machine can do, as found by doing it."""

import os
import shlex
import socket
import sys
from pathlib import Path

import pytest

from adaptoff.testbed import probe as probing
from adaptoff.testbed.probe import Ability, probe


def test_it_agrees_with_what_this_user_can_do() -> None:
    able = probe()
    assert bool(able.root_namespaces) <= (os.geteuid() == 0)
    if able.root_namespaces or able.rootless_namespaces:
        assert "namespace" not in able.tbf.why_not
    else:
        assert {able.tbf, able.htb, able.netem, able.nft} == {probing.UNTRIED}


def test_it_tries_once_and_leaves_the_host_alone() -> None:
    links = socket.if_nameindex()
    probe.cache_clear()
    first = probe()
    assert socket.if_nameindex() == links
    assert probe() is first


def test_a_machine_without_namespaces_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unshare = tmp_path / "unshare"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "unshare" in probing._try("-Urn").links.why_not
    unshare.write_text("#!/bin/sh\necho Operation not permitted >&2; exit 1\n")
    unshare.chmod(0o700)
    assert probing._try("-Urn").links == Ability("Operation not permitted")
    assert not probing._try("-Urn").tbf
    monkeypatch.setattr(probing.namespaces, "OWN", tmp_path / "not Linux")
    assert "not Linux" in probing._try("-Urn").links.why_not


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unshare, python = tmp_path / "unshare", shlex.quote(sys.executable)
    hidden = "import sys; sys.modules['pyroute2'] = None; import adaptoff.testbed.nettrial"
    unshare.write_text(f'#!/bin/sh\nexec {python} -c "{hidden}"\n')
    unshare.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert probing._try("-Urn").links == Ability("needs adaptoff[testbed]")


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/user/me\n", "user/me/cpu.max"),
        ("4:memory:/\n1:cpu,cpuacct:/me\n", "cpu,cpuacct/me/cpu.cfs_quota_us"),
        ("4:memory:/\n", None),
    ],
)
def test_the_quota_of_either_version_is_found(
    groups: str, file: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probing, "CGROUPS", tmp_path)
    monkeypatch.setattr(probing, "OWN_GROUPS", tmp_path / "cgroup")
    (tmp_path / "cgroup").write_text(groups)
    assert not probing._cpu_quota()
    if file:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
        assert probing._cpu_quota()
