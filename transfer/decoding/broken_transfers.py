"""Files of full length whose end is zeros, as a transfer that broke off leaves them."""

import struct

from transfer.decoding.bad_image import BadImageError
from transfer.decoding.heif_items import end_of_items

_LEAST_ZEROS = 64
_WEBP_SHARE = 8  # what lies behind a plain area of WebP can be zeros, a twentieth of the file
_QOI_END = bytes(7) + b"\1"


def check_end(content: bytes, kind: str) -> None:
    """Raise BadImageError where the end of compressed pixels is zeros, which decoders take for
    pixels.

    Args:
        kind: the format as Pillow calls it. Nothing is said of others than WebP, AVIF, HEIF and
            QOI: zeros may be black there, or are found by the decoder.
    """
    if kind == "WEBP":
        end = _end_of_webp(content)
        least = max(_LEAST_ZEROS, end // _WEBP_SHARE)
    elif kind in ("AVIF", "HEIF"):
        end, least = end_of_items(content) or _end_of_boxes(content), _LEAST_ZEROS
    elif kind == "QOI" and not content.rstrip(b"\0").endswith(_QOI_END):
        end, least = len(content), _LEAST_ZEROS
    else:
        return
    zeros = end - len(content[:end].rstrip(b"\0"))
    if zeros >= least:
        raise BadImageError(
            f"damaged or truncated: its last {zeros} bytes are zeros, as a transfer that broke off "
            "leaves them; copy it again"
        )


def _end_of_webp(content: bytes) -> int:
    """Where the pixels of a WebP end: in front of EXIF and XMP, which may end in zeros, or at the
    end of the file."""
    whole = min(len(content), 8 + struct.unpack_from("<I", content, 4)[0])
    at = 12
    while at + 8 <= whole:
        name, size = struct.unpack_from("<4sI", content, at)
        if name in (b"EXIF", b"XMP "):
            return at
        at += 8 + size + size % 2
    return whole


def _end_of_boxes(content: bytes) -> int:
    """Where the last box of an ISO media file ends by its own size, within the file."""
    at = 0
    while at + 16 <= len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, at + 8)
        if size == 0 and name.strip(b"\0"):  # to the end of the file
            return len(content)
        if size < 8:
            break
        at += size
    return min(at, len(content))
