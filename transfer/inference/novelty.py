"""Novelty: the distance of an image to the nearest training images in feature space, compared with
the distances of validation images.

A model gives every image a class, even one that shows nothing it was trained on; novelty finds
these images.
"""

from dataclasses import dataclass

import numpy as np

from transfer.features.pooling import pool
from transfer.runtime.errors import PipelineError
from transfer.storage.array_paths import find_array, inputs_path
from transfer.storage.arrays import read_array, take
from transfer.storage.params import Shards

# as many as the audit compares; a product with more would take long compared with the network
MOST_NEIGHBOURS = 10_000
_ROWS = 256  # that are read or compared at once
# candidates beyond the neighbours, because the fast comparison may swap nearly equal distances
_SPARE = 10


@dataclass(frozen=True)
class Novelty:
    """Training images to compare with, and the distances of the validation images from them.

    Attributes:
        vectors: of the training images, from `pool`, float32 (N, C).
        rows: their rows in the training split, int (N,).
        neighbours: how many of the nearest count.
        usual: the distances of the validation images, sorted, float64 (M,).
    """

    vectors: np.ndarray
    rows: np.ndarray
    neighbours: int
    usual: np.ndarray

    def nearest(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean distances to the nearest training images, float64 (B, neighbours), and their
        rows in the split, int: nearest first.

        Args:
            vectors: from `pool`, float32 (B, C).
        """
        return nearest(self.vectors, vectors, self.neighbours, self.rows)

    def distances(self, vectors: np.ndarray) -> np.ndarray:
        """The mean of these distances, float64 (B,), as the audit computes it for outliers."""
        return self.nearest(vectors)[0].mean(axis=1)

    def percentiles(self, distances: np.ndarray) -> np.ndarray:
        """Share of the validation images that are nearer to the training images, float64 (B,) from
        0 to 100; 100 means farther than all of them."""
        return 100 * np.searchsorted(self.usual, distances) / len(self.usual)


def load_novelty(neighbours: int, seed: int, shards: Shards) -> Novelty:
    """Read the cached activations of training and validation images; of more than MOST_NEIGHBOURS
    a random sample of that size.

    Raises:
        PipelineError: an array is missing, damaged, or holds NaN or infinity.
    """
    rng = np.random.default_rng(seed)
    rows, vectors = _sample_vectors("train", rng, shards)
    neighbours = min(neighbours, len(vectors))
    validation = _sample_vectors("validation", rng, shards)[1]
    blocks = (validation[start : start + _ROWS] for start in range(0, len(validation), _ROWS))
    usual = np.concatenate(
        [nearest(vectors, block, neighbours, rows)[0].mean(axis=1) for block in blocks]
    )
    return Novelty(vectors, rows, neighbours, np.sort(usual))


def _sample_vectors(
    split: str, rng: np.random.Generator, shards: Shards
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a split, at most MOST_NEIGHBOURS drawn at random, int (N,), and their vectors,
    float32 (N, C)."""
    folder = inputs_path(split, "cut").parent
    if not folder.exists():
        raise PipelineError(
            f"{folder} is missing; run `dvc pull extract` or `dvc repro extract`; `predict` can do "
            "without: --no-novelty"
        )
    file = find_array(inputs_path(split, "cut"))
    activations = read_array(file, shards, ndim=4)
    rows = np.sort(
        rng.choice(len(activations), min(len(activations), MOST_NEIGHBOURS), replace=False)
    )
    vectors = np.concatenate(
        [
            pool(take(activations, rows[start : start + _ROWS]))
            for start in range(0, len(rows), _ROWS)
        ]
    )
    if (broken := ~np.isfinite(vectors).all(axis=1)).any():
        raise PipelineError(
            f"{file}: row {rows[broken.argmax()]} holds NaN or infinity; delete the file and run "
            "`dvc repro extract`"
        )
    return rows, vectors


def nearest(
    vectors: np.ndarray, wanted: np.ndarray, neighbours: int, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances float64 (B, neighbours) of each wanted vector to the nearest of `vectors`, and
    their numbers in `rows`.

    A fast product of matrices finds candidates; its last bits depend on how many images are
    compared together. The distances are then taken one by one, and so depend on the image alone.
    """
    squared = (vectors**2).sum(axis=1) - 2 * (wanted @ vectors.T)
    n_candidates = min(neighbours + _SPARE, len(vectors))
    candidates = np.argpartition(squared, n_candidates - 1, axis=1)[:, :n_candidates]
    candidates.sort(axis=1)
    between = vectors[candidates].astype(np.float64) - wanted[:, None]
    distances = np.sqrt((between**2).sum(axis=2))
    order = np.argsort(distances, axis=1, kind="stable")[:, :neighbours]
    return np.take_along_axis(distances, order, axis=1), rows[
        np.take_along_axis(candidates, order, axis=1)
    ]
