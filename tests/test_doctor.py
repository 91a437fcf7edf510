"""``adaptoff doctor``: one line for each thing, whatever the machine can do."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from adaptoff.commands import doctor, doctor_net, wires
from adaptoff.testbed import probe as probing
from adaptoff.testbed.probe import Abilities, Ability

YES, NO = Ability(), Ability("Operation not permitted")


def abilities(**cannot: Ability) -> Abilities:
    """All but what is named."""
    able = dict.fromkeys(Abilities.__dataclass_fields__, YES)
    return Abilities(**(able | cannot))


NOTHING = Abilities(NO, NO, *[probing.UNTRIED] * 5, NO)


def found_with(able: Abilities, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
    """(found, used) by what."""
    for module in (wires, doctor_net):
        monkeypatch.setattr(module, "probe", lambda: able)
    return {each.what: (each.found, each.used) for each in doctor.examine()}


@pytest.mark.parametrize("able", [abilities(), NOTHING], ids=["able", "unable"])
def test_each_thing_has_its_line_on_every_machine(
    able: Abilities, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = found_with(able, monkeypatch)
    assert tuple(found) == doctor.WHATS
    assert all(text for pair in found.values() for text in pair)


def test_a_machine_that_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_with(abilities(), monkeypatch)
    assert found["namespaces"][0] == "root, rootless"
    assert found["netem"] == ("works", "delay, jitter and loss of --net netns")
    assert found["relay"] == ("works", "nothing: netem works")
    assert found["delay and loss"][0] == "netem"
    assert found["links"] == ("--net auto takes netns", "namespaces and tbf work here")


def test_a_relay_takes_the_place_of_netem(monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_with(abilities(netem=NO, root_namespaces=NO), monkeypatch)
    assert found["namespaces"][0] == "rootless"
    assert found["netem"] == ("no: Operation not permitted", "the relay")
    assert found["relay"][1] == "delay, jitter and loss of --net netns"
    assert found["delay and loss"][0] == "relay"


def test_what_cannot_be_delayed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_with(abilities(netem=NO, relay=NO), monkeypatch)
    assert found["delay and loss"] == ("no", "--net netns refuses them, auto leaves them out")
    assert found["links"][0] == "--net auto takes netns"


def test_without_namespaces_links_are_paced_and_why_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = found_with(NOTHING, monkeypatch)
    assert found["namespaces"] == (f"no: {NO.why_not}", doctor_net.PACED)
    assert found["links"] == ("--net auto takes pace", NO.why_not)
    assert found["cpu quota"][0] == f"no: {NO.why_not}"


def test_either_kind_of_namespaces_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    able = abilities(root_namespaces=Ability("not root"), rootless_namespaces=NO)
    assert found_with(able, monkeypatch)["links"][1] == f"not root; {NO.why_not}"


@pytest.mark.parametrize("able", [abilities(), NOTHING], ids=["able", "unable"])
def test_the_table_can_be_read_at_80_columns(
    able: Abilities, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found_with(able, monkeypatch)
    monkeypatch.setattr(doctor, "CLASSES", tmp_path)
    monkeypatch.setattr(doctor, "CPUFREQ", tmp_path)
    page = io.StringIO()
    doctor.show(doctor.examine(), Console(file=page, width=80))
    lines = page.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 80
    for what in doctor.WHATS:
        assert any(line.split("│")[1:2] == [f" {what:14} "] for line in lines)
    assert "…" not in page.getvalue()
    assert len(lines) < 3 * len(doctor.WHATS)


def test_sensors_are_found_where_linux_has_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "CLASSES", tmp_path)
    found = found_with(NOTHING, monkeypatch)
    assert found["power sensors"] == ("none", "the power model")
    for file in ("thermal/thermal_zone0", "powercap/intel-rapl:0", "hwmon/hwmon1/curr1_input"):
        (tmp_path / file).mkdir(parents=True)
    found = found_with(NOTHING, monkeypatch)
    assert found["thermal zones"][0] == "thermal_zone0"
    assert found["power sensors"][0] == "curr1_input, intel-rapl:0"


def test_json_has_what_the_table_has(monkeypatch: pytest.MonkeyPatch) -> None:
    found_with(abilities(), monkeypatch)
    findings = doctor.examine()
    told = json.loads(json.dumps(doctor.as_json(findings)))
    assert list(told) == ["findings"]
    assert [set(each) for each in told["findings"]] == [{"what", "found", "used"}] * len(findings)
    assert [each["what"] for each in told["findings"]] == list(doctor.WHATS)
