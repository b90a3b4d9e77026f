"""Logits of a trained classifier, computed as `predict` computes them."""

from functools import lru_cache

import numpy as np

from transfer.classifiers.saved import Classifier, predict_logits
from transfer.compute.device import is_single_threaded
from transfer.compute.keras import keras
from transfer.compute.litert_support import why_no_litert
from transfer.storage.arrays import inference_batch_rows, take


def classifier_logits(classifier: Classifier, inputs: np.ndarray) -> np.ndarray:
    """Logits float32 (N, L) of inputs (N, ...).

    On a CPU LiteRT computes them, one row at a time, as it does for new images, so that both get
    the same digits; on an accelerator, and if LiteRT cannot run the model, Keras's backend does.
    """
    content = _converted(classifier.model, classifier.input_kind)
    if content is None:
        return predict_logits(classifier.model, inputs)
    from transfer.classifiers.litert_classifier import LiteRTClassifier

    on_litert = LiteRTClassifier(content, classifier.input_kind, classifier.class_names)
    step = inference_batch_rows(inputs.shape[1:])
    parts = [
        on_litert.logits(take(inputs, slice(start, start + step)))
        for start in range(0, len(inputs), step)
    ]
    return np.concatenate(parts)


@lru_cache(maxsize=1)  # validation and test images are asked for one after the other
def _converted(model: keras.Model, input_kind: str) -> bytes | None:
    """The model's LiteRT file; None if Keras's backend is to compute its logits."""
    precision = keras.config.dtype_policy().name
    # LiteRT takes the place of TensorFlow on a CPU
    if not is_single_threaded() or why_no_litert(precision):
        return None
    from transfer.backbones.conversion import ConversionError
    from transfer.classifiers.conversion import convert_classifier

    try:
        return convert_classifier(model, input_kind)
    except ConversionError as reason:
        print(f"{model.name} is computed by Keras, not by LiteRT: {reason}", flush=True)
        return None
