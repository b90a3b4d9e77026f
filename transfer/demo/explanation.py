"""Explains which regions of an image speak for a class. What computes that is loaded on first
use, because Keras, where it is needed, takes seconds."""

import sys
import threading
from collections.abc import Callable

import numpy as np

from transfer.backbones.registry import BackboneParams
from transfer.classifiers.converted import CannotConvertError
from transfer.classifiers.loading import load_without_keras
from transfer.compute.params import ComputeParams
from transfer.features.frozen_network import choose_runtime
from transfer.runtime.params import load_params

HeatMaps = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Explainer:
    """Draws Grad-CAM heat maps of the model `models/NAME`, as `evaluate` does; several threads may
    call it at once."""

    def __init__(self, name: str):
        self._name = name
        # not every backend guarantees that two calls at once are safe
        self._lock = threading.Lock()
        self._heat_maps = None

    def heat_map(self, activations: dict[str, np.ndarray], label: int) -> np.ndarray:
        """Where one image speaks for a class, float32 (h, w) from 0 to 1; all 0 if nowhere.

        Args:
            activations: of one image, as `Predictor.activations` gives them.
            label: of the class.

        Raises:
            PipelineError: a file of the model or of the backbone is missing or damaged.
        """
        with self._lock:
            if self._heat_maps is None:
                self._start, self._heat_maps = _load(self._name)
            return self._heat_maps(activations[self._start], np.array([label]))[0]


def _load(name: str) -> tuple[str, HeatMaps]:
    """The array that the explanation starts from, `images` or `cut`, and the function that makes
    heat maps of some of its rows, (M, ...), and as many labels."""
    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute")
    if choose_runtime(architecture, compute) == "litert":
        try:
            classifier = load_without_keras(name, compute, frozen_on_keras=False)
        except CannotConvertError:
            return _load_on_keras(name, architecture, compute)
        from transfer.evaluation.litert_gradcam import LiteRTGradCam

        gradcam = LiteRTGradCam(name, classifier, architecture)
        return gradcam.start, gradcam.heat_maps
    return _load_on_keras(name, architecture, compute)


def _load_on_keras(
    name: str, architecture: BackboneParams, compute: ComputeParams
) -> tuple[str, HeatMaps]:
    """As `_load`, with Keras's backend."""
    # If Keras is loaded already, it has been set up, and that cannot be repeated.
    if "keras" not in sys.modules:
        from transfer.compute.device import configure_backend

        configure_backend(compute, seed=0)
    from transfer.backbones.network import load_backbone
    from transfer.classifiers.saved import load_classifier
    from transfer.evaluation.keras_gradcam import heat_maps, split_at_maps

    classifier = load_classifier(name)
    split_at = split_at_maps(
        classifier.model,
        classifier.input_kind,
        load_backbone(architecture),
        architecture.unfreeze_from,
    )
    return (
        "images" if classifier.input_kind == "images" else "cut",
        lambda starts, labels: heat_maps(split_at, starts, np.arange(len(starts)), labels),
    )
