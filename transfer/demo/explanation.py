"""Explains which regions of an image speak for a class, with the Keras model. The model is loaded
on first use, because TensorFlow takes seconds."""

import sys
import threading

import numpy as np


class Explainer:
    """Draws Grad-CAM heat maps of the model `models/NAME`; several threads may call it at once."""

    def __init__(self, name: str):
        self._name = name
        # not every backend guarantees that two calls at once are safe
        self._lock = threading.Lock()
        self._split_at = None

    def heat_map(self, activations: dict[str, np.ndarray], label: int) -> np.ndarray:
        """Where one image speaks for a class, float32 (h, w) from 0 to 1; all 0 if nowhere.

        Args:
            activations: of one image, as `Predictor.activations` gives them.
            label: of the class.

        Raises:
            PipelineError: a file of the model or of the backbone is missing or damaged.
        """
        with self._lock:
            if self._split_at is None:
                self._input_kind, self._split_at = _load(self._name)
            from transfer.evaluation.keras_gradcam import heat_maps

            starts = activations[self._input_kind]
            return heat_maps(self._split_at, starts, np.array([0]), np.array([label]))[0]


def _load(name: str) -> tuple[str, tuple]:
    """The array that the explanation starts from, `images` or `cut`, and the result of
    `split_at_maps` for it."""
    from transfer.compute.params import ComputeParams
    from transfer.runtime.params import load_params

    # If Keras is loaded already, it has been set up, and that cannot be repeated.
    if "keras" not in sys.modules:
        from transfer.compute.device import configure_backend

        configure_backend(load_params(ComputeParams, "compute"), seed=0)
    from transfer.backbones.network import load_backbone
    from transfer.backbones.registry import BackboneParams
    from transfer.classifiers.saved import load_classifier
    from transfer.evaluation.keras_gradcam import split_at_maps

    architecture, classifier = load_params(BackboneParams, "backbone"), load_classifier(name)
    split_at = split_at_maps(
        classifier.model,
        classifier.input_kind,
        load_backbone(architecture),
        architecture.unfreeze_from,
    )
    return "images" if classifier.input_kind == "images" else "cut", split_at
