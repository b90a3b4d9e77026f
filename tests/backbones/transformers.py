"""Tiny transformers for images in layers of Keras alone, as people write them: Keras's example
"Image classification with Vision Transformer" without its two layers of own code."""

import keras
from keras import layers

SIDE, PATCH, WIDTH = 32, 8, 8
N_PATCHES = (SIDE // PATCH) ** 2


def plain(
    n_blocks: int = 3,
    token: bool = False,
    mixer: bool = False,
    pooled: bool = False,
    side: int | None = SIDE,
) -> keras.Model:
    """Augmentation, patches, positions, blocks, a dense top on all tokens.

    Args:
        token: put a class token in front of the patches, which the top takes alone.
        mixer: dense layers over the tokens in place of attention.
        pooled: the top takes what attention pools from the tokens.
        side: of the pictures; None: any.
    """
    images = keras.Input((side, side, 3))
    augmented = keras.Sequential([layers.RandomFlip(), layers.RandomZoom(0.2)])(images)
    patches = layers.Conv2D(WIDTH, PATCH, strides=PATCH, name="patches")(augmented / 255.0)
    x = layers.Reshape((-1, WIDTH), name="sequence")(patches)
    if token:
        nothing = keras.ops.zeros_like(x[:, :1, 0])
        x = layers.Concatenate(axis=1)([layers.Embedding(1, WIDTH)(nothing), x])
    places = keras.ops.cumsum(keras.ops.ones_like(x[:, :, 0]), axis=1) - 1
    x = x + layers.Embedding(N_PATCHES + 1, WIDTH, name="positions")(places)
    for _ in range(n_blocks):
        x = block(x, mixer)
    x = layers.LayerNormalization(name="last_tokens")(x)
    if pooled:
        mean = keras.ops.mean(x, axis=1, keepdims=True)
        x = layers.MultiHeadAttention(2, WIDTH // 2)(mean, x)
    top = x[:, 0] if token else layers.Flatten()(x) if side else layers.GlobalMaxPooling1D()(x)
    return keras.Model(images, layers.Dense(3)(layers.Dropout(0.5)(top)))


def block(x: keras.KerasTensor, mixer: bool) -> keras.KerasTensor:
    """Attention and a dense part, each with a path around it."""
    normed = layers.LayerNormalization()(x)
    if mixer:
        across = layers.Dense(N_PATCHES)(layers.Permute((2, 1))(normed))
        attended = layers.Permute((2, 1))(across)
    else:
        attended = layers.MultiHeadAttention(2, WIDTH // 2, dropout=0.1)(normed, normed)
    x = layers.Add()([x, attended])
    inner = layers.Dense(12, activation="gelu")(layers.LayerNormalization()(x))
    return layers.Add()([x, layers.Dropout(0.1)(layers.Dense(WIDTH)(inner))])
