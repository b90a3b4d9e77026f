"""Opens and reads arrays, `.npy` as memory maps and shards from their store, so that they may be
larger than memory."""

import math
import mmap
import tokenize
import warnings
from pathlib import Path

import numpy as np

from transfer.runtime.errors import PipelineError
from transfer.storage.array_paths import find_array
from transfer.storage.params import Shards
from transfer.storage.sharded_array import SUFFIX, ShardedArray, read_index

# What NumPy raises on a damaged header. No file of this project makes it warn (about an overflowing
# size, or a file from Python 2).
_DAMAGE = (
    ValueError,
    EOFError,
    IsADirectoryError,
    OverflowError,
    TypeError,
    KeyError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
    Warning,
)


ROWS_AT_ONCE, NUMBERS_AT_ONCE = 256, 2**21


def take(array: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """Copy rows into memory, in their order, and release the pages of the map (`release_pages`)."""
    copied = np.array(array[rows])
    release_pages(array)
    return copied


def inference_batch_rows(shape: tuple[int, ...]) -> int:
    """The number of rows of a shape (h, w, C) that a model gets at a time: 256, and fewer for large
    pictures.

    It depends only on the shape, because another number of rows changes the last bits of some
    layers' outputs.
    """
    return max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // math.prod(shape)))


def release_pages(array: np.ndarray) -> None:
    """Release the resident pages of a memory map, which would otherwise grow to the file's size.

    Written data stays in the system's page cache. Arrays that are not memory maps are not changed.
    """
    mapped = getattr(array, "_mmap", None)  # None in a copy of a map, which has the same class
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def read_array(
    array: Path,
    shards: Shards | None = None,
    *,
    rows: int | None = None,
    axis: int = 0,
    ndim: int | None = None,
) -> np.ndarray | ShardedArray:
    """Open an array read-only: a memory map, or one whose shards are fetched as its rows are read.

    Args:
        array: its path without suffix, or with one if only that format is meant.
        shards: where shards are; needed for an array in shards.
        rows: how many rows the manifest (or the array beside it) says there are, along `axis`.
        ndim: how many dimensions there must be.

    Raises:
        PipelineError: missing, in two formats at once, damaged, not of plain numbers, or in
            disagreement with `rows` or `ndim`.
    """
    path = find_array(array)
    found = _open_shards(path, shards or Shards()) if path.suffix == SUFFIX else _open_map(path)
    if found.dtype.kind not in "biuf":
        raise PipelineError(
            f"{path} holds {found.dtype}, numbers were expected; delete it and run `dvc repro`"
        )
    if ndim is None:
        ndim = max(found.ndim, axis + 1)
    if found.ndim != ndim:
        raise PipelineError(
            f"{path} has shape {found.shape}, {ndim} dimensions were expected; delete it and run "
            "`dvc repro`"
        )
    if rows is not None and found.shape[axis] != rows:
        raise PipelineError(
            f"{path} has {found.shape[axis]} rows, the manifest has {rows}; delete it and run `dvc "
            "repro`"
        )
    return found


def _open_map(path: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings(action="error"):
            # unlike np.load it reads neither archives nor pickles
            return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro` or `dvc pull`") from None
    except _DAMAGE as error:
        raise PipelineError(
            f"{path} is damaged ({error}); delete it and run `dvc repro`, or `dvc pull` it again"
        ) from None


def _open_shards(path: Path, shards: Shards) -> ShardedArray:
    return ShardedArray(path, read_index(path), shards.store, shards.window)
