"""Likely label errors: cleanlab applied to out-of-fold class probabilities."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from transfer.audit.issues import Issue
from transfer.runtime.progress import progress_bar

C = 5.0  # of 1, 2.5, 5, 10 and 20 it finds planted errors best on the sample (docs/data-audit.md)
MOST_ITERATIONS = 300


def find_label_errors(predicted: pd.DataFrame, labels: np.ndarray) -> list[Issue]:
    """The images whose label is probably wrong; the score is the predicted probability of the given
    class.

    cleanlab estimates how many labels are wrong (Northcutt, Jiang and Chuang, "Confident learning",
    2021) and that many of the least probable ones are taken, except those whose own class is still
    the most probable one.

    Args:
        predicted: as `predict_out_of_fold` gives it.
        labels: class names (N,).
    """
    if predicted.empty:
        return []
    names = predicted.columns.to_numpy()
    given = np.searchsorted(names, labels[predicted.index])
    probabilities = predicted.to_numpy()
    best = probabilities.argmax(axis=1)
    scores = get_label_quality_scores(given, probabilities, method="self_confidence")
    suspected = find_label_issues(
        given, probabilities, filter_by="low_self_confidence", n_jobs=1
    ) & (best != given)
    return [
        Issue(
            int(predicted.index[i]),
            "label_error",
            scores[i],
            f"looks like {names[best[i]]} ({probabilities[i, best[i]]:.2f})",
        )
        for i in np.flatnonzero(suspected)
    ]


def predict_out_of_fold(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> pd.DataFrame:
    """Class probabilities of each image, by logistic regression on the folds
    that the image is not in.

    Each group is in one fold, so that no classifier has seen a near-copy. What cannot be judged is
    left out: classes of a single group, images whose class the other folds happen to lack, and all
    images if the features predict the classes no better than their frequencies do (by log loss, two
    standard errors).

    Args:
        features: float32 (N, D), rows of a length near 1, which C is meant for.
        labels: class names (N,).
        groups: int (N,).
        folds: at most this many, and never more than there are groups.

    Returns:
        One row per image that could be judged, indexed by its row in `features`; one column per
        class, by name.
    """
    of_class = pd.DataFrame({"label": labels, "group": groups}).groupby("label")["group"].nunique()
    names = of_class.index[of_class > 1].to_numpy()
    rows = np.flatnonzero(np.isin(labels, names))
    given, own_groups = np.searchsorted(names, labels[rows]), groups[rows]
    folds = min(folds, len(np.unique(own_groups)), np.bincount(given).max(initial=0))
    if len(names) < 2 or folds < 2:
        return pd.DataFrame()
    dividing = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    probabilities = np.zeros((len(rows), len(names)), np.float32)
    is_judged = np.zeros(len(rows), dtype=bool)
    with _expected_warnings():
        parts = list(dividing.split(rows, given, own_groups))
        for train, held_out in progress_bar(parts, desc="audit: labels", unit=" folds"):
            seen = np.unique(given[train])
            if len(seen) < 2:
                continue
            classifier = LogisticRegression(C=C, max_iter=MOST_ITERATIONS).fit(
                features[rows[train]], given[train]
            )
            probabilities[np.ix_(held_out, seen)] = classifier.predict_proba(
                features[rows[held_out]]
            )
            is_judged[held_out] = np.isin(given[held_out], seen)
    if not _is_informed(probabilities[is_judged], given[is_judged]):
        return pd.DataFrame()
    return pd.DataFrame(probabilities[is_judged], index=rows[is_judged], columns=names)


@contextmanager
def _expected_warnings() -> Iterator[None]:
    """Without the warnings that small classes cause, and those of a classifier that is nearly
    optimal, which judges as well."""
    with warnings.catch_warnings():
        # a class of fewer images than folds: it is not in each
        warnings.filterwarnings("ignore", message="The least populated class")
        # classes of two images or three
        warnings.filterwarnings("ignore", message="The number of unique classes")
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _is_informed(probabilities: np.ndarray, given: np.ndarray) -> bool:
    """Whether the log loss is below that of naming each class with its frequency, by two standard
    errors; two classes at least."""
    counts = np.bincount(given)
    if (counts > 0).sum() < 2:
        return False
    own = np.maximum(probabilities[np.arange(len(given)), given], np.finfo(float).tiny)
    gains = np.log(own) - np.log(counts[given] / len(given))
    return bool(gains.mean() > 2 * gains.std() / np.sqrt(len(gains)))
