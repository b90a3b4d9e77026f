"""Scores of a classifier, with the interval of its accuracy.

If a score has no meaning for the scored images, its value is a sentence that says why, never NaN.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_recall_curve,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
    roc_curve,
)
from statsmodels.stats.proportion import proportion_confint

from transfer.dataset.scored_split import TEST
from transfer.evaluation.conventions import CONFIDENCE, DECIMALS


def score(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], split: str = TEST
) -> dict[str, float | int | str]:
    """Scores of probabilities (N, C) against labels int (N,); `split` is the images' split, which
    words in place of a score name.

    n, `accuracy`, balanced accuracy (mean recall of the classes that are there), macro F1, area
    under the ROC curve and average precision (of label 1 for two classes, for more the mean of each
    class against the rest), and of the probabilities `quality`.
    """
    predicted = probabilities.argmax(axis=1)
    scores = {
        "balanced_accuracy": recall_score(
            labels, predicted, labels=np.unique(labels), average="macro"
        ),
        "macro_f1": f1_score(labels, predicted, average="macro", zero_division=0),
    }
    ranked = rankings(labels, probabilities, class_names, split)
    return (
        {"n": len(labels)}
        | accuracy(labels, predicted)
        | rounded(scores)
        | ranked
        | quality(labels, probabilities)
    )


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """accuracy with its 95 % Wilson interval (statsmodels), accuracy_low and accuracy_high."""
    n_correct = int((predicted == labels).sum())
    low, high = proportion_confint(n_correct, len(labels), alpha=1 - CONFIDENCE, method="wilson")
    return rounded(
        {"accuracy": n_correct / len(labels), "accuracy_low": low, "accuracy_high": high}
    )


def rankings(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], split: str = TEST
) -> dict[str, float | str]:
    """roc_auc and average_precision, or why they are not defined: each class needs an image of the
    split."""
    if missing := [name for label, name in enumerate(class_names) if label not in labels]:
        named = (
            ", ".join(missing)
            if len(missing) < 4
            else f"{len(missing)} of the {len(class_names)} classes"
        )
        return dict.fromkeys(
            ("roc_auc", "average_precision"), f"not defined: no {split} image of {named}"
        )
    of_class, chances = np.eye(probabilities.shape[1], dtype=int)[labels], probabilities
    if probabilities.shape[1] == 2:
        of_class, chances = labels, probabilities[:, 1]
    areas = {
        "roc_auc": roc_auc_score(of_class, chances),
        "average_precision": average_precision_score(of_class, chances),
    }
    return rounded(areas)


def quality(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """How well probabilities (N, C) match what happens: log_loss in nats, brier (scikit-learn), ece
    (`reliability`).

    The Brier score of two classes is the squared error of one probability, of more the sum over all
    classes.
    """
    names = range(probabilities.shape[1])
    bins = reliability(labels, probabilities)
    scores = {
        "log_loss": log_loss(labels, probabilities, labels=names),
        "brier": brier_score_loss(labels, probabilities, labels=names),
        "ece": float(np.average((bins["accuracy"] - bins["confidence"]).abs(), weights=bins["n"])),
    }
    return rounded(scores)


def reliability(labels: np.ndarray, probabilities: np.ndarray, n_bins: int = 15) -> pd.DataFrame:
    """Confidence against accuracy, one row per bin that has images: confidence (mean), accuracy, n.

    Equal bins of the predicted class's probability, 15 as in Guo et al., "On Calibration of Modern
    Neural Networks" (2017); their expected calibration error is the mean distance between the two
    columns, weighted by n.
    """
    sure = probabilities.max(axis=1)
    bins = np.minimum((sure * n_bins).astype(int), n_bins - 1)
    right = probabilities.argmax(axis=1) == labels
    table = pd.DataFrame({"bin": bins, "confidence": sure, "accuracy": right, "n": 1})
    return (
        table.groupby("bin")
        .agg({"confidence": "mean", "accuracy": "mean", "n": "sum"})
        .reset_index(drop=True)
    )


def class_table(
    labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str], split: str = TEST
) -> pd.DataFrame:
    """One row per class: class_name, precision, recall, f1, support (its images in the split); a
    sentence replaces a ratio that would be 0 / 0."""
    every = range(len(class_names))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=np.nan
    )
    columns = {
        "precision": _or_words(precision, "never predicted"),
        "recall": _or_words(recall, f"no {split} image"),
        "f1": _or_words(f1, "not defined"),
    }
    return pd.DataFrame({"class_name": list(class_names)} | columns | {"support": support})


def _or_words(values: np.ndarray, words: str) -> list[float | str]:
    return [words if np.isnan(value) else round(float(value), DECIMALS) for value in values]


def roc(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Points of the ROC curve: false_positive_rate, true_positive_rate; no rows if all or none of
    the images are of the class."""
    is_positive, confidence = one_class(labels, probabilities)
    if is_positive.all() or not is_positive.any():
        return pd.DataFrame(columns=["false_positive_rate", "true_positive_rate"])
    false_positive_rate, true_positive_rate, _ = roc_curve(is_positive, confidence)
    return pd.DataFrame(
        {"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate}
    ).round(DECIMALS)


def precision_recall(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Points of the precision-recall curve: recall, precision; no rows if no image is of the
    class."""
    is_positive, confidence = one_class(labels, probabilities)
    if not is_positive.any():
        return pd.DataFrame(columns=["recall", "precision"])
    precision, recall, _ = precision_recall_curve(is_positive, confidence, drop_intermediate=True)
    return pd.DataFrame({"recall": recall, "precision": precision})[::-1].round(DECIMALS)


def one_class(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The data of a curve: whether each example is of the class, bool (M,), and the model's
    probability of it, (M,).

    Two classes: label 1 against label 0, M = N. More: every (image, class) pair pooled (the micro
    average), M = N C, since one curve per class cannot be read when there are many.
    """
    if probabilities.shape[1] == 2:
        return labels == 1, probabilities[:, 1]
    return np.eye(probabilities.shape[1], dtype=bool)[labels].ravel(), probabilities.ravel()


def rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), DECIMALS) for name, value in scores.items()}
