"""Images a second of extraction and fine-tuning on the device there is, beside what its matrix
units could do.

    python -m benchmarks.throughput --batch 64 256 --images 2048
    KERAS_BACKEND=jax python -m benchmarks.throughput

VGG16 with random weights on random 64 x 64 images, in each precision; the optimizer is that of
`finetune` in params.yaml. Policy and set-up are a process's own, so each row is measured in a
process of its own. `ceiling` is the best rate of a large matrix product in that precision, `share`
what extraction reaches of it; `difference` is the largest distance of the features from those of a
float32 CPU, divided by the largest of these.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from stages.finetune import FinetuneParams
from transfer.backbones.keras_network import start_on_backend
from transfer.backbones.network import build_backbone, trainable_tail, with_preprocessing
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.head import build_head
from transfer.compute.device import ComputeParams, configure_backend, has_accelerator
from transfer.compute.keras import keras
from transfer.features.frozen_network import FrozenNetwork
from transfer.runtime.cores import map_in_order
from transfer.runtime.params import load_params
from transfer.training.loop import compile_classifier

VGG16 = BackboneParams(
    name="VGG16", image_size=64, preprocessing="imagenet", unfreeze_from="block5_conv1"
)
PRECISIONS = ("float32", "bfloat16", "float16")
COMPARED = 64  # images whose features are compared with the CPU's
MATRIX = {True: 8192, False: 2048}  # rows of the product, by whether there is an accelerator
REPEATS = 5


def pass_all(network: FrozenNetwork, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Activations at the cut and features of each batch, in order, of images (N, H, W, 3)."""
    batches = (
        images[start : start + network.batch_size]
        for start in range(0, len(images), network.batch_size)
    )
    return (map if network.uses_all_cores else map_in_order)(network, batches)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument(
        "--measure",
        choices=(*PRECISIONS, "reference"),
        help="in this process, and print a line of JSON",
    )
    parser.add_argument(
        "--folder", type=Path, help="holds the weights and the CPU's features, for --measure"
    )
    arguments = parser.parse_args()
    if arguments.measure == "reference":
        print(json.dumps(write_reference(arguments.folder)))
    elif arguments.measure:
        print(
            json.dumps(
                measure(arguments.measure, arguments.batch[0], arguments.images, arguments.folder)
            )
        )
    else:
        with tempfile.TemporaryDirectory() as folder:
            print_table(measure_all(arguments.batch, arguments.images, Path(folder)))


def measure_all(batches: list[int], images: int, folder: Path) -> list[dict]:
    measure_apart("reference", batches[0], images, folder)
    return [
        measure_apart(precision, batch, images, folder)
        for precision in PRECISIONS
        for batch in batches
    ]


def measure_apart(what: str, batch: int, images: int, folder: Path) -> dict:
    words = [
        "--measure",
        what,
        "--batch",
        str(batch),
        "--images",
        str(images),
        "--folder",
        str(folder),
    ]
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.throughput", *words],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(finished.stdout.splitlines()[-1])


def print_table(rows: list[dict]) -> None:
    table = pd.DataFrame(rows)
    print(table.pop("device")[0])
    table["difference"] = table["difference"].map("{:.1e}".format)
    table["share"] = table["share"].map("{:.0%}".format)
    print(table.round(2).to_string(index=False))


def some_images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(
        0, 256, (n, VGG16.image_size, VGG16.image_size, 3), dtype=np.uint8
    )


def write_reference(folder: Path) -> dict:
    """Weights that every measurement shares, and what a CPU makes of the images in float32."""
    configure_backend(ComputeParams(threads=1, device="cpu", precision="float32"), seed=0)
    backbone = build_backbone("VGG16", VGG16.image_size)
    backbone.save_weights(folder / "backbone.weights.h5")
    np.save(
        folder / "features.npy",
        features_of(start_on_backend(with_preprocessing(backbone, VGG16), COMPARED)),
    )
    return {}


def features_of(network: FrozenNetwork) -> np.ndarray:
    """Features of the images that are compared, float32 (COMPARED, h, w, C)."""
    return np.concatenate(
        [features.astype(np.float32) for _, features in pass_all(network, some_images(COMPARED))]
    )


