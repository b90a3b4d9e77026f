"""All images through a frozen model as the stages send them: in batches, on a CPU spread over its cores."""

from collections.abc import Iterator

import numpy as np

from transfer.compute import images_at_once, pass_batch, takes_one_core
from transfer.lean import keras
from transfer.parallel import map_in_order


def pass_all(frozen: keras.Model, images: np.ndarray, batch_size: int) -> Iterator[list[np.ndarray]]:
    """The outputs of each batch, in order, of images (N, H, W, 3)."""
    size = images_at_once(batch_size)
    pass_batch(frozen, images[:1], size)  # traced once, before threads share it
    batches = (images[start : start + size] for start in range(0, len(images), size))
    return (map_in_order if takes_one_core() else map)(lambda batch: pass_batch(frozen, batch, size), batches)
