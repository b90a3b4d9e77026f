"""Loads the user's own `.keras` model file as a backbone: a model of Keras's layers, or a
transformer of KerasHub, alone or in a task such as ImageClassifier."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transfer.backbones.hub_graph import KINDS, as_graph
from transfer.backbones.hub_network import PRESET_KINDS, describe_converter, record_hub
from transfer.backbones.layer_table import FUNCTIONAL
from transfer.backbones.own_graph import without_top
from transfer.compute.keras import keras
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError

_CONFIG = "config.json"  # in the archive
# Packages whose classes a file may name; `builtins` is what Keras writes for Python's own types.
_PACKAGES = {"keras", "keras_hub", "builtins"}


def read_own_model(path: Path, sha256: str | None) -> tuple[keras.Model, dict[str, Any]]:
    """A model up to its features (B, h, w, C), with its weights.

    This leaves out a dense top, and the pooling or flattening in front of it. No code in the file
    is run.

    Args:
        sha256: the file's checksum; without it DVC would not notice that the file has changed.

    Returns:
        The network, and what `read_recorded` says of it, for the file LAYERS.

    Raises:
        PipelineError: no such file, no checksum or a different one, a model with custom code or
            layers, one that does not take RGB pictures, or one without spatial activations and
            tokens.
        ModuleNotFoundError: the model is one of KerasHub's, which is not installed.
    """
    named = f"backbone.name = '{path}'"
    _check_file(path, sha256, named)
    model = _load(path, named)
    converter = _converter_of(model)
    whole = getattr(model, "backbone", model)  # of a task
    vision = getattr(whole, "vision_encoder", whole)
    if type(vision).__name__ in KINDS:
        return _hub_network(vision, named), record_hub(vision, converter)
    _check_parts(vision, path, named)
    backbone = _functional(vision, named)
    recorded = {
        "class_name": FUNCTIONAL,
        "config": backbone.get_config(),
        "converter": converter,
    }
    return backbone, recorded


def _check_file(path: Path, sha256: str | None, named: str) -> None:
    if not path.is_file():
        raise PipelineError(
            f"{named}: no such file; correct the path, or name a network that ships with Keras"
        )
    found = file_checksum(path)
    if sha256 is None:
        raise PipelineError(
            f"{named}: give the file's checksum too, weights.sha256: {found}, so that another file "
            "is noticed"
        )
    if found != sha256.lower():
        raise PipelineError(
            f"{named}: its sha256 is {found}, but weights.sha256 = {sha256}; correct the one that "
            "is wrong"
        )


def _load(path: Path, named: str) -> keras.Model:
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read(_CONFIG))
        objects = list(_objects(config))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, RecursionError) as error:
        raise PipelineError(f"{named}: Keras cannot read it: {error}") from None
    _check_code(objects, named)
    if any(_package(found) == "keras_hub" for _, found in objects):
        import keras_hub  # noqa: F401, which registers its classes with Keras
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises many exception types on a bad file
        raise PipelineError(
            f"{named}: Keras cannot read it: {error}\nLayers with code of their own are not "
            "loaded, for safety"
        ) from None


def _objects(config: Any, within: str = "the model") -> Iterator[tuple[str, dict]]:
    """All objects of a configuration that Keras builds, each with the name of its layer."""
    if isinstance(config, list):
        for each in config:
            yield from _objects(each, within)
    if not isinstance(config, dict):
        return
    if "class_name" in config:
        inner = config.get("config")
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            within = f"{inner['name']!r}"
        yield within, config
    for key, each in config.items():
        # the optimizer, the loss and metrics are not built
        if key != "compile_config":
            yield from _objects(each, within)


def _package(config: dict) -> str:
    return str(config.get("module")).partition(".")[0]


def _check_code(objects: list[tuple[str, dict]], named: str) -> None:
    """Check that the file needs no code besides Keras's and KerasHub's.

    Raises:
        PipelineError: a Lambda layer, or a class or function of another package.
    """
    for layer, found in objects:
        kind = found["class_name"]
        if kind == "__lambda__":
            raise PipelineError(
                f"{named}: the layer {layer} has Python code in the file (a Lambda), and code from "
                "files is not loaded, for safety; use Keras's layers or operations in its place "
                "and save the model again"
            )
        if "module" in found and _package(found) not in _PACKAGES:
            what = found.get("registered_name") or kind
            raise PipelineError(
                f"{named}: the layer {layer} is or uses {what}, whose code is neither in Keras nor "
                "in KerasHub; code of your own is not loaded, for safety; write it with Keras's "
                "layers or operations and save the model again"
            )


def _check_parts(model: keras.Model, path: Path, named: str) -> None:
    """Check that none of KerasHub's transformers is a layer of the model.

    Raises:
        PipelineError: one is.
    """
    for layer in model.layers:
        if type(layer).__name__ in (*KINDS, *PRESET_KINDS):
            raise PipelineError(
                f"{named}: KerasHub's {type(layer).__name__} is a layer of it, which cannot be cut "
                f"between its blocks there; save that layer alone, with keras.saving.load_model("
                f"'{path}').get_layer('{layer.name}').save('backbone.keras'), name the new file, "
                "and say in backbone.preprocessing which pixels it takes"
            )


def _functional(model: keras.Model, named: str) -> keras.Model:
    """Any graph of layers up to its features."""
    try:
        return without_top(model, named)
    except PipelineError as error:
        if not type(model).__module__.startswith("keras_hub."):
            raise
        raise PipelineError(
            f"{error}\nIt is KerasHub's {type(model).__name__}; choose one of {', '.join(KINDS)}"
        ) from None


def _converter_of(model: keras.Model) -> dict[str, Any] | None:
    """Scale and offset that the preprocessor of one of KerasHub's tasks gives to pixels; None if
    there is none."""
    preprocessor = getattr(model, "preprocessor", None)
    converter = getattr(preprocessor, "image_converter", None)
    return None if converter is None else describe_converter(converter)


def _hub_network(vision: keras.Model, named: str) -> keras.Model:
    """One of KerasHub's transformers as a graph that can be cut, in float32."""
    height, width, _ = vision.image_shape
    patch = keras.tree.flatten(vision.patch_size)
    if height != width or len({*patch}) > 1:
        raise PipelineError(
            f"{named}: it takes pictures of {width} x {height} pixels in patches of "
            f"{vision.patch_size}; build and save it for squares, of both"
        )
    import keras_hub

    config = record_hub(vision, None)["config"]
    network = getattr(keras_hub.models, type(vision).__name__).from_config(config)
    network.set_weights(vision.get_weights())
    return as_graph(network, height)
