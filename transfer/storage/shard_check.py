"""Checks whether the shards that indexes name are in the store and undamaged."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from transfer.storage.object_store import ObjectStore
from transfer.storage.sharded_array import Index, Shard

READERS = 8


def check(indexes: dict[Path, Index], store: ObjectStore) -> list[tuple[Path, Shard, str]]:
    """The shards that are "missing" or "damaged", each with the index that names it. A shard of
    several is read once."""
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
    try:
        return "right" if sha256(store.read(shard.name)).hexdigest() == shard.sha256 else "damaged"
    except FileNotFoundError:
        return "missing"
