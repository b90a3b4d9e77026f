"""One number of the pipeline's own, measured in this process: `make bench` starts it for each.

    python -m benchmarks.pipeline_parts frozen_pass --output numbers.json

The counterparts of benchmarks/plain_keras.py, as the stages compute: with the parameters of
params.yaml, the networks of data/frozen and data/weights, and made-up pixels and features.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from transfer.runtime.params import load_params


def main() -> None:
    """Measure one thing and write it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("frozen_pass", "head_step", "matrix_product", "sees_gpu"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="cpu")
    arguments = parser.parse_args()
    value = {
        "frozen_pass": lambda: frozen_pass(arguments.images, arguments.device),
        "head_step": lambda: head_step(arguments.steps),
        "matrix_product": matrix_product,
        "sees_gpu": sees_gpu,
    }[arguments.kind]()
    arguments.output.write_text(json.dumps({"value": value}))


def frozen_pass(n: int, device: str) -> float:
    """Images per second of the frozen network as `extract` runs it, on pixels in memory; on a GPU
    by Keras's backend, on a CPU by LiteRT where the network was converted."""
    from transfer.backbones.registry import BackboneParams
    from transfer.compute.params import ComputeParams
    from transfer.features.frozen_network import ExtractParams, choose_runtime, load_network
    from transfer.runtime.cores import map_in_order

    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute").model_copy(update={"device": device})
    runtime = choose_runtime(architecture, compute)
    if runtime == "keras":
        from transfer.compute.device import configure_backend

        configure_backend(compute, seed=0)
    network = load_network(runtime, architecture, load_params(ExtractParams, "extract").batch_size)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, *network.image_shape), dtype=np.uint8)
    size = network.batch_size
    batches = [images[start : start + size] for start in range(0, n, size)]
    network(batches[0])
    run = map if network.uses_all_cores else map_in_order
    started = time.perf_counter()
    for _ in run(network, batches):
        pass
    return n / (time.perf_counter() - started)


def head_step(steps: int) -> float:
    """Milliseconds of a step of `train_head` on features (2, 2, 512), from the difference of a
    training of one epoch and one of eleven, which leaves out what is done once.

    Args:
        steps: of ten epochs together.
    """
    from stages.train_head import TrainHeadParams
    from transfer.classifiers.head import build_head
    from transfer.compute.device import configure_backend
    from transfer.compute.params import ComputeParams
    from transfer.dataset.examples import Examples
    from transfer.training.loop import compile_classifier, fit

    params = load_params(TrainHeadParams, "train_head")
    compute = load_params(ComputeParams, "compute")
    configure_backend(compute, params.seed, compute.threads)
    rng = np.random.default_rng(0)
    epoch = steps // 10 * params.batch_size
    features = rng.random((epoch, 2, 2, 512), dtype=np.float32)
    labels = rng.integers(0, 2, len(features))
    few = Examples(features[:10], labels[:10])
    head = build_head(features.shape[1:], params.units, params.dropout, params.normalize, 2)
    seconds = []
    for epochs in (1, 1, 11):  # the first also loads what is loaded once
        compile_classifier(head, params)
        started = time.perf_counter()
        fit(head, lambda _: features, labels, few, params.model_copy(update={"epochs": epochs}))
        seconds.append(time.perf_counter() - started)
    return 1000 * (seconds[2] - seconds[1]) / (10 * (steps // 10))


def sees_gpu() -> bool:
    """Whether Keras's backend sees a GPU."""
    from transfer.compute.device import has_accelerator

    return has_accelerator()


def matrix_product(size: int = 2048) -> float:
    """GFLOP/s of the best of five products of float32 matrices on all cores, under the limits that
    the pipeline sets."""
    matrix = np.random.default_rng(0).random((size, size), dtype=np.float32)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds) / 1e9


if __name__ == "__main__":
    main()
