"""The pages of a TIFF by their tags: which one is the picture that is meant, and a description of
one that is not read."""

import struct
from collections.abc import Iterator

import numpy as np

# Tags
SUBFILE_TYPE, OLD_SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION = 254, 255, 256, 257, 258, 259
PHOTOMETRIC, FILL_ORDER, STRIPS, ORIENTATION, SAMPLES, STRIP_ROWS = 262, 266, 273, 274, 277, 278
DESCRIPTION, COLOR_MAP, PROFILE = 270, 320, 34675
STRIP_BYTES, MIN, MAX, PLANAR, PREDICTOR = 279, 280, 281, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, SUB_IFDS = 322, 323, 324, 325, 330
EXTRA, FORMAT, SMIN, SMAX, NODATA, DNG_VERSION = 338, 339, 340, 341, 42113, 50706
_KNOWN = frozenset(
    {
        *(SUBFILE_TYPE, OLD_SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC),
        *(FILL_ORDER, STRIPS, ORIENTATION, SAMPLES, STRIP_ROWS, STRIP_BYTES, MIN, MAX, PLANAR),
        *(PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, SUB_IFDS, EXTRA, FORMAT),
        *(SMIN, SMAX, NODATA, DNG_VERSION, DESCRIPTION, PROFILE),
    }
)
# Values of PHOTOMETRIC and COMPRESSION
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, SEPARATED = 0, 1, 2, 5
NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA = 1, 5, 7, 8, 32946, 32773, 34925
ZSTD, WEBP = 50000, 50001
_COLOURS = {
    WHITE_IS_ZERO: "grey", BLACK_IS_ZERO: "grey", RGB: "RGB", SEPARATED: "CMYK",
    3: "palette", 4: "mask", 6: "YCbCr", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab",
    32844: "LogL", 32845: "LogLuv",
}  # fmt: skip
_PACKINGS = {
    NONE: "none", LZW: "LZW", JPEG: "JPEG", DEFLATE: "Deflate", OLD_DEFLATE: "Deflate",
    PACKBITS: "PackBits", LZMA: "LZMA", ZSTD: "Zstandard", WEBP: "WebP",
    2: "CCITT", 3: "CCITT fax 3", 4: "CCITT fax 4", 6: "old JPEG", 34892: "lossy JPEG",
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    **dict.fromkeys((34676, 34677), "SGI Log"),
    34887: "LERC", 34933: "PNG",
}  # fmt: skip
_PHASE_ONE = (b"IIIITwaR", b"IIIICwaR", b"MMMMRawT", b"MMMMRawC")
_RAW_COLOURS = (32803, 34892)  # of a sensor behind a mosaic of filters; linear, of a DNG
_TYPES = {  # of NumPy, by the number of the type
    1: "u1", 3: "u2", 4: "u4", 7: "u1", 13: "u4", 16: "u8", 18: "u8",
    6: "i1", 8: "i2", 9: "i4", 17: "i8", 11: "f4", 12: "f8",
}  # fmt: skip
_ASCII = 2
_MOST_PAGES = 100

Tags = dict[int, "tuple | str | bytes"]


def is_tiff(content: bytes) -> bool:
    """Whether these are the first bytes of a TIFF or BigTIFF."""
    return content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_big_endian_bigtiff(content: bytes) -> bool:
    """Whether it is of the one kind that Pillow does not open."""
    return content[:4] == b"MM\0+"


def read_pages(content: bytes, first: int | None = None) -> list[Tags]:
    """The tags that are used here of each page, the first 100 at most, as far as they can be read.
    A tag's value is a tuple of numbers or a string, or bytes, of PROFILE.

    Args:
        first: the place of the first page, if it is another one than the file says.
    """
    pages = []
    for page in _directories(content, first):
        pages.append(page)
        if len(pages) == _MOST_PAGES:
            break
    return pages


def with_first_page(content: bytes, offset: int) -> bytes:
    """The file with another place as that of its first page, such as that of a page within a page
    (SUB_IFDS)."""
    order = "<" if content[:2] == b"II" else ">"
    at, code = (8, "Q") if 43 in content[2:4] else (4, "I")
    place = struct.pack(order + code, offset)
    return content[:at] + place + content[at + len(place) :]


