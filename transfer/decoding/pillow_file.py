"""Image files in Pillow's hands: which formats are read, up to which size, and why one cannot be
opened."""

import io
import logging
import re
import struct
import warnings
from functools import cache

from PIL import Image

from transfer.decoding.bad_image import UnidentifiedError
from transfer.decoding.file_kinds import beginning_of_text, describe_unreadable, is_heic
from transfer.decoding.large_images import check_pixels, reduce_large

# JPEG opens MPO too, which many phones write as .jpg
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
FORMATS += ("AVIF", "JPEG2000", "PPM", "ICO", "PCX", "QOI", "SGI")
NAMES = "JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, JPEG 2000, PPM, PGM, TGA, ICO, PCX, QOI or SGI"
# How files of these formats begin, so that one that cannot be opened is called by its name.
_STARTS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{4}\0\0\0\0",
    "WEBP": rb"RIFF.{4}WEBP",
    "TIFF": rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
    "JPEG2000": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "PPM": rb"P[1-6][\s#]",
    "QOI": rb"qoif",
    "SGI": rb"\x01\xda[\0\1][\1\2]",
}

# Our own limit is in transfer.decoding.large_images, before a pixel is decoded;
# Pillow's is global and only warns at first.
Image.MAX_IMAGE_PIXELS = None
# Pillow remarks on odd metadata; what matters raises. Once for all: `warnings.catch_warnings` is
# not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


def identify(content: bytes) -> Image.Image:
    """The file in Pillow's hands, not loaded, of an allowed size, to which a JPEG or JPEG 2000 is
    reduced while it is decoded. Of a TIFF the size is not checked, since any page may be meant.

    Raises:
        UnidentifiedError: of no known format, or damaged at its start.
        BadImageError: too many pixels.
    """
    if is_icon(content):  # which Pillow loads as it opens it
        for size in icon_sizes(content):
            check_pixels(*size)
    formats = (*FORMATS, "HEIF") if is_heic(content) and reads_heic() else FORMATS
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
    except Image.UnidentifiedImageError:
        if not is_tga(content):
            raise UnidentifiedError(_why_not(content)) from None
        image = Image.open(io.BytesIO(content), formats=("TGA",))
    if image.format != "TIFF":
        reduce_large(image, content)
    return image


@cache
def reads_heic() -> bool:
    """Whether the package pillow-heif is installed; Pillow reads HEIC then."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _why_not(content: bytes) -> str:
    """Why no format fits the file: its kind, if that is known, or what is wrong with its header."""
    if is_heic(content) and reads_heic():
        return "damaged or truncated: a HEIC image, cut off or of a kind that is not read"
    if kind := describe_unreadable(content):
        return kind
    for name, start in _STARTS.items():
        if re.match(start, content, re.DOTALL):
            return f"damaged or truncated: {_a(name)} image, {_reason(name, content)}"
    if not content.strip(b"\0"):
        return f"not a {NAMES} image: all its bytes are zero; copy it again"
    if line := beginning_of_text(content):
        return f"not a {NAMES} image, but text that begins {line!r}"
    return f"not a {NAMES} image, or cut off at its very start"


def _a(name: str) -> str:
    shown = {"WEBP": "WebP", "JPEG2000": "JPEG 2000"}.get(name, name)
    return f"an {shown}" if shown in ("SGI",) else f"a {shown}"


def _reason(name: str, content: bytes) -> str:
    """Pillow's own words, which `Image.open` keeps to itself."""
    try:
        Image.OPEN[name][0](io.BytesIO(content), "")
    except Exception as error:  # OSError, SyntaxError, ValueError, struct.error and more
        words = str(error).removesuffix(".")
        if "requires a buffer of" in words:
            return "cut off at its start"
        if words and words != "not identified by this driver":
            return words
    return "whose header makes no sense"


def is_tga(content: bytes) -> bool:
    """Whether this is TGA, which has no signature at its start: the footer of newer ones, or a
    header that fits the length of the file."""
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


def is_icon(content: bytes) -> bool:
    """Whether these are the first bytes of a Windows icon."""
    return content[:4] == b"\0\0\1\0"


def icon_sizes(content: bytes) -> list[tuple[int, int]]:
    """Width and height of each picture in an icon, which it says itself."""
    sizes = []
    for number in range(min(struct.unpack_from("<H", content, 4)[0], (len(content) - 6) // 16)):
        (at,) = struct.unpack_from("<I", content, 6 + 16 * number + 12)
        inner = content[at : at + 24]
        if inner.startswith(b"\x89PNG") and len(inner) == 24:
            sizes.append(struct.unpack_from(">II", inner, 16))
        elif len(inner) >= 12:
            width, height = struct.unpack_from("<ii", inner, 4)
            sizes.append((abs(width), abs(height)))
    return sizes
