"""Arrays in shards: files of a fixed number of rows, each an object named by its checksum, and a
small index that DVC tracks.

The index names the shards but not their place: moving them to another bucket changes nothing. An
array of several views has shards of its own for each view, so that a view has the same layout as an
array without views.
"""

import hashlib
import io
import json
import math
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Self

import numpy as np

from transfer.runtime.errors import PipelineError
from transfer.storage.object_store import ObjectStore
from transfer.storage.shard_cache import Layout, ShardCache

SUFFIX = ".shards"


@dataclass(frozen=True)
class Shard:
    """sha256 and bytes are of the whole file."""

    sha256: str
    rows: int
    bytes: int

    @property
    def name(self) -> str:
        """The name below the URL."""
        return name_of(self.sha256)


def name_of(sha256: str) -> str:
    """The name of a shard below the URL."""
    return f"{sha256[:2]}/{sha256[2:]}.npy"


@dataclass(frozen=True)
class Index:
    """An array (*leading, *row) of `dtype`: all shards of the first view, then those of the second,
    and so on.

    leading: (N,) or (V, N); N is 0 for a split without images. shards: each view has the same
        number, all with `shard_rows` rows except its last.
    """

    dtype: str
    leading: tuple[int, ...]
    row: tuple[int, ...]
    shard_rows: int
    shards: tuple[Shard, ...]

    @property
    def shards_a_view(self) -> int:
        """How many shards each view has."""
        return math.ceil(self.leading[-1] / self.shard_rows)

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.row) * np.dtype(self.dtype).itemsize

    def rows_in(self, number: int) -> int:
        """How many rows shard `number` has."""
        return min(
            self.shard_rows, self.leading[-1] - number % self.shards_a_view * self.shard_rows
        )

    def header(self, number: int) -> bytes:
        """The first bytes of the file of shard `number`."""
        return npy_header(self.dtype, (self.rows_in(number), *self.row))

    def fits(self, number: int, shard: Shard) -> bool:
        """Whether shard `number` has so many rows and bytes."""
        rows = self.rows_in(number)
        size = len(self.header(number)) + rows * self.row_bytes
        return (shard.rows, shard.bytes) == (rows, size)

    def view(self, view: int) -> Self:
        """One view (N, ...) of an array (V, N, ...)."""
        shards = self.shards[view * self.shards_a_view : (view + 1) * self.shards_a_view]
        return Index(self.dtype, self.leading[1:], self.row, self.shard_rows, shards)


@lru_cache(maxsize=64)
def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header that NumPy writes to the `.npy` of an array of that shape."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header,
        {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
            "fortran_order": False,
            "shape": shape,
        },
    )
    return header.getvalue()


def as_json(index: Index) -> str:
    """The index as text, one line per shard, so that a diff shows which shards differ."""
    head = {
        "dtype": index.dtype,
        "leading": index.leading,
        "row": index.row,
        "shard_rows": index.shard_rows,
    }
    lines = [
        json.dumps({"sha256": shard.sha256, "rows": shard.rows, "bytes": shard.bytes})
        for shard in index.shards
    ]
    return f'{json.dumps(head)[:-1]}, "shards": [\n' + ",\n".join(lines) + "\n]}\n"


