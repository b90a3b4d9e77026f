"""KerasHub's vision transformers as a graph of their blocks, which can be cut in front of each.

image --> patches --> block_0 --> ... --> last_block --> grid of patch tokens --> features

KerasHub is an extra, and is imported where it is used.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transfer.backbones.hub_presets import (
    LAST_BLOCK,
    check_patches,
    check_position_size,
    preset_of,
)
from transfer.compute.keras import keras
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError

WEIGHTS_FILE = "model.weights.h5"  # of a preset
_KINDS = ("DINOV2Backbone", "DINOV3Backbone", "SigLIPBackbone")
_VISION_PART = "SigLIPVisionEncoder"
_NUMBERS = "object_name_uids"  # Keras's counters of names
# what a process decides, and not the preset
_OF_THE_PROCESS = ("dtype", "name", "trainable")


def read_preset(name: str, sha256: str | None, with_weights: bool) -> tuple[keras.Model, dict]:
    """Load a preset with KerasHub, which downloads it where it is not a folder or in its cache.

    Args:
        name: `backbone.name`.
        sha256: the checksum of the preset's weights file; required for a folder, because DVC would
            not notice otherwise that it has changed.
        with_weights: False: random weights instead of the preset's.

    Returns:
        The network as `build_hub` builds it, at the preset's own image size, and what `build_hub`
        and `preprocess_hub` need to know of the preset, for the file LAYERS.

    Raises:
        PipelineError: no such preset, no network that can be a backbone, a wrong checksum, or
            files that KerasHub cannot read.
        ModuleNotFoundError: KerasHub is not installed.
    """
    import keras_hub

    preset = preset_of(name)
    named = f"backbone.name = {name!r}"
    _check_kind(named, preset)
    if with_weights:
        _check_weights(named, preset, sha256)
    try:
        whole = keras_hub.models.Backbone.from_preset(
            preset, load_weights=with_weights, dtype="float32"
        )
        converter = _read_converter(preset)
    except Exception as error:  # Keras and h5py raise many exception types on bad files
        raise PipelineError(f"{named}: KerasHub cannot read the preset: {error}") from None
    vision = getattr(whole, "vision_encoder", whole)
    config = {
        key: value for key, value in vision.get_config().items() if key not in _OF_THE_PROCESS
    }
    recorded = {"class_name": type(vision).__name__, "config": config, "converter": converter}
    return _as_graph(vision, vision.image_shape[0]), recorded


def _check_kind(named: str, preset: str) -> None:
    from keras_hub.src.utils.preset_utils import BUILTIN_PRESETS

    if "/" not in preset and preset not in BUILTIN_PRESETS:
        raise PipelineError(
            f"{named}: KerasHub lists no such preset; see keras_hub.models.Backbone.presets for "
            f"its names, and write a folder as ./{preset}"
        )
    config = json.loads(_fetch(named, preset, "config.json").read_text(encoding="utf-8"))
    kind = config.get("class_name")
    if kind not in _KINDS:
        raise PipelineError(
            f"{named}: it is {f'a {kind}' if kind else 'no preset in the format of KerasHub'}; "
            f"backbones are made of {', '.join(_KINDS)}"
        )


def _check_weights(named: str, preset: str, sha256: str | None) -> None:
    found = file_checksum(_fetch(named, preset, WEIGHTS_FILE))
    if sha256 is None and Path(preset).is_dir():
        raise PipelineError(
            f"{named}: give the checksum of its {WEIGHTS_FILE} too, weights.sha256: {found}, so "
            "that another file is noticed"
        )
    if sha256 is not None and found != sha256.lower():
        raise PipelineError(
            f"{named}: the sha256 of its {WEIGHTS_FILE} is {found}, but weights.sha256 = {sha256}; "
            "correct the one that is wrong"
        )
    print(f"weights: {preset}, whose {WEIGHTS_FILE} has sha256 {found}")


def _fetch(named: str, preset: str, file: str) -> Path:
    """One file of a preset, from its folder, KerasHub's cache or the network."""
    from keras_hub.src.utils.preset_utils import get_file

    if "://" not in preset and "/" in preset and not Path(preset).is_dir():
        raise PipelineError(f"{named}: there is no folder {preset}; correct the path")
    try:
        return Path(get_file(preset, file))
    except FileNotFoundError:
        raise PipelineError(
            f"{named}: the preset has no {file}; name one that KerasHub's save_to_preset wrote, in "
            "a single file of weights"
        ) from None
    except Exception as error:  # each host's client raises its own exceptions
        raise PipelineError(
            f"{named}: KerasHub cannot obtain {file}: {error}\n"
            "Connect to its host and run this again; or `dvc pull weights`, if a remote has them; "
            "or fetch the preset on another machine and name its folder"
        ) from None


