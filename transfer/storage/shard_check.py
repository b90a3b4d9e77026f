"""Checks whether shards are in the store and undamaged, and reads rows of those that are."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np

from transfer.storage.object_store import ObjectStore
from transfer.storage.sharded_array import Index, Shard, npy_header

READERS = 8


def check(indexes: dict[Path, Index], store: ObjectStore) -> list[tuple[Path, Shard, str]]:
    """The shards that are "missing" or "damaged", each with the index that names it. A shard that
    several indexes name is read once."""
    shards = {shard.name: shard for index in indexes.values() for shard in index.shards}
    with ThreadPoolExecutor(READERS) as pool:
        states = dict(
            zip(
                shards, pool.map(lambda shard: state_of(shard, store), shards.values()), strict=True
            )
        )
    named = ((path, shard) for path, index in indexes.items() for shard in index.shards)
    return [
        (path, shard, states[shard.name]) for path, shard in named if states[shard.name] != "right"
    ]


def state_of(shard: Shard, store: ObjectStore) -> str:
    """Whether a shard is "right", "damaged" or "missing"; it is read whole."""
    try:
        return "right" if sha256(store.read(shard.name)).hexdigest() == shard.sha256 else "damaged"
    except FileNotFoundError:
        return "missing"


def read_rows(
    shard: Shard, index: Index, positions: np.ndarray, store: ObjectStore
) -> np.ndarray | None:
    """Rows (m, *row) of a shard at some positions (m,), or None if the shard is missing, damaged,
    or not of such an array.

    Args:
        index: of an array with rows of that shape and type.
    """
    header = npy_header(index.dtype, (shard.rows, *index.row))
    if shard.bytes != len(header) + shard.rows * index.row_bytes or max(positions) >= shard.rows:
        return None
    try:
        content = store.read(shard.name)
    except FileNotFoundError:
        return None
    if sha256(content).hexdigest() != shard.sha256:
        return None
    rows = np.frombuffer(content, index.dtype, offset=len(header))
    return rows.reshape(shard.rows, *index.row)[positions]
