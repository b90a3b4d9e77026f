"""Compares exported files, each run by its own runtime, with the model that they were made from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transfer.export.runtimes import open_runtime

TOLERANCE = 1e-4  # largest difference of probabilities for unchanged weights


@dataclass(frozen=True)
class Answers:
    """Images uint8 (h, w, 3), of any sizes, the Keras model's probabilities of them (N, C), and
    their labels, int (N,)."""

    images: Sequence[np.ndarray]
    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def accuracy(self) -> float:
        return float((self.probabilities.argmax(axis=1) == self.labels).mean())


class Checked(NamedTuple):
    """The results of a format's own runtime. difference: the largest of any probability. ms:
    milliseconds for one image alone, on one thread."""

    format: str
    file: str
    megabytes: float
    ms: float
    accuracy: float
    equal_labels: float
    difference: float


def check(kind: str, path: Path, expected: Answers) -> Checked:
    """Run an exported file on all images, one at a time."""
    run = open_runtime(path)
    run(expected.images[0])  # the first run includes work that a runtime does only once
    started = time.perf_counter()
    answers = np.stack([run(image) for image in expected.images])
    seconds = time.perf_counter() - started
    chosen = answers.argmax(axis=1)
    return Checked(
        format=kind,
        file=path.name,
        megabytes=round(size_of(path) / 1e6, 1),
        ms=round(1000 * seconds / len(answers), 1),
        accuracy=round(float((chosen == expected.labels).mean()), 6),
        equal_labels=round(float((chosen == expected.probabilities.argmax(axis=1)).mean()), 6),
        difference=float(f"{np.abs(answers - expected.probabilities).max():.2g}"),
    )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    return sum(
        file.stat().st_size
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.is_file()
    )
