"""What is exported of rounds, where, and to whom."""

import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from adaptoff.errors import InputError
from adaptoff.guards import CAUSES, Guards
from adaptoff.messages import FleetFigures, Row
from tests.reported import DECISION, SEEN, round_of

pytest.importorskip("prometheus_client", reason="needs the extra metrics")

from prometheus_client import CollectorRegistry

from adaptoff.metrics import DeviceMetrics, FleetMetrics
from adaptoff.metrics_http import Place, exposed, place_of


def value(registry: CollectorRegistry, name: str, **labels: object) -> float | None:
    return registry.get_sample_value(
        f"adaptoff_{name}", {key: str(each) for key, each in labels.items()}
    )


def everything(registry: CollectorRegistry) -> Mapping[tuple[str, str], float]:
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_a_round_of_the_fleet(figures: FleetFigures) -> None:
    metrics = FleetMetrics(2, heat_limit_c=70.0)
    metrics.watch(lambda: [1], lambda: 4)
    metrics.round(round_of(figures))
    of = metrics.registry
    assert value(of, "fleet_rounds_total") == value(of, "fleet_invalid_rounds_total") == 1
    assert value(of, "fleet_round_seconds_sum") == value(of, "fleet_last_round_seconds") == 2.0
    assert value(of, "fleet_heat_limit_celsius") == 70.0
    assert value(of, "fleet_server_speed_cores") == figures.server_speed
    assert value(of, "fleet_clusters") == 2
    assert value(of, "fleet_refused_peers_total") == 4
    assert [value(of, "fleet_device_up", device=d) for d in (0, 1)] == [0, 1]
    assert [value(of, "fleet_device_late_rounds_total", device=d) for d in (0, 1)] == [1, 0]
    assert [value(of, "fleet_device_cut", device=d) for d in (0, 1)] == [0, 2]
    assert value(of, "fleet_device_stage_seconds", device=1, stage="downlink") == 0.3
    assert value(of, "fleet_device_uplink_bytes_per_second", device=1) == 1e6


def test_what_was_not_measured_has_no_sample(figures: FleetFigures) -> None:
    metrics = FleetMetrics(2, heat_limit_c=70.0)
    assert value(metrics.registry, "fleet_last_round_seconds") is None
    metrics.round(round_of(figures, accuracy=None))
    of = metrics.registry
    assert value(of, "fleet_accuracy_ratio") is None
    assert value(of, "fleet_device_downlink_bytes_per_second", device=1) is None
    assert value(of, "fleet_device_temperature_celsius", device=0) is None


def test_counters_add_up_and_gauges_are_of_the_last_round(figures: FleetFigures) -> None:
    metrics = FleetMetrics(2, heat_limit_c=70.0)
    metrics.round(round_of(figures))
    metrics.round(round_of(figures, late=[], telemetry=[replace(SEEN, temp_c=51.0)], valid=True))
    of = metrics.registry
    assert value(of, "fleet_rounds_total") == 2
    assert value(of, "fleet_invalid_rounds_total") == 1
    assert value(of, "fleet_device_energy_joules_total", device=1, source="modelled") == 12.0
    assert value(of, "fleet_device_decisions_total", device=1, source="policy") == 2
    assert value(of, "fleet_device_temperature_celsius", device=1) == 51.0


def test_a_round_of_a_device() -> None:
    metrics, guards = DeviceMetrics(1), Guards()
    metrics.guards(guards)
    metrics.watch(lambda: time.monotonic() - 5)
    metrics.round(SEEN, replace(DECISION, row=Row(cut=2, opp=2)), 0.003)
    guards.act("opp-refused", "the board took 1")
    of = metrics.registry
    assert value(of, "device_rounds_total", device=1) == 1
    assert value(of, "device_decisions_total", device=1, source="policy") == 1
    assert value(of, "device_decision_seconds_sum", device=1) == 0.003
    opps = [value(of, f"device_{name}", device=1) for name in ("opp_asked", "opp", "opp_left")]
    assert opps == [2, 1, 0]
    assert value(of, "device_temperature_celsius", device=1) == 50.0
    silence_s = value(of, "device_server_silence_seconds", device=1)
    assert silence_s is not None
    assert 5 <= silence_s < 60
    acted = {c: value(of, "device_guard_actions_total", device=1, cause=c) for c in CAUSES}
    assert acted == dict.fromkeys(CAUSES, 0) | {"opp-refused": 1}


