"""The pretrained network in front of the head, and where it is cut in two.

image --> [ preprocessing, frozen layers ] --> activations at the cut --> [ trainable layers ] --> features
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import PositiveInt

from transfer.errors import PipelineError
from transfer.lean import keras
from transfer.params import Params

WEIGHTS = Path("data/weights/backbone.weights.h5")


@dataclass(frozen=True)
class Architecture:
    """What is known of a backbone: its Keras constructor, its own preprocessing, its smallest image side."""

    build: Callable[..., keras.Model]
    preprocess: Callable
    smallest: int


ARCHITECTURES = {
    "VGG16": Architecture(keras.applications.VGG16, keras.applications.vgg16.preprocess_input, 32),
    "VGG19": Architecture(keras.applications.VGG19, keras.applications.vgg19.preprocess_input, 32),
}


class BackboneParams(Params):
    name: str
    image_size: PositiveInt
    preprocessing: str
    unfreeze_from: str


def build_backbone(name: str, image_size: int | None = None) -> keras.Model:
    """The network without its top, with random weights: preprocessed (B, image_size, image_size, 3) -> features (B, h, w, C).

    Convolutions do not depend on the image size; without one the smallest is taken.

    Raises:
        PipelineError: no such backbone, or an image size below its smallest.
    """
    architecture = ARCHITECTURES.get(name)
    if architecture is None:
        raise PipelineError(f"backbone.name = {name!r}: no such backbone; there are {', '.join(ARCHITECTURES)}")
    size = image_size or architecture.smallest
    if size < architecture.smallest:
        raise PipelineError(f"backbone.image_size = {size}: {name} needs at least {architecture.smallest} pixels a side")
    pixels = keras.Input((size, size, 3), name="input_layer")  # Keras would number it by the process's history, and saved files hold names
    layers = architecture.build(include_top=False, weights=None, input_tensor=pixels)
    return keras.Model(pixels, layers.output, name=layers.name)


def load_backbone(params: BackboneParams, weights: Path = WEIGHTS) -> keras.Model:
    """The backbone with the weights that the `weights` stage obtained.

    Raises:
        PipelineError: the file is missing, damaged or of another backbone.
    """
    backbone = build_backbone(params.name, params.image_size)
    if not weights.exists():
        raise PipelineError(f"{weights} is missing; run `dvc repro weights` or `dvc pull`")
    try:
        backbone.load_weights(weights)
    except Exception as error:  # h5py raises RuntimeError, TypeError and more on a damaged file
        raise PipelineError(f"{weights} is damaged or not of {params.name} ({error}); delete it and run `dvc repro weights`") from None
    return backbone


def build_preprocessing(params: BackboneParams) -> keras.Model:
    """RGB in 0..255 (B, image_size, image_size, 3) -> what the backbone takes, the same shape.

    `imagenet`: as the backbone was trained (VGG: BGR less the mean of ImageNet). `rescale`: x / 255, as the lessons do.

    Raises:
        PipelineError: any other name.
    """
    images = keras.Input((params.image_size, params.image_size, 3), name="images")
    if params.preprocessing == "imagenet":
        pixels = ARCHITECTURES[params.name].preprocess(images)
    elif params.preprocessing == "rescale":
        pixels = keras.layers.Rescaling(1 / 255)(images)
    else:
        raise PipelineError(f"backbone.preprocessing = {params.preprocessing!r}: choose imagenet or rescale")
    return keras.Model(images, pixels, name="preprocessing")


def with_preprocessing(backbone: keras.Model, params: BackboneParams) -> keras.Model:
    """The frozen pass over an image: RGB 0..255 (B, H, W, 3) -> [activations at the cut, features], in the precision of the set-up."""
    preprocessing = build_preprocessing(params)
    both = keras.Model(backbone.input, [cut_tensor(backbone, params.unfreeze_from), backbone.output])
    return keras.Model(preprocessing.input, both(preprocessing.output), name="frozen")


def cut_tensor(backbone: keras.Model, unfreeze_from: str):
    """The last tensor in front of the first trainable layer.

    Raises:
        PipelineError: no layer of that name.
    """
    names = [layer.name for layer in backbone.layers[1:]]
    if unfreeze_from not in names:
        raise PipelineError(f"backbone.unfreeze_from = {unfreeze_from!r}: no such layer in {backbone.name}; there are {', '.join(names)}")
    return backbone.get_layer(unfreeze_from).input


def trainable_tail(backbone: keras.Model, unfreeze_from: str) -> keras.Model:
    """The layers from `unfreeze_from` to the features, sharing the backbone's weights: cut (B, h, w, C) -> features."""
    tail = keras.Model(cut_tensor(backbone, unfreeze_from), backbone.output, name="tail")
    names = [layer.name for layer in backbone.layers]
    expected = len(names) - names.index(unfreeze_from)
    if len(tail.layers) - 1 != expected:
        raise PipelineError(
            f"backbone.unfreeze_from = {unfreeze_from!r}: {backbone.name} cannot be cut there, {len(tail.layers) - 1} layers follow "
            f"instead of {expected}; choose a layer that every path goes through"
        )
    return tail


def stitch(backbone: keras.Model, head: keras.Model, params: BackboneParams) -> keras.Model:
    """The whole classifier, RGB 0..255 (B, H, W, 3) -> logits, sharing the weights of both parts."""
    images = keras.Input((params.image_size, params.image_size, 3), name="images")
    return keras.Model(images, head(backbone(build_preprocessing(params)(images))), name="classifier")


def freeze_below(backbone: keras.Model, unfreeze_from: str | None) -> None:
    """Make the layers from `unfreeze_from` on trainable and freeze those in front; None freezes all.

    A model that holds the backbone must be compiled again afterwards.
    """
    names = [layer.name for layer in backbone.layers]
    first = len(names) if unfreeze_from is None else names.index(unfreeze_from)
    backbone.trainable = True
    for position, layer in enumerate(backbone.layers):
        layer.trainable = position >= first  # each by itself: the model's own setter does not reach the layers of a graph
