import numpy as np
import pytest

from transfer.dataset.splitting import (
    DrawByChance,
    DrawByChecksum,
    assign,
    connected_groups,
    quotas,
    shared,
)

SEEDS = range(40)


@pytest.fixture(params=["chance", "checksum"])
def divide(request):
    """Divides items: the split of each, and the quota table it was drawn from."""

    def divide(labels, groups, sizes, seed=0, spare=None):
        labels, groups = np.asarray(labels), np.asarray(groups)
        quota = quotas(np.bincount(labels), np.asarray(sizes), spare)
        draw = DrawByChance(seed)
        if request.param == "checksum":
            draw = DrawByChecksum(checksums(len(labels)), groups, seed)
        return assign(labels, groups, quota, draw, spare), quota

    return divide


def checksums(n):
    """Of n different items, uint8 (N, 32)."""
    return np.random.default_rng(0).integers(0, 256, (n, 32), dtype=np.uint8)


def table_of(labels, splits, n_splits=3):
    """Images by class and split, int (C, S)."""
    table = np.zeros((np.max(labels) + 1, n_splits), dtype=int)
    np.add.at(table, (labels, splits), 1)
    return table


def numbered(groups):
    """Groups as numbers from 0, by their first appearance."""
    return connected_groups(len(groups), [(np.arange(len(groups)), np.asarray(groups))])


def are_whole(groups, splits) -> bool:
    return all(len(set(splits[groups == group])) == 1 for group in np.unique(groups))


@pytest.mark.parametrize(
    ("keys", "groups"),
    [
        ([], []),
        ([[], [], []], [0, 1, 2]),
        ([["a"], ["b"], ["a"]], [0, 1, 0]),
        ([["a", "x"], ["b"], ["b", "x"], ["c"]], [0, 0, 0, 1]),
        ([[("phash", "1")], [("sha", "1")]], [0, 1]),
        ([["z"], ["y", "y"], ["z", "y"]], [0, 0, 0]),
    ],
    ids=[
        "nothing",
        "no keys",
        "shared",
        "through another",
        "keys of two kinds",
        "a key given twice",
    ],
)
def test_items_that_share_a_key_are_one_group(keys, groups):
    numbers = {}
    ties = [
        (item, numbers.setdefault(key, len(numbers)))
        for item, own in enumerate(keys)
        for key in own
    ]
    items, own_keys = np.array(ties, int).reshape(-1, 2).T
    assert connected_groups(len(keys), [(items, own_keys)]).tolist() == groups


def test_keys_of_one_kind_are_not_those_of_another():
    one, other = (np.array([0, 2]), np.array([0, 0])), (np.array([1, 3]), np.array([0, 0]))
    assert connected_groups(5, [one, other]).tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_items_are_tied_that_have_the_same_values_in_all_columns(seed):
    columns = np.random.default_rng(seed).integers(0, 6, (3, 60))
    items, keys = shared(*columns)
    rows = [tuple(row) for row in columns.T.tolist()]
    assert sorted(items) == [item for item, row in enumerate(rows) if rows.count(row) > 1]
    found = {(rows[item], key) for item, key in zip(items.tolist(), keys.tolist(), strict=True)}
    assert len({row for row, _ in found}) == len({key for _, key in found}) == len(found)
    assert shared(np.arange(3))[0].tolist() == shared(np.arange(0))[0].tolist() == []


def test_a_long_chain_of_shared_keys_is_one_group():
    items, keys = np.repeat(np.arange(5000), 2), np.arange(10_000) // 2 + np.arange(10_000) % 2
    assert set(connected_groups(5000, [(items, keys)]).tolist()) == {0}


