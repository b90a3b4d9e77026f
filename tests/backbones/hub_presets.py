"""Tiny presets of KerasHub with random weights, in the format in which KerasHub saves them."""

from pathlib import Path

import keras
import numpy as np

SIDE = {"dinov2": 28, "dinov3": 32, "siglip": 32}  # of the saved presets
SCALE, OFFSET = [0.02, 0.018, 0.017], [-2.1, -2.0, -1.8]


def network(kind: str) -> keras.Model:
    """A network of three blocks, as KerasHub builds it, with values that no two tensors share."""
    import keras_hub

    keras.utils.set_random_seed(1)
    sizes = {"num_layers": 3, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24}
    shape = (SIDE[kind], SIDE[kind], 3)
    if kind == "dinov2":
        built = keras_hub.models.DINOV2Backbone(
            patch_size=14,
            num_register_tokens=2,
            image_shape=shape,
            position_embedding_shape=(42, 42, 3),
            **sizes,
        )
    elif kind == "dinov3":
        built = keras_hub.models.DINOV3Backbone(
            patch_size=16, num_register_tokens=2, image_shape=shape, **sizes
        )
    else:
        vision = keras_hub.models.SigLIPVisionEncoder(patch_size=16, image_shape=shape, **sizes)
        text = keras_hub.models.SigLIPTextEncoder(
            vocabulary_size=8, embedding_dim=16, max_sequence_length=4, **sizes
        )
        built = keras_hub.models.SigLIPBackbone(vision, text)
    rng = np.random.default_rng(2)
    for variable in built.trainable_variables:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    return built


def converter(kind: str) -> keras.layers.Layer:
    """An image converter with a scale and an offset for each colour."""
    import keras_hub

    classes = {"dinov2": "DINOV2", "dinov3": "DINOV3", "siglip": "SigLIP"}
    return getattr(keras_hub.layers, f"{classes[kind]}ImageConverter")(
        image_size=(SIDE[kind], SIDE[kind]), scale=SCALE, offset=OFFSET
    )


def save(kind: str, folder: Path) -> Path:
    """A preset in a folder."""
    network(kind).save_to_preset(str(folder))
    converter(kind).save_to_preset(str(folder))
    return folder
