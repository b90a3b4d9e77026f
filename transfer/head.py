"""The dense head behind the backbone."""

import keras


def build_head(input_shape: tuple[int, ...], units: int, dropout: float, n_classes: int) -> keras.Model:
    """Flatten, Dense(units, relu), dropout, logits: features (B, *input_shape) -> (B, L).

    L is 1 for two classes (the logit of label 1) and `n_classes` for more. With (2, 2, 512), 132 units and two
    classes it has the lesson's 270,601 parameters.
    """
    features = keras.Input(input_shape, name="features")
    hidden = keras.layers.Dense(units, activation="relu", name="hidden")(keras.layers.Flatten(name="flatten")(features))
    if dropout:
        hidden = keras.layers.Dropout(dropout, name="dropout")(hidden)
    logits = keras.layers.Dense(1 if n_classes == 2 else n_classes, name="logits")(hidden)
    return keras.Model(features, logits, name="head")
