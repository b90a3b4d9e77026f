"""Builds the networks of the table, from keras.applications or from this package, and preprocesses
images as each was trained."""

from typing import Any

from transfer.backbones.efficientnet_lite import CLASSES, build_efficientnet_lite
from transfer.backbones.registry import find_architecture
from transfer.compute.keras import keras


def build_published(
    name: str, pixels: keras.KerasTensor, includes_scaling: bool = True
) -> keras.Model:
    """The network without its top, with random weights: pixels (B, side, side, 3) -> features
    (B, h, w, C).

    Args:
        includes_scaling: whether the networks that do so scale pixels themselves.

    Raises:
        PipelineError: no such network.
    """
    architecture = find_architecture(name)
    if architecture.module is None:
        return build_efficientnet_lite(name, pixels, includes_scaling=includes_scaling)
    options = {"include_preprocessing": includes_scaling} if architecture.scales_itself else {}
    return getattr(keras.applications, name)(
        include_top=False, weights=None, input_tensor=pixels, **options
    )


def build_with_top(name: str, side: int) -> keras.Model:
    """The network with its top, with random weights: preprocessed images (B, side, side, 3) ->
    probabilities of ImageNet's classes (B, 1000).

    Raises:
        PipelineError: no such network.
    """
    shape = (side, side, 3)
    if find_architecture(name).module is None:
        return build_efficientnet_lite(name, keras.Input(shape), include_top=True)
    return getattr(keras.applications, name)(
        include_top=True, weights=None, input_shape=shape, classes=CLASSES
    )


def preprocess(name: str, images: Any) -> Any:
    """RGB in 0..255 (B, H, W, 3) -> what the network was trained on, the same shape.

    Networks that scale pixels themselves get them unchanged. A NumPy array is overwritten.
    """
    module = find_architecture(name).module
    return (
        images if module is None else getattr(keras.applications, module).preprocess_input(images)
    )
