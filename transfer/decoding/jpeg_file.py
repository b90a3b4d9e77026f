"""JPEG files: those that break off, and those of a kind that is not read."""

import io
import re
import struct
from collections.abc import Iterator

from PIL import Image

from transfer.decoding.bad_image import BadImageError, UnidentifiedError
from transfer.decoding.large_images import is_reduced, reduce_large
from transfer.decoding.opened import NO_END, REDUCED, Opened
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
# So many zeros are no rows where the shortest code of a table stands for a coefficient.
_HOLE = bytes(64)
_END_OF_BLOCK, _SIXTEEN_ZEROS = 0x00, 0xF0
_SEQUENTIAL, _ARITHMETIC = (0xC0, 0xC1), (0xC9, 0xCA)
_OTHERS = (b"\x55", b"\xaa", b"\x33", b"\xcc", b"\x0f", b"\xf0", b"\x80")  # than zeros
_UNSEEN = 8  # bytes at most of the last blocks, which may lie beyond the edge
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
    remarks = (REDUCED,) if is_reduced(image) else ()
    try:
        image.load()
        if not _is_padded(content):
            if _ends_in_nothing(image) and not _is_arithmetic(content):
                _reload_whole(content[: _end_of_scans(content)])
            if _has_hole(content):
                raise BadImageError(
                    "damaged or truncated: zeros in the middle of the picture, as a transfer that "
                    "broke off leaves them; copy it again"
                )
            if "progressive" in image.info and _lacks_scans(content):
                raise BadImageError(_SCANS_MISSING)
            return Opened(image, remarks=remarks)
    except OSError as error:
        if "truncated" not in str(error):
            raise
    image = _reload_whole(_without_filling(content[: _end_of_scans(content)]))
    return Opened(image, remarks=(NO_END, *remarks))


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
        return not _is_whole_with_zeros(content[: _end_of_scans(content)])
    return content.endswith(bytes(16)) and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def _is_whole_with_zeros(rows: bytes) -> bool:
    """Whether rows that end in zeros are whole: the zeros are the code of a plain area, so that
    pixels depend on the last of them, or no pixel depends on any of them."""
    count = len(rows) - len(rows.rstrip(b"\0"))

    def ending_in(byte: bytes, number: int) -> bytes:
        return _open(rows[: len(rows) - number] + byte * number + b"\xff\xd9").tobytes()

    pixels = ending_in(b"\0", count)
    if any(ending_in(byte, _UNSEEN) != pixels for byte in _OTHERS):
        return True
    return all(ending_in(byte, count) == pixels for byte in _OTHERS[:2])


def _has_hole(content: bytes) -> bool:
    """Whether zeros are within the rows of a JPEG that cannot mean pixels, because all coefficients
    of the blocks would be -1. The decoder gives these blocks, without an error."""
    if content.find(_HOLE, content.find(b"\xff\xda")) < 0:
        return False
    first_symbols, is_hole, start = {}, False, None
    for marker, at in _markers(content):
        if start is not None and is_hole:
            if content.find(_HOLE, start, at) >= 0:
                return True
            start = None
        if marker in _FRAMES and marker not in _SEQUENTIAL:
            return False
        if marker == _TABLES:
            first_symbols |= _first_symbols(content, at + 4)
        if marker == _SCAN and at + 5 <= len(content):
            tables = content[at + 6 : at + 5 + 2 * content[at + 4] : 2]
            symbols = {first_symbols.get(16 + (number & 15), 1) for number in tables}
            is_hole = bool(symbols - {_END_OF_BLOCK, _SIXTEEN_ZEROS})
            start = at + 2
    return False


def _first_symbols(content: bytes, at: int) -> dict[int, int]:
    """The symbol whose code is zeros alone, by class and number of the table, in a segment of
    Huffman tables whose data begin at `at`."""
    (length,) = struct.unpack_from(">H", content, at - 2)
    end, found = min(at - 2 + length, len(content)), {}
    while at + 17 < end:
        found[content[at]] = content[at + 17]
        at += 17 + sum(content[at + 1 : at + 17])
    return found


def _ends_in_nothing(image: Image.Image) -> bool:
    """Whether the last pixel looks as if its block was not in the file. An end marker behind half
    of the rows makes the decoder fill the others with this grey, without an error."""
    pixel = image.getpixel((image.width - 1, image.height - 1))
    return {pixel} <= _MISSING if isinstance(pixel, int) else {*pixel} <= _MISSING


def _reload_whole(rows: bytes) -> Image.Image:
    """The image of a file that is cut off in front of its end marker, if every row is in it."""
    tries = [_open(rows + filler + b"\xff\xd9") for filler in _FILLERS]
    first, *others = (each.tobytes() for each in tries)
    if any(other != first for other in others):
        raise BadImageError("damaged or truncated: image file is truncated, rows of it are missing")
    return tries[0]


def _without_filling(rows: bytes) -> bytes:
    """Rows without the zeros or the half of a marker behind them; the zero that follows each byte
    of ones in a scan is kept."""
    stripped = rows.rstrip(b"\0")
    if stripped.endswith(b"\xff") and len(stripped) < len(rows):
        return stripped + b"\0"
    return stripped.rstrip(b"\xff")


def _is_arithmetic(content: bytes) -> bool:
    """Whether it is packed by arithmetic coding, whose writers drop zeros at the end."""
    return any(marker in _ARITHMETIC for marker, _ in _markers(content))


def _open(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=("JPEG",))
    reduce_large(image, content)
    return image


def _end_of_scans(content: bytes) -> int:
    """Where the end marker of the first image stands, or the length of the file."""
    return next((at for marker, at in _markers(content) if marker == _END), len(content))


def _lacks_scans(content: bytes) -> bool:
    """Whether scans of the first band of a progressive JPEG are missing: an end marker behind half
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
