"""Augmented views of the training images, by row: what is sent of each, and how a worker draws it."""

import numpy as np

from transfer.arrays import take
from transfer.augmentation import AugmentParams, draw_view
from transfer.rows import content_key


class DrawView:
    """Draws an image uint8 (H, W, 3) and the number of the view: float32 (H, W, 3) in 0..255."""

    def __init__(self, params: AugmentParams):
        self._params = params

    def __call__(self, sent: tuple[np.ndarray, int]) -> np.ndarray:
        image, view = sent
        return draw_view(image, view, self._params)


class Views:
    """All images' first views, then their second, and so on.

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

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        view, image = divmod(row, len(self._images))
        return take(self._images, image), view

    def key(self, row: int) -> bytes:
        """Of image, view, parameters, and how some noise was warped: that tells apart versions of the warp itself."""
        image, view = self[row]
        ranges = self._params.model_dump_json(exclude={"views"})
        return content_key(image.tobytes(), str(view).encode(), ranges.encode(), self._warps)
