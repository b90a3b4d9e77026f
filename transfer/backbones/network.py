"""Builds the pretrained backbone and cuts it into frozen and trainable layers.

image --> [ preprocessing, frozen layers ] --> activations at the cut --> [ trainable layers ] -->
features
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from transfer.backbones.hub_network import build_hub
from transfer.backbones.hub_presets import LAST_BLOCK, is_hub_preset
from transfer.backbones.layer_table import FUNCTIONAL, read_recorded
from transfer.backbones.published_network import build_published, preprocess
from transfer.backbones.registry import LAYERS, WEIGHTS, BackboneParams, is_own_model
from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError


def build_backbone(name: str, image_size: int, includes_scaling: bool = True) -> keras.Model:
    """The network without its top, with random weights: (B, image_size, image_size, 3) -> features
    (B, h, w, C). The user's own model and a preset of KerasHub are built as the stage `weights`
    recorded them.

    Args:
        includes_scaling: whether the networks that do so scale pixels themselves.

    Raises:
        PipelineError: no such backbone, or a model that cannot be built for this image size.
        ModuleNotFoundError: it is a network of KerasHub, which is not installed.
    """
    own = read_recorded() if is_own_model(name) else None
    if is_hub_preset(name) or (own is not None and own["class_name"] != FUNCTIONAL):
        return build_hub(name, image_size)
    # otherwise Keras numbers it by what the process built before
    pixels = keras.Input((image_size, image_size, 3), name="input_layer")
    if own is not None:
        return _build_own(own["config"], pixels)
    network = build_published(name, pixels, includes_scaling)
    return _named_as_if_first(keras.Model(pixels, network.output, name=network.name))


def _build_own(config: dict, pixels: keras.KerasTensor) -> keras.Model:
    try:
        model = keras.Model.from_config(config)
        return keras.models.clone_model(model, input_tensors=[pixels])
    except Exception as error:  # Keras raises many exception types on bad values
        raise PipelineError(
            f"the model in {LAYERS} cannot be built for images of {pixels.shape[1]} pixels "
            f"(backbone.image_size): {error}"
        ) from None


def _named_as_if_first(model: keras.Model) -> keras.Model:
    """The same layers, with names numbered from 0. Keras numbers them by what the process has built
    before.

    Models on disk contain these names, and `backbone.unfreeze_from` is one of them.
    """
    numbered = defaultdict(list)
    for operation in model.operations:
        prefix, number = re.fullmatch(r"(.*?)(?:_(\d+))?", operation.name).groups()
        if prefix.replace("_", "") == type(operation).__name__.lower():
            numbered[prefix].append((int(number or 0), operation.name))
    new_names = {
        name: f"{prefix}_{place}" if place else prefix
        for prefix, names in numbered.items()
        for place, (_, name) in enumerate(sorted(names))
    }
    if all(old == new for old, new in new_names.items()):
        return model
    return keras.models.model_from_json(
        re.sub(r'"(\w+)"', lambda word: f'"{new_names.get(word[1], word[1])}"', model.to_json())
    )


def load_backbone(params: BackboneParams) -> keras.Model:
    """The backbone with the weights that the `weights` stage obtained.

    Raises:
        PipelineError: the file is missing, damaged or of another backbone.
    """
    backbone = build_backbone(params.name, params.image_size, params.preprocessing == "imagenet")
    if not WEIGHTS.exists():
        raise PipelineError(f"{WEIGHTS} is missing; run `dvc repro weights` or `dvc pull`")
    try:
        backbone.load_weights(WEIGHTS)
    except Exception as error:  # h5py raises RuntimeError, TypeError and more on a damaged file
        raise PipelineError(
            f"{WEIGHTS} is damaged or not of {params.name} ({error}); delete it and run `dvc repro "
            "weights`"
        ) from None
    return backbone


def build_preprocessing(params: BackboneParams) -> keras.Model:
    """RGB in 0..255 (B, image_size, image_size, 3) -> what the backbone takes, the same shape.

    `imagenet`: as the backbone was trained (VGG: BGR minus the mean of ImageNet; networks that
    scale pixels themselves get them unchanged; presets of KerasHub and the user's own models: what
    their image converter does, as recorded in LAYERS). `rescale`: x / 255, as the lesson does.
    `none`: 0..255.

    Raises:
        PipelineError: `imagenet` for a preset or a model that has no image converter.
    """
    images = keras.Input((params.image_size, params.image_size, 3), name="images")
    is_recorded = is_hub_preset(params.name) or is_own_model(params.name)
    if params.preprocessing == "imagenet" and is_recorded:
        pixels = _convert_pixels(images, params.name)
    elif params.preprocessing == "imagenet":
        pixels = preprocess(params.name, images)
    elif params.preprocessing == "rescale":
        pixels = keras.layers.Rescaling(1 / 255)(images)
    else:
        pixels = images
    return keras.Model(images, pixels, name="preprocessing")


def _convert_pixels(images: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """What the recorded image converter makes of images of the network's size."""
    converter = read_recorded()["converter"]
    if converter is None:
        raise PipelineError(
            f"backbone.preprocessing = 'imagenet': {name} has no image converter of KerasHub, so "
            "how its network was trained is not known; choose rescale or none"
        )
    scale, offset = (
        neutral if converter[key] is None else converter[key]
        for key, neutral in (("scale", 1.0), ("offset", 0.0))
    )
    return keras.layers.Rescaling(scale, offset)(images)


