"""Scores against values worked out by hand or by another library, and words where a score would
mean nothing."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from transfer.classifiers.probabilities import probabilities
from transfer.evaluation.scores import (
    class_table,
    precision_recall,
    quality,
    reliability,
    roc,
    score,
)

BINARY = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
LABELS = np.array([0, 0, 1, 1])
NAMES = ["cat", "dog"]


def test_binary_scores_are_those_worked_out_by_hand():
    found = score(LABELS, BINARY, NAMES)
    assert found["accuracy"] == 0.5
    assert found["n"] == 4
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.3]).mean(), abs=1e-6)
    assert found["macro_f1"] == 0.5
    # three of the four pairs of one image a class are in the right order
    assert found["roc_auc"] == 0.75


@pytest.mark.parametrize(("n_correct", "n"), [(0, 6), (5, 6), (160, 180), (180, 180)])
def test_the_interval_is_wilsons(n_correct, n):
    labels = np.append(np.zeros(n - 1, dtype=int), 1)
    predicted = np.where(np.arange(n) < n_correct, labels, 1 - labels)
    found = score(labels, np.eye(2)[predicted] * 0.8 + 0.1, NAMES)
    expected = binomtest(n_correct, n).proportion_ci(method="wilson")
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx(
        (expected.low, expected.high), abs=1e-6
    )


def test_three_classes_are_scored_one_against_the_rest():
    labels = np.array([0, 1, 2, 0, 1, 2])
    right = np.eye(3)[labels] * 0.7 + 0.1
    found = score(labels, right, list("abc"))
    assert {
        found[name]
        for name in ("roc_auc", "average_precision", "accuracy", "balanced_accuracy", "macro_f1")
    } == {1}
    assert score(labels, np.roll(right, 1, axis=0), list("abc"))["accuracy"] == 0


def test_balanced_accuracy_brier_and_average_precision_are_those_worked_out_by_hand():
    labels = np.array([0, 0, 0, 1])
    found = score(labels, np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]), NAMES)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-6)
    assert found["brier"] == pytest.approx((0.01 + 0.04 + 0.49 + 0.16) / 4)
    assert found["average_precision"] == 0.5  # the one dog comes second


def test_calibration_error_is_the_mean_distance_of_confidence_and_accuracy():
    """Bins of a fifteenth: 0.61 and 0.65 share one (mean 0.63, one of two right), 0.95 is alone,
    and right."""
    labels, chances = np.array([1, 0, 1]), np.array([[0.39, 0.61], [0.35, 0.65], [0.05, 0.95]])
    assert reliability(labels, chances)["n"].tolist() == [2, 1]
    assert quality(labels, chances)["ece"] == pytest.approx((2 * 0.13 + 0.05) / 3, abs=1e-6)
    certain = np.array([[0.0, 1.0]])
    assert reliability(np.array([1]), certain).to_numpy().tolist() == [[1, 1, 1]]


def test_each_class_has_a_row_with_sentences_for_undefined_scores():
    table = class_table(np.array([0, 0, 1]), np.array([0, 2, 0]), ["cat", "dog", "owl"])
    assert table.to_numpy().tolist() == [
        ["cat", 0.5, 0.5, 0.5, 2],
        ["dog", "never predicted", 0.0, 0.0, 1],
        ["owl", 0.0, "no test image", 0.0, 0],
    ]


def test_a_class_without_test_images_is_named_instead_of_a_meaningless_number():
    found = score(np.array([0, 0]), BINARY[:2], NAMES)
    assert found["roc_auc"] == found["average_precision"] == "not defined: no test image of dog"
    assert found["accuracy"] == found["balanced_accuracy"] == 0.5
    assert (
        len(roc(np.array([0, 0]), BINARY[:2]))
        == len(precision_recall(np.array([0, 0]), BINARY[:2]))
        == 0
    )
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3, 1000])
@pytest.mark.parametrize("n", [2, 50])
def test_always_right_or_always_wrong_gives_numbers_or_words(is_right, n_classes, n):
    labels = np.arange(n) % n_classes
    chances = np.full((n, n_classes), 0.0)
    chances[np.arange(n), labels if is_right else (labels + 1) % n_classes] = 1.0
    found = score(labels, chances, [f"class {i}" for i in range(n_classes)])
    json.dumps(found, allow_nan=False)
    assert found["accuracy"] == found["balanced_accuracy"] == float(is_right)
    assert found["ece"] == float(not is_right)
    if n < n_classes:
        assert found["roc_auc"].startswith("not defined: no test image of")
    class_table(labels, chances.argmax(axis=1), [f"class {i}" for i in range(n_classes)])


def test_the_roc_curve_runs_from_corner_to_corner_and_holds_the_area():
    curve = roc(LABELS, BINARY)
    assert curve.iloc[0].tolist() == [0, 0]
    assert curve.iloc[-1].tolist() == [1, 1]
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert area == score(LABELS, BINARY, NAMES)["roc_auc"]


def test_the_precision_recall_curve_ends_with_every_image_called_positive():
    curve = precision_recall(LABELS, BINARY)
    assert curve.iloc[0].tolist() == [0, 1]
    assert curve.iloc[-1].tolist() == [1, 0.5]  # half of the images are dogs


def test_logits_become_probabilities_that_add_up_to_one():
    one = probabilities(np.array([[0.0], [1000.0], [-1000.0]], dtype=np.float32))
    assert one.tolist() == [[0.5, 0.5], [0, 1], [1, 0]]
    many = probabilities(np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, 0.0]], dtype=np.float32))
    assert many.sum(axis=1) == pytest.approx(1)
    assert many.argmax(axis=1).tolist() == [2, 0]
