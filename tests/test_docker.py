"""The server's image, as far as it can be told without building it."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adaptoff.cli import app

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker" / "Dockerfile").read_text().replace("\\\n", "")


def listed(statement: str) -> list[str]:
    """The JSON list after a statement."""
    (found,) = re.findall(rf"^{statement} (\[.*\])$", TEXT, re.M)
    words: list[str] = json.loads(found)
    return words


def test_its_torch_is_the_one_that_is_tested() -> None:
    (version,) = re.findall(r"torch==(\S+)", TEXT)
    assert f"torch=={version}\n" in (ROOT / "constraints.txt").read_text()


def test_its_command_is_one() -> None:
    command = [*listed("ENTRYPOINT"), *listed("CMD")]
    assert command[:2] == ["adaptoff", "serve"]
    known = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).stdout
    assert [word for word in command if word[:2] == "--" and word not in known] == []


def test_it_is_nobody_s_root_and_sends_no_keys() -> None:
    assert re.search(r"^USER [1-9]", TEXT, re.M)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert "**/*.key" in ignored


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
def test_its_health_is_that_the_port_listens() -> None:
    python, option, code = listed("HEALTHCHECK .* CMD")
    assert (python, option) == ("python", "-c")
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))  # noqa: S104  as the image does
        code = code.replace(f":{5600:04X}", f":{server.getsockname()[1]:04X}")
        assert healthy(code) is False
        server.listen()
        assert healthy(code) is True


def healthy(code: str) -> bool:
    return subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
