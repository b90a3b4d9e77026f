"""The user's own model as one graph of layers, up to its features."""

from typing import Any

from transfer.backbones.network import spatial_outputs
from transfer.backbones.token_graph import with_blocks
from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError

_HEAD = "head"  # what fine-tuning puts behind the network, in one graph with it


def without_top(model: keras.Model, named: str) -> keras.Model:
    """The model up to its last activations with height and width, (B, h, w, C); a transformer up to
    its last tokens, of which the features are those of `pool_tokens`.

    This leaves out a dense top, and the pooling or flattening in front of it.

    Args:
        named: the model, for errors.

    Raises:
        PipelineError: it does not take RGB pictures, has no such activations, or no graph.
    """
    if (
        len(model.inputs or ()) != 1
        or len(model.inputs[0].shape) != 4
        or model.inputs[0].shape[-1] != 3
    ):
        raise PipelineError(
            f"{named}: a model that takes one RGB picture, (None, height, width, 3), is needed, "
            f"not {model.inputs}"
        )
    try:
        flat = flattened(model)
    except Exception as error:  # Keras raises many exception types on layers that it cannot copy
        raise PipelineError(
            f"{named}: Keras cannot put its layers and those of the models inside it into one "
            f"graph: {error}\nSave a functional model in which all layers have different names"
        ) from None
    if (transformer := with_blocks(flat, named)) is not None:
        return _checked(fresh(transformer), named)
    spatial = spatial_outputs(flat.layers[1:])
    if not spatial:
        raise PipelineError(
            f"{named}: no layer of it gives activations (None, height, width, channels), and no "
            "attention follows on tokens (None, tokens, channels)"
        )
    return _checked(keras.Model(flat.inputs, spatial[-1], name="own"), named)


def _checked(backbone: keras.Model, named: str) -> keras.Model:
    """The same, if the layers of a classifier can be put behind it."""
    if _HEAD in (operation.name for operation in backbone.operations):
        raise PipelineError(
            f"{named}: a layer of it is called {_HEAD!r}, as the classifier behind it is; give the "
            "layer another name and save the model again"
        )
    return backbone


def flattened(model: keras.Model) -> keras.Model:
    """The same layers in one graph, including those of nested models, so that each can be named."""
    pixels = keras.Input(model.inputs[0].shape[1:], name="input_layer")
    graph = keras.Model(pixels, _apply(model, pixels))
    return fresh(graph)


def _apply(
    layer: keras.layers.Layer, *tensors: keras.KerasTensor, **options: Any
) -> keras.KerasTensor:
    """Call a layer; for a nested model call its layers one by one.

    Layers that augment pictures are left out: they change pictures in training only, and take
    a call for training unless it says otherwise.
    """
    if _augments(layer):
        return tensors[0]
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


def _augments(layer: keras.layers.Layer) -> bool:
    """Whether it is a layer of Keras that changes pictures at random, and keeps their size."""
    kind = type(layer).__name__
    changes = kind.startswith("Random") or kind in ("AugMix", "CutMix", "MixUp", "RandAugment")
    return changes and kind != "RandomCrop" and getattr(keras.layers, kind, None) is type(layer)


def fresh(graph: keras.Model) -> keras.Model:
    """The same layers anew, with the same weights, each called once."""
    copy = keras.Model.from_config(graph.get_config())
    copy.set_weights(graph.get_weights())
    return copy
