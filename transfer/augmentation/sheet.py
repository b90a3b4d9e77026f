"""A sheet of augmented views, which shows what the parameters of `augment` do to the training
images."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from transfer.runtime.files import atomic_write

ROWS = 5
VIEWS = 7
LARGEST = 96  # pixels per side of a tile; larger images are shrunk
GAP = 4


def shown_rows(n: int) -> list[int]:
    """The rows of the training images on the sheet: ROWS of n, evenly chosen, so that rows in the
    order of classes show several."""
    return np.unique(np.linspace(0, n - 1, ROWS).round().astype(int)).tolist()


def draw_sheet(
    path: Path,
    images: Sequence[np.ndarray],
    views: int,
    render: Callable[[tuple[np.ndarray, int]], np.ndarray],
) -> None:
    """Write a PNG with one image per row: at the left as it is, then its first views;
    transparent between them.

    Args:
        images: those of `shown_rows`, uint8 (H, W, 3) each.
        views: how many each image has; at most VIEWS are drawn.
        render: an image and the number of a view -> that view, float32 (H, W, 3) in 0..255.
    """
    columns = 1 + min(VIEWS, views)
    side = min(LARGEST, max(images[0].shape[:2]))
    sheet = Image.new("RGBA", (columns * (side + GAP) + GAP, len(images) * (side + GAP) - GAP))
    for i, image in enumerate(images):
        drawn = [render((image, view)).round().astype(np.uint8) for view in range(columns - 1)]
        for j, tile in enumerate([image, *drawn]):
            left = j * (side + GAP) + (2 * GAP if j else 0)  # the original stands apart
            sheet.paste(
                Image.fromarray(tile).resize((side, side), Image.Resampling.BOX),
                (left, i * (side + GAP)),
            )
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="png", optimize=True)