def test_a_device_that_has_heard_nobody_does_not_say_since_when() -> None:
    assert value(DeviceMetrics(0).registry, "device_server_silence_seconds", device=0) is None


def test_a_scrape_changes_nothing(figures: FleetFigures) -> None:
    metrics = FleetMetrics(2, heat_limit_c=70.0)
    metrics.round(round_of(figures))
    assert everything(metrics.registry) == everything(metrics.registry)


def test_a_scrape_during_rounds_sees_whole_ones(figures: FleetFigures) -> None:
    """The figures of a round belong together, however many scrapes there are beside it."""
    metrics, done = FleetMetrics(2, heat_limit_c=70.0), threading.Event()

    def scrape() -> list[tuple[float | None, float | None]]:
        found = []
        while not done.is_set():
            seen = everything(metrics.registry)
            stage = ("adaptoff_fleet_device_temperature_celsius", "[('device', '1')]")
            found.append((seen.get(("adaptoff_fleet_last_round", "[]")), seen.get(stage)))
        return found

    with ThreadPoolExecutor(2) as scrapers:
        scrapes = [scrapers.submit(scrape) for _ in range(2)]
        for number in range(200):
            seen = [replace(SEEN, temp_c=number / 2)]
            metrics.round(round_of(figures, round=number, telemetry=seen))
        done.set()
    pairs = {pair for each in scrapes for pair in each.result()} - {(None, None)}
    assert all(number is not None and temp_c == number / 2 for number, temp_c in pairs)
    assert value(metrics.registry, "fleet_rounds_total") == 200


def get(url: str, method: str = "GET") -> tuple[int, str]:
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=10)) as connection:
        connection.request(method, "/metrics")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_it_is_shown_until_the_end_of_the_block() -> None:
    with exposed(DeviceMetrics(7).registry, Place("127.0.0.1", 0)) as url:
        status, text = get(url)
        assert (status, 'adaptoff_device_rounds_total{device="7"} 0.0' in text) == (200, True)
        assert get(url, "POST")[0] == 405
    assert not [t for t in threading.enumerate() if "serve_forever" in t.name]
    with pytest.raises(ConnectionRefusedError):
        get(url)


def test_a_client_that_says_nothing_keeps_nobody_waiting() -> None:
    with exposed(DeviceMetrics(0).registry, Place("127.0.0.1", 0)) as url:
        port = urlsplit(url).port
        with socket.create_connection(("127.0.0.1", port)), ThreadPoolExecutor(2) as scrapers:
            assert [status for status, _ in scrapers.map(get, [url, url])] == [200, 200]


def test_a_taken_port_is_said_in_a_line() -> None:
    registry = DeviceMetrics(0).registry
    with exposed(registry, Place("127.0.0.1", 0)) as url:
        port = urlsplit(url).port
        with (
            pytest.raises(InputError, match=f"--metrics 127.0.0.1:{port}: .*in use"),
            exposed(registry, place_of(str(port))),
        ):
            pass


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9101", ("127.0.0.1", 9101)),
        ("192.0.2.1:0", ("192.0.2.1", 0)),
        ("pi4.lan:65535", ("pi4.lan", 65535)),
        ("[::1]:9101", ("::1", 9101)),
    ],
)
def test_places(text: str, place: tuple[str, int]) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["", "host", ":9101", "host:", "1:65536", "9101/x", "-1", "٣"])
def test_wrong_places(text: str) -> None:
    with pytest.raises(InputError, match="PORT"):
        place_of(text)


def test_what_is_no_name_of_a_host_is_said() -> None:
    with (
        pytest.raises(InputError, match=r"--metrics a\.\.b:0"),
        exposed(CollectorRegistry(), Place("a..b", 0)),
    ):
        pass


def test_no_host_is_loopback_alone() -> None:
    with exposed(DeviceMetrics(0).registry, place_of("0")) as url:
        assert url.startswith("http://127.0.0.1:")
