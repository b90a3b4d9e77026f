"""Files of full length of which a part is zeros, as a transfer that broke off leaves them."""

import struct

import numpy as np
from PIL import Image

from transfer.decoding.bad_image import BadImageError
from transfer.decoding.heif_items import end_of_pictures

_LEAST_ZEROS = 64
_WEBP_SHARE = 8  # what lies behind a plain area of WebP can be zeros, a twentieth of the file
_QOI_END = bytes(7) + b"\1"
_FULL = 0.9  # of the pixels of a row that is no edge of a black area
_LEAST_REST = 50  # of a row's pixels one in so many


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
        end, least = end_of_pictures(content), _LEAST_ZEROS
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


def order_of_rows(image: Image.Image) -> int:
    """How the file stores the rows of an image, not loaded yet: 1 from the top down, -1 from the
    bottom up, 0 if it does not store whole pixels of whole rows as they are."""
    boxes = {tile.extents for tile in image.tile}
    if image.mode == "1" or not boxes or len(boxes) < len(image.tile):
        return 0
    if any(tile.codec_name != "raw" for tile in image.tile):
        return 0
    if any(box[0] or box[2] < image.width for box in boxes):
        return 0
    options = image.tile[0].args
    rawmode, *_, direction = options if isinstance(options, tuple) else (options, 1)
    return 0 if rawmode.endswith(";I") or direction not in (1, -1) else direction


def check_stored_rows(image: Image.Image, order: int) -> None:
    """Raise BadImageError where pixels that are stored as they are end in zeros from the middle of
    a row on. A black area begins at the start of a row, or has black pixels beside it.

    Args:
        image: loaded. order: what `order_of_rows` said before that; of 0 nothing is checked.
    """
    if not order:
        return
    pixels = np.asarray(image)[::order]
    filled = pixels.any(axis=-1) if pixels.ndim == 3 else pixels != 0
    rows = np.flatnonzero(filled.any(axis=1))
    if not rows.size or not 1 <= rows[-1] < len(filled) - 1:
        return
    last, width = int(rows[-1]), filled.shape[1]
    end = int(np.flatnonzero(filled[last])[-1]) + 1
    if width - end < max(1, width // _LEAST_REST):
        return
    around = filled[last - 1], filled[last - 1, end:], filled[last, :end]
    if min(part.mean() for part in around) >= _FULL:
        raise BadImageError(
            f"damaged or truncated: from the middle of a row on all its pixels are zeros, for "
            f"{len(filled) - 1 - last} rows, as a transfer that broke off leaves them; copy it "
            "again"
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
