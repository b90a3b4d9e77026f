"""Images per second of the whole `extract` on a card, where its time goes, and a plain PyTorch
script beside it.

    KERAS_BACKEND=jax python -m benchmarks.gpu
    KERAS_BACKEND=torch python -m benchmarks.gpu --precision float32 --images 20000
    python -m benchmarks.gpu --images 500 --batch 32    # without a card

VGG16 with random weights on random 64 x 64 images, stored on disk before the clock starts. The
frozen pass is the one for cards also where there is none. Each row of the first table is measured
in a process of its own:

- `extract`: the function that the stage calls, from the images on disk to both arrays and the rows
  in `.rows/`. `bytes` begins with the same digits if two runs wrote the same bytes.
- `plain script`: torchvision's layers in PyTorch, 8-bit images in page-locked memory, channels
  last, two streams, activations and features back in memory, nothing written. If PyTorch is not
  installed, the row is left out.

The second table says where the time of `extract` goes. `seconds` adds up the time of all threads
that do the part, waiting included, so the parts overlap and their sum is more than the whole;
`threads` says how many there are at most. The part that takes `seconds / threads` near the whole is
the one to make faster. The third table has each step of a batch on the card by itself, with a wait
after each.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from transfer.backbones.registry import BackboneParams
from transfer.runtime.checksums import content_key, file_checksum
from transfer.runtime.cores import available_cores

VGG16 = BackboneParams(
    name="VGG16", image_size=64, preprocessing="imagenet", unfreeze_from="block5_conv1"
)
# Filters of VGG16's convolutions, and where it halves the picture; the cut is behind the fourth.
LAYERS = (64, 64, "half", 128, 128, "half", 256, 256, 256, "half", 512, 512, 512, "half")
TAIL = (512, 512, 512, "half")
PLAIN_BATCH = 1024
WRITTEN_AT_ONCE = 1000  # images
# The parts of `extract` that are timed: those of the table, and two that enclose some of these.
READ, WRITE, KEEP = "read images, hash them, look them up", "write arrays", "write .rows/"
FILL, CARD = "fill a batch, wait for a turn on the card", "send, compute and fetch"
ROWS = "turn results into rows"
PASS, BATCH = "pass batches through the card", "all of a batch"
# Least seconds for which the steps of a batch are repeated.
STEP_SECONDS = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--batch", default="auto", help="extract.batch_size")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--runs", type=int, default=2, help="of each, one after the other")
    parser.add_argument(
        "--folder", type=Path, help="for images and arrays: 12 kB and 82 kB per image"
    )
    parser.add_argument("--measure", choices=("extract", "plain"), help="in this process, as JSON")
    arguments = parser.parse_args()
    if arguments.measure:
        measure = {"extract": measure_extract, "plain": measure_plain}[arguments.measure]
        batch = arguments.batch if arguments.batch == "auto" else int(arguments.batch)
        print(json.dumps(measure(arguments.folder, batch, arguments.precision[0])))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        write_images(Path(folder) / "images.npy", arguments.images)
        kinds = ["extract", *(["plain"] if importlib.util.find_spec("torch") else [])]
        show(
            [
                measure_apart(kind, Path(folder), arguments.batch, precision)
                for precision in arguments.precision
                for kind in kinds
                for _ in range(arguments.runs)
            ]
        )


def write_images(path: Path, n: int) -> None:
    """Random images, uint8 (n, 64, 64, 3)."""
    shape = (n, VGG16.image_size, VGG16.image_size, 3)
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    rng = np.random.default_rng(0)
    for start in range(0, n, WRITTEN_AT_ONCE):
        part = images[start : start + WRITTEN_AT_ONCE]
        part[:] = rng.integers(0, 256, part.shape, dtype=np.uint8)
    images.flush()


def measure_apart(kind: str, folder: Path, batch: str, precision: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.gpu", "--measure", kind]
    command += ["--folder", str(folder), "--batch", batch, "--precision", precision]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(finished.stdout.splitlines()[-1])


def show(rows: list[dict]) -> None:
    print(rows[0]["device"])
    whole = ["what", "precision", "batch", "images", "images/s", "seconds", "bytes"]
    print(pd.DataFrame(rows).reindex(columns=whole).round(1).fillna("").to_string(index=False))
    for row in rows:
        for title in ("where the time goes", "by itself"):
            if title in row:
                print(f"\n{row['what']}, {row['precision']}, {title}")
                print(pd.DataFrame(row[title]).round(2).to_string(index=False))


class Clock:
    """Adds up seconds by part, over all threads."""

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[name] += time.perf_counter() - started

    def timed(self, name: str, call: Callable) -> Callable:
        """The same function, with its time added to a part."""

        def run(*arguments: Any) -> Any:
            with self.part(name):
                return call(*arguments)

        return run

    def drawn(self, name: str, items: Iterable) -> Iterator:
        """The same items, with the time that making them takes added to a part."""
        iterator = iter(items)
        while True:
            with self.part(name):
                item = next(iterator, self)
            if item is self:
                return
            yield item


def measure_extract(folder: Path, batch: int | str, precision: str) -> dict:
    """A row of the first table, with the two tables about it."""
    from benchmarks.throughput import device_name
    from transfer.backbones.keras_network import KerasNetworkOnCard
    from transfer.backbones.network import build_backbone, with_preprocessing
    from transfer.compute.device import configure_backend
    from transfer.compute.params import ComputeParams
    from transfer.storage.arrays import read_array

    configure_backend(ComputeParams(threads=2, device="auto", precision=precision), seed=0)
    frozen = with_preprocessing(build_backbone("VGG16", VGG16.image_size), VGG16)
    network = KerasNetworkOnCard(frozen, batch)
    images = read_array(folder / "images", ndim=4)
    clock = Clock()
    with tempfile.TemporaryDirectory(dir=folder) as made:
        seconds, content = extract(network, images, Path(made), clock)
    spent = clock.seconds
    spent[FILL] = spent[PASS] - spent[CARD]
    spent[ROWS] = spent[BATCH] - spent[PASS]
    threads = {
        READ: 1,
        FILL: available_cores(),
        CARD: 3,
        ROWS: available_cores(),
        WRITE: 1,
        KEEP: 1,
    }
    return {
        "what": f"extract, {os.environ.get('KERAS_BACKEND', 'tensorflow')}",
        "device": device_name(),
        "precision": precision,
        "batch": network.batch_size,
        "images": len(images),
        "images/s": len(images) / seconds,
        "seconds": seconds,
        "bytes": content.hex()[:12],
        "where the time goes": [
            {"part": part, "seconds": spent[part], "threads": count}
            for part, count in threads.items()
        ],
        "by itself": step_seconds(frozen, images[: network.batch_size], network.batch_size),
    }


def extract(network: Any, images: np.ndarray, folder: Path, clock: Clock) -> tuple[float, bytes]:
    """Run what the stage runs, with its parts timed; seconds, and a key of both arrays."""
    from transfer.features import extraction
    from transfer.features.frozen_network import FrozenPass
    from transfer.storage.array_writer import MemmapWriter
    from transfer.storage.params import ArrayFormat
    from transfer.storage.row_cache import ActivationCache

    frozen_pass = FrozenPass(network, "float32", extraction.unchanged)
    network._card._run = clock.timed(CARD, network._card._run)
    frozen_pass._network = clock.timed(PASS, network)
    workers = TimedPool(clock.timed(BATCH, frozen_pass), frozen_pass.about, clock)
    files = folder / "features", folder / "cut"
    write, keep = MemmapWriter.__setitem__, ActivationCache.put
    with (
        mock.patch.dict(os.environ, DVC_ROOT=str(folder)),
        mock.patch.object(MemmapWriter, "__setitem__", clock.timed(WRITE, write)),
        mock.patch.object(ActivationCache, "put", clock.timed(KEEP, keep)),
    ):
        started = time.perf_counter()
        extraction.extract_features(
            workers,
            extraction.CleanImages(images),
            (len(images),),
            files,
            1e6,
            folder / "checkpoint",
            "--images",
            ArrayFormat(),
        )
        seconds = time.perf_counter() - started
    checksums = [file_checksum(file.with_suffix(".npy")) for file in files]
    return seconds, content_key(*(each.encode() for each in checksums))


class TimedPool:
    """As `LocalWorkerPool`; the time that batches take to come is the first part."""

    def __init__(self, function: Callable, about: Any, clock: Clock):
        from transfer.engines.local import LocalWorkerPool

        function.about, function.uses_all_cores = about, False
        self.about, self._pool, self._clock = about, LocalWorkerPool(function), clock

    def map(self, batches: Iterable) -> Iterator:
        return self._pool.map(self._clock.drawn(READ, batches))


def step_seconds(frozen: Any, images: np.ndarray, size: int) -> list[dict]:
    """Milliseconds of each step of a batch, and images per second if there were only this step."""
    from transfer.compute.card import build_batch_pass

    run = build_batch_pass(frozen)
    batch = np.zeros((size, *images.shape[1:]), np.uint8)
    batch[: len(images)] = images
    run(batch)
    clock, rounds, began = Clock(), 0, time.perf_counter()
    while time.perf_counter() - began < STEP_SECONDS:
        with clock.part("send"):
            pixels = run.send(batch)
            wait_for(pixels)
        with clock.part("compute"):
            outputs = run.compute(pixels)
            wait_for(outputs)
        with clock.part("fetch"):
            run.fetch(outputs)
        rounds += 1
    return [
        {"step": name, "ms per batch": 1e3 * seconds / rounds, "images/s": size * rounds / seconds}
        for name, seconds in clock.seconds.items()
    ]


def wait_for(values: Any) -> None:
    """Wait until the card has computed these values."""
    from transfer.compute.keras import keras

    backend = keras.config.backend()
    if backend == "jax":
        import jax

        jax.block_until_ready(values)
    elif backend == "tensorflow":
        import tensorflow as tf

        tf.test.experimental.sync_devices()
    else:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()


def plain_networks() -> list:
    """VGG16 up to the cut and behind it, in PyTorch, with random weights."""
    import torch

    networks, filters = [], 3
    for layers in (LAYERS, TAIL):
        modules = []
        for layer in layers:
            if layer == "half":
                modules.append(torch.nn.MaxPool2d(2))
            else:
                modules += [torch.nn.Conv2d(filters, layer, 3, padding=1), torch.nn.ReLU(True)]
                filters = layer
        networks.append(torch.nn.Sequential(*modules).eval())
    return networks


def measure_plain(folder: Path, batch: int | str, precision: str) -> dict:
    """What a short script does with the card, from images in memory to rows in memory."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    is_cuda = torch.cuda.is_available()
    device, kind = "cuda" if is_cuda else "cpu", getattr(torch, precision)
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    size = min(PLAIN_BATCH if batch == "auto" else batch, len(images))
    to_cut, to_features = (
        network.to(device, kind, memory_format=torch.channels_last) for network in plain_networks()
    )
    mean = torch.tensor([123.68, 116.779, 103.939], device=device).to(kind)
    batches = [
        torch.from_numpy(np.array(images[start : start + size]))
        for start in range(0, len(images) - size + 1, size)
    ]
    batches = [each.pin_memory() if is_cuda else each for each in batches]
    streams = [torch.cuda.Stream() for _ in range(2)] if is_cuda else [None]

    def run(number: int, pixels: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad(), torch.cuda.stream(streams[number % len(streams)]):
            pixels = pixels.to(device, non_blocking=True).to(kind).sub(mean).permute(0, 3, 1, 2)
            cut = to_cut(pixels)
            found = [output.float() for output in (cut, to_features(cut))]
            back = [torch.empty(each.shape, pin_memory=is_cuda) for each in found]
            for place, each in zip(back, found, strict=True):
                place.copy_(each, non_blocking=True)
            return back

    for warm in range(2):  # chooses algorithms, takes memory
        run(warm, batches[0])
    if is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    waiting = []
    for number, pixels in enumerate(batches):
        waiting.append((run(number, pixels), torch.cuda.Event() if is_cuda else None))
        if is_cuda:
            waiting[-1][1].record(streams[number % len(streams)])
            if len(waiting) > len(streams):
                waiting.pop(0)[1].synchronize()
    if is_cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return {
        "what": "plain script",
        "device": torch.cuda.get_device_name() if is_cuda else "no card",
        "precision": precision,
        "batch": size,
        "images": size * len(batches),
        "images/s": size * len(batches) / seconds,
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
