"""Labels image files with a network and its top: probabilities of ImageNet's 1,000 classes."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from transfer.backbones.efficientnet_lite import load_tensors
from transfer.backbones.published_network import build_with_top, preprocess
from transfer.backbones.torch_file import read_tensors
from transfer.compute.device import is_single_threaded
from transfer.compute.keras import keras
from transfer.decoding.rgb import BadImageError, memory_for, read_rgb, resize
from transfer.decoding.value_ranges import PixelRules
from transfer.imagenet.weights import MODEL_INFO
from transfer.inference.predictions import Prediction, PredictionRow
from transfer.runtime.cores import map_in_order
from transfer.sources.source_file import SourceFile

NOT_FINITE = "the network gives it no finite number; see compute.precision"


class Labeller:
    """Labels one image at a time with a network at the size and with the preprocessing that it was
    trained with; several threads may use it at once."""

    def __init__(
        self, name: str, weights: Path, interpolation: str, rules: PixelRules | None = None
    ):
        """
        Args:
            weights: from `find_weights`.
            interpolation: `decode.interpolation`.
            rules: how samples become 8-bit RGB; None is the rules of 8-bit images.
        """
        self.side = MODEL_INFO[name].side
        self._interpolation, self._rules = interpolation, rules
        self._name = name
        self._network = build_with_top(name, self.side)
        if weights.suffix == ".pth":
            load_tensors(self._network, read_tensors(weights.read_bytes()))
        else:
            self._network.load_weights(weights)
        blank = np.zeros((self.side, self.side, 3), np.uint8)
        self.probabilities(blank)  # traced once, before threads share it

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """The network's own softmax for an image uint8 (side, side, 3): float64 (CLASSES,)."""
        pixels = preprocess(self._name, image[None].astype(np.float32))
        return keras.ops.convert_to_numpy(self._network.predict_on_batch(pixels))[0].astype(
            np.float64
        )

    def stream(self, entries: Iterable[SourceFile]) -> Iterator[PredictionRow]:
        """Label image files in their order: one row per file, also for a file that is no image.

        One thread per core reads and labels one image after the other, so that few images are in
        memory and a row depends only on its image. If one image uses all cores, or there is a GPU,
        there is one thread.
        """
        return map_in_order(self._label, entries, workers=None if is_single_threaded() else 1)

    def _label(self, entry: SourceFile) -> PredictionRow:
        if entry.problem is not None:
            return PredictionRow(entry.path, None, entry.problem)
        try:
            with memory_for(entry.content):
                image = resize(read_rgb(entry.content, self._rules), self.side, self._interpolation)
        except BadImageError as problem:
            return PredictionRow(entry.path, None, str(problem))
        probabilities = self.probabilities(image)
        if not np.isfinite(probabilities).all():
            return PredictionRow(entry.path, None, NOT_FINITE)
        return PredictionRow(entry.path, Prediction(probabilities))
