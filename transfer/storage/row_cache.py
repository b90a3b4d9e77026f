"""Cache of what a frozen network computed: one row per image, kept by content in `.rows/` under the
project's root.

A stage assembles its arrays from here and computes only the rows that are missing. The cache is
optional: it can be deleted at any time, damaged rows are noticed and computed again, and if the
disk is full, rows are not kept.

A network has a folder, named by its identity. Each run that computes rows adds one segment:
`NAME.rows` holds rows of a fixed size, `NAME.index` their keys and checksums in the same order.
Only one process appends to a segment, so a killed run leaves the rows that it had computed, and
several runs may write at the same time.
"""

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np

from transfer.storage.cache_segments import KeyIndex, all_segments, make_room

FOLDER = ".rows"
KEY_BYTES = 32
ENTRY = np.dtype([("key", "u1", KEY_BYTES), ("checksum", "u1", 16)])


def store_folder() -> Path:
    """`.rows` of the main workspace, which DVC names in DVC_ROOT, also in the temporary folders of
    its experiments."""
    return Path(os.environ.get("DVC_ROOT", ".")) / FOLDER


class ActivationCache:
    """Rows of one network, by key. A context manager: rows are put inside the block. One thread may
    put rows while another gets some.

    Args:
        folder: of the whole cache, all networks.
        identity: 32 bytes that differ for networks that compute other rows.
        layout: of one row, shared by all rows of this identity.
        limit: bytes that the whole cache may have; the segments with the oldest last use are
            deleted first. 0 switches the cache off.
    """

    def __init__(self, folder: Path, identity: bytes, layout: np.dtype, limit: int):
        self._folder, self._layout, self._limit = folder, layout, limit
        self._network = folder / identity.hex()[:32]
        self._segments = sorted(self._network.glob("*.index")) if limit else []
        self._used: set[Path] = set()
        self._using = threading.Lock()  # for `_used`
        self._index = KeyIndex(_read_entries(index)["key"] for index in self._segments)
        self._new: Path | None = None
        self._room = 0

    def __contains__(self, key: bytes) -> bool:
        """Whether the indexes have a key that begins alike, which is hardly ever another one. The
        row is not read, so it may be damaged or deleted."""
        return len(self._index.places_of(key)) > 0

    def get(self, key: bytes) -> np.ndarray | None:
        """The row of a key, of the cache's layout, or None if there is no undamaged one."""
        # the newest first: an older one may be damaged
        for number, position in self._index.places_of(key)[::-1]:
            content = self._read(self._segments[number], int(position), key)
            if content is not None:
                with self._using:
                    self._used.add(self._segments[number])
                return np.frombuffer(content, self._layout)[0]
        return None

    def _read(self, index: Path, position: int, key: bytes) -> bytes | None:
        try:
            entry = _read_at(index, position, ENTRY.itemsize)
            content = _read_at(index.with_suffix(".rows"), position, self._layout.itemsize)
        except OSError:  # deleted meanwhile, or the disk fails: the row is computed again
            return None
        if len(content) < self._layout.itemsize or entry != key + _checksum(key, content):
            return None
        return content

    def __enter__(self) -> Self:
        if self._limit:
            self._room = self._limit - sum(size for _, size, _ in all_segments(self._folder))
            self._make_room(0)
        return self

    def __len__(self) -> int:
        return len(self._index)

    def put(self, keys: Sequence[bytes], rows: Sequence[np.ndarray]) -> None:
        """Keep some rows, each of the cache's layout. If the limit or the disk leaves no room,
        print that once and keep no more rows: the stage does not depend on them."""
        if not self._limit:
            return
        room = self._rows_of_room(len(keys))
        contents = [row.tobytes() for row in rows[:room]]
        if contents:
            self._append(keys[:room], contents)
        if room < len(keys) and self._limit:
            print(
                f"{self._folder} is full: no more rows are kept for the next run; raise "
                f"resources.cache_gigabytes = {self._limit / 1e9:g}"
            )
            self._limit = 0

    def _rows_of_room(self, wanted: int) -> int:
        """Make and take room for so many rows; for how many there was some."""
        size = ENTRY.itemsize + self._layout.itemsize
        for number in range(wanted):
            if self._room < size and not self._make_room(size):
                return number
            self._room -= size
        return wanted

    def _append(self, keys: Sequence[bytes], contents: list[bytes]) -> None:
        entries = [
            key + _checksum(key, content) for key, content in zip(keys, contents, strict=True)
        ]
        try:
            if self._new is None:
                self._network.mkdir(parents=True, exist_ok=True)
                self._new = self._network / f"{time.time_ns():020}-{secrets.token_hex(4)}.index"
            with self._new.with_suffix(".rows").open("ab") as rows, self._new.open("ab") as index:
                rows.writelines(contents)
                index.writelines(entries)
        except OSError as error:
            print(f"{self._folder}: no more rows are kept for the next run ({error.strerror})")
            self._limit = 0

    def _make_room(self, needed: int) -> bool:
        """Delete segments, the one with the oldest last use first, but none that this run reads or
        writes; returns whether there is room now."""
        with self._using:
            busy = {*self._used, self._new}
        self._room += make_room(self._folder, needed - self._room, busy)
        return self._room >= needed

    def __exit__(self, *exception: object) -> None:
        for index in self._used:
            with suppress(OSError):  # deleted meanwhile, or nothing can be written there
                os.utime(index)


def _read_entries(index: Path) -> np.ndarray:
    """The complete entries of an index file, of dtype ENTRY (n,); an incomplete last one is left
    out."""
    try:
        content = index.read_bytes()
    except OSError:
        content = b""
    return np.frombuffer(content, ENTRY, count=len(content) // ENTRY.itemsize)


def _read_at(path: Path, position: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(position * size)
        return file.read(size)


def _checksum(key: bytes, content: bytes) -> bytes:
    digest = hashlib.blake2b(key, digest_size=16)
    digest.update(content)
    return digest.digest()
