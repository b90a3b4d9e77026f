"""The frozen part of the network, computed once per image and kept on disk.

Arrays in `.npy` are written in this process, and three things happen at once: this thread reads
images and looks up their rows in the store, the engine's workers compute the missing rows, and two
more threads write the arrays and the store. Arrays in shards are made and stored by the workers.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from transfer.engines.base import Crashed, Failed, WorkerPool, batches_of, finish_jobs
from transfer.features.shard_pass import KeysJob, ShardJob
from transfer.runtime.checkpoints import FOLDER as CHECKPOINTS
from transfer.runtime.checksums import content_key
from transfer.runtime.errors import PipelineError
from transfer.runtime.progress import progress_bar
from transfer.storage.array_writer import create_array, write_sharded
from transfer.storage.arrays import take
from transfer.storage.known_shards import KnownRows, KnownShards
from transfer.storage.params import ArrayFormat
from transfer.storage.row_cache import FOLDER, ActivationCache, store_folder
from transfer.storage.row_range import ImagePart, RowRange
from transfer.storage.sharded_array import Index, Shard

CALLS_WAITING = 2  # at most, for a thread that writes; each call has the rows of one batch
WALKED = 64  # rows that are looked up before the known ones among them are written


class ImageSource(Protocol):
    """Images by row: the data sent to a worker, which draws the pixels from it, and a key that is
    unique to the content."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> Any: ...
    def key(self, row: int) -> bytes: ...
    def part(self, first: int, last: int) -> ImagePart:
        """Rows `first` up to `last` (exclusive), all of one view, for another process."""


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

    def part(self, first: int, last: int) -> ImagePart:
        return ImagePart(RowRange(self._images, first, last), CleanImages, b"images")


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
    not computed again.

    Rows of arrays in `.npy` come to this process; shards are made and stored by the workers.

    Args:
        workers: of `task_for(kept, ...)`, which draws these pictures.
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
    folder, limit = (
        (store_folder(), int(cache_gigabytes * 1e9))
        if cache_gigabytes
        else (checkpoint, sys.maxsize)
    )
    identity, layout, _ = workers.about
    with (
        ActivationCache(folder, identity, layout, limit) as store,
        progress_bar(total=len(pictures), desc=str(files[0]), unit=" images") as progress,
    ):
        if kept.form == "shards":
            known = KnownShards(folder, identity, limit)
            computed = _write_shards(
                workers, pictures, leading, files, store, known, progress, kept
            )
        else:
            computed = _write_rows(
                workers, pictures, leading, files, store, progress, size_parameter, kept
            )
    source = FOLDER if cache_gigabytes else CHECKPOINTS
    print(
        f"{files[0]}: {len(pictures) - computed:,} rows were known ({source}), {computed:,} "
        "were computed"
    )


def _write_rows(
    workers: WorkerPool,
    pictures: ImageSource,
    leading: tuple[int, ...],
    files: tuple[Path, Path],
    store: ActivationCache,
    progress: tqdm,
    size_parameter: str,
    kept: ArrayFormat,
) -> int:
    """Write both arrays row by row. Returns how many rows were computed."""
    _, layout, size = workers.about
    storage = layout["features"].base
    features_file, cut_file = files
    with (
        create_array(
            features_file, leading, layout["features"].shape, storage.name, size_parameter, kept
        ) as features,
        create_array(
            cut_file, leading, layout["cut"].shape, storage.name, size_parameter, kept
        ) as cut,
    ):

        def write(rows: Sequence[int], contents: Sequence[np.ndarray]) -> None:
            for row, content in zip(rows, contents, strict=True):
                cut[row], features[row] = content["cut"], content["features"]
            progress.update(len(rows))

        computed = 0
        with in_another_thread(write) as write_later, in_another_thread(store.put) as keep_later:
            for chosen, contents in workers.map(_unknown(pictures, store, write_later, size)):
                rows, keys = zip(*chosen, strict=True)
                whole = [not isinstance(content, Crashed) for content in contents]
                found = [*compress(contents, whole)]
                write_later([*compress(rows, whole)], found)
                keep_later([*compress(keys, whole)], found)
                _refuse_crashes(features_file, rows, contents)
                computed += len(rows)
    return computed


