"""PNGs that Pillow does not write: any chunks, and checksums that are wrong."""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk with its length and its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(values: np.ndarray, bits: int, *before: bytes, behind: bytes = b"") -> bytes:
    """A PNG of samples (H, W, bands), of 1, 2, 3 or 4 bands, with these chunks before and behind
    its pixels."""
    height, width, bands = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    if bits < 8:
        places = (values.reshape(height, -1)[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        lines = np.packbits(places.astype(np.uint8).reshape(height, -1), axis=1)
    else:
        lines = np.ascontiguousarray(values.astype(f">u{bits // 8}").reshape(height, -1))
    packed = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", packed)
    return b"".join([SIGNATURE, header, *before, pixels, behind, chunk(b"IEND", b"")])
