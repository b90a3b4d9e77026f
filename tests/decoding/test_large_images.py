import io
import struct

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from tests.helpers.tiffs import tiff
from tests.helpers.tiny_sources import encode, picture
from transfer.decoding import large_images
from transfer.decoding.opened import REDUCED
from transfer.decoding.opening import bytes_to_decode
from transfer.decoding.rgb import BadImageError, examine

WIDE, HIGH = 96, 64
SMOOTH = picture(3, 4, 3).resize((WIDE, HIGH), Image.Resampling.BICUBIC)


@pytest.fixture(autouse=True)
def _few_pixels_are_many(monkeypatch):
    monkeypatch.setattr(large_images, "MAX_PIXELS", WIDE * HIGH // 4)
    monkeypatch.setattr(large_images, "MAX_REDUCED_PIXELS", WIDE * HIGH)


def read(content: bytes, factor: int = 2) -> np.ndarray:
    examined = examine(content, (255, 255, 255))
    assert examined.image.size == (WIDE // factor, HIGH // factor)
    assert REDUCED in examined.remarks
    return np.asarray(examined.image)


def is_near(pixels: np.ndarray, image: Image.Image = SMOOTH) -> bool:
    size = (pixels.shape[1], pixels.shape[0])
    expected = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX), int)
    return np.abs(pixels - expected).mean() < 4


def tiff_of_levels(*levels: Image.Image, marks: int | None = 1, **options) -> bytes:
    """The pages of a pyramid, the first the largest; the others are marked as `marks` says."""
    file = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(file, new=True) as writer:
        for number, level in enumerate(levels):
            info = TiffImagePlugin.ImageFileDirectory_v2()
            if number and marks is not None:
                info[254] = marks
            level.save(writer, "TIFF", tiffinfo=info, **options)
            writer.newFrame()
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_large_jpeg_is_decoded_at_half_of_its_sides(mode, options):
    content = encode(SMOOTH.convert(mode), "JPEG", quality=95, **options)
    assert is_near(read(content), SMOOTH.convert(mode))


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_jpeg_is_read_no_smaller_than_it_must(factor, monkeypatch):
    monkeypatch.setattr(large_images, "MAX_PIXELS", WIDE * HIGH // factor**2)
    assert is_near(read(encode(SMOOTH, "JPEG"), factor))


def test_a_jpeg_that_is_too_large_at_an_eighth_is_refused(monkeypatch):
    monkeypatch.setattr(large_images, "MAX_PIXELS", WIDE * HIGH // 64 - 1)
    with pytest.raises(BadImageError, match=rf"{WIDE} x {HIGH} pixels, more .* vipsthumbnail"):
        examine(encode(SMOOTH, "JPEG"), (255, 255, 255))


def test_a_progressive_jpeg_whose_coefficients_take_too_much_memory_is_refused(monkeypatch):
    monkeypatch.setattr(large_images, "_MAX_COEFFICIENT_BYTES", WIDE * HIGH * 6 - 1)
    read(encode(SMOOTH, "JPEG"))
    with pytest.raises(BadImageError, match="vipsthumbnail"):
        examine(encode(SMOOTH, "JPEG", progressive=True), (255, 255, 255))


def test_memory_is_asked_for_what_is_decoded():
    small = WIDE * HIGH // 4
    assert bytes_to_decode(encode(SMOOTH, "JPEG")) == small * 24
    assert bytes_to_decode(encode(SMOOTH, "JPEG", progressive=True)) == small * (24 + 4 * 6)
    assert bytes_to_decode(encode(SMOOTH, "JPEG2000")) == small * 40
    assert bytes_to_decode(tiff(np.asarray(SMOOTH), 8, 2)) == small * (24 + 6)


def test_a_large_jpeg_is_upright():
    exif = Image.Exif()
    exif[274] = 6
    image = examine(encode(SMOOTH, "JPEG", exif=exif), (255, 255, 255)).image
    assert is_near(np.asarray(image), SMOOTH.transpose(Image.Transpose.ROTATE_270))


def test_a_large_jpeg_that_breaks_off_is_refused_and_one_without_its_end_marker_is_read():
    content = encode(SMOOTH, "JPEG", quality=95)
    assert is_near(read(content[:-2]))
    for share in (0.5, 0.9, 0.98):
        with pytest.raises(BadImageError, match="truncated"):
            examine(content[: int(len(content) * share)], (255, 255, 255))


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_a_large_jpeg_2000_is_decoded_at_a_lower_resolution(mode):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(SMOOTH.convert("L"), np.uint16) * 257)
    else:
        image = SMOOTH.convert(mode)
    shown = SMOOTH if mode == "RGB" else SMOOTH.convert("L")
    found = read(encode(image, "JPEG2000")).astype(int)
    if mode == "I;16":  # scaled by its own range
        expected = np.asarray(shown.resize((48, 32), Image.Resampling.BOX), int).ravel()
        assert np.corrcoef(found[..., 0].ravel(), expected)[0, 1] > 0.99
    else:
        assert is_near(found, shown)


def test_a_large_jpeg_2000_without_lower_resolutions_is_refused():
    with pytest.raises(BadImageError, match="vipsthumbnail"):
        examine(encode(SMOOTH, "JPEG2000", num_resolutions=1), (255, 255, 255))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "PPM"])
