"""What the stage's own process spends on an image when workers do the rest: processor time, memory,
messages and requests to the store.

Starts a real Ray cluster of two nodes on this machine, whose workers run functions that do nothing
and answer at once, and lets `split`, `decode`, `extract` and `augment` (the last with ten views)
write their indexes through it. Each run is a process of its own, so that its peak of memory is its
own; processor time is of all its threads, Ray's included, and does not follow what else the machine
does.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from stages import decode
from tests.helpers.local_cluster import cluster
from transfer.cluster.ray_engine import RayEngine, RayWorkerPool
from transfer.dataset.manifest import SPLITS, split_rows
from transfer.decoding.rgb import Resize
from transfer.decoding.value_ranges import PixelRules
from transfer.features.extraction import CleanImages, extract_features
from transfer.features.frozen_network import About
from transfer.features.shard_pass import MadeShard, ShardJob
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import peak_memory
from transfer.sources import scan
from transfer.sources.image_places import BucketImages
from transfer.sources.image_shards import ImagesJob
from transfer.sources.scan_journal import ScanJournal
from transfer.sources.scanned_file import ScannedFile
from transfer.sources.source_file import SourceFile
from transfer.storage.known_shards import KEY_BYTES
from transfer.storage.object_store import ObjectStore
from transfer.storage.params import ArrayFormat, Shards
from transfer.storage.sharded_array import Index, Shard, ShardedArray

ROOT = Path(__file__).parents[2]
STAGES = ("split", "decode", "extract", "extract again")
ROWS, PIXELS = 1024, (64, 64, 3)
LAYOUT = np.dtype([("cut", "f4", (4, 4, 512)), ("features", "f4", (2, 2, 512))])


@dataclass(frozen=True)
class NothingTask:
    """The task of a stage whose function does nothing; `overlaps` as the real one."""

    overlaps: bool = True
    files = ()
    needs_gpu = False
    unused_packages = ()

    def start(self) -> "Nothing":
        return Nothing()


class Nothing:
    """Answers each job of any stage with a result of the real one's size."""

    uses_all_cores = False
    about = About(bytes(32), LAYOUT, 12)

    def __call__(self, jobs: list) -> list:
        return [self._answer(job) for job in jobs]

    def _answer(self, job: SourceFile | ImagesJob | ShardJob) -> object:
        if isinstance(job, SourceFile):
            return ScannedFile(job.path, sha256=name(job.path), perceptual=16 * "0")
        if isinstance(job, ImagesJob):
            return shard_of(job.index, job.number, "images")
        if job.made:
            return MadeShard(job.made, np.empty((0, KEY_BYTES), np.uint8), 0)
        rows = len(job.pictures)
        keys = np.random.default_rng(job.number).integers(0, 256, (rows, KEY_BYTES), np.uint8)
        made = (shard_of(index, job.number, f"{index.row}") for index in job.indexes)
        return MadeShard(tuple(made), keys, rows)


