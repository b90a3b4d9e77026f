"""Dividing images over splits: whole groups, by class, to the number asked, by chance or by the
images' checksums."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def connected_groups(n: int, ties: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Number the groups of items that share a key, directly or through others.

    Args:
        n: number of items.
        ties: of each kind of key (its hash, its patient) the items that have one, int (M,), and
            their keys, int (M,), from 0. An item may come several times, with a key each; one that
            shares a key with none can be left out.

    Returns:
        Group of each item: int (n,), from 0 in order of first appearance.
    """
    items, nodes, n_nodes = [], [], n
    for having, keys in ties:
        if len(having):
            items.append(having)
            nodes.append(keys + n_nodes)
            n_nodes += int(keys.max()) + 1
    rows, columns = (np.concatenate(each) if items else [] for each in (items, nodes))
    edges = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(n_nodes, n_nodes))
    components = connected_components(edges, directed=False)[1][:n]
    _, first, own = np.unique(components, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[own]


def shared(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The items that have the same values in all columns as another item, int (M,), and the number
    of these values, int (M,), from 0: a tie for `connected_groups`.

    Args:
        columns: uint64 or int64 (N,), the first one with the values that are shared least.
    """
    order = np.argsort(columns[0], kind="stable")
    ordered = columns[0][order]
    is_alike = np.zeros(len(order) + 1, bool)  # alike to the one before
    is_alike[1:-1] = ordered[1:] == ordered[:-1]
    items = order[is_alike[1:] | is_alike[:-1]]
    alike = np.stack([column[items].astype(np.uint64) for column in columns], axis=1)
    _, keys, counts = np.unique(alike, axis=0, return_inverse=True, return_counts=True)
    is_shared = counts[keys] > 1
    return items[is_shared], keys[is_shared]


def quotas(class_counts: np.ndarray, sizes: np.ndarray, spare: int | None = None) -> np.ndarray:
    """How many images of each class each split should get.

    Rounds `class_counts[c] * sizes[s] / N` to integers with the given row and column sums: the
    floor first, then one by one where most is missing. If a class would get none in a split that
    should have some, it takes one from another of its splits (the spare one if possible, otherwise
    the largest), and a class with several images there gives one back. If no class can, a column is
    off by one: a split of one image that must hold two classes gets two.

    Args:
        class_counts: int (C,), images per class, at least as many as splits, sum N.
        sizes: int (S,), images per split, sum N.
        spare: the split, if any, that takes the remaining images and needs no class.

    Returns:
        int (C, S), rows summing to `class_counts`.
    """
    ideal = np.outer(class_counts, sizes) / class_counts.sum()
    quota = np.floor(ideal).astype(int)
    rows, columns = class_counts - quota.sum(axis=1), sizes - quota.sum(axis=0)
    while rows.any():
        missing = np.where(np.outer(rows > 0, columns > 0), ideal - quota, -np.inf)
        c, s = np.unravel_index(np.argmax(missing), missing.shape)
        quota[c, s] += 1
        rows[c] -= 1
        columns[s] -= 1
    for c, s in np.argwhere((quota == 0) & (sizes > 0) & (np.arange(len(sizes)) != spare)):
        giver = spare if spare is not None and quota[c, spare] else np.argmax(quota[c])
        quota[c, [giver, s]] += [-1, 1]
        partner = np.argmax(quota[:, s])
        if quota[partner, s] > 1:
            quota[partner, [giver, s]] += [1, -1]
    return quota


class Draw(Protocol):
    """What decides between equals in `assign`."""

    def order_groups(self, groups: np.ndarray) -> np.ndarray:
        """The numbers of groups, int (M,), in the order in which they are placed."""

    def order_items(self, items: np.ndarray) -> np.ndarray:
        """Items that are no group, int (M,), in the order in which they get their splits."""

    def order_splits(self, splits: np.ndarray) -> np.ndarray:
        """A split for each of the ordered items, int (M,); they come sorted."""

    def choose_split(self, group: int, shares: np.ndarray) -> int:
        """A split for a group, each with the probability that is its share, float (S,), sum 1."""


class DrawByChance:
    """By a generator: with another item in between, all after it are drawn anew."""

    def __init__(self, seed: int):
        self._rng = np.random.default_rng(seed)
        self.order_groups = self.order_items = self.order_splits = self._rng.permutation

    def choose_split(self, group: int, shares: np.ndarray) -> int:
        return self._rng.choice(len(shares), p=shares)


class DrawByChecksum:
    """By a number for each item that follows from its content. An item that is added or deleted
    leaves the others in their order, so that few of them change their split.

    Args:
        checksums: of the items, uint8 (N, 32).
        groups: int (N,), group of each item, numbered from 0. A group's number is its members'
            least.
        seed: another one makes other numbers.
    """

    def __init__(self, checksums: np.ndarray, groups: np.ndarray, seed: int):
        key = seed.to_bytes(32, "little")
        digests = (hashlib.blake2b(row.tobytes(), key=key, digest_size=8) for row in checksums)
        self._items = np.frombuffer(b"".join(each.digest() for each in digests), "<u8")
        self._groups = np.full(int(groups.max(initial=-1)) + 1, np.iinfo(np.uint64).max)
        np.minimum.at(self._groups, groups, self._items)

    def order_groups(self, groups: np.ndarray) -> np.ndarray:
        return groups[np.argsort(self._groups[groups], kind="stable")]

    def order_items(self, items: np.ndarray) -> np.ndarray:
        return items[np.argsort(self._items[items], kind="stable")]

    def order_splits(self, splits: np.ndarray) -> np.ndarray:
        return splits

    def choose_split(self, group: int, shares: np.ndarray) -> int:
        place = self._groups[group] / 2**64
        return int(np.flatnonzero((np.cumsum(shares) > place) & (shares > 0))[0])


def assign(
    labels: np.ndarray,
    groups: np.ndarray,
    quota: np.ndarray,
    draw: Draw,
    spare: int | None = None,
) -> np.ndarray:
    """Draw a split for each item so that groups stay whole and quotas are met as closely
    as they allow.

    Groups of several items are placed first, beginning with the largest. Each goes to a split that
    is drawn in proportion to its remaining room for the group's classes; a group that fits nowhere
    goes to the split with the largest open share of its quota. If a class has only as many groups
    left as there are splits without it, the group goes to one of these splits. Single items then
    fill the remaining room: exactly, if all groups fitted; otherwise the largest remainder is
    reduced.

    Args:
        labels: int (N,), class of each item.
        groups: int (N,), group of each item, numbered from 0.
        quota: int (C, S) from `quotas`.
        draw: what decides between equals.
        spare: as in `quotas`.

    Returns:
        int (N,), split of each item.
    """
    n_classes, n_splits = quota.shape
    left = quota.copy()
    # lacking (C, S): the split still has nothing of the class; waiting (C,): groups to come
    lacking = (quota > 0) & (np.arange(n_splits) != spare)
    n_groups = int(groups.max(initial=0)) + 1
    pairs = np.unique(labels * n_groups + groups)  # class and group, each pair once
    waiting = np.bincount(pairs // n_groups, minlength=n_classes)
    splits = np.full(len(labels), -1)
    sizes = np.bincount(groups)
    by_group, ends = np.argsort(groups, kind="stable"), np.cumsum(sizes)
    ordered = draw.order_groups(np.flatnonzero(sizes > 1))
    for group in ordered[np.argsort(-sizes[ordered], kind="stable")]:
        members = by_group[ends[group] - sizes[group] : ends[group]]
        composition = np.bincount(labels[members], minlength=n_classes)[:, None]
        concerned = composition[:, 0] > 0
        urgent = concerned & (waiting <= lacking.sum(axis=1))
        allowed = lacking[urgent].any(axis=0) if lacking[urgent].any() else np.full(n_splits, True)
        room = np.where(allowed & (left >= composition).all(axis=0), left[concerned].sum(axis=0), 0)
        if room.any():
            split = draw.choose_split(group, room / room.sum())
        else:
            open_share = left[concerned].sum(axis=0) / np.maximum(quota[concerned].sum(axis=0), 1)
            split = np.argmax(np.where(allowed, open_share, -np.inf))
        splits[members] = split
        left[:, split] -= composition[:, 0]
        lacking[concerned, split] = False
        waiting[concerned] -= 1
    for c in range(n_classes):
        singles = draw.order_items(np.flatnonzero((labels == c) & (splits < 0)))
        room = np.maximum(left[c], 0)
        while room.sum() > len(singles):
            room[np.argmax(room - 0.5 * lacking[c])] -= 1
        splits[singles] = draw.order_splits(np.repeat(np.arange(n_splits), room))
    return splits
