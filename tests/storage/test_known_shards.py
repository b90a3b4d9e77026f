"""The notes of shards that were made: a row is never looked for in another row's place."""

import os
from pathlib import Path
from typing import IO

import numpy as np

from transfer.storage.known_shards import KEY_BYTES, KnownShards
from transfer.storage.row_cache import ActivationCache
from transfer.storage.sharded_array import Shard

IDENTITY, ROWS = bytes(32), 2


def part(number: int) -> tuple[bytes, np.ndarray, tuple[Shard, ...]]:
    """The key of a part, the keys of its rows, and its shard."""
    keys = np.random.default_rng(number).integers(0, 256, (ROWS, KEY_BYTES), np.uint8)
    return bytes([number]) * 32, keys, (Shard(f"{number:064x}", ROWS, 100),)


def opened(folder: Path, limit: int = 10**9) -> KnownShards:
    return KnownShards(folder, IDENTITY, limit)


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


def test_old_notes_count_towards_the_limit_of_rows_and_make_room_for_them(tmp_path):
    opened(tmp_path).put(*part(1))
    for file in tmp_path.rglob("*.*"):
        os.utime(file, (0, 0))
    row = np.zeros((), np.dtype([("cut", "f4", 100)]))
    with ActivationCache(tmp_path, bytes([1]) * 32, row.dtype, 800) as store:
        assert opened(tmp_path).made(part(1)[0])
        store.put([bytes(32)], [row])
    assert [file.suffix for file in sorted(tmp_path.rglob("*.*"))] == [".index", ".rows"]


def test_a_run_whose_first_note_is_not_written_yet_keeps_its_keys(tmp_path, monkeypatch):
    """Another run that begins at this moment deletes halves of pairs."""
    writing, before = opened(tmp_path), Path.open

    def open_file(path: Path, *arguments, **named) -> IO:
        if path.suffix == ".shards" and arguments == ("a",):
            opened(tmp_path)
        return before(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", open_file)
    writing.put(*part(1))
    assert opened(tmp_path).find(part(1)[1])


def test_a_note_beside_the_keys_of_other_rows_is_left_out(tmp_path):
    writing = opened(tmp_path)
    writing.put(*part(1))
    (keys,) = tmp_path.glob("*/*.keys")
    keys.write_bytes(part(2)[1].tobytes())
    assert opened(tmp_path).find(part(2)[1]) == []


def test_notes_stay_within_the_limit_and_the_oldest_rows_and_notes_go_first(tmp_path, capsys):
    rows = tmp_path / "network" / "1.rows"
    rows.parent.mkdir()
    for file in (rows, rows.with_suffix(".index")):
        file.write_bytes(bytes(300))
        os.utime(file, (0, 0))

    def size() -> int:
        return sum(file.stat().st_size for file in tmp_path.rglob("*.*"))

    opened(tmp_path, 1200).put(*part(1))
    assert rows.exists()
    writing = opened(tmp_path, 1200)
    assert writing.made(part(1)[0])
    for number in (2, 3, 4, 5):
        writing.put(*part(number))
        assert size() <= 1200
    assert not rows.exists()
    known = opened(tmp_path, 1200)
    made = [known.made(part(number)[0]) is not None for number in (1, 2, 3, 4, 5)]
    assert made[:2] == [True, True] and not made[4]
    assert capsys.readouterr().out.count("no more shards are noted") == 1
