"""Augmented views: one affine warp per image and view, drawn from (seed, image, view) only."""

import hashlib
import math
from dataclasses import dataclass
from functools import reduce

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt
from scipy.ndimage import affine_transform

from transfer.runtime.params import Params


class WarpRanges(Params):
    """The ranges from which warps are drawn.

    rotation, shear: at most this many degrees in either direction. width_shift, height_shift:
        fractions of the side. zoom: factors from 1 - zoom to 1 + zoom. horizontal_flip: mirror half
        of the views.
    """

    rotation: float = Field(ge=0, le=180)
    width_shift: float = Field(ge=0, lt=1)
    height_shift: float = Field(ge=0, lt=1)
    shear: float = Field(ge=0, lt=90)
    zoom: float = Field(ge=0, lt=1)
    horizontal_flip: bool
    seed: NonNegativeInt


class AugmentParams(WarpRanges):
    """The section `augment` of params.yaml. views: number of views per training image."""

    views: PositiveInt


@dataclass(frozen=True)
class Warp:
    """One transform, in the terms of Keras's ImageDataGenerator.

    rotation, shear: degrees. shift_x, shift_y: pixels along the columns and the rows. zoom_x,
    zoom_y: factors of the sampled window; above 1 the picture shrinks. flip: mirror left and right,
    after the rest.
    """

    rotation: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    shear: float = 0.0
    zoom_x: float = 1.0
    zoom_y: float = 1.0
    flip: bool = False


def draw_warp(image: np.ndarray, view: int, ranges: WarpRanges) -> Warp:
    """Draw the warp of one view of an image uint8 (H, W, 3).

    The generator is seeded with (seed, view, content of the image), so a view does not depend on
    the image's position, other images, the batch, the backend or an interruption. Distributions are
    those of ImageDataGenerator.get_random_transform.
    """
    content = int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:16], "little")
    rng = np.random.default_rng([ranges.seed, view, content])
    height, width = image.shape[:2]
    return Warp(
        rotation=rng.uniform(-ranges.rotation, ranges.rotation),
        shift_x=rng.uniform(-ranges.width_shift, ranges.width_shift) * width,
        shift_y=rng.uniform(-ranges.height_shift, ranges.height_shift) * height,
        shear=rng.uniform(-ranges.shear, ranges.shear),
        zoom_x=rng.uniform(1 - ranges.zoom, 1 + ranges.zoom),
        zoom_y=rng.uniform(1 - ranges.zoom, 1 + ranges.zoom),
        flip=bool(rng.random() < 0.5) and ranges.horizontal_flip,
    )


def warp_matrix(warp: Warp, height: int, width: int) -> np.ndarray:
    """The matrix from output to input pixels, float64 (3, 3), on (row, column, 1), about the centre
    of the image.

    Rotation, shift, shear and zoom are multiplied in the order of Keras's `apply_affine_transform`,
    in Python's floats: the last bits of NumPy's sine and of BLAS's products depend on the
    processor, and the cached views would follow them.
    """
    theta, phi = math.radians(warp.rotation), math.radians(warp.shear)
    rows, columns = height / 2 - 0.5, width / 2 - 0.5
    steps = [
        [[1, 0, rows], [0, 1, columns], [0, 0, 1]],
        [[math.cos(theta), math.sin(theta), 0], [-math.sin(theta), math.cos(theta), 0], [0, 0, 1]],
        [[1, 0, warp.shift_y], [0, 1, warp.shift_x], [0, 0, 1]],
        [[math.cos(phi), 0, 0], [-math.sin(phi), 1, 0], [0, 0, 1]],
        [[warp.zoom_y, 0, 0], [0, warp.zoom_x, 0], [0, 0, 1]],
        [[1, 0, -rows], [0, 1, -columns], [0, 0, 1]],
    ]
    return np.array(reduce(_product, steps), dtype=np.float64)


def _product(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    """The product of two 3 x 3 matrices, each sum added from left to right."""
    return [[row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j] for j in range(3)] for row in a]


def apply_warp(image: np.ndarray, warp: Warp) -> np.ndarray:
    """Resample an image (H, W, 3) once, bilinearly, with edge pixels repeated outside the image:
    float32 (H, W, 3), 0..255."""
    matrix = warp_matrix(warp, *image.shape[:2])
    source = image.astype(np.float32)
    channels = [
        affine_transform(source[..., c], matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest")
        for c in range(3)
    ]
    warped = np.stack(channels, axis=-1)
    return warped[:, ::-1] if warp.flip else warped


def render_view(image: np.ndarray, view: int, ranges: WarpRanges) -> np.ndarray:
    """One view of an image uint8 (H, W, 3): float32 (H, W, 3), 0..255."""
    return apply_warp(image, draw_warp(image, view, ranges))
