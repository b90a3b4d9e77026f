"""The frozen network on a CPU, run by LiteRT with XNNPACK: no TensorFlow, one image at a time, the
same bytes on every x86-64 with AVX2."""

import platform
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from transfer.runtime.cores import available_cores, available_memory

OUTPUTS = ("cut", "features")  # of the converted network, by name
# Images that a thread or a worker is given at a time: enough to make the handing over cheap, and no
# byte depends on it.
IMAGES_PER_CALL = 12
# Share of the memory that is free as a stage starts which all interpreters may fill: other stages
# may run beside it.
MEMORY_SHARE = 0.25


class LiteRTNetwork:
    """A call takes pixels (H, W, 3) in 0..255 of some images and gives activations at the cut and
    features, float32 (b, h, w, C).

    XNNPACK adds each output's products in one fixed order whatever the number of threads, and every
    image goes through alone, so a row depends on its image only. Several threads may call at once:
    each takes an interpreter of its own, which are made as they are needed. An interpreter holds a
    packed copy of the weights; where memory bounds their number below that of the cores, each gets
    several threads.
    """

    uses_all_cores = False
    batch_size = IMAGES_PER_CALL

    def __init__(self, content: bytes, identity: bytes):
        """
        Args:
            content: of the LiteRT file.
            identity: bytes that differ for another network.

        Raises:
            ValueError: these bytes are no LiteRT file.
        """
        self._content = content
        interpreters, self._threads = divide_cores(
            available_cores(), 2 * len(content), available_memory()
        )
        self._room = threading.Semaphore(interpreters)
        self._idle: queue.SimpleQueue[_Interpreter] = queue.SimpleQueue()
        first = _Interpreter(content, self._threads)
        self._idle.put(first)
        self.image_shape, (self.cut_shape, self.features_shape) = (
            first.image_shape,
            first.output_shapes,
        )
        self.identity = b"\0".join(
            [b"litert", version("ai-edge-litert").encode(), platform.machine().encode(), identity]
        )

    def __call__(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        cut, features = (
            np.empty((len(images), *shape), np.float32)
            for shape in (self.cut_shape, self.features_shape)
        )
        with self._interpreter() as interpreter:
            for row, image in enumerate(images):
                cut[row], features[row] = interpreter.run(image)
        return cut, features

    @contextmanager
    def _interpreter(self) -> Iterator["_Interpreter"]:
        with self._room:
            try:
                interpreter = self._idle.get_nowait()
            except queue.Empty:
                interpreter = _Interpreter(self._content, self._threads)
            try:
                yield interpreter
            finally:
                self._idle.put(interpreter)


class _Interpreter:
    """LiteRT's interpreter of one network, for one thread at a time."""

    def __init__(self, content: bytes, threads: int):
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        signature = self._interpreter.get_signature_runner()
        (pixels,), outputs = signature.get_input_details().values(), signature.get_output_details()
        self._pixels, self._outputs = pixels["index"], [outputs[name]["index"] for name in OUTPUTS]
        self.image_shape = tuple(int(side) for side in pixels["shape"][1:])
        self.output_shapes = [
            tuple(int(side) for side in outputs[name]["shape"][1:]) for name in OUTPUTS
        ]

    def run(self, image: np.ndarray) -> list[np.ndarray]:
        """Activations at the cut and features (h, w, C) of one image (H, W, 3)."""
        self._interpreter.set_tensor(self._pixels, np.asarray(image, np.float32)[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output)[0] for output in self._outputs]


def divide_cores(cores: int, interpreter_bytes: int, free_bytes: int) -> tuple[int, int]:
    """How many interpreters, and how many threads each: one thread per core in all, within
    MEMORY_SHARE of the free memory.

    Args:
        interpreter_bytes: of one interpreter; twice the file was measured for VGG16
            (docs/performance.md).
    """
    affordable = max(1, min(cores, int(MEMORY_SHARE * free_bytes) // interpreter_bytes))
    threads = -(-cores // affordable)
    return max(1, cores // threads), threads
