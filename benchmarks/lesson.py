"""The lesson's notebook in our own words: what the pipeline is measured against.

    python -m benchmarks.lesson --seed 0 --output logs/lesson-0.json
    python -P benchmarks/lesson.py --images FOLDER --output logs/lesson.json

The same split files and the same weights as the pipeline (run `dvc repro weights split` first). The
second way imports nothing of the pipeline, so that TensorFlow computes with all that the processor
has, as it would in a notebook; FOLDER is written by `python -m benchmarks.split_folders FOLDER`.

Everything else is as the lesson has it: pixels / 255, nearest-neighbour resizing, sigmoid and
binary cross-entropy, every epoch through the whole network, the weights of the last epoch. Method 1
extracts features and trains a dense head; method 2 trains a head behind the frozen base with
augmentation; then block5 is fine-tuned. Prints and writes the seconds of each part and the test
accuracy of each model.
"""

import time

STARTED = time.time()  # imports count: they are part of every run

# ruff: noqa: E402
import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator

SIZE = (64, 64)
SPLITS = ("train", "validation", "test")
WEIGHTS = Path("data/weights/backbone.weights.h5")
EPOCHS = {"head": 20, "augmented": 10, "finetuned": 10}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="split/class/file; by default they are made")
    parser.add_argument(
        "--short", action="store_true", help="one epoch of each training, to see that it runs"
    )
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    epochs = dict.fromkeys(EPOCHS, 1) if arguments.short else EPOCHS
    if arguments.images:
        results = run_lesson(arguments.images, epochs)
    else:
        # imported here, since the second way does without the pipeline
        from benchmarks.split_folders import write_split_folders

        with tempfile.TemporaryDirectory() as folder:
            write_split_folders(Path(folder))
            results = run_lesson(Path(folder), epochs)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"seed": arguments.seed, **results}, indent=2) + "\n")


def run_lesson(folder: Path, epochs: dict[str, int]) -> dict:
    """Start, extraction, both methods and fine-tuning: the seconds of each part, and test accuracy
    of each model.

    Args:
        folder: images as split/class/file.
        epochs: of each training.
    """
    base = keras.applications.VGG16(include_top=False, weights=None, input_shape=(*SIZE, 3))
    base.load_weights(WEIGHTS)
    results, started = {}, STARTED

    def note(part: str, accuracy: float | None = None) -> None:
        nonlocal started
        results[part] = {"seconds": time.time() - started, "accuracy": accuracy}
        print(part, results[part], flush=True)
        started = time.time()

    note("start")
    features = {split: extract_features(base, folder / split) for split in SPLITS}
    note("extract")
    head = keras.Sequential(head_layers(256))
    compile_as_lesson(head, 1e-4)
    head.fit(
        *features["train"],
        epochs=epochs["head"],
        batch_size=10,
        validation_data=features["validation"],
        verbose=2,
    )
    note("head", head.evaluate(*features["test"], verbose=0)[1])

    base.trainable = False
    model = keras.Sequential([base, *head_layers(132)])
    batches = read_batches(folder)
    note("augmented", train(model, batches, 2e-5, epochs["augmented"]))

    base.trainable = True
    for layer in base.layers:
        layer.trainable = layer.name.startswith("block5")
    note("finetuned", train(model, batches, 1e-4, epochs["finetuned"]))
    return results


def head_layers(units: int) -> list[keras.Layer]:
    """What stands behind the base: one hidden layer, and the probability of the second class."""
    return [
        keras.layers.Flatten(),
        keras.layers.Dense(units, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ]


def read_batches(folder: Path) -> dict[str, Iterator]:
    """Batches of each split, those of training augmented, those of test in their order."""
    plain = ImageDataGenerator(rescale=1 / 255)
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
    return {
        split: (augmenting if split == "train" else plain).flow_from_directory(
            folder / split, shuffle=split != "test", **options
        )
        for split in SPLITS
    }


def train(model: keras.Model, batches: dict[str, Iterator], rate: float, epochs: int) -> float:
    """Train a model and return its accuracy on the test images."""
    compile_as_lesson(model, rate)
    model.fit(batches["train"], epochs=epochs, validation_data=batches["validation"], verbose=2)
    return model.evaluate(batches["test"], verbose=0)[1]


def extract_features(base: keras.Model, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features flattened to (N, 2048) and labels (N,) of a folder of class folders."""
    batches = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        folder, target_size=SIZE, batch_size=10, class_mode="binary"
    )
    pairs = [
        (base.predict(images, verbose=0), labels)
        for images, labels in (batches[i] for i in range(len(batches)))
    ]
    features, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return features.reshape(len(features), -1), labels


def compile_as_lesson(model: keras.Model, learning_rate: float) -> None:
    model.compile(
        loss="binary_crossentropy",
        optimizer=keras.optimizers.RMSprop(learning_rate=learning_rate),
        metrics=["accuracy"],
    )


if __name__ == "__main__":
    main()