def name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def shard_of(index: Index, number: int, what: str) -> Shard:
    rows = index.rows_in(number)
    size = len(index.header(number)) + rows * index.row_bytes
    return Shard(name(f"{what} {number}"), rows, size)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_study.driver_share", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--images", type=int, nargs="+", default=[102_400, 1_024_000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    arguments = parser.parse_args()
    rows = []
    with cluster(path=str(ROOT)) as nodes:
        nodes.add()
        nodes.add()
        for images in arguments.images:
            with TemporaryDirectory() as folder:
                for stage in arguments.stages:
                    rows.append(run(Path(folder), nodes.address, stage, images))
                    print(json.dumps(rows[-1]), flush=True)
    print(pd.DataFrame(rows).to_string(index=False))


def run(folder: Path, address: str, stage: str, images: int) -> dict:
    """One stage in a process of its own; "extract again" finds what "extract" has left."""
    code = "import sys; from benchmarks.scale_study.driver_share import drive; drive(*sys.argv[1:])"
    finished = subprocess.run(
        [sys.executable, "-c", code, address, stage, str(images)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        sys.exit(f"{stage}: {finished.stderr[-2000:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def drive(address: str, stage: str, number: str) -> None:
    """Run a stage's part of the work; print what it took, as JSON."""
    images, counts = int(number), count_messages_and_requests()
    engine = RayEngine(ResourceParams(engine="ray", address=address), ["numpy"])
    Path("shards").mkdir(exist_ok=True)
    kept = ArrayFormat("shards", ROWS, Shards(str(Path("shards").absolute())))
    prepared = prepare(stage, images, kept)
    memory, worked, started = peak_memory(), time.process_time(), time.perf_counter()
    prepared(engine)
    print(
        json.dumps(
            {
                "stage": stage,
                "images": images,
                "us an image": round(1e6 * (time.process_time() - worked) / images, 1),
                "MB": round((peak_memory() - memory) / 1e6),
                "messages a 1000": round(2000 * counts["batches"] / images, 1),
                "requests a 1000": round(1000 * counts["requests"] / images, 2),
                "seconds": round(time.perf_counter() - started, 1),
            }
        )
    )


def count_messages_and_requests() -> dict[str, int]:
    """Counts from now on: batches that are sent, and calls of a store from this process."""
    counts = {"batches": 0, "requests": 0}
    map_before, call_before = RayWorkerPool.map, ObjectStore._call

    def counted_map(self, batches):
        def counting() -> Iterator:
            for batch in batches:
                counts["batches"] += 1
                yield batch

        return map_before(self, counting())

    def counted_call(self, question):
        counts["requests"] += 1
        return call_before(self, question)

    RayWorkerPool.map, ObjectStore._call = counted_map, counted_call
    return counts


def prepare(stage: str, images: int, kept: ArrayFormat):
    """The part of a stage that is measured, with its inputs in memory."""
    if stage == "split":
        store = ObjectStore(str(Path.cwd()), "split.source")

        def read_source(*_, **__) -> Iterator[SourceFile]:
            return (
                SourceFile(f"class {i % 10}/{i:08}.jpg", store=store, version=f"2000:{i:032x}")
                for i in range(images)
            )

        scan.read_source, scan.ScanTask = read_source, lambda background: NothingTask(False)

        def split(engine: RayEngine) -> None:
            with ScanJournal(Path("checkpoint")) as journal:
                scan.scan_source("unused", engine, journal=journal)

        return split
    if stage == "decode":
        paths = [f"class {i % 10}/{i:08}.jpg" for i in range(images)]
        manifest = pd.DataFrame({"path": paths, "sha256": [name(path) for path in paths]})
        manifest["split"] = np.repeat(
            ["train", "validation", "test"], [images - images // 5 * 2, images // 5, images // 5]
        )
        decode.ImageShardTask = lambda *_: NothingTask()
        Path("images").mkdir(exist_ok=True)
        rows = {split: split_rows(manifest, split) for split in SPLITS}
        return lambda engine: decode.write_image_shards(
            BucketImages(f"file://{Path('images').absolute()}"),
            None,
            rows,
            Resize(64, "bilinear"),
            engine,
            kept,
            PixelRules(),
            Path("checkpoint"),
        )
    bare = Index("uint8", (images,), PIXELS, ROWS, ())
    shards = tuple(shard_of(bare, number, "images") for number in range(bare.shards_a_view))
    index = Index("uint8", (images,), PIXELS, ROWS, shards)
    pictures = CleanImages(ShardedArray(Path("images.shards"), index, kept.shards.store, 1))

    def extract(engine: RayEngine) -> None:
        files = Path("features"), Path("cut")
        with engine.start(NothingTask()) as workers:
            extract_features(workers, pictures, (images,), files, 20, Path("checkpoint"), "x", kept)

    return extract


if __name__ == "__main__":
    main()
