"""Which shards are made already, and which rows lie in them: an index that a stage keeps on its own
disk, while the shards are in their store.

A run adds one segment: `NAME.keys` has the keys of rows, `NAME.shards` a line of JSON for each part
of an array that was made: its key, the place and the checksum of its rows' keys, and the shards,
one for each array. A segment is only ever appended to, by one process, so a run that is killed
leaves notes of what it had made. All of it can be deleted at any time, also while a run goes on; a
shard that is missing in the store is made again.
"""

import json
import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from transfer.runtime.checksums import content_key
from transfer.storage.cache_segments import KeyIndex, all_segments, make_room
from transfer.storage.sharded_array import Shard

KEY_BYTES = 32
NO_KEYS = np.empty((0, KEY_BYTES), np.uint8)
_PLACE_DIGITS = 20  # of a row's number and the end of the line
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class KnownRows:
    """Rows that lie in shards: rows `wanted` (m,) of those that were asked for are at `positions`
    (m,) of each of the shards."""

    shards: tuple[Shard, ...]
    wanted: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class _Part:
    """A part that was made. The keys of its rows begin at `first` among the segment's keys; None if
    the keys were not noted."""

    segment: int
    first: int | None
    shards: tuple[Shard, ...]


class KnownShards:
    """The shards that one kind of work has made.

    Args:
        folder: of all kinds.
        identity: 32 bytes that differ for work that makes other rows.
        limit: bytes that the whole folder may have; the segments with the oldest last use are
            deleted first, but none that this run has used or adds.
    """

    def __init__(self, folder: Path, identity: bytes, limit: int):
        self._folder, self._limit = folder / identity.hex()[:32], limit
        self._room = limit - sum(size for _, size, _ in all_segments(folder))
        self._room += make_room(folder, -self._room, set())
        self._segments = sorted(self._folder.glob("*.keys"))
        self._parts: list[_Part] = []
        self._by_key: dict[str, int] = {}
        self._rows = [self._read_segment(number) for number in range(len(self._segments))]
        self._index = KeyIndex(self._keys_of(part) for part in self._parts)
        self._used: set[int] = set()
        self._new: Path | None = None
        self._failed = False

    def __len__(self) -> int:
        """Rows whose place is known."""
        return len(self._index)

    def _read_segment(self, number: int) -> np.ndarray:
        """The keys uint8 (n, 32) of a segment, mapped; its parts are added to the list."""
        path = self._segments[number]
        try:
            size = path.stat().st_size // KEY_BYTES
            keys = np.memmap(path, np.uint8, "r", shape=(size, KEY_BYTES)) if size else NO_KEYS
            notes = path.with_suffix(".shards").read_bytes()
        except OSError:  # deleted meanwhile, or half a segment
            return NO_KEYS
        for line in notes.splitlines():
            with suppress(ValueError, TypeError, KeyError, IndexError):  # cut off, or damaged
                said = json.loads(line)
                shards = tuple(_checked(Shard(**each)) for each in said["shards"])
                first, rows = said["first"], said["rows"]
                place = slice(first, first + rows)
                if (
                    rows in (0, shards[0].rows)
                    and 0 <= first <= len(keys) - rows
                    # the keys may have been deleted, and others appended, while a run went on
                    and said["keys"] == content_key(keys[place].tobytes()).hex()
                ):
                    self._by_key[said["key"]] = len(self._parts)
                    self._parts.append(_Part(number, first if rows else None, shards))
        return keys

    def _keys_of(self, part: _Part) -> np.ndarray:
        if part.first is None:
            return NO_KEYS
        return self._rows[part.segment][part.first : part.first + part.shards[0].rows]

    def made(self, key: bytes | None) -> tuple[Shard, ...] | None:
        """The shards of a part, if it was made."""
        number = self._by_key.get(key.hex()) if key else None
        if number is None:
            return None
        self._touch(self._parts[number].segment)
        return self._parts[number].shards

    def find(self, keys: np.ndarray) -> list[KnownRows]:
        """Where the rows of keys uint8 (n, 32) lie; each row at most once."""
        alike, places = self._index.newest_of(keys)
        found = []
        for number in np.unique(places[:, 0]).tolist():
            part, here = self._parts[number], places[:, 0] == number
            rows, positions = alike[here], places[here, 1]
            same = (self._keys_of(part)[positions] == keys[rows]).all(axis=1)
            if same.any():
                self._touch(part.segment)
                found.append(KnownRows(part.shards, rows[same], positions[same]))
        return found

    def put(self, key: bytes | None, keys: np.ndarray, shards: tuple[Shard, ...]) -> None:
        """Note a part that was made and the keys uint8 (n, 32) of its rows; NO_KEYS notes the part
        alone. If the limit or the disk leaves no room, print that once and go on: the stage does
        not depend on it."""
        if self._failed:
            return
        line = {
            "key": key.hex() if key else secrets.token_hex(KEY_BYTES),
            "first": 0,
            "rows": len(keys),
            "keys": content_key(keys.tobytes()).hex(),
            "shards": [asdict(shard) for shard in shards],
        }
        if not self._take_room(keys.nbytes + len(json.dumps(line)) + _PLACE_DIGITS):
            return
        try:
            if self._new is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._new = self._folder / f"{time.time_ns():020}-{secrets.token_hex(4)}.keys"
                # before the keys: another run would delete keys that stand alone
                self._new.with_suffix(".shards").touch()
            with self._new.open("ab") as file:
                line["first"] = file.tell() // KEY_BYTES
                file.write(keys.tobytes())
            with self._new.with_suffix(".shards").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            print(
                f"{self._folder.parent}: no more shards are noted for the next run "
                f"({error.strerror})"
            )
            self._failed = True

    def _take_room(self, needed: int) -> bool:
        """Make and take room for so many bytes; returns whether there was some."""
        if self._room < needed:
            busy = {self._segments[number] for number in self._used} | {self._new}
            self._room += make_room(self._folder.parent, needed - self._room, busy)
        if self._room < needed:
            print(
                f"{self._folder.parent} is full: no more shards are noted for the next run; raise "
                f"resources.cache_gigabytes = {self._limit / 1e9:g}"
            )
            self._failed = True
            return False
        self._room -= needed
        return True

    def _touch(self, segment: int) -> None:
        if segment not in self._used:
            self._used.add(segment)
            with suppress(OSError):  # deleted meanwhile, or nothing can be written there
                os.utime(self._segments[segment])


def _checked(shard: Shard) -> Shard:
    if not _SHA256.fullmatch(shard.sha256) or shard.rows < 1 or shard.bytes < 1:
        raise ValueError(shard)
    return shard
