"""Samples of TIFFs that Pillow would cut, refuse or take for alpha, read block by block."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from transfer.decoding import tiff_tags
from transfer.decoding.bad_image import BadImageError
from transfer.decoding.samples import EVERYTHING_EMPTY, MAX_SAMPLE_BYTES
from transfer.decoding.tiff_tags import Tags, number_of, numbers_of
from transfer.decoding.value_ranges import Kind

_KINDS: dict[int, Kind] = {1: "unsigned", 2: "signed", 3: "float", 4: "unsigned"}
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_BY_LIBTIFF = {tiff_tags.LZW, tiff_tags.PACKBITS, tiff_tags.LZMA, tiff_tags.ZSTD}
UNPACKED = _BY_LIBTIFF | {tiff_tags.NONE, tiff_tags.DEFLATE, tiff_tags.OLD_DEFLATE}
# The others have no predictor, whatever the tag says.
_WITH_PREDICTOR = UNPACKED - {tiff_tags.NONE, tiff_tags.PACKBITS}


@dataclass(frozen=True)
class TiffLayout:
    """Where the samples of a TIFF lie. A block is a strip or a tile.

    order: of bytes, < or >. is_planar: each band has blocks of its own. is_reversed: the lowest bit
    of each byte comes first.
    """

    width: int
    height: int
    samples: int
    bits: int
    kind: Kind
    order: str
    is_planar: bool
    is_reversed: bool
    compression: int
    predictor: int
    is_tiled: bool
    block_width: int
    block_height: int
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """Of a sample in the file; of bits that fill no type, the next larger one."""
        size = next(size for size in (1, 2, 4, 8) if 8 * size >= self.bits)
        code = {"unsigned": "u", "signed": "i", "float": "f"}[self.kind]
        return np.dtype(f"{self.order}{code}{size}")


def read_layout(content: bytes, tags: Tags) -> TiffLayout:
    """The layout of a page.

    Raises:
        BadImageError: damaged, or packed in a way that is not read.
    """
    bits, kind = _read_sample_type(tags)
    compression = int(number_of(tags, tiff_tags.COMPRESSION, tiff_tags.NONE))
    if compression not in UNPACKED:
        raise BadImageError(tiff_tags.describe_page(tags))
    is_tiled = tiff_tags.TILES in tags
    try:
        width = int(number_of(tags, tiff_tags.WIDTH))
        height = int(number_of(tags, tiff_tags.HEIGHT))
        if is_tiled:
            block_width = int(number_of(tags, tiff_tags.TILE_WIDTH))
            block_height = int(number_of(tags, tiff_tags.TILE_HEIGHT))
        else:
            block_width = width
            block_height = min(int(number_of(tags, tiff_tags.STRIP_ROWS, height)), height)
        layout = TiffLayout(
            width=width,
            height=height,
            samples=int(number_of(tags, tiff_tags.SAMPLES, 1)),
            bits=bits,
            kind=kind,
            order="<" if content[:2] == b"II" else ">",
            is_planar=number_of(tags, tiff_tags.PLANAR, 1) == 2,
            is_reversed=number_of(tags, tiff_tags.FILL_ORDER, 1) == 2,
            compression=compression,
            predictor=(
                int(number_of(tags, tiff_tags.PREDICTOR, 1))
                if compression in _WITH_PREDICTOR
                else 1
            ),
            is_tiled=is_tiled,
            block_width=block_width,
            block_height=block_height,
            offsets=tags[tiff_tags.TILES if is_tiled else tiff_tags.STRIPS],
            lengths=tags.get(
                tiff_tags.TILE_BYTES if is_tiled else tiff_tags.STRIP_BYTES, (len(content),)
            ),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BadImageError("damaged or truncated: a TIFF without the tags that it needs") from None
    if min(width, height, layout.samples, block_width, block_height) < 1:
        raise BadImageError("damaged or truncated: a TIFF without pixels")
    return layout


def _read_sample_type(tags: Tags) -> tuple[int, Kind]:
    """Bits and kind of all samples of a page."""
    bits = numbers_of(tags, tiff_tags.BITS, (1,))
    formats = numbers_of(tags, tiff_tags.FORMAT, (1,))
    if len({*bits}) != 1 or len({*formats}) != 1 or formats[0] not in _KINDS:
        raise BadImageError(
            "a TIFF whose bands are of different or complex numbers; save it as RGB"
        )
    kind = _KINDS[formats[0]]
    if kind == "unsigned":
        is_read = 1 <= bits[0] <= 16 or bits[0] in (32, 64)
    else:
        is_read = bits[0] in ((16, 32, 64) if kind == "float" else (8, 16, 32, 64))
    if not is_read:
        raise BadImageError(f"{bits[0]}-bit {kind} samples; save it with 8 or 16 bits")
    return bits[0], kind


def read_bands(content: bytes, layout: TiffLayout, step: int = 1) -> np.ndarray:
    """All bands, in their own type: (H, W, samples), or of each `step` rows and columns the first.

    Raises:
        BadImageError: too many bytes, damaged, or packed in a way that is not read.
    """
    shape = (-(-layout.height // step), -(-layout.width // step), layout.samples)
    sizes = [shape[:2]]
    if layout.compression != tiff_tags.NONE:  # otherwise no block is larger than the file
        sizes.append((layout.block_height, layout.block_width))
    for height, width in sizes:
        if width * height * layout.samples * layout.dtype.itemsize > MAX_SAMPLE_BYTES:
            raise BadImageError(
                f"{width} x {height} pixels of {layout.samples * layout.bits} bits, more than the "
                f"{MAX_SAMPLE_BYTES:,} bytes that are allowed"
            )
    across = -(-layout.width // layout.block_width)
    down = -(-layout.height // layout.block_height)
    planes = layout.samples if layout.is_planar else 1
    if min(len(layout.offsets), len(layout.lengths)) < across * down * planes:
        raise BadImageError("damaged or truncated: fewer strips or tiles than the image needs")
    if not any(layout.lengths):
        raise BadImageError(EVERYTHING_EMPTY)
    in_block = 1 if layout.is_planar else layout.samples
    bands = np.zeros(shape, layout.dtype.newbyteorder("="))
    for number in range(across * down * planes):
        plane, place = divmod(number, across * down)
        top, left = place // across * layout.block_height, place % across * layout.block_width
        rows = layout.block_height
        if not layout.is_tiled:
            rows = min(rows, layout.height - top)
        start, length = layout.offsets[number], layout.lengths[number]
        if length == 0:  # GDAL writes no block of zeros alone into a sparse file
            continue
        packed = content[start : start + length]
        if layout.is_reversed:
            packed = packed.translate(_REVERSED)
        block = _unpack_block(packed, layout, rows, in_block)
        block = block[: layout.height - top, : layout.width - left][-top % step :, -left % step :]
        block = block[::step, ::step]
        row, column = -(-top // step), -(-left // step)
        target = bands[row : row + block.shape[0], column : column + block.shape[1]]
        if layout.is_planar:
            target[..., plane] = block[..., 0]
        else:
            target[:] = block
    return bands


def _unpack_block(packed: bytes, layout: TiffLayout, rows: int, bands: int) -> np.ndarray:
    """A strip or a tile: (rows, block_width, bands)."""
    row_bytes = (layout.block_width * bands * layout.bits + 7) // 8
    raw = _decompress(packed, layout.compression, rows, row_bytes)
    if len(raw) < rows * row_bytes:
        raise BadImageError("damaged or truncated: a strip or tile of the TIFF is cut off")
    lines = np.frombuffer(raw, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
    shape, dtype = (rows, layout.block_width, bands), layout.dtype
    if layout.bits % 8:
        return _unpack_bits(lines, layout.bits, layout.block_width * bands).reshape(shape)
    if layout.predictor == 3:
        return _undo_float_predictor(lines, shape, dtype)
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
    if compression == tiff_tags.NONE:
        return packed
    if compression in _BY_LIBTIFF:
        return np.asarray(_open_as_bytes(packed, compression, rows, row_bytes)).tobytes()
    try:
        return zlib.decompressobj().decompress(packed, rows * row_bytes)
    except zlib.error as error:
        raise BadImageError(f"damaged or truncated: {error}") from None


def _open_as_bytes(packed: bytes, compression: int, rows: int, row_bytes: int) -> Image.Image:
    """A block's bytes as an 8-bit grey TIFF of their own, which libtiff unpacks."""
    entries = [
        (tiff_tags.WIDTH, row_bytes),
        (tiff_tags.HEIGHT, rows),
        (tiff_tags.BITS, 8),
        (tiff_tags.COMPRESSION, compression),
        (tiff_tags.PHOTOMETRIC, tiff_tags.BLACK_IS_ZERO),
        (tiff_tags.STRIPS, 0),
        (tiff_tags.SAMPLES, 1),
        (tiff_tags.STRIP_ROWS, rows),
        (tiff_tags.STRIP_BYTES, len(packed)),
    ]
    start = 8 + 2 + 12 * len(entries) + 4
    body = b"".join(
        struct.pack("<HHII", tag, 4, 1, start if tag == tiff_tags.STRIPS else value)
        for tag, value in entries
    )
    content = b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4) + packed
    image = Image.open(io.BytesIO(content), formats=("TIFF",))
    image.load()
    return image
