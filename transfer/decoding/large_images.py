"""Images of more pixels than are decoded: those that can be read smaller, and how to shrink the
others."""

import re

from PIL import Image

from transfer.decoding.bad_image import BadImageError

# 300 MB as RGB: above most cameras, below what stops a machine
MAX_PIXELS = 100_000_000
# of files that are read smaller, so that the time for one stays within a minute
MAX_REDUCED_PIXELS = 1_000_000_000
_SHRINK = (
    "shrink it, with libvips say, which writes small_NAME.png beside it: vipsthumbnail NAME "
    "--size 8000 -o small_%s.png"
)
_LARGEST_JPEG_FACTOR = 8
# The decoder keeps all coefficients of a progressive JPEG, two bytes each.
_COEFFICIENT_BYTES = 2
_MAX_COEFFICIENT_BYTES = 2_400_000_000
_LEVELS_OF_J2K = re.compile(rb"\xff\x52.{7}(.)", re.DOTALL)


def check_pixels(width: int, height: int, most: int | None = None) -> None:
    """Raise BadImageError for more pixels than `most`, by default MAX_PIXELS."""
    most = MAX_PIXELS if most is None else most
    if width * height > most:
        raise BadImageError(
            f"{width} x {height} pixels, more than the {most:,} that are allowed; {_SHRINK}"
        )


def reduction_of(width: int, height: int) -> int:
    """The power of two by which the sides have to be divided, so that MAX_PIXELS hold them.

    Raises:
        BadImageError: more pixels than MAX_REDUCED_PIXELS.
    """
    check_pixels(width, height, MAX_REDUCED_PIXELS)
    factor = 1
    while -(-width // factor) * -(-height // factor) > MAX_PIXELS:
        factor *= 2
    return factor


def reduce_large(image: Image.Image, content: bytes) -> None:
    """Make Pillow decode a large JPEG or JPEG 2000 at a half, a quarter or an eighth of its sides,
    of JPEG 2000 also below that. All others must have MAX_PIXELS at most.

    Args:
        image: of any format, not loaded yet. content: the file.

    Raises:
        BadImageError: still too many pixels.
    """
    width, height = image.size
    if image.format not in ("JPEG", "MPO", "JPEG2000"):
        check_pixels(width, height)
        return
    factor = reduction_of(width, height)
    if factor == 1:
        return
    if image.format == "JPEG2000":
        levels = _LEVELS_OF_J2K.search(content)
        if levels is None or factor > 2 ** levels[1][0]:
            check_pixels(width, height)
        image.reduce = factor.bit_length() - 1
        return
    if factor > _LARGEST_JPEG_FACTOR or coefficient_bytes(image) > _MAX_COEFFICIENT_BYTES:
        check_pixels(width, height)
    image.draft(None, (width // factor, height // factor))


def is_reduced(image: Image.Image) -> bool:
    """Whether `reduce_large` has changed the size in which an image is decoded."""
    return bool(getattr(image, "decoderconfig", ())) or isinstance(image.reduce, int)


def coefficient_bytes(image: Image.Image) -> int:
    """The memory that the decoder of a progressive JPEG keeps its coefficients in, at most; 0 of
    any other image."""
    if "progressive" not in image.info:
        return 0
    scale = (*image.decoderconfig, 1)[0]
    return image.width * image.height * scale**2 * len(image.getbands()) * _COEFFICIENT_BYTES
