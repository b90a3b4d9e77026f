"""Chooses, on validation and never on test, the temperature of the logits and, for two classes, the
threshold."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import roc_curve

# without a mistake on validation the best temperature would be 0, and every probability 0 or 1
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20


@dataclass(frozen=True)
class Calibration:
    """Probabilities are softmax(logits / temperature); label 1 of two classes is taken from
    `threshold` on (None: more classes)."""

    temperature: float
    threshold: float | None


def class_logits(logits: np.ndarray) -> np.ndarray:
    """One column per class, (N, C): for two classes a model has one logit (N, 1), that of label 1
    against 0."""
    return np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the lowest log loss of softmax(logits / temperature), between
    MIN_TEMPERATURE and MAX_TEMPERATURE.

    Guo et al., "On Calibration of Modern Neural Networks" (2017). scikit-learn's
    CalibratedClassifierCV(method="temperature") finds the same (a test compares them), but needs an
    estimator, and an image of each class.

    Args:
        logits: float (N, C), one column per class.
        labels: int (N,).
    """

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[
            np.arange(len(labels)), labels
        ].mean()

    found = minimize_scalar(
        loss,
        bounds=np.log([MIN_TEMPERATURE, MAX_TEMPERATURE]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return round(float(np.exp(found.x)), 6)


def choose_threshold(labels: np.ndarray, positive: np.ndarray) -> float:
    """The probability from which on label 1 is predicted; it maximises the sum of both classes'
    recalls (Youden's J).

    It is half-way between two images' probabilities, so that it does not depend on one of them, and
    0.5 if there is only one class.

    Args:
        labels: 0 or 1, int (N,).
        positive: probability of label 1, (N,).
    """
    if len(np.unique(labels)) < 2:
        return 0.5
    false_positive_rate, true_positive_rate, thresholds = roc_curve(
        labels, positive, drop_intermediate=False
    )
    best = int(np.argmax(true_positive_rate - false_positive_rate))
    above = min(thresholds[best], 1.0)  # scikit-learn begins with infinity, for no image at all
    below = thresholds[best + 1] if best + 1 < len(thresholds) else 0.0
    return round(float(above + below) / 2, 6)
