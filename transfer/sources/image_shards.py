"""Shards of decoded images: what a worker does where the images lie in a bucket. It reads the files
that `split` saw, decodes them and stores the shard; only its name comes back."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from transfer.engines.base import Failed, try_job
from transfer.sources.bucket import NAMED
from transfer.sources.decoding import Resize
from transfer.sources.source_file import BATCH_ENTRIES, SourceFile
from transfer.sources.value_ranges import PixelRules
from transfer.sources.verified_images import VerifiedImageFunction
from transfer.storage.object_store import ObjectStore
from transfer.storage.shard_writer import ShardBuffer
from transfer.storage.sharded_array import Index, Shard

IN_MEMORY = 3  # shards of a process: one is read, one decoded, one stored


@dataclass(frozen=True)
class ImagesJob:
    """Asks for shard `number` of an array of images.

    index: of the array, without its shards. paths, checksums: of the files of its rows, in their
        order. made: the shard, if it was made before.
    """

    index: Index
    number: int
    paths: tuple[str, ...]
    checksums: tuple[str, ...]
    made: Shard | None = None


@dataclass(frozen=True)
class ImageShardTask:
    """source: the URL of the images. store: where the shards lie. threads: of a worker, that decode
    at a time."""

    source: str
    resize: Resize
    rules: PixelRules
    store: ObjectStore
    threads: int
    files = ()
    needs_gpu = False
    unused_packages = ()
    overlaps = True

    def start(self) -> "ImageShardFunction":
        decode = VerifiedImageFunction(self.source, self.resize, self.rules)
        return ImageShardFunction(self.source, decode, self.store, self.threads)


class ImageShardFunction:
    """The Shard of each ImagesJob. Calls from several threads overlap: while one decodes another
    one reads or stores."""

    uses_all_cores = False

    def __init__(
        self, source: str, decode: VerifiedImageFunction, store: ObjectStore, threads: int
    ):
        self._source, self._decode, self._store = source, decode, store
        self.about = decode.about
        self._threads = ThreadPoolExecutor(threads)
        self._turns = threading.Semaphore(IN_MEMORY)

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
            source, buffer = ObjectStore(self._source, NAMED), ShardBuffer(job.index, job.number)
            files = [SourceFile(path, store=source) for path in job.paths]
            items = list(zip(files, job.checksums, strict=True))
            starts = range(0, len(items), BATCH_ENTRIES)
            batches = (items[start : start + BATCH_ENTRIES] for start in starts)
            for start, decoded in zip(
                starts, self._threads.map(self._decode, batches), strict=True
            ):
                pixels = np.stack([each for _, each in decoded])
                buffer.rows[start : start + len(decoded)] = pixels
            return buffer.store(self._store)
