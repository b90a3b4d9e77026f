"""A trained classifier on Keras's backend: for accelerators, and for CPUs if LiteRT cannot run
it."""

import threading
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np

from transfer.classifiers.saved import Classifier
from transfer.compute.device import has_accelerator, is_single_threaded
from transfer.compute.keras import keras

# With 12 images a dense layer's rows depend on their place in the batch, with 16, 24, 48, 64 and
# 256 they do not and are the same bits (measured for 123 heads).
CPU_BATCH = 24


class KerasClassifier:
    """Maps pixels or cached activations to logits, in batches of one size; several threads may call
    `logits` at once.

    Attributes: as those of `LiteRTClassifier`.
    """

    def __init__(self, classifier: Classifier, batch_size: int):
        """
        Args:
            batch_size: rows that an accelerator gets at a time.
        """
        self.input_kind, self.class_names = classifier.input_kind, classifier.class_names
        self.input_shape = tuple(classifier.model.input_shape[1:])
        self.batch_size = batch_size if has_accelerator() else CPU_BATCH
        self.uses_all_cores = not is_single_threaded()
        self._model = classifier.model
        # Keras's other backends spread one call over all cores, and nothing promises that two calls
        # at once are safe there.
        self._turn = nullcontext() if is_single_threaded() else threading.Lock()
        self.logits(np.zeros((1, *self.input_shape)))  # traced once, before threads share it

    def logits(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Logits float32 (N, L) of inputs (N, *input_shape), L being 1 for two classes."""
        batches = [
            self._batch_logits(inputs[start : start + self.batch_size])
            for start in range(0, len(inputs), self.batch_size)
        ]
        return np.concatenate(batches)

    def _batch_logits(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        batch = np.zeros((self.batch_size, *self.input_shape), np.float32)
        batch[: len(inputs)] = inputs
        with self._turn:
            return keras.ops.convert_to_numpy(self._model.predict_on_batch(batch))[: len(inputs)]
