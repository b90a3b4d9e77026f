"""Saves and loads trained classifiers: model.json, model.weights.h5 and history.csv in
models/NAME/.

Weights and configuration are separate files because a `.keras` archive contains the date and is
never the same bytes twice.
"""

import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transfer.classifiers.description import read_description
from transfer.classifiers.head import build_linear
from transfer.classifiers.names import (
    NEIGHBOURS,
    PROBE,
    description_file,
    history_file,
    weights_file,
)
from transfer.classifiers.probe import load_probe
from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_json, write_table, write_weights
from transfer.storage.arrays import inference_batch_rows, take

NO_NETWORK = (
    f"{NEIGHBOURS} is a list of training images and no network: it is compared with the models and "
    "can label images (predict), but it cannot be exported and has no Grad-CAM; choose another "
    "model"
)
_WAITING = "uninitialized_variables"  # the name of Keras's list of them


@dataclass(frozen=True)
class Classifier:
    """A model from pixels or cached activations to logits (B, L).

    input_kind: `images`, `features` or `cut`, the array that it reads. epoch: the epoch whose
        weights these are, from 1; None: the probe, which has no epochs.
    """

    model: keras.Model
    input_kind: str
    class_names: list[str]
    epoch: int | None


def save_classifier(name: str, classifier: Classifier, history: pd.DataFrame) -> None:
    """Write a classifier and its training history under `name`; equal models give equal bytes."""
    # Without its compilation: the optimizer's state would double the file, and its names depend on
    # what the process built before.
    model = keras.Model(classifier.model.input, classifier.model.output, name=classifier.model.name)
    description = {
        "input_kind": classifier.input_kind,
        "class_names": classifier.class_names,
        "epoch": classifier.epoch,
        "model": json.loads(model.to_json()),
    }
    write_json(description_file(name), description)
    write_weights(weights_file(name), model)
    write_table(history_file(name), history)


@contextmanager
def growing_history(name: str) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield a function that writes the history so far during training, for live plots with `dvc
    plots show` and DVC's extension for VS Code.

    A training that fails leaves no history. If there is a history of an earlier run (DVC deletes it
    first, but not a person who runs the stage by hand), it stays until the new model is complete.
    """
    path = history_file(name)
    if path.exists():
        yield lambda history: None
        return
    try:
        yield lambda history: write_table(path, history)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def load_classifier(name: str) -> Classifier:
    """Read a classifier back; the probe as a Keras model too.

    Raises:
        PipelineError: missing, skipped, damaged, weights that do not fit the layers, or values
            that `save_classifier` cannot have written; or the nearest neighbours, which are not a
            network.
        ModuleNotFoundError: it has layers of KerasHub, which is not installed.
    """
    if name == NEIGHBOURS:
        raise PipelineError(NO_NETWORK)
    if name == PROBE:
        probe, shape, class_names = load_probe()
        model = build_linear(shape, probe.kernel, probe.bias)
        return Classifier(model, "features", class_names, None)
    described = read_description(name)
    if b'"keras_hub.' in described.content:
        import keras_hub  # noqa: F401, its layers are in the description
    try:
        model = _build(
            json.dumps(json.loads(described.content)["model"]), described.weights.stat().st_size
        )
        # it warns about missing groups, which the error that follows explains better
        with warnings.catch_warnings(action="ignore"):
            model.load_weights(described.weights)
    except Exception as error:  # Keras and h5py raise many exception types on bad values
        raise PipelineError(
            f"{described.file} and {described.weights.name} are damaged or do not belong together: "
            f"{error}"
        ) from None
    return Classifier(model, described.input_kind, described.class_names, described.epoch)


def _build(description: str, most: int) -> keras.Model:
    """Build the model of a description. It may have only layers of Keras and KerasHub, and
    not more bytes than its weights file.

    Raises:
        ValueError: it needs more bytes; raised before the memory is allocated.
    """
    from keras.src.backend.common import global_state  # Keras is loaded by transfer.compute.keras

    waiting = [*global_state.get_global_attribute(_WAITING, [])]
    try:
        with keras.StatelessScope(initialize_variables=False):
            plan = keras.models.model_from_json(description)
    finally:
        global_state.set_global_attribute(
            _WAITING, waiting
        )  # otherwise the next model would allocate the memory of the plan's variables too
    needed = sum(math.prod(variable.shape) for variable in plan.weights)
    if needed > most:
        raise ValueError(f"a model of {needed:,} numbers, and {most:,} bytes of weights")
    return keras.models.model_from_json(description)


def predict_logits(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Logits float32 (N, L) of inputs (N, ...)."""
    logits, step = [], inference_batch_rows(inputs.shape[1:])
    for start in range(0, len(inputs), step):
        batch = take(inputs, slice(start, start + step))
        # one shape, so that Keras traces the model once
        filled = np.zeros((step, *batch.shape[1:]), dtype=np.float32)
        filled[: len(batch)] = batch
        logits.append(keras.ops.convert_to_numpy(model.predict_on_batch(filled))[: len(batch)])
    return np.concatenate(logits)
