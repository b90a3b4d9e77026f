"""The linear probe: a logistic regression on the features averaged over the picture; needs no
Keras."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transfer.classifiers.baselines import damaged, read_baseline, save_baseline
from transfer.classifiers.names import PROBE

MAX_STEPS = 5000
SMALLEST_DEVIATION = 1e-6  # added to each channel's, so that a constant one is not divided by 0
NEVER = -20.0  # the logit of a class without a training image


@dataclass(frozen=True)
class Probe:
    """kernel float32 (C, L) and bias float32 (L,), which map averaged features (N, C) to logits
    (N, L): the logit of label 1 for two classes, one per class for more."""

    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits float32 (N, L) of averaged features (N, C)."""
        return features @ self.kernel + self.bias

    @property
    def n_logits(self) -> int:
        """L."""
        return len(self.bias)

    def gradients(self, features: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Gradients of the sum of weights (M, L) times logits with regard to features that are not
        averaged yet, (M, h, w, C): float64, in their shape."""
        places = features.shape[1] * features.shape[2]
        of_means = np.einsum("ml,cl->mc", weights, self.kernel, dtype=np.float64)
        return np.broadcast_to(of_means[:, None, None] / places, features.shape)


@dataclass(frozen=True)
class ProbeClassifier:
    """The probe of features (N, h, w, C), for `evaluate` and `predict`. A row depends on its image
    only, and its bytes do not follow the processor; several threads may call `logits` at once.

    Attributes: as those of `LiteRTClassifier`.
    """

    probe: Probe
    input_shape: tuple[int, ...]
    class_names: list[str]
    input_kind = "features"
    batch_size = None
    uses_all_cores = False

    def logits(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Logits float32 (N, L) of features (N, h, w, C)."""
        # image by image: products of matrices add up in an order that depends on their number
        rows = [
            np.einsum("c,cl->l", each.mean(axis=(0, 1), dtype=np.float64), self.probe.kernel)
            for each in inputs
        ]
        return (np.reshape(rows, (-1, len(self.probe.bias))) + self.probe.bias).astype(np.float32)


def fit_probe(
    features: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None,
    strength: float,
    n_classes: int,
) -> Probe:
    """Fit a logistic regression to standardized features, by L-BFGS.

    Args:
        features: averaged over the picture, float32 (N, C).
        labels: int (N,).
        weights: how much each image counts, float32 (N,); None: all the same.
        strength: scikit-learn's C; a smaller one is a stronger penalty on the squared kernel.

    Returns:
        The probe of features as they are: the standardization is in its kernel and bias.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = features.std(axis=0, dtype=np.float64) + SMALLEST_DEVIATION
    kernel, bias = np.zeros((features.shape[1], n_classes)), np.full(n_classes, NEVER)
    present = np.unique(labels)
    bias[present] = 0
    if len(present) > 1:
        from sklearn.linear_model import LogisticRegression  # half a second; predicting needs none

        fitted = LogisticRegression(C=strength, max_iter=MAX_STEPS).fit(
            (features - mean) / deviation, labels, weights
        )
        columns = present[1:] if len(present) == 2 else present
        kernel[:, columns] = (fitted.coef_ / deviation).T
        bias[columns] = fitted.intercept_ - mean @ kernel[:, columns]
    if n_classes == 2:
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
    return Probe(kernel.astype(np.float32), bias.astype(np.float32))


def save_probe(
    probe: Probe,
    input_shape: tuple[int, ...],
    class_names: list[str],
    strength: float,
    choices: pd.DataFrame,
) -> None:
    """Write the probe.

    Args:
        input_shape: of one image's features, (h, w, C).
        choices: what was tried, as `score_settings` gives it.
    """
    save_baseline(
        PROBE,
        {"input_shape": [*input_shape], "class_names": class_names, "strength": strength},
        {"kernel": probe.kernel, "bias": probe.bias},
        choices,
    )


def load_probe() -> tuple[Probe, tuple[int, ...], list[str]]:
    """Read the probe, the shape (h, w, C) of an image's features, and the class names.

    Raises:
        PipelineError: missing, skipped or damaged.
    """
    recorded, (kernel, bias) = read_baseline(PROBE, ("kernel", "bias"))
    names, shape = recorded["class_names"], tuple(recorded["input_shape"])
    n_logits = 1 if len(names) == 2 else len(names)
    if kernel.shape != (shape[-1], n_logits) or bias.shape != (n_logits,):
        problem = f"kernel {kernel.shape}, bias {bias.shape}, {len(names)} classes of {shape}"
        raise damaged(PROBE, problem)
    return Probe(kernel, bias), shape, names


def load_probe_classifier() -> ProbeClassifier:
    """Read the probe, ready to label features; raises PipelineError as `load_probe`."""
    return ProbeClassifier(*load_probe())
