"""Features of images in shards, by a network that is a few sums, on a cluster or on this machine:
`shard_sums.main(ADDRESS, FOLDER, SECONDS)`; an empty address is this machine.

Reads FOLDER/images.shards and its shards in FOLDER/store, or at the URL that SHARDS_URL names, and
writes features.shards and cut.shards there; prints what the stage prints, or the error. A picture
takes SECONDS.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from transfer.cluster.ray_engine import RayEngine
from transfer.engines.local import LocalEngine
from transfer.features.extraction import CleanImages, extract_features, unchanged
from transfer.features.frozen_network import FrozenPass
from transfer.features.shard_pass import ShardPass
from transfer.runtime.errors import PipelineError
from transfer.runtime.resource_params import ResourceParams
from transfer.storage.array_writer import create_array
from transfer.storage.arrays import read_array
from transfer.storage.object_store import ObjectStore
from transfer.storage.params import ArrayFormat, Shards

ROWS = 5


class Sums:
    """The frozen network's interface over a few sums."""

    image_shape, cut_shape, features_shape = (4, 4, 3), (2, 2, 3), (1, 1, 3)
    batch_size, uses_all_cores, identity = 2, False, b"sums"

    def __init__(self, seconds: float):
        self._seconds = seconds

    def __call__(self, images):
        time.sleep(self._seconds * len(images))
        pixels = np.stack(images).astype(np.float32)
        halves = pixels.reshape(-1, 2, 2, 2, 2, 3).sum(axis=(2, 4))
        return halves, halves.sum(axis=(1, 2), keepdims=True)


class SumsTask:
    files = ()
    needs_gpu = False
    unused_packages = ()
    overlaps = True

    def __init__(self, store: ObjectStore, seconds: float):
        self._store, self._seconds = store, seconds

    def start(self) -> ShardPass:
        return ShardPass(FrozenPass(Sums(self._seconds), "float32", unchanged), self._store, 1)


def kept_in(folder: Path) -> ArrayFormat:
    url = os.environ.get("SHARDS_URL") or str(folder / "store")
    return ArrayFormat("shards", ROWS, Shards(url))


def write_images(folder: Path, number: int) -> None:
    """Made-up images in FOLDER, as `decode` leaves them."""
    (folder / "store").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (number, 4, 4, 3), dtype=np.uint8)
    with create_array(
        folder / "images", (number,), (4, 4, 3), "uint8", "x", kept_in(folder)
    ) as rows:
        for row, content in enumerate(pixels):
            rows[row] = content


def main(address: str, folder: str, seconds: str) -> None:
    os.chdir(folder)
    here = Path(folder)
    kept = kept_in(here)
    images = read_array(here / "images", kept.shards)
    params = ResourceParams(engine="ray" if address else "local", address=address or None)
    engine = RayEngine(params, ["numpy"]) if address else LocalEngine()
    try:
        with engine.start(SumsTask(kept.shards.store, float(seconds))) as workers:
            extract_features(
                workers,
                CleanImages(images),
                (len(images),),
                (here / "features", here / "cut"),
                1.0,
                Path(".checkpoints"),
                "x",
                kept,
            )
    except PipelineError as error:
        sys.exit(f"shard_sums: {error}")
