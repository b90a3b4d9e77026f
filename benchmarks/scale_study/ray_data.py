"""Ray Data beside our actors: the same batches through the same network on the same two nodes.

`python -m benchmarks.scale_study.ray_data`, in the tests' environment. The two take turns. Prints
images a second, from the moment when the first batch begins on a worker until all rows are here.
docs/cluster.md has what came out.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import ray

from benchmarks.scale_study.driver import EXTRACT, VGG16
from benchmarks.scale_study.two_nodes import ROOT, run, write_network
from tests.helpers.local_cluster import cluster
from transfer.cluster import worker
from transfer.cluster.node_setup import pack_package
from transfer.compute.params import ComputeParams
from transfer.features.extraction import unchanged
from transfer.features.frozen_network import FrozenTask

BATCH, BLOCK = 12, 48


class Mapper:
    """What Ray Data calls with batches: our worker."""

    def __init__(self, package: bytes, files: dict[str, bytes], work: FrozenTask):
        self._worker = worker.Worker()
        self._worker.unpack(package, files, {})
        self._worker.hello(None, work)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        began = np.full(len(batch["data"]), time.monotonic())
        _, rows = self._worker.call(list(batch["data"]))
        return {"began": began} | {
            name: np.ascontiguousarray(rows[name]) for name in ("cut", "features")
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_study.ray_data", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with TemporaryDirectory() as temporary, cluster(path=str(ROOT)) as nodes:
        folder = Path(temporary)
        write_network(folder)
        nodes.add()
        nodes.add()
        rates = []
        for _ in range(arguments.rounds):
            rates.append(
                (
                    run(folder, nodes, arguments.images)["images/s"],
                    run_ray_data(folder, nodes.address, arguments.images),
                )
            )
            print("images/s, actors and Ray Data: {:.1f} and {:.1f}".format(*rates[-1]), flush=True)
    ratios = [theirs / ours for ours, theirs in rates]
    print(
        f"Ray Data / actors: {np.median(ratios):.2f} "
        f"({', '.join(f'{ratio:.2f}' for ratio in ratios)})"
    )


def run_ray_data(folder: Path, address: str, images: int) -> float:
    """In a process of its own."""
    words = [
        sys.executable,
        "-c",
        "import sys; from benchmarks.scale_study.ray_data import drive; drive(*sys.argv[1:])",
        address,
        str(images),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    finished = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        sys.exit(finished.stderr[-2000:])
    return next(
        json.loads(line)["images/s"]
        for line in finished.stdout.splitlines()
        if line.startswith("{")
    )


def drive(address: str, number: str) -> None:
    ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")
    ray.data.DataContext.get_current().enable_progress_bars = False
    images = int(number)
    pixels = np.random.default_rng(0).integers(0, 256, (images, 64, 64, 3), dtype=np.uint8)
    work = FrozenTask(
        VGG16,
        EXTRACT,
        ComputeParams(threads=1, device="cpu", precision="float32"),
        unchanged,
        "litert",
    )
    sent = pack_package(), {file.as_posix(): file.read_bytes() for file in work.files}, work
    data = ray.data.from_numpy([pixels[start : start + BLOCK] for start in range(0, images, BLOCK)])
    mapped = data.map_batches(
        Mapper, batch_size=BATCH, concurrency=2, num_cpus=1, fn_constructor_args=sent
    )
    began = np.concatenate([batch["began"] for batch in mapped.iter_batches(batch_size=None)])
    print(json.dumps({"images/s": len(began) / (time.monotonic() - began.min())}))


if __name__ == "__main__":
    main()
