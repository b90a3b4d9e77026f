"""JPEG files: those that break off, and those of a kind that is not read."""

import io
import re
import struct
from collections.abc import Iterator

from PIL import Image

from transfer.decoding.bad_image import BadImageError, UnidentifiedError
from transfer.decoding.opened import NO_END, Opened
from transfer.decoding.pillow_file import identify

_START, _END, _SCAN, _TABLES, _JPEG_LS = 0xD8, 0xD9, 0xDA, 0xC4, 0xF7
_PROGRESSIVE, _QUANTIZATION = 0xC2, b"\xff\xdb"
# not bytes of a scan, nor fill bytes, nor marks between the rows of a scan
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {_TABLES, 0xC8, 0xCC})
_ALONE = frozenset({0x01, _START, _END})  # markers without a length
_SCANS_MISSING = "damaged or truncated: scans of a progressive JPEG are missing"
# Bits that are put behind the end of what is there. If no row is missing, none of them is read.
_FILLERS = (b"", b"\x55" * 64, b"\xaa" * 64)
_LEAST_LINES = 8  # so many line feeds that all follow a carriage return are no chance
# What the decoder gives for blocks that are not there: the middle of the range, in every band.
_MISSING = frozenset({127, 128})


def open_jpeg(content: bytes) -> Opened:
    """A JPEG, loaded. One that breaks off, or ends in zeros, is taken if no row is missing.

    Raises:
        BadImageError: rows are missing, damaged, or of a kind that is not read.
    """
    if _has_other_line_ends(content):
        raise BadImageError(
            "damaged or truncated: a JPEG whose line ends were changed by a transfer as text; copy "
            "it again"
        )
    try:
        image = identify(content)
    except UnidentifiedError as error:
        raise BadImageError(_explain(content) or str(error)) from None
    try:
        image.load()
        if not _is_padded(content):
            if _ends_in_nothing(image):
                _reload_whole(content[: _end_of_scans(content)])
            if "progressive" in image.info and _lacks_scans(content):
                raise BadImageError(_SCANS_MISSING)
            return Opened(image)
    except OSError as error:
        if "truncated" not in str(error):
            raise
    return Opened(_reload_whole(content[: _end_of_scans(content)]), remarks=(NO_END,))


def _has_other_line_ends(content: bytes) -> bool:
    """Whether a carriage return stands before each line feed behind the metadata, as Windows writes
    text: the decoder gives other pixels then, without an error."""
    start = max(0, content.rfind(_QUANTIZATION))
    count = content.count(b"\n", start)
    return count >= _LEAST_LINES and content.count(b"\r\n", start) == count


def _is_padded(content: bytes) -> bool:
    """Whether a JPEG's rows end in zeros, as a download that broke off leaves them in a file of
    full length: Pillow takes the zeros for rows."""
    if content.endswith(bytes(16) + b"\xff\xd9"):
        return True
    return content.endswith(bytes(16)) and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def _ends_in_nothing(image: Image.Image) -> bool:
    """Whether the last pixel looks as if its block was not in the file. An end marker behind half
    of the rows makes the decoder fill the others with this grey, without an error."""
    pixel = image.getpixel((image.width - 1, image.height - 1))
    return {pixel} <= _MISSING if isinstance(pixel, int) else {*pixel} <= _MISSING


def _reload_whole(rows: bytes) -> Image.Image:
    """The image of a file that is cut off in front of its end marker, if every row is in it."""
    rows = rows.rstrip(b"\0").rstrip(b"\xff")  # half a marker
    tries = [
        Image.open(io.BytesIO(rows + filler + b"\xff\xd9"), formats=("JPEG",))
        for filler in _FILLERS
    ]
    first, *others = (each.tobytes() for each in tries)
    if any(other != first for other in others):
        raise BadImageError("damaged or truncated: image file is truncated, rows of it are missing")
    return tries[0]


def _end_of_scans(content: bytes) -> int:
    """Where the end marker of the first image stands, or the length of the file."""
    return next((at for marker, at in _markers(content) if marker == _END), len(content))


def _lacks_scans(content: bytes) -> bool:
    """Whether a progressive JPEG never says the whole of its first band: an end marker behind half
    of the scans makes the decoder give a blurred picture, without an error."""
    band, least = None, {}
    for marker, at in _markers(content):
        if marker == _PROGRESSIVE and at + 11 <= len(content):
            band = content[at + 10]
        if marker == _SCAN and band is not None and at + 5 <= len(content):
            count = content[at + 4]
            bands, spectrum = content[at + 5 : at + 5 + 2 * count : 2], at + 5 + 2 * count
            if band in bands and spectrum + 3 <= len(content):
                first, last, bits = content[spectrum : spectrum + 3]
                least |= dict.fromkeys(range(first, last + 1), bits & 15)
    return band is not None and any(least.get(number) != 0 for number in range(64))


def _markers(content: bytes) -> Iterator[tuple[int, int]]:
    """Each marker of the first image of a JPEG, and where it stands."""
    at = 2
    while found := _MARKER.search(content, at):
        at, marker = found.start(), content[found.start() + 1]
        yield marker, at
        if marker == _END:
            return
        at += 2
        if marker not in _ALONE and at + 2 <= len(content):
            at += struct.unpack_from(">H", content, at)[0]


def _explain(content: bytes) -> str | None:
    """What kind of JPEG this is that Pillow does not open; None where it is just damaged."""
    for marker, at in _markers(content):
        if marker == _JPEG_LS:
            return "a JPEG-LS image; convert it to PNG or TIFF"
        if marker in _FRAMES and at + 10 <= len(content):
            bits, height, _, bands = struct.unpack_from(">BHHB", content, at + 4)
            if bits != 8:
                return f"a JPEG of {bits} bits; convert it to a PNG or TIFF of 16 bits"
            if height == 0:
                return "damaged or truncated: a JPEG whose header has no height; save it anew"
            if bands not in (1, 3, 4):
                return f"a JPEG of {bands} bands; save it as grey or RGB"
            return None
    return None
