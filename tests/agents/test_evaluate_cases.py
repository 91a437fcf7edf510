"""Classes of scenarios: what can be handed in, and what is said of it."""

import json
from pathlib import Path

import numpy as np
import pytest

from adaptoff import config, profile
from adaptoff.agents.cases import cases_of
from adaptoff.agents.front import Part
from adaptoff.agents.provenance import traces_of
from adaptoff.agents.wanted import Wanted
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.errors import AdaptoffError, InputError, ProfileError, ScenarioError, TraceError

DATA = Path("../shared/data")


@pytest.fixture
def traces(tmp_path) -> Path:
    """One trace with a downlink of 1.5 Mbit/s alone, one of 12 Mbit/s both ways."""
    directory = tmp_path / "bus"
    directory.mkdir()
    (directory / "README.md").write_text("where they are from", encoding="utf-8")
    (directory / ".part").write_text("half a", encoding="utf-8")
    (directory / "down.csv").write_text("t_s,up_mbps,down_mbps\n0,,1\n1,,2\n", encoding="utf-8")
    packets = "\n".join(str(ms) for ms in range(10_000))
    (directory / "lte.trace").write_text(packets, encoding="utf-8")
    return directory


def names(wanted: Wanted) -> list[str]:
    return [case.name for case in cases_of(wanted)]


def test_without_a_word_all_training_profiles_meet_drawn_links() -> None:
    shipped = [config.find_profile(name) for name in config.shipped_profiles()]
    training = [p.name for p in shipped if p.mode == "training"]
    assert names(Wanted(fleets=2)) == [f"{name}/drawn" for name in training]
    assert "vgg5" in training
    [case] = cases_of(Wanted(profiles=("vgg5",)))
    assert (case.rounds, case.facts["fleets"]) == (24, 64)
    assert case.source.draw(1)[0].shape[0] == 64


def test_traces_are_classes_raw_and_scaled(traces) -> None:
    wanted = Wanted(
        profiles=("vgg5",), traces=(traces,), trace_scale_mbps=(20.0, 40.0), up_over_down=0.5,
        fleets=10, rounds=4,
    )  # fmt: skip
    drawn, raw, scaled = cases_of(wanted)
    assert [case.name for case in (drawn, raw, scaled)] == [
        "vgg5/drawn", "vgg5/bus", "vgg5/bus-scaled",
    ]  # fmt: skip
    assert raw.facts["links"]["files"] == 2
    assert raw.facts["links"]["mean_downlink_scaled_to_mbps"] is None
    assert scaled.facts["links"]["mean_downlink_scaled_to_mbps"] == [20.0, 40.0]
    assert scaled.facts["links"]["uplink_over_downlink_where_one_was_measured"] == 0.5
    for case in (drawn, raw, scaled):
        json.dumps(case.facts)
    fleet, course = raw.source.draw(3)
    np.testing.assert_allclose((course.up_bps / course.down_bps)[:, fleet.active], 0.5)
    assert course.down_bps.min() == pytest.approx(1.5e6, rel=0.1)
    assert scaled.source.draw(3)[1].down_bps.mean() == pytest.approx(29e6, rel=0.3)


def test_provenance_of_traces_names_files_factors_and_ratios(traces) -> None:
    wanted = Wanted(
        profiles=("vgg5",), traces=(traces,), trace_scale_mbps=(20.0, 40.0), fleets=30, rounds=4
    )
    _, raw, scaled = cases_of(wanted)
    known = {each["file"]: each for each in traces_of(raw.source, [1, 2])}
    assert set(known) == {"down.csv", "lte.trace"}
    assert all(each["factor"] == [1.0, 1.0] for each in known.values())
    assert all(each["up_over_down"] == 1.0 for each in known.values())
    active = sum(raw.source.draw(seed)[0].active.sum() for seed in (1, 2))
    assert sum(each["links"] for each in known.values()) == active
    means = {"down.csv": 1.5, "lte.trace": 12.0}
    for each in traces_of(scaled.source, [1, 2]):
        low, high = (factor * means[each["file"]] for factor in each["factor"])
        assert 20 * 0.99 <= low < high <= 40 * 1.01


