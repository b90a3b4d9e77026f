"""Writes an array in shards, each stored under its checksum.

`ShardWriter` takes single rows in any order: a shard is assembled on the local disk, and deleted
there when it is stored. `ShardBuffer` is a whole shard in the memory of whoever computes it.
"""

import hashlib
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write
from transfer.storage.object_store import ObjectStore
from transfer.storage.sharded_array import Index, Shard, as_json, name_of

SENDERS = 4  # shards stored at a time; one more full shard waits


@contextmanager
def create_shards(
    path: Path,
    leading: tuple[int, ...],
    row: tuple[int, ...],
    dtype: str,
    shard_rows: int,
    store: ObjectStore,
    size_parameter: str,
) -> Iterator["ShardWriter"]:
    """Yield a writer for the rows of an array (*leading, *row), `rows[i] = content`; the index gets
    its name when the block ends without an error.

    Args:
        leading: (N,) or (V, N); i counts over both, the last one fastest.
        size_parameter: the parameter that makes the array smaller, for the message.

    Raises:
        PipelineError: the store accepts no objects, checked before the work starts; or the disk has
            no room for the shards that are being filled.
    """
    store.check_writable()
    index = Index(np.dtype(dtype).name, leading, row, shard_rows, ())
    scratch = path.with_name(f".tmp-filling-{path.name}")
    shutil.rmtree(scratch, ignore_errors=True)  # of a killed run
    path.parent.mkdir(parents=True, exist_ok=True)
    largest = min(shard_rows, leading[-1]) * index.row_bytes
    if (free := shutil.disk_usage(path.parent).free) < largest:
        raise PipelineError(
            f"{path}: a shard needs {largest:,} bytes and the disk has {free:,}; free some, or "
            f"lower {size_parameter}"
        )
    scratch.mkdir()
    try:
        with ShardWriter(index, store, scratch) as writer:
            yield writer
            whole = replace(index, shards=writer.finish())
        write_index(path, whole)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_index(path: Path, index: Index) -> None:
    """Write the index of an array whose shards are stored."""
    with atomic_write(path) as temporary:
        temporary.write_text(as_json(index), encoding="utf-8")


class ShardBuffer:
    """A shard in memory, as its file will be: `rows` (n, *row) are to be filled.

    Args:
        index: of the array, whose own shards are not looked at.
        number: of the shard in it.
    """

    def __init__(self, index: Index, number: int):
        header, count = index.header(number), index.rows_in(number)
        self._content = bytearray(len(header) + count * index.row_bytes)
        self._content[: len(header)] = header
        flat = np.frombuffer(self._content, index.dtype, offset=len(header))
        self.rows = flat.reshape(count, *index.row)

    def store(self, store: ObjectStore) -> Shard:
        """Store it under its checksum, unless it is there already.

        Raises:
            PipelineError: the store does not accept it.
        """
        digest = hashlib.sha256(self._content).hexdigest()
        shard = Shard(digest, len(self.rows), len(self._content))
        if store.size(shard.name) != shard.bytes:
            store.put_bytes(shard.name, bytes(self._content))
        return shard


class ShardWriter:
    """Takes rows in any order; those that come in order keep a few shards on the disk. A context
    manager: it ends its threads."""

    def __init__(self, index: Index, store: ObjectStore, scratch: Path):
        self._index, self._store, self._scratch = index, store, scratch
        self._missing: dict[int, np.ndarray] = {}
        self._sent: dict[int, Future] = {}
        self._open: deque[Future] = deque()  # the newest of these, whose errors are not raised yet
        self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="shards")

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._senders.shutdown(cancel_futures=True)

    def __setitem__(self, row: int, content: np.ndarray) -> None:
        """Put one row (*row) in its place, in the array's dtype."""
        content = np.ascontiguousarray(content, self._index.dtype)
        if content.shape != self._index.row:
            raise ValueError(f"row {row} has shape {content.shape}, not {self._index.row}")
        view, at = divmod(row, self._index.leading[-1])
        number, inside = divmod(at, self._index.shard_rows)
        number += view * self._index.shards_a_view
        if number in self._sent:
            raise ValueError(f"row {row} of a shard that is full and sent")
        header = self._index.header(number)
        file = self._scratch / f"{number}.npy"
        if number not in self._missing:
            self._missing[number] = np.ones(self._index.rows_in(number), dtype=bool)
            file.write_bytes(header)
        with file.open("r+b") as opened:  # buffered: it writes all of the row, or raises an error
            opened.seek(len(header) + inside * self._index.row_bytes)
            opened.write(content)
        missing = self._missing[number]
        missing[inside] = False
        if not missing.any():
            del self._missing[number]
            self._send(number, file)

    def _send(self, number: int, file: Path) -> None:
        """Let a thread store a full shard; at most SENDERS + 1 are on their way, to bound disk and
        memory."""
        if len(self._open) > SENDERS:
            self._open.popleft().result()
        self._sent[number] = self._senders.submit(self._store_shard, number, file)
        self._open.append(self._sent[number])

    def _store_shard(self, number: int, file: Path) -> Shard:
        """Store a file under its checksum unless it is there already, and delete the local file."""
        digest = file_checksum(file)
        shard = Shard(digest, self._index.rows_in(number), file.stat().st_size)
        if self._store.size(name_of(digest)) != shard.bytes:
            self._store.put(shard.name, file)
        file.unlink()
        return shard

    def finish(self) -> tuple[Shard, ...]:
        """All shards in their order, once they are stored.

        Raises:
            ValueError: rows are missing.
        """
        count = self._index.shards_a_view * (
            self._index.leading[0] if len(self._index.leading) == 2 else 1
        )
        lacking = [number for number in range(count) if number not in self._sent]
        if lacking:
            raise ValueError(
                f"rows of {len(lacking)} of {count} shards were never written, the first being "
                f"shard {lacking[0]}"
            )
        return tuple(self._sent[number].result() for number in range(count))
