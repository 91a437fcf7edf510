"""Profiles: round trip, scaling, which work counts, and what a broken file says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adaptoff import fleet as fleets
from adaptoff import profile as profiles
from adaptoff.errors import ProfileError
from adaptoff.profile import CodecCosts, Coded, Cut, Profile
from adaptoff.scenario import Scenario

FLOPS_PER_S = 1e10
WORK = ("device_s", "server_s", "device_flops", "server_flops")


def test_round_trip(profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    profiles.save(profile, path)
    assert profiles.load(path) == profile
    assert '"device_flops"' not in path.read_text()  # what is not known is left out


def test_codecs_come_back_and_what_was_not_measured_stays_unknown(
    profile: Profile, tmp_path: Path
) -> None:
    path = tmp_path / "coded.json"
    cuts = [Coded(1e6), Coded(1e5, 2e5, 0.001, 0.002), Coded(1e5, 1e5), Coded()]
    coded = replace(
        profile,
        cuts=[replace(cut, device_call_s=0.001) for cut in profile.cuts],
        codecs={"uint8": CodecCosts(cuts), "float16": CodecCosts(cuts, 0.0)},
    )
    profiles.save(coded, path)
    found = profiles.load(path)
    assert found == coded
    assert (found.codecs["uint8"].accuracy_drop, found.codecs["float16"].accuracy_drop) == (None, 0)


def test_columns_scale_with_the_batch_but_weights_do_not(profile: Profile) -> None:
    assert profile.column("device_s", 50) == [0.0, 0.01, 0.025, 0.04]
    assert profile.column("up_bytes", 200)[1] == 4e6
    assert profile.column("sync_bytes", 50) == [0.0, 10e3, 100e3, 1e6]
    assert profile.native == 3


def test_of_the_memory_only_the_activations_grow_with_the_batch(profile: Profile) -> None:
    cuts = [replace(cut, memory_bytes=10e6, weights_memory_bytes=4e6) for cut in profile.cuts]
    memory = replace(profile, cuts=cuts)
    assert memory.column("memory_bytes", 100) == [10e6] * 4
    assert memory.column("memory_bytes", 200) == [16e6] * 4
    assert memory.column("memory_bytes", 50) == [7e6] * 4


def counted(profile: Profile, **changes: Any) -> Profile:
    """The same work in FLOPs alone, twice as fast."""
    cuts = [
        replace(
            cut, device_s=None, server_s=None,
            device_flops=cut.device_s * FLOPS_PER_S / 2,
            server_flops=cut.server_s * FLOPS_PER_S / 2,
        )
        for cut in profile.cuts
    ]  # fmt: skip
    return replace(profile, cuts=cuts, reference_flops_per_s=FLOPS_PER_S, **changes)


def test_flops_count_where_nothing_was_measured(profile: Profile) -> None:
    assert counted(profile).column("device_s", 100) == pytest.approx([0.0, 0.01, 0.025, 0.04])
    assert counted(profile).column("server_s", 50) == pytest.approx([0.02, 0.015, 0.0075, 0.0])


def test_what_was_measured_wins_over_flops(profile: Profile) -> None:
    pairs = zip(profile.cuts, counted(profile).cuts, strict=True)
    cuts = [replace(a, device_flops=b.device_flops, server_flops=b.server_flops) for a, b in pairs]
    both = replace(profile, cuts=cuts, reference_flops_per_s=FLOPS_PER_S)
    for field in ("device_s", "server_s"):
        assert both.column(field, 100) == profile.column(field, 100)


PI4 = [0.0, 0.3, 0.5, 0.9]


def test_a_class_has_its_own_seconds(profile: Profile) -> None:
    both = replace(profile, classes={"pi4": PI4})
    assert both.column("device_s", 200, "pi4") == [2 * seconds for seconds in PI4]
    assert both.column("device_s", 100) == profile.column("device_s", 100)
    assert both.column("server_s", 100, "pi4") == profile.column("server_s", 100)


@pytest.mark.parametrize(
    ("classes", "allowed"), [({"pi4": PI4, "xu4": PI4}, "pi4, xu4"), ({}, "no")]
)
def test_an_unknown_class_names_the_known_ones(
    profile: Profile, classes: dict[str, list[float]], allowed: str
) -> None:
    with pytest.raises(ProfileError, match=f"profile toy: device_class 'pi5': allowed: {allowed}"):
        replace(profile, classes=classes).column("device_s", 50, "pi5")


def test_without_a_reference_each_board_needs_a_class(profile: Profile) -> None:
    cuts = [replace(cut, device_s=None) for cut in profile.cuts]
    only = replace(profile, cuts=cuts, classes={"pi4": PI4})
    assert only.column("device_s", 100, "pi4") == PI4
    with pytest.raises(ProfileError, match="no device_s: each board needs a device_class: pi4"):
        only.column("device_s", 100)


def test_a_fleet_has_the_work_of_each_boards_class(profile: Profile, scenario: Scenario) -> None:
    plain = scenario.boards["slow"]
    boards = [plain, replace(plain, device_class="pi4"), plain]
    fleet = fleets.build(replace(profile, classes={"pi4": PI4}), scenario, boards, [1, 1, 1])
    reference = profile.column("device_s", 50)
    expected = [[reference, [seconds / 2 for seconds in PI4], reference]]
    np.testing.assert_allclose(fleet.device_work_s, expected)
    assert fleet.shape == (1, 3)
    with pytest.raises(ProfileError, match="'pi4'"):
        fleets.build(profile, scenario, boards, [1, 1, 1])


def test_inference_has_no_gradient_and_no_weights_to_send(profile: Profile) -> None:
    cuts = [replace(cut, sync_bytes=0, down_bytes=4e3) for cut in profile.cuts]
    answers = replace(profile, cuts=cuts, mode="inference")
    assert answers.column("down_bytes", 50) == [2e3] * 4
    assert answers.column("sync_bytes", 50) == [0] * 4


Tree = dict[str, Any]
Break = Callable[[Tree], object]


def drop(*fields: str) -> Break:
    return lambda tree: [cut.pop(field, None) for cut in tree["cuts"] for field in fields]


def put(field: str, value: Any, cut: int | None = None) -> Break:
    return lambda tree: (tree if cut is None else tree["cuts"][cut]).update({field: value})


def inference(tree: Tree) -> None:
    tree["mode"] = "inference"
    put("down_bytes", 1.0, 0)(tree)


def only_flops(tree: Tree) -> None:
    drop(*WORK)(tree)
    for cut in tree["cuts"]:
        cut |= {"device_flops": 1.0, "server_flops": 1.0}


def codec(accuracy_drop: float = 0.0) -> Tree:
    return {"cuts": [{}] * 4, "accuracy_drop": accuracy_drop}


CONTRADICTIONS: dict[str, tuple[Break, str]] = {
    "no work": (drop(*WORK), "cuts[0].device_s is missing: every cut needs device_s, device_"),
    "no server's": (drop("server_s"), "cuts[0].server_s is missing: every cut needs server_s or"),
    "some": (put("device_s", None, 2), "cuts[2].device_s is missing: all cuts have it, or none"),
    "some FLOPs": (put("server_flops", 1.0, 1), "cuts[0].server_flops is missing: all cuts"),
    "no reference": (only_flops, "reference_flops_per_s is missing: device_flops without device_s"),
    "short class": (put("classes", {"pi4": [0.1]}), "classes.pi4 has 1 entries: one per cut, 4"),
    "long class": (put("classes", {"pi4": [0.1] * 5}), "classes.pi4 has 5 entries: one per cut, 4"),
    "short codec": (
        put("codecs", {"uint8": {"cuts": [{}] * 3}}), "codecs.uint8 has 3 cuts: one per cut, 4"
    ),
    "plain codec": (put("codecs", {"float32": {"cuts": [{}] * 4}}), "codecs.float32: is what"),
    "negative class": (put("classes", {"pi4": [0, 1, 2, -1]}), ">= 0.0 - at `$.classes[...][3]`"),
    "negative": (put("up_bytes", -1, 1), ">= 0.0 - at `$.cuts[1].up_bytes`"),
    "negative work": (put("device_flops", -1, 1), ">= 0.0 - at `$.cuts[1].device_flops`"),
    "too large": (put("up_bytes", 1e16, 1), "<= 1000000000000000.0 - at `$.cuts[1].up_bytes`"),
    "reference 0": (put("reference_flops_per_s", 0), "> 0.0 - at `$.reference_flops_per_s`"),
    "mode": (put("mode", "both"), "'both' - at `$.mode`"),
    "weights": (put("weights_memory_bytes", 2e9, 1), "cuts[1].weights_memory_bytes is a part of"),
    "sync": (inference, "cuts[1].sync_bytes must be 0 in mode inference"),
    "no sync": (put("sync_bytes", 0, 3), "cuts[3].sync_bytes must be above 0 in mode training"),
    "nothing up": (put("up_bytes", 0, 2), "cuts[2].up_bytes must be above 0"),
    "no gradient": (put("down_bytes", 0, 2), "cuts[2].down_bytes must be above 0 in mode training"),
    "no result": (put("mode", "inference"), "cuts[0].down_bytes must be above 0 in mode inference"),
    "unknown": (put("device_hz", 1, 1), "unknown field `device_hz` - at `$.cuts[1]`"),
    "wrong type": (put("batch_size", "100"), "`int`, got `str` - at `$.batch_size`"),
    "batch 0": (put("batch_size", 0), ">= 1 - at `$.batch_size`"),
    "one cut": (put("cuts", []), "length >= 2 - at `$.cuts`"),
    "codec": (put("codecs", {"zip": codec()}), "'zip' - at `key` in `$.codecs`"),
    "drop": (put("codecs", {"uint8": codec(2)}), "<= 1.0 - at `$.codecs[...].accuracy_drop`"),
    "no codec cuts": (put("codecs", {"uint8": {}}), "field `cuts` - at `$.codecs[...]`"),
    "negative call": (put("server_call_s", -1, 1), ">= 0.0 - at `$.cuts[1].server_call_s`"),
    "no name": (lambda tree: tree.pop("name"), "missing required field `name`"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_wrong_file_gives_one_line_with_file_and_field(
    profile: Profile, tmp_path: Path, case: str
) -> None:
    path = tmp_path / "broken.json"
    profiles.save(profile, path)
    tree = json.loads(path.read_text())
    change, part = CONTRADICTIONS[case]
    change(tree)
    path.write_text(json.dumps(tree))
    with pytest.raises(ProfileError) as caught:
        profiles.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert part in message
    assert "\n" not in message


def test_a_contradiction_is_refused_in_python_too() -> None:
    with pytest.raises(ValueError, match=r"cuts\[0\].device_s is missing"):
        Profile("x", 1, "made up", [Cut("input"), Cut("native")])


@pytest.mark.parametrize("text", ["", '{"name": "toy"', "[" * 100_000], ids=["no", "half", "deep"])
def test_what_is_not_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ProfileError, match=r"broken\.json"):
        profiles.load(path)


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProfileError, match="no such profile"):
        profiles.load(tmp_path / name)


@given(junk=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "junk.json"
    path.write_bytes(junk)
    with pytest.raises(ProfileError, match=r"junk\.json"):
        profiles.load(path)


def test_the_example_of_the_documentation_loads(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "profile.md").read_text(encoding="utf-8")
    path = tmp_path / "example.json"
    path.write_text(text.split("```json\n")[1].split("```")[0])
    example = profiles.load(path)
    assert example.column("device_s", 100, "pi4") == pytest.approx([0.0, 0.32, 0.62])
    assert example.codecs["uint8"].cuts[2] == Coded()
    table = text.split("| field |")[1].split("\n\n")[0]
    parts = (Profile, Cut, CodecCosts, Coded)
    fields = {field for part in parts for field in part.__struct_fields__}
    assert all(f"{field}`" in table for field in fields - {"cuts"})