@pytest.mark.parametrize("seed", SEEDS)
def test_quotas_sum_to_the_classes_and_the_splits(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(3 * 20, 200, rng.integers(2, 20))
    sizes = rng.multinomial(counts.sum() - 60, [0.6, 0.2, 0.15, 0.05]) + [20, 20, 20, 0]
    quota = quotas(counts, sizes, spare=3)
    assert quota.sum(axis=1).tolist() == counts.tolist()
    assert quota.sum(axis=0).tolist() == sizes.tolist()
    assert (quota[:, :3] > 0).all()
    assert (np.abs(quota - np.outer(counts, sizes) / counts.sum()) < 2).all()


@pytest.mark.parametrize(
    ("counts", "sizes", "expected"),
    [
        ([100, 100], [100, 60, 40], [[50, 30, 20], [50, 30, 20]]),
        ([90, 10], [60, 20, 20], [[54, 18, 18], [6, 2, 2]]),
        ([997, 3], [600, 200, 200], [[599, 199, 199], [1, 1, 1]]),
        ([5, 5], [8, 1, 1], [[3, 1, 1], [3, 1, 1]]),
    ],
    ids=["even", "uneven", "rare class", "one-image splits"],
)
def test_quotas_are_stratified_and_give_each_class_its_place(counts, sizes, expected):
    assert quotas(np.array(counts), np.array(sizes)).tolist() == expected


@pytest.mark.parametrize("left_over", [1, 2, 10])
def test_no_class_is_owed_a_place_among_the_left_over(left_over):
    quota = quotas(np.array([20, 20]), np.array([30 - left_over, 5, 5, left_over]), spare=3)
    assert quota.sum(axis=0).tolist() == [30 - left_over, 5, 5, left_over]


def test_places_that_splits_lack_come_from_the_left_over():
    quota = quotas(np.array([50, 50]), np.array([88, 1, 1, 10]), spare=3)
    assert quota.sum(axis=0).tolist() == [88, 2, 2, 8]


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_are_never_cut(divide, seed):
    rng = np.random.default_rng(seed)
    n = 300
    labels = rng.integers(0, 4, n)
    # some across classes
    groups = numbered(rng.integers(0, rng.integers(20, 300), n))
    splits, _ = divide(labels, groups, [180, 60, 60], seed)
    assert are_whole(groups, splits)
    assert set(splits) == {0, 1, 2}


@pytest.mark.parametrize("seed", SEEDS)
def test_small_groups_leave_the_counts_exact(divide, seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [150, 100, 50])
    groups = np.arange(300)
    # within a class, of two to four images
    for start in rng.choice(np.arange(0, 300, 5), 30, replace=False):
        groups[start : start + rng.integers(2, 5)] = start
    splits, quota = divide(labels, numbered(groups), [180, 65, 55], seed)
    assert table_of(labels, splits).tolist() == quota.tolist()
    assert are_whole(groups, splits)


def test_without_groups_each_class_is_divided_within_one_image(divide):
    labels = np.repeat([0, 1, 2], [101, 53, 29])
    splits, _ = divide(labels, np.arange(183), [110, 37, 36])
    ideal = np.outer([101, 53, 29], [110, 37, 36]) / 183
    assert (np.abs(table_of(labels, splits) - ideal) < 1).all()


def test_the_same_seed_gives_the_same_split_and_another_seed_another(divide):
    labels, groups = np.repeat([0, 1], 50), np.arange(100) // 2
    first, again, other = (
        divide(labels, groups, [60, 20, 20], seed)[0].tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_chance_is_drawn_evenly(divide):
    splits = np.array(
        [divide(np.repeat([0, 1], 10), np.arange(20), [12, 4, 4], seed)[0] for seed in range(400)]
    )
    share_in_test = (splits == 2).mean(axis=0)
    assert (np.abs(share_in_test - 0.2) < 0.08).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_images_all_in_groups_come_close_to_the_sizes(divide, seed):
    patients = np.repeat(np.arange(40), 10)
    labels = (patients % 2).astype(int)
    splits, _ = divide(labels, patients, [240, 80, 80], seed)
    assert are_whole(patients, splits)
    assert table_of(labels, splits).tolist() == [[120, 40, 40], [120, 40, 40]]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "sizes_of_groups", [[50, 1, 1], [10, 10, 10], [8, 1, 1, 1, 1], [30, 30, 2, 2]]
)
def test_large_groups_leave_every_split_something(divide, sizes_of_groups, seed):
    groups = np.concatenate(
        [np.repeat(np.arange(len(sizes_of_groups)), sizes_of_groups), [100, 101, 102]]
    )
    labels = np.concatenate([np.zeros(sum(sizes_of_groups), dtype=int), [1, 1, 1]])
    n = len(labels)
    groups = numbered(groups)
    splits, _ = divide(labels, groups, [n - 2 * (n // 5), n // 5, n // 5], seed)
    assert are_whole(groups, splits)
    assert (table_of(labels, splits) > 0).all()


@pytest.mark.parametrize("sizes", [[1, 1, 5], [1, 5, 1], [5, 1, 1]])
@pytest.mark.parametrize("seed", range(10))
def test_the_last_image_goes_to_the_split_without_its_class(divide, sizes, seed):
    groups = np.array([0, 0, 0, 0, 1, 1, 2])
    splits, _ = divide(np.zeros(7, dtype=int), groups, sizes, seed)
    assert sorted(set(splits)) == [0, 1, 2]


def with_some_more(n: int, more: int, draw_by: str) -> np.ndarray:
    """The splits of n items of two classes, one in ten of them in groups of three, before and after
    `more` items of the first class are added in between, int (2, n)."""
    labels, kept = np.tile([0, 1], n // 2), np.arange(n)
    groups = np.where(kept < n // 10, kept // 6 * 2 + labels, kept)
    places = np.linspace(0, n, more).astype(int)
    found = []
    for where in ([], places):
        own, items = np.insert(labels, where, 0), np.insert(kept, where, -1)
        together = numbered(np.insert(groups, where, np.arange(n, n + len(where))))
        content = np.insert(checksums(n), where, checksums(n + more)[n:][: len(where)], axis=0)
        by = DrawByChance(0) if draw_by == "chance" else DrawByChecksum(content, together, 0)
        sizes = np.diff(np.round(np.array([0, 0.6, 0.8, 1]) * len(own)).astype(int))
        splits = assign(own, together, quotas(np.bincount(own), sizes), by)
        assert are_whole(together, splits)
        found.append(splits[items >= 0])
    return np.array(found)


@pytest.mark.parametrize("more", [1, 10, 60])
def test_added_items_move_few_of_the_others_if_checksums_draw(more):
    before, after = with_some_more(600, more, "checksum")
    assert (before != after).sum() <= 3 + more // 5
    before, after = with_some_more(600, more, "chance")
    assert (before != after).mean() > 0.2


def test_checksums_draw_whatever_the_order_of_the_items():
    labels, groups, content = np.repeat([0, 1], 50), np.arange(100) // 2, checksums(100)
    order = np.random.default_rng(1).permutation(100)
    quota = quotas(np.array([50, 50]), np.array([60, 20, 20]))
    first = assign(labels, groups, quota, DrawByChecksum(content, groups, 0))
    moved = numbered(groups[order])
    second = assign(labels[order], moved, quota, DrawByChecksum(content[order], moved, 0))
    assert first[order].tolist() == second.tolist()
