"""Grad-CAM: which regions of an image speak for a class."""

import numpy as np
from PIL import Image

from transfer.backbones.network import cut_tensor
from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError
from transfer.storage.arrays import take


def heat_maps(
    split_at: tuple[keras.Model, keras.Model],
    starts: np.ndarray,
    rows: np.ndarray,
    targets: np.ndarray,
) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017) of some images: where the last feature maps speak for a
    class.

    Args:
        split_at: what `split_at_maps` gives.
        starts: what the first of the two takes of all images, (N, h, w, C): activations at the cut,
            or pixels.
        rows: which images, int (M,).
        targets: the class to explain of each, int (M,).

    Returns:
        float32 (M, h', w'), 0 to 1; all 0 if nothing speaks for the class.
    """
    to_maps, to_logits = split_at
    if not len(rows):
        return np.zeros((0, *to_maps.output_shape[1:3]), dtype=np.float32)
    maps = keras.ops.convert_to_numpy(to_maps(take(starts, rows).astype(np.float32)))
    gradients = gradients_of_logits(to_logits, maps, signs(targets, to_logits.output_shape[-1]))
    # a channel that is the same everywhere (a transformer's class token) tells no region
    maps = maps * (np.ptp(maps, axis=(1, 2), keepdims=True) > 0)
    heat = np.maximum((maps * gradients.mean(axis=(1, 2), keepdims=True)).sum(axis=-1), 0)
    most = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)


def split_at_maps(
    classifier: keras.Model, input_kind: str, backbone: keras.Model, unfreeze_from: str
) -> tuple[keras.Model, keras.Model]:
    """Split a network in two: from the cut to the last activations with height and width, (B, h',
    w', C'), and from there to the logits (B, L).

    Pooling layers and activations of a single pixel are skipped, because the layers before them
    have more pixels. For a classifier
    that takes features, the backbone's layers are put in front; one that takes the cut or images
    has layers of its own.
    """
    if input_kind != "features":
        start, logits, layers = classifier.input, classifier.output, classifier.layers
    else:
        start, logits, layers = (
            cut_tensor(backbone, unfreeze_from),
            classifier(backbone.output),
            backbone.layers,
        )
    maps = [
        layer.output
        for layer in layers
        if isinstance(layer.output, keras.KerasTensor)
        and len(layer.output.shape) == 4
        and layer.output.shape[1:3] != (1, 1)
        and "Pooling" not in type(layer).__name__
    ][-1]
    return keras.Model(start, maps), keras.Model(maps, logits)


def signs(targets: np.ndarray, n_logits: int) -> np.ndarray:
    """The weights whose product with the logits is each target's logit, float32 (M, L). A single
    logit speaks for label 1 and against label 0."""
    if n_logits == 1:
        return (2 * targets - 1).reshape(-1, 1).astype(np.float32)
    return np.eye(n_logits, dtype=np.float32)[targets]


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


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The image in grey under its heat map: uint8 (H, W, 3) and float (h, w) from 0 to 1 -> uint8
    (H, W, 3)."""
    from matplotlib import colormaps

    height, width = image.shape[:2]
    smooth = np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    )
    grey = np.asarray(Image.fromarray(image).convert("L").convert("RGB"))
    colours = colormaps["inferno"](np.clip(smooth, 0, 1))[..., :3] * 255
    return np.rint(0.45 * grey + 0.55 * colours).astype(np.uint8)