def _directories(content: bytes, first: int | None) -> Iterator[Tags]:
    order = "<" if content[:2] == b"II" else ">"
    big = 43 in content[2:4]
    count_code, entry_code, offset_code = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    count_size, entry_size, room = (8, 20, 8) if big else (2, 12, 4)
    seen = set()
    try:
        (at,) = struct.unpack_from(order + offset_code, content, 8 if big else 4)
        at = at if first is None else first
        while at and at not in seen:
            seen.add(at)
            (count,) = struct.unpack_from(order + count_code, content, at)
            start, page = at + count_size, {}
            if start + count * entry_size > len(content):
                return
            for number in range(count):
                place = start + number * entry_size
                tag, kind, length = struct.unpack_from(order + entry_code, content, place)
                if tag not in _KNOWN:
                    continue
                value_at = place + entry_size - room
                size = length * np.dtype(_TYPES.get(kind, "u1")).itemsize
                if size > room:
                    (value_at,) = struct.unpack_from(order + offset_code, content, value_at)
                raw = content[value_at : value_at + size]
                value = raw if tag == PROFILE else _value(raw, kind, order)
                if value:
                    page[tag] = value
            yield page
            (at,) = struct.unpack_from(order + offset_code, content, start + count * entry_size)
    except struct.error:  # cut off: what was read so far is used
        return


def _value(raw: bytes, kind: int, order: str) -> tuple | str | None:
    if kind == _ASCII:
        return raw.decode("latin-1").strip("\0 ")
    if kind not in _TYPES:
        return None
    dtype = np.dtype(_TYPES[kind]).newbyteorder(order)
    return tuple(np.frombuffer(raw, dtype, len(raw) // dtype.itemsize).tolist())


def number_of(tags: Tags, tag: int, default: float | None = None):
    """The first number of a tag, or the default where there is none."""
    value = tags.get(tag)
    return value[0] if isinstance(value, tuple) and value else default


def numbers_of(tags: Tags, tag: int, default: tuple = ()) -> tuple:
    """All numbers of a tag, or the default where there is none."""
    value = tags.get(tag)
    return value if isinstance(value, tuple) and value else default


def is_camera_raw(content: bytes, pages: list[Tags]) -> bool:
    """Whether it is a camera's RAW file: the first picture is a preview and the real one lies
    elsewhere, or is of a sensor and not of colours."""
    if content[8:11] == b"CR\x02" or content[8:16] in _PHASE_ONE:
        return True
    first = pages[0] if pages else {}
    if DNG_VERSION in first or number_of(first, PHOTOMETRIC) in _RAW_COLOURS:
        return True
    return SUB_IFDS in first and _is_reduced(first)


def choose_page(pages: list[Tags]) -> int:
    """The number of the picture that is meant: the first that is no thumbnail and no mask, or the
    first of all. Of pages of which none says what it is, one that is at least twice as large as the
    first, and of its shape, is taken for the picture of which the first is a thumbnail."""
    first = next((number for number, page in enumerate(pages) if _is_picture(page)), 0)
    larger = [
        number
        for number, page in enumerate(pages)
        if number > first and _is_picture(page) and is_enlarged(pages[first], page)
    ]
    return max(larger, key=lambda number: size_of(pages[number]), default=first)


def count_pictures(pages: list[Tags]) -> int:
    """How many pages are neither thumbnails nor masks."""
    chosen = pages[choose_page(pages)] if pages else {}
    return sum(_is_picture(page) and not is_enlarged(page, chosen) for page in pages)


def size_of(page: Tags) -> tuple[int, int]:
    """Width and height, 0 where the tag is missing."""
    return int(number_of(page, WIDTH, 0)), int(number_of(page, HEIGHT, 0))


def is_enlarged(small: Tags, large: Tags) -> bool:
    """Whether `large` has the shape of `small` and at least twice its sides."""
    (width, height), (wide, high) = size_of(small), size_of(large)
    if min(width, height) < 1 or wide < 2 * width or high < 2 * height:
        return False
    # the same shape, but for half a pixel that was rounded in the small one
    return abs(wide * height - high * width) <= max(wide, high) / 2 + min(wide, high) / 2


def _is_picture(page: Tags) -> bool:
    return not _is_reduced(page) and not int(number_of(page, SUBFILE_TYPE, 0)) & 4


def _is_reduced(page: Tags) -> bool:
    return bool(int(number_of(page, SUBFILE_TYPE, 0)) & 1) or (
        SUBFILE_TYPE not in page and number_of(page, OLD_SUBFILE_TYPE) == 2
    )


def packing_of(tags: Tags) -> str:
    """The compression, in words."""
    number = number_of(tags, COMPRESSION, NONE)
    return _PACKINGS.get(number, f"number {number}")


def describe_page(tags: Tags) -> str:
    """A message on a page that is not read: its samples, colours and compression, and what to
    do."""
    bits = numbers_of(tags, BITS, (1,))
    bands = number_of(tags, SAMPLES, 1)
    photometric = number_of(tags, PHOTOMETRIC)
    colour = _COLOURS.get(photometric, f"colours of kind {photometric}")
    kind = {2: "signed ", 3: "floating-point "}.get(number_of(tags, FORMAT), "")
    return (
        f"a TIFF of {bands} {'band' if bands == 1 else 'bands'} of {bits[0]}-bit {kind}samples, "
        f"{colour}, with compression {packing_of(tags)}, which is not read; save it as grey or RGB "
        "with LZW, Deflate or no compression"
    )