def with_preprocessing(
    backbone: keras.Model, params: BackboneParams, with_maps: bool = False
) -> keras.Model:
    """The frozen pass over an image: RGB 0..255 (B, H, W, 3) -> [activations at the cut, features],
    in the precision of the set-up.

    Args:
        with_maps: give the backbone's `last_maps` as a third output.
    """
    preprocessing = build_preprocessing(params)
    wanted = [cut_tensor(backbone, params.unfreeze_from), backbone.output]
    if with_maps:
        wanted.append(last_maps(backbone.layers))
    network = keras.Model(backbone.input, wanted)
    return keras.Model(preprocessing.input, network(preprocessing.output), name="frozen")


def last_maps(layers: Sequence[keras.Layer]) -> keras.KerasTensor:
    """The last activations with height and width, (B, h, w, C), for which Grad-CAM is computed.

    Pooling layers and activations of a single pixel are skipped, because the layers before them
    have more pixels.
    """
    maps = spatial_outputs(layer for layer in layers if "Pooling" not in type(layer).__name__)
    return [each for each in maps if each.shape[1:3] != (1, 1)][-1]


def spatial_outputs(layers: Iterable[keras.Layer]) -> list[keras.KerasTensor]:
    """The outputs that have height and width, (B, h, w, C), in the order of the layers."""
    outputs = (layer.output for layer in layers)
    return [
        output
        for output in outputs
        if isinstance(output, keras.KerasTensor) and len(output.shape) == 4
    ]


def cut_tensor(backbone: keras.Model, unfreeze_from: str) -> keras.KerasTensor:
    """The last tensor in front of the first trainable layer, (B, h, w, C).

    Raises:
        PipelineError: no layer of that name, or one that some paths bypass.
    """
    trainable_tail(backbone, unfreeze_from)
    return _input_of(
        backbone.layers, [layer.name for layer in backbone.layers].index(unfreeze_from)
    )


def trainable_tail(backbone: keras.Model, unfreeze_from: str) -> keras.Model:
    """The layers from `unfreeze_from` to the features, sharing the backbone's weights: cut (B, h,
    w, C) -> features.

    Raises:
        PipelineError: as `cut_tensor`.
    """
    names = [layer.name for layer in backbone.layers]
    named = f"backbone.unfreeze_from = {unfreeze_from!r}"
    if unfreeze_from == LAST_BLOCK and LAST_BLOCK not in names:
        raise PipelineError(
            f"{named}, which null stands for: no sequence of transformer blocks was found in the "
            "model; name the layer where fine-tuning starts, one of "
            f"{', '.join(_suitable(backbone)) or ', '.join(names[1:])}"
        )
    if unfreeze_from not in names[1:]:
        raise PipelineError(
            f"{named}: no such layer in {backbone.name}; there are {', '.join(names[1:])}"
        )
    place = names.index(unfreeze_from)
    if (tail := _tail_from(backbone, place)) is not None:
        return tail
    others = sorted(range(1, len(names)), key=lambda other: abs(other - place))
    nearest = next(
        (names[other] for other in others if _tail_from(backbone, other) is not None), names[1]
    )
    raise PipelineError(
        f"{named}: {backbone.name} cannot be cut there, because some paths bypass that layer; the "
        f"nearest suitable layer is {nearest}"
    )


def _suitable(backbone: keras.Model) -> list[str]:
    """The layers that the backbone can be cut in front of and that have weights to train."""
    return [
        layer.name
        for place, layer in enumerate(backbone.layers[1:], start=1)
        if layer.weights and _tail_from(backbone, place) is not None
    ]


def _input_of(layers: Sequence[keras.Layer], place: int) -> keras.KerasTensor | None:
    """The tensor with height and width in front of a layer; None if there is none.

    Where a block of a transformer begins, tokens (B, T, C) have been reshaped from such a tensor
    (transfer/backbones/tokens.py): the layer after that begins the block as well.
    """
    layer, before = layers[place], layers[place - 1]
    if isinstance(layer, keras.Model) or not isinstance(layer.input, keras.KerasTensor):
        return None
    begins_block = isinstance(before, keras.layers.Reshape) and before.output is layer.input
    if len(layer.input.shape) == 3 and begins_block:
        layer = before
    return layer.input if len(layer.input.shape) == 4 else None


def _tail_from(backbone: keras.Model, place: int) -> keras.Model | None:
    """The layers from this place on; None if they depend on more than one tensor."""
    start = _input_of(backbone.layers, place)
    if start is None:
        return None
    try:
        tail = keras.Model(start, backbone.output, name="tail")
    except ValueError:  # the output depends on other tensors too
        return None
    n_layers = len(backbone.layers) - place + (start is not backbone.layers[place].input)
    return tail if len(tail.layers) - 1 == n_layers else None


def stitch(backbone: keras.Model, head: keras.Model, params: BackboneParams) -> keras.Model:
    """The whole classifier, RGB 0..255 (B, H, W, 3) -> logits; it shares both parts' weights."""
    images = keras.Input((params.image_size, params.image_size, 3), name="images")
    return keras.Model(
        images, head(backbone(build_preprocessing(params)(images))), name="classifier"
    )


def freeze_below(backbone: keras.Model, unfreeze_from: str | None) -> None:
    """Make the layers from `unfreeze_from` on trainable and freeze those before it; None freezes
    all.

    BatchNormalization stays frozen everywhere, which also keeps it in inference mode: the
    statistics of a small batch of other images would destroy what the network has learned
    (keras.io/guides/transfer_learning). A model that holds the backbone must be compiled again
    afterwards.
    """
    names = [layer.name for layer in backbone.layers]
    first = len(names) if unfreeze_from is None else names.index(unfreeze_from)
    backbone.trainable = True
    # one by one: the model's own setter does not reach the layers of a graph
    for position, layer in enumerate(backbone.layers):
        layer.trainable = position >= first and not isinstance(
            layer, keras.layers.BatchNormalization
        )
