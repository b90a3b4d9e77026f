"""Tokens of a transformer for images in a graph that can be cut: one token per patch, behind those
of the whole image (class token, register tokens)."""

from transfer.backbones.hub_presets import LAST_BLOCK
from transfer.compute.keras import keras


def block_name(place: int, n_blocks: int) -> str:
    """The layer with which block number `place` of `n_blocks` begins: block_0, block_1, ..., and
    LAST_BLOCK."""
    return LAST_BLOCK if place == n_blocks - 1 else f"block_{place}"


def begin_block(tokens: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """The same tokens (B, T, C), behind the layer `name`, which the network can be cut in front of:
    there they have four dimensions, (B, T, 1, C), as the arrays at the cut."""
    n_tokens, width = tokens.shape[1:]
    tokens = keras.layers.Reshape((n_tokens, 1, width), name=f"{name}_tokens")(tokens)
    return keras.layers.Reshape((n_tokens, width), name=name)(tokens)


def pool_tokens(tokens: keras.KerasTensor, grid_side: int) -> keras.KerasTensor:
    """Tokens (B, T, C) -> the first token and the mean of the patch tokens, (B, 1, 1, 2C); without
    tokens in front of the patch tokens their mean alone, (B, 1, 1, C)."""
    n_patches = grid_side**2
    n_prefix = tokens.shape[1] - n_patches
    if not n_prefix:
        return average_grid(tokens, grid_side)
    patches = keras.layers.Cropping1D((n_prefix, 0), name="patch_tokens")(tokens)
    whole = keras.layers.Cropping1D((0, n_prefix + n_patches - 1), name="whole_token")(tokens)
    return join_tokens(whole, patches, grid_side)


def join_tokens(
    whole: keras.KerasTensor, patches: keras.KerasTensor, grid_side: int
) -> keras.KerasTensor:
    """The token of the whole image (B, 1, C) and the mean of the patch tokens (B, patches, C), side
    by side: (B, 1, 1, 2C)."""
    n_patches = patches.shape[1]
    everywhere = keras.layers.UpSampling1D(n_patches, name="whole_token_of_patches")(whole)
    both = keras.layers.Concatenate(name="whole_and_patch_tokens")([everywhere, patches])
    return average_grid(both, grid_side)


def average_grid(tokens: keras.KerasTensor, grid_side: int) -> keras.KerasTensor:
    """The mean of tokens (B, patches, C), (B, 1, 1, C).

    Only a mean lies between the layer `grid` and the features, as Grad-CAM requires.
    """
    width = tokens.shape[-1]
    grid = keras.layers.Reshape((grid_side, grid_side, width), name="grid")(tokens)
    means = keras.layers.GlobalAveragePooling2D(name="mean")(grid)
    return keras.layers.Reshape((1, 1, width), name="features")(means)
