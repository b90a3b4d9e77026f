"""What the two caches in `.rows/` share: pairs of files that one run of a stage has added and that
are deleted together, and the search for a key in all of them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

# What begins a pair and what goes with it: rows with their keys, and notes of shards with theirs.
PAIRS = {".index": ".rows", ".keys": ".shards"}


def all_segments(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Last use, bytes and first file of each pair in any folder of the cache. Half a pair is
    useless and is deleted."""
    for suffix, other in PAIRS.items():
        for first in folder.glob(f"*/*{suffix}"):
            try:
                stat, second = first.stat(), first.with_suffix(other).stat()
            except OSError:
                delete_segment(first)
            else:
                yield stat.st_mtime, stat.st_size + second.st_size, first


def delete_segment(first: Path) -> bool:
    """Delete a pair; returns whether the disk allowed it. The second file is deleted first, because
    a first one that remains is found again and deleted."""
    try:
        first.with_suffix(PAIRS[first.suffix]).unlink(missing_ok=True)
        first.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def make_room(folder: Path, needed: int, busy: set[Path]) -> int:
    """Delete pairs, the one with the oldest last use first, until `needed` bytes are freed; returns
    how many were.

    Args:
        busy: first files of pairs that stay.
    """
    freed = 0
    for _, size, first in sorted(all_segments(folder)):
        if freed >= needed:
            break
        if first not in busy and delete_segment(first):
            freed += size
    return freed


class KeyIndex:
    """Where keys lie that were read from several files, found by their first 8 bytes. It takes 24
    bytes of memory per key.

    Args:
        lists: the keys of each file, uint8 (n, 32), the oldest file first.
    """

    def __init__(self, lists: Iterable[np.ndarray]):
        prefixes, places = [np.empty(0, "<u8")], [np.empty((0, 2), "i8")]
        for number, keys in enumerate(lists):
            prefixes.append(_prefixes(keys))
            places.append(np.column_stack([np.full(len(keys), number), np.arange(len(keys))]))
        unsorted = np.concatenate(prefixes)
        order = np.argsort(unsorted, kind="stable")
        self._prefixes, self._places = unsorted[order], np.concatenate(places)[order]

    def __len__(self) -> int:
        return len(self._prefixes)

    def places_of(self, key: bytes) -> np.ndarray:
        """List and position of each key that begins like this one, int64 (m, 2), oldest first."""
        prefix = np.frombuffer(key[:8], "<u8")[0]
        first, last = (np.searchsorted(self._prefixes, prefix, side) for side in ("left", "right"))
        return self._places[first:last]

    def newest_of(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some keys, uint8 (n, 32), have one here that begins alike, int64 (m,), and the
        list and position of the newest one for each of them, int64 (m, 2)."""
        wanted = _prefixes(keys)
        after = np.searchsorted(self._prefixes, wanted, "right")
        found = np.flatnonzero(after)
        found = found[self._prefixes[after[found] - 1] == wanted[found]]
        return found, self._places[after[found] - 1]


def _prefixes(keys: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(keys[:, :8]).view("<u8")[:, 0]
