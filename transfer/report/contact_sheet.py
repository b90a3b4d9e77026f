"""A sheet of augmented views, which shows what the parameters of `augment` do to the training
images."""

from pathlib import Path

import numpy as np
from PIL import Image

from transfer.augmentation.warp import AugmentParams, render_view
from transfer.runtime.files import atomic_write
from transfer.storage.arrays import take

ROWS = 5
VIEWS = 7
LARGEST = 96  # pixels per side of a tile; larger images are shrunk
GAP = 4


def shown_rows(n: int) -> list[int]:
    """The rows of the training images on the sheet: ROWS of n, evenly chosen, so that rows in the
    order of classes show several."""
    return np.unique(np.linspace(0, n - 1, ROWS).round().astype(int)).tolist()


def draw_sheet(path: Path, images: np.ndarray, params: AugmentParams) -> None:
    """Write a PNG with one image per row: at the left as it is, then its first views;
    transparent between them.

    Args:
        images: the training images, uint8 (N, H, W, 3).
    """
    views = min(VIEWS, params.views)
    rows = [take(images, row) for row in shown_rows(len(images))]
    side = min(LARGEST, max(images.shape[1:3]))
    sheet = Image.new("RGBA", ((views + 1) * (side + GAP) + GAP, len(rows) * (side + GAP) - GAP))
    for i, image in enumerate(rows):
        tiles = [
            image,
            *(render_view(image, view, params).round().astype(np.uint8) for view in range(views)),
        ]
        for j, tile in enumerate(tiles):
            left = j * (side + GAP) + (2 * GAP if j else 0)  # the original stands apart
            sheet.paste(
                Image.fromarray(tile).resize((side, side), Image.Resampling.BOX),
                (left, i * (side + GAP)),
            )
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="png", optimize=True)
