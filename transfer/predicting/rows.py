"""What comes out: a row an image."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image.

    probabilities: calibrated, float64 (C,); NaN where the network gives no finite number, a float16 that overflows, say.
    distance, percentile: how unlike the training images it is (`Novelty`), None if not asked for.
    """

    probabilities: np.ndarray
    distance: float | None
    percentile: float | None


@dataclass(frozen=True)
class Row:
    """An image's path with its prediction, or with the problem that it has instead."""

    path: str
    prediction: Prediction | None
    problem: str | None = None
