"""Predictions and the rows that hold them, one row per image."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for an image.

    Attributes:
        probabilities: of the classes, float64 (C,); NaN if the network gives no finite number,
            for example because a float16 overflows.
        distance: mean distance to the nearest training images (`Novelty`); None if not asked for.
        percentile: share of the validation images that are nearer, 0 to 100; None likewise.
    """

    probabilities: np.ndarray
    distance: float | None = None
    percentile: float | None = None


@dataclass(frozen=True)
class PredictionRow:
    """An image's path with its prediction.

    Attributes:
        path: as the user named it, or below the folder or archive that was named.
        prediction: None if there is a problem.
        problem: why there is no prediction.
    """

    path: str
    prediction: Prediction | None
    problem: str | None = None


def ranking(probabilities: np.ndarray) -> list[int]:
    """Labels by falling probability; equal ones by rising label, as argmax chooses."""
    return np.argsort(-probabilities, kind="stable").tolist()
