"""TIFFs that Pillow does not write: any number of bits, any bands, any tags."""

import struct

import numpy as np


def tiff(
    values: np.ndarray,
    bits: int,
    photometric: int = 1,
    tags: dict | None = None,
    order: str = "<",
    *,
    big: bool = False,
    planes: bool = False,
) -> bytes:
    """A TIFF of one strip, uncompressed, or of one strip a band.

    Args:
        values: (H, W, bands). bits: of a sample. photometric: 1 for grey, 2 for RGB.
        tags: more of them, a tuple of numbers each; of strings, ASCII; bytes as they are.
        order: < for little-endian, > for big-endian. big: a BigTIFF.
        planes: whether one band lies behind the other; of a small TIFF.
    """
    word, room = ("Q", 8) if big else ("I", 4)
    height, width, bands = values.shape
    if planes:
        data = _pack(np.moveaxis(values, -1, 0).reshape(-1, width, 1), bits, order)
    else:
        data = _pack(values, bits, order)
    strips = bands if planes else 1
    entries = {
        256: (width,),
        257: (height,),
        258: (bits,) * bands,
        259: (1,),
        262: (photometric,),
        273: (0,),
        277: (bands,),
        278: (height,),
        279: (len(data) // strips,) * strips,
        284: (2 if planes else 1,),
        339: ({"u": 1, "i": 2, "f": 3}[values.dtype.kind],) * bands,
    }
    entries |= tags or {}
    start = 16 + 8 + 20 * len(entries) + 8 if big else 8 + 2 + 12 * len(entries) + 4
    more = b""
    place = {}
    for tag, value in sorted(entries.items()):
        if isinstance(value, str):
            raw, kind, count = value.encode() + b"\0", 2, len(value) + 1
        elif isinstance(value, bytes):
            raw, kind, count = value, 7, len(value)
        elif tag in (273, 279) or any(number > 65535 for number in value):
            raw, kind, count = struct.pack(f"{order}{len(value)}I", *value), 4, len(value)
        elif any(number < 0 or number != int(number) for number in value):
            raw, kind, count = struct.pack(f"{order}{len(value)}f", *value), 11, len(value)
        else:
            raw, kind, count = struct.pack(f"{order}{len(value)}H", *value), 3, len(value)
        if len(raw) > room:
            place[tag] = (kind, count, struct.pack(order + word, start + len(more)))
            more += raw
        else:
            place[tag] = (kind, count, raw.ljust(room, b"\0"))
    if planes:
        first = start + len(more) + 4 * strips
        offsets = [first + number * len(data) // strips for number in range(strips)]
        place[273] = (4, strips, struct.pack(order + word, start + len(more)))
        more += struct.pack(f"{order}{strips}I", *offsets)
    else:
        place[273] = (16 if big else 4, 1, struct.pack(order + word, start + len(more)))
    body = b"".join(
        struct.pack(f"{order}HH{word}", tag, kind, count) + raw
        for tag, (kind, count, raw) in sorted(place.items())
    )
    header = b"II" if order == "<" else b"MM"
    if big:
        header += struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, len(entries))
    else:
        header += struct.pack(f"{order}HIH", 42, 8, len(entries))
    return header + body + bytes(room) + more + data


def _pack(values: np.ndarray, bits: int, order: str) -> bytes:
    if bits % 8 == 0:
        return values.astype(values.dtype.newbyteorder(order)).tobytes()
    places = (values.reshape(len(values), -1)[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(places.astype(np.uint8).reshape(len(values), -1), axis=1).tobytes()