def _read_converter(preset: str) -> dict[str, Any] | None:
    """Scale and offset of the preset's image converter; None if the preset has none."""
    import keras_hub

    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except FileNotFoundError:
        return None
    return {key: converter.get_config()[key] for key in ("scale", "offset")}


def read_recorded(layers: Path) -> dict:
    """What the stage `weights` recorded of a preset: class_name, config, and converter.

    Raises:
        PipelineError: the file is missing, damaged or of another backbone.
    """
    if not layers.exists():
        raise PipelineError(f"{layers} is missing; run `dvc repro weights` or `dvc pull weights`")
    try:
        recorded = json.loads(layers.read_text(encoding="utf-8"))["model"]
        return {key: recorded[key] for key in ("class_name", "config", "converter")}
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineError(
            f"{layers} has no preset of KerasHub ({error!r}); delete it and run `dvc repro weights`"
        ) from None


def build_hub(name: str, side: int, layers: Path) -> keras.Model:
    """A preset's network with random weights: RGB (B, side, side, 3) -> features (B, 1, 1, C).

    DINOv2 and DINOv3 give the class token and the mean of the patch tokens, side by side; SigLIP
    gives its pooled embedding and that mean. In front of them the layer `grid` has a token for each
    patch.

    Args:
        name: `backbone.name`.
        layers: the file in which the stage `weights` recorded the preset.

    Raises:
        PipelineError: the file cannot be used, or the network does not take images of this size.
        ModuleNotFoundError: KerasHub is not installed.
    """
    import keras_hub

    recorded = read_recorded(layers)
    kind, config = recorded["class_name"], recorded["config"]
    if kind not in (*_KINDS, _VISION_PART):
        raise PipelineError(f"{layers} names {kind}, which is no backbone; run `dvc repro weights`")
    if kind == _VISION_PART:
        check_position_size(name, side, config["image_shape"][0])
    check_patches(name, side, config["patch_size"])
    network = getattr(keras_hub.models, kind).from_config(config | {"image_shape": (side, side, 3)})
    return _as_graph(network, side)


def preprocess_hub(images: keras.KerasTensor, layers: Path) -> keras.KerasTensor:
    """RGB in 0..255 (B, H, W, 3) -> what the preset's image converter makes of images of the
    network's size, the same shape.

    Raises:
        PipelineError: the preset has no image converter, or `layers` cannot be used.
    """
    converter = read_recorded(layers)["converter"]
    if converter is None:
        raise PipelineError(
            "backbone.preprocessing = 'imagenet': the preset has no image converter, so how its "
            "network was trained is not known; choose rescale or none"
        )
    scale, offset = (
        neutral if converter[key] is None else converter[key]
        for key, neutral in (("scale", 1.0), ("offset", 0.0))
    )
    return keras.layers.Rescaling(scale, offset)(images)


