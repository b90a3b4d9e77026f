"""Sample values of images that have more than 8 bits, as arrays: what Pillow would cut to 8 bits,
or not open."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, TiffImagePlugin

from transfer.sources.bad_image import BadImageError
from transfer.sources.value_ranges import Kind, PixelRules, ValueRange

MAX_SAMPLE_BYTES = 600_000_000  # of one image; 100 million pixels of three 16-bit samples
# TIFF tags
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _MIN, _MAX, _PLANAR = (
    273,
    277,
    278,
    279,
    280,
    281,
    284,
)
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 317, 322, 323, 324, 325
_EXTRA, _FORMAT, _SMIN, _SMAX, _NODATA = 338, 339, 340, 341, 42113
_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS, _LZMA, _ZSTD = 1, 5, 8, 32946, 32773, 34925, 50000
_BY_LIBTIFF = {_LZW, _PACKBITS, _LZMA, _ZSTD}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSIGNED, _SIGNED, _FLOAT, _VOID = 1, 2, 3, 4
_KINDS: dict[int, Kind] = {
    _UNSIGNED: "unsigned",
    _SIGNED: "signed",
    _FLOAT: "float",
    _VOID: "unsigned",
}
_UNSPECIFIED = 0


@dataclass(frozen=True)
class Samples:
    """An image before it is scaled to 8 bits.

    values: (H, W, 1) grey or (H, W, 3) RGB, in the file's own numbers.
    alpha: (H, W) from 0 to 1, or None; valid: (H, W) where there is data, or None for everywhere.
    fixed: the (black, white) that the format itself fixes, so that no rule is needed, or None.
    declared: the (black, white) that the file names besides, or None.
    """

    values: np.ndarray
    kind: Kind
    fixed: tuple[float, float] | None = None
    declared: tuple[float, float] | None = None
    white_is_zero: bool = False
    alpha: np.ndarray | None = None
    valid: np.ndarray | None = None
    remarks: tuple[str, ...] = ()

    def value_range(self) -> ValueRange:
        """The smallest and the largest value, where there is data.

        Raises:
            BadImageError: no value at all, or one that is no number.
        """
        values = self.values if self.valid is None else self.values[self.valid]
        if not values.size:
            raise BadImageError("every pixel is marked as having no data")
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise BadImageError("floating-point pixels that are not numbers (NaN or infinite)")
        return ValueRange(self.kind, low, high, self.declared)

    def scaled(self, black: float, white: float) -> np.ndarray:
        """8-bit grey or RGB: black becomes 0, white 255, what is beyond is cut. uint8 (H, W, 1 or
        3)."""
        factor = 255 / (white - black)
        pixels = np.empty(self.values.shape, np.uint8)
        for top in range(0, len(pixels), 256):  # in bands, so that no large array of floats is made
            band = (self.values[top : top + 256].astype(np.float64) - black) * factor
            pixels[top : top + 256] = np.round(np.clip(band, 0, 255))
        return 255 - pixels if self.white_is_zero else pixels


def black_and_white(samples: Samples, rules: PixelRules) -> tuple[float, float]:
    """The values that become 0 and 255: fixed by the format, by the data set's rule, or declared.

    Raises:
        BadImageError: nothing says it.
    """
    if samples.fixed:
        return samples.fixed
    if samples.kind in rules.ranges:
        return rules.ranges[samples.kind]
    found = samples.value_range()
    if found.declared and found.high <= found.declared[1]:
        return found.declared
    if samples.kind != "float" and found.low >= 0:
        if found.high > 0xFFFF:
            raise BadImageError(
                "32-bit grey pixels beyond 16 bits, whose range is unknown; save it with 8 or 16 "
                "bits"
            )
        return 0, 0xFFFF
    name = "floating-point" if samples.kind == "float" else "signed integer"
    raise BadImageError(
        f"{name} pixels, whose range is unknown: the training images have none and the file "
        "declares none; save it with 8 or 16 bits"
    )


# PNG


def read_deep_png(image: Image.Image, content: bytes) -> Samples | None:
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
    for name, start, length in png_chunks(content):
        if name == b"sBIT" and length:
            bits = content[start + 8]
            return (0, 2**bits - 1) if 0 < bits < 16 else (0, 0xFFFF)
        if name == b"IDAT":
            break
    return None


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of the data of each chunk of a PNG, as far as they are whole."""
    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if at + 12 + length > len(content):
            return
        yield content[at + 4 : at + 8], at, length
        at += 12 + length


# Portable grey and pixel maps