def test_a_single_trace_file_will_do(traces) -> None:
    wanted = Wanted(profiles=("vgg5",), traces=(traces / "down.csv",), fleets=2)
    assert names(wanted) == ["vgg5/drawn", "vgg5/down.csv"]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there")
@pytest.mark.parametrize("name", ["traces", "traces-starlink"])
def test_measured_traces_can_be_handed_in(name) -> None:
    wanted = Wanted(profiles=("vgg5",), traces=(DATA / name,), fleets=3, rounds=2)
    case = cases_of(wanted)[1]
    assert case.facts["links"]["files"] == len(list((DATA / name).iterdir()))
    assert np.isfinite(EmulatedFleet(case.source).reset(1).round_s).all()


def test_heat_draws_fleets_whose_limit_binds() -> None:
    [case] = cases_of(Wanted(profiles=("vgg5",), heat=True, fleets=20))
    assert case.name == "vgg5/drawn-hot"
    assert case.facts["heat_limit_binds"]
    assert case.source.draw(1)[0].heat_limit_c.max() <= 70.0


def test_an_energy_weight_holds_for_all_fleets() -> None:
    [drawn] = cases_of(Wanted(profiles=("vgg5",), fleets=20))
    [fixed] = cases_of(Wanted(profiles=("vgg5",), fleets=20, energy_weight=0.25))
    assert len(set(drawn.source.draw(1)[0].energy_weight)) > 5
    assert set(fixed.source.draw(1)[0].energy_weight) == {0.25}
    assert (drawn.facts["energy_weight"], fixed.facts["energy_weight"]) == ("drawn", 0.25)
    [scenario] = cases_of(Wanted(scenario="demo", energy_weight=0.25))
    assert scenario.source.draw(1)[0].energy_weight.tolist() == [0.25]
    assert scenario.facts["scenario"]["objective"]["energy_weight"] == 0.25


def test_a_profile_of_ones_own_is_a_class_of_its_own(tmp_path) -> None:
    own = profile.Profile(
        name="mine", batch_size=10, source="made up", reference_flops_per_s=1e9,
        cuts=[
            profile.Cut(name="in", device_flops=0, server_flops=4e9, up_bytes=1e5),
            profile.Cut(
                name="out", device_flops=4e9, server_flops=0, sync_bytes=1e5, memory_bytes=1e6
            ),
        ],
    )  # fmt: skip
    path = tmp_path / "any.json"
    profile.save(own, path)
    cases = cases_of(Wanted(profiles=(str(path), "vgg5"), fleets=2))
    assert [case.name for case in cases] == ["mine/drawn", "vgg5/drawn"]
    assert cases[0].source.draw(1)[0].n_ways.tolist() == [2, 2]
    assert len(cases[0].facts["profile"]["sha256"]) == 64
    with pytest.raises(InputError, match="mine/drawn"):
        cases_of(Wanted(profiles=(str(path), str(path)), fleets=2))


def test_a_scenario_has_its_own_rounds_and_may_meet_other_profiles() -> None:
    [own] = cases_of(Wanted(scenario="demo"))
    assert own.name == "vgg5/demo"
    assert own.rounds == config.load("demo").workload.rounds
    [short] = cases_of(Wanted(scenario="demo", overrides=("workload.rounds=3",)))
    assert short.rounds == 3
    [other] = cases_of(Wanted(scenario="demo", profiles=("resnet18",), rounds=2))
    assert (other.name, other.rounds) == ("resnet18/demo", 2)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"scenario": "demo", "traces": (Path(),)}, ("--traces", "--scenario")),
        ({"scenario": "demo", "heat": True}, ("--heat", "--scenario")),
        ({"scenario": "demo", "fleets": 3}, ("--fleets", "--scenario")),
        ({"overrides": ("workload.rounds=3",)}, ("--set", "--scenario")),
        ({"trace_scale_mbps": (1.0, 2.0)}, ("--trace-scale", "--traces")),
        ({"up_over_down": 0.5}, ("--up-over-down", "--traces")),
    ],
)
def test_what_does_not_go_together_is_named(wanted, words) -> None:
    with pytest.raises(InputError) as error:
        Wanted(**wanted)
    assert all(word in str(error.value) for word in words)


