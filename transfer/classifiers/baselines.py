"""Saves and loads the baselines: model.json, arrays in model.weights.h5, and choices.csv in
models/NAME/; needs no Keras."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from transfer.classifiers.description import read_description
from transfer.classifiers.names import SCORES, choices_file, description_file, weights_file
from transfer.classifiers.probabilities import probabilities
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import allocate, atomic_write, write_json, write_table

DECIMALS = 6  # finer ones would differ between machines


def score_settings(
    name: str, settings: Sequence[float], logits: Sequence[np.ndarray], labels: np.ndarray
) -> pd.DataFrame:
    """Log loss in nats and accuracy on the validation images, one row per setting: `name`,
    val_loss, val_accuracy.

    Args:
        name: what is set.
        logits: of the validation images, (N, L), for each setting.
        labels: int (N,).
    """
    from sklearn.metrics import log_loss  # half a second; whoever loads a baseline needs none

    found = [probabilities(each) for each in logits]
    return pd.DataFrame(
        {
            name: list(settings),
            "val_loss": [log_loss(labels, each, labels=range(each.shape[1])) for each in found],
            "val_accuracy": [float((each.argmax(axis=1) == labels).mean()) for each in found],
        }
    )


def save_baseline(
    name: str,
    description: Mapping[str, object],
    arrays: Mapping[str, np.ndarray],
    choices: pd.DataFrame,
) -> None:
    """Write a baseline under `name`; equal ones give equal bytes.

    Args:
        description: input_shape (of one image's features), class_names, and the setting by name.
        choices: as `score_settings` gives them.
    """
    write_json(description_file(name), {"input_kind": "features", **description})
    with atomic_write(weights_file(name)) as temporary:
        # HDF5 that meets a full disk prints pages and fails again as it is closed
        allocate(temporary, sum(array.nbytes for array in arrays.values()))
        with h5py.File(temporary, "w") as file:
            for key, array in arrays.items():
                file.create_dataset(key, data=array, track_times=False)
    rounded = {score: choices[score].round(DECIMALS) for score in SCORES}
    write_table(choices_file(name), choices.assign(**rounded))


def read_baseline(name: str, keys: Sequence[str]) -> tuple[dict, list[np.ndarray]]:
    """A baseline's description and the arrays `keys`, which hold finite numbers.

    Raises:
        PipelineError: missing, skipped, damaged, or not what `save_baseline` writes.
    """
    described = read_description(name)
    try:
        recorded = json.loads(described.content)
        shape = recorded["input_shape"]
        if len(shape) != 3 or not all(type(side) is int and side > 0 for side in shape):
            raise ValueError(f"input_shape = {shape!r}")
        arrays = read_arrays(described.weights, keys)
    except Exception as error:  # h5py raises many exception types on bad values
        raise damaged(name, error) from None
    return recorded, arrays


def read_arrays(file: Path, keys: Sequence[str]) -> list[np.ndarray]:
    """Arrays of finite numbers of an HDF5 file, by their paths in it.

    Raises:
        Exception: of many types, because h5py raises many; the file is damaged or lacks one.
    """
    with h5py.File(file, "r") as opened:
        return [_read(opened, key, file.stat().st_size) for key in keys]


def damaged(name: str, problem: object) -> PipelineError:
    """The error that says that a baseline's files are not what its stage writes."""
    return PipelineError(
        f"{description_file(name)} and {weights_file(name).name} are damaged or do "
        f"not belong together: {problem}"
    )


def _read(file: h5py.File, key: str, most: int) -> np.ndarray:
    """An array that the file holds itself; refused before memory is taken for more than that."""
    found = file.get(key, getlink=True)
    if not isinstance(found, h5py.HardLink) or not isinstance(file[key], h5py.Dataset):
        raise ValueError(f"there is no array {key!r}")
    dataset = file[key]
    if dataset.external or dataset.is_virtual or dataset.dtype.kind not in "fi":
        raise ValueError(f"{key} is no array of numbers of this file")
    if (needed := math.prod(dataset.shape) * dataset.dtype.itemsize) > most:
        raise ValueError(f"{key} of {needed:,} bytes in a file of {most:,}")
    array = dataset[()]
    if not np.isfinite(array).all():
        raise ValueError(f"{key} holds NaN or infinity")
    return array
