"""Bytes to pixels: any image that people have, as 8-bit RGB."""

import io
import logging
import struct
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageColor, ImageOps
from pydantic import field_validator

from transfer.runtime.cores import MemoryBudget
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params
from transfer.sources.bad_image import BadImageError
from transfer.sources.file_kinds import describe_unreadable, is_heic
from transfer.sources.samples import (
    Samples,
    black_and_white,
    is_deep_tiff,
    png_chunks,
    read_deep_png,
    read_deep_pnm,
    read_deep_tiff,
    read_tags,
)
from transfer.sources.value_ranges import PixelRules, ValueRange, read_pixel_rules

__all__ = ["BadImageError", "DecodeParams", "Resize", "load_pixel_rules", "read_rgb", "resize"]

# JPEG opens MPO too, which many phones write as .jpg
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
FORMATS += ("AVIF", "JPEG2000", "PPM", "ICO", "PCX", "QOI", "SGI")
NAMES = "JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, JPEG 2000, PPM, PGM, TGA, ICO, PCX, QOI or SGI"
# TIFF tags: whether zero is black or white, the sides of a tile, which is decoded whole however
# small the image is, the bands beyond colour, and what marks a camera's RAW file.
_PHOTOMETRIC, _TILE_WIDTH, _TILE_LENGTH, _EXTRA_SAMPLES = 262, 322, 323, 338
_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706
# 300 MB as RGB: above any camera that classifies well, below what stops a machine
MAX_PIXELS = 100_000_000
# bytes that decoding takes at most of a pixel: four bands, alpha laid over a background, RGB
_BYTES_A_PIXEL = 16
_SMALL_PIXELS = 4_000_000  # images up to this size wait for no memory
_BLANK_DISTANCE = 8  # levels by which a picture must differ from its background to be seen

CAMERA_RAW = (
    "a camera's RAW file (DNG, NEF or the like); convert it to JPEG, PNG or TIFF with the camera's "
    "program or darktable"
)

# Remarks on an image that was read, each counted over a data set.
ANIMATION = "an animation or several pages: the first picture is read"
NO_END = "a JPEG without its end marker, with all rows: read"
METADATA = "metadata too large to unpack: left unread"
ALPHA_ZERO = "transparent throughout: the transparency is ignored"
FLATTENED = "transparent parts: laid over decode.background"
TIFF_ALPHA = "a TIFF's fourth band, which is no transparency: left out"
SCALED = "more than 8 bits: scaled to 8"

# Our own limit stands in `_open`, before a pixel is decoded;
# Pillow's is global and only warns at first.
Image.MAX_IMAGE_PIXELS = None
# Pillow remarks on odd metadata; what matters raises. Once for all: `warnings.catch_warnings` is
# not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())

_memory = MemoryBudget()


@dataclass(frozen=True)
class Examined:
    """What `split` learns of an image.

    image: 8-bit RGB, upright; where the format does not say its range, scaled by its own.
    value_range: of samples whose format does not fix their range, else None.
    tiff_alpha: of a TIFF with a band called alpha, whether the band looks like one, else None.
    remarks: what was done to it, of the remarks above.
    """

    image: Image.Image
    value_range: ValueRange | None = None
    tiff_alpha: bool | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Opened:
    """Pixels of a file as they are stored: in Pillow's hands, or as samples with their orientation
    (the EXIF tag). `drop_alpha`: its fourth band is none, though Pillow says so."""

    image: Image.Image | None = None
    samples: Samples | None = None
    orientation: int = 1
    white_is_zero: bool = False
    is_tiff: bool = False
    drop_alpha: bool = False
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
    return _guarded(lambda: _to_rgb(_open(content, tiff_alpha=rules.tiff_alpha), rules)[0])


def examine(content: bytes, background: tuple[int, int, int]) -> Examined:
    """Decode an image before the data set's rules are known, and say what they are derived from.

    Raises:
        BadImageError: as `read_rgb`.
    """

    def look() -> Examined:
        opened = _open(content, tiff_alpha=True)
        found = None
        rules = PixelRules(background=background)
        if opened.samples is not None and not opened.samples.fixed:
            found = opened.samples.value_range()
            own = (found.low, found.high if found.high > found.low else found.low + 1)
            ranges = {found.kind: own if found.low < 0 else (0, own[1])}
            rules = PixelRules(ranges, background=background)
        looks = _alpha_looks_true(opened)
        if looks is False:
            opened = _open(content, tiff_alpha=False)
        image, remarks = _to_rgb(opened, rules)
        return Examined(image, found, looks, remarks)

    return _guarded(look)


