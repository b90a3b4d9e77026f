"""The dense head behind the backbone."""

from transfer.lean import keras


def build_head(input_shape: tuple[int, ...], units: int, dropout: float, normalize: bool, n_classes: int) -> keras.Model:
    """Flatten, scale, Dense(units, relu), dropout, logits: features (B, *input_shape) -> (B, L).

    L is 1 for two classes (the logit of label 1) and `n_classes` for more. `normalize` scales each image's features to
    a root mean square of 1, without a parameter: behind mean-subtracted pixels they reach the hundreds, where a dense layer
    with the usual initial weights and rates learns badly. With (2, 2, 512), 132 units and two classes the head has the
    lesson's 270,601 parameters. Up to there it computes in float32 in every precision: squares of such features do not fit float16.
    """
    features = keras.Input(input_shape, name="features")
    flat = keras.layers.Flatten(dtype="float32", name="flatten")(features)
    if normalize:
        unit_length = keras.layers.UnitNormalization(dtype="float32", name="unit_length")(flat)
        flat = keras.layers.Rescaling(flat.shape[-1] ** 0.5, dtype="float32", name="unit_mean_square")(unit_length)
    hidden = keras.layers.Dense(units, activation="relu", name="hidden")(flat)
    if dropout:
        hidden = keras.layers.Dropout(dropout, name="dropout")(hidden)
    logits = keras.layers.Dense(1 if n_classes == 2 else n_classes, dtype="float32", name="logits")(hidden)  # whatever the precision before
    return keras.Model(features, logits, name="head")