def read_deep_pnm(image: Image.Image, content: bytes) -> Samples | None:
    """The samples of a binary PGM or PPM whose maximum is not 255; None of any other."""
    kind = content[:2]
    if kind not in (b"P5", b"P6") or not image.tile:
        return None
    header = re.match(
        rb"P[56](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)", content
    )
    most = int(header[1]) if header else 255
    if most == 255:
        return None
    bands, dtype = (1 if kind == b"P5" else 3), np.dtype("u1" if most < 256 else ">u2")
    width, height = image.size
    start, length = image.tile[0].offset, width * height * bands * dtype.itemsize
    if len(content) < start + length:
        raise BadImageError("damaged or truncated: fewer pixels than its header says")
    values = np.frombuffer(content, dtype, width * height * bands, start)
    return Samples(values.reshape(height, width, bands), "unsigned", fixed=(0, most))


# TIFF


def read_tags(content: bytes) -> tuple[dict, bool] | None:
    """The first directory of a TIFF, and whether another follows; None where it cannot be read."""
    try:
        header = content[: 16 if content[2:3] == b"\x2b" or content[3:4] == b"\x2b" else 8]
        directory = TiffImagePlugin.ImageFileDirectory_v2(header)
        file = io.BytesIO(content)
        file.seek(directory.next)
        directory.load(file)
        return dict(directory), bool(directory.next)
    except Exception:  # whatever its parser raises, Pillow says what is wrong with the file
        return None


def is_deep_tiff(tags: dict) -> bool:
    """Whether a TIFF has samples that Pillow would cut, refuse or take for alpha: other than 8 bits
    unsigned, or bands beyond colour that nothing describes."""
    if tags.get(_PHOTOMETRIC) not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return False
    bits, formats = _all(tags.get(_BITS, 1)), _all(tags.get(_FORMAT, _UNSIGNED))
    if any(each not in (1, 2, 4, 8) for each in bits) or set(formats) - {_UNSIGNED, _VOID}:
        return True
    base = 3 if tags[_PHOTOMETRIC] == _RGB else 1
    return bits[0] == 8 and tags.get(_SAMPLES, 1) not in (base, base + 1)


def _all(value: object) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _one(value: object) -> object:
    """The value of a tag, of its first sample where it has one for each."""
    return _all(value)[0] if value is not None and _all(value) else None


def read_deep_tiff(content: bytes, tags: dict, *, tiff_alpha: bool) -> Samples:
    """The samples of such a TIFF.

    Raises:
        BadImageError: damaged, packed in a way that is not read, or bands of unknown meaning.
    """
    layout = _layout(content, tags)
    photometric, count = tags[_PHOTOMETRIC], layout.samples
    remarks = []
    base = 3 if photometric == _RGB else 1
    extra = _all(tags.get(_EXTRA, ()))
    if base == 1 and count in (3, 4) and set(extra) <= {_UNSPECIFIED}:
        base, extra = 3, extra[2:]  # what GDAL writes of three bands
        remarks.append("three bands without a meaning in a TIFF: read as red, green, blue")
    if count > base + 1 or count < base:
        raise BadImageError(
            f"{count} bands, of which nothing says which are red, green and blue; save it with "
            "these three"
        )
    bands = _read_bands(content, layout)
    values, alpha = bands[..., :base], None
    if count > base:
        if extra and extra[0] in (1, 2) and tiff_alpha:
            full = 1.0 if layout.kind == "float" else float(2**layout.bits - 1)
            alpha = np.clip(bands[..., base].astype(np.float32) / full, 0, 1)
        else:
            remarks.append("a band beyond colour in a TIFF: left out")
    valid, nodata = None, _number(tags.get(_NODATA))
    if nodata is not None or layout.kind == "float":
        empty = (
            np.isnan(values).all(axis=-1)
            if layout.kind == "float"
            else np.zeros(values.shape[:2], bool)
        )
        if nodata is not None:
            empty |= (values == nodata).all(axis=-1)
        valid = ~empty if empty.any() else None
    return Samples(
        values,
        layout.kind,
        fixed=_fixed(layout),
        declared=_declared(tags, layout),
        white_is_zero=photometric == _WHITE_IS_ZERO,
        alpha=alpha,
        valid=valid,
        remarks=tuple(remarks),
    )


def _fixed(layout: "_TiffLayout") -> tuple[float, float] | None:
    if layout.kind == "unsigned" and layout.bits not in (16, 32, 64):
        return 0, 2**layout.bits - 1
    return None


