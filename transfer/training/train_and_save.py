"""The end that all training stages share: train, resume after an interruption, save."""

from collections.abc import Callable

import numpy as np

from transfer.classifiers.saved import Classifier, growing_history, save_classifier
from transfer.compute.keras import keras
from transfer.dataset.examples import Examples
from transfer.runtime.checkpoints import resumable
from transfer.training.loop import TrainingParams, fit


def train_and_save(
    stage: str,
    name: str,
    model: keras.Model,
    input_kind: str,
    class_names: list[str],
    inputs_of: Callable[[int], np.ndarray],
    labels: np.ndarray,
    validation: Examples,
    params: TrainingParams,
    rates: Callable[[int], np.ndarray] | None = None,
    own_weights: np.ndarray | None = None,
) -> None:
    """Train a compiled classifier and save it in models/NAME, with its history, which grows there
    during the training.

    If an earlier run of the stage with the same inputs was interrupted, training resumes after its
    last checkpoint and ends with the same bytes.

    Args:
        stage: whose checkpoint it is.
        input_kind: `images`, `features` or `cut`, the array that the model reads.
        inputs_of, labels, validation, params, rates, own_weights: as for `fit`.

    Raises:
        PipelineError: the loss is no longer finite.
    """
    with resumable(stage) as checkpoint, growing_history(name) as show:
        fitted = fit(
            model, inputs_of, labels, validation, params, checkpoint, show, rates, own_weights
        )
        classifier = Classifier(model, input_kind, class_names, fitted.epoch)
        save_classifier(name, classifier, fitted.history)
