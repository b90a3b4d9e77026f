"""Bytes to pixels: any image that people have, as 8-bit RGB."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from PIL import Image, ImageColor
from pydantic import BeforeValidator

from transfer.decoding.bad_image import BadImageError
from transfer.decoding.colour_profiles import remarks_on_colours
from transfer.decoding.flattening import alpha_looks_true, to_rgb
from transfer.decoding.large_images import MAX_PIXELS
from transfer.decoding.opening import bytes_to_decode, open_image
from transfer.decoding.pillow_file import FORMATS, NAMES
from transfer.decoding.value_ranges import PixelRules, ValueRange, load_pixel_rules
from transfer.runtime.cores import MemoryBudget
from transfer.runtime.params import Params

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "NAMES",
    "BadImageError",
    "Colour",
    "DecodeParams",
    "Resize",
    "load_pixel_rules",
    "read_rgb",
    "resize",
]

_SMALL_BYTES = 100_000_000  # images that take no more wait for no memory

# How Pillow begins to say that it lacks something, and not the file.
_NOT_READ = re.compile(r"unsupported|not supported|unknown raw mode|not implemented", re.IGNORECASE)

_memory = MemoryBudget()


@dataclass(frozen=True)
class Examined:
    """What `split` learns of an image.

    image: 8-bit RGB, upright; where the format does not say its range, scaled by its own.
    value_range: of samples whose format does not fix their range, else None.
    tiff_alpha: of a TIFF with a band called alpha, whether the band looks like one, else None.
    alpha: the same of an image of another format.
    remarks: what was done to it, of those in transfer.decoding.opened.
    """

    image: Image.Image
    value_range: ValueRange | None = None
    tiff_alpha: bool | None = None
    alpha: bool | None = None
    remarks: tuple[str, ...] = ()


def read_rgb(content: bytes, rules: PixelRules | None = None) -> Image.Image:
    """Decode an image file to 8-bit RGB, upright.

    The first frame of an animation; EXIF orientation applied (damaged EXIF is ignored);
    transparency over the background; more than 8 bits scaled by the range that the format fixes, or
    by the data set's rule; the format is judged by content, not by the name.

    Args:
        rules: those of the data set; by default white is the background, and 16 bits are divided by
            257.

    Raises:
        BadImageError: empty, truncated, of no known format, too many pixels, of unknown value
            range, or invisible on the background.
    """
    rules = rules or PixelRules()
    with _words_for_a_person():
        return to_rgb(open_image(content, tiff_alpha=rules.tiff_alpha), rules)[0]


def examine(content: bytes, background: tuple[int, int, int]) -> Examined:
    """Decode an image before the data set's rules are known, and say what they are derived from.

    Raises:
        BadImageError: as `read_rgb`.
    """
    with _words_for_a_person():
        opened = open_image(content, tiff_alpha=True)
        looks = alpha_looks_true(opened)
        if looks is False and opened.is_tiff:
            opened = open_image(content, tiff_alpha=False)
        found, ranges = None, {}
        if opened.samples is not None and not opened.samples.fixed:
            found = opened.samples.value_range()
            high = found.high if found.high > found.low else found.low + 1
            ranges = {found.kind: (min(found.low, 0), high)}
        rules = PixelRules(ranges, background=background, alpha=looks is not False)
        image, remarks = to_rgb(opened, rules)
        remarks += remarks_on_colours(opened.info if opened.image is None else opened.image.info)
        if opened.is_tiff:
            return Examined(image, found, tiff_alpha=looks, remarks=remarks)
        return Examined(image, found, alpha=looks, remarks=remarks)


def memory_for(content: bytes) -> AbstractContextManager[None]:
    """Wait, in a `with`, until there is memory to decode this image besides those that other
    threads decode; small images wait for none."""
    size = 0
    with suppress(Exception):  # what is wrong with it is said when it is decoded
        size = bytes_to_decode(content)
    return _memory.reserve(size if size > _SMALL_BYTES else 0)


@contextmanager
def _words_for_a_person() -> Iterator[None]:
    """Turn whatever decoders raise (OSError, ValueError, SyntaxError, struct.error and more) into a
    BadImageError."""
    try:
        yield
    except BadImageError:
        raise
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        if _NOT_READ.search(words):
            raise BadImageError(f"damaged, or of a kind that is not read: {words}") from None
        raise BadImageError(f"damaged or truncated: {words}") from None


def resize(image: Image.Image, size: int, interpolation: str) -> np.ndarray:
    """Stretch an RGB image to a square: uint8 (size, size, 3).

    interpolation: a Pillow name in lower case; all but `nearest` average over the source pixels
        when shrinking.
    """
    return np.asarray(image.resize((size, size), Image.Resampling[interpolation.upper()]))


@dataclass(frozen=True)
class Resize:
    """`resize` to a size, as a value that can be sent to another process."""

    size: int
    interpolation: str

    def __call__(self, image: Image.Image) -> np.ndarray:
        return resize(image, self.size, self.interpolation)


def parse_colour(name: object) -> tuple[int, int, int]:
    """RGB of a colour's name or of `#rrggbb`; ValueError where it is none."""
    with suppress(ValueError, TypeError, AttributeError):
        red, green, blue, *_ = ImageColor.getrgb(name)
        if max(red, green, blue) <= 255:
            return red, green, blue
    raise ValueError("no colour; give a name such as white, or #rrggbb in quotes")


Colour = Annotated[tuple[int, int, int], BeforeValidator(parse_colour)]


class DecodeParams(Params):
    """Section `decode` of params.yaml, which explains each key."""

    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    background: Colour
