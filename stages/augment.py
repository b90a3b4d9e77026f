"""Draw augmented views of every training image and run each once through the frozen backbone."""

from pathlib import Path

import numpy as np

from transfer.arrays import read_array, take
from transfer.augmentation import AugmentParams, draw_view
from transfer.backbone import load_backbone, with_preprocessing
from transfer.backbones import BackboneParams
from transfer.checkpoints import resumable
from transfer.compute import ComputeParams, set_up
from transfer.door import run
from transfer.examples import views_file
from transfer.frozen import ExtractParams, cache_frozen_pass
from transfer.params import load_params
from transfer.rows import RowsParams, content_key

IMAGES = Path("data/images/train.npy")


def main() -> None:
    params = load_params(AugmentParams, "augment")
    architecture = load_params(BackboneParams, "backbone")
    extract = load_params(ExtractParams, "extract")
    rows = load_params(RowsParams, "rows")
    set_up(load_params(ComputeParams, "compute"), seed=0)
    frozen = with_preprocessing(load_backbone(architecture), architecture)
    images = read_array(IMAGES, ndim=4)
    files = views_file("features"), views_file("cut")
    views, leading = Views(images, params), (params.views, len(images))
    with resumable("augment") as checkpoint:
        cache_frozen_pass(frozen, views, leading, files, extract, rows, checkpoint.folder, lower_with="augment.views")


class Views:
    """All images' first views, then their second, and so on: float32 (H, W, 3) in 0..255 each.

    Args:
        images: uint8 (N, H, W, 3).
    """

    def __init__(self, images: np.ndarray, params: AugmentParams):
        self._images = images
        self._params = params
        noise = np.random.default_rng(0).integers(0, 256, images.shape[1:], dtype=np.uint8)
        self._warps = content_key(*(draw_view(noise, view, params).tobytes() for view in range(8)))

    def __len__(self) -> int:
        return self._params.views * len(self._images)

    def __getitem__(self, row: int) -> np.ndarray:
        view, image = divmod(row, len(self._images))
        return draw_view(take(self._images, image), view, self._params)

    def key(self, row: int) -> bytes:
        """Of image, view, parameters, and how some noise was warped: that tells apart versions of the warp itself."""
        view, image = divmod(row, len(self._images))
        ranges = self._params.model_dump_json(exclude={"views"})
        return content_key(take(self._images, image).tobytes(), str(view).encode(), ranges.encode(), self._warps)


if __name__ == "__main__":
    run(main)