def _declared(tags: dict, layout: "_TiffLayout") -> tuple[float, float] | None:
    low = _one(tags.get(_SMIN, tags.get(_MIN)))
    high = _one(tags.get(_SMAX, tags.get(_MAX)))
    if not isinstance(high, int | float) or (low is not None and not isinstance(low, int | float)):
        return None
    if low is None:
        low = 0
    return (float(low), float(high)) if np.isfinite([low, high]).all() and low < high else None


def _number(text: object) -> float | None:
    try:
        return float(str(text).strip("\0 ")) if text is not None else None
    except ValueError:
        return None


@dataclass(frozen=True)
class _TiffLayout:
    """Where the samples of a TIFF lie. A block is a strip or a tile."""

    width: int
    height: int
    samples: int
    bits: int
    kind: Kind
    order: str
    planar: bool
    compression: int
    predictor: int
    block_width: int
    block_height: int
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    is_tiled: bool


def _layout(content: bytes, tags: dict) -> _TiffLayout:
    try:
        width, height, samples = (int(tags[_WIDTH]), int(tags[_HEIGHT]), int(tags.get(_SAMPLES, 1)))
        bits, formats = _all(tags.get(_BITS, 1)), _all(tags.get(_FORMAT, _UNSIGNED))
        tiled = _TILES in tags
        block_width = int(tags[_TILE_WIDTH]) if tiled else width
        rows = int(tags[_TILE_HEIGHT]) if tiled else int(tags.get(_STRIP_ROWS, height))
        block_height = rows if tiled else min(rows, height)
        offsets = _all(tags[_TILES if tiled else _STRIPS])
        lengths = _all(tags.get(_TILE_BYTES if tiled else _STRIP_BYTES, len(content)))
    except (KeyError, TypeError, ValueError):
        raise BadImageError("damaged or truncated: a TIFF without the tags that it needs") from None
    if len(set(bits)) != 1 or len(set(formats)) != 1 or formats[0] not in _KINDS:
        raise BadImageError(
            "a TIFF whose bands are of different or complex numbers; save it as RGB"
        )
    kind = _KINDS[formats[0]]
    if (kind != "unsigned" and bits[0] not in (8, 16, 32, 64)) or not 1 <= bits[0] <= 64:
        raise BadImageError(f"{bits[0]}-bit {kind} samples; save it with 8 or 16 bits")
    if kind == "unsigned" and bits[0] > 16 and bits[0] not in (32, 64):
        raise BadImageError(f"{bits[0]}-bit samples; save it with 8 or 16 bits")
    if tags.get(_FILL_ORDER, 1) != 1:
        raise BadImageError("a TIFF whose bits run backwards (FillOrder 2); save it anew")
    if min(width, height, samples, block_width, block_height) < 1:
        raise BadImageError("damaged or truncated: a TIFF without pixels")
    return _TiffLayout(
        width,
        height,
        samples,
        bits[0],
        kind,
        ">" if content[:2] == b"MM" else "<",
        tags.get(_PLANAR, 1) == 2,
        int(tags.get(_COMPRESSION, _NONE)),
        int(tags.get(_PREDICTOR, 1)),
        block_width,
        block_height,
        offsets,
        lengths,
        tiled,
    )


