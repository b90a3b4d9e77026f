"""Temperature and threshold against scikit-learn and values worked out by hand."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from transfer.evaluation.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    choose_threshold,
    class_logits,
    fit_temperature,
)


class AsItIs(ClassifierMixin, BaseEstimator):
    """A classifier whose decision function is its input."""

    classes_ = np.arange(3)

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, inputs, labels):
        return self

    def decision_function(self, inputs):
        return inputs

    def predict(self, inputs):
        return inputs.argmax(axis=1)


def draw(n: int, n_classes: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from the probabilities that they mean at a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=4, size=(n, n_classes))
    chances = softmax(logits / temperature, axis=1)
    return logits, (chances.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)


def test_the_temperature_is_scikit_learns():
    logits, labels = draw(400, 3, 2.5)
    theirs = CalibratedClassifierCV(FrozenEstimator(AsItIs()), method="temperature").fit(
        logits, labels
    )
    beta = theirs.calibrated_classifiers_[0].calibrators[0].beta_
    assert fit_temperature(logits, labels) == pytest.approx(1 / beta, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1, 3])
def test_the_temperature_that_drew_the_labels_is_found(temperature):
    assert fit_temperature(*draw(20_000, 4, temperature)) == pytest.approx(temperature, rel=0.05)


def test_no_mistakes_or_only_mistakes_give_a_bounded_temperature():
    logits = np.array([[4.0, 0.0], [0.0, 4.0]])
    assert MIN_TEMPERATURE <= fit_temperature(logits, np.array([0, 1])) < 0.1
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(MAX_TEMPERATURE, rel=1e-4)


def test_one_logit_is_two_with_that_of_label_0_at_nought():
    assert class_logits(np.array([[2.0], [-1.0]])).tolist() == [[0, 2], [0, -1]]
    assert class_logits(np.eye(3)).tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    ("labels", "positive", "threshold"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], 0.4),  # between the best cat and the worst dog
        ([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.9], 0.6),  # the first of two that are equally good
        ([1, 0], [0.2, 0.8], 0.9),  # all wrong: none is taken
        ([1, 1], [0.2, 0.8], 0.5),
        ([0, 1], [0.5, 0.5], 0.75),
    ],
)
def test_the_threshold_parts_the_classes_best(labels, positive, threshold):
    assert choose_threshold(np.array(labels), np.array(positive)) == pytest.approx(threshold)