def _as_graph(network: keras.Model, side: int) -> keras.Model:
    """The layers of one of KerasHub's networks in one graph, with the same weights.

    In front of each block the tokens have four dimensions, (B, tokens, 1, C), as the arrays at the
    cut. All layers are those of Keras or KerasHub, so a model on disk needs no code of this
    project.
    """
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
    connect = _connect_siglip if type(network).__name__ == _VISION_PART else _connect_dino

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        copy = type(layer).from_config(layer.get_config())
        copies.append((layer, copy))
        return copy

    with _names_as_if_first():
        pixels = keras.Input((side, side, 3), name="input_layer")
        features = connect(network, pixels, side // network.patch_size, copied)
    graph = keras.Model(pixels, features, name=type(network).__name__.lower())
    for layer, copy in copies:
        copy.set_weights(layer.get_weights())
    return graph


@contextmanager
def _names_as_if_first() -> Iterator[None]:
    """Have Keras number the layers inside KerasHub's from 0, whatever the process built before:
    their names are in files of weights, and equal weights have to give equal bytes."""
    from keras.src.backend.common import global_state  # Keras is loaded by transfer.compute.keras

    kept = global_state.get_global_attribute(_NUMBERS)
    global_state.set_global_attribute(_NUMBERS, None)
    try:
        yield
    finally:
        global_state.set_global_attribute(_NUMBERS, kept)


_Copied = Callable[[keras.layers.Layer], keras.layers.Layer]


def _connect_dino(
    network: keras.Model, pixels: keras.KerasTensor, grid_side: int, copied: _Copied
) -> keras.KerasTensor:
    """pixels -> the class token and the mean of the patch tokens, (B, 1, 1, 2C)."""
    n_patches, width = grid_side**2, network.hidden_dim
    n_prefix = 1 + network.num_register_tokens
    rotary = getattr(network, "rope_embedding", None)

    def position(tokens: keras.KerasTensor, name: str) -> dict[str, Any]:
        if rotary is None:
            return {}
        # angles depend on the number of patches only; taken from the tokens, no path goes around
        # the cut
        patches = keras.layers.Cropping1D((n_prefix, 0), name=f"{name}_patches")(tokens)
        places = keras.layers.Reshape((grid_side, grid_side, width), name=f"{name}_places")(patches)
        angles = type(rotary).from_config(
            rotary.get_config() | {"patch_size": 1, "name": f"{name}_angles"}
        )
        return {"position_embeddings": angles(places), "num_prefix_tokens": n_prefix}

    tokens = copied(network.embeddings)(pixels)
    tokens = _connect_blocks(
        network.encoder.layers, tokens, (n_prefix + n_patches, width), copied, position
    )
    tokens = copied(network.layernorm)(tokens)
    patches = keras.layers.Cropping1D((n_prefix, 0), name="patch_tokens")(tokens)
    whole = keras.layers.Cropping1D((0, n_prefix + n_patches - 1), name="whole_token")(tokens)
    return _join_tokens(whole, patches, grid_side)


def _connect_siglip(
    network: keras.Model, pixels: keras.KerasTensor, grid_side: int, copied: _Copied
) -> keras.KerasTensor:
    """pixels -> what SigLIP's attention pools from the patch tokens, and their mean, (B, 1, 1,
    2C)."""
    n_patches, width = grid_side**2, network.hidden_dim
    tokens = _embed_siglip(network.embedding, pixels, n_patches, copied)
    tokens = _connect_blocks(
        network.encoder_layers, tokens, (n_patches, width), copied, lambda tokens, name: {}
    )
    tokens = copied(network.post_layer_norm)(tokens)
    whole = keras.layers.Reshape((1, width), name="whole_token")(copied(network.head)(tokens))
    return _join_tokens(whole, tokens, grid_side)


def _join_tokens(
    whole: keras.KerasTensor, patches: keras.KerasTensor, grid_side: int
) -> keras.KerasTensor:
    """The token of the whole image (B, 1, C) and the mean of the patch tokens (B, patches, C), side
    by side: (B, 1, 1, 2C).

    Only a mean lies between the layer `grid` and the features, as Grad-CAM requires.
    """
    n_patches, width = patches.shape[1:]
    everywhere = keras.layers.UpSampling1D(n_patches, name="whole_token_of_patches")(whole)
    both = keras.layers.Concatenate(name="whole_and_patch_tokens")([everywhere, patches])
    grid = keras.layers.Reshape((grid_side, grid_side, 2 * width), name="grid")(both)
    means = keras.layers.GlobalAveragePooling2D(name="mean")(grid)
    return keras.layers.Reshape((1, 1, 2 * width), name="features")(means)


def _embed_siglip(
    embedding: keras.layers.Layer, pixels: keras.KerasTensor, n_patches: int, copied: _Copied
) -> keras.KerasTensor:
    """pixels -> tokens (B, patches, C). KerasHub's own layer announces a token too many, so its
    parts are put together here."""
    import keras_hub

    grid = copied(embedding.patch_embedding)(pixels)
    tokens = keras.layers.Reshape((n_patches, embedding.hidden_dim), name="tokens")(grid)
    positions = keras_hub.layers.PositionEmbedding(n_patches, name="position_embedding")
    embedded = keras.layers.Add(name="embedding")([tokens, positions(tokens)])
    positions.set_weights(embedding.position_embedding.get_weights())
    return embedded


def _connect_blocks(
    blocks: list[keras.layers.Layer],
    tokens: keras.KerasTensor,
    shape: tuple[int, int],
    copied: _Copied,
    position: Callable[[keras.KerasTensor, str], dict[str, Any]],
) -> keras.KerasTensor:
    """Tokens (B, *shape) through all blocks. Block number i begins with the layer `block_i`, the
    last with LAST_BLOCK.

    Args:
        position: further arguments of a block, from its tokens and its name.
    """
    for place, block in enumerate(blocks):
        name = LAST_BLOCK if place == len(blocks) - 1 else f"block_{place}"
        tokens = keras.layers.Reshape((shape[0], 1, shape[1]), name=f"{name}_tokens")(tokens)
        tokens = keras.layers.Reshape(shape, name=name)(tokens)
        tokens = copied(block)(tokens, **position(tokens, name))
    return tokens
