"""The frozen part of the network, computed once an image and kept on disk."""

import sys
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from pydantic import PositiveInt
from tqdm import tqdm

from transfer.arrays import let_go, new_array, take
from transfer.checkpoints import FOLDER as CHECKPOINTS
from transfer.compute import frozen_pass
from transfer.errors import PipelineError
from transfer.lean import keras
from transfer.params import Params
from transfer.rows import FOLDER, RowsParams, RowStore, content_key, store_folder


class ExtractParams(Params):
    batch_size: PositiveInt
    storage: Literal["float32", "float16"]


class Pictures(Protocol):
    """Images (H, W, 3) in 0..255, each with a key that no other content has."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> np.ndarray: ...
    def key(self, row: int) -> bytes: ...


class CleanImages:
    """Decoded images, uint8 (N, H, W, 3), as they are."""

    def __init__(self, images: np.ndarray):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> np.ndarray:
        return take(self._images, row)

    def key(self, row: int) -> bytes:
        return content_key(self[row].tobytes())


def cache_frozen_pass(
    frozen: keras.Model,
    pictures: Pictures,
    leading: tuple[int, ...],
    files: tuple[Path, Path],
    params: ExtractParams,
    rows: RowsParams,
    checkpoint: Path,
    lower_with: str,
) -> None:
    """Send images through the frozen network and write what comes out, taking the rows that are known from the store.

    Args:
        frozen: from `with_preprocessing`, images -> [activations at the cut, features].
        pictures: as many as the product of `leading`, the last index fastest.
        leading: leading shape of both arrays, (N,) or (V, N).
        files: get the features (*leading, h, w, C) and the activations at the cut (*leading, h', w', C').
        checkpoint: folder that keeps the rows until the stage ends, where `rows` keeps none.
        lower_with: the parameter that makes the arrays smaller, for the message when the disk cannot hold them.

    Raises:
        PipelineError: no room on the disk, or an activation that `params.storage` cannot hold.
    """
    cut_shape, features_shape = (shape[1:] for shape in frozen.output_shape)
    layout = np.dtype([("cut", params.storage, cut_shape), ("features", params.storage, features_shape)])
    features_file, cut_file = files
    folder, limit = (store_folder(), int(rows.gigabytes * 1e9)) if rows.gigabytes else (checkpoint, sys.maxsize)
    source = FOLDER if rows.gigabytes else CHECKPOINTS
    with (
        new_array(features_file, (*leading, *features_shape), params.storage, lower_with) as features,
        new_array(cut_file, (*leading, *cut_shape), params.storage, lower_with) as cut,
        RowStore(folder, identify(frozen, params), layout, limit) as store,
        tqdm(total=len(pictures), desc=str(features_file), unit=" images") as progress,
    ):
        flat_cut, flat_features = cut.reshape(-1, *cut_shape), features.reshape(-1, *features_shape)
        missing = np.ones(len(pictures), dtype=bool)

        def write(row: int, content: np.ndarray) -> None:
            flat_cut[row], flat_features[row] = content["cut"], content["features"]
            missing[row] = False
            let_go(cut), let_go(features)
            progress.update()

        for row in range(len(pictures)) if len(store) else ():
            known = store.get(pictures.key(row))
            if known is not None:
                write(row, known)
        n_known = len(pictures) - missing.sum()
        for chosen, outputs in frozen_pass(frozen, pictures, np.flatnonzero(missing), params.batch_size):
            for row, *computed in zip(chosen, *outputs, strict=True):
                content = _pack(layout, *computed)
                write(row, content)
                store.put(pictures.key(row), content)
    print(f"{features_file}: {n_known:,} rows were known ({source}), {len(pictures) - n_known:,} were computed")


def identify(frozen: keras.Model, params: ExtractParams) -> bytes:
    """32 bytes that are other whenever a network would compute other rows.

    Its weights, and what comes out for a picture of noise: that tells apart whatever else decides the last bits, be it
    preprocessing, precision, a library's version or the processor.
    """
    noise = np.random.default_rng(0).integers(0, 256, (1, *frozen.input_shape[1:]), dtype=np.uint8)
    ((_, outputs),) = frozen_pass(frozen, noise, np.arange(1), params.batch_size)
    weights = (np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes() for weight in frozen.weights)
    return content_key(params.storage.encode(), *weights, *(output.tobytes() for output in outputs))


def _pack(layout: np.dtype, cut: np.ndarray, features: np.ndarray) -> np.ndarray:
    """One row of the layout; refused where its type cannot hold a value."""
    content = np.zeros((), layout)
    with np.errstate(over="ignore"):
        content["cut"], content["features"] = cut, features
    for name, computed in (("cut", cut), ("features", features)):
        if not np.isfinite(computed).all():
            raise PipelineError(f"the network computes infinite or undefined activations ({name}); check the weights and compute.precision")
        if not np.isfinite(content[name]).all():
            raise PipelineError(f"an activation is {np.abs(computed).max():g}, beyond extract.storage = {content[name].dtype}; use float32")
    return content
