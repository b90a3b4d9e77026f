"""The frozen part of the network, computed once an image and kept on disk."""

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from transfer.arrays import new_array
from transfer.compute import frozen_pass


def cache_frozen_pass(
    frozen: keras.Model,
    images: Iterable[np.ndarray],
    leading: tuple[int, ...],
    features_file: Path,
    cut_file: Path,
    batch_size: int,
    lower_with: str,
) -> None:
    """Send images through the frozen network and write what comes out, float32.

    Args:
        frozen: from `with_preprocessing`, images -> [activations at the cut, features].
        images: (H, W, 3) in 0..255, as many as the product of `leading`, the last index fastest.
        leading: leading shape of both arrays, (N,) or (V, N).
        features_file: gets (*leading, h, w, C).
        cut_file: gets (*leading, h', w', C').
        batch_size: images a step on an accelerator.
        lower_with: the parameter that makes the arrays smaller, for the message when the disk cannot hold them.
    """
    cut_shape, features_shape = ((*leading, *shape[1:]) for shape in frozen.output_shape)
    with (
        new_array(features_file, features_shape, "float32", lower_with) as features,
        new_array(cut_file, cut_shape, "float32", lower_with) as cut,
        tqdm(total=int(np.prod(leading)), desc=str(features_file), unit=" images") as progress,
    ):
        flat_features, flat_cut = (array.reshape(-1, *array.shape[len(leading) :]) for array in (features, cut))
        for at_cut, at_end in frozen_pass(frozen, images, batch_size):
            rows = slice(progress.n, progress.n + len(at_end))
            flat_cut[rows], flat_features[rows] = at_cut, at_end
            progress.update(len(at_end))
        if progress.n != progress.total:
            raise AssertionError(f"{progress.n} images came, {progress.total} were announced")
