"""The policy file: the same bytes again, and nothing broken gets in."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from adaptoff import policy as policies
from adaptoff.errors import PolicyError
from adaptoff.observation import FEATURES, SCHEMA
from adaptoff.policy import Policy

N = len(FEATURES)
Header = dict[str, Any]


def small(width: int = 4) -> Policy:
    rng = np.random.default_rng(0)

    def layer(n_in: int, n_out: int) -> tuple[policies.Weights, policies.Weights]:
        weight = rng.standard_normal((n_in, n_out)).astype(np.float32)
        return weight, rng.standard_normal(n_out).astype(np.float32)

    return Policy([layer(N, width), layer(width, 1)], {"seed": 7, "steps": 1000})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    policies.save(small(), tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def refused(path: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        policies.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_round_trip_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    loaded = policies.load(path)
    for _ in range(5):  # safetensors alone would order the header at random
        policies.save(loaded, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert loaded.provenance == {"seed": 7, "steps": 1000}
    for mine, its in zip(small().layers, loaded.layers, strict=True):
        np.testing.assert_array_equal(mine[0], its[0])
        np.testing.assert_array_equal(mine[1], its[1])


def test_scores_are_those_of_the_network_and_impossible_rows_lose() -> None:
    policy = small()
    features = np.random.default_rng(1).standard_normal((2, 3, 5, N)).astype(np.float32)
    valid = np.ones((2, 3, 5), bool)
    (w0, b0), (w1, b1) = policy.layers
    by_hand = [np.tanh(row @ w0 + b0) @ w1 + b1 for row in features.reshape(-1, N)]
    scores = policy.scores(features, valid)
    np.testing.assert_allclose(scores.ravel(), np.ravel(by_hand), rtol=1e-5, atol=1e-6)
    valid[0, 0, scores[0, 0].argmax()] = False
    assert policy.choose(features, valid)[0, 0] == np.argsort(scores[0, 0])[-2]


def rewrite(path: Path, change: Callable[[Header], Any]) -> None:
    """Change the header of a safetensors file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def meta(**values: str) -> Callable[[Header], Any]:
    return lambda header: header["__metadata__"].update(values)


HEADERS: dict[str, tuple[Callable[[Header], Any], str]] = {
    "other schema": (meta(schema="999"), "field schema"),
    "other features": (meta(features='["a"]'), "field features"),
    "other digest": (meta(sha256="0" * 64), "field sha256"),
    "provenance no JSON": (meta(provenance="{"), "not a policy file"),
    "provenance no object": (meta(provenance="[]"), "field provenance"),
    "no metadata": (lambda h: h.pop("__metadata__"), "field schema"),
    "null metadata": (lambda h: h.update(__metadata__=None), "field schema"),
    "half a layer": (lambda h: h.update({"2.bias": h.pop("1.bias")}), "1.weight or 1.bias"),
    "other type": (lambda h: h["0.bias"].update(dtype="I32"), "field 0.weight: must be float32"),
    "no type of NumPy": (lambda h: h["0.bias"].update(dtype="F8_E4M3", shape=[16]), "field dtype"),
    "other shape": (lambda h: h["0.weight"].update(shape=[4, N]), f"a shape ({N}, n)"),
    "flat": (lambda h: h["0.weight"].update(shape=[4 * N]), f"a shape ({N}, n)"),
    "beyond the end": (lambda h: h["0.weight"].update(data_offsets=[0, 1 << 40]), "not a policy"),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADERS)
def test_a_wrong_header_names_the_field(path: Path, case: str) -> None:
    change, part = HEADERS[case]
    rewrite(path, change)
    assert part in refused(path)


def test_one_changed_bit_of_a_weight_is_seen(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert "field sha256" in refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_must_be_finite(tmp_path: Path, value: float) -> None:
    policy = small()
    policy.layers[1][0][0, 0] = value
    policies.save(policy, tmp_path / "odd")
    assert "field 1.weight: must be finite" in refused(tmp_path / "odd")


@pytest.mark.parametrize(
    ("keep", "part"), [(slice(0, 1), "last layer"), (slice(0, 0), "last layer")]
)
def test_it_must_end_in_one_output(tmp_path: Path, keep: slice, part: str) -> None:
    policies.save(Policy(small().layers[keep]), tmp_path / "wide")
    assert part in refused(tmp_path / "wide")


def test_a_tensor_too_many(path: Path, tmp_path: Path) -> None:
    policy = small()
    policies.save(policy, path)
    bias = np.zeros(1, np.float32)
    from_library = load_tensors(path.read_bytes()) | {"extra": bias}
    path.write_bytes(save_tensors(from_library, {"schema": str(SCHEMA)}))
    assert "field features" in refused(path)
    rewrite(path, meta(features=json.dumps(FEATURES)))
    assert "field tensors" in refused(path)


def test_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: would not fit the memory
    assert "larger than the allowed" in refused(path)


@pytest.mark.parametrize("name", ["absent", "."])
def test_no_file(tmp_path: Path, name: str) -> None:
    refused(tmp_path / name)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_truncation_is_refused(path: Path, data: st.DataObject) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    refused(path)
    path.write_bytes(whole)


@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_a_changed_byte_is_refused_or_changes_no_weight(path: Path, at: int, value: int) -> None:
    whole = path.read_bytes()
    data = bytearray(whole)
    data[at % len(data)] = value
    try:
        loaded = policies.decode(bytes(data), "changed")
    except PolicyError as error:
        assert "changed" in str(error)  # noqa: PT017
    else:
        for mine, its in zip(small().layers, loaded.layers, strict=True):
            assert (mine[0] == its[0]).all()
            assert (mine[1] == its[1]).all()


@given(junk=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(PolicyError, match="junk"):
        policies.decode(junk, "junk")
    framed = struct.pack("<Q", len(junk)) + junk
    with pytest.raises(PolicyError, match="junk"):
        policies.decode(framed, "junk")


def test_the_shipped_policy_loads_and_says_where_it_is_from() -> None:
    policy = policies.default()
    features = np.random.default_rng(2).uniform(-5, 5, (1, 2, 64, N)).astype(np.float32)
    scores = policy.scores(features, np.ones((1, 2, 64), bool))
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 100
    assert policy.provenance