def memory_for(content: bytes) -> AbstractContextManager[None]:
    """Wait, in a `with`, until there is memory to decode this image besides those that other
    threads decode; small images wait for none."""
    pixels = 0
    with suppress(Exception):  # what is wrong with it is said when it is decoded
        if len(content) > 10_000:
            width, height = Image.open(io.BytesIO(content), formats=_quick_formats()).size
            pixels = width * height
    return _memory.reserve(pixels * _BYTES_A_PIXEL if pixels > _SMALL_PIXELS else 0)


def _quick_formats() -> tuple[str, ...]:
    return tuple(name for name in FORMATS if name != "ICO")  # which is decoded as it is opened


def _guarded(read: Callable):
    try:
        return read()
    except BadImageError:
        raise
    # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error and more
    except Exception as error:
        raise BadImageError(f"damaged or truncated: {str(error) or type(error).__name__}") from None


def _open(content: bytes, *, tiff_alpha: bool) -> _Opened:
    """The file's pixels as they are stored."""
    if not content:
        raise BadImageError("the file is empty")
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _open_tiff(content, tiff_alpha=tiff_alpha)
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return _open_png(content)
    if content[:4] == b"\0\0\1\0":
        _check_icon(content)
    image = _identify(content)
    remarks = (ANIMATION,) if image.format != "MPO" and _is_animated(image, content) else ()
    if image.format == "PPM" and (samples := read_deep_pnm(image, content)):
        return _Opened(samples=samples)
    if image.format in ("JPEG", "MPO"):
        image, repaired = _load_jpeg(image, content)
        return _Opened(image, remarks=(*remarks, *repaired))
    image.load()
    if samples := _deep_samples(image, fixed=(0, 0xFFFF)):
        return _Opened(samples=samples, orientation=_orientation(image), remarks=remarks)
    return _Opened(image, remarks=remarks)


def _identify(content: bytes) -> Image.Image:
    """The file in Pillow's hands, not loaded, of an allowed size."""
    formats = (*FORMATS, "HEIF") if is_heic(content) and _reads_heic() else FORMATS
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
    except Image.UnidentifiedImageError:
        if _is_tga(content):
            image = Image.open(io.BytesIO(content), formats=("TGA",))
        elif kind := describe_unreadable(content):
            raise BadImageError(kind) from None
        else:
            raise BadImageError(f"not a {NAMES} image, or cut off at its very start") from None
    _check_pixels(*image.size)
    return image


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadImageError(
            f"{width} x {height} pixels, more than the {MAX_PIXELS:,} that are allowed"
        )


