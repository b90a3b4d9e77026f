"""Finds the blocks in the graph of a transformer for images, so that it can be cut between them.

Between blocks there is a single tensor, the tokens (B, T, C): all paths pass it. A block is what
lies between two such places and attends, or has several layers with weights.
"""

import math
from collections.abc import Sequence
from typing import Any

from transfer.backbones.tokens import begin_block, block_name, pool_tokens
from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError

MOST_PREFIX_TOKENS = 16  # class and register tokens in front of those of the patches


def with_blocks(flat: keras.Model, named: str) -> keras.Model | None:
    """The same network up to its last tokens, with a place to cut it in front of each block
    (`begin_block`) and with the features of `pool_tokens`; None if it does not end with blocks on
    tokens.

    Args:
        flat: one graph, in which each layer is called once.
        named: the model, for errors.

    Raises:
        PipelineError: the number of tokens is not known, or not that of a square of patches.
    """
    operations = flat.operations
    joints = _joints(operations)
    # a single token is what pools the others
    last = max((place for place in joints if operations[place].output.shape[1] != 1), default=0)
    starts = _starts_of_blocks(operations, [place for place in joints if place <= last])
    spatial = [place for place, operation in enumerate(operations) if _rank(operation) == 4]
    if not starts or max(spatial) > last:
        return None
    side = _grid_side(operations, spatial, starts[0], operations[last].output.shape[1], named)
    names = {
        operations[place].name: block_name(number, len(starts))
        for number, place in enumerate(starts)
    }
    outputs = {}

    def call(operation: keras.Operation, *inputs: Any, **options: Any) -> Any:
        output = operation(*inputs, **options)
        if operation.name in names:
            output = begin_block(output, names[operation.name])
        outputs[operation.name] = output
        return output

    pixels = keras.Input(flat.input.shape[1:], name="input_layer")
    keras.models.clone_model(
        flat,
        input_tensors=pixels,
        clone_function=lambda layer: layer,
        call_function=call,
    )
    features = pool_tokens(outputs[operations[last].name], side)
    try:
        return keras.Model([pixels], features, name="own")
    except ValueError as error:  # of a name that is used twice
        raise PipelineError(
            f"{named}: {error} The pipeline adds a layer of that name; give the model's own layer "
            "another one"
        ) from None


def _rank(operation: keras.Operation) -> int:
    """Dimensions of its output, the batch included; 0 if it has several outputs."""
    output = operation.output
    return len(output.shape) if isinstance(output, keras.KerasTensor) else 0


def _joints(operations: Sequence[keras.Operation]) -> list[int]:
    """The places of the operations whose outputs are tokens that all paths pass.

    Args:
        operations: sorted, each behind those whose outputs it takes.
    """
    last_use = {}
    for place, operation in enumerate(operations):
        for tensor in keras.tree.flatten(operation.input):
            last_use[id(tensor)] = place
    joints, reach = [], 0
    for place, operation in enumerate(operations):
        # nothing that was computed before is used after
        if reach <= place and _rank(operation) == 3:
            joints.append(place)
        used = (last_use.get(id(tensor), place) for tensor in keras.tree.flatten(operation.output))
        reach = max(reach, *used)
    return joints


def _starts_of_blocks(operations: Sequence[keras.Operation], joints: Sequence[int]) -> list[int]:
    """Those of the joints behind which a block begins."""
    parts = {
        start: operations[start + 1 : end + 1]
        for start, end in zip(joints, joints[1:], strict=False)
    }
    attending = [start for start, part in parts.items() if any(map(_attends, part))]
    return attending or [start for start, part in parts.items() if sum(map(_has_weights, part)) > 1]


def _attends(operation: keras.Operation) -> bool:
    inner = (
        operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else (operation,)
    )
    return any("Attention" in type(each).__name__ for each in inner)


def _has_weights(operation: keras.Operation) -> bool:
    return isinstance(operation, keras.layers.Layer) and bool(operation.weights)


def _grid_side(
    operations: Sequence[keras.Operation],
    spatial: Sequence[int],
    first: int,
    n_tokens: int | None,
    named: str,
) -> int:
    """How many patches there are along a side of the picture.

    Args:
        spatial: places of activations with height and width.
        first: place of the first tokens.
    """
    if n_tokens is None:
        raise PipelineError(
            f"{named}: it takes pictures of any size, so the number of its tokens is not known; "
            "build and save it for one size, with keras.Input((64, 64, 3)) for example"
        )
    sides = [operations[place].output.shape[1] for place in reversed(spatial) if place <= first]
    fitting = (side for side in sides if side and 0 <= n_tokens - side**2 <= MOST_PREFIX_TOKENS)
    if (side := next(fitting, None)) is not None:
        return side
    side = math.isqrt(n_tokens)
    if n_tokens - side**2 > 1:
        raise PipelineError(
            f"{named}: its {n_tokens} tokens are not those of a square of patches, alone or with a "
            "class token in front of them; save a model that divides pictures into such patches, "
            "by a convolution for example"
        )
    return side
