"""Some rows of an array in the form in which they are sent to another process: the names of their
shards if the array has shards, otherwise the rows themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from transfer.runtime.checksums import content_key
from transfer.storage.arrays import take
from transfer.storage.sharded_array import ShardedArray


class RowRange:
    """Rows `first` up to `last` (exclusive) of an array (N, ...)."""

    def __init__(self, array: np.ndarray | ShardedArray, first: int, last: int):
        if isinstance(array, ShardedArray):
            array, start = array.covering(first, last)
            first, last = first - start, last - start
        self._array, self._first, self._last = array, first, last

    def __reduce__(self) -> tuple:
        if isinstance(self._array, ShardedArray):
            return RowRange, (self._array, self._first, self._last)
        return RowRange, (self.read(), 0, len(self))

    def __len__(self) -> int:
        return self._last - self._first

    @property
    def identity(self) -> bytes | None:
        """A key of the rows' content that is known without reading them; None if there is none."""
        if not isinstance(self._array, ShardedArray):
            return None
        checksums = "".join(shard.sha256 for shard in self._array.index.shards)
        return content_key(checksums.encode(), f"{self._first}:{self._last}".encode())

    def read(self) -> np.ndarray:
        """The rows, copied to memory."""
        return take(self._array, slice(self._first, self._last))


@dataclass(frozen=True)
class ImagePart:
    """What is computed of a range of images.

    rows: the images. open: makes the source of pictures (`transfer.features.extraction`) from their
        pixels (n, H, W, 3). description: bytes that differ whenever `open` would give other
        pictures of the same pixels.
    """

    rows: RowRange
    open: Callable[[np.ndarray], Any]
    description: bytes

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def identity(self) -> bytes | None:
        """A key of all pictures that is known without reading them; None if there is none."""
        own = self.rows.identity
        return None if own is None else content_key(own, self.description)

    def read(self) -> Any:
        """The source of the pictures, with their pixels in memory."""
        return self.open(self.rows.read())
