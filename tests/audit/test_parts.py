"""The parts of the audit compared with known answers: label errors, near-copies, outliers, the
feature map."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from transfer.audit.feature_map import draw_rows, map_features
from transfer.audit.label_errors import find_label_errors, predict_out_of_fold
from transfer.audit.near_duplicates import near_pairs, nearest_elsewhere
from transfer.audit.outliers import MOST_NEIGHBOURS, find_outliers, neighbour_distances
from transfer.features.pooling import unit_length


@pytest.fixture(autouse=True)
def one_thread():
    """As in the stage; and two threads of t-SNE on a busy machine wait for each other
    for seconds."""
    with threadpool_limits(1):
        yield


# Label errors, in their parts


def judged(
    features: np.ndarray, labels: list, groups: np.ndarray | None = None, folds: int = 5
) -> pd.DataFrame:
    groups = np.arange(len(labels)) if groups is None else groups
    return predict_out_of_fold(features.astype("float32"), np.array(labels), groups, folds, seed=0)


def clusters(*sizes: int, spread: float = 0.2) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(4)
    labels = [f"class {c:02}" for c, size in enumerate(sizes) for _ in range(size)]
    centres = rng.normal(size=(len(sizes), 12))
    return unit_length(
        np.repeat(centres, sizes, axis=0) + spread * rng.normal(size=(sum(sizes), 12))
    ), labels


def test_probabilities_add_up_and_classes_of_one_image_are_not_judged():
    features, labels = clusters(20, 20, 1, 3)
    predicted = judged(features, labels)
    assert sorted(set(range(44)) - set(predicted.index)) == [40]
    assert list(predicted.columns) == ["class 00", "class 01", "class 03"]
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)
    assert (predicted.idxmax(axis=1) == np.array(labels)[predicted.index]).mean() > 0.95


def test_a_near_copy_in_the_group_does_not_tell():
    """Each image has a copy under the same, random label: with copies in other folds the labels
    would be guessed."""
    rng = np.random.default_rng(0)
    features = np.repeat(unit_length(rng.normal(size=(60, 200))), 2, axis=0)
    labels = np.repeat(rng.permutation(["a", "b"] * 30), 2)
    assert len(judged(features, labels)) == 120
    assert judged(features, labels, np.repeat(np.arange(60), 2)).empty


@pytest.mark.parametrize(
    "sizes", [(1, 1), (2, 1), (2, 2), (1,) * 30, (2,) * 30, (40, 2), (3,) * 200]
)
def test_few_images_and_many_classes_are_no_error(sizes):
    features, labels = clusters(*sizes)
    predicted = judged(features, labels)
    assert len(predicted) <= sum(size for size in sizes if size > 1)
    assert np.isfinite(predicted.to_numpy()).all()
    for issue in find_label_errors(predicted, np.array(labels)):
        assert issue.row in predicted.index
        assert 0 <= issue.score <= 1


@pytest.mark.parametrize(
    "features", [np.zeros((40, 8)), np.ones((40, 8)), np.random.default_rng(0).normal(size=(40, 8))]
)
def test_features_that_say_nothing_judge_no_label(features):
    labels = np.array(["a"] * 25 + ["b"] * 15)
    predicted = judged(features, labels)
    assert predicted.empty
    assert find_label_errors(predicted, labels) == []


def test_one_group_judges_no_label():
    features, labels = clusters(10, 10)
    assert judged(features, labels, np.zeros(20, dtype=int)).empty


# Near-copies, in their parts


def some_hashes(n: int, seed: int) -> np.ndarray:
    """Random hashes, near ones and equal ones among them."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, n // 4, dtype=np.uint64)
    flips = rng.integers(0, 64, (n, 9)) < 60
    bits = np.uint64(1) << rng.integers(0, 64, (n, 9), dtype=np.uint64)
    chosen = np.where(flips & (np.arange(9) < rng.integers(0, 10, (n, 1))), bits, np.uint64(0))
    return centres[rng.integers(0, len(centres), n)] ^ np.bitwise_xor.reduce(chosen, axis=1)


