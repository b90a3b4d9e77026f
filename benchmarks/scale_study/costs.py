"""The tables of docs/scale.md that are arithmetic: what one image costs, and what a billion cost.

    python -m benchmarks.scale_study.costs
    python -m benchmarks.scale_study.costs --tflops 100 --gigabytes 5 --core-gflops 60

Operations and bytes are counted from Keras's layers; how fast a GPU, a core or a disk is, is
assumed: what the arguments say. A training step costs three forward passes, less what the first
layer would need to pass a gradient on. Counted are convolutions and dense layers.
"""

import argparse
from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd

from transfer.backbones.network import build_backbone, trainable_tail
from transfer.classifiers.head import build_head
from transfer.compute.keras import keras

NUMBERS = (10**6, 10**8, 10**9)
UNFREEZE_FROM = "block5_conv1"
UNITS, VIEWS, EPOCHS = 132, 10, 10  # of train_augmented and finetune in params.yaml
TRAIN = 0.8  # share of the images
BATCH = 12  # images that a CPU takes at once
SHARD_ROWS = {64: 1024, 224: 128}  # docs/storage.md: tens of megabytes a shard
CSV, PARQUET, HASHES = 121, 39, 47  # bytes a row, whose path has 29 characters
INDEX, HELD = 48, 24  # bytes an entry of .rows, on disk and in memory
SHARD_LINE = 113  # bytes of a shard's line in an index
LISTED = 1000  # keys that a list request gives
EXAMINE_MS, DECODE_MS = 4.0, 2.9  # an image of 100 kB on a core, in split and in decode
DRIVER_MS = 10.0  # a batch on the driver at 64 pixels; assumed to grow with the bytes
SHARD_DRIVER_US = 1.0  # a row on the driver where workers make the shards, as docs/scale.md has it


@dataclass(frozen=True)
class Image:
    """What one costs: floating-point operations, and bytes of float32 arrays (pixels: uint8)."""

    side: int
    frozen: float
    tail: float
    finetune_step: float
    head_step: float
    pixels: int
    cut: int
    features: int
    parameters: int


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_study.costs", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--tflops", type=float, default=10, help="that a GPU sustains")
    parser.add_argument(
        "--gigabytes", type=float, default=1, help="a second that are read while training"
    )
    parser.add_argument("--core-gflops", type=float, default=126, help="that a CPU core sustains")
    parser.add_argument(
        "--source-kilobytes", type=float, default=100, help="of an image as it lies in the bucket"
    )
    arguments = parser.parse_args()
    images = [count_image(side) for side in (64, 224)]
    print(f"An image through VGG16, cut at {UNFREEZE_FROM}\n{image_table(images).to_string()}\n")
    for image in images:
        title = (
            f"{image.side} px, hours at {arguments.tflops:g} TFLOP/s and {arguments.gigabytes:g} "
            f"GB/s; {EPOCHS} epochs, {VIEWS} views"
        )
        print(f"{title}\n{hours_table(image, arguments.tflops, arguments.gigabytes).to_string()}\n")
    for image in images:
        table = totals_table(
            image, arguments.core_gflops, arguments.tflops, arguments.source_kilobytes
        )
        print(f"{image.side} px, all of it\n{table.to_string()}\n")


def count_image(side: int) -> Image:
    backbone = build_backbone("VGG16", side)
    tail = trainable_tail(backbone, UNFREEZE_FROM)
    head = build_head(tail.output_shape[1:], units=UNITS, dropout=0, normalize=True, n_classes=2)
    whole, behind, on_top = (count_flops(model) for model in (backbone, tail, head))
    return Image(
        side=side,
        frozen=sum(whole) - sum(behind),
        tail=sum(behind),
        finetune_step=training_flops([*behind, *on_top]),
        head_step=training_flops(on_top),
        pixels=side * side * 3,
        cut=4 * int(np.prod(tail.input_shape[1:])),
        features=4 * int(np.prod(tail.output_shape[1:])),
        parameters=tail.count_params() + head.count_params(),
    )


def count_flops(model: keras.Model) -> list[float]:
    """Multiplications and additions of each layer that has any to speak of, an image."""
    weighed = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
    ]
    return [
        float(2 * np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:-1]))
        for layer in weighed
    ]


