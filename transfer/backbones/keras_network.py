"""The frozen network on Keras's backend: for accelerators, and for CPUs where LiteRT cannot run
it."""

from collections.abc import Sequence

import numpy as np

from transfer.compute.device import has_accelerator, is_single_threaded
from transfer.compute.keras import keras
from transfer.runtime.checksums import content_key


class KerasNetwork:
    """A call takes pixels (H, W, 3) in 0..255 of some images and gives activations at the cut and
    features, (b, h, w, C).

    An accelerator gets `batch_size` images at a time; the last ones are filled up with zeros, so
    that all batches have one shape and are computed alike: the same batches give the same bytes on
    the same card. A CPU gets one image at a time, so that a row depends on its image only.
    """

    def __init__(self, frozen: keras.Model, batch_size: int):
        """
        Args:
            frozen: from `with_preprocessing`, images -> [activations at the cut, features].
        """
        self._frozen = frozen
        self.batch_size = batch_size if has_accelerator() else 1
        self.uses_all_cores = not is_single_threaded()
        self.image_shape = frozen.input_shape[1:]
        self.cut_shape, self.features_shape = (shape[1:] for shape in frozen.output_shape)
        self.identity = self._identify()  # which traces the network too, before threads share it

    def _identify(self) -> bytes:
        """A 32-byte fingerprint of everything that determines the network's output rows: its
        weights, and its output for a noise image.

        The noise image's output depends on everything else that changes the last bits:
        preprocessing, precision, library versions, device.
        """
        noise = np.random.default_rng(0).integers(0, 256, (1, *self.image_shape), dtype=np.uint8)
        weights = (
            np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes()
            for weight in self._frozen.weights
        )
        return content_key(*weights, *(output.tobytes() for output in self(noise)))

    def __call__(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        batches = [
            self._pass(images[start : start + self.batch_size])
            for start in range(0, len(images), self.batch_size)
        ]
        cut, features = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return cut, features

    def _pass(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        batch = np.zeros((self.batch_size, *self.image_shape), dtype=np.float32)
        for place, image in enumerate(images):
            batch[place] = image
        return [
            keras.ops.convert_to_numpy(output)[: len(images)]
            for output in self._frozen.predict_on_batch(batch)
        ]
