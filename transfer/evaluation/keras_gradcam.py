"""Grad-CAM of any Keras model, with the gradients of its backend."""

import numpy as np

from transfer.backbones.network import cut_tensor, last_maps, load_backbone
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.saved import Classifier
from transfer.compute.keras import keras
from transfer.evaluation.gradcam import heat_of, signs
from transfer.runtime.errors import PipelineError


class KerasGradCam:
    """The `GradCam` of a classifier on Keras's backend."""

    def __init__(self, classifier: Classifier, architecture: BackboneParams):
        """
        Raises:
            PipelineError: a file of the backbone is missing or damaged.
        """
        kind = classifier.input_kind
        # in front of a model that takes features, Grad-CAM needs the backbone's layers
        backbone = load_backbone(architecture) if kind == "features" else None
        self.start = "images" if kind == "images" else "cut"
        self._halves = split_at_maps(classifier.model, kind, backbone, architecture.unfreeze_from)

    def heat_maps(self, starts: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """As `GradCam` has it."""
        return heat_maps(self._halves, starts, labels)


def heat_maps(
    split_at: tuple[keras.Model, keras.Model], starts: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Grad-CAM of some images: where the last feature maps speak for a class.

    Args:
        split_at: what `split_at_maps` gives.
        starts: what the first of the two takes, (M, h, w, C): activations at the cut, or pixels.
        labels: the class to explain of each, int (M,).

    Returns:
        float32 (M, h', w'), 0 to 1; all 0 if nothing speaks for the class.
    """
    to_maps, to_logits = split_at
    if not len(starts):
        return np.zeros((0, *to_maps.output_shape[1:3]), dtype=np.float32)
    maps = keras.ops.convert_to_numpy(to_maps(starts.astype(np.float32)))
    gradients = gradients_of_logits(to_logits, maps, signs(labels, to_logits.output_shape[-1]))
    return heat_of(maps, gradients)


def split_at_maps(
    classifier: keras.Model, input_kind: str, backbone: keras.Model | None, unfreeze_from: str
) -> tuple[keras.Model, keras.Model]:
    """Split a network in two: from the cut to its `last_maps`, and from there to the logits (B, L).

    For a classifier that takes features, the backbone's layers are put in front; one that takes the
    cut or images has layers of its own.
    """
    if input_kind != "features":
        start, logits, layers = classifier.input, classifier.output, classifier.layers
    else:
        start, logits, layers = (
            cut_tensor(backbone, unfreeze_from),
            classifier(backbone.output),
            backbone.layers,
        )
    maps = last_maps(layers)
    return keras.Model(start, maps), keras.Model(maps, logits)


def gradients_of_logits(model: keras.Model, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Gradient of the sum of weights (M, L) times logits with regard to the inputs (M, ...), in
    their shape.

    Keras has no gradient of its own, so the backend computes it.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        variable = tf.convert_to_tensor(inputs)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            total = tf.reduce_sum(model(variable) * weights)
        return tape.gradient(total, variable).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(lambda variable: (model(variable) * weights).sum())(inputs))
    if backend == "torch":
        variable = keras.ops.convert_to_tensor(inputs).requires_grad_()
        (model(variable) * keras.ops.convert_to_tensor(weights)).sum().backward()
        return keras.ops.convert_to_numpy(variable.grad)
    raise PipelineError(
        f"KERAS_BACKEND={backend}: it has no gradients; choose tensorflow, jax or torch"
    )
