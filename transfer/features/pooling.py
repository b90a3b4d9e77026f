"""One small vector per image, which the audit and `predict` compare."""

from typing import TYPE_CHECKING

import numpy as np

from transfer.runtime.errors import PipelineError
from transfer.storage.array_paths import find_array, inputs_path
from transfer.storage.arrays import take
from transfer.storage.params import Shards

if TYPE_CHECKING:  # importing pandas takes a third of a second, and `pool` does not need it
    import pandas as pd

_ROWS = 256  # read at once


def read_pooled(manifest: "pd.DataFrame", splits: tuple[str, ...], shards: Shards) -> np.ndarray:
    """The images of these splits, one split after the other: float32 (N, C + C').

    A row is the mean over the picture of the activations at the cut, followed by that of the
    bottleneck features, each scaled to length 1: 4 kB per image at any number of pixels. A part
    without any activation is all zeros.

    Raises:
        PipelineError: an array is missing, does not fit the manifest, or holds NaN or infinity.
    """
    return np.concatenate(
        [
            np.concatenate(
                [
                    unit_length(read_means(manifest, split, kind, shards))
                    for kind in ("cut", "features")
                ],
                axis=1,
            )
            for split in splits
        ]
    )


def read_means(manifest: "pd.DataFrame", split: str, input_kind: str, shards: Shards) -> np.ndarray:
    """A split's `features` or activations at the `cut`, averaged over the picture: float32 (N, C).

    Raises:
        PipelineError: the array is missing, does not fit the manifest, or holds NaN or infinity.
    """
    from transfer.dataset.examples import read_examples
    from transfer.dataset.manifest import split_rows

    activations = read_examples(manifest, split, input_kind, shards).inputs
    means = np.empty((len(activations), activations.shape[-1]), np.float32)
    for start in range(0, len(activations), _ROWS):
        rows = slice(start, start + _ROWS)
        means[rows] = take(activations, rows).mean(axis=(1, 2), dtype=np.float32)
    if (broken := ~np.isfinite(means).all(axis=1)).any():
        row = int(broken.argmax())
        raise PipelineError(
            f"{find_array(inputs_path(split, input_kind))}: row {row} "
            f"({split_rows(manifest, split)['path'][row]!r}) holds NaN or infinity; "
            "delete the file and run `dvc repro extract`"
        )
    return means


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Each row scaled to length 1, float32 (N, D); zeros stay zeros."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)  # squares of float32 overflow
    vectors = vectors / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def pool(cut: np.ndarray) -> np.ndarray:
    """Reduce activations at the cut (B, h, w, C) to one vector per image: their mean over the
    picture, scaled to length 1, float32 (B, C).

    The cut is used because the layers before it are the same for all models on the backbone, and
    each of these computes it anyway.
    """
    return unit_length(cut.mean(axis=(1, 2), dtype=np.float32))
