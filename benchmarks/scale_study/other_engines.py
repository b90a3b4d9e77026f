"""VGG16's frozen pass at 64 x 64 on this machine's CPU: ours beside other inference engines.

    make engines
    python -m benchmarks.scale_study.other_engines --rounds 3 --images 240

The second line is for an environment that has requirements/backends.txt.

Every measurement is a process of its own, and the engines take turns, so that a busy minute does
not fall on one of them alone. All get the same random weights and images, in float32 and on all
cores. Prints images a second by engine: best and median of the rounds, and ratios to ours.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from transfer.runtime.cores import available_cores

SIDE, BATCH = 64, 40
# channels and convolutions of VGG16's blocks
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
OURS = "ours"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--images", type=int, default=480, help=f"of each measurement, a multiple of {BATCH}"
    )
    parser.add_argument(
        "--engine", choices=ENGINES, help="measure one, in this process, and print a line of JSON"
    )
    arguments = parser.parse_args()
    if arguments.images <= 0 or arguments.images % BATCH:
        parser.error(f"--images {arguments.images} is no multiple of {BATCH}")
    if arguments.engine:
        print(json.dumps(measure(arguments.engine, arguments.images)))
    else:
        print_table(
            [
                {name: measure_apart(name, arguments.images) for name in ENGINES}
                for _ in range(arguments.rounds)
            ]
        )


def measure(name: str, n: int) -> float:
    """Images a second of a pass over n images, after a batch to warm up."""
    images = np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3)).astype(np.float32)
    run = ENGINES[name](random_weights())
    run(images[:BATCH])
    started = time.perf_counter()
    run(images)
    return n / (time.perf_counter() - started)


def measure_apart(name: str, n: int) -> float:
    words = [
        sys.executable,
        "-m",
        "benchmarks.scale_study.other_engines",
        "--engine",
        name,
        "--images",
        str(n),
    ]
    speed = json.loads(
        subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    )
    print(f"{name}: {speed:.1f} images/s", flush=True)
    return speed


def print_table(rounds: list[dict[str, float]]) -> None:
    speeds = pd.DataFrame(rounds)
    table = pd.DataFrame({"best": speeds.max(), "median": speeds.median()})
    for column in ("best", "median"):
        table[f"{column} / ours"] = (table[column] / table.loc[OURS, column]).round(2)
    table[["best", "median"]] = table[["best", "median"]].round(1)
    print(
        f"\nVGG16 at {SIDE} x {SIDE}, float32, {available_cores()} cores, images/s of "
        f"{len(rounds)} rounds:\n{table.to_string()}"
    )


def convolutions() -> Iterator[tuple[int, int, bool]]:
    """Input channels, output channels, and whether a pooling follows,
    of each convolution in turn."""
    before = 3
    for channels, count in BLOCKS:
        for number in range(count):
            yield before, channels, number == count - 1
            before = channels


def random_weights() -> list[np.ndarray]:
    """A kernel (3, 3, in, out) for each convolution, of a scale that keeps activations as large as
    they are; biases are zero."""
    rng = np.random.default_rng(0)
    shapes = ((3, 3, before, after) for before, after, _ in convolutions())
    return [
        (rng.normal(size=shape) * np.sqrt(2 / (9 * shape[2]))).astype(np.float32)
        for shape in shapes
    ]


def ours(kernels: list[np.ndarray]) -> Callable[[np.ndarray], object]:
    """What the stage `extract` does, without reading and writing: LiteRT, an interpreter per core,
    one image at a time."""
    from benchmarks.throughput import pass_all
    from transfer.backbones.conversion import convert
    from transfer.backbones.litert_network import LiteRTNetwork

    network = LiteRTNetwork(convert(keras_model(kernels)), identity=b"")
    return lambda images: list(pass_all(network, images))


def tensorflow(kernels: list[np.ndarray]) -> Callable[[np.ndarray], object]:
    """Keras on TensorFlow with oneDNN: a thread per core, each with batches of 12, the fastest of
    those tried."""
    from transfer.runtime.cores import map_in_order

    frozen = keras_model(kernels)
    # traced once, before threads share it
    frozen.predict_on_batch(np.zeros((12, SIDE, SIDE, 3), np.float32))
    return lambda images: list(
        map_in_order(
            frozen.predict_on_batch,
            (images[start : start + 12] for start in range(0, len(images), 12)),
        )
    )


def keras_model(kernels: list[np.ndarray]):
    """The frozen network of the stages, with these weights, on one thread."""
    from transfer.backbones.network import build_backbone, with_preprocessing
    from transfer.backbones.registry import BackboneParams
    from transfer.compute.device import ComputeParams, configure_backend

    configure_backend(ComputeParams(threads=1, device="cpu", precision="float32"), seed=0)
    backbone = build_backbone("VGG16", SIDE)
    backbone.set_weights(
        [part for kernel in kernels for part in (kernel, np.zeros(kernel.shape[3], np.float32))]
    )
    params = BackboneParams(
        name="VGG16", image_size=SIDE, preprocessing="imagenet", unfreeze_from="block5_conv1"
    )
    return with_preprocessing(backbone, params)


def onnx_graph(kernels: list[np.ndarray]) -> bytes:
    """The same layers as ONNX, serialized: x (n, SIDE, SIDE, 3) -> the activations at the cut and
    the features."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, tensor, pooled = (
        [helper.make_node("Transpose", ["x"], ["x_first"], perm=[0, 3, 1, 2])],
        [],
        "x_first",
        [],
    )
    for number, (kernel, (_, _, last)) in enumerate(zip(kernels, convolutions(), strict=True)):
        weights.append(
            numpy_helper.from_array(
                np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), f"kernel{number}"
            )
        )
        nodes.append(
            helper.make_node(
                "Conv",
                [tensor, f"kernel{number}"],
                [f"conv{number}"],
                pads=[1] * 4,
                kernel_shape=[3, 3],
            )
        )
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [f"relu{number}"]))
        tensor = f"relu{number}"
        if last:
            nodes.append(
                helper.make_node(
                    "MaxPool", [tensor], [f"pool{number}"], kernel_shape=[2, 2], strides=[2, 2]
                )
            )
            tensor = f"pool{number}"
            pooled.append(tensor)
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", SIDE, SIDE, 3])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in pooled[-2:]]
    graph = helper.make_graph(nodes, "vgg16", [images], outputs, weights)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