def test_wrong_files_are_named_in_one_line(traces, tmp_path) -> None:
    def refused(kind: type[AdaptoffError], word: str, **wanted) -> None:
        with pytest.raises(kind, match=word) as error:
            cases_of(Wanted(fleets=2, **wanted) if "scenario" not in wanted else Wanted(**wanted))
        assert "\n" not in str(error.value)

    empty = tmp_path / "empty"
    empty.mkdir()
    refused(InputError, "nowhere", traces=(Path("nowhere"),))
    refused(InputError, "empty", traces=(empty,))
    refused(InputError, "bus", traces=(traces, traces))
    refused(InputError, "scale", traces=(traces,), trace_scale_mbps=(5.0, 1.0))
    refused(InputError, "up_over_down", traces=(traces,), up_over_down=-1.0)
    refused(ProfileError, "nowhere.json", profiles=("nowhere.json",))
    refused(ScenarioError, "nowhere.toml", scenario="nowhere.toml")
    (traces / "broken.csv").write_text("t_s,up_mbps,down_mbps\n0,x,1\n", encoding="utf-8")
    refused(TraceError, "broken.csv: line 2", traces=(traces,))


def test_a_profile_of_board_classes_alone_is_refused(tmp_path) -> None:
    cuts = [
        profile.Cut(name="in", server_s=1.0, up_bytes=1e5),
        profile.Cut(name="out", server_s=0.0, sync_bytes=1e5),
    ]
    classed = profile.Profile(
        name="classed", batch_size=10, source="made up", cuts=cuts, classes={"pi4": [0.0, 1.0]}
    )
    profile.save(classed, tmp_path / "classed.json")
    with pytest.raises(ProfileError, match=r"classed.*pi4"):
        cases_of(Wanted(profiles=(str(tmp_path / "classed.json"),), fleets=2))


def test_a_part_is_the_first_fleets_with_their_links() -> None:
    [case] = cases_of(Wanted(profiles=("vgg5",), fleets=6, rounds=4))
    (whole, course), (part, mine) = (s.draw(2) for s in (case.source, Part(case.source, 2, 0.7)))
    assert part.shape == (2, whole.shape[1])
    assert part.energy_weight.tolist() == [0.7, 0.7]
    np.testing.assert_array_equal(part.batches, whole.batches[:2])
    np.testing.assert_array_equal(mine.up_bps, course.up_bps[:, :2])
    np.testing.assert_array_equal(mine.server_speed, course.server_speed[:, :2])
    assert np.isfinite(EmulatedFleet(Part(case.source, 2, 0.7)).reset(2).round_s).all()
    [scenario] = cases_of(Wanted(scenario="demo"))
    assert Part(scenario.source, 2, 0.7).draw(1)[0].energy_weight.tolist() == [0.7]


def test_drawn_fleets_have_the_levers_that_were_asked_for() -> None:
    [plain] = cases_of(Wanted(profiles=("vgg5",), fleets=3))
    [deep] = cases_of(Wanted(profiles=("vgg5",), fleets=3, depths="1,4"))
    assert deep.facts["depths"] == [1, 4]
    fleet, course = deep.source.draw(1)
    other, its = plain.source.draw(1)
    assert set(fleet.depth.ravel().tolist()) == {1.0, 4.0}
    assert fleet.n_ways.tolist() == [2 * 7 + 1] * 3
    np.testing.assert_array_equal(course.up_bps, its.up_bps)  # all else is drawn alike
    np.testing.assert_array_equal(fleet.dynamic_w, other.dynamic_w)


@pytest.mark.parametrize(
    "levers", [{"depths": "0"}, {"depths": "two"}, {"codecs": "jpeg"}, {"codecs": ","}]
)
def test_levers_that_cannot_be_are_refused(levers: dict[str, str]) -> None:
    with pytest.raises(InputError, match="--depths, --codecs: "):
        Wanted(**levers)
    with pytest.raises(InputError, match="not with --scenario"):
        Wanted(scenario="demo", **levers)


def test_a_codec_that_is_none_is_told_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'jpeg'.*; allowed: float32, float16, uint8, uint8-zstd"):
        Wanted(codecs="uint8,jpeg")
