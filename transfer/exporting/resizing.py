"""Pillow's resizing as a layer, so that an exported model takes images of any size and sees what `decode` would have given it."""

from collections.abc import Callable

from transfer.lean import keras

ops = keras.ops


def _triangle(x: keras.KerasTensor) -> keras.KerasTensor:
    return ops.maximum(0.0, 1 - ops.abs(x))


def _cubic(x: keras.KerasTensor) -> keras.KerasTensor:
    """Keys's kernel with a = -0.5."""
    x = ops.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return ops.where(x < 1, near, ops.where(x < 2, far, 0.0))


def _lanczos(x: keras.KerasTensor) -> keras.KerasTensor:
    return ops.where(ops.abs(x) < 3, _sinc(x) * _sinc(x / 3), 0.0)


def _sinc(x: keras.KerasTensor) -> keras.KerasTensor:
    angle = 3.141592653589793 * ops.where(x == 0, 1.0, x)
    return ops.where(x == 0, 1.0, ops.sin(angle) / angle)


_KERNELS: dict[str, Callable] = {"bilinear": _triangle, "bicubic": _cubic, "lanczos": _lanczos}


class ResizeAsPillow(keras.layers.Layer):
    """Stretch RGB images to a square as `transfer.images.resize` does: uint8 (B, h, w, 3) -> float32 (B, size, size, 3) of whole numbers.

    A matrix a direction, each result rounded to 0..255. Pillow 13 goes across first, unless h > max(size, 2 w - size); the images
    of a batch have one size, so both ways are computed and one is taken. Pillow's arithmetic is in fixed point: where a value lies
    half-way between two numbers it may round the other way (a test says how seldom).
    """

    def __init__(self, size: int, interpolation: str):
        super().__init__(name="resize")
        self._size = size
        self._interpolation = interpolation

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self._size, self._size, 3)

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        pixels = ops.cast(images, "float32")
        _, height, width, _ = ops.shape(pixels)
        columns, rows = self._weights(width), self._weights(height)
        across_first = _down(rows, _across(columns, pixels))
        down_first = _across(columns, _down(rows, pixels))
        is_tall = height > ops.maximum(self._size, 2 * width - self._size)
        return ops.reshape(ops.where(is_tall, down_first, across_first), (-1, self._size, self._size, 3))

    def _weights(self, length: int | keras.KerasTensor) -> keras.KerasTensor:
        """How much each of `length` pixels counts for each of `size`: (size, length), rows add up to 1."""
        scale = ops.cast(length, "float32") / self._size
        centres = (ops.arange(self._size, dtype="float32") + 0.5) * scale
        pixels = ops.arange(length, dtype="float32")
        if self._interpolation == "nearest":
            return ops.cast(pixels[None] == ops.floor(centres)[:, None], "float32")
        widened = ops.maximum(scale, 1.0)
        weights = _KERNELS[self._interpolation]((pixels[None] + 0.5 - centres[:, None]) / widened)
        return weights / ops.sum(weights, axis=1, keepdims=True)


def _across(weights: keras.KerasTensor, pixels: keras.KerasTensor) -> keras.KerasTensor:
    return _rounded(ops.matmul(weights, pixels))


def _down(weights: keras.KerasTensor, pixels: keras.KerasTensor) -> keras.KerasTensor:
    batch, height, width, channels = ops.shape(pixels)
    lines = ops.matmul(weights, ops.reshape(pixels, (batch, height, width * channels)))
    return _rounded(ops.reshape(lines, (batch, -1, width, channels)))


def _rounded(pixels: keras.KerasTensor) -> keras.KerasTensor:
    return ops.clip(ops.floor(pixels + 0.5), 0, 255)
