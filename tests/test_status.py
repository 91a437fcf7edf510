"""``adaptoff status``: one table of what servers and devices show."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

pytest.importorskip("prometheus_client", reason="needs the extra metrics")

from adaptoff.cli import app
from adaptoff.commands import scrape, status
from adaptoff.errors import InputError, LinkError, RunError
from adaptoff.guards import Guards
from adaptoff.messages import FleetFigures
from adaptoff.metrics import DeviceMetrics, FleetMetrics
from adaptoff.metrics_http import Place, exposed
from tests.reported import DECISION, SEEN, round_of

HERE = Place("127.0.0.1", 0)
WIDE = CliRunner(env={"COLUMNS": "120"})


@pytest.fixture
def shown(figures: FleetFigures) -> Iterator[tuple[str, str]]:
    """URLs of a server, which has lost device 0, and of device 1."""
    fleet, device, guards = FleetMetrics(2, 70.0), DeviceMetrics(1), Guards()
    fleet.watch(lambda: [1], lambda: 0)
    fleet.round(round_of(figures))
    device.guards(guards)
    device.round(SEEN, DECISION, 0.001)
    guards.act("stale", "round 3")
    with exposed(fleet.registry, HERE) as server, exposed(device.registry, HERE) as own:
        yield server, own


@pytest.fixture
def dead() -> str:
    """A URL at which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as once:
        return f"http://127.0.0.1:{once.getsockname()[1]}/metrics"


def test_devices_are_shown_with_what_their_server_knows(shown: tuple[str, str]) -> None:
    found = status.run(shown)
    lost, seen = found["devices"]
    assert (lost["device"], lost["alive"], lost["cut"], lost["temp_c"]) == (0, False, 0, None)
    assert (seen["device"], seen["alive"], seen["url"]) == (1, True, shown[0])
    assert (seen["cut"], seen["opp"], seen["round_s"], seen["temp_c"]) == (2, 1, 1.5, 50.0)
    assert (seen["up_bps"], seen["down_bps"]) == (8e6, None)
    assert {cause: n for cause, n in seen["guards"].items() if n} == {"stale": 1}
    (server,) = found["servers"]
    assert (server["rounds"], server["round"], server["accuracy"]) == (1, 3, 0.25)
    assert found["unreachable"] == []


def test_a_device_alone_is_shown_too(shown: tuple[str, str]) -> None:
    (seen,) = status.run([shown[1]])["devices"]
    assert (seen["device"], seen["alive"], seen["cut"], seen["opp"]) == (1, None, 2, 1)


def test_devices_of_two_servers_are_not_mixed(
    shown: tuple[str, str], figures: FleetFigures
) -> None:
    with exposed(FleetMetrics(2, 70.0).registry, HERE) as other:
        found = status.run([*shown, other])["devices"]
    assert sorted((seen["url"], seen["device"]) for seen in found) == sorted(
        [(shown[0], 0), (shown[0], 1), (shown[1], 1), (other, 0), (other, 1)]
    )


def test_the_command_prints_a_table(shown: tuple[str, str]) -> None:
    done = WIDE.invoke(app, ["status", *shown])
    assert done.exit_code == 0, done.output
    (row,) = [line for line in done.output.split("\n") if "stale 1" in line]
    assert [cell.strip() for cell in row.split("│")[1:8]] == [
        "1", "yes", "1.50", "2@1", "50.0", "8.0", "-"
    ]  # fmt: skip
    assert "1 rounds, the last one took 2.00 s, accuracy 0.250, 2 clusters" in done.output