@pytest.mark.parametrize("bits", [0, 1, 2, 6, 7, 16])
def test_all_pairs_of_near_hashes_are_found(bits):
    hashes = some_hashes(200, seed=bits)
    expected = {
        (i, j): d
        for i, j in combinations(range(200), 2)
        if (d := int(hashes[i] ^ hashes[j]).bit_count()) <= bits
    }
    pairs = {}
    for one, other, distance in near_pairs(hashes, bits):
        pairs |= dict(
            zip(zip(one.tolist(), other.tolist(), strict=True), distance.tolist(), strict=True)
        )
    assert {tuple(sorted(pair)): distance for pair, distance in pairs.items()} == expected
    assert len(expected) > 3


@pytest.mark.parametrize("sides", [1, 2, 5])
def test_the_nearest_on_another_side_is_that_of_comparing_all(sides):
    hashes, side = some_hashes(200, seed=9), np.random.default_rng(0).integers(0, sides, 200)
    nearest, distance = nearest_elsewhere(hashes, side, bits=6)
    for row in range(200):
        others = [
            (int(hashes[row] ^ hashes[j]).bit_count(), j)
            for j in range(200)
            if side[j] != side[row]
        ]
        best = min(others, default=(64, -1))
        if best[0] <= 6:
            assert (distance[row], nearest[row]) == best
        else:
            assert nearest[row] == -1
    assert (nearest >= 0).any() == (sides > 1)


def test_a_hundred_thousand_images_with_many_equal_hashes_are_compared_quickly():
    """Their pairs would be billions."""
    hashes = np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64)
    hashes[::2] = 0
    nearest, distance = nearest_elsewhere(hashes, np.arange(100_000) // 50_000, bits=6)
    assert (nearest[0], nearest[2], nearest[50_000]) == (50_000, 50_000, 0)
    assert (distance[::2] == 0).all()


# Outliers and the map, in their parts


def test_neighbour_distances_are_those_of_comparing_all():
    features = np.random.default_rng(2).normal(size=(30, 5)).astype("float32")
    every = np.linalg.norm(features[:, None] - features, axis=2) + np.diag(np.full(30, np.inf))
    distances, nearest = neighbour_distances(features, 4, np.random.default_rng(0))
    np.testing.assert_allclose(distances, np.sort(every)[:, :4].mean(axis=1), rtol=1e-4)
    assert nearest.tolist() == every.argmin(axis=1).tolist()


def test_of_many_images_some_are_drawn_to_be_neighbours(monkeypatch):
    monkeypatch.setattr("transfer.audit.outliers.MOST_NEIGHBOURS", 6)
    distances, nearest = neighbour_distances(
        np.random.default_rng(2).normal(size=(50, 5)), 10, np.random.default_rng(0)
    )
    assert distances.shape == (50,)
    assert len(set(nearest.tolist())) <= 6 < MOST_NEIGHBOURS
    assert (nearest != np.arange(50)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_equal_features_have_no_outlier(n):
    assert (
        find_outliers(np.full((n, 6), 0.4, np.float32), pd.Series(["x"] * n), 10, 1.7, seed=0) == []
    )


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 12, 100])
@pytest.mark.parametrize("kind", ["random", "equal", "two points"])
def test_a_map_of_any_number_of_features_is_finite(n, kind):
    features = np.random.default_rng(n).normal(size=(n, 7)).astype("float32")
    if kind != "random":
        features = features[np.arange(n) % (1 if kind == "equal" else min(n, 2))]
    points = map_features(features, seed=0)
    assert points.shape == (n, 2)
    assert np.isfinite(points).all()
    assert (points == map_features(features, seed=0)).all()
    assert n < 3 or kind != "random" or points.std(axis=0).all()


def test_drawn_rows_have_each_stratum_with_its_share():
    strata = np.repeat([0, 1, 2], [600, 300, 100])[np.random.default_rng(1).permutation(1000)]
    rows = draw_rows(strata, 100, np.random.default_rng(0))
    assert len(np.unique(rows)) == 100
    np.testing.assert_allclose(np.bincount(strata[rows]), [60, 30, 10], atol=1)
    assert draw_rows(strata, 1000, np.random.default_rng(0)).tolist() == list(range(1000))
    assert rows.tolist() != draw_rows(strata, 100, np.random.default_rng(1)).tolist()
