"""The notes of shards that were made: a row is never looked for in another row's place."""

from pathlib import Path

import numpy as np

from transfer.storage.known_shards import KEY_BYTES, KnownShards
from transfer.storage.sharded_array import Shard

IDENTITY, ROWS = bytes(32), 2


def part(number: int) -> tuple[bytes, np.ndarray, tuple[Shard, ...]]:
    """The key of a part, the keys of its rows, and its shard."""
    keys = np.random.default_rng(number).integers(0, 256, (ROWS, KEY_BYTES), np.uint8)
    return bytes([number]) * 32, keys, (Shard(f"{number:064x}", ROWS, 100),)


def opened(folder: Path) -> KnownShards:
    return KnownShards(folder, IDENTITY, 10**9)


def test_notes_that_another_run_deletes_meanwhile_put_no_row_in_a_wrong_place(tmp_path):
    writing = opened(tmp_path)
    writing.put(*part(1))
    for file in (tmp_path / IDENTITY.hex()[:32]).iterdir():
        file.unlink()
    for number in (2, 3):
        writing.put(*part(number))
    known = opened(tmp_path)
    assert known.made(part(1)[0]) is None and known.find(part(1)[1]) == []
    for number in (2, 3):
        key, keys, shards = part(number)
        (found,) = known.find(keys)
        assert known.made(key) == found.shards == shards
        assert found.wanted.tolist() == found.positions.tolist() == [0, 1]


def test_a_note_beside_the_keys_of_other_rows_is_left_out(tmp_path):
    writing = opened(tmp_path)
    writing.put(*part(1))
    (keys,) = tmp_path.glob("*/*.keys")
    keys.write_bytes(part(2)[1].tobytes())
    assert opened(tmp_path).find(part(2)[1]) == []
