"""Pillow's resizing as a layer, so that an exported model takes images of any size and gets the
same pixels as from `decode`.

All numbers are whole, in int64 or in float32 below 2^24, where float32 is exact. So nothing is
rounded that Pillow does not round, the order of additions does not matter, and all runtimes on all
processors compute the same pixels. Beyond 32 bits LiteRT has only int64, and there it only adds,
multiplies, compares and takes remainders. Therefore a quotient is estimated in float32 and
corrected by its remainder. No constant of float32 is above 65,504, the largest number of float16,
in which one of the formats keeps them.
"""

import functools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import tensorflow as tf

from transfer.compute.keras import keras

PRECISION = 2**22  # the sum of a pixel's weights, as in Pillow
PART = 64  # a weight is `high * PART + low`; with it, sums over 4,095 pixels stay below 2^24
LONGEST = 32_767  # pixels per side
BASE = 2**25 + 1  # fractions are in units of 1 / BASE^2; odd, so that it can be divided by


class ResizeAsPillow(keras.layers.Layer):
    """Stretch RGB images to a square as `transfer.decoding.rgb.resize` does: uint8 (B, h, w, 3)
    -> float32 (B, size, size, 3) of whole numbers.

    The pixels are Pillow's, byte for byte, for sides up to 32,767 pixels and 500 times `size`.
    Pillow 13 goes across first, unless h > max(size, 2 w - size), and rounds to 0..255 after each
    direction.
    """

    def __init__(self, size: int, interpolation: str):
        super().__init__(name=f"resize_{interpolation}")
        self._size = size
        self._interpolation = interpolation

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self._size, self._size, 3)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        size, shape = self._size, tf.shape(images)
        height, width = shape[1], shape[2]
        is_tall = height > tf.maximum(size, 2 * width - size)
        first, second = tf.where(is_tall, height, width), tf.where(is_tall, width, height)
        lines = _either(
            is_tall, tf.transpose(images, (0, 3, 2, 1)), tf.transpose(images, (0, 3, 1, 2))
        )
        lines = self._along(first, tf.reshape(lines, (-1, first)))
        lines = tf.transpose(tf.reshape(lines, (-1, second, size)), (0, 2, 1))
        squares = tf.reshape(
            self._along(second, tf.reshape(lines, (-1, second))), (-1, 3, size, size)
        )
        squares = _either(
            is_tall, tf.transpose(squares, (0, 2, 3, 1)), tf.transpose(squares, (0, 3, 2, 1))
        )
        return tf.reshape(squares, (-1, size, size, 3))

    def _along(self, length: tf.Tensor, lines: tf.Tensor) -> tf.Tensor:
        """Lines of pixels (N, length), of any dtype -> float32 (N, size)."""
        if self._interpolation == "nearest":
            return tf.cast(tf.gather(lines, nearest(length, self._size), axis=1), tf.float32)
        first, weights = taps(length, self._size, self._interpolation)
        high = tf.floor((weights + PART // 2) / PART)
        parts = _spread(tf.stack([high, weights - PART * high]), first, length)
        # Around 0 the products are half as large. What that takes away, and the half that rounds,
        # comes back in `offset`.
        sums = tf.matmul(
            tf.cast(lines, tf.float32) - 128,
            tf.reshape(parts, (2 * self._size, length)),
            transpose_b=True,
        )
        offset = 128 // PART * tf.reduce_sum(weights, axis=1) + PRECISION // 2 // PART
        carried = offset + tf.floor(sums[:, self._size :] / PART)
        # by PRECISION / PART
        pixels = tf.floor(tf.floor((sums[:, : self._size] + carried) / 256) / 256)
        return tf.clip_by_value(pixels, 0, 255)


def taps(length: tf.Tensor, size: int, interpolation: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The weights with which `length` pixels are resized to `size`, in Pillow's whole numbers.

    Returns:
        The first pixel of each, int32 (size,), and the weights of it and those behind it, float32
        (size, T).
    """
    kernel, support = KERNELS[interpolation]
    longer = tf.maximum(length, size)
    # in units of half a pixel / size, as are the distances
    centres = (2 * tf.range(size) + 1) * length
    first = tf.maximum(centres - 2 * support * longer - size, 0) // (2 * size)
    pixels = first[:, None] + tf.range(2 * support * longer // size + 2)[None]
    distances = tf.abs((2 * pixels + 1) * size - centres[:, None])
    counts = tf.logical_and(distances < 2 * support * longer, pixels < length)
    values = kernel(tf.cast(distances, tf.int64), 2 * tf.cast(longer, tf.int64))
    values = tf.where(counts, values, tf.zeros_like(values))
    return first, _normalized(values, tf.reduce_sum(values, axis=1, keepdims=True))


def _normalized(values: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """PRECISION * values / total, halves away from 0: float32.

    The estimate is less than 1.5 off, so one step to a neighbour corrects it.
    Products beyond 64 bits wrap, the difference of two of them is what it would be without.
    """
    positive = tf.maximum(values, -values)
    estimate = tf.floor(
        tf.cast(positive, tf.float32) * 2048 / (tf.cast(total, tf.float32) / 2048) + 0.5
    )
    rest = 2 * (positive * PRECISION - tf.cast(estimate, tf.int64) * total)
    up, down = tf.cast(rest >= total, tf.float32), tf.cast(rest < -total, tf.float32)
    return tf.where(values < 0, -1.0, 1.0) * (estimate + up - down)


def _spread(weights: tf.Tensor, first: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Weights (P, size, T) of the pixels from `first` (size,) on -> (P, size, length),
    0 elsewhere."""
    n_parts, size, n_taps = tf.unstack(tf.shape(weights))
    padded = tf.reshape(tf.pad(weights, ((0, 0), (0, 0), (1, 1))), (n_parts, size * (n_taps + 2)))
    places = tf.clip_by_value(tf.range(length)[None] - first[:, None] + 1, 0, n_taps + 1)
    return tf.gather(padded, places + (n_taps + 2) * tf.range(size)[:, None], axis=1)


def _either(condition: tf.Tensor, yes: tf.Tensor, no: tf.Tensor) -> tf.Tensor:
    """The numbers of one of two tensors, without their shape."""
    return tf.gather(
        tf.stack([tf.reshape(no, (-1,)), tf.reshape(yes, (-1,))]), tf.cast(condition, tf.int32)
    )


def nearest(length: tf.Tensor, size: int) -> tf.Tensor:
    """For nearest neighbours, which of `length` pixels each of `size` copies: int32 (size,).

    Pillow adds up the scale in float64. A sum that should be a whole number may be slightly less,
    which gives the pixel to the left.
    """
    exact = (2 * tf.range(size) + 1) * length // (2 * size)
    rows, lower = _rounded_down(size)
    if not lower.any():
        return exact
    row = tf.where(length > LONGEST, 0, tf.gather(rows, tf.minimum(length, LONGEST)))
    return exact - tf.gather(lower, row)


@functools.cache
def _rounded_down(size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each length the number of its pattern, int32 (LONGEST + 1,), and the patterns, int32 (P,
    size): 1 where Pillow is one lower."""
    odd = size // (size & -size)
    patterns = {(0,) * size: 0}
    rows = np.zeros(LONGEST + 1, np.int32)
    if odd > 1:
        step = 2 * size // odd  # for other lengths no sum should be a whole number
        lengths = np.arange(step, LONGEST + 1, step)
        for length, sums in zip(lengths, _float64_sums(lengths, size), strict=True):
            lower = (2 * np.arange(size) + 1) * length // (2 * size) - np.floor(sums).astype(
                np.int64
            )
            rows[length] = patterns.setdefault(tuple(lower.tolist()), len(patterns))
    return rows, np.array([*patterns], np.int32)


def _float64_sums(lengths: np.ndarray, size: int) -> np.ndarray:
    scales = np.repeat((lengths / size)[:, None], size, axis=1)
    scales[:, 0] *= 0.5
    return np.add.accumulate(scales, axis=1)


def _triangle(distance: tf.Tensor, one: tf.Tensor) -> tf.Tensor:
    return one - distance


def _cubic(distance: tf.Tensor, one: tf.Tensor) -> tf.Tensor:
    """Keys's kernel with a = -0.5, times 2 one^3."""
    near = (3 * distance - 5 * one) * distance * distance + 2 * one * one * one
    far = ((5 * one - distance) * distance - 8 * one * one) * distance + 4 * one * one * one
    return tf.where(distance < one, near, far)


def _lanczos(distance: tf.Tensor, one: tf.Tensor) -> tf.Tensor:
    """sinc(x) sinc(x / 3) in units of 1 / BASE^2, at x = distance / one.

    With u = sinc(x / 3)^2 and y = pi x / 3 it is u (1 - 4/3 sin(y)^2) = u - 4/3 y^2 u^2, and u is a
    power series in y^2.
    """
    high, rest = _quotient(distance * BASE, 3 * one)
    low, _ = _quotient(rest * BASE, 3 * one)
    square = _parts(_times(high * BASE + low, (high, low)))  # (x / 3)^2
    series = [(-1) ** k * 2 * (4 * PI**2) ** k / math.factorial(2 * k + 2) for k in range(19)]
    u = tf.zeros_like(distance)
    for factor in reversed(series):
        u = _times(u, square) + _whole(factor)
    return u - _times(_times(_times(u, _parts(u)), square), divmod(_whole(4 * PI**2 / 3), BASE))


PI = Fraction(31415926535897932384626433832795, 10**31)


def _whole(fraction: Fraction) -> int:
    return round(fraction * BASE**2)


def _times(a: tf.Tensor, b: tuple[tf.Tensor | int, tf.Tensor | int]) -> tf.Tensor:
    """The product of two fractions, one of them in its `_parts`."""
    high, low = _parts(a)
    return high * b[0] + _parts(high * b[1] + low * b[0])[0]


def _parts(a: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Quotient and remainder by BASE. An odd number divides its multiples modulo 2^64 by being
    multiplied with its inverse."""
    inverse = pow(BASE, -1, 2**64)
    low = tf.math.floormod(a, tf.constant(BASE, tf.int64))
    return (a - low) * (inverse - 2**64 if inverse >= 2**63 else inverse), low


def _quotient(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A quotient below 2^26, which may be off by one if it is near a whole number, and the
    remainder of `a`."""
    scale = tf.cast(b, tf.float32)
    rough = tf.cast(tf.floor(tf.cast(a, tf.float32) / scale), tf.int64)
    fine = tf.cast(tf.floor(tf.cast(a - rough * b, tf.float32) / scale), tf.int64)
    return rough + fine, a - (rough + fine) * b


KERNELS: dict[str, tuple[Callable, int]] = {
    "bilinear": (_triangle, 1),
    "bicubic": (_cubic, 2),
    "lanczos": (_lanczos, 3),
}  # with radius
