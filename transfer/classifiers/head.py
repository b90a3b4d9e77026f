"""The dense head and the linear probe as Keras models: features to logits."""

import numpy as np

from transfer.classifiers.dense_head import SCALE_LAYER, SMALLEST_SQUARE
from transfer.compute.keras import keras


def build_head(
    input_shape: tuple[int, ...], units: int, dropout: float, normalize: bool, n_classes: int
) -> keras.Model:
    """Flatten, scale, Dense(units, relu), dropout, logits: features (B, *input_shape) -> (B, L).

    L is 1 for two classes (the logit of label 1) and `n_classes` for more. With (2, 2, 512), 132
    units and two classes the head has the lesson's 270,601 parameters.

    Args:
        normalize: scale each image's features to a root mean square of 1, without a trained
            parameter. With mean-subtracted pixels features reach the hundreds, from which a dense
            layer with the usual initial weights and rates learns badly. Computed in float32 in
            every precision, since squares of such features do not fit float16.
    """
    features = keras.Input(input_shape, name="features")
    flat = keras.layers.Flatten(dtype="float32", name="flatten")(features)
    if normalize:
        flat = keras.layers.Rescaling(flat.shape[-1] ** 0.5, dtype="float32", name=SCALE_LAYER)(
            _unit_length(flat)
        )
    hidden = keras.layers.Dense(units, activation="relu", name="hidden")(flat)
    if dropout:
        hidden = keras.layers.Dropout(dropout, name="dropout")(hidden)
    logits = keras.layers.Dense(1 if n_classes == 2 else n_classes, dtype="float32", name="logits")(
        hidden
    )  # in every precision
    return keras.Model(features, logits, name="head")


def build_linear(input_shape: tuple[int, ...], kernel: np.ndarray, bias: np.ndarray) -> keras.Model:
    """The mean over the picture, then a linear layer: features (B, h, w, C) -> logits (B, L), in
    float32 in every precision.

    Args:
        kernel: float32 (C, L).
        bias: float32 (L,).
    """
    features = keras.Input(input_shape, name="features")
    means = keras.layers.GlobalAveragePooling2D(dtype="float32", name="mean")(features)
    logits = keras.layers.Dense(len(bias), dtype="float32", name="logits")(means)
    model = keras.Model(features, logits, name="probe")
    model.set_weights([kernel, bias])
    return model


def _unit_length(vectors: keras.KerasTensor) -> keras.KerasTensor:
    """Each row (B, D) divided by its length; zero rows stay zero.

    Keras's UnitNormalization multiplies by a reciprocal square root, for which TensorFlow uses an
    instruction that processors approximate differently; square root and division are exact. The
    operations need names, which `keras.ops` cannot give: automatic names count all operations that
    the process has built, so equal heads would not give equal bytes.
    """
    # after transfer.compute.keras, which decides what Keras imports
    from keras.src.ops.numpy import Divide, Maximum, Sqrt, Square, Sum

    squares = Sum(axis=-1, keepdims=True, name="sum_of_squares")(Square(name="squares")(vectors))
    return Divide(name="unit_length")(
        vectors, Sqrt(name="length")(Maximum(name="positive")(squares, SMALLEST_SQUARE))
    )
