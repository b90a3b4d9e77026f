"""Converts logits to probabilities; needs no Keras and no SciPy."""

import numpy as np


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Convert logits (N, L) to probabilities float64 (N, C): sigmoid for one logit, softmax for
    more."""
    logits = logits.astype(np.float64)
    if logits.shape[1] == 1:
        with np.errstate(over="ignore"):  # exp(1000) is infinite, and 1 / infinity is 0
            positive = 1 / (1 + np.exp(-logits))
        return np.hstack([1 - positive, positive])
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
