"""What a person would write with Keras alone: `make bench` compares the pipeline with it.

    python -P benchmarks/plain_keras.py head_step --output numbers.json
    python -P benchmarks/plain_keras.py predict photo.jpg

It imports nothing of the pipeline, so that TensorFlow computes with all that the processor has.
Weights of the layers behind VGG16's are random, and so are those of VGG16 where only its speed
matters.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np

SIZE = (64, 64)
WEIGHTS = Path("data/weights/backbone.weights.h5")
BATCH = 32  # Keras's default


def main() -> None:
    """Measure one thing and write it as JSON, or predict images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, help_text in (
        ("frozen_pass", "images per second of VGG16 by `Model.predict`"),
        ("head_step", "milliseconds of a step of the lesson's head by `Model.fit`"),
        ("scratch", "seconds of training a small network on images augmented as they are read"),
    ):
        kind = kinds.add_parser(name, help=help_text)
        kind.add_argument("--output", type=Path, required=True)
        kind.add_argument("--images", type=int, default=480)
        kind.add_argument("--steps", type=int, default=1000)
        kind.add_argument("--epochs", type=int, default=40)
        kind.add_argument("--folder", type=Path, help="images as split/class/file, of scratch")
    kinds.add_parser("predict").add_argument("path", type=Path, help="an image or a folder")
    arguments = parser.parse_args()
    if arguments.kind == "predict":
        predict(arguments.path)
        return
    value = {
        "frozen_pass": lambda: frozen_pass(arguments.images),
        "head_step": lambda: head_step(arguments.steps),
        "scratch": lambda: scratch(arguments.folder, arguments.epochs),
    }[arguments.kind]()
    arguments.output.write_text(json.dumps({"value": value}))


def build_network(weights: Path | None) -> keras.Model:
    """VGG16 without its top, pixels of `preprocess_input` (B, 64, 64, 3) -> features."""
    network = keras.applications.VGG16(include_top=False, weights=None, input_shape=(*SIZE, 3))
    if weights is not None:
        network.load_weights(weights)
    return network


def frozen_pass(images: int) -> float:
    """Images per second of `predict`, preprocessing included, on pixels in memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, *SIZE, 3), dtype=np.uint8)
    network = build_network(None)
    prepare = keras.applications.vgg16.preprocess_input
    network.predict(prepare(pixels[:BATCH].astype(np.float32)), verbose=0)
    started = time.perf_counter()
    network.predict(prepare(pixels.astype(np.float32)), batch_size=BATCH, verbose=0)
    return images / (time.perf_counter() - started)


def head_step(steps: int, batch: int = 10) -> float:
    """Milliseconds of a step of the lesson's head, by `fit` on features in memory."""
    rng = np.random.default_rng(0)
    features = rng.random((steps * batch, 2, 2, 512), dtype=np.float32)
    labels = rng.integers(0, 2, len(features))
    head = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    head.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
    head.fit(features[:batch], labels[:batch], batch_size=batch, verbose=0)
    started = time.perf_counter()
    head.fit(features, labels, batch_size=batch, verbose=0)
    return 1000 * (time.perf_counter() - started) / steps


def scratch(folder: Path, epochs: int) -> float:
    """Seconds of training the small network of "Building powerful image classification models using
    very little data" (blog.keras.io, 2016) as it is trained there, with validation."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    augmenting = ImageDataGenerator(
        rescale=1 / 255,
        rotation_range=40,
        width_shift_range=0.2,
        height_shift_range=0.2,
        shear_range=0.2,
        zoom_range=0.2,
        horizontal_flip=True,
        fill_mode="nearest",
    )
    options = {"target_size": SIZE, "batch_size": 20, "class_mode": "binary"}
    train = augmenting.flow_from_directory(folder / "train", **options)
    validation = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        folder / "validation", **options
    )
    layers = [keras.Input((*SIZE, 3))]
    for filters in (32, 32, 64):
        layers += [
            keras.layers.Conv2D(filters, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
        ]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
    network = keras.Sequential(layers)
    network.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    started = time.perf_counter()
    network.fit(train, epochs=epochs, validation_data=validation, verbose=2)
    return time.perf_counter() - started


def predict(path: Path) -> None:
    """Print one row for an image, or for each in a folder: its name and a probability."""
    network = keras.Sequential(
        [
            build_network(WEIGHTS),
            keras.layers.Flatten(),
            keras.layers.Dense(132, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        image = keras.utils.img_to_array(keras.utils.load_img(file, target_size=SIZE))
        pixels = keras.applications.vgg16.preprocess_input(image[None])
        print(file.name, float(network.predict(pixels, verbose=0)[0, 0]), flush=True)


if __name__ == "__main__":
    main()
