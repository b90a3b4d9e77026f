import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.helpers.pngs import SIGNATURE, chunk
from tests.helpers.tiny_sources import encode, picture
from transfer.decoding import rgb
from transfer.decoding.rgb import BadImageError, memory_for, read_rgb, resize

FORMATS = ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"]
ORIENTATION = 0x0112


def pixels(content: bytes) -> np.ndarray:
    image = read_rgb(content)
    assert image.mode == "RGB"
    return np.asarray(image)


def refusal(content: bytes) -> str:
    with pytest.raises(BadImageError) as error:
        read_rgb(content)
    return str(error.value)


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


# Formats and modes


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_lossless_formats_give_the_very_pixels(kind, options):
    assert (pixels(encode(picture(0), kind, **options)) == np.asarray(picture(0))).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {"quality": 95}),
        ("GIF", {}),
    ],
)
def test_lossy_formats_come_close(kind, options):
    smooth = picture(0, 3, 3).resize((48, 32), Image.Resampling.BICUBIC)
    assert (
        np.abs(pixels(encode(smooth, kind, **options)).astype(int) - np.asarray(smooth)).mean() < 12
    )


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "lime", "blue")]
    for kind, options in {"GIF": {}, "WEBP": {"lossless": True}, "PNG": {}, "TIFF": {}}.items():
        content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (pixels(content) == (255, 0, 0)).all(), kind


GREY = np.arange(96, dtype=np.uint8).reshape(8, 12) * 2
RAMP = (np.arange(96, dtype=np.uint32) * 689).astype(np.uint16).reshape(8, 12)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit_is_black_and_white(kind):
    bits = GREY > 90
    assert (pixels(encode(Image.fromarray(bits), kind)) == bits[..., None] * 255).all()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_grey_is_three_equal_channels(kind):
    assert (pixels(encode(Image.fromarray(GREY), kind)) == GREY[..., None]).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"big_endian": True}),
    ],
)
def test_sixteen_bit_grey_keeps_its_range(kind, options):
    image = Image.fromarray(RAMP)
    if options.pop("big_endian", False):
        image = Image.fromarray(RAMP.astype(">u2"))
    content = encode(image, kind, **options)
    assert Image.open(io.BytesIO(content)).mode.startswith("I;16")
    assert (pixels(content) == np.round(RAMP / 257)[..., None]).all()


def test_sixteen_bit_grey_whose_zero_is_white_is_inverted():
    content = encode(Image.fromarray(RAMP), "TIFF", tiffinfo={262: 0})
    assert (pixels(content) == np.round((65535 - RAMP) / 257)[..., None]).all()


def test_sixteen_bit_grey_with_a_transparent_value_has_white_there():
    result = pixels(encode(Image.fromarray(RAMP), "PNG", transparency=0))
    assert result[0, 0].tolist() == [255, 255, 255]
    assert result[0, 1].tolist() == [3, 3, 3]


def test_thirty_two_bit_grey_within_sixteen_bits_is_read_and_beyond_refused():
    assert (
        pixels(encode(Image.fromarray(RAMP.astype(np.int32)), "TIFF"))
        == np.round(RAMP / 257)[..., None]
    ).all()
    for value, words in (
        (-1, "signed integer pixels, whose range is unknown"),
        (65536, "32-bit grey"),
    ):
        assert words in refusal(
            encode(Image.fromarray(np.full((2, 2), value, dtype=np.int32)), "TIFF")
        )


def flag() -> Image.Image:
    """Red, green; blue, green; by a palette."""
    image = Image.new("P", (2, 2))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2, 1])
    return image


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_gives_its_colors(kind):
    assert pixels(encode(flag(), kind)).tolist() == [
        [[255, 0, 0], [0, 255, 0]],
        [[0, 0, 255], [0, 255, 0]],
    ]


