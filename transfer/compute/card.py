"""A network on a GPU or TPU: its batches, its memory, and how each backend sends, computes and
fetches.

Batches go to the card as they are (uint8 for pictures) and are widened to float32 there. A call
waits for its own results only, so several threads that call at once keep the card busy: one's
batch is sent, another's is computed, a third's results come back.
"""

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError

# Batches that are on the card at a time: one arrives, one is computed, one leaves.
IN_FLIGHT = 3
# Share of the card's free memory that these batches may fill: its libraries need some too, and
# other programs may start.
MEMORY_SHARE = 0.5
# Images per batch. More gain nothing: an H100 is full with 1,024 pictures of 64 x 64 pixels.
MOST_IMAGES = 1024
# Bytes of the pixels and rows of one batch in the machine's memory, where each core has a batch.
MOST_HOST_BYTES = 2**26
# Images per batch if the backend cannot say how much memory is free.
UNKNOWN_CARD = 64
# Tensors of the largest layer's size that a layer may need: input, output, activation, workspace.
TENSORS = 4
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class BatchPass:
    """How a backend passes a batch through a network on the card. A call does all three steps.
    After a first call, several threads may call at once; one thread does all steps of a batch.

    send: (B, H, W, 3) of uint8 or float32 -> the same as float32 on the card.
    compute: that -> the network's outputs, float32 (B, ...), on the card.
    fetch: these -> the same in the machine's memory; waits for all three.
    """

    send: Callable[[np.ndarray], Any]
    compute: Callable[[Any], list]
    fetch: Callable[[list], list[np.ndarray]]

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        return self.fetch(self.compute(self.send(images)))


