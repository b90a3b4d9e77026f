"""Outliers: images far from their nearest neighbours in feature space."""

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from transfer.audit.issues import Issue

# candidate neighbours; comparing 100,000 images would take hours
MOST_NEIGHBOURS = 10_000


def find_outliers(
    features: np.ndarray, paths: pd.Series, neighbours: int, fence: float, seed: int
) -> list[Issue]:
    """The images whose mean distance to their nearest neighbours is beyond the fence.

    The score is exp(-distance / median distance), as in cleanlab's OutOfDistribution; it is 0.37 at
    the median. The fence is Tukey's, as in cleanlab's Datalab: the third quartile and `fence` times
    the interquartile range.

    Args:
        features: float32 (N, D).
        paths: of the images, for naming the nearest one.
    """
    distances, nearest = neighbour_distances(features, neighbours, np.random.default_rng(seed))
    if not len(distances):
        return []
    first, third = np.percentile(distances, [25, 75])
    beyond = distances > third + fence * (third - first)
    # distances between copies are only rounding errors
    scale = max(np.median(distances), 100 * np.finfo(np.float32).eps)
    scores = np.exp(-distances / scale)
    return [
        Issue(row, "outlier", scores[row], f"the nearest is {paths.iloc[nearest[row]]}")
        for row in np.flatnonzero(beyond).tolist()
    ]


def neighbour_distances(
    features: np.ndarray, neighbours: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean Euclidean distance to the `neighbours` nearest other images, float (N,), and the row of
    the nearest, int (N,).

    If there are more than MOST_NEIGHBOURS images, that many are drawn as possible neighbours. A
    single image has none: both arrays are empty.
    """
    n = len(features)
    neighbours = min(neighbours, n - 1, MOST_NEIGHBOURS - 1)
    if neighbours < 1:
        return np.empty(0), np.empty(0, dtype=int)
    among = np.sort(rng.choice(n, min(n, MOST_NEIGHBOURS), replace=False))
    distances, indices = (
        NearestNeighbors(n_neighbors=neighbours + 1, algorithm="brute")
        .fit(features[among])
        .kneighbors(features)
    )
    indices = among[indices]
    itself = indices == np.arange(n)[:, None]
    distances = np.where(itself, np.inf, distances)
    order = np.argsort(distances, axis=1, kind="stable")[:, :neighbours]
    return np.take_along_axis(distances, order, axis=1).mean(axis=1), indices[
        np.arange(n), order[:, 0]
    ]
