"""Arrays in shards, written row by row, and what a store then holds."""

from pathlib import Path

import numpy as np

from transfer.storage.object_store import ObjectStore
from transfer.storage.shard_writer import create_shards
from transfer.storage.sharded_array import ShardedArray, read_index


def write(
    path: Path,
    array: np.ndarray,
    store: ObjectStore,
    leading: int = 1,
    shard_rows: int = 4,
    order=None,
) -> ShardedArray:
    """An array (N, ...) or, with leading = 2, (V, N, ...) written row by row in an order,
    and opened."""
    flat = array.reshape(-1, *array.shape[leading:])
    with create_shards(
        path, array.shape[:leading], array.shape[leading:], str(array.dtype), shard_rows, store, "x"
    ) as rows:
        for row in range(len(flat)) if order is None else order:
            rows[int(row)] = flat[row]
    return ShardedArray(path, read_index(path), store, window=2)


def objects(store: ObjectStore) -> dict[str, bytes]:
    return {name: store.read(name) for name, size in store.walk() if size is not None}


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)
