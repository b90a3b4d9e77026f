"""The frozen part of the network, computed once per image and kept on disk.

Three things happen at once: this thread reads images and looks up what is known of them, the
engine's workers compute what is not, and another thread writes.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from transfer.engines.base import Crashed, WorkerPool, batches_of
from transfer.features.row_cache import FOLDER, ActivationCache, store_folder
from transfer.runtime.checkpoints import FOLDER as CHECKPOINTS
from transfer.runtime.checksums import content_key
from transfer.runtime.errors import PipelineError
from transfer.storage.array_writer import create_array
from transfer.storage.arrays import take
from transfer.storage.params import ArrayFormat

CALLS_WAITING = 2  # of the thread that writes; each is one of a batch
WALKED = 64  # rows that are looked up before those that are known are written


class ImageSource(Protocol):
    """Images by row: the data sent to a worker, which draws the pixels from it, and a key that is
    unique to the content."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> Any: ...
    def key(self, row: int) -> bytes: ...


class CleanImages:
    """Decoded images, uint8 (N, H, W, 3), as they are."""

    def __init__(self, images: np.ndarray):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> np.ndarray:
        return take(self._images, row)

    def key(self, row: int) -> bytes:
        return content_key(self[row].tobytes())


def unchanged(image: np.ndarray) -> np.ndarray:
    """Draws clean images on a worker."""
    return image


def extract_features(
    workers: WorkerPool,
    pictures: ImageSource,
    leading: tuple[int, ...],
    files: tuple[Path, Path],
    cache_gigabytes: float,
    checkpoint: Path,
    size_parameter: str,
    kept: ArrayFormat,
) -> None:
    """Send images through the frozen network and write the activations; rows that the store has are
    taken from there.

    Args:
        workers: of a FrozenTask that draws these pictures.
        pictures: as many as the product of `leading`, with the last index fastest.
        leading: leading shape of both arrays, (N,) or (V, N).
        files: paths without suffix; get the features (*leading, h, w, C) and the activations at
            the cut (*leading, h', w', C').
        cache_gigabytes: what the store may keep; 0 keeps none.
        checkpoint: folder that keeps the rows until the stage ends, if the store keeps none.
        size_parameter: the parameter that makes the arrays smaller, for the message when the disk
            cannot hold them.
        kept: the format of both arrays.

    Raises:
        PipelineError: no room on the disk, an activation that `extract.dtype` cannot hold, an
            image that ends its worker.
    """
    identity, layout, size = workers.about
    storage = layout["features"].base
    features_file, cut_file = files
    folder, limit = (
        (store_folder(), int(cache_gigabytes * 1e9))
        if cache_gigabytes
        else (checkpoint, sys.maxsize)
    )
    with (
        create_array(
            features_file, leading, layout["features"].shape, storage.name, size_parameter, kept
        ) as features,
        create_array(
            cut_file, leading, layout["cut"].shape, storage.name, size_parameter, kept
        ) as cut,
        ActivationCache(folder, identity, layout, limit) as store,
        tqdm(total=len(pictures), desc=str(features_file), unit=" images") as progress,
    ):
        writer = _RowWriter(features, cut, store, progress)
        computed = 0
        with in_another_thread() as later:
            known = partial(later, writer.write)
            for chosen, contents in workers.map(_unknown(pictures, store, known, size)):
                rows, keys = zip(*chosen, strict=True)
                later(writer.write_new, rows, keys, contents)
                _refuse_crashes(features_file, rows, contents)
                computed += len(rows)
    source = FOLDER if cache_gigabytes else CHECKPOINTS
    print(
        f"{features_file}: {len(pictures) - computed:,} rows were known ({source}), {computed:,} "
        "were computed"
    )


@contextmanager
def in_another_thread() -> Iterator[Callable]:
    """Yield a function `later(call, *arguments)`: another thread makes the calls, in their order.

    It waits while more than CALLS_WAITING calls are open, so that memory does not grow. What a call
    raises is raised by a later one, or at the end of the block. Where the block raises, the open
    calls are still made.
    """
    waiting = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="rows") as thread:

        def later(call: Callable, *arguments: Any) -> None:
            waiting.append(thread.submit(call, *arguments))
            if len(waiting) > CALLS_WAITING:
                waiting.popleft().result()

        yield later
        while waiting:
            waiting.popleft().result()


class _RowWriter:
    """Writes rows to both arrays, and new ones to the store; one thread calls it."""

    def __init__(self, features: Any, cut: Any, store: ActivationCache, progress: tqdm):
        self._features, self._cut, self._store, self._progress = features, cut, store, progress

    def write(self, rows: Sequence[int], contents: Sequence[np.ndarray]) -> None:
        for row, content in zip(rows, contents, strict=True):
            self._cut[row], self._features[row] = content["cut"], content["features"]
        self._progress.update(len(rows))

    def write_new(
        self, rows: Sequence[int], keys: Sequence[bytes], contents: Sequence[np.ndarray | Crashed]
    ) -> None:
        """Those that did not end their workers."""
        whole = [not isinstance(content, Crashed) for content in contents]
        found = [*compress(contents, whole)]
        self.write([*compress(rows, whole)], found)
        self._store.put([*compress(keys, whole)], found)


def _refuse_crashes(
    array: Path, rows: Sequence[int], contents: Sequence[np.ndarray | Crashed]
) -> None:
    for row, content in zip(rows, contents, strict=True):
        if isinstance(content, Crashed):
            raise PipelineError(
                f"{array}: row {row} ended {content.attempts} workers, one after the other; their "
                "node may lack memory: raise resources.worker_cpus, which makes fewer of them"
            )


def _unknown(
    pictures: ImageSource, store: ActivationCache, write: Callable, size: int
) -> Iterator[tuple[list[tuple[int, bytes]], list]]:
    """Walk through all rows in order: write those that the store has, and yield the others in
    batches: rows with their keys, and the data to send."""

    def missing() -> Iterator[tuple[int, bytes]]:
        for rows in batches_of(range(len(pictures)), WALKED):
            known = {}
            for row in rows:
                key = pictures.key(row)
                content = store.get(key)
                if content is None:
                    yield row, key
                else:
                    known[row] = content
            write([*known], [*known.values()])

    for chosen in batches_of(missing(), size):
        yield chosen, [pictures[row] for row, _ in chosen]
