"""The sheet of augmented views."""

import numpy as np
from PIL import Image

from tests.helpers.augmentation import augment_params
from transfer.augmentation.sheet import draw_sheet, shown_rows
from transfer.augmentation.views import ViewRenderer


def test_it_shows_images_as_they_are_and_views_beside_them(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    shown = [images[row] for row in shown_rows(len(images))]
    draw_sheet(tmp_path / "sheet.png", shown, 9, ViewRenderer(augment_params(views=9)))
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (5 * 36 - 4, 8 * 36 + 4, 4)
    assert (pixels[:32, :32, :3] == images[0]).all()
    assert (pixels[-32:, :32, :3] == images[-1]).all()
    assert pixels[0, 33, 3] == 0  # transparent between them
    assert not (pixels[:32, 44:76, :3] == images[0]).all()


def test_a_single_image_with_a_single_view_has_a_sheet(tmp_path):
    images = np.zeros((1, 200, 100, 3), np.uint8)
    draw_sheet(tmp_path / "sheet.png", images, 1, ViewRenderer(augment_params(views=1)))
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 * 100 + 4, 96)  # shrunk to 96 pixels
