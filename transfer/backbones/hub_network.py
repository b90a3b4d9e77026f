"""KerasHub's vision transformers as backbones, read from its presets or built from what the stage
`weights` recorded.

KerasHub is an extra, and is imported where it is used.
"""

import json
from pathlib import Path
from typing import Any

from transfer.backbones.hub_graph import KINDS, as_graph, patch_side
from transfer.backbones.hub_presets import check_patches, check_position_size, preset_of
from transfer.backbones.layer_table import read_recorded
from transfer.backbones.registry import LAYERS
from transfer.compute.keras import keras
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError

WEIGHTS_FILE = "model.weights.h5"  # of a preset
PRESET_KINDS = ("DINOV2Backbone", "DINOV3Backbone", "SigLIPBackbone", "ViTBackbone")
_ONE_SIZE = ("SigLIPVisionEncoder", "ViTBackbone")  # with a position embedding per patch
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
        The network as `build_hub` builds it, at the preset's own image size, and what `record_hub`
        makes of the preset, for the file LAYERS.

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
    return as_graph(vision, vision.image_shape[0]), record_hub(vision, converter)


def record_hub(vision: keras.Model, converter: dict[str, Any] | None) -> dict[str, Any]:
    """What `build_hub` and `build_preprocessing` need to know of one of KerasHub's networks, for
    the file LAYERS.

    Args:
        converter: scale and offset of its image converter; None: it has none.
    """
    config = {
        key: value for key, value in vision.get_config().items() if key not in _OF_THE_PROCESS
    }
    return {"class_name": type(vision).__name__, "config": config, "converter": converter}


def _check_kind(named: str, preset: str) -> None:
    from keras_hub.src.utils.preset_utils import BUILTIN_PRESETS

    if "/" not in preset and preset not in BUILTIN_PRESETS:
        raise PipelineError(
            f"{named}: KerasHub lists no such preset; see keras_hub.models.Backbone.presets for "
            f"its names, and write a folder as ./{preset}"
        )
    config = json.loads(_fetch(named, preset, "config.json").read_text(encoding="utf-8"))
    kind = config.get("class_name")
    if kind not in PRESET_KINDS:
        raise PipelineError(
            f"{named}: it is {f'a {kind}' if kind else 'no preset in the format of KerasHub'}; "
            f"backbones are made of {', '.join(PRESET_KINDS)}"
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
        return describe_converter(keras_hub.layers.ImageConverter.from_preset(preset))
    except FileNotFoundError:
        return None


def describe_converter(converter: keras.layers.Layer) -> dict[str, Any]:
    """Scale and offset that one of KerasHub's image converters gives to pixels."""
    return {key: converter.get_config()[key] for key in ("scale", "offset")}


def build_hub(name: str, side: int) -> keras.Model:
    """The recorded network of KerasHub with random weights: RGB (B, side, side, 3) -> features (B,
    1, 1, C).

    DINOv2, DINOv3 and ViT give the class token and the mean of the patch tokens, side by side;
    SigLIP gives its pooled embedding and that mean. In front of them the layer `grid` has a token
    for each patch.

    Args:
        name: `backbone.name`.

    Raises:
        PipelineError: the record cannot be used, or the network does not take images of this size.
        ModuleNotFoundError: KerasHub is not installed.
    """
    import keras_hub

    recorded = read_recorded()
    kind, config = recorded["class_name"], recorded["config"]
    if kind not in KINDS:
        raise PipelineError(f"{LAYERS} names {kind}, which is no backbone; run `dvc repro weights`")
    if kind in _ONE_SIZE:
        check_position_size(name, side, config["image_shape"][0])
    check_patches(name, side, patch_side(config["patch_size"]))
    network = getattr(keras_hub.models, kind).from_config(config | {"image_shape": (side, side, 3)})
    return as_graph(network, side)