def choose_batch_size(free_bytes: int | None, image_bytes: int, row_bytes: int) -> int:
    """Images that a card is given at a time: a power of two, so that the memory that another
    program takes seldom changes it.

    Args:
        free_bytes: free memory of the card; None if it is unknown.
        image_bytes: the card's memory that one image takes.
        row_bytes: the machine's memory that one image's pixels and outputs take.
    """
    if free_bytes is None:
        return UNKNOWN_CARD
    fit = int(free_bytes * MEMORY_SHARE) // (IN_FLIGHT * image_bytes)
    most = max(1, min(MOST_IMAGES, MOST_HOST_BYTES // row_bytes, fit))
    return 2 ** (most.bit_length() - 1)


def image_bytes(network: keras.Model) -> int:
    """About how many bytes of a card's memory one image takes on its way through the network."""
    largest = max(math.prod(tensor.shape[1:]) for tensor in _tensors(network))
    return TENSORS * _FLOAT_BYTES * largest + row_bytes(network)


def row_bytes(network: keras.Model) -> int:
    """Bytes of one image and of all outputs for it, in float32."""
    ends = [*network.inputs, *network.outputs]
    return _FLOAT_BYTES * sum(math.prod(tensor.shape[1:]) for tensor in ends)


def _tensors(network: keras.Model) -> Iterator[keras.KerasTensor]:
    """The outputs of each operation, also of those in models within the network."""
    # Keras's Sequential has layers only
    for operation in getattr(network, "operations", network.layers):
        if isinstance(operation, keras.Model):
            yield from _tensors(operation)
        else:
            yield from keras.tree.flatten(operation.output)


class CardPass:
    """Passes batches of images through a network on the card; several threads may call.

    A batch always has `batch_size` images, zeros where there are fewer, so that all batches are
    computed alike: the same images give the same bytes on the same card. Where the card's memory
    does not hold a batch, it is tried again with no other batch on the card, which changes no byte;
    then the batch size is halved for the rest of the run, with a remark on standard output.

    Attributes:
        batch_size: images that the card is given at a time.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], list[np.ndarray]],
        image_shape: tuple[int, ...],
        batch_size: int,
    ):
        """
        Args:
            run: from `build_batch_pass`, or what does the same.
            image_shape: (H, W, 3).
            batch_size: to begin with. A batch of zeros is passed through at once, so that what the
                card does not hold is known, and the network is compiled, before threads share it.

        Raises:
            PipelineError: the card's memory does not hold a single image.
        """
        self._run, self._image_shape, self.batch_size = run, image_shape, batch_size
        self._width = IN_FLIGHT
        self._slots = threading.Semaphore(IN_FLIGHT)
        self._one_at_a_time = threading.Lock()
        self([np.zeros(image_shape, np.uint8)])

    def __call__(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs for some images (H, W, 3) in 0..255, float32 (b, ...) each.

        Raises:
            PipelineError: the card's memory does not hold a single image.
        """
        parts, done = [], 0
        while done < len(images):
            size = self.batch_size
            chosen = images[done : done + size]
            found = self._pass(self._fill(chosen, size))
            if found is not None:
                parts.append([output[: len(chosen)] for output in found])
                done += len(chosen)
            else:
                self._halve(size)
        return parts[0] if len(parts) == 1 else [*map(np.concatenate, zip(*parts, strict=True))]

    def _fill(self, images: list[np.ndarray], size: int) -> np.ndarray:
        """One array (size, H, W, 3): uint8 if all images are, otherwise float32."""
        kind = np.uint8 if all(image.dtype == np.uint8 for image in images) else np.float32
        batch = np.empty((size, *self._image_shape), kind)
        batch[len(images) :] = 0
        np.stack(images, out=batch[: len(images)], casting="unsafe")
        return batch

    def _pass(self, batch: np.ndarray) -> list[np.ndarray] | None:
        """The outputs, or None where the card's memory does not hold the batch, even alone."""
        with self._slots:
            found = self._attempt(batch)
        if found is not None:
            return found
        with self._one_at_a_time:
            taken = self._width
            for _ in range(taken):
                self._slots.acquire()
            try:
                found = self._attempt(batch)
            finally:
                # a batch that only fits alone is alone from now on; smaller ones are tried together
                self._width = taken if found is None else 1
                self._slots.release(self._width)
        if taken > 1 and found is not None:
            print(
                f"the card's memory holds one batch of {len(batch)} images at a time, not "
                f"{IN_FLIGHT}: the rest of the run is slower; a lower extract.batch_size avoids it",
                flush=True,
            )
        return found

    def _attempt(self, batch: np.ndarray) -> list[np.ndarray] | None:
        # after the `except`, because the error keeps what it refers to in memory
        try:
            return self._run(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        release_memory()
        return None

    def _halve(self, size: int) -> None:
        """Halve the batch size, unless another thread has done so for the same size."""
        with self._one_at_a_time:
            if self.batch_size != size:
                return
            if size == 1:
                raise PipelineError(
                    "the card's memory does not hold one image on its way through the backbone; "
                    "end other programs that use the card, lower backbone.image_size, or set "
                    "compute.device to cpu"
                )
            self.batch_size = size // 2
        print(
            f"the card's memory does not hold a batch of {size} images; from here on a batch has "
            f"{size // 2}. To begin with that, set extract.batch_size to {size // 2}",
            flush=True,
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether this exception of the backend means that the card's memory is full."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return isinstance(error, tf.errors.ResourceExhaustedError)
    if backend == "jax":
        import jax

        return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    import torch

    # outside of its own allocator PyTorch raises the driver's error as it is
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error)
    )


def free_memory() -> int | None:
    """Bytes of the card's memory that the backend may still take; None if it cannot say."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        return _free_for_tensorflow()
    if backend == "jax":
        import jax

        known = jax.devices()[0].memory_stats() or {}
        if not {"bytes_limit", "bytes_in_use"} <= known.keys():
            return None
        return known["bytes_limit"] - known["bytes_in_use"]
    import torch

    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None


def _free_for_tensorflow() -> int | None:
    import tensorflow as tf
    from tensorflow.python.client import device_lib

    limits = [
        device.memory_limit
        for device in device_lib.list_local_devices()
        if device.device_type == "GPU"
    ]
    if not limits:
        return None
    return limits[0] - tf.config.experimental.get_memory_info("GPU:0")["current"]


def release_memory() -> None:
    """Give back what PyTorch keeps of the card's memory for later; other backends keep nothing that
    they cannot use for a batch of another size."""
    if keras.config.backend() == "torch":
        import torch

        torch.cuda.empty_cache()  # does nothing without CUDA


def build_batch_pass(network: keras.Model) -> BatchPass:
    """How Keras's backend passes a batch through the network.

    Pixels are widened to float32 apart from the network, which is compiled once for both kinds.
    """
    build = {"tensorflow": _tensorflow_pass, "jax": _jax_pass, "torch": _torch_pass}
    return build[keras.config.backend()](network)


def _tensorflow_pass(network: keras.Model) -> BatchPass:
    import tensorflow as tf

    @tf.function(autograph=False, jit_compile=network.jit_compile)
    def compute(pixels):
        return [tf.cast(output, tf.float32) for output in network(pixels, training=False)]

    return BatchPass(
        send=lambda images: tf.cast(images, tf.float32),
        compute=compute,
        fetch=lambda outputs: [output.numpy() for output in outputs],
    )


def _jax_pass(network: keras.Model) -> BatchPass:
    import jax

    variables = (
        [variable.value for variable in network.trainable_variables],
        [variable.value for variable in network.non_trainable_variables],
    )

    @jax.jit
    def widen(images):
        return images.astype("float32")

    @jax.jit
    def compute(trainable, others, pixels):
        outputs, _ = network.stateless_call(trainable, others, pixels, training=False)
        return [output.astype("float32") for output in outputs]

    def fetch(outputs: list) -> list[np.ndarray]:
        for output in outputs:
            output.copy_to_host_async()
        return [np.asarray(output) for output in outputs]

    return BatchPass(
        send=lambda images: widen(jax.device_put(images)),
        compute=partial(compute, *variables),
        fetch=fetch,
    )


def _torch_pass(network: keras.Model) -> BatchPass:
    import torch
    from keras.src.backend.torch.core import get_device

    device = get_device()
    is_cuda = device.startswith("cuda")
    # a stream for each thread, because work in one stream waits for all earlier work in it
    own = threading.local()

    def stream() -> "torch.cuda.Stream | None":
        if is_cuda and not hasattr(own, "stream"):
            own.stream = torch.cuda.Stream()
            own.stream.wait_stream(torch.cuda.default_stream())  # it fills the weights
        return own.stream if is_cuda else None

    def send(images: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(images)
        with torch.cuda.stream(stream()):
            # a copy overlaps with computing only if it is from page-locked memory
            pixels = pixels.pin_memory() if is_cuda else pixels
            return pixels.to(device, non_blocking=True).to(torch.float32)

    def compute(pixels: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad(), torch.cuda.stream(stream()):
            return [output.to(torch.float32) for output in network(pixels, training=False)]

    def fetch(outputs: list[torch.Tensor]) -> list[np.ndarray]:
        with torch.cuda.stream(stream()):
            fetched = [
                torch.empty(output.shape, dtype=torch.float32, pin_memory=is_cuda)
                for output in outputs
            ]
            for place, output in zip(fetched, outputs, strict=True):
                place.copy_(output, non_blocking=True)
            if is_cuda:
                stream().synchronize()
        return [place.numpy() for place in fetched]

    return BatchPass(send, compute, fetch)