def test_what_is_not_known_of_a_device_is_a_dash() -> None:
    with exposed(FleetMetrics(1, 70.0).registry, HERE) as url:
        done = WIDE.invoke(app, ["status", url])
    (row,) = [line for line in done.output.split("\n") if "no" in line and "│" in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["0", "no", *["-"] * 6]


def test_who_does_not_answer_is_named_after_the_others(shown: tuple[str, str], dead: str) -> None:
    done = CliRunner().invoke(app, ["status", shown[1], dead, "--json"])
    assert isinstance(done.exception, RunError)
    assert str(done.exception) == f"no answer of {dead}: Connection refused"
    found = json.loads(done.stdout)
    assert found["unreachable"] == [{"url": dead, "reason": "Connection refused"}]
    assert [seen["device"] for seen in found["devices"]] == [1]


@contextmanager
def answering(body: bytes, code: int = 200, **headers: str) -> Iterator[str]:
    """A server that always says the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no metrics of adaptoff"),
        (b"<html>hello</html>", "no metrics of adaptoff"),
        (b"process_cpu_seconds_total 1\n", "no metrics of adaptoff"),
        (b"adaptoff_fleet_rounds_total NaN\n", "no metrics of adaptoff"),
        (b"adaptoff_fleet_rounds_total 1e300\n", "no metrics of adaptoff"),
        (b"adaptoff_fleet_rounds_total one\n", "not the text"),
        (b'adaptoff_device_cut{device="0" 1\n', "not the text"),
        (b"adaptoff_\xff\xfe 1\n", "not the text"),
        (b"adaptoff_cut " + b"9" * 500 + b"\n", "not the text|no metrics"),
        (b'adaptoff_cut{device="' + b'\\"' * 9999 + b'"} 1\n', "a line of more than"),
    ],
)
def test_what_is_no_metrics_is_said(body: bytes, why: str) -> None:
    with answering(body) as url, pytest.raises(LinkError, match=why):
        scrape.read(url)


def test_too_much_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "MOST_BYTES", 1000)
    body = b"adaptoff_fleet_rounds_total 1\n" * 1000
    with answering(body) as url, pytest.raises(LinkError, match="more than 1000 bytes"):
        scrape.read(url)


def test_who_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "SILENT_S", 0.1)
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/metrics"
        with pytest.raises(LinkError, match="no answer in time"):
            scrape.read(url)


@contextmanager
def repeating(piece: bytes, pause_s: float = 0.0) -> Iterator[str]:
    """A server that says the same without end, until nobody listens."""

    def say(server: socket.socket) -> None:
        link, _ = server.accept()
        with closing(link), suppress(OSError):
            while True:
                link.sendall(piece)
                time.sleep(pause_s)

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=say, args=(server,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/metrics"
        finally:
            thread.join()


@pytest.mark.parametrize("piece", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n#"])
def test_who_talks_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, piece: bytes) -> None:
    monkeypatch.setattr(scrape, "MOST_BYTES", 100_000)
    with repeating(piece) as url, pytest.raises(LinkError, match="more than 100000 bytes"):
        scrape.read(url)


def test_who_never_comes_to_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "WHOLE_S", 0.1)
    with repeating(b"X: y\r\n", 0.01) as url, pytest.raises(LinkError, match=r"within 0\.1 s"):
        scrape.read(url)


def test_what_is_no_name_of_a_host_is_said() -> None:
    with pytest.raises(LinkError):
        scrape.read("http://a..b:9101/metrics")


def test_nobody_sends_it_elsewhere(shown: tuple[str, str]) -> None:
    with answering(b"", 302, Location=shown[0]) as url, pytest.raises(LinkError, match="302"):
        scrape.read(url)


def test_strange_devices_and_causes_are_left_out() -> None:
    body = (
        'adaptoff_device_cut{device="[red]"} 1\n'
        'adaptoff_device_cut{device="256"} 1\n'
        'adaptoff_device_cut{device="²"} 1\n'
        'adaptoff_device_cut{device="3"} 2\n'
        'adaptoff_device_guard_actions_total{device="3",cause="\\u001b[2J"} 2\n'
    )
    with answering(body.encode()) as url:
        (seen,) = status.run([url])["devices"]
    assert (seen["device"], seen["cut"], seen["guards"]) == (3, 2, None)


def test_many_are_asked_at_once(figures: FleetFigures) -> None:
    with ExitStack() as stack:
        urls = []
        for number in range(20):
            device = DeviceMetrics(number)
            urls.append(stack.enter_context(exposed(device.registry, HERE)))
        found = status.run([*urls, *urls])["devices"]
    assert sorted(seen["device"] for seen in found) == list(range(20))


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("9101", "http://127.0.0.1:9101/metrics"),
        ("pi4.lan:9101", "http://pi4.lan:9101/metrics"),
        ("[::1]:9101", "http://[::1]:9101/metrics"),
        ("http://pi4.lan:9101", "http://pi4.lan:9101/metrics"),
        ("https://pi4.lan/figures/", "https://pi4.lan/figures"),
    ],
)
def test_endpoints(endpoint: str, url: str) -> None:
    assert scrape.url_of(endpoint) == url


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "pi4.lan",
        "file:///etc/passwd",
        "tcp://127.0.0.1:5600",
        "pi4:99999",
        "a b:1",
        "a:1\n",
        "a:b@c:1",
    ],
)
def test_wrong_endpoints(endpoint: str) -> None:
    with pytest.raises(InputError, match="must be"):
        scrape.url_of(endpoint)


def test_where_a_device_was_seen_is_said_if_it_matters(shown: tuple[str, str]) -> None:
    with exposed(DeviceMetrics(5).registry, HERE) as other:
        alone = WIDE.invoke(app, ["status", *shown]).output
        both = WIDE.invoke(app, ["status", *shown, other]).output
    assert ("seen at" in alone, "seen at" in both) == (False, True)
    assert urlsplit(other).netloc in both