def read_index(path: Path) -> Index:
    """Read an index.

    Raises:
        PipelineError: missing, or not what `as_json` would have written.
    """
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro` or `dvc pull`") from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise PipelineError(
            f"{path} is damaged ({error}); delete it and run `dvc repro`, or `dvc pull` it again"
        ) from None


def _parse(text: str) -> Index:
    content = json.loads(text)
    shards = tuple(Shard(each["sha256"], each["rows"], each["bytes"]) for each in content["shards"])
    index = Index(
        content["dtype"],
        tuple(content["leading"]),
        tuple(content["row"]),
        content["shard_rows"],
        shards,
    )
    sizes = (*index.leading[:-1], *index.row, index.shard_rows)
    if (
        np.dtype(index.dtype).kind not in "biuf"
        or len(index.leading) not in (1, 2)
        or not all(type(s) is int and s > 0 for s in sizes)
        or not (type(index.leading[-1]) is int and index.leading[-1] >= 0)
    ):
        raise ValueError(
            f"dtype {index.dtype!r}, shape {index.leading} and {index.row}, {index.shard_rows} "
            "rows a shard"
        )
    if len(shards) != index.shards_a_view * math.prod(index.leading[:-1]):
        raise ValueError(f"{len(shards)} shards")
    for number, shard in enumerate(shards):
        if not index.fits(number, shard) or not re.fullmatch("[0-9a-f]{64}", shard.sha256):
            raise ValueError(f"shard {number}: {shard}")
    return index


class ShardedArray:
    """An array (N, ...) or (V, N, ...) in shards, whose rows are read on demand. It supports the
    operations on arrays that this project uses.

    `a[row]`, `a[rows]` and `a[start:stop]` are copies in memory; `a[view]` of an array with views
    is another ShardedArray, which shares the cached shards. It can be pickled: another process
    reads for itself.

    Args:
        path: of the index, for messages.
        window: how many shards a training holds and shuffles at a time
            (`transfer.training.batches`).
    """

    def __init__(
        self,
        path: Path,
        index: Index,
        store: ObjectStore,
        window: int,
        held: ShardCache | None = None,
        first: int = 0,
    ):
        self.path, self.index, self.store = path, index, store
        self.shape, self.dtype = (*index.leading, *index.row), np.dtype(index.dtype)
        self._window, self._first = window, first
        self._held = held or ShardCache(self._read_whole, len(index.shards))

    def __reduce__(self) -> tuple:
        return ShardedArray, (self.path, self.index, self.store, self._window)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def layout(self) -> Layout:
        """How the rows lie in shards, for whoever shuffles them."""
        return Layout(self.index.shard_rows, self._window)

    def covering(self, first: int, last: int) -> tuple[Self, int]:
        """The array of those shards only that have rows `first` up to `last` of an array (N, ...),
        with the number of its first row in this one: small to send, and with a cache of its own."""
        size = self.index.shard_rows
        start, stop = first // size, math.ceil(last / size)
        rows = min(len(self), stop * size) - start * size
        index = Index(
            self.index.dtype, (rows,), self.index.row, size, self.index.shards[start:stop]
        )
        return ShardedArray(self.path, index, self.store, self._window), start * size

    def read_in(self, windows: list[list[int]]) -> None:
        """Set the order in which a training reads the shards: one window is kept, the next is read
        ahead."""
        self._held.set_read_order(
            [[self._first + number for number in window] for window in windows]
        )

    def __getitem__(self, rows):
        if len(self.index.leading) == 2:
            return self._view(rows)
        if isinstance(rows, slice):
            return self._gather(np.arange(*rows.indices(len(self))))
        chosen = np.asarray(rows)
        if chosen.dtype.kind not in "iu" and chosen.size:
            raise IndexError(f"rows are whole numbers, not {chosen.dtype}")
        chosen = np.where(chosen < 0, chosen + len(self), chosen).astype(np.int64)
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise IndexError(f"row {rows} of {len(self)}")
        return self._gather(chosen.reshape(-1)).reshape(*chosen.shape, *self.index.row)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        whole = np.stack([each[:] for each in self]) if len(self.index.leading) == 2 else self[:]
        return whole.astype(dtype or self.dtype, copy=False)

    def _view(self, view: int) -> Self:
        if not -len(self) <= view < len(self):
            raise IndexError(f"view {view} of {len(self)}")
        first = view % len(self) * self.index.shards_a_view
        return ShardedArray(
            self.path,
            self.index.view(view % len(self)),
            self.store,
            self._window,
            self._held,
            first,
        )

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        """Rows int (b,), all of them there, as (b, *row)."""
        found = np.empty((len(rows), *self.index.row), self.dtype)
        shards, inside = np.divmod(rows, self.index.shard_rows)
        numbers, which = np.unique(shards, return_inverse=True)
        self._held.advance_to([self._first + number for number in numbers.tolist()])
        for number in range(len(numbers)):
            places = np.flatnonzero(which == number)
            found[places] = self._rows_of(int(numbers[number]), inside[places])
        return found

    def _rows_of(self, number: int, inside: np.ndarray) -> np.ndarray:
        shard = self.index.shards[number]
        whole = self._held.get(self._first + number, len(inside), shard.bytes)
        if whole is not None:
            return whole.reshape(shard.rows, *self.index.row)[inside]
        start, size = len(self.index.header(number)), self.index.row_bytes
        pieces = [
            self._read(shard, start + row * size, start + (row + 1) * size)
            for row in inside.tolist()
        ]
        return np.frombuffer(b"".join(pieces), self.dtype).reshape(len(inside), *self.index.row)

    def _read_whole(self, number: int) -> np.ndarray:
        """All numbers of a shard, (rows * ...,), after its checksum was found right; `number`
        counts over all views."""
        at = number - self._first
        shard = self.index.shards[at]
        content = self._read(shard)
        if hashlib.sha256(content).hexdigest() != shard.sha256:
            raise PipelineError(
                f"{self._names(shard)} is damaged; `make verify` says how to repair it"
            )
        return np.frombuffer(content, self.dtype, offset=len(self.index.header(at)))

    def _read(self, shard: Shard, start: int | None = None, end: int | None = None) -> bytes:
        try:
            content = self.store.read(shard.name, start, end)
        except FileNotFoundError:
            raise PipelineError(
                f"{self._names(shard)} is missing; is that the bucket with the shards? `make "
                "verify` says how to make it again"
            ) from None
        if start is not None and len(content) != end - start:
            raise PipelineError(
                f"{self._names(shard)} is damaged: it ends early; `make verify` says how to repair "
                "it"
            )
        return content

    def _names(self, shard: Shard) -> str:
        return f"{self.store.url}/{shard.name}, a shard of {self.path},"
