"""JPEG 2000 of other than 8 bits. Pillow gives 16 bits of deep grey, 8 bits of deep colour, and of
fewer bits than 8 no white."""

import io
import re
import struct

import numpy as np
from PIL import Image

from transfer.decoding.bad_image import BadImageError
from transfer.decoding.large_images import is_reduced
from transfer.decoding.samples import Samples

_SIZE = re.compile(rb"\xff\x4f\xff\x51.{36}(.)(.)(.)", re.DOTALL)
_SIZE_MARKER, _QUANTIZATION, _QUANTIZATION_OF_ONE = 0xFF51, 0xFF5C, 0xFF5D
_TILE, _DATA, _END = 0xFF90, 0xFF93, 0xFFD9
_NO_HIGHEST = (
    "a JPEG 2000 image of more than 8 bits whose highest values cannot be told from black; save it "
    "as a PNG or TIFF of 16 bits"
)
_LEAST_LEVELS = 64  # of 256, that 16-bit colour has to reach


def read_other_j2k(image: Image.Image, content: bytes) -> Samples | Image.Image | None:
    """What a loaded JPEG 2000 image of other than 8 bits is: samples of deep grey, an image of
    others; None of 8 bits.

    Raises:
        BadImageError: its colours use so little of their range that 8 bits do not show them, or
            their highest values cannot be told from black.
    """
    size = _SIZE.search(content)
    if size is None:
        return None
    bits, is_signed = (size[3][0] & 0x7F) + 1, bool(size[3][0] & 0x80)
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _samples(np.asarray(image)[..., None], bits, is_signed=is_signed)
    if bits < 8 and image.mode in ("L", "LA", "RGB", "RGBA"):
        highest = (2**bits - 1) << (8 - bits)
        levels = [min(255, round(level * 255 / highest)) for level in range(256)]
        return image.point(levels * len(image.getbands()))
    if bits <= 8:
        return None
    image = _with_highest_values(image, content, size.start())
    if bits > 12 and max(high for _, high in image.convert("RGB").getextrema()) < _LEAST_LEVELS:
        raise BadImageError(
            f"a JPEG 2000 image of {bits}-bit colour that uses less than a quarter of its range, "
            "and of which 8 bits are all that can be read; save it as a PNG or TIFF of 16 bits"
        )
    return image


def _samples(values: np.ndarray, bits: int, *, is_signed: bool) -> Samples:
    """Samples of grey, which Pillow shifts up to 16 bits, signed ones from the middle on."""
    if is_signed:
        return Samples((values.astype(np.int32) - 0x8000) >> (16 - min(bits, 16)), "signed")
    if bits == 16:
        return Samples(values, "unsigned")
    return Samples(values, "unsigned", (0, 0xFFFF))


def _with_highest_values(image: Image.Image, content: bytes, start: int) -> Image.Image:
    """8 bits of colour whose highest values are 255. Pillow rounds them to 256, which becomes 0; of
    the same image with one bit more in its header it gives 7 bits, from 64 to 192."""
    pixels = np.asarray(image)
    if pixels.min() > 0:
        return image
    try:
        again = Image.open(io.BytesIO(_with_one_bit_more(content, start)), formats=("JPEG2000",))
        if is_reduced(image):
            again.reduce = image.reduce
        higher = np.asarray(again) > 128
    except Exception:  # OSError, ValueError, struct.error and more: a header that is not understood
        raise BadImageError(_NO_HIGHEST) from None
    return Image.fromarray(np.where((pixels == 0) & higher, np.uint8(255), pixels), image.mode)


def _with_one_bit_more(content: bytes, start: int) -> bytes:
    """The file with one bit more in each band's size; coefficients keep their bits and steps.

    Args:
        start: where the codestream begins.
    """
    changed = bytearray(content)
    at, after_tile = start + 2, None
    while at + 4 <= len(content):
        marker, length = struct.unpack_from(">HH", content, at)
        if marker in (_DATA, _END):
            if marker == _END or not after_tile:
                break
            at = after_tile
            continue
        body = at + 4
        if marker == _TILE:
            (size,) = struct.unpack_from(">I", content, at + 6)
            after_tile = at + size if size else None
        elif marker == _SIZE_MARKER:
            (bands,) = struct.unpack_from(">H", content, body + 34)
            for band in range(bands):
                changed[body + 36 + 3 * band] += 1
        elif marker == _QUANTIZATION:
            _raise_steps(changed, body, at + 2 + length)
        elif marker == _QUANTIZATION_OF_ONE:
            _raise_steps(changed, body + 1, at + 2 + length)
        at += 2 + length
    return bytes(changed)


def _raise_steps(codestream: bytearray, at: int, end: int) -> None:
    """Add one to the exponents of the steps of quantization and take one from the guard bits, in
    place: the steps are relative to a band's bits, the number of bits to both."""
    if codestream[at] & 0x1F == 0:  # without loss there are no steps
        return
    codestream[at] -= 1 << 5
    for place in range(at + 1, end - 1, 2):
        codestream[place] += 1 << 3
