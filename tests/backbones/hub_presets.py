"""Tiny presets of KerasHub with random weights, in the format in which KerasHub saves them."""

from pathlib import Path

import keras
import numpy as np

SIDE = {"dinov2": 28, "dinov3": 32, "siglip": 32, "vit": 32}  # of the saved presets
# tokens in front of those of the patches
PREFIX = {"dinov2": 3, "dinov3": 3, "vit": 1}
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
    elif kind == "vit":
        sizes["mlp_dim"] = sizes.pop("intermediate_dim")
        built = keras_hub.models.ViTBackbone(patch_size=16, image_shape=shape, **sizes)
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


def pictures(size: int) -> np.ndarray:
    """Two pictures of noise, float32 (2, size, size, 3) in 0..255."""
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.float32)


def features_of_hub(kind: str, built: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """The features (N, C) as KerasHub's own network computes them from preprocessed pixels."""
    if kind == "siglip":
        vision = built.vision_encoder
        patches = keras.Model(vision.input, vision.post_layer_norm.output)
        pooled, tokens = (model.predict_on_batch({"images": pixels}) for model in (vision, patches))
        return np.concatenate([pooled, tokens.mean(axis=1)], axis=-1)
    named = isinstance(built.input, dict)
    tokens = built.predict_on_batch(dict.fromkeys(built.input, pixels) if named else pixels)
    return np.concatenate([tokens[:, 0], tokens[:, PREFIX[kind] :].mean(axis=1)], axis=-1)


def converter(kind: str) -> keras.layers.Layer:
    """An image converter with a scale and an offset for each colour."""
    import keras_hub

    classes = {"dinov2": "DINOV2", "dinov3": "DINOV3", "siglip": "SigLIP", "vit": "ViT"}
    return getattr(keras_hub.layers, f"{classes[kind]}ImageConverter")(
        image_size=(SIDE[kind], SIDE[kind]), scale=SCALE, offset=OFFSET
    )


def save(kind: str, folder: Path) -> Path:
    """A preset in a folder."""
    network(kind).save_to_preset(str(folder))
    converter(kind).save_to_preset(str(folder))
    return folder


def save_file(kind: str, path: Path, in_task: bool = False) -> Path:
    """The network for images in a `.keras` file, alone or, a ViT, in a classifier with its image
    converter."""
    import keras_hub

    built = network(kind)
    if in_task:
        preprocessor = keras_hub.models.ViTImageClassifierPreprocessor(converter(kind))
        built = keras_hub.models.ViTImageClassifier(built, num_classes=3, preprocessor=preprocessor)
    getattr(built, "vision_encoder", built).save(path)
    return path
