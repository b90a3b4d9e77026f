"""The end that all training stages share: train, resume after an interruption, save, convert."""

from collections.abc import Callable

import numpy as np

from transfer.backbones.layer_table import describe_backbone
from transfer.classifiers.converted import keep_converted
from transfer.classifiers.head import build_head
from transfer.classifiers.saved import (
    Classifier,
    growing_history,
    load_classifier,
    save_classifier,
)
from transfer.compute.device import is_single_threaded
from transfer.compute.keras import keras
from transfer.compute.litert_support import why_no_litert
from transfer.dataset.examples import Examples
from transfer.runtime.checkpoints import resumable
from transfer.training.loop import HeadTrainingParams, TrainingParams, compile_classifier, fit


def train_and_save_head(
    stage: str,
    name: str,
    class_names: list[str],
    inputs_of: Callable[[int], np.ndarray],
    train: Examples,
    validation: Examples,
    params: HeadTrainingParams,
) -> None:
    """Train a new dense head on features and save it in models/NAME, as `train_and_save` does.

    Args:
        inputs_of: the features (N, h, w, C) of an epoch, as for `fit`.
        train: whose labels and weights these have.
    """
    head = build_head(
        validation.inputs.shape[1:],
        params.units,
        params.dropout,
        params.normalize,
        len(class_names),
    )
    print(describe_backbone())
    head.summary()
    compile_classifier(head, params)
    train_and_save(
        stage,
        name,
        head,
        "features",
        class_names,
        inputs_of,
        train.labels,
        validation,
        params,
        own_weights=train.weights,
    )


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
    last checkpoint and ends with the same bytes. Where LiteRT is to compute the classifier, its
    LiteRT file is kept for `evaluate` and `predict`, because TensorFlow is loaded already.

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
        # while there is a checkpoint: a process that is killed here has not trained for nothing
        convert_and_keep(name)


def convert_and_keep(name: str) -> None:
    """Convert the saved classifier `models/NAME` to LiteRT, unless Keras's backend is to compute it
    or it cannot be converted, which `evaluate` reports. A full disk is no error: `evaluate` tries
    again."""
    if not is_single_threaded() or why_no_litert(keras.config.dtype_policy().name):
        return
    from transfer.backbones.conversion import ConversionError
    from transfer.classifiers.conversion import convert_classifier

    # as another process would read it: layers of a model that was trained may belong to others too
    saved = load_classifier(name)
    try:
        content = convert_classifier(saved.model, saved.input_kind)
    except ConversionError:
        return
    except OSError as error:
        print(f"models/{name} is not converted to LiteRT now: {error.strerror or error}")
        return
    keep_converted(name, content)
