"""Shards of decoded images: what a worker does. It reads the files that `split` saw, decodes them
and stores the shard; only its name comes back."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np

from transfer.decoding.rgb import Resize
from transfer.decoding.value_ranges import PixelRules
from transfer.engines.base import Failed, try_job
from transfer.sources.image_places import ImagePlaces
from transfer.sources.source_file import BATCH_ENTRIES
from transfer.sources.verified_images import VerifiedImageFunction
from transfer.storage.object_store import ObjectStore
from transfer.storage.shard_writer import ShardBuffer
from transfer.storage.sharded_array import Index, Shard

IN_MEMORY = 3  # shards of a process: one is read, one decoded, one stored


@dataclass(frozen=True)
class ImagesJob:
    """Asks for shard `number` of an array of images.

    index: of the array, without its shards. paths, checksums: of the files of its rows, in their
        order. parts: their places in an archive, int64 (n, 3); None of other sources. made: the
        shard, if it was made before.
    """

    index: Index
    number: int
    paths: tuple[str, ...]
    checksums: tuple[str, ...]
    parts: np.ndarray | None = None
    made: Shard | None = None


@dataclass(frozen=True)
class ImageShardTask:
    """images: where they are. store: where the shards lie. threads: of a worker, that decode at a
    time."""

    images: ImagePlaces
    resize: Resize
    rules: PixelRules
    store: ObjectStore
    threads: int
    files = ()
    needs_gpu = False
    unused_packages = ()
    overlaps = True

    def start(self) -> "ImageShardFunction":
        """The function, as `Task` specifies; UnseenSourceError if this node does not see the
        images."""
        self.images.check_seen()
        decode = VerifiedImageFunction(self.images.source, self.resize, self.rules)
        return ImageShardFunction(self.images, decode, self.store, self.threads)


class ImageShardFunction:
    """The Shard of each ImagesJob. Calls from several threads overlap: while one decodes another
    one reads or stores. A context manager: it ends its threads."""

    uses_all_cores = False

    def __init__(
        self, images: ImagePlaces, decode: VerifiedImageFunction, store: ObjectStore, threads: int
    ):
        self._images, self._decode, self._store = images, decode, store
        self.about = decode.about
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._turns = threading.Semaphore(IN_MEMORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def __call__(self, jobs: list[ImagesJob]) -> list[Shard | Failed]:
        return [try_job(self._do, job) for job in jobs]

    def _do(self, job: ImagesJob) -> Shard:
        with self._turns:
            if (
                job.made is not None
                and job.index.fits(job.number, job.made)
                and self._store.size(job.made.name) == job.made.bytes
            ):
                return job.made
            buffer = ShardBuffer(job.index, job.number)
            files = self._images.files(job.paths, job.parts)
            items = list(zip(files, job.checksums, strict=True))
            starts = range(0, len(items), BATCH_ENTRIES)
            batches = (items[start : start + BATCH_ENTRIES] for start in starts)
            for start, decoded in zip(
                starts, self._threads.map(self._decode, batches), strict=True
            ):
                pixels = np.stack([each for _, each in decoded])
                buffer.rows[start : start + len(decoded)] = pixels
            return buffer.store(self._store)
