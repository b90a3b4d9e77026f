"""What the classifiers take, pixels or cached activations, with the labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from transfer.arrays import read_array
from transfer.manifest import labels_of

IMAGES = Path("data/images")
FEATURES = Path("data/features")
VIEWS = Path("data/views")


@dataclass(frozen=True)
class Examples:
    """Inputs (N, ...) and their labels, int (N,)."""

    inputs: np.ndarray
    labels: np.ndarray


def inputs_file(split: str, takes: str) -> Path:
    """Where `decode` keeps a split's `images` (N, H, W, 3), `extract` its `features` (N, h, w, C) and activations at the `cut`."""
    return {"images": IMAGES / f"{split}.npy", "features": FEATURES / f"{split}.npy", "cut": FEATURES / f"{split}_cut.npy"}[takes]


def views_file(takes: str) -> Path:
    """Where `augment` keeps the training views' `features` (V, N, h, w, C) or activations at the `cut`."""
    return VIEWS / {"features": "train.npy", "cut": "train_cut.npy"}[takes]


def read_examples(manifest: pd.DataFrame, split: str, takes: str) -> Examples:
    """A split's `images`, `features` or activations at the `cut`, and the manifest's labels; PipelineError when they disagree in number."""
    labels = labels_of(manifest, split)
    return Examples(read_array(inputs_file(split, takes), rows=len(labels), ndim=4), labels)


def read_views(manifest: pd.DataFrame, takes: str) -> Examples:
    """The augmented views (V, N, ...) of the training images with their labels (N,)."""
    labels = labels_of(manifest, "train")
    return Examples(read_array(views_file(takes), rows=len(labels), axis=1, ndim=5), labels)
