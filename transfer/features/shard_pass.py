"""Shards of features and activations: what a worker does, in this process or on a cluster. It reads
the images, computes what is not known, and stores both shards; only their names come back."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from transfer.engines.base import Engine, Failed, batches_of, try_job
from transfer.features.frozen_network import FrozenPass, FrozenTask
from transfer.storage.known_shards import KEY_BYTES, NO_KEYS, KnownRows
from transfer.storage.object_store import ObjectStore
from transfer.storage.params import ArrayFormat
from transfer.storage.row_range import ImagePart
from transfer.storage.shard_check import read_rows
from transfer.storage.shard_writer import ShardBuffer
from transfer.storage.sharded_array import Index, Shard

CARD_CALLS = 4  # calls of the network at a time, so that a GPU does not wait
IN_MEMORY = 3  # shards in a process at a time: one is read, one computed, one stored


@dataclass(frozen=True)
class KeysJob:
    """Asks for the keys of a shard's pictures, uint8 (n, 32)."""

    pictures: ImagePart


@dataclass(frozen=True)
class ShardJob:
    """Asks for a shard of each of two arrays: features, and activations at the cut.

    indexes: of both arrays, without their shards. number: of the shard in each. made: the two
    shards, if they were made before. known: rows of it that lie in other shards. contents: rows of
    it as bytes.
    """

    indexes: tuple[Index, Index]
    number: int
    pictures: ImagePart
    made: tuple[Shard, ...] | None = None
    known: tuple[KnownRows, ...] = ()
    contents: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class MadeShard:
    """The two shards, the keys uint8 (n, 32) of their rows (none if the shards were there already)
    and how many rows were computed."""

    shards: tuple[Shard, ...]
    keys: np.ndarray
    computed: int


@dataclass(frozen=True)
class ShardTask:
    """frozen: what is computed for an image. store: where the shards are. threads: how many threads
    of a worker compute at the same time."""

    frozen: FrozenTask
    store: ObjectStore
    threads: int
    overlaps = True

    @property
    def files(self) -> tuple[Path, ...]:
        return self.frozen.files

    @property
    def needs_gpu(self) -> bool:
        return self.frozen.needs_gpu

    @property
    def unused_packages(self) -> tuple[str, ...]:
        return self.frozen.unused_packages

    def start(self) -> "ShardPass":
        frozen = self.frozen.start()
        own = 1 if frozen.uses_all_cores else self.threads
        return ShardPass(frozen, self.store, CARD_CALLS if self.needs_gpu else own)


def task_for(kept: ArrayFormat, frozen: FrozenTask, engine: Engine) -> FrozenTask | ShardTask:
    """The task of the workers for arrays of a format: rows of single images, or whole shards.

    Raises:
        PipelineError: `resources.shards_url` is not set, or names no place.
    """
    if kept.form == "shards":
        return ShardTask(frozen, kept.shards.store, engine.cores)
    return frozen


class ShardPass:
    """A call does jobs, ShardJob or KeysJob. Calls from several threads overlap: while one
    computes, another reads or stores. A context manager: it ends its threads."""

    uses_all_cores = False

    def __init__(self, frozen: FrozenPass, store: ObjectStore, threads: int):
        self._frozen, self._store = frozen, store
        self.about = frozen.about
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="frozen")
        self._turns = threading.Semaphore(IN_MEMORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def __call__(self, jobs: list[ShardJob | KeysJob]) -> list[MadeShard | np.ndarray | Failed]:
        return [try_job(self._do, job) for job in jobs]

    def _do(self, job: ShardJob | KeysJob) -> MadeShard | np.ndarray:
        with self._turns:
            if isinstance(job, KeysJob):
                return _keys(job.pictures.read())
            if job.made and self._has(job):
                return MadeShard(job.made, NO_KEYS, 0)
            return self._make(job)

    def _has(self, job: ShardJob) -> bool:
        """Whether the shards that were made before are of these arrays, and in the store."""
        return all(
            index.fits(job.number, shard) and self._store.size(shard.name) == shard.bytes
            for index, shard in zip(job.indexes, job.made, strict=True)
        )

    def _make(self, job: ShardJob) -> MadeShard:
        pictures = job.pictures.read()
        features, cut = (ShardBuffer(index, job.number) for index in job.indexes)
        is_known = np.zeros(len(pictures), dtype=bool)
        for rows, content in self._known_rows(job):
            features.rows[rows], cut.rows[rows] = content["features"], content["cut"]
            is_known[rows] = True
        missing = np.flatnonzero(~is_known).tolist()
        batches = list(batches_of(missing, self.about.size))
        results = self._threads.map(
            lambda rows: self._frozen([pictures[row] for row in rows]), batches
        )
        for rows, content in zip(batches, results, strict=True):
            features.rows[rows], cut.rows[rows] = content["features"], content["cut"]
        shards = (features.store(self._store), cut.store(self._store))
        return MadeShard(shards, _keys(pictures), len(missing))

    def _known_rows(self, job: ShardJob) -> Iterator[tuple[np.ndarray, Any]]:
        """Rows that need not be computed: their numbers, and their content by name. Rows of shards
        that are missing or damaged are left out."""
        for known in job.known:
            content = [
                read_rows(shard, index, known.positions, self._store)
                for shard, index in zip(known.shards, job.indexes, strict=True)
            ]
            if all(each is not None for each in content):
                yield known.wanted, dict(zip(("features", "cut"), content, strict=True))
        for row, content in job.contents.items():
            yield np.array([row]), np.frombuffer(content, self.about.layout)


def _keys(pictures: Any) -> np.ndarray:
    keys = b"".join(pictures.key(row) for row in range(len(pictures)))
    return np.frombuffer(keys, np.uint8).reshape(-1, KEY_BYTES)
