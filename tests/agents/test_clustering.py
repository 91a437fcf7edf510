import numpy as np
import pytest

from adaptoff.agents.clustering import Clusters, group, matched
from adaptoff.errors import InputError
from adaptoff.fleet import Floats
from adaptoff.messages import MAX_CLUSTERS


def features(*rows: tuple[float, float, float]) -> Floats:
    """Logarithms of speeds and rates in Mbit/s."""
    return np.log(np.array(rows))


def noisy(points: Floats, seed: int, sd: float = 0.03) -> Floats:
    return points + np.random.default_rng(seed).normal(0, sd, points.shape)


FAST, SLOW, FAR = (1.0, 100.0, 100.0), (0.1, 100.0, 100.0), (1.0, 2.0, 2.0)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_equal_devices_are_one_cluster(n: int) -> None:
    assert Clusters().assign(features(*[FAST] * n)) == [0] * n
    assert Clusters().assign(noisy(features(*[FAST] * n), 1)) == [0] * n


def test_two_unlike_devices_are_two_clusters() -> None:
    assert len(set(Clusters().assign(features(FAST, SLOW)))) == 2


def test_five_unlike_devices_each_get_a_cluster() -> None:
    apart = [(0.2, 120, 120), (0.2, 600, 600), (0.08, 30, 30), (0.02, 120, 120), (0.02, 5, 5)]
    assert len(set(Clusters().assign(features(*apart)))) == 5


def test_likes_are_grouped_whatever_their_order() -> None:
    kinds = [0, 1, 2] * 10
    points = noisy(features(*[(FAST, SLOW, FAR)[k] for k in kinds]), 0)
    ids = Clusters().assign(points)
    assert len(set(zip(kinds, ids, strict=True))) == 3


def test_many_unlike_devices_fill_the_allowed_clusters() -> None:
    kinds = features(*[(2.0**i, 3.0 ** (i % 3), 3.0 ** (i % 3)) for i in range(MAX_CLUSTERS)])
    assert set(Clusters().assign(noisy(np.repeat(kinds, 4, 0), 0))) == set(range(MAX_CLUSTERS))
    assert set(Clusters().assign(np.arange(60.0)[:, None] * [3.0, 2.0, 1.0])) <= set(range(8))


def test_ids_last_over_noise() -> None:
    clusters, points = Clusters(), features(*[FAST] * 3, *[SLOW] * 3, *[FAR] * 3)
    first = clusters.assign(noisy(points, 0))
    assert all(clusters.assign(noisy(points, seed)) == first for seed in range(1, 20))


def test_a_device_moves_after_two_confirmations_in_a_row() -> None:
    clusters, here = Clusters(), features(*[FAST] * 4, *[FAR] * 4)
    there = features(*[FAST] * 3, *[FAR] * 5)
    first = clusters.assign(here)
    assert clusters.assign(there) == first
    assert clusters.assign(here) == first
    assert clusters.assign(there) == first
    moved = clusters.assign(there)
    assert moved[3] == first[4]
    assert moved[:3] + moved[4:] == first[:3] + first[4:]


def test_another_number_of_devices_starts_afresh() -> None:
    clusters = Clusters()
    clusters.assign(features(FAST, SLOW))
    assert len(clusters.assign(features(FAST, FAST, SLOW, SLOW))) == 4


def test_the_same_telemetry_gives_the_same_clusters() -> None:
    points = np.random.default_rng(0).normal(0, 1, (40, 3))
    np.testing.assert_array_equal(group(points), group(points))


def test_names_follow_the_largest_overlap() -> None:
    renamed = matched(np.array([0, 0, 0, 1, 1]), np.array([5, 5, 2, 2, 2]))
    assert renamed.tolist() == [5, 5, 5, 2, 2]


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((2, 2)), np.full((2, 3), np.nan)])
def test_what_is_no_telemetry_is_refused(bad: Floats) -> None:
    with pytest.raises(InputError):
        Clusters().assign(bad)