@pytest.mark.parametrize(
    ("kind", "transparency"), [("PNG", 1), ("PNG", b"\xff\x00\xff"), ("GIF", 1)]
)
def test_a_transparent_palette_color_is_white(kind, transparency):
    content = encode(flag(), kind, transparency=transparency)
    assert pixels(content).tolist() == [
        [[255, 0, 0], [255, 255, 255]],
        [[0, 0, 255], [255, 255, 255]],
    ]


@pytest.mark.parametrize(("mode", "color"), [("RGB", (0, 128, 0)), ("L", 40)])
def test_a_transparent_color_of_a_png_is_white(mode, color):
    image = Image.new(mode, (3, 1), color)
    image.putpixel((0, 0), 200 if mode == "L" else (200, 200, 200))
    result = pixels(encode(image, "PNG", transparency=color))
    assert result[0].tolist() == [[200] * 3, [255] * 3, [255] * 3]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]
)
def test_alpha_is_laid_over_white(mode, kind, options):
    color = (
        np.array([[0, 200, 100], [0, 200, 100], [0, 200, 100]])
        if mode == "RGBA"
        else np.full((3, 3), 100)
    )
    alpha = np.array([0, 128, 255])
    channels = (
        np.concatenate([color, alpha[:, None]], axis=1)
        if mode == "RGBA"
        else np.stack([color[:, 0], alpha], axis=1)
    )
    image = Image.frombytes(mode, (3, 1), channels.astype(np.uint8).tobytes())
    expected = color * (alpha[:, None] / 255) + 255 * (1 - alpha[:, None] / 255)
    assert np.abs(pixels(encode(image, kind, **options))[0] - expected).max() <= 1


@pytest.mark.parametrize(
    ("ink", "color"), [((0, 0, 0, 0), 255), ((255, 255, 255, 255), 0), ((0, 0, 0, 255), 0)]
)
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_ink_on_white(kind, ink, color):
    content = encode(Image.new("CMYK", (8, 8), ink), kind)
    assert Image.open(io.BytesIO(content)).mode == "CMYK"
    assert np.abs(pixels(content).astype(int) - color).max() <= 1


# Orientation

UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),  # the camera lay on its right side: turn clockwise
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]
)
def test_exif_orientation_is_applied(kind, options, orientation):
    stored = pixels(encode(picture(0), kind, **options))
    content = encode(picture(0), kind, exif=oriented(orientation), **options)
    assert (pixels(content) == UPRIGHT[orientation](stored)).all()


def xmp_of(orientation: int) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
        f'tiff:Orientation="{orientation}"/></x:xmpmeta>'
    ).encode()


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})]
)
def test_orientation_in_xmp_is_applied_where_exif_says_none(kind, options):
    stored = picture(0, 24, 16).resize((48, 32))
    turned = pixels(encode(stored, kind, xmp=xmp_of(6), **options))
    assert (turned == np.rot90(pixels(encode(stored, kind, **options)), -1)).all()
    both = encode(stored, kind, xmp=xmp_of(6), exif=oriented(1).tobytes(), **options)
    assert (pixels(both) == pixels(encode(stored, kind, **options))).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied_to_sixteen_bits(kind):
    content = encode(Image.fromarray(RAMP), kind, exif=oriented(6))
    assert (pixels(content) == np.rot90(np.round(RAMP / 257), -1)[..., None]).all()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\x08\0\0\0\x05\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        oriented(0).tobytes(),
        oriented(9).tobytes(),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damaged_exif_does_not_lose_the_image(kind, exif):
    assert (pixels(encode(picture(0), kind, exif=exif)) == pixels(encode(picture(0), kind))).all()


# Bad files


def test_an_empty_file_is_called_empty():
    assert refusal(b"") == "the file is empty"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("keep", [0.005, 0.05, 0.5, 0.95])
def test_a_truncated_file_is_called_so(kind, keep):
    whole = encode(picture(0, 64, 64), kind)
    words = refusal(whole[: int(len(whole) * keep)])
    assert words.startswith("damaged or truncated: ") or words.endswith(
        "or cut off at its very start"
    )
    assert len(words) > len("damaged or truncated: ")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", FORMATS)