@contextmanager
def in_another_thread(call: Callable) -> Iterator[Callable]:
    """Yield a function with the arguments of `call` that lets another thread make the calls, one
    after the other.

    It waits while more than CALLS_WAITING calls are open, so that memory does not grow. An error of
    a call is raised by a later one, or at the end of the block. If the block raises, the open calls
    are still made.
    """
    waiting = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="rows") as thread:

        def later(*arguments: Any) -> None:
            waiting.append(thread.submit(call, *arguments))
            if len(waiting) > CALLS_WAITING:
                waiting.popleft().result()

        yield later
        while waiting:
            waiting.popleft().result()


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
    """Go through all rows in order: write those that the store has, and yield the others in batches
    of rows with their keys, and the data to send."""

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


def _write_shards(
    workers: WorkerPool,
    pictures: ImageSource,
    leading: tuple[int, ...],
    files: tuple[Path, Path],
    store: ActivationCache,
    known: KnownShards,
    progress: tqdm,
    kept: ArrayFormat,
) -> int:
    """Let the workers make the shards of both arrays, and write the indexes. Returns how many rows
    were computed.

    This process has only the names of the shards, the keys of their rows, and the content of rows
    that `store` has.
    """
    kept.shards.store.check_writable()
    layout = workers.about.layout
    indexes = tuple(
        Index(layout[name].base.name, leading, layout[name].shape, kept.shard_rows, ())
        for name in ("features", "cut")
    )
    ranges = list(_shard_rows(indexes[0]))
    made = [known.made(pictures.part(*rows).identity) for rows in ranges]
    found = _find_rows(workers, pictures, ranges, made, known, store)

    def job(number: int) -> ShardJob:
        places, keys = found.get(number, ((), {}))
        contents = {row: store.get(key) for row, key in keys.items()}
        whole = {row: each.tobytes() for row, each in contents.items() if each is not None}
        part = pictures.part(*ranges[number])
        return ShardJob(indexes, number, part, made[number], places, whole)

    def explain(number: int, crashed: Crashed) -> PipelineError:
        first, last = ranges[number]
        return PipelineError(
            f"{files[0]}: rows {first} to {last - 1} ended {crashed.attempts} workers, one after "
            "the other; their node may lack memory: lower arrays.shard_rows, or raise "
            "resources.worker_cpus, which makes fewer workers"
        )

    jobs = ((number, job(number)) for number in range(len(ranges)))
    shards: list[tuple[Shard, ...]] = [()] * len(ranges)  # those of both arrays, by number
    computed = 0
    for number, result in finish_jobs(workers, jobs, explain):
        shards[number] = result.shards
        if len(result.keys):
            identity = pictures.part(*ranges[number]).identity
            known.put(identity, result.keys, result.shards)
        computed += result.computed
        progress.update(result.shards[0].rows)
    for place, (file, index) in enumerate(zip(files, indexes, strict=True)):
        write_sharded(file, replace(index, shards=tuple(pair[place] for pair in shards)))
    return computed


def _shard_rows(index: Index) -> Iterator[tuple[int, int]]:
    """The first and the last row (exclusive) of each shard, counted over all leading axes."""
    rows = index.leading[-1]
    for view in range(index.leading[0] if len(index.leading) == 2 else 1):
        for first in range(0, rows, index.shard_rows):
            yield view * rows + first, view * rows + min(rows, first + index.shard_rows)


def _find_rows(
    workers: WorkerPool,
    pictures: ImageSource,
    ranges: Sequence[tuple[int, int]],
    made: Sequence[tuple[Shard, ...] | None],
    known: KnownShards,
    store: ActivationCache,
) -> dict[int, tuple[tuple[KnownRows, ...], dict[int, bytes]]]:
    """By the number of a shard that was not made before: which of its rows lie in other shards, and
    the keys of those that `store` has. The workers read the images for this, unless no row of any
    image is known."""
    if not len(known) and not len(store):
        return {}
    jobs = (
        (number, [KeysJob(pictures.part(*rows))])
        for number, rows in enumerate(ranges)
        if made[number] is None
    )
    found = {}
    for number, (keys,) in workers.map(jobs):
        if isinstance(keys, Failed | Crashed):  # the job that computes will fail too, and say why
            continue
        places = tuple(known.find(keys))
        lying = {row for place in places for row in place.wanted.tolist()}
        others = {
            row: keys[row].tobytes()
            for row in range(len(keys) if len(store) else 0)
            if row not in lying and keys[row].tobytes() in store
        }
        if places or others:
            found[number] = places, others
    return found
