"""The files of `.rows/`: pairs that one run of a stage has added, which are deleted together."""

from collections.abc import Iterator
from pathlib import Path

# What begins a pair and what goes with it: rows with their keys, and notes of shards with theirs.
PAIRS = {".index": ".rows", ".keys": ".shards"}


def all_segments(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Last use, bytes and first file of each pair in any folder of the store. Half a pair is
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
