"""PNG files: those of 16 bits, and those whose metadata is too large or damaged."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from transfer.decoding.bad_image import BadImageError
from transfer.decoding.frames import is_animated, load_first
from transfer.decoding.opened import ANIMATION, METADATA, WRONG_CHECKSUM, Opened, orientation_of
from transfer.decoding.pillow_file import identify
from transfer.decoding.samples import Samples

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UNPACKED = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # what Pillow unpacks, up to a size
_BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the kind of colour
_STEP = 2**20
_DECIDING = (b"IHDR", b"PLTE", b"IDAT", b"tRNS")  # without these the pixels are others


@dataclass(frozen=True)
class _Chunk:
    """name: four letters. whole: its bytes, with length, name and checksum."""

    name: bytes
    whole: bytes

    @property
    def data(self) -> bytes:
        return self.whole[8:-4]

    @property
    def is_sound(self) -> bool:
        return zlib.crc32(memoryview(self.whole)[4:-4]) == int.from_bytes(self.whole[-4:], "big")


def open_png(content: bytes) -> Opened:
    """A PNG, loaded; metadata that Pillow refuses is left out, since it decides no pixel.

    Raises:
        BadImageError: damaged, or as iPhone apps have it.
    """
    damaged = {chunk.name for chunk in _chunks(content) if not chunk.is_sound}
    if found := next((name for name in _DECIDING if name in damaged), None):
        raise BadImageError(
            f"damaged or truncated: the checksum of a PNG's {found.decode()} is wrong"
        )
    if content[12:16] == b"CgBI":
        raise BadImageError(
            "a PNG of an iPhone app (CgBI), whose pixels other programs do not read; convert it "
            "with pngcrush -revert-iphone-optimizations"
        )
    if damaged:
        content = _without(content, damaged)
    try:
        opened = _load(content)
    except ValueError as error:
        if "ecompressed data too large" not in str(error) and "text chunks" not in str(error):
            raise
        opened = _load(_without(content, _UNPACKED))
        opened = replace(opened, remarks=(METADATA, *opened.remarks))
    if damaged:
        opened = replace(opened, remarks=(WRONG_CHECKSUM, *opened.remarks))
    return opened


def _without(content: bytes, names: tuple[bytes, ...] | set[bytes]) -> bytes:
    kept = (chunk.whole for chunk in _chunks(content) if chunk.name not in names)
    return b"".join([content[:8], *kept])


def _load(content: bytes) -> Opened:
    image = identify(content)
    remarks = (ANIMATION,) if is_animated(image, content) else ()
    if samples := _read_deep(image, content):
        _check_rows(samples.values, content)
        return Opened(
            samples=samples,
            orientation=orientation_of(image),
            remarks=remarks,
            info=dict(image.info),
        )
    bits, key = content[24], image.info.get("transparency")
    if image.mode == "L" and bits in (2, 4) and isinstance(key, int):
        image.info["transparency"] = key * 255 // (2**bits - 1)  # Pillow scales the pixels alone
    image.load()
    _check_rows(np.asarray(image), content)
    return load_first(image, content)


def _check_rows(pixels: np.ndarray, content: bytes) -> None:
    """Raise BadImageError for a PNG whose compressed pixels end at a row before the last. Pillow
    leaves zeros there, so only images that end in zeros are unpacked once more, to be counted."""
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    if interlaced or pixels[-1].any():
        return
    needed = height * (1 + -(-width * bits * _BANDS.get(colour, 1) // 8))
    packed = b"".join(chunk.data for chunk in _chunks(content) if chunk.name == b"IDAT")
    unpacker, count = zlib.decompressobj(), 0
    while packed and count < needed:
        count += len(unpacker.decompress(packed, _STEP))
        packed = unpacker.unconsumed_tail
    if count < needed:
        raise BadImageError("damaged or truncated: a PNG with fewer rows than its header says")


def _read_deep(image: Image.Image, content: bytes) -> Samples | None:
    """The samples of a PNG with 16 bits, from Pillow's image that is not loaded yet; None of any
    other."""
    bits, colour = content[24], content[25]
    if bits != 16 or not image.tile:
        return None
    declared = _significant_bits(content)
    transparent = image.info.get("transparency")
    if colour == 0:
        image.load()
        values = np.asarray(image)[..., None]
        alpha = None
    elif colour == 4:  # Pillow has no 16-bit grey with alpha: its four bytes are taken as they are
        four = _reopened(content, "RGBA", "RGBA").astype(np.uint16)
        values = (four[..., :1] << 8) | four[..., 1:2]
        alpha = (four[..., 2] << 8) | four[..., 3]
    else:
        mode = "RGB" if colour == 2 else "RGBA"
        high, low = (_reopened(content, mode, f"{mode};16{end}") for end in "BL")
        joined = (high.astype(np.uint16) << 8) | low
        values, alpha = joined[..., :3], joined[..., 3] if colour == 6 else None
    if transparent is not None and colour in (0, 2):
        same = (values == np.array(transparent, np.uint32)).all(axis=-1)
        alpha = np.where(same, 0, 0xFFFF)
    return Samples(
        values,
        "unsigned",
        declared=declared,
        alpha=None if alpha is None else alpha / np.float32(0xFFFF),
    )


def _reopened(content: bytes, mode: str, rawmode: str) -> np.ndarray:
    """A PNG unpacked as Pillow's `rawmode`."""
    image = Image.open(io.BytesIO(content), formats=("PNG",))
    image._mode = mode  # noqa: SLF001, which decides what the rawmode is unpacked into
    image.tile = [tile._replace(args=rawmode) for tile in image.tile]
    image.info.pop("transparency", None)
    image.load()
    return np.asarray(image)


def _significant_bits(content: bytes) -> tuple[float, float] | None:
    for chunk in _chunks(content):
        if chunk.name == b"sBIT" and chunk.data:
            bits = chunk.data[0]
            return (0, 2**bits - 1) if 0 < bits < 16 else (0, 0xFFFF)
        if chunk.name == b"IDAT":
            break
    return None


def _chunks(content: bytes) -> Iterator[_Chunk]:
    """The chunks of a PNG, as far as they are whole."""
    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if at + 12 + length > len(content):
            return
        yield _Chunk(content[at + 4 : at + 8], content[at : at + 12 + length])
        at += 12 + length
        if content[at - length - 8 : at - length - 4] == b"IEND":
            return
