"""The frozen network on Keras's backend: on a card (GPU or TPU), and on CPUs where LiteRT cannot
run it."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from transfer.compute.card import (
    CardPass,
    build_batch_pass,
    choose_batch_size,
    free_memory,
    image_bytes,
    row_bytes,
)
from transfer.compute.device import has_accelerator, is_single_threaded
from transfer.compute.keras import keras
from transfer.runtime.checksums import content_key

BatchSize = int | Literal["auto"]


def start_on_backend(
    frozen: keras.Model, batch_size: BatchSize
) -> "KerasNetworkOnCard | KerasNetwork":
    """The frozen network on the device that Keras's backend uses.

    Args:
        frozen: from `with_preprocessing`, images -> [activations at the cut, features].
        batch_size: images that a card is given at a time; auto: as its memory allows.

    Raises:
        PipelineError: the card's memory does not hold a single image.
    """
    return KerasNetworkOnCard(frozen, batch_size) if has_accelerator() else KerasNetwork(frozen)


class KerasNetwork:
    """A call takes pixels (H, W, 3) in 0..255 of some images and gives activations at the cut and
    features, (b, h, w, C).

    For a CPU: it gets one image at a time, so that a row depends on its image only.
    """

    batch_size = 1

    def __init__(self, frozen: keras.Model):
        """
        Args:
            frozen: from `with_preprocessing`, images -> [activations at the cut, features].
        """
        self._frozen = frozen
        self.uses_all_cores = not is_single_threaded()
        self.image_shape = frozen.input_shape[1:]
        self.cut_shape, self.features_shape = (shape[1:] for shape in frozen.output_shape)
        # this also traces the network, before threads share it
        self.identity = content_key(*_weights(frozen), *_rows_of_noise(self))

    def __call__(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        cut, features = (
            np.concatenate(rows) for rows in zip(*map(self._pass, images), strict=True)
        )
        return cut, features

    def _pass(self, image: np.ndarray) -> list[np.ndarray]:
        pixels = np.asarray(image, np.float32)[None]
        return [
            keras.ops.convert_to_numpy(output) for output in self._frozen.predict_on_batch(pixels)
        ]


class KerasNetworkOnCard:
    """As `KerasNetwork`, for a GPU or TPU, which gets many images at a time (`CardPass`); rows are
    float32. Several threads may call at once, which keeps the card busy.

    The same images give the same bytes on the same card with the same batch size, which is part of
    `identity`.
    """

    uses_all_cores = False

    def __init__(self, frozen: keras.Model, batch_size: BatchSize):
        """
        Args:
            frozen: from `with_preprocessing`, images -> [activations at the cut, features].
            batch_size: images that the card is given at a time; auto: as its memory allows.

        Raises:
            PipelineError: the card's memory does not hold a single image.
        """
        self.image_shape = frozen.input_shape[1:]
        self.cut_shape, self.features_shape = (shape[1:] for shape in frozen.output_shape)
        if batch_size == "auto":
            batch_size = choose_batch_size(free_memory(), image_bytes(frozen), row_bytes(frozen))
        self._card = CardPass(build_batch_pass(frozen), self.image_shape, batch_size)
        self.batch_size = self._card.batch_size
        print(f"the card is given {self.batch_size} images at a time", flush=True)
        self.identity = content_key(
            str(self.batch_size).encode(), *_weights(frozen), *_rows_of_noise(self)
        )

    def __call__(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        cut, features = self._card(images)
        return cut, features


def _weights(frozen: keras.Model) -> Iterator[bytes]:
    for weight in frozen.weights:
        yield np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes()


def _rows_of_noise(network: KerasNetwork | KerasNetworkOnCard) -> Iterator[bytes]:
    """The output for a noise image. It depends on everything besides the weights that changes the
    last bits: preprocessing, precision, library versions, device."""
    noise = np.random.default_rng(0).integers(0, 256, (1, *network.image_shape), dtype=np.uint8)
    for output in network(noise):
        yield output.tobytes()
