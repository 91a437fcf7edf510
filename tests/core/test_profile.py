"""Profiles: round trip, scaling and what a broken file says."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptoff import profile as profiles
from adaptoff.errors import ProfileError
from adaptoff.profile import Profile


def test_round_trip(profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    profiles.save(profile, path)
    assert profiles.load(path) == profile


def test_columns_scale_with_the_batch_but_weights_do_not(profile: Profile) -> None:
    assert profile.column("device_s", 50) == [0.0, 0.01, 0.025, 0.04]
    assert profile.column("up_bytes", 200)[1] == 4e6
    assert profile.column("sync_bytes", 50) == [0.0, 10e3, 100e3, 1e6]
    assert profile.native == 3


Change = Callable[[str], str]
BROKEN: dict[str, tuple[Change, str]] = {
    "empty": (lambda _: "", "truncated"),
    "truncated": (lambda text: text[:-20], "truncated"),
    "unknown field": (lambda t: t.replace('"batch_size"', '"batchsize"'), "batchsize"),
    "wrong type": (lambda t: t.replace('"batch_size": 100', '"batch_size": "100"'), "batch_size"),
    "too small": (lambda t: t.replace('"batch_size": 100', '"batch_size": 0'), "batch_size"),
    "negative": (lambda t: t.replace("2000000.0", "-1", 1), "cuts[1].up_bytes"),
    "too large": (lambda t: t.replace('"up_bytes": 2000000.0', '"up_bytes": 1e16'), "up_bytes"),
    "deep": (lambda _: "[" * 100_000, "broken.json"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_names_file_and_field(profile: Profile, tmp_path: Path, case: str) -> None:
    path = tmp_path / "broken.json"
    profiles.save(profile, path)
    change, part = BROKEN[case]
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(ProfileError) as caught:
        profiles.load(path)
    assert str(path) in str(caught.value)
    assert part in str(caught.value)


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