def test_no_damage_escapes_as_another_error(kind):
    whole = encode(picture(0, 24, 24), kind)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 400), 5):
            damaged[place] = rng.integers(256)
        try:
            assert read_rgb(bytes(damaged)).mode == "RGB"
        except BadImageError as error:
            assert str(error)


def with_size_patched(kind: str, offset: int, code: str, width: int, height: int) -> bytes:
    content = bytearray(encode(picture(0), kind))
    struct.pack_into(code, content, offset, width, height)
    return bytes(content)


def jpeg_of_size(width: int, height: int) -> bytes:
    content = encode(picture(0), "JPEG")
    frame = content.index(b"\xff\xc0")
    return content[: frame + 5] + struct.pack(">HH", height, width) + content[frame + 9 :]


@pytest.mark.parametrize(
    ("bomb", "words"),
    [
        (
            SIGNATURE
            + chunk(b"IHDR", struct.pack(">IIBBBBB", 200_000, 100_000, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes(999)))
            + chunk(b"IEND", b""),
            "200000 x 100000",
        ),
        (with_size_patched("GIF", 6, "<HH", 65535, 65535), "65535 x 65535"),
        (with_size_patched("BMP", 18, "<ii", 1_000_000, 1_000_000), "1000000 x 1000000"),
        (encode(Image.new("1", (10_001, 10_000)), "TIFF", compression="group4"), "10001 x 10000"),
    ],
    ids=["PNG", "GIF", "BMP", "TIFF"],
)
def test_a_decompression_bomb_is_refused_by_its_header(bomb, words):
    assert len(bomb) < 20_000
    assert refusal(bomb).startswith(
        f"{words} pixels, more than the 100,000,000 that are allowed; shrink it, with libvips"
    )


def test_a_jpeg_is_read_smaller_up_to_a_gigapixel():
    words = "65500 x 65500 pixels, more than the 1,000,000,000 that are allowed; shrink it"
    assert refusal(jpeg_of_size(65500, 65500)).startswith(words)
    assert refusal(jpeg_of_size(11000, 10000)).startswith("damaged or truncated")


# Memory


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "TGA", "PPM", "ICO")),
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {"num_resolutions": 1}),
    ],
)
def test_large_images_wait_for_memory_however_few_bytes_they_have(kind, options, monkeypatch):
    asked = []
    monkeypatch.setattr(rgb, "_memory", SimpleNamespace(reserve=lambda size: asked.append(size)))
    large = encode(Image.new("L", (2100, 2000)), "PNG" if kind == "ICO" else kind, **options)
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(large), 22)
    memory_for(icon + large if kind == "ICO" else large)
    memory_for(encode(picture(0), kind))
    memory_for(b"no image")
    each = {"TIFF": 26, "JPEG2000": 40}.get(kind, 24)
    assert asked == [2100 * 2000 * each, 0, 0]


# Resizing


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("shape", [(12, 8), (200, 3), (1, 1), (16, 16)])
def test_resizing_is_pillows_own(interpolation, shape):
    image = picture(0, *shape)
    result = resize(image, 16, interpolation)
    assert result.shape == (16, 16, 3)
    assert result.dtype == np.uint8
    assert (
        result == np.asarray(image.resize((16, 16), Image.Resampling[interpolation.upper()]))
    ).all()


def test_a_tile_of_too_many_pixels_is_refused_however_small_the_image():
    tags = {
        256: 10,
        257: 10,
        258: 8,
        259: 8,
        262: 1,
        277: 1,
        322: 40_000,
        323: 40_000,
        324: 134,
        325: 10,
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(50)
    words = "40000 x 40000 pixels, more than the 100,000,000 that are allowed; shrink it"
    assert refusal(content).startswith(words)