def training_flops(forward: list[float]) -> float:
    """Forward, gradient of the kernels and of the inputs;
    nobody needs the last of the first layer."""
    return 3 * sum(forward) - forward[0]


def image_table(images: list[Image]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            f"{image.side} px": {
                "GFLOP, frozen layers to the cut": f"{image.frozen / 1e9:.2f}",
                "GFLOP, from the cut to the features": f"{image.tail / 1e9:.2f}",
                "GFLOP, a pass of extract or augment": f"{(image.frozen + image.tail) / 1e9:.2f}",
                "GFLOP, a step of finetune": f"{image.finetune_step / 1e9:.2f}",
                "GFLOP, a step of train_augmented": f"{image.head_step / 1e9:.4f}",
                "bytes, pixels": f"{image.pixels:,}",
                "bytes, activations at the cut": f"{image.cut:,}",
                "bytes, features": f"{image.features:,}",
                "parameters that finetune changes": f"{image.parameters:,}",
            }
            for image in images
        },
        dtype=object,
    )


def hours_table(image: Image, tflops: float, gigabytes: float) -> pd.DataFrame:
    """Hours on one GPU by number of images: of computing and of reading."""

    def hours(flops: float, size: float) -> list[str]:
        return [
            f"{n * flops / tflops / 3.6e15:,.1f} / {n * size / gigabytes / 3.6e12:,.1f}"
            for n in NUMBERS
        ]

    whole, seen = image.frozen + image.tail, TRAIN * EPOCHS
    rows = {
        "extract": hours(whole, image.pixels),
        "augment": hours(TRAIN * VIEWS * whole, TRAIN * VIEWS * image.pixels),
        "train_augmented": hours(seen * image.head_step, seen * image.features),
        "finetune": hours(seen * image.finetune_step, seen * image.cut),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=[f"{n:,}" for n in NUMBERS])


def totals_table(
    image: Image, core_gflops: float, tflops: float, source_kilobytes: float
) -> pd.DataFrame:
    """What n images take, by stage and kind."""
    views = 1 + TRAIN * VIEWS
    passes = (image.frozen + image.tail) * views
    row = image.cut + image.features
    # of pixels, cut, features, and both of each view
    shards = (3 + 2 * TRAIN * VIEWS) / SHARD_ROWS[image.side]
    driver_ms = DRIVER_MS * (image.pixels + row) / (12_288 + 40_960)
    return pd.DataFrame(
        {
            f"{n:,}": {
                "source, GB": n * source_kilobytes / 1e6,
                "pixels, GB": n * image.pixels / 1e9,
                "features and activations, GB": n * row / 1e9,
                "the same of the views, GB": TRAIN * VIEWS * n * row / 1e9,
                ".rows of all passes, GB": views * n * (row + INDEX) / 1e9,
                ".rows, entries in memory, GB": views * n * HELD / 1e9,
                "manifest, CSV, GB": n * CSV / 1e9,
                "manifest, Parquet, GB": n * PARQUET / 1e9,
                "hashes.csv, GB": n * HASHES / 1e9,
                "shards": ceil(n * shards),
                "lines of their indexes, GB": n * shards * SHARD_LINE / 1e9,
                "list requests, a walk": ceil(n / LISTED),
                "get requests of split, decode and audit": round(n * (2 + 0.9)),
                "put requests of shards": ceil(n * shards),
                "get requests of shards, 10 epochs of both trainings": ceil(
                    2 * EPOCHS * TRAIN * n / SHARD_ROWS[image.side]
                ),
                "split, core-hours": n * EXAMINE_MS / 3.6e6,
                "decode, core-hours": n * DECODE_MS / 3.6e6,
                "extract and augment, core-hours": n * passes / core_gflops / 3.6e12,
                "extract and augment, GPU-hours": n * passes / tflops / 3.6e15,
                "extract and augment, hours of the driver": n * views / BATCH * driver_ms / 3.6e6,
                "the same in shards": n * views * SHARD_DRIVER_US / 3.6e9,
            }
            for n in NUMBERS
        }
    ).map(lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}")


if __name__ == "__main__":
    main()
