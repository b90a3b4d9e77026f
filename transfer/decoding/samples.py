"""Sample values of images that have more than 8 bits, as arrays: what Pillow would cut to 8 bits,
or not open."""

from dataclasses import dataclass

import numpy as np

from transfer.decoding.bad_image import BadImageError
from transfer.decoding.value_ranges import Kind, PixelRules, ValueRange

MAX_SAMPLE_BYTES = 600_000_000  # of one image; 100 million pixels of three 16-bit samples
# What programs write for pixels without data, and often do not declare.
_FILL_VALUES = (-9999, -99999, -32767, -32768, -(2**31))
EVERYTHING_EMPTY = "every pixel is marked as having no data"
_NOT_FINITE = (
    "floating-point pixels that are not numbers (NaN or infinite) in one band and are in another; "
    "set all bands to NaN there, which means no data"
)
_ODD_SHARE, _LOOKED_AT = 2000, 1_000_000
_HUGE = 1e30  # floating-point fill values: the type's limits, 9.97e36 and the like


@dataclass(frozen=True)
class Samples:
    """An image before it is scaled to 8 bits.

    values: (H, W, 1) grey or (H, W, 3) RGB, in the file's own numbers.
    alpha: (H, W) from 0 to 1, or None; valid: (H, W) where there is data, or None for everywhere.
    fixed: the (black, white) that the format itself fixes, so that no rule is needed, or None.
    declared: the (black, white) that the file names besides, or None.
    """

    values: np.ndarray
    kind: Kind
    fixed: tuple[float, float] | None = None
    declared: tuple[float, float] | None = None
    white_is_zero: bool = False
    alpha: np.ndarray | None = None
    valid: np.ndarray | None = None

    def value_range(self) -> ValueRange:
        """The smallest and the largest value where there is data, without one in 2,000 at either
        end, which hot and dead pixels may be.

        Raises:
            BadImageError: no value at all, or one that is no number.
        """
        values = (self.values if self.valid is None else self.values[self.valid]).ravel()
        if not values.size:
            raise BadImageError(EVERYTHING_EMPTY)
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise BadImageError(_NOT_FINITE)
        sample = values[:: max(1, values.size // _LOOKED_AT)]
        odd = sample.size // _ODD_SHARE
        if odd:
            ends = np.partition(sample, (odd, sample.size - 1 - odd))
            low, high = float(ends[odd]), float(ends[-1 - odd])
        return ValueRange(self.kind, low, high, self.declared)

    def scaled(self, black: float, white: float) -> np.ndarray:
        """8-bit grey or RGB: black becomes 0, white 255, what is beyond is cut. uint8 (H, W, 1 or
        3).

        Raises:
            BadImageError: a value is no number.
        """
        factor = 255 / (white - black)
        pixels = np.empty(self.values.shape, np.uint8)
        for top in range(0, len(pixels), 256):  # in bands, so that no large array of floats is made
            band = self.values[top : top + 256].astype(np.float64)
            if self.valid is not None:  # what is no data may be beyond what can be multiplied
                band[~self.valid[top : top + 256]] = black
            if self.kind == "float" and not np.isfinite(band).all():
                raise BadImageError(_NOT_FINITE)
            pixels[top : top + 256] = np.round(np.clip((band - black) * factor, 0, 255))
        return 255 - pixels if self.white_is_zero else pixels


def black_and_white(samples: Samples, rules: PixelRules) -> tuple[float, float]:
    """The values that become 0 and 255: fixed by the format, by the data set's rule, or declared.

    Raises:
        BadImageError: nothing says it.
    """
    if samples.fixed:
        return samples.fixed
    if samples.kind in rules.ranges:
        return rules.ranges[samples.kind]
    found = samples.value_range()
    if found.declared and found.high <= found.declared[1]:
        return found.declared
    if samples.kind != "float" and found.low >= 0:
        if found.high > 0xFFFF:
            raise BadImageError(
                "32-bit grey pixels beyond 16 bits, whose range is unknown; save it with 8 or 16 "
                "bits"
            )
        return 0, 0xFFFF
    name = "floating-point" if samples.kind == "float" else "signed integer"
    raise BadImageError(
        f"{name} pixels, whose range is unknown: the training images have none and the file "
        "declares none; save it with 8 or 16 bits"
    )


def where_data_is(
    values: np.ndarray, kind: Kind, no_data: float | None = None
) -> np.ndarray | None:
    """Where samples (H, W, bands) are data: bool (H, W), or None for everywhere. Elsewhere all
    bands are NaN or infinite, or `no_data`, or a fill value.

    Args:
        no_data: the value that the file declares; if it does none, the usual ones are looked for.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of half precision, which they are beyond
        empty = np.zeros(values.shape[:2], bool)
        if kind == "float":
            empty |= ~np.isfinite(values).any(axis=-1)
        if no_data is not None:
            empty |= (values == no_data).all(axis=-1)
        else:
            filled = _find_fill_values(values[~empty] if empty.any() else values, kind)
            if filled is not None:
                empty[~empty] = filled.ravel()
    return ~empty if empty.any() else None


def _find_fill_values(values: np.ndarray, kind: Kind) -> np.ndarray | None:
    """Where samples (..., bands) are fill values that the file does not declare; None where none
    is. Floating point beyond 1e30; of signed samples, -9999 and the like if it lies farther below
    the other values than they lie apart."""
    if kind == "unsigned" or not values.size:
        return None
    if kind == "float":
        huge = (np.abs(values) > _HUGE) & np.isfinite(values)
        if huge.any():
            return huge.all(axis=-1)
    least = values.min()
    if not any(least == value for value in _FILL_VALUES):
        return None
    filled = (values == least).all(axis=-1)
    others = values[~filled]
    if not others.size:
        return None
    low, high = float(others.min()), float(others.max())
    return filled if low - float(least) > high - low else None