def test_large_images_of_other_formats_are_refused_with_a_command(kind):
    words = r"more than the 1,536 that are allowed; .*vipsthumbnail NAME --size 8000"
    with pytest.raises(BadImageError, match=words):
        examine(encode(SMOOTH, kind), (255, 255, 255))


@pytest.mark.parametrize("marks", [1, None], ids=["overviews", "pages"])
@pytest.mark.parametrize("options", [{}, {"compression": "jpeg"}, {"compression": "tiff_lzw"}])
def test_a_pyramid_is_read_at_the_largest_level_that_is_allowed(marks, options):
    half, quarter = (SMOOTH.resize((WIDE // n, HIGH // n), Image.Resampling.BOX) for n in (2, 4))
    label = Image.new("RGB", (30, 30), "red")
    found = read(tiff_of_levels(SMOOTH, quarter, half, label, marks=marks, **options))
    assert is_near(found)


def test_masks_are_no_levels():
    half = SMOOTH.resize((WIDE // 2, HIGH // 2)).convert("L").point(lambda _: 255)
    found = read(tiff_of_levels(SMOOTH, half, marks=5))
    assert is_near(found)


def test_levels_within_a_page_are_read():
    half = np.asarray(SMOOTH.resize((WIDE // 2, HIGH // 2), Image.Resampling.BOX))
    inner = bytearray(tiff(half, 8, 2, {254: (1,)}))
    first = tiff(np.asarray(SMOOTH), 8, 2, {330: (70_000,)})
    place = len(first)
    count = struct.unpack_from("<H", inner, 8)[0]
    for at in range(10, 10 + 12 * count, 12):  # offsets are those of the whole file then
        tag, kind, number, value = struct.unpack_from("<HHII", inner, at)
        if tag == 273 or number * (0, 1, 1, 2, 4)[min(kind, 4)] > 4:
            struct.pack_into("<I", inner, at + 8, value + place)
    content = first.replace(struct.pack("<I", 70_000), struct.pack("<I", place + 8)) + inner
    assert (read(content) == half).all()


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"strip_size": 1000}])
def test_a_large_tiff_is_read_by_blocks(options):
    found = read(encode(SMOOTH, "TIFF", **options))
    assert (found == np.asarray(SMOOTH)[::2, ::2]).all()


def test_each_second_row_of_strips_with_an_odd_number_of_rows_is_read():
    content = encode(SMOOTH, "TIFF", compression="tiff_lzw", tiffinfo={278: 7})
    assert (read(content) == np.asarray(SMOOTH)[::2, ::2]).all()


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_a_large_grey_tiff_keeps_its_pixels_without_data(kind):
    values = np.full((HIGH, WIDE, 1), 100, kind)
    values[:10] = 7
    values[-10:] = 50
    found = read(tiff(values, 8 * values.itemsize, 1, {42113: "7"}))
    assert (found[:5] == 255).all()
    assert (found[5:] < 255).any()


def test_a_large_tiff_that_is_packed_otherwise_is_refused_with_a_command():
    with pytest.raises(BadImageError, match="vipsthumbnail"):
        examine(encode(SMOOTH, "TIFF", compression="jpeg"), (255, 255, 255))