def _read_bands(content: bytes, layout: _TiffLayout) -> np.ndarray:
    """All bands: (H, W, samples)."""
    itemsize = max(1, -(-layout.bits // 8))
    itemsize = next(size for size in (1, 2, 4, 8) if size >= itemsize)
    for width, height in (
        (layout.width, layout.height),
        (layout.block_width, layout.block_height),
    ):
        if width * height * layout.samples * itemsize > MAX_SAMPLE_BYTES:
            raise BadImageError(
                f"{width} x {height} pixels of {layout.samples * layout.bits} bits, more than the "
                f"{MAX_SAMPLE_BYTES:,} bytes that are allowed"
            )
    across = -(-layout.width // layout.block_width)
    down = -(-layout.height // layout.block_height)
    planes = layout.samples if layout.planar else 1
    if min(len(layout.offsets), len(layout.lengths)) < across * down * planes:
        raise BadImageError("damaged or truncated: fewer strips or tiles than the image needs")
    in_block = 1 if layout.planar else layout.samples
    bands = np.zeros(
        (layout.height, layout.width, layout.samples), _dtype(layout).newbyteorder("=")
    )
    for number in range(across * down * planes):
        plane, place = divmod(number, across * down)
        top, left = place // across * layout.block_height, place % across * layout.block_width
        rows = layout.block_height
        if not layout.is_tiled:
            rows = min(rows, layout.height - top)
        start, length = layout.offsets[number], layout.lengths[number]
        packed = content[start : start + length]
        block = _unpack_block(packed, layout, rows, in_block)
        block = block[: layout.height - top, : layout.width - left]
        target = bands[top : top + rows, left : left + layout.block_width]
        if layout.planar:
            target[..., plane] = block[..., 0]
        else:
            target[:] = block
    return bands


def _dtype(layout: _TiffLayout) -> np.dtype:
    size = next(size for size in (1, 2, 4, 8) if 8 * size >= layout.bits)
    return np.dtype(
        f"{layout.order}{ {'unsigned': 'u', 'signed': 'i', 'float': 'f'}[layout.kind] }{size}"
    )


def _unpack_block(packed: bytes, layout: _TiffLayout, rows: int, bands: int) -> np.ndarray:
    """A strip or a tile: (rows, block_width, bands)."""
    row_bytes = (layout.block_width * bands * layout.bits + 7) // 8
    raw = _decompress(packed, layout.compression, rows, row_bytes)
    if len(raw) < rows * row_bytes:
        raise BadImageError("damaged or truncated: a strip or tile of the TIFF is cut off")
    lines = np.frombuffer(raw, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
    shape, dtype = (rows, layout.block_width, bands), _dtype(layout)
    if layout.bits % 8 or layout.bits == 24:
        return _unpack_bits(lines, layout.bits, layout.block_width * bands).reshape(shape)
    if layout.predictor == 3:
        return _undo_float_predictor(lines, shape, dtype)
    if layout.kind == "float" and dtype.itemsize == 1:
        raise BadImageError("8-bit floating-point samples; save it with 8 or 16 bits")
    values = np.ascontiguousarray(lines).view(dtype).reshape(shape)
    if layout.predictor == 2:
        unsigned = values.astype(dtype.newbyteorder("=")).view(f"u{dtype.itemsize}")
        summed = np.cumsum(unsigned, axis=1, dtype=unsigned.dtype)
        return summed.view(dtype.newbyteorder("="))
    if layout.predictor != 1:
        raise BadImageError(
            f"a TIFF with predictor {layout.predictor}, which is not read; save it anew"
        )
    return values


def _unpack_bits(lines: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Samples of so many bits, the highest first, each line beginning at a byte."""
    out = np.empty((len(lines), count), np.uint16)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint32)
    for row, line in enumerate(lines):
        out[row] = np.unpackbits(line)[: count * bits].reshape(count, bits) @ weights
    return out


def _undo_float_predictor(
    lines: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype
) -> np.ndarray:
    rows, width, bands = shape
    bytes_ = lines.reshape(rows, width * dtype.itemsize, bands)
    summed = np.cumsum(bytes_, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, width * bands)
    big_endian = np.ascontiguousarray(summed.swapaxes(1, 2))
    return big_endian.view(dtype.newbyteorder(">")).reshape(shape).astype(dtype.newbyteorder("="))


def _decompress(packed: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    if compression == _NONE:
        return packed
    if compression in (_DEFLATE, _OLD_DEFLATE):
        try:
            return zlib.decompressobj().decompress(packed, rows * row_bytes)
        except zlib.error as error:
            raise BadImageError(f"damaged or truncated: {error}") from None
    if compression in _BY_LIBTIFF:
        return np.asarray(_open_as_bytes(packed, compression, rows, row_bytes)).tobytes()
    raise BadImageError(
        f"a TIFF of more than 8 bits with compression {compression}, which is not read; save it "
        "with LZW, Deflate or none"
    )


def _open_as_bytes(packed: bytes, compression: int, rows: int, row_bytes: int) -> Image.Image:
    """A block's bytes as an 8-bit grey TIFF of their own, which libtiff unpacks."""
    entries = [
        (_WIDTH, row_bytes),
        (_HEIGHT, rows),
        (_BITS, 8),
        (_COMPRESSION, compression),
        (_PHOTOMETRIC, _BLACK_IS_ZERO),
        (_STRIPS, 0),
        (_SAMPLES, 1),
        (_STRIP_ROWS, rows),
        (_STRIP_BYTES, len(packed)),
    ]
    start = 8 + 2 + 12 * len(entries) + 4
    body = b"".join(
        struct.pack("<HHII", tag, 4, 1, start if tag == _STRIPS else value)
        for tag, value in entries
    )
    content = b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4) + packed
    image = Image.open(io.BytesIO(content), formats=("TIFF",))
    image.load()
    return image
