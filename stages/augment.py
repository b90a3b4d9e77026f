"""Draw augmented views of every training image and run each once through the frozen backbone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from transfer.arrays import read_array
from transfer.augmentation import WarpRanges, apply_warp, draw_warp
from transfer.backbone import BackboneParams, load_backbone, with_preprocessing
from transfer.compute import set_up
from transfer.door import run
from transfer.examples import views_file
from transfer.frozen import cache_frozen_pass
from transfer.params import load_param, load_params

IMAGES = Path("data/images/train.npy")


class AugmentParams(WarpRanges):
    views: PositiveInt


def main() -> None:
    params = load_params(AugmentParams, "augment")
    architecture = load_params(BackboneParams, "backbone")
    batch_size = load_param(PositiveInt, "extract.batch_size")
    set_up(seed=0)
    frozen = with_preprocessing(load_backbone(architecture), architecture)
    images = read_array(IMAGES, ndim=4)
    files = views_file("features"), views_file("cut")
    cache_frozen_pass(frozen, draw_views(images, params), (params.views, len(images)), *files, batch_size, lower_with="augment.views")


def draw_views(images: np.ndarray, params: AugmentParams) -> Iterator[np.ndarray]:
    """All images' first views, then their second, and so on: float32 (H, W, 3) in 0..255 each."""
    for view in range(params.views):
        for image in images:
            yield apply_warp(image, draw_warp(image, view, params))


if __name__ == "__main__":
    run(main)
