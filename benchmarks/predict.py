"""Seconds of `predict` beside those of extraction, on the same images and both from files.

    python -m benchmarks.predict --images 2000 --repeats 5

The source's images, copied until there are as many, in a folder. Extraction is what the stages
`decode` and `extract` do with them: decoding into an array, the frozen pass, features and rows
written, with no row known. `bare` is decoding and the frozen pass alone, and nothing kept. Each
round runs all of them in one process, one after the other, since the speed of a shared machine
changes; loading is not counted. Seconds are those of the clock and those that the cores worked,
which others on the machine change less.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.first_row import copy_images
from benchmarks.throughput import pass_all
from transfer.backbones.registry import BackboneParams
from transfer.compute.device import ComputeParams, configure_backend
from transfer.decoding.rgb import DecodeParams, read_rgb, resize
from transfer.engines.local import LocalWorkerPool
from transfer.features.extraction import CleanImages, extract_features, unchanged
from transfer.features.frozen_network import (
    ExtractParams,
    FrozenNetwork,
    FrozenPass,
    choose_runtime,
    load_network,
)
from transfer.inference.columns import PredictionColumns
from transfer.inference.input_paths import read_given
from transfer.inference.output_formats import csv_writer
from transfer.inference.predictor import Predictor, load_predictor
from transfer.runtime.cores import map_in_order
from transfer.runtime.params import load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.sources.reader import read_source
from transfer.storage.array_writer import create_array
from transfer.storage.arrays import read_array
from transfer.storage.params import ArrayFormat


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=["head", "finetuned"])
    arguments = parser.parse_args()
    architecture = load_params(BackboneParams, "backbone")
    interpolation = load_params(DecodeParams, "decode").interpolation
    configure_backend(load_params(ComputeParams, "compute"), seed=0)
    runtime = choose_runtime(architecture, load_params(ComputeParams, "compute"))
    network = load_network(runtime, architecture, load_params(ExtractParams, "extract").batch_size)
    predictors = {name: load_predictor(name, with_novelty=True) for name in arguments.models}
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        images = copy_images(Path(folder) / "images", arguments.images).parent
        rounds = [
            time_round(network, predictors, images, interpolation) for _ in range(arguments.repeats)
        ]
    for place, clock in enumerate(("the clock", "the cores")):
        show(
            clock,
            pd.DataFrame(
                [{way: seconds[place] for way, seconds in each.items()} for each in rounds]
            ),
            arguments.images,
        )


def time_round(
    network: FrozenNetwork, predictors: dict[str, Predictor], images: Path, interpolation: str
) -> dict[str, tuple[float, float]]:
    """Seconds of each way, one after the other."""
    seconds = {
        "extraction": timed(lambda folder: extract(network, images, interpolation, folder)),
        "bare": timed(
            lambda folder: pass_only(network, decode(network, images, interpolation, folder))
        ),
    }
    return seconds | {
        f"predict {name}": timed(lambda folder, each=each: predict(each, images, folder))
        for name, each in predictors.items()
    }


def timed(run: Callable[[Path], object]) -> tuple[float, float]:
    """Seconds by the clock, and by the cores: of all threads of this process."""
    with tempfile.TemporaryDirectory() as folder:
        started, worked = time.perf_counter(), time.process_time()
        run(Path(folder))
        return time.perf_counter() - started, time.process_time() - worked


def decode(network: FrozenNetwork, images: Path, interpolation: str, folder: Path) -> np.ndarray:
    size = network.image_shape[0]
    leading = (len(list(images.iterdir())),)
    with create_array(
        folder / "images", leading, (size, size, 3), "uint8", "--images", ArrayFormat()
    ) as rows:
        decoded = map_in_order(
            lambda entry: resize(read_rgb(entry.content), size, interpolation), read_source(images)
        )
        for row, pixels in enumerate(decoded):
            rows[row] = pixels
    return read_array(folder / "images", ndim=4)


def extract(network: FrozenNetwork, images: Path, interpolation: str, folder: Path) -> None:
    pictures = CleanImages(decode(network, images, interpolation, folder))
    os.environ["DVC_ROOT"] = str(folder)  # where the rows are kept
    files = folder / "features", folder / "cut"
    params, resources = (
        load_params(ExtractParams, "extract"),
        load_params(ResourceParams, "resources"),
    )
    workers = LocalWorkerPool(FrozenPass(network, params.dtype, unchanged))
    extract_features(
        workers,
        pictures,
        (len(pictures),),
        files,
        resources.cache_gigabytes,
        folder / "checkpoint",
        "--images",
        ArrayFormat(),
    )


def pass_only(network: FrozenNetwork, images: np.ndarray) -> None:
    for _ in pass_all(network, images):
        pass


def predict(predictor: Predictor, images: Path, folder: Path) -> None:
    with (folder / "labels.csv").open("w", newline="") as file:
        write = csv_writer(file, PredictionColumns(predictor.class_names, 1))
        for row in predictor.stream(read_given([str(images)])):
            write(row)


def show(clock: str, rounds: pd.DataFrame, n: int) -> None:
    """Seconds a round, and how many times extraction's they are: the median of the rounds' ratios,
    and all of these."""
    print(f"\nSeconds of {clock}, {n:,} images")
    print(rounds.round(1).to_string())
    for way in rounds.columns.drop(["extraction", "bare"]):
        for beside in ("extraction", "bare"):
            ratios = rounds[way] / rounds[beside]
            print(
                f"{way} / {beside}: {ratios.median():.3f} "
                f"({', '.join(f'{each:.3f}' for each in ratios)})"
            )


if __name__ == "__main__":
    main()
