"""The lesson's notebook in our own words: what the pipeline is measured against.

    python -m benchmarks.lesson --seed 0 --output logs/lesson-0.json

The same split files and the same weights as the pipeline (run `dvc repro weights split` first), and
everything else as the lesson has it: pixels / 255, nearest-neighbour resizing, sigmoid and binary
cross-entropy, every epoch through the whole network, the weights of the last epoch. Method 1
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
from pathlib import Path

import keras
import numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from transfer.backbones.registry import WEIGHTS
from transfer.dataset.manifest import SPLITS, read_manifest
from transfer.runtime.params import load_param
from transfer.sources.reader import read_source

SIZE = (64, 64)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        unpack_splits(Path(folder))
        results = run_lesson(Path(folder))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"seed": arguments.seed, **results}, indent=2) + "\n")


def unpack_splits(folder: Path) -> None:
    """Lay the images out as the lesson has them: split/class/file."""
    manifest = read_manifest().set_index("path")
    for entry in read_source(Path(load_param(str, "split.source")), set(manifest.index)):
        if entry.path.endswith("/"):
            continue
        row = manifest.loc[entry.path]
        target = folder / row["split"] / row["class_name"] / Path(entry.path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(entry.content)


def run_lesson(folder: Path) -> dict:
    """Start, extraction, both methods and fine-tuning: the seconds of each part, and test accuracy
    of each model."""
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
    base = keras.applications.VGG16(include_top=False, weights=None, input_shape=(*SIZE, 3))
    base.load_weights(WEIGHTS)
    results, started = {}, STARTED

    def note(part: str, accuracy: float | None = None) -> None:
        nonlocal started
        results[part] = {"seconds": time.time() - started, "accuracy": accuracy}
        print(part, results[part], flush=True)
        started = time.time()

    note("start")
    features = {split: extract_features(base, plain, folder / split) for split in SPLITS}
    note("extract")
    head = keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    compile_as_lesson(head, 1e-4)
    head.fit(
        *features["train"],
        epochs=20,
        batch_size=10,
        validation_data=features["validation"],
        verbose=2,
    )
    note("head", head.evaluate(*features["test"], verbose=0)[1])

    base.trainable = False
    model = keras.Sequential(
        [
            base,
            keras.layers.Flatten(),
            keras.layers.Dense(132, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    train = augmenting.flow_from_directory(
        folder / "train", target_size=SIZE, batch_size=20, class_mode="binary"
    )
    validation = plain.flow_from_directory(
        folder / "validation", target_size=SIZE, batch_size=20, class_mode="binary"
    )
    test = plain.flow_from_directory(
        folder / "test", target_size=SIZE, batch_size=20, class_mode="binary", shuffle=False
    )
    compile_as_lesson(model, 2e-5)
    model.fit(train, epochs=10, validation_data=validation, verbose=2)
    note("augmented", model.evaluate(test, verbose=0)[1])

    base.trainable = True
    for layer in base.layers:
        layer.trainable = layer.name.startswith("block5")
    compile_as_lesson(model, 1e-4)
    model.fit(train, epochs=10, validation_data=validation, verbose=2)
    note("finetuned", model.evaluate(test, verbose=0)[1])
    return results


def extract_features(
    base: keras.Model, generator: ImageDataGenerator, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Features flattened to (N, 2048) and labels (N,) of a folder of class folders."""
    batches = generator.flow_from_directory(
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
