"""Grad-CAM of the models that LiteRT and NumPy compute; imports no Keras."""

from functools import partial

import numpy as np

from transfer.backbones.converted import read_converted, read_network
from transfer.backbones.litert_network import maps_and_features
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.dense_head import load_dense_head
from transfer.classifiers.litert_classifier import LiteRTClassifier
from transfer.classifiers.names import PROBE
from transfer.classifiers.probe import ProbeClassifier, load_probe
from transfer.evaluation.gradcam import heat_of, signs


class LiteRTGradCam:
    """The `GradCam` of the model `models/NAME`."""

    def __init__(
        self,
        name: str,
        classifier: LiteRTClassifier | ProbeClassifier,
        architecture: BackboneParams,
    ):
        """
        Args:
            classifier: the model, as `load_without_keras` gives it.

        Raises:
            PipelineError: a file of the model or the converted backbone is missing or damaged.
        """
        if classifier.input_kind == "features":
            network = read_network(read_converted(architecture))
            self.start, self._run = "images", partial(maps_and_features, network)
        else:
            self.start, self._run = classifier.input_kind, classifier.maps_and_features
        self._last = load_probe()[0] if name == PROBE else load_dense_head(name)

    def heat_maps(self, starts: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """As `GradCam` has it."""
        maps, features = self._run(starts)
        return heat_of(maps, self._last.gradients(features, signs(labels, self._last.n_logits)))
