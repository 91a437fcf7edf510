"""A board always has a policy, whatever happens to its files, and can take a bad one back."""

import hashlib
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adaptoff import policy as policies
from adaptoff.errors import PolicyError, RunError
from adaptoff.guards import Guards
from adaptoff.observation import FEATURES
from adaptoff.policy import Policy
from adaptoff.policy_store import CURRENT, PREVIOUS, PolicyStore, default_directory


def made(seed: int, folder: Path) -> bytes:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((len(FEATURES), 1)).astype(np.float32)
    policies.save(Policy([(weight, np.zeros(1, np.float32))], {"seed": seed}), folder / "made")
    return (folder / "made").read_bytes()


@pytest.fixture
def three(tmp_path: Path) -> list[bytes]:
    return [made(seed, tmp_path) for seed in range(3)]


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    return PolicyStore(tmp_path / "new" / "policies", Guards())


def seed_of(store: PolicyStore) -> object:
    return store.current().provenance["seed"]


def names(store: PolicyStore) -> list[str]:
    return sorted(path.name for path in store.directory.iterdir())


def refusals(store: PolicyStore) -> int:
    return store._guards.counts["policy-refused"]


def shipped() -> dict[str, object]:
    return policies.default().provenance


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PolicyError, match="file: must be a directory"):
        PolicyStore(tmp_path / "file")


def test_taken_used_and_taken_back(store: PolicyStore, three: list[bytes]) -> None:
    assert store.current().provenance == shipped()
    digests = [store.take(data) for data in three]
    assert digests == [hashlib.sha256(data).hexdigest() for data in three]
    assert seed_of(store) == 2
    assert (store.back(), seed_of(store)) == (digests[1], 1)
    assert (store.back(), seed_of(store)) == (digests[2], 2)
    assert store.read(PREVIOUS).sha256 == digests[1]
    assert names(store) == [CURRENT, PREVIOUS]
    assert refusals(store) == 0


def test_the_file_is_for_all_to_read(store: PolicyStore, three: list[bytes]) -> None:
    before = os.umask(0o077)
    try:
        store.take(three[0])
    finally:
        os.umask(before)
    assert stat.S_IMODE((store.directory / CURRENT).stat().st_mode) == 0o644
    assert policies.load(store.directory / CURRENT).provenance == {"seed": 0}


def test_the_same_again_keeps_the_one_before(store: PolicyStore, three: list[bytes]) -> None:
    for data in (three[0], three[1], three[1]):
        store.take(data)
    store.back()
    assert seed_of(store) == 0


def test_nothing_to_take_back(store: PolicyStore, three: list[bytes]) -> None:
    with pytest.raises(PolicyError, match="no policy was ever taken"):
        store.back()
    store.take(three[0])
    with pytest.raises(PolicyError, match=r"previous\.safetensors: No such file"):
        store.back()
    assert seed_of(store) == 0


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path, three: list[bytes]) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "link")
    store = PolicyStore(tmp_path / "link")
    with pytest.raises(RunError, match=r"/link: cannot be made or written to: \w"):
        store.take(three[0])
    nowhere = PolicyStore(Path("/proc/x"))
    with pytest.raises(RunError, match=r"^/proc/x: cannot be made or written to: No such"):
        nowhere.take(three[0])


