"""Bytes to pixels: any image that people have, as 8-bit RGB."""

import io
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from transfer.runtime.params import Params

# JPEG opens MPO too, which many phones write as .jpg
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
# TIFF tags: whether zero is black or white, and the sides of a tile, which is decoded whole however
# small the image is.
_PHOTOMETRIC, _TILE_WIDTH, _TILE_LENGTH = 262, 322, 323
# 300 MB as RGB: above any camera that classifies well, below what stops a machine
MAX_PIXELS = 100_000_000

# Our own limit stands in `read_rgb`, before a pixel is decoded;
# Pillow's is global and only warns at first.
Image.MAX_IMAGE_PIXELS = None
# Pillow remarks on odd metadata; what matters raises. Once for all: `warnings.catch_warnings` is
# not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class BadImageError(Exception):
    """Why these bytes are no image that can be used, in words for a person."""


def read_rgb(content: bytes) -> Image.Image:
    """Decode an image file to 8-bit RGB, upright.

    The first frame of an animation; EXIF orientation applied (damaged EXIF is ignored);
    transparency over white; 16-bit grey scaled by 1/257 (Pillow's own conversion would clip at
    255); the format is judged by content, not by the name.

    Raises:
        BadImageError: empty, truncated, of no known format, too many pixels, or of unknown value
            range.
    """
    if not content:
        raise BadImageError("the file is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        tags = getattr(image, "tag_v2", {})
        for width, height in (image.size, (tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0))):
            if width * height > MAX_PIXELS:
                raise BadImageError(
                    f"{width} x {height} pixels, more than the {MAX_PIXELS:,} that are allowed"
                )
        image.load()
        return _to_rgb(_upright(image), white_is_zero=tags.get(_PHOTOMETRIC) == 0)
    except BadImageError:
        raise
    except Image.UnidentifiedImageError:
        raise BadImageError(
            "not a JPEG, PNG, GIF, BMP, WebP or TIFF image, or cut off at its very start"
        ) from None
    # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error and more
    except Exception as error:
        raise BadImageError(f"damaged or truncated: {str(error) or type(error).__name__}") from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever garbage in the metadata makes Pillow raise, the pixels are sound
        return image


def _to_rgb(image: Image.Image, *, white_is_zero: bool) -> Image.Image:
    if image.mode == "F":
        raise BadImageError(
            "floating-point pixels, whose range is unknown; save it with 8 or 16 bits"
        )
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(
            np.asarray(image), image.info.get("transparency"), white_is_zero=white_is_zero
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(grey: np.ndarray, transparent: int | None, *, white_is_zero: bool) -> Image.Image:
    if grey.min() < 0 or grey.max() > 0xFFFF:
        raise BadImageError(
            "32-bit grey pixels beyond 16 bits, whose range is unknown; save it with 8 or 16 bits"
        )
    if white_is_zero:  # Pillow inverts such TIFFs of 8 bits but not of 16
        grey = 0xFFFF - grey
    if transparent is not None:
        grey = np.where(grey == transparent, 0xFFFF, grey)
    return Image.fromarray(np.round(grey / 257).astype(np.uint8)).convert("RGB")


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


class DecodeParams(Params):
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
