"""What `evaluate` refuses, and that what it chooses comes from validation."""

import numpy as np
import pandas as pd
import pytest

from stages.compare import accuracy_table
from stages.evaluate import (
    SplitPredictions,
    calibrate,
    calibrated_scores,
    logits_of,
    predict_test_split,
)
from transfer.classifiers.head import build_head
from transfer.classifiers.saved import Classifier
from transfer.compute.keras import keras
from transfer.dataset.examples import Examples
from transfer.evaluation.calibration import Calibration
from transfer.runtime.errors import PipelineError
from transfer.storage.params import Shards


def classifier(scale: float, n_classes: int = 2) -> Classifier:
    """One whose hidden units hand the features' sum on, times `scale`."""
    head = build_head((1, 1, 2), 1, 0, normalize=False, n_classes=n_classes)
    head.set_weights(
        [
            np.ones((2, 1)),
            np.zeros(1),
            np.full((1, head.output_shape[1]), scale),
            np.zeros(head.output_shape[1]),
        ]
    )
    return Classifier(
        keras.Model(head.input, head.output, name="finetuned"),
        "features",
        [f"class {i}" for i in range(n_classes)],
        1,
    )


def examples(*sums: float, labels: list[int]) -> Examples:
    return Examples(
        np.array(sums, dtype=np.float32).reshape(-1, 1, 1, 1) * [0.5, 0.5], np.array(labels)
    )


def test_a_model_whose_logits_are_not_finite_is_refused():
    with pytest.raises(PipelineError) as error:
        logits_of(classifier(np.nan), examples(1, 2, 3, labels=[0, 1, 1]))
    assert str(error.value) == (
        "finetuned: 3 of 3 images get no finite logit; lower its learning_rate and run `dvc repro`"
    )


def test_a_model_of_other_classes_than_the_manifests_is_refused():
    manifest = pd.DataFrame({"class_name": ["cat", "dog"]})
    with pytest.raises(
        PipelineError,
        match=(
            r"the model knows \['class 0', 'class 1'\], the manifest \['cat', 'dog'\]; run `dvc "
            r"repro`"
        ),
    ):
        predict_test_split(classifier(1), manifest, Shards())


def test_a_model_that_is_too_sure_gets_a_temperature_above_one_and_a_threshold():
    found = calibrate(classifier(4), examples(0, 1, 1, 1, 2, labels=[0, 0, 1, 1, 1]))
    assert found.temperature > 1
    assert 0.5 < found.threshold < 1


def test_more_than_two_classes_have_no_threshold():
    assert (
        calibrate(classifier(1, n_classes=3), examples(0, 1, 2, labels=[0, 1, 2])).threshold is None
    )
    model = SplitPredictions(np.eye(3), np.eye(3), Calibration(1.0, None))
    assert list(calibrated_scores(np.arange(3), model)) == [
        "temperature",
        "log_loss_calibrated",
        "brier_calibrated",
        "ece_calibrated",
    ]


def test_the_threshold_and_not_a_half_decides_which_label_is_scored():
    chances = np.array([[0.45, 0.55], [0.3, 0.7]])
    scores = calibrated_scores(
        np.array([0, 1]), SplitPredictions(chances, chances, Calibration(1.0, 0.6))
    )
    assert scores["accuracy_at_threshold"] == 1


def test_the_table_of_intervals_has_a_row_a_model():
    scores = {
        name: {"accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75, "n": 8}
        for name in ("head", "finetuned")
    }
    assert accuracy_table(scores).to_numpy().tolist() == [
        ["head", 0.5, 0.25, 0.75],
        ["finetuned", 0.5, 0.25, 0.75],
    ]
