"""The nearest neighbours: training images vote for their classes; NumPy alone, no Keras."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transfer.classifiers.baselines import damaged, read_baseline, save_baseline
from transfer.classifiers.names import NEIGHBOURS
from transfer.storage.arrays import inference_batch_rows, take

# The vote of a neighbour is exp(cosine / SHARPNESS) (Wu et al., "Unsupervised Feature Learning via
# Non-Parametric Instance Discrimination", 2018).
SHARPNESS = 0.07
_COSINES = 1 << 22  # held at a time, 16 MB, but at least those of one image
_ROWS = 1024  # training images that stay in the processor's cache while several are compared


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Maps features to logits by votes of the nearest training images; several threads may call it
    at once.

    Images are compared by the cosine of their features averaged over the picture, one pair at a
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
            nearest = self.nearest(take(inputs, slice(start, start + step)), max(counts))
            shares += [
                [self._shares(cosines[:count], rows[:count]) for count in counts]
                for cosines, rows in zip(*nearest, strict=True)
            ]
        shares = np.array(shares).reshape(-1, len(counts), len(self.class_names))
        return [vote_logits(shares[:, place], count) for place, count in enumerate(counts)]

    def nearest(self, features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The cosines float32 (M, K) and rows int (M, K) of the training images nearest to each
        image's features (M, h, w, C): the nearest first, equally near ones in the order of their
        rows, and all of them if there are fewer than `count`."""
        found, step = [], max(1, _COSINES // len(self.labels))
        for start in range(0, len(features), step):
            for cosines in self._cosines(features[start : start + step]):
                rows = largest(cosines, count)
                found.append((cosines[rows], rows))
        cosines, rows = zip(*found, strict=True)
        return np.array(cosines), np.array(rows)

    def nearest_of_class(self, features: np.ndarray, label: int) -> int:
        """The row of the training image of a class that is nearest to an image's features
        (h, w, C); of any class if that one has none."""
        cosines = self._cosines(features[None])[0]
        rows = np.flatnonzero(self.labels == label)
        rows = rows if len(rows) else np.arange(len(self.labels))
        return int(rows[cosines[rows].argmax()])

    def _cosines(self, features: np.ndarray) -> np.ndarray:
        """The cosines of images' features (M, h, w, C) with all training images, float32 (M, N)."""
        cosines = np.empty((len(features), len(self.vectors)), np.float32)
        places = np.ascontiguousarray(features, np.float32)
        places = places.reshape(len(features), -1, self.vectors.shape[1])
        averages = [unit_length(each.mean(axis=0)) for each in places]
        for start in range(0, len(self.vectors), _ROWS):
            block = slice(start, start + _ROWS)
            for row, average in enumerate(averages):
                np.einsum("nc,c->n", self.vectors[block], average, out=cosines[row, block])
        return cosines

    def _shares(self, cosines: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The share of the votes that each class gets, float64 (classes,)."""
        votes = np.exp((cosines.astype(np.float64) - cosines[0]) / SHARPNESS) * self.weights[rows]
        shares = np.bincount(self.labels[rows], votes, minlength=len(self.class_names))
        return shares / (shares.sum() or 1)


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Rows of the `count` largest values of (N,), the largest first and equal ones in the order of
    their rows; all rows if there are fewer. NaN comes last."""
    falling = -values
    rows = np.arange(len(values))
    if count < len(values):
        rows = np.flatnonzero(~(falling > np.partition(falling, count - 1)[count - 1]))
    return rows[np.argsort(falling[rows], kind="stable")[:count]]


def vote_logits(shares: np.ndarray, count: int) -> np.ndarray:
    """Logits float32 (M, L) of shares of the votes (M, classes): their logarithm, as if one more
    neighbour had divided its vote among all classes, so that no probability is 0."""
    n_classes = shares.shape[1]
    logarithms = np.log((count * shares + 1 / n_classes) / (count + 1))
    if n_classes == 2:
        logarithms = logarithms[:, 1:] - logarithms[:, :1]
    return logarithms.astype(np.float32)


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., C) scaled to length 1, float32; zeros stay zeros.

    It adds in float64, and `transfer.features.pooling.unit_length` in float32. The last bits
    differ, and outputs of `train_neighbours` and of `audit` depend on them, so both are needed.
    """
    lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=-1, keepdims=True))
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def save_neighbours(neighbours: Neighbours, choices: pd.DataFrame) -> None:
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
    )


def load_neighbours() -> Neighbours:
    """Read the nearest neighbours.

    Raises:
        PipelineError: missing, skipped or damaged.
    """
    recorded, arrays = read_baseline(NEIGHBOURS, ("vectors", "labels", "weights"))
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
        raise damaged(NEIGHBOURS, problem)
    return Neighbours(vectors, labels, weights, count, shape, names)
