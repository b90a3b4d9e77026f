"""Writes new arrays row by row in any order: `.npy` as a memory map, so that memory does not limit
its size, or shards."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from transfer.runtime.errors import PipelineError
from transfer.runtime.files import allocate, atomic_write
from transfer.storage.array_paths import FORMATS, array_file
from transfer.storage.arrays import release_pages
from transfer.storage.params import ArrayFormat
from transfer.storage.shard_writer import ShardWriter, create_shards, write_index
from transfer.storage.sharded_array import Index


class MemmapWriter:
    """Rows that are written to a memory map, in any order: `rows[i] = content`, i counted over all
    leading axes, the last one fastest."""

    def __init__(self, array: np.ndarray, row_axes: int):
        self._flat = array.reshape(-1, *array.shape[array.ndim - row_axes :])

    def __setitem__(self, row: int, content: np.ndarray) -> None:
        self._flat[row] = content
        release_pages(self._flat)


@contextmanager
def create_array(
    array: Path,
    leading: tuple[int, ...],
    row_shape: tuple[int, ...],
    dtype: str,
    size_parameter: str,
    kept: ArrayFormat,
) -> Iterator[MemmapWriter | ShardWriter]:
    """Yield the rows of a new array of shape (*leading, *row_shape) to write to; the file gets its
    name when the block ends well, and the same array in the other format is deleted then.

    Args:
        array: its path without suffix, which `kept` decides.
        size_parameter: the parameter that makes the array smaller, for the message.

    Raises:
        PipelineError: the disk has no room for it, or the place of the shards cannot be written;
            raised before the work starts.
    """
    path = array_file(array, kept.form)
    if kept.form == "shards":
        with create_shards(
            path, leading, row_shape, dtype, kept.shard_rows, kept.shards.store, size_parameter
        ) as rows:
            yield rows
    else:
        with _create_map(path, leading, row_shape, dtype, size_parameter) as rows:
            yield rows
    _delete_other_formats(array, kept.form)


def write_sharded(array: Path, index: Index) -> None:
    """Write the index of an array whose shards are stored; the same array in the other format is
    deleted then.

    Args:
        array: its path without suffix.
    """
    write_index(array_file(array, "shards"), index)
    _delete_other_formats(array, "shards")


def _delete_other_formats(array: Path, form: str) -> None:
    for other in FORMATS:
        if other != form:
            array_file(array, other).unlink(missing_ok=True)


@contextmanager
def _create_map(
    path: Path,
    leading: tuple[int, ...],
    row_shape: tuple[int, ...],
    dtype: str,
    size_parameter: str,
) -> Iterator[MemmapWriter]:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*leading, *row_shape)
    needed, free = math.prod(shape) * np.dtype(dtype).itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise PipelineError(
            f"{path} needs {needed:,} bytes and the disk has {free:,}; free some, or lower "
            f"{size_parameter}"
        )
    with atomic_write(path) as temporary:
        rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        # If the disk filled up in the meantime, writing to the map would kill the process.
        allocate(temporary, temporary.stat().st_size)
        yield MemmapWriter(rows, len(row_shape))
        rows.flush()
