"""Arrays on disk: `.npy`, written and read as memory maps, so that size is bounded by the disk and not by memory."""

import math
import mmap
import shutil
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from transfer.errors import PipelineError
from transfer.files import allocate, replacing

# What numpy raises on a damaged header. No file of ours makes it warn (of a size that overflows, of one from Python 2).
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


class NewRows:
    """Rows that are written to a memory map, in any order: `rows[i] = content`, i counted over all leading axes, the last one fastest."""

    def __init__(self, array: np.ndarray, row_axes: int):
        self._flat = array.reshape(-1, *array.shape[array.ndim - row_axes :])

    def __setitem__(self, row: int, content: np.ndarray) -> None:
        self._flat[row] = content
        let_go(self._flat)


@contextmanager
def new_rows(path: Path, leading: tuple[int, ...], row_shape: tuple[int, ...], dtype: str, lower_with: str) -> Iterator[NewRows]:
    """Yield the rows of a new array of shape (*leading, *row_shape) to write to; the file gets its name when the block ends well.

    Args:
        lower_with: the parameter that makes the array smaller, for the message.

    Raises:
        PipelineError: the disk has no room for it; said before hours are spent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*leading, *row_shape)
    needed, free = math.prod(shape) * np.dtype(dtype).itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise PipelineError(f"{path} needs {needed:,} bytes and the disk has {free:,}; free some, or lower {lower_with}")
    with replacing(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        allocate(temporary, temporary.stat().st_size)  # a map's write to a disk that is full meanwhile would kill the process
        yield NewRows(array, len(row_shape))
        array.flush()


def take(array: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """Copy rows into memory, in their order, and let the map's pages go (see `let_go`)."""
    copied = np.array(array[rows])
    let_go(array)
    return copied


def rows_at_once(shape: tuple[int, ...]) -> int:
    """How many rows of a shape (h, w, C) a model is given at a time: 256, and fewer where these would be large pictures.

    A function of the shape alone: another number of rows changes the last bits of what some layers give.
    """
    return max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // math.prod(shape)))


def let_go(array: np.ndarray) -> None:
    """Release the resident pages of a memory map, which otherwise become as many as the file is large.

    What was written stays written: the pages live on in the system's cache. Other arrays are left alone.
    """
    mapped = getattr(array, "_mmap", None)  # None in a copy of a map, which is of the same class
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def read_array(path: Path, *, rows: int | None = None, axis: int = 0, ndim: int | None = None) -> np.ndarray:
    """Open an array read-only as a memory map.

    Args:
        rows: how many rows the manifest (or the array beside it) says there are, along `axis`.
        ndim: how many dimensions there must be.

    Raises:
        PipelineError: missing, damaged, not of plain numbers, or in disagreement with `rows` or `ndim`.
    """
    try:
        with warnings.catch_warnings(action="error"):
            array = np.lib.format.open_memmap(path, mode="r")  # unlike np.load it knows no archives and no pickles
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro` or `dvc pull`") from None
    except _DAMAGE as error:
        raise PipelineError(f"{path} is damaged ({error}); delete it and run `dvc repro`, or `dvc pull` it again") from None
    if array.dtype.kind not in "biuf":
        raise PipelineError(f"{path} holds {array.dtype}, numbers were expected; delete it and run `dvc repro`")
    if ndim is None:
        ndim = max(array.ndim, axis + 1)
    if array.ndim != ndim:
        raise PipelineError(f"{path} has shape {array.shape}, {ndim} dimensions were expected; delete it and run `dvc repro`")
    if rows is not None and array.shape[axis] != rows:
        raise PipelineError(f"{path} has {array.shape[axis]} rows, the manifest has {rows}; delete it and run `dvc repro`")
    return array
