"""How unlike the training images an image is: its distance to the nearest of them in feature space,
beside that of validation images.

A model gives every image a class, also one of what it never saw; this says which answers rest on
nothing.
"""

from dataclasses import dataclass

import numpy as np

from transfer.features.pooling import pool
from transfer.runtime.errors import PipelineError
from transfer.storage.array_paths import find_array, inputs_path
from transfer.storage.arrays import read_array, take
from transfer.storage.params import Shards

# as many as the audit compares; a product with more would take its time beside the network
MOST_NEIGHBOURS = 10_000
_ROWS = 256  # read or compared at once
# candidates beyond the neighbours,
# since the fast comparison of nearly equal distances may swap some
_SPARE = 10


@dataclass(frozen=True)
class Novelty:
    """Training images to be compared with, and how far from them the validation images are.

    vectors: of the training images, from `pool`, float32 (N, C). rows: which rows of the training
        split they are, int (N,).
    neighbours: how many of the nearest are looked at. usual: the distances of validation images,
        sorted, float64 (M,).
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
        """The mean of those distances, float64 (B,): as the audit has it for outliers."""
        return self.nearest(vectors)[0].mean(axis=1)

    def percentiles(self, distances: np.ndarray) -> np.ndarray:
        """How many of a hundred validation images are nearer to the training images, float64 (B,);
        100 is farther than them all."""
        return 100 * np.searchsorted(self.usual, distances) / len(self.usual)


def load_novelty(neighbours: int, seed: int, shards: Shards) -> Novelty:
    """Read the cached activations of training and validation images; of more than MOST_NEIGHBOURS
    each, that many drawn ones.

    Raises:
        PipelineError: an array is missing, damaged, or holds NaN or infinity.
    """
    rng = np.random.default_rng(seed)
    rows, vectors = read_pooled("train", rng, shards)
    neighbours = min(neighbours, len(vectors))
    validation = read_pooled("validation", rng, shards)[1]
    blocks = (validation[start : start + _ROWS] for start in range(0, len(validation), _ROWS))
    usual = np.concatenate(
        [nearest(vectors, block, neighbours, rows)[0].mean(axis=1) for block in blocks]
    )
    return Novelty(vectors, rows, neighbours, np.sort(usual))


def read_pooled(
    split: str, rng: np.random.Generator, shards: Shards
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a split that serve, int (N,), and their vectors, float32 (N, C)."""
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
