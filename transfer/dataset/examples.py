"""The inputs of the classifiers, pixels or cached activations, with the labels."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from transfer.dataset.manifest import labels_of, weights_of
from transfer.storage.array_paths import inputs_path, views_path
from transfer.storage.arrays import read_array
from transfer.storage.params import Shards
from transfer.storage.sharded_array import ShardedArray


@dataclass(frozen=True)
class Examples:
    """Inputs (N, ...), their labels, int (N,), and how much each counts in training, float32 (N,);
    None: all the same."""

    inputs: np.ndarray | ShardedArray
    labels: np.ndarray
    weights: np.ndarray | None = None


def read_examples(manifest: pd.DataFrame, split: str, input_kind: str, shards: Shards) -> Examples:
    """A split's `images`, `features` or activations at the `cut`, and the manifest's labels; raises
    PipelineError if their numbers differ."""
    labels = labels_of(manifest, split)
    inputs = read_array(inputs_path(split, input_kind), shards, rows=len(labels), ndim=4)
    return Examples(inputs, labels, weights_of(manifest, split) if split == "train" else None)


def load_views(manifest: pd.DataFrame, input_kind: str, shards: Shards) -> Examples:
    """The augmented views (V, N, ...) of the training images with their labels (N,)."""
    labels = labels_of(manifest, "train")
    views = read_array(views_path(input_kind), shards, rows=len(labels), axis=1, ndim=5)
    return Examples(views, labels, weights_of(manifest, "train"))