@cache
def _reads_heic() -> bool:
    """Whether the package pillow-heif is installed; Pillow reads HEIC then."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _is_animated(image: Image.Image, content: bytes) -> bool:
    if image.format == "GIF":  # which must look for a second frame, and loses its place
        image = Image.open(io.BytesIO(content), formats=("GIF",))
    return bool(getattr(image, "is_animated", False))


def _is_tga(content: bytes) -> bool:
    """TGA has no signature at its start: the footer of newer ones, or a header that fits the length
    of the file."""
    if content.endswith(b"TRUEVISION-XFILE.\0"):
        return True
    if len(content) < 18:
        return False
    width, height, depth = struct.unpack_from("<HHB", content, 12)
    kind, has_map = content[2], content[1]
    if has_map > 1 or depth not in (8, 16, 24, 32) or not width or not height:
        return False
    map_bytes = struct.unpack_from("<H", content, 5)[0] * ((content[7] + 7) // 8) * has_map
    start = 18 + content[0] + map_bytes
    if kind in (1, 2, 3):
        return len(content) == start + width * height * depth // 8
    return kind in (9, 10, 11) and content[3:5] == b"\0\0" and content[17] & 0xC0 == 0


def _check_icon(content: bytes) -> None:
    """Pillow loads an icon as it opens it; each picture in it says its own size."""
    for number in range(min(struct.unpack_from("<H", content, 4)[0], (len(content) - 6) // 16)):
        (at,) = struct.unpack_from("<I", content, 6 + 16 * number + 12)
        inner = content[at : at + 24]
        if inner.startswith(b"\x89PNG") and len(inner) == 24:
            _check_pixels(*struct.unpack_from(">II", inner, 16))
        elif len(inner) >= 12:
            width, height = struct.unpack_from("<ii", inner, 4)
            _check_pixels(abs(width), abs(height))


def _open_png(content: bytes) -> _Opened:
    try:
        return _load_png(content, ())
    except ValueError as error:
        if "ecompressed data too large" not in str(error) and "text chunks" not in str(error):
            raise
    # Text and colour profiles that unpack to more than Pillow allows decide no pixel.
    kept = [
        content[start : start + 12 + length]
        for name, start, length in png_chunks(content)
        if name not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
    ]
    return _load_png(b"".join([content[:8], *kept]), (METADATA,))


def _load_png(content: bytes, remarks: tuple[str, ...]) -> _Opened:
    image = _identify(content)
    if _is_animated(image, content):
        remarks = (*remarks, ANIMATION)
    if image.format == "PNG" and (samples := read_deep_png(image, content)):
        return _Opened(samples=samples, orientation=_orientation(image), remarks=remarks)
    image.load()
    return _Opened(image, remarks=remarks)


def _load_jpeg(image: Image.Image, content: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """Load a JPEG. One that breaks off, or ends in zeros, is taken if no row is missing: then what
    stands between its end and the marker that is added changes nothing."""
    try:
        image.load()
        if not _is_padded(content):
            return image, ()
    except OSError as error:
        if "truncated" not in str(error):
            raise
    whole = content.rstrip(b"\0").rstrip(b"\xff")  # half a marker
    ends = [b"\xff\xd9", b"\x55" * 64 + b"\xff\xd9", b"\xaa" * 64 + b"\xff\xd9"]
    tries = [Image.open(io.BytesIO(whole + end), formats=("JPEG",)) for end in ends]
    first, *others = (each.tobytes() for each in tries)
    if any(other != first for other in others):
        raise BadImageError("damaged or truncated: image file is truncated, rows of it are missing")
    return tries[0], (NO_END,)


def _is_padded(content: bytes) -> bool:
    """Whether a JPEG ends in zeros and has no end marker in front of them, as a download that broke
    off leaves it in a file of full length: Pillow takes the zeros for rows."""
    return content.endswith(bytes(16)) and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def _open_tiff(content: bytes, *, tiff_alpha: bool) -> _Opened:
    tags, has_more = read_tags(content) or ({}, False)
    if content[8:11] == b"CR\x02" or _is_camera_raw(tags):
        raise BadImageError(CAMERA_RAW)
    remarks = (ANIMATION,) if has_more else ()
    if is_deep_tiff(tags):
        samples = read_deep_tiff(content, tags, tiff_alpha=tiff_alpha)
        orientation = tags.get(ExifTags.Base.Orientation, 1)
        return _Opened(
            samples=samples,
            orientation=orientation,
            is_tiff=True,
            remarks=(*remarks, *samples.remarks),
        )
    image = _identify(content)
    tile = image.tag_v2.get(_TILE_WIDTH, 0), image.tag_v2.get(_TILE_LENGTH, 0)
    _check_pixels(*tile)
    image.load()
    white_is_zero = image.tag_v2.get(_PHOTOMETRIC) == 0
    if samples := _deep_samples(image, fixed=(0, 0xFFFF), white_is_zero=white_is_zero):
        return _Opened(samples=samples, orientation=_orientation(image), remarks=remarks)
    drop = image.mode in ("RGBA", "LA") and not (
        tiff_alpha and {1, 2} & {*image.tag_v2.get(_EXTRA_SAMPLES, ())}
    )
    if drop or (image.mode == "RGB" and image.tag_v2.get(_EXTRA_SAMPLES)):
        remarks = (*remarks, TIFF_ALPHA)
    return _Opened(image, is_tiff=True, drop_alpha=drop, remarks=remarks)


def _is_camera_raw(tags: dict) -> bool:
    """Whether a TIFF's first picture is a camera's preview, and the real one lies elsewhere."""
    is_preview = isinstance(tags.get(_SUBFILE_TYPE), int) and tags[_SUBFILE_TYPE] & 1
    return _DNG_VERSION in tags or bool(is_preview and _SUB_IFDS in tags)


def _deep_samples(
    image: Image.Image, fixed: tuple[float, float], *, white_is_zero: bool = False
) -> Samples | None:
    """A loaded image of more than 8 bits as samples; None of any other."""
    if image.mode == "F":
        return Samples(np.asarray(image)[..., None], "float")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)[..., None]
        return Samples(values, "unsigned", fixed=fixed, white_is_zero=white_is_zero)
    return None


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever garbage in the metadata makes Pillow raise, the pixels are sound
        return 1


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever garbage in the metadata makes Pillow raise, the pixels are sound
        return image


def _to_rgb(opened: _Opened, rules: PixelRules) -> tuple[Image.Image, tuple[str, ...]]:
    """8-bit RGB over the background, and what was done to it."""
    if opened.samples is not None:
        return _samples_to_rgb(opened, rules)
    image = _upright(opened.image)
    if not image.has_transparency_data:
        return _convert(image), opened.remarks
    rgba = image.convert("RGBA")
    if opened.drop_alpha:
        return rgba.convert("RGB"), opened.remarks
    least, most = rgba.getchannel("A").getextrema()
    if most == 0:
        return rgba.convert("RGB"), (*opened.remarks, ALPHA_ZERO)
    paper = Image.new("RGBA", rgba.size, rules.background)
    flat = Image.alpha_composite(paper, rgba).convert("RGB")
    if least == 255:
        return flat, opened.remarks
    _check_visible(flat, rules.background)
    return flat, (*opened.remarks, FLATTENED)


def _convert(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    return image.convert("RGB")


def _samples_to_rgb(opened: _Opened, rules: PixelRules) -> tuple[Image.Image, tuple[str, ...]]:
    samples, remarks = opened.samples, (*opened.remarks, SCALED)
    pixels = samples.scaled(*black_and_white(samples, rules))
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    alpha = samples.alpha
    if alpha is not None and not alpha.any():
        alpha, remarks = None, (*remarks, ALPHA_ZERO)
    if samples.valid is not None:
        alpha = samples.valid * (np.float32(1) if alpha is None else alpha)
    flat = alpha is not None and bool((alpha < 1).any())
    if flat:
        share = alpha[..., None].astype(np.float32)
        paper = np.array(rules.background, np.float32)
        pixels = np.round(pixels * share + paper * (1 - share)).astype(np.uint8)
        remarks = (*remarks, FLATTENED)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if flat:
        _check_visible(image, rules.background)
    turn = _TURNS.get(opened.orientation)
    return (image if turn is None else image.transpose(turn)), remarks


def _check_visible(image: Image.Image, background: tuple[int, int, int]) -> None:
    extrema = image.getextrema()
    if all(
        abs(value - level) <= _BLANK_DISTANCE
        for (low, high), level in zip(extrema, background, strict=True)
        for value in (low, high)
    ):
        colour = f"#{bytes(background).hex()}"
        raise BadImageError(
            f"blank: its visible pixels have the colour of the background, decode.background = "
            f"{colour}, which transparency is laid over; set another one, 'black' or 'grey' say"
        )


def _alpha_looks_true(opened: _Opened) -> bool | None:
    """Whether a band that a TIFF calls alpha is mostly 0 or opaque; None where there is no such
    band, or it is 0 or opaque throughout."""
    if not opened.is_tiff:
        return None
    if opened.samples is not None:
        alpha = opened.samples.alpha
        if alpha is None:
            return None
    elif opened.image.mode in ("RGBA", "LA") and not opened.drop_alpha:
        alpha = np.asarray(opened.image.getchannel("A")) / np.float32(255)
    else:
        return None
    if not alpha.any() or (alpha == 1).all():
        return None
    return bool(((alpha == 0) | (alpha == 1)).mean() > 0.5)


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
    """Section `decode` of params.yaml, which explains each key."""

    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    background: str

    @field_validator("background")
    @classmethod
    def _is_colour(cls, name: str) -> str:
        parse_colour(name)
        return name


def parse_colour(name: str) -> tuple[int, int, int]:
    """RGB of a colour's name or of `#rrggbb`; ValueError where it is none."""
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError:
        raise ValueError(
            f"{name!r} is no colour; give a name such as white, or #rrggbb in quotes"
        ) from None


def load_pixel_rules(background: str) -> PixelRules:
    """The rules of the data set on which the models of this folder are trained.

    Args:
        background: `decode.background`.

    Raises:
        PipelineError: it is no colour, or data/manifest/pixels.json is damaged.
    """
    try:
        return read_pixel_rules(parse_colour(background))
    except ValueError as error:
        raise PipelineError(f"params.yaml: decode.background: {error}") from None
