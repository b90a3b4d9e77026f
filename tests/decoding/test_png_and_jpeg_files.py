"""PNGs and JPEGs as programs and broken transfers leave them."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.helpers.pngs import chunk, png
from tests.helpers.tiny_sources import encode, picture
from transfer.decoding.opened import FLATTENED, METADATA, NO_END, WRONG_CHECKSUM
from transfer.decoding.rgb import BadImageError, examine, read_rgb

WHITE = (255, 255, 255)
PICTURE = np.asarray(picture(0))
PHOTO = picture(0, 5, 5).resize((96, 96), Image.Resampling.BICUBIC)


def refusal(content: bytes) -> str:
    with pytest.raises(BadImageError) as error:
        read_rgb(content)
    return str(error.value)


def with_wrong_checksum(content: bytes, name: bytes) -> bytes:
    start = content.index(name) - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    return content[: end - 1] + bytes([content[end - 1] ^ 1]) + content[end:]


# PNG


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"tEXt", b"Comment\0made by a camera"),
        (b"pHYs", struct.pack(">IIB", 1, 1, 1)),
        (b"tIME", b"\x07\xe0\1\1\1\1\1"),
        (b"iCCP", b"a\0\0damaged"),
    ],
)
@pytest.mark.parametrize("is_behind", [False, True])
def test_metadata_with_a_wrong_checksum_is_left_unread(name, data, is_behind):
    odd = chunk(name, data)
    content = png(PICTURE, 8, behind=odd) if is_behind else png(PICTURE, 8, odd)
    found = examine(with_wrong_checksum(content, name), WHITE)
    assert (np.asarray(found.image) == PICTURE).all()
    assert found.remarks == (WRONG_CHECKSUM,)


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT", b"tRNS"])
def test_a_wrong_checksum_of_what_decides_pixels_is_refused(name):
    content = png(PICTURE, 8, chunk(b"tRNS", bytes(6)))
    words = refusal(with_wrong_checksum(content, name))
    assert words == f"damaged or truncated: the checksum of a PNG's {name.decode()} is wrong"


def test_a_png_whose_last_pixels_are_zeros_of_a_broken_transfer_is_refused():
    content = png(np.asarray(picture(0, 60, 60)), 8)
    words = refusal(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    assert words.startswith("damaged or truncated: ")


@pytest.mark.parametrize(("bits", "bands"), [(1, 1), (8, 1), (8, 3), (8, 4), (16, 1), (16, 3)])
def test_a_png_that_ends_at_a_row_before_its_last_is_refused(bits, bands):
    values = np.random.default_rng(0).integers(1, 2**bits, (8, 12, bands))
    whole = png(values, bits)
    assert read_rgb(whole).size == (12, 8)
    at = whole.index(b"IDAT")
    length = int.from_bytes(whole[at - 4 : at], "big")
    rows = zlib.decompress(whole[at + 4 : at + 4 + length])
    fewer = chunk(b"IDAT", zlib.compress(rows[: len(rows) // 8 * 5]))
    words = refusal(whole[: at - 4] + fewer + whole[at + 8 + length :])
    assert words == "damaged or truncated: a PNG with fewer rows than its header says"


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "LA", "I;16"])
def test_a_png_that_ends_in_black_is_whole(mode):
    black = Image.fromarray(np.zeros((8, 12), "u2")) if mode == "I;16" else Image.new(mode, (12, 8))
    black.putpixel((3, 1), 1 if mode in ("1", "L", "P", "I;16") else (9,) * len(black.getbands()))
    assert read_rgb(encode(black)).size == (12, 8)


def test_metadata_that_is_too_large_may_also_be_damaged():
    large = b"".join(chunk(b"tEXt", b"a\0" + bytes([97]) * 2**20) for _ in range(65))
    content = png(PICTURE, 8, large, chunk(b"pHYs", bytes(9)))
    found = examine(with_wrong_checksum(content, b"pHYs"), WHITE)
    assert found.remarks == (WRONG_CHECKSUM, METADATA)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_metadata_of_a_png_that_would_unpack_to_gigabytes_is_left_unread(kind):
    body = (b"a\0\1\0\0\0" if kind == b"iTXt" else b"a\0\0") + zlib.compress(bytes(2**27), 9)
    content = encode(picture(0))
    tracemalloc.start()
    examined = examine(content[:33] + chunk(kind, body) + content[33:], (255, 255, 255))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (np.asarray(examined.image) == np.asarray(picture(0))).all()
    assert examined.remarks == (METADATA,)
    assert peak < 20 * 2**20


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_any_number_of_bits_is_background(bits):
    most = 2**bits - 1
    values = np.array([[[0], [1], [most], [1]]], "u2" if bits == 16 else "u1")
    content = png(values, bits, chunk(b"tRNS", struct.pack(">H", most)))
    found = np.asarray(examine(content, (9, 8, 7)).image)
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[0, 2].tolist() == [9, 8, 7]
    assert FLATTENED in examine(content, (9, 8, 7)).remarks


def test_the_png_of_an_iphone_app_is_called_so():
    content = png(PICTURE, 8)
    content = content[:8] + chunk(b"CgBI", b"P\0\x20\2") + content[8:]
    assert refusal(content).startswith("a PNG of an iPhone app (CgBI), whose pixels")


def test_a_png_that_was_copied_as_text_is_called_so():
    content = png(PICTURE, 8).replace(b"\r\n", b"\n")
    assert refusal(content).startswith("a PNG whose line ends were changed by a transfer as text")


# JPEG


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("filling", [b"", bytes(30), bytes(3000)], ids=["", "zeros", "many"])
def test_half_a_jpeg_with_an_end_marker_is_refused(mode, options, filling):
    whole = encode(PHOTO.convert(mode), "JPEG", quality=90, **options)
    words = refusal(whole[: len(whole) * 2 // 3] + filling + b"\xff\xd9")
    assert words == "damaged or truncated: image file is truncated, rows of it are missing"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("scans", [1, 2, 3])
def test_the_first_scans_of_a_progressive_jpeg_are_no_picture(mode, scans):
    whole = encode(PHOTO.convert(mode), "JPEG", progressive=True)
    starts = [place for place in range(len(whole)) if whole[place : place + 2] == b"\xff\xda"]
    words = refusal(whole[: starts[scans]].rpartition(b"\xff\xc4")[0] + b"\xff\xd9")
    assert words == "damaged or truncated: scans of a progressive JPEG are missing"
    assert examine(whole, WHITE).remarks == ()


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_whose_last_pixel_is_the_grey_of_missing_rows_is_read(options):
    image = PHOTO.copy()
    image.paste((128, 128, 128), (40, 40, 96, 96))
    content = encode(image, "JPEG", quality=95, subsampling=0, **options)
    for behind in (b"", b"a video of the phone" * 50, bytes(50)):
        found = examine(content + behind, WHITE)
        assert np.abs(np.asarray(found.image).astype(int) - np.asarray(image)).mean() < 3
        assert found.remarks == ()


def test_a_jpeg_that_ends_in_zeros_behind_its_end_marker_is_whole():
    assert examine(encode(PHOTO, "JPEG") + bytes(99), WHITE).remarks == ()
    assert examine(encode(PHOTO, "JPEG")[:-2] + bytes(99), WHITE).remarks == (NO_END,)


def test_a_jpeg_that_was_copied_as_text_is_refused():
    content = encode(picture(0, 64, 64), "JPEG", quality=95)
    assert content.count(b"\n") >= 8
    words = refusal(content.replace(b"\n", b"\r\n"))
    assert words.startswith("damaged or truncated: a JPEG whose line ends were changed")


def test_text_of_windows_inside_a_small_jpeg_does_no_harm():
    plain = encode(Image.new("RGB", (8, 8), "red"), "JPEG", optimize=True, quality=1)
    assert b"\n" not in plain[plain.rindex(b"\xff\xdb") :]
    content = encode(
        Image.new("RGB", (8, 8), "red"), "JPEG", optimize=True, quality=1, comment=b"text\r\n" * 30
    )
    assert read_rgb(content).size == (8, 8)


def frame(marker: int, bits: int, height: int, bands: int) -> bytes:
    """A JPEG up to its frame header."""
    body = struct.pack(">BHHB", bits, height, 8, bands) + bytes(3 * bands)
    return b"\xff\xd8\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body + bytes(40)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (frame(0xC1, 12, 8, 1), "a JPEG of 12 bits; convert it to a PNG or TIFF of 16 bits"),
        (frame(0xC3, 16, 8, 1), "a JPEG of 16 bits; convert it to a PNG or TIFF of 16 bits"),
        (frame(0xF7, 8, 8, 1), "a JPEG-LS image; convert it to PNG or TIFF"),
        (frame(0xC0, 8, 8, 2), "a JPEG of 2 bands; save it as grey or RGB"),
        (frame(0xC0, 8, 0, 3), "damaged or truncated: a JPEG whose header has no height; save"),
    ],
)
def test_a_jpeg_of_a_kind_that_is_not_read_is_called_so(content, words):
    assert refusal(content).startswith(words)


@pytest.mark.parametrize("front", [b"\n", b"\xef\xbb\xbf", b"garbage " * 9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bytes_in_front_of_an_image_are_named(front, kind):
    words = refusal(front + encode(picture(0), kind))
    count = "another byte" if len(front) == 1 else f"{len(front)} other bytes"
    assert words.startswith(f"a {kind} image behind {count}; remove what stands in front")


def test_a_servers_header_in_front_of_an_image_is_named():
    header = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n"
    assert refusal(header + encode(picture(0), "JPEG")).startswith("a server's answer with its h")


@pytest.mark.parametrize(("kind", "cut"), [("GIF", 10), ("BMP", 16), ("QOI", 6), ("JPEG", 20)])
def test_an_image_that_cannot_be_opened_is_called_by_its_format(kind, cut):
    words = refusal(encode(picture(0), kind)[:cut])
    assert words.startswith(f"damaged or truncated: a {kind} image, ")


def test_an_orientation_tag_of_another_type_counts():
    stored = encode(picture(0), "JPEG")
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHII", 0x112, 4, 1, 6) + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag
    found = np.asarray(read_rgb(stored[:2] + segment + stored[2:]))
    assert (found == np.rot90(np.asarray(Image.open(io.BytesIO(stored))), -1)).all()
