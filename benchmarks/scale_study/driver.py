"""The driver of `make scale`, in a process of its own as a stage is, and the work that it sends:
VGG16's frozen layers, timed."""

import json
import sys
import time

import numpy as np

from transfer.backbones.registry import BackboneParams
from transfer.cluster.ray_engine import RayEngine
from transfer.compute.params import ComputeParams
from transfer.engines.base import batches_of
from transfer.features.extraction import unchanged
from transfer.features.frozen_network import ExtractParams, FrozenPass, FrozenTask
from transfer.runtime.pins import in_use
from transfer.runtime.resource_params import ResourceParams

VGG16 = BackboneParams(name="VGG16", image_size=64, preprocessing="imagenet", unfreeze_from=None)
EXTRACT = ExtractParams(batch_size=64, dtype="float32")


class TimedWork(FrozenTask):
    """Gives the seconds that each batch took beside its rows."""

    def start(self) -> "TimedPass":
        return TimedPass(super().start())


class TimedPass:
    uses_all_cores = False

    def __init__(self, frozen_pass: FrozenPass):
        self._pass = frozen_pass
        self.about = frozen_pass.about

    def __call__(self, sent: list) -> list[tuple[float, np.void]]:
        started = time.perf_counter()
        rows = self._pass(sent)
        seconds = time.perf_counter() - started
        return [(seconds, row) for row in rows]


def drive(address: str, number: str) -> None:
    """Send images through the cluster; print what it took, as JSON."""
    compute = ComputeParams(threads=1, device="cpu", precision="float32")
    work = TimedWork(VGG16, EXTRACT, compute, unchanged, "litert")
    images = int(number)
    pixels = np.random.default_rng(0).integers(0, 256, (images, 64, 64, 3), dtype=np.uint8)
    taken, seconds = np.zeros(images, bool), []
    with RayEngine(
        ResourceParams(engine="ray", address=address), in_use(["keras", "numpy", "tensorflow"])
    ).start(work) as workers:
        batches = (
            (chosen, [pixels[row] for row in chosen])
            for chosen in batches_of(range(images), workers.about.size)
        )
        rows = np.empty(images, workers.about.layout)
        print("begins", flush=True)
        started, worked = time.perf_counter(), time.process_time()
        for chosen, results in workers.map(batches):
            for row, (_, content) in zip(chosen, results, strict=True):
                rows[row], taken[row] = content, True
            seconds.append(results[0][0])
        elapsed = time.perf_counter() - started
        own = time.process_time() - worked
    if not taken.all():
        sys.exit("images were lost")
    print(
        json.dumps(
            {
                "seconds": elapsed,
                "images/s": images / elapsed,
                "compute": seconds,
                "driver": own / len(seconds),
            }
        ),
        flush=True,
    )