def in_batches(call: Callable[[np.ndarray], object]) -> Callable[[np.ndarray], object]:
    return lambda images: [
        call(images[start : start + BATCH]) for start in range(0, len(images), BATCH)
    ]


def onnx_runtime(kernels: list[np.ndarray]) -> Callable[[np.ndarray], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    session = onnxruntime.InferenceSession(
        onnx_graph(kernels), options, providers=["CPUExecutionProvider"]
    )
    return in_batches(lambda batch: session.run(None, {"x": batch}))


def openvino(hint: str) -> Callable[[list[np.ndarray]], Callable[[np.ndarray], object]]:
    def prepare(kernels: list[np.ndarray]) -> Callable[[np.ndarray], object]:
        import openvino

        core = openvino.Core()
        network = core.read_model(onnx_graph(kernels))
        network.reshape([BATCH, SIDE, SIDE, 3])
        compiled = core.compile_model(
            network, "CPU", {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": "f32"}
        )
        if hint == "LATENCY":
            request = compiled.create_infer_request()
            return in_batches(lambda batch: request.infer([batch]))
        queue = openvino.AsyncInferQueue(compiled)

        def run(images: np.ndarray) -> None:
            in_batches(lambda batch: queue.start_async([batch]))(images)
            queue.wait_all()

        return run

    return prepare


def pytorch(kernels: list[np.ndarray]) -> Callable[[np.ndarray], object]:
    import torch

    torch.set_num_threads(available_cores())
    layers = []
    for kernel, (before, after, last) in zip(kernels, convolutions(), strict=True):
        convolution = torch.nn.Conv2d(before, after, 3, padding=1)
        convolution.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1))
        layers += [convolution, torch.nn.ReLU()] + [torch.nn.MaxPool2d(2)] * last
    network = torch.nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)
    return in_batches(
        torch.inference_mode()(
            lambda batch: network(torch.from_numpy(batch).permute(0, 3, 1, 2)).numpy()
        )
    )


ENGINES = {
    OURS: ours,
    "TensorFlow, oneDNN": tensorflow,
    "ONNX Runtime": onnx_runtime,
    "OpenVINO, latency": openvino("LATENCY"),
    "OpenVINO, throughput": openvino("THROUGHPUT"),
    "PyTorch, channels_last": pytorch,
}

if __name__ == "__main__":
    main()
