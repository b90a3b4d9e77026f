"""The affine views are those of Keras's ImageDataGenerator,
and depend on nothing but (seed, image, view)."""

import numpy as np
import pytest
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from tests.helpers.augmentation import augment_params
from transfer.augmentation.warp import Warp, WarpRanges, apply_warp, draw_warp

RANGES = augment_params(views=1, seed=7)


def random_image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def keras_transform(image: np.ndarray, warp: Warp) -> np.ndarray:
    parameters = {
        "theta": warp.rotation,
        "tx": warp.shift_x,
        "ty": warp.shift_y,
        "shear": warp.shear,
        "zx": warp.zoom_x,
        "zy": warp.zoom_y,
        "flip_horizontal": warp.flip,
    }
    return ImageDataGenerator(fill_mode="nearest").apply_transform(
        image.astype(np.float32), parameters
    )


@pytest.mark.filterwarnings("ignore:.*scipy.ndimage.interpolation.*:DeprecationWarning")
@pytest.mark.parametrize(
    "warp",
    [
        Warp(),
        Warp(rotation=33.0),
        Warp(shift_x=4.6),
        Warp(shift_y=-3.2),
        Warp(shear=11.5),
        Warp(zoom_x=0.8, zoom_y=1.15),
        Warp(flip=True),
        *(draw_warp(random_image(i), i, RANGES) for i in range(12)),
    ],
)
def test_a_warp_equals_keras_apply_transform(warp):
    """On squares, which is what `decode` writes:
    Keras takes height for width when it finds the centre."""
    image = random_image(1)
    np.testing.assert_allclose(
        apply_warp(image, warp), keras_transform(image, warp), rtol=0, atol=1e-3
    )


def test_no_warp_leaves_the_pixels_as_they_are():
    image = random_image(2)
    assert np.array_equal(apply_warp(image, Warp()), image.astype(np.float32))


def test_a_draw_depends_on_the_image_the_view_and_the_seed():
    draws = {
        draw_warp(random_image(image), view, RANGES.model_copy(update={"seed": seed}))
        for image in (0, 1)
        for view in (0, 1)
        for seed in (0, 1)
    }
    assert len(draws) == 8


def test_a_draw_repeats_whatever_was_drawn_before():
    first = draw_warp(random_image(3), 4, RANGES)
    draw_warp(random_image(4), 0, RANGES)
    assert draw_warp(random_image(3).copy(), 4, RANGES) == first


def test_draws_fill_their_ranges_and_stay_inside():
    draws = [draw_warp(random_image(i), 0, RANGES) for i in range(400)]
    for name, low, high in [
        ("rotation", -40, 40),
        ("shift_x", -4.8, 4.8),
        ("shift_y", -4.8, 4.8),
        ("shear", -11.5, 11.5),
        ("zoom_x", 0.8, 1.2),
        ("zoom_y", 0.8, 1.2),
    ]:
        values = np.array([getattr(draw, name) for draw in draws])
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert 150 < sum(draw.flip for draw in draws) < 250


def test_ranges_of_zero_draw_no_change():
    still = WarpRanges(
        rotation=0, width_shift=0, height_shift=0, shear=0, zoom=0, horizontal_flip=False, seed=0
    )
    assert draw_warp(random_image(5), 0, still) == Warp()
