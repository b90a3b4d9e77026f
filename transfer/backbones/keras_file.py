"""Loads the user's own `.keras` model file as a backbone."""

from pathlib import Path
from typing import Any

from transfer.compute.keras import keras
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError


def read_own_model(path: Path, sha256: str | None) -> keras.Model:
    """The layers of a model up to its last spatial activations (B, h, w, C), with its weights.

    This leaves out a dense top, and the pooling or flattening in front of it.

    Args:
        sha256: the file's checksum; without it DVC would not notice that the file has changed.

    Raises:
        PipelineError: no such file, no checksum or a different one, a model with custom code or
            layers, one that does not take RGB pictures, or one without spatial activations.
    """
    named = f"backbone.name = '{path}'"
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
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises many exception types on a bad file
        raise PipelineError(
            f"{named}: Keras cannot read it: {error}\nLayers with code of their own are not "
            "loaded, for safety"
        ) from None
    return _without_top(model, named)


def _without_top(model: keras.Model, named: str) -> keras.Model:
    if (
        len(model.inputs or ()) != 1
        or len(model.inputs[0].shape) != 4
        or model.inputs[0].shape[-1] != 3
    ):
        raise PipelineError(
            f"{named}: a model that takes one RGB picture, (None, height, width, 3), is needed, "
            f"not {model.inputs}"
        )
    flat = _flattened(model)
    pictures = [
        layer.output
        for layer in flat.layers[1:]
        if isinstance(layer.output, keras.KerasTensor) and len(layer.output.shape) == 4
    ]
    if not pictures:
        raise PipelineError(
            f"{named}: no layer of it gives activations (None, height, width, channels)"
        )
    return keras.Model(flat.inputs, pictures[-1], name="own")


def _flattened(model: keras.Model) -> keras.Model:
    """The same layers in one graph, including those of nested models, so that each can be named."""
    pixels = keras.Input(model.inputs[0].shape[1:], name="input_layer")
    graph = keras.Model(pixels, _apply(model, pixels))
    fresh = keras.Model.from_config(graph.get_config())  # each layer called once
    fresh.set_weights(graph.get_weights())
    return fresh


def _apply(
    layer: keras.layers.Layer, *tensors: keras.KerasTensor, **options: Any
) -> keras.KerasTensor:
    """Call a layer; for a nested model call its layers one by one."""
    if not isinstance(layer, keras.Model):
        return layer(*tensors, **options)
    if isinstance(layer, keras.Sequential):
        for inner in layer.layers:
            tensors = (_apply(inner, *tensors),)
        return tensors[0]
    outputs = {}

    def call(inner: keras.layers.Layer, *arguments: Any, **settings: Any) -> keras.KerasTensor:
        outputs[inner.name] = _apply(inner, *arguments, **settings)
        return outputs[inner.name]

    keras.models.clone_model(
        layer, input_tensors=tensors[0], clone_function=lambda inner: inner, call_function=call
    )
    return outputs[layer.output_names[0]]
