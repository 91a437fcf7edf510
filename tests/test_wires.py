"""What connects a testbed's processes, and what becomes of round trips, jitter and loss."""

import dataclasses

import pytest
from msgspec.structs import replace

from adaptoff.commands import wires
from adaptoff.errors import InputError
from adaptoff.scenario import Scenario
from adaptoff.testbed.network import Impairment
from adaptoff.testbed.probe import Abilities, Ability, probe

YES, NO = Ability(), Ability("not permitted")
ABLE = Abilities(**dict.fromkeys(Abilities.__dataclass_fields__, YES))
UNABLE = dataclasses.replace(ABLE, netem=NO, relay=NO)


@pytest.fixture
def slow(scenario: Scenario) -> Scenario:
    """Device 2 is on a link with a round trip, devices 0 and 1 are not."""
    lte = replace(scenario.links["lte"], rtt_ms=40.0, jitter_ms=10.0, loss=0.01)
    unused = replace(lte, rtt_ms=50.0)
    return replace(scenario, links=scenario.links | {"lte": lte, "unused": unused})


def test_auto_delays_where_it_can_and_paces_where_it_cannot(
    slow: Scenario, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wires, "probe", lambda: ABLE)
    assert wires.choose("auto", slow)[0] == "netns"
    monkeypatch.setattr(wires, "probe", lambda: UNABLE)
    kind, why = wires.choose("auto", slow)
    assert kind == "pace"
    assert "netem: not permitted; relay: not permitted" in why
    assert wires.choose("auto", scenario)[0] == "netns"


def test_namespaces_refuse_by_name_what_they_cannot_emulate(
    slow: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wires, "probe", lambda: UNABLE)
    with pytest.raises(InputError, match=r"--net netns: links\.lte: .*; allowed here: pace, none"):
        wires.choose("netns", slow)
    with pytest.raises(InputError, match=r"links\.lte: "), wires.strung(slow, "netns", 1.0):
        pass


@pytest.mark.parametrize("kind", ["pace", "none"])
def test_other_links_say_what_they_leave_out(
    kind: wires.Kind, slow: Scenario, scenario: Scenario
) -> None:
    with wires.strung(slow, kind, 1.0) as strung:
        assert strung.left_out == "round trips, jitter and loss of links.lte are not emulated"
        assert strung.left_out in strung.said
    with wires.strung(scenario, kind, 1.0) as strung:
        assert strung.left_out == ""
        assert "emulated" not in strung.said


def test_delays_are_dilated_and_loss_is_not(slow: Scenario) -> None:
    *others, last = wires._impairments(slow, 2.5)
    assert others == [Impairment()] * 2
    assert last == Impairment(pytest.approx(0.1), pytest.approx(0.025), 0.01)


def test_what_delays_is_said(slow: Scenario, scenario: Scenario) -> None:
    if why_not := wires.missing(probe(), ["links"]):
        pytest.skip(why_not)
    with wires.strung(slow, "netns", 1.0) as strung:
        assert strung.left_out == ""
        assert "delayed by" in strung.said
    with wires.strung(scenario, "netns", 1.0) as strung:
        assert "delayed" not in strung.said
