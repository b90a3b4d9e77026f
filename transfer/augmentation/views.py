"""Augmented views of the training images by row: the data sent to a worker, and how the worker
draws the view."""

import numpy as np

from transfer.augmentation.warp import AugmentParams, render_view
from transfer.runtime.checksums import content_key
from transfer.storage.arrays import take
from transfer.storage.shard_cache import Layout


class ViewRenderer:
    """Draws a view of an image: uint8 (H, W, 3) and the view's number -> float32 (H, W, 3) in
    0..255."""

    def __init__(self, params: AugmentParams):
        self._params = params

    def __call__(self, sent: tuple[np.ndarray, int]) -> np.ndarray:
        image, view = sent
        return render_view(image, view, self._params)


class AugmentationJobs:
    """All images' first views, followed by all their second views, and so on.

    Args:
        images: uint8 (N, H, W, 3).
    """

    def __init__(self, images: np.ndarray, params: AugmentParams):
        self._images = images
        self._params = params
        noise = np.random.default_rng(0).integers(0, 256, images.shape[1:], dtype=np.uint8)
        self._warps = content_key(
            *(render_view(noise, view, params).tobytes() for view in range(8))
        )

    def __len__(self) -> int:
        return self._params.views * len(self._images)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        view, image = divmod(row, len(self._images))
        return take(self._images, image), view

    def key(self, row: int) -> bytes:
        """Cache key of image, view and parameters, and of a warped noise image, which changes if
        the warp's implementation does."""
        image, view = self[row]
        ranges = self._params.model_dump_json(exclude={"views"})
        return content_key(image.tobytes(), str(view).encode(), ranges.encode(), self._warps)


class AugmentedView:
    """One augmented view of all images, drawn as its rows are read: the pixels of which `augment`
    caches the activations.

    Args:
        images: uint8 (N, H, W, 3).
    """

    def __init__(self, images: np.ndarray, view: int, params: AugmentParams):
        self._images, self._view, self._params = images, view, params

    @property
    def layout(self) -> Layout | None:
        return getattr(self._images, "layout", None)

    def read_in(self, windows: list[list[int]]) -> None:
        self._images.read_in(windows)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Rows, int (b,), as float32 (b, H, W, 3) in 0..255."""
        return np.stack(
            [render_view(image, self._view, self._params) for image in take(self._images, rows)]
        )
