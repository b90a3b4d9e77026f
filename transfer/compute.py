"""The machine: threads, determinism, and the pass of images through a frozen network.

The only module that knows of TensorFlow; on another Keras backend its set-up is left to that backend.
"""

from collections.abc import Iterable, Iterator

import keras
import numpy as np

from transfer.parallel import available_cores, map_in_order

# On one thread a CPU is twice as fast with 12 images as with one, and more gain little.
CPU_BATCH = 12


def set_up(seed: int, threads: int = 1) -> None:
    """Seed every generator and, on TensorFlow, fix the threads of an operation and make each deterministic.

    Must come before the first operation. Another number of threads divides sums otherwise and changes their last
    bits, which is why it is an argument and not the number of cores. How many operations run at once changes no bit,
    and that is the number of cores.
    """
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(available_cores())
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


def has_accelerator() -> bool:
    """Whether the backend sees a GPU or TPU."""
    return any(not device.startswith("cpu") for device in keras.distribution.list_devices())


def frozen_pass(model: keras.Model, images: Iterable[np.ndarray], batch_size: int) -> Iterator[list[np.ndarray]]:
    """Send images (H, W, 3) through a frozen model, in order: per batch the model's outputs, each (b, ...).

    On a CPU each batch of CPU_BATCH images is computed by one thread (see `set_up`), and batches are spread over the
    cores. The last one is filled up, so that all have one shape and are computed alike: a row then depends on its
    image only, not on its neighbours, their number or the number of cores (a test holds this). An accelerator takes
    `batch_size` images at a time; there the same batches give the same bytes.
    """
    if has_accelerator():
        return map(model.predict_on_batch, _batches(images, batch_size))

    def predict(batch: np.ndarray) -> list[np.ndarray]:
        filled = np.zeros((CPU_BATCH, *batch.shape[1:]), dtype=batch.dtype)
        filled[: len(batch)] = batch
        return [output[: len(batch)] for output in model.predict_on_batch(filled)]

    predict(np.zeros((1, *model.input_shape[1:]), dtype=np.float32))  # traced once, before threads share it
    return map_in_order(predict, _batches(images, CPU_BATCH))


def _batches(images: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Stack images to float32 (b, H, W, 3); the last batch may be smaller."""
    pending = []
    for image in images:
        pending.append(image)
        if len(pending) == size:
            yield np.stack(pending).astype(np.float32)
            pending = []
    if pending:
        yield np.stack(pending).astype(np.float32)
