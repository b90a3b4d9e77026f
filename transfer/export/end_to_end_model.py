"""A classifier from pixels to probabilities: resizing, preprocessing, frozen and trained layers and
the temperature in one model."""

import re

from transfer.backbones.network import build_preprocessing, cut_tensor
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.saved import Classifier
from transfer.compute.keras import keras
from transfer.export.pillow_resize import ResizeAsPillow


def build_end_to_end(
    classifier: Classifier,
    backbone: keras.Model,
    params: BackboneParams,
    interpolation: str,
    temperature: float,
    resizes: bool = True,
) -> keras.Model:
    """RGB of any size, uint8 (B, h, w, 3) -> calibrated probabilities float32 (B, C).

    Without `resizes` it takes one image at the network's size, uint8 (1, S, S, 3): accelerators
    need shapes that are known beforehand. Everything but the classifier computes in the precision
    of the set-up.
    """
    if resizes:
        images = keras.Input((None, None, 3), dtype="uint8", name="images")
        pixels = ResizeAsPillow(params.image_size, interpolation)(images)
    else:
        side = params.image_size
        images = keras.Input((side, side, 3), batch_size=1, dtype="uint8", name="images")
        pixels = keras.layers.Rescaling(1.0)(images)  # to float32
    logits = (
        in_float32(classifier.model)(_taken(classifier.input_kind, pixels, backbone, params))
        / temperature
    )
    if logits.shape[-1] == 1:
        positive = keras.ops.sigmoid(logits)
        return keras.Model(
            images, keras.ops.concatenate([1 - positive, positive], axis=-1), name="classifier"
        )
    return keras.Model(images, keras.ops.softmax(logits), name="classifier")


def in_float32(model: keras.Model) -> keras.Model:
    """The same weights in layers that compute in float32: the runtimes know 16 bits in some
    operations only."""
    before = model.to_json()
    after = re.sub('"mixed_b?float16"', '"float32"', before)
    if after == before:
        return model
    same = keras.models.model_from_json(after)
    same.set_weights(model.get_weights())
    return same


def _taken(
    input_kind: str, pixels: keras.KerasTensor, backbone: keras.Model, params: BackboneParams
) -> keras.KerasTensor:
    """The classifier's input for resized pixels (B, S, S, 3): the pixels themselves, or the outputs
    of the frozen layers."""
    if input_kind == "images":
        return pixels
    frozen = (
        backbone.output if input_kind == "features" else cut_tensor(backbone, params.unfreeze_from)
    )
    return keras.Model(backbone.input, frozen)(build_preprocessing(params)(pixels))
