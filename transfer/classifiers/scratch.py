"""The small convolutional network that is trained from scratch on the augmented images."""

from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError

FILTERS = (32, 32, 64)
SMALLEST = 22  # pixels per side, of which the last pooling leaves one


def build_small_network(image_size: int, units: int, dropout: float, n_classes: int) -> keras.Model:
    """Three 3 x 3 convolutions, each with max pooling, then Dense(units, relu), dropout, logits:
    pixels (B, S, S, 3) -> (B, L).

    Pixels are 0..255; L is 1 for two classes and `n_classes` for more. Filters and layers are those
    of the network that F. Chollet compares with VGG16 in "Building powerful image classification
    models using very little data" (blog.keras.io, 2016).

    Raises:
        PipelineError: the images are too small.
    """
    if image_size < SMALLEST:
        raise PipelineError(
            f"backbone.image_size = {image_size}: the network from scratch needs at least "
            f"{SMALLEST} pixels per side; set train_scratch.skip to true"
        )
    pixels = keras.Input((image_size, image_size, 3), name="images")
    maps = keras.layers.Rescaling(1 / 255, name="rescale")(pixels)
    for place, filters in enumerate(FILTERS, start=1):
        maps = keras.layers.Conv2D(filters, 3, activation="relu", name=f"conv{place}")(maps)
        maps = keras.layers.MaxPooling2D(name=f"pool{place}")(maps)
    hidden = keras.layers.Dense(units, activation="relu", name="hidden")(
        keras.layers.Flatten(name="flatten")(maps)
    )
    if dropout:
        hidden = keras.layers.Dropout(dropout, name="dropout")(hidden)
    logits = keras.layers.Dense(1 if n_classes == 2 else n_classes, dtype="float32", name="logits")(
        hidden
    )
    return keras.Model(pixels, logits, name="scratch")
