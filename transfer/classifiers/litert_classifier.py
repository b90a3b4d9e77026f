"""A trained classifier on a CPU, run by LiteRT: no Keras and no TensorFlow, one row at a time."""

from collections.abc import Sequence

import numpy as np

from transfer.compute.litert import InterpreterPool

LOGITS = ("logits",)  # outputs of every converted classifier, by name
# Further outputs of those that have layers with height and width of their own, for Grad-CAM:
# `last_maps`, and what the dense layers take.
EXPLANATION = ("maps", "features")


class LiteRTClassifier:
    """Maps pixels or cached activations to logits; several threads may call `logits` at once.

    Attributes:
        input_kind: `images`, `features` or `cut`, the array that it reads.
        input_shape: of one row of that array.
        class_names: the classes by label.
        batch_size: the number of rows per call; None if no byte depends on it.
        uses_all_cores: whether a single call does.
    """

    batch_size = None
    uses_all_cores = False

    def __init__(self, content: bytes, input_kind: str, class_names: list[str]):
        """
        Args:
            content: of the LiteRT file.

        Raises:
            ValueError: these bytes are not a LiteRT file.
        """
        self.input_kind, self.class_names = input_kind, class_names
        self._content = content
        self._interpreters = InterpreterPool(content, LOGITS)
        self.input_shape = self._interpreters.input_shape

    def logits(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Logits float32 (N, L) of inputs (N, *input_shape), L being 1 for two classes."""
        return self._interpreters.run(inputs)[0]

    def maps_and_features(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The last maps (N, h, w, C) and what the dense layers take, (N, h', w', C), float32, of
        inputs (N, *input_shape); only if the model reads `images` or the `cut`."""
        maps, features = InterpreterPool(self._content, EXPLANATION).run(inputs)
        return maps, features
