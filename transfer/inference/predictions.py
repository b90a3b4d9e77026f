"""What comes out: a row an image."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image.

    probabilities: float64 (C,); NaN where the network gives no finite number, a float16 that
        overflows, say.
    distance, percentile: how unlike the training images it is (`Novelty`), None if not asked for.
    """

    probabilities: np.ndarray
    distance: float | None = None
    percentile: float | None = None


@dataclass(frozen=True)
class PredictionRow:
    """An image's path with its prediction, or with the problem that it has instead."""

    path: str
    prediction: Prediction | None
    problem: str | None = None


def ranking(probabilities: np.ndarray) -> list[int]:
    """Labels, the likeliest first; of equal ones the first, as argmax has it."""
    return np.argsort(-probabilities, kind="stable").tolist()
