"""Explains which regions of an image speak for a class. What computes that is loaded on first
use, because Keras, where it is needed, takes seconds."""

import contextlib
import sys
import threading

import numpy as np

from transfer.backbones.registry import BackboneParams
from transfer.classifiers.converted import CannotConvertError
from transfer.classifiers.loading import load_without_keras
from transfer.compute.params import ComputeParams
from transfer.evaluation.gradcam import GradCam
from transfer.features.frozen_network import choose_runtime
from transfer.runtime.params import load_params


class Explainer:
    """Draws Grad-CAM heat maps of the model `models/NAME`, as `evaluate` does; several threads may
    call it at once."""

    def __init__(self, name: str):
        self._name = name
        # not every backend guarantees that two calls at once are safe
        self._lock = threading.Lock()
        self._gradcam: GradCam | None = None

    def heat_map(self, activations: dict[str, np.ndarray], label: int) -> np.ndarray:
        """Where one image speaks for a class, float32 (h, w) from 0 to 1; all 0 if nowhere.

        Args:
            activations: of one image, as `Predictor.activations` gives them.
            label: of the class.

        Raises:
            PipelineError: a file of the model or of the backbone is missing or damaged.
        """
        with self._lock:
            if self._gradcam is None:
                self._gradcam = _load(self._name)
            starts = activations[self._gradcam.start]
            return self._gradcam.heat_maps(starts, np.array([label]))[0]


def _load(name: str) -> GradCam:
    """The Grad-CAM of a model, on LiteRT if that computes the model and the frozen network."""
    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute")
    if choose_runtime(architecture, compute) == "litert":
        with contextlib.suppress(CannotConvertError):
            classifier = load_without_keras(name, compute, frozen_on_keras=False)
            from transfer.evaluation.litert_gradcam import LiteRTGradCam

            return LiteRTGradCam(name, classifier, architecture)
    # If Keras is loaded already, it has been set up, and that cannot be repeated.
    if "keras" not in sys.modules:
        from transfer.compute.device import configure_backend

        configure_backend(compute, seed=0)
    from transfer.classifiers.saved import load_classifier
    from transfer.evaluation.keras_gradcam import KerasGradCam

    return KerasGradCam(load_classifier(name), architecture)