WRONG: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "new.bin: not a policy file"),
    "truncated": (lambda data: data[:-1], "new.bin: not a policy file"),
    "other schema": (
        lambda data: data.replace(f'"{policies.SCHEMA}"'.encode(), b'"0"'), "field schema",
    ),
    "one bit of a weight": (lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "sha256"),
    "too big": (lambda data: data + bytes(policies.MAX_FILE_BYTES), "larger than the allowed"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_one_changes_nothing(store: PolicyStore, three: list[bytes], case: str) -> None:
    change, part = WRONG[case]
    store.take(three[0])
    with pytest.raises(PolicyError, match=part):
        store.take(change(three[1]), "new.bin")
    assert seed_of(store) == 0
    assert names(store) == [CURRENT]


def test_a_corrupt_one_gives_way_to_the_one_before_and_then_to_the_shipped(
    store: PolicyStore, three: list[bytes]
) -> None:
    store.take(three[0])
    store.take(three[1])
    (store.directory / CURRENT).write_bytes(three[1][:100])
    assert (seed_of(store), refusals(store)) == (0, 1)
    (store.directory / PREVIOUS).unlink()
    (store.directory / PREVIOUS).mkdir()
    assert (store.current().provenance, refusals(store)) == (shipped(), 3)


def test_a_good_one_before_is_not_lost_to_a_corrupt_one(
    store: PolicyStore, three: list[bytes]
) -> None:
    store.take(three[0])
    store.take(three[1])
    (store.directory / CURRENT).write_bytes(b"broken")
    store.take(three[2])
    assert seed_of(store) == 2
    store.back()
    assert seed_of(store) == 0
    (store.directory / CURRENT).write_bytes(b"broken")
    store.back()
    assert seed_of(store) == 2


def test_a_huge_file_is_not_read(store: PolicyStore, three: list[bytes]) -> None:
    store.take(three[0])
    os.truncate(store.directory / CURRENT, 1 << 40)  # sparse: would not fit the memory
    assert (store.current().provenance, refusals(store)) == (shipped(), 1)


class Killed(BaseException):
    """What no handler catches by accident."""


@pytest.mark.parametrize("way", ["take", "back"])
def test_killed_at_any_step_it_is_the_old_one_or_the_new_one(
    way: str, store: PolicyStore, three: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes the directory is one at which the process may end."""
    seen = []
    for step in range(4):
        for path in list(store.directory.glob("*")) + list(store.directory.glob(".*")):
            path.unlink()
        store.take(three[0])
        store.take(three[1])
        with monkeypatch.context() as dying:
            died = _dies_at(step, dying)
            try:
                store.take(three[2]) if way == "take" else store.back()
            except Killed:
                seen.append(seed_of(store))
        assert died() == (len(seen) == step + 1)
        again = PolicyStore(store.directory)
        old, new = (1, 2) if way == "take" else (1, 0)
        assert seed_of(again) in {old, new}
        if seed_of(again) == old:  # what was not done can be done
            again.take(three[2]) if way == "take" else again.back()
        again.back()
        assert seed_of(again) == old
        assert names(again) == [CURRENT, PREVIOUS]
    assert seen[0] == old
    assert seen[-1] == new
    assert len(seen) == 3


def _dies_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """The process ends instead of its ``step``-th link or rename."""
    calls: list[str] = []

    def dying(name: str) -> None:
        real = getattr(Path, name)

        def call(self: Path, *arguments: object) -> object:
            calls.append(name)
            if len(calls) == step + 1:
                raise Killed
            return real(self, *arguments)

        monkeypatch.setattr(Path, name, call)

    dying("replace")
    dying("hardlink_to")
    return lambda: len(calls) > step


def test_what_a_killed_write_left_is_swept(store: PolicyStore, three: list[bytes]) -> None:
    store.take(three[0])
    (store.directory / f".{CURRENT}.0123").write_bytes(three[1][:50])
    assert seed_of(store) == 0
    store.take(three[1])
    assert names(store) == [CURRENT, PREVIOUS]


def test_a_full_disk_is_told_and_leaves_nothing(
    store: PolicyStore, three: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.take(three[0])

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        store.take(three[1])
    assert seed_of(store) == 0
    assert names(store) == [CURRENT]


def _take_often(directory: Path, data: list[bytes], seed: int) -> None:
    store = PolicyStore(directory)
    for k in range(30):
        store.take(data[(k + seed) % len(data)])
        if seed_of(store) not in {0, 1, 2}:
            raise SystemExit(3)


def test_two_processes_at_once(store: PolicyStore, three: list[bytes]) -> None:
    context = multiprocessing.get_context("fork")
    takers = [
        context.Process(target=_take_often, args=(store.directory, three, seed)) for seed in (0, 1)
    ]
    for taker in takers:
        taker.start()
    store.take(three[0])
    seen = [seed_of(store) for _ in range(200)]
    for taker in takers:
        taker.join()
        assert taker.exitcode == 0
        taker.close()
    assert set(seen) <= {0, 1, 2}
    assert names(store) == [CURRENT, PREVIOUS]
    assert store.read(CURRENT).sha256 != store.read(PREVIOUS).sha256
    assert refusals(store) == 0


def test_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "adaptoff" / "policies"
