"""The resizing inside of exported files: Pillow's pixels, byte for byte, in each runtime."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transfer.decoding.rgb import resize
from transfer.export.formats import FORMATS
from transfer.export.pillow_resize import KERNELS, PRECISION, ResizeAsPillow, nearest, taps
from transfer.export.runtimes import open_runtime
from transfer.export.writers import About, write

FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
SIDE = 24  # three eighths of a power of two: the scale is not exact in float64, as with 96 and 224
SHAPES = [
    (24, 24),
    (1, 1),
    (1, 90),
    (90, 1),
    (12, 48),
    (48, 12),
    (38, 70),
    (70, 38),
    (33, 31),
    (16, 64),
    (121, 230),
    (300, 77),
    (90, 700),
]
SEEN = ["two levels", "checkerboard", "noise", "ramp", "white"]
Resized = dict[str, np.ndarray]


def picture(kind: str, height: int, width: int, seed: int = 0) -> np.ndarray:
    """RGB with many means that lie half-way between two numbers, but for the noise."""
    rows, columns = np.indices((height, width))
    random = np.random.default_rng(seed)
    grey = {
        "two levels": random.integers(0, 2, (height, width)),
        "checkerboard": (rows + columns) % 2 * 255,
        "noise": random.integers(0, 256, (height, width)),
        "ramp": (3 * rows + columns) % 256,
        "white": np.full((height, width), 255),
    }[kind]
    return np.stack([grey, 255 - grey, np.roll(grey, 1, axis=1)], axis=-1).astype(np.uint8)


def expected(pixels: np.ndarray, side: int) -> Resized:
    return {name: resize(Image.fromarray(pixels), side, name) for name in FILTERS}


def assert_same(ours: Resized, pixels: np.ndarray, side: int) -> None:
    for name, theirs in expected(pixels, side).items():
        np.testing.assert_array_equal(ours[name], theirs, err_msg=f"{name}, {pixels.shape}")


RESIZING = [kind for kind, format_ in FORMATS.items() if format_.takes_any_size]


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory):
    """Of each format, a function from an image to what each filter makes of it; all filters are in
    one file."""
    folder = tmp_path_factory.mktemp("resizing")
    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    resized = keras.layers.Concatenate()([ResizeAsPillow(SIDE, name)(images) for name in FILTERS])
    model = keras.Model(images, resized)

    def opened(kind: str):
        path = folder / FORMATS[kind].file
        write(kind, path, model, About(["a", "b"], "0", SIDE, "bilinear", ""))
        run = open_runtime(path)
        return lambda pixels: dict(
            zip(FILTERS, np.split(run(pixels), len(FILTERS), axis=-1), strict=True)
        )

    return {kind: opened(kind) for kind in RESIZING}


@pytest.mark.parametrize("kind", RESIZING)
def test_each_runtime_sees_pillows_pixels(kind, runtimes):
    for height, width in SHAPES:
        for seen in SEEN:
            pixels = picture(seen, height, width)
            assert_same(runtimes[kind](pixels), pixels, SIDE)


SIDES = st.one_of(
    st.integers(1, 130),
    st.sampled_from([1, 2, SIDE // 2, 2 * SIDE, 3 * SIDE, 8 * SIDE, 16, 32, 64, 256, 400]),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SIDES, SIDES, st.sampled_from(SEEN), st.integers(0, 2**32 - 1))
def test_it_does_whatever_the_sides(runtimes, height, width, seen, seed):
    pixels = picture(seen, height, width, seed)
    for run in runtimes.values():
        assert_same(run(pixels), pixels, SIDE)


@pytest.mark.parametrize("side", [5, 32, 64, 128, 299])
def test_the_layer_does_for_other_sizes(side):
    layers = {name: ResizeAsPillow(side, name) for name in FILTERS}
    for height, width in ((38, 70), (side // 2, 2 * side), (4 * side, side), (2048, 3), (7, 1001)):
        pixels = picture("two levels", height, width)
        assert_same(
            {name: np.asarray(layer(pixels[None]))[0] for name, layer in layers.items()},
            pixels,
            side,
        )


def test_a_batch_is_its_images():
    batch = np.stack([picture("noise", 50, 30, seed) for seed in range(3)])
    resized = np.asarray(ResizeAsPillow(SIDE, "bicubic")(batch))
    for ours, pixels in zip(resized, batch, strict=True):
        np.testing.assert_array_equal(ours, resize(Image.fromarray(pixels), SIDE, "bicubic"))


def pillows_filter(name: str, x: float) -> float:
    """As in its Resample.c."""
    if name == "lanczos":
        return pillows_sinc(x) * pillows_sinc(x / 3) if -3 <= x < 3 else 0.0
    x = abs(x)
    if name == "bilinear":
        return 1 - x if x < 1 else 0.0
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * -0.5 if x < 2 else 0.0


def pillows_sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


def pillows_weights(name: str, length: int, side: int) -> list[dict[int, int]]:
    """What counts for each of `side` pixels: those of the `length` that do, and how much, in the
    whole numbers of its Resample.c."""
    scale = length / side
    widened = max(scale, 1.0)
    inverse, support, weights = 1 / widened, KERNELS[name][1] * widened, []
    for place in range(side):
        centre = (place + 0.5) * scale
        pixels = range(
            max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), length)
        )
        values, total = (
            [pillows_filter(name, (pixel - centre + 0.5) * inverse) for pixel in pixels],
            0.0,
        )
        for value in values:  # `sum` would add more exactly in later versions of Python
            total += value
        whole = [int(value / total * PRECISION + math.copysign(0.5, value)) for value in values]
        weights.append(
            {pixel: weight for pixel, weight in zip(pixels, whole, strict=True) if weight}
        )
    return weights


def our_weights(name: str, length: int, side: int) -> list[dict[int, int]]:
    first, weights = (found.numpy() for found in taps(tf.constant(length), side, name))
    return [
        {int(start + at): int(weight) for at, weight in enumerate(row) if weight}
        for start, row in zip(first, weights, strict=True)
    ]


@pytest.mark.parametrize("name", KERNELS)
def test_weights_are_pillows(name):
    for side, lengths in (
        (64, (*range(1, 140, 13), 64, 128, 2048)),
        (128, (3, 32, 96, 4096)),
        (224, (7, 64, 500)),
        (299, (23, 601)),
    ):
        for length in lengths:
            assert our_weights(name, length, side) == pillows_weights(name, length, side), (
                side,
                length,
            )


@pytest.mark.slow
@pytest.mark.parametrize("side", [32, 64, 96, 128, 224, 299])
@pytest.mark.parametrize("name", KERNELS)
def test_weights_are_pillows_for_all_lengths(name, side):
    for length in (
        *range(1, 601),
        *range(601, 4096, 97),
        1024,
        1280,
        1920,
        2048,
        3000,
        4000,
        4096,
        6000,
        8192,
    ):
        assert our_weights(name, length, side) == pillows_weights(name, length, side), length


@pytest.mark.parametrize("side", [24, 64, 139, 224, 299])
def test_the_nearest_pixel_is_pillows_for_all_lengths(side):
    for length in (*range(1, 1200), 20_000, 32_766, 32_767):
        line = Image.fromarray(np.arange(length, dtype=np.int32)[None])
        theirs = np.asarray(line.resize((side, 1), Image.Resampling.NEAREST))[0]
        np.testing.assert_array_equal(
            nearest(tf.constant(length), side), theirs, err_msg=str(length)
        )
