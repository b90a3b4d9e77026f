"""How good a classifier is, and how sure one can be of that."""

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, log_loss, roc_auc_score, roc_curve
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float | int]:
    """Scores of probabilities (N, C) against labels int (N,), every class among them.

    accuracy with its Wilson interval (statsmodels), log loss in nats, macro F1, area under the ROC curve (for more than two
    classes the mean of one class against the rest), n. Six decimals: finer ones would differ between machines.
    """
    predicted = probabilities.argmax(axis=1)
    n_correct = int((predicted == labels).sum())
    low, high = proportion_confint(n_correct, len(labels), alpha=1 - CONFIDENCE, method="wilson")
    positive = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
    scores = {
        "accuracy": n_correct / len(labels),
        "accuracy_low": low,
        "accuracy_high": high,
        "log_loss": log_loss(labels, probabilities, labels=range(probabilities.shape[1])),
        "macro_f1": f1_score(labels, predicted, average="macro"),
        "roc_auc": roc_auc_score(labels, positive, multi_class="ovr"),
    }
    return {name: round(float(value), 6) for name, value in scores.items()} | {"n": len(labels)}


def roc(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Points of the ROC curve: false_positive_rate, true_positive_rate.

    Two classes: label 1 against label 0. More: every (image, class) pair pooled (the micro average), since a curve a
    class cannot be read when there are many.
    """
    if probabilities.shape[1] == 2:
        is_positive, confidence = labels == 1, probabilities[:, 1]
    else:
        is_positive, confidence = np.eye(probabilities.shape[1], dtype=bool)[labels].ravel(), probabilities.ravel()
    false_positive_rate, true_positive_rate, _ = roc_curve(is_positive, confidence)
    return pd.DataFrame({"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate}).round(6)