def measure(precision: str, batch: int, images: int, folder: Path) -> dict:
    """One row of the table."""
    configure_backend(
        ComputeParams(threads=2, device="auto", precision=precision), seed=0, threads=2
    )
    backbone = build_backbone("VGG16", VGG16.image_size)
    backbone.load_weights(folder / "backbone.weights.h5")
    network = start_on_backend(with_preprocessing(backbone, VGG16), batch)
    reference = np.load(folder / "features.npy", allow_pickle=False)
    difference = float(np.abs(features_of(network) - reference).max() / reference.max())
    extraction = extraction_speed(network, images)
    ceiling = matrix_ceiling(precision)
    return {
        "device": device_name(),
        "precision": precision,
        "batch": batch,
        "extract images/s": extraction,
        "finetune images/s": finetuning_speed(backbone, batch, images),
        "TFLOP/s": extraction * flops_an_image(backbone) / 1e12,
        "ceiling": ceiling,
        "share": extraction * flops_an_image(backbone) / 1e12 / ceiling,
        "difference": difference,
    }


def extraction_speed(network: FrozenNetwork, n: int) -> float:
    """Images a second through the frozen pass, drawn from memory."""
    images = some_images(n)
    started = time.perf_counter()
    for _ in pass_all(network, images):
        pass
    return n / (time.perf_counter() - started)


def finetuning_speed(backbone: keras.Model, batch: int, n: int) -> float:
    """Images a second of training steps of block5 and a head,
    from random activations at the cut."""
    tail = trainable_tail(backbone, VGG16.unfreeze_from)
    head = build_head(tail.output_shape[1:], units=132, dropout=0, normalize=True, n_classes=2)
    model = keras.Model(tail.input, head(tail.output))
    compile_classifier(model, load_params(FinetuneParams, "finetune"))
    rng = np.random.default_rng(0)
    inputs, targets = (
        rng.random((batch, *tail.input_shape[1:]), dtype=np.float32),
        rng.integers(0, 2, (batch, 1)).astype(np.float32),
    )

    def step() -> None:
        model.train_on_batch(
            inputs, targets, sample_weight=np.ones(batch, dtype=np.float32), return_dict=True
        )  # waits for the loss

    step()
    steps = max(1, n // batch)
    return batch / best_seconds(lambda: [step() for _ in range(steps)], repeats=1) * steps


def matrix_ceiling(precision: str) -> float:
    """TFLOP/s of the product of two square matrices, at its best."""
    side = MATRIX[has_accelerator()]
    # so that powers stay small
    matrix = keras.ops.cast(keras.random.normal((side, side), stddev=side**-0.5, seed=0), precision)
    chain = 8  # products that are queued before one number is waited for

    def multiply() -> None:
        product = matrix
        for _ in range(chain):
            product = keras.ops.matmul(matrix, product)
        # waits; NumPy cannot take a lone bfloat16
        keras.ops.convert_to_numpy(keras.ops.cast(product[0, 0], "float32"))

    multiply()
    return chain * 2 * side**3 / best_seconds(multiply, REPEATS) / 1e12


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def flops_an_image(backbone: keras.Model) -> float:
    """Multiplications and additions of the convolutions, which are all that counts."""
    convolutions = (layer for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D))
    return float(
        sum(
            2 * np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3])
            for layer in convolutions
        )
    )


def device_name() -> str:
    """Device, backend and versions, in a line."""
    backend = keras.config.backend()
    versions = (
        f"Keras {keras.__version__}, {backend} {sys.modules[backend].__version__}, Python "
        f"{platform.python_version()}"
    )
    if has_accelerator():
        return f"{accelerator_name(backend)}: {versions}"
    return f"{platform.processor() or platform.machine()}: {versions}"


def accelerator_name(backend: str) -> str:
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_device_details(
            tf.config.get_visible_devices("GPU")[0]
        ).get("device_name", "GPU")
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    import torch

    return (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else keras.src.backend.torch.core.get_device()
    )


if __name__ == "__main__":
    main()
