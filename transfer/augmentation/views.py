"""Augmented views of the training images by row: the data sent to a worker, how the worker renders
the view, and the views as training reads them."""

import math
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import numpy as np

from transfer.augmentation.warp import AugmentParams, render_view
from transfer.runtime.checksums import content_key
from transfer.storage.arrays import take
from transfer.storage.row_range import ImagePart, RowRange
from transfer.storage.shard_cache import Layout

KEPT_BYTES = 2**29  # limit of rendered views in memory


class ViewRenderer:
    """Renders a view of an image: uint8 (H, W, 3) and the view's number -> float32 (H, W, 3) in
    0..255."""

    def __init__(self, params: AugmentParams):
        self._params = params

    def __call__(self, sent: tuple[np.ndarray, int]) -> np.ndarray:
        image, view = sent
        return render_view(image, view, self._params)


class AugmentationJobs:
    """What the workers render: all images' first views, then all their second views, and so on.

    Args:
        images: uint8 (N, H, W, 3).
    """

    def __init__(self, images: np.ndarray, params: AugmentParams):
        self._images, self._params = images, params
        self._ranges = params.model_dump_json(exclude={"views"}).encode()
        noise = np.random.default_rng(0).integers(0, 256, images.shape[1:], dtype=np.uint8)
        self._warps = content_key(
            *(render_view(noise, view, params).tobytes() for view in range(8))
        )

    def __len__(self) -> int:
        return self._params.views * len(self._images)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        view, image = divmod(row, len(self._images))
        return self._of(view)(self._images)[image]

    def key(self, row: int) -> bytes:
        """Cache key of image, view and parameters, and of warped noise images, which change if the
        warp's implementation does."""
        view, image = divmod(row, len(self._images))
        return self._of(view)(self._images).key(image)

    def part(self, first: int, last: int) -> ImagePart:
        """Rows `first` up to `last`, which are of one view, for another process."""
        view, start = divmod(first, len(self._images))
        opened = self._of(view)
        described = content_key(str(view).encode(), self._ranges, self._warps)
        return ImagePart(RowRange(self._images, start, start + last - first), opened, described)

    def _of(self, view: int) -> partial["ImagesOfView"]:
        return partial(ImagesOfView, view=view, ranges=self._ranges, warps=self._warps)


class ImagesOfView:
    """What the workers render of one view, as AugmentationJobs has it of all.

    Args:
        images: uint8 (n, H, W, 3).
        ranges, warps: of which the keys are made.
    """

    def __init__(self, images: np.ndarray, view: int, ranges: bytes, warps: bytes):
        self._images, self._view, self._ranges, self._warps = images, view, ranges, warps

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        return take(self._images, row), self._view

    def key(self, row: int) -> bytes:
        image, view = self[row]
        return content_key(image.tobytes(), str(view).encode(), self._ranges, self._warps)


class AugmentedViews:
    """The augmented views of all images, rendered row by row when they are read. `augment` caches
    the activations of the same views.

    Args:
        images: uint8 (N, H, W, 3).
        keep: keep rendered rows in memory for the next epoch on the same view, if all views
            together take at most KEPT_BYTES.
    """

    def __init__(self, images: np.ndarray, params: AugmentParams, keep: bool = False):
        self._images, self._params = images, params
        row_bytes = math.prod(images.shape[1:]) * np.dtype(np.float32).itemsize
        self._keep = keep and params.views * len(images) * row_bytes <= KEPT_BYTES
        self._kept: dict[int, dict[int, np.ndarray]] = defaultdict(dict)

    def __getitem__(self, view: int) -> "AugmentedView":
        return AugmentedView(
            self._images, view, self._params, self._kept[view] if self._keep else None
        )


class AugmentedView:
    """One augmented view of all images; made by `AugmentedViews`.

    Args:
        images: uint8 (N, H, W, 3).
        kept: rows that are already rendered, by number; new ones are added. None: keep nothing.
    """

    def __init__(
        self,
        images: np.ndarray,
        view: int,
        params: AugmentParams,
        kept: dict[int, np.ndarray] | None = None,
    ):
        self._images, self._view, self._params, self._kept = images, view, params, kept

    @property
    def layout(self) -> Layout | None:
        """How the images are sharded; None if they are in one file."""
        return getattr(self._images, "layout", None)

    def read_in(self, windows: list[list[int]]) -> None:
        """Announce the order of the shards, as `ShardedArray.read_in`."""
        self._images.read_in(windows)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Rows, int (b,), as float32 (b, H, W, 3) in 0..255."""
        if self._kept is None:
            return np.stack([*self._render(rows)])
        missing = np.array([row for row in rows.tolist() if row not in self._kept], dtype=np.int64)
        self._kept.update(zip(missing.tolist(), self._render(missing), strict=True))
        return np.stack([self._kept[row] for row in rows.tolist()])

    def _render(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        for image in take(self._images, rows):
            yield render_view(image, self._view, self._params)
