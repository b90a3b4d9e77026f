"""The nearest neighbours: training images vote for their classes; NumPy alone, no Keras."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from transfer.classifiers.baselines import damaged, read_baseline, save_baseline
from transfer.classifiers.names import MODELS, NEIGHBOURS
from transfer.storage.arrays import inference_batch_rows, take

# The vote of a neighbour is exp(cosine / SHARPNESS) (Wu et al., "Unsupervised Feature Learning via
# Non-Parametric Instance Discrimination", 2018).
SHARPNESS = 0.07


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Maps features to logits by votes of the nearest training images; several threads may call it
    at once.

    Images are compared by the cosine of their features averaged over the picture, one image at a
    time and without a linear algebra library: no byte depends on the batch, on threads or on the
    processor.

    Attributes: as those of `LiteRTClassifier`, and
        vectors: of the training images, float32 (N, C), of length 1.
        labels: int (N,).
        weights: how much each image's vote counts, float32 (N,).
        count: how many images vote.
    """

    vectors: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    count: int
    input_shape: tuple[int, ...]
    class_names: list[str]

    input_kind = "features"
    batch_size = None
    uses_all_cores = False

    def logits(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Logits float32 (M, L) of inputs (M, h, w, C), L being 1 for two classes."""
        return self.logits_by_count(inputs, [self.count])[0]

    def logits_by_count(
        self, inputs: Sequence[np.ndarray], counts: Sequence[int]
    ) -> list[np.ndarray]:
        """The logits (M, L) that each of `counts` neighbours would give."""
        shares, step = [], inference_batch_rows(self.input_shape)
        for start in range(0, len(inputs), step):
            for features in take(inputs, slice(start, start + step)):
                cosines, rows = self.nearest(features, max(counts))
                shares.append([self._shares(cosines[:count], rows[:count]) for count in counts])
        shares = np.array(shares).reshape(-1, len(counts), len(self.class_names))
        return [vote_logits(shares[:, place], count) for place, count in enumerate(counts)]

    def nearest(self, features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The cosines float32 (K,) and rows int (K,) of the nearest training images of an image's
        features (h, w, C), the nearest first; all of them if there are fewer than `count`."""
        places = np.ascontiguousarray(features, np.float32).reshape(-1, self.vectors.shape[1])
        cosines = np.einsum("nc,c->n", self.vectors, unit_length(places.mean(axis=0)))
        rows = np.argsort(-cosines, kind="stable")[:count]
        return cosines[rows], rows

    def nearest_of_class(self, features: np.ndarray, label: int) -> int:
        """The row of the training image of a class that is nearest to an image's features
        (h, w, C); of any class if that one has none."""
        _, rows = self.nearest(features, len(self.labels))
        return int(next((row for row in rows if self.labels[row] == label), rows[0]))

    def _shares(self, cosines: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The share of the votes that each class gets, float64 (classes,)."""
        votes = np.exp((cosines.astype(np.float64) - cosines[0]) / SHARPNESS) * self.weights[rows]
        shares = np.bincount(self.labels[rows], votes, minlength=len(self.class_names))
        return shares / (shares.sum() or 1)


def vote_logits(shares: np.ndarray, count: int) -> np.ndarray:
    """Logits float32 (M, L) of shares of the votes (M, classes): their logarithm, as if one more
    neighbour had divided its vote among all classes, so that no probability is 0."""
    n_classes = shares.shape[1]
    logarithms = np.log((count * shares + 1 / n_classes) / (count + 1))
    if n_classes == 2:
        logarithms = logarithms[:, 1:] - logarithms[:, :1]
    return logarithms.astype(np.float32)


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., C) scaled to length 1, float32; zeros stay zeros."""
    lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=-1, keepdims=True))
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def save_neighbours(neighbours: Neighbours, choices: pd.DataFrame, folder: Path = MODELS) -> None:
    """Write the training images' vectors, labels and weights; `choices`: what was tried, as
    `score_settings` gives it."""
    save_baseline(
        NEIGHBOURS,
        {
            "input_shape": [*neighbours.input_shape],
            "class_names": neighbours.class_names,
            "neighbours": neighbours.count,
        },
        {
            "vectors": neighbours.vectors,
            "labels": neighbours.labels.astype(np.int32),
            "weights": neighbours.weights,
        },
        choices,
        folder,
    )


def load_neighbours(folder: Path = MODELS) -> Neighbours:
    """Read the nearest neighbours.

    Raises:
        PipelineError: missing, skipped or damaged.
    """
    recorded, arrays = read_baseline(NEIGHBOURS, ("vectors", "labels", "weights"), folder)
    (vectors, labels, weights), names = arrays, recorded["class_names"]
    count, shape = recorded.get("neighbours"), tuple(recorded["input_shape"])
    if (
        vectors.shape[1:] != shape[-1:]
        or not len(vectors)
        or not labels.shape == weights.shape == vectors.shape[:1]
        or labels.dtype.kind != "i"
        or labels.min() < 0
        or labels.max() >= len(names)
        or type(count) is not int
        or count < 1
    ):
        problem = (
            f"{count!r} neighbours among vectors {vectors.shape}, labels {labels.shape} of "
            f"{len(names)} classes, weights {weights.shape}"
        )
        raise damaged(NEIGHBOURS, problem, folder)
    return Neighbours(vectors, labels, weights, count, shape, names)
