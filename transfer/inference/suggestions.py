"""Which unlabelled images to label next: those that a model doubts, far from the training images
and from each other."""

import numpy as np

_ROWS = 1024  # compared with the training images at once


def doubts(probabilities: np.ndarray) -> np.ndarray:
    """The entropy of each prediction as a share of the largest that C classes allow.

    Args:
        probabilities: calibrated, float (N, C), C at least 2.

    Returns:
        float64 (N,): 0 for a sure prediction, 1 for equal probabilities.
    """
    probabilities = np.clip(probabilities.astype(np.float64), 1e-12, 1)
    entropy = -(probabilities * np.log(probabilities)).sum(axis=1)
    return entropy / np.log(probabilities.shape[1])


def choose(
    doubt: np.ndarray, vectors: np.ndarray, labelled: np.ndarray, count: int
) -> tuple[list[int], list[float]]:
    """Choose images one by one: each time the one with the largest product of its doubt and its
    distance to the nearest image that is labelled or already chosen.

    Without the doubt this is the farthest-first traversal of Gonzalez 1985 ("Clustering to minimize
    the maximum intercluster distance"), which Sener and Savarese 2018 (arXiv:1708.00489) use to
    choose images to label. A copy of a chosen image has distance 0, and is never chosen before
    another image.

    Args:
        doubt: float (N,), from `doubts`.
        vectors: float32 (N, D), of the same images, from `transfer.features.pooling.pool`.
        labelled: float32 (M, D), of the training images.
        count: how many to choose; all N if there are fewer.

    Returns:
        The rows chosen, in order, and the product that each had when it was chosen.
    """
    distances = nearest_distances(vectors, labelled)
    rows, scores = [], []
    left = np.ones(len(vectors), bool)
    for _ in range(min(count, len(vectors))):
        score = np.where(left, doubt * distances, -1)
        row = int(score.argmax())
        rows.append(row)
        scores.append(float(score[row]))
        left[row] = False
        distances = np.minimum(distances, nearest_distances(vectors, vectors[row : row + 1]))
    return rows, scores


def nearest_distances(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The Euclidean distance of each of N vectors to the nearest of others, float64 (N,)."""
    others = others.astype(np.float64)
    squares = (others**2).sum(axis=1)
    found = np.empty(len(vectors))
    for start in range(0, len(vectors), _ROWS):
        block = vectors[start : start + _ROWS].astype(np.float64)
        squared = (block**2).sum(axis=1)[:, None] + squares - 2 * (block @ others.T)
        found[start : start + _ROWS] = np.sqrt(np.maximum(squared.min(axis=1), 0))
    return found
