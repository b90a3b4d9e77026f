"""Two-dimensional feature map: PCA and t-SNE place images with similar features close together."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

COMPONENTS = 50  # in front of t-SNE, as its authors advise (van der Maaten and Hinton, 2008)
PERPLEXITY = 30
FEWEST = 5  # points that t-SNE needs


def map_features(features: np.ndarray, seed: int) -> np.ndarray:
    """Place N feature vectors in a plane by PCA and then t-SNE: (N, D) -> float (N, 2).

    The axes have no unit. For few points, or nearly equal ones, t-SNE is skipped and the PCA plane
    returned.
    """
    components = principal_components(features)
    if len(np.unique(components.round(6), axis=0)) < FEWEST:
        return components[:, :2]
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(components)


def principal_components(features: np.ndarray) -> np.ndarray:
    """Coordinates on the first COMPONENTS principal axes: float32 (N, D) -> float32 (N, 2 to
    COMPONENTS), zeros if there are fewer axes."""
    n_components = min(COMPONENTS, *features.shape)
    centred = features - features.mean(axis=0)
    components = (
        PCA(n_components, svd_solver="full").fit_transform(features)
        if centred.any()
        else np.zeros((len(features), 2), np.float32)
    )
    return np.pad(components, [(0, 0), (0, max(2 - components.shape[1], 0))])


def draw_rows(strata: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a stratified sample of at most `most` rows, in order; each stratum keeps its share to
    within one row: (N,) -> int (n,)."""
    n = len(strata)
    if n <= most:
        return np.arange(n)
    shuffled = rng.permutation(n)
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    return np.sort(by_stratum[np.linspace(0, n - 1, most).round().astype(int)])
