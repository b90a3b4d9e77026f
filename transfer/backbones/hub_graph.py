"""KerasHub's vision transformers as a graph of their blocks, which can be cut in front of each.

image --> patches --> block_0 --> ... --> last_block --> grid of patch tokens --> features
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transfer.backbones.tokens import (
    begin_block,
    block_name,
    join_tokens,
    pool_tokens,
)
from transfer.compute.keras import keras

# KerasHub's classes that `as_graph` takes
KINDS = ("DINOV2Backbone", "DINOV3Backbone", "SigLIPVisionEncoder", "ViTBackbone")
_NUMBERS = "object_name_uids"  # Keras's counters of names


def as_graph(network: keras.Model, side: int) -> keras.Model:
    """The layers of one of KerasHub's networks in one graph, with the same weights.

    In front of each block the tokens have four dimensions, (B, tokens, 1, C), as the arrays at the
    cut. All layers are those of Keras or KerasHub, so a model on disk needs no code of this
    project.
    """
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
    connect = {"SigLIPVisionEncoder": _connect_siglip, "ViTBackbone": _connect_vit}.get(
        type(network).__name__, _connect_dino
    )

    def copied(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
        copy = type(layer).from_config(layer.get_config() | changes)
        copies.append((layer, copy))
        return copy

    with _names_as_if_first():
        pixels = keras.Input((side, side, 3), name="input_layer")
        features = connect(network, pixels, side // patch_side(network.patch_size), copied)
    graph = keras.Model(pixels, features, name=type(network).__name__.lower())
    for layer, copy in copies:
        copy.set_weights(layer.get_weights())
    return graph


def patch_side(patch_size: int | tuple[int, int]) -> int:
    """Side in pixels of the squares that an image is divided into."""
    return patch_size if isinstance(patch_size, int) else patch_size[0]


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


_Copied = Callable[..., keras.layers.Layer]  # a layer, and what its copy has in another way
_Block = Callable[[keras.KerasTensor, int, str], keras.KerasTensor]


def _connect_dino(
    network: keras.Model, pixels: keras.KerasTensor, grid_side: int, copied: _Copied
) -> keras.KerasTensor:
    """pixels -> the class token and the mean of the patch tokens, (B, 1, 1, 2C)."""
    width, n_prefix = network.hidden_dim, 1 + network.num_register_tokens
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

    blocks = network.encoder.layers
    tokens = _connect_blocks(
        len(blocks),
        copied(network.embeddings)(pixels),
        lambda tokens, place, name: copied(blocks[place])(tokens, **position(tokens, name)),
    )
    return pool_tokens(copied(network.layernorm)(tokens), grid_side)


def _connect_siglip(
    network: keras.Model, pixels: keras.KerasTensor, grid_side: int, copied: _Copied
) -> keras.KerasTensor:
    """pixels -> what SigLIP's attention pools from the patch tokens, and their mean, (B, 1, 1,
    2C)."""
    blocks = network.encoder_layers
    tokens = _connect_blocks(
        len(blocks),
        _embed_siglip(network.embedding, pixels, grid_side**2, copied),
        lambda tokens, place, name: copied(blocks[place])(tokens),
    )
    tokens = copied(network.post_layer_norm)(tokens)
    # the classifier's own part is called head
    pooled = copied(network.head, name="attention_pooling")(tokens)
    whole = keras.layers.Reshape((1, network.hidden_dim), name="whole_token")(pooled)
    return join_tokens(whole, tokens, grid_side)


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


def _connect_vit(
    network: keras.Model, pixels: keras.KerasTensor, grid_side: int, copied: _Copied
) -> keras.KerasTensor:
    """pixels -> the class token, if there is one, and the mean of the patch tokens, (B, 1, 1, 2C or
    C)."""
    embedding = network.get_layer("vit_patching_and_embedding")
    encoder = network.get_layer("vit_encoder")
    blocks = encoder.encoder_layers
    tokens = _embed_vit(embedding, pixels, grid_side**2, copied)
    tokens = _connect_blocks(
        len(blocks),
        copied(encoder.dropout, name="embedding_dropout")(tokens),
        lambda tokens, place, name: _connect_vit_block(blocks[place], tokens, name, copied),
    )
    return pool_tokens(copied(encoder.layer_norm)(tokens), grid_side)


def _embed_vit(
    embedding: keras.layers.Layer, pixels: keras.KerasTensor, n_patches: int, copied: _Copied
) -> keras.KerasTensor:
    """pixels -> tokens (B, class token and patches, C). KerasHub's own layer cannot be built from
    its configuration, so its parts are put together here; the class token is part of the first
    position."""
    import keras_hub

    grid = copied(embedding.patch_embedding)(pixels)
    tokens = keras.layers.Reshape((n_patches, embedding.hidden_dim), name="tokens")(grid)
    values = embedding.position_embedding.get_weights()[0]
    if embedding.use_class_token:
        tokens = keras.layers.ZeroPadding1D((1, 0), name="with_class_token")(tokens)
        values[0] += keras.ops.convert_to_numpy(embedding.class_token)[0, 0]
    positions = keras_hub.layers.PositionEmbedding(len(values), name="position_embedding")
    embedded = keras.layers.Add(name="embedding")([tokens, positions(tokens)])
    positions.set_weights([values])
    return embedded


def _connect_vit_block(
    block: keras.layers.Layer, tokens: keras.KerasTensor, name: str, copied: _Copied
) -> keras.KerasTensor:
    """One of ViT's blocks in layers of Keras, because KerasHub's own layer cannot be built from its
    configuration, as it has to be where a fine-tuned model is read."""

    def part(layer: keras.layers.Layer, *inputs: keras.KerasTensor, named: str = "") -> Any:
        return copied(layer, name=f"{name}_{named or layer.name}")(*inputs)

    normed = part(block.layer_norm_1, tokens)
    attended = part(block.dropout, part(block.mha, normed, normed), named="dropout_0")
    tokens = keras.layers.Add(name=f"{name}_add_1")([attended, tokens])
    inner = part(block.mlp.dense_1, part(block.layer_norm_2, tokens))
    inner = part(block.mlp.dropout, inner, named="dropout_1")
    inner = part(block.mlp.dropout, part(block.mlp.dense_2, inner), named="dropout_2")
    return keras.layers.Add(name=f"{name}_add_2")([tokens, inner])


def _connect_blocks(n_blocks: int, tokens: keras.KerasTensor, connect: _Block) -> keras.KerasTensor:
    """Tokens (B, T, C) through all blocks.

    Args:
        connect: tokens through one block, from the tokens, the block's number and its name.
    """
    for place in range(n_blocks):
        name = block_name(place, n_blocks)
        tokens = connect(begin_block(tokens, name), place, name)
    return tokens
